"""Encoders of sentences without labels, on STS-B: a sentence and itself, read twice; asked whether cosines follow what people said."""

# Plain module, used by the pages on sentences. Two arms: a small transformer from scratch, and MiniLM of which half a layer is
# trained. No bench: nothing was shown to see an effect here, so the pages print these numbers and judge none.

import functools
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from contrastive_nb import data
from contrastive_nb.checks import check_choice
from contrastive_nb.encoders import seeded
from contrastive_nb.lab import minilm
from contrastive_nb.metrics import spearman
from contrastive_nb.protocols import train_sentences
from contrastive_nb.words import Tokens, token_encoder, word_overlap

ARMS = ("tokens", "minilm")
LENGTH = 24  # tokens of a sentence at most, from scratch
SETTINGS = {  # of the reference, unsupervised SimCSE: InfoNCE between two readings
    "tokens": {"temperature": 0.05, "lr": 3e-3, "batch": 64, "steps": 120, "dropout": 0.1},
    "minilm": {"temperature": 0.05, "lr": 3e-4, "batch": 64, "steps": 30, "dropout": 0.1},
}


class World(NamedTuple):
    "Sentences to learn from, which nobody has labelled, and the pairs of the test with people's grades."

    arm: str
    texts: list[str]  # all sentences, each once
    inputs: Tensor  # (N, ...) what the encoder reads of each
    train: Tensor  # (T,) int64 those to learn from; none is in the test
    one: Tensor  # (P,) int64 first sentences of the test
    other: Tensor  # (P,) int64 second sentences
    grade: Tensor  # (P,) float32, 0 to 5
    overlap: Tensor  # (P,) share of the words that the two have in common
    encoder: Callable[[], nn.Module]  # an untrained network on `inputs`


def installed(arm: str) -> str:
    "What is missing here for an arm; empty: nothing."
    check_choice("arm", arm, ARMS)
    missing = [] if data.available("stsb") else ["the set stsb"]
    return " and ".join(missing + (["the extra text"] if arm == "minilm" and not minilm.installed() else []))


@functools.cache
def _sentences(share: float) -> tuple:
    "STS-B's texts and pairs: `share` of the test's pairs, and as many times of the rest to learn from."
    parts = data.sentences("stsb")
    kept = max(8, round(share * len(parts.test.one)))
    one, other = parts.test.one[:kept], parts.test.other[:kept]
    tested = dict.fromkeys([*one, *other])
    learned = [text for text in dict.fromkeys([*parts.train.one, *parts.train.other]) if text not in tested]
    learned = learned[: max(256, round(share * len(learned)))]
    texts = [*learned, *tested]
    number = {text: i for i, text in enumerate(texts)}
    rows = [torch.tensor([number[text] for text in side]) for side in (one, other)]
    return texts, torch.arange(len(learned)), *rows, parts.test.score[:kept], word_overlap(one, other)


@functools.cache
def world(
    arm: str = "tokens",  # "tokens": a transformer from scratch; "minilm": half of MiniLM's last layer
    share: float = 1.0,  # of the sentences and of the pairs
) -> World:
    "STS-B's own parts. Raises `ValueError` naming `arm`, `DataUnavailable` where the set or the model is not here."
    check_choice("arm", arm, ARMS)
    texts, train, *test = _sentences(share)
    if arm == "minilm":
        read = minilm.read(texts)
        return World(arm, texts, torch.arange(len(texts)), train, *test, functools.partial(minilm.Half, read, SETTINGS[arm]["dropout"]))  # type: ignore[call-arg]
    tokens = Tokens.fit([texts[i] for i in train], least=2, length=LENGTH)
    inputs = tokens(texts).ids
    return World(  # type: ignore[call-arg]
        arm, texts, inputs, train, *test, functools.partial(token_encoder, tokens, kind="transformer", dropout=SETTINGS[arm]["dropout"])
    )


def train(world: World, seed: int, objective: Callable, *, run, build: Callable | None = None, **settings) -> nn.Module:
    "Unsupervised SimCSE with another objective or other pairs. `settings`: lr, batch, steps, where they are not the reference's."
    if unknown := set(settings) - {"lr", "batch", "steps"}:
        raise TypeError(f"settings: got {min(unknown)}, want one of lr, batch, steps")
    values = SETTINGS[world.arm] | settings
    return train_sentences(
        world.encoder,
        world.inputs[world.train],
        objective,
        run=run,
        seed=seed,
        lr=values["lr"],
        batch_size=min(values["batch"], len(world.train)),
        steps=values["steps"],
        build=build,
    )


@torch.no_grad()
def embedded(model: nn.Module, world: World) -> Tensor:
    "(N, D) of length 1: every sentence, without dropout."
    model = model.cpu().eval()
    return F.normalize(torch.cat([model(some) for some in world.inputs.split(512)]), dim=1)


def similarity(z: Tensor, world: World) -> Tensor:
    "(P,) cosines of the test's pairs."
    return F.cosine_similarity(z[world.one], z[world.other])


def quality(z: Tensor, world: World) -> dict[str, float]:
    "Spearman of cosine and grade: of all pairs, and of the thirds with the least and the most words in common."
    found, low, high = similarity(z, world), *world.overlap.quantile(torch.tensor([1 / 3, 2 / 3]))
    parts = {"all": world.overlap >= 0, "few common words": world.overlap <= low, "many common words": world.overlap >= high}
    return {name: spearman(found[rows], world.grade[rows]) for name, rows in parts.items()}


def floors(world: World) -> dict[str, dict[str, float]]:
    "What needs no training here: the arm's own encoder untrained (MiniLM: as shipped), and two bags of words."
    from sklearn.feature_extraction.text import TfidfVectorizer

    counts = TfidfVectorizer(sublinear_tf=True).fit([world.texts[i] for i in world.train])
    words = torch.from_numpy(counts.transform(world.texts).toarray()).float()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        untrained = embedded(world.encoder(), world)
    shown = "MiniLM as shipped" if world.arm == "minilm" else "untrained"
    same = {"all": spearman(world.overlap, world.grade)}
    return {shown: quality(untrained, world), "TF-IDF": quality(F.normalize(words, dim=1), world), "words in common": same}


@functools.cache
def elsewhere(
    arm: str = "tokens",
    share: float = 1.0,  # of the world that was learned from, and of a thousand pairs
) -> World:
    "Pairs of SICK's test, of which nothing was learned, for the encoders of `world(arm, share)`. Raises `DataUnavailable` and what that raises."
    learned, test = world(arm, share), data.sentences("sick2014").test
    kept = max(8, round(share * 1000))
    one, other = test.one[:kept], test.other[:kept]
    texts = list(dict.fromkeys([*one, *other]))
    number = {text: i for i, text in enumerate(texts)}
    rows = [torch.tensor([number[text] for text in side]) for side in (one, other)]
    if arm == "minilm":
        encoder = functools.partial(minilm.Half, minilm.read(texts), SETTINGS[arm]["dropout"])
        inputs = torch.arange(len(texts))
    else:
        encoder, inputs = learned.encoder, learned.encoder.args[0](texts).ids  # type: ignore[attr-defined, assignment]
    return World(arm, texts, inputs, torch.arange(0), *rows, test.score[:kept], word_overlap(one, other), encoder)  # type: ignore[call-arg, arg-type]


def asked(model: nn.Module, arm: str = "tokens", share: float = 1.0) -> dict[str, float]:
    "`quality` of what was trained on `world(arm, share)`; under SICK, where that is here, the same over all its pairs."
    here = world(arm, share)
    found = quality(embedded(model, here), here)
    if data.available("sick2014"):
        there = elsewhere(arm, share)
        moved = there.encoder()
        moved.load_state_dict(model.state_dict())
        found["SICK"] = quality(embedded(moved, there), there)["all"]
    return found


def floors_of_both(arm: str = "tokens", share: float = 1.0) -> dict[str, dict[str, float]]:
    "`floors` of `world(arm, share)`, with SICK beside as in `asked`; the bag of words knows the words that were learned from."
    from sklearn.feature_extraction.text import TfidfVectorizer

    here = world(arm, share)
    found = floors(here)
    if data.available("sick2014"):
        there = elsewhere(arm, share)
        counts = TfidfVectorizer(sublinear_tf=True).fit([here.texts[i] for i in here.train])
        words = F.normalize(torch.from_numpy(counts.transform(there.texts).toarray()).float(), dim=1)
        untrained = asked(seeded(0, here.encoder), arm, share)["SICK"]
        values = (untrained, quality(words, there)["all"], spearman(there.overlap, there.grade))
        found = {name: row | {"SICK": value} for (name, row), value in zip(found.items(), values, strict=True)}
    return found
