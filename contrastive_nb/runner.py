"""Runs notebooks: each in its own processes, with limits, progress, memory and a verdict. Plain module: machinery.

`worker.py` executes one notebook with papermill. This module plans the runs, starts the workers, watches the clock,
ends what must end, keeps what failed where it can be opened, and puts outputs and records where they belong.
"""

import contextlib
import importlib.util
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from contrastive_nb import files, fingerprint, plots, profiles

SAVES = ("laptop", "gpu")
STARTUP = 180  # seconds that a kernel may need to start; a notebook's own minutes begin with its first cell
PARAMETERS = ("profile", "seed", "device")
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
_TAG = "CONTRASTIVE_NB_JOB"


class Refused(ValueError):
    "A request that cannot be met; its message is one line for a person."


class Interrupted(BaseException):
    "SIGTERM or Ctrl-C reached the runner."


# --- what to run ----------------------------------------------------------------------------------------------------


def choose(asked: Iterable[str], folder: Path) -> list[str]:
    "The notebooks that are meant: by name, by path, or by a part that only one name has; all of them when none is asked for."
    every, chosen = fingerprint.all_notebooks(folder), []
    for text in asked:
        path = Path(text)
        if path.suffix == ".ipynb" and path.is_file() and path.resolve().is_relative_to(folder.resolve()):
            found = [path.resolve().relative_to(folder.resolve()).with_suffix("").as_posix()]
        else:
            part = text.removesuffix(".ipynb").removeprefix("nbs/").strip("/")
            whole = [name for name in every if part in (name, name.rpartition("/")[2])]
            found = whole or [name for name in every if part in name]
        if not found:
            raise Refused(f"{text}: no notebook under {folder} is called so")
        if len(found) > 1 and not all(name.startswith(f"{part}/") for name in found):  # a folder means all that it holds
            raise Refused(f"{text}: could be {', '.join(found[:6])}{' ...' if len(found) > 6 else ''}; say more of the name")
        chosen += [name for name in found if name not in chosen]
    return chosen if asked else every


def parse_overrides(pairs: Iterable[str], profile: str, notebooks: Iterable[str]) -> dict:
    "`--set key=value` as a dict; every key must be one that the profile gives to one of the notebooks."
    known = set().union(*(profiles.settings(profile, name) for name in [None, *notebooks]))
    values = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise Refused(f"--set: got {pair!r}, want key=value")
        if key not in known:
            raise Refused(f"--set: {key!r} is no setting of profile {profile}; it has {', '.join(sorted(known))}")
        values[key] = profiles.literal(value)
        profiles.check_value(f"--set {key}", key, values[key])
    return values


def _source(cell) -> str:
    return "".join(cell["source"])


def check_parameters(book: dict) -> str | None:
    "What is wrong with a notebook's parameters cell, or `None`. (papermill itself would run on with the defaults.)"
    if not any(cell["cell_type"] == "code" and _source(cell).strip() for cell in book["cells"]):
        return None
    tagged = [cell for cell in book["cells"] if "parameters" in cell["metadata"].get("tags", [])]
    if len(tagged) != 1:
        count = f"{len(tagged)} cells are" if tagged else "no cell is"
        return f"{count} tagged 'parameters', want one that sets {', '.join(PARAMETERS)}"
    names = {line.partition("=")[0].strip() for line in _source(tagged[0]).splitlines()}
    missing = [name for name in PARAMETERS if name not in names]
    return f"its parameters cell does not set {', '.join(missing)}" if missing else None


@dataclass
class Job:
    "One notebook to run, and what came of it."

    notebook: str
    source: Path
    code: str
    parameters: dict  # profile, seed, device
    overrides: dict
    minutes: float
    folder: Path  # build
    status: str = "waiting"  # waiting, running, ok, skipped, failed, timeout
    message: str = ""
    seconds: float | None = None
    memory: float | None = None  # MB
    claims: list[str] = field(default_factory=list)
    cells: int = 0
    done: int = 0
    process: subprocess.Popen | None = None
    tag: str = ""
    deadline: float = 0.0
    began: float = 0.0
    started: bool = False  # its first cell
    lock: object = None  # an open file: no two runners run one notebook in one profile and one build folder

    @property
    def profile(self) -> str:
        return self.parameters["profile"]

    @property
    def output(self) -> Path:
        return self.folder / "runs" / self.profile / f"{self.notebook}.ipynb"

    @property
    def work(self) -> Path:
        return self.output.with_name(f"{self.output.stem}.running.ipynb")

    @property
    def log(self) -> Path:
        return self.output.with_suffix(".log")

    @property
    def note(self) -> Path:
        "What a finished run leaves beside its output; `--resume` and `--save` go by it."
        return self.output.with_suffix(".json")

    @property
    def failed(self) -> Path:
        return self.folder / "failed" / self.profile / f"{self.notebook}.ipynb"

    def records(self) -> list[Path]:
        "The records that this notebook wrote in this profile."
        found = sorted((self.folder / "claims" / self.profile).glob("*.json"))
        return [path for path in found if json.loads(path.read_text(encoding="utf-8")).get("notebook") == self.notebook]

    def finished(self) -> dict | None:
        "The note of an earlier run of the same code with the same parameters, if all that it made is still there."
        if not (self.note.is_file() and self.output.is_file()):
            return None
        note = json.loads(self.note.read_text(encoding="utf-8"))
        same = (note["code"], note["parameters"], note["overrides"]) == (self.code, self.parameters, self.overrides)
        return note if same and note["claims"] == [path.stem for path in self.records()] else None


def plan(
    names: Iterable[str],
    profile: str,
    *,
    notebooks: Path,
    build: Path,
    device: str = "auto",
    overrides: dict | None = None,
    minutes: float | None = None,
) -> list[Job]:
    "A job a notebook. Raises `ValueError` for an unknown profile or a value that cannot be."
    jobs = []
    for name in names:
        source = notebooks / f"{name}.ipynb"
        limit = minutes or (overrides or {}).get("minutes") or profiles.settings(profile, name)["minutes"]
        parameters = {"profile": profile, "seed": 0, "device": device}
        job = Job(name, source, fingerprint.of_notebook(source, profile), parameters, dict(overrides or {}), limit, build)
        book = fingerprint.read_book(source)
        job.cells = sum(cell["cell_type"] == "code" for cell in book["cells"]) + 1  # papermill adds one
        if wrong := check_parameters(book):
            job.status, job.message = "failed", f"{source}: {wrong}"
        jobs.append(job)
    return jobs


# --- processes ------------------------------------------------------------------------------------------------------


def kernel_home(build: Path) -> Path:
    "A folder with the one kernel that runs use: this very Python, without a history and without anybody's configuration."
    home = build / "jupyter"
    spec = home / "kernels" / "python3" / "kernel.json"
    argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}", "--HistoryManager.enabled=False"]
    text = json.dumps({"argv": argv, "display_name": "python3", "language": "python"}, indent=1)
    if not spec.is_file() or spec.read_text(encoding="utf-8") != text:
        spec.parent.mkdir(parents=True, exist_ok=True)
        part = spec.with_suffix(f".{os.getpid()}.part")
        part.write_text(text, encoding="utf-8")
        part.replace(spec)
    return home


def environment(job: Job, resume: bool) -> dict[str, str]:
    "What a notebook's processes find: one thread, a fixed hash seed, this Python first, no export, the run's settings."
    home = kernel_home(job.folder)
    env = dict(os.environ) | dict.fromkeys(THREADS, "1")
    env["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), env.get("PATH", "")])
    env |= {"PYTHONHASHSEED": "0", "IN_TEST": "1", _TAG: job.tag, "PYDEVD_DISABLE_FILE_VALIDATION": "1", "PYTHONUNBUFFERED": "1"}
    env |= {"IPYTHONDIR": str(home / "ipython"), "JUPYTER_CONFIG_DIR": str(home / "config"), "JUPYTER_DATA_DIR": str(home)}
    env |= {"JUPYTER_PATH": str(home), "JUPYTER_RUNTIME_DIR": str(home / "runtime"), "JUPYTER_PLATFORM_DIRS": "1"}
    notebooks = job.source.parents[job.notebook.count("/")]
    env |= {files.NOTEBOOKS: str(notebooks.resolve()), files.BUILD: str(job.folder.resolve())}
    env |= {profiles.OVERRIDES: json.dumps(job.overrides), profiles.RESUME: "1" if resume else "0"}
    return env


def end_processes(tag: str, process: subprocess.Popen | None) -> None:
    """Kill a job's worker, its kernel, and whatever they started, wherever it now hangs.

    A kernel leads a session of its own, and so may what a notebook starts, so a process group is not enough: every
    process of a job is known by the tag in its environment, even when the process between has died.
    """
    import psutil

    for _ in range(3):  # once more for what was born meanwhile
        found = []
        for other in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if other.pid != os.getpid() and other.environ().get(_TAG) == tag:
                    other.kill()
                    found.append(other)
        if not found:
            break
        psutil.wait_procs([other for other in found if process is None or other.pid != process.pid], timeout=5)
    if process is not None:
        if process.poll() is None:
            process.kill()
        process.wait()


def _take(job: Job) -> bool:
    "Take the notebook for this runner; the system gives it back when this process ends, however it ends."
    try:
        import fcntl
    except ImportError:  # Windows
        return True
    path = job.folder / "locks" / f"{job.profile}-{job.notebook.replace('/', '-')}"
    path.parent.mkdir(parents=True, exist_ok=True)
    job.lock = path.open("w")
    try:
        fcntl.flock(job.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        job.lock.close()
        return False
    return True


def _release(job: Job) -> None:
    if job.lock is not None:
        job.lock.close()


def _start(job: Job, resume: bool, events: queue.Queue) -> None:
    if not _take(job):
        job.status, job.message = "failed", f"another run of it in profile {job.profile} is under way"
        return
    job.tag, job.status, job.began = uuid.uuid4().hex, "running", time.monotonic()
    job.deadline = job.began + STARTUP + 60 * job.minutes
    job.output.parent.mkdir(parents=True, exist_ok=True)
    for left in [job.output, job.note, job.work, *job.records()]:
        left.unlink(missing_ok=True)
    command = [sys.executable, "-P", str(files.PACKAGE / "worker.py")]
    with job.log.open("wb") as log:
        job.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env=environment(job, resume), start_new_session=True
        )
    order = {"input": str(job.source.resolve()), "output": str(job.work.resolve()), "cwd": str(job.source.parent.resolve())}
    with contextlib.suppress(BrokenPipeError):
        job.process.stdin.write(json.dumps(order | {"parameters": job.parameters}).encode() + b"\n")
        job.process.stdin.flush()

    def listen():
        for line in job.process.stdout:
            with contextlib.suppress(ValueError):
                events.put((job, json.loads(line)))
        events.put((job, {"event": "closed"}))

    threading.Thread(target=listen, daemon=True).start()


def _memory_now(tag: str) -> float | None:
    "MB that the largest process of a job holds: all that can still be said of one that must be killed."
    import psutil

    most = 0
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(_TAG) == tag:
                most = max(most, process.memory_info().rss)
    return most / 2**20 or None


# --- how a job ends -------------------------------------------------------------------------------------------------


def _tidy(book: dict, keep_injected: bool = True) -> dict:
    "Take papermill's marks and all times out of a notebook, and the digits that nobody sees out of its figures."
    book["metadata"].pop("papermill", None)
    if not keep_injected:
        book["cells"] = [cell for cell in book["cells"] if "injected-parameters" not in cell["metadata"].get("tags", [])]
    for cell in book["cells"]:
        for key in ("papermill", "execution"):
            cell["metadata"].pop(key, None)
        for data in (output["data"] for output in cell.get("outputs", []) if "data" in output):
            if "image/svg+xml" in data:
                data["image/svg+xml"] = plots.rounded("".join(data["image/svg+xml"])).splitlines(keepends=True)
    return book


def _write(book: dict, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.write_text(json.dumps(book, indent=1, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8")
    part.replace(path)


def _stamp(path: Path, job: Job) -> str:
    "Write the code that was there when the run began into a record: a file edited meanwhile did not make it."
    record = json.loads(path.read_text(encoding="utf-8"))
    if record["runs"][job.profile].get("code") != job.code:
        record["runs"][job.profile]["code"] = job.code
        part = path.with_suffix(".part")
        part.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        part.replace(path)
    return path.stem


def _succeed(job: Job) -> None:
    book = _tidy(json.loads(job.work.read_text(encoding="utf-8")))
    book["metadata"]["contrastive_nb"] = {"profile": job.profile, "code": job.code}
    _write(book, job.output)
    job.claims = [_stamp(path, job) for path in job.records()]
    note = {"code": job.code, "parameters": job.parameters, "overrides": job.overrides, "claims": job.claims}
    _write(note | {"seconds": job.seconds, "memory": job.memory}, job.note)
    for left in (job.work, job.log, job.failed):
        left.unlink(missing_ok=True)
    job.status = "ok"


def _running_cell(book: dict) -> int | None:
    return next((i for i, cell in enumerate(book["cells"]) if cell["metadata"].get("papermill", {}).get("status") == "running"), None)


def _first_line(cell) -> str:
    lines = [line for line in _source(cell).splitlines() if line.strip() and not line.startswith("#|")]
    return lines[0].strip() if lines else ""


def _fail(job: Job, status: str, message: str) -> None:
    "Keep the notebook with its error inside where it can be opened."
    job.status, job.message, job.seconds = status, message, time.monotonic() - job.began
    book = None
    with contextlib.suppress(OSError, ValueError):
        book = json.loads(job.work.read_text(encoding="utf-8"))
    if book is None:  # it ended before its first cell
        book = json.loads(job.source.read_text(encoding="utf-8"))
        book["cells"].insert(0, {"cell_type": "code", "id": "failed", "source": "", "metadata": {}, "outputs": [], "execution_count": None})
        at = 0
    else:
        at = _running_cell(book)
    has_error = any(out.get("output_type") == "error" for cell in book["cells"] for out in cell.get("outputs", []))
    if at is not None and not has_error and book["cells"][at]["cell_type"] == "code":
        cell = book["cells"][at]
        if _first_line(cell):
            job.message += f" while cell {at} ran: {_first_line(cell)[:80]}"
        name = "Timeout" if status == "timeout" else "Stopped"
        error = {"output_type": "error", "ename": name, "evalue": job.message, "traceback": [f"{name}: {job.message}"]}
        cell["outputs"] = [*cell["outputs"], error]
    _write(_tidy(book), job.failed)
    for left in (job.work, job.work.with_suffix(".part")):
        left.unlink(missing_ok=True)


def _last_line(path: Path) -> str:
    with contextlib.suppress(OSError):
        lines = [line.strip() for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
        return lines[-1][:200] if lines else ""
    return ""


def _one_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " ".join(lines)[:300]


def _signal_name(code: int) -> str:
    with contextlib.suppress(ValueError):
        return signal.Signals(-code).name
    return str(code)


def _closed(job: Job) -> None:
    "A worker that ended without a word: it was killed, or could not begin."
    code = job.process.wait()
    end_processes(job.tag, job.process)
    if code < 0:
        _fail(job, "failed", f"its worker was killed by {_signal_name(code)}")
    else:
        _fail(job, "failed", _last_line(job.log) or f"its worker ended with exit code {code}")


# --- the loop -------------------------------------------------------------------------------------------------------


class _Progress:
    "One bar over the cells of all notebooks on a terminal; a line a notebook elsewhere."

    def __init__(self, jobs: list[Job]):
        from tqdm import tqdm

        self.bar = tqdm(total=sum(job.cells for job in jobs), unit="cell", leave=False) if sys.stderr.isatty() and jobs else None
        self.count, self.ended = len(jobs), 0

    def cell(self) -> None:
        if self.bar is not None:
            self.bar.update(1)

    def show(self, running: list[Job]) -> None:
        "Name the notebooks that run."
        if self.bar is not None:
            self.bar.set_postfix_str(", ".join(other.notebook.rpartition("/")[2] for other in running))

    def end(self, job: Job) -> None:
        self.ended += 1
        if self.bar is not None:
            self.bar.update(max(0, job.cells - job.done))
        else:
            print(f"[{self.ended}/{self.count}] {job.notebook} {job.status} {_clock(job.seconds)}", file=sys.stderr, flush=True)

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()


@contextlib.contextmanager
def _interruptible():
    "SIGTERM and Ctrl-C become `Interrupted` inside; the handlers are put back after."
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number, frame):
        for name in signals:  # a second one must not break the tidying up
            signal.signal(name, signal.SIG_IGN)
        raise Interrupted

    signals = (signal.SIGINT, signal.SIGTERM)
    before = {name: signal.signal(name, stop) for name in signals}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)


def execute(jobs: list[Job], *, parallel: int = 2, resume: bool = False) -> bool:
    """Run the jobs, some side by side, and fill in what came of each. Returns False when it was interrupted.

    However it ends, no process that it started is left, and what is done is kept.
    """
    if resume:
        for job in jobs:
            if job.status == "waiting" and (note := job.finished()):
                job.status, job.seconds, job.memory, job.claims = "skipped", note["seconds"], note["memory"], note["claims"]
    waiting = [job for job in jobs if job.status == "waiting"]
    running: list[Job] = []
    events: queue.Queue = queue.Queue()
    progress = _Progress(waiting)
    try:
        with _interruptible():
            while waiting or running:
                while waiting and len(running) < parallel:
                    job = waiting.pop(0)
                    running.append(job)
                    _start(job, resume, events)
                    progress.show(running)
                with contextlib.suppress(queue.Empty):
                    _hear(*events.get(timeout=0.2), progress)
                for job in [job for job in running if job.status == "running" and time.monotonic() > job.deadline]:
                    job.memory = _memory_now(job.tag)
                    end_processes(job.tag, job.process)
                    _fail(job, "timeout", f"the limit of {job.minutes:g} minutes was reached")
                for job in [job for job in running if job.status != "running"]:
                    running.remove(job)
                    _release(job)
                    progress.end(job)
                    progress.show(running)
    except Interrupted:
        return False
    finally:
        for job in running:
            end_processes(job.tag, job.process)
            job.status, job.message = "stopped", "interrupted; --resume goes on from here"
            for left in (job.work, job.work.with_suffix(".part"), job.log):
                left.unlink(missing_ok=True)
            _release(job)
        progress.close()
    return True


def _hear(job: Job, event: dict, progress: _Progress) -> None:
    if job.status != "running":
        return
    if event["event"] == "start" and not job.started:
        job.started, job.deadline = True, time.monotonic() + 60 * job.minutes
    elif event["event"] == "end" and event["code"]:
        job.done += 1
        progress.cell()
    elif event["event"] == "done":
        job.seconds, job.memory = event["seconds"], event["memory"]
        end_processes(job.tag, job.process)  # what a notebook left behind in the background ends with it
        if event["error"] is None:
            _succeed(job)
        else:
            _fail(job, "failed", _one_line(event["error"]))
    elif event["event"] == "closed":
        _closed(job)


# --- saving ---------------------------------------------------------------------------------------------------------


def save(job: Job, claims: Path) -> None:
    """Put a finished run where it is kept: a laptop run's outputs into the notebook, its records into the ledger.

    A gpu run brings its records alone: the outputs in the notebooks are laptop's. Raises `Refused` when the notebook
    changed since it ran.
    """
    from contrastive_nb import claims as ledger

    if fingerprint.of_notebook(job.source, job.profile) != job.code:
        raise Refused(f"{job.notebook}: its code changed while it ran; not saved")
    if job.profile == "laptop":
        _save_outputs(job)
    for path in job.records():
        ledger.merge(path, claims)


def _save_outputs(job: Job) -> None:
    "The outputs alone, cell by cell; sources, ids and tags stay those of the notebook."
    from nbdev.clean import clean_nb

    book = json.loads(job.source.read_text(encoding="utf-8"))
    ran = _tidy(json.loads(job.output.read_text(encoding="utf-8")), keep_injected=False)
    outputs = {cell["id"]: cell["outputs"] for cell in ran["cells"] if cell["cell_type"] == "code"}
    for cell in book["cells"]:
        if cell["cell_type"] == "code":
            cell["outputs"] = outputs[cell["id"]]
    book["metadata"]["contrastive_nb"] = {"profile": job.profile, "code": job.code}
    clean_nb(book, allowed_metadata_keys=["contrastive_nb"], allowed_cell_metadata_keys=["tags"])
    _write(book, job.source)


# --- tables ---------------------------------------------------------------------------------------------------------


def _clock(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return f"{seconds:.1f} s" if seconds < 60 else f"{int(seconds // 60)} min {seconds % 60:.0f} s"


def table(head: list[str], rows: list[list[str]]) -> str:
    "Aligned columns of plain text."
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in [head, *rows]]
    return "\n".join(lines)


def effect(run: dict | None) -> str:
    "A run's effect with its interval, in four digits."
    return "-" if not run else f"{run['effect']:.4g} [{run['interval'][0]:.4g}, {run['interval'][1]:.4g}]"


def notebook_table(jobs: list[Job]) -> str:
    "A row a notebook: how it ended, seconds, peak memory, its claims."
    rows = []
    for job in jobs:
        verdicts = []
        for path in job.records() if job.status in ("ok", "skipped") else []:
            run = json.loads(path.read_text(encoding="utf-8"))["runs"][job.profile]
            verdicts.append(f"{path.stem} {run['effect']:.3g} {run['verdict']}")
        status = "skipped, unchanged" if job.status == "skipped" else job.status
        rows.append([job.notebook, status, _clock(job.seconds), f"{job.memory:.0f} MB" if job.memory else "-", "; ".join(verdicts) or "-"])
    return table(["notebook", "run", "time", "memory", "claims"], rows)


def claim_table(jobs: list[Job], claims: Path) -> str:
    "A row a claim: what this run measured, and the verdict recorded at laptop size."
    rows = []
    for job in jobs:
        for path in job.records() if job.status in ("ok", "skipped") else []:
            run = json.loads(path.read_text(encoding="utf-8"))["runs"][job.profile]
            kept = claims / path.name
            laptop = json.loads(kept.read_text(encoding="utf-8"))["runs"].get("laptop") if kept.is_file() else None
            rows.append([path.stem, effect(run), run["verdict"], laptop["verdict"] if laptop else "not recorded"])
    profile = jobs[0].profile if jobs else ""
    return table(["claim", f"effect measured now ({profile})", "verdict now", "recorded laptop verdict"], rows) if rows else ""


def ledger_table(records: list[dict]) -> str:
    "A row a claim of the ledger; * marks a reconstructed formula."
    rows = []
    for record in records:
        runs, star = record["runs"], "*" if record["formula"] == "reconstructed" else ""
        shown = runs.get("laptop") or runs.get("gpu")
        verdicts = [runs[name]["verdict"] if name in runs else "not attempted" for name in ("laptop", "gpu")]
        rows.append([record["id"] + star, record["kind"], record["metric"], effect(shown), *verdicts])
    foot = "\n* the paper's formula was reconstructed" if any(record["formula"] == "reconstructed" for record in records) else ""
    return table(["claim", "kind", "metric", "effect", "laptop", "gpu"], rows) + foot


# --- the whole ------------------------------------------------------------------------------------------------------


@dataclass
class Request:
    "What the command line asks for."

    notebooks: list[str] = field(default_factory=list)
    profile: str = "ci"
    jobs: int | None = None
    device: str = "auto"
    set: list[str] = field(default_factory=list)
    resume: bool = False
    save: bool = False
    stale: bool = False
    minutes: float | None = None
    folder: Path | None = None  # of the notebooks
    build: Path | None = None
    claims: Path | None = None


def check(request: Request) -> None:
    "Raise `Refused` for what cannot be met."
    if files.checkout() is None and request.folder is None and not os.environ.get(files.NOTEBOOKS):
        raise Refused("run: the notebooks are in the repository, not in the installed package; clone it and run there")
    for needed in ("papermill", "ipykernel"):
        if importlib.util.find_spec(needed) is None:
            raise Refused(f"run: needs {needed}, which is not installed; pip install 'contrastive_nb[notebooks]'")
    if request.save and request.profile not in SAVES:
        raise Refused(f"--save: a {request.profile} run is too small to be kept; it goes with --profile laptop or --profile gpu")
    if request.save and request.set:
        raise Refused("--save: a run changed with --set is no run of the profile and cannot be kept; leave one of the two out")
    if request.jobs is not None and request.jobs < 1:
        raise Refused(f"--jobs: got {request.jobs}, want 1 or more")
    if request.minutes is not None and not request.minutes > 0:
        raise Refused(f"--minutes: got {request.minutes}, want a number above 0")
    profiles.check_value("--device", "device", request.device)


def check_device(profile: str, device: str, overrides: dict) -> None:
    "Raise `Refused` when the profile's device is not here."
    wanted = device if device != "auto" else overrides.get("device", profiles.settings(profile)["device"])
    try:
        profiles.pick_device(wanted)
    except RuntimeError:
        hint = "" if device != "auto" else "; --device cpu drives the same path without one"
        raise Refused(f"profile {profile} wants {wanted!r}, and torch sees no such device here{hint}") from None


def run(request: Request) -> int:
    "Do what is asked and print what came of it. The exit code: 0, 1 when a notebook failed, 130 when interrupted."
    check(request)
    folder = Path(request.folder or files.notebooks())
    build = Path(request.build or files.build())
    claims = Path(request.claims or files.shared("data/claims"))
    names = choose(request.notebooks, folder)
    overrides = parse_overrides(request.set, request.profile, names)
    check_device(request.profile, request.device, overrides)
    if request.stale:
        stale = fingerprint.stale_notebooks(request.profile, folder, claims)
        names = [name for name in names if name in stale]
    options: dict = dict(device=request.device, overrides=overrides, minutes=request.minutes)
    jobs = plan(names, request.profile, notebooks=folder, build=build, **options)
    if not jobs:
        print("nothing to run" + (": no notebook is stale" if request.stale else ""))
        return 0
    whole = execute(jobs, parallel=request.jobs or (1 if request.profile == "gpu" else 2), resume=request.resume)
    print(notebook_table(jobs))
    refused = _save_all(jobs, claims) if request.save else False
    _show_failures(jobs)
    if rows := claim_table(jobs, claims):
        print(f"\n{rows}")
    if not whole:
        return 130
    return 1 if refused or any(job.status not in ("ok", "skipped") for job in jobs) else 0


def _save_all(jobs: list[Job], claims: Path) -> bool:
    refused = False
    for job in jobs:
        if job.status in ("ok", "skipped"):
            try:
                save(job, claims)
            except Refused as error:
                print(error, file=sys.stderr)
                refused = True
    return refused


def _show_failures(jobs: list[Job]) -> None:
    for job in jobs:
        if job.status in ("failed", "timeout"):
            kept = f"\n  kept in {_near(job.failed)}" if job.failed.is_file() and job.began else ""
            print(f"\n{job.notebook} {job.status}: {job.message}{kept}")


def _near(path: Path) -> str:
    with contextlib.suppress(ValueError):
        return str(path.resolve().relative_to(Path.cwd()))
    return str(path)
