"""The cheat sheet: which loss when, its four choices, and what the ledger says of it by now. Plain module."""

from dataclasses import dataclass

from contrastive_nb import files, registry
from contrastive_nb.book import course, ledger, markup

CHOICES = ("pairs", "weight", "aggregation", "comparison")


@dataclass(frozen=True)
class Line:
    "One method of the sheet."

    function: str
    when: str
    choices: dict[str, str]  # one of CHOICES -> a few words


def lines() -> list[Line]:
    "The methods of data/sheet.yml. Raises `ValueError` for a function that the registry does not know."
    import yaml

    said = yaml.safe_load(files.shared("data/sheet.yml").read_text(encoding="utf-8"))
    known = {method.name for method in registry.methods()}
    for one in said:
        if one["function"] not in known:
            raise ValueError(f"data/sheet.yml: got {one['function']!r}, want the name of a method of the registry")
    return [Line(one["function"], one["when"], {choice: one[choice] for choice in CHOICES}) for one in said]


def _method(line: Line) -> registry.Method:
    return next(method for method in registry.methods() if method.name == line.function)


def verdicts(papers: tuple[str, ...], rows: list[ledger.Row]) -> str:
    "What came of what these papers themselves say: the ledger's mark, then how many outcomes had which verdict."
    own = [row for row in rows if row.record["paper"] in papers and any(row.says(kind) for kind in ledger.COUNTED)]
    if not own:
        return "no claim yet"
    mark = ledger.mark(own)
    testable = sum(row.testable for row in own)
    said = f"{sum(row.confirmed for row in own)} of {testable} confirmed" if testable else "none testable here"
    return f'<span class="mark" role="img" aria-label="{mark}" title="{ledger.MARKS[mark][1]}">{ledger.MARKS[mark][0]}</span> {said}'


def _table(name: str, heads: tuple[str, ...], body: list[str]) -> str:
    cells = "".join(f'<th scope="col">{head}</th>' for head in heads)
    return f'<table class="{name}"><thead><tr>{cells}</tr></thead><tbody>\n{chr(10).join(body)}\n</tbody></table>'


def choices_html() -> str:
    "The table of the four choices, a row a method."
    body = [
        f'<tr><th scope="row"><code>{line.function}</code></th>'
        + "".join(f"<td>{markup.text(line.choices[c])}</td>" for c in CHOICES)
        + "</tr>"
        for line in lines()
    ]
    return _table("choices", ("objective", "which pairs", "weight", "aggregated by", "compared by"), body)


def when_html(rows: list[ledger.Row]) -> str:
    "Which loss when, with the ledger's verdicts on what its papers say."
    body = []
    for line in lines():
        method = _method(line)
        page = course.link(method.notebook, f"<code>{line.function}</code>")
        body.append(f'<tr><th scope="row">{page}</th><td>{markup.text(line.when)}</td><td>{verdicts(method.papers, rows)}</td></tr>')
    signs = ", ".join(f"{sign} {word}" for word, (sign, _) in ledger.MARKS.items())
    return (
        _table("when", ("objective", "take it when", "what its papers say"), body)
        + f'<p class="marks">{signs}. Counted: mechanisms and outcomes that could be tested here.</p>'
    )
