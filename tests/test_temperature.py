"""Shares of the push, effective negatives and tolerance: dtypes, ends, values of weights, wrong input."""

import math

import pytest
import torch
import torch.nn.functional as F

from contrastive_nb.objectives import info_nce
from contrastive_nb.objectives.temperature import effective_negatives, relative_penalty, tolerance
from contrastive_nb.pairs import Pairs, from_labels, two_views


def some_pairs(dtype=torch.float64) -> Pairs:
    generator = torch.Generator().manual_seed(1)
    kind = torch.randint(0, 3, (6, 8), generator=generator)
    kind[2, kind[2] == 1] = 2  # a query without negatives
    scores, weights = (torch.rand(6, 8, generator=generator, dtype=torch.float64) for _ in range(2))
    weights[:, 3] = 0
    return Pairs((2 * scores - 1).to(dtype), kind == 0, kind == 1, torch.where(kind < 2, weights, math.nan).to(dtype))


@pytest.mark.parametrize("temperature", [1.0, 0.1, 0.01, 0.005])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_shares_sum_to_one_and_hold_their_digits(dtype, temperature):
    pairs = some_pairs(dtype)
    shares = relative_penalty(*pairs, temperature=temperature)
    exact = relative_penalty(pairs.scores.double(), *pairs[1:3], pairs.weights.double(), temperature=temperature)
    assert shares.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    has = (pairs.negatives & (pairs.weights > 0)).any(1)
    torch.testing.assert_close(shares.sum(1), has.to(shares.dtype), rtol=1e-6, atol=0)
    assert (shares[~(pairs.negatives & (pairs.weights > 0))] == 0).all()
    torch.testing.assert_close(shares.double(), exact, rtol=3e-6, atol=1e-30)


def test_shares_are_the_slopes_of_the_loss():
    z = torch.randn(2, 12, 5, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    pairs = two_views(*z)
    scores = pairs.scores.clone().requires_grad_()
    (slope,) = torch.autograd.grad(info_nce(scores, *pairs[1:], temperature=0.07, reduction="sum"), scores)
    wanted = torch.where(pairs.negatives, slope / slope[pairs.positives].abs()[:, None], 0.0)
    torch.testing.assert_close(relative_penalty(*pairs, temperature=0.07), wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("shape", [(), (6, 1), (8,), (6, 8)])
def test_a_temperature_tensor_means_what_the_number_means(shape):
    pairs = some_pairs()
    for function in (relative_penalty, effective_negatives):
        tensor, number = function(*pairs, temperature=torch.full(shape, 0.2, dtype=torch.float64)), function(*pairs, temperature=0.2)
        torch.testing.assert_close(tensor, number, rtol=1e-12, atol=1e-12)


def test_effective_negatives_from_one_to_all():
    pairs = some_pairs()._replace(weights=None)
    cold, hot = (effective_negatives(*pairs, temperature=t) for t in (1e-5, 1e6))
    torch.testing.assert_close(cold, pairs.negatives.any(1).double())
    torch.testing.assert_close(hot, pairs.negatives.sum(1).double(), rtol=1e-6, atol=0)
    rising = torch.stack([effective_negatives(*pairs, temperature=t) for t in (0.02, 0.1, 0.5, 2.0)])
    assert (rising.diff(dim=0) >= 0).all()


def test_a_weight_is_a_multiplicity():
    pairs = some_pairs()._replace(weights=None)
    double = torch.where(pairs.negatives, 2.0, 1.0)
    copied = Pairs(*(torch.cat([part, part], 1) for part in pairs[:3]))
    for t in (0.1, 1.0):
        got, want = effective_negatives(*pairs[:3], double, temperature=t), effective_negatives(*copied, temperature=t)
        torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-12)


def test_a_nan_stays_in_its_row():
    pairs = some_pairs()._replace(weights=None)
    row, column = pairs.negatives.nonzero()[0].tolist()
    scores = pairs.scores.clone()
    scores[row, column] = math.nan
    shares = relative_penalty(scores, *pairs[1:], temperature=0.1)
    assert shares[row][pairs.negatives[row]].isnan().all() and not shares[torch.arange(6) != row].isnan().any()
    assert effective_negatives(scores, *pairs[1:], temperature=0.1).isnan().nonzero().flatten().tolist() == [row]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16])
def test_tolerance_is_the_mean_over_pairs(dtype):
    generator = torch.Generator().manual_seed(4)
    z, labels = torch.randn(30, 5, generator=generator, dtype=torch.float64).to(dtype), torch.randint(-2, 3, (30,), generator=generator)
    pairs = from_labels(z.double(), labels)
    assert tolerance(z, labels) == pytest.approx(pairs.scores[pairs.positives].mean().item(), rel=1e-12, abs=1e-12)
    assert tolerance(torch.ones(4, 2), torch.zeros(4, dtype=torch.long)) == pytest.approx(1)
    assert tolerance(F.one_hot(torch.tensor([0, 1])).double() * 2 - 1, torch.zeros(2, dtype=torch.long)) == pytest.approx(-1)


@pytest.mark.parametrize("z", [torch.zeros(0, 3), torch.eye(3)])
def test_tolerance_of_no_pair_is_not_a_number(z):
    assert math.isnan(tolerance(z, torch.arange(len(z))))


WRONG = [
    ({"temperature": 0.0}, ValueError, "temperature"),
    ({"temperature": None}, TypeError, "temperature"),
    ({"temperature": torch.tensor(-1.0), "check": True}, ValueError, "temperature"),
    ({"scores": torch.ones(6, 8, dtype=torch.long)}, TypeError, "scores"),
    ({"negatives": torch.ones(6, 7, dtype=torch.bool)}, ValueError, "negatives"),
    ({"weights": torch.ones(6)}, ValueError, "weights"),
    ({"weights": -torch.ones(6, 8), "check": True}, ValueError, "weights"),
]


@pytest.mark.parametrize("function", [relative_penalty, effective_negatives])
@pytest.mark.parametrize(("change", "error", "word"), WRONG)
def test_wrong_input_is_refused_by_name(function, change, error, word):
    arguments = some_pairs()._asdict() | {"temperature": 0.1} | change
    with pytest.raises(error, match=word):
        function(**arguments)


@pytest.mark.parametrize(("z", "labels", "error", "word"), [
    ([[1.0]], torch.arange(1), TypeError, "z"),
    (torch.ones(2), torch.arange(2), ValueError, "z"),
    (torch.ones(2, 2), torch.ones(2), TypeError, "labels"),
    (torch.ones(2, 2), [0, 1], TypeError, "labels"),
    (torch.ones(2, 2), torch.arange(3), ValueError, "labels"),
])  # fmt: skip
def test_wrong_embeddings_and_labels_are_refused_by_name(z, labels, error, word):
    with pytest.raises(error, match=word):
        tolerance(z, labels)
