"""Which pages the website has: their order, titles, chapters and addresses. Plain module: machinery."""

import json
import os
import re
import subprocess
import tomllib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

import yaml

REPOSITORY = "CONTRASTIVE_NB_REPOSITORY"


def address(name: str) -> str:
    "A notebook's place on the website, as nbdev names it: the number goes, the folder stays."
    path = PurePosixPath(name.removesuffix(".ipynb"))
    return str(path.with_name(re.sub(r"^\d+[a-zA-Z0-9]*_", "", path.name.lower()) + ".html"))


def between(page: str, target: str) -> str:
    "The relative link from one address of the website to another."
    return os.path.relpath(target, PurePosixPath(page).parent).replace(os.sep, "/")


def read(path: Path) -> dict:
    "A notebook's file."
    return json.loads(Path(path).read_text(encoding="utf-8"))


def write(path: Path, text: str) -> None:
    "A text file, with its folders."
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def source(cell: dict) -> str:
    "A cell's text, whether the file holds it whole or by lines."
    return "".join(cell["source"])


@dataclass
class Page:
    "A notebook on its way to the website."

    name: str  # "1_objectives/01_infonce"
    path: Path  # the notebook
    chapter: str | None  # the sidebar's section; None: on top

    @property
    def address(self) -> str:
        return address(self.name)

    @cached_property
    def book(self) -> dict:
        return read(self.path)

    @cached_property
    def title(self) -> str:
        texts = (source(cell) for cell in self.book["cells"] if cell["cell_type"] == "markdown")
        found = next(filter(None, (re.match(r"# +(.+)", text) for text in texts)), None)
        return re.sub(r"[`*]", "", found.group(1)).strip() if found else self.name


def settings(root: Path) -> dict:
    "What _quarto.yml says."
    return yaml.safe_load((root / "_quarto.yml").read_text(encoding="utf-8"))


def pages(
    root: Path,  # the repository
    notebooks: Path | None = None,  # a folder whose notebooks come first, such as executed copies; what it lacks is taken from nbs/
) -> list[Page]:  # in the order of the sidebar
    "The notebooks that _quarto.yml lists."
    found = []

    def walk(contents, chapter):
        for item in contents:
            if isinstance(item, dict):
                walk(item["contents"], item["section"])
            else:
                places = [folder / item for folder in (notebooks, root / "nbs") if folder]
                path = next((place for place in places if place.exists()), places[-1])
                found.append(Page(item.removesuffix(".ipynb"), path, chapter))

    walk(settings(root)["website"]["sidebar"]["contents"], None)
    return found


def project(root: Path) -> dict:
    "The table [project] of pyproject.toml."
    return tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def citation(root: Path) -> dict:
    "What CITATION.cff says."
    return yaml.safe_load((root / "CITATION.cff").read_text(encoding="utf-8"))


def repository(root: Path) -> str | None:
    """The address readers can open, without a slash at the end; `None` when none is named on the web.

    From `CONTRASTIVE_NB_REPOSITORY`, pyproject.toml's [project.urls], or git's origin, the first that is set.
    """
    found = os.environ.get(REPOSITORY) or project(root).get("urls", {}).get("Repository")
    if not found:
        asked = subprocess.run(["git", "-C", str(root), "config", "--get", "remote.origin.url"], capture_output=True, text=True)
        found = re.sub(r"^git@([^:/]+):", r"https://\1/", asked.stdout.strip())
    found = found.rstrip("/").removesuffix(".git")
    return found if re.match(r"https?://[^/@]+/.+", found) else None
