"""The tests that ask for the same bits, again with the vector instructions of other processors: no green by luck of this one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

HERE = Path(__file__).parent
LEVELS = ("default", "avx2", "avx512")  # of torch's own kernels
NOW = torch.backends.cpu.get_cpu_capability().lower()
# what this machine can do, and the libraries under torch held to less than they would choose
SETTINGS = [{"ATEN_CPU_CAPABILITY": level} for level in LEVELS[: LEVELS.index(NOW) + 1 if NOW in LEVELS else 1]]
SETTINGS += [{"ONEDNN_MAX_CPU_ISA": level} for level in ("SSE41", "AVX2")] + [{"MKL_CBWR": "COMPATIBLE"}]
EXACT = ("mochi", "training", "cached", "gathered", "streaming", "tabulated", "pairs", "noise_contrast", "methods")


def rerun(setting: dict[str, str], *arguments) -> subprocess.CompletedProcess:
    "pytest in a process of its own with this in its environment."
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")} | setting
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(HERE), str(HERE.parent), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-m", "not slow", *map(str, arguments)]
    return subprocess.run(command, cwd=HERE.parent, env=environment, capture_output=True, text=True)


@pytest.mark.slow
@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: "=".join(*setting.items()))
def test_the_same_tests_pass_with_other_instructions(setting):
    done = rerun(setting, *(HERE / f"test_{name}.py" for name in EXACT))
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mochi", "pairs", "metrics", "text", "encoders", "training", "cached", "gathered", "streaming"])
def test_nothing_hangs_on_the_last_digit(name):
    "Processors that are not here, by a stand-in: last_digit.py."
    done = rerun({}, "-p", "last_digit", HERE / f"test_{name}.py")
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]


def test_the_queue_and_the_slow_encoder_pass_with_the_oldest_instructions():
    done = rerun({"ATEN_CPU_CAPABILITY": "default"}, HERE / "test_mochi.py")
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]


TWO_KERNELS = """
import torch

def test_transposed():
    a = torch.randn(5, 7, generator=torch.Generator().manual_seed(0))
    b = torch.randn(6, 7, generator=torch.Generator().manual_seed(1))
    assert torch.equal(a @ b.T, a @ b.T) and (torch.ones(2, 3) @ torch.ones(3, 2) == 3).all()
    torch.testing.assert_close(a @ b.T, (b @ a.T).T)
    assert not torch.equal(a @ b.T, (b @ a.T).T)
"""


def test_the_stand_in_changes_other_calls_and_repeats_the_same(tmp_path):
    (tmp_path / "test_two.py").write_text(TWO_KERNELS)
    done = rerun({}, "-p", "last_digit", tmp_path / "test_two.py")
    assert done.returncode == 0, done.stdout


PLANTED = """
import torch

def test_takes_it_for_granted():
    assert torch.backends.cpu.get_cpu_capability() == "{level}"
"""


def test_a_test_that_only_one_processor_passes_is_found(tmp_path):
    (tmp_path / "test_planted.py").write_text(PLANTED.format(level=NOW.upper()))
    other = next(level for level in LEVELS if level != NOW)
    if NOW not in LEVELS or LEVELS.index(other) > LEVELS.index(NOW):
        pytest.skip(f"this machine has {NOW} alone")
    assert rerun({}, tmp_path / "test_planted.py").returncode == 0
    done = rerun({"ATEN_CPU_CAPABILITY": other}, tmp_path / "test_planted.py")
    assert done.returncode == 1 and "1 failed" in done.stdout
