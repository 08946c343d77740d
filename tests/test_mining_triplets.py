"""Semi-hard and batch hard against other libraries, and what the harness does not ask of the two functions of the page."""

import pytest
import torch
from harness import normal

from contrastive_nb import negatives
from contrastive_nb.negatives import batch_hard, per_positive, semi_hard
from contrastive_nb.objective import weigh
from contrastive_nb.objectives import triplet
from contrastive_nb.pairs import Pairs, from_labels, in_batch

LABELS = torch.arange(24) % 5  # classes of five and of four


def points(seed, near=1.0):
    "Items of five classes; `near` below 1 draws each class together, so that some triplets are easy and some rows have nothing farther."
    return normal(5, 3, seed=100 + seed)[LABELS] * (1 - near) + near * normal(24, 3, seed=seed)


def distances(z):
    return from_labels(z, LABELS, similarity="neg_euclidean")


def listed(pairs, of):
    "The triplets (anchor, positive, negative) of rows, whose anchors are `of`."
    rows, columns = pairs.negatives.nonzero(as_tuple=True)
    positive = pairs.positives.int().argmax(1)
    return set(zip(of[rows].tolist(), positive[rows].tolist(), columns.tolist(), strict=True))


def anchors(pairs):
    return pairs.positives.nonzero()[:, 0]


# ---- pytorch-metric-learning: which triplets ---------------------------------------------------------------------------------------


miner_rule = semi_hard


def mined(z, kind, **options):
    "The triplets that a miner lists, on distances of embeddings as they are."
    distance = pytest.importorskip("pytorch_metric_learning.distances").LpDistance(normalize_embeddings=False)
    from pytorch_metric_learning import miners

    found = getattr(miners, kind)(distance=distance, **options)(z, LABELS)
    return set(zip(*(x.tolist() for x in found), strict=True))


@pytest.mark.parametrize("near", [1.0, 0.3])
@pytest.mark.parametrize("margin", [0.1, 0.5, 2.0])
@pytest.mark.parametrize("seed", range(3))
def test_semi_hard_of_each_positive_lists_the_triplets_of_the_miner(seed, margin, near):
    z = points(seed, near)
    pairs = distances(z)
    theirs = mined(z, "TripletMarginMiner", margin=margin, type_of_triplets="semihard")
    assert theirs and listed(miner_rule(per_positive(pairs), margin), anchors(pairs)) == theirs


@pytest.mark.parametrize("near", [1.0, 0.3])
@pytest.mark.parametrize("seed", range(3))
def test_batch_hard_lists_the_triplets_of_the_miner(seed, near):
    z = points(seed, near)
    assert listed(batch_hard(distances(z)), torch.arange(len(z))) == mined(z, "BatchHardMiner")


def test_a_query_alone_does_not_list_them():
    z = points(0)
    alone = semi_hard(distances(z), 0.5).negatives.nonzero().tolist()
    theirs = mined(z, "TripletMarginMiner", margin=0.5, type_of_triplets="semihard")
    assert {(a, n) for a, n in alone} < {(a, n) for a, _, n in theirs}


# ---- sentence-transformers: values and gradients ------------------------------------------------------------------------------------


def sentence_loss(name, z, margin):
    losses = pytest.importorskip("sentence_transformers.sentence_transformer").losses
    return getattr(losses, name)(torch.nn.Identity(), margin=margin).compute_loss_from_embeddings([z], LABELS)


def nearest_farther(pairs):
    return semi_hard(per_positive(pairs), None, 1)


def never_silent(pairs):
    "The nearest of the farther negatives, else the farthest: what sentence-transformers takes."
    rows = per_positive(pairs)
    nearest, farthest = semi_hard(rows, None, 1).negatives, batch_hard(rows, by=-rows.scores).negatives
    return rows._replace(negatives=torch.where(nearest.any(1, keepdim=True), nearest, farthest))


def same_loss(name, narrow, z, margin):
    z = z.clone().requires_grad_()
    ours, theirs = triplet(*narrow(distances(z)), margin=margin), sentence_loss(name, z, margin)
    for one, other in zip((ours, *torch.autograd.grad(ours, z)), (theirs, *torch.autograd.grad(theirs, z)), strict=True):
        torch.testing.assert_close(one, other.to(one.dtype), rtol=1e-6, atol=1e-7)
    assert theirs > 0


@pytest.mark.parametrize("margin", [0.2, 5.0])
@pytest.mark.parametrize("seed", range(3))
def test_the_nearest_farther_negative_is_sentence_transformers_semi_hard(seed, margin):
    z = points(seed, near=0.3)
    assert nearest_farther(distances(z)).negatives.any(1).all()
    same_loss("BatchSemiHardTripletLoss", nearest_farther, z, margin)


@pytest.mark.parametrize("seed", range(3))
def test_and_with_the_farthest_one_where_nothing_is_farther(seed):
    z = points(seed)
    z[7] *= 6  # an item far from all: as a positive it has nothing beyond it
    assert not nearest_farther(distances(z)).negatives.any(1).all()
    same_loss("BatchSemiHardTripletLoss", never_silent, z, 0.5)


@pytest.mark.parametrize("margin", [0.2, 5.0])
@pytest.mark.parametrize("near", [1.0, 0.3])
def test_batch_hard_is_sentence_transformers_batch_hard(margin, near):
    same_loss("BatchHardTripletLoss", batch_hard, points(0, near), margin)


def every_negative(pairs, margin):
    return pairs


def all_that_is_nearer(pairs, margin):
    return pairs._replace(negatives=pairs.negatives & ~semi_hard(pairs, None).negatives)


def without_a_lower_end(pairs, margin):
    return semi_hard(pairs, None)


def the_hardest_alone(pairs, margin):
    return semi_hard(pairs, margin, 1)


@pytest.mark.parametrize("wrong", [every_negative, all_that_is_nearer, without_a_lower_end, the_hardest_alone])
def test_a_wrong_semi_hard_is_found(monkeypatch, wrong):
    monkeypatch.setattr("test_mining_triplets.miner_rule", wrong)
    with pytest.raises(AssertionError):
        test_semi_hard_of_each_positive_lists_the_triplets_of_the_miner(0, 0.1, 1.0)


# ---- a row a positive -----------------------------------------------------------------------------------------------------------------


def ragged(weights=None):
    kind = torch.tensor([[0, 0, 1, 1, 2], [1, 1, 1, 2, 2], [0, 1, 0, 0, 2]])
    return Pairs(normal(3, 5), kind == 0, kind == 1, weights)


def test_each_positive_has_a_row_with_all_the_negatives():
    made = per_positive(ragged())
    assert made.positives.nonzero().tolist() == [[0, 0], [1, 1], [2, 0], [3, 2], [4, 3]]
    assert torch.equal(made.negatives, ragged().negatives[[0, 0, 2, 2, 2]]) and torch.equal(made.scores, ragged().scores[[0, 0, 2, 2, 2]])


def test_a_positive_of_weight_0_has_none_and_its_shares_can_be_given_back():
    weights = torch.tensor([[3.0, 1, 1, 1, 0], [1, 1, 1, 1, 1], [1, 1, 0, 2, 1]])
    pairs = ragged(weights)
    made = per_positive(pairs)
    assert made.positives.nonzero()[:, 1].tolist() == [0, 1, 0, 3] and torch.equal(made.weights, weights[[0, 0, 2, 2]])
    whole = triplet(*pairs, reduction="none")[[0, 2]].mean()
    share = torch.tensor([3 / 4, 1 / 4, 1 / 3, 2 / 3])
    assert torch.isclose(weigh(triplet(*made, reduction="none"), share.to(made.scores.dtype)), whole)


def test_with_one_positive_a_row_it_changes_nothing():
    pairs = in_batch(normal(6, 4), normal(6, 4, seed=1))
    for one, other in zip(per_positive(pairs)[:3], pairs[:3], strict=True):
        assert torch.equal(one, other)


def test_the_gradient_goes_through_the_rows():
    z = points(0).requires_grad_()
    whole, rows = triplet(*distances(z), margin=9.0, reduction="none"), triplet(*per_positive(distances(z)), margin=9.0, reduction="none")
    counts = distances(z).positives.sum(1)
    torch.testing.assert_close((whole * counts).sum(), rows.sum())
    torch.testing.assert_close(*(torch.autograd.grad(x, z)[0] for x in ((whole * counts).sum(), rows.sum())))


def test_by_another_judge_the_students_scores_stay():
    pairs, judge = distances(points(0)), distances(points(1)).scores
    rows = per_positive(pairs)
    kept = semi_hard(rows, 0.5, by=per_positive(pairs._replace(scores=judge)).scores)
    assert kept.scores is rows.scores and torch.equal(kept.negatives, semi_hard(per_positive(pairs._replace(scores=judge)), 0.5).negatives)
    assert not torch.equal(kept.negatives, semi_hard(rows, 0.5).negatives)


@pytest.mark.parametrize("keys", [0, 1])
def test_no_key_and_no_positive(keys):
    nothing = torch.zeros(3, keys, dtype=torch.bool)
    pairs = Pairs(torch.zeros(3, keys), nothing, nothing)
    assert per_positive(pairs).scores.shape == (0, keys) and semi_hard(pairs, 0.5).negatives.shape == (3, keys)


def test_ends_of_the_band():
    marked = torch.tensor([[True, False, False, False, False, False]])
    pairs = Pairs(torch.tensor([[0.5, 0.5, 0.25, 0.0, -0.125, torch.nan]]), marked, ~marked)
    assert semi_hard(pairs, 0.5).negatives.tolist() == [[False, False, True, True, False, True]]  # the upper end is out, the lower one in
    assert semi_hard(pairs, 0.5, 1).negatives.tolist() == [[False, False, True, False, False, True]]
    assert semi_hard(pairs, None).negatives.tolist() == [[False, False, True, True, True, True]]


def test_both_are_among_the_public_names():
    assert {"semi_hard", "per_positive"} <= set(negatives.__all__)
