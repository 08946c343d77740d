"""The form that pages are kept in: what nbs/_tidy.py makes of the shorter form, that it leaves alone what it made, and that it is in use."""

import copy
import json
import re
import subprocess
import sys

import anatomy
import pytest

tidy = anatomy.tidy


def text(source):
    return {"cell_type": "markdown", "id": "t", "metadata": {}, "source": source.splitlines(True)}


def code(source, outputs=(), name="c", **metadata):
    lines = source.splitlines(True)
    return {"cell_type": "code", "execution_count": None, "id": name, "metadata": metadata, "outputs": list(outputs), "source": lines}


def tidied(*cells):
    "What the cells become; again, they stay as they are, and what came is not touched."
    book, before = {"cells": list(cells)}, copy.deepcopy(list(cells))
    once = tidy.tidy(book)
    assert book["cells"] == before and tidy.tidy(once) == once
    return [("".join(cell["source"]), cell["metadata"]) for cell in once["cells"]]


def said(source):
    return tidied(text(source))[0][0]


HIDDEN = {"source_hidden": True}
FOLD = '**1.** Why?\n\n::: {.callout-tip collapse="true" title="Solution"}\nSo $x$:\n\n```\n::: no\n```\n:::\n\n**2.** And?'


def test_folded_callouts_become_details_with_room_for_markdown():
    assert said(FOLD) == "**1.** Why?\n\n<details><summary>Solution</summary>\n\nSo $x$:\n\n```\n::: no\n```\n\n</details>\n\n**2.** And?"
    assert said(FOLD.partition("\n\n**2")[0]).endswith("\n\n</details>")


def test_other_callouts_become_quotations_under_their_title():
    assert said("A\n\n::: {.callout-important}\n## Seen\nOne.\n\nTwo.\n:::\n\nB") == "A\n\n> **Seen.** One.\n>\n> Two.\n\nB"
    assert said("::: {.callout-note}\nOne.\n:::") == "> **Note.** One."


def test_keys_go_into_comments_and_citations_into_words_that_lead_to_the_paper():
    listed = "## References\n\n- A. (2018). *B.* [@oord2018representation]\n- C. (2021). D."
    assert said(listed) == "## References\n\n- A. (2018). *B.* <!-- @oord2018representation -->\n- C. (2021). D."
    cpc = "[van den Oord et al., 2018](https://arxiv.org/abs/1807.03748)<!-- @oord2018representation -->"
    assert said("They say so [@oord2018representation].") == f"They say so ({cpc})."
    two = "Weinberger & Saul, 2009<!-- @weinberger2009distance -->"  # a work without an address
    assert said("As in [@oord2018representation; @weinberger2009distance], `[@x]`.") == f"As in ({cpc}; {two}), `[@x]`."
    assert said("Nobody [@nobody1900x].") == "Nobody (nobody1900x<!-- @nobody1900x -->)."


def test_every_work_has_words_and_where_it_names_a_preprint_an_address():
    works = tidy.works()
    assert set(works) == set(re.findall(r"^@\w+\{([^,]+),", (tidy.ROOT / "data" / "references.bib").read_text(), re.M))
    assert works["alpaydin1998optical"] == ("Alpaydin & Kaynak, 1998", "https://doi.org/10.24432/C50P49")


def test_figures_are_said_by_their_place_and_else_by_their_caption():
    a, b = (code(f'#| label: fig-{x}\n#| fig-cap: "The \\"{x}\\" line."\nplot()') for x in "ab")
    cells = tidied(text("See @fig-a."), a, text("@fig-a rises. In @fig-a, `@fig-a`."), b, text("Not @fig-b, @fig-a."))
    assert [cell for cell, _ in cells if "plot" not in cell] == [
        "See the figure below<!-- @fig-a -->.",
        "The figure above<!-- @fig-a --> rises. In the figure above<!-- @fig-a -->, `@fig-a`.",
        'Not the figure above<!-- @fig-b -->, the figure *The "a" line*<!-- @fig-a -->.',
    ]


def test_alt_texts_go_into_the_metadata():
    assert tidied(code('#| label: fig-a\n#| fig-alt: "A \\"line\\", up."\nplot()')) == [
        ("#| label: fig-a\nplot()", {"alt": 'A "line", up.'})
    ]


@pytest.mark.parametrize("source", [
    "#| default_exp objectives.x", "import math", "#| export\nfrom math import pi\n", 'run = open_run("a", profile)\nrun',
    "#| code-fold: true\nx = 1", "#| export\n#| echo: false\n_METHODS = []", "_METHODS = []", "# Reference\ndef f(): ...",
])  # fmt: skip
def test_set_up_and_machinery_are_hidden(source):
    assert tidied(code(source)) == [(source, {"jupyter": HIDDEN})]


@pytest.mark.parametrize("source", ["x = 1", "import math\n\nx = math.pi", "def my(x):\n    raise NotImplementedError", "%time x"])
def test_what_a_reader_hid_in_jupyterlab_is_seen_again(source):
    assert tidied(code(source, jupyter=HIDDEN | {"outputs_hidden": True})) == [(source, {})]


def test_solutions_and_parameters_are_hidden_and_keep_their_tags():
    folded = '#| code-fold: true\n#| code-summary: "Solution"\ndef s(): ...'
    hidden = {"tags": ["solution"], "jupyter": HIDDEN}
    assert tidied(code(folded, tags=["solution"])) == [("# Solution\ndef s(): ...", hidden)]
    shown = [{"output_type": "stream", "name": "stdout", "text": ["42"]}]
    assert tidied(code("x", shown, tags=["solution"])) == [("# Solution\nx", hidden | {"jupyter": HIDDEN | {"outputs_hidden": True}})]
    assert tidied(code(anatomy.PARAMETERS, tags=["parameters"])) == [(anatomy.PARAMETERS, {"tags": ["parameters"], "jupyter": HIDDEN})]


def test_what_a_check_compares_with_goes_into_a_hidden_cell_before_it():
    check = "one = 1\n\n\ndef key(x):\n    return x\n\n\ncases = [(one,)]\ncheck(my, key, *cases)"
    parts = [("# Reference\none = 1\n\n\ndef key(x):\n    return x", {"jupyter": HIDDEN}), ("cases = [(one,)]\ncheck(my, key, *cases)", {})]
    assert tidied(text("## Exercises"), code(check))[1:] == parts
    assert tidied(code(check)) == [(check, {})]  # elsewhere it is part of the lesson
    done = tidy.tidy({"cells": [text("## Exercises"), code(check, ["seen"], "a"), code(check, name="b")]})["cells"]
    assert [cell["id"] for cell in done[2::2]] == ["a", "b"] and len({cell["id"] for cell in done}) == 5
    assert [cell["outputs"] for cell in done[1:3]] == [[], ["seen"]]


def test_every_page_is_in_the_form_and_stays_in_it(copy_of_the_tree):
    def run():
        subprocess.run([sys.executable, str(copy_of_the_tree / "nbs" / "_tidy.py")], check=True)
        pages = sorted((copy_of_the_tree / "nbs").rglob("*.ipynb"))
        return [path.name for path in pages if path.read_bytes() != (anatomy.ROOT / path.relative_to(copy_of_the_tree)).read_bytes()]

    assert run() == [], "python nbs/_tidy.py brings pages into their form"
    page = copy_of_the_tree / "nbs" / "1_objectives" / "01_infonce.ipynb"
    book = json.loads(page.read_text(encoding="utf-8"))
    book["cells"].append(text(FOLD))
    page.write_text(json.dumps(book), encoding="utf-8")
    assert (
        run() == ["01_infonce.ipynb"] and FOLD not in page.read_text(encoding="utf-8") and "<details>" in page.read_text(encoding="utf-8")
    )
