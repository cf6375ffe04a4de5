"""A direction along which points lie well apart.

Between two neighbours along the direction the interpolating function has the slope |y_i - y_j| over their distance, and the
rounding errors of the network grow with these slopes. So directions are judged by them, and the best of a few random ones is
turned, by the smallest change that moves the closest pairs (those that matter: of different targets) apart.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from shattering.relu.points import Points, as_float64, project

CANDIDATES = 16  # random directions, of which the best is kept
ROUNDS = 8  # of turning it at most
_PAIRS = 2500  # pairs held at most; fewer where there are fewer dimensions
_MARGIN = 2.0  # pairs held are those up to this many times less steep than allowed
_FEWEST_BITS = 29  # of the grid; rounding to coarser ones adds more to an entry than `on_grid` allows for, and loses the direction
_BEYOND = 1.25  # pairs are moved this much further apart than needed


@dataclass(frozen=True)
class Projection:
    """Points projected on a direction.

    Args:
        direction: (d,) float64.
        points: (n,) float64, the place of each point along it.
        steepness: see `steepness`.
        exact: True if the points' places are free of rounding, in any order of summation: the points are whole numbers, and the
            direction's entries are on a grid that is coarse enough. Of numbers so large that no direction would be left it is False.
        rounds: how often the direction was turned.
    """

    direction: np.ndarray
    points: np.ndarray
    steepness: float
    exact: bool
    rounds: int = 0


def steepness(values: np.ndarray, targets: np.ndarray) -> float:
    """Return the root of the sum of all squared slopes between neighbours, with the values' range as the unit of length.

    Infinite where points of different targets coincide. Times float64's precision, it is the size of the network's error.
    """
    slopes = _slopes(values, targets)[1]
    steepest = slopes.max(initial=0.0)
    if not steepest or np.isinf(steepest):
        return float(steepest)
    return float(np.linalg.norm(slopes / steepest) * steepest * np.ptp(values))


def best_of(rows: Points, targets: np.ndarray, largest: float | None, generator: np.random.Generator, candidates: int) -> Projection:
    """Return the least steep of random directions. largest: see `survey`; with it directions are on a grid, see `on_grid`."""
    d = rows.shape[1]
    directions = generator.normal(size=(d, candidates)) if d > 1 else np.ones((1, 1))
    found, exact = zip(*(on_grid(a, largest) for a in directions.T), strict=True)
    directions = np.stack(found, axis=1)
    values = project(rows, directions)
    slopes = [steepness(column, targets) for column in values.T]
    best = int(np.argmin(slopes))
    return Projection(directions[:, best].copy(), values[:, best].copy(), slopes[best], exact[best])


def on_grid(direction: np.ndarray, largest: float | None) -> tuple[np.ndarray, bool]:
    """Return the direction scaled to entries of at most 1, and whether every sum of products is exact in float64.

    That is so, by rounding the direction, given the largest absolute value of whole-numbered points, unless that is too large.
    """
    direction = direction / np.abs(direction).max()
    if largest is None:
        return direction, False
    total = float(np.abs(direction).sum()) + len(direction) * 2.0**-30
    bits = 53 - math.log2(total * max(largest, 1.0))
    if bits < _FEWEST_BITS:
        return direction, False
    return np.rint(direction * 2.0 ** math.floor(bits)) * 2.0 ** -math.floor(bits), True


def turned(rows: Points, targets: np.ndarray, start: Projection, largest: float | None, rounds: int = ROUNDS) -> Projection:
    """Return the least steep direction met in at most `rounds` turns. They end early where `_change` finds nothing to change."""
    best = now = start
    for step in range(rounds):
        change = _change(rows, targets, now.points)
        if change is None:
            break
        direction, exact = on_grid(now.direction + change, largest)
        values = project(rows, direction[:, None])[:, 0]
        now = Projection(direction, values, steepness(values, targets), exact, step + 1)
        if now.steepness < best.steepness:
            best = now
    return best


def _slopes(values: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return points in ascending order (n,), and the absolute slopes between neighbours (n - 1,)."""
    order = np.argsort(values, kind="stable")
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        gaps, rises = np.diff(values[order]), np.abs(np.diff(targets[order]))
        return order, np.where(rises > 0, rises / gaps, 0.0)


def _change(rows: Points, targets: np.ndarray, values: np.ndarray) -> np.ndarray | None:
    """Return the smallest change of direction that brings the steepest pairs down to the allowed slope and keeps the next ones.

    None where nothing is steeper, or there are too few dimensions.
    """
    order, slopes = _slopes(values, targets)
    held = min(_PAIRS, 3 * rows.shape[1] // 4, len(slopes))
    if held < 1:
        return None
    pairs = np.argpartition(-slopes, held - 1)[:held]
    allowed = _MARGIN * slopes[pairs].min()
    steep = slopes[pairs] > allowed
    if not steep.any() or allowed == 0:
        return None
    left, right = order[pairs], order[pairs + 1]
    gaps = values[right] - values[left]
    rises = np.abs(targets[right] - targets[left])
    wanted = np.where(steep, _BEYOND * rises / allowed - gaps, 0.0)
    return _least_norm(_rows_at(rows, right) - _rows_at(rows, left), wanted)


def _rows_at(rows: Points, numbers: np.ndarray) -> torch.Tensor:
    """Return rows (k, d) float64; they are asked for in ascending order, each once."""
    ascending, where = np.unique(numbers, return_inverse=True)
    return as_float64(np.asarray(rows[ascending]))[torch.from_numpy(where)]


def _least_norm(differences: torch.Tensor, wanted: np.ndarray) -> np.ndarray | None:
    """Return the smallest change with differences @ change = wanted; slightly regularized, as differences may depend on each other."""
    gram = (differences @ differences.T).numpy()
    gram[np.diag_indices_from(gram)] += 1e-9 * np.trace(gram) / len(gram)
    try:
        factor = cho_factor(gram, lower=True, overwrite_a=True, check_finite=False)
    except LinAlgError:
        return None
    return (torch.from_numpy(cho_solve(factor, wanted, check_finite=False)) @ differences).numpy()
