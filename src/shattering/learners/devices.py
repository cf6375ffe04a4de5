"""Devices of torch by name."""

from typing import Annotated

import torch

from shattering.errors import InputError, reason
from shattering.parameters import Limit


class _Name(Limit):
    """Names of devices, which need not exist on this machine: runs of one machine are read on another."""

    def __contains__(self, value: object) -> bool:
        try:
            return value == "auto" or bool(torch.device(value))  # type: ignore[call-overload]  # any object may be asked for
        except RuntimeError:
            return False

    def __str__(self) -> str:
        return "such as 'cpu' or 'cuda:0', or 'auto'"


Device = Annotated[str | torch.device, "a device of torch", _Name()]


def resolve_device(device: str | torch.device) -> torch.device:
    """Return the device of a name; "auto" is CUDA, else MPS, else the CPU. Raises InputError for a device that cannot be used."""
    check_default_device()
    there = ["cuda"] if torch.cuda.is_available() else []
    there += ["mps"] if torch.backends.mps.is_available() else []
    try:
        resolved = torch.device([*there, "cpu"][0] if device == "auto" else device)
        torch.ones(1, device=resolved).add_(1)  # a GPU may be full, or too old for this torch
        return resolved
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        name, why = str(device), reason(error).partition(". ")[0]
        others = [other for other in ("cpu", *there) if name != "auto" or other not in there[:1]]
        raise InputError(f"device {name!r} is not available: {why}; expected {' or '.join(map(repr, others))}") from None


def check_default_device() -> None:
    """Raise InputError where torch makes tensors elsewhere than on the CPU, from where this library takes them to the network's device."""
    if (default := torch.get_default_device()).type != "cpu":
        remedy = "torch.set_default_device('cpu') sets it, and device='auto' trains on a GPU all the same"
        raise InputError(f"torch's default device is {str(default)!r}, expected 'cpu': {remedy}")


def device_or_auto(device: str | torch.device) -> str | torch.device:
    """Return a device that can be used, or "auto" in the place of one that cannot: a run of another machine may name it."""
    try:
        resolve_device(device)
    except InputError:
        return "auto"
    return device
