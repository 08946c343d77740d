"""What a page asks of its reader: words, lines of code, formulas, exercises, and the minutes that these take. Plain module."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

WORDS_A_MINUTE = 220  # plain English read with care: a little below the 238 of silent reading (Brysbaert 2019)
LINES_A_MINUTE = 20  # of code that is seen: an assumption
SECONDS_A_FORMULA = 30  # one that stands on its own line: an assumption
POINTS = {"easy": 1, "medium": 2, "hard": 3}
EXERCISE = re.compile(r"^\*\*(\d+) \((\w+), (\d+) min, (\w+)\)\.\*\*", re.M)
FOLDED = re.compile(r"^<details><summary>.*?^</details>[ \t]*$", re.M | re.S)


@dataclass(frozen=True)
class Exercise:
    "What the heading of an exercise says."

    number: int
    kind: str
    minutes: int
    level: str  # one of POINTS

    @property
    def points(self) -> int:
        return POINTS[self.level]


@dataclass(frozen=True)
class Load:
    "What is read on a page or on several, exercises apart."

    words: int = 0
    lines: int = 0  # of code that is seen
    formulas: int = 0

    def __add__(self, other: "Load") -> "Load":
        return Load(self.words + other.words, self.lines + other.lines, self.formulas + other.formulas)

    @property
    def minutes(self) -> float:
        return self.words / WORDS_A_MINUTE + self.lines / LINES_A_MINUTE + self.formulas * SECONDS_A_FORMULA / 60


def without_fences(text: str) -> str:
    "Markdown without its blocks of code."
    return re.sub(r"^(```|~~~).*?^\1\s*$", "", text, flags=re.M | re.S)


def prose(text: str) -> str:
    "Markdown without what is not said in words: fences, formulas, code spans, targets of links, attributes, HTML tags."
    text = without_fences(text)
    for pattern in (
        r"\$\$.*?\$\$",
        r"(?<![\\$])\$[^$\n]+(?:\n[^$\n]+)?\$",
        r"`[^`\n]+`",
        r"\]\([^)]*\)",
        r"https?://\S+",
        r"\{[^}\n]*\}",
        r"</?\w[^>]*>",
        r"<!--.*?-->",
    ):
        text = re.sub(pattern, " ", text, flags=re.S if "$$" in pattern else 0)
    return text


def words(texts: Iterable[str]) -> int:
    "The words of prose in texts of markdown: fences, formulas, code and tables are looked at, the works after the heading References looked up."
    told = "\n\n".join(map(prose, texts)).split("\n## References")[0]
    return len(re.findall(r"[A-Za-z][\w'-]*", re.sub(r"^\|.*$", "", told, flags=re.M)))


def texts(book: dict) -> list[str]:
    "A notebook's cells of text."
    return ["".join(cell["source"]) for cell in book["cells"] if cell["cell_type"] == "markdown"]


def _lines(cell: dict) -> int:
    "The lines of a cell's code that say something, none of what is hidden or a solution."
    if cell["cell_type"] != "code" or cell["metadata"].get("jupyter", {}).get("source_hidden"):
        return 0
    lines = "".join(cell["source"]).split("\n")
    return sum(bool(line.strip(" )]},")) and not line.startswith("#|") for line in lines)


def load(book: dict) -> Load:
    "What is read on a page; what stands folded, hints and solutions, is left out."
    seen = [FOLDED.sub("", text) for text in texts(book)]
    formulas = sum(len(re.findall(r"\$\$.+?\$\$", without_fences(text), re.S)) for text in seen)
    return Load(words(seen), sum(map(_lines, book["cells"])), formulas)


def exercises(book: dict) -> list[Exercise]:
    "The exercises of a page, in order."
    found = (match for text in texts(book) for match in EXERCISE.findall(text))
    return [Exercise(int(number), kind, int(minutes), level) for number, kind, minutes, level in found]
