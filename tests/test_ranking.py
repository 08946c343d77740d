"RankNet's blocks and derivatives, and what the checks of all methods do not ask of graded lists."

import pytest
import torch
from harness import normal

from contrastive_nb.kernels import pairwise
from contrastive_nb.objectives import list_mle, ranklist, ranknet, ranknet_graded
from contrastive_nb.pairs import from_labels

LABELS = torch.tensor([0, 1, 0, 1, 2, 0, 1])


def pairs():
    return from_labels(normal(7, 3), LABELS)


def test_blocks_change_nothing(monkeypatch):
    results = []
    for at_once in (2**22, 20, 1):
        monkeypatch.setattr(pairwise, "AT_ONCE", at_once)
        scores = pairs().scores.requires_grad_()
        loss = ranknet(scores, *pairs()[1:], temperature=0.3)
        results.append((loss, *torch.autograd.grad(loss, scores)))
    for loss, gradient in results[1:]:
        assert torch.allclose(loss, results[0][0], rtol=1e-14) and torch.allclose(gradient, results[0][1], rtol=1e-12)


def test_no_tensor_grows_with_the_number_of_pairs(monkeypatch):
    monkeypatch.setattr(pairwise, "AT_ONCE", 2**12)
    scores, positives, negatives, _ = from_labels(normal(256, 8), torch.arange(256) % 2)
    largest, scores = [], scores.requires_grad_()

    class Watch(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            out = function(*args, **(kwargs or {}))
            largest.extend(x.numel() for x in (out if isinstance(out, tuple) else (out,)) if isinstance(x, torch.Tensor))
            return out

    with Watch(), torch.autograd.graph.saved_tensors_hooks(lambda x: largest.append(x.numel()) or x, lambda x: x):
        ranknet(scores, positives, negatives, temperature=0.1).backward()
    assert max(largest) <= scores.numel()


def test_second_derivatives_and_derivatives_in_the_weights():
    scores, positives, negatives, _ = pairs()
    weights = 0.5 + torch.rand(scores.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    inputs = [scores.requires_grad_(), weights.requires_grad_()]

    def loss(scores, weights):
        return ranknet(scores, positives, negatives, weights, temperature=0.5)

    assert torch.autograd.gradcheck(loss, inputs)
    assert torch.autograd.gradgradcheck(loss, inputs)


@pytest.mark.parametrize("skips", [0, -1, 1.5, True, "all"])
def test_skips_that_are_none(skips):
    with pytest.raises((TypeError, ValueError), match="skips"):
        ranklist(normal(2, 3), torch.arange(3).expand(2, 3), skips=skips)


@pytest.mark.parametrize("options", [{"margin": -1.0}, {"margin": None}, {"decay": 0.0}, {"decay": 1.1}, {"decay": "half"}])
def test_options_out_of_range(options):
    with pytest.raises((TypeError, ValueError), match=next(iter(options))):
        ranklist(normal(2, 3), torch.arange(3).expand(2, 3), **options)


def test_a_skip_longer_than_the_list_is_every_skip():
    scores, grades = normal(4, 6), torch.randint(0, 4, (4, 6), generator=torch.Generator().manual_seed(1))
    for form in ("softmax", "pairs"):
        assert torch.equal(ranklist(scores, grades, form=form, skips=99), ranklist(scores, grades, form=form))


def test_only_the_order_of_the_grades_counts():
    scores, grades = normal(4, 6), torch.randint(0, 4, (4, 6), generator=torch.Generator().manual_seed(1))
    for loss in (ranknet_graded, ranklist, list_mle):
        assert torch.equal(loss(scores, grades), loss(scores, grades.double() ** 3 - 5))


def test_a_grade_that_is_not_a_number_spoils_its_own_list_alone():
    scores, grades = normal(3, 4), torch.tensor([[2.0, 1, 0, 1], [1, 1, 1, 1], [0, 1, 2, 3]])
    grades[1, 2] = torch.nan
    for loss in (ranknet_graded, ranklist, list_mle):
        assert loss(scores, grades, reduction="none").isnan().tolist() == [False, True, False]
        assert loss(scores, grades).isnan()


def test_ranklist_pairs_is_the_larger_sum():
    "A document's softmax term is at most the sum of its pair terms (the exercise of the page), its largest pair term at least."
    scores, grades = normal(8, 7), torch.stack([torch.randperm(7, generator=torch.Generator().manual_seed(n)) for n in range(8)])
    softmax, pair = ranklist(scores, grades, reduction="none") * 6, ranklist(scores, grades, form="pairs", reduction="none") * 21
    assert (softmax <= pair + 1e-12).all() and (softmax >= ranklist(scores, grades, skips=1, reduction="none") * 6 - 1e-12).all()
