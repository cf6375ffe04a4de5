"""Groups of examples that belong together, as a user has them → numbers that are equal where the user's values are."""

from collections.abc import Sequence
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import torch

from shattering.data.targets import kind_of_value, one_each
from shattering.errors import InputError, a_type, printable, shown

_TYPED = {"b": "booleans", "i": "numbers", "u": "numbers", "f": "numbers", "U": "text", "S": "bytes", "M": "dates"}  # by kinds of NumPy
_KINDS = set(_TYPED.values())


def group_codes(groups: Sequence[Any], sizes: Sequence[int], names: Sequence[str]) -> list[torch.Tensor]:
    """Return the groups of several splits as whole numbers (n,), equal where the values are, in the order of the values.

    Args:
        groups: one for each split, (n,) or a column (n, 1), of anything that makes an array: numbers, texts, booleans or dates.
        sizes: numbers of examples of the splits.
        names: of the splits, for messages.

    Raises:
        InputError: for values that are missing, of several kinds (1 and "1"), or of no such kind; and for other shapes.

    Example:
        >>> group_codes([["ann", "bob", "ann"], ["eve"]], [3, 1], ["train", "test"])
        [tensor([0, 1, 0]), tensor([2])]
    """
    arrays = [_plain(values, n, name) for values, n, name in zip(groups, sizes, names, strict=True)]
    kinds = [_kind(array, name) for array, name in zip(arrays, names, strict=True)]
    if len(set(kinds)) > 1:
        found = " and ".join(f"{kind} in the {name} split" for kind, name in zip(kinds, names, strict=True))
        raise InputError(f"groups has {found}, expected values of one kind")
    codes = pd.factorize(pd.concat([pd.Series(array) for array in arrays]), sort=True)[0]
    return [torch.from_numpy(part.astype(np.int64)) for part in np.split(codes, np.cumsum(sizes)[:-1])]


def _plain(values: Any, n: int, name: str) -> np.ndarray:
    """Return the values of a split (n,). Raises InputError for other shapes, and for values that are missing."""
    if isinstance(values, str):
        raise InputError(f"groups is {shown(values)}, expected (n,) values: a column is named of a DataFrame or a file, beside target")
    if not hasattr(values, "__len__"):
        raise InputError(f"groups is {a_type(values)}, expected an array or a list of (n,) values")
    array, missing = one_each(values, "groups")
    if array.ndim != 1:
        raise InputError(f"groups has shape {array.shape}, expected one value for each of {n} examples of the {name} split")
    if len(array) != n:
        raise InputError(f"groups has {len(array)} values for {n} examples of the {name} split, expected one each")
    if missing.any():
        raise InputError(f"groups has {int(missing.sum())} missing values, expected a group for every example")
    return array


def _kind(array: np.ndarray, name: str) -> str:
    """Return the kind of the values. Raises InputError for several, and for values that are no numbers, texts, booleans or dates."""
    if array.dtype.kind != "O":
        kind = _TYPED.get(array.dtype.kind, str(array.dtype))
        first = {kind: 0}
    else:
        first = {}
        for row, value in enumerate(array.tolist()):
            first.setdefault("dates" if isinstance(value, (date, np.datetime64)) else kind_of_value(value), row)
    if len(first) > 1:
        found = " and ".join(f"{kind} (row {row}: {printable(repr(array[row]))[:40]})" for kind, row in list(first.items())[:2])
        raise InputError(f"groups mixes {found} in the {name} split, expected values of one kind")
    kind = next(iter(first), "numbers")
    if kind not in _KINDS:
        raise InputError(f"groups has values of type {kind}, expected numbers, text, booleans or dates")
    return kind
