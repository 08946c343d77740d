"""The book as a course: what students get and what not, the keys of who teaches, the ways through, the sheet, the glossary."""

import copy
import json
import os
import re

import anatomy
import nbformat
import pytest
import yaml
from commands import CliRunner
from nbclient import NotebookClient

from contrastive_nb import cli, files
from contrastive_nb.book import course, glossary, keys, ledger, reading, sheet
from contrastive_nb.book.site import notebooks, sources, stage, terms
from contrastive_nb.book.site.links import Known
from contrastive_nb.lab import outputs

NBS = anatomy.ROOT / "nbs"
PLAYED = "2_hard_negatives/00_hardness"  # short, and quick at ci
KEYED = "1_objectives/01_infonce"


def book(name):
    return json.loads((NBS / f"{name}.ipynb").read_text(encoding="utf-8"))


def told(*arguments):
    "How the command ends, and what it says."
    done = CliRunner().invoke(cli.app, ["student", *map(str, arguments)])
    return done.exit_code, (done.stdout + done.stderr).strip()


@pytest.fixture
def small(tmp_path, monkeypatch):
    "A folder of notebooks with two pages and a key, in place of the book's."
    root = tmp_path / "book" / "nbs"
    for name in (PLAYED, KEYED):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / f"{name}.ipynb").write_text(json.dumps(book(name)), encoding="utf-8")
    key = keys.path_of(KEYED, root)
    key.parent.mkdir(parents=True)
    key.write_text(keys.path_of(KEYED, NBS).read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.setenv(files.NOTEBOOKS, str(root))
    return root


# --- the trees ------------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def students(tmp_path_factory):
    "The tree of the students, as the command writes it into an empty folder."
    folder = tmp_path_factory.mktemp("students")
    code, said = told(folder)
    assert code == 0 and said.count("\n") == 0 and "no solutions" in said, said
    return folder


def test_students_get_every_page_and_no_solution(students):
    pages = {path.relative_to(students / "nbs").with_suffix("").as_posix(): path for path in (students / "nbs").rglob("*.ipynb")}
    assert pages.keys() == anatomy.pages().keys()
    for name, path in pages.items():
        text = path.read_text(encoding="utf-8")
        assert "solution_" not in text and "<summary>Solution" not in text and "# Solution" not in text, name
        page = json.loads(text)
        assert outputs.KEY not in page["metadata"], name
        for cell in page["cells"]:
            assert "solution" not in cell["metadata"].get("tags", []) and not cell.get("outputs"), name
        stubs = [text.count("raise NotImplementedError") for text in (text, json.dumps(book(name)))]
        assert stubs[0] == stubs[1] and len(reading.exercises(page)) == len(reading.exercises(book(name))), name
    assert not list(students.rglob("*.key.md")) and not list(students.rglob("*.yml"))
    assert (students / "LICENSE").is_file() and (students / "nbs" / "1_objectives" / "settings.ini").is_file()


def test_a_folder_with_something_in_it_is_refused(students, tmp_path):
    (tmp_path / "file").write_text("mine")
    for folder in (students, tmp_path, tmp_path / "file"):
        code, said = told(folder)
        assert code == 2 and said.count("\n") == 0 and "want a new or an empty folder" in said
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    code, said = told(NBS / "students")
    assert code == 2 and "lies among the pages" in said and not (NBS / "students").exists()


@pytest.mark.parametrize("planted", ["solution_loss = 1", "# Solution\nx = 1"])
def test_a_solution_that_would_be_left_stops_it_all(planted, small, tmp_path):
    page = json.loads((small / f"{PLAYED}.ipynb").read_text(encoding="utf-8"))
    page["cells"].append({"cell_type": "code", "metadata": {}, "source": planted, "outputs": [], "execution_count": None})
    (small / f"{PLAYED}.ipynb").write_text(json.dumps(page), encoding="utf-8")
    code, said = told(tmp_path / "out")
    assert code == 2 and PLAYED in said and "would leave a solution" in said and not (tmp_path / "out").exists()


def test_who_teaches_gets_pages_whole_and_a_key_beside_each(small, tmp_path):
    code, said = told("--instructor", tmp_path / "out")
    assert code == 0 and "2 keys; 1 of them have no questions yet" in said
    for name in (PLAYED, KEYED):
        assert json.loads((tmp_path / "out/nbs" / f"{name}.ipynb").read_text(encoding="utf-8")) == book(name)
    written, open_still = ((tmp_path / "out/nbs" / f"{name}.key.md").read_text(encoding="utf-8") for name in (KEYED, PLAYED))
    assert "| 3 | prove | 15 | hard | 3 |\n" in written and len(re.findall(r"^\d+\. ", written, re.M)) == 10 + 3 + 3
    assert "still to be written" in open_still and "| all | | 23 | | 5 |" in open_still


def test_a_key_that_does_not_fit_stops_it_all(small, tmp_path):
    path = keys.path_of(KEYED, small)
    path.write_text(path.read_text(encoding="utf-8").replace("where: Problem", "where: Trouble"), encoding="utf-8")
    code, said = told("--instructor", tmp_path / "out")
    assert code == 2 and "questions 1: where: got 'Trouble', want a heading of the page" in said and not (tmp_path / "out").exists()


def test_an_installed_package_has_no_pages_to_write(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "checkout", lambda: None)
    code, said = told(tmp_path / "out")
    assert code == 2 and "not in the installed package" in said


def test_pages_of_a_tree_find_their_settings_from_its_folders(students, monkeypatch):
    monkeypatch.setattr(files, "checkout", lambda: None)
    monkeypatch.delenv(files.NOTEBOOKS, raising=False)
    monkeypatch.chdir(students / "nbs" / "1_objectives")
    assert files.notebooks() == students / "nbs"


# --- a student's page, run ------------------------------------------------------------------------------------------------------------


def parts(name):
    "Of the first exercise with a stub: the stub, the check, and the solution under the reader's name."
    page = anatomy.Page(name, book(name), anatomy.ROOT / "data" / "claims")
    cells = next(cells for _, cells in anatomy.tasks(page) if anatomy.is_coded(cells))
    plain = [cell for cell in cells if cell.is_plain]
    stub = next(cell for cell in plain if "raise NotImplementedError" in cell.source)
    solved = next(cell for cell in plain if "solution" in cell.tags)
    check = next(cell for cell in plain if cell.calls("check") and cell is not solved)
    mine = re.search(r"def (\w+)", stub.source)[1]
    theirs = next(name for name in solved.definitions if name.startswith("solution_"))
    return stub.source, check.source, solved.source.split("\nassert check")[0].replace(theirs, mine)


def test_the_copy_of_a_student_runs_and_its_checks_work(students):
    stub, check, solved = parts(PLAYED)
    path = students / "nbs" / f"{PLAYED}.ipynb"
    page = nbformat.read(path, as_version=4)
    tried = [check, stub.replace("raise NotImplementedError", "return 0.0"), check, solved, check]
    page.cells += [nbformat.v4.new_code_cell(source, id=f"tried{i}") for i, source in enumerate(tried)]
    NotebookClient(page, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(path.parent)}}).execute()
    said = ["".join(output["data"]["text/plain"]) for cell in page.cells if cell.source == check for output in cell.outputs]
    assert len(said) == 4 and said[0] == said[1]
    assert said[0].startswith("Not begun: ") and "Write your answer into" in said[0]
    assert ", want " in said[2] and "Hint 1 of " in said[2]
    assert "Well done." in said[3] and "1 of 2 exercises of this page solved" in said[3]


# --- keys -------------------------------------------------------------------------------------------------------------------------------

WRITTEN = sorted(path.relative_to(NBS / keys.FOLDER).with_suffix("").as_posix() for path in (NBS / keys.FOLDER).rglob("*.yml"))


@pytest.mark.parametrize("name", WRITTEN)
def test_a_key_fits_its_page_and_types_no_measured_number(name):
    key = keys.load(name, NBS)
    for item in [one for part in keys.FORM for one in key[part]]:
        said = " ".join(text for field, text in item.items() if field not in ("phrase", "where"))
        assert not anatomy.MEASURED.search(anatomy.prose(said)), said


def test_no_key_is_of_no_page():
    assert keys.strays(NBS) == []


def test_every_page_with_exercises_has_its_key():
    assert keys.lacking(NBS) == []


FAULTS = {
    "a part is missing": (lambda key: key.pop("errors"), "want the keys questions, discussion, errors"),
    "nine questions": (lambda key: key["questions"].pop(), "questions: got 9, want a list of 10"),
    "no list": (lambda key: key.update(discussion="none"), "discussion: got 0, want a list of 3"),
    "a field too many": (lambda key: key["errors"][0].update(why="so"), "errors 1: got ['error', 'help', 'why'], want error, help"),
    "a field without words": (lambda key: key["discussion"][1].update(listen_for=" "), "discussion 2: listen_for: got ' ', want some words"),
    "a number for words": (lambda key: key["questions"][0].update(answer=3), "questions 1: answer: got 3, want some words"),
    "no such heading": (lambda key: key["questions"][0].update(where="Elsewhere"), "questions 1: where: got 'Elsewhere', want a heading"),
    "another section": (lambda key: key["questions"][0].update(where="The loss"), "does not stand under 'The loss', but under 'Problem'"),
    "not on the page": (lambda key: key["questions"][0].update(phrase="words that nobody wrote"), "does not stand under 'Problem'"),
    "in a solution alone": (lambda key: key["questions"][0].update(where="Exercises", phrase="has positive terms only"), "does not stand"),
    "a word or two": (lambda key: key["questions"][0].update(phrase="Four items"), "want 3 words or more"),
    "twice the same": (lambda key: key["questions"][1].update(ask=key["questions"][0]["ask"]), "stands twice"),
}  # fmt: skip


@pytest.mark.parametrize("case", FAULTS)
def test_what_is_wrong_with_a_key_is_said(case, small):
    change, wanted = FAULTS[case]
    key = copy.deepcopy(keys.load(KEYED, NBS))
    change(key)
    keys.path_of(KEYED, small).write_text(yaml.safe_dump(key, allow_unicode=True), encoding="utf-8")
    with pytest.raises(ValueError, match=re.escape(wanted)):
        keys.load(KEYED, small)


def test_a_file_that_is_no_yaml_and_one_of_no_page_are_found(small):
    keys.path_of(KEYED, small).write_text("questions: [", encoding="utf-8")
    with pytest.raises(ValueError, match="is no YAML"):
        keys.load(KEYED, small)
    keys.path_of("1_objectives/99_none", small).write_text("", encoding="utf-8")
    assert keys.strays(small) == ["1_objectives/99_none"] and keys.lacking(small) == [PLAYED]


# --- what a page asks of its reader -----------------------------------------------------------------------------------------------------


def page_of(*cells):
    made = [{"cell_type": kind, "metadata": metadata, "source": source} for kind, source, metadata in cells]
    return {"cells": made, "metadata": {}}


def test_words_lines_and_formulas_are_what_is_seen():
    seen = page_of(
        ("markdown", "# A title\n\nFour words, `code` and $x$:\n\n$$y$$\n\n| a | b |\n\n<details><summary>Solution</summary>\n\nFolded $$z$$.\n\n</details>", {}),
        ("code", "#| label: x\nf(\n    x\n)\n\n", {}),
        ("code", "import hidden", {"jupyter": {"source_hidden": True}}),
        ("markdown", "## Exercises\n\n**1 (prove, 15 min, hard).** Two more.", {}),
    )  # fmt: skip
    assert reading.load(seen) == reading.Load(words=2 + 3 + 1 + 3 + 2, lines=2, formulas=1)
    assert reading.exercises(seen) == [reading.Exercise(1, "prove", 15, "hard")] and reading.exercises(seen)[0].points == 3
    load = reading.Load(2 * reading.WORDS_A_MINUTE, 3 * reading.LINES_A_MINUTE, 60 // reading.SECONDS_A_FORMULA)
    assert load.minutes == pytest.approx(2 + 3 + 1) and (load + load).minutes == pytest.approx(12)


def test_the_ways_name_pages_and_exercises_that_are_there(monkeypatch, tmp_path):
    ways = course.ways()
    assert list(ways) == ["afternoon", "six_weeks", "retriever"] and len(ways["six_weeks"]) == 6
    assert all(part.points and part.goals for week in ways["six_weeks"] for part in [week])
    said = yaml.safe_load((anatomy.ROOT / "data" / "ways.yml").read_text(encoding="utf-8"))
    monkeypatch.setattr(files, "shared", lambda name: tmp_path / name)
    (tmp_path / "data").mkdir()
    for part, wanted in (({"read": ["1_objectives/99_none"]}, "99_none"), ({"solve": {KEYED: [9]}}, r"exercises \[9\]")):
        broken = said | {"afternoon": [said["afternoon"][0] | part]}
        (tmp_path / "data" / "ways.yml").write_text(yaml.safe_dump(broken), encoding="utf-8")
        with pytest.raises(ValueError, match=wanted):
            course.ways()


def test_a_ways_table_counts_its_parts():
    parts = course.ways()["retriever"]
    shown = course.way_html("retriever")
    assert f"<th>{sum(part.load.words for part in parts):,}</th>" in shown and f"{reading.WORDS_A_MINUTE} words" in shown
    assert course.hours(sum(part.minutes for part in parts)) in shown and shown.count("<tr>") == len(parts) + 2
    assert [course.hours(minutes) for minutes in (1, 58, 62, 119, 130)] == ["0 min", "1 h", "1 h", "2 h", "2 h 10 min"]


# --- the sheet and the glossary -----------------------------------------------------------------------------------------------------


def test_the_sheet_says_what_the_records_say(monkeypatch):
    rows = ledger.rows(ledger.recorded())
    own = [row for row in rows if row.record["paper"] == "X03" and row.says("outcome")]
    assert own and f"of {len([r for r in own if r.testable])}" not in sheet.verdicts(("none",), rows)
    before = sheet.verdicts(("X03",), rows)
    turned = [ledger.Row(row.record, row.size, "reversed") if row in own else row for row in rows]
    assert before in sheet.when_html(rows) and sheet.verdicts(("X03",), turned) != before
    assert sheet.verdicts(("X03",), turned) in sheet.when_html(turned)
    assert sheet.verdicts(("none",), rows) == "no claim yet"


def test_the_sheet_knows_its_methods(monkeypatch, tmp_path):
    lines = sheet.lines()
    assert len({line.function for line in lines}) == len(lines) and all(all(line.choices.values()) for line in lines)
    assert sheet.choices_html().count("<tr>") == len(lines) + 1
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "sheet.yml").write_text("- {function: nobody, when: x, pairs: x, weight: x, aggregation: x, comparison: x}\n")
    monkeypatch.setattr(files, "shared", lambda name: tmp_path / name)
    with pytest.raises(ValueError, match="'nobody'"):
        sheet.lines()


def test_symbols_of_the_sheet_are_those_of_the_notation():
    table = "\n".join(reading.texts(book("0_foundations/00_notation"))).split("## Symbols at a glance")[1]
    used = re.findall(r"\| (\$[^|]+\$) ", next(text for text in reading.texts(book("guides/06_cheat_sheet")) if "## Symbols" in text))
    symbols = {part.strip() for row in re.findall(r"^\| (\$[^|]+?) \|", table, re.M) for part in row.split(", ")}
    assert len(used) == 12 and {part for cell in used for part in cell.split(", ")} <= symbols


def test_what_the_guides_show_is_made_anew_with_the_website(monkeypatch):
    monkeypatch.setattr(ledger, "stale", lambda every: set())  # what takes time, and changes no label
    monkeypatch.setattr(stage, "_forest", lambda drawn: "<svg/>")
    made, _ = stage.generated({})
    for name in sorted(notebooks.MADE):
        labels = [m for cell in book(name)["cells"] if (m := re.findall(r"^#\|\s*label:\s*(\S+)", sources.source(cell), re.M))]
        assert labels and all(label in made for found in labels for label in found), name


def test_words_of_the_glossary_are_used_and_stand_once():
    found = glossary.terms()
    said = " ".join(reading.prose(text) for name in anatomy.pages() for text in reading.texts(book(name)) if name != glossary.PAGE)
    unused = [form for term in found if term.forms for form in term.forms[:1] if not re.search(terms._any([form]), said)]
    assert unused == [] and glossary.as_html().count("<dt ") == len(found)
    assert len({term.anchor for term in found}) == len(found)
    with pytest.raises(ValueError, match="got 'softmax' twice"):
        glossary.checked([*found, glossary.Term("soft max", ("softmax",), found[0].page, "Once more.")])
    with pytest.raises(ValueError, match="99_none"):
        glossary.checked([glossary.Term("soft max", (), "0_foundations/99_none", "Nowhere.")])


TERMS = [
    glossary.Term("negative", (), "a/01_one", "Common."),
    glossary.Term("hard negative", ("hard negative", "hard negatives"), "a/01_one", 'One that is "hard".'),
    glossary.Term("nDCG", ("nDCG",), "a/01_one", "A measure."),
]
HARD = r'(../guides/glossary.html#term-hard-negative){.term title="One that is \"hard\"."}'


@pytest.mark.parametrize("text, wanted", [
    ("Hard negatives and hard negatives.", f"[Hard negatives]{HARD} and hard negatives."),
    ("A hard\nnegative is no hard-negative.", f"A [hard\nnegative]{HARD} is no hard-negative."),
    ("## hard negative\n| hard negative |\n::: {title=\"hard negative\"}", None),
    ("`hard negative` $hard negative$ $$hard\nnegative$$ [a hard negative](x.html) [hard negative](y){.api}", None),
    ("```\nhard negative\n```\n<a title='hard negative'> <!-- hard negative --> nDCG@10", None),
    ("A negative.\n\n## References\n\n- hard negative", None),
])  # fmt: skip
def test_the_first_use_of_a_word_is_linked_and_nothing_else(text, wanted):
    assert terms.linker("a/02_two", TERMS)(text) == (wanted or text)


def test_a_word_is_linked_once_a_page_and_not_where_it_is_derived():
    link = terms.linker("a/02_two", TERMS)
    assert HARD in link("A hard negative.") and link("Hard negatives.") == "Hard negatives."
    link("## References")
    assert link("nDCG") == "nDCG"
    for page in ("a/01_one", glossary.PAGE):
        assert terms.linker(page, TERMS)("A hard negative.") == "A hard negative."


def test_pages_of_the_website_have_such_links():
    page = next(page for page in sources.pages(anatomy.ROOT) if page.name == KEYED)
    made = notebooks.notebook(page, {"": {}}, set(), {}, sources.citation(anatomy.ROOT), None, Known())
    said = "\n".join(cell["source"] for cell in made["cells"] if cell["cell_type"] == "markdown")
    assert said.count("{.term ") >= 3 and said.count("#term-encoder)") == 1
    assert os.path.normpath("1_objectives/../guides/glossary.html") == sources.address(glossary.PAGE)
