"""Full disks and folders that cannot be written: one line says so, another place is taken where there is one, nothing is lost."""

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import namespaces
import pytest
from namespaces import inside, words
from test_run import Lab, errors, said, write_notebook

from contrastive_nb import files
from contrastive_nb.lab import runner

RUN = (sys.executable, "-m", "contrastive_nb", "run")
REMEMBERS = "import json\n_ = run.once('small', lambda: Path({home!r}, 'calls').open('a').write('x'))"


@pytest.fixture
def lab(tmp_path):
    return Lab(tmp_path)


@pytest.fixture
def world(lab, monkeypatch):
    "The command line sees this lab, and the user's cache is here."
    monkeypatch.setenv(files.NOTEBOOKS, str(lab.nbs))
    monkeypatch.setenv(files.BUILD, str(lab.build))
    monkeypatch.setenv("XDG_CACHE_HOME", str(lab.home / "cache"))
    return lab


def test_where_the_build_folder_cannot_be_written_the_cache_stands_for_it(world, monkeypatch, capsys):
    monkeypatch.delenv(files.BUILD)
    monkeypatch.setattr(files, "checkout", lambda: world.home / "course")
    files._writable.cache_clear()
    monkeypatch.setattr(files, "can_write", lambda folder: not folder.is_relative_to(world.home / "course"))
    place = files.build()
    assert place == files.build() and place.is_relative_to(world.home / "cache" / "contrastive_nb") and not place.exists()
    said = capsys.readouterr().err
    assert said == f"contrastive-nb: {world.home / 'course' / 'build'} cannot be written; what runs write goes to {place}\n"
    monkeypatch.setattr(files, "checkout", lambda: world.home / "course" / "other")
    assert files.build().parent == place.parent and files.build() != place
    files._writable.cache_clear()


def test_a_folder_is_tried_without_a_trace(tmp_path):
    assert files.can_write(tmp_path / "not" / "yet") and not list(tmp_path.iterdir())
    (tmp_path / "file").touch()
    assert not files.can_write(tmp_path / "file" / "folder") and not files.can_write(tmp_path / "file")


def test_a_build_folder_that_was_named_and_cannot_be_written_is_refused(world, monkeypatch):
    write_notebook(world.nbs, "1_a/01_one", "1")
    (world.home / "file").touch()
    monkeypatch.setenv(files.BUILD, str(world.home / "file"))
    code, output = said("run")
    assert code == 2 and output.count("\n") == 1 and f"run: {world.home / 'file'}, where it writes, cannot be written" in output


@pytest.mark.parametrize(
    "what",
    [
        "runs/ci/1_a/02_two.ipynb",
        pytest.param("runs/ci/1_a/02_two.json", marks=pytest.mark.slow),
        pytest.param("failed/ci/1_a/02_two.ipynb", marks=pytest.mark.slow),
    ],
)
def test_a_disk_that_fills_while_results_are_kept(world, monkeypatch, capsys, what):
    write_notebook(world.nbs, "1_a/01_one", "1")
    write_notebook(world.nbs, "1_a/02_two", "1 / 0" if what.startswith("failed") else "2")
    write_whole = files.write_whole

    def full(path, content):
        if str(path).endswith(what):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        return write_whole(path, content)

    monkeypatch.setattr(files, "write_whole", full)
    assert world.run() == 1
    shown = capsys.readouterr().out
    (line,) = [line for line in shown.splitlines() if "No space left" in line]
    assert line.startswith("1_a/02_two failed: ")
    assert world.read("runs/ci/1_a/01_one.json") and not (world.build / "runs/ci/1_a/02_two.json").exists()
    monkeypatch.setattr(files, "write_whole", write_whole)
    if not what.startswith("failed"):
        assert errors(world.read("failed/ci/1_a/02_two.ipynb")) == ["Stopped"]
        assert world.run(resume=True) == 0 and "01_one  skipped" in capsys.readouterr().out


def test_a_disk_that_is_full_before_a_notebook_begins(world, monkeypatch, capsys):
    write_notebook(world.nbs, "1_a/01_one", "1")

    def full(*ignored):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(runner, "start", full)
    assert world.run() == 1 and "01_one failed: it could not begin: [Errno 28] No space left on device" in capsys.readouterr().out


@pytest.mark.slow
@namespaces.needed
def test_a_small_disk_that_fills_under_a_run_which_goes_on_when_there_is_room(world):
    write_notebook(world.nbs, "1_a/01_one", REMEMBERS.format(home=str(world.home)))
    write_notebook(world.nbs, "1_a/02_memory", REMEMBERS.format(home=str(world.home)), "_ = run.once('large', lambda: 'x' * 3_000_000)")
    write_notebook(world.nbs, "1_a/03_output", "print('x' * 3_000_000)")
    world.build.mkdir()
    done = inside(
        words("mount", "-t", "tmpfs", "-o", "size=1m", "none", world.build),
        words(*RUN, "--jobs", 1) + " && exit 9 || test $? = 1",
        "echo ----",
        words("mount", "-o", "remount,size=60m", world.build),
        words(*RUN, "--jobs", 1, "--resume"),
        words("cp", "-r", world.build, world.home / "kept"),
        cwd=world.home,
    )
    assert done.returncode == 0 and "Traceback" not in done.stdout, done.stdout
    first, again = done.stdout.split("----")
    assert len([line for line in first.splitlines() if "No space left" in line]) == 2, first
    assert "01_one     ok" in first and "01_one     skipped" in again
    assert (world.home / "calls").read_text() == "xx"  # what was remembered before the disk was full is remembered
    kept = json.dumps(json.loads((world.home / "kept/runs/ci/1_a/03_output.ipynb").read_text())["cells"])
    assert "x" * 3_000_000 in kept and not list((world.home / "kept").rglob("*.part"))


CLAIM = """
from contrastive_nb.lab import claims
claim = claims.Claim("T01-mechanism-two", "T01", "1_a/01_claim", "mechanism", "Two is more than one.", "count", "one", "two", "higher", 0.5)
_ = claims.record(claim, claims.judge(claim, [1.0], [2.0]), run)
"""
AS_IN_JUPYTER = """
import sys, nbclient, nbformat
book = nbformat.read(sys.argv[1], 4)
nbclient.NotebookClient(book, timeout=60, kernel_name="python3", resources={"metadata": {"path": "/"}}).execute()
print(sum(len(cell.get("outputs", [])) for cell in book.cells), book.cells[-1].outputs)
"""


@pytest.mark.slow
@namespaces.needed
def test_a_course_folder_that_can_only_be_read(world, copy_of_the_tree, monkeypatch):
    for name in (files.BUILD, files.NOTEBOOKS):
        monkeypatch.delenv(name)
    monkeypatch.setenv("PYTHONPATH", str(copy_of_the_tree))
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    for kept in files.PACKAGE.rglob("__pycache__"):  # else each of its five processes compiles the package anew
        shutil.copytree(kept, copy_of_the_tree / kept.relative_to(files.PACKAGE.parent))
    page = write_notebook(copy_of_the_tree / "nbs", "1_a/01_claim", CLAIM, "'after'")
    (world.home / "page.py").write_text(AS_IN_JUPYTER)
    tree = copy_of_the_tree
    for line in ("init -q", "add -A", "-c user.name=A -c user.email=a@b.c commit -qm all"):  # outputs are saved where all is committed
        subprocess.run(["git", "-C", str(tree), *line.split()], check=True)
    done = inside(
        words("mount", "-o", "bind,ro", tree, tree),
        words("cd", tree),
        "touch x 2> /dev/null && exit 9",
        words(*RUN, "1_a/01_claim", "--profile", "ci"),
        "echo ----",
        words(sys.executable, world.home / "page.py", page),
        "echo ----",
        words(*RUN, "1_a/01_claim", "--profile", "laptop", "--save") + " || test $? = 1",
    )
    assert done.returncode == 0 and "Traceback" not in done.stdout, done.stdout
    run, jupyter, saved = done.stdout.split("----\n")
    (line,) = [line for line in run.splitlines() if "cannot be written" in line]
    place = line.partition("goes to ")[2]
    assert place.startswith(str(world.home / "cache")) and "T01-mechanism-two" in run
    assert [path.name for path in Path(place, "claims/ci").iterdir()] == ["T01-mechanism-two.json"] and "'after'" in jupyter
    assert "1_a/01_claim: could not be saved: [Errno 30] Read-only file system" in saved
