"""`Hyperparameters`: what the training loop needs to know of how to train."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

import torch
from torch import nn
from torch.nn import functional as F

from shattering.errors import InputError, a_type, reason
from shattering.learners.train.autocast import Autocast, Precision
from shattering.learners.train.optimizers import OptimizerName, make_optimizer
from shattering.learners.train.outputs import Call, Forward, Outputs

_PAPER_EPOCH = 391  # updates: 50,000 images in batches of 128


@dataclass(frozen=True)
class Hyperparameters:
    """The parameters of a model that the training loop needs. `NetworkClassifier` documents their meaning.

    Args:
        learning_rate: rate of the first update.
        decay_steps: updates between two decays of the learning rate; None: it decays after every epoch.
        order_seed: seed of the batch order, of dropout and of augmentation.
        autocast: makes the context in which the network computes its outputs.
        outputs: what the network has to return.
        call: calls the network.
        loss: (logits as the network gives them, targets) → the mean loss, or the loss (b,) of each example; None: the cross-entropy.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    momentum: float
    decay: float
    decay_steps: int | None
    weight_decay: float
    label_smoothing: float
    auxiliary: float
    order_seed: int
    stop_when_fitted: bool
    stop_at_loss: float | None
    evaluate_train: bool
    autocast: Autocast
    checkpoint_every: float
    accumulate: int
    outputs: Outputs = field(default_factory=Outputs)
    call: Call = field(default_factory=Call)
    optimizer_name: OptimizerName | Callable = "sgd"
    loss: Callable | None = None

    def in_precision(self, precision: Precision) -> "Hyperparameters":
        """Return the same with another precision."""
        return replace(self, autocast=replace(self.autocast, precision=precision))

    def learning_rate_at(self, epoch: int, step: int) -> float:
        """Return the rate of the update that follows `step` updates and `epoch` whole epochs."""
        return self.learning_rate * self.decay ** (step // self.decay_steps if self.decay_steps else epoch)

    def optimizer(self, network: nn.Module) -> torch.optim.Optimizer:
        """Make the optimizer of a network's parameters."""
        return make_optimizer(self.optimizer_name, network, self.learning_rate, self.momentum, self.weight_decay)

    @property
    def forward(self) -> Forward:
        """The function that computes a network's logits."""
        return Forward(self.autocast, self.outputs, self.call)

    def losses(self, output: Any, labels: torch.Tensor, reduction: str = "mean") -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Compute the losses of a batch from what the network's forward returned.

        Returns:
            The logits, their cross-entropy (for a regression numbers, and their squared error), and the objective: the loss of the user's,
            or the cross-entropy with label smoothing, plus the auxiliary classifier's.
        """
        own = self.outputs.own(output, len(labels))
        logits = self.outputs.logits(own)
        loss = objective = self.outputs.loss(logits, labels, reduction)
        if self.loss is not None:
            return logits, loss, self._objective(self.loss, own, labels, reduction)
        smoothed = partial(F.cross_entropy, target=labels, reduction=reduction, label_smoothing=self.label_smoothing)
        if self.label_smoothing:
            objective = smoothed(logits)
        if self.auxiliary:
            auxiliary = output[1] if isinstance(output, tuple) and len(output) > 1 else None
            if auxiliary is None:
                raise InputError(f"auxiliary is {self.auxiliary}, but the network gives no auxiliary logits, expected a pair of logits")
            objective = objective + self.auxiliary * smoothed(auxiliary)
        return logits, loss, objective

    def look_at_loss(self, own: torch.Tensor, labels: torch.Tensor) -> None:
        """Call a loss of the user's before any training. own: what the network gives for examples with these labels (b,).

        Raises InputError for a loss that cannot be computed or minimized, for one that takes a single logit for a probability, and for one
        that does not part two classes at a logit of 0.
        """
        if self.loss is None:
            return
        n = len(labels)
        rows = next(m for m in range(n, n + 3) if m not in (1, *own.shape[1:]))  # of as many labels as outputs, or one, any loss broadcasts
        places = torch.arange(rows, device=labels.device) % n
        own, labels = own[places], labels[places]
        own, name, targets = (
            own.detach().requires_grad_(),
            getattr(self.loss, "__name__", type(self.loss).__name__),
            self.outputs.targets(own, labels),
        )
        kind = str(targets.dtype).removeprefix("torch.")
        given = f"outputs of shape {tuple(own.shape)} and labels of shape {tuple(targets.shape)} and type {kind}"
        try:
            objective = self._objective(self.loss, own, labels, "mean")
        except InputError:
            raise
        except Exception as error:  # whatever a user's loss raises
            such_as = self._usual_loss(own)
            raise InputError(f"loss {name} raised {reason(error)!r} for {given}, expected a loss of these, such as {such_as}") from error
        if not bool(torch.isfinite(objective)):
            raise InputError(f"loss returned {objective.item()} for the first {n} examples before any training, expected a finite number")
        if not objective.requires_grad:
            raise InputError(f"loss {name} returned a number without gradient, expected one that is computed from the outputs by torch")
        if self.outputs.is_one(tuple(own.shape)) and not self._takes(own.detach() * 0 - 1, labels):
            raise InputError(
                f"loss {name} takes the network's one output for a probability, expected one of logits, such as nn.BCEWithLogitsLoss(), "
                "and a network without a sigmoid at its end: a logit above 0 stands for the second class"
            )
        if self.outputs.is_one(tuple(own.shape)) and not self._parts_at_zero(own):
            raise InputError(
                f"loss {name} does not draw an output of 0 up for the label 1 and down for 0, and a logit above 0 stands for the second "
                f"class; expected a loss of logits, such as {self._usual_loss(own)}, or a network with two outputs"
            )
        if not any(self._slopes(own + shift, labels).any() for shift in (0.0, 3.0, -3.0)):
            raise InputError(
                f"loss {name} does not depend on the network's outputs of shape {tuple(own.shape)}, expected one such as "
                f"{self._usual_loss(own)}"
            )

    def _usual_loss(self, own: torch.Tensor) -> str:
        if own.ndim == 2 and own.shape[1] > 1:
            return "nn.CrossEntropyLoss()"
        return "nn.BCEWithLogitsLoss()" if self.outputs.is_one(tuple(own.shape)) else "nn.MSELoss()"

    def _parts_at_zero(self, own: torch.Tensor) -> bool:
        """Return whether the user's loss draws a single logit of 0 to the side of its label, or else logits near 0 on the wrong side."""
        labels = torch.arange(len(own), device=own.device) % 2
        sides = (2 * labels - 1).reshape(-1, *[1] * (own.ndim - 1)).to(own.dtype)
        at_zero, wrong = (-sides * self._slopes(sides * place, labels) for place in (0.0, -1e-3))
        return bool((at_zero > 0).all()) or (not at_zero.any() and bool((wrong > 0).all()))

    def _slopes(self, own: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the derivative of the user's loss by each output."""
        outputs = own.detach().clone().requires_grad_()
        objective = self._objective(self.loss, outputs, labels, "mean")  # type: ignore[arg-type]  # it is there
        (slopes,) = torch.autograd.grad(objective, outputs, allow_unused=True)
        return torch.zeros_like(outputs) if slopes is None else slopes

    def _takes(self, own: torch.Tensor, labels: torch.Tensor) -> bool:
        """Return whether the user's loss is a finite number for these outputs."""
        try:
            return bool(torch.isfinite(self._objective(self.loss, own, labels, "mean")))  # type: ignore[arg-type]  # it is there
        except Exception:  # whatever it raises, as binary_cross_entropy does of what is no probability
            return False

    def _objective(self, loss: Callable, own: torch.Tensor, labels: torch.Tensor, reduction: str) -> torch.Tensor:
        """Return the mean or the sum of the user's loss over a batch."""
        value, n = loss(own, self.outputs.targets(own, labels)), len(labels)
        if isinstance(value, torch.Tensor) and value.shape == own.shape == (n, 1):
            value = value[:, 0]  # of one output, which the targets have the shape of
        if not isinstance(value, torch.Tensor) or value.shape not in ((), (n,)):
            found = f"shape {tuple(value.shape)}" if isinstance(value, torch.Tensor) else a_type(value)
            raise InputError(f"loss returned {found} for {n} examples, expected one number, or one for each example: ({n},)")
        if value.ndim:
            return value.mean() if reduction == "mean" else value.sum()
        if reduction == "sum":
            raise InputError(
                "loss returned one number where batches are passed through the network in parts (accumulate, or several processes), "
                "expected one for each example, as of reduction='none'"
            )
        return value


def resolve_decay_steps(decay_steps: int | Literal["auto"] | None, batch_size: int, n: int) -> int | None:
    """Return the updates between two decays for n training examples; None: an epoch.

    "auto" means an epoch, but at least the 391 updates of the papers' epoch.
    """
    if decay_steps == "auto":
        return None if n > (_PAPER_EPOCH - 1) * batch_size else _PAPER_EPOCH
    return decay_steps
