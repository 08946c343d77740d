"""Heads and losses of text encoders and retrievers. Written by hand: it only gathers names."""

from contrastive_nb.retrieval.latent_pooling import LatentPooling

__all__ = ["LatentPooling"]
