"""Objectives and narrowers that correct for false negatives. Written by hand: it only gathers names."""

from contrastive_nb.debiasing.debiased import debiased_nce

__all__ = ["debiased_nce"]
