"""lightly's losses without torchvision: the package's own loader, under the name that the tests import."""

from contrastive_nb.lightly_loader import load  # noqa: F401
