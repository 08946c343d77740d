"""What a record depends on: which code counts, which does not, and which statements of a page feed it."""

import json
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from contrastive_nb import files
from contrastive_nb.lab import freshness, profiles, records, trace

MODULES = {
    "__init__": '__version__ = "1"\n',
    "tools": "import math\nfrom . import tables\nfrom .tables import TABLE\n\nFACTOR = 2\nOTHER = 3\n\n\ndef _built():\n    return [1]\n\n\nBUILT = _built()\n\n\n"
             'def scale(x, by=FACTOR):\n    "Doc."\n    if x is None:\n        raise ValueError(f"x: got {x}")\n    found = [i * by for i in [x]]\n'
             "    return found[0] + TABLE['a'] + math.pi\n\n\ndef unused(x):\n    return x + OTHER + len(BUILT)\n\n\nclass Thing:\n    size = 3\n\n    def go(self):\n        return scale(self.size)\n",
    "tables": 'TABLE = {"a": 1}\nTABLE["b"] = 2\nUNUSED = {}\n',
    "book/plots": "SIZE = 3\n",
}  # fmt: skip


class Shelf:
    "A small package, and a notebook that uses it."

    def __init__(self, home: Path):
        self.package, self.path = home / "shelf", home / "nbs" / "1_a" / "01_page.ipynb"
        self.path.parent.mkdir(parents=True)
        for name, text in MODULES.items():
            self.module(name, text)

    def module(self, name: str, text: str) -> None:
        path = self.package / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def change(self, name: str, old: str, new: str) -> None:
        assert old in (text := (self.package / f"{name}.py").read_text())
        self.module(name, text.replace(old, new))

    def write(self, *cells: str, **metadata) -> None:
        book = [{"cell_type": "code", "source": cell.splitlines(True), "metadata": {}, "outputs": []} for cell in cells]
        text = [{"cell_type": "markdown", "source": ["words"], "metadata": {}}]
        self.path.write_text(json.dumps({"cells": text + book, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}))

    @property
    def library(self) -> freshness.Library:
        return freshness.Library(self.package)

    def line(self, module: str, text: str) -> int:
        return 1 + [text in line for line in (self.package / f"{module}.py").read_text().splitlines()].index(True)

    def feeding(self, *cells: str) -> list[str]:
        "The first lines of the statements that feed a record."
        self.write(*cells)
        page = freshness.Page(self.path)
        return [freshness.ast.unparse(page.statements[i]).splitlines()[0] for i in page.feeding]


page_of = cache(freshness.Page)  # of the book: read once


@cache
def of_everything() -> str:
    "A digest of the whole package."
    every = freshness.Library()
    return freshness.digest(every.depends(None, set(), every.modules))


@pytest.fixture
def shelf(tmp_path):
    return Shelf(tmp_path)


# --- what counts in the library ------------------------------------------------------------------------------------------


def test_executed_functions_count_with_the_constants_that_they_name(shelf):
    kept = shelf.library.depends({"tools.py": [shelf.line("tools", "return found[0]")]}, set())
    assert list(kept) == ["tables.py:", "tables.py:TABLE", "tools.py:", "tools.py:FACTOR", "tools.py:scale"]
    assert kept["tools.py:scale"]["lines"] == str(shelf.line("tools", "return found[0]")) and "lines" not in kept["tools.py:FACTOR"]
    with_words = shelf.library.depends({}, {"BUILT", "Thing"})  # a constant counts with what it calls at import
    assert list(with_words) == ["tools.py:", "tools.py:BUILT", "tools.py:Thing", "tools.py:_built"]
    assert "tools.py:unused" in shelf.library.depends(None, set(), ["tools.py"])  # no lines: all of the module


@pytest.mark.parametrize(
    "old, new, changed",
    [
        ("[i * by for i in [x]]", "[by * i for i in [x]]", ["tools.py:scale"]),
        ("FACTOR = 2", "FACTOR = 3", ["tools.py:FACTOR"]),
        ("by=FACTOR", "by=2", ["tools.py:scale"]),
        ("import math", "import cmath as math", ["tools.py:"]),
        ("def scale(x, by", "def scales(x, by", ["tools.py:", "tools.py:scale"]),
        ("BUILT = _built()", "print(1)", ["tools.py:"]),  # what a module does when it is imported
        ("found", "other", []),  # a local
        ("for i in [x]", "for j in [x]", ["tools.py:scale"]),
        ("i * by for i in", "k * by for k in", []),
        ("x: got {x}", "x: has {x}", []),
        ('"Doc."', '"Other."  # why', []),
        ("OTHER = 3", "OTHER = 4", []),
        ("x + OTHER", "x - OTHER", []),
        ("scale(x, by=FACTOR)", "scale(x: int, by: int = FACTOR) -> int", []),
    ],
)
def test_what_changes_a_part_of_the_library(shelf, old, new, changed):
    kept = shelf.library.depends({"tools.py": [shelf.line("tools", "return found[0]")]}, set())
    shelf.change("tools", old, new)
    assert sorted(freshness.changed_parts({"depends": kept}, shelf.library)) == changed


def test_a_swap_of_two_locals_counts(shelf):
    text = "def f(x):\n    a = x + 1\n    b = x + 2\n    return a - b\n"
    shelf.module("swap", text)
    kept = shelf.library.depends({"swap.py": [4]}, set())
    shelf.module("swap", text.replace("a - b", "b - a"))
    assert list(freshness.changed_parts({"depends": kept}, shelf.library)) == ["swap.py:f"]
    shelf.module("swap", "def f(x):\n    c = x + 1\n    d = x + 2\n    return c - d\n")
    assert not freshness.changed_parts({"depends": kept}, shelf.library)


def test_rooms_and_machinery_are_left_out(shelf):
    assert "book/plots.py" not in shelf.library.modules
    names = freshness.Library().modules
    rooms = {name for name in names if name.partition("/")[0] in freshness.ROOMS}
    assert rooms == set(freshness.INSTRUMENTS) and {"rows.py", "training.py"} <= set(names)
    assert all((files.PACKAGE / f"{name}.py").is_file() for name in freshness.MACHINERY)
    assert all((files.PACKAGE / room / "__init__.py").is_file() for room in freshness.ROOMS)


JUDGES = {"claims", "profiles", "records", "runs"}  # of the laboratory: what they do is no number of a page


def overlooked(pages) -> set[str]:
    "Modules of the laboratory that pages with records import and on which no record depends."
    found = set()
    for page in pages:
        cells = json.loads(page.read_text(encoding="utf-8"))["cells"]
        text = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
        if not re.search(r"\brecord\(", text):  # a page without a record: nothing depends on what it imports
            continue
        for home, names in re.findall(r"^\s*from contrastive_nb\.lab(\.\w+)? import (.+)$", text, re.M):
            found |= {home[1:]} if home else set(re.findall(r"\w+", names))
    modules = {path.stem for path in (files.PACKAGE / "lab").glob("*.py")} - {"__init__"}
    return {name for name in found & modules if f"lab/{name}.py" not in freshness.INSTRUMENTS} - JUDGES


def test_no_instrument_of_a_page_is_overlooked(monkeypatch):
    pages = [page for page in files.notebooks().rglob("*.ipynb") if "_templates" not in page.parts]
    assert overlooked(pages) == set()
    monkeypatch.setattr(freshness, "INSTRUMENTS", tuple(name for name in freshness.INSTRUMENTS if "mined" not in name))
    assert overlooked(pages) == {"mined"}


def test_lines_of_a_bench_are_heard_though_it_lies_in_a_room():
    lines = trace.Lines(files.PACKAGE, (*freshness.ROOMS, *freshness.MACHINERY), freshness.INSTRUMENTS)
    heard = {name: lines._of(str(files.PACKAGE / name)) is not None for name in (*freshness.INSTRUMENTS, "lab/runs.py", "rows.py")}
    rooms = {
        f"lab/{name}.py": name != "runs" for name in ("benches", "recipes", "listings", "entailed", "mined", "minilm", "twins", "runs")
    }
    assert heard == rooms | {"rows.py": True}
    assert trace.Lines(files.PACKAGE, freshness.ROOMS)._of(str(files.PACKAGE / "lab" / "benches.py")) is None


def test_lines_are_written_as_ranges_and_read_back():
    assert (
        freshness.as_ranges([3, 4, 5, 8]) == "3-5 8"
        and freshness.from_ranges("3-5 8") == {3, 4, 5, 8}
        and freshness.from_ranges("") == set()
    )


# --- which statements of a page feed its records --------------------------------------------------------------------------


def test_what_feeds_a_record(shelf):
    found = shelf.feeding(
        "import torch\nfrom shelf import tools\nfrom contrastive_nb.lab import open_run, record, judge\nfrom contrastive_nb.book import plots",
        "run = open_run('x')\nplots.style()",
        "def number(seed):\n    return tools.scale(seed)",
        "rows = [number(0)]\nrows.append(number(1))\nrows",
        "for row in rows:\n    plots.line(row)",
        "verdict = judge(1, rows, rows)\nrecord(1, verdict, run)\nverdict",
        "rows = 'something else'",
    )
    assert found == [
        "from shelf import tools", "from contrastive_nb.lab import open_run", "from contrastive_nb.lab import record",
        "from contrastive_nb.lab import judge", "run = open_run('x')", "def number(seed):", "rows = [number(0)]", "rows.append(number(1))",
        "verdict = judge(1, rows, rows)", "record(1, verdict, run)",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "line, feeds",
    [
        ("fit(model, 1)", True),  # learns in place
        ("history = fit(model, 1)", True),
        ("train(model)", True),  # a function of the page that fits
        ("model.weight = 3", True),
        ("table['x'] = 3", True),
        ("torch.rand(3, generator=dice)", True),  # draws what the record would have drawn
        ("torch.manual_seed(3)", True),
        ("show(model)", False),
        ("print(table)", False),
        ("other = model", False),
    ],
)
def test_what_changes_what_feeds_a_record(shelf, line, feeds):
    found = shelf.feeding(
        "import torch\nfrom contrastive_nb.training import fit\nfrom contrastive_nb.lab import record",
        "dice = torch.Generator()\nmodel = torch.nn.Linear(1, 1)\ntable = {}\ndef train(m):\n    fit(m, 2)",
        line,
        "record(model, table, torch.rand(1, generator=dice))",
    )
    assert (line in found) == feeds


def test_a_record_inside_a_function_is_fed_by_its_calls(shelf):
    found = shelf.feeding("a = 1\nb = 2", "def write(x):\n    return lab.record(x)", "write(a)")
    assert found == ["a = 1", "def write(x):", "write(a)"]


def test_pictures_exercises_and_solutions_of_the_book_feed_no_record():
    if files.checkout() is None:
        pytest.skip("the notebooks are in the repository")
    for name in freshness.all_notebooks():
        page = page_of(name)
        cells = [cell for cell in freshness.read_book(page.path)["cells"] if cell["cell_type"] == "code"]
        for i in page.feeding:
            node, tags = page.statements[i], cells[page.cells[i]]["metadata"].get("tags", [])
            names = {part.id for part in freshness.ast.walk(node) if isinstance(part, freshness.ast.Name)}
            assert "solution" not in tags and not names & {"plt", "plots"}, f"{name}: {freshness.ast.unparse(node)}"


APART = (
    "from contrastive_nb.lab import Claim, record",
    "first, second = (Claim(id=f'S-{name}') for name in ('a', 'b'))",
    "one = 1",
    "two = 2",
    "record(first, one)",
    "record(second, two)",
)


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("cell, old, new, alone", [(2, "1", "3", {"S-a"}), (3, "2", "3", {"S-b"}), (5, "two", "two * 2", {"S-b"})])
def test_a_cell_that_feeds_one_claim_makes_its_record_alone_stale(shelf, monkeypatch, together, cell, old, new, alone):
    cells = list(APART)
    if not together:
        cells[1] = "first = Claim(id='S-a')\nsecond = Claim(id='S-b')"
    shelf.write(*cells)
    monkeypatch.setattr(freshness, "settings_of", lambda *names: {})
    page = freshness.Page(shelf.path)
    runs = {id: {"page": page.digest(id), "depends": {}, "settings": {}, "data": {}, "versions": {}} for id in ("S-a", "S-b")}
    older = {id: run | {"page": page.digest()} for id, run in runs.items()}
    cells[cell] = cells[cell].replace(old, new)
    shelf.write(*cells)

    def stale(runs):
        made = [{"id": id, "notebook": "1_a/01_page", "bench": None, "runs": {"laptop": run}} for id, run in runs.items()]
        return {r["id"] for r in made if freshness.judge(r, "laptop", freshness.Page(shelf.path), shelf.library)[0] == "stale"}

    assert stale(runs) == ({"S-a", "S-b"} if together else alone)  # one statement makes both claims: they are not told apart
    assert stale(older) == {"S-a", "S-b"}  # what feeds any record of the page
    cells[cell] = APART[cell]
    shelf.write(*cells)
    assert stale(runs) == stale(older) == set()


def test_a_page_states_a_claim_word_for_word(shelf):
    said = dict(id="S03-outcome-auc-digits", statement="On digits it (MW) is better.", metric="AUC", baseline="mean", treatment="MW")
    cells = ["for name in ('digits',):", "    Claim(id=f'S03-outcome-auc-{name}', statement=f'On {name} it (MW) is better.',", "    metric='AUC', baseline='mean', treatment='MW')"]  # fmt: skip
    shelf.write("\n".join(cells))
    page = freshness.Page(shelf.path)
    assert page.states(said)
    for field, other in (*((field, "!" + said[field]) for field in said), ("statement", "On digits it is better."), ("metric", "AU")):
        assert not page.states(said | {field: other}), field
    shelf.write("f'{anything}'", "1")
    assert not freshness.Page(shelf.path).states(said)


def test_cells_that_are_no_python_are_passed_over(shelf):
    assert shelf.feeding("%%bash\nls -l | wc", "%matplotlib inline\nrecord(1)", "!ls") == ["record(1)"]


# --- the memory of runs ------------------------------------------------------------------------------------------------------


def test_a_run_that_resumes_knows_its_own_code(shelf, monkeypatch):
    monkeypatch.setattr(profiles, "settings", lambda *a, real=profiles.settings: real(*a) | values)
    values: dict = {}
    code = lambda profile="ci": freshness.of_notebook(shelf.path, profile, package=shelf.package)
    shelf.write("from shelf import tools", "x = 1", "%%bash\nls")
    before = code()
    assert len(before) == 16 and int(before, 16) >= 0 and code("laptop") != before
    shelf.write("from shelf import tools  # why", "x=1", "%%bash\nls", author="me")
    shelf.module("book/plots", "SIZE = 4\n")
    values = {"minutes": 999}
    assert code() == before
    values = {"steps": 999}
    assert code() != before
    values = {}
    shelf.change("tables", "UNUSED = {}", "UNUSED = {1: 2}")
    assert code() != before
    shelf.change("tables", "UNUSED = {1: 2}", "UNUSED = {}")
    for cells in (["from shelf import tools", "x = 2", "%%bash\nls"], ["from shelf import tools", "x = 1", "%%bash\nls -l"]):
        shelf.write(*cells)
        assert code() != before


def test_a_notebook_that_is_not_there():
    with pytest.raises(FileNotFoundError, match="nowhere/at_all: no such notebook"):
        freshness.of_notebook("nowhere/at_all", "ci")


def test_a_file_that_is_no_notebook_is_named(shelf):
    shelf.path.write_text("{")
    with pytest.raises(ValueError, match="01_page.ipynb: is no notebook of format 4"):
        freshness.of_notebook(shelf.path, "ci", package=shelf.package)


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_the_same_digests_and_lines_on_every_python(shelf, version, tmp_path):
    python = shutil.which(f"python{version}")
    if python is None or subprocess.run([python, "--version"], capture_output=True).returncode != 0:
        pytest.skip(f"python{version} is not here")
    shelf.module("late", "def f(x):\n    if x:\n        return f'{x!r:>{3}} {1}' 'b'\n    match x:\n        case [1, *r]:\n            return r\n    return [y for y in (1, 2)]\n")  # fmt: skip
    shelf.write("from shelf import late\nrecord(lambda *a, k=1, **b: (a, b, [late for z in a]))")
    script = f"""
import sys, types
package = types.ModuleType("contrastive_nb")  # without its __init__, which may import torch
package.__path__ = [{str(files.PACKAGE)!r}]
sys.modules["contrastive_nb"] = package
sys.path.insert(0, {str(tmp_path)!r})
from contrastive_nb.lab import freshness, trace
from pathlib import Path
folder = Path({str(shelf.package)!r})
lines = trace.Lines(folder, freshness.ROOMS)
assert lines.start() and lines.whole()
from shelf import late
late.f(0), late.f(0)
print(lines.taken())
lines.stop()
late.f(1)
assert lines.taken() == {{"late.py": [2, 4, 5, 7]}}
print(freshness.Page({str(shelf.path)!r}).digest(), freshness.digest(freshness.Library(folder).depends(lines.taken(), set())))
for name in freshness.all_notebooks(): print(freshness.Page(name).digest())
every = freshness.Library()
print(freshness.digest(every.depends(None, set(), every.modules)))
"""
    done = subprocess.run([python, "-I", "-c", script], capture_output=True, text=True, cwd=tmp_path, env={"PATH": "/usr/bin:/bin"})
    if "No module named 'encodings'" in done.stderr or "pyenv" in done.stderr:
        pytest.skip(f"python{version} does not start here")
    names = freshness.all_notebooks() if files.checkout() else []
    wanted = ["{'late.py': [2, 4, 5, 7]}"]
    kept = shelf.library.depends({"late.py": [2, 4, 5, 7]}, set())
    wanted.append(f"{freshness.Page(shelf.path).digest()} {freshness.digest(kept)}")
    wanted += [*(page_of(name).digest() for name in names), of_everything()]
    assert done.stdout.splitlines() == wanted, done.stderr


def test_lines_of_other_processes_are_not_heard_and_that_is_known(monkeypatch):
    for kind in ("spawn_posix", "spawn_win32", "forkserver"):  # a test before this one may have started some
        monkeypatch.delitem(sys.modules, f"multiprocessing.popen_{kind}", raising=False)
    lines = trace.Lines(files.PACKAGE, freshness.ROOMS)
    lines.listens = True
    assert lines.whole()
    lines._audit("subprocess.Popen", ("git", ["git", "log"], None, None))
    assert lines.whole()
    monkeypatch.setitem(sys.modules, "multiprocessing.popen_spawn_posix", sys)
    assert not lines.whole()
    monkeypatch.delitem(sys.modules, "multiprocessing.popen_spawn_posix")
    lines._audit("subprocess.Popen", (None, ["python3", "-c", "1"], None, None))
    assert not lines.whole()


# --- older records -----------------------------------------------------------------------------------------------------------


def test_an_older_record_is_upgraded_and_nothing_is_invented():
    old = {"id": "T", "runs": {"laptop": {"seeds": [0], "seconds": 3.0}}}
    new = records.upgraded(old)
    assert new["schema"] == 3 and new["runs"]["laptop"]["seeds"] == [0] and new["runs"]["laptop"]["seconds"] == 3.0
    assert {key: value for key, value in new["runs"]["laptop"].items() if key not in ("seeds", "seconds")} == (
        dict.fromkeys(records.SINCE_2) | {"carried": []}
    )
    assert records.upgraded(new) == new and records.upgraded(new | {"schema": 4})["schema"] == 4 and records.upgraded([1]) == [1]


def test_notebooks_without_outputs_are_to_be_run(shelf, tmp_path):
    nbs = shelf.path.parents[1]
    shelf.write("1 + 1")
    assert freshness.stale_notebooks("laptop", nbs, tmp_path / "claims") == ["1_a/01_page"]
    assert freshness.stale_notebooks("gpu", nbs, tmp_path / "claims") == []
    shelf.write("1 + 1", contrastive_nb={"profile": "laptop"})
    assert freshness.stale_notebooks("laptop", nbs, tmp_path / "claims") == []
