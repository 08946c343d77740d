"""Seconds of the processor and peak memory of a step, measured so that contestants can be compared. Plain module: machinery."""

import gc
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from contrastive_nb import files

GIGA = 10**9


def seconds_of(step: Callable[[], object], times: int, *clocks: Callable[[], float]) -> list[float]:
    "Seconds a step by each clock, on the average of that many steps; the garbage collector waits."
    gc.collect()
    gc.disable()
    try:
        starts = [clock() for clock in clocks]
        for _ in range(times):
            step()
        return [(clock() - start) / times for clock, start in zip(clocks, starts, strict=True)]
    finally:
        gc.enable()


def measure(
    contestants: dict[str, Callable[[], Callable[[], object]]],  # name -> makes its inputs and returns the step that is timed
    repetitions: int,
    *,
    least: float = 0.02,  # seconds that a repetition lasts at least: shorter steps are done several times and averaged
    clock: Callable[[], float] = time.process_time,  # of this process with all its threads; what others do does not count
) -> dict[str, list[float]]:
    """Seconds a step of each contestant, one number a repetition; repetition i of one is the neighbour of repetition i of another.

    Every contestant is made and warmed up first; then each round goes through all of them, every other round backwards. Ratios
    are taken within a round. Raises `ValueError` naming the argument.
    """
    if not isinstance(contestants, dict) or not contestants:
        raise ValueError(f"contestants: got {contestants!r}, want a dict of one or more, name -> function that makes a step")
    from contrastive_nb.checks import check_count  # here: the process that measures memory loads no more than it measures

    check_count("repetitions", repetitions)
    steps = {name: make() for name, make in contestants.items()}
    times = {}
    for name, step in steps.items():
        step()
        times[name] = max(1, math.ceil(least / max(seconds_of(step, 1, clock)[0], 1e-9)))
    found: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(repetitions):
        for name in reversed(steps) if turn % 2 else steps:
            found[name] += seconds_of(steps[name], times[name], clock)
    return found


class Peak(NamedTuple):
    "What one step in a fresh process took: bytes over what was there before it, or why there is no number."

    bytes: int | None  # the most memory at any moment of the step, over imports and inputs; gradients of the inputs count
    failed: str | None = None  # "out of memory (limit 4 GB)", "killed by signal 9", "took longer than 60 s"
    seconds: float | None = None  # of the process, for the step


def _status(*keys: str) -> list[int]:
    "Bytes of these lines of /proc/self/status."
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    values = dict(line.split(":", 1) for line in lines)
    return [int(values[key].split()[0]) * 1024 for key in keys]


def _high_water() -> int:
    "The most memory that this process has held, in bytes."
    if Path("/proc/self/status").exists():
        return _status("VmHWM")[0]
    try:
        import resource
    except ImportError:
        raise RuntimeError("memory: this system says neither by /proc nor by getrusage what a process has held") from None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _forget_high_water() -> int:
    "Bytes held now; where the system allows it, the high-water mark begins anew from here."
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        pass
    return _status("VmRSS")[0] if Path("/proc/self/status").exists() else _high_water()


def _fence(limit: float) -> None:
    "No more than `limit` gigabytes of addresses beyond those taken already; without effect where the system has no such limit."
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (_status("VmSize")[0] + int(limit * GIGA), resource.RLIM_INFINITY))
    except (ImportError, OSError, ValueError):
        pass


def _is_out_of_memory(error: BaseException) -> bool:
    "Whether an allocator said no: torch's says so in a `RuntimeError`, by words alone."
    if isinstance(error, MemoryError):
        return True
    said = str(error).lower()
    return isinstance(error, (RuntimeError, OSError)) and any(word in said for word in ("alloc", "out of memory", "cannot allocate"))


def under_watch(work: Callable[[], dict], limit: float) -> dict:
    "What the work answers and the bytes that it held at most, or that the limit did not suffice."
    gc.collect()
    before = _forget_high_water()
    _fence(limit)
    try:
        said = work()
    except (MemoryError, RuntimeError, OSError) as error:
        if not _is_out_of_memory(error):
            raise
        return {"bytes": None, "failed": f"out of memory (limit {limit:g} GB)"}
    return {"bytes": max(0, _high_water() - before)} | said


def environment() -> dict:
    "In which a child finds this package, wherever it starts."
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [str(files.PACKAGE.parent), os.environ.get("PYTHONPATH")]))}


def _wake(torch) -> None:
    "The first product, softmax and backward of a process load code and make buffers: not the step's own memory."
    x = torch.ones(16, 16, requires_grad=True)
    torch.nn.functional.cross_entropy(torch.nn.functional.normalize(x) @ x.T, torch.arange(16)).backward()


def _peak_here() -> None:
    "The child's side of `peak`: the job is a line of JSON on stdin, the answer the last line on stdout."
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    job = json.loads(sys.stdin.readline())
    import torch

    torch.set_num_threads(job["threads"])
    _wake(torch)
    names = dict(job["values"])
    try:
        exec(compile(job["setup"], "<setup>", "exec"), names)
        exec(compile(job["warm"], "<warm>", "exec"), names)
        step = compile(job["step"], "<step>", "exec")
        said = under_watch(lambda: dict(seconds=seconds_of(lambda: exec(step, names), 1, time.process_time)[0]), job["limit"])
    except Exception as error:  # the parent raises it, in its own words
        said = {"error": f"{type(error).__name__}: {error}"}
    channel.write(json.dumps(said) + "\n")
    channel.flush()
    os._exit(0)  # what lies about is not torn down under the limit


def peak(
    setup: str,  # code that imports and makes inputs
    step: str,  # code whose memory is measured; it sees the names that setup made
    *,
    warm: str = "",  # code that runs between the two, such as the step on small inputs
    limit: float = 4.0,  # gigabytes that the step may ask for
    threads: int = 1,
    seconds: float | None = None,  # wall time after which it is ended
    **values,  # numbers and text that the code finds under these names
) -> Peak:
    """The most memory that a step holds over what its process held before, in a fresh process under a memory limit.

    A step that the limit stops, that the system kills or that takes too long gives a `Peak` that says so. Raises `RuntimeError`
    with the code's own error, `ValueError` for a limit that is no number above 0.
    """
    if not isinstance(limit, (int, float)) or not limit > 0:
        raise ValueError(f"limit: got {limit!r}, want gigabytes, a number above 0")
    job = json.dumps(dict(setup=setup, step=step, warm=warm, limit=limit, threads=threads, values=values))
    command = [sys.executable, "-c", "from contrastive_nb.timing.measure import _peak_here; _peak_here()"]
    try:
        done = subprocess.run(command, input=job + "\n", capture_output=True, text=True, timeout=seconds, env=environment())
    except subprocess.TimeoutExpired:
        return Peak(None, f"took longer than {seconds:g} s")
    if done.returncode < 0:
        return Peak(None, f"killed by signal {-done.returncode}")
    lines = done.stdout.splitlines()
    said: dict = json.loads(lines[-1]) if lines else {"error": " ".join(done.stderr.split()[-30:]) or f"ended with code {done.returncode}"}
    if "error" in said:
        raise RuntimeError(f"peak: {said['error']}")
    return Peak(said["bytes"], said.get("failed"), said.get("seconds"))


def embeddings(rows: int, dims: int, *, seed: int = 0, noise: float = 0.5, device: str = "cpu"):
    "(rows, dims) queries and their keys, which are the queries and noise: float32, two leaves that ask for gradients."
    import torch

    generator = torch.Generator().manual_seed(seed)
    query = torch.randn(rows, dims, generator=generator)
    key = query + noise * torch.randn(rows, dims, generator=generator)
    return query.to(device).requires_grad_(), key.to(device).requires_grad_()
