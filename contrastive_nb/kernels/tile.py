"""The softmax of one tile of scores: what is kept of its rows, and the slopes that follow from it. Plain module."""

# A tile is some rows of a score matrix, whole or a part of their columns; a pair that is masked stands in it as -inf.
# The few numbers a row in which digits are lost are float64, the many of a tile stay as they came. Functions that end in an underscore
# write over the tile, as torch's do; the others are pure.

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from contrastive_nb.rows import sum_rows, to_float64

LOG2_E = math.log2(math.e)  # exp(x) as exp2(x log2(e)): torch takes a third of the time for it, and the digits are the same

# --- rows that come in parts: a running maximum and a running sum ----------------------------------------------------------------------


class RowSums(NamedTuple):
    "What the softmax of a row needs of the tiles so far."

    top: Tensor  # (R,) the largest score, -inf where there was none
    total: Tensor  # (R,) sum of w exp((s - top) / t), in float64


def no_sums(rows: int, like: Tensor) -> RowSums:
    "Before the first tile."
    top = like.new_full((rows,), -torch.inf)
    return RowSums(top, to_float64(torch.zeros_like(top)))


def exp_terms_(
    tile: Tensor,  # (R, K) scores
    top: Tensor,  # (R,) taken off before the division; finite
    temperature: float | Tensor,  # a number, a tensor that holds one, or (R, 1) in the tile's dtype
    weights: Tensor | None = None,  # (R, K) multiplicity of each pair
) -> Tensor:
    "Turn scores into w exp((s - top) / t), at most w where `top` is the row's maximum; 0 where a pair is masked."
    terms = tile.sub_(top[:, None]).mul_(LOG2_E / temperature).exp2_()
    return terms if weights is None else terms.mul_(weights)


def _of_rows(temperature):
    return to_float64(temperature).reshape(-1) if isinstance(temperature, Tensor) else temperature


def add_tile_(sums: RowSums, tile: Tensor, temperature: float | Tensor, weights: Tensor | None = None) -> RowSums:
    "Take in one more tile of the same rows, which is left with its terms: a new maximum shrinks the old sum."
    top = torch.maximum(sums.top, tile.amax(1))
    base = torch.where(top == -torch.inf, 0.0, top)  # no pair so far
    kept = sums.total * torch.exp(to_float64(sums.top - base) / _of_rows(temperature))
    return RowSums(top, kept + to_float64(exp_terms_(tile, base, temperature, weights).sum(1)))


def finite_top(sums: RowSums) -> RowSums:
    "The sums with 0 for the maximum of a row without any pair: after the last tile."
    return RowSums(torch.where(sums.total != 0, sums.top, 0.0), sums.total)


def row_lead(sums: RowSums, scores: Tensor, temperature: float | Tensor) -> Tensor:
    "(R,) how far the logit of one more score a row lies over the log-sum-exp of the row, in float64; infinite where the row is empty."
    return (to_float64(scores) - to_float64(sums.top)) / _of_rows(temperature) - torch.log(sums.total)


def row_shares(sums: RowSums, slopes: Tensor) -> Tensor:
    "(R,) the slope that reaches a row's log-sum-exp over the row's sum: what each of its terms is multiplied by."
    return slopes / torch.where(sums.total != 0, sums.total, 1.0)


def tile_slopes_(
    tile: Tensor,  # (R, K) scores, computed again
    top: Tensor,  # (R,) that of `finite_top`
    shares: Tensor,  # (R,) of `row_shares`, in the tile's dtype
    temperature: float | Tensor,
    weights: Tensor | None = None,
) -> Tensor:
    "Turn the scores of a tile into slopes to them, from what was kept of its rows."
    return exp_terms_(tile, top, temperature, weights).mul_(shares[:, None])


# --- whole rows: the tile itself becomes its shares, and then its slopes ---------------------------------------------------------------


def softmax_(tile: Tensor) -> tuple[Tensor, Tensor]:
    "The shares of each row of logits, in place; (R,) its highest logit and (R,) its highest share."
    top = tile.amax(1)
    torch.softmax(tile, 1, out=tile)
    return top, tile.amax(1)


def softmax_fused_(tile: Tensor) -> tuple[Tensor, Tensor]:
    "The same for a compiler, which makes one kernel of it."
    top = tile.amax(1)
    terms = torch.exp(tile - top[:, None])
    total = terms.sum(1)
    tile.copy_(terms / total[:, None])
    return top, 1 / total


def log_sum_exp(top: Tensor, highest: Tensor) -> Tensor:
    "(R,) in float64, from the highest logit and its share, which is e to their difference."
    return to_float64(top) - to_float64(highest).log()


def slopes_(
    shares: Tensor,  # (R, K) of the negatives
    rows: Tensor,  # (P,) the positives' rows in the tile
    columns: Tensor,  # (P,)
    to_logits: Tensor,  # (P,) slopes to their logits, in float64
    to_lse: Tensor | None = None,  # (R,) slopes to the negatives' log-sum-exp; None: with those of its positives they add up to 0
) -> Tensor:
    "Turn a tile of shares into slopes to the logits, but for one weight a row, which is returned (R,)."
    weight = sum_rows(to_logits.abs(), rows, shares)
    whole = torch.where(weight > 0, weight, torch.ones_like(weight))
    if to_lse is not None:
        shares.mul_((to_lse / whole).to(shares.dtype)[:, None])
    shares[rows, columns] = (to_logits / whole[rows]).to(shares.dtype)
    return weight


# --- the loss of a lead ----------------------------------------------------------------------------------------------------------------


def logistic(lead: Tensor) -> tuple[Tensor, Tensor]:
    "InfoNCE from the lead of a positive over its negatives: -log sigmoid, and the weight sigmoid(-lead); no digit lost on either side."
    return -F.logsigmoid(lead), torch.sigmoid(-lead)
