"""The user's cache folder, with decoded images, moments and digests. Losing it costs time, never a result."""

import json
import os
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock

from shattering.errors import InputError, reason
from shattering.system.files import write_own

_WAIT = 3600  # seconds that a process waits for another that makes the same file
_ABANDONED = 86_400  # seconds after which unfinished files of killed processes are removed


def cache_folder() -> Path:
    """Return the cache folder: `SHATTERING_CACHE`, else the user's cache folder. Raises InputError if there is no such folder."""
    base = os.environ.get("SHATTERING_CACHE")
    if base:
        return Path(base)
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "shattering"
    except RuntimeError:
        raise InputError("there is no home folder to keep decoded images in, expected SHATTERING_CACHE to name a folder") from None


def kept(name: str, read: Callable[[Path], Any], make: Callable[[], Any], write: Callable[[Path, Any], object]) -> Any:
    """Read a file of the cache; if it is missing, call `make` and keep its result there.

    A file that `read` cannot read, whatever it raises, is made anew. Where several processes want the same, one makes it, and the others
    wait for it. That it cannot be kept is a warning.

    Args:
        name: of the file; it says what it was made from, so that it never has to change.
        read: takes the path.
        make: takes nothing.
        write: takes the path and what was made.
    """
    path = cache_folder() / name
    with suppress(Exception):
        return read(path)
    with _alone(path):
        with suppress(Exception):
            return read(path)  # another process may have made it by now
        made = make()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _remove_abandoned(path.parent)
            write_own(path, lambda aside: write(aside, made))
        except Exception as error:  # OSError, or the error that the writing library makes of it
            why = error.strerror if isinstance(error, OSError) and error.strerror else reason(error)
            warnings.warn(f"what is decoded and computed is not kept in {path.parent}: {why}", stacklevel=2)
        return made


def kept_json(name: str, make: Callable[[], Any], check: Callable[[Any], bool]) -> Any:
    """Keep a JSON value, as `kept` does. check: returns True for a value such as `make` returns."""

    def read(path: Path) -> Any:
        content = json.loads(path.read_text())
        if not check(content):
            raise ValueError
        return content

    return kept(name, read, make, lambda path, made: path.write_text(json.dumps(made)))


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold the lock of a file, if its folder can have one; the system releases it when a process dies.

    Two processes may still be at the same file: both would make the same.
    """
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    with suppress(OSError, NotImplementedError):  # a folder that cannot be written, a file system without locks, or too long a wait
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(_WAIT)
    try:
        yield
    finally:
        with suppress(OSError):
            Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()


def _remove_abandoned(folder: Path) -> None:
    for leftover in folder.glob(".*.tmp"):
        with suppress(OSError):
            if time.time() - leftover.stat().st_mtime > _ABANDONED:
                leftover.unlink()
