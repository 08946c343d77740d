"""Whitening in slices before positives are pulled together: what comes out white, what the loss cannot see, and where it must fail."""

import math

import pytest
import torch
import torch.nn.functional as F

from contrastive_nb.selfsup import cholesky_whitening, group_whitening, w_mse


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


SKEWED = draw(40, 5) @ draw(5, 5, seed=1) + 3


def test_what_comes_out_is_white():
    y = cholesky_whitening(SKEWED)
    assert y.mean(0).abs().max() < 1e-12
    assert (y.T @ y / 39 - torch.eye(5)).abs().max() < 1e-10
    covariance = torch.cov(SKEWED.T)
    shrunk = cholesky_whitening(SKEWED, eps=0.3)
    back = torch.linalg.cholesky(0.7 * covariance + 0.3 * torch.eye(5))
    assert torch.allclose(shrunk @ back.T, SKEWED - SKEWED.mean(0), atol=1e-10)


def test_lengths_are_those_of_the_symmetric_root():
    ours, zca = cholesky_whitening(SKEWED), group_whitening(SKEWED, eps=0.0)
    assert torch.allclose(ours.square().sum(1) * 40 / 39, zca.square().sum(1), rtol=1e-10)
    assert not torch.allclose(ours, zca * (39 / 40) ** 0.5, atol=0.1)  # a rotation lies between


def test_a_triangular_map_of_the_features_is_not_seen():
    lower = draw(5, 5, seed=2).tril(-1) + torch.diag(torch.arange(1.0, 6)).double()
    zs = [SKEWED, SKEWED + draw(40, 5, seed=3)]
    assert torch.isclose(w_mse(zs), w_mse([z @ lower.T - 7 for z in zs]), rtol=1e-10)
    assert not torch.isclose(w_mse(zs), w_mse([z @ lower for z in zs]), rtol=1e-3)


def test_slices_are_those_of_one_partition_for_all_views():
    zs, order = [draw(12, 2, seed=s) for s in range(3)], torch.randperm(12, generator=seeded(5))
    losses = torch.empty(12, dtype=torch.float64)
    for rows in order.split(4):
        u = [F.normalize(cholesky_whitening(z[rows])) for z in zs]
        losses[rows] = sum((u[a] - u[b]).square().sum(1) for a, b in ((0, 1), (0, 2), (1, 2))) / 3
    got = w_mse(zs, size=4, generator=seeded(5), reduction="none")
    assert torch.allclose(got, losses, rtol=0, atol=1e-10)
    assert torch.isclose(w_mse(zs, size=4, generator=seeded(5)), losses.mean(), rtol=1e-10)
    assert torch.isclose(w_mse(zs, size=4, generator=seeded(5), reduction="sum"), losses.sum(), rtol=1e-10)


def test_iterations_are_averaged_and_the_whole_batch_has_one():
    zs, generator = [draw(12, 2), draw(12, 2, seed=1)], seeded(3)
    apart = [w_mse(zs, size=6, generator=generator) for _ in range(3)]
    assert torch.isclose(w_mse(zs, size=6, iterations=3, generator=seeded(3)), sum(apart) / 3, rtol=1e-12)
    assert torch.equal(w_mse(zs, iterations=3), w_mse(zs)) and torch.equal(w_mse(zs, size=12), w_mse(zs, size=None))


def test_same_partitions_as_lightlys():
    pytest.importorskip("lightly")
    from contrastive_nb.timing.lightly_loader import load

    theirs = load("lightly.loss.wmse_loss", "WMSELoss")(2, w_size=6, w_iter=2, num_samples=3)
    zs = [draw(18, 2, seed=s) for s in range(3)]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        want = theirs(torch.cat(zs))
    assert torch.isclose(w_mse(zs, size=6, iterations=2, generator=seeded(4)), want, rtol=1e-10)


def test_equal_views_cost_nothing_and_opposite_ones_four():
    assert w_mse([SKEWED, SKEWED]) < 1e-12 and torch.isclose(w_mse([SKEWED, -SKEWED]), torch.tensor(4.0).double(), rtol=1e-12)


def test_a_slice_of_one_more_than_its_features_is_a_simplex():
    apart = torch.pdist(cholesky_whitening(draw(6, 5)))
    assert torch.allclose(apart, torch.full_like(apart, math.sqrt(10)), rtol=1e-8)


def test_a_slice_without_full_rank_fails_unless_shrunk():
    zs = [draw(8, 4), draw(8, 4, seed=1)]
    with pytest.raises(ValueError, match="size: got 4 rows of 4 features"):
        w_mse(zs, size=4, generator=seeded())
    with pytest.raises(ValueError, match="zs: got 4 rows of 4 features"):
        w_mse([z[:4] for z in zs])
    flat = torch.cat([zs[0], torch.ones(8, 1).double()], 1)
    with pytest.raises(ValueError, match="eps: got 0, want one above 0"):
        cholesky_whitening(flat)
    assert w_mse(zs, size=4, eps=0.01, generator=seeded()).isfinite() and cholesky_whitening(flat, eps=0.01).isfinite().all()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"zs": [draw(8, 4)]}, "zs: got 1 views"),
        ({"zs": draw(2, 8, 4)}, "zs: got Tensor"),
        ({"zs": [draw(8, 4), draw(8, 3)]}, r"zs\[1\]: got shape"),
        ({"zs": [draw(8, 4), draw(8, 4).float()]}, r"zs\[1\]: got dtype"),
        ({"size": 3}, "size: got 3, want a divisor"),
        ({"size": 16}, "size: got 16, want a divisor"),
        ({"size": 4, "eps": 0.1}, "generator: got NoneType"),
        ({"iterations": 0}, "iterations: got 0"),
        ({"eps": 1.5}, "eps: got 1.5"),
        ({"reduction": "max"}, "reduction: got 'max'"),
    ],
)
def test_wrong_input_is_named(change, said):
    with pytest.raises((TypeError, ValueError), match=said):
        w_mse(**({"zs": [draw(8, 4), draw(8, 4, seed=1)]} | change))


def test_what_is_not_finite_raises_and_a_check_names_its_view():
    zs = [torch.randn(8, 3, generator=seeded(i)) for i in range(2)]
    zs[1][4, 2] = torch.nan
    with pytest.raises(ValueError, match="^zs: got a value that is not finite"):
        w_mse(zs)
    with pytest.raises(ValueError, match=r"^zs\[1\]: "):
        w_mse(zs, check=True)
