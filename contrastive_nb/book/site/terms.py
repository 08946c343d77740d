"""The first use of a word of the glossary on a page becomes a link to its entry. Plain module: machinery."""

import re
from collections.abc import Callable, Iterable
from functools import cache

from contrastive_nb.book.glossary import PAGE, Term
from contrastive_nb.book.site import sources

# what is left as it is: fences, headings, rows of tables, lines of colons; code, formulas, links, attributes, tags, citations, addresses
KEPT = re.compile(
    r"(^(?:```|~~~).*?^(?:```|~~~)[ \t]*$|^(?:#|\||:::)[^\n]*$|(?<!`)`[^`\n]+`(?!`)|\$\$.+?\$\$|(?<![\\$])\$[^$]+?\$"
    r"|!?\[(?:[^\[\]]|\[[^\]]*\])*\](?:\([^)]*\)|\{[^}]*\})+|\{[^}\n]*\}|<!--.*?-->|</?\w[^>]*>|\w*@[\w:-]+|https?://\S+)",
    re.M | re.S,
)
REFERENCES = re.compile(r"^## References\b", re.M)


@cache
def _pattern(form: str) -> str:
    "A form as it may stand in a sentence: at its beginning with a capital letter, across the end of a line."
    first = f"[{form[0].upper()}{form[0]}]" if form[0].islower() else re.escape(form[0])
    return first + re.sub(r"(?:\\ )+", r"\\s+", re.escape(form[1:]))


def linker(page: str, terms: Iterable[Term]) -> Callable[[str], str]:
    """A function that is given a page's texts in their order and returns them with links; each word is linked once.

    On the page that derives a word, on the glossary and after the heading References nothing is linked.
    """
    left = {} if page == PAGE else {form: term for term in terms if term.page != page for form in term.forms}
    entry = sources.between(sources.address(page), sources.address(PAGE))
    over, wanted = [False], [re.compile(_any(left))]

    def one(found):
        word = " ".join(found[0].split())
        term = left.get(word) or left[word[0].lower() + word[1:]]
        for form in term.forms:
            left.pop(form, None)
        wanted[0] = re.compile(_any(left))
        said = term.says.replace("\\", r"\\").replace('"', r"\"")
        return f'[{found[0]}]({entry}#{term.anchor}){{.term title="{said}"}}'

    def plain(text):
        done, at = [], 0
        while left and (found := wanted[0].search(text, at)):
            done += [text[at : found.start()], one(found)]
            at = found.end()
        return "".join([*done, text[at:]])

    def change(text):
        if over[0]:
            return text
        end = REFERENCES.search(text)
        over[0] = end is not None
        body, rest = (text[: end.start()], text[end.start() :]) if end else (text, "")
        parts = KEPT.split(body)
        parts[::2] = map(plain, parts[::2])
        return "".join(parts) + rest

    return change


def _any(forms: Iterable[str]) -> str:
    "One of the forms as whole words, the longest first."
    return r"(?<![\w-])(?:" + "|".join(map(_pattern, sorted(forms, key=len, reverse=True))) + r")(?![\w-])"
