"""Drawings of an encoder's scores and embeddings, and of claims: what stands in them, and what they refuse."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex

from contrastive_nb import metrics
from contrastive_nb.book import plots
from contrastive_nb.pairs import Pairs, from_labels

pytestmark = pytest.mark.usefixtures("styled")


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def some_pairs(seed=0):
    labels = torch.arange(12) % 3
    return from_labels(random(12, 4, seed=seed) + torch.eye(4)[labels], labels)


NOTHING = Pairs(torch.zeros(0, 0), torch.zeros(0, 0, dtype=torch.bool), torch.zeros(0, 0, dtype=torch.bool))
POSITIVES = Pairs(torch.zeros(2, 2), torch.ones(2, 2, dtype=torch.bool), torch.zeros(2, 2, dtype=torch.bool))
ONE_ROW = Pairs(torch.tensor([[0.5, 0.1]]), torch.tensor([[True, False]]), torch.tensor([[False, True]]))


# --- pairs ------------------------------------------------------------------------------------------------------------------------


def test_roc_draws_both_curves_and_says_both_areas():
    pairs = some_pairs()
    ax = plots.roc(pairs)
    chance, *lines = ax.lines
    assert list(chance.get_xdata()) == list(chance.get_ydata()) == [0, 1]
    for line, pooled in zip(lines, (True, False), strict=True):
        curve, (x, y) = metrics.roc(*pairs, pooled=pooled), map(np.asarray, line.get_data())
        at_all_thresholds = np.stack([curve.fpr, curve.tpr], 1).tolist()
        assert all(point in at_all_thresholds for point in np.stack([x, y], 1).tolist())
        assert np.trapezoid(y, x) == pytest.approx(float(torch.trapezoid(curve.tpr, curve.fpr)), abs=1e-12)
    assert len(lines[0].get_xdata()) < len(metrics.roc(*pairs).fpr)  # a straight line has two ends
    areas = [metrics.auc(*pairs, pooled=pooled) for pooled in (True, False)]
    assert legend(ax) == ["chance", f"pooled: {areas[0]:.3f}", f"per query: {areas[1]:.3f}"] and areas[0] != areas[1]


def test_roc_of_two_encoders_shares_axes_and_tells_the_kinds_apart_without_colour():
    _, given = plt.subplots()
    plots.roc(some_pairs(), given, "before")
    assert plots.roc(some_pairs(1), given, "after") is given
    assert [text.partition(":")[0] for text in legend(given)] == [
        "chance", "before, pooled", "before, per query", "after, pooled", "after, per query",
    ]  # fmt: skip
    before, after = given.lines[1:3], given.lines[3:]
    for pooled, alone in (before, after):
        assert pooled.get_color() == alone.get_color() and (pooled.get_linestyle(), alone.get_linestyle()) == ("-", "--")
    assert before[0].get_color() != after[0].get_color()


def test_roc_counts_weights_and_leaves_out_a_mean_over_no_query():
    scores, positives = torch.tensor([[0.9, 0.2, 0.4]]), torch.tensor([[True, True, False]])
    weights = torch.tensor([[3.0, 1.0, 1.0]])
    assert legend(plots.roc(Pairs(scores, positives, ~positives, weights)))[1] == "pooled: 0.750"
    apart = Pairs(torch.tensor([[1.0, 2.0], [0.0, 0.5]]), torch.tensor([[True] * 2, [False] * 2]), torch.tensor([[False] * 2, [True] * 2]))
    assert legend(plots.roc(apart)) == ["chance", "pooled: 1.000"]  # no query has both kinds
    assert legend(plots.roc(ONE_ROW)) == ["chance", "pooled: 1.000", "per query: 1.000"]


@pytest.mark.parametrize("draw", [plots.roc, plots.score_histograms])
def test_what_is_drawn_of_pairs_needs_both_kinds(draw):
    for pairs, words in ((NOTHING, "pairs: got no positive pair"), (POSITIVES, "pairs: got no negative pair")):
        with pytest.raises(ValueError, match=words):
            draw(pairs)
    with pytest.raises(TypeError, match="pairs: got Tensor, want a `Pairs`"):
        draw(torch.zeros(2, 2))
    with pytest.raises(ValueError, match="scores: not finite"):
        draw(ONE_ROW._replace(scores=torch.tensor([[0.5, float("nan")]])))
    assert not plt.get_fignums()  # what is refused leaves no empty figure behind


def test_histograms_hold_every_pair_and_mark_the_false_ones():
    pairs = some_pairs()
    false = pairs.negatives & (torch.arange(12) < 4)
    ax = plots.score_histograms(pairs, false, bins=7)
    count = [int(mask.sum()) for mask in (pairs.negatives, false, pairs.positives)]
    assert legend(ax) == [f"negative: {count[0]}", f"false negative: {count[1]}", f"positive: {count[2]}"]
    for patch, mask, total in zip(ax.patches, (pairs.negatives, false, pairs.positives), count, strict=True):
        heights, edges, _ = patch.get_data()
        expected, _ = np.histogram(pairs.scores[mask].double().numpy(), np.asarray(edges))
        assert np.asarray(heights) * total == pytest.approx(expected) and expected.sum() == mask.sum()
    hatched = [bool(patch.get_hatch()) for patch in ax.patches]
    assert hatched == [False, True, False] and ax.patches[0].get_linestyle() != ax.patches[2].get_linestyle()
    assert to_hex(ax.patches[1].get_edgecolor()) == plots.ROLE["false"]


def test_histograms_of_equal_scores_and_without_false_pairs():
    flat = ONE_ROW._replace(scores=torch.full((1, 2), 0.25))
    ax = plots.score_histograms(flat, bins=3)
    assert legend(ax) == ["negative: 1", "positive: 1"]
    assert [sum(patch.get_data().values) for patch in ax.patches] == [1, 1]
    false_positive = plots.score_histograms(ONE_ROW, ONE_ROW.positives)
    assert legend(false_positive) == ["negative: 1", "positive: 1", "false positive: 1"]


def test_histograms_refuse_a_false_mask_that_does_not_fit():
    pairs = some_pairs()
    with pytest.raises(ValueError, match="false: got a pair that is neither positive nor negative, first at query 0, key 0"):
        plots.score_histograms(pairs, torch.ones_like(pairs.positives))
    with pytest.raises(ValueError, match=r"false: got shape \(2, 2\)"):
        plots.score_histograms(pairs, torch.ones(2, 2, dtype=torch.bool))
    with pytest.raises(TypeError, match="false: got torch.float32, want a bool tensor"):
        plots.score_histograms(pairs, torch.zeros(12, 12))
    with pytest.raises(ValueError, match="bins: got 0"):
        plots.score_histograms(pairs, bins=0)


# --- calibration ------------------------------------------------------------------------------------------------------------------


def test_reliability_draws_the_bins_and_the_gaps():
    confidence = torch.tensor([0.05, 0.15, 0.15, 0.95, 0.95, 0.95, 0.95])
    correct = torch.tensor([False, True, False, True, True, True, False])
    ax = plots.reliability(confidence, correct)
    line = ax.lines[1]
    assert line.get_xdata() == pytest.approx([0.05, 0.15, 0.95], abs=1e-6) and line.get_ydata() == pytest.approx([0, 0.5, 0.75])
    gaps, marks = ax.collections
    assert [[y for _, y in path] for path in gaps.get_segments()] == [
        pytest.approx(pair, abs=1e-6) for pair in ([0.05, 0], [0.15, 0.5], [0.95, 0.75])
    ]
    assert marks.get_sizes() == pytest.approx([8 + 60 / 4, 8 + 60 * 2 / 4, 68])
    error = metrics.calibration_error(confidence, correct, 10)
    assert legend(ax) == ["calibrated", f"gap, {error:.3f} on average", "a bin of 7 predictions"]


def test_reliability_of_one_prediction_and_of_none():
    ax = plots.reliability(torch.tensor([1.0]), torch.tensor([True]))
    assert list(ax.lines[1].get_xdata()) == [1] and "gap, 0.000" in legend(ax)[1]
    with pytest.raises(ValueError, match="correct: got shape"):
        plots.reliability(torch.zeros(0), torch.zeros(0, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"confidence: got a value outside \[0, 1\]"):
        plots.reliability(torch.tensor([1.5]), torch.tensor([True]))
    with pytest.raises(ValueError, match="bins: got 0"):
        plots.reliability(torch.tensor([0.5]), torch.tensor([True]), bins=0)


# --- embeddings -------------------------------------------------------------------------------------------------------------------


def test_alignment_and_uniformity_are_the_places_of_the_points():
    views = {"a": (random(6, 3), random(6, 3, seed=1)), "b": (random(6, 3), random(6, 3))}
    ax = plots.alignment_uniformity(views)
    for line, (z1, z2) in zip(ax.lines, views.values(), strict=True):
        assert line.get_xdata() == pytest.approx([metrics.alignment(z1, z2)])
        assert line.get_ydata() == pytest.approx([(metrics.uniformity(z1) + metrics.uniformity(z2)) / 2])
    assert legend(ax) == ["a", "b"] and len({line.get_marker() for line in ax.lines}) == 2
    assert ax.lines[1].get_xdata()[0] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("views, error, words", [
    ([1, 2], TypeError, "views: got list"),
    ({}, ValueError, "views: got no entry"),
    ({"a": (torch.ones(2, 2),)}, ValueError, r"views\['a'\]: got 1 entries, want two"),
    ({"a": torch.ones(2, 2)}, ValueError, r"views\['a'\]: got Tensor, want two"),
    ({"a": (torch.ones(1, 2),) * 2}, ValueError, r"views\['a'\]: z: got 1 rows"),
    ({"a": (torch.ones(2, 2), torch.ones(3, 2))}, ValueError, r"views\['a'\]: z2: got shape"),
])  # fmt: skip
def test_alignment_and_uniformity_say_which_entry_is_wrong(views, error, words):
    with pytest.raises(error, match=words):
        plots.alignment_uniformity(views)


def test_a_map_lies_along_the_principal_components():
    z = random(20, 3) * torch.tensor([5.0, 0.1, 1.0]) + 7
    ax = plots.embedding_map(z)
    x, y = (torch.as_tensor(np.asarray(part, dtype=float)) for part in ax.lines[0].get_data())
    centred = (z - z.mean(0)).double()
    values, directions = torch.linalg.eigh(torch.cov(centred.T))
    for drawn, direction in ((x, directions[:, -1]), (y, directions[:, -2])):
        expected = centred @ direction
        assert drawn.numpy() == pytest.approx((expected * (expected @ drawn).sign()).numpy(), abs=1e-5)
    shares = values.flip(0) / values.sum()
    assert ax.get_xlabel() == f"first component ({shares[0]:.0%} of the variance)"
    assert ax.get_ylabel() == f"second component ({shares[1]:.0%} of the variance)" and ax.get_legend() is None
    turned = plots.embedding_map(-(z - z.mean(0)) + z.mean(0)).lines[0].get_xdata()
    assert np.asarray(turned) == pytest.approx(-x.numpy(), abs=1e-5)  # an axis keeps its direction: what is mirrored is seen


def test_a_map_has_a_mark_and_a_colour_a_label():
    labels = torch.tensor([2, 0, 2, 1])
    ax = plots.embedding_map(random(4, 3), labels)
    assert legend(ax) == ["0", "1", "2"] and [len(line.get_xdata()) for line in ax.lines] == [1, 1, 2]
    assert len({line.get_marker() for line in ax.lines}) == len({line.get_color() for line in ax.lines}) == 3
    assert legend(plots.embedding_map(random(3, 2), ["query", "document", "query"])) == ["query", "document"]


def test_a_map_by_a_function_of_ones_own_and_maps_that_are_tiny():
    z = random(5, 4)
    ax = plots.embedding_map(z, reduce=lambda z: z[:, 1:3].numpy())
    assert np.asarray(ax.lines[0].get_data()) == pytest.approx(z[:, 1:3].T.numpy()) and ax.get_xlabel() == "first place"
    line = plots.embedding_map(torch.tensor([[1.0], [4.0]])).lines[0]  # one number a row: all on a line
    assert sorted(line.get_xdata()) == pytest.approx([-1.5, 1.5]) and list(line.get_ydata()) == [0, 0]
    same = plots.embedding_map(torch.ones(3, 2)).lines[0]
    assert list(same.get_xdata()) == list(same.get_ydata()) == [0, 0, 0]


@pytest.mark.parametrize("arguments, error, words", [
    (dict(z=torch.zeros(0, 3)), ValueError, r"z: got shape \(0, 3\)"),
    (dict(z=torch.zeros(1, 3)), ValueError, r"z: got shape \(1, 3\)"),
    (dict(z=torch.zeros(3, 0)), ValueError, r"z: got shape \(3, 0\)"),
    (dict(z=torch.zeros(3)), ValueError, "z: got shape"),
    (dict(z=[[1.0]]), TypeError, "z: got list"),
    (dict(z=torch.full((2, 2), float("inf"))), ValueError, "z: not finite"),
    (dict(z=torch.zeros(3, 2), labels=[1]), ValueError, "labels: got 1, want 3"),
    (dict(z=torch.zeros(11, 2), labels=range(11)), ValueError, "labels: got 11 kinds"),
    (dict(z=torch.zeros(3, 2), reduce=lambda z: z[:, :1]), ValueError, r"reduce: gave shape \(3, 1\), want \(3, 2\)"),
])  # fmt: skip
def test_a_map_says_what_is_wrong(arguments, error, words):
    with pytest.raises(error, match=words):
        plots.embedding_map(**arguments)


# --- neighbours -------------------------------------------------------------------------------------------------------------------


def test_neighbours_of_a_text_stand_in_the_order_of_their_scores():
    items, right = ["one", "two\n lines", "x" * 99, "low"], torch.tensor([False, True, False, True])
    ax = plots.neighbours("who?", items, torch.tensor([0.25, 0.5, -0.5, -0.75]), right, k=3)
    words = [text.get_text() for text in ax.texts]
    assert words[::2] == ["query", "0.50 (+)", "0.25 (−)", "−0.50 (−)"]
    assert words[1::2] == ["who?", "two lines", "one", "x" * 79 + "…"]
    heights = [text.get_position()[1] for text in ax.texts[::2]]
    assert heights == sorted(heights) and ax.yaxis_inverted()  # from top to bottom
    assert [to_hex(text.get_color()) for text in ax.texts[2::2]] == [plots.ROLE["positive"], plots.ROLE["hard"], plots.ROLE["hard"]]


def test_neighbours_of_an_image_are_drawn_from_left_to_right():
    images = random(3, 1, 4, 4)
    ax = plots.neighbours(images[0], images, torch.tensor([0.9, -0.2, 0.4]), k=9)  # three are all there are
    for drawn, i in zip(ax.images, (0, 0, 2, 1), strict=True):
        image = images[i, 0]
        expected = (image - image.min()) / (image.max() - image.min())
        assert np.asarray(drawn.get_array()) == pytest.approx(expected.numpy(), abs=1e-6)
    assert [text.get_text() for text in ax.texts] == ["query", "0.90", "0.40", "−0.20"]
    lefts = [drawn.get_extent()[0] for drawn in ax.images]
    assert lefts == sorted(lefts) and len(ax.patches) == 4


def test_neighbours_take_coloured_images_and_flat_ones():
    ax = plots.neighbours(torch.zeros(3, 2, 2), [random(3, 2, 2), random(2, 2)], torch.tensor([0.1, 0.2]))
    assert [drawn.get_array().shape for drawn in ax.images] == [(2, 2, 3), (2, 2), (2, 2, 3)]
    assert np.asarray(ax.images[0].get_array()).max() == 0  # one grey alone has no range to stretch


@pytest.mark.parametrize("arguments, error, words", [
    (dict(items=[], scores=torch.zeros(0)), ValueError, "items: got 0, want one a score and at least one"),
    (dict(items=["a"]), ValueError, "items: got 1, want one a score"),
    (dict(items="ab"), TypeError, "items: got str"),
    (dict(items=["a", torch.zeros(2, 2)]), TypeError, "items: got Tensor beside a query that is a text"),
    (dict(query=torch.zeros(2, 2), items=torch.zeros(2, 5, 2, 2)), ValueError, r"items: got shape \(5, 2, 2\)"),
    (dict(query=torch.zeros(2), items=torch.zeros(2, 2, 2)), ValueError, r"query: got shape \(2,\)"),
    (dict(scores=[0.1, 0.2]), TypeError, "scores: got list"),
    (dict(scores=torch.tensor([0.1, float("nan")])), ValueError, "scores: not finite, first at item 1"),
    (dict(right=torch.zeros(3, dtype=torch.bool)), ValueError, "right: got shape"),
    (dict(k=0), ValueError, "k: got 0"),
])  # fmt: skip
def test_neighbours_say_what_is_wrong(arguments, error, words):
    with pytest.raises(error, match=words):
        plots.neighbours(**dict(query="a", items=["b", "c"], scores=torch.tensor([0.1, 0.2])) | arguments)
    assert not plt.get_fignums()


# --- claims -----------------------------------------------------------------------------------------------------------------------


def test_verdicts_are_the_forest_with_the_line_from_which_an_effect_counts():
    rows = [("a", 3.0, 1.5, 20.0, "confirmed"), ("b", -0.5, -2.0, 1.0, "not resolved")]
    ax = plots.verdicts(rows)
    forest = plots.forest(rows)
    drawn = [[list(line.get_xdata()), line.get_marker()] for line in ax.lines]
    assert drawn[:-1] == [[list(line.get_xdata()), line.get_marker()] for line in forest.lines]
    assert drawn[-1][0] == [1, 1] and ax.lines[-1].get_linestyle() == ":" and ax.get_xscale() == "symlog"
    assert legend(ax) == ["confirmed", "not resolved"] and [t.get_text() for t in ax.get_yticklabels()] == ["a", "b"]


def test_verdicts_of_a_record_are_in_units_of_its_smallest_effect():
    from contrastive_nb.book import ledger
    from contrastive_nb.lab import claims

    record = next(record for record in claims.load() if record["id"] == "C200-mechanism-passed")
    ax = plots.verdicts(ledger.drawn([record]))
    run = record["runs"]["laptop"]
    assert list(ax.lines[0].get_xdata()) == pytest.approx([x / record["smallest_effect"] for x in run["interval"]])
    assert list(ax.lines[1].get_xdata()) == pytest.approx([run["effect"] / record["smallest_effect"]])


@pytest.mark.parametrize("rows, error, words", [
    ([], ValueError, "rows: got no claim"),
    ({}, TypeError, "rows: got dict"),
    ([("a", 1.0)], ValueError, r"rows\[0\]: got 2 entries, want label, effect"),
])  # fmt: skip
def test_verdicts_say_what_is_wrong(rows, error, words):
    with pytest.raises(error, match=words):
        plots.verdicts(rows)
    assert not plt.get_fignums()


def test_every_new_drawing_goes_into_axes_that_are_given():
    pairs, rows = some_pairs(), [("a", 1.0, 0.5, 2.0, "confirmed")]
    calls = [
        lambda ax: plots.roc(pairs, ax),
        lambda ax: plots.reliability(torch.tensor([0.5]), torch.tensor([True]), ax),
        lambda ax: plots.score_histograms(pairs, None, ax),
        lambda ax: plots.alignment_uniformity({"a": (random(3, 2), random(3, 2))}, ax),
        lambda ax: plots.neighbours("a", ["b"], torch.tensor([0.1]), None, ax),
        lambda ax: plots.neighbours(torch.zeros(2, 2), torch.zeros(1, 2, 2), torch.tensor([0.1]), None, ax),
        lambda ax: plots.embedding_map(random(3, 2), None, ax),
        lambda ax: plots.verdicts(rows, ax),
    ]
    for call in calls:
        figure, given = plt.subplots()
        assert call(given) is given and plt.get_fignums() == [figure.number]
        plt.close(figure)
