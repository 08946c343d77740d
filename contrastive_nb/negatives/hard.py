"""Narrowers by hardness: pairs in, the same scores with smaller masks out.

Plain module: batch hard is derived, and written as loops, on the page about the triplet loss.
"""

import torch
from torch import Tensor

from contrastive_nb.checks import check_floating
from contrastive_nb.checks import check_is
from contrastive_nb.checks import check_like
from contrastive_nb.rows import present
from contrastive_nb.rows import widen
from contrastive_nb.pairs import Pairs


def _hardest(mask: Tensor, hardness: Tensor) -> Tensor:
    "(Q, K) bool: of each row's mask the one entry with the greatest hardness, the first where several tie."
    if mask.shape[1] == 0:
        return mask
    place = torch.where(mask, hardness, -torch.inf).argmax(1, keepdim=True)
    return torch.zeros_like(mask).scatter(1, place, True) & mask


def batch_hard(
    pairs: Pairs,
    *,
    by: Tensor | None = None,  # (Q, K) scores that decide; None: those of the pairs
) -> Pairs:
    """Keep each query's hardest positive (lowest score) and hardest negative (highest score); scores and weights stay.

    A pair of weight 0 is not looked at; where several tie the first is kept. Raises `TypeError` or `ValueError` naming
    the argument. (Hermans et al. 2017, batch hard.)
    """
    check_is("pairs", pairs, Pairs, "Pairs")
    by = widen(pairs.scores if by is None else check_floating("by", by, (2,))).detach()
    if by.shape != pairs.scores.shape:
        raise ValueError(f"by: got shape {tuple(by.shape)}, want {tuple(pairs.scores.shape)}, the shape of scores")
    check_like("by", by, "scores", pairs.scores, dtype=False)
    positives, negatives = (present(mask, pairs.weights) for mask in (pairs.positives, pairs.negatives))
    return pairs._replace(positives=_hardest(positives, -by), negatives=_hardest(negatives, by))
