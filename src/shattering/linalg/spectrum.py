"""Systems whose matrix is singular in float64: the least squares of least norm, by eigenvalues above a cutoff."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from shattering.errors import InputError
from shattering.linalg.gram import Gram, slices
from shattering.linalg.low_rank import pivoted_cholesky
from shattering.linalg.system import System

DENSE = 2048  # points up to which all eigenvalues are computed, which takes seconds; with noise in the entries, for any number
_ROUNDING = 1e-13  # share of the trace below which a factor in float64 has rounding alone
_ROWS = 2048
_INDEFINITE = 1e-6  # share of the largest eigenvalue by which one below zero is more than rounding, even that of a kernel in float32


@dataclass(frozen=True)
class Spectrum:
    """Eigenvalues and eigenvectors V diag(values) V' of a matrix.

    Args:
        values: (r,) float64.
        basis: V = basis @ turn (n, r) has orthonormal columns.
        turn: None: V = basis.
        complete: True if the rest of the matrix is rounding alone.
    """

    values: Tensor
    basis: Tensor
    turn: Tensor | None
    complete: bool

    def into(self, vectors: Tensor) -> Tensor:
        """Return V' @ vectors."""
        inside = self.basis.T @ vectors
        return inside if self.turn is None else self.turn.T @ inside

    def out_of(self, inside: Tensor) -> Tensor:
        """Return V @ inside."""
        return self.basis @ (inside if self.turn is None else self.turn @ inside)


@dataclass(frozen=True)
class LeastSquares:
    """A least-squares solution of least norm.

    Args:
        x: (n, k).
        rank: number of eigenvalues of the system's matrix that were used; the others are taken for zero.
        condition: ratio of the largest and the smallest of them.
        complete: see `Spectrum`.
    """

    x: Tensor
    rank: int
    condition: float
    complete: bool


def least_squares(system: System, memory: int) -> LeastSquares | None:
    """Return the x of least norm among those with the least ‖targets - (gram + ridge I) x‖, up to eigenvalues below `System.cutoff`.

    memory: bytes that may be taken. Where they do not hold enough columns of a factor, the matrix is that of a lower rank,
    and the result is not `complete`; None where they hold next to nothing.

    Raises InputError for a matrix with eigenvalues below zero by more than rounding.
    """
    spectrum = _spectrum(system, memory)
    if spectrum is None:
        return None
    n, ridge = system.gram.n, system.ridge
    largest = float(spectrum.values.max()) if len(spectrum.values) else 0.0
    least = float(spectrum.values.min()) if len(spectrum.values) else 0.0
    cutoff = max(system.cutoff(largest + ridge), -2 * least)  # eigenvalues below zero tell of more noise
    if least < -_INDEFINITE * largest:
        raise InputError(
            f"the kernel's matrix has the eigenvalue {least:.2g} (its largest is {largest:.2g}), expected a kernel that gives none below 0"
        )
    values = spectrum.values.clamp(min=0) + ridge
    kept = values > cutoff
    inside = spectrum.into(system.targets)
    x = spectrum.out_of(torch.where(kept, 1 / values, 0.0)[:, None] * inside)
    rank, smallest = int(kept.sum()), float(values[kept].min()) if bool(kept.any()) else 0.0
    if ridge > cutoff and len(values) < n:  # what the factor does not reach has the eigenvalue ridge
        x += (system.targets - spectrum.out_of(inside)) / ridge
        rank, smallest = n, ridge
    return LeastSquares(x, rank, (largest + ridge) / smallest if smallest else 1.0, spectrum.complete)


def _spectrum(system: System, memory: int) -> Spectrum | None:
    gram, n = system.gram, system.gram.n
    spare = memory - 8 * 8 * n * system.targets.shape[1] - 4 * 8 * 256 * n  # vectors, and columns of pivots
    if 4 * 8 * n * n <= spare and (n <= DENSE or gram.noise):
        return _dense(gram)
    rank = _rank(n, spare)
    return _of_factor(gram, rank) if rank else None


def _rank(n: int, spare: int) -> int:
    """Return how many columns of a factor fit into so many bytes: four of its size (n, r), and four of (r, r), while it is decomposed."""
    return min(n, int((math.sqrt(n * n + max(0, spare) / 8) - n) / 2))


def _dense(gram: Gram) -> Spectrum:
    """Return all eigenvalues."""
    matrix = torch.empty((gram.n, gram.n), dtype=torch.float64, device=gram.diagonal().device)
    for i, rows in enumerate(pieces := slices(gram.n, _ROWS)):
        for cols in pieces[: i + 1]:
            matrix[rows, cols] = gram.block(rows, cols, torch.float64)
    values, vectors = torch.linalg.eigh(matrix)  # which reads the lower triangle
    return Spectrum(values, vectors, None, True)


def _of_factor(gram: Gram, rank: int) -> Spectrum:
    """Return the eigenvalues and vectors from a factor F of pivoted columns: F = Q R, F F' = Q (R R') Q'."""
    tolerance = max(_ROUNDING, gram.noise)
    factor, left = pivoted_cholesky(gram, rank, torch.float64, seed=0, tolerance=tolerance)
    if not factor.shape[1]:
        empty = torch.zeros((gram.n, 0), dtype=torch.float64, device=factor.device)
        return Spectrum(empty[0], empty, None, left <= tolerance)
    basis, corner = torch.linalg.qr(factor)
    del factor
    values, turn = torch.linalg.eigh(corner @ corner.T)
    return Spectrum(values, basis, turn, left <= tolerance)
