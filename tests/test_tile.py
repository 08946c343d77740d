"""The arithmetic of one softmax tile: rows that come in parts, whole rows in place, slopes from what was kept of a row."""

import math

import pytest
import torch

from contrastive_nb.kernels.tile import (
    RowSums,
    add_tile_,
    exp_terms_,
    finite_top,
    log_sum_exp,
    logistic,
    no_sums,
    row_lead,
    row_shares,
    slopes_,
    softmax_,
    softmax_fused_,
    tile_slopes_,
)

G = torch.Generator().manual_seed(0)
SCORES = torch.randn(5, 12, generator=G, dtype=torch.float64)
SCORES[1, 3] = SCORES[2, 5:] = SCORES[4] = -math.inf  # one pair masked; the rest of a row; a whole row
WEIGHTS = torch.rand(5, 12, generator=G, dtype=torch.float64) + 0.5
BOUNDS = [(0, 12)], [(0, 1), (1, 5), (5, 12)], [(5, 12), (0, 5)]  # the last begins with nothing for row 2


def carried(scores, bounds, temperature, weights=None):
    sums = no_sums(len(scores), scores)
    for a, b in bounds:
        sums = add_tile_(sums, scores[:, a:b].clone(), temperature, None if weights is None else weights[:, a:b])
    return finite_top(sums)


def wanted(scores, temperature, weights=None):
    return (scores / temperature + (0 if weights is None else weights.log())).logsumexp(1)


@pytest.mark.parametrize("bounds", BOUNDS)
@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize(
    "t", [0.5, 0.01, torch.tensor(0.2, dtype=torch.float64), torch.tensor([[0.1], [0.2], [0.3], [1.0], [2.0]]).double()]
)
def test_tiles_of_a_row_carry_its_sum(bounds, weights, t):
    top, total = carried(SCORES, bounds, t, weights)
    assert total.dtype == torch.float64 and torch.isfinite(top).all() and total[4] == 0
    per_row = t.reshape(-1) if isinstance(t, torch.Tensor) else t
    assert torch.allclose((top / per_row + total.log())[:4], wanted(SCORES, t, weights)[:4], rtol=1e-13)
    positive = torch.linspace(-1, 1, 5).double()
    lead = row_lead(RowSums(top, total), positive, t)
    assert torch.allclose(lead[:4], (positive / per_row - wanted(SCORES, t, weights))[:4], rtol=1e-12) and lead[4] == math.inf


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_slopes_of_a_tile_are_those_of_the_log_sum_exp(weights):
    t, arriving = 0.3, torch.linspace(1, 2, 5).double()
    scores = SCORES[:4].clone().requires_grad_()
    weight = None if weights is None else weights[:4]
    true = torch.autograd.grad(wanted(scores, t, weight), scores, arriving[:4])[0]
    sums = carried(SCORES, BOUNDS[1], t, weights)
    shares = row_shares(sums, arriving / t)
    found = [tile_slopes_(SCORES[:, a:b].clone(), sums.top, shares, t, None if weights is None else weights[:, a:b]) for a, b in BOUNDS[1]]
    assert torch.allclose(torch.cat(found, 1)[:4], true, rtol=1e-12) and (torch.cat(found, 1)[4] == 0).all()


def test_large_scores_at_low_temperature_stay_finite():
    scores = torch.tensor([[3e37, -3e37, 3e37], [-3e37, -3e37, 0.0]])
    top, total = carried(scores, [(0, 1), (1, 3)], 0.005)
    assert top.tolist() == scores.amax(1).tolist() and total.tolist() == [2.0, 1.0]


def test_the_sum_of_float32_scores_is_float64():
    scores = torch.zeros(1, 2**12)
    scores[0, 1:] = -16.0  # each term is lost beside 1 in float32
    total = carried(scores, [(i, i + 1) for i in range(scores.shape[1])], 0.9).total
    assert no_sums(1, scores).total.dtype == total.dtype == torch.float64 and abs(total.item() - 1 - 4095 * math.exp(-16 / 0.9)) < 1e-10


def test_what_is_not_a_number_is_not_hidden():
    scores = torch.tensor([[0.0, math.nan, 1.0], [0.0, 1.0, 2.0]])
    total = carried(scores, [(0, 2), (2, 3)], 1.0).total
    assert total.isnan().tolist() == [True, False]


def test_functions_with_an_underscore_write_over_the_tile():
    for change in (
        lambda x: exp_terms_(x, x.amax(1), 0.5),
        lambda x: add_tile_(no_sums(3, x), x, 0.5),
        softmax_, softmax_fused_,
    ):  # fmt: skip
        tile = SCORES[:3, :3].clone()
        change(tile)
        assert not torch.equal(tile, SCORES[:3, :3]) and (tile >= 0).all()


@pytest.mark.parametrize("softmax", [softmax_, softmax_fused_])
def test_the_log_sum_exp_is_the_highest_logit_less_the_log_of_its_share(softmax):
    tile = SCORES[:4].clone()
    assert torch.allclose(log_sum_exp(*softmax(tile)), SCORES[:4].logsumexp(1), rtol=1e-13)
    assert torch.allclose(tile, SCORES[:4].softmax(1), rtol=1e-13)


@pytest.mark.parametrize("own", [False, True])  # slopes to the log-sum-exp of their own, or minus the sum of the positives'
def test_shares_become_slopes_but_for_one_weight_a_row(own):
    rows, columns = torch.tensor([0, 2, 2]), torch.tensor([4, 5, 6])
    logits = SCORES[:3].clone()
    logits[rows, columns] = -math.inf
    to_logits = torch.tensor([-0.5, -1e-20, -3e-20], dtype=torch.float64)  # row 1 has no positive
    to_lse = torch.tensor([0.2, 0.0, 7e-20] if own else [0.5, 0.0, 4e-20], dtype=torch.float64)
    true = logits.softmax(1) * to_lse[:, None]
    true[rows, columns] = to_logits
    tile = logits.softmax(1)
    weight = slopes_(tile, rows, columns, to_logits, to_lse if own else None)
    assert torch.allclose(weight[:, None] * tile, true, rtol=1e-13, atol=0) and (own or (tile.abs() <= 1).all())


def test_the_loss_of_a_lead_and_its_weight():
    lead = torch.tensor([-800.0, -21.0, -1.0, 0.0, 1.0, 40.0, 700.0], dtype=torch.float64, requires_grad=True)
    loss, weight = logistic(lead)
    assert torch.allclose(loss, torch.logaddexp(torch.zeros_like(lead), -lead), rtol=1e-14, atol=0) and (loss > 0).all()
    assert torch.allclose(weight, -torch.autograd.grad(loss.sum(), lead)[0], rtol=1e-14, atol=0)
