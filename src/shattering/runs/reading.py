"""What the files of a run have to be like. Every check names the file, what is wrong with it, and the remedy."""

from __future__ import annotations

import io
import json
import math
import os
import stat
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shattering.errors import InputError, UnknownName, reason
from shattering.runs.spec import RunSpec
from shattering.runs.study import StudySpec

if TYPE_CHECKING:
    import pandas as pd

AnySpec = RunSpec | StudySpec

REMEDY = "remove its folder to run it again"
LARGEST = 1 << 30  # bytes of a file that is read whole
DEEPEST = 40  # objects and lists within each other


class Damaged(InputError):
    """A file of a run that cannot be read, or is not what any version has written."""


class Newer(InputError):
    """A file of a run that names what this version does not know."""


class Fields(dict):
    """A JSON object of a file. Raises `Damaged` where it lacks a field."""

    path: Path

    def __missing__(self, name: object) -> Any:
        raise damaged(self.path, f"it has no {name!r}")


def damaged(path: Path, why: str, remedy: str = REMEDY) -> Damaged:
    """Make the error for a file that is not as it should be."""
    return Damaged(f"{path} is not readable, {remedy}: {why}")


def read_bytes(path: Path) -> bytes:
    """A whole file. Raises FileNotFoundError if it is not there, and `Damaged` if it cannot be read or is no regular file."""
    try:
        with open(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)), "rb") as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise damaged(path, "it is no regular file")
            if found.st_size > LARGEST:
                raise damaged(path, f"it has {found.st_size:,} bytes, expected at most {LARGEST:,}")
            return file.read()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FileNotFoundError(error.errno, error.strerror, str(path)) from None
    except IsADirectoryError:
        raise damaged(path, "it is a folder") from None
    except OSError as error:
        raise Damaged(f"{path} cannot be read: {error.strerror or reason(error)}") from None


def read_object(path: Path, remedy: str = REMEDY) -> Fields:
    """The object in a JSON file, whose numbers are finite. Raises as `read_bytes` does, and `Damaged` for anything else."""
    data = _parsed(path, _json, remedy)
    if not isinstance(data, dict):
        raise damaged(path, f"it holds {'null' if data is None else f'a {type(data).__name__}'}, expected an object", remedy)
    fields = Fields(data)
    fields.path = path
    return fields


def read_table(path: Path, columns: Iterable[str] = (), numbers: Iterable[str] = ()) -> pd.DataFrame:
    """The table in a Parquet file, which has to have these columns, and these of numbers. Raises as `read_object` does."""
    import pandas as pd

    table = _parsed(path, lambda content: pd.read_parquet(io.BytesIO(content)))
    for name in (*columns, *numbers):
        if name not in table:
            raise damaged(path, f"it has no column {name!r}")
    for name in numbers:
        if not pd.api.types.is_numeric_dtype(table[name]):
            raise damaged(path, f"its column {name!r} is of {table[name].dtype}, expected numbers")
    return table


def read_spec(path: Path) -> AnySpec:
    """The specification in a file. Raises as `read_object` does, and `Newer` for names that this version does not know."""
    data = read_object(path)
    try:
        return spec_from_json(data, check=False)
    except UnknownName as error:
        raise Newer(
            f"{path} was written by a later version of shattering, or by hand: read it with that version, or {REMEDY}: {error}"
        ) from None
    except Exception as error:  # InputError, or numbers that are too large and the like
        raise damaged(path, reason(error)) from None


def spec_from_json(data: dict, check: bool = True) -> AnySpec:
    """The spec of a run or study from its JSON. Raises InputError for values out of range, and `UnknownName` for unknown fields."""
    return StudySpec.from_json(data, check) if "study" in data else RunSpec.from_json(data, check)


def read_result(folder: Path, spec: AnySpec) -> Fields:
    """The result of a run or study. Raises as `read_object` does."""
    result = read_object(folder / "result.json")
    if isinstance(spec, RunSpec):
        _check(result, _RESULT, _RESULT_SOMETIMES)
    else:
        _check(result, {"data": _text})
    return result


def read_provenance(folder: Path, spec: AnySpec) -> Fields:
    """Where, when and with what a run or study was executed. Raises as `read_object` does."""
    provenance = read_object(folder / "provenance.json")
    of_run = _PROVENANCE_OF_RUN if isinstance(spec, RunSpec) else {}
    _check(provenance, {**_PROVENANCE, **of_run}, _PROVENANCE_SOMETIMES)
    return provenance


def read_failure(folder: Path) -> tuple[str, str | None]:
    """Why a run failed, and the traceback, if one was kept. Raises as `read_object` does."""
    found = read_object(folder / "failed.json", "remove it to run it again")
    _check(found, {"error": _text}, {"traceback": _text})
    return found["error"], found.get("traceback")


def _parsed(path: Path, parse: Callable[[bytes], Any], remedy: str = REMEDY) -> Any:
    content = read_bytes(path)
    try:
        return parse(content)
    except Exception as error:  # whatever a parser raises for bytes that are not its format's
        raise damaged(path, reason(error) if content else "it is empty", remedy) from None


def _json(content: bytes) -> Any:
    data = json.loads(content.decode(), parse_constant=_finite, parse_float=_finite)
    if _is_deep(data, DEEPEST):
        raise ValueError(f"it has more than {DEEPEST} objects and lists within each other")
    return data


def _is_deep(value: object, left: int) -> bool:
    if not isinstance(value, (dict, list)):
        return False
    return not left or any(_is_deep(part, left - 1) for part in (value.values() if isinstance(value, dict) else value))


def _finite(text: str) -> float:
    if not math.isfinite(float(text)):
        raise ValueError(f"it has the number {text}, expected finite ones")
    return float(text)


_LARGE = 1e300  # what is larger is no measurement, and overflows where it is worked with


def _text(value: object) -> str | None:
    return None if isinstance(value, str) else "a text"


def _truth(value: object) -> str | None:
    return None if isinstance(value, bool) else "true or false"


def _number(value: object) -> str | None:
    return None if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < _LARGE else "a number"


def _share(value: object) -> str | None:
    return None if not _number(value) and 0 <= value <= 1 else "a number in 0…1"  # type: ignore[operator]


def _count(value: object) -> str | None:
    return None if isinstance(value, int) and not _number(value) and value >= 1 else "a whole number of at least 1"


def _numbers(value: object) -> str | None:
    return None if isinstance(value, list) and not any(map(_number, value)) else "a list of numbers"


def _texts(value: object) -> str | None:
    return None if isinstance(value, list) and not any(map(_text, value)) else "a list of texts"


def _versions(value: object) -> str | None:
    return None if isinstance(value, dict) and all(v is None or isinstance(v, str) for v in value.values()) else "names and texts"


def _examples(value: object) -> str | None:
    fits = isinstance(value, list) and all(
        isinstance(e, dict) and isinstance(e.get("label"), str) and isinstance(e.get("true_label"), str) for e in value
    )
    return None if fits else "a list of objects with label and true_label"


_Checks = Mapping[str, Callable[[object], str | None]]  # field → what it has to be, if it is not
_RESULT: _Checks = {
    **dict.fromkeys(("n_train", "n_test", "n_classes"), _count),
    **dict.fromkeys(("train_accuracy", "test_accuracy", "changed_fraction"), _share),
    "dataset": _text,
    "interpolated": _truth,
    "examples": _examples,
}
_RESULT_SOMETIMES: _Checks = {
    **dict.fromkeys(("epochs", "epochs_to_fit", "n_parameters", "majority_share", "train_score", "test_score"), _number),
    "diverged": _truth,
    "classes": _texts,
}
_PROVENANCE: _Checks = {
    "versions": _versions,
    "processor": _text,
    "threads": _number,
    "device": _text,
    "started": _text,
    "seconds": _number,
}
_PROVENANCE_SOMETIMES: _Checks = {"fit_seconds": _number, "resumed": _truth, "git_revision": _text}
_PROVENANCE_OF_RUN: _Checks = {"dataset_fingerprint": _text, "epoch_seconds": _numbers}


def _check(fields: Fields, always: _Checks, sometimes: _Checks | None = None) -> None:
    """Raises `Damaged` for fields that are not what they have to be. sometimes: of those that may be missing or null."""
    for name, expected in {**(sometimes or {}), **always}.items():
        if name not in always and fields.get(name) is None:
            continue
        if what := expected(fields[name]):
            raise damaged(fields.path, f"{name} is {_short(fields[name])}, expected {what}")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) < 60 else f"{text[:60]}…"
