"""Moved to `contrastive_nb.kernels.tabulated`. Plain module: the old address works for one version, with a warning."""

import warnings

from contrastive_nb.kernels.tabulated import *  # noqa: F403
from contrastive_nb.kernels.tabulated import __all__  # noqa: F401

warnings.warn("contrastive_nb.scaling.tabulated is now contrastive_nb.kernels.tabulated", DeprecationWarning, stacklevel=2)
