"""Which views meet, and what counts as a positive. Written by hand: it only gathers names."""

from contrastive_nb.checks import names_what_is_missing
from contrastive_nb.views.adaptive import AdaptiveHeads, PairTemperature, adaptive_nce, temperature_penalty
from contrastive_nb.views.arbitrary import PairGate, draw_partners, from_partners
from contrastive_nb.views.many_views import mv_dhel, mv_infonce, pairwise_nce

__all__ = [
    "AdaptiveHeads", "PairGate", "PairTemperature", "adaptive_nce", "draw_partners", "from_partners", "mv_dhel", "mv_infonce",
    "pairwise_nce", "temperature_penalty",
]  # fmt: skip

names_what_is_missing(adaptive_nce)
