"""Bad calls, generated: every argument of every public function gets what it cannot take, by the kind of thing that it does take.

`public()` walks the package, so a new function is among them at once; `good_calls.py` has one call of each that works.
A bad call is answered well when it raises `TypeError` or `ValueError` with a message that names the argument, what came (got)
and what is wanted (want), and changes nothing that was passed in.
"""

import builtins
import functools
import importlib
import inspect
import pkgutil
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import contrastive_nb
from contrastive_nb.pairs import Pairs

HIDDEN = ("kernels", "_share", "__main__", "worker")  # what is called by the package alone
PLAIN = ("timing.tournament:Plan",)  # of modules without __all__, what people call


def _asks(thing) -> bool:
    "Whether this is a function, or a class that looks at what it is made of; a named tuple or a plain record of results is neither."
    if inspect.isclass(thing):
        own = issubclass(thing, nn.Module) and "__init__" in vars(thing) and len(inspect.signature(thing).parameters) > 0
        return own or hasattr(thing, "__post_init__")
    return callable(thing)


def public(package=contrastive_nb) -> dict[str, Callable]:
    "Every public function and class that checks, once, as module:name without the package's own name."
    found: dict[int, tuple[str, Callable]] = {}
    for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if any(part in HIDDEN for part in info.name.split(".")):
            continue
        module = importlib.import_module(info.name)
        for name in getattr(module, "__all__", ()):
            thing = getattr(module, name)
            if _asks(thing):
                found.setdefault(id(thing), (f"{thing.__module__.removeprefix(package.__name__ + '.')}:{name}", thing))
    for place in PLAIN if package is contrastive_nb else ():
        module, name = place.split(":")
        thing = getattr(importlib.import_module(f"{package.__name__}.{module}"), name)
        found[id(thing)] = place, thing
    return {place: thing for place, thing in sorted(found.values()) if inspect.signature(thing).parameters}


# --- what an argument is said to be ---------------------------------------------------------------------------------------------


@dataclass
class Argument:
    "A parameter with what its function says of it, and the value of the good call."

    name: str
    value: Any
    kind: str  # the annotation as text
    says: str  # the comment beside it
    default: Any  # `...`: it has none
    variadic: bool

    @property
    def may_be_none(self) -> bool:
        return "None" in self.kind or (not self.kind and self.default is None)

    @property
    def axes(self) -> tuple[str, ...]:
        "The letters of the first shape in the comment: (Q, K) -> ('Q', 'K')."
        found = re.search(r"\(([A-Z](?:, [A-Z])*),?\)", self.says)
        return tuple(found.group(1).split(", ")) if found else ()


@functools.cache  # reading a class's source parses its whole module
def comments(thing) -> dict[str, str]:
    "Parameter -> the comment on its line."
    source = inspect.getsource(inspect.unwrap(thing))
    return {m.group(1): m.group(2) for m in re.finditer(r"^\s+(\w+)\s*(?:[:=].*?)?,?\s+# (.*)$", source, re.M)}


def arguments(thing: Callable, good: Mapping) -> list[Argument]:
    says, found = comments(thing), []
    for name, p in inspect.signature(thing).parameters.items():
        kind = "" if p.annotation is p.empty else p.annotation if isinstance(p.annotation, str) else inspect.formatannotation(p.annotation)
        default = ... if p.default is p.empty else p.default
        value = good.get(name, None if default is ... else default)
        found.append(Argument(name, value, kind, says.get(name, ""), default, p.kind is p.VAR_POSITIONAL))
    return found


# --- what it cannot be ----------------------------------------------------------------------------------------------------------


class Stranger:
    "A thing of no kind that any function asks for."

    def __repr__(self):
        return "a stranger"


def _others(argument: Argument, every: list[Argument]) -> list[Argument]:
    return [other for other in every if other is not argument and isinstance(other.value, Tensor)]


def bad_tensors(argument: Argument, every: list[Argument], looks: bool) -> Iterator[tuple[str, Any]]:
    x: Tensor = argument.value
    yield "wrong type: text", "text"
    yield "wrong type: list", x.tolist() if x.numel() else [1.0]
    if "float" not in argument.kind:
        yield "wrong type: number", 3
    if x.dim():
        yield "wrong shape: no dimension", x.flatten()[0]
    if "..." not in argument.says:
        yield "wrong shape: two more dimensions", x[None, None]
        yield from bad_dtypes(argument)
    axes = [other.axes for other in _others(argument, every)]
    if argument.axes and len(argument.axes) == x.dim():
        if any(argument.axes[0] in other for other in axes):
            yield "wrong shape: a row more", torch.cat([x, x[:1]])
        if x.dim() > 1 and any(argument.axes[-1] in other for other in axes):
            yield "wrong shape: a column more", torch.cat([x, x[..., :1]], -1)
    if axes:
        yield "meta device", x.to("meta")
    if looks and x.is_floating_point() and "plays no part" not in argument.says:
        yield "NaN", torch.full_like(x, torch.nan)
        yield "infinite", torch.full_like(x, torch.inf)
        if ">= 0" in argument.says or "in [0, 1]" in argument.says:
            yield "out of range", torch.full_like(x, -1.0)


def bad_dtypes(argument: Argument) -> Iterator[tuple[str, Any]]:
    x, takes_numbers = argument.value, re.search(r"any dtype|grades|>= 0", argument.says)
    yield "wrong dtype: complex", x.to(torch.complex64)
    if x.is_floating_point() and not takes_numbers:
        yield "wrong dtype: whole numbers", x.long()
    elif x.dtype == torch.bool and not takes_numbers:
        yield "wrong dtype: numbers", x.float()
        yield "wrong dtype: whole numbers", x.long()
    elif not x.is_floating_point() and not takes_numbers:
        yield "wrong dtype: numbers", x.float()


def bad_numbers(argument: Argument, whole: bool) -> Iterator[tuple[str, Any]]:
    yield "wrong type: text", "3"
    yield "wrong type: list", [3]
    yield "wrong type: True", True
    yield "wrong type: complex", 1j
    yield "NaN", float("nan")
    if whole:
        yield "wrong type: a fraction", 2.5
        if "such as -1" not in argument.says:
            yield "out of range: -1", -1
    else:
        yield "infinite", -float("inf")
    for low in re.findall(r"\babove (-?[\d.]*\d)", argument.says):
        yield f"out of range: {low}", type(argument.value or 1.0)(float(low))
    for left, low, high, right in re.findall(r"in ([\[(])(-?[\d.]+), (-?[\d.]+)([\])])", argument.says):
        yield "out of range: below", float(low) - 0.5
        yield "out of range: above", float(high) + 0.5
        if left == "(":
            yield "out of range: the lower end", float(low)
        if right == ")":
            yield "out of range: the upper end", float(high)
    if re.search(r"\b0 or more|>= 0|at least 0", argument.says) and not whole:
        yield "out of range: -1", -1.0


def bad_things(argument: Argument, wanted: str) -> Iterator[tuple[str, Any]]:
    yield "wrong type: number", 3
    yield "wrong type: a stranger", Stranger()
    if wanted not in ("str", "path"):
        yield "wrong type: text", "m"
    if wanted == "sequence":
        yield "wrong type: strangers inside", [Stranger(), Stranger()]
        if "float" in argument.kind:
            yield "wrong type: texts inside", ["a", "b"]
            yield "NaN", [float("nan")] * len(argument.value or [1])
    if (
        wanted == "str"
        and not re.search("such as|a folder", argument.says)
        and (re.search(r'"\w+"', argument.says) or argument.name in ("device", "name", "precision", "schedule"))
    ):
        yield "wrong word", "no such word"
    if wanted == "module":
        yield "wrong type: a function", len


KINDS = {  # part of an annotation -> what it is
    "Callable": "callable", "bool": "bool", "Tensor": "tensor", "Sequence": "sequence", "list": "sequence", "tuple": "sequence", "int": "int",
    "float": "float", "Path": "path", "str": "str", "bytes": "bytes", "Mapping": "mapping", "dict": "mapping", "Module": "module",
}  # fmt: skip


def kind_of(argument: Argument) -> str:
    "What an argument is, by the value of the good call, or else by its annotation."
    value = argument.value
    kinds = {
        Tensor: "tensor", bool: "bool", int: "int", float: "float", str: "str", Path: "path", bytes: "bytes", dict: "mapping",
        nn.Module: "module", Pairs: "thing", (list, tuple): "sequence",
    }  # fmt: skip
    if value is not None:
        found = next((word for kind, word in kinds.items() if isinstance(value, kind)), "callable" if inspect.isroutine(value) else "thing")
        return "float" if found == "int" and "float" in argument.kind else found
    return next((word for part, word in KINDS.items() if re.search(rf"\b{part}\b", argument.kind)), "thing")


def bad_values(argument: Argument, every: list[Argument], looks: bool) -> Iterator[tuple[str, Any]]:
    "What this argument cannot be: (how it is wrong, value)."
    if "Any" in argument.kind or (argument.variadic and not argument.kind):
        return
    if argument.variadic:
        inside = argument.value[0]
        one = Argument(argument.name, inside, argument.kind, argument.says, ..., False)
        yield from ((how, (inside, value)) for how, value in bad_values(one, [], False) if how.startswith("wrong type"))
        return
    if not argument.may_be_none:
        yield "wrong type: None", None
    kind = kind_of(argument)
    if kind == "tensor" and isinstance(argument.value, Tensor):
        yield from bad_tensors(argument, every, looks)
    elif kind in ("int", "float"):
        yield from (
            pair for pair in bad_numbers(argument, kind == "int") if not ("Tensor" in argument.kind and pair[0] == "wrong type: list")
        )
        if kind == "float" and "Callable" not in argument.kind:
            yield "wrong type: a function", len
    elif kind == "bool":
        yield "wrong type: text", "yes"
        yield "wrong type: number", 1
        yield "wrong type: a stranger", Stranger()
    else:
        yield from bad_things(argument, kind)


# --- a call and its answer ------------------------------------------------------------------------------------------------------


def snapshot(value) -> Any:
    "What a value holds, to be compared later."
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, nn.Module):
        return [snapshot(x) for x in value.state_dict().values()], [(name, part.training) for name, part in value.named_modules()]
    if isinstance(value, torch.Generator):
        return value.get_state().clone()
    if isinstance(value, Mapping):
        return [(key, snapshot(inside)) for key, inside in value.items()]
    return [snapshot(inside) for inside in value] if isinstance(value, (list, tuple)) else value


def alike(one, two) -> bool:
    if isinstance(one, Tensor):
        same_kind = isinstance(two, Tensor) and one.dtype == two.dtype and one.shape == two.shape
        return same_kind and (
            one.is_meta or torch.equal(torch.nan_to_num(one), torch.nan_to_num(two)) if one.dtype != torch.complex64 else same_kind
        )
    if isinstance(one, (list, tuple)):
        return isinstance(two, (list, tuple)) and len(one) == len(two) and all(map(alike, one, two))
    return one is two or one == two or (one != one and two != two)


def call(thing: Callable, given: Mapping) -> Any:
    "Call by name; what is a context is entered and left."
    positional = []
    kinds = {name: p.kind for name, p in inspect.signature(thing).parameters.items()}
    if inspect.Parameter.VAR_POSITIONAL in kinds.values():  # then those before it go by place too
        for name, kind in kinds.items():
            if kind is inspect.Parameter.VAR_POSITIONAL:
                positional += given[name]
                break
            positional.append(given[name])
        given = {name: value for name, value in given.items() if kinds[name] is inspect.Parameter.KEYWORD_ONLY}
    found = thing(*positional, **given)
    if hasattr(found, "__enter__") and inspect.isgeneratorfunction(inspect.unwrap(thing)):
        with found:
            pass
    return found


def documented(thing: Callable) -> tuple[type[Exception], ...]:
    "Other errors of Python that the docstring promises."
    found = re.findall(r"`(\w+Error)`", inspect.getdoc(thing) or "")
    return tuple(getattr(builtins, name) for name in found if hasattr(builtins, name))


def fault(thing: Callable, good: Mapping, name: str, value: Any, names: tuple[str, ...]) -> str | None:
    "What is wrong with the answer to a bad call; None: nothing. `names`: the arguments of which one must be named."
    given = dict(good) | {name: value}
    before = snapshot(given)
    try:
        call(thing, given)
    except (TypeError, ValueError, *documented(thing)) as error:
        said = f"{type(error).__name__}: {error}"
        if not any(re.search(rf"\b{re.escape(each)}\b", str(error)) for each in names):
            return f"names no argument ({said[:150]!r})"
        if not re.search(r"\b(got|gave)\b", str(error)):
            return f"says not what came ({said[:150]!r})"
        if not re.search(r"\bwant\b", str(error)):
            return f"says not what is wanted ({said[:150]!r})"
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:120]!r}"
    else:
        return "is accepted"
    return None if alike(before, snapshot(given)) else "something that was passed in is changed"


def looks(thing: Callable) -> bool:
    "Whether values are looked at: on demand, or because what comes back is numbers of Python, for which a device is waited for anyway."
    if "look at" in comments(thing).get("check", ""):
        return True
    back = inspect.signature(thing).return_annotation
    return back is float or thing.__module__.endswith("metrics")


def table(thing: Callable, make_good: Callable[[], dict]) -> Iterator[tuple[str, str, str | None]]:
    "(argument, how it is wrong, fault or None) for every bad call of a function; each is made of a fresh good one."
    values = looks(thing)
    good = make_good() | ({"check": True} if "check" in inspect.signature(thing).parameters else {})
    every = arguments(thing, good)
    tensors = tuple(argument.name for argument in every if isinstance(argument.value, Tensor))
    for place, argument in enumerate(every):
        for number, (how, _) in enumerate(bad_values(argument, every, values)):
            fresh = make_good() | ({"check": True} if "check" in good else {})
            again = arguments(thing, fresh)
            _, value = list(bad_values(again[place], again, values))[number]
            related = how.startswith(("wrong shape", "meta")) or "infinite" in how or how == "NaN" or "dtype" in how
            names = (*tensors, argument.name) if related and isinstance(argument.value, Tensor) else (argument.name,)
            with warnings.catch_warnings(action="ignore"):
                yield argument.name, how, fault(thing, fresh, argument.name, value, names)
