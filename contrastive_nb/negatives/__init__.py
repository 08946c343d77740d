"""What decides which negatives count: batches, mixers and narrowers. Written by hand: it only gathers names."""

from contrastive_nb.negatives.asymmetric import asymmetric_loss
from contrastive_nb.negatives.batches import by_class, by_cluster, by_group, by_neighbour
from contrastive_nb.negatives.mining import batch_hard, margin_pos, mine, perc_pos, simans, top_k_abs, top_k_shifted
from contrastive_nb.negatives.mochi import mochi
from contrastive_nb.training import Queue, momentum_update, slow_copy  # where they are now; from here for one version

__all__ = [
    "Queue", "asymmetric_loss", "batch_hard", "by_class", "by_cluster", "by_group", "by_neighbour", "margin_pos", "mine", "mochi",
    "momentum_update", "perc_pos", "simans", "slow_copy", "top_k_abs", "top_k_shifted",
]  # fmt: skip
