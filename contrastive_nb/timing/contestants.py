"""Who takes part in the benchmark: for each value the ways to it, ours and others', from embeddings to their gradients. Plain module."""

# A library is imported by the contestant that needs it, when it is made. Nothing here is fast on purpose or slow on purpose: each
# library is called as its documentation says.

import contextlib
import importlib.metadata
import importlib.util
import pathlib
import sys
from collections.abc import Callable, Iterator
from typing import NamedTuple

TEMPERATURE = 0.1
MINED = 10  # hard negatives of a query where a corpus is searched
CLASS_SIZE = 8  # items of one class where labels are compared: 16 rows, as each item is there twice
CLASSES: int | None = None  # so many classes instead, whatever the size


class Contestant(NamedTuple):
    "One way to a value: `make(query, key)` returns a step that computes the value and leaves the gradients at the two."

    name: str  # group/way
    group: str  # contestants of one group compute the same value
    library: str  # the distribution whose code does the work
    says: str
    make: Callable
    power: int = 2  # time grows as this power of the batch size
    space: int = 2  # and memory as this one


FLOOR = {"one-way": "products", "two-way": "products-2n", "search": "product"}  # bare products of the same shapes
GROUPS = {
    "infonce": ("one-way", "InfoNCE of each query against the batch's keys"),
    "ntxent": ("two-way", "NT-Xent of two views"),
    "decoupled": ("two-way", "decoupled contrast of two views"),
    "supcon": ("two-way", "supervised contrast of two views with labels"),
    "mw": ("one-way", "MW: every positive against every negative of the batch"),
    "ranknet": ("one-way", "RankNet, a list a query"),
    "mining": ("search", "the hardest negatives of a corpus, a few a query; no gradients"),
    "product": ("search", "one bare matrix product"),
    "products": ("one-way", "three bare matrix products"),
    "products-2n": ("two-way", "three bare matrix products of two views"),
}


def _entry(name: str, library: str, says: str, make: Callable, power: int = 2, space: int = 2) -> Contestant:
    return Contestant(name, name.split("/")[0], library, says, make, power, space)


def enter(name: str, library: str, says: str, power: int = 2, space: int = 2):
    """Decorator of a `make(query, key)` that enters it as "group/way". Raises `ValueError` for a group that is not there.

    A file of your own entries takes part through `contrastive-nb timing --also FILE`; `library` is the distribution that they need.
    """
    if name.split("/")[0] not in GROUPS:
        raise ValueError(f"name: got {name!r}, want group/way, of the groups {', '.join(GROUPS)}")

    def keep(make):
        CONTESTANTS[name] = _entry(name, library, says, make, power, space)
        return make

    return keep


def load(path: str) -> None:
    "Run a file that enters contestants. Raises `ValueError` naming the file."
    spec = importlib.util.spec_from_file_location("contestants_of_" + pathlib.Path(path).stem, path)
    try:
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module  # where its functions' source is found again
        spec.loader.exec_module(module)
    except Exception as error:
        raise ValueError(f"also: {path} cannot be run ({type(error).__name__}: {error})") from None


@contextlib.contextmanager
def asked(temperature: float, classes: int | None = None) -> Iterator[None]:
    "Inside, everyone's value is at this temperature, with so many classes where labels are compared; steps are made and run inside."
    own, before = globals(), (TEMPERATURE, CLASSES)
    own["TEMPERATURE"], own["CLASSES"] = temperature, classes
    try:
        yield
    finally:
        own["TEMPERATURE"], own["CLASSES"] = before


def descend(loss: Callable, *inputs) -> Callable:
    "A step: the value of `loss()`, with gradients put anew at the inputs."

    def step():
        for x in inputs:
            x.grad = None
        value = loss()
        value.backward()
        return value.detach()

    return step


def torch_of(group: str) -> str:
    "The contestant in plain torch that a group is held against; MW has InfoNCE's."
    return f"{group}/torch" if f"{group}/torch" in CONTESTANTS else "infonce/torch"


def floor_of(group: str) -> str:
    "The bare products that a group is held against."
    return FLOOR[GROUPS[group][0]]


def learns(group: str | None) -> bool:
    "Whether a step of the group leaves gradients at the embeddings: a search does not."
    return group is None or GROUPS[group][0] != "search"


def installed(library: str) -> str | None:
    "The version of a contestant's library, or None where it is missing."
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return None


def available(contestant: Contestant) -> str | None:
    "None if the contestant can take part here, else the reason why not."
    if installed(contestant.library) is None:
        return f"{contestant.library} is not installed"
    if contestant.name.endswith("/streaming"):
        from contrastive_nb import scaling

        need = {"mw": "streaming_mw", "decoupled": "streaming_decoupled_nce"}.get(contestant.group, "streaming_info_nce")
        return None if hasattr(scaling, need) else f"contrastive_nb.scaling has no {need} yet"
    return None


def oracle(group: str, query, key):
    "The group's value in float64 by the dense objective on the dense pairs; of a search by a sort of all scores."
    from contrastive_nb import objectives, pairs

    if group == "mining":
        scores = _cosine(query.double(), key.double()).detach()
        return _told([[j for j in row.argsort(descending=True).tolist() if j != i][:MINED] for i, row in enumerate(scores)])
    query, key = query.double(), key.double()
    if group in ("infonce", "mw", "ranknet"):
        name = {"infonce": "info_nce"}.get(group, group)
        return getattr(objectives, name)(*pairs.in_batch(query, key), temperature=TEMPERATURE)
    if group == "supcon":
        return objectives.supcon(*pairs.from_labels(*_labelled(query, key)), temperature=TEMPERATURE)
    name = {"ntxent": "info_nce", "decoupled": "decoupled_nce"}[group]
    return getattr(objectives, name)(*pairs.two_views(query, key), temperature=TEMPERATURE)


# --- the floor -------------------------------------------------------------------------------------------------------------------------


def _bare(query, key):
    import torch

    def step():
        with torch.no_grad():
            scores = query @ key.T
            query.grad, key.grad = scores @ key, scores.T @ query

    return step


def _products(query, key):
    return _bare(query, key)


def _products_2n(query, key):
    import torch

    with torch.no_grad():
        z = torch.cat([query, key])
        return _bare(z, z.clone())


# --- InfoNCE, one way ------------------------------------------------------------------------------------------------------------------


def _cosine(query, key):
    import torch.nn.functional as F

    return F.normalize(query, dim=-1) @ F.normalize(key, dim=-1).T


def _infonce_torch(query, key):
    import torch
    import torch.nn.functional as F

    target = torch.arange(len(query), device=query.device)
    return descend(lambda: F.cross_entropy(_cosine(query, key) / TEMPERATURE, target), query, key)


def _infonce_dense(query, key):
    from contrastive_nb.objectives import info_nce
    from contrastive_nb.pairs import in_batch

    return descend(lambda: info_nce(*in_batch(query, key), temperature=TEMPERATURE), query, key)


def _infonce_streaming(query, key):
    from contrastive_nb.scaling import streaming_info_nce

    return descend(lambda: streaming_info_nce(query, key, temperature=TEMPERATURE), query, key)


def _infonce_info_nce_pytorch(query, key):
    from info_nce import InfoNCE

    loss = InfoNCE(TEMPERATURE)
    return descend(lambda: loss(query, key), query, key)


def _infonce_sentence_transformers(query, key):
    from torch import nn

    loss = _ranking_losses().MultipleNegativesRankingLoss(nn.Identity(), scale=1 / TEMPERATURE)
    return descend(lambda: loss.compute_loss_from_embeddings([query, key], None), query, key)


def _infonce_sentence_transformers_cached(query, key):
    from torch import nn

    loss = _ranking_losses().CachedMultipleNegativesRankingLoss(nn.Sequential(nn.Identity()), scale=1 / TEMPERATURE, mini_batch_size=256)

    def step():
        query.grad = key.grad = None
        return loss.calculate_loss([[query], [key]], with_backward=True)

    return step


def _infonce_pytorch_metric_learning(query, key):
    from pytorch_metric_learning.losses import NTXentLoss, SelfSupervisedLoss

    loss = SelfSupervisedLoss(NTXentLoss(TEMPERATURE), symmetric=False)
    return descend(lambda: loss(query, key), query, key)


def _ranking_losses():
    try:
        from sentence_transformers.sentence_transformer import losses
    except ImportError:  # before version 6
        from sentence_transformers import losses
    return losses


# --- two views -------------------------------------------------------------------------------------------------------------------------


def _logits_of_views(query, key):
    "(2N, 2N) logits with self-pairs at minus infinity, and the column of each row's positive."
    import torch

    z = torch.cat([query, key])
    row = torch.arange(len(z), device=z.device)
    logits = (_cosine(z, z) / TEMPERATURE).fill_diagonal_(-torch.inf)
    return logits, row.roll(len(query))


def _ntxent_torch(query, key):
    import torch.nn.functional as F

    return descend(lambda: F.cross_entropy(*_logits_of_views(query, key)), query, key)


def _ntxent_dense(query, key):
    from contrastive_nb.objectives import info_nce
    from contrastive_nb.pairs import two_views

    return descend(lambda: info_nce(*two_views(query, key), temperature=TEMPERATURE), query, key)


def _streamed_views(function, query, key):
    "A streaming objective on two views: the item's number says which pairs are positive, and no row meets itself."
    import torch

    ids = torch.arange(len(query), device=query.device).repeat(2)

    def loss():
        z = torch.cat([query, key])
        return function(z, z, temperature=TEMPERATURE, ids=ids, exclude_self=True)

    return descend(loss, query, key)


def _ntxent_streaming(query, key):
    from contrastive_nb.scaling import streaming_info_nce

    return _streamed_views(streaming_info_nce, query, key)


def _ntxent_lightly(query, key):
    from contrastive_nb.timing.lightly_loader import load

    loss = load()(TEMPERATURE)
    return descend(lambda: loss(query, key), query, key)


def _ntxent_pytorch_metric_learning(query, key):
    from pytorch_metric_learning.losses import NTXentLoss, SelfSupervisedLoss

    loss = SelfSupervisedLoss(NTXentLoss(TEMPERATURE))
    return descend(lambda: loss(query, key), query, key)


def _decoupled_torch(query, key):
    import torch

    def loss():
        logits, positive = _logits_of_views(query, key)
        positive = positive[:, None]
        return (logits.scatter(1, positive, -torch.inf).logsumexp(1) - logits.gather(1, positive)[:, 0]).mean()

    return descend(loss, query, key)


def _decoupled_dense(query, key):
    from contrastive_nb.objectives import decoupled_nce
    from contrastive_nb.pairs import two_views

    return descend(lambda: decoupled_nce(*two_views(query, key), temperature=TEMPERATURE), query, key)


def _decoupled_streaming(query, key):
    from contrastive_nb.scaling import streaming_decoupled_nce

    return _streamed_views(streaming_decoupled_nce, query, key)


def _decoupled_lightly(query, key):
    from contrastive_nb.timing.lightly_loader import load

    loss = load("lightly.loss.dcl_loss", "DCLLoss")(TEMPERATURE)
    return descend(lambda: loss(query, key), query, key)


# --- labels ----------------------------------------------------------------------------------------------------------------------------


def _labelled(query, key):
    "Both views and the class of each row."
    import torch

    classes = torch.arange(len(query), device=query.device) % (CLASSES or max(2, len(query) // CLASS_SIZE))
    return torch.cat([query, key]), classes.repeat(2)


def _supcon_torch(query, key):
    import torch

    labels = _labelled(query, key)[1]
    same = (labels[:, None] == labels).fill_diagonal_(False)

    def loss():
        shares = _logits_of_views(query, key)[0].log_softmax(1)
        return -(torch.where(same, shares, 0.0).sum(1) / same.sum(1)).mean()

    return descend(loss, query, key)


def _supcon_dense(query, key):
    from contrastive_nb.objectives import supcon
    from contrastive_nb.pairs import from_labels

    return descend(lambda: supcon(*from_labels(*_labelled(query, key)), temperature=TEMPERATURE), query, key)


def _supcon_pytorch_metric_learning(query, key):
    from pytorch_metric_learning.losses import SupConLoss

    loss = SupConLoss(TEMPERATURE)
    return descend(lambda: loss(*_labelled(query, key)), query, key)


# --- every pair of the batch -----------------------------------------------------------------------------------------------------------


def _mw_broadcast(query, key):
    import torch
    import torch.nn.functional as F

    other = ~torch.eye(len(query), dtype=torch.bool, device=query.device)

    def loss():
        scores = _cosine(query, key) / TEMPERATURE
        return F.softplus(scores[other] - scores.diagonal()[:, None]).mean()

    return descend(loss, query, key)


def _mw_plain(query, key):
    from contrastive_nb.objectives import mw
    from contrastive_nb.pairs import in_batch

    return descend(lambda: mw(*in_batch(query.double(), key.double()), temperature=TEMPERATURE), query, key)


def _mw_dense(query, key):
    from contrastive_nb.objectives import mw
    from contrastive_nb.pairs import in_batch

    return descend(lambda: mw(*in_batch(query, key), temperature=TEMPERATURE), query, key)


def _mw_streaming(query, key):
    from contrastive_nb.scaling import streaming_mw

    return descend(lambda: streaming_mw(query, key, temperature=TEMPERATURE), query, key)


# --- a list a query --------------------------------------------------------------------------------------------------------------------


def _ranknet_torch(query, key):
    import torch.nn.functional as F

    def loss():
        scores, n = _cosine(query, key) / TEMPERATURE, len(query)
        lost = F.softplus(scores - scores.diagonal()[:, None])
        return (lost.sum() - lost.diagonal().sum()) / (n * (n - 1))

    return descend(loss, query, key)


def _ranknet_dense(query, key):
    from contrastive_nb.objectives import ranknet
    from contrastive_nb.pairs import in_batch

    return descend(lambda: ranknet(*in_batch(query, key), temperature=TEMPERATURE), query, key)


def _ranknet_pair_list(query, key):
    import itertools

    import torch
    import torch.nn.functional as F

    relevance = torch.eye(len(query), device=query.device)

    def loss():
        scores = _cosine(query, key) / TEMPERATURE
        pairs = torch.tensor(list(itertools.product(range(scores.shape[1]), repeat=2)), device=scores.device)
        grades, rated = relevance[:, pairs], scores[:, pairs]
        kept = grades[:, :, 0] > grades[:, :, 1]
        return F.binary_cross_entropy_with_logits((rated[:, :, 0] - rated[:, :, 1])[kept], kept[kept].to(scores.dtype))

    return descend(loss, query, key)


# --- hard negatives of a corpus: row i of the keys belongs to query i, all others are its negatives -----------------------------------


def _told(found):
    "One number that says which rows were found, and in which order."
    import torch

    found = torch.as_tensor(found, dtype=torch.float64)
    return (found @ torch.arange(1, found.shape[1] + 1, dtype=torch.float64)).mean()


def _product(query, key):
    def step():
        return (query.detach() @ key.detach().T)[0, 0]

    return step


def _mining_torch(query, key):
    def step():
        scores = _cosine(query.detach(), key.detach()).fill_diagonal_(float("-inf"))
        return _told(scores.topk(min(MINED, len(key) - 1), 1).indices.cpu())

    return step


def _mining_mine(query, key):
    from contrastive_nb.negatives import mine

    return lambda: _told(mine(query.detach(), key.detach(), k=MINED).cpu())


def _mining_sentence_transformers(query, key):
    from sentence_transformers.util import semantic_search

    def step():
        found = semantic_search(query.detach(), key.detach(), top_k=MINED + 1)
        return _told(
            [[hit["corpus_id"] for hit in hits if hit["corpus_id"] != i][: min(MINED, len(key) - 1)] for i, hits in enumerate(found)]
        )

    return step


# --- the list --------------------------------------------------------------------------------------------------------------------------

CONTESTANTS: dict[str, Contestant] = {entry.name: entry for entry in (
    _entry("product", "torch", "the scores", _product),
    _entry("products", "torch", "scores, and the two products that lead back", _products),
    _entry("products-2n", "torch", "the same for both views against both views", _products_2n),
    _entry("infonce/torch", "torch", "normalize, one product, cross_entropy", _infonce_torch),
    _entry("infonce/dense", "contrastive_nb", "info_nce(*in_batch(query, key))", _infonce_dense),
    _entry("infonce/streaming", "contrastive_nb", "streaming_info_nce(query, key)", _infonce_streaming),
    _entry("infonce/info-nce-pytorch", "info-nce-pytorch", "InfoNCE", _infonce_info_nce_pytorch),
    _entry("infonce/sentence-transformers", "sentence-transformers", "MultipleNegativesRankingLoss", _infonce_sentence_transformers),
    _entry("infonce/sentence-transformers-cached", "sentence-transformers", "CachedMultipleNegativesRankingLoss, 256 rows at a time",
           _infonce_sentence_transformers_cached),
    _entry("infonce/pytorch-metric-learning", "pytorch-metric-learning", "SelfSupervisedLoss(NTXentLoss, symmetric=False)",
           _infonce_pytorch_metric_learning, power=3, space=3),
    _entry("ntxent/torch", "torch", "normalize, one product, self-pairs out, cross_entropy", _ntxent_torch),
    _entry("ntxent/dense", "contrastive_nb", "info_nce(*two_views(query, key))", _ntxent_dense),
    _entry("ntxent/streaming", "contrastive_nb", "streaming_info_nce(z, z, ids=items, exclude_self=True)", _ntxent_streaming),
    _entry("ntxent/lightly", "lightly", "NTXentLoss", _ntxent_lightly),
    _entry("ntxent/pytorch-metric-learning", "pytorch-metric-learning", "SelfSupervisedLoss(NTXentLoss)",
           _ntxent_pytorch_metric_learning, power=3, space=3),
    _entry("decoupled/torch", "torch", "logsumexp without the positive, less the positive", _decoupled_torch),
    _entry("decoupled/dense", "contrastive_nb", "decoupled_nce(*two_views(query, key))", _decoupled_dense),
    _entry("decoupled/streaming", "contrastive_nb", "streaming_decoupled_nce(z, z, ids=items, exclude_self=True)", _decoupled_streaming),
    _entry("decoupled/lightly", "lightly", "DCLLoss", _decoupled_lightly),
    _entry("supcon/torch", "torch", "log_softmax without self-pairs, mean over the positives", _supcon_torch),
    _entry("supcon/dense", "contrastive_nb", "supcon(*from_labels(z, labels))", _supcon_dense),
    _entry("supcon/pytorch-metric-learning", "pytorch-metric-learning", "SupConLoss", _supcon_pytorch_metric_learning),
    _entry("mw/broadcast", "torch", "softplus of every positive's difference to every negative", _mw_broadcast, power=3, space=3),
    _entry("mw/plain", "contrastive_nb", "mw(*in_batch(query.double(), key.double())): every pair, in float64", _mw_plain, power=3),
    _entry("mw/dense", "contrastive_nb", "mw(*in_batch(query, key))", _mw_dense),
    _entry("mw/streaming", "contrastive_nb", "streaming_mw(query, key)", _mw_streaming),
    _entry("ranknet/torch", "torch", "softplus of each row's differences to its positive", _ranknet_torch),
    _entry("ranknet/dense", "contrastive_nb", "ranknet(*in_batch(query, key))", _ranknet_dense),
    _entry("ranknet/pair-list", "torch", "the list of all pairs of each list, those of unequal relevance kept, as allRank does it",
           _ranknet_pair_list, power=3, space=3),
    _entry("mining/torch", "torch", "the whole score matrix, its diagonal out, topk", _mining_torch),
    _entry("mining/mine", "contrastive_nb", "mine(query, corpus)", _mining_mine, space=1),
    _entry("mining/sentence-transformers", "sentence-transformers", "util.semantic_search, each query's own row left out",
           _mining_sentence_transformers, space=1),
)}  # fmt: skip
