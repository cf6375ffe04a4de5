"""Turn numbers of any library into a tensor of the same type and values, in its own memory."""

from collections.abc import Iterator, Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.sparse import issparse

from shattering.errors import InputError, a_type, printable, with_article

_HINTS = {
    "M": "; turn times into numbers first, such as seconds since the first",
    "m": "; turn durations into numbers first, such as seconds",
    "c": "; give real and imaginary parts as columns of their own",
    "U": "; turn text into numbers first, for example with scikit-learn's OrdinalEncoder or a vectorizer; "
    'kind="opaque" hands lists of texts on as they are',
    "S": "; turn bytes into numbers first, or into texts: x.decode() of each",
    "V": "; give a DataFrame: pandas.DataFrame of it",
    "O": '; kind="opaque" hands a list or an array of anything on as it is',
}


def plain_numbers(x: Any, where: str) -> torch.Tensor:
    """Return the numbers of anything that makes an array: a copy, in their own type and the byte order of this machine.

    Columns of a DataFrame, and objects that are numbers, come together in a type that holds all of them exactly. bfloat16, which NumPy
    lacks, becomes float32. where: what they are called in messages.

    Raises:
        InputError: for sparse, masked, missing and complex values, text, times and other objects, and for numbers that no common type
            holds exactly.
    """
    if isinstance(x, torch.Tensor):
        return _of_tensor(x, where)
    if issparse(x):
        raise InputError(f"{where} is a sparse matrix, expected an array: its toarray(), if that fits into memory")
    masked = sum(int(np.ma.getmaskarray(part).sum()) for part in _arrays(x) if isinstance(part, np.ma.MaskedArray))
    if masked:
        raise InputError(f"{where} has {masked} masked values, expected none: fill them in first, for example by filled()")
    if isinstance(x, pd.DataFrame):
        return torch.from_numpy(_of_frame(x, where))
    check_no_other_frame(x, where)
    if isinstance(x, Mapping):
        raise InputError(f"{where} is {a_type(x)}, expected rows: of columns by name, pandas.DataFrame of it")
    if isinstance(x, Iterator):
        raise InputError(f"{where} is {a_type(x)}, which can be read once, expected an array or a list: list of it")
    try:
        values = np.asarray(x)
    except ValueError:  # lists of several lengths
        raise InputError(f"{where} is {a_type(x)} of parts of several lengths, expected an array{_HINTS['O']}") from None
    if not hasattr(x, "dtype") and values.dtype.kind == "f" and bool((np.abs(values) >= 2**53).any()):
        values = np.asarray(x, dtype=object)  # whole numbers beside fractions, which may have been rounded
    return torch.from_numpy(_of_array(values, where))


def _arrays(x: Any) -> Sequence[Any]:
    return x if isinstance(x, (list, tuple)) else [x]


def check_no_other_frame(x: Any, where: str) -> None:
    """Raise InputError for a table of another library than pandas, such as polars or pyarrow, that would lose its columns."""
    kind = f"{type(x).__module__.partition('.')[0]} {type(x).__name__}"
    is_pandas = kind.startswith("pandas")
    if hasattr(x, "collect") and hasattr(x, "collect_schema"):
        raise InputError(f"{where} is {with_article(kind)}, expected a pandas DataFrame: its collect().to_pandas()")
    if hasattr(x, "to_pandas") and not is_pandas:
        raise InputError(f"{where} is {with_article(kind)}, expected one of pandas: its to_pandas()")


def is_dense(x: torch.Tensor) -> bool:
    """Return whether a tensor has values, in an array."""
    return not (x.is_meta or x.is_nested or x.is_quantized) and x.layout == torch.strided


def check_dense(x: torch.Tensor, where: str) -> None:
    """Raise InputError for a tensor that has no values, or no array of them."""
    if x.is_meta:
        raise InputError(f"{where} is a tensor on the meta device, where tensors have no values, expected one that has values")
    if not is_dense(x):
        kind = "nested tensor" if x.is_nested else "quantized tensor" if x.is_quantized else f"tensor of layout {x.layout}"
        raise InputError(f"{where} is a {kind}, expected a dense one, not quantized")


def _of_tensor(x: torch.Tensor, where: str) -> torch.Tensor:
    check_dense(x, where)
    if x.is_complex():
        raise InputError(f"{where} has type {x.dtype}, expected real ones{_HINTS['c']}")
    x = x.detach().as_subclass(torch.Tensor).cpu()
    return x.float() if x.dtype == torch.bfloat16 else x.clone(memory_format=torch.contiguous_format)


def _of_frame(frame: pd.DataFrame, where: str) -> np.ndarray:
    """Return the columns side by side, in one type."""
    columns = [_of_column(frame.iloc[:, i], f"{where}[{frame.columns[i]!r}]") for i in range(frame.shape[1])]
    kind = np.result_type(*columns) if columns else np.dtype(float)
    for i, values in enumerate(columns):
        if kind.kind == "f" and values.dtype.kind in "iu" and bool(((values > 2**53) | (values < -(2**53))).any()):
            raise InputError(
                f"{where}[{frame.columns[i]!r}] has whole numbers beyond 2^53, which {kind}, the type of all columns together, does not "
                "hold exactly; expected columns of whole numbers alone, or smaller ones"
            )
    return np.stack([values.astype(kind) for values in columns], axis=1) if columns else np.empty(frame.shape)


def _of_column(column: pd.Series, where: str) -> np.ndarray:
    kind = column.dtype
    if isinstance(kind, np.dtype):
        return _of_array(column.to_numpy(), where)
    if not (pd.api.types.is_numeric_dtype(kind) or pd.api.types.is_bool_dtype(kind)) or isinstance(kind, pd.CategoricalDtype):
        text = isinstance(kind, (pd.StringDtype, pd.CategoricalDtype))
        raise InputError(f"{where} has type {kind}, expected numbers{_HINTS['U' if text else 'M']}")
    if column.isna().any() and pd.api.types.is_extension_array_dtype(kind) and not isinstance(kind, pd.SparseDtype):
        raise InputError(f"{where} has {int(column.isna().sum())} missing values, expected none: fill them in first")
    return _of_array(np.asarray(column.array.to_numpy() if hasattr(column.array, "to_numpy") else column), where)


def _of_array(values: np.ndarray, where: str) -> np.ndarray:
    """Return a copy in C order of numbers in one of torch's types."""
    kind = values.dtype.kind
    if kind == "O":
        return _of_objects(values, where)
    if kind not in "biuf":
        raise InputError(f"{where} has type {values.dtype}, expected numbers{_HINTS.get(kind, '')}")
    if kind == "f" and values.dtype.itemsize > 8:
        narrow = values.astype(np.float64)
        if not np.array_equal(narrow, values, equal_nan=True):
            raise InputError(f"{where} has type {values.dtype}, which float64 does not hold exactly, expected float64")
        return narrow
    return np.array(values, dtype=values.dtype.newbyteorder("="), order="C")


def _of_objects(values: np.ndarray, where: str) -> np.ndarray:
    """Return objects that are numbers, in a type that holds them exactly."""
    items = values.ravel().tolist()
    for place, item in enumerate(items):
        if item is None or item is pd.NA or item is pd.NaT:
            missing = int(pd.isna(values).sum())
            raise InputError(f"{where} has {missing} missing values (first: {item!r}), expected none: fill them in first")
        if not isinstance(item, (Real, np.bool_)):
            at = np.unravel_index(place, values.shape)
            hint = _HINTS["U" if isinstance(item, str) else "O"]
            shown = printable(repr(item))[:40]
            raise InputError(f"{where} has the {type(item).__name__} {shown} at {tuple(map(int, at))}, expected numbers{hint}")
    found = np.array(items).reshape(values.shape)
    if found.dtype.kind not in "biuf" or any(a != b and b == b for a, b in zip(found.ravel().tolist(), items, strict=True)):
        raise InputError(f"{where} has numbers that no one type holds exactly, expected an array of one type")
    return found
