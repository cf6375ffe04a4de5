"""Write files whole: a process that is killed leaves the old file or the new one."""

import errno
import os
import re
import shutil
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from shattering.errors import InputError
from shattering.system.temporary import TemporaryFolder

_FULL = (errno.ENOSPC, errno.EDQUOT)
_SAYS_FULL = re.compile(r"no space left|storagefull|quota exceeded|\bcode: 28\b|\bos error 28\b", re.IGNORECASE)
_ASIDE = re.compile(r"\..*\.(\d+)\.tmp")


def write_own(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` make a file beside `path`, then rename it to `path` in one step.

    For folders that are ours, such as a run's: a link in its place is replaced, not followed. The file has the mode of the one that
    it replaces, or that of any new file.

    Raises OSError in one sentence; what stood at `path` is then unharmed.
    """
    aside = path.with_name(f".{path.name[:50]}.{os.getpid()}.tmp")
    try:
        mode = _make(aside, path)
        write(aside)
        os.chmod(aside, mode)  # some writers make files that only the owner can read
        os.replace(aside, path)
    except BaseException as error:
        with suppress(OSError):
            aside.unlink(missing_ok=True)
        if _says_full(error):
            raise _no_space(path) from error
        raise


def write_aside(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file that the user has named in the same way, and make its folder if it is missing.

    A link is followed, and a device, a pipe or /dev/stdout is written into. Raises InputError for a folder, for a file in the place
    of a folder, for a path that begins with "~", and for a pipe that nobody reads.
    """
    if path.parts[:1] == ("~",):
        raise InputError(f"{path} begins with ~, which only a shell replaces, expected the home folder: {os.path.expanduser(path)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise InputError(f"{path} is to be written in {path.parent}, which is no folder") from None
    if (number := _descriptor(path)) is not None:
        _copy(write, lambda: os.dup(number), path)
        return
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        mode = stat.S_IFREG  # the file is new
    if stat.S_ISDIR(mode):
        raise InputError(f"{path} is a folder, expected the name of a file to write")
    if stat.S_ISREG(mode):
        if path.exists() and not os.access(path, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        write_own(Path(os.path.realpath(path)), write)
    elif stat.S_ISSOCK(mode):
        raise InputError(f"{path} is a socket, expected the name of a file to write")
    else:
        _copy(write, lambda: os.open(path, os.O_WRONLY | (os.O_NONBLOCK if stat.S_ISFIFO(mode) else 0)), path)


def is_file(path: Path) -> bool:
    """Return whether a path was written as a file, not a device or pipe."""
    return _descriptor(path) is None and path.is_file()


def leftovers(folder: Path) -> Iterator[Path]:
    """Return the unfinished files that killed writers left in a folder. Files of living processes are not among them."""
    for name in os.listdir(folder):
        match = _ASIDE.fullmatch(name)
        if match and not _lives(int(match[1])):
            yield folder / name


def _make(aside: Path, path: Path) -> int:
    """Make the empty file to write to, and return the mode that it has in the end."""
    aside.unlink(missing_ok=True)  # left by an earlier process of this number
    with open(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), "wb") as file:
        mode = os.fstat(file.fileno()).st_mode
    with suppress(FileNotFoundError):
        before = os.lstat(path)
        mode = before.st_mode if stat.S_ISREG(before.st_mode) else mode
    return mode & 0o777


def _copy(write: Callable[[Path], object], opened: Callable[[], int], path: Path) -> None:
    """Let `write` make a file elsewhere, and send its bytes into what is opened."""
    try:
        with TemporaryFolder() as folder:
            whole = folder / (path.name or "file")
            write(whole)
            sys.stdout.flush()  # earlier output comes first
            number = opened()
            os.set_blocking(number, True)
            with open(whole, "rb") as source, open(number, "wb") as target:
                shutil.copyfileobj(source, target)
    except OSError as error:
        if error.errno == errno.ENXIO:
            raise InputError(f"{path} is a pipe that nobody reads, expected one that is read, or a file") from None
        if _says_full(error):
            raise _no_space(path) from error
        raise


def _descriptor(path: Path) -> int | None:
    """Return the number of the open file of this process that a path such as /dev/stdout stands for; None for other paths."""
    own = (f"/proc/{os.getpid()}/fd", "/dev/fd")
    for _ in range(40):
        if path.name.isdecimal() and os.path.realpath(path.parent) in own:
            return int(path.name)
        if not path.is_symlink():
            return None
        path = path.parent / os.readlink(path)
    return None


def _says_full(error: BaseException) -> bool:
    """Return whether an error says that there is no space left, in whatever words a library uses."""
    if not isinstance(error, Exception) or isinstance(error, InputError):
        return False
    return getattr(error, "errno", None) in _FULL or bool(_SAYS_FULL.search(str(error)))


def _no_space(path: Path) -> OSError:
    return OSError(errno.ENOSPC, f"no space left to write {path}; free some and give the same command again")


def _lives(process: int) -> bool:
    """Return whether there is a process of this number."""
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True  # another user's process
    return True
