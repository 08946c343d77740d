"""The catalogue of methods: 98 rows in order, complete, in closed vocabularies, each told in its own words."""

import copy
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest

from contrastive_nb.book import catalogue
from contrastive_nb.registry import Method

yaml = pytest.importorskip("yaml")

FILE = Path(__file__).parents[1] / "data" / "catalogue.yml"
IDS = [f"S{i:02d}" for i in range(1, 96)] + ["X01", "X02", "X03"]
KEYS = [
    "id",
    "short",
    "chapter",
    "scope",
    "title",
    "year",
    "authors_key",
    "family",
    "aliases",
    "idea",
    "choices",
    "formula_status",
    "official_code",
    "paper_figure",
]
CHAPTERS = {
    "0_foundations",
    "1_objectives",
    "2_hard_negatives",
    "3_debiasing",
    "4_views_and_positives",
    "5_without_negatives",
    "6_supervised_and_ordinal",
    "7_retrieval_and_text",
    "8_across",
    "9_scaling",
    "10_neighbours",
}
SCOPES = {"core", "extension", "far"}
STATUSES = {"seen", "partly", "reconstructed"}
CHOICES = ["pairs", "weight", "aggregation", "comparison"]

TEXT = FILE.read_text(encoding="utf-8")
ROWS = yaml.safe_load(TEXT)
FAMILIES = re.findall(r"^#   ([a-z-]+): \S", TEXT, re.M)  # the vocabulary stands in the file's head, one a line
each = pytest.mark.parametrize("row", ROWS, ids=lambda row: row["id"])


def text(value):
    return isinstance(value, str) and value == value.strip() and bool(value)


def test_ids_in_order():
    assert [row["id"] for row in ROWS] == IDS


def test_family_vocabulary():
    assert 0 < len(FAMILIES) <= 15 and len(set(FAMILIES)) == len(FAMILIES)
    assert {row["family"] for row in ROWS} == set(FAMILIES)


@each
def test_keys_complete_and_in_order(row):
    assert list(row) == KEYS and list(row["choices"]) == CHOICES


@each
def test_closed_vocabularies(row):
    assert row["chapter"] in CHAPTERS
    assert row["scope"] in SCOPES
    assert row["family"] in FAMILIES
    assert row["formula_status"] in STATUSES


@each
def test_values(row):
    assert re.fullmatch(r"[a-z0-9_]+", row["short"])
    assert text(row["title"])
    assert type(row["year"]) is int and 2010 <= row["year"] <= 2026
    assert row["authors_key"] is None or re.fullmatch(rf"[a-z]+{row['year']}[a-z0-9]+", row["authors_key"])
    assert row["official_code"] is None or re.fullmatch(r"[\w.-]+/[\w.-]+", row["official_code"])
    assert row["paper_figure"] is None or (text(row["paper_figure"]) and len(row["paper_figure"]) <= 200)
    assert isinstance(row["aliases"], list) and all(map(text, row["aliases"]))
    assert len({a.casefold() for a in row["aliases"]}) == len(row["aliases"])


@each
def test_idea_length(row):
    assert text(row["idea"]) and 60 <= len(row["idea"]) <= 400 and "\n" not in row["idea"]


@each
def test_choices_told_except_for_far_neighbours(row):
    values = list(row["choices"].values())
    if row["scope"] == "far":
        assert values == [None] * 4
    else:
        assert all(map(text, values)) and max(map(len, values)) <= 100


@pytest.mark.parametrize("key", ["short", "title", "authors_key", "idea"])
def test_no_two_alike(key):
    values = Counter(row[key].casefold() for row in ROWS if row[key])
    assert [v for v, n in values.items() if n > 1] == []


def test_neighbours_are_far():
    assert all(row["scope"] == "far" for row in ROWS if row["chapter"] == "10_neighbours")
    assert all(row["scope"] == "far" for row in ROWS if row["family"] == "not-contrastive")


SPOILT = {
    "a key less": (test_keys_complete_and_in_order, lambda row: row.pop("aliases")),
    "keys out of order": (test_keys_complete_and_in_order, lambda row: row.update(id=row.pop("id"))),
    "a choice less": (test_keys_complete_and_in_order, lambda row: row["choices"].pop("weight")),
    "another chapter": (test_closed_vocabularies, lambda row: row.update(chapter="11_none")),
    "another scope": (test_closed_vocabularies, lambda row: row.update(scope="near")),
    "another family": (test_closed_vocabularies, lambda row: row.update(family="none")),
    "another status": (test_closed_vocabularies, lambda row: row.update(formula_status="guessed")),
    "capitals in the short name": (test_values, lambda row: row.update(short="Info NCE")),
    "no title": (test_values, lambda row: row.update(title="")),
    "space after the title": (test_values, lambda row: row.update(title=row["title"] + " ")),
    "a year as text": (test_values, lambda row: row.update(year="2020")),
    "an early year": (test_values, lambda row: row.update(year=1999)),
    "a key of another year": (test_values, lambda row: row.update(authors_key="a1999b")),
    "an address of the code": (test_values, lambda row: row.update(official_code="https://host.example/a/b")),
    "a long figure": (test_values, lambda row: row.update(paper_figure="x" * 201)),
    "one alias": (test_values, lambda row: row.update(aliases="InfoNCE")),
    "an alias twice": (test_values, lambda row: row.update(aliases=["InfoNCE", "infonce"])),
    "a short idea": (test_idea_length, lambda row: row.update(idea="Short.")),
    "a long idea": (test_idea_length, lambda row: row.update(idea="x" * 401)),
    "two lines": (test_idea_length, lambda row: row.update(idea="x" * 60 + "\n" + "x")),
    "a choice not told": (test_choices_told_except_for_far_neighbours, lambda row: row["choices"].update(weight=None)),
    "a long choice": (test_choices_told_except_for_far_neighbours, lambda row: row["choices"].update(weight="x" * 101)),
    "far, and told": (test_choices_told_except_for_far_neighbours, lambda row: row.update(scope="far")),
}  # fmt: skip


@pytest.mark.parametrize("case", SPOILT)
def test_a_spoilt_row_is_found(case):
    check, spoil = SPOILT[case]
    row = copy.deepcopy(next(row for row in ROWS if row["scope"] == "core"))
    check(row)
    spoil(row)
    with pytest.raises(AssertionError):
        check(row)


@pytest.mark.parametrize("check, spoil", [
    (test_ids_in_order, lambda rows: rows.append(rows.pop(0))),
    (test_ids_in_order, lambda rows: rows.pop()),
    (test_family_vocabulary, lambda rows: rows[0].update(family="none")),
    (lambda: test_no_two_alike("short"), lambda rows: rows[0].update(short=rows[1]["short"])),
    (lambda: test_no_two_alike("title"), lambda rows: rows[0].update(title=rows[1]["title"].upper())),
    (test_neighbours_are_far, lambda rows: next(r for r in rows if r["scope"] == "core").update(chapter="10_neighbours")),
    (test_neighbours_are_far, lambda rows: next(r for r in rows if r["scope"] == "core").update(family="not-contrastive")),
])  # fmt: skip
def test_a_spoilt_table_is_found(check, spoil, monkeypatch):
    rows = copy.deepcopy(ROWS)
    monkeypatch.setitem(globals(), "ROWS", rows)
    check()
    spoil(rows)
    with pytest.raises(AssertionError):
        check()


# --- as HTML ------------------------------------------------------------------------------------------------------------

PLANTED = "<script>alert(1)</script>\"'| & "


class Tags(HTMLParser):
    "The tags, their attributes and the text of a piece of HTML."

    def __init__(self, piece):
        super().__init__()
        self.tags, self.text = set(), []
        self.feed(piece)

    def handle_starttag(self, tag, attrs):
        self.tags.add((tag, *(name for name, _ in attrs)))  # a quote that ends an attribute begins another one

    def handle_data(self, data):
        self.text.append(data)


def plant(value):
    "The same value with a tag, quotes and a bar in each text."
    if isinstance(value, dict):
        return {key: plant(inside) for key, inside in value.items()}
    if isinstance(value, list):
        return [plant(inside) for inside in value]
    return value + PLANTED if isinstance(value, str) else value


def shown(piece):
    "Whether what was planted is read as text alone."
    read = Tags(piece)
    return ("script",) not in read.tags and "<script>alert(1)</script>" in "".join(read.text)


def test_a_state_follows_from_the_registry_and_the_ledger(monkeypatch):
    page = "1_objectives/01_infonce"
    pieces = [Method(f"of_{id.lower()}", "a:b", papers=(id,), notebook=page, kind="metric") for id in ("S01", "S02")]
    record = lambda id: {"id": f"{id}-mechanism-x", "paper": id, "notebook": page, "runs": {"laptop": {"verdict": "reversed"}}}
    monkeypatch.setattr(catalogue.registry, "methods", lambda: pieces)
    monkeypatch.setattr(catalogue.claims, "load", lambda: [record("S01"), record("S03")])
    rows = catalogue.rows()
    assert [row["state"] for row in rows[:4]] == ["derived", "piece", "claimed", "planned"]
    assert [bool(row["notebooks"]) for row in rows[:4]] == [True, True, True, False]
    assert {row["state"] for row in rows[4:]} == {"planned"}
    counts = Tags(catalogue.families_html(rows)).text
    assert [text for text in counts if text.strip()][-5:] == ["1", "1", "1", "95", "98"]


def test_a_piece_on_a_page_that_claims_nothing_is_no_derived_method():
    states = {row["id"]: row["state"] for row in catalogue.rows()}
    assert states["S93"] == "piece" and {states[id] for id in ("S03", "S30", "S33", "S52", "S54")} == {"derived"}


def test_what_a_row_says_is_text():
    row = {
        "id": "S01", "aliases": [], "short": "one", "title": "Of one", "year": 2020, "idea": "One.", "family": "pairs", "state": "claimed",
        "notebooks": ["1_a/01_none"], "functions": ["a.b"], "claims": ["S01-outcome-x"],
        "verdicts": {"S01-outcome-x": "confirmed"},
    }  # fmt: skip
    plain = Tags(catalogue.as_html([row])).tags
    for field in [name for name in row if name not in ("claims", "verdicts", "aliases", "notebooks")]:
        assert shown(catalogue.as_html([row | {field: plant(str(row[field]) if field == "year" else row[field])}])), field
    assert Tags(catalogue.as_html([plant(row)])).tags == plain
    assert shown(catalogue.as_html([row | {"aliases": [PLANTED]}]))
    assert shown(catalogue.as_html([row | {"verdicts": {f"S01-{PLANTED}": "confirmed"}}]))
    assert shown(catalogue.as_html([row | {"verdicts": {"S01-x": PLANTED}}]))
    assert shown(catalogue.families_html([row | {"family": PLANTED}]))


@pytest.mark.parametrize("id, wanted", [
    ("S01", "CACR, Zheng et al. 2023"),  # ten authors
    ("S19", "uniformity-tolerance dilemma, Wang and Liu 2021"),
    ("X01", "InfoNCE, van den Oord et al. 2018"),
])  # fmt: skip
def test_a_method_has_the_name_that_readers_know(id, wanted):
    assert catalogue.name(next(row for row in ROWS if row["id"] == id)) == wanted


def test_a_name_needs_no_work_in_the_references():
    row = next(row for row in ROWS if row["id"] == "S01")
    assert catalogue.name(row | {"authors_key": "nobody2020none", "year": 2020}) == "CACR, Nobody 2020"
    assert catalogue.name(row | {"authors_key": None, "aliases": []}) == "cacr, authors unknown 2023"


@pytest.mark.parametrize("record, wanted", [
    ({"runs": {"ci": {"verdict": None}}}, (None, None)),
    ({"runs": {"ci": {"verdict": None}, "laptop": {"verdict": "confirmed"}}}, ("laptop", "confirmed")),
    ({"runs": {"laptop": {"verdict": "confirmed"}, "gpu": {"verdict": "reversed"}}}, ("gpu", "reversed")),
    ({"runs": {}, "verdict": "not testable here"}, (None, "not testable here")),
])  # fmt: skip
def test_the_run_nearest_to_the_paper_counts(record, wanted):
    assert catalogue.judged_by(record) == wanted
