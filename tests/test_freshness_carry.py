"""What makes a record stale, what is carried, and what never is: a copy of the tree is edited, then `stale` and `carry` are asked."""

import ast
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from commands import CliRunner

from contrastive_nb import cli, files
from contrastive_nb.book import reports
from contrastive_nb.lab import benches, carry, freshness

if files.checkout() is None or shutil.which("git") is None:
    pytest.skip("needs the repository and git", allow_module_level=True)

SET_UP = """
from functools import partial

import matplotlib.pyplot as plt
import torch

from contrastive_nb.book.exercises import check
from contrastive_nb.data import digits, load
from contrastive_nb.encoders import embed
from contrastive_nb.lab import Claim, judge, open_run, record
from contrastive_nb.metrics import linear_probe
from contrastive_nb.objectives import info_nce, mw
from contrastive_nb.protocols import by_seed, pretrain
"""
PARAMETERS = 'profile = "ci"\nseed = 0\ndevice = "auto"'
CLAIM = """
claim = Claim(id="T01-mechanism-{name}", paper="Nobody", notebook=run.notebook, kind="mechanism", statement="It is more.",
              metric="accuracy", baseline="mw", treatment="info_nce", direction="higher", smallest_effect=0.01)
"""
TRAINED = """
numbers = load("tiny")["x"]
def accuracy(objective, seed):
    splits = digits(seed, 100, 20, 60)
    model = pretrain(splits.train.x, partial(objective, temperature=0.5), run=run, seed=seed, batch_size=run.batch_size, width=4)
    return linear_probe(embed(model, splits.train.x), splits.train.y, embed(model, splits.test.x), splits.test.y) + 0 * int(numbers[0])
"""
JUDGED = """
rows = [by_seed(run, name, partial(accuracy, function)) for name, function in (("mw", mw), ("info_nce", info_nce))]
verdict = judge(claim, *rows, run=run)
record(claim, verdict, run)
verdict
"""
FIGURE = '#| label: fig-it\nfigure, ax = plt.subplots()\nfor row in rows:\n    ax.plot(row, color="0.6")\n_ = ax.set_title("Accuracy")'
SOLUTION = "def solution(x):\n    return x + 1\n\n\nassert check(solution, lambda x: 1 + x, (1,)).passed"
PLAIN = """
by_hand = torch.tensor([1.0, 2.0, 4.0])
_ = record(claim, judge(claim, [by_hand.mean().item()], [by_hand.max().item()], run=run), run)
"""
BENCHED = """
from contrastive_nb.lab import bench

assert bench("digits", run).settings["temperature"] == 0.4
claim = Claim(id="T01-outcome-bench", paper="Nobody", notebook=run.notebook, kind="outcome", statement="It is more.", metric="accuracy",
              baseline="mw", treatment="info_nce", direction="higher", smallest_effect=0.01, bench="digits/few_labels", seeds=8)
_ = record(claim, judge(claim, [0.5] * 8, [0.625] * 8, run=run), run, seeds=range(8))
"""
PAGES = {
    "mini": [SET_UP, PARAMETERS, 'run = open_run("1_a/01_mini", profile, seed=seed, device=device)',
             CLAIM.format(name="mini"), TRAINED, JUDGED, FIGURE, SOLUTION],
    "plain": [SET_UP, PARAMETERS, 'run = open_run("1_a/02_plain", profile)', CLAIM.format(name="plain"), PLAIN],
    "bench": [SET_UP, PARAMETERS, 'run = open_run("1_a/03_bench", profile)', BENCHED],
}  # fmt: skip
SIZES = "[ci:01_mini]\nseeds = 1\nsteps = 4\nbatch_size = 32\n\n[laptop:01_mini]\nseeds = 5\nsteps = 3\nbatch_size = 80\n"
RECORD = """
import json, sys
from pathlib import Path
from contrastive_nb import files
from contrastive_nb.lab import claims, trace
for page in sys.argv[1:]:
    book = json.loads((files.notebooks() / f"{page}.ipynb").read_text())
    for cell in book["cells"]:
        cell["source"] = "".join(cell["source"]).replace('profile = "ci"', 'profile = "laptop"')
    path = files.build() / "page.ipynb"
    files.write_whole(path, json.dumps(book))
    trace.run_page(path, 999)
for path in sorted((files.build() / "claims/laptop").glob("*.json")):
    claims.merge(path)
"""


def book_of(cells: list[str]) -> str:
    made = [
        {"cell_type": "code", "source": cell.strip().splitlines(True), "metadata": {}, "outputs": [], "execution_count": None}
        for cell in cells
    ]
    return json.dumps({"cells": made, "metadata": {}, "nbformat": 4, "nbformat_minor": 5})


class Copy:
    "A copy of the tree, a repository of its own, with the records of some pages run at small laptop sizes."

    def __init__(self, root: Path):
        self.root, self.edited = root, []
        here = files.checkout()
        shutil.copytree(here / "contrastive_nb", root / "contrastive_nb", ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("settings.ini", "data/registry.json", "data/catalogue.yml"):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(here / name, root / name)
        shutil.copytree(here / "data/benches", root / "data/benches")
        (root / "data/claims").mkdir()
        (root / ".gitignore").write_text("build/\n__pycache__/\n")
        self.git("init", "-q")

    def git(self, *arguments: str) -> str:
        names = ["-c", "user.name=N", "-c", "user.email=n@example.org", "-c", "commit.gpgsign=false"]
        return subprocess.run(["git", *names, *arguments], cwd=self.root, check=True, capture_output=True, text=True).stdout

    def commit(self) -> None:
        self.git("add", "-A")
        self.git("commit", "-q", "-m", "as it stands")

    def write(self, name: str, text: str) -> None:
        (self.root / name).parent.mkdir(parents=True, exist_ok=True)
        (self.root / name).write_text(text, encoding="utf-8")

    def make_records(self, *pages: str) -> None:
        env = {key: value for key, value in os.environ.items() if key not in (files.NOTEBOOKS, files.BUILD)}
        env |= {"PYTHONPATH": str(self.root), "IN_TEST": "1", "MPLBACKEND": "agg", "CONTRASTIVE_NB_DATA": str(self.root / "mirror")}
        said = subprocess.run([sys.executable, "-c", RECORD, *pages], cwd=self.root, env=env, capture_output=True, text=True)
        assert said.returncode == 0, said.stderr
        self.commit()

    def change(self, name: str, old: str, new: str) -> None:
        text = (self.root / name).read_text(encoding="utf-8")
        assert old in text, f"{name} has no {old!r}"
        self.write(name, text.replace(old, new, 1))

    def insert(self, name: str, function: str, line: str) -> None:
        "A first line in a function."
        rows = (self.root / name).read_text(encoding="utf-8").splitlines(True)
        node = next(n for n in ast.walk(ast.parse("".join(rows))) if isinstance(n, ast.FunctionDef) and n.name == function)
        first = node.body[1] if isinstance(node.body[0], ast.Expr) else node.body[0]
        rows.insert(first.lineno - 1, f"    {line}\n")
        self.write(name, "".join(rows))

    def rename(self, name: str, function: str, old: str, new: str) -> None:
        text = (self.root / name).read_text(encoding="utf-8")
        node = next(n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.FunctionDef) and n.name == function)
        part = ast.get_source_segment(text, node)
        assert re.search(rf"\b{old}\b", part)
        self.write(name, text.replace(part, re.sub(rf"\b{old}\b", new, part)))

    def edit_cell(self, page: str, old: str, new: str) -> None:
        self.change(f"nbs/{page}.ipynb", json.dumps(old)[1:-1], json.dumps(new)[1:-1])

    def edit_record(self, name: str, change) -> None:
        path = self.root / "data/claims" / f"{name}.json"
        record = json.loads(path.read_text())
        change(record["runs"]["laptop"])
        path.write_text(json.dumps(record, indent=2))

    def say(self, *arguments: str):
        return CliRunner().invoke(cli.app, list(arguments))

    def stale(self) -> dict[str, str]:
        said = self.say("stale")
        found = dict(line.split(" ", 1) for line in said.stdout.splitlines())
        assert said.exit_code == (1 if found else 0), said.output
        return found


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    copy = Copy(tmp_path_factory.mktemp("copy"))
    contents = b"1 2 3"
    copy.write("mirror/tiny/numbers.txt", contents.decode())
    registry = json.loads((copy.root / "data/registry.json").read_text())
    whole = {"file": "numbers.txt", "key": "x", "bytes": 5, "unpacked": 5, "sha256": hashlib.sha256(contents).hexdigest()}
    copy.write("data/registry.json", json.dumps(registry | {"tiny": registry["fashion_mnist"] | {"reader": "numbers", "files": [whole]}}))
    copy.write("nbs/1_a/settings.ini", SIZES)
    for name, page in (("mini", "01_mini"), ("plain", "02_plain"), ("bench", "03_bench")):
        copy.write(f"nbs/1_a/{page}.ipynb", book_of(PAGES[name]))
    copy.commit()
    copy.make_records("1_a/03_bench")
    copy.make_records("1_a/02_plain", "1_a/01_mini")  # in one process: what the first has loaded is also the second's
    return copy


@pytest.fixture
def copy(made, monkeypatch):
    "The copy as it was committed; the commands of this process look at it."
    monkeypatch.setattr(files, "PACKAGE", made.root / "contrastive_nb")
    monkeypatch.delenv(files.NOTEBOOKS, raising=False)
    monkeypatch.delenv(files.BUILD, raising=False)
    monkeypatch.setenv("CONTRASTIVE_NB_DATA", str(made.root / "mirror"))
    yield made
    made.git("checkout", "-q", ".")
    made.git("clean", "-qfd")


MINI, BY_HAND, ON_A_BENCH = "T01-mechanism-mini", "T01-mechanism-plain", "T01-outcome-bench"


def test_a_record_says_what_made_it(copy):
    record = json.loads((copy.root / f"data/claims/{MINI}.json").read_text())
    run = record["runs"]["laptop"]
    assert record["schema"] == 3 and run["clean"] is True and run["threads"] >= 1 and run["processor"] and run["carried"] == []
    assert run["seconds"] > 0.1 and run["memory"] > 100 and list(run["data"]) == ["tiny"] and run["settings"]["steps"] == 3
    assert run["versions"]["scikit-learn"] and len(run["page"]) == 16
    assert {"kernels/softmax.py:row_contrast", "objective.py:of_pairs", "training.py:fit", "kernels/tabulated.py:FROM_PAIRS"} <= set(
        run["depends"]
    )
    assert run["depends"]["kernels/softmax.py:row_contrast"]["lines"] and not any(
        key.startswith(("book", "lab", "timing")) for key in run["depends"]
    )
    assert copy.stale() == {}
    everything = copy.say("stale", "--all")
    assert everything.exit_code == 0 and everything.stdout.splitlines() == [
        f"{name} laptop current" for name in (MINI, BY_HAND, ON_A_BENCH)
    ]


def test_what_alters_no_number_makes_nothing_stale(copy):
    copy.change("contrastive_nb/book/plots.py", '"font.size": normal', '"font.size": normal + 1')
    copy.change("contrastive_nb/book/exercises.py", " Well done.", " Good.")
    copy.change("contrastive_nb/checks.py", ": got shape", ": got the shape")
    copy.change("contrastive_nb/lab/claims.py", "indent=2", "indent=4")
    copy.rename("contrastive_nb/objective.py", "of_pairs", "losses", "per_query")
    copy.insert("contrastive_nb/pairs.py", "two_views", "# a comment")
    copy.edit_cell("1_a/01_mini", 'color="0.6"', 'color="0.2"')
    copy.edit_cell("1_a/01_mini", "return x + 1", "return 2 + x - 1")
    copy.rename("contrastive_nb/protocols.py", "by_seed", "trial", "trial")
    assert copy.stale() == {}


@pytest.mark.parametrize(
    "edit, why",
    [
        (("training.py", "torch.optim.AdamW", "partial(torch.optim.AdamW, betas=(0.9, 0.99))"), "OPTIMIZERS is a constant"),
        (("training.py", "weight_decay: float = 1e-4", "weight_decay: float = 1e-2"), "training.py:fit decides"),
        (("metrics.py", "C=1 / strength", "C=2 / strength"), "linear_probe fits by settings"),
        (("metrics.py", "strength: float = 1.0", "strength: float = 2.0"), "arguments of metrics.py:linear_probe"),
        (("kernels/tabulated.py", "FROM_PAIRS = 2**18", "FROM_PAIRS = 2**17"), "FROM_PAIRS is a constant"),
        (("protocols.py", "projector(64)", "projector(32)"), "protocols.py:pretrain decides"),
        (("data.py", "/ 16, torch", "/ 15, torch"), "data.py:digits decides"),
    ],
)
def test_what_decides_a_training_or_a_number_is_never_carried(copy, monkeypatch, edit, why):
    monkeypatch.setattr(carry.Trees, "trace", None)  # it is not even tried
    name, old, new = edit
    copy.change(f"contrastive_nb/{name}", old, new)
    assert list(copy.stale()) == [MINI]
    said = copy.say("carry")
    assert said.exit_code == 1 and said.stdout.startswith(f"{MINI} laptop stale: ") and why in said.stdout
    assert list(copy.stale()) == [MINI]


@pytest.mark.parametrize(
    "edit, why",
    [
        (lambda copy: copy.edit_cell("1_a/01_mini", "width=4", "width=8"), "cells of 1_a/01_mini that feed it changed"),
        (lambda copy: copy.change("nbs/1_a/settings.ini", "seeds = 5\nsteps = 3", "seeds = 5\nsteps = 4"), "settings of 1_a/01_mini changed: steps"),
        (lambda copy: copy.change("data/registry.json", hashlib.sha256(b"1 2 3").hexdigest(), "0" * 64), "other data: tiny"),
        (lambda copy: (copy.root / "nbs/1_a/01_mini.ipynb").unlink(), "its page 1_a/01_mini is gone"),
    ],
)  # fmt: skip
def test_cells_settings_and_data_count_for_their_own_records_alone(copy, edit, why):
    edit(copy)
    assert copy.stale() == {MINI: f"laptop stale: {why}"}
    said = copy.say("carry", "01_mini")
    assert said.exit_code == 1 and said.stdout == f"{MINI} laptop stale: {why}\n"


def edit_bench(copy, change) -> None:
    "A bench's file with other numbers, and what follows from them."
    path = copy.root / "data/benches/digits.json"
    facts = json.loads(path.read_text())
    change(facts)
    path.write_text(json.dumps(facts | {"readouts": benches.derived(facts)}, indent=1))


def measured_again(facts: dict, readout: str) -> None:
    facts["scores"]["reference"][readout] = [x - 0.01 * i for i, x in enumerate(facts["scores"]["reference"][readout])]


@pytest.mark.parametrize(
    "change, keys",
    [
        (lambda facts: facts["settings"].update(temperature=0.1), "temperature"),
        (lambda facts: facts["settings"].update(steps=60, batch=64, lr=0.1), "batch, lr, steps"),
        (lambda facts: measured_again(facts, "few_labels"), "spread"),
        (lambda facts: measured_again(facts, "knn"), None),  # another read-out
        (lambda facts: facts["made"].update(processor="another"), None),
        (lambda facts: facts["ceiling"].update({"is": "in other words"}), None),
    ],
)
def test_a_claim_rests_on_the_settings_and_the_measures_of_its_bench(copy, monkeypatch, change, keys):
    monkeypatch.setattr(carry.Trees, "trace", None)
    memory = freshness.of_notebook("1_a/03_bench", "laptop"), freshness.of_notebook("1_a/01_mini", "laptop")
    edit_bench(copy, change)
    why = f"laptop stale: its bench digits/few_labels changed: {keys}"
    assert copy.stale() == ({ON_A_BENCH: why} if keys else {})
    said = copy.say("carry")
    assert said.stdout == (f"{ON_A_BENCH} {why}\n" if keys else "") and said.exit_code == int(keys is not None)
    now = freshness.of_notebook("1_a/03_bench", "laptop"), freshness.of_notebook("1_a/01_mini", "laptop")
    assert now[0] != memory[0] and now[1] == memory[1]  # what a run remembers, it remembers of this bench
    assert freshness.unclean([]) == "data/benches/digits.json"


def test_a_bench_that_is_admitted_since_and_a_run_that_kept_nothing_of_it(copy, monkeypatch):
    real = json.loads((copy.root / f"data/claims/{ON_A_BENCH}.json").read_text())["runs"]["laptop"]["bench"]
    assert real == {"temperature": 0.4, "lr": 0.004, "weight_decay": 0.0001, "batch": 128, "steps": 120} | {
        "range": None, "spread": 0.028995, "admitted": False,
    }  # fmt: skip
    copy.edit_record(ON_A_BENCH, lambda run: run["bench"].update(admitted=True, range=[0.01, 0.02]))
    assert copy.stale() == {ON_A_BENCH: "laptop stale: its bench digits/few_labels changed: admitted, range"}
    copy.edit_record(ON_A_BENCH, lambda run: run.pop("bench"))
    assert copy.stale() == {ON_A_BENCH: "laptop stale: it kept nothing of its bench digits/few_labels"}
    copy.edit_record(ON_A_BENCH, lambda run: run.update(bench="digits"))
    said = copy.say("stale")
    assert said.exit_code == 2 and "bench: got text, want an object" in said.stderr


def keep_traces_of_commits(monkeypatch):
    "The traces of a commit, which stays as it is, are made once."
    real, kept = carry.Trees.trace, {}

    def trace(self, root, page, modes):
        if root == files.checkout():
            return real(self, root, page, modes)
        return kept.setdefault(page, None) or kept.update({page: real(self, root, page, modes)}) or kept[page]

    monkeypatch.setattr(carry.Trees, "trace", trace)


@pytest.mark.slow
def test_a_guard_and_another_rounding_are_carried_a_wrong_temperature_is_not(copy, monkeypatch):
    keep_traces_of_commits(monkeypatch)
    copy.insert("contrastive_nb/kernels/softmax.py", "row_contrast", "scores = torch.where(scores.isnan(), scores, scores * 3 / 3)")
    assert list(copy.stale()) == [MINI] and "kernels/softmax.py:row_contrast" in copy.stale()[MINI]
    said = copy.say("carry", MINI)
    assert said.exit_code == 0 and said.stdout.startswith(f"{MINI} laptop carried: 8 steps, "), said.output
    assert copy.stale() == {} and "carried: to" in copy.say("stale", "--all").stdout
    entry = json.loads((copy.root / f"data/claims/{MINI}.json").read_text())["runs"]["laptop"]["carried"][0]
    assert (
        set(entry["definitions"]) == {"kernels/softmax.py:row_contrast"}
        and entry["evidence"]["widest"] <= 1
        and entry["evidence"]["one ulp"] > 0
    )
    copy.insert("contrastive_nb/kernels/softmax.py", "row_contrast", "temperature = temperature * 1.01")
    assert list(copy.stale()) == [MINI]
    said = copy.say("carry", "1_a/01_mini")
    assert said.exit_code == 1 and re.search(r"stale: at step 4 of 8 it is [\d.e+]+ times farther off than one ulp allows", said.stdout)


@pytest.mark.parametrize(
    "change, why",
    [
        (lambda run: run.update(clean=False), "it was not made in a clean tree"),
        (lambda run: run.update(clean=None), "it was not made in a clean tree"),
        (lambda run: run.update(commit="0000000"), "its commit 0000000 is not here"),
        (lambda run: run["carried"].extend([{"commit": "x", "definitions": {}, "evidence": {}}] * 3), "it was carried 3 times in a row"),
        (lambda run: run["depends"]["objective.py:reduce"].update(digest="0" * 16), "does not hold the code that made it"),
    ],
)
def test_a_record_of_no_known_origin_is_never_carried(copy, monkeypatch, change, why):
    monkeypatch.setattr(carry.Trees, "trace", None)
    copy.edit_record(MINI, change)
    copy.insert("contrastive_nb/kernels/softmax.py", "row_contrast", "scores = scores + 0")
    said = copy.say("carry")
    assert said.exit_code == 1 and why in said.stdout


def test_lines_that_ci_does_not_reach_are_never_carried(copy, monkeypatch):
    run = json.loads((copy.root / f"data/claims/{MINI}.json").read_text())["runs"]["laptop"]
    seen = {name: [] for name in copy.root.joinpath("contrastive_nb").rglob("*.py")}
    monkeypatch.setattr(carry.Trees, "trace", lambda *ignored: {"plain": {"lines": seen}})
    copy.insert("contrastive_nb/kernels/softmax.py", "row_contrast", "scores = scores + 0")
    said = copy.say("carry")
    assert run["depends"]["kernels/softmax.py:row_contrast"]["lines"] in said.stdout and "ci does not reach lines" in said.stdout


def test_a_record_about_seconds_is_never_carried():
    record = {"kind": "mechanism", "metric": "log10 of processor seconds, one thread"}
    assert carry._costs(record) and carry._costs({"kind": "cost", "metric": "x"}) and not carry._costs(record | {"metric": "accuracy"})


def test_a_damaged_record_is_named_and_the_others_are_still_listed(copy):
    copy.write("data/claims/A.json", "{")
    copy.edit_cell("1_a/01_mini", "width=4", "width=8")
    said = copy.say("stale")
    assert (
        said.exit_code == 2 and "A.json" in said.stderr and said.stdout.startswith(f"{MINI} laptop stale: ") and "A.json" not in said.stdout
    )
    said = copy.say("carry")
    assert said.exit_code == 2 and "A.json" in said.stderr


def test_a_name_that_nothing_has_is_refused(copy):
    said = copy.say("carry", "nothing")
    assert said.exit_code == 2 and "nothing: is no claim's id and no page with records" in said.stderr


def test_a_record_without_executed_lines_is_judged_by_what_its_page_imports(copy):
    copy.edit_record(MINI, lambda run: [run.pop(key) for key in ("depends", "page", "settings", "data", "clean", "memory")])
    assert copy.stale() == {}
    copy.change("contrastive_nb/book/plots.py", '"font.size": normal', '"font.size": normal + 1')
    assert copy.stale() == {}
    copy.insert("contrastive_nb/kernels/softmax.py", "row_contrast", "scores = scores + 0")
    assert "it kept no executed lines, and since" in copy.stale()[MINI] and "contrastive_nb/kernels/softmax.py" in copy.stale()[MINI]


def test_the_names_that_are_never_carried_are_there():
    library = freshness.Library()
    for module, names in carry.NEVER.items():
        assert names <= set(library.modules[module].functions), module


def cost_of(*runs: tuple[str, float | None, str | None]) -> str:
    return reports.cost_text([{"notebook": n, "runs": {"laptop": {"seconds": s, "processor": p}}} for n, s, p in runs])


def test_the_readme_says_what_a_laptop_run_costs():
    assert cost_of(("a", 60.0, "x"), ("a", 600.0, "x"), ("b", None, "x"), ("c", 99.0, None), ("d", 120.0, "x")) == (
        "A run at `laptop` took 12 processor minutes on the 2 of 4 pages whose records keep them."
    )
    assert cost_of(("a", None, "x")).endswith("none of 1 pages has such records yet.")
    wanted = reports.cost_text(freshness.read_ledger())
    assert wanted in (files.checkout() / "README.md").read_text(encoding="utf-8"), f"README.md: want {wanted!r}, then `make front`"


REAL = "5_without_negatives/04_stages"
SMALL = "".join(
    f"[{size}:04_stages]\nseeds = {seeds}\nsearch_seeds = 1\ntried = 1\nworlds = 1\nlonger = 1.0\nsteps = 3\n"
    for size, seeds in (("ci", 1), ("laptop", 8))
)


@pytest.mark.slow
def test_the_rows_of_a_page_of_the_book(tmp_path, monkeypatch):
    copy = Copy(tmp_path)
    copy.write(f"nbs/{REAL}.ipynb", (files.checkout() / f"nbs/{REAL}.ipynb").read_text(encoding="utf-8"))
    copy.write("nbs/5_without_negatives/settings.ini", SMALL)
    copy.commit()
    copy.make_records(REAL)
    rows = len(list((copy.root / "data/claims").glob("*.json")))
    assert rows >= 2
    monkeypatch.setattr(files, "PACKAGE", copy.root / "contrastive_nb")
    monkeypatch.delenv(files.NOTEBOOKS, raising=False)
    monkeypatch.delenv(files.BUILD, raising=False)
    keep_traces_of_commits(monkeypatch)
    assert copy.stale() == {}
    copy.change("contrastive_nb/book/plots.py", '"font.size": normal', '"font.size": normal + 1')
    copy.edit_cell(REAL, 'ROLE["negative"]', 'ROLE["hard"]')
    copy.rename("contrastive_nb/objective.py", "of_pairs", "losses", "per_query")
    assert copy.stale() == {}
    copy.insert("contrastive_nb/kernels/softmax.py", "row_contrast", "scores = torch.where(scores.isnan(), scores, scores * 3 / 3)")
    assert len(copy.stale()) == rows
    said = copy.say("carry")
    assert said.exit_code == 0 and said.stdout.count(" laptop carried: ") == rows, said.stdout
    assert copy.stale() == {}
    copy.insert("contrastive_nb/encoders.py", "seeded", "seed = seed + 1")
    said = copy.say("carry")
    assert said.exit_code == 1 and said.stdout.count(" laptop stale: at step ") == rows, said.stdout
    copy.insert("contrastive_nb/training.py", "fit", "lr = lr * 1.01")  # is not even tried
    said = copy.say("carry")
    assert said.exit_code == 1 and said.stdout.count("training.py:fit decides") == rows, said.stdout
