"""The first call of a network's forward, whose errors are told in a sentence, and lazy layers, which get their sizes from it."""

import re
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from shattering.errors import InputError, reason

_OF_TYPES = re.compile(r"dtype|scalar type|Input type|expected m1 and m2|indices to be|got: .*Tensor instead")
_OF_RANGE = re.compile(r"out of range|not in the valid range")  # as nn.Embedding and nn.EmbeddingBag say of a token
_OF_DEVICES = re.compile(r"same device|torch\.cuda\.|device type|is on cpu")
_OF_ARGUMENTS = re.compile(r"forward\(\) (missing|takes|got)")


def first_forward(module: nn.Module, inputs: torch.Tensor, name: str, call: Callable | None = None) -> Any:
    """Return what a network's forward returns for a batch of inputs (b, …).

    name: what messages call the network. call: a function of the inputs that calls it, such as with a mask; None: it is
    called with the inputs alone. Raises InputError for inputs of another shape or type than it expects.
    """
    shape, kind = tuple(inputs.shape), str(inputs.dtype).removeprefix("torch.")
    try:
        return (call or module)(inputs)
    except (RuntimeError, IndexError) as error:
        if not inputs.is_floating_point() and _OF_RANGE.search(str(error)):
            told = f"forward of {name} raised {reason(error)!r} for tokens up to {int(inputs.max())}"
            raise InputError(f"{told}, expected an embedding of at least {int(inputs.max()) + 1}") from error
        if isinstance(error, IndexError):
            raise
        if inputs.device.type != "cpu" and _OF_DEVICES.search(str(error)):
            raise InputError(
                f"forward of {name} raised {reason(error)!r}, expected tensors that are on {inputs.device} as its inputs are: layers in an "
                "nn.ModuleList, kept tensors by register_buffer, others made with device=inputs.device; device='cpu' trains it as it is"
            ) from error
        told = f"forward of {name} raised {reason(error)!r} for a batch of shape {shape} and type {kind}"
        if not _OF_TYPES.search(str(error)):
            is_series = "conv1d" in str(error) and len(shape) == 4 and shape[1] == 1
            hint = '; kind="sequence" hands (n, channels, length) on as they are' if is_series else ""
            raise InputError(f"{told}, expected a network for inputs of shape {shape[1:]}{hint}") from error
        types = {str(p.dtype).removeprefix("torch.") for p in module.parameters() if p.is_floating_point()} - {kind}
        remedy = "with parameters of that type (.float() makes them float32)" if types and inputs.is_floating_point() else "for that type"
        hint = '; kind="tokens" hands whole numbers on as they are' if "embedding" in str(error) and inputs.is_floating_point() else ""
        raise InputError(f"{told}, expected a network {remedy}{hint}") from error
    except TypeError as error:
        if not _OF_ARGUMENTS.search(str(error)):
            raise
        raise InputError(f"forward of {name} raised {reason(error)!r}, expected one that takes a batch of inputs alone") from error


def lazy_names(module: nn.Module) -> list[str]:
    """Return the names of the parameters and buffers of lazy layers, which have no size yet."""
    tensors = [*module.named_parameters(), *module.named_buffers()]
    return [name for name, tensor in tensors if torch.nn.parameter.is_lazy(tensor)]


def give_sizes(module: nn.Module, example: torch.Tensor, name: str) -> None:
    """Let lazy layers take their sizes from an example (1, …), and draw their weights from torch's global generator.

    name: what messages call the network. Raises InputError for a lazy layer that forward does not use.
    """
    if not lazy_names(module):
        return
    with torch.no_grad():
        first_forward(module.eval(), example, name)
    module.train()
    if left := lazy_names(module):
        raise InputError(f"{left[0]} of {name} is of a lazy layer that forward did not use, expected all layers to have sizes after it")
