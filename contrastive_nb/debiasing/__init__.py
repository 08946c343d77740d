"""Objectives, narrowers and weights that correct for what the collection of pairs did. Written by hand: it only gathers names."""

from contrastive_nb.checks import names_what_is_missing
from contrastive_nb.debiasing.clusters import Clusters, bidirectional_margin, cluster_negatives
from contrastive_nb.debiasing.debiased import debiased_nce
from contrastive_nb.debiasing.guided import guided_filter
from contrastive_nb.debiasing.propensities import Propensity, fit_propensity, inverse_propensity, surface
from contrastive_nb.debiasing.weighted import dclr_negatives, noise_keys

__all__ = [
    "Clusters", "Propensity", "bidirectional_margin", "cluster_negatives", "dclr_negatives", "debiased_nce", "fit_propensity",
    "guided_filter", "inverse_propensity", "noise_keys", "surface",
]  # fmt: skip

names_what_is_missing(bidirectional_margin, debiased_nce)
