"""A run in parts covers every page once and merges to what one run makes; a night's run is compared with the records."""

import json
import shutil
from datetime import date, timedelta
from pathlib import Path

import pytest
from commands import CliRunner
from test_run import Lab, write_notebook

from contrastive_nb import cli, files
from contrastive_nb.lab import freshness, join, nightly, parts, runner

pytest.importorskip("papermill")

CLAIM = """
from contrastive_nb.lab import claims
claim = claims.Claim({id!r}, "T01", {page!r}, "mechanism", "Two is more than one.", "count", "one", "two", "higher", 0.5)
_ = claims.record(claim, claims.judge(claim, {baseline}, {treatment}), run)
run.profile"""
ONE, TWO = [1.0, 1.1, 0.9, 1.0, 1.0], [2.0, 2.2, 1.9, 2.1, 1.8]


def write_claim(nbs: Path, page: str, id: str, treatment=TWO) -> None:
    cell = CLAIM.format(id=id, page=page, baseline=ONE, treatment=treatment)
    write_notebook(nbs, page, cell.replace(", run)", ", run, seeds=range(5))"))


def book(folder: Path) -> Lab:
    folder.mkdir(parents=True)
    lab = Lab(folder)
    for page, id in (("1_a/01_one", "A-one"), ("1_a/02_two", "A-two"), ("2_b/01_three", "B-three")):
        write_claim(lab.nbs, page, id)
    write_notebook(lab.nbs, "index", "1 + 1")
    return lab


def records(folder: Path) -> dict:
    "Records without what differs from one run of the same to the next."
    found = {}
    for path in folder.glob("*.json"):
        found[path.name] = json.loads(path.read_text(encoding="utf-8"))
        for run in found[path.name]["runs"].values():
            for clock in ("seconds", "memory"):
                run.pop(clock, None)
    return found


def pages(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*.ipynb"))}


@pytest.mark.parametrize("n", [1, 2, 3, 7, 100])
def test_parts_cover_every_page_once(n, tmp_path):
    every = freshness.all_notebooks()
    taken = [parts.take(every, f"{k}/{n}", "ci", tmp_path) for k in range(1, n + 1)]
    assert sorted(page for part in taken for page in part) == every
    assert max(map(len, taken)) - min(map(len, taken)) <= 1


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "1/0", "a/b", "1/3/3", "-1/3"])
def test_what_is_no_part_is_refused(text):
    told = CliRunner().invoke(cli.app, ["run", "--part", text])
    assert told.exit_code == 2 and f"--part: got {text!r}, want K/N" in told.output and told.output.count("\n") == 1


@pytest.mark.slow
def test_three_parts_merge_to_what_one_run_makes(tmp_path, capsys):
    whole, split = book(tmp_path / "whole"), book(tmp_path / "split")
    assert whole.run(profile="laptop", save=True) == 0
    expected = capsys.readouterr().out
    folders = [tmp_path / f"part{k}" for k in (1, 2, 3)]
    for k, folder in enumerate(folders, 1):
        request = runner.Request([], "laptop", folder=split.nbs, build=folder, claims=split.claims, part=f"{k}/3")
        assert runner.run(request).code == 0
    assert records(split.claims) == {}

    into = dict(build=split.build, claims=split.claims, notebooks=split.nbs)
    with pytest.raises(ValueError, match="merge: part 2/3 of profile laptop is in none of the folders"):
        join.merge([folders[0], folders[2]], **into)
    twice = tmp_path / "twice"
    shutil.copytree(folders[1], twice)
    with pytest.raises(ValueError, match="1_a/02_two of profile laptop is in .*part2 and in .*twice, want every page once"):
        join.merge([*folders, twice], **into)
    (outcome,) = join.merge(folders, **into)
    assert [(job.notebook, job.status) for job in outcome.jobs] == [(name, "ok") for name in freshness.all_notebooks(split.nbs)]
    assert outcome.code == 0 and records(split.claims) == records(whole.claims) and len(records(whole.claims)) == 3
    assert pages(split.nbs) == pages(whole.nbs) and "'laptop'" in split.nbs.joinpath("1_a/01_one.ipynb").read_text()

    from contrastive_nb.book import reports

    table = reports.outcome_text(outcome)
    assert [line.split()[:2] for line in table.splitlines()] == [line.split()[:2] for line in expected.rstrip().splitlines()]

    (folders[1] / "runs" / "laptop" / "1_a" / "02_two.json").unlink()  # as of a page that failed
    (outcome,) = join.merge(folders, **into)
    assert outcome.code == 1 and [job.notebook for job in outcome.jobs if job.status == "failed"] == ["1_a/02_two"]


def test_records_alone_are_merged_and_small_ones_refused(tmp_path):
    ledger, other, empty = tmp_path / "ledger", tmp_path / "other", tmp_path / "empty"
    for folder in (other, empty):
        folder.mkdir()
    for path in sorted(files.shared("data/claims").glob("*.json"))[::12]:
        shutil.copy(path, other)
    into = dict(build=tmp_path / "build", claims=ledger, notebooks=files.notebooks())
    read = nightly.records.read_all  # of an older schema as of this one
    assert join.merge([other], **into) == [] and read(ledger) == read(other)
    with pytest.raises(ValueError, match="empty has neither finished runs nor records"):
        join.merge([other, empty], **into)
    path = next(other.glob("*.json"))
    path.write_text(path.read_text().replace('"laptop": {', '"ci": {'))
    with pytest.raises(ValueError, match="too small to be kept"):
        join.merge([other], **into)


# --- the night ----------------------------------------------------------------------------------------------------------


def test_seven_nights_have_every_page_once():
    every, first = freshness.all_notebooks(), date(2026, 2, 26)
    nights = [nightly.pages_of(every, first + timedelta(days)) for days in range(8)]
    assert sorted(page for night in nights[:7] for page in night) == every and nights[7] == nights[0]


def one(effect: float, low: float, high: float, verdict="confirmed", **fields) -> dict:
    run = {"effect": effect, "interval": [low, high], "verdict": verdict}
    return dict.fromkeys(nightly.records.CLAIM, "same") | {"id": "T", "runs": {"laptop": run}} | fields


@pytest.mark.parametrize(
    "new, fails, says",
    [
        (one(1.0, 0.8, 1.2), None, ""),
        (one(1.099, 0.9, 1.3), None, ""),
        (one(1.11, 0.9, 1.3), True, "moved by 0.11, want at most half of the recorded half-width 0.2"),
        (one(0.89, 0.7, 1.1), True, "moved by 0.11"),
        (one(float("nan"), 0.9, 1.1), True, "moved by nan"),
        (one(1.05, -0.1, 2.2, "not resolved"), False, "the verdict was confirmed and is not resolved"),
        (one(1.5, 1, 2, metric="another"), False, "is another claim"),
        (None, True, "did not measure it"),
    ],
)
def test_an_effect_may_move_by_half_of_its_half_width(new, fails, says):
    change = nightly.compare(new, one(1.0, 0.8, 1.2))
    assert (change and change.fails) is fails and says in str(change)


ASIDE = dict(runs={}, why="no bench sees it") | {"verdict": "not testable here"}
EARLIER = one(1.0, 0.8, 1.2, "not testable here") | {"verdict": "not testable here", "why": "no bench sees it"}


@pytest.mark.parametrize(
    "new, old, fails, says",
    [
        (one(0, 0, 0) | ASIDE, EARLIER, None, ""),
        (one(0, 0, 0) | ASIDE, one(0, 0, 0) | ASIDE, None, ""),
        (one(0, 0, 0) | ASIDE, None, None, ""),
        (one(0, 0, 0, metric="another") | ASIDE, EARLIER, False, "is another claim"),
        (one(0, 0, 0) | ASIDE, one(1.0, 0.8, 1.2), True, "is set aside, and its record has a run"),
        (one(9.0, 8, 10), EARLIER, False, "is measured, and its record is set aside"),
        (None, EARLIER, True, "was not set aside by this run"),
    ],
)
def test_what_a_claim_that_is_set_aside_measured_earlier_is_not_compared(new, old, fails, says):
    change = nightly.compare(new, old)
    assert (change and change.fails) is fails and says in str(change)


def test_a_deterministic_effect_may_move_in_the_last_digits_alone():
    kept = one(1.0, 1.0, 1.0)
    assert nightly.compare(one(1 + 1e-9, 1, 1), kept) is None
    assert nightly.compare(one(1.001, 1, 1), kept).fails
    assert not nightly.compare(kept, None).fails and "no laptop record" in str(nightly.compare(kept, None))


@pytest.mark.slow
def test_a_night_runs_its_pages_and_finds_what_moved(tmp_path, monkeypatch):
    lab = book(tmp_path / "book")
    shared = files.shared
    monkeypatch.setattr(files, "shared", lambda name: lab.claims if name == "data/claims" else shared(name))
    monkeypatch.setenv(files.NOTEBOOKS, str(lab.nbs))
    monkeypatch.setenv(files.BUILD, str(lab.build))
    every = freshness.all_notebooks(lab.nbs)
    day = next(day for day in (date(2026, 3, 1) + timedelta(n) for n in range(7)) if nightly.pages_of(every, day) == ["1_a/01_one"])
    assert lab.run("01_one", profile="laptop", save=True) == 0
    before = pages(lab.nbs), records(lab.claims)
    told = CliRunner().invoke(cli.app, ["nightly", "--date", str(day)])
    assert told.exit_code == 0 and "claims that failed: 0" in told.stdout, told.output
    assert (pages(lab.nbs), records(lab.claims)) == before
    write_claim(lab.nbs, "1_a/01_one", "A-one", [x + 0.5 for x in TWO])
    told = CliRunner().invoke(cli.app, ["nightly", "--date", str(day)])
    assert told.exit_code == 1 and "FAIL A-one: effect 1 recorded, 1.5 now; it moved by 0.5" in told.stdout, told.output
    empty = next(day for day in (date(2026, 3, 1) + timedelta(n) for n in range(7)) if not nightly.pages_of(every, day))
    told = CliRunner().invoke(cli.app, ["nightly", "--date", str(empty)])
    assert told.exit_code == 0 and "nothing to run" in told.stdout
    told = CliRunner().invoke(cli.app, ["nightly", "--date", "soon"])
    assert told.exit_code == 2 and told.output.count("\n") == 1
