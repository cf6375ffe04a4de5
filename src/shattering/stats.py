"""Confidence intervals."""

from collections.abc import Sequence
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
