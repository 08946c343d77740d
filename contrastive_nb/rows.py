"""Masked reductions over the rows of a score matrix, with float64 for the few numbers in which digits are lost. Plain module."""

import contextlib
import math
from typing import TypeVar

import torch
from torch import Tensor

HALF = (torch.float16, torch.bfloat16)
T = TypeVar("T")


def widen(x: T) -> T:  # what is not a tensor comes back as it is
    "Half precision becomes float32; float32 and float64 stay."
    return x.float() if isinstance(x, Tensor) and x.dtype in HALF else x


def autocast_off(x: Tensor):
    "A context in which autocast is off for the device of `x`."
    if torch.amp.is_autocast_available(x.device.type):
        return torch.autocast(x.device.type, enabled=False)
    return contextlib.nullcontext()


def to_float64(x):
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
        scores, temperature = to_float64(scores) / to_float64(temperature), 1.0  # a temperature a pair: the maximum is that of the logits
    if scores.shape[1] == 0:
        return to_float64(scores).sum(1)
    top = torch.where(mask, scores, -math.inf).amax(1, keepdim=True).detach()
    top = torch.where(mask.any(1, keepdim=True), top, torch.zeros_like(top))
    terms = torch.exp((torch.where(mask, scores, top) - top) / temperature)
    total = torch.where(mask, terms if weights is None else terms * weights, 0.0).sum(1, keepdim=True)
    total = torch.where(mask.any(1, keepdim=True), total, torch.ones_like(total))
    return (to_float64(top) / to_float64(temperature) + to_float64(total).log())[:, 0]


def list_pairs(
    scores: Tensor,  # (Q, K)
    mask: Tensor,  # (Q, K) bool: the pairs that are listed
    temperature,  # a number, or a tensor that broadcasts to (Q, K)
) -> tuple[Tensor, Tensor, Tensor]:
    "The pairs of a mask one after another, in row order: their rows (P,), their columns (P,), their logits (P,) in float64."
    rows, columns = mask.nonzero(as_tuple=True)
    if isinstance(temperature, Tensor):
        temperature = to_float64(temperature.expand_as(scores)[rows, columns] if temperature.dim() else temperature)
    return rows, columns, to_float64(scores[rows, columns]) / temperature


def sum_rows(values: Tensor, rows: Tensor, like: Tensor) -> Tensor:
    "(Q,) sums of listed values (P,) over the rows they come from."
    return values.new_zeros(like.shape[0]).index_add(0, rows, values)


def target_shares(positives: Tensor, weights: Tensor | None, rows: Tensor, columns: Tensor) -> Tensor:
    "(P,) share of each listed positive in its query's target: the weights, or ones, normalised over the row."
    weight = to_float64(torch.ones_like(rows, dtype=torch.float32) if weights is None else weights[rows, columns])
    return weight / sum_rows(weight, rows, positives)[rows]
