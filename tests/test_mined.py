"Retrievers with mined negatives on the bench of topics: the reference is met, draws are what they say, towers stay still where they should."

import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from contrastive_nb import worlds
from contrastive_nb.lab import benches, mined


@pytest.fixture(scope="module")
def small():
    "The bench of topics, with a world that is made in a moment."

    def world(seed):
        train = worlds.topics(seed, topics=5, families=2, documents=60, queries=40, vocabulary=80)
        test = worlds.fresh_topics(train, seed + 1, documents=30, queries=10)
        counts = {name: made.counts(words).log1p() for name, made, words in [
            ("asked", train, train.queries), ("stored", train, train.documents),
            ("test_asked", test, test.queries), ("test_stored", test, test.documents),
        ]}  # fmt: skip
        return SimpleNamespace(train=train, test=test, **counts)

    bench = benches.bench("topics", SimpleNamespace(profile="laptop", device="cpu", precision="no"))
    return replace(bench, world=world, settings=dict(bench.settings) | {"batch": 16, "steps": 6})


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def a_table(small, k=5):
    world = mined.world_of(small, 0)
    return torch.stack([torch.randperm(len(world.stored), generator=torch.Generator().manual_seed(i))[:k] for i in range(len(world.asked))])


def test_without_mined_documents_it_is_the_reference_to_the_bit(small):
    assert torch.equal(weights(mined.train(small, 3)), weights(small.train(3)))
    assert mined.score(small, 3, lr=1e-3) == small.score(3, lr=1e-3)


def test_draws_are_of_the_query_and_without_replacement():
    table = torch.tensor([[1, 2, 3, 4, 5], [6, -1, 7, -1, -1], [-1] * 5])
    negatives, generator = mined.Mined(table, each=3), torch.Generator().manual_seed(0)
    seen = set()
    for _ in range(50):
        first, second, third = negatives.draw(torch.tensor([0, 1, 2]), generator).tolist()
        seen |= set(first)
        assert len(set(first)) == 3
        assert sorted(second) == [-1, 6, 7]
        assert third == [-1, -1, -1]
    assert seen == {1, 2, 3, 4, 5}
    assert mined.Mined(table[:, :2], each=3).draw(torch.tensor([0]), generator).shape == (1, 3)


def test_the_batch_alone_and_the_mined_alone(small):
    rows = mined.Rows(torch.arange(3), torch.arange(3), torch.tensor([[4, 5], [6, -1], [-1, -1]]))
    query, document, hard = (torch.randn(*size, 4, generator=torch.Generator().manual_seed(1)) for size in ((3,), (3,), (3, 2)))
    own = mined.alone(query, document, hard, rows)
    assert own.positives.sum(1).tolist() == [1, 1, 1]
    assert own.negatives.tolist() == [[False] * 3 + [True, True], [False] * 3 + [True, False], [False] * 5]
    both = mined.pairs(query, document, hard, rows)
    assert both.negatives.sum(1).tolist() == [4, 3, 2, 2, 2, 2]
    assert both.positives.sum(1).tolist() == [1] * 6


def test_a_table_is_made_anew_and_documents_stand_still(small):
    steps, table = [], a_table(small)

    def again(model, step):
        steps.append(step)
        return table.flip(1)

    start = small.train(0)
    before = {name: value.clone() for name, value in start.state_dict().items()}
    model = mined.train(small, 0, None, mined.Mined(table, 2, again, every=2), start=start, frozen=True)
    assert steps == [0, 2, 4]
    assert torch.equal(model.second.weight, start.second.weight)
    assert not torch.equal(model.first.weight, start.first.weight)
    assert all(torch.equal(value, before[name]) for name, value in start.state_dict().items())


def test_mined_documents_change_what_is_learned(small):
    table = a_table(small)
    assert not torch.equal(weights(mined.train(small, 0, None, mined.Mined(table))), weights(mined.train(small, 0)))
    assert not torch.equal(weights(mined.train(small, 0, None, mined.Mined(table), mined.alone)), weights(mined.train(small, 0)))


def test_the_rate_of_false_ones_counts_what_is_there(small):
    world = mined.world_of(small, 0)
    right = world.train.relevance.float().topk(2, 1).indices
    wrong = (~world.train.relevance).float().topk(2, 1).indices
    assert mined.false_rate(right, world) == 1
    assert mined.false_rate(torch.cat([right, wrong, torch.full_like(right, -1)], 1), world) == 0.5
    assert math.isnan(mined.false_rate(torch.full_like(right, -1), world))


def test_wrong_arguments_are_named(small):
    with pytest.raises(ValueError, match="table: got torch.float32"):
        mined.Mined(torch.zeros(3, 2))
    with pytest.raises(ValueError, match="each"):
        mined.Mined(torch.zeros(3, 2, dtype=torch.long), each=0)
    with pytest.raises(TypeError, match="settings: got heat"):
        mined.train(small, 0, heat=2)
