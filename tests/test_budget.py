"""The length of `make test`: a test that takes too long and is not marked slow fails."""

from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

LONG = """
import time
import pytest

def burn():
    end = time.process_time() + 0.8
    while time.process_time() < end:
        pass

@pytest.fixture
def burnt():
    burn()

def test_quick(): pass
def test_long(): burn()
def test_long_before(burnt): pass
@pytest.mark.slow
def test_marked(burnt): burn()
def test_child():
    import subprocess, sys
    subprocess.run([sys.executable, "-c", "import time\\nwhile time.process_time() < 0.8: pass"])
"""


def test_a_long_test_that_is_not_marked_slow_fails(pytester):
    pytester.makeconftest((Path(__file__).parent / "conftest.py").read_text(encoding="utf-8"))
    pytester.makeini("[pytest]\nmarkers = slow\ncpu_seconds = 0.5")
    pytester.makepyfile(LONG)
    done = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-rfE")
    done.assert_outcomes(passed=2, failed=2, errors=1)
    for head in ("ERROR at setup of test_long_before", "test_long", "test_child"):
        done.stdout.fnmatch_lines([f"_* {head} _*", "took * CPU seconds, want at most 0.5: *"], consecutive=True)


DRAWS = """
import torch
ZERO = torch.rand(3, generator=torch.Generator().manual_seed(0))

def test_first(): assert torch.equal(torch.rand(3), ZERO)
def test_second(): assert torch.equal(torch.rand(3), ZERO) and torch.get_num_threads() == 1
"""


@pytest.mark.parametrize("fixture, failed", [("autouse=True", 0), ("autouse=False", 2)])
def test_every_test_starts_from_the_same_draw(pytester, fixture, failed):
    text = (Path(__file__).parent / "conftest.py").read_text(encoding="utf-8")
    pytester.makeconftest(text.replace("@pytest.fixture(autouse=True)\ndef seeded", f"@pytest.fixture({fixture})\ndef seeded"))
    pytester.makepyfile(DRAWS)
    pytester.runpytest_subprocess("-p", "no:cacheprovider", "-p", "no:randomly").assert_outcomes(passed=2 - failed, failed=failed)
