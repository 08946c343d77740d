"""The decoupled loss where the registry's checks do not reach: official numbers, weights of the pull, the NPC multiplier."""

import math
import warnings

import pytest
import torch
import torch.nn.functional as F

from contrastive_nb.objectives import decoupled_nce, info_nce
from contrastive_nb.objectives.decoupled import npc_multiplier, pull_weights
from contrastive_nb.pairs import Pairs, from_labels, two_views


def formula_batch() -> tuple[torch.Tensor, torch.Tensor]:
    i, j = torch.arange(6, dtype=torch.float64)[:, None], torch.arange(4, dtype=torch.float64)
    first = torch.sin(1.3 * i + 0.7 * j)
    return first.requires_grad_(), (first + 0.4 * torch.cos(i + 2 * j)).detach().requires_grad_()


# raminnakhli/Decoupled-Contrastive-Learning, commit 0b9b76db81c4, loss/dcl.py: l(u, v) + l(v, u) on normalised rows,
# with the norm of the gradient in the embeddings before normalisation
OFFICIAL = [
    ("DCL", 0.5, 1.489165460731011, 0.6579723800404873),
    ("DCLW", 0.5, 1.4907044420246387, 0.6661298294794293),
    ("DCL", 0.1, -4.81154952811371, 4.68685000691774),
    ("DCLW", 0.1, -4.80385462164557, 4.717327237539085),
]


@pytest.mark.parametrize(("form", "temperature", "value", "slope"), OFFICIAL)
def test_numbers_of_the_official_code(form, temperature, value, slope):
    views = formula_batch()
    pairs = two_views(*views)
    pull = pull_weights(*pairs, sigma=0.5) if form == "DCLW" else 1.0
    loss = 2 * decoupled_nce(*pairs, temperature=temperature, pull=pull)
    assert loss.item() == pytest.approx(value, rel=1e-12)
    assert torch.cat(torch.autograd.grad(loss, views)).norm().item() == pytest.approx(slope, rel=1e-12)


@pytest.mark.parametrize("temperature", [0.5, 0.1])
def test_detached_weights_are_those_of_lightly(temperature):
    pytest.importorskip("lightly")
    from contrastive_nb.timing.lightly_loader import load

    views = formula_batch()
    pairs = two_views(*views)
    ours = decoupled_nce(*pairs, temperature=temperature, pull=pull_weights(*pairs, sigma=0.5).detach())
    with warnings.catch_warnings():  # lightly copies a tensor by torch.tensor
        warnings.simplefilter("ignore", UserWarning)
        theirs = load("lightly.loss.dcl_loss", "DCLWLoss")(temperature, sigma=0.5)(*views)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-12)
    for a, b in zip(torch.autograd.grad(ours, views), torch.autograd.grad(theirs, views), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def ragged() -> Pairs:
    generator = torch.Generator().manual_seed(3)
    kind = torch.randint(0, 3, (7, 6), generator=generator)
    scores, weights = (torch.rand(7, 6, generator=generator, dtype=torch.float64) for _ in range(2))
    kind[0], kind[1, kind[1] == 0], kind[2, kind[2] == 1] = 2, 2, 2  # nothing, no positive, no negative
    return Pairs(2 * scores - 1, kind == 0, kind == 1, torch.where(kind < 2, weights, math.nan))


def test_weights_of_the_pull_have_mean_one_over_the_queries_that_count():
    pairs = ragged()
    pull, counted = pull_weights(*pairs, sigma=0.3), pairs.positives.any(1) & pairs.negatives.any(1)
    share = torch.where(pairs.positives, pairs.weights, 0.0)
    share = share / share.sum(1, keepdim=True)
    assert (share * pull)[counted].sum() / counted.sum() == pytest.approx(1)
    assert (pull[~pairs.positives] == 1).all() and pull.max() < 2
    torch.testing.assert_close(pull_weights(*pairs, sigma=1e6), torch.ones_like(pull), rtol=0, atol=1e-5)


def pull_by_hand(pairs: Pairs, sigma: float) -> torch.Tensor:
    "The weights in float64, a query and a pair at a time; the nearest positive of the queries that count is taken off every exponent."
    scores = pairs.scores.double()
    w = torch.ones_like(scores) if pairs.weights is None else pairs.weights.double()
    listed = [[[k for k in range(scores.shape[1]) if mask[q, k] and w[q, k] != 0] for mask in pairs[1:3]] for q in range(len(scores))]
    counted = [q for q, (own, others) in enumerate(listed) if own and others]
    pull = torch.ones_like(scores)
    if counted:
        nearest = max(scores[q, k].item() for q in counted for k in listed[q][0])
        e = {(q, k): torch.exp((scores[q, k] - nearest) / sigma) for q in counted for k in listed[q][0]}
        own = [sum(w[q, k] * e[q, k] for k in listed[q][0]) / sum(w[q, k] for k in listed[q][0]) for q in counted]
        for (q, k), x in e.items():
            pull[q, k] = 2 - x / (sum(own) / len(own))
    return pull


def two_queries(near: float, far: float, left_out: bool) -> Pairs:
    "A near and a far positive; on demand the near one's query has no negative."
    positives = torch.tensor([[True, False], [True, False]])
    return Pairs(torch.tensor([[near, 0.0], [far, 0.0]]), positives, ~positives & torch.tensor([[not left_out], [True]]))


HARD = {
    "one item": two_views(torch.ones(1, 2), torch.ones(1, 2)),
    "one class": from_labels(torch.eye(3), torch.zeros(3, dtype=torch.long)),
    "nothing": Pairs(torch.zeros(0, 2), *2 * [torch.zeros(0, 2, dtype=torch.bool)]),
    "500 apart": two_queries(0.0, -500.0, False),
    "500 apart, the near one left out": two_queries(0.0, -500.0, True),
    "apart by half, the near one left out": two_queries(0.0, -0.5, True),
    "3e37 apart": two_queries(3e37, -3e37, False),
    "3e37 apart, the near one left out": two_queries(3e37, -3e37, True),
    "some of all": ragged(),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("sigma", [0.5, 0.02, 1e-4, 1e-30])
@pytest.mark.parametrize("name", HARD)
def test_weights_of_the_pull_are_those_of_the_loop_and_their_gradient_is_finite(name, sigma, dtype):
    pairs = HARD[name]
    inputs = [pairs.scores.to(dtype).requires_grad_() for _ in range(2)]
    rest = [x.to(dtype) if x is not None and x.is_floating_point() else x for x in pairs[1:]]
    want, got = pull_by_hand(Pairs(inputs[0], *rest), sigma), pull_weights(inputs[1], *rest, sigma=sigma)
    assert got.dtype == dtype
    torch.testing.assert_close(got.double(), want, rtol=1e-6 if dtype == torch.float32 else 1e-12, atol=1e-12)
    losses = [decoupled_nce(s, *rest, temperature=0.2, pull=pull.to(dtype)) for s, pull in zip(inputs, (want, got), strict=True)]
    assert losses[1].item() == pytest.approx(losses[0].item(), rel=1e-6)
    slopes = [torch.autograd.grad(loss, s)[0] for loss, s in zip(losses, inputs, strict=True)]
    assert torch.isfinite(slopes[1]).all()
    if sigma == 0.5:  # at narrow widths the loop's own slope is the difference of two large numbers
        torch.testing.assert_close(slopes[1], slopes[0], rtol=1e-5, atol=1e-5)


def test_a_query_that_is_left_out_leaves_the_other_weights_alone():
    pairs, spoiled = two_queries(math.nan, -0.5, True), two_queries(0.0, math.nan, False)
    assert (pull_weights(*pairs) == 1).all()
    assert pull_weights(*spoiled)[:, 0].isnan().all()
    assert decoupled_nce(*two_queries(0.0, -500.0, True), temperature=0.2, pull=pull_weights(*two_queries(0.0, -500.0, True))) == 2500


def test_a_narrow_width_does_not_overflow():
    scores = torch.tensor([[0.9, -0.8, 0.1], [0.2, -0.9, 0.7]], dtype=torch.float64)
    positives = torch.tensor([[True, True, False], [False, True, True]])
    pull = pull_weights(scores, positives, ~positives, sigma=1e-4)  # the mean is the nearest one's e over 4
    torch.testing.assert_close(pull, torch.tensor([[-2.0, 2.0, 1.0], [1.0, 2.0, 2.0]], dtype=torch.float64), rtol=0, atol=1e-12)


@pytest.mark.parametrize("pairs", [ragged(), from_labels(torch.eye(3), torch.arange(3)), two_views(torch.ones(1, 2), torch.ones(1, 2))])
def test_weights_of_nothing_are_one_and_the_loss_is_finite(pairs):
    pull = pull_weights(*pairs, sigma=0.5)
    assert torch.isfinite(decoupled_nce(*pairs, temperature=0.1, pull=pull))


def test_gradients_through_the_weights():
    pairs = ragged()

    def loss(scores, pull):
        moving = pull_weights(scores, *pairs[1:], sigma=0.5) * pull
        return decoupled_nce(scores, *pairs[1:], temperature=0.3, pull=moving, reduction="none")

    for shape in ((), (6,), (7, 1), (7, 6)):
        inputs = pairs.scores.clone().requires_grad_(), torch.full(shape, 0.7, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(loss, inputs)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_half_precision_is_widened(dtype):
    pairs = two_views(*formula_batch())
    scores = pairs.scores.detach().to(dtype)
    exact, ours = (decoupled_nce(s, *pairs[1:], temperature=0.07, pull=pull_weights(s, *pairs[1:])) for s in (scores.double(), scores))
    assert ours.dtype == torch.float32
    assert ours.item() == pytest.approx(exact.item(), rel=1e-6)


@pytest.mark.parametrize("temperature", [1.0, 0.1, 0.005])
def test_infonce_is_the_softplus_and_the_npc_multiplier_its_slope(temperature):
    pairs = ragged()
    pairs = pairs._replace(positives=pairs.positives & (pairs.positives.cumsum(1) == 1))  # one positive: the mean is outside
    single, free = (loss(*pairs, temperature=temperature, reduction="none") for loss in (info_nce, decoupled_nce))
    counted = pairs.positives.any(1) & pairs.negatives.any(1)
    torch.testing.assert_close(single[counted], F.softplus(free[counted]), rtol=1e-12, atol=1e-12)
    factor = npc_multiplier(*pairs, temperature=temperature, reduction="none")
    torch.testing.assert_close(factor[counted], torch.sigmoid(free[counted]), rtol=1e-12, atol=1e-300)
    assert (factor[~counted] == 0).all()


@pytest.mark.parametrize(("pull", "error", "words"), [
    ("1", TypeError, "pull str number"),
    (None, TypeError, "pull NoneType number"),
    (math.inf, ValueError, "pull inf"),
    (torch.ones(7, dtype=torch.long), TypeError, "pull int64 floating"),
    (torch.ones(5), ValueError, "pull (5,) (7, 6)"),
    (torch.ones(1, 7, 6), ValueError, "pull (1, 7, 6)"),
    (torch.ones(7, 1, device="meta"), ValueError, "pull meta device"),
])  # fmt: skip
def test_a_wrong_pull_is_refused_by_name(pull, error, words):
    with pytest.raises(error) as caught:
        decoupled_nce(*ragged(), temperature=0.1, pull=pull)
    assert all(word in str(caught.value) for word in words.split(" ") if word)


@pytest.mark.parametrize(
    ("sigma", "error"), [(0.0, ValueError), (-1, ValueError), (math.nan, ValueError), (None, TypeError), ("a", TypeError)]
)
def test_a_wrong_width_is_refused_by_name(sigma, error):
    with pytest.raises(error, match="sigma"):
        pull_weights(*ragged(), sigma=sigma)


def test_the_npc_multiplier_looks_at_values_only_when_asked():
    pairs = ragged()
    first = pairs.positives & (pairs.positives.cumsum(1) == 1)
    pairs = pairs._replace(scores=torch.where(first, math.nan, pairs.scores))
    assert npc_multiplier(*pairs, temperature=0.1).isnan()
    with pytest.raises(ValueError, match="scores"):
        npc_multiplier(*pairs, temperature=0.1, check=True)
