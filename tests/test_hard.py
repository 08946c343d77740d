"""The hard loss where the registry's checks do not reach: its neighbours, its low temperatures, what its weights and its prior do to each negative."""

import math

import pytest
import torch

from contrastive_nb.debiasing import debiased_nce
from contrastive_nb.negatives import hard_nce
from contrastive_nb.objectives import info_nce
from contrastive_nb.pairs import Pairs, from_labels, two_views


def numbers(seed=0):
    return torch.Generator().manual_seed(seed)


def batches():
    "Two views, several positives, and ragged masks with weights; float64."
    z1, z2 = torch.randn(2, 9, 4, generator=numbers(), dtype=torch.float64)
    kind = torch.randint(0, 3, (9, 7), generator=numbers(1))
    scores, weights = torch.rand(2, 9, 7, generator=numbers(2), dtype=torch.float64)
    return {
        "views": two_views(z1, z2),
        "classes": from_labels(torch.cat([z1, z2]), torch.arange(18) % 3),
        "ragged": Pairs(2 * scores - 1, kind == 0, kind == 1, weights + 0.1),
    }


def with_slopes(loss, pairs, **options):
    scores = pairs.scores.clone().requires_grad_()
    value = loss(scores, *pairs[1:], **options)
    return value.detach(), torch.autograd.grad(value, scores)[0]


@pytest.mark.parametrize("temperature", [0.5, 0.1, 0.02])
@pytest.mark.parametrize("name", ["views", "classes", "ragged"])
def test_without_concentration_it_is_debiased_and_without_a_prior_too_infonce(name, temperature):
    pairs = batches()[name]
    for prior, options, known in ((0.1, {"prior": 0.1}, debiased_nce), (0.4, {"prior": 0.4}, debiased_nce), (0.0, {}, info_nce)):
        got = with_slopes(hard_nce, pairs, temperature=temperature, prior=prior, concentration=0.0)
        want = with_slopes(known, pairs, temperature=temperature, **options)
        for x, y in zip(got, want, strict=True):
            torch.testing.assert_close(x, y, rtol=1e-10, atol=1e-10)


def test_a_small_concentration_is_near_none():
    for pairs in batches().values():
        got = with_slopes(hard_nce, pairs, temperature=0.5, prior=0.02, concentration=1e-9)
        for x, y in zip(got, with_slopes(debiased_nce, pairs, temperature=0.5, prior=0.02), strict=True):
            torch.testing.assert_close(x, y, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("concentration", [0.5, 1.0, 6.0])
@pytest.mark.parametrize("temperature", [0.5, 0.02, 0.01])
def test_float32_stays_with_float64_where_exponentials_do_not_fit(temperature, concentration):
    anchors = torch.randn(64, 16, generator=numbers())
    pairs = two_views(anchors, anchors + 0.4 * torch.randn(64, 16, generator=numbers(1)))
    twins = pairs._replace(scores=torch.where(torch.rand(128, 128, generator=numbers(2)) < 0.02, 0.999, pairs.scores))  # near negatives
    if temperature < 0.1:
        assert torch.exp((1 + concentration) * twins.scores[twins.negatives].max() / temperature).isinf() or concentration < 1
    options = {"temperature": temperature, "prior": 0.01, "concentration": concentration}
    value, slope = with_slopes(hard_nce, twins, **options)
    exact, exact_slope = with_slopes(hard_nce, twins._replace(scores=twins.scores.double()), **options)
    assert value.dtype == torch.float32 and math.isclose(value, exact, rel_tol=1e-5)
    assert (slope - exact_slope).norm() < 1e-5 * exact_slope.norm()


@pytest.mark.parametrize("name", ["views", "classes", "ragged"])
def test_the_weights_are_multiplicities_that_the_debiased_loss_may_be_given(name):
    "Attached they give the hard loss, held constant the same value and another gradient, in which no negative is pulled."
    pairs, options = batches()[name], {"temperature": 0.5, "prior": 0.02}
    given = torch.ones_like(pairs.scores) if pairs.weights is None else pairs.weights

    def weighed(scores, positives, negatives, weights=None, *, detach=False, **options):
        tilt = given * torch.exp(1.5 * scores / 0.5) * negatives
        mean = tilt.sum(1, keepdim=True) / (given * negatives).sum(1, keepdim=True).clamp(min=1e-9)
        tilt = torch.where(negatives, tilt / mean.clamp(min=1e-9), given)
        return debiased_nce(scores, positives, negatives, tilt.detach() if detach else tilt, **options)

    hard = with_slopes(hard_nce, pairs, concentration=1.5, **options)
    for x, y in zip(hard, with_slopes(weighed, pairs, **options), strict=True):
        torch.testing.assert_close(x, y, rtol=1e-9, atol=1e-12)
    value, slope = with_slopes(weighed, pairs, detach=True, **options)
    torch.testing.assert_close(value, hard[0], rtol=1e-12, atol=0)
    assert slope[pairs.negatives].min() >= 0 > hard[1][pairs.negatives].min()


@pytest.mark.parametrize("concentration", [0.3, 1.0, 4.0])
def test_a_negative_is_pulled_below_the_threshold_and_pushed_above(concentration):
    pairs = batches()["views"]
    slope = with_slopes(hard_nce, pairs, temperature=0.4, prior=0.0, concentration=concentration)[1]
    e, tilt = ((x * pairs.scores / 0.4).exp() * pairs.negatives for x in (1, concentration))
    threshold = concentration / (1 + concentration) * (tilt * e).sum(1) / tilt.sum(1)
    below = pairs.negatives & (e < threshold[:, None])
    assert below.any() and torch.equal(slope < 0, below | pairs.positives)


def test_the_prior_leaves_the_proportions_within_a_query():
    pairs = batches()["views"]
    some, none = (with_slopes(hard_nce, pairs, temperature=0.5, prior=p, concentration=1.0)[1] * pairs.negatives for p in (0.03, 0.0))
    assert (some.abs().sum(1) > none.abs().sum(1)).all()  # none is at its floor
    torch.testing.assert_close(some / some.sum(1, keepdim=True), none / none.sum(1, keepdim=True), rtol=1e-9, atol=1e-12)


def test_at_the_floor_no_negative_has_a_gradient_and_the_sum_is_that_of_the_lowest_scores():
    scores = torch.tensor([[0.9, -0.5, -0.6, -0.7]], dtype=torch.float64)
    own = torch.arange(4)[None] == 0
    pairs, options = Pairs(scores, own, ~own, torch.tensor([[1.0, 1.0, 2.0, 1.5]]).double()), {"temperature": 0.3, "concentration": 1.0}
    value, slope = with_slopes(hard_nce, pairs, prior=0.5, lowest=-0.8, **options)
    assert (slope[:, 1:] == 0).all() and slope[0, 0] < 0
    assert value.item() == pytest.approx(math.log1p(4.5 * math.exp((-0.8 - 0.9) / 0.3)), rel=1e-12)
    assert (with_slopes(hard_nce, pairs, prior=0.0, lowest=-0.8, **options)[1][:, 1:] != 0).all()


def test_a_far_concentration_is_a_multiple_of_the_hardest():
    pairs = batches()["views"]
    loss = hard_nce(*pairs, temperature=0.5, prior=0.0, concentration=1e6, reduction="none")
    hardest = pairs.scores.masked_fill(~pairs.negatives, -math.inf).amax(1)
    want = torch.nn.functional.softplus(math.log(16) + (hardest - pairs.scores[pairs.positives]) / 0.5)
    torch.testing.assert_close(loss, want, rtol=1e-5, atol=1e-5)


def test_half_precision_is_computed_in_float32_and_float64_stays():
    pairs = batches()["views"]
    for dtype, want in ((torch.float16, torch.float32), (torch.float32, torch.float32), (torch.float64, torch.float64)):
        for concentration in (0.0, 1.0):
            loss = hard_nce(pairs.scores.to(dtype), *pairs[1:], temperature=0.5, prior=0.1, concentration=concentration)
            assert loss.dtype == want


@pytest.mark.parametrize(
    "concentration, error, said",
    [
        (-0.1, ValueError, r"concentration: got -0.1, want a number in \[0, inf\)"),
        (math.inf, ValueError, "concentration: got inf"),
        (math.nan, ValueError, "concentration: got nan"),
        ("1", TypeError, "concentration: got str, want a number"),
        (torch.tensor([1.0, 2.0]), TypeError, "concentration: got Tensor, want a number"),
    ],
)
def test_a_wrong_concentration_is_named(concentration, error, said):
    with pytest.raises(error, match=said):
        hard_nce(*batches()["views"], temperature=0.5, prior=0.1, concentration=concentration)


def test_check_names_the_score_that_is_wrong_and_not_what_it_was_lifted_to():
    pairs = batches()["views"]
    scores = pairs.scores.clone()
    scores[2, 5] = math.inf
    with pytest.raises(ValueError, match="scores: not finite, first at query 2, key 5: got inf"):
        hard_nce(scores, *pairs[1:], temperature=0.5, prior=0.1, concentration=1.0, check=True)
    with pytest.raises(ValueError, match="temperature"):
        hard_nce(*pairs, temperature=torch.tensor(-1.0), prior=0.1, concentration=1.0, check=True)
