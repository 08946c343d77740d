"""The pairwise kernel: its links, its blocks, its digits, every derivative that it promises, what it may import and what it holds."""

import ast
import math
import warnings
from functools import partial
from pathlib import Path

import peaks
import pytest
import torch
import torch.nn.functional as F
from harness import masks, normal
from torch import Tensor

import contrastive_nb
from contrastive_nb.kernels import pairwise
from contrastive_nb.kernels.pairwise import pooled_losses, row_losses
from contrastive_nb.objectives import mw, ranknet, triplet
from contrastive_nb.pairs import Pairs, from_labels, in_batch

MARGINS = (None, 0.3)


def numbers(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def ragged(queries: int = 9, keys: int = 11, dtype=torch.float64, weighted: bool = True) -> Pairs:
    "Rows with other numbers of positives each, some without; weights of 0, and none where a pair is in neither mask."
    positives, negatives = masks(queries, keys, seed=3)
    weights = torch.rand(queries, keys, generator=numbers(1), dtype=torch.float64) + 0.2
    weights = torch.where(weights < 0.4, 0.0, torch.where(positives | negatives, weights, math.nan))
    return Pairs(normal(queries, keys).to(dtype), positives, negatives, weights.to(dtype) if weighted else None)


def present(pairs: Pairs) -> Pairs:
    "The pairs as `pooled_losses` takes them."
    there = torch.ones_like(pairs.positives) if pairs.weights is None else pairs.weights > 0
    return pairs._replace(positives=pairs.positives & there, negatives=pairs.negatives & there)


def link(gap: Tensor, margin) -> Tensor:
    return -F.logsigmoid(-gap) if margin is None else F.relu(gap + margin)


def in_rows(pairs: Pairs, t, margin=None) -> Tensor:
    "(Q,) by the formula in float64."
    scores = pairs.scores.double() / t
    weights = torch.ones_like(scores) if pairs.weights is None else pairs.weights.double().nan_to_num(0)
    share = [torch.where(mask, weights, 0.0) for mask in pairs[1:3]]
    table = link(scores[:, None, :] - scores[:, :, None], margin) * share[0][:, :, None] * share[1][:, None, :]
    return table.sum((1, 2)) / (share[0].sum(1) * share[1].sum(1)).clamp(min=1e-300)


def pooled(pairs: Pairs, t) -> Tensor:
    "(P,) by the formula in float64."
    scores, positives, negatives, weights = pairs
    pos, neg = scores[positives].double() / t, scores[negatives].double() / t
    wp, wn = (torch.ones_like(x) if weights is None else weights[m].double() for x, m in ((pos, positives), (neg, negatives)))
    return (link(neg - pos[:, None], None) @ (wn / wn.sum())) * wp / wp.mean()


KERNELS = {
    "rows": (lambda p, t: row_losses(*p, t)[0], in_rows),
    "rows, hinge": (lambda p, t: row_losses(*p, None, 0.3)[0], lambda p, t: in_rows(p, 1.0, 0.3)),
    "pooled": (lambda p, t: pooled_losses(*p, t), pooled),
}


def learning(kernel: str, pairs: Pairs, t):
    "A function of scores, weights and temperature, and float64 inputs that ask for gradients."
    ours, _ = KERNELS[kernel]
    weights = torch.where(pairs.positives | pairs.negatives, pairs.weights, 0.0)
    inputs = [x.double().clone().requires_grad_() for x in (pairs.scores, weights + 0.1, torch.as_tensor(t))]
    return lambda s, w, t: ours(Pairs(s, *pairs[1:3], w), t), inputs


# --- values and derivatives ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("margin", MARGINS)
def test_a_batch_of_pairs_has_the_derivatives_of_the_formula(margin, weighted):
    "One positive a row, in any column, all other keys negatives: the pass knows them by the one column that is none."
    pairs = in_batch(normal(6, 4).double(), normal(9, 4).double(), target=torch.tensor([3, 0, 8, 3, 5, 1]))
    weights = torch.rand(6, 9, generator=numbers(2), dtype=torch.float64) + 0.2 if weighted else None
    assert pairwise._partners(*pairs[1:3])[3].dtype == torch.long
    found = []
    t = 0.2 if margin is None else 1.0
    for losses in (lambda p: row_losses(*p, t, margin)[0], lambda p: in_rows(p, t, margin)):
        scores = pairs.scores.detach().clone().requires_grad_()
        value = losses(pairs._replace(scores=scores, weights=weights))
        (slope,) = torch.autograd.grad(value.pow(2).sum(), scores, create_graph=True)
        found.append((value, slope, *torch.autograd.grad(slope.pow(2).sum(), scores)))
    torch.testing.assert_close(*found, rtol=1e-9, atol=1e-12)


def test_a_row_of_other_masks_is_not_taken_for_a_batch_of_pairs():
    pairs = in_batch(normal(5, 4), normal(5, 4))
    ignored, second = pairs.negatives.clone(), pairs.positives.clone()
    ignored[2, 0], second[2, 0] = False, True
    for masks_ in ((pairs.positives, ignored), (second, pairs.negatives & ~second), (pairs.positives[:, :1], pairs.negatives[:, :1])):
        assert pairwise._partners(*masks_)[3] is masks_[1]


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("at_once", [2**16, 25, 1])
def test_the_formula_whatever_the_blocks(kernel, weighted, at_once, monkeypatch):
    monkeypatch.setattr(pairwise, "AT_ONCE", at_once)
    ours, formula = KERNELS[kernel]
    pairs = present(ragged(weighted=weighted))
    scores = pairs.scores.requires_grad_()
    got, want = ours(pairs, 0.5), formula(pairs, 0.5)
    torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-15)
    upstream = torch.rand(len(got), generator=numbers(2), dtype=torch.float64)
    slopes = [torch.autograd.grad(x @ upstream, scores)[0] for x in (got, want)]
    torch.testing.assert_close(*slopes, rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("shape", [(), (5, 1), (5, 6)])
def test_first_and_second_derivatives_in_scores_weights_and_temperature(kernel, shape):
    t = 0.4 + torch.rand(shape, generator=numbers(4), dtype=torch.float64)
    loss, inputs = learning(kernel, ragged(5, 6), t)
    inputs = inputs[:2] if "hinge" in kernel else inputs
    loss = partial(lambda f, s, w, t=None: f(s, w, t), loss)
    assert torch.autograd.gradcheck(loss, inputs) and torch.autograd.gradgradcheck(loss, inputs)


@pytest.mark.parametrize(
    "objective", [partial(mw, temperature=0.3), partial(ranknet, temperature=0.3), triplet, partial(triplet, margin=0.3)]
)
def test_the_gradient_in_the_weights_of_an_objective(objective):
    "In float64 by differences, and in float32 as in float64: with the gradient of either mask's weights lost, both fail."
    pairs = ragged(5, 6)
    _, (scores, weights, _) = learning("rows", pairs, 0.3)
    assert torch.autograd.gradcheck(lambda w: objective(scores.detach(), *pairs[1:3], w), weights)
    (want,) = torch.autograd.grad(objective(scores, *pairs[1:3], weights), weights)
    half = weights.detach().float().requires_grad_()
    (got,) = torch.autograd.grad(objective(scores.detach().float(), *pairs[1:3], half), half)
    assert (want[pairs.positives & (want != 0)].numel() > 0) and (want[pairs.negatives & (want != 0)].numel() > 0)
    torch.testing.assert_close(got.double(), want, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("kernel", KERNELS)
def test_torch_func(kernel):
    loss, (scores, weights, t) = learning(kernel, ragged(5, 6), 0.4)
    scalar = lambda s, w: loss(s, w, t.detach()).sum()  # noqa: E731
    stacked = torch.stack([scores, -scores, scores.roll(1, 0)]).detach()
    each = lambda f: torch.stack([f(s) for s in stacked])  # noqa: E731
    for argument in (0, 1):
        grad = torch.func.grad(scalar, argnums=argument)
        (want,) = torch.autograd.grad(scalar(scores, weights), (scores, weights)[argument])
        torch.testing.assert_close(grad(scores.detach(), weights.detach()), want, rtol=1e-12, atol=1e-14)
        of_scores = lambda s: grad(s, weights.detach())  # noqa: B023, E731
        torch.testing.assert_close(torch.func.vmap(of_scores)(stacked), each(of_scores), rtol=1e-12, atol=1e-14)
    value = lambda s: loss(s, weights.detach(), t.detach())  # noqa: E731
    torch.testing.assert_close(torch.func.vmap(value)(stacked), each(value), rtol=1e-12, atol=1e-14)
    jacobian = torch.autograd.functional.jacobian(value, scores.detach())
    torch.testing.assert_close(torch.func.jacrev(value)(scores.detach()), jacobian, rtol=1e-12, atol=1e-14)
    batched = torch.autograd.functional.jacobian(value, scores.detach(), vectorize=True)  # vmap over what arrives, no second derivatives
    torch.testing.assert_close(batched, jacobian, rtol=1e-12, atol=1e-14)


def test_no_gradient_is_asked_for_and_the_kernel_keeps_nothing():
    pairs = in_batch(normal(6, 3), normal(6, 3))
    for scores in (pairs.scores, pairs.scores.clone().requires_grad_()):
        with torch.no_grad():
            assert not ranknet(scores, *pairs[1:], temperature=0.1).requires_grad
    found = pairwise._losses(
        pairs.scores[:, :1], pairs.scores, torch.ones(6, 1).double(), None, 1.0, pairs.negatives, torch.ones(6).int(), None, False
    )
    assert found[3].numel() == 0


# --- digits -------------------------------------------------------------------------------------------------------------------------


def pointed(direction: str) -> Pairs:
    "float32: positives far above their negatives, far below, or both; several a row, as many or not, with weights."
    g = numbers(7)
    scores = 0.2 * torch.rand(40, 48, generator=g) - 0.1
    positives = torch.rand(40, 48, generator=g) < 0.06
    positives[:, 0] = True
    sign = {"aligned": 1.0, "away": -1.0, "mixed": torch.where(torch.arange(40) % 2 == 0, 1.0, -1.0)[:, None]}[direction]
    weights = 10 ** (torch.rand(40, 48, generator=g) * 4 - 2)
    return Pairs(torch.where(positives, scores + 0.8 * sign, scores), positives, ~positives, weights)


@pytest.mark.parametrize("t", [1.0, 0.1, 0.05, 0.02, 0.01, 0.005])
@pytest.mark.parametrize("direction", ["aligned", "away", "mixed"])
@pytest.mark.parametrize("kernel", ["rows", "pooled"])
@pytest.mark.parametrize("weighted", [True, False])
def test_float32_has_the_digits_of_float64(kernel, direction, t, weighted):
    ours, formula = KERNELS[kernel]
    pairs = pointed(direction)._replace(**({} if weighted else {"weights": None}))
    scores = pairs.scores.requires_grad_()
    got, want = ours(pairs, t), formula(pairs, t)
    if want.mean() < torch.finfo(torch.float32).tiny:
        pytest.skip(f"the exact value, {want.mean().item():.3g}, lies below the normal range of float32")
    assert abs(got.mean() / want.mean() - 1) < 1e-6
    slopes = [torch.autograd.grad(x.mean(), scores)[0].double() for x in (got, want)]
    assert (slopes[0] - slopes[1]).norm() / torch.autograd.grad(
        formula(double := pairs._replace(scores=scores.detach().double().requires_grad_()), t).mean(), double.scores
    )[0].norm() < 1e-5


def test_a_far_lead_in_float32_needs_the_highest_negative_taken_off(monkeypatch):
    "Exponents of -40 lose a part in a million each; with the positive as origin the kernel is as good as the naive form."
    pairs = pointed("aligned")
    worst = lambda: (row_losses(*pairs, 0.02)[0] / in_rows(pairs, 0.02) - 1).abs().max()  # noqa: E731
    assert worst() < 1e-6
    monkeypatch.setattr(pairwise, "_origin", lambda pos, top, temperature, margin: (pos, torch.ones_like(pos)))
    assert worst() > 1e-6


# --- what a query must have, and numbers at the edge --------------------------------------------------------------------------------

OBJECTIVES = {
    "ranknet": partial(ranknet, temperature=0.5),
    "triplet": triplet,
    "triplet, hinge": partial(triplet, margin=0.3),
    "mw": partial(mw, temperature=0.5),
}


def finite_gradient(objective, pairs: Pairs) -> Tensor:
    "The value; where it is finite its gradient is too."
    scores = pairs.scores.clone().requires_grad_()
    value = objective(scores, *pairs[1:])
    (slope,) = torch.autograd.grad(value, scores)
    assert torch.isfinite(slope).all() or not torch.isfinite(value)
    return value.detach()


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_scores_at_the_edge(name, dtype):
    objective, (_, positives, negatives, _) = OBJECTIVES[name], ragged(weighted=False)
    scores = normal(9, 11).to(dtype)
    large = objective(scores * 0 + torch.where(positives, -3e37, 3e37).to(dtype) / 2, positives, negatives)
    unit = 1.0 if "triplet" in name else 0.5
    assert math.isclose(large.item(), 3e37 / unit, rel_tol=1e-6)
    for edge in (scores.sign() * 3e37, scores * 0, torch.full_like(scores, 3e37)):
        assert torch.isfinite(finite_gradient(objective, Pairs(edge, positives, negatives)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cold = torch.where(negatives & (torch.arange(9) > 5)[:, None], -math.inf, scores)  # rows whose negatives are all -inf cost 0
        value = finite_gradient(objective, Pairs(cold, positives, negatives))
        assert torch.isfinite(value) and value < objective(scores, positives, negatives)
        hot = torch.where(positives, math.inf, scores)
        assert finite_gradient(objective, Pairs(hot, positives, negatives)) == 0
        gone = finite_gradient(objective, Pairs(torch.full_like(scores, -math.inf), positives, negatives))
        assert gone.isnan()  # -inf minus -inf is not a number, and is not hidden


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("size", [(0, 0), (0, 3), (3, 0), (1, 1), (1, 4), (4, 1)])
@pytest.mark.parametrize("kind", ["one class", "all negative", "nothing"])
def test_no_query_left_is_a_loss_and_a_gradient_of_0(name, size, kind):
    no = torch.zeros(size, dtype=torch.bool)
    pairs = Pairs(normal(*size), no | (kind == "one class"), no | (kind == "all negative"))
    for reduction in ("mean", "sum", "none"):
        scores = pairs.scores.clone().requires_grad_()
        value = OBJECTIVES[name](scores, *pairs[1:3], reduction=reduction)
        assert (value == 0).all() and (torch.autograd.grad(value.sum(), scores)[0] == 0).all()
        assert value.shape == (() if reduction != "none" else (int(pairs.positives.sum()),) if name == "mw" else size[:1])


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_pair_of_weight_0_is_absent_whatever_its_score(name):
    pairs = ragged(weighted=False)
    gone = torch.rand(9, 11, generator=numbers(9)) < 0.4
    want = finite_gradient(OBJECTIVES[name], pairs._replace(positives=pairs.positives & ~gone, negatives=pairs.negatives & ~gone))
    for other in (0.0, 1e9, math.inf, -math.inf, math.nan):
        weighted = pairs._replace(scores=torch.where(gone, other, pairs.scores), weights=torch.where(gone, 0.0, 1.0).double())
        torch.testing.assert_close(finite_gradient(OBJECTIVES[name], weighted), want, rtol=1e-14, atol=0)


def test_mw_pools_and_gives_one_loss_a_positive():
    pairs = ragged(weighted=False)
    rows = mw(*pairs, temperature=0.5, reduction="none")
    line = Pairs(*(x.reshape(1, -1) for x in pairs[:3]))
    assert rows.shape == (int(pairs.positives.sum()),)
    torch.testing.assert_close(mw(*line, temperature=0.5, reduction="none"), rows, rtol=1e-14, atol=0)
    torch.testing.assert_close(ranknet(*line, temperature=0.5), rows.mean(), rtol=1e-14, atol=0)


# --- the compiler, memory, walls ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name, backend", [("mw", "inductor"), ("ranknet", "aot_eager"), ("triplet, hinge", "aot_eager")])
def test_a_compiled_objective_gives_what_it_gives_uncompiled(name, backend):
    "Its graph breaks where scores are listed; mw by both of its ways, pair by pair and from the table."
    compiled = torch.compile(OBJECTIVES[name], backend=backend)
    for size in (12, 96):
        pairs = in_batch(torch.randn(size, 8, generator=numbers(1)), torch.randn(size, 8, generator=numbers(2)))
        found = []
        for function in (OBJECTIVES[name], compiled):
            scores = pairs.scores.clone().requires_grad_()
            found.append((value := function(scores, *pairs[1:3]), torch.autograd.grad(value, scores)[0]))
        for got, want in zip(*reversed(found), strict=True):
            torch.testing.assert_close(got, want, rtol=2e-6, atol=1e-9)


@pytest.mark.parametrize("call", ["triplet", "triplet, hinge", "ranknet"])
def test_peak_memory_of_many_triplets(call):
    "1,200 items in ten classes make 155 million triplets; in float64 at once they would be 1.2 GB, in pieces on a torn heap the same."
    assert peaks.megabytes(call) < 100


@pytest.mark.parametrize("room, never", [
    ("kernels", ("objectives", "negatives", "scaling")), ("objectives", ("negatives", "scaling")),
    ("negatives", ("objectives", "scaling")), ("scaling", ("objectives", "negatives")),
])  # fmt: skip
def test_rooms_do_not_import_sideways(room, never):
    "In functions neither."
    for path in (Path(contrastive_nb.__file__).parent / room).glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [node.module or "", *(a.name for a in node.names)] if isinstance(node, ast.ImportFrom) else []
            names += [a.name for a in node.names] if isinstance(node, ast.Import) else []
            assert not {part for name in names for part in name.split(".")} & set(never), f"{path.name}, line {node.lineno}"


def test_the_old_address_of_the_table_says_the_new_one():
    import sys

    sys.modules.pop("contrastive_nb.scaling.tabulated", None)
    with pytest.warns(DeprecationWarning, match="contrastive_nb.kernels.tabulated"):
        from contrastive_nb.scaling.tabulated import meet
    assert meet is contrastive_nb.kernels.tabulated.meet


def test_batches_of_one_class_and_of_every_class_once():
    z = normal(5, 3)
    for labels in (torch.zeros(5, dtype=torch.long), torch.arange(5)):
        for objective in OBJECTIVES.values():
            assert finite_gradient(objective, from_labels(z, labels)) == 0
