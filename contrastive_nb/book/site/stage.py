"""Writes what nbdev is to process: the notebooks, the reference's pages, the list of works, the settings. Plain module: machinery.

No cell is run. What depends on data/ and on pages alone (catalogue, ledger, ways, sheet, glossary) is made anew, so that it never lags.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import yaml

from contrastive_nb.book.site import api, links, notebooks, reference, sources
from contrastive_nb.book.site.links import Known
from contrastive_nb.book.site.names import where

WORKS = """---
title: "Works cited"
description: "Every work that the book cites, from one list."
nocite: "@*"
suppress-bibliography: false
---

::: {#refs}
:::
"""

NOWHERE = """---
title: "This page is not here"
description: "The address leads to no page of the book: it is mistyped, or the page has another name by now."
---

::: {hidden="hidden"}
The address is like these places:

```{=html}
<ul id="nearest"></ul>
```
:::

The **Search** above, or the key `/`, looks through every page, function and method. Or begin at

- [the front page](index.ipynb),
- [the catalogue](catalogue.ipynb) of methods or [the ledger](ledger.ipynb) of claims,
- [all modules](api/index.qmd) and their functions.
"""


def generated(functions: Mapping[str, str]) -> tuple[dict, Known]:  # of `links.functions`
    "Outputs by the label of their cell, and what pages link to."
    from contrastive_nb.book import catalogue, course, glossary, ledger, sheet
    from contrastive_nb.lab import claims

    every = claims.load()  # read and judged once
    methods, records = catalogue.rows(every), ledger.recorded(every)
    rows = ledger.rows(records, ledger.stale(every))
    made = {
        "tbl-catalogue": catalogue.as_html(methods, functions),
        "tbl-families": catalogue.families_html(methods),
        "tbl-headline": ledger.headline_html(rows),
        "tbl-papers": ledger.papers_html(rows),
        "tbl-verdicts": ledger.verdicts_html(rows),
        "tbl-ledger": ledger.outcomes_html(rows, functions=functions),
        "tbl-mechanisms": ledger.mechanisms_html(rows, functions=functions),
        "tbl-apart": ledger.apart_html(rows, functions=functions),
        "tbl-earlier": ledger.earlier_html(rows, functions=functions),
        "tbl-identities": ledger.identities_html(rows),
        "tbl-afternoon": course.way_html("afternoon"),
        "tbl-six-weeks": course.way_html("six_weeks"),
        "tbl-retriever": course.way_html("retriever"),
        "tbl-choices": sheet.choices_html(),
        "tbl-when": sheet.when_html(rows),
        "tbl-glossary": glossary.as_html(),
    }
    shown = {label: {"text/html": text} for label, text in made.items()}
    for label, kind in (("fig-ledger", "outcome"), ("fig-mechanisms", "mechanism")):
        if drawn := ledger.drawn(records, kind):
            shown[label] = {"image/svg+xml": _forest(drawn)}
    kinds, verdicts = {record["id"]: record["kind"] for record in records}, {row.record["id"]: ledger.told_html(row) for row in rows}
    return shown, Known(functions, methods, kinds, verdicts)


def _forest(rows) -> str:
    import matplotlib

    matplotlib.use("agg")
    from contrastive_nb.book import ledger, plots

    plots.style()
    return ledger.forest(rows)


def quarto_settings(root: Path, entries: list[str], repository: str | None) -> dict:
    "_quarto.yml with what only a build knows: the reference's pages, the scripts and styles that both renderers share."
    site = sources.settings(root)
    web, page = site["website"], site["format"]["html"]
    site["project"] |= {"output-dir": "_site"}
    web |= {"title": sources.project(root)["name"], "description": sources.project(root)["description"]}
    web |= {"repo-url": repository} if repository else {}
    web["sidebar"]["contents"] += ["references.qmd", {"section": "API", "contents": entries}]
    page |= {"css": "_site_assets/shared.css", "include-after-body": "_site_assets/after.html"}
    return site | {"link-citations": True}


def stage(root: Path, work: Path, copies: Path | None = None) -> list[sources.Page]:
    "Write everything that nbdev is to process under work/nbs; the pages."
    shutil.rmtree(work, ignore_errors=True)
    pages, repository, citation = sources.pages(root, copies), sources.repository(root), sources.citation(root)
    modules = api.modules(root / "contrastive_nb")
    table = where(modules)
    outputs, joined = generated(links.functions(table))
    methods = {method.name for m in modules for d in m.definitions for method in d.methods}
    for page in pages:
        sources.write(
            work / "nbs" / f"{page.name}.ipynb", json.dumps(notebooks.notebook(page, table, methods, outputs, citation, repository, joined))
        )
    titles = {page.name: page.title for page in pages}
    known = {d.name: f"{m.name}.html#{d.name}" for m in modules for d in m.definitions if m.notebook}
    sources.write(work / "nbs" / "api" / "index.qmd", reference.index(modules, titles, sources.address))
    for module in modules:
        sources.write(work / "nbs" / "api" / f"{module.name}.qmd", reference.page(module, known, titles, sources.address, joined))
    sources.write(work / "nbs" / "references.qmd", WORKS)
    sources.write(work / "nbs" / "404.qmd", NOWHERE)
    entries = ["api/index.qmd", *(f"api/{module.name}.qmd" for module in modules)]
    sources.write(work / "nbs" / "_quarto.yml", yaml.safe_dump(quarto_settings(root, entries, repository), sort_keys=False))
    # nbdev finds its settings here: no links of its own, and its output beside this file
    sources.write(
        work / "pyproject.toml",
        '[project]\nname = "contrastive_nb"\nversion = "0"\n[tool.nbdev]\nrecursive = true\nskip_procs = "add_links"\n',
    )
    (work / "data").mkdir()
    shutil.copy(root / "data" / "references.bib", work / "data")
    return pages
