"""The catalogue of methods: what data/catalogue.yml says of each, joined with what the project has of it by now. Plain module."""

import html
import json
import re
from collections.abc import Container
from functools import cache

from contrastive_nb import files, registry
from contrastive_nb.lab import claims, freshness


def entries() -> list[dict]:
    "The rows of data/catalogue.yml as they stand: id, title, family, idea, the four choices, ... (see the file's head)."
    import yaml

    return yaml.safe_load(files.shared("data/catalogue.yml").read_text(encoding="utf-8"))


def rows() -> list[dict]:
    """One dict a method with its generated state: `state`, `notebooks`, `functions`, `oracles`, `claims`, `verdicts`.

    `state` is "derived" where the registry has a function of this paper, "claimed" where only a claim is recorded, else "planned".
    `verdicts` maps a claim's id to its verdict at each size that was run.
    """
    methods, records = registry.methods(), claims.load()
    joined = []
    for entry in entries():
        mine = [method for method in methods if entry["id"] in method.papers]
        judged = [record for record in records if record["paper"] == entry["id"]]
        pages = dict.fromkeys([method.notebook for method in mine] + [record["notebook"] for record in judged])
        joined.append(
            entry
            | {
                "state": "derived" if mine else "claimed" if judged else "planned",
                "notebooks": list(pages),
                "functions": list(dict.fromkeys(method.function.replace(":", ".") for method in mine)),
                "oracles": list(dict.fromkeys(oracle for method in mine for oracle in method.oracles)),
                "claims": [record["id"] for record in judged],
                "verdicts": {r["id"]: {profile: run["verdict"] for profile, run in r["runs"].items()} for r in judged},
            }
        )
    return joined


# --- as HTML: the same rows in JupyterLab and on the website, where a script adds filters and sorting ---------------------------------


def _text(value) -> str:
    "What a record or a row says, as text of a page: never a tag or an attribute of its own."
    return html.escape(str(value))


@cache
def _title(name: str) -> str:
    "The page's heading, or its file's name where the notebook is not at hand."
    try:
        cells = json.loads((files.notebooks() / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]
    except (OSError, ValueError):
        return name.rpartition("/")[2]
    texts = ("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    return next((text[2:].split("\n")[0].strip() for text in texts if text.startswith("# ")), name)


def _page(name: str) -> str:
    return f'<a href="{_text(name)}.ipynb">{_text(_title(name))}</a>'


def _verdict(text: str | None) -> str:
    return f'<span class="verdict {_text(text.split()[0].replace("not", "no"))}">{_text(text)}</span>' if text else "not run"


def _words(text: str) -> str:
    "A table's text: whole words apart, `inconclusive at this scale` short."
    return _text(text.replace("-", " "))


def _table(name: str, heads: dict[str, str], lines: list[str], label: str) -> str:
    "A table that the website's script makes filterable; a head is the column's name -> how it filters (`choice`) or sorts (`number`)."
    cells = "".join(f'<th scope="col"{f" class={kind}" if kind else ""}>{head}</th>' for head, kind in heads.items())
    body = "\n".join(lines)
    table = f'<table class="filterable {name}" id="{name}" aria-label="{label}">'
    return f"{table}<thead><tr>{cells}</tr></thead><tbody>\n{body}\n</tbody></table>"


def as_html(rows: list[dict]) -> str:
    "The catalogue, one row a method: id, method, paper, family, state, page, function, claims with their verdicts."
    heads = {"id": "", "method": "", "paper": "", "family": "choice", "state": "choice", "page": "", "function": "", "claims": ""}
    lines = []
    for row in rows:
        functions = ", ".join(f"<code>{_text(name.rpartition('.')[2])}</code>" for name in row["functions"])
        verdicts = "<br>".join(
            f"{_text(claim.partition('-')[2] or claim)}: {_verdict(found.get('laptop') or found.get('gpu'))}"
            for claim, found in row["verdicts"].items()
        )
        method, id = _text(row["aliases"][0] if row["aliases"] else row["short"]), _text(row["id"])
        lines.append(
            f'<tr id="{id}"><td>{id}</td><td><b>{method}</b></td>'
            f"<td>{_text(row['title'])} ({_text(row['year'])})<details><summary>Idea</summary>{_text(row['idea'])}</details></td>"
            f"<td>{_words(row['family'])}</td><td>{_text(row['state'])}</td><td>{', '.join(map(_page, row['notebooks']))}</td>"
            f"<td>{functions}</td><td>{verdicts}</td></tr>"
        )
    return _table("catalogue", heads, lines, "All methods")


def families_html(rows: list[dict]) -> str:
    "How many methods of each family are derived, claimed and planned."
    families = sorted({row["family"] for row in rows}, key=lambda name: (-sum(row["family"] == name for row in rows), name))
    lines = []
    for name in [*families, None]:
        states = [row["state"] for row in rows if name in (row["family"], None)]
        numbers = [states.count("derived"), states.count("claimed"), states.count("planned"), len(states)]
        kind = "th" if name is None else "td"
        lines.append(f"<tr><th scope='row'>{_words(name or 'all')}</th>" + "".join(f"<{kind}>{n}</{kind}>" for n in numbers) + "</tr>")
    heads = "".join(f"<th>{head}</th>" for head in ("family", "derived", "claimed", "planned", "all"))
    return f"<table class='counts'><thead><tr>{heads}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


# --- the ledger -------------------------------------------------------------------------------------------------------------------------


def recorded() -> list[dict]:
    "The ledger's claims that were run at laptop or gpu size, in the order of the catalogue."
    order = {entry["id"]: i for i, entry in enumerate(entries())}
    kept = [record for record in claims.load() if {"laptop", "gpu"} & set(record["runs"])]
    return sorted(kept, key=lambda record: (order.get(record["paper"], len(order)), record["paper"], record["id"]))


def stale() -> set[tuple[str, str]]:
    "The runs, (claim's id, size), whose numbers were made by other code than the code that stands."
    return freshness.stale_runs()


def _measured(run: dict | None, stale: bool = False) -> str:
    if run is None:
        return "not run"
    low, high = run["interval"]
    spread = "deterministic" if len(run["seeds"]) == 1 else f"[{low:.3g}, {high:.3g}], {len(run['seeds'])} seeds"
    mark = ' <abbr title="Made by earlier code than the code that stands; it is to be run again">stale</abbr>' if stale else ""
    return f"{_verdict(run['verdict'])}{mark}<br>" + f"{run['effect']:.3g} {spread}".replace("-", "\u2212")


def ledger_html(
    records: list[dict],  # of `recorded`
    stale: Container[tuple[str, str]] = (),  # (claim's id, size) of runs that are marked as stale
) -> str:
    "One row a claim: what was said, the paper's figure, effect, interval and verdict at both sizes."
    if not records:
        return "<p>No claim has been recorded yet.</p>"
    heads = {
        "claim": "",
        "kind": "choice",
        "statement": "",
        "the paper's figure": "",
        "counts from": "number",
        "laptop": "choice",
        "gpu": "choice",
    }
    lines = []
    for record in records:
        star = (
            ' <abbr title="The formula was reconstructed: the paper\'s own could not be read">reconstructed</abbr>'
            if record["formula"] == "reconstructed"
            else ""
        )
        id = _text(record["id"])
        lines.append(
            f'<tr id="{id}"><td>{id}{star}<br>{_page(record["notebook"])}</td><td>{_text(record["kind"])}</td>'
            f"<td>{_text(record['statement'])}</td>"
            f"<td>{_text(record['paper_figure'] or '–')}</td><td>{record['smallest_effect']:g}</td>"
            + "".join(f"<td>{_measured(record['runs'].get(size), (record['id'], size) in stale)}</td>" for size in ("laptop", "gpu"))
            + "</tr>"
        )
    return _table("ledger", heads, lines, "All claims")


def verdicts_html(records: list[dict]) -> str:
    "How many claims of each kind came out how, at both sizes."
    lines = []
    for size in ("laptop", "gpu"):
        for kind in claims.KINDS:
            found = [r["runs"][size]["verdict"] for r in records if r["kind"] == kind and size in r["runs"]]
            if found:
                numbers = "".join(f"<td>{found.count(verdict)}</td>" for verdict in claims.VERDICTS)
                lines.append(f"<tr><th scope='row'>{kind}, {size}</th>{numbers}<td>{len(found)}</td></tr>")
    heads = "".join(f"<th>{verdict}</th>" for verdict in claims.VERDICTS)
    return f"<table class='counts'><thead><tr><th>claims</th>{heads}<th>all</th></tr></thead><tbody>{''.join(lines)}</tbody></table>"


def drawn(records: list[dict]) -> list[tuple]:
    """Rows for `forest`: (id and size, effect, low, high, verdict), in units of the smallest effect that counts.

    In these units 1 is the verdict's threshold, whatever the claim measures, so that accuracies and gradients share an axis.
    """
    rows = []
    for record in records:
        for size, run in record["runs"].items():
            if size in ("laptop", "gpu"):
                unit = record["smallest_effect"]
                label = record["id"] + (" (gpu)" if size == "gpu" else "") + ("*" if record["formula"] == "reconstructed" else "")
                rows.append((label, run["effect"] / unit, *(x / unit for x in run["interval"]), run["verdict"]))
    return rows


def forest(
    rows: list[tuple],  # of `drawn`
) -> str:
    """The ledger in one picture, as SVG. Between -1 and 1 the axis is linear, beyond that logarithmic.

    Text stays text and a verdict's marks are one collection: a row weighs half a kilobyte, so that hundreds fit on a page.
    """
    import io

    import matplotlib.pyplot as plt

    from contrastive_nb.book import plots

    with plt.rc_context({"svg.fonttype": "none"}):
        figure, axes = plt.subplots(figsize=(plots.WIDE[0], 1.0 + 0.2 * len(rows)))
        for verdict, (colour, marker, filled) in plots.VERDICTS.items():
            mine = [(y, *row[1:4]) for y, row in enumerate(rows) if row[4] == verdict]
            if mine:
                ys, effects, lows, highs = zip(*mine, strict=True)
                axes.hlines(ys, lows, highs, color=colour, linewidth=1.5)
                face = colour if filled else "white"
                axes.scatter(effects, ys, s=36, marker=marker, facecolor=face, edgecolor=colour, zorder=3, label=verdict)
        axes.axvline(0, color="#3f3f3f", linewidth=0.9, zorder=1)
        axes.axvline(1, color="#3f3f3f", linewidth=0.9, linestyle=":", zorder=1)
        axes.set_xscale("symlog", linthresh=1, linscale=0.7)
        axes.xaxis.set_major_formatter(lambda x, _: f"{x:g}".replace("-", "\u2212"))
        axes.set(yticks=range(len(rows)), yticklabels=[row[0] for row in rows], ylim=(len(rows) - 0.4, -0.6))
        axes.set_xlabel("effect in the claimed direction / smallest effect that counts (95% interval)")
        axes.grid(False, axis="y")
        axes.tick_params(axis="y", length=0)
        if len({row[4] for row in rows}) > 1:
            axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=3, handletextpad=0.3)
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None}, bbox_inches="tight")
        plt.close(figure)
    return re.sub(r"\n\s+", "\n", text.getvalue())
