"""Temperatures of pairs where the registry's checks do not reach: the likelihood, other losses, bounds, heads, and what is refused."""

import math

import pytest
import torch

from contrastive_nb.encoders import seeded
from contrastive_nb.objectives import decoupled_nce
from contrastive_nb.pairs import in_batch, two_views
from contrastive_nb.views import AdaptiveHeads, PairTemperature, adaptive_nce, temperature_penalty


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def some_pairs(n=7, d=5):
    return in_batch(draw(n, d), draw(n, d, seed=1))


def test_with_weight_one_a_positive_pays_its_negative_log_likelihood():
    u, v = torch.nn.functional.normalize(draw(2, 9), dim=1)
    for tau in (0.05, 0.3, 2.0):
        want = -torch.distributions.Normal(v, tau**0.5).log_prob(u).sum()
        got = temperature_penalty(torch.tensor(tau, dtype=torch.float64), 9) - (u @ v) / tau + 4.5 * math.log(2 * math.pi)
        assert torch.isclose(got, want, rtol=0, atol=1e-10)


def test_the_penalty_is_lowest_at_two_over_the_width():
    grid = torch.logspace(-3, 1, 4001, dtype=torch.float64)
    assert grid[temperature_penalty(grid, 16).argmin()].item() == pytest.approx(2 / 16, rel=2e-3)
    assert temperature_penalty(torch.ones(3, dtype=torch.float16), 4).dtype == torch.float32


@pytest.mark.parametrize("beta", [0.0, 0.1, 1.0])
def test_one_temperature_makes_the_soft_form_the_decoupled_loss(beta):
    pairs = some_pairs()
    got = adaptive_nce(*pairs, temperature=0.2, beta=beta, negative="softmax", reduction="none")
    assert torch.allclose(got, decoupled_nce(*pairs, temperature=0.2, reduction="none"), rtol=0, atol=1e-10)


def test_one_temperature_makes_the_published_form_a_difference_of_scores():
    pairs = some_pairs()
    hardest = pairs.scores.masked_fill(~pairs.negatives, -torch.inf).amax(1)
    got = adaptive_nce(*pairs, temperature=0.2, reduction="none")
    assert torch.allclose(got, (hardest - pairs.scores.diagonal()) / 0.2, rtol=0, atol=1e-10)


def test_the_hardest_is_the_largest_scaled_score_and_alone_has_a_slope():
    scores = torch.tensor([[0.5, 0.8, 0.6]], dtype=torch.float64, requires_grad=True)
    tau = torch.tensor([[1.0, 1.0, 0.1]], dtype=torch.float64, requires_grad=True)
    positive = torch.tensor([[True, False, False]])
    loss = adaptive_nce(scores, positive, ~positive, temperature=tau, beta=0.1, dim=4)
    want = 0.6 / 0.1 - 0.1 * (2 * math.log(0.1) + 10) - 0.5 + 0.1
    assert loss.item() == pytest.approx(want, abs=1e-10)
    slope, heat = torch.autograd.grad(loss, (scores, tau))
    assert slope.tolist() == [[-1.0, 0.0, pytest.approx(10.0)]] and heat[0, 1] == 0 and heat[0, 2] != 0


def test_temperatures_of_what_is_ignored_do_not_matter():
    pairs, tau = some_pairs(), 0.1 + draw(7, 7, seed=3).abs()
    masked = pairs._replace(negatives=pairs.negatives & (torch.arange(7) % 2 == 0))
    ignored = ~(masked.positives | masked.negatives)
    for negative in ("hardest", "softmax"):
        want, got = (adaptive_nce(*masked, temperature=t, negative=negative) for t in (tau, torch.where(ignored, 5.0, tau)))
        assert torch.equal(want, got)


def test_temperatures_lie_between_the_bounds_and_lengths_play_no_part():
    network = seeded(0, lambda: PairTemperature(5, hidden=8, low=0.1, high=0.7)).double()
    query, key = draw(6, 5), draw(4, 5, seed=1)
    tau = network(query, key)
    assert tau.shape == (6, 4) and (tau > 0.1).all() and (tau < 0.7).all() and tau.std() > 1e-3
    assert torch.allclose(network(1e3 * query, 1e-3 * key), tau, rtol=0, atol=1e-10)
    alone = torch.stack([network(query[i : i + 1], key[j : j + 1])[0, 0] for i in range(6) for j in range(4)])
    assert torch.allclose(alone, tau.flatten(), rtol=0, atol=1e-10)
    assert network(query.half(), key.half()).dtype == torch.float64  # the network's own


def test_query_and_key_may_have_dtypes_of_their_own():
    network = seeded(0, lambda: PairTemperature(5, hidden=8)).double()
    query, key = draw(6, 5).float(), draw(4, 5, seed=1)
    assert torch.allclose(network(query, key), network(query.double(), key), rtol=0, atol=1e-6)


def test_heads_add_up_and_every_parameter_learns():
    loss = seeded(0, lambda: AdaptiveHeads(2, 5, beta=0.3, negative="softmax")).double()
    firsts, seconds = [draw(6, 5, seed=s).requires_grad_() for s in (0, 1)], [draw(6, 5, seed=s) for s in (2, 3)]
    total = loss(firsts, seconds)
    want = 0.0
    for network, a, b in zip(loss.temperatures, firsts, seconds, strict=True):
        z = torch.cat([a, b])
        want = want + adaptive_nce(*two_views(a, b), temperature=network(z, z), beta=0.3, dim=5, negative="softmax")
    assert torch.isclose(total, want, rtol=0, atol=1e-10)
    total.backward()
    assert all(x.grad.isfinite().all() and (x.grad != 0).any() for x in (*loss.parameters(), *firsts))


def test_bad_input_is_refused_by_name():
    pairs, loss = some_pairs(), AdaptiveHeads(2, 5)
    z = draw(6, 5).float()
    for name, call in {
        "beta": lambda: adaptive_nce(*pairs, temperature=0.2, beta=-1.0),
        "dim": lambda: adaptive_nce(*pairs, temperature=0.2, dim=0),
        "negative": lambda: adaptive_nce(*pairs, temperature=0.2, negative="all"),
        "temperature": lambda: adaptive_nce(*pairs, temperature=torch.ones(3)),
        "low": lambda: PairTemperature(5, low=0.0),
        "high": lambda: PairTemperature(5, low=0.5, high=0.5),
        "hidden": lambda: PairTemperature(5, hidden=0),
        "query": lambda: PairTemperature(4)(z, z),
        "key": lambda: PairTemperature(5)(z, z[:, :3]),
        "count": lambda: AdaptiveHeads(0, 5),
        "firsts": lambda: loss([z], [z, z]),
        "seconds": lambda: loss([z, z], torch.stack([z, z, z])),
        r"seconds\[1\]": lambda: loss([z, z], [z, z[:4]]),
    }.items():
        with pytest.raises((TypeError, ValueError), match=f"^{name}: got"):
            call()
