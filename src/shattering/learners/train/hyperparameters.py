"""`Hyperparameters`: what the training loop needs to know of how to train."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import nn
from torch.nn import functional as F

from shattering.errors import InputError

_PAPER_EPOCH = 391  # updates: 50,000 images in batches of 128


@dataclass(frozen=True)
class Hyperparameters:
    """What the loop needs of a model's parameters. `NetworkClassifier` documents their meaning.

    Args:
        learning_rate: rate of the first update.
        decay_steps: updates between two decays of the learning rate; None: it decays after every epoch.
        order_seed: seed of the batch order, of dropout and of augmentation.
        autocast: makes the context in which the network computes its outputs.
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
    autocast: Callable[[], AbstractContextManager]
    checkpoint_every: float
    accumulate: int

    def learning_rate_at(self, epoch: int, step: int) -> float:
        """Return the rate of the update that follows `step` updates and `epoch` whole epochs."""
        return self.learning_rate * self.decay ** (step // self.decay_steps if self.decay_steps else epoch)

    def optimizer(self, parameters: Iterable[nn.Parameter]) -> torch.optim.SGD:
        return torch.optim.SGD(parameters, lr=self.learning_rate, momentum=self.momentum, weight_decay=self.weight_decay, fused=True)

    def losses(
        self, output: torch.Tensor | tuple[torch.Tensor, torch.Tensor], labels: torch.Tensor, reduction: str = "mean"
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Compute the losses of a batch from the network's output.

        Returns:
            The logits, their cross-entropy, and the objective: the cross-entropy with label smoothing, plus the auxiliary classifier's.
        """
        logits, auxiliary = output if isinstance(output, tuple) else (output, None)
        cross_entropy = partial(F.cross_entropy, target=labels, reduction=reduction)
        loss = objective = cross_entropy(logits)
        if self.label_smoothing:
            objective = cross_entropy(logits, label_smoothing=self.label_smoothing)
        if self.auxiliary:
            if auxiliary is None:
                raise InputError(f"auxiliary is {self.auxiliary}, but the network gives no auxiliary logits, expected a pair of logits")
            objective = objective + self.auxiliary * cross_entropy(auxiliary, label_smoothing=self.label_smoothing)
        return logits, loss, objective


def resolve_decay_steps(decay_steps: int | Literal["auto"] | None, batch_size: int, n: int) -> int | None:
    """Return the updates between two decays for n training examples; None: an epoch.

    "auto" means an epoch, but at least the 391 updates of the papers' epoch.
    """
    if decay_steps == "auto":
        return None if n > (_PAPER_EPOCH - 1) * batch_size else _PAPER_EPOCH
    return decay_steps
