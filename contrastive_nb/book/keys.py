"""The instructor's keys: nbs/_course/CHAPTER/PAGE.yml read, held against its page, and written as markdown. Plain module."""

# A file has three lists: questions (ten of ask, answer, where, phrase), discussion (three of ask, listen_for), errors (three of
# error, help). A question is one that the page alone answers: `phrase` stands under the heading `where`, word for word.

import re
from pathlib import Path

from contrastive_nb.book import reading
from contrastive_nb.lab import freshness

FOLDER = "_course"  # under the notebooks' folder
FORM = {
    "questions": (10, ("ask", "answer", "where", "phrase")),
    "discussion": (3, ("ask", "listen_for")),
    "errors": (3, ("error", "help")),
}
SHORTEST_PHRASE = 3  # words: fewer could stand anywhere


def path_of(name: str, root: Path) -> Path:
    "Where the key of a page is."
    return root / FOLDER / f"{name}.yml"


def lacking(root: Path) -> list[str]:
    "The pages with exercises that have no key yet."
    pages = [name for name in freshness.all_notebooks(root) if reading.exercises(freshness.read_book(root / f"{name}.ipynb"))]
    return [name for name in pages if not path_of(name, root).is_file()]


def sections(book: dict) -> dict[str, str]:
    "The text under each heading of a page up to the next one, solutions left out, on one line; headings that stand twice are joined."
    text = "\n\n".join(reading.FOLDED.sub("", reading.without_fences(text)) for text in reading.texts(book))
    parts = re.split(r"^#{1,6} +(.+?)[ \t]*$", text, flags=re.M)[1:]
    found: dict[str, str] = {}
    for heading, under in zip(parts[::2], parts[1::2], strict=True):
        found[heading] = f"{found.get(heading, '')} {' '.join(under.split())}".strip()
    return found


def _form(said) -> list[str]:
    "What is wrong with the form of a file, whatever its page says."
    if not isinstance(said, dict) or set(said) != set(FORM):
        return [f"got {sorted(said) if isinstance(said, dict) else type(said).__name__}, want the keys {', '.join(FORM)}"]
    wrong = []
    for part, (count, fields) in FORM.items():
        items = said[part] if isinstance(said[part], list) else []
        if len(items) != count:
            wrong.append(f"{part}: got {len(items)}, want a list of {count}")
        for i, item in enumerate(items, 1):
            if not isinstance(item, dict) or set(item) != set(fields):
                wrong.append(f"{part} {i}: got {sorted(item) if isinstance(item, dict) else item!r}, want {', '.join(fields)}")
                continue
            empty = [field for field in fields if not (isinstance(item[field], str) and item[field].strip())]
            wrong += [f"{part} {i}: {field}: got {item[field]!r}, want some words" for field in empty]
    return wrong


def _in_place(questions: list[dict], book: dict) -> list[str]:
    "What questions say of their page that is not so."
    wrong, found = [], sections(book)
    for i, one in enumerate(questions, 1):
        where, phrase = " ".join(one["where"].split()), " ".join(one["phrase"].split())
        if where not in found:
            wrong.append(f"questions {i}: where: got {where!r}, want a heading of the page: {'; '.join(found)}")
        elif phrase not in found[where]:
            at = [heading for heading, under in found.items() if phrase in under]
            wrong.append(f"questions {i}: phrase: {phrase!r} does not stand under {where!r}{f', but under {at[0]!r}' if at else ''}")
        if len(phrase.split()) < SHORTEST_PHRASE:
            wrong.append(f"questions {i}: phrase: got {phrase!r}, want {SHORTEST_PHRASE} words or more")
    for field in ("ask", "phrase"):
        said = [" ".join(one[field].split()) for one in questions]
        wrong += [f"questions: {field}: {text!r} stands twice" for text in sorted({text for text in said if said.count(text) > 1})]
    return wrong


def faults(said, book: dict) -> list[str]:
    "All that is wrong with what a file says, in its form or of its page; empty for a good one."
    return _form(said) or _in_place(said["questions"], book)


def load(name: str, root: Path) -> dict | None:
    "The key of a page, `None` where there is none yet. Raises `ValueError` with all that is wrong with it."
    import yaml

    path = path_of(name, root)
    if not path.is_file():
        return None
    try:
        said = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: is no YAML: {' '.join(str(error).split())}") from None
    if wrong := faults(said, freshness.read_book(root / f"{name}.ipynb")):
        raise ValueError(f"{path}: {'; '.join(wrong)}")
    return said


def strays(root: Path) -> list[str]:
    "Files that are the key of no page."
    names = set(freshness.all_notebooks(root))
    found = (path.relative_to(root / FOLDER).with_suffix("").as_posix() for path in (root / FOLDER).rglob("*") if path.is_file())
    return sorted(name for name in found if name not in names)


# --- as markdown ------------------------------------------------------------------------------------------------------------------------


def _table(book: dict) -> str:
    tasks = reading.exercises(book)
    rows = [f"| {task.number} | {task.kind} | {task.minutes} | {task.level} | {task.points} |" for task in tasks]
    total = f"| all | | {sum(task.minutes for task in tasks)} | | {sum(task.points for task in tasks)} |"
    return "\n".join(["| exercise | kind | minutes | level | points |", "|---|---|---|---|---|", *rows, total])


def _listed(items: list[dict], line) -> str:
    return "\n".join(f"{i}. {line({key: ' '.join(text.split()) for key, text in item.items()})}" for i, item in enumerate(items, 1))


def text(name: str, book: dict, key: dict | None) -> str:
    "The key of a page: its exercises with their points, then questions, discussion and common errors, where they are written."
    title = next(iter(sections(book)))
    page = name.rpartition("/")[2]
    parts = [
        f"# Key: {title}",
        f"The page is [{page}]({page}.ipynb); solutions stand folded below its exercises.",
        f"## Exercises\n\n{_table(book)}",
    ]
    if key is None:
        return "\n\n".join([*parts, "Questions, discussion and common errors of this page are still to be written.\n"])
    asked = _listed(key["questions"], lambda q: f"{q['ask']}\n   **{q['answer']}** (under *{q['where']}*: \u201c{q['phrase']}\u201d)")
    talked = _listed(key["discussion"], lambda d: f"{d['ask']}\n   Listen for: {d['listen_for']}")
    erred = _listed(key["errors"], lambda e: f"{e['error']}\n   What helps: {e['help']}")
    parts += [f"## Ten questions that the page answers\n\n{asked}", f"## To discuss\n\n{talked}", f"## Common errors\n\n{erred}\n"]
    return "\n\n".join(parts)
