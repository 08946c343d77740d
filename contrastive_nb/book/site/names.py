"""Which public names a page imports or exports, so that its text can link them to the reference. Plain module: machinery."""

import ast

from contrastive_nb.book.site import api, sources


def _trees(cells):
    for cell in cells:
        if cell["cell_type"] == "code":
            try:
                yield ast.parse("\n".join(line for line in sources.source(cell).split("\n") if not line.startswith("#|")))
            except SyntaxError:
                continue


def where(modules: list[api.Module]) -> dict[str, dict[str, str]]:
    "For each module the public names and the module that defines them."
    table = {m.name: {d.name: m.name for d in m.definitions} | m.gathers for m in modules}
    table[""] = {}
    return table


def names_on(cells, module: str | None, table, methods: set[str]) -> dict[str, str]:
    "The public names that a page exports or imports, with the module that defines each."
    found = dict(table.get(module, {}))
    for tree in _trees(cells):
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "contrastive_nb":
                inside = (node.module or "").removeprefix("contrastive_nb").lstrip(".")
                for alias in node.names:
                    if alias.name in table.get(inside, {}):
                        found[alias.asname or alias.name] = table[inside][alias.name]
                    elif not inside and alias.name in table:  # from contrastive_nb import plots
                        found |= {f"{alias.asname or alias.name}.{n}": m for n, m in table[alias.name].items()}
    return {name: where for name, where in found.items() if name not in methods}  # `check()` may mean a method: no link
