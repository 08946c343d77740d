"""The worlds of the benches: data, views, encoders, read-outs and floors of each. Plain module: what a bench must show is said on its page."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from contrastive_nb import data, scenes, words, worlds
from contrastive_nb.encoders import Encoder, augment, conv_encoder, embed, mlp_encoder, projector, seeded
from contrastive_nb.metrics import auc, few_label_accuracy, knn_accuracy, linear_probe, mrr_at, ndcg_at
from contrastive_nb.pairs import similarity_matrix


class Towers(nn.Module):
    "Two encoders that meet in one space: `first` reads queries, `second` keys."

    def __init__(self, first: nn.Module, second: nn.Module):
        super().__init__()
        self.first, self.second = first, second


@dataclass(frozen=True)
class Recipe:
    "What a bench is made of: a world a seed, views, an encoder, a budget, read-outs and floors."

    name: str
    about: str  # the task in a line
    base: int  # world seeds begin here, so that no two benches share one
    readouts: tuple[str, ...]
    world: Callable  # seed -> the data of one world, with `.train` and what `evaluate` needs
    sample: Callable  # (world, size, generator, plain=False) -> view, view, class; plain: without the augmentation
    encoder: Callable  # world -> module
    evaluate: Callable  # (model, world) -> a number a read-out
    floors_of: Callable  # world -> {floor: a number a read-out}
    settings: Mapping  # temperature, lr, weight_decay, batch, steps
    kind: str = "one tower"  # or "two towers"
    ceiling_is: str = "classes known, five times the budget"
    ceiling_how: Mapping = field(default_factory=lambda: {"truth": True})
    needs: str | None = None  # a real set
    pairs: int = 32  # of the paired spread


def _by_labels(train_z: Tensor, train_y: Tensor, test_z: Tensor, test_y: Tensor, few: Mapping[str, int]) -> dict[str, float]:
    "Logistic regression on the first few labels a class and the vote of five neighbours, on centred features of length 1; of many classes the means."
    train_z, test_z = (F.normalize(z - train_z.mean(0)) for z in (train_z, test_z))
    found = {}
    for name, n in few.items():
        rows = torch.cat([(train_y == c).nonzero()[:n, 0] for c in train_y.unique()])
        read = linear_probe if len(train_y.unique()) < 50 else functools.partial(few_label_accuracy, per_class=n, draws=1)
        found[name] = read(train_z[rows], train_y[rows], test_z, test_y)
    return found | {"knn": knn_accuracy(train_z, train_y, test_z, test_y)}


def _read_labels(model: nn.Module, world, few: Mapping[str, int]) -> dict[str, float]:
    (x, y), (test_x, test_y) = world.labelled, world.test
    return _by_labels(embed(model, x), y, embed(model, test_x), test_y, few)


def _label_floors(world, encoder: Callable, few: Mapping[str, int]) -> dict[str, dict[str, float]]:
    (x, y), (test_x, test_y) = world.labelled, world.test
    raw = _by_labels(x.flatten(1).float(), y, test_x.flatten(1).float(), test_y, few)
    most = float((test_y == y.mode().values).float().mean())
    return {
        "raw input": raw,
        "untrained encoder": _read_labels(seeded(0, lambda: encoder(world)), world, few),
        "majority": dict.fromkeys(raw, most),
    }


def _classes_bench(name: str, about: str, base: int, few: Mapping[str, int], encoder: Callable, **parts) -> Recipe:
    "A bench that is read out by classes."
    parts.setdefault("evaluate", lambda model, world: _read_labels(model, world, few))
    parts.setdefault("floors_of", lambda world: _label_floors(world, encoder, few))
    return Recipe(name, about, base, (*few, "knn"), encoder=encoder, **parts)


def _small_conv(shape: tuple[int, int, int]) -> nn.Sequential:
    "Three convolutions and 2 x 2 places kept: 256 features, since where a thing lies is part of what is asked."
    layers: list[nn.Module] = []
    for before, after, stride in ((shape[0], 16, 2), (16, 32, 2), (32, 64, 1)):
        layers += [nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten()).to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _canvas_world(train: data.Images, test: data.Images, seed: int, labelled: int, shown: int):
    side = train.x.shape[-1] + 8
    here = [scenes.canvases(s, number=n, pictures=part, side=side) for s, n, part in ((seed, len(train.x), train), (seed + 1, shown, test))]
    return SimpleNamespace(
        train=here[0], labelled=(here[0].x[:labelled], here[0].classes[:labelled, 0]), test=(here[1].x, here[1].classes[:, 0])
    )


def _canvas_views(world, size: int, generator: torch.Generator, plain: bool = False):
    "Two canvases of the same thing; plain: the one canvas with two draws of noise."
    some = world.train.take(torch.randperm(len(world.train.x), generator=generator)[:size])
    if plain:
        return *(some.x + 0.1 * torch.randn(some.x.shape, generator=generator) for _ in range(2)), some.classes[:, 0]
    return some.again(generator).x, some.again(generator).x, some.classes[:, 0]


def _digit_canvases(seed: int):
    parts = data.digits(seed, train=1000, valid=0, test=797)
    return _canvas_world(parts.train, parts.test, seed, 1000, 2391)


def _cloth_canvases(seed: int):
    parts = data.fashion_mnist(seed, train=5000, valid=0, test=2500)
    train, test = (data.Images(F.adaptive_avg_pool2d(part.x, 12), part.y) for part in (parts.train, parts.test))
    return _canvas_world(train, test, seed, 1500, 2500)


def _canvas_encoder(world) -> Encoder:
    return Encoder(_small_conv(tuple(world.train.x.shape[1:])), projector(256))


_FEW = {"few_labels": 20, "five_labels": 5}
_CANVASES = _classes_bench(
    "canvases",
    "a digit somewhere on a texture; two canvases of one digit are a pair",
    11_000_000,
    _FEW,
    _canvas_encoder,
    world=_digit_canvases,
    sample=_canvas_views,
    settings={"temperature": 0.2, "lr": 4e-3, "weight_decay": 1e-4, "batch": 128, "steps": 300},
)
_FASHION = replace(
    _CANVASES,
    name="fashion",
    about="a piece of clothing somewhere on a texture; two canvases of one piece are a pair",
    base=12_000_000,
    world=_cloth_canvases,
    settings={"temperature": 0.2, "lr": 1e-2, "weight_decay": 1e-4, "batch": 128, "steps": 200},
    needs="fashion_mnist",
)


def _latent_world(classes: int, spread: float) -> Callable:
    def make(seed: int):
        world, generator = worlds.many_classes(seed, classes=classes, spread=spread), torch.Generator().manual_seed(seed)
        drawn = [torch.arange(classes).repeat_interleave(n) for n in (20, max(30, 2000 // classes))]
        labelled, test = ((world.draw(y, generator), y) for y in drawn)
        return SimpleNamespace(train=world, classes=classes, labelled=labelled, test=test)

    return make


def _latent_views(world, size: int, generator: torch.Generator, plain: bool = False):
    "Two fresh draws of a class; plain: one draw with two draws of noise."
    y = torch.randint(world.classes, (size,), generator=generator)
    if plain:
        x = world.train.draw(y, generator)
        return *(x + 0.1 * torch.randn(x.shape, generator=generator) for _ in range(2)), y
    return world.train.draw(y, generator), world.train.draw(y, generator), y


def _three_layers(features: int, out: int = 64) -> nn.Sequential:
    return nn.Sequential(mlp_encoder(features, 256, 256), nn.Linear(256, out))


_CLASSES = _classes_bench(
    "classes",
    "a hundred hidden classes under nuisance and a fold; two draws of a class are a pair",
    3_000_000,
    {"few_labels": 5, "one_label": 1},
    lambda world: _three_layers(world.test[0].shape[1]),
    world=_latent_world(100, 0.8),
    sample=_latent_views,
    settings={"temperature": 0.1, "lr": 1e-2, "weight_decay": 1e-4, "batch": 128, "steps": 140},
)
_FEW_CLASSES = replace(_CLASSES, name="few_classes", about="the same world with ten classes", base=4_000_000, world=_latent_world(10, 1.0))


def _topic_world(seed: int):
    train = worlds.topics(seed, documents=4000, queries=4000)
    test = worlds.fresh_topics(train, seed + 1, documents=2000, queries=500)
    asked, stored = train.counts(train.queries).log1p(), train.counts(train.documents).log1p()
    return SimpleNamespace(
        train=train, asked=asked, stored=stored, test=test, test_asked=test.counts(test.queries).log1p(),
        test_stored=test.counts(test.documents).log1p(),
    )  # fmt: skip


def _topic_views(world, size: int, generator: torch.Generator, plain: bool = False):
    rows = torch.randperm(len(world.asked), generator=generator)[:size]
    pair = world.asked[rows], world.stored[world.train.marked[rows]]
    if not plain:  # half of the words are not seen
        pair = tuple(2 * x * (torch.rand(x.shape, generator=generator) < 0.5) for x in pair)
    return *pair, world.train.query_topic[rows]


def _ranking(scores: Tensor, world) -> dict[str, float]:
    relevant = world.test.relevance
    return {"ndcg": ndcg_at(scores, relevant.long(), k=10), "mrr": mrr_at(scores, relevant, ~relevant, k=len(world.test.documents))}


def _topic_quality(model: Any, world) -> dict[str, float]:
    return _ranking(similarity_matrix(embed(model.first, world.test_asked), embed(model.second, world.test_stored)), world)


def _topic_encoder(world) -> Towers:
    return Towers(nn.Linear(world.asked.shape[1], 64), nn.Linear(world.asked.shape[1], 64))


def _tfidf(world) -> Tensor:
    from sklearn.feature_extraction.text import TfidfTransformer

    stored, asked = (world.test.counts(words).numpy() for words in (world.test.documents, world.test.queries))
    rare = TfidfTransformer(sublinear_tf=True).fit(stored)
    return torch.from_numpy((rare.transform(asked) @ rare.transform(stored).T).toarray())


def _topic_floors(world) -> dict[str, dict[str, float]]:
    chance = torch.rand(world.test.relevance.shape, generator=torch.Generator().manual_seed(0))
    return {
        "BM25": _ranking(world.test.retriever("bm25"), world),
        "TF-IDF": _ranking(_tfidf(world), world),
        "LSA": _ranking(world.test.retriever("lsa"), world),
        "untrained encoder": _topic_quality(seeded(0, lambda: _topic_encoder(world)), world),
        "chance": _ranking(chance, world),
    }


_TOPICS = Recipe(
    "topics",
    "queries and documents of fifty topics with few words in common; a query and the one document marked for it are a pair",
    5_000_000,
    ("ndcg", "mrr"),
    _topic_world,
    _topic_views,
    _topic_encoder,
    _topic_quality,
    _topic_floors,
    {"temperature": 0.2, "lr": 1e-2, "weight_decay": 0.1, "batch": 192, "steps": 130},
    kind="two towers",
)


def _half_pictures(seed: int, train: int, test: int = 4000) -> list[tuple[Tensor, ...]]:
    "Left and right halves at 14 x 7, standardised by the training part, and classes."
    parts = data.fashion_mnist(seed, train=train, valid=0, test=test)
    cut = [data.halves(data.Images(F.adaptive_avg_pool2d(part.x, 14), part.y)) for part in (parts.train, parts.test)]
    middle, scale = ([f(h.flatten(1), 0) for h in cut[0][:2]] for f in (torch.mean, torch.std))
    return [(*((h.flatten(1) - m) / (s + 1e-3) for h, m, s in zip(half[:2], middle, scale, strict=True)), half.y) for half in cut]


def _half_world(seed: int):
    (left, right, y), test = _half_pictures(seed, 30_000)
    return SimpleNamespace(left=left[:6000], right=right[:6000], y=y[:6000], more=(left, right, y), test=test)


def _half_views(world, size: int, generator: torch.Generator, plain: bool = False, more: bool = False):
    "A left half and its right one; nothing is drawn anew, so here `plain` adds noise. `more`: five times the pictures."
    left, right, y = world.more if more else (world.left, world.right, world.y)
    rows = torch.randperm(len(left), generator=generator)[:size]
    pair = left[rows], right[rows]
    if plain:
        pair = tuple(x + 0.3 * torch.randn(x.shape, generator=generator) for x in pair)
    return *pair, y[rows]


def _found(scores_of: Callable, world) -> dict[str, float]:
    """Over pools of 500, the mean reciprocal rank of the own half, and the AUC of all own halves against each query's ten
    highest-scoring others, pooled over queries: whether scores of different queries mean the same."""
    own, found = torch.eye(500, dtype=torch.bool), []
    for left, right in zip(world.test[0].split(500), world.test[1].split(500), strict=True):
        scores = scores_of(left, right)
        others = scores.masked_fill(own, -torch.inf)
        hardest = others >= others.topk(10, 1).values[:, -1:]
        found.append((mrr_at(scores, own, ~own, k=500), auc(scores, own, hardest)))
    return {name: sum(values) / len(found) for name, values in zip(("mrr", "auc"), zip(*found, strict=True), strict=True)}


def _half_quality(model: Any, world) -> dict[str, float]:
    return _found(lambda a, b: similarity_matrix(embed(model.first, a), embed(model.second, b)), world)


def _half_encoder(world) -> Towers:
    return Towers(_three_layers(world.left.shape[1]), _three_layers(world.left.shape[1]))


def _whiten(x: Tensor, ridge: float) -> tuple[Tensor, Tensor]:
    middle = x.mean(0)
    values, vectors = torch.linalg.eigh((x - middle).T @ (x - middle) / len(x))
    return middle, vectors / (values.clamp(min=0) + ridge).sqrt() @ vectors.T


def _cca(left: Tensor, right: Tensor, dims: int, ridge: float) -> tuple[Callable, Callable]:
    "Canonical correlation with a ridge: two maps into a space in which the pairs agree; directions weigh by their correlation."
    left, right = left.double(), right.double()  # rare words leave almost no variance, which float32 does not resolve
    (one, a), (other, b) = _whiten(left, ridge), _whiten(right, ridge)
    u, s, v = torch.linalg.svd(a @ ((left - one).T @ (right - other) / len(left)) @ b)
    weight = s[:dims].sqrt()
    first = lambda x: ((x - one) @ a @ u[:, :dims] * weight).float()  # noqa: E731
    return first, lambda x: ((x - other) @ b @ v.T[:, :dims] * weight).float()


def _half_floors(world) -> dict[str, dict[str, float]]:
    def by_cca(dims, ridge):
        first, second = _cca(world.left, world.right, dims, ridge)
        return _found(lambda a, b: similarity_matrix(first(a), second(b)), world)

    def edges(a, b):  # the last column of the left half beside the first of the right
        return -torch.cdist(a.view(-1, 14, 7)[:, :, -1], b.view(-1, 14, 7)[:, :, 0])

    nine = [by_cca(dims, ridge) for dims in (16, 32, 64) for ridge in (0.01, 0.1, 1.0)]
    drawn = torch.Generator().manual_seed(0)
    chance = _found(lambda a, b: torch.rand(len(a), len(b), generator=drawn), world)
    return {
        "CCA, the best of nine": {name: max(row[name] for row in nine) for name in nine[0]},
        "raw input: the edges": _found(edges, world),
        "untrained encoder": _half_quality(seeded(0, lambda: _half_encoder(world)), world),
        "chance": chance | {"mrr": sum(1 / r for r in range(1, 501)) / 500},
    }


_HALVES = Recipe(
    "halves",
    "the left half of a piece of clothing asks for its right half among 500",
    6_000_000,
    ("mrr", "auc"),
    _half_world,
    _half_views,
    _half_encoder,
    _half_quality,
    _half_floors,
    {"temperature": 0.1, "lr": 4e-3, "weight_decay": 1e-2, "batch": 192, "steps": 140},
    kind="two towers",
    ceiling_is="five times the data and the budget",
    ceiling_how={"views": {"more": True}},
    needs="fashion_mnist",
)


def _heard(mel: Tensor, generator: torch.Generator) -> Tensor:
    "(N, 32, 64): each recording somewhere in a longer stretch, through another microphone, in slow noise."
    number, bands, frames = mel.shape
    start = torch.randint(0, 17, (number, 1, 1), generator=generator)
    place = torch.arange(64) - start
    inside = (place >= 0) & (place < frames)
    x = torch.where(inside, mel.gather(2, place.clamp(0, frames - 1).expand(-1, bands, -1)), mel.min())
    tilt, gain = torch.randn(2, number, 1, 1, generator=generator)
    x = x + gain + tilt * torch.linspace(-1, 1, bands)[:, None]
    noise = F.interpolate(torch.randn(number, 1, 4, 8, generator=generator), (bands, 64), mode="bilinear", align_corners=False)[:, 0]
    return torch.logaddexp(x, mel.mean() + 0.5 * mel.std() * (1 + noise)) / mel.std()


def _speech_world(seed: int):
    parts, generator = data.spoken_digits(seed, train=500, valid=0, test=400), torch.Generator().manual_seed(seed)
    mel, test = (data.log_mel(part.x) for part in (parts.train, parts.test))
    labelled, heard = (
        (torch.cat([_heard(x, generator) for _ in range(n)]), y.repeat(n)) for x, y, n in ((mel, parts.train.y, 2), (test, parts.test.y, 3))
    )
    return SimpleNamespace(mel=mel, y=parts.train.y, labelled=labelled, test=heard)


def _speech_views(world, size: int, generator: torch.Generator, plain: bool = False):
    rows = torch.randperm(len(world.mel), generator=generator)[:size]
    if plain:
        x = _heard(world.mel[rows], generator)
        return *(x + 0.1 * torch.randn(x.shape, generator=generator) for _ in range(2)), world.y[rows]
    return _heard(world.mel[rows], generator), _heard(world.mel[rows], generator), world.y[rows]


class _Listener(nn.Module):
    "Convolutions over time; the largest value and the means of both halves: 288 features."

    def __init__(self):
        super().__init__()
        layers = []
        for before, after, size, stride in ((32, 48, 5, 2), (48, 48, 5, 2), (48, 96, 3, 1)):
            layers += [nn.Conv1d(before, after, size, stride, size // 2, bias=False), nn.BatchNorm1d(after), nn.ReLU(inplace=True)]
        self.body = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        h = self.body(x)
        return torch.cat([h.amax(2), *(part.mean(2) for part in h.chunk(2, 2))], 1)


_SPEECH = _classes_bench(
    "speech",
    "a spoken digit in noise; the recording heard twice is a pair",
    7_000_000,
    _FEW,
    lambda world: Encoder(_Listener(), projector(288)),
    world=_speech_world,
    sample=_speech_views,
    settings={"temperature": 0.1, "lr": 4e-3, "weight_decay": 1e-4, "batch": 96, "steps": 75},
    needs="fsdd_subset",
)


def _even(sentences: words.Grammar, generator: torch.Generator) -> words.Grammar:
    "The same sentences with nouns of equal chances within their types: in the test rare words count as much as common ones."
    each = len(sentences.lexicon.law)
    meaning = sentences.meaning.clone()
    for column in (words.AGENT, words.OBJECT):
        meaning[:, column] = meaning[:, column] // each * each + torch.randint(each, (len(meaning),), generator=generator)
    return sentences._replace(meaning=meaning)


def _phrase_world(seed: int):
    generator = torch.Generator().manual_seed(seed)
    world = worlds.grammar(seed, number=10_000)
    train, labelled, test = (world.take(rows) for rows in torch.arange(10_000).split([6000, 2000, 2000]))
    varied, labelled, test = train.vary(generator), _even(labelled, generator), _even(test, generator)
    tokens = words.Tokens.fit(train.texts + varied.texts, length=16)

    def numbers(sentences):
        ids = tokens(sentences.texts).ids
        return F.pad(ids, (0, 16 - ids.shape[1]))

    return SimpleNamespace(
        size=len(tokens), one=numbers(train), other=numbers(varied), y=train.kinds,
        labelled=(numbers(labelled), labelled.kinds), test=(numbers(test), test.kinds),
    )  # fmt: skip


def _phrase_views(world, size: int, generator: torch.Generator, plain: bool = False):
    rows = torch.randperm(len(world.one), generator=generator)[:size]
    return world.one[rows], (world.one if plain else world.other)[rows], world.y[rows]


class _Reader(nn.Module):
    "Words as vectors, a convolution over five of them, mean and largest value: 128 features."

    def __init__(self, size: int):
        super().__init__()
        self.words = nn.Embedding(size, 32, padding_idx=words.PAD)
        self.body = nn.Sequential(nn.Conv1d(32, 64, 5, padding=2, bias=False), nn.BatchNorm1d(64), nn.ReLU(inplace=True))

    def forward(self, ids: Tensor) -> Tensor:
        there = (ids != words.PAD)[:, None]
        h = self.body(self.words(ids).transpose(1, 2)) * there
        return torch.cat([h.sum(2) / there.sum(2).clamp(min=1), h.amax(2)], 1)


def _phrase_encoder(world) -> Encoder:
    return Encoder(_Reader(world.size), projector(128))


def _bags(ids: Tensor, size: int) -> Tensor:
    "How often each word stands in the first and in the second half of a text: the order of words, roughly."
    first = torch.arange(ids.shape[1]) * 2 < (ids != words.PAD).sum(1, keepdim=True)
    bag = torch.zeros(len(ids), 2 * size).scatter_add(1, ids + size * ~first, torch.ones(ids.shape))
    bag[:, [words.PAD, words.PAD + size]] = 0
    return bag


def _phrase_floors(world) -> dict[str, dict[str, float]]:
    from sklearn.feature_extraction.text import TfidfTransformer

    (ids, y), (test_ids, test_y) = world.labelled, world.test
    bags = [_bags(x, world.size) for x in (world.one, world.other, ids, test_ids)]
    rare = TfidfTransformer(sublinear_tf=True).fit(bags[0].numpy())
    weighed = [torch.from_numpy(rare.transform(bag.numpy()).toarray()).float() for bag in bags[2:]]
    found = {"TF-IDF": _by_labels(weighed[0], y, weighed[1], test_y, _FEW)}
    tried = []
    for ridge in (1e-3, 1e-2):
        first, _ = _cca(bags[0], bags[1], 256, ridge)
        z, test_z = first(bags[2]), first(bags[3])
        tried += [_by_labels(z[:, :dims], y, test_z[:, :dims], test_y, _FEW) for dims in (8, 16, 32, 64, 128, 256)]
    found["CCA, the best of twelve"] = {name: max(row[name] for row in tried) for name in tried[0]}
    others = _label_floors(world, _phrase_encoder, _FEW)
    return found | {name: others[name] for name in ("untrained encoder", "majority")}


_PHRASES = _classes_bench(
    "phrases",
    "sentences of a made language; the same event with other nouns of the same types is the pair, who does what to whom the class",
    8_600_000,
    _FEW,
    _phrase_encoder,
    world=_phrase_world,
    sample=_phrase_views,
    floors_of=_phrase_floors,
    settings={"temperature": 0.1, "lr": 4e-2, "weight_decay": 1e-2, "batch": 256, "steps": 300},
)


def _plain_pictures(name: str, train: int, test: int) -> Callable:
    def make(seed: int):
        parts = getattr(data, name)(seed, train=train, valid=0, test=test)
        return SimpleNamespace(train=parts.train.x, y=parts.train.y, labelled=parts.train, test=parts.test)

    return make


def _augmented(world, size: int, generator: torch.Generator, plain: bool = False):
    rows = torch.randperm(len(world.train), generator=generator)[:size]
    strengths: dict[str, Any] = dict(rotate=0.0, scale=0.0, shift=0.0, gain=0.0, noise=0.1, erase=0) if plain else {}
    return *(augment(world.train[rows], generator, **strengths) for _ in range(2)), world.y[rows]


_DIGITS = _classes_bench(
    "digits",
    "a digit on an empty ground; two augmented views are a pair",
    9_000_000,
    _FEW,
    lambda world: Encoder(conv_encoder(tuple(world.train.shape[1:]), width=8), projector(64)),
    world=_plain_pictures("digits", 1000, 797),
    sample=_augmented,
    settings={"temperature": 0.2, "lr": 4e-3, "weight_decay": 1e-4, "batch": 128, "steps": 120},
    pairs=4,
)
_FASHION_PLAIN = replace(
    _DIGITS,
    name="fashion_plain",
    about="a piece of clothing on an empty ground, for 150 steps",
    base=10_000_000,
    world=_plain_pictures("fashion_mnist", 8000, 2000),
    settings={"temperature": 0.2, "lr": 4e-3, "weight_decay": 1e-4, "batch": 64, "steps": 150},
    needs="fashion_mnist",
)
RECIPES = {b.name: b for b in (_CANVASES, _FASHION, _CLASSES, _TOPICS, _HALVES, _SPEECH, _PHRASES, _FEW_CLASSES, _DIGITS, _FASHION_PLAIN)}
