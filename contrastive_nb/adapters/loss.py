"""An objective by its name as a module; its options are looked at when it is made, and its temperature may learn. Plain module: every adapter holds one."""

import functools
import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from contrastive_nb import files, registry
from contrastive_nb.checks import check_flag, check_is, check_number
from contrastive_nb.encoders import LogitScale
from contrastive_nb.pairs import Pairs
from contrastive_nb.rows import present

__all__ = ["Loss"]


class Found(NamedTuple):
    "A function of the registry, or one of the caller's, with what is known of it."

    name: str
    function: Callable
    options: dict  # keyword arguments that make this variant
    shape: str  # what it reads: a key of registry.SHAPES
    entry: registry.Method | None  # None: of the caller's own


def _whole(function: Callable) -> Callable:
    "What a `partial` is of."
    while isinstance(function, functools.partial):
        function = function.func
    return function


def _beside(function: Callable, kind: str) -> registry.Method | None:
    "The registry's entry of a function, whatever its variant."
    of = _whole(function)
    for method in registry.methods(kind=kind):
        module, name = method.function.split(":")
        if name == getattr(of, "__name__", "") and str(getattr(of, "__module__", "")).startswith(module):
            return method
    return None


def find(argument: str, wanted, kind: str, shapes: tuple[str, ...] = ()) -> Found:
    "What a name of the registry, or a function, stands for. Raises `TypeError` or `ValueError` naming the argument."
    known = [m for m in registry.methods(kind=kind) if not shapes or m.shape in shapes]
    if isinstance(wanted, str):
        entry = next((m for m in known if m.name == wanted), None)
        if entry is None:
            raise ValueError(f"{argument}: got {wanted!r}, want a function or one of {', '.join(m.name for m in known)}")
        function, options = entry.load(), dict(entry.options)
    elif callable(wanted):
        entry, function, options = _beside(wanted, kind), wanted, {}
    else:
        raise TypeError(f"{argument}: got {type(wanted).__name__}, want a function or one of {', '.join(m.name for m in known)}")
    of = _whole(function)
    name = entry.name if isinstance(wanted, str) and entry else getattr(of, "__name__", type(of).__name__)
    if entry is None:
        return Found(name, function, options, "pairs", None)
    if shapes and entry.shape not in shapes:
        raise ValueError(f"{argument}: got {name}, which reads {registry.SHAPES[entry.shape]}, want one that reads {' or '.join(shapes)}")
    return Found(name, function, options, entry.shape, entry)


def needs(found: Found, options: Mapping) -> str:
    "What a query must have to count, a key of registry.NEEDS: that of the variant with these options."
    if found.entry is None:
        return "negative"
    given = {**getattr(found.function, "keywords", {}), **options}
    variants = [m for m in registry.methods(kind="objective") if m.function == found.entry.function]
    fits = [m for m in variants if m.options and all(given.get(name) == value for name, value in m.options.items())]
    return (fits or [found.entry])[0].needs


def keywords_of(function: Callable) -> dict[str, inspect.Parameter] | None:
    "The keyword arguments that a function names; None where it takes any."
    try:
        parameters = inspect.signature(function.forward if isinstance(function, nn.Module) else function).parameters
    except ValueError:  # written in C
        return None
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return None
    return {name: p for name, p in parameters.items() if p.kind is p.KEYWORD_ONLY or p.kind is p.POSITIONAL_OR_KEYWORD}


def check_options(found: Found, options: Mapping, data: int) -> dict:
    """The variant's options with these over them; a function's first arguments, so many, are data.

    Raises `TypeError` naming an option that the function does not have, or one that is missing.
    """
    known = keywords_of(found.function)
    whole = {**found.options, **options}
    if known is None:
        return whole
    known = dict(list(known.items())[data:])
    for name in options:
        if name not in known:
            raise TypeError(f"{name}: got an option that {found.name} does not have, want some of {', '.join(known) or 'none'}")
    for name, p in known.items():
        if p.default is p.empty and name not in whole and name != "temperature":
            raise TypeError(f"{name}: got none, want a value: {found.name} has no default for it")
    return whole


def graded(pairs: Pairs) -> tuple[Tensor, Tensor, Tensor]:
    "Pairs as lists: a positive's grade is its weight, or 1; a negative's is 0, and its weight plays no part."
    grade = torch.ones_like(pairs.scores) if pairs.weights is None else pairs.weights.to(pairs.scores.dtype)
    return pairs.scores, torch.where(pairs.positives, grade, 0.0), pairs.positives | pairs.negatives


def bibtex(papers: tuple[str, ...]) -> str:
    "The entries of references.bib for papers of the catalogue; empty where there is none."
    catalogue, bib = (files.shared(f"data/{name}").read_text(encoding="utf-8") for name in ("catalogue.yml", "references.bib"))
    keys = [re.search(rf"^- id: {paper}\n(?:  .*\n)*?  authors_key: (\S+)", catalogue, re.M) for paper in papers]
    entries = [re.search(rf"^@\w+\{{{re.escape(key[1])},\n.*?^\}}", bib, re.M | re.S) for key in keys if key]
    return "\n".join(entry[0] for entry in entries if entry)


def plain(value) -> Any:
    "An option as JSON can hold it: a number, a truth value, a text, or the name of what it is."
    if isinstance(value, Tensor):
        return value.tolist()
    return value if isinstance(value, (bool, int, float, str, type(None))) else getattr(value, "__name__", type(value).__name__)


PAIRED = ("pairs", "lists")  # what can be read from Pairs


class Loss(nn.Module):
    """An objective as a module: `Loss("info_nce", temperature=0.07, learned=True)(*two_views(z1, z2))`.

    An objective of lists reads a query's keys as its list and a positive's weight as its grade. A named narrower has the options
    of its entry unless `narrow_options` say otherwise. What the library's own functions refuse they refuse here already.
    Raises `TypeError` or `ValueError` naming the argument or the option.
    """

    def __init__(
        self,
        objective: str | Callable,  # a name of the registry, such as "info_nce", or a function of unpacked Pairs
        *,
        temperature: float | None = None,  # above 0, for an objective that has one; where it learns, its value at the start
        learned: bool = False,  # let the temperature learn, between 0.01 and 1: `encoders.LogitScale`
        narrow: str | Callable | None = None,  # a narrower, such as "batch_hard" or partial(perc_pos, ratio=0.95)
        narrow_options: Mapping | None = None,  # keyword arguments of the narrower
        **options,  # of the objective
    ):
        super().__init__()
        check_flag("learned", learned)
        self.found = find("objective", objective, "objective", PAIRED)
        self.function = self.found.function
        self.options = check_options(self.found, options, 3 if self.found.shape == "lists" else 4)
        self.scale = self._temperature(temperature, learned)
        self.narrowed, self.narrow = self._narrower(narrow, narrow_options)
        self._try()

    def _temperature(self, temperature, learned: bool) -> LogitScale | None:
        known = keywords_of(self.function)
        has = known is None or "temperature" in known
        if learned and not has:
            raise ValueError(f"learned: got True, want False: {self.found.name} has no temperature")
        if temperature is not None and not has:
            raise ValueError(f"temperature: got {temperature!r}, want none: {self.found.name} has no temperature")
        if learned:
            return LogitScale() if temperature is None else LogitScale(temperature)
        if temperature is not None:
            self.options["temperature"] = check_number("temperature", temperature, 0, open_low=True)
        elif known and has and known["temperature"].default is inspect.Parameter.empty:
            raise ValueError(f"temperature: got none, want a number above 0, by which {self.found.name} divides scores")
        return None

    def _narrower(self, narrow, options) -> tuple[dict, Callable | None]:
        options = dict(check_is("narrow_options", {} if options is None else options, Mapping, "a dict of keyword arguments"))
        if narrow is None:
            if options:
                raise ValueError(f"narrow_options: got {', '.join(map(str, options))}, want none where there is no narrower")
            return {}, None
        found = find("narrow", narrow, "narrower")
        options = check_options(found, options, 1)
        return {"narrow": found.name, **options}, functools.partial(found.function, **options)

    def _try(self) -> None:
        "Let the library's own functions look at their options, on four made-up queries; what is the caller's own is not run."
        parts = [_whole(f) for f in (self.function, self.narrow) if f is not None]
        if all(inspect.isfunction(f) and f.__module__.startswith("contrastive_nb.") for f in parts):
            scores = torch.arange(64.0).view(4, 16).cos()
            positives = torch.eye(4, 16, dtype=torch.bool)
            with torch.no_grad(), torch.random.fork_rng(devices=[]):
                self(scores, positives, ~positives)

    @property
    def temperature(self) -> float | None:
        "What the scores are divided by now."
        return self.options.get("temperature") if self.scale is None else float(self.scale().detach())

    def narrowed_pairs(self, pairs: Pairs) -> Pairs:
        "What the narrower leaves of the pairs. Raises `TypeError` where it gives something else."
        return pairs if self.narrow is None else check_is("narrow", self.narrow(pairs), Pairs, "a function from Pairs to Pairs")

    def compare(self, pairs: Pairs, **more) -> Tensor:
        "The objective on pairs that are narrowed already."
        options = {**self.options, **more} | ({} if self.scale is None else {"temperature": self.scale()})
        return self.function(*(graded(pairs) if self.found.shape == "lists" else pairs), **options)

    def forward(self, scores: Tensor, positives: Tensor, negatives: Tensor, weights: Tensor | None = None) -> Tensor:
        "The loss of unpacked Pairs."
        return self.compare(self.narrowed_pairs(Pairs(scores, positives, negatives, weights)))

    def each(self, pairs: Pairs) -> tuple[Tensor, Tensor]:
        "One loss a query that counts with its (n,) row; of a pooled objective one a positive with its (n, 2) place."
        pairs = self.narrowed_pairs(pairs)
        positives, negatives = present(pairs.positives, pairs.weights), present(pairs.negatives, pairs.weights)
        losses = self.compare(pairs, reduction="none")
        if self.found.entry and "pooled" in self.found.entry.promises:
            return losses, positives.nonzero() if negatives.any() else positives.nonzero()[:0]
        some, more = positives.any(1), (positives | negatives).sum(1) > 1
        counted = {"negative": some & negatives.any(1), "key": some & more, "pair": some | negatives.any(1)}[
            needs(self.found, self.options)
        ]
        rows = counted.nonzero()[:, 0]
        return losses[rows], rows

    def config(self) -> dict:
        "What it was made of, as JSON can hold it, with the temperature of now."
        made = {"objective": self.found.name, **{name: plain(value) for name, value in self.options.items()}}
        if self.scale is not None:
            made |= {"temperature": round(self.temperature or 0.0, 6), "learned": True}
        return made | {name: plain(value) for name, value in self.narrowed.items()}

    @property
    def citation(self) -> str:
        "BibTeX of the objective's papers."
        return bibtex(self.found.entry.papers if self.found.entry else ())

    def extra_repr(self) -> str:
        "What it was made of."
        return ", ".join(f"{name}={value!r}" for name, value in self.config().items())
