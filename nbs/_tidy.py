"""Brings pages into the form that reads well in JupyterLab and on the website: `python nbs/_tidy.py`, for all or for the named files.

Solutions, the functions that checks compare with, and set-up are hidden there until they are asked for; text solutions are `<details>`;
keys of works and figures stand in comments, which both leave out; a figure's alt text stands in its cell's metadata. Pages may be
written in the shorter form (`::: {.callout-tip collapse="true" title="Solution"}`, `[@key]`, `@fig-label`, `#| fig-alt:`). Run twice it
changes nothing. The commit hook runs it; it needs Python alone.
"""

import ast
import hashlib
import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CODE = re.compile(r"(^(?:```|~~~).*?^(?:```|~~~)[ \t]*$|(?<!`)`[^`\n]+`(?!`))", re.M | re.S)
ITEM = re.compile(r"^([-*] .*?)[ \t]*\[@([\w:-]+)\]\.?[ \t]*$", re.M)
FOLDED = '#| code-fold: true\n#| code-summary: "Solution"\n'


def outside_code(text: str, change) -> str:
    "The text with `change` applied to what is neither a fence nor a code span."
    parts = CODE.split(text)
    parts[::2] = map(change, parts[::2])
    return "".join(parts)


# --- text -------------------------------------------------------------------------------------------------------------------------


def details(text: str) -> str:
    "Folded callouts as `<details>`, with blank lines around the markdown inside; the others as quotations under their title."

    def block(found):
        kind, said, inside = found.groups()
        heading = re.match(r"\s*#+ +(.+)\n", inside)
        named = re.search(r'title="([^"]*)"', said) or heading
        name, inside = named.group(1) if named else kind.capitalize(), inside[heading.end() if heading else 0 :].strip()
        if "collapse" in said:
            return f"<details><summary>{name}</summary>\n\n{inside}\n\n</details>\n"
        return "\n".join(f"> {line}".rstrip() for line in f"**{name}.** {inside}".split("\n")) + "\n"

    return re.sub(r"^:::+ *\{\.callout-(\w+)([^}\n]*)\} *\n(.*?)^:::+ *(?:\n|\Z)", block, text, flags=re.M | re.S).rstrip("\n")


def works() -> dict[str, tuple[str, str | None]]:
    "For each key of the list of works the words that cite it, and the paper's address where the list knows one."
    found = {}
    for key, body in re.findall(r"^@\w+\{([^,\s]+),(.*?)^\}", (ROOT / "data" / "references.bib").read_text(encoding="utf-8"), re.M | re.S):
        authors = re.search(r"^\s*author\s*=\s*\{(.*)\}", body, re.M).group(1).split(" and ")
        names = [re.sub(r"[{}]", "", author).partition(",")[0] for author in authors]
        year = re.search(r"^\s*year\s*=\s*\{(\d+)\}", body, re.M).group(1)
        who = " & ".join(names) if len(names) < 3 else f"{names[0]} et al."
        doi, preprint = re.search(r"10\.\d{4,}/[^\s,}]+", body), re.search(r"(?:arXiv:|eprint\s*=\s*\{)(\d{4}\.\d{4,5})", body)
        url = doi and f"https://doi.org/{doi.group()}" or preprint and f"https://arxiv.org/abs/{preprint.group(1)}"
        found[key] = f"{who}, {year}", url
    return found


def citations(text: str) -> str:
    "Keys in comments: at the end of an item of the references alone, elsewhere after words that name the work and lead to it."

    def words(found):
        known, shown = works(), []
        for key in re.findall(r"@([\w:-]+)", found.group()):
            name, url = known.get(key, (key, None))
            shown.append((f"[{name}]({url})" if url else name) + f"<!-- @{key} -->")
        return f"({'; '.join(shown)})"

    head, mark, rest = re.match(r"(.*?)(^## References\b|\Z)(.*)", text, re.S | re.M).groups()
    text = head + mark + ITEM.sub(r"\1 <!-- @\2 -->", rest)
    return outside_code(text, lambda part: re.sub(r"\[@[\w:-]+(?:; *@[\w:-]+)*\]", words, part))


def figures(text: str, before: list[str], after: list[str], captions: dict[str, str]) -> str:
    "`@fig-label` in words: the nearest figure above or below is called so, any other by its caption."

    def name(found):
        label = found.group(1)
        where = "above" if before[-1:] == [label] else "below" if after[:1] == [label] else None
        start = "The" if re.search(r"(?:\A|[.!?:]\s+|\n)\Z", found.string[: found.start()]) else "the"
        return f"{start} figure {where or f'*{captions.get(label, label)}*'}<!-- @{label} -->"

    return outside_code(text, lambda part: re.sub(r"(?<![\w@])(?<!<!-- )@(fig-[\w-]+)", name, part))


# --- code -------------------------------------------------------------------------------------------------------------------------


def said(text: str, directive: str) -> str | None:
    "What a cell's directive says: a label, a caption."
    found = re.search(rf"^#\|\s*{directive}:\s*(.*)$", text, re.M)
    return found and re.sub(r'^"(.*)"$', lambda m: json.loads(m.group()), found.group(1).strip())


def body(text: str) -> list[ast.stmt]:
    try:
        return ast.parse(text).body
    except SyntaxError:  # a line of magic, say: what it is cannot be told
        return []


def calls(text: str, name: str) -> bool:
    return any(isinstance(n, ast.Call) and getattr(n.func, "id", None) == name for part in body(text) for n in ast.walk(part))


def hides(text: str, tags: list[str]) -> bool:
    "Whether a cell's source is hidden until it is asked for: set-up, solutions, what checks compare with, what the site folds."
    parts = body(text)
    return (
        bool({"parameters", "solution"} & set(tags))
        or text.startswith(("# Reference\n", "#| default_exp"))
        or bool(re.search(r"^#\| *(?:code-fold: *true|echo: *false)", text, re.M))
        or (bool(parts) and all(isinstance(part, (ast.Import, ast.ImportFrom)) for part in parts))
        or calls(text, "open_run")
        or bool(re.search(r"^_METHODS\b", text, re.M))
    )


def apart(text: str) -> tuple[str, str] | None:
    "The two cells that a check becomes when it holds functions: what it compares with, and the check."
    defined = [part.end_lineno for part in body(text) if isinstance(part, (ast.FunctionDef, ast.ClassDef))]
    lines = text.split("\n")
    if not defined or not calls("\n".join(lines[defined[-1] :]), "check"):
        return None
    first, rest = lines[: defined[-1]], "\n".join(lines[defined[-1] :]).strip("\n")
    return "# Reference\n" + "\n".join(first), rest


def metadata(cell: dict, text: str) -> tuple[dict, str]:
    "A code cell's metadata and text, with the alt text moved and what Lab hides marked."
    kept = {key: value for key, value in cell["metadata"].items() if key != "jupyter"}
    if alt := said(text, "fig-alt"):
        kept["alt"] = alt
        text = re.sub(r"^#\|\s*fig-alt:.*\n?", "", text, flags=re.M)
    tags = kept.get("tags", [])
    if "solution" in tags:
        text = "# Solution\n" + text.removeprefix(FOLDED).removeprefix("# Solution\n")
    if hides(text, tags):
        outputs = {"outputs_hidden": True} if "solution" in tags and cell.get("outputs") else {}
        kept["jupyter"] = {"source_hidden": True} | outputs
    return kept, text


# --- pages ------------------------------------------------------------------------------------------------------------------------


def split_checks(cells: list[dict]) -> list[dict]:
    "The exercises' check cells without the functions that they compare with, which go into a cell of their own."
    done, inside = [], False
    for cell in cells:
        text = "".join(cell["source"])
        inside |= cell["cell_type"] == "markdown" and bool(re.search(r"^## Exercises", text, re.M))
        wanted = inside and cell["cell_type"] == "code" and "solution" not in cell["metadata"].get("tags", [])
        if wanted and (two := apart(text)):
            name = hashlib.sha256(f"{cell['id']} reference".encode()).hexdigest()[:8]
            first = {"cell_type": "code", "execution_count": None, "id": name, "metadata": {}, "outputs": [], "source": two[0]}
            done += [first, cell | {"source": two[1]}]
        else:
            done.append(cell)
    return done


def tidy(book: dict) -> dict:
    "A page in the form that it is kept in."
    cells = split_checks(book["cells"])
    texts = ["".join(cell["source"]) for cell in cells]
    labels = [said(text, "label") if cell["cell_type"] == "code" else None for cell, text in zip(cells, texts, strict=True)]
    captions = {label: (said(text, "fig-cap") or label).rstrip(".") for label, text in zip(labels, texts, strict=True) if label}
    done = []
    for i, (cell, text) in enumerate(zip(cells, texts, strict=True)):
        new = dict(cell)
        if cell["cell_type"] == "code":
            new["metadata"], text = metadata(cell, text)
        elif cell["cell_type"] == "markdown":
            before, after = ([label for label in part if (label or "").startswith("fig-")] for part in (labels[:i], labels[i:]))
            text = figures(citations(details(text)), before, after, captions)
        done.append(new | {"source": text.splitlines(keepends=True)})
    return book | {"cells": done}


def main(paths: list[Path]) -> None:
    for path in paths:
        old = path.read_text(encoding="utf-8")
        new = json.dumps(tidy(json.loads(old)), indent=1, ensure_ascii=False, sort_keys=True) + "\n"
        if new != old:
            path.write_text(new, encoding="utf-8")


if __name__ == "__main__":
    every = (path for path in sorted((ROOT / "nbs").rglob("*.ipynb")) if ".ipynb_checkpoints" not in path.parts)
    main([Path(name) for name in sys.argv[1:]] or list(every))
