"""The shared drawings: what they draw, that they draw the same each time, and that roles keep their colours."""

import io
import re

import matplotlib.pyplot as plt
import pytest
import torch
from matplotlib.colors import to_rgb

from contrastive_nb import plots
from contrastive_nb.pairs import Pairs, two_views


@pytest.fixture(autouse=True)
def closed():
    with plt.rc_context():
        plots.style()
        yield
    plt.close("all")


def svg(figure):
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()


def toy():
    generator = torch.Generator().manual_seed(0)
    return two_views(*torch.randn(2, 3, 4, generator=generator))


def strokes(ax):
    "The signs drawn, by their path: (number of strokes of plus signs, of minus signs)."
    return [len(patch.get_path().vertices) // 2 for patch in ax.patches if not patch.get_fill()]


def cells(ax):
    return [patch for patch in ax.patches if patch.get_fill()]


def test_masks_draw_every_pair_once_and_tell_the_kinds_apart_without_colour():
    ax = plots.masks(toy())
    assert strokes(ax) == [6 * 2, 6 * 4] and not ax.texts  # a plus has two strokes, a minus one
    positives, negatives, ignored = cells(ax)
    assert ignored.get_hatch() and not positives.get_hatch() and not negatives.get_hatch()
    grey = [0.3 * r + 0.6 * g + 0.1 * b for r, g, b in (to_rgb(patch.get_facecolor()) for patch in (positives, negatives))]
    assert grey[1] - grey[0] > 0.3
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["positive (+)", "negative (−)", "ignored"]


def test_masks_cover_exactly_their_cells():
    generator = torch.Generator().manual_seed(1)
    kind = torch.randint(0, 3, (4, 5), generator=generator)
    ax = plots.masks(Pairs(torch.zeros(4, 5), kind == 0, kind == 1))
    for patch, mask in zip(cells(ax), (kind == 0, kind == 1, kind == 2), strict=True):
        inside = patch.get_path().contains_points([(k, q) for q in range(4) for k in range(5)])
        assert inside.tolist() == mask.flatten().tolist()


def test_masks_write_values():
    pairs = toy()
    ax = plots.masks(pairs, values=True)
    written = [text.get_text() for text in ax.texts]
    assert f"{pairs.scores[0, 3]:.2f}".replace("-", "−") in written and len(written) == 6 * 5 and strokes(ax) == []


@pytest.mark.parametrize("rows, columns", [(1, 1), (1, 4), (12, 12), (40, 40), (3, 30)])
def test_masks_of_any_shape_stay_small(rows, columns):
    positives = torch.eye(rows, columns, dtype=torch.bool)
    ax = plots.masks(Pairs(torch.zeros(rows, columns), positives, ~positives))
    assert len(svg(ax.figure)) < 50_000


def test_masks_in_given_axes_have_no_legend_unless_asked():
    _, (left, right) = plt.subplots(1, 2)
    assert plots.masks(toy(), left) is left and left.get_legend() is None
    plots.masks(toy(), right, legend=True)
    assert right.get_legend() is not None


ROWS = [
    ("a", 0.2, 0.1, 0.3, "reproduced"),
    ("b", -0.1, -0.2, 0.0, "not reproduced"),
    ("c", 0.5, None, None, "inconclusive at this scale"),
    ("d", None, None, None, None),
]


def test_forest_draws_effects_in_order_with_their_intervals():
    ax = plots.forest(ROWS)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "b", "c", "d"] and ax.yaxis_inverted()
    spans = [line.get_xdata() for line in ax.lines if line.get_linestyle() == "-" and len(set(line.get_ydata())) == 1]
    assert [list(span) for span in spans] == [[0.1, 0.3], [-0.2, 0.0], [0.5, 0.5]]
    markers = [line.get_marker() for line in ax.lines if len(line.get_xdata()) == 1]
    assert len(set(markers)) == 3  # verdicts are told apart without colour


def test_band_is_the_mean_and_its_t_interval():
    from scipy import stats

    runs = torch.tensor([[1.0, 2.0], [2.0, 4.0], [4.0, 3.0]]).numpy()
    _, ax = plt.subplots()
    line = plots.band(ax, [0, 1], runs, "x", plots.ROLE["anchor"])
    assert line.get_ydata() == pytest.approx(runs.mean(0))
    low, high = stats.t.interval(0.95, 2, loc=runs[:, 0].mean(), scale=stats.sem(runs[:, 0]))
    edge = [y for x, y in ax.collections[0].get_paths()[0].vertices if x == 0]
    assert (min(edge), max(edge)) == pytest.approx((low, high))
    plots.band(ax, [0, 1], runs[:1])
    assert len(ax.collections) == 1  # one seed has no band
    with pytest.raises(ValueError, match="runs: got shape"):
        plots.band(ax, [0, 1, 2], runs)


def test_the_same_numbers_give_the_same_bytes():
    assert svg(plots.masks(toy()).figure) == svg(plots.masks(toy()).figure)
    assert not re.search(r"<dc:date>|font-family", svg(plots.forest(ROWS).figure))  # no date; text as outlines


def test_roles_are_the_palettes_colours():
    import seaborn

    palette = seaborn.color_palette("colorblind").as_hex()
    assert set(plots.ROLE) == {"anchor", "positive", "negative", "hard", "false"}
    assert set(plots.ROLE.values()) <= set(palette) and len(set(plots.ROLE.values())) == 5
