"""Checks for the reader's own code: the first place that differs, and a hint a try. Plain module: it teaches nothing about the methods."""

import copy
import html
import linecache
import operator
import re
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

NOT_BEGUN = "not begun"
NO_HINT_LEFT = "No hint is left. In the book the solution stands in the folded cell below; a course's pages have none."
RELATIONS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "==": operator.eq, "!=": operator.ne}
COUNTS = ("none", "one", "two", "three", "four", "five", "six")
PLACES = ("first", "second", "third", "fourth", "fifth", "sixth")
_tries: dict[str, int] = {}  # of this kernel: how often each function of the reader's has failed
_solved: set[str] = set()  # and which ones have passed


@dataclass(frozen=True)
class Result:
    """What `check` found: `passed` is True, False, or None while the exercise is not begun.

    `rows` has (case, expected, yours, ok) for each case, as text and True, False or None. `says` has the first place that differs,
    `hint` what may help, `progress` how much of the page is done. Shown as a few lines and a small table.
    """

    passed: bool | None
    rows: tuple
    says: str = ""
    hint: str = ""
    progress: str = ""

    def __bool__(self):
        return self.passed is True

    @property
    def summary(self) -> str:
        "One line: how many cases are right."
        if self.passed is None:
            return f"Not begun: {len(self.rows)} case{'s' * (len(self.rows) != 1)} to pass."
        right = sum(row[3] is True for row in self.rows)
        return f"{right} of {len(self.rows)} right." + (" Well done." if self.passed else "")

    @property
    def _told(self):
        return [line for line in (self.summary, self.says, self.hint, self.progress) if line]

    def _marked(self):
        return [(case, expected, yours, {True: "✓", False: "✗", None: "·"}[ok]) for case, expected, yours, ok in self.rows]

    def _repr_html_(self):
        told = re.sub(r"`([^`]+)`", r"<code>\1</code>", "".join(f"<p>{html.escape(line)}</p>" for line in self._told))
        cells = ["".join(f"<td><code>{html.escape(x)}</code></td>" for x in row[:3]) + f"<td>{row[3]}</td>" for row in self._marked()]
        head = "<tr><th>case</th><th>expected</th><th>yours</th><th>ok</th></tr>"
        return f"{told}<table><thead>{head}</thead><tbody>{''.join(f'<tr>{c}</tr>' for c in cells)}</tbody></table>"

    def _repr_markdown_(self):
        def code(text):
            return "`" + text.replace("`", "'").replace("|", "\\|").replace("\n", " ") + "`"

        told = [
            re.sub(r"`[^`]*`|[<&]", lambda found: html.escape(found[0]) if len(found[0]) == 1 else found[0], line) for line in self._told
        ]
        lines = [f"| {code(case)} | {code(expected)} | {code(yours)} | {ok} |" for case, expected, yours, ok in self._marked()]
        return "\n".join(["\n\n".join(told), "", "| case | expected | yours | ok |", "|---|---|---|---|", *lines])

    def __repr__(self):
        return "\n".join(
            [*self._told, *(f"{ok} {case}: expected {expected}, yours {yours}" for case, expected, yours, ok in self._marked())]
        )


# --- values, in words ---------------------------------------------------------------------------------------------------


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


def _is_number(value) -> bool:
    return isinstance(value, (bool, int, float))


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


def _kind(value) -> str:
    "What a value is, in words: 'a tensor', 'a tuple of two'."
    if value is None or isinstance(value, BaseException):
        return _show(value)
    if _is_array(value):
        alone = "a bool" if _dtype(value) == "bool" else "a number"
        return alone if not len(value.shape) else "a tensor" if isinstance(value, Tensor) else "an array"
    if isinstance(value, (tuple, list, set, frozenset, dict)):
        return f"a {type(value).__name__} of {COUNTS[len(value)] if len(value) < len(COUNTS) else len(value)}"
    named = {bool: "a bool", int: "a number", float: "a number", complex: "a complex number", str: "a text"}
    return named.get(type(value)) or ("a function" if callable(value) else f"a {type(value).__name__}")


def _dtype(value) -> str:
    return str(value.dtype).removeprefix("torch.")


def _pair(yours, wanted) -> str:
    "Two values with as many digits as tell them apart."
    if not all(isinstance(x, (int, float)) and not isinstance(x, bool) for x in (yours, wanted)):
        return f"yours {yours}, want {wanted}"
    for digits in (4, 6, 9, 17):
        shown = [f"{x:.{digits}g}" for x in (yours, wanted)]
        if shown[0] != shown[1]:
            break
    return "yours {}, want {}".format(*shown)


def _index(at: Sequence[int]) -> tuple[str, ...]:
    "The place of an entry in words; none for a number that stands alone."
    if len(at) == 2:
        return f"row {at[0]}", f"column {at[1]}"
    return (f"index {at[0] if len(at) == 1 else list(at)}",) if at else ()


# --- where two values differ: the words of the place, then what differs there ---------------------------------------------------


def _numbers(value) -> Tensor | None:
    "A number, an array, or a list of lists of them, as one tensor; None for anything else, a ragged list among it."
    if isinstance(value, bool) or _is_array(value):
        try:
            return torch.as_tensor(value).detach().cpu()
        except (TypeError, RuntimeError, ValueError):  # an array of texts
            return None
    if _is_number(value):
        return torch.tensor(float(value), dtype=torch.float64)
    if not isinstance(value, (tuple, list, range)):
        return None
    parts = [part for item in value if (part := _numbers(item)) is not None]
    if len(parts) < len(value) or len({(part.shape, part.dtype == torch.bool) for part in parts}) > 1:
        return None
    return torch.stack([part if part.dtype == torch.bool else part.double() for part in parts]) if parts else torch.zeros(0)


def _differs_as_array(yours: Tensor, wanted: Tensor, tolerance: float) -> tuple[str, ...]:
    if yours.shape != wanted.shape:
        return (f"shape {tuple(yours.shape)}, want " + (str(tuple(wanted.shape)) if wanted.ndim else "one number"),)
    if (yours.dtype == torch.bool) != (wanted.dtype == torch.bool) and wanted.numel():
        kinds = ["a bool" if x.dtype == torch.bool else "a number" for x in (yours, wanted)]
        return (f"{kinds[0]}, want {kinds[1]}" if not wanted.ndim else f"{_dtype(yours)}, want {_dtype(wanted)}",)
    wide = torch.complex128 if wanted.is_complex() or yours.is_complex() else torch.float64
    off = ~torch.isclose(yours.to(wide), wanted.to(wide), rtol=tolerance, atol=tolerance, equal_nan=True)
    if not off.any():
        return ()
    at = tuple(off.nonzero()[0].tolist())
    many = f" ({off.sum().item()} of {off.numel()} differ)" if off.sum() > 1 else ""
    return *_index(at), _pair(yours[at].item(), wanted[at].item()) + many


def _differs_in_parts(yours, wanted: tuple | list, tolerance: float) -> tuple[str, ...]:
    if _is_array(yours) and not any(map(_is_array, wanted)):
        yours = torch.as_tensor(yours).tolist()
    if not isinstance(yours, (tuple, list, range)) or len(yours) != len(wanted):
        return (f"{_kind(yours)}, want {_kind(list(wanted) if isinstance(wanted, list) else tuple(wanted))}",)
    parts: list[tuple[str, ...]] = [(f"{PLACES[i]} part" if i < len(PLACES) else f"part {i + 1}",) for i in range(len(wanted))]
    if isinstance(wanted, list):
        parts = [_index((i,)) for i in range(len(wanted))]
    for part, mine, theirs in zip(parts, yours, wanted, strict=True):
        if said := _differs(mine, theirs, tolerance):
            return *part, *said
    return ()


def _differs_as_set(yours, wanted) -> tuple[str, ...]:
    if isinstance(yours, str) or not isinstance(yours, Iterable):
        return (f"{_kind(yours)}, want {_kind(wanted)}",)
    yours = list(yours)
    if extra := [item for item in yours if item not in wanted]:
        return (f"yours has {_show(extra[0])}, want it left out",)
    missing = [item for item in wanted if item not in yours]
    return (f"yours has {len(wanted) - len(missing)} of them, want {len(wanted)}",) if missing else ()


def _differs_as_dict(yours, wanted: dict, tolerance: float) -> tuple[str, ...]:
    if not isinstance(yours, dict) or yours.keys() != wanted.keys():
        keys = f"keys {sorted(map(str, yours))}" if isinstance(yours, dict) else _kind(yours)
        return (f"{keys}, want keys {sorted(map(str, wanted))}",)
    found = ((key, _differs(yours[key], wanted[key], tolerance)) for key in wanted)
    return next(((f"key {_show(key)}", *said) for key, said in found if said), ())


def _differs_else(yours, wanted) -> tuple[str, ...]:
    if type(yours) is not type(wanted):
        return (f"{_kind(yours)}, want {_kind(wanted)}",)
    same = yours.casefold().split() == wanted.casefold().split() if isinstance(wanted, str) else bool(yours == wanted)
    return () if same else (f"yours {_show(yours)}, want {_show(wanted)}",)


def _differs(yours, wanted, tolerance: float) -> tuple[str, ...]:
    """The first place where two values differ; empty where they agree within the tolerance (relative above 1, absolute below).

    Any form of the same numbers will do; NaN equals NaN. Numbers and truth values are two kinds, and shapes and lengths must agree.
    """
    if isinstance(wanted, BaseException):
        return () if isinstance(yours, type(wanted)) else (f"{_kind(yours)}, want {type(wanted).__name__} to be raised",)
    if yours is None and wanted is not None:
        return (f"None, want {_kind(wanted)} (is there a `return`?)",)
    if _is_number(wanted) or _is_array(wanted):
        mine, theirs = _numbers(yours), _numbers(wanted)
        return (f"{_kind(yours)}, want {_kind(wanted)}",) if mine is None or theirs is None else _differs_as_array(mine, theirs, tolerance)
    if isinstance(wanted, (tuple, list)):
        return _differs_in_parts(yours, wanted, tolerance)
    if isinstance(wanted, (set, frozenset)):
        return _differs_as_set(yours, wanted)
    return _differs_as_dict(yours, wanted, tolerance) if isinstance(wanted, dict) else _differs_else(yours, wanted)


def _tell(*words: str) -> str:
    "A place and what is there: 'case 2, row 3: yours 1, want 2'."
    return ": ".join(filter(None, (", ".join(words[:-1]), words[-1])))


# --- the reader's function ----------------------------------------------------------------------------------------------------


def _call(function, case: tuple):
    try:
        return function(*_fresh(case))
    except Exception as error:  # the reader's mistake is told, it does not stop the page
        return error


def _raised(error: BaseException, yours) -> str:
    "An error with the line of the reader's own code where it was raised."
    code = getattr(yours, "__code__", None)
    frames = list(traceback.walk_tb(error.__traceback__))
    start = next((i for i, (frame, _) in enumerate(frames) if frame.f_code is code), len(frames))
    home = getattr(code, "co_filename", "")
    lines = [(frame, number) for frame, number in frames[start:] if frame.f_code.co_filename == home]
    if not lines:
        return f"what came back, or how it was called, does not fit: {_show(error)}"
    frame, number = lines[-1]
    text = linecache.getline(home, number, frame.f_globals).strip()
    where = f"line {number} of your code" + (f", `{text}`" if text else "")
    return f"{where}, raised {_show(error)}"


def _by_cases(yours, told, expected, cases, tolerance) -> tuple[list, str]:
    "The rows of the table and the first difference: the reader's function beside the one that knows."
    rows: list[tuple[str, str, str, bool | None]] = []
    says = ""
    for i, case in enumerate(cases, 1):
        shown, mine = ", ".join(_show(argument) for argument in case) or "()", _call(told, case)
        if isinstance(mine, NotImplementedError):
            rows.append((shown, "shown after a try", NOT_BEGUN, None))
            continue
        wanted = _call(expected, case)
        if isinstance(wanted, NotImplementedError):
            raise wanted
        failed = isinstance(mine, BaseException) and not isinstance(wanted, BaseException)
        said = (f"{_raised(mine, yours)}, want {_kind(wanted)}",) if failed else _differs(mine, wanted, tolerance)
        rows.append((shown, _show(wanted), _show(mine), not said))
        says = says or (_tell(*[f"case {i}"] * (len(cases) > 1), *said) if said else "")
    open_still = next((i for i, row in enumerate(rows, 1) if row[3] is None), None)
    if open_still and not says:
        says = f"case {open_still} is not begun: there your function raises NotImplementedError"
    return rows, says


def _by_asking(yours, asks, tolerance) -> tuple[list, str]:
    "The rows and the first wish that is not met, each (what, number, relation, bound)."
    rows: list[tuple[str, str, str, bool | None]] = []
    says = ""
    try:
        for what, value, relation, bound in asks(yours):
            value = value.item() if _is_array(value) else value
            met = not _differs(value, bound, tolerance) if relation == "==" else bool(RELATIONS[relation](value, bound))
            wish = _show(bound) if relation == "==" else f"{relation} {_show(bound)}"
            rows.append((what, wish, _show(value), met))
            says = says or ("" if met else f"{what}: yours {_show(value)}, want {wish}")
    except NotImplementedError:
        rows = [(getattr(yours, "__name__", "yours"), "shown after a try", NOT_BEGUN, None)]
    except Exception as error:
        said = _raised(error, yours)
        rows.append((getattr(yours, "__name__", "yours"), "an answer", _show(error), False))
        says = says or f"{said}, want an answer that can be measured"
    return rows, says


def _hint(name: str, hints: Sequence[str]) -> str:
    "The next hint: one a failing try, and after the last where the solution is."
    _tries[name] = tried = _tries.get(name, 0) + 1
    return f"Hint {tried} of {len(hints)}: {hints[tried - 1]}" if tried <= len(hints) else NO_HINT_LEFT


def _progress(name: str, of: int) -> str:
    _solved.add(name)
    return f"{len(_solved)} of {of} exercises of this page solved" + (": all that check themselves." if len(_solved) == of else ".")


def check(
    yours: Callable,  # the reader's function
    expected: Callable | None = None,  # the function that knows the answer
    *cases: tuple,  # the positional arguments of each call
    asks: Callable | None = None,  # in place of `expected`: from the reader's function to (what, number, relation, bound) for each wish
    through: Callable | None = None,  # turns the reader's function into the one that is compared
    hints: Sequence[str] = (),  # shown one a failing try
    of: int | None = None,  # how many exercises of the page are checked; None where a pass is not counted
    tolerance: float = 1e-5,  # relative above 1, absolute below: what float32 can tell
) -> Result:
    """Call both functions on each case and say where they first differ; or measure what the reader's function makes.

    Numbers may be of any form that holds them: number, list, tuple, array or tensor of any precision. `NotImplementedError` counts as not
    begun, so a page with open exercises runs clean. An error of the reader's is shown with its line. Each call gets copies of the
    arguments. Tries and passes are counted in this process alone. Raises `TypeError` for a case that is not a tuple, `ValueError` where
    there is nothing to compare with.
    """
    if (expected is None) == (asks is None):
        raise ValueError(f"expected, asks: got {'neither' if asks is None else 'both'}, want one of them")
    if expected is not None and not cases:
        raise ValueError("cases: got none, want at least one tuple of arguments")
    for i, case in enumerate(cases):
        if not isinstance(case, tuple):
            raise TypeError(f"cases[{i}]: got {type(case).__name__}, want a tuple of positional arguments")
    name = getattr(yours, "__name__", type(yours).__name__)
    if asks is not None:
        rows, says = _by_asking(yours, asks, tolerance)
    else:
        rows, says = _by_cases(yours, through(yours) if through else yours, expected, cases, tolerance)
    verdicts = [row[3] for row in rows]
    if all(v is None for v in verdicts):
        return Result(None, tuple(rows), f"Write your answer into `{name}`, run that cell, then run this one again.")
    passed = all(v is True for v in verdicts)
    hint = _hint(name, hints) if hints and not passed else ""
    return Result(passed, tuple(rows), says, hint, _progress(name, of) if passed and of else "")
