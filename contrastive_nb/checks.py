"""What every public function asks of its arguments: errors that name the argument, what came and what is wanted. Plain module."""

import inspect
import math
import numbers
import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

REDUCTIONS = ("none", "mean", "sum")


def check_flag(name: str, value) -> bool:
    "Raise unless `value` is True or False, Python's or numpy's; return it as Python's. Text and numbers are no flags."
    if not isinstance(value, bool) and (type(value).__module__, type(value).__name__) not in (("numpy", "bool"), ("numpy", "bool_")):
        raise TypeError(f"{name}: got {type(value).__name__}, want True or False")
    return bool(value)


def check_is(name: str, value, kinds: type | tuple[type, ...], want: str) -> Any:
    "Raise unless `value` is of one of these kinds, which `want` says in words; return it."
    if not isinstance(value, kinds):
        raise TypeError(f"{name}: got {type(value).__name__}, want {want}")
    return value


def check_bytes(name: str, value) -> bytes:
    "Raise unless `value` is bytes, as a file has them; return it."
    return check_is(name, value, bytes, "the bytes of a file")


def check_module(name: str, value) -> nn.Module:
    "Raise unless `value` is a module; return it."
    return check_is(name, value, nn.Module, "a torch.nn.Module")


def check_generator(name: str, value) -> torch.Generator:
    "Raise unless `value` is a generator of random numbers; return it."
    return check_is(name, value, torch.Generator, "a torch.Generator")


def check_path(name: str, value) -> Path:
    "Raise unless `value` is a path, as text or not; return it as a path."
    return Path(check_is(name, value, (str, os.PathLike), "a path"))


def check_function(name: str, value) -> Any:
    "Raise unless `value` can be called; return it."
    if not callable(value):
        raise TypeError(f"{name}: got {type(value).__name__}, want a function")
    return value


def check_texts(name: str, texts) -> list[str]:
    "Raise unless `texts` are texts, one or more; return them as a list. One text by itself is none."
    if isinstance(texts, (str, bytes)) or not hasattr(texts, "__iter__"):
        raise TypeError(f"{name}: got {'one text' if isinstance(texts, (str, bytes)) else type(texts).__name__}, want a list of texts")
    found = list(texts)
    for i, text in enumerate(found):
        check_is(f"{name}[{i}]", text, str, "a text")
    if not found:
        raise ValueError(f"{name}: got no text, want at least one")
    return found


def check_data(name: str, x: Tensor) -> Tensor:
    "Raise unless the tensor holds numbers: one on the meta device has a shape and no more; return it."
    if x.is_meta:
        raise ValueError(f"{name}: got a tensor on the meta device, want one that holds numbers")
    return x


def check_finite(name: str, x: Tensor, what: str = "row") -> Tensor:
    "Raise on a number that is NaN or infinite, and say in which row it is first; return the tensor. Waits for the device."
    wrong = ~torch.isfinite(check_data(name, x))
    if wrong.any():
        at = wrong.nonzero()[0].tolist()
        raise ValueError(f"{name}: not finite, first at {what} {at[0] if at else 0}: got {x[tuple(at)].item()}, want finite numbers")
    return x


BUILD = "as in f(*in_batch(query, key), ...)"  # how embeddings become what an objective takes


def _instead_of_scores(name: str, x) -> str:
    "What to write where pairs in one piece, or whole numbers, came as scores."
    if isinstance(x, tuple) and hasattr(x, "scores"):
        return ": a star unpacks the pairs, f(*pairs, ...), and pairs.scores is this part of them"
    return ": write scores.float()" if name == "scores" and isinstance(x, Tensor) and not x.is_complex() else ""


def _kind_of(x) -> str:
    return str(x.dtype) if isinstance(x, Tensor) else type(x).__name__


def _instead_of_mask(name: str, x) -> str:
    "What to write where embeddings or labels came as a mask, or nothing did."
    if name not in ("positives", "negatives"):
        return ""
    if x is None:
        return f": an objective takes scores, positives and negatives, which a builder gives, {BUILD}"
    if isinstance(x, Tensor) and x.dim() == 1:
        return ": labels go through a builder first, as in f(*from_labels(z, labels), ...)"
    embeddings = isinstance(x, Tensor) and x.is_floating_point() and x.dim() == 2
    return f": a mask is {name} > 0; embeddings go through a builder first, {BUILD}" if embeddings else ""


def _if_embeddings(name: str, mask: Tensor, scores: Tensor) -> str:
    "What to write where the scores look like embeddings: the mask has their rows and another width."
    looks = name in ("positives", "negatives") and mask.dim() == scores.dim() == 2 and len(mask) == len(scores)
    return f"; if the scores are embeddings, they go through a builder first, {BUILD}" if looks else ""


def names_what_is_missing(*objectives) -> None:
    """Let the checks inside objectives on pairs say what is missing, which Python would do in words that name no mistake.

    A forgotten star, `info_nce(pairs, temperature=0.1)`, lacks two arguments; with a default it gets as far as the checks. The
    signature that help and tools show stays as it is written.
    """
    for function in objectives:
        function.__signature__ = inspect.signature(function)
        known = function.__defaults__ or ()
        function.__defaults__ = (None,) * (function.__code__.co_argcount - 1 - len(known)) + known


def check_floating(name: str, x, dims: tuple[int, ...] = ()) -> Tensor:
    "Raise unless `x` is a floating tensor with one of these numbers of dimensions (none: any number); return it."
    if not isinstance(x, Tensor):
        raise TypeError(f"{name}: got {type(x).__name__}, want a floating-point tensor{_instead_of_scores(name, x)}")
    if not x.is_floating_point():
        raise TypeError(f"{name}: got dtype {x.dtype}, want a floating-point tensor{_instead_of_scores(name, x)}")
    if dims and x.dim() not in dims:
        raise ValueError(f"{name}: got shape {tuple(x.shape)}, want {' or '.join(str(d) for d in dims)} dimensions")
    return x


def check_like(name: str, x, other: str, y: Tensor, *, dtype: bool = True) -> None:
    "Raise unless `x` lies on the device of `y` and (with `dtype`) has its dtype."
    if x.device != y.device:
        raise ValueError(f"{name}: got device {x.device}, want {y.device}, where {other} is")
    if dtype and x.dtype != y.dtype:
        raise TypeError(f"{name}: got dtype {x.dtype}, want {y.dtype}, as {other} has")


def check_mask(name: str, mask, scores: Tensor, other: str = "scores", part: str = "shape") -> None:
    "Raise unless `mask` is a boolean tensor of the scores' shape and device; `other` and `part` say in the message what they are of."
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool:
        raise TypeError(f"{name}: got {_kind_of(mask)}, want a bool tensor{_instead_of_mask(name, mask)}")
    if mask.shape != scores.shape:
        raise ValueError(
            f"{name}: got shape {tuple(mask.shape)}, want {tuple(scores.shape)}, the {part} of {other}{_if_embeddings(name, mask, scores)}"
        )
    check_like(name, mask, other, scores, dtype=False)


def check_pairs(scores, positives, negatives, weights=None) -> None:
    "Raise unless the four parts of a `Pairs` fit together (types, shapes, devices; no value is looked at)."
    check_floating("scores", scores, (2,))
    check_mask("positives", positives, scores)
    check_mask("negatives", negatives, scores)
    if weights is not None:
        check_floating("weights", weights, (2,))
        if weights.shape != scores.shape:
            raise ValueError(f"weights: got shape {tuple(weights.shape)}, want {tuple(scores.shape)}, the shape of scores")
        check_like("weights", weights, "scores", scores, dtype=False)


def check_values(scores: Tensor, positives: Tensor, negatives: Tensor, weights: Tensor | None = None) -> None:
    "Raise `ValueError` on overlapping masks, NaN or infinite scores in use, negative or non-finite weights. Waits for the device."
    if (positives & negatives).any():
        at = (positives & negatives).nonzero()[0].tolist()
        raise ValueError(f"positives and negatives overlap, first at query {at[0]}, key {at[1]}: a pair can be one or the other")
    used = positives | negatives
    if not torch.isfinite(scores[used]).all():
        at = (used & ~torch.isfinite(scores)).nonzero()[0].tolist()
        got = scores[tuple(at)].item()
        raise ValueError(f"scores: not finite, first at query {at[0]}, key {at[1]}: got {got}, want finite scores where a pair is")
    if weights is not None and not (torch.isfinite(weights[used]) & (weights[used] >= 0)).all():
        raise ValueError("weights: got a negative or non-finite weight, want weights >= 0")


def check_temperature(temperature, scores: Tensor, *, check: bool = False):
    """Raise unless `temperature` is a finite number above 0, or a floating tensor that broadcasts to the scores.

    The values inside a tensor are looked at only with `check`: that waits for the device.
    """
    if isinstance(temperature, Tensor):
        if not temperature.is_floating_point():
            raise TypeError(f"temperature: got dtype {temperature.dtype}, want a floating-point tensor or a number")
        try:
            fits = torch.broadcast_shapes(temperature.shape, scores.shape) == scores.shape
        except RuntimeError:
            fits = False
        if not fits:
            raise ValueError(f"temperature: got shape {tuple(temperature.shape)}, want one that broadcasts to {tuple(scores.shape)}")
        if temperature.dim() > 0 or temperature.device.type != "cpu":  # torch takes one number from the CPU anywhere
            check_like("temperature", temperature, "scores", scores, dtype=False)
        if check and not (torch.isfinite(temperature) & (temperature > 0)).all():
            raise ValueError("temperature: got a value that is not finite and above 0, want all of them so")
        return temperature
    if not _is_number(temperature):
        raise TypeError(f"temperature: got {type(temperature).__name__}, want a number or a tensor")
    if not (math.isfinite(temperature) and temperature > 0):
        raise ValueError(f"temperature: got {temperature}, want a finite number above 0")
    return float(temperature)


def _is_number(value) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)  # numpy's scalars are real numbers to Python


def check_number(name: str, value, low: float, high: float = math.inf, *, open_low: bool = False, open_high: bool = False) -> float:
    "Raise unless `value` is a number, Python's or numpy's, in the range (its ends allowed unless `open_low`, `open_high`); return it as Python's."
    if not _is_number(value):
        raise TypeError(f"{name}: got {type(value).__name__}, want a number")
    inside = (value > low if open_low else value >= low) and (value < high if open_high else value <= high)
    if not (math.isfinite(value) and inside):
        ends = f"{'(' if open_low else '['}{low:g}, {high:g}{')' if open_high or high == math.inf else ']'}"
        raise ValueError(f"{name}: got {value}, want a number in {ends}")
    return int(value) if isinstance(value, numbers.Integral) else float(value)


def check_count(name: str, value, low: int = 1, high: int | None = None) -> int:
    "Raise unless `value` is a whole number, Python's or numpy's, from `low` to `high` (None: no end); return it as Python's."
    if not isinstance(value, numbers.Integral) or isinstance(value, bool):
        raise TypeError(f"{name}: got {type(value).__name__}, want a whole number")
    count = int(value)
    if count < low or (high is not None and count > high):
        raise ValueError(f"{name}: got {count}, want a whole number {f'from {low} on' if high is None else f'from {low} to {high}'}")
    return count


def check_labels(name: str, labels, other: str, x: Tensor, *, what: str = "label", device: bool = True) -> Tensor:
    "Raise unless `labels` are integers, one a row of `x`, and (with `device`) lie where it is; return them."
    if not isinstance(labels, Tensor) or labels.is_floating_point() or labels.is_complex():
        raise TypeError(f"{name}: got {labels.dtype if isinstance(labels, Tensor) else type(labels).__name__}, want a tensor of integers")
    if labels.shape != x.shape[:1]:
        raise ValueError(f"{name}: got shape {tuple(labels.shape)}, want ({len(x)},): one {what} a row of {other}")
    if device:
        check_like(name, labels, other, x, dtype=False)
    return labels


def check_choice(name: str, value, choices: tuple) -> None:
    "Raise unless `value` is one of the choices."
    if value not in choices:
        raise ValueError(f"{name}: got {value!r}, want one of {', '.join(map(repr, choices))}")


def check_lists(scores, relevance, mask=None, name: str = "relevance") -> None:
    "Raise unless the parts of graded lists fit together (types, shapes, devices; no value is looked at)."
    check_floating("scores", scores, (2,))
    if not isinstance(relevance, Tensor) or relevance.is_complex():
        got = f"dtype {relevance.dtype}" if isinstance(relevance, Tensor) else type(relevance).__name__
        raise TypeError(f"{name}: got {got}, want a tensor of numbers")
    if relevance.shape != scores.shape:
        raise ValueError(f"{name}: got shape {tuple(relevance.shape)}, want {tuple(scores.shape)}, the shape of scores")
    check_like(name, relevance, "scores", scores, dtype=False)
    if mask is not None:
        check_mask("mask", mask, scores)


def check_list_values(scores: Tensor, relevance: Tensor, there: Tensor, name: str = "relevance", lowest: float = -math.inf) -> None:
    "Raise `ValueError` on a score or a grade in use that is NaN or infinite, or a grade below the lowest. Waits for the device."
    finite = ("scores", scores, ~torch.isfinite(scores), "not finite"), (name, relevance, ~torch.isfinite(relevance), "not finite")
    for what, x, wrong, said in (*finite, (name, relevance, relevance < lowest, f"below {lowest}")):
        if (wrong := there & wrong).any():
            at = wrong.nonzero()[0].tolist()
            want = "finite numbers" if lowest == -math.inf or what == "scores" else f"finite numbers from {lowest} on"
            raise ValueError(f"{what}: {said}, first at query {at[0]}, key {at[1]}: got {x[tuple(at)].item()}, want {want}")


def check_width(name: str, x: Tensor, other: str, y: Tensor, *, dtype: bool = True) -> None:
    "Raise unless `x` has as many features as `y`, its device and (with `dtype`) its dtype."
    check_like(name, x, other, y, dtype=dtype)
    if x.shape[-1] != y.shape[-1]:
        raise ValueError(f"{name}: got {x.shape[-1]} features, want {y.shape[-1]}, as {other} has")


def check_views(name: str, zs, *, dtype: bool = True, finite: bool = False) -> None:
    "Raise unless `zs` are two or more embeddings (N, D) of one shape and device, of one dtype unless False; `finite` looks at the values."
    if not isinstance(zs, (list, tuple)):
        raise TypeError(f"{name}: got {type(zs).__name__}, want a list of two views or more")
    if len(zs) < 2:
        raise ValueError(f"{name}: got {len(zs)} views, want a list of two views or more")
    for i, z in enumerate(zs):
        check_like(f"{name}[{i}]", check_floating(f"{name}[{i}]", z, (2,)), f"{name}[0]", zs[0], dtype=dtype)
        if z.shape != zs[0].shape:
            raise ValueError(f"{name}[{i}]: got shape {tuple(z.shape)}, want {tuple(zs[0].shape)}, as {name}[0] has")
        if finite:
            check_finite(f"{name}[{i}]", z)


def check_rows(name: str, x: Tensor, other: str, y: Tensor) -> None:
    "Raise unless `x` has as many rows as `y`."
    if x.shape[0] != y.shape[0]:
        raise ValueError(f"{name}: got {x.shape[0]} rows, want {y.shape[0]}, as {other} has")


def check_columns(query: Tensor, others: dict) -> None:
    "Raise unless every (tensor, dimensions) of `others` fits the query; one of three dimensions has a row a query."
    check_floating("query", query, (2,))
    for name, (x, dims) in others.items():
        if x is None and name in ("hard", "extra"):  # these may be left out
            continue
        check_floating(name, x, dims)
        check_width(name, x, "query", query)
        if x.dim() == 3:
            check_rows(name, x, "query", query)


def check_target(target, query: Tensor, keys: int) -> Tensor:
    "Raise unless `target` is one int64 index a query, among the keys (looked at on the CPU alone: elsewhere it would wait); return it."
    if not isinstance(target, Tensor) or target.dtype != torch.long:
        raise TypeError(
            f"target: got {target.dtype if isinstance(target, Tensor) else type(target).__name__}, want a tensor of int64 indices"
        )
    if target.shape != (len(query),):
        raise ValueError(f"target: got shape {tuple(target.shape)}, want ({len(query)},): one index a query")
    check_like("target", target, "query", query, dtype=False)
    if target.device.type == "cpu" and len(target) and not (0 <= target.min() and target.max() < keys):
        raise ValueError(f"target: got indices from {target.min()} to {target.max()}, want 0 to {keys - 1}, the keys there are")
    return target
