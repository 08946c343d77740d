"""The fingerprint changes with the code that a notebook reaches, and with nothing else."""

import json
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from contrastive_nb import files
from contrastive_nb.lab import freshness, profiles
from contrastive_nb.lab.claims import Claim, judge, merge, record

MODULES = {
    "__init__": 'from .tools import scale as rescaled\n__version__ = "1"\n',
    "losses/__init__": "from shelf.losses.first import first\nfrom .second import second\n",
    "losses/first": 'from .. import tools\nfrom ..tables import TABLE\n\n\ndef first(x):\n    "Doc."\n    return tools.scale(x) + TABLE["a"]\n\n\ndef unused(x):\n    return x\n',
    "losses/second": "from ..tools import *\n\n\ndef second(x):\n    return shift(x)\n",
    "tools": "FACTOR = 2\nOTHER = 3\n\n\ndef scale(x):\n    return x * FACTOR\n\n\ndef shift(x):\n    return x + OTHER\n\n\ndef late(x):\n    from shelf.losses import second\n\n    return second(x)\n",
    "tables": 'TABLE = {"a": 1}\nTABLE["b"] = 2\nUNUSED = {}\n',
    "things": "from . import tools\n\n\nclass Base:\n    def go(self):\n        return tools.scale(1)\n\n\nclass Thing(Base):\n    size = 3\n",
    "effects": "from . import tables\n\n\ndef quiet():\n    return 1\n\n\ntables.TABLE.update(c=3)\n",
}


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

    def reached(self, *cells: str) -> list[str]:
        self.write(*cells)
        return [name.removeprefix("shelf.") for name in freshness.reached(self.path, package=self.package)]

    @property
    def code(self) -> str:
        return freshness.of_notebook(self.path, "ci", package=self.package)


@pytest.fixture
def shelf(tmp_path):
    return Shelf(tmp_path)


FIRST = ["losses.first:first", "tables:TABLE", "tools:FACTOR", "tools:scale"]
SECOND = ["losses.second:second", "tools:OTHER", "tools:shift"]


@pytest.mark.parametrize(
    "cell, wanted",
    [
        ("from shelf.losses.first import first\nfirst(1)", FIRST),
        ("from shelf.losses.first import first as f\nf(1)", FIRST),
        ("from shelf.losses import first\nfirst(1)", FIRST),  # handed on by a package
        ("from shelf import losses\nlosses.first(1)", FIRST),
        ("import shelf.losses\nshelf.losses.first(1)", FIRST),
        ("import shelf.losses.first as m\nm.first(1)", FIRST),
        ("from shelf import losses\nlosses.second(1)", SECOND),  # a relative import and a star
        ("from shelf.losses import second", []),  # imported, never used
        ("from shelf.losses import *\nsecond(2)", SECOND),
        ("from shelf import rescaled\nrescaled(1)", ["tools:FACTOR", "tools:scale"]),
        ("from shelf import tools\ntools.FACTOR", ["tools:FACTOR"]),
        ("from shelf.tools import late\nlate(1)", sorted([*SECOND, "tools:late"])),  # an import inside a function
        ("def f(x):\n    from shelf.losses import second\n    return second(x)", SECOND),
        ("from shelf.things import Thing\nThing().go()", ["things:Base", "things:Thing", "tools:FACTOR", "tools:scale"]),
        ("from shelf import effects\neffects.quiet()", ["effects:(import)", "effects:quiet", "tables:TABLE"]),
        ("from shelf import tables\nlist(vars(tables))", ["tables:TABLE", "tables:UNUSED"]),  # a module by itself: all of it
        ("import shelf\nshelf.__version__", []),
        ("import torch, numpy as np\nnp.zeros(3)", []),
    ],
)
def test_what_a_cell_reaches(shelf, cell, wanted):
    assert shelf.reached(cell) == wanted


def test_local_names_are_not_the_names_of_the_module(shelf):
    shelf.module("names", "def size():\n    return 1\n\n\ndef use(size):\n    return size\n\n\ndef other():\n    return [size for size in range(3)]\n"
                 "\n\ndef real():\n    return [size() for _ in range(3)]\n")  # fmt: skip
    assert shelf.reached("from shelf import names\nnames.use(1), names.other()") == ["names:other", "names:use"]
    assert shelf.reached("from shelf import names\nnames.real()") == ["names:real", "names:size"]


def test_comments_docstrings_layout_magics_and_directives_do_not_count(shelf):
    shelf.write("from shelf.losses import first\nfirst( 1 )")
    before = shelf.code
    shelf.write("#| export\n%matplotlib inline\nfrom shelf.losses import first  # why\n\nfirst(\n    1)", "# only words", author="me")
    shelf.change("losses/first", '"Doc."', '"Other words."\n    # a comment')
    shelf.change("losses/first", "def unused(x):\n    return x", "def unused(x):\n    return -x")
    shelf.change("tables", "UNUSED = {}", "UNUSED = {1: 2}")
    assert shelf.code == before


@pytest.mark.parametrize(
    "module, old, new",
    [
        ("losses/first", '+ TABLE["a"]', '- TABLE["a"]'),
        ("tools", "FACTOR = 2", "FACTOR = 3"),
        ("tools", "x * FACTOR", "FACTOR * x"),
        ("tables", 'TABLE["b"] = 2', 'TABLE["b"] = 3'),
    ],
)
def test_reached_code_counts(shelf, module, old, new):
    shelf.write("from shelf.losses import first\nfirst(1)")
    before = shelf.code
    shelf.change(module, old, new)
    assert shelf.code != before
    shelf.change(module, new, old)
    assert shelf.code == before


def test_the_notebook_and_the_profile_count_but_not_the_minutes(shelf, monkeypatch):
    shelf.write("x = 1")
    before = shelf.code
    assert len(before) == 16 and int(before, 16) >= 0
    assert freshness.of_notebook(shelf.path, "laptop", package=shelf.package) != before
    real = profiles.settings
    monkeypatch.setattr(profiles, "settings", lambda *a: real(*a) | {"minutes": 999})
    assert shelf.code == before
    monkeypatch.setattr(profiles, "settings", lambda *a: real(*a) | {"steps": 999})
    assert shelf.code != before
    monkeypatch.undo()
    shelf.write("x = 2")
    assert shelf.code != before


def test_cells_that_are_no_python_still_count(shelf):
    shelf.write("%%bash\nls -l | wc")
    before = shelf.code
    shelf.write("%%bash\nls -l | head")
    assert shelf.code != before


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_the_same_on_every_python(shelf, version, tmp_path):
    python = shutil.which(f"python{version}")
    if python is None or subprocess.run([python, "--version"], capture_output=True).returncode != 0:
        pytest.skip(f"python{version} is not here")
    shelf.write(
        "from shelf.losses import first\nfirst(1)",
        "f'{x!r:>{3}} {\"a\"}' 'b'\nmatch x:\n    case [1, *r]: pass\nlambda *a, k=1, **b: (a, b)",
    )
    script = f"""
import sys, types
package = types.ModuleType("contrastive_nb")  # without its __init__, which may import torch
package.__path__ = [{str(files.PACKAGE)!r}]
sys.modules["contrastive_nb"] = package
from contrastive_nb.lab import freshness
from pathlib import Path
from types import SimpleNamespace
print(freshness.of_notebook({str(shelf.path)!r}, "ci", package=Path({str(shelf.package)!r})))
for name in freshness.all_notebooks(): print(freshness.of_notebook(name, "ci"))
"""
    outside = {"PATH": "/usr/bin:/bin"}
    done = subprocess.run([python, "-I", "-c", script], capture_output=True, text=True, cwd=tmp_path, env=outside)
    if "No module named 'encodings'" in done.stderr or "pyenv" in done.stderr:
        pytest.skip(f"python{version} does not start here")
    names = freshness.all_notebooks() if files.checkout() else []
    assert done.stdout.split() == [shelf.code, *(freshness.of_notebook(name, "ci") for name in names)], done.stderr


def test_stale_outputs_and_records_are_listed(shelf, tmp_path, monkeypatch):
    nbs, claims = shelf.path.parents[1], tmp_path / "claims"
    monkeypatch.setenv(files.NOTEBOOKS, str(nbs))
    claims.mkdir()
    shelf.write("1 + 1")
    code = {name: freshness.of_notebook(shelf.path, name) for name in ("laptop", "gpu")}
    claim = Claim("T", "Nobody 2020", "1_a/01_page", "mechanism", "It is more.", "count", "without", "with", "higher", 0.1)
    for name, fingerprint in code.items():
        run = SimpleNamespace(notebook="1_a/01_page", profile=name, parameters={}, device="cpu", code=fingerprint, seeds=[0])
        merge(record(claim, judge(claim, [1], [2]), run, folder=tmp_path / "made"), claims)
    assert freshness.stale(nbs, claims) == [("1_a/01_page", "has no outputs of a run")]
    shelf.write("1 + 1", contrastive_nb={"profile": "laptop", "code": code["laptop"]})
    assert freshness.stale(nbs, claims) == []
    shelf.write("1 + 2", contrastive_nb={"profile": "laptop", "code": code["laptop"]})
    assert [what for what, _ in freshness.stale(nbs, claims)] == ["1_a/01_page", "claim T (laptop)", "claim T (gpu)"]
    assert freshness.stale_notebooks("gpu", nbs, claims) == ["1_a/01_page"] and freshness.stale_notebooks("ci", nbs, claims) == []
    shelf.path.unlink()
    assert [why for _, why in freshness.stale(nbs, claims)] == ["its notebook 1_a/01_page is gone"] * 2
    forged = json.loads((claims / "T.json").read_text())
    forged["runs"]["gpu"]["verdict"] = "not reproduced"
    for wrong, named in ((forged, "gpu.*verdict"), ([forged], "record"), ({"id": "T"}, "record: got no paper")):
        (claims / "T.json").write_text(json.dumps(wrong))
        with pytest.raises(ValueError, match=rf"T\.json: .*{named}"):
            freshness.stale_runs(nbs, claims)


def test_a_notebook_that_is_not_there():
    with pytest.raises(FileNotFoundError, match="nowhere/at_all: no such notebook"):
        freshness.of_notebook("nowhere/at_all", "ci")


def test_a_file_that_is_no_notebook_is_named(shelf):
    shelf.path.write_text("{")
    with pytest.raises(ValueError, match="01_page.ipynb: is no notebook of format 4"):
        assert shelf.code


def test_the_machinery_itself_is_left_out(shelf):
    shelf.write("from contrastive_nb.lab import open_run\nrun = open_run('x')")
    assert freshness.reached(shelf.path) == []
    shelf.write("from contrastive_nb.book import plots\nplots.style()")
    assert freshness.reached(shelf.path) == []
    assert all((files.PACKAGE / f"{name}.py").is_file() for name in freshness.MACHINERY)
    assert all((files.PACKAGE / room / "__init__.py").is_file() for room in freshness.ROOMS)
