"""Confidence intervals and permutation p-values."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import hypot, inf, isfinite
from numbers import Real
from statistics import fmean
from typing import Annotated, Any

import numpy as np
from scipy import stats

from shattering.errors import InputError
from shattering.parameters import Count, Limit, Natural, check

ROUNDING = 1e-9  # of the larger of two scores: differences up to this are taken for rounding errors


class _Between(Limit):
    """Numbers between 0 and 1, without these two."""

    def __contains__(self, value: object) -> bool:
        number: Any = value
        return bool(0 < number < 1)

    def __str__(self) -> str:
        return "above 0 and below 1, such as 0.95"


Level = Annotated[float, _Between()]  # of confidence


def accuracy_interval(accuracies: Sequence[float], n_test: int, level: float = 0.95) -> tuple[float, float]:
    """Return a confidence interval for an accuracy, from one accuracy in 0…1 per seed, each on n_test examples.

    Three seeds or more: Student's t over the seeds. Fewer say little about their spread: Wilson's interval of their mean for the drawing
    of the test examples alone, which all seeds share.

    Raises:
        InputError: without accuracies, for those that are not in 0…1, for n_test below 1, and for a level that is not between 0 and 1.

    Example:
        >>> low, high = accuracy_interval([0.9], n_test=100)
        >>> round(low, 3), round(high, 3)
        (0.826, 0.945)
    """
    if not len(accuracies):
        raise InputError("accuracies is empty, expected one per seed")
    check("n_test", n_test, Count)
    check("level", level, Level)
    check_finite("accuracies", accuracies)
    _check_within("accuracies", accuracies, 0, 1)
    if len(accuracies) < 3:
        drawn = stats.binomtest(round(fmean(accuracies) * n_test), n_test).proportion_ci(level, method="wilson")
        return float(drawn.low), float(drawn.high)
    return mean_interval(accuracies, 0.0, 1.0, level)  # type: ignore[return-value]  # with accuracies there is an interval


def mean_interval(values: Sequence[float], low: float, high: float, level: float = 0.95) -> tuple[float, float] | None:
    """Compute Student's t interval for the mean of values that lie in low…high; None for fewer than two.

    Raises:
        InputError: for values that are NaN, infinite, or not in low…high, and for a level that is not between 0 and 1.

    Example:
        >>> low, high = mean_interval([1.0, 2.0, 3.0], -10.0, 10.0)
        >>> round(low, 2), round(high, 2)
        (-0.48, 4.48)
    """
    check("level", level, Level)
    check_finite("values", values)
    _check_within("values", values, low, high)
    if len(values) < 2:
        return None
    half = stats.sem(values) * stats.t.ppf((1 + level) / 2, len(values) - 1)
    return float(max(low, fmean(values) - half)), float(min(high, fmean(values) + half))


def check_finite(name: str, values: Sequence[float]) -> None:
    """Raise InputError if a value is NaN, infinite or no number: it cannot be compared, and a mean of it says nothing."""
    bad = [value for value in values if not isinstance(value, Real) or not isfinite(value)]
    if bad:
        which = f"has {bad[0]!r} ({len(bad)} of {len(values)} are no finite numbers)" if len(values) > 1 else f"is {bad[0]!r}"
        raise InputError(f"{name} {which}, expected finite numbers, which can be compared")


def _check_within(name: str, values: Sequence[float], low: float, high: float) -> None:
    """Raise InputError if a value is not in low…high, but for rounding."""
    strange = [value for value in values if not low - ROUNDING <= value <= high + ROUNDING]
    if strange:
        raise InputError(f"{name} has {strange[0]!r}, expected numbers in {low:g}…{high:g}")


def n_as_good(score: float, null_scores: Sequence[float]) -> int:
    """Return how many null scores are at least as good as the score; higher is better.

    Scores that differ by no more than rounding (`ROUNDING` of the larger of the two, or of the largest of all, up to 1) count as
    equal: means of the same accuracies over folds differ in the last digit by the order of the folds, and no verdict may hang on
    that. It makes p no smaller, so it stays valid. Raises InputError for scores that are NaN or infinite.
    """
    return int(_are_as_good(score, null_scores).sum())


def _are_as_good(score: float, null_scores: Sequence[float]) -> np.ndarray:
    """Return which null scores are at least as good, (n,) bool; see `n_as_good`."""
    check_finite("score", [score])
    check_finite("null_scores", null_scores)
    nulls = np.asarray(null_scores, dtype=float)
    sizes = np.maximum(np.abs(nulls), abs(score))
    unit = min(1.0, sizes.max(initial=0.0))  # scores near 0 have the rounding of what they are differences of, as R² of 1
    return nulls >= score - ROUNDING * np.maximum(sizes, unit)


def permutation_p_value(score: float, null_scores: Sequence[float], n_failed: int = 0) -> float:
    """Return (C + 1) / (B + 1), where C of the B permutations are at least as good as the score; higher is better.

    The p-value is never below its floor, 1 / (B + 1) (Ojala and Garriga 2010, definition 1; Phipson and Smyth 2010).

    Args:
        score: on the original data.
        null_scores: on the randomized copies; see `n_as_good` for ties.
        n_failed: permutations that were begun and have no score. They count as at least as good, so that p is valid whatever
            made them fail. Without them p would be too small where a model fails on randomized data on which it would have
            scored well: a model is made to work with the original data.

    Raises:
        InputError: without null scores, for scores that are NaN or infinite, and for a bad n_failed.

    Example:
        >>> permutation_p_value(0.9, [0.1] * 19)
        0.05
    """
    if not len(null_scores):
        raise InputError("null_scores is empty, expected at least one permutation")
    check("n_failed", n_failed, Natural)
    return (n_as_good(score, null_scores) + n_failed + 1) / (len(null_scores) + n_failed + 1)


def p_floor(n_permutations: int, admissible: float | None = inf) -> float:
    """Return the smallest p-value that is possible: 1 / min(n_permutations + 1, admissible).

    Args:
        n_permutations: permutations that are compared with the original.
        admissible: different permutations that there are, see `shattering.data.exchange.count_orders`: each one may be the original
            itself, which scores as high as the original does. None: not known.

    Example:
        >>> p_floor(19), p_floor(999, admissible=6)
        (0.05, 0.16666666666666666)
    """
    check("n_permutations", n_permutations, Natural)
    return float(1 / min(n_permutations + 1, inf if admissible is None else admissible))


@dataclass(frozen=True)
class Sequential:
    """A permutation test that stops at a number of permutations as good as the original (Besag and Clifford 1991).

    Args:
        n: permutations that count: up to the one at which the test stopped, or all.
        n_as_good: those of them that are at least as good as the original.
        stopped: True if the number was reached, so that p = n_as_good / n; else p = (n_as_good + 1) / (n + 1).

    Example:
        >>> Sequential(n=12, n_as_good=3, stopped=True).p_value
        0.25
    """

    n: int
    n_as_good: int
    stopped: bool

    @property
    def p_value(self) -> float:
        """The p-value, valid in both cases."""
        return self.n_as_good / self.n if self.stopped else (self.n_as_good + 1) / (self.n + 1)


def sequential_test(score: float, null_scores: Sequence[float | None], stop_after: int | None = None) -> Sequential:
    """Count the permutations at least as good as the score, in their order, up to the one that makes `stop_after` of them.

    With a number of them that is fixed beforehand, p = h / b is valid if the test stops at the b-th permutation, as the h-th that is as
    good (Besag and Clifford 1991, Sequential Monte Carlo p-values). Where the score is ordinary it stops after about 2 h permutations.

    Args:
        score: of the original data; higher is better.
        null_scores: of the permutations in their order; None for one that was begun and has no score, which counts as as good.
        stop_after: h, chosen before the test; None: all permutations count.

    Returns:
        How many permutations count, how many of them are at least as good, and whether the test stopped.

    Raises:
        InputError: without permutations, and for scores that are NaN or infinite.

    Example:
        >>> sequential_test(0.5, [0.6, 0.4, 0.7, 0.2], stop_after=2)
        Sequential(n=3, n_as_good=2, stopped=True)
    """
    if not len(null_scores):
        raise InputError("null_scores is empty, expected at least one permutation")
    check("stop_after", stop_after, Count | None)
    are_as_good = iter(_are_as_good(score, [null for null in null_scores if null is not None]).tolist())
    count = 0
    for number, null in enumerate(null_scores, start=1):
        count += null is None or next(are_as_good)
        if stop_after is not None and count >= stop_after:
            return Sequential(number, count, True)
    return Sequential(len(null_scores), count, False)


def percent(value: float, nearly_all: str = "more than 99.9%") -> str:
    """Return a share with one decimal, never rounded up to 100%; nearly_all takes the place of that."""
    return nearly_all if 0.9995 <= value < 1 else f"{value:.1%}"


def difference_interval(a: float, a_interval: tuple[float, float], b: float, b_interval: tuple[float, float]) -> tuple[float, float]:
    """Return a confidence interval for the difference a - b of independent estimates, from an interval of each at that level.

    The square-and-add rule (Newcombe 1998, method 10; MOVER: Zou and Donner 2008), which keeps the asymmetry of the intervals.
    Raises InputError for NaN, and for an interval whose ends are the wrong way round.

    Example:
        >>> low, high = difference_interval(0.9, (0.8, 0.95), 0.5, (0.4, 0.6))
        >>> round(low, 3), round(high, 3)
        (0.259, 0.512)
    """
    check_finite("estimates and intervals", [a, *a_interval, b, *b_interval])
    for low, high in (a_interval, b_interval):
        if low > high:
            raise InputError(f"an interval is {(low, high)}, expected its lower end first")
    difference = a - b
    below = hypot(a - a_interval[0], b_interval[1] - b)
    above = hypot(a_interval[1] - a, b - b_interval[0])
    return difference - below, difference + above
