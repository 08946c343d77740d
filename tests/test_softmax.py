"""The row softmax under InfoNCE, SupCon and decoupled contrast: what it promises at its edges, to `torch.func` and to the compiler."""

import itertools
import math

import pytest
import torch

from contrastive_nb.kernels import softmax
from contrastive_nb.kernels.softmax import row_contrast, row_logsumexp
from contrastive_nb.objectives import decoupled_nce, info_nce, soft_nce, supcon
from contrastive_nb.pairs import Pairs, from_labels, in_batch, two_views
from contrastive_nb.rows import all_in, any_in, columns_of, where_true


def numbers(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def draw(*shape, seed=0, share=0.3):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < share


# ---- reading masks -----------------------------------------------------------------------------------------------------------------

MASKS = {
    "sparse": draw(16, 24, share=0.05),
    "dense": draw(7, 8, share=0.9),
    "no multiple of eight": draw(5, 7),
    "one a row": torch.eye(8, 16, dtype=torch.bool),
    "transposed": draw(24, 16).T,
    "a part of another": draw(9, 8)[1:, :],
    "odd offset": draw(10, 4)[1:9],
    "other columns": draw(16, 16)[:, 3:11],
    "expanded": draw(1, 8).expand(8, 8),
    "nothing": torch.zeros(8, 8, dtype=torch.bool),
    "everything": torch.ones(8, 8, dtype=torch.bool),
    "no row": torch.ones(0, 8, dtype=torch.bool),
    "no column": torch.ones(8, 0, dtype=torch.bool),
    "many a row, one a row on average": torch.tensor([[1, 1], [0, 0]], dtype=torch.bool).repeat(4, 4),
}


@pytest.mark.parametrize("name", MASKS)
def test_masks_are_read_as_torch_reads_them(name):
    mask = MASKS[name]
    for got, want in zip(where_true(mask), mask.nonzero(as_tuple=True), strict=True):
        assert torch.equal(got, want)
    assert torch.equal(any_in(mask), mask.any(1))
    assert bool(all_in(mask)) is bool(mask.all())
    columns, there = columns_of(mask)
    there = torch.ones_like(columns, dtype=torch.bool) if there is None else there
    assert [row[keep].tolist() for row, keep in zip(columns, there, strict=True)] == [row.nonzero()[:, 0].tolist() for row in mask]


# ---- the log-sum-exp ---------------------------------------------------------------------------------------------------------------

TEMPERATURES = {"number": 0.3, "learned": torch.tensor(0.3), "a row": torch.full((4, 1), 0.3), "a pair": torch.full((4, 6), 0.3)}


@pytest.mark.parametrize("temperature", TEMPERATURES.values(), ids=TEMPERATURES)
@pytest.mark.parametrize("weighted", [False, True], ids=["bare", "weights"])
def test_a_row_that_sums_nothing(temperature, weighted):
    mask = torch.tensor([[1, 1, 1, 0, 0, 0], [1, 0, 1, 1, 0, 0], [0] * 6, [1] * 6], dtype=torch.bool)
    scores = numbers(4, 6, dtype=torch.float32)
    scores[0] = -math.inf
    scores[1, 1], scores[1, 4] = math.nan, math.inf  # outside the mask
    weights = torch.rand(4, 6) + 0.5 if weighted else None
    if weighted:
        weights[1, 1], weights[2] = math.nan, 0.0
    scores, t = scores.requires_grad_(), temperature.clone().requires_grad_() if isinstance(temperature, torch.Tensor) else temperature
    got = row_logsumexp(scores, mask, weights, t)
    assert got[[0, 2]].tolist() == [-math.inf] * 2 and torch.isfinite(got[[1, 3]]).all()
    learned = [scores] + ([t] if isinstance(t, torch.Tensor) and t.numel() != 24 else [])
    slopes = torch.autograd.grad(got[[1, 3]].sum() + torch.exp(got).sum(), learned)
    assert all(torch.isfinite(slope).all() for slope in slopes)
    assert (slopes[0][[0, 2]] == 0).all() and (slopes[0][~mask] == 0).all()


def test_one_class_leaves_a_learned_temperature_alone():
    pairs, t = from_labels(numbers(5, 3), torch.zeros(5, dtype=torch.long)), torch.tensor(0.2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.grad(info_nce(*pairs, temperature=t), t)[0] == 0


def test_weights_of_zero_have_a_finite_gradient():
    weights = torch.zeros(2, 3, dtype=torch.float64, requires_grad=True)
    got = row_logsumexp(numbers(2, 3), torch.ones(2, 3, dtype=torch.bool), weights, 0.5)
    assert got.tolist() == [-math.inf] * 2
    assert torch.isfinite(torch.autograd.grad(torch.exp(got).sum(), weights)[0]).all()


def test_the_plain_formula_and_the_fused_one_agree():
    scores, mask, weights = numbers(9, 16), draw(9, 16, share=0.7), torch.rand(9, 16, dtype=torch.float64)
    mask[4] = False
    for given, temperature in itertools.product((None, weights), (0.05, 1.0)):
        x = scores.clone().requires_grad_()
        both = [f(x, mask, given, temperature) for f in (row_logsumexp, softmax._plain)]
        assert torch.allclose(*both, rtol=1e-13, atol=1e-14)
        some = mask.any(1)
        assert torch.allclose(*(torch.autograd.grad(y[some].sum(), x)[0] for y in both), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("temperature", [1.0, 0.05, 0.005])
def test_exp2_keeps_the_digits(temperature):
    scores = numbers(64, 512, dtype=torch.float32).div(4).requires_grad_()
    mask = draw(64, 512, share=0.9)
    exact = scores.detach().double().requires_grad_()
    got, want = row_logsumexp(scores, mask, None, temperature), softmax._plain(exact, mask, None, temperature)
    assert torch.allclose(got, want, rtol=3e-7, atol=3e-7)
    slope, exact_slope = (torch.autograd.grad(y.sum(), x)[0].double() for y, x in ((got, scores), (want, exact)))
    assert (slope - exact_slope).norm() <= 1e-6 * exact_slope.norm()


def test_all_but_one_a_row_is_a_short_cut_and_no_other_loss(monkeypatch):
    q, k = numbers(8, 4), numbers(8, 4, seed=1)
    pairs, taken = in_batch(q, k), []
    apply = softmax._PickAndSum.apply
    monkeypatch.setattr(softmax._PickAndSum, "apply", lambda *inputs: (taken.append(inputs[-1]), apply(*inputs))[1])
    row_contrast(*pairs[:3], None, 0.1)
    less = pairs.negatives.clone()
    less[3, 5] = False
    own, contrast, _ = row_contrast(pairs.scores, pairs.positives, less, None, 0.1)
    assert taken == [True, False]
    assert torch.allclose(contrast, torch.logsumexp((pairs.scores / 0.1).masked_fill(~less, -math.inf), 1))


# ---- derivatives -------------------------------------------------------------------------------------------------------------------


def test_every_derivative():
    scores, mask = numbers(3, 5), draw(3, 5, share=0.6)
    mask[:, 0] = True
    f = lambda s: row_logsumexp(s, mask, None, 0.4)  # noqa: E731
    plain = lambda s: softmax._plain(s, mask, None, 0.4)  # noqa: E731
    direction = numbers(3, 5, seed=2)
    assert torch.allclose(torch.func.jvp(f, (scores,), (direction,))[1], torch.func.jvp(plain, (scores,), (direction,))[1])
    for transform in (torch.func.jacrev, torch.func.jacfwd):
        assert torch.allclose(transform(f)(scores), transform(plain)(scores)), transform.__name__
    total = lambda g: lambda s: g(s).square().sum()  # noqa: E731
    assert torch.allclose(torch.func.hessian(total(f))(scores), torch.func.hessian(total(plain))(scores))
    stacked = torch.stack([scores, -scores])
    assert torch.allclose(torch.func.vmap(f)(stacked), torch.stack([f(s) for s in stacked]))
    assert torch.autograd.gradgradcheck(f, scores.clone().requires_grad_())


# ---- what a query must have --------------------------------------------------------------------------------------------------------


def test_one_class_has_the_value_of_the_papers_equation():
    z, labels = numbers(6, 4), torch.zeros(6, dtype=torch.long)
    pairs = from_labels(z, labels)
    logits = (pairs.scores / 0.1).fill_diagonal_(-math.inf)
    logs = logits.log_softmax(1).masked_fill(~pairs.positives, 0.0)
    assert torch.allclose(supcon(*pairs, temperature=0.1), -(logs.sum(1) / 5).mean(), rtol=1e-12)
    assert torch.allclose(supcon(*pairs, temperature=0.1, form="in"), torch.tensor(math.log(5), dtype=torch.float64), rtol=1e-12)


def test_soft_targets_through_supcon_are_cwcl():
    scores, target = numbers(5, 7), torch.rand(5, 7, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    everyone = torch.ones(5, 7, dtype=torch.bool)
    got = supcon(Pairs(scores, everyone, ~everyone).scores, everyone, ~everyone, target, temperature=0.2)
    assert torch.allclose(got, soft_nce(scores, target, temperature=0.2), rtol=1e-12)
    want = -((scores / 0.2).log_softmax(1) * target).sum(1) / target.sum(1)
    assert torch.allclose(got, want.mean(), rtol=1e-12)


# ---- the compiler ------------------------------------------------------------------------------------------------------------------

CALLS = {
    "info_nce": lambda q, k: info_nce(*in_batch(q, k), temperature=0.1),
    "two views, all": lambda q, k: info_nce(*two_views(q, k), temperature=0.1, denominator="all"),
    "supcon": lambda q, k: supcon(*from_labels(q, torch.arange(12) // 3), temperature=0.1),
    "supcon in": lambda q, k: supcon(*from_labels(q, torch.arange(12) // 3), temperature=0.1, form="in"),
    "decoupled": lambda q, k: decoupled_nce(*two_views(q, k), temperature=0.1),
}


def _compiled_is_the_same(call, backend):
    q, k = numbers(12, 8, dtype=torch.float32), numbers(12, 8, seed=1, dtype=torch.float32)
    found = []
    for function in (call, torch.compile(call, fullgraph=True, backend=backend)):
        x = q.clone().requires_grad_()
        value = function(x, k)
        found.append((value.detach(), *torch.autograd.grad(value, x)))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", CALLS)
def test_one_graph_from_embeddings_to_loss(name):
    _compiled_is_the_same(CALLS[name], "aot_eager")


@pytest.mark.slow
@pytest.mark.parametrize("name", CALLS)
def test_one_graph_through_the_default_compiler(name):
    _compiled_is_the_same(CALLS[name], "inductor")
