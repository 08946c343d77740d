"""What a step costs: the two instruments, the contestants, and a comparison that survives contestants which do not."""

import json
import math
import os
import platform
import re
import shutil
import signal
import textwrap
from pathlib import Path

import pytest
import torch
from commands import CliRunner

from contrastive_nb import files
from contrastive_nb.cli import app
from contrastive_nb.timing import contestants, measure, processes, report, tournament
from contrastive_nb.timing.contestants import CONTESTANTS

# --- measure -----------------------------------------------------------------------------------------------------------------------------


class Clock:
    "Time that passes only where a step says so."

    def __init__(self):
        self.now, self.done = 0.0, []

    def __call__(self):
        return self.now

    def contestant(self, name, seconds):
        def step():
            self.done.append(name)
            self.now += seconds

        return lambda: step


@pytest.mark.slow
def test_rounds_go_through_everyone_and_back():
    clock = Clock()
    found = measure.measure({"a": clock.contestant("a", 1.0), "b": clock.contestant("b", 3.0)}, 3, clock=clock)
    assert found == {"a": [1.0] * 3, "b": [3.0] * 3}
    assert "".join(clock.done) == "aabb" + "ab" + "ba" + "ab"  # two to warm up each, then the rounds


def test_short_steps_are_repeated_and_averaged():
    clock = Clock()
    found = measure.measure({"a": clock.contestant("a", 0.25)}, 2, least=1.0, clock=clock)
    assert found == {"a": [0.25, 0.25]} and len(clock.done) == 2 + 2 * 4


@pytest.mark.parametrize("everyone, repetitions, named", [
    ({}, 3, "contestants"), ([1], 3, "contestants"), ({"a": lambda: lambda: None}, 0, "repetitions"), ({"a": lambda: lambda: None}, True, "repetitions"),
])  # fmt: skip
def test_measure_names_what_is_wrong(everyone, repetitions, named):
    with pytest.raises((TypeError, ValueError), match=f"^{named}: got"):
        measure.measure(everyone, repetitions)


# --- peak --------------------------------------------------------------------------------------------------------------------------------


def test_peak_counts_the_step_and_not_the_inputs():
    found = measure.peak("import torch; x = torch.ones(size)", "y = x + 1; del y", size=10**7)
    assert found.failed is None and 39.5e6 < found.bytes < 50e6 and found.seconds > 0


def test_what_lies_between_two_steps_is_not_held():
    "Twice 40 MB one after the other are 40 MB."
    found = measure.peak("import torch; f = lambda: torch.ones(10**7).sum()", "f(); f()")
    assert 39.5e6 < found.bytes < 50e6


@pytest.mark.parametrize("step, options, reason", [
    ("torch.ones(2 * 10**8)", dict(limit=0.5), "out of memory (limit 0.5 GB)"),
    ("bytearray(10**9)", dict(limit=0.5), "out of memory (limit 0.5 GB)"),
    ("import os; os.kill(os.getpid(), 9)", {}, "killed by signal 9"),
    ("import time; time.sleep(60)", dict(seconds=2), "took longer than 2 s"),
])  # fmt: skip
def test_a_step_that_does_not_end_well_says_how(step, options, reason):
    assert measure.peak("import torch", step, **options) == (None, reason, None)


def test_peak_hands_on_the_error_of_the_code():
    with pytest.raises(RuntimeError, match="^peak: ValueError: of mine$"):
        measure.peak("", "raise ValueError('of mine')")
    with pytest.raises(RuntimeError, match="^peak: NameError"):
        measure.peak("import torch", "allocate")  # a word of an allocator's message, and not one
    with pytest.raises(ValueError, match="^limit: got 0"):
        measure.peak("", "", limit=0)


def test_the_child_finds_this_package_and_none_of_its_modules_by_a_bare_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    setup = "import contrastive_nb, importlib.util; assert contrastive_nb.__path__ == [here] and not importlib.util.find_spec('encoders')"
    assert measure.peak(setup, "", here=str(files.PACKAGE)).failed is None


# --- the contestants -----------------------------------------------------------------------------------------------------------------------

VALUED = [name for name in CONTESTANTS if "/" in name and contestants.learns(CONTESTANTS[name].group)]
SEARCHES = [name for name in CONTESTANTS if name.startswith("mining/")]


@pytest.mark.parametrize("rows", [9, 16])
@pytest.mark.parametrize("name", VALUED)
def test_every_contestant_computes_the_value_of_its_group(name, rows):
    if why := contestants.available(CONTESTANTS[name]):
        pytest.skip(why)
    query, key = measure.embeddings(rows, 8, seed=rows, noise=2.0)
    step = CONTESTANTS[name].make(query, key)
    for _ in range(2):  # the second step begins anew: gradients are not added up
        value = step()
    exact = [x.detach().double().requires_grad_() for x in (query, key)]
    right = contestants.oracle(CONTESTANTS[name].group, *exact)
    right.backward()
    assert float(value) == pytest.approx(right.item(), rel=2e-6)
    assert right.item() > 0.1  # a loss of zero would be anyone's
    for mine, theirs in zip((query, key), exact, strict=True):
        torch.testing.assert_close(mine.grad.double(), theirs.grad, rtol=1e-4, atol=2e-6)


@pytest.mark.parametrize("rows", [9, 40])
@pytest.mark.parametrize("name", SEARCHES)
def test_every_search_finds_the_same_rows_in_the_same_order(name, rows):
    if why := contestants.available(CONTESTANTS[name]):
        pytest.skip(why)
    query, key = measure.embeddings(rows, 8, seed=rows, noise=2.0)
    hardest = [[j for j in row.argsort(descending=True).tolist() if j != i][:10] for i, row in enumerate(_cosines(query, key))]
    spare = [[-1] * (contestants.MINED - len(row)) if name == "mining/mine" else [] for row in hardest]  # where the corpus ends
    want = sum(place * j for row, end in zip(hardest, spare, strict=True) for place, j in enumerate(row + end, 1)) / rows
    assert float(CONTESTANTS[name].make(query, key)()) == pytest.approx(want, rel=1e-12)
    assert query.grad is None and key.grad is None


def _cosines(query, key):
    query, key = (x.detach().double() / x.detach().double().norm(dim=1, keepdim=True) for x in (query, key))
    return query @ key.T


def test_a_search_that_finds_other_rows_takes_no_part(tmp_path):
    "Two hits changed about: the rows are the same, their order is not."
    path = tmp_path / "swapped.py"
    path.write_text(
        textwrap.dedent("""
        from contrastive_nb.timing.contestants import _told, enter
        from contrastive_nb.negatives import mine

        @enter("mining/swapped", "torch", "the first two of each query the other way round")
        def make(query, key):
            order = [1, 0, *range(2, 10)]
            return lambda: _told(mine(query.detach(), key.detach(), k=10)[:, order])
    """)
    )
    try:
        plan = tournament.Plan(
            ["mining/swapped", "mining/mine"], sizes=[32], dims=[4], threads=[1], repetitions=1, least=0.001, also=[str(path)]
        )
        table = tournament.compare(plan)
    finally:
        CONTESTANTS.pop("mining/swapped", None)
    assert table["missing"]["mining/swapped"].startswith("does not agree with float64: value off by")
    assert table["agreement"]["mining/mine"] == {"value": 0.0, "gradient": None}


@pytest.mark.slow
def test_mining_has_seconds_and_memory_in_the_table(tmp_path):
    path = tmp_path / "cpu.json"
    done = call("mining/", "--sizes", "64,4096", "--dims", "16", "--threads", "1", "--repetitions", "1", "--output", str(path))
    assert done.exit_code == 0, done.output
    check_table(report.read(path))
    rows = {(row["contestant"], row["rows"]): row for row in report.summary(report.read(path))}
    assert {name for name, _ in rows} >= {"product", "mining/torch", "mining/mine"}
    whole, blocks = (rows[f"mining/{way}", 4096] for way in ("torch", "mine"))
    assert whole["ms"] > 0 and blocks["ms"] > 0 and whole["to_floor"] > 1 and blocks["to_torch"] > 0
    matrix = 4 * 4096**2 / 1e6
    assert whole["mb"] > matrix > 2 * blocks["mb"]  # a block of 128 queries at a time


def test_no_gradients_are_taken_off_the_memory_of_a_search():
    one = dict.fromkeys(CELL) | cell(100, [0.001]) | dict(wall=[0.001], to_floor=[1.0], to_torch=[1.0])
    assert report._summed(one | dict(group="mining"), {})["mb"] == 1.0 > report._summed(one | dict(group="infonce"), {})["mb"]


def test_the_floor_is_the_three_products():
    query, key = measure.embeddings(5, 3)
    CONTESTANTS["products"].make(query, key)()
    scores = (query @ key.T).detach()
    torch.testing.assert_close(query.grad, scores @ key.detach())
    torch.testing.assert_close(key.grad, scores.T @ query.detach())


@pytest.mark.parametrize("name", CONTESTANTS)
def test_everyone_is_held_against_what_there_is(name):
    group = CONTESTANTS[name].group
    assert contestants.floor_of(group) in CONTESTANTS and contestants.torch_of(group) in CONTESTANTS
    assert CONTESTANTS[name].library in processes.IMPORTS


def test_the_yardsticks_run_first():
    assert tournament.chosen(["mw/dense"]) == ["products", "infonce/torch", "mw/dense"]
    assert tournament.chosen(["lightly"])[:4] == ["products-2n", "ntxent/torch", "decoupled/torch", "ntxent/lightly"]
    assert tournament.chosen(["mine"]) == ["product", "mining/torch", "mining/mine"]
    assert tournament.chosen(["products"]) == ["products", "products-2n"] and set(tournament.chosen([])) == set(CONTESTANTS)


# --- a comparison with contestants that fail --------------------------------------------------------------------------------------------------

FAKES = """
    import os
    import torch
    import torch.nn.functional as F
    from contrastive_nb.timing.contestants import TEMPERATURE, descend, enter

    def value(query, key):
        return F.cross_entropy(F.normalize(query) @ F.normalize(key).T / TEMPERATURE, torch.arange(len(query)))

    def after(what):  # fails at the size that is measured, not at the small one before
        def make(query, key):
            def loss():
                what(len(query))
                return value(query, key)
            return descend(loss, query, key)
        return make

    def kill(rows):
        if rows > 16:
            os.kill(os.getpid(), 9)

    def shout(rows):
        if rows > 16:
            raise TypeError("not at this size")

    enter("infonce/good", "torch", "as it should be")(after(lambda rows: None))
    enter("infonce/greedy", "torch", "wants 10 GB")(after(lambda rows: rows > 16 and torch.ones(10**10)))
    enter("infonce/killed", "torch", "is killed")(after(kill))
    enter("infonce/loud", "torch", "raises")(after(shout))
    enter("infonce/wrong", "torch", "another value")(lambda query, key: descend(lambda: 2 * value(query, key), query, key))
    enter("infonce/absent", "no-such-library", "is not here")(after(lambda rows: None))
"""
WORDS = ["good", "greedy", "killed", "loud", "wrong", "absent"]


@pytest.fixture
def fakes(tmp_path, monkeypatch):
    "A file with contestants; what it enters is taken out again."
    before = dict(CONTESTANTS)
    path = tmp_path / "fakes.py"
    path.write_text(textwrap.dedent(FAKES))
    yield str(path)
    CONTESTANTS.clear()
    CONTESTANTS.update(before)


def plan_of(fakes, words=WORDS, **options):
    small = dict(sizes=[32, 64], dims=[4], threads=[1], repetitions=2, memory_limit=1.0, least=0.001, also=[fakes])
    return tournament.Plan(words, **{**small, **options})


def cells_of(table, key="failed"):
    return {(cell["contestant"], cell["rows"]): cell[key] for cell in table["cells"]}


def test_who_fails_says_so_and_the_others_go_on(fakes):
    ticks = []
    table = tournament.compare(plan_of(fakes), step=lambda: ticks.append(1))
    assert cells_of(table) == {
        **{(name, rows): None for name in ("products", "infonce/torch", "infonce/good") for rows in (32, 64)},
        ("infonce/greedy", 32): "out of memory (limit 1 GB)", ("infonce/greedy", 64): "out of memory with 32 rows",
        **{("infonce/killed", rows): "killed by signal 9" for rows in (32, 64)},
        **{("infonce/loud", rows): "TypeError: not at this size" for rows in (32, 64)},
    }  # fmt: skip
    assert table["missing"]["infonce/absent"] == "no-such-library is not installed"
    assert table["missing"]["infonce/wrong"].startswith("does not agree with float64: value off by 1")
    assert set(table["agreement"]) == {f"infonce/{name}" for name in ("torch", "good", "greedy", "killed", "loud")}
    assert len(ticks) == 2 * 6  # a tick of the bar for each that took part

    good = next(cell for cell in table["cells"] if cell["contestant"] == "infonce/good")
    assert good["done"] and [len(good[key]) for key in ("seconds", "wall", "bytes", "to_floor", "to_torch")] == [2] * 5
    torch_cell = next(cell for cell in table["cells"] if cell["contestant"] == "infonce/torch")
    assert good["to_torch"] == pytest.approx(
        [a / b for a, b in zip(good["seconds"], torch_cell["seconds"], strict=True)], rel=2e-3
    )  # of one round
    assert torch_cell["to_torch"] == [1.0, 1.0]


def test_an_interrupted_comparison_keeps_what_is_done_and_goes_on(fakes, tmp_path, monkeypatch):
    path, plan = tmp_path / "table.json", plan_of(fakes, ["good"], sizes=[32, 48])
    asked = []
    real = processes.Template.ask

    def ask(self, job, seconds):
        if job["do"] == "time":
            asked.append((job["contestant"], job["rows"]))
            if len(asked) == 8:  # size 32 is through (3 contestants, 2 rounds), the second size has begun
                raise KeyboardInterrupt
        return real(self, job, seconds)

    monkeypatch.setattr(processes.Template, "ask", ask)
    table, whole = report.run(plan, path)
    assert not whole and table == report.read(path)
    assert [name for (name, rows), done in cells_of(table, "done").items() if rows == 32 and done] == [
        "products",
        "infonce/torch",
        "infonce/good",
    ]
    assert cells_of(table)[("infonce/good", 48)] == "not reached"

    asked.clear()
    monkeypatch.setattr(processes.Template, "ask", lambda self, job, seconds: asked.append(job.get("rows")) or real(self, job, seconds))
    again, whole = report.run(plan, path)
    assert whole and all(cells_of(again, "done").values()) and 32 not in asked
    assert [c for c in again["cells"] if c["rows"] == 32] == [c for c in table["cells"] if c["rows"] == 32]

    asked.clear()
    monkeypatch.setattr(tournament, "installed", lambda library: "another version")
    third, whole = report.run(plan, path)
    assert whole and asked.count(32) == 3 * 2 and len(third["cells"]) == 6


def test_ratios_are_never_taken_across_runs(fakes, tmp_path):
    "Who comes later is measured beside those that it is held against."
    path = tmp_path / "table.json"
    first, _ = report.run(plan_of(fakes, ["infonce/torch"], sizes=[32]), path)
    second, _ = report.run(plan_of(fakes, ["good"], sizes=[32]), path)
    by_name = {cell["contestant"]: cell for cell in second["cells"]}
    assert set(by_name) == {"products", "infonce/torch", "infonce/good"}
    measured = [a / b for a, b in zip(by_name["infonce/good"]["seconds"], by_name["infonce/torch"]["seconds"], strict=True)]
    assert by_name["infonce/good"]["to_torch"] == pytest.approx(measured, rel=2e-3)
    assert by_name["infonce/torch"]["seconds"] != [c for c in first["cells"] if c["contestant"] == "infonce/torch"][0]["seconds"]


@pytest.mark.parametrize("changed", [None, "rows.py", "objectives/infonce.py", "kernels/pairwise.py", "timing/report.py"])
def test_what_is_kept_of_our_own_hangs_on_the_files_where_it_runs(changed, tmp_path, monkeypatch):
    names, package = ["infonce/torch", "infonce/dense"], tmp_path / "contrastive_nb"
    cells = [{"contestant": name, "code": tournament._code_of(name)} for name in names]
    table = {"facts": tournament.facts(), "agreement": {}, "cells": cells}
    shutil.copytree(files.PACKAGE, package)
    if changed:
        (package / changed).write_text("# other code")
    monkeypatch.setattr(files, "PACKAGE", package)
    monkeypatch.setattr(tournament._Comparison, "run", lambda self, step: self.table)
    kept = [cell["contestant"] for cell in tournament.compare(tournament.Plan(names), table=table)["cells"]]
    assert kept == (names if changed in (None, "timing/report.py") else names[:1])


def test_no_measurement_begins_after_the_minutes(fakes):
    table = tournament.compare(plan_of(fakes, ["good"], minutes=1e-9))
    assert set(cells_of(table).values()) == {"not reached"}


def cell(rows, seconds, failed=None, megabytes=1):
    return dict(
        contestant="a",
        rows=rows,
        dims=8,
        threads=1,
        precision="no",
        seconds=seconds,
        bytes=[megabytes * 10**6] * len(seconds),
        failed=failed,
    )


def test_what_a_larger_batch_would_take():
    wanted = cell(4096, [])
    assert tournament._expected([cell(1024, [0.5, 0.7, 0.6])], wanted, 2, 2, 8.0) == (pytest.approx(0.6 * 16), None)
    assert tournament._expected([cell(256, [9.0]), cell(1024, [0.5])], wanted, 3, 3, 8.0) == (pytest.approx(0.5 * 64), None)
    assert tournament._expected([cell(1024, [0.5], megabytes=2008)], wanted, 2, 2, 8.0)[1] == "would take about 32 GB"
    assert tournament._expected([cell(16, [1e-4], megabytes=5)], wanted, 3, 3, 8.0)[1] is None  # what a process takes once
    assert tournament._expected([cell(256, [], "out of memory (limit 8 GB)")], wanted, 2, 2, 8.0) == (None, "out of memory with 256 rows")
    assert tournament._expected([cell(8192, [0.5]), cell(256, [], "killed by signal 9")], wanted, 2, 2, 8.0) == (None, None)
    assert tournament._expected([cell(1024, [0.5], megabytes=108)], wanted, 3, 1, 8.0) == (pytest.approx(0.5 * 64), None)
    assert tournament._expected([cell(1024, [0.5]) | dict(threads=2)], wanted, 2, 2, 8.0) == (None, None)


def test_what_stays_when_a_table_is_gone_on_with():
    new = dict(code="a", limit=8.0, cap=5.0, planned=3)
    old = new | dict(done=True, failed=None)
    assert (
        tournament._can_stay(old, new)
        and tournament._can_stay(old, new | dict(cap=9.0))
        and tournament._can_stay(old, new | dict(planned=2))
    )
    for change in (dict(code="b"), dict(limit=9.0), dict(planned=4)):
        assert not tournament._can_stay(old, new | change)
    assert not tournament._can_stay(old | dict(done=False), new)
    left_out = old | dict(done=False, failed="would take about 9 s a step")
    assert tournament._can_stay(left_out, new) and not tournament._can_stay(left_out, new | dict(cap=10.0))
    assert not tournament._can_stay(old | dict(done=False, failed="killed by signal 9"), new)


def test_a_step_that_would_take_too_long_is_left_out(fakes):
    table = tournament.compare(plan_of(fakes, ["good"], cap=1e-9, sizes=[32, 4096]))
    failed = cells_of(table)
    assert failed[("products", 4096)] is None and failed[("infonce/good", 32)] is None
    assert re.fullmatch(r"would take about \d+ s a step", failed[("infonce/torch", 4096)])


def test_a_step_that_nobody_can_foretell_is_waited_for_longer(fakes, monkeypatch):
    "The first size of each contestant, once; afterwards its seconds are known."
    waits = []
    real = processes.Template.ask
    monkeypatch.setattr(
        processes.Template, "ask", lambda self, job, seconds: waits.append((job.get("rows"), seconds)) or real(self, job, seconds)
    )
    tournament.compare(plan_of(fakes, ["good"], cap=1.0))
    short, long = (number * 1.0 + 60 for number in tournament.PATIENCE)
    assert long > short and {rows for rows, seconds in waits if seconds == long} == {32}
    assert [seconds for rows, seconds in waits if rows == 32].count(long) == 3 and {seconds for rows, seconds in waits if rows == 64} == {
        short
    }


# --- the table -------------------------------------------------------------------------------------------------------------------------------

CELL = dict(
    contestant=str, group=str, library=str, rows=int, dims=int, threads=int, precision=str, limit=float, code=str, seconds=list, wall=list, bytes=list,
    to_floor=list, to_torch=list, planned=int, cap=float, done=bool, failed=(str, type(None)),
)  # fmt: skip


def check_table(table):
    assert set(table) == {"facts", "temperature", "agreement", "missing", "cells"}
    for one in table["cells"]:
        assert set(one) == set(CELL) and all(isinstance(one[key], kind) for key, kind in CELL.items()), one
        assert bool(one["seconds"]) or one["failed"], one
        assert len({len(one[key]) for key in ("seconds", "wall", "bytes", "to_floor", "to_torch")}) == 1
        assert all(x > 0 for x in one["seconds"] + one["wall"])
    keys = [tuple(one[key] for key in ("contestant", "rows", "dims", "threads", "precision")) for one in table["cells"]]
    assert len(set(keys)) == len(keys)
    said = json.dumps(table)
    assert platform.node() not in said or len(platform.node()) < 4
    assert os.sep + "home" not in said and f"{Path.home()}{os.sep}" not in said


def test_a_table_says_all_and_can_be_read_again(fakes, tmp_path):
    table, whole = report.run(plan_of(fakes, ["good", "loud"], sizes=[32]), tmp_path / "a" / "table.json")
    assert whole and report.read(tmp_path / "a" / "table.json") == table
    check_table(table)
    assert list((tmp_path / "a").iterdir()) == [tmp_path / "a" / "table.json"]  # no part is left
    rows = {row["contestant"]: row for row in report.summary(table)}
    assert list(rows) == ["products", "infonce/torch", "infonce/good", "infonce/loud"]
    assert rows["infonce/loud"]["ms"] is None and rows["infonce/loud"]["why"] == "TypeError: not at this size"
    assert rows["infonce/torch"]["to_torch"] == 1 and rows["infonce/good"]["value"] < 1e-5 and rows["products"]["to_floor"] == 1


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_the_committed_table_is_one(device):
    path = report.place(device, saved=True)
    if not path.exists():
        pytest.skip(f"data/benchmarks has no {device}.json")
    table = report.read(path)
    check_table(table)
    assert table["facts"]["device"] == device and set(CONTESTANTS) >= {one["contestant"] for one in table["cells"]}


@pytest.mark.parametrize("spoil", [
    lambda table: table["facts"].update(device="cuda"),
    lambda table: table["cells"][0].update(contestant="infonce/nobody"),
])  # fmt: skip
def test_the_check_of_the_committed_table_finds_another_device_and_an_unknown_contestant(monkeypatch, spoil):
    table = report.read(report.place("cpu", saved=True))
    spoil(table)
    monkeypatch.setattr(report, "read", lambda path: table)
    with pytest.raises(AssertionError):
        test_the_committed_table_is_one("cpu")


def test_medians_and_quartiles_of_a_cell():
    one = dict.fromkeys(CELL) | cell(100, [0.001, 0.002, 0.004]) | dict(wall=[0.003], to_floor=[1.0, 2.0, 3.0], to_torch=[None] * 3)
    row = report._summed(one, {"value": 1e-7, "gradient": 2e-7})
    assert (row["ms"], row["quartiles"], row["wall_ms"], row["to_floor"], row["to_torch"]) == (2.0, "1.5 to 3", 3.0, 2.0, None)
    assert row["mb"] == pytest.approx((10**6 - 2 * 4 * 100 * 8) / 1e6)


def _dense(group, rows, ratios, **other):
    one = dict.fromkeys(CELL) | cell(rows, [0.001] * len(ratios), None if ratios else "not reached")
    return (
        one | dict(contestant=f"{group}/dense", group=group, dims=128, wall=[0.001] * len(ratios), to_floor=ratios, to_torch=ratios) | other
    )


def test_the_front_door_says_of_each_limit_whether_it_holds():
    cells = [_dense("infonce", 256, [1.6, 1.4, 1.5]), _dense("infonce", 512, [1.3, 1.2, 1.26]), _dense("infonce", 1024, [1.0], threads=2),
             _dense("mw", 256, []), _dense("ranknet", 256, [1.9], dims=768)]  # fmt: skip
    found = {(row["value"], row["B"]): (row["ratio"], row["holds"]) for row in report.front_door(dict(agreement={}, cells=cells))}
    assert set(found) == {(group, size) for group, limits in report.LIMITS.items() for size in limits}
    assert found.pop(("infonce", 256)) == (1.5, "yes") and found.pop(("infonce", 512)) == (1.26, "no")
    assert set(found.values()) == {(None, "not measured")}  # other threads, other widths and what was not reached say nothing


# --- the command -----------------------------------------------------------------------------------------------------------------------------


def call(*arguments):
    return CliRunner().invoke(app, ["timing", *arguments])


@pytest.mark.parametrize("arguments, said", [
    (["nobody"], "contestant: got 'nobody'"),
    (["--sizes", "64,a"], "--sizes: got '64,a'"),
    (["--sizes", "1"], "sizes: got 1"),
    (["--dims", "0"], "dims: got [0]"),
    (["--threads", ""], "--threads: got ''"),
    (["--repetitions", "0"], "repetitions: got 0"),
    (["--memory-limit", "-1"], "memory_limit: got -1"),
    (["--minutes", "nan"], "minutes: got nan"),
    (["--device", "tpu"], "device: got 'tpu'"),
    (["--precision", "fp8"], "precision: got 'fp8'"),
    (["--also", "nowhere.py"], "also: nowhere.py cannot be run"),
])  # fmt: skip
def test_wrong_arguments_give_one_line(arguments, said):
    done = call(*arguments)
    assert done.exit_code == 2 and done.stdout == "" and len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith(f"contrastive-nb: {said}")


def test_a_file_that_is_no_table_is_left_alone(tmp_path):
    path = tmp_path / "notes.json"
    path.write_text('{"cells": 3}')
    done = call("products", "--output", str(path))
    assert done.exit_code == 2 and "notes.json: no table of a benchmark" in done.stderr and path.read_text() == '{"cells": 3}'


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here")
def test_without_a_gpu_cuda_is_refused():
    done = call("products", "--device", "cuda")
    assert done.exit_code == 2 and "sees no GPU" in done.stderr


def test_the_command_lists_who_can_take_part():
    done = call("--list")
    assert done.exit_code == 0 and [line.split(":")[0] for line in done.stdout.splitlines()] == list(CONTESTANTS)


def test_the_command_prints_its_table(fakes, tmp_path):
    path = tmp_path / "cpu.json"
    small = ["--sizes", "32", "--dims", "4", "--threads", "1", "--repetitions", "1", "--also", fakes, "--output", str(path)]
    done = call("good", "greedy", "absent", "--memory-limit", "1", *small)
    assert done.exit_code == 0, done.output
    for part in ("infonce/good", "out of memory (limit 1 GB)", "infonce/absent: no-such-library is not installed", str(path)):
        assert part in done.stdout
    check_table(report.read(path))


def test_a_group_that_is_not_there_cannot_be_entered(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("from contrastive_nb.timing.contestants import enter\nenter('mine', 'torch', 'x')(None)\n")
    with pytest.raises(ValueError, match="mine.py cannot be run .*name: got 'mine', want group/way"):
        tournament.Plan(also=[str(path)])


def test_nothing_is_left_running(fakes):
    before = set(_children())
    tournament.compare(plan_of(fakes, ["good"], sizes=[32]))
    assert set(_children()) <= before


def _children():
    import psutil

    return [child.pid for child in psutil.Process().children(recursive=True)]


def test_a_job_that_takes_too_long_is_ended(tmp_path):
    path = tmp_path / "slow.py"
    path.write_text(
        "import time\nfrom contrastive_nb.timing.contestants import enter\nenter('infonce/slow', 'torch', 'x')(lambda q, k: lambda: time.sleep(60))\n"
    )
    before = dict(CONTESTANTS)
    try:
        contestants.load(str(path))
        template = processes.Template("torch", [str(path)])
        job = dict(do="probe", contestant="infonce/slow", threads=1, device="cpu", precision="no", seed=0, dims=8)
        assert template.ask(job, 6) == {"failed": "took longer than 6 s"} and template.process is None
    finally:
        CONTESTANTS.clear()
        CONTESTANTS.update(before)


def test_a_library_that_cannot_be_imported_says_so(tmp_path):
    template = processes.Template("torch", [str(tmp_path / "nowhere.py")])
    assert template.ask(dict(do="probe"), 60) == {"failed": "torch cannot be imported here"} and template.process is None


def test_signals_of_the_terminal_do_not_reach_the_children():
    "Ctrl-C is the parent's to answer: a child that dies of it would look like one that failed."
    template = processes.Template("torch")
    template._start()
    try:
        assert os.getpgid(template.process.pid) != os.getpgid(0)
        os.kill(template.process.pid, signal.SIGCONT)  # is there
    finally:
        template.close()


def test_a_limit_may_be_left_out_but_not_be_zero():
    for name in ("memory_limit", "minutes", "cap"):
        assert getattr(tournament.Plan([], **{name: math.inf}), name) == math.inf
        for bad in (0, -1, math.nan, -math.inf):
            with pytest.raises(ValueError, match=f"^{name}: "):
                tournament.Plan([], **{name: bad})
