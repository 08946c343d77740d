"""The bench of topics with hard negatives: a retriever is trained as the bench's reference is, and each query brings mined documents along."""

# Plain module, used by the pages on mining. Without mined documents the training is the bench's reference, to the bit. `bench.evaluate`
# and what was measured of the bench stay as they are.

import copy
import functools
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from contrastive_nb.checks import check_count, check_function, check_is
from contrastive_nb.encoders import embed, seeded
from contrastive_nb.lab.benches import world_of
from contrastive_nb.lab.recipes import Towers
from contrastive_nb.pairs import Pairs, exclude, flip, in_batch, stack
from contrastive_nb.training import fit


class Rows(NamedTuple):
    "Which texts of the world's training part a batch holds: for whoever looks up a teacher's scores or the truth."

    query: Tensor  # (B,) int64
    document: Tensor  # (B,) int64: of each query the document that is marked
    hard: Tensor  # (B, H) int64: mined for each query; -1 where there is none


class Mined(nn.Module):
    """A table of hard negatives, of which each batch draws some anew, without replacement.

    `again(model, step)`, if given, makes another table before the steps 0, `every`, 2 `every`, ...
    """

    table: Tensor

    def __init__(
        self,
        table: Tensor,  # (Q, K) int64 documents of each query, such as `mine` gives; -1: none
        each: int = 4,  # drawn for a query of a batch
        again: Callable | None = None,
        every: int = 20,
    ):
        super().__init__()
        check_is("table", table, Tensor, "a tensor of row numbers")
        if table.dtype != torch.long or table.dim() != 2:
            raise ValueError(f"table: got {table.dtype} {tuple(table.shape)}, want int64 row numbers, a row a query")
        if again is not None:
            check_function("again", again)
        self.each, self.again, self.every = check_count("each", each), again, check_count("every", every)
        self.register_buffer("table", table)

    def draw(self, query: Tensor, generator: torch.Generator) -> Tensor:
        "(B, each) documents for each of the queries."
        found = self.table.cpu()[query]
        found = F.pad(found, (0, max(0, self.each - found.shape[1])), value=-1)
        order = torch.rand(found.shape, generator=generator).masked_fill(found < 0, -1)
        return found.gather(1, order.topk(self.each, dim=1).indices)

    def refresh(self, model: nn.Module, step: int) -> None:
        "Make the table anew, as `fit` asks for it."
        self.table.copy_(self.again(model, step))  # type: ignore[misc]


def _half_seen(counts: Tensor, generator: torch.Generator) -> Tensor:
    "The reference's view: half of the words are left out."
    return 2 * counts * (torch.rand(counts.shape, generator=generator) < 0.5)


class _Batches(nn.Module):
    "The reference's batches, and the documents that were mined for their queries."

    def __init__(self, world, size: int, negatives):
        super().__init__()
        self.world, self.size, self.negatives = world, size, negatives

    def forward(self, generator: torch.Generator) -> tuple[Tensor, ...]:
        world = self.world
        query = torch.randperm(len(world.asked), generator=generator)[: self.size]
        document = world.train.marked[query]
        seen = [_half_seen(x, generator) for x in (world.asked[query], world.stored[document])]
        if self.negatives is None:
            hard = torch.empty(len(query), 0, dtype=torch.long)
        else:
            hard = self.negatives.draw(query, generator)
        mined = _half_seen(world.stored[hard.clamp(min=0)], generator)
        return *seen, mined, query, document, hard

    def refresh(self, model: nn.Module, step: int) -> None:
        self.negatives.refresh(model, step)


def pairs(query: Tensor, document: Tensor, hard: Tensor, rows: Rows) -> Pairs:
    "Both directions, as the reference has them; each query meets its own mined documents besides."
    asked = in_batch(query, document, hard, hard_mask=rows.hard >= 0) if hard.shape[1] else in_batch(query, document)
    back = flip(Pairs(*(x[:, : len(document)] for x in asked[:3])))
    return stack(asked, Pairs(*(F.pad(x, (0, hard.shape[1])) for x in back[:3])))


def alone(query: Tensor, document: Tensor, hard: Tensor, rows: Rows) -> Pairs:
    "The query's own document against its own mined ones: the batch's other documents are out."
    asked = in_batch(query, document, hard, hard_mask=rows.hard >= 0)
    batch = torch.arange(asked.scores.shape[1], device=query.device) < len(document)
    return exclude(asked, batch & ~asked.positives)


def train(
    bench,  # bench("topics", run)
    seed: int,  # world, first weights, batches and words left out
    objective: Callable | None = None,  # (*pairs) -> loss; None: the reference's
    negatives: nn.Module
    | None = None,  # `Mined`, or a module with `draw(query, generator)` and, if `again` is set, `refresh`; None: the batch's alone
    pair: Callable = pairs,  # (query, document, hard, rows) -> Pairs, or another tuple of what the objective takes
    *,
    start: Towers | None = None,  # trained on from here; it is left as it is
    frozen: bool = False,  # documents' embeddings do not change: only the queries' tower learns
    share: float = 1.0,  # of the bench's steps
    **settings,  # temperature, lr, weight_decay, batch, steps, where they are not the bench's
) -> Towers:
    "A retriever, trained in the world of a seed with mined negatives. Raises `TypeError` or `ValueError` naming the argument."
    if unknown := set(settings) - set(bench.settings):
        raise TypeError(f"settings: got {sorted(unknown)[0]}, want one of {', '.join(bench.settings)}")
    values, world = dict(bench.settings) | settings, world_of(bench, seed)
    first = bench.base + seed
    model = seeded(first, lambda: bench.encoder(world)) if start is None else copy.deepcopy(start)
    model.second.requires_grad_(not frozen)
    batches = _Batches(world, values["batch"], negatives)
    renewed = negatives is not None and getattr(negatives, "again", None) is not None
    steps = max(1, round(values["steps"] * share))

    def build(model, asked, stored, mined, *rows):
        hard = model.second(mined.flatten(0, 1)).unflatten(0, mined.shape[:2]) if mined.shape[1] else mined
        return pair(model.first(asked), model.second(stored), hard, Rows(*rows))

    fit(
        model,
        batches,
        build,
        objective or functools.partial(bench.objective, temperature=values["temperature"]),
        steps=steps,
        lr=values["lr"],
        weight_decay=values["weight_decay"],
        warmup=steps // 10,
        seed=first,
        device=bench.device,
        precision=bench.precision,
        progress=False,
        **({"refresh": batches.refresh, "refresh_every": negatives.every} if renewed else {}),  # type: ignore[arg-type, union-attr]
    )
    return model  # type: ignore[return-value]


def score(bench, seed: int, *given, **how) -> dict[str, float]:
    "Train as `train` does, and read out: a number a read-out."
    return bench.evaluate(train(bench, seed, *given, **how), world_of(bench, seed))


@torch.no_grad()
def embedded(model: Towers, world) -> tuple[Tensor, Tensor]:
    "(Q, D) and (K, D): queries and documents of the training part, for `mine`."
    return embed(model.first, world.asked), embed(model.second, world.stored)


def false_rate(table: Tensor, world) -> float:
    "Share of mined documents that are relevant, with or without a mark; NaN of an empty table."
    there = table >= 0
    return (world.train.relevance.gather(1, table.clamp(min=0)) & there).sum().item() / there.sum().item() if there.any() else float("nan")
