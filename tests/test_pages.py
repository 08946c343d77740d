"""What several pages share: complaints, gradients and pairs to try a method on."""

import torch

from contrastive_nb.book.pages import complaint, gradient, random_pairs, value_and_gradient
from contrastive_nb.objectives import info_nce


def test_a_complaint_is_the_message_and_none_where_all_is_accepted():
    pairs = random_pairs(3, 4, torch.Generator().manual_seed(0))
    assert complaint(info_nce, *pairs, temperature=0).startswith("temperature: got 0")
    assert complaint(info_nce, *pairs, temperature=0.5) is None


def test_value_and_gradient_are_those_of_the_rounded_scores():
    pairs = random_pairs(5, 6, torch.Generator().manual_seed(0))
    before = pairs.scores.clone()
    value, slope = value_and_gradient(info_nce, pairs, temperature=0.3)
    scores = pairs.scores.clone().requires_grad_()
    loss = info_nce(scores, *pairs[1:], temperature=0.3)
    loss.backward()
    assert value == loss and torch.equal(slope, scores.grad) and not value.requires_grad
    rounded, coarse = value_and_gradient(info_nce, pairs, torch.float32, temperature=0.3)
    assert rounded.dtype == coarse.dtype == torch.float64 and 0 < abs(rounded - value) < 1e-5
    assert torch.equal(pairs.scores, before) and pairs.scores.grad is None
    assert torch.equal(gradient(lambda *p: info_nce(*p, temperature=0.3), pairs), slope)


def test_random_pairs_have_ragged_disjoint_masks():
    one, again = (random_pairs(40, 50, torch.Generator().manual_seed(1)).check() for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one, again, strict=True))
    assert 0.25 < one.positives.double().mean() < 0.4 and (one.weights > 0).all() and len(one.positives.sum(1).unique()) > 3
