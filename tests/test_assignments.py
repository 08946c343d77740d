"""Assignments in equal shares and swapped prediction: sums, form, limits, lightly's loss, and who learns through what."""

import importlib.util
import math

import pytest
import torch
import torch.nn.functional as F

from contrastive_nb.encoders import Prototypes
from contrastive_nb.objectives import soft_nce
from contrastive_nb.selfsup import sinkhorn, swav


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def cosines(items=20, prototypes=6, seed=0):
    return F.normalize(draw(items, 5, seed=seed), dim=1) @ F.normalize(draw(prototypes, 5, seed=99), dim=1).T


def lightly_loss(**options):
    if not importlib.util.find_spec("lightly"):
        pytest.skip("lightly is not installed")
    from contrastive_nb.timing.lightly_loader import load

    return load("lightly.loss.swav_loss", "SwaVLoss")(**options)


@pytest.mark.parametrize("iterations", [0, 1, 3, 50])
@pytest.mark.parametrize("epsilon", [0.001, 0.05, 1.0])
def test_rows_sum_to_one_however_soon_one_stops(iterations, epsilon):
    q = sinkhorn(cosines(), epsilon=epsilon, iterations=iterations)
    assert (q.sum(1) - 1).abs().max() < 1e-10 and (q >= 0).all() and not q.requires_grad


@pytest.mark.parametrize("items, prototypes", [(20, 6), (4, 9), (7, 7), (5, 1)])
def test_columns_come_to_equal_shares(items, prototypes):
    scores = cosines(items, prototypes)
    off = [(sinkhorn(scores, epsilon=0.1, iterations=n).sum(0) - items / prototypes).abs().max() for n in (3, 10, 2000)]
    assert off[2] < 1e-10 and (prototypes == 1 or off[0] > off[1] > off[2])


def test_the_end_is_the_exponential_of_the_scores_times_a_factor_a_row_and_a_factor_a_column():
    rest = sinkhorn(cosines(), epsilon=0.1, iterations=3).log() - cosines() / 0.1
    assert (rest - rest.mean(0) - rest.mean(1, keepdim=True) + rest.mean()).abs().max() < 1e-10


def test_no_other_matrix_with_the_same_sums_is_worth_more():
    scores, q = cosines(), sinkhorn(cosines(), epsilon=0.1, iterations=2000)
    worth = lambda q: ((q * scores).sum() + 0.1 * torch.special.entr(q).sum()).item()  # noqa: E731
    for seed in range(20):
        step = draw(*q.shape, seed=seed)
        step = step - step.mean(0) - step.mean(1, keepdim=True) + step.mean()
        assert worth(q + 0.5 * q.min() * step / step.abs().max()) < worth(q)


def test_without_an_iteration_it_is_the_softmax_and_a_common_preference_is_seen():
    lean = draw(6, seed=3)
    assert (sinkhorn(cosines(), iterations=0) - (cosines() / 0.05).softmax(1)).abs().max() < 1e-10
    for n in (1, 3):
        assert (sinkhorn(cosines() + lean, iterations=n) - sinkhorn(cosines(), iterations=n)).abs().max() < 1e-10
    assert (sinkhorn(cosines() + lean, iterations=0) - sinkhorn(cosines(), iterations=0)).abs().max() > 0.1


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_a_low_epsilon_holds(dtype):
    scores = cosines().to(dtype)
    q = sinkhorn(scores, epsilon=1e-4, iterations=10)
    assert q.isfinite().all() and q.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert torch.allclose(q.double(), sinkhorn(scores.double(), epsilon=1e-4, iterations=10), atol=1e-6)


@pytest.mark.parametrize("options", [{}, {"temperature": 0.2, "sinkhorn_epsilon": 0.1, "sinkhorn_iterations": 1}])
@pytest.mark.parametrize("queue", [False, True])
def test_large_crops_and_small_ones_as_lightly_has_them(options, queue):
    views = [cosines(seed=s).requires_grad_() for s in range(5)]
    earlier = [cosines(9, seed=s) for s in (7, 8)] if queue else None
    want = lightly_loss(**options)(views[:2], views[2:], earlier)[0]
    ours = dict(zip(("temperature", "epsilon", "iterations"), (options or {"": 0.1}).values(), strict=False))
    got = swav(views, assign=(0, 1), queue=earlier, **ours)
    assert abs(got - want) < 1e-10
    for one, other in zip(torch.autograd.grad(got, views), torch.autograd.grad(want, views), strict=True):
        assert (one - other).abs().max() < 1e-10


def test_each_pair_of_views_is_soft_nce_with_the_other_views_assignment():
    one, other = cosines(), cosines(seed=1)
    parts = [soft_nce(b, sinkhorn(a), temperature=0.1, reduction="none") for a, b in ((one, other), (other, one))]
    assert (swav([one, other], temperature=0.1, reduction="none") - sum(parts) / 2).abs().max() < 1e-10


def test_nothing_learns_through_an_assignment_or_a_queue():
    views, earlier = [cosines(seed=s).requires_grad_() for s in (0, 1)], cosines(9, seed=7).requires_grad_()
    loss = swav(views, temperature=0.1, assign=(1,), queue=[earlier])
    slopes = torch.autograd.grad(loss, [*views, earlier], allow_unused=True)
    assert slopes[0].abs().max() > 0 and slopes[1] is None and slopes[2] is None


def test_a_collapse_costs_the_logarithm_of_the_prototypes_and_nothing_without_the_rule():
    row = torch.tensor([1.0, 0.1, 0.0, -0.2, 0.3]).double().expand(12, 5)
    assert swav([row, row], temperature=0.1) > math.log(5) > 0.1 > swav([row, row], temperature=0.1, iterations=0)


def test_it_trains_an_encoder_and_its_prototypes():
    torch.manual_seed(0)
    encoder, head, x = torch.nn.Linear(8, 5), Prototypes(4, 5), torch.randn(2, 32, 8)
    swav([head(encoder(view)) for view in x], temperature=0.1).backward()
    assert encoder.weight.grad.abs().max() > 0 and head.weight.grad.abs().max() > 0


@pytest.mark.parametrize("change, said", [
    ({"scores": [cosines()]}, "scores: got 1 views"),
    ({"scores": [cosines(), cosines(19)]}, r"scores\[1\]: got shape"),
    ({"scores": [cosines(), cosines(prototypes=5)]}, r"scores\[1\]: got shape"),
    ({"scores": [cosines(), cosines().float()]}, r"scores\[1\]: got dtype"),
    ({"scores": [cosines()[:, :0]] * 2}, r"scores\[0\]: got shape"),
    ({"assign": ()}, "assign: got"), ({"assign": (0, 0)}, "assign: got"), ({"assign": (2,)}, r"assign\[0\]: got 2"),
    ({"queue": [cosines()]}, "queue: got 1 tensors, want 2"), ({"queue": [cosines(prototypes=5)] * 2}, r"queue\[0\]: got shape"),
    ({"epsilon": 0}, "epsilon: got 0"), ({"iterations": -1}, "iterations: got -1"), ({"reduction": "max"}, "reduction: got 'max'"),
    ({"temperature": 0}, "temperature: got 0"), ({"scores": [cosines() * math.nan] * 2, "check": True}, r"scores\[0\]: not finite"),
])  # fmt: skip
def test_wrong_input_is_refused_by_name(change, said):
    with pytest.raises((TypeError, ValueError), match=f"^{said}"):
        swav(**({"scores": [cosines(), cosines(seed=1)], "temperature": 0.1} | change))


def test_sinkhorn_refuses_what_is_no_table_of_finite_scores():
    for wrong in (cosines()[:0], cosines()[0], cosines() * math.inf):
        with pytest.raises(ValueError, match="^scores: "):
            sinkhorn(wrong)
