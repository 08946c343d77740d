"""Every exercise of every page: the stub, the solution, right answers of other forms, and wrong ones, each through the page's own check."""

import ast
import functools
import json
import math

import anatomy
import numpy as np
import pytest
import torch
from exercise_answers import ANSWERS

from contrastive_nb.book import exercises
from contrastive_nb.lab import freshness

PAGES = {name: path for name, path in anatomy.pages().items() if "NotImplementedError" in path.read_text(encoding="utf-8")}


# --- the cells of a page that its exercises need --------------------------------------------------------------------------------


def binds(node) -> set[str]:
    "The names that a statement binds, or whose things it changes; none for what only shows or asserts."
    imported = (
        {alias.asname or alias.name.split(".")[0] for alias in node.names} if isinstance(node, (ast.Import, ast.ImportFrom)) else set()
    )
    return set() if isinstance(node, ast.Assert) else imported | freshness._bound([node]) | freshness._changed(node)


def reads(node) -> set[str]:
    return {chain[0] for chain in freshness._uses(node)}


def needed(statements, names) -> list:
    "Those of the statements that the names need, and what these need in turn."
    kept: set[int] = set()
    while new := {i for i, node in enumerate(statements) if i not in kept and binds(node) & names}:
        kept |= new
        names = names.union(*(reads(statements[i]) for i in new))
    return [statements[i] for i in sorted(kept)]


class Exercise:
    "The cells of one exercise, and the name of the reader's function."

    def __init__(self, cells):
        plain = [cell for cell in cells if cell.is_plain]
        self.stub = next(cell for cell in plain if "raise NotImplementedError" in cell.source)
        self.solved = next(cell for cell in plain if "solution" in cell.tags)
        self.check = next(cell for cell in plain if cell.calls("check") and cell is not self.solved)
        self.others = [cell for cell in plain if cell not in (self.stub, self.solved, self.check)]
        self.name = self.check.calls("check")[0].args[0].id
        self.solution = next(node.name for node in self.solved.tree.body if getattr(node, "name", "").startswith("solution_"))

    def tried(self, names, answer=None, again=False):
        "What the page's check says of an answer that the reader has written."
        if not again:
            exercises._tries.clear()
        if answer is not None:
            answer.__name__ = self.name
            names[self.name] = answer
        return eval(self.check.text, names)


def read(name):
    "A page, and those of its exercises that are checked by code."
    page = anatomy.Page(name, json.loads(PAGES[name].read_text(encoding="utf-8")), anatomy.ROOT / "data" / "claims")
    return page, [Exercise(cells) for _, cells in anatomy.tasks(page) if anatomy.is_coded(cells)]


@functools.cache
def opened(name):
    "The names of a page after what its exercises need, and its exercises by the reader's function."
    page, found = read(name)
    used = set().union(*(reads(cell.tree) for one in found for cell in (one.stub, one.solved, one.check, *one.others)))
    first = page.section("Exercises")[0].number
    before = [node for cell in page.code if cell.number < first for node in cell.tree.body]
    names = {"__name__": "page"}
    for node in needed(before, used):
        exec(compile(ast.Module([node], []), f"{name}, before", "exec"), names)
    for one in found:
        for cell in (one.stub, *one.others, one.solved):
            exec(compile(cell.text, f"{name}, cell {cell.number}", "exec"), names)
    return names, {one.name: one for one in found}


def answer(text, names, one):
    "An answer of the table, in the page's names; `solution` is the page's own."
    common = {"math": math, "np": np, "torch": torch, "F": torch.nn.functional, "solution": names[one.solution]}
    return eval(text, common | names | {"solution": names[one.solution]})


# --- other forms of the same answer ---------------------------------------------------------------------------------------------------


def as_array(value):
    "The same numbers as numpy has them; None where they are no numbers."
    if isinstance(value, torch.Tensor):
        return value.detach().numpy()
    return np.asarray(value)[()] if isinstance(value, (bool, int, float)) else None


def as_tensor(value):
    return (
        torch.as_tensor(value, dtype=None if isinstance(value, bool) else torch.float32) if isinstance(value, (bool, int, float)) else None
    )


def as_list(value):
    if isinstance(value, torch.Tensor):
        return value.tolist()
    return list(value) if isinstance(value, tuple) else tuple(value) if isinstance(value, (list, set)) else None


def as_single(value):
    "In float32, where the answer is in float64."
    return value.float() if isinstance(value, torch.Tensor) and value.dtype == torch.float64 else None


def forms(solution):
    "The solution with what it returns in another form, for each form that there is of it."
    for form in (as_array, as_tensor, as_list, as_single):

        def other(*arguments, form=form):
            value = solution(*arguments)
            return value if (made := form(value)) is None else made

        yield form.__name__, other


# --- the tests --------------------------------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def fresh_kernel():
    exercises._tries.clear()
    exercises._solved.clear()


def test_every_page_and_every_exercise_has_its_entries():
    assert set(ANSWERS) == set(PAGES)
    for name in PAGES:
        _, found = read(name)
        assert [one.name for one in found] == list(ANSWERS[name]), name
        for one in found:
            entry = ANSWERS[name][one.name]
            assert len(set(entry["wrong"])) >= 2 and (entry.get("right") or entry.get("forms", True)), f"{name}: {one.name}"


@pytest.mark.parametrize("name", PAGES)
def test_a_stub_is_not_begun_and_no_failure(name):
    names, found = opened(name)
    for one in found.values():
        exec(compile(one.stub.text, "stub", "exec"), names)
        result = one.tried(names)
        assert result.passed is None and not result.hint and f"`{one.name}`" in result.says, one.name


@pytest.mark.parametrize("name", PAGES)
def test_solutions_pass_and_are_counted(name):
    names, found = opened(name)
    for i, one in enumerate(found.values(), 1):
        result = one.tried(names, lambda *arguments, solution=names[one.solution]: solution(*arguments))
        assert result.passed and result.progress.startswith(f"{i} of {len(found)} exercises of this page solved"), (one.name, result)


@pytest.mark.parametrize("name", PAGES)
def test_right_answers_of_other_forms_pass(name):
    names, found = opened(name)
    for one in found.values():
        entry = ANSWERS[name][one.name]
        others = dict(forms(names[one.solution])) if entry.get("forms", True) else {}
        others |= {text: answer(text, names, one) for text in entry.get("right", ())}
        for form, other in others.items():
            result = one.tried(names, other)
            assert result.passed, f"{one.name}, {form}: {result}"


@pytest.mark.parametrize("name", PAGES)
def test_wrong_answers_are_refused_in_words_that_name_the_place_and_the_values(name):
    names, found = opened(name)
    for one in found.values():
        for text in ANSWERS[name][one.name]["wrong"]:
            result = one.tried(names, answer(text, names, one))
            assert result.passed is False, f"{one.name}, {text}: {result}"
            assert ", want " in result.says and "raised" not in result.says, f"{one.name}, {text}: {result}"
            assert result.hint.startswith("Hint 1 of "), one.name


# --- what these tests find --------------------------------------------------------------------------------------------------------------


PLANTED = "0_foundations/09_scenes"


def planted(monkeypatch, **entry):
    "The table of answers with another entry for the first exercise of one page."
    name = next(iter(ANSWERS[PLANTED]))
    monkeypatch.setitem(ANSWERS, PLANTED, ANSWERS[PLANTED] | {name: ANSWERS[PLANTED][name] | entry})
    return name


def test_a_page_or_an_exercise_without_entries_is_found(monkeypatch):
    name = planted(monkeypatch, wrong=["lambda h, side: 0.5"])
    with pytest.raises(AssertionError, match=name):
        test_every_page_and_every_exercise_has_its_entries()
    monkeypatch.setitem(ANSWERS, PLANTED, {key: ANSWERS[PLANTED][key] for key in list(ANSWERS[PLANTED])[1:]})
    with pytest.raises(AssertionError, match=PLANTED):
        test_every_page_and_every_exercise_has_its_entries()
    monkeypatch.delitem(ANSWERS, PLANTED)
    with pytest.raises(AssertionError):
        test_every_page_and_every_exercise_has_its_entries()


@pytest.mark.parametrize("answer", ["lambda *x: solution(*x)", "lambda *x: 1 / 0"])
def test_a_wrong_answer_that_passes_or_breaks_is_found(answer, monkeypatch):
    name = planted(monkeypatch, wrong=[answer])
    with pytest.raises(AssertionError, match=f"{name}, lambda"):
        test_wrong_answers_are_refused_in_words_that_name_the_place_and_the_values(PLANTED)


def test_a_right_answer_that_is_refused_is_found(monkeypatch):
    name = planted(monkeypatch, right=["lambda *x: [solution(*x)]"])
    with pytest.raises(AssertionError, match=f"{name}, lambda"):
        test_right_answers_of_other_forms_pass(PLANTED)


def test_a_solution_that_fails_and_a_stub_that_is_none_are_found(monkeypatch):
    names, found = opened(PLANTED)
    one = next(iter(found.values()))
    monkeypatch.setitem(names, one.solution, lambda *arguments: 0.25)
    with pytest.raises(AssertionError, match=one.name):
        test_solutions_pass_and_are_counted(PLANTED)
    monkeypatch.setattr(one.stub, "text", f"def {one.name}(*arguments):\n    return 0.25")
    with pytest.raises(AssertionError, match=one.name):
        test_a_stub_is_not_begun_and_no_failure(PLANTED)
