"""What a record depends on, and whether it still holds: current, carried or stale. Plain module: it is machinery, not a lesson."""

# A record depends on the functions of the library that its run executed, with the constants, classes and imports that
# they name; on the statements of its page that feed `record(...)`; on the profile's values; on its data; and an outcome on what was
# measured of its bench. Each of them
# is kept in the record as a digest, so that a look at the files says what changed since. What does not count: the rooms in
# `ROOMS`, comments, docstrings, annotations, layout, names of locals, and what an error says.
#
# Syntax trees are written out by `canonical` because `ast.dump` and `ast.unparse` change from one Python to the next
# (3.13 leaves empty fields out of the dump, 3.12 quotes f-strings differently); this text is the same on 3.11 to 3.13.

import ast
import functools
import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from contrastive_nb import files
from contrastive_nb.lab import profiles
from contrastive_nb.lab.records import SET_ASIDE, bench_of, is_set_aside

ROOMS = ("lab", "book", "timing")  # they run, show and time; the walls between the rooms see to it that the library needs none of them
# of the rooms, those that numbers of other pages pass through
INSTRUMENTS = tuple(f"lab/{name}.py" for name in ("benches", "recipes", "listings", "entailed", "mined", "minilm", "twins"))
MACHINERY = ("_modidx", "_moved", "cli", "files", "registry", "trackers", "__main__")
STATED = ("id", "statement", "metric", "baseline", "treatment")  # a claim's words
CHANGED = "changed: "  # so begins why a run is stale that could perhaps be carried
LEFT_OUT = ("__all__", "__version__", "_METHODS")  # tables for people, tests and the catalogue
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


def digest(value) -> str:
    "16 hex digits of anything that JSON can write."
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


# --- a piece of code as a text that says what it does ----------------------------------------------------------------------


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _locals(function: ast.AST) -> dict[str, str]:
    "The names that a function and those inside it bind, numbered where they first stand; parameters keep their names: callers say them."
    inside = [node for node in ast.walk(function) if isinstance(node, _FUNCTIONS)]
    bound = set().union(*(_bound(node.body) for node in inside))
    for part in ast.walk(function):
        if isinstance(part, _COMPREHENSIONS):
            bound |= {name.id for loop in part.generators for name in ast.walk(loop.target) if isinstance(name, ast.Name)}
    bound -= {node.arg for node in ast.walk(function) if isinstance(node, ast.arg)}
    bound -= {name for node in ast.walk(function) if isinstance(node, ast.Global) for name in node.names}
    return dict.fromkeys(bound, "")


def canonical(node, names: dict[str, str] | None = None) -> str:
    "A syntax tree as text, without what does not count, and the same on every Python that runs this package."
    if isinstance(node, ast.Constant):
        return f"{type(node.value).__name__}:{node.value!r}"
    if isinstance(node, list):
        return f"[{','.join(canonical(part, names) for part in node)}]"
    if isinstance(node, str) and names and node in names:
        names[node] = names[node] or f"local{sum(map(bool, names.values()))}"
        return names[node]
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = {key: value for key, value in ast.iter_fields(node) if key not in ("ctx", "kind", "type_comment", "returns")}
    if isinstance(node, (*_FUNCTIONS, ast.ClassDef)):
        fields["body"] = [part for part in node.body if not _is_text(part)]
        if isinstance(node, _FUNCTIONS) and names is None:
            names = _locals(node)
    elif isinstance(node, ast.JoinedStr):  # 3.12 ends a nested format with an empty text
        fields["values"] = [part for part in node.values if not (isinstance(part, ast.Constant) and part.value == "")]
    elif isinstance(node, ast.arg):
        return node.arg
    elif isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
        fields["exc"] = node.exc.func
    elif isinstance(node, ast.Assert):
        fields.pop("msg")
    own = {"name", "id", "rest", "names"} if not isinstance(node, ast.alias) else set()
    shown = [
        f"{key}={canonical(value, names if key in own or not isinstance(value, str) else None)}"
        for key, value in fields.items()
        if not (value is None or value == [])
    ]
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
        if isinstance(node.ctx, ast.Load):
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


def _words(node: ast.AST) -> set[str]:
    "All names that a piece of code takes from outside, part by part: `pairs.views` is `pairs` and `views`."
    local = {alias.name for part in ast.walk(node) if isinstance(part, ast.ImportFrom) for alias in part.names}
    return local.union(*_uses(node))


# --- the library ----------------------------------------------------------------------------------------------------


def _imports(body: Iterable) -> Iterator[ast.Import | ast.ImportFrom]:
    "The imports among statements, however deep inside others; no expression holds one."
    for node in body:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            yield node
        for field in ("body", "handlers", "cases", "orelse", "finalbody"):
            yield from _imports(getattr(node, field, ()))


class _Module:
    "What a module defines: functions, methods as `Class.method`, classes without them, constants, imports, and what it does besides."

    def __init__(self, body: list, text: str = ""):
        self.text = text
        self.imported = list(_imports(body))
        self.functions: dict[str, ast.AST] = {}
        self.tables: dict[str, list[ast.AST]] = {}
        self.imports: dict[str, str] = {}
        self.effects: list[ast.AST] = []
        self.made: dict[str, tuple[str | None, set[str]]] = {}  # every record asks for the same few
        for node in body:
            self._add(node)

    def _add(self, node):
        if isinstance(node, _FUNCTIONS):
            self.functions[node.name] = node
        elif isinstance(node, ast.ClassDef):
            methods = [part for part in node.body if isinstance(part, _FUNCTIONS)]
            self.functions |= {f"{node.name}.{part.name}": part for part in methods}
            rest = [part for part in node.body if part not in methods]
            self.tables[node.name] = [ast.ClassDef(node.name, node.bases, node.keywords, rest, node.decorator_list)]
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            for one in _single_imports(node):
                self.imports[_local_name(one)] = canonical(one)
        elif names := (_bound([node]) | _changed(node)) - set(LEFT_OUT):
            for name in names:
                self.tables.setdefault(name, []).append(node)
        elif not _is_text(node) and not _bound([node]):
            self.effects.append(node)

    def executed(self, lines: set[int]) -> Iterator[str]:
        "The functions in whose bodies lines were executed."
        for name, node in self.functions.items():
            if not lines.isdisjoint(span(node)):
                yield name

    def nodes(self, name: str) -> list[ast.AST]:
        "The statements behind a name; none where it is gone."
        return self.tables.get(name, []) if name not in self.functions else [self.functions[name], *self.tables.get(name, [])]

    def digest(self, name: str) -> tuple[str | None, set[str]]:
        "Of the statements behind a name, `None` where it is gone, and the words in them; worked out once."
        if name not in self.made:
            some = self.nodes(name)
            self.made[name] = digest([canonical(node) for node in some]) if some else None, set().union(*map(_words, some))
        return self.made[name]


def span(function) -> range:
    "The lines of a function's body."
    return range(function.body[0].lineno, function.end_lineno + 1)


def _single_imports(node) -> Iterator[ast.stmt]:
    "An import of several names as an import of each."
    for alias in node.names:
        yield ast.Import([alias]) if isinstance(node, ast.Import) else ast.ImportFrom(node.module, [alias], node.level)


def _local_name(node) -> str:
    alias = node.names[0]
    return alias.asname or (alias.name.split(".")[0] if isinstance(node, ast.Import) else alias.name)


def _changed(node: ast.AST) -> set[str]:
    "Names whose things a statement changes: `TABLE['x'] = 1`, `f.note = 2`, `found.append(3)`; what functions inside do is theirs."
    found, stack = set(), [node]
    while stack:
        part = stack.pop()
        if isinstance(part, (*_FUNCTIONS, ast.Lambda)):
            continue
        base = part.value.func if isinstance(part, ast.Expr) and isinstance(part.value, ast.Call) else part
        stored = isinstance(base, (ast.Subscript, ast.Attribute)) and (base is not part or not isinstance(base.ctx, ast.Load))
        while stored and isinstance(base, (ast.Subscript, ast.Attribute)):
            base = base.value
        if stored and isinstance(base, ast.Name):
            found.add(base.id)
        stack.extend(ast.iter_child_nodes(part))
    return found


@cache
def _parse(path: Path, stamp: tuple) -> _Module:
    text = path.read_text(encoding="utf-8")
    return _Module(ast.parse(text, str(path)).body, text)


class Library:
    "The library's modules in a folder, by their paths in it, such as `rows.py`."

    def __init__(self, folder: Path | None = None):
        self.folder = Path(folder or files.PACKAGE)
        self.modules: dict[str, _Module] = {}
        self.known: dict[str, set[str]] = {}  # module -> the modules that it imports
        self.since: dict[str | None, str | None] = {}  # commit -> the files that are not as it has them
        for path in sorted(self.folder.rglob("*.py")):
            name, state = path.relative_to(self.folder).as_posix(), path.stat()
            if name in INSTRUMENTS or name.partition("/")[0] not in ROOMS and name.removesuffix(".py") not in MACHINERY:
                self.modules[name] = _parse(path, (state.st_mtime_ns, state.st_size))

    def digests(self, keys: Iterable[str]) -> dict[str, str | None]:
        "What each `module:name` is now; `None` for what is gone. `module:` alone is what it imports for the others, and what it does."
        by_module: dict[str, list[str]] = {}
        for key in keys:
            name, _, part = key.partition(":")
            by_module.setdefault(name, []).append(part)
        found: dict[str, str | None] = {}
        for name, parts in by_module.items():
            module = self.modules.get(name, _Module([]))
            made = {part: module.digest(part) for part in parts if part}
            found |= {f"{name}:{part}": made_of for part, (made_of, _) in made.items()}
            if "" in parts:
                words = set().union(*(some for _, some in made.values()))
                imports = [text for local, text in sorted(module.imports.items()) if local in words]
                found[f"{name}:"] = digest([imports, [canonical(node) for node in module.effects]])
        return found

    def depends(
        self,
        lines: dict[str, list[int]] | None,  # module -> lines that were executed; None: not known, so all that the page may import counts
        words: set[str],  # the names that the page's statements take from outside
        modules: Iterable[str] = (),  # the modules that the page imports, for when the lines are not known
    ) -> dict[str, dict]:  # "module:name" -> its digest, and for a function that was seen at work its lines
        "What numbers pass through."
        seen: dict[str, set[int]] = {}
        if lines is None:
            todo = [f"{name}:{part}" for name in modules for part in [*self.modules[name].functions, *self.modules[name].tables]]
        else:
            for name in set(lines) & set(self.modules):
                hit = set(lines[name])
                for part in self.modules[name].executed(hit):
                    seen[f"{name}:{part}"] = hit.intersection(span(self.modules[name].functions[part]))
            todo = [*seen, *self._named(words)]
        keys: set[str] = set()
        while todo:
            key = todo.pop()
            if key in keys:
                continue
            name, _, part = key.partition(":")
            keys |= {key, f"{name}:"}
            for node in self.modules[name].nodes(part):
                todo += self._named(_words(node), None if part in self.modules[name].functions else name)
        return {
            key: {"digest": value} | ({"lines": as_ranges(seen[key])} if key in seen else {})
            for key, value in sorted(self.digests(keys).items())
        }

    def _named(self, words: set[str], table: str | None = None) -> list[str]:
        "The constants and classes of these names; for a constant of a module also that module's functions, which it calls at import."
        found = [f"{name}:{word}" for name, module in self.modules.items() for word in words & set(module.tables)]
        return found + ([f"{table}:{word}" for word in words & set(self.modules[table].functions)] if table else [])

    def imported(self, page: "Page") -> set[str]:
        "The modules that a page imports, and those that these import."
        todo, found = self._paths(page.imported, ""), set()
        while todo:
            path = todo.pop()
            found.add(path)
            if path not in self.known:
                self.known[path] = self._paths(self.modules[path].imported, path)
            todo |= self.known[path] - found
        return found

    def _paths(self, imports: Iterable[ast.Import | ast.ImportFrom], inside: str) -> set[str]:
        names = []
        for node in imports:
            if isinstance(node, ast.Import):
                names += [alias.name for alias in node.names]
            else:
                above = [self.folder.name, *inside.split("/")[:-1]]
                base = ".".join([*(above[: len(above) - node.level + 1] if node.level else []), *filter(None, [node.module])])
                names += [base, *(f"{base}.{alias.name}" for alias in node.names)]
        parts = [name.split(".")[1:] for name in names if name.split(".")[0] == self.folder.name]
        steps = ["/".join(part[:i]) for part in parts for i in range(1, len(part) + 1)]
        return {path for step in steps for path in (f"{step}.py", f"{step}/__init__.py") if path in self.modules}


def as_ranges(lines: Iterable[int]) -> str:
    "Lines as people write them: 3-5 8."
    rows = sorted(lines)
    starts = [row for row in rows if row - 1 not in set(rows)]
    ends = [row for row in rows if row + 1 not in set(rows)]
    return " ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in zip(starts, ends, strict=True))


def from_ranges(text: str) -> set[int]:
    "The lines again."
    pairs = [part.split("-") for part in text.split()]
    return {row for pair in pairs for row in range(int(pair[0]), int(pair[-1]) + 1)}


# --- pages ----------------------------------------------------------------------------------------------------------


def _parse_cell(source: str) -> list[ast.stmt]:
    "A code cell's statements; magic lines are ignored, and so is a cell that is not Python."
    lines = [line for line in source.splitlines() if not line.lstrip().startswith(("%", "!", "?"))]
    for text in (source, "\n".join(lines)):
        try:
            return ast.parse(text).body
        except SyntaxError:
            pass
    return []


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


def _sources(path: Path) -> list[str]:
    return ["".join(cell["source"]) for cell in read_book(path)["cells"] if cell["cell_type"] == "code"]


def _text(node: ast.AST) -> str:
    "A text of the page as a pattern; nothing for what is no text."
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return re.escape(node.value)
    if isinstance(node, ast.JoinedStr) and any(isinstance(part, ast.Constant) for part in node.values):
        return "".join(".+" if isinstance(part, ast.FormattedValue) else _text(part) for part in node.values)
    return ""


class Page:
    "A page's statements, and which of them feed its records: what `record(...)` is given, where that comes from, and so on."

    def __init__(self, path: str | Path):
        self.path = _find(path)
        cells = [_parse_cell(source) for source in _sources(self.path)]
        self.statements: list[ast.stmt] = []
        self.cells: list[int] = []  # the code cell of each
        for i, cell in enumerate(cells):
            for node in cell:
                parts = list(_single_imports(node)) if isinstance(node, (ast.Import, ast.ImportFrom)) else [node]
                self.statements += parts
                self.cells += [i] * len(parts)
        self.imported = list(_imports(self.statements))
        self.reads = [_page_reads(node) for node in self.statements]
        self.binds = [{_local_name(n)} if isinstance(n, (ast.Import, ast.ImportFrom)) else _bound([n]) for n in self.statements]
        self.texts = [{text for part in ast.walk(node) if (text := _text(part))} for node in self.statements]
        self.late = [
            isinstance(node, (*_FUNCTIONS, ast.ClassDef)) or any(isinstance(part, ast.Lambda) for part in ast.walk(node))
            for node in self.statements
        ]
        self.canonical: dict[int, str] = {}
        self.changes = self._all_changes()
        self.feeding = self._feeding()

    def digest(self, claim: str | None = None) -> str:
        "Of the statements that feed the records, or the record of this claim."
        return digest([self._canonical(i) for i in (self.feeding if claim is None else self.feeding_one(claim))])

    def _canonical(self, i: int) -> str:
        if i not in self.canonical:
            self.canonical[i] = canonical(self.statements[i])
        return self.canonical[i]

    def made(self, claim: str, run: dict) -> bool:
        "Whether these statements made a run of a claim; older runs keep a digest of what feeds any record of the page."
        return run["page"] == self.digest(claim) or run["page"] == self.digest()

    def feeding_one(self, claim: str) -> list[int]:
        "The statements that feed the record of a claim, by its id; those of all records where they cannot be told apart."
        stating = {i for i, texts in enumerate(self.texts) if any(re.fullmatch(text, claim, re.S) for text in texts)}
        fed = [found for found in self._fed_apart if stating.intersection(found)]
        return sorted(set().union(*fed)) if fed else self.feeding

    @functools.cached_property
    def _fed_apart(self) -> list[list[int]]:
        "The statements that feed each use of `record`."
        return [self._fed([start]) for start in self._starts({"record"})]

    def words(self) -> set[str]:
        "The names that these statements take from outside."
        return set().union(*(_words(self.statements[i]) for i in self.feeding))

    def last(self) -> int:
        "The last code cell that feeds a record; -1 where none does."
        return max((self.cells[i] for i in self.feeding), default=-1)

    def benches(self) -> list[str]:
        "The files of the benches that the page names."
        parts = [part for node in self.statements for part in ast.walk(node)]
        named = {part.value.partition("/")[0] for part in parts if isinstance(part, ast.Constant) and isinstance(part.value, str)}
        words = set().union(*map(_words, self.statements))
        paths = sorted(files.shared("data/benches").glob("*.json")) if words & {"bench", "benches"} else []
        return [path.read_text(encoding="utf-8") for path in paths if path.stem in named]

    def states(self, record: dict) -> bool:
        "Whether the page has the words of a claim, each of them as a text of its own; what it puts into a text may be anything."
        patterns = re.compile("|".join(f"(?:{text})" for texts in self.texts for text in texts), re.S)
        return all(patterns.fullmatch(record[field]) for field in STATED)

    def _carriers(self, first: set[str]) -> set[str]:
        "These names, and the page's functions that use them, directly or through others."
        found, grown = set(first), True
        while grown:
            new = {
                node.name for node, reads in zip(self.statements, self.reads, strict=True) if isinstance(node, _FUNCTIONS) and reads & found
            }
            grown = not new <= found
            found |= new
        return found

    def _all_changes(self) -> list[set[str]]:
        "What each statement changes: by storing, by a method, by training it, by drawing from it."
        trains = self._carriers({"fit", "alternate", "momentum_update"})
        made = [i for i, node in enumerate(self.statements) if not isinstance(node, _FUNCTIONS) and "Generator" in _words(node)]
        dice = set().union(*(self.binds[i] for i in made))
        found = []
        for node, reads in zip(self.statements, self.reads, strict=True):
            changed = set() if isinstance(node, _FUNCTIONS) else _changed(node) | (dice & reads)
            for part in ast.walk(node) if reads & trains and not isinstance(node, _FUNCTIONS) else ():
                if isinstance(part, ast.Call) and trains.intersection(*[_words(part.func)]):
                    changed |= {arg.id for arg in [*part.args, *(word.value for word in part.keywords)] if isinstance(arg, ast.Name)}
            found.append(changed)
        return found

    def _feeding(self, names: frozenset[str] = frozenset({"record"})) -> list[int]:
        "The statements that use these names, directly or through the page's functions, and those that feed them."
        return self._fed(self._starts(set(names)))

    def _starts(self, names: set[str]) -> list[int]:
        used = self._carriers(names)
        return [i for i, reads in enumerate(self.reads) if reads & used]

    def _fed(self, starts: list[int]) -> list[int]:
        found, todo = set(starts), [(name, i) for i in starts for name in self.reads[i]]
        seen: set[tuple[str, int]] = set()
        while todo:
            name, place = todo.pop()
            if (name, place) in seen:
                continue
            seen.add((name, place))
            for i in range(place - 1, -1, -1):
                if name not in self.binds[i] | self.changes[i]:
                    continue
                found.add(i)
                node = self.statements[i]
                if not isinstance(node, _FUNCTIONS):  # read where it stands
                    todo += [(read, i) for read in self.reads[i]]
                if self.late[i]:
                    todo += [(read, place) for read in self.reads[i]]  # read where it is called
                if name in self.binds[i] and not isinstance(node, (ast.For, ast.While, ast.If, ast.With, ast.Try, ast.AugAssign)):
                    break
        return sorted(found)


def _page_reads(node: ast.stmt) -> set[str]:
    "The page's names that a statement reads: without those that a loop binds before it reads them."
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return {"record"} & {alias.name for alias in node.names}
    chains = _uses(node)
    return {chain[0] for chain in chains} - _own(node) | ({"record"} if any(chain[-1] == "record" for chain in chains) else set())


def _names_in(node: ast.AST) -> set[str]:
    return {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}


def _own(statement: ast.stmt) -> set[str]:
    "The names that a statement's loops and lines bind before it reads them."
    parts = list(ast.walk(statement))
    inner = {id(x) for part in parts if isinstance(part, _COMPREHENSIONS) for loop in part.generators
             for x in ast.walk(part) if isinstance(x, ast.Name) and x.id in _names_in(loop.target)}  # fmt: skip
    bound: dict[str, tuple] = {}
    read: dict[str, tuple] = {}
    for part in parts:
        if isinstance(part, ast.For):
            names, place, found = _names_in(part.target), (part.iter.end_lineno, part.iter.end_col_offset), bound
        elif isinstance(part, ast.Assign):
            names, place, found = set().union(*map(_names_in, part.targets)), (part.end_lineno, part.end_col_offset), bound
        elif isinstance(part, ast.Name) and isinstance(part.ctx, ast.Load) and id(part) not in inner:
            names, place, found = {part.id}, (part.lineno, part.col_offset), read
        else:
            continue
        found |= {name: min(place, found.get(name, place)) for name in names}
    return {name for name, place in bound.items() if name not in read or place <= read[name]}


def all_notebooks(folder: Path | None = None) -> list[str]:
    "The names of all notebooks, in reading order; names and folders that begin with '_' or '.' are left out."
    root = Path(folder or files.notebooks())
    found = (path.relative_to(root).with_suffix("") for path in root.rglob("*.ipynb") if path.is_file())
    return sorted(path.as_posix() for path in found if not any(part.startswith(("_", ".")) for part in path.parts))


def of_notebook(
    path: str | Path,  # a notebook's path, or its name under the notebooks' folder
    profile: str,  # "ci", "laptop" or "gpu"
    *,
    package: Path | None = None,  # the package's folder; this one
) -> str:  # 16 hex digits
    """A digest of the page's code, of the modules that it may import, of its settings and its benches: by it a run that resumes knows its own memory.

    Raises `FileNotFoundError` for a notebook that is not there, `ValueError` for an unknown profile.
    """
    path, library = _find(path), Library(package)
    cells = [list(map(canonical, _parse_cell(source))) or source.strip().splitlines() for source in _sources(path)]
    page = Page(path)
    modules = {name: library.modules[name].text for name in library.imported(page)}
    return digest([cells, modules, settings_of(profile, name_of(path)), *page.benches()])


def settings_of(profile: str, notebook: str) -> dict:
    "What of a profile may alter a number: all values but the clock."
    return {key: value for key, value in profiles.settings(profile, notebook).items() if key != "minutes"}


def depends_of(notebook: str | Path, lines: dict[str, list[int]] | None) -> dict[str, dict]:
    "What of the library the records of a page depend on, after a run that executed these lines; `None`: all that the page may import."
    page, library = Page(notebook), Library()
    return library.depends(lines, page.words(), library.imported(page) if lines is None else ())


# --- what git says --------------------------------------------------------------------------------------------------


def unclean(notebooks: Iterable[str]) -> str | None:
    """What of the package, the settings, the data's registry, the benches or these pages' cells is not as committed; `None` where all is.

    Outputs, text cells and records do not count. Raises `ValueError` where git cannot say.
    """
    root = files.checkout()
    state = files.git(
        "status",
        "--porcelain",
        "--untracked-files=all",
        "--",
        "contrastive_nb",
        "settings.ini",
        "nbs/*settings.ini",
        "data/registry.json",
        "data/benches",
    )
    if root is None or state is None:
        raise ValueError("git cannot say what is committed here")
    changed = [line[3:] for line in state.splitlines() if line.endswith((".py", ".ini", ".json"))]
    for name in notebooks:
        then, path = files.git("show", f"HEAD:nbs/{name}.ipynb"), root / "nbs" / f"{name}.ipynb"
        if then is None or _code_cells(json.loads(then)) != _code_cells(read_book(path)):
            changed.append(f"nbs/{name}.ipynb")
    return ", ".join(changed) or None


def is_clean(notebook: str) -> bool | None:
    "Whether package, settings and a page's cells are as committed; `None` where that cannot be said, as for a page outside the checkout."
    root = files.checkout()
    if root is None or files.notebooks().resolve() != (root / "nbs").resolve():
        return None
    try:
        return unclean([notebook]) is None
    except ValueError:
        return None


def _code_cells(book: dict) -> list[str]:
    return ["".join(cell["source"]) for cell in book["cells"] if cell["cell_type"] == "code"]


# --- current, carried or stale ----------------------------------------------------------------------------------------


def checksums(names: Iterable[str]) -> dict[str, str | None]:
    "A digest of each set's files, as the registry has them; `None` for a set that it does not have."
    registry = json.loads(files.shared("data/registry.json").read_text(encoding="utf-8"))
    return {name: digest([file["sha256"] for file in registry[name]["files"]]) if name in registry else None for name in sorted(names)}


def _changed_bench(record: dict, run: dict) -> str | None:
    "What of a claim's bench is not what its run was made with."
    then = run.get("bench")
    if record["bench"] is None or then == (now := bench_of(record["bench"])):
        return None
    if then is None:
        return f"it kept nothing of its bench {record['bench']}"
    changed = sorted(key for key in {*now, *then} if key not in now or key not in then or now[key] != then[key])
    return f"its bench {record['bench']} changed: {', '.join(changed)}"


def changed_parts(run: dict, library: Library) -> dict[str, str | None]:
    "The parts of the library that are not what a run went through, as they are now."
    now = library.digests(run["depends"])
    return {key: value for key, value in now.items() if value != run["depends"][key]["digest"]}


def _changed_settings(run: dict, profile: str, notebook: str) -> list[str]:
    now = settings_of(profile, notebook)
    return sorted(key for key in {*now, *run["settings"]} if key not in now or now[key] != run["settings"].get(key))


def _coarse(record: dict, run: dict, page: Page, library: Library) -> str | None:
    "Of a run that kept no executed lines: whether a file that its page may import has changed since its commit."
    if run["commit"] not in library.since:
        library.since[run["commit"]] = files.git("diff", "--name-only", run["commit"], "--") if run["commit"] else None
    since = library.since[run["commit"]]
    if since is None:
        return f"it kept no executed lines, and its commit {run['commit']} is not here"
    parts = {f"contrastive_nb/{path}" for path in library.imported(page)} | {f"nbs/{record['notebook']}.ipynb", "data/registry.json"}
    changed = sorted(parts & set(since.splitlines()))
    return f"it kept no executed lines, and since {run['commit']} these changed: {', '.join(changed[:3])}" if changed else None


def _judge_aside(record: dict, page: Page | None) -> tuple[str, str]:
    "A claim that was set aside rests on no run: what it has of an earlier experiment is history as long as its page states it."
    if page is None:
        return "stale", f"its page {record['notebook']} is gone"
    return ("current", "") if page.states(record) else ("stale", f"{record['notebook']} does not state it in these words")


def judge(record: dict, profile: str, page: Page | None, library: Library) -> tuple[str, str]:
    "current, carried or stale, and why, of one run of a record."
    run, notebook = record["runs"][profile], record["notebook"]
    if page is None:
        return "stale", f"its page {notebook} is gone"
    if why := _changed_bench(record, run):
        return "stale", why
    if run.get("depends") is None:
        why = _coarse(record, run, page, library)
        return ("stale", why) if why else ("current", "")
    if not page.made(record["id"], run):
        return "stale", f"cells of {notebook} that feed it changed"
    if keys := _changed_settings(run, profile, notebook):
        return "stale", f"settings of {notebook} changed: {', '.join(keys)}"
    if names := [name for name, value in checksums(run["data"]).items() if value != run["data"][name]]:
        return "stale", f"other data: {', '.join(names)}"
    changed = changed_parts(run, library)
    if not changed:
        return "current", _other_versions(run)
    accepted = run["carried"][-1]["definitions"] if run.get("carried") else {}
    if all(key in accepted and accepted[key] == value for key, value in changed.items()):
        return "carried", f"to {run['carried'][-1]['commit']} past changes in {', '.join(changed)}"
    return "stale", f"{CHANGED}{', '.join(key.removesuffix(':') for key in changed)}"


def _other_versions(run: dict) -> str:
    from importlib.metadata import PackageNotFoundError, version

    told = []
    for name in ("torch", "scikit-learn"):
        try:
            now = version(name)
        except PackageNotFoundError:
            continue
        then = run["versions"].get(name)
        told += [f"{name} {then} then, {now} now"] if then not in (None, now) else []
    return "; ".join(told)


def states(
    records: Iterable[dict],  # of the ledger
    notebooks: Path | None = None,  # the notebooks' folder
) -> Iterator[tuple[dict, str, str, str]]:  # record, profile or "set aside", state, why
    "Every recorded run, judged, and every claim that was set aside, once."
    root, library = Path(notebooks or files.notebooks()), Library()
    pages: dict[str, Page | None] = {}
    for record in records:
        name = record["notebook"]
        if name not in pages:
            path = root / f"{name}.ipynb"
            pages[name] = Page(path) if path.is_file() else None
        if is_set_aside(record):
            yield record, SET_ASIDE, *_judge_aside(record, pages[name])
            continue
        for profile in record["runs"]:
            yield record, profile, *judge(record, profile, pages[name], library)


def readable(claims: Path | None = None) -> tuple[list[dict], list[str]]:
    "The records of a folder that can be read, and what is wrong with the others, each beginning with its file."
    from contrastive_nb.lab import claims as ledger
    from contrastive_nb.lab import records

    found, faults = [], []
    for path in sorted(Path(claims or files.shared("data/claims")).glob("*.json")):
        try:
            found.append(records.read(path, ledger.check_record))
        except ValueError as error:
            faults.append(str(error))
    return found, faults


def read_ledger(claims: Path | None = None) -> list[dict]:
    "The records of a folder. Raises `ValueError` naming the file that is none."
    from contrastive_nb.lab import claims as ledger

    return ledger.load(folder=claims)


def stale_runs(notebooks: Path | None = None, claims: Path | None = None, records: list[dict] | None = None) -> set[tuple[str, str]]:
    "The stale runs, (claim's id, profile or 'set aside'); none where no notebooks are at hand."
    if notebooks is None and not files.notebooks().is_dir():
        return set()
    records = read_ledger(claims) if records is None else records
    return {(record["id"], profile) for record, profile, state, _ in states(records, notebooks) if state == "stale"}


def stale_notebooks(profile: str, notebooks: Path | None = None, claims: Path | None = None) -> list[str]:
    "The notebooks that a run in this profile must make again: those of stale records; at laptop also those without outputs."
    made_by = (profile, SET_ASIDE) if profile == "laptop" else (profile,)
    found = {rec["notebook"] for rec, size, state, _ in states(read_ledger(claims), notebooks) if size in made_by and state == "stale"}
    root = Path(notebooks or files.notebooks())
    every = all_notebooks(root)
    if profile == "laptop":
        found |= {name for name in every if _has_no_outputs(root / f"{name}.ipynb")}
    return [name for name in every if name in found]


def _has_no_outputs(path: Path) -> bool:
    return any(source.strip() for source in _sources(path)) and not read_book(path)["metadata"].get("contrastive_nb")
