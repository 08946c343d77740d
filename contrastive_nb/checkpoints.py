"""Checkpoints: a file that says when it was damaged, and what a module remembers. Plain module: machinery of `training`."""

import copy
import errno
import hashlib
import io
import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from contrastive_nb import files

_MARK = b"\nsha256 "  # behind what torch.save wrote, then the digest and a newline; torch.load passes over it
_TAIL = len(_MARK) + 65


def as_path(checkpoint) -> Path | None:
    "The path that a caller gave, or None. Raises `TypeError` for what is no path."
    if not isinstance(checkpoint, (str, os.PathLike, type(None))):
        raise TypeError(f"checkpoint: got {type(checkpoint).__name__}, want the path of a file, or None")
    return None if checkpoint is None else Path(checkpoint)


def try_place(path: Path) -> None:
    "Raise `ValueError` unless a checkpoint can be written here; what killed trainings left unfinished beside it is removed."
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        for part in files.parts_of(path):
            part.unlink(missing_ok=True)
        trial = files.part_of(path)
        trial.write_bytes(_MARK)
        trial.unlink()
    except OSError as error:
        raise ValueError(f"checkpoint: {path} cannot be written ({error.strerror or error})") from error


def write(path: Path, value) -> None:
    "Write what `torch.save` takes, with its checksum, whole or not at all. Raises `OSError` naming the file, as on a full disk."
    buffer = io.BytesIO()
    torch.save(value, buffer)
    digest = hashlib.sha256(buffer.getbuffer()).hexdigest()
    buffer.write(_MARK + digest.encode("ascii") + b"\n")
    try:
        files.write_whole(path, buffer.getbuffer())
    except OSError as error:
        raise OSError(f"checkpoint: {path} cannot be written ({error.strerror or error}); what it held before stands") from error


def read(path: Path) -> Any:
    "What `write` wrote, on the CPU, or None where there is no file. Raises `ValueError` for a file that is damaged, or none of ours."
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ValueError(f"checkpoint: {path} cannot be read ({error.strerror or error})") from error
    whole, tail = content[:-_TAIL], content[-_TAIL:]
    if not tail.startswith(_MARK):
        raise ValueError(f"checkpoint: {path} is not one of fit's, or its end is missing; move it away to start anew")
    if tail[len(_MARK) : -1] != hashlib.sha256(whole).hexdigest().encode("ascii"):
        raise ValueError(f"checkpoint: {path} was damaged, its checksum is another one; move it away to start anew")
    try:
        return torch.load(io.BytesIO(whole), map_location="cpu", weights_only=True)
    except Exception as error:
        raise ValueError(f"checkpoint: {path} holds what is not taken in again ({type(error).__name__}: {_first(error)})") from error


def differences(
    found: dict,  # the settings that a checkpoint was made with
    wanted: dict,  # the settings of this call
) -> list[str]:
    "One sentence for each setting in which a checkpoint differs; the entries of a dictionary are compared one by one."
    lines = []
    for key in dict.fromkeys([*wanted, *found]):
        here, there = wanted.get(key), found.get(key)
        if isinstance(here, dict) and isinstance(there, dict):
            lines += [f"{key} of {line}" for line in differences(there, here)]
        elif here != there:
            lines.append(f"{key}: the checkpoint has {there!r}, this call {here!r}")
    return lines


def _first(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:200]


def check_extras(module: nn.Module) -> None:
    "Raise `TypeError` where a module's `get_extra_state` gives what no checkpoint takes in again: tensors, numbers, text, lists, dicts."
    for name, value in module.state_dict().items():
        if isinstance(value, Tensor):
            continue
        buffer = io.BytesIO()
        try:
            torch.save(value, buffer)
            buffer.seek(0)
            torch.load(buffer, weights_only=True)
        except Exception as error:
            wanted = "want tensors, numbers, text, lists and dicts"
            raise TypeError(f"checkpoint: {name} is {type(value).__name__}, {wanted} ({_first(error)})") from error


def keep(module: nn.Module) -> list[tuple]:
    "All that a module remembers beside its weights: buffers, those without a checkpoint too, and extra state."
    kept = []
    for owner in module.modules():
        buffers = {name: (x, None if x is None else x.clone()) for name, x in owner._buffers.items()}
        has_extra = type(owner).get_extra_state is not nn.Module.get_extra_state
        if buffers or has_extra:
            kept.append((owner, buffers, copy.deepcopy(owner.get_extra_state()) if has_extra else None, has_extra))
    return kept


@torch.no_grad()
def give_back(kept: list[tuple]) -> None:
    "Put everything where `keep` found it: the same tensors, with the same numbers."
    for owner, buffers, extra, has_extra in kept:
        for name, (tensor, numbers) in buffers.items():
            owner._buffers[name] = tensor if numbers is None or tensor.shape == numbers.shape else numbers
            if owner._buffers[name] is tensor and numbers is not None:
                tensor.copy_(numbers)
        if has_extra:
            owner.set_extra_state(extra)


def _size(x) -> Any:
    return tuple(x.shape) if isinstance(x, Tensor) else None if x is None else "no tensor"


def load(module: nn.Module, saved: dict, place: torch.device) -> None:
    "Take a state dict up. A buffer may have another size than at the start; raises `ValueError` before anything changes."
    owners: dict[str, tuple[nn.Module, str]] = {}
    for above, owner in module.named_modules(remove_duplicate=False):
        persistent = [name for name in owner._buffers if name not in owner._non_persistent_buffers_set]
        owners |= {f"{above}.{name}" if above else name: (owner, name) for name in persistent}
    here = module.state_dict()
    for name in dict.fromkeys([*here, *saved]):
        if name not in owners and _size(here.get(name)) != _size(saved.get(name)):
            raise ValueError(f"{name}: there is {_size(saved.get(name))}, want {_size(here.get(name))}")
    for name, (owner, leaf) in owners.items():
        old, new = owner._buffers[leaf], saved.get(name)
        if _size(old) != _size(new):
            owner._buffers[leaf] = None if new is None else new.to(place)
    module.load_state_dict(saved)
