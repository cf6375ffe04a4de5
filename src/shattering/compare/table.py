"""The rows of a test's table."""

from collections.abc import Sequence
from statistics import fmean, stdev

from shattering import stats
from shattering.compare.plan import ORIGINAL, TESTS
from shattering.compare.result import Draw, RandomizationTest
from shattering.errors import InputError
from shattering.randomization import Randomization


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def make_row(test: RandomizationTest, randomization: Randomization) -> dict:
    """A row of `RandomizationTest.table` as a dictionary, None for missing values."""
    draws, original = test.of(randomization), test.original
    train, score = (_mean([getattr(d, name) for d in draws]) for name in ("train_score", "test_score"))
    row = {
        "randomization": randomization.title,
        "draws": len(draws),
        "not_done": len(test.of(randomization, done=False)) - len(draws),
        "train_score": train,
        "test_score": score,
        "gap": None if train is None or score is None else train - score,
        "interpolated": _mean([float(bool(d.interpolated)) for d in draws]),
        "epochs_to_fit": _mean([d.mean("epochs_to_fit") for d in draws]),
        "fit_seconds": _mean([d.fit_seconds for d in draws]),
    }
    row |= _time_ratio(row, original) | _effect(test, randomization)
    tested = test.tests.get(randomization)
    fields = ("p_value", "n_as_good", "floor")
    return row | {name if name != "floor" else "p_floor": getattr(tested, name) if tested else None for name in fields}


def _time_ratio(row: dict, original: Draw) -> dict:
    if row["epochs_to_fit"] is not None and original.mean("epochs_to_fit"):
        return {"time_ratio": row["epochs_to_fit"] / original.mean("epochs_to_fit"), "time_in": "epochs"}  # type: ignore[operator]
    has_epochs = original.mean("epochs") is not None
    if row["fit_seconds"] is None or has_epochs or not original.fit_seconds:
        return {"time_ratio": None, "time_in": None}
    return {"time_ratio": row["fit_seconds"] / original.fit_seconds, "time_in": "seconds"}


def _effect(test: RandomizationTest, randomization: Randomization) -> dict:
    """How much better the original score is, in the score's units with an interval, and in standard deviations of the draws."""
    nulls = test.scores(randomization, _statistic(randomization))
    if randomization == ORIGINAL or not nulls:
        return dict.fromkeys(("effect", "effect_low", "effect_high", "effect_sd"))
    score = test.original.test_score
    if score is None:
        raise InputError("the original data have not been fitted, expected that before any comparison")
    mean, spread = fmean(nulls), stdev(nulls) if len(nulls) > 1 else 0.0
    spread = spread if spread > stats.ROUNDING * max(map(abs, nulls)) else 0.0
    low, high = _interval(test.original, score, nulls)
    sd = (score - mean) / spread if spread else None
    return {"effect": score - mean, "effect_low": low, "effect_high": high, "effect_sd": sd}


def _interval(original: Draw, score: float, nulls: Sequence[float]) -> tuple[float | None, float | None]:
    """95 % interval for the original score minus the mean over draws.

    Accuracies: from Wilson's interval for the original one and `stats.accuracy_interval` over the draws. Other scores: from
    the spread of the draws alone; None for fewer than two.
    """
    mean = fmean(nulls)
    if original.runs[0].spec.scoring is None:
        own, others = (stats.accuracy_interval(scores, original.n_test) for scores in ([score], nulls))
        return stats.difference_interval(score, own, mean, others)
    spread = stats.mean_interval(nulls, float("-inf"), float("inf"))
    return (None, None) if spread is None else stats.difference_interval(score, (score, score), mean, spread)


def _statistic(randomization: Randomization) -> str:
    """What draws are compared by: the permutation test's statistic where it is one."""
    return "null_score" if randomization in TESTS else "test_score"
