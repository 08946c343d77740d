"""Runs one notebook with papermill, in a process of its own that the runner can end. Plain module: machinery."""

# It is started as a file (`python -P worker.py`), reads its job as one line of JSON from stdin, and tells the runner what
# happens as lines of JSON on stdout. It must not import the package. When its stdin closes, the runner is gone, and it
# ends itself with everything that it started.
#
# Where the system can fork, the process that the runner started keeps watch, and its child runs the notebook. On Linux
# whatever loses its parent below the watch becomes the watch's own child, so that nothing leaves the tree, whatever its
# environment, session or parent: not even when a notebook kills its worker.

import contextlib
import ctypes
import json
import os
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


def keep_watch() -> None:
    "Go on in a child; its parent waits for it, kills what it leaves behind, and ends as it ended."
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
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


def main() -> int:
    job = json.loads(sys.stdin.readline())
    threading.Thread(target=end_with_runner, daemon=True).start()
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
    if hasattr(os, "fork"):
        keep_watch()
    code = main()
    os._exit(code)  # the thread that waits for the runner would hold the process open
