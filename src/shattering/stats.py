"""Confidence intervals and permutation p-values."""

from collections.abc import Sequence
from math import hypot
from statistics import fmean

from scipy import stats

from shattering.errors import InputError


def accuracy_interval(accuracies: Sequence[float], n_test: int, level: float = 0.95) -> tuple[float, float]:
    """A confidence interval for an accuracy, from one accuracy in 0…1 a seed, each on n_test examples.

    Three seeds or more: Student's t over the seeds. Fewer say little about their spread: Wilson's interval for the
    drawing of the test examples alone, all seeds pooled. Raises InputError without accuracies.
    """
    if not accuracies:
        raise InputError("accuracies is empty, expected one a seed")
    if len(accuracies) < 3:
        n = n_test * len(accuracies)
        pooled = stats.binomtest(round(fmean(accuracies) * n), n).proportion_ci(level, method="wilson")
        return float(pooled.low), float(pooled.high)
    return mean_interval(accuracies, 0.0, 1.0, level)  # type: ignore[return-value]


def mean_interval(values: Sequence[float], low: float, high: float, level: float = 0.95) -> tuple[float, float] | None:
    """Student's t interval for the mean of values that lie in low…high; None for fewer than two."""
    if len(values) < 2:
        return None
    half = stats.sem(values) * stats.t.ppf((1 + level) / 2, len(values) - 1)
    return max(low, fmean(values) - half), min(high, fmean(values) + half)


def permutation_p_value(score: float, null_scores: Sequence[float]) -> float:
    """(C + 1) / (B + 1), with C of the B null scores at least as good as the score; higher is better.

    Never below its floor, 1 / (B + 1) (Ojala and Garriga 2010, definition 1; Phipson and Smyth 2010). Raises InputError
    without null scores.
    """
    if not len(null_scores):
        raise InputError("null_scores is empty, expected at least one draw")
    return (sum(null >= score for null in null_scores) + 1) / (len(null_scores) + 1)


def difference_interval(a: float, a_interval: tuple[float, float], b: float, b_interval: tuple[float, float]) -> tuple[float, float]:
    """A confidence interval for the difference a - b of independent estimates, from an interval of each at that level.

    The square-and-add rule (Newcombe 1998, method 10; MOVER: Zou and Donner 2008), which keeps the asymmetry of the intervals.
    """
    difference = a - b
    below = hypot(a - a_interval[0], b_interval[1] - b)
    above = hypot(a_interval[1] - a, b - b_interval[0])
    return difference - below, difference + above
