"""`files_digest`: the identity of files by their content, wherever they are; they are read once per call of `run`, `sweep` or a test."""

import hashlib
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import NamedTuple

from shattering.errors import InputError
from shattering.system.cache import kept_json

LARGE = 1 << 30  # bytes; the digest of larger files is kept for other processes as well
_SETTLED = 2e9  # nanoseconds; two changes of a file within this time may leave it with the same time of change

_once: ContextVar[dict[Path, str] | None] = ContextVar("_once", default=None)
_digests: dict[Path, tuple[str, str]] = {}  # path → (what its files are, without their bytes; their digest)


class _File(NamedTuple):
    """A file below a folder: its name there (bytes, with slashes), size in bytes, times of its last changes, and number.

    Whoever writes a file can set the first time back, but not the second.
    """

    name: bytes
    size: int
    changed: int
    touched: int
    number: int


@contextmanager
def read_once() -> Iterator[None]:
    """Look at the files of a path once within this context, however often their digest is asked for.

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
    """Compute a SHA-256 over the names and bytes of a file, or of all files below a folder.

    Hidden files (names that start with a dot) do not count, as no reader reads them. All bytes are read once, and again only after
    a file has changed. The digest of more than 1 GiB is kept in the cache folder, for other processes.
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


def _look(path: Path) -> str:
    """Return the digest; the last one if names, sizes and times of the files have not changed."""
    files = _below(path)
    each = (b"%d %d %d %d %d %s" % (len(f.name), f.size, f.changed, f.touched, f.number, f.name) for f in files)
    stamp = hashlib.sha256(b"".join(each)).hexdigest()
    known = _digests.get(path.absolute())
    if known and known[0] == stamp:
        return known[1]
    settled = time.time_ns() - max((max(file.changed, file.touched) for file in files), default=0) > _SETTLED
    if settled and sum(file.size for file in files) > LARGE:
        name = hashlib.sha256(os.fsencode(path.absolute()) + stamp.encode()).hexdigest()[:32]
        content = kept_json(
            f"{name}.digest.json", lambda: _whole(path, files), lambda digest: isinstance(digest, str) and len(digest) == 64
        )
    else:
        content = _whole(path, files)
    if settled:
        _digests[path.absolute()] = stamp, content
    return content


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
    """Return the file at a path, or the files below it, sorted by name; links to folders are followed, hidden files left out."""
    top = path.stat()
    if not stat.S_ISDIR(top.st_mode):
        return (_file(b"", top),)
    files: list[_File] = []
    todo: list[tuple[bytes, tuple[tuple[int, int], ...]]] = [(b"", ((top.st_dev, top.st_ino),))]
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
                files.append(_file(name, status))
    return tuple(sorted(files, key=lambda file: file.name.split(b"/")))


def _file(name: bytes, status: os.stat_result) -> _File:
    return _File(name, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
