"""`as_splitter`: turn a user's `cv` into a number of folds and a splitter that makes them."""

import copy
from collections.abc import Iterable
from typing import Any

import numpy as np
from sklearn.model_selection import check_cv

from shattering import seeds
from shattering.data.dataset import Dataset
from shattering.data.subsets import cut
from shattering.errors import InputError, shown
from shattering.parameters import is_of


def as_splitter(cv: Any, dataset: Dataset, seed: int) -> tuple[int | None, Any]:
    """Return (number of folds, splitter): no splitter for a number, whose folds are the default ones; (None, None) without cv.

    Args:
        cv: None; a number of folds; a splitter of scikit-learn's, or one like it; or a list of (training rows, test rows).
        dataset: the original data, whose train split is cut.
        seed: of a splitter that is random and has no random_state: it would make other folds for every fit.

    Raises:
        InputError: for anything else, for a splitter whose random_state is a generator, and for one that cannot cut the data.

    Example:
        >>> from sklearn.model_selection import StratifiedKFold
        >>> from shattering import load_dataset
        >>> as_splitter(StratifiedKFold(3), load_dataset("digits", n_train=100), seed=0)
        (3, StratifiedKFold(n_splits=3, random_state=None, shuffle=False))
    """
    if cv is None:
        return None, None
    if is_of(cv, int):
        if cv < 2:
            raise InputError(f"cv is {cv}, expected at least 2 folds, a splitter, or a list of (training rows, test rows)")
        dataset.check_folds(int(cv))
        return int(cv), None
    if isinstance(cv, str) or not (hasattr(cv, "split") or hasattr(cv, "__iter__")):
        raise InputError(f"cv is {shown(cv)}, expected a number, a splitter, or a list of (training rows, test rows)")
    splitter = _seeded(cv, seed) if hasattr(cv, "split") else _listed(cv)
    n = len(cut(dataset.train, splitter))
    if n < 2:
        raise InputError("cv makes 1 fold, expected at least 2: one split is data of four arrays, (x_train, y_train, x_test, y_test)")
    return n, splitter


def _listed(cv: Iterable) -> Any:
    """Return the splitter of listed folds. Raises InputError for what are no pairs of rows."""
    folds = list(cv)
    if not folds or not all(isinstance(fold, (tuple, list)) and len(fold) == 2 for fold in folds):
        raise InputError(f"cv is {shown(folds)}, expected a list of (training rows, test rows)")
    return check_cv([(np.asarray(train), np.asarray(test)) for train, test in folds])  # type: ignore[arg-type]  # the stub knows numbers alone


def _seeded(splitter: Any, seed: int) -> Any:
    """Return the splitter; a copy with a random state if it draws and has none."""
    state = getattr(splitter, "random_state", 0)
    if isinstance(state, (np.random.RandomState, np.random.Generator)):
        raise InputError(
            f"cv, {type(splitter).__name__}, has a generator as random_state, which would make other folds for every fit: expected a number"
        )
    if state is not None or not getattr(splitter, "shuffle", True):
        return splitter
    splitter = copy.copy(splitter)
    splitter.random_state = seeds.integer(seed, "data/folds") % 2**32
    return splitter
