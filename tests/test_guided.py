"""The teacher's filter: what the harness does not ask of a narrower, and GISTEmbed's loss."""

import importlib
import importlib.util
from unittest import mock

import pytest
import torch
from torch import nn

from contrastive_nb.debiasing import guided_filter
from contrastive_nb.negatives import margin_pos, perc_pos
from contrastive_nb.objectives import info_nce
from contrastive_nb.pairs import Pairs, in_batch, join, similarity_matrix

GIST = "sentence_transformers.sentence_transformer.losses.gist_embed"


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def row(*scores, positive=1):
    marked = torch.arange(len(scores))[None] < positive
    return Pairs(torch.tensor([scores], dtype=torch.float64), marked, ~marked)


def kept(pairs):
    return pairs.negatives[0].nonzero()[:, 0].tolist()


def three_blocks(q, k):
    own = torch.eye(len(q), dtype=torch.bool)
    return join(in_batch(q, k), *(Pairs(similarity_matrix(z, z), own & False, ~own) for z in (q, k)))


def test_a_tie_with_the_bar_stays_and_a_margin_moves_it():
    pairs = row(0.5, 0.75, 0.5, 0.25, -1.0)
    assert kept(guided_filter(pairs)) == [2, 3, 4] and kept(guided_filter(pairs, margin=0.25)) == [3, 4]
    assert kept(guided_filter(pairs, margin=-0.25)) == [1, 2, 3, 4] and kept(guided_filter(pairs, margin=0.26)) == [4]


def test_a_relative_margin_lowers_the_bar_on_both_sides_of_zero():
    assert kept(guided_filter(row(0.5, 0.5, 0.25, 0.2), margin=0.5, kind="relative")) == [2, 3]
    below = row(-0.5, -0.5, -0.75, -0.8)
    assert kept(guided_filter(below, margin=0.5, kind="relative")) == [2, 3] and kept(perc_pos(below, 0.5)) == [1, 2, 3]


def test_the_lowest_of_several_positives_is_the_bar_and_without_one_all_stay():
    pairs = row(0.9, 0.5, 0.7, 0.4, positive=2)
    assert kept(guided_filter(pairs)) == [3]
    for kind in ("absolute", "relative"):
        assert kept(guided_filter(row(0.1, 0.9, 5.0, positive=0), margin=0.2, kind=kind)) == [0, 1, 2]


@pytest.mark.parametrize("margin", [0.0, 0.1, 0.5])
def test_on_one_score_matrix_it_is_the_miners_bar(margin):
    pairs = in_batch(draw(12, 5), draw(12, 5, seed=1))
    assert torch.equal(guided_filter(pairs, margin=margin).negatives, margin_pos(pairs, margin).negatives)
    above = pairs.scores.diagonal() > 0
    assert 0 < above.sum() < 12
    mine = guided_filter(pairs, margin=margin, kind="relative").negatives
    assert torch.equal(mine[above], perc_pos(pairs, 1 - margin).negatives[above])
    if margin:
        assert not torch.equal(mine, perc_pos(pairs, 1 - margin).negatives)


def test_with_a_margin_far_below_zero_it_is_info_nce():
    pairs = in_batch(draw(9, 4), draw(9, 4, seed=1))
    filtered = guided_filter(pairs, by=draw(9, 9, seed=2), margin=-100.0)
    assert torch.equal(filtered.negatives, pairs.negatives)
    assert abs(info_nce(*filtered, temperature=0.1) - info_nce(*pairs, temperature=0.1)) < 1e-10


def gist(student, guide, temperature, **options):
    "sentence-transformers' own class on embeddings; neither of its models is called."
    if importlib.util.find_spec("sentence_transformers") is None:
        pytest.skip("sentence_transformers is not installed")
    try:
        module = importlib.import_module(GIST)
    except ImportError:
        pytest.skip(f"this sentence_transformers has no {GIST}")
    loss = module.GISTEmbedLoss.__new__(module.GISTEmbedLoss)
    nn.Module.__init__(loss)
    defaults = {"margin_strategy": "absolute", "margin": 0.0, "contrast_anchors": True, "contrast_positives": True}
    fixed = {"temperature": temperature, "must_retokenize": False, "gather_across_devices": False}
    for name, value in (defaults | fixed | options).items():
        setattr(loss, name, value)
    loss.model, loss.guide = "model", "guide"
    loss.similarity_fct, loss.cross_entropy_loss = nn.CosineSimilarity(dim=-1), nn.CrossEntropyLoss()
    with mock.patch.object(module, "embed_columns", lambda model, _: student if model == "model" else guide):
        return loss([{}, {}], None)


@pytest.mark.parametrize("kind", ["absolute", "relative"])
@pytest.mark.parametrize("margin", [0.0, 0.05, 0.3])
@pytest.mark.parametrize("temperature", [0.05, 1.0])
def test_on_three_blocks_it_is_gistembed(kind, margin, temperature):
    student = [draw(16, 6, seed=s).requires_grad_() for s in (0, 1)]
    guide = [
        x.detach() + 0.7 * draw(16, 6, seed=s) + shared for x, s, shared in zip(student, (2, 3), (draw(16, 6, seed=4),) * 2, strict=True)
    ]
    pairs, by = three_blocks(*student), three_blocks(*guide).scores
    filtered = guided_filter(pairs, by=by, margin=margin, kind=kind)
    assert 0 < (pairs.negatives & ~filtered.negatives).sum() and filtered.negatives.any(1).all()
    ours = info_nce(*filtered, temperature=temperature)
    theirs = gist(student, guide, temperature, margin_strategy=kind, margin=margin)
    assert abs(ours - theirs) < 1e-6
    for one, other in zip(torch.autograd.grad(ours, student), torch.autograd.grad(theirs, student), strict=True):
        assert torch.allclose(one, other, atol=1e-6)


def test_without_the_blocks_it_is_gistembed_on_the_batch_alone():
    student, guide = [draw(16, 6, seed=s) for s in (0, 1)], [draw(16, 6, seed=s) for s in (2, 3)]
    filtered = guided_filter(in_batch(*student), by=similarity_matrix(*guide))
    everyone = filtered.negatives.any(1)
    ours = info_nce(*filtered, temperature=0.5, reduction="none").sum() / len(everyone)  # theirs counts a query without negatives as 0
    assert abs(ours - gist(student, guide, 0.5, contrast_anchors=False, contrast_positives=False)) < 1e-6
