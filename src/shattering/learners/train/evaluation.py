"""A network in evaluation mode: its logits, its predictions, its loss and accuracy."""

import torch
from torch import nn

from shattering.learners.scores import top5_accuracy, top5_hits
from shattering.learners.train.batches import Examples
from shattering.learners.train.outputs import Forward
from shattering.learners.train.ranks import Ranks

_STREAMED = 256  # examples evaluated at a time: on a CPU, from disk, and of large ones
_SMALL = 10_000  # numbers of an example


@torch.no_grad()
def compute_logits(network: nn.Module, data: Examples, forward: Forward) -> torch.Tensor:
    """Return the logits (n, classes), or the numbers (n,) of a regression, in float32, on the device."""
    network.eval()
    return torch.cat([forward(network, inputs) for inputs in data.in_order(0, len(data.labels), _block(data))])


def _block(data: Examples) -> int:
    """Return how many examples to evaluate at a time: many small ones keep a GPU busy, which has no memory for many large ones."""
    if data.labels.device.type == "cpu" or not data.in_memory:
        return _STREAMED
    one = next(data.in_order(0, 1, 1))
    return 1024 if one.is_floating_point() and one.numel() <= _SMALL else _STREAMED


@torch.no_grad()
def predict(network: nn.Module, data: Examples, forward: Forward) -> torch.Tensor:
    """Return the most probable class, or the number of each example (n,), on the CPU. Logits are not kept of images on disk."""
    if data.in_memory:
        return forward.outputs.predicted(compute_logits(network, data, forward).cpu())
    network.eval()
    return torch.cat(
        [forward.outputs.predicted(forward(network, inputs)).cpu() for inputs in data.in_order(0, len(data.labels), _STREAMED)]
    )


@torch.no_grad()
def evaluate(
    network: nn.Module,
    data: Examples,
    forward: Forward,
    ranks: Ranks | None = None,
    predictions: torch.Tensor | None = None,
) -> dict[str, float]:
    """Evaluate the network on labelled examples.

    Args:
        network: it is put into evaluation mode.
        data: the examples.
        forward: computes its logits.
        ranks: the processes that share the work.
        predictions: (n,) zeros of the labels' type on the device, which the predicted classes, or numbers of a regression, replace.

    Returns:
        loss: mean cross-entropy in nats; accuracy in 0…1; top5_accuracy in 0…1 if there are more than five classes. Of a regression, loss
        is the mean squared error, and r2 stands in the place of the accuracies.
    """
    ranks, n, outputs = ranks or Ranks(), len(data.labels), forward.outputs
    if data.in_memory and ranks.world == 1 and predictions is None:
        logits = compute_logits(network, data, forward)
        loss, right = outputs.loss(logits, data.labels).item(), outputs.right(logits, data.labels).item()
        return outputs.measured(loss * n, int(right), data.labels) | {"loss": loss} | top5_accuracy(logits, data.labels)
    network.eval()
    start, last = ranks.bounds(n)
    sums = torch.zeros(4, dtype=torch.float64, device=data.labels.device if data.labels.device.type != "mps" else "cpu")
    predicted = torch.zeros_like(data.labels) if predictions is None else predictions
    for inputs in data.in_order(start, last, _STREAMED):
        logits, rows = forward(network, inputs), slice(start, start + len(inputs))
        labels, predicted[rows] = data.labels[rows], outputs.predicted(logits)
        losses, right = outputs.loss(logits, labels, "sum"), outputs.right(logits, labels)
        sums += torch.stack([losses, right, *top5_hits(logits, labels)]).to(sums)
        start += len(inputs)
    ranks.total(sums, *([] if predictions is None else [predictions]))
    loss, right, hits, counted = sums.tolist()
    return outputs.measured(loss, int(right), data.labels) | ({"top5_accuracy": hits / n} if counted else {})
