"""The runner: a notebook that fails, one that hangs, runs that are killed, resumed, saved and refused."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from contrastive_nb import cli, files
from contrastive_nb.book import reports
from contrastive_nb.lab import freshness, jobs, outputs, processes, profiles, runner

nbformat = pytest.importorskip("nbformat")
psutil = pytest.importorskip("psutil")
pytest.importorskip("papermill")

PARAMETERS = 'profile = "ci"\nseed = 0\ndevice = "auto"'
OPEN = """from pathlib import Path
from contrastive_nb.lab import open_run
run = open_run({name!r}, profile, seed=seed, device=device)
run"""


def write_notebook(folder: Path, name: str, *cells: str, tagged: bool = True) -> Path:
    "A notebook of a parameters cell, a cell that opens the run, and these cells."
    book = nbformat.v4.new_notebook(metadata={"kernelspec": {"name": "python3", "language": "python", "display_name": "python3"}})
    sources = [PARAMETERS, OPEN.format(name=name), *cells]
    book.cells = [nbformat.v4.new_markdown_cell("# A page"), *map(nbformat.v4.new_code_cell, sources)]
    for number, cell in enumerate(book.cells):
        cell["id"] = f"cell{number}"
    if tagged:
        book.cells[1].metadata["tags"] = ["parameters"]
    path = folder / f"{name}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(book, path)
    return path


class Lab:
    "A folder that stands for nbs/, one for build/ and one for the ledger."

    def __init__(self, home: Path):
        self.home, self.nbs, self.build, self.claims = home, home / "nbs", home / "build", home / "claims"
        self.nbs.mkdir()
        self.claims.mkdir()

    def run(self, *names: str, **options) -> int:
        outcome = runner.run(runner.Request(list(names), folder=self.nbs, build=self.build, claims=self.claims, **options))
        print(reports.outcome_text(outcome))
        return outcome.code

    def start(self, *arguments: str) -> subprocess.Popen:
        "The command line in a process of its own."
        env = os.environ | {files.NOTEBOOKS: str(self.nbs), files.BUILD: str(self.build)}
        command = [sys.executable, "-m", "contrastive_nb", "run", *arguments]
        return subprocess.Popen(command, env=env, cwd=self.home, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def read(self, where: str) -> dict:
        return json.loads((self.build / where).read_text(encoding="utf-8"))

    def pids(self) -> list[int]:
        "Processes that the notebooks wrote down."
        return [int(line) for path in self.home.glob("*.pid") for line in path.read_text().split()]


@pytest.fixture
def lab(tmp_path):
    lab = Lab(tmp_path)
    yield lab
    for pid in lab.pids():
        if psutil.pid_exists(pid):
            psutil.Process(pid).kill()


def wait_for(condition, seconds: float = 60) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end and not condition():
        time.sleep(0.1)
    return bool(condition())


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def errors(book: dict) -> list[str]:
    return [out["ename"] for cell in book["cells"] for out in cell.get("outputs", []) if out["output_type"] == "error"]


def note_pid(home: Path, name: str) -> str:
    return f"import os\n_ = open({str(home / name)!r}, 'a').write(f'{{os.getpid()}} ')"


def test_good_failing_killed_and_untagged_notebooks(lab, capsys):
    write_notebook(lab.nbs, "1_a/01_good", "import sys, os\n(sys.executable, os.getcwd(), os.environ['OMP_NUM_THREADS'])", "!echo 7")
    write_notebook(lab.nbs, "1_a/02_bad", "'before'", "int('seven')", "'after'")
    kill = "import signal, time\nos.kill(os.getppid(), signal.SIGKILL); time.sleep(600)"
    write_notebook(lab.nbs, "2_b/01_killed", note_pid(lab.home, "k.pid"), kill)
    write_notebook(lab.nbs, "2_b/02_untagged", "1", tagged=False)
    write_notebook(lab.nbs, "_drafts/03_draft", "1 / 0")
    assert lab.run() == 1
    shown = capsys.readouterr().out

    good = lab.read("runs/ci/1_a/01_good.ipynb")
    assert f"{sys.executable}" in str(good["cells"]) and str(lab.nbs / "1_a") in str(good["cells"])
    assert good["metadata"]["contrastive_nb"] == {"profile": "ci", "code": freshness.of_notebook(lab.nbs / "1_a/01_good.ipynb", "ci")}
    assert "papermill" not in json.dumps(good["metadata"]) and all(set(cell["metadata"]) <= {"tags"} for cell in good["cells"])
    assert lab.read("runs/ci/1_a/01_good.json")["memory"] > 20

    bad = lab.read("failed/ci/1_a/02_bad.ipynb")
    assert errors(bad) == ["ValueError"] and "'before'" in json.dumps(bad["cells"])
    assert "invalid literal" in shown and "failed/ci/1_a/02_bad.ipynb" in shown
    assert not (lab.build / "runs/ci/1_a/02_bad.ipynb").exists()

    assert "killed by SIGKILL while cell 5 ran: import signal, time" in shown
    assert errors(lab.read("failed/ci/2_b/01_killed.ipynb")) == ["Stopped"]
    assert lab.pids() and all(gone(pid) for pid in lab.pids())

    assert "02_untagged.ipynb: no cell is tagged 'parameters'" in shown
    assert "draft" not in shown
    assert [line.split()[1] for line in shown.splitlines()[1:5]] == ["ok", "failed", "failed", "failed"]
    assert not list(lab.build.rglob("*.running*")) and not list(lab.build.rglob("*.part"))


def test_a_hanging_notebook_is_ended_with_all_that_it_started(lab, capsys):
    sleeper = "import subprocess, time\nother = subprocess.Popen(['sleep', '600'], start_new_session=True)"
    note = f"_ = open({str(lab.home / 'h.pid')!r}, 'a').write(f'{{os.getpid()}} {{other.pid}}')"
    write_notebook(lab.nbs, "1_a/01_hang", f"import os\n{sleeper}\n{note}", "while True: pass")
    assert lab.run("hang", minutes=0.04) == 1
    shown = capsys.readouterr().out
    assert "01_hang  timeout" in shown and "the limit of 0.04 minutes was reached while cell 5 ran: while True: pass" in shown
    assert errors(lab.read("failed/ci/1_a/01_hang.ipynb")) == ["Timeout"]
    assert len(lab.pids()) == 2 and wait_for(lambda: all(gone(pid) for pid in lab.pids()), 5)


STOPS = """
log, go = Path({home!r}) / "computed", Path({home!r}) / "go"
def compute():
    _ = log.open("a").write("x")
    return [1, 2]
value = run.once("costly thing", compute)
"""
WAITS = """
import os, time
_ = Path({home!r}, "w.pid").open("a").write(f"{{os.getpid()}} ")
while not go.exists(): time.sleep(0.05)
"""


def test_killed_runs_leave_nothing_behind_and_are_resumed(lab, capsys):
    path = write_notebook(lab.nbs, "1_a/01_long", STOPS.format(home=str(lab.home)), WAITS.format(home=str(lab.home)), "value")
    for number, (how, resume) in enumerate([(signal.SIGKILL, []), (signal.SIGTERM, ["--resume"])], start=1):
        process = lab.start("long", *resume)
        assert wait_for(lambda number=number: len(lab.pids()) == number), process.communicate(timeout=5)[0]
        process.send_signal(how)
        said, _ = process.communicate(timeout=30)
        assert process.returncode == (-9 if how == signal.SIGKILL else 130)
        assert wait_for(lambda: all(gone(pid) for pid in lab.pids()), 15)
    assert "stopped" in said and "Traceback" not in said
    (lab.home / "go").touch()
    assert lab.run("long", resume=True) == 0
    assert (lab.home / "computed").read_text() == "x"  # one computation in three runs
    assert "[1, 2]" in json.dumps(lab.read("runs/ci/1_a/01_long.ipynb"))

    capsys.readouterr()
    assert lab.run("long", resume=True) == 0
    assert "skipped, unchanged" in capsys.readouterr().out
    options = dict(notebooks=lab.nbs, build=lab.build)
    assert jobs.plan(["1_a/01_long"], "ci", **options)[0].finished()
    assert not jobs.plan(["1_a/01_long"], "ci", overrides={"steps": 3}, **options)[0].finished()
    assert not jobs.plan(["1_a/01_long"], "ci", device="cpu", **options)[0].finished()
    path.write_text(path.read_text().replace("return [1, 2]", "return  [1, 2]  # said differently"))
    assert jobs.plan(["1_a/01_long"], "ci", **options)[0].finished()
    path.write_text(path.read_text().replace("return  [1, 2]", "return [1, 3]"))
    assert not jobs.plan(["1_a/01_long"], "ci", **options)[0].finished()


CLAIM = """
from contrastive_nb.lab import claims
claim = claims.Claim("T01-mechanism-two", "T01", "1_a/01_claim", "mechanism", "Two is more than one.", "count", "one", "two", "higher", 0.5)
_ = claims.record(claim, claims.judge(claim, [1.0], [2.0]), run)
"""


def test_saving_puts_back_outputs_and_records(lab, capsys):
    drawing = 'from IPython.display import SVG\nSVG(\'<svg xmlns="http://www.w3.org/2000/svg"><path d="M 1.23456 2"/></svg>\')'
    path = write_notebook(lab.nbs, "1_a/01_claim", CLAIM, drawing, "run.steps")
    before = json.loads(path.read_text())
    assert freshness.stale_notebooks("laptop", lab.nbs, lab.claims) == ["1_a/01_claim"]
    assert lab.run(profile="laptop", save=True, stale=True) == 0
    shown = capsys.readouterr().out
    assert "T01-mechanism-two  1 [1, 1]" in shown and shown.rstrip().endswith("reproduced")
    after = json.loads(path.read_text())
    kept = [[(c["id"], c["source"], c["metadata"]) for c in book["cells"]] for book in (before, after)]
    assert kept[0] == kept[1]
    code = freshness.of_notebook(path, "laptop")
    made = {"profile": "laptop", "code": code, "outputs": outputs.digest(after, "laptop")}
    assert after["metadata"] == before["metadata"] | {"contrastive_nb": made} and outputs.faults(lab.nbs) == []
    assert str(profiles.settings("laptop")["steps"]) in str(after["cells"][-1]["outputs"])
    assert 'd="M 1.23 2"' in "".join(after["cells"][-2]["outputs"][0]["data"]["image/svg+xml"])

    record = json.loads((lab.claims / "T01-mechanism-two.json").read_text())
    assert record["runs"]["laptop"]["verdict"] == "reproduced" and list(record["runs"]) == ["laptop"]
    assert record["runs"]["laptop"]["code"] == code
    assert freshness.stale(lab.nbs, lab.claims) == []
    assert lab.run(profile="laptop", save=True, stale=True) == 0 and "no notebook is stale" in capsys.readouterr().out

    saved = path.read_bytes()
    clean = pytest.importorskip("nbdev.clean")
    clean.process_write("", clean._nbdev_clean, path)
    assert path.read_bytes() == saved

    assert lab.run(profile="gpu", device="cpu", save=True) == 0  # records alone: the outputs are laptop's
    assert path.read_bytes() == saved
    runs = json.loads((lab.claims / "T01-mechanism-two.json").read_text())["runs"]
    assert list(runs) == ["laptop", "gpu"]

    path.write_text(path.read_text().replace("run.steps", "run.steps + 1"))
    assert [what for what, _ in freshness.stale(lab.nbs, lab.claims)] == [
        "1_a/01_claim", "claim T01-mechanism-two (laptop)", "claim T01-mechanism-two (gpu)"]  # fmt: skip


TRAINS = """
import os, signal
import torch
from contrastive_nb.encoders import mlp_encoder
from contrastive_nb.objectives import info_nce
from contrastive_nb.pairs import two_views
from contrastive_nb.training import fit
calls, first = [], not Path({home!r}, "killed").exists()
def sample(generator):
    calls.append(1)
    if first and len(calls) == 3:
        Path({home!r}, "killed").touch()
        os.kill(os.getppid(), signal.SIGKILL)
        signal.pause()
    x = torch.rand(8, 16, generator=generator)
    return x, x + 0.1
"""
FITS = """
torch.manual_seed(0)
model = mlp_encoder(16, dim=8, hidden=16)
build = lambda model, a, b: two_views(model(a), model(b))
loss = lambda *pairs: info_nce(*pairs, temperature=0.5)
history = fit(model, sample, build, loss, steps=run.steps, device=run.device, precision=run.precision,
              checkpoint=run.checkpoint("tiny"), save_every=1)
{{"steps": history.steps, "from": history.resumed_from, "losses": len(history.losses), "precision": run.precision, "device": run.device}}
"""


@pytest.mark.slow
def test_the_gpu_profile_driven_without_a_gpu_killed_and_resumed(lab, capsys):
    pytest.importorskip("contrastive_nb.training", reason="the page about training is not there")
    write_notebook(lab.nbs, "1_a/01_train", TRAINS.format(home=str(lab.home)), FITS.format())
    options = dict(profile="gpu", device="cpu", set=["steps=4"])
    assert lab.run("train", **options) == 1
    assert "killed by SIGKILL" in capsys.readouterr().out
    assert lab.run("train", resume=True, **options) == 0
    shown = json.dumps(lab.read("runs/gpu/1_a/01_train.ipynb"))
    assert "{'steps': 4, 'from': 2, 'losses': 4, 'precision': 'bf16', 'device': 'cpu'}" in shown
    assert lab.read("runs/gpu/1_a/01_train.json")["overrides"] == {"steps": 4}


def said(*arguments: str) -> tuple[int, str]:
    "Exit code and output of the command line, which must be one line for bad input."
    result = CliRunner().invoke(cli.app, list(arguments))
    return result.exit_code, result.output


@pytest.mark.parametrize(
    "arguments, part",
    [
        (["run", "--save"], "--save: a ci run is too small"),
        (["run", "--save", "--profile", "laptop", "--set", "steps=3"], "--save: a run changed with --set"),
        (["run", "no_such_page"], "no_such_page: no notebook"),
        (["run", "0"], "0: could be 1_a/01_one, 1_a/02_two; say more"),
        (["run", "--profile", "big"], "profile: got 'big', settings.ini has ci, laptop, gpu"),
        (["run", "--set", "stepps=3"], "--set: 'stepps' is no setting of profile ci"),
        (["run", "--set", "steps"], "--set: got 'steps', want key=value"),
        (["run", "--set", "batch_size=-1"], "--set batch_size: got -1, want a whole number above 0"),
        (["run", "--device", "tpu"], "--device: got 'tpu'"),
        (["run", "--jobs", "0"], "--jobs: got 0"),
        (["run", "--minutes", "0"], "--minutes: got 0"),
    ],
)
def test_bad_input_is_refused_in_one_line(lab, monkeypatch, arguments, part):
    write_notebook(lab.nbs, "1_a/01_one", "1")
    write_notebook(lab.nbs, "1_a/02_two", "2")
    monkeypatch.setenv(files.NOTEBOOKS, str(lab.nbs))
    monkeypatch.setenv(files.BUILD, str(lab.build))
    code, output = said(*arguments)
    assert code == 2 and part in output and output.count("\n") == 1, output
    assert not lab.build.exists()


def test_gpu_profile_without_a_gpu_says_so_in_one_line(lab, monkeypatch):
    import torch

    if torch.cuda.is_available():
        pytest.skip("a GPU is here")
    write_notebook(lab.nbs, "1_a/01_one", "1")
    monkeypatch.setenv(files.NOTEBOOKS, str(lab.nbs))
    code, output = said("run", "--profile", "gpu")
    assert code == 2 and "profile gpu wants 'cuda'" in output and output.count("\n") == 1
    code, output = said("run", "--profile", "gpu", "--device", "cuda:3")
    assert code == 2 and "'cuda:3'" in output and output.count("\n") == 1


def test_outside_a_checkout_run_and_stale_say_what_to_do(monkeypatch):
    monkeypatch.setattr(files, "checkout", lambda: None)
    monkeypatch.delenv(files.NOTEBOOKS, raising=False)
    for command in ("run", "stale"):
        code, output = said(command)
        assert code == 2 and "clone it" in output and output.count("\n") == 1


def test_names_parts_and_folders_choose_notebooks(lab):
    for name in ("index", "1_a/01_pairs", "1_a/02_pairs_more", "2_b/01_pears"):
        write_notebook(lab.nbs, name)
    every = ["1_a/01_pairs", "1_a/02_pairs_more", "2_b/01_pears", "index"]
    assert jobs.choose([], lab.nbs) == every
    assert jobs.choose(["01_pairs"], lab.nbs) == ["1_a/01_pairs"]
    assert jobs.choose(["1_a"], lab.nbs) == every[:2]
    assert jobs.choose(["pears", "index", "2_b/01_pears"], lab.nbs) == ["2_b/01_pears", "index"]
    assert jobs.choose([str(lab.nbs / "index.ipynb")], lab.nbs) == ["index"]


def test_two_runners_do_not_run_one_notebook_at_once(lab):
    write_notebook(lab.nbs, "1_a/01_one", "1")
    first, second = (jobs.plan(["1_a/01_one"], "ci", notebooks=lab.nbs, build=lab.build)[0] for _ in range(2))
    assert processes._take(first) and not processes._take(second)
    assert runner.execute([second]) and (second.status, second.seconds) == ("failed", None)
    assert second.message == "another run of it in profile ci is under way"
    processes.release(first)
    assert processes._take(second)
    processes.release(second)


def test_a_runner_that_is_killed_gives_its_notebooks_back(lab):
    write_notebook(lab.nbs, "1_a/01_one", "1")
    code = f"""
import sys
from pathlib import Path
from contrastive_nb.lab import jobs, processes
(job,) = jobs.plan(["1_a/01_one"], "ci", notebooks=Path({str(lab.nbs)!r}), build=Path({str(lab.build)!r}))
print(processes._take(job), flush=True)
sys.stdin.read()
"""
    other = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    (job,) = jobs.plan(["1_a/01_one"], "ci", notebooks=lab.nbs, build=lab.build)
    with other:
        assert other.stdout.readline() == "True\n" and not processes._take(job)
        other.kill()
    assert processes._take(job)
    processes.release(job)


def test_the_ledger_and_the_version_are_printed(monkeypatch, lab):
    from contrastive_nb import __version__
    from contrastive_nb.lab import claims

    record = {"id": "T01-x", "kind": "outcome", "metric": "auc", "formula": "reconstructed",
              "runs": {"gpu": {"effect": 0.01234567, "interval": [0.001, 0.02], "verdict": "reproduced"}}}  # fmt: skip
    monkeypatch.setattr(claims, "load", lambda: [record])
    code, output = said("claims")
    assert code == 0 and "T01-x*" in output and "0.01235 [0.001, 0.02]" in output and "not attempted  reproduced" in output
    assert json.loads(said("claims", "--json")[1]) == [record]
    assert said("--version") == (0, f"contrastive_nb {__version__}\n")


def test_the_command_line_starts_fast():
    heavy = ("papermill", "scipy", "matplotlib", "sklearn", "nbdev")
    code = f"import sys, contrastive_nb.cli; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
