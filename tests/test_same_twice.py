"""The same page run twice writes the same records, bit for bit: what it took in seconds and memory, and the commit, aside."""

import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from contrastive_nb import files

OTHERWISE = ("seconds", "memory", "commit")  # what a field's name may hold that differs from run to run


def steady(value):
    "A record without what may differ; each number as its bits."
    if isinstance(value, dict):
        return {key: steady(inside) for key, inside in value.items() if not any(word in key for word in OTHERWISE)}
    if isinstance(value, list):
        return [steady(inside) for inside in value]
    return value.hex() if isinstance(value, float) else value


def run(page: str, build: Path, notebooks: Path | None = None) -> dict:
    "The records that a run of this page writes at ci size: claim -> record."
    env = os.environ | {files.BUILD: str(build)} | ({files.NOTEBOOKS: str(notebooks)} if notebooks else {})
    command = [sys.executable, "-m", "contrastive_nb", "run", page, "--profile", "ci"]
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return {path.stem: steady(json.loads(path.read_text())) for path in (build / "claims" / "ci").glob("*.json")}


def check_twice(page: str, folder: Path, notebooks: Path | None = None) -> None:
    one, other = (run(page, folder / name, notebooks) for name in ("one", "other"))
    assert one and one.keys() == other.keys()
    assert one == other


@pytest.mark.slow
@pytest.mark.parametrize(
    "page", ["2_hard_negatives/00_hardness", "0_foundations/06_claims", "1_objectives/01_infonce", "2_hard_negatives/01_mochi"]
)
def test_the_same_page_twice_writes_the_same_records(page, tmp_path):
    check_twice(page, tmp_path)


PAGE = """
import random
from contrastive_nb.lab import Claim, judge, open_run, record
run = open_run("1_a/01_page", profile, seed=seed, device=device)
claim = Claim("T01-mechanism-draw", "Nobody 2020", "1_a/01_page", "mechanism", "It is more.", "count", "without", "with", "higher", 0.1)
record(claim, judge(claim, [1.0], [2.0 + NOISE], run=run), run)
"""


def page_of(noise: str) -> nbformat.NotebookNode:
    given = 'profile = "ci"\nseed = 0\ndevice = "auto"'
    parameters = nbformat.v4.new_code_cell(given, metadata={"tags": ["parameters"]})
    return nbformat.v4.new_notebook(cells=[parameters, nbformat.v4.new_code_cell(PAGE.strip().replace("NOISE", noise))])


def test_a_page_that_draws_without_a_seed_is_found_and_no_other(tmp_path):
    folder = tmp_path / "nbs" / "1_a"
    folder.mkdir(parents=True)
    for name, noise in (("01_steady", "0"), ("02_drawn", "1e-12 * random.random()")):
        book = page_of(noise)
        book.cells[1].source = book.cells[1].source.replace("1_a/01_page", f"1_a/{name}").replace("T01", name.upper().replace("_", ""))
        nbformat.write(book, folder / f"{name}.ipynb")
    one, other = (run("1_a", tmp_path / name, tmp_path / "nbs") for name in ("one", "other"))
    assert len(one) == 2 and one.keys() == other.keys()
    assert [id for id in sorted(one) if one[id] != other[id]] == [id for id in sorted(one) if "DRAWN" in id]
