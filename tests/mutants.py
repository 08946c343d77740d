"""Small faults planted in the exported modules, one at a time: the tests of a module must see each of them.

`python tests/mutants.py --seed 0 --count 30` copies the tree to a temporary folder, draws that many faults, writes each into the copy
and runs the tests that name the module or what it defines. A line a fault says whether it was killed or SURVIVED; exit status 1 if one
survived that is not listed in `EQUIVALENT`. Nothing in the tree itself is touched.
"""

import argparse
import ast
import functools
import itertools
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from conftest import copy_files

from contrastive_nb import files, registry

ROOT = Path(__file__).resolve().parents[1]
OPPOSITE = {
    ast.Lt: ast.GtE, ast.GtE: ast.Lt, ast.Gt: ast.LtE, ast.LtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
SUM, PRODUCT = {ast.Add: ast.Sub, ast.Sub: ast.Add}, {ast.Mult: ast.Div, ast.Div: ast.Mult}
JOINED = {ast.And: ast.Or, ast.Or: ast.And}
EXTREME = {a: b for pair in ("min max", "amin amax", "argmin argmax", "minimum maximum") for a, b in (pair.split(), pair.split()[::-1])}

# Faults that change nothing which a caller can see, by file and what changes, with the reason.
EQUIVALENT = {
    (
        "contrastive_nb/objectives/ranking.py",
        "_against_all: torch.where(compared.any(2), lead.amax(2), 0.0).detach() -> torch.where(compared.any(2), lead.amax(2), 0.0)",
    ): "what a log-sum-exp takes out before and adds after has the derivative 0",
    ("contrastive_nb/negatives/mining.py", "_finder: query.detach() -> query"): "queries come here as slices taken under no_grad",
    ("contrastive_nb/training.py", "_agree: loss.detach() -> loss"): "what it goes into is read as a number and never differentiated",
}


class Mutant(NamedTuple):
    "One fault: where it stands, what it changes, and the module's text with it."

    path: str  # under the root
    line: int
    kind: str
    what: str  # "function: old -> new", and " (2)" where the function has it a second time: no two of a module are alike
    text: str


# --- what can be changed --------------------------------------------------------------------------------------------------------


def faults(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    "The kinds of fault that a node can have, each with the node that stands there instead."
    match node:
        case ast.Compare(left, [op], rest):
            yield "comparison", ast.Compare(left, [OPPOSITE[type(op)]()], rest)
        case ast.BinOp(left, op, right) if type(op) in SUM:
            yield "+ and -", ast.BinOp(left, SUM[type(op)](), right)
        case ast.BinOp(left, op, right) if type(op) in PRODUCT:
            yield "* and /", ast.BinOp(left, PRODUCT[type(op)](), right)
        case ast.BoolOp(op, values):
            yield "and, or", ast.BoolOp(JOINED[type(op)](), values)
        case ast.UnaryOp(ast.Invert(), operand):
            yield "~", operand
        case ast.Constant(bool(value)):
            yield "True, False", ast.Constant(not value)
        case ast.Constant(int(value) | float(value)):
            yield "constant", ast.Constant(value + 1 if isinstance(value, int) else 2 * value or 1.0)
        case ast.Call(ast.Attribute(inner, "detach"), [], []):
            yield "detach", inner
        case ast.Call(ast.Attribute(_, "where"), [condition, one, other], []):
            yield "where", ast.Call(node.func, [condition, other, one], [])
        case ast.Attribute(inner, name) if name in EXTREME:
            yield "min, max", ast.Attribute(inner, EXTREME[name], node.ctx)
        case ast.Name(name) if name in EXTREME:
            yield "min, max", ast.Name(EXTREME[name], node.ctx)


def nodes(tree: ast.AST, name: str = "module") -> Iterator[tuple[str, ast.AST]]:
    "(function, node) of all that runs: neither docstrings, annotations and entries of the registry, nor the words of errors."
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, (ast.Raise, ast.JoinedStr, ast.arg, ast.Import, ast.ImportFrom)) or child is getattr(tree, "returns", None):
            continue
        if isinstance(child, ast.AnnAssign):
            child = child.value or ast.Pass()
        if isinstance(child, ast.Assign) and ast.unparse(child.targets[0]) in ("_METHODS", "__all__"):
            continue
        inside = child.name if isinstance(child, (ast.FunctionDef, ast.ClassDef)) else name
        yield inside, child
        yield from nodes(child, inside)


def starts(text: str) -> Callable[[int, int], int]:
    "A function that says where a place of the syntax tree (its column counts bytes) stands in the text."
    lines = text.splitlines(True)
    before = [0, *itertools.accumulate(map(len, lines))]
    return lambda line, column: before[line - 1] + len(lines[line - 1].encode()[:column].decode())


@functools.cache
def mutants(text: str, path: str = "") -> tuple[Mutant, ...]:
    "Every fault that a module's text can have."
    found, place, often = [], starts(text), Counter()
    for function, node in nodes(ast.parse(text)):
        for kind, other in faults(node):
            start, end = place(node.lineno, node.col_offset), place(node.end_lineno, node.end_col_offset)
            new = ast.unparse(other)
            what = f"{function}: {' '.join(text[start:end].split())} -> {new}"
            often[what] += 1
            what += f" ({often[what]})" if often[what] > 1 else ""
            new = new if kind in ("constant", "True, False", "min, max") else f"({new})"
            found.append(Mutant(path, node.lineno, kind, what, text[:start] + new + text[end:]))
    return tuple(found)


def exported(root: Path) -> dict[str, str]:
    "The text of every module that nbdev writes from a page, by its path."
    texts = {
        path.relative_to(root).as_posix(): path.read_text(encoding="utf-8") for path in sorted((root / "contrastive_nb").rglob("*.py"))
    }
    return {path: text for path, text in texts.items() if files.page_of(text)}


def drawn(root: Path, seed: int, count: int) -> list[Mutant]:
    "A kind first and then one of its faults, so that constants, of which there are most, do not displace the others."
    draw, kinds = random.Random(seed), {}
    for mutant in (m for path, text in exported(root).items() for m in mutants(text, path)):
        kinds.setdefault(mutant.kind, []).append(mutant)
    found = []
    while kinds and len(found) < count:
        kind = draw.choice(sorted(kinds))
        found.append(kinds[kind].pop(draw.randrange(len(kinds[kind]))))
        kinds = {kind: left for kind, left in kinds.items() if left}
    return found


# --- which tests must see it ------------------------------------------------------------------------------------------------------


def defined(text: str) -> set[str]:
    "The public functions and classes of a module."
    return {x.name for x in ast.parse(text).body if isinstance(x, (ast.FunctionDef, ast.ClassDef)) and not x.name.startswith("_")}


@functools.cache
def named(text: str) -> list[str]:
    "What a test file takes of the package, by import or through a module, with how often: names, and whole modules."
    nodes, found = list(ast.walk(ast.parse(text))), []
    for node in nodes:
        match node:
            case ast.ImportFrom(str(module), aliases) if module.startswith("contrastive_nb"):
                found += [module, *(name for alias in aliases for name in (alias.name, f"{module}.{alias.name}"))]
            case ast.Import(aliases):
                found += [alias.name for alias in aliases if alias.name.startswith("contrastive_nb")]
    imported = set(found)
    return found + [name for node in nodes for name in _used(node, imported)]


def _used(node: ast.AST, imported: set[str]) -> list[str]:
    match node:
        case ast.Name(name) if name in imported:
            return [name]
        case ast.Attribute(ast.Name(owner), name) if owner in imported:
            return [name]
    return []


def tests_of(root: Path, path: str) -> list[str]:
    "Arguments of pytest: the files that name the module or what it defines, its own first; of the registry's checks its methods alone."
    module, names = path.removesuffix(".py").replace("/", "."), defined((root / path).read_text(encoding="utf-8"))
    own = f"test_{module.rpartition('.')[2]}.py"
    often = {}
    for file in sorted((root / "tests").glob("test_*.py")):
        found = named(file.read_text(encoding="utf-8"))
        if count := sum(name in names or name == module for name in found) + 10**6 * (file.name == own):
            often[f"tests/{file.name}"] = count
    methods = [m.name for m in registry.collect(root / "contrastive_nb") if m.function.partition(":")[2] in names]
    often.pop("tests/test_methods.py", None)
    files = sorted(often, key=lambda file: -often[file])
    if not methods:
        return files
    ours = " or ".join(f"[{name}-" for name in methods)
    return [*files[:1], "tests/test_methods.py", *files[1:], "-k", f"not test_methods.py or {ours}"]


# --- one after the other ----------------------------------------------------------------------------------------------------------


def run(tree: Path, arguments: list[str], limit: float) -> int | None:
    "pytest's exit status in a copy of the tree; None if it took longer than the limit."
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-m", "not slow and not browser and not quarto", *arguments]
    environment = os.environ | {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        return subprocess.run(command, cwd=tree, env=environment, capture_output=True, timeout=limit).returncode
    except subprocess.TimeoutExpired:
        return None


def fate(tree: Path, mutant: Mutant, tests: list[str], limit: float) -> str:
    "What became of a fault: killed only if the test that failed passes without it."
    path, cache = tree / mutant.path, tree / ".pytest_cache"
    right = path.read_text(encoding="utf-8")
    shutil.rmtree(cache, ignore_errors=True)
    path.write_text(mutant.text, encoding="utf-8")
    try:
        status = run(tree, tests, limit)
    finally:
        path.write_text(right, encoding="utf-8")
    if status == 0:
        return "SURVIVED"
    if status is None:
        return f"SURVIVED for {limit:g} s"
    if status not in (1, 2):
        return f"NOT TESTED (pytest's exit status {status})"
    return "killed" if run(tree, ["--lf", *tests], limit) == 0 else "NOT TESTED (its tests fail without it)"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=30)
    parser.add_argument("--skip", type=int, default=0, help="leave out so many of the first ones")
    parser.add_argument("--limit", type=float, default=300, help="seconds that one may take")
    parser.add_argument("--root", type=Path, default=ROOT, help="the tree, if not this one")
    given = parser.parse_args(arguments)
    left = 0
    with tempfile.TemporaryDirectory() as folder:
        tree = copy_files(given.root, Path(folder) / "tree")
        for mutant in drawn(tree, given.seed, given.count)[given.skip :]:
            end = fate(tree, mutant, tests_of(tree, mutant.path), given.limit)
            reason = EQUIVALENT.get((mutant.path, mutant.what)) if end.startswith("SURVIVED") else None
            left += end != "killed" and not reason
            print(f"{f'equivalent ({reason})' if reason else end}  {mutant.path}:{mutant.line}  {mutant.what}", flush=True)
    return int(left > 0)


if __name__ == "__main__":
    sys.exit(main())
