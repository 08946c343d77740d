"""One thread, the same numbers every time, and no window: set before a test imports torch or matplotlib."""

import os
import shutil
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")
os.environ.setdefault("MPLBACKEND", "agg")

import pytest
import torch

torch.set_num_threads(1)
torch.use_deterministic_algorithms(True)

ROOT = Path(__file__).resolve().parents[1]
MADE = {
    ".git",
    ".venv",
    "build",
    "dist",
    "_proc",
    "_docs",
    "_site",
    "__pycache__",
    ".ipynb_checkpoints",
    ".pytest_cache",
    ".ruff_cache",
    ".hypothesis",
    ".mypy_cache",
}


def pytest_addoption(parser):
    parser.addini("cpu_seconds", "CPU seconds that a test, or what is set up for it, may take unless it is marked slow", default="60")


def cpu_seconds() -> float:
    "Of this process and of those that it started and saw end."
    return sum(os.times()[:4])


def within_budget(item):
    "Fails what takes too long for `make test`, so that its length does not creep up."
    before, limit = cpu_seconds(), float(item.config.getini("cpu_seconds"))
    result = yield
    spent = cpu_seconds() - before
    if spent > limit and item.get_closest_marker("slow") is None:
        pytest.fail(f"took {spent:.3g} CPU seconds, want at most {limit:g}: shorten it, or mark it slow beside a short one", pytrace=False)
    return result


pytest_runtest_setup = pytest.hookimpl(wrapper=True)(within_budget)
pytest_runtest_call = pytest.hookimpl(wrapper=True)(within_budget)


@pytest.fixture(autouse=True)
def ctrl_c():
    "A command that was interrupted and has said its last line ignores Ctrl-C from there on: here the process goes on."
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(autouse=True)
def unheard():
    "A run that a test opens hears every line of its process from there on: whoever comes next would take four times as long."
    yield
    runs = sys.modules.get("contrastive_nb.lab.runs")
    if runs and runs._listening.cache_info().currsize:
        runs._listening().stop()
        runs._listening.cache_clear()


@pytest.fixture(autouse=True)
def seeded():
    "Every test starts from the same draw, whatever ran before it."
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def no_figure_stays():
    "A test that draws leaves no figure open to the next one, which may count them."
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.fixture
def styled():
    "The style of the book's figures."
    import matplotlib.pyplot as plt

    from contrastive_nb.book import plots

    with plt.rc_context():
        plots.style()
        yield


def copy_files(root, folder):
    "Copies what belongs to a repository (tracked files and new ones that are not ignored) to a folder, and returns the folder."
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=root, capture_output=True, text=True)
    if listed.returncode:  # an unpacked source archive
        shutil.copytree(root, folder, ignore=lambda _, names: MADE & set(names))
    for name in filter(None, listed.stdout.split("\0")):
        if (root / name).is_file():  # one that was removed and not yet committed is listed too
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, folder / name)
    return folder


@pytest.fixture(scope="session")
def copy_tree():
    "A function that copies what belongs to this repository to a folder."
    return partial(copy_files, ROOT)


@pytest.fixture
def copy_of_the_tree(copy_tree, tmp_path):
    return copy_tree(tmp_path / "tree")
