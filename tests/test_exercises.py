"""The checks of exercises: right, wrong, not begun and broken answers, for every kind of value, and what is said of each."""

import math

import numpy as np
import pytest
import torch

from contrastive_nb.book import exercises
from contrastive_nb.book.exercises import check
from contrastive_nb.pairs import two_views

X = torch.tensor([[1.0, -2.0], [0.5, 3.0]])


@pytest.fixture(autouse=True)
def fresh_kernel():
    exercises._tries.clear()
    exercises._solved.clear()


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
    (X, [[1.0, -2.0], [0.5]]),
    ((X, X), torch.stack([X, X])),
    ({1, 2}, {1, 2, 3}),
    ({1, 2}, [1]),
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


@pytest.mark.parametrize("wanted, forms", [
    (2, [2, 2.0, torch.tensor(2.0), torch.tensor(2), np.float32(2), np.array(2), torch.tensor(2.0, dtype=torch.float64)]),
    (0.1, [0.1, torch.tensor(0.1), np.float32(0.1), np.float64(0.1)]),
    (True, [True, np.bool_(True), torch.tensor(True)]),
    ((1.5, 2), [(1.5, 2), [1.5, 2.0], torch.tensor([1.5, 2.0]), np.array([1.5, 2.0]), (torch.tensor(1.5), np.int64(2))]),
    ([1, 2], [range(1, 3), (1, 2), torch.tensor([1, 2])]),
    ([], [[], (), torch.zeros(0)]),
    (X, [X.double(), X.numpy(), X.tolist(), tuple(map(tuple, X.tolist())), list(X)]),
    (X > 0, [(X > 0).numpy(), (X > 0).tolist()]),
    ((X, X > 0), [[X, X > 0], (X.numpy(), (X > 0).tolist())]),
    ({"a", "b"}, [{"a", "b"}, ["b", "a"], ("a", "b"), frozenset("ab")]),
    ("not reproduced", ["not reproduced", "Not  reproduced"]),
])  # fmt: skip
def test_any_right_form_is_accepted(wanted, forms):
    for form in forms:
        assert check(lambda form=form: form, lambda: wanted, ()).passed, form


@pytest.mark.parametrize("yours, wanted, says", [
    (0.51, 0.48, "yours 0.51, want 0.48"),
    (88.0000016, 88.01, "yours 88, want 88.01"),
    (1.00001999, 1.00004, "yours 1.00002, want 1.00004"),
    (None, 1.0, "None, want a number (is there a `return`?)"),
    (None, X, "None, want a tensor (is there a `return`?)"),
    ("3", 3, "a text, want a number"),
    (True, 1, "a bool, want a number"),
    (1, True, "a number, want a bool"),
    (torch.stack([X, X]), (X, X), "a tensor, want a tuple of two"),
    ((X, X, X), (X, X), "a tuple of three, want a tuple of two"),
    (X, 1.0, "shape (2, 2), want one number"),
    ((X > 0).float(), X > 0, "float32, want bool"),
    (torch.zeros(4, 3), torch.zeros(4), "shape (4, 3), want (4,)"),
    (torch.tensor([[1.0, -2.0], [0.6, 3.0]]), X, "row 1, column 0: yours 0.6, want 0.5"),
    (X + 1, X, "row 0, column 0: yours 2, want 1 (4 of 4 differ)"),
    (torch.tensor([1, 2, 4]), torch.tensor([1, 2, 3]), "index 2: yours 4, want 3"),
    (torch.zeros(2, 2, 2), torch.eye(2).expand(2, 2, 2) * torch.tensor([0, 1])[:, None, None], "index [1, 0, 0]: yours 0, want 1 (2 of 8 differ)"),
    ((X, X.T), (X, X), "second part, row 0, column 1: yours 0.5, want -2 (2 of 4 differ)"),
    (([1, 2],), ([1, 3],), "first part, index 1: yours 2, want 3"),
    ([1, "b"], [1, 2], "index 1: a text, want a number"),
    (~(X > 0), X > 0, "row 0, column 0: yours False, want True (4 of 4 differ)"),
    ({"a": 1}, {"b": 1}, "keys ['a'], want keys ['b']"),
    ({"a": 1}, {"a": 2}, "key 'a': yours 1, want 2"),
    ({"a", "c"}, {"a", "b"}, "yours has 'c', want it left out"),
    ({"a"}, {"a", "b"}, "yours has 1 of them, want 2"),
    ("abc", {"a", "b"}, "a text, want a set of two"),
    ("a", "b", "yours 'a', want 'b'"),
    (math.nan, 1.0, "yours nan, want 1"),
    (same, X, "a function, want a tensor"),
])  # fmt: skip
def test_what_differs_is_named_by_its_place_and_values(yours, wanted, says):
    for result in (
        check(lambda: yours, lambda: wanted, ()),
        check(lambda first: wanted if first else yours, lambda first: wanted, (True,), (False,)),
    ):
        place = "case 2" if len(result.rows) > 1 else ""
        joined = f"{place}, {says}" if place and exercises._differs(yours, wanted, 1e-5)[1:] else f"{place}: {says}" if place else says
        assert not result.passed and result.says == joined


def test_not_begun_shows_no_answer_and_stops_nothing():
    result = check(open_exercise, lambda x: 12345.0, (1.0,), (2.0,))
    assert result.passed is None and not result
    for shown in (result._repr_html_(), result._repr_markdown_(), repr(result)):
        assert "not begun" in shown and "Write your answer into" in shown and "open_exercise" in shown and "12345" not in shown


def test_half_an_answer_is_not_passed():
    def half(x):
        if x > 1:
            raise NotImplementedError
        return x

    result = check(half, same, (1.0,), (2.0,))
    assert result.passed is False and result.says == "case 2 is not begun: there your function raises NotImplementedError"


def halved(x):
    nothing = 0
    return x / nothing


def test_the_readers_error_is_shown_with_its_line():
    for yours in (halved, lambda x: [halved(y) for y in [x]][0]):
        result = check(yours, same, (1.0,))
        line = halved.__code__.co_firstlineno + 2
        assert result.passed is False and "ZeroDivisionError: float division by zero" in result._repr_markdown_()
        assert result.says == (
            f"line {line} of your code, `return x / nothing`, raised ZeroDivisionError: float division by zero, want a number"
        )


def test_an_error_deep_inside_is_shown_where_the_readers_code_called():
    def deep(x):
        return torch.linalg.solve(x, x[0])

    result = check(deep, same, (torch.zeros(2, 3),))
    assert "`return torch.linalg.solve(x, x[0])`, raised" in result.says and "<code>return torch" in result._repr_html_()


def test_a_function_of_too_few_arguments_is_told_so():
    assert "how it was called, does not fit: TypeError" in check(lambda: 1, same, (1.0,)).says


# --- exercises that ask for an input, hints and progress ---------------------------------------------------------------------------


def measured(make):
    first, second = make()
    yield "their sum", first + second, "<", 1e-3
    yield "the first", first, "==", 1


@pytest.mark.parametrize("answer, says", [
    ((1, 0.5), "their sum: yours 1.5, want < 0.001"),
    ((-2.0, 1.0), "the first: yours -2, want 1"),
    (3.0, "what came back, or how it was called, does not fit: TypeError: cannot unpack non-iterable float object, want an answer that can be measured"),
    ((torch.tensor(math.nan), 1.0), "their sum: yours nan, want < 0.001"),
])  # fmt: skip
def test_an_input_that_misses_is_told_by_the_number_that_missed(answer, says):
    result = check(lambda: answer, asks=measured)
    assert result.passed is False and result.says == says


@pytest.mark.parametrize("answer", [(1, -1), [1.0, -1.0], torch.tensor([1.0, -1.0]), np.array([1.0, -1.0])])
def test_an_input_that_does_it_passes_in_any_form(answer):
    assert check(lambda: answer, asks=measured).passed


def test_an_input_not_begun_is_no_failure():
    def my_input():
        raise NotImplementedError

    result = check(my_input, asks=measured, hints=["Think of it."], of=1)
    assert result.passed is None and not exercises._tries and "my_input" in result.says


def test_what_is_compared_may_be_made_of_the_readers_function():
    def slope(loss):
        return lambda x: torch.autograd.grad(loss(x), x)[0]

    x = (X.clone().requires_grad_(),)

    def my_loss(x):
        return (x**2).sum()

    def my_other(x):
        return (x**3).sum()

    assert check(my_loss, lambda x: 2 * x.detach(), x, through=slope, of=1).passed and exercises._solved == {"my_loss"}
    assert check(my_other, lambda x: 2 * x.detach(), x, through=slope).says.startswith("row 0, column 0: yours 3, want 2")


def test_a_failing_try_shows_one_hint_more_and_at_last_where_the_solution_is():
    def my_guess(x):
        return 0

    hints = ["Look at the first.", "Look at the second."]
    seen = [check(my_guess, same, (1.0,), hints=hints) for _ in range(4)]
    assert [r.hint for r in seen] == ["Hint 1 of 2: Look at the first.", "Hint 2 of 2: Look at the second.", *[exercises.NO_HINT_LEFT] * 2]
    for shown in (seen[0]._repr_html_(), seen[0]._repr_markdown_(), repr(seen[0])):
        assert hints[0] in shown and hints[1] not in shown
    assert "olution" in seen[2]._repr_html_()


def test_hints_are_counted_for_each_function_and_not_for_what_passes_or_is_not_begun():
    def my_other(x):
        return 0

    for yours in (same, open_exercise):
        assert check(yours, same, (1.0,), hints=["A hint for it."]).hint == ""
    assert check(my_other, same, (1.0,), hints=["A hint for it."]).hint == "Hint 1 of 1: A hint for it."


def test_what_passes_is_counted_once():
    def another(x):
        return x

    assert check(same, same, (1.0,), of=2).progress == "1 of 2 exercises of this page solved."
    assert check(same, same, (1.0,), of=2).progress == "1 of 2 exercises of this page solved."
    assert check(lambda x: 0, same, (1.0,), of=2).progress == "" and check(another, same, (1.0,)).progress == ""
    assert "2 of 2 exercises of this page solved: all that check themselves." in check(another, same, (1.0,), of=2)._repr_html_()


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
    assert result.says == "case 2: yours 2, want 3"
    assert result._repr_markdown_().splitlines()[4:] == [
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
    with pytest.raises(ValueError, match="expected, asks: got neither, want one of them"):
        check(same)
    with pytest.raises(ValueError, match="expected, asks: got both"):
        check(same, same, (1.0,), asks=measured)
    with pytest.raises(NotImplementedError):  # the author's mistake, not the reader's
        check(same, open_exercise, (1.0,))
