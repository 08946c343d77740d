"""Profiles: what settings.ini may say, and what a run remembers."""

import json
import sys

import pytest

from contrastive_nb import files
from contrastive_nb.lab import profiles, runs
from contrastive_nb.lab.profiles import settings
from contrastive_nb.lab.runs import open_run

BASE = """[ci]
seeds = 2
search_seeds = 1
steps = 12
batch_size = 64
train_size = 400
test_size = 200
device = cpu
precision = no
minutes = 5
"""


@pytest.fixture
def ini(tmp_path, monkeypatch):
    "Write a settings.ini that is used instead of the real one; runs go to a folder of their own."
    monkeypatch.setattr(files, "shared", lambda name: tmp_path / name)
    monkeypatch.setenv(files.NOTEBOOKS, str(tmp_path / "nbs"))
    (tmp_path / "nbs" / "1_a").mkdir(parents=True)
    monkeypatch.setenv(files.BUILD, str(tmp_path / "build"))
    monkeypatch.delenv(profiles.RESUME, raising=False)
    monkeypatch.delenv(profiles.OVERRIDES, raising=False)

    def write(chapter: str = "", base: str = BASE) -> None:
        (tmp_path / "settings.ini").write_text(base)
        (tmp_path / "nbs" / "1_a" / "settings.ini").write_text(chapter)

    write()
    return write


@pytest.mark.skipif(files.checkout() is None, reason="no checkout here")
def test_every_section_of_the_real_settings_parses_and_names_a_notebook():
    assert sorted(profiles._parse(files.shared("settings.ini")).sections()) == sorted(profiles.PROFILES)
    for path in files.notebooks().glob("*/settings.ini"):
        for section in profiles._parse(path).sections():
            profile, _, name = section.partition(":")
            assert (path.parent / f"{name}.ipynb").is_file(), f"{path} [{section}]: no such notebook"
            assert settings(profile, f"{path.parent.name}/{name}")["minutes"] > 0


@pytest.mark.parametrize(("chapter", "words"), [
    ("[ci:01_page]\nsteps = 3\nsteps = 4\n", "settings.ini: .*option 'steps' in section 'ci:01_page' already exists"),
    ("[ci:01_page]\n[ci:01_page]\n", "settings.ini: .*section 'ci:01_page' already exists"),
    ("[ci:01_page]\nsteps\n", "settings.ini: .*parsing errors"),
    ("[big:01_page]\nsteps = 3\n", r"settings.ini \[big:01_page\]: want ci, laptop, gpu"),
    ("[ci:01_page]\nsteps = 0\n", r"settings.ini \[ci:01_page\] steps: got 0, want a whole number above 0"),
])  # fmt: skip
def test_a_settings_file_that_cannot_be_is_refused_in_one_line(ini, chapter, words):
    ini(chapter)
    with pytest.raises(ValueError, match=words) as caught:
        settings("ci", "1_a/01_page")
    assert "\n" not in str(caught.value)


def test_a_notebook_overrides_its_profile(ini):
    ini("[ci:01_page]\nsteps = 3\ntemperatures = [0.1, 0.5]\n")
    run = open_run("1_a/01_page", "ci")
    assert (run.steps, run.batch_size, run.temperatures, run.device) == (3, 64, [0.1, 0.5], "cpu")
    assert open_run("1_a/02_other", "ci").steps == 12
    assert run.seeds == [0, 1] and run.search_seeds == [1000] and open_run("x", "ci", seed=7).seeds == [7, 8]
    assert run.parameters == {"steps": 3, "batch_size": 64, "train_size": 400, "test_size": 200, "device": "cpu",
                              "precision": "no", "temperatures": [0.1, 0.5]}  # fmt: skip
    assert repr(run) == "profile ci: 2 seeds from 0, steps 3, batch_size 64, precision no, on cpu"
    with pytest.raises(AttributeError, match="settings.ini gives no 'stepps' to profile 'ci'; it has seeds"):
        run.stepps


@pytest.mark.parametrize(
    "old, new, message",
    [
        ("steps = 12", "steps = 0", r"settings.ini \[ci\] steps: got 0, want a whole number above 0"),
        ("batch_size = 64", "batch_size = 6.4", r"batch_size: got 6.4, want a whole number above 0"),
        ("test_size = 200", "test_size = many", r"test_size: got 'many'"),
        ("seeds = 2\nsearch", "seeds = 0\nsearch", r"\] seeds: got 0"),
        ("search_seeds = 1", "search_seeds = -1", r"search_seeds: got -1, want a whole number, 0 or more"),
        ("device = cpu", "device = tpu", r"device: got 'tpu', want auto, cpu, cuda, cuda:N or mps"),
        ("device = cpu", "device = cuda:x", r"device: got 'cuda:x'"),
        ("precision = no", "precision = half", r"precision: got 'half', want no, bf16, fp16"),
        ("minutes = 5", "minutes = 0", r"minutes: got 0, want a number above 0"),
        ("minutes = 5\n", "", r"settings.ini \[ci\]: lacks minutes"),
    ],
)
def test_wrong_settings_name_their_key(ini, old, new, message):
    assert old in BASE
    ini(base=BASE.replace(old, new))
    with pytest.raises(ValueError, match=message):
        open_run("x", "ci")


def test_wrong_arguments_are_named(ini, monkeypatch):
    with pytest.raises(ValueError, match="profile: got 'big', want one of ci"):
        open_run("x", "big")
    with pytest.raises(ValueError, match="device: got 'tpu'"):
        open_run("x", "ci", device="tpu")
    with pytest.raises(ValueError, match="seed: got -1"):
        open_run("x", "ci", seed=-1)
    for name in ("", "../x", "/x"):
        with pytest.raises(TypeError, match="notebook: got"):
            open_run(name, "ci")
    import torch

    if not torch.cuda.is_available():
        with pytest.raises(RuntimeError, match="'cuda' was asked for, and torch sees no GPU here"):
            open_run("x", "ci", device="cuda")
    monkeypatch.setenv(profiles.OVERRIDES, json.dumps({"steps": 0}))
    with pytest.raises(ValueError, match="--set steps: got 0"):
        open_run("x", "ci")


def test_overrides_reach_the_run_and_its_parameters(ini, monkeypatch):
    monkeypatch.setenv(profiles.OVERRIDES, json.dumps({"steps": 4, "precision": "bf16"}))
    run = open_run("x", "ci")
    assert (run.steps, run.precision, run.parameters["steps"]) == (4, "bf16", 4)


def test_opening_a_run_leaves_no_litter(ini):
    open_run("x", "ci")
    assert not files.build().exists()


def test_a_run_that_resumes_finds_its_memory_and_a_fresh_one_does_not(ini, monkeypatch):
    calls = []

    def costly():
        calls.append(1)
        return {"score": (1, 2.5)}

    run = open_run("1_a/01_page", "ci")
    assert run.once("a", costly) == run.once("a", costly) == {"score": [1, 2.5]} and len(calls) == 1
    run.once("a key / with signs", costly)
    run.checkpoint("model").write_bytes(b"weights")
    monkeypatch.setenv(profiles.RESUME, "1")
    again = open_run("1_a/01_page", "ci")
    assert again.once("a", costly) == {"score": [1, 2.5]} and len(calls) == 2
    assert again.once("a key / with signs", costly) and len(calls) == 2
    assert again.checkpoint("model").read_bytes() == b"weights"
    assert not list(again.folder.glob("*.part"))
    monkeypatch.delenv(profiles.RESUME)
    fresh = open_run("1_a/01_page", "ci")
    assert not fresh.checkpoint("model").exists()
    fresh.once("a", costly)
    assert len(calls) == 3


def test_other_code_sizes_seeds_and_devices_have_other_memories(ini, monkeypatch):
    monkeypatch.setenv(profiles.RESUME, "1")
    folders = [open_run("x", "ci").folder, open_run("x", "ci", seed=5).folder, open_run("y", "ci").folder]
    monkeypatch.setenv(profiles.OVERRIDES, json.dumps({"minutes": 9}))
    assert open_run("x", "ci").folder == folders[0]
    monkeypatch.setenv(profiles.OVERRIDES, json.dumps({"steps": 9}))
    folders.append(open_run("x", "ci").folder)
    monkeypatch.delenv(profiles.OVERRIDES)
    monkeypatch.setattr(runs, "_code", lambda *a: "another")
    folders.append(open_run("x", "ci").folder)
    assert len(set(folders)) == 5


def test_a_failed_computation_is_not_remembered(ini):
    run = open_run("x", "ci")
    with pytest.raises(TypeError, match=r"once\('k'\): Object of type set is not JSON serializable; want numbers"):
        run.once("k", lambda: {1, 2})
    with pytest.raises(ZeroDivisionError):
        run.once("k", lambda: 1 / 0)
    assert run.once("k", lambda: 3) == 3


def test_two_keys_never_share_a_file():
    names = [runs._file_name(key) for key in ("a b", "a/b", "a_b", "..", ".", "A", "x" * 300, "x" * 301)]
    assert len(set(names)) == len(names) and not any("/" in name or name.startswith(".") and len(name) < 3 for name in names)
    assert max(map(len, names)) < 330


def test_progress_is_silent_where_nobody_looks_on(ini, capsys, monkeypatch):
    run = open_run("x", "ci")
    monkeypatch.delenv("IN_TEST", raising=False)
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    assert list(run.progress(range(3), "steps")) == [0, 1, 2]
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert list(run.progress(range(3), "steps")) == [0, 1, 2]
    assert "steps" in capsys.readouterr().err
    monkeypatch.setenv("IN_TEST", "1")
    assert list(run.progress(range(3))) == [0, 1, 2] and capsys.readouterr().err == ""
