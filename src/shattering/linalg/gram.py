"""Gram matrices by their entries: solvers ask for blocks and put them where they need them."""

import math
from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from shattering.errors import InputError

Kernel = Callable[[Tensor, Tensor], Tensor]  # (a, d), (b, d) → (a, b), of their type and on their device

EXACT_BLOCK = 2000  # rows and columns of a block that is computed in float64 and thrown away: below 32 MiB, its memory is used again
_FAR = 64.0  # squared distance from the mean, in widths of a Gaussian kernel, from which the rounding of products shows in its values
_TOO_FAR = 1e15  # from which nothing is left of them
_RIGHT = {torch.float64: 2e-16, torch.float32: 1e-4}  # error of a value that is left; those in float32 are corrected by residuals
_WIDTH = {torch.float32: 16, torch.float64: 12}  # columns of a thin matrix, of which products of large matrices with it are fast
_PAIRS = 2**22  # values of pairs of points at once


class Gram(Protocol):
    """A symmetric positive semi-definite n x n matrix."""

    n: int
    features: int  # what an entry costs: multiplications

    @property
    def noise(self) -> float:
        """Return the relative error of the entries, in units of the mean diagonal; 0 for the rounding of float64."""
        ...

    def block(self, rows: slice, cols: slice, dtype: torch.dtype) -> Tensor:
        """Return the entries in these rows and columns, in memory of their own."""
        ...

    def columns(self, index: Tensor, dtype: torch.dtype) -> Tensor:
        """Return some of the columns, (n, len(index))."""
        ...

    def diagonal(self) -> Tensor:
        """Return the diagonal, (n,) float64."""
        ...


def linear(a: Tensor, b: Tensor) -> Tensor:
    """Return the linear kernel <x, x'>."""
    return a @ b.T


class Gaussian:
    """The Gaussian kernel exp(-gamma ‖x - x'‖²), with one matrix product per block.

    The mean of b is subtracted from all points first: rounding would otherwise destroy the distances between points that are far
    from zero. Where points are far from this mean too, the values that rounding would change are computed again from differences in
    float64.
    """

    def __init__(self, gamma: float):
        self.gamma = gamma

    def __call__(self, a: Tensor, b: Tensor) -> Tensor:
        center, width = b.double().mean(0).to(b.dtype), math.sqrt(self.gamma)
        scaled_a, scaled_b = (a - center).mul_(width), (b - center).mul_(width)
        norms_a, norms_b = (scaled_a * scaled_a).sum(1, keepdim=True), (scaled_b * scaled_b).sum(1, keepdim=True)
        furthest = max(float(norms_a.max()), float(norms_b.max())) if len(a) and len(b) else 0.0
        if not furthest <= _TOO_FAR:
            return _from_differences(a, b, width)
        one_a, one_b = torch.ones_like(norms_a), torch.ones_like(norms_b)
        left = torch.cat([scaled_a.mul_(2), -norms_a, one_a], 1)
        right = torch.cat([scaled_b, one_b, -norms_b], 1)
        values = (left @ right.T).clamp_(max=0).exp_()
        return values if furthest <= _FAR else _repaired(values, a, b, width, 4 * torch.finfo(a.dtype).eps * furthest)


def _from_differences(a: Tensor, b: Tensor, width: float) -> Tensor:
    """Return the Gaussian kernel without a difference of large numbers."""
    apart = torch.cdist(a.double(), b.double(), compute_mode="donot_use_mm_for_euclid_dist")
    return apart.mul_(width).square_().neg_().exp_().to(a.dtype)


def _repaired(values: Tensor, a: Tensor, b: Tensor, width: float, error: float) -> Tensor:
    """Return values of the Gaussian kernel, where those that an error of the exponent changes are computed from differences."""
    rows, cols = (values > _RIGHT[a.dtype] / error).nonzero(as_tuple=True)
    if len(rows) > values.numel() // 20:  # then pair by pair is slower
        return _from_differences(a, b, width)
    for some in slices(len(rows), max(1, _PAIRS // a.shape[1])):
        i, j = rows[some], cols[some]
        values[i, j] = ((a[i].double() - b[j].double()) * width).square_().sum(1).neg_().exp_().to(a.dtype)
    return values


def from_numpy_kernel(function: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Kernel:
    """Make a kernel from a function of NumPy arrays (a, d), (b, d) → (a, b), such as those of sklearn.metrics.pairwise.

    It raises InputError where the function gives another shape, or values that are not finite.
    """

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        values = np.array(function(a.cpu().numpy().copy(), b.cpu().numpy().copy()), copy=True)
        if values.shape != (len(a), len(b)):
            raise InputError(
                f"the kernel gives an array of shape {values.shape} for {len(a)} and {len(b)} points, expected {(len(a), len(b))}"
            )
        if values.dtype.kind not in "fiub":
            raise InputError(f"the kernel gives an array of type {values.dtype}, expected real numbers")
        if not np.isfinite(values).all():
            raise InputError("the kernel gives values that are not finite, expected finite numbers")
        return torch.as_tensor(values, dtype=a.dtype, device=a.device)

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
        self.noise = 0.0

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


class GaussianOfGram:
    """The Gaussian kernel exp(-gamma ‖z - z'‖²) of points whose Gram matrix is known, entry by entry when asked for.

    ‖z - z'‖² = <z, z> + <z', z'> - 2 <z, z'>, so no point is needed again.

    Args:
        gram: the products <z, z'>.
        gamma: width parameter, in 1 / squared distances.
    """

    def __init__(self, gram: Gram, gamma: float):
        self.gram, self.gamma = gram, gamma
        self.n, self.features = gram.n, gram.features
        self.squares = gram.diagonal()

    @property
    def noise(self) -> float:
        """Return the error of the entries: exponents have up to four times that of the products, and no kernel value is above 1."""
        return 4 * self.gamma * self.gram.noise * float(self.squares.mean())

    def block(self, rows: slice, cols: slice, dtype: torch.dtype) -> Tensor:
        products = self.gram.block(rows, cols, dtype)
        values = gaussian_of_products(products, self.squares[rows].to(dtype), self.squares[cols].to(dtype), self.gamma)
        return values.fill_diagonal_(1.0) if rows == cols else values

    def columns(self, index: Tensor, dtype: torch.dtype) -> Tensor:
        products, squares = self.gram.columns(index, dtype), self.squares.to(dtype)
        values = gaussian_of_products(products, squares, squares[index], self.gamma)
        values[index, torch.arange(len(index), device=index.device)] = 1.0
        return values

    def diagonal(self) -> Tensor:
        return torch.ones_like(self.squares)


def gaussian_of_products(products: Tensor, rows: Tensor, cols: Tensor, gamma: float) -> Tensor:
    """Return exp(-gamma ‖z - z'‖²), (a, b), in place of the products <z, z'> (a, b). rows, cols: squared norms (a,) and (b,)."""
    return products.mul_(2 * gamma).sub_((gamma * rows)[:, None]).sub_(gamma * cols).clamp_(max=0).exp_()


def median_distance(gram: Gram, generator: np.random.Generator, sample: int = 256) -> float:
    """Return the median squared distance between points, over the pairs that have one of a sample of points in them.

    Args:
        gram: the products of the points.
        generator: draws the sample.
        sample: number of points drawn, or all if there are fewer.

    Returns:
        ‖z - z'‖²; 0 for fewer than two points.
    """
    index = torch.from_numpy(generator.permutation(gram.n)[:sample]).to(gram.diagonal().device)
    squares = gram.diagonal()
    distances = squares[:, None] + squares[index] - 2 * gram.columns(index, torch.float64)
    others = torch.arange(gram.n, device=index.device)[:, None] != index
    return max(0.0, float(np.median(distances[others].cpu().numpy()))) if gram.n > 1 else 0.0


def slices(n: int, size: int) -> list[slice]:
    """Split 0…n into slices of a size, the last perhaps smaller."""
    return [slice(start, min(start + size, n)) for start in range(0, n, size)]


def lower_blocks(n: int, size: int) -> Iterator[tuple[slice, slice]]:
    """Yield the blocks on and below the diagonal, as rows and columns."""
    pieces = slices(n, size)
    for i, rows in enumerate(pieces):
        for cols in pieces[: i + 1]:
            yield rows, cols


def widened(vectors: Tensor) -> Tensor:
    """Return vectors (n, k) with zeros as further columns, for a number of columns with which products are several times faster."""
    k = vectors.shape[1]
    return pad(vectors, (0, -k % _WIDTH[vectors.dtype])) if k > 1 else vectors


def symmetric_product(block: Callable[[slice, slice], Tensor], n: int, size: int, vectors: Tensor) -> Tensor:
    """Return matrix @ vectors from the blocks on and below the diagonal, each used twice. vectors: (n, k)."""
    k, vectors = vectors.shape[1], widened(vectors)
    out = torch.zeros_like(vectors)
    for rows, cols in lower_blocks(n, size):
        part = block(rows, cols)
        out[rows] += part @ vectors[cols]
        if rows != cols:
            out[cols] += part.T @ vectors[rows]
    return out[:, :k]


def exact_product(gram: Gram, vectors: Tensor) -> Tensor:
    """Return gram @ vectors in float64, holding one block at a time. vectors: (n, k) float64."""
    return symmetric_product(lambda rows, cols: gram.block(rows, cols, torch.float64), gram.n, EXACT_BLOCK, vectors)
