"""lightly's losses without torchvision, which its package files import and these losses do not use. Plain module: a peer for tests and benchmark.

Stand-ins for the packages and for `torchvision.ops.StochasticDepth` lie in `sys.modules` while it loads and are taken out again.
"""

import contextlib
import importlib
import importlib.util
import pathlib
import sys
import types


def _package(name: str, folder: pathlib.Path) -> types.ModuleType:
    "An empty package whose modules are found in the folder, whose own __init__ is not run."
    module = types.ModuleType(name)
    module.__path__ = [str(folder)]
    return module


def _stand_ins() -> dict[str, types.ModuleType]:
    root = pathlib.Path(importlib.util.find_spec("lightly").submodule_search_locations[0])
    parts = ("loss", "models", "models.modules")
    packages = {f"lightly.{part}": _package(f"lightly.{part}", root / part.replace(".", "/")) for part in parts}
    vision, ops = types.ModuleType("torchvision"), types.ModuleType("torchvision.ops")
    vision.ops, ops.StochasticDepth = ops, object
    return packages | {"torchvision": vision, "torchvision.ops": ops}


@contextlib.contextmanager
def _standing_in():
    import lightly  # noqa: F401  (the top package itself loads without torchvision and stays)

    before = {name: module for name, module in sys.modules.items() if name.split(".")[0] in ("lightly", "torchvision")}
    sys.modules.update(_stand_ins())
    try:
        yield
    finally:
        for name in [name for name in sys.modules if name.split(".")[0] in ("lightly", "torchvision")]:
            del sys.modules[name]
        sys.modules.update(before)


def load(module: str = "lightly.loss.ntx_ent_loss", name: str = "NTXentLoss"):
    "The class; nothing is left in `sys.modules` that was not there before."
    with _standing_in():
        return getattr(importlib.import_module(module), name)
