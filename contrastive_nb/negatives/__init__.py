"""What decides which negatives count: mixers and narrowers. Written by hand: it only gathers names."""

from contrastive_nb.negatives.hard import batch_hard
from contrastive_nb.negatives.mochi import mochi
from contrastive_nb.training import Queue, momentum_update, slow_copy  # where they are now; from here for one version

__all__ = ["Queue", "batch_hard", "mochi", "momentum_update", "slow_copy"]
