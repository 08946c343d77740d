"""Git and notebooks: after `make hooks` a diff is one of cells, and merges are cell by cell; without it git works as ever."""

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[1]
# neither the user's settings nor a repository around this one; the programs of this environment first on PATH
OWN = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")} | {
    "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
}


def call(folder, *command) -> str:
    done = subprocess.run(command, cwd=folder, env=OWN, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def write(folder, *cells) -> None:
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source, id=f"cell{i}") for i, source in enumerate(cells)])
    nbformat.write(book, folder / "page.ipynb")


def save(folder, what) -> None:
    call(folder, "git", "add", "-A")
    call(folder, "git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--no-verify", "-m", what)


@pytest.fixture
def repository(tmp_path):
    "A repository with the project's attributes and Makefile, and one notebook in it."
    for name in (".gitattributes", "Makefile"):
        (tmp_path / name).write_text((ROOT / name).read_text(encoding="utf-8"), encoding="utf-8")
    call(tmp_path, "git", "init", "-q", "-b", "main")
    write(tmp_path, "a = 1", "b = 1", "c = 1")
    save(tmp_path, "one")
    return tmp_path


def diverge(repository) -> None:
    "Two branches that add a line in the same place of the file, each to another cell."
    call(repository, "git", "checkout", "-q", "-b", "side")
    write(repository, "a = 1\nx = 2", "b = 1", "c = 1")
    save(repository, "two")
    call(repository, "git", "checkout", "-q", "main")
    write(repository, "a = 1", "b = 1", "c = 1\ny = 2")
    save(repository, "three")


def test_a_diff_shows_the_source_of_cells_and_no_json(repository):
    call(repository, "make", "hooks")
    write(repository, "a = 1", "b = 2", "c = 1")
    shown = call(repository, "git", "diff")
    assert "nbdiff" in shown and "b = 1" in shown and "b = 2" in shown
    assert '"source"' not in shown and '"cell_type"' not in shown


def test_two_changes_of_a_notebook_merge_into_a_notebook(repository):
    call(repository, "make", "hooks")
    diverge(repository)
    call(repository, "git", "-c", "user.name=a", "-c", "user.email=a@b", "merge", "-q", "--no-verify", "-m", "both", "side")
    assert [cell.source for cell in nbformat.read(repository / "page.ipynb", 4).cells] == ["a = 1\nx = 2", "b = 1", "c = 1\ny = 2"]


def test_without_the_drivers_git_works_as_ever(repository, tmp_path_factory):
    write(repository, "a = 1", "b = 2", "c = 1")
    shown = call(repository, "git", "diff")
    assert "diff --git" in shown and '"b = 2"' in shown
    save(repository, "four")
    diverge(repository)
    call(repository, "git", "-c", "user.name=a", "-c", "user.email=a@b", "merge", "-q", "-m", "both", "side")
    clone = tmp_path_factory.mktemp("clone")
    call(clone, "git", "clone", "-q", repository, clone / "there")
    assert (clone / "there" / "page.ipynb").read_bytes() == (repository / "page.ipynb").read_bytes()


def test_make_hooks_sets_nothing_outside_the_repository(repository):
    call(repository, "make", "hooks")
    set_here = call(repository, "git", "config", "--show-scope", "--list").splitlines()
    assert {line.split("\t")[0] for line in set_here} == {"local"}
    assert any("diff.jupyternotebook.command" in line for line in set_here)


def test_make_hooks_says_that_nbdime_is_missing(repository, monkeypatch):
    monkeypatch.setitem(OWN, "PATH", "/usr/bin:/bin")
    done = subprocess.run(["make", "hooks"], cwd=repository, env=OWN, capture_output=True, text=True)
    assert done.returncode != 0 and "make install" in done.stderr
    assert "jupyternotebook" not in call(repository, "git", "config", "--list")


# --- the hook before a commit --------------------------------------------------------------------------------------------------------


@pytest.fixture
def hooked(copy_of_the_tree):
    "A repository of the whole tree with its hook switched on."
    call(copy_of_the_tree, "git", "init", "-q", "-b", "main")
    save(copy_of_the_tree, "all")
    call(copy_of_the_tree, "make", "hooks")
    return copy_of_the_tree


def commit(folder) -> subprocess.CompletedProcess:
    call(folder, "git", "add", "-A")
    command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "-m", "by hand"]
    return subprocess.run(command, cwd=folder, env=OWN, capture_output=True, text=True)


def commits(folder) -> int:
    return int(call(folder, "git", "rev-list", "--count", "HEAD"))


def test_the_hook_takes_back_a_hand_edit_and_lets_the_rest_through(hooked):
    module, note = hooked / "contrastive_nb" / "pairs.py", hooked / "CHANGELOG.md"
    right = module.read_text(encoding="utf-8")
    module.write_text(right.replace("class Pairs", "class Pears"), encoding="utf-8")
    note.write_text(note.read_text(encoding="utf-8") + "\nMore.\n", encoding="utf-8")
    done = commit(hooked)
    assert done.returncode == 1 and "out of step" in done.stderr and commits(hooked) == 1, done.stderr
    assert module.read_text(encoding="utf-8") == right
    done = commit(hooked)
    assert done.returncode == 0 and commits(hooked) == 2, done.stderr


@pytest.mark.slow
def test_the_hook_stops_what_ruff_finds(hooked):
    path = hooked / "tests" / "test_planted.py"
    path.write_text("import os\nx = [1,2]\n")
    done = commit(hooked)
    assert done.returncode == 1 and path.read_text() == "import os\n\nx = [1, 2]\n"  # the layout is mended
    done = commit(hooked)
    assert done.returncode == 1 and "F401" in done.stdout + done.stderr and commits(hooked) == 1


def test_the_hook_stops_a_page_that_was_saved_by_hand(hooked):
    path = hooked / "nbs" / "1_objectives" / "11_choosing.ipynb"
    right = path.read_text(encoding="utf-8")
    assert "profile laptop: " in right
    path.write_text(right.replace("profile laptop: 8 seeds", "profile ci: 2 seeds"), encoding="utf-8")
    done = commit(hooked)
    assert done.returncode == 1 and commits(hooked) == 1
    assert "it was saved by hand" in done.stderr and "To mend it: contrastive-nb restore 1_objectives/11_choosing\n" in done.stderr
    call(hooked, sys.executable, "-m", "contrastive_nb", "restore", "11_choosing")
    assert path.read_text(encoding="utf-8") == right
