"""Types: mypy finds nothing beside tests/mypy-baseline.txt, and nothing in that file is mended already, so it only shrinks."""

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
BASELINE = Path("tests/mypy-baseline.txt")
FROZEN = 50  # lines there; lower it with the file, never raise it

PINNED = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines() if "==" in line[:60])
pytestmark = [
    pytest.mark.slow,  # the first time; what mypy keeps in .mypy_cache makes the next ones quick
    pytest.mark.skipif(version("mypy") != PINNED["mypy"], reason=f"the baseline holds the messages of mypy {PINNED['mypy']}"),
]


def judge(tree: Path) -> tuple[int, str]:
    "How many findings are new or mended in a tree, and what was said of them."
    check = [sys.executable, "-m", "mypy", "--cache-dir", ROOT / ".mypy_cache", "--no-color-output"]
    checked = subprocess.run(check, cwd=tree, capture_output=True, text=True)
    assert checked.returncode in (0, 1), checked.stdout + checked.stderr  # 2: mypy itself failed, and found nothing
    command = [sys.executable, "-m", "mypy_baseline", "filter", "--no-colors"]
    done = subprocess.run(command, cwd=tree, input=checked.stdout, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def test_no_type_error_is_new_and_none_is_mended_and_still_listed():
    count, said = judge(ROOT)
    advice = "mend what is new; drop what is mended from tests/mypy-baseline.txt: python -m mypy | python -m mypy_baseline sync"
    assert count == 0, f"{said}\n{advice}"


def test_the_baseline_only_shrinks():
    assert len((ROOT / BASELINE).read_text(encoding="utf-8").splitlines()) == FROZEN


def test_a_new_error_is_found(copy_of_the_tree):
    with (copy_of_the_tree / "contrastive_nb" / "registry.py").open("a") as file:
        file.write('\n\ndef planted() -> int:\n    return "text"\n')
    count, said = judge(copy_of_the_tree)
    assert count == 1 and "registry.py" in said and "return-value" in said, said


def test_a_mended_error_that_is_still_listed_is_found(copy_of_the_tree):
    with (copy_of_the_tree / BASELINE).open("a") as file:
        file.write('contrastive_nb/registry.py:0: error: Name "planted" is not defined  [name-defined]\n')
    count, said = judge(copy_of_the_tree)
    assert count == 1 and "name-defined" in said, said
