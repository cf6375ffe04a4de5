"""The precision in which a network computes: float32, or bfloat16 by torch's autocast."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Literal

import torch

Chosen = Literal["float32", "bfloat16"]
Precision = Literal["float32", "bfloat16", "auto"]


@dataclass(frozen=True)
class Autocast:
    """Makes the context in which a network computes its outputs.

    Args:
        device: type of the device, such as "cpu".
        precision: "auto", before the choice is made, computes in float32.
    """

    device: str
    precision: Precision

    def __call__(self) -> AbstractContextManager:
        """Return a new context."""
        return torch.autocast(self.device, torch.bfloat16) if self.precision == "bfloat16" else nullcontext()
