"""Public names of version 0.1 and where they are now: each still imports for one version, with a warning. Plain module, to go with version 0.3."""

import importlib
import importlib.abc
import importlib.machinery
import sys
import types
import warnings

# module of 0.1 -> where its names went; "*" stands for all that are not listed, `None` for what is gone
MOVED: dict[str, dict[str, str | None]] = {
    "manners": {
        "*": "checks",
        "HALF": "rows", "widen": "rows", "full_precision": "rows:autocast_off", "digits": "rows:to_float64", "present": "rows",
        "row_logsumexp": "rows", "listed": "rows:list_pairs", "sum_rows": "rows", "shares": "rows:target_shares",
        "ABSENT": "objective", "reduce": "objective", "objective": "objective:of_pairs", "list_objective": "objective:of_lists",
    },
    "profiles": {"*": "lab.profiles", "open_run": "lab", "Run": "lab.runs", "watched": "lab.runs", "pick_device": "devices"},
    "claims": {"*": "lab.claims", "Claim": "lab", "judge": "lab", "load": "lab", "record": "lab"},
    "fingerprint": {"*": "lab.freshness"},
    "runner": {
        "*": "lab.runner",
        **dict.fromkeys(("PARAMETERS", "Refused", "Job", "choose", "parse_overrides", "check_parameters", "plan"), "lab.jobs"),
        **dict.fromkeys(("STARTUP", "THREADS", "Interrupted", "kernel_home", "environment", "end_processes"), "lab.processes"),
        **dict.fromkeys(("table", "effect", "notebook_table", "claim_table", "ledger_table"), "book.reports"),
    },
    "plots": {"*": "book.plots"},
    "tables": {"*": "book.tables"},
    "exercises": {"*": "book.exercises"},
    "catalogue": {"*": "book.catalogue"},
    "site": {"*": "book.site"},
    "bench": {
        "*": "timing.tournament",
        **dict.fromkeys(("GIGA", "Peak", "measure", "peak", "embeddings"), "timing.measure"),
        **dict.fromkeys(("PROBE", "AGREE", "FIXED", "SLOW", "IMPORTS", "Template"), "timing.processes"),
        **dict.fromkeys(("FORMATS", "place", "read", "run", "summary", "text", "write"), "timing.report"),
    },
    "contestants": {"*": "timing.contestants"},
    "lightly_loader": {"*": "timing.lightly_loader"},
}  # fmt: skip


def home(module: str, name: str) -> tuple[str, str]:
    "Where a name of a module of 0.1 is now: module and name."
    place, _, new = MOVED[module].get(name, MOVED[module]["*"]).partition(":")
    return f"contrastive_nb.{place}", new or name


class _Old(types.ModuleType):
    "A module of 0.1: it holds nothing, and leads every name to its new place with a warning."

    def __getattr__(self, name: str):
        if name.startswith("__"):
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        module, new = home(self.__name__.partition(".")[2], name)
        try:
            value = getattr(importlib.import_module(module), new)
        except AttributeError:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}") from None
        warnings.warn(f"{self.__name__}.{name} is now {module}.{new}", DeprecationWarning, stacklevel=2)
        return value


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, fullname, path=None, target=None):
        package, _, name = fullname.partition(".")
        return importlib.machinery.ModuleSpec(fullname, self) if package == "contrastive_nb" and name in MOVED else None

    def create_module(self, spec):
        return _Old(spec.name, f"Moved: see `contrastive_nb._moved`; {MOVED[spec.name.partition('.')[2]]['*']} has most of it.")

    def exec_module(self, module):
        pass


def install() -> None:
    "Let the modules of 0.1 be found, after everything else."
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.append(_Finder())
