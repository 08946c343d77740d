"""What a transform of embeddings does to scores, by its identities; the rest of it is walked by the harness."""

import pytest
import torch
import torch.nn.functional as F
from scipy import stats

from contrastive_nb.negatives import feature_transform, score_moments
from contrastive_nb.objectives import info_nce
from contrastive_nb.pairs import Pairs, with_queue


def numbers(seed=0):
    return torch.Generator().manual_seed(seed)


def points(*counts, seed=0, dim=6):
    generator = numbers(seed)
    return [F.normalize(torch.randn(count, dim, generator=generator, dtype=torch.float64), dim=1) for count in counts]


def share_of(seed, alpha=2.0, reach=1.0):
    "The positives' share that a generator of this seed gives, read off opposite points, which are moved along one line."
    pole = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    q, _, _ = feature_transform(pole, -pole, renormalise=False, positive_alpha=alpha, reach=reach, generator=numbers(seed))
    return (1 + q[0, 0]) / 2


@pytest.mark.parametrize("reach", [0.0, 0.3, 1.0, 2.0])
@pytest.mark.parametrize("seed", range(5))
def test_the_score_of_an_extrapolated_pair(seed, reach):
    query, key = points(50, 50, seed=seed)
    share, s = share_of(seed, reach=reach), (query * key).sum(1)
    assert 1 <= share <= 1 + reach
    q, k, nothing = feature_transform(query, key, renormalise=False, reach=reach, generator=numbers(seed))
    assert nothing is None
    assert ((q * k).sum(1) - (s + 2 * share * (1 - share) * (1 - s))).abs().max() < 1e-10
    for moved in (q, k):
        assert (moved.square().sum(1) - (1 + 2 * share * (share - 1) * (1 - s))).abs().max() < 1e-10


@pytest.mark.parametrize("seed", range(3))
def test_brought_back_half_the_angle_is_stretched(seed):
    query, key = points(50, 50, seed=seed)
    q, k, _ = feature_transform(query, key, renormalise=True, generator=numbers(seed))
    assert torch.allclose(torch.cat([q, k]).norm(dim=1), torch.ones(100, dtype=torch.float64))
    half, stretched = (torch.acos((x * y).sum(1)) / 2 for x, y in ((query, key), (q, k)))
    assert torch.allclose(stretched.tan(), (2 * share_of(seed) - 1) * half.tan(), rtol=1e-8)


def test_interpolation_lowers_logits_by_its_norm_alone():
    query, key, queue = points(8, 8, 40)
    plain, unit = (
        feature_transform(query, key, queue, positive_alpha=None, renormalise=form, generator=numbers()) for form in (False, True)
    )
    length = plain[2].norm(dim=1)
    assert torch.allclose(plain[0], query) and (length < 1).any() and (length <= 1 + 1e-12).all()
    assert torch.allclose(query @ plain[2].T, length * (query @ unit[2].T), atol=1e-12)


@pytest.mark.parametrize("temperature", [1.0, 0.1, 0.01])
def test_as_published_interpolated_negatives_are_never_harder(temperature):
    query, key, queue = points(8, 8, 40)
    before = info_nce(*with_queue(query, key, queue), temperature=temperature, reduction="none")
    for seed in range(10):
        moved = feature_transform(query, key, queue, positive_alpha=None, renormalise=False, generator=numbers(seed))
        assert torch.allclose((query @ moved[2].T).mean(1), (query @ queue.T).mean(1))
        after = info_nce(*with_queue(*moved, similarity="dot"), temperature=temperature, reduction="none")
        assert (after <= before + 1e-12).all() and (after < before - 1e-3).any()


def test_what_is_switched_off_stays():
    query, key, queue = points(4, 4, 9)
    still = feature_transform(query, key, queue, renormalise=True, positive_alpha=None, negative_alpha=None)
    assert all(torch.allclose(x, y) for x, y in zip(still, (query, key, queue), strict=True))
    q, k, n = feature_transform(query, key, queue, renormalise=False, negative_alpha=None)
    assert torch.allclose(n, queue) and not torch.allclose(q, query) and torch.allclose(q + k, query + key)


@pytest.mark.parametrize("alpha", [0.6, 1.6, 2.0, 8.0])
def test_shares_are_symmetric_betas(alpha):
    drawn = [share_of(seed, alpha=alpha).item() - 1 for seed in range(2000)]
    assert stats.kstest(drawn, stats.beta(alpha, alpha).cdf).pvalue > 1e-3
    assert stats.kstest(drawn, stats.beta(2 * alpha, 2 * alpha).cdf).pvalue < 1e-3  # what the test can tell apart


@pytest.mark.parametrize(
    "change", [{"positive_alpha": 0.5}, {"negative_alpha": "2"}, {"positive_alpha": True}, {"reach": -0.1}, {"reach": None}]
)
def test_wrong_strengths_are_refused_by_name(change):
    query, key, queue = points(4, 4, 9)
    with pytest.raises((TypeError, ValueError), match=next(iter(change))):
        feature_transform(query, key, queue, renormalise=True, **change)


def test_score_moments():
    scores = torch.tensor([[0.9, 0.1, 0.5], [0.3, 0.7, -0.4]])
    positives = torch.tensor([[True, False, False], [False, True, False]])
    negatives = torch.tensor([[False, True, False], [True, False, True]])  # one pair is neither
    found = score_moments(Pairs(scores, positives, negatives))
    assert found == pytest.approx({
        "positive mean": 0.8, "positive variance": 0.01, "negative mean": 0.0, "negative variance": (0.01 + 0.09 + 0.16) / 3,
    }, abs=1e-6)  # fmt: skip
    with pytest.raises(ValueError, match="negatives: got no pair"):
        score_moments(Pairs(scores, positives, negatives & False))
    with pytest.raises(TypeError, match="pairs: got tuple"):
        score_moments((scores, positives, negatives))
