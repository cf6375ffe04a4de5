"""Ctrl-C, SIGTERM and a closed terminal: a command ends in order, or soon without, and no run that they cut short counts as done."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

PATIENCE = 5.0  # seconds from a signal until the process ends without order: its main thread may be in a long call of a C library
_ONE_KEY = 0.2  # seconds within which a second signal is the first one again, as from `timeout`
_WORDS = {"SIGINT": "interrupted", "SIGTERM": "terminated", "SIGHUP": "terminated"}
_KINDS = {getattr(signal, name): word for name, word in _WORDS.items() if hasattr(signal, name)}

_came: list[int] = []  # signals that this process was to end by


@contextlib.contextmanager
def kept() -> Iterator[None]:
    """Raise KeyboardInterrupt if one came meanwhile: code that is executed may have swallowed it, and returned half done or failed.

    A program's own handler for Ctrl-C is left alone.
    """
    before, ours = len(_came), False
    if _is_main_thread() and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)
        ours = True
    try:
        yield
    except Exception as error:
        if len(_came) > before:
            raise KeyboardInterrupt from error
        raise
    finally:
        if ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)
    if len(_came) > before:
        raise KeyboardInterrupt


@contextlib.contextmanager
def heard() -> Iterator[Ending]:
    """While a command is executed: have these signals raise KeyboardInterrupt, and the process end in any case `PATIENCE` seconds later.

    Signals that are ignored, as SIGHUP under nohup, or that the program has a handler for, stay so.
    """
    ending = Ending()
    defaults = (signal.SIG_DFL, signal.default_int_handler)
    ours = [number for number in _KINDS if _is_main_thread() and signal.getsignal(number) in defaults]
    before = {number: signal.signal(number, ending.hear) for number in ours}
    if not ours:
        yield ending
        return
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    fd = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    watcher = threading.Thread(target=ending.watch, args=(reader, frozenset(ours)), daemon=True)
    watcher.start()
    try:
        yield ending
    finally:
        signal.set_wakeup_fd(fd)
        for number, handler in before.items():
            signal.signal(number, handler)
        writer.close()
        watcher.join()
        reader.close()


class Ending:
    """How a command ends. signal: the one that it ends by, or None."""

    def __init__(self):
        self.signal: int | None = None

    def hear(self, number: int, _: FrameType | None) -> None:
        """The handler. What comes after the first is for `watch`."""
        if self.signal is None:
            self.signal = number
            _interrupt(number, None)

    def watch(self, reader: socket.socket, kinds: frozenset[int]) -> None:
        """End the process when a second signal comes, or the first one has not led to its end in time."""
        while (first := reader.recv(1)) and first[0] not in kinds:
            pass
        if not first:
            return
        end = time.monotonic() + PATIENCE
        with contextlib.suppress(TimeoutError):
            while (left := end - time.monotonic()) > 0:
                reader.settimeout(left)
                again = reader.recv(1)
                if not again:
                    return
                if again[0] in kinds and left < PATIENCE - _ONE_KEY:
                    break
        self.signal = first[0]
        with contextlib.suppress(OSError):
            shown = "\x1b[?25h\n" if os.isatty(2) else ""  # a progress bar hides the cursor
            os.write(2, f"{shown}shattering: {self.sentence}\n".encode())
        os._exit(self.status)

    def check(self) -> None:
        """Raise KeyboardInterrupt if a signal has come, for code that has swallowed the one that was raised."""
        if self.signal is not None:
            raise KeyboardInterrupt

    @property
    def sentence(self) -> str:
        return f"{_KINDS[self.signal or signal.SIGINT]}; the same command resumes"

    @property
    def status(self) -> int:
        """The exit status that a shell gives to a process which a signal has killed."""
        return 128 + (self.signal or signal.SIGINT)


def _interrupt(number: int, _: FrameType | None) -> None:
    _came.append(number)
    raise KeyboardInterrupt


def _is_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
