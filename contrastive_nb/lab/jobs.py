"""Which notebooks are to run, and with what: a `Job` each. Plain module."""

import json
import re
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from filelock import BaseFileLock

from contrastive_nb import files
from contrastive_nb.lab import freshness, profiles, records

PARAMETERS = ("profile", "seed", "device")


class Refused(ValueError):
    "A request that cannot be met; its message is one line for a person."


def choose(asked: Iterable[str], folder: Path) -> list[str]:
    "The notebooks that are meant: by name, by path, or by a part that only one name has; all of them when none is asked for."
    every, chosen = freshness.all_notebooks(folder), []
    for text in asked:
        path = Path(text)
        if path.suffix == ".ipynb" and path.is_file() and path.resolve().is_relative_to(folder.resolve()):
            found = [path.resolve().relative_to(folder.resolve()).with_suffix("").as_posix()]
        else:
            part = text.removesuffix(".ipynb").removeprefix("nbs/").strip("/")
            whole = [name for name in every if part in (name, name.rpartition("/")[2])]
            found = whole or [name for name in every if part in name]
        if not found:
            raise Refused(f"{text}: no notebook under {folder} is called so")
        if len(found) > 1 and not all(name.startswith(f"{part}/") for name in found):  # a folder means all that it holds
            raise Refused(f"{text}: could be {', '.join(found[:6])}{' ...' if len(found) > 6 else ''}; say more of the name")
        chosen += [name for name in found if name not in chosen]
    return chosen if asked else every


def parse_overrides(pairs: Iterable[str], profile: str, notebooks: Iterable[str]) -> dict:
    "`--set key=value` as a dict; every key must be one that the profile gives to one of the notebooks."
    known = set().union(*(profiles.settings(profile, name) for name in [None, *notebooks]))
    values = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise Refused(f"--set: got {pair!r}, want key=value")
        if key not in known:
            raise Refused(f"--set: {key!r} is no setting of profile {profile}; it has {', '.join(sorted(known))}")
        values[key] = profiles.literal(value)
        profiles.check_value(f"--set {key}", key, values[key])
    return values


def check_settings(chapter: Path) -> None:
    "Raise `Refused` for what nobody reads: a section of no notebook, a key that its notebook never names, in the root file a key of none."
    root, path = files.shared("settings.ini"), chapter / "settings.ini"
    for section, keys in profiles.keys_of(root).items():
        if section not in profiles.PROFILES:
            raise Refused(f"{root} [{section}]: what is a notebook's alone stands in its chapter's settings.ini")
        for key in set(keys) - set(profiles.KNOWN):
            raise Refused(f"{root} [{section}]: got {key!r}, want one of {', '.join(profiles.KNOWN)}")
    for section, keys in profiles.keys_of(path).items():
        name = section.partition(":")[2]
        source = chapter / f"{name}.ipynb"
        if not source.is_file():
            raise Refused(f"{path} [{section}]: no notebook here is called {name!r}; want a profile, a colon and a notebook's name")
        code = " ".join(source_of(cell) for cell in freshness.read_book(source)["cells"] if cell["cell_type"] == "code")
        read = {*profiles.KNOWN, *re.findall(r"\w+", code)}
        for key in [key for key in keys if key not in read]:
            raise Refused(f"{path} [{section}]: got {key!r}, which {name} never reads; want {', '.join(profiles.KNOWN)}, or its own")


def source_of(cell) -> str:
    "The text of a cell."
    return "".join(cell["source"])


def check_parameters(book: dict) -> str | None:
    "What is wrong with a notebook's parameters cell, or `None`. (papermill itself would run on with the defaults.)"
    if not any(cell["cell_type"] == "code" and source_of(cell).strip() for cell in book["cells"]):
        return None
    tagged = [cell for cell in book["cells"] if "parameters" in cell["metadata"].get("tags", [])]
    if len(tagged) != 1:
        count = f"{len(tagged)} cells are" if tagged else "no cell is"
        return f"{count} tagged 'parameters', want one that sets {', '.join(PARAMETERS)}"
    names = {line.partition("=")[0].strip() for line in source_of(tagged[0]).splitlines()}
    missing = [name for name in PARAMETERS if name not in names]
    return f"its parameters cell does not set {', '.join(missing)}" if missing else None


@dataclass
class Job:
    "One notebook to run, and what came of it."

    notebook: str
    source: Path
    code: str
    parameters: dict  # profile, seed, device
    overrides: dict
    minutes: float
    folder: Path  # build
    status: str = "waiting"  # waiting, running, ok, skipped, failed, timeout, stopped
    message: str = ""
    seconds: float | None = None
    memory: float | None = None  # MB
    claims: list[str] = field(default_factory=list)
    cells: int = 0
    done: int = 0
    process: subprocess.Popen | None = None
    tag: str = ""
    deadline: float = 0.0
    began: float = 0.0
    started: bool = False  # its first cell
    told: dict | None = None  # what its worker said at the end
    plain: bool = False  # in one process without Jupyter, which stops by itself when its minutes are over
    until: float | None = None  # on the monotonic clock: when the call that it belongs to is over
    lock: BaseFileLock | None = None  # no two runners run one notebook in one profile and one build folder

    @property
    def profile(self) -> str:
        return self.parameters["profile"]

    @property
    def output(self) -> Path:
        return self.folder / "runs" / self.profile / f"{self.notebook}.ipynb"

    @property
    def work(self) -> Path:
        return self.output.with_name(f"{self.output.stem}.running.ipynb")

    @property
    def log(self) -> Path:
        return self.output.with_suffix(".log")

    @property
    def note(self) -> Path:
        "What a finished run leaves beside its output; `--resume` and `--save` go by it."
        return self.output.with_suffix(".json")

    @property
    def failed(self) -> Path:
        return self.folder / "failed" / self.profile / f"{self.notebook}.ipynb"

    def records(self) -> list[Path]:
        "The records that this notebook wrote in this profile."
        found = sorted((self.folder / "claims" / self.profile).glob("*.json"))
        return [path for path in found if records.read(path)["notebook"] == self.notebook]

    def finished(self) -> dict | None:
        "The note of an earlier run of the same code with the same parameters, if all that it made is still there."
        if not (self.note.is_file() and self.output.is_file()):
            return None
        try:
            note = json.loads(self.note.read_text(encoding="utf-8"))
            same = (note["code"], note["parameters"], note["overrides"]) == (self.code, self.parameters, self.overrides)
        except (OSError, ValueError, KeyError, TypeError):  # a damaged note speaks for nothing
            return None
        return note if same and note["claims"] == [path.stem for path in self.records()] else None


def plan(
    names: Iterable[str],
    profile: str,
    *,
    notebooks: Path,
    build: Path,
    device: str = "auto",
    overrides: dict | None = None,
    minutes: float | None = None,
) -> list[Job]:
    "A job a notebook. Raises `ValueError` for an unknown profile, for a value that cannot be, and for settings that nobody reads."
    names, jobs = list(names), []
    for chapter in sorted({(notebooks / name).parent for name in names}):
        check_settings(chapter)
    for name in names:
        source = notebooks / f"{name}.ipynb"
        limit = minutes or (overrides or {}).get("minutes") or profiles.settings(profile, name)["minutes"]
        parameters = {"profile": profile, "seed": 0, "device": device}
        job = Job(name, source, freshness.of_notebook(source, profile), parameters, dict(overrides or {}), limit, build)
        book = freshness.read_book(source)
        job.cells = sum(cell["cell_type"] == "code" for cell in book["cells"]) + 1  # papermill adds one
        if wrong := check_parameters(book):
            job.status, job.message = "failed", f"{source}: {wrong}"
        jobs.append(job)
    return jobs


def clock(seconds: float | None) -> str:
    "Seconds as a person reads them."
    if seconds is None:
        return "-"
    return f"{seconds:.1f} s" if seconds < 60 else f"{int(seconds // 60)} min {seconds % 60:.0f} s"
