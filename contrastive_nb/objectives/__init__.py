"""Objectives: pure functions of the unpacked `Pairs` (or of graded lists). Written by hand: it only gathers names."""

from contrastive_nb.objectives.cacr import cacr
from contrastive_nb.objectives.infonce import info_nce
from contrastive_nb.objectives.mw import mw
from contrastive_nb.objectives.ranking import list_mle, ranklist, ranknet, ranknet_graded

__all__ = ["cacr", "info_nce", "list_mle", "mw", "ranklist", "ranknet", "ranknet_graded"]
