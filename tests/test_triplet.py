"""Batch hard as a narrower, and the triplet loss in blocks: what the walk over the registry does not ask."""

import pytest
import torch
from harness import masks, normal

from contrastive_nb.kernels import pairwise
from contrastive_nb.negatives import batch_hard
from contrastive_nb.objectives import triplet
from contrastive_nb.pairs import Pairs, from_labels


def ragged(weights: bool = False) -> Pairs:
    weight = torch.rand(6, 7, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return Pairs(normal(6, 7), *masks(6, 7), torch.where(weight < 0.4, 0.0, weight) if weights else None)


def by_loops(pairs: Pairs, by: torch.Tensor) -> tuple:
    kept = torch.zeros(2, *by.shape, dtype=torch.bool)
    for q in range(len(by)):
        for mask, keep, sign in ((pairs.positives, kept[0], -1), (pairs.negatives, kept[1], 1)):
            there = [k for k in range(by.shape[1]) if mask[q, k] and (pairs.weights is None or pairs.weights[q, k] != 0)]
            if there:
                keep[q, max(there, key=lambda k: sign * by[q, k].item())] = True
    return tuple(kept)


@pytest.mark.parametrize("weights", [False, True])
@pytest.mark.parametrize("own", [True, False])
def test_batch_hard_keeps_the_worst_of_each_kind(weights, own):
    pairs, by = ragged(weights), normal(6, 7, seed=3)
    hard = batch_hard(pairs) if own else batch_hard(pairs, by=by)
    positives, negatives = by_loops(pairs, pairs.scores if own else by)
    assert torch.equal(hard.positives, positives) and torch.equal(hard.negatives, negatives)
    assert hard.scores is pairs.scores and hard.weights is pairs.weights


def test_batch_hard_by_other_scores_keeps_the_gradient_of_its_own():
    scores = normal(6, 7).requires_grad_()
    pairs = Pairs(scores, *masks(6, 7))
    loss = triplet(*batch_hard(pairs, by=normal(6, 7, seed=3).half().requires_grad_()))
    assert torch.autograd.grad(loss, scores)[0].abs().sum() > 0


def test_of_equal_scores_the_first_is_kept():
    hard = batch_hard(from_labels(torch.ones(6, 2), torch.arange(6) % 2))
    assert hard.positives.int().argmax(1).tolist() == [2, 3, 0, 1, 0, 1] and hard.negatives.int().argmax(1).tolist() == [1, 0] * 3


@pytest.mark.parametrize("keys", [0, 1, 3])
def test_nothing_to_narrow_stays_nothing(keys):
    nothing = torch.zeros(4, keys, dtype=torch.bool)
    hard = batch_hard(Pairs(torch.zeros(4, keys), nothing, nothing))
    assert not hard.positives.any() and not hard.negatives.any() and hard.positives.shape == (4, keys)


def test_a_score_that_is_not_a_number_is_kept():
    scores = normal(6, 7)
    positives, negatives = masks(6, 7)
    scores[3, positives[3].nonzero()[-1]] = torch.nan
    assert triplet(*batch_hard(Pairs(scores, positives, negatives)), reduction="none").isnan().tolist() == [q == 3 for q in range(6)]


@pytest.mark.parametrize("by, exception, words", [
    (torch.zeros(6, 6), ValueError, "by shape"), (torch.zeros(6, 7).long(), TypeError, "by floating"), ([[0.0]], TypeError, "by list"),
    (torch.zeros(6, 7, device="meta"), ValueError, "by device"),
])  # fmt: skip
def test_scores_that_cannot_decide_are_refused(by, exception, words):
    with pytest.raises(exception) as error:
        batch_hard(ragged(), by=by)
    assert all(word in str(error.value) for word in words.split())


@pytest.mark.parametrize("margin", [-0.1, float("nan"), float("inf")])
def test_a_margin_must_be_finite_and_not_below_0(margin):
    with pytest.raises(ValueError, match="margin"):
        triplet(*ragged(), margin=margin)
    with pytest.raises(TypeError, match="margin"):
        triplet(*ragged(), margin="soft")


@pytest.mark.parametrize("margin", [None, 1.0])
def test_blocks_of_one_query_change_nothing(margin, monkeypatch):
    def found():
        pairs = ragged(weights=True)
        inputs = [pairs.scores.requires_grad_(), pairs.weights.requires_grad_()]
        loss = triplet(*pairs, margin=margin)
        return [loss.detach(), *torch.autograd.grad(loss, inputs)]

    whole = found()
    monkeypatch.setattr(pairwise, "AT_ONCE", 1)
    for a, b in zip(whole, found(), strict=True):
        assert torch.allclose(a, b, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("margin", [None, 1.0])
def test_the_gradient_in_the_weights(margin):
    pairs = ragged(weights=True)
    weights = (pairs.weights + 0.1).requires_grad_()
    assert torch.autograd.gradcheck(lambda w: triplet(pairs.scores, pairs.positives, pairs.negatives, w, margin=margin), weights)
