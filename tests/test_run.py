"""The runner: a notebook that fails, one that hangs, runs that are killed, resumed, saved and refused."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from commands import CliRunner
from test_ledger import claim

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
    assert lab.run("hang", minutes=0.1) == 1
    shown = capsys.readouterr().out
    assert "01_hang  timeout" in shown and "the limit of 0.1 minutes was reached while cell 5 ran: while True: pass" in shown
    assert errors(lab.read("failed/ci/1_a/01_hang.ipynb")) == ["Timeout"]
    assert len(lab.pids()) == 2 and wait_for(lambda: all(gone(pid) for pid in lab.pids()), 5)


STAYS = pytest.mark.skipif(sys.platform != "linux", reason="only Linux gives orphans to the process that watches")
ENDS = {
    "exit": ("import os\nos._exit(3)", "its kernel ended with exit code 3 while cell 5 ran: import os"),
    "fault": ("import faulthandler\nfaulthandler._sigsegv()", "its kernel was killed by SIGSEGV while cell 5 ran: import faulthandler"),
    "memory": (
        "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)",
        "its kernel was killed by SIGKILL while cell 5 ran: import os, signal",
    ),
    "good_exit": ("import sys\nsys.exit(0)", "SystemExit: cell 5 ended the notebook, which has code cells up to cell 6"),
    "exit_at_last": ("'more'", "SystemExit: cell 6 ended the notebook"),
    "bad_exit": ("import sys\nsys.exit(3)", "SystemExit: 3"),
}


@pytest.mark.parametrize(
    "stay", [pytest.param(False, marks=pytest.mark.slow), pytest.param(True, marks=STAYS)], ids=["a worker a job", "workers that stay"]
)
def test_a_notebook_that_ends_early_says_in_which_cell_and_how(lab, stay):
    for name, (source, _) in ENDS.items():
        write_notebook(lab.nbs, f"1_a/{name}", "'before'", source, "import sys; sys.exit()" if name == "exit_at_last" else "'after'")
    planned = jobs.plan([f"1_a/{name}" for name in ENDS], "ci", notebooks=lab.nbs, build=lab.build)
    assert runner.execute(planned, stay=stay)
    for job, (name, (_, said)) in zip(planned, ENDS.items(), strict=True):
        assert job.status == "failed" and said in job.message, (name, job.status, job.message)
        kept = lab.read(f"failed/ci/1_a/{name}.ipynb")
        if name in ("exit", "fault", "memory"):
            assert errors(kept) == ["Stopped"] and said in kept["cells"][5]["outputs"][-1]["evalue"]
        assert len(errors(kept)) == 1 and "'before'" in json.dumps(kept["cells"]) and not job.output.exists()


def test_a_notebook_that_quits_in_its_last_cell_ran_to_its_end(lab):
    write_notebook(lab.nbs, "1_a/01_quit", "'before'", "quit()")
    assert lab.run() == 0


def test_a_timeout_names_its_cell_even_after_an_error_that_was_wanted(lab, capsys):
    path = write_notebook(lab.nbs, "1_a/01_slow", "1 / 0", "import time\ntime.sleep(600)")
    book = nbformat.read(path, 4)
    book.cells[3].metadata["tags"] = ["raises-exception"]
    nbformat.write(book, path)
    assert lab.run(minutes=0.1) == 1  # time to reach that cell on a busy machine
    assert "was reached while cell 5 ran: import time" in capsys.readouterr().out
    assert errors(lab.read("failed/ci/1_a/01_slow.ipynb")) == ["ZeroDivisionError", "Timeout"]


def test_a_run_that_ends_before_its_first_cell_says_so_in_the_kept_notebook(lab, monkeypatch):
    monkeypatch.setattr(processes, "STARTUP", 0)
    write_notebook(lab.nbs, "1_a/01_late", "1")
    (job,) = jobs.plan(["1_a/01_late"], "ci", notebooks=lab.nbs, build=lab.build, minutes=0.001)
    runner.execute([job])
    said = "the limit of 0.001 minutes was reached before cell 1 began: profile = "
    assert job.status == "timeout" and said in job.message
    assert errors(lab.read("failed/ci/1_a/01_late.ipynb")) == ["Timeout"]


HIDES = """
import os, signal, subprocess, time
def hide(home):
    "Two processes that know nothing of the run: one of them a child of this kernel, the other nobody's."
    child = subprocess.Popen(["sleep", "600"], env={{}}, start_new_session=True).pid
    orphan = subprocess.run(["/bin/sh", "-c", "setsid sleep 600 > /dev/null 2>&1 & echo $!"], env={{"PATH": os.defpath}}, capture_output=True, text=True)
    _ = open(home, "a").write(f"{{child}} {{orphan.stdout.strip()}} ")
hide({home!r})
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux gives orphans to the process that watches")
def test_processes_that_hide_end_with_their_notebook_however_it_ends(lab, capsys):
    hide = HIDES.format(home=str(lab.home / "h.pid"))
    for name, last in {
        "good": "1",
        "bad": "1 / 0",
        "hang": "while True: pass",
        "kill": "os.kill(os.getppid(), signal.SIGKILL); time.sleep(600)",
    }.items():
        write_notebook(lab.nbs, f"1_a/{name}", hide, last)
    assert lab.run("good") == 0 and lab.run("bad") == 1 and lab.run("hang", minutes=0.1) == 1 and lab.run("kill") == 1
    assert len(lab.pids()) == 8 and all(gone(pid) for pid in lab.pids())
    assert "its worker was killed by SIGKILL" in capsys.readouterr().out
    runs = lab.start("hang")
    assert wait_for(lambda: len(lab.pids()) == 10) and not any(gone(pid) for pid in lab.pids()[8:])
    runs.kill()  # the runner itself
    runs.communicate()
    assert wait_for(lambda: all(gone(pid) for pid in lab.pids()), 15)


TOLD = """
import os, sys
_ = open({home!r}, "a").write(f"{{os.getppid()}} ")
before = "mark" in dir(sys), os.environ.get("MARK"), os.getcwd()
sys.mark, os.environ["MARK"] = 1, "1"
os.chdir("/")
before, "torch" in sys.modules, "contrastive_nb.lab.runs" in sys.modules
"""


@STAYS
def test_workers_that_stay_begin_each_job_afresh_and_end_what_it_left(lab):
    hide = HIDES.format(home=str(lab.home / "h.pid"))
    ends = {
        "1_first": TOLD.format(home=str(lab.home / "none")),
        "2_good": "1",
        "3_killed": "os.kill(os.getppid(), signal.SIGKILL); time.sleep(600)",  # the worker below the one that stays
        "4_again": TOLD.format(home=str(lab.home / "none")),
        "5_hang": "while True: pass",  # ends the one that stays
        "6_last": "print('to the log', file=open('/proc/self/fd/2', 'w'))",
    }
    for name, last in ends.items():
        write_notebook(lab.nbs, f"1_a/{name}", hide, last)
    planned = jobs.plan([f"1_a/{name}" for name in ends], "ci", notebooks=lab.nbs, build=lab.build, minutes=0.15)
    assert runner.execute(planned, parallel=1, stay=True)
    assert [job.status for job in planned] == ["ok", "ok", "failed", "ok", "timeout", "ok"]
    assert planned[2].message.startswith("its worker was killed by SIGKILL while cell 5 ran: os.kill(")
    assert [planned[i].process for i in range(5)] == [planned[0].process] * 5 != [planned[5].process] * 5
    assert all(planned[i].process.poll() is not None for i in (0, 5))  # no worker stays longer than the runner wants it
    assert len(lab.pids()) == 12 and all(gone(pid) for pid in lab.pids())
    for name in ("1_first", "4_again"):
        told = "".join(lab.read(f"runs/ci/1_a/{name}.ipynb")["cells"][5]["outputs"][0]["data"]["text/plain"])
        assert " ".join(told.split()) == f"((False, None, '{lab.nbs / '1_a'}'), True, True)"
    assert len({*(lab.home / "none").read_text().split()}) == 2  # a worker of its own each, below the one that stays


@STAYS
def test_workers_that_stay_end_with_a_runner_that_is_killed(lab):
    hide = HIDES.format(home=str(lab.home / "h.pid"))
    for name in ("1", "2", "3", "4"):  # more than pays for one place
        write_notebook(lab.nbs, f"1_a/{name}", hide, "while True: pass")
    runs = lab.start("1_a", "--jobs", "1")
    assert wait_for(lambda: len(lab.pids()) == 2) and not any(gone(pid) for pid in lab.pids())
    (lane,) = psutil.Process(runs.pid).children()
    assert lane.cmdline()[-1] == "lane"
    runs.kill()
    runs.communicate()
    assert wait_for(lambda: all(gone(pid) for pid in [*lab.pids(), lane.pid]), 15)


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
        assert process.returncode == (-9 if how == signal.SIGKILL else 130), said
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


@pytest.mark.slow
def test_many_interruptions_leave_a_tidy_folder_and_the_line_to_go_on(lab):
    write_notebook(lab.nbs, "1_a/01_long", STOPS.format(home=str(lab.home)), WAITS.format(home=str(lab.home)), "value")
    write_notebook(lab.nbs, "1_a/02_next", "1")
    process = lab.start("1_a", "--jobs", "1", "--set", "steps=3")
    assert wait_for(lambda: len(lab.pids()) == 1, 300), process.communicate(timeout=5)[0]
    while process.poll() is None:  # an impatient person
        process.send_signal(signal.SIGINT)
        time.sleep(0.02)
    said, _ = process.communicate(timeout=30)
    assert process.returncode == 130 and "Traceback" not in said
    assert [line.split()[:2] for line in said.splitlines() if line.startswith("1_a")] == [
        ["1_a/01_long", "stopped"],
        ["1_a/02_next", "waiting"],
    ]
    assert all(gone(pid) for pid in lab.pids())
    assert not [path for path in lab.build.rglob("*") if ".running" in path.name or path.suffix in (".log", ".part")]
    line = said.rstrip().splitlines()[-1]
    assert line == "interrupted; to go on: contrastive-nb run 1_a --profile ci --device auto --jobs=1 --set steps=3 --resume"
    (lab.home / "go").touch()
    again = lab.start(*shlex.split(line.partition("contrastive-nb run ")[2]))
    said, _ = again.communicate(timeout=300)
    assert again.returncode == 0 and (lab.home / "computed").read_text() == "x", said


def test_a_signal_while_the_runner_tidies_is_only_remembered():
    with processes.interruptible() as stop:
        for name in (signal.SIGINT, signal.SIGTERM, signal.SIGINT):
            os.kill(os.getpid(), name)
        assert wait_for(stop.is_set, 5)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


SAYS = """
import os, signal
from contrastive_nb.lab import processes
with processes.interruptible() as stop:
    print("last line", flush=True)
    {ends}
os.kill(os.getpid(), signal.SIGINT)
"""


@pytest.mark.parametrize("ends, breaks", [("processes.last_line_said()", False), ("pass", True)])
def test_a_signal_behind_the_last_line_takes_nothing(ends, breaks):
    done = subprocess.run([sys.executable, "-c", SAYS.format(ends=ends)], capture_output=True, text=True)
    assert done.stdout == "last line\n" and (done.returncode != 0) == breaks == ("Traceback" in done.stderr)


CLAIM = """
from contrastive_nb.lab import claims
claim = claims.Claim("T01-mechanism-two", "T01", "1_a/01_claim", "mechanism", "Two is more than one.", "count", "one", "two", "higher", 0.5)
_ = claims.record(claim, claims.judge(claim, [1.0], [2.0]), run)
"""


def said_by(lab, capsys, profile: str) -> str:
    "What a run of a page with a claim leaves: the terminal's text, the page's outputs, the record."
    assert lab.run(profile=profile) == 0
    page = lab.read(f"runs/{profile}/1_a/01_claim.ipynb")
    outputs = json.dumps([cell.get("outputs") for cell in page["cells"]])
    return "\n".join([capsys.readouterr().out, outputs, json.dumps(lab.read(f"claims/{profile}/T01-mechanism-two.json")["runs"])])


def test_a_run_at_ci_prints_effects_and_no_verdict(lab, capsys):
    write_notebook(lab.nbs, "1_a/01_claim", CLAIM, "verdict = claims.judge(claim, [1.0], [2.0], run=run)\nverdict", "print(verdict)")
    words = ("confirmed", "in the claimed direction", "no effect of that size", "reversed", "not resolved", "not testable here")
    at_ci = said_by(lab, capsys, "ci")
    assert not [word for word in words if word in at_ci.lower()]
    assert "1 [1, 1]" in at_ci and "effect 1" in at_ci and "not recorded" in at_ci and '"verdict": null' in at_ci
    assert "confirmed" in said_by(lab, capsys, "laptop").lower()  # the same page and another size


@pytest.mark.slow
def test_beside_an_effect_stands_the_verdict_that_is_recorded(lab, capsys):
    write_notebook(lab.nbs, "1_a/01_claim", CLAIM)
    lab.run(profile="laptop")
    kept = lab.read("claims/laptop/T01-mechanism-two.json")
    kept["runs"]["laptop"]["verdict"] = "reproduced"
    del kept["schema"]  # of an older rule: judged again
    (lab.claims / "T01-mechanism-two.json").write_text(json.dumps(kept))
    capsys.readouterr()
    lab.run(profile="ci")
    shown = capsys.readouterr().out
    assert "recorded laptop verdict" in shown and "verdict now" not in shown
    assert shown.split()[-5:] == ["T01-mechanism-two", "1", "[1,", "1]", "confirmed"]
    (lab.claims / "T01-mechanism-two.json").write_text("{")
    lab.run(profile="ci")
    assert "a record that cannot be read" in capsys.readouterr().out


def test_a_claim_that_is_set_aside_is_reported_and_kept(lab, capsys):
    outcome = CLAIM.replace("mechanism", "outcome").replace("_ = claims.record(claim, claims.judge(claim, [1.0], [2.0]), run)", "")
    write_notebook(lab.nbs, "1_a/01_claim", outcome, "_ = claims.set_aside(claim, 'no bench sees it', run)")
    assert lab.run(profile="ci") == 0
    shown = capsys.readouterr().out
    assert "T01-outcome-two set aside" in shown and "not recorded" in shown
    assert lab.run(profile="laptop", save=True) == 0
    record = json.loads((lab.claims / "T01-outcome-two.json").read_text())
    assert (record["runs"], record["verdict"]) == ({}, "not testable here")
    lab.run(profile="ci")
    assert capsys.readouterr().out.rstrip().endswith("not testable here")


@pytest.mark.slow
def test_a_claim_that_is_set_aside_after_a_run_keeps_its_numbers_and_runs_no_more(lab, capsys):
    ran = CLAIM.replace("mechanism", "outcome").replace("claims.judge(claim, [1.0], [2.0])", "claims.judge(claim, [1.0] * 8, [2.0] * 8)")
    ran = ran.replace(", run)", ", run, seeds=range(8))")
    path = write_notebook(lab.nbs, "1_a/01_claim", ran)
    assert lab.run(profile="laptop", save=True) == 0
    stated = ran.partition("_ = claims.record")[0]
    assert stated != ran
    write_notebook(lab.nbs, "1_a/01_claim", stated, "_ = claims.set_aside(claim, 'no bench sees it', run)")
    assert lab.run(profile="laptop", save=True) == 0
    capsys.readouterr()
    (record,) = freshness.read_ledger(lab.claims)
    assert record["verdict"] == "not testable here" and record["runs"]["laptop"]["treatment"] == [2.0] * 8
    states = lambda: [found[1:] for found in freshness.states(freshness.read_ledger(lab.claims), lab.nbs)]
    assert states() == [("set aside", "current", "")] and freshness.stale_notebooks("laptop", lab.nbs, lab.claims) == []
    assert lab.run(profile="laptop", save=True, stale=True) == 0 and "no notebook is stale" in capsys.readouterr().out
    lab.run(profile="ci")
    assert capsys.readouterr().out.rstrip().endswith("not testable here")
    book = path.read_text()
    path.write_text(book.replace(record["statement"], "Other words."))
    assert states() == [("set aside", "stale", "1_a/01_claim does not state it in these words")]
    assert freshness.stale_notebooks("laptop", lab.nbs, lab.claims) == ["1_a/01_claim"]
    assert freshness.stale_notebooks("gpu", lab.nbs, lab.claims) == []
    assert freshness.stale_runs(lab.nbs, lab.claims) == {(record["id"], "set aside")}
    path.unlink()
    assert states() == [("set aside", "stale", "its page 1_a/01_claim is gone")]


def test_saving_puts_back_outputs_and_records(lab, capsys):
    drawing = 'from IPython.display import SVG\nSVG(\'<svg xmlns="http://www.w3.org/2000/svg"><path d="M 1.23456 2"/></svg>\')'
    path = write_notebook(lab.nbs, "1_a/01_claim", CLAIM, drawing, "run.steps")
    before = json.loads(path.read_text())
    assert freshness.stale_notebooks("laptop", lab.nbs, lab.claims) == ["1_a/01_claim"]
    assert lab.run(profile="laptop", save=True, stale=True) == 0
    shown = capsys.readouterr().out
    assert "T01-mechanism-two  1 [1, 1]" in shown and shown.rstrip().endswith("confirmed")
    after = json.loads(path.read_text())
    kept = [[(c["id"], c["source"], c["metadata"]) for c in book["cells"]] for book in (before, after)]
    assert kept[0] == kept[1]
    code = freshness.of_notebook(path, "laptop")
    made = {"profile": "laptop", "code": code, "outputs": outputs.digest(after, "laptop")}
    assert after["metadata"] == before["metadata"] | {"contrastive_nb": made} and outputs.faults(lab.nbs) == []
    assert str(profiles.settings("laptop")["steps"]) in str(after["cells"][-1]["outputs"])
    assert 'd="M 1.23 2"' in "".join(after["cells"][-2]["outputs"][0]["data"]["image/svg+xml"])

    record = json.loads((lab.claims / "T01-mechanism-two.json").read_text())
    assert record["runs"]["laptop"]["verdict"] == "confirmed" and list(record["runs"]) == ["laptop"]
    assert record["runs"]["laptop"]["code"] == code
    assert freshness.stale_runs(lab.nbs, lab.claims) == set()
    assert lab.run(profile="laptop", save=True, stale=True) == 0 and "no notebook is stale" in capsys.readouterr().out

    saved = path.read_bytes()
    clean = pytest.importorskip("nbdev.clean")
    clean.process_write("", clean._nbdev_clean, path)
    assert path.read_bytes() == saved

    assert lab.run(profile="gpu", device="cpu", save=True) == 0  # records alone: the outputs are laptop's
    assert path.read_bytes() == saved
    runs = json.loads((lab.claims / "T01-mechanism-two.json").read_text())["runs"]
    assert list(runs) == ["laptop", "gpu"]

    path.write_text(path.read_text().replace("run.steps", "run.steps + 1"))  # shown, and of no record
    assert freshness.stale_runs(lab.nbs, lab.claims) == set()
    path.write_text(path.read_text().replace("[1.0], [2.0]", "[1.0], [3.0]"))
    assert freshness.stale_runs(lab.nbs, lab.claims) == {("T01-mechanism-two", "laptop"), ("T01-mechanism-two", "gpu")}


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
        (["run", "--profile", "big"], "profile: got 'big', want one of ci, laptop, gpu"),
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


@pytest.mark.parametrize(
    "chapter, part",
    [
        ("[ci:01_one]\nsteps = 3\nsteps = 4\n", "option 'steps' in section 'ci:01_one' already exists"),
        ("[ci:01_one]\n[ci:01_one]\n", "section 'ci:01_one' already exists"),
        ("[ci:01_one]\nsteps\n", "parsing errors"),
        ("steps = 3\n", "no section headers"),
        ("[ci:01_none]\nsteps = 3\n", "[ci:01_none]: no notebook here is called '01_none'"),
        ("[ci]\nsteps = 3\n", "[ci]: no notebook here is called ''"),
        ("[gpu:01_one]\nstepps = 3\n", "[gpu:01_one]: got 'stepps', which 01_one never reads"),
    ],
)
def test_settings_that_nobody_reads_are_refused_by_name(lab, monkeypatch, chapter, part):
    write_notebook(lab.nbs, "1_a/01_one", "run.width")
    (lab.nbs / "1_a" / "settings.ini").write_text("[ci:01_one]\nwidth = 3\nfirst_seed = 4\n")
    assert len(jobs.plan(["1_a/01_one"], "ci", notebooks=lab.nbs, build=lab.build)) == 1
    (lab.nbs / "1_a" / "settings.ini").write_text(chapter)
    monkeypatch.setenv(files.NOTEBOOKS, str(lab.nbs))
    monkeypatch.setenv(files.BUILD, str(lab.build))
    code, output = said("run")
    assert code == 2 and part in output and str(lab.nbs / "1_a" / "settings.ini") in output and output.count("\n") == 1, output


def test_the_root_settings_know_their_keys(monkeypatch, tmp_path):
    text = files.shared("settings.ini").read_text(encoding="utf-8")
    monkeypatch.setattr(files, "shared", lambda name: tmp_path / name)
    (tmp_path / "settings.ini").write_text(text)
    jobs.check_settings(tmp_path / "chapter")
    for added, said in (
        ("stepps = 3\n", r"\[gpu\]: got 'stepps', want one of seeds"),
        ("[ci:01_x]\nsteps = 3\n", r"\[ci:01_x\]: what is a notebook's"),
    ):
        (tmp_path / "settings.ini").write_text(text + added)
        with pytest.raises(jobs.Refused, match=said):
            jobs.check_settings(tmp_path / "chapter")


BAD_REGISTRIES = {
    "cut": '{"a": ',
    "list": "[1]",
    "number": '{"a": 3}',
    "short": '{"a": {"kind": "x", "licence": "y"}}',
    "odd": '{"a": {"kind": "x", "licence": "y", "files": [{"file": "f", "sha256": 1, "bytes": 2}]}}',
    "missing": None,
}


@pytest.mark.parametrize("bad", BAD_REGISTRIES)
def test_a_registry_that_is_none_is_named_in_one_line(monkeypatch, tmp_path, bad):
    monkeypatch.setattr(files, "shared", lambda name: tmp_path / name)
    (tmp_path / "data").mkdir()
    if BAD_REGISTRIES[bad] is not None:
        (tmp_path / "data" / "registry.json").write_text(BAD_REGISTRIES[bad])
    for command in (["list"], ["verify"], ["verify", "a"], ["fetch", "a"]):
        code, output = said("data", *command)
        assert code == 2 and f"{tmp_path / 'data' / 'registry.json'}: is no registry" in output and output.count("\n") == 1, output


@pytest.mark.parametrize(
    "bad",
    [
        "[1, 2]",
        '{"id": "X"}',
        '{"id": "X", "notebook": "1_a/01_one", "runs": [1]}',
        '{"id": "X", "notebook": "1_a/01_one", "runs": {"ci": 1}}',
        "",
        None,
    ],
)
def test_a_record_that_is_none_is_named_in_one_line(monkeypatch, lab, bad):
    write_notebook(lab.nbs, "1_a/01_one", "1")
    (lab.nbs / "1_a" / "02_folder.ipynb").mkdir()  # is no notebook, and in nobody's way
    shared = files.shared
    monkeypatch.setattr(files, "shared", lambda name: lab.home if name == "data" else lab.claims if name == "data/claims" else shared(name))
    monkeypatch.setenv(files.NOTEBOOKS, str(lab.nbs))
    monkeypatch.setenv(files.BUILD, str(lab.build))
    path = lab.claims / "X.json"
    path.write_text(bad) if bad is not None else path.mkdir()
    for command in (["stale"], ["claims"], ["run", "--stale"]):
        code, output = said(*command)
        assert code == 2 and "X.json" in output and output.count("\n") == 1, output


def test_a_damaged_note_of_an_earlier_run_counts_for_nothing(lab):
    write_notebook(lab.nbs, "1_a/01_one", "1")
    assert lab.run() == 0
    (job,) = jobs.plan(["1_a/01_one"], "ci", notebooks=lab.nbs, build=lab.build)
    assert job.finished()
    for text in ("{", "[]", "{}"):
        job.note.write_text(text)
        assert job.finished() is None


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

    record = claim("S03-x", formula="reconstructed", size="gpu")
    monkeypatch.setattr(claims, "load", lambda: [record])
    code, output = said("claims")
    assert code == 0 and "S03-mechanism-x*" in output and "0.05 [0.0445, 0.0555]" in output
    assert json.loads(said("claims", "--json")[1]) == [record]
    monkeypatch.setattr(claims, "load", lambda: [])
    assert said("claims") == (0, "the ledger is empty: no claim has been recorded\n")
    assert said("--version") == (0, f"contrastive_nb {__version__}\n")


def test_the_command_line_starts_fast():
    heavy = ("papermill", "scipy", "matplotlib", "sklearn", "nbdev")
    code = f"import sys, contrastive_nb.cli; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
