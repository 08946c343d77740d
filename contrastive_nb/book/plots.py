"""One look for every figure: sizes, colours by role, and the drawings that many pages share.

Plain module: how a figure is styled teaches nothing about the methods. Matplotlib loads when something is drawn.
"""

from collections.abc import Callable, Mapping, Sequence

import torch

from contrastive_nb import metrics
from contrastive_nb.checks import check_count, check_finite, check_floating, check_mask
from contrastive_nb.pairs import Pairs

ONE, TWO, WIDE = (3.5, 2.5), (7.0, 2.5), (7.0, 3.4)  # inches: one panel, two panels, one wide panel


# Fixed over the whole book, from seaborn's colour-blind palette.
ROLE = {"anchor": "#0173b2", "positive": "#029e73", "negative": "#de8f05", "hard": "#d55e00", "false": "#cc78bc"}


# A verdict's colour and marker: told apart without colour by shape and filling.
VERDICTS = {
    "confirmed": (ROLE["positive"], "o", True),
    "in the claimed direction, size open": (ROLE["positive"], "o", False),
    "in the claimed direction, too small to count": (ROLE["anchor"], "v", False),
    "no effect of that size": (ROLE["anchor"], "s", True),
    "reversed": (ROLE["hard"], "X", True),
    "not resolved": ("#5f5f5f", "D", False),
    "not testable here": ("#949494", "d", False),
    "not attempted": ("#949494", "|", False),
}
_NO_VERDICT = ("#5f5f5f", ".", True)  # at ci size


def style() -> None:
    """Set fonts, colours and the SVG output that all figures share; call it once a notebook.

    Figures come out the same byte for byte when the numbers are the same: no date, fixed ids, text as outlines
    (so they look right where the font is missing).
    """
    import seaborn

    small, normal = 7.5, 8.5
    seaborn.set_theme(style="whitegrid", palette="colorblind", rc={
        "figure.figsize": ONE, "figure.constrained_layout.use": True, "figure.dpi": 100, "savefig.dpi": 200,
        "font.size": normal, "axes.labelsize": normal, "axes.titlesize": normal, "legend.title_fontsize": small,
        "xtick.labelsize": small, "ytick.labelsize": small, "legend.fontsize": small, "legend.frameon": False,
        "axes.edgecolor": "#b8b8b8", "axes.linewidth": 0.7, "axes.spines.top": False, "axes.spines.right": False,
        "xtick.major.pad": 2, "ytick.major.pad": 3, "axes.labelpad": 3,
        "grid.color": "#e9e9e9", "grid.linewidth": 0.6, "lines.linewidth": 1.5, "lines.markersize": 4.5,
        "hatch.linewidth": 0.5, "hatch.color": "#a6a6a6", "svg.fonttype": "path", "svg.hashsalt": "contrastive_nb",
    })  # fmt: skip
    try:
        from IPython import get_ipython
    except ImportError:
        return
    if get_ipython() is not None:
        from matplotlib_inline.backend_inline import set_matplotlib_formats

        set_matplotlib_formats("svg", metadata={"Date": None})


def _axes(ax, size):
    import matplotlib.pyplot as plt

    return plt.subplots(figsize=size)[1] if ax is None else ax


def _runs(mask):
    "One path over all True cells, neighbours in a row merged: a large matrix stays a small figure."
    from matplotlib.path import Path

    corners = []
    for q, row in enumerate(mask.tolist()):
        edges = [k for k in range(len(row) + 1) if (k < len(row) and row[k]) != (k > 0 and row[k - 1])]
        for start, end in zip(edges[::2], edges[1::2], strict=True):
            corners.append([(k - 0.5, q - 0.5 + below) for k, below in ((start, 0), (end, 0), (end, 1), (start, 1), (start, 0))])
    codes = [Path.MOVETO, Path.LINETO, Path.LINETO, Path.LINETO, Path.CLOSEPOLY] * len(corners)
    return Path([corner for cell in corners for corner in cell], codes)


def _signs(mask, cross: bool):
    "One path of plus or minus signs over all True cells: a letter a cell would weigh ten times as much."
    from matplotlib.path import Path

    points = []
    for q, k in mask.nonzero().tolist():
        points += [(k - 0.16, q), (k + 0.16, q)] + ([(k, q - 0.16), (k, q + 0.16)] if cross else [])
    return Path(points, [Path.MOVETO, Path.LINETO] * (len(points) // 2))


def masks(
    pairs,  # a `Pairs`: scores, positives, negatives
    ax=None,  # matplotlib axes; None: a new figure
    values: bool = False,  # write each pair's score into its cell (up to about 8 x 8)
    legend: bool | None = None,  # None: only in a figure of its own
):
    """Draw the score matrix with its positive, negative and ignored pairs; returns the axes.

    Told apart without colour too: positives are dark with a plus, negatives pale with a minus, ignored pairs hatched.
    """
    from matplotlib.patches import Patch, PathPatch

    legend = ax is None if legend is None else legend
    ax = _axes(ax, ONE)
    scores, positives, negatives = (part.detach().cpu() for part in (pairs.scores, pairs.positives, pairs.negatives))
    queries, keys = scores.shape
    room = ax.get_position().size * ax.figure.get_size_inches() * 72
    cell = min((room[0] - 50 * legend) / max(keys, 1), room[1] / max(queries, 1))  # points
    crowded = cell < 7  # then signs are too small to be read
    kinds: dict[str, tuple] = {
        "positive": (positives, "+", dict(facecolor=ROLE["positive"], edgecolor=ROLE["positive"])),
        "negative": (negatives, "−", dict(facecolor="#fbe6c3", edgecolor=ROLE["negative"])),
        "ignored": (~positives & ~negatives, "", dict(facecolor="#f7f7f7", edgecolor="#9a9a9a", hatch="/" * (9 if crowded else 5))),
    }
    handles = []
    for kind, (mask, sign, look) in kinds.items():
        if mask.any():
            ax.add_patch(PathPatch(_runs(mask), linewidth=0, **look))
            handles.append(Patch(label=kind if crowded or not sign else f"{kind} ({sign})", linewidth=0.5, **look))
        ink, weight = ("white", "bold") if kind == "positive" else ("#7a4d00", "normal")
        if sign and values:
            for q, k in mask.nonzero().tolist():
                text = f"{scores[q, k]:.2f}".replace("-", "−")
                ax.text(k, q, text, ha="center", va="center", color=ink, fontsize=min(9.0, cell * 0.28), weight=weight)
        elif sign and not crowded and mask.any():
            ax.add_patch(PathPatch(_signs(mask, sign == "+"), fill=False, edgecolor=ink, linewidth=min(1.2, cell * 0.08)))
    width = 0.25 if crowded else 1.2
    ax.vlines([k - 0.5 for k in range(1, keys)], -0.5, queries - 0.5, color="white", linewidth=width)
    ax.hlines([q - 0.5 for q in range(1, queries)], -0.5, keys - 0.5, color="white", linewidth=width)
    ax.set(xlim=(-0.5, keys - 0.5), ylim=(queries - 0.5, -0.5), aspect="equal", xlabel="key", ylabel="query")
    ax.set(xticks=range(0, keys, -(-keys // 8) or 1), yticks=range(0, queries, -(-queries // 8) or 1))
    ax.grid(False)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    if legend:
        ax.legend(handles=handles, loc="center left", bbox_to_anchor=(1.0, 0.5), handlelength=1.1, handleheight=1.1)
    return ax


def search(
    found: Mapping[str, tuple[Mapping, Sequence[Mapping]]],  # arm -> (best setting, rows with `score`), as `small_search` gives them
    setting: str,  # one that all arms have; its values are above 0
    ax=None,  # matplotlib axes; None: a new figure
):
    "Draw the best score at each value of a setting, a line an arm, with a circle round what was taken; returns the axes."
    from matplotlib.ticker import LogLocator, NullLocator

    ax = _axes(ax, ONE)
    for i, (arm, (best, rows)) in enumerate(found.items()):
        values = sorted({row[setting] for row in rows})
        scores = [max(row["score"] for row in rows if row[setting] == value) for value in values]
        ax.plot(values, scores, marker="os^Dv"[i % 5], color=f"C{i}", markersize=4, label=arm)
        ax.plot(best[setting], scores[values.index(best[setting])], "o", color=f"C{i}", markersize=11, fillstyle="none")
    ax.set_xscale("log")
    tried = [row[setting] for _, rows in found.values() for row in rows]
    few = len(tried) > 0 and max(tried) < 50 * min(tried)  # labels of all whole numbers would lie on each other
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if few else (1,)))
    ax.xaxis.set_major_formatter("{x:g}")
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set(xlabel=setting, ylabel="score on the search seeds")
    ax.legend()
    return ax


def forest(
    rows: Sequence[tuple],  # (label, effect, low, high, verdict) each, drawn from top to bottom; low and high may be None
    ax=None,  # matplotlib axes; None: a new figure as high as the rows need
):
    "Draw effects with their intervals beside the line of no effect, one row a claim; returns the axes."
    ax = _axes(ax, (WIDE[0], 0.9 + 0.3 * len(rows)))
    seen = {}
    for y, (_, effect, low, high, verdict) in enumerate(rows):
        colour, marker, filled = VERDICTS.get(verdict, _NO_VERDICT)
        if effect is None:
            continue
        low, high = effect if low is None else low, effect if high is None else high
        ax.plot([low, high], [y, y], color=colour, linewidth=1.5, solid_capstyle="butt")
        look = dict(color=colour, marker=marker, markerfacecolor=colour if filled else "white", markersize=6, linestyle="none")
        seen[verdict or "no verdict"] = ax.plot([effect], [y], **look)[0]
    ax.axvline(0, color="#3f3f3f", linewidth=0.9, zorder=1)
    ax.set(yticks=range(len(rows)), yticklabels=[row[0] for row in rows], ylim=(len(rows) - 0.4, -0.6))
    ax.set_xlabel("effect in the claimed direction (95% interval)")
    ax.grid(False, axis="y")
    if len(seen) > 1:
        ax.legend(seen.values(), seen.keys(), loc="lower left", bbox_to_anchor=(0, 1.0), ncols=min(len(seen), 2), handletextpad=0.3)
    return ax


def band(
    ax,  # matplotlib axes
    x: Sequence[float],  # (X,) places
    runs: Sequence[Sequence[float]],  # (S, X): one row a seed
    label: str | None = None,
    color: str | None = None,  # such as ROLE["anchor"]; None: the next of the palette
):
    """Draw the mean over seeds as a line and its 95% t interval as a band; returns the line.

    One seed has no band. Raises `ValueError` when the rows do not have one value a place.
    """
    import numpy as np
    from scipy import stats

    rows = np.asarray(runs, dtype=float)
    if rows.ndim != 2 or rows.shape[1] != len(x):
        raise ValueError(f"runs: got shape {rows.shape}, want (seeds, {len(x)}), one value a place")
    mean = rows.mean(0)
    (line,) = ax.plot(x, mean, label=label, color=color)
    if len(rows) > 1:
        half = stats.t.ppf(0.975, len(rows) - 1) * rows.std(0, ddof=1) / len(rows) ** 0.5
        ax.fill_between(x, mean - half, mean + half, color=line.get_color(), alpha=0.18, linewidth=0)
    return line


def score_distributions(
    steps: Sequence[float],  # (S,) of a training
    moments: Sequence[Mapping[str, float]],  # one a step, as `contrastive_nb.negatives.score_moments` gives them
    ax=None,  # matplotlib axes; None: a new figure
):
    """Draw where positive and negative scores lie over a training: their means, one standard deviation about each; returns the axes.

    Raises `ValueError` when there is not one row of moments a step. (Zhu et al. 2021.)
    """
    if len(steps) != len(moments):
        raise ValueError(f"moments: got {len(moments)}, want {len(steps)}, one a step")
    ax = _axes(ax, ONE)
    for kind in ("positive", "negative"):
        means = [row[f"{kind} mean"] for row in moments]
        deviations = [row[f"{kind} variance"] ** 0.5 for row in moments]
        low, high = ([mean + sign * d for mean, d in zip(means, deviations, strict=True)] for sign in (-1, 1))
        ax.plot(steps, means, color=ROLE[kind], label=f"{kind} pairs")
        ax.fill_between(steps, low, high, color=ROLE[kind], alpha=0.18, linewidth=0)
    ax.set(xlabel="step", ylabel="score")
    ax.legend()
    return ax


def _checked(pairs) -> tuple:
    "The parts of the pairs, checked and in float64 on the processor; raises where there is nothing to draw."
    if not isinstance(pairs, Pairs):
        raise TypeError(f"pairs: got {type(pairs).__name__}, want a `Pairs`, as the builders of contrastive_nb.pairs give it")
    scores, positives, negatives = (part.detach().cpu() for part in pairs.check()[:3])
    weights = None if pairs.weights is None else pairs.weights.detach().cpu()
    for kind, mask in (("positive", positives), ("negative", negatives)):
        if not mask.any():
            raise ValueError(f"pairs: got no {kind} pair among {tuple(scores.shape)} scores, want at least one of either kind")
    return scores.double(), positives, negatives, weights


def _corners(x, y):
    "The points where a staircase turns: what lies between them on one line weighs and is not seen."
    between = torch.zeros(len(x), dtype=torch.bool)
    for part in (x, y):
        between[1:-1] |= (part[1:-1] == part[:-2]) & (part[1:-1] == part[2:])
    return x[~between], y[~between]


def roc(
    pairs,  # a `Pairs`: (Q, K) scores, positives, negatives, weights, at least one pair of either kind
    ax=None,  # matplotlib axes; None: a new figure
    label: str = "",  # words before the names of both lines: call again with the same axes to compare two encoders
):
    """Draw the ROC curve of the whole matrix and the mean curve of its queries, the areas in the legend; returns the axes.

    A query that has one kind alone is in no mean; where none has both, the pooled line stands alone. Raises `TypeError` or
    `ValueError` naming the argument. (Fawcett 2006.)
    """
    parts = _checked(pairs)
    ax = _axes(ax, ONE)
    if not ax.lines:
        ax.plot([0, 1], [0, 1], color="#949494", linewidth=0.9, linestyle=":", label="chance")
    color = None
    for pooled, name in ((True, "pooled"), (False, "per query")):
        if (area := metrics.auc(*parts, pooled=pooled)) == area:  # not nan: there are queries with both kinds
            curve = metrics.roc(*parts, pooled=pooled)
            said = f"{label}{', ' if label else ''}{name}: {area:.3f}"
            (line,) = ax.plot(*_corners(curve.fpr, curve.tpr), color=color, linestyle="-" if pooled else "--", label=said)
            color = line.get_color()
    ax.set(xlabel="negatives above the threshold", ylabel="positives above the threshold", aspect="equal")
    ax.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    ax.legend(title="area under the curve", loc="lower right")
    return ax


def reliability(
    confidence,  # (N,) probabilities in [0, 1]
    correct,  # (N,) bool: did what was predicted come true
    ax=None,  # matplotlib axes; None: a new figure
    bins: int = 10,  # of equal width
):
    """Draw how often predictions come true at each confidence, with the gap to the diagonal, and how many there are; returns the axes.

    A mark's area goes with the number of predictions in its bin; empty bins have none. Raises `TypeError` or `ValueError` naming the
    argument. (Guo et al. 2017, figure 1 and equation 3.)
    """
    error, found = metrics.calibration_error(confidence, correct, bins), metrics.calibration_bins(confidence, correct, bins)
    there = found.counts > 0
    sure, right, counts = (part[there].cpu() for part in (found.confidence, found.accuracy, found.counts))
    ax = _axes(ax, ONE)
    ax.plot([0, 1], [0, 1], color="#949494", linewidth=0.9, linestyle=":", label="calibrated")
    ax.vlines(sure, sure, right, color=ROLE["hard"], linewidth=1.5, label=f"gap, {error:.3f} on average")
    ax.plot(sure, right, color=ROLE["anchor"], linewidth=1)
    ax.scatter(
        sure, right, s=(8 + 60 * counts / counts.max()), color=ROLE["anchor"], zorder=3, label=f"a bin of {len(confidence)} predictions"
    )
    ax.set(xlabel="confidence", ylabel="share that came true", xlim=(-0.04, 1.04), ylim=(-0.04, 1.04), aspect="equal")
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1.0), handletextpad=0.4)
    return ax


def score_histograms(
    pairs,  # a `Pairs`: (Q, K) scores, positives, negatives, at least one pair of either kind
    false=None,  # (Q, K) bool, of pairs whose sign is known to be wrong: negatives that belong together, or positives that do not
    ax=None,  # matplotlib axes; None: a new figure
    bins: int = 40,
):
    """Draw how the scores of positive and of negative pairs are spread, those known to be false hatched; returns the axes.

    Each kind's bars add up to one, the false ones' too, so that a few are seen beside many; the legend says how many. A false negative
    is among the negatives as well. Weights are not looked at. Raises `TypeError` or `ValueError` naming the argument.
    """
    scores, positives, negatives, _ = _checked(pairs)
    check_count("bins", bins)
    false = torch.zeros_like(positives) if false is None else false
    check_mask("false", false, pairs.scores, "pairs")
    false = false.detach().cpu()
    if (false & ~positives & ~negatives).any():
        at = (false & ~positives & ~negatives).nonzero()[0].tolist()
        raise ValueError(f"false: got a pair that is neither positive nor negative, first at query {at[0]}, key {at[1]}")
    used = scores[positives | negatives]
    low, high = used.min().item(), used.max().item()
    edges = torch.linspace(low, high if high > low else low + 1, bins + 1, dtype=torch.float64)
    ax = _axes(ax, ONE)
    for kind, mask, line in (("negative", negatives, "--"), ("positive", positives, "-")):
        for part, look in (
            (mask, dict(facecolor=ROLE[kind] + "30", edgecolor=ROLE[kind], linestyle=line)),
            (mask & false, dict(facecolor="none", edgecolor=ROLE["false"], hatch="////")),
        ):
            if part.any():
                shares = torch.histogram(scores[part], edges).hist / part.sum()
                said = f"{'false ' if part is not mask else ''}{kind}: {int(part.sum())}"
                ax.stairs(shares, edges, fill=True, linewidth=1.2, label=said, **look)
    ax.set(xlabel="score", ylabel="share of the pairs of a kind")
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=2)
    return ax


def alignment_uniformity(
    views: Mapping[str, tuple],  # name -> two (N, D) embeddings of the same N >= 2 items, such as {"trained": (z1, z2)}
    ax=None,  # matplotlib axes; None: a new figure
):
    """Draw each pair of views as a point: how near positives lie, and how evenly items cover the sphere; returns the axes.

    Both are better the lower. The uniformity is the mean of both views'. Raises `TypeError` or `ValueError` naming the argument.
    (Wang & Isola 2020, figure 7.)
    """
    if not isinstance(views, Mapping):
        raise TypeError(f"views: got {type(views).__name__}, want a mapping from a name to two tensors")
    if not views:
        raise ValueError("views: got no entry, want at least one name with two (N, D) tensors")
    points = {}
    for name, both in views.items():
        if not isinstance(both, (tuple, list)) or len(both) != 2:
            raise ValueError(f"views[{name!r}]: got {_amount(both)}, want two (N, D) tensors")
        try:
            points[name] = metrics.alignment(*both), sum(map(metrics.uniformity, both)) / 2
        except (TypeError, ValueError) as error:
            raise type(error)(f"views[{name!r}]: {error}") from None
    ax = _axes(ax, ONE)
    for i, (name, (near, even)) in enumerate(points.items()):
        ax.plot([near], [even], marker="os^DvXP"[i % 7], markersize=7, linestyle="none", color=f"C{i}", label=name)
    ax.set(xlabel="alignment (lower: positives nearer)", ylabel="uniformity (lower: more even)")
    ax.margins(0.2)
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), handletextpad=0.3)
    return ax


def _amount(value) -> str:
    return f"{len(value)} entries" if isinstance(value, (tuple, list)) else type(value).__name__


def _check_items(items, scores) -> None:
    "Raise unless there is one item a score: texts, or images."
    check_finite("scores", check_floating("scores", scores, (1,)), "item")
    if not hasattr(items, "__len__") or isinstance(items, str):
        raise TypeError(f"items: got {type(items).__name__}, want a list of texts or a tensor of images")
    if len(items) != len(scores) or not len(items):
        raise ValueError(f"items: got {len(items)}, want one a score and at least one; there are {len(scores)} scores")


def _picture(name: str, image):
    "An image as matplotlib wants it: (H, W) or (H, W, 3), numbers in [0, 1]."
    image = torch.as_tensor(image).detach().cpu().double()
    image = image[0] if image.dim() == 3 and len(image) == 1 else image
    if image.dim() == 3 and len(image) == 3:
        image = image.movedim(0, -1)
    elif image.dim() != 2:
        raise ValueError(f"{name}: got shape {tuple(image.shape)}, want (H, W), (1, H, W) or (3, H, W)")
    low, high = image.min(), image.max()
    return ((image - low) / (high - low) if high > low else image - low).numpy()


def neighbours(
    query,  # a text, or an image: (H, W), (1, H, W) or (3, H, W)
    items,  # K texts, or images like the query's, such as a (K, 1, H, W) tensor
    scores,  # (K,) floating: how alike each item is to the query
    right=None,  # (K,) bool: which items belong to the query; None: not known
    ax=None,  # matplotlib axes; None: a new figure
    k: int = 5,  # how many of the highest are shown; fewer where there are fewer items
):
    """Draw a query beside its k nearest items, the highest score first, right ones with a plus, wrong ones with a minus; returns the axes.

    Images stand in a row, each stretched to its own range of grey; texts below each other, cut at 80 letters. Raises `TypeError` or
    `ValueError` naming the argument.
    """
    _check_items(items, scores)
    if right is not None:
        check_mask("right", right, scores)
    best = scores.detach().cpu().topk(min(check_count("k", k), len(scores))).indices.tolist()
    shown = [(query, "query", ROLE["anchor"])]
    for i in best:
        sign = "" if right is None else " (+)" if right[i] else " (−)"
        color = "#5f5f5f" if right is None else ROLE["positive" if right[i] else "hard"]
        shown.append((items[i], f"{scores[i].item():.2f}{sign}".replace("-", "−"), color))
    ax = (_write_column if isinstance(query, str) else _draw_row)(shown, ax)
    ax.set(xticks=[], yticks=[])
    ax.grid(False)
    ax.spines[:].set_visible(False)
    return ax


def _draw_row(shown: list[tuple], ax):
    "Images side by side, each with its words above and a frame of its colour."
    from matplotlib.patches import Rectangle

    pictures = [_picture("query" if i == 0 else "items", image) for i, (image, _, _) in enumerate(shown)]
    ax = _axes(ax, (1.1 * len(shown), 1.5))
    for i, (picture, (_, words, color)) in enumerate(zip(pictures, shown, strict=True)):
        left = i + 0.25 * (i > 0)  # the query stands apart
        ax.imshow(picture, extent=(left + 0.04, left + 0.96, 0, 0.92), cmap="gray_r", vmin=0, vmax=1, interpolation="none")
        ax.add_patch(Rectangle((left + 0.04, 0), 0.92, 0.92, fill=False, edgecolor=color, linewidth=1.5))
        ax.text(left + 0.5, 0.98, words, ha="center", va="bottom", color=color)
    ax.set(xlim=(0, len(shown) + 0.25), ylim=(-0.03, 1.2), aspect="equal")
    return ax


def _write_column(shown: list[tuple], ax):
    "Texts below each other, each with its words before it."
    for item, _, _ in shown:
        if not isinstance(item, str):
            raise TypeError(f"items: got {type(item).__name__} beside a query that is a text, want texts")
    ax = _axes(ax, (WIDE[0], 0.3 + 0.24 * len(shown)))
    for y, (text, words, color) in enumerate(shown):
        line = " ".join(text.split()).replace("$", r"\$")
        ax.text(0, y, words, ha="left", va="center", color=color, weight="bold")
        ax.text(0.14, y, line if len(line) <= 80 else line[:79] + "…", ha="left", va="center", color="#333333")
    ax.set(xlim=(0, 1), ylim=(len(shown) - 0.4, -0.6))
    return ax


def _principal(z):
    "(N, 2) places along the two directions of largest variance, and the shares of the variance; the sign of an axis is fixed."
    u, s, v = torch.linalg.svd(z - z.mean(0), full_matrices=False)
    signs = v.gather(1, v.abs().argmax(1, keepdim=True)).sign().flatten()
    places, shares = u * s * signs, s.square() / s.square().sum().clamp(min=1e-300)
    if places.shape[1] < 2:
        places, shares = (torch.cat([part, torch.zeros_like(part)], -1) for part in (places, shares))
    return places[:, :2], shares[:2].tolist()


def embedding_map(
    z,  # (N, D) embeddings, N >= 2
    labels: Sequence | None = None,  # (N,) a name or number each, ten kinds at most; None: one colour
    ax=None,  # matplotlib axes; None: a new figure
    reduce: Callable | None = None,  # (N, D) tensor -> (N, 2) places, such as a t-SNE; None: principal components
):
    """Draw embeddings as points in the plane, a colour and a mark a label; returns the axes.

    By default along the two principal components, with their shares of the variance at the axes; places of another map have no
    scale. Raises `TypeError` or `ValueError` naming the argument.
    """
    check_finite("z", check_floating("z", z, (2,)))
    if len(z) < 2 or not z.shape[1]:
        raise ValueError(
            f"z: got shape {tuple(z.shape)}, want two rows or more with a number each: a map shows where they lie to each other"
        )
    kinds = [None] * len(z) if labels is None else labels.tolist() if hasattr(labels, "tolist") else list(labels)
    if len(kinds) != len(z):
        raise ValueError(f"labels: got {len(kinds)}, want {len(z)}, one a row of z")
    names = list(dict.fromkeys(kinds)) if any(isinstance(kind, str) for kind in kinds) else sorted(set(kinds), key=lambda k: (k is None, k))
    if len(names) > 10:
        raise ValueError(f"labels: got {len(names)} kinds, want ten at most: more colours are not told apart")
    if reduce is None:
        places, shares = _principal(z.detach().cpu().double())
        named = [f"{which} component ({share:.0%} of the variance)" for which, share in zip(("first", "second"), shares, strict=True)]
    else:
        places, named = torch.as_tensor(reduce(z)).detach().cpu(), ["first place", "second place"]
        if places.shape != (len(z), 2):
            raise ValueError(f"reduce: gave shape {tuple(places.shape)}, want {(len(z), 2)}, two numbers a row of z")
    ax = _axes(ax, ONE)
    for i, name in enumerate(names):
        mine = torch.tensor([kind == name for kind in kinds])
        ax.plot(*places[mine].T, "os^DvXP<>*"[i], color=f"C{i}", markersize=4, alpha=0.7, markeredgewidth=0, label=f"{name}")
    ax.set(xlabel=named[0], ylabel=named[1])
    ax.set_aspect("equal", "datalim")
    if labels is not None:
        ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), handletextpad=0.3)
    return ax


def verdicts(
    rows: Sequence[tuple],  # (label, effect, low, high, verdict) each, in units of the smallest effect that counts: `ledger.drawn(records)`
    ax=None,  # matplotlib axes; None: a new figure as high as the rows need
):
    """Draw claims of any metric on one axis, by how often the smallest effect that counts goes into theirs; returns the axes.

    At 0 there is no effect, from the dotted line at 1 on it counts; the axis is linear up to there and logarithmic beyond.
    Raises `TypeError` or `ValueError` naming the argument.
    """
    if isinstance(rows, Mapping) or not isinstance(rows, Sequence):
        raise TypeError(f"rows: got {type(rows).__name__}, want a list of rows")
    if not rows:
        raise ValueError("rows: got no claim, want at least one")
    for i, row in enumerate(rows):
        if not isinstance(row, Sequence) or isinstance(row, str) or len(row) != 5:
            raise ValueError(f"rows[{i}]: got {_amount(row)}, want label, effect, low, high and verdict")
    ax = forest(rows, ax)
    ax.axvline(1, color="#3f3f3f", linewidth=0.9, linestyle=":", zorder=1)
    ax.set_xscale("symlog", linthresh=1, linscale=0.7)
    ax.xaxis.set_major_formatter(lambda x, _: f"{x:g}".replace("-", "−"))
    ax.set_xlabel("effect / smallest effect that counts (95% interval)")
    return ax
