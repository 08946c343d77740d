"""The bench of lists: worlds of rated lists whose true order is known. Plain module: its page, on RankNet and RankList, says what it must show."""

# `enter` puts it among the others. It does not stand in `recipes`: a record names the tables of a module as they are, and a bench
# that is added there would make the records of all the others look as if they had changed.

from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from contrastive_nb.encoders import seeded
from contrastive_nb.lab.recipes import Recipe, Towers
from contrastive_nb.metrics import ndcg_at
from contrastive_nb.pairs import Pairs, exclude

LISTS, TESTED, LENGTH, FEATURES = 500, 300, 20, 20
GRADES = (-0.5, 0.25, 1.0, 1.75)  # of the read-out: where the true quality, of mean 0 and deviation 1, passes from grade 0 to 1, ... to 4


def _qualities(x: Tensor, generator: torch.Generator) -> Tensor:
    "A line, a fold and a saddle along random directions: what least squares cannot follow to its end."
    a, b, c, d = (x @ F.normalize(torch.randn(4, x.shape[-1], generator=generator), dim=1).T).unbind(-1)
    quality = a + 1.25 * b.abs() + c * d
    return (quality - quality.mean()) / quality.std()


def _list_world(seed: int):
    "Each list is rated by a judge with an offset and a scale of his own, and with noise as large as what the documents differ by."
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(LISTS + TESTED, LENGTH, FEATURES, generator=generator)
    quality = _qualities(x, generator)
    offset, stretch = torch.randn(2, len(x), 1, generator=generator)
    rating = offset + (0.5 * stretch).exp() * (quality + torch.randn(quality.shape, generator=generator))
    rank = quality.argsort(1).argsort(1)
    return SimpleNamespace(x=x[:LISTS], rating=rating[:LISTS], rank=rank[:LISTS], test=x[LISTS:], quality=quality[LISTS:])


def _list_batch(world, size: int, generator: torch.Generator, plain: bool = False):
    "Features, ratings and true ranks of some lists. There are no views here: `plain` leaves five documents of each list."
    rows, length = torch.randint(len(world.x), (size,), generator=generator), 5 if plain else LENGTH
    return world.x[rows, :length], world.rating[rows, :length], world.rank[rows, :length]


class _Scorer(nn.Module):
    "A number a document, from its own features."

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(FEATURES, 64), nn.ReLU(), nn.Linear(64, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)[..., 0]


def _list_encoder(world) -> Towers:
    "The ratings pass through unchanged."
    return Towers(_Scorer(), nn.Identity())


def _kendall(scores: Tensor, truth: Tensor) -> float:
    "Kendall's tau, the mean over lists without ties: the share of pairs in the right order less the share in the wrong one."
    agree = (scores[:, :, None] - scores[:, None, :]).sign() * (truth[:, :, None] - truth[:, None, :]).sign()
    return (agree.sum((1, 2)) / (truth.shape[1] * (truth.shape[1] - 1))).mean().item()


def _order(scores: Tensor, world) -> dict[str, float]:
    grades = torch.bucketize(world.quality, torch.tensor(GRADES))
    return {"tau": _kendall(scores, world.quality), "ndcg": ndcg_at(scores, grades, k=10)}


@torch.no_grad()
def _list_quality(model, world) -> dict[str, float]:
    return _order(model.first.cpu()(world.test), world)


def _least_squares(world) -> Tensor:
    "What a line makes of the ratings, each list's brought to mean 0 and deviation 1."
    rating = (world.rating - world.rating.mean(1, keepdim=True)) / world.rating.std(1, keepdim=True)
    line = torch.linalg.lstsq(world.x.flatten(0, 1), rating.flatten()[:, None]).solution
    return (world.test @ line)[..., 0]


def _list_floors(world) -> dict[str, dict[str, float]]:
    chance = torch.rand(world.quality.shape, generator=torch.Generator().manual_seed(0))
    return {
        "least squares": _order(_least_squares(world), world),
        "untrained encoder": _list_quality(seeded(0, lambda: _list_encoder(world)), world),
        "chance": _order(chance, world),
    }


def _each(scores: Tensor, below: Tensor) -> Pairs:
    "Every document as the positive of a row of its own, against those of its list that stand below it."
    here = torch.eye(scores.shape[1], dtype=torch.bool, device=scores.device).expand_as(below)
    return Pairs(scores[:, None].expand(below.shape).flatten(0, 1), here.flatten(0, 1), below.flatten(0, 1))


def _below(values: Tensor) -> Tensor:
    return values[:, None, :] < values[:, :, None]


def _rated(scores: Tensor, rating: Tensor, rank: Tensor) -> Pairs:
    return _each(scores, _below(rating))


def _rated_clean(scores: Tensor, rating: Tensor, rank: Tensor) -> Pairs:
    "Without the comparisons that the truth contradicts."
    return exclude(_rated(scores, rating, rank), ~_below(rank).flatten(0, 1) & _below(rating).flatten(0, 1))


def _ranked(scores: Tensor, rating: Tensor, rank: Tensor) -> Pairs:
    return _each(scores, _below(rank))


PAIRS = {"lists": (_rated, _rated_clean, _ranked)}
RECIPES = {
    "lists": Recipe(
        "lists",
        "a scorer learns from noisy ratings to put twenty documents in order",
        14_000_000,
        ("tau", "ndcg"),
        _list_world,
        _list_batch,
        _list_encoder,
        _list_quality,
        _list_floors,
        {"temperature": 2.0, "lr": 6e-3, "weight_decay": 1e-2, "batch": 64, "steps": 200},
        kind="lists",
        ceiling_is="true order known, five times the budget",
    )
}


def enter(recipes: dict, pairs: dict) -> None:
    "Put this bench among the others."
    recipes.update(RECIPES)
    pairs.update(PAIRS)
