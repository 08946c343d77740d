"""Contrastive learning and learning to rank: every method derived, tested and put to the test in a notebook

Modules:

- `contrastive_nb.lab.trace`: What a run goes through: the lines of the library that it executes, and step by step what its trainings do. Plain module."""

__version__ = "0.2.0"

from contrastive_nb._moved import install

install()
del install
