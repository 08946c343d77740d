"""Where things lie: in the checkout, or inside an installed wheel. Plain module: paths teach nothing."""

import glob
import os
import threading
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


def part_of(path: Path) -> Path:
    "The file beside this one into which this thread of this process writes before it renames."
    return path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}.part")


def parts_of(path: Path) -> list[Path]:
    "The unfinished files that writers of this one left beside it when they were killed."
    return sorted(path.parent.glob(f"{glob.escape(path.name)}.*.part"))


def write_whole(path: str | Path, content: bytes | memoryview | str) -> Path:
    """Write a file beside the wanted one, then rename it: whoever looks finds the old file or the new one, never a half.

    The folder is made if it is missing. What is renamed is on the disk already, so that a machine that stops leaves no empty file.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = part_of(path)
    try:
        with part.open("wb") as file:
            file.write(content.encode("utf-8") if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return path
