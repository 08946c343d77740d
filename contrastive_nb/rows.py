"""Masked reductions over the rows of a score matrix, with float64 for the few numbers in which digits are lost. Plain module."""

import contextlib
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


def any_in(mask: Tensor) -> Tensor:
    "(Q,) whether a row of the mask has a True; torch's own `any` takes twenty times as long."
    return mask.any(1) if mask.shape[1] == 0 or torch.compiler.is_compiling() else mask.view(torch.uint8).amax(1) != 0


def all_in(mask: Tensor) -> Tensor:
    "() whether every entry of the mask is True."
    return (mask.view(torch.uint8).amin(1) if mask.shape[1] else mask).all()


def where_true(mask: Tensor) -> tuple[Tensor, Tensor]:
    """(P,) rows and (P,) columns of what is True, in row order.

    Eight bools are read as one whole number first: `nonzero` takes as long for a bool as for a number, and most masks are sparse.
    """
    flat = mask.reshape(-1)
    if mask.device.type != "cpu" or flat.numel() % 8 or flat.storage_offset() % 8:
        rows, columns = mask.nonzero(as_tuple=True)
        return rows, columns
    words = flat.view(torch.int64).nonzero()[:, 0]
    word, byte = flat.view(-1, 8)[words].nonzero(as_tuple=True)
    at = words[word] * 8 + byte
    rows = torch.div(at, mask.shape[1], rounding_mode="floor")
    return rows, at - rows * mask.shape[1]


def columns_of(mask: Tensor) -> tuple[Tensor, Tensor | None]:
    "(Q, M) where each row's entries of the mask stand, filled up with any column; (Q, M) whether there is one, None where all are."
    rows, columns = where_true(mask)
    if len(rows) == len(mask) and torch.equal(rows, torch.arange(len(mask), device=mask.device)):  # one a row, as in a batch of pairs
        return columns[:, None], None
    count = torch.bincount(rows, minlength=len(mask))
    most = int(count.max()) if len(mask) else 0
    if most * len(mask) == len(rows):  # as many in every row
        return columns.reshape(len(mask), most), None
    place = torch.arange(len(rows), device=mask.device) - (count.cumsum(0) - count)[rows]
    there = torch.arange(most, device=mask.device) < count[:, None]
    return columns.new_zeros(len(mask), most).index_put((rows, place), columns), there


def list_pairs(
    scores: Tensor,  # (Q, K)
    mask: Tensor,  # (Q, K) bool: the pairs that are listed
    temperature,  # a number, or a tensor that broadcasts to (Q, K)
) -> tuple[Tensor, Tensor, Tensor]:
    "The pairs of a mask one after another, in row order: their rows (P,), their columns (P,), their logits (P,) in float64."
    rows, columns = where_true(mask)
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


def unit(x: Tensor) -> Tensor:
    """Vectors of length 1 along the last dimension; one that is shorter than 1e-12 has no direction: it becomes 0, and so does its gradient.

    `torch.func` works, and so do second derivatives.
    """
    return _unit(x)[0] if torch.compiler.is_compiling() else _Unit.apply(x)[0]


def _unit(x: Tensor) -> tuple[Tensor, Tensor]:
    length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    over = torch.where(length > 1e-12, length, torch.inf).reciprocal()
    return x * over, over


class _Unit(torch.autograd.Function):
    "(..., D) directions and (..., 1) one over the lengths: of a gradient, what is along the direction is taken off; half of torch's own steps."

    generate_vmap_rule = True

    @staticmethod
    def forward(x):
        return _unit(x)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.mark_non_differentiable(output[1])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*inputs, *output)
        ctx.save_for_forward(*output)

    @staticmethod
    def backward(ctx, slope, _):
        x, direction, over = ctx.saved_tensors
        if slope is None:
            return None
        if torch.is_grad_enabled():  # second derivatives, torch.func
            return torch.func.vjp(lambda x: _unit(x)[0], x)[1](slope)[0]
        return torch.addcmul(slope, direction, (slope * direction).sum(-1, keepdim=True), value=-1).mul_(over)

    @staticmethod
    def jvp(ctx, change):
        direction, over = ctx.saved_tensors
        return (change - direction * (change * direction).sum(-1, keepdim=True)) * over, None
