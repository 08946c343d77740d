"""The checks of exercises: right, wrong, not attempted and broken answers, for every kind of value."""

import math

import pytest
import torch

from contrastive_nb.book.exercises import check
from contrastive_nb.pairs import two_views

X = torch.tensor([[1.0, -2.0], [0.5, 3.0]])


def same(x):
    return x


def open_exercise(x):
    raise NotImplementedError


@pytest.mark.parametrize("answer, wrong", [
    (1.5, 1.5001),
    (3, 4),
    (True, 1),
    (True, False),
    (1, True),
    ("a", "b"),
    (None, 0),
    (math.nan, 0.0),
    (math.inf, 1e300),
    (X, X + 1e-3),
    (X, X[:1]),
    (X, X.tolist()),
    (X > 0, (X > 0).float()),
    (X > 0, ~(X > 0)),
    (torch.tensor(2.0), 2.1),
    ((1.0, X), (1.0, -X)),
    ([1, 2], [1, 2, 3]),
    ({"a": X}, {"b": X}),
    (two_views(X, X), two_views(X, X)[:3]),
])  # fmt: skip
def test_right_and_wrong_answers(answer, wrong):
    assert check(lambda: answer, lambda: answer, ()).passed is True
    assert check(lambda: wrong, lambda: answer, ()).passed is False


def test_a_number_may_come_as_a_tensor_and_a_list_as_a_tuple():
    assert check(lambda: torch.tensor(2.0), lambda: 2.0, ()).passed
    assert check(lambda: [1, 2], lambda: (1, 2), ()).passed


def test_tolerance():
    assert not check(lambda: 1.001, lambda: 1.0, ()).passed
    assert check(lambda: 1.001, lambda: 1.0, (), tolerance=0.01).passed


def test_not_attempted_shows_no_answer_and_stops_nothing():
    result = check(open_exercise, lambda x: 12345.0, (1.0,), (2.0,))
    assert result.passed is None and not result
    for shown in (result._repr_html_(), result._repr_markdown_(), repr(result)):
        assert "not attempted" in shown and "12345" not in shown


def test_half_an_answer_is_not_passed():
    def half(x):
        if x > 1:
            raise NotImplementedError
        return x

    assert check(half, same, (1.0,), (2.0,)).passed is False


def test_the_readers_error_is_shown():
    result = check(lambda x: x / 0, same, (1.0,))
    assert result.passed is False and "ZeroDivisionError: float division by zero" in result._repr_markdown_()


def test_an_error_that_is_asked_for_passes():
    def refuse(x):
        raise ValueError("x: got -1, want a number above 0")

    assert check(refuse, refuse, (-1,)).passed
    assert not check(same, refuse, (-1,)).passed


def test_each_call_gets_its_own_arguments():
    def in_place(x):
        return x.add_(1)

    kept = X.clone()
    assert check(in_place, lambda x: x + 1, (kept,)).passed and kept.equal(X)
    draws = torch.Generator().manual_seed(0)
    assert check(lambda g: torch.rand(3, generator=g), lambda g: torch.rand(3, generator=g), (draws,)).passed


def test_gradients_can_be_asked_for():
    def slope(x):
        (gradient,) = torch.autograd.grad((x**2).sum(), x)
        return gradient

    assert check(slope, lambda x: 2 * x.detach(), (X.clone().requires_grad_(),)).passed


def test_the_table():
    result = check(same, lambda x: x + (x > 1), (1.0,), (2.0,))
    assert [row[3] for row in result.rows] == [True, False] and result.summary == "1 of 2 right."
    assert result._repr_markdown_().splitlines()[2:] == [
        "| case | expected | yours | ok |",
        "|---|---|---|---|",
        "| `1` | `1` | `1` | ✓ |",
        "| `2` | `3` | `2` | ✗ |",
    ]
    assert result._repr_html_().count("<tr>") == 3
    assert "&lt;" in check(lambda: "<b>", lambda: "<b>", ())._repr_html_()


def test_wrong_use_is_refused():
    with pytest.raises(TypeError, match=r"cases\[0\]: got float, want a tuple"):
        check(same, same, 1.0)
    with pytest.raises(ValueError, match="cases: got none"):
        check(same, same)
    with pytest.raises(NotImplementedError):  # the author's mistake, not the reader's
        check(same, open_exercise, (1.0,))
