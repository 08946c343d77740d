"""Pieces of HTML that the catalogue and the ledger share, in JupyterLab and on the website alike. Plain module: machinery."""

import html
import json
from functools import cache

from contrastive_nb import files
from contrastive_nb.lab import claims

LOOKS = dict(
    zip(claims.VERDICTS, ("confirmed", "size-open", "too-small", "no-effect", "reversed", "not-resolved", "not-testable"), strict=True)
)


def text(value) -> str:
    "What a record or a row says, as text of a page: never a tag or an attribute of its own."
    return html.escape(str(value))


def number(value: float) -> str:
    "Three digits, with a true minus."
    return f"{value:.3g}".replace("-", "\u2212")


@cache
def title(name: str) -> str:
    "The page's heading, or its file's name where the notebook is not at hand."
    try:
        cells = json.loads((files.notebooks() / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]
    except (OSError, ValueError):
        return name.rpartition("/")[2]
    texts = ("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    return next((text[2:].split("\n")[0].strip() for text in texts if text.startswith("# ")), name)


def page(name: str) -> str:
    "A link to a page, by its heading."
    return f'<a href="{text(name)}.ipynb">{text(title(name))}</a>'


def verdict(words: str | None) -> str:
    "A verdict in its colour."
    return f'<span class="verdict {LOOKS.get(words, "other")}">{text(words)}</span>' if words else "not run"


def words(value: str) -> str:
    "A table's text with its words apart."
    return text(value.replace("-", " "))


def table(name: str, heads: dict[str, str], lines: list[str], label: str, filterable: bool = True) -> str:
    """A table that the website's script makes filterable; a head is the column's name -> how it filters (`choice`) or sorts (`number`).

    What is chosen stands in the page's address, so that of a page's tables with the same columns one alone can be filterable.
    """
    cells = "".join(f'<th scope="col"{f" class={kind}" if kind else ""}>{head}</th>' for head, kind in heads.items())
    body = "\n".join(lines)
    opening = f'<table class="{"filterable " if filterable else ""}{name}" id="{name}" aria-label="{label}">'
    return f"{opening}<thead><tr>{cells}</tr></thead><tbody>\n{body}\n</tbody></table>"


def counts(heads: list[str], lines: list[str]) -> str:
    "A table of numbers, as small as they need."
    cells = "".join(f"<th>{text(head)}</th>" for head in heads)
    return f"<table class='counts'><thead><tr>{cells}</tr></thead><tbody>{''.join(lines)}</tbody></table>"
