"""The first ten minutes: the page runs small, and at the size that the book prints the trained network plainly works."""

import json

import anatomy
import pytest

from contrastive_nb import files


def played(profile, monkeypatch, tmp_path) -> dict:
    "What the page's cells leave behind in a profile."
    monkeypatch.setenv(files.BUILD, str(tmp_path))
    names = {}
    for cell in json.loads(anatomy.pages()["start"].read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            text = "".join(cell["source"])
            if "parameters" in cell["metadata"].get("tags", []):
                text = text.replace('"laptop"', repr(profile))
            exec(compile(text, "start", "exec"), names)
    return names


def test_the_first_ten_minutes_run_small(monkeypatch, tmp_path):
    names = played("ci", monkeypatch, tmp_path)
    assert list(names["accuracy"]) == ["raw pixels", "untrained", "contrastive, no labels", "told every label"]
    assert all(0 <= value <= 1 for value in names["accuracy"].values())
    assert names["history"].steps == len(names["history"].losses) == 2 * names["run"].steps


def test_who_opens_the_page_runs_it_at_the_size_that_works():
    book = json.loads(anatomy.pages()["start"].read_text(encoding="utf-8"))
    assert not anatomy.problems("start", book)
    for cell in book["cells"]:
        cell["source"] = [line.replace('"laptop"', '"ci"') for line in cell["source"]]
    assert any(problem.startswith("parameters: ") for problem in anatomy.problems("start", book))


@pytest.mark.slow
def test_at_the_size_that_the_book_prints_the_network_plainly_works(monkeypatch, tmp_path):
    names = played("laptop", monkeypatch, tmp_path)
    raw, untrained, contrastive, told = names["accuracy"].values()
    assert max(raw, untrained) + 0.3 < contrastive < told
    right = {name: (names["digit"][rows] == names["digit"][:, None]).double().mean() for name, rows in names["found"].items()}
    assert right["before"] + 0.2 < right["after"]
