"""`Outputs`: what a network's forward returns → logits (n, classes), checked."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from shattering.errors import InputError
from shattering.networks.forward import first_forward

Autocast = Callable[[], AbstractContextManager]


def taken(output: Any) -> tuple[Any, str]:
    """Return the part of a forward's output that is used, and what it is, in words.

    That is the output itself, its `.logits`, its key "logits" or its first item, if that is a tensor. The words are empty for
    the output itself.

    Example:
        >>> taken({"logits": torch.zeros(2, 3)})[1]
        "the key 'logits' of the dict"
    """
    if isinstance(output, torch.Tensor):
        return output, ""
    kind = type(output).__name__
    if isinstance(logits := getattr(output, "logits", None), torch.Tensor):
        return logits, f".logits of the {kind}"
    if isinstance(output, Mapping) and isinstance(logits := output.get("logits"), torch.Tensor):
        return logits, f"the key 'logits' of the {kind}"
    if isinstance(output, (tuple, list)) and output and isinstance(output[0], torch.Tensor):
        return output[0], f"the first of the {kind} of {len(output)}"
    return output, ""


@dataclass(frozen=True)
class Outputs:
    """The outputs that a network has to have.

    One logit z for two classes stands for the logits (0, z), whose cross-entropy is the binary cross-entropy of z.

    Args:
        n_classes: logits of an example; 0: any number.
        name: what messages call the network.
    """

    n_classes: int = 0
    name: str = "the network"

    def own(self, output: Any, n: int) -> torch.Tensor:
        """Return the logits as the network gives them: (n, n_classes), or (n, 1) or (n,) for two classes.

        Raises InputError, for a batch of n examples, for any other output.
        """
        logits, _ = taken(output)
        wanted = f"({n}, {self.n_classes or 'classes'})"
        if not isinstance(logits, torch.Tensor):
            raise InputError(
                f"forward of {self.name} returned {_described(output)}, expected a tensor {wanted}, or one as its .logits, under its key "
                "'logits' or as its first item"
            )
        shape = tuple(logits.shape)
        if not logits.is_floating_point():
            raise InputError(f"forward of {self.name} returned a tensor of type {_type(logits)}, expected floating-point logits {wanted}")
        if not shape or shape[0] != n:
            raise InputError(
                f"forward of {self.name} returned shape {shape} for {n} examples, expected {wanted}: one row for each (flatten(1) and "
                "reshape(len(x), -1) keep the rows)"
            )
        if self._is_one(shape) or (len(shape) == 2 and self.n_classes in (0, shape[1])):
            return logits
        remedy = f"a last layer with {self.n_classes} outputs" if len(shape) == 2 else "a flatten(1) or a mean over the other dimensions"
        raise InputError(f"forward of {self.name} returned shape {shape}, expected {wanted}: {remedy}")

    def logits(self, own: torch.Tensor) -> torch.Tensor:
        """Return logits (n, n_classes) of what `own` returned."""
        if not self._is_one(tuple(own.shape)):
            return own
        one = own.reshape(-1, 1)
        return torch.cat([torch.zeros_like(one), one], 1)

    def targets(self, own: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return labels (n,) as a loss takes them beside what `own` returned: as they are, or as 0. and 1. in the shape of one logit."""
        return labels.to(own.dtype).view_as(own) if self._is_one(tuple(own.shape)) else labels

    def _is_one(self, shape: tuple[int, ...]) -> bool:
        return self.n_classes == 2 and shape[1:] in ((), (1,))


@dataclass(frozen=True)
class Forward:
    """Computes a network's logits.

    Args:
        autocast: makes the context in which the network computes.
        outputs: what it has to return.
    """

    autocast: Autocast
    outputs: Outputs

    def __call__(self, network: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
        """Return logits (b, classes) in float32 for inputs (b, …)."""
        with self.autocast():
            output = network(inputs)
        return self.outputs.logits(self.outputs.own(output, len(inputs))).float()

    def look(self, network: nn.Module, inputs: torch.Tensor) -> tuple[torch.Tensor, str]:
        """Look at the outputs for a first batch (b, …), before any training. The network and torch's generators are left as they were.

        Returns:
            The logits as the network gives them, in evaluation mode, and a sentence on what was taken of its output, or none.

        Raises:
            InputError: for inputs that the network does not take, and outputs that cannot be trained.
        """
        name, n = self.outputs.name, len(inputs)
        mode, before = network.training, {key: buffer.clone() for key, buffer in network.named_buffers()}
        with torch.random.fork_rng(devices=[inputs.device] if inputs.device.type == "cuda" else []), self.autocast():
            output = first_forward(network.eval(), inputs, name)
        network.train(mode)
        with torch.no_grad():
            for key, buffer in network.named_buffers():
                if key in before:
                    buffer.copy_(before[key])
        own, what = self.outputs.own(output, n), taken(output)[1]
        if not own.requires_grad:
            raise InputError(
                f"forward of {name} returned a tensor that no parameter can be trained through, expected one that is not detached"
            )
        own = own.detach()
        if bad := int(own.reshape(n, -1).isnan().any(1).sum()):
            raise InputError(f"forward of {name} returned NaN for {bad} of {n} examples before any training, expected numbers")
        return own, f"The forward of {name} returned more than a tensor: {what} was used." if what else ""


def _described(output: Any) -> str:
    kind = type(output).__name__
    if output is None:
        return "None (has it a return?)"
    if isinstance(output, Mapping):
        return f"a {kind} with the keys {', '.join(map(repr, list(output)[:8]))}"
    return f"{'an' if kind[0] in 'aeiouAEIOU' else 'a'} {kind}"


def _type(tensor: torch.Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
