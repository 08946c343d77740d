"""Fingerprints: a hash of the code that made an output or a record. Plain module: it is machinery, not a lesson."""

# What counts: the notebook's code cells; every function, class and constant of the package that they reach, through
# any number of calls; and what the profile means for the notebook, without its minutes. What does not: comments,
# docstrings, layout, text cells, package code that is not reached, and the rooms in `ROOMS`, which run, show and time.
# What they decide (sizes, seeds, device, precision) is hashed as values.
#
# Syntax trees are written out by `canonical` because `ast.dump` and `ast.unparse` change from one Python to the next
# (3.13 leaves empty fields out of the dump, 3.12 quotes f-strings differently); this text is the same on 3.11 to 3.13.

import ast
import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from contrastive_nb import files
from contrastive_nb.lab import profiles

ROOMS = ("lab", "book", "timing")  # they run, show and time; the walls between the rooms see to it that the library needs none of them
MACHINERY = ("checkpoints", "cli", "devices", "files", "trackers", "__main__")
_EFFECTS = "(import)"  # stands for the statements of a module that bind no name
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def canonical(node) -> str:
    "A syntax tree as text, without positions, comments and docstrings, and the same on every Python that runs this package."
    if isinstance(node, ast.Constant):
        return f"{type(node.value).__name__}:{node.value!r}"
    if isinstance(node, list):
        return f"[{','.join(map(canonical, node))}]"
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = {key: value for key, value in ast.iter_fields(node) if key not in ("ctx", "kind", "type_comment")}
    if isinstance(node, (*_FUNCTIONS, ast.ClassDef)):
        fields["body"] = [part for part in node.body if not _is_text(part)]
    elif isinstance(node, ast.JoinedStr):  # 3.12 ends a nested format with an empty text
        fields["values"] = [part for part in node.values if not (isinstance(part, ast.Constant) and part.value == "")]
    shown = [f"{key}={canonical(value)}" for key, value in fields.items() if not (value is None or value == [])]
    return f"{type(node).__name__}({','.join(shown)})"


# --- which names a piece of code takes from outside -----------------------------------------------------------------


def _bound(body: list) -> set[str]:
    "The names that a function's body binds. Imports are left out: they are looked up as imports."
    names, outside, stack = set(), set(), list(body)
    while stack:
        node = stack.pop()
        if isinstance(node, (*_FUNCTIONS, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, _COMPREHENSIONS):
            names.update(part.target.id for part in ast.walk(node) if isinstance(part, ast.NamedExpr))
        elif not isinstance(node, ast.Lambda):
            if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
                names.add(node.id)
            elif isinstance(node, (ast.ExceptHandler, ast.MatchAs, ast.MatchStar)) and node.name:
                names.add(node.name)
            elif isinstance(node, ast.MatchMapping) and node.rest:
                names.add(node.rest)
            elif isinstance(node, (ast.Global, ast.Nonlocal)):
                outside.update(node.names)
            stack.extend(ast.iter_child_nodes(node))
    return names - outside


class _Uses(ast.NodeVisitor):
    "Collects what is read from outside, as chains of names: `pairs.views` is ('pairs', 'views')."

    def __init__(self):
        self.scopes: list[set[str]] = []
        self.found: set[tuple[str, ...]] = set()

    def visit_Name(self, node):
        self._read((node.id,))

    def visit_Attribute(self, node):
        chain, base = [node.attr], node.value
        while isinstance(base, ast.Attribute):
            chain.append(base.attr)
            base = base.value
        if isinstance(base, ast.Name):
            self._read((base.id, *reversed(chain)))
        else:
            self.visit(base)

    def _read(self, chain):
        if not any(chain[0] in scope for scope in self.scopes):
            self.found.add(chain)

    def _visit_all(self, nodes):
        for node in nodes:
            if node is not None:
                self.visit(node)

    def _inside(self, names, nodes):
        self.scopes.append(names)
        self._visit_all(nodes)
        self.scopes.pop()

    def visit_FunctionDef(self, node):
        given = node.args
        every = [*given.posonlyargs, *given.args, *given.kwonlyargs, *filter(None, [given.vararg, given.kwarg])]
        body = node.body if isinstance(node.body, list) else [node.body]
        self._visit_all([*given.defaults, *given.kw_defaults, *(arg.annotation for arg in every)])
        self._visit_all([*getattr(node, "decorator_list", []), getattr(node, "returns", None)])
        self._inside({arg.arg for arg in every} | _bound(body), body)

    visit_AsyncFunctionDef = visit_Lambda = visit_FunctionDef

    def _comprehension(self, node):
        self.visit(node.generators[0].iter)
        names = {part.id for loop in node.generators for part in ast.walk(loop.target) if isinstance(part, ast.Name)}
        self._inside(names, ast.iter_child_nodes(node))

    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = _comprehension


def _uses(node: ast.AST) -> set[tuple[str, ...]]:
    visitor = _Uses()
    visitor.visit(node)
    return visitor.found


# --- modules --------------------------------------------------------------------------------------------------------


def _imports(node: ast.AST, module: str, is_package: bool) -> Iterator[tuple[str, str, str | None]]:
    "Every import in a piece of code: (local name, module, name in it or `None`); the local name of a star is '*'."
    for part in ast.walk(node):
        if isinstance(part, ast.Import):
            for alias in part.names:
                yield (alias.asname, alias.name, None) if alias.asname else (alias.name.split(".")[0], alias.name.split(".")[0], None)
        elif isinstance(part, ast.ImportFrom):
            above = module.split(".") if is_package else module.split(".")[:-1]
            above = above[: len(above) - part.level + 1] if part.level else []
            source = ".".join([*above, *filter(None, [part.module])])
            yield from ((alias.asname or alias.name, source, alias.name) for alias in part.names)


class _Module:
    "A module's top-level statements by the names they bind."

    def __init__(self, name: str, body: list, is_package: bool = False):
        self.name, self.is_package = name, is_package
        self.names: dict[str, list[ast.AST]] = {}
        self.effects: list[ast.AST] = []
        self.imports: dict[str, tuple[str, str | None]] = {}
        self.stars: list[str] = []
        for statement in body:
            self._add(statement)

    def imports_of(self, node: ast.AST) -> dict[str, tuple[str, str | None]]:
        return {local: (source, name) for local, source, name in _imports(node, self.name, self.is_package)}

    def _add(self, node):
        found = self.imports_of(node) if not isinstance(node, (*_FUNCTIONS, ast.ClassDef)) else {}
        if "*" in found:
            self.stars.append(found.pop("*")[0])
        self.imports |= found
        names = _bound([node])
        if isinstance(node, (ast.Assign, ast.AugAssign, ast.AnnAssign)):  # TABLE["x"] = ... and f.note = ... belong to TABLE and f
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {part.id for target in targets for part in ast.walk(target) if isinstance(part, ast.Name)}
        for name in names:
            self.names.setdefault(name, []).append(node)
        if not names and not found and not _is_text(node) and not isinstance(node, (ast.Import, ast.ImportFrom, ast.Pass)):
            self.effects.append(node)


@cache
def _parse(path: Path, name: str, stamp: tuple) -> _Module:
    return _Module(name, ast.parse(path.read_text(encoding="utf-8"), str(path)).body, path.name == "__init__.py")


class _Package:
    "The modules of a package, read when they are first reached."

    def __init__(self, folder: Path):
        self.folder, self.root = folder, folder.name

    def module(self, name: str) -> _Module | None:
        first, *parts = name.split(".")
        if first != self.root:
            return None
        base = self.folder.joinpath(*parts)
        for path in (base / "__init__.py", base.with_suffix(".py") if parts else base / "__init__.py"):
            if path.is_file():
                state = path.stat()
                return _parse(path, name, (state.st_mtime_ns, state.st_size))
        return None

    def locate(self, source: str, parts: tuple[str, ...], seen: frozenset = frozenset()) -> set[tuple[str, str]]:
        "Where the name after the dots is defined: {(module, name)}; a module by itself means all of its names."
        module = self.module(source)
        if module is None or (source, parts) in seen:
            return set()
        seen |= {(source, parts)}
        if not parts:
            return {(source, name) for name in module.names}
        name, *rest = parts
        if name in module.names:
            return {(source, name)}
        if name in module.imports:
            target, inner = module.imports[name]
            return self.locate(target, tuple([inner, *rest] if inner else rest), seen)
        if self.module(f"{source}.{name}"):
            return self.locate(f"{source}.{name}", tuple(rest), seen)
        for star in module.stars:
            if found := self.locate(star, parts, seen):
                return found
        return {(source, "__getattr__")} if "__getattr__" in module.names else set()

    def reached_from(self, module: _Module, nodes: Iterable[ast.AST], imports: dict) -> set[tuple[str, str]]:
        "What some statements of a module reach in one step."
        found = set()
        for node in nodes:
            known = imports | module.imports_of(node)
            for first, *rest in _uses(node):
                if first in known:
                    source, name = known[first]
                    found |= self.locate(source, tuple([name, *rest] if name else rest))
                elif first in module.names and module.name:
                    found.add((module.name, first))
                elif module.name or module.stars:
                    for star in module.stars:
                        found |= self.locate(star, (first, *rest))
        return found

    def is_machinery(self, source: str) -> bool:
        inside = source.removeprefix(self.root + ".")
        return inside in MACHINERY or inside.partition(".")[0] in ROOMS

    def closure(self, start: set[tuple[str, str]]) -> dict[tuple[str, str], list[ast.AST]]:
        "Everything reached from some definitions, through any number of steps, and its statements."
        reached, todo = {}, set(start)
        while todo:
            source, name = todo.pop()
            if self.is_machinery(source) or name == "__version__" or (source, name) in reached:
                continue
            module = self.module(source)
            nodes = module.effects if name == _EFFECTS else module.names[name]
            reached[source, name] = nodes
            todo |= self.reached_from(module, nodes, module.imports)
            if module.effects:
                todo.add((source, _EFFECTS))
        return reached


# --- notebooks ------------------------------------------------------------------------------------------------------


def _parse_cell(source: str) -> list[ast.stmt] | str:
    "A code cell's statements; magic lines are ignored; a cell that is not Python stays as text."
    try:
        return ast.parse(source).body
    except SyntaxError:
        lines = [line for line in source.splitlines() if not line.lstrip().startswith(("%", "!", "?"))]
    try:
        return ast.parse("\n".join(lines)).body
    except SyntaxError:
        return "\n".join(line.rstrip() for line in source.strip().splitlines())


def _find(path: str | Path) -> Path:
    "A notebook by its path, or by its name under the notebooks' folder."
    for candidate in (Path(path), files.notebooks() / f"{path}.ipynb", files.notebooks() / path):
        if candidate.is_file():
            return candidate.resolve()
    raise FileNotFoundError(f"{path}: no such notebook, neither as a path nor under {files.notebooks()}")


def name_of(path: str | Path) -> str:
    "A notebook's name: folder/name under the notebooks' folder, without .ipynb; elsewhere its last folder and name."
    path, root = Path(path).resolve(), files.notebooks().resolve()
    inside = path.relative_to(root) if path.is_relative_to(root) else Path(*path.parts[-2:])
    return inside.with_suffix("").as_posix()


def read_book(path: Path) -> dict:
    "A notebook as JSON. Raises `ValueError` naming the file that is none."
    try:
        book = json.loads(path.read_text(encoding="utf-8"))
        if book["nbformat"] != 4:
            raise ValueError(f"format {book['nbformat']}")
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: is no notebook of format 4 ({type(error).__name__}: {error})") from None
    return book


@cache
def _read(path: Path, package: Path, stamp: tuple) -> tuple[list[str], list[tuple[str, str]]]:
    "A notebook's cells in canonical text, and the names that they reach."
    cells = read_book(path)["cells"]
    sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    parsed = [cell for cell in map(_parse_cell, sources) if cell]
    nodes = [node for cell in parsed if not isinstance(cell, str) for node in cell]
    shelf, page = _Package(package), _Module("", nodes)
    reached = shelf.closure(shelf.reached_from(page, nodes, page.imports))
    texts = [f"{source}:{name}={canonical(found)}" for (source, name), found in sorted(reached.items())]
    return [*map(canonical, parsed), *texts], sorted(reached)


def _state(folder: Path) -> tuple:
    "Changes whenever a file of the package does."
    return tuple(sorted((str(p), p.stat().st_mtime_ns, p.stat().st_size) for p in folder.rglob("*.py")))


def _contents(path, package) -> tuple[list[str], list[tuple[str, str]]]:
    path, package = _find(path), Path(package or files.PACKAGE)
    return _read(path, package, (path.stat().st_mtime_ns, path.stat().st_size, _state(package)))


def reached(
    path: str | Path,  # a notebook's path, or its name under the notebooks' folder
    *,
    package: Path | None = None,  # the package's folder; this one
) -> list[str]:  # "module:name", sorted
    "The package's functions, classes and constants that a notebook reaches, through any number of calls, for people to read."
    return [f"{source}:{name}" for source, name in _contents(path, package)[1]]


def of_notebook(
    path: str | Path,  # a notebook's path, or its name under the notebooks' folder
    profile: str,  # "ci", "laptop" or "gpu"
    *,
    package: Path | None = None,  # the package's folder; this one
) -> str:  # 16 hex digits
    """A hash of the notebook's code, of the package code that it reaches, and of the profile's settings for it.

    Raises `FileNotFoundError` for a notebook that is not there, `ValueError` for an unknown profile.
    """
    texts, _ = _contents(path, package)
    values = profiles.settings(profile, name_of(_find(path)))
    values |= dict(zip(("seeds", "search_seeds"), profiles.seed_lists(values, 0), strict=True))
    values.pop("minutes", None)
    text = json.dumps([texts, sorted(values.items())], ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


# --- what no longer fits --------------------------------------------------------------------------------------------


def all_notebooks(folder: Path | None = None) -> list[str]:
    "The names of all notebooks, in reading order; names and folders that begin with '_' or '.' are left out."
    root = Path(folder or files.notebooks())
    found = (path.relative_to(root).with_suffix("") for path in root.rglob("*.ipynb") if path.is_file())
    return sorted(path.as_posix() for path in found if not any(part.startswith(("_", ".")) for part in path.parts))


def _stale_output(path: Path) -> str | None:
    book = read_book(path)
    if not any(cell["cell_type"] == "code" and "".join(cell["source"]).strip() for cell in book["cells"]):
        return None
    made = book["metadata"].get("contrastive_nb")
    if not made:
        return "has no outputs of a run"
    if made.get("code") != of_notebook(path, made.get("profile", "laptop")):
        return f"its code is not the code that made its {made.get('profile', 'laptop')} outputs"
    return None


def stale(
    notebooks: Path | None = None,  # the notebooks' folder
    claims: Path | None = None,  # the folder of the records
) -> list[tuple[str, str]]:  # (what, why)
    """Committed outputs and records that other code made than the code that stands: `("1_objectives/01_infonce", why)`.

    A record is named `claim ID (PROFILE)`; `stale_notebooks` gives the notebooks to run again. Raises `ValueError` naming the file
    that is no record, or one whose verdict does not follow from its numbers.
    """
    return [(what, why) for what, why, _, _ in _stale(notebooks, claims)]


def stale_runs(notebooks: Path | None = None, claims: Path | None = None) -> set[tuple[str, str]]:
    "The recorded runs, (claim's id, profile), that other code made than the code that stands; none where no notebooks are at hand."
    if notebooks is None and not files.notebooks().is_dir():
        return set()
    found = (re.fullmatch(r"claim (\S+) \((\w+)\)", what) for what, _ in stale(notebooks, claims))
    return {match.groups() for match in found if match}


def stale_notebooks(profile: str, notebooks: Path | None = None, claims: Path | None = None) -> list[str]:
    "The notebooks that a run in this profile must make again: stale outputs (laptop makes them) and stale records of the profile."
    found = {notebook for _, _, notebook, made_by in _stale(notebooks, claims) if made_by == profile}
    return [name for name in all_notebooks(notebooks) if name in found]


def record_at(path: Path) -> dict:
    "A record as JSON. Raises `ValueError` naming the file that is none."
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        named = isinstance(record["id"], str) and isinstance(record["notebook"], str)
        if not named or not all(isinstance(run, dict) for run in record["runs"].values()):
            raise TypeError("an id, a notebook or a run is of another kind")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: is no record of a claim ({type(error).__name__}: {error})") from None
    return record


def _stale(notebooks, claims) -> Iterator[tuple[str, str, str, str]]:
    root = Path(notebooks or files.notebooks())
    for name in all_notebooks(root):
        if why := _stale_output(root / f"{name}.ipynb"):
            yield name, why, name, "laptop"
    from contrastive_nb.lab.claims import load  # it brings torch along, which nothing else here needs

    for record in load(folder=claims):
        source = root / f"{record['notebook']}.ipynb"
        for profile, run in record["runs"].items():
            what = f"claim {record['id']} ({profile})"
            if not source.is_file():
                yield what, f"its notebook {record['notebook']} is gone", record["notebook"], profile
            elif run["code"] != of_notebook(source, profile):
                yield what, f"the code of {record['notebook']} is not the code that made it", record["notebook"], profile
