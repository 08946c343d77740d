"""The catalogue of methods: what data/catalogue.yml says of each, joined with what the project has of it by now. Plain module."""

import re
from collections.abc import Mapping
from functools import cache

from contrastive_nb import files, registry
from contrastive_nb.book import markup
from contrastive_nb.lab import claims
from contrastive_nb.lab.records import is_set_aside

STATES = ("derived", "claimed", "piece", "planned")  # of a method


def entries() -> list[dict]:
    "The rows of data/catalogue.yml as they stand: id, title, family, idea, the four choices, ... (see the file's head)."
    import yaml

    fast = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the same, in C where there is one
    return yaml.load(files.shared("data/catalogue.yml").read_text(encoding="utf-8"), Loader=fast)


def name(entry: dict) -> str:
    "A method as readers know it: its first alias, who published it, when; such as `CACR, Zheng et al. 2023`."
    return f"{called(entry)}, {_authors(entry)} {entry['year']}"


def called(entry: dict) -> str:
    "A method's first alias."
    return entry["aliases"][0] if entry["aliases"] else entry["short"]


@cache
def works() -> frozenset[str]:
    "The keys of references.bib."
    return frozenset(re.findall(r"^@\w+\{([^,\s]+),", files.shared("data/references.bib").read_text(encoding="utf-8"), re.M))


def _authors(entry: dict) -> str:
    "The first author's name, with the second's, or `et al.`; from the key alone where references.bib has no such work."
    bib = files.shared("data/references.bib").read_text(encoding="utf-8")
    found = re.search(rf"@\w+\{{{re.escape(entry['authors_key'] or ' ')},.*?author\s*=\s*\{{(.*?)\}},?\n", bib, re.S)
    if not found:
        return re.sub("[^a-z].*", "", entry["authors_key"] or "").capitalize() or "authors unknown"
    names = [re.sub(r"[{}]", "", who).partition(",")[0].strip() for who in re.split(r"\s+and\s+", found[1])]
    return names[0] + ("" if len(names) == 1 else f" and {names[1]}" if len(names) == 2 and names[1] != "others" else " et al.")


def judged_by(record: dict) -> tuple[str | None, str | None]:
    """The run of a claim that counts, the one at gpu size before the one at laptop size, and its verdict.

    Of a claim that is set aside it is the run of an earlier experiment, if there is one, and the verdict is the claim's own.
    """
    size = next((size for size in ("gpu", "laptop") if size in record["runs"]), None)
    return size, record["verdict"] if is_set_aside(record) else record["runs"][size]["verdict"] if size else None


def rows(
    records: list[dict] | None = None,  # of `claims.load`; None: read now
) -> list[dict]:
    """One dict a method with its generated state: `state`, `notebooks`, `functions`, `oracles`, `claims`, `verdicts`.

    `state` is "derived" where the registry has a function of this paper and a claim is recorded, "claimed" or "piece" where there is
    one of the two, the claim or the function, else "planned".
    `verdicts` maps a claim's id to the verdict that counts.
    """
    methods, records = registry.methods(), claims.load() if records is None else records
    joined = []
    for entry in entries():
        mine = [method for method in methods if entry["id"] in method.papers]
        judged = [record for record in records if record["paper"] == entry["id"]]
        pages = dict.fromkeys([method.notebook for method in mine] + [record["notebook"] for record in judged])
        joined.append(
            entry
            | {
                "state": STATES[2 * (not judged) + (not mine)],
                "notebooks": list(pages),
                "functions": list(dict.fromkeys(method.function.replace(":", ".") for method in mine)),
                "oracles": list(dict.fromkeys(oracle for method in mine for oracle in method.oracles)),
                "claims": [record["id"] for record in judged],
                "verdicts": {record["id"]: judged_by(record)[1] for record in judged},
            }
        )
    return joined


# --- as HTML: the same rows in JupyterLab and on the website, where a script adds filters and sorting ---------------------------------


def as_html(
    rows: list[dict],
    functions: Mapping[str, str]
    | None = None,  # on the website: a function's name -> its entry in the reference; titles and claims link too
) -> str:
    "The catalogue, one row a method: id, method, paper, family, state, page, function, claims with their verdicts. What is planned is folded."
    heads = {"id": "", "method": "", "paper": "", "family": "choice", "state": "choice", "page": "", "function": "", "claims": ""}
    lines = []
    for row in rows:
        code = ", ".join(_function(name, (functions or {}).get(name)) for name in row["functions"])
        verdicts = "<br>".join(_claim(claim, found, functions is not None) for claim, found in row["verdicts"].items())
        method, id = markup.text(called(row)), markup.text(row["id"])
        folded = ' class="planned"' if row["state"] == STATES[-1] else ""
        lines.append(
            f'<tr id="{id}"{folded}><td>{id}</td><td><b>{method}</b></td>'
            f"<td>{_work(row, functions is not None)} ({markup.text(row['year'])})<details><summary>Idea</summary>{markup.text(row['idea'])}</details></td>"
            f"<td>{markup.words(row['family'])}</td><td>{markup.text(row['state'])}</td><td>{', '.join(map(markup.page, row['notebooks']))}</td>"
            f"<td>{code}</td><td>{verdicts}</td></tr>"
        )
    return markup.table("catalogue", heads, lines, "All methods")


def _work(row: dict, linked: bool) -> str:
    title, key = markup.text(row["title"]), row.get("authors_key") or ""
    return f'<a href="references.html#ref-{markup.text(key)}">{title}</a>' if linked and key in works() else title


def _function(name: str, place: str | None) -> str:
    code = f"<code>{markup.text(name.rpartition('.')[2])}</code>"
    return f'<a href="{place}">{code}</a>' if place else code


def _claim(id: str, verdict: str | None, linked: bool) -> str:
    name = markup.text(id.partition("-")[2] or id)
    there = linked and verdict  # the ledger shows what was judged
    return (
        f'<a href="ledger.html#{markup.text(id)}">{name}</a>: {markup.verdict(verdict)}' if there else f"{name}: {markup.verdict(verdict)}"
    )


def families_html(rows: list[dict]) -> str:
    "How many methods of each family are in each state."
    families = sorted({row["family"] for row in rows}, key=lambda name: (-sum(row["family"] == name for row in rows), name))
    lines = []
    for name in [*families, None]:
        states = [row["state"] for row in rows if name in (row["family"], None)]
        numbers = [*map(states.count, STATES), len(states)]
        kind = "th" if name is None else "td"
        lines.append(
            f"<tr><th scope='row'>{markup.words(name or 'all')}</th>" + "".join(f"<{kind}>{n}</{kind}>" for n in numbers) + "</tr>"
        )
    return markup.counts(["family", *STATES, "all"], lines)
