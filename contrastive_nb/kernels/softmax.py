"""A softmax over each row's masked keys: one exponential a pair, kept for the backward pass. Plain module: derived on the page about InfoNCE."""

# What a row has lost in float32 is lost by every loss above it, so the few numbers a row that need digits are float64: the maximum
# over the temperature, and the logarithm of the sum. The maximum is taken off before the division, so that nothing large is rounded.

import math
from typing import NamedTuple

import torch
from torch import Tensor

from contrastive_nb.kernels.tile import exp_terms_
from contrastive_nb.rows import all_in, any_in, columns_of, to_float64


class Positives(NamedTuple):
    "Each row's positives beside one another; a row with fewer than M is filled up with logits of 0."

    logits: Tensor  # (Q, M) float64: score over temperature
    columns: Tensor  # (Q, M) where in the matrix they stand
    there: Tensor | None  # (Q, M) bool; None where every row has M
    shares: Tensor | None  # (Q, M) float64 share of each in its row's target: weights over their sum; None where all have one share
    number: Tensor | int  # (Q,) how many a row has; M where every row has as many

    def mean(self, values: Tensor) -> Tensor:
        "(Q,) mean of (Q, M) values by the shares; 0 in a row without positives."
        if values.shape[1] == 1 and self.there is None:
            return values.squeeze(1)
        if self.there is not None:
            values = torch.where(self.there, values, 0.0)
        return values.sum(1) / self.at_least_one() if self.shares is None else (values * self.shares).sum(1)

    def at_least_one(self) -> Tensor | int:
        "(Q,) how many a row has, 1 where it has none: what a sum is divided by."
        return self.number.clamp(min=1) if isinstance(self.number, Tensor) else max(1, self.number)

    def logsumexp(self, by_share: bool = False) -> Tensor:
        "(Q,) log of the sum of exp(logits), or of their mean by the shares; 0 in a row without positives."
        if self.logits.shape[1] == 1 and self.there is None:
            return self.logits.squeeze(1)
        there = torch.ones_like(self.logits, dtype=torch.bool) if self.there is None else self.there
        some = there.any(1, keepdim=True)
        top = torch.where(there, self.logits, -math.inf).amax(1, keepdim=True).detach() if there.shape[1] else self.logits.sum(1, True)
        terms = torch.where(there, torch.exp(torch.where(there, self.logits - top, 0.0)), 0.0)
        total = (terms if self.shares is None or not by_share else self.shares * terms).sum(1, keepdim=True)
        return torch.where(some, top + torch.where(some, total, 1.0).log(), 0.0)[:, 0]


def row_contrast(
    scores: Tensor,  # (Q, K)
    positives: Tensor,  # (Q, K) bool
    negatives: Tensor,  # (Q, K) bool
    weights: Tensor | None,  # (Q, K) > 0 on both, or None for ones
    temperature,  # a number, or a tensor that broadcasts to (Q, K)
) -> tuple[Positives, Tensor, Tensor | bool]:
    """What every softmax loss compares: a row's positives (Q, M), the log-sum-exp of its negatives (Q,) as `row_logsumexp` has it,
    and which rows have a negative (Q,), or True where all have.

    M is the most positives that any row has; inside `torch.compile`, where no mask can be looked at, it is K.
    """
    if torch.compiler.is_compiling():
        columns = torch.arange(scores.shape[1], device=scores.device).expand(scores.shape)
        there: Tensor | None = positives
    else:
        columns, there = columns_of(positives)
    number = columns.shape[1] if there is None else there.sum(1)
    rest = there is None and columns.shape[1] == 1 and bool(all_in(positives ^ negatives))
    logits, contrast = _pick_and_sum(scores, columns, there, negatives, weights, temperature, rest)
    shares = None
    if weights is not None:
        shares = to_float64(weights.gather(1, columns))
        shares = shares if there is None else torch.where(there, shares, 0.0)
        shares = shares / torch.where((total := shares.sum(1, keepdim=True)) > 0, total, 1.0)
    return Positives(logits, columns, there, shares, number), contrast, True if rest and scores.shape[1] > 1 else any_in(negatives)


def row_logsumexp(
    scores: Tensor,  # (Q, K)
    mask: Tensor,  # (Q, K) bool: the entries that are summed
    weights: Tensor | None,  # (Q, K) multiplicity of each entry, or None
    temperature,  # a number, or a tensor that broadcasts to (Q, K)
) -> Tensor:
    """(Q,) log of the sum over each row's mask of w exp(s / t), in float64; -inf, with a gradient of zeros, where that sum is 0.

    Weights outside the mask do not matter, NaN included. With a number for the temperature and no gradient to the weights, one
    exponential a pair serves both passes; else, in second derivatives and inside `torch.compile`, the plain formula runs.
    `torch.func.grad`, `vmap`, `jvp` and what is made of them work.
    """
    return _pick_and_sum(scores, None, None, mask, weights, temperature)[1]


def _pick_and_sum(scores, columns, there, mask, weights, temperature, rest=False) -> tuple[Tensor, Tensor]:
    """(Q, M) the logits of those columns, 0 where none is there, and (Q,) the log-sum-exp of the mask, both in float64.

    What they send back is added in one matrix. `rest` says that the mask is all but one column a row.
    """
    if scores.shape[1] == 0:
        return to_float64(scores), to_float64(scores).sum(1) - math.inf
    learned = isinstance(temperature, Tensor) or (weights is not None and weights.requires_grad)
    if learned or torch.compiler.is_compiling():
        return _logits(scores, columns, there, temperature), _plain(scores, mask, weights, temperature)
    logits, contrast = _PickAndSum.apply(scores, columns, mask, weights, temperature, rest)[:2]
    return logits if there is None else torch.where(there, logits, 0.0), contrast


def _logits(scores, columns, there, temperature) -> Tensor:
    if columns is None:
        return to_float64(scores)
    if isinstance(temperature, Tensor) and temperature.numel() > 1:
        temperature = temperature.expand_as(scores).gather(1, columns)
    picked = scores.gather(1, columns)
    return to_float64(picked if there is None else torch.where(there, picked, 0.0)) / to_float64(temperature)


def _plain(scores, mask, weights, temperature) -> Tensor:
    "The formula by torch's own operations: what every derivative can be taken of."
    if isinstance(temperature, Tensor) and temperature.dim() > 0 and temperature.shape[-1] > 1:
        scores, temperature = to_float64(scores) / to_float64(temperature), 1.0  # a temperature a pair: the maximum is that of the logits
    top = torch.where(mask, scores, -math.inf).amax(1, keepdim=True).detach()
    top = torch.where(top != -math.inf, top, 0.0)
    live = mask & (scores != -math.inf)  # a score of -inf adds nothing and must not meet the temperature
    terms = torch.where(live, torch.exp((torch.where(live, scores, top) - top) / temperature), 0.0)
    total = to_float64((terms if weights is None else terms * torch.where(mask, weights, 0.0)).sum(1))
    logs = torch.where(total != 0, torch.where(total != 0, total, 1.0).log(), -math.inf)
    return (to_float64(top) / to_float64(temperature))[:, 0] + logs


class _PickAndSum(torch.autograd.Function):
    "(Q, M) logits of the columns, (Q,) log-sum-exp of the mask and, for the backward pass, its terms (Q, K) and their sums (Q,)."

    generate_vmap_rule = True

    @staticmethod
    def forward(*inputs):  # torch reads this signature at every call: six names would take it longer than some of the work
        scores, columns, mask, weights, temperature, rest = inputs
        if rest:  # all but one a row: a copy costs a fifth of a choice between two
            terms = scores.scatter(1, columns, -math.inf)
        else:
            terms = torch.where(mask, scores, -math.inf)
        top = terms.amax(1, keepdim=True).clamp(min=torch.finfo(terms.dtype).min)  # a row of -inf stays one
        exp_terms_(terms, top[:, 0], temperature, None if weights is None else torch.where(mask, weights, 0.0))
        total = to_float64(terms.sum(1))
        logits = scores.new_empty(0) if columns is None else to_float64(scores.gather(1, columns)).div_(temperature)
        return logits, to_float64(top)[:, 0] / temperature + total.log(), terms, total

    @staticmethod
    def setup_context(ctx, inputs, output):
        scores, columns, mask, weights, ctx.temperature, _ = inputs
        ctx.mark_non_differentiable(*output[2:])
        ctx.set_materialize_grads(False)  # no zeros for the terms
        ctx.save_for_backward(scores, columns, mask, weights, *output[2:])
        ctx.save_for_forward(columns, *output[2:])

    @staticmethod
    def backward(ctx, to_logits, to_sum, *_):
        scores, columns, mask, weights, terms, total = ctx.saved_tensors
        to_sum = torch.zeros_like(total) if to_sum is None else to_sum
        columns, to_scores = (None, None) if to_logits is None else (columns, (to_logits / ctx.temperature).to(scores.dtype))
        if torch.is_grad_enabled():  # second derivatives, torch.func
            (found,) = torch.func.vjp(lambda s: _plain(s, mask, weights, ctx.temperature), scores)[1](to_sum)
            return found if columns is None else found.scatter_add(1, columns, to_scores), None, None, None, None, None
        slope = torch.where(total != 0, to_sum / (total * ctx.temperature), 0.0)
        found = terms * slope.to(terms.dtype)[:, None]
        return found if columns is None else found.scatter_add_(1, columns, to_scores), None, None, None, None, None

    @staticmethod
    def jvp(ctx, direction, *_):
        columns, terms, total = ctx.saved_tensors
        logits = direction.new_empty(0) if columns is None else to_float64(direction.gather(1, columns)) / ctx.temperature
        return logits, torch.where(total != 0, (terms * direction).sum(1) / (total * ctx.temperature), 0.0), None, None
