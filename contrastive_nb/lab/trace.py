"""What a run goes through: the lines of the library that it executes, and step by step what its trainings do. Plain module."""

# It imports nothing of the package. `carry` starts it as a file (`python -P trace.py`) on the package of another commit, which knows
# nothing of it: everything is heard through hooks of Python and of torch.

import contextlib
import hashlib
import importlib
import json
import math
import os
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

TOOL = "contrastive_nb"
MONITORING: Any = getattr(sys, "monitoring", None)  # from Python 3.12 on


class Lines:
    """The lines executed in the functions of some files, while it listens.

    From Python 3.12 on a line is heard once and costs nothing after; on 3.11 the smallest trainings of the book take a quarter longer.
    """

    def __init__(self, folder: Path, left_out: Iterable[str], kept: Iterable[str] = ()):
        self.folder, self.left_out, self.kept = str(Path(folder).resolve()) + os.sep, tuple(left_out), tuple(kept)
        self.seen: dict[str, set[int] | None] = {}  # file -> lines; None: nobody asks for it
        self.listens = False
        self.others = False  # whether this process started others of Python, whose lines it does not hear

    def _audit(self, event: str, arguments: tuple) -> None:
        if event == "os.fork" or (event == "subprocess.Popen" and "python" in f"{arguments[0]} {arguments[1]}".lower()):
            self.others = True

    def _of(self, file: str) -> set[int] | None:
        if file not in self.seen:
            inside = file.removeprefix(self.folder)
            path = inside.replace(os.sep, "/")
            left_out = path.partition("/")[0].removesuffix(".py") in self.left_out and path not in self.kept
            self.seen[file] = None if inside == file or left_out else set()
        return self.seen[file]

    def start(self) -> bool:
        "Listen, unless a debugger or a measurement of coverage does already."
        sys.addaudithook(self._audit)
        if MONITORING:
            self.listens = self._monitor()
        elif sys.gettrace() is None:
            sys.settrace(self._call)
            threading.settrace(self._call)
            self.listens = True
        return self.listens

    def stop(self) -> None:
        "Hear no more lines."
        if self.listens and MONITORING:
            MONITORING.set_events(self.tool, 0)
            MONITORING.free_tool_id(self.tool)
        elif self.listens:
            sys.settrace(None)
            threading.settrace(None)  # type: ignore[arg-type]
        self.listens = False

    def _monitor(self) -> bool:
        events = MONITORING.events
        free = [i for i in (3, 4) if MONITORING.get_tool(i) is None]  # the numbers that Python gives to nobody
        if not free:
            return False
        self.tool = free[0]
        MONITORING.use_tool_id(self.tool, TOOL)
        MONITORING.register_callback(self.tool, events.LINE, self._line)
        MONITORING.set_events(self.tool, events.LINE)
        MONITORING.restart_events()
        return True

    def _line(self, code, line: int):
        if (lines := self._of(code.co_filename)) is not None and code.co_name != "<module>":
            lines.add(line)
        return MONITORING.DISABLE

    def _call(self, frame, event, argument):
        lines = self.seen.get(frame.f_code.co_filename, ...)
        if lines is ...:
            lines = self._of(frame.f_code.co_filename)
        return None if lines is None or frame.f_code.co_name == "<module>" else self._step

    def _step(self, frame, event, argument):
        if event == "line":
            self.seen[frame.f_code.co_filename].add(frame.f_lineno)
        return self._step

    def whole(self) -> bool:
        "Whether all was heard: it listens, and no other process did a part of the work."
        spawned = any(f"multiprocessing.popen_{kind}" in sys.modules for kind in ("spawn_posix", "spawn_win32", "forkserver"))
        return self.listens and not self.others and not spawned

    def taken(self) -> dict[str, list[int]]:
        "The lines so far, by the files' paths in the folder."
        kept = {file: sorted(lines) for file, lines in list(self.seen.items()) if lines}
        return {file.removeprefix(self.folder).replace(os.sep, "/"): lines for file, lines in sorted(kept.items())}


class Steps:
    "The losses and gradient norms of every training, and what the first module of each is shown. Heard through torch alone."

    def __init__(self, mode: str):
        self.mode = mode  # "plain"; "nudged": weights one ulp off at the start; "frozen": no step moves a weight
        self.steps: list[list[float]] = []  # training, loss, norm of its gradients
        self.batches: list[str] = []
        self.trainings: dict[int, int] = {}
        self.loss, self.fresh = math.nan, False

    def listen(self) -> None:
        "Hang on torch's hooks: optimizers, backward passes, the first batch."
        import torch
        from torch.nn.modules.module import register_module_forward_pre_hook
        from torch.optim.optimizer import register_optimizer_step_pre_hook

        begin, backward = torch.optim.Optimizer.__init__, torch.Tensor.backward

        def begin_and_note(optimizer, *arguments, **options):
            begin(optimizer, *arguments, **options)
            self.trainings[id(optimizer)], self.fresh = len(self.trainings), True
            self.kept = [*getattr(self, "kept", []), optimizer]  # so that no other gets its id
            if self.mode == "nudged":
                with torch.no_grad():
                    for p in (p for group in optimizer.param_groups for p in group["params"]):
                        p.copy_(torch.nextafter(p, torch.full_like(p, math.inf)))

        def backward_and_note(tensor, *arguments, **options):
            if tensor.dim() == 0:
                self.loss = tensor.item()
            return backward(tensor, *arguments, **options)

        def step(optimizer, arguments, options):
            slopes = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
            norm = math.sqrt(sum(float(g.detach().double().square().sum()) for g in slopes))
            self.steps.append([self.trainings.get(id(optimizer), -1), self.loss, norm])
            if self.mode == "frozen":
                for group in optimizer.param_groups:
                    group["lr"] = 0.0

        def look(module, arguments):
            if self.fresh:
                self.fresh = False
                shown = [x.detach().cpu().contiguous().numpy().tobytes() for x in arguments if isinstance(x, torch.Tensor)]
                self.batches.append(hashlib.sha256(b"".join(shown)).hexdigest()[:16])

        torch.optim.Optimizer.__init__, torch.Tensor.backward = begin_and_note, backward_and_note  # type: ignore[method-assign, assignment]
        register_optimizer_step_pre_hook(step)
        register_module_forward_pre_hook(look)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    "What cells print goes nowhere."
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere, contextlib.redirect_stdout(nowhere):
        yield


def run_page(path: Path, cells: int) -> None:
    "Execute the first code cells of a notebook as they stand, which is at `ci`. Raises what a cell raises."
    from IPython.core.interactiveshell import InteractiveShell

    book = json.loads(path.read_text(encoding="utf-8"))
    shell: Any = InteractiveShell.instance(history_length=0)
    shell.history_manager.enabled = False
    sources = ["".join(cell["source"]) for cell in book["cells"] if cell["cell_type"] == "code"]
    with _quiet():
        for source in sources[:cells]:
            shell.run_cell(source).raise_error()


def trace(order: dict, mode: str) -> None:
    "One run of the page in this process; its trace goes into the mode's folder."
    folder = Path(order["folder"]) / mode
    folder.mkdir()
    os.environ |= {order["build"]: str(folder), "IPYTHONDIR": str(folder / "ipython")}
    lines, steps = Lines(Path(order["package"]), order["left_out"], order["kept"]), Steps(mode)
    steps.listen()
    lines.start()
    run_page(Path(order["page"]), order["cells"])
    lines.stop()
    found = {"steps": steps.steps, "batches": steps.batches, "lines": lines.taken()}
    (folder / "trace.json").write_text(json.dumps(found), encoding="utf-8")


def main() -> int:
    "What a process of its own does: read an order, trace, print."
    order = json.loads(sys.stdin.readline())
    if len(order["modes"]) == 1:
        trace(order, order["modes"][0])
        return 0
    if not hasattr(os, "fork"):
        return max(
            subprocess.run(sys.orig_argv, input=json.dumps(order | {"modes": [mode]}), text=True).returncode for mode in order["modes"]
        )
    for name in (
        "torch._dynamo",
        "accelerate",
        "IPython",
        "matplotlib.pyplot",
        "scipy.stats",
        "sklearn.linear_model",
    ):  # once for all modes
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    for mode in order["modes"]:
        if (child := os.fork()) == 0:
            trace(order, mode)
            return 0
        if code := os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
            return abs(code)
    return 0


if __name__ == "__main__":
    sys.exit(main())
