"""Keeps what is told twice in step: README.md with the front page nbs/index.ipynb, the folders of nbs/ with the sidebar in _quarto.yml.

`make front`, `make site` and the commit hook run it; it needs Python alone.
"""

import json
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TOP = ("index", "start", "catalogue", "ledger")  # pages without a chapter, in this order
FIGURE = """<img src="_site_assets/front.svg" alt="Four steps. Two views of each item are neighbours on a circle. All their scores form a \
matrix: positives marked plus, negatives minus, self-pairs hatched. A loss is computed from the matrix. A claim is judged: its effect, \
with an interval, lies wholly beyond the smallest that counts, so it is confirmed.">"""

VERDICT = "X01-outcome-batch-steps-on-classes"  # what the website shows of the ledger in its first screen

WAYS = """The first runs every notebook small and prints the effects, the second runs every test.

Or read on: [the first ten minutes](start.ipynb), [InfoNCE](1_objectives/01_infonce.ipynb) from its equation to its verdict, the [catalogue](catalogue.ipynb) of all methods, \
the [ledger](ledger.ipynb) of all claims."""


def cells(readme: str) -> list[dict]:
    "Title and subtitle, commands beside the figure, then the rest of README.md. Links outside nbs/ become plain names."
    heading, first, rest = readme.strip().split("\n\n", 2)

    def moved(link):
        name, target = link.groups()
        if re.match(r"\w+:|#", target):
            return link.group()
        return f"[{name}]({target.removeprefix('nbs/')})" if target.startswith("nbs/") else f"`{name}`"

    commands = re.findall(r"^    (make \w+) +#", rest, re.M)[:2]
    example = re.search(r"^```python\n.*?^```$", rest, re.M | re.S)
    left = "Two commands, on a fresh clone:\n\n" + "".join(f"    {command}\n" for command in commands) + f"\n{WAYS}"
    left += f"\n\nAs a library:\n\n{example[0]}" if example else ""
    hero = f'<div class="hero">\n<div>\n\n{left}\n\n</div>\n\n<div>\n\n{FIGURE}\n\n<!-- verdict {VERDICT} -->\n\n</div>\n\n</div>'
    rest = re.sub(r"\[([^\]]+)\]\(([^)]+)\)", moved, rest)
    texts = [heading + "\n> " + first.replace("\n", " "), *([hero] if commands else []), *re.split(r"\n(?=## )", rest)]
    shown = [text.strip().splitlines(keepends=True) for text in texts]
    return [{"cell_type": "markdown", "id": f"front-{i}", "metadata": {}, "source": text} for i, text in enumerate(shown)]


def page(readme: str) -> str:
    "The front page as the text of a notebook file."
    spec = {"display_name": "python3", "language": "python", "name": "python3"}
    book = {"cells": cells(readme), "metadata": {"kernelspec": spec}, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(book, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def pages(folder: Path) -> list[str]:
    "Every page by its path; folders and files that start with _ or . are not pages."
    found = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.ipynb"))
    return [name for name in found if not any(part[0] in "_." for part in name.split("/"))]


def sidebar(names: list[str]) -> str:
    "The sidebar's lines in _quarto.yml: chapters by their numbers, the unnumbered ones last, a folder's name as its title."
    chapters: dict[str, list[str]] = {}
    for name in names:
        chapters.setdefault(name.rpartition("/")[0], []).append(name)
    lines = [f"- {name}.ipynb" for name in TOP if f"{name}.ipynb" in names]
    lines += [f"- {name}" for name in chapters.get("", []) if name.removesuffix(".ipynb") not in TOP]
    for folder in sorted(
        filter(None, chapters), key=lambda folder: (not folder[0].isdigit(), [int(n) for n in re.findall(r"^\d+", folder)], folder)
    ):
        title = re.sub(r"^\d+_", "", folder).replace("_", " ")
        lines += [f"- section: {title[0].upper()}{title[1:]}", "  contents:", *(f"    - {name}" for name in chapters[folder])]
    return "".join(f"      {line}\n" for line in lines)


def settings(text: str, names: list[str]) -> str:
    "The text of _quarto.yml with the sidebar that these pages need; the rest as it is."
    return re.sub(r"(?<=^    contents:\n)(?:      .*\n)+", sidebar(names), text, count=1, flags=re.M)


def put(path: Path, text: str) -> None:
    if path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    put(ROOT / "nbs" / "index.ipynb", page((ROOT / "README.md").read_text(encoding="utf-8")))
    put(ROOT / "_quarto.yml", settings((ROOT / "_quarto.yml").read_text(encoding="utf-8"), pages(ROOT / "nbs")))
