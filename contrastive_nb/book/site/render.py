"""HTML from processed notebooks with pandoc, where there is no Quarto. Plain module: machinery.

One markdown text a page, one run of pandoc, one template.
"""

import hashlib
import html
import json
import re
import shutil
import string
import subprocess
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import yaml

from contrastive_nb import files
from contrastive_nb.book.site import search, sources
from contrastive_nb.book.site.drafts import Draft, draft, resolved

KINDS = {"index.html": "front", "catalogue.html": "table", "ledger.html": "table", "guides/cheat_sheet.html": "sheet"}
EXTENSIONS = "markdown+tex_math_dollars-implicit_figures-tex_math_single_backslash-raw_tex"


@cache
def _version() -> str:
    import pypandoc

    return pypandoc.get_pandoc_version()


def _run(options: list[str], reads: list[Path], text: str, kept: Path) -> tuple[str, str]:
    "What pandoc makes of a text, and what it warns of; kept by a digest of all that it reads, as most pages are as they were."
    import pypandoc

    said = [_version(), *options, *(path.read_text(encoding="utf-8") for path in reads), text]
    place = kept / f"{hashlib.sha256(json.dumps(said).encode()).hexdigest()[:32]}.html"
    if place.is_file():
        return place.read_text(encoding="utf-8"), ""
    template, script, *works = reads
    command = [pypandoc.get_pandoc_path(), *options, f"--template={template}", f"--lua-filter={script}"]
    done = subprocess.run([*command, *(f"--bibliography={path}" for path in works)], input=text, capture_output=True, text=True)
    if done.returncode or done.stderr.strip():
        return "", done.stderr.strip() or f"exit code {done.returncode}"
    files.write_whole(place, done.stdout)
    return done.stdout, ""


def pandoc(page: Draft, processed: Path, assets: Path) -> tuple[str, str]:
    "Table of contents and body. Raises `ValueError` with what pandoc warned of, such as a formula that it cannot set."
    options = [f"--from={EXTENSIONS}", "--to=html5", "--mathml", "--toc", "--toc-depth=3", "-M", "title=-", "--wrap=none"]
    reads = [assets / "pandoc.html", assets / "filter.lua"]
    nocite = f'---\nnocite: "{page.meta["nocite"]}"\n---\n\n' if "nocite" in page.meta else ""
    text = nocite + resolved(page)
    if "@" in text:  # to read the works takes longer than a short page does, and a page of the reference seldom cites
        listed = str(page.meta.get("suppress-bibliography", True)).lower()
        options += ["--citeproc", "-M", "link-citations=true", "-M", f"suppress-bibliography={listed}"]
        reads.append(processed.parent / "data" / "references.bib")
    made, wrong = _run(options, reads, text, files.build() / "site" / "pandoc")
    if wrong:
        raise ValueError(f"{page.address}: pandoc says {wrong}")
    toc, body = made.split("<!-- body -->", 1)
    return toc.strip(), body.strip()


def _long_inline(found) -> str:
    "MathML does not break lines: a long formula in the text scrolls by itself on a phone."
    tex = re.search(r"<annotation[^>]*>(.*?)</annotation>", found.group(), re.S)
    long = tex and len(re.sub(r"\\[a-zA-Z]+|[{}_^ ]", "x", tex.group(1))) > 30
    return f'<span class="formula-inline" tabindex="0">{found.group()}</span>' if long else found.group()


def _block(found) -> str:
    "A formula on a line of its own scrolls where it is too wide; one that would just not fit is set smaller."
    long = len(re.sub(r"<[^>]+>|\s", "", found.group().partition("<annotation")[0])) > 60
    return f'<span class="formula{" long" if long else ""}" tabindex="0">{found.group()}</span>'


def finish(body: str, page: Draft, notebooks: dict[str, str]) -> str:
    "Links to notebooks become links to pages, what scrolls can be reached by keyboard, formulas get room."

    def link(found):
        target, anchor = found.group(2), found.group(3) or ""
        place = str(Path(page.address).parent / target)
        parts: list[str] = []
        for part in place.replace("\\", "/").split("/"):
            if part == "..":
                parts = parts[:-1]
            elif part != ".":
                parts.append(part)
        known = notebooks.get("/".join(parts))
        return f'{found.group(1)}"{sources.between(page.address, known)}{anchor}"' if known else found.group()

    body = re.sub(
        r'(<a\b[^>]*?\bhref=)"([^":#?]+\.(?:ipynb|qmd))(#[^"]*)?"', lambda m: m.group() if " download" in m.group() else link(m), body
    )
    body = re.sub(r'<menclose notation="box">(.*?)</menclose>', r'<mrow class="boxed">\1</mrow>', body, flags=re.S)  # see the style
    body = re.sub(r'(<span id="cb\d+-\d+")(><a [^>]*></a>)( +)', lambda m: f'{m[1]} style="--in: {len(m[3])}ch"{m[2]}{m[3]}', body)
    body = re.sub(r"<pre(?![^>]*tabindex)", '<pre tabindex="0"', body)
    body = re.sub(r'<math display="block".*?</math>', _block, body, flags=re.S)
    return re.sub(r'<math display="inline".*?</math>', _long_inline, body, flags=re.S)


# --- the site around it ---------------------------------------------------------------------------------------------------------------


def _sidebar(page: Draft, contents, titles: dict[str, str]) -> str:
    def item(entry):
        if isinstance(entry, str):
            where = entry if entry.endswith(".html") else sources.address(entry)
            current = ' aria-current="page"' if where == page.address else ""
            return f'<li><a href="{sources.between(page.address, where)}"{current}>{html.escape(titles[where])}</a></li>'
        inside = "".join(map(item, entry["contents"]))
        unfold = " open" if 'aria-current="page"' in inside or entry.get("open") else ""
        return f"<li><details{unfold}><summary>{html.escape(entry['section'])}</summary><ul>{inside}</ul></details></li>"

    return f"<ul>{''.join(map(item, contents))}</ul>"


def _about(root: Path) -> str:
    "Version, licence and, where one is known, the repository."
    where = sources.repository(root)
    link = f' · <a href="{where}" rel="external">Repository</a>' if where else ""
    return f"{sources.citation(root)['version']} · {html.escape(sources.project(root)['license'])}{link}"


def _turn(page: Draft, order: list[str], titles: dict[str, str]) -> str:
    "Links to the page before and the page after."
    if page.address not in order:
        return ""
    at, links = order.index(page.address), []
    for step, word in ((-1, "Previous"), (1, "Next")):
        if 0 <= at + step < len(order):
            other = order[at + step]
            place, title = sources.between(page.address, other), html.escape(titles[other])
            links.append(f'<a class="{word.lower()}" href="{place}"><small>{word}</small> {title}</a>')
    return f'<nav class="turn" aria-label="Pages before and after">{"".join(links)}</nav>'


def _flat(contents):
    for entry in contents:
        if isinstance(entry, dict):
            yield from _flat(entry["contents"])
        else:
            yield entry if entry.endswith(".html") else sources.address(entry)


def site(root: Path, processed: Path, out: Path, jobs: int) -> None:
    "Every processed page as HTML under `out`."
    assets = root / "nbs" / "_site_assets"
    paths = [path for ending in ("ipynb", "qmd") for path in sorted(processed.rglob(f"*.{ending}"))]
    drafts = [draft(path, processed) for path in paths]
    titles = {page.address: re.sub(r"[`*]", "", str(page.meta.get("title") or page.address)) for page in drafts}
    shown = {where: title.removeprefix("contrastive_nb.") if where.startswith("api/") else title for where, title in titles.items()}
    notebooks = {path.relative_to(processed).as_posix(): page.address for path, page in zip(paths, drafts, strict=True)}
    settings = yaml.safe_load((processed / "_quarto.yml").read_text(encoding="utf-8"))
    contents = _places(settings["website"]["sidebar"]["contents"])
    lost = (assets / "lost.js").read_text(encoding="utf-8")
    about = _about(root)
    template = string.Template((assets / "page.html").read_text(encoding="utf-8"))

    def one(page: Draft) -> None:
        toc, body = pandoc(page, processed, assets)
        top = sources.between(page.address, "index.html").removesuffix("index.html")
        chapter = next((e["section"] for e in contents if isinstance(e, dict) and page.address in _flat([e])), "")
        text = template.substitute(
            about=about, title=html.escape(titles[page.address]), site=html.escape(settings["website"]["title"]), top=top,
            description=html.escape(str(page.meta.get("description") or settings["website"]["description"])), toc=toc,
            lede=f'<p class="lede">{html.escape(str(page.meta["description"]))}</p>' if page.meta.get("description") else "",
            chapter=f'<p class="chapter">{html.escape(chapter)}</p>' if chapter else "", body=finish(body, page, notebooks),
            sidebar=_sidebar(page, contents, shown), turn=_turn(page, list(_flat(contents)), shown),
            first=f"<script>\n{lost}</script>\n" if page.address == "404.html" else "",
            kind=KINDS.get(page.address, "page"),
        )  # fmt: skip
        sources.write(out / page.address, text)
        for name, content in page.files.items():
            place = (out / page.address).parent / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)

    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(one, drafts))
    (out / "_site_assets").mkdir(parents=True, exist_ok=True)
    for path in assets.iterdir():
        if path.suffix in (".css", ".js", ".svg"):
            shutil.copy(path, out / "_site_assets")
    search.write(root, out)


def _places(contents):
    "The sidebar's entries with addresses in place of sources."
    return [
        {"section": e["section"], "contents": _places(e["contents"])} if isinstance(e, dict)
        else re.sub(r"\.qmd$", ".html", e) if e.endswith(".qmd") else sources.address(e)
        for e in contents
    ]  # fmt: skip
