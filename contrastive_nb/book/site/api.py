"""What the package says of itself: signatures, docstrings and the comments beside arguments. Plain module: machinery.

griffe reads the syntax trees; nothing is imported. The comments are ours to read (docments).
"""

import ast
import io
import re
import tokenize
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import griffe

from contrastive_nb import files


@dataclass
class Argument:
    "An argument of a function or a field of a class, with the comment beside it."

    name: str
    kind: str | None
    default: str | None
    says: str


@dataclass
class Definition:
    "A public function, class or property."

    name: str
    signature: str
    doc: str
    arguments: list[Argument] = field(default_factory=list)
    returns: str | None = None  # the type
    returns_says: str = ""
    methods: list["Definition"] = field(default_factory=list)
    is_class: bool = False


@dataclass
class Module:
    "What a module has for its page."

    name: str  # "objectives.infonce"
    doc: str
    notebook: str | None  # "1_objectives/01_infonce", for what nbdev exports
    definitions: list[Definition]
    values: list[tuple[str, str]]  # public constants and what they are
    gathers: dict[str, str]  # names that come from elsewhere in the package: name -> module

    @property
    def address(self) -> str:
        return f"api/{self.name}.html"


# --- comments -------------------------------------------------------------------------------------------------------------------------


class Comments(griffe.Extension):
    "Puts the comments beside arguments, results and fields into `extra['says']` of what griffe finds, by their names."

    def on_module_instance(self, *, agent, **others):
        "The comments of a module, by their lines."
        tokens = tokenize.generate_tokens(io.StringIO(agent.code).readline)
        comments = (t for t in tokens if t.type == tokenize.COMMENT and not re.match(r"# (fmt|noqa)\b", t.string))
        self.lines = {t.start[0]: t.string.lstrip("# ") for t in comments}

    def _between(self, first: int, last: int) -> str:
        return " ".join(self.lines[line] for line in range(first, last + 1) if line in self.lines)

    def on_function_instance(self, *, node, func, **others):
        "Beside arguments that have a line of their own, and beside the result."
        a, says = node.args, func.extra["says"]
        plain = [*a.posonlyargs, *a.args, *a.kwonlyargs]
        values = [*a.defaults, *a.kw_defaults]
        ends = [(arg, value or arg) for arg, value in zip(plain, [None] * (len(plain) - len(values)) + values, strict=True)]
        ends += [(arg, arg) for arg in (a.vararg, a.kwarg) if arg]
        shared = Counter(arg.lineno for arg, _ in ends)
        for arg, end in ends:
            if shared[arg.lineno] == 1 and arg.lineno > node.lineno:
                says[arg.arg] = self._between(arg.lineno, end.end_lineno)
            if arg.annotation and ast.unparse(arg.annotation).startswith("Annotated["):  # griffe takes the text in it for types
                func.parameters[arg.arg].annotation = ast.unparse(arg.annotation)
        if node.returns and node.body[0].lineno > node.returns.end_lineno:
            says["return"] = self._between(node.returns.end_lineno, node.returns.end_lineno)

    def on_attribute_instance(self, *, node, attr, **others):
        "Beside a field."
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            attr.extra["says"][attr.name] = self._between(node.lineno, node.end_lineno)


# --- definitions ----------------------------------------------------------------------------------------------------------------------


def _text(value) -> str | None:
    return None if value is None else str(value)


def _doc(found: griffe.Object) -> str:
    return found.docstring.value if found.docstring else ""


def _arguments(function: griffe.Function) -> list[Argument]:
    stars = {griffe.ParameterKind.var_positional: "*", griffe.ParameterKind.var_keyword: "**"}
    rows = []
    for p in function.parameters:
        if p.name not in ("self", "cls"):
            default = None if p.kind in stars else _text(p.default)
            says = function.extra["says"].get(p.name, "")
            rows.append(Argument(stars.get(p.kind, "") + p.name, _text(p.annotation), default, says))
    return rows


def _split(text: str) -> list[str]:
    "The parts between commas that stand outside all brackets and quotes."
    parts, depth, quote, start = [], 0, "", 0
    for i, c in enumerate(text):
        if quote or c in "'\"":
            quote = "" if c == quote else quote or c
        elif c == "," and not depth:
            parts.append(text[start:i].strip())
            start = i + 1
        depth += 0 if quote else (c in "([{") - (c in ")]}")
    return [*parts, text[start:].strip()]


def _signature(function: griffe.Function) -> str:
    "On one line, or an argument a line where that would be long."
    inside = function.signature(return_type=False).removeprefix(f"{function.name}(").removesuffix(")")
    head, tail = f"def {function.name}(", ")" + (f" -> {function.annotation}" if function.annotation else "")
    short = head + inside + tail
    return short if len(short) < 88 else head + "\n" + "".join(f"    {part},\n" for part in _split(inside)) + tail


def _function(found: griffe.Function) -> Definition:
    says = found.extra["says"].get("return", "")
    return Definition(found.name, _signature(found), _doc(found), _arguments(found), _text(found.annotation), says)


def _own(found: griffe.Module | griffe.Class) -> list[Any]:
    "What is defined there: a `Function`, `Class`, `Attribute` or `Module` each, which its own `is_...` says."
    return [member for member in found.members.values() if not member.is_alias]


def _class(found: griffe.Class) -> Definition:
    members = _own(found)
    fields = [
        Argument(a.name, _text(a.annotation), _text(a.value), a.extra["says"][a.name])
        for a in members
        if a.is_attribute and a.name in a.extra["says"] and not a.name.startswith("_")
    ]
    start = next((member for member in members if member.name == "__init__"), None)
    methods = []
    for member in members:
        if member.name == "__call__" or not member.name.startswith("_"):
            if member.is_function:
                methods.append(_function(member))
            elif "property" in member.labels:
                methods.append(Definition(member.name, f"{member.name}: {member.annotation}", _doc(member)))
    bases = ", ".join(map(str, found.bases))
    signature = f"class {found.name}" + (f"({bases})" if bases else "")
    return Definition(found.name, signature, _doc(found), _arguments(start) if start else fields, methods=methods, is_class=True)


# --- modules --------------------------------------------------------------------------------------------------------------------------


def _gathered(package: griffe.Module) -> dict[str, str]:
    "What a package's own file takes from its modules, and which module defines it."
    root, everything = f"{package.package.path}.", package.modules_collection
    # of `imports`, not `members`: there a module hides a function of its own name
    found = {name: everything[target] for name, target in package.imports.items() if target.startswith(root)}
    return {name: one.module.path.removeprefix(root) for name, one in found.items() if not one.is_module}


def _module(found: griffe.Module) -> Module:
    public = [member for member in _own(found) if member.is_public]
    values = [(member.name, str(member.value)) for member in public if member.is_attribute and member.name.isupper()]
    return Module(
        found.path.partition(".")[2], _doc(found), files.page_of(found.source),
        [_class(member) if member.is_class else _function(member) for member in public if member.is_class or member.is_function],
        [(name, shown if len(shown) <= 160 else shown[:150] + " ...") for name, shown in values],
        _gathered(found) if found.is_init_module else {},
    )  # fmt: skip


def _within(package: griffe.Module) -> Iterator[griffe.Module]:
    "The modules for users: not one whose name begins with an underscore."
    for member in _own(package):
        if member.is_module and not member.name.startswith("_"):
            yield member
            yield from _within(member)


def modules(package: Path) -> list[Module]:
    "Every module of the package that has something public, those that notebooks export first."
    read = griffe.Extensions(Comments())
    root: Any = griffe.load(package.name, search_paths=[package.parent], try_relative_path=False, extensions=read, allow_inspection=False)
    found = [module for module in map(_module, _within(root)) if module.definitions or module.gathers]
    return sorted(found, key=lambda m: (m.notebook is None and not m.gathers, m.name))
