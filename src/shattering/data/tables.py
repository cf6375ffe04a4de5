"""A DataFrame, or a CSV or Parquet file of columns → inputs, labels and groups, by the names of columns."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from shattering.errors import InputError, printable, reason, unknown

SUFFIXES = (".csv", ".tsv", ".parquet")


class Columns(NamedTuple):
    """The columns of a table by their use. X: all that are neither target nor groups. groups: None if there are none."""

    X: pd.DataFrame
    y: Any
    groups: Any


def columns_of(frame: pd.DataFrame, target: str, groups: Any = None, where: str = "the table") -> Columns:
    """Take target and groups out of a table.

    Args:
        frame: one row per example.
        target: the name of the column of labels or targets.
        groups: the name of a column, or (n,) values; None: there are none.
        where: what the table is called in messages.

    Raises:
        InputError: for names of no column, or of two, and a table without other columns.
    """
    names = [target, *([groups] if isinstance(groups, str) else [])]
    for name, what in zip(names, ("target", "groups"), strict=False):
        if name not in frame.columns:
            raise unknown(f"{what} of {where}:", str(name), [str(column) for column in frame.columns])
        n = list(frame.columns).count(name)
        if n > 1:
            raise InputError(f"{where} has the column {name!r} {n} times, expected it once")
    X = frame.drop(columns=names)
    if X.shape[1] == 0:
        raise InputError(f"{where} has no columns beside {', '.join(map(repr, names))}, expected features")
    return Columns(X, frame[target], frame[groups] if isinstance(groups, str) else groups)


_SHOWN = 12  # names of columns in a message


def without_target(columns: Sequence[object], where: str, also: str = "") -> InputError:
    """Return the error of a table whose column of labels nobody has named.

    Args:
        columns: names of its columns.
        where: what has them.
        also: another remedy, with "or" before it.
    """
    names, more = [str(name) for name in columns[:_SHOWN]], len(columns) - _SHOWN
    known = ", ".join(map(repr, names)) + (f" and {more:,} more" if more > 0 else "")
    return InputError(f"{where} has the columns {known}, expected target (--target), the one with the labels{also}")


def read_table(path: Path) -> pd.DataFrame:
    """Read a CSV file (by its first line's names) or a Parquet file of columns. Raises InputError for one that cannot be read."""
    where = printable(str(path))
    try:
        if path.suffix.lower() == ".parquet":
            return pq.read_table(path).to_pandas()
        return pd.read_csv(path, sep="\t" if path.suffix.lower() == ".tsv" else ",")
    except (pa.ArrowException, OSError, ValueError, UnicodeDecodeError) as error:  # pandas' own errors of parsing are ValueErrors
        raise InputError(f"{where} is not a readable {path.suffix[1:].upper()} file: {reason(error)}") from None
