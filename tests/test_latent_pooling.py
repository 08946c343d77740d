"""Latent pooling where the registry's checks do not reach: masks, many tokens, precision, and that tokens do not see each other."""

import math

import pytest
import torch

from contrastive_nb.encoders import seeded
from contrastive_nb.retrieval import LatentPooling


def layer(**options):
    return seeded(0, lambda: LatentPooling(8, **({"latents": 5, "heads": 2, "hidden": 16} | options))).double()


def states(*shape, seed=0):
    return torch.randn(*shape, 8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_padding_plays_no_part_and_gets_no_gradient():
    model, x = layer(), states(2, 5)
    mask = torch.tensor([[True, True, False, True, False], [True] * 5])
    dirty = x.masked_fill(~mask[..., None], math.nan).requires_grad_()
    out = model(dirty, mask)
    assert torch.allclose(out[0], model(x[:1, [0, 1, 3]])[0])
    out.square().sum().backward()
    assert (dirty.grad[~mask] == 0).all() and (dirty.grad[mask] != 0).any(1).all()
    assert all(p.grad.isfinite().all() and (p.grad != 0).any() for p in model.parameters())


def test_a_text_without_tokens_is_0_and_moves_nothing():
    model, x = layer(), states(1, 3).requires_grad_()
    out = model(x, torch.zeros(1, 3, dtype=torch.bool))
    out.sum().backward()
    assert (out == 0).all() and (x.grad == 0).all() and all((p.grad == 0).all() for p in model.parameters())


def test_the_vector_is_the_mean_of_the_tokens_by_themselves():
    model, x = layer(), states(3, 7)
    assert torch.allclose(model(x), torch.stack([model(x[:, t]) for t in range(7)]).mean(0), atol=1e-12)
    assert torch.allclose(model.tokens(x)[1, 4], model.tokens(x[1, 4]), atol=1e-12)


def test_a_state_between_heads_is_read_by_its_own_head_alone():
    "The look-up of the first half of the coordinates does not depend on the second half."
    model, x = layer(), states(1, 4)
    model.network = torch.nn.Identity()
    other = torch.cat([x[..., :4], states(1, 4, seed=1)[..., 4:]], -1)
    assert torch.equal(model.tokens(x)[..., :4], model.tokens(other)[..., :4])
    assert not torch.allclose(model.tokens(x)[..., 4:], model.tokens(other)[..., 4:])


def test_gradients_are_those_of_the_formula():
    model, x = layer(), states(2, 3).requires_grad_()
    mask = torch.tensor([[True, False, True], [True] * 3])
    assert torch.autograd.gradcheck(
        lambda x, latents: torch.func.functional_call(model, {"latents": latents}, (x, mask)), (x, model.latents)
    )


@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_float32_is_near_float64_and_long_states_stay_finite(scale):
    model, x = layer(), states(4, 6) * scale
    want = model(x)
    got = model.float()(x.float())
    assert got.dtype == torch.float32 and got.isfinite().all() and torch.allclose(got.double(), want, atol=1e-4)
