"""Every method of the book, one entry each: the tests walk these entries, and the catalogue page is made from them.

Plain module: a table. A new method enters by adding one `Method` to `METHODS`; nothing else has to be told of it.
"""

import importlib
import re
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field
from types import MappingProxyType

__all__ = ["SHAPES", "PROMISES", "Method", "METHODS", "get", "methods", "register"]

SHAPES = ("pairs", "lists", "embeddings", "mixer")

PROMISES = {
    "monotone": "raising a positive's score never raises the loss, raising a negative's never lowers it",
    "shift-free": "adding a constant to all scores of a query changes nothing",
    "scale-free": "multiplying scores and temperature by the same number changes nothing",
    "permutation": "permuting queries and keys together with their masks changes nothing",
    "pooled": "pairs count whatever their query, so a query without a partner still counts",
    "one-place": "a negative takes one place in a list that is sorted: its weight scales its term and makes no copies of it",
}


@dataclass(frozen=True)
class Method:
    """One objective or mixer, as the tests and the catalogue need to know it.

    Raises `ValueError` naming the field that does not fit.
    """

    name: str  # unique; a variant has its own, such as "info_nce_all"
    function: str  # where it is: "contrastive_nb.objectives:info_nce"
    shape: str  # what it reads: "pairs", "lists" or "embeddings"; "mixer": query and queue in, more keys a query out
    paper: str  # its entry in the catalogue, such as "X01"
    notebook: str  # the page that derives it: "1_objectives/01_infonce"
    by_hand: str  # the double loop on that page, of the same arguments and without `reduction` and `check`
    options: Mapping = field(default_factory=dict, hash=False)  # keyword arguments that make this variant
    temperature: bool = False  # whether it takes one
    promises: Set = frozenset()  # keys of PROMISES
    oracles: tuple = ()  # names of outside implementations in tests/oracles.py that it must equal

    def __post_init__(self):
        if not re.fullmatch(r"[a-z][a-z0-9_]*", self.name):
            raise ValueError(f"name: got {self.name!r}, want small letters, digits and underscores")
        if not re.fullmatch(r"[\w.]+:\w+", self.function):
            raise ValueError(f"function: got {self.function!r}, want 'module:function'")
        if self.shape not in SHAPES:
            raise ValueError(f"shape: got {self.shape!r}, want one of {', '.join(SHAPES)}")
        if unknown := set(self.promises) - set(PROMISES):
            raise ValueError(f"promises: got {', '.join(sorted(unknown))}, want some of {', '.join(PROMISES)}")
        object.__setattr__(self, "options", MappingProxyType(dict(self.options)))
        object.__setattr__(self, "promises", frozenset(self.promises))
        object.__setattr__(self, "oracles", tuple(self.oracles))

    def load(self) -> Callable:
        "The function itself, imported when it is first needed."
        module, name = self.function.split(":")
        return getattr(importlib.import_module(module), name)

    def __call__(self, *arguments, **keywords):
        "Call the function with this variant's options, which a keyword may override."
        return self.load()(*arguments, **{**self.options, **keywords})


METHODS = (
    Method(
        name="info_nce",
        function="contrastive_nb.objectives:info_nce",
        shape="pairs",
        paper="X01",
        notebook="1_objectives/01_infonce",
        by_hand="info_nce_by_hand",
        options={"denominator": "own"},
        temperature=True,
        promises={"monotone", "shift-free", "scale-free", "permutation"},
        oracles=(
            "torch cross_entropy",
            "lightly NTXentLoss",
            "pytorch-metric-learning NTXentLoss",
            "pytorch-metric-learning NTXentLoss one way",
            "pytorch-metric-learning NTXentLoss in batch",
            "pytorch-metric-learning NTXentLoss hard",
            "pytorch-metric-learning NTXentLoss classes",
            "sentence-transformers MultipleNegativesRankingLoss",
            "sentence-transformers MultipleNegativesRankingLoss hard",
            "sentence-transformers MultipleNegativesSymmetricRankingLoss",
            "info-nce-pytorch",
            "info-nce-pytorch unpaired",
            "info-nce-pytorch paired",
        ),
    ),
    Method(
        name="info_nce_all",
        function="contrastive_nb.objectives:info_nce",
        shape="pairs",
        paper="X01",
        notebook="1_objectives/01_infonce",
        by_hand="info_nce_by_hand",
        options={"denominator": "all"},
        temperature=True,
        promises={"shift-free", "scale-free", "permutation"},  # a positive stands in its fellows' denominators: not monotone
        oracles=("torch cross_entropy", "lightly NTXentLoss", "pytorch-metric-learning SupConLoss classes"),
    ),
    Method(
        name="decoupled_nce",
        function="contrastive_nb.objectives:decoupled_nce",
        shape="pairs",
        paper="S06",
        notebook="1_objectives/04_decoupled",
        by_hand="decoupled_nce_by_hand",
        temperature=True,
        promises={"monotone", "shift-free", "scale-free", "permutation"},
        oracles=("lightly DCLLoss",),
    ),
    Method(
        name="supcon",
        function="contrastive_nb.objectives:supcon",
        shape="pairs",
        paper="S31",
        notebook="1_objectives/05_supcon",
        by_hand="supcon_by_hand",
        options={"form": "out"},
        temperature=True,
        promises={"shift-free", "scale-free", "permutation"},  # a positive nearer than its fellows is pushed away: not monotone
        oracles=("torch cross_entropy", "lightly NTXentLoss", "pytorch-metric-learning SupConLoss classes"),
    ),
    Method(
        name="supcon_in",
        function="contrastive_nb.objectives:supcon",
        shape="pairs",
        paper="S31",
        notebook="1_objectives/05_supcon",
        by_hand="supcon_by_hand",
        options={"form": "in"},
        temperature=True,
        promises={"shift-free", "scale-free", "permutation"},  # monotone only while a query's positives weigh the same
        oracles=("torch cross_entropy", "lightly NTXentLoss", "torch logsumexp over the positives"),
    ),
    Method(
        name="triplet",
        function="contrastive_nb.objectives:triplet",
        shape="pairs",
        paper="S65",
        notebook="1_objectives/06_triplet",
        by_hand="triplet_by_hand",
        promises={"monotone", "shift-free", "permutation"},
        oracles=(
            "torch soft_margin_loss of given triplets",
            "pytorch-metric-learning TripletMarginLoss smooth",
            "sentence-transformers BatchHardSoftMarginTripletLoss",
        ),
    ),
    Method(
        name="triplet_hinge",
        function="contrastive_nb.objectives:triplet",
        shape="pairs",
        paper="S65",
        notebook="1_objectives/06_triplet",
        by_hand="triplet_by_hand",
        options={"margin": 1.0},
        promises={"monotone", "shift-free", "permutation"},
        oracles=(
            "torch triplet_margin_loss",
            "pytorch-metric-learning TripletMarginLoss",
            "pytorch-metric-learning BatchHardMiner",
            "sentence-transformers BatchHardTripletLoss",
            "sentence-transformers BatchAllTripletLoss",
        ),
    ),
    Method(
        name="cacr",
        function="contrastive_nb.objectives:cacr",
        shape="pairs",
        paper="S01",
        notebook="1_objectives/07_cacr",
        by_hand="cacr_by_hand",
        promises={"shift-free", "permutation"},  # through the weights a near positive is pushed off: not monotone
    ),
    Method(
        name="cacr_sharp",
        function="contrastive_nb.objectives:cacr",
        shape="pairs",
        paper="S01",
        notebook="1_objectives/07_cacr",
        by_hand="cacr_by_hand",
        options={"alpha": 0.5, "tau_pos": 4.0, "tau_neg": 10.0},
        promises={"permutation"},  # alpha and beta differ, so a shift counts
    ),
    Method(
        name="groco",
        function="contrastive_nb.objectives:groco",
        shape="pairs",
        paper="S04",
        notebook="1_objectives/08_groco",
        by_hand="groco_by_hand",
        promises={"shift-free", "permutation", "one-place"},  # soft swaps can turn a slope round: not monotone
    ),
    Method(
        name="groco_top_2",
        function="contrastive_nb.objectives:groco",
        shape="pairs",
        paper="S04",
        notebook="1_objectives/08_groco",
        by_hand="groco_by_hand",
        options={"top_k": 2, "steepness": 5.0},
        promises={"shift-free", "permutation", "one-place"},
    ),
    Method(
        name="ranknet",
        function="contrastive_nb.objectives:ranknet",
        shape="pairs",
        paper="S08",
        notebook="1_objectives/09_ranknet_ranklist",
        by_hand="ranknet_by_hand",
        temperature=True,
        promises={"monotone", "shift-free", "scale-free", "permutation"},
        oracles=("torch logsigmoid of all differences", "sentence-transformers RankNetLoss"),
    ),
    Method(
        name="ranknet_graded",
        function="contrastive_nb.objectives:ranknet_graded",
        shape="lists",
        paper="S08",
        notebook="1_objectives/09_ranknet_ranklist",
        by_hand="ranknet_graded_by_hand",
        promises={"shift-free", "permutation"},
        oracles=("sentence-transformers RankNetLoss graded",),
    ),
    Method(
        name="ranklist",
        function="contrastive_nb.objectives:ranklist",
        shape="lists",
        paper="S08",
        notebook="1_objectives/09_ranknet_ranklist",
        by_hand="ranklist_by_hand",
        options={"form": "softmax"},
        promises={"shift-free", "permutation"},
        oracles=("sentence-transformers ListMLELoss a document", "torch cross_entropy of two grades"),
    ),
    Method(
        name="ranklist_skips",
        function="contrastive_nb.objectives:ranklist",
        shape="lists",
        paper="S08",
        notebook="1_objectives/09_ranknet_ranklist",
        by_hand="ranklist_by_hand",
        options={"form": "softmax", "skips": 2, "margin": 1.0, "decay": 0.5},
        promises={"shift-free", "permutation"},
    ),
    Method(
        name="ranklist_pairs",
        function="contrastive_nb.objectives:ranklist",
        shape="lists",
        paper="S08",
        notebook="1_objectives/09_ranknet_ranklist",
        by_hand="ranklist_by_hand",
        options={"form": "pairs"},
        promises={"shift-free", "permutation"},
        oracles=("sentence-transformers RankNetLoss graded",),
    ),
    Method(
        name="ranklist_neighbours",
        function="contrastive_nb.objectives:ranklist",
        shape="lists",
        paper="S08",
        notebook="1_objectives/09_ranknet_ranklist",
        by_hand="ranklist_by_hand",
        options={"form": "pairs", "skips": 1},
        promises={"shift-free", "permutation"},
    ),
    Method(
        name="list_mle",
        function="contrastive_nb.objectives:list_mle",
        shape="lists",
        paper="S08",
        notebook="1_objectives/09_ranknet_ranklist",
        by_hand="list_mle_by_hand",
        promises={"shift-free"},  # ties keep the order in which they stand, so a permutation may change it
        oracles=("sentence-transformers ListMLELoss",),
    ),
    Method(
        name="mw",
        function="contrastive_nb.objectives:mw",
        shape="pairs",
        paper="S03",
        notebook="1_objectives/10_mw",
        by_hand="mw_by_hand",
        temperature=True,
        promises={"monotone", "scale-free", "permutation", "pooled"},  # a constant a query moves it: that is what it is for
        oracles=("torch binary_cross_entropy_with_logits, every pair", "torch soft_margin_loss, every pair"),
    ),
    Method(
        name="mochi",
        function="contrastive_nb.negatives:mochi",
        shape="mixer",
        paper="S30",
        notebook="2_hard_negatives/01_mochi",
        by_hand="mochi_by_hand",
        options={"hardest": 3, "mixed": 5, "query_mixed": 4},
    ),
    Method(
        name="debiased_nce",
        function="contrastive_nb.debiasing:debiased_nce",
        shape="pairs",
        paper="X02",
        notebook="3_debiasing/01_debiased",
        by_hand="debiased_nce_by_hand",
        options={"prior": 0.1},
        temperature=True,
        promises={"monotone", "permutation"},  # the floor is a fixed score: neither shift-free nor scale-free
    ),
)

_added: list[Method] = []


def methods(shape: str | None = None) -> tuple[Method, ...]:
    "All entries, those added by `register` last; with `shape` those of that shape. Raises `ValueError` for an unknown shape."
    if shape is not None and shape not in SHAPES:
        raise ValueError(f"shape: got {shape!r}, want one of {', '.join(SHAPES)}")
    return tuple(m for m in (*METHODS, *_added) if shape in (None, m.shape))


def get(name: str) -> Method:
    "The entry of that name. Raises `KeyError` naming the ones there are."
    for method in methods():
        if method.name == name:
            return method
    raise KeyError(f"name: got {name!r}, want one of {', '.join(m.name for m in methods())}")


def register(method: Method) -> Method:
    "Add an entry for this process and return it, so that every check runs on it too. Raises `ValueError` for a name that is taken."
    if not isinstance(method, Method):
        raise TypeError(f"method: got {type(method).__name__}, want a Method")
    if method.name in {m.name for m in methods()}:
        raise ValueError(f"name: got {method.name!r}, want one that is not taken")
    _added.append(method)
    return method
