"""The scratch copy that `make lab` opens: it keeps what a reader does, gets what is new, and keeps nothing of the book."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from contrastive_nb.lab import scratch

pytest.importorskip("jupyterlab")


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "tree"
    for name in ("nbs/1_a/01_page.ipynb", "nbs/1_a/02_more.ipynb", "package/tools.py", "README.md"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"{name} 1")
    (root / "build").mkdir()
    (root / "build" / "made").write_text("made")
    return root


def contents(folder: Path) -> dict[str, str]:
    every = (path for path in folder.rglob("*") if path.is_file() and path.name != scratch.MARK)
    return {path.relative_to(folder).as_posix(): path.read_text() for path in every}


def test_a_page_that_is_there_is_kept_and_a_changed_one_comes_beside(tree):
    target = tree / "build" / "lab"
    assert scratch.copy(tree, target) == [] and scratch.is_scratch(target / "nbs") and not scratch.is_scratch(tree)
    first = {name: text for name, text in contents(tree).items() if not name.startswith("build")}
    assert contents(target) == first

    page, more = target / "nbs/1_a/01_page.ipynb", target / "nbs/1_a/02_more.ipynb"
    page.write_text("my answer")
    assert scratch.copy(tree, target) == []  # the tree's page is the one that it had
    assert contents(target) == first | {"nbs/1_a/01_page.ipynb": "my answer"}

    for name in first:
        (tree / name).write_text(f"{name} 2")
    (tree / "nbs/1_a/03_new.ipynb").write_text("new")
    (target / "README.md").write_text("my notes")
    assert scratch.copy(tree, target) == ["README.new.md", "nbs/1_a/01_page.new.ipynb", "nbs/1_a/02_more.new.ipynb"]
    assert contents(target) == {
        "nbs/1_a/01_page.ipynb": "my answer",
        "nbs/1_a/01_page.new.ipynb": "nbs/1_a/01_page.ipynb 2",
        "nbs/1_a/02_more.ipynb": "nbs/1_a/02_more.ipynb 1",
        "nbs/1_a/02_more.new.ipynb": "nbs/1_a/02_more.ipynb 2",
        "nbs/1_a/03_new.ipynb": "new",
        "package/tools.py": "package/tools.py 2",  # nobody changed it: it goes with the pages
        "README.md": "my notes",
        "README.new.md": "README.md 2",
    }
    page.unlink(), more.with_name("02_more.new.ipynb").unlink()
    assert scratch.copy(tree, target) == [] and page.read_text() == "nbs/1_a/01_page.ipynb 2"


def test_pages_are_trusted_as_the_tree_has_them_and_no_others(tree, tmp_path, monkeypatch):
    import nbformat
    from nbformat.sign import NotebookNotary

    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "jupyter"))
    (tmp_path / "jupyter").mkdir()
    target, name = tree / "build" / "lab", "nbs/1_a/01_page.ipynb"

    def page(text):
        output = nbformat.v4.new_output("display_data", {"image/svg+xml": f"<svg>{text}</svg>"})
        return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1", id="a1", outputs=[output])])

    def is_trusted(path):
        return NotebookNotary().check_signature(nbformat.read(path, as_version=4))

    for other in ("one", "two"):
        nbformat.write(page(other), tree / f"nbs/1_a/{'01_page' if other == 'one' else '02_more'}.ipynb")
    scratch.copy(tree, target)
    assert not is_trusted(target / name) and scratch.trust(target) == 2 and is_trusted(target / name)
    nbformat.write(page("by hand"), target / name)
    nbformat.write(page("newer"), tree / name)
    scratch.copy(tree, target)
    assert scratch.trust(target) == 2 and not is_trusted(target / name) and is_trusted(scratch.beside(target / name))


def call(folder: Path, *command: str, **setting: str) -> subprocess.CompletedProcess:
    kept = {key: value for key, value in os.environ.items() if key not in ("IN_TEST", "CONTRASTIVE_NB_BUILD", "PYTHONPATH")}
    bin = Path(sys.executable).parent
    env = kept | {"PATH": f"{bin}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(folder)} | setting
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)


@pytest.mark.slow
def test_the_whole_tree_is_opened_and_nothing_of_it_is_exported_or_saved(copy_of_the_tree):
    before = contents_of_package(copy_of_the_tree)
    command = [sys.executable, "-m", "contrastive_nb"]
    opened = call(copy_of_the_tree, *command, "lab", "--version")  # JupyterLab's own
    target = copy_of_the_tree / "build" / "lab"
    assert opened.returncode == 0 and opened.stdout.startswith(f"a scratch copy is in {target}"), opened.stderr
    assert {name for name in scratch._names(copy_of_the_tree) if not (target / name).is_file()} == set()

    shown = call(copy_of_the_tree, *command, "lab", "--show-config")  # JupyterLab's own, of what it was told
    assert "default_url = '/lab/tree/nbs/start.ipynb'" in shown.stdout and (target / "nbs" / "start.ipynb").is_file(), shown.stdout

    page = target / "nbs" / "0_foundations" / "01_pairs.ipynb"
    page.write_text(page.read_text(encoding="utf-8").replace("class Pairs(", "class Pears("), encoding="utf-8")
    done = call(target, "nbdev-export")
    assert done.returncode != 0 and "scratch copy of the book, which exports nothing" in done.stderr, done.stdout + done.stderr
    for arguments in (["run", "01_pairs", "--profile", "laptop", "--save"], ["timing", "--save"], ["lab"]):
        done = call(target, *command, *arguments)
        assert done.returncode == 2 and "scratch copy of the book" in done.stderr and done.stderr.count("\n") == 1, done.stderr
    from_outside = call(target, *command, "run", "01_pairs", "--profile", "laptop", "--save", PYTHONPATH=str(copy_of_the_tree))
    assert from_outside.returncode == 2 and "scratch copy of the book" in from_outside.stderr
    assert contents_of_package(target) == contents_of_package(copy_of_the_tree) == before

    done = call(target, *command, "run", "index")
    assert done.returncode == 0 and (target / "build" / "runs" / "ci" / "index.ipynb").is_file(), done.stderr
    assert not (copy_of_the_tree / "build" / "runs").exists()
    assert call(copy_of_the_tree, "nbdev-export").returncode == 0  # the source exports as ever


def contents_of_package(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "contrastive_nb").rglob("*.py")}
