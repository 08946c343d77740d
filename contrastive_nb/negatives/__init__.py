"""What decides which negatives count: mixers and narrowers. Written by hand: it only gathers names."""

from contrastive_nb.negatives.mochi import Queue, mochi, momentum_update, slow_copy
from contrastive_nb.objectives.triplet import batch_hard

__all__ = ["Queue", "batch_hard", "mochi", "momentum_update", "slow_copy"]
