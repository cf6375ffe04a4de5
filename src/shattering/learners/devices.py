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
    """Return the device of a name; "auto" is CUDA, else MPS, else the CPU. Raises InputError for a device that is not there."""
    if device == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        return torch.device(name)
    try:
        resolved = torch.device(device)
        torch.empty(0, device=resolved)
        return resolved
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InputError(f"device {str(device)!r} is not available: {reason(error).partition('. ')[0]}") from None
