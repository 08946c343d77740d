"""The laboratory: runs notebooks, judges claims, keeps records. Plain package; what it gathers is loaded when it is first used."""

import importlib

_HOMES = {
    "Claim": "claims",
    "compare": "comparing",
    "judge": "claims",
    "load": "claims",
    "record": "claims",
    "bench": "benches",
    "open_run": "runs",
}
__all__ = ["Claim", "bench", "compare", "judge", "load", "open_run", "record"]


def __getattr__(name: str):
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
