"""The interpolating networks as torch modules."""

import math
from typing import Annotated

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from shattering.parameters import Range, check
from shattering.relu.hinges import Hinges, interpolate

_LANES = 32  # at least as many as the sums that a matrix product runs side by side in float64, on common processors


def summation_order(n: int) -> np.ndarray:
    """Return the order (n,) of n hinges, sorted by threshold, in which their sum loses least.

    A steep piece is one large weight and, at the next hinge, nearly its negative. A matrix product adds every k-th term to
    one of k running sums; in sorted order the two land in different ones, which then grow like a random walk of large
    numbers. Here neighbours come k apart and so meet in the same sum.

    Example:
        >>> summation_order(64)[:4].tolist()
        [0, 2, 4, 6]
    """
    rows = -(-n // _LANES)
    order = np.arange(rows * _LANES).reshape(_LANES, rows).T.ravel()
    return order[order < n]


class ReluNetwork(nn.Module):
    """Theorem 1's two-layer network: x → sum_j w_j max(<a, x> - b_j, 0), with exactly 2n + d parameters.

    Args:
        direction: a (d,), which all hidden units share.
        thresholds: b (n,).
        weights: w (n,).

    Example:
        >>> hinges = interpolate(np.array([0.0, 1.0, 3.0]), np.array([1.0, 0.0, 4.0]))
        >>> network = ReluNetwork(np.array([1.0, 0.0]), hinges.thresholds, hinges.weights)
        >>> network(torch.tensor([[1.0, 7.0], [3.0, 7.0]], dtype=torch.float64)).tolist()
        [0.0, 4.0]
    """

    def __init__(self, direction: np.ndarray, thresholds: np.ndarray, weights: np.ndarray):
        super().__init__()
        self.direction, self.thresholds, self.weights = map(_parameter, (direction, thresholds, weights))

    @property
    def width(self) -> int:
        """Hidden units."""
        return len(self.weights)

    def forward(self, x: Tensor) -> Tensor:
        """Map inputs (m, …) of d features to outputs (m,)."""
        return self.on_line(_project(x, self.direction))

    def on_line(self, z: Tensor) -> Tensor:
        """Return the same from <a, x> (m,)."""
        return _hinges(z, self.thresholds) @ self.weights


class DeepReluNetwork(nn.Module):
    """Corollary 1's network of depth k >= 3: width at most ceil(n / max(k - 3, 1)) + 4, and
    2n + d + 2 min(k - 3, n) + 2 parameters.

    The points on the line are divided into k - 3 groups, at most n. Every hidden layer passes on the coordinate t and the sum so far,
    clips t to the interval of a group to come (in two layers, of one unit each), and has the hinges of one group on its
    clipped coordinate, which add the group's part to the sum. So no term is larger than what a group needs. (The papers'
    proof has a multiplexer instead, which picks one of k functions.) All other connections are 1 or -1. A network of
    depth 3 has a single group, not clipped.

    Args:
        direction: a (d,).
        knots: the points on the line (n,), ascending.
        values: (n,) targets there less the offset, none below 0, so that sums of them pass through ReLU.
        offset: added to the output.
        depth: k, layers with weights: k - 1 hidden ones and the output. With more than n + 3 the rest would only pass values on
            and is left out.

    Example:
        >>> network = DeepReluNetwork(np.array([1.0, 0.0]), np.array([0.0, 1.0, 3.0]), np.array([1.0, 0.0, 4.0]), offset=0.0, depth=5)
        >>> network(torch.tensor([[1.0, 7.0], [3.0, 7.0]], dtype=torch.float64)).tolist()
        [0.0, 4.0]
    """

    def __init__(self, direction: np.ndarray, knots: np.ndarray, values: np.ndarray, offset: float, depth: int):
        super().__init__()
        groups = min(max(depth - 3, 1), len(knots))
        ends = np.array([len(knots) * (g + 1) // groups for g in range(groups)])
        start = float(knots[0]) - (float(np.ptp(knots)) / len(knots) or 1.0)
        t = knots - start
        rights = t[ends - 1]
        lengths = np.diff(rights, prepend=0.0)
        rises = np.concatenate([[0.0], values[ends[:-1] - 1]])
        parts = []
        for g, (first, end) in enumerate(zip([0, *ends[:-1]], ends, strict=True)):
            local = lengths[g] - (rights[g] - t[first:end]) if depth > 3 else t  # in floating point as in the forward pass
            part = interpolate(local, values[first:end] - rises[g], start=0.0)
            order = summation_order(end - first)
            parts.append((part.thresholds[order], part.weights[order]))
        self.depth, self.groups = depth, groups
        self.direction, self.start, self.offset = map(_parameter, (direction, start, offset))
        self.thresholds, self.weights = (_parameter(np.concatenate(arrays)) for arrays in zip(*parts, strict=True))
        if depth > 3:
            self.rights, self.lengths = _parameter(rights), _parameter(lengths)
        self.sizes = [len(thresholds) for thresholds, _ in parts]

    @property
    def width(self) -> int:
        """Units of the widest hidden layer, those that only pass values on included."""
        if self.depth == 3:
            return self.sizes[0]
        layers = range(1, self.groups + 3)
        hinges = [0, 0, *self.sizes]
        return max(
            h + (i < self.groups) + (i <= self.groups) + (2 <= i <= self.groups + 1) + (i >= 4) for i, h in zip(layers, hinges, strict=True)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map inputs (m, …) of d features to outputs (m,)."""
        return self.on_line(_project(x, self.direction))

    def on_line(self, z: Tensor) -> Tensor:
        """Return the same from <a, x> (m,). Every ReLU is a hidden layer's, of values of the layer before."""
        line = z - self.start
        t = F.relu(line)
        thresholds, weights = self.thresholds.split(self.sizes), self.weights.split(self.sizes)
        if self.depth == 3:
            return self.offset + _hinges(t, thresholds[0]) @ weights[0]
        total = torch.zeros_like(t)
        for g in range(self.groups):
            clipped = F.relu(self.lengths[g] - F.relu(self.rights[g] - (t if g else line)))
            total = F.relu(total) + _hinges(clipped, thresholds[g]) @ weights[g]
        return self.offset + total


def build_network(direction: np.ndarray, hinges: Hinges, offset: float, depth: int) -> ReluNetwork | DeepReluNetwork:
    """Build the network of a depth that takes the hinges' function plus an offset: theorem 1's in depth 2, else corollary 1's.

    Args:
        direction: (d,).
        hinges: the function on the line; in depth 3 and more none of its values is below 0.
        offset: added to the output; 0 in depth 2, where the network has no parameter for it.
        depth: layers with weights, at least 2.

    Raises:
        InputError: for fewer layers.
    """
    check("depth", depth, Annotated[int, Range(2)])
    if depth > 2:
        return DeepReluNetwork(direction, hinges.knots, hinges.values, offset, depth)
    order = summation_order(len(hinges.weights))
    return ReluNetwork(direction, hinges.thresholds[order], hinges.weights[order])


def forward_in_blocks(network: ReluNetwork | DeepReluNetwork, z: np.ndarray, entries: int = 2**18) -> np.ndarray:
    """Return the network's plain forward pass from <a, x> (m,), a bounded number of hidden values at a time."""
    step, out = max(1, entries // network.width), np.empty(len(z))
    with torch.no_grad():
        for start in range(0, len(z), step):  # into one array: small tensors kept between large ones would pin the memory of these
            out[start : start + step] = network.on_line(torch.from_numpy(z[start : start + step])).numpy()
    return out


def n_parameters(n: int, d: int, depth: int) -> int:
    """Return how many parameters the network of this depth has: 2n + d in depth 2, as theorem 1 has it."""
    return 2 * n + d + {2: 0, 3: 2}.get(depth, 2 + 2 * min(depth - 3, n))


def _hinges(z: Tensor, thresholds: Tensor) -> Tensor:
    """Return max(z_i - b_j, 0), (m, n), in one array."""
    return (z[:, None] - thresholds).relu_()


def _parameter(value: np.ndarray | float) -> nn.Parameter:
    return nn.Parameter(torch.tensor(value, dtype=torch.float64))


def _project(x: Tensor, direction: Tensor) -> Tensor:
    return x.reshape(len(x), math.prod(x.shape[1:])).to(direction.dtype) @ direction
