"""Worlds: what they say of themselves is so, in standard errors or exactly, and a world that cannot be is refused by name."""

import numpy as np
import pytest
import torch
from scipy import stats

from contrastive_nb import worlds
from contrastive_nb.metrics import ndcg_at


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def flat(world):
    "All tensors of a world, those in tuples too."
    return [t for part in world for t in (part if isinstance(part, tuple) else (part,)) if isinstance(t, torch.Tensor)]


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(flat(one), flat(other), strict=True))


# --- many classes -----------------------------------------------------------------------------------------------------------------


def test_many_classes_have_the_promised_form():
    world = worlds.many_classes(classes=7, dim=3, beside=4, width=11)
    y = torch.arange(7).repeat(2, 1)
    assert world.hidden(y, seeded()).shape == (2, 7, 3) and world.draw(y, seeded()).shape == (2, 7, 7)


def test_the_parts_of_what_is_observed_are_as_large_as_promised():
    world, generator = worlds.many_classes(3, dim=200, beside=0, spread=0.6), seeded()
    hidden = world.hidden(torch.zeros(400, dtype=torch.long), generator) / (1.5 * 200**0.5)
    assert abs((hidden - world.centres[0]).norm(dim=1).mean().item() - 0.6) < 0.02
    flat = worlds.many_classes(3, spread=0.0, nuisance=0.0)
    y = torch.arange(100)
    torch.testing.assert_close(flat.draw(y, seeded(1)), flat.draw(y, seeded(2)))  # without spread and nuisance a class is one point
    moved = worlds.many_classes(3, spread=0.0)
    assert not torch.allclose(moved.draw(y, seeded(1)), moved.draw(y, seeded(2)))


def test_the_guess_is_the_likeliest_class():
    world, generator = worlds.many_classes(1, classes=5, dim=4), seeded()
    hidden = world.hidden(torch.randint(5, (300,), generator=generator), generator)
    scale = 1.5 * 4**0.5
    density = [stats.multivariate_normal(scale * c.numpy(), (scale * 0.8) ** 2 / 4).logpdf(hidden.numpy()) for c in world.centres]
    assert world.guess(hidden).tolist() == np.argmax(density, 0).tolist()


@pytest.mark.parametrize("rate", [0.0, 0.01, 0.37, 1.0])
def test_friends_come_at_the_given_rate_and_the_others_evenly(rate):
    y = torch.arange(10).repeat(500)
    drawn = worlds.friends(y, 8, rate, seeded(1), classes=10)
    low, high = stats.binom.interval(1 - 1e-5, drawn.numel(), rate)
    assert low <= (drawn == y[:, None]).sum() <= high
    others = (drawn - y[:, None])[drawn != y[:, None]] % 10
    if rate < 1:
        assert stats.chisquare(others.bincount(minlength=10)[1:].numpy()).pvalue > 1e-4
    assert drawn.min() >= 0 and drawn.max() < 10


@pytest.mark.parametrize("rate", [0.01, 0.025, 0.1, 1 / 3, 0.3, 0.7, 1.0])
def test_two_of_a_batch_are_friends_at_the_given_rate(rate):
    generator, shares = seeded(2), []
    for _ in range(2000):
        y = worlds.batch_classes(12, rate, generator)
        assert y.min() >= 0 and y.max() < 100
        shares.append(((y[:, None] == y).double().sum().item() - 12) / 132)
    if rate == 1:
        assert set(shares) == {1.0}
    else:
        assert abs(stats.ttest_1samp(shares, rate).statistic) < 4.5


def test_every_class_gets_its_turn_in_a_batch():
    generator = seeded(3)
    counts = sum(worlds.batch_classes(20, 0.3, generator, classes=6).bincount(minlength=6) for _ in range(600))
    assert (counts / counts.sum() - 1 / 6).abs().max() < 0.02


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda: worlds.many_classes(classes=1), ValueError, "classes: got 1"),
        (lambda: worlds.many_classes(dim=1), ValueError, "dim: got 1"),
        (lambda: worlds.many_classes(beside=-1), ValueError, "beside: got -1"),
        (lambda: worlds.many_classes(spread=-1.0), ValueError, "spread: got -1"),
        (lambda: worlds.many_classes(nuisance="much"), TypeError, "nuisance: got str"),
        (lambda: worlds.many_classes(seed=0.5), TypeError, "seed: got float"),
        (lambda: worlds.friends(torch.zeros(2, dtype=torch.long), 3, 1.5, seeded()), ValueError, "rate: got 1.5"),
        (lambda: worlds.friends(torch.zeros(2, dtype=torch.long), 0, 0.5, seeded()), ValueError, "number: got 0"),
        (lambda: worlds.batch_classes(4, 0.001, seeded()), ValueError, "rate: got 0.001"),
        (lambda: worlds.batch_classes(0, 0.5, seeded()), ValueError, "size: got 0"),
    ],
)
def test_classes_that_cannot_be_are_refused_by_name(call, error, message):
    with pytest.raises(error, match=message):
        call()


# --- topics -----------------------------------------------------------------------------------------------------------------------

SMALL = dict(topics=6, families=3, documents=60, queries=30, vocabulary=200)


def test_topics_have_the_promised_form():
    world = worlds.topics(**SMALL)
    assert world.documents.shape == (60, 30) and world.queries.shape == (30, 6)
    assert world.counts(world.documents).sum(1).tolist() == [30] * 60
    assert all(len(text.split()) == 6 for text in world.texts(world.queries))
    assert world.document_topic.bincount().tolist() == [10] * 6 and world.query_topic.bincount().tolist() == [5] * 6
    for law in world.laws:
        torch.testing.assert_close(law.sum(-1), torch.ones(6, 4))


def test_one_of_several_relevant_documents_is_marked_evenly():
    world = worlds.topics(1, **SMALL | dict(documents=18, queries=3000))
    relevant = world.query_topic[:, None] == world.document_topic
    assert torch.equal(world.relevance, relevant)
    assert torch.equal(world.unmarked.sum(1), relevant.sum(1) - 1) and not (world.unmarked & ~relevant).any()
    assert relevant.gather(1, world.marked[:, None]).all() and not world.unmarked.gather(1, world.marked[:, None]).any()
    assert stats.chisquare(world.marked.bincount(minlength=18).numpy()).pvalue > 1e-4


def test_words_follow_the_laws():
    world = worlds.topics(2, topics=2, families=1, styles=1, documents=4000, queries=4, vocabulary=100)
    for topic in range(2):
        seen = world.counts(world.documents[world.document_topic == topic]).sum(0)
        law = world.laws[0][topic, 0].double().numpy()
        assert stats.chisquare(seen.numpy(), law / law.sum() * seen.sum().item()).pvalue > 1e-4


def test_families_share_words_and_sides_do_not():
    world = worlds.topics(3, styles=1)
    law = world.laws[0][:, 0]
    alike = torch.nn.functional.cosine_similarity(law[:, None], law[None], dim=2)
    kin = (world.family[:, None] == world.family) & ~torch.eye(50, dtype=torch.bool)
    far = world.family[:, None] != world.family
    assert alike[kin].mean() > alike[far].mean() + 0.03
    across = torch.nn.functional.cosine_similarity(law, world.laws[1][:, 0], dim=1)
    assert across.mean() < 0.8


def test_the_retrievers_stand_in_the_order_of_what_they_know():
    world = worlds.topics(0, queries=200)
    bm25, lsa, bayes = (ndcg_at(world.retriever(kind), world.relevance, k=10) for kind in ("bm25", "lsa", "bayes"))
    chance = ndcg_at(torch.zeros(world.relevance.shape), world.relevance, k=10)
    assert chance + 0.02 < min(bm25, lsa) and max(bm25, lsa) < 0.2 and 0.85 < bayes < 1


def test_bayes_is_the_posterior_chance_of_one_topic():
    world = worlds.topics(4, topics=3, families=2, documents=6, queries=3, vocabulary=60, styles=2, document_words=3, query_words=2)

    def posterior(words, law):
        each = [sum(np.prod([float(law[t, s, w]) for w in words]) for s in range(2)) for t in range(3)]
        return np.array(each) / sum(each)

    want = [[posterior(q, world.laws[1]) @ posterior(d, world.laws[0]) for d in world.documents.tolist()] for q in world.queries.tolist()]
    np.testing.assert_allclose(world.retriever("bayes").numpy(), want, rtol=1e-4)


def test_style_misleads_and_says_nothing_about_relevance():
    world = worlds.topics(5, nuisance=0.3)
    together = world.query_style[:, None] == world.document_style
    scores = world.retriever("bm25")
    assert scores[together].mean() > 1.2 * scores[~together].mean()
    rate = [world.relevance[of].double().mean().item() for of in (together, ~together)]
    assert abs(rate[0] - rate[1]) < 0.002


def test_a_perfect_teacher_parts_the_three_kinds_and_noise_is_what_it_says():
    world = worlds.topics(**SMALL)
    kin = world.family[world.query_topic][:, None] == world.family[world.document_topic]
    clean = world.teacher()
    assert torch.equal(clean == 1, world.relevance) and torch.equal(clean == 0.5, kin & ~world.relevance)
    noise = world.teacher(0.3) - clean
    assert abs(noise.std().item() - 0.3) < 0.03 and torch.equal(world.teacher(0.3), world.teacher(0.3))
    assert not torch.equal(world.teacher(0.3, 1), world.teacher(0.3))


def test_fewer_words_than_directions_are_no_trouble():
    scores = worlds.topics(documents=200, queries=20, topics=4, families=2, vocabulary=60).retriever("lsa")
    assert scores.shape == (20, 200) and scores.isfinite().all() and scores.abs().max() <= 1 + 1e-5


@pytest.mark.parametrize("fall", [0.0, 0.5, 1.0])
def test_what_is_read_and_relevant_is_marked(fall):
    world = worlds.topics(**SMALL | dict(queries=600))
    scores = world.retriever("lsa")
    judged = world.pooled(scores, fall)
    assert not (judged.marked & ~world.relevance).any()
    best = judged.propensity.argmax(1) if fall else scores.argmax(1)
    assert torch.equal(best, scores.argmax(1)) and judged.propensity.max() == 1
    hits = judged.marked.double().sum() - (judged.propensity * world.relevance).sum()
    spread = (judged.propensity * (1 - judged.propensity) * world.relevance).sum().sqrt()
    assert abs(hits) <= 4.5 * spread
    if fall == 0:
        assert torch.equal(judged.marked, world.relevance)


def test_a_seed_is_a_corpus_and_fresh_texts_keep_its_laws():
    one, again, other = worlds.topics(1, **SMALL), worlds.topics(1, **SMALL), worlds.topics(2, **SMALL)
    assert same(one, again) and not torch.equal(one.documents, other.documents)
    fresh = worlds.fresh_topics(one, 9, documents=12)
    assert torch.equal(fresh.laws[1], one.laws[1]) and len(fresh.documents) == 12 and len(fresh.queries) == 30
    assert isinstance(fresh, worlds.Topics)
    state = torch.get_rng_state()
    worlds.topics(3, **SMALL), worlds.many_classes(3), one.teacher(1.0), one.pooled()
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        (dict(topics=1), ValueError, "topics: got 1"),
        (dict(families=51), ValueError, "families: got 51"),
        (dict(documents=99), ValueError, "documents: got 99, want at least 100, two a topic"),
        (dict(queries=0), ValueError, "queries: got 0"),
        (dict(vocabulary=59), ValueError, "vocabulary: got 59"),
        (dict(nuisance=0.4), ValueError, "nuisance: got 0.4"),
        (dict(styles=0), ValueError, "styles: got 0"),
        (dict(document_words=0), ValueError, "document_words: got 0"),
        (dict(query_words=2.5), TypeError, "query_words: got float"),
        (dict(seed=-1), ValueError, "seed: got -1"),
    ],
)
def test_topics_that_cannot_be_are_refused_by_name(arguments, error, message):
    with pytest.raises(error, match=message):
        worlds.topics(**arguments)


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda w: w.retriever("tfidf"), ValueError, "kind: got 'tfidf', want"),
        (lambda w: w.teacher(-1.0), ValueError, "noise: got -1"),
        (lambda w: w.pooled(torch.zeros(2, 2)), ValueError, r"by: got \(2, 2\), want a retriever's kind or scores of shape \(30, 60\)"),
        (lambda w: w.pooled(3), ValueError, "by: got int"),
        (lambda w: w.pooled(fall=-0.5), ValueError, "fall: got -0.5"),
        (lambda w: worlds.fresh_topics(w, 0, documents=11), ValueError, "documents: got 11, want at least 12"),
        (lambda w: worlds.fresh_topics(w, 0, queries=0), ValueError, "queries: got 0"),
    ],
)
def test_what_a_corpus_cannot_say_is_refused_by_name(call, error, message):
    with pytest.raises(error, match=message):
        call(worlds.topics(**SMALL))
