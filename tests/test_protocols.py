"""Protocols: the search, one result a seed, retrievers and sentences; against the whole matrix, scikit-learn and scipy."""

import math
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from scipy.stats import spearmanr
from sklearn.metrics import ndcg_score
from torch import nn

from contrastive_nb import protocols
from contrastive_nb.data import Retrieval
from contrastive_nb.encoders import seeded, text_tower
from contrastive_nb.negatives import mine, top_k_shifted
from contrastive_nb.objectives import info_nce
from contrastive_nb.protocols import (
    by_seed,
    edges,
    fair_search,
    search_quality,
    sentence_quality,
    small_search,
    train_retriever,
    train_sentences,
)

LOSS = partial(info_nce, temperature=0.1)
RUN = SimpleNamespace(steps=6, batch_size=16, device="cpu", precision="no")


def numbers(seed=0):
    return torch.Generator().manual_seed(seed)


TOPIC = torch.arange(60) % 12
ANSWERS = [set((TOPIC == t).nonzero()[:, 0].tolist()) for t in TOPIC]
TOY = Retrieval(
    [f"d {i}" for i in range(60)], [f"q {i}" for i in range(60)], ANSWERS, torch.arange(30), torch.arange(30, 40), torch.arange(40, 60)
)
QUERIES, DOCUMENTS = (torch.randn(60, 8, generator=numbers(s)) + torch.randn(12, 8, generator=numbers(9))[TOPIC] for s in (0, 1))


def encode(texts):
    return torch.stack([{"q": QUERIES, "d": DOCUMENTS}[text[0]][int(text[2:])] for text in texts])


class Memory:
    "A run that remembers."

    def __init__(self):
        self.seeds, self.search_seeds, self.kept = [0, 1, 2], [7, 8], {}

    def once(self, key, function):
        return self.kept.setdefault(key, function()) if key not in self.kept else self.kept[key]


def test_the_search_tries_everything_on_the_search_seeds_and_remembers():
    run, asked = Memory(), []

    def trial(seed, lr, t):
        asked.append((seed, lr, t))
        return -abs(lr - 2) - t + seed / 100

    best, rows = small_search(run, "x", trial, {"lr": [1, 2, 3], "t": [0, 1]})
    assert best == {"lr": 2, "t": 0} and sorted(asked) == sorted((s, lr, t) for s in (7, 8) for lr in (1, 2, 3) for t in (0, 1))
    assert [row["score"] for row in rows] == sorted((row["score"] for row in rows), reverse=True)
    assert rows[0]["score"] == pytest.approx(0.075)
    assert small_search(run, "x", pytest.fail, {"lr": [1, 2, 3], "t": [0, 1]}) == (best, rows)
    assert by_seed(run, "y", lambda seed: 2 * seed) == [0.0, 2.0, 4.0] == by_seed(run, "y", pytest.fail)


def test_a_claim_fixes_its_seeds_and_ci_has_its_own():
    run = Memory()
    run.profile, run.seeds = "laptop", [3, 4]
    assert by_seed(run, "y", lambda seed: 2 * seed, seeds=4) == [6.0, 8.0, 10.0, 12.0] and set(run.kept) == {f"y/{k}" for k in range(3, 7)}
    run.profile = "ci"
    assert by_seed(run, "y", pytest.fail, seeds=4) == [6.0, 8.0]
    with pytest.raises(ValueError, match="seeds: got 0"):
        by_seed(run, "y", pytest.fail, seeds=0)


@pytest.mark.parametrize(
    "scores, more, found",
    [
        ((0.0, 1.0, 2.0), {}, {"lr": "high"}),
        ((2.0, 1.0, 0.0), {}, {"lr": "low"}),
        ((0.0, 2.0, 1.0), {}, {}),
        ((0.0, 1.96, 2.0), {}, {}),  # flat: less than half of what counts
        ((0.0, 1.95, 2.0), {}, {"lr": "high"}),
        ((0.0, 1.0, 2.0), {"bounds": {"lr": (0.0, 4.0)}}, {}),
        ((0.0, 1.0, 2.0), {"bounds": {"lr": (1.0, 8.0)}}, {"lr": "high"}),
    ],
)
def test_an_edge_is_an_end_that_counts_and_is_no_bound(scores, more, found):
    _, rows = small_search(Memory(), "x", lambda seed, lr: scores[int(lr) // 2], {"lr": [1, 2, 4]})
    assert edges(rows, {"lr": [1, 2, 4]}, e=0.1, **more) == found


def test_an_edge_is_judged_beside_its_neighbour_with_all_else_equal():
    table = {(1, 0): 0.0, (2, 0): 1.0, (1, 1): 1.0, (2, 1): 1.01}  # at y = 0 the neighbour is far worse, at the best y it is not
    _, rows = small_search(Memory(), "x", lambda seed, x, y: table[x, y], {"x": [1, 2], "y": [0, 1]})
    assert edges(rows, {"x": [1, 2], "y": [0, 1]}, e=0.1) == {}


PEAKS = {"one": 4.0, "other": 32.0}  # powers of 2 where each arm is best


def arms(asked=None):
    def trial(arm, seed, rate):
        if asked is not None:
            asked.append((arm, rate))
        return -abs(math.log2(rate / PEAKS[arm]))

    return {"one": lambda seed, lr: trial("one", seed, lr), "other": lambda seed, step: trial("other", seed, step)}


def test_a_grid_is_widened_for_every_arm_alike_and_at_most_twice():
    asked, narrow = [], {"one": {"lr": [2.0, 4.0, 8.0]}, "other": {"step": [2.0, 4.0, 8.0]}}
    found = fair_search(Memory(), "x", arms(asked), narrow, e=0.1)
    assert found["one"].grid["lr"] == found["other"].grid["step"] == [2.0, 4.0, 8.0, 16.0, 32.0]
    assert (found["one"].best, found["other"].best) == ({"lr": 4.0}, {"step": 32.0})
    assert found["one"].edges == {} and found["other"].edges == {"step": "high"}
    assert len(asked) == len(set(asked)) * 2 == 20  # two search seeds; what was tried is not tried again
    assert fair_search(Memory(), "x", arms(), narrow, e=0.1, widenings=3)["other"].edges == {}
    assert fair_search(Memory(), "x", arms(), narrow, e=0.1, widenings=0)["one"].grid == narrow["one"]
    low = fair_search(Memory(), "x", arms(), {"one": {"lr": [8.0, 16.0]}, "other": {"step": [8.0, 16.0]}}, e=0.1, widenings=1)
    assert low["one"].grid["lr"] == [4.0, 8.0, 16.0, 32.0]  # one arm asked for less, the other for more


def test_no_grid_is_widened_beyond_what_makes_sense():
    found = fair_search(
        Memory(), "x", arms(), {"one": {"lr": [2.0, 8.0]}, "other": {"step": [2.0, 8.0]}}, e=0.1, bounds={"step": (0, 10.0)}
    )
    assert found["other"].grid["step"][-1] == 10.0 and found["other"].edges == {}


@pytest.mark.parametrize(
    "trials, grids, said",
    [
        (arms(), {"one": {"lr": [1.0, 2.0]}}, "grids: got one, want one for each of one, other"),
        (arms(), {"one": {"lr": [1.0, 2.0]}, "other": {"step": [1.0, 2.0, 4.0]}}, "grids: got grids of different sizes"),
        ({"one": lambda seed, lr: -lr}, {"one": {"lr": [0.0, 1.0]}}, "grids: lr: got .0.0, 1.0., want values above 0"),
    ],
)
def test_a_search_that_is_not_fair_or_cannot_be_widened_is_refused(trials, grids, said):
    with pytest.raises(ValueError, match=said):
        fair_search(Memory(), "x", trials, grids, e=0.1)


@pytest.mark.parametrize("chunk", [1, 7, 100])
@pytest.mark.parametrize("k", [1, 10, 60])
def test_search_quality_is_that_of_the_whole_matrix(chunk, k):
    got = search_quality(encode, TOY, k=k, chunk=chunk)
    scores = torch.nn.functional.normalize(QUERIES[40:]) @ torch.nn.functional.normalize(DOCUMENTS).T
    right = TOY.labels(TOY.test)
    order = right.gather(1, scores.argsort(1, descending=True))
    assert got["ndcg"] == pytest.approx(ndcg_score(right.float(), scores, k=k) if k > 1 else order[:, 0].float().mean().item(), rel=1e-6)
    assert got["recall"] == pytest.approx((order[:, :k].sum(1) / right.sum(1)).mean().item(), rel=1e-6)
    first = order.int().argmax(1) + 1
    assert got["mrr"] == pytest.approx(torch.where(first <= k, 1 / first, 0.0).mean().item(), rel=1e-6)


def test_search_quality_leaves_out_who_has_no_answer_and_takes_two_encoders():
    nobody = TOY._replace(relevance=[set() if q % 3 == 0 else x for q, x in enumerate(ANSWERS)])
    rows = torch.arange(40, 60)
    kept = rows[rows % 3 != 0]
    assert search_quality(encode, nobody, chunk=2) == pytest.approx(search_quality(encode, TOY, rows=kept, chunk=5))
    assert search_quality((encode, encode), TOY) == search_quality(encode, TOY)
    assert search_quality((lambda texts: -encode(texts), encode), TOY)["ndcg"] < search_quality(encode, TOY)["ndcg"]


def test_no_query_with_an_answer_is_nan():
    empty = TOY._replace(relevance=[set()] * 60)
    assert all(math.isnan(x) for x in search_quality(encode, empty).values())


@pytest.mark.parametrize(("change", "exception", "words"), [
    ({"k": 0}, ValueError, "k: got 0"), ({"chunk": 0}, ValueError, "chunk: got 0"), ({"encode": lambda texts: [1]}, TypeError, "encode: got list"),
])  # fmt: skip
def test_search_quality_refuses_by_name(change, exception, words):
    with pytest.raises(exception, match=words):
        search_quality(**({"encode": encode, "retrieval": TOY} | change))


# ---- retrievers --------------------------------------------------------------------------------------------------------------------


def retriever(objective=LOSS, **options):
    return train_retriever(lambda: text_tower(8, hidden=16), QUERIES, DOCUMENTS, TOY, objective, run=RUN, seed=3, lr=0.01, **options)


MINER = partial(mine, rule=partial(top_k_shifted, k=4, shift=0))


@pytest.mark.parametrize("miner", [None, MINER])
def test_a_retriever_is_compared_with_negatives_that_are_none_of_its_answers(miner):
    seen = []

    def watched(scores, positives, negatives, *rest):
        seen.append((positives.sum(1), negatives.sum(1), scores.shape))
        return LOSS(scores, positives, negatives, *rest)

    retriever(watched, miner=miner, hard=4)
    assert len(seen) == 6
    for positives, negatives, shape in seen:
        assert (positives == 1).all() and shape == (16, 20 if miner else 16)
        assert (negatives <= shape[1] - 1).all() and (negatives < shape[1] - 1).any()  # some answers of a query were met, and ignored
        assert not miner or (negatives >= 4).all()


def test_no_mined_document_is_an_answer_and_the_search_is_repeated():
    asked = []

    def watched(query, corpus, **options):
        found = MINER(query, corpus, **options)
        asked.append(found)
        assert len(query) == 30 and len(corpus) == 60 and found.shape == (30, 4)
        assert not any(set(row) & ANSWERS[q] for q, row in enumerate(found.tolist()))
        return found

    retriever(miner=watched, refresh_every=2)
    assert len(asked) == 3 and not torch.equal(asked[0], asked[2])


def test_a_retriever_that_was_stopped_ends_in_the_same_bits(tmp_path):
    options = {"miner": MINER, "refresh_every": 4, "steps": 9}
    whole, calls = retriever(**options), []

    def failing(*pairs):
        calls.append(0)
        if len(calls) == 6:
            raise InterruptedError
        return LOSS(*pairs)

    with pytest.raises(InterruptedError):
        retriever(failing, checkpoint=tmp_path / "run.pt", **options)
    again = retriever(checkpoint=tmp_path / "run.pt", **options)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), again.parameters(), strict=True))
    other = retriever(**(options | {"refresh_every": 3}))
    assert not all(torch.equal(a, b) for a, b in zip(whole.parameters(), other.parameters(), strict=True))  # what is mined matters


def test_a_retriever_learns():
    learned = retriever(steps=80)
    quality = lambda model: search_quality(lambda texts: model(encode(texts)), TOY, rows=TOY.train)["ndcg"]  # noqa: E731
    assert quality(learned) > quality(seeded(3, lambda: text_tower(8, hidden=16))) + 0.03


@pytest.mark.parametrize(("change", "exception", "words"), [
    ({"queries": QUERIES[1:]}, ValueError, "queries: got 59 rows, want 60, as retrieval has"), ({"documents": [1]}, TypeError, "documents: got list"),
    ({"hard": 0}, ValueError, "hard: got 0"), ({"refresh_every": 0, "miner": MINER}, ValueError, "refresh_every: got 0"),
])  # fmt: skip
def test_a_retriever_refuses_by_name(change, exception, words):
    given = {
        "tower": lambda: text_tower(8),
        "queries": QUERIES,
        "documents": DOCUMENTS,
        "retrieval": TOY,
        "objective": LOSS,
        "run": RUN,
        "seed": 0,
    }
    with pytest.raises(exception, match=words):
        train_retriever(**(given | change))


# ---- sentences -----------------------------------------------------------------------------------------------------------------------


def test_twins_are_one_input_read_twice_with_other_dropout():
    seen = []

    class Watched(nn.Module):
        def __init__(self):
            super().__init__()
            self.drop, self.net = nn.Dropout(0.5), nn.Linear(8, 4)

        def forward(self, x):
            assert torch.equal(*x.chunk(2))
            seen.append(dropped := self.drop(x))
            return self.net(dropped)

    one, again = (train_sentences(Watched, QUERIES, LOSS, run=RUN, seed=1) for _ in range(2))
    assert len(seen) == 12 and not torch.equal(*seen[0].chunk(2))
    assert torch.equal(one.net.weight, again.net.weight) and not torch.equal(one.net.weight, seeded(1, Watched).net.weight)


def test_sentence_quality_is_the_rank_correlation_of_the_cosines():
    first, second, grades = QUERIES[:20], DOCUMENTS[:20], torch.arange(20) % 6
    cosines = [torch.cosine_similarity(a, b, dim=0).item() for a, b in zip(first, second, strict=True)]
    assert sentence_quality(lambda x: x, first, second, grades) == pytest.approx(spearmanr(cosines, grades).statistic)
    with pytest.raises(ValueError, match="second: got 20, 19 and 20"):
        sentence_quality(lambda x: x, first, second[1:], grades)
    with pytest.raises(TypeError, match="encode: got list"):
        sentence_quality(lambda x: [1], first, second, grades)


def test_pretrain_is_the_exported_one_and_learns_from_the_run():
    seen = []
    images = torch.rand(40, 1, 8, 8, generator=numbers())
    protocols.pretrain(images, lambda *pairs: seen.append(pairs[0].shape) or LOSS(*pairs), run=RUN, seed=0, width=4)
    assert seen == [(32, 32)] * 6
