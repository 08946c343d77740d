"""The table of errors against float64: ours stay within their bounds, and the measurement sees an error where there is one."""

import math

import pytest
import torch
from commands import CliRunner

from contrastive_nb import cli, files, registry
from contrastive_nb.timing import contestants, numerics

SLICE = numerics.Plan(temperatures=(1.0, 0.05, 0.005), libraries=["contrastive_nb"])


@pytest.fixture(scope="module")
def rows() -> list[dict]:
    return numerics.measure(SLICE)


def test_none_of_ours_is_worse_than_its_bound(rows):
    assert {row["library"] for row in rows} == {"contrastive_nb"} and not [row["why"] for row in rows if row["why"]]
    assert [row for row in numerics.faults(rows) if not numerics.by_nature(row)] == []


def test_every_objective_on_pairs_is_asked_in_every_situation_and_dtype(rows):
    asked = {(row["who"], row["source"], row["dtype"], row["situation"]) for row in rows}
    for method in registry.methods("pairs"):
        for source in ("scores", "embeddings"):
            for dtype in numerics.DTYPES:
                assert {(method.name, source, dtype, situation) for situation in numerics.SITUATIONS} <= asked


def test_what_is_excused_by_nature_is_excused_for_its_gradient_alone(rows):
    excused = [row for row in numerics.faults(rows) if numerics.by_nature(row)]
    assert excused and all(row["value"] <= numerics.bound(row) for row in excused)
    row = excused[0] | dict(gradient=1.0)
    assert numerics.by_nature(row) is None and numerics.by_nature(excused[0] | dict(situation="spread")) is None


def test_a_gradient_that_should_be_0_is_a_difference_of_equal_numbers():
    "What excuses the rows that are all equal: the error is what rounding one of the equal numbers leaves."
    row = torch.nn.functional.normalize(torch.randn(16, generator=torch.Generator().manual_seed(0), dtype=torch.float64), dim=0)
    slopes = torch.ones(32)
    pulled = slopes @ row.float().repeat(32, 1)  # to be cancelled by the part along the row
    left = pulled - row.float() * (pulled @ row.float())
    exact = 32 * row - row * (32 * row @ row)
    assert exact.norm() < 1e-13 and 1e-8 < left.norm() < 32 * 3e-7


@pytest.fixture
def planted(monkeypatch):
    "A way to InfoNCE that loses what it is told to."

    def plant(spoil, library="contrastive_nb"):
        def make(query, key):
            target = torch.arange(len(query))
            loss = lambda: torch.nn.functional.cross_entropy(spoil(contestants._cosine(query, key) / contestants.TEMPERATURE), target)
            return contestants.descend(loss, query, key)

        monkeypatch.setitem(contestants.CONTESTANTS, "infonce/planted", contestants._entry("infonce/planted", library, "", make))
        plan = numerics.Plan(
            words=["infonce/planted"], situations=("spread", "anti-aligned"), dtypes=("float32",), temperatures=(0.1, 0.01)
        )
        return numerics.measure(plan)

    return plant


def test_a_way_that_is_right_passes_and_one_that_loses_digits_is_found(planted):
    assert numerics.faults(planted(lambda logits: logits)) == []
    found = numerics.faults(planted(lambda logits: logits.bfloat16().float()))
    assert {row["situation"] for row in found} == {"spread", "anti-aligned"} and not any(map(numerics.by_nature, found))


def test_what_is_not_finite_or_raises_is_infinitely_far_off(planted):
    rows = planted(lambda logits: logits.exp().exp().exp().exp().log())
    assert all(row["value"] == math.inf for row in rows) and len(numerics.faults(rows)) == len(rows)

    def refuses(logits):
        raise RuntimeError("not implemented for 'Half'")

    rows = planted(refuses, "torch")
    assert all(row["gradient"] == math.inf and row["why"] == "RuntimeError: not implemented for 'Half'" for row in rows)
    assert numerics.faults(rows) == []  # it is not ours


def test_the_temperature_of_the_contestants_is_put_back():
    with pytest.raises(KeyError), contestants.asked(0.5, 1):
        assert (contestants.TEMPERATURE, contestants.CLASSES) == (0.5, 1)
        raise KeyError
    assert (contestants.TEMPERATURE, contestants.CLASSES) == (0.1, None)


def test_errors_are_relative_to_what_is_wanted_or_to_the_floor():
    slope = torch.tensor([3.0, 4.0], dtype=torch.float64)
    assert numerics.error_of(2.2, [slope], 2.0, [slope], 1.0) == (pytest.approx(0.1), 0.0)
    assert numerics.error_of(2e-6, [slope * 0.9], 1e-6, [slope], 1.0) == (pytest.approx(1e-4), pytest.approx(0.1))
    assert numerics.error_of(1.0, [slope], 1.0, [slope * 0], 10.0) == (0.0, pytest.approx(0.5))
    assert numerics.error_of(math.nan, [slope * math.nan], 1.0, [slope], 1.0) == (math.inf, math.inf)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (dict(dtypes=("float8",)), "dtypes: got 'float8'"),
        (dict(situations=("asleep",)), "situations: got 'asleep'"),
        (dict(sources=("logits",)), "sources: got 'logits'"),
        (dict(temperatures=(0.0,)), "temperatures: got 0.0"),
        (dict(libraries=["numpy"]), "libraries: got 'numpy'"),
        (dict(words=["nobody"]), "words: got 'nobody', no name has it"),
    ],
)
def test_a_plan_refuses_by_name(options, words):
    with pytest.raises(ValueError, match=words):
        numerics.Plan(**options)


def test_a_table_comes_back_as_it_was_written(rows, tmp_path):
    numerics.write(rows, tmp_path / "numerics.csv")
    back, versions = numerics.read(tmp_path / "numerics.csv")
    key = lambda row: tuple(row[name] for name in numerics.KEYS) + (row["temperature"] or 0,)
    assert len(back) == len(rows) and "torch" in versions
    for one, other in zip(sorted(back, key=key), sorted(rows, key=key), strict=True):
        assert key(one) == key(other) and one["value"] == pytest.approx(other["value"], rel=0.06)


@pytest.mark.parametrize("text", ["", "# torch 1\nwho,library\na,b\n", "who,library\n", "# torch 1\n"])
def test_a_file_that_is_no_table_is_named(text, tmp_path):
    (tmp_path / "other.csv").write_text(text)
    with pytest.raises(ValueError, match="other.csv: no table of errors"):
        numerics.read(tmp_path / "other.csv")


def test_the_kept_table_has_no_fault_of_ours_and_everyone_who_can_be_asked():
    path = files.shared("data") / "benchmarks" / "numerics.csv"
    rows, versions = numerics.read(path)
    assert [row for row in numerics.faults(rows) if not numerics.by_nature(row)] == []
    assert {row["who"] for row in rows} == {*numerics._objectives(), *numerics._ways()}
    assert all(row["library"] in versions for row in rows)


def test_the_command_writes_its_table_and_fails_where_one_of_ours_is_too_far_off(tmp_path, monkeypatch):
    run = lambda: CliRunner().invoke(cli.app, ["numerics", "triplet_hinge", "--output", str(tmp_path / "n.csv")])
    result = run()
    assert result.exit_code == 0 and "0 of ours too far off" in result.output and len(numerics.read(tmp_path / "n.csv")[0]) == 54
    monkeypatch.setattr(numerics, "BOUND", 0.0)
    result = run()
    assert result.exit_code == 1 and "who triplet_hinge" in result.output
