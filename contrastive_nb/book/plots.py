"""One look for every figure: sizes, colours by role, and the drawings that many pages share.

Plain module: how a figure is styled teaches nothing about the methods. Matplotlib loads when something is drawn.
"""

from collections.abc import Mapping, Sequence

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
