"""The judge and its records: known values, symmetry, null false alarms, every refusal, the way from a run to the ledger."""

import copy
import json
import math
from dataclasses import asdict, replace

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from contrastive_nb import files
from contrastive_nb.lab import claims, records
from contrastive_nb.lab.claims import (
    VERDICTS,
    Claim,
    Verdict,
    check_record,
    decide,
    judge,
    load,
    merge,
    record,
    t_interval,
)
from contrastive_nb.lab.profiles import settings as profile_settings

NOTEBOOK = "0_foundations/06_claims"
CLAIM = Claim(
    id="T01-outcome-auc", paper="Nobody 2020", notebook=NOTEBOOK, kind="outcome", statement="It scores higher.", metric="AUC",
    baseline="without", treatment="with", direction="higher", smallest_effect=0.01,
)  # fmt: skip
EIGHT = [0.70, 0.72, 0.69, 0.71, 0.70, 0.73, 0.68, 0.71]
BETTER = [x + 0.03 + 0.001 * i for i, x in enumerate(EIGHT)]


class FakeRun:
    "What a record asks of a run, without touching the folders of a real one."

    def __init__(self, profile="laptop", seeds=8, notebook=NOTEBOOK):
        self.notebook, self.profile, self.device, self.seeds = notebook, profile, "cpu", list(range(seeds))
        self.parameters = {"steps": 3, "device": "cpu"}
        self.code = f"hash of {notebook} at {profile}"


def change(claim=CLAIM, **fields):
    return replace(claim, **fields)


# --- interval and rule --------------------------------------------------------------------------------------------------

numbers = st.floats(-1e3, 1e3).filter(lambda x: x == 0 or abs(x) > 1e-3)


@settings(max_examples=60, deadline=None)
@given(st.lists(numbers, min_size=2, max_size=12), st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_t_interval_is_scipys(values, confidence):
    assume(np.std(values) > 1e-6)
    theirs = scipy.stats.ttest_1samp(values, 0).confidence_interval(confidence)
    np.testing.assert_allclose(t_interval(values, confidence), theirs, rtol=1e-7, atol=1e-7)


def test_t_interval_without_spread():
    assert t_interval([0.25]) == (0.25, 0.25) == t_interval([0.25] * 5)


@pytest.mark.parametrize(
    "effect, low, high, verdict",
    [
        (0.03, 0.02, 0.04, 0), (0.01, 0.001, 0.02, 0), (0.005, 0.002, 0.008, 1), (-0.1, -0.2, -0.05, 1), (0.0, -0.005, 0.005, 1),
        (0.009, 0.001, 0.02, 2), (0.03, 0.0, 0.06, 2), (0.03, -0.01, 0.07, 2), (0.0, -0.01, 0.01, 2),
    ],
)  # fmt: skip
def test_the_rule(effect, low, high, verdict):
    assert decide(effect, (low, high), 0.01) == VERDICTS[verdict]


# --- judge --------------------------------------------------------------------------------------------------------------


def test_judge_known_values():
    verdict = judge(CLAIM, EIGHT, BETTER)
    paired = scipy.stats.ttest_rel(BETTER, EIGHT)
    assert math.isclose(verdict.effect, np.mean(np.subtract(BETTER, EIGHT)))
    np.testing.assert_allclose(verdict.interval, paired.confidence_interval(0.95), rtol=1e-9)
    assert verdict.verdict == "reproduced" and verdict.baseline == EIGHT and verdict.treatment == BETTER
    assert judge(change(direction="lower"), EIGHT, BETTER).verdict == "not reproduced"
    assert judge(change(smallest_effect=0.1), EIGHT, BETTER).verdict == "not reproduced"


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=10), st.floats(1e-3, 10))
def test_judge_is_symmetric_in_direction(pairs, smallest):
    a, b = map(list, zip(*pairs, strict=True))
    higher, lower = (change(smallest_effect=smallest, direction=d) for d in ("higher", "lower"))
    one, other = judge(higher, a, b), judge(lower, b, a)
    assert (one.effect, one.interval, one.verdict) == (other.effect, other.interval, other.verdict)
    against = judge(lower, a, b)
    assert against.effect == -one.effect and {one.verdict, against.verdict} != {"reproduced"}
    np.testing.assert_allclose(against.interval, (-one.interval[1], -one.interval[0]), atol=1e-9)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(numbers, numbers), min_size=2, max_size=8), st.randoms())
def test_judge_does_not_see_the_order_of_seeds(pairs, random):
    shuffled = pairs[:]
    random.shuffle(shuffled)
    one, other = (judge(CLAIM, *map(list, zip(*p, strict=True))) for p in (pairs, shuffled))
    np.testing.assert_allclose([one.effect, *one.interval], [other.effect, *other.interval], rtol=1e-9, atol=1e-9)


def test_a_deterministic_claim_has_its_effect_as_interval():
    verdict = judge(change(kind="mechanism"), [0.5], [0.75])
    assert verdict.interval == (0.25, 0.25) and verdict.verdict == "reproduced" and "deterministic" in repr(verdict)
    assert judge(CLAIM, [0.5], [0.505]).verdict == "not reproduced"


def test_judge_takes_tensors_and_arrays():
    plain = judge(CLAIM, EIGHT, BETTER)
    for kind in (np.array, lambda x: torch.tensor(x, dtype=torch.float64), tuple):
        verdict = judge(CLAIM, kind(EIGHT), kind(BETTER))
        assert verdict == plain and all(type(x) is float for x in verdict.baseline)


def test_false_alarms_on_null_data():
    "The judge itself, not a copy: about 1 in 40 on the verdict's side, and about 1 in 20 intervals without the 0."
    rng, experiments = np.random.default_rng(0), 3000
    tiny = change(smallest_effect=1e-9)
    for n in (3, 5, 8):
        d = rng.standard_normal((experiments, n))
        verdicts = [judge(tiny, np.zeros(n), row) for row in d]
        above = sum(v.verdict == "reproduced" for v in verdicts)
        either = sum(v.interval[0] > 0 or v.interval[1] < 0 for v in verdicts)
        for count, rate in ((above, 0.025), (either, 0.05)):
            low, high = scipy.stats.binom.interval(0.9999, experiments, rate)
            assert low <= count <= high


def test_a_verdict_shows_itself():
    verdict = judge(change(formula="reconstructed"), EIGHT, BETTER, run=FakeRun())
    for text in (repr(verdict), verdict._repr_markdown_()):
        assert "0.0335" in text and "8 seeds" in text and "reconstructed" in text and "laptop" in text and "0.01" in text
    big = [judge(CLAIM, EIGHT, t)._repr_markdown_() for t in (BETTER, EIGHT, np.add(EIGHT, [0.1, -0.1] * 4))]
    frames = {text.replace(v.capitalize(), "*").split("effect")[0] for text, v in zip(big, VERDICTS, strict=True)}
    assert len(frames) == 1  # the three verdicts are printed alike
    assert "reconstructed" not in big[0] and "at laptop" not in big[0]
    assert repr(Verdict(0.1, (0.0, 0.2), VERDICTS[2], [1.0, 2.0], [1.1, 2.1])).startswith("inconclusive at this scale: effect 0.1")


def test_what_a_claim_says_is_text_in_markdown():
    words = "<script>alert(1)</script> | & rises"
    shown = judge(change(statement=words), EIGHT, BETTER)._repr_markdown_()
    assert shown.startswith("&lt;script&gt;alert(1)&lt;/script&gt; | &amp; rises\n\n<span") and "<script" not in shown
    assert "<script" not in replace(judge(CLAIM, EIGHT, BETTER, run=FakeRun()), verdict=words, profile=words)._repr_markdown_()


@pytest.mark.parametrize("arguments, named", [
    ((0.1, (2, -1), 0.1), "interval"),
    ((0.1, (1,), 0.1), "interval"),
    ((0.1, (0, math.nan), 0.1), "interval"),
    ((0.1, "ab", 0.1), "interval"),
    ((0.1, None, 0.1), "interval"),
    ((math.nan, (0, 1), 0.1), "effect"),
    ((0.1, (0, 1), 0), "smallest_effect"),
])  # fmt: skip
def test_the_rule_takes_no_nonsense(arguments, named):
    with pytest.raises((TypeError, ValueError), match=named):
        decide(*arguments)


# --- records ------------------------------------------------------------------------------------------------------------


def written(tmp_path, claim=CLAIM, baseline=EIGHT, treatment=BETTER, run=None, **options):
    return record(claim, judge(claim, baseline, treatment), run or FakeRun(), folder=tmp_path / "made", **options)


def test_record_has_the_fixed_form(tmp_path):
    path = written(tmp_path, search={"temperature": [0.1, 0.5]}, seconds=1.5)
    saved = json.loads(path.read_text())
    assert path == tmp_path / "made" / "T01-outcome-auc.json" and list(saved) == [*records.CLAIM, "runs", "schema"]
    assert {k: saved[k] for k in records.CLAIM} == asdict(CLAIM)
    run = saved["runs"]["laptop"]
    assert (
        set(run) == {*records.RUN, *records.SINCE_2}
        and run["seeds"] == list(range(8))
        and run["baseline"] == EIGHT
        and run["treatment"] == BETTER
    )
    assert run["parameters"] == {"steps": 3, "device": "cpu"} and run["search"] == {"temperature": [0.1, 0.5]} and run["seconds"] == 1.5
    assert (
        set(run["versions"]) == {"python", "torch", "scikit-learn", "numpy", "contrastive_nb"}
        and run["versions"]["torch"] == torch.__version__
    )
    assert run["code"] == f"hash of {NOTEBOOK} at laptop" and run["device"] == "cpu"
    assert run["commit"] is None or len(run["commit"]) >= 4
    assert not list((tmp_path / "made").glob("*.part"))


def test_numbers_are_kept_unrounded(tmp_path):
    third = [1 / 3 + i for i in range(8)]
    saved = load(folder=written(tmp_path, treatment=third).parent)[0]["runs"]["laptop"]
    assert saved["treatment"] == third and saved["effect"] == judge(CLAIM, EIGHT, third).effect


def test_record_goes_to_build_by_default(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "build", lambda: tmp_path)
    path = record(CLAIM, judge(CLAIM, EIGHT[:2], BETTER[:2]), FakeRun("ci", 2))
    assert path == tmp_path / "claims" / "ci" / "T01-outcome-auc.json" and path.exists()


def test_a_deterministic_record_has_seed_zero(tmp_path):
    path = written(tmp_path, change(kind="mechanism"), [1.0], [2.0])
    assert json.loads(path.read_text())["runs"]["laptop"]["seeds"] == [0]


def test_commit_is_null_outside_a_checkout(monkeypatch):
    monkeypatch.setattr(files, "checkout", lambda: None)
    assert claims._commit() is None


MECHANISM = change(kind="mechanism")
TOO_BAD = {
    "outcome with 7 seeds": (ValueError, "seeds", CLAIM, 7, {}),
    "outcome with 1": (ValueError, "seeds", CLAIM, 1, {}),
    "mechanism with 4": (ValueError, "seeds", MECHANISM, 4, {}),
    "seeds twice": (ValueError, "seeds", CLAIM, 8, {"seeds": [0] * 8}),
    "seeds too many": (ValueError, "seeds", CLAIM, 8, {"seeds": list(range(9))}),
    "seeds no whole numbers": (TypeError, "seeds", CLAIM, 8, {"seeds": [i + 0.5 for i in range(8)]}),
    "seconds negative": (ValueError, "seconds", CLAIM, 8, {"seconds": -1}),
    "seconds text": (TypeError, "seconds", CLAIM, 8, {"seconds": "3"}),
    "search a list": (TypeError, "search", CLAIM, 8, {"search": ["temperature"]}),
    "another notebook": (ValueError, "notebook", CLAIM, 8, {"run": FakeRun(notebook="1_objectives/01_infonce")}),
    "an unknown profile": (ValueError, "profile", CLAIM, 8, {"run": FakeRun("huge")}),
}


@pytest.mark.parametrize("case", TOO_BAD)
def test_record_refuses_and_writes_nothing(case, tmp_path):
    kind, name, claim, count, options = TOO_BAD[case]
    options = {"run": FakeRun(seeds=count)} | options
    with pytest.raises(kind, match=name):
        written(tmp_path, claim, EIGHT[:count], BETTER[:count], **options)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("claim, count", [(CLAIM, 8), (MECHANISM, 5), (MECHANISM, 1)])
def test_enough_seeds_are_recorded(claim, count, tmp_path):
    assert written(tmp_path, claim, EIGHT[:count], BETTER[:count], run=FakeRun(seeds=count)).exists()


@pytest.mark.parametrize("count", [1, 2, 4])
def test_ci_takes_any_number_of_seeds(count, tmp_path):
    assert written(tmp_path, CLAIM, EIGHT[:count], BETTER[:count], run=FakeRun("ci", count)).exists()


def test_record_refuses_the_verdict_of_another_claim(tmp_path):
    with pytest.raises(ValueError, match="verdict"):
        record(CLAIM, judge(change(smallest_effect=0.02), EIGHT, BETTER), FakeRun(), folder=tmp_path)


def test_a_failed_write_leaves_the_old_record(tmp_path, monkeypatch):
    path = written(tmp_path)
    before = path.read_bytes()

    def full(*_):
        raise OSError("disk full")

    monkeypatch.setattr(claims.Path, "replace", full)
    with pytest.raises(OSError):
        written(tmp_path, treatment=[x + 1 for x in EIGHT])
    assert path.read_bytes() == before


BAD_CLAIMS = {
    "id": [("T 01", ValueError), ("../up", ValueError), ("a_b", ValueError), ("-a", ValueError), (3, TypeError)],
    "kind": [("result", ValueError)],
    "formula": [("guessed", ValueError)],
    "direction": [("up", ValueError)],
    "smallest_effect": [(0, ValueError), (-0.1, ValueError), (math.nan, ValueError), ("0.1", TypeError), (True, TypeError)],
    "statement": [("", ValueError), ("  ", ValueError), (None, TypeError)],
    "metric": [("", ValueError)],
    "baseline": [(0.5, TypeError)],
    "treatment": [("", ValueError)],
    "paper": [(None, TypeError)],
    "notebook": [("", ValueError)],
    "paper_figure": [(3, TypeError), ("", ValueError)],
}


@pytest.mark.parametrize("field, value, kind", [(f, v, k) for f, cases in BAD_CLAIMS.items() for v, k in cases])
def test_a_bad_claim_is_refused(field, value, kind):
    with pytest.raises(kind, match=field):
        change(**{field: value})


BAD_NUMBERS = {
    "unequal": (ValueError, "treatment", [1, 2], [1]),
    "nan": (ValueError, "baseline", [1, math.nan], [1, 2]),
    "infinite": (ValueError, "treatment", [1, 2], [1, -math.inf]),
    "none": (ValueError, "baseline", [], []),
    "one number": (TypeError, "baseline", 1.0, [1.0]),
    "text": (TypeError, "treatment", [1.0], "1"),
    "text inside": (TypeError, "treatment", [1.0], ["1"]),
    "None inside": (TypeError, "baseline", [None], [1.0]),
}


@pytest.mark.parametrize("case", BAD_NUMBERS)
def test_judge_refuses(case):
    kind, name, baseline, treatment = BAD_NUMBERS[case]
    with pytest.raises(kind, match=name):
        judge(CLAIM, baseline, treatment)


@pytest.mark.parametrize("confidence", [0, 1, -1, math.nan])
def test_confidence_lies_between_0_and_1(confidence):
    with pytest.raises(ValueError, match="confidence"):
        t_interval([1, 2], confidence)


# --- check_record, load, merge ------------------------------------------------------------------------------------------


def spoil(saved, path, value):
    saved = copy.deepcopy(saved)
    *way, last = path
    inside = saved
    for key in way:
        inside = inside[key]
    if value is KeyError:
        del inside[last]
    else:
        inside[last] = value
    return saved


SPOILT = {
    "a field missing": (["paper"], KeyError, "record"),
    "a run's field missing": (["runs", "laptop", "code"], KeyError, "run"),
    "a run that is a list": (["runs", "laptop"], [], "laptop"),
    "runs that are a list": (["runs"], [{}], "runs"),
    "an effect that is text": (["runs", "laptop", "effect"], "0.03", "effect"),
    "an interval with text": (["runs", "laptop", "interval"], ["0", 1], "interval"),
    "a verdict that is null": (["runs", "laptop", "verdict"], None, "verdict"),
    "seconds that are true": (["runs", "laptop", "seconds"], True, "seconds"),
    "seconds that are not a number": (["runs", "laptop", "seconds"], math.nan, "seconds|NaN"),
    "a statement that is a list": (["statement"], ["x"], "statement"),
    "a kind that is a list": (["kind"], [], "kind"),
    "no run": (["runs"], {}, "runs"),
    "an unknown profile": (["runs", "smoke"], {}, "profile"),
    "another verdict": (["runs", "laptop", "verdict"], "not reproduced", "verdict"),
    "another effect": (["runs", "laptop", "effect"], 0.5, "verdict"),
    "a narrower interval": (["runs", "laptop", "interval"], [0.0334, 0.0336], "verdict"),
    "half an interval": (["runs", "laptop", "interval"], [0.0334], "verdict"),
    "a changed number": (["runs", "laptop", "treatment", 0], 0.9, "verdict"),
    "a moved threshold": (["smallest_effect"], 0.5, "verdict"),
    "a turned direction": (["direction"], "lower", "verdict"),
    "a seed twice": (["runs", "laptop", "seeds"], [1] * 8, "seeds"),
    "seeds no list": (["runs", "laptop", "seeds"], 8, "seeds"),
    "versions no table": (["runs", "laptop", "versions"], None, "versions"),
    "a number no number": (["runs", "laptop", "baseline", 0], None, "baseline"),
}


@pytest.mark.parametrize("case", SPOILT)
def test_a_spoilt_record_is_found(case, tmp_path):
    way, value, named = SPOILT[case]
    path = written(tmp_path)
    saved = json.loads(path.read_text())
    assert check_record(saved) is saved
    wrong = spoil(saved, way, value)
    with pytest.raises((TypeError, ValueError), match=named):
        check_record(wrong)
    path.write_text(json.dumps(wrong))
    with pytest.raises(ValueError, match="T01-outcome-auc.json"):
        load(folder=path.parent)
    with pytest.raises(ValueError, match="T01-outcome-auc.json"):
        merge(path, tmp_path / "ledger")
    assert not (tmp_path / "ledger").exists()


def test_record_merge_load_round_trip(tmp_path):
    ledger = tmp_path / "ledger"
    assert load(folder=ledger) == []
    laptop = written(tmp_path)
    assert merge(laptop, ledger) == ledger / "T01-outcome-auc.json"
    assert load(folder=ledger) == [json.loads(laptop.read_text())]
    for name in ("T00-first", "T02-last"):
        merge(written(tmp_path, change(id=name)), ledger)
    assert [r["id"] for r in load(folder=ledger)] == ["T00-first", "T01-outcome-auc", "T02-last"]
    assert [r["id"] for r in load("T02-last", ledger)] == ["T02-last"]
    with pytest.raises(ValueError, match="T00-first"):
        load("T03", ledger)


def test_merge_keeps_other_sizes_and_replaces_its_own(tmp_path):
    ledger = tmp_path / "ledger"
    merge(written(tmp_path, run=FakeRun("gpu")), ledger)
    merge(written(tmp_path), ledger)
    (both,) = load(folder=ledger)
    assert list(both["runs"]) == ["laptop", "gpu"]
    merge(written(tmp_path, treatment=EIGHT[::-1]), ledger)
    (again,) = load(folder=ledger)
    assert again["runs"]["laptop"]["treatment"] == EIGHT[::-1] and again["runs"]["gpu"] == both["runs"]["gpu"]


def test_merge_drops_runs_of_a_changed_claim(tmp_path):
    ledger = tmp_path / "ledger"
    merge(written(tmp_path, run=FakeRun("gpu")), ledger)
    merge(written(tmp_path, change(smallest_effect=0.02)), ledger)
    (found,) = load(folder=ledger)
    assert list(found["runs"]) == ["laptop"] and found["smallest_effect"] == 0.02


def test_what_a_newer_record_says_beside_is_kept(tmp_path):
    path = written(tmp_path)
    newer = json.loads(path.read_text()) | {"says": "better"}
    newer["runs"]["laptop"]["memory"] = 12
    path.write_text(json.dumps(newer))
    assert load(folder=path.parent) == [newer]
    assert json.loads(merge(path, tmp_path / "ledger").read_text()) == newer


@pytest.mark.parametrize("text", ["[]", '"T01"', "null", "{", "", "[" * 100_000, b"\xff\xfe", '{"id": NaN}', '{"id": "a", "id": "b"}'])
def test_a_file_that_holds_something_else_is_named(text, tmp_path):
    (tmp_path / "T01.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError, match="T01.json: "):
        load(folder=tmp_path)
    (tmp_path / "T01.json").unlink()
    (tmp_path / "T01.json").mkdir()
    with pytest.raises(ValueError, match="T01.json: cannot be read"):
        records.read_all(tmp_path)


def test_a_file_must_be_named_after_its_claim(tmp_path):
    path = written(tmp_path)
    path.rename(path.with_name("other.json"))
    with pytest.raises(ValueError, match="other.json"):
        load(folder=path.parent)


def test_a_file_that_is_no_json_is_named(tmp_path):
    (tmp_path / "T01.json").write_text("{")
    with pytest.raises(ValueError, match="T01.json"):
        load(folder=tmp_path)


def test_the_ledger_of_the_project_is_whole():
    records = load()
    assert records
    for saved in records:
        assert saved["notebook"] and "laptop" in saved["runs"]


@pytest.mark.parametrize("spoil", [lambda r: r["runs"].clear(), lambda r: r["runs"].update(ci=r["runs"].pop("laptop")), None])
def test_the_check_of_the_ledger_finds_an_empty_one_and_a_claim_without_its_laptop_run(monkeypatch, spoil):
    records = [] if spoil is None else load()[:2]
    for record in records[-1:]:
        spoil(record)
    monkeypatch.setitem(globals(), "load", lambda: records)
    with pytest.raises(AssertionError):
        test_the_ledger_of_the_project_is_whole()


def test_the_pages_settings():
    for profile in ("ci", "laptop", "gpu"):
        values = profile_settings(profile, NOTEBOOK)
        assert values["repetitions"] >= (10_000 if profile != "ci" else 100) and values["device"] == "cpu"
