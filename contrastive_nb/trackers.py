"""Trackers: where the curves of a training go, beside the notebook. Plain module: machinery of `training`."""

import contextlib
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


@contextlib.contextmanager
def tracking(tracker, path: Path | None, settings: dict) -> Iterator[Callable | None]:
    "log(values, step) of a name, of something with such a method, or of a function. What was opened by its name is closed."
    if not isinstance(tracker, str):
        yield getattr(tracker, "log", tracker)
        return
    opened = open_tracker(tracker, path)
    try:
        opened.store_init_configuration(settings)
        yield opened.log
    finally:
        opened.finish()
