"""What is done to the text of a page: folds, numbered equations, links, citations. Plain module: machinery."""

import re

FENCE = re.compile(r"(^(?:```|~~~).*?^(?:```|~~~)[ \t]*$)", re.M | re.S)
CODE = re.compile(r"((?<!`)`[^`\n]+`(?!`))")


def outside_code(text: str, change) -> str:
    "The text with `change` applied to what is neither a fence nor a code span."
    parts = FENCE.split(text)
    for i in range(0, len(parts), 2):
        spans = CODE.split(parts[i])
        spans[::2] = map(change, spans[::2])
        parts[i] = "".join(spans)
    return "".join(parts)


def fence(text: str, kind: str) -> str:
    "A fenced block, whatever fences the text holds."
    ticks = "`" * max(3, max((len(run) for run in re.findall(r"`+", text)), default=0) + 1)
    return f"{ticks}{kind}\n{text}\n{ticks}"


def raw_html(text: str) -> str:
    "Markdown that both renderers pass through as HTML."
    return fence(text, "{=html}")


def folds(text: str) -> str:
    "`<details>`, which JupyterLab shows, as the folded callouts of both renderers."
    opened = re.compile(r"^<details><summary>(.*?)</summary>[ \t]*$", re.M)

    def change(part):
        return re.sub(r"^</details>[ \t]*$", ":::", opened.sub(r'::: {.callout-tip collapse="true" title="\1"}', part), flags=re.M)

    return outside_code(text, change)


def number_figures(text: str) -> str:
    "`the figure above<!-- @fig-x -->`, which says in JupyterLab what it means, as the label that both renderers number and link."
    return outside_code(text, lambda part: re.sub(r"[Tt]he figure (?:above|below|\*[^*\n]+\*)<!-- (@fig-[\w-]+) -->", r"\1", part))


def equations(text: str) -> tuple[str, list[str]]:
    r"Every `$$ ... \tag{1} $$` as a numbered line that can be linked to; MathML knows no tags. Also the numbers found."
    numbers = []

    def line(found):
        tag = re.search(r"\\tag\{([^}]*)\}", found.group(1))
        if not tag:
            return found.group()
        numbers.append(tag.group(1))
        formula = re.sub(r"\s*\\tag\{[^}]*\}\s*", " ", found.group(1)).strip()
        return f"[$${formula}$$ [({tag.group(1)})]{{.eqno}}]{{#eq-{tag.group(1)} .numbered}}"

    return outside_code(text, lambda part: re.sub(r"\$\$(.+?)\$\$", line, part, flags=re.S)), numbers


def link_equations(text: str, numbers: set[str]) -> str:
    "`(3)` in the text links to the equation of that number, if the page has it."

    def change(part):
        pieces = re.split(r"(\$\$.+?\$\$|(?<!\$)\$[^$\n]+\$|\]\([^)]*\))", part, flags=re.S)
        for i in range(0, len(pieces), 2):
            pieces[i] = re.sub(
                r"(?<![\w\]\[)])\((\d+[a-z]?)\)(?![\w(\]])",
                lambda m: f"[({m.group(1)})](#eq-{m.group(1)})" if m.group(1) in numbers else m.group(),
                pieces[i],
            )
        return "".join(pieces)

    return outside_code(text, change)


def anchor_references(text: str, works: str = "references.qmd") -> str:
    "In a list of references the key at an item's end becomes the place that citations link to, and a link to the book's one list."

    def item(found):
        start, words, key = found.groups()
        return f"{start}[]{{#ref-{key} .reference}}{words.rstrip()} [[{key}]]({works}#ref-{key}){{.key}}"

    head, mark, rest = re.match(r"(.*?)(^## References\b|\Z)(.*)", text, re.S | re.M).groups()
    return head + mark + re.sub(r"^([-*] )(.*?)\s*<!-- @([\w:-]+) -->[ \t]*$", item, rest, flags=re.M)


def link_names(text: str, known: dict[str, str]) -> str:
    "A code span that is a public name, on a page that imports or exports it, links to its entry in the reference."

    def link(found):
        target = known.get(re.sub(r"\(\)$", "", found.group(1)))
        return f"[`{found.group(1)}`]({target}){{.api}}" if target else found.group()

    parts = FENCE.split(text)
    for i in range(0, len(parts), 2):
        parts[i] = re.sub(r"(?<![`\[\w])`([A-Za-z_][\w.]*(?:\(\))?)`(?![`\]])", link, parts[i])
    return "".join(parts)
