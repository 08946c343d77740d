"""API reference: one page a module, from signatures, docstrings and the comments beside arguments. Plain module: machinery.

Read from syntax trees; nothing is imported.
"""

import ast
import html
import io
import json
import re
import tokenize
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Argument:
    "An argument of a function or a field of a class, with the comment beside it."

    name: str
    kind: str | None
    default: str | None
    says: str


@dataclass
class Definition:
    "A public function or class."

    name: str
    signature: str
    doc: str
    arguments: list[Argument]
    returns: str | None = None  # the type
    returns_says: str = ""
    methods: list["Definition"] = field(default_factory=list)


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


def _notes(text: str) -> dict[int, str]:
    "The comments of a module by their lines."
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return {t.start[0]: t.string.lstrip("# ") for t in tokens if t.type == tokenize.COMMENT and not re.match(r"# (fmt|noqa)\b", t.string)}


def _comments(notes: dict[int, str], first: int, last: int) -> str:
    return " ".join(notes[line] for line in range(first, last + 1) if line in notes)


def _arguments(node: ast.FunctionDef, notes: dict[int, str], skip_self: bool) -> list[Argument]:
    a = node.args
    plain = [*a.posonlyargs, *a.args]
    defaults = [None] * (len(plain) - len(a.defaults)) + list(a.defaults)
    rows = [(arg.arg, arg, default) for arg, default in zip(plain, defaults, strict=True)]
    rows += [("*" + a.vararg.arg, a.vararg, None)] if a.vararg else []
    rows += [(arg.arg, arg, default) for arg, default in zip(a.kwonlyargs, a.kw_defaults, strict=True)]
    rows += [("**" + a.kwarg.arg, a.kwarg, None)] if a.kwarg else []
    if skip_self and rows and rows[0][0] in ("self", "cls"):
        rows = rows[1:]
    shared: dict[int, int] = {}
    for _, arg, _ in rows:
        shared[arg.lineno] = shared.get(arg.lineno, 0) + 1
    found = []
    for name, arg, default in rows:
        last = max(default.end_lineno if default else 0, arg.end_lineno)
        alone = shared[arg.lineno] == 1 and arg.lineno > node.lineno
        says = _comments(notes, arg.lineno, last) if alone else ""
        found.append(
            Argument(name, ast.unparse(arg.annotation) if arg.annotation else None, ast.unparse(default) if default else None, says)
        )
    return found


def _signature(node: ast.FunctionDef) -> str:
    head, bare = f"def {node.name}", ast.unparse(node.args)
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    parts = _split(bare, ",")
    for i, part in enumerate(parts):
        value = _split(part, "=")
        if len(value) == 2 and len(_split(value[0], ":")) == 2:
            parts[i] = " = ".join(value)  # as people write it beside an annotation
    short = f"{head}({', '.join(parts)}){returns}"
    return short if len(short) < 88 else f"{head}(\n" + "".join(f"    {part},\n" for part in parts) + f"){returns}"


def _split(text: str, mark: str) -> list[str]:
    "The parts between marks that stand outside all brackets and quotes."
    parts, depth, quote, start = [], 0, "", 0
    for i, c in enumerate(text):
        if quote or c in "'\"":
            quote = "" if c == quote else quote or c
        elif c == mark and not depth:
            parts.append(text[start:i].strip())
            start = i + 1
        depth += 0 if quote else (c in "([{") - (c in ")]}")
    return [*parts, text[start:].strip()] if text else []


def _function(node: ast.FunctionDef, notes: dict[int, str], method: bool = False) -> Definition:
    returns = ast.unparse(node.returns) if node.returns else None
    says = ""
    if node.returns and node.body[0].lineno > node.returns.end_lineno:
        says = _comments(notes, node.returns.end_lineno, node.returns.end_lineno)
    return Definition(node.name, _signature(node), ast.get_docstring(node) or "", _arguments(node, notes, method), returns, says)


def _class(node: ast.ClassDef, notes: dict[int, str]) -> Definition:
    fields = [
        Argument(
            b.target.id, ast.unparse(b.annotation), ast.unparse(b.value) if b.value else None, _comments(notes, b.lineno, b.end_lineno)
        )
        for b in node.body
        if isinstance(b, ast.AnnAssign) and isinstance(b.target, ast.Name) and not b.target.id.startswith("_")
    ]
    start = next((b for b in node.body if isinstance(b, ast.FunctionDef) and b.name == "__init__"), None)
    shown = [b for b in node.body if isinstance(b, ast.FunctionDef) and (b.name == "__call__" or not b.name.startswith("_"))]
    bases = ", ".join(ast.unparse(base) for base in node.bases)
    return Definition(
        node.name, f"class {node.name}" + (f"({bases})" if bases else ""), ast.get_docstring(node) or "",
        _arguments(start, notes, True) if start else fields, methods=[_function(b, notes, True) for b in shown],
    )  # fmt: skip


def module(path: Path, package: Path) -> Module:
    "What a module says of itself."
    text = path.read_text(encoding="utf-8")
    tree, notes = ast.parse(text), _notes(text)
    name = path.relative_to(package).with_suffix("").as_posix().replace("/", ".").removesuffix(".__init__")
    made = re.search(r"^# AUTOGENERATED!.*nbs/(\S+)\.ipynb", text, re.M)
    listed = next(
        (ast.literal_eval(b.value) for b in tree.body if isinstance(b, ast.Assign) and ast.unparse(b.targets[0]) == "__all__"), None
    )

    def public(n):
        return n in listed if listed is not None else not n.startswith("_")

    definitions, values = [], []
    gathers: dict[str, str] = {}
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and public(node.name):
            definitions.append(_function(node, notes) if isinstance(node, ast.FunctionDef) else _class(node, notes))
        elif (
            isinstance(node, ast.Assign)
            and isinstance(node.targets[0], ast.Name)
            and public(node.targets[0].id)
            and node.targets[0].id.isupper()
        ):
            shown = ast.unparse(node.value)
            values.append((node.targets[0].id, shown if len(shown) <= 160 else shown[:150] + " ..."))
        elif isinstance(node, ast.ImportFrom) and re.match(r"contrastive_nb\.[a-z]", node.module or "") and path.name == "__init__.py":
            gathers |= {alias.asname or alias.name: node.module.removeprefix("contrastive_nb.") for alias in node.names}
    return Module(name, ast.get_docstring(tree) or "", made and made.group(1), definitions, values, gathers)


def is_public(path: Path) -> bool:
    "Whether a module is for users: not one whose name begins with an underscore, a package's own file aside."
    return path.stem == "__init__" or not path.stem.startswith("_") and "_share" not in path.parts


def modules(package: Path) -> list[Module]:
    "Every module of the package that has something public, those that notebooks export first."
    found = [module(path, package) for path in sorted(package.rglob("*.py")) if is_public(path)]
    found = [m for m in found if m.definitions or m.gathers]
    return sorted(found, key=lambda m: (m.notebook is None and not m.gathers, m.name))


# --- as text ----------------------------------------------------------------------------------------------------------------------


def _inline(text: str, known: dict[str, str]) -> str:
    "Escaped text with `code` set as code; a name that has an entry is linked."

    def code(found):
        inner = html.escape(found.group(1))
        target = known.get(found.group(1).removesuffix("()"))
        return f'<a href="{target}"><code>{inner}</code></a>' if target else f"<code>{inner}</code>"

    parts = re.split(r"(`[^`\n]+`)", text)
    return "".join(re.sub(r"^`([^`\n]+)`$", code, part) if part.startswith("`") else html.escape(part) for part in parts)


def _prose(doc: str, known: dict[str, str]) -> str:
    blocks = []
    for block in re.split(r"\n\s*\n", doc.strip()):
        lines = block.split("\n")
        if all(re.match(r"\s*- |\s{2,}", line) for line in lines):
            items = re.split(r"\n\s*- ", "\n" + block.strip())[1:]
            blocks.append("<ul>" + "".join(f"<li>{_inline(' '.join(item.split()), known)}</li>" for item in items) + "</ul>")
        else:
            blocks.append(f"<p>{_inline(' '.join(block.split()), known)}</p>")
    return "\n".join(blocks)


def _table(head: str, rows: list[Argument], known) -> str:
    def line(row):
        default = f"<code>{html.escape(row.default)}</code>" if row.default is not None else ""
        kind = f"<code>{html.escape(row.kind)}</code>" if row.kind else ""
        cells = f"<td>{kind}</td><td>{default}</td><td>{_inline(row.says, known)}</td>"
        return f"<tr><th scope='row'><code>{html.escape(row.name)}</code></th>{cells}</tr>"

    body = "".join(map(line, rows))
    head = f"<thead><tr><th>{head}</th><th>type</th><th>default</th><th>what it is</th></tr></thead>"
    return f'<div class="scroll" tabindex="0"><table class="arguments">{head}<tbody>{body}</tbody></table></div>'


def _raw(text: str) -> str:
    return f"```{{=html}}\n{text}\n```"


def _entry(definition: Definition, known, derived: str | None, level: str = "##", owner: str = "") -> list[str]:
    is_class = definition.signature.startswith("class")
    parts = [f"{level} `{owner}{definition.name}` {{#{owner}{definition.name}}}"]
    parts += (
        [f"```python\n{definition.signature}\n```", _raw(_prose(definition.doc, known))]
        if definition.doc
        else [f"```python\n{definition.signature}\n```"]
    )
    if any(row.says for row in definition.arguments) or (is_class and definition.arguments):
        parts.append(_raw(_table("field" if is_class else "argument", definition.arguments, known)))
    if definition.returns and definition.returns != "None" and definition.returns_says:
        says = f"Returns <code>{html.escape(definition.returns)}</code>: {_inline(definition.returns_says, known)}."
        parts.append(_raw(f'<p class="returns">{says}</p>'))
    if derived:
        parts.append(_raw(f'<p class="derived">{derived}</p>'))
    for method in definition.methods:
        parts += _entry(method, known, None, "###", f"{definition.name}.")
    return parts


def page(module: Module, known: dict[str, str], titles: dict[str, str], address) -> str:
    """A module's page as markdown with front matter.

    `known` maps public names to links seen from api/, `titles` notebooks' names to titles, `address` a notebook's name to its place.
    """
    lead = module.doc.split("\n\n")
    parts = [f'---\ntitle: "contrastive_nb.{module.name}"\ndescription: {json.dumps(lead[0].split(chr(10))[0], ensure_ascii=False)}\n---']
    if len(lead) > 1:
        parts.append(_raw(_prose("\n\n".join(lead[1:]), known)))
    if module.notebook:
        place, title = f"../{address(module.notebook)}", html.escape(titles.get(module.notebook, module.notebook))
        parts.append(_raw(f'<p>Exported from the page <a href="{place}">{title}</a>, which derives it.</p>'))
    if module.gathers:
        rows = [
            f'<li><a href="{m}.html#{n}"><code>{n}</code></a> from <code>contrastive_nb.{m}</code></li>'
            for n, m in sorted(module.gathers.items())
        ]
        parts.append(_raw(f"<ul>{''.join(rows)}</ul>"))
    for definition in module.definitions:
        derived = None
        if module.notebook:
            place = f"../{address(module.notebook)}"
            derived = f'<a href="{place}#def-{definition.name}">Where it is derived</a>'
        parts += _entry(definition, known, derived)
    if module.values:
        rows = "".join(
            f"<tr><th scope='row'><code>{name}</code></th><td><code>{html.escape(value)}</code></td></tr>" for name, value in module.values
        )
        table = f'<table class="arguments"><thead><tr><th>name</th><th>value</th></tr></thead><tbody>{rows}</tbody></table>'
        parts += ["## Values {#values}", _raw(f'<div class="scroll" tabindex="0">{table}</div>')]
    return "\n\n".join(parts) + "\n"


def index(modules: list[Module], titles: dict[str, str], address) -> str:
    "The reference's first page: every module with its names."

    def line(m):
        names = [(d.name, m.name) for d in m.definitions] or sorted(m.gathers.items())
        links = ", ".join(f'<a href="{where}.html#{n}"><code>{n}</code></a>' for n, where in names)
        page = f'<a href="../{address(m.notebook)}">{html.escape(titles.get(m.notebook, m.notebook))}</a>' if m.notebook else ""
        return f'<tr><th scope="row"><a href="{m.name}.html"><code>{m.name}</code></a></th><td>{links}</td><td>{page}</td></tr>'

    def table(chosen):
        head = "<thead><tr><th>module</th><th>public names</th><th>derived on</th></tr></thead>"
        return _raw(
            f'<div class="scroll" tabindex="0"><table class="modules">{head}<tbody>{"".join(map(line, chosen))}</tbody></table></div>'
        )

    taught = [m for m in modules if m.notebook or m.gathers]
    plain = [m for m in modules if not (m.notebook or m.gathers)]
    return "\n\n".join([
        '---\ntitle: "All modules"\ndescription: "Every public function of the package, from its own docstring."\n---',
        "An entry links to the page that derives it, and there each exported cell links back.",
        "## From the notebooks", table(taught), "## Written by hand", "Machinery that teaches nothing about the methods.", table(plain),
    ]) + "\n"  # fmt: skip
