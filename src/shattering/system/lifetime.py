"""End processes together: with their parent, or when another process has ended."""

import contextlib
import ctypes
import os
import select
import subprocess
import sys
from pathlib import Path

import psutil

from shattering.system.temporary import remove_folder

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36  # of linux/prctl.h
_SIGKILL = 9
_LOOK_SECONDS = (0.25, 30.0)  # between checks of the started processes: first and last; doubled each time


def end_with_parent(parent: int) -> None:
    """Ask the system to kill this process when its parent ends, whatever it is doing then. Only Linux can.

    parent: the process that has started this one, from a thread that lives as long as the parent itself.
    """
    _prctl(_PR_SET_PDEATHSIG, _SIGKILL)
    if os.getppid() != parent:  # it ended before the request
        os._exit(1)


def adopt_orphans() -> None:
    """Ask the system to make descendants children of this process when their parents end. Only Linux can."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


class Guard:
    """A process that kills some processes started from now on when this process ends, in whatever way, or calls `end`.

    Args:
        mark: of them, a part of their command line; what they start in turn is killed with them.
        folder: a `TemporaryFolder` of theirs, removed afterwards.
    """

    def __init__(self, mark: str, folder: Path):
        path = [str(part) for part in sys.path]
        task = f"guard({os.getpid()}, {mark!r}, {str(folder)!r})"
        code = f"import sys; sys.path[:] = {path!r}; from shattering.system.lifetime import guard; {task}"
        self.process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, start_new_session=True)

    def end(self) -> None:
        """Kill those that are left."""
        self.process.communicate()


def guard(parent: int, mark: str, folder: str) -> None:
    """Run the process of a `Guard`; the end of its input tells it that the other process has ended."""
    marked: set[psutil.Process] = set()
    seconds = _LOOK_SECONDS[0]
    while not select.select([sys.stdin], [], [], seconds)[0]:
        marked |= _marked(parent, mark)
        seconds = min(2 * seconds, _LOOK_SECONDS[1])
    for process in marked | _marked(parent, mark):
        with contextlib.suppress(psutil.Error):  # it has ended; a new process of the same number is left alone
            for child in process.children(recursive=True):
                child.kill()
            process.kill()
    remove_folder(Path(folder))


def _marked(parent: int, mark: str) -> set[psutil.Process]:
    marked: set[psutil.Process] = set()
    with contextlib.suppress(psutil.Error):
        for child in psutil.Process(parent).children():
            with contextlib.suppress(psutil.Error):
                if child.pid != os.getpid() and mark in " ".join(child.cmdline()):
                    marked |= {child, *child.children(recursive=True)}
    return marked


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):  # some C libraries lack it
            ctypes.CDLL(None).prctl(option, value, 0, 0, 0)
