"""Subsets of a split: balanced by class, held out, and folds; whole groups stay together."""

import warnings
from typing import Any

import numpy as np
import torch

from shattering import seeds
from shattering.data.rows import Rows
from shattering.data.split import Split
from shattering.errors import InputError, reason


def balanced_subset(split: Split, n: int | None, seed: int, purpose: str) -> Split:
    """Return n examples with classes as equal as their sizes allow, in source order.

    Raises InputError if n is not in 1…len(split).
    """
    if n is None or n == len(split):
        return split
    if not 1 <= n <= len(split):
        raise InputError(f"n_{purpose} is {n}, expected 1…{len(split)}")
    return split.subset(balanced_order(split, seed, purpose)[:n].sort().values)


def balanced_order(split: Split, seed: int, purpose: str) -> torch.Tensor:
    """Return a permutation of the rows, in whole rounds of one example per class while there are such; of a regression, any."""
    order = seeds.generator(seed, f"data/{purpose}").permutation(len(split))
    if split.is_regression:
        return torch.from_numpy(order)
    rank = _ranks(split.true_labels.numpy()[order])
    return torch.from_numpy(order[np.argsort(rank, kind="stable")])


def hold_out(split: Split, n_test: int, seed: int) -> tuple[Split, Split]:
    """Split into (train, test), both in source order: whole groups where there are groups, else by class, else at random.

    n_test: the size of the test split. Of groups as many are held out, in random order, as give it at least that many examples.
    Raises InputError where that leaves no group to train on.
    """
    if split.groups is not None:
        rows = _rows_of_groups(split.groups.numpy(), n_test, seed)
    elif split.is_regression:
        rows = seeds.generator(seed, "data/hold-out").permutation(len(split))[:n_test]
    else:
        rows = _rows_by_class(split.true_labels.numpy(), n_test, seed)
    test = np.sort(rows)
    train = np.setdiff1d(np.arange(len(split)), test)
    return split.subset(torch.from_numpy(train)), split.subset(torch.from_numpy(test))


def _rows_by_class(true: np.ndarray, n_test: int, seed: int) -> np.ndarray:
    """Return the rows of n_test examples drawn by class, in proportion to the classes' sizes.

    Every class of two examples or more is on both sides, where n_test has room for one of each; a class of one example is
    trained on. The draw depends on the labels through the sizes of the classes alone, so that given the two sides the labels
    of each are exchangeable among themselves if they do not depend on the inputs, which the permutation test of labels needs.
    """
    order = seeds.generator(seed, "data/hold-out").permutation(len(true))
    labels = true[order]
    rank, size = _ranks(labels), np.bincount(labels)[labels]
    key = np.where(rank == 0, 0.0, (rank + 0.5) / size)  # one of each class first, then as evenly as their sizes are
    key[rank == size - 1] = np.inf  # the last of a class stays
    return order[np.argsort(key, kind="stable")[:n_test]]


def _rows_of_groups(groups: np.ndarray, n_test: int, seed: int) -> np.ndarray:
    """Return the rows of random groups, as many groups as have n_test examples."""
    names, sizes = np.unique(groups, return_counts=True)
    order = seeds.generator(seed, "data/hold-out").permutation(len(names))
    n_groups = int(np.searchsorted(np.cumsum(sizes[order]), n_test)) + 1
    if n_groups >= len(names):
        need = f"one more than it takes to hold out {n_test} examples in whole groups"
        raise InputError(f"the examples are in {len(names)} groups, expected at least two, and {need}: give more or smaller groups")
    return np.flatnonzero(np.isin(groups, names[order[:n_groups]]))


def folds(split: Split, of: int, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return (training rows, test rows) of each of scikit-learn's shuffled folds: stratified by class, and of whole groups."""
    from sklearn.model_selection import GroupKFold, KFold, StratifiedGroupKFold, StratifiedKFold

    by_class = not split.is_regression
    if split.groups is None:
        kind = StratifiedKFold if by_class else KFold
    else:
        kind = StratifiedGroupKFold if by_class else GroupKFold
    splitter = kind(of, shuffle=True, random_state=seeds.integer(seed, "data/folds") % 2**32)
    return cut(split, splitter)


def cut(split: Split, splitter: Any) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return (training rows, test rows) of each fold that a splitter of scikit-learn's makes of a split.

    The splitter is given the labels that the split has, corrupted or not, and its groups. Raises InputError where it fails, and for
    rows that are not there, repeat, or are on both sides of a fold.
    """
    name = type(splitter).__name__
    name = "a list of folds" if name.startswith("_") else name  # scikit-learn's own class for these
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)  # which corruption may make smaller than the folds
        warnings.filterwarnings("ignore", "The groups parameter is ignored", UserWarning)  # a test says which groups are on both sides
        try:
            found = list(splitter.split(_cut_by(split), split.y, split.group_codes))
        except ValueError as error:
            raise InputError(f"cv, {name}, cannot cut {len(split)} examples: {reason(error)}") from None
    pairs = [(_rows(train, len(split), name), _rows(test, len(split), name)) for train, test in found]
    for number, (train, test) in enumerate(pairs):
        if both := len(np.intersect1d(train, test)):
            raise InputError(f"cv, {name}, has {both} examples on both sides of fold {number}, expected each on one")
    return pairs


def _cut_by(split: Split) -> Any:
    """Return the inputs for a splitter, which hardly ever looks at them: without a copy, or zeros in place of what is on disk."""
    if isinstance(split.inputs, Rows):
        return split.inputs.content
    return split.inputs.numpy() if isinstance(split.inputs, torch.Tensor) else np.zeros((len(split), 1))


def _rows(rows: Any, n: int, name: str) -> np.ndarray:
    rows = np.asarray(rows)
    if rows.ndim != 1 or rows.dtype.kind not in "iu" or not len(rows) or len(np.unique(rows)) < len(rows):
        raise InputError(f"cv, {name}, gave rows of type {rows.dtype} and shape {rows.shape}, expected different row numbers, at least one")
    if rows.min() < 0 or rows.max() >= n:
        raise InputError(f"cv, {name}, gave rows in {rows.min()}…{rows.max()}, expected some of 0…{n - 1}")
    return rows.astype(np.int64)


def _ranks(labels: np.ndarray) -> np.ndarray:
    """Return the position (n,) of each example among those of its class, from 0."""
    by_class = np.argsort(labels, kind="stable")
    sizes = np.bincount(labels)
    rank = np.empty(len(labels), dtype=np.int64)
    rank[by_class] = np.arange(len(labels)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return rank
