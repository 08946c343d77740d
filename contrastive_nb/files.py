"""Where things lie: in the checkout, or inside an installed wheel. Plain module: paths teach nothing."""

import os
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
NOTEBOOKS, BUILD = "CONTRASTIVE_NB_NOTEBOOKS", "CONTRASTIVE_NB_BUILD"


def checkout() -> Path | None:
    "The repository's root when the package runs from a checkout, else `None`."
    root = PACKAGE.parent
    return root if (root / "settings.ini").exists() and (root / "nbs").is_dir() else None


def shared(name: str) -> Path:
    "The path of a file that travels with the package (`settings.ini`, `data/...`), in a checkout or in a wheel."
    root = checkout()
    return (root or PACKAGE / "_share") / name


def build() -> Path:
    "The folder for everything a run writes: `CONTRASTIVE_NB_BUILD` if set, else `build/` of the checkout or of the current folder."
    return Path(os.environ.get(BUILD) or (checkout() or Path.cwd()) / "build")


def notebooks() -> Path:
    "The folder of the notebooks: `CONTRASTIVE_NB_NOTEBOOKS` if set (by the runner), else `nbs/` of the checkout or of the current folder."
    return Path(os.environ.get(NOTEBOOKS) or (checkout() or Path.cwd()) / "nbs")
