"""The ledger as a reader asks it: who said it, what came out, how sure; built from planted claims that the judge itself has judged."""

import copy
import json
import re
import sys
import types

import pytest
from commands import CliRunner
from test_catalogue import Tags, plant, shown

from contrastive_nb import cli, files, lab
from contrastive_nb.book import catalogue, ledger, markup, plots, reports
from contrastive_nb.lab import claims, records, rejudge

EIGHT = [0.70, 0.72, 0.69, 0.71, 0.70, 0.73, 0.68, 0.71]
SPREAD = [0.010, -0.005, 0.002, -0.010, 0.004, 0.001, -0.006, 0.004]  # its mean is zero, its interval 0.0055 to both sides
SHIFTS = dict(zip(claims.VERDICTS[:-1], (0.05, 0.012, 0.006, 0.0, -0.05, 0.005), strict=True))
SMALLEST = {claims.VERDICTS[2]: 0.02, claims.VERDICTS[3]: 0.02}


@pytest.fixture(autouse=True)
def bench(monkeypatch):
    "A bench that sees effects from 0.001 to 0.5, beside those of the book."
    from contrastive_nb.lab import benches as real

    known, benches = real.admitted(), types.ModuleType("contrastive_nb.lab.benches")
    benches.range_of = lambda name: (0.001, 0.5) if name == "planted/probe" else real.range_of(name) if name in known else None
    monkeypatch.setitem(sys.modules, "contrastive_nb.lab.benches", benches)
    monkeypatch.setattr(lab, "benches", benches, raising=False)


def claim(id, kind="mechanism", says="paper", verdict="confirmed", size="laptop", **fields):
    "A record as the judge leaves it, which reads as the verdict says."
    name = f"{id.partition('-')[0]}-{kind}-{id.partition('-')[2]}"
    tested = verdict in SHIFTS
    smallest = SMALLEST.get(verdict, 0.01)
    noise = [x / 4 for x in SPREAD] if verdict == claims.VERDICTS[2] else SPREAD
    treatment = [x + SHIFTS.get(verdict, 0.05) + y for x, y in zip(EIGHT, noise, strict=True)]
    said = claims.Claim(**{
        "id": name, "paper": id.partition("-")[0], "notebook": "0_foundations/06_claims", "kind": kind, "statement": f"{name} holds.",
        "metric": "AUC", "baseline": "without", "treatment": "with", "direction": "higher", "smallest_effect": smallest, "says": says,
        "bench": "planted/probe" if kind == "outcome" and tested else None,
    } | fields)  # fmt: skip
    judged = claims.judge(said, EIGHT, treatment)
    run = {
        "seeds": list(range(8)), "baseline": EIGHT, "treatment": treatment, "effect": judged.effect, "interval": list(judged.interval),
        "verdict": judged.verdict, "parameters": {}, "search": {}, "versions": {}, "device": "cpu", "seconds": 1.0, "code": None,
        "commit": None,
    }  # fmt: skip
    record = {key: getattr(said, key) for key in records.CLAIM} | {
        "amended": list(said.amended),
        "schema": records.SCHEMA,
        "runs": {size: run},
    }
    record = claims.check_record(records.upgraded(json.loads(json.dumps(record))))
    assert record["runs"][size]["verdict"] == verdict
    return record


def set_aside(id):
    record = claim(id, "outcome", verdict=claims.VERDICTS[-1])
    return claims.check_record(record | {"runs": {}, "verdict": claims.VERDICTS[-1], "why": "No bench sees it."})


def of_earlier(id, effect_of="not testable here", **fields):
    "A claim that is set aside, with the run of an experiment that is gone."
    record = claim(id, "outcome", verdict=effect_of, **fields)
    return claims.check_record(record | {"verdict": claims.VERDICTS[-1], "why": "No bench sees it."})


def text(piece):
    return " ".join(" ".join(Tags(piece).text).split())


# --- counts -----------------------------------------------------------------------------------------------------------------------------

LEDGER = {
    "the paper's mechanism": dict(id="S03-a"),
    "its outcome": dict(id="S03-b", kind="outcome", verdict="not resolved"),
    "one without a bench": dict(id="S03-c", kind="outcome", verdict="not testable here"),
    "ours": dict(id="S03-d", says="ours"),
    "implied": dict(id="S03-e", says="implied", verdict="reversed"),
    "a cost": dict(id="S03-f", kind="cost"),
    "a fact": dict(id="S03-g", kind="identity"),
}  # fmt: skip


def whole(**changes):
    return ledger.rows([claim(**(said | changes.get(name.replace(" ", "_"), {}))) for name, said in LEDGER.items()])


def test_the_headline_counts_what_papers_say_and_names_the_rest():
    assert ledger.headline(whole()) == (
        "Confirmed of what papers themselves say: 1 of 1 mechanisms, 0 of 2 outcomes (1 testable). 1 of these claims is not testable "
        "here. Not in this count: what papers only imply or what is ours, 1 of 2 confirmed. Costs, apart: 1 of 1 confirmed. "
        "Facts that a test holds, not counted: 1."
    )
    assert "1 of 2 mechanisms, " in ledger.headline(whole() + ledger.rows([claim("S04-a", verdict="in the claimed direction, size open")]))
    assert ledger.headline(ledger.rows([claim("S03-d", says="ours")])) == (
        "No claim here is one that a paper makes. Not in this count: what papers only imply or what is ours, 1 of 1 confirmed."
    )
    assert text(ledger.headline_html(whole())) == ledger.headline(whole())


@pytest.mark.parametrize("change, leaves", [
    ({"ours": {"verdict": "reversed"}}, "1 of 1 mechanisms, 0 of 2 outcomes"),  # what is ours moves nothing of the paper's
    ({"a_cost": {"verdict": "reversed"}}, "1 of 1 mechanisms, 0 of 2 outcomes"),
    ({"a_fact": {"verdict": "reversed"}}, "1 of 1 mechanisms, 0 of 2 outcomes"),
    ({"the_paper's_mechanism": {"verdict": "no effect of that size"}}, "0 of 1 mechanisms, 0 of 2 outcomes"),
    ({"its_outcome": {"verdict": "confirmed"}}, "1 of 1 mechanisms, 1 of 2 outcomes (1 testable)"),
    ({"one_without_a_bench": {"verdict": "reversed"}}, "1 of 1 mechanisms, 0 of 2 outcomes."),
])  # fmt: skip
def test_only_what_a_paper_says_moves_its_count(change, leaves):
    assert f"say: {leaves}" in ledger.headline(whole(**change))


@pytest.mark.parametrize("wanted, rows", [
    ("confirmed", [claim("S03-a"), claim("S03-b", says="ours", verdict="reversed"), claim("S03-c", kind="cost", verdict="reversed")]),
    ("in part", [claim("S03-a"), claim("S03-b", verdict="not resolved")]),
    ("in part", [claim("S03-a"), claim("S03-b", kind="outcome", verdict="not testable here")]),
    ("not confirmed", [claim("S03-a", verdict="reversed"), claim("S03-b", says="ours")]),
    ("not confirmed", [claim("S03-a", verdict="in the claimed direction, size open")]),
    ("open", [claim("S03-b", kind="outcome", verdict="not testable here"), claim("S03-c", says="implied")]),
    ("open", [claim("S03-a", kind="identity")]),
])  # fmt: skip
def test_a_paper_has_one_mark(wanted, rows):
    assert ledger.mark(ledger.rows(rows)) == wanted
    page = ledger.papers_html(ledger.rows(rows))
    assert f'role="img" aria-label="{wanted}"' in page and page.count(f">{ledger.MARKS[wanted][0]}</span>") == 1


def test_a_row_a_paper_opens_to_its_claims():
    rows = whole() + ledger.rows([claim("X01-a"), claim("X01-b", notebook="1_objectives/01_infonce"), claim("C11-a", says="ours")])
    page = ledger.papers_html(rows)
    lines = [text(line) for line in page.split("\n") if line.startswith("<tr>")]
    assert [re.match(r"\S (.*?) ?\d+ claims?", line)[1] for line in lines] == [
        "MW loss, Sheikholeslami et al. 2025", "InfoNCE, van den Oord et al. 2018", markup.title("0_foundations/06_claims"),
    ]  # fmt: skip
    assert lines[0].endswith("1 of 1 0 of 2 (1 testable)") and lines[1].endswith("2 of 2 \u2013") and lines[2].endswith("\u2013 \u2013")
    assert page.count("<details>") == 3  # it opens without a script
    for row in rows:
        assert page.count(f'href="#{row.record["id"]}"') == 1
    assert ledger.papers_html([]) == ledger.ledger_html([]) == "<p>No claim has been recorded yet.</p>"


def test_verdicts_are_counted_by_who_says_them():
    page = ledger.verdicts_html(whole())
    counts = dict(re.findall(r"scope='row'>([^<]*)</th>(.*?)</tr>", page))
    assert set(counts) == {"mechanism, the paper", "outcome, the paper", "cost, the paper", "mechanism, implied", "mechanism, ours"}
    assert re.findall(r"\d+", counts["outcome, the paper"]) == ["0", "0", "0", "0", "0", "1", "1", "2"]


def test_facts_are_listed_and_one_that_fails_says_so():
    assert "S03-identity-g holds." in text(ledger.identities_html(whole())) and "verdict" not in ledger.identities_html(whole())
    assert "reversed : S03-identity-g" in text(ledger.identities_html(whole(a_fact={"verdict": "reversed"})))
    assert "No identity" in ledger.identities_html(ledger.rows([claim("S03-a")]))


# --- a row a claim ----------------------------------------------------------------------------------------------------------------------


def test_what_stands_behind_a_verdict():
    changed = {"commit": "abc1234", "field": "metric", "from": "MRR", "to": "AUC", "why": "the paper has AUC"}
    record = claim("S03-a", paper_effect=0.05, paper_figure="Table 1: .05", estimand="this pool of images", amended=[changed])
    (row,) = ledger.rows([record], {("S03-mechanism-a", "laptop")})
    facts, verdict = (
        ledger.told(row),
        claims.judge(claims.Claim(**{key: record[key] for key in records.CLAIM}), EIGHT, row.run["treatment"]),
    )
    chance = claims.chances(0.02, verdict.spread, 8, 0.01)
    assert facts["half-width"] == f"{verdict.half_width:.3g}" and facts["seeds"] == "8" and facts["counts from"] == "0.01"
    assert facts["chance to confirm 0.02"] == f"{chance['confirmed']:.2f}"
    assert float(facts["chance of none where none is"]) == pytest.approx(
        claims.chances(0, verdict.spread, 8, 0.01)["no effect of that size"], abs=0.005
    )
    assert facts["p (Holm)"] == f"{claims.p_value(verdict):.2g}"
    assert facts["paper's effect"] == "0.05, which the interval holds" and facts["paper's figure"] == "Table 1: .05"
    assert facts["speaks of"] == "this pool of images" and facts["scale"] == "toy, laptop"
    assert facts["amended"] == "metric from MRR to AUC: the paper has AUC"
    page = text(ledger.ledger_html([row]))
    assert page.startswith("verdict claim paper says kind effect interval confirmed stale") and all(
        value in page for value in facts.values()
    )
    assert 'href="0_foundations/06_claims.ipynb"' in ledger.ledger_html([row])
    assert ledger.told(ledger.rows([claim("S03-a", paper_effect=0.09)])[0])["paper's effect"] == "0.09, which the interval excludes"


def test_p_values_are_adjusted_over_the_claims_of_their_page():
    here = [claim(f"S03-{name}", verdict="in the claimed direction, size open") for name in "abc"]
    (alone,) = ledger.rows(here[:1])
    elsewhere = claim("S03-d", notebook="1_objectives/01_infonce", verdict="in the claimed direction, size open")
    rows = ledger.rows([*here, elsewhere])
    assert [row.adjusted for row in rows] == pytest.approx([3 * alone.adjusted] * 3 + [alone.adjusted])


def test_what_is_not_testable_shows_what_the_interval_alone_reads():
    row, aside = ledger.rows([claim("S03-c", "outcome", verdict="not testable here"), set_aside("S03-d")])
    assert ledger.alone(row) == "confirmed" and ledger.alone(aside) is None and ledger.alone(ledger.rows([claim("S03-a")])[0]) is None
    page = text(ledger.ledger_html([row, aside]))
    assert "not testable here the interval alone would read: confirmed" in page
    assert "not testable here S03-outcome-d" in page and "No bench sees it." in page and "not run" in page
    assert ledger.told(aside) == {"counts from": "0.01", "why": "No bench sees it."}


def test_numbers_of_an_earlier_experiment_are_marked_and_nothing_rests_on_them(monkeypatch):
    old, beside = of_earlier("S03-c"), claim("S03-d", "outcome", verdict="not testable here", notebook=of_earlier("S03-c")["notebook"])
    row, other = ledger.rows([old, beside], stale={("S03-outcome-c", "laptop")})
    assert row.earlier and not other.earlier and not row.stale and row.verdict == "not testable here" == catalogue.judged_by(old)[1]
    assert row.adjusted is None and other.adjusted == claims.p_value(ledger._numbers(beside["runs"]["laptop"]))  # one claim is tested
    assert ledger.alone(row) is None and ledger.alone(other) == "confirmed"
    page = text(ledger.ledger_html([row]))
    assert "No bench sees it." in page and page.count("of an earlier experiment") == 2 and "would read" not in page
    assert ledger.told(row)["numbers"] == f"of an earlier experiment (commit {old['runs']['laptop']['commit']})"
    assert "of an earlier experiment" not in text(ledger.ledger_html([other]))
    assert [label.endswith(" (earlier)") for label, *_ in ledger.drawn([old, beside])] == [True, False]
    light = ledger.ledger_html([row, other], unfold=False)
    assert "<details>" not in light and "S03-outcome-c" in light and len(light) < len(ledger.ledger_html([row, other]))
    assert len(ledger.drawn([old, beside], "outcome")) == 1 and ledger.drawn([old, beside], "mechanism") == []
    (gone,) = ledger.rows([old], stale={("S03-outcome-c", "set aside")})
    assert gone.stale
    said = " ".join(reports.claims_text([row]).split())
    assert "not testable S03-outcome-c" in said and "(Set aside: No bench sees it; the numbers are of an earlier experiment.)" in said
    assert "(Set aside: No bench sees it.)" in " ".join(reports.claims_text(ledger.rows([set_aside("S03-d")])).split())
    monkeypatch.setattr(claims, "load", lambda: [old])
    (paper,) = (row for row in catalogue.rows() if row["id"] == "S03")
    assert paper["verdicts"] == {"S03-outcome-c": "not testable here"}
    assert "none of 0 pages" in reports.cost_text([old])


def test_the_gpu_run_counts_and_a_ci_run_does_not():
    both, small = claim("S03-a", verdict="reversed"), claim("S03-b")
    both["runs"]["gpu"] = claim("S03-a")["runs"]["laptop"]
    small["runs"] = {"ci": small["runs"]["laptop"] | {"verdict": None}}
    (row,) = ledger.rows([both])
    assert (row.size, row.verdict) == ("gpu", "confirmed")


def test_the_ledger_is_in_the_catalogues_order_without_what_ran_at_ci_alone(monkeypatch):
    small = claim("S01-a")
    small["runs"] = {"ci": small["runs"]["laptop"] | {"verdict": None}}
    monkeypatch.setattr(claims, "load", lambda: [claim("C11-a"), claim("S03-b"), claim("S03-a"), small, set_aside("S02-a"), claim("X01-a")])
    ids = [record["id"] for record in ledger.recorded()]
    assert ids == ["S02-outcome-a", "S03-mechanism-a", "S03-mechanism-b", "X01-mechanism-a", "C11-mechanism-a"]


def test_what_a_record_says_is_text():
    record = claim("S03-a", paper_figure="12", estimand="these", says="paper")
    plain = Tags(ledger.ledger_html(ledger.rows([record]))).tags
    for field in ("id", "paper", "statement", "paper_figure", "estimand", "says", "kind", "metric"):
        rows = ledger.rows([copy.deepcopy(record) | {field: plant(record[field])}])
        for page in (ledger.ledger_html(rows), ledger.papers_html(rows)):
            assert ("script",) not in Tags(page).tags, field
        assert shown(ledger.ledger_html(rows)) and Tags(ledger.ledger_html(rows)).tags == plain, field
    spoilt = copy.deepcopy(record)
    spoilt["runs"]["laptop"]["verdict"] = plant("confirmed")
    assert shown(ledger.ledger_html(ledger.rows([spoilt]))) and shown(ledger.papers_html(ledger.rows([spoilt])))


# --- the picture and the page -----------------------------------------------------------------------------------------------------------


def lost_in_the_picture() -> list[str]:
    "The verdicts that the forest does not draw."
    rows = [
        claim(f"S03-{i}", "outcome" if verdict not in SHIFTS else "mechanism", verdict=verdict) for i, verdict in enumerate(claims.VERDICTS)
    ]
    drawn = ledger.drawn(rows)
    assert [row[4] for row in drawn] == list(claims.VERDICTS) and drawn[0][1] == pytest.approx(5)
    picture = ledger.forest(drawn)
    return [verdict for verdict in claims.VERDICTS if f">{verdict}</text>" not in picture]


def test_every_verdict_is_drawn(monkeypatch):
    assert lost_in_the_picture() == []
    monkeypatch.setattr(plots, "VERDICTS", {word: look for word, look in plots.VERDICTS.items() if word != "reversed"})
    assert lost_in_the_picture() == ["reversed"]


def labels(name):
    cells = json.loads((files.notebooks() / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]
    return set(re.findall(r"^#\| label: (\S+)", "\n".join("".join(cell["source"]) for cell in cells), re.M))


def test_every_claim_stands_in_one_of_the_four_tables():
    makers = (ledger.outcomes_html, ledger.mechanisms_html, ledger.apart_html, ledger.earlier_html)
    rows = ledger.rows([*(row.record for row in whole()), of_earlier("S03-z"), set_aside("S03-y")])
    found = [re.findall(r'<tr id="([^"]+)"', made(rows)) for made in makers]
    assert all(found) and sorted(sum(found, [])) == sorted(row.record["id"] for row in rows)


def test_the_website_makes_every_table_of_both_pages_anew(monkeypatch):
    from contrastive_nb.book.site import notebooks, stage

    monkeypatch.setattr(ledger, "stale", lambda records=None: set())
    made, joined = stage.generated({"contrastive_nb.objectives.cacr": "api/objectives.cacr.html#cacr"})
    assert "api/objectives.cacr.html#cacr" in made["tbl-ledger"]["text/html"] and joined.of_page("1_objectives/07_cacr", "../")
    assert set(made) == set().union(*map(labels, notebooks.MADE | {"guides/05_train_a_retriever"}))
    assert "tbl-papers" in labels("ledger") and all(data for data in made.values())


# --- what is asked of it ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word, wanted", [
    ("S03", {"S03"}), ("s03", {"S03"}), ("mw loss", {"S03"}), ("auc-driven", {"S03"}), ("infonce_ntxent", {"X01"}),
    ("Student", {"Student 1908"}), ("DCL", {"S06", "S60", "X02"}),
])  # fmt: skip
def test_a_paper_is_found_by_id_or_by_a_part_of_its_name(word, wanted):
    assert ledger.papers_like(word, [claim("S03-a", paper="Student 1908")]) == wanted


def test_an_unknown_paper_names_those_that_are_near():
    with pytest.raises(ValueError, match=r"PAPER: got 'MoCHy', want an id such as S03 or a part of a title; near it: .*MoCHi \(S30\)"):
        ledger.papers_like("MoCHy", [])
    with pytest.raises(ValueError, match=r"part of a title$"):
        ledger.papers_like("q" * 30, [])


def test_claims_are_chosen_by_paper_verdict_and_kind():
    rows = whole() + ledger.rows([claim("X01-a")])
    ids = lambda **asked: [row.record["id"] for row in ledger.chosen(rows, **asked)]
    assert len(ids()) == 8 and ids(paper="X01") == ["X01-mechanism-a"] and ids(paper="S02") == []
    assert ids(verdict="not testable") == ["S03-outcome-c"] and ids(verdict="Reversed") == ["S03-mechanism-e"]
    assert ids(kind="cost") == ["S03-cost-f"] and ids(paper="S03", verdict="confirmed", kind="mechanism") == [
        "S03-mechanism-a",
        "S03-mechanism-d",
    ]
    with pytest.raises(ValueError, match="--verdict: got 'proved', want one of these, or words of one: confirmed; "):
        ids(verdict="proved")
    with pytest.raises(ValueError, match="--kind: got 'other', want cost, identity, mechanism, outcome"):
        ids(kind="other")


# --- in a terminal ----------------------------------------------------------------------------------------------------------------------


def said(*arguments):
    result = CliRunner().invoke(cli.app, ["claims", *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


@pytest.fixture
def planted(monkeypatch):
    "A ledger of planted claims, two of them as long as anything may be."
    long = claim("X01-" + "-".join(["word"] * 20), verdict="not resolved", formula="reconstructed", statement="A long statement. " * 30)
    wide = claim("X02-a", "outcome", says="implied", verdict="not testable here", statement="x" * 300)
    wide["runs"]["laptop"]["effect"], wide["runs"]["laptop"]["interval"] = -1.2345e-05, [-1.2345e-05, -1.2345e-05]
    found = [row.record for row in whole()] + [long, wide, set_aside("X02-b")]
    monkeypatch.setattr(claims, "load", lambda: found)
    return found


def test_the_table_keeps_to_its_width_with_the_verdict_first_and_totals_last(planted):
    code, output = said()
    lines = output.rstrip("\n").split("\n")
    assert code == 0 and max(map(len, lines)) <= reports.WIDTH == 100
    heads = [line for line in lines if re.match(r"\S.{12} [SX]\d\d-", line)]
    assert len(heads) == len(planted) and all(line[:13].strip() in reports.SHORT.values() for line in heads)
    assert {line.split()[0] for line in heads} >= {"confirmed", "not", "reversed"}
    assert "x" * 86 in output and "A long statement." in output and "(The interval alone would read: reversed.)" in " ".join(output.split())
    assert "-1.23e-05 [-1.23e-05, -1.23e-05]" in output and re.search(r"X01-mechanism-word\S*\.\.\.\*\n {46} mechanism", output)
    last = " ".join(output.rpartition("\n\n")[2].split())
    assert (
        last.startswith("10 claims: 4 confirmed; 1 reversed; 2 not resolved; 3 not testable here. Confirmed of what papers")
        and "Costs, apart" in last
    )


def test_the_real_ledger_keeps_to_the_width():
    code, output = said()
    assert code == 0 and max(map(len, output.split("\n"))) <= 100 and " claims: " in output


def test_a_paper_a_verdict_and_a_kind_are_asked_for(planted):
    assert [line.split()[1] for line in said("X02", "--kind", "mechanism")[1].split("\n") if " X" in line] == []
    assert said("X02", "--kind", "mechanism") == (0, "no such claim has been recorded\n")
    code, output = said("mw loss", "--verdict", "confirmed", "--kind", "cost")
    assert code == 0 and output.startswith("confirmed     S03-cost-f ") and "1 claims: 1 confirmed." in output
    assert [record["id"] for record in json.loads(said("S03", "--kind", "outcome", "--json")[1])] == ["S03-outcome-b", "S03-outcome-c"]
    for wrong, says in (("MoCHy", "near it: "), ("--kind=other", "--kind: got 'other'"), ("--verdict=proved", "--verdict: got 'proved'")):
        code, output = said(wrong)
        assert code == 2 and says in output and output.count("\n") == 1


@pytest.fixture
def on_disk(tmp_path, monkeypatch):
    "A ledger of files: one as it stands, one of schema 1 with an old word, one that another rule judged, one whose bench went away."
    right, older = claim("S03-a"), claim("S03-b", verdict="in the claimed direction, size open")
    older = {key: value for key, value in older.items() if key not in records.SINCE_3 and key != "schema"}
    older["runs"]["laptop"] = {key: older["runs"]["laptop"][key] for key in records.RUN} | {"verdict": "reproduced"}
    other, blind = claim("S03-c", verdict="reversed"), claim("S03-d", "outcome", bench="gone/probe", verdict="not testable here")
    other["runs"]["laptop"]["verdict"] = "not resolved"
    blind["runs"]["laptop"]["verdict"] = "confirmed"
    (tmp_path / "data" / "claims").mkdir(parents=True)
    for record in (right, older, other, blind):
        claims.write(record, tmp_path / "data" / "claims")
    monkeypatch.setattr(files, "shared", lambda name: tmp_path / name)
    return tmp_path / "data" / "claims"


def test_records_are_judged_again_and_only_what_changes_is_written(on_disk):
    before = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in on_disk.glob("*.json")}
    with pytest.raises(ValueError, match=r"S03-mechanism-c.json: .*verdict: got 'not resolved'"):
        claims.load(folder=on_disk)
    code, output = said("--again")
    assert code == 0 and output.split("\n") == [
        "S03-mechanism-b: laptop reproduced -> in the claimed direction, size open",
        "S03-mechanism-c: laptop not resolved -> reversed",
        "S03-outcome-d: laptop confirmed -> not testable here",
        "3 claims have another verdict, 0 another form alone",
        "",
    ]
    after = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in on_disk.glob("*.json")}
    assert [name for name in before if before[name] == after[name]] == ["S03-mechanism-a.json"]
    assert [record["runs"]["laptop"]["verdict"] for record in claims.load(folder=on_disk)] == [
        "confirmed", "in the claimed direction, size open", "reversed", "not testable here",
    ]  # fmt: skip
    old, new = (json.loads(text["S03-mechanism-b.json"][0])["runs"]["laptop"] for text in (before, after))
    assert all(old[key] == new[key] for key in old if key != "verdict")  # numbers do not move
    assert said("--again") == (0, "all records are as today's rule and benches judge them\n")


def test_an_older_form_alone_is_said(on_disk):
    rejudge.judge_ledger(on_disk)
    path = on_disk / "S03-mechanism-a.json"
    record = json.loads(path.read_text())
    del record["estimand"]
    path.write_text(json.dumps(record | {"schema": 3}))
    assert said("--again")[1].startswith("S03-mechanism-a: its form alone (schema 3 -> 3)\n0 claims have another verdict, 1 another")


@pytest.mark.parametrize("spoil", [
    lambda folder: (folder / "S03-outcome-d.json").write_text("{"),
    lambda folder: claims.write(set_aside("S03-e") | {"bench": "planted/probe"}, folder),  # its bench admits it: it wants a run
])  # fmt: skip
def test_where_one_file_is_no_record_none_is_written(on_disk, spoil):
    spoil(on_disk)
    before = {path.name: path.read_bytes() for path in on_disk.glob("*.json")}
    code, output = said("--again")
    assert code == 2 and re.match(r"contrastive-nb: S03-outcome-[de]\.json: ", output) and output.count("\n") == 1
    assert {path.name: path.read_bytes() for path in on_disk.glob("*.json")} == before


def test_all_records_are_judged_again_or_none(on_disk, monkeypatch):
    before = {path.name: path.read_bytes() for path in on_disk.glob("*.json")}
    for more in ("S03", "--verdict=confirmed", "--kind=cost", "--json", "--gpu"):
        assert said("--again", more) == (2, "contrastive-nb: --again: got more beside it, want it alone\n")
    monkeypatch.setattr("contrastive_nb.lab.scratch.is_scratch", lambda folder: True)
    assert said("--again")[0] == 2
    assert {path.name: path.read_bytes() for path in on_disk.glob("*.json")} == before
