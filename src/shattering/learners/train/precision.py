"""The choice of a precision by a measurement."""

import time
from copy import deepcopy
from statistics import median

import torch
from torch import nn

from shattering import seeds
from shattering.learners.train.autocast import Autocast, Chosen
from shattering.learners.train.batches import Examples
from shattering.learners.train.hyperparameters import Hyperparameters

_REPEATS = 3
_WORTH = 0.9  # bfloat16 is taken if it needs at most this share of the time of float32


def choose(network: nn.Module, data: Examples, hyperparameters: Hyperparameters) -> Chosen:
    """Return the precision in which the updates of a network are quicker on this machine.

    On a CPU three forward and backward passes of a batch are timed in each precision, in turn, after one that is not counted; bfloat16 is
    taken if its median needs at most 0.9 of the time of float32. Processors with matrix units for bfloat16 train convolutional
    networks several times as fast, others are slower than in float32. A GPU that has bfloat16 in hardware takes it, unmeasured; other
    devices take float32. The network and the generators are left as they were.

    Args:
        network: before its training.
        data: the training examples.
        hyperparameters: how it is trained.

    Example:
        >>> from shattering import NetworkClassifier, load_dataset
        >>> model = NetworkClassifier("mlp-1x8", epochs=1, precision="auto").fit(load_dataset("digits", n_train=100).train)
        >>> model.precision_ in ("float32", "bfloat16")
        True
    """
    device = data.labels.device
    if device.type == "cuda":
        with torch.cuda.device(device):  # the answer is that of the current one
            return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    if device.type != "cpu":
        return "float32"
    trial, n = deepcopy(network).train(), min(max(2, hyperparameters.batch_size // hyperparameters.accumulate), len(data.labels))
    inputs, labels = next(data.in_order(0, n, n)), data.labels[:n]
    spent: dict[Chosen, list[float]] = {"float32": [], "bfloat16": []}
    with seeds.everywhere(0):
        for _ in range(1 + _REPEATS):
            for name, seconds in spent.items():
                seconds.append(_seconds(trial, inputs, labels, hyperparameters, Autocast("cpu", name)))
    float32, bfloat16 = (median(seconds[1:]) for seconds in spent.values())
    return "bfloat16" if bfloat16 <= _WORTH * float32 else "float32"


def _seconds(network: nn.Module, inputs: torch.Tensor, labels: torch.Tensor, hyperparameters: Hyperparameters, autocast: Autocast) -> float:
    """Time a forward and a backward pass of a batch."""
    network.zero_grad(set_to_none=True)
    start = time.perf_counter()
    with autocast():
        objective = hyperparameters.losses(hyperparameters.call(network, inputs), labels)[2]
    objective.backward()
    return time.perf_counter() - start
