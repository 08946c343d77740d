"""What every objective does before and after its formula: checks that cost nothing, float32 inside, one reduction.

Plain module: it is machinery, shown at work on the page about pairs and used by every objective.
"""

import contextlib
import math
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

REDUCTIONS = ("none", "mean", "sum")
HALF = (torch.float16, torch.bfloat16)
T = TypeVar("T")
ABSENT = object()  # the temperature of an objective that has none; None is a mistake and is refused


def check_floating(name: str, x, dims: tuple[int, ...]) -> Tensor:
    "Raise unless `x` is a floating tensor with one of these numbers of dimensions; return it."
    if not isinstance(x, Tensor):
        raise TypeError(f"{name}: got {type(x).__name__}, want a floating-point tensor")
    if not x.is_floating_point():
        raise TypeError(f"{name}: got dtype {x.dtype}, want a floating-point tensor")
    if x.dim() not in dims:
        raise ValueError(f"{name}: got shape {tuple(x.shape)}, want {' or '.join(str(d) for d in dims)} dimensions")
    return x


def check_like(name: str, x, other: str, y: Tensor, *, dtype: bool = True) -> None:
    "Raise unless `x` lies on the device of `y` and (with `dtype`) has its dtype."
    if x.device != y.device:
        raise ValueError(f"{name}: got device {x.device}, want {y.device}, where {other} is")
    if dtype and x.dtype != y.dtype:
        raise TypeError(f"{name}: got dtype {x.dtype}, want {y.dtype}, as {other} has")


def check_mask(name: str, mask, scores: Tensor) -> None:
    "Raise unless `mask` is a boolean tensor of the scores' shape and device."
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool:
        raise TypeError(f"{name}: got {mask.dtype if isinstance(mask, Tensor) else type(mask).__name__}, want a bool tensor")
    if mask.shape != scores.shape:
        raise ValueError(f"{name}: got shape {tuple(mask.shape)}, want {tuple(scores.shape)}, the shape of scores")
    check_like(name, mask, "scores", scores, dtype=False)


def check_pairs(scores, positives, negatives, weights=None) -> None:
    "Raise unless the four parts of a `Pairs` fit together (types, shapes, devices; no value is looked at)."
    check_floating("scores", scores, (2,))
    check_mask("positives", positives, scores)
    check_mask("negatives", negatives, scores)
    if weights is not None:
        check_floating("weights", weights, (2,))
        if weights.shape != scores.shape:
            raise ValueError(f"weights: got shape {tuple(weights.shape)}, want {tuple(scores.shape)}, the shape of scores")
        check_like("weights", weights, "scores", scores, dtype=False)


def check_values(scores: Tensor, positives: Tensor, negatives: Tensor, weights: Tensor | None = None) -> None:
    "Raise `ValueError` on overlapping masks, NaN or infinite scores in use, negative or non-finite weights. Waits for the device."
    if (positives & negatives).any():
        at = (positives & negatives).nonzero()[0].tolist()
        raise ValueError(f"positives and negatives overlap, first at query {at[0]}, key {at[1]}: a pair can be one or the other")
    used = positives | negatives
    if not torch.isfinite(scores[used]).all():
        at = (used & ~torch.isfinite(scores)).nonzero()[0].tolist()
        raise ValueError(f"scores: not finite, first at query {at[0]}, key {at[1]}")
    if weights is not None and not (torch.isfinite(weights[used]) & (weights[used] >= 0)).all():
        raise ValueError("weights: got a negative or non-finite weight, want weights >= 0")


def check_temperature(temperature, scores: Tensor, *, check: bool = False):
    """Raise unless `temperature` is a finite number above 0, or a floating tensor that broadcasts to the scores.

    The values inside a tensor are looked at only with `check`: that waits for the device.
    """
    if isinstance(temperature, Tensor):
        if not temperature.is_floating_point():
            raise TypeError(f"temperature: got dtype {temperature.dtype}, want a floating-point tensor or a number")
        try:
            fits = torch.broadcast_shapes(temperature.shape, scores.shape) == scores.shape
        except RuntimeError:
            fits = False
        if not fits:
            raise ValueError(f"temperature: got shape {tuple(temperature.shape)}, want one that broadcasts to {tuple(scores.shape)}")
        if temperature.dim() > 0 or temperature.device.type != "cpu":  # torch takes one number from the CPU anywhere
            check_like("temperature", temperature, "scores", scores, dtype=False)
        if check and not (torch.isfinite(temperature) & (temperature > 0)).all():
            raise ValueError("temperature: got a value that is not finite and above 0")
        return temperature
    if isinstance(temperature, bool) or not isinstance(temperature, (int, float)):
        raise TypeError(f"temperature: got {type(temperature).__name__}, want a number or a tensor")
    if not (math.isfinite(temperature) and temperature > 0):
        raise ValueError(f"temperature: got {temperature}, want a finite number above 0")
    return temperature


def check_number(name: str, value, low: float, high: float = math.inf, *, open_low: bool = False, open_high: bool = False) -> float:
    "Raise unless `value` is a number in the range (its ends allowed unless `open_low`, `open_high`); return it."
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name}: got {type(value).__name__}, want a number")
    inside = (value > low if open_low else value >= low) and (value < high if open_high else value <= high)
    if not (math.isfinite(value) and inside):
        ends = f"{'(' if open_low else '['}{low:g}, {high:g}{')' if open_high or high == math.inf else ']'}"
        raise ValueError(f"{name}: got {value}, want a number in {ends}")
    return value


def check_choice(name: str, value, choices: tuple) -> None:
    "Raise unless `value` is one of the choices."
    if value not in choices:
        raise ValueError(f"{name}: got {value!r}, want one of {', '.join(map(repr, choices))}")


def check_lists(scores, relevance, mask=None) -> None:
    "Raise unless the parts of graded lists fit together (types, shapes, devices; no value is looked at)."
    check_floating("scores", scores, (2,))
    if not isinstance(relevance, Tensor) or relevance.is_complex():
        got = f"dtype {relevance.dtype}" if isinstance(relevance, Tensor) else type(relevance).__name__
        raise TypeError(f"relevance: got {got}, want a tensor of grades")
    if relevance.shape != scores.shape:
        raise ValueError(f"relevance: got shape {tuple(relevance.shape)}, want {tuple(scores.shape)}, the shape of scores")
    check_like("relevance", relevance, "scores", scores, dtype=False)
    if mask is not None:
        check_mask("mask", mask, scores)


def check_list_values(scores: Tensor, relevance: Tensor, there: Tensor) -> None:
    "Raise `ValueError` on a score or a grade in use that is NaN or infinite. Waits for the device."
    for name, x in (("scores", scores), ("relevance", relevance)):
        if (wrong := there & ~torch.isfinite(x)).any():
            at = wrong.nonzero()[0].tolist()
            raise ValueError(f"{name}: not finite, first at query {at[0]}, key {at[1]}")


def widen(x: T) -> T:  # what is not a tensor comes back as it is
    "Half precision becomes float32; float32 and float64 stay."
    return x.float() if isinstance(x, Tensor) and x.dtype in HALF else x


def full_precision(x: Tensor):
    "A context in which autocast is off for the device of `x`."
    if torch.amp.is_autocast_available(x.device.type):
        return torch.autocast(x.device.type, enabled=False)
    return contextlib.nullcontext()


def reduce(
    losses: Tensor,  # (Q,) a loss a query; values at queries left out do not matter
    counted: Tensor,  # (Q,) bool: the queries that contribute
    reduction: str,  # "none", "mean" or "sum"
) -> Tensor:
    "Sum or average the losses of the queries that count; 0, with a gradient path, where none does."
    losses = torch.where(counted, losses, torch.zeros_like(losses))
    if reduction == "none":
        return losses
    total = losses.sum()
    return total if reduction == "sum" else total / counted.sum().clamp(min=1)


def objective(
    formula: Callable,  # (scores, positives, negatives, weights, temperature, **options) -> losses (Q,), counted (Q,) bool
    scores: Tensor,
    positives: Tensor,
    negatives: Tensor,
    weights: Tensor | None,
    *,
    temperature=ABSENT,  # left out by an objective that has none
    reduction: str = "mean",
    check: bool = False,
    **options,
) -> Tensor:
    """Run an objective's formula with the house's manners: checks, float32 inside, autocast off, one reduction.

    Raises `TypeError` or `ValueError` naming the argument; with `check` also for values inside the tensors.
    """
    check_pairs(scores, positives, negatives, weights)
    check_choice("reduction", reduction, REDUCTIONS)
    if temperature is ABSENT:
        temperature = None
    else:
        check_temperature(temperature, scores, check=check)
    if check:
        check_values(scores, positives, negatives, weights)
    with full_precision(scores):
        scores, weights, temperature = widen(scores), widen(weights), widen(temperature)
        losses, counted = formula(scores, positives, negatives, weights, temperature, **options)
        return reduce(losses, counted, reduction).to(scores.dtype)  # a sum may be too large for the dtype whose mean fits


def list_objective(
    formula: Callable,  # (scores, relevance, there, **options) -> losses (Q,), counted (Q,) bool; scores and grades in float64
    scores: Tensor,
    relevance: Tensor,
    mask: Tensor | None,
    *,
    reduction: str = "mean",
    check: bool = False,
    **options,
) -> Tensor:
    """The same manners for graded lists; what stands at padding is replaced by 0 before the formula sees it.

    A grade in use that is NaN makes its list's loss NaN. Raises as `objective` does.
    """
    check_lists(scores, relevance, mask)
    check_choice("reduction", reduction, REDUCTIONS)
    there = torch.ones_like(scores, dtype=torch.bool) if mask is None else mask
    if check:
        check_list_values(scores, relevance, there)
    with full_precision(scores):
        scores = widen(scores)
        if scores.shape[1] == 0:
            return reduce(scores.sum(1), there.any(1), reduction)
        grades = digits(torch.where(there, relevance, torch.zeros_like(relevance)))
        losses, counted = formula(digits(torch.where(there, scores, 0.0)), grades, there, **options)
        unknown = (there & relevance.isnan()).any(1)
        losses = torch.where(unknown, losses.new_tensor(math.nan), losses)
        return reduce(losses.to(scores.dtype), counted | unknown, reduction)


def digits(x):
    "float64 for the few numbers in which digits are lost (a logit of 200 in float32 is off by 1e-5); MPS has none and stays."
    return x.double() if isinstance(x, Tensor) and x.device.type != "mps" else x


def present(mask: Tensor, weights: Tensor | None) -> Tensor:
    "The pairs of a mask whose weight is not 0."
    return mask if weights is None else mask & (weights != 0)


def row_logsumexp(
    scores: Tensor,  # (Q, K)
    mask: Tensor,  # (Q, K) bool: the entries that are summed
    weights: Tensor | None,  # (Q, K) multiplicity of each entry, or None
    temperature,  # a number, or a tensor that broadcasts to (Q, K)
) -> Tensor:
    """(Q,) log of the sum over each row's mask of w exp(s / t), in float64; 0, without gradient, where a row has none.

    The row's maximum is taken off before the division, so that only one number a row needs the digits of float64.
    """
    if isinstance(temperature, Tensor) and temperature.dim() > 0 and temperature.shape[-1] > 1:
        scores, temperature = digits(scores) / digits(temperature), 1.0  # a temperature a pair: the maximum is that of the logits
    if scores.shape[1] == 0:
        return digits(scores).sum(1)
    top = torch.where(mask, scores, -math.inf).amax(1, keepdim=True).detach()
    top = torch.where(mask.any(1, keepdim=True), top, torch.zeros_like(top))
    terms = torch.exp((torch.where(mask, scores, top) - top) / temperature)
    total = torch.where(mask, terms if weights is None else terms * weights, 0.0).sum(1, keepdim=True)
    total = torch.where(mask.any(1, keepdim=True), total, torch.ones_like(total))
    return (digits(top) / digits(temperature) + digits(total).log())[:, 0]


def listed(
    scores: Tensor,  # (Q, K)
    mask: Tensor,  # (Q, K) bool: the pairs that are listed
    temperature,  # a number, or a tensor that broadcasts to (Q, K)
) -> tuple[Tensor, Tensor, Tensor]:
    "The pairs of a mask one after another, in row order: their rows (P,), their columns (P,), their logits (P,) in float64."
    rows, columns = mask.nonzero(as_tuple=True)
    if isinstance(temperature, Tensor):
        temperature = digits(temperature.expand_as(scores)[rows, columns] if temperature.dim() else temperature)
    return rows, columns, digits(scores[rows, columns]) / temperature


def sum_rows(values: Tensor, rows: Tensor, like: Tensor) -> Tensor:
    "(Q,) sums of listed values (P,) over the rows they come from."
    return values.new_zeros(like.shape[0]).index_add(0, rows, values)


def shares(positives: Tensor, weights: Tensor | None, rows: Tensor, columns: Tensor) -> Tensor:
    "(P,) share of each listed positive in its query's target: the weights, or ones, normalised over the row."
    weight = digits(torch.ones_like(rows, dtype=torch.float32) if weights is None else weights[rows, columns])
    return weight / sum_rows(weight, rows, positives)[rows]
