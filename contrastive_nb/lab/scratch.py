"""A scratch copy of the whole tree, to read, run and try things in: what a reader does there reaches no source. Plain module."""

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path

from contrastive_nb import files

MARK = ".scratch.json"  # in the copy's root: what it was given, file by file
LEFT_OUT = {"build", "dist", "node_modules", "__pycache__"}  # beside whatever begins with a dot, where git does not say what belongs
REFUSE = 'export_procs = ["contrastive_nb.lab.scratch:refuse_export"]'


def is_scratch(folder: Path) -> bool:
    "Whether a folder lies in a scratch copy."
    folder = Path(folder).resolve()
    return any((place / MARK).is_file() for place in (folder, *folder.parents))


def refuse(what: str) -> None:
    "Raise `ValueError` where this is a scratch copy, in which `what` would keep something that nobody keeps."
    if is_scratch(Path.cwd()) or is_scratch(files.PACKAGE):
        raise ValueError(
            f"{what}: this is a scratch copy of the book, of which nothing is kept; change the source (make edit) and do it there"
        )


def refuse_export(*_) -> None:
    "In place of an export from a scratch copy: nbdev calls this first, and ends with its words."
    raise SystemExit("nbdev-export: this is a scratch copy of the book, which exports nothing; change the source (make edit)")


def _names(root: Path) -> list[str]:
    "The files that belong to a tree: those that git has or would take in; without git all but what is made."
    try:
        listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=root, capture_output=True, encoding="utf-8")
        if listed.returncode == 0:
            return sorted(name for name in listed.stdout.split("\0") if name and (root / name).is_file())
    except OSError:
        pass
    found = (path.relative_to(root) for path in root.rglob("*") if path.is_file())
    return sorted(path.as_posix() for path in found if not any(part in LEFT_OUT or part.startswith(".") for part in path.parts))


def _content(root: Path, name: str) -> bytes:
    content = (root / name).read_bytes()
    if name == "pyproject.toml":
        content = content.replace(b"[tool.nbdev]\n", f"[tool.nbdev]\n{REFUSE}\n".encode())
    return content


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def beside(path: Path) -> Path:
    "Where a file's new version goes when the old one is kept: page.ipynb and page.new.ipynb."
    return path.with_name(f"{path.stem}.new{path.suffix}")


def copy(root: Path, target: Path) -> list[str]:
    """Bring a scratch copy up to a tree; the names of the files that came beside others.

    A page that is there is kept, and so is any other file that was changed there; where the tree's is another one than the
    copy was given, it comes beside. What the tree no longer has stays.
    """
    mark = target / MARK
    given = json.loads(mark.read_text(encoding="utf-8")) if mark.is_file() else {}
    came = []
    for name in _names(root):
        content, path = _content(root, name), target / name
        digest, known = _digest(content), given.get(name)
        here = _digest(path.read_bytes()) if path.is_file() else None
        if here is None or (here == known and not name.endswith(".ipynb")):
            _put(content, path, root / name)
        elif digest not in (here, known):
            _put(content, beside(path), root / name)
            came.append(beside(path).relative_to(target).as_posix())
        given[name] = digest
    files.write_whole(mark, json.dumps(given, indent=1) + "\n")
    return came


def _put(content: bytes, path: Path, source: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    shutil.copymode(source, path)


def trust(target: Path) -> int:
    """Sign the pages of a copy that are still as the tree has them, as `jupyter trust` does; how many they are.

    JupyterLab shows no figure of a page that it does not trust, and whoever opens the copy runs the package that it is of.
    """
    import nbformat
    from nbformat.sign import NotebookNotary

    notary, given = NotebookNotary(), json.loads((target / MARK).read_text(encoding="utf-8"))
    pages = [(page, digest) for name, digest in given.items() if name.endswith(".ipynb") for page in (target / name, beside(target / name))]
    same = [page for page, digest in pages if page.is_file() and _digest(page.read_bytes()) == digest]
    for page in same:
        notary.sign(nbformat.read(page, as_version=4))
    return len(same)


def environment(target: Path) -> dict[str, str]:
    "What a program finds that works in a scratch copy: its package first, and its own build folder."
    env = {key: value for key, value in os.environ.items() if key not in (files.BUILD, files.NOTEBOOKS)}
    return env | {"PYTHONPATH": os.pathsep.join(filter(None, [str(target), env.get("PYTHONPATH")]))}
