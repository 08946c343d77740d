"""Objectives: pure functions of the unpacked `Pairs` (or of graded lists). Written by hand: it only gathers names."""

from contrastive_nb.checks import names_what_is_missing
from contrastive_nb.objective import weigh
from contrastive_nb.objectives.cacr import cacr
from contrastive_nb.objectives.decoupled import decoupled_nce
from contrastive_nb.objectives.groco import groco
from contrastive_nb.objectives.infonce import info_nce
from contrastive_nb.objectives.mw import mw
from contrastive_nb.objectives.noise_contrast import Meco, meco_loss, nce_loss
from contrastive_nb.objectives.ranking import list_mle, ranklist, ranknet, ranknet_graded
from contrastive_nb.objectives.soft_targets import soft_nce
from contrastive_nb.objectives.supcon import supcon
from contrastive_nb.objectives.triplet import triplet

__all__ = [
    "Meco", "cacr", "decoupled_nce", "groco", "info_nce", "list_mle", "meco_loss", "mw", "nce_loss", "ranklist", "ranknet", "ranknet_graded",
    "soft_nce", "supcon", "triplet", "weigh",
]  # fmt: skip

names_what_is_missing(cacr, decoupled_nce, groco, info_nce, mw, ranknet, supcon, triplet)
