"""The processes of a job: how they are started, watched and ended, whatever they started in turn. Plain module."""

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from contrastive_nb import files
from contrastive_nb.lab import profiles
from contrastive_nb.lab.jobs import Job

STARTUP = 180  # seconds that a kernel may need to start; a notebook's own minutes begin with its first cell
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
TAG = "CONTRASTIVE_NB_JOB"


class Interrupted(BaseException):
    "A name of 0.1, until 0.3: nothing raises it any more; `interruptible` gives an event."


def kernel_home(build: Path) -> Path:
    "A folder with the one kernel that runs use: this very Python, without a history and without anybody's configuration."
    home = build / "jupyter"
    spec = home / "kernels" / "python3" / "kernel.json"
    argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}", "--HistoryManager.enabled=False"]
    text = json.dumps({"argv": argv, "display_name": "python3", "language": "python"}, indent=1)
    if not spec.is_file() or spec.read_text(encoding="utf-8") != text:
        files.write_whole(spec, text)
    return home


def _nobody_to_ask() -> dict[str, str]:
    "An environment in which whoever asks for a file beyond this machine hears at once that nobody answers."
    proxies = dict.fromkeys(("http_proxy", "https_proxy", "all_proxy"), "http://127.0.0.1:9") | {"no_proxy": "localhost,127.0.0.1,::1"}
    return proxies | {name.upper(): value for name, value in proxies.items()} | {"HF_HUB_OFFLINE": "1"}


def environment(job: Job, resume: bool) -> dict[str, str]:
    "What a notebook's processes find: one thread, a fixed hash seed, UTF-8, this Python first, no export, the run's settings."
    home = kernel_home(job.folder)
    env = dict(os.environ) | dict.fromkeys(THREADS, "1")
    env["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), env.get("PATH", "")])
    env |= {
        "PYTHONHASHSEED": "0",
        "IN_TEST": "1",
        TAG: job.tag,
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        "PYTHONUNBUFFERED": "1",
        "PYTHONIOENCODING": "utf-8",
    }
    env |= {"IPYTHONDIR": str(home / "ipython"), "JUPYTER_CONFIG_DIR": str(home / "config"), "JUPYTER_DATA_DIR": str(home)}
    env |= {"JUPYTER_PATH": str(home), "JUPYTER_RUNTIME_DIR": str(home / "runtime"), "JUPYTER_PLATFORM_DIRS": "1"}
    if job.profile == "ci":  # it stands on what is here: sets that would have to be fetched are left out
        env |= _nobody_to_ask()
    notebooks = job.source.parents[job.notebook.count("/")]
    env |= {files.NOTEBOOKS: str(notebooks.resolve()), files.BUILD: str(job.folder.resolve())}
    env |= {profiles.OVERRIDES: json.dumps(job.overrides), profiles.RESUME: "1" if resume else "0"}
    return env


def _processes(tag: str, process: subprocess.Popen | None) -> list:
    "The processes of a job, without its first: all below that one, and all that carry the job's tag in their environment."
    import psutil

    found = set()
    with contextlib.suppress(psutil.Error):
        found |= set(psutil.Process(process.pid).children(recursive=True) if process else [])
    for other in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if other.environ().get(TAG) == tag:
                found.add(other)
    return [other for other in found if other.pid not in (os.getpid(), process and process.pid)]


def end_processes(tag: str, process: subprocess.Popen | None) -> None:
    """Kill a job's worker, its kernel, and whatever they started, wherever it now hangs.

    A kernel leads a session of its own, and so may what a notebook starts, so a process group is not enough. The first
    process ends last: on Linux it is the parent of all that lose theirs (`worker.keep_watch`). Elsewhere what the job
    started is known by the tag in its environment, even when the process between has died.
    """
    import psutil

    for _ in range(20):  # again for what was born meanwhile
        found = _processes(tag, process)
        for other in found:
            with contextlib.suppress(psutil.Error, OSError):
                other.kill()
        if not found:
            break
        psutil.wait_procs(found, timeout=5)
    if process is not None:
        if process.poll() is None:
            process.kill()
        process.wait()


def _take(job: Job) -> bool:
    "Take the notebook for this runner; the system gives it back when this process ends, however it ends."
    path = job.folder / "locks" / f"{job.profile}-{job.notebook.replace('/', '-')}"
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return False
    job.lock = lock
    return True


def release(job: Job) -> None:
    "Let others run the notebook again."
    if job.lock is not None:
        job.lock.release()
        job.lock = None


class Lanes:
    "Workers that stay for the next job and have made the imports that all notebooks share; Linux alone can end what such a one started."

    def __init__(self):
        self.idle: list[subprocess.Popen] = []

    def take(self, log, env: dict) -> subprocess.Popen:
        "An idle worker, or a new one."
        return self.idle.pop() if self.idle else _worker(["worker.py", "lane"], log, env)

    def give(self, process: subprocess.Popen) -> None:
        "Keep a worker that has ended its job in order."
        self.idle.append(process)

    def close(self) -> None:
        "End the idle ones."
        for process in self.idle:
            process.kill()
            process.wait()
        self.idle.clear()


def _worker(command: list[str], log, env: dict) -> subprocess.Popen:
    line = [sys.executable, "-P", str(files.PACKAGE / "lab" / command[0]), *command[1:]]
    return subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env=env, start_new_session=True)


def start(job: Job, resume: bool, events: queue.Queue, lanes: Lanes | None = None) -> None:
    "Start a job's worker, or hand the job to one that stays, and start a thread that hands on what it says."
    if job.until is not None:
        job.minutes = min(job.minutes, (job.until - time.monotonic()) / 60)
        if job.minutes <= 0:
            job.status, job.message = "stopped", "the minutes of this call were over; the same command goes on"
            return
    if not _take(job):
        job.status, job.message = "failed", f"another run of it in profile {job.profile} is under way"
        return
    job.tag, job.status, job.began = uuid.uuid4().hex, "running", time.monotonic()
    job.deadline = job.began + STARTUP + 60 * job.minutes
    job.output.parent.mkdir(parents=True, exist_ok=True)
    for left in [job.output, job.note, job.work, *job.records()]:
        left.unlink(missing_ok=True)
    env = environment(job, resume)
    order: dict = {"input": str(job.source.resolve()), "output": str(job.work.resolve()), "cwd": str(job.source.parent.resolve())}
    with job.log.open("wb") as log:
        if lanes is None or job.plain:
            job.process = _worker(["plain.py" if job.plain else "worker.py"], log, env)
        else:
            job.process, order = lanes.take(log, env), order | {"log": str(job.log.resolve()), "env": env}
    with contextlib.suppress(BrokenPipeError):
        job.process.stdin.write(json.dumps(order | {"parameters": job.parameters, "seconds": 60 * job.minutes}).encode() + b"\n")  # type: ignore[union-attr]
        job.process.stdin.flush()  # type: ignore[union-attr]

    def listen():
        for line in job.process.stdout:
            with contextlib.suppress(ValueError):
                event = json.loads(line)
                events.put((job, event))
                if event["event"] == "idle":  # what it says from here on is about another job
                    return
        events.put((job, {"event": "closed"}))

    threading.Thread(target=listen, daemon=True).start()


def memory_now(tag: str, process: subprocess.Popen | None) -> float | None:
    "MB that the largest process of a job holds: all that can still be said of one that must be killed."
    import psutil

    most = 0
    for other in _processes(tag, process):
        with contextlib.suppress(psutil.Error, OSError):
            most = max(most, other.memory_info().rss)
    return most / 2**20 or None


def ending(code: int | None) -> str:
    "How a process ended, in words, from its exit code: below 0 it was a signal."
    if code is None:
        return "died"
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"was killed by {name}"


@contextlib.contextmanager
def interruptible() -> Iterator[threading.Event]:
    """SIGTERM and Ctrl-C, however often they come, do no more than set the event that is given, until the end of the block.

    Whoever works inside looks at the event where stopping leaves nothing half done. Outside the main thread no signal arrives.
    What the block itself makes of a signal, as `last_line_said`, stays.
    """
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def remember(number, frame):
        stop.set()

    before = {name: signal.signal(name, remember) for name in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for name, handler in before.items():
            if signal.getsignal(name) is remember:
                signal.signal(name, handler)


def last_line_said() -> None:
    "For a process that only has to end: Ctrl-C takes nothing of its last moments, in which Python would show where it was."
    signal.signal(signal.SIGINT, signal.SIG_IGN)
