"""The zero-refit test: a fitted model's score on test examples, against its scores when their labels are exchanged. No refits.

The test split was never used in training. H0: the test labels are exchangeable, given inputs and model. Then the score is as likely as
each score against admissibly permuted test labels, and p = (1 + number at least as good) / (permutations + 1) is valid. It costs
milliseconds, so there are many permutations and p may be small. It says that this one fitted model predicts better than chance; the
permutation test with refits asks that of the way to fit it.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import numpy as np

from shattering import stats
from shattering.brief import Brief
from shattering.compare.class_scores import CLASS_SCORES, class_score
from shattering.data.exchange import (
    ExchangeFunction,
    blocks,
    check_exchange,
    count_orders,
    exchanged_order,
    permuted_by,
    shown_function,
    shown_orders,
)
from shattering.errors import InputError, unknown
from shattering.parameters import Natural, Range, check_arguments
from shattering.seeds import quick_generator

N_PERMUTATIONS = 9999
BY_SCORER = 999  # permutations for scores that are functions, which are computed one by one
LEAST_ORDERS = 20  # admissible permutations, below which there is no verdict: p could not be 0.05
_TABLE, _CHUNK = 400, 4_000_000  # cells of a contingency table that is drawn as a whole; numbers held at a time
_DRAW, _CALL = 15, 1000  # times of a hypergeometric number, and of a call of NumPy, in units of a step of a shuffle

Score = Callable[[np.ndarray], float]
Permutations = Annotated[int, Range(2)]


@dataclass(frozen=True, repr=False)
class ZeroRefitTest(Brief):
    """The score of one fitted model on a test split, and its distribution under admissible permutations of the test labels.

    Args:
        score: against the test labels as they are; higher is better.
        null_mean: mean of the scores against permuted labels.
        null_sd: their standard deviation.
        n_permutations: how many permutations were drawn.
        n_as_good: how many of them scored at least as high.
        exchange: how the labels were permuted, see `shattering.data.exchange`.
        admissible: how many different label vectors that gives; None if it is not known.
        n_test: the number of test examples.

    Example:
        >>> y = np.arange(100) % 2
        >>> zero_refit(y, y).p_value
        0.0001
    """

    score: float
    null_mean: float
    null_sd: float
    n_permutations: int
    n_as_good: int
    exchange: str
    admissible: float | None
    n_test: int

    @property
    def p_value(self) -> float:
        """(n_as_good + 1) / (n_permutations + 1) (Phipson and Smyth 2010), but not below the floor."""
        return max((self.n_as_good + 1) / (self.n_permutations + 1), self.floor)

    @property
    def floor(self) -> float:
        """The smallest p-value that is possible: 1 / min(n_permutations + 1, admissible)."""
        return stats.p_floor(self.n_permutations, self.admissible)

    @property
    def has_verdict(self) -> bool:
        """False if there are fewer than 20 admissible permutations, too few to tell anything at 5 %."""
        return self.admissible is None or self.admissible >= LEAST_ORDERS

    def to_json(self) -> dict:
        """Return the fields, the p-value and its floor; an infinite number of admissible permutations is None, else it may be "unknown"."""
        return {**asdict(self), "admissible": shown_orders(self.admissible), "p_value": self.p_value, "p_floor": self.floor}


def zero_refit(
    y: np.ndarray,
    predicted: np.ndarray,
    *,
    score: Score | str = "accuracy",
    exchange: str | ExchangeFunction = "free",
    groups: np.ndarray | None = None,
    ids: np.ndarray | None = None,
    seed: Natural = 0,
    n_permutations: Permutations | None = None,
) -> ZeroRefitTest:
    """Test the predictions of one fitted model on test examples that it was not trained on.

    Args:
        y: (n,) true labels or targets of the test examples.
        predicted: (n,) what the model predicts for them; for "roc_auc" a number that is higher the likelier the second class is.
        score: "accuracy"; "r2"; "roc_auc", of two classes; a name in `CLASS_SCORES`; or a function (labels (n,)) → score of the
            predictions against them, higher is better.
        exchange: the admissible permutations: "free", "within", "whole" or "shift", see `shattering.data.exchange.exchanged_order`; or a
            function (labels, generator) → permuted labels, see `shattering.data.exchange.permuted_by`.
        groups: (n,) the group of each example; None for independent examples.
        ids: (n,) their order in time, for "shift" and "whole"; None: the order of the rows.
        seed: seeds the permutations.
        n_permutations: at least 2. None: 9,999, and 999 where score or exchange is a function.

    Returns:
        The test.

    Raises:
        InputError: for a bad exchange, for a score that is unknown or not finite, and for arrays that are not as described.

    Example:
        >>> y, predicted = np.array([0, 1] * 20), np.array([0, 1] * 15 + [1, 0] * 5)
        >>> test = zero_refit(y, predicted)
        >>> test.score, test.p_value < 0.01, round(test.null_mean, 2)
        (0.75, True, 0.5)
    """
    if not callable(score) and score not in (*CLASS_SCORES, *_SCORES):
        raise unknown("score", score, (*_SCORES, *CLASS_SCORES), "a function")
    check_arguments(zero_refit, locals(), "seed", "n_permutations")
    y, predicted, groups, ids = _arrays(y, predicted, groups, ids, of_labels=score in ("accuracy", *CLASS_SCORES))
    rng = quick_generator(seed, "zero-refit")
    if callable(exchange):
        return _by_function(y, score if callable(score) else _plain(score, y, predicted), exchange, rng, n_permutations or BY_SCORER)
    check_exchange(exchange, groups)
    if callable(score):
        n = n_permutations or BY_SCORER
        own, nulls = score(y), _one_by_one(score, y, exchange, groups, ids, rng, n)
    elif score in CLASS_SCORES:
        n, by_class = n_permutations or N_PERMUTATIONS, class_score(score, y, predicted)
        sums = null_sums(by_class.codes(y), by_class.codes(predicted), by_class.weigh, exchange, groups, ids, rng, n)
        own, nulls = by_class.score(predicted, y), by_class.constant + sums
    else:
        n = n_permutations or N_PERMUTATIONS
        own, nulls = _SCORES[score](y, predicted, _matches if score == "accuracy" else _products, exchange, groups, ids, rng, n)
    return _tested(own, nulls, exchange, count_orders(exchange, y, groups, ids), len(y))


def _arrays(y: Any, predicted: Any, groups: Any, ids: Any, of_labels: bool) -> Any:
    """Return the four as arrays of one length; None stays. of_labels: predictions are compared with the labels.

    Raises InputError for other shapes, and for predicted labels that are no texts where labels are, or the other way round.
    """
    given = {"y": y, "predicted": predicted, "groups": groups, "ids": ids}
    arrays: dict[str, Any] = {name: None if values is None else np.asarray(values) for name, values in given.items()}
    n = arrays["y"].size
    for name, values in arrays.items():
        if values is not None and (values.shape != (n,) or not n):
            raise InputError(f"{name} has shape {values.shape}, expected a number or a label for each example of y, at least one")
    kinds = [arrays[name].dtype.kind for name in ("y", "predicted")]
    if of_labels and (kinds[0] in "US") != (kinds[1] in "US") and "O" not in kinds:
        raise InputError("one of y and predicted has texts and the other has none, expected predictions in the values of the labels")
    return arrays.values()


def _tested(own: float, nulls: np.ndarray, exchange: str, admissible: float | None, n_test: int) -> ZeroRefitTest:
    n_as_good = stats.n_as_good(own, nulls.tolist())
    return ZeroRefitTest(float(own), float(nulls.mean()), float(nulls.std(ddof=1)), len(nulls), n_as_good, exchange, admissible, n_test)


def _by_function(y: np.ndarray, score: Score, function: ExchangeFunction, rng: np.random.Generator, n: int) -> ZeroRefitTest:
    """Return the test by permutations that a function makes, whose number is not known."""
    nulls = np.array([score(permuted_by(function, y, rng)) for _ in range(n)])
    return _tested(score(y), nulls, shown_function(function), None, len(y))


def _plain(score: str, y: np.ndarray, predicted: np.ndarray) -> Score:
    """Return a score of predictions that has a name as a function of the permuted labels."""
    if score in CLASS_SCORES:
        by_class = class_score(score, y, predicted)
        return lambda y: by_class.score(predicted, y)
    if score == "accuracy":
        return lambda y: float((y == predicted).mean())
    if score == "roc_auc":
        return _auc(y, predicted)[0]
    return lambda y: float(1 - ((y - predicted) ** 2).sum() / ((y - y.mean()) ** 2).sum())


def _one_by_one(score: Score, y: np.ndarray, exchange: str, groups, ids, rng: np.random.Generator, n: int) -> np.ndarray:
    keys = (rng.integers(0, 2**63, len(y)).astype(np.uint64) for _ in range(n))
    return np.array([score(y[exchanged_order(exchange, key, groups, ids)]) for key in keys])


def _accuracies(y, predicted, weigh, exchange, groups, ids, rng, n) -> tuple[float, np.ndarray]:
    _, codes = np.unique(np.concatenate([y, predicted]), return_inverse=True)
    y, predicted = codes[: len(y)], codes[len(y) :]
    sums = null_sums(y, predicted, weigh, exchange, groups, ids, rng, n)
    return float((y == predicted).mean()), sums / len(y)


def _r2(y, predicted, weigh, exchange, groups, ids, rng, n) -> tuple[float, np.ndarray]:
    y, predicted = y.astype(float) - y.mean(), predicted.astype(float) - y.mean()  # R² does not depend on the origin
    total, squares = (y**2).sum(), (y**2).sum() + (predicted**2).sum()
    sums = null_sums(y, predicted, weigh, exchange, groups, ids, rng, n)
    return float(1 - ((y - predicted) ** 2).sum() / total), 1 - (squares - 2 * sums) / total


def _auc(y: np.ndarray, predicted: np.ndarray) -> tuple[Score, np.ndarray, Callable[[np.ndarray], np.ndarray]]:
    """Return the area under the ROC curve as a function of labels, the ranks of predictions, and what gives it from sums of ranks.

    The sums are those of the ranks of the second class's examples; the area is linear in them (Mann and Whitney 1947). Equal predictions
    share their mean rank.
    """
    from scipy.stats import rankdata

    ranks, second = rankdata(predicted), np.unique(y)[-1]
    n = int((y == second).sum())

    def areas(sums):
        return (sums - n * (n + 1) / 2) / (n * (len(y) - n))

    return lambda y: float(areas(ranks[y == second].sum())), ranks, areas


def _roc_auc(y, predicted, weigh, exchange, groups, ids, rng, n) -> tuple[float, np.ndarray]:
    score, ranks, areas = _auc(y, predicted)
    is_second = (y == np.unique(y)[-1]).astype(float)
    return score(y), areas(null_sums(is_second, ranks, weigh, exchange, groups, ids, rng, n))


_SCORES = {"accuracy": _accuracies, "r2": _r2, "roc_auc": _roc_auc}


def _matches(predicted: np.ndarray, y: np.ndarray) -> np.ndarray:
    return predicted == y


def _products(predicted: np.ndarray, y: np.ndarray) -> np.ndarray:
    return predicted * y


def null_sums(y, predicted, weigh: Callable, exchange: str, groups, ids, rng: np.random.Generator, n: int) -> np.ndarray:
    """Return (n,) draws of the sum over examples of weigh(prediction, exchanged label).

    Labels are drawn as `exchanged_order` puts them, in distribution, but by whole contingency tables where there are few kinds of label
    vectors (Patefield 1981), or by their diagonals, so that the cost does not grow with the number of examples.
    """
    rows, starts, sizes = blocks(len(y), groups if exchange != "free" else None, ids)
    y, predicted = y[rows], predicted[rows]
    parts = [slice(start, start + size) for start, size in zip(starts, sizes, strict=True)]
    total = np.zeros(n)
    if exchange == "shift":
        for part in parts:
            size = part.stop - part.start
            lags = np.array([weigh(predicted[part], np.roll(y[part], lag)).sum() for lag in range(size)])
            total += lags[rng.integers(0, size, n)]
    elif exchange == "whole":
        for size in np.unique(sizes):
            chosen = [part for part in parts if part.stop - part.start == size]
            by_group, labels = (np.stack([values[part] for part in chosen]) for values in (predicted, y))
            total += _exchanged(by_group, labels, weigh, rng, n)
    else:
        for part in parts:
            total += _exchanged(predicted[part, None], y[part, None], weigh, rng, n)
    return total


def _exchanged(predicted: np.ndarray, y: np.ndarray, weigh: Callable, rng: np.random.Generator, n: int) -> np.ndarray:
    """Return (n,) sums where the rows of y (m, s) are permuted freely beside those of predicted (m, s)."""
    if weigh is not _products and y.shape[1] == 1:  # classes, of which the right predictions alone add something
        rows, labels = (np.bincount(codes[:, 0], minlength=int(max(predicted.max(), y.max())) + 1) for codes in (predicted, y))
        both = (rows > 0) & (labels > 0)
        k = int(both.sum())
        if _DRAW * k * np.log2(max(k, 2)) < len(y) + _CALL:
            classes = np.flatnonzero(both)
            return _diagonal_sums(rows[both], labels[both], weigh(classes, classes), len(y), rng, n)
    kinds, kind = np.unique(predicted, axis=0, return_inverse=True)
    label_kinds, label_kind = np.unique(y, axis=0, return_inverse=True)
    if len(kinds) == 1 or len(label_kinds) == 1:  # of such tables SciPy's generator makes numbers of whatever is in memory
        return np.full(n, float(weigh(predicted, y).sum()))
    if len(kinds) * len(label_kinds) <= _TABLE:
        from scipy.stats import random_table

        weights = weigh(kinds[:, None], label_kinds[None]).sum(-1)
        table = random_table(np.bincount(kind.ravel()), np.bincount(label_kind.ravel()), seed=rng)
        draws = [table.rvs(size=size) for size in _chunks(n, weights.size)]
        return np.concatenate([np.tensordot(draw, weights, 2) for draw in draws]).astype(float)
    return _shuffled_sums(predicted, y, weigh, rng, n)


def _shuffled_sums(predicted: np.ndarray, y: np.ndarray, weigh: Callable, rng: np.random.Generator, n: int) -> np.ndarray:
    """Return (n,) sums by shuffling the rows of y (m, s), or a copy of its only column, n times."""
    sums = np.empty(n)
    if y.shape[1] == 1:
        predicted, column = predicted[:, 0].copy(), y[:, 0].copy()
        for number in range(n):
            rng.shuffle(column)
            sums[number] = weigh(predicted, column).sum()
        return sums
    order = np.arange(len(y))
    for number in range(n):
        rng.shuffle(order)
        sums[number] = weigh(predicted, y[order]).sum()
    return sums


def _diagonal_sums(rows: np.ndarray, labels: np.ndarray, weights: np.ndarray, total: int, rng: np.random.Generator, n: int) -> np.ndarray:
    """Return (n,) draws of the sum of weights of those of `total` permuted labels that meet a row of their own class.

    A random table's diagonal needs no whole table: the labels that fall on the rows of one half of the classes are drawn, then each half is
    halved in the same way. So a draw takes k log2 k hypergeometric numbers.

    rows: (k,) how many rows each class is predicted for. labels: (k,) how many labels each class has. weights: (k,) what each of its
    matches adds. Classes without rows or labels are left out, but count in total.
    """
    if not len(rows):
        return np.zeros(n)
    counts = [np.full(n, number) for number in labels]
    inside = _drawn(counts, np.full(n, total), np.full(n, int(rows.sum())), rng)
    return sum(weight * matches for weight, matches in zip(weights, _diagonal(rows, inside, rng), strict=True))  # type: ignore[return-value]  # not empty


def _diagonal(rows: np.ndarray, labels: list[np.ndarray], rng: np.random.Generator) -> list[np.ndarray]:
    """Return the diagonal (k of (n,)) on the rows of these classes. labels: of each class, those (n,) that fell on any of these rows."""
    if len(rows) == 1:
        return labels
    middle = len(rows) // 2
    size = np.full(len(labels[0]), int(rows.sum()))
    first = _drawn(labels, size, np.full_like(size, int(rows[:middle].sum())), rng)
    second = [there - here for there, here in zip(labels[middle:], first[middle:], strict=True)]
    return [*_diagonal(rows[:middle], first[:middle], rng), *_diagonal(rows[middle:], second, rng)]


def _drawn(counts: list[np.ndarray], population: np.ndarray, sample: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
    """Return how many (n,) of each kind are in a sample without replacement; the population also has others, which are not counted."""
    found = []
    for count in counts:
        found.append(rng.hypergeometric(count, population - count, sample))
        population, sample = population - count, sample - found[-1]
    return found


def _chunks(n: int, cells: int) -> Iterator[int]:
    most = max(1, _CHUNK // cells)
    for start in range(0, n, most):
        yield min(most, n - start)
