"""The book as a course: the tree that students get, the one for who teaches, and the ways through with their hours. Plain module."""

import json
import os
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from contrastive_nb import __version__, files
from contrastive_nb.book import keys, markup, reading
from contrastive_nb.lab import freshness, outputs

SOLUTION = re.compile(r"\n*^<details><summary>Solution</summary>[ \t]*\n.*?^</details>[ \t]*$", re.M | re.S)
BESIDE = ("_site_assets/front.svg",)  # beside the pages and the settings of their chapters, what a page shows
README = """# {title}

Pages of contrastive_nb {version}{what}. They need that version of the package: `pip install 'contrastive_nb[notebooks]=={version}'`, or an
installation from its repository. Open `nbs/start.ipynb` in JupyterLab, or run a page in a terminal, here in this folder:

    contrastive-nb run nbs/0_foundations/00_notation.ipynb
"""


# --- a page without its solutions -----------------------------------------------------------------------------------------------------


def _left(cell: dict) -> bool:
    "Whether a cell shows that it solves an exercise, or names a solution."
    tags, text = cell["metadata"].get("tags", []), "".join(cell["source"])
    return "solution" in tags or "solution_" in json.dumps(cell) or bool(re.match(r"# Solution\b", text)) or "<summary>Solution" in text


def _opened(cell: dict) -> dict:
    "A cell as a student gets it: no folded solution, no output."
    if cell["cell_type"] == "markdown":
        return cell | {"source": SOLUTION.sub("", "".join(cell["source"])).splitlines(keepends=True)}
    return cell | ({"outputs": [], "execution_count": None} if cell["cell_type"] == "code" else {})


def without_solutions(name: str, book: dict) -> dict:
    "A page as students get it: no solution, no output, nothing of a recorded run. Raises `ValueError` where a solution would be left."
    cells = [_opened(cell) for cell in book["cells"] if "solution" not in cell["metadata"].get("tags", [])]
    for number, cell in enumerate(cells, 1):
        if _left(cell):
            raise ValueError(
                f"{name}: cell {number} would leave a solution in the students' tree; want it tagged, or folded under Solution"
            )
    return book | {"cells": cells, "metadata": {key: value for key, value in book["metadata"].items() if key != outputs.KEY}}


# --- the trees ------------------------------------------------------------------------------------------------------------------------


def _text(book: dict) -> str:
    return json.dumps(book, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def _beside(root: Path) -> dict[str, str]:
    "What pages need beside them: the settings of their chapters, pictures, the licence."
    found = [*sorted(root.glob("*/settings.ini")), *(root / name for name in BESIDE)]
    kept = {f"nbs/{path.relative_to(root).as_posix()}": path for path in found} | {"LICENSE": root.parent / "LICENSE"}
    return {name: path.read_text(encoding="utf-8") for name, path in kept.items() if path.is_file()}


def student(root: Path) -> dict[str, str]:
    "The tree of the students of the notebooks in a folder: its files and their text."
    what = ", without solutions and outputs: the checks of the exercises are in the package"
    books = {name: freshness.read_book(root / f"{name}.ipynb") for name in freshness.all_notebooks(root)}
    pages = {f"nbs/{name}.ipynb": _text(without_solutions(name, book)) for name, book in books.items()}
    return {"README.md": README.format(title="The students' pages", version=__version__, what=what)} | pages | _beside(root)


def instructor(root: Path) -> dict[str, str]:
    "The tree of who teaches: the pages as the book has them, and beside each page with exercises its key."
    what = ", with their solutions; beside each page with exercises lies its key, `.key.md`. Not for students"
    tree = {"README.md": README.format(title="The instructor's pages", version=__version__, what=what)} | _beside(root)
    for name in freshness.all_notebooks(root):
        book = freshness.read_book(root / f"{name}.ipynb")
        tree[f"nbs/{name}.ipynb"] = _text(book)
        if reading.exercises(book):
            tree[f"nbs/{name}.key.md"] = keys.text(name, book, keys.load(name, root))
    return tree


def _check_folder(folder: Path, root: Path) -> None:
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise ValueError(f"FOLDER: {folder} is a file or has something in it, want a new or an empty folder")
    if folder.resolve().is_relative_to(root.resolve()):
        raise ValueError(f"FOLDER: {folder} lies among the pages of the book, want a folder outside {root}")


def write(
    folder: Path,  # new or empty
    for_instructor: bool = False,  # with solutions and keys; else the students' tree
) -> str:  # what was written, in one line
    "Write a tree. Raises `ValueError` for a folder that has something in it, a solution that would be left, a key that does not fit."
    folder, root = Path(folder), files.notebooks()
    _check_folder(folder, root)
    tree = instructor(root) if for_instructor else student(root)
    for name, text in tree.items():
        files.write_whole(folder / name, text)
    pages = [name for name in freshness.all_notebooks(root) if f"nbs/{name}.ipynb" in tree]
    tasks = sum(len(reading.exercises(freshness.read_book(root / f"{name}.ipynb"))) for name in pages)
    said = f"{folder}: {len(pages)} pages with {tasks} exercises"
    if not for_instructor:
        return f"{said}, no solutions and no outputs; start with nbs/start.ipynb"
    lacking = keys.lacking(root)
    more = f"; {len(lacking)} of them have no questions yet" if lacking else ""
    return f"{said} and their solutions, {sum(name.endswith('.key.md') for name in tree)} keys{more}"


# --- the ways through -----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Part:
    "An hour of an afternoon or a week of a term: what it is for, what is read, which exercises are solved."

    name: str
    goals: str
    read: tuple[str, ...]  # pages
    solve: dict[str, tuple[int, ...]]  # page -> the numbers of its exercises

    @property
    def load(self) -> reading.Load:
        return sum((reading.load(_book(name)) for name in self.read), reading.Load())

    @property
    def tasks(self) -> list[tuple[str, list[reading.Exercise]]]:
        return [(name, [task for task in reading.exercises(_book(name)) if task.number in chosen]) for name, chosen in self.solve.items()]

    @property
    def points(self) -> int:
        return sum(task.points for _, chosen in self.tasks for task in chosen)

    @property
    def minutes(self) -> float:
        return self.load.minutes + sum(task.minutes for _, chosen in self.tasks for task in chosen)


@cache
def _read(path: Path, changed: int) -> dict:
    return freshness.read_book(path)


def _book(name: str) -> dict:
    path = files.notebooks() / f"{name}.ipynb"
    return _read(path, path.stat().st_mtime_ns)


def ways() -> dict[str, list[Part]]:
    "The ways through of data/ways.yml. Raises `ValueError` for a page or an exercise that is not there."
    import yaml

    said = yaml.safe_load(files.shared("data/ways.yml").read_text(encoding="utf-8"))
    return {way: [_part(f"{way}, {part['name']}", part) for part in parts] for way, parts in said.items()}


def _part(where: str, said: dict) -> Part:
    solve = {name: tuple(numbers) for name, numbers in said.get("solve", {}).items()}
    for name in (*said["read"], *solve):
        if not (files.notebooks() / f"{name}.ipynb").is_file():
            raise ValueError(f"data/ways.yml, {where}: got {name!r}, want the name of a page under nbs/")
    for name, numbers in solve.items():
        known = {task.number for task in reading.exercises(_book(name))}
        if not numbers or not set(numbers) <= known:
            raise ValueError(f"data/ways.yml, {where}: got exercises {list(numbers)} of {name}, want some of {sorted(known)}")
    return Part(said["name"], said["goals"], tuple(said["read"]), solve)


def hours(minutes: float) -> str:
    "Minutes in words, to the nearest five."
    whole, rest = divmod(5 * round(minutes / 5), 60)
    return " ".join(([f"{whole} h"] if whole else []) + ([f"{rest} min"] if rest or not whole else []))


def link(name: str, words: str | None = None) -> str:
    "A link from a guide to a page, by its title up to a colon."
    words = words or markup.text(markup.title(name).partition(":")[0])
    return f'<a href="{os.path.relpath(name, "guides").replace(os.sep, "/")}.ipynb">{words}</a>'


def _row(part: Part) -> str:
    solved = {name: f": {', '.join(str(task.number) for task in chosen)}" for name, chosen in part.tasks}
    pages = "".join(f"<li>{link(name)}{solved.get(name, '')}</li>" for name in dict.fromkeys((*part.read, *solved)))
    first = f'<th scope="row">{markup.text(part.name)}</th><td>{markup.text(part.goals)}</td><td><ul>{pages}</ul></td>'
    return f"<tr>{first}<td>{part.points}</td><td>{part.load.words:,}</td><td>{hours(part.minutes)}</td></tr>"


def way_html(way: str) -> str:
    "A way through as a table: a row a part, its sums, and how the time was measured."
    parts = ways()[way]
    load, minutes = sum((part.load for part in parts), reading.Load()), sum(part.minutes for part in parts)
    heads = "".join(f'<th scope="col">{head}</th>' for head in ("part", "you learn", "read: solve", "points", "words", "time"))
    points = sum(part.points for part in parts)
    total = f'<tr><th scope="row" colspan="3">all</th><th>{points}</th><th>{load.words:,}</th><th>{hours(minutes)}</th></tr>'
    body = "\n".join(map(_row, parts))
    return f'<table class="way"><thead><tr>{heads}</tr></thead><tbody>\n{body}\n</tbody><tfoot>{total}</tfoot></table>{_measured(load)}'


def _measured(load: reading.Load) -> str:
    speeds = (
        f"{reading.WORDS_A_MINUTE} words and {reading.LINES_A_MINUTE} lines of code a minute, {reading.SECONDS_A_FORMULA} seconds a formula"
    )
    seen = f"{load.words:,} words, {load.lines:,} lines of code that are seen, {load.formulas} formulas"
    return (
        f'<p class="measured">Measured on the pages as they are: {seen}, read at {speeds}; exercises count the minutes that they name.</p>'
    )
