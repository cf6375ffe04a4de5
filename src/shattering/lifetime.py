"""How long this process lives: no longer than another one, where the system can see to that."""

import contextlib
import ctypes
import os
import sys

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36  # of linux/prctl.h
_SIGKILL = 9


def end_with_parent(parent: int) -> None:
    """Have the system kill this process when its parent ends, whatever this process is doing then; Linux alone can.

    parent: the process that has started this one, from a thread that lives as long as the parent itself.
    """
    _prctl(_PR_SET_PDEATHSIG, _SIGKILL)
    if os.getppid() != parent:  # it has ended before that was said
        os._exit(1)


def adopt_orphans() -> None:
    """Have the descendants of this process become its children when their own parents end; Linux alone can."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):  # another C library may lack it
            ctypes.CDLL(None).prctl(option, value, 0, 0, 0)
