"""Our objectives inside other libraries: as modules, as their losses, and as an estimator. Written by hand: it only gathers names.

Each library is imported when its adapter is first asked for; the package itself needs torch alone.
"""

import importlib

__all__ = ["ContrastiveEncoder", "LightlyLoss", "Loss", "MetricLearningLoss", "SentenceTransformerLoss"]

_HOMES = {  # name -> its module, and what to install for it
    "ContrastiveEncoder": ("scikit_learn", "scikit-learn"),
    "LightlyLoss": ("lightly", "torch"),
    "Loss": ("loss", "torch"),
    "MetricLearningLoss": ("pytorch_metric_learning", "pytorch-metric-learning"),
    "SentenceTransformerLoss": ("sentence_transformers", '"sentence-transformers>=6.2"'),
}


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home, package = _HOMES[name]
    try:
        return getattr(importlib.import_module(f"{__name__}.{home}"), name)
    except ModuleNotFoundError as error:
        raise ImportError(f"{name} needs a library that is not here ({error}): pip install {package}") from error


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
