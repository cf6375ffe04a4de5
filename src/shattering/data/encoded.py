"""Encoded images where they lie: files below a folder, or rows of Parquet shards. Nothing is decoded here, and nothing kept."""

import hashlib
import os
import re
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from shattering.errors import InputError, printable, reason
from shattering.system.machine import in_bytes

_MOST = 1 << 30  # encoded bytes that are taken for an image
_SHARD = re.compile(r"(.*)-(\d+)-of-(\d+)(?:-[0-9a-f]{16})?\.parquet", re.IGNORECASE)


@dataclass(frozen=True, eq=False)
class ImageFiles:
    """One image per file.

    Args:
        folder: what the names start from.
        names: (n,) bytes, paths below the folder. An array, as it is shared between processes without being copied.
    """

    folder: Path
    names: np.ndarray

    def __len__(self) -> int:
        return len(self.names)

    def describe(self, row: int) -> str:
        return printable(str(self._path(row)))

    def read(self, row: int) -> bytes:
        """Return the encoded bytes of an image. Raises InputError for a file that cannot be read, or is no file."""
        return read_file(self._path(row))

    def size_of(self, rows: np.ndarray) -> int:
        """Estimate the bytes of these images from a hundred of them."""
        some = rows[:: max(1, len(rows) // 100)]
        return int(np.mean([os.stat(self._path(row)).st_size for row in some]) * len(rows)) if len(some) else 0

    def stamp(self) -> str:
        """Return a digest that changes whenever a file changes or moves."""
        return stamp(self._path(row) for row in range(len(self)))

    def _path(self, row: int) -> Path:
        return self.folder / os.fsdecode(self.names[row])


@dataclass(frozen=True, eq=False)
class ParquetRows:
    """The rows of Parquet files, in their order; read a row group at a time.

    Args:
        files: in order.
        column: the leaf column that holds the encoded bytes, such as "image.bytes".
        groups: (g, 2) int64, file and row group in it, of each row group.
        starts: (g + 1,) int64, number of the first row of each row group; the last is the number of rows.
        sizes: (g,) int64, encoded bytes of each row group.
    """

    files: tuple[Path, ...]
    column: str
    groups: np.ndarray
    starts: np.ndarray
    sizes: np.ndarray

    @classmethod
    def of(cls, files: Sequence[Path], column: str) -> "ParquetRows":
        """Read the footers. Raises InputError for a file that cannot be read."""
        groups, rows, sizes = [], [], []
        for number, path in enumerate(files):
            footer = open_parquet(path).metadata
            index = [footer.schema.column(i).path for i in range(footer.num_columns)].index(column)
            for group in range(footer.num_row_groups):
                groups.append((number, group))
                rows.append(footer.row_group(group).num_rows)
                sizes.append(footer.row_group(group).column(index).total_uncompressed_size)
        return cls(tuple(files), column, np.array(groups, np.int64), np.cumsum([0, *rows]), np.array(sizes, np.int64))

    def __len__(self) -> int:
        return int(self.starts[-1])

    def describe(self, row: int) -> str:
        group = self.group_of(row)
        first = int(self.starts[np.flatnonzero(self.groups[:, 0] == self.groups[group, 0])[0]])
        return printable(f"row {row - first} of column {self.column.split('.')[0]!r} of {self.files[self.groups[group, 0]]}")

    def group_of(self, rows):
        """Return the row group of each row."""
        return np.searchsorted(self.starts, rows, side="right") - 1

    def read_group(self, group: int, rows: np.ndarray) -> list[bytes | None]:
        """Return the encoded bytes of some rows of a row group, None where there are none. Raises InputError if it cannot be read."""
        number, inner = self.groups[group]
        path = self.files[number]
        try:
            table = open_parquet(path).read_row_group(int(inner), columns=[self.column], use_threads=False)
        except (pa.ArrowException, OSError) as error:
            raise InputError(f"row group {inner} of {path} is not readable: {reason(error)}") from None
        column = table.column(0).combine_chunks()
        column = column.field("bytes") if pa.types.is_struct(column.type) else column
        return column.take(pa.array(rows - self.starts[group])).to_pylist()

    def size_of(self, rows: np.ndarray) -> int:
        """Return the bytes of these rows, each counted as the mean of its row group."""
        return int((self.sizes / np.maximum(np.diff(self.starts), 1))[self.group_of(rows)].sum())

    def stamp(self) -> str:
        """Return a digest that changes whenever a file changes or moves."""
        return stamp(self.files)


@dataclass(frozen=True, eq=False)
class ArrowRows:
    """The rows of a column in memory, or mapped into it, as a Hugging Face dataset holds them.

    Args:
        values: (n,) structs of bytes and path; where there are no bytes, the file at the path is read.
        name: of the column.
    """

    values: pa.ChunkedArray
    name: str

    def __len__(self) -> int:
        return len(self.values)

    def describe(self, row: int) -> str:
        return f"row {row} of column {self.name!r}"

    def read(self, row: int) -> bytes:
        """Return the encoded bytes of an image, none where there are none. Raises InputError for a file that cannot be read."""
        found = self.values[row].as_py() or {}
        if found.get("bytes") is None and found.get("path"):
            return read_file(Path(found["path"]))
        return found.get("bytes") or b""

    def size_of(self, rows: np.ndarray) -> int:
        """Estimate the bytes of these images from a hundred of them."""
        some = rows[:: max(1, len(rows) // 100)]
        return int(np.mean([len(self.read(row)) for row in some]) * len(rows)) if len(some) else 0

    def stamp(self) -> None:
        """Return None: nothing made of these rows is kept in the cache."""


Encoded = ImageFiles | ParquetRows | ArrowRows


def read_file(path: Path) -> bytes:
    """Return the bytes of a regular file. Raises InputError for anything else, without waiting for it or reading without end."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with open(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise InputError(f"{printable(str(path))} is {kind_of(status)}, expected a file")
            if status.st_size > _MOST:
                raise InputError(f"{printable(str(path))} takes {in_bytes(status.st_size)}, expected an image of at most {in_bytes(_MOST)}")
            return file.read(status.st_size)
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{printable(str(path))} cannot be read: {getattr(error, 'strerror', None) or reason(error)}") from None


def kind_of(status: os.stat_result) -> str:
    """Return in words what a path leads to."""
    kinds = ((stat.S_ISREG, "a file"), (stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a pipe"), (stat.S_ISSOCK, "a socket"))
    return next((name for is_kind, name in kinds if is_kind(status.st_mode)), "a device")


def open_parquet(path: Path) -> pq.ParquetFile:
    """Return a Parquet file, opened. Raises InputError for what is no file, without waiting for it, and for one that cannot be read."""
    try:
        if not stat.S_ISREG((status := path.stat()).st_mode):
            raise InputError(f"{printable(str(path))} is {kind_of(status)}, expected a Parquet file")
        return pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{printable(str(path))} is not a readable Parquet file: {reason(error)}") from None


def check_shards(files: Sequence[Path]) -> None:
    """Raise InputError for files of a split that lack some of their number, as train-00000-of-00294.parquet says it, or may repeat rows."""
    found: dict[tuple[str, int], list[tuple[int, Path]]] = {}
    whole = [path for path in files if not re.search(r"\d", path.stem)]
    for path in files:
        if match := _SHARD.fullmatch(path.name):
            found.setdefault((match[1], int(match[3])), []).append((int(match[2]), path))
    sets = [parts[0][1] for parts in found.values()] + whole
    for (name, of), parts in found.items():
        numbers = [number for number, _ in parts]
        missing = sorted(set(range(of)) - set(numbers))
        if missing:
            first = f"{name}-{missing[0]:05d}-of-{of:05d}.parquet"
            raise InputError(f"{files[0].parent} lacks {len(missing)} of {of} shards (first: {first}), expected all")
        sets += [path for number, path in parts if number == numbers[0]][1:]
    if len(sets) > 1 or (whole and len(files) > 1):
        other = next(path for path in [*sets, *files] if path != sets[0])
        raise InputError(f"{sets[0]} and {other.name} may hold the same rows, expected one set of parts")


def stamp(files: Iterable[Path]) -> str:
    """Return a SHA-256 of where files lie, their inodes, their sizes and their times; nobody can set the time of change.

    Raises InputError for a file that is not there.
    """
    digest = hashlib.sha256()
    for path in files:
        try:
            found = path.stat()
        except OSError as error:
            raise InputError(f"{printable(str(path))} cannot be read: {error.strerror}") from None
        times = f"{found.st_ino} {found.st_size} {found.st_mtime_ns} {found.st_ctime_ns}\n"
        digest.update(os.fsencode(path.absolute()) + b"\0" + times.encode())
    return digest.hexdigest()
