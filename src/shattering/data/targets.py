"""Turn labels of any library into a plain array of one kind. None may be missing, and none is changed."""

from collections import Counter
from collections.abc import Iterator, Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.sparse import issparse

from shattering.data.numbers import check_dense, is_dense
from shattering.errors import InputError, a_type, printable

_EXACT = 2**53  # whole numbers below it are exact as float64


def plain_labels(labels: Any, where: str) -> np.ndarray:
    """Return labels of anything that makes an array as (n,) booleans, whole numbers (int64, or floats as they are) or text.

    A column (n, 1) is taken as (n,); bytes are taken as UTF-8. where: what they are called in messages.

    Raises:
        InputError: for labels that are missing (None, NaN, NA, NaT, masked, empty text), of several kinds (1 and "1"), fractional,
            infinite, too large to be exact, or no labels at all (lists, dates, objects); and for other shapes.
    """
    values, missing = one_each(labels, where)
    if values.ndim != 1 or len(values) == 0:
        raise InputError(f"{where} has shape {values.shape}, expected one label an example, and at least one{_of_columns(values)}")
    if missing.any():
        raise InputError(f"{where} has {missing.sum()} rows without a label (first: row {missing.argmax()}), expected none")
    if values.dtype.kind in "OT":
        values = _of_one_kind(values, where)
    if values.dtype.kind == "S":
        values = _decoded(values.tolist(), where)
    if values.dtype.kind == "b":
        return values
    if values.dtype.kind == "U":
        return _text(values, where)
    if values.dtype.kind not in "iuf":
        raise InputError(f"{where} has labels of type {values.dtype}, expected whole numbers, text or booleans")
    return _numbers(values, where)


def plain_targets(targets: Any, where: str) -> np.ndarray:
    """Return the targets of a regression as (n,) float64, from numbers of any type; a column (n, 1) is taken as (n,).

    Raises:
        InputError: for targets that are missing, infinite, text or other objects, or too large to be exact, and for other shapes.
    """
    values, missing = one_each(targets, where)
    if values.ndim != 1 or len(values) == 0:
        several = "; test several columns one after the other" if values.ndim == 2 and len(values) else ""
        raise InputError(f"{where} has shape {values.shape}, expected one target an example, and at least one{several}")
    if missing.any():
        raise InputError(f"{where} has {missing.sum()} rows without a target (first: row {missing.argmax()}), expected none")
    kinds = {str(values.dtype)} if values.dtype.kind in "mM" else {kind_of_value(value) for value in values.tolist()}
    if kinds != {"numbers"}:
        raise InputError(f"{where} has targets of type {' and '.join(sorted(kinds))}, expected numbers for a regression")
    numbers = np.array(values.tolist(), dtype=np.float64)
    if not np.isfinite(numbers).all():
        raise InputError(f"{where} has infinite targets (first: row {int((~np.isfinite(numbers)).argmax())}), expected finite ones")
    if any(exact != number for exact, number in zip(values.tolist(), numbers.tolist(), strict=True)):
        raise InputError(f"{where} has targets that float64 does not hold exactly, expected numbers of at most 53 bits")
    return numbers


def _of_columns(values: np.ndarray) -> str:
    """Say what to do with columns of labels."""
    if values.ndim != 2 or not len(values):
        return ""
    try:
        is_one_hot = bool(((values == 0) | (values == 1)).all() and (values.astype(np.float64).sum(1) == 1).all())
    except (TypeError, ValueError):  # of texts and objects
        is_one_hot = False
    if is_one_hot:
        return "; of columns that mark one class each, give the number of the column (argmax)"
    return "; of several labels an example, test one column after the other"


def are_numbers(labels: Any) -> bool:
    """Return whether labels are fractional numbers, which can be no classes: the targets of a regression. False for what is no array."""
    if isinstance(labels, torch.Tensor) and not is_dense(labels):
        return False
    values, missing = as_values(labels)
    if missing.any() or values.size == 0 or values.ndim > 2:
        return False
    if values.dtype.kind == "O" and all(isinstance(value, Real) for value in values.ravel().tolist()):
        values = values.astype(np.float64)
    return values.dtype.kind == "f" and bool((values != np.round(values)).any())


def kind_of(labels: np.ndarray) -> str:
    """Return in words what plain labels are."""
    return {"b": "booleans", "U": "text"}.get(labels.dtype.kind, "numbers")


def check_names_differ(names: Sequence[str], where: str) -> None:
    """Raise InputError for class names that are given twice, so that they do not tell which class a label is of."""
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise InputError(
            f"{where} has the class {twice[0]!r} {names.count(twice[0])} times, expected every name once where labels are names"
        )


def check_names(names: Sequence[str], where: str) -> None:
    """Raise InputError for class names that cannot be written as UTF-8."""
    for name in names:
        if printable(name) != name and any("\ud800" <= c <= "\udfff" for c in name):
            raise InputError(f"{where} has the class {printable(name)}, expected names in UTF-8")


def one_each(values: Any, where: str) -> tuple[np.ndarray, np.ndarray]:
    """Return `as_values` of what has one value for each example: a column (n, 1) as (n,), other shapes as they are.

    where: what they are called. Raises InputError for what has no order, can be read only once, or is no array.
    """
    if isinstance(values, (Iterator, dict, set)):
        raise InputError(f"{where} is {a_type(values)}, expected a list or an array of one value for each example")
    if isinstance(values, torch.Tensor):
        check_dense(values, where)
    array, missing = as_values(values)
    is_column = array.ndim == 2 and array.shape[1] == 1
    return (array[:, 0], missing[:, 0]) if is_column else (array, missing)


def as_values(labels: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return values as an array, and a mask of the missing ones.

    Values without a common type stay objects, one by one: NumPy would make text of [1, "1"].
    """
    if isinstance(labels, torch.Tensor):
        labels = labels.detach().cpu()
        labels = labels.float() if labels.dtype == torch.bfloat16 else labels
        labels = labels.numpy()
    if isinstance(labels, np.ma.MaskedArray):
        return labels.data, np.ma.getmaskarray(labels) | pd.isna(labels.data)
    labels = labels.toarray() if issparse(labels) else labels  # as those of several labels an example
    typed = isinstance(getattr(labels, "dtype", None), np.dtype)
    values = np.asarray(labels) if typed else np.asarray(_without_tensors(labels), dtype=object)
    return values, np.asarray(pd.isna(values))


def _without_tensors(labels: Any) -> Any:
    """Return a list with tensors, and arrays without axes, as what they hold, such as the targets of a torch dataset."""
    return [_held(x) for x in labels] if isinstance(labels, (list, tuple)) else labels


def _held(value: Any) -> Any:
    if isinstance(value, np.ndarray) and value.ndim == 0:
        return value[()]
    return value.tolist() if isinstance(value, torch.Tensor) else value


def _of_one_kind(values: np.ndarray, where: str) -> np.ndarray:
    """Return objects as booleans, numbers, text or bytes."""
    items = values.tolist()
    first: dict[str, int] = {}
    for row, value in enumerate(items):
        first.setdefault(kind_of_value(value), row)
    if len(first) > 1:
        found = " and ".join(f"{kind} (row {row}: {printable(repr(items[row]))[:40]})" for kind, row in list(first.items())[:2])
        raise InputError(f"{where} mixes {found}, expected labels of one kind")
    kind = next(iter(first))
    if kind == "text":
        return np.array(items, dtype=str)
    if kind == "bytes":
        return _decoded(items, where)
    if kind == "booleans":
        return np.array(items, dtype=bool)
    if kind != "numbers":
        raise InputError(f"{where} has labels of type {kind}, expected whole numbers, text or booleans")
    if all(isinstance(value, Integral) for value in items):
        return _integers(items, where)
    return _numbers(np.array([float(value) for value in items]), where)


def kind_of_value(value: object) -> str:
    """Return "booleans", "numbers", "text" or "bytes", or the name of any other type."""
    if isinstance(value, (bool, np.bool_)):
        return "booleans"
    kinds = ((Real, "numbers"), (str, "text"), (bytes, "bytes"))
    return next((kind for of, kind in kinds if isinstance(value, of)), type(value).__name__)


def _decoded(values: list[bytes], where: str) -> np.ndarray:
    try:
        return np.array([value.decode() for value in values], dtype=str)
    except UnicodeDecodeError as error:
        raise InputError(f"{where} has the label {error.object!r}, expected text in UTF-8") from None


def _text(values: np.ndarray, where: str) -> np.ndarray:
    empty = np.char.strip(values) == ""
    if empty.any():
        raise InputError(f"{where} has {empty.sum()} labels that are empty (first: row {empty.argmax()}), expected a class each")
    return values


def _integers(values: Any, where: str) -> np.ndarray:
    largest = max(values, key=abs)
    if not -(2**63) <= largest < 2**63:
        raise InputError(f"{where} has the label {largest}, expected whole numbers of at most 63 bits, or text")
    return np.array(values, dtype=np.int64)


def _numbers(values: np.ndarray, where: str) -> np.ndarray:
    if values.dtype.kind == "u":
        return _integers(values.tolist(), where) if values.max() >= 2**63 else values.astype(np.int64)
    if values.dtype.kind == "i":
        return values.astype(np.int64)
    infinite, fractional = np.isinf(values), values != np.round(values)
    for mark, what in ((infinite, "infinite"), (fractional, "fractional")):
        if mark.any():
            row = mark.argmax()
            raise InputError(f"{where} has {mark.sum()} labels that are {what} (first: row {row}, {values[row]:g}), expected classes")
    largest = float(values[np.abs(values).argmax()])
    if abs(largest) >= _EXACT:
        raise InputError(f"{where} has the label {largest:g}, which floats do not hold exactly, expected whole numbers or text")
    return values if values.dtype.itemsize <= 8 else values.astype(np.float64)
