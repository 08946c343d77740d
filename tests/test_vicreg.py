"""VICReg and Barlow Twins where the registry's checks do not reach: other weights, many views, collapse, and the count they move."""

import importlib.util
import math

import pytest
import torch

from contrastive_nb.metrics import rankme
from contrastive_nb.selfsup import barlow_twins, vicreg

LIGHTLY = pytest.mark.skipif(importlib.util.find_spec("lightly") is None, reason="lightly is not installed")


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def white(rows=32, features=4):
    "Mean 0, variance 1, no covariance: with the divisor N - 1."
    q = torch.linalg.qr(torch.cat([torch.ones(rows, 1, dtype=torch.float64), draw(rows, features)], 1)).Q
    return q[:, 1:] * math.sqrt(rows - 1)


def test_rankme_is_the_count_of_equal_directions_and_a_sum_by_hand_else():
    assert math.isclose(rankme(white(), eps=0), 4, rel_tol=1e-12)
    values = [math.sqrt(v) for v in torch.linalg.eigvalsh(draw(50, 6).T @ draw(50, 6)).tolist()]
    shares = [v / sum(values) + 1e-7 for v in values]
    assert math.isclose(rankme(draw(50, 6)), math.exp(-sum(p * math.log(p) for p in shares)), rel_tol=1e-10)


def test_a_full_space_with_equal_views_costs_nothing():
    assert vicreg([white(), white()]).abs() < 1e-20
    assert barlow_twins([white(), white()], eps=0.0).abs() < 1e-20


def test_copies_of_one_feature_cost_covariance_alone():
    z = white()[:, :1].expand(-1, 5)
    found = vicreg([z, z], invariance=1.0, variance=1.0, covariance=3.0, eps=0.0, reduction="none")
    assert torch.allclose(found, torch.full((5,), 3.0 * 2 * 4, dtype=torch.float64), rtol=1e-10)
    assert vicreg([z, z], covariance=0.0).abs() < 1e-20 and rankme(z) < 1.01


def test_the_covariance_term_is_the_participation_ratio():
    z = draw(40, 6)
    z = (z - z.mean(0)) / z.std(0)
    values = torch.linalg.eigvalsh(torch.cov(z.T))
    ratio = values.sum() ** 2 / values.square().sum()
    found = vicreg([z, z], variance=0.0, reduction="sum")
    assert torch.isclose(found, 2 * (36 / ratio - 6), rtol=1e-10, atol=0)


def test_weights_are_weights_and_the_order_of_views_is_none():
    zs = [draw(12, 3, seed=s) for s in range(3)]
    parts = [
        vicreg(zs, **(dict(invariance=0.0, variance=0.0, covariance=0.0) | {name: 1.0}))
        for name in ("invariance", "variance", "covariance")
    ]
    whole = vicreg(zs, invariance=2.0, variance=3.0, covariance=5.0)
    assert torch.isclose(whole, 2 * parts[0] + 3 * parts[1] + 5 * parts[2], rtol=1e-12) and all(p > 0 for p in parts)
    for loss in (vicreg, barlow_twins):
        assert torch.isclose(loss(zs[::-1]), loss(zs), rtol=1e-12)
        pairs = [loss([zs[a], zs[b]]) for a in range(3) for b in range(a)]
        assert torch.isclose(loss(zs), sum(pairs) / 3, rtol=1e-12)  # each view is in two of three pairs


def test_barlow_twins_does_not_see_the_scale_or_the_place_of_a_feature():
    zs = [draw(12, 3, seed=s) for s in range(2)]
    moved = [zs[0] * torch.tensor([2.0, 0.1, 5.0]) + 3, zs[1]]
    assert torch.isclose(barlow_twins(moved, eps=0.0), barlow_twins(zs, eps=0.0), rtol=1e-10)
    assert not torch.isclose(vicreg(moved), vicreg(zs), rtol=0.1)


def test_a_collapsed_batch_is_expensive_and_has_no_slope():
    z = torch.ones(8, 3, dtype=torch.float64, requires_grad=True)
    loss = vicreg([z, z])
    loss.backward()
    assert math.isclose(loss.item(), 25 * (1 - 0.01), rel_tol=1e-12) and (z.grad == 0).all()


@LIGHTLY
@pytest.mark.parametrize("weights", [(25.0, 25.0, 1.0, 1e-4), (1.0, 0.0, 10.0, 1e-2), (0.0, 5.0, 0.1, 1e-6)])
def test_other_weights_are_those_of_lightly(weights):
    from contrastive_nb.timing.lightly_loader import load

    theirs = load("lightly.loss.vicreg_loss", "VICRegLoss")(*weights[:3], eps=weights[3])
    names = ("invariance", "variance", "covariance", "eps")
    zs = [0.5 * draw(16, 5, seed=s) for s in range(2)]
    assert torch.isclose(vicreg(zs, **dict(zip(names, weights, strict=True))), theirs(*zs), rtol=1e-12)


@LIGHTLY
@pytest.mark.parametrize("redundancy", [5e-3, 0.0, 1.0])
def test_the_sum_over_features_is_lightlys_barlow_twins(redundancy):
    from contrastive_nb.timing.lightly_loader import load

    zs = [draw(16, 5, seed=s) for s in range(2)]
    theirs = load("lightly.loss.barlow_twins_loss", "BarlowTwinsLoss")(redundancy)
    assert torch.isclose(barlow_twins(zs, redundancy=redundancy, reduction="sum"), theirs(*zs), rtol=1e-12)


@pytest.mark.parametrize("loss", [vicreg, barlow_twins])
def test_wrong_input_is_refused_by_name(loss):
    z = draw(6, 3)
    for zs, error, words in (
        (z, TypeError, "zs: got Tensor"),
        ([z], ValueError, "zs: got 1 views"),
        ([z, z[:4]], ValueError, r"zs\[1\]: got shape \(4, 3\)"),
        ([z[:1], z[:1]], ValueError, r"zs\[0\]: got 1 rows"),
        ([z, z.long()], TypeError, r"zs\[1\]: "),
    ):
        with pytest.raises(error, match=f"^{words}"):
            loss(zs)
    broken = z.clone()
    broken[2, 1] = math.nan
    assert loss([z, broken]).isnan()
    with pytest.raises(ValueError, match=r"^zs\[1\]: "):
        loss([z, broken], check=True)
    with pytest.raises(ValueError, match="^eps: got -1"):
        loss([z, z], eps=-1.0)
    with pytest.raises(ValueError, match="^reduction: "):
        loss([z, z], reduction="median")
