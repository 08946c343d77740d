"""The list of claims most worth a GPU: twenty rows, each of a plan or of a claim, a page and a size that exist."""

import copy
import json

import pytest
from commands import CliRunner

from contrastive_nb import cli, files
from contrastive_nb.book import full_runs
from contrastive_nb.lab import claims

EMBEDDED = ("digits", "people")  # sets without an entry in data/registry.json
CLAIM = "S30-outcome-accuracy-fashion"
PLANTED = {"claim": CLAIM, "set": "fashion_mnist", "size": ["steps", "width"], "why": "A row of a claim, put into the list by these tests."}


def _waiting(record):
    "The record as it was before its claim was set aside, with a verdict that no laptop sees."
    kept = {key: value for key, value in record.items() if key not in ("verdict", "why")}
    return kept | {"runs": {"laptop": record["runs"]["laptop"] | {"verdict": "not testable here"}}}


ROWS = [PLANTED, *full_runs.entries()[1:]]
RECORDS = [_waiting(record) if record["id"] == CLAIM else record for record in claims.load()]


def problems(rows):
    "What is wrong with the list, beside what `plan` refuses."
    made, registry = full_runs.plan(), json.loads(files.shared("data/registry.json").read_text(encoding="utf-8"))
    wrong = [f"{len(rows)} rows"] * (len(rows) != 20)
    wrong += [f"{row['name']} twice" for i, row in enumerate(made) if row["name"] in [other["name"] for other in made[:i]]]
    for entry, row in zip(rows, made, strict=True):
        wrong += [f"{row['name']}: no set {row['set']}"] * (row["set"] not in (*registry, *EMBEDDED))
        wrong += [f"{row['name']}: no reason"] * (not 20 <= len(entry.get("why") or "") <= 140)
        wrong += [f"{row['name']}: no page {row['page']}"] * (
            row["page"] is not None and not (files.notebooks() / f"{row['page']}.ipynb").is_file()
        )
        wrong += [f"{row['name']}: fields {set(entry)}"] * (set(entry) - {"claim", "paper", "plan"} != {"set", "size", "why"})
        record = next((record for record in RECORDS if record["id"] == row["name"]), None)
        if record:
            seen = record["says"] == "paper" and record["runs"].get("laptop", record).get("verdict") == "not testable here"
            wrong += [f"{row['name']}: a laptop sees it, or no paper says it"] * (not seen)
    return wrong


def test_the_list_has_twenty_claims_that_exist():
    assert problems(full_runs.entries()) == []


@pytest.fixture
def planted(monkeypatch):
    monkeypatch.setattr(claims, "load", lambda: RECORDS)
    monkeypatch.setattr(full_runs, "entries", lambda: ROWS)


def test_a_row_of_a_claim_is_right_too(planted):
    assert problems(ROWS) == []


SPOILT = {
    "a row less": (lambda rows: rows.pop(), "19 rows"),
    "a row twice": (lambda rows: rows.__setitem__(1, rows[0]), f"{CLAIM} twice"),
    "an unknown set": (lambda rows: rows[0].update(set="imagenet"), "no set imagenet"),
    "no reason": (lambda rows: rows[0].update(why=""), "no reason"),
    "one more field": (lambda rows: rows[0].update(minutes=60), "fields"),
    "a claim that a laptop sees": (lambda rows: rows[0].update(claim="S03-mechanism-shift", size=["steps"]), "a laptop sees it"),
    "a claim that is not there": (lambda rows: rows[0].update(claim="S30-outcome-none"), "claim: got 'S30-outcome-none'"),
    "a paper that is not there": (lambda rows: rows[-1].update(paper="S99"), "paper: got 'S99'"),
    "a plan that is not told": (lambda rows: rows[-1].update(plan=""), "and plan"),
    "a size that no setting has": (lambda rows: rows[0].update(size=["epochs"]), f"size: got epochs for {CLAIM}"),
}  # fmt: skip


@pytest.mark.parametrize("fields, done", [({}, True), ({"verdict": "not testable here", "why": "its experiment is gone"}, False)])
def test_a_gpu_run_of_an_earlier_experiment_is_still_to_be_made(fields, done, planted, monkeypatch):
    record = next(record for record in RECORDS if record["id"] == CLAIM)
    ran = record | {"runs": record["runs"] | {"gpu": record["runs"]["laptop"]}} | fields
    monkeypatch.setattr(claims, "load", lambda: [ran if record["id"] == ran["id"] else record for record in RECORDS])
    assert full_runs.plan()[0]["done"] is done


@pytest.mark.parametrize("case", SPOILT)
def test_a_spoilt_list_is_found(case, planted, monkeypatch):
    spoil, says = SPOILT[case]
    rows = copy.deepcopy(ROWS)
    spoil(rows)
    monkeypatch.setattr(full_runs, "entries", lambda: rows)
    try:
        found = "; ".join(problems(rows))
    except ValueError as error:
        found = str(error)
    assert says in found


def test_a_page_that_is_gone_is_found(planted, monkeypatch):
    records, rows = copy.deepcopy(RECORDS), copy.deepcopy(ROWS)
    next(record for record in records if record["id"] == CLAIM)["notebook"] = "2_hard_negatives/01_none"
    monkeypatch.setattr(claims, "load", lambda: records)
    monkeypatch.setattr(full_runs, "entries", lambda: rows)
    with pytest.raises(ValueError, match=f"size: got width for {CLAIM}"):  # its settings went with it
        problems(rows)
    rows[0]["size"] = ["steps"]
    assert f"{CLAIM}: no page 2_hard_negatives/01_none" in problems(rows)


def test_the_command_prints_it_with_minutes_within_the_width(planted, monkeypatch):
    result = CliRunner().invoke(cli.app, ["claims", "--gpu"])
    lines = result.output.rstrip("\n").split("\n")
    assert result.exit_code == 0 and max(map(len, lines)) <= 100
    assert lines[0].startswith(f" 1. {CLAIM}: at most 240 min; fashion_mnist, steps 20000") and "20. " in result.output
    assert lines[-1].startswith("Minutes are") and "no page yet" in result.output
    done = copy.deepcopy(RECORDS)
    record = next(record for record in done if record["id"] == CLAIM)
    record["runs"]["gpu"] = record["runs"]["laptop"]
    monkeypatch.setattr(claims, "load", lambda: done)
    assert CliRunner().invoke(cli.app, ["claims", "--gpu"]).output.startswith(f" 1. {CLAIM}: recorded; ")
    assert CliRunner().invoke(cli.app, ["claims", "--gpu", "S03"]).exit_code == 2
