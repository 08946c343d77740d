"""Large batches: objectives over tiles, cached gradients, several processes. Written by hand: it only gathers names."""

from ..kernels.tabulated import all_pairs_square
from .cached import cached
from .gathered import gather_with_grad, own_rows, ring_info_nce, ring_mw
from .streaming import streaming_debiased_nce, streaming_decoupled_nce, streaming_info_nce, streaming_mw

__all__ = [
    "all_pairs_square", "cached", "gather_with_grad", "own_rows", "ring_info_nce", "ring_mw",
    "streaming_debiased_nce", "streaming_decoupled_nce", "streaming_info_nce", "streaming_mw",
]  # fmt: skip
