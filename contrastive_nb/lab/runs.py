"""A run: one execution of one notebook in one profile, with its sizes, its folder and its memory. Plain module."""

import contextlib
import hashlib
import importlib.util
import json
import os
import platform
import shutil
import sys
import time
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from contrastive_nb import files
from contrastive_nb.devices import pick_device
from contrastive_nb.lab.profiles import RESUME, is_count, overrides, seed_lists, settings
from contrastive_nb.lab.trace import Lines


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
        if not is_count(seed, 0):
            raise ValueError(f"seed: got {seed!r}, want a whole number, 0 or more")
        self.notebook, self.profile, self.seed = notebook, profile, seed
        self.values = settings(profile, notebook) | overrides()
        self.device = pick_device(self.values["device"] if device == "auto" else device)
        self.seeds, self.search_seeds = seed_lists(self.values, seed)
        self.code = _code(notebook, profile)
        self.page = _page(notebook)
        self.resumes = os.environ.get(RESUME) == "1"
        home = files.build() / "runs" / profile / notebook
        sizes = {key: value for key, value in self.values.items() if key != "minutes"}
        key = json.dumps([self.code, sorted(sizes.items()), seed, self.device])
        self.folder = home / hashlib.sha256(key.encode()).hexdigest()[:12]
        if not self.resumes and home.is_dir():  # a run that does not resume begins with nothing behind it
            for kept in filter(_is_memory, home.iterdir()):
                shutil.rmtree(kept, ignore_errors=True)
        self._past = self._read_past()
        self._began = time.process_time()
        self._lines = _listening() if profile != "ci" else None  # a ci run is never kept

    @property
    def _past_file(self) -> Path:
        return self.folder / ".past"

    def _read_past(self) -> dict:
        "What the parts of this run before an interruption went through."
        if self.resumes and self._past_file.exists():
            return json.loads(self._past_file.read_text(encoding="utf-8"))
        return {"lines": {}, "seconds": 0.0, "data": [], "whole": True}

    def _so_far(self) -> dict:
        "Lines, processor seconds and data of all parts of this run; `whole` where every line was heard."
        from contrastive_nb import data

        now = self._lines.taken() if self._lines else {}
        lines = {path: sorted({*now.get(path, []), *self._past["lines"].get(path, [])}) for path in {*now, *self._past["lines"]}}
        seconds = self._past["seconds"] + time.process_time() - self._began
        whole = self._past["whole"] and self._lines is not None and self._lines.whole()
        return {"lines": lines, "seconds": seconds, "data": sorted({*data.LOADED, *self._past["data"]}), "whole": whole}

    def made(self, claim: str | None = None) -> dict:
        "What the record of a claim, by its id, keeps of how it was made; unknown is `None`."
        from contrastive_nb.lab import freshness

        past = self._so_far()
        known = dict(seconds=past["seconds"], memory=_peak_memory(), processor=_processor(), threads=_threads())
        known |= dict(
            data=freshness.checksums(past["data"]), settings=None, page=self.page and self.page.digest(claim), depends=None, clean=None
        )
        if self.page is not None:
            known["settings"] = {key: value for key, value in self.values.items() if key != "minutes"}
            lines = past["lines"] if past["whole"] else None
            known["depends"] = freshness.depends_of(self.notebook, lines) if self.profile != "ci" else None
            known["clean"] = freshness.is_clean(self.notebook)
        return known

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
            files.write_whole(kept, text)
            files.write_whole(self._past_file, json.dumps(self._so_far()))
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


@cache
def _listening() -> Lines:
    "The one listener of this process, for every run that it opens."
    from contrastive_nb.lab import freshness

    lines = Lines(files.PACKAGE, (*freshness.ROOMS, *freshness.MACHINERY), freshness.INSTRUMENTS)
    lines.start()
    return lines


def _peak_memory() -> float | None:
    "MB that this process has held at most."
    try:
        import resource
    except ImportError:  # Windows
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (2**20 if sys.platform == "darwin" else 2**10)


def _processor() -> str | None:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or None


def _threads() -> int:
    import torch

    return torch.get_num_threads()


def _page(notebook: str):
    "The page as it stands when its run begins."
    from contrastive_nb.lab import freshness

    try:
        return freshness.Page(notebook)
    except FileNotFoundError:
        return None


def _code(notebook: str, profile: str) -> str | None:
    from contrastive_nb.lab import freshness

    try:
        return freshness.of_notebook(notebook, profile)
    except FileNotFoundError:  # a run that no notebook stands for, as in a script
        return None


def open_run(
    notebook: str,  # "folder/name" of the notebook under nbs/, without .ipynb
    profile: str = "ci",  # "ci", "laptop" or "gpu"
    *,
    seed: int = 0,  # the first seed; the others follow it
    device: str = "auto",  # "auto": what the profile says; or "cpu", "cuda", "cuda:1", ...
) -> Run:
    """Open a run: the notebook's second line, from which it takes every size, seed and device.

    At `ci` size a page takes the data sets that are here and asks no network for others (`data.available`).
    """
    from contrastive_nb import data
    from contrastive_nb.lab import cards

    cards.show_in_notebooks()
    opened = Run(notebook, profile, seed, device)
    data.DOWNLOADS = profile != "ci"
    return opened
