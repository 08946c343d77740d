"""Many contestants at many sizes, in rounds, each in fresh processes. Plain module."""

import hashlib
import inspect
import math
import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from contrastive_nb import files
from contrastive_nb.timing import contestants
from contrastive_nb.timing.contestants import CONTESTANTS, FLOOR, floor_of, installed, torch_of
from contrastive_nb.timing.measure import GIGA, embeddings
from contrastive_nb.timing.processes import IMPORTS, PROBE, Template

AGREE = dict(value=1e-5, gradient=1e-4)  # relative distance from float64 up to which float32 counts as the same value
PATIENCE = (6, 40)  # caps of wall time after which a step is ended; the second where no smaller batch says how long it takes
FIXED = 8 * 10**6  # bytes that a first step may take whatever its size


@dataclass
class Plan:
    "What a comparison runs. Raises `TypeError` or `ValueError` naming the option."

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
        from contrastive_nb import checks  # brings torch along

        for name in ("sizes", "dims", "threads"):
            values = checks.check_is(name, getattr(self, name), (list, tuple), "whole numbers above 0")
            if not values or not all(isinstance(x, int) and not isinstance(x, bool) and x > 0 for x in values):
                raise ValueError(f"{name}: got {values!r}, want whole numbers above 0")
        if min(self.sizes) < 2:
            raise ValueError(f"sizes: got {min(self.sizes)}, want 2 or more: one pair has nothing to compare with")
        checks.check_count("repetitions", self.repetitions), checks.check_count("first_seed", self.first_seed, 0)
        for name in ("memory_limit", "minutes", "cap"):
            if getattr(self, name) != math.inf:  # no limit
                checks.check_number(name, getattr(self, name), 0, open_low=True)
        checks.check_number("least", self.least, 0)
        checks.check_choice("device", self.device, ("cpu", "cuda"))
        checks.check_choice("precision", self.precision, ("no", "bf16"))
        for name in ("words", "also"):
            for text in checks.check_is(name, getattr(self, name), (list, tuple), "a list of texts"):
                checks.check_is(name, text, str, "a list of texts")
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
    "How far a contestant is from the float64 dense objective on small inputs: the value's and the gradient's relative distance, None of a search."
    import torch

    contestant = CONTESTANTS[name]
    job = dict(do="probe", contestant=name, threads=1, device="cpu", precision="no", seed=0, dims=PROBE["dims"])
    said = templates[contestant.library].ask(job, 120)
    if "failed" in said:
        return said
    query, key = (x.detach().double().requires_grad_() for x in embeddings(**PROBE))
    value = contestants.oracle(contestant.group, query, key)
    if not contestants.learns(contestant.group):
        return dict(value=abs(said["value"] / value.item() - 1), gradient=None)
    value.backward()
    right, got = torch.cat([query.grad, key.grad]), torch.cat([torch.tensor(x, dtype=torch.float64) for x in said["gradients"]])
    return dict(value=abs(said["value"] / value.item() - 1), gradient=((got - right).norm() / right.norm()).item())


def _too_far(found: dict) -> str | None:
    "What to say of a contestant that computes something else, or `None`."
    if all(far is None or far <= AGREE[key] for key, far in found.items()):
        return None
    return "does not agree with float64: " + ", ".join(f"{key} off by {far:.1g}" for key, far in found.items() if far is not None)


def _code_of(name: str) -> str:
    "What a kept measurement hangs on: the contestant's library and its version, torch's, and our own code where it runs."
    contestant = CONTESTANTS[name]
    parts = [contestant.library, installed(contestant.library), installed("torch"), inspect.getsource(contestant.make)]
    if contestant.library == "contrastive_nb":
        rooms = [path for room in ("objectives", "scaling", "kernels", "negatives") for path in sorted((files.PACKAGE / room).glob("*.py"))]
        modules = [files.PACKAGE / f"{module}.py" for module in ("checks", "rows", "objective", "pairs")]
        parts += [path.read_text(encoding="utf-8") for path in rooms + modules]
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


def _digits(value: float) -> float:
    "Four digits: more would not be the same twice."
    return int(value) if isinstance(value, int) else float(f"{value:.4g}")


def _can_stay(old: dict, new: dict) -> bool:
    "Whether a cell of an earlier run says all that the new one would."
    if old["code"] != new["code"] or old["limit"] != new["limit"]:
        return False
    failed = old["failed"] or ""
    return (
        old["done"] and old["planned"] >= new["planned"] or failed.startswith(("out of memory", "would take")) and old["cap"] == new["cap"]
    )


class _Comparison:
    "The state of `compare`: the table that grows, the templates, the clock."

    def __init__(self, plan: Plan, table: dict, save: Callable[[dict], None], watch: Callable[[str], None]):
        self.plan, self.table, self.save, self.watch = plan, table, save, watch
        self.entries = {name: CONTESTANTS[name] for name in plan.names if name not in table["missing"]}
        self.templates = {library: Template(library, plan.also) for library in dict.fromkeys(c.library for c in self.entries.values())}
        self.end = time.monotonic() + 60 * plan.minutes

    def agree(self) -> None:
        "Hold everyone against float64; who computes something else takes no part."
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
        "Those that these contestants are held against."
        groups = {self.entries[name].group for name in names}
        return {f(group) for group in groups for f in (floor_of, torch_of)} & set(self.entries)

    def _round(self, running: dict, seed: int, backwards: bool) -> None:
        "Every cell once, the yardsticks first: the ratios of a round are to their seconds of the same round."
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
        "One more measurement in the cell, or why there is none."
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
        wait = PATIENCE[expected is None and not cell["seconds"]] * cap + 60
        job = {key: cell[key] for key in ("contestant", "rows", "dims", "threads", "precision", "limit")}
        said = self.templates[entry.library].ask(job | dict(do="time", device=plan.device, seed=seed, least=plan.least), wait)
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
