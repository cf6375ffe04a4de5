"""Ctrl-C, SIGTERM and a closed terminal: a command ends in an orderly way, or is killed soon; no run that is cut short counts as done."""

from __future__ import annotations

import atexit
import contextlib
import math
import os
import select
import signal
import socket
import sys
import threading
import time
import traceback
from typing import TYPE_CHECKING, Any, NoReturn

from shattering.errors import ExitError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

PATIENCE = 5.0  # seconds from a signal until the process is killed; its main thread may be in a long call of a C library
_ONE_KEY = 0.2  # seconds within which a second signal counts as the first, as `timeout` sends two
_WORDS = {"SIGINT": "interrupted", "SIGTERM": "terminated", "SIGHUP": "terminated"}
_KINDS = {getattr(signal, name): word for name, word in _WORDS.items() if hasattr(signal, name)}

_came: list[int] = []  # signals that were to end this process
_before: dict[int, Any] = {}  # the handlers that a command has replaced


@contextlib.contextmanager
def kept() -> Iterator[None]:
    """Raise KeyboardInterrupt if one came within this context. The executed code may have swallowed it, and returned half done or failed.

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
def no_exit(what: str = "the model's code") -> Iterator[None]:
    """Raise `ExitError` where a user's code calls sys.exit, unless it is a program's handler of a signal.

    what: the code, for the message.
    """
    try:
        yield
    except SystemExit as stop:
        if _is_of_a_handler(stop):
            raise
        raise ExitError(f"{what} called sys.exit({'' if stop.code is None else repr(stop.code)})") from stop


def _is_of_a_handler(error: BaseException) -> bool:
    handlers = map(signal.getsignal, signal.valid_signals())
    codes = {getattr(getattr(handler, "__func__", handler), "__code__", None) for handler in handlers} - {None}
    return any(frame.f_code in codes for frame, _ in traceback.walk_tb(error.__traceback__))


@contextlib.contextmanager
def handled(guarded: bool = False) -> Iterator[Ending]:
    """Have Ctrl-C, SIGTERM and SIGHUP raise KeyboardInterrupt in a command, and end the process at most `PATIENCE` seconds later.

    Signals that are ignored, as SIGHUP under nohup, or that the program has a handler for, stay so.

    guarded: by a process that sees to the end even while a C library holds the interpreter. It is forked, so there must be one thread.
    """
    ending = Ending()
    defaults = (signal.SIG_DFL, signal.default_int_handler)
    ours = [number for number in _KINDS if _is_main_thread() and signal.getsignal(number) in defaults]
    if not ours:
        yield ending
        return
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    guard = _forked_guard(reader, writer, ending) if guarded and hasattr(os, "fork") else None
    wakes = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    _before.update({number: signal.signal(number, ending.hear) for number in ours})
    watcher = threading.Thread(target=ending.watch, args=(reader, frozenset(ours)), daemon=True)
    watcher.start()
    try:
        yield ending
    finally:
        for number, handler in _before.items():
            signal.signal(number, handler)
        _before.clear()
        signal.set_wakeup_fd(wakes)
        writer.close()
        watcher.join()
        reader.close()
        if guard is not None:
            os.waitpid(guard, 0)


class Ending:
    """The end of a command. signal: the one that ended it, or None."""

    def __init__(self):
        self.signal: int | None = None

    def hear(self, number: int, _: FrameType | None) -> None:
        """Handle a signal. `watch` handles those after the first."""
        if self.signal is None:
            self.signal = number
            _interrupt(number, None)

    def check(self) -> None:
        """Raise KeyboardInterrupt if a signal has come, for code that has swallowed the one that was raised."""
        if self.signal is not None:
            raise KeyboardInterrupt

    def watch(self, reader: socket.socket, kinds: frozenset[int]) -> None:
        """End the process when a second signal comes, or when the first one has not ended it in time."""
        first, since = 0, math.inf
        while _wait(reader, since + PATIENCE - time.monotonic()):
            came = reader.recv(1)  # only now, with the interpreter in hand: see `_forked_guard`
            if not came:
                return
            if came[0] in kinds and not first:
                first, since = came[0], time.monotonic()
            elif came[0] in kinds and time.monotonic() > since + _ONE_KEY:
                break
        self.signal = first
        self.tell()
        os._exit(self.status)

    def tell(self) -> None:
        """Print how the command ends, when nothing else in this process can."""
        with contextlib.suppress(OSError):
            shown = "\n" if os.isatty(2) else ""  # below a line of progress
            os.write(2, f"{shown}shattering: {self.sentence}\n".encode())

    def leave(self) -> NoReturn:
        """End the process; only `watch` can still intervene."""
        for function in (atexit._run_exitfuncs, sys.stdout.flush, sys.stderr.flush):  # type: ignore[attr-defined]  # private: runs what a normal end would
            with contextlib.suppress(Exception):
                function()
        os._exit(self.status)

    @property
    def sentence(self) -> str:
        return f"{_KINDS[self.signal or signal.SIGINT]}; the same command resumes"

    @property
    def status(self) -> int:
        """The exit status that a shell gives to a process killed by the signal."""
        return 128 + (self.signal or signal.SIGINT)


def _wait(reader: socket.socket, seconds: float) -> bool:
    """Return whether there is something to be read, after at most this time."""
    seconds = max(0.0, seconds)
    if not hasattr(select, "poll"):
        return bool(select.select([reader], [], [], None if seconds == math.inf else seconds)[0])
    poll = select.poll()
    poll.register(reader, select.POLLIN)
    return bool(poll.poll(None if seconds == math.inf else 1000 * seconds))


def _forked_guard(reader: socket.socket, writer: socket.socket, ending: Ending) -> int | None:
    """Fork a process that kills this one if `Ending.watch` does not read for too long what signals have written."""
    guarded = os.getpid()
    try:
        guard = os.fork()
    except OSError:
        return None
    if guard:
        return guard
    try:
        for number in _KINDS:
            signal.signal(number, signal.SIG_IGN)
        writer.close()
        since = 0.0  # since when something has waited to be read
        while True:
            if not _wait(reader, _ONE_KEY if since else math.inf):
                since = 0.0
                continue
            try:
                came = reader.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
            except BlockingIOError:  # it has been read
                continue
            if not came or os.getppid() != guarded:
                break
            since = since or time.monotonic()
            if came[0] in _KINDS and time.monotonic() > since + PATIENCE:
                ending.signal = came[0]
                ending.tell()
                os.kill(guarded, signal.SIGKILL)
                break
            time.sleep(_ONE_KEY)
    finally:
        os._exit(0)


def _hold() -> None:
    """Hold back signals before a fork, until it is known which of the two processes they are for."""
    if _before:
        signal.pthread_sigmask(signal.SIG_BLOCK, _KINDS)


def _go_on() -> None:
    if _before:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _KINDS)


def _leave_to_parent() -> None:
    """Reset signals in a fork to what they were before the command."""
    if _before:
        signal.set_wakeup_fd(-1)
        for number, handler in _before.items():
            signal.signal(number, handler)
        _before.clear()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _KINDS)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_hold, after_in_parent=_go_on, after_in_child=_leave_to_parent)


def _interrupt(number: int, _: FrameType | None) -> None:
    _came.append(number)
    raise KeyboardInterrupt


def _is_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
