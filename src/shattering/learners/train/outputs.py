"""Check the outputs of a network, take logits (n, classes) or numbers (n,) from them, and measure losses and scores of these."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

import torch
from torch import nn
from torch.nn import functional as F

from shattering.errors import InputError, counted, with_article
from shattering.learners.train.autocast import Autocast
from shattering.networks.forward import first_forward


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
    """The outputs that a network for classes has to have, and what is measured of them.

    One logit z for two classes stands for the logits (0, z), whose cross-entropy is the binary cross-entropy of z.

    Args:
        n_classes: logits of an example; 0: any number.
        name: what messages call the network.
    """

    n_classes: int = 0
    name: str = "the network"

    measure: ClassVar[str] = "accuracy"
    looked_at_from: ClassVar[float] = 0.99  # online accuracy from which a full evaluation decides whether the training set is fitted
    fits_from: ClassVar[float] = 1.0

    def own(self, output: Any, n: int) -> torch.Tensor:
        """Return what the network gives: logits (n, n_classes), or (n, 1) or (n,) for two classes.

        Raises InputError, for a batch of n examples, for any other output.
        """
        found, _ = taken(output)
        wanted = self._wanted(n)
        if not isinstance(found, torch.Tensor):
            raise InputError(
                f"forward of {self.name} returned {_described(output)}, expected a tensor {wanted}, or one as its .logits, under its key "
                "'logits' or as its first item"
            )
        shape = tuple(found.shape)
        if not found.is_floating_point():
            raise InputError(f"forward of {self.name} returned a tensor of type {_type(found)}, expected floating-point numbers {wanted}")
        if not shape or shape[0] != n:
            raise InputError(
                f"forward of {self.name} returned shape {shape} for {n} examples, expected {wanted}: one row for each (flatten(1) and "
                "reshape(len(x), -1) keep the rows)"
            )
        if self._fits(shape):
            return found
        layer = f"a last layer with {counted(self.n_outputs, 'output')}"
        remedy = layer if len(shape) == 2 else "a flatten(1) or a mean over the other dimensions"
        raise InputError(f"forward of {self.name} returned shape {shape}, expected {wanted}: {remedy}")

    @property
    def n_outputs(self) -> int:
        return self.n_classes

    def logits(self, own: torch.Tensor) -> torch.Tensor:
        """Return logits (n, n_classes) of what `own` returned."""
        if not self.is_one(tuple(own.shape)):
            return own
        one = own.reshape(-1, 1)
        return torch.cat([torch.zeros_like(one), one], 1)

    def targets(self, own: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return labels (n,) as a loss takes them beside what `own` returned: as they are, or as 0. and 1. in the shape of one logit."""
        return labels.to(own.dtype).view_as(own) if self.is_one(tuple(own.shape)) else labels

    def loss(self, logits: torch.Tensor, labels: torch.Tensor, reduction: str = "mean") -> torch.Tensor:
        """Return the cross-entropy in nats of logits (n, n_classes) and labels (n,)."""
        return F.cross_entropy(logits, labels, reduction=reduction)

    def predicted(self, logits: torch.Tensor) -> torch.Tensor:
        """Return the most probable class (n,) of each example."""
        return logits.argmax(1)

    def right(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return how many of n examples are classified as labelled."""
        return (logits.argmax(1) == labels).sum()

    def measured(self, loss: float, right: int, labels: torch.Tensor) -> dict[str, float]:
        """Return loss and accuracy of a loss that is summed over examples with labels (n,), of which so many are right."""
        return {"loss": loss / len(labels), "accuracy": right / len(labels)}

    def _wanted(self, n: int) -> str:
        return f"({n}, {self.n_classes or 'classes'})"

    def _fits(self, shape: tuple[int, ...]) -> bool:
        return self.is_one(shape) or (len(shape) == 2 and self.n_classes in (0, shape[1]))

    def is_one(self, shape: tuple[int, ...]) -> bool:
        """Return whether outputs of this shape are one logit of two classes."""
        return self.n_classes == 2 and shape[1:] in ((), (1,))


class NumberOutputs(Outputs):
    """The output that a network for a regression has to have, a number for each example, (n,) or (n, 1), and what is measured of it."""

    measure: ClassVar[str] = "r2"
    looked_at_from: ClassVar[float] = 0.9
    fits_from: ClassVar[float] = 0.99

    @property
    def n_outputs(self) -> int:
        return 1

    def logits(self, own: torch.Tensor) -> torch.Tensor:
        """Return the numbers (n,) of what `own` returned."""
        return own.reshape(-1)

    def targets(self, own: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return targets (n,) in the shape of what `own` returned, as losses take them."""
        return labels.view_as(own)

    def loss(self, logits: torch.Tensor, labels: torch.Tensor, reduction: str = "mean") -> torch.Tensor:
        """Return the squared error of numbers (n,) and targets (n,)."""
        return F.mse_loss(logits, labels, reduction=reduction)

    def predicted(self, logits: torch.Tensor) -> torch.Tensor:
        """Return the numbers (n,) themselves."""
        return logits

    def right(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return 0: of numbers it is not counted how many are right."""
        return torch.zeros((), dtype=torch.int64, device=logits.device)

    def measured(self, loss: float, right: int, labels: torch.Tensor) -> dict[str, float]:
        """Return the mean squared error, and R² = 1 - Σ (y - ŷ)² / Σ (y - mean y)²; as in scikit-learn, constant targets have 1 or 0."""
        exact = labels.cpu().double()  # MPS has no float64
        spread = float((exact - exact.mean()).square().sum())
        return {"loss": loss / len(labels), "r2": 1 - loss / spread if spread else float(loss == 0)}

    def _wanted(self, n: int) -> str:
        return f"({n},) or ({n}, 1)"

    def _fits(self, shape: tuple[int, ...]) -> bool:
        return shape[1:] in ((), (1,))


@dataclass(frozen=True)
class Call:
    """Calls a network's forward with a batch of inputs, and with a mask of tokens if it takes one.

    Args:
        mask: name of the parameter that is given a mask (b, length), True where a token is not the padding; empty: it takes none.
        padding: the token that stands where shorter documents have ended.
    """

    mask: str = ""
    padding: int = 0

    def __call__(self, network: Callable, inputs: torch.Tensor) -> Any:
        return network(inputs, **{self.mask: inputs != self.padding}) if self.mask else network(inputs)


@dataclass(frozen=True)
class Forward:
    """Computes a network's logits.

    Args:
        autocast: makes the context in which the network computes.
        outputs: what it has to return.
        call: calls it.
    """

    autocast: Autocast
    outputs: Outputs
    call: Call = field(default_factory=Call)

    def __call__(self, network: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
        """Return logits (b, classes), or numbers (b,), in float32 for inputs (b, …)."""
        with self.autocast():
            output = self.call(network, inputs)
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
            output = first_forward(network.eval(), inputs, name, partial(self.call, network))
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
        _check_leaves(own, network, name)
        own = own.detach()
        if bad := int((~own.reshape(n, -1).isfinite()).any(1).sum()):
            kind = "NaN" if own.isnan().any() else "infinite numbers"
            raise InputError(f"forward of {name} returned {kind} for {bad} of {n} examples before any training, expected finite numbers")
        return own, f"The forward of {name} returned more than a tensor: {what} was used." if what else ""


@contextmanager
def watched_in_training(network: nn.Module) -> Iterator[list[str]]:
    """Watch a network's training. The list gets what is taken of its first output in training mode, in the words of `taken`."""
    found: list[str] = []

    def watch(module: nn.Module, _: Any, output: Any) -> None:
        if module.training and not found:
            found.append(taken(output)[1])

    handle = network.register_forward_hook(watch)
    try:
        yield found
    finally:
        handle.remove()


def _check_leaves(output: torch.Tensor, network: nn.Module, name: str) -> None:
    """Raise InputError if an output was computed from a tensor that could be trained and is no parameter of the network."""
    parameters = {id(parameter) for parameter in network.parameters()}
    if others := [leaf for leaf in _leaves(output) if id(leaf) not in parameters]:
        shapes = ", ".join(str(tuple(leaf.shape)) for leaf in others[:3])
        raise InputError(
            f"forward of {name} uses {len(others)} tensor{'s' if len(others) > 1 else ''} with requires_grad ({shapes}) that "
            f"{'are no parameters' if len(others) > 1 else 'is no parameter'} of it and would not be trained, expected parameters alone: "
            "of self, not of another network or around a patched forward, with layers as attributes or in an nn.ModuleList"
        )


def _leaves(output: torch.Tensor) -> list[torch.Tensor]:
    """Return the tensors with requires_grad from which an output was computed."""
    if output.grad_fn is None:
        return [output]
    nodes = {output.grad_fn: None}  # in the order in which they are found
    left = [output.grad_fn]
    while left:
        after = [child for child, _ in left.pop().next_functions if child is not None and child not in nodes]
        nodes |= dict.fromkeys(after)
        left += after
    return [getattr(node, "variable") for node in nodes if hasattr(node, "variable")]  # noqa: B009  # the stub lacks it


def _described(output: Any) -> str:
    kind = type(output).__name__
    if output is None:
        return "None (has it a return?)"
    if isinstance(output, Mapping):
        return f"{with_article(kind)} with the keys {', '.join(map(repr, list(output)[:8]))}"
    return f"{'an' if kind[0] in 'aeiouAEIOU' else 'a'} {kind}"


def _type(tensor: torch.Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
