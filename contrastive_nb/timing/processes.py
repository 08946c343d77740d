"""One contestant in a fresh process: a process that has imported a library does each job in a copy of itself. Plain module."""

import importlib
import json
import math
import os
import select
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable

from contrastive_nb.timing import contestants
from contrastive_nb.timing.contestants import CONTESTANTS
from contrastive_nb.timing.measure import GIGA, embeddings, environment, seconds_of, under_watch

PROBE = dict(rows=16, dims=8, noise=2.0)  # small inputs on which values and gradients are compared
SLOW = 1.0  # seconds: the first step of such length is the one that counts, shorter ones are repeated
IMPORTS = {
    "torch": (),
    "contrastive_nb": ("contrastive_nb.negatives", "contrastive_nb.objectives", "contrastive_nb.pairs", "contrastive_nb.scaling"),
    "info-nce-pytorch": ("info_nce",),
    "lightly": ("lightly",),
    "pytorch-metric-learning": ("pytorch_metric_learning.losses",),
    "sentence-transformers": ("sentence_transformers",),
}


def _inputs(job: dict, rows: int, noise: float):
    "Queries and keys of the job's width, precision and seed."
    import torch

    kind = torch.bfloat16 if job["precision"] == "bf16" else torch.float32
    pair = embeddings(rows, job["dims"], seed=job["seed"], noise=noise, device=job["device"])
    return [x.detach().to(kind).requires_grad_() for x in pair]


def _clocks(device: str):
    "Seconds that count, and wall seconds: of the processor on the CPU; on a GPU both wait for it."
    if device == "cpu":
        return time.process_time, time.perf_counter
    import torch

    def waited() -> float:
        torch.cuda.synchronize()
        return time.perf_counter()

    return waited, waited


def _under_gpu_watch(work: Callable[[], dict], limit: float) -> dict:
    "As `under_watch`, for the memory of the GPU. Untried: written where there was none."
    import torch

    before = torch.cuda.memory_allocated()
    whole = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1.0, (before + limit * GIGA) / whole))
    torch.cuda.reset_peak_memory_stats()
    try:
        said = work()
    except torch.OutOfMemoryError:
        return {"bytes": None, "failed": f"out of memory (limit {limit:g} GB)"}
    return said | {"bytes": torch.cuda.max_memory_allocated() - before}


def _time_a_cell(job: dict) -> dict:
    "Small step, inputs, then under the limit the first step and, if it was short, some more."
    make, clocks = CONTESTANTS[job["contestant"]].make, _clocks(job["device"])
    make(*_inputs(job, PROBE["rows"], PROBE["noise"]))()
    query, key = _inputs(job, job["rows"], 0.5)

    def work() -> dict:
        step = make(query, key)
        found = seconds_of(step, 1, *clocks)
        if found[0] < SLOW:
            found = seconds_of(step, max(1, math.ceil(job["least"] / max(found[0], 1e-9))), *clocks)
        return dict(zip(("seconds", "wall"), found, strict=True))

    return under_watch(work, job["limit"]) if job["device"] == "cpu" else _under_gpu_watch(work, job["limit"])


def _probe(job: dict) -> dict:
    "Value and gradients on the small inputs; none of a search."
    query, key = _inputs(job, PROBE["rows"], PROBE["noise"])
    value = CONTESTANTS[job["contestant"]].make(query, key)()
    return dict(value=float(value), gradients=[x.grad.double().tolist() for x in (query, key) if x.grad is not None])


def _in_a_fork(job: dict) -> dict:
    "Do the job in a child of this process, which has not run a step; the child's end is said if it gave no answer."
    receive, send = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(receive)
        try:
            import torch

            torch.set_num_threads(job["threads"])
            said = _probe(job) if job["do"] == "probe" else _time_a_cell(job)
        except BaseException as error:
            said = {"failed": f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"}
        os.write(send, json.dumps(said).encode())
        os._exit(0)
    os.close(send)
    with os.fdopen(receive, "rb") as answer:
        text = answer.read()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return json.loads(text) if text else {"failed": f"killed by signal {-code}" if code < 0 else f"ended with code {code}"}


def _template() -> None:
    "The side of a `Template` that lives in its own process: jobs are lines of JSON on stdin, answers lines on stdout."
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    warnings.simplefilter("ignore")  # a peer's own deprecations, once a process
    for name in ("torch", *IMPORTS.get(sys.argv[1], ())):
        importlib.import_module(name)
    for path in sys.argv[2:]:
        contestants.load(path)
    for line in sys.stdin:
        channel.write(json.dumps(_in_a_fork(json.loads(line))) + "\n")
        channel.flush()


class Template:
    """A process that has imported a library and nothing else, and does each job in a fresh copy of itself.

    So a job's process has no history, and the import is paid once. What a job prints is dropped.
    """

    def __init__(self, library: str, also: list[str] | None = None):
        if not hasattr(os, "fork"):
            raise RuntimeError("timing: needs a system whose processes can copy themselves, such as Linux")
        self.library, self.also, self.process = library, also or [], None

    def _start(self) -> None:
        command = [sys.executable, "-c", "from contrastive_nb.timing.processes import _template; _template()", self.library, *self.also]
        pipes: dict = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0)
        self.process = subprocess.Popen(command, **pipes, start_new_session=True, env=environment())

    def ask(self, job: dict, seconds: float) -> dict:
        "The answer to a job, or that it took too long and was ended."
        if self.process is None or self.process.poll() is not None:
            self._start()
        try:
            self.process.stdin.write((json.dumps(job) + "\n").encode())
        except BrokenPipeError:  # it ended while it imported: no answer will be read
            pass
        if not select.select([self.process.stdout], [], [], seconds)[0]:
            self.close()
            return {"failed": f"took longer than {seconds:.0f} s"}
        line = self.process.stdout.readline()
        if not line:
            self.close()
            return {"failed": f"{self.library} cannot be imported here"}
        return json.loads(line)

    def close(self) -> None:
        "End the process and what it started."
        if self.process is None:
            return
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()
        self.process = None
