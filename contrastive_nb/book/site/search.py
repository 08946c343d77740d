"""What the site's search looks through: every section of every page, written as one script. Plain module: machinery.

The browser makes its index of them when the search is opened first: half the bytes of a ready index, and a page on disk may load it.
"""

import html
import json
import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

import yaml

from contrastive_nb import registry
from contrastive_nb.book import catalogue
from contrastive_nb.book.site import sources

WORDS = Path("nbs") / "_site_assets" / "words.yml"
# code and long formulas, what only the page's own scripts need, and answers: who looks for a word shall not read a solution
_LEFT_OUT = re.compile(
    r'<(pre|svg|script|style|button|annotation|nav)\b.*?</\1>|<math display="block".*?</math>|<div class="page-actions">.*?</div>'
    r'|<p class="exported-note">.*?</p>|<details class="callout tip">.*?</details>',
    re.S,
)
_INLINE = {"a", "abbr", "b", "code", "em", "i", "kbd", "q", "s", "small", "strong", "sub", "sup"}
_MATHS = {"math", "semantics", "mrow", "mi", "mo", "mn", "msub", "msup", "msubsup", "mtext", "mspace", "mover", "munder", "munderover"}


@dataclass
class Section:
    "A place that a search can lead to."

    place: str  # "1_objectives/infonce.html#derivation"
    page: str  # its page's title
    heading: str = ""
    kind: str = ""  # "API", "method", "claim", "work", "equation"
    words: list[str] = field(default_factory=list)  # other names of it
    text: str = ""


class _Reader(HTMLParser):
    "The sections of one page; a row of the catalogue or the ledger, a work and a numbered equation are each one of their own."

    def __init__(self, address: str, title: str):
        super().__init__()
        self.address, self.title = address, title
        self.found: list[Section] = []
        self.outer = self.inner = self.named = None

    def _open(self, id: str | None, heading: str = "", kind: str = "") -> Section:
        place = f"{self.address}#{id}" if id else self.address
        self.found.append(Section(place, self.title, heading, kind or ("API" if self.address.startswith("api/") else "")))
        return self.found[-1]

    def handle_starttag(self, tag, attrs):
        said = dict(attrs)
        id = said.get("id")
        if tag in ("h1", "h2", "h3"):
            self.outer = self.named = self._open(id if tag != "h1" else None)
        elif tag == "tr" and id and self.address in ("catalogue.html", "ledger.html"):
            self.inner = (tag, self._open(id, id, "method" if self.address == "catalogue.html" else "claim"))
        elif said.get("class") == "csl-entry":
            self.inner = (tag, self._open(id, self.title, "work"))
        elif id and id.startswith("eq-") and self.outer:
            before = re.split(r"(?<=[.!?])\s", self.outer.text.strip())
            self._open(id, f"{self.outer.heading}, equation ({id[3:]})", "equation").text = " ".join(before[-2:])[-300:]
        self._space(tag)

    def handle_endtag(self, tag):
        if tag in ("h1", "h2", "h3"):
            self.named = None
        if self.inner and self.inner[0] == tag:
            self.inner = None
        self._space(tag)

    def _space(self, tag):
        if tag not in _INLINE | _MATHS:
            self.handle_data(" ")

    def handle_data(self, data):
        if self.named:
            self.named.heading += data
        elif self.inner:
            self.inner[1].text += data
        elif self.outer:
            self.outer.text += data


def sections(address: str, page: str) -> list[Section]:
    "What can be found on a page of the website, given its HTML. Lists of references are left out: *Works cited* has each work once."
    main = re.search(r"<main\b.*?>(.*)</main>", page, re.S)
    title = re.search(r"<h1[^>]*>(.*?)</h1>", page, re.S)
    if not (main and title):
        return []
    reader = _Reader(address, html.unescape(re.sub(r"<[^>]*>", "", title[1])).strip())
    reader.feed(_LEFT_OUT.sub(" ", main[1]))
    for found in reader.found:
        found.heading, found.text = " ".join(found.heading.split()), " ".join(found.text.split())
    return [found for found in reader.found if not found.place.endswith("#references")]


def names(root: Path, places: set[str]) -> dict[str, list[str]]:
    """Other names by place: those of a method from the catalogue, for its row, its page and its function; the rest from words.yml.

    Of a page the first section has them.
    """
    found = {place: list(words) for place, words in yaml.safe_load((root / WORDS).read_text(encoding="utf-8")).items()}
    for entry in catalogue.entries():
        mine = [method for method in registry.methods() if entry["id"] in method.papers]
        pages = [sources.address(method.notebook) for method in mine]
        functions = [place for method in mine for place in places if _is_function(place, method.function)]
        for place in dict.fromkeys([f"catalogue.html#{entry['id']}", *pages, *functions]):
            found.setdefault(place, []).extend(entry["aliases"])
    return found


def _is_function(place: str, function: str) -> bool:
    "Whether a place of the reference is a function such as `contrastive_nb.objectives:info_nce`, which a module inside may define."
    module, name = function.removeprefix("contrastive_nb.").split(":")
    return re.fullmatch(rf"api/{re.escape(module)}(\.\w+)*\.html#{re.escape(name)}", place) is not None


def write(root: Path, out: Path) -> int:
    """Write the sections of every page under `out` beside the site's scripts; how many there are.

    Raises `ValueError` for a name of words.yml or of the catalogue whose place the site does not have.
    """
    pages = [path for path in sorted(out.rglob("*.html")) if path.name != "404.html"]
    found = [one for path in pages for one in sections(path.relative_to(out).as_posix(), path.read_text(encoding="utf-8"))]
    known = {one.place: one for one in found}
    others = names(root, set(known))
    if lost := sorted(set(others) - set(known)):
        raise ValueError(f"{', '.join(lost)}: {WORDS.as_posix()} or the catalogue names a place that the site does not have")
    for place, words in others.items():
        known[place].words = list(dict.fromkeys(words))
        if known[place].kind == "method":
            known[place].heading = words[0]
    lines = [json.dumps([s.place, s.page, s.heading, s.kind, ", ".join(s.words), s.text], ensure_ascii=False) for s in found]
    sources.write(out / "_site_assets" / "sections.js", "window.sections = [\n" + ",\n".join(lines) + "\n];\n")
    return len(found)
