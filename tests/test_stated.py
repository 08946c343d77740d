"""What the pages state and what the ledger keeps are one: every field of every claim, and the old words of every amendment."""

import ast
import json
import subprocess
from dataclasses import asdict, replace
from functools import cache
from types import SimpleNamespace

import pytest

from contrastive_nb import files
from contrastive_nb.lab import claims, freshness, records

PAGES = [name for name in freshness.all_notebooks() if name[0].isdigit()]
DEFINES = "0_foundations/06_claims"  # there the class itself is made; its claims are made with the package's


def found_in(value) -> list[claims.Claim]:
    "The claims that a page's name holds."
    if isinstance(value, claims.Claim):
        return [value]
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    return [claim for part in parts for claim in found_in(part)]


@cache
def stated(name: str) -> dict[str, claims.Claim]:
    "The claims of a page, by executing the statements that make them and no others."
    page = freshness.Page(name)
    making = [i for i, binds in enumerate(page.binds) if "claim" in binds][:1] if name == DEFINES else page._feeding({"Claim"})
    space = vars(claims) | {"run": SimpleNamespace(notebook=name, profile="ci"), "__name__": "page"}
    for i in making:
        if "run" not in page.binds[i]:
            exec(compile(ast.fix_missing_locations(ast.Module([page.statements[i]], [])), name, "exec"), space)
    return {claim.id: claim for value in space.values() for claim in found_in(value)}


def as_recorded(claim: claims.Claim) -> dict:
    return json.loads(json.dumps(asdict(claim)))


def differences(pages: list[str], ledger: list[dict]) -> list[str]:
    "Where pages and records say different things, each with the claim and the field."
    said = {id: as_recorded(claim) for name in pages for id, claim in stated(name).items()}
    kept = {record["id"]: record for record in ledger}
    lacking = [f"{id}: stated, not recorded" for id in sorted(said.keys() - kept.keys())]
    lacking += [f"{id}: recorded, not stated" for id in sorted(kept.keys() - said.keys())]
    return lacking + [
        f"{id}: {field}: the page has {said[id][field]!r}, the record {kept[id][field]!r}"
        for id in sorted(said.keys() & kept.keys())
        for field in records.CLAIM
        if said[id][field] != kept[id][field]
    ]


@pytest.fixture(scope="module")
def ledger():
    return claims.load()


def test_pages_and_records_say_the_same_of_every_claim(ledger):
    assert len(ledger) > 80 and differences(PAGES, ledger) == []


@pytest.mark.parametrize("field", records.CLAIM)
def test_a_field_that_differs_is_named(field, ledger):
    page = next(record["notebook"] for record in ledger if record["id"] == "X02-outcome-accuracy")
    of_page = [dict(record) for record in ledger if record["notebook"] == page]
    chosen = next(record for record in of_page if record["id"] == "X02-outcome-accuracy")
    chosen[field] = ["another"] if field != "id" else "X02-outcome-another"
    told = differences([page], of_page)
    assert told and all("X02-outcome" in line and (field == "id" or f": {field}:" in line) for line in told)
    assert len(told) == (2 if field == "id" else 1)


# --- amendments -----------------------------------------------------------------------------------------------------------


def git(*arguments: str) -> str | None:
    done = subprocess.run(["git", *arguments], cwd=files.checkout(), capture_output=True, text=True)
    return done.stdout if done.returncode == 0 else None


def constants(book: dict) -> set:
    "The literals in a notebook's code."
    cells = ["".join(cell["source"]) for cell in book["cells"] if cell["cell_type"] == "code"]
    trees = [ast.parse("\n".join(line for line in cell.split("\n") if not line.startswith(("%", "!")))) for cell in cells]
    return {(type(node.value), node.value) for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Constant)}


def unfounded(claim: claims.Claim) -> list[str]:
    "The amendments whose commit has not the old words in the claim's page, or whose new words the claim has not."
    told = []
    for change in claim.amended:
        page = git("show", f"{change['commit']}:nbs/{claim.notebook}.ipynb")
        was = constants(json.loads(page)) if page else set()
        if (type(change["from"]), change["from"]) not in was:
            told.append(f"{claim.id}: {change['commit']} has no {change['field']} {change['from']!r}")
        if getattr(claim, change["field"]) != change["to"]:
            told.append(f"{claim.id}: {change['field']} is {getattr(claim, change['field'])!r}, not {change['to']!r}")
    return told


def amended() -> list[claims.Claim]:
    return [claim for name in PAGES for claim in stated(name).values() if claim.amended]


needs_history = pytest.mark.skipif(
    files.checkout() is None or git("rev-parse", "--is-shallow-repository") != "false\n", reason="no history is at hand"
)


@needs_history
def test_every_amendment_points_to_its_old_words():
    assert len(amended()) > 10 and [line for claim in amended() for line in unfounded(claim)] == []


@needs_history
@pytest.mark.parametrize(
    "field, value, said", [("from", "never said", "has no"), ("commit", "HEAD", "has no"), ("to", "never said", "is ")]
)
def test_an_amendment_without_its_old_words_is_found(field, value, said):
    claim = stated("2_hard_negatives/01_mochi")["S30-mechanism-task"]
    first, *rest = [dict(change) for change in claim.amended]
    if field == "commit":  # a commit that does not know the page
        value = git("rev-list", "--max-parents=0", "HEAD").split()[0]
    spoilt = replace(claim, amended=(first | {field: value}, *rest))
    assert [line for line in unfounded(spoilt) if said in line]


def test_the_claim_that_was_restated_before_its_run_says_so():
    claim = stated("2_hard_negatives/01_mochi")["S30-mechanism-task"]
    assert {change["field"] for change in claim.amended} >= {"statement", "metric", "direction", "smallest_effect"}
