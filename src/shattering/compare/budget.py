"""Budget mode: plan a test so that it ends in time, say what was left out, and stop on time."""

import math
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from sklearn.base import clone

from shattering.data.dataset import Dataset
from shattering.errors import InputError, blamed, shown
from shattering.identity.names import digest_of, is_object, label, name_of
from shattering.learners.on_splits import fit_split, predict_split
from shattering.learners.own import epochs_of
from shattering.runs import objects
from shattering.runs.fit import load_data
from shattering.runs.spec import RunSpec

_UNITS = {"s": 1, "sec": 1, "second": 1, "m": 60, "min": 60, "minute": 60, "h": 3600, "hour": 3600}
SHARE = 0.85  # share of the budget for the planned fits; the rest is for pilot fits, loading, and noise
PILOT = 0.03  # share of the budget that one pilot fit may take
LEAST_EXAMPLES = 500  # no plan trains on fewer than this, or than 20 per class, unless the data have fewer
LEAST_TEST = 1000  # a plan with a smaller training set has a test set of the same size, but of at least this size
LEAST_EPOCHS = 10
_PILOT_EPOCHS = 3
_MEASURABLE = 0.1  # seconds; only longer fits show how the time grows with n
_LATE = 1.05  # a fit that reports its epochs is stopped after this multiple of the budget


def parse_budget(budget: str | float | None) -> float | None:
    """Return a time such as "90s", "5min", "1.5 hours" or a number of seconds, in seconds.

    Raises:
        InputError: for anything else.
    """
    if budget is None:
        return None
    match = re.fullmatch(r"\s*([0-9]+\.?[0-9]*|\.[0-9]+)\s*([a-z]*?)\s*", str(budget).lower())
    unit = (match[2] or "s") if match else ""
    single = unit.removesuffix("s") if len(unit) > len("ms") else unit  # milliseconds are no minutes
    seconds = float(match[1]) * _UNITS.get(unit, _UNITS.get(single, math.nan)) if match else math.nan
    if not (math.isfinite(seconds) and seconds > 0):
        raise InputError(f"budget is {shown(budget)}, expected a time such as '90s', '5min' or '1h'")
    return seconds


class OutOfTime(BaseException):
    """Raised in a training that would end too late, which leaves its run interrupted, not failed."""


@dataclass
class Clock:
    """The time that is left of a budget.

    Args:
        seconds: the budget; None for none.
        start: when it began, by `time.perf_counter`.
    """

    seconds: float | None
    start: float

    @property
    def left(self) -> float:
        """The seconds that are left; infinite without a budget."""
        return math.inf if self.seconds is None else self.start + self.seconds - time.perf_counter()

    def check(self, _: dict) -> None:
        """Raise OutOfTime if the budget is exceeded by more than `_LATE` allows. Called after every epoch."""
        if self.seconds is not None and self.left < -(_LATE - 1) * self.seconds:
            raise OutOfTime


@dataclass(frozen=True)
class Cost:
    """The cost of a fit, which grows as a power of the number of examples.

    Args:
        seconds: of a fit on n examples.
        n: the number of examples.
        exponent: of the growth with n.
    """

    seconds: float
    n: int
    exponent: float

    def at(self, n: int) -> float:
        """Return the seconds of a fit on n examples."""
        return self.seconds * (n / self.n) ** self.exponent


def shrink_to_budget(spec: RunSpec, by_name: dict[str, Any], n_fits: int, least_fits: int, clock: Clock) -> tuple[RunSpec, tuple[str, ...]]:
    """Return the specification with fewer training examples or epochs where a budget requires it, and what is left out, in sentences.

    The number of examples is halved until `n_fits` fits are likely to end in time, but not below `LEAST_EXAMPLES`. Beyond that,
    repeats are left out; the number of epochs is reduced only if not even `least_fits` fits would end in time.

    Args:
        spec: of the original fit.
        by_name: the objects that it names.
        n_fits: the fits that are wanted.
        least_fits: the fits that are necessary.
        clock: the budget.
    """
    if clock.seconds is None:
        return spec, ()
    data, _ = load_data(replace(spec, folds=None, fold=None), by_name)
    whole, folds = len(data.train), spec.folds or 1
    cost = _measure(spec, by_name, data, clock)
    least = min(whole, max(LEAST_EXAMPLES, 20 * data.train.n_classes))
    n = whole
    while n > least and folds * n_fits * cost.at(n) > SHARE * clock.left:
        n = max(least, n // 2)
    left_out = []
    if n < whole:
        n_test = None if spec.folds else _test_size(n, data)
        spec = replace(spec, n_train=n, n_test=n_test)
        tests = f" and tests on {n_test:,} of {len(data.test):,}" if n_test else ""
        left_out.append(
            f"To keep to the budget it trains on {n:,} of {whole:,} examples{tests}: a fit on all takes about {cost.at(whole):.2g} s."
        )
    epochs = _epochs(spec, by_name)
    needed = folds * least_fits * cost.at(n)
    if epochs and needed > SHARE * clock.left:
        fewer = max(min(LEAST_EPOCHS, epochs), int(epochs * SHARE * clock.left / needed))
        if fewer < epochs:
            spec = _with_epochs(spec, by_name, fewer)
            left_out.append(
                f"To keep to the budget it trains for {fewer} of {epochs} epochs; what it does not fit here it might fit with all of them."
            )
    return spec, tuple(left_out)


def _epochs(spec: RunSpec, by_name: objects.Objects) -> int | None:
    return epochs_of(spec.build(by_name))


def _with_epochs(spec: RunSpec, by_name: dict[str, Any], epochs: int) -> RunSpec:
    """Return the specification with fewer epochs. A model that is an object is copied, under a name of its own in `by_name`."""
    if not is_object(spec.model):
        return replace(spec, params={**spec.params, "epochs": epochs})
    name = name_of(label(spec.model), f"{digest_of(spec.model).removeprefix('object:')}-{epochs}epochs")
    estimator: Any = clone(by_name[spec.model])
    by_name[name] = estimator.set_params(epochs=epochs)
    return replace(spec, model=name)


def _measure(spec: RunSpec, by_name: objects.Objects, data: Dataset, clock: Clock) -> Cost:
    """Measure the cost of a fit by pilot fits of doubling size, each a small part of the budget."""
    assert clock.seconds is not None
    budget = clock.seconds
    epochs, whole = _epochs(spec, by_name), len(data.train)
    n = min(whole, max(200, 4 * data.train.n_classes))
    points: list[tuple[int, float]] = []
    while True:
        with blamed(spec.model_name):
            points.append((n, _pilot(spec, by_name, data, n, epochs)))
        growth = 1.0 if epochs else _exponent(points)  # an epoch is linear in n
        spent = points[-1][1] / (epochs or 1) * (_PILOT_EPOCHS if epochs else 1)
        if n == whole or spent * 2**growth > PILOT * budget:
            return Cost(points[-1][1], n, growth)
        n = min(whole, 2 * n)


def _pilot(spec: RunSpec, by_name: objects.Objects, data: Dataset, n: int, epochs: int | None) -> float:
    """Measure the seconds of a fit on n examples and of predicting the test split.

    A model with epochs is fitted for a few; the fastest, times `epochs`, is the result.
    """
    small = data.limit(n, _test_size(n, data), spec.resolved_data_seed)
    model, ends = spec.build(by_name), [time.perf_counter()]
    if epochs:
        model.set_params(epochs=_PILOT_EPOCHS)
        fit_split(model, small.train, test=small.test, on_epoch=lambda _: ends.append(time.perf_counter()))
        spans = [b - a for a, b in pairwise(ends)]
        return epochs * min(spans) if spans else epochs / _PILOT_EPOCHS * (time.perf_counter() - ends[0])
    fit_split(model, small.train)
    predict_split(model, small.test)
    return time.perf_counter() - ends[0]


def _test_size(n: int, data: Dataset) -> int:
    return len(data.test) if n == len(data.train) else min(len(data.test), max(LEAST_TEST, n))


def _exponent(points: Sequence[tuple[int, float]]) -> float:
    """Return the exponent from the last two sizes, in 1…3; 1 while fits are too short to measure it."""
    if len(points) < 2 or points[-2][1] < _MEASURABLE:
        return 1.0
    (n, a), (m, b) = points[-2:]
    return min(3.0, max(1.0, math.log(b / a) / math.log(m / n)))
