"""Checks for the reader's own code: the answer beside what was wanted. Plain module: it teaches nothing about the methods."""

import copy
import html
import math
from dataclasses import dataclass

import torch
from torch import Tensor

NOT_ATTEMPTED = "not attempted"


@dataclass(frozen=True)
class Result:
    """What `check` found: `passed` is True, False, or None while the exercise is not attempted.

    `rows` has (case, expected, yours, ok) for each case, as text and True, False or None. Shown as a small table.
    """

    passed: bool | None
    rows: tuple

    def __bool__(self):
        return self.passed is True

    @property
    def summary(self) -> str:
        "One line: how many cases are right."
        if self.passed is None:
            return f"Not attempted: {len(self.rows)} case{'s' * (len(self.rows) != 1)} to pass."
        right = sum(row[3] is True for row in self.rows)
        return f"{right} of {len(self.rows)} right." + (" Well done." if self.passed else "")

    def _marked(self):
        return [(case, expected, yours, {True: "✓", False: "✗", None: "·"}[ok]) for case, expected, yours, ok in self.rows]

    def _repr_html_(self):
        cells = ["".join(f"<td><code>{html.escape(x)}</code></td>" for x in row[:3]) + f"<td>{row[3]}</td>" for row in self._marked()]
        head = "<tr><th>case</th><th>expected</th><th>yours</th><th>ok</th></tr>"
        return f"<p>{self.summary}</p><table><thead>{head}</thead><tbody>{''.join(f'<tr>{c}</tr>' for c in cells)}</tbody></table>"

    def _repr_markdown_(self):
        def code(text):
            return "`" + text.replace("`", "'").replace("|", "\\|").replace("\n", " ") + "`"

        lines = [f"| {code(case)} | {code(expected)} | {code(yours)} | {ok} |" for case, expected, yours, ok in self._marked()]
        return "\n".join([self.summary, "", "| case | expected | yours | ok |", "|---|---|---|---|", *lines])

    def __repr__(self):
        return "\n".join(
            [self.summary, *(f"{ok} {case}: expected {expected}, yours {yours}" for case, expected, yours, ok in self._marked())]
        )


def _fresh(value):
    "A copy, so that a function that changes its arguments in place spoils nothing."
    if isinstance(value, Tensor):
        return value.detach().clone().requires_grad_(value.requires_grad)
    if isinstance(value, torch.Generator):
        return value.clone_state()
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*map(_fresh, value))
    if isinstance(value, (tuple, list)):
        return type(value)(map(_fresh, value))
    if isinstance(value, dict):
        return {key: _fresh(item) for key, item in value.items()}
    return value if callable(value) else copy.deepcopy(value)


def _is_array(value) -> bool:
    return isinstance(value, Tensor) or (hasattr(value, "__array__") and hasattr(value, "shape"))


def _show(value, limit: int = 60) -> str:
    if isinstance(value, BaseException):
        text = str(value).strip().split("\n")[0]
        return f"{type(value).__name__}: {text}" if text else type(value).__name__
    if _is_array(value):
        value = torch.as_tensor(value).detach().cpu()
        return _show(value.tolist(), limit) if value.numel() <= 8 else f"{'x'.join(map(str, value.shape))} {str(value.dtype)[6:]}"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, (tuple, list)):
        inside = ", ".join(_show(item, limit) for item in value)
        text = f"[{inside}]" if isinstance(value, list) else f"({inside})"
    elif isinstance(value, torch.Generator):
        text = "generator"
    elif callable(value):
        text = getattr(value, "__name__", type(value).__name__)
    else:
        text = repr(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _is_number(value) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _same(yours, expected, tolerance: float) -> bool:
    "Equal within the tolerance (relative above 1, absolute below); NaN equals NaN; shapes, lengths and kinds must agree."
    if isinstance(expected, BaseException):
        return isinstance(yours, type(expected))
    if isinstance(yours, BaseException):
        return False
    if _is_array(expected) or _is_array(yours):
        if not all(_is_array(x) or isinstance(x, (int, float)) for x in (yours, expected)):
            return False
        yours, expected = (torch.as_tensor(x).detach().cpu() for x in (yours, expected))
        if yours.shape != expected.shape or (yours.dtype == torch.bool) != (expected.dtype == torch.bool):
            return False
        wide = torch.complex128 if expected.is_complex() or yours.is_complex() else torch.float64
        return torch.allclose(yours.to(wide), expected.to(wide), rtol=tolerance, atol=tolerance, equal_nan=True)
    if _is_number(expected):
        if not _is_number(yours):
            return False
        alike = math.isclose(yours, expected, rel_tol=tolerance, abs_tol=tolerance)
        return alike or (math.isnan(yours) and math.isnan(expected))
    if isinstance(expected, (tuple, list)):
        fits = isinstance(yours, (tuple, list)) and len(yours) == len(expected)
        return fits and all(_same(y, e, tolerance) for y, e in zip(yours, expected, strict=True))
    if isinstance(expected, dict):
        fits = isinstance(yours, dict) and yours.keys() == expected.keys()
        return fits and all(_same(yours[key], expected[key], tolerance) for key in expected)
    return type(yours) is type(expected) and bool(yours == expected)


def _call(function, case: tuple):
    try:
        return function(*_fresh(case))
    except Exception as error:  # the reader's mistake is shown in the table, it does not stop the page
        return error


def check(
    yours,  # the reader's function
    expected,  # the function that knows the answer
    *cases: tuple,  # the positional arguments of each call
    tolerance: float = 1e-6,  # relative above 1, absolute below
) -> Result:
    """Call both functions on each case and compare: numbers, tensors, booleans, tuples, lists, dicts, or the error raised.

    `NotImplementedError` counts as not attempted, so a page with open exercises runs clean. An error of the reader's is
    shown in the table. Each call gets copies of the arguments. Raises `TypeError` for a case that is not a tuple.
    """
    if not cases:
        raise ValueError("cases: got none, want at least one tuple of arguments")
    for i, case in enumerate(cases):
        if not isinstance(case, tuple):
            raise TypeError(f"cases[{i}]: got {type(case).__name__}, want a tuple of positional arguments")
    rows: list[tuple[str, str, str, bool | None]] = []
    for case in cases:
        shown, mine = ", ".join(_show(argument) for argument in case) or "()", _call(yours, case)
        if isinstance(mine, NotImplementedError):
            rows.append((shown, "shown after a try", NOT_ATTEMPTED, None))
            continue
        wanted = _call(expected, case)
        if isinstance(wanted, NotImplementedError):
            raise wanted
        rows.append((shown, _show(wanted), _show(mine), _same(mine, wanted, tolerance)))
    verdicts = [row[3] for row in rows]
    return Result(None if all(v is None for v in verdicts) else all(v is True for v in verdicts), tuple(rows))
