"""Outside implementations that a method must equal: one decorated function each, from embeddings and a temperature to a scalar.

An arrangement says which embeddings are drawn and how ours reads them. All is in float64, to 1e-12 in value and gradient.
"""

import importlib.util
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from contrastive_nb.pairs import flip, from_labels, in_batch, two_views, with_queue

N, M, D = 8, 5, 6
LABELS = torch.tensor([0, 1, 2, 3] * 2 + [0, 1, 2, 3])  # three of each: then a mean over pairs is a mean over queries


def draw(*shapes: tuple, seed: int = 0) -> tuple:
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True) for shape in shapes)


# name -> (shapes of the embeddings, the loss of a function of pairs on them)
ARRANGEMENTS = {
    "two_views": (((N, D), (N, D)), lambda loss, a, b: loss(*two_views(a, b))),
    "in_batch": (((N, D), (N, D)), lambda loss, q, k: loss(*in_batch(q, k))),
    "in_batch, hard": (((N, D), (N, D), (N, D)), lambda loss, q, k, h: loss(*in_batch(q, k, h))),
    "symmetric": (((N, D), (N, D)), lambda loss, q, k: (loss(*in_batch(q, k)) + loss(*flip(in_batch(q, k)))) / 2),
    "with_queue": (((N, D), (N, D), (M, D)), lambda loss, q, k, queue: loss(*with_queue(q, k, queue))),
    "own negatives": (((N, D), (N, D), (N, M, D)), lambda loss, q, k, own: loss(*with_queue(q, k, q.new_zeros(0, D), extra=own))),
    "from_labels": (((len(LABELS), D),), lambda loss, z: loss(*from_labels(z, LABELS))),
}


@dataclass(frozen=True)
class Oracle:
    name: str
    builder: str  # a key of ARRANGEMENTS
    package: str  # what must be installed
    function: Callable  # (*embeddings, temperature) -> scalar

    @property
    def missing(self) -> str:
        "A line that says what is not installed, or nothing."
        return "" if importlib.util.find_spec(self.package) else f"{self.package} is not installed"


ORACLES: dict[str, Oracle] = {}


def oracle(name: str, *, builder: str, package: str):
    "Enter the decorated function under a name that the registry's entries can ask for."

    def enter(function: Callable) -> Callable:
        assert name not in ORACLES and builder in ARRANGEMENTS, name
        ORACLES[name] = Oracle(name, builder, package, function)
        return function

    return enter


@oracle("torch cross_entropy", builder="in_batch", package="torch")
def _(q, k, temperature):
    return F.cross_entropy(F.normalize(q, dim=1) @ F.normalize(k, dim=1).T / temperature, torch.arange(N))


@oracle("lightly NTXentLoss", builder="two_views", package="lightly")
def _(a, b, temperature):
    from lightly_loader import load

    return load()(temperature)(a, b)


def _pml():
    from pytorch_metric_learning import losses

    return losses


@oracle("pytorch-metric-learning NTXentLoss", builder="two_views", package="pytorch_metric_learning")
def _(a, b, temperature):
    return _pml().SelfSupervisedLoss(_pml().NTXentLoss(temperature))(a, b)


@oracle("pytorch-metric-learning NTXentLoss one way", builder="in_batch", package="pytorch_metric_learning")
def _(q, k, temperature):
    return _pml().SelfSupervisedLoss(_pml().NTXentLoss(temperature), symmetric=False)(q, k)


@oracle("pytorch-metric-learning NTXentLoss in batch", builder="in_batch", package="pytorch_metric_learning")
def _(q, k, temperature):
    rows = torch.arange(N)  # cloned below: where both labels are one object, that library takes every pair for a self-pair
    return _pml().NTXentLoss(temperature)(q, rows, ref_emb=k, ref_labels=rows.clone())


@oracle("pytorch-metric-learning NTXentLoss hard", builder="in_batch, hard", package="pytorch_metric_learning")
def _(q, k, h, temperature):
    rows = torch.arange(N)
    return _pml().NTXentLoss(temperature)(q, rows, ref_emb=torch.cat([k, h]), ref_labels=torch.cat([rows, rows + N]))


@oracle("pytorch-metric-learning NTXentLoss classes", builder="from_labels", package="pytorch_metric_learning")
def _(z, temperature):
    return _pml().NTXentLoss(temperature)(z, LABELS)


@oracle("pytorch-metric-learning SupConLoss classes", builder="from_labels", package="pytorch_metric_learning")
def _(z, temperature):
    from pytorch_metric_learning.reducers import MeanReducer

    return _pml().SupConLoss(temperature, reducer=MeanReducer())(z, LABELS)


def _sentence(name: str, temperature: float, *embeddings):
    "A sentence-transformers loss on embeddings; its scale is 1 / temperature, its model is never called."
    try:
        from sentence_transformers.sentence_transformer import losses
    except ImportError:  # before version 6
        from sentence_transformers import losses
    with warnings.catch_warnings():  # version 6 has one class for all directions and calls the symmetric one deprecated
        warnings.simplefilter("ignore", DeprecationWarning)
        loss = getattr(losses, name)(torch.nn.Identity(), scale=1 / temperature)
    return loss.compute_loss_from_embeddings(list(embeddings), None)


@oracle("sentence-transformers MultipleNegativesRankingLoss", builder="in_batch", package="sentence_transformers")
def _(q, k, temperature):
    return _sentence("MultipleNegativesRankingLoss", temperature, q, k)


@oracle("sentence-transformers MultipleNegativesRankingLoss hard", builder="in_batch, hard", package="sentence_transformers")
def _(q, k, h, temperature):
    return _sentence("MultipleNegativesRankingLoss", temperature, q, k, h)


@oracle("sentence-transformers MultipleNegativesSymmetricRankingLoss", builder="symmetric", package="sentence_transformers")
def _(q, k, temperature):
    return _sentence("MultipleNegativesSymmetricRankingLoss", temperature, q, k)


@oracle("info-nce-pytorch", builder="in_batch", package="info_nce")
def _(q, k, temperature):
    from info_nce import InfoNCE

    return InfoNCE(temperature)(q, k)


@oracle("info-nce-pytorch unpaired", builder="with_queue", package="info_nce")
def _(q, k, queue, temperature):
    from info_nce import InfoNCE

    return InfoNCE(temperature, negative_mode="unpaired")(q, k, queue)


@oracle("info-nce-pytorch paired", builder="own negatives", package="info_nce")
def _(q, k, own, temperature):
    from info_nce import InfoNCE

    return InfoNCE(temperature, negative_mode="paired")(q, k, own)
