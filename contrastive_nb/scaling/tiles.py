"""The engine of streaming and ring: one loop over tiles of rows, masks that are lists, gradients that come together. Plain module."""

# The pages on streaming objectives and on several processes derive what is done here. No tensor of the size of the score
# matrix is made. A tile holds whole rows, for as many queries as stay in the cache; the loop over tiles is `score_tiles`, and nobody else
# multiplies queries with keys. Row-wise objectives pass over it in `stream_rows`; MW, which pools all rows, in `scaling.pooled`.

import math
import warnings
from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from contrastive_nb import objective
from contrastive_nb.checks import (
    REDUCTIONS,
    check_choice,
    check_count,
    check_flag,
    check_floating,
    check_labels,
    check_like,
    check_temperature,
)
from contrastive_nb.kernels.tile import log_sum_exp, slopes_, softmax_, softmax_fused_
from contrastive_nb.rows import autocast_off, sum_rows, to_float64, widen

SHORTEST = 1e-12  # a row shorter than this has no direction: it becomes 0, and so does its gradient, as in the builders
SLICE = 512  # rows that are widened to float64 at one time
LISTED = 4  # positives a query up to which all are listed before the pass
CHOICES = {"similarity": ("cosine", "dot"), "reduction": REDUCTIONS, "products": ("float32", "bfloat16")}


Found = TypeVar("Found")


class Options(NamedTuple):
    "What a streaming objective is told beside its embeddings and its temperature, as its docstring says."

    ids: Tensor | None
    key_ids: Tensor | None
    exclude_self: bool
    chunk: int | None
    similarity: str
    reduction: str
    products: str
    compiled: bool | None = False


# --- unit rows -------------------------------------------------------------------------------------------------------------------------


def to_unit(x: Tensor, similarity: str) -> tuple[Tensor, Tensor | None]:
    "The rows brought to length 1, in float32 at least, and their lengths; for dot products the rows as they are."
    out = torch.empty_like(widen(x), memory_format=torch.contiguous_format)
    if similarity == "dot":
        return out.copy_(x), None
    lengths = to_float64(x.new_empty(len(x), 1, dtype=out.dtype))
    for a in range(0, len(x), SLICE):
        wide = to_float64(x[a : a + SLICE])
        n = torch.linalg.vector_norm(wide, dim=1, keepdim=True)
        n.masked_fill_(n <= SHORTEST, torch.inf)
        lengths[a : a + SLICE], out[a : a + SLICE] = n, wide / n
    return out, lengths


def through_unit(slopes: Tensor, unit: Tensor, lengths: Tensor | None) -> Tensor:
    "Slopes to the rows as they came from slopes to the unit rows, in place: what points along a row does nothing."
    if lengths is None:
        return slopes
    for a in range(0, len(slopes), SLICE):
        g, u, n = (to_float64(x[a : a + SLICE]) for x in (slopes, unit, lengths))
        slopes[a : a + SLICE] = (g - (g * u).sum(1, keepdim=True) * u) / n
    return slopes


class UnitRows(NamedTuple):
    "Unit rows of both sides and what they were made from."

    q: Tensor  # (B, D)
    k: Tensor  # (K, D)
    q_lengths: Tensor | None
    k_lengths: Tensor | None
    beta: float  # 1 / temperature


# --- masks that are lists --------------------------------------------------------------------------------------------------------------


class Positives(NamedTuple):
    "Positive pairs, one after another, in row order."

    rows: Tensor  # (P,)
    columns: Tensor  # (P,)
    scores: Tensor  # (P,) in float64


class Masks(NamedTuple):
    "The masks of a score matrix: a query's positives are a run of the keys sorted by id; every other key is a negative."

    order: Tensor  # (K,) keys, sorted by id
    first: Tensor  # (B,) where in it the query's run starts
    length: Tensor  # (B,) how long it is
    skip: int  # keys 0 to skip - 1 are not compared with the query of the same number
    positives: Tensor  # (B,) how many there are, in float64
    negatives: Tensor  # (B,)
    counted: Tensor  # (B,) bool: queries that have both
    all_counted: bool

    def pairs(self, start: int, end: int) -> tuple[Tensor, Tensor]:
        "The positives of queries start to end, in row order: their queries, counted from start, and their keys."
        length = self.length[start:end]
        rows = torch.arange(len(length), device=length.device).repeat_interleave(length)
        before = (self.first[start:end] - length.cumsum(0) + length)[rows]
        columns = self.order[before + torch.arange(len(rows), device=rows.device)]
        if not self.skip:
            return rows, columns
        other = columns != rows + start
        return rows[other], columns[other]

    def take(self, rows: slice, tile: Tensor, hole: float) -> Positives:
        "The positives of a tile, with the scores that stood in it; a hole stands there now."
        r, c = self.pairs(rows.start, rows.stop)
        scores = to_float64(tile[r, c])
        tile[r, c] = hole
        return Positives(r, c, scores)

    def are_few(self) -> bool:
        "Whether all positives may be listed at one time."
        return int(self.length.sum()) <= LISTED * len(self.length)


def masks_from_ids(
    queries: int, keys: int, ids: Tensor | None, key_ids: Tensor | None, exclude_self: bool, device, keep_all: bool = False
) -> Masks:
    "Who belongs to whom, from the ends of the runs, less the pair of an item with itself; `keep_all` keeps queries that lack a kind."
    each = torch.arange(queries, device=device)
    skip, itself = min(queries, keys) if exclude_self else 0, torch.zeros_like(each)
    if ids is None:
        order, first, length = torch.arange(keys, device=device), each, torch.ones_like(each)
    else:
        of_keys = ids if key_ids is None else key_ids
        order = of_keys.argsort(stable=True)  # without key_ids the first keys alone: the others are nobody's
        first, last = (torch.searchsorted(of_keys[order], ids, right=right) for right in (False, True))
        length = last - first
        itself[:skip] = ids[:skip] == of_keys[:skip]
    positives, negatives = length - itself, keys - length - (each < skip).long() + itself
    counted = (positives > 0) & (negatives > 0) | keep_all
    sizes = to_float64(positives), to_float64(negatives)
    return Masks(order, first, torch.where(counted, length, 0), skip, *sizes, counted, bool(counted.all()))


def list_positives(points: UnitRows, masks: Masks) -> Positives:
    "All positives, with scores from the float64 products of their rows."
    rows, columns = masks.pairs(0, len(points.q))
    scores = to_float64(points.q.new_empty(len(rows)))
    for a in range(0, len(rows), SLICE):  # written into one tensor: a list of small ones would leave holes in the memory
        part = slice(a, a + SLICE)
        scores[part] = (to_float64(points.q[rows[part]]) * points.k[columns[part]]).sum(1)
    return Positives(rows, columns, scores)


def take_listed(listed: Positives, queries: int, chunk: int, scale: float) -> Callable[[slice, Tensor, float], Positives]:
    "A function that takes a tile's part of a list of positives, with its scores times scale, and leaves holes in the tile."
    starts = torch.tensor([*range(0, queries, chunk), queries], device=listed.rows.device)
    bounds = torch.searchsorted(listed.rows, starts).tolist()

    def take(rows: slice, tile: Tensor, hole: float) -> Positives:
        part = slice(*bounds[rows.start // chunk : rows.start // chunk + 2])
        found = Positives(listed.rows[part] - rows.start, listed.columns[part], listed.scores[part] * scale)
        tile[found.rows, found.columns] = hole
        return found

    return take


def take_targets(target: Tensor, rows: slice, tile: Tensor, hole: float) -> Tensor:
    "(R,) scores of the positives of a tile whose queries have one each, its column in `target`; a hole stands there now."
    columns = target[rows, None]
    scores = tile.gather(1, columns)[:, 0]
    tile.scatter_(1, columns, hole)
    return scores


def take_none(rows: slice, tile: Tensor, hole: float) -> None:
    "For a tile without positives."


# --- the loop --------------------------------------------------------------------------------------------------------------------------


def rounded(x: Tensor, products: str) -> Tensor:
    "What a matrix product reads: the numbers as they are, or rounded to bfloat16 (kept as they were where there is no GPU)."
    if products == "float32":
        return x
    return x.bfloat16() if x.is_cuda else x.bfloat16().to(x.dtype)


def product(a: Tensor, b: Tensor, out: Tensor, *, add: bool = False) -> Tensor:
    "The matrix product a @ b into `out`, or added to it; two bfloat16 factors are summed up in float32."
    if a.dtype == out.dtype:
        return out.addmm_(a, b) if add else torch.mm(a, b, out=out)
    made = torch.mm(a, b, out_dtype=out.dtype)
    return out.add_(made) if add else out.copy_(made)


def score_tiles(
    q: Tensor,  # (B, D) queries
    k: Tensor,  # (K, D) keys
    chunk: int,  # rows of a tile
    take: Callable[[slice, Tensor, float], Found],  # (rows, tile, hole) -> its positives, where it leaves holes
    *,
    skip: int = 0,  # keys 0 to skip - 1 are not compared with the query of the same number
    scale: float = 1.0,  # of the scores
    hole: float = -math.inf,  # stands wherever no negative is
    products: str = "float32",
) -> Iterator[tuple[slice, Tensor, Found]]:
    "Tile after tile, in one buffer that may be written over: its rows, its scores with holes, and what was taken out."
    buffer, keys = q.new_empty(min(chunk, len(q)), len(k)), rounded(k, products).T
    for start in range(0, len(q), chunk):
        rows = slice(start, min(start + chunk, len(q)))
        some = q[rows] if scale == 1.0 else q[rows] * scale
        tile = product(rounded(some, products), keys, buffer[: len(some)])
        found = take(rows, tile, hole)
        if skip > start:
            tile[:, start:skip].diagonal().fill_(hole)
        yield rows, tile, found


# --- a pass over the tiles, and where its gradients come together ----------------------------------------------------------------------


class Pass(NamedTuple):
    "How a pass is to be made: everything that has no gradient."

    run: Callable[..., tuple[Tensor, list | None]]  # (unit rows, this record, slopes or None) -> losses, and what slopes times them sends
    masks: Masks
    counted: Tensor  # bool: the losses that are reduced
    chunk: int
    similarity: str
    products: str
    reduction: str
    wants: tuple[bool, ...]  # whether query, key and temperature ask for a gradient

    def tiles(self, points: UnitRows, listed: Positives | None, scale: float, hole: float) -> Iterator[tuple[slice, Tensor, Positives]]:
        "The tiles of all scores; positives that were not listed before are read in their tile."
        take = self.masks.take if listed is None else take_listed(listed, len(points.q), self.chunk, scale)
        return score_tiles(points.q, points.k, self.chunk, take, skip=self.masks.skip, scale=scale, hole=hole, products=self.products)


class Gradients:
    "Where the slopes of a pass come together: of the queries (B, D), of the keys (K, D), of the scale of the scores."

    def __init__(self, points: UnitRows, way: Pass):
        self.points, self.products, self.wants = points, way.products, way.wants
        self.key = rounded(points.k, way.products)
        self.to_q = torch.zeros_like(points.q) if way.wants[0] or way.wants[2] else None
        self.to_k = torch.zeros_like(points.k) if way.wants[1] else None
        self.to_scale: float | Tensor = 0.0  # sum over all scores of score x slope

    def add(self, rows: slice, tile: Tensor, weight: Tensor) -> None:
        "Take in a tile whose entries, times the weight of their row, are the slopes of the loss to the scores."
        q, weight = self.points.q[rows], weight.to(tile.dtype)[:, None]
        tile = rounded(tile, self.products)
        if self.to_q is not None:
            to_q = product(tile, self.key, self.to_q[rows]).mul_(weight)
            self.to_scale += (to_float64(q) * to_q).sum() if self.wants[2] else 0.0
        if self.to_k is not None:
            product(tile.T, rounded(q * weight, self.products), self.to_k, add=True)

    def add_listed(self, listed: Positives, slopes: Tensor) -> None:
        "Take in slopes (P,) to the scores of listed pairs."
        q, k = self.points.q, self.points.k
        self.to_scale += (slopes * listed.scores).sum()
        for r, c, slope in zip(*(x.split(SLICE) for x in (listed.rows, listed.columns, slopes.to(q.dtype)[:, None])), strict=True):
            if self.to_q is not None:
                self.to_q.index_add_(0, r, slope * k[c])
            if self.to_k is not None:
                self.to_k.index_add_(0, c, slope * q[r])

    def to_inputs(self) -> list:
        "Slopes to query, key and temperature as they came."
        p = self.points
        to_q = through_unit(self.to_q, p.q, p.q_lengths) if self.to_q is not None and self.wants[0] else None
        to_k = through_unit(self.to_k, p.k, p.k_lengths) if self.to_k is not None else None
        return [to_q, to_k, torch.as_tensor(-p.beta * self.to_scale) if self.wants[2] else None]


# --- row-wise objectives ---------------------------------------------------------------------------------------------------------------


class RowPositives(NamedTuple):
    "The positives of a tile, one after another, and how many there are of each kind in its rows."

    rows: Tensor  # (P,) within the tile
    share: Tensor  # (P,) of each in its query's target
    positives: Tensor  # (R,)
    negatives: Tensor  # (R,)

    def by_row(self, values: Tensor) -> Tensor:
        "(R,) sums of (P,) values."
        return sum_rows(values, self.rows, self.positives)


class RowSlopes(NamedTuple):
    "What a formula says of a tile: losses of its positives, and their slopes."

    losses: Tensor  # (P,) each times its share
    to_logits: Tensor  # (P,) to the positives' logits
    to_lse: Tensor | None = None  # (R,) to the negatives' log-sum-exp; None: minus the sum of the row's others
    to_beta: Tensor | None = None  # (R,) to 1 / temperature, but for what goes through the scores


@cache
def _compiler() -> list:
    return [torch.compile(softmax_fused_, dynamic=True)]


def _softmax_compiled(tile: Tensor) -> tuple[Tensor, Tensor]:
    "By the compiled kernel, or, where the compiler is not there, which is announced once, by torch's own."
    kernel = _compiler()
    try:
        return kernel[0](tile)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        warnings.warn(f"streaming: torch.compile does not work here ({type(error).__name__}); going on without", stacklevel=2)
        kernel[0] = softmax_
        return softmax_(tile)


def _by_rows(points: UnitRows, way: Pass, slopes: Tensor | None, *, formula: Callable, softmax: Callable) -> tuple[Tensor, list | None]:
    "(B,) losses of the queries, and what `slopes` (B,) times these losses sends to query, key and temperature."
    masks, gradients = way.masks, None if slopes is None else Gradients(points, way)
    losses, listed = torch.zeros_like(masks.positives), list_positives(points, masks) if masks.are_few() else None
    for rows, tile, found in way.tiles(points, listed, points.beta, -math.inf):
        top, highest = softmax(tile)
        counts = masks.positives[rows], masks.negatives[rows]
        lse = torch.where(counts[1] > 0, log_sum_exp(top, highest), 0.0)
        positives = RowPositives(found.rows, (1 / counts[0])[found.rows], *counts)
        said = formula(lse, found.scores, positives, points.beta)
        losses[rows] = positives.by_row(said.losses)
        if gradients is not None and slopes is not None:
            if not masks.all_counted:
                tile[~masks.counted[rows]] = 0.0
            weight = slopes_(tile, found.rows, found.columns, said.to_logits, said.to_lse) * slopes[rows]
            gradients.add(rows, tile, weight * points.beta)
            gradients.to_scale += 0.0 if said.to_beta is None else (slopes[rows] * said.to_beta).sum() * points.beta
    return losses, None if gradients is None else gradients.to_inputs()


def stream_rows(
    formula: Callable[[Tensor, Tensor, RowPositives, float], RowSlopes],
    # of a tile, in float64: (R,) log-sum-exp of the negatives' logits, (P,) the positives' logits, what they are, 1 / temperature
    query: Tensor,
    key: Tensor,
    temperature: float | Tensor,
    options: Options,
) -> Tensor:
    "An objective that needs of a row's negatives their log-sum-exp alone. Raises `TypeError` or `ValueError` naming the argument."
    check_arguments(query, key, temperature, options)
    masks = masks_from_ids(len(query), len(key), *options[:3], query.device)
    compiled = query.is_cuda if options.compiled is None else options.compiled
    run = partial(_by_rows, formula=formula, softmax=_softmax_compiled if compiled else softmax_)
    return run_pass(run, masks, masks.counted, query, key, temperature, options)


# --- autograd --------------------------------------------------------------------------------------------------------------------------


class _FirstOrder(torch.autograd.Function):
    "Slopes as they are; to ask for *their* slopes is an error, where they would else pass for constants."

    @staticmethod
    def forward(advice, slope, *sources):
        return slope.clone()

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.advice = inputs[0]

    @staticmethod
    def backward(ctx, *_):
        raise RuntimeError(ctx.advice)


def first_order(slopes, sources, advice: str) -> tuple:
    "Slopes that were made without autograd from `sources`, None among them as it is; whoever asks for their own slopes gets the advice."
    if not torch.is_grad_enabled():
        return tuple(slopes)
    return tuple(None if x is None else _FirstOrder.apply(advice, x, *sources) for x in slopes)


def _over_tiles(query: Tensor, key: Tensor, temperature, way: Pass, slopes: Tensor | None) -> tuple[Tensor, list | None]:
    "Both sides on the sphere, one over the temperature, and one pass over the tiles."
    beta = 1 / check_temperature(float(temperature), query)
    q, q_lengths = to_unit(query, way.similarity)
    k, k_lengths = (q, q_lengths) if key is query else to_unit(key, way.similarity)
    return way.run(UnitRows(q, k, q_lengths, k_lengths, beta), way, slopes)


class _OnePass(torch.autograd.Function):
    "The loss, and with it, from the same pass over the tiles, its slopes to query, key and temperature."

    # setup_context in place of a context in forward: so torch.func's grad, vjp and grad_and_value work; vmap, jvp and what is built on
    # them raise. The slopes leave forward as further outputs, which nobody differentiates, and backward finds them again.

    @staticmethod
    def forward(query, key, temperature, way):
        slopes = None
        if any(way.wants) and way.reduction != "none":
            slopes = to_float64(way.counted) / (way.counted.sum().clamp(min=1) if way.reduction == "mean" else 1)
        losses, made = _over_tiles(query, key, temperature, way, slopes)
        return objective.reduce(losses, way.counted, way.reduction).to(widen(query[:0]).dtype), *(made or [None] * 3)

    @staticmethod
    def setup_context(ctx, inputs, output):
        query, key, ctx.temperature, ctx.way = inputs
        learned = ctx.temperature if isinstance(ctx.temperature, Tensor) else None
        ctx.temperature = None if learned is not None else ctx.temperature
        ctx.save_for_backward(query, key, learned, *output[1:])
        ctx.mark_non_differentiable(*(x for x in output[1:] if x is not None))
        ctx.set_materialize_grads(False)  # else the slopes' own slopes come in as zeros, as large as they are

    @staticmethod
    def backward(ctx, incoming, *_):
        if incoming is None:
            return (None,) * 4
        query, key, learned, *made = ctx.saved_tensors
        if ctx.way.reduction == "none":  # one incoming slope a loss, which the forward pass could not know
            made = _pass_again(query, key, ctx.temperature if learned is None else learned, ctx.way, incoming)
        else:
            made = [None if x is None else incoming.to(x.dtype) * x for x in made]
        inputs = [query, key, learned]
        made = [None if x is None else x.to(y.dtype) for x, y in zip(made, inputs, strict=True)]
        advice = "streaming objectives have first derivatives alone; an objective on a builder's scores has second ones"
        return *first_order(made, (incoming, *inputs), advice), None


@torch.no_grad()
def _pass_again(query: Tensor, key: Tensor, temperature, way: Pass, incoming: Tensor) -> list | None:
    "A second pass, with a slope for each loss."
    with autocast_off(query):
        return _over_tiles(query, key, temperature, way, torch.where(way.counted, to_float64(incoming), 0.0))[1]


def _rows_of_a_tile(keys: int, device: torch.device) -> int:
    "Of 32 MB at most on a CPU, where more than 256 rows are no faster; of a GB elsewhere."
    most, numbers = (256, 2**23) if device.type == "cpu" else (4096, 2**28)
    return max(1, min(most, numbers // max(1, keys)))


def run_pass(run, masks: Masks, counted: Tensor, query: Tensor, key: Tensor, temperature: float | Tensor, options: Options) -> Tensor:
    "The reduced loss of a pass; no slope is made unless someone asks for a gradient."
    temperature = temperature.reshape(()) if isinstance(temperature, Tensor) else float(temperature)
    asked = torch.is_grad_enabled()
    wants = tuple(asked and isinstance(x, Tensor) and x.requires_grad for x in (query, key, temperature))
    chunk = _rows_of_a_tile(len(key), query.device) if options.chunk is None else options.chunk
    way = Pass(run, masks, counted, chunk, options.similarity, options.products, options.reduction, wants)
    with autocast_off(query):
        return _OnePass.apply(query, key, temperature, way)[0]


# --- checks ----------------------------------------------------------------------------------------------------------------------------


def check_flags(exclude_self, compiled) -> None:
    "Raise `TypeError` unless both are flags; `compiled` may be None."
    check_flag("exclude_self", exclude_self)
    if compiled is not None:
        check_flag("compiled", compiled)


def check_arguments(query: Tensor, key: Tensor, temperature, options: Options) -> None:
    "Raise unless the arguments fit together; no value inside a tensor is looked at."
    check_flags(options.exclude_self, options.compiled)
    for name, x in (("query", query), ("key", key)):
        check_floating(name, x, (2,))
    check_like("key", key, "query", query)
    if key.shape[1] != query.shape[1]:
        raise ValueError(f"key: got {key.shape[1]} features, want {query.shape[1]}, as query has")
    if isinstance(temperature, Tensor) and temperature.numel() != 1:
        raise ValueError(f"temperature: got shape {tuple(temperature.shape)}, want one number for all scores")
    if not isinstance(temperature, Tensor) or not temperature.is_floating_point():
        check_temperature(temperature, query)
    if options.chunk is not None:
        check_count("chunk", options.chunk)
    for name, choices in CHOICES.items():
        check_choice(name, getattr(options, name), choices)
    _check_relation(query, key, *options[:3])


def _check_relation(query: Tensor, key: Tensor, ids, key_ids, exclude_self: bool) -> None:
    for name, x, rows, other in (("ids", ids, query, "query"), ("key_ids", key_ids, key, "key")):
        if x is None:
            continue
        check_labels(name, x, other, rows, what="id")
    if ids is None and key_ids is not None:
        raise ValueError("key_ids: got ids of keys and none of queries, want ids as well")
    if ids is None and exclude_self:
        raise ValueError("exclude_self: got no ids, want ids: without them key i is the positive of query i")
    if key_ids is None and len(key) < len(query):
        raise ValueError(f"key: got {len(key)} rows, want {len(query)} or more: key i belongs to query i unless key_ids says otherwise")
    if len(query) and not len(key):
        raise ValueError("key: got no row, want one or more")
