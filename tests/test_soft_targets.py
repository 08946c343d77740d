"""Soft targets: what the harness does not ask. Identities with other objectives, who competes, the gradient, what is refused."""

import math

import pytest
import torch
import torch.nn.functional as F

from contrastive_nb.objectives import info_nce, soft_nce, supcon
from contrastive_nb.pairs import from_labels, in_batch


def normal(*shape: int, seed: int = 0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


SCORES, TARGET = normal(5, 6), normal(5, 6, seed=1).abs()
MASK = torch.rand(5, 6, generator=torch.Generator().manual_seed(2)) < 0.7


@pytest.mark.parametrize("temperature", [1.0, 0.1, 0.02])
def test_one_right_key_is_info_nce(temperature):
    pairs = in_batch(normal(6, 3), normal(6, 3, seed=1))
    got = soft_nce(pairs.scores, pairs.positives, temperature=temperature, reduction="none")
    assert torch.allclose(got, info_nce(*pairs, temperature=temperature, reduction="none"), rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("temperature", [1.0, 0.1])
def test_zeros_and_ones_are_supcon_with_the_mean_outside(temperature):
    pairs = from_labels(normal(7, 3), torch.tensor([0, 1, 0, 1, 0, 1, 1]))
    mask = pairs.positives | pairs.negatives
    got = soft_nce(pairs.scores, pairs.positives.float(), mask, temperature=temperature, reduction="none")
    assert torch.allclose(got, supcon(*pairs, form="out", temperature=temperature, reduction="none"), rtol=1e-11)


def test_a_key_without_target_competes_where_a_pair_of_weight_0_is_absent():
    identity = torch.eye(3, dtype=torch.float64)
    scores = normal(3, 3)
    absent = supcon(scores, identity > -1, identity > 1, identity, temperature=0.1)
    assert absent == 0
    assert torch.allclose(soft_nce(scores, identity, temperature=0.1), F.cross_entropy(scores / 0.1, torch.arange(3)), rtol=1e-12)


def test_the_slope_is_share_less_target():
    x, target = SCORES.clone().requires_grad_(), torch.where(MASK, TARGET, math.nan)
    (slope,) = torch.autograd.grad(soft_nce(x, target, MASK, temperature=0.3, reduction="sum"), x)
    share = (SCORES / 0.3).masked_fill(~MASK, -math.inf).softmax(1)
    wanted = torch.where(MASK, TARGET, 0.0)
    assert torch.allclose(slope, (share - wanted / wanted.sum(1, keepdim=True)) / 0.3, rtol=1e-12, atol=1e-14)


def test_targets_are_normalised_and_learn_unless_they_are_detached():
    assert torch.allclose(soft_nce(SCORES, TARGET * 7, MASK, temperature=0.3), soft_nce(SCORES, TARGET, MASK, temperature=0.3), rtol=1e-13)
    assert torch.autograd.gradcheck(lambda t: soft_nce(SCORES, t, MASK, temperature=0.3), TARGET.clone().requires_grad_())


def test_who_is_left_out_and_who_has_loss_0():
    target = torch.tensor([[1.0, 2.0], [0.0, 0.0], [3.0, 0.0], [0.0, 2.0]])
    mask = torch.tensor([[True, True], [True, True], [True, False], [True, False]])
    scores = normal(4, 2).requires_grad_()
    losses = soft_nce(scores, target, mask, temperature=0.5, reduction="none")
    assert losses[0] > 0 and losses[1:].tolist() == [0, 0, 0]  # no target; a single key; its target is outside the mask
    assert torch.isclose(soft_nce(scores, target, mask, temperature=0.5), losses[0] / 2)  # the single key counts in the mean
    (slope,) = torch.autograd.grad(losses.sum(), scores)
    assert (slope[1:] == 0).all() and slope[0].abs().min() > 0


@pytest.mark.parametrize(
    ("change", "exception", "words"),
    [
        ({"target": -TARGET, "check": True}, ValueError, "target: below 0, first at query 0, key 0"),
        ({"target": TARGET * math.nan, "check": True}, ValueError, "target: not finite, first at query 0, key 0"),
        ({"target": TARGET / 0, "check": True}, ValueError, "target: not finite"),
        ({"scores": SCORES * math.nan, "check": True}, ValueError, "scores: not finite"),
        ({"target": TARGET[:, 1:]}, ValueError, r"target: got shape \(5, 5\), want \(5, 6\), the shape of scores"),
        ({"target": TARGET.tolist()}, TypeError, "target: got list, want a tensor of numbers"),
        ({"temperature": 0}, ValueError, "temperature: got 0"),
        ({"temperature": None}, TypeError, "temperature: got NoneType"),
        ({"temperature": torch.ones(5)}, ValueError, r"temperature: got shape \(5,\)"),
        ({"temperature": torch.tensor(-1.0), "check": True}, ValueError, "temperature: got a value that is not finite and above 0"),
        ({"reduction": "average"}, ValueError, "reduction: got 'average'"),
    ],
)
def test_wrong_arguments_are_refused_by_name(change, exception, words):
    with pytest.raises(exception, match=words):
        soft_nce(**({"scores": SCORES, "target": TARGET, "temperature": 0.5} | change))


def test_what_stands_outside_the_mask_is_not_looked_at():
    odd = torch.where(MASK, TARGET, -1.0)
    assert soft_nce(SCORES, odd, MASK, temperature=0.5, check=True) == soft_nce(SCORES, TARGET, MASK, temperature=0.5)


def test_a_target_that_is_nan_shows_without_a_check():
    target = torch.where(torch.arange(5)[:, None] == 2, math.nan, TARGET)
    losses = soft_nce(SCORES, target, temperature=0.5, reduction="none")
    assert losses.isnan().tolist() == [False, False, True, False, False]
