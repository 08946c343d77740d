"""A page's notebook as the website gets it: links under its title, folded code, notes above exported cells. Plain module: machinery.

Also the copy for Colab.
"""

import ast
import html
import json
import re

from contrastive_nb.book import glossary
from contrastive_nb.book.site import sources, terms
from contrastive_nb.book.site.links import Known
from contrastive_nb.book.site.names import names_on
from contrastive_nb.book.site.prose import anchor_references, equations, folds, link_equations, link_names, number_figures, raw_html

MADE = {  # pages whose tables and figure come from data/ and from other pages alone
    *("catalogue", "ledger"),
    *("guides/03_an_afternoon", "guides/04_six_weeks", "guides/06_cheat_sheet", "guides/07_glossary"),
}


def markdown_cell(text: str) -> dict:
    "A cell of text."
    return {"cell_type": "markdown", "metadata": {}, "source": text}


def cite(page: sources.Page, citation: dict, repository: str | None) -> str:
    "BibTeX for one page."
    authors = " and ".join(author.get("name") or f"{author['family-names']}, {author['given-names']}" for author in citation["authors"])
    url = f",\n  url = {{{repository}/blob/main/nbs/{page.name}.ipynb}}" if repository else ""
    key = "contrastive_nb_" + re.sub(r"\W+", "_", page.name.rpartition("/")[2])
    title = page.title if page.name == "index" else f"{page.title}, in contrastive_nb"
    return f"@misc{{{key},\n  title = {{{title}}},\n  author = {{{{{authors}}}}},\n  note = {{Version {citation['version']}}}{url}\n}}"


def actions(page: sources.Page, citation: dict, repository: str | None, joined: Known) -> str:
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
    links += joined.of_page(page.name, sources.between(page.address, "index.html").removesuffix("index.html"))
    links.append(f'<details class="cite"><summary>Cite</summary><pre tabindex="0">{entry}</pre></details>')
    return raw_html(f'<div class="page-actions">{"".join(links)}</div>')


def exported_note(names: list[str], module: str, page: sources.Page) -> str:
    "The line above an exported cell: where its names go, with their places for links from the reference."
    spans = "".join(f'<span id="def-{name}"></span>' for name in names)
    links = ", ".join(f'<a href="{sources.between(page.address, f"api/{module}.html")}#{name}"><code>{name}</code></a>' for name in names)
    return raw_html(f'<p class="exported-note">{spans}exported to <code>contrastive_nb.{module}</code>, reference: {links}</p>')


def notebook(page: sources.Page, table, methods: set[str], outputs: dict, citation: dict, repository: str | None, joined: Known) -> dict:
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
            cell["source"] = re.sub(r"<!-- verdict ([\w-]+) -->", lambda m: raw_html(joined.verdicts[m[1]]), cell["source"])
            cell["source"], more = equations(number_figures(folds(cell["source"])))
            numbers |= set(more)
    done, titled, link_terms = [], False, terms.linker(page.name, glossary.terms())
    for cell in cells:
        text = cell["source"]
        if cell["cell_type"] == "markdown":
            if not titled and text.startswith("# "):
                titled = True
                done += [cell, markdown_cell(actions(page, citation, repository, joined))]
                continue
            cell["source"] = link_terms(link_names(link_equations(anchor_references(text, works), numbers), known))
            done.append(cell)
        elif not re.match(r"#\|\s*default_exp", text):
            done += code_cell(cell, module, table, outputs, page)
    return page.book | {"cells": done}


def directives(cell: dict) -> str:
    "A code cell's text with the lines that Quarto and the drafts read in place of its metadata: what is folded, the alt text."
    text, more = cell["source"], []
    if cell["metadata"].get("jupyter", {}).get("source_hidden") and not re.search(r"^#\|\s*(?:code-fold|echo):", text, re.M):
        name = (re.match(r"# ([^\n]+)\n", text) or [None, ""])[1]
        text, more = (
            text.removeprefix(f"# {name}\n"),
            ["#| code-fold: true", f"#| code-summary: {json.dumps(name or 'Set-up', ensure_ascii=False)}"],
        )
    if alt := cell["metadata"].get("alt"):
        more.append(f"#| fig-alt: {json.dumps(alt, ensure_ascii=False)}")
    return "\n".join([*more, text])


def code_cell(cell: dict, module: str | None, table, outputs: dict, page: sources.Page) -> list[dict]:
    "A code cell for the website, with a line above it where it is exported: nbdev would hide exported code, and here it is the lesson."
    if "parameters" in cell["metadata"].get("tags", []) and "contrastive_nb" in page.book["metadata"]:
        return [markdown_cell(ran(page, cell))] if page.name not in MADE else []
    cell["source"] = directives(cell)
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


def ran(page: sources.Page, cell: dict) -> str:
    "What the outputs were made with, in place of the cell that says `ci`: that is what a reader's own first run begins with."
    profile = html.escape(page.book["metadata"]["contrastive_nb"]["profile"])
    first = dict(re.findall(r"^(\w+) = \"?(\w+)\"?$", cell["source"], re.M))
    said = f"Run with profile <code>{profile}</code>, first seed {first.get('seed', 'not said')}."
    small = f" Your own copy begins with <code>{first['profile']}</code>, which is small." if first.get("profile") != profile else ""
    return raw_html(f'<p class="ran">{said}{small}</p>')


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
