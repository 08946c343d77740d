"Instance weighting: what leaves is what the second model finds too near; noise climbs as autograd says, and no further than its steps."

import pytest
import torch
import torch.nn.functional as F

from contrastive_nb.debiasing import dclr_negatives, noise_keys
from contrastive_nb.objectives import info_nce
from contrastive_nb.pairs import in_batch

T = 0.05


def embeddings(seed=0, items=12, dim=8):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, items, dim, generator=generator, dtype=torch.float64)


def dice(seed=1):
    return torch.Generator().manual_seed(seed)


def test_off_is_infonce():
    pairs = in_batch(*embeddings())
    assert abs(info_nce(*dclr_negatives(pairs, 1.01), temperature=T) - info_nce(*pairs, temperature=T)) < 1e-10


def test_a_perfect_teacher_takes_all_false_negatives_and_nothing_else():
    pairs, topic = in_batch(*embeddings()), torch.arange(12) % 4
    same = topic[:, None] == topic
    assert torch.equal(dclr_negatives(pairs, 0.5, by=same.double()).negatives, ~same)


def test_the_threshold_itself_leaves():
    pairs = in_batch(*embeddings())
    at = pairs.scores[0, 1].item()
    assert not dclr_negatives(pairs, at).negatives[0, 1] and dclr_negatives(pairs, at + 1e-12).negatives[0, 1]


@pytest.mark.parametrize("with_batch", [False, True])
def test_a_step_follows_the_gradient(with_batch):
    query, key = embeddings()
    start = noise_keys(query, 5, steps=0, generator=dice())
    u = start.clone().requires_grad_()
    keys = torch.cat([key, u]) if with_batch else u
    loss = torch.logsumexp(F.normalize(query, dim=1) @ F.normalize(keys, dim=1).T / T, 1).mean()
    slope = F.normalize(torch.autograd.grad(loss, u)[0], dim=1)
    moved = noise_keys(query, 5, keys=key if with_batch else None, temperature=T, steps=1, size=0.3, generator=dice())
    assert torch.allclose(moved, start + 0.3 * slope, atol=1e-10)


@pytest.mark.parametrize("temperature", [1.0, 0.05, 0.001])
def test_steps_have_their_length_however_cold(temperature):
    query, _ = embeddings()
    start, moved = (noise_keys(query, 5, temperature=temperature, steps=n, size=0.01, generator=dice()) for n in (0, 1))
    assert torch.allclose((moved - start).norm(dim=1), torch.full((5,), 0.01, dtype=torch.float64), atol=1e-12)


def test_climbing_raises_the_loss():
    query, key = embeddings()
    plain, hard = (noise_keys(query, 5, keys=key, steps=n, size=0.3, generator=dice()) for n in (0, 4))
    assert info_nce(*in_batch(query, key, hard), temperature=T) > info_nce(*in_batch(query, key, plain), temperature=T)


def test_the_published_steps_stay_within_the_bound_of_the_page():
    query, key = embeddings(items=32, dim=64)
    plain, hard = (noise_keys(query, 32, keys=key, steps=n, generator=dice()) for n in (0, 4))
    before, after = (info_nce(*in_batch(query, key, noise), temperature=T) for noise in (plain, hard))
    assert abs(after - before) <= 4e-3 / (plain.norm(dim=1).min() - 4e-3) / T


def test_noise_has_the_querys_type_its_spread_and_no_gradient():
    query = embeddings()[0].float().requires_grad_()
    noise = noise_keys(query, 4000, steps=0, spread=2.0, generator=dice())
    assert noise.dtype == torch.float32 and not noise.requires_grad and abs(noise.std() - 2) < 0.05


def test_without_a_query_noise_stays_as_drawn():
    empty = torch.empty(0, 8, dtype=torch.float64)
    assert torch.equal(noise_keys(empty, 3, generator=dice()), noise_keys(empty, 3, steps=0, generator=dice()))
