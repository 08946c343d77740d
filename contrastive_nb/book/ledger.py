"""The ledger of claims as a reader asks it: what papers said and what came of it, then every claim with its numbers. Plain module."""

import difflib
import re
from collections.abc import Container, Mapping
from dataclasses import dataclass

from contrastive_nb import registry
from contrastive_nb.book import catalogue, markup
from contrastive_nb.lab import claims, freshness
from contrastive_nb.lab.records import SET_ASIDE, is_set_aside

NOTHING = "\u2013"
EARLIER = "of an earlier experiment"
COUNTED = ("mechanism", "outcome")  # costs stand apart, identities are facts
SAYS = {"paper": "the paper", "implied": "implied", "ours": "ours"}
MARKS = {  # the whole of what a paper says: its sign, and when it is set
    "confirmed": ("\u25cf", "all that stands here of what the paper says is confirmed"),
    "in part": ("\u25d0", "some of it is confirmed, the rest is not, or is not testable here"),
    "not confirmed": ("\u25cb", "put to the test, none of it is confirmed"),
    "open": ("\u25cc", "nothing that the paper itself says was testable here"),
}


@dataclass(frozen=True)
class Row:
    "A claim with the run that counts."

    record: dict  # as `claims.load` gives it
    size: str | None  # of the run, of an earlier experiment where the claim is set aside; None where there is none
    verdict: str
    stale: bool = False
    adjusted: float | None = None  # Holm's p over the claims of its page; None where the run has no p

    @property
    def run(self) -> dict | None:
        return self.record["runs"][self.size] if self.size else None

    @property
    def earlier(self) -> bool:
        "Whether its numbers are of an earlier experiment, on which no verdict rests."
        return self.run is not None and is_set_aside(self.record)

    @property
    def confirmed(self) -> bool:
        return self.verdict == claims.VERDICTS[0]

    @property
    def testable(self) -> bool:
        return self.verdict != claims.VERDICTS[-1]

    def says(self, kind: str) -> bool:
        "Whether it is a claim of this kind that the paper itself makes."
        return self.record["says"] == "paper" and self.record["kind"] == kind


def recorded(
    records: list[dict] | None = None,  # of `claims.load`; None: read now
) -> list[dict]:
    "The ledger's claims that were judged at laptop or gpu size or set aside, in the order of the catalogue."
    order = {entry["id"]: i for i, entry in enumerate(catalogue.entries())}
    kept = [record for record in (claims.load() if records is None else records) if catalogue.judged_by(record)[1]]
    return sorted(kept, key=lambda record: (order.get(record["paper"], len(order)), record["paper"], record["id"]))


def stale(
    records: list[dict] | None = None,  # of `claims.load`; None: read now
) -> set[tuple[str, str]]:
    "The runs, (claim's id, size), whose numbers were made by other code than the code that stands."
    return freshness.stale_runs(records=records)


def _numbers(run: dict) -> claims.Verdict:
    return claims.Verdict(run["effect"], tuple(run["interval"]), run["verdict"], run["baseline"], run["treatment"])


def rows(
    records: list[dict],  # of `recorded`
    stale: Container[tuple[str, str]] = (),  # (claim's id, size) of runs that are marked as stale
) -> list[Row]:
    "The claims as they count, p-values adjusted for the number of claims that a page tests."
    pages: dict[str, dict[str, float]] = {}
    for record in records:
        size, _ = catalogue.judged_by(record)
        p = claims.p_value(_numbers(record["runs"][size])) if size and not is_set_aside(record) else None
        if p is not None:
            pages.setdefault(record["notebook"], {})[record["id"]] = p
    adjusted = {id: p for found in pages.values() for id, p in zip(found, claims.holm(list(found.values())), strict=True)}
    made = []
    for record in records:
        size, verdict = catalogue.judged_by(record)
        old = (record["id"], SET_ASIDE if is_set_aside(record) else size) in stale
        made.append(Row(record, size, verdict or "", old, adjusted.get(record["id"])))
    return made


def names() -> dict[str, str]:
    "The catalogue's papers by id, as readers know them."
    return {entry["id"]: catalogue.name(entry) for entry in catalogue.entries()}


def _name(row: Row, known: dict[str, str]) -> str:
    "A paper of the catalogue, a comparison of this book, or the work as the claim cites it."
    paper = row.record["paper"]
    return known.get(paper) or (markup.title(row.record["notebook"]) if re.fullmatch(r"[A-Z]\d+", paper) else paper)


# --- counts -----------------------------------------------------------------------------------------------------------------------------


def mark(rows: list[Row]) -> str:  # one of MARKS
    "What has become of a paper's own mechanisms and outcomes."
    own = [row for row in rows if any(row.says(kind) for kind in COUNTED)]
    confirmed = sum(row.confirmed for row in own)
    if not any(row.testable for row in own):
        return "open"
    return "confirmed" if confirmed == len(own) else "in part" if confirmed else "not confirmed"


def _of(rows: list[Row], things: str = "") -> str:
    "How many of the claims are confirmed; where not all could be tested, how many could."
    testable = sum(row.testable for row in rows)
    lost = "" if testable == len(rows) else f" ({testable} testable)" if testable else " (none testable)"
    return f"{sum(row.confirmed for row in rows)} of {len(rows)}{things}{lost}"


def headline(rows: list[Row]) -> str:
    "What the ledger says in a few sentences: of what papers said, how much is confirmed; what is not in that count."
    own = {kind: [row for row in rows if row.says(kind)] for kind in COUNTED}
    counts = [_of(found, f" {kind}s") for kind, found in own.items() if found]
    said = f"Confirmed of what papers themselves say: {', '.join(counts)}." if counts else "No claim here is one that a paper makes."
    lost = sum(not row.testable for found in own.values() for row in found)
    said += f" {lost} of these claims {'is' if lost == 1 else 'are'} not testable here." if lost else ""
    others = [row for row in rows if row.record["kind"] in COUNTED and row.record["says"] != "paper"]
    said += f" Not in this count: what papers only imply or what is ours, {_of(others)} confirmed." if others else ""
    costs = [row for row in rows if row.record["kind"] == "cost"]
    said += f" Costs, apart: {_of(costs)} confirmed." if costs else ""
    facts = sum(row.record["kind"] == "identity" for row in rows)
    return said + (f" Facts that a test holds, not counted: {facts}." if facts else "")


def headline_html(rows: list[Row]) -> str:
    "The headline as a paragraph of a page."
    return f'<p class="headline">{markup.text(headline(rows))}</p>'


def verdicts_html(rows: list[Row]) -> str:
    "How many claims came out how: who says them, and their kind."
    lines = []
    for says, name in SAYS.items():
        for kind in (*COUNTED, "cost"):
            if found := [row.verdict for row in rows if (row.record["says"], row.record["kind"]) == (says, kind)]:
                numbers = "".join(f"<td>{found.count(verdict)}</td>" for verdict in claims.VERDICTS)
                lines.append(f"<tr><th scope='row'>{kind}, {name}</th>{numbers}<td>{len(found)}</td></tr>")
    return markup.counts(["claims", *claims.VERDICTS, "all"], lines)


# --- a row a paper ----------------------------------------------------------------------------------------------------------------------


def _mark(rows: list[Row]) -> str:
    word = mark(rows)
    return f'<span class="mark" role="img" aria-label="{word}" title="{MARKS[word][1]}">{MARKS[word][0]}</span>'


def papers_html(
    rows: list[Row],
    *,
    unfold: bool = True,  # what each claim states; False leaves it out, so that a notebook stays light
) -> str:
    "One row a paper: its name, how many of its mechanisms and outcomes are confirmed, one mark; it opens to its claims."
    if not rows:
        return "<p>No claim has been recorded yet.</p>"
    known, lines = names(), []
    for paper in dict.fromkeys(row.record["paper"] for row in rows):
        mine = [row for row in rows if row.record["paper"] == paper]
        said = "".join(f"<td>{_of(own) if (own := [row for row in mine if row.says(kind)]) else NOTHING}</td>" for kind in COUNTED)
        items = "".join(f"<li>{_item(row, unfold)}</li>" for row in mine)
        opens = f"<details><summary>{len(mine)} claim{'s' if len(mine) > 1 else ''}</summary><ul>{items}</ul></details>"
        lines.append(f"<tr><td>{_mark(mine)}</td><td><b>{markup.text(_name(mine[0], known))}</b>{opens}</td>{said}</tr>")
    heads = "".join(f'<th scope="col">{head}</th>' for head in ("mark", "paper", "mechanisms confirmed", "outcomes confirmed"))
    signs = "".join(f"<li>{sign} {word}: {when}</li>" for word, (sign, when) in MARKS.items())
    body = "\n".join(lines)
    return f'<table class="papers"><thead><tr>{heads}</tr></thead><tbody>\n{body}\n</tbody></table><ul class="marks">{signs}</ul>'


def _item(row: Row, unfold: bool) -> str:
    record, id = row.record, markup.text(row.record["id"])
    verdict, link = markup.verdict(row.verdict), f'<a href="#{id}">{id}</a>'
    if not unfold:
        return f"{verdict}: {link}"
    who = f"{SAYS.get(record['says'], record['says'])}, {record['kind']}"
    return f"{verdict}: {markup.text(record['statement'])} {link} ({markup.text(who)})"


def identities_html(rows: list[Row]) -> str:
    "What follows from algebra or construction: a fact with a test each, and where the test fails, that."
    facts = [row for row in rows if row.record["kind"] == "identity"]
    items = []
    for row in facts:
        state = "" if row.confirmed else f"{markup.verdict(row.verdict)}: "
        items.append(f"<li>{state}{markup.text(row.record['statement'])} ({markup.page(row.record['notebook'])})</li>")
    return f"<ul>{''.join(items)}</ul>" if items else "<p>No identity has been recorded yet.</p>"


# --- a row a claim ----------------------------------------------------------------------------------------------------------------------


def alone(row: Row) -> str | None:
    "What the interval alone would read, where the instrument is not known to see the effect."
    return (
        None if row.testable or row.run is None or row.earlier else claims.decide(tuple(row.run["interval"]), row.record["smallest_effect"])
    )


def told(row: Row) -> dict[str, str]:
    "What stands behind a verdict, in words: label -> value."
    record, run = row.record, row.run
    facts = {"paper's figure": record["paper_figure"], "counts from": f"{record['smallest_effect']:g}"}
    if run is not None:
        facts |= _measured(row, run)
    facts |= {"speaks of": record["estimand"], "bench": record["bench"], "why": record.get("why")}
    facts["formula"] = "reconstructed: the paper's own could not be read" if record["formula"] == "reconstructed" else None
    changes: dict[str, list[str]] = {}  # one reason may stand behind several fields
    for change in record["amended"]:
        changes.setdefault(change["why"], []).append(f"{change['field']} from {change['from']} to {change['to']}")
    facts["amended"] = "; ".join(f"{', '.join(fields)}: {why}" for why, fields in changes.items())
    return {label: value for label, value in facts.items() if value}


def _measured(row: Row, run: dict) -> dict[str, str | None]:
    record, verdict, (low, high) = row.record, _numbers(run), run["interval"]
    smallest, facts = record["smallest_effect"], {"metric": record["metric"], "seeds": f"{len(run['seeds'])}"}
    if len(run["seeds"]) > 1:
        found, none = (claims.chances(true, verdict.spread, len(run["seeds"]), smallest) for true in (2 * smallest, 0.0))
        facts |= {
            "half-width": markup.number(verdict.half_width),
            f"chance to confirm {2 * smallest:g}": f"{found[claims.VERDICTS[0]]:.2f}",
            "chance of none where none is": f"{none[claims.VERDICTS[3]]:.2f}",
        }
    if row.adjusted is not None:
        facts["p (Holm)"] = f"{row.adjusted:.2g}"
    if record["paper_effect"] is not None:
        holds = "holds" if low <= record["paper_effect"] <= high else "excludes"
        facts["paper's effect"] = f"{markup.number(record['paper_effect'])}, which the interval {holds}"
    facts |= {"numbers": f"{EARLIER} (commit {run['commit']})"} if row.earlier else {}
    return facts | {"scale": f"{claims.scale(record, row.size or '')}, {row.size}"}


def _interval(run: dict | None) -> str:
    if run is None:
        return "not run"
    return "deterministic" if len(run["seeds"]) == 1 else "[{}, {}]".format(*map(markup.number, run["interval"]))


def ledger_html(
    rows: list[Row],
    name: str = "ledger",
    label: str = "Outcomes",
    unfold: bool = True,  # what stands behind a claim; False leaves it out, so that a notebook stays light
    functions: Mapping[str, str] | None = None,  # on the website: a function's name -> its entry in the reference; papers link too
) -> str:
    "One row a claim: its verdict, who says what, effect and interval; the rest unfolds."
    if not rows:
        return "<p>No claim has been recorded yet.</p>"
    heads = {
        "verdict": "choice",
        "claim": "",
        "paper": "choice",
        "says": "choice",
        "kind": "choice",
        "effect": "number",
        "interval": "number",
    }
    known = names()
    lines = [_line(row, _name(row, known), unfold, row.record["paper"] in known, functions) for row in rows]
    return markup.table(name, heads, lines, label, filterable=name == "ledger")


def outcomes_html(rows: list[Row], **how) -> str:
    "The outcomes that were judged, or set aside without a run; as `ledger_html` says."
    return ledger_html([row for row in rows if row.record["kind"] == "outcome" and not row.earlier], **how)


def mechanisms_html(rows: list[Row], **how) -> str:
    "The mechanisms, likewise."
    return ledger_html([row for row in rows if row.record["kind"] == "mechanism" and not row.earlier], "mechanism", "Mechanisms", **how)


def apart_html(rows: list[Row], **how) -> str:
    "Costs and identities, which stand apart."
    return ledger_html([row for row in rows if row.record["kind"] not in COUNTED], "apart", "Costs and facts", **how)


def earlier_html(rows: list[Row], **how) -> str:
    "The claims that were set aside with the numbers of an earlier experiment."
    return ledger_html([row for row in rows if row.earlier], "earlier", "Claims of earlier experiments", **how)


def _functions(record: dict, places: Mapping[str, str]) -> str:
    "The functions that the claim's page exports for its paper, each a link."
    mine = [method for method in registry.methods() if method.notebook == record["notebook"] and record["paper"] in method.papers]
    found = {place for method in mine if (place := places.get(method.function.replace(":", ".")))}
    return "".join(f' · <a href="{place}"><code>{place.partition("#")[2]}</code></a>' for place in sorted(found))


def _line(row: Row, name: str, unfold: bool, listed: bool, places: Mapping[str, str] | None) -> str:
    record, id = row.record, markup.text(row.record["id"])
    paper = f'<a href="catalogue.html#{markup.text(record["paper"])}">{markup.text(name)}</a>' if listed and places else markup.text(name)
    would = f"<br><small>the interval alone would read: {markup.text(alone(row))}</small>" if alone(row) else ""
    old = " <i>stale</i>" if row.stale else ""
    history = f"<br><small>{EARLIER}</small>" if row.earlier else ""
    behind = "".join(f"<dt>{label}</dt><dd>{markup.text(value)}</dd>" for label, value in told(row).items()) if unfold else ""
    called = f"<details><summary>{id}</summary><dl>{behind}</dl></details>" if unfold else f"<br><small>{id}</small><br>"
    return (
        f'<tr id="{id}"><td>{markup.verdict(row.verdict)}{old}{would}</td>'
        f"<td>{markup.text(record['statement'])}{called}{markup.page(record['notebook'])}{_functions(record, places or {})}</td>"
        f'<td data-value="{markup.text(record["paper"])}">{paper}</td>'
        f"<td>{markup.text(SAYS.get(record['says'], record['says']))}</td><td>{markup.text(record['kind'])}</td>"
        f"<td>{markup.number(row.run['effect']) if row.run else NOTHING}{history}</td><td>{_interval(row.run)}</td></tr>"
    )


def told_html(row: Row) -> str:
    "One claim in a few lines: what was said, what came of it, and where it stands."
    record, run, id = row.record, row.run, markup.text(row.record["id"])
    effect = f"effect {markup.number(run['effect'])}, 95% interval {_interval(run)}, {len(run['seeds'])} seeds; " if run else ""
    counts = f'it counts from {record["smallest_effect"]:g}. <a href="ledger.html#{id}">In the ledger</a>, <a href="{record["notebook"]}.ipynb">on its page</a>'
    return f'<div class="one-verdict"><p>{markup.text(record["statement"])}</p><p>{markup.verdict(row.verdict)}: {effect}{counts}</p></div>'


# --- in one picture ---------------------------------------------------------------------------------------------------------------------


def drawn(
    records: list[dict],
    kind: str | None = None,  # claims of this kind that stand, set aside ones left out; None: all
) -> list[tuple]:
    """Rows for `forest`: (id and size, effect, low, high, verdict), in units of the smallest effect that counts.

    In these units 1 is the verdict's threshold, whatever the claim measures, so that accuracies and gradients share an axis.
    """
    rows = []
    for record in records:
        if kind and (record["kind"] != kind or is_set_aside(record)):
            continue
        for size, run in record["runs"].items():
            if size in ("laptop", "gpu"):
                unit = record["smallest_effect"]
                label = record["id"] + (" (gpu)" if size == "gpu" else "") + ("*" if record["formula"] == "reconstructed" else "")
                label += " (earlier)" if is_set_aside(record) else ""
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
            axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=2, handletextpad=0.3)
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None}, bbox_inches="tight")
        plt.close(figure)
    return re.sub(r"\n\s+", "\n", text.getvalue())


# --- what is asked of it ----------------------------------------------------------------------------------------------------------------


def papers_like(
    word: str,  # an id, or a part of a title or of a name
    records: list[dict],  # whose papers need not be in the catalogue
) -> set[str]:
    "The papers that are meant, by the name that a record gives them. Raises `ValueError` naming those that are near."
    known = {entry["id"]: [entry["id"], entry["short"], entry["title"], *entry["aliases"]] for entry in catalogue.entries()}
    known |= {record["paper"]: [record["paper"]] for record in records if record["paper"] not in known}
    asked = word.casefold()
    found = {paper for paper in known if paper.casefold() == asked}
    found = found or {paper for paper, called in known.items() if any(asked in name.casefold() for name in called)}
    if not found:
        called = {name.casefold(): f"{name} ({paper})" for paper, names in known.items() for name in names}
        near = dict.fromkeys(called[name] for name in difflib.get_close_matches(asked, called, n=5))
        raise ValueError(
            f"PAPER: got {word!r}, want an id such as S03 or a part of a title{'; near it: ' if near else ''}{', '.join(near)}"
        )
    return found


def chosen(
    rows: list[Row],
    paper: str | None = None,  # as `papers_like` takes it
    verdict: str | None = None,  # a verdict, or words of it
    kind: str | None = None,  # one of `claims.KINDS`
) -> list[Row]:
    "The claims that are asked for. Raises `ValueError` naming what is not known."
    papers = papers_like(paper, [row.record for row in rows]) if paper is not None else None
    asked = (verdict or "").casefold()
    fitting = [known for known in claims.VERDICTS if known == asked] or [known for known in claims.VERDICTS if asked in known]
    if not fitting:
        raise ValueError(f"--verdict: got {verdict!r}, want one of these, or words of one: {'; '.join(claims.VERDICTS)}")
    if kind is not None and kind not in claims.KINDS:
        raise ValueError(f"--kind: got {kind!r}, want {', '.join(claims.KINDS)}")
    kept = [row for row in rows if papers is None or row.record["paper"] in papers]
    return [row for row in kept if (verdict is None or row.verdict in fitting) and kind in (None, row.record["kind"])]
