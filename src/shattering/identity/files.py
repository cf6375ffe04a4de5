"""`files_digest`: what identifies files by their content, wherever they lie; read once in a call of `run`, `sweep` or a test."""

import hashlib
import os
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import NamedTuple

from shattering.errors import InputError

LARGE = 4 << 30  # bytes of files from which they are not read whole
_SETTLED = 2e9  # nanoseconds since the last change of a file, before which a second change may leave its time as it is
_READ_WHOLE = (".npz", ".safetensors", ".pt", ".pth")  # whatever their size: these are loaded whole as well

_once: ContextVar[dict[Path, str] | None] = ContextVar("_once", default=None)
_digests: dict[Path, tuple[str, str]] = {}  # path → (names, sizes and times of its files, their digest)


class _File(NamedTuple):
    """A file below a folder: its name there (bytes, with slashes), size in bytes and time of its last change."""

    name: bytes
    size: int
    changed: int


@contextmanager
def read_once() -> Iterator[None]:
    """Within this context the files of a path are looked at once, however often their digest is asked for.

    A call that makes several runs opens it, so that all of them have the same identity; the next call looks again. Contexts
    nest: the outermost one counts.
    """
    if _once.get() is not None:
        yield
        return
    token = _once.set({})
    try:
        yield
    finally:
        _once.reset(token)


def files_digest(path: Path) -> str:
    """SHA-256 over the names and bytes of a file, or of all files below a folder.

    Hidden files (names that start with a dot) do not count, as no reader reads them. Of more than 4 GiB the bytes are not
    read, except of those that are loaded whole anyway: then the digest is over names, sizes and the footers of Parquet files.
    """
    known = _once.get()
    if known is None:
        return _look(path)
    key = path.absolute()
    if key not in known:
        known[key] = _look(path)
    return known[key]


def check_unchanged(path: Path) -> None:
    """Raise InputError if files have changed since their digest was taken in this `read_once`.

    Whoever loads files calls this afterwards: what was loaded is then what the digest stands for.
    """
    before = (_once.get() or {}).get(path.absolute())
    if before is not None and _look(path) != before:
        raise InputError(f"{path} changed while it was in use, expected files that stay as they are: give the same call again")


def light_digest(files: Iterable[Path], root: Path) -> str:
    """SHA-256 over the names below root and the sizes of files, and over the footers of Parquet files: row counts, offsets, statistics."""
    digest = hashlib.sha256()
    for path in files:
        size = path.stat().st_size
        digest.update(os.fsencode(path.relative_to(root).as_posix()) + f"\0{size}\0".encode())
        if path.suffix == ".parquet":
            with open(path, "rb") as file:
                file.seek(max(0, size - 8))
                length = int.from_bytes(file.read(4), "little")
                file.seek(max(0, size - 8 - length))
                digest.update(file.read())
    return digest.hexdigest()


def _look(path: Path) -> str:
    """The digest; that of the last time if names, sizes and times of the files are what they were."""
    files = _below(path)
    stamp = hashlib.sha256(b"".join(b"%d %d %d %s" % (len(f.name), f.size, f.changed, f.name) for f in files)).hexdigest()
    known = _digests.get(path.absolute())
    if known and known[0] == stamp:
        return known[1]
    if path.suffix not in _READ_WHOLE and sum(file.size for file in files) > LARGE:
        found = light_digest((_place(path, file) for file in files), path)
    else:
        found = _whole(path, files)
    if time.time_ns() - max((file.changed for file in files), default=0) > _SETTLED:
        _digests[path.absolute()] = stamp, found
    return found


def _whole(path: Path, files: tuple[_File, ...]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.name + f"\0{file.size}\0".encode())
        with open(_place(path, file), "rb") as handle:
            while block := handle.read(1 << 22):
                digest.update(block)
    return digest.hexdigest()


def _place(path: Path, file: _File) -> Path:
    return path / os.fsdecode(file.name) if file.name else path


def _below(path: Path) -> tuple[_File, ...]:
    """The file at a path, or those below it, in the order of their names; links to folders are followed, hidden files left out."""
    found = path.stat()
    if not stat.S_ISDIR(found.st_mode):
        return (_File(b"", found.st_size, found.st_mtime_ns),)
    files: list[_File] = []
    todo: list[tuple[bytes, tuple[tuple[int, int], ...]]] = [(b"", ((found.st_dev, found.st_ino),))]
    while todo:
        below, above = todo.pop()
        for entry in os.scandir(os.path.join(os.fsencode(path), below)):
            if entry.name.startswith(b"."):
                continue
            name = below + b"/" + entry.name if below else entry.name
            try:
                status = entry.stat()
            except FileNotFoundError:  # a link to nowhere
                continue
            here = status.st_dev, status.st_ino
            if stat.S_ISDIR(status.st_mode) and here not in above:
                todo.append((name, (*above, here)))
            elif stat.S_ISREG(status.st_mode):
                files.append(_File(name, status.st_size, status.st_mtime_ns))
    return tuple(sorted(files, key=lambda file: file.name.split(b"/")))
