"""The API reference as pages: one a module, and one with all of them. Plain module: machinery."""

import html
import json
import re

from contrastive_nb.book.site.api import Argument, Definition, Module
from contrastive_nb.book.site.links import Known
from contrastive_nb.book.site.prose import raw_html


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


def _entry(definition: Definition, known, derived: str | None, level: str = "##", owner: str = "") -> list[str]:
    parts = [f"{level} `{owner}{definition.name}` {{#{owner}{definition.name}}}"]
    parts += (
        [f"```python\n{definition.signature}\n```", raw_html(_prose(definition.doc, known))]
        if definition.doc
        else [f"```python\n{definition.signature}\n```"]
    )
    if any(row.says for row in definition.arguments) or (definition.is_class and definition.arguments):
        parts.append(raw_html(_table("field" if definition.is_class else "argument", definition.arguments, known)))
    if definition.returns and definition.returns != "None" and definition.returns_says:
        says = f"Returns <code>{html.escape(definition.returns)}</code>: {_inline(definition.returns_says, known)}."
        parts.append(raw_html(f'<p class="returns">{says}</p>'))
    if derived:
        parts.append(raw_html(f'<p class="derived">{derived}</p>'))
    for method in definition.methods:
        parts += _entry(method, known, None, "###", f"{definition.name}.")
    return parts


def page(module: Module, known: dict[str, str], titles: dict[str, str], address, joined: Known) -> str:
    """A module's page as markdown with front matter.

    `known` maps public names to links seen from api/, `titles` notebooks' names to titles, `address` a notebook's name to its place,
    `joined` functions to methods and claims.
    """
    lead = module.doc.split("\n\n")
    parts = [f'---\ntitle: "contrastive_nb.{module.name}"\ndescription: {json.dumps(lead[0].split(chr(10))[0], ensure_ascii=False)}\n---']
    if len(lead) > 1:
        parts.append(raw_html(_prose("\n\n".join(lead[1:]), known)))
    if module.notebook:
        place, title = f"../{address(module.notebook)}", html.escape(titles.get(module.notebook, module.notebook))
        parts.append(raw_html(f'<p>Exported from the page <a href="{place}">{title}</a>, which derives it.</p>'))
    if module.gathers:
        rows = [
            f'<li><a href="{m}.html#{n}"><code>{n}</code></a> from <code>contrastive_nb.{m}</code></li>'
            for n, m in sorted(module.gathers.items())
        ]
        parts.append(raw_html(f"<ul>{''.join(rows)}</ul>"))
    for definition in module.definitions:
        derived = None
        if module.notebook:
            place = f"../{address(module.notebook)}"
            derived = f'<a href="{place}#def-{definition.name}">Where it is derived</a>'
            derived = " · ".join([derived, *joined.of_function(f"{module.address}#{definition.name}", "../")])
        parts += _entry(definition, known, derived)
    if module.values:
        rows = "".join(
            f"<tr><th scope='row'><code>{name}</code></th><td><code>{html.escape(value)}</code></td></tr>" for name, value in module.values
        )
        table = f'<table class="arguments"><thead><tr><th>name</th><th>value</th></tr></thead><tbody>{rows}</tbody></table>'
        parts += ["## Values {#values}", raw_html(f'<div class="scroll" tabindex="0">{table}</div>')]
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
        return raw_html(
            f'<div class="scroll" tabindex="0"><table class="modules">{head}<tbody>{"".join(map(line, chosen))}</tbody></table></div>'
        )

    taught = [m for m in modules if m.notebook or m.gathers]
    plain = [m for m in modules if not (m.notebook or m.gathers)]
    return "\n\n".join([
        '---\ntitle: "All modules"\ndescription: "Every public function of the package, from its own docstring."\n---',
        "An entry links to the page that derives it, and there each exported cell links back.",
        "## From the notebooks", table(taught), "## Written by hand", "Machinery that teaches nothing about the methods.", table(plain),
    ]) + "\n"  # fmt: skip
