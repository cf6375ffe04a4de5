"""Gram matrices by their entries: solvers ask for blocks and put them where they need them."""

from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

Kernel = Callable[[Tensor, Tensor], Tensor]  # (a, d), (b, d) → (a, b), of their type and on their device


EXACT_BLOCK = 2048  # rows and columns of a block that is computed in float64 and thrown away


class Gram(Protocol):
    """A symmetric positive semi-definite n x n matrix."""

    n: int
    features: int  # what an entry costs: multiplications
    noise: float  # share of the trace below which there is rounding alone

    def block(self, rows: slice, cols: slice, dtype: torch.dtype) -> Tensor:
        """Its entries in these rows and columns, in memory of their own."""
        ...

    def columns(self, index: Tensor, dtype: torch.dtype) -> Tensor:
        """Some of its columns (n, len(index))."""
        ...

    def diagonal(self) -> Tensor:
        """(n,) float64."""
        ...


def linear(a: Tensor, b: Tensor) -> Tensor:
    """<x, x'>."""
    return a @ b.T


class Gaussian:
    """exp(-gamma ‖x - x'‖²), with one matrix product a block.

    The products are of points relative to the mean of b: where all points are far from zero, as much as their distances
    would be lost in rounding else.
    """

    def __init__(self, gamma: float):
        self.gamma = gamma

    def __call__(self, a: Tensor, b: Tensor) -> Tensor:
        center = b.double().mean(0).to(b.dtype)
        a, b = a - center, b - center
        norms_a, norms_b = (a * a).sum(1, keepdim=True), (b * b).sum(1, keepdim=True)
        one_a, one_b = torch.ones_like(norms_a), torch.ones_like(norms_b)
        left = torch.cat([2 * self.gamma * a, -self.gamma * norms_a, one_a], 1)
        right = torch.cat([b, one_b, -self.gamma * norms_b], 1)
        return (left @ right.T).clamp_(max=0).exp_()


def from_numpy_kernel(function: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Kernel:
    """A kernel from a function of NumPy arrays (a, d), (b, d) → (a, b), such as those of sklearn.metrics.pairwise."""

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return torch.as_tensor(np.array(function(a.cpu().numpy(), b.cpu().numpy()), copy=True), dtype=a.dtype, device=a.device)

    return kernel


class KernelGram:
    """kernel(points, points), computed when asked for.

    Args:
        kernel: see `Kernel`.
        points: (n, d) float32 or float64, on the device that computes.
    """

    def __init__(self, kernel: Kernel, points: Tensor):
        self.kernel = kernel
        self.points = points
        self.n, self.features = points.shape
        self.noise = 1e-13

    def block(self, rows: slice, cols: slice, dtype: torch.dtype) -> Tensor:
        block = self.kernel(self.points[rows].to(dtype), self.points[cols].to(dtype))
        if rows == cols and isinstance(self.kernel, Gaussian):
            block.fill_diagonal_(1.0)
        return block

    def columns(self, index: Tensor, dtype: torch.dtype) -> Tensor:
        out = torch.empty((self.n, len(index)), dtype=dtype, device=self.points.device)
        chosen = self.points[index].to(dtype)
        for rows in slices(self.n, 4096):
            out[rows] = self.kernel(self.points[rows].to(dtype), chosen)
        if isinstance(self.kernel, Gaussian):
            out[index, torch.arange(len(index), device=out.device)] = 1.0
        return out

    def diagonal(self) -> Tensor:
        if isinstance(self.kernel, Gaussian):
            return torch.ones(self.n, dtype=torch.float64, device=self.points.device)
        parts = [self.block(rows, rows, torch.float64).diagonal().clone() for rows in slices(self.n, 256)]
        return torch.cat(parts)


def slices(n: int, size: int) -> list[slice]:
    """0…n in pieces of a size, the last perhaps smaller."""
    return [slice(start, min(start + size, n)) for start in range(0, n, size)]


def lower_blocks(n: int, size: int) -> Iterator[tuple[slice, slice]]:
    """The blocks on and below the diagonal, as rows and columns."""
    pieces = slices(n, size)
    for i, rows in enumerate(pieces):
        for cols in pieces[: i + 1]:
            yield rows, cols


def symmetric_product(block: Callable[[slice, slice], Tensor], n: int, size: int, vectors: Tensor) -> Tensor:
    """matrix @ vectors from the blocks on and below the diagonal, each used twice. vectors: (n, k)."""
    out = torch.zeros_like(vectors)
    for rows, cols in lower_blocks(n, size):
        part = block(rows, cols)
        out[rows] += part @ vectors[cols]
        if rows != cols:
            out[cols] += part.T @ vectors[rows]
    return out


def exact_product(gram: Gram, vectors: Tensor) -> Tensor:
    """gram @ vectors in float64, holding one block at a time. vectors: (n, k) float64."""
    return symmetric_product(lambda rows, cols: gram.block(rows, cols, torch.float64), gram.n, EXACT_BLOCK, vectors)
