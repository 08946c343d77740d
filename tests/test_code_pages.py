"""No command stumbles over a letter that its terminal's code page lacks: it is shown as its number."""

import json
import os
import subprocess
import sys

import pytest
import typer
from commands import CliRunner
from test_ledger import claim
from test_run import CLAIM, Lab, write_notebook

from contrastive_nb import cli, data, files
from contrastive_nb.lab import claims

PAGES = ["cp1252", "ascii", "cp437"]
TELLS = [
    "claims",
    "claims --json",
    "claims nö_θ",
    "claims S03 --verdict confirmed",
    "stale",
    "data list",
    "data verify fashion_mnist",
    "data fetch nö_θ",
    "timing --list",
    "run nö_θ",
]
HELPS = [f"{name} --help".strip() for name in ("", "run", "claims", "timing", "stale", "data", "data list", "data fetch", "data verify")]
HELPS += [f"{name} --help" for name in ("carry", "restore", "lab", "merge", "nightly", "student", "compare", "numerics")]


def names(command, above: str = "") -> list[str]:
    inner = getattr(command, "commands", {})
    return [above, *(name for key, one in inner.items() for name in names(one, f"{above} {key}".strip()))]


def test_every_command_is_tried_here():
    assert {f"{name} --help".strip() for name in names(typer.main.get_command(cli.app))} - {"bench --help"} == set(HELPS)


@pytest.fixture
def greek(monkeypatch, tmp_path):
    "A ledger and a registry with letters that no code page has all of."
    record = claim("S03-x", statement="Δ θ é ∞ 𝜏", formula="reconstructed", size="gpu")
    monkeypatch.setattr(claims, "load", lambda: [record])
    rows = data.listing()
    monkeypatch.setattr(data, "listing", lambda: [row | {"licence": "Δ θ é ∞ 𝜏"} for row in rows])
    monkeypatch.setattr(data, "verify", lambda name: [(name, True, "in the mirror: Δ/θ/é/∞/𝜏")])
    monkeypatch.setattr("contrastive_nb.lab.freshness.readable", lambda: ([record], []))
    monkeypatch.setattr("contrastive_nb.lab.freshness.states", lambda records: [(record | {"id": "Δθé∞𝜏"}, "gpu", "stale", "code")])
    return record


@pytest.mark.parametrize("code_page", PAGES)
@pytest.mark.parametrize("line", [*TELLS, *HELPS])
def test_no_letter_stops_a_command(greek, code_page, line):
    result = CliRunner(charset=code_page).invoke(cli.app, line.split())
    assert result.exit_code in (0, 1, 2) and not isinstance(result.exception, UnicodeError), result.exception
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    text = result.output_bytes.decode("utf-8" if code_page == "ascii" else code_page)  # typer takes ascii for UTF-8
    if line == "claims --json":
        assert json.loads(text) == [greek]
    elif line in ("claims", "claims S03 --verdict confirmed", "stale", "data list", "data verify fashion_mnist"):
        assert ("Δ" if code_page == "ascii" else "\\u0394") in text
        assert ("𝜏" if code_page == "ascii" else "\\U0001d70f") in text


@pytest.mark.slow
@pytest.mark.parametrize("code_page", ["cp1252", "ascii"])
def test_a_run_whose_words_no_code_page_has(tmp_path, code_page):
    lab = Lab(tmp_path)
    write_notebook(lab.nbs, "1_a/01_claim", CLAIM, "!echo θ\nprint('∞', __import__('sys').stdout.encoding)")
    write_notebook(lab.nbs, "1_a/02_θ", "raise ValueError('Δ θ é ∞ 𝜏')")
    env = os.environ | {files.NOTEBOOKS: str(lab.nbs), files.BUILD: str(lab.build), "PYTHONIOENCODING": f"{code_page}:strict"}
    done = subprocess.run([sys.executable, "-m", "contrastive_nb", "run"], env=env, capture_output=True, cwd=tmp_path)
    said = done.stdout.decode(code_page, errors="replace")
    assert done.returncode == 1 and "ValueError" in said and "T01-mechanism-two" in said, done.stderr.decode(errors="replace")
    assert b"Traceback" not in done.stderr
    assert "∞" in json.dumps(lab.read("runs/ci/1_a/01_claim.ipynb"), ensure_ascii=False)
