"""The shared drawings: what they draw, that they draw the same each time, and that roles keep their colours."""

import io
import itertools
import re

import matplotlib.pyplot as plt
import pytest
import torch
from matplotlib.colors import to_rgb

from contrastive_nb.book import plots
from contrastive_nb.lab import pictures
from contrastive_nb.negatives import score_moments
from contrastive_nb.pairs import Pairs, two_views

pytestmark = pytest.mark.usefixtures("styled")


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


@pytest.mark.parametrize("_", ["one that forgets its figure", "the next"])
def test_a_figure_that_a_test_forgot_is_closed_before_the_next(_):
    assert not plt.get_fignums()
    plt.figure()


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


def test_score_distributions_are_means_and_one_standard_deviation():
    moments = [score_moments(Pairs(toy().scores * scale, *toy()[1:])) for scale in (0.5, 1.0)]
    ax = plots.score_distributions([0, 10], moments)
    for kind, line, area in zip(("positive", "negative"), ax.lines, ax.collections, strict=True):
        assert line.get_color() == plots.ROLE[kind] and line.get_label() == f"{kind} pairs"
        scores = toy().scores[getattr(toy(), f"{kind}s")].double().numpy()
        assert list(line.get_xdata()) == [0, 10] and line.get_ydata() == pytest.approx([0.5 * scores.mean(), scores.mean()], abs=1e-6)
        at_the_end = [y for x, y in area.get_paths()[0].vertices if x == 10]
        wanted = [scores.mean() - scores.std(), scores.mean() + scores.std()]
        assert [min(at_the_end), max(at_the_end)] == pytest.approx(wanted, abs=1e-6)
    with pytest.raises(ValueError, match="moments: got 2, want 3"):
        plots.score_distributions([0, 10, 20], moments)
    _, given = plt.subplots()
    assert plots.score_distributions([0, 10], moments, given) is given


ROWS = [
    ("a", 0.2, 0.1, 0.3, "confirmed"),
    ("b", -0.1, -0.2, 0.0, "reversed"),
    ("c", 0.5, None, None, "not resolved"),
    ("d", None, None, None, None),
]


def test_forest_draws_effects_in_order_with_their_intervals():
    ax = plots.forest(ROWS)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "b", "c", "d"] and ax.yaxis_inverted()
    spans = [line.get_xdata() for line in ax.lines if line.get_linestyle() == "-" and len(set(line.get_ydata())) == 1]
    assert [list(span) for span in spans] == [[0.1, 0.3], [-0.2, 0.0], [0.5, 0.5]]
    markers = [line.get_marker() for line in ax.lines if len(line.get_xdata()) == 1]
    assert len(set(markers)) == 3  # verdicts are told apart without colour


def test_every_verdict_has_a_look_of_its_own_without_colour():
    from contrastive_nb.lab.claims import VERDICTS

    assert list(plots.VERDICTS)[:-1] == list(VERDICTS)
    looks = [(marker, filled) for _, marker, filled in plots.VERDICTS.values()]
    assert len(set(looks)) == len(looks)
    ax = plots.forest([(name, 0.1, 0.0, 0.2, name) for name in VERDICTS] + [("at ci size", 0.1, 0.0, 0.2, None)])
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [*VERDICTS, "no verdict"]


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


DRAWN = """<svg width="263.140262pt" viewBox="0 0 263.140262 -0.001">
 <!-- x="1.23456" --><text x="1.23456" style="font-size: 7.125px" transform="rotate(-0.123456 1.23456 2.005001)">1.23456</text>
 <g id="line2d_1" transform="translate(9.876543 1.5) rotate(-90.123) scale(0.085 -0.015625)"><use xlink:href="#DejaVuSans-24"/></g>
 <image id="imageec7994d284" transform="matrix(0.585622 0 0 0.585622 7.2042 -7.2)" xlink:href="data:image/png;base64,a1.23456"/>
 <path d="M 0.004999 12345.678901 
L -1.999 -0 
z" clip-path="url(#p4d6031690b)" style="stroke-width: 1.23456"/>
</svg>"""
ROUNDED = """<svg width="263.14pt" viewBox="0 0 263.14 0">
 <!-- x="1.23456" --><text x="1.23" style="font-size: 7.125px" transform="rotate(-0.123456 1.23 2.01)">1.23456</text>
 <g id="line2d_1" transform="translate(9.88 1.5) rotate(-90.123) scale(0.085 -0.015625)"><use xlink:href="#DejaVuSans-24"/></g>
 <image id="imageec7994d284" transform="matrix(0.585622 0 0 0.585622 7.2 -7.2)" xlink:href="data:image/png;base64,a1.23456"/>
 <path d="M 0 12345.68 
L -2 0 
z" clip-path="url(#p4d6031690b)" style="stroke-width: 1.23456"/>
</svg>"""


def test_coordinates_alone_are_rounded():
    assert pictures.rounded(DRAWN) == ROUNDED and pictures.rounded(ROUNDED) == ROUNDED


def wobbling(size):
    "A line, marks, a band and a mark of its own shape, one unit a point, each place moved by up to `size`."
    generator = torch.Generator().manual_seed(0)

    def moved(*places):
        return torch.tensor(places).double() + size * (2 * torch.rand(len(places), generator=generator).double() - 1)

    figure = plt.figure(figsize=(200 / 72, 100 / 72), layout="none")
    ax = figure.add_axes((0.1, 0.1, *(moved(160.0, 80.0) / torch.tensor([200, 100])).tolist()))
    ax.set(xlim=(0, 160), ylim=(0, 80), title="Wobble")
    x = moved(10.0, 50.25, 90.5, 150.75)
    ax.plot(x, moved(10.0, 70.5, 20.25, 40.0), marker="o")
    ax.fill_between(x, moved(5.0, 5.5, 6.0, 6.5), moved(30.0, 40.0, 50.5, 60.25), alpha=0.2)
    ax.scatter(moved(20.25, 30.5), moved(60.0, 70.0), marker=[*zip(moved(0.0, 2.0, 2.0), moved(0.0, 2.0, 0.0), strict=True)])
    return svg(figure)


def named(picture):
    return re.findall(r'id="([^"]*)"', picture)


def test_a_wobble_that_nobody_sees_changes_no_byte():
    still, moved = wobbling(0.0), wobbling(1e-4)
    assert named(still) != named(moved)  # clips and outlines bear a hash of all their digits
    assert pictures.rounded(still) == pictures.rounded(moved) == pictures.rounded(pictures.rounded(moved))
    assert pictures.rounded(still) != pictures.rounded(wobbling(0.1))


@pytest.mark.parametrize("fonttype", ["path", "none"])
def test_rounding_leaves_text_and_references_whole(fonttype):
    plt.rcParams["svg.fonttype"] = fonttype
    before = wobbling(1e-4)
    after = pictures.rounded(before)
    fixed = re.compile(r"(?:[mp]|C\w+_)[0-9a-f]{10}")
    assert [i for i in named(before) if not fixed.fullmatch(i)] == [i for i in named(after) if not fixed.fullmatch(i)]
    assert len(set(named(after))) == len(named(after)) == len(named(before))
    assert set(re.findall(r'(?:url\(|href=")#([^)"]*)', after)) <= set(named(after))
    assert re.findall(r">([^<]*)<|<!--.*?-->", before) == re.findall(r">([^<]*)<|<!--.*?-->", after)
    assert re.findall(r"scale\(.*?\)|style=\".*?\"", before) == re.findall(r"scale\(.*?\)|style=\".*?\"", after)
    assert len(after) < len(before)


def test_two_clips_that_become_equal_keep_two_names():
    clips = "".join(
        f'<clipPath id="p{digit * 10}">\n<rect x="{x}"/></clipPath><use a="url(#p{digit * 10})"/>'
        for digit, x in zip("ab", (1.001, 1.002), strict=True)
    )
    names = named(pictures.rounded(clips))
    assert len(set(names)) == 2 and re.findall(r"url\(#(\w+)", pictures.rounded(clips)) == names
    assert pictures.rounded(pictures.rounded(clips)) == pictures.rounded(clips)


def test_roles_are_the_palettes_colours():
    import seaborn

    palette = seaborn.color_palette("colorblind").as_hex()
    assert set(plots.ROLE) == {"anchor", "positive", "negative", "hard", "false"}
    assert set(plots.ROLE.values()) <= set(palette) and len(set(plots.ROLE.values())) == 5


@pytest.mark.parametrize("values", [(1.6e-3, 4e-3, 1e-2), (1e-2, 2.5e-2, 6.25e-2), (0.05, 0.1, 0.2, 0.4), (1e-4, 1e-3, 1e-2, 1e-1)])
def test_labels_under_a_search_do_not_lie_on_each_other(values):
    figure, axes = plt.subplots(1, 2, figsize=plots.TWO)
    ax = plots.search({"one": ({"lr": values[1]}, [{"lr": value, "score": 0.5} for value in values])}, "lr", axes[0])
    figure.canvas.draw()
    low, high = ax.get_xlim()
    marks = [
        (tick.get_loc(), tick.label1.get_window_extent())
        for tick in ax.xaxis.get_major_ticks() + ax.xaxis.get_minor_ticks()
        if tick.label1.get_text()
    ]
    boxes = [box for place, box in sorted(marks, key=lambda mark: mark[0]) if low <= place <= high]
    assert len(boxes) >= 2 and all(one.x1 < other.x0 for one, other in itertools.pairwise(boxes))


def test_a_search_is_drawn_with_what_was_taken():
    rows = [{"lr": lr, "t": t, "score": -abs(lr - 4) - t} for lr in (2.0, 4.0, 8.0) for t in (0, 1)]
    ax = plots.search({"one": ({"lr": 4.0, "t": 0}, rows), "other": ({"lr": 8.0, "t": 0}, rows[4:])}, "lr")
    curve, taken, _, at_end = ax.lines
    assert curve.get_xdata().tolist() == [2.0, 4.0, 8.0] and curve.get_ydata().tolist() == [-2.0, 0.0, -4.0]
    assert (taken.get_xdata()[0], taken.get_ydata()[0]) == (4.0, 0.0) and at_end.get_xdata()[0] == 8.0
    assert ax.get_xscale() == "log" and [text.get_text() for text in ax.get_legend().get_texts()] == ["one", "other"]
