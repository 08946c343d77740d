"""Metrics against scikit-learn, scipy and counts by loops: ties, weights, missing kinds, errors, invariances."""

import itertools
import math

import numpy as np
import pytest
import scipy.spatial.distance
import scipy.stats
import sklearn.metrics
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from contrastive_nb import metrics
from contrastive_nb.metrics import (
    alignment,
    auc,
    average_precision,
    calibration_bins,
    calibration_error,
    cluster_accuracy,
    few_label_accuracy,
    kendall,
    knn_accuracy,
    linear_probe,
    mask_quality,
    mrr_at,
    ndcg_at,
    purity,
    rankme,
    recall_at,
    roc,
    spearman,
    uniformity,
)


def close(a, b, tolerance=1e-12):
    return math.isclose(a, b, rel_tol=tolerance, abs_tol=tolerance)


@st.composite
def pairs(draw, queries=4, keys=6, levels=4):
    "Scores full of ties, and masks that leave some pairs out and some queries without a kind."
    q, k = draw(st.integers(1, queries)), draw(st.integers(1, keys))
    cell = st.tuples(st.integers(0, levels - 1), st.sampled_from("PPNN."))
    cells = draw(st.lists(cell, min_size=q * k, max_size=q * k))
    scores = torch.tensor([c[0] for c in cells], dtype=torch.float32).reshape(q, k)
    kinds = np.array([c[1] for c in cells]).reshape(q, k)
    return scores, torch.tensor(kinds == "P"), torch.tensor(kinds == "N")


def loop_auc(scores, positives, negatives, weights):
    won = total = 0.0
    for i, j in itertools.product(range(scores.numel()), repeat=2):
        if positives.flatten()[i] and negatives.flatten()[j]:
            w = float(weights.flatten()[i] * weights.flatten()[j])
            a, b = scores.flatten()[i], scores.flatten()[j]
            won, total = won + w * (float(a > b) + 0.5 * float(a == b)), total + w
    return won / total if total else math.nan


def same(a, b, tolerance=1e-10):
    return close(a, b, tolerance) or (math.isnan(a) and math.isnan(b))


@settings(max_examples=60, deadline=None)
@given(pairs(), st.integers(0, 5))
def test_auc_is_the_double_loop(drawn, seed):
    scores, positives, negatives = drawn
    weights = torch.randint(0, 4, scores.shape, generator=torch.Generator().manual_seed(seed)).float()
    ones = torch.ones_like(scores)
    assert same(auc(*drawn), loop_auc(*drawn, ones))
    assert same(auc(*drawn, weights), loop_auc(*drawn, weights))
    rows = [loop_auc(*(part[q] for part in drawn), ones[q]) for q in range(len(scores))]
    rows = [r for r in rows if not math.isnan(r)]
    assert same(auc(*drawn, pooled=False), np.mean(rows) if rows else math.nan)


@settings(max_examples=60, deadline=None)
@given(pairs(), st.integers(0, 1000))
def test_auc_invariances(drawn, seed):
    scores, positives, negatives = drawn
    value = auc(*drawn)
    generator = torch.Generator().manual_seed(seed)
    rows, columns = (torch.randperm(n, generator=generator) for n in scores.shape)
    assert same(auc(*(part[rows][:, columns] for part in drawn)), value)
    assert same(auc(3 * scores.double() - 7, positives, negatives), value)
    assert same(auc(scores.double().exp(), positives, negatives), value)
    assert same(auc(-scores, positives, negatives), 1 - value)
    assert same(auc(scores, negatives, positives), 1 - value)
    assert same(auc(*(torch.cat([part, part]) for part in drawn)), value)
    shift = torch.randn(len(scores), 1, generator=generator, dtype=torch.float64)
    assert same(auc(scores.double() + shift, positives, negatives, pooled=False), auc(*drawn, pooled=False))


@settings(max_examples=60, deadline=None)
@given(pairs(), st.integers(2, 30))
def test_roc_has_the_area_of_auc(drawn, points):
    curve = roc(*drawn)
    assert same(float(torch.trapezoid(curve.tpr, curve.fpr)) if len(curve.fpr) > 1 else math.nan, auc(*drawn))
    mean = roc(*drawn, pooled=False, points=points)
    assert len(mean.fpr) == points and mean.thresholds is None
    value = auc(*drawn, pooled=False)
    if math.isnan(value):
        assert mean.tpr.isnan().all()
    else:
        assert abs(float(torch.trapezoid(mean.tpr, mean.fpr)) - value) <= 1 / (points - 1) + 1e-12
        assert (mean.tpr.diff() >= -1e-12).all() and close(float(mean.tpr[-1]), 1)


def test_roc_is_scikit_learns(seed=3):
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randint(0, 20, (40, 30), generator=generator).float()
    positives = torch.rand(40, 30, generator=generator) < 0.3
    weights = torch.rand(40, 30, generator=generator, dtype=torch.float64)
    theirs = sklearn.metrics.roc_curve(positives.flatten(), scores.flatten(), sample_weight=weights.flatten(), drop_intermediate=False)
    for ours, other in zip(roc(scores, positives, ~positives, weights), theirs, strict=True):
        np.testing.assert_allclose(ours, other, rtol=1e-12)


def test_auc_of_many_pairs_is_scipys():
    generator = torch.Generator().manual_seed(0)
    scores, positives = torch.randn(300, 400, generator=generator), torch.rand(300, 400, generator=generator) < 0.01
    u = scipy.stats.mannwhitneyu(scores[positives].double(), scores[~positives].double()).statistic
    assert close(auc(scores, positives, ~positives), u / (int(positives.sum()) * int((~positives).sum())))


def over_orders(scores, positives, negatives, count):
    "Mean over queries of the mean over all orders that the scores allow."
    values = []
    for s, p, n in zip(scores.tolist(), positives.tolist(), negatives.tolist(), strict=True):
        used = [i for i in range(len(s)) if p[i] or n[i]]
        if any(p):
            orders = [o for o in itertools.permutations(used) if all(s[a] >= s[b] for a, b in itertools.pairwise(o))]
            values.append(np.mean([count([p[i] for i in order]) for order in orders]))
    return float(np.mean(values)) if values else math.nan


@settings(max_examples=40, deadline=None)
@given(pairs(queries=3, keys=5, levels=3), st.integers(1, 7))
def test_recall_and_mrr_are_the_mean_over_tied_orders(drawn, k):
    assert same(recall_at(*drawn, k=k), over_orders(*drawn, lambda hits: sum(hits[:k]) / sum(hits)))
    first = lambda hits: 1 / (hits.index(True) + 1) if hits.index(True) < k else 0
    assert same(mrr_at(*drawn, k=k), over_orders(*drawn, first))
    assert same(average_precision(*drawn), over_orders(*drawn, mean_precision))


def mean_precision(hits):
    return sum(sum(hits[: r + 1]) / (r + 1) for r, hit in enumerate(hits) if hit) / sum(hits)


def test_average_precision_is_scikit_learns_where_nothing_is_tied():
    generator = torch.Generator().manual_seed(1)
    scores, positives = torch.randn(40, 30, generator=generator), torch.rand(40, 30, generator=generator) < 0.2
    want = [sklearn.metrics.average_precision_score(p, s) for s, p in zip(scores, positives, strict=True) if p.any()]
    assert close(average_precision(scores, positives, ~positives), np.mean(want))


@settings(max_examples=60, deadline=None)
@given(pairs(queries=3, keys=5, levels=3), st.integers(1, 7), st.data())
def test_what_was_not_retrieved_is_no_hit_and_still_there_to_be_found(drawn, k, data):
    "The loop ranks what was retrieved alone, and divides by all positives."
    scores, positives, negatives = drawn
    missing = torch.tensor(data.draw(st.lists(st.booleans(), min_size=scores.numel(), max_size=scores.numel()))).view_as(scores)
    cut = torch.where(missing, -math.inf, scores)
    wanted = {
        "recall": lambda hits, all_of_them: sum(hits[:k]) / all_of_them,
        "mrr": lambda hits, _: max([1 / (r + 1) for r, hit in enumerate(hits[:k]) if hit], default=0),
        "ap": lambda hits, all_of_them: sum(sum(hits[: r + 1]) / (r + 1) for r, hit in enumerate(hits) if hit) / all_of_them,
    }
    got = {
        "recall": recall_at(cut, positives, negatives, k=k),
        "mrr": mrr_at(cut, positives, negatives, k=k),
        "ap": average_precision(cut, positives, negatives),
    }
    for name, count in wanted.items():
        values = []
        for q in range(len(scores)):
            if positives[q].any():
                used = [i for i in range(scores.shape[1]) if (positives | negatives)[q, i] and not missing[q, i]]
                orders = [o for o in itertools.permutations(used) if all(scores[q, a] >= scores[q, b] for a, b in itertools.pairwise(o))]
                values.append(np.mean([count([bool(positives[q, i]) for i in o], int(positives[q].sum())) for o in orders]))
        assert same(got[name], float(np.mean(values)) if values else math.nan), name


def test_ndcg_of_what_was_not_retrieved():
    "As scikit-learn has it when the missing documents stand last and bring nothing; masked away they would be forgiven."
    generator = torch.Generator().manual_seed(2)
    scores, grades = torch.rand(20, 12, generator=generator), torch.randint(0, 4, (20, 12), generator=generator)
    missing = torch.rand(20, 12, generator=generator) < 0.4
    values, cut = [], torch.where(missing, -math.inf, scores)
    for s, g, gone in zip(scores, grades, missing, strict=True):
        if g.max() > 0:
            order = [i for i in s.argsort(descending=True).tolist() if not gone[i]]
            discounts = [1 / math.log2(r + 2) for r in range(12)]
            best = sum(g_ * d for g_, d in zip(sorted(g.tolist(), reverse=True)[:10], discounts, strict=False))
            values.append(sum(g[i].item() * d for i, d in zip(order[:10], discounts, strict=False)) / best)
    assert close(ndcg_at(cut, grades, k=10, gain="linear"), np.mean(values))
    assert ndcg_at(cut, grades, ~missing, k=10, gain="linear") > ndcg_at(cut, grades, k=10, gain="linear")
    assert close(ndcg_at(cut, grades, ~missing, k=10), ndcg_at(scores, grades, ~missing, k=10))


def test_a_query_that_found_nothing_counts_nought():
    gone, positives = torch.full((1, 3), -math.inf), torch.tensor([[True, False, True]])
    for value in (
        recall_at(gone, positives, ~positives, k=3),
        mrr_at(gone, positives, ~positives, k=3),
        ndcg_at(gone, positives.int(), k=3),
    ):
        assert value == 0
    assert average_precision(gone, positives, ~positives) == 0
    half = torch.tensor([[0.9, 0.7, -math.inf]]), torch.tensor([[False, True, True]])
    assert recall_at(*half, ~half[1], k=3) == 0.5 and close(ndcg_at(half[0], half[1].int(), k=3), 0.38685280723454163)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=12))
def test_rank_correlations_are_the_loops(items):
    a, b = (torch.tensor(x) for x in zip(*items, strict=True))
    mean_rank = lambda x: [sum(v < u for v in x) + (sum(v == u for v in x) + 1) / 2 for u in x.tolist()]
    signs = [[np.sign(float(x[i] - x[j])) for i, j in itertools.combinations(range(len(x)), 2)] for x in (a, b)]
    if len(a.unique()) > 1 and len(b.unique()) > 1:
        assert close(spearman(a.double(), b), np.corrcoef(mean_rank(a), mean_rank(b))[0, 1], 1e-10)
        assert close(kendall(a.float(), b), np.dot(*signs) / math.sqrt(np.abs(signs[0]).sum() * np.abs(signs[1]).sum()), 1e-10)
    else:
        assert math.isnan(spearman(a.double(), b)) and math.isnan(kendall(a.double(), b))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(-1, 3), st.integers(0, 3)), min_size=1, max_size=12))
def test_clusters_are_named_in_the_best_way(items):
    clusters, labels = (torch.tensor(x) for x in zip(*items, strict=True))
    groups, kinds = clusters.unique().tolist(), labels.unique().tolist()
    names = [*kinds, *[None] * len(groups)]  # a cluster may go without a class
    best = max(
        sum(dict(zip(groups, naming, strict=False))[c] == y for c, y in items) for naming in set(itertools.permutations(names, len(groups)))
    )
    assert close(cluster_accuracy(clusters, labels), best / len(items))
    assert close(purity(clusters, labels), sum(max(sum(c == g and y == k for c, y in items) for k in kinds) for g in groups) / len(items))
    assert cluster_accuracy(labels * 3 - 7, labels) == 1 == purity(torch.arange(len(items)), labels)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans()), min_size=1, max_size=12))
def test_mask_quality_is_the_count(cells):
    candidates, truth, dropped = torch.tensor(cells)[None].unbind(2)
    dropped = dropped & candidates
    among = [(bool(d), bool(t)) for d, t, c in zip(dropped[0], truth[0], candidates[0], strict=True) if c]
    share = lambda part, whole: sum(map(part, whole)) / len(whole) if whole else math.nan
    got = mask_quality(dropped, truth, candidates)
    assert same(got.precision, share(lambda x: x[1], [x for x in among if x[0]]))
    assert same(got.recall, share(lambda x: x[0], [x for x in among if x[1]]))
    assert same(got.lost, share(lambda x: x[0], [x for x in among if not x[1]]))
    assert same(got.prior, share(lambda x: x[1], among))


@pytest.mark.parametrize("k", [1, 3, 10, 99])
@pytest.mark.parametrize("gain", metrics.GAINS)
def test_ndcg_is_scikit_learns(k, gain):
    generator = torch.Generator().manual_seed(k)
    scores = torch.randint(0, 6, (25, 12), generator=generator).float()
    grades = torch.randint(0, 5, (25, 12), generator=generator)
    gains = 2**grades - 1 if gain == "exp" else grades
    assert close(ndcg_at(scores, grades, k=k, gain=gain), sklearn.metrics.ndcg_score(gains, scores, k=k))


def test_ndcg_ignores_what_is_masked():
    scores, grades = torch.tensor([[3.0, 2, 1, 9]]), torch.tensor([[0.0, 2, 1, 4]])
    mask = torch.tensor([[True, True, True, False]])
    assert close(ndcg_at(scores, grades, mask, k=4), ndcg_at(scores[:, :3], grades[:, :3], k=4))
    assert ndcg_at(scores, grades, mask, k=4) != ndcg_at(scores, grades, k=4)


def test_a_weight_of_zero_takes_a_pair_out():
    scores, positives = torch.tensor([[3.0, 2, 1]]), torch.tensor([[False, True, False]])
    without = torch.tensor([[0.0, 1, 5]])
    assert mrr_at(scores, positives, ~positives, without, k=3) == 1 == recall_at(scores, positives, ~positives, without, k=1)
    assert mrr_at(scores, positives, ~positives, k=3) == 0.5 and auc(scores, positives, ~positives, without) == 1


def test_constant_scores_get_the_value_of_guessing():
    scores, positives = torch.zeros(1, 10), torch.arange(10)[None] < 1
    assert auc(scores, positives, ~positives) == 0.5 == auc(scores, positives, ~positives, pooled=False)
    assert close(recall_at(scores, positives, ~positives, k=3), 0.3)
    assert close(mrr_at(scores, positives, ~positives, k=10), np.mean(1 / np.arange(1, 11)))


def test_nothing_to_count_is_nan():
    scores, none, every = torch.zeros(2, 3), torch.zeros(2, 3, dtype=torch.bool), torch.ones(2, 3, dtype=torch.bool)
    for positives, negatives in ((none, every), (every, none), (none, none)):
        assert math.isnan(auc(scores, positives, negatives)) and math.isnan(auc(scores, positives, negatives, pooled=False))
        curve = roc(scores, positives, negatives)
        assert curve.tpr.isnan().all() or curve.fpr.isnan().all()
    assert math.isnan(recall_at(scores, none, every, k=1)) and math.isnan(mrr_at(scores, none, every, k=1))
    assert recall_at(scores, every, none, k=3) == 1 == mrr_at(scores, every, none, k=3)
    assert math.isnan(ndcg_at(scores, scores, k=2))
    assert math.isnan(auc(scores[:, :0], none[:, :0], none[:, :0]))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_every_precision_ranks_alike(dtype):
    scores, positives = torch.tensor([[3.0, 2, 2, 1]], dtype=dtype), torch.tensor([[False, True, False, False]])
    assert close(auc(scores, positives, ~positives), 1.5 / 3)
    assert close(mrr_at(scores, positives, ~positives, k=4), (1 / 2 + 1 / 3) / 2)


def test_metrics_leave_no_gradient():
    z = torch.randn(6, 3, requires_grad=True)
    mask = torch.eye(6, dtype=torch.bool)
    for value in (auc(z @ z.T, mask, ~mask), uniformity(z), alignment(z, z), rankme(z)):
        assert isinstance(value, float)


# --- geometry -----------------------------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 30), st.integers(1, 5), st.integers(1, 40), st.sampled_from([0.5, 2.0, 50.0, 2000.0]), st.integers(0, 99))
def test_uniformity_is_the_mean_over_pairs(n, dim, chunk, t, seed):
    z = torch.randn(n, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    squares = scipy.spatial.distance.pdist(F.normalize(z).numpy(), "sqeuclidean")
    expected = scipy.special.logsumexp(-t * squares) - math.log(len(squares))
    assert math.isclose(uniformity(z, t, chunk=chunk), expected, rel_tol=1e-9, abs_tol=1e-9)
    assert math.isclose(uniformity(3 * z, t), expected, rel_tol=1e-9, abs_tol=1e-9)


def test_uniformity_in_high_dimension_is_near_minus_two_t():
    z = torch.randn(400, 2000, generator=torch.Generator().manual_seed(0))
    assert abs(uniformity(z) + 4) < 0.02  # distances on the sphere concentrate at the square root of 2


def test_alignment_values():
    a = torch.randn(50, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    b = torch.randn(50, 7, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert close(alignment(a, b), float((2 - 2 * F.cosine_similarity(a, b)).mean()))
    assert close(alignment(a, -a), 4) and close(alignment(a, -a, power=1), 2) and alignment(a, 5 * a) < 1e-30


def test_rankme_known_values():
    generator = torch.Generator().manual_seed(0)
    assert 63.9 < rankme(torch.randn(16384, 64, generator=generator)) < 64
    low = torch.randn(500, 5, generator=generator) @ torch.randn(5, 40, generator=generator)
    assert 3 < rankme(low) < 5.01
    assert close(rankme(torch.eye(8)), 8, 1e-5) and close(rankme(torch.ones(100, 8)), 1, 1e-4)
    assert close(rankme(7 * low), rankme(low), 1e-6) and rankme(low + 100) < 1.5
    assert math.isnan(rankme(torch.zeros(4, 3)))


# --- labels -------------------------------------------------------------------------------------------------------------


def blobs(n=300, classes=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % classes
    return F.one_hot(y, 8) * 2.0 + torch.randn(n, 8, generator=generator), y


def test_probes_learn_blobs_and_not_noise():
    (a, ya), (b, yb) = blobs(), blobs(seed=1)
    for probe in (knn_accuracy, linear_probe, few_label_accuracy):
        assert probe(a, ya, b, yb) > 0.7
        assert probe(a, ya[torch.randperm(300, generator=torch.Generator().manual_seed(0))], b, yb) < 0.5


def test_knn_by_hand():
    train, labels = torch.tensor([[1.0, 0], [0.9, 0.1], [0, 1]]), torch.tensor([4, 4, 9])
    test = torch.tensor([[5.0, 0.1], [0.1, 7]])  # far away, but cosine sees the direction alone
    assert knn_accuracy(train, labels, test, torch.tensor([4, 9]), k=1) == 1
    assert knn_accuracy(train, labels, test, torch.tensor([4, 9]), k=3) == 0.5
    assert knn_accuracy(train, labels, test[1:], torch.tensor([4]), k=2) == 1  # a drawn vote goes to the lowest label


def test_probe_strength_and_unseen_label():
    (a, ya), (b, yb) = blobs(), blobs(seed=1)
    assert linear_probe(a, ya, b, torch.full_like(yb, 7)) == 0
    assert linear_probe(a, ya, b, yb, strength=1e9) <= linear_probe(a, ya, b, yb) + 0.05


def test_few_labels_repeat_and_redraw():
    (a, ya), (b, yb) = blobs(), blobs(seed=1)
    once = few_label_accuracy(a, ya, b, yb, per_class=1, draws=3, seed=5)
    assert once == few_label_accuracy(a, ya, b, yb, per_class=1, draws=3, seed=5)
    assert len({few_label_accuracy(a, ya, b, yb, per_class=1, draws=3, seed=s) for s in range(6)}) > 1
    singles = [few_label_accuracy(a, ya, b, yb, per_class=100, draws=1, seed=s) for s in (0, 1)]
    assert singles[0] == singles[1]  # all members drawn: nothing left to chance


# --- calibration --------------------------------------------------------------------------------------------------------


def test_calibration_by_hand_and_at_the_edges():
    sure, right = torch.tensor([0.0, 0.5, 0.5, 1.0], dtype=torch.float64), torch.tensor([False, True, False, True])
    bins = calibration_bins(sure, right, bins=2)
    assert bins.counts.tolist() == [3, 1] and close(float(bins.confidence[0]), 1 / 3) and close(float(bins.accuracy[0]), 1 / 3)
    assert close(calibration_error(sure, right, bins=2), 0)
    assert calibration_error(torch.ones(3), torch.tensor([False] * 3)) == 1


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=40), st.integers(1, 20))
def test_calibration_error_is_the_loop(drawn, bins):
    sure, right = torch.tensor([x for x, _ in drawn], dtype=torch.float64), torch.tensor([y for _, y in drawn])
    edges = torch.linspace(0, 1, bins + 1, dtype=torch.float64).tolist()
    total = 0.0
    for low, high in itertools.pairwise(edges):
        inside = [(x, y) for x, y in zip(sure.tolist(), right.tolist(), strict=True) if low < x <= high or (low == 0 == x)]
        total += abs(sum(x for x, _ in inside) - sum(y for _, y in inside)) / len(drawn)
    assert close(calibration_error(sure, right, bins), total, 1e-9)
    assert int(calibration_bins(sure, right, bins).counts.sum()) == len(drawn)


# --- errors -------------------------------------------------------------------------------------------------------------

S, P = torch.randn(2, 3), torch.tensor([[True, False, False], [False, True, False]])
Z, Y = torch.randn(6, 3), torch.tensor([0, 1, 0, 1, 0, 1])
SURE, RIGHT = torch.rand(4), torch.tensor([True, False, True, True])
NAN = torch.full((2, 3), math.nan)

BAD = {
    "scores no tensor": (TypeError, "scores", lambda: auc([1.0], P, ~P)),
    "scores of integers": (TypeError, "scores", lambda: roc(S.long(), P, ~P)),
    "scores nan": (ValueError, "scores", lambda: auc(NAN, P, ~P)),
    "scores infinite": (ValueError, "scores", lambda: mrr_at(S.abs() / 0, P, ~P, k=1)),
    "scores nan among the ranked": (ValueError, "scores", lambda: recall_at(NAN, P, ~P, k=1)),
    "scores nan among documents": (ValueError, "scores", lambda: ndcg_at(NAN, P.int(), k=1)),
    "scores infinite in ap": (ValueError, "scores", lambda: average_precision(S.abs() / 0, P, ~P)),
    "scores not retrieved in auc": (ValueError, "scores", lambda: auc(-S.abs() / 0, P, ~P)),
    "scores of two dimensions": (ValueError, "scores", lambda: spearman(S, S)),
    "grades of another length": (ValueError, "grades", lambda: kendall(SURE, Y)),
    "grades no tensor": (TypeError, "grades", lambda: spearman(SURE, [1, 2, 3, 4])),
    "grades nan": (ValueError, "grades", lambda: spearman(SURE, SURE * math.nan)),
    "clusters as numbers": (TypeError, "clusters", lambda: cluster_accuracy(Y.float(), Y)),
    "clusters too few": (ValueError, "clusters", lambda: purity(Y[:3], Y)),
    "labels no tensor": (TypeError, "labels", lambda: purity(Y, Y.tolist())),
    "labels none": (ValueError, "labels", lambda: cluster_accuracy(Y[:0], Y[:0])),
    "dropped no candidate": (ValueError, "dropped", lambda: mask_quality(P, P, ~P)),
    "dropped of another shape": (ValueError, "dropped", lambda: mask_quality(P[:1], P, P)),
    "truth of numbers": (TypeError, "truth", lambda: mask_quality(P, P.int(), P)),
    "candidates of numbers": (TypeError, "candidates", lambda: mask_quality(P, P, P.int())),
    "masks overlap": (ValueError, "overlap", lambda: recall_at(S, P, P, k=1)),
    "mask of numbers": (TypeError, "positives", lambda: auc(S, P.float(), ~P)),
    "mask of another shape": (ValueError, "negatives", lambda: auc(S, P, ~P[:1])),
    "weights negative": (ValueError, "weights", lambda: auc(S, P, ~P, -torch.ones(2, 3))),
    "points 0": (ValueError, "points", lambda: roc(S, P, ~P, pooled=False, points=0)),
    "k 0": (ValueError, "k", lambda: recall_at(S, P, ~P, k=0)),
    "k a float": (TypeError, "k", lambda: mrr_at(S, P, ~P, k=1.5)),
    "k a bool": (TypeError, "k", lambda: ndcg_at(S, P, k=True)),
    "k in the place of weights": (TypeError, "weights", lambda: recall_at(S, P, ~P, 5, k=5)),
    "gain": (ValueError, "gain", lambda: ndcg_at(S, P, k=1, gain="log")),
    "relevance negative": (ValueError, "relevance", lambda: ndcg_at(S, -torch.ones(2, 3), k=1)),
    "relevance nan": (ValueError, "relevance", lambda: ndcg_at(S, NAN, k=1)),
    "relevance of another shape": (ValueError, "relevance", lambda: ndcg_at(S, torch.ones(3, 2), k=1)),
    "list mask": (TypeError, "mask", lambda: ndcg_at(S, torch.ones(2, 3), torch.ones(2, 3), k=1)),
    "z1 of one dimension": (ValueError, "z1", lambda: alignment(Z[0], Z[0])),
    "z2 of another shape": (ValueError, "z2", lambda: alignment(Z, Z[:3])),
    "power": (ValueError, "power", lambda: alignment(Z, Z, power=0)),
    "one row": (ValueError, "z", lambda: uniformity(Z[:1])),
    "t": (ValueError, "t", lambda: uniformity(Z, t=-1)),
    "chunk": (ValueError, "chunk", lambda: uniformity(Z, chunk=0)),
    "z of integers": (TypeError, "z", lambda: rankme(Z.long())),
    "eps": (ValueError, "eps", lambda: rankme(Z, eps=-1)),
    "labels as numbers": (TypeError, "train_y", lambda: knn_accuracy(Z, Y.float(), Z, Y)),
    "labels too few": (ValueError, "test_y", lambda: knn_accuracy(Z, Y, Z, Y[:2])),
    "no rows": (ValueError, "test_y", lambda: linear_probe(Z, Y, Z[:0], Y[:0])),
    "other width": (ValueError, "test_z", lambda: linear_probe(Z, Y, Z[:, :2], Y)),
    "embeddings nan": (ValueError, "train_z", lambda: few_label_accuracy(Z * math.nan, Y, Z, Y, 1)),
    "k above the rows": (ValueError, "k", lambda: knn_accuracy(Z, Y, Z, Y, k=7)),
    "one class": (ValueError, "train_y", lambda: linear_probe(Z, Y * 0, Z, Y)),
    "strength": (ValueError, "strength", lambda: linear_probe(Z, Y, Z, Y, strength=0)),
    "per_class": (ValueError, "per_class", lambda: few_label_accuracy(Z, Y, Z, Y, per_class=4)),
    "draws": (ValueError, "draws", lambda: few_label_accuracy(Z, Y, Z, Y, per_class=1, draws=0)),
    "confidence above 1": (ValueError, "confidence", lambda: calibration_error(SURE + 1, RIGHT)),
    "confidence nan": (ValueError, "confidence", lambda: calibration_error(SURE * math.nan, RIGHT)),
    "correct as numbers": (TypeError, "correct", lambda: calibration_error(SURE, RIGHT.float())),
    "correct of another length": (ValueError, "correct", lambda: calibration_bins(SURE, RIGHT[:3])),
    "no predictions": (ValueError, "correct", lambda: calibration_error(SURE[:0], RIGHT[:0])),
    "bins": (ValueError, "bins", lambda: calibration_error(SURE, RIGHT, bins=0)),
}


@pytest.mark.parametrize("case", BAD)
def test_errors_name_the_argument(case):
    kind, name, call = BAD[case]
    with pytest.raises(kind, match=rf"\b{name}\b"):
        call()
