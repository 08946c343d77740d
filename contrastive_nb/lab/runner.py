"""Runs notebooks: each in its own processes, with limits, progress, memory and a verdict. Plain module: machinery."""

# `worker.py` executes one notebook with papermill. This module plans the runs, starts the workers, watches the clock,
# ends what must end, keeps what failed where it can be opened, and puts outputs and records where they belong.

import contextlib
import importlib.util
import json
import os
import queue
import shlex
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from contrastive_nb import devices, files
from contrastive_nb.lab import claims as ledger
from contrastive_nb.lab import freshness, outputs, parts, pictures, profiles, scratch
from contrastive_nb.lab.jobs import Job, Refused, choose, clock, parse_overrides, plan, source_of
from contrastive_nb.lab.processes import Lanes, end_processes, ending, interruptible, memory_now, release, start

SAVES = ("laptop", "gpu")
MANY = 3  # jobs for each place, from which on workers stay: their imports cost as much as a small notebook
GRACE = 120  # seconds that a plain run gets to write its checkpoint when its minutes are over


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
                data["image/svg+xml"] = pictures.rounded("".join(data["image/svg+xml"])).splitlines(keepends=True)
    return book


def _write(book: dict, path: Path) -> None:
    files.write_whole(path, json.dumps(book, indent=1, ensure_ascii=False, sort_keys=True) + "\n")


def _stamp(path: Path, job: Job) -> str:
    "Write the code that was there when the run began into a record: a file edited meanwhile did not make it."
    record = json.loads(path.read_text(encoding="utf-8"))
    run = record["runs"].get(job.profile)  # none of a claim that is set aside
    if run and run.get("code") != job.code:
        run["code"] = job.code
        files.write_whole(path, json.dumps(record, indent=2, ensure_ascii=False) + "\n")
    return path.stem


def _succeed(job: Job) -> None:
    try:
        _keep(job)
    except OSError as error:
        with contextlib.suppress(OSError):
            job.note.unlink(missing_ok=True)
        _fail(job, "failed", f"it ran, and what it made could not be kept: {error}")


def _keep(job: Job) -> None:
    book = _tidy(json.loads(job.work.read_text(encoding="utf-8")))
    book["metadata"]["contrastive_nb"] = {"profile": job.profile, "code": job.code}
    _write(book, job.output)
    job.claims = [_stamp(path, job) for path in job.records()]
    note = {"code": job.code, "parameters": job.parameters, "overrides": job.overrides, "claims": job.claims}
    _write(note | {"seconds": job.seconds, "memory": job.memory}, job.note)
    for left in (job.work, job.log, job.failed):
        left.unlink(missing_ok=True)
    job.status = "ok"


def _pause(job: Job) -> None:
    "A plain run whose minutes were over: what it remembers is kept, and the same command goes on from there."
    job.status, job.message = "stopped", f"the limit of {job.minutes:.3g} minutes was reached; the same command goes on"
    for left in (job.work, job.log, job.failed):
        left.unlink(missing_ok=True)


def _where(book: dict) -> tuple[dict, str]:
    "The code cell at which a notebook stopped, and the words for it."
    states = [(i, cell, cell["metadata"].get("papermill", {}).get("status")) for i, cell in enumerate(book["cells"])]
    code = [(i, cell, state) for i, cell, state in states if cell["cell_type"] == "code"]
    for wanted, words in (("running", "while cell {} ran"), ("pending", "before cell {} began"), (None, "before cell {} began")):
        for i, cell, state in code:
            if state == wanted:
                line = _first_line(cell)
                return cell, words.format(i) + (f": {line[:80]}" if line else "")
    i, cell, _ = code[-1]
    return cell, f"after cell {i} had run, its last"


def _first_line(cell) -> str:
    lines = [line for line in source_of(cell).splitlines() if line.strip() and not line.startswith("#|")]
    return lines[0].strip() if lines else ""


def _fail(job: Job, status: str, message: str) -> None:
    "Keep the notebook with its error inside where it can be opened; a cell that said its own error keeps that."
    job.status, job.message, job.seconds = status, message, time.monotonic() - job.began
    book = None
    with contextlib.suppress(OSError, ValueError):
        book = json.loads(job.work.read_text(encoding="utf-8"))
    if book is None:  # it ended before its first cell
        book = json.loads(job.source.read_text(encoding="utf-8"))
    states = [cell["metadata"].get("papermill", {}).get("status") for cell in book["cells"] if cell["cell_type"] == "code"]
    if states and "failed" not in states:
        cell, where = _where(book)
        job.message += f" {where}"
        name = "Timeout" if status == "timeout" else "Stopped"
        error = {"output_type": "error", "ename": name, "evalue": job.message, "traceback": [f"{name}: {job.message}"]}
        cell["outputs"] = [*cell["outputs"], error]
    try:
        for left in (job.work, job.work.with_suffix(".part")):
            left.unlink(missing_ok=True)
        _write(_tidy(book), job.failed)
    except OSError as error:
        job.message += f"; the notebook could not be kept ({error.strerror})"


def _last_line(path: Path) -> str:
    with contextlib.suppress(OSError):
        lines = [line.strip() for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
        return lines[-1][:200] if lines else ""
    return ""


def _one_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " ".join(lines)[:300]


def _wordless(job: Job, code: int) -> None:
    "A worker that ended without a word: it was killed, or could not begin."
    said = _last_line(job.log) if code >= 0 else ""
    _fail(job, "failed", said or f"its worker {ending(code)}")


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
            print(f"[{self.ended}/{self.count}] {job.notebook} {job.status} {clock(job.seconds)}", file=sys.stderr, flush=True)

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()


def execute(
    jobs: list[Job], *, parallel: int = 2, resume: bool = False, stop: threading.Event | None = None, stay: bool | None = None
) -> bool:
    """Run the jobs, some side by side, and fill in what came of each. Returns False when the event stopped it.

    However it ends, no process that it started is left, and what is done is kept. `stay`: whether workers stay for the next
    job, with their imports made; by default where that pays.
    """
    if resume:
        for job in jobs:
            if job.status == "waiting" and (note := job.finished()):
                job.status, job.seconds, job.memory, job.claims = "skipped", note["seconds"], note["memory"], note["claims"]
    waiting = [job for job in jobs if job.status == "waiting"]
    running: list[Job] = []
    events: queue.Queue = queue.Queue()
    progress, stop = _Progress(waiting), stop or threading.Event()
    pays = sys.platform == "linux" and len(waiting) > MANY * parallel
    lanes = Lanes() if (pays if stay is None else stay) else None
    try:
        while (waiting or running) and not stop.is_set():
            while waiting and len(running) < parallel:
                job = waiting.pop(0)
                running.append(job)
                _begin(job, resume, events, lanes)
                progress.show(running)
            with contextlib.suppress(queue.Empty):
                _hear(*events.get(timeout=0.2), progress, lanes)
            for job in [job for job in running if job.status == "running" and time.monotonic() > job.deadline]:
                job.memory = memory_now(job.tag, job.process)
                end_processes(job.tag, job.process)
                _fail(job, "timeout", f"the limit of {job.minutes:g} minutes was reached")
            for job in [job for job in running if job.status != "running"]:
                running.remove(job)
                release(job)
                progress.end(job)
                progress.show(running)
    finally:
        for job in running:
            if job.status in ("waiting", "running"):
                _stop(job)
        if lanes is not None:
            lanes.close()
        progress.close()
    return not (waiting or running)


def _begin(job: Job, resume: bool, events: queue.Queue, lanes: Lanes | None) -> None:
    try:
        start(job, resume, events, lanes)
    except OSError as error:  # a full disk, a folder that became read-only
        job.status, job.message = "failed", f"it could not begin: {error}"


def _stop(job: Job) -> None:
    "End a job that runs; what it remembers stays, what it was writing goes."
    end_processes(job.tag, job.process)
    job.status, job.message = "stopped", "interrupted; --resume goes on from here"
    for left in (job.work, job.work.with_suffix(".part"), job.log):
        with contextlib.suppress(OSError):
            left.unlink(missing_ok=True)
    release(job)


def _hear(job: Job, event: dict, progress: _Progress, lanes: Lanes | None) -> None:
    if job.status != "running":
        return
    if event["event"] == "start" and not job.started:
        job.started, job.deadline = True, time.monotonic() + 60 * job.minutes + (GRACE if job.plain else 0)
    elif event["event"] == "end" and event["code"]:
        job.done += 1
        progress.cell()
    elif event["event"] == "done":
        job.seconds, job.memory, job.told = event["seconds"], event["memory"], event
        if lanes is None or job.plain:
            end_processes(job.tag, job.process)  # what a notebook left behind in the background ends with it
            _conclude(job, event)
    elif event["event"] == "idle" and lanes is not None:  # all that it started has ended
        lanes.give(job.process)  # type: ignore[arg-type]
        if job.told:
            _conclude(job, job.told)
        else:
            _wordless(job, event["code"])
    elif event["event"] == "closed":
        code = job.process.wait()
        end_processes(job.tag, job.process)
        _wordless(job, code)


def _conclude(job: Job, event: dict) -> None:
    if event.get("stopped"):
        _pause(job)
    elif event["error"] is None:
        _succeed(job)
    elif event["kernel"]:
        _fail(job, "failed", f"its kernel {ending(event['kernel'][0])}")
    else:
        _fail(job, "failed", _one_line(event["error"]))


def save(job: Job, claims: Path) -> None:
    """Put a finished run where it is kept: a laptop run's outputs into the notebook, its records into the ledger.

    A gpu run brings its records alone: the outputs in the notebooks are laptop's. Raises `Refused` when the notebook
    changed since it ran.
    """
    if freshness.of_notebook(job.source, job.profile) != job.code and (why := _changed_meanwhile(job)):
        raise Refused(f"{job.notebook}: its code changed while it ran ({why}); not saved")
    if job.profile == "laptop":
        _save_outputs(job)
    for path in job.records():
        ledger.merge(path, claims)


def _changed_meanwhile(job: Job) -> str | None:
    "What of a finished run is no longer what made it: a cell, or what its records depend on; of a page without records all counts."
    ran, stands = (freshness.read_book(path) for path in (job.output, job.source))
    sources = {cell["id"]: source_of(cell) for cell in ran["cells"]}
    if any(sources.get(cell["id"]) != source_of(cell) for cell in stands["cells"] if cell["cell_type"] == "code"):
        return "a cell"
    made = [ledger.records.read(path, ledger.check_record) for path in job.records()]
    root = job.source.parents[job.notebook.count("/")]
    found = [why for _, profile, state, why in freshness.states(made, root) if profile == job.profile and state == "stale"]
    return found[0] if found else None if made else "the library"


def _save_outputs(job: Job) -> None:
    "The outputs alone, cell by cell; sources, ids and tags stay those of the notebook."
    from nbdev.clean import clean_nb

    book = json.loads(job.source.read_text(encoding="utf-8"))
    ran = _tidy(json.loads(job.output.read_text(encoding="utf-8")), keep_injected=False)
    made = {cell["id"]: cell["outputs"] for cell in ran["cells"] if cell["cell_type"] == "code"}
    for cell in book["cells"]:
        if cell["cell_type"] == "code":
            cell["outputs"] = made[cell["id"]]
    clean_nb(book, allowed_metadata_keys=outputs.BOOK_KEYS, allowed_cell_metadata_keys=outputs.CELL_KEYS)
    outputs.bind(book, job.profile, job.code)
    outputs.write(book, job.source)


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
    plain: bool = False  # in one process without Jupyter; `minutes` are then of the whole call, which resumes
    part: str | None = None  # K/N: every Nth of these notebooks, from the Kth on


def check(request: Request) -> None:
    "Raise `Refused` for what cannot be met."
    if files.checkout() is None and request.folder is None and not os.environ.get(files.NOTEBOOKS):
        raise Refused("run: the notebooks are in the repository, not in the installed package; clone it and run there")
    for needed in () if request.plain else ("papermill", "ipykernel"):
        if importlib.util.find_spec(needed) is None:
            raise Refused(f"run: needs {needed}, which is not installed; pip install 'contrastive_nb[notebooks]', or --plain")
    if request.save and request.profile not in SAVES:
        raise Refused(f"--save: a {request.profile} run is too small to be kept; it goes with --profile laptop or --profile gpu")
    if request.save and request.plain and request.profile != "gpu":
        raise Refused("--save: a plain run keeps no figures; it goes with --profile gpu, of which the records are kept alone")
    if request.save and request.set:
        raise Refused("--save: a run changed with --set is no run of the profile and cannot be kept; leave one of the two out")
    if request.save:
        scratch.refuse("--save")
    if request.jobs is not None and request.jobs < 1:
        raise Refused(f"--jobs: got {request.jobs}, want 1 or more")
    if request.minutes is not None and not request.minutes > 0:
        raise Refused(f"--minutes: got {request.minutes}, want a number above 0")
    if request.part is not None:
        parts.parse(request.part)
    profiles.check_value("--device", "device", request.device)


def check_device(profile: str, device: str, overrides: dict) -> None:
    "Raise `Refused` when the profile's device is not here."
    wanted = device if device != "auto" else overrides.get("device", profiles.settings(profile)["device"])
    try:
        devices.pick_device(wanted)
    except RuntimeError:
        hint = "" if device != "auto" else "; --device cpu drives the same path without one"
        raise Refused(f"profile {profile} wants {wanted!r}, and torch sees no such device here{hint}") from None


@dataclass
class Outcome:
    "What came of a request; `contrastive_nb.book.reports` puts it in words."

    jobs: list[Job]
    claims: Path  # the ledger
    whole: bool = True  # False: interrupted
    refused: list[str] = field(default_factory=list)  # runs that could not be kept, and why
    why_nothing: str = ""  # where there is no job
    go_on: str = ""  # the command that goes on with what was interrupted

    @property
    def code(self) -> int:
        "The exit code: 0, 1 when a notebook failed or could not be kept, 130 when interrupted or when its minutes were over."
        if not self.whole or any(job.status == "stopped" for job in self.jobs):
            return 130
        return 1 if self.refused or any(job.status not in ("ok", "skipped") for job in self.jobs) else 0


def _go_on(request: Request) -> str:
    "The command line that goes on where this request stopped."
    words = ["contrastive-nb", "run", *request.notebooks, "--profile", request.profile, "--device", request.device]
    for option, value in (("jobs", request.jobs), ("minutes", request.minutes), ("part", request.part)):
        words += [f"--{option}={value}"] if value is not None else []
    words += [word for pair in request.set for word in ("--set", pair)]
    words += [f"--{option}" for option, asked in (("save", request.save), ("stale", request.stale), ("plain", request.plain)) if asked]
    return shlex.join([*words, "--resume"])


def run(request: Request) -> Outcome:
    "Do what is asked; SIGTERM or Ctrl-C stops it, and what is done is kept. Raises `ValueError` for what cannot be met."
    with interruptible() as stop:
        return _run(request, stop)


def _run(request: Request, stop: threading.Event) -> Outcome:
    check(request)
    folder = Path(request.folder or files.notebooks())
    build = Path(request.build or files.build())
    claims = Path(request.claims or files.shared("data/claims"))
    if not files.can_write(build):
        raise Refused(f"run: {build}, where it writes, cannot be written; {files.BUILD} names another folder")
    names = choose(request.notebooks, folder)
    if request.save and folder.resolve() == (files.PACKAGE.parent / "nbs").resolve() and (changed := freshness.unclean(names)):
        raise Refused(f"--save: a record keeps the commit that made it, and these are not as committed: {changed}; commit them first")
    overrides = parse_overrides(request.set, request.profile, names)
    check_device(request.profile, request.device, overrides)
    if request.part is not None:
        names = parts.take(names, request.part, request.profile, build)
    if request.stale:
        stale = freshness.stale_notebooks(request.profile, folder, claims)
        names = [name for name in names if name in stale]
    options = dict(device=request.device, overrides=overrides, minutes=request.minutes)
    outcome = Outcome(plan(names, request.profile, notebooks=folder, build=build, **options), claims)
    outcome.why_nothing = ": no notebook is stale" if request.stale else ": this part has no notebook" if request.part else ""
    if outcome.jobs:
        parallel = request.jobs or (1 if request.profile == "gpu" else 2)
        resume = request.resume or _make_plain(request, outcome.jobs)
        outcome.whole = execute(outcome.jobs, parallel=parallel, resume=resume, stop=stop)
        outcome.go_on = "" if outcome.whole else _go_on(request)
        outcome.refused = save_all(outcome.jobs, claims) if request.save else []
    return outcome


def _make_plain(request: Request, jobs: list[Job]) -> bool:
    "Tell plain jobs so, and when the call is over; whether this is a slice, which goes on where the last one stopped."
    for job in jobs if request.plain else []:
        job.plain = True
        job.until = None if request.minutes is None else time.monotonic() + 60 * request.minutes
    return request.plain and request.minutes is not None


def save_all(jobs: list[Job], claims: Path) -> list[str]:
    "Save what finished; the reasons of what could not be kept."
    refused = []
    for job in jobs:
        if job.status in ("ok", "skipped"):
            try:
                save(job, claims)
            except Refused as error:
                refused.append(str(error))
            except OSError as error:
                refused.append(f"{job.notebook}: could not be saved: {error}")
    return refused
