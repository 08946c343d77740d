"""Runs one notebook with papermill, in a process of its own that the runner can end. Plain module: machinery."""

# It is started as a file (`python -P worker.py`), reads its job as one line of JSON from stdin, and tells the runner what
# happens as lines of JSON on stdout. It must not import the package. When its stdin closes, the runner is gone, and it
# ends itself with everything that it started.
#
# Where the system can fork, the process that the runner started keeps watch, and its child runs the notebook. On Linux
# whatever loses its parent below the watch becomes the watch's own child, so that nothing leaves the tree, whatever its
# environment, session or parent: not even when a notebook kills its worker.
#
# Started as `worker.py lane` (on Linux) the watch stays for job after job. It imports once what nearly every notebook imports;
# each job runs in a child, and its kernel in a child of that, which begin with these imports made. That is half of what a
# small notebook costs. A process is forked only where it has a single thread.

import contextlib
import ctypes
import gc
import importlib
import json
import os
import select
import signal
import sys
import threading
import time
from pathlib import Path


def own_channel():
    "The pipe to the runner under a number that no kernel inherits; what the kernel's programs print to stdout goes to the log."
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return channel


CHANNEL = own_channel() if __name__ == "__main__" else None
# what a lane imports at once: libraries alone, since of the package the kernel itself must say which lines it ran
SHARED = ("torch", "scipy.stats", "sklearn.linear_model", "matplotlib.pyplot", "seaborn", "papermill.execute", "ipykernel.kernelapp")


def tell(**event) -> None:
    CHANNEL.write(json.dumps(event) + "\n")
    CHANNEL.flush()


def end_below() -> None:
    "Kill every process below this one, and what they start meanwhile."
    import psutil

    for _ in range(100):
        below = psutil.Process().children(recursive=True)
        if not below:
            return
        for process in below:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(below, timeout=5)


def end_with_runner() -> None:
    "Wait until stdin closes, then kill every process below this one, and this one."
    sys.stdin.buffer.read()
    end_below()
    os._exit(1)


def adopt_orphans() -> None:
    "Whatever below this process loses its parent becomes a child of this process."
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER


def keep_watch() -> None:
    "Go on in a child; its parent waits for it, kills what it leaves behind, and ends as it ended."
    adopt_orphans()
    child = os.fork()
    if child == 0:
        return
    ended, state = 0, 0
    while ended != child:  # orphans that came here and ended are waited for too
        ended, state = os.wait()
    end_below()
    code = os.waitstatus_to_exitcode(state)
    if code < 0:
        with contextlib.suppress(OSError):  # SIGKILL has no handler
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


class Forked:
    "A kernel in a fork of this process, made before there is a second thread. It waits for its command, and answers as a `Popen` does."

    stdin = stdout = stderr = None

    def __init__(self):
        order, self.order = os.pipe()
        self.returncode = None
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self.order)
            os.close(CHANNEL.fileno())
            os.setsid()
            with os.fdopen(order) as pipe:
                self._become_kernel(pipe.read())
        os.close(order)

    def launch(self, command: list[str], *, env: dict, cwd: str | None = None, **ignored) -> "Forked":
        "In the place of `jupyter_client`'s function: the same command, here of a Python that has made its imports."
        with os.fdopen(self.order, "w") as pipe:
            json.dump({"command": command, "env": env, "cwd": cwd or str(Path.cwd())}, pipe)
        return self

    def _become_kernel(self, text: str) -> None:
        if not text:  # the worker ended before it wanted a kernel
            os._exit(0)
        order = json.loads(text)
        os.environ.clear()
        os.environ.update(order["env"])
        os.chdir(order["cwd"])
        at = order["command"].index("ipykernel_launcher")
        sys.argv = order["command"][at:]
        from ipykernel.kernelapp import launch_new_instance

        launch_new_instance()
        sys.exit()

    def poll(self) -> int | None:
        return self._ended(os.WNOHANG)

    def wait(self, timeout: float | None = None) -> int | None:
        return self._ended(0)

    def _ended(self, how: int) -> int | None:
        if self.returncode is None:
            with contextlib.suppress(ChildProcessError):
                pid, state = os.waitpid(self.pid, how)
                self.returncode = os.waitstatus_to_exitcode(state) if pid else None
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)


def lane() -> None:
    "Job after job, each in a child, until stdin closes. After each all that it started is killed, and the runner is told how it ended."
    adopt_orphans()
    os.environ["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"  # as a kernel says; matplotlib reads it once
    sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]
    for name in SHARED:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    gc.freeze()
    while line := sys.stdin.readline():
        order = json.loads(line)
        child = os.fork()
        if child == 0:
            serve(order)
        tell(event="idle", code=attend(child))
    end_below()


def attend(child: int) -> int:
    "Wait for a child, and for orphans that came here; kill what it leaves behind. When stdin closes meanwhile, end all."
    gone = select.poll()
    gone.register(0, 0)  # only that the other end is closed
    ended, state = 0, 0
    while ended != child:
        if gone.poll(20):
            end_below()
            os._exit(1)
        ended, state = os.waitpid(-1, os.WNOHANG)
    end_below()
    return os.waitstatus_to_exitcode(state)


def serve(order: dict) -> None:
    "A job in a child of the lane, with a log and an environment of its own."
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for number, target in ((os.open(os.devnull, os.O_RDONLY), 0), (log, 1), (log, 2)):
        os.dup2(number, target)
    os.environ.clear()
    os.environ.update(order["env"])
    kernel = Forked()
    from jupyter_client.provisioning import local_provisioner

    local_provisioner.launch_kernel = kernel.launch  # type: ignore[assignment]
    os._exit(main(order))


def write(nb, path: Path) -> None:
    "Write a notebook so that a reader never meets half a file."
    import nbformat

    part = path.with_suffix(".part")
    nbformat.write(nb, part)
    part.replace(path)


def peak_memory() -> float | None:
    "MB that the largest finished child held at most; the kernel is the only large one."
    try:
        import resource
    except ImportError:  # Windows
        return None
    most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return most / (2**20 if sys.platform == "darwin" else 2**10)


def unfinished(nb) -> str | None:
    "What is said of a notebook that ended before its last code cell did, as `sys.exit(0)` in a cell makes it; papermill calls it good."
    states = [cell.metadata.papermill["status"] for cell in nb.cells]
    code = [i for i, cell in enumerate(nb.cells) if cell.cell_type == "code"]
    if not code or states[code[-1]] == "completed":
        return None
    at = next(i for i in code if states[i] != "completed")
    return f"SystemExit: cell {at} ended the notebook, which has code cells up to cell {code[-1]}"


def main(job: dict) -> int:
    # jsonschema can check addresses beyond ASCII by a grammar that takes more than a second to read; a notebook's schema has none
    sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]  # None: not to be imported
    from nbclient.exceptions import DeadKernelError
    from papermill.clientwrap import PapermillNotebookClient
    from papermill.engines import NBClientEngine, papermill_engines
    from papermill.exceptions import PapermillExecutionError
    from papermill.execute import execute_notebook

    output, died = Path(job["output"]), []

    class Client(PapermillNotebookClient):
        "papermill's own client, which remembers how its kernel died."

        def execute_cell(self, *arguments, **options):
            try:
                return super().execute_cell(*arguments, **options)
            except DeadKernelError:
                died.append(self.km.provisioner.process.poll())
                raise

    class Engine(NBClientEngine):
        "papermill's own engine; every save is atomic, every cell is told to the runner."

        @classmethod
        def execute_managed_notebook(cls, manager, kernel_name, **options):
            def save(**ignored):
                write(manager.nb, output)
                manager.last_save_time = manager.now()

            def cell_start(cell, cell_index=None, **more):
                start(cell, cell_index, **more)
                tell(event="start", cell=cell_index)

            def cell_complete(cell, cell_index=None, **more):
                if died:  # this cell did not complete, and the notebook goes on saying so
                    return
                complete(cell, cell_index, **more)
                tell(event="end", cell=cell_index, code=cell.cell_type == "code")

            start, complete = manager.cell_start, manager.cell_complete
            manager.save, manager.cell_start, manager.cell_complete = save, cell_start, cell_complete
            manager.notebook_complete = save  # papermill's own calls cells complete that never began
            try:
                Client(manager, kernel_name=kernel_name, startup_timeout=120, timeout=None).execute()
            except DeadKernelError:  # `quit()` in the last cell: all have run
                if died or unfinished(manager.nb):
                    raise

    papermill_engines.register("contrastive_nb", Engine)
    began, error = time.monotonic(), None
    try:
        error = unfinished(execute_notebook(
            job["input"], str(output), parameters=job["parameters"], engine_name="contrastive_nb", kernel_name="python3",
            language="python", progress_bar=False, cwd=job["cwd"],
        ))  # fmt: skip
    except PapermillExecutionError as failed:
        error = f"{failed.ename}: {failed.evalue}"
    except Exception as failed:  # a dead kernel, a notebook that cannot be read: told like any other failure
        error = f"{type(failed).__name__}: {failed}"
    tell(event="done", error=error, kernel=died, seconds=time.monotonic() - began, memory=peak_memory())
    return 1 if error else 0


if __name__ == "__main__":
    if sys.argv[1:] == ["lane"]:
        lane()
        os._exit(0)
    if hasattr(os, "fork"):
        keep_watch()
    only = json.loads(sys.stdin.readline())
    threading.Thread(target=end_with_runner, daemon=True).start()
    code = main(only)
    os._exit(code)  # the thread that waits for the runner would hold the process open
