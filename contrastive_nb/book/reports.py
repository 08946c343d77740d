"""Tables of plain text for the terminal: what ran, what was measured, what the ledger holds. Plain module."""

import contextlib
import json
import textwrap
from pathlib import Path

from contrastive_nb.book import ledger
from contrastive_nb.lab.claims import VERDICTS, judged_again
from contrastive_nb.lab.jobs import Job, clock
from contrastive_nb.lab.records import is_set_aside
from contrastive_nb.lab.runner import Outcome


def table(head: list[str], rows: list[list[str]]) -> str:
    "Aligned columns of plain text."
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in [head, *rows]]
    return "\n".join(lines)


def effect(run: dict | None) -> str:
    "A run's effect with its interval, in four digits."
    return "-" if not run else f"{run['effect']:.4g} [{run['interval'][0]:.4g}, {run['interval'][1]:.4g}]"


def _runs(job: Job) -> list[tuple[str, dict | None]]:
    "What a page recorded: a claim and its run, `None` where the claim was set aside without one."
    paths = job.records() if job.status in ("ok", "skipped") else []
    return [(path.stem, json.loads(path.read_text(encoding="utf-8"))["runs"].get(job.profile)) for path in paths]


def _short(claim: str, run: dict | None) -> str:
    "A claim with its effect, and with its verdict where the size has one."
    return f"{claim} {run['effect']:.3g} {run['verdict'] or ''}".rstrip() if run else f"{claim} set aside"


def notebook_table(jobs: list[Job]) -> str:
    "A row a notebook: how it ended, seconds, peak memory, its claims."
    rows = []
    for job in jobs:
        claims = "; ".join(_short(*found) for found in _runs(job)) or "-"
        status = "skipped, unchanged" if job.status == "skipped" else job.status
        rows.append([job.notebook, status, clock(job.seconds), f"{job.memory:.0f} MB" if job.memory else "-", claims])
    return table(["notebook", "run", "time", "memory", "claims"], rows)


def _recorded(path: Path) -> str:
    "The verdict of a kept record at laptop size."
    if not path.is_file():
        return "not recorded"
    try:
        record = judged_again(json.loads(path.read_text(encoding="utf-8")))
    except (TypeError, ValueError):
        return "a record that cannot be read"
    return record.get("verdict") or record["runs"].get("laptop", {}).get("verdict", "not recorded")


def claim_table(jobs: list[Job], claims: Path) -> str:
    "A row a claim: what this run measured, and the verdict recorded at laptop size."
    rows = [[claim, effect(run), _recorded(claims / f"{claim}.json")] for job in jobs for claim, run in _runs(job)]
    profile = jobs[0].profile if jobs else ""
    return table(["claim", f"effect measured now ({profile})", "recorded laptop verdict"], rows) if rows else ""


SHORT = dict(zip(VERDICTS, "confirmed|size open|too small|no effect|reversed|not resolved|not testable".split("|"), strict=True))
WIDTH = 100  # columns of a terminal that the ledger keeps to


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 3] + "..."


def ledger_table(records: list[dict]) -> str:
    "The claims of the ledger, each with its statement, and totals last; * marks a reconstructed formula."
    return claims_text(ledger.rows(records))


def claims_text(rows: list[ledger.Row]) -> str:
    "A claim in two lines or more, its verdict first and its statement below; totals last. Within `WIDTH` columns."
    lines = [line for row in rows for line in _claim_lines(row)]
    if any(row.record["formula"] == "reconstructed" for row in rows):
        lines.append("* the paper's formula was reconstructed")
    counts = [(sum(row.verdict == verdict for row in rows), verdict) for verdict in VERDICTS]
    total = f"{len(rows)} claims: {'; '.join(f'{count} {verdict}' for count, verdict in counts if count)}."
    return "\n".join([*lines, "", *textwrap.wrap(total, WIDTH), *textwrap.wrap(ledger.headline(rows), WIDTH)])


def _claim_lines(row: ledger.Row) -> list[str]:
    record, run = row.record, row.run
    star = "*" if record["formula"] == "reconstructed" else ""
    measured = f"{run['effect']:.3g} [{', '.join(f'{x:.3g}' for x in run['interval'])}]" if run else "not run"
    name, says = _cut(record["id"], WIDTH - 14 - len(star)) + star, ledger.SAYS.get(record["says"], record["says"])
    first, rest = f"{SHORT.get(row.verdict, row.verdict):13} {name:32}", f"{record['kind']:9} {_cut(says, 9):9} {measured}"
    heads = [f"{first} {rest}"] if len(name) <= 32 else [first, f"{'':46} {rest}"]  # an id is whole: one looks things up by it
    said = record["statement"] + (f" (The interval alone would read: {ledger.alone(row)}.)" if ledger.alone(row) else "")
    if is_set_aside(record):
        said += f" (Set aside: {record['why'].rstrip('.')}{f'; the numbers are {ledger.EARLIER}' if row.earlier else ''}.)"
    indent = " " * 14
    return [*(_cut(head.rstrip(), WIDTH) for head in heads), *textwrap.wrap(said, WIDTH, initial_indent=indent, subsequent_indent=indent)]


def again_text(
    changed: list[tuple[dict, dict]],  # each record as it was and as it is
) -> str:
    "What judging again changed: verdicts, or the form of the file alone; totals last."
    lines, moved = [], 0
    for was, now in changed:
        steps = [
            f"{size} {was['runs'][size].get('verdict')} -> {run['verdict']}"
            for size, run in now["runs"].items()
            if was["runs"][size].get("verdict") != run["verdict"]
        ]
        moved += bool(steps)
        told = "; ".join(steps) or f"its form alone (schema {was.get('schema', 1)} -> {now['schema']})"
        lines += textwrap.wrap(f"{now['id']}: {told}", WIDTH, subsequent_indent="    ")
    total = f"{moved} claims have another verdict, {len(changed) - moved} another form alone"
    return "\n".join([*lines, total if changed else "all records are as today's rule and benches judge them"])


def outcome_text(outcome: Outcome) -> str:
    "All that a run has to say: a row a notebook, what failed and where it is kept, a row a claim."
    if not outcome.jobs:
        return f"nothing to run{outcome.why_nothing}"
    parts = [notebook_table(outcome.jobs), *outcome.refused]
    for job in outcome.jobs:
        if job.status in ("failed", "timeout") or (job.status == "stopped" and job.plain):
            kept = f"\n  kept in {_near(job.failed)}" if job.failed.is_file() and job.began else ""
            parts.append(f"\n{job.notebook} {job.status}: {job.message}{kept}")
    if rows := claim_table(outcome.jobs, outcome.claims):
        parts.append(f"\n{rows}")
    if outcome.go_on:
        parts.append(f"\ninterrupted; to go on: {outcome.go_on}")
    return "\n".join(parts)


def _near(path: Path) -> str:
    with contextlib.suppress(ValueError):
        return str(path.resolve().relative_to(Path.cwd()))
    return str(path)


def cost_text(
    records: list[dict],  # of the ledger
) -> str:
    "What a laptop run of the book costs, as far as the records say it: of each page the processor seconds at its last record."
    records = [record for record in records if not is_set_aside(record)]
    pages = {record["notebook"]: 0.0 for record in records if "laptop" in record["runs"]}
    known = set()
    for record in records:
        run = record["runs"].get("laptop")
        if run and run["seconds"] is not None and run["processor"]:  # older records have no processor, and seconds of another clock
            pages[record["notebook"]] = max(pages[record["notebook"]], run["seconds"])
            known.add(record["notebook"])
    if not known:
        return f"What a run at `laptop` costs is kept with new records; none of {len(pages)} pages has such records yet."
    minutes = sum(pages.values()) / 60
    spent = f"{minutes:.0f} processor minutes" if minutes >= 1 else "less than a processor minute"
    return f"A run at `laptop` took {spent} on the {len(known)} of {len(pages)} pages whose records keep them."
