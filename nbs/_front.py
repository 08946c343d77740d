"""Copies README.md into the front page, nbs/index.ipynb, with its links seen from there. `make front` and the commit hook run it."""

import json
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def cells(readme: str) -> list[dict]:
    "The front page's text: title and subtitle, then the rest of README.md. Links to what is not in nbs/ become plain names."
    heading, first, rest = readme.strip().split("\n\n", 2)

    def moved(link):
        name, target = link.groups()
        if re.match(r"\w+:|#", target):
            return link.group()
        return f"[{name}]({target.removeprefix('nbs/')})" if target.startswith("nbs/") else f"`{name}`"

    rest = re.sub(r"\[([^\]]+)\]\(([^)]+)\)", moved, rest)
    texts = [heading + "\n> " + first.replace("\n", " "), *re.split(r"\n(?=## )", rest)]
    shown = [text.strip().splitlines(keepends=True) for text in texts]
    return [{"cell_type": "markdown", "id": f"front-{i}", "metadata": {}, "source": text} for i, text in enumerate(shown)]


def page(readme: str) -> str:
    "The front page as the text of a notebook file."
    spec = {"display_name": "python3", "language": "python", "name": "python3"}
    book = {"cells": cells(readme), "metadata": {"kernelspec": spec}, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(book, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


if __name__ == "__main__":
    (ROOT / "nbs" / "index.ipynb").write_text(page((ROOT / "README.md").read_text(encoding="utf-8")), encoding="utf-8")
