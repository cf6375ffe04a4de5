"""A DataFrame, or a CSV or Parquet file of columns → inputs, labels and groups, by the names of columns."""

import csv
import io
import re
import warnings
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pandas.api.types import is_bool_dtype, is_numeric_dtype

from shattering.errors import InputError, counted, printable, reason, unknown

SUFFIXES = (".csv", ".tsv", ".parquet")
_LOOKED_AT = 1000  # rows
_EXACT = 2**53  # whole numbers below it are exact as float64
_NAMELESS = re.compile(r"Unnamed: \d+")
_WHOLE = re.compile(r"[+-]?\d+")
_SIGNS = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "bars"}
_OTHERS = ("\t", ";", "|")


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
        InputError: for a name that no column or several columns have, and for a table without other columns.
    """
    names = [target, *([groups] if isinstance(groups, str) else [])]
    for name, what in zip(names, ("target", "groups"), strict=False):
        if name not in frame.columns:
            other = next((column for column in frame.columns if str(column) == str(name)), None)
            if other is not None:
                raise InputError(f"{what} is {name!r}, and {where} has the column {other!r}: expected {what}={other!r}")
            if name in frame.index.names:
                raise InputError(f"{what} is {name!r}, the index of {where}, expected a column: reset_index() makes it one")
            raise unknown(f"{what} of {where}:", str(name), [str(column) for column in frame.columns])
        n = list(frame.columns).count(name)
        if n > 1:
            raise InputError(f"{where} has the column {name!r} {n} times, expected it once")
    index = [name for name in frame.attrs.get(_INDEX, ()) if name not in names]
    if index:
        warnings.warn(
            f"{where} has {', '.join(map(repr, index))} as its index, which is no feature here; as a column it is one", stacklevel=2
        )
    X = frame.drop(columns=[*names, *index])
    X.attrs.pop(_INDEX, None)
    if X.shape[1] == 0:
        raise InputError(f"{where} has no columns beside {', '.join(map(repr, names))}, expected features")
    nameless = next((name for name in X.columns if _NAMELESS.fullmatch(str(name))), None)
    if nameless is not None:
        text = f"{where} has the column {nameless!r}, as pandas calls one without a name, such as row numbers: it is a feature here"
        warnings.warn(f"{text}; drop it if it should be none", stacklevel=2)
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
    return InputError(f"{where} has the columns {known}, expected target (--target of shattering test), the one with the labels{also}")


def read_table(path: Path) -> pd.DataFrame:
    """Read a CSV file (by its first line's names) or a Parquet file of columns, values as they are written.

    Raises:
        InputError: for a file that cannot be read; for columns without a name or with one name, rows that are longer than the first line,
            or shorter, and whole numbers that an empty cell beside them would change.

    Warns:
        UserWarning: for words, such as None, that are taken for missing values among texts, and for whole numbers that are filled up with
            zeros.
    """
    where = printable(str(path))
    if path.suffix.lower() == ".parquet":
        try:
            table = pq.read_table(path)
            check_whole_numbers(table, where)
            return _with_index(table.to_pandas())
        except (pa.ArrowException, OSError, ValueError) as error:
            raise InputError(f"{where} is not a readable PARQUET file: {reason(error)}") from None
    _check_header(path, where)
    frame = _parsed(path, index_col=False)
    columns = dict(frame.items())
    doubtful = [name for name, column in columns.items() if _is_rounded(column) or _lacks_texts(column)]
    for name, texts in read_texts(path, doubtful).items() if doubtful else ():
        _check_as_written(columns[name], texts, where)
    _check_lengths(path, frame, where)
    _tell_padded(path, frame, where)
    return frame


_INDEX = "shattering: levels of the index"  # in the attributes of a table


def _with_index(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a table in which the named levels of its index are columns, which may be target or groups, and are no features."""
    names = [name for name in frame.index.names if name is not None and name not in frame.columns]
    if names:
        frame = frame.reset_index(level=names)
        frame.attrs[_INDEX] = names
    return frame


def _check_lengths(path: Path, frame: pd.DataFrame, where: str) -> None:
    """Raise InputError for a row of a CSV file that has fewer cells than the first line has names: pandas fills it up."""
    if not frame.shape[1] or not frame.iloc[:, -1].isna().any():  # as the last cell of such a row is
        return
    with path.open(newline="", encoding="utf-8-sig") as file, suppress(csv.Error):  # such as a cell of more than 131,072 characters
        rows = csv.reader(file, delimiter=_separator(path))
        for row in rows:
            if row and len(row) < frame.shape[1] and any(cell.strip() for cell in row):
                cells = f"{counted(len(row), 'cell')}, and the first line {frame.shape[1]} names"
                raise InputError(f"line {rows.line_num} of {where} has {cells}, expected as many, empty ones between separators")


def _tell_padded(path: Path, frame: pd.DataFrame, where: str) -> None:
    """Warn of columns of whole numbers that are filled up with zeros to one length, as codes are. The first rows are looked at."""
    names = [name for name, column in frame.items() if is_numeric_dtype(column.dtype) and not is_bool_dtype(column.dtype)]
    for name, column in read_texts(path, names, _LOOKED_AT).items() if names else ():
        codes = sorted(filter(None, column.fillna("").str.strip()))
        first = codes[0] if codes else ""
        if re.fullmatch(r"0\d+", first) and all(re.fullmatch(r"\d+", code) and len(code) == len(first) for code in codes):
            text = f"{where}: column {name!r} has {first!r}, which is read as the number {int(first)}"
            warnings.warn(f"{text}; codes are kept in a DataFrame, read with dtype={{{str(name)!r}: str}}", stacklevel=2)


def read_texts_by_name(path: Path) -> pd.DataFrame:
    """Return all columns of a CSV file as `read_texts` does. Raises InputError also for columns without a name or with one name."""
    _check_header(path, printable(str(path)))
    return read_texts(path)


def labels_of(texts: pd.Series, where: str) -> pd.Series:
    """Return the labels whose texts a column of a CSV file has, as `read_table` reads them.

    Raises InputError, and warns, as that does and `check_written_alike`. where: what the file is called.
    """
    values: Any = pd.read_csv(io.StringIO(texts.to_csv(index=False)), skip_blank_lines=False)[texts.name]
    _check_as_written(values, texts, where)
    _check_alike(values, texts, where)
    return values


def check_written_alike(path: Path, values: pd.Series, also: str = "") -> None:
    """Raise InputError for a column of a CSV file that has one value in several writings: 1 and 01, or texts with and without a space.

    Args:
        path: the file.
        values: the column as it was read.
        also: another remedy, with "or" before it.
    """
    texts: Any = read_texts(path, [str(values.name)])[values.name] if is_numeric_dtype(values.dtype) else values
    _check_alike(values, texts, printable(str(path)), also)


def _check_alike(values: pd.Series, texts: pd.Series, where: str, also: str = "") -> None:
    if not is_numeric_dtype(values.dtype):
        _check_spaces(values, where)
        return
    pairs = pd.DataFrame({"text": texts.str.strip(), "value": values}).dropna().drop_duplicates().sort_values(by="value", kind="stable")
    twice = pairs.loc[pairs["value"].duplicated(keep=False), "text"].tolist()
    if twice:
        what, also = ("one boolean", "") if is_bool_dtype(values.dtype) else ("one number", also)
        raise InputError(f"column {values.name!r} of {where} has {twice[0]!r} and {twice[1]!r}, {what}, expected one way to write it{also}")


def _check_spaces(texts: pd.Series, where: str) -> None:
    """Raise InputError for texts that differ in spaces at their ends alone: labels of one class, or names of one group, mistyped."""
    found: dict[str, str] = {}
    for text in texts.dropna().unique():
        if isinstance(text, str) and (other := found.setdefault(text.strip(), text)) != text:
            what = f"{other!r} and {text!r}, which differ in spaces alone"
            raise InputError(f"column {texts.name!r} of {where} has {what}, expected one way to write it: take the spaces away")


def read_texts(path: Path, names: Sequence[Any] | None = None, rows: int | None = None) -> pd.DataFrame:
    """Return columns of a CSV file as the texts that are written there: (n, columns), empty cells as "".

    Args:
        path: the file.
        names: those of the columns; None: all.
        rows: how many, from the first on; None: all.
    """
    return _parsed(path, index_col=False, dtype=str, keep_default_na=False, usecols=names, nrows=rows)


def _parsed(path: Path, **how: Any) -> pd.DataFrame:
    """Read a CSV file. Raises InputError for one that cannot be read, and for rows of several lengths."""
    where = printable(str(path))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            return pd.read_csv(path, sep=_separator(path), low_memory=False, **how)  # in parts, 1 may be a number here and a text there
    except pd.errors.ParserWarning:
        raise InputError(f"{where} has rows with more cells than the first line has names, expected as many{_commented(path)}") from None
    except (OSError, ValueError) as error:  # pandas' own errors of parsing, and UnicodeDecodeError, are ValueErrors
        remedy = "; expected text in UTF-8: save it so" if isinstance(error, UnicodeDecodeError) else ""
        raise InputError(f"{where} is not a readable {path.suffix[1:].upper()} file: {reason(error)}{remedy}") from None


def _commented(path: Path) -> str:
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        return "; its first line begins with #, and the names have to stand there" if file.readline().startswith("#") else ""


def _separator(path: Path) -> str:
    return "\t" if path.suffix.lower() == ".tsv" else ","


def _check_header(path: Path, where: str) -> None:
    """Raise InputError for a first line in which a name is missing or stands twice, or that another sign seems to separate."""
    first = _parsed(path, header=None, nrows=1, dtype=str, keep_default_na=False)
    names = first.iloc[0].tolist()
    for place, name in enumerate(names):
        if not name.strip():
            row_numbers = "; a column of row numbers is left out by to_csv(index=False)" if place == 0 else ""
            raise InputError(f"{where} has no name for column {place + 1}, expected one for each{row_numbers}")
        if names.count(name) > 1:
            raise InputError(f"{where} has the column {printable(name)!r} {names.count(name)} times, expected every name once")
    other = next((sign for sign in _OTHERS if len(names) == 1 and sign in names[0]), None)
    if other:
        raise InputError(
            f"{where} has one column, {printable(names[0])!r}, expected columns between {_SIGNS[_separator(path)]}, not {_SIGNS[other]}"
        )


def _is_rounded(column: pd.Series) -> bool:
    """Return whether a column of floats has numbers among which whole ones may have been rounded."""
    return column.dtype == np.float64 and bool((column.abs() >= _EXACT).any())


def _lacks_texts(column: pd.Series) -> bool:
    """Return whether values are missing in a column that is not of numbers."""
    return not is_numeric_dtype(column.dtype) and bool(column.isna().any())


def _check_as_written(values: pd.Series, texts: pd.Series, where: str) -> None:
    """Raise InputError where values are not what their texts say, and warn of texts that count as missing."""
    if _is_rounded(values):
        _check_unchanged(values, texts, where)
    if _lacks_texts(values):
        _tell_missing(values, texts, where)


def _check_unchanged(numbers: pd.Series, texts: pd.Series, where: str) -> None:
    """Raise InputError if a column of floats has whole numbers in the file that floats do not hold."""
    large = numbers.abs() >= _EXACT
    for text, number in zip(texts.str.strip()[large], numbers[large], strict=True):
        if _WHOLE.fullmatch(text) and np.isfinite(number) and int(text) != int(number):
            remedy = "expected no empty cells beside such numbers, or text"
            raise InputError(f"column {numbers.name!r} of {where} has {text}, which would become {int(number)}: {remedy}")


def check_whole_numbers(table: pa.Table, where: str) -> None:
    """Raise InputError for whole numbers of an Arrow table that would become others, as floats, since cells beside them are empty."""
    for name, column in zip(table.column_names, table.columns, strict=True):
        if pa.types.is_integer(column.type) and column.null_count:
            whole = column.drop_null().to_pylist()
            number = next((value for value in whole if int(float(value)) != value), None)
            if number is not None:
                remedy = "expected no empty cells beside such numbers, or text"
                raise InputError(f"column {name!r} of {where} has {number}, which would become {int(float(number))}: {remedy}")


def _tell_missing(values: pd.Series, texts: pd.Series, where: str) -> None:
    """Warn of words that were taken for missing values in a column that is not of numbers."""
    read = texts.str.strip()[values.isna()]
    found = [word for word in read.unique().tolist() if word]
    if found:
        count = int((read != "").sum())
        text = f"{where}: column {values.name!r} has {', '.join(map(repr, found[:3]))} in {count:,} rows, which counts as missing"
        warnings.warn(text, stacklevel=2)
