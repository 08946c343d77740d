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
from pathlib import Path

from filelock import FileLock, Timeout

from contrastive_nb import files
from contrastive_nb.lab import profiles
from contrastive_nb.lab.jobs import Job

STARTUP = 180  # seconds that a kernel may need to start; a notebook's own minutes begin with its first cell
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
TAG = "CONTRASTIVE_NB_JOB"


class Interrupted(BaseException):
    "SIGTERM or Ctrl-C reached the runner."


def kernel_home(build: Path) -> Path:
    "A folder with the one kernel that runs use: this very Python, without a history and without anybody's configuration."
    home = build / "jupyter"
    spec = home / "kernels" / "python3" / "kernel.json"
    argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}", "--HistoryManager.enabled=False"]
    text = json.dumps({"argv": argv, "display_name": "python3", "language": "python"}, indent=1)
    if not spec.is_file() or spec.read_text(encoding="utf-8") != text:
        files.write_whole(spec, text)
    return home


def environment(job: Job, resume: bool) -> dict[str, str]:
    "What a notebook's processes find: one thread, a fixed hash seed, this Python first, no export, the run's settings."
    home = kernel_home(job.folder)
    env = dict(os.environ) | dict.fromkeys(THREADS, "1")
    env["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), env.get("PATH", "")])
    env |= {"PYTHONHASHSEED": "0", "IN_TEST": "1", TAG: job.tag, "PYDEVD_DISABLE_FILE_VALIDATION": "1", "PYTHONUNBUFFERED": "1"}
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
                if other.pid != os.getpid() and other.environ().get(TAG) == tag:
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


def start(job: Job, resume: bool, events: queue.Queue) -> None:
    "Start a job's worker and a thread that hands on what it says."
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
    command = [sys.executable, "-P", str(files.PACKAGE / "lab" / ("plain.py" if job.plain else "worker.py"))]
    with job.log.open("wb") as log:
        job.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env=environment(job, resume), start_new_session=True
        )
    order = {"input": str(job.source.resolve()), "output": str(job.work.resolve()), "cwd": str(job.source.parent.resolve())}
    with contextlib.suppress(BrokenPipeError):
        job.process.stdin.write(json.dumps(order | {"parameters": job.parameters, "seconds": 60 * job.minutes}).encode() + b"\n")
        job.process.stdin.flush()

    def listen():
        for line in job.process.stdout:
            with contextlib.suppress(ValueError):
                events.put((job, json.loads(line)))
        events.put((job, {"event": "closed"}))

    threading.Thread(target=listen, daemon=True).start()


def memory_now(tag: str) -> float | None:
    "MB that the largest process of a job holds: all that can still be said of one that must be killed."
    import psutil

    most = 0
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(TAG) == tag:
                most = max(most, process.memory_info().rss)
    return most / 2**20 or None


def signal_name(code: int) -> str:
    "The name of the signal behind a negative exit code."
    with contextlib.suppress(ValueError):
        return signal.Signals(-code).name
    return str(code)


@contextlib.contextmanager
def interruptible():
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
