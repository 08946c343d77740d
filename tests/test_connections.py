"""The book asks nobody: no process of a run opens a connection, or asks for a name, beyond this machine."""

import os
import subprocess
import sys
from pathlib import Path

import namespaces
import pytest
from namespaces import inside, words
from test_run import Lab, write_notebook

from contrastive_nb import files
from contrastive_nb.lab import freshness

pytestmark = pytest.mark.skipif(files.checkout() is None, reason="no checkout here")
SHORT = ["0_foundations/00_notation", "1_objectives/05_supcon"]  # formulas; real sets

# Every Python process reads this when it starts, and writes down who it is and whom it asks.
HOOK = """
import ipaddress, socket, sys
own = {"", "localhost", socket.gethostname()}
def here(host):
    host = host.decode() if isinstance(host, bytes) else host
    if host is None or host in own:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
def note(line):
    with open(LOG, "a") as file:
        file.write(line + "\\n")
def hook(event, values):
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        if isinstance(values[1], tuple) and not here(values[1][0]):
            note(f"asks {values[1][0]} ({' '.join(sys.orig_argv)})")
    elif event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr") and not here(values[0]):
        note(f"asks {values[0]} ({' '.join(sys.orig_argv)})")
note("is " + " ".join(sys.orig_argv))
sys.addaudithook(hook)
"""


def connections(home: Path, *pages: str, notebooks: Path | None = None) -> tuple[str, list[str], int]:
    "Run pages at ci size, without a network where that can be: what was said, whom it asked, how many kernels were watched."
    (home / "sitecustomize.py").write_text(HOOK.replace("LOG", repr(str(home / "log"))))
    root = files.PACKAGE.parent
    env = os.environ | {"PYTHONPATH": f"{home}{os.pathsep}{root}", files.BUILD: str(home / "build")}
    env |= {"CONTRASTIVE_NB_DATA": "", "XDG_CACHE_HOME": str(home / "cache"), files.NOTEBOOKS: str(notebooks or root / "nbs")}
    command = [sys.executable, "-m", "contrastive_nb", "run", *pages]
    if namespaces.allowed():
        done = inside(words(*command), network=False, env=env)
    else:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env)
    log = (home / "log").read_text().splitlines()
    kernels = [line for line in log if line.startswith("is ") and "ipykernel_launcher" in line]
    return done.stdout, [line for line in log if line.startswith("asks ")], len(kernels)


def opened_in_jupyter(home: Path, page: Path) -> tuple[str, list[str]]:
    "Run a page as Jupyter does, without the runner and what it closes: what was said, whom it asked."
    (home / "sitecustomize.py").write_text(HOOK.replace("LOG", repr(str(home / "log"))))
    env = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
    env |= {"PYTHONPATH": f"{home}{os.pathsep}{files.PACKAGE.parent}", files.BUILD: str(home / "build"), "CONTRASTIVE_NB_DATA": ""}
    env |= {"XDG_CACHE_HOME": str(home / "cache"), "IPYTHONDIR": str(home / "ipython")}
    command = [sys.executable, "-m", "nbconvert", "--to", "notebook", "--execute", "--output-dir", str(home / "out"), str(page)]
    if namespaces.allowed():
        done = inside(words(*command), network=False, env=env)
    else:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env)
    assert done.returncode == 0, done.stdout
    return done.stdout, [line for line in (home / "log").read_text().splitlines() if line.startswith("asks ")]


SETS = """from contrastive_nb import data
assert not data.available('fashion_mnist'{})"""


@pytest.mark.parametrize("told, asks", [("", False), (", download=True", True)])
def test_a_page_at_ci_size_in_jupyter_asks_nobody_unless_it_says_so(tmp_path, told, asks):
    said, asked = opened_in_jupyter(tmp_path, write_notebook(Lab(tmp_path).nbs, "1_a/01_sets", SETS.format(told)))
    assert bool(asked) == asks, (said, asked)


@pytest.mark.slow
@pytest.mark.parametrize("page", ["0_foundations/02_data", "0_foundations/03_encoders", "1_objectives/10_mw", "2_hard_negatives/01_mochi"])
def test_pages_with_real_sets_ask_nobody_in_jupyter_either(tmp_path, page):
    said, asked = opened_in_jupyter(tmp_path, files.PACKAGE.parent / "nbs" / f"{page}.ipynb")
    assert asked == [], (said, asked)


def test_a_page_that_asks_somebody_is_seen(tmp_path):
    asks = [
        "import socket, subprocess, sys\ns = socket.socket()\ns.settimeout(0.2)",
        "try: s.connect(('192.0.2.1', 9))\nexcept OSError: pass",
    ]
    asks += ["try: socket.getaddrinfo('nobody.invalid', 80)\nexcept OSError: pass"]
    other = "import socket; socket.socket(type=socket.SOCK_DGRAM).connect(('198.51.100.1', 9))"
    asks += [f"_ = subprocess.run([sys.executable, '-c', {other!r}], capture_output=True)", "s = socket.create_server(('127.0.0.1', 0))"]
    write_notebook(Lab(tmp_path).nbs, "1_a/01_asks", *asks)
    said, asked, kernels = connections(tmp_path, notebooks=tmp_path / "nbs")
    assert kernels == 1 and [line.split()[1] for line in asked] == ["192.0.2.1", "nobody.invalid", "198.51.100.1"], (said, asked)


@pytest.mark.slow
def test_two_short_pages_ask_nobody(tmp_path):
    said, asked, kernels = connections(tmp_path, *SHORT)
    assert asked == [] and kernels == 2 and said.count(" ok ") >= 2, said


@pytest.mark.slow
def test_the_whole_book_asks_nobody(tmp_path):
    pages = freshness.all_notebooks()
    said, asked, kernels = connections(tmp_path)
    assert asked == [] and kernels == len(pages), said
    assert {line.split()[0] for line in said.splitlines() if " ok " in line} >= set(pages), said
