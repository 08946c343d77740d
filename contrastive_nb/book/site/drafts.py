"""A processed notebook as one markdown text, with its pictures beside it. Plain module: machinery.

What Quarto does where it is there, numbering figures and folding code, is done here.
"""

import ast
import base64
import html
import re
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from contrastive_nb.book.site import sources
from contrastive_nb.book.site.prose import fence, outside_code, raw_html
from contrastive_nb.lab import cards
from contrastive_nb.lab.claims import Claim

ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
PICTURES = {"image/svg+xml": "svg", "image/png": "png", "image/jpeg": "jpg"}


@dataclass
class Draft:
    "A page on its way: where it goes, what its front matter says, its text, the pictures beside it."

    address: str
    meta: dict = field(default_factory=dict)
    parts: list[str] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    figures: dict[str, int] = field(default_factory=dict)  # label -> number


def _options(source: str) -> tuple[dict, str]:
    "The `#| key: value` lines of a cell, and the rest."
    lines = source.split("\n")
    found = [re.match(r"#\|\s*([\w-]+):\s*(.*)", line) for line in lines]
    said = {m.group(1): yaml.safe_load(m.group(2)) for m in found if m}
    return said, "\n".join(line for line in lines if not line.startswith("#|")).strip("\n")


def _picture(draft: Draft, data: dict, label: str | None, alt: str) -> str | None:
    for kind, ending in PICTURES.items():
        if kind in data:
            content = "".join(data[kind])
            name = f"{Path(draft.address).stem}_files/{label or f'picture-{len(draft.files) + 1}'}.{ending}"
            while name in draft.files:
                name = name.replace(f".{ending}", f"-{len(draft.files)}.{ending}")
            draft.files[name] = content.encode() if ending == "svg" else base64.b64decode(content)
            size = re.search(r'width="([\d.]+)pt" height="([\d.]+)pt"|height="([\d.]+)pt".*?width="([\d.]+)pt"', content[:2000])
            numbers = [float(n) for n in (size.groups() if size else ()) if n]
            if size and size.group(3):
                numbers.reverse()
            room = f' width="{numbers[0] * 1.45:.0f}" height="{numbers[1] * 1.45:.0f}"' if numbers else ""
            return f'<img src="{name}" alt="{html.escape(alt)}"{room}>'
    return None


def claims_in(text: str) -> list[Claim]:
    "The claims that an output prints, one alone or a list of them; none where it prints anything else. It is read, not run."
    if "Claim(" not in text[:8]:
        return []
    try:
        body = ast.parse(text, mode="eval").body
        calls: list = body.elts if isinstance(body, (ast.Tuple, ast.List)) else [body]
        return [Claim(**{word.arg: ast.literal_eval(word.value) for word in call.keywords}) for call in calls]
    except (SyntaxError, TypeError, ValueError, AttributeError):  # it was printed by an earlier shape of the class
        return []


def _output(draft: Draft, output: dict, options: dict) -> str:
    "One output as markdown, the richest form that it has."
    if output["output_type"] == "stream":
        return raw_html(f'<pre class="stream" tabindex="0">{html.escape(ANSI.sub("", "".join(output["text"])))}</pre>')
    if output["output_type"] == "error":
        return raw_html(f'<pre class="error" tabindex="0">{html.escape(ANSI.sub("", chr(10).join(output["traceback"])))}</pre>')
    data = output.get("data", {})
    if picture := _picture(draft, data, options.get("label"), options.get("fig-alt") or "A picture without a description"):
        return raw_html(picture)
    if "text/html" in data:
        return raw_html(f'<div class="scroll" tabindex="0">{"".join(data["text/html"])}</div>')
    if "text/markdown" in data:
        return "".join(data["text/markdown"])
    text = "".join(data.get("text/plain", ""))
    if claims := claims_in(text):
        return raw_html("".join(map(cards.card, claims)))
    return raw_html(f'<pre class="value" tabindex="0">{html.escape(text)}</pre>') if text else ""


def _code(draft: Draft, cell: dict) -> None:
    options, code = _options(sources.source(cell))
    if options.get("include") is False:
        return
    classes = " ".join(f".{name}" for name in str(options.get("classes") or "").split())
    if code and options.get("echo") is not False:
        block = f"::: {{.cell {classes}}}\n" + fence(code, "python") + "\n:::"
        if fold := options.get("code-fold"):
            unfold, summary = " open" if fold == "show" else "", html.escape(options.get("code-summary") or "Code")
            opening = raw_html(f'<details class="fold"{unfold}><summary>{summary}</summary>')
            block = "\n\n".join([opening, block, raw_html("</details>")])
        draft.parts.append(block)
    shown = [text for output in cell.get("outputs", []) if (text := _output(draft, output, options))]
    if not shown:
        return
    label = options.get("label")
    if label and label.startswith("fig-"):
        number = draft.figures[label] = len(draft.figures) + 1
        says = f"[Figure {number}]{{.number}} {options.get('fig-cap') or ''}"
        shown = [raw_html(f'<figure id="{label}">'), *shown, raw_html("<figcaption>"), says, raw_html("</figcaption></figure>")]
    else:
        shown = [raw_html('<div class="output">'), *shown, raw_html("</div>")]
    draft.parts += shown


def draft(path: Path, processed: Path) -> Draft:
    "The page of a processed notebook or text."
    place = path.relative_to(processed)
    if path.suffix == ".qmd":
        head, text = re.match(r"---\n(.*?)\n---\n(.*)", path.read_text(encoding="utf-8"), re.S).groups()
        return Draft(place.with_suffix(".html").as_posix(), yaml.safe_load(head), [text])
    page = Draft(sources.address(place.as_posix()))
    for cell in sources.read(path)["cells"]:
        text = sources.source(cell)
        if cell["cell_type"] == "raw" and (head := re.match(r"---\n(.*?)\n---", text, re.S)):
            page.meta |= yaml.safe_load(head.group(1))
        elif cell["cell_type"] == "markdown":
            page.parts.append(text)
        elif cell["cell_type"] == "code":
            _code(page, cell)
    return page


def resolved(page: Draft) -> str:
    "The page's markdown with every `@fig-x` a link to its figure."

    def link(found):
        label = found.group(1)
        return f"[Figure {page.figures[label]}](#{label})" if label in page.figures else found.group()

    return "\n\n".join(outside_code(part, lambda text: re.sub(r"@(fig-[\w-]+)", link, text)) for part in page.parts)
