"""What decides which negatives count, and how much: batches, mixers, narrowers, weights. Written by hand: it only gathers names."""

from contrastive_nb.checks import names_what_is_missing
from contrastive_nb.negatives.asymmetric import asymmetric_loss
from contrastive_nb.negatives.batches import by_class, by_cluster, by_group, by_neighbour
from contrastive_nb.negatives.feature_transform import feature_transform, score_moments
from contrastive_nb.negatives.hard import hard_nce
from contrastive_nb.negatives.mining import batch_hard, margin_pos, mine, perc_pos, simans, top_k_abs, top_k_shifted
from contrastive_nb.negatives.mining_triplets import per_positive, semi_hard
from contrastive_nb.negatives.mochi import mochi
from contrastive_nb.negatives.refreshed import Refreshed, faded
from contrastive_nb.training import Queue, momentum_update, slow_copy  # where they are now; from here for one version

__all__ = [
    "Queue", "Refreshed", "asymmetric_loss", "batch_hard", "by_class", "by_cluster", "by_group", "by_neighbour", "faded", "feature_transform",
    "hard_nce", "margin_pos", "mine", "mochi", "momentum_update", "per_positive", "perc_pos", "score_moments", "semi_hard", "simans", "slow_copy",
    "top_k_abs", "top_k_shifted",
]  # fmt: skip

names_what_is_missing(asymmetric_loss, hard_nce)
