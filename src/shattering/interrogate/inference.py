"""The parts that the tests share: exact p-values, intervals, resampling of cells, and corrections for many measures."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from math import sqrt

import numpy as np
from scipy import stats

from shattering import seeds
from shattering.parameters import check
from shattering.stats import Level

DRAWS = 2000  # resamples of a bootstrap, and permutations of a permutation test


def sign_test(wins: int, losses: int) -> float:
    """Return the two-sided p-value of the exact sign test; ties are left out before. 1 without wins and losses.

    Example:
        >>> round(sign_test(9, 1), 4)
        0.0215
    """
    return float(stats.binomtest(wins, wins + losses).pvalue) if wins + losses else 1.0


def wilson(share: float, n: int, level: float = 0.95) -> tuple[float, float]:
    """Return Wilson's interval for a share of n, where ties count half, so that share · n need not be whole.

    Example:
        >>> low, high = wilson(29 / 32, 32)
        >>> round(low, 2), round(high, 2)
        (0.76, 0.97)
    """
    check("level", level, Level)
    if not n:
        return 0.0, 1.0
    z2 = float(stats.norm.ppf((1 + level) / 2)) ** 2
    middle, half = share + z2 / (2 * n), sqrt(z2 * (share * (1 - share) / n + z2 / (4 * n * n)))
    return max(0.0, (middle - half) / (1 + z2 / n)), min(1.0, (middle + half) / (1 + z2 / n))


@lru_cache(maxsize=64)
def resample(n: int, purpose: str, draws: int = DRAWS) -> np.ndarray:
    """Return how often each of n cells is drawn in each resample, (draws, n): the cluster bootstrap of Efron.

    The same cells and purpose give the same resamples, so that measures are compared on common ones. Of no cells nothing is drawn.
    """
    if not n:
        return np.zeros((draws, 0), dtype=np.int64)
    return seeds.generator(0, f"interrogate/{purpose}", n).multinomial(n, np.full(n, 1 / n), size=draws)


def percentiles(values: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Return the percentile interval of resampled statistics (draws,); NaN, where a resample has no statistic, is left out."""
    check("level", level, Level)
    known = values[~np.isnan(values)]
    if not len(known):
        return float("nan"), float("nan")
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def holm(p_values: Sequence[float]) -> np.ndarray:
    """Return the p-values after the step-down correction of Holm (1979), in their order, (n,). NaN stays NaN and is not counted.

    Example:
        >>> holm([0.01, 0.04, 0.03]).tolist()
        [0.03, 0.06, 0.06]
    """
    p, out = np.asarray(p_values, dtype=float), np.full(len(p_values), np.nan)
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known], kind="stable")]
    steps = p[order] * np.arange(len(order), 0, -1)
    out[order] = np.minimum(np.maximum.accumulate(steps), 1.0) if len(order) else steps
    return out


def benjamini_hochberg(p_values: Sequence[float]) -> np.ndarray:
    """Return the q-values of Benjamini and Hochberg (1995), in the order of the p-values, (n,). NaN stays NaN and is not counted."""
    p = np.asarray(p_values, dtype=float)
    out, known = np.full(len(p), np.nan), ~np.isnan(p)
    if known.any():
        out[known] = stats.false_discovery_control(p[known])
    return out


def average(values: np.ndarray | Sequence, axis: int = 0, of: Callable[..., np.ndarray] = np.nanmean) -> np.ndarray:
    """Return the mean along an axis without what is NaN, and NaN where everything is. of: another average, such as np.nanmedian."""
    stack = np.asarray(values, dtype=float)
    empty = np.isnan(stack).all(axis)
    return np.where(empty, np.nan, of(np.where(np.expand_dims(empty, axis), 0.0, stack), axis=axis))


def sign_of(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the sign of b − a, elementwise; equal infinities are a tie."""
    return (b > a).astype(np.int8) - (b < a).astype(np.int8)
