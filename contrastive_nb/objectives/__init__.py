"""Objectives: pure functions of the unpacked `Pairs` (or of graded lists). Written by hand: it only gathers names."""

from contrastive_nb.objectives.infonce import info_nce
from contrastive_nb.objectives.ranking import ranknet

__all__ = ["info_nce", "ranknet"]
