"""Every method of the book, one entry each: the tests walk these entries, and the catalogue page is made from them.

Plain module. An entry is a literal beside its function, in the list `_METHODS` that the page exports; nothing else has to be told of it.
"""

import ast
import importlib
import re
import warnings
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

from contrastive_nb import files

__all__ = ["KINDS", "NEEDS", "SHAPES", "PROMISES", "Method", "collect", "get", "methods", "register"]

NEEDS = {
    "negative": "a positive and a negative",
    "key": "a positive and one more key, positive or negative",
    "pair": "a positive or a negative",
}

KINDS = {
    "objective": "a loss: of pairs, of lists or of embeddings, as its shape says",
    "mixer": "(query, queue) -> more keys a query",
    "transform": "(query, key, queue) -> the same three, moved before they are compared",
    "narrower": "Pairs -> the same scores and weights with smaller masks",
    "weigher": "Pairs -> the same scores and masks with weights",
    "builder": "embeddings and what is known of them -> Pairs",
    "batches": "a module that says which items meet: (generator) -> numbers of items",
    "metric": "what an embedding or a ranking is worth: -> a number",
    "decoder": "a model's next-token scores -> tokens",
    "head": "a module on features that the objective compares",
    "layer": "(z) -> (N, D): a batch's embeddings moved by the batch as a whole",
    "targets": "what is known of the items -> (N, N): how right each pair is",
    "groups": "(z, how many) -> (N,): numbers of the groups that an embedding falls into",
    "estimator": "a gradient of what has none, from draws or comparisons",
}

SHAPES = {
    "pairs": "(scores, positives, negatives, weights=None)",
    "lists": "(scores, relevance, mask=None)",
    "views": "(zs): a list of (N, D), one a view",
    "labelled": "(z, y): (N, D) and what each row's item is",
    "prototypes": "(z, c): (N, D) and (C, D)",
    "maps": "(zs, places): lists of (N, D, H, W) and of (N, H, W, 2), one a view",
}

PROMISES = {
    "monotone": "raising a positive's score never raises the loss, raising a negative's never lowers it",
    "shift-free": "adding a constant to all scores of a query changes nothing",
    "scale-free": "multiplying scores and temperature by the same number changes nothing",
    "permutation": "permuting queries and keys together with their masks changes nothing",
    "pooled": "pairs count whatever their query, so a query without a partner still counts",
    "safe": "by a perfect teacher, who gives 1 to what is right and 0 to the rest, it drops what is false and nothing else",
    "one-place": "a negative takes one place in a list that is sorted: its weight scales its term and makes no copies of it",
}

_FIELDS = (  # of an entry, their kinds, and these in words
    *((name, str, "text") for name in ("name", "function", "shape", "notebook", "by_hand", "kind")),
    ("options", Mapping, "a dict of keyword arguments"),
    ("promises", (Set, list, tuple), "a set of promises"),
    ("oracles", (list, tuple), "a list of names"),
)


@dataclass(frozen=True)
class Method:
    """One method, as the tests and the catalogue need to know it.

    Raises `TypeError` or `ValueError` naming the field that does not fit.
    """

    name: str  # unique; a variant has its own, such as "info_nce_all"
    function: str  # where it is: "contrastive_nb.objectives:info_nce"
    shape: str = ""  # of an objective: what it reads, a key of SHAPES
    papers: tuple = ()  # its entries in the catalogue, such as ("X01",)
    notebook: str = ""  # the page that derives it: "1_objectives/01_infonce"
    by_hand: str = ""  # the double loop on that page, of the same arguments and without `reduction` and `check`
    kind: str = "objective"  # a key of KINDS
    options: Mapping = field(default_factory=dict, hash=False)  # keyword arguments that make this variant
    temperature: bool = False  # whether it takes one
    needs: str = "negative"  # what a query of pairs must have, else it is left out: a key of NEEDS
    promises: Set = frozenset()  # keys of PROMISES
    oracles: tuple = ()  # names of outside implementations in tests/oracles.py that it must equal

    def __post_init__(self):
        if not isinstance(self.temperature, bool):  # by hand: an entry is read without torch, which the checks import
            raise TypeError(f"temperature: got {type(self.temperature).__name__}, want True or False")
        for field_, kinds, want in _FIELDS:
            if not isinstance(getattr(self, field_), kinds):
                raise TypeError(f"{field_}: got {type(getattr(self, field_)).__name__}, want {want}")
        if not all(isinstance(oracle, str) for oracle in self.oracles):
            raise TypeError(f"oracles: got {self.oracles!r}, want names")
        if not isinstance(self.papers, (tuple, list)) or not all(isinstance(paper, str) for paper in self.papers):
            raise TypeError(f"papers: got {self.papers!r}, want a tuple of the catalogue's ids")
        if not re.fullmatch(r"[a-z][a-z0-9_]*", self.name):
            raise ValueError(f"name: got {self.name!r}, want small letters, digits and underscores")
        if not re.fullmatch(r"[\w.]+:\w+", self.function):
            raise ValueError(f"function: got {self.function!r}, want 'module:function'")
        if self.kind not in KINDS:
            raise ValueError(f"kind: got {self.kind!r}, want one of {', '.join(KINDS)}")
        if self.kind == "objective" and self.shape not in SHAPES:
            raise ValueError(f"shape: got {self.shape!r}, want one of {', '.join(SHAPES)}")
        if self.needs not in NEEDS:
            raise ValueError(f"needs: got {self.needs!r}, want one of {', '.join(NEEDS)}")
        if self.kind != "objective" and self.shape:
            raise ValueError(f"shape: got {self.shape!r}, want none: a {self.kind} is {KINDS[self.kind]}")
        if not self.by_hand and self.kind in ("objective", "mixer", "transform", "narrower", "weigher"):
            raise ValueError(f"by_hand: got nothing, want the loops on the page: a {self.kind} is checked against them")
        if unknown := set(self.promises) - set(PROMISES):
            raise ValueError(f"promises: got {', '.join(sorted(unknown))}, want some of {', '.join(PROMISES)}")
        object.__setattr__(self, "options", MappingProxyType(dict(self.options)))
        object.__setattr__(self, "promises", frozenset(self.promises))
        for name in ("papers", "oracles"):
            object.__setattr__(self, name, tuple(getattr(self, name)))

    @property
    def signature(self) -> str:
        "What its call looks like: an objective's shape, else the kind."
        return self.shape or self.kind

    def load(self) -> Callable:
        "The function itself, imported when it is first needed."
        module, name = self.function.split(":")
        return getattr(importlib.import_module(module), name)

    def __call__(self, *arguments, **keywords):
        "Call the function with this variant's options, which a keyword may override."
        return self.load()(*arguments, **{**self.options, **keywords})


@lru_cache(maxsize=1)
def collect(package: Path = files.PACKAGE) -> tuple[Method, ...]:
    """The entries that stand beside their functions, in the order of the pages.

    They are read as text, the literal `_METHODS` of a module, so that nothing is imported. Raises `ValueError` naming the module
    whose entries cannot be read.
    """
    if not isinstance(package, Path):
        raise TypeError(f"package: got {type(package).__name__}, want the path of a package")
    found = []
    for path in sorted(package.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        if "\n_METHODS = [" not in text:
            continue
        page = files.page_of(text)
        if page is None:
            raise ValueError(f"{path.relative_to(package).as_posix()}: _METHODS: got a plain module, want one that a page exports")
        for node in ast.parse(text).body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_METHODS":
                try:
                    found += [Method(**entry, notebook=page) for entry in ast.literal_eval(node.value)]
                except (TypeError, ValueError) as error:
                    raise ValueError(f"{path.relative_to(package).as_posix()}: _METHODS: {error}") from None
    return tuple(sorted(found, key=lambda method: method.notebook))


_added: list[Method] = []


def methods(shape: str | None = None, *, kind: str | None = None) -> tuple[Method, ...]:
    "All entries, those added by `register` last; those of a shape, or of a kind. Raises `ValueError` for one that there is not."
    for name, value, there in (("shape", shape, SHAPES), ("kind", kind, KINDS)):
        if value is not None and value not in there:
            raise ValueError(f"{name}: got {value!r}, want one of {', '.join(there)}")
    return tuple(m for m in (*collect(), *_added) if shape in (None, m.shape) and kind in (None, m.kind))


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


def __getattr__(name: str):
    if name == "METHODS":  # until 0.3
        warnings.warn("contrastive_nb.registry.METHODS is now contrastive_nb.registry.methods()", DeprecationWarning, stacklevel=2)
        return collect()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
