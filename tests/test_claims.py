"""The judge and its records: known values, symmetry, null false alarms, every refusal, the way from a run to the ledger."""

import copy
import json
import math
import sys
from dataclasses import asdict, replace
from types import SimpleNamespace

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
    chances,
    check_record,
    decide,
    holm,
    judge,
    judged_again,
    load,
    merge,
    p_value,
    record,
    scale,
    set_aside,
    t_interval,
)
from contrastive_nb.lab.profiles import settings as profile_settings

NOTEBOOK = "0_foundations/06_claims"
CLAIM = Claim(
    id="T01-mechanism-auc", paper="Nobody 2020", notebook=NOTEBOOK, kind="mechanism", statement="It scores higher.", metric="AUC",
    baseline="without", treatment="with", direction="higher", smallest_effect=0.01,
)  # fmt: skip
CONFIRMED, SIZE_OPEN, TOO_SMALL, NO_EFFECT, REVERSED, NOT_RESOLVED, NOT_TESTABLE = VERDICTS
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
    "low, high, verdict",
    [
        (0.01, 0.04, CONFIRMED), (0.02, 0.02, CONFIRMED), (0.001, 0.01, SIZE_OPEN), (0.001, 0.04, SIZE_OPEN), (0.001, 0.0099, TOO_SMALL),
        (0.0, 0.0099, NO_EFFECT), (-0.0099, 0.0, NO_EFFECT), (0.0, 0.0, NO_EFFECT), (-0.2, -0.05, REVERSED), (-0.005, -0.001, REVERSED),
        (0.0, 0.01, NOT_RESOLVED), (-0.01, 0.0, NOT_RESOLVED), (-0.01, 0.0099, NOT_RESOLVED), (-0.5, 0.5, NOT_RESOLVED),
    ],
)  # fmt: skip
def test_the_rule(low, high, verdict):
    assert decide((low, high), 0.01) == verdict and decide((low, high), 0.01, testable=False) == NOT_TESTABLE


CONDITIONS = {  # each verdict by itself, without the order of the lines
    CONFIRMED: lambda low, high, e: low >= e,
    SIZE_OPEN: lambda low, high, e: 0 < low < e <= high,
    TOO_SMALL: lambda low, high, e: 0 < low and high < e,
    NO_EFFECT: lambda low, high, e: -e < low <= 0 <= high < e,
    REVERSED: lambda low, high, e: high < 0,
    NOT_RESOLVED: lambda low, high, e: low <= 0 <= high and (low <= -e or high >= e),
}
ends = st.one_of(st.sampled_from([-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0]), st.floats(-3, 3))  # in units of e: its boundaries often


@settings(max_examples=400, deadline=None)
@given(ends, ends, st.sampled_from([0.25, 1.0, 4.0]))
def test_exactly_one_verdict_fits(one, other, e):
    low, high = sorted((one * e, other * e))
    assert [verdict for verdict, fits in CONDITIONS.items() if fits(low, high, e)] == [decide((low, high), e)]


@settings(max_examples=60, deadline=None)
@given(ends, ends)
def test_a_claim_turned_round_is_not_confirmed_too(one, other):
    low, high = sorted((one, other))
    verdict, turned = decide((low, high), 1.0), decide((-high, -low), 1.0)
    assert not {verdict, turned} <= {CONFIRMED, SIZE_OPEN, TOO_SMALL} and (turned == REVERSED) == (low > 0)
    assert (verdict in (NO_EFFECT, NOT_RESOLVED)) == (turned in (NO_EFFECT, NOT_RESOLVED)) and (verdict == turned or low > 0 or high < 0)


# --- chances ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seeds", [5, 8, 24])
@pytest.mark.parametrize("effect", [0.0, 0.5, 1.0, 2.0, -0.5])
def test_the_chances_are_those_of_the_judge(effect, seeds):
    "20,000 experiments judged by the rule itself: within 2 points, at spreads that make each verdict come up."
    for spread in (0.3, 1.0, 2.5):
        d = np.random.default_rng(seeds).normal(effect, spread, (20_000, seeds))
        half = scipy.stats.t.ppf(0.975, seeds - 1) * d.std(1, ddof=1) / seeds**0.5
        found = [decide((low, high), 1.0) for low, high in zip(d.mean(1) - half, d.mean(1) + half, strict=True)]
        computed = chances(effect, spread, seeds, 1.0)
        assert list(computed) == list(VERDICTS) and math.isclose(sum(computed.values()), 1, abs_tol=1e-9)
        for verdict in VERDICTS:
            assert abs(computed[verdict] - found.count(verdict) / len(found)) < 0.02, verdict


def test_the_chances_without_noise_are_certain():
    for effect, verdict in ((2.0, CONFIRMED), (0.5, TOO_SMALL), (-0.5, REVERSED)):
        assert chances(effect, 0.0, 5, 1.0)[verdict] == pytest.approx(1)


@pytest.mark.parametrize("arguments, named", [
    ((math.nan, 1.0, 5, 1.0), "effect"), ((0.0, -1.0, 5, 1.0), "spread"), ((0.0, 1.0, 1, 1.0), "seeds"), ((0.0, 1.0, 5, 0.0), "smallest_effect"),
])  # fmt: skip
def test_the_chances_take_no_nonsense(arguments, named):
    with pytest.raises((TypeError, ValueError), match=named):
        chances(*arguments)


# --- many claims --------------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holms_steps(p):
    adjusted = holm(p)
    ranked = sorted(range(len(p)), key=lambda i: p[i])
    expected = np.maximum.accumulate([min(1.0, (len(p) - k) * p[i]) for k, i in enumerate(ranked)])
    np.testing.assert_allclose([adjusted[i] for i in ranked], expected)
    assert all(a >= b for a, b in zip(adjusted, p, strict=True))


@pytest.mark.parametrize("p", [[], [1.5], [-0.1], [math.nan], ["0.1"], 0.1])
def test_holm_takes_p_values_alone(p):
    with pytest.raises((TypeError, ValueError), match="p: got"):
        holm(p)


def test_a_verdicts_p_value_is_the_paired_tests():
    assert p_value(judge(CLAIM, EIGHT, BETTER)) == scipy.stats.ttest_rel(BETTER, EIGHT).pvalue
    assert p_value(judge(CLAIM, [0.5], [0.75])) is None is p_value(judge(CLAIM, [0.0, 0.0], [0.5, 0.5]))


# --- judge --------------------------------------------------------------------------------------------------------------


def test_judge_known_values():
    verdict = judge(CLAIM, EIGHT, BETTER)
    paired = scipy.stats.ttest_rel(BETTER, EIGHT)
    assert math.isclose(verdict.effect, np.mean(np.subtract(BETTER, EIGHT)))
    np.testing.assert_allclose(verdict.interval, paired.confidence_interval(0.95), rtol=1e-9)
    assert verdict.verdict == CONFIRMED and verdict.baseline == EIGHT and verdict.treatment == BETTER
    assert judge(change(direction="lower"), EIGHT, BETTER).verdict == REVERSED
    assert judge(change(smallest_effect=0.1), EIGHT, BETTER).verdict == TOO_SMALL
    assert math.isclose(verdict.spread, np.std(np.subtract(BETTER, EIGHT), ddof=1))
    assert math.isclose(verdict.half_width, (verdict.interval[1] - verdict.interval[0]) / 2)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=10), st.floats(1e-3, 10))
def test_judge_is_symmetric_in_direction(pairs, smallest):
    a, b = map(list, zip(*pairs, strict=True))
    higher, lower = (change(smallest_effect=smallest, direction=d) for d in ("higher", "lower"))
    one, other = judge(higher, a, b), judge(lower, b, a)
    assert (one.effect, one.interval, one.verdict) == (other.effect, other.interval, other.verdict)
    against = judge(lower, a, b)
    assert against.effect == -one.effect and {one.verdict, against.verdict} != {CONFIRMED}
    np.testing.assert_allclose(against.interval, (-one.interval[1], -one.interval[0]), atol=1e-9)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(numbers, numbers), min_size=2, max_size=8), st.randoms())
def test_judge_does_not_see_the_order_of_seeds(pairs, random):
    shuffled = pairs[:]
    random.shuffle(shuffled)
    one, other = (judge(CLAIM, *map(list, zip(*p, strict=True))) for p in (pairs, shuffled))
    np.testing.assert_allclose([one.effect, *one.interval], [other.effect, *other.interval], rtol=1e-9, atol=1e-9)


def test_a_deterministic_claim_has_its_effect_as_interval():
    verdict = judge(CLAIM, [0.5], [0.75])
    assert verdict.interval == (0.25, 0.25) and verdict.verdict == CONFIRMED and "deterministic" in repr(verdict)
    assert judge(CLAIM, [0.5], [0.505]).verdict == TOO_SMALL


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
        above = sum(v.verdict == CONFIRMED for v in verdicts)
        either = sum(v.interval[0] > 0 or v.interval[1] < 0 for v in verdicts)
        for count, rate in ((above, 0.025), (either, 0.05)):
            low, high = scipy.stats.binom.interval(0.9999, experiments, rate)
            assert low <= count <= high


def test_a_verdict_shows_itself():
    verdict = judge(change(formula="reconstructed"), EIGHT, BETTER, run=FakeRun())
    for text in (repr(verdict), verdict._repr_markdown_()):
        assert "0.0335" in text and "8 seeds" in text and "reconstructed" in text and "laptop" in text and "0.01" in text
    big = [judge(CLAIM, EIGHT, np.add(EIGHT, d))._repr_markdown_() for d in (0.03, 0.005, -0.05, [0.1, -0.1] * 4, [0.001, -0.001] * 4)]
    said = (CONFIRMED, TOO_SMALL, REVERSED, NOT_RESOLVED, NO_EFFECT)
    frames = {text.replace(v.capitalize(), "*").split("effect")[0] for text, v in zip(big, said, strict=True)}
    assert len(frames) == 1  # all verdicts are printed alike
    assert "reconstructed" not in big[0] and "at laptop" not in big[0]
    assert repr(Verdict(0.1, (0.0, 0.2), VERDICTS[2], [1.0, 2.0], [1.1, 2.1])).startswith(f"{TOO_SMALL}: effect 0.1")


def test_beside_a_verdict_stands_what_its_seeds_could_tell():
    verdict = judge(change(paper_effect=0.033), EIGHT, BETTER, run=FakeRun())
    found, none = (chances(true, verdict.spread, 8, 0.01) for true in (0.02, 0.0))
    for shown in (repr(verdict), verdict._repr_markdown_()):
        assert f"half-width {verdict.half_width:.2g}" in shown and f"0.02 with chance {found[CONFIRMED]:.2f}" in shown
        assert f"with chance {none[NO_EFFECT]:.2f}" in shown and "holds the paper's own 0.033" in shown
    assert "excludes the paper's own 0.5" in repr(judge(change(paper_effect=0.5), EIGHT, BETTER))
    slight = judge(CLAIM, EIGHT, np.subtract(EIGHT, 0.005))
    assert "by less than an effect that counts" in repr(slight)
    assert "by less" not in repr(judge(CLAIM, EIGHT, np.subtract(EIGHT, 0.05)))


def test_at_ci_size_there_is_no_verdict():
    verdict = judge(change(paper_effect=0.03), EIGHT, BETTER, run=FakeRun("ci"))
    assert verdict.verdict is None and verdict.effect > 0.03
    for shown in (repr(verdict), verdict._repr_markdown_()):
        assert "0.0335" in shown and "at ci size" in shown and not [word for word in VERDICTS if word in shown.lower()]


def test_what_a_claim_says_is_text_in_markdown():
    words = "<script>alert(1)</script> | & rises"
    shown = judge(change(statement=words), EIGHT, BETTER)._repr_markdown_()
    assert shown.startswith("&lt;script&gt;alert(1)&lt;/script&gt; | &amp; rises\n\n<span") and "<script" not in shown
    assert "<script" not in replace(judge(CLAIM, EIGHT, BETTER, run=FakeRun()), verdict=words, profile=words)._repr_markdown_()


@pytest.mark.parametrize("arguments, named", [
    (((2, -1), 0.1), "interval"),
    (((1,), 0.1), "interval"),
    (((0, math.nan), 0.1), "interval"),
    (("ab", 0.1), "interval"),
    ((None, 0.1), "interval"),
    (((0, 1), 0), "smallest_effect"),
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
    assert path == tmp_path / "made" / "T01-mechanism-auc.json" and list(saved) == [*records.CLAIM, "runs", "schema"]
    assert {k: saved[k] for k in records.CLAIM} == asdict(CLAIM) | {"amended": []}
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
    assert path == tmp_path / "claims" / "ci" / "T01-mechanism-auc.json" and path.exists()


def test_a_deterministic_record_has_seed_zero(tmp_path):
    path = written(tmp_path, change(kind="mechanism"), [1.0], [2.0])
    assert json.loads(path.read_text())["runs"]["laptop"]["seeds"] == [0]


def test_commit_is_null_outside_a_checkout(monkeypatch):
    monkeypatch.setattr(files, "checkout", lambda: None)
    assert claims._commit() is None


OUTCOME = change(id="T01-outcome-auc", kind="outcome")
TOO_BAD = {
    "outcome with 7 seeds": (ValueError, "seeds", OUTCOME, 7, {}),
    "outcome with 1": (ValueError, "seeds", OUTCOME, 1, {}),
    "mechanism with 4": (ValueError, "seeds", CLAIM, 4, {}),
    "cost with 4": (ValueError, "seeds", change(kind="cost"), 4, {}),
    "fewer seeds than the claim fixed": (ValueError, "seeds: got 7, want 8", change(seeds=8), 7, {}),
    "more seeds than the claim fixed": (ValueError, "seeds: got 8, want 6", change(seeds=6), 8, {}),
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


@pytest.mark.parametrize(
    "claim, count", [(OUTCOME, 8), (CLAIM, 5), (CLAIM, 1), (change(kind="cost"), 5), (change(kind="identity"), 2), (change(seeds=6), 6)]
)
def test_enough_seeds_are_recorded(claim, count, tmp_path):
    assert written(tmp_path, claim, EIGHT[:count], BETTER[:count], run=FakeRun(seeds=count)).exists()


@pytest.mark.parametrize("count", [1, 2, 4])
def test_ci_takes_any_number_of_seeds(count, tmp_path):
    for claim in (CLAIM, OUTCOME, change(seeds=8)):
        assert written(tmp_path, claim, EIGHT[:count], BETTER[:count], run=FakeRun("ci", count)).exists()


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
    "says": [("nobody", ValueError), (None, TypeError)],
    "paper_effect": [("4 points", TypeError), (math.nan, ValueError), (True, TypeError)],
    "paper_setting": [
        ("cifar10", TypeError),
        ({"set": "cifar10"}, ValueError),
        ({"set": None, "steps": 1, "batch": 1, "lr": 1}, ValueError),
    ],
    "bench": [("canvases/probe", ValueError), ("", ValueError), (3, TypeError)],  # of a mechanism, the first
    "seeds": [(0, ValueError), (8.5, TypeError), ("8", TypeError)],
    "estimand": [("", ValueError), (3, TypeError)],
    "amended": [(None, TypeError), (3, TypeError), (["a word"], TypeError), ([{"why": "it looked better"}], ValueError)],
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
    "a verdict of another type": (["runs", "laptop", "verdict"], 3, "verdict"),
    "seconds that are true": (["runs", "laptop", "seconds"], True, "seconds"),
    "seconds that are not a number": (["runs", "laptop", "seconds"], math.nan, "seconds|NaN"),
    "a statement that is a list": (["statement"], ["x"], "statement"),
    "a kind that is a list": (["kind"], [], "kind"),
    "no run": (["runs"], {}, "runs"),
    "an unknown profile": (["runs", "smoke"], {}, "profile"),
    "another verdict": (["runs", "laptop", "verdict"], SIZE_OPEN, "verdict"),
    "a verdict of an older rule": (["runs", "laptop", "verdict"], "reproduced", "verdict"),
    "a sayer that is none": (["says"], "everybody", "says"),
    "an amendment without its commit": (["amended"], [{"why": "so"}], "amended"),
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
    assert check_record(saved) == saved
    wrong = spoil(saved, way, value)
    with pytest.raises((TypeError, ValueError), match=named):
        check_record(wrong)
    path.write_text(json.dumps(wrong))
    with pytest.raises(ValueError, match="T01-mechanism-auc.json"):
        load(folder=path.parent)
    with pytest.raises(ValueError, match="T01-mechanism-auc.json"):
        merge(path, tmp_path / "ledger")
    assert not (tmp_path / "ledger").exists()


def test_record_merge_load_round_trip(tmp_path):
    ledger = tmp_path / "ledger"
    assert load(folder=ledger) == []
    laptop = written(tmp_path)
    assert merge(laptop, ledger) == ledger / "T01-mechanism-auc.json"
    assert load(folder=ledger) == [json.loads(laptop.read_text())]
    for name in ("T00-first", "T02-last"):
        merge(written(tmp_path, change(id=name)), ledger)
    assert [r["id"] for r in load(folder=ledger)] == ["T00-first", "T01-mechanism-auc", "T02-last"]
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
    newer = json.loads(path.read_text()) | {"sung": "better"}
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
        assert saved["notebook"] and ("laptop" in saved["runs"] or saved.get("verdict") == NOT_TESTABLE)


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


# --- benches ------------------------------------------------------------------------------------------------------------

ON_A_BENCH = change(OUTCOME, bench="canvases/probe", smallest_effect=0.01, seeds=8)


@pytest.fixture
def benches(monkeypatch):
    "A benches module that admits what it is told to: range_of(bench) -> (low, high) or None."
    from contrastive_nb.lab import benches as real

    ranges = {"canvases/probe": (0.005, 0.02)}
    fake = SimpleNamespace(range_of=ranges.get, spread_of=lambda name: 0.005, seeds_for=real.seeds_for)
    fake.bench = lambda name: SimpleNamespace(settings={}, facts=None)
    monkeypatch.setitem(sys.modules, "contrastive_nb.lab.benches", fake)
    monkeypatch.setattr(sys.modules["contrastive_nb.lab"], "benches", fake, raising=False)
    return ranges


NOT_ADMITTED = {"too fine": (0.02, 0.1), "too coarse": (0.001, 0.005), "not admitted": None}


def test_an_outcome_is_judged_on_a_bench_that_admits_its_effect(benches):
    assert judge(ON_A_BENCH, EIGHT, BETTER).verdict == CONFIRMED
    for e in (0.005, 0.02):  # the range has its ends
        assert judge(replace(ON_A_BENCH, smallest_effect=e), EIGHT, BETTER).verdict == CONFIRMED


@pytest.mark.parametrize("why", NOT_ADMITTED)
def test_a_bench_that_does_not_admit_the_effect_lets_no_other_verdict_through(why, benches, tmp_path):
    path = written(tmp_path, ON_A_BENCH)
    assert load(folder=path.parent)[0]["runs"]["laptop"]["verdict"] == CONFIRMED
    benches["canvases/probe"] = NOT_ADMITTED[why]
    verdict = judge(ON_A_BENCH, EIGHT, BETTER)
    assert verdict.verdict == NOT_TESTABLE and f"the interval alone would read: {CONFIRMED}" in repr(verdict)
    assert verdict.baseline == EIGHT and verdict.interval[0] > 0.01  # its numbers are kept
    with pytest.raises(ValueError, match="T01-outcome-auc.json.*its own numbers give 'not testable here'"):
        load(folder=path.parent)
    with pytest.raises(ValueError, match="its own numbers give 'not testable here'"):
        merge(path, tmp_path / "ledger")
    with pytest.raises(ValueError, match="its own numbers give 'not testable here'"):
        record(ON_A_BENCH, replace(verdict, verdict=CONFIRMED), FakeRun(), folder=tmp_path / "forged")
    assert not (tmp_path / "ledger").exists() and not (tmp_path / "forged").exists()
    assert judged_again(json.loads(path.read_text()))["runs"]["laptop"]["verdict"] == NOT_TESTABLE


@pytest.mark.parametrize(
    "claim, said",
    [
        (replace(ON_A_BENCH, seeds=None), "claim.seeds: got no number, want 8 or more: what canvases/probe needs for 0.01"),
        (replace(ON_A_BENCH, smallest_effect=0.005), "claim.seeds: got 8, want 18 or more: what canvases/probe needs for 0.005"),
    ],
)
def test_seeds_that_were_not_fixed_or_are_too_few_for_the_bench_are_not_recorded(claim, said, benches, tmp_path):
    with pytest.raises(ValueError, match=said):
        written(tmp_path, claim)
    assert not list(tmp_path.rglob("*.json"))
    benches["canvases/probe"] = None  # what is not testable anyway is kept with the seeds that it had
    assert load(folder=written(tmp_path, claim).parent)[0]["runs"]["laptop"]["verdict"] == NOT_TESTABLE


def test_an_outcome_without_a_bench_is_not_testable_and_keeps_its_numbers(tmp_path):
    (found,) = load(folder=written(tmp_path, OUTCOME).parent)
    assert found["runs"]["laptop"]["verdict"] == NOT_TESTABLE and found["runs"]["laptop"]["treatment"] == BETTER


def test_a_claim_is_set_aside_without_a_run(tmp_path, benches):
    path = set_aside(OUTCOME, "a hundredth needs more images than are at hand", FakeRun(), folder=tmp_path / "made")
    assert load(folder=path.parent) == [json.loads(path.read_text())]
    (found,) = load(folder=merge(path, tmp_path / "ledger").parent)
    assert found["runs"] == {} and found["verdict"] == NOT_TESTABLE and found["why"].startswith("a hundredth")
    ran = written(tmp_path, OUTCOME)
    assert "verdict" not in json.loads(merge(ran, tmp_path / "ledger").read_text())  # a run takes its place
    with pytest.raises(ValueError, match="its bench admits 0.01"):
        set_aside(ON_A_BENCH, "no reason", FakeRun(), folder=tmp_path / "none")
    with pytest.raises(ValueError, match="its bench admits 0.01"):
        set_aside(CLAIM, "a mechanism needs no bench", FakeRun(), folder=tmp_path / "none")
    for why in ("", None):
        with pytest.raises((TypeError, ValueError), match="why"):
            set_aside(OUTCOME, why, FakeRun(), folder=tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_a_claim_that_is_set_aside_keeps_the_runs_of_an_earlier_experiment(tmp_path, benches):
    fixed = replace(OUTCOME, seeds=8)
    ledger = tmp_path / "ledger"
    merge(written(tmp_path, fixed), ledger)
    now = replace(fixed, seeds=16, estimand="other seeds")  # notes may change; the earlier run had seeds of its own
    path = merge(set_aside(now, "the bench of today is too small for a hundredth", FakeRun(), folder=tmp_path / "aside"), ledger)
    (found,) = load(folder=ledger)
    assert (found["verdict"], found["why"][:9], found["seeds"]) == (NOT_TESTABLE, "the bench", 16)
    assert found["runs"]["laptop"]["treatment"] == BETTER and found["runs"]["laptop"]["verdict"] == NOT_TESTABLE
    assert json.loads(path.read_text()) == found == judged_again(found) and records.is_set_aside(found)
    again = merge(set_aside(now, "another reason", FakeRun(), folder=tmp_path / "aside"), ledger)
    assert json.loads(again.read_text())["runs"] == found["runs"]
    other = replace(now, statement="Another claim.")
    assert json.loads(merge(set_aside(other, "why", FakeRun(), folder=tmp_path / "aside"), ledger).read_text())["runs"] == {}
    merge(written(tmp_path / "new", OUTCOME), ledger)
    (found,) = load(folder=ledger)
    assert not records.is_set_aside(found) and "why" not in found  # a run takes its place


@pytest.mark.parametrize(
    "fields, said",
    [
        ({"verdict": CONFIRMED}, "verdict: got 'confirmed' for the claim itself, want 'not testable here'"),
        ({"why": None}, "why: got None, want the reason"),
        ({"why": " "}, "why: got ' ', want the reason"),
        ({"kind": "mechanism"}, "its bench admits 0.01"),
    ],
)
def test_a_record_that_is_set_aside_with_runs_says_why_and_nothing_else(fields, said, tmp_path):
    merge(written(tmp_path, OUTCOME), tmp_path / "ledger")
    path = merge(set_aside(OUTCOME, "too few images", FakeRun(), folder=tmp_path / "aside"), tmp_path / "ledger")
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))
    with pytest.raises(ValueError, match=said):
        load(folder=path.parent)


@pytest.mark.parametrize("verdict", [CONFIRMED, NO_EFFECT, None])
def test_a_record_without_a_run_says_not_testable_and_nothing_else(verdict, tmp_path):
    path = set_aside(OUTCOME, "too few images", FakeRun(), folder=tmp_path)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"verdict": verdict}))
    with pytest.raises(ValueError, match="runs"):
        load(folder=tmp_path)


# --- older records, scale -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("schema", [1, 2, None])
def test_an_older_record_is_read_and_judged_by_todays_rule(schema, tmp_path):
    path = written(tmp_path)
    saved = json.loads(path.read_text())
    old = {key: value for key, value in saved.items() if key not in records.SINCE_3} | {"schema": schema}
    old["runs"]["laptop"] = {key: saved["runs"]["laptop"][key] for key in records.RUN} | {"verdict": "not reproduced"}
    if schema is None:
        del old["schema"]
    path.write_text(json.dumps(old))
    (found,) = load(folder=path.parent)
    assert found["runs"]["laptop"]["verdict"] == CONFIRMED and found["says"] == "ours" and found["amended"] == []
    assert found["schema"] == 3 and list(found)[: len(records.CLAIM)] == list(records.CLAIM)
    path.write_text(json.dumps(old | {"schema": 3}))  # a new record has no excuse
    with pytest.raises(ValueError, match="its own numbers give"):
        load(folder=path.parent)


def test_a_forged_verdict_is_judged_away(tmp_path):
    saved = json.loads(written(tmp_path).read_text())
    saved["runs"]["laptop"]["verdict"] = REVERSED
    with pytest.raises(ValueError, match=f"got 'reversed'.*its own numbers give '{CONFIRMED}'"):
        check_record(saved)
    assert judged_again(saved)["runs"]["laptop"]["verdict"] == CONFIRMED


def test_a_verdict_at_ci_size_is_forged(tmp_path):
    path = written(tmp_path, run=FakeRun("ci"))
    saved = json.loads(path.read_text())
    assert saved["runs"]["ci"]["verdict"] is None
    path.write_text(json.dumps(spoil(saved, ["runs", "ci", "verdict"], CONFIRMED)))
    with pytest.raises(ValueError, match="got 'confirmed'.*its own numbers give None"):
        load(folder=path.parent)


SETTING = {"set": "cifar10", "steps": 1000, "batch": 256}


@pytest.mark.parametrize("data, setting, steps, batch, expected", [
    (None, SETTING, 1000, 256, "toy"), ({}, SETTING, 1000, 256, "toy"), ({"digits": "x"}, SETTING, 1000, 256, "toy"),
    ({"fashion_mnist": "x"}, SETTING, 1000, 256, "reduced"), ({"cifar10": "x"}, None, 1000, 256, "reduced"),
    ({"cifar10": "x"}, SETTING, 999, 256, "paper's set"), ({"cifar10": "x"}, SETTING, 1000, 255, "paper's set"),
    ({"cifar10": "x"}, SETTING | {"steps": None}, 1000, 256, "paper's set"), ({"cifar10": "x"}, SETTING, None, 256, "paper's set"),
    ({"cifar10": "x"}, SETTING, 1000, 256, "paper's setting"), ({"digits": "x", "cifar10": "x"}, SETTING, 2000, 512, "paper's setting"),
])  # fmt: skip
def test_scale_is_read_off_the_run(data, setting, steps, batch, expected, tmp_path):
    saved = json.loads(written(tmp_path).read_text())
    run = saved["runs"]["laptop"] | {"data": data, "parameters": {"steps": steps, "batch_size": batch}}
    assert scale(saved | {"paper_setting": setting, "runs": {"gpu": run}}, "gpu") == expected
    with pytest.raises(ValueError, match="profile: got 'laptop'"):
        scale(saved | {"runs": {"gpu": run}}, "laptop")
