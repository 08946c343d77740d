"""What a page of the book must have: one function a rule, each yielding what lacks. `problems(path, nb)` runs them all.

`python tests/anatomy.py nbs/1_objectives/01_infonce.ipynb` prints what that page still lacks.
"""

import ast
import importlib.util
import itertools
import json
import math
import os
import re
import statistics
import sys
from collections import Counter
from functools import cache, cached_property
from pathlib import Path

from contrastive_nb.book import reading
from contrastive_nb.book.reading import prose, without_fences

ROOT = Path(__file__).resolve().parents[1]
_spec = importlib.util.spec_from_file_location("tidy", ROOT / "nbs" / "_tidy.py")
tidy = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(tidy)

PARAMETERS = 'profile = "ci"\nseed = 0\ndevice = "auto"'
METHOD_SECTIONS = (
    "Problem", "Derivation", "By hand", "Vectorised", "Agreement", "Limits", "Conventions", "Picture", "Claims", "Experiment",
    "Exercises", "Summary", "References",
)  # fmt: skip
COMPARISON_SECTIONS = ("Problem", "Claims", "Experiment", "Exercises", "Summary", "References")  # a chapter's page that exports nothing
STUDY_SECTIONS = tuple(title for title in METHOD_SECTIONS if title not in ("Claims", "Experiment"))
SURVEY_SECTIONS = ("Problem", "Derivation", "Smallest piece", "Claims", "Experiment", "Exercises", "Summary", "References")
NEIGHBOUR_SECTIONS = ("Problem", "Bridge", "Smallest piece", "Exercises", "Summary", "References")
SECTIONS = {
    "method": METHOD_SECTIONS, "comparison": COMPARISON_SECTIONS, "study": STUDY_SECTIONS, "survey": SURVEY_SECTIONS,
    "neighbour": NEIGHBOUR_SECTIONS,
}  # fmt: skip
BRIDGE_WORDS = 350  # one screen
KINDS = "predict|break|prove|implement|extend"
LEAST_SEEDS = {"outcome": 8, "mechanism": 5, "cost": 5, "identity": 1}
WHAT_IT_DOES = {"mechanism", "identity", "cost"}
EXERCISE = re.compile(rf"^(?:#{{3,4}} |\*\*)\d+\W{{1,3}}(?:{KINDS})\b[^*\n]*(?:\*\*)?", re.I | re.M)
HEADING = rf"\*\*{{}} \((?:{KINDS}), [1-9]\d? min, (?:easy|medium|hard)\)\.\*\*"
CELL_BYTES, NOTEBOOK_BYTES = 100_000, 400_000
MOST_WORDS, MOST_MINUTES = 3500, 25  # of a method page before its exercises: half an hour with what is tried out on the way
SECONDS_A_CELL = 10  # that is seen, with its output
OWN_DATA, OWN_DATA_LINES = "**On your own data.**", 8
TAGS = {"parameters", "solution", "own-data"}


class Cell:
    "One cell: its text without directives, its directives, its syntax tree, its outputs."

    def __init__(self, number: int, raw: dict):
        self.number, self.raw = number, raw
        self.source = "".join(raw["source"])
        self.is_code = raw["cell_type"] == "code"
        self.tags = raw.get("metadata", {}).get("tags", [])
        self.outputs = raw.get("outputs", [])
        lines = self.source.split("\n")
        self.directives = [re.sub(r"^#\|\s*", "", line) for line in lines if line.startswith("#|")] if self.is_code else []
        self.text = "\n".join(line for line in lines if not (self.is_code and line.startswith("#|")))
        self.lines = [line for line in self.text.split("\n") if line.strip()]
        self.length = sum(bool(line.strip(" )]},")) for line in self.lines)  # a line of closing brackets says nothing

    @property
    def is_exported(self) -> bool:
        return any(re.match(r"exporti?\b", d) for d in self.directives)

    @property
    def is_entry(self) -> bool:
        "Whether the cell is the page's literal for the registry and nothing else: a table for the tests, folded on the site."
        body = self.tree.body
        return len(body) == 1 and isinstance(body[0], ast.Assign) and ast.unparse(body[0].targets[0]) == "_METHODS"

    @property
    def is_hidden(self) -> bool:
        return bool(self.raw.get("metadata", {}).get("jupyter", {}).get("source_hidden"))

    @property
    def is_reference(self) -> bool:
        "Whether the cell holds what the check after it compares with, hidden until it is asked for."
        return self.is_code and self.source.startswith("# Reference\n")

    @property
    def is_plain(self) -> bool:
        return self.is_code and not self.is_exported and bool(self.lines)

    @cached_property
    def tree(self) -> ast.Module:
        try:
            return ast.parse(self.text)
        except SyntaxError:  # reported by `syntax`
            return ast.parse("")

    @property
    def imports_alone(self) -> bool:
        return bool(self.tree.body) and all(isinstance(node, (ast.Import, ast.ImportFrom)) for node in self.tree.body)

    @property
    def definitions(self) -> list:
        kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
        return [node.name for node in self.tree.body if isinstance(node, kinds) and not node.name.startswith("_")]

    def directive(self, name: str) -> str | None:
        found = [d[len(name) + 1 :].strip() for d in self.directives if d.startswith(name + ":")]
        return found[0].strip("\"'") if found else None

    def calls(self, name: str) -> list:
        "Calls of `name(...)` or `something.name(...)`."
        return [
            node for node in ast.walk(self.tree)
            if isinstance(node, ast.Call) and name in (getattr(node.func, "id", None), getattr(node.func, "attr", None))
        ]  # fmt: skip

    def uses(self, name: str) -> bool:
        return any(
            name in (getattr(n, "id", None), getattr(n, "attr", None))
            for n in ast.walk(self.tree)
            if isinstance(n, (ast.Name, ast.Attribute))
        )

    @property
    def asserts(self) -> bool:
        return any(isinstance(node, ast.Assert) for node in ast.walk(self.tree))

    @property
    def images(self) -> set:
        return {kind for output in self.outputs for kind in output.get("data", {}) if kind.startswith("image/")}


class Page:
    """A notebook with its place: `name` is folder/name under nbs/, `kind` is index, start, guide, foundation, or what a chapter's page is.

    A page that exports is a method, another one a comparison, unless the front table says more (| Kind | study |). A study that exports
    is a piece that other pages use, without a claim or an experiment of its own; one that does not is a survey: theory or metrics, put to
    the test by one claim of either kind. A neighbour is a bridge to what lies beside contrast, one screen and the smallest faithful piece.
    """

    def __init__(self, name: str, nb: dict, claims: Path):
        self.name, self.nb, self.claims = name, nb, claims
        self.cells = [Cell(i, raw) for i, raw in enumerate(nb["cells"], 1)]
        self.code = [cell for cell in self.cells if cell.is_code]
        self.markdown = [cell for cell in self.cells if not cell.is_code]
        folder = name.rpartition("/")[0]
        exports = any(line.startswith("default_exp") for cell in self.code for line in cell.directives)
        said = next(filter(None, (re.search(r"^\| *Kind *\| *(study|neighbour)\b", cell.source, re.M) for cell in self.markdown[:3])), None)
        says = {"study": "study" if exports else "survey", "neighbour": "neighbour"}.get(said[1] if said else "")
        in_chapter = says or ("method" if exports else "comparison")
        self.kind = {"": "index", "guides": "guide", "0_foundations": "foundation"}.get(folder, in_chapter)
        self.kind = "start" if name == "start" else self.kind

    @cached_property
    def headings(self) -> list:
        "(cell number, text) of every H2."
        return [(cell.number, h) for cell in self.markdown for h in re.findall(r"^## +(.+?)\s*$", without_fences(cell.source), re.M)]

    def section(self, title: str) -> list:
        "The cells from the H2 that starts with `title` to the next cell with an H2."
        starts = [n for n, h in self.headings if h.lower().startswith(title.lower())]
        if not starts:
            return []
        ends = [n for n, _ in self.headings if n > starts[0]] + [len(self.cells) + 1]
        return self.cells[starts[0] - 1 : ends[0] - 1]

    def said(self, title: str) -> str | None:
        "The text under the H2 that starts with `title`; None without such an H2."
        text = "\n\n".join(without_fences(cell.source) for cell in self.markdown)
        found = re.search(rf"^## +{title}\b.*?$(.*?)(?=^## |\Z)", text, re.M | re.S | re.I)
        return found and found.group(1)

    @cached_property
    def stored(self) -> Counter:
        "How often each name is given a value on the page, as an argument of a function too."
        nodes = [node for cell in self.code for node in ast.walk(cell.tree)]
        names = [node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)]
        functions = [node.name for node in nodes if isinstance(node, ast.FunctionDef)]
        return Counter(names + functions + [node.arg for node in nodes if isinstance(node, ast.arg)])

    @cached_property
    def bound(self) -> dict:
        "What names stand for, where literals are all that the page gives them: assigned, or run over."
        found = {}
        for node in (node for cell in self.code for node in ast.walk(cell.tree)):
            if isinstance(node, ast.Assign):
                found |= {t.id: [*found.get(t.id, []), literal(node.value)] for t in node.targets if isinstance(t, ast.Name)}
            elif isinstance(node, (ast.For, ast.comprehension)) and isinstance(node.target, ast.Name):
                found[node.target.id] = [*found.get(node.target.id, []), [x for values in literal(node.iter) for x in values]]
        return {name: list(itertools.chain(*given)) for name, given in found.items() if len(given) == self.stored[name] and all(given)}

    @property
    def before_exercises(self) -> list:
        following = self.section("Exercises")
        return self.cells[: following[0].number - 1] if following else self.cells


def words(cells) -> int:
    "The words of prose in cells of text."
    return reading.words(cell.source for cell in cells if not cell.is_code)


# --- rules for every page -------------------------------------------------------------------------------------------------------


def syntax(page):
    for cell in page.code:
        try:
            ast.parse(cell.text)
        except SyntaxError as error:
            yield f"cell {cell.number} is not plain Python ({error.msg})"


def kernel(page):
    spec = page.nb.get("metadata", {}).get("kernelspec", {})
    if spec.get("name") != "python3" or spec.get("language", "python") != "python":
        yield f"the kernelspec is {spec or 'missing'}, want python3"


def forbidden(page):
    everywhere = {
        r"\bpip3? install\b|^\s*[!%]\s*pip\b": "pip install",
        r"(?<![\w.:/<~)\]])/(?:home|root|work|tmp|usr|mnt|opt|var|content|Users|private)/": "an absolute path",
        r"\b[A-Z]:\\\\?\w": "an absolute path",
        r"\bnbdev_export\(": "an export call (nbdev-export does it)",
    }
    in_code = {
        r"\b(?:filterwarnings|simplefilter)\(": "a warning filter",
        r"^\s*#\s*(?:step\s*)?\d+[.):]": "a numbered comment",
    }
    in_plain = {
        r"\bos\.(?:environ|getenv)\b": "an environment switch",
        r"\b(?:torch\.manual_seed|np\.random\.seed|random\.seed)\(": "a global seed (give a generator its seed)",
        r"\btqdm\b|\btrange\(": "a progress bar",
        r"^\s*print\(": "print (end on the value)",
    }
    for cell in page.cells:
        rules = everywhere | (in_code if cell.is_code else {}) | (in_plain if cell.is_plain else {})
        for pattern, what in rules.items():
            if re.search(pattern, cell.source, re.M | re.I if "step" in pattern else re.M):
                yield f"cell {cell.number} holds {what}"
        if re.search(next(p for p, what in everywhere.items() if what == "an absolute path"), json.dumps(text_outputs(cell))):
            yield f"cell {cell.number} shows an absolute path in its output"
        if any(re.match(r"(eval|exec\w*):\s*false|notest", d) for d in cell.directives):
            yield f"cell {cell.number} asks not to be run; papermill runs it all the same"
        if not set(cell.tags) <= TAGS:
            yield f"cell {cell.number} has tags {cell.tags}, known are {', '.join(sorted(TAGS))}"


def text_outputs(cell) -> list:
    return [o.get("text", "") for o in cell.outputs] + [
        v for o in cell.outputs for k, v in o.get("data", {}).items() if k.startswith("text/")
    ]


def comparisons(page):
    for cell in page.code:
        for node in ast.walk(cell.tree):
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Compare):
                yield f"cell {cell.number} has a bare comparison: assert it, or show the value"


def outputs(page):
    made = page.nb.get("metadata", {}).get("contrastive_nb", {}).get("profile")
    if made != "laptop":
        yield f"outputs made by profile {made!r}, want 'laptop' (contrastive-nb run {page.name} --profile laptop --save)"
    if not any(cell.outputs for cell in page.code):
        yield "no outputs at all"
        return
    for cell in page.code:
        last = cell.tree.body[-1] if cell.tree.body else None
        if cell.is_plain and isinstance(last, ast.Expr) and not isinstance(last.value, (ast.Call, ast.Constant)) and not cell.outputs:
            yield f"cell {cell.number} ends in a value and shows no output"
    shown = [bool(cell.outputs) for cell in page.code if cell.is_plain and not cell.imports_alone and not cell.is_reference]
    if shown and sum(shown) < 0.5 * len(shown):
        yield f"{sum(shown)} of {len(shown)} plain cells show something, want half at least"


def errors(page):
    for cell in page.code:
        for output in cell.outputs:
            if output["output_type"] == "error":
                yield f"cell {cell.number} holds an error output ({output.get('ename')})"
            if output.get("name") == "stderr":
                yield f"cell {cell.number} writes to stderr: {''.join(output['text'])[:60]!r}"


def figures(page):
    labels = []
    for cell in page.code:
        if not (
            cell.images
            or (cell.is_plain and (cell.calls("subplots") or cell.calls("masks") or cell.calls("forest")) and not cell.definitions)
            or (cell.is_plain and cell.calls("slider"))
        ):
            continue
        if cell.images - {"image/svg+xml"} and "image/svg+xml" not in cell.images:
            yield f"cell {cell.number} shows {', '.join(sorted(cell.images))}, want SVG (plots.style() sets it)"
        label, caption, alt = cell.directive("label"), cell.directive("fig-cap"), cell.raw.get("metadata", {}).get("alt")
        for call in cell.calls("slider"):  # its alt text goes with the value
            alt = next((pattern(word.value) for word in call.keywords if word.arg == "alt"), alt)
        if not re.fullmatch(r"fig-[a-z0-9-]+", label or ""):
            yield f"cell {cell.number} draws a figure and has no label: fig-..."
        if not caption:
            yield f"cell {cell.number} draws a figure and has no fig-cap"
        if not alt or alt == caption:
            yield f"cell {cell.number} draws a figure and its metadata have no alt text of their own (write #| fig-alt: and run nbs/_tidy.py)"
        following = page.cells[cell.number] if cell.number < len(page.cells) else None
        if following is None or following.is_code or following.source.startswith("#"):
            yield f"cell {cell.number} draws a figure and no text follows that says what to see"
        labels.append(label)
    for label in sorted({x for x in labels if x and labels.count(x) > 1}):
        yield f"label {label} stands twice"


MEASURED = re.compile(
    r"(?<![\w.])\d+\.\d{2,}(?![\d.]*\.\d)(?!\w)"  # 0.87, not the version 2.13.0
    r"|(?<![\w.])\d+(?:\.\d+)?\s?(?:%|percent\b|percentage points?\b|points\b)"
    r"|(?<![\w.])\d+\.\d+\s?(?:x\b|×|times\b)"
)


def numbers(page):
    for cell in page.markdown:
        text = prose(re.split(r"^## +References", cell.source, flags=re.M)[0])
        text = re.sub(r"arXiv:?\s*\d{4}\.\d{4,5}|\b10\.\d{4,}/\S+", " ", text)
        for line in text.split("\n"):
            quoted = line.lstrip().startswith(">") and re.search(r"@\w|\b(19|20)\d\d\b", line)  # a paper's own figure, cited
            for found in [] if quoted else MEASURED.finditer(line):
                yield f"cell {cell.number} types {found.group().strip()!r} into the text: let a cell show it (a definition goes into $...$)"


def links(page):
    here = (ROOT / "nbs" / page.name).parent
    for cell in page.markdown:
        for target in re.findall(r"\]\(([^)\s#]+)", without_fences(cell.source)):
            if not re.match(r"[a-z]+:", target) and not Path(os.path.normpath(here / target)).exists():
                yield f"cell {cell.number} links to {target}, which does not exist"


def unfilled(page):
    for cell in page.cells:
        if found := re.search(r"FILL: ?([^\n\"]*)", cell.source):
            yield f"cell {cell.number} is still to be written: {found.group(1)}"


def in_jupyter(page):
    "What stands in a reader's way in JupyterLab; `python nbs/_tidy.py` mends it all."
    for cell in page.markdown:
        text = re.sub(r"`[^`\n]*`", "", without_fences(cell.source))
        if re.search(r"^:::", text, re.M):
            yield f"cell {cell.number} has a fence of colons, which JupyterLab shows as it is: <details> or a quotation"
        if found := re.search(r"(?<!<!-- )(?<![\w.])@(?:fig-)?[a-z][\w-]*", text):
            yield f"cell {cell.number} shows {found.group()!r}: the key goes into a comment"
        if unmatched := len(re.findall(r"^<details><summary>.*</summary>\n\n", text, re.M)) - len(
            re.findall(r"\n\n</details>$", text, re.M)
        ):
            yield f"cell {cell.number} has {abs(unmatched)} <details> that JupyterLab does not close or whose markdown it does not read"
    for cell in page.code:
        hidden = cell.raw.get("metadata", {}).get("jupyter", {})
        if hidden != tidy.metadata(cell.raw, cell.source)[0].get("jupyter", {}):
            yield f"cell {cell.number} has {hidden or 'nothing hidden'}: set-up, solutions and what checks compare with are hidden, the rest is seen"
        if cell.directive("fig-alt"):
            yield f"cell {cell.number} has its alt text in the way: it goes into the cell's metadata"


def size(page):
    for cell in page.code:
        weight = len(json.dumps(cell.outputs))
        if weight > CELL_BYTES:
            yield f"cell {cell.number} has outputs of {weight // 1000} kB, want {CELL_BYTES // 1000} kB at most"
    weight = len(json.dumps(page.nb))
    if weight > NOTEBOOK_BYTES:
        yield f"the notebook has {weight // 1000} kB, want {NOTEBOOK_BYTES // 1000} kB at most"


# --- rules for pages that run -----------------------------------------------------------------------------------------------------


def order(page):
    cells = list(page.cells)
    if any(d.startswith("default_exp") for cell in page.code for d in cell.directives):
        if not (cells[0].is_code and cells[0].directives[:1] and cells[0].directives[0].startswith("default_exp") and not cells[0].lines):
            yield "default_exp stands alone in the first cell"
        cells = [c for c in cells if not (not c.lines and any(d.startswith("default_exp") for d in c.directives))]
    elif any(cell.is_exported for cell in page.code):
        yield "cells are exported, and no first cell says default_exp"
    at = 0
    while at < len(cells) and not cells[at].is_code:
        at += 1
    if at < 2:
        yield "a title cell and then a cell or more of introduction come before the first code"
    imports = at
    while at < len(cells) and cells[at].is_code and cells[at].imports_alone:
        at += 1
    if at == imports:
        yield "after the introduction come the import cells, with imports alone"
    if not (at < len(cells) and "parameters" in cells[at].tags):
        yield "right after the import cells comes the cell tagged parameters"
    for cell in page.code:
        body = cell.tree.body
        if any(isinstance(node, (ast.Import, ast.ImportFrom)) for node in body) and not cell.imports_alone and "own-data" not in cell.tags:
            yield f"cell {cell.number} mixes imports with other code"


def title(page):
    first = next((cell for cell in page.cells if not cell.is_code), None)
    if first is None or len(first.lines) != 2 or not re.match(r"# \S", first.lines[0]) or not re.match(r"> \S", first.lines[1]):
        yield "the title cell holds '# Title', '> one line' and nothing else"
    if sum(bool(re.search(r"^# ", without_fences(cell.source), re.M)) for cell in page.markdown) > 1:
        yield "a second H1"


def front(page):
    before = []
    for cell in page.cells:
        if cell.is_code and cell.lines:
            break
        before += [cell.source] if not cell.is_code else []
    rows = "\n".join(line for line in "\n".join(before).split("\n") if line.startswith("|"))
    for word in ("Paper", "Needs", "Runs"):
        if not re.search(rf"\|[\s*]*{word}s?[\s*]*\|", rows):
            yield f"the front block (a table before the first code) has no {word}"


def parameters_of(name):
    "What the cell of the parameters says; whoever opens the first page sees it work, so it runs at the book's size."
    return PARAMETERS.replace('"ci"', '"laptop"') if name == "start" else PARAMETERS


def parameters(page):
    tagged = [cell for cell in page.code if "parameters" in cell.tags]
    if len(tagged) != 1:
        yield f"{len(tagged)} cells are tagged parameters, want one"
    for cell in tagged:
        wanted = parameters_of(page.name)
        if cell.source.strip() != wanted:
            yield f"cell {cell.number}: the parameters are {wanted!r} and nothing else"
        following = next((c for c in page.code if c.number > cell.number), None)
        opening = f'run = open_run("{page.name}", profile, seed=seed, device=device)'
        if following is None or opening not in following.lines or following.lines[-1] != "run":
            yield f"the cell after the parameters says {opening} and ends in run"


def without_hints(cell) -> int:
    "The lines of a cell that are code: hints of an exercise are words."
    words = [node for node in cell.tree.body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]).startswith("hints_")]
    return cell.length - sum(node.end_lineno - node.lineno + 1 for node in words)


def grain(page):
    plain = sorted(without_hints(cell) for cell in page.code if cell.is_plain)
    if plain:
        middle, tenth = statistics.median(plain), plain[min(len(plain) - 1, int(0.9 * len(plain)))]
        if not 3 <= middle <= 6:
            yield f"plain code cells have {middle:g} lines in the median, want 3 to 6"
        if tenth > 15:
            yield f"a tenth of the plain code cells have {tenth} lines or more, want 15 at most"
    for cell in page.code:
        if cell.length > 30 and not cell.is_entry and not cell.imports_alone:
            yield f"cell {cell.number} has {cell.length} lines, want 30 at most"


def text_share(page):
    "A page says enough of the code that is seen, and not too much for all its code."
    code = [cell for cell in page.code if cell.lines and not cell.is_entry and not cell.is_reference]
    seen = [cell for cell in code if not cell.is_hidden]
    if len(page.markdown) < 0.6 * len(seen):
        yield f"{len(page.markdown)} text cells for {len(seen)} code cells that are seen, want 0.6 a code cell at least"
    told, lines, most = words(page.markdown), sum(cell.length for cell in code), math.inf if page.kind == "guide" else 8
    if told < 3 * sum(cell.length for cell in seen) or told > most * lines:
        yield f"{told} words of text for {lines} lines of code, want 3 a line that is seen at least, and 8 a line at most"


def demonstrated(page):
    defined, used, asserted, silent = 0, 0, 0, []
    for i, cell in enumerate(page.code):
        for name in cell.definitions if cell.is_exported else []:
            near = [c for c in page.code[i + 1 : i + 4] if c.is_plain and c.uses(name)]
            defined, used, asserted = defined + 1, used + bool(near), asserted + any(c.asserts for c in near)
            silent += [] if near else [name]
    if defined and used < 0.8 * defined:
        yield f"{used} of {defined} exported definitions are used within the next three code cells, want 80% (not {', '.join(silent)})"
    if defined and asserted < 0.6 * defined:
        yield f"{asserted} of {defined} exported definitions are used there with an assertion, want 60%"


def ending(page):
    summary, references = page.said("Summary"), page.said("References")
    if summary is None or references is None:
        yield f"no H2 {'Summary' if summary is None else 'References'}"
        return
    points = re.findall(r"^[-*] ", summary, re.M)
    if len(points) != 3:
        yield f"the summary has {len(points)} points, want three"
    if not re.search(r"^[-*] .*\b(19|20)\d\d\b", references, re.M):
        yield "the references list no work with its year"
    last = [h for _, h in page.headings][-2:]
    if last != ["Summary", "References"]:
        yield f"the last sections are {last}, want Summary and References"


def tasks(page) -> list:
    "The exercises of a page: the text that heads each, and its cells up to the next one."
    section = page.section("Exercises")
    begins = [cell.number for cell in section if not cell.is_code and EXERCISE.search(cell.source)]
    ends = [*begins[1:], section[-1].number + 1] if begins else []
    return [(EXERCISE.search(page.cells[b - 1].source)[0], page.cells[b - 1 : e - 1]) for b, e in zip(begins, ends, strict=True)]


def is_coded(cells) -> bool:
    return any(c.is_plain and "raise NotImplementedError" in c.source for c in cells)


def exercises(page):
    if not page.section("Exercises"):
        yield "no H2 Exercises"
        return
    found = tasks(page)
    if not 3 <= len(found) <= 5:
        yield f"{len(found)} exercises of a kind ({KINDS.replace('|', ', ')}, in bold or a heading), want 3 to 5"
    for cell in page.markdown:
        if starts := len(EXERCISE.findall(cell.source)):
            if starts > 1 or cell not in page.section("Exercises"):
                yield f"cell {cell.number} holds an exercise and what belongs into the next cell"
    for i, (heading, cells) in enumerate(found, 1):
        if not re.fullmatch(HEADING.format(i), heading):
            yield f"exercise {i} begins {heading!r}, want '**{i} (predict, 5 min, easy).**': a kind, minutes, easy or medium or hard"
        told = "\n".join(c.source for c in cells if not c.is_code)
        if not is_coded(cells):
            for what in ("Hint", "Solution"):
                if f"<details><summary>{what}</summary>\n" not in told:
                    yield f"exercise {i} has no folded {what.lower()}"
    if found and not any(is_coded(cells) for _, cells in found):
        yield "no exercise is checked by code"


def hints(page):
    for i, (_, cells) in enumerate(tasks(page), 1):
        reference = next((c for c in cells if c.is_reference), None)
        if is_coded(cells) and reference is None:
            yield f"exercise {i} has a stub and no cell '# Reference' with what its check compares with"
        for node in reference.tree.body if is_coded(cells) and reference else []:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == f"hints_{i}":
                given = [getattr(x, "value", None) for x in getattr(node.value, "elts", [])]
                if not 1 <= len(given) <= 3 or not all(isinstance(x, str) and len(x.split()) > 3 for x in given):
                    yield f"exercise {i}: hints_{i} is no list of one to three sentences"
                break
        else:
            if is_coded(cells) and reference:
                yield f"exercise {i} has no hints_{i} beside what its check compares with"


def checks(page):
    coded = [(i, cells) for i, (_, cells) in enumerate(tasks(page), 1) if is_coded(cells)]
    for i, cells in coded:
        plain = [c for c in cells if c.is_plain and not c.is_reference and "raise NotImplementedError" not in c.source]
        seen = [c for c in plain if "solution" not in c.tags and c.calls("check")]
        if not seen:
            yield f"exercise {i} has a stub and no check(...)"
        for cell in seen:
            call = getattr(cell.tree.body[-1], "value", None)
            said = {k.arg: ast.unparse(k.value) for k in getattr(call, "keywords", [])}
            if len(cell.tree.body) > 1 or not re.fullmatch(r"check\((?:(?:\w+=)?[\w.*-]+(?:, )?)+\)", ast.unparse(cell.tree)):
                yield f"exercise {i}: its check is more than one call of names alone, so that it may tell the answer: the rest goes into the reference"
            elif said.get("hints") != f"hints_{i}" or said.get("of") != str(len(coded)):
                yield f"exercise {i}: its check says hints={said.get('hints')}, of={said.get('of')}, want hints=hints_{i}, of={len(coded)}"
        solved = [c for c in plain if "solution" in c.tags]
        if not solved:
            yield f"exercise {i} has a stub and no cell tagged solution"
        for cell in solved:
            if not cell.source.startswith("# Solution\n"):
                yield f"exercise {i}: the solution starts with '# Solution', which is all that is seen of it"
            if not any(isinstance(n, ast.Assert) and ".passed" in ast.unparse(n) for n in ast.walk(cell.tree)):
                yield f"exercise {i}: the solution ends in assert check(...).passed"
            if any(k.arg in ("hints", "of") for call in cell.calls("check") for k in call.keywords):
                yield f"exercise {i}: the solution's check has hints or counts as solved"


# --- rules for method pages -------------------------------------------------------------------------------------------------------


def sections(page):
    at = 0
    titles = [h.lower() for _, h in page.headings]
    for wanted in SECTIONS[page.kind]:
        places = [i for i, h in enumerate(titles) if re.match(rf"{wanted.lower()}\b", h)]
        later = [i for i in places if i >= at]
        if not places:
            yield f"no H2 {wanted}"
        elif not later:
            yield f"H2 {wanted} stands too early"
        else:
            at = later[0] + 1


def bridge(page):
    said = len(re.findall(r"[A-Za-z][\w'-]*", prose(page.said("Bridge") or "")))
    if not 30 <= said <= BRIDGE_WORDS:
        yield f"the bridge has {said} words, want 30 to {BRIDGE_WORDS}: one screen"
    for cell in page.code:
        if cell.is_exported:
            yield f"cell {cell.number} is exported: a neighbour is shown, and the package goes without it"


def pattern(node) -> str | None:
    "The text of a literal; an f-string's as a file pattern, `X01-outcome-*`."
    if isinstance(node, ast.JoinedStr):
        return "".join(part.value if isinstance(part, ast.Constant) else "*" for part in node.values)
    return getattr(node, "value", None)


def claims(page):
    stated, first_judged = [], min((cell.number for cell in page.code if cell.calls("judge")), default=None)
    for cell in page.code:
        for call in cell.calls("Claim"):
            said = {k: v for k, v in zip(("id", "paper", "notebook", "kind"), call.args, strict=False)} | {
                k.arg: k.value for k in call.keywords
            }
            stated.append((cell.number, pattern(said.get("id")), getattr(said.get("kind"), "value", None)))
    if page.kind == "neighbour" and not stated and first_judged is None:
        return
    for kinds in {"method": [{"outcome"}, WHAT_IT_DOES], "comparison": [{"outcome", "cost"}]}.get(page.kind, [set(LEAST_SEEDS)]):
        if not kinds & {k for _, _, k in stated}:
            kind = " or ".join(sorted(kinds))
            yield f"no claim of the kind {kind} is stated (Claim(..., kind={sorted(kinds)[0]!r}) with literals)"
    if first_judged is None:
        yield "nothing is judged"
    for number, name, kind in stated:
        if first_judged is not None and number >= first_judged:
            yield f"the claim of cell {number} is stated after the first judgement (cell {first_judged})"
        if name is None:
            yield f"the claim of cell {number} has no literal id"
            continue
        kept = [json.loads(record.read_text()) for record in sorted(page.claims.glob(f"{name}.json"))]
        runs = [record["runs"].get("laptop") for record in kept]
        if not kept or any("laptop" not in record["runs"] and record.get("verdict") != "not testable here" for record in kept):
            yield f"claim {name} has no recorded laptop run (data/claims/{name}.json)"
        for run in filter(None, runs):
            least = LEAST_SEEDS.get(kind, 5)
            if len(run["seeds"]) < least and (kind == "outcome" or run["seeds"] != [0]):
                yield f"claim {name} was judged on {len(run['seeds'])} seeds, want {least}"


def length(page):
    told, seen = words(page.before_exercises), [c for c in page.before_exercises if c.is_code and c.lines and not c.is_hidden]
    minutes = told / reading.WORDS_A_MINUTE + len(seen) * SECONDS_A_CELL / 60
    if told > MOST_WORDS:
        yield f"{told} words of prose before the exercises, want {MOST_WORDS} at most"
    if minutes > MOST_MINUTES:
        yield f"{minutes:.0f} minutes before the exercises ({told} words, {len(seen)} cells of code), want {MOST_MINUTES} at most"


def given(page) -> set:
    "The public functions that a page exports, or names in the row Gives of its front table."
    rows = re.findall(r"^\| *Gives *\|(.*)$", "\n".join(cell.source for cell in page.markdown[:3]), re.M)
    named = re.findall(r"`([\w.]+)`", " ".join(rows))
    return {name.rpartition(".")[2] for name in named} | {name for cell in page.code if cell.is_exported for name in cell.definitions}


def own_data(page):
    section = page.section("Conventions")
    last = next((cell for cell in reversed(section) if cell.is_code), None)
    if last is None or "own-data" not in last.tags:
        yield "the section Conventions does not end in a cell tagged own-data: what one would type in a training of one's own"
        return
    if not page.cells[last.number - 2].source.startswith(OWN_DATA) or page.cells[last.number - 2].is_code:
        yield f"the text above cell {last.number} does not begin with {OWN_DATA}"
    if len(last.lines) > OWN_DATA_LINES:
        yield f"cell {last.number} has {len(last.lines)} lines, want {OWN_DATA_LINES} at most"
    if not any(last.calls(name) for name in given(page)):
        yield f"cell {last.number} calls nothing that the page gives ({', '.join(sorted(given(page)))})"
    if not last.calls("backward"):
        yield f"cell {last.number} does not call backward(), so nothing would be trained by it"


# --- results, before they are judged ----------------------------------------------------------------------------------------------


@cache
def readouts() -> frozenset:
    "What a claim may be judged on: bench/read-out, of every bench that was measured."
    found = {path.stem: json.loads(path.read_text()) for path in (ROOT / "data" / "benches").glob("*.json")}
    return frozenset(f"{name}/{readout}" for name, facts in found.items() for readout in facts["readouts"])


def can_be(node, bound: dict) -> list:
    "The values of an expression of literals: a name that stands for them, a part of a table of them, an f-string; none where it cannot be told."
    if isinstance(node, ast.Name):
        return bound.get(node.id, [])
    if isinstance(node, ast.JoinedStr):
        parts = [can_be(part.value if isinstance(part, ast.FormattedValue) else part, bound) for part in node.values]
        return ["".join(map(str, said)) for said in itertools.product(*parts)]
    if isinstance(node, ast.Subscript):
        tables, keys = can_be(node.value, bound), can_be(node.slice, bound)
        return [table[key] for table in tables for key in keys if key in (table if isinstance(table, dict) else range(len(table)))]
    return literal(node)


def literal(node) -> list:
    try:
        return [ast.literal_eval(node)]
    except ValueError:
        return []


def benches(node) -> list:
    "What a call or a dict says of `bench`, in a claim or among fields that claims share."
    said = [(k.arg, k.value) for k in node.keywords] if isinstance(node, ast.Call) else []
    said += zip((getattr(key, "value", None) for key in node.keys), node.values, strict=True) if isinstance(node, ast.Dict) else []
    return [value for name, value in said if name == "bench" and getattr(value, "value", "") is not None]


def calls_of(tree, names) -> list:
    return [n for n in ast.walk(tree) if isinstance(n, ast.Call) and names & {getattr(n.func, "id", None), getattr(n.func, "attr", None)}]


def claimed(page) -> tuple[set, dict, list]:
    "The read-outs of the page's claims, those of each claim that has a name of its own, and where a bench is said that cannot be read."
    found, of_claim, vague = set(), {}, []
    for cell in page.code:
        for node in ast.walk(cell.tree):
            for value in benches(node):
                found |= set(can_be(value, page.bound))
                vague += [] if can_be(value, page.bound) else [(cell.number, ast.unparse(value))]
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and getattr(node.value.func, "id", None) == "Claim":
                name, own = getattr(node.targets[0], "id", None), [can_be(value, page.bound) for value in benches(node.value)]
                if page.stored[name] == 1 and all(own) and all(word.arg for word in node.value.keywords):
                    of_claim[name] = set(itertools.chain(*own))
    return found, of_claim, vague


def takes(page, name: str) -> bool:
    "Whether the page gives a name of the package to something of its own; what a function calls so inside does not count."
    for part in (part for cell in page.code for part in cell.tree.body):
        inside = [] if isinstance(part, ast.FunctionDef) else ast.walk(part)
        if getattr(part, "name", None) == name or any(
            isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store) and n.id == name for n in inside
        ):
            return True
    return False


def tables(page) -> dict:
    "The read-outs whose results a cell ends in, with the number of the first such cell; a function of the page may make the table."
    functions = [node for cell in page.code for node in ast.walk(cell.tree) if isinstance(node, ast.FunctionDef)]
    makes = {f.name: (f, call) for f in functions for call in calls_of(f, {"results"}) if call.args}
    shown = {}
    for cell in [] if takes(page, "results") else page.code:
        last = cell.tree.body[-1] if cell.tree.body and isinstance(cell.tree.body[-1], ast.Expr) else ast.Pass()
        asked = [(call.args[0], {}) for call in calls_of(last, {"results"}) if call.args]
        for call in calls_of(last, set(makes)):
            function, made = makes[call.func.id]
            given = dict(zip((a.arg for a in function.args.args), call.args, strict=False)) | {k.arg: k.value for k in call.keywords}
            asked.append((made.args[0], {name: can_be(value, page.bound) for name, value in given.items()}))
        for readout in itertools.chain(*(can_be(said, page.bound | more) for said, more in asked)):
            shown.setdefault(readout, cell.number)
    return shown


def floors(page):
    "What methods reached is seen between the floors and the ceiling of its bench before it is judged."
    (wanted, of_claim, vague), shown = claimed(page), tables(page)
    if vague:  # then all that the page names may be meant, but for what it only shows
        said = [n for cell in page.code for call in calls_of(cell.tree, {"results"}) for n in ast.walk(call)]
        texts = {n.value for cell in page.code for n in ast.walk(cell.tree) if isinstance(n, ast.Constant) and n not in said}
        wanted |= texts & readouts()
        if not texts & readouts():
            yield f"cell {vague[0][0]} says bench={vague[0][1]}: a literal on the page, so that it can be told which table is wanted"
    judges = {f.name for cell in page.code for f in ast.walk(cell.tree) if isinstance(f, ast.FunctionDef) and calls_of(f, {"judge"})}
    open_to_all = []  # judges of a claim that has no name of its own: it may be any
    for cell in page.code:
        inside = {id(n) for f in ast.walk(cell.tree) if isinstance(f, ast.FunctionDef) for n in ast.walk(f)}
        for call in [call for call in calls_of(cell.tree, {"judge", *judges}) if id(call) not in inside]:
            direct = "judge" in (getattr(call.func, "id", None), getattr(call.func, "attr", None)) and call.args
            name = getattr(call.args[0], "id", None) if direct else None
            open_to_all += [] if name in of_claim else [cell.number]
            for readout in [r for r in of_claim.get(name, ()) if shown.get(r, 0) >= cell.number]:
                yield f'cell {cell.number} judges before results("{readout}", ...) were shown'
    for readout in sorted((wanted & set(shown)) - set().union(*of_claim.values())):
        if open_to_all and shown[readout] >= max(open_to_all):
            yield f'results("{readout}", ...) in cell {shown[readout]} come after all that is judged on the page'
    for readout in sorted(wanted - set(shown)):
        other = "the page calls something else results; " if takes(page, "results") else ""
        yield f'{other}no cell ends in results("{readout}", ...) of contrastive_nb.book.tables: what is reached, between floors and ceiling'


ALWAYS = (syntax, kernel, forbidden, comparisons, outputs, errors, figures, numbers, links, unfilled, in_jupyter, size)
RUNNING = (order, title, front, parameters, grain, text_share, demonstrated, ending)
EXERCISES = (exercises, hints, checks)
RULES = {
    "index": (syntax, kernel, errors, links, size),  # README.md's text, which people write
    "start": ALWAYS + (order, title, parameters, grain),  # ten minutes: no front table, exercises or references
    "guide": ALWAYS + RUNNING,
    "foundation": ALWAYS + RUNNING + EXERCISES,
    "method": ALWAYS + RUNNING + EXERCISES + (sections, claims, floors, length, own_data),
    "study": ALWAYS + RUNNING + EXERCISES + (sections,),
    "survey": ALWAYS + RUNNING + EXERCISES + (sections, claims, floors),
    "neighbour": ALWAYS + RUNNING + EXERCISES + (sections, bridge, claims, floors),  # a claim is welcome, and none is wanted
    "comparison": ALWAYS
    + RUNNING
    + EXERCISES
    + (sections, claims, floors),  # fewer sections, and a claim of outcome or cost alone: see there
}


def problems(
    name: str,  # "folder/name" under nbs/, without .ipynb
    nb: dict,  # the notebook as read from JSON
    *,
    claims: Path = ROOT / "data" / "claims",  # where the records are
) -> list[str]:
    "All that a page lacks, as 'rule: what'; empty for a page that has everything."
    page = Page(name, nb, claims)
    return [f"{rule.__name__}: {what}" for rule in RULES[page.kind] for what in rule(page)]


def pages() -> dict[str, Path]:
    "Every page of the book by its name; folders and files that start with _ or . are not pages."
    found = sorted((ROOT / "nbs").rglob("*.ipynb"))
    found = [path for path in found if not any(part[0] in "_." for part in path.relative_to(ROOT / "nbs").parts)]
    return {path.relative_to(ROOT / "nbs").with_suffix("").as_posix(): path for path in found}


if __name__ == "__main__":
    for name in sys.argv[1:] or pages():
        name = name.removeprefix("nbs/").removesuffix(".ipynb")
        print(name, *problems(name, json.loads((ROOT / "nbs" / f"{name}.ipynb").read_text())), sep="\n  ")
