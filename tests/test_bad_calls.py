"""Every public function answers a bad call by name: which argument, what came, what is wanted; and changes nothing."""

import importlib
import sys
import textwrap
from collections.abc import Callable

import good_calls
import pytest
from bad_calls import call, public, table
from good_calls import GOOD, LOADED

from contrastive_nb import files, pairs

SHARE = 0.99  # of the bad calls that are answered well


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setattr(good_calls, "HOME", tmp_path)
    monkeypatch.setenv(files.BUILD, str(tmp_path / "build"))


def answers(functions: dict[str, Callable], good: dict[str, Callable]) -> tuple[int, list[str]]:
    "How many bad calls were made, and those that were not answered well."
    found = [(place, *row) for place, thing in functions.items() for row in table(thing, good[place])]
    return len(found), [f"{place}({argument}): {how}: {fault}" for place, argument, how, fault in found if fault]


@pytest.fixture(scope="module")
def functions() -> dict[str, Callable]:
    return public()


def test_every_public_function_has_a_good_call():
    assert set(public()) == GOOD.keys() | LOADED.keys()
    assert not GOOD.keys() & LOADED.keys()


@pytest.mark.parametrize("place", GOOD)
def test_a_good_call_is_good(place, functions):
    call(functions[place], GOOD[place]())


def test_bad_calls_are_answered_by_name(functions):
    count, wrong = answers(functions, GOOD | LOADED)
    print(*wrong, sep="\n")
    assert count > 4000 and 1 - len(wrong) / count >= SHARE, "\n".join(wrong)


def test_a_new_function_is_among_them_at_once(monkeypatch):
    monkeypatch.setattr(pairs, "planted", lambda x: x, raising=False)
    monkeypatch.setattr(pairs, "__all__", [*pairs.__all__, "planted"])
    with pytest.raises(AssertionError):
        test_every_public_function_has_a_good_call()


# --- what the generator can see -------------------------------------------------------------------------------------------------

PLANTED = {
    "careless": """
        return x.sum() * factor if flag else x
    """,
    "nameless": """
        if not isinstance(x, Tensor) or x.dim() != 2 or not x.is_floating_point() or type(factor) is not float or not 0 <= factor <= 1:
            raise ValueError("got nonsense, want sense")
        if flag not in (True, False) or type(flag) is not bool:
            raise ValueError("got nonsense, want sense")
        return x
    """,
    "silent": """
        check_floating("x", x, (2,))
        if not 0 <= check_number("factor", factor, -9e9) <= 1:
            raise ValueError("factor is wrong")
        check_flag("flag", flag)
        return x
    """,
    "greedy": """
        store[0] += 1
        check_floating("x", x, (2,))
        check_number("factor", factor, 0, 1)
        check_flag("flag", flag)
        return x
    """,
    "careful": """
        check_floating("x", x, (2,))
        check_is("store", store, Tensor, "a tensor")
        check_like("store", check_floating("store", store, (1,)), "x", x)
        check_number("factor", factor, 0, 1)
        check_flag("flag", flag)
        return x
    """,
}

HEAD = """
from torch import Tensor
from contrastive_nb.checks import check_flag, check_floating, check_is, check_like, check_number
__all__ = ["planted"]

def planted(
    x: Tensor,  # (N, D) numbers
    store: Tensor,  # (M,) what was there before
    factor: float = 0.5,  # in [0, 1]
    flag: bool = True,
):
"""


@pytest.mark.parametrize("name, told", [
    ("careless", "planted(factor): out of range: above: is accepted"),
    ("nameless", "planted(x): wrong type: text: names no argument"),
    ("silent", "planted(factor): out of range: above: says not what came"),
    ("greedy", "planted(x): wrong type: text: something that was passed in is changed"),
    ("careful", None),
])  # fmt: skip
def test_a_function_that_answers_badly_is_found(name, told, tmp_path, monkeypatch):
    package = tmp_path / f"shelf_{name}"
    (package / "deep").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "deep" / "__init__.py").write_text(HEAD + textwrap.indent(textwrap.dedent(PLANTED[name]), "    "))
    monkeypatch.syspath_prepend(tmp_path)
    functions = public(importlib.import_module(package.name))
    assert list(functions) == ["deep:planted"]
    count, wrong = answers(functions, {"deep:planted": lambda: dict(x=good_calls.draw(4, 3), store=good_calls.draw(5, seed=1))})
    assert count > 30
    assert any(line.startswith(f"deep:{told}") for line in wrong) if told else wrong == []
    assert (1 - len(wrong) / count >= SHARE) == (told is None)
    for module in [key for key in sys.modules if key.startswith(package.name)]:
        del sys.modules[module]
