"""Every page of the book against the rules of anatomy.py, ruff, the references, and the code that made its outputs."""

import ast
import json
import re
import subprocess
import sys
import tomllib

import anatomy
import pytest

from contrastive_nb import files

ROOT = anatomy.ROOT
PAGES = anatomy.pages()
TEMPLATES = {path.stem: path for path in (ROOT / "nbs" / "_templates").glob("*.ipynb")}


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", PAGES)
def test_a_page_lacks_nothing(name):
    lacking = anatomy.problems(name, read(PAGES[name]))
    assert not lacking, f"\n\n{name} lacks {len(lacking)}:\n  " + "\n  ".join(lacking)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_a_valid_notebook(name):
    import nbformat

    nbformat.validate(nbformat.read(PAGES[name], as_version=4))


def test_names_are_two_digits_and_a_short_name_and_every_module_has_one_page():
    modules = {}
    for name, path in PAGES.items():
        assert "/" not in name or re.fullmatch(r"(\d+_[a-z_]+|guides)/\d\d[a-z]?_[a-z0-9_]+", name), name
        for module in re.findall(r"#\| *default_exp +(\S+)", path.read_text(encoding="utf-8").replace("\\n", "\n").replace('"', "\n")):
            assert module not in modules, f"{name} and {modules[module]} both export {module}"
            modules[module] = name
    assert modules["pairs"] == "0_foundations/01_pairs"


# --- the template -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind, marks, claims", [("method", 15, 2), ("study", 15, 1), ("neighbour", 15, 0)])
def test_the_template_lacks_exactly_what_is_to_be_filled(kind, marks, claims):
    nb = read(TEMPLATES[kind])
    assert set(TEMPLATES) == {"method", "study", "neighbour"}
    lacking = [problem.partition(": ") for problem in anatomy.problems("FOLDER/NAME", nb)]
    marked = sum("FILL:" in "".join(cell["source"]) for cell in nb["cells"])
    assert {rule for rule, _, _ in lacking} == {"unfilled", "outputs"} | ({"claims"} if claims else set())
    assert sum(rule == "unfilled" for rule, _, _ in lacking) == marked > marks
    assert sum("no recorded laptop run" in what for _, _, what in lacking) == claims


@pytest.mark.parametrize("kind", TEMPLATES)
def test_the_template_runs_as_it_stands(kind, monkeypatch, tmp_path):
    from contrastive_nb import files

    monkeypatch.setenv(files.BUILD, str(tmp_path))
    names = {}
    for cell in read(TEMPLATES[kind])["cells"]:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), "template", "exec"), names)
    assert kind == "neighbour" or names["verdict"].verdict != "confirmed"  # nothing was done, so nothing may be claimed


# --- verdicts ---------------------------------------------------------------------------------------------------------------------


def judged_without_size(nb) -> list[str]:
    "Calls of `judge` that do not say `run=`: at ci size they would print a verdict."
    cells = [cell for cell in nb["cells"] if cell["cell_type"] == "code"]
    trees = [ast.parse("".join(cell["source"])) for cell in cells if not "".join(cell["source"]).startswith(("%", "!"))]
    calls = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "judge"]
    return [ast.unparse(call) for call in calls if "run" not in {word.arg for word in call.keywords}]


@pytest.mark.parametrize("name", sorted(set(PAGES) - {"0_foundations/06_claims"}))  # there the judge is made
def test_a_page_judges_at_the_size_of_its_run(name):
    assert judged_without_size(read(PAGES[name])) == []


def test_a_judgement_without_a_size_is_found():
    planted = {"cells": [{"cell_type": "code", "source": ["verdict = judge(claim, before, after)\njudge(claim, before, after, run=run)"]}]}
    assert judged_without_size(planted) == ["judge(claim, before, after)"]


OLDER = ("not reproduced", "inconclusive")  # words of an older rule


def older_words(nb) -> list[str]:
    text = "".join("".join(cell["source"]) for cell in nb["cells"]).lower()
    return [word for word in OLDER if word in text]


def test_no_chapter_speaks_of_verdicts_that_the_rule_has_not():
    "In the sources; a page's outputs are bound to the run that made them."
    pages = [path for path in sorted((ROOT / "nbs").rglob("*.ipynb")) if path.parent != ROOT / "nbs"]
    assert len(pages) > 30 and {path.name: words for path in pages if (words := older_words(read(path)))} == {}
    assert older_words({"cells": [{"source": ["The claim was *not reproduced*."]}]}) == ["not reproduced"]


# --- ruff and references ------------------------------------------------------------------------------------------------------------


def ruff(*arguments, cwd=ROOT):
    return subprocess.run([sys.executable, "-m", "ruff", *arguments, "--no-cache"], cwd=cwd, capture_output=True, text=True)


def ruff_with_our_settings(folder, file, text, *arguments):
    "What ruff says of one file, a notebook of one cell if its name says so."
    (folder / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
    path = folder / file
    path.parent.mkdir(parents=True)
    cell = {"cell_type": "code", "id": "a", "metadata": {}, "source": text, "outputs": [], "execution_count": None}
    kernel = {"name": "python3", "language": "python", "display_name": "x"}
    nb = {"cells": [cell], "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    path.write_text(json.dumps(nb) if file.endswith("ipynb") else text)
    return ruff(*arguments, ".", cwd=folder)


def test_ruff_finds_nothing_in_package_tests_and_notebooks():
    found = ruff("check", "contrastive_nb", "tests", "nbs")
    assert found.returncode == 0, found.stdout


def test_ruff_would_format_nothing_in_package_tests_and_notebooks():
    found = ruff("format", "--check", "contrastive_nb", "tests", "nbs")
    assert found.returncode == 0, found.stdout


@pytest.mark.parametrize("file", ["contrastive_nb/plain.py", "tests/test_plain.py", "nbs/1_objectives/plain.ipynb"])
def test_ruff_finds_what_is_not_formatted(file, tmp_path):
    found = ruff_with_our_settings(tmp_path, file, "x = [1,2]", "format", "--check")
    assert found.returncode == 1 and file in found.stdout and "would be reformatted" in found.stdout, found.stdout + found.stderr


def unlike_the_exports(settings: str) -> set:
    "Modules that nbdev writes and ruff would format, and those that ruff leaves alone though people write them."
    modules = (ROOT / "contrastive_nb").rglob("*.py")
    written = {path.relative_to(ROOT).as_posix() for path in modules if files.page_of(path.read_text(encoding="utf-8"))}
    return (written | {"contrastive_nb/_modidx.py"}) ^ set(tomllib.loads(settings)["tool"]["ruff"]["format"]["exclude"])


def test_exactly_the_modules_that_nbdev_writes_are_left_unformatted():
    settings = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert unlike_the_exports(settings) == set()
    pairs = '    "contrastive_nb/pairs.py",\n'
    assert unlike_the_exports(settings.replace(pairs, "")) == {"contrastive_nb/pairs.py"}
    assert unlike_the_exports(settings.replace(pairs, pairs + '    "contrastive_nb/plots.py",\n')) == {"contrastive_nb/plots.py"}


@pytest.mark.parametrize("file, rule, text", [
    ("tests/test_bare.py", "B015", "x = 1\nx == 1\n"),
    ("contrastive_nb/unused.py", "F401", "import os\n"),
    ("tests/undefined.py", "F821", "assert nothing\n"),
    ("nbs/1_objectives/bare.ipynb", "B015", "x = 1\nx == 1\nx"),
    ("nbs/1_objectives/undefined.ipynb", "F821", "nothing"),
    ("nbs/1_objectives/imports.ipynb", "I001", "import sys\nimport os"),
    ("contrastive_nb/objectives/__init__.py", "I001", "import sys\nimport os\n"),
    ("nbs/1_objectives/lengths.ipynb", "B905", "list(zip([1], [2]))"),
    ("tests/late.py", "B023", "late = [lambda: x for x in (1, 2)]\n"),
    ("contrastive_nb/hint.py", "UP045", "from typing import Optional\n\nx: Optional[int] = None\n"),
    ("tests/branch.py", "RET505", "def sign(x):\n    if x:\n        return 1\n    else:\n        return 0\n"),
    ("nbs/1_objectives/paths.ipynb", "PTH123", 'with open("x") as file:\n    file.read()'),
])  # fmt: skip
def test_ruff_finds_a_mistake_with_our_settings(file, rule, text, tmp_path):
    found = ruff_with_our_settings(tmp_path, file, text, "check")
    assert found.returncode == 1 and rule in found.stdout, found.stdout + found.stderr


def bib_problems(bib: str, cited: set) -> list[str]:
    "What is wrong with a bibliography: keys twice, out of order, without author, title or year, or cited and missing."
    entries = re.findall(r"^@\w+\{([^,\s]+),(.*?)^\}", bib, re.M | re.S)
    keys = [key for key, _ in entries]
    wrong = [f"{key} stands twice" for key in sorted(set(keys)) if keys.count(key) > 1]
    wrong += ["the entries are not sorted by key"] if keys != sorted(keys) else []
    wrong += [
        f"{key} has no {field}"
        for key, body in entries
        for field in ("author", "title", "year")
        if not re.search(rf"^\s*{field}\s*=", body, re.M)
    ]
    return wrong + [f"{key} is cited and has no entry" for key in sorted(cited - set(keys))]


def cited(nb) -> set:
    text = "\n".join(anatomy.without_fences("".join(cell["source"])) for cell in nb["cells"] if cell["cell_type"] == "markdown")
    found = set(re.findall(r"(?<![\w`.])@([a-z][\w-]*\w)", re.sub(r"`[^`\n]*`", "", text)))
    return {key for key in found if not re.match(r"(fig|eq|tbl|sec)-", key)}


def test_every_work_that_is_cited_stands_once_in_the_references():
    keys = set().union(*(cited(read(path)) for path in PAGES.values()))
    assert keys, "no page cites a work"
    assert bib_problems((ROOT / "data" / "references.bib").read_text(encoding="utf-8"), keys) == []


GOOD = "@article{a2020x,\n  author = {A},\n  title = {T},\n  year = {2020}\n}\n\n@article{b2020x,\n  author = {B},\n  title = {T},\n  year = {2020}\n}\n"


@pytest.mark.parametrize("bib, keys, wrong", [
    (GOOD, {"a2020x"}, 0),
    (GOOD, {"c2020x"}, 1),
    (GOOD + GOOD, set(), 3),
    (GOOD.replace("a2020x", "z2020x"), set(), 1),
    (GOOD.replace("  year = {2020}\n", "", 1), set(), 1),
])  # fmt: skip
def test_the_check_of_references_finds_mistakes(bib, keys, wrong):
    assert len(bib_problems(bib, keys)) == wrong
    assert cited({"cells": [{"cell_type": "markdown", "source": "See [@a2020x] and @fig-one, not `@property` or me@home.org."}]}) == {
        "a2020x"
    }


# --- outputs and records ----------------------------------------------------------------------------------------------------------------


def test_what_other_code_made_is_shown_as_stale():
    "A record that is older than the code behind it stays in the ledger and says so."
    from contrastive_nb.book import catalogue, ledger
    from contrastive_nb.lab.records import SET_ASIDE, is_set_aside

    records = ledger.recorded()
    runs = {(record["id"], size) for record in records for size in ("laptop", "gpu") if size in record["runs"]}
    judged = {record["id"]: SET_ASIDE if is_set_aside(record) else catalogue.judged_by(record)[0] for record in records}
    runs |= {(id, size) for id, size in judged.items() if size == SET_ASIDE}
    counted = set(judged.items()) & runs
    stale = ledger.stale()
    assert stale <= runs
    assert ledger.ledger_html(ledger.rows(records, stale)).count("<i>stale</i>") == len(stale & counted)
    some = records[::10]
    counted &= {(record["id"], judged[record["id"]]) for record in some}
    for marked in (set(), {min(counted)}, runs):
        assert ledger.ledger_html(ledger.rows(some, marked)).count("<i>stale</i>") == len(marked & counted)


# --- each check above on a page with its fault --------------------------------------------------------------------------------------------


@pytest.fixture
def planted(tmp_path, monkeypatch):
    "A function that puts a changed copy of a page beside the others, under a name of its own."

    def plant(name, change):
        path = tmp_path / "page.ipynb"
        nb = read(PAGES["0_foundations/01_pairs"])
        change(nb)
        path.write_text(json.dumps(nb), encoding="utf-8")
        monkeypatch.setitem(PAGES, name, path)

    return plant


def test_a_notebook_that_is_none_is_found(planted):
    import nbformat

    planted("0_foundations/98_planted", lambda nb: None)
    test_a_page_is_a_valid_notebook("0_foundations/98_planted")
    planted("0_foundations/98_planted", lambda nb: nb["cells"][0].update(cell_type="words"))
    with pytest.raises(nbformat.ValidationError):
        test_a_page_is_a_valid_notebook("0_foundations/98_planted")


@pytest.mark.parametrize("name", ["0_foundations/9_planted", "0_foundations/98_Planted", "foundations/98_planted"])
def test_a_page_with_another_kind_of_name_is_found(name, planted):
    planted(name, lambda nb: nb.update(cells=[]))
    with pytest.raises(AssertionError, match=name):
        test_names_are_two_digits_and_a_short_name_and_every_module_has_one_page()


def test_a_module_of_two_pages_is_found(planted):
    planted("0_foundations/98_planted", lambda nb: nb.update(cells=[]))
    test_names_are_two_digits_and_a_short_name_and_every_module_has_one_page()
    planted("0_foundations/98_planted", lambda nb: None)
    with pytest.raises(AssertionError, match="both export pairs"):
        test_names_are_two_digits_and_a_short_name_and_every_module_has_one_page()


def test_a_page_that_lacks_something_and_a_work_without_entry_are_found(planted):
    planted("0_foundations/98_planted", lambda nb: nb["cells"][1].update(source="FILL: words, see [@nobody1900x]."))
    with pytest.raises(AssertionError, match="unfilled"):
        test_a_page_lacks_nothing("0_foundations/98_planted")
    with pytest.raises(AssertionError, match="nobody1900x is cited and has no entry"):
        test_every_work_that_is_cited_stands_once_in_the_references()
