"""Run profiles: one notebook, three sizes. Plain module: settings.ini says what each profile means."""

import ast
import configparser
import hashlib
import importlib.util
import json
import os
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

from contrastive_nb import files

PROFILES = ("ci", "laptop", "gpu")
PRECISIONS = ("no", "bf16", "fp16")
OVERRIDES, RESUME = "CONTRASTIVE_NB_OVERRIDES", "CONTRASTIVE_NB_RESUME"
_NEEDED = ("seeds", "search_seeds", "steps", "batch_size", "train_size", "test_size", "device", "precision", "minutes")


def literal(text: str):
    "A value of settings.ini or of `--set`: a Python literal, else the bare word."
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _is_device(value) -> bool:
    name, _, index = value.partition(":") if isinstance(value, str) else ("", "", "")
    return value in ("auto", "cpu", "mps", "cuda") or (name == "cuda" and index.isdigit())


def _is_count(value, low: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= low


def check_value(label: str, key: str, value) -> None:
    "Raise `ValueError`, beginning with the label, unless the value can be what the key says."
    wrong = None
    if key == "device" and not _is_device(value):
        wrong = "auto, cpu, cuda, cuda:N or mps"
    elif key == "precision" and value not in PRECISIONS:
        wrong = ", ".join(PRECISIONS)
    elif key == "search_seeds" and not _is_count(value, 0):
        wrong = "a whole number, 0 or more"
    elif (key in ("seeds", "steps") or key.endswith("_size")) and not _is_count(value, 1):
        wrong = "a whole number above 0"
    elif key == "minutes" and not (isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0):
        wrong = "a number above 0"
    if wrong:
        raise ValueError(f"{label}: got {value!r}, want {wrong}")


def _parser() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None, inline_comment_prefixes=None)
    parser.read(files.shared("settings.ini"), encoding="utf-8")
    return parser


def settings(
    profile: str,  # a profile's name: "ci", "laptop" or "gpu"
    notebook: str | None = None,  # "folder/name" under nbs/, without .ipynb
) -> dict:
    """What a profile means for a notebook: the profile's section, overridden by the notebook's own.

    Raises `ValueError` for a profile that settings.ini does not have, and for a value that cannot be, naming its key.
    """
    parser = _parser()
    known = [name for name in parser.sections() if ":" not in name]
    if profile not in known:
        raise ValueError(f"profile: got {profile!r}, settings.ini has {', '.join(known)}")
    values: dict = {}
    for section in (profile, f"{profile}:{notebook}"):
        if parser.has_section(section):
            own = {key: literal(value) for key, value in parser[section].items()}
            for key, value in own.items():
                check_value(f"settings.ini [{section}] {key}", key, value)
            values |= own
    if missing := [key for key in _NEEDED if key not in values]:
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


def _before_a_group() -> None:
    """One process of several loads torch's compiler before it joins a group.

    Loaded later, as optimisers do, the compiler keeps the group as the default of its functions: given up, the group's threads
    go on, and one that is at work when Python has gone aborts the process.
    """
    if os.environ.get("WORLD_SIZE", "1") != "1":
        importlib.import_module("torch._dynamo")


def pick_device(device: str) -> str:
    """ "auto" becomes the accelerator that torch sees, else the CPU; any other name must exist here.

    Raises `ValueError` for an unknown name, `RuntimeError` where a GPU is asked for and there is none.
    """
    check_value("device", "device", device)
    _before_a_group()
    if device == "cpu":
        return device
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda"):
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if count == 0 or int(device.partition(":")[2] or 0) >= count:
            seen = "no GPU" if count == 0 else f"{count} GPU{'s' if count > 1 else ''}"
            hint = "say device='cpu' to drive the same path without one"
            raise RuntimeError(f"device: {device!r} was asked for, and torch sees {seen} here; {hint}")
    elif not torch.backends.mps.is_available():
        raise RuntimeError(f"device: {device!r} was asked for, and torch sees none here; say device='cpu'")
    return device


def watched() -> bool:
    "Whether a person looks on: a terminal, or a notebook whose front end can be asked for input (papermill's cannot)."
    if os.environ.get("IN_TEST"):
        return False
    if "ipykernel" not in sys.modules:
        return sys.stderr.isatty()
    from IPython import get_ipython

    kernel = getattr(get_ipython(), "kernel", None)
    return kernel is not None and bool(kernel.get_parent().get("content", {}).get("allow_stdin"))


class Run:
    """One execution of one notebook in one profile: its sizes as attributes, its folder, its memory.

    Attributes of the profile's section are read as `run.steps`, `run.batch_size` and so on; `run.seeds` and
    `run.search_seeds` are lists of seeds (disjoint: what is tuned is never judged on the same draw); `run.code` is
    the fingerprint of the code that runs. What `once` and `checkpoint` keep lies in a folder named by code, sizes,
    seed and device, so a run that resumes never meets the memory of other code.
    """

    def __init__(self, notebook: str, profile: str, seed: int, device: str):
        if not isinstance(notebook, str) or not notebook or ".." in notebook or notebook.startswith("/"):
            raise TypeError(f"notebook: got {notebook!r}, want its folder and name, such as '1_objectives/01_infonce'")
        if not _is_count(seed, 0):
            raise ValueError(f"seed: got {seed!r}, want a whole number, 0 or more")
        self.notebook, self.profile, self.seed = notebook, profile, seed
        self.values = settings(profile, notebook) | overrides()
        self.device = pick_device(self.values["device"] if device == "auto" else device)
        self.seeds, self.search_seeds = seed_lists(self.values, seed)
        self.code = _code(notebook, profile)
        self.resumes = os.environ.get(RESUME) == "1"
        home = files.build() / "runs" / profile / notebook
        sizes = {key: value for key, value in self.values.items() if key != "minutes"}
        key = json.dumps([self.code, sorted(sizes.items()), seed, self.device])
        self.folder = home / hashlib.sha256(key.encode()).hexdigest()[:12]
        if not self.resumes and home.is_dir():  # a run that does not resume begins with nothing behind it
            for kept in filter(_is_memory, home.iterdir()):
                shutil.rmtree(kept, ignore_errors=True)

    def __getattr__(self, key):
        values = self.__dict__.get("values", {})
        if key not in values:
            raise AttributeError(f"settings.ini gives no {key!r} to profile {self.__dict__.get('profile')!r}; it has {', '.join(values)}")
        return values[key]

    @property
    def parameters(self) -> dict:
        "What a record keeps of this run: every value of the profile but the clock and the seeds, and the device used."
        return {k: v for k, v in self.values.items() if k not in ("minutes", "seeds", "search_seeds")} | {"device": self.device}

    def checkpoint(self, key: str) -> Path:
        "Where a training under this key keeps its checkpoint; it is found again by a run that resumes."
        self.folder.mkdir(parents=True, exist_ok=True)
        return self.folder / f"{_file_name(key)}.pt"

    def once(self, key: str, function):
        """The value of `function()`, which must be JSON; a run that resumes finds it again instead of computing it.

        Raises `TypeError` naming the key when the value is not JSON. What is remembered is read back from JSON the
        first time too, so that a resumed run sees just what the first one saw (lists for tuples, text for keys).
        """
        kept = self.folder / f"{_file_name(key)}.json"
        if not kept.exists():
            try:
                text = json.dumps(function(), allow_nan=True)
            except TypeError as error:
                raise TypeError(f"once({key!r}): {error}; want numbers, text, lists and dicts") from error
            self.folder.mkdir(parents=True, exist_ok=True)
            part = kept.with_suffix(f".{os.getpid()}.part")
            part.write_text(text, encoding="utf-8")
            part.replace(kept)
        return json.loads(kept.read_text(encoding="utf-8"))

    def progress(self, iterable: Iterable, label: str = ""):
        "The same iterable, with a progress bar where a person looks on, and silent under papermill."
        if not watched():
            return iterable
        if "ipykernel" in sys.modules and importlib.util.find_spec("ipywidgets"):
            from tqdm.notebook import tqdm
        else:
            from tqdm import tqdm
        return tqdm(iterable, desc=label, leave=False)

    def __repr__(self):
        shown = {k: v for k, v in self.values.items() if k in ("steps", "batch_size", "precision")}
        sizes = ", ".join(f"{k} {v}" for k, v in shown.items())
        return (
            f"profile {self.profile}: {len(self.seeds)} seed{'s' * (len(self.seeds) != 1)} from {self.seeds[0]}, {sizes}, on {self.device}"
        )


def _is_memory(folder: Path) -> bool:
    return folder.is_dir() and len(folder.name) == 12 and set(folder.name) <= set("0123456789abcdef")


def _file_name(key: str) -> str:
    "A key as a file's name: readable, and different for different keys."
    plain = "".join(c if c.isalnum() or c in "-_." else "_" for c in key)
    return plain if plain == key and key[:1].isalnum() else f"{plain[:60]}-{hashlib.sha256(key.encode()).hexdigest()[:8]}"


def _code(notebook: str, profile: str) -> str | None:
    from contrastive_nb import fingerprint

    try:
        return fingerprint.of_notebook(notebook, profile)
    except FileNotFoundError:  # a run that no notebook stands for, as in a script
        return None


def open_run(
    notebook: str,  # "folder/name" of the notebook under nbs/, without .ipynb
    profile: str = "ci",  # "ci", "laptop" or "gpu"
    *,
    seed: int = 0,  # the first seed; the others follow it
    device: str = "auto",  # "auto": what the profile says; or "cpu", "cuda", "cuda:1", ...
) -> Run:
    "Open a run: the notebook's second line, from which it takes every size, seed and device."
    return Run(notebook, profile, seed, device)
