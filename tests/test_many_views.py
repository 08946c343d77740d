"""Losses of many views where the registry's checks do not reach: other losses that they equal, forces, and what must be refused."""

import math
from itertools import combinations

import pytest
import torch
from torch.nn.functional import normalize

from contrastive_nb.objectives import info_nce
from contrastive_nb.pairs import two_views
from contrastive_nb.views import mv_dhel, mv_infonce, pairwise_nce

LOSSES = (mv_dhel, mv_infonce, pairwise_nce)


def draws(views, items=6, dim=4, dtype=torch.float64):
    return [torch.randn(items, dim, generator=torch.Generator().manual_seed(s), dtype=dtype) for s in range(views)]


def test_two_views_of_mv_dhel_are_dhel():
    zs = draws(2)
    u, v = map(normalize, zs)
    itself = torch.eye(len(u), dtype=torch.bool)
    spread = sum(((x @ x.T) / 0.3).masked_fill(itself, -torch.inf).logsumexp(1) for x in (u, v))
    got = mv_dhel(zs, temperature=0.3, reduction="none")
    assert torch.allclose(got, spread - (u * v).sum(1) / 0.3, rtol=0, atol=1e-10)


@pytest.mark.parametrize("views", [2, 3, 5])
def test_the_pairwise_mean_is_the_mean_of_nt_xent(views):
    zs = draws(views)
    want = torch.stack([info_nce(*two_views(a, b), temperature=0.2) for a, b in combinations(zs, 2)]).mean()
    assert torch.allclose(pairwise_nce(zs, temperature=0.2), want, rtol=0, atol=1e-10)


def test_mv_infonce_of_two_views_is_nt_xent_or_more():
    zs = draws(2)
    more, nt_xent = (f(zs, temperature=0.2, reduction="none") for f in (mv_infonce, pairwise_nce))
    assert (more > nt_xent).all()
    same = [zs[0], zs[0].clone()]
    assert torch.allclose(mv_infonce(same, temperature=0.2), pairwise_nce(same, temperature=0.2), rtol=0, atol=1e-12)


def test_the_readme_form_reads_no_scores_inside_a_view():
    zs = draws(3)
    u = torch.stack([normalize(z) for z in zs])
    e = (torch.einsum("lid,mjd->ilmj", u, u) / 0.2).exp()
    off = ~torch.eye(3, dtype=torch.bool)
    want = (e.sum(3)[:, off].sum(1) / e.diagonal(dim1=0, dim2=3)[off].sum(0)).log()
    assert torch.allclose(mv_infonce(zs, temperature=0.2, own_view=False, reduction="none"), want, rtol=0, atol=1e-10)


@pytest.mark.parametrize(("loss", "ratio", "rivals"), [(mv_dhel, 4, None), (mv_infonce, 1, 64 / 12), (pairwise_nce, 1, 8)])
def test_the_push_of_mv_dhel_grows_with_the_number_of_views(loss, ratio, rivals):
    "Four equal views of five items at one cosine c: the slope by the temperature weighs the pull (cosine 1) and the push (cosine c)."
    c, n = 0.25, 5
    u = torch.linalg.cholesky((1 - c) * torch.eye(n, dtype=torch.float64) + c)
    heat = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(loss([u] * 4, temperature=heat), heat)  # pull - push c
    others = rivals and rivals * math.exp(c)
    pull = 1 if rivals is None else others / (others + math.e)
    assert slope.item() == pytest.approx(pull * (1 - ratio * c), abs=1e-10)


@pytest.mark.parametrize("loss", LOSSES)
def test_views_and_items_may_be_permuted(loss):
    zs = draws(3)
    rows = torch.tensor([3, 0, 5, 1, 4, 2])
    want = loss(zs, temperature=0.2, reduction="none")
    assert torch.allclose(loss([zs[2], zs[0], zs[1]], temperature=0.2, reduction="none"), want, rtol=0, atol=1e-10)
    assert torch.allclose(loss([z[rows] for z in zs], temperature=0.2, reduction="none"), want[rows], rtol=0, atol=1e-10)


@pytest.mark.parametrize("loss", LOSSES)
def test_lengths_do_not_matter_and_low_temperatures_hold(loss):
    zs = draws(5, dtype=torch.float32)
    assert torch.allclose(loss([1e4 * z for z in zs], temperature=0.2), loss(zs, temperature=0.2), rtol=1e-5)
    for t in (1.0, 0.05, 0.005):
        inputs = [z.clone().requires_grad_() for z in zs], [z.double().requires_grad_() for z in zs]
        one, other = (torch.autograd.grad(loss(x, temperature=t), x) for x in inputs)
        a, b = (torch.cat(x).double() for x in (one, other))
        assert (a - b).norm() <= max(1e-5, 3e-7 / t) * b.norm()
        value, exact = (loss(x, temperature=t).double() for x in inputs)
        assert torch.isclose(value, exact, rtol=max(1e-6, 3e-7 / t), atol=1e-6)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("items", [0, 1])
def test_with_nobody_to_be_told_from_loss_and_gradient_are_0(loss, items):
    zs = [z[:items].requires_grad_() for z in draws(3)]
    for reduction in ("mean", "sum", "none"):
        value = loss(zs, temperature=0.2, reduction=reduction)
        assert (value == 0).all() and value.requires_grad
        value.sum().backward()
    assert all((z.grad == 0).all() for z in zs)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(
    "arrange", [lambda z: z * 0, lambda z: z[:1].expand(6, 4), lambda z: torch.cat([z[:3], z[:3]])], ids=["0", "equal", "twice"]
)
def test_edges_are_finite(loss, arrange):
    zs = [arrange(z).clone().requires_grad_() for z in draws(3)]
    value = loss(zs, temperature=0.01)
    value.backward()
    assert value.isfinite() and all(z.grad.isfinite().all() for z in zs)


@pytest.mark.parametrize("loss", LOSSES)
def test_bad_input_is_refused_by_name(loss):
    zs = draws(3)
    for wrong, name in (
        ([zs[0]], "zs"), (zs[0], "zs"), ([zs[0], zs[1][:4]], r"zs\[1\]"), ([zs[0], zs[1].float()], r"zs\[1\]"),
        ([zs[0], zs[1][0]], r"zs\[1\]"), ([zs[0].long(), zs[1]], r"zs\[0\]"),
    ):  # fmt: skip
        with pytest.raises((TypeError, ValueError), match=f"^{name}: got"):
            loss(wrong, temperature=0.2)
    for heat in (0.0, -1.0, math.nan, "0.2", torch.ones(6)):
        with pytest.raises((TypeError, ValueError), match="^temperature: got"):
            loss(zs, temperature=heat)
    zs[1][2] = math.nan
    with pytest.raises(ValueError, match=r"^zs\[1\]"):
        loss(zs, temperature=0.2, check=True)
    assert loss(zs, temperature=0.2).isnan()
