"""MW from a table: against the plain form in float64, over temperatures, data, weights, masks, and where it must stand back."""

import math
import warnings
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from contrastive_nb.kernels import tabulated
from contrastive_nb.kernels.pairwise import pooled_losses
from contrastive_nb.objectives import mw
from contrastive_nb.pairs import Pairs, flip, from_labels, in_batch, two_views
from contrastive_nb.scaling import all_pairs_square

TEMPERATURES = (1.0, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005)
KINDS = ("spread", "anti-aligned", "aligned", "dot products", "equal", "few values")


def numbers(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pairs_of(kind: str, size: int = 72, seed: int = 0) -> Pairs:
    "A float32 square whose diagonal is positive: cosines, dot products of range 50, or scores that fall on few values."
    g = numbers(seed)
    scores = torch.randn(size, size, generator=g) * 0.1
    diagonal = {
        "spread": torch.rand(size, generator=g) * 1.8 - 0.9, "anti-aligned": torch.rand(size, generator=g) * 0.1 - 1,
        "aligned": torch.rand(size, generator=g) * 0.1 + 0.9, "equal": torch.full((size,), 0.3), "few values": torch.full((size,), 0.3),
    }.get(kind)  # fmt: skip
    if kind == "dot products":
        scores, diagonal = torch.rand(2, size, size, generator=g)[0] * 50 - 25, torch.rand(size, generator=g) * 50 - 25
    if kind == "few values":
        scores = (scores * 8).round() / 7
    if kind == "equal":
        scores = torch.full_like(scores, 0.3)
    positives = torch.eye(size, dtype=torch.bool)
    return Pairs(torch.where(positives, diagonal.diag(), scores), positives, ~positives)


def plain(pairs: Pairs, temperature) -> Tensor:
    "(P,) losses by the formula, float64, weights normalised as mw says."
    scores, positives, negatives, weights = pairs
    pos, neg = scores[positives].double(), scores[negatives].double()
    wp, wn = (torch.ones_like(x) if weights is None else weights[m].double() for x, m in ((pos, positives), (neg, negatives)))
    rows = [(-F.logsigmoid((p[:, None] - neg) / temperature)) @ (wn / wn.sum()) for p in pos.split(64)]
    return torch.cat(rows) * wp / wp.mean()


def both(pairs: Pairs, temperature, loss, slopes=None):
    "Losses, gradient of their weighted mean by the scores and by the temperature."
    scores, t = pairs.scores.clone().requires_grad_(), torch.tensor(temperature, dtype=torch.float64, requires_grad=True)
    losses = loss(pairs._replace(scores=scores), t)
    weigh = torch.ones_like(losses) if slopes is None else slopes.to(losses)
    return (losses.detach().double(), *(x.double() for x in torch.autograd.grad((losses * weigh).mean(), (scores, t))))


def table(pairs: Pairs, t) -> Tensor:
    return mw(*pairs, temperature=t, reduction="none")


def away(got: Tensor, want: Tensor) -> float:
    return ((got - want).norm() / want.norm()).item()


@pytest.fixture
def in_table(monkeypatch):
    "Every float32 matrix goes through the table, and the list says how often it did."
    monkeypatch.setattr(tabulated, "FROM_PAIRS", 0)
    monkeypatch.setattr(tabulated, "PAIRS_A_BIN", 0)
    calls, apply = [], tabulated._Tabulated.apply
    monkeypatch.setattr(tabulated._Tabulated, "apply", lambda *a: calls.append(1) or apply(*a))
    return calls


# --- the whole: mw against the plain form -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("kind", KINDS)
def test_value_and_gradients(kind, temperature, in_table):
    pairs = pairs_of(kind)
    slopes = torch.rand(72, generator=numbers(1), dtype=torch.float64)
    want = both(pairs, temperature, plain, slopes)
    got = both(pairs, temperature, table, slopes)
    assert in_table == [1]
    tiny = torch.finfo(torch.float32).tiny
    if want[0].mean() < tiny or want[1].abs().max() < 1e4 * tiny:
        pytest.skip("below the normal range of float32")
    assert abs(got[0].mean() / want[0].mean() - 1) < 2e-6
    normal = want[0] > tiny
    assert (got[0] / want[0] - 1)[normal].abs().max() < 2e-6  # each positive by itself, however small
    for part in (pairs.positives, pairs.negatives):
        assert away(got[1][part], want[1][part]) < 1e-5
    # the temperature's gradient is a sum that may cancel (with equal scores to 0): then measured against the loss
    assert abs(got[2] - want[2]) < max(1e-5 * abs(want[2]), 1e-6 * want[0].mean() / temperature)


@pytest.mark.parametrize("build", ["labels", "two views", "weights", "flipped", "ignored", "many positives", "one row", "one positive"])
def test_builders_masks_and_weights(build, in_table):
    z = torch.randn(40, 8, generator=numbers(2))
    labels = torch.arange(40) // 4
    pairs = {
        "labels": lambda: from_labels(z, labels),
        "two views": lambda: two_views(z[:20], z[20:]),
        "weights": lambda: from_labels(z, labels)._replace(weights=torch.rand(40, 40, generator=numbers(3)).round(decimals=1)),
        "flipped": lambda: flip(in_batch(z[:20], z[:20] + z[20:], z[20:])),
        "ignored": lambda: pairs_of("spread")._replace(negatives=torch.rand(72, 72, generator=numbers(4)) < 0.5),
        "many positives": lambda: from_labels(z, labels % 2),
        "one row": lambda: Pairs(z.reshape(1, -1), torch.arange(320)[None] < 20, torch.arange(320)[None] >= 20),
        "one positive": lambda: pairs_of("spread")._replace(positives=torch.arange(72 * 72).reshape(72, 72) == 0),
    }[build]()
    pairs = pairs._replace(negatives=pairs.negatives & ~pairs.positives)
    if pairs.weights is not None:  # what stands at ignored pairs does not matter
        used = pairs.positives | pairs.negatives
        pairs = pairs._replace(weights=torch.where(used, pairs.weights, math.nan))
    seen = pairs if pairs.weights is None else pairs._replace(
        positives=pairs.positives & (pairs.weights > 0), negatives=pairs.negatives & (pairs.weights > 0))  # fmt: skip
    want, got = both(seen, 0.1, plain), both(pairs, 0.1, table)
    assert in_table == [1] and got[0].shape == want[0].shape
    assert away(got[0], want[0]) < 2e-6 and away(got[1], want[1]) < 1e-5 and away(got[2], want[2]) < 1e-5
    assert (got[1][~(pairs.positives | pairs.negatives)] == 0).all()


@pytest.mark.parametrize("other", [1e4, -1e9, math.inf, -math.inf, math.nan])
def test_ignored_scores_do_not_matter(other, in_table):
    pairs = from_labels(torch.randn(24, 8, generator=numbers(5)), torch.arange(24) // 3)
    ignored = ~(pairs.positives | pairs.negatives)
    want = both(pairs, 0.05, table)
    got = both(pairs._replace(scores=torch.where(ignored, other, pairs.scores)), 0.05, table)
    assert all(away(g, w) < 1e-6 for g, w in zip(got, want, strict=True)) and (got[1][ignored] == 0).all()
    assert in_table == [1, 1]


def test_above_the_threshold_by_itself_and_below_it_pair_by_pair():
    small, large = pairs_of("spread", 60), pairs_of("spread", 70)
    for pairs, exact in ((small, True), (large, False)):
        by_pairs = pooled_losses(*pairs, 0.05)
        got = mw(*pairs, temperature=0.05, reduction="none")
        assert torch.equal(got, by_pairs.float()) == exact
        torch.testing.assert_close(got, by_pairs.float(), rtol=2e-6, atol=0)


def test_float64_never():
    pairs = pairs_of("spread", 130)
    double = pairs._replace(scores=pairs.scores.double())
    torch.testing.assert_close(mw(*double, temperature=0.02, reduction="none"), plain(double, 0.02), rtol=1e-12, atol=0)
    scores = double.scores.requires_grad_()
    (slope,) = torch.autograd.grad(mw(scores, *pairs[1:], temperature=0.5), scores, create_graph=True)
    assert torch.isfinite(torch.autograd.grad(slope.square().sum(), scores)[0]).all()


def test_half_precision_and_autocast(in_table):
    pairs = pairs_of("spread")
    rounded = pairs._replace(scores=pairs.scores.bfloat16())
    got = mw(*rounded, temperature=0.05)
    assert got.dtype == torch.float32
    torch.testing.assert_close(got.double(), plain(pairs._replace(scores=rounded.scores.float()), 0.05).mean(), rtol=2e-6, atol=0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(mw(*pairs, temperature=0.05), mw(*pairs, temperature=0.05))
        torch.testing.assert_close(mw(*pairs, temperature=0.05).double(), plain(pairs, 0.05).mean(), rtol=2e-6, atol=0)
    assert len(in_table) == 4


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("kind", ["spread", "aligned"])
def test_on_cuda(kind, in_table):
    pairs = pairs_of(kind)
    on_device = Pairs(*(x if x is None else x.cuda() for x in pairs))
    want = both(pairs, 0.05, plain)
    scores, t = on_device.scores.requires_grad_(), torch.tensor(0.05, device="cuda", requires_grad=True)
    loss = mw(scores, *on_device[1:], temperature=t)
    slope, by_t = torch.autograd.grad(loss, (scores, t))
    assert in_table == [1] and abs(loss.item() / want[0].mean().item() - 1) < 2e-6
    assert away(slope.cpu().double(), want[1]) < 1e-5 and away(by_t.cpu().double(), want[2]) < 1e-5


def test_reductions_and_no_grad(in_table):
    pairs = pairs_of("spread")
    losses = mw(*pairs, temperature=0.1, reduction="none")
    torch.testing.assert_close(mw(*pairs, temperature=0.1), losses.mean())
    torch.testing.assert_close(mw(*pairs, temperature=0.1, reduction="sum"), losses.sum())
    with torch.no_grad():
        assert torch.equal(mw(*pairs, temperature=0.1, reduction="none"), losses)
    assert not losses.requires_grad and losses.shape == (72,) and losses.dtype == torch.float32


def test_nothing_to_compare(in_table):
    pairs = pairs_of("spread")
    scores = pairs.scores.clone().requires_grad_()
    for positives, negatives in ((pairs.positives, pairs.negatives & False), (pairs.positives & False, pairs.negatives)):
        loss = mw(scores, positives, negatives, temperature=0.1)
        assert loss == 0 and (torch.autograd.grad(loss, scores)[0] == 0).all()


def test_same_bits_twice_and_uneven_tiles(in_table, monkeypatch):
    pairs = pairs_of("spread")
    one, two = (both(pairs, 0.05, table) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))
    for entries in (1, 72 * 5, 72 * 71):
        monkeypatch.setattr(tabulated, "ENTRIES_A_TILE", entries)
        monkeypatch.setattr(tabulated, "_tiles", _small_tiles(entries))
        assert all(away(a, b) < 1e-7 for a, b in zip(both(pairs, 0.05, table), one, strict=True))


def _small_tiles(entries):
    return lambda scores, grid: (slice(i, i + max(1, entries // 72)) for i in range(0, len(scores), max(1, entries // 72)))


def test_func_grad_and_second_derivatives(in_table):
    pairs = pairs_of("spread")
    loss = lambda s, t=0.1: mw(s, *pairs[1:], temperature=t)
    got = torch.func.grad(loss)(pairs.scores)
    assert away(got.double(), both(pairs, 0.1, table)[1]) < 1e-7
    by_t = torch.func.grad(loss, argnums=1)(pairs.scores, torch.tensor(0.1))
    assert away(by_t.double(), both(pairs, 0.1, plain)[2]) < 1e-5
    scores = pairs.scores.clone().requires_grad_()
    (slope,) = torch.autograd.grad(loss(scores), scores, create_graph=True)
    with pytest.raises(RuntimeError, match="first derivatives alone"):
        slope.square().sum().backward()


# --- where it stands back ---------------------------------------------------------------------------------------------------------


def reasons():
    pairs = pairs_of("spread")
    weights = torch.ones_like(pairs.scores).requires_grad_()
    cold = pairs.scores.clone()
    cold[0, 3] = -math.inf
    return {
        "too far apart": (pairs._replace(scores=pairs.scores * 1e6), 0.01),
        "infinite or not": (pairs._replace(scores=cold), 0.1),
        "temperature of its own": (pairs, torch.full_like(pairs.scores, 0.1)),
        "weights need a gradient": (pairs._replace(weights=weights), 0.1),
    }


@pytest.mark.parametrize("reason", list(reasons()))
def test_fall_back_is_announced_and_right(reason, in_table):
    pairs, t = reasons()[reason]
    with pytest.warns(UserWarning, match=reason):
        got = mw(*pairs, temperature=t)
    assert not in_table
    number = 0.1 if isinstance(t, Tensor) else t
    weights = None if pairs.weights is None else pairs.weights.detach()
    torch.testing.assert_close(got.double(), plain(pairs._replace(weights=weights), number).mean(), rtol=1e-6, atol=0)


def test_announced_once_a_line(in_table):
    pairs, t = reasons()["too far apart"]
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("default")
        for _ in range(3):
            mw(*pairs, temperature=t)
    assert len(seen) == 1 and seen[0].filename == __file__


def test_vmap_falls_back(in_table):
    pairs = pairs_of("spread", 24)
    stacked = torch.stack([pairs.scores, -pairs.scores])
    loss = lambda s: mw(s, *pairs[1:], temperature=0.1)
    with pytest.warns(UserWarning, match="vmap"):
        got = torch.func.vmap(torch.func.grad(loss))(stacked)
    want = torch.stack([both(pairs._replace(scores=s), 0.1, plain)[1] for s in stacked])
    assert away(got.double(), want) < 1e-5


@pytest.mark.parametrize("place", ["negative", "positive"])
def test_nan_is_not_hidden(place):
    pairs = pairs_of("spread", 80)
    where = (2, 2) if place == "positive" else (3, 5)
    pairs.scores[where] = math.nan
    scores = pairs.scores.clone().requires_grad_()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        losses = mw(scores, *pairs[1:], temperature=0.1, reduction="none")
    losses.mean().backward()
    assert losses.mean().isnan() and losses[2].isnan() and scores.grad[where].isnan()
    assert losses.isnan().sum() == (80 if place == "negative" else 1)


def test_no_table_where_it_does_not_pay(in_table, monkeypatch):
    "A wide range for few scores: more bins than comparisons, so pair by pair, and without a word."
    monkeypatch.setattr(tabulated, "PAIRS_A_BIN", 4)
    pairs = pairs_of("spread", 5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mw(*pairs, temperature=0.001)
    assert not in_table


# --- the parts --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "low,high,t", [(-1, 1, 0.05), (-1, 1, 1.0), (0.3, 0.3, 0.1), (-25, 25, 0.005), (-7e-4, 3e-4, 1e-4), (900, 901, 0.2)]
)
def test_grid(low, high, t):
    grid = tabulated.grid_over(low, high, t)
    assert math.log2(grid.scale) % 1 == 0 and 0.125 < grid.step <= 0.25
    scores = torch.linspace(low, high, 1001).clamp(low, high)
    index, rest = tabulated.place(scores, grid)
    assert index.min() >= 0 and index.max() < grid.bins and rest.abs().max() <= 0.5
    back = (index.double() + grid.first + rest.double()) / grid.scale
    assert torch.equal(back, scores.double())  # not one bit is lost


@pytest.mark.parametrize(
    "low,high,t", [(-1, math.inf, 0.1), (math.nan, 1, 0.1), (-1, 1, 0.0), (-1, 1, math.nan), (-1e6, 1e6, 0.01), (1e7, 1e7 + 1, 0.1)]
)
def test_no_grid(low, high, t):
    assert tabulated.grid_over(low, high, t) is None


def test_masked_scores_go_to_the_last_bin():
    grid = tabulated.grid_over(-1, 1, 0.1)
    bins = tabulated.empty_bins(grid, "cpu")
    index, rest = tabulated.place(torch.tensor([math.nan, 0.5, math.inf]), grid, torch.tensor([False, True, False]))
    bins.add(index, rest)
    assert index.tolist()[::2] == [grid.bins] * 2 and rest[0] == 0 and bins.counts[-1] == 2 and bins.counts[:-1].sum() == 1
    assert tabulated.look_up(tabulated.slope_table(torch.ones(grid.nodes, 3, dtype=torch.float64), grid), index, rest)[::2].tolist() == [
        0,
        0,
    ]


@pytest.mark.parametrize("power", [0, 1, 2])
def test_bins_stand_for_their_scores(power):
    "Both ends of the grid counted: number, sum, and sum of squares with a twelfth of a squared bin for what is not kept."
    grid = tabulated.grid_over(-1, 1, 0.05)
    scores = torch.cat([torch.linspace(-1, 1, 100), torch.ones(50)])
    bins = tabulated.empty_bins(grid, "cpu")
    index, rest = tabulated.place(scores, grid)
    bins.add(index, rest)
    u = torch.arange(grid.nodes, dtype=torch.float64)
    facts = {0: [u**0, u * 0, u * 0], 1: [u, u**0, u * 0], 2: [u**2, 2 * u, 2 * u**0]}[power]
    got = (tabulated.bins_to_nodes(bins, grid) * torch.stack(facts, 1)).sum()
    middle, rest = index.double(), rest.double()
    want = {0: middle**0, 1: middle + rest, 2: middle**2 + 2 * middle * rest + 1 / 12}[power].sum() / tabulated.BINS_A_CELL**power
    torch.testing.assert_close(got, want, rtol=1e-12, atol=0)


@pytest.mark.parametrize("order", [0, 1, 2])
def test_hermite_is_exact_for_fifth_degree(order):
    facts = lambda x: torch.stack([x**5 - 2 * x**3 + x, 5 * x**4 - 6 * x**2 + 1, 20 * x**3 - 12 * x])
    ends = torch.tensor([0.0, 1.0], dtype=torch.float64)
    s = torch.linspace(0, 1, 11, dtype=torch.float64)
    torch.testing.assert_close(tabulated.hermite(s, order) @ facts(ends).T.flatten(), facts(s)[order], rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("spread", [3.0, 60.0, 900.0])
@pytest.mark.parametrize("below", [True, False])
def test_meet_is_the_sum_over_nodes(spread, below):
    "One block, two, many; with the far field in the sum."
    grid = tabulated.grid_over(0.0, spread, 1.0)
    weights = torch.rand(grid.nodes, 3, generator=numbers(6), dtype=torch.float64) * torch.tensor([1.0, 0.1, 0.01])
    weights[grid.nodes // 3 : grid.nodes // 2] = 0
    u = torch.arange(grid.nodes, dtype=torch.float64)
    apart = (u[:, None] - u) * (1 if below else -1)
    derivative = tabulated._softplus((apart * grid.step).flatten(), grid.step).reshape(5, grid.nodes, grid.nodes)
    sign = lambda order, mine: (-1) ** order if mine else 1  # each derivative by the place that is subtracted turns the sign
    want = [sum(sign(m, not below) * sign(n, below) * (derivative[m + n] @ weights[:, n]) for n in range(3)) for m in range(3)]
    want = torch.stack(want, 1)
    got = tabulated.meet(weights, grid, below=below)
    torch.testing.assert_close(got[:, 0], want[:, 0], rtol=1e-9, atol=0)
    torch.testing.assert_close(got[:, 1:], want[:, 1:], rtol=1e-9, atol=1e-9 * float(want[:, 0].abs().max()))


# --- the square and the squared hinge ---------------------------------------------------------------------------------------------


def square_by_hand(pairs: Pairs, margin: float, hinge: bool) -> Tensor:
    scores, positives, negatives, weights = pairs
    pos, neg = scores[positives], scores[negatives]
    wp, wn = (torch.ones_like(x) if weights is None else weights[m] for x, m in ((pos, positives), (neg, negatives)))
    gap = margin + neg - pos[:, None]
    return ((gap.clamp(min=0) if hinge else gap) ** 2 @ (wn / wn.sum())) * wp / wp.mean()


@pytest.mark.parametrize("hinge", [True, False])
@pytest.mark.parametrize("margin", [0.0, 0.3, 5.0])
@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("shift", [0.0, 1e4])
def test_square(hinge, margin, weighted, shift):
    g = numbers(7)
    kind = torch.randint(0, 3, (7, 9), generator=g)
    weights = torch.rand(7, 9, generator=g, dtype=torch.float64) + 0.1 if weighted else None
    pairs = Pairs((torch.randn(7, 9, generator=g, dtype=torch.float64) * 0.5).round(decimals=1) + shift, kind == 0, kind == 1, weights)
    scores = pairs.scores.clone().requires_grad_()
    for reduction in ("none", "mean"):
        want = square_by_hand(pairs._replace(scores=scores), margin, hinge)
        want = want if reduction == "none" else want.mean()
        got = all_pairs_square(scores, *pairs[1:], margin=margin, hinge=hinge, reduction=reduction)
        torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-11)
        slopes = [torch.autograd.grad(x.sum(), scores)[0] for x in (got, want)]
        torch.testing.assert_close(*slopes, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("hinge", [True, False])
def test_square_gradcheck(hinge):
    g = numbers(8)
    pairs = in_batch(torch.randn(4, 3, generator=g, dtype=torch.float64), torch.randn(4, 3, generator=g, dtype=torch.float64))
    weights = torch.rand(4, 4, generator=g, dtype=torch.float64) + 0.5
    loss = lambda s, w: all_pairs_square(s, *pairs[1:3], w, margin=0.4, hinge=hinge)
    assert torch.autograd.gradcheck(loss, (pairs.scores.requires_grad_(), weights.requires_grad_()))


@pytest.mark.parametrize("hinge", [True, False])
def test_square_checks(hinge):
    pairs = pairs_of("spread", 12)
    loss = lambda p, **k: all_pairs_square(*p, hinge=hinge, **k)
    assert loss(pairs).dtype == torch.float32 and loss(pairs._replace(scores=pairs.scores.half())).dtype == torch.float32
    torch.testing.assert_close(
        loss(pairs).double(), square_by_hand(pairs._replace(scores=pairs.scores.double()), 1.0, hinge).mean(), rtol=1e-6, atol=0
    )
    for empty in (pairs._replace(positives=pairs.positives & False), pairs._replace(negatives=pairs.negatives & False)):
        assert loss(empty) == 0
    for where, hurt in (((1, 1), 1), ((1, 2), 12)):
        broken = pairs._replace(scores=pairs.scores.clone())
        broken.scores[where] = math.nan
        assert loss(broken, reduction="none").isnan().sum() == hurt
    far = pairs._replace(scores=torch.where(pairs.positives, 100.0, pairs.scores))
    assert hinge == bool(loss(far) == 0)  # a lead beyond the margin costs nothing under the hinge


@pytest.mark.parametrize(
    "wrong,said",
    [({"margin": -1.0}, "margin"), ({"hinge": "yes"}, "hinge"), ({"reduction": "total"}, "reduction"), ({"margin": None}, "margin")],
)
def test_square_bad_input(wrong, said):
    with pytest.raises((TypeError, ValueError), match=said):
        all_pairs_square(*pairs_of("spread", 4), **wrong)


@pytest.mark.parametrize("rows, columns, bins", [(700, 1000, 64), (700, 1000, 2**19), (3, 2**18, 64), (5, 1, 64), (5, 0, 64), (0, 5, 64)])
def test_a_tile_is_whole_rows_as_many_as_fit(rows, columns, bins):
    parts = [range(rows)[part] for part in tabulated._tiles(torch.empty(rows, columns), SimpleNamespace(bins=bins))]
    assert [row for part in parts for row in part] == list(range(rows))
    fit, most = max(tabulated.ENTRIES_A_TILE, bins), max(map(len, parts), default=0)
    assert most <= 1 or most * columns <= fit
    assert most == rows or (most + 1) * columns > fit
