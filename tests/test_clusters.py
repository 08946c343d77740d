"""Clusters beside a training: who is suspected, where the centres begin, and how they follow."""

import io

import pytest
import torch
import torch.nn.functional as F

from contrastive_nb.debiasing import Clusters, bidirectional_margin, cluster_negatives
from contrastive_nb.objectives import info_nce, triplet
from contrastive_nb.pairs import in_batch, two_views


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


Y = torch.arange(12) % 3


def test_by_the_true_classes_all_false_negatives_go_and_nothing_else():
    pairs = in_batch(draw(12, 4), draw(12, 4, seed=1))
    same = Y[:, None] == Y
    assert torch.equal(cluster_negatives(pairs, Y).negatives, ~same)
    assert torch.equal(cluster_negatives(pairs, Y, suspects=True).negatives, same & pairs.negatives)
    assert torch.equal(cluster_negatives(pairs, Y, 2 - Y).negatives, pairs.negatives & (Y[:, None] != 2 - Y))


def test_an_item_without_a_cluster_suspects_nobody():
    pairs = two_views(draw(6, 4), draw(6, 4, seed=1))
    nobody = torch.full((12,), -1)
    assert torch.equal(cluster_negatives(pairs, nobody).negatives, pairs.negatives)
    assert not cluster_negatives(pairs, nobody, suspects=True).negatives.any()
    alone = cluster_negatives(pairs, torch.arange(12))
    assert abs(info_nce(*alone, temperature=0.2) - info_nce(*pairs, temperature=0.2)) < 1e-10


def test_two_hinges_are_two_triplet_losses():
    scores, kind = draw(9, 7), torch.randint(0, 3, (9, 7), generator=torch.Generator().manual_seed(0))
    positives, negatives = kind == 0, kind == 1
    both = triplet(scores, positives, negatives, margin=0.2) + triplet(scores, negatives, positives, margin=0.0)
    assert torch.isclose(bidirectional_margin(scores, positives, negatives, alpha=0.2, beta=0.0), both, rtol=1e-12)


def test_each_centre_is_the_item_least_like_the_last():
    z = F.normalize(draw(20, 5).float(), dim=1)
    clusters = Clusters(6, 5)
    clusters.start(z, torch.Generator().manual_seed(3))
    rows = (clusters.centres @ z.T).argmax(1).tolist()  # its own row is the nearest one
    assert len(set(rows)) == 6 and rows[0] == int(torch.randint(20, (), generator=torch.Generator().manual_seed(3)))
    for i in range(1, 6):
        left = [j for j in range(20) if j not in rows[:i]]
        assert rows[i] == min(left, key=lambda j: float(z[j] @ z[rows[i - 1]]))


def test_a_centre_moves_by_its_rate_and_one_without_items_stays():
    clusters = Clusters(2, 2, rate=0.25)
    clusters.centres.copy_(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]))
    clusters.started.fill_(True)
    z = torch.tensor([[0.0, 2.0], [3.0, 0.0]])  # the first ties and goes to the first; lengths do not matter
    clusters.update(z[1:])
    assert clusters.centres.tolist() == [[1.0, 0.0], [-1.0, 0.0]]
    clusters.update(torch.tensor([[3.0, 4.0]]))
    assert torch.allclose(clusters.centres, torch.tensor([[0.75 + 0.25 * 0.6, 0.25 * 0.8], [-1.0, 0.0]]))
    assert clusters.assign(torch.tensor([[1.0, 0.1], [-1.0, 0.1]])).tolist() == [0, 1]
    assert torch.equal(clusters.second(torch.tensor([[1.0, 0.1]])), clusters.centres[1:])


def test_nothing_learns_through_the_centres_and_a_checkpoint_keeps_them():
    z = draw(20, 5).float().requires_grad_()
    clusters = Clusters(6, 5, rate=0.5)
    assert (clusters.assign(z) == -1).all()
    clusters.start(z, torch.Generator().manual_seed(0))
    clusters.update(z)
    assert not clusters.second(z).requires_grad and not clusters.centres.requires_grad and not list(clusters.parameters())
    kept = io.BytesIO()
    torch.save(clusters.state_dict(), kept)
    kept.seek(0)
    again = Clusters(6, 5)
    again.load_state_dict(torch.load(kept))
    assert torch.equal(again.assign(z), clusters.assign(z)) and again.started


@pytest.mark.parametrize("call, said", [
    (lambda: Clusters(1, 4), "count"),
    (lambda: Clusters(3, 4, rate=2.0), "rate"),
    (lambda: Clusters(3, 4).update(torch.randn(5, 4)), "centres: got none yet"),
    (lambda: Clusters(3, 4).second(torch.randn(5, 4)), "centres: got none yet"),
    (lambda: Clusters(3, 4).start(torch.randn(2, 4)), "z: got 2 items"),
    (lambda: Clusters(3, 4).start(torch.randn(5, 3)), "z"),
    (lambda: cluster_negatives(in_batch(draw(4, 3), draw(4, 3)), torch.arange(3)), "clusters"),
    (lambda: cluster_negatives(in_batch(draw(4, 3), draw(4, 3), draw(4, 3)), torch.arange(4)), "key_clusters"),
    (lambda: cluster_negatives(in_batch(draw(4, 3), draw(4, 3)), torch.arange(4), suspects=1), "suspects"),
])  # fmt: skip
def test_wrong_input_is_refused_by_name(call, said):
    with pytest.raises((TypeError, ValueError), match=f"^{said}"):
        call()
