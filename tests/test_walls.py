"""Walls: imports point down, no circle, no private name leaves its module. import-linter judges; its contracts stand in pyproject.toml."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def walls(folder: Path) -> subprocess.CompletedProcess:
    "What `lint-imports` says of a tree."
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    environment = os.environ | {"PYTHONPATH": str(folder), "COLUMNS": "200"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def test_imports_point_down():
    found = walls(ROOT)
    assert found.returncode == 0, found.stdout[-3000:]


@pytest.fixture(scope="module")
def tree(copy_tree, tmp_path_factory):
    return copy_tree(tmp_path_factory.mktemp("walls") / "tree")


@pytest.mark.parametrize("module, line", [
    ("pairs", "from contrastive_nb.lab import runs"),  # the library needs nothing of the rooms above
    ("training", "from contrastive_nb.book import plots"),
    ("metrics", "from contrastive_nb.timing import measure"),
    ("lab/runs", "from contrastive_nb.book import tables"),
    ("lab/claims", "import contrastive_nb.timing.contestants"),
    ("book/tables", "from contrastive_nb.timing import report"),
    ("book/plots", "from contrastive_nb import cli"),
    ("data", "from contrastive_nb.objectives import info_nce"),  # a foundation of a chapter
    ("kernels/tabulated", "from contrastive_nb.objectives.mw import mw"),
    ("objectives/infonce", "from contrastive_nb.negatives import mochi"),  # a chapter of its neighbour
    ("scaling/streaming", "def late():\n    from contrastive_nb.objectives import info_nce"),  # nor inside a function
    ("checks", "from contrastive_nb import rows"),
    ("lab/jobs", "from contrastive_nb.lab import runner"),  # a circle inside a room
    ("scaling/tiles", "from contrastive_nb.scaling.streaming import streaming_mw"),  # an engine that needs its page
])  # fmt: skip
def test_an_import_across_a_wall_is_found(tree, module, line):
    path = tree / "contrastive_nb" / f"{module}.py"
    text = path.read_text(encoding="utf-8")
    try:
        path.write_text(f"{text}\n{line}\n", encoding="utf-8")
        found = walls(tree)
        assert found.returncode == 1 and "BROKEN" in found.stdout, found.stdout + found.stderr
    finally:
        path.write_text(text, encoding="utf-8")


def forbidden(path: Path) -> list[str]:
    "Private names that a module takes from another one of the package, by import or through the module."
    tree, found, modules = ast.parse(path.read_text(encoding="utf-8")), [], set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.level or (node.module or "").startswith("contrastive_nb")):
            found += [alias.name for alias in node.names if alias.name.startswith("_") and not alias.name.startswith("__")]
            modules |= {alias.asname or alias.name for alias in node.names if (alias.asname or alias.name).islower()}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules:
            found += [f"{node.value.id}.{node.attr}"] if node.attr.startswith("_") and not node.attr.startswith("__") else []
    return found


@pytest.mark.parametrize("path", sorted((ROOT / "contrastive_nb").rglob("*.py")), ids=lambda p: p.relative_to(ROOT).as_posix())
def test_no_private_name_leaves_its_module(path):
    assert forbidden(path) == []


@pytest.mark.parametrize("text, count", [
    ("from contrastive_nb.pairs import _check_target\n", 1),
    ("from .pairs import _check_target, exclude\n", 1),
    ("from contrastive_nb.lab import runs\nruns._code\n", 1),
    ("from contrastive_nb.lab import runs\nruns.open_run\n", 0),
    ("def f():\n    from ..pairs import _same_rows\n", 1),
    ("from os import _exit\n", 0),
])  # fmt: skip
def test_a_private_name_that_leaves_is_found(tmp_path, text, count):
    (tmp_path / "m.py").write_text(text)
    assert len(forbidden(tmp_path / "m.py")) == count
