"""Digits: every objective on pairs, and other libraries' ways to the same values, against float64. Plain module."""

# Each is asked for a value and its gradient in a dtype, and then the same is computed in float64 from the same rounded numbers: what
# rounding the inputs costs is nobody's fault and is not counted. Our objectives are asked twice: from scores, which is the objective
# alone, and from embeddings, which is what a user calls; others take embeddings. Nothing is timed here.

import csv
import importlib.metadata
import io
import math
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from contrastive_nb import files, registry
from contrastive_nb.checks import check_choice, check_is, check_number
from contrastive_nb.pairs import Pairs, from_labels, two_views
from contrastive_nb.timing import contestants
from contrastive_nb.timing.contestants import CONTESTANTS, GROUPS

TEMPERATURES = (1.0, 0.1, 0.05, 0.02, 0.01, 0.005)
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
OURS = "contrastive_nb"
ITEMS, DIMS, FAR = 16, 16, 1e3
# below these a number is held to an absolute error: a float32 rounds a number near 1 by 6e-8, and nobody is asked for more
VALUE_FLOOR = 1e-2
GRADIENT_FLOOR = 1e-2  # over the temperature and the length of the rows, as gradients grow
BOUND, HALF_BOUND = 1e-5, 1e-2
SCORE_ROUNDING = 3e-7  # a float32 score is rounded by about a tenth of it; a temperature divides that too
UNDEFINED = ("decoupled", "mw", "ranknet")  # formulas that have no value without a negative, which one item does not have
KEYS = ("who", "library", "source", "dtype", "situation")
COLUMNS = (*KEYS, "temperature", "value", "gradient", "why")


def _unit(*shape: int, generator: torch.Generator) -> Tensor:
    return torch.nn.functional.normalize(torch.randn(shape, generator=generator, dtype=torch.float64), dim=-1)


def _near(query: Tensor, generator: torch.Generator, noise: float = 0.04) -> Tensor:
    return query + noise * torch.randn(query.shape, generator=generator, dtype=torch.float64)


def _spread(generator):
    return _unit(ITEMS, DIMS, generator=generator), _unit(ITEMS, DIMS, generator=generator)


def _aligned(generator):
    query = _unit(ITEMS, DIMS, generator=generator)
    return query, _near(query, generator)


def _anti_aligned(generator):
    query = _unit(ITEMS, DIMS, generator=generator)
    return query, -_near(query, generator)


def _duplicates(generator):
    query = _unit(ITEMS // 2, DIMS, generator=generator)
    key = _near(query, generator, 0.1)
    return query.repeat(2, 1), key.repeat(2, 1)


def _all_equal(generator):
    row = _unit(1, DIMS, generator=generator).repeat(ITEMS, 1)
    return row, row.clone()


def _one_item(generator):
    return tuple(x[:1] for x in _spread(generator))


def _zero_rows(generator):
    query, key = _spread(generator)
    query[:2], key[1:3] = 0, 0
    return query, key


def _large(generator):
    return tuple(FAR * x for x in _spread(generator))


SITUATIONS: dict[str, tuple[str, Callable]] = {  # name -> what it says, and who makes its two views
    "spread": ("two views drawn apart", _spread),
    "aligned": ("each view near the other", _aligned),
    "anti-aligned": ("each view near the other's opposite", _anti_aligned),
    "duplicates": ("every item twice in the batch", _duplicates),
    "all equal": ("one row everywhere", _all_equal),
    "one item": ("a batch of one", _one_item),
    "one class": ("all items of one class", _spread),
    "zero rows": ("some rows are zero", _zero_rows),
    "large": (f"rows of length {FAR:,.0f}; scores, where they are given, as far apart", _large),
}


@dataclass
class Plan:
    "What is asked. Raises `TypeError` or `ValueError` naming the option."

    words: list[str] = field(default_factory=list)  # parts of names of those who are asked; none: everyone
    libraries: list[str] = field(default_factory=list)  # whose code is asked; none: everyone's
    temperatures: tuple[float, ...] = TEMPERATURES
    dtypes: tuple[str, ...] = tuple(DTYPES)
    situations: tuple[str, ...] = tuple(SITUATIONS)
    sources: tuple[str, ...] = ("scores", "embeddings")
    seed: int = 0  # of the embeddings

    def __post_init__(self):
        for name, choices in (("dtypes", DTYPES), ("situations", SITUATIONS), ("sources", ("scores", "embeddings"))):
            for value in check_is(name, getattr(self, name), (list, tuple), "a list of names"):
                check_choice(name, value, tuple(choices))
        for temperature in check_is("temperatures", self.temperatures, (list, tuple), "a list of numbers above 0"):
            check_number("temperatures", temperature, 0, open_low=True)
        for word in check_is("words", self.words, (list, tuple), "a list of texts"):
            if not any(word in name for name in (*_objectives(), *_ways())):
                raise ValueError(f"words: got {word!r}, no name has it; there are {', '.join((*_objectives(), *_ways()))}")

        for library in check_is("libraries", self.libraries, (list, tuple), "a list of names"):
            check_choice("libraries", library, (OURS, *sorted({one.library for one in _ways().values()} - {OURS})))

    def wants(self, name: str, library: str) -> bool:
        "Whether this one is asked."
        return (not self.words or any(word in name for word in self.words)) and (not self.libraries or library in self.libraries)


def _objectives() -> dict[str, registry.Method]:
    return {method.name: method for method in registry.methods("pairs")}


def _ways() -> dict[str, contestants.Contestant]:
    "Those that compute a value with a gradient in the dtype they are given."
    groups = [name for name, (shapes, _) in GROUPS.items() if shapes != "search" and not name.startswith("product")]
    return {name: one for name, one in CONTESTANTS.items() if one.group in groups and name != "mw/plain"}


# --- one question --------------------------------------------------------------------------------------------------------------------


def error_of(
    got: float,
    slopes: Iterable[Tensor],  # as they came
    want: float,
    exact: Iterable[Tensor],  # in float64
    floor: float,  # of the gradient
) -> tuple[float, float]:
    "How far value and gradient are off, relative to what is wanted or to the floor; infinite where one is not finite."
    got_all, want_all = (torch.cat([x.double().flatten() for x in some]) for some in (list(slopes), list(exact)))
    value = abs(got - want) / max(abs(want), VALUE_FLOOR) if math.isfinite(got) else math.inf
    if not torch.isfinite(got_all).all():
        return value, math.inf
    return value, ((got_all - want_all).norm() / max(want_all.norm().item(), floor)).item()


def _derived(loss: Callable, *inputs: Tensor) -> tuple[float, list[Tensor]]:
    inputs = tuple(x.detach().clone().requires_grad_() for x in inputs)
    value = loss(*inputs)
    slopes = torch.autograd.grad(value, inputs, allow_unused=True) if value.requires_grad else [None] * len(inputs)
    return value.item(), [torch.zeros_like(x) if slope is None else slope for x, slope in zip(inputs, slopes, strict=True)]


def _stepped(make: Callable, *inputs: Tensor) -> tuple[float, list[Tensor]]:
    inputs = tuple(x.detach().clone().requires_grad_() for x in inputs)
    value = make(*inputs)()
    return float(value), [torch.zeros_like(x) if x.grad is None else x.grad for x in inputs]


def _row(key: dict, temperature: float | None, answer: Callable) -> dict:
    "The row of one question; what was refused says why."
    row = key | dict(temperature=temperature)
    try:
        value, gradient = answer(temperature=temperature)
    except Exception as error:
        return row | dict(value=math.inf, gradient=math.inf, why=f"{type(error).__name__}: {' '.join(str(error).split())[:80]}")
    return row | dict(value=value, gradient=gradient, why="")


def _built(method, situation: str, query: Tensor, key: Tensor) -> Pairs:
    "Two views; classes where positives share the denominator, and where the situation is one class."
    if situation != "one class" and method.needs != "key":
        return two_views(query, key)
    classes = torch.arange(len(query)) % (1 if situation == "one class" else max(2, len(query) // contestants.CLASS_SIZE))
    return from_labels(torch.cat([query, key]), classes.repeat(2))


def _objective(method, source: str, dtype: str, situation: str, temperature: float | None, views: tuple) -> tuple[float, float]:
    "One of our objectives, from rounded scores or from rounded embeddings."
    options = {} if temperature is None else {"temperature": temperature}
    floor, far = GRADIENT_FLOOR / (temperature or 1), FAR if situation == "large" else 1
    if source == "scores":
        pairs = _built(method, situation, *views)
        asked = partial(_derived, lambda scores: method(scores, *pairs[1:3], **options))
        return _held(asked, asked, ((far * pairs.scores).to(DTYPES[dtype]),), floor)
    asked = partial(_derived, lambda query, key: method(*_built(method, situation, query, key), **options))
    return _held(asked, asked, tuple(x.to(DTYPES[dtype]) for x in views), floor / far)


def _held(asked: Callable, truth: Callable, inputs: tuple, floor: float) -> tuple[float, float]:
    "What is asked, held against the truth in float64; at rows of zeros a cosine has no gradient, and what stands there has to be finite alone."
    got, slopes = asked(*inputs)
    want, exact = truth(*(x.double() for x in inputs))
    if not all(torch.isfinite(slope).all() for slope in slopes):
        return error_of(got, slopes, want, exact, floor)
    there = [(x != 0).any(-1, keepdim=True) if x.dim() == 2 and len(inputs) == 2 else torch.ones_like(x, dtype=torch.bool) for x in inputs]
    kept = [[torch.where(mask, slope, 0.0) for slope, mask in zip(some, there, strict=True)] for some in (slopes, exact)]
    return error_of(got, kept[0], want, kept[1], floor)


def _way(one, dtype: str, situation: str, temperature: float, views: tuple) -> tuple[float, float]:
    "A library's way to a value, from embeddings; the truth is our dense objective in float64. What a library says at import is not wanted."
    inputs = tuple(x.to(DTYPES[dtype]) for x in views)
    floor = GRADIENT_FLOOR / temperature / (FAR if situation == "large" else 1)
    with warnings.catch_warnings(action="ignore"), contestants.asked(temperature, 1 if situation == "one class" else None):
        truth = partial(_derived, partial(contestants.oracle, one.group))
        return _held(partial(_stepped, one.make), truth, inputs, floor)


# --- the table -----------------------------------------------------------------------------------------------------------------------


def _asked_of(one, situation: str) -> bool:
    "Whether a way has something to say: classes are a matter of labels, and a formula without a negative may have no value."
    if situation == "one class":  # there pytorch-metric-learning gives 0 by a rule of its own
        return one.group == "supcon" and one.library != "pytorch-metric-learning"
    return not (situation == "one item" and one.group in UNDEFINED)


def missing() -> dict[str, str]:
    "Who cannot take part here, and why."
    return {name: why for name, one in _ways().items() if (why := contestants.available(one))}


def _questions(plan: Plan) -> Iterator[tuple]:
    "Who, whose library, from what, in which dtype and situation, and what answers at a temperature."
    absent = missing()
    for situation in plan.situations:
        views = SITUATIONS[situation][1](torch.Generator().manual_seed(plan.seed))
        for dtype in plan.dtypes:
            for name, method in _objectives().items():
                for source in plan.sources if plan.wants(name, OURS) else ():
                    answer = partial(_objective, method, source, dtype, situation, views=views)
                    yield name, OURS, source, dtype, situation, plan.temperatures if method.temperature else (None,), answer
            for name, one in _ways().items() if "embeddings" in plan.sources else ():
                if plan.wants(name, one.library) and name not in absent and _asked_of(one, situation):
                    yield (
                        name,
                        one.library,
                        "embeddings",
                        dtype,
                        situation,
                        plan.temperatures,
                        partial(_way, one, dtype, situation, views=views),
                    )


def measure(plan: Plan | None = None, step: Callable[[], object] = lambda: None) -> list[dict]:
    "A row a question: how far value and gradient are off, of everyone that is here; `step` is called after each line of them."
    rows = []
    for *key, temperatures, answer in _questions(plan or Plan()):
        rows += [_row(dict(zip(KEYS, key, strict=True)), t, answer) for t in temperatures]
        step()
    return rows


def bound(row: dict) -> float:
    "How far off a row of ours may be: what is left of the dtype, and of the score where it is rounded before the temperature divides it."
    if row["dtype"] != "float32":
        return HALF_BOUND
    return max(BOUND, SCORE_ROUNDING / (row["temperature"] or 1)) if row["source"] == "embeddings" else BOUND


# where more is lost by nature: (what a row says, how far off it may then be, why)
BY_NATURE: tuple[tuple[dict, float, str], ...] = (
    (
        dict(situation="all equal", source="embeddings", dtype="float32"),
        1e-3,
        "where all rows are equal the gradient is 0, a difference of equal numbers: what is left is their rounding",
    ),
    (
        dict(situation="large", source="embeddings", dtype="float16"),
        1e-1,
        "the gradient of a long row is small, and float16 has no number between 0 and 6e-8",
    ),
)


def by_nature(row: dict) -> str | None:
    "Why a row may be worse than its bound, or `None` where nothing excuses it."
    for says, limit, why in BY_NATURE:
        if says.items() <= row.items() and row["value"] <= bound(row) and row["gradient"] <= limit:
            return why
    return None


def worse(row: dict) -> float:
    "The larger of the two errors."
    return max(row["value"], row["gradient"])


def faults(rows: list[dict]) -> list[dict]:
    "The rows of ours that are worse than their bound, worst first."
    return sorted((row for row in rows if row["library"] == OURS and not worse(row) <= bound(row)), key=worse, reverse=True)


def worst(rows: list[dict], *by: str) -> dict[tuple, dict]:
    "Of the rows that agree in these columns, the one that is furthest off."
    found: dict[tuple, dict] = {}
    for row in rows:
        key = tuple(row[name] for name in by)
        if key not in found or worse(row) > worse(found[key]):
            found[key] = row
    return found


# --- its file ------------------------------------------------------------------------------------------------------------------------


def versions() -> dict[str, str]:
    "Of the libraries that are asked here."
    names = sorted({one.library for one in _ways().values()} - {OURS})
    return {name: found for name in names if (found := contestants.installed(name))} | {OURS: importlib.metadata.version(OURS)}


def place(*, saved: bool) -> Path:
    "Where the table lies: among the facts of the project, or in the build folder. Raises `ValueError` outside a checkout."
    if saved and files.checkout() is None:
        raise ValueError("--save: the table is kept in the repository, not in the installed package; say --output PATH here")
    return (files.shared("data") if saved else files.build()) / "benchmarks" / "numerics.csv"


def write(rows: list[dict], path: Path) -> None:
    "The table in its file, whole or not at all: versions, then a line a situation, value and gradient of each temperature to two digits."
    temperatures = sorted({row["temperature"] for row in rows} - {None}, reverse=True)
    lines: dict[tuple, dict] = {}
    for row in rows:
        line = lines.setdefault(tuple(row[name] for name in KEYS), dict(why=row["why"]))
        line["why"] = line["why"] or row["why"]
        line[row["temperature"]] = f"{row['value']:.1e} {row['gradient']:.1e}"
    text = io.StringIO()
    text.write("# " + ", ".join(f"{name} {version}" for name, version in versions().items()) + "\n")
    kept = csv.writer(text, lineterminator="\n")
    kept.writerow([*KEYS, "none", *(f"{t:g}" for t in temperatures), "why"])
    for key, line in lines.items():
        kept.writerow([*key, *(line.get(t, "") for t in (None, *temperatures)), line["why"]])
    files.write_whole(path, text.getvalue())


def read(path: Path) -> tuple[list[dict], str]:
    "The rows of a table that `write` wrote, and the versions. Raises `ValueError` naming the file if it is none."
    try:
        first, *lines = Path(path).read_text(encoding="utf-8").splitlines()
        rows = [row for line in csv.DictReader(lines) for row in _rows_of(line)]
        if not first.startswith("# ") or not rows:
            raise ValueError("no rows, or no versions above them")
    except (ValueError, KeyError, AttributeError) as error:
        raise ValueError(f"{Path(path).name}: no table of errors ({type(error).__name__}: {error})") from None
    return rows, first[2:]


def _rows_of(line: dict) -> Iterator[dict]:
    "The rows of one line, a temperature each."
    key = {name: line[name] for name in KEYS}
    for temperature, errors in line.items():
        if errors and temperature not in (*KEYS, "why"):
            value, gradient = map(float, errors.split())
            yield key | dict(
                temperature=None if temperature == "none" else float(temperature), value=value, gradient=gradient, why=line["why"]
            )
