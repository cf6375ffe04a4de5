"""Randomly pivoted Cholesky: a low-rank factor of a positive semi-definite matrix from few of its columns.

Chen, Epperly, Tropp and Webber (2023); in blocks with rejection: Epperly, Tropp and Webber (2024), algorithm 2.
"""

import numpy as np
import torch
from torch import Tensor

from shattering.linalg.gram import Gram, slices, widened
from shattering.parameters import Natural, NotNegative, check_arguments

_BLOCK = 256  # pivots drawn together


def pivoted_cholesky(gram: Gram, rank: Natural, dtype: torch.dtype, seed: int, tolerance: NotNegative = 0.0) -> tuple[Tensor, float]:
    """Return F (n, r) with F F' ≈ gram, r ≤ rank, and the share of the matrix's trace that is left.

    Each pivot is drawn in proportion to the diagonal that is left. Ends below the rank where the share is at most
    `tolerance`, or what is left is rounding. Raises InputError for a rank or a tolerance below 0.

    Example:
        >>> from shattering.linalg.gram import KernelGram
        >>> points = torch.tensor([[1.0, 0.0], [0.0, 2.0], [1.0, 2.0]], dtype=torch.float64)
        >>> factor, left = pivoted_cholesky(KernelGram(lambda a, b: a @ b.T, points), 3, torch.float64, seed=0)
        >>> torch.allclose(factor @ factor.T, points @ points.T), left
        (True, 0.0)
    """
    check_arguments(pivoted_cholesky, locals(), "rank", "tolerance")
    generator = np.random.default_rng(seed)
    full = gram.diagonal()
    trace, left = float(full.sum()), full.clamp(min=0)
    factor = torch.empty((gram.n, min(rank, gram.n)), dtype=dtype, device=full.device)
    done = 0
    while done < factor.shape[1] and float(left.sum()) > tolerance * trace:
        chances = (left / left.sum()).cpu().numpy()
        draws = np.unique(generator.choice(gram.n, min(_BLOCK, factor.shape[1] - done), p=chances))
        pivots = torch.from_numpy(draws).to(full.device)
        columns = gram.columns(pivots, dtype).addmm_(factor[:, :done], factor[pivots, :done].T, alpha=-1)
        kept, corner = _accept(columns[pivots].double(), left[pivots], generator)
        if not len(kept):
            break
        new = slice(done, done + len(kept))
        factor[:, new] = torch.linalg.solve_triangular(corner.T.to(dtype), columns[:, kept], upper=True, left=False)
        left = (left - factor[:, new].double().square().sum(1)).clamp_(min=0)
        left[pivots[kept]] = 0
        done = new.stop
    return factor[:, :done], float(left.sum()) / trace if trace > 0 else 0.0


def _accept(rest: Tensor, diagonal: Tensor, generator: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Return those of the pivots drawn together that drawing one by one would have kept, and the Cholesky factor of their block.

    rest: (b, b) what is left of the matrix at the pivots. diagonal: (b,) what they were drawn by.
    """
    rest, kept = rest.clone(), []
    thresholds = diagonal * torch.from_numpy(generator.random(len(diagonal))).to(diagonal)
    for i in range(len(rest)):
        if rest[i, i] > thresholds[i]:
            kept.append(i)
            rest[i, i:] /= rest[i, i].sqrt()
            rest[i + 1 :, i + 1 :] -= torch.outer(rest[i, i + 1 :], rest[i, i + 1 :])
    index = torch.tensor(kept, dtype=torch.int64, device=rest.device)
    return index, rest[index][:, index].triu().T


class Preconditioner:
    """The inverse of F F' + shift I by the Woodbury identity.

    Args:
        factor: F (n, r).
        shift: above 0.
    """

    def __init__(self, factor: Tensor, shift: float):
        self.factor, self.shift = factor, shift
        inner = torch.zeros((factor.shape[1], factor.shape[1]), dtype=torch.float64, device=factor.device)
        for rows in slices(len(factor), 4096):
            part = factor[rows].double()
            inner.addmm_(part.T, part)
        inner.diagonal().add_(shift)
        self.inner = torch.linalg.cholesky(inner)

    def __call__(self, vectors: Tensor) -> Tensor:
        """Apply the preconditioner to vectors (n, k) float64."""
        inside = (self.factor.T @ widened(vectors.to(self.factor.dtype))).double()
        inside = torch.cholesky_solve(inside, self.inner)
        near = (self.factor @ inside.to(self.factor.dtype)).double()[:, : vectors.shape[1]]
        return (vectors - near) / self.shift
