"""Outside implementations that a method must equal: one decorated function each, from embeddings and a temperature to a scalar.

An arrangement says which embeddings (or scores of lists) are drawn and how ours reads them. All is in float64, to 1e-12 in value and gradient.
"""

import importlib.util
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from unittest import mock

import torch
import torch.nn.functional as F

from contrastive_nb.negatives import batch_hard
from contrastive_nb.pairs import flip, from_labels, in_batch, two_views, with_queue

N, M, D = 8, 5, 6
GRADES = torch.tensor([[0, 2, 1, 1, 3], [1, 3, 2, 0, 1]] * 4)  # each grade as often in each list: a mean over pairs is a mean over lists
DISTINCT = torch.stack([torch.randperm(M, generator=torch.Generator().manual_seed(n)) for n in range(N)])
LABELS = torch.tensor([0, 1, 2, 3] * 2 + [0, 1, 2, 3])  # three of each: then a mean over pairs is a mean over queries


def draw(*shapes: tuple, seed: int = 0) -> tuple:
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True) for shape in shapes)


def given(anchor, positive, negative):
    "One triplet a row, by distance."
    return with_queue(anchor, positive, anchor.new_zeros(0, D), extra=negative[:, None], similarity="neg_euclidean")


# name -> (shapes of the embeddings, the loss of a function of pairs on them)
ARRANGEMENTS = {
    "two_views": (((N, D), (N, D)), lambda loss, a, b: loss(*two_views(a, b))),
    "in_batch": (((N, D), (N, D)), lambda loss, q, k: loss(*in_batch(q, k))),
    "in_batch, hard": (((N, D), (N, D), (N, D)), lambda loss, q, k, h: loss(*in_batch(q, k, h))),
    "symmetric": (((N, D), (N, D)), lambda loss, q, k: (loss(*in_batch(q, k)) + loss(*flip(in_batch(q, k)))) / 2),
    "with_queue": (((N, D), (N, D), (M, D)), lambda loss, q, k, queue: loss(*with_queue(q, k, queue))),
    "own negatives": (((N, D), (N, D), (N, M, D)), lambda loss, q, k, own: loss(*with_queue(q, k, q.new_zeros(0, D), extra=own))),
    "from_labels": (((len(LABELS), D),), lambda loss, z: loss(*from_labels(z, LABELS))),
    "from_labels, distance": (((len(LABELS), D),), lambda loss, z: loss(*from_labels(z, LABELS, similarity="neg_euclidean"))),
    "from_labels, close": (((len(LABELS), D),), lambda loss, z: loss(*from_labels(0.1 * z, LABELS, similarity="neg_euclidean"))),
    "from_labels, hardest": (((len(LABELS), D),), lambda loss, z: loss(*batch_hard(from_labels(z, LABELS, similarity="neg_euclidean")))),
    "views, whole batches": (((N, D), (N, D)), lambda loss, a, b: loss(a, b)),
    "given triplets": (((N, D), (N, D), (N, D)), lambda loss, a, p, n: loss(*given(a, p, n))),
    "relevant or not": (((N, M),), lambda loss, s: loss(s, GRADES > 1, GRADES <= 1)),
    "two grades": (((N, M),), lambda loss, s: loss(s, GRADES > 1)),
    "two views, whitened": (((3 * D, D), (3 * D, D)), lambda loss, a, b: loss(a, b)),
    "three views": (((N, M), (N, M), (N, M)), lambda loss, a, b, c: loss(a, b, c)),
    "grades": (((N, M),), lambda loss, s: loss(s, GRADES)),
    "distinct grades": (((N, M),), lambda loss, s: loss(s, DISTINCT)),
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
    from contrastive_nb.timing.lightly_loader import load

    return load()(temperature)(a, b)


@oracle("lightly DCLLoss", builder="two_views", package="lightly")
def _(a, b, temperature):
    from contrastive_nb.timing.lightly_loader import load

    return load("lightly.loss.dcl_loss", "DCLLoss")(temperature)(a, b)


@oracle("lightly VICRegLoss", builder="views, whole batches", package="lightly")
def _(a, b, temperature):
    from contrastive_nb.timing.lightly_loader import load

    return load("lightly.loss.vicreg_loss", "VICRegLoss")()(a, b)


@oracle("lightly BarlowTwinsLoss a feature", builder="views, whole batches", package="lightly")
def _(a, b, temperature):
    from contrastive_nb.timing.lightly_loader import load

    return load("lightly.loss.barlow_twins_loss", "BarlowTwinsLoss")()(a, b) / D


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


# ---- lists -----------------------------------------------------------------------------------------------------------------------


@oracle("torch logsigmoid of all differences", builder="in_batch", package="torch")
def _(q, k, temperature):
    logits = F.normalize(q, dim=1) @ F.normalize(k, dim=1).T / temperature
    return -sum(F.logsigmoid(logits[i, i] - logits[i, j]) for i in range(N) for j in range(N) if i != j) / (N * (N - 1))


@oracle("torch cross_entropy of two grades", builder="two grades", package="torch")
def _(scores, temperature):
    losses = []
    for row, good in zip(scores, GRADES > 1, strict=True):
        logits = torch.cat([row[good][:, None], row[~good].expand(int(good.sum()), -1)], 1)
        losses.append(F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long)))
    return torch.stack(losses).mean()


class _Scored(torch.nn.Module):
    "Stands for a cross-encoder whose scores are given: its input is the number of each pair of texts."

    num_labels, device = 1, torch.device("cpu")

    def __init__(self, scores):
        super().__init__()
        self.scores = scores.flatten()

    def preprocess(self, pairs, **_):
        return {"number": torch.tensor([document for _, document in pairs])}

    def forward(self, features):
        return {"scores": self.scores[features["number"]]}


def _sentence_lists(name: str, scores, grades, **options):
    "A cross-encoder loss of sentence-transformers on given scores; it asks for float32, which is overruled while it computes."
    from sentence_transformers.cross_encoder import losses

    numbers = torch.arange(scores.numel()).reshape(scores.shape).tolist()
    texts = [["query"] * len(scores), numbers]
    usual = torch.get_default_dtype()
    with mock.patch.object(torch.Tensor, "float", torch.Tensor.double):
        torch.set_default_dtype(torch.float64)
        try:
            return getattr(losses, name)(_Scored(scores), **options)(texts, list(grades))
        finally:
            torch.set_default_dtype(usual)


@oracle("sentence-transformers RankNetLoss", builder="relevant or not", package="sentence_transformers")
def _(scores, temperature):
    return _sentence_lists("RankNetLoss", scores, (GRADES > 1).long(), sigma=1 / temperature, eps=0.0, reduction_log="natural")


@oracle("sentence-transformers RankNetLoss graded", builder="grades", package="sentence_transformers")
def _(scores, temperature):
    return _sentence_lists("RankNetLoss", scores, GRADES, eps=0.0, reduction_log="natural")


@oracle("torch cross_entropy of probabilities", builder="grades", package="torch")
def _(scores, temperature):
    return F.cross_entropy(scores / temperature, GRADES / GRADES.sum(1, keepdim=True).double())


@oracle("sentence-transformers ListMLELoss", builder="distinct grades", package="sentence_transformers")
def _(scores, temperature):
    return _sentence_lists("ListMLELoss", scores, DISTINCT, respect_input_order=False)


@oracle("sentence-transformers ListMLELoss a document", builder="distinct grades", package="sentence_transformers")
def _(scores, temperature):
    return _sentence_lists("ListMLELoss", scores, DISTINCT, respect_input_order=False) / (M - 1)


def _every_lead(scores, positives, temperature):
    "Each positive minus each negative of the whole matrix, in lists of their own: no mask of ours is used."
    return torch.stack([p - n for p in scores[positives] for n in scores[~positives]]) / temperature


@oracle("torch binary_cross_entropy_with_logits, every pair", builder="in_batch, hard", package="torch")
def _(q, k, h, temperature):
    scores = F.cosine_similarity(q[:, None], torch.cat([k, h])[None], dim=-1)
    lead = _every_lead(scores, torch.eye(N, 2 * N, dtype=torch.bool), temperature)
    return F.binary_cross_entropy_with_logits(lead, torch.ones_like(lead))


@oracle("torch binary_cross_entropy_with_logits, focused", builder="relevant or not", package="torch")
def _(scores, temperature):
    marks = (GRADES > 1).to(scores)
    terms = F.binary_cross_entropy_with_logits(scores / temperature, marks, reduction="none")
    return ((1 - torch.exp(-terms)) ** 2 * terms).sum(1).mean()


@oracle("torch soft_margin_loss, every pair", builder="in_batch", package="torch")
def _(q, k, temperature):
    lead = _every_lead(F.cosine_similarity(q[:, None], k[None], dim=-1), torch.eye(N, dtype=torch.bool), temperature)
    return F.soft_margin_loss(lead, torch.ones_like(lead))


@oracle("torch logsumexp over the positives", builder="from_labels", package="torch")
def _(z, temperature):
    "solo-learn's supervised loss, to which the log of the number of positives is added."
    same, itself = LABELS[:, None] == LABELS, torch.eye(len(z), dtype=torch.bool)
    logits = F.cosine_similarity(z[:, None], z[None], dim=-1).masked_fill(itself, -torch.inf) / temperature
    return (logits.logsumexp(1) - logits.masked_fill(~same, -torch.inf).logsumexp(1)).mean() + math.log(2)


@oracle("torch soft_margin_loss of given triplets", builder="given triplets", package="torch")
def _(anchor, positive, negative, temperature):
    lead = (anchor - negative).norm(dim=1) - (anchor - positive).norm(dim=1)
    return F.soft_margin_loss(lead, torch.ones_like(lead))


@oracle("torch triplet_margin_loss", builder="given triplets", package="torch")
def _(anchor, positive, negative, temperature):
    return F.triplet_margin_loss(anchor, positive, negative, margin=1.0, eps=0.0)


def _pml_triplets(z, miner: bool = False, **options):
    "The mean over all triplets, active or not, or over the hardest ones, of embeddings that are not normalised."
    from pytorch_metric_learning import distances, miners, reducers

    distance = distances.LpDistance(normalize_embeddings=False)
    loss = _pml().TripletMarginLoss(distance=distance, reducer=reducers.MeanReducer(), **options)
    return loss(z, LABELS, miners.BatchHardMiner(distance=distance)(z, LABELS) if miner else None)


@oracle("pytorch-metric-learning TripletMarginLoss smooth", builder="from_labels, distance", package="pytorch_metric_learning")
def _(z, temperature):
    return _pml_triplets(z, margin=0, smooth_loss=True)


@oracle("pytorch-metric-learning TripletMarginLoss", builder="from_labels, distance", package="pytorch_metric_learning")
def _(z, temperature):
    return _pml_triplets(z, margin=1)


@oracle("pytorch-metric-learning BatchHardMiner", builder="from_labels, hardest", package="pytorch_metric_learning")
def _(z, temperature):
    return _pml_triplets(z, miner=True, margin=1)


def _sentence_triplets(name: str, z, **options):
    try:
        from sentence_transformers.sentence_transformer import losses
    except ImportError:  # before version 6
        from sentence_transformers import losses
    return getattr(losses, name)(torch.nn.Identity(), **options).compute_loss_from_embeddings([z], LABELS)


@oracle("sentence-transformers BatchHardTripletLoss", builder="from_labels, hardest", package="sentence_transformers")
def _(z, temperature):
    return _sentence_triplets("BatchHardTripletLoss", z, margin=1)


@oracle("sentence-transformers BatchHardSoftMarginTripletLoss", builder="from_labels, hardest", package="sentence_transformers")
def _(z, temperature):
    return _sentence_triplets("BatchHardSoftMarginTripletLoss", z)


@oracle("sentence-transformers BatchAllTripletLoss", builder="from_labels, close", package="sentence_transformers")
def _(z, temperature):
    return _sentence_triplets(
        "BatchAllTripletLoss", 0.1 * z, margin=1
    )  # so close that every triplet is active: it averages over those alone


@oracle("lightly SwaVLoss", builder="three views", package="lightly")
def _(a, b, c, temperature):
    from contrastive_nb.timing.lightly_loader import load

    return load("lightly.loss.swav_loss", "SwaVLoss")(temperature)([b], [a, c])[0]


def _lightly_w_mse(a, b, eps):
    from contrastive_nb.timing.lightly_loader import load

    return load("lightly.loss.wmse_loss", "WMSELoss")(D, eps=eps, w_size=len(a))(torch.cat([a, b]))  # one slice: the order is no matter


@oracle("lightly WMSELoss", builder="two views, whitened", package="lightly")
def _(a, b, temperature):
    return _lightly_w_mse(a, b, 0.0)


@oracle("lightly WMSELoss shrunk", builder="two views, whitened", package="lightly")
def _(a, b, temperature):
    return _lightly_w_mse(a, b, 0.25)
