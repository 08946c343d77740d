"""The package as others get it: a wheel outside the tree, what an import costs, what `help()` says, what the metadata promise."""

import ast
import importlib
import inspect
import json
import math
import os
import pkgutil
import re
import shutil
import statistics
import subprocess
import sys
import tomllib
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import contrastive_nb
from contrastive_nb import files

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def clean_environment():
    "Without what would lead back to the checkout."
    return {key: value for key, value in os.environ.items() if not key.startswith(("CONTRASTIVE_NB", "PYTHON"))} | {"COLUMNS": "200"}


# --- the wheel ----------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wheel(copy_tree, tmp_path_factory):
    "The wheel that WHEEL names, as a release does; else one from the source archive of a copy of the tree."
    if "WHEEL" in os.environ:
        return Path(os.environ["WHEEL"]).resolve(strict=True)
    folder = tmp_path_factory.mktemp("wheel")
    tree = copy_tree(folder / "tree")
    subprocess.run([sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, tree], check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def outside(wheel, tmp_path_factory):
    "A Python that has the wheel and not the checkout; and an empty folder."
    folder = tmp_path_factory.mktemp("outside")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    python = folder / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
    install = ["install", "--no-deps", "--no-index", "--disable-pip-version-check", "-q", wheel]
    subprocess.run([sys.executable, "-m", "pip", "--python", python, *install], check=True, capture_output=True)
    (site,) = (folder / "venv").rglob("site-packages")
    # the dependencies that are here already; .pth files inside a folder that is added like this are not read
    (site / "zz_dependencies.pth").write_text("\n".join(p for p in sys.path if p.endswith("site-packages")))
    (folder / "empty").mkdir()
    return python, folder / "empty", site


def call(outside, *arguments):
    python, folder, _ = outside
    return subprocess.run([python, *arguments], cwd=folder, env=clean_environment(), capture_output=True, text=True)


def test_the_wheel_is_what_is_imported(outside):
    done = call(outside, "-c", "import contrastive_nb; print(contrastive_nb.__file__)")
    assert Path(done.stdout.strip()).is_relative_to(outside[2]), done.stdout + done.stderr


def test_the_wheel_brings_what_is_needed_at_run_time(outside):
    shared = outside[2] / "contrastive_nb" / "_share"
    ours = {path.relative_to(ROOT / "data") for path in (ROOT / "data").rglob("*") if path.is_file()}
    assert ours and all((shared / "data" / path).is_file() for path in ours)
    assert (shared / "settings.ini").read_text() == (ROOT / "settings.ini").read_text()
    notebooks = [path.relative_to(outside[2]).as_posix() for path in (outside[2] / "contrastive_nb").rglob("*.ipynb")]
    assert notebooks == ["contrastive_nb/lab/comparing/page.ipynb"]  # the template of `compare`, and no page of the book
    found = call(outside, "-c", "from contrastive_nb.lab.comparing.page import TEMPLATE; print(TEMPLATE.is_file(), TEMPLATE)")
    assert found.stdout.split() == ["True", str(outside[2] / notebooks[0])], found.stdout + found.stderr
    assert (outside[2] / "contrastive_nb" / "py.typed").is_file()  # type checkers read our types


def test_the_library_works_outside_the_tree(outside):
    code = (
        "import torch; from contrastive_nb.objectives import info_nce; from contrastive_nb.pairs import two_views;"
        "from contrastive_nb.lab.profiles import settings;"
        "print(info_nce(*two_views(torch.ones(4, 2), torch.ones(4, 2)), temperature=0.5).item(), settings('gpu')['device'])"
    )
    done = call(outside, "-c", code)
    assert done.returncode == 0, done.stderr
    loss, device = done.stdout.split()
    assert abs(float(loss) - math.log(7)) < 1e-6 and device == "cuda"


def test_the_command_line_works_outside_the_tree(outside):
    records = sorted(path.stem for path in (ROOT / "data" / "claims").glob("*.json"))
    done = call(outside, "-m", "contrastive_nb", "claims")
    assert done.returncode == 0, done.stderr
    assert all(record in done.stdout for record in records) and done.stdout.strip()
    done = call(outside, "-m", "contrastive_nb", "data", "list")
    assert done.returncode == 0 and "digits" in done.stdout and "fashion_mnist" in done.stdout, done.stderr
    script = outside[0].with_name("contrastive-nb")
    done = subprocess.run([script, "--version"], cwd=outside[1], env=clean_environment(), capture_output=True, text=True)
    assert done.stdout.strip() == f"contrastive_nb {contrastive_nb.__version__}"


def test_run_outside_the_tree_says_in_one_line_what_to_do(outside):
    done = call(outside, "-m", "contrastive_nb", "run")
    lines = (done.stdout + done.stderr).strip().splitlines()
    assert done.returncode != 0 and len(lines) == 1 and "clone" in lines[0], lines
    assert list(outside[1].iterdir()) == []  # and leaves nothing behind


MINORS = (12, 13)
# what `import contrastive_nb` and `contrastive-nb --version` load of others, and what these load
NEEDED = ("typer", "click", "rich", "shellingham", "annotated-doc", "typing-extensions", "markdown-it-py", "mdurl", "pygments", "pyyaml")


def other_python(minor: int) -> str | None:
    "A Python 3.x that runs: on PATH, of pyenv (whose commands on PATH answer only to the versions chosen), or one that uv knows."
    found = [Path(folder, f"python3.{minor}") for folder in os.environ["PATH"].split(os.pathsep)]
    found += sorted(Path.home().glob(f".pyenv/versions/3.{minor}.*/bin/python3.{minor}"))
    if uv := shutil.which("uv"):
        asked = subprocess.run([uv, "python", "find", "--no-python-downloads", f"3.{minor}"], capture_output=True, text=True)
        found += [Path(asked.stdout.strip())] if asked.returncode == 0 else []
    for python in filter(Path.is_file, found):
        said = subprocess.run([python, "-c", "import sys; print(sys.version_info[1])"], capture_output=True, text=True)
        if said.returncode == 0 and said.stdout.strip() == str(minor):
            return str(python)
    return None


@pytest.mark.slow
@pytest.mark.parametrize("minor", MINORS)
def test_the_wheel_starts_on_other_pythons(wheel, tmp_path, minor):
    "Only what an import and the version need is installed: whether torch has a build for that Python is not asked."
    python = other_python(minor)
    if python is None:
        pytest.skip(f"no Python 3.{minor} here")
    subprocess.run([python, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True, env=clean_environment())
    own = tmp_path / "venv" / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", own, "install", "--no-deps", "--disable-pip-version-check", "-q"]
    subprocess.run([*pip, "--no-index", wheel], check=True, capture_output=True)
    got = subprocess.run([*pip, *(f"{name}=={pins()[name]}" for name in NEEDED)], capture_output=True, text=True)
    if got.returncode:
        pytest.skip(f"what it needs cannot be had for Python 3.{minor}: {got.stderr.strip().splitlines()[-1]}")
    code = "import contrastive_nb, sys; print(sys.version_info[1], contrastive_nb.__file__)"
    said = subprocess.run([own, "-c", code], cwd=tmp_path, env=clean_environment(), capture_output=True, text=True)
    assert said.stdout.startswith(f"{minor} {tmp_path}"), said.stderr
    said = subprocess.run(
        [own.with_name("contrastive-nb"), "--version"], cwd=tmp_path, env=clean_environment(), capture_output=True, text=True
    )
    assert said.stdout.strip() == f"contrastive_nb {contrastive_nb.__version__}", said.stderr


# --- what an import costs --------------------------------------------------------------------------------------------------------------

HEAVY = (
    "matplotlib",
    "seaborn",
    "sklearn",
    "scipy",
    "pandas",
    "papermill",
    "nbformat",
    "accelerate",
    "transformers",
    "pooch",
    "typer",
    "IPython",
)


LIGHT = (
    "pairs",
    "objectives",
    "objective",
    "book.plots",
    "book.exercises",
    "lab.profiles",
    "registry",
    "lab.claims",
    "encoders",
    "training",
    "metrics",
    "data",
)


def test_an_import_loads_torch_at_most():
    "One after the other, so that the first module that loads more is named."
    imports = "; ".join(f"import contrastive_nb.{name}; say({name!r})" for name in LIGHT)
    code = f"import sys, contrastive_nb; say = lambda name: print(name, *({set(HEAVY)!r} & set(sys.modules))); say('itself'); import torch; {imports}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=clean_environment())
    assert done.stdout.splitlines() == ["itself", *LIGHT]


LOOKS = "print(time.process_time() - began)"
IMPORTS = ["import torch, time; began = time.process_time()", "import contrastive_nb", LOOKS]
IMPORTS += ["import " + ", ".join(f"contrastive_nb.{name}" for name in LIGHT), LOOKS]


def seconds_beyond_torch(processes: int) -> list[float]:
    "CPU seconds of the package itself, and with its light modules, in a process that has torch already: the medians of so many."

    def spent():
        done = subprocess.run(
            [sys.executable, "-c", "; ".join(IMPORTS)], capture_output=True, text=True, check=True, env=clean_environment()
        )
        return [float(word) for word in done.stdout.split()]

    spent()  # compiled files and the disk's memory are there
    return [statistics.median(found) for found in zip(*(spent() for _ in range(processes)), strict=True)]


def test_an_import_takes_little_beyond_torch(processes=3):
    alone, light = seconds_beyond_torch(processes)
    assert alone <= 0.2 and light <= 0.4


# --- what help() says ------------------------------------------------------------------------------------------------------------------

MODULES = sorted(
    name for _, name, _ in pkgutil.walk_packages(contrastive_nb.__path__, "contrastive_nb.")
    if "._share" not in name and not name.endswith("__main__")
)  # fmt: skip


def undocumented(source: str, exported: bool = True) -> list[str]:
    """Public definitions without docstring; of exported modules also parameters with neither comment nor type.

    Plain modules are machinery: there properties speak by their name, and types are said where they are not plain.
    """
    found, lines = [], source.splitlines()

    def visit(body, prefix=""):
        for node in body:
            if not isinstance(node, (ast.FunctionDef, ast.ClassDef)) or node.name.startswith("_"):
                continue
            name = prefix + node.name
            is_property = any("property" in ast.unparse(decorator) for decorator in node.decorator_list)
            if not ast.get_docstring(node) and (exported or not is_property):
                found.append(f"{name} has no docstring")
            if isinstance(node, ast.ClassDef):
                visit(node.body, f"{name}.")
                continue
            arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            for argument in (arguments[1:] if prefix else arguments) if exported else []:
                if argument.annotation is None and "#" not in lines[argument.lineno - 1]:
                    found.append(f"{name}: {argument.arg} has neither comment nor type")

    visit(ast.parse(source).body)
    return found


# worker.py is a script that nobody imports
DOCUMENTED = ["contrastive_nb", *(module for module in MODULES if not module.endswith(("._modidx", ".worker", ".cli")))]


def lacks(source: str) -> list[str]:
    "What a module's text lacks, by the rule for its kind: the one way in of the check and of its own test."
    exported = files.page_of(source) is not None
    plain = [] if exported or ast.get_docstring(ast.parse(source)) else ["a plain module says in its first line what it is"]
    return plain + undocumented(source, exported)


@pytest.mark.parametrize("module", DOCUMENTED)
def test_every_public_definition_is_documented(module):
    path = ROOT / module.replace(".", "/")
    source = (path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text(encoding="utf-8")
    assert lacks(source) == []


@pytest.mark.parametrize("source, exported, wrong", [
    ('def f(x: int):\n    "Says."', True, 0),
    ('def f(\n    x,  # a number\n):\n    "Says."', True, 0),
    ("def f(x: int):\n    return x", True, 1),
    ("def f(x: int):\n    return x", False, 1),
    ('def f(x):\n    "Says."', True, 1),
    ('def f(x):\n    "Says."', False, 0),
    ('class A:\n    "Says."\n    def f(self, x):\n        "Says."', True, 1),
    ('class A:\n    "Says."\n    @property\n    def f(self):\n        return 1', True, 1),
    ('class A:\n    "Says."\n    @property\n    def f(self):\n        return 1', False, 0),
    ("def _f(x):\n    return x", True, 0),
])  # fmt: skip
def test_the_check_of_documentation_finds_what_is_missing(source, exported, wrong):
    head = '"""One line."""\n\n' + ("# AUTOGENERATED! DO NOT EDIT! File to edit: ../nbs/0_x/01_y.ipynb.\n\n" if exported else "")
    assert len(lacks(head + source)) == wrong


def test_the_check_of_documentation_knows_who_wrote_a_module():
    texts = {
        name: (ROOT / "contrastive_nb" / f"{name}.py").read_text(encoding="utf-8")
        for name in ("pairs", "objectives/infonce", "files", "checks")
    }
    assert {name: files.page_of(text) for name, text in texts.items()} == {
        "pairs": "0_foundations/01_pairs",
        "objectives/infonce": "1_objectives/01_infonce",
        "files": None,
        "checks": None,
    }
    before = lacks(texts["pairs"])
    planted = re.sub(r"    labels: Tensor,  # [^\n]+", "    labels,", texts["pairs"], count=1)
    assert planted != texts["pairs"] and before == [] and lacks(planted) == ["from_labels: labels has neither comment nor type"]
    assert lacks("x = 1\n") == ["a plain module says in its first line what it is"]


def test_every_module_imports():
    for module in MODULES:
        if not module.endswith((".worker", "._modidx")):
            assert inspect.ismodule(importlib.import_module(module))


# --- metadata and the README -----------------------------------------------------------------------------------------------------------


def requirements():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = project["dependencies"] + [r for name, extra in project["optional-dependencies"].items() if name != "dev" for r in extra]
    return [Requirement(text) for text in named]


def pins():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def test_ranges_and_pins_agree():
    ranges, pinned = requirements(), pins()
    assert {r.name for r in ranges} >= {"torch", "papermill", "nbdev", "pytest", "accelerate", "pooch", "typer", "tqdm"}
    for requirement in ranges:
        assert ">=" in str(requirement.specifier), f"{requirement.name} has no lower bound"
        assert requirement.specifier.contains(pinned[canonicalize_name(requirement.name)]), requirement.name
    torch = next(r for r in ranges if r.name == "torch")  # what an older one lacks is found by running it, so what is promised is what runs
    assert not torch.specifier.contains("2.12.9"), f"torch: the tests run with {pinned['torch']}, and the range takes an older one"
    assert all(name == canonicalize_name(name) for name in pinned)


def code_of(path: Path) -> list[str]:
    "The Python in a module or in a notebook's cells."
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".ipynb":
        return [text]
    return ["".join(cell["source"]) for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]


@cache
def imports(code: str) -> frozenset[str]:
    "The packages that some code imports; a text that is met again is not parsed again."
    nodes = [node for node in ast.walk(ast.parse(code)) if isinstance(node, (ast.Import, ast.ImportFrom)) and not getattr(node, "level", 0)]
    named = [[node.module] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names] for node in nodes]
    return frozenset(name.partition(".")[0] for names in named for name in names)


def imported(folder: Path) -> dict[str, str]:
    "The packages of others that modules and notebooks of a folder import, and one file that does."
    found = {}
    for path in sorted([*folder.rglob("*.py"), *folder.rglob("*.ipynb")]):
        found |= dict.fromkeys((name for code in code_of(path) for name in imports(code)), str(path.relative_to(folder.parent)))
    own = {"contrastive_nb", *(path.stem for path in folder.glob("*.py"))}
    return {name: path for name, path in found.items() if name not in {*sys.stdlib_module_names, *own}}


distributions = cache(packages_distributions)


def test_what_is_imported_is_declared():
    "By the package for those who use it; by an extra for those who run the pages and the tests. The Makefile installs some alone."
    declared = {canonicalize_name(requirement.name) for requirement in requirements()}
    alone = re.search(r"pip install .*--no-deps (.+) \$\(CONSTRAINTS\)", (ROOT / "Makefile").read_text(encoding="utf-8"))
    declared |= set(alone[1].split())
    brought = distributions()
    for folder in ("contrastive_nb", "nbs", "tests"):
        for name, path in imported(ROOT / folder).items():
            known = {canonicalize_name(other) for other in (name, *brought.get(name, []))}
            assert known & declared, f"{path} imports {name}, which pyproject.toml does not name"


def test_classifiers_and_workflow_name_the_same_pythons():
    classified = [text.split(" :: ")[-1] for text in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", text)]
    workflow = (ROOT / ".github" / "workflows" / "tests.yml").read_text(encoding="utf-8")
    assert json.loads(re.search(r"python: (\[.*\])", workflow)[1]) == classified == ["3.11", *(f"3.{minor}" for minor in MINORS)]


def lock_problems(lock: str, pinned: dict[str, str]) -> list[str]:
    "Where a lock differs from the pins, or leaves open what is installed."
    blocks = re.split(r"\n(?! )", re.sub(r"^#.*\n", "", lock, flags=re.M).strip())
    locked = {}
    for block in blocks:
        found = re.match(r"([\w.-]+)==([^\s;]+)( ; [^\\\n]+)?((?: \\\n    --hash=sha256:[0-9a-f]{64})+)$", block)
        locked |= {found[1]: found[2]} if found else {}
    wrong = [
        f"not a pin with hashes: {block.splitlines()[0]}" for block in blocks if not any(block.startswith(f"{name}==") for name in locked)
    ]
    return wrong + [
        f"{name}: the lock has {locked.get(name)}, constraints.txt {pinned.get(name)}"
        for name in sorted(locked.keys() | pinned.keys())
        if locked.get(name) != pinned.get(name)
    ]


def test_the_lock_has_every_pin_with_hashes():
    assert lock_problems((ROOT / "requirements.lock").read_text(encoding="utf-8"), pins()) == []


@pytest.mark.parametrize("pattern, new, says", [
    (r"^tqdm==\S+", "tqdm==4.0.0", ["tqdm: the lock has 4.0.0"]),
    (r"^tqdm==(.*\n    --hash.*)+\n", "", ["tqdm: the lock has None"]),
    (r"^(tqdm==\S+) (.*\n    --hash.*)+\n", r"\1\n", ["not a pin with hashes: tqdm", "tqdm: the lock has None"]),
    (r"^(tqdm==\S+ .*\n    --hash=sha256:.{63}).", r"\1", ["not a pin with hashes: tqdm", "tqdm: the lock has None"]),
    (r"^tqdm==", r"extra==1.0 \\\n    --hash=sha256:" + 64 * "0" + r"\ntqdm==", ["extra: the lock has 1.0"]),
    (r"^tqdm==", "--extra-index-url https://example.org\ntqdm==", ["not a pin with hashes: --extra-index-url"]),
])  # fmt: skip
def test_the_check_of_the_lock_finds(pattern, new, says):
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    lock, count = re.subn(pattern, new, text, count=1, flags=re.M)
    wrong = lock_problems(lock, pins())
    assert count == 1 and len(wrong) == len(says) and all(w.startswith(s) for w, s in zip(wrong, says, strict=True)), wrong


def test_dev_is_all_that_the_two_commands_need():
    extras = PROJECT["optional-dependencies"]
    (dev,) = map(Requirement, extras["dev"])
    assert dev.name == PROJECT["name"] and dev.extras == set(extras) - {"dev"}


def test_the_readmes_example_runs():
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.S)
    assert len([line for line in code.splitlines() if line.strip()]) <= 6
    names = {}
    exec(code, names)
    assert names["z1"].shape == (256, 64)


def shown_verdicts(readme: str) -> dict[str, str]:
    "The recorded verdicts in the README's example of what `make run` prints, by claim."
    rows = [re.split(r"\s{2,}", line.strip()) for line in readme.splitlines() if re.match(r" {4}[A-Z]\d\d-\w+-", line)]
    return {row[0]: row[-1] for row in rows}


def test_verdicts_that_the_readme_shows_are_the_recorded_ones():
    shown = shown_verdicts((ROOT / "README.md").read_text(encoding="utf-8"))
    assert shown
    for claim, said in shown.items():
        record = ROOT / "data" / "claims" / f"{claim}.json"
        kept = json.loads(record.read_text(encoding="utf-8")) if record.is_file() else {"runs": {}}
        laptop = kept["runs"].get("laptop") or ({"verdict": kept["verdict"]} if "verdict" in kept else None)
        assert laptop and said == laptop["verdict"], f"README.md says of {claim}: {said}; the record says {laptop and laptop['verdict']}"


def test_the_example_in_the_readme_has_the_columns_that_make_run_prints(tmp_path):
    from types import SimpleNamespace

    from contrastive_nb.book import reports

    path = tmp_path / "X01-mechanism-bound.json"
    path.write_text('{"runs": {"ci": {"effect": 1.0, "interval": [0.5, 1.5], "verdict": null}}}')
    job = SimpleNamespace(status="ok", profile="ci", records=lambda: [path])
    head = re.split(r"\s{2,}", reports.claim_table([job], ROOT / "data" / "claims").splitlines()[0])
    shown = [re.split(r"\s{2,}", line.strip()) for line in (ROOT / "README.md").read_text(encoding="utf-8").splitlines()]
    assert head in shown, f"README.md: want the columns {head} in its example"


def test_the_rule_in_the_readme_is_the_rule():
    from contrastive_nb.lab.claims import VERDICTS, decide

    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    lines = re.findall(r"^\| ([a-z, ]+) \| (.+) \|$", readme.partition("| Verdict | Where |")[2].partition("\n\n")[0], re.M)
    assert sorted(verdict for verdict, _ in lines) == sorted(VERDICTS) and lines[0][0] == VERDICTS[-1]
    signs = {"*": "", "≥": ">=", "\u2212": "-", "else": "True"}
    rules = []
    for verdict, where in lines[1:]:
        for sign, python in signs.items():
            where = where.replace(sign, python)
        rules.append((verdict, where))
    grid = [-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0]
    for lo, hi in ((lo, hi) for lo in grid for hi in grid if lo <= hi):
        first = next(verdict for verdict, where in rules if eval(where, {"lo": lo, "hi": hi, "e": 1.0}))
        assert first == decide((lo, hi), 1.0), f"README.md says {first} of [{lo}, {hi}]"


def test_links_of_the_hand_written_pages_exist():
    for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md"):
        targets = re.findall(r"\]\(([^)#]+)\)", (ROOT / name).read_text(encoding="utf-8"))
        assert [t for t in targets if not re.match(r"\w+:", t) and not (ROOT / t).exists()] == []


def test_make_targets_named_in_the_text_exist():
    said = "".join((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "CONTRIBUTING.md", ".ci/run"))
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    assert {"run", "test", "lab", "help"} <= set(re.findall(r"\bmake (?:--no-print-directory )?([a-z]+)\b", said)) - {"sure"} <= targets


def test_other_columns_in_the_readme_are_found(copy_of_the_tree, monkeypatch, tmp_path):
    monkeypatch.setitem(globals(), "ROOT", copy_of_the_tree)
    readme = copy_of_the_tree / "README.md"
    readme.write_text(readme.read_text(encoding="utf-8").replace("(ci)  recorded", "(ci)  verdict now  recorded"), encoding="utf-8")
    with pytest.raises(AssertionError, match="want the columns"):
        test_the_example_in_the_readme_has_the_columns_that_make_run_prints(tmp_path)


# --- each check above on a tree with its fault ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("check, file, pattern, new", [
    (test_links_of_the_hand_written_pages_exist, "README.md", r"\Z", "\n[more](nbs/99_none.ipynb)\n"),
    (test_links_of_the_hand_written_pages_exist, "CONTRIBUTING.md", r"\Z", "\n[more](tests/none.py)\n"),
    (test_links_of_the_hand_written_pages_exist, "CHANGELOG.md", r"\Z", "\n[more](none.md)\n"),
    (test_make_targets_named_in_the_text_exist, "README.md", r"\Z", "\n`make everything`\n"),
    (test_make_targets_named_in_the_text_exist, "CONTRIBUTING.md", r"\Z", "\n`make everything`\n"),
    (test_make_targets_named_in_the_text_exist, ".ci/run", r"\Z", "\nmake --no-print-directory everything\n"),
    (test_make_targets_named_in_the_text_exist, "Makefile", r"^lab:", "laboratory:"),
    (test_the_readmes_example_runs, "README.md", r"^```python\n", "```python\nimport nothing\n"),
    (test_verdicts_that_the_readme_shows_are_the_recorded_ones, "README.md", r"^(    [A-Z]\d\d-\w+-.* {2})\S.*$", r"\1unheard of"),
    (test_verdicts_that_the_readme_shows_are_the_recorded_ones, "README.md", r"^    ([A-Z]\d\d-\w+-)", r"    \1none-"),
    (test_the_rule_in_the_readme_is_the_rule, "README.md", r"^\| not resolved \|.*\n", ""),
    (test_the_rule_in_the_readme_is_the_rule, "README.md", r"\*lo\* ≥ \*e\*", "*lo* > *e*"),
    (test_the_rule_in_the_readme_is_the_rule, "README.md", r"^(\| in the claimed direction, too.*\n)(\| in the claimed.*\n)", r"\2\1"),
    (test_ranges_and_pins_agree, "pyproject.toml", r'"torch>=[\d.]+"', '"torch>=2.12"'),
    (test_ranges_and_pins_agree, "constraints.txt", r"^numpy==.*", "numpy==1.0"),
    (test_ranges_and_pins_agree, "constraints.txt", r"^scikit-learn==", "scikit_learn=="),
    (test_what_is_imported_is_declared, "pyproject.toml", r'^    "psutil.*\n', ""),
    (test_what_is_imported_is_declared, "pyproject.toml", r'"ipython>=[^"]+", ', ""),
    (test_what_is_imported_is_declared, "Makefile", r"--no-deps lightly ", "--no-deps "),
    (test_what_is_imported_is_declared, "contrastive_nb/lab/trace.py", r"^import json$", "import json, attrs"),
    (test_classifiers_and_workflow_name_the_same_pythons, ".github/workflows/tests.yml", r'"3\.11", ', ""),
])  # fmt: skip
def test_a_fault_in_a_hand_written_file_is_found(check, file, pattern, new, copy_of_the_tree, monkeypatch):
    monkeypatch.setitem(globals(), "ROOT", copy_of_the_tree)
    check()
    path = copy_of_the_tree / file
    text, count = re.subn(pattern, new, path.read_text(encoding="utf-8"), count=1, flags=re.M)
    assert count == 1, f"{file} has no {pattern}"
    path.write_text(text, encoding="utf-8")
    with pytest.raises((AssertionError, KeyError, ModuleNotFoundError)):
        check()


@pytest.mark.parametrize("module", ["__init__", "metrics"])
def test_an_import_that_takes_its_time_is_found(module, copy_of_the_tree, monkeypatch):
    monkeypatch.chdir(copy_of_the_tree)
    with (copy_of_the_tree / "contrastive_nb" / f"{module}.py").open("a") as file:
        file.write("\nimport time\n\nwhile time.process_time() < 0.6 + globals().setdefault('began', time.process_time()):\n    pass\n")
    with pytest.raises(AssertionError):
        test_an_import_takes_little_beyond_torch(processes=1)


def test_an_import_that_loads_more_is_found(copy_of_the_tree, monkeypatch):
    monkeypatch.chdir(copy_of_the_tree)
    test_an_import_loads_torch_at_most()
    with (copy_of_the_tree / "contrastive_nb" / "metrics.py").open("a") as file:
        file.write("\nimport scipy\n")
    with pytest.raises(AssertionError, match="book.plots scipy"):  # the first that imports metrics
        test_an_import_loads_torch_at_most()
