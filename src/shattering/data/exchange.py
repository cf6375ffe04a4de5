"""Exchangeability: the orders that labels may be put in if they do not depend on the inputs, and how many there are.

Labels of independent examples may be permuted freely. Where examples come in groups (subjects, documents, sessions), labels of one
group go together, and only some permutations are as likely as the labels themselves (Winkler et al. 2014, 2015). For dependence of
any other form a function says how labels are permuted.
"""

from __future__ import annotations

from collections.abc import Callable
from math import comb, inf, isfinite, lgamma, log, prod
from typing import Any, Literal, get_args

import numpy as np

from shattering import seeds
from shattering.errors import InputError, reason
from shattering.identity.names import is_object, label

Exchange = Literal["free", "within", "whole", "shift"]
ExchangeFunction = Callable[[np.ndarray, np.random.Generator], Any]  # (labels, generator) → permuted labels
EXCHANGES: tuple[str, ...] = get_args(Exchange)
_WORDS = {
    "free": "among all examples",
    "within": "within groups",
    "whole": "as complete label vectors between groups of one size",
    "shift": "by a circular shift of each group's labels, or of all without groups (approximate)",
}
UNKNOWN = "unknown"  # in place of a number of orders
_EXACT = 10_000  # up to this many labels, permutations are counted in whole numbers


def default_exchange(labels: np.ndarray, groups: np.ndarray | None) -> Exchange:
    """Return how labels are exchanged unless the user says it.

    Args:
        labels: (n,) labels or targets.
        groups: (n,) the group of each example; None for independent examples.

    Returns:
        "free" without groups; "whole" where the labels of every group are the same; else "within".

    Example:
        >>> default_exchange(np.array([0, 0, 1, 1]), np.array([7, 7, 8, 8]))
        'whole'
    """
    if groups is None:
        return "free"
    by_group = np.lexsort((labels, groups))
    labels, groups = labels[by_group], groups[by_group]
    same = (groups[1:] == groups[:-1]) & (labels[1:] != labels[:-1])
    return "within" if same.any() else "whole"


def words(how: str) -> str:
    """Return the way in which labels are permuted, in words that follow "permuted"."""
    return _WORDS.get(how) or f"by {shown_exchange(how)}"


def shown_exchange(how: str) -> str:
    """Return how labels are exchanged as results say it: one of `EXCHANGES`, or a function's name with parentheses."""
    return f"{label(how)}()" if is_object(how) else how


def name_of_function(function: ExchangeFunction) -> str:
    """Return a function's name; of an object that is called, its class's."""
    return getattr(function, "__name__", type(function).__name__)


def permuted_by(function: ExchangeFunction, labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the labels as a function permutes them, checked.

    Args:
        function: (labels, generator) → permuted labels. For a valid test the labels have to be as likely as each of its results, if they
            do not depend on the inputs.
        labels: (n,) in the order of the examples; the function gets a copy.
        rng: all the randomness that it may use.

    Returns:
        (n,) permuted labels, of the same type.

    Raises:
        InputError: where the function fails, and for anything but the same labels in another order.

    Example:
        >>> permuted_by(lambda labels, rng: labels[::-1], np.array([0, 0, 1]), np.random.default_rng(0)).tolist()
        [1, 0, 0]
    """
    name = shown_function(function)
    try:
        found = np.asarray(function(labels.copy(), rng))
    except Exception as error:  # whatever the user's code raises
        raise InputError(f"exchange, {name}, fails on {len(labels):,} labels: {reason(error)}") from error
    if found.shape != labels.shape:
        raise InputError(f"exchange, {name}, returns an array of shape {found.shape} for {len(labels):,} labels, expected ({len(labels)},)")
    found = np.asarray(found.tolist()) if found.dtype == object else found  # such as a Series of texts
    if found.dtype == object or (found.dtype.kind in "US") != (labels.dtype.kind in "US") or (np.sort(found) != np.sort(labels)).any():
        raise InputError(f"exchange, {name}, returns other labels than it was given, expected the same in another order")
    return found.astype(labels.dtype)


def shown_function(function: ExchangeFunction) -> str:
    """Return a function's name as results and messages show it."""
    return f"{name_of_function(function)}()"


def check_function(function: ExchangeFunction, labels: np.ndarray, ids: np.ndarray, part: str) -> None:
    """Raise InputError if a function does not permute the labels of a split, or draws random numbers that are not the generator's.

    Args:
        function: see `permuted_by`.
        labels: (n,) of the split.
        ids: (n,) the places of the examples in their source: a function can only know the order of a source's rows if all are there.
        part: "train" or "test".
    """
    if len(ids) and not np.array_equal(ids, np.arange(ids[0], ids[0] + len(ids))):
        raise InputError(
            f"exchange is a function, {shown_function(function)}, and the {part} split has only some of the rows of its source, expected "
            "all of them in their order: cv= beside it, or train and test data of your own, and no n_train or n_test"
        )
    first, second = (permuted_by(function, labels, seeds.generator(0, f"exchange/{part}")) for _ in range(2))
    if not np.array_equal(first, second):
        raise InputError(
            f"exchange, {shown_function(function)}, returns other labels when it is called again with a generator in the same state, "
            "expected randomness from that generator alone"
        )


def exchanged_order(how: str, keys: np.ndarray, groups: np.ndarray | None = None, ids: np.ndarray | None = None) -> np.ndarray:
    """Return one admissible order: labels[order] is a permutation of the labels that is as likely as they are, under the null.

    Args:
        how: "free": any permutation. "within": labels are permuted inside each group. "whole": groups of one size exchange their
            complete label vectors. "shift": the labels of each group (or, without groups, of all) are rolled by a uniform amount,
            which keeps their dependence in time, but for the seam; so it is approximate.
        keys: (n,) random numbers, one per example. The order is a function of these, the groups and the ids alone.
        groups: (n,) the group of each example.
        ids: (n,) numbers whose order is that of the examples in a group, such as their time. None: the order of the rows.

    Returns:
        (n,) int64, a permutation of 0…n-1.

    Raises:
        InputError: for "within" and "whole" without groups.

    Example:
        >>> exchanged_order("whole", np.array([5, 1, 2, 0]), groups=np.array([0, 0, 1, 1])).tolist()
        [2, 3, 0, 1]
    """
    check_exchange(how, groups)
    if how == "free":
        return np.argsort(keys, kind="stable")
    if how == "within":
        assert groups is not None
        order = np.empty(len(keys), dtype=np.int64)
        order[np.argsort(groups, kind="stable")] = np.lexsort((keys, groups))
        return order
    rows, starts, sizes = blocks(len(keys), groups, ids)
    first = keys[rows[starts]]
    order = np.empty(len(keys), dtype=np.int64)
    if how == "whole":
        takes, gives = np.argsort(sizes, kind="stable"), np.lexsort((first, sizes))
        order[_rows_of(takes, rows, starts, sizes)] = _rows_of(gives, rows, starts, sizes)
        return order
    place = np.arange(len(keys)) - np.repeat(starts, sizes)
    amount = (first % sizes.astype(first.dtype)).astype(np.int64)
    order[rows] = rows[np.repeat(starts, sizes) + (place - np.repeat(amount, sizes)) % np.repeat(sizes, sizes)]
    return order


def blocks(n: int, groups: np.ndarray | None, ids: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (rows (n,) sorted by group and then by id, the start of each group in them, its size). Without groups there is one."""
    groups = np.zeros(n, dtype=np.int64) if groups is None else groups
    rows = np.lexsort((np.arange(n) if ids is None else ids, groups))
    changes = np.flatnonzero(np.diff(groups[rows])) + 1
    starts = np.concatenate([[0], changes]).astype(np.int64)
    return rows, starts, np.diff(np.append(starts, n))


def _rows_of(order: np.ndarray, rows: np.ndarray, starts: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Return the rows of the groups, one group after the other in this order."""
    sizes, begins = sizes[order], starts[order]
    place = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return rows[np.repeat(begins, sizes) + place]


def check_exchange(how: str, groups: np.ndarray | None) -> None:
    """Raise InputError for an unknown exchange, and for one that needs groups where there are none."""
    if how not in EXCHANGES:
        raise InputError(f"exchange is {how!r}, expected one of {', '.join(EXCHANGES)}")
    if groups is None and how in ("within", "whole"):
        raise InputError(
            f"exchange is {how!r} without groups, expected groups beside it: a column or a value per example, as randomization_test and "
            "`shattering test` take them"
        )


def count_orders(how: str, labels: np.ndarray, groups: np.ndarray | None = None, ids: np.ndarray | None = None) -> float:
    """Return the number of different label vectors (the given one included) that the admissible permutations give.

    A p-value cannot be smaller than one over this number. It is a whole number up to 2^53 and a float beyond; infinite where it is more
    than a float can hold.

    Args:
        how: see `exchanged_order`.
        labels: (n,) labels or targets.
        groups: (n,) the group of each example; None for independent examples.
        ids: see `exchanged_order`.

    Example:
        >>> count_orders("free", np.array([0, 0, 1, 1]))
        6
        >>> count_orders("within", np.array([0, 1, 1, 1]), groups=np.array([0, 0, 1, 1]))
        2
    """
    check_exchange(how, groups)
    _, codes = np.unique(labels, return_inverse=True)
    if how == "free":
        return _limited([_multinomial(np.bincount(codes))])
    rows, starts, sizes = blocks(len(labels), groups, ids)
    vectors = [codes[rows[start : start + size]] for start, size in zip(starts, sizes, strict=True)]
    if how == "within":
        return _limited([_multinomial(np.bincount(vector)) for vector in vectors])
    if how == "whole":
        by_size: dict[int, dict[bytes, int]] = {}
        for vector in vectors:
            of_size = by_size.setdefault(len(vector), {})
            of_size[vector.tobytes()] = of_size.get(vector.tobytes(), 0) + 1
        return _limited([_multinomial(np.array(list(of_size.values()))) for of_size in by_size.values()])
    return _limited([(_period(vector), log(_period(vector))) for vector in vectors])


def shown_orders(orders: float | None) -> float | str | None:
    """Return a number of orders for JSON: None where it is infinite, and "unknown" for None."""
    if orders is None:
        return UNKNOWN
    return orders if isfinite(orders) else None


def _multinomial(counts: np.ndarray) -> tuple[int | None, float]:
    """Return n! / (counts[0]! counts[1]! …), exactly if n is not large, and its logarithm."""
    n = int(counts.sum())
    logarithm = lgamma(n + 1) - sum(lgamma(int(count) + 1) for count in counts)
    if n > _EXACT or logarithm > 40:
        return None, logarithm
    number, left = 1, n
    for count in counts:
        number, left = number * comb(left, int(count)), left - int(count)
    return number, logarithm


def _limited(parts: list[tuple[int | None, float]]) -> float:
    """Return the product of numbers that are given with their logarithms."""
    logarithm = sum(part[1] for part in parts)
    known = [number for number, _ in parts if number is not None]
    if len(known) == len(parts) and logarithm < log(2.0**53):
        return prod(known)
    return float(np.exp(logarithm)) if logarithm < 700 else inf


def _period(vector: np.ndarray) -> int:
    """Return the number of different rolls of a vector: its smallest period that divides its length."""
    n = len(vector)
    divisors = (d for d in range(1, n + 1) if n % d == 0)
    return next(d for d in divisors if np.array_equal(np.roll(vector, d), vector))
