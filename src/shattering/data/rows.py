"""`Rows`: inputs that are no tensor (DataFrames, sparse matrices, texts, objects), of which rows are taken and nothing is changed."""

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from pandas.util import hash_pandas_object
from scipy.sparse import issparse, vstack
from sklearn.utils import _safe_indexing  # private by its name alone: scikit-learn's developer guide offers it to other libraries

from shattering.errors import InputError, a_type
from shattering.identity.digest import digest


class Rows:
    """Inputs that can be indexed by rows, as a user has them.

    Args:
        values: a DataFrame or Series, a sparse matrix, an array of objects or text, or a list of anything.
        where: what the values are called in messages.

    Attributes:
        content: the same; a sparse matrix in the format CSR, of which rows can be taken.

    Raises:
        InputError: for what has no rows.

    Example:
        >>> rows = Rows(["a text", "another", "a third"])
        >>> rows.subset([2, 0]).content
        ['a third', 'a text']
    """

    def __init__(self, values: Any, where: str = "inputs"):
        if issparse(values):
            values = values.tocsr()
        elif not isinstance(values, (pd.DataFrame, pd.Series, np.ndarray, list)):
            try:
                values = list(values)
            except TypeError:
                raise InputError(f"{where} is {a_type(values)}, expected something that rows can be taken of") from None
        self.content: Any = values
        self.dtype = None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or "content" not in vars(self):
            raise AttributeError(name)
        raise AttributeError(
            f"inputs that are {a_type(self.content)} have no attribute {name!r}: the X of a split has them as they were given"
        )

    def __len__(self) -> int:
        return len(self.content) if isinstance(self.content, (list, pd.DataFrame, pd.Series)) else self.content.shape[0]

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, features) of tables, else (n,)."""
        return tuple(self.content.shape) if hasattr(self.content, "shape") else (len(self.content),)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def is_table(self) -> bool:
        """True if the rows have columns."""
        return self.ndim == 2

    def subset(self, rows: Any) -> "Rows":
        """Return the rows at these positions (m,), in this order."""
        positions = np.asarray(rows, dtype=np.int64)
        return Rows(_safe_indexing(self.content, positions))

    def replaced(self, row: int, others: "Rows", other: int) -> "Rows":
        """Return the rows with one of them replaced by one of others, of the same type and columns."""
        values, more = self.content, others.subset([other]).content
        if isinstance(values, (pd.DataFrame, pd.Series)):
            both = pd.concat([values, more])
        elif issparse(values):
            both = vstack([values, more], format="csr")
        else:
            both = [*values, *more] if isinstance(values, list) else np.concatenate([values, more])
        return Rows(both).subset([*range(row), len(self), *range(row + 1, len(self))])

    def given(self) -> Any:
        """Return the values in the user's own type, for a model: a copy, which it may change."""
        return copy.deepcopy(self.content)

    def fingerprint(self) -> str:
        """Return a digest of the values, the same in every process."""
        return digest(self.content, "the inputs")

    @property
    def is_numbers(self) -> bool:
        """True for a DataFrame all of whose columns are numbers or booleans."""
        return isinstance(self.content, pd.DataFrame) and all(
            pd.api.types.is_numeric_dtype(kind) and not isinstance(kind, pd.CategoricalDtype) for kind in self.content.dtypes
        )

    def numbers(self) -> np.ndarray:
        """Return a DataFrame of numbers as (n, features) float64, missing values as NaN. Raises InputError for any other inputs."""
        if issparse(self.content):
            raise InputError(f"inputs are {a_type(self.content)}, expected an array or a DataFrame of numbers: its toarray() is one")
        if not self.is_numbers:
            raise InputError(f"inputs are {a_type(self.content)} with columns that are no numbers, expected numbers alone")
        return self.content.to_numpy(dtype=np.float64, na_value=np.nan, copy=True)

    def keys(self, as_numbers: bool = False) -> list[bytes]:
        """Return (n,) bytes that are equal for equal rows. as_numbers: see `Split.row_keys`."""
        values: Any = self.content
        if isinstance(values, pd.DataFrame) and as_numbers:
            values = values.apply(lambda column: column.astype("Float64") if pd.api.types.is_numeric_dtype(column.dtype) else column)
        if isinstance(values, (pd.DataFrame, pd.Series)):
            try:
                return [int(key).to_bytes(8, "little") for key in hash_pandas_object(values, index=False)]  # type: ignore[operator]  # the stub lacks it
            except TypeError:  # objects that cannot be hashed
                values = values.to_numpy()
        if issparse(values):
            values = values.astype(np.float64) if as_numbers else values.copy()
            values.sum_duplicates()  # which sorts the indices, too: equal rows may be stored in several ways
            values.eliminate_zeros()
            values = [(row.indices.astype(np.int64).tobytes(), row.data.tobytes()) for row in (values[[i]] for i in range(len(self)))]
        return [row.encode("utf-8", "surrogatepass") if isinstance(row, str) else digest(row).encode() for row in values]


def is_text(values: Any, where: str = "inputs") -> bool:
    """Return whether values (n,) are texts: a list or another sequence, an array or a Series of them.

    Raises InputError for texts of which some are missing. where: what they are called.
    """
    if isinstance(values, (pd.Series, pd.Index, np.ndarray)):
        if values.ndim != 1 or (isinstance(values, np.ndarray) and values.dtype.kind not in "UO"):
            return False
        values = values.tolist()
    if not isinstance(values, Sequence) or isinstance(values, (str, bytes)):
        return False
    items = list(values)
    texts = sum(isinstance(value, str) for value in items)
    missing = [row for row, value in enumerate(items) if _is_missing(value)] if texts < len(items) else []
    if texts and missing and texts + len(missing) == len(items):
        raise InputError(
            f"{where} has {len(missing)} missing texts (first: row {missing[0]}), expected none: fill them in first, as with ''"
        )
    return 0 < texts == len(items)


def _is_missing(value: object) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and value != value)


def as_tokens(values: Any, where: str) -> "torch.Tensor | Rows":
    """Return token ids as a tensor (n, length) int64, or as `Rows` of lists if the lengths differ.

    Raises InputError for what is not whole numbers of at least 0.
    """
    if isinstance(values, np.ma.MaskedArray) and np.ma.getmaskarray(values).any():
        masked = int(np.ma.getmaskarray(values).sum())
        raise InputError(f"{where} has {masked} masked tokens, expected none: lists of the tokens alone, which may have several lengths")
    array = _as_array(values)
    if array is not None:
        _check_tokens(array, 2, where)
        return torch.from_numpy(np.array(array, dtype=np.int64))
    rows = [np.asarray(row) for row in values]
    for number, row in enumerate(rows):
        _check_tokens(row, 1, f"{where}[{number}]")
    return Rows([row.astype(np.int64).tolist() for row in rows])


def _check_tokens(row: np.ndarray, axes: int, where: str) -> None:
    if row.dtype.kind not in "iu" or row.ndim != axes:
        raise InputError(f"{where} has type {row.dtype} and shape {row.shape}, expected whole numbers, the ids of tokens, in rows")
    if row.size and int(row.min()) < 0:
        raise InputError(f"{where} has the token {int(row.min())}, expected ids of at least 0")


def _as_array(values: Any) -> np.ndarray | None:
    """Return values as an array, or None if they are of several lengths."""
    if isinstance(values, torch.Tensor):
        return values.detach().cpu().numpy()
    if isinstance(values, np.ndarray) and values.dtype.kind != "O":
        return values
    try:
        rows = [row.detach().cpu().numpy() if isinstance(row, torch.Tensor) else np.asarray(row) for row in values]
        array = np.array(rows)
    except ValueError:
        return None
    return array if array.dtype.kind != "O" else None
