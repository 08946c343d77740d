"""Results between the floors and the ceiling of their bench."""

import math

import pytest

from contrastive_nb.book.tables import results
from contrastive_nb.lab import benches
from contrastive_nb.lab.claims import t_interval


def test_methods_stand_between_floors_and_ceiling():
    found = benches.facts_of("fashion")["readouts"]["few_labels"]
    *floors, one, other, ceiling = results("fashion/few_labels", {"one": [0.4, 0.5], "other": [0.6]}).rows
    assert {row[""] for row in floors} == {f"floor: {name}" for name in found["floors"]} and len(floors) > 2
    assert [row["mean"] for row in floors] == sorted(found["floors"].values()) and ceiling["mean"] == found["ceiling"]
    low, high = t_interval([0.4, 0.5])
    assert math.isclose(one["mean"], 0.45) and math.isclose(one["half-width"], (high - low) / 2) and one["seeds"] == 2
    assert other == {"": "other", "mean": 0.6, "half-width": None, "seeds": 1}


def test_what_cannot_be_shown_is_said(tmp_path):
    with pytest.raises(ValueError, match="want one of 'canvases/few_labels'"):
        results("canvases/many", {})
    with pytest.raises(ValueError, match="readout: got 'fashion/knn', want a bench that was measured"):
        results("fashion/knn", {"one": [0.4]}, folder=tmp_path)
    with pytest.raises(TypeError, match="arms: got list, want"):
        results("fashion/knn", [0.4])
