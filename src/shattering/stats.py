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
    half = stats.sem(accuracies) * stats.t.ppf((1 + level) / 2, len(accuracies) - 1)
    return max(0.0, fmean(accuracies) - half), min(1.0, fmean(accuracies) + half)
