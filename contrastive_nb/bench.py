"""What a step costs: seconds of the processor and memory, measured so that contestants can be compared. Plain module: machinery.

`measure` times steps in this process, one after the other in every round; `peak` runs one step in a process of its own under a
memory limit; `compare` does both for the contestants of `contrastive_nb.contestants`, in fresh processes.
"""

import gc
import hashlib
import importlib
import inspect
import json
import math
import os
import platform
import select
import signal
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from contrastive_nb import contestants, files, profiles, tables
from contrastive_nb.contestants import CONTESTANTS, FLOOR, floor_of, installed, torch_of

GIGA = 10**9


# --- time ------------------------------------------------------------------------------------------------------------------------------


def _seconds(step: Callable[[], object], times: int, *clocks: Callable[[], float]) -> list[float]:
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
    if not isinstance(repetitions, int) or isinstance(repetitions, bool) or repetitions < 1:
        raise ValueError(f"repetitions: got {repetitions!r}, want a whole number above 0")
    steps = {name: make() for name, make in contestants.items()}
    times = {}
    for name, step in steps.items():
        step()
        times[name] = max(1, math.ceil(least / max(_seconds(step, 1, clock)[0], 1e-9)))
    found: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(repetitions):
        for name in reversed(steps) if turn % 2 else steps:
            found[name] += _seconds(steps[name], times[name], clock)
    return found


# --- memory ----------------------------------------------------------------------------------------------------------------------------


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
    if isinstance(error, MemoryError):
        return True
    said = str(error).lower()
    return isinstance(error, (RuntimeError, OSError)) and any(word in said for word in ("alloc", "out of memory", "cannot allocate"))


def _wake(torch) -> None:
    "The first product, softmax and backward of a process load code and make buffers: not the step's own memory."
    x = torch.ones(16, 16, requires_grad=True)
    torch.nn.functional.cross_entropy(torch.nn.functional.normalize(x) @ x.T, torch.arange(16)).backward()


def _under_watch(work: Callable[[], dict], limit: float) -> dict:
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


def _environment() -> dict:
    "In which a child finds this package, wherever it starts."
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH")]))}


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
        said = _under_watch(lambda: dict(seconds=_seconds(lambda: exec(step, names), 1, time.process_time)[0]), job["limit"])
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
    command = [sys.executable, "-c", "from contrastive_nb.bench import _peak_here; _peak_here()"]
    try:
        done = subprocess.run(command, input=job + "\n", capture_output=True, text=True, timeout=seconds, env=_environment())
    except subprocess.TimeoutExpired:
        return Peak(None, f"took longer than {seconds:g} s")
    if done.returncode < 0:
        return Peak(None, f"killed by signal {-done.returncode}")
    lines = done.stdout.splitlines()
    said: dict = json.loads(lines[-1]) if lines else {"error": " ".join(done.stderr.split()[-30:]) or f"ended with code {done.returncode}"}
    if "error" in said:
        raise RuntimeError(f"peak: {said['error']}")
    return Peak(said["bytes"], said.get("failed"), said.get("seconds"))


# --- inputs ----------------------------------------------------------------------------------------------------------------------------


def embeddings(rows: int, dims: int, *, seed: int = 0, noise: float = 0.5, device: str = "cpu"):
    "(rows, dims) queries and their keys, which are the queries and noise: float32, two leaves that ask for gradients."
    import torch

    generator = torch.Generator().manual_seed(seed)
    query = torch.randn(rows, dims, generator=generator)
    key = query + noise * torch.randn(rows, dims, generator=generator)
    return query.to(device).requires_grad_(), key.to(device).requires_grad_()


# --- one contestant in a fresh process -------------------------------------------------------------------------------------------------

PROBE = dict(rows=16, dims=8, noise=2.0)  # small inputs on which values and gradients are compared
AGREE = dict(value=1e-5, gradient=1e-4)  # relative distance from float64 up to which float32 counts as the same value
FIXED = 8 * 10**6  # bytes that a first step may take whatever its size
SLOW = 1.0  # seconds: the first step of such length is the one that counts, shorter ones are repeated
IMPORTS = {
    "torch": (),
    "contrastive_nb": ("contrastive_nb.objectives", "contrastive_nb.pairs", "contrastive_nb.scaling"),
    "info-nce-pytorch": ("info_nce",),
    "lightly": ("lightly",),
    "pytorch-metric-learning": ("pytorch_metric_learning.losses",),
    "sentence-transformers": ("sentence_transformers",),
}


def _inputs(job: dict, rows: int, noise: float):
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


def _time_a_cell(job: dict) -> dict:
    "Small step, inputs, then under the limit the first step and, if it was short, some more."
    make, clocks = CONTESTANTS[job["contestant"]].make, _clocks(job["device"])
    make(*_inputs(job, PROBE["rows"], PROBE["noise"]))()
    query, key = _inputs(job, job["rows"], 0.5)

    def work() -> dict:
        step = make(query, key)
        found = _seconds(step, 1, *clocks)
        if found[0] < SLOW:
            found = _seconds(step, max(1, math.ceil(job["least"] / max(found[0], 1e-9))), *clocks)
        return dict(zip(("seconds", "wall"), found, strict=True))

    return _under_watch(work, job["limit"]) if job["device"] == "cpu" else _under_gpu_watch(work, job["limit"])


def _under_gpu_watch(work: Callable[[], dict], limit: float) -> dict:
    "As `_under_watch`, for the memory of the GPU. Untried: written where there was none."
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


def _probe(job: dict) -> dict:
    "Value and gradients on the small inputs."
    query, key = _inputs(job, PROBE["rows"], PROBE["noise"])
    value = CONTESTANTS[job["contestant"]].make(query, key)()
    return dict(value=float(value), gradients=[x.grad.double().tolist() for x in (query, key)])


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
            raise RuntimeError("bench: needs a system whose processes can copy themselves, such as Linux")
        self.library, self.also, self.process = library, also or [], None

    def _start(self) -> None:
        command = [sys.executable, "-c", "from contrastive_nb.bench import _template; _template()", self.library, *self.also]
        pipes: dict = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0)
        self.process = subprocess.Popen(command, **pipes, start_new_session=True, env=_environment())

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


# --- many contestants ------------------------------------------------------------------------------------------------------------------


@dataclass
class Plan:
    "What a comparison runs. Raises `ValueError` naming the option."

    words: list[str] = field(default_factory=list)  # parts of contestants' names; none: everyone
    sizes: list[int] = field(default_factory=lambda: [256, 1024, 4096, 8192, 16384])
    dims: list[int] = field(default_factory=lambda: [128, 768])
    threads: list[int] = field(default_factory=lambda: [1, 2])
    repetitions: int = 3  # rounds, each in fresh processes with embeddings of its own
    memory_limit: float = 8.0  # gigabytes that a contestant may ask for
    minutes: float = 15.0  # after which no other round begins
    cap: float = 15.0  # seconds: a step expected to take more is left out, unless the bare products take a quarter of it; a cell
    #                    that has had as much in all has rounds enough
    device: str = "cpu"
    precision: str = "no"  # "bf16": of the embeddings
    first_seed: int = 0
    least: float = 0.05  # seconds that shorter steps are repeated for
    also: list[str] = field(default_factory=list)  # files that enter contestants of their own

    def __post_init__(self):
        for name in ("sizes", "dims", "threads"):
            values = getattr(self, name)
            if not values or not all(isinstance(x, int) and x > 0 for x in values):
                raise ValueError(f"{name}: got {values!r}, want whole numbers above 0")
        if min(self.sizes) < 2:
            raise ValueError(f"sizes: got {min(self.sizes)}, want 2 or more: one pair has nothing to compare with")
        for name in ("repetitions", "memory_limit", "minutes", "cap"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}: got {getattr(self, name)!r}, want a number above 0")
        if self.device not in ("cpu", "cuda"):
            raise ValueError(f"device: got {self.device!r}, want cpu or cuda")
        if self.precision not in ("no", "bf16"):
            raise ValueError(f"precision: got {self.precision!r}, want no or bf16")
        for path in self.also:
            contestants.load(path)
        self.names = chosen(self.words)

    @property
    def seeds(self) -> list[int]:
        return list(range(self.first_seed, self.first_seed + self.repetitions))


def chosen(words: list[str]) -> list[str]:
    "Names of the contestants of whose names a word is a part, and first those that they are held against. Raises `ValueError`."
    for word in words:
        if not any(word in name for name in CONTESTANTS):
            raise ValueError(f"contestant: got {word!r}, no name has it; there are {', '.join(CONTESTANTS)}")
    names = [name for name in CONTESTANTS if not words or any(word in name for word in words)]
    groups = {CONTESTANTS[name].group for name in names}
    first = {floor_of(group) for group in groups} | {torch_of(group) for group in groups if group not in FLOOR.values()}
    return [n for n in CONTESTANTS if n in first] + [n for n in names if n not in first]


def disagreement(name: str, templates: dict) -> dict:
    "How far a contestant is from the float64 dense objective on small inputs: the value's and the gradient's relative distance."
    import torch

    contestant = CONTESTANTS[name]
    job = dict(do="probe", contestant=name, threads=1, device="cpu", precision="no", seed=0, dims=PROBE["dims"])
    said = templates[contestant.library].ask(job, 120)
    if "failed" in said:
        return said
    query, key = (x.detach().double().requires_grad_() for x in embeddings(**PROBE))
    value = contestants.oracle(contestant.group, query, key)
    value.backward()
    right, got = torch.cat([query.grad, key.grad]), torch.cat([torch.tensor(x, dtype=torch.float64) for x in said["gradients"]])
    return dict(value=abs(said["value"] / value.item() - 1), gradient=((got - right).norm() / right.norm()).item())


def _too_far(found: dict) -> str | None:
    if found["value"] <= AGREE["value"] and found["gradient"] <= AGREE["gradient"]:
        return None
    return f"does not agree with float64: value off by {found['value']:.1g}, gradient by {found['gradient']:.1g}"


def _code_of(name: str) -> str:
    "What a kept measurement hangs on: the contestant's library and its version, torch's, and our own code where it runs."
    contestant = CONTESTANTS[name]
    parts = [contestant.library, installed(contestant.library), installed("torch"), inspect.getsource(contestant.make)]
    if contestant.library == "contrastive_nb":
        here = Path(__file__).parent
        parts += [p.read_text(encoding="utf-8") for f in ("objectives", "scaling") for p in sorted((here / f).glob("*.py"))]
        parts += [(here / f"{module}.py").read_text(encoding="utf-8") for module in ("manners", "pairs")]
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()[:12]


def _expected(cells: list[dict], cell: dict, power: int, space: int, limit: float) -> tuple[float | None, str | None]:
    "Seconds that a step is expected to take, from the largest smaller batch; or why it cannot be done, from memory."
    same = ("contestant", "dims", "threads", "precision")
    alike = [c for c in cells if all(c[key] == cell[key] for key in same) and c["rows"] < cell["rows"]]
    full = [c["rows"] for c in alike if (c["failed"] or "").startswith("out of memory")]
    if full:
        return None, f"out of memory with {min(full):,} rows"
    done = [c for c in alike if c["seconds"]]
    if not done:
        return None, None
    last = max(done, key=lambda c: c["rows"])
    growth = cell["rows"] / last["rows"]
    gigabytes = max(0, min(last["bytes"]) - FIXED) * growth**space / GIGA
    needed = f"would take about {gigabytes:,.0f} GB" if gigabytes > 2 * limit else None
    return statistics.median(last["seconds"]) * growth**power, needed


class _Comparison:
    "The state of `compare`: the table that grows, the templates, the clock."

    def __init__(self, plan: Plan, table: dict, save: Callable[[dict], None], watch: Callable[[str], None]):
        self.plan, self.table, self.save, self.watch = plan, table, save, watch
        self.entries = {name: CONTESTANTS[name] for name in plan.names if name not in table["missing"]}
        self.templates = {library: Template(library, plan.also) for library in dict.fromkeys(c.library for c in self.entries.values())}
        self.end = time.monotonic() + 60 * plan.minutes

    def agree(self) -> None:
        for name, contestant in list(self.entries.items()):
            if contestant.group == contestant.name:  # the bare products have no value
                continue
            self.watch(f"{name} against float64")
            found = disagreement(name, self.templates)
            if wrong := found.get("failed") or _too_far(found):
                self.table["missing"][name] = wrong
                del self.entries[name]
            else:
                self.table["agreement"][name] = found
        self.save(self.table)

    def _cell(self, name: str, rows: int, dims: int, threads: int) -> dict:
        entry = self.entries[name]
        return dict(
            contestant=name, group=entry.group, library=entry.library, rows=rows, dims=dims, threads=threads, precision=self.plan.precision,
            limit=self.plan.memory_limit, code=_code_of(name), seconds=[], wall=[], bytes=[], to_floor=[], to_torch=[],
            planned=self.plan.repetitions, cap=self.plan.cap, done=False, failed=None,
        )  # fmt: skip

    def setting(self, rows: int, dims: int, threads: int, step: Callable[[], None]) -> None:
        "All contestants at one size, in rounds; what is there already from the same code stays."
        where = dict(rows=rows, dims=dims, threads=threads, precision=self.plan.precision)
        here = {c["contestant"]: c for c in self.table["cells"] if all(c[key] == value for key, value in where.items())}
        fresh = {name: self._cell(name, rows, dims, threads) for name in self.entries}
        kept = {name for name, cell in fresh.items() if name in here and _can_stay(here[name], cell)}
        if len(kept) < len(fresh):  # those that the others are held against run beside them again
            kept -= self._yardsticks(fresh.keys() - kept)
        running = {name: cell for name, cell in fresh.items() if name not in kept}
        self.table["cells"] = [c for c in self.table["cells"] if c["contestant"] not in running or here.get(c["contestant"]) is not c]
        self.table["cells"] += running.values()
        try:
            for turn, seed in enumerate(self.plan.seeds):
                self._round(running, seed, backwards=turn % 2 == 1)
        finally:
            for cell in running.values():
                if not cell["failed"] and not cell["seconds"]:
                    cell["failed"] = "not reached"
            self.save(self.table)
        for _ in fresh:
            step()

    def _yardsticks(self, names) -> set[str]:
        groups = {self.entries[name].group for name in names}
        return {f(group) for group in groups for f in (floor_of, torch_of)} & set(self.entries)

    def _round(self, running: dict, seed: int, backwards: bool) -> None:
        first = [name for name in running if name in self._yardsticks(running)]
        others = [name for name in running if name not in first]
        now: dict[str, float] = {}  # seconds of this round
        for name in first + (others[::-1] if backwards else others):
            cell = running[name]
            if cell["failed"] or cell["done"] or time.monotonic() > self.end:
                continue
            self.watch(f"{name} {cell['rows']} x {cell['dims']}, {cell['threads']} threads")
            self._measure(cell, seed, now)
            self.save(self.table)

    def _measure(self, cell: dict, seed: int, now: dict) -> None:
        plan, entry = self.plan, self.entries[cell["contestant"]]
        floor, plain = now.get(floor_of(entry.group)), now.get(torch_of(entry.group))
        cap = max(plan.cap, 4 * (floor or 0))
        expected, failed = None, None
        if not cell["seconds"]:
            expected, failed = _expected(self.table["cells"], cell, entry.power, entry.space, plan.memory_limit)
        if failed is None and expected is not None and expected > cap and entry.name != floor_of(entry.group):
            failed = f"would take about {expected:,.0f} s a step"
        if failed:
            cell["failed"] = failed
            return
        job = {key: cell[key] for key in ("contestant", "rows", "dims", "threads", "precision", "limit")}
        said = self.templates[entry.library].ask(job | dict(do="time", device=plan.device, seed=seed, least=plan.least), 6 * cap + 60)
        if said.get("failed"):
            cell["failed"] = said["failed"]
            return
        seconds = now[entry.name] = said["seconds"]
        for key, value in dict(seconds=seconds, wall=said["wall"], bytes=said["bytes"]).items():
            cell[key].append(_digits(value))
        cell["to_floor"].append(_digits(seconds / (floor or seconds)) if floor or entry.name == floor_of(entry.group) else None)
        cell["to_torch"].append(_digits(seconds / plain) if plain else 1.0 if entry.name == torch_of(entry.group) else None)
        cell["done"] = len(cell["seconds"]) == plan.repetitions or sum(cell["seconds"]) > cap

    def run(self, step: Callable[[], None]) -> dict:
        "Agreement first, then every size, small ones first."
        try:
            self.agree()
            for rows in sorted(self.plan.sizes):
                for dims in self.plan.dims:
                    for threads in self.plan.threads:
                        self.setting(rows, dims, threads, step)
        finally:
            for template in self.templates.values():
                template.close()
            self.save(self.table)
        return self.table


def _digits(value: float) -> float:
    "Four digits: more would not be the same twice."
    return int(value) if isinstance(value, int) else float(f"{value:.4g}")


def _can_stay(old: dict, new: dict) -> bool:
    if old["code"] != new["code"] or old["limit"] != new["limit"]:
        return False
    failed = old["failed"] or ""
    return (
        old["done"] and old["planned"] >= new["planned"] or failed.startswith(("out of memory", "would take")) and old["cap"] == new["cap"]
    )


def facts(device: str = "cpu") -> dict:
    "What a reader must know of the machine to judge the numbers; nothing that names it."
    import torch

    machine = dict(cpu=_cpu_model(), cores=os.cpu_count(), memory_gb=_memory_gb(), system=f"{platform.system()} {platform.machine()}")
    if device == "cuda":
        machine["gpu"] = torch.cuda.get_device_name(0)
    return dict(
        date=time.strftime("%Y-%m-%d", time.gmtime()), device=device, **machine, python=platform.python_version(), torch=torch.__version__,
        versions={library: installed(library) for library in IMPORTS},
    )  # fmt: skip


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _memory_gb() -> int | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIGA)
    except (AttributeError, ValueError, OSError):
        return None


def compare(
    plan: Plan,
    *,
    table: dict | None = None,  # of an earlier run: what the same code measured on the same machine is kept
    save: Callable[[dict], None] = lambda table: None,  # called with the table after every measurement
    watch: Callable[[str], None] = lambda text: None,  # told what comes next
    step: Callable[[], None] = lambda: None,  # called once for each contestant and size that is through
) -> dict:
    "Run the plan: every contestant at every size in fresh processes, in rounds. Returns the table; what was measured is in it at any time."
    now = facts(plan.device)
    same = table is not None and all(table["facts"].get(key) == now[key] for key in ("cpu", "torch", "device"))
    missing = {name: why for name in plan.names if (why := contestants.available(CONTESTANTS[name]))}
    cells = [c for c in table["cells"] if c["contestant"] in CONTESTANTS and c["code"] == _code_of(c["contestant"])] if same else []
    agreement = {c["contestant"]: table["agreement"][c["contestant"]] for c in cells if c["contestant"] in table["agreement"]}
    table = dict(facts=now, temperature=contestants.TEMPERATURE, agreement=agreement, missing=missing, cells=cells)
    return _Comparison(plan, table, save, watch).run(step)


def summary(table: dict) -> list[dict]:
    "A row a contestant and size: medians, quartiles, memory over inputs and gradients, ratios within rounds, disagreement; or why not."
    return [_summed(cell, table["agreement"].get(cell["contestant"], {})) for cell in sorted(table["cells"], key=_order)]


def _order(cell: dict):
    place = list(CONTESTANTS).index(cell["contestant"]) if cell["contestant"] in CONTESTANTS else -1
    return cell["rows"], cell["dims"], cell["threads"], place


def _quartiles(values: list[float]) -> list[float]:
    return statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else values * 3


def _summed(cell: dict, agreement: dict) -> dict:
    row = {key: cell[key] for key in ("contestant", "rows", "dims", "threads")}
    if not cell["seconds"]:
        nothing = dict.fromkeys(("ms", "quartiles", "wall_ms", "mb", "to_floor", "to_torch", "value", "gradient"))
        return row | nothing | dict(why=cell["failed"])
    low, middle, high = (1e3 * x for x in _quartiles(cell["seconds"]))
    held = statistics.median(cell["bytes"]) - 2 * (2 if cell["precision"] == "bf16" else 4) * cell["rows"] * cell["dims"]
    ratios = {key: statistics.median(cell[key]) if None not in cell[key] else None for key in ("to_floor", "to_torch")}
    return row | dict(
        ms=middle, quartiles=f"{low:.3g} to {high:.3g}", wall_ms=1e3 * statistics.median(cell["wall"]), mb=max(0.0, held) / 1e6, **ratios,
        value=agreement.get("value"), gradient=agreement.get("gradient"), why=cell["failed"],
    )  # fmt: skip


def read(path: Path) -> dict:
    "A table that `write` wrote. Raises `ValueError` naming the file if it is none."
    try:
        table = json.loads(Path(path).read_text(encoding="utf-8"))
        wanted = {key: table[key] for key in ("facts", "temperature", "agreement", "missing", "cells")}
        [(cell["contestant"], cell["seconds"], cell["failed"]) for cell in wanted["cells"]]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{Path(path).name}: no table of a benchmark ({error!r})") from None
    return table


def write(table: dict, path: Path) -> None:
    "The table in its file, whole or not at all: a line a cell, so that two of them can be compared."
    cells = ",\n".join("  " + json.dumps(cell) for cell in table["cells"])
    head = json.dumps({key: value for key, value in table.items() if key != "cells"}, indent=1)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}.part")
    part.write_text(head[:-2] + f',\n "cells": [\n{cells}\n ]\n}}\n', encoding="utf-8")
    part.replace(path)


# --- the command -----------------------------------------------------------------------------------------------------------------------

FORMATS = {"ms": ".3g", "wall_ms": ".3g", "mb": ",.0f", "to_floor": ".2f", "to_torch": ".2f", "value": ".0e", "gradient": ".0e"}


def place(device: str, *, saved: bool) -> Path:
    "Where a device's table lies: among the facts of the project, or in the build folder. Raises `ValueError` outside a checkout."
    if saved and files.checkout() is None:
        raise ValueError("--save: the table is kept in the repository, not in the installed package; say --output PATH here")
    return (files.shared("data") if saved else files.build()) / "benchmarks" / f"{device}.json"


def run(plan: Plan, path: Path) -> tuple[dict, bool]:
    """Run the plan with a progress bar, keeping what is done in the file after every measurement; the table, and whether it is whole.

    A table that is there already is gone on with. Raises `ValueError` naming a file that is no table, or a device that is not here.
    """
    if plan.device == "cuda":
        profiles.pick_device("cuda")
    before = read(path) if path.exists() else None
    count = len(plan.names) * len(plan.sizes) * len(plan.dims) * len(plan.threads)
    from tqdm import tqdm

    with tqdm(total=count, unit="cell", disable=None, dynamic_ncols=True) as bar:
        try:
            return compare(plan, table=before, save=lambda table: write(table, path), watch=bar.set_postfix_str, step=bar.update), True
        except KeyboardInterrupt:
            if not path.exists():
                raise ValueError("bench: stopped before anything was measured") from None
            return read(path), False


def text(table: dict, plan: Plan | None = None) -> str:
    "The summary as lines, of the plan's part of the table or of all of it, and who did not take part."
    names = list(table["missing"]) + [cell["contestant"] for cell in table["cells"]] if plan is None else plan.names
    rows = [row for row in summary(table) if row["contestant"] in names]
    if plan is not None:
        rows = [row for row in rows if row["rows"] in plan.sizes and row["dims"] in plan.dims and row["threads"] in plan.threads]
    said = {key: value for key, value in table["facts"].items() if key != "versions"}
    lines = [", ".join(f"{key} {value}" for key, value in said.items()), "", repr(tables.table(rows, FORMATS))]
    return "\n".join(lines + [f"{name}: {why}" for name, why in table["missing"].items() if name in names])
