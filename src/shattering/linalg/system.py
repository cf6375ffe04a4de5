"""The linear system of a Gram matrix, and the one measure of how well it is solved."""

from dataclasses import dataclass

import torch
from torch import Tensor

from shattering.linalg.gram import Gram, exact_product

_EPSILON = torch.finfo(torch.float64).eps


@dataclass(frozen=True)
class System:
    """The linear system (gram + ridge I) x = targets.

    Args:
        gram: the matrix.
        targets: (n, k) float64, on the device of the gram.
        ridge: at least 0.
    """

    gram: Gram
    targets: Tensor
    ridge: float

    def rest(self, x: Tensor) -> Tensor:
        """Return targets - (gram + ridge I) x, with the matrix in float64; x (n, k) float64. All residuals are of this."""
        return self.targets - exact_product(self.gram, x).add_(x, alpha=self.ridge)

    def relative(self, rest: Tensor) -> float:
        """Return ‖rest‖ / ‖targets‖, Frobenius."""
        size = self.targets.norm().item()
        return rest.norm().item() / size if size else 0.0

    def cutoff(self, largest: float) -> float:
        """Return the size up to which an eigenvalue of the matrix cannot be told from zero. largest: the largest eigenvalue.

        That is n times the rounding of float64 of the largest, as for `numpy.linalg.lstsq` and `scipy.linalg.pinvh`; or, where
        the entries of the Gram matrix themselves are rounded more, about the size (the spectral norm) of that noise.
        """
        noise = self.gram.noise * float(self.gram.diagonal().sum()) / self.gram.n**0.5 if self.gram.noise else 0.0
        return max(self.gram.n * _EPSILON * largest, noise)
