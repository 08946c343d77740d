"""Propensities of the surface: balance, the regression's optimum, pairs that no weight can help, and what counts as surface."""

import math

import pytest
import torch

from contrastive_nb.debiasing import fit_propensity, inverse_propensity, surface
from contrastive_nb.pairs import Pairs


def numbers(seed=0):
    return torch.Generator().manual_seed(seed)


def a_row(positive, weights=None):
    return Pairs(torch.zeros(1, len(positive), dtype=torch.float64), positive[None], ~positive[None], weights)


def test_with_the_share_of_each_surface_the_two_sides_have_one_distribution():
    cell = torch.randint(6, (4000,), generator=numbers())
    positive = torch.rand(4000, generator=numbers(1)) < (cell + 1) / 8
    plus, minus = (torch.bincount(cell[side], minlength=6).double() for side in (positive, ~positive))
    w = inverse_propensity(a_row(positive), 1e6, by=(plus / minus).log()[cell][None]).weights[0]
    weighed = [torch.zeros(6, dtype=torch.float64).index_add(0, cell[side], w[side]) for side in (positive, ~positive)]
    assert (weighed[0] - weighed[1]).abs().max() < 1e-10 * 4000
    assert torch.allclose(weighed[0], torch.bincount(cell).double(), rtol=1e-10)
    assert not torch.allclose(plus / plus.sum(), minus / minus.sum(), atol=0.05)  # there was something to divide out


def test_the_regression_is_where_its_slope_is_0():
    features = torch.randn(300, 2, generator=numbers(), dtype=torch.float64)
    positive = torch.rand(300, generator=numbers(1)) < torch.sigmoid(2 * features[:, 0] - features[:, 1] ** 2)
    found = fit_propensity(features, positive, penalty=0.5)
    phi = (torch.cat([features, features**2], 1) - found.centre) / found.spread
    rest = positive.double() - torch.sigmoid(found.beta[0] + phi @ found.beta[1:])
    assert (phi.T @ rest - 0.5 * found.beta[1:]).abs().max() < 1e-8 and rest.sum().abs() < 1e-6
    assert found.beta[1] > 1 and found.beta[4] < -0.5


def test_a_feature_that_never_changes_says_nothing():
    features = torch.randn(50, 2, generator=numbers())
    features[:, 1] = 3.0
    positive = torch.arange(50) % 2 == 0
    alone, both = fit_propensity(features[:, :1], positive), fit_propensity(features, positive)
    assert torch.allclose(alone.log_odds(features[:, :1]), both.log_odds(features), atol=1e-6)


@pytest.mark.parametrize("penalty", [1.0, 1e-4])
def test_sides_that_share_no_surface_have_finite_odds_and_weights_near_1(penalty):
    features = torch.cat([torch.ones(40, 1), torch.rand(40, 1, generator=numbers()) / 2])
    positive = torch.arange(80) < 40
    odds = fit_propensity(features, positive, penalty=penalty).log_odds(features)
    assert odds.isfinite().all() and (odds[positive] > 2).all()
    weights = inverse_propensity(a_row(positive), by=odds[None].double()).weights
    assert weights.median() < 1.2


def test_odds_without_bound_are_held_and_a_pair_of_weight_0_stays_away():
    pairs = a_row(torch.tensor([True, True, False, False]), torch.tensor([[1.0, 0.0, 2.0, 1.0]], dtype=torch.float64))
    by = torch.tensor([[-math.inf, -math.inf, math.inf, -math.inf]], dtype=torch.float64)
    assert inverse_propensity(pairs, 7.0, by=by).weights.tolist() == [[7.0, 0.0, 14.0, 1.0]]


def test_surface_is_symmetric_and_knows_texts_without_words():
    one, other = ["A dog, asleep", "", "to be or not to be"], ["a dog", "", "be"]
    assert torch.equal(surface(one, other), surface(other, one))
    assert surface([""], [""]).tolist() == [[0.0, 0.0]]
    assert surface(one[2:], other[2:])[0].tolist() == pytest.approx([1 / 4, math.log(6)])
