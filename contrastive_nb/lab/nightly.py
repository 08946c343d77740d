"""A seventh of the pages at laptop size each night, compared with their records. Plain module."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from contrastive_nb import files
from contrastive_nb.lab import claims as ledger
from contrastive_nb.lab import freshness, records, runner

NIGHTS = 7
SHARE = 0.5  # of the recorded half-width of the interval: by so much may an effect move
ANOTHER = "is another claim than the recorded one: run it with --save"
ROUNDING = 1e-6  # relative: a deterministic claim has no width, and processors differ in the last digits


def pages_of(names: list[str], day: date) -> list[str]:
    "The pages whose turn it is; seven days in a row have every page once."
    return names[day.toordinal() % NIGHTS :: NIGHTS]


@dataclass(frozen=True)
class Change:
    "What differs between a claim's record and the run of this night."

    claim: str
    says: str
    fails: bool

    def __str__(self):
        return f"{'FAIL' if self.fails else 'note'} {self.claim}: {self.says}"


def compare(new: dict | None, old: dict | None) -> Change | None:
    "A claim's record of this night, and the one that is kept; `None` where they agree."
    if old and records.is_set_aside(old):  # what it measured earlier is history
        told = (
            "was not set aside by this run, as its record is"
            if new is None
            else "is measured, and its record is set aside: run it with --save"
        )
        if new is None or not records.is_set_aside(new):
            return Change(old["id"], told, new is None)
        return Change(old["id"], ANOTHER, False) if any(new[key] != old[key] for key in records.CLAIM) else None
    if new and records.is_set_aside(new):
        return Change(new["id"], "is set aside, and its record has a run", True) if old else None
    if old is None or "laptop" not in old["runs"]:
        return Change(new["id"], "has no laptop record to be compared with", False) if new else None
    name, then = old["id"], old["runs"]["laptop"]
    if new is None:
        return Change(name, "is recorded, and this run did not measure it", True)
    now = new["runs"]["laptop"]
    if any(new[key] != old[key] for key in records.CLAIM):
        return Change(name, ANOTHER, False)
    half, moved = (then["interval"][1] - then["interval"][0]) / 2, abs(now["effect"] - then["effect"])
    told = f"effect {then['effect']:.4g} recorded, {now['effect']:.4g} now"
    if not moved <= SHARE * half + ROUNDING * abs(then["effect"]) or math.isnan(moved):
        return Change(name, f"{told}; it moved by {moved:.2g}, want at most half of the recorded half-width {half:.2g}", True)
    if now["verdict"] != then["verdict"]:
        return Change(name, f"{told}; the verdict was {then['verdict']} and is {now['verdict']}", False)
    return None


@dataclass
class Night:
    "What came of a night."

    outcome: runner.Outcome
    pages: list[str]
    changes: list[Change] = field(default_factory=list)

    @property
    def code(self) -> int:
        "The exit code: the run's own, 1 when an effect moved too far or was not measured."
        return self.outcome.code or int(any(change.fails for change in self.changes))


def run(day: date, *, jobs: int | None = None, folder: Path | None = None, build: Path | None = None, claims: Path | None = None) -> Night:
    "Run the pages of a day at laptop size and compare every claim of theirs with its record; nothing is kept."
    claims = Path(claims or files.shared("data/claims"))
    pages = pages_of(freshness.all_notebooks(folder), day)
    if not pages:
        return Night(runner.Outcome([], claims, why_nothing=": fewer pages than nights"), pages)
    outcome = runner.run(runner.Request(pages, "laptop", jobs, folder=folder, build=build, claims=claims))
    names = {job.notebook for job in outcome.jobs if job.status in ("ok", "skipped")}
    new, old = (_records(place, names) for place in (outcome.jobs[0].folder / "claims" / "laptop", claims))
    return Night(outcome, pages, _changes(new, old, sorted(new.keys() | old.keys())))


def _records(folder: Path, notebooks: set[str]) -> dict[str, dict]:
    return {record["id"]: record for record in ledger.load(folder=folder) if record["notebook"] in notebooks}


def _changes(new: dict, old: dict, names: Iterable[str]) -> list[Change]:
    return [change for name in names if (change := compare(new.get(name), old.get(name)))]
