"""The words of the book: data/glossary.yml, as a list and as a table of a page. Plain module."""

import re
from dataclasses import dataclass
from functools import cache

from contrastive_nb import files
from contrastive_nb.book import course, markup

PAGE = "guides/07_glossary"


@dataclass(frozen=True)
class Term:
    "An entry: the word, the forms of it that the website links, where it is derived, what it says."

    term: str
    forms: tuple[str, ...]
    page: str
    says: str

    @property
    def anchor(self) -> str:
        return "term-" + re.sub(r"\W+", "-", self.term.lower())


@cache
def terms() -> list[Term]:
    "The entries in the order of their words. Raises `ValueError` for a word or a form that stands twice, or a page that is not there."
    import yaml

    said = yaml.safe_load(files.shared("data/glossary.yml").read_text(encoding="utf-8"))
    return checked([Term(one["term"], tuple(one["forms"]), one["page"], one["says"]) for one in said])


def checked(found: list[Term]) -> list[Term]:
    "The entries sorted, if they can stand beside each other."
    words = [word.lower() for term in found for word in {term.term, *term.forms}]
    for word in words:
        if words.count(word) > 1:
            raise ValueError(f"data/glossary.yml: got {word!r} twice, want each word and each form once")
    for term in found:
        if not (files.notebooks() / f"{term.page}.ipynb").is_file():
            raise ValueError(f"data/glossary.yml, {term.term}: got {term.page!r}, want the name of a page under nbs/")
    return sorted(found, key=lambda term: term.term.lower())


def as_html() -> str:
    "All entries as a list of words and what they mean, each with a link to its page."
    rows = [
        f'<dt id="{term.anchor}">{markup.text(term.term)}{_also(term)}</dt><dd>{markup.text(term.says)} {course.link(term.page)}</dd>'
        for term in terms()
    ]
    return f'<dl class="glossary">{"".join(rows)}</dl>'


def _also(term: Term) -> str:
    "Other words for the same thing; a form that begins as the word does is another ending."
    others = [form for form in term.forms if form[:5].lower() != term.term[:5].lower()]
    return f" <i>also {markup.text(', '.join(others))}</i>" if others else ""
