"""Every positive against every negative, one link a pair: within the rows of a matrix, or across all of it."""

# Plain module: RankNet, the triplet losses and MW derive the formula on their pages; this is the one place that computes it.
# A *link* turns the gap s_n - s_p into a cost: log(1 + e^(gap / t)), or with a margin the hinge max(0, margin + gap).

import math
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from contrastive_nb.kernels.tile import LOG2_E
from contrastive_nb.rows import all_in, columns_of, list_pairs, present, to_float64

AT_ONCE = 2**16  # gaps in memory at one time on the CPU: the buffers stay in the cache
FLAT = 40.0  # from here on log(1 + e^gap) is the gap, and its slope 1, to the last digit of float64


def row_losses(
    scores: Tensor,  # (Q, K), float32 or float64
    positives: Tensor,  # (Q, K) bool
    negatives: Tensor,  # (Q, K) bool
    weights: Tensor | None,  # (Q, K) share of a positive in its row, multiplicity of a negative; 0 takes a pair out
    temperature: float | Tensor | None = None,  # divides the scores: a number, or a tensor that broadcasts to (Q, K); None: 1
    margin: float | None = None,  # None: logistic link; a number: hinge, in units of score
) -> tuple[
    Tensor, Tensor | bool
]:  # (Q,) float64 weighted means of a row's pairs, 0 where there is none; (Q,) bool or True: rows that have one
    """Each positive of a row against each negative of that row.

    Memory grows with the matrix and not with the pairs. `torch.func.grad` and `vmap` over scores, weights and temperature work
    (vmap takes one after the other), forward mode does not. Second derivatives work too; they keep every pair.
    """
    positives, negatives = present(positives, weights), present(negatives, weights)
    columns, there, many, mask = _partners(positives, negatives)
    count = there.sum(1, dtype=torch.int32)
    if weights is None:
        pos_share, neg_share = there / to_float64((many * count).clamp(min=1)[:, None]), None
    else:
        pos_share = _shares(torch.where(there, weights.gather(1, columns), 0.0))
        neg_share = _shares(torch.where(negatives, weights, 0.0))
    temperature = 1.0 if temperature is None else temperature
    if isinstance(temperature, Tensor):
        if temperature.numel() == 1:
            temperature = temperature.reshape(())
        elif temperature.dim() < 2 or temperature.shape[1] > 1:  # one a column or a pair: it divides before scores meet
            used = positives | negatives
            scores = to_float64(torch.where(used, scores, 0.0)) / to_float64(temperature)
            temperature = 1.0
    pos = scores.gather(1, columns)
    pos = pos if mask is columns else torch.where(there, pos, 0.0)
    losses = _Pairwise.apply(pos, scores, pos_share, neg_share, temperature, mask, count, margin, _learns(pos, scores))[0]
    return losses, mask is columns or count > 0


def _partners(positives: Tensor, negatives: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(Q, M) columns of a row's positives, (Q, M) which of them meet a negative, (Q,) how many they meet, and the mask of the negatives.

    Where a row has one positive and all its other keys are negatives, as in a batch of pairs, the mask is that one column.
    """
    columns, there = columns_of(positives)
    others = positives.shape[1] - 1
    if there is None and columns.shape[1] == 1 and others > 0 and all_in(positives ^ negatives):
        return columns, torch.ones_like(columns, dtype=torch.bool), torch.full_like(columns[:, 0], others), columns
    many = negatives.sum(1, dtype=torch.int32)
    some = (many > 0)[:, None]
    return columns, some.expand_as(columns) if there is None else there & some, many, negatives


def pooled_losses(
    scores: Tensor,  # (Q, K), float32 or float64
    positives: Tensor,  # (Q, K) bool
    negatives: Tensor,  # (Q, K) bool
    weights: Tensor | None,  # (Q, K) share of a positive among all, multiplicity of a negative among all; none of them 0 in use
    temperature: float | Tensor,  # divides the scores: a number, or a tensor that broadcasts to (Q, K)
) -> Tensor:  # (P,) float64: a positive's mean over all negatives, times its weight over the mean weight; in row order
    """Each positive of the matrix against each negative of the matrix, by the logistic link.

    Memory grows with the two lists: what belongs to a pair is computed again in the backward pass. Of `torch.func` and of second
    derivatives it supports what `row_losses` does.
    """
    if isinstance(temperature, Tensor) and temperature.numel() > 1:  # each score is divided by its own, before they meet
        pos, neg = (list_pairs(scores, mask, temperature)[2] for mask in (positives, negatives))
        temperature = 1.0
    else:
        pos, neg = scores[positives], scores[negatives]
        temperature = temperature.reshape(()) if isinstance(temperature, Tensor) else temperature
    each = to_float64(torch.ones_like(pos) if weights is None else weights[positives])
    pos_share, neg_share = (each / each.mean())[:, None], None
    if weights is None:
        pos_share = pos_share / max(1, len(neg))
    else:
        neg_share = _shares(weights[negatives][None])
    count = torch.full((len(pos),), min(1, len(neg)), device=pos.device)
    return _Pairwise.apply(pos[:, None], neg[None], pos_share, neg_share, temperature, None, count, None, False)[0]


def _shares(weights: Tensor) -> Tensor:
    "Weights of a row over their sum, in float64; a row of zeros stays."
    weights = to_float64(weights)
    total = weights.sum(1, keepdim=True)
    return weights / torch.where(total != 0, total, 1.0)


def _learns(*tensors: Tensor) -> bool:
    return torch.is_grad_enabled() and any(x.requires_grad for x in tensors)


# ---- the pass ------------------------------------------------------------------------------------------------------------------


def _blocks(count: Tensor, keys: int):
    """Which rows meet their negatives at one time: (rows, how many of them have a first positive, a second, ...).

    Rows with more positives come first, so that those that have an m-th one are always the first few of their block.
    """
    size = max(1, (AT_ONCE if count.device.type == "cpu" else 2**24) // max(1, keys))
    most, least = (int(x) for x in count.aminmax()[::-1]) if len(count) else (0, 0)
    order = None if most == least else count.argsort(descending=True, stable=True)
    for start in range(0, len(count), size):
        end = min(start + size, len(count))
        if order is None:
            yield slice(start, end), [end - start] * most
        else:
            rows = order[start:end]
            yield rows, (count[rows, None] > torch.arange(most, device=rows.device)).sum(0).tolist()


def _first(rows, n: int):
    return slice(rows.start, rows.start + n) if isinstance(rows, slice) else rows[:n]


def _logistic(gap: Tensor, cost: Tensor, small: Tensor, scale: Tensor) -> None:
    """log(1 + scale e^gap) into `cost`, its slope into `gap`; scale <= 1, and 1 in rows where a gap is above 0.

    The exponential ends where the cost is the gap itself, so nothing overflows.
    """
    torch.clamp(gap, max=FLAT, out=small).mul_(LOG2_E).exp2_().mul_(scale)
    torch.maximum(gap, torch.log1p(small, out=cost), out=cost)
    torch.div(small, torch.add(small, 1, out=gap), out=gap)


def _hinge(gap: Tensor, cost: Tensor, small: Tensor, scale: None) -> None:
    "max(0, gap) into `cost`, its slope into `gap`."
    torch.clamp(gap, min=0, out=cost)
    torch.sign(cost, out=gap)


def _origin(pos: Tensor, top: Tensor, temperature, margin) -> tuple[Tensor, Tensor | None]:
    """What is taken off the negatives (R, M), and what then multiplies their exponential (R, M).

    A positive that leads all its negatives leaves differences whose exponential has lost its digits in float32: e^-20 is off by
    1e-6. So the highest negative is taken off, which leaves small numbers, and its distance goes through float64.
    """
    if margin is not None:
        return to_float64(pos) - margin, None
    base = torch.where(top == -torch.inf, pos, torch.minimum(pos, top))
    return base, torch.exp((to_float64(base) - to_float64(pos)) / to_float64(temperature)).to(pos.dtype)


def _masked(neg: Tensor, mask: Tensor | None, rows) -> Tensor:
    "Some rows of the negatives, with -inf where none is. A copy with one hole a row costs a quarter of a choice at every pair."
    if mask is None:
        return neg
    return torch.where(mask[rows], neg[rows], -torch.inf) if mask.dtype == torch.bool else neg[rows].scatter(1, mask[rows], -torch.inf)


def _meetings(pos, neg, temperature, mask, count, margin):
    "(rows, m, costs, slopes) of the m-th positive of some rows against their negatives; both are buffers, used again for the next."
    work = neg.dtype if margin is None else to_float64(neg[:0]).dtype  # a hinge subtracts numbers of one size: float64
    buffers = None
    for rows, live in _blocks(count, neg.shape[1]):
        block = _masked(neg, mask, rows)
        t = temperature[rows] if isinstance(temperature, Tensor) and temperature.dim() else temperature
        base, scale = _origin(pos[rows], block.amax(1, keepdim=True), t, margin) if any(live) else (None, None)
        buffers = neg.new_empty(3, live[0] if live else 0, neg.shape[1], dtype=work) if buffers is None else buffers
        for m, n in enumerate(live):
            if n == 0:
                break
            gap, cost, small = buffers[:, :n]
            torch.sub(block if mask is None else block[:n], base[:n, m, None], out=gap)
            if margin is None:
                gap.div_(t[:n].to(work) if isinstance(t, Tensor) and t.dim() else t)
            (_logistic if margin is None else _hinge)(gap, cost, small, None if scale is None else scale[:n, m, None])
            yield _first(rows, n), m, cost, gap


def _rows_of(x: Tensor | None, rows):
    "The rows of a matrix, or the one row that it has for all."
    return x if x is None or len(x) == 1 else x[rows]


def _losses(pos, neg, pos_share, neg_share, temperature, mask, count, margin, keep) -> tuple:
    """(R,) losses; costs and slopes of each positive, summed over its negatives (R, M); with `keep` the slopes of each negative (R, K)."""
    costs, slopes = (torch.zeros_like(pos_share) for _ in range(2))
    kept = torch.zeros_like(neg) if keep else neg.new_empty(0)
    shares, part = None if neg_share is None else neg_share.to(neg.dtype), 0.5 ** math.ceil(math.log2(max(1, neg.shape[1])))
    for rows, m, cost, slope in _meetings(pos, neg, temperature, mask, count, margin):
        if shares is not None:
            cost.mul_(_rows_of(shares, rows))
            slope.mul_(_rows_of(shares, rows))
        costs[rows, m] = cost.mul_(part).sum(1).to(costs.dtype) / part  # costs may be too large to be summed in float32
        slopes[rows, m] = slope.sum(1).to(slopes.dtype)
        if keep:
            kept[rows] += slope.mul_(pos_share[rows, m, None].to(slope.dtype))
    return (costs * pos_share).sum(1), costs, slopes, kept


def _gradients(arriving, pos, neg, pos_share, neg_share, temperature, mask, count, margin, costs, slopes, kept, wants) -> tuple:
    "What arriving (R,) times the losses sends to those of (pos, neg, pos_share, neg_share, temperature) that are there."
    arriving = arriving[:, None]
    pull = arriving / to_float64(temperature)
    to_pos, to_neg_share = -pull * pos_share * slopes, None
    if kept.shape == neg.shape and not wants[3]:
        to_neg = kept * pull.to(kept.dtype)
    else:
        weights = pull * pos_share, arriving * pos_share if wants[3] else None
        to_neg, to_neg_share = _again(*weights, pos, neg, neg_share, temperature, mask, count, margin)
    found = [to_pos.to(pos.dtype), to_neg.to(neg.dtype), arriving * costs]
    if neg_share is not None:
        found.append(torch.zeros_like(neg_share) if to_neg_share is None else to_neg_share)
    if isinstance(temperature, Tensor):
        found.append(_to_temperature(pos, neg, to_pos, to_neg, temperature) if wants[4] else torch.zeros_like(temperature))
    return tuple(found)


# ---- autograd ------------------------------------------------------------------------------------------------------------------


class _Pairwise(torch.autograd.Function):
    """(R,) sum over a row's positives and negatives of share x share x cost, and what the backward pass needs of it.

    pos (R, M), neg (R, K) or (1, K) for all rows, pos_share (R, M), neg_share like neg or None for 1, temperature a number, () or
    (R, 1), mask (R, K) bool, or (R, 1) the column of the one key that is no negative, or None, count (R,) of positives that meet, the
    first of each row, margin, keep: sum the slopes of (R, K) at once.
    """

    @staticmethod
    def forward(*inputs):  # torch reads this signature at every call: nine names would take it longer than some of the work
        return _losses(*inputs)

    @staticmethod
    def setup_context(ctx, inputs, output):
        *tensors, temperature, mask, count, ctx.margin, _ = inputs
        ctx.number = None if isinstance(temperature, Tensor) else temperature
        ctx.mark_non_differentiable(*output[1:])
        ctx.save_for_backward(*tensors, temperature if ctx.number is None else None, mask, count, *output[1:])

    @staticmethod
    def backward(ctx, arriving, *_):
        *tensors, temperature, mask, count, costs, slopes, kept = ctx.saved_tensors
        temperature = temperature if ctx.number is None else ctx.number
        wants = tuple(ctx.needs_input_grad[:5])
        plain = not torch.is_grad_enabled() and kept.shape == tensors[1].shape and not wants[3]  # no second derivatives, no buffers
        gradients = _gradients if plain else _Gradients.apply
        found = iter(gradients(arriving, *tensors, temperature, mask, count, ctx.margin, costs, slopes, kept, wants))
        found = [next(found) if isinstance(x, Tensor) else None for x in (*tensors, temperature)]
        return *(x if wanted else None for x, wanted in zip(found, wants, strict=True)), *[None] * 4

    @staticmethod
    def vmap(info, in_dims, *inputs):
        return _one_by_one(_Pairwise, info, in_dims, inputs)


class _Gradients(torch.autograd.Function):
    "`_gradients`, whose own derivatives are those of the plain formula."

    @staticmethod
    def forward(*inputs):
        return _gradients(*inputs)

    @staticmethod
    def setup_context(ctx, inputs, output):
        *tensors, temperature, mask, _, ctx.margin = inputs[:9]
        ctx.number = None if isinstance(temperature, Tensor) else temperature
        ctx.save_for_backward(*tensors, temperature if ctx.number is None else None, mask)

    @staticmethod
    def backward(ctx, *arriving):
        *tensors, temperature, mask = ctx.saved_tensors
        given = [x is not None for x in (*tensors, temperature)]
        _, pull = torch.func.vjp(
            partial(_plain_gradients, given, ctx.number, mask, ctx.margin), *(x for x in (*tensors, temperature) if x is not None)
        )
        found = iter(pull(arriving))
        return *(next(found) if there else None for there in given), *[None] * 7

    @staticmethod
    def vmap(info, in_dims, *inputs):
        return _one_by_one(_Gradients, info, in_dims, inputs)


def _again(by_slope, by_cost, pos, neg, neg_share, temperature, mask, count, margin) -> tuple[Tensor, Tensor | None]:
    "The slopes, and the costs, of all positives against each negative, weighted by (R, M) each and summed: of the shape of neg."
    zeros = [None if x is None else torch.zeros_like(x.sum()) for x in (by_slope, by_cost)]  # so that what arrives may be batched
    sums = [None if zero is None else zero + torch.zeros_like(neg, dtype=zero.dtype) for zero in zeros]
    for rows, m, cost, slope in _meetings(pos, neg, temperature, mask, count, margin):
        for total, weight, table in zip(sums, (by_slope, by_cost), (slope, cost), strict=True):
            if total is not None and len(neg) == 1:
                total[0] += weight[rows, m].to(table.dtype) @ table
            elif total is not None:
                total[rows] += table * weight[rows, m, None].to(table.dtype)
    return sums[0] if neg_share is None else sums[0] * neg_share, sums[1]


def _to_temperature(pos, neg, to_pos, to_neg, temperature) -> Tensor:
    "Of a loss of score / temperature: minus the sum of score x slope, over temperature; counted from a positive, as the slopes sum to 0."
    if pos.numel() == 0:
        return torch.zeros_like(temperature)
    start = pos[:, :1] if len(neg) == len(pos) else pos[:1, :1]
    moved = (torch.where(to_x != 0, to_x * to_float64(x - start), 0.0).sum(1, keepdim=True) for to_x, x in ((to_pos, pos), (to_neg, neg)))
    along = sum(x if temperature.dim() else x.sum() for x in moved)
    return (-along / to_float64(temperature)).to(temperature.dtype)


def _plain(margin, mask, pos, neg, pos_share, neg_share, temperature) -> Tensor:
    "The formula, every pair at once: what second derivatives are taken of."
    pos, neg = to_float64(pos), to_float64(neg)
    if mask is not None and mask.dtype != torch.bool:
        mask = torch.ones_like(neg, dtype=torch.bool).scatter(1, mask, False)
    gap = (neg if mask is None else torch.where(mask, neg, 0.0))[:, None] - pos[:, :, None]
    t = temperature[:, :, None] if isinstance(temperature, Tensor) and temperature.dim() else temperature
    cost = -F.logsigmoid(-gap / to_float64(t)) if margin is None else F.relu(gap + margin)
    cost = cost if neg_share is None else cost * neg_share[:, None]
    return ((cost if mask is None else torch.where(mask[:, None], cost, 0.0)).sum(2) * pos_share).sum(1)


def _plain_gradients(given, number, mask, margin, arriving, *inputs) -> tuple:
    "What arriving (R,) sends to those of (pos, neg, pos_share, neg_share, temperature) that are there, by the formula."

    def losses(*inputs):
        rest = iter(inputs)
        *tensors, temperature = (next(rest) if there else None for there in given[1:])
        return _plain(margin, mask, *tensors, number if temperature is None else temperature)

    return torch.func.vjp(losses, *inputs)[1](arriving)


def _one_by_one(function, info, in_dims, inputs) -> tuple[tuple, tuple]:
    "vmap of a function that writes into its buffers: one call after the other."
    calls = ([x.select(d, i) if isinstance(d, int) else x for x, d in zip(inputs, in_dims, strict=True)] for i in range(info.batch_size))
    outputs = tuple(torch.stack(parts) for parts in zip(*(function.apply(*call) for call in calls), strict=True))
    return outputs, (0,) * len(outputs)
