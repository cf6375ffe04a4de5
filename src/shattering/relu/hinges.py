"""Interpolation on a line by hinges: c(x) = sum_j w_j max(x - b_j, 0) (ICLR 2017, appendix C, lemma 1).

The thresholds are put at the previous point (b_j = x_{j-1}), where every weight is a difference of two slopes; midway
between points, as the proof allows too, they depend on all weights before. Slopes are rounded to a grid on which their
differences are exact: the weights then add up to the slopes without any error.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from shattering.errors import InputError

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


def interpolate(knots: ArrayLike, values: ArrayLike, start: float | None = None) -> Hinges:
    """Return the hinges whose sum takes the values (n,) at the knots (n,), which ascend.

    start: the first threshold, below the first knot; None: the mean gap below it. The function is 0 left of it.
    Knots may coincide where their values do; where the values differ, the second is not reached.

    Raises:
        InputError: for knots that do not ascend, or begin below `start`, and for slopes that are larger than any number.

    Example:
        >>> function = interpolate(np.array([0.0, 1.0, 3.0]), np.array([1.0, 0.0, 4.0]))
        >>> function(np.array([0.0, 1.0, 2.0, 3.0])).tolist()
        [1.0, 0.0, 2.0, 4.0]
    """
    x, y = _ascending("knots", knots), np.asarray(values, dtype=np.float64)
    if y.shape != x.shape:
        raise InputError(f"values has shape {y.shape} for {len(x)} knots, expected one for each")
    if start is not None and start > x[0]:
        raise InputError(f"start is {start:g} and the first knot {x[0]:g}, expected a start below it")
    with np.errstate(over="ignore"):
        if start is None:
            start = float(x[0]) - (float(np.ptp(x)) / len(x) or 1.0)
        thresholds = np.concatenate([[start], x[:-1]])
        gaps, rises = x - thresholds, np.diff(y, prepend=0.0)
        slopes = np.divide(rises, gaps, out=np.zeros_like(rises), where=(gaps > 0) & (rises != 0))
    if not (np.isfinite(slopes).all() and np.isfinite(gaps).all()):
        raise InputError("the points or the targets are so large or so small that slopes between them are no numbers: scale them")
    slopes = _on_grid(slopes)
    return Hinges(x, y, thresholds, np.diff(slopes, prepend=0.0), slopes)


def _ascending(name: str, given: ArrayLike) -> np.ndarray:
    """Return points on a line as float64. Raises InputError where there are none, or they do not ascend."""
    points = np.asarray(given, dtype=np.float64)
    if points.ndim != 1 or not len(points):
        raise InputError(f"{name} has shape {points.shape}, expected at least one number, of shape (n,)")
    falls = np.flatnonzero(~(points[1:] >= points[:-1]))
    if len(falls):
        at = int(falls[0])
        raise InputError(f"{name} has {points[at]:g} before {points[at + 1]:g}, expected numbers in ascending order")
    return points


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


def hinge_matrix(points: ArrayLike, thresholds: ArrayLike) -> np.ndarray:
    """Return lemma 1's A (n, n): A_ij = max(x_i - b_j, 0). Lower triangular where points and thresholds interleave.

    Example:
        >>> hinge_matrix(np.array([1.0, 3.0]), np.array([0.0, 1.0])).tolist()
        [[1.0, 0.0], [3.0, 2.0]]
    """
    x, b = (np.asarray(values, dtype=np.float64) for values in (points, thresholds))
    return np.maximum(x[:, None] - b, 0.0)


def smallest_eigenvalue(points: ArrayLike, thresholds: ArrayLike) -> float:
    """Return the smallest eigenvalue of the hinge matrix by lemma 1, min_i x_i - b_i, for b_1 < x_1 <= b_2 < x_2 <= …

    Raises:
        InputError: for points and thresholds that do not interleave so; lemma 1 says nothing of them.

    Example:
        >>> smallest_eigenvalue(np.array([1.0, 3.0]), np.array([0.0, 1.0]))
        1.0
    """
    x, b = _ascending("points", points), _ascending("thresholds", thresholds)
    if len(x) != len(b) or (b > x).any() or (x[:-1] > b[1:]).any():
        raise InputError("points and thresholds do not interleave, expected b_1 < x_1 <= b_2 < x_2 <= …, as lemma 1 has them")
    return float((x - b).min())


def weight_bound(points: ArrayLike, values: ArrayLike, thresholds: ArrayLike) -> float:
    """Return the bound on the weights from lemma 1's eigenvalue: 2 R / min_i(x_i - b_i), with R the range of the values and 0.

    It holds for thresholds at the previous point, where a weight is a difference of two slopes, each at most R over a gap.
    In general the eigenvalue alone bounds nothing, as the matrix is not symmetric.

    Example:
        >>> weight_bound(np.array([1.0, 3.0]), np.array([0.0, 1.0]), np.array([0.0, 1.0]))
        2.0
    """
    reach = max(float(np.max(values)), 0.0) - min(float(np.min(values)), 0.0)
    smallest = smallest_eigenvalue(points, thresholds)
    return 2 * reach / smallest if smallest > 0 else math.inf
