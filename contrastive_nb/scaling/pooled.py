"""MW over tiles: the negatives of all rows are one pool, and every positive is compared with all of it. Plain module."""

# The page on streaming objectives derives the pass, the page on MW at the price of InfoNCE its tables. For given positives
# a negative's slope is a function of its score alone, so one pass replaces each score by its slope and counts it into a bin; from the bins
# come the value and the positives' slopes.

import math
import warnings

import torch
import torch.nn.functional as F
from torch import Tensor

from contrastive_nb.kernels.tabulated import (
    Grid,
    bins_to_nodes,
    empty_bins,
    grid_over,
    look_up,
    meet,
    place,
    points_to_nodes,
    read,
    slope_table,
)
from contrastive_nb.rows import to_float64
from contrastive_nb.scaling.tiles import Gradients, Options, Pass, UnitRows, check_arguments, list_positives, masks_from_ids, run_pass

PART = 2**16  # scores that are placed at one time on a CPU


class _Tabulated:
    "The negatives of a pass, counted into bins, and the positives' function, which gives each negative its slope."

    # In the bin of what is left out are the holes, which nobody reads; the table's slope there is 0, so that holes send no gradient.

    def __init__(self, grid: Grid, device, slopes: Tensor | None = None):
        self.grid, self.bins, self.slopes = grid, empty_bins(grid, device), slopes
        self.hole = (grid.first + grid.bins) / grid.scale  # a score that is placed in the bin of what is left out

    def replace(self, tile: Tensor, count: bool = True) -> None:
        "Count the scores of a tile and write their slopes over them."
        for part in tile.view(-1).split(PART if tile.device.type == "cpu" else max(1, tile.numel())):
            nearest = part.mul_(self.grid.scale).round()
            rest, index = part.sub_(nearest), nearest.sub_(self.grid.first).to(torch.int32)
            if count:
                self.bins.add(index, rest)
            if self.slopes is not None:
                at, change = self.slopes
                torch.addcmul(torch.index_select(at, 0, index, out=nearest), change.index_select(0, index), rest, out=part)

    def losses(self, points: Tensor, negatives: Tensor) -> tuple[Tensor, Tensor]:
        "(P,) losses of listed positives and their slopes to the scores."
        seen = meet(bins_to_nodes(self.bins, self.grid) / negatives, self.grid, below=False)
        return read(seen, points, self.grid), read(seen, points, self.grid, 1) / self.grid.temperature


class _Compared:
    "The same without a table, in float64 and where no table can hold the scores: a block at a time, exact and slow."

    hole = -math.inf

    def __init__(self, positives: Tensor, weights: Tensor | None, negatives: Tensor, temperature: float):
        self.positives, self.weights, self.factor, self.temperature = positives, weights, negatives * temperature, temperature
        self.lost, self.pulls = torch.zeros_like(positives), torch.zeros_like(positives)

    def replace(self, tile: Tensor) -> None:
        "Compare the scores of a tile with every positive, and write their slopes over them."
        for part in tile.view(-1).split(max(1, 2**20 // max(1, len(self.positives)))):
            lead = (to_float64(part) - self.positives[:, None]) / self.temperature
            slope = torch.sigmoid(lead)
            self.lost -= F.logsigmoid(-lead).sum(1)
            self.pulls -= slope.sum(1)
            if self.weights is not None:
                part.copy_(self.weights @ slope / self.factor)

    def losses(self, points: Tensor, negatives: Tensor) -> tuple[Tensor, Tensor]:
        return self.lost / negatives, self.pulls / self.factor


def _grid(points: UnitRows) -> Grid | None:
    "The grid for every score there can be: unit rows (rounded to bfloat16 at worst) stay within 1.01; others within what their lengths allow."
    if points.q.dtype == torch.float64:
        return None
    reach = 1.0 if points.q_lengths is not None else float(points.q.norm(dim=1).max() * points.k.norm(dim=1).max())
    grid = grid_over(-1.01 * reach, 1.01 * reach, 1 / points.beta)
    if grid is None:
        warnings.warn(
            f"streaming_mw: no table holds scores between {-reach:.3g} and {reach:.3g} at temperature {1 / points.beta:.3g};"
            " every positive is compared with every negative, which takes long", stacklevel=2,
        )  # fmt: skip
    return grid


def _are_finite(points: UnitRows) -> bool:
    return bool(torch.isfinite(points.q).all() & torch.isfinite(points.k).all())


def _unknown(points: UnitRows, way: Pass, slopes: Tensor | None) -> tuple[Tensor, list | None]:
    "NaN everywhere: in a pool a score that is not a number touches all."
    inputs = points.q, points.k, points.q.new_zeros(())
    made = [torch.full_like(x, math.nan) if wanted else None for x, wanted in zip(inputs, way.wants, strict=True)]
    return torch.full_like(way.counted, math.nan, dtype=torch.float64), None if slopes is None else made


def _listed(points: UnitRows, way: Pass, slopes: Tensor | None) -> tuple[Tensor, list | None]:
    "(P,) losses of the positives, and what `slopes` (P,) times these losses sends to query, key and temperature."
    if not _are_finite(points):
        return _unknown(points, way, slopes)
    listed, gradients = list_positives(points, way.masks), None if slopes is None else Gradients(points, way)
    negatives, grid = way.masks.negatives.sum().clamp(min=1), _grid(points)
    crowd: _Tabulated | _Compared
    if grid is None:
        crowd = _Compared(listed.scores, slopes, negatives, 1 / points.beta)
    elif slopes is None:
        crowd = _Tabulated(grid, points.q.device)
    else:
        nodes = meet(points_to_nodes(listed.scores, slopes, grid), grid)
        crowd = _Tabulated(grid, points.q.device, slope_table(nodes, grid, points.beta / negatives))
    one = torch.ones_like(way.masks.negatives)
    for rows, tile, _ in way.tiles(points, listed, 1.0, crowd.hole):
        crowd.replace(tile)
        if gradients is not None:
            gradients.add(rows, tile, one[rows])
    losses, pulls = crowd.losses(listed.scores, negatives)
    if gradients is None or slopes is None:
        return losses, None
    gradients.add_listed(listed, pulls * slopes)
    return losses, gradients.to_inputs()


def _counted(points: UnitRows, way: Pass, slopes: Tensor | None) -> tuple[Tensor, list | None]:
    """(1,) the pool's mean or summed loss where the positives are too many to be listed, and what `slopes` (1,) times it sends.

    The positives are counted into bins as well, in a pass of its own; then the tables of both sides are known.
    """
    if not _are_finite(points):
        return _unknown(points, way, slopes)
    many, negatives, grid = way.masks.positives.sum(), way.masks.negatives.sum().clamp(min=1), _grid(points)
    share = 1 / many if way.reduction == "mean" else torch.ones_like(many)
    if grid is None:
        losses, made = _listed(points, way, None if slopes is None else (slopes * share).expand(int(many)))
        return (losses.sum() * share)[None], made
    table, positives = _Tabulated(grid, points.q.device), empty_bins(grid, points.q.device)
    for _, tile, found in way.tiles(points, None, 1.0, table.hole):
        positives.add(*place(found.scores.float(), grid))
        table.replace(tile)
    nodes = bins_to_nodes(positives, grid) * share
    seen = meet(bins_to_nodes(table.bins, grid) / negatives, grid, below=False)
    loss = (nodes * seen).sum()[None]
    return loss, None if slopes is None else _slopes_of_counted(points, way, table, nodes * slopes, seen * slopes * share)


def _slopes_of_counted(points: UnitRows, way: Pass, table: _Tabulated, nodes: Tensor, seen: Tensor) -> list:
    "The second pass: slopes of the negatives from the positives' nodes, and of the positives, at their places, from the negatives' function."
    gradients, grid = Gradients(points, way), table.grid
    table.slopes = slope_table(meet(nodes, grid), grid, points.beta / way.masks.negatives.sum().clamp(min=1))
    pulls, one = slope_table(seen, grid, points.beta), torch.ones_like(way.masks.negatives)
    for rows, tile, found in way.tiles(points, None, 1.0, table.hole):
        table.replace(tile, count=False)
        tile[found.rows, found.columns] = look_up(pulls, *place(found.scores.float(), grid))
        gradients.add(rows, tile, one[rows])
    return gradients.to_inputs()


def stream_pool(query: Tensor, key: Tensor, temperature: float | Tensor, options: Options) -> Tensor:
    "MW: losses one a positive, or one in all where they are many. Raises `TypeError` or `ValueError` naming the argument."
    check_arguments(query, key, temperature, options)
    masks = masks_from_ids(len(query), len(key), *options[:3], query.device, keep_all=True)
    many = int(masks.positives.sum())
    listed = options.reduction == "none" or query.dtype == torch.float64 or masks.are_few()
    counted = masks.counted.new_ones(many if listed else 1)
    return run_pass(_listed if listed else _counted, masks, counted, query, key, temperature, options)
