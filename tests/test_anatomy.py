"""The notebook lint itself: a page that has everything passes, and each rule finds the page that breaks it."""

import ast
import copy
import inspect
import json
import sys

import anatomy
import pytest

NAME = "1_objectives/77_toy"
SEEN = [{"output_type": "execute_result", "data": {"text/plain": ["1.0"]}, "metadata": {}, "execution_count": None}]
HIDDEN = {"source_hidden": True}
DRAWN = [{"output_type": "display_data", "data": {"image/svg+xml": ["<svg/>"]}, "metadata": {}}]


def text(source):
    return {"cell_type": "markdown", "metadata": {}, "source": source}


def code(source, outputs=(), tags=(), **metadata):
    metadata |= {"tags": list(tags)} if tags else {}
    return {"cell_type": "code", "metadata": metadata, "source": source, "outputs": copy.deepcopy(list(outputs)), "execution_count": None}


def exercise(i, kind):
    return [
        text(f"**{i} ({kind}, 5 min, easy).** What happens to the loss?"),
        code(f"def my_{i}(x):\n    raise NotImplementedError"),
        code(
            f'# Reference\ndef answer_{i}(x):\n    return math.exp(x)\n\n\ncases_{i} = [(1.0,)]\nhints_{i} = ["What grows by itself?"]\nclose_{i} = 1e-6',
            jupyter=HIDDEN,
        ),
        code(f"check(my_{i}, answer_{i}, *cases_{i}, hints=hints_{i}, of=2, tolerance=close_{i})", SEEN),
        code(
            f"# Solution\ndef solution_{i}(x):\n    return math.exp(x)\n\n\nassert check(solution_{i}, answer_{i}, *cases_{i}).passed",
            tags=["solution"],
            jupyter=HIDDEN,
        ),
    ]  # fmt: skip


OWN = """import torch

from contrastive_nb.objectives import toy

yours = torch.ones(8, requires_grad=True)
loss = toy(yours.sum())
loss.backward()
round(loss.item(), 3)"""
PROOF = """**3 (prove, 10 min, medium).** Show that the loss is never below zero.

<details><summary>Hint</summary>

What can be said of each term?

</details>

<details><summary>Solution</summary>

A sum of exponentials is positive.

</details>"""


def claim(slug, kind):
    return code(
        f'claim_{kind} = Claim(\n    id="{slug}", paper="X77", kind="{kind}",\n    statement="a rises",\n)\nclaim_{kind}.statement', SEEN
    )


def good():
    "A method page with everything, as small as it can be."
    words = "It says in plain words what the line below does and what to look at when it has run. "
    body = []
    for section in ("Problem", "Derivation", "By hand"):
        body += [text(f"## {section}\n\n{words * 2}"), code("a = toy(1.0)\nb = toy(2.0)\nassert a < b\na, b", SEEN)]
    body.insert(0, text(f"## A first look\n\n{words}"))
    vectorised = [
        text(f"## Vectorised\n\n{words * 2}"),
        code(
            '#| export\ndef toy(\n    x: float,  # a number\n) -> float:  # its exponential\n    "The exponential."\n    return math.exp(x)'
        ),
        code("low = toy(0.0)\nhigh = toy(1.0)\nassert low < high\nlow", SEEN),
    ]
    rest = []
    for section in ("Agreement", "Limits: what must hold", "Conventions"):
        rest += [text(f"## {section}\n\n{words * 2}"), code("c = toy(3.0)\ne = toy(4.0)\nassert c > 1\nc, e", SEEN)]
    rest += [text(f"{anatomy.OWN_DATA} Put your own numbers in."), code(OWN, SEEN, tags=["own-data"])]
    return {
        "metadata": {"kernelspec": {"name": "python3", "language": "python", "display_name": "python3"}, "contrastive_nb": {"profile": "laptop"}},
        "nbformat": 4,
        "nbformat_minor": 5,
        "cells": [
            code("#| default_exp objectives.toy", jupyter=HIDDEN),
            text("# Toy\n> One line."),
            text(f"{words}\n\n| Paper | Needs | Runs |\n|---|---|---|\n| none | nothing | quickly |"),
            code("#| export\nimport math", jupyter=HIDDEN),
            code("from contrastive_nb.book import plots\nfrom contrastive_nb.book.exercises import check", jupyter=HIDDEN),
            code(anatomy.PARAMETERS, tags=["parameters"], jupyter=HIDDEN),
            code(f'run = open_run("{NAME}", profile, seed=seed, device=device)\nplots.style()\nrun', SEEN, jupyter=HIDDEN),
            *body,
            *vectorised,
            *rest,
            text(f"## Picture\n\n{words * 2}"),
            code('#| label: fig-toy\n#| fig-cap: "A line."\nfigure, ax = plt.subplots(figsize=plots.ONE)\nax.plot([0, 1])\n_ = ax.set_xlabel("x")', DRAWN, alt="It rises."),
            text(f"See how the line of the figure above<!-- @fig-toy --> rises: in $0.25$ of the cases, by $95\\%$, with torch 2.13.0, `0.333`. {words}"),
            text(f"## Claims\n\n{words * 2}"),
            claim("X77-mechanism-toy", "mechanism"),
            claim("X77-outcome-toy", "outcome"),
            text(f"## Experiment\n\n{words * 2}"),
            code("before = [1.0]\nafter = [2.0]\nverdict = judge(claim_outcome, before, after)\nverdict", SEEN),
            text(f"> They report 76.5 % on ImageNet (Chen et al., 2020<!-- @chen2020simple -->).\n\n{words}"),
            text("## Exercises"),
            *exercise(1, "predict"),
            *exercise(2, "break"),
            text(PROOF),
            text("## Summary\n\n- One.\n- Two.\n- Three.\n\n## References\n\n- Chen et al. (2020). A title. <!-- @chen2020simple -->"),
        ],
    }  # fmt: skip


@pytest.fixture
def claims(tmp_path):
    for slug, seeds in (("X77-mechanism-toy", [0]), ("X77-outcome-toy", list(range(8)))):
        (tmp_path / f"{slug}.json").write_text(json.dumps({"runs": {"laptop": {"seeds": seeds}}}))
    return tmp_path


def find(nb, needle, kind=None):
    return next(i for i, c in enumerate(nb["cells"]) if needle in c["source"] and kind in (None, c["cell_type"]))


def swap(needle, old, new):
    def edit(nb):
        cell = nb["cells"][find(nb, needle)]
        assert old in cell["source"]
        cell["source"] = cell["source"].replace(old, new)

    return edit


def drop(needle):
    return lambda nb: nb["cells"].pop(find(nb, needle))


def add(needle, *cells):
    def edit(nb):
        at = find(nb, needle) + 1
        nb["cells"][at:at] = list(cells)

    return edit


def outputs(needle, made):
    return lambda nb: nb["cells"][find(nb, needle)].update(outputs=made)


def cell_metadata(needle, **changes):
    def edit(nb):
        kept = nb["cells"][find(nb, needle)]["metadata"] | changes
        nb["cells"][find(nb, needle)]["metadata"] = {key: value for key, value in kept.items() if value is not None}

    return edit


TABLE = 'results("classes/knn", {"toy": after})'

SAID = 'readout = "classes/knn"'
ON = 'ON = {"classes": ("classes/knn", 0.02), "topics": ("topics/mrr", 0.03)}'
MAKES = 'def table(place):\n    return results(f"{place}/knn", {"toy": after})'
JUDGES = "def verdict_on(claim):\n    return judge(claim, [1.0], [2.0])"
SHARED = 'shared = {"bench": "classes/knn"}\n'
ONLY_MECHANISM = "early = judge(claim_mechanism, [1.0], [2.0])\nearly"
ONE_OF_MANY = "claims = [claim_outcome]\nearly = judge(claims[0], [1.0], [2.0])\nearly"


def on_bench(bench='"classes/knn"', table=TABLE, after=False, given=""):
    "The outcome claim is one on a bench, with a table of results before it is judged, or after."

    def edit(nb):
        swap('"X77-outcome-toy"', 'kind="outcome",', f'kind="outcome", bench={bench},')(nb)
        given and add("## Claims", code(given, SEEN))(nb)
        at = find(nb, "verdict = judge(") + after
        nb["cells"][at:at] = [code(table, SEEN)]

    return edit


def metadata(**changes):
    return lambda nb: nb["metadata"].update(changes)


def move(needle, before):
    def edit(nb):
        cell = nb["cells"].pop(find(nb, needle))
        nb["cells"].insert(find(nb, before), cell)

    return edit


ERROR = [{"output_type": "error", "ename": "ValueError", "evalue": "x", "traceback": []}]
STDERR = [{"output_type": "stream", "name": "stderr", "text": ["a warning"]}]
PNG = [{"output_type": "display_data", "data": {"image/png": "AAAA"}, "metadata": {}}]
HEAVY = [{"output_type": "stream", "name": "stdout", "text": ["x" * 100_001]}]
PATH = [{"output_type": "stream", "name": "stdout", "text": ["/home/someone/file"]}]
LONG = "\n".join(f"x{i} = {i}" for i in range(31)) + "\nx0"
SLIDER = "#| label: fig-moved\n#| fig-cap: \"A line.\"\nslider(draw, 'height', (1, 2), alt='It rises.')"
STUB = "def my_1(x):\n    raise NotImplementedError"

BROKEN = {
    "syntax": ("syntax", swap("low = toy(0.0)", "low = toy(0.0)", "!ls")),
    "no kernel": ("kernel", lambda nb: nb["metadata"].pop("kernelspec")),
    "other kernel": ("kernel", metadata(kernelspec={"name": "venv", "language": "python"})),
    "pip install": ("forbidden", swap("## Problem", "## Problem", "## Problem\n\nFirst `pip install torch`.")),
    "pip magic": ("forbidden", swap("low = toy(0.0)", "low = toy(0.0)", "%pip list\nlow = toy(0.0)")),
    "path of another system": ("forbidden", swap("## Problem", "It says", "It says `C:\\data`")),
    "absolute path in text": ("forbidden", swap("## Problem", "It says", "It says `/home/me/data`")),
    "absolute path in code": ("forbidden", swap("low = toy(0.0)", "low = toy(0.0)", 'low = toy(0.0)\nplace = "/tmp/x"')),
    "absolute path in an output": ("forbidden", outputs("low = toy(0.0)", PATH)),
    "warning filter": ("forbidden", swap("low = toy(0.0)", "low", 'warnings.filterwarnings("ignore")\nlow')),
    "environment switch": ("forbidden", swap("low = toy(0.0)", "low = toy(0.0)", 'low = os.environ["SMALL"]')),
    "global seed": ("forbidden", swap("low = toy(0.0)", "low = toy(0.0)", "torch.manual_seed(0)\nlow = toy(0.0)")),
    "print": ("forbidden", swap("low = toy(0.0)", "low = toy(0.0)", "low = toy(0.0)\nprint(low)")),
    "progress bar": ("forbidden", swap("low = toy(0.0)", "low = toy(0.0)", "low = [toy(x) for x in tqdm([0])]")),
    "numbered comment": ("forbidden", swap("low = toy(0.0)", "low = toy(0.0)", "# 1. the low one\nlow = toy(0.0)")),
    "export call": ("forbidden", swap("low = toy(0.0)", "low = toy(0.0)", "nbdev.nbdev_export()\nlow = toy(0.0)")),
    "not to be run": ("forbidden", swap("low = toy(0.0)", "low =", "#| eval: false\nlow =")),
    "unknown tag": ("forbidden", lambda nb: nb["cells"][find(nb, "low = toy")]["metadata"].update(tags=["skip-execution"])),
    "bare comparison": ("comparisons", swap("low = toy(0.0)", "assert low < high", "low < high")),
    "made by ci": ("outputs", metadata(contrastive_nb={"profile": "ci"})),
    "no outputs": ("outputs", lambda nb: [c.update(outputs=[]) for c in nb["cells"] if c["cell_type"] == "code"]),
    "a value that is not shown": ("outputs", outputs("low = toy(0.0)", [])),
    "little shown": ("outputs", lambda nb: [add("## Problem", code("x = 1"))(nb) for _ in range(40)]),
    "error output": ("errors", outputs("low = toy(0.0)", ERROR)),
    "stderr": ("errors", outputs("low = toy(0.0)", STDERR)),
    "png": ("figures", outputs("fig-toy", PNG)),
    "no label": ("figures", swap("#| label", "#| label: fig-toy\n", "")),
    "no caption": ("figures", swap("#| label", '#| fig-cap: "A line."\n', "")),
    "no alt text": ("figures", cell_metadata("#| label", alt=None)),
    "alt text is the caption": ("figures", cell_metadata("#| label", alt="A line.")),
    "no text after a figure": ("figures", drop("See how the line")),
    "slider without its alt text": (
        "figures",
        add("See how the line", code(SLIDER.replace(", alt='It rises.'", ""), SEEN), text("Move it.")),
    ),
    "slider without text after it": ("figures", add("See how the line", code(SLIDER, SEEN))),
    "slider without its label": ("figures", add("See how the line", code(SLIDER.split("\n", 1)[1], SEEN), text("Move it."))),
    "label twice": ("figures", lambda nb: nb["cells"].extend([copy.deepcopy(nb["cells"][find(nb, "fig-toy")]), text("Seen.")])),
    "measured decimal": ("numbers", swap("See how", "See how", "It reaches 0.87. See how")),
    "measured per cent": ("numbers", swap("See how", "See how", "It gains 4 %. See how")),
    "measured points": ("numbers", swap("See how", "See how", "It gains 4 points. See how")),
    "measured factor": ("numbers", swap("See how", "See how", "It is 3.5 times faster. See how")),
    "quote without its source": ("numbers", swap("They report", "Chen et al., 2020<!-- @chen2020simple -->", "Chen et al.")),
    "dead link": ("links", swap("## Problem", "It says", "[It](../9_nowhere/01_x.ipynb) says")),
    "placeholder": ("unfilled", swap("## Problem", "It says", "FILL: what it says. It says")),
    "a fence of colons": ("in_jupyter", swap("## Problem", "It says", "\n::: {.callout-note}\nIt says\n:::\n\nIt says")),
    "a raw citation": ("in_jupyter", swap("(2020). A title", "<!-- @chen2020simple -->", "[@chen2020simple]")),
    "a raw figure": ("in_jupyter", swap("See how", "the figure above<!-- @fig-toy -->", "@fig-toy")),
    "details without a blank line": ("in_jupyter", swap("**3 (prove", "</summary>\n\n", "</summary>\n")),
    "details that stay open": ("in_jupyter", swap("**3 (prove", "\n\n</details>", "")),
    "alt text in the way": ("in_jupyter", swap("#| label", "#| label", '#| fig-alt: "It rises."\n#| label')),
    "an open solution": ("in_jupyter", cell_metadata("def solution_1", jupyter=None)),
    "an open reference": ("in_jupyter", cell_metadata("def answer_1", jupyter=None)),
    "open imports": ("in_jupyter", cell_metadata("#| export\nimport math", jupyter=None)),
    "open parameters": ("in_jupyter", cell_metadata('profile = "ci"', jupyter=None)),
    "an open start of the run": ("in_jupyter", cell_metadata("open_run(", jupyter=None)),
    "a hidden lesson": ("in_jupyter", cell_metadata("def toy", jupyter=HIDDEN)),
    "hidden outputs": ("in_jupyter", cell_metadata("low = toy", jupyter={"outputs_hidden": True})),
    "a solution whose outputs tell": ("in_jupyter", outputs("def solution_1", SEEN)),
    "heavy output": ("size", outputs("low = toy(0.0)", HEAVY)),
    "heavy notebook": ("size", lambda nb: nb["cells"].append(text("x" * 400_001))),
    "default_exp late": ("order", move("default_exp", "def toy")),
    "export without default_exp": ("order", drop("default_exp")),
    "no introduction": ("order", drop("| Paper |")),
    "no imports": ("order", lambda nb: [drop("#| export\nimport math")(nb), drop("from contrastive_nb.book import plots")(nb)]),
    "code before the parameters": ("order", move('profile = "ci"', "## Problem")),
    "mixed imports": ("order", swap("low = toy(0.0)", "low = toy(0.0)", "import os\nlow = toy(0.0)")),
    "no subtitle": ("title", swap("# Toy", "\n> One line.", "")),
    "long title cell": ("title", swap("# Toy", "> One line.", "> One line.\n\nAnd more.")),
    "second H1": ("title", swap("## Problem", "## Problem", "# Problem\n\n## Problem")),
    "no front block": ("front", swap("| Paper |", "| Paper | Needs | Runs |", "| A | B | C |")),
    "no needs": ("front", swap("| Paper |", "| Needs |", "| Wants |")),
    "other parameters": ("parameters", swap('profile = "ci"', "seed = 0", "seed = 0\nsteps = 3")),
    "no parameters tag": ("parameters", lambda nb: nb["cells"][find(nb, 'profile = "ci"')].update(metadata={})),
    "run of another page": ("parameters", swap("open_run(", NAME, "1_objectives/01_infonce")),
    "run not shown": ("parameters", swap("open_run(", "\nrun", "\nrun.seeds")),
    "long cell": ("grain", lambda nb: nb["cells"].append(code(LONG, SEEN))),
    "coarse grain": ("grain", lambda nb: [add("## Problem", code("\n".join(["x = 1"] * 7 + ["x"]), SEEN))(nb) for _ in range(40)]),
    "fine grain": ("grain", lambda nb: [add("## Problem", code("x", SEEN))(nb) for _ in range(40)]),
    "a tenth too long": ("grain", lambda nb: [add("## Problem", code("\n".join(["x = 1"] * 16 + ["x"]), SEEN))(nb) for _ in range(5)]),
    "little text": ("text_share", lambda nb: [add("## Problem", code("x = 1\ny = 2\nx, y", SEEN))(nb) for _ in range(30)]),
    "wordy": ("text_share", swap("## Problem", "It says", "word " * 3000)),
    "not demonstrated": ("demonstrated", lambda nb: add("def toy", *[code("x = 1\ny = 2\nx", SEEN)] * 3)(nb)),
    "not asserted": ("demonstrated", lambda nb: [swap(f"assert {x}", f"assert {x}", "d =")(nb) for x in ("low <", "c >", "c >", "c >")]),
    "no summary": ("ending", swap("## Summary", "## Summary", "## In short")),
    "four points": ("ending", swap("## Summary", "- Three.", "- Three.\n- Four.")),
    "no references": ("ending", swap("## References", "## References", "## Papers")),
    "references without years": ("ending", swap("## References", "(2020)", "")),
    "something after the references": ("ending", lambda nb: nb["cells"].append(text("## More\n\nWords."))),
    "no exercises": ("exercises", swap("## Exercises", "## Exercises", "## Tasks")),
    "two exercises": ("exercises", swap("**3 (prove", "**3 (prove, 10 min, medium).**", "Third.")),
    "no minutes": ("exercises", swap("**3 (prove", "prove, 10 min, medium", "prove, medium")),
    "no difficulty": ("exercises", swap("**3 (prove", ", medium", "")),
    "unknown difficulty": ("exercises", swap("**3 (prove", "medium", "tricky")),
    "an exercise in a heading": ("exercises", swap("**3 (prove", "**3 (prove, 10 min, medium).**", "### 3. Prove: no loss below zero\n\n")),
    "numbers that jump": ("exercises", swap("**3 (prove", "**3", "**4")),
    "an exercise before the summary": ("exercises", swap("## Summary", "## Summary", PROOF + "\n\n## Summary")),
    "two exercises in one cell": ("exercises", swap("**3 (prove", PROOF, PROOF + "\n\n" + PROOF)),
    "no exercise by code": ("exercises", lambda nb: [swap(f"def my_{i}", "raise NotImplementedError", "return x")(nb) for i in (1, 2)]),
    "text exercise without solution": ("exercises", swap("**3 (prove", "<details><summary>Solution</summary>", "")),
    "text exercise without hint": ("exercises", swap("**3 (prove", "<details><summary>Hint</summary>", "<details><summary>More</summary>")),
    "no reference": ("hints", swap("def answer_1", "# Reference\n", "")),
    "no hints": ("hints", swap("def answer_1", "hints_1", "words_1")),
    "hints of another exercise": ("hints", swap("def answer_1", "hints_1", "hints_2")),
    "an empty hint": ("hints", swap("def answer_1", "What grows by itself?", "")),
    "too many hints": ("hints", swap("def answer_1", '["What grows by itself?"]', '["What grows by itself?"] * 4')),
    "exercise without check": (
        "checks",
        swap("check(my_1", "check(my_1, answer_1, *cases_1, hints=hints_1, of=2, tolerance=close_1)", "answer_1"),
    ),
    "a check that defines its answer": (
        "checks",
        swap("check(my_1", "check(my_1", "def key_1(x):\n    return math.exp(x)\n\n\ncheck(my_1"),
    ),
    "a check with its answer": ("checks", swap("check(my_1", "answer_1", "lambda x: math.exp(x)")),
    "a check with its cases": ("checks", swap("check(my_1", "*cases_1", "(1.0,)")),
    "a check without hints": ("checks", swap("check(my_1", "hints=hints_1, ", "")),
    "a check that counts wrongly": ("checks", swap("check(my_1", "of=2", "of=3")),
    "exercise without solution": ("checks", drop("def solution_1")),
    "solution not named": ("checks", swap("def solution_1", "# Solution\n", "")),
    "solution not checked": ("checks", swap("def solution_1", "assert check(solution_1, answer_1, *cases_1).passed", "solution_1(1.0)")),
    "a solution that counts as solved": ("checks", swap("def solution_1", "*cases_1", "*cases_1, of=2")),
    "no section": ("sections", swap("## Limits", "## Limits", "## Edges")),
    "sections out of order": ("sections", move("## Agreement", "## Derivation")),
    "a long page": ("length", swap("## Problem", "It says", "word " * 3400)),
    "a page that takes long": ("length", lambda nb: [add("## Problem", code("x", SEEN))(nb) for _ in range(160)]),
    "nothing for one's own data": ("own_data", cell_metadata("yours =", tags=None)),
    "own data before the conventions": ("own_data", move("yours =", "## Conventions")),
    "own data without its words": ("own_data", swap(anatomy.OWN_DATA, anatomy.OWN_DATA, "Now yours.")),
    "long own data": ("own_data", swap("yours =", "yours =", "width = 1\nheight = 2\ndepth = 3\nyours =")),
    "own data without the method": ("own_data", swap("yours =", "loss = toy(yours.sum())", "loss = yours.sum()")),
    "own data that train nothing": ("own_data", swap("yours =", "loss.backward()\n", "")),
    "a bench that cannot be read": ("floors", on_bench(bench="benches[0]", given="benches = list(range(1))")),
    "no table of results": ("floors", on_bench(table="after")),
    "a table of another read-out": ("floors", on_bench(table=TABLE.replace("knn", "few_labels"))),
    "a table after the judge": ("floors", on_bench(after=True)),
    "a table after all judges": ("floors", on_bench("None", after=True, given=SHARED + ONE_OF_MANY)),
    "no outcome claim": ("claims", drop('"X77-outcome-toy"')),
    "no mechanism claim": ("claims", drop('"X77-mechanism-toy"')),
    "nothing judged": ("claims", drop("judge(")),
    "claim after the run": ("claims", move("judge(", '"X77-outcome-toy"')),
    "claim without record": ("claims", swap('"X77-outcome-toy"', "X77-outcome-toy", "X77-outcome-other")),
    "claim without literal id": ("claims", swap('"X77-outcome-toy"', '"X77-outcome-toy"', "slug")),
}


def test_a_page_that_has_everything_lacks_nothing(claims):
    assert anatomy.problems(NAME, good(), claims=claims) == []


@pytest.mark.parametrize("case", BROKEN)
def test_each_rule_finds_the_page_that_breaks_it(case, claims):
    rule, edit = BROKEN[case]
    nb = good()
    edit(nb)
    assert rule in {problem.split(":")[0] for problem in anatomy.problems(NAME, nb, claims=claims)}


@pytest.mark.parametrize("last, lines", [("    ),", 30), ("    0,", 31)])
def test_a_line_of_closing_brackets_is_no_line_of_a_cell(last, lines):
    rows = "\n".join(f"        {i}," for i in range(28))
    cell = anatomy.Cell(1, code(f"x = (\n    (\n{rows}\n{last}\n" + (")" if lines == 30 else "))")))
    assert cell.length == lines and len(cell.lines) == 32
    nb = good()
    nb["cells"].append(cell.raw)
    assert any("lines, want 30" in problem for problem in anatomy.problems(NAME, nb)) is (lines > 30)


@pytest.mark.parametrize("tail, wrong", [("", False), ("\n\n\ndef more():\n    return 1", True)])
def test_a_long_entry_of_the_registry_is_no_long_cell(tail, wrong):
    rows = "\n".join(f'    "key{i}": {i},' for i in range(40))
    nb = good()
    nb["cells"].append(code(f"#| export\n_METHODS = [{{\n{rows}\n}}]{tail}"))
    assert any("lines, want 30" in problem for problem in anatomy.problems(NAME, nb)) is wrong


def test_a_study_needs_no_claim_and_all_the_rest():
    nb = good()
    front = next(cell for cell in nb["cells"] if "| Paper |" in cell["source"])
    for title in ("## Claims", "## Experiment"):
        drop(title)(nb)
    assert {p.split(":")[0] for p in anatomy.problems(NAME, nb)} >= {"sections"}
    front["source"] = front["source"].replace(
        "| none | nothing | quickly |", "| none | nothing | quickly |\n\n| | |\n|---|---|\n| Kind | study |"
    )
    assert not any(p.startswith(("sections", "claims")) for p in anatomy.problems(NAME, nb))
    drop("## Derivation")(nb)
    assert "sections: no H2 Derivation" in anatomy.problems(NAME, nb)


def of_kind(kind, *sections):
    "The good page as one of another kind, which exports nothing; its sections are called otherwise, and some are gone."
    nb = good()
    front = nb["cells"][find(nb, "| Paper |")]
    front["source"] += f"\n\n| | |\n|---|---|\n| Kind | {kind} |"
    drop("default_exp")(nb)
    for cell in nb["cells"]:
        cell["source"] = cell["source"].replace("#| export\n", "")
    for old, new in sections:
        swap(old, old, new)(nb) if new else drop(old)(nb)
    return nb


SURVEY = [("## By hand", "## Smallest piece")]
NEIGHBOUR = [("## Derivation", "## Bridge"), ("## By hand", "## Smallest piece")]


def lacks(nb, claims):
    return [p for p in anatomy.problems(NAME, nb, claims=claims) if p.startswith(("sections", "claims", "bridge"))]


@pytest.mark.parametrize("gone", ["mechanism", "outcome"])
def test_a_study_that_exports_nothing_needs_one_claim_of_either_kind(claims, gone):
    nb = of_kind("study", *SURVEY, (f'"X77-{gone}-toy"', None))
    if gone == "outcome":
        swap("judge(", "claim_outcome", "claim_mechanism")(nb)
    assert lacks(nb, claims) == []
    drop('-toy", paper')(nb)
    assert any("no claim of the kind cost or identity or mechanism or outcome" in p for p in lacks(nb, claims))


def test_a_study_that_exports_nothing_shows_the_smallest_piece(claims):
    assert lacks(of_kind("study"), claims) == ["sections: no H2 Smallest piece"]


def test_a_neighbour_needs_a_bridge_and_the_smallest_piece_and_no_claim(claims):
    bare = [
        *NEIGHBOUR,
        *((f'"X77-{kind}-toy"', None) for kind in ("mechanism", "outcome")),
        ("judge(", None),
        ("## Claims", None),
        ("## Experiment", None),
    ]
    assert lacks(of_kind("neighbour", *bare), claims) == []
    assert lacks(of_kind("neighbour", *NEIGHBOUR), claims) == []  # one that makes a claim judges it
    assert "sections: no H2 Bridge" in lacks(of_kind("neighbour", *SURVEY), claims)
    assert "claims: nothing is judged" in lacks(of_kind("neighbour", *NEIGHBOUR, ("judge(", None)), claims)


@pytest.mark.parametrize("words, wrong", [(29, True), (30, False), (350, False), (351, True)])
def test_a_bridge_is_one_screen(claims, words, wrong):
    nb = of_kind("neighbour", *NEIGHBOUR)
    nb["cells"][find(nb, "## Bridge")]["source"] = "## Bridge\n\n" + "word " * words
    assert any(p.startswith("bridge: the bridge has") for p in lacks(nb, claims)) is wrong


def test_a_neighbour_exports_nothing(claims):
    nb = of_kind("neighbour", *NEIGHBOUR)
    swap("def toy", "def toy", "#| export\ndef toy")(nb)
    assert any("is exported: a neighbour is shown" in p for p in lacks(nb, claims))


@pytest.mark.parametrize(
    "given, bench, table, wrong",
    [
        ("", '"classes/knn"', TABLE, False),
        ("", '"classes/knn"', f"shown = {TABLE}\nverdict", True),  # made and not shown
        ("", '"classes/knn"', TABLE.replace("results", "tables.results"), False),
        ("results = {}", '"classes/knn"', TABLE, True),  # a name of the page's own
        ("def results():\n    return 1", '"classes/knn"', TABLE, True),
        ("def of():\n    results = []\n    return results", '"classes/knn"', TABLE, False),
        ("", "None", "after", False),
        (SAID, "readout", TABLE, False),
        (SAID, "readout", TABLE.replace('"classes/knn"', "readout"), False),
        (SAID + '\nreadout = "topics/mrr"', "readout", TABLE, True),  # two texts, and one table
        (SAID + "\nreadout = first()", "readout", TABLE, False),  # what the page names may be meant
        (SAID + "\nreadout = first()", "readout", "after", True),
        (SAID + "\nreadout = first()", '"classes/knn"', TABLE.replace('"classes/knn"', "readout"), True),
        ("def of(readout):\n    return readout\n\n\n" + SAID, '"classes/knn"', TABLE.replace('"classes/knn"', "readout"), True),
        (ON, 'ON["classes"][0]', TABLE.replace('"classes/knn"', 'ON["classes"][0]'), False),
        (ON, 'ON["topics"][0]', TABLE.replace('"classes/knn"', 'ON["classes"][0]'), True),
        (MAKES, '"classes/knn"', 'table("classes")', False),
        (MAKES, '"classes/knn"', 'table(place="classes")', False),
        (MAKES, '"classes/knn"', 'table("topics")', True),
        ('for name in ("knn", "few_labels"):\n    pass', 'f"classes/{name}"', TABLE, True),
        ('for name in ("knn", "few_labels"):\n    pass', 'f"classes/{name}"', f"{TABLE}, {TABLE.replace('knn', 'few_labels')}", False),
        ('for name in ("knn", 3):\n    pass', 'f"classes/{name}"', TABLE, True),
        ("for name in names:\n    pass", 'f"classes/{name}"', TABLE, True),
        ('shared = {"bench": "topics/mrr"}', '"classes/knn"', TABLE, True),  # what claims share counts as well
        ('shared = dict(bench="topics/mrr")', "None", "after", True),
        (ONLY_MECHANISM, '"classes/knn"', TABLE, False),  # a judge of another claim
        (ONE_OF_MANY, '"classes/knn"', TABLE, False),  # whose claim it is cannot be told, and the named one is judged later
        (SHARED + ONE_OF_MANY, "None", TABLE, True),  # nothing is judged after the table that could be on its read-out
        (JUDGES, '"classes/knn"', TABLE, False),  # a function judges where it is called
        (SHARED + JUDGES + "\n\n\nverdict_on(claim_outcome)", "None", TABLE, True),
    ],
)
def test_a_table_stands_before_the_judge_of_its_read_out(claims, given, bench, table, wrong):
    nb = good()
    on_bench(bench, table)(nb)
    given and add('"X77-mechanism-toy"', code(given, SEEN))(nb)
    assert any(p.startswith("floors") for p in anatomy.problems(NAME, nb, claims=claims)) is wrong


def test_words_are_counted_without_what_is_looked_at(claims):
    nb = good()
    told = anatomy.words(anatomy.Page(NAME, nb, claims).cells)
    seen = "\n\n| a table | of words |\n\n```\na fence of words\n```\n\n$$a \\text{formula}$$\n\n`code of words` and three more"
    nb["cells"][find(nb, "## Problem")]["source"] += seen
    assert anatomy.words(anatomy.Page(NAME, nb, claims).cells) == told + 3


@pytest.mark.parametrize("hidden, wrong", [({}, True), ({"jupyter": HIDDEN}, False)])
def test_folded_code_wants_no_text(claims, hidden, wrong):
    nb = good()
    for _ in range(20):
        add("## Problem", code("#| code-fold: true\n" + "\n".join(["x = 1"] * 14), SEEN, **hidden))(nb)
    assert any(p.startswith("text_share") for p in anatomy.problems(NAME, nb, claims=claims)) is wrong


@pytest.mark.parametrize("hidden, wrong", [({}, True), ({"jupyter": HIDDEN}, False)])
def test_only_cells_that_are_seen_take_time(claims, hidden, wrong):
    nb = good()
    for _ in range(150):
        add("low = toy(0.0)", code("import math", **hidden))(nb)
    assert any(p.startswith("length") for p in anatomy.problems(NAME, nb, claims=claims)) is wrong


def test_length_and_own_data_are_asked_of_methods_alone(claims):
    nb = of_kind("study", *SURVEY)
    drop("yours =")(nb)
    swap("## Problem", "It says", "word " * 4000)(nb)
    assert not any(p.startswith(("length", "own_data")) for p in anatomy.problems(NAME, nb, claims=claims))


def test_what_the_front_names_is_given_as_well(claims):
    nb = good()
    swap("yours =", "toy(yours.sum())", "other(yours.sum())")(nb)
    assert any(p.startswith("own_data") for p in anatomy.problems(NAME, nb, claims=claims))
    nb["cells"][find(nb, "| Paper |")]["source"] += "\n\n| | |\n|---|---|\n| Gives | `contrastive_nb.objectives.other` |"
    assert not any(p.startswith("own_data") for p in anatomy.problems(NAME, nb, claims=claims))


def test_a_list_of_imports_is_no_long_cell():
    nb = good()
    nb["cells"].append(code("from math import (\n" + "".join(f"    pi as p{i},\n" for i in range(40)) + ")"))
    assert not any("lines, want 30" in problem for problem in anatomy.problems(NAME, nb))


@pytest.mark.parametrize("seeds, enough", [([0], False), (list(range(7)), False), (list(range(8)), True)])
def test_an_outcome_needs_eight_seeds(claims, seeds, enough):
    (claims / "X77-outcome-toy.json").write_text(json.dumps({"runs": {"laptop": {"seeds": seeds}}}))
    assert (anatomy.problems(NAME, good(), claims=claims) == []) is enough


@pytest.mark.parametrize("seeds, enough", [([0], True), (list(range(4)), False), (list(range(5)), True)])
def test_a_mechanism_needs_five_seeds_or_none(claims, seeds, enough):
    (claims / "X77-mechanism-toy.json").write_text(json.dumps({"runs": {"laptop": {"seeds": seeds}}}))
    assert (anatomy.problems(NAME, good(), claims=claims) == []) is enough


def test_every_rule_has_a_page_that_breaks_it():
    assert {rule.__name__ for rule in anatomy.RULES["method"]} == {rule for rule, _ in BROKEN.values()}


def yields(function):
    "The lines of a rule on which it says what lacks."
    first, tree = function.__code__.co_firstlineno, ast.parse(inspect.getsource(function))
    return {first + node.lineno - 1 for node in ast.walk(tree) if isinstance(node, ast.Yield)}


def test_every_line_that_says_what_lacks_is_reached_by_a_broken_page(claims):
    reached, few = set(), claims / "few"
    few.mkdir()
    for record in claims.glob("*.json"):
        (few / record.name).write_text(json.dumps({"runs": {"laptop": {"seeds": [0, 1]}}}))

    def trace(frame, event, _):
        if frame.f_code.co_filename == anatomy.__file__:
            reached.update([frame.f_lineno] if event == "line" else [])
            return trace
        return None

    before = sys.gettrace()
    for edit, records in [*((edit, claims) for _, edit in BROKEN.values()), (lambda nb: None, few)]:
        nb = good()
        edit(nb)
        try:
            sys.settrace(trace)
            anatomy.problems(NAME, nb, claims=records)
        finally:
            sys.settrace(before)
    silent = {rule.__name__: sorted(yields(rule) - reached) for rule in anatomy.RULES["method"]}
    assert {name: lines for name, lines in silent.items() if lines} == {}
