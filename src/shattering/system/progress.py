"""Progress on the standard error: one line that is rewritten, with the time that is left; nothing where nobody looks.

Functions that take more than seconds have a parameter `progress`. None: the line, in a terminal or a notebook. False: nothing. True: the
line, and a line that stays for each part that has ended, which a file or a pipe gets, too.
"""

import contextlib
import multiprocessing
import shutil
import sys
import time
from contextvars import ContextVar
from typing import Self

from shattering.errors import printable

QUICK = 1.0  # seconds before the line appears of what is often done by then
_EVERY = 0.1  # seconds between two drawings of the line
_SURE = 1.0  # seconds that must have passed before the time that is left is told
_NOTEBOOK_WIDTH = 100  # characters
_OPEN: ContextVar["Progress | None"] = ContextVar("progress", default=None)  # the innermost one of this thread


class Progress:
    """A line of progress, while it is entered. One that is opened within another has no line of its own: it is a part of the outer's.

    Args:
        what: is counted, in a word or two.
        total: how many of them there are to do; None if nobody knows; 1 if nothing is to be counted.
        shown: the parameter `progress` of the function that opens it.
        done: how much was there before.
        after: seconds before the line is first drawn, for what is often quick.

    Example:
        >>> with Progress("fits", total=3, shown=False) as progress:
        ...     for fit in range(3):
        ...         progress.update(fit + 1, "of a forest")
    """

    def __init__(self, what: str, total: float | None = None, shown: bool | None = None, done: float = 0, after: float = 0.0):
        self.what, self.total, self.before, self.done = what, total, done, done
        self.outer = _OPEN.get()
        self.is_silent = shown is False or (self.outer is not None and self.outer.is_silent)
        self.says = shown is True and not self.is_silent
        self.is_drawn = self.outer is None and not self.is_silent and _is_watched()
        self.note = self.part_note = ""
        self._has_told = False
        self.part = 0.0  # of the next unit of `done`, in 0…1
        self._start, self._last, self._length, self._after = time.monotonic(), 0.0, 0, after

    def __enter__(self) -> Self:
        self._token = _OPEN.set(self)
        return self

    def __exit__(self, *_: object) -> None:
        _OPEN.reset(self._token)
        if self.outer is not None and self._has_told:
            self.outer.take_part(0.0, "")
        self._erase()

    def update(self, done: float, note: str = "") -> None:
        """Tell how much is done, and what is going on."""
        self.done, self.note = done, note
        if self.outer is not None:
            self._tell_outer()
        self._draw()

    def take_part(self, part: float, note: str) -> None:
        """Tell how far a part is that is going on, in 0…1."""
        self.part, self.part_note = part, note
        if self.outer is not None:
            self._tell_outer()
        self._draw()

    def say(self, text: str) -> None:
        """Print a line that stays, where progress is True."""
        if self.says:
            self._erase()
            with contextlib.suppress(OSError, ValueError):  # the terminal, or what stands for it, is closed
                print(printable(text), file=sys.stderr, flush=True)
            self._draw(at_once=True)

    def redraw(self) -> None:
        """Draw the line again, with the time by now."""
        self._draw()

    @staticmethod
    def is_open() -> bool:
        """True within a call that has opened a `Progress`, drawn or not: that call tells what happens within it."""
        return _OPEN.get() is not None

    @property
    def is_seen(self) -> bool:
        """True if the line is drawn here, or in that of the call around this one."""
        return self.is_drawn or (self.outer is not None and not self.is_silent and self.outer.is_seen)

    @property
    def share(self) -> float | None:
        """The share of the work that is done, in 0…1; None where the total is not known."""
        to_do = 0 if self.total is None else self.total - self.before
        return min(1.0, (self.done - self.before + self.part) / to_do) if to_do > 0 else None

    def line(self, seconds: float) -> str:
        """Return the line after so many seconds."""
        share = self.share
        left = f"about {_time(seconds * (1 - share) / share)} left" if share and seconds >= _SURE else f"{_time(seconds)} so far"
        return printable("  ".join(filter(None, [self._what(), left, self.note, self.part_note])))

    def _what(self) -> str:
        of = f"/{self.total:g}" if self.total is not None else ""
        return self.what if self.total == 1 else f"{self.what} {self.done:g}{of}"

    def _tell_outer(self) -> None:
        if self.outer is not None and not self.is_silent:
            self._has_told = True
            self.outer.take_part(self.share or 0.0, "  ".join(filter(None, [self._what(), self.note, self.part_note])))

    def _draw(self, at_once: bool = False) -> None:
        now = time.monotonic()
        if not self.is_drawn or now - self._start < self._after or (now - self._last < _EVERY and not at_once):
            return
        width = shutil.get_terminal_size().columns if sys.stderr.isatty() else _NOTEBOOK_WIDTH
        line = self.line(now - self._start)
        line = line if len(line) < width else f"{line[: width - 2]}…"
        self._write(f"\r{line.ljust(self._length)}")
        self._last, self._length = now, len(line)

    def _erase(self) -> None:
        if self._length:
            self._write(f"\r{' ' * self._length}\r")
            self._length = 0

    def _write(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write(text)
            sys.stderr.flush()


def _is_watched() -> bool:
    """Return whether a person sees the standard error of this process as it is written: a terminal, or a notebook's cell."""
    if sys.stderr is None or multiprocessing.parent_process() is not None:  # the terminal is the first process's
        return False
    with contextlib.suppress(ValueError, AttributeError):  # closed, or something that stands for a file
        if sys.stderr.isatty():
            return True
    return type(sys.stderr).__module__.startswith("ipykernel")


def _time(seconds: float) -> str:
    """Write a time in one unit: 40 s, 3 min, 2.5 h."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 100 * 60 else f"{seconds / 3600:.3g} h"
