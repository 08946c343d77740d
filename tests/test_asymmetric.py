"""The asymmetric loss where the registry's checks do not reach: official numbers, its neighbours, large logits, the weight's gradient."""

import itertools
import math

import pytest
import torch
import torch.nn.functional as F

from contrastive_nb.negatives import asymmetric_loss


def formula_batch() -> tuple[torch.Tensor, torch.Tensor]:
    i, j = torch.arange(5, dtype=torch.float64)[:, None], torch.arange(7, dtype=torch.float64)
    return (4 * torch.sin(1.3 * i + 0.7 * j)).requires_grad_(), (3 * i + 2 * j) % 5 == 0


def ours(scores, marks, positive=0.0, negative=4.0, margin=0.05, detached=False):
    how = dict(gamma_positive=positive, gamma_negative=negative, margin=margin, detach_weight=detached)
    return asymmetric_loss(scores, marks, ~marks, temperature=1.0, reduction="sum", **how)


def slope(loss, scores, *rest):
    return torch.autograd.grad(loss(scores, *rest), scores)[0]


# Alibaba-MIIL/ASL at 8c9e0bd8d5d450cf19093363fc08aa7244ad4408, src/loss_functions/losses.py: AsymmetricLoss and, the same, AsymmetricLossOptimized;
# gamma_pos, gamma_neg, clip, disable_torch_grad_focal_loss: value, norm of the gradient, its sum with the cosines of its places
OFFICIAL = [
    ((0.0, 4.0, 0.05, True), (27.457839291570245, 2.0447274402950693, -0.6241061331806184)),
    ((0.0, 4.0, 0.05, False), (27.457839291570245, 2.811538429293142, -0.27334779931593195)),
    ((1.0, 4.0, 0.05, True), (26.098205410263457, 1.8271488083602028, -0.23281650920345395)),
    ((1.0, 4.0, 0.05, False), (26.098205410263457, 2.9153804956922205, -0.24748785909877108)),
    ((2.0, 2.0, 0.0, False), (41.39124498491121, 4.479385982047478, 0.273115491524931)),
    ((0.0, 0.0, 0.0, False), (50.765026429682905, 3.9400686022961944, -0.551665898775362)),
    ((1.0, 2.0, 0.2, True), (17.704786355259852, 1.616261172105997, -0.5091783197784214)),
]


@pytest.mark.parametrize(("options", "theirs"), OFFICIAL)
def test_numbers_of_the_official_code(options, theirs):
    scores, marks = formula_batch()
    value, gradient = ours(scores, marks, *options), slope(ours, scores, marks, *options)
    signs = torch.cos(torch.arange(35, dtype=torch.float64)).reshape(5, 7)
    assert (value.item(), gradient.norm().item(), (gradient * signs).sum().item()) == pytest.approx(theirs, rel=1e-11)


def usual(scores, marks):
    return F.binary_cross_entropy_with_logits(scores, marks.to(scores), reduction="sum")


def focal(scores, marks, power):
    terms = F.binary_cross_entropy_with_logits(scores, marks.to(scores), reduction="none")
    return ((1 - torch.exp(-terms)) ** power * terms).sum()


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0, 2.0, 5.0])
def test_equal_powers_without_a_margin_are_the_focal_loss_and_without_powers_cross_entropy(power):
    scores, marks = formula_batch()
    assert torch.isclose(ours(scores, marks, power, power, 0.0), focal(scores, marks, power), rtol=1e-10)
    assert torch.allclose(slope(ours, scores, marks, power, power, 0.0), slope(focal, scores, marks, power), rtol=1e-10)
    if power == 0:
        assert torch.isclose(ours(scores, marks, 0.0, 0.0, 0.0), usual(scores, marks), rtol=1e-10)
        assert torch.allclose(slope(ours, scores, marks, 0.0, 0.0, 0.0), slope(usual, scores, marks), rtol=1e-10)


@pytest.mark.parametrize("detached", [False, True])
@pytest.mark.parametrize("power", [0.0, 0.5, 4.0])
def test_a_negative_at_or_below_the_margin_has_no_gradient_at_all_and_one_above_has_some(power, detached):
    p = torch.tensor([[1e-9, 0.01, 0.25, 0.2500001, 0.26, 0.9]], dtype=torch.float64)
    scores, none = p.logit().requires_grad_(), torch.zeros(1, 6, dtype=torch.bool)
    push = slope(ours, scores, none, 0.0, power, 0.25, detached)[0]
    assert (push[:3] == 0).all() and (push[3:] > 0).all()


def test_the_hardest_negatives_are_let_go_with_a_margin_and_only_with_one():
    scores, none = torch.tensor([[2.0, 8.0, 20.0, 60.0]], dtype=torch.float64, requires_grad=True), torch.zeros(1, 4, dtype=torch.bool)
    with_margin, without = (slope(ours, scores, none, 0.0, 4.0, margin)[0] for margin in (0.05, 0.0))
    assert (with_margin.diff() < 0).all() and with_margin[-1] < 1e-20
    assert without[-1] == pytest.approx(1.0, rel=1e-12)


@pytest.mark.parametrize(("positive", "negative", "margin"), itertools.product((0.0, 0.5, 4.0), (0.0, 0.5, 4.0), (0.0, 1e-20, 0.05, 0.9)))
def test_large_logits_in_float32_keep_value_and_gradient(positive, negative, margin):
    scores = torch.tensor([[-3e4, -200.0, -30.0, -5.0, 5.0, 16.0, 20.0, 90.0, 200.0, 3e4]])
    for marks in (torch.zeros(1, 10, dtype=torch.bool), torch.ones(1, 10, dtype=torch.bool)):
        narrow, wide = (scores.to(dtype).requires_grad_() for dtype in (torch.float32, torch.float64))
        got, want = ours(narrow, marks, positive, negative, margin), ours(wide, marks, positive, negative, margin)
        assert torch.isfinite(want) and got.item() == pytest.approx(want.item(), rel=1e-6)
        slopes = [torch.autograd.grad(loss, x)[0].double() for loss, x in ((got, narrow), (want, wide))]
        assert torch.isfinite(slopes[1]).all() and torch.allclose(*slopes, rtol=1e-6, atol=1e-37)


def test_the_hardest_negative_keeps_its_full_push_without_margin_and_powers():
    scores, none = torch.tensor([[17.0, 20.0, 100.0]], requires_grad=True), torch.zeros(1, 3, dtype=torch.bool)
    assert torch.allclose(slope(ours, scores, none, 0.0, 0.0, 0.0), torch.ones(1, 3))
    assert torch.allclose(slope(lambda x: ours(-x, ~none, 0.0, 0.0, 0.0), scores), torch.ones(1, 3))


def test_a_detached_weight_changes_the_gradient_and_not_the_value():
    scores, marks = formula_batch()
    for options in ((0.0, 4.0, 0.05), (2.0, 2.0, 0.0)):
        assert ours(scores, marks, *options) == ours(scores, marks, *options, True)
        both, alone = (slope(ours, scores, marks, *options, detached) for detached in (False, True))
        assert (both.abs() >= alone.abs()).all() and both.norm() > 1.05 * alone.norm()


def test_gradients_stay_off_where_they_are_off():
    scores, marks = formula_batch()
    with torch.no_grad():
        assert not ours(scores, marks, detached=True).requires_grad and not torch.is_grad_enabled()


def test_a_picture_without_marks_counts_and_one_without_labels_does_not():
    scores = torch.zeros(3, 4, dtype=torch.float64)
    marks = torch.tensor([[True, False, False, False], [False] * 4, [False] * 4])
    absent = torch.tensor([[False, True, True, False], [True, True, True, True], [False] * 4])
    how = dict(temperature=1.0, gamma_negative=0.0, margin=0.0)
    losses = asymmetric_loss(scores, marks, absent, reduction="none", **how)
    assert losses.tolist() == pytest.approx([3 * math.log(2), 4 * math.log(2), 0.0])
    assert asymmetric_loss(scores, marks, absent, **how).item() == pytest.approx(3.5 * math.log(2))


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("margin", 1.0, ValueError),
        ("margin", -0.1, ValueError),
        ("margin", "0.1", TypeError),
        ("gamma_positive", -1.0, ValueError),
        ("gamma_negative", math.inf, ValueError),
        ("gamma_negative", None, TypeError),
        ("detach_weight", 1, TypeError),
    ],
)
def test_a_wrong_option_is_refused_by_name(name, value, error):
    scores, marks = formula_batch()
    with pytest.raises(error, match=name):
        asymmetric_loss(scores, marks, ~marks, **({"temperature": 1.0} | {name: value}))
