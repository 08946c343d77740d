"""Public names of version 0.1 and where they are now: each still imports for one version, with a warning. Plain module, to go with version 0.3."""

import importlib
import importlib.abc
import importlib.machinery
import sys
import types
import warnings

# module of 0.1 -> where its names went; "*" stands for all that are not listed
MOVED: dict[str, dict[str, str | None]] = {
    "manners": {
        "*": "checks",
        "HALF": "rows", "widen": "rows", "full_precision": "rows:autocast_off", "digits": "rows:to_float64", "present": "rows",
        "row_logsumexp": "kernels.softmax", "listed": "rows:list_pairs", "sum_rows": "rows", "shares": "rows:target_shares",
        "ABSENT": "objective", "reduce": "objective", "objective": "objective:of_pairs", "list_objective": "objective:of_lists",
    },
    "profiles": {"*": "lab.profiles", "open_run": "lab", "Run": "lab.runs", "watched": "lab.runs", "pick_device": "devices"},
    "claims": {"*": "lab.claims", "Claim": "lab", "judge": "lab", "load": "lab", "record": "lab",
               "DEFINITION": "lab.records:CLAIM", "RUN": "lab.records", "KEPT": "lab.records:RUN"},
    "fingerprint": {"*": "lab.freshness", "reached": "lab.freshness:depends_of", "stale": "lab.freshness:stale_runs"},
    "runner": {
        "*": "lab.runner",
        **dict.fromkeys(("PARAMETERS", "Refused", "Job", "choose", "parse_overrides", "check_parameters", "plan"), "lab.jobs"),
        **dict.fromkeys(("STARTUP", "THREADS", "Interrupted", "kernel_home", "environment", "end_processes"), "lab.processes"),
        **dict.fromkeys(("table", "effect", "notebook_table", "claim_table", "ledger_table"), "book.reports"),
    },
    "plots": {"*": "book.plots"},
    "tables": {"*": "book.tables"},
    "exercises": {"*": "book.exercises", "NOT_ATTEMPTED": "book.exercises:NOT_BEGUN"},
    "catalogue": {
        "*": "book.catalogue",
        **dict.fromkeys(("recorded", "stale", "ledger_html", "verdicts_html", "drawn", "forest"), "book.ledger"),
    },
    "site": {"*": "book.site"},
    "bench": {
        "*": "timing.tournament",
        **dict.fromkeys(("GIGA", "Peak", "measure", "peak", "embeddings"), "timing.measure"),
        **dict.fromkeys(("PROBE", "SLOW", "IMPORTS", "Template"), "timing.processes"),
        **dict.fromkeys(("FORMATS", "place", "read", "run", "summary", "text", "write"), "timing.report"),
    },
    "contestants": {"*": "timing.contestants"},
    "scaling.tabulated": {"*": "kernels.tabulated"},
    "lightly_loader": {"*": "timing.lightly_loader"},
}  # fmt: skip

# names that left a module which is still there
LEFT: dict[str, dict[str, str]] = {
    "data": dict.fromkeys(("LatentSample", "LatentClasses", "latent_classes", "ShiftedQueries", "shifted_queries"), "worlds"),
    "negatives.mochi": dict.fromkeys(("Queue", "slow_copy", "momentum_update"), "training"),
    "training": {"write_whole": "checkpoints:write", "differences": "checkpoints"},
    "objectives.decoupled": {"coupling": "objectives.decoupled:npc_multiplier"},
    "objectives.mw": {"ENTRIES_AT_ONCE": "kernels.pairwise:AT_ONCE"},
    "objectives.ranking": {"PAIRS_AT_ONCE": "kernels.pairwise:AT_ONCE"},
    "scaling.streaming": {**dict.fromkeys(("SHORTEST", "SLICE", "LISTED", "CHOICES"), "scaling.tiles"), "PART": "scaling.pooled"},
    "objectives.triplet": {"TRIPLETS_AT_ONCE": "kernels.pairwise:AT_ONCE", "batch_hard": "negatives"},
}


def home(module: str, name: str) -> tuple[str, str]:
    "Where a name of a module of 0.1 is now: module and name."
    table = MOVED.get(module) or LEFT[module]
    place, _, new = str(table.get(name) or table["*"]).partition(":")
    return f"contrastive_nb.{place}", new or name


def _lead(old: str, name: str):
    "The value of a moved name, with a warning at the line that asked for it. Raises `AttributeError` for what never was."
    missing = AttributeError(f"module {old!r} has no attribute {name!r}")
    if name.startswith("__"):
        raise missing
    try:
        module, new = home(old.partition(".")[2], name)
        value = getattr(importlib.import_module(module), new)
    except (AttributeError, KeyError):
        raise missing from None
    warnings.warn(f"{old}.{name} is now {module}.{new}", DeprecationWarning, stacklevel=3)
    return value


class _Old(types.ModuleType):
    "A module of 0.1: it holds nothing, and leads every name to its new place."

    def __getattr__(self, name: str):
        return _lead(self.__name__, name)


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, fullname, path=None, target=None):
        package, _, name = fullname.partition(".")
        if package != "contrastive_nb" or name not in MOVED | LEFT:
            return None
        if name in MOVED:
            return importlib.machinery.ModuleSpec(fullname, self)
        spec = importlib.machinery.PathFinder.find_spec(fullname, path)
        run = spec.loader.exec_module

        def exec_module(module):
            run(module)
            module.__getattr__ = lambda name: _lead(fullname, name)

        spec.loader.exec_module = exec_module
        return spec

    def create_module(self, spec):
        return _Old(spec.name, f"Moved: see `contrastive_nb._moved`; {MOVED[spec.name.partition('.')[2]]['*']} has most of it.")

    def exec_module(self, module):
        pass


def install() -> None:
    "Let the modules of 0.1, and the names that left a module, be found."
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
