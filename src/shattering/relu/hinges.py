"""Interpolation on a line by hinges: c(x) = sum_j w_j max(x - b_j, 0) (ICLR 2017, appendix C, lemma 1).

The thresholds are put at the previous point (b_j = x_{j-1}), where every weight is a difference of two slopes; midway
between points, as the proof allows too, they depend on all weights before. Slopes are rounded to a grid on which their
differences are exact: the weights then add up to the slopes without any error.
"""

import math
from dataclasses import dataclass

import numpy as np

_BITS = 51  # of the grid of slopes: differences and sums of two fit into float64's 53


@dataclass(frozen=True)
class Hinges:
    """A sum of hinges that takes given values at given points.

    Args:
        knots: (n,) ascending points.
        values: (n,) targets there.
        thresholds: (n,) of the hinges.
        weights: (n,) of the hinges.
        slopes: (n,) slope of the function left of each knot.
    """

    knots: np.ndarray
    values: np.ndarray
    thresholds: np.ndarray
    weights: np.ndarray
    slopes: np.ndarray

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Return the function at x (m,), from the nearest knot to the left: no large terms that cancel, so accurate to rounding."""
        at = np.searchsorted(self.knots, x, side="right")
        first = self.slopes[0] * np.maximum(x - self.thresholds[0], 0.0)
        before = np.maximum(at - 1, 0)
        slope = self.slopes[np.minimum(at, len(self.slopes) - 1)]
        return np.where(at == 0, first, self.values[before] + slope * (x - self.knots[before]))


def interpolate(knots: np.ndarray, values: np.ndarray, start: float | None = None) -> Hinges:
    """Return the hinges whose sum takes the values (n,) at the knots (n,), which ascend.

    start: the first threshold, below the first knot; None: the mean gap below it. The function is 0 left of it.
    Knots may coincide where their values do; where the values differ, the second is not reached.

    Example:
        >>> function = interpolate(np.array([0.0, 1.0, 3.0]), np.array([1.0, 0.0, 4.0]))
        >>> function(np.array([0.0, 1.0, 2.0, 3.0])).tolist()
        [1.0, 0.0, 2.0, 4.0]
    """
    if start is None:
        start = float(knots[0]) - (float(np.ptp(knots)) / len(knots) or 1.0)
    thresholds = np.concatenate([[start], knots[:-1]])
    gaps, rises = knots - thresholds, np.diff(values, prepend=0.0)
    slopes = np.divide(rises, gaps, out=np.zeros_like(rises), where=(gaps > 0) & (rises != 0))
    slopes = _on_grid(slopes)
    return Hinges(knots, values, thresholds, np.diff(slopes, prepend=0.0), slopes)


def _on_grid(slopes: np.ndarray) -> np.ndarray:
    largest = float(np.abs(slopes).max(initial=0.0))
    if not largest or not math.isfinite(largest):
        return slopes
    unit = math.ldexp(1.0, max(math.frexp(largest)[1] - _BITS, -1022))
    return np.rint(slopes / unit) * unit


def midway(knots: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return thresholds midway between the knots, and their weights (n,) by forward substitution: the naive build, for comparison."""
    below = float(knots[0]) - (float(np.ptp(knots)) / len(knots) or 1.0)
    thresholds = np.concatenate([[below], (knots[:-1] + knots[1:]) / 2])
    slope, value, before = 0.0, 0.0, below
    weights = np.empty(len(knots))
    for i, (x, b, y) in enumerate(zip(knots.tolist(), thresholds.tolist(), values.tolist(), strict=True)):
        value += slope * (b - before)
        weights[i] = (y - value) / (x - b) - slope
        slope += weights[i]
        value, before = value + slope * (x - b), x
    return thresholds, weights


def hinge_matrix(points: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Return lemma 1's A (n, n): A_ij = max(x_i - b_j, 0). Lower triangular where points and thresholds interleave.

    Example:
        >>> hinge_matrix(np.array([1.0, 3.0]), np.array([0.0, 1.0])).tolist()
        [[1.0, 0.0], [3.0, 2.0]]
    """
    return np.maximum(points[:, None] - thresholds, 0.0)


def smallest_eigenvalue(points: np.ndarray, thresholds: np.ndarray) -> float:
    """Return the smallest eigenvalue of the hinge matrix by lemma 1, min_i x_i - b_i, for b_1 < x_1 <= b_2 < x_2 <= …

    Example:
        >>> smallest_eigenvalue(np.array([1.0, 3.0]), np.array([0.0, 1.0]))
        1.0
    """
    return float((points - thresholds).min())


def weight_bound(points: np.ndarray, values: np.ndarray, thresholds: np.ndarray) -> float:
    """Return the bound on the weights from lemma 1's eigenvalue: 2 R / min_i(x_i - b_i), with R the range of the values and 0.

    It holds for thresholds at the previous point, where a weight is a difference of two slopes, each at most R over a gap.
    In general the eigenvalue alone bounds nothing, as the matrix is not symmetric.

    Example:
        >>> weight_bound(np.array([1.0, 3.0]), np.array([0.0, 1.0]), np.array([0.0, 1.0]))
        2.0
    """
    reach = max(float(values.max()), 0.0) - min(float(values.min()), 0.0)
    smallest = smallest_eigenvalue(points, thresholds)
    return 2 * reach / smallest if smallest > 0 else math.inf
