"""Outputs bound to the run that made them: a digest in a page's metadata, pages saved by hand, the way back. Plain module."""

# `run --save` writes into the notebook's metadata the profile and a digest of what it left. Whoever saves a page from
# JupyterLab changes the outputs and not the digest, so that a small run's numbers are not taken for the book's.

import hashlib
import json
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from contrastive_nb import files
from contrastive_nb.lab import freshness

KEY = "contrastive_nb"  # of the notebook's metadata: profile, code, digest of the outputs
BOOK_KEYS, CELL_KEYS = (KEY,), ("tags", "jupyter", "alt")  # what nbdev-clean leaves in the metadata, as pyproject.toml tells it
_ADDRESS = re.compile(r"(<.*?)( at 0x[0-9a-fA-F]+)(>)")
_COLAB = "application/vnd.google.colaboratory.intrinsic+json"


def write(book: dict, path: Path) -> None:
    "A notebook as nbdev writes it."
    files.write_whole(path, json.dumps(book, indent=1, ensure_ascii=False, sort_keys=True) + "\n")


def _text(value):
    "Lines joined, addresses of objects left out; what is no text unchanged."
    is_lines = isinstance(value, list) and all(isinstance(line, str) for line in value)
    return _ADDRESS.sub(r"\1\3", "".join(value)) if isinstance(value, str) or is_lines else value


def _seen(output: dict) -> dict:
    "An output without what nbdev-clean takes away, so that the digest is the same before and after it."
    kept = {key: _text(value) for key, value in output.items() if key not in ("execution_count", "metadata", "data")}
    data = {kind: _text(value) for kind, value in output.get("data", {}).items() if kind != _COLAB}
    pictures = {kind: value.rstrip() for kind, value in data.items() if kind.startswith("image") and "svg" not in kind}
    return kept | {"data": data | pictures}


def _shown(book: dict) -> dict[str, list]:
    "The outputs of the cells that have any, by the cell's id."
    code = ((cell.get("id", str(place)), cell) for place, cell in enumerate(book["cells"]) if cell["cell_type"] == "code")
    return {name: cell["outputs"] for name, cell in code if cell.get("outputs")}


def digest(book: dict, profile: str) -> str:
    "16 hex digits of all outputs of a notebook, as nbdev-clean leaves them, and of the profile that they are said to be of."
    seen = {name: [_seen(output) for output in outputs] for name, outputs in _shown(book).items()}
    return hashlib.sha256(json.dumps([profile, seen], sort_keys=True).encode()).hexdigest()[:16]


def bind(book: dict, profile: str, code: str | None) -> None:
    "Write into the metadata what made the outputs that a notebook has now."
    book["metadata"][KEY] = {"profile": profile, "code": code, "outputs": digest(book, profile)}


def why_not(book: dict) -> str | None:
    "What is wrong with a notebook's outputs, in words, or `None` where a recorded run made them or there are none."
    made, shown = book["metadata"].get(KEY) or {}, _shown(book)
    if "outputs" not in made:
        return "has outputs that no recorded run made: it was saved by hand, as from JupyterLab" if shown else None
    if made["outputs"] == digest(book, made.get("profile", "")):
        return None
    if not shown:
        return f"has lost the outputs of its {made.get('profile')} run"
    found = re.search(r"profile (\w+): \d+ seed", json.dumps(list(shown.values())))
    says = f" (they say profile {found[1]})" if found else ""
    return f"has outputs that its recorded {made.get('profile')} run did not make{says}: it was saved by hand, as from JupyterLab"


# --- the pages of a tree ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fault:
    "A page whose outputs no recorded run made."

    page: str  # folder/name under the notebooks' folder
    why: str
    mend: str  # the command that mends it

    def __str__(self):
        return f"{self.page} {self.why}. To mend it: {self.mend}"


def faults(folder: Path | None = None) -> list[Fault]:
    "The pages of a folder, the notebooks' own if none is given, whose outputs no recorded run made."
    root = Path(folder or files.notebooks())
    books = ((name, freshness.read_book(root / f"{name}.ipynb")) for name in freshness.all_notebooks(root))
    return [_fault(name, why, root) for name, book in books if (why := why_not(book))]


def staged(folder: Path | None = None) -> list[Fault]:
    "The same of what the next commit would hold."
    root = Path(folder or files.notebooks())
    names = files.git("diff", "--cached", "--relative", "-z", "--name-only", "--diff-filter=d", "--", "*.ipynb", root=root) or ""
    found = []
    for name in (name.removesuffix(".ipynb") for name in names.split("\0") if name and not re.search(r"(^|/)[_.]", name)):
        if why := why_not(json.loads(files.git("show", f":./{name}.ipynb", root=root) or "")):
            found.append(_fault(name, why, root))
    return found


def _fault(name: str, why: str, root: Path) -> Fault:
    there = _last_recorded(root / f"{name}.ipynb") is not None
    return Fault(name, why, f"contrastive-nb restore {name}" if there else f"contrastive-nb run {name} --profile laptop --save")


def _versions(path: Path) -> Iterator[dict]:
    "A notebook as git has it: what is staged, then as it was committed, the newest first."
    commits = (files.git("log", "--format=%H", "-n", "50", "--", path.name, root=path.parent) or "").split()
    for place in ("", *commits):
        try:
            yield json.loads(files.git("show", f"{place}:./{path.name}", root=path.parent) or "")
        except ValueError:
            continue


def _last_recorded(path: Path) -> dict | None:
    "The newest version of a notebook whose outputs a recorded run made."
    return next((book for book in _versions(path) if "outputs" in book["metadata"].get(KEY, {}) and why_not(book) is None), None)


def restore(
    names: Iterable[str],  # of pages
    folder: Path | None = None,  # the notebooks' folder
) -> Iterator[tuple[str, bool]]:  # the pages that were saved by hand, and whether they are mended
    """Put back the outputs that a page's last recorded run left, cell by cell; what was written in the cells stays.

    A cell that is new has no outputs then, and the digest is of the outputs that are left.
    """
    root = Path(folder or files.notebooks())
    for name in names:
        path = root / f"{name}.ipynb"
        book = freshness.read_book(path)
        if why_not(book) is None:
            continue
        made = _last_recorded(path)
        if made is not None:
            outputs = _shown(made)
            for cell in book["cells"]:
                if cell["cell_type"] == "code":
                    cell.update(outputs=outputs.get(cell.get("id"), []), execution_count=None)
            bind(book, made["metadata"][KEY]["profile"], made["metadata"][KEY].get("code"))
            write(book, path)
        yield name, made is not None


if __name__ == "__main__":  # of the hook before a commit
    found = staged()
    for fault in found:
        print(fault, file=sys.stderr)
    if found:
        print("Then look at git diff, add, commit again.", file=sys.stderr)
    sys.exit(bool(found))
