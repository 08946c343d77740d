"""Objectives: pure functions of the unpacked `Pairs` (or of graded lists). Written by hand: it only gathers names."""

from contrastive_nb.objectives.cacr import cacr
from contrastive_nb.objectives.decoupled import decoupled_nce
from contrastive_nb.objectives.infonce import info_nce
from contrastive_nb.objectives.mw import mw
from contrastive_nb.objectives.ranking import list_mle, ranklist, ranknet, ranknet_graded
from contrastive_nb.objectives.supcon import supcon

__all__ = ["cacr", "decoupled_nce", "info_nce", "list_mle", "mw", "ranklist", "ranknet", "ranknet_graded", "supcon"]
