"""The checks that every method of the registry gets: each a function of the entry that raises AssertionError with a telling message.

A check asks only what the entry's shape, options, temperature and promises say. `CHECKS` lists them all, by name.
"""

import ast
import functools
import inspect
import itertools
import json
import math
import pathlib
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import pytest
import torch
from oracles import ARRANGEMENTS, ORACLES, draw
from torch import Tensor
from torch.autograd.gradcheck import GradcheckError

from contrastive_nb.encoders import seeded
from contrastive_nb.objectives.decoupled import pull_weights
from contrastive_nb.pairs import Pairs, exclude, flip, from_labels, from_relevance, in_batch, two_views, views, with_queue
from contrastive_nb.training import fit

NOTEBOOKS = pathlib.Path(__file__).resolve().parents[1] / "nbs"
CHECKS: dict[str, Callable] = {}
TEMPERATURES = (1.0, 0.5, 0.1, 0.07, 0.05, 0.02, 0.01, 0.005)
FLOAT64 = torch.float64
EMBEDDINGS = ("views", "labelled", "prototypes", "maps")


def check(function: Callable = None, /, *, name: str | None = None, shapes=("pairs", "lists", *EMBEDDINGS)) -> Callable:
    "Enter a check into the table; for a method of another signature it has nothing to ask."
    if function is None:
        return partial(check, name=name, shapes=shapes)
    CHECKS[name or function.__name__.removeprefix("check_").replace("_", " ")] = function
    function.shapes = shapes
    return function


def applicable(method) -> list[str]:
    "Names of the checks that ask something of this method."
    return [name for name, function in CHECKS.items() if method.signature in getattr(function, "func", function).shapes]


# ---- cases ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    "Arguments of one call: the first is what gradients are taken of."

    name: str
    arguments: tuple

    @property
    def scores(self) -> Tensor:
        return self.arguments[0]

    @property
    def rest(self) -> tuple:
        return self.arguments[1:]


def numbers(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0, dtype=FLOAT64) -> Tensor:
    return torch.randn(shape, generator=numbers(seed), dtype=FLOAT64).to(dtype)


def masks(queries: int, keys: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    "A third of the pairs positive, a third negative, a third in neither; the first three rows lack a positive, a negative, both."
    kind = torch.randint(0, 3, (queries, keys), generator=numbers(seed))
    kind[:, 0], kind[:, 1], kind[:, 2] = 0, 1, 2
    kind[0][kind[0] == 0] = 2
    kind[1][kind[1] == 1] = 2
    kind[2] = 2
    return kind == 0, kind == 1


def weigh(pairs: Pairs, seed: int = 5) -> Pairs:
    "Random weights on both kinds, some of them 0, and NaN where a pair is in neither mask."
    weights = torch.rand(pairs.scores.shape, generator=numbers(seed), dtype=FLOAT64) * 3
    weights = torch.where(weights < 0.5, 0.0, weights)
    return pairs._replace(weights=torch.where(pairs.positives | pairs.negatives, weights, math.nan))


def pair_cases() -> list[Case]:
    "Every builder, with and without weights, and rows that lack a positive or a negative."
    a, b, c, queue = (normal(4, 3, seed=s) for s in range(4))
    own, labels = normal(4, 2, 3, seed=4), torch.tensor([0, 1, 0, 2, 0, 1])
    relevance = torch.tensor([[2.0, 0.0, 1.0, 0.0], [0.0, 0.0, 3.0, 1.0], [0.0] * 4, [1.0] * 4])
    padding = torch.tensor([[True] * 3 + [False]] * 4)
    graded = from_relevance(normal(4, 4, seed=6), relevance, padding)
    built = {
        "two_views": two_views(a, b),
        "two_views, dot": two_views(a, b, similarity="dot"),
        "views of 3": views([a[:3], b[:3], c[:3]]),
        "in_batch": in_batch(a, b),
        "in_batch, shared hard": in_batch(a, b, c[:2]),
        "in_batch, own hard": in_batch(a, b, own, similarity="neg_euclidean"),
        "in_batch, target": in_batch(torch.cat([a, c]), b, target=torch.tensor([3, 0, 0, 1, 2, 2, 3, 1])),
        "with_queue": with_queue(a, b, queue),
        "with_queue, extra": with_queue(a, b, queue, extra=own),
        "from_labels": from_labels(torch.cat([a, b[:2]]), labels),
        "from_relevance": graded,
        "exclude": exclude(in_batch(a, b), torch.rand(4, 4, generator=numbers(7)) < 0.4),
        "flip": flip(graded),
        "ragged": Pairs(normal(6, 7, seed=8), *masks(6, 7)),
    }
    weighted = {f"{name}, weights": weigh(built[name]) for name in ("two_views", "views of 3", "with_queue, extra", "ragged")}
    return [Case(name, tuple(pairs)) for name, pairs in (built | weighted).items()]


def list_cases() -> list[Case]:
    "Graded lists: distinct grades, ties, padding, one document, nothing relevant."
    scores = normal(5, 6)
    grades = torch.randint(0, 4, (5, 6), generator=numbers(1)).to(FLOAT64)
    grades[3] = 0
    padding = torch.rand(5, 6, generator=numbers(2)) < 0.7
    padding[4] = torch.arange(6) == 0
    distinct = torch.stack([torch.randperm(6, generator=numbers(s)) for s in range(5)]).to(FLOAT64)
    return [Case("distinct grades", (scores, distinct)), Case("ties", (scores, grades)), Case("padding", (scores, grades, padding))]


def embedding_cases(shape: str) -> list[Case]:
    "Arguments one after another, as `spoken` takes them; the first case is one in which every item counts."
    z = [normal(24, 3, seed=s) for s in range(3)]
    maps, places = [normal(2, 3, 4, 5, seed=s) for s in range(2)], [normal(2, 4, 5, 2, seed=s) for s in (2, 3)]
    return {
        "views": [Case("two views", (z[0], z[1])), Case("three views", tuple(z))],
        "labelled": [Case("three classes", (z[0], torch.arange(24) % 3)), Case("one item a class", (z[1][:4], torch.arange(4)))],
        "prototypes": [Case("five prototypes", (z[0], z[1][:5])), Case("one prototype", (z[0], z[1][:1]))],
        "maps": [Case("two maps", (*maps, *places)), Case("one cell", (*(x[..., :1, :1] for x in maps), *(x[:, :1, :1] for x in places)))],
    }[shape]


def mixer_cases() -> list[Case]:
    "Queries and a queue that all of them share."
    keys = normal(9, 3, seed=1)
    return [
        Case("a queue", (normal(4, 3), keys)),
        Case("one query", (normal(1, 3), keys)),
        Case("keys twice", (normal(4, 3), torch.cat([keys, keys]))),
        Case("far from the sphere", (normal(4, 3) * 1e4, keys * 1e-4)),
    ]


def transform_cases() -> list[Case]:
    "Queries with their keys, and a queue or none."
    query, key, queue = normal(4, 3), normal(4, 3, seed=1), normal(9, 3, seed=2)
    return [
        Case("a queue", (query, key, queue)),
        Case("no queue", (query, key, None)),
        Case("one pair", (query[:1], key[:1], queue)),
        Case("perfect pairs", (query, 2 * query, queue)),
        Case("far from the sphere", (query * 1e4, key * 1e-4, queue * 1e4)),
    ]


@functools.cache
def _cases(shape: str) -> tuple[Case, ...]:
    if shape in EMBEDDINGS:
        return tuple(embedding_cases(shape))
    return tuple({"pairs": pair_cases, "lists": list_cases, "mixer": mixer_cases, "transform": transform_cases}[shape]())


def cases(shape: str) -> list[Case]:
    "All cases of a shape, copied, so that a method that writes into its arguments spoils no other check."
    return [Case(c.name, tuple(None if x is None else x.clone() for x in c.arguments)) for c in _cases(shape)]


def plain(method) -> Case:
    "One case in which every query counts."
    name = {"pairs": "from_labels", "lists": "distinct grades"}.get(method.shape)
    case = next(c for c in cases(method.shape) if name in (c.name, None))
    name = case.name
    return Case(name, tuple(plain_pairs())[:3]) if method.shape == "pairs" else case


def plain_pairs() -> Pairs:
    return from_labels(normal(6, 3), torch.tensor([0, 1, 0, 1, 0, 1]))


def used(case: Case) -> Tensor:
    "(Q, K) bool: the scores that are looked at."
    if case.rest and case.rest[0].dtype == torch.bool:
        return case.rest[0] | case.rest[1]
    return case.rest[1] if len(case.rest) > 1 else torch.ones_like(case.scores, dtype=torch.bool)


# ---- calls ---------------------------------------------------------------------------------------------------------------------


def spoken(method, arguments: tuple) -> tuple:
    "The arguments as the method's signature groups them: views and maps come as lists."
    if method.shape == "views":
        return (list(arguments),)
    return (list(arguments[:2]), list(arguments[2:])) if method.shape == "maps" else arguments


def call(method, *arguments, temperature=0.5, **keywords):
    return method(*spoken(method, arguments), **({"temperature": temperature} if method.temperature else {}), **keywords)


def value_and_gradient(loss: Callable, *inputs: Tensor) -> tuple[Tensor, list[Tensor]]:
    "The value of a scalar loss and its gradients; 0 where an input plays no part."
    inputs = [x.detach().clone().requires_grad_() for x in inputs]
    value = loss(*inputs)
    gradients = torch.autograd.grad(value, inputs, allow_unused=True) if value.requires_grad else [None] * len(inputs)
    return value.detach(), [torch.zeros_like(x) if g is None else g for x, g in zip(inputs, gradients, strict=True)]


def method_on(method, case: Case, scores: Tensor | None = None, **keywords) -> tuple[Tensor, Tensor]:
    "Value and gradient of the method on a case, or on other scores with the case's masks."
    value, (gradient,) = value_and_gradient(lambda s: call(method, s, *case.rest, **keywords), case.scores if scores is None else scores)
    return value, gradient


def close(got: Tensor, want: Tensor, what: str, *, tolerance: float) -> None:
    "Equal up to the tolerance times the larger of 1 and the wanted number; NaN equals NaN."
    assert got.shape == want.shape, f"{what}: got shape {tuple(got.shape)}, want {tuple(want.shape)}"
    got, want = got.double(), want.double()
    apart = ~torch.isclose(got, want, rtol=tolerance, atol=tolerance, equal_nan=True)
    if apart.any():
        at = tuple(apart.nonzero()[0].tolist())
        raise AssertionError(f"{what}: got {got[at].item():.12g}, want {want[at].item():.12g}" + (f" at {at}" if at else ""))


def near(got: Tensor, want: Tensor, what: str, *, tolerance: float) -> None:
    "Equal up to the tolerance times the norm of what is wanted."
    assert torch.isfinite(got).all(), f"{what}: not finite"
    error = (got.double() - want.double()).norm() / want.double().norm()
    assert error <= tolerance, f"{what}: off by {error:.2e} of its norm, want at most {tolerance:.1e}"


# ---- the double loop on the method's page ----------------------------------------------------------------------------------------


def _code_cells(notebook: str) -> list[ast.Module]:
    "Syntax trees of a page's plain code cells (exported cells and those with magics left out)."
    path = NOTEBOOKS / f"{notebook}.ipynb"
    assert path.exists(), f"notebook: there is no page {path.name} under nbs/"
    trees = []
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        try:
            tree = ast.parse("".join(cell["source"])) if cell["cell_type"] == "code" else None
        except SyntaxError:
            continue
        if tree and "#| export" not in "".join(cell["source"]):
            trees.append(tree)
    return trees


@functools.cache
def load_from_page(notebook: str, name: str) -> Callable:
    "A function that a page defines in a plain cell, with the imports that it names, in a namespace with torch and math."
    trees = _code_cells(notebook)
    definitions = [t for t in trees if any(isinstance(x, ast.FunctionDef) and x.name == name for x in t.body)]
    assert len(definitions) == 1, f"by_hand: {notebook} has {len(definitions)} plain cells that define {name}, want 1"
    names = {x.id for x in ast.walk(definitions[0]) if isinstance(x, ast.Name)}
    namespace = {"torch": torch, "math": math}
    for statement in itertools.chain.from_iterable(t.body for t in trees):
        if isinstance(statement, (ast.Import, ast.ImportFrom)):
            if names & {(alias.asname or alias.name).split(".")[0] for alias in statement.names}:
                exec(compile(ast.Module([statement], []), notebook, "exec"), namespace)
    exec(compile(definitions[0], notebook, "exec"), namespace)
    return namespace[name]


def by_hand(method) -> Callable:
    return load_from_page(method.notebook, method.by_hand)


def loop(method, case: Case, scores: Tensor, temperature=0.5) -> tuple[Tensor, Tensor]:
    "(Q,) losses by the double loop and (Q,) which queries count; a pooled objective gives one number that counts."
    losses = call_by_hand(method, case, scores, temperature)
    if isinstance(losses, Tensor):
        return losses[None], torch.ones(1, dtype=torch.bool)
    nothing = scores.sum() * 0
    return torch.stack([nothing if x is None else x for x in losses]), torch.tensor([x is not None for x in losses])


def call_by_hand(method, case: Case, scores: Tensor, temperature):
    return by_hand(method)(
        *spoken(method, (scores, *case.rest)), **method.options, **({"temperature": temperature} if method.temperature else {})
    )


def loop_mean(method, case: Case, scores: Tensor, temperature=0.5) -> Tensor:
    losses, counted = loop(method, case, scores, temperature)
    return losses.sum() / max(int(counted.sum()), 1)


# ---- checks --------------------------------------------------------------------------------------------------------------------


@check
def check_loop(method) -> None:
    "The value and gradient of the page's double loop, on every builder."
    for case, temperature in itertools.product(cases(method.shape), (0.5, 0.1) if method.temperature else (None,)):
        where = f"{case.name}, temperature {temperature}"
        want, (slope,) = value_and_gradient(partial(loop_mean, method, case, temperature=temperature), case.scores)
        got, gradient = method_on(method, case, temperature=temperature)
        close(got, want, f"value against the double loop ({where})", tolerance=1e-10)
        close(gradient, slope, f"gradient against the double loop ({where})", tolerance=1e-10)


@check
def check_loop_per_query(method) -> None:
    "Each query's own loss as in the double loop, its weighted sum's gradient too."
    if "pooled" in method.promises:
        return
    for case in cases(method.shape):
        want, _ = loop(method, case, case.scores)
        got = call(method, *case.arguments, reduction="none")
        close(got, want, f"losses against the double loop ({case.name})", tolerance=1e-10)
        weight = normal(len(want), seed=9)
        _, (slope,) = value_and_gradient(lambda s, case=case, weight=weight: (loop(method, case, s)[0] * weight).sum(), case.scores)
        _, (gradient,) = value_and_gradient(
            lambda s, case=case, weight=weight: (call(method, s, *case.rest, reduction="none") * weight).sum(), case.scores
        )
        close(gradient, slope, f"gradient of single losses against the double loop ({case.name})", tolerance=1e-10)


@check
def check_reductions(method) -> None:
    "none, sum and mean tell one story: left-out queries give 0, keep their place, and do not enter the mean."
    for case in cases(method.shape):
        none, total, mean = (call(method, *case.arguments, reduction=r) for r in ("none", "sum", "mean"))
        assert total.shape == mean.shape == (), f"reduction: sum and mean must be scalars ({case.name})"
        close(none.sum(), total, f"the sum of the losses and reduction='sum' ({case.name})", tolerance=1e-12)
        counted = torch.ones_like(none, dtype=torch.bool) if "pooled" in method.promises else loop(method, case, case.scores)[1]
        assert none.shape == counted.shape or "pooled" in method.promises, f"reduction='none': {tuple(none.shape)} for {case.name}"
        assert (none[~counted] == 0).all(), f"reduction='none': a query that is left out must give 0 ({case.name})"
        close(mean, total / max(int(counted.sum()), 1), f"reduction='mean': over the queries that count ({case.name})", tolerance=1e-12)
        close(call(method, *case.arguments), mean, f"the default reduction is the mean ({case.name})", tolerance=0)


def _nothing_left(method, needs: str | None = None) -> dict[str, tuple]:
    scores, no, yes = normal(3, 4), torch.zeros(3, 4, dtype=torch.bool), torch.ones(3, 4, dtype=torch.bool)
    if method.shape == "lists":
        return {"nothing relevant, all padded": (scores, scores * 0, no), "no query": (scores[:0], scores[:0], yes[:0])}
    first = yes.cumsum(1) == 1
    masked = {
        "all ignored": (no, no),
        "no positive": (no, yes),
        "no negative": (yes, no),
        "every weight 0": (first, ~first, scores * 0),
        "negatives of weight 0": (first, ~first, first.double()),
        "positives of weight 0": (first, ~first, (~first).double()),
        "a positive alone": (first, no),
    }
    if (needs or method.needs) == "pair":
        masked = {name: masked[name] for name in ("all ignored", "every weight 0")}
    if (needs or method.needs) == "key":
        del masked["no negative"]
        masked["negatives of weight 0"] = (first, ~first, first.double())  # one positive, nothing it could be compared with
    empty = {"no query": (scores[:0], no[:0], no[:0]), "no key": (scores[:, :0], no[:, :0], no[:, :0])}
    return {name: (scores, *rest) for name, rest in masked.items()} | empty


@check(shapes=("pairs",))
def check_needs(method) -> None:
    "A query counts where it has what the entry says that it needs: each number of positives and negatives beside a query that counts."
    scores = normal(2, 4, seed=8)
    for positives, negatives in itertools.product(range(3), repeat=2):
        kind = torch.tensor([[1, 1, 2, 2], [1] * positives + [2] * negatives + [0] * (4 - positives - negatives)])
        enough = positives > 0 and (negatives > 0 or (method.needs == "key" and positives > 1))
        enough = positives + negatives > 0 if method.needs == "pair" else enough
        if "pooled" not in method.promises:
            none, mean = (call(method, scores, kind == 1, kind == 2, reduction=r) for r in ("none", "mean"))
            close(mean, none.sum() / (1 + enough), f"{positives} positives and {negatives} negatives in a query", tolerance=1e-12)
            assert enough or none[1] == 0, f"{positives} positives and {negatives} negatives in a query: it counts, the entry says no"


@check(shapes=("pairs", "lists"))
def check_nothing_left(method) -> None:
    "With no query left the loss is 0 and its gradient is 0, not missing."
    for name, (scores, *rest) in _nothing_left(method).items():
        for reduction in ("mean", "sum", "none"):
            x = scores.clone().requires_grad_()
            value = call(method, x, *rest, reduction=reduction)
            assert (value == 0).all(), f"nothing left ({name}): got {value.tolist()}, want 0 (reduction {reduction})"
            assert value.requires_grad, f"nothing left ({name}): the loss has no gradient path (reduction {reduction})"
            value.sum().backward()
            assert x.grad is not None and (x.grad == 0).all(), f"nothing left ({name}): the gradient is not 0 (reduction {reduction})"


@check
def check_gradcheck(method) -> None:
    "Derivatives against finite differences in float64, in the scores and in a temperature a matrix, a row, a column, a pair."
    case = plain(method)
    shapes = [(), (case.scores.shape[0], 1), (case.scores.shape[1],), tuple(case.scores.shape)] if method.temperature else [None]
    if method.shape in EMBEDDINGS:
        shapes = shapes[:1]
    for shape in shapes:
        inputs = [case.scores.detach().clone().requires_grad_()]
        if shape is not None:
            inputs.append((0.4 + torch.rand(shape, generator=numbers(3), dtype=FLOAT64) / 2).requires_grad_())
        for reduction in ("mean", "none"):

            def loss(scores, temperature=None, reduction=reduction):
                return call(method, scores, *case.rest, temperature=temperature, reduction=reduction)

            try:
                torch.autograd.gradcheck(loss, inputs)
            except GradcheckError as error:
                raise AssertionError(f"gradcheck, temperature of shape {shape}, reduction {reduction}: {error}") from error


@check(shapes=("pairs", "lists"))
def check_temperature_shapes(method) -> None:
    "A temperature tensor means what the number means, and a row's own temperature is that row's."
    if not method.temperature:
        return
    for case in cases(method.shape):
        number = call(method, *case.arguments, temperature=0.3, reduction="none")
        for shape in ((), (1,), (1, 1), (case.scores.shape[0], 1), (case.scores.shape[1],), tuple(case.scores.shape)):
            same = call(method, *case.arguments, temperature=torch.full(shape, 0.3, dtype=FLOAT64), reduction="none")
            close(same, number, f"a temperature tensor of shape {shape} ({case.name})", tolerance=1e-12)
    case = plain(method)
    rows = 0.2 + torch.rand(len(case.scores), 1, generator=numbers(4), dtype=FLOAT64)
    if "pooled" not in method.promises:
        got = call(method, *case.arguments, temperature=rows, reduction="none")
        want = torch.stack([call(method, *case.arguments, temperature=t, reduction="none")[i] for i, t in enumerate(rows[:, 0].tolist())])
        close(got, want, "a temperature a row", tolerance=1e-12)


@check(shapes=("pairs",))
def check_monotone(method) -> None:
    "Raising a positive never raises the loss, raising a negative never lowers it."
    if "monotone" not in method.promises:
        return
    for case in cases(method.shape):
        value, gradient = method_on(method, case)
        worst = torch.where(case.rest[0], gradient, 0.0).max()
        assert worst <= 1e-12, f"monotone: the loss rises with a positive's score, slope {worst:.3g} ({case.name})"
        worst = torch.where(case.rest[1], gradient, 0.0).min()
        assert worst >= -1e-12, f"monotone: the loss falls with a negative's score, slope {worst:.3g} ({case.name})"
        for sign, mask in ((-1, case.rest[0]), (1, case.rest[1])):
            moved = call(method, case.scores + mask * normal(*mask.shape, seed=3).abs(), *case.rest)
            assert sign * (moved - value) >= -1e-12, f"monotone: a step of the {'negatives' if sign > 0 else 'positives'} ({case.name})"


@check(shapes=("pairs", "lists"))
def check_shift_free(method) -> None:
    "A constant added to all scores of a query changes nothing."
    if "shift-free" not in method.promises:
        return
    for case in cases(method.shape):
        shift = 3 * normal(len(case.scores), 1, seed=2)
        want, got = (call(method, s, *case.rest, reduction="none") for s in (case.scores, case.scores + shift))
        close(got, want, f"shift-free ({case.name})", tolerance=1e-10)


@check(shapes=("pairs", "lists"))
def check_scale_free(method) -> None:
    "Scores and temperature times the same number change nothing."
    if "scale-free" not in method.promises:
        return
    for case, factor in itertools.product(cases(method.shape), (0.01, 7.0)):
        scaled = call(method, case.scores * factor, *case.rest, temperature=0.5 * factor, reduction="none")
        close(scaled, call(method, *case.arguments, reduction="none"), f"scale-free, factor {factor} ({case.name})", tolerance=1e-10)


@check(shapes=("pairs", "lists"))
def check_permutation(method) -> None:
    "Queries and keys permuted together with their masks change nothing."
    if "permutation" not in method.promises:
        return
    for case in cases(method.shape):
        rows, columns = (torch.randperm(n, generator=numbers(6)) for n in case.scores.shape)
        moved = [None if x is None else x[rows][:, columns] for x in case.arguments]
        close(call(method, *moved), call(method, *case.arguments), f"permutation ({case.name})", tolerance=1e-12)
        if "pooled" not in method.promises:
            want = call(method, *case.arguments, reduction="none")[rows]
            close(call(method, *moved, reduction="none"), want, f"permutation of queries ({case.name})", tolerance=1e-12)


@check(shapes=("pairs", "lists"))
def check_ignored(method) -> None:
    "What is in neither mask, or padding, does not matter, whatever stands there; its gradient is 0."
    for case in cases(method.shape):
        ignored = ~used(case)
        want, slope = method_on(method, case)
        for other in (1e4, -1e4, math.inf, -math.inf, math.nan):
            got, gradient = method_on(method, case, torch.where(ignored, other, case.scores))
            close(got, want, f"ignored scores set to {other} change the value ({case.name})", tolerance=0)
            close(gradient, slope, f"ignored scores set to {other} change the gradient ({case.name})", tolerance=0)
        assert (slope[ignored] == 0).all(), f"ignored scores have a gradient ({case.name})"


@check(shapes=("pairs",))
def check_weights(method) -> None:
    """Weights of one number on all positives are no weights, but where each pair stands alone; weight 0 takes a pair out; a negative of
    weight 2 counts twice, and there a positive does too."""
    case = next(c for c in cases("pairs") if c.name == "ragged")
    scores, positives, negatives = case.arguments[:3]
    ones = torch.ones_like(scores)
    bare = call(method, scores, positives, negatives, reduction="none")
    close(call(method, scores, positives, negatives, ones, reduction="none"), bare, "weights of 1", tolerance=1e-12)
    if "pooled" not in method.promises and method.needs != "pair":
        shared = call(method, scores, positives, negatives, torch.where(positives, 5.0, 1.0), reduction="none")
        close(shared, bare, "one weight on all positives of a query", tolerance=1e-12)
    gone = torch.rand(scores.shape, generator=numbers(8)) < 0.3
    without = call(method, scores, positives & ~gone, negatives & ~gone)
    close(call(method, scores, positives, negatives, ones * ~gone), without, "weight 0 is a pair taken out", tolerance=1e-12)
    twice = torch.cat([scores, scores], 1), torch.cat([positives, positives & False], 1), torch.cat([negatives, negatives], 1)
    doubled = call(method, scores, positives, negatives, torch.where(negatives, 2.0, 1.0))
    if "one-place" in method.promises:  # a copy would take a place of its own; the weight of the term is the double loop's to check
        return
    close(doubled, call(method, *twice), "a negative of weight 2", tolerance=1e-12)
    if method.needs == "pair":
        doubled = call(method, scores, positives, negatives, torch.where(positives, 2.0, 1.0))
        twice = twice[0], torch.cat([positives, positives], 1), torch.cat([negatives, negatives & False], 1)
        close(doubled, call(method, *twice), "a positive of weight 2", tolerance=1e-12)


@check(shapes=("pairs",))
def check_weight_gradient(method) -> None:
    "Derivatives in the weights against finite differences, and of a batch so large that a faster path may take over against float64."
    case = next(c for c in cases("pairs") if c.name == "ragged")
    weights = (0.5 + torch.rand(case.scores.shape, generator=numbers(8), dtype=FLOAT64)).requires_grad_()
    scores = case.scores.detach().clone().requires_grad_()
    try:
        torch.autograd.gradcheck(lambda s, w: call(method, s, *case.rest[:2], w), (scores, weights))
    except GradcheckError as error:
        raise AssertionError(f"weights: gradcheck: {error}") from error
    z = torch.nn.functional.normalize(normal(96, 8, seed=1), dim=1).float()
    pairs = from_labels(z, torch.arange(96) // 4)
    weights = 0.5 + torch.rand(pairs.scores.shape, generator=numbers(9))
    against_float64(lambda s, w: call(method, s, *pairs[1:3], w, temperature=0.1), (pairs.scores.float(), weights), 1e-6, 2e-5)


def choices(method) -> dict[str, tuple]:
    "The options with a few values, and these: True and False, or the names that an error tells. (Not `check`, not `reduction`.)"
    found = {}
    for name, parameter in inspect.signature(method.load()).parameters.items():
        if name in ("check", "reduction"):
            continue
        if isinstance(parameter.default, bool):
            found[name] = (True, False)
        elif isinstance(parameter.default, str):
            try:
                call(method, *plain(method).arguments, **{name: "unheard of"})
                said = "nothing"
            except ValueError as error:
                said = str(error)
            assert said.startswith(f"{name}: got 'unheard of', want one of "), f"{name}: a value that is none is answered by: {said}"
            found[name] = ast.literal_eval(said.partition("want one of ")[2])
    return found


@check
def check_choices(method) -> None:
    "No two values of an option have the same value and gradient everywhere: one that is ignored is found."
    for name, values in choices(method).items():
        found = {
            value: [torch.cat([x.flatten() for x in method_on(method, c, **{name: value})]) for c in cases(method.shape)]
            for value in values
        }
        for one, other in itertools.combinations(values, 2):
            apart = (not torch.equal(a, b) for a, b in zip(found[one], found[other], strict=True))
            assert any(apart), f"{name}: {one!r} and {other!r} are the same"


def pointed(direction: str, dtype=torch.float32) -> tuple[Tensor, Tensor]:
    "Two views of 32 items whose second view is near the first, or near its opposite, or the one and the other by turns."
    first = torch.nn.functional.normalize(normal(32, 16, seed=1), dim=1)
    sign = {"aligned": torch.ones(32), "away": -torch.ones(32), "mixed": 1 - 2.0 * (torch.arange(32) % 2)}[direction]
    return first.to(dtype), (first * sign[:, None] + 0.04 * normal(32, 16, seed=2)).to(dtype)


def arranged(direction: str, a: Tensor, b: Tensor) -> Pairs:
    "Two views, one positive a row; mixed: four items of a class, so that a row has near and far positives."
    return from_labels(torch.cat([a, b]), (torch.arange(32) // 4).repeat(2)) if direction == "mixed" else two_views(a, b)


def against_float64(loss: Callable, inputs: tuple, value_tolerance: float, slope_tolerance: float) -> None:
    "The loss of rounded inputs against float64 on the same rounded inputs: relative in value, and in the norm of the gradient."
    want, slopes = value_and_gradient(loss, *(x.double() for x in inputs))
    if 0 < want < torch.finfo(torch.float32).tiny:
        pytest.skip(f"the exact value, {want:.3g}, lies below the normal range of float32")
    got, gradients = value_and_gradient(loss, *inputs)
    assert got.dtype == torch.float32, f"got a loss of dtype {got.dtype}, want float32"
    assert all(g.dtype == x.dtype for g, x in zip(gradients, inputs, strict=True)), "a gradient has another dtype than its input"
    near(got, want, "value", tolerance=value_tolerance)
    near(*(torch.cat([g.flatten().double() for g in each]) for each in (gradients, slopes)), "gradient", tolerance=slope_tolerance)


def check_float32(method, direction: str, temperature: float) -> None:
    "On the same float32 scores: 1e-6 in value, 1e-5 in gradient, at low temperatures too."
    scores, *rest = arranged(direction, *pointed(direction))
    against_float64(lambda s: call(method, s, *rest, temperature=temperature), (scores,), 1e-6, 1e-5)
    for shape in ((), scores.shape) if method.temperature else ():
        learned = torch.full(shape, temperature)
        against_float64(lambda s, t: call(method, s, *rest, temperature=t), (scores, learned), 1e-6, 1e-5)


def check_embeddings32(method, direction: str, temperature: float) -> None:
    "From float32 embeddings, where rounding the scores alone costs more."
    value, slope = max(1e-6, 3e-7 / temperature), max(1e-5, 3e-7 / temperature)
    against_float64(lambda a, b: call(method, *arranged(direction, a, b), temperature=temperature), pointed(direction), value, slope)


check_float32.shapes = check_embeddings32.shapes = ("pairs",)
for _direction, _temperature in itertools.product(("away", "aligned", "mixed"), TEMPERATURES):
    for _function, _name in ((check_float32, "float32 scores"), (check_embeddings32, "float32 embeddings")):
        CHECKS[f"{_name}, {_direction}, {_temperature}"] = partial(_function, direction=_direction, temperature=_temperature)


def judged(direction: str) -> tuple[Tensor, Tensor]:
    "float32 scores of lists with ties that follow the grades, run against them, or both by turns."
    grades = torch.randint(0, 4, (16, 12), generator=numbers(1))
    sign = {"aligned": torch.ones(16), "away": -torch.ones(16), "mixed": 1 - 2.0 * (torch.arange(16) % 2)}[direction]
    return (grades * sign[:, None] / 2 + 0.04 * normal(16, 12, seed=2)).float(), grades


def check_float32_lists(method, direction: str, temperature: float) -> None:
    "Lists: on the same float32 scores, steep ones too, 1e-6 in value, 1e-5 in gradient."
    scores, grades = judged(direction)
    against_float64(lambda s: call(method, s, grades), (scores / temperature,), 1e-6, 1e-5)


check_float32_lists.shapes = ("lists",)
for _direction, _temperature in itertools.product(("away", "aligned", "mixed"), TEMPERATURES):
    CHECKS[f"float32 lists, {_direction}, {_temperature}"] = partial(check_float32_lists, direction=_direction, temperature=_temperature)


@check(shapes=("pairs", "lists"))
def check_half_precision(method) -> None:
    "fp16 and bf16 scores: computed in float32 inside and returned as float32, within 1e-2 of float64 on the same rounded scores."
    for dtype, case, temperature in itertools.product((torch.float16, torch.bfloat16), cases(method.shape), (0.5, 0.07)):
        scores = case.scores.to(dtype)
        rest = [x.to(dtype) if isinstance(x, Tensor) and x.is_floating_point() else x for x in case.rest]
        exact = [x.double() if isinstance(x, Tensor) and x.is_floating_point() else x for x in rest]
        want, slope = method_on(method, Case(case.name, (scores.double(), *exact)), temperature=temperature)
        got, gradient = method_on(method, Case(case.name, (scores, *rest)), temperature=temperature)
        where = f"{dtype}, temperature {temperature} ({case.name})"
        assert got.dtype == torch.float32, f"{dtype} scores give a loss of dtype {got.dtype}, want float32 ({case.name})"
        assert gradient.dtype == dtype, f"{dtype} scores have a gradient of dtype {gradient.dtype} ({case.name})"
        close(got, want, f"value in {where}", tolerance=1e-2)
        step = torch.finfo(dtype).smallest_normal * torch.finfo(dtype).eps  # what storing an entry in this dtype alone can cost
        bound = 1e-2 * slope.norm() + step * slope.numel() ** 0.5
        assert (gradient.double() - slope).norm() <= bound, f"gradient in {where}"


@check(shapes=("pairs",))
def check_half_embeddings(method) -> None:
    "Half-precision embeddings through a builder: as good as float64 on the same rounded embeddings."
    for dtype, temperature in itertools.product((torch.float16, torch.bfloat16), (0.5, 0.07)):
        against_float64(lambda a, b, t=temperature: call(method, *two_views(a, b), temperature=t), pointed("away", dtype), 1e-2, 1e-2)


@check(shapes=("pairs",))
def check_autocast(method) -> None:
    "Under autocast the builder and the objective compute what they compute without it, in float32."
    for build in (two_views, in_batch, lambda a, b: with_queue(a, b, a), lambda a, b: from_labels(a, torch.arange(32) % 4)):
        got, want = [], []
        for enabled, results in ((True, got), (False, want)):
            inputs = [x.requires_grad_() for x in pointed("away")]
            with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
                loss = call(method, *build(*inputs), temperature=0.05)
            assert loss.dtype == torch.float32, f"autocast: got a loss of dtype {loss.dtype}, want float32"
            results += [loss, *(g for g in torch.autograd.grad(loss, inputs, allow_unused=True) if g is not None)]
        for x, y in zip(got, want, strict=True):
            close(x, y, "value or gradient under autocast", tolerance=0)


@check(shapes=("pairs", "lists"))
def check_nan(method) -> None:
    "A NaN among a query's scores gives NaN for that query and no other, and for the mean."
    case = plain(method)
    clean = call(method, *case.arguments, reduction="none")
    for row, column in used(case).nonzero().tolist():
        scores = case.scores.clone()
        scores[row, column] = math.nan
        assert call(method, scores, *case.rest).isnan(), f"a NaN at query {row}, key {column} is hidden in the mean"
        if "pooled" not in method.promises:
            want = torch.where(torch.arange(len(clean)) == row, math.nan, clean)
            close(call(method, scores, *case.rest, reduction="none"), want, f"a NaN at query {row}, key {column}", tolerance=0)


def edge_cases() -> list[Case]:
    z, same = normal(5, 3), normal(1, 3).repeat(5, 1)
    double = torch.cat([z[:3], z[:3]])
    built = {
        "one item, two views": two_views(z[:1], z[1:2]),
        "one query, its key alone": in_batch(z[:1], z[1:2]),
        "one query, a hard negative": in_batch(z[:1], z[1:2], z[2:3]),
        "one query, a queue": with_queue(z[:1], z[1:2], z[2:]),
        "duplicates": two_views(double, double),
        "all equal": two_views(same, same),
        "all zero": two_views(same * 0, same * 0),
        "one class": from_labels(z, torch.zeros(5, dtype=torch.long)),
        "every class once": from_labels(z, torch.arange(5)),
        "far apart": two_views(z * 1e4, z.roll(1, 0) * 1e4, similarity="dot"),
    }
    return [Case(name, tuple(pairs)[:3]) for name, pairs in built.items()]


@check(shapes=("pairs",))
def check_edges(method) -> None:
    "One item, duplicates, all rows equal, one class, logits of 1e9: finite, and as the double loop has it."
    for case in edge_cases():
        got, gradient = method_on(method, case)
        assert torch.isfinite(got) and torch.isfinite(gradient).all(), f"not finite: {case.name}"
        if case.name != "far apart":  # there the loop's own exp overflows
            want, (slope,) = value_and_gradient(partial(loop_mean, method, case), case.scores)
            close(got, want, f"value ({case.name})", tolerance=1e-10)
            close(gradient, slope, f"gradient ({case.name})", tolerance=1e-10)


@check(shapes=("lists",))
def check_edge_lists(method) -> None:
    "One document, no document, one grade, equal scores, scores of 1e9: finite, and as the double loop has it."
    scores, grades = normal(3, 4), torch.tensor([[0.0, 1.0, 2.0, 2.0]] * 3)
    edges = {
        "one document": (scores[:, :1], grades[:, :1]),
        "no document": (scores[:, :0], grades[:, :0]),
        "one grade": (scores, grades * 0),
        "equal scores": (scores * 0, grades),
        "two documents": (scores[:, :2], grades[:, :2]),
        "far apart": (scores * 1e9, grades),
    }
    for case in [Case(name, arguments) for name, arguments in edges.items()]:
        got, gradient = method_on(method, case)
        assert torch.isfinite(got) and torch.isfinite(gradient).all(), f"not finite: {case.name}"
        if case.name not in ("far apart", "no document"):
            want, (slope,) = value_and_gradient(partial(loop_mean, method, case), case.scores)
            close(got, want, f"value ({case.name})", tolerance=1e-10)
            close(gradient, slope, f"gradient ({case.name})", tolerance=1e-10)


def _huge(method, scale: float) -> dict[str, Case]:
    "Scores of that size: random ones, and all of one size with either sign; padding of NaN among the lists."
    scores = {"random": normal(24, 12, seed=1).clamp(-1, 1) * scale, "signs": normal(24, 12, seed=2).sign() * scale}
    if method.shape == "pairs":
        return {name: Case(name, (s, *masks(24, 12, seed=3))) for name, s in scores.items()}
    grades, there = torch.randint(0, 4, (24, 12), generator=numbers(1)).to(FLOAT64), torch.rand(24, 12, generator=numbers(2)) < 0.7
    return {name: Case(name, (torch.where(there, s, math.nan), torch.where(there, grades, math.nan), there)) for name, s in scores.items()}


@check(shapes=("pairs", "lists"))
def check_huge_scores(method) -> None:
    "Scores to 3e37: a finite gradient, and in float32 the float64 value wherever it fits; one query and no query too."
    for scale in (1e10, 1e17, 3e37):
        for name, case in _huge(method, scale).items():
            for rows in (24, 1, 0):
                narrow = [x[:rows].float() if x.is_floating_point() else x[:rows] for x in case.arguments]
                (got, slope), (want, exact) = (
                    method_on(method, Case(name, tuple(x.to(d) if x.is_floating_point() else x for x in narrow)))
                    for d in (torch.float32, FLOAT64)
                )
                where = f"huge scores: {name}, {scale:g}, {rows} queries"
                assert torch.isfinite(want) and torch.isfinite(exact).all(), f"{where}: not finite in float64"
                assert torch.isfinite(slope).all(), f"{where}: the gradient is not finite in float32"
                if want.abs() < torch.finfo(torch.float32).max:
                    close(got / scale, want / scale, where, tolerance=1e-5)


VALUES = {  # of options that are numbers: the ends of what they may be, and some between; a function is called with the batch
    "temperature": (10.0, 0.005),
    "pull": (0.0, -1.0, pull_weights, partial(pull_weights, sigma=1e-3)),
    "margin": (0.0, 100.0),
    "alpha": (0.1, 10.0),
    "beta": (0.0, 10.0),
    "tau_pos": (0.0, 10.0),
    "tau_neg": (0.0, 10.0),
    "top_k": (1, 100),
    "steepness": (0.1, 100.0),
    "skips": (1, 100),
    "decay": (0.1, 1.0),
    "dim": (1, 512),
    "prior": (0.0, 0.5, 0.99),
    "lowest": (-100.0, 0.0),
    "concentration": (0.0, 0.5, 10.0),
    "gamma_positive": (0.0, 0.5, 8.0),
    "gamma_negative": (0.0, 0.5, 8.0),
}
OWN_VALUES = {"contrastive_nb.negatives:asymmetric_loss": {"margin": (0.0, 1e-20, 0.9)}}  # of a probability, not of a score


def variants(method) -> list[dict]:
    "The method's own options, and each of its options in turn with every value that the tables have."
    known = VALUES | OWN_VALUES.get(method.function, {})
    tables = {name: x for name, x in known.items() if name in inspect.signature(method.load()).parameters} | choices(method)
    return [{}, *({name: value} for name, values in tables.items() for value in values)]


def _with(method, options: dict, scores: Tensor, *rest) -> Tensor:
    return call(method, scores, *rest, **{name: x(scores, *rest) if callable(x) else x for name, x in options.items()})


def states(method) -> list[Case]:
    "Batches of no query, one query, one class, and scores of 3e37 with either sign; pairs with and without weights."
    cases = [
        Case(f"{name} of 3e37, {what}", tuple(x[rows] for x in case.arguments))
        for name, case in _huge(method, 3e37).items()
        for what, rows in {"24 queries": slice(24), "one query": slice(-1, None), "no query": slice(0)}.items()
    ]
    if method.shape == "lists":
        scores, grades = normal(6, 4), torch.tensor([[0.0, 1.0, 2.0, 2.0]] * 6).double()
        return [*cases, Case("one query", (scores[:1], grades[:1])), Case("no query", (scores[:0], grades[:0]))]
    cases += [Case(f"{case.name}, weights", (*case.arguments, normal(*case.scores.shape, seed=5).abs())) for case in cases]
    return cases + [case for case in edge_cases() if case.name != "far apart"]


@check(shapes=("pairs", "lists"))
def check_every_option(method) -> None:
    "With every value of every option: a finite gradient, the float64 value wherever it fits; 0 and a gradient of 0 where no query is left."
    largest = torch.finfo(torch.float32).max
    for options in variants(method):
        set_to = ", ".join(f"{name} {x}" for name, x in options.items()) or "own options"
        loss = lambda scores, *rest, options=options: _with(method, options, scores, *rest)  # noqa: E731
        for case in states(method):
            where = f"{case.name}, {set_to}"
            narrow = [x.float() if x.is_floating_point() else x for x in case.arguments]
            wide = [x.double() if x.is_floating_point() else x for x in narrow]
            (got, (slope,)), (want, (exact,)) = (value_and_gradient(lambda s, x=x: loss(s, *x[1:]), x[0]) for x in (narrow, wide))  # noqa: B023
            assert torch.isfinite(want) and torch.isfinite(exact).all(), f"{where}: not finite in float64"
            assert torch.isfinite(slope[exact.abs() < largest]).all(), f"{where}: the gradient is not finite in float32"
            if want.abs() < largest:
                close(got, want, where, tolerance=1e-5)
        together = options.get("denominator", method.options.get("denominator")) == "all"  # then positives compete with each other
        for name, (scores, *rest) in _nothing_left(method, "key" if together else None).items():
            for size in (1, 3e37):
                value, (slope,) = value_and_gradient(lambda s, rest=rest: loss(s, *rest), scores.sign() * size)  # noqa: B023
                where = f"nothing left ({name}), scores of {size:g}, {set_to}"
                assert value == 0 and (slope == 0).all(), f"{where}: got {value.item()} and the gradient {slope.tolist()}, want 0"


@check(shapes=("lists",))
def check_kinds_of_grades(method) -> None:
    "Grades may be whole numbers or real ones; NaN at padding, among scores and grades alike, does not matter."
    case = next(c for c in cases("lists") if c.name == "padding")
    scores, grades, there = case.arguments
    want = call(method, *case.arguments)
    for kind in (torch.int64, torch.int32, torch.uint8, torch.float32):
        close(call(method, scores, grades.to(kind), there), want, f"relevance of dtype {kind}", tolerance=1e-12)
    close(call(method, scores, torch.where(there, grades, math.nan), there), want, "relevance of NaN at padding", tolerance=0)


def bad_inputs(method) -> list[tuple]:
    "(what, changes to the call, exception, words of its message): for every method, from this one table."
    scores, positives, negatives = plain(method).arguments[:3]
    meta, number = partial(torch.empty, device="meta"), torch.rand(scores.shape, generator=numbers(), dtype=FLOAT64)
    size, (queries, keys) = scores.shape, scores.shape
    poisoned = {name: torch.where(positives & (positives.cumsum(1) == 1), x, scores) for name, x in (("nan", math.nan), ("inf", math.inf))}
    table = [
        ("a list", {"scores": scores.tolist()}, TypeError, "scores list tensor"),
        ("integers", {"scores": torch.ones(size, dtype=torch.long)}, TypeError, "scores int64 floating"),
        ("complex", {"scores": scores.to(torch.complex128)}, TypeError, "scores complex128 floating"),
        ("one row without its dimension", {"scores": scores[0]}, ValueError, "scores shape 2"),
        ("three dimensions", {"scores": scores[None]}, ValueError, "scores shape 2"),
        ("an unknown reduction", {"reduction": "average"}, ValueError, "reduction average mean"),
        ("no reduction", {"reduction": None}, ValueError, "reduction None mean"),
        ("NaN, looked for", {"scores": poisoned["nan"], "check": True}, ValueError, "scores finite query key"),
        ("infinity, looked for", {"scores": poisoned["inf"], "check": True}, ValueError, "scores finite query key"),
    ]
    for name in ("positives", "negatives"):
        table += [
            ("a list", {name: positives.tolist()}, TypeError, f"{name} list bool"),
            ("numbers", {name: positives.double()}, TypeError, f"{name} float64 bool"),
            ("integers", {name: positives.long()}, TypeError, f"{name} int64 bool"),
            ("a column less", {name: positives[:, 1:]}, ValueError, f"{name} shape {keys - 1} scores"),
            ("another device", {name: meta(size, dtype=torch.bool)}, ValueError, f"{name} device meta scores"),
        ]
    table += [
        ("a number", {"weights": 2.0}, TypeError, "weights float tensor"),
        ("integers", {"weights": positives.long()}, TypeError, "weights int64 floating"),
        ("one row", {"weights": number[0]}, ValueError, "weights shape 2"),
        ("a column less", {"weights": number[:, 1:]}, ValueError, f"weights shape {keys - 1} scores"),
        ("another device", {"weights": meta(size)}, ValueError, "weights device meta scores"),
        ("below 0, looked for", {"weights": number - 1, "check": True}, ValueError, "weights negative"),
        ("NaN, looked for", {"weights": number * math.nan, "check": True}, ValueError, "weights finite"),
        ("overlap, looked for", {"negatives": negatives | positives, "check": True}, ValueError, "positives negatives overlap query key"),
    ]
    if method.temperature:
        table += [
            *((f"{t}", {"temperature": t}, ValueError, f"temperature {t} above") for t in (0, 0.0, -0.1, math.nan, math.inf, -math.inf)),
            *((f"{t!r}", {"temperature": t}, TypeError, f"temperature {type(t).__name__} number") for t in (True, "0.1", None, [0.1], 1j)),
            ("integers", {"temperature": torch.tensor(1)}, TypeError, "temperature int64 floating"),
            ("a wrong length", {"temperature": number[0, 1:]}, ValueError, f"temperature shape ({keys - 1},)"),
            ("a dimension more", {"temperature": number[None]}, ValueError, f"temperature shape ({queries}, {keys})"),
            ("another device", {"temperature": meta(queries, 1)}, ValueError, "temperature device meta scores"),
            ("a scalar on another device", {"temperature": meta(())}, ValueError, "temperature device meta scores"),
        ]
        for t in (0.0, -1.0, math.nan, math.inf):
            table += [(f"{t} inside, looked for", {"temperature": torch.tensor(t), "check": True}, ValueError, "temperature above")]
    for option, value in method.options.items():
        if isinstance(value, str):
            table += [(f"{option} unknown", {option: "nonsense"}, ValueError, f"{option} nonsense {value}")]
            table += [(f"{option} None", {option: None}, ValueError, f"{option} None {value}")]
    return table


@check(shapes=("pairs",))
def check_bad_input(method) -> None:
    "Every wrong argument is refused by name, with what came and what is wanted."
    case = plain(method)
    good = dict(zip(("scores", "positives", "negatives"), case.arguments, strict=True)) | (
        {"temperature": 0.5} if method.temperature else {}
    )
    faults = []
    for what, change, exception, words in bad_inputs(method):
        name = f"{' and '.join(set(change) - {'check'})}: {what}"
        try:
            method(**(good | change))
            faults.append(f"{name}: accepted")
        except Exception as error:
            if not isinstance(error, exception):
                faults.append(f"{name}: got {type(error).__name__} ({error}), want {exception.__name__}")
            elif missing := [w for w in words.split() if w not in str(error)]:
                faults.append(f"{name}: the message '{error}' lacks {', '.join(missing)}")
    assert not faults, "\n".join(faults)
    assert method(**(good | {"check": True})) == method(**good), "check=True changes the value of good input"


@check(shapes=("lists",))
def check_bad_lists(method) -> None:
    "The same for graded lists, whatever the grades are called."
    scores, grades = plain(method).arguments[:2]
    called = list(inspect.signature(method.load()).parameters)[1]
    table = {
        "scores": [(scores.tolist(), grades), (scores.long(), grades), (scores[0], grades[0])],
        called: [(scores, grades.tolist()), (scores, grades[:, 1:]), (scores, grades.to("meta"))],
        "mask": [(scores, grades, grades), (scores, grades, grades[:, 1:] > 0), (scores, grades, (grades > 0).to("meta"))],
    }
    for word, arguments in [(word, arguments) for word, calls in table.items() for arguments in calls]:
        with pytest.raises((TypeError, ValueError), match=word):
            call(method, *arguments)
    with pytest.raises(ValueError, match="reduction"):
        call(method, scores, grades, reduction="average")
    for option in [option for option, value in method.options.items() if isinstance(value, str)]:
        with pytest.raises(ValueError, match=option):
            call(method, scores, grades, **{option: "nonsense"})
    poisoned = torch.where(grades == grades.amax(1, keepdim=True), math.nan, scores)
    for word, arguments in {"scores": (poisoned, grades), called: (scores, torch.where(scores > 0, math.nan, grades))}.items():
        with pytest.raises(ValueError, match=f"{word}: not finite"):
            call(method, *arguments, check=True)
    assert call(method, scores, grades, check=True) == call(method, scores, grades), "check=True changes the value of good input"


@check(shapes=("pairs", "lists"))
def check_func(method) -> None:
    "torch.func: grad is autograd's, vmap over stacked scores is the loop over them."
    for case in cases(method.shape):
        stacked = torch.stack([case.scores, case.scores.roll(1, 0), -case.scores])
        loss = lambda s, case=case: call(method, s, *case.rest)  # noqa: E731
        close(torch.func.grad(loss)(case.scores), method_on(method, case)[1], f"torch.func.grad ({case.name})", tolerance=1e-12)
        for name, function in {
            "vmap": lambda s, case=case: call(method, s, *case.rest, reduction="none"),
            "vmap of grad": torch.func.grad(loss),
        }.items():
            want = torch.stack([function(s) for s in stacked])
            close(torch.func.vmap(function)(stacked), want, f"torch.func.{name} ({case.name})", tolerance=1e-12)


@check
def check_same_bits(method) -> None:
    "The same input gives the same bits, and is left as it was."
    for case in cases(method.shape):
        before = [None if x is None else x.clone() for x in case.arguments]
        first, second = method_on(method, case), method_on(method, case)
        assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True)), f"two calls give other bits ({case.name})"
        for x, y in zip(before, case.arguments, strict=True):
            same = x is y or torch.equal(torch.nan_to_num(x.double(), 9.0), torch.nan_to_num(y.double(), 9.0))
            assert same, f"an argument was changed ({case.name})"


# ---- mixers: (query, queue, *, options, generator) -> (B, m, D) more keys a query ------------------------------------------------


@check(shapes=("mixer",))
def check_mixer_loop(method) -> None:
    "The page's double loop, from the same random numbers."
    for case, seed in itertools.product(cases("mixer"), (0, 1)):
        want = by_hand(method)(*case.arguments, **method.options, generator=numbers(seed))
        close(method(*case.arguments, generator=numbers(seed)), want, f"points against the double loop ({case.name})", tolerance=1e-10)


@check(shapes=("mixer",))
def check_mixer_constants(method) -> None:
    "What comes out is constant, of length 1, a row a query; what goes in stays as it was."
    for case in cases("mixer"):
        inputs = [x.clone().requires_grad_() for x in case.arguments]
        points = method(*inputs, generator=numbers())
        assert not points.requires_grad, f"the points are not detached ({case.name})"
        assert points.dim() == 3 and (points.shape[0], points.shape[2]) == inputs[0].shape, f"shape {tuple(points.shape)} ({case.name})"
        close(points.norm(dim=-1), torch.ones_like(points[..., 0]), f"length of the points ({case.name})", tolerance=1e-12)
        assert all(torch.equal(x, y) for x, y in zip(inputs, case.arguments, strict=True)), f"an argument was changed ({case.name})"


@check(shapes=("mixer",))
def check_mixer_generator(method) -> None:
    "The generator decides: the same seed the same bits, another seed others; torch's own is used only without one."
    arguments = cases("mixer")[0].arguments
    with torch.random.fork_rng(devices=[]):
        before = torch.get_rng_state()
        first, again, other = (method(*arguments, generator=numbers(seed)) for seed in (0, 0, 1))
        assert torch.equal(torch.get_rng_state(), before), "generator: was given, and torch's own was used"
        assert torch.equal(first, again), "generator: the same seed gives other bits"
        assert not torch.equal(first, other), "generator: another seed changes nothing"
        torch.default_generator.manual_seed(0)
        assert torch.equal(method(*arguments), first), "generator: without one, torch's own is not used in the same way"


@check(shapes=("mixer",))
def check_mixer_rows(method) -> None:
    "A query's points depend on itself and the queue alone."
    query, queue = cases("mixer")[0].arguments
    whole = method(query, queue, generator=numbers())
    for row in range(len(query)):
        others = torch.arange(len(query)) != row
        changed = torch.where(others[:, None], -query, query)
        got = method(changed, queue, generator=numbers())
        close(got[row], whole[row], f"points of query {row} when the other queries change", tolerance=1e-12)


@check(shapes=("mixer",))
def check_mixer_precision(method) -> None:
    "float32 stays, half precision becomes float32, under autocast too: near float64 on the same rounded input."
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.bfloat16, 1e-2), (torch.float16, 1e-2)):
        query, queue = (x.to(dtype) for x in cases("mixer")[0].arguments)
        want = method(query.double(), queue.double(), generator=numbers())
        for autocast in (False, True):
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
                got = method(query, queue, generator=numbers())
            assert got.dtype == torch.float32, f"{dtype}: got {got.dtype}, want float32"
            close(got, want, f"{dtype} against float64, autocast {autocast}", tolerance=tolerance)


@check(shapes=("mixer",))
def check_mixer_edges(method) -> None:
    "No query, one query, vectors without a direction: as many points as queries, and finite ones."
    query, queue = cases("mixer")[0].arguments
    edges = {
        "no query": (query[:0], queue),
        "one query": (query[:1], queue),
        "zeros": (query * 0, queue),
        "all zeros": (query * 0, queue * 0),
    }
    for name, arguments in edges.items():
        points = method(*arguments, generator=numbers())
        assert len(points) == len(arguments[0]), f"{name}: got {len(points)} rows, want {len(arguments[0])}"
        assert torch.isfinite(points).all(), f"{name}: not finite"


@check(shapes=("mixer",))
def check_mixer_bad_input(method) -> None:
    "Every wrong argument is refused by name."
    query, queue = cases("mixer")[0].arguments
    good = {"query": query, "queue": queue}
    table = [(name, {name: wrong}) for name, x in good.items() for wrong in (x.tolist(), x.long(), x[0], x[None])]
    table += [("queue", {"queue": wrong}) for wrong in (queue[:, 1:], queue.float(), queue.to("meta"))]
    counts = {option: value for option, value in method.options.items() if isinstance(value, int)}
    table += [(option, {option: wrong}) for option in counts for wrong in (-1, 2.0, "2", None, True)]
    for name, change in [*table, ("generator", {"generator": 0})]:
        try:
            method(**(good | change))
        except (TypeError, ValueError) as error:
            assert name in str(error), f"{name}: the message '{error}' does not name it"
        else:
            raise AssertionError(f"{name}: {change[name]!r} was accepted")


# ---- transforms: (query, key, queue or None, *, options, generator) -> the same three, moved ------------------------------------


def _given(x, y) -> bool:
    return (x is None) == (y is None)


@check(shapes=("transform",))
def check_transform_loop(method) -> None:
    "The page's loops, from the same random numbers, in the same shapes; nothing comes out where nothing went in."
    for case, seed in itertools.product(cases("transform"), (0, 1)):
        want = by_hand(method)(*case.arguments, **method.options, generator=numbers(seed))
        got = method(*case.arguments, generator=numbers(seed))
        assert len(got) == 3 and all(map(_given, got, case.arguments)), f"got {len(got)} parts, want what went in ({case.name})"
        for x, y in zip(got, want, strict=True):
            if x is not None:
                close(x, y, f"points against the loops ({case.name})", tolerance=1e-10)


@check(shapes=("transform",))
def check_transform_gradient(method) -> None:
    "The gradient by all that goes in, as in the loops; what goes in stays as it was."
    for case in cases("transform"):
        slopes = []
        for function in (method, partial(by_hand(method), **method.options)):
            inputs = [None if x is None else x.clone().requires_grad_() for x in case.arguments]
            there = [x for x in inputs if x is not None]
            weighed = [(x * normal(*x.shape, seed=7)).sum() for x in function(*inputs, generator=numbers()) if x is not None]
            slopes.append(torch.autograd.grad(sum(weighed), there, allow_unused=True))
            same = [x for x in case.arguments if x is not None]
            assert all(torch.equal(x, y) for x, y in zip(there, same, strict=True)), f"an argument was changed ({case.name})"
        for got, want in zip(*slopes, strict=True):
            assert got is not None, f"no gradient reaches what went in ({case.name})"
            close(got, want, f"gradient against the loops ({case.name})", tolerance=1e-8)


@check(shapes=("transform",))
def check_transform_generator(method) -> None:
    "The generator decides: the same seed the same bits, another seed others; torch's own is used only without one."
    arguments = cases("transform")[0].arguments
    with torch.random.fork_rng(devices=[]):
        before = torch.get_rng_state()
        first, again, other = (torch.cat(method(*arguments, generator=numbers(seed))) for seed in (0, 0, 1))
        assert torch.equal(torch.get_rng_state(), before), "generator: was given, and torch's own was used"
        assert torch.equal(first, again), "generator: the same seed gives other bits"
        assert not torch.equal(first, other), "generator: another seed changes nothing"
        torch.default_generator.manual_seed(0)
        assert torch.equal(torch.cat(method(*arguments)), first), "generator: without one, torch's own is not used in the same way"


@check(shapes=("transform",))
def check_transform_rows(method) -> None:
    "A pair is moved by itself alone: other pairs and the queue do not matter."
    query, key, queue = cases("transform")[0].arguments
    whole = method(query, key, queue, generator=numbers())[:2]
    for row in range(len(query)):
        others = torch.arange(len(query))[:, None] != row
        got = method(torch.where(others, -query, query), key, -queue, generator=numbers())[:2]
        for x, y in zip(got, whole, strict=True):
            close(x[row], y[row], f"pair {row} when the others change", tolerance=1e-12)


@check(shapes=("transform",))
def check_transform_precision(method) -> None:
    "float32 stays, half precision becomes float32, under autocast too: near float64 on the same rounded input."
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.bfloat16, 1e-2), (torch.float16, 1e-2)):
        inputs = [x.to(dtype) for x in cases("transform")[0].arguments]
        want = torch.cat(method(*(x.double() for x in inputs), generator=numbers()))
        for autocast in (False, True):
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
                got = torch.cat(method(*inputs, generator=numbers()))
            assert got.dtype == torch.float32, f"{dtype}: got {got.dtype}, want float32"
            close(got, want, f"{dtype} against float64, autocast {autocast}", tolerance=tolerance)


@check(shapes=("transform",))
def check_transform_edges(method) -> None:
    "No pair, no key in the queue, vectors without a direction: the same shapes, finite, with a finite gradient."
    query, key, queue = cases("transform")[0].arguments
    edges = {"no pair": (query[:0], key[:0], queue), "empty queue": (query, key, queue[:0]), "zeros": (query * 0, key * 0, queue * 0)}
    for name, arguments in edges.items():
        inputs = [x.clone().requires_grad_() for x in arguments]
        points = method(*inputs, generator=numbers())
        assert [x.shape for x in points] == [x.shape for x in arguments], f"{name}: other shapes"
        slopes = torch.autograd.grad(sum(x.sum() for x in points), inputs)
        assert all(torch.isfinite(x).all() for x in (*points, *slopes)), f"{name}: not finite"


@check(shapes=("transform",))
def check_transform_bad_input(method) -> None:
    "Every wrong argument is refused by name."
    good = dict(zip(("query", "key", "queue"), cases("transform")[0].arguments, strict=True))
    table = [(name, {name: wrong}) for name, x in good.items() for wrong in (x.tolist(), x.long(), x[0], x[None])]
    table += [(name, {name: wrong}) for name in ("key", "queue") for x in (good[name],) for wrong in (x[:, 1:], x.float(), x.to("meta"))]
    flags = [option for option, value in method.options.items() if isinstance(value, bool)]
    table += [(option, {option: wrong}) for option in flags for wrong in (1, "yes", None)]
    for name, change in [*table, ("key", {"key": good["key"][1:]}), ("generator", {"generator": 0})]:
        try:
            method(**(good | change))
        except (TypeError, ValueError) as error:
            assert name in str(error), f"{name}: the message '{error}' does not name it"
        else:
            raise AssertionError(f"{name}: {change[name]!r} was accepted")


# ---- embeddings: what is not asked of scores --------------------------------------------------------------------------------------


@check(shapes=EMBEDDINGS)
def check_every_input(method) -> None:
    "The gradient by every embedding, prototype and view, as in the double loop."
    for case in cases(method.shape):
        learned = [i for i, x in enumerate(case.arguments) if x.is_floating_point()]
        learned = learned[:2] if method.shape == "maps" else learned

        def whole(function, *inputs, case=case, learned=learned):
            arguments = list(case.arguments)
            for i, x in zip(learned, inputs, strict=True):
                arguments[i] = x
            return function(Case(case.name, tuple(arguments)))

        inputs = [case.arguments[i] for i in learned]
        _, want = value_and_gradient(partial(whole, lambda c: loop_mean(method, c, c.scores)), *inputs)
        _, got = value_and_gradient(partial(whole, lambda c: call(method, *c.arguments)), *inputs)
        for i, one, other in zip(learned, got, want, strict=True):
            close(one, other, f"gradient by argument {i} against the double loop ({case.name})", tolerance=1e-10)


@check(shapes=EMBEDDINGS)
def check_embedding_precision(method) -> None:
    "float32 stays, half precision is computed and returned in float32, under autocast too: near float64 on the same rounded input."
    for dtype, case in itertools.product((torch.float32, torch.bfloat16, torch.float16), cases(method.shape)):
        rounded = [x.to(dtype) if x.is_floating_point() else x for x in case.arguments]
        want = call(method, *(x.double() if x.is_floating_point() else x for x in rounded))
        for autocast in (False, True):
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
                got = call(method, *rounded)
            assert got.dtype == torch.float32, f"{dtype}: got a loss of dtype {got.dtype}, want float32"
            close(got, want, f"{dtype} against float64, autocast {autocast} ({case.name})", tolerance=1e-5)


# ---- narrowers and weighers: (pairs, *, options, by=None, generator) -> Pairs -----------------------------------------------------


def narrow(method, pairs: Pairs, seed: int = 0, **keywords) -> Pairs:
    "The method on pairs, with dice of its own where it throws any."
    draws = "generator" in inspect.signature(method.load()).parameters
    return method(pairs, **({"generator": numbers(seed)} if draws else {}), **keywords)


def narrow_by_hand(method, pairs: Pairs, seed: int = 0, **keywords) -> Pairs:
    draws = "generator" in inspect.signature(method.load()).parameters
    return by_hand(method)(pairs, **method.options, **({"generator": numbers(seed)} if draws else {}), **keywords)


def narrowed_cases() -> list[tuple[str, Pairs]]:
    "Every builder's pairs, and ragged ones with ties."
    ragged = next(Pairs(*c.arguments) for c in cases("pairs") if c.name == "ragged, weights")
    ties = ragged._replace(scores=ragged.scores.round())
    return [(c.name, Pairs(*c.arguments)) for c in cases("pairs")] + [("ties", ties), ("no key", Pairs(*(x[:, :0] for x in ragged)))]


def same_pairs(got: Pairs, want: Pairs, what: str) -> None:
    for name, one, other in zip(Pairs._fields, got, want, strict=True):
        if one is None or other is None:
            assert one is other, f"{what}: {name} is {'missing' if one is None else 'new'}"
        elif one.dtype == torch.bool:
            at = (one != other).nonzero()[:1].tolist()
            assert not at, f"{what}: {name} differ, first at query {at[0][0]}, key {at[0][1]}"
        else:
            close(one, other, f"{what}: {name}", tolerance=1e-12)


@check(shapes=("narrower", "weigher"))
def check_narrower_loop(method) -> None:
    "The page's loops, by the pairs' own scores and by others."
    for name, pairs in narrowed_cases():
        for by in (None, normal(*pairs.scores.shape, seed=11)):
            got, want = narrow(method, pairs, by=by), narrow_by_hand(method, pairs, by=by)
            same_pairs(got, want, f"against the loops ({name}, {'own scores' if by is None else 'by others'})")


@check(shapes=("narrower",))
def check_narrower_only_narrows(method) -> None:
    "No pair is added, one of weight 0 is not kept, scores and weights stay what they were."
    for name, pairs in narrowed_cases():
        before = Pairs(*(None if x is None else x.clone() for x in pairs))
        got = narrow(method, pairs)
        for mask in ("positives", "negatives"):
            kept, given = getattr(got, mask), getattr(before, mask)
            assert not (kept & ~given).any(), f"{mask}: a pair was added ({name})"
            changed = (kept != given).any() and pairs.weights is not None
            assert not (changed and (kept & (pairs.weights == 0)).any()), f"{mask}: a pair of weight 0 was kept ({name})"
        assert got.scores is pairs.scores and got.weights is pairs.weights, f"scores or weights are other ones ({name})"
        same_pairs(Pairs(*pairs[:3], None), Pairs(*before[:3], None), f"an argument was changed ({name})")


@check(shapes=("weigher",))
def check_weigher_only_weighs(method) -> None:
    "Scores and masks stay, weights in use are finite and not below 0, and none of weight 0 comes to life."
    for name, pairs in narrowed_cases():
        got = narrow(method, pairs)
        used = pairs.positives | pairs.negatives
        assert got.scores is pairs.scores and torch.equal(got.positives, pairs.positives), f"scores or positives changed ({name})"
        assert torch.equal(got.negatives, pairs.negatives), f"negatives changed ({name})"
        assert got.weights is not None and (got.weights[used] >= 0).all() and got.weights[used].isfinite().all(), f"weights ({name})"
        if pairs.weights is not None:
            assert (got.weights[used & (pairs.weights == 0)] == 0).all(), f"a pair of weight 0 got a weight ({name})"


@check(shapes=("narrower", "weigher"))
def check_narrower_by(method) -> None:
    "`by` of the pairs' own scores changes nothing; through it no gradient flows, through the scores it does."
    for name, pairs in narrowed_cases():
        same_pairs(narrow(method, pairs, by=pairs.scores), narrow(method, pairs), f"by the pairs' own scores ({name})")
        by, scores = normal(*pairs.scores.shape, seed=11).requires_grad_(), pairs.scores.clone().requires_grad_()
        got = narrow(method, pairs._replace(scores=scores), by=by)
        assert got.scores is scores, f"the scores were replaced ({name})"
        assert got.weights is None or not got.weights.requires_grad, f"a gradient flows through by ({name})"


@check(shapes=("narrower", "weigher"))
def check_narrower_rows(method) -> None:
    "What becomes of a query depends on its own row alone."
    pairs = Pairs(*next(c.arguments for c in cases("pairs") if c.name == "ragged"))
    whole = narrow(method, pairs)
    for row in range(len(pairs.scores)):
        others = torch.arange(len(pairs.scores))[:, None] != row
        changed = narrow(method, pairs._replace(scores=torch.where(others, -pairs.scores, pairs.scores)))
        for name, one, other in zip(Pairs._fields[1:], changed[1:], whole[1:], strict=True):
            same = one is other or torch.equal(one[row], other[row])
            assert same, f"{name} of query {row} depend on the scores of other queries"


@check(shapes=("narrower",))
def check_narrower_nan(method) -> None:
    "A NaN among the negatives stays: it is the loss's to show."
    pairs = Pairs(*next(c.arguments for c in cases("pairs") if c.name == "from_labels"))
    place = pairs.negatives & (pairs.negatives.cumsum(1) == 1)
    got = narrow(method, pairs._replace(scores=torch.where(place, math.nan, pairs.scores)))
    assert got.negatives[place].all(), "a negative whose score is NaN was dropped"


@check(shapes=("narrower",))
def check_narrower_safe(method) -> None:
    "By a perfect teacher it drops every false negative and nothing else."
    if "safe" not in method.promises:
        return
    topic = torch.arange(12) % 3
    right = topic[:3, None] == topic[None, :]
    marked = torch.arange(12)[None, :] == torch.arange(3)[:, None]
    got = narrow(method, Pairs(normal(3, 12), marked, ~marked), by=right.double())
    assert torch.equal(got.negatives, ~right), "by a perfect teacher: other negatives are left than the true ones"
    assert torch.equal(got.positives, marked), "by a perfect teacher: the positives changed"


@check(shapes=("narrower", "weigher"))
def check_narrower_precision(method) -> None:
    "Scores of half precision decide as they are; the scores that come back have their dtype."
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        for name, pairs in narrowed_cases():
            low = pairs._replace(scores=pairs.scores.to(dtype))
            got, want = narrow(method, low), narrow(method, pairs._replace(scores=low.scores.float()))
            assert got.scores is low.scores, f"{dtype}: the scores were replaced ({name})"
            same_pairs(got._replace(scores=want.scores), want, f"{dtype} against float32 ({name})")


@check(shapes=("narrower", "weigher"))
def check_narrower_generator(method) -> None:
    "The generator decides: the same seed the same pairs, other seeds others, and torch's own dice are left alone."
    if "generator" not in inspect.signature(method.load()).parameters:
        return
    pairs = from_labels(normal(24, 3), torch.arange(24) % 3)
    with torch.random.fork_rng(devices=[]):
        before = torch.get_rng_state()
        first, again, other = (narrow(method, pairs, seed) for seed in (0, 0, 1))
        assert torch.equal(torch.get_rng_state(), before), "generator: was given, and torch's own was used"
        same_pairs(again, first, "generator: the same seed")
        assert not torch.equal(first.negatives, other.negatives), "generator: another seed changes nothing"


@check(shapes=("narrower", "weigher"))
def check_narrower_bad_input(method) -> None:
    "Every wrong argument is refused by name."
    pairs = Pairs(*plain_pairs())
    scores = pairs.scores
    table = [("by", {"by": wrong}) for wrong in (scores.tolist(), scores.long(), scores[0], scores[:, 1:], scores.to("meta"))]
    for option, value in method.options.items():
        if isinstance(value, str):
            table.append((option, {option: "nonsense"}))
        else:
            table += [(option, {option: wrong}) for wrong in ("2", True, math.nan, [1])]
    if "generator" in inspect.signature(method.load()).parameters:
        table.append(("generator", {"generator": 0}))
    table += [("scores", {"pairs": pairs._replace(scores=scores.long())}), ("negatives", {"pairs": pairs._replace(negatives=scores)})]
    for name, change in table:
        try:
            method(**({"pairs": pairs} | change))
        except (TypeError, ValueError) as error:
            assert name in str(error), f"{name}: the message '{error}' does not name it"
        else:
            raise AssertionError(f"{name}: {change!r} was accepted")


# ---- batch composers: (what is known of N items, **options) -> module(generator) -> numbers of items -------------------------------


def composer(method, items: int = 24):
    "One on items whose sizes divide: three classes of eight, or points."
    by_points = next(iter(inspect.signature(method.load()).parameters)) == "z"
    return method(normal(items, 3, dtype=torch.float32) if by_points else torch.arange(items) % 3)


def epoch(compose, generator: torch.Generator) -> list[Tensor]:
    return [compose(generator) for _ in range(len(compose))]


@check(shapes=("batches",))
def check_batches_once(method) -> None:
    "Each item comes up once an epoch where the sizes divide, and never twice where they do not, in batches of one size."
    for items in (24, 23):
        compose = composer(method, items)
        for _ in range(3):
            dealt = epoch(compose, numbers())
            assert all(x.dtype == torch.long and x.shape == dealt[0].shape for x in dealt), "batches of several sizes or dtypes"
            counts = torch.bincount(torch.cat(dealt), minlength=items)
            assert len(counts) == items, f"a number beyond the {items} items"
            assert counts.max() == 1, f"item {int(counts.argmax())} comes up {int(counts.max())} times in an epoch of {items} items"
            assert items != 24 or counts.min() == 1, f"item {int(counts.argmin())} does not come up in an epoch of {items} items"


@check(shapes=("batches",))
def check_batches_generator(method) -> None:
    "The generator decides: the same seed the same batches, another seed or epoch others; torch's own dice are left alone."
    with torch.random.fork_rng(devices=[]):
        before = torch.get_rng_state()
        first, again, other = (torch.stack(epoch(composer(method), numbers(seed))) for seed in (0, 0, 1))
        assert torch.equal(torch.get_rng_state(), before), "generator: was given, and torch's own was used"
    assert torch.equal(first, again), "generator: the same seed gives other batches"
    assert not torch.equal(first, other), "generator: another seed changes nothing"
    compose, generator = composer(method), numbers()
    assert not torch.equal(torch.stack(epoch(compose, generator)), torch.stack(epoch(compose, generator))), "every epoch is the same"


@check(shapes=("batches",))
def check_batches_state(method) -> None:
    "Its memory is its buffers: what a fresh one loads goes on as the old one does, and nothing of it learns."
    one, generator = composer(method), numbers()
    for _ in range(len(one) + 1):
        one(generator)
    other = composer(method)
    other.load_state_dict(one.state_dict())
    assert not list(one.parameters()), "a composer has nothing to learn"
    state = generator.get_state()
    want, got = [one(generator) for _ in range(len(one))], []
    generator.set_state(state)
    got = [other(generator) for _ in range(len(one))]
    assert all(torch.equal(x, y) for x, y in zip(got, want, strict=True)), "state: a copy deals other batches"


@check(shapes=("batches",))
def check_batches_resume(method) -> None:
    "A training that is stopped in the middle of an epoch and taken up by `fit` deals the same batches to the same end."
    points = normal(24, 3, dtype=torch.float32)

    class Sample(torch.nn.Module):
        def __init__(self, fail_at: int | None = None):
            super().__init__()
            self.compose, self.fail_at, self.seen = composer(method), fail_at, []

        def forward(self, generator):
            if len(self.seen) == self.fail_at:
                raise InterruptedError
            self.seen.append(self.compose(generator))
            return (points[self.seen[-1]],)

    def train(sample, **keywords):
        model = seeded(0, lambda: torch.nn.Linear(3, 2))
        fit(model, sample, lambda model, x: (model(x),), lambda z: z.square().mean(), steps=9, lr=0.1, seed=2, **keywords)
        return model.weight

    whole, broken, again = Sample(), Sample(5), Sample()
    want = train(whole)
    with tempfile.TemporaryDirectory() as folder:
        keep = {"checkpoint": pathlib.Path(folder) / "run.pt", "save_every": 1}
        with pytest.raises(InterruptedError):
            train(broken, **keep)
        got = train(again, **keep)
    dealt = broken.seen[:-1] if len(broken.seen) + len(again.seen) > 9 else broken.seen
    assert [x.tolist() for x in dealt + again.seen] == [x.tolist() for x in whole.seen], "resumed: other batches"
    assert torch.equal(got, want), "resumed: other weights"


@check(shapes=("batches",))
def check_batches_own_copy(method) -> None:
    "What it hands out is the caller's: writing into a batch changes no later one."
    one, two = composer(method), composer(method)
    first, second = numbers(), numbers()
    for _ in range(2 * len(one)):
        batch = one(first)
        assert torch.equal(batch, two(second)), "a batch that the caller wrote into came back"
        batch.zero_()
        assert all(torch.equal(x, two.state_dict()[name]) for name, x in one.state_dict().items()), "the caller wrote into the deal"


@check(shapes=("batches",))
def check_batches_bad_input(method) -> None:
    "Every wrong argument is refused by name."
    first = next(iter(inspect.signature(method.load()).parameters))
    wrong = [("text", "y"), ("a scalar", torch.tensor(1)), ("complex", torch.zeros(4, dtype=torch.complex64))]
    wrong += (
        [("integers", torch.arange(12))]
        if first == "z"
        else [("numbers", torch.rand(12)), ("two dimensions", torch.zeros(4, 3, dtype=torch.long))]
    )
    table = [(first, lambda x=x: method(x)) for _, x in wrong]
    good = composer(method)
    known = normal(24, 3) if first == "z" else torch.arange(24) % 3
    table += [(o, lambda o=o, x=x: method(known, **{o: x})) for o in method.options for x in (0, -1, 2.0, "2", True, None, 1000)]
    for name, bad in [*table, ("generator", lambda: good(0))]:
        try:
            bad()
        except (TypeError, ValueError) as error:
            assert name in str(error) or "classes" in str(error), f"{name}: the message '{error}' does not name it"
        else:
            raise AssertionError(f"{name}: a wrong value was accepted")


# ---- heads: (dim, **options) -> module on (N, dim) features ---------------------------------------------------------------------------


def head(method, seed: int = 0):
    return seeded(seed, lambda: method(6))


@check(shapes=("head",))
def check_head_seed(method) -> None:
    "Its first weights come from torch's generator and from nothing else."
    one, again, other = (list(head(method, seed).state_dict().values()) for seed in (0, 0, 1))
    assert all(torch.equal(x, y) for x, y in zip(one, again, strict=True)), "the same seed gives other weights"
    assert not all(torch.equal(x, y) for x, y in zip(one, other, strict=True)), "another seed changes nothing"


@check(shapes=("head",))
def check_head_gradient(method) -> None:
    "Every parameter and the features get a gradient that is finite and not all 0."
    module, h = head(method), normal(8, 6, dtype=torch.float32).requires_grad_()
    out = module(h)
    assert out.dim() == 2 and len(out) == 8, f"got shape {tuple(out.shape)}, want a row a feature vector"
    (out * normal(*out.shape, seed=1, dtype=torch.float32)).sum().backward()
    for name, x in {"the features": h, **dict(module.named_parameters())}.items():
        assert x.grad is not None and x.grad.isfinite().all() and (x.grad != 0).any(), f"{name}: no gradient"


@check(shapes=("head",))
def check_head_rows(method) -> None:
    "In evaluation mode an item's output depends on its own features alone, and nothing is changed."
    module, h = head(method), normal(8, 6, dtype=torch.float32)
    module(h)  # moves the running statistics
    module.eval()
    before = [x.clone() for x in module.state_dict().values()]
    whole, single = module(h), torch.cat([module(h[i : i + 1]) for i in range(8)])
    close(single, whole, "an item alone against the batch", tolerance=1e-5)
    assert all(torch.equal(x, y) for x, y in zip(before, module.state_dict().values(), strict=True)), "evaluation changes the module"


@check(shapes=("head",))
def check_head_state(method) -> None:
    "What a fresh one loads computes the same bits."
    one, other, h = head(method), head(method, 1), normal(8, 6, dtype=torch.float32)
    one(h)
    other.load_state_dict(one.state_dict())
    assert torch.equal(one.eval()(h), other.eval()(h)), "a copy computes something else"


@check(shapes=("head",))
def check_head_bad_input(method) -> None:
    "Counts that are none are refused by name."
    known = [name for name, p in inspect.signature(method.load()).parameters.items() if name not in method.options and p.default is p.empty]
    for name in (known[0], *method.options):
        for wrong in (0, -1, 2.0, "2", True):
            try:
                method(**({known[0]: 6} | {name: wrong}))
            except (TypeError, ValueError) as error:
                assert name in str(error), f"{name}: the message '{error}' does not name it"
            else:
                raise AssertionError(f"{name}: {wrong!r} was accepted")


# ---- layers: (z) -> (N, D), a batch moved as a whole -----------------------------------------------------------------------------------


@check(shapes=("layer",))
def check_layer_gradient(method) -> None:
    "A batch's gradient agrees with finite differences, and nothing that was passed in is changed."
    z = normal(12, 4).requires_grad_()
    before = z.detach().clone()
    assert torch.autograd.gradcheck(method, z, raise_exception=False) and torch.equal(z.detach(), before)


@check(shapes=("layer",))
def check_layer_rows(method) -> None:
    "Items in another order come out in that order, and an item that is far off moves the others: it is a matter of the batch."
    z = normal(12, 4)
    close(method(z.flip(0)), method(z).flip(0), "items in another order", tolerance=1e-10)
    far = z.clone()
    far[0] += 10
    assert (method(far)[1:] - method(z)[1:]).abs().max() > 0.1, "an item does not see the others"


@check(shapes=("layer",))
def check_layer_precision(method) -> None:
    "float32 near float64; half precision is computed, and given back, in float32."
    z = normal(40, 4)
    for dtype, back, tolerance in (
        (torch.float32,) * 2 + (1e-5,),
        (torch.bfloat16, torch.float32, 1e-5),
        (torch.float16, torch.float32, 1e-5),
    ):
        out = method(z.to(dtype))
        assert out.dtype == back, f"{dtype} gives {out.dtype}"
        close(out, method(z.to(dtype).double()), f"{dtype} against float64", tolerance=tolerance)


@check(shapes=("layer",))
def check_layer_flat(method) -> None:
    "Rows that are all equal, and fewer rows than features, give finite values and gradients."
    for z in (torch.ones(6, 4).double(), normal(2, 4), torch.zeros(6, 4).double()):
        z = z.clone().requires_grad_()
        out = method(z)
        (out * normal(*z.shape, seed=1)).sum().backward()
        assert out.isfinite().all() and z.grad.isfinite().all(), "not finite"


@check(shapes=("layer",))
def check_layer_bad_input(method) -> None:
    "What is no finite floating matrix is refused by name."
    for wrong in (None, torch.arange(12).view(6, 2), normal(6), normal(2, 3, 4), torch.full((6, 4), torch.nan)):
        with pytest.raises((TypeError, ValueError), match="z"):
            method(wrong)


# ---- targets: what is known of the items -> (N, N) how right each pair is -------------------------------------------------------------------

KNOWN = [  # trees as lists of paths; the first and the fourth are one, the last two have nothing in common with another
    [("a", "b", "c"), ("a", "d")], [("a", "b", "e")], [("f", "b", "c")], [("a", "d"), ("a", "b", "c")], [("a", None, "c")], [("x", "y", "z")], [],
]  # fmt: skip


@check(shapes=("targets",))
def check_targets_range(method) -> None:
    "Symmetric, within [0, 1], an item with itself 1, equal items 1, strangers 0, and what is alike in part in between."
    f = method(KNOWN)
    assert f.shape == (7, 7) and torch.equal(f, f.T) and (f >= 0).all() and (f <= 1).all()
    assert (f.diagonal() == 1).all() and f[0, 3] == 1 and (f[:5, 5:] == 0).all() and f[5, 6] == 0 and 0 < f[0, 1] < 1 and 0 < f[0, 2] < 1


@check(shapes=("targets",))
def check_targets_names(method) -> None:
    "Other names for the same labels, and the items in another order, change nothing."
    f, order = method(KNOWN), [3, 1, 6, 0, 2, 5, 4]
    other = [[tuple(x and x.upper() for x in path) for path in KNOWN[i]] for i in order]
    close(method(other), f[order][:, order], "renamed and in another order", tolerance=1e-12)


@check(shapes=("targets",))
def check_targets_alone(method) -> None:
    "How right a pair is does not depend on who else is there."
    close(method(KNOWN[:4]), method(KNOWN)[:4, :4], "the first four by themselves", tolerance=1e-12)


@check(shapes=("targets",))
def check_targets_same_bits(method) -> None:
    "Twice the same, and what was passed in is as it was."
    known = [list(tree) for tree in KNOWN]
    assert torch.equal(method(known), method(known)) and known == KNOWN


@check(shapes=("targets",))
def check_targets_bad_input(method) -> None:
    "What is no list of lists of paths is refused by name."
    for wrong in ("ab", 3, None, ["ab"], [[["a"]]], [[1]], [3]):
        with pytest.raises((TypeError, ValueError), match="trees"):
            method(wrong)


# ---- groups: (z, how many) -> (N,) numbers of the groups that an embedding falls into ---------------------------------------------------


def clumps() -> tuple[Tensor, Tensor]:
    "Thirty rows in three directions, of any length, and which direction each has."
    of = torch.arange(30) % 3
    rows = 5 * torch.eye(4, dtype=FLOAT64)[of] + 0.1 * normal(30, 4)
    return rows * (0.5 + torch.arange(30, dtype=FLOAT64)[:, None]), of


def together(groups: Tensor) -> Tensor:
    return groups[:, None] == groups


@check(shapes=("groups",))
def check_groups_found(method) -> None:
    "Directions that lie apart are found, however long their rows: int64 from 0 on without a gap, and one group if one is asked for."
    z, of = clumps()
    found = method(z, 3)
    assert found.dtype == torch.long and found.shape == (30,) and found.unique().tolist() == [0, 1, 2], f"numbers: got {found}"
    assert torch.equal(together(found), together(of)), "other groups than the directions"
    assert method(z, 1).tolist() == [0] * 30, "one group of all: got more"


@check(shapes=("groups",))
def check_groups_within(method) -> None:
    "With the groups of before, items stay together that were together in both; the old numbers may have gaps."
    z, of = clumps()
    old = torch.arange(30) // 7 * 10
    found = method(z, 3, within=old)
    assert torch.equal(together(found), together(of) & together(old)), "together that were apart, or apart that were together"
    assert found.unique().tolist() == list(range(len(found.unique()))), "numbers with gaps"


@check(shapes=("groups",))
def check_groups_seed(method) -> None:
    "The seed decides, torch's own dice are left alone, another seed may differ, and what was passed in is as it was."
    z = normal(60, 4)
    kept = z.clone()
    with torch.random.fork_rng(devices=[]):
        before = torch.get_rng_state()
        first, other = method(z, 8), method(z, 8, seed=1)
        torch.manual_seed(5)
        assert torch.equal(method(z, 8), first), "the same seed gives other groups"
        torch.set_rng_state(before)
        method(z, 8)
        assert torch.equal(torch.get_rng_state(), before), "torch's own dice were used"
    assert not torch.equal(first, other), "seed: another one changes nothing"
    assert torch.equal(z, kept), "z: was written into"


@check(shapes=("groups",))
def check_groups_precision(method) -> None:
    "Any floating dtype, with a gradient or without: the same groups, and none of them has a gradient."
    z, of = clumps()
    for dtype in (torch.float64, torch.float32, torch.bfloat16, torch.float16):
        found = method(z.to(dtype).requires_grad_(), 3)
        assert not found.requires_grad and torch.equal(together(found), together(of)), f"other groups in {dtype}"


@check(shapes=("groups",))
def check_groups_bad_input(method) -> None:
    "What is wrong is refused by name."
    z = clumps()[0]
    table = [("z", lambda x=x: method(x, 2)) for x in ("text", torch.arange(12).view(6, 2), z[0], z / 0)]
    table += [("count", lambda x=x: method(z, x)) for x in (0, -1, 31, 2.0, "2", True)]
    table += [("within", lambda x=x: method(z, 3, within=x)) for x in (torch.arange(29), z[:, 0], [0] * 30)]
    table += [("seed", lambda x=x: method(z, 3, seed=x)) for x in (-1, 0.5, "0")]
    for name, bad in table:
        with pytest.raises((TypeError, ValueError), match=f"^{name}: got|^{name}: not finite"):
            bad()


# ---- builders: embeddings and what is known of them -> Pairs ---------------------------------------------------------------------------


def built(method) -> tuple[dict, list[str]]:
    "Arguments of one call, and which of them are embeddings; the first is the queries'."
    a, b, queue = (normal(4, 3, seed=s) for s in range(3))
    grades = torch.tensor([[2.0, 0.0, 1.0, 0.0], [0.0, 0.0, 3.0, 1.0], [0.0] * 4, [1.0] * 4])
    table = {
        "two_views": ({"z1": a, "z2": b}, ["z1", "z2"]),
        "in_batch": ({"query": a, "key": b, "hard": queue}, ["query", "key", "hard"]),
        "cross": ({"query": a, "key": queue, "positives": torch.eye(4) > 0}, ["query", "key"]),
        "with_queue": ({"query": a, "key": b, "queue": queue}, ["query", "key", "queue"]),
        "from_labels": ({"z": torch.cat([a, b]), "labels": torch.arange(8) % 3}, ["z"]),
        "from_relevance": ({"scores": normal(4, 4), "relevance": grades}, []),
        "from_partners": ({"z": torch.cat([a, b]), "labels": torch.arange(8) % 3, "partners": (torch.arange(8) + 1) % 3}, ["z"]),
    }
    assert method.name in table, f"builder: the harness has no arguments for {method.name}"
    return table[method.name]


@check(shapes=("builder",))
def check_builder_masks(method) -> None:
    "Pairs that hold: masks apart, every query with a positive or none in sight, values that `check` passes."
    arguments, _ = built(method)
    pairs = method(**arguments)
    assert isinstance(pairs, Pairs) and pairs.check() is pairs
    assert pairs.positives.any() and pairs.negatives.any(), "no positive or no negative at all"


@check(shapes=("builder",))
def check_builder_turns(method) -> None:
    "Turning all embeddings together, or stretching each, changes no cosine."
    arguments, embeddings = built(method)
    turn, _ = torch.linalg.qr(normal(3, 3, seed=8))
    stretched = {name: arguments[name] @ turn * (1 + normal(len(arguments[name]), 1, seed=9).abs()) for name in embeddings}
    same = method(**(arguments | stretched))
    same_pairs(
        same._replace(scores=same.scores.round(decimals=10)),
        (p := method(**arguments))._replace(scores=p.scores.round(decimals=10)),
        "turned",
    )


@check(shapes=("builder",))
def check_builder_detach(method) -> None:
    "With `detach_key` gradients flow through the queries alone, and the values are the same."
    arguments, embeddings = built(method)
    if not embeddings:
        return
    for detach in (False, True):
        learned = {name: arguments[name].clone().requires_grad_() for name in embeddings}
        pairs = method(**(arguments | learned), detach_key=detach)
        weight = normal(*pairs.scores.shape, seed=10)
        gradients = torch.autograd.grad((pairs.scores * weight).sum(), list(learned.values()), allow_unused=True)
        close(pairs.scores, method(**arguments).scores, "detach_key changes the scores", tolerance=0)
        assert gradients[0] is not None and (gradients[0] != 0).any(), "detach_key: the queries have no gradient"
        if method.name != "two_views":  # whose views are queries and keys both
            assert all((g is None) == detach for g in gradients[1:]), f"detach_key={detach}: gradients of the keys"


@check(shapes=("builder",))
def check_builder_precision(method) -> None:
    "Half precision becomes float32 scores, under autocast too."
    arguments, embeddings = built(method)
    for dtype in (torch.bfloat16, torch.float16):
        rounded = {name: arguments[name].to(dtype) for name in embeddings}
        want = method(**(arguments | {name: x.double() for name, x in rounded.items()}))
        for autocast in (False, True):
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
                got = method(**(arguments | rounded))
            assert not embeddings or got.scores.dtype == torch.float32, f"{dtype}: got scores of {got.scores.dtype}"
            close(got.scores, want.scores, f"{dtype}, autocast {autocast}", tolerance=1e-5)


@check(shapes=("builder",))
def check_builder_same_bits(method) -> None:
    "The same input gives the same pairs and is left as it was."
    arguments, _ = built(method)
    before = {name: x.clone() for name, x in arguments.items()}
    first, second = method(**arguments), method(**arguments)
    assert all(x is y or torch.equal(x, y) for x, y in zip(first, second, strict=True)), "two calls give other pairs"
    assert all(torch.equal(before[name], x) for name, x in arguments.items()), "an argument was changed"


@check(shapes=("builder",))
def check_builder_bad_input(method) -> None:
    "Every wrong argument is refused by name."
    arguments, embeddings = built(method)
    table = [(name, {name: wrong}) for name, x in arguments.items() for wrong in (x.tolist(), x.to(torch.complex64), x.to("meta"))]
    table += [(name, {name: arguments[name].long()}) for name in embeddings]
    table += [("similarity", {"similarity": "l2"}), ("detach_key", {"detach_key": 1})] if embeddings else []
    for name, change in table:
        try:
            method(**(arguments | change))
        except (TypeError, ValueError) as error:
            others = [other for other in arguments if other in str(error)]
            assert name in str(error) or (others and getattr(change[name], "is_meta", False)), f"{name}: '{error}' does not name it"
        else:
            raise AssertionError(f"{name}: a wrong value was accepted")


# ---- metrics of embeddings: (z) -> a number -----------------------------------------------------------------------------------------------


@check(shapes=("metric",))
def check_metric_number(method) -> None:
    "A Python number, the same each time; the input stays and nothing learns through it."
    z = normal(40, 5).requires_grad_()
    before = z.detach().clone()
    first, second = method(z), method(z)
    assert isinstance(first, float) and first == second and math.isfinite(first), f"got {first!r}, then {second!r}"
    assert torch.equal(z, before) and z.grad is None, "the embeddings were changed"


@check(shapes=("metric",))
def check_metric_order(method) -> None:
    "The order of the items does not matter."
    z = normal(40, 5)
    close(torch.tensor(method(z.flip(0))), torch.tensor(method(z)), "items in another order", tolerance=1e-10)


@check(shapes=("metric",))
def check_metric_precision(method) -> None:
    "float32 and half precision: near float64 on the same rounded input."
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.bfloat16, 1e-5), (torch.float16, 1e-5)):
        z = normal(40, 5).to(dtype)
        close(torch.tensor(method(z)), torch.tensor(method(z.double())), f"{dtype} against float64", tolerance=tolerance)


@check(shapes=("metric",))
def check_metric_sees(method) -> None:
    "Points that have collapsed onto a line are worth another number than points that have not."
    z = normal(40, 5)
    assert abs(method(z) - method(z[:, :1] * torch.ones(1, 5))) > 0.1, "collapse changes nothing"


@check(shapes=("metric",))
def check_metric_bad_input(method) -> None:
    "What is no matrix of finite numbers is refused by name."
    z = normal(40, 5)
    for wrong in (z.tolist(), z.long(), z[0], z[None], z.to(torch.complex128), z * math.nan):
        with pytest.raises((TypeError, ValueError), match="z"):
            method(wrong)


# ---- decoders: (scores, prefix, length=, *, generator, **options) -> tokens; scores: (B, L) tokens -> (B, V), of the next one -----------


def certain(tokens: Tensor) -> Tensor:
    "A model that knows what comes: the sum of the last two tokens, of seven; the rest has a score far below."
    return torch.nn.functional.one_hot((tokens[:, -1] + tokens[:, -2]) % 7, 7).double() * 200


def undecided(tokens: Tensor) -> Tensor:
    "A model that prefers nothing, and never takes token 3."
    return torch.zeros(len(tokens), 7, dtype=FLOAT64).index_fill(1, torch.tensor([3]), -math.inf)


def decoded(method, scores, prefix: Tensor, seed: int = 0, **options) -> Tensor:
    return method(scores, prefix, **({"length": 6} | options), generator=numbers(seed))


def prefixes(count: int = 5) -> Tensor:
    return torch.randint(0, 3, (count, 3), generator=numbers(4))


@check(shapes=("decoder",))
def check_decoder_tokens(method) -> None:
    "The prefix, then as many tokens of the vocabulary as were asked for; the prefix given stays as it was."
    prefix = prefixes()
    before, tokens = prefix.clone(), decoded(method, undecided, prefix)
    assert tokens.dtype == torch.long and tokens.shape == (5, 9), f"got {tokens.dtype} of shape {tuple(tokens.shape)}, want (5, 9)"
    assert torch.equal(tokens[:, :3], before) and torch.equal(prefix, before), "the prefix is another"
    assert ((tokens >= 0) & (tokens < 7)).all(), "a token that the vocabulary does not have"


@check(shapes=("decoder",))
def check_decoder_generator(method) -> None:
    "What it draws comes from the generator alone."
    torch.manual_seed(1)
    state, one = torch.get_rng_state(), decoded(method, undecided, prefixes())
    assert torch.equal(state, torch.get_rng_state()), "it draws from torch's own generator"
    torch.manual_seed(2)
    assert torch.equal(one, decoded(method, undecided, prefixes())), "the same seed gives other tokens"


@check(shapes=("decoder",))
def check_decoder_certain(method) -> None:
    "A model that is certain is followed, step by step."
    tokens = decoded(method, certain, prefixes())
    for i in range(3, 9):
        assert torch.equal(tokens[:, i], (tokens[:, i - 1] + tokens[:, i - 2]) % 7), (
            f"token {i} is not the one that the model is certain of"
        )


@check(shapes=("decoder",))
def check_decoder_rows(method) -> None:
    "A sequence alone is continued as it is among others."
    prefix = prefixes()
    alone = torch.cat([decoded(method, certain, prefix[i : i + 1]) for i in range(5)])
    assert torch.equal(alone, decoded(method, certain, prefix)), "other sequences change what a sequence becomes"


@check(shapes=("decoder",))
def check_decoder_impossible(method) -> None:
    "A token whose score is minus infinity is never taken."
    tokens = torch.cat([decoded(method, undecided, prefixes(), seed)[:, 3:] for seed in range(20)])
    assert not (tokens == 3).any(), "it takes a token that cannot come"


@check(shapes=("decoder",))
def check_decoder_bad_input(method) -> None:
    "A length that is no count and a prefix that is no table of tokens are refused by name."
    prefix = prefixes()
    wrong = [("length", prefix, {"length": length}) for length in (0, -1, 2.0, "2", True)]
    wrong += [("prefix", x, {}) for x in (prefix.tolist(), prefix[0], prefix.double(), prefix[:, :0])]
    for name, given, options in wrong:
        with pytest.raises((TypeError, ValueError), match=name):
            decoded(method, certain, given, **options)


# ---- estimators: (f, x, draws=, *, generator, **options) -> a gradient of x's shape; f: (n, D) points -> (n,) values --------------------

SLOPE = torch.tensor([2.0, -1.0, 0.5, 0.0], dtype=FLOAT64)


def slanted(points: Tensor) -> Tensor:
    return points.detach() @ SLOPE


def estimated(method, f=slanted, x: Tensor | None = None, seed: int = 0, **options) -> Tensor:
    return method(f, torch.ones(4, dtype=FLOAT64) if x is None else x, **({"draws": 500} | options), generator=numbers(seed))


def agreement(method, draws: int) -> float:
    "Mean cosine of estimate and slope over ten seeds."
    found = torch.stack([estimated(method, seed=seed, draws=draws) for seed in range(10)])
    return torch.nn.functional.cosine_similarity(found, SLOPE, dim=-1).mean().item()


@check(shapes=("estimator",))
def check_estimator_gradient(method) -> None:
    "Finite, of the point's shape and dtype, without a graph; the point stays as it was."
    for dtype in (FLOAT64, torch.float32):
        x = torch.ones(4, dtype=dtype, requires_grad=True)
        found = estimated(method, lambda points: slanted(points.double()).to(points.dtype), x)
        assert found.shape == x.shape and found.dtype == dtype and found.isfinite().all(), f"got {found}, want a gradient of {x}"
        assert not found.requires_grad and x.grad is None and (x == 1).all(), "the point was changed, or a graph was kept"


@check(shapes=("estimator",))
def check_estimator_generator(method) -> None:
    "What it draws comes from the generator alone; another seed draws other points."
    torch.manual_seed(1)
    state, one = torch.get_rng_state(), estimated(method)
    assert torch.equal(state, torch.get_rng_state()), "it draws from torch's own generator"
    torch.manual_seed(2)
    assert torch.equal(one, estimated(method)), "the same seed gives another gradient"
    assert not torch.equal(one, estimated(method, seed=1)), "another seed changes nothing"


@check(shapes=("estimator",))
def check_estimator_direction(method) -> None:
    "On a plane it points up the slope."
    assert (found := agreement(method, 2000)) > 0.95, f"cosine {found:.3f} with the slope, want above 0.95"


@check(shapes=("estimator",))
def check_estimator_draws(method) -> None:
    "More draws come nearer."
    few, many = agreement(method, 8), agreement(method, 800)
    assert many > few, f"cosine {few:.3f} with 8 draws, {many:.3f} with 800"


@check(shapes=("estimator",))
def check_estimator_values_alone(method) -> None:
    "It asks for values, at points near and not only at the point, and for no gradient of them."
    seen = []

    def f(points):
        seen.append(points)
        return slanted(points)

    estimated(method, f)
    points = torch.cat([x.reshape(-1, 4) for x in seen])
    assert not any(x.requires_grad for x in seen), "it wants a gradient of what has none"
    assert len(points.unique(dim=0)) > 100, f"it looked at {len(points.unique(dim=0))} points for 500 draws"


@check(shapes=("estimator",))
def check_estimator_bad_input(method) -> None:
    "Draws that are no count and a point that is none are refused by name."
    x = torch.ones(4, dtype=FLOAT64)
    wrong = [("draws", x, {"draws": draws}) for draws in (0, -1, 2.0, "2", True)]
    wrong += [("x", point, {}) for point in (x.tolist(), x.long(), x * math.nan)]
    for name, point, options in wrong:
        with pytest.raises((TypeError, ValueError), match=name):
            estimated(method, slanted, point, **options)


# ---- outside implementations ----------------------------------------------------------------------------------------------------


def check_oracle(method, name: str) -> None:
    "Value and gradient of an outside implementation in float64, to 1e-12."
    oracle = ORACLES[name]
    if oracle.missing:
        pytest.skip(oracle.missing)
    shapes, ours = ARRANGEMENTS[oracle.builder]
    for temperature, seed in itertools.product((0.5, 0.1), (0, 1)):
        inputs = draw(*shapes, seed=seed)
        want, slopes = value_and_gradient(lambda *x, t=temperature: oracle.function(*x, t), *inputs)
        got, gradients = value_and_gradient(partial(ours, partial(call, method, temperature=temperature)), *inputs)
        close(got, want, f"value against {name}, temperature {temperature}", tolerance=1e-12)
        for gradient, slope in zip(gradients, slopes, strict=True):
            close(gradient, slope, f"gradient against {name}, temperature {temperature}", tolerance=1e-12)
