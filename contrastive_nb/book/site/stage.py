"""Prepares the notebooks for nbdev and then for Quarto or pandoc. Plain module: machinery.

No cell is run. What depends on data/ alone (catalogue and ledger) is made anew, so that it never lags behind the records.
"""

import ast
import html
import json
import re
import shutil
from pathlib import Path

import yaml

from contrastive_nb.book.site import api, reference, sources

FENCE = re.compile(r"(^(?:```|~~~).*?^(?:```|~~~)[ \t]*$)", re.M | re.S)
CODE = re.compile(r"((?<!`)`[^`\n]+`(?!`))")


def outside_code(text: str, change) -> str:
    "The text with `change` applied to what is neither a fence nor a code span."
    parts = FENCE.split(text)
    for i in range(0, len(parts), 2):
        spans = CODE.split(parts[i])
        spans[::2] = map(change, spans[::2])
        parts[i] = "".join(spans)
    return "".join(parts)


# --- text -------------------------------------------------------------------------------------------------------------------------


def equations(text: str) -> tuple[str, list[str]]:
    r"Every `$$ ... \tag{1} $$` as a numbered line that can be linked to; MathML knows no tags. Also the numbers found."
    numbers = []

    def line(found):
        tag = re.search(r"\\tag\{([^}]*)\}", found.group(1))
        if not tag:
            return found.group()
        numbers.append(tag.group(1))
        formula = re.sub(r"\s*\\tag\{[^}]*\}\s*", " ", found.group(1)).strip()
        return f"[$${formula}$$ [({tag.group(1)})]{{.eqno}}]{{#eq-{tag.group(1)} .numbered}}"

    return outside_code(text, lambda part: re.sub(r"\$\$(.+?)\$\$", line, part, flags=re.S)), numbers


def link_equations(text: str, numbers: set[str]) -> str:
    "`(3)` in the text links to the equation of that number, if the page has it."

    def change(part):
        pieces = re.split(r"(\$\$.+?\$\$|(?<!\$)\$[^$\n]+\$|\]\([^)]*\))", part, flags=re.S)
        for i in range(0, len(pieces), 2):
            pieces[i] = re.sub(
                r"(?<![\w\]\[)])\((\d+[a-z]?)\)(?![\w(\]])",
                lambda m: f"[({m.group(1)})](#eq-{m.group(1)})" if m.group(1) in numbers else m.group(),
                pieces[i],
            )
        return "".join(pieces)

    return outside_code(text, change)


def anchor_references(text: str, works: str = "references.qmd") -> str:
    "In a list of references the key at an item's end becomes the place that citations link to, and a link to the book's one list."

    def item(found):
        start, words, key = found.groups()
        return f"{start}[]{{#ref-{key} .reference}}{words.rstrip()} [[{key}]]({works}#ref-{key}){{.key}}"

    head, mark, rest = re.match(r"(.*?)(^## References\b|\Z)(.*)", text, re.S | re.M).groups()
    return head + mark + re.sub(r"^([-*] )(.*?)\s*\[@([\w:-]+)\]\.?[ \t]*$", item, rest, flags=re.M)


def link_names(text: str, known: dict[str, str]) -> str:
    "A code span that is a public name, on a page that imports or exports it, links to its entry in the reference."

    def link(found):
        target = known.get(re.sub(r"\(\)$", "", found.group(1)))
        return f"[`{found.group(1)}`]({target}){{.api}}" if target else found.group()

    parts = FENCE.split(text)
    for i in range(0, len(parts), 2):
        parts[i] = re.sub(r"(?<![`\[\w])`([A-Za-z_][\w.]*(?:\(\))?)`(?![`\]])", link, parts[i])
    return "".join(parts)


# --- names ------------------------------------------------------------------------------------------------------------------------


def _trees(cells):
    for cell in cells:
        if cell["cell_type"] == "code":
            try:
                yield ast.parse("\n".join(line for line in sources.source(cell).split("\n") if not line.startswith("#|")))
            except SyntaxError:
                continue


def where(modules: list[api.Module]) -> dict[str, dict[str, str]]:
    "For each module the public names and the module that defines them."
    table = {m.name: {d.name: m.name for d in m.definitions} | m.gathers for m in modules}
    table[""] = {}
    return table


def names_on(cells, module: str | None, table, methods: set[str]) -> dict[str, str]:
    "The public names that a page exports or imports, with the module that defines each."
    found = dict(table.get(module, {}))
    for tree in _trees(cells):
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "contrastive_nb":
                inside = node.module.removeprefix("contrastive_nb").lstrip(".")
                for alias in node.names:
                    if alias.name in table.get(inside, {}):
                        found[alias.asname or alias.name] = table[inside][alias.name]
                    elif not inside and alias.name in table:  # from contrastive_nb import plots
                        found |= {f"{alias.asname or alias.name}.{n}": m for n, m in table[alias.name].items()}
    return {name: where for name, where in found.items() if name not in methods}  # `check()` may mean a method: no link


WORKS = """---
title: "Works cited"
description: "Every work that the book cites, from one list."
nocite: "@*"
suppress-bibliography: false
---

::: {#refs}
:::
"""
MADE = ("catalogue", "ledger")  # pages whose tables and figure come from data/ alone


# --- what depends on data/ alone ------------------------------------------------------------------------------------------------------


def generated() -> dict:
    "Outputs by the label of their cell."
    from contrastive_nb.book import catalogue

    rows, records = catalogue.rows(), catalogue.recorded()
    made = {
        "tbl-catalogue": {"text/html": catalogue.as_html(rows)},
        "tbl-families": {"text/html": catalogue.families_html(rows)},
        "tbl-ledger": {"text/html": catalogue.ledger_html(records, catalogue.stale())},
        "tbl-verdicts": {"text/html": catalogue.verdicts_html(records)},
    }
    if drawn := catalogue.drawn(records):
        made["fig-ledger"] = {"image/svg+xml": _forest(drawn)}
    return made


def _forest(rows) -> str:
    import matplotlib

    matplotlib.use("agg")
    from contrastive_nb.book import catalogue, plots

    plots.style()
    return catalogue.forest(rows)


# --- a page ---------------------------------------------------------------------------------------------------------------------------


def markdown_cell(text: str) -> dict:
    "A cell of text."
    return {"cell_type": "markdown", "metadata": {}, "source": text}


def raw_html(text: str) -> str:
    "Markdown that both renderers pass through as HTML."
    return f"```{{=html}}\n{text}\n```"


def cite(page: sources.Page, citation: dict, repository: str | None) -> str:
    "BibTeX for one page."
    authors = " and ".join(author.get("name") or f"{author['family-names']}, {author['given-names']}" for author in citation["authors"])
    url = f",\n  url = {{{repository}/blob/main/nbs/{page.name}.ipynb}}" if repository else ""
    key = "contrastive_nb_" + re.sub(r"\W+", "_", page.name.rpartition("/")[2])
    title = page.title if page.name == "index" else f"{page.title}, in contrastive_nb"
    return f"@misc{{{key},\n  title = {{{title}}},\n  author = {{{{{authors}}}}},\n  note = {{Version {citation['version']}}}{url}\n}}"


def actions(page: sources.Page, citation: dict, repository: str | None) -> str:
    "The row of links under a page's title."
    name = f"{page.name}.ipynb"
    copy = sources.between(page.address, f"colab/{name}")
    links = [f'<a href="{sources.between(page.address, f"notebooks/{name}")}" download>Download notebook</a>']
    if repository and "github.com/" in repository:
        on_colab = f"https://colab.research.google.com/github/{repository.split('github.com/')[1]}/blob/gh-pages/colab/{name}"
        links.append(f'<a href="{on_colab}" rel="external">Open in Colab</a>')
    else:
        links.append(
            f'<a href="{copy}" download title="A copy whose first cell installs the package: upload it to Colab">Copy for Colab</a>'
        )
    if repository:
        links.append(f'<a href="{repository}/edit/main/nbs/{name}" rel="external">Edit</a>')
    entry = html.escape(cite(page, citation, repository))
    links.append(f'<details class="cite"><summary>Cite</summary><pre tabindex="0">{entry}</pre></details>')
    return raw_html(f'<div class="page-actions">{"".join(links)}</div>')


def exported_note(names: list[str], module: str, page: sources.Page) -> str:
    "The line above an exported cell: where its names go, with their places for links from the reference."
    spans = "".join(f'<span id="def-{name}"></span>' for name in names)
    links = ", ".join(f'<a href="{sources.between(page.address, f"api/{module}.html")}#{name}"><code>{name}</code></a>' for name in names)
    return raw_html(f'<p class="exported-note">{spans}exported to <code>contrastive_nb.{module}</code>, reference: {links}</p>')


def notebook(page: sources.Page, table, methods: set[str], outputs: dict, citation: dict, repository: str | None) -> dict:
    "The page's notebook as nbdev gets it."
    cells = [dict(cell) for cell in page.book["cells"]]
    module = next((m.group(1) for c in cells if (m := re.match(r"#\|\s*default_exp\s+(\S+)", sources.source(c)))), None)
    known = {
        n: f"{sources.between(page.address, f'api/{m}.html')}#{n.rpartition('.')[2]}"
        for n, m in names_on(cells, module, table, methods).items()
    }
    works, numbers = sources.between(page.address, "references.qmd"), set()
    for cell in cells:
        cell["source"] = sources.source(cell)
        if cell["cell_type"] == "markdown":
            cell["source"], more = equations(cell["source"])
            numbers |= set(more)
    done, titled = [], False
    for cell in cells:
        text = cell["source"]
        if cell["cell_type"] == "markdown":
            if not titled and text.startswith("# "):
                titled = True
                done += [cell, markdown_cell(actions(page, citation, repository))]
                continue
            cell["source"] = link_names(link_equations(anchor_references(text, works), numbers), known)
            done.append(cell)
        elif not re.match(r"#\|\s*default_exp", text):
            done += code_cell(cell, module, table, outputs, page)
    return page.book | {"cells": done}


def code_cell(cell: dict, module: str | None, table, outputs: dict, page: sources.Page) -> list[dict]:
    "A code cell for the website, with a line above it where it is exported: nbdev would hide exported code, and here it is the lesson."
    lines = cell["source"].split("\n")
    label = next((m.group(1) for line in lines if (m := re.match(r"#\|\s*label:\s*(\S+)", line))), None)
    if label in outputs:
        cell["outputs"] = [{"output_type": "display_data", "metadata": {}, "data": outputs[label]}]
        cell["source"] = "\n".join(["#| echo: false", *(line for line in lines if not re.match(r"#\|\s*echo", line))])
    elif page.name in MADE:
        return []  # what remains there is machinery
    exported = any(re.match(r"#\|\s*export", line) for line in lines)
    if not exported:
        return [cell]
    rest = "\n".join(line for line in lines if not re.match(r"#\|\s*export", line))
    cell["source"] = "#| classes: exported\n" + rest
    public = [n.name for n in ast.parse(rest).body if getattr(n, "name", None) in table.get(module, {})]
    return ([markdown_cell(exported_note(public, module, page))] if public else []) + [cell]


def colab(page: sources.Page, repository: str | None) -> dict:
    "The notebook with a first cell that installs the package, for a machine that has none of it."
    where = f'repository = "{repository}"' if repository else 'repository = ""  # fill in: the address of the repository, as in git clone'
    install = (
        f'{where}\nassert repository, "the address of the repository is missing"\n%pip install -q "contrastive_nb @ git+{{repository}}"'
    )
    first: dict = {
        "cell_type": "code",
        "execution_count": None,
        "id": "install",
        "metadata": {},
        "outputs": [],
        "source": install.splitlines(True),
    }
    return page.book | {"cells": [first, *page.book["cells"]], "nbformat": 4, "nbformat_minor": 5}


# --- all of it --------------------------------------------------------------------------------------------------------------------------


def write(path: Path, text: str) -> None:
    "A text file, with its folders."
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def quarto_settings(root: Path, api: list[str], repository: str | None) -> dict:
    "_quarto.yml with what only a build knows: the reference's pages, the scripts and styles that both renderers share."
    site = sources.settings(root)
    web, page = site["website"], site["format"]["html"]
    site["project"] |= {"output-dir": "_site"}
    web |= {"title": sources.project(root)["name"], "description": sources.project(root)["description"]}
    web |= {"repo-url": repository} if repository else {}
    web["sidebar"]["contents"] += ["references.qmd", {"section": "API", "contents": api}]
    page |= {"css": "_site_assets/shared.css", "include-after-body": "_site_assets/after.html"}
    return site | {"link-citations": True}


def stage(root: Path, work: Path, notebooks: Path | None = None) -> list[sources.Page]:
    "Write everything that nbdev is to process under work/nbs; the pages."
    shutil.rmtree(work, ignore_errors=True)
    pages, repository, citation = sources.pages(root, notebooks), sources.repository(root), sources.citation(root)
    modules = api.modules(root / "contrastive_nb")
    table, outputs = where(modules), generated()
    methods = {method.name for m in modules for d in m.definitions for method in d.methods}
    for page in pages:
        write(work / "nbs" / f"{page.name}.ipynb", json.dumps(notebook(page, table, methods, outputs, citation, repository)))
    titles = {page.name: page.title for page in pages}
    known = {d.name: f"{m.name}.html#{d.name}" for m in modules for d in m.definitions if m.notebook}
    write(work / "nbs" / "api" / "index.qmd", reference.index(modules, titles, sources.address))
    for module in modules:
        write(work / "nbs" / "api" / f"{module.name}.qmd", reference.page(module, known, titles, sources.address))
    write(work / "nbs" / "references.qmd", WORKS)
    entries = ["api/index.qmd", *(f"api/{module.name}.qmd" for module in modules)]
    write(work / "nbs" / "_quarto.yml", yaml.safe_dump(quarto_settings(root, entries, repository), sort_keys=False))
    # nbdev finds its settings here: no links of its own, and its output beside this file
    write(
        work / "pyproject.toml",
        '[project]\nname = "contrastive_nb"\nversion = "0"\n[tool.nbdev]\nrecursive = true\nskip_procs = "add_links"\n',
    )
    (work / "data").mkdir()
    shutil.copy(root / "data" / "references.bib", work / "data")
    return pages
