"""HTML from processed notebooks with pandoc, where there is no Quarto. Plain module: machinery.

One markdown text a page, one run of pandoc, one template. What Quarto numbers (figures) and folds (code, callouts) is done here.
"""

import base64
import html
import re
import shutil
import string
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from contrastive_nb.book.site import sources, stage

ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
PICTURES = {"image/svg+xml": "svg", "image/png": "png", "image/jpeg": "jpg"}
EXTENSIONS = "markdown+tex_math_dollars-implicit_figures-tex_math_single_backslash-raw_tex"


@dataclass
class Draft:
    "A page on its way: where it goes, what its front matter says, its text, the pictures beside it."

    address: str
    meta: dict = field(default_factory=dict)
    parts: list[str] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    figures: dict[str, int] = field(default_factory=dict)  # label -> number


# --- from cells to markdown -----------------------------------------------------------------------------------------------------------


def _fence(text: str, kind: str) -> str:
    ticks = "`" * max(3, max((len(run) for run in re.findall(r"`+", text)), default=0) + 1)
    return f"{ticks}{kind}\n{text}\n{ticks}"


def _raw(text: str) -> str:
    return _fence(text, "{=html}")


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


def _output(draft: Draft, output: dict, options: dict) -> str:
    "One output as markdown, the richest form that it has."
    if output["output_type"] == "stream":
        return _raw(f'<pre class="stream" tabindex="0">{html.escape(ANSI.sub("", "".join(output["text"])))}</pre>')
    if output["output_type"] == "error":
        return _raw(f'<pre class="error" tabindex="0">{html.escape(ANSI.sub("", chr(10).join(output["traceback"])))}</pre>')
    data = output.get("data", {})
    if picture := _picture(draft, data, options.get("label"), options.get("fig-alt") or "A picture without a description"):
        return _raw(picture)
    if "text/html" in data:
        return _raw(f'<div class="scroll" tabindex="0">{"".join(data["text/html"])}</div>')
    if "text/markdown" in data:
        return "".join(data["text/markdown"])
    return _raw(f'<pre class="value" tabindex="0">{html.escape("".join(data.get("text/plain", "")))}</pre>') if "text/plain" in data else ""


def _code(draft: Draft, cell: dict) -> None:
    options, code = _options(sources.source(cell))
    if options.get("include") is False:
        return
    classes = " ".join(f".{name}" for name in str(options.get("classes") or "").split())
    if code and options.get("echo") is not False:
        block = f"::: {{.cell {classes}}}\n" + _fence(code, "python") + "\n:::"
        if fold := options.get("code-fold"):
            unfold, summary = " open" if fold == "show" else "", html.escape(options.get("code-summary") or "Code")
            opening = _raw(f'<details class="fold"{unfold}><summary>{summary}</summary>')
            block = "\n\n".join([opening, block, _raw("</details>")])
        draft.parts.append(block)
    shown = [text for output in cell.get("outputs", []) if (text := _output(draft, output, options))]
    if not shown:
        return
    label = options.get("label")
    if label and label.startswith("fig-"):
        number = draft.figures[label] = len(draft.figures) + 1
        says = f"[Figure {number}]{{.number}} {options.get('fig-cap') or ''}"
        shown = [_raw(f'<figure id="{label}">'), *shown, _raw("<figcaption>"), says, _raw("</figcaption></figure>")]
    else:
        shown = [_raw('<div class="output">'), *shown, _raw("</div>")]
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


def _references(page: Draft) -> str:
    "The page's markdown with `@fig-x` resolved."

    def link(found):
        label = found.group(1)
        return f"[Figure {page.figures[label]}](#{label})" if label in page.figures else found.group()

    return "\n\n".join(stage.outside_code(part, lambda text: re.sub(r"@(fig-[\w-]+)", link, text)) for part in page.parts)


# --- from markdown to HTML ------------------------------------------------------------------------------------------------------------


def pandoc(page: Draft, processed: Path, assets: Path) -> tuple[str, str]:
    "Table of contents and body. Raises `ValueError` with what pandoc warned of, such as a formula that it cannot set."
    import pypandoc

    template, bibliography = assets / "pandoc.html", processed.parent / "data" / "references.bib"
    command = [
        pypandoc.get_pandoc_path(), f"--from={EXTENSIONS}", "--to=html5", "--mathml", "--toc", "--toc-depth=3", f"--template={template}",
        f"--lua-filter={assets / 'filter.lua'}", "--citeproc", f"--bibliography={bibliography}", "-M", "link-citations=true",
        "-M", f"suppress-bibliography={str(page.meta.get('suppress-bibliography', True)).lower()}", "-M", "title=-", "--wrap=none",
    ]  # fmt: skip
    nocite = f'---\nnocite: "{page.meta["nocite"]}"\n---\n\n' if "nocite" in page.meta else ""
    done = subprocess.run(command, input=nocite + _references(page), capture_output=True, text=True)
    if done.returncode or done.stderr.strip():
        raise ValueError(f"{page.address}: pandoc says {done.stderr.strip()}")
    toc, body = done.stdout.split("<!-- body -->", 1)
    return toc.strip(), body.strip()


def _long_inline(found) -> str:
    "MathML does not break lines: a long formula in the text scrolls by itself on a phone."
    tex = re.search(r"<annotation[^>]*>(.*?)</annotation>", found.group(), re.S)
    long = tex and len(re.sub(r"\\[a-zA-Z]+|[{}_^ ]", "x", tex.group(1))) > 30
    return f'<span class="formula-inline" tabindex="0">{found.group()}</span>' if long else found.group()


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
    body = re.sub(r"<pre(?![^>]*tabindex)", '<pre tabindex="0"', body)
    body = re.sub(r'(<math display="block".*?</math>)', r'<span class="formula" tabindex="0">\1</span>', body, flags=re.S)
    body = re.sub(r'<math display="inline".*?</math>', _long_inline, body, flags=re.S)
    if "nocite" not in page.meta:
        here = set(re.findall(r'id="(ref-[^"]+)"', body))
        elsewhere = sources.between(page.address, "references.html")
        body = re.sub(r'href="#(ref-[^"]+)"', lambda m: m.group() if m.group(1) in here else f'href="{elsewhere}#{m.group(1)}"', body)
    return body


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
    template = string.Template((assets / "page.html").read_text(encoding="utf-8"))

    def one(page: Draft) -> None:
        toc, body = pandoc(page, processed, assets)
        top = sources.between(page.address, "index.html").removesuffix("index.html")
        chapter = next((e["section"] for e in contents if isinstance(e, dict) and page.address in _flat([e])), "")
        text = template.substitute(
            title=html.escape(titles[page.address]), site=html.escape(settings["website"]["title"]), top=top,
            description=html.escape(str(page.meta.get("description") or settings["website"]["description"])), toc=toc,
            lede=f'<p class="lede">{html.escape(str(page.meta["description"]))}</p>' if page.meta.get("description") else "",
            chapter=f'<p class="chapter">{html.escape(chapter)}</p>' if chapter else "", body=finish(body, page, notebooks),
            sidebar=_sidebar(page, contents, shown), turn=_turn(page, list(_flat(contents)), shown),
            kind="front" if page.address == "index.html" else "table" if page.address in ("catalogue.html", "ledger.html") else "page",
        )  # fmt: skip
        stage.write(out / page.address, text)
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


def _places(contents):
    "The sidebar's entries with addresses in place of sources."
    return [
        {"section": e["section"], "contents": _places(e["contents"])} if isinstance(e, dict)
        else re.sub(r"\.qmd$", ".html", e) if e.endswith(".qmd") else sources.address(e)
        for e in contents
    ]  # fmt: skip
