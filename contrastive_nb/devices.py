"""Where tensors live: the device that a name means on this machine. Plain module."""


def is_device(value) -> bool:
    "Whether a value is a device's name, be the device here or not."
    name, _, index = value.partition(":") if isinstance(value, str) else ("", "", "")
    return value in ("auto", "cpu", "mps", "cuda") or (name == "cuda" and index.isdigit())


def pick_device(device: str) -> str:
    """ "auto" becomes the accelerator that torch sees, else the CPU; any other name must exist here.

    Raises `ValueError` for an unknown name, `RuntimeError` where a GPU is asked for and there is none.
    """
    if not is_device(device):
        raise ValueError(f"device: got {device!r}, want auto, cpu, cuda, cuda:N or mps")
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
