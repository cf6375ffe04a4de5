"""Read and check the files of a run. Every error names the file, what is wrong with it, and the remedy."""

from __future__ import annotations

import io
import json
import math
import os
import stat
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shattering.errors import InputError, UnknownName, a_type, reason
from shattering.parameters import describe, is_of
from shattering.runs import schema
from shattering.runs.base import Spec
from shattering.runs.permutations import PermutationsSpec
from shattering.runs.schema import Field
from shattering.runs.spec import RunSpec
from shattering.runs.study import StudySpec

if TYPE_CHECKING:
    import pandas as pd

REMEDY = "remove its folder to run it again"
LARGEST = 1 << 30  # largest file, in bytes, that is read whole
DEEPEST = 40  # objects and lists within each other


class Damaged(InputError):
    """A file of a run cannot be read, or no version has written such a file."""


class Newer(InputError):
    """A file of a run has names that this version does not know."""


class Fields(dict):
    """The JSON object of a file. A missing field raises `Damaged`."""

    path: Path

    def __missing__(self, name: object) -> Any:
        raise damaged(self.path, f"it has no {name!r}")


def damaged(path: Path, why: str, remedy: str = REMEDY) -> Damaged:
    """Make the error for a file that is not as it should be."""
    return Damaged(f"{path} is not readable, {remedy}: {why}")


def newer(path: Path, why: str) -> Newer:
    """Make the error for a file of a later version."""
    return Newer(f"{path} was written by a later version of shattering, or by hand: read it with that version, or {REMEDY}: {why}")


def read_bytes(path: Path) -> bytes:
    """Read a whole file. Raises FileNotFoundError if it is missing, and `Damaged` if it cannot be read or is no regular file."""
    try:
        with open(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise damaged(path, "it is no regular file")
            if status.st_size > LARGEST:
                raise damaged(path, f"it has {status.st_size:,} bytes, expected at most {LARGEST:,}")
            return file.read()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FileNotFoundError(error.errno, error.strerror, str(path)) from None
    except IsADirectoryError:
        raise damaged(path, "it is a folder") from None
    except OSError as error:
        raise Damaged(f"{path} cannot be read: {error.strerror or reason(error)}") from None


def read_object(path: Path, remedy: str = REMEDY) -> Fields:
    """Read the object in a JSON file, whose numbers are finite. Raises as `read_bytes` does, and `Damaged` for anything else."""
    data = _parsed(path, _json, remedy)
    if not isinstance(data, dict):
        raise damaged(path, f"it holds {'null' if data is None else a_type(data)}, expected an object", remedy)
    fields = Fields(data)
    fields.path = path
    return fields


def read_stored_table(path: Path, columns: Iterable[Field]) -> pd.DataFrame:
    """Return the table of a finished run. A table without rows, as the history of a model without epochs, needs only the first column.

    Raises `Damaged` for a file that is missing or cannot be read, and for a column that is missing or has no numbers where it has to.
    """
    import pandas as pd

    try:
        table: pd.DataFrame = _parsed(path, lambda content: pd.read_parquet(io.BytesIO(content)))
    except FileNotFoundError:
        raise Damaged(f"{path} is missing, {REMEDY}") from None
    for column in list(columns) if len(table) else list(columns)[:1]:
        if column.name not in table:
            raise damaged(path, f"it has no column {column.name!r}")
        if len(table) and column.type is not Any and not pd.api.types.is_numeric_dtype(table[column.name]):
            raise damaged(path, f"its column {column.name!r} is of {table[column.name].dtype}, expected numbers")
    return table


def read_spec(path: Path) -> Spec:
    """Read a specification. Raises as `read_object` does, and `Newer` for names that this version does not know."""
    data = read_object(path)
    try:
        return spec_from_json(data, check=False)
    except UnknownName as error:
        raise newer(path, str(error)) from None
    except Exception as error:  # InputError, or numbers that are too large and the like
        raise damaged(path, reason(error)) from None


def spec_from_json(data: dict, check: bool = True) -> Spec:
    """Return the spec of a run, a study or permutations from its JSON.

    Raises InputError for values out of range, and `UnknownName` for unknown fields.
    """
    kind = StudySpec if "study" in data else PermutationsSpec if "fits" in data else RunSpec
    return kind.from_json(data, check)


def read_result(folder: Path, spec: Spec) -> Fields:
    """Return the content of result.json. Raises as `read_object` does, and `Newer` for a version of its format that is not known yet."""
    result = read_object(folder / "result.json")
    version = result.get("version", 1)
    if is_of(version, schema.Positive) and version > schema.VERSION:
        raise newer(folder / "result.json", f"its format has version {version}, this one reads up to {schema.VERSION}")
    if not isinstance(spec, RunSpec):
        _check(result, schema.STUDY_RESULT)
    else:
        is_regression = "n_classes" not in result and "train_rmse" in result
        _check(result, schema.REGRESSION if is_regression else schema.RESULT)
    return result


def read_provenance(folder: Path, spec: Spec) -> Fields:
    """Return the content of provenance.json. Raises as `read_object` does."""
    provenance = read_object(folder / "provenance.json")
    _check(provenance, schema.PROVENANCE)
    if isinstance(spec, RunSpec):
        _check(provenance, schema.MODEL_PROVENANCE)
    return provenance


def read_failure(folder: Path) -> tuple[str, str | None]:
    """Return why a run failed, and the traceback, if one was kept. Raises as `read_object` does."""
    failure = read_object(folder / "failed.json", "remove it to run it again")
    _check(failure, schema.FAILED)
    return failure["error"], failure.get("traceback")


def _parsed(path: Path, parse: Callable[[bytes], Any], remedy: str = REMEDY) -> Any:
    content = read_bytes(path)
    try:
        return parse(content)
    except Exception as error:  # whatever a parser raises for bytes that are not its format's
        raise damaged(path, reason(error) if content else "it is empty", remedy) from None


def _json(content: bytes) -> Any:
    data = json.loads(content.decode(), parse_constant=_finite)
    if not _look_through([data], DEEPEST + 1):
        json.loads(content.decode(), parse_float=_finite)  # it says which number
    return data


def _look_through(container: dict | list, left: int) -> bool:
    """Return whether all numbers within are finite. Raises ValueError for too many objects and lists within each other."""
    if not left:
        raise ValueError(f"it has more than {DEEPEST} objects and lists within each other")
    is_finite = True
    for part in container.values() if isinstance(container, dict) else container:
        kind = type(part)
        if kind is float:
            is_finite = is_finite and math.isfinite(part)
        elif kind is dict or kind is list:
            is_finite = _look_through(part, left - 1) and is_finite
    return is_finite


def _finite(text: str) -> float:
    if not math.isfinite(float(text)):
        raise ValueError(f"it has the number {text}, expected finite ones")
    return float(text)


def _check(content: Fields, schema_: Iterable[Field]) -> None:
    """Raise `Damaged` for a field that is missing or is not what it has to be."""
    for field in schema_:
        if not field.required and content.get(field.name) is None:
            continue
        if not is_of(content[field.name], field.type):
            raise damaged(content.path, f"{field.name} is {_short(content[field.name])}, expected {describe(field.type)}")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) < 60 else f"{text[:60]}…"
