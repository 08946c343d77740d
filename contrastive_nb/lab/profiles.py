"""Run profiles: one notebook, three sizes. Plain module: settings.ini says what each profile means."""

import ast
import configparser
import json
import os
from pathlib import Path

from contrastive_nb import files
from contrastive_nb.devices import is_device

PROFILES = ("ci", "laptop", "gpu")
PRECISIONS = ("no", "bf16", "fp16")
OVERRIDES, RESUME = "CONTRASTIVE_NB_OVERRIDES", "CONTRASTIVE_NB_RESUME"
NEEDED = ("seeds", "search_seeds", "steps", "batch_size", "train_size", "test_size", "device", "precision", "minutes")
KNOWN = (*NEEDED, "first_seed")  # what the package itself reads; a chapter's file has more, which its notebooks read


def literal(text: str):
    "A value of settings.ini or of `--set`: a Python literal, else the bare word."
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def is_count(value, low: int) -> bool:
    "Whether a value is a whole number from `low` on."
    return isinstance(value, int) and not isinstance(value, bool) and value >= low


def check_value(label: str, key: str, value) -> None:
    "Raise `ValueError`, beginning with the label, unless the value can be what the key says."
    wrong = None
    if key == "device" and not is_device(value):
        wrong = "auto, cpu, cuda, cuda:N or mps"
    elif key == "precision" and value not in PRECISIONS:
        wrong = ", ".join(PRECISIONS)
    elif key == "search_seeds" and not is_count(value, 0):
        wrong = "a whole number, 0 or more"
    elif (key in ("seeds", "steps") or key.endswith("_size")) and not is_count(value, 1):
        wrong = "a whole number above 0"
    elif key == "minutes" and not (isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0):
        wrong = "a number above 0"
    if wrong:
        raise ValueError(f"{label}: got {value!r}, want {wrong}")


def _parse(path: Path) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None, inline_comment_prefixes=None)
    try:
        parser.read_string(path.read_text(encoding="utf-8") if path.exists() else "", source=path.name)
    except (configparser.Error, OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: {' '.join(str(error).split())}") from None
    for section in parser.sections():
        if section.partition(":")[0] not in PROFILES:
            raise ValueError(f"{path.name} [{section}]: want {', '.join(PROFILES)}, or one of them, a colon and a notebook's name")
    return parser


def _values(path: Path, section: str) -> dict:
    "A section's values, checked; nothing where the file or the section is not there."
    parser = _parse(path)
    values = {key: literal(value) for key, value in parser[section].items()} if parser.has_section(section) else {}
    for key, value in values.items():
        check_value(f"{path.name} [{section}] {key}", key, value)
    return values


def keys_of(path: Path) -> dict[str, list[str]]:
    "The keys that a settings file sets, by section. Raises `ValueError` for a file that cannot be read."
    parser = _parse(path)
    return {section: list(parser[section]) for section in parser.sections()}


def chapter_settings(notebook: str) -> Path:
    "The settings file of a notebook's chapter."
    return files.notebooks() / Path(notebook).parent / "settings.ini"


def settings(
    profile: str,  # a profile's name: "ci", "laptop" or "gpu"
    notebook: str | None = None,  # "folder/name" under nbs/, without .ipynb
) -> dict:
    """What a profile means for a notebook: the root file's section, overridden by the notebook's own in its chapter's file.

    Raises `ValueError` for a profile that settings.ini does not have, for a value that cannot be, naming its key, and for a
    file that cannot be read.
    """
    root = files.shared("settings.ini")
    if profile not in (known := _parse(root).sections()):
        raise ValueError(f"profile: got {profile!r}, want one of {', '.join(known)}, which settings.ini has")
    values = _values(root, profile)
    if notebook is not None and "/" in notebook:
        values |= _values(chapter_settings(notebook), f"{profile}:{notebook.rpartition('/')[2]}")
    if missing := [key for key in NEEDED if key not in values]:
        raise ValueError(f"settings.ini [{profile}]: lacks {', '.join(missing)}")
    return values


def overrides() -> dict:
    "What `run --set key=value` changed for this process, checked."
    values = json.loads(os.environ.get(OVERRIDES) or "{}")
    for key, value in values.items():
        check_value(f"--set {key}", key, value)
    return values


def seed_lists(values: dict, seed: int = 0) -> tuple[list[int], list[int]]:
    """The seeds that are judged and the seeds that are searched on: disjoint, so what is tuned is never judged on the same draw.

    A page whose first seeds were looked at while it was written says `first_seed` in settings.ini and is judged from there on.
    """
    judged = seed + values.get("first_seed", 0)
    return list(range(judged, judged + values["seeds"])), list(range(seed + 1000, seed + 1000 + values["search_seeds"]))
