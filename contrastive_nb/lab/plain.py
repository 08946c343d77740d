"""Runs one notebook's cells in this one process, with no Jupyter: for machines that have torch and little else. Plain module: machinery."""

# It is started as `worker.py` is (as a file, a job as a line of JSON on stdin) and tells the runner the same things. The
# notebook is read as JSON. Cells are executed in one namespace that stands for `__main__`; a last expression is shown as
# its text, HTML or Markdown; figures are drawn by Agg and closed. IPython, nbformat and papermill are not asked for:
# of the first a page may want `display` and its wrappers, for which stand-ins are here.

import _thread
import ast
import contextlib
import io
import json
import linecache
import os
import signal
import sys
import threading
import time
import traceback
import types
from pathlib import Path

MIMES = {"_repr_html_": "text/html", "_repr_markdown_": "text/markdown", "_repr_latex_": "text/latex", "_repr_svg_": "image/svg+xml"}
AGAIN = 5  # seconds until a cell that caught the stop is asked once more


class Clock:
    "Interrupts the main thread once the time is up, and again while it goes on: a page may catch it."

    def __init__(self, seconds: float):
        self.up, self.main = False, threading.get_ident()
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs begin with it ignored
        threading.Thread(target=self._wait, args=(seconds,), daemon=True).start()

    def _wait(self, seconds: float) -> None:
        time.sleep(max(0.0, seconds))
        while True:
            self.up = True
            if hasattr(signal, "pthread_kill"):  # wakes a sleep, too
                signal.pthread_kill(self.main, signal.SIGINT)
            else:
                _thread.interrupt_main()
            time.sleep(AGAIN)


# --- what is shown ------------------------------------------------------------------------------------------------------


def bundle(value) -> dict:
    "What a notebook would keep of a value: its text, and richer forms that it has itself."
    shown = {"text/plain": repr(value)}
    for method, mime in MIMES.items():
        if callable(form := getattr(type(value), method, None)) and isinstance(text := form(value), str):
            shown[mime] = text
    return {mime: text.splitlines(keepends=True) for mime, text in shown.items()}


def wrapper(name: str, method: str):
    "A stand-in for a class of IPython.display that wraps a text."

    def start(self, data=None, **_):
        self.data = data

    return type(name, (), {"__init__": start, method: lambda self: self.data})


def stand_in(show) -> None:
    "Put an IPython into `sys.modules` that has what a page may want of it."
    ipython, display = types.ModuleType("IPython"), types.ModuleType("IPython.display")
    vars(ipython).update(get_ipython=lambda: None, version_info=(0, 0, 0), display=display, __path__=[])
    for name, method in (("HTML", "_repr_html_"), ("Markdown", "_repr_markdown_"), ("Latex", "_repr_latex_"), ("SVG", "_repr_svg_")):
        setattr(display, name, wrapper(name, method))
    vars(display).update(display=show)
    sys.modules |= {"IPython": ipython, "IPython.display": display}


def close_figures() -> None:
    "As the inline backend does behind each cell."
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


# --- cells --------------------------------------------------------------------------------------------------------------


class Page:
    "A notebook whose cells are executed one after the other."

    def __init__(self, source: Path, work: Path, parameters: dict):
        self.book, self.work, self.name = json.loads(source.read_text(encoding="utf-8")), work, source.stem
        self._inject(parameters)
        self.module = types.ModuleType("__main__")
        self.module.__dict__["display"] = self.show
        self.outputs: list = []

    def _inject(self, parameters: dict) -> None:
        "A cell behind the one that is tagged as `parameters`, as papermill has it."
        cells = self.book["cells"]
        at = next((place for place, cell in enumerate(cells) if "parameters" in cell["metadata"].get("tags", [])), None)
        if at is not None:
            source = "".join(f"{name} = {value!r}\n" for name, value in parameters.items())
            cells.insert(at + 1, {"cell_type": "code", "id": "injected", "source": source, "metadata": {"tags": ["injected-parameters"]}})
        for cell in cells:
            if cell["cell_type"] == "code":
                cell |= {"outputs": [], "execution_count": None}
                cell["metadata"]["papermill"] = {"status": "pending"}

    def show(self, *values) -> None:
        "What `display` does."
        self.outputs += [{"output_type": "display_data", "data": bundle(value), "metadata": {}} for value in values]

    def keep(self) -> None:
        "Write the notebook as it stands, so that what is killed leaves what it had shown."
        part = self.work.with_suffix(".part")
        part.write_text(json.dumps(self.book), encoding="utf-8")
        part.replace(self.work)

    def run(self, tell, clock: Clock) -> None:
        "Execute the cells; raises what a cell raises, and `KeyboardInterrupt` when the time is up."
        sys.modules["__main__"] = self.module
        stand_in(self.show)
        self.keep()
        for place, cell in enumerate(self.book["cells"]):
            code = cell["cell_type"] == "code"
            tell(event="start", cell=place)
            if code and "".join(cell["source"]).strip():
                if clock.up:
                    raise KeyboardInterrupt
                self._run_cell(place, cell)
            tell(event="end", cell=place, code=code)

    def _run_cell(self, place: int, cell: dict) -> None:
        cell["metadata"]["papermill"]["status"] = "running"
        self.keep()
        self.outputs, said = cell["outputs"], io.StringIO()
        try:
            with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
                self._execute(f"<cell {place} of {self.name}>", "".join(cell["source"]))
            cell["metadata"]["papermill"]["status"] = "completed"
        except Exception as error:
            cell["metadata"]["papermill"]["status"] = "failed"
            lines = traceback.format_exception(error)
            cell["outputs"].append({"output_type": "error", "ename": type(error).__name__, "evalue": str(error), "traceback": lines})
            raise
        finally:
            if said.getvalue():
                text = said.getvalue().splitlines(keepends=True)
                cell["outputs"].insert(0, {"output_type": "stream", "name": "stdout", "text": text})
            close_figures()
            self.keep()

    def _execute(self, name: str, source: str) -> None:
        linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
        tree = ast.parse(source, name)
        last = tree.body[-1] if tree.body else None
        if isinstance(last, ast.Expr):
            tree.body.pop()
        exec(compile(tree, name, "exec"), self.module.__dict__)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), name, "eval"), self.module.__dict__)
            if value is not None and not source.rstrip().endswith(";"):
                self.outputs.append({"output_type": "execute_result", "data": bundle(value), "metadata": {}, "execution_count": None})


# --- the job ------------------------------------------------------------------------------------------------------------


def own_channel():
    "The pipe to the runner under a number of its own; what is printed past Python goes to the log."
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return channel


def end_with_runner() -> None:
    "Wait until stdin closes, then end this process and its children."
    sys.stdin.buffer.read()
    import psutil

    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            process.kill()
    os._exit(1)


def peak_memory() -> float | None:
    "MB that this process held at most."
    try:
        import resource
    except ImportError:  # Windows
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def main() -> int:
    "The worker: one job from stdin, its story on stdout."
    channel = own_channel()

    def tell(**event) -> None:
        channel.write(json.dumps(event) + "\n")
        channel.flush()

    job = json.loads(sys.stdin.readline())
    threading.Thread(target=end_with_runner, daemon=True).start()
    os.environ["MPLBACKEND"] = "agg"
    os.chdir(job["cwd"])
    began, error, stopped = time.monotonic(), None, False
    try:
        clock = Clock(job["seconds"])
        Page(Path(job["input"]), Path(job["output"]), job["parameters"]).run(tell, clock)
    except KeyboardInterrupt:
        stopped = True
    except BaseException as failed:  # a page that calls exit, too
        error = f"{type(failed).__name__}: {failed}"
    tell(event="done", error=error, stopped=stopped, kernel=None, seconds=time.monotonic() - began, memory=peak_memory())
    return 1 if error else 0


if __name__ == "__main__":
    os._exit(main())
