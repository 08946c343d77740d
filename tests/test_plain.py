"""Pages without Jupyter: the same cells in one process, stopped and resumed in slices, where nothing of Jupyter can be imported."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from commands import CliRunner
from test_parts import records, write_claim
from test_run import Lab, errors, write_notebook

from contrastive_nb import cli, files
from contrastive_nb.lab import freshness, plain, profiles

ROOT = Path(__file__).resolve().parents[1]
GONE = ("IPython", "papermill", "nbformat", "nbclient", "nbdev", "ipykernel", "jupyter_client", "jupyter_core", "matplotlib_inline")
HIDES = f"""
import sys
class Hides:
    def __init__(self, finder):
        self.finder = finder
    def __getattr__(self, key):
        return getattr(self.finder, key)
    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] in {GONE!r} else self.finder.find_spec(name, path, target)
sys.meta_path[:] = map(Hides, sys.meta_path)
"""


@pytest.fixture
def lab(tmp_path):
    return Lab(tmp_path)


def call(home: Path, *arguments: str, nbs: Path = ROOT / "nbs") -> subprocess.CompletedProcess:
    "The command line where Jupyter cannot be imported, nor in any process that it starts."
    (home / "bare").mkdir(exist_ok=True)
    (home / "bare" / "sitecustomize.py").write_text(HIDES)
    places = {files.BUILD: str(home / "build"), files.NOTEBOOKS: str(nbs), "PYTHONPATH": os.pathsep.join([str(home / "bare"), str(ROOT)])}
    command = [sys.executable, "-m", "contrastive_nb", "run", *arguments]
    return subprocess.run(command, cwd=home, env=os.environ | places, capture_output=True, text=True)


def test_two_pages_run_where_nothing_of_jupyter_can_be_imported(tmp_path):
    done = call(tmp_path, "06_claims")
    assert done.returncode == 2 and "needs papermill, which is not installed" in done.stderr and "or --plain" in done.stderr
    done = call(tmp_path, "06_claims", "1_objectives/12_soft_targets", "--plain")  # the first wants IPython.display
    assert done.returncode == 0, done.stdout + done.stderr
    for name in ("0_foundations/06_claims", "1_objectives/12_soft_targets"):
        book = json.loads((tmp_path / "build" / "runs" / "ci" / f"{name}.ipynb").read_text(encoding="utf-8"))
        shown = json.dumps([cell.get("outputs") for cell in book["cells"]])
        assert "profile ci: " in shown and not errors(book)
    made = {path.stem for path in (tmp_path / "build" / "claims" / "ci").glob("*.json")}
    assert made == {
        r["id"] for r in map(json.loads, ledger_texts()) if r["notebook"] in ("0_foundations/06_claims", "1_objectives/12_soft_targets")
    }


def ledger_texts() -> list[str]:
    return [path.read_text(encoding="utf-8") for path in files.shared("data/claims").glob("*.json")]


def test_the_same_records_with_and_without_jupyter(lab):
    write_claim(lab.nbs, "1_a/01_one", "A-one")
    shows = 'from IPython.display import Markdown\nprint("said")\ndisplay(3)\nMarkdown(f"*{run.steps}*")'
    words = {"cells": [{"cell_type": "markdown", "id": "a", "source": "# Words", "metadata": {}}], "metadata": {}, "nbformat": 4}
    (lab.nbs / "index.ipynb").write_text(json.dumps(words | {"nbformat_minor": 5}))  # a page without code
    write_notebook(lab.nbs, "1_a/02_shows", shows, "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.get_backend().lower();", "x = 1")
    made = []
    for plain in (False, True):
        assert lab.run(plain=plain, set=["steps=3"]) == 0
        made.append((records(lab.build / "claims" / "ci"), lab.read("runs/ci/1_a/02_shows.ipynb")))
    assert made[0][0] == made[1][0] and made[0][0]
    kinds = [[[out["output_type"] for out in cell["outputs"]] for cell in book["cells"] if cell["cell_type"] == "code"] for _, book in made]
    assert kinds[1][-3] == kinds[0][-3] == ["stream", "display_data", "execute_result"] and kinds[1][-2:] == [[], []]
    last = made[1][1]["cells"][-3]["outputs"][-1]["data"]
    assert last["text/markdown"] == ["*3*"] and made[1][1]["cells"][-3]["outputs"][0]["text"] == ["said\n"]


def test_what_fails_is_kept_with_its_cell(lab, capsys):
    write_notebook(lab.nbs, "1_a/01_bad", "y = 2", "def f():\n    return 1 / 0\nf()", "z = 3")
    write_notebook(lab.nbs, "1_a/02_gone", "import os\nos._exit(3)")
    write_notebook(lab.nbs, "1_a/03_exits", "raise SystemExit('no more')")
    assert lab.run(plain=True) == 1
    shown = capsys.readouterr().out
    assert "01_bad failed: ZeroDivisionError: division by zero" in shown and "ended with exit code 3" in shown and "no more" in shown
    book = lab.read("failed/ci/1_a/01_bad.ipynb")
    assert errors(book) == ["ZeroDivisionError"] and "return 1 / 0" in "".join(book["cells"][-2]["outputs"][0]["traceback"])


TRAINS = """
import time
import torch
from functools import partial
from contrastive_nb.encoders import mlp_encoder
from contrastive_nb.objectives import info_nce
from contrastive_nb.pairs import two_views
from contrastive_nb.training import fit
def sample(generator):
    if not (Path({home!r}) / "quick").exists():
        time.sleep(0.05)
    (Path({home!r}) / "steps").open("a").write(".")
    return torch.randn(8, 5, generator=generator),
torch.manual_seed(0)
model = mlp_encoder(5, 3)
history = fit(model, sample, lambda m, x: two_views(m(x), m(x + 0.1)), partial(info_nce, temperature=0.5), steps={steps}, checkpoint=run.checkpoint("fit"), device="cpu")
(Path({home!r}) / "losses").write_text(repr(history.losses))
"""


@pytest.mark.slow
def test_slices_end_at_a_checkpoint_and_go_on(lab, tmp_path):
    steps, losses = tmp_path / "steps", tmp_path / "losses"
    write_notebook(lab.nbs, "1_a/01_train", TRAINS.format(home=str(tmp_path), steps=160))
    write_notebook(lab.nbs, "1_a/02_other", "1")
    calls = []
    for number in range(9):  # the steps alone take longer than the first slice; a busy machine may need several to begin
        minutes = str(0.12 * 1.5**number)
        calls.append(call(tmp_path, "--plain", "--minutes", minutes, "--jobs", "1", nbs=lab.nbs))
        if calls[-1].returncode == 0:
            break
        assert calls[-1].returncode == 130 and "the same command goes on" in calls[-1].stdout, calls[-1].stdout + calls[-1].stderr
    assert calls[-1].returncode == 0 and len(calls) > 1
    assert "1_a/02_other stopped: the minutes of this call were over" in calls[0].stdout
    sliced, taken = losses.read_text(), len(steps.read_text())
    assert 160 <= taken < 160 + len(calls)  # of each slice the step that was interrupted is done again, and no other
    (tmp_path / "quick").touch()
    assert call(tmp_path, "01_train", "--plain", nbs=lab.nbs).returncode == 0
    assert losses.read_text() == sliced


def test_a_page_that_catches_the_stop_ends_at_its_next_cell(lab, capsys):
    write_notebook(lab.nbs, "1_a/01_catches", "import time\ntry:\n    time.sleep(600)\nexcept KeyboardInterrupt:\n    pass", "1")
    assert lab.run(plain=True, minutes=0.1) == 130
    assert "1_a/01_catches stopped: the limit of 0.1 minutes was reached; the same command goes on" in capsys.readouterr().out
    assert not list((lab.build / "failed").rglob("*.ipynb"))


def test_plain_outputs_are_not_saved():
    told = CliRunner().invoke(cli.app, ["run", "--plain", "--profile", "laptop", "--save"])
    assert told.exit_code == 2 and "a plain run keeps no figures" in told.output and told.output.count("\n") == 1


def test_what_a_value_shows():
    class Rich:
        def __repr__(self):
            return "plain\ntext"

        def _repr_html_(self):
            return "<b>"

        def _repr_svg_(self):
            return None

    assert plain.bundle(Rich()) == {"text/plain": ["plain\n", "text"], "text/html": ["<b>"]}
    assert plain.bundle(Rich) == {"text/plain": [repr(Rich)]}


# --- the gpu path without a GPU -----------------------------------------------------------------------------------------


FALLS = {"0_foundations/04_training": 60}  # steps: the page asserts that its loss falls


def shrunk(page: str) -> dict:
    "The settings of a page's gpu profile at the sizes of ci and two steps: its seeds and its precision stay."
    small, full = profiles.settings("ci", page), profiles.settings("gpu", page)
    stays = ("device", "precision", "minutes", "seeds", "first_seed")
    sizes = {key: small[key] for key in full if key in small and key not in stays}
    steps = FALLS.get(page, 2)
    return sizes | {key: steps for key in sizes if key == "steps" or key.endswith("_steps")}


@pytest.mark.parametrize("page", ["1_objectives/12_soft_targets"])
def test_the_gpu_path_of_a_page_takes_two_steps_on_the_processor(page, tmp_path):
    walk(page, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("page", freshness.all_notebooks(ROOT / "nbs"))
def test_the_gpu_path_of_every_page_takes_two_steps_on_the_processor(page, tmp_path):
    walk(page, tmp_path)


def walk(page: str, home: Path) -> None:
    "bf16 where the page has it; in slices, of which the first is over before the page is."
    sizes = [word for key, value in shrunk(page).items() for word in ("--set", f"{key}={value}")]
    slices = 0
    while (
        done := call(home, page, "--plain", "--profile", "gpu", "--device", "cpu", *sizes, "--minutes", str(0.1 * 2**slices))
    ).returncode == 130:
        slices += 1
        assert slices < 9, done.stdout
    assert done.returncode == 0, done.stdout + done.stderr
    note = json.loads((home / "build" / "runs" / "gpu" / f"{page}.json").read_text(encoding="utf-8"))
    wanted = {record["id"] for record in map(json.loads, ledger_texts()) if record["notebook"] == page}
    assert set(note["claims"]) <= wanted and bool(note["claims"]) == bool(wanted)  # a set that is not at hand has no claim
    for path in (home / "build" / "claims" / "gpu").glob("*.json"):
        parameters = json.loads(path.read_text(encoding="utf-8"))["runs"]["gpu"]["parameters"]
        assert parameters["precision"] == profiles.settings("gpu", page)["precision"] and parameters["device"] == "cpu"
