"""The machinery under every objective: checks and their messages, reductions, sums over rows."""

import math

import pytest
import torch
from torch import Tensor

from contrastive_nb import objective
from contrastive_nb.checks import check_choice, check_like, check_number, check_pairs, check_temperature
from contrastive_nb.kernels.softmax import row_logsumexp
from contrastive_nb.rows import HALF, autocast_off, list_pairs, present, sum_rows, target_shares, widen

SCORES = torch.randn(4, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
MASK = torch.tensor([[1, 1, 0, 0, 1, 0], [0] * 6, [1] * 6, [0, 0, 1, 0, 0, 0]], dtype=torch.bool)
WEIGHTS = torch.rand(4, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize(
    ("value", "options", "exception", "words"),
    [
        (0.5, {}, None, ""),
        (0, {}, None, ""),
        (1, {}, None, ""),
        (0, {"open_low": True}, ValueError, r"prior: got 0, want a number in \(0, 1\]"),
        (1, {"open_high": True}, ValueError, r"prior: got 1, want a number in \[0, 1\)"),
        (-0.1, {}, ValueError, r"prior: got -0.1, want a number in \[0, 1\]"),
        (1.1, {}, ValueError, "prior: got 1.1"),
        (math.nan, {}, ValueError, "prior: got nan"),
        (math.inf, {}, ValueError, "prior: got inf"),
        (True, {}, TypeError, "prior: got bool, want a number"),
        ("0.5", {}, TypeError, "prior: got str, want a number"),
        (None, {}, TypeError, "prior: got NoneType, want a number"),
    ],
)
def test_check_number(value, options, exception, words):
    if exception is None:
        assert check_number("prior", value, 0, 1, **options) == value
    else:
        with pytest.raises(exception, match=words):
            check_number("prior", value, 0, 1, **options)


def test_check_number_without_an_upper_end():
    assert check_number("alpha", 1e300, 0) == 1e300
    with pytest.raises(ValueError, match=r"alpha: got inf, want a number in \[0, inf\)"):
        check_number("alpha", math.inf, 0)


def test_check_choice():
    assert check_choice("form", "in", ("in", "out")) is None
    with pytest.raises(ValueError, match="form: got 'on', want one of 'in', 'out'"):
        check_choice("form", "on", ("in", "out"))


@pytest.mark.parametrize("shape", [(), (1,), (6,), (1, 1), (4, 1), (1, 6), (4, 6)])
def test_temperatures_that_broadcast_pass(shape):
    temperature = torch.full(shape, 0.5)
    assert check_temperature(temperature, SCORES, check=True) is temperature


@pytest.mark.parametrize("shape", [(4,), (5,), (6, 1), (2, 6), (1, 4, 6), (0,)])
def test_temperatures_that_do_not_broadcast_are_refused(shape):
    with pytest.raises(ValueError, match=r"temperature: got shape .*want one that broadcasts to \(4, 6\)"):
        check_temperature(torch.ones(shape), SCORES)


def test_a_learned_temperature_stays_what_it_is():
    temperature = torch.nn.Parameter(torch.tensor(0.1))
    assert check_temperature(temperature, SCORES) is temperature


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_widen(dtype):
    wide = widen(torch.ones(2, dtype=dtype))
    assert wide.dtype == (torch.float32 if dtype in HALF else dtype)
    assert widen(None) is None and widen(0.5) == 0.5


def test_full_precision_switches_autocast_off_and_back():
    a = torch.randn(4, 4)
    with torch.autocast("cpu", torch.bfloat16):
        with autocast_off(a):
            assert (a @ a).dtype == torch.float32
        assert (a @ a).dtype == torch.bfloat16


@pytest.mark.parametrize("counted", [[True, False, True, True], [False] * 4, [True] * 4])
def test_reduce(counted):
    losses = torch.tensor([1.0, math.nan, 3.0, 5.0]) if not counted[1] else torch.tensor([1.0, 2.0, 3.0, 5.0])
    kept = [x for x, c in zip(losses.tolist(), counted, strict=True) if c]
    mask = torch.tensor(counted)
    assert objective.reduce(losses, mask, "none").tolist() == [x if c else 0 for x, c in zip(losses.tolist(), counted, strict=True)]
    assert objective.reduce(losses, mask, "sum").item() == sum(kept)
    assert objective.reduce(losses, mask, "mean").item() == sum(kept) / max(len(kept), 1)


def test_reduce_lets_no_gradient_of_a_left_out_query_through():
    losses = torch.tensor([1.0, math.nan], requires_grad=True)
    objective.reduce(losses, torch.tensor([True, False]), "mean").backward()
    assert losses.grad.tolist() == [1.0, 0.0]


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["bare", "weights"])
@pytest.mark.parametrize("shape", [None, (), (4, 1), (6,), (4, 6)], ids=str)
def test_row_logsumexp(weights, shape):
    temperature = 0.3 if shape is None else 0.2 + torch.rand(shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    logits = (SCORES / temperature + (0 if weights is None else weights.log())).masked_fill(~MASK, -math.inf)
    want = torch.logsumexp(logits, 1)
    assert (want == -math.inf).any(), "a row of nothing is among them"
    got = row_logsumexp(SCORES, MASK, weights, temperature)
    assert torch.allclose(got, want, rtol=1e-14, atol=1e-14)
    x = SCORES.clone().requires_grad_()
    (slope,) = torch.autograd.grad(row_logsumexp(x, MASK, weights, temperature).sum(), x)
    want = torch.softmax(logits, 1) / temperature
    assert torch.allclose(slope, torch.where(MASK, want, 0.0), rtol=1e-13, atol=1e-14)


def test_row_logsumexp_neither_overflows_nor_loses_the_digits_of_a_large_logit():
    scores = SCORES.float().requires_grad_()
    got = row_logsumexp(scores, MASK, None, 1e-4)
    want = torch.logsumexp((scores.detach().double() / 1e-4).masked_fill(~MASK, -math.inf), 1)
    assert got.dtype == torch.float64
    assert torch.allclose(got[MASK.any(1)], want[MASK.any(1)], rtol=1e-9)
    assert torch.isfinite(torch.autograd.grad(got.sum(), scores)[0]).all()


def test_listed_and_sum_rows():
    rows, columns, logits = list_pairs(SCORES, MASK, 0.5)
    assert list(zip(rows.tolist(), columns.tolist(), strict=True)) == [(q, k) for q in range(4) for k in range(6) if MASK[q, k]]
    assert torch.equal(logits, SCORES[MASK] / 0.5)
    assert torch.allclose(sum_rows(logits, rows, SCORES), torch.where(MASK, SCORES / 0.5, 0.0).sum(1))


@pytest.mark.parametrize("shape", [(), (4, 1), (6,), (1, 6), (4, 6)], ids=str)
def test_listed_takes_each_pair_its_own_temperature(shape):
    temperature = 0.2 + torch.rand(shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    assert torch.allclose(list_pairs(SCORES, MASK, temperature)[2], (SCORES / temperature)[MASK], rtol=1e-15)


def test_shares_and_present():
    rows, columns = MASK.nonzero(as_tuple=True)
    even = target_shares(MASK, None, rows, columns)
    assert even.tolist() == [1 / MASK[q].sum().item() for q in rows.tolist()]
    weighed = target_shares(MASK, WEIGHTS, rows, columns)
    assert torch.allclose(weighed, (WEIGHTS / torch.where(MASK, WEIGHTS, 0.0).sum(1, keepdim=True))[MASK])
    assert present(MASK, None) is MASK
    gone = torch.where(torch.arange(6) == 1, 0.0, WEIGHTS)
    assert torch.equal(present(MASK, gone), MASK & (torch.arange(6) != 1))


def test_objective_hands_its_formula_wide_numbers_and_takes_the_dtype_back():
    seen = []

    def formula(scores, positives, negatives, weights, temperature, slope):
        seen.extend([scores.dtype, weights.dtype, temperature.dtype, torch.is_autocast_enabled("cpu"), slope])
        return scores.double().sum(1), positives.any(1)

    half = SCORES.half()
    with torch.autocast("cpu", torch.bfloat16):
        loss: Tensor = objective.of_pairs(formula, half, MASK, ~MASK, WEIGHTS.half(), temperature=torch.tensor(0.5).half(), slope=3)
    assert seen == [torch.float32, torch.float32, torch.float32, False, 3]
    assert loss.dtype == torch.float32 and loss.item() == pytest.approx(half.float().sum(1)[MASK.any(1)].mean().item(), rel=1e-6)


def test_errors_say_what_came_and_what_is_wanted():
    good = dict(scores=SCORES, positives=MASK, negatives=~MASK)
    wrong = [
        ({"scores": SCORES[0]}, r"scores: got shape \(6,\), want 2 dimensions"),
        ({"positives": MASK[:, 1:]}, r"positives: got shape \(4, 5\), want \(4, 6\), the shape of scores"),
        ({"negatives": MASK.to("meta")}, "negatives: got device meta, want cpu, where scores is"),
        ({"weights": WEIGHTS[1:]}, r"weights: got shape \(3, 6\), want \(4, 6\), the shape of scores"),
        ({"weights": WEIGHTS.to("meta")}, "weights: got device meta, want cpu"),
    ]
    for change, words in wrong:
        with pytest.raises(ValueError, match=words):
            check_pairs(**(good | change))
    with pytest.raises(TypeError, match="x: got dtype torch.float32, want torch.float64, as y has"):
        check_like("x", SCORES.float(), "y", SCORES)


# --- a query's own weight ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("normalise", [True, False])
def test_weigh_is_the_weighted_mean_of_single_losses(normalise):
    losses, weights = SCORES[0].clone().requires_grad_(), WEIGHTS[0].clone().requires_grad_()
    got = objective.weigh(losses, weights, normalise=normalise)
    want = sum(w * x for w, x in zip(weights.tolist(), losses.tolist(), strict=True)) / (sum(weights.tolist()) if normalise else 6)
    assert math.isclose(got.item(), want, rel_tol=1e-12)
    assert torch.autograd.gradcheck(lambda x, w: objective.weigh(x, w, normalise=normalise), (losses, weights))


def test_weights_of_one_number_are_the_objectives_own_mean_where_every_query_counts():
    from contrastive_nb.objectives import info_nce, mw, weigh
    from contrastive_nb.pairs import from_labels

    z = torch.randn(8, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    pairs = from_labels(z, torch.arange(8) % 3)
    for loss in (info_nce, mw):
        single = loss(*pairs, temperature=0.3, reduction="none")
        for weight in (torch.ones_like(single), torch.full_like(single, 7.0)):
            assert torch.isclose(weigh(single, weight), loss(*pairs, temperature=0.3), rtol=1e-12)
    assert len(single) == pairs.positives.sum()  # mw: one a positive
    with pytest.raises(ValueError, match="weights: got 8, want 14: one a loss"):
        weigh(single, torch.ones(8))


def test_a_weight_of_0_takes_its_loss_out_and_none_left_is_0_with_a_gradient():
    losses = torch.tensor([1.0, math.nan, math.inf], requires_grad=True)
    assert objective.weigh(losses, torch.tensor([2.0, 0.0, 0.0])) == 1
    nothing = objective.weigh(losses, torch.zeros(3))
    (slope,) = torch.autograd.grad(nothing, losses)
    assert nothing == 0 and (slope == 0).all()
    assert objective.weigh(losses, torch.ones(3)).isnan()  # a NaN in use is not hidden
    assert objective.weigh(losses[:0], torch.zeros(0)) == 0


def test_weigh_computes_half_precision_wide():
    losses, weights = torch.rand(999).half(), torch.rand(999).bfloat16()
    got = objective.weigh(losses, weights)
    assert got.dtype == torch.float32
    assert torch.isclose(got.double(), (losses.double() * weights.double()).sum() / weights.double().sum(), rtol=1e-6)


@pytest.mark.parametrize(("change", "exception", "words"), [
    ({"losses": [1.0]}, TypeError, "losses: got list"), ({"losses": torch.ones(2, 3)}, ValueError, "losses: got shape"),
    ({"weights": torch.ones(2)}, ValueError, "weights: got 2, want 3"), ({"weights": torch.ones(3).long()}, TypeError, "weights: got dtype torch.int64"),
    ({"weights": torch.ones(3, device="meta")}, ValueError, "weights: got device meta"), ({"normalise": 1}, TypeError, "normalise: got int"),
    ({"weights": -torch.ones(3), "check": True}, ValueError, "weights: got a negative"), ({"weights": torch.full((3,), math.inf), "check": True}, ValueError, "weights: got"),
])  # fmt: skip
def test_weigh_refuses_by_name(change, exception, words):
    with pytest.raises(exception, match=words):
        objective.weigh(**({"losses": torch.ones(3), "weights": torch.ones(3)} | change))
