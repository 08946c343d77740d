"""Objectives for labels that have an order or a tree. Written by hand: it only gathers names."""

from contrastive_nb.ordinal.trees import soft_views, tree_similarity

__all__ = ["soft_views", "tree_similarity"]
