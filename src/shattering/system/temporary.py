"""Temporary folders of a process, which are removed at its end, even after a kill."""

import os
import shutil
import stat
import tempfile
import uuid
import weakref
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Self

from filelock import FileLock, Timeout

_PREFIX = "shattering-"


class TemporaryFolder:
    """A temporary folder that only this user can read.

    Beside it is a lock, held as long as it is in use. A process that is killed leaves both; whoever makes the next such folder removes
    them.

    Args:
        parent: the folder to make it in; None for the system's folder of temporary files.
    """

    def __init__(self, parent: Path | None = None):
        parent = parent or Path(tempfile.gettempdir())
        remove_abandoned(parent)
        self.path = parent / (_PREFIX + uuid.uuid4().hex[:12])
        self._lock = FileLock(_lock_of(self.path), thread_local=False)  # any thread may remove it
        self._lock.acquire()
        self.path.mkdir(mode=0o700)

    def __enter__(self) -> Path:
        return self.path

    def __exit__(self, *_: object) -> None:
        self.remove()

    def __deepcopy__(self, memo: object) -> Self:
        """Return this object itself, for copies of what refers to it use the same folder."""
        return self

    def __reduce__(self) -> tuple:
        """Pickle as None: the process that unpickles does not hold the folder."""
        return type(None), ()

    def until_unused(self) -> Self:
        """Remove the folder as soon as nothing refers to this object any more, at the latest at the end of the process."""
        weakref.finalize(self, _remove, self.path, self._lock)
        return self

    def remove(self) -> None:
        """Remove the folder, and its lock."""
        _remove(self.path, self._lock)


def _remove(folder: Path, lock: FileLock) -> None:
    remove_folder(folder)
    lock.release()


def is_temporary(folder: Path) -> bool:
    """Return whether a folder is that of a `TemporaryFolder`, which is removed."""
    return was_temporary(folder) and _lock_of(folder).exists()


def was_temporary(folder: Path) -> bool:
    """Return whether a folder, which may be gone, has the name of a `TemporaryFolder`'s."""
    return folder.name.startswith(_PREFIX)


def remove_abandoned(parent: Path) -> None:
    """Remove the temporary folders in a folder whose processes have been killed."""
    for folder in parent.glob(f"{_PREFIX}*"):
        lock = _lock_of(folder)
        with suppress(OSError, Timeout):  # it is gone, or in use
            if not (_is_own(folder, stat.S_ISDIR) and _is_own(lock, stat.S_ISREG)):
                continue
            with FileLock(lock, timeout=0):
                remove_folder(folder)


def remove_folder(folder: Path) -> None:
    """Remove a temporary folder that is not in use, and its lock."""
    shutil.rmtree(folder, ignore_errors=True)
    _lock_of(folder).unlink(missing_ok=True)


def _is_own(path: Path, is_kind: Callable[[int], bool]) -> bool:
    """Return whether this user made the folder, and it is of this kind and not a link to one."""
    status = path.lstat()
    return is_kind(status.st_mode) and (not hasattr(os, "getuid") or status.st_uid == os.getuid())


def _lock_of(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.lock")
