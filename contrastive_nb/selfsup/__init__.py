"""Learning without negatives: layers and losses that keep an embedding from collapsing. Written by hand: it only gathers names."""

from contrastive_nb.selfsup.assignments import sinkhorn, swav
from contrastive_nb.selfsup.stages import Stages, feature_groups
from contrastive_nb.selfsup.vicreg import barlow_twins, vicreg
from contrastive_nb.selfsup.w_mse import cholesky_whitening, w_mse
from contrastive_nb.selfsup.whitening import group_whitening, shuffled_views

__all__ = [
    "Stages",
    "barlow_twins",
    "cholesky_whitening",
    "feature_groups",
    "group_whitening",
    "shuffled_views",
    "sinkhorn",
    "swav",
    "vicreg",
    "w_mse",
]
