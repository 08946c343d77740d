"""Batch composers: what the harness does not ask. Who meets whom, how many batches there are, what is refused."""

import pytest
import torch

from contrastive_nb.negatives import by_class, by_cluster, by_group, by_neighbour


def numbers(seed=0):
    return torch.Generator().manual_seed(seed)


def epoch(compose, generator=None):
    generator = generator or numbers()
    return torch.stack([compose(generator) for _ in range(len(compose))])


def labels(*sizes):
    return torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))


@pytest.mark.parametrize("sizes, classes, each", [
    ((4, 4, 4), 3, 2), ((11, 5, 4, 2), 2, 2), ((9, 1, 1, 1), 2, 1), ((20, 3, 3), 1, 3), ((6, 6, 6, 6, 6), 2, 3), ((7, 4, 2), 2, 2),
])  # fmt: skip
def test_a_batch_has_so_many_of_so_many_classes_and_an_epoch_as_many_as_fit(sizes, classes, each):
    y = labels(*sizes)
    packs = [size // each for size in sizes]
    most = max(b for b in range(sum(packs) + 1) if sum(min(p, b) for p in packs) >= classes * b)
    compose = by_class(y * 7 - 3, classes, each)  # any integers are classes
    for seed in range(20):
        dealt = epoch(compose, numbers(seed))
        assert dealt.shape == (most, classes * each)
        for batch in dealt:
            found, counts = y[batch].unique(return_counts=True)
            assert len(found) == classes and (counts == each).all()
        assert len(dealt.unique()) == dealt.numel()


def test_which_items_sit_out_changes_from_epoch_to_epoch():
    compose, generator = by_class(labels(3, 3), 2, 2), numbers()
    assert len({tuple(sorted(epoch(compose, generator).flatten().tolist())) for _ in range(40)}) == 9


def test_a_batch_is_of_one_group_and_small_groups_never_come_up():
    y = labels(8, 3, 5)
    dealt = epoch(by_group(y, 4))
    assert dealt.shape == (3, 4) and (y[dealt] == y[dealt][:, :1]).all() and y[dealt].unique().tolist() == [0, 2]


def test_neighbours_are_the_nearest_that_are_left():
    z = torch.randn(20, 4, generator=numbers(3))
    unit = torch.nn.functional.normalize(z)
    left = torch.ones(20, dtype=torch.bool)
    for batch in epoch(by_neighbour(z * torch.arange(1, 21)[:, None], 5)):  # lengths do not matter
        scores = (unit @ unit[batch[0]]).masked_fill(~left, -2)
        assert set(batch.tolist()) == set(scores.topk(5).indices.tolist())
        left[batch] = False


def test_new_embeddings_and_clusters_count_from_the_next_epoch_on():
    near, generator = by_neighbour(torch.eye(4)[[0, 0, 1, 1]], 2), numbers()
    assert {frozenset(x) for x in epoch(near, generator).tolist()} == {frozenset({0, 1}), frozenset({2, 3})}
    near.update(torch.eye(4)[[0, 1, 0, 1]])
    assert {frozenset(x) for x in epoch(near, generator).tolist()} == {frozenset({0, 2}), frozenset({1, 3})}
    groups = by_cluster(torch.tensor([0, 0, 1, 1]), 2)
    assert {frozenset(x) for x in epoch(groups, generator).tolist()} == {frozenset({0, 1}), frozenset({2, 3})}
    groups.update(torch.tensor([0, 1, 0, 1]))
    assert {frozenset(x) for x in epoch(groups, generator).tolist()} == {frozenset({0, 2}), frozenset({1, 3})}


def test_whole_clusters_stay_together_where_they_fit():
    y = labels(*[4] * 6)
    dealt = epoch(by_cluster(y, 8))
    assert all(len(y[batch].unique()) == 2 for batch in dealt) and dealt.flatten().sort().values.tolist() == list(range(24))


@pytest.mark.parametrize("call, exception, words", [
    (lambda: by_class(labels(4, 4), 3, 2), ValueError, "classes: got 3, want at most 2, those with 2 items or more"),
    (lambda: by_class(labels(4, 4), 1, 5), ValueError, "classes: got 1, want at most 0"),
    (lambda: by_class(labels(4, 4).float(), 1, 1), TypeError, "y: got"), (lambda: by_class(labels(4)[None], 1, 1), TypeError, r"y: got \(1, 4\)"),
    (lambda: by_class(labels(4)[:0], 1, 1), TypeError, r"y: got \(0,\)"),
    (lambda: by_group(labels(4, 3), 5), ValueError, "size: got 5, want a whole number from 1 to 4"),
    (lambda: by_cluster(labels(4, 3), 8), ValueError, "size: got 8, want at most 7"),
    (lambda: by_neighbour(torch.zeros(4), 2), ValueError, "z: got shape"), (lambda: by_neighbour(torch.zeros(4, 2), 5), ValueError, "size: got 5, want at most 4"),
    (lambda: by_neighbour(torch.zeros(4, 2), 2).update(torch.zeros(4, 3)), ValueError, r"z: got shape \(4, 3\), want \(4, 2\)"),
    (lambda: by_cluster(labels(4), 2).update(labels(5)), ValueError, "cluster: got 5 items, want 4"),
    (lambda: by_cluster(labels(4), 2)(3), TypeError, "generator: got int"),
])  # fmt: skip
def test_what_cannot_be_dealt_is_refused_by_name(call, exception, words):
    with pytest.raises(exception, match=words):
        call()
