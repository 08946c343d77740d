"""Trackers: where the curves of a training go, beside the notebook, and what a training says to its user. Plain module: machinery of `training`."""

import contextlib
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

from contrastive_nb import files
from contrastive_nb.checks import check_choice


def check_tracker(tracker) -> None:
    "Raise `TypeError` unless this can be told of a step."
    if not (tracker is None or isinstance(tracker, str) or callable(getattr(tracker, "log", tracker))):
        raise TypeError(f"tracker: got {type(tracker).__name__}, want a name of accelerate's, an object with .log, or a function")


def open_tracker(name: str, path: Path | None):
    """One of accelerate's trackers, by its name; what it writes lies in `logs` beside the checkpoint, or in the build folder.

    Raises `ValueError` for an unknown name, `ImportError` where its package is not installed.
    """
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS

    check_choice("tracker", name, tuple(map(str, LOGGER_TYPE_TO_CLASS)))
    kind, called = LOGGER_TYPE_TO_CLASS[name], "training" if path is None else path.stem
    folder = [str((files.build() if path is None else path.parent) / "logs")] if kind.requires_logging_directory else []
    try:
        made = kind(called, *folder)
        getattr(made, "start", lambda: None)()  # older ones start at once
    except ImportError as error:
        raise ImportError(f"tracker: {name!r} is not installed here ({error})") from error
    return made


NO_QUERY = (
    "fit: {name} is exactly 0 in the first step: no query of the batch counts (each needs a positive and a negative: see pairs.positives and "
    "pairs.negatives), or a margin holds for all of them"
)
ONE_ITEM = (
    "sample: gave a batch of one item, and BatchNorm needs two or more in training: drop a last batch that is too small, as "
    "DataLoader(..., drop_last=True) does"
)


def _watching(log: Callable | None) -> Callable:
    "A log that first looks at the loss of each training's first step, a number that is known anyway."
    seen: set[str] = set()

    def watch(values: dict, step: int) -> None:
        for name in values.keys() - seen:
            seen.add(name)
            if name.split("/")[-1] == "loss" and values[name] == 0:
                warnings.warn(NO_QUERY.format(name=name), stacklevel=2)
        if log is not None:
            log(values, step)

    return watch


@contextlib.contextmanager
def _in_our_words() -> Iterator[None]:
    "An error of torch that a batch brought about says what to write instead."
    try:
        yield
    except ValueError as error:
        if "Expected more than 1 value per channel when training" not in str(error):
            raise
        raise ValueError(f"{ONE_ITEM} ({error})") from error


@contextlib.contextmanager
def tracking(tracker, path: Path | None, settings: dict) -> Iterator[Callable]:
    """log(values, step) of a name, of something with such a method, or of a function. What was opened by its name is closed.

    The training inside is watched: a first loss of exactly 0 warns, and a batch of one item under BatchNorm says what drops it.
    """
    with contextlib.ExitStack() as opened:
        if isinstance(tracker, str):
            tracker = open_tracker(tracker, path)
            opened.callback(tracker.finish)
            tracker.store_init_configuration(settings)
        with _in_our_words():
            yield _watching(getattr(tracker, "log", tracker))
