"""A network in evaluation mode: its logits, its predictions, its loss and accuracy."""

from collections.abc import Callable
from contextlib import AbstractContextManager

import torch
from torch import nn
from torch.nn import functional as F

from shattering.learners.scores import top5_accuracy, top5_hits
from shattering.learners.train.batches import Examples
from shattering.learners.train.ranks import Ranks

_STREAMED = 256  # examples evaluated at a time where the logits of all are not kept

Autocast = Callable[[], AbstractContextManager]


@torch.no_grad()
def compute_logits(network: nn.Module, data: Examples, autocast: Autocast) -> torch.Tensor:
    """Return the logits (n, classes) in float32, on the device."""
    network.eval()
    block = 256 if data.labels.device.type == "cpu" else 4096
    with autocast():
        return torch.cat([network(images).float() for images in data.in_order(0, len(data.labels), block)])


@torch.no_grad()
def predict(network: nn.Module, data: Examples, autocast: Autocast) -> torch.Tensor:
    """Return the most probable class (n,) of each example, on the CPU. Logits are not kept of images on disk."""
    if data.in_memory:
        return compute_logits(network, data, autocast).cpu().argmax(1)
    network.eval()
    with autocast():
        return torch.cat([network(images).argmax(1).cpu() for images in data.in_order(0, len(data.labels), _STREAMED)])


@torch.no_grad()
def evaluate(
    network: nn.Module,
    data: Examples,
    autocast: Autocast,
    ranks: Ranks | None = None,
    predictions: torch.Tensor | None = None,
) -> dict[str, float]:
    """Evaluate the network on labelled examples.

    Args:
        network: it is put into evaluation mode.
        data: the examples.
        autocast: makes the context in which the network computes.
        ranks: the processes that share the work.
        predictions: (n,) int64 zeros on the device, which the predicted classes replace.

    Returns:
        loss: mean cross-entropy in nats; accuracy in 0…1; top5_accuracy in 0…1 if there are more than five classes.
    """
    ranks, n = ranks or Ranks(), len(data.labels)
    if data.in_memory and ranks.world == 1 and predictions is None:
        logits = compute_logits(network, data, autocast)
        loss = F.cross_entropy(logits, data.labels).item()
        accuracy = (logits.argmax(1) == data.labels).sum().item() / n
        return {"loss": loss, "accuracy": accuracy, **top5_accuracy(logits, data.labels)}
    network.eval()
    start, last = ranks.bounds(n)
    sums = torch.zeros(4, dtype=torch.float64, device=data.labels.device if data.labels.device.type != "mps" else "cpu")
    predicted = torch.zeros_like(data.labels) if predictions is None else predictions
    with autocast():
        for images in data.in_order(start, last, _STREAMED):
            logits, rows = network(images).float(), slice(start, start + len(images))
            labels, predicted[rows] = data.labels[rows], logits.argmax(1)
            losses, right = F.cross_entropy(logits, labels, reduction="sum"), (predicted[rows] == labels).sum()
            sums += torch.stack([losses, right, *top5_hits(logits, labels)]).to(sums)
            start += len(images)
    ranks.total(sums, *([] if predictions is None else [predictions]))
    loss, right, hits, counted = sums.tolist()
    return {"loss": loss / n, "accuracy": right / n} | ({"top5_accuracy": hits / n} if counted else {})
