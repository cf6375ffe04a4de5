"""Processes that are forked from a server, which imports the library once and never runs a user's code.

The server holds one line (a socket) per forked process to the process that asked for it, the owner. It reports on the line how the forked
process ended, and kills that process when the owner's end of the line closes. So nothing outlives the owner: when the owner ends, in
whatever way, the system closes its ends of all lines; the server then kills all forked processes with their children, and ends.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import math
import mmap
import multiprocessing.spawn
import os
import select
import selectors
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import warnings
from multiprocessing.connection import Connection, wait
from subprocess import _args_from_interpreter_flags  # type: ignore[attr-defined]  # private, and multiprocessing's own way to pass the flags on
from typing import TYPE_CHECKING

from shattering.system.lifetime import adopt_orphans, end_with_parent

if TYPE_CHECKING:
    from collections.abc import Sequence

_PRELOAD = "shattering.runs.preload"
_NUMBER = struct.Struct("<q")
_END_SECONDS = 10  # seconds that a server may take to end
_LOOK_SECONDS = 0.2  # seconds between checks, while the server imports the library, that its owner still exists
_IGNORED = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}  # the server ignores these signals; it ends with its owner


class Forked:
    """A process that `ForkServer.fork` has made. line: to the server; it becomes readable when the process has ended."""

    def __init__(self, line: socket.socket):
        self.line, self._received, self._ended = line, b"", False

    @property
    def sentinel(self) -> socket.socket:
        return self.line

    @property
    def pid(self) -> int | None:
        """None before it has been forked."""
        self._poll()
        return _NUMBER.unpack_from(self._received)[0] if len(self._received) >= _NUMBER.size else None

    @property
    def exitcode(self) -> int | None:
        """Exit code as in multiprocessing: minus the number of the signal that killed it; None while it runs; 255 if the server died."""
        self._poll()
        if len(self._received) == 2 * _NUMBER.size:
            return _NUMBER.unpack_from(self._received, _NUMBER.size)[0]
        return 255 if self._ended else None

    def kill(self) -> None:
        """Ask the server to kill the process and its children; `join` waits until it has."""
        with contextlib.suppress(OSError):
            self.line.shutdown(socket.SHUT_WR)

    def join(self, seconds: float = math.inf) -> None:
        """Wait until the process has ended, or the time is over."""
        end = time.monotonic() + seconds
        while self.exitcode is None and (left := end - time.monotonic()) > 0:
            wait([self.line], None if left == math.inf else left)

    def close(self) -> None:
        self.kill()
        self.line.close()

    def _poll(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while not self._ended:
                received = self.line.recv(2 * _NUMBER.size, socket.MSG_DONTWAIT) if self.line.fileno() >= 0 else b""
                self._received, self._ended = self._received + received, not received


class ForkServer:
    """The server, as its owner sees it."""

    def __init__(self):
        self.line, theirs = socket.socketpair()
        path = [str(folder) for folder in sys.path]
        code = f"import sys; sys.path[:] = {path!r}; from shattering.runs.forks import serve; serve({theirs.fileno()})"
        command = [os.fsdecode(multiprocessing.spawn.get_executable()), *_args_from_interpreter_flags(), "-c", code]
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _IGNORED)  # until the server ignores them itself
        try:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()])
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            theirs.close()

    def fork(self, file: int | None) -> tuple[Connection, Forked]:
        """Fork a process that executes runs (`workers.work`). file: descriptor of a file with the pickled objects.

        Returns (the connection to the process, the process). Raises OSError if the server has died.
        """
        (ours, theirs), (line, far) = socket.socketpair(), socket.socketpair()
        with theirs, far:
            try:
                socket.send_fds(self.line, [b"f"], [far.fileno(), theirs.fileno(), *([] if file is None else [file])])
            except OSError:
                ours.close()
                line.close()
                raise
        return Connection(ours.detach()), Forked(line)

    def end(self) -> None:
        """End the server, and all that it has forked."""
        self.line.close()
        try:
            self.process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def forget(self) -> None:
        """Forget the server in a fork of this process, which does not own it."""
        self.line.close()
        self.process.returncode = 0


_server: ForkServer | None = None
_starting = threading.Lock()


def fork(file: int | None) -> tuple[Connection, Forked]:
    """Fork a process from this process's server, as `ForkServer.fork` does.

    The server is started if there is none, and ends with this process.
    """
    global _server
    with _starting:
        if _server is not None:
            try:
                return _server.fork(file)
            except OSError:  # the server was killed
                _end()
        _server = ForkServer()
        return _server.fork(file)


def _end() -> None:
    global _server
    if _server is not None:
        _server.end()
        _server = None


def _forget() -> None:
    global _server, _starting
    _starting = threading.Lock()
    if _server is not None:
        _server.forget()
        _server = None


if hasattr(os, "fork"):
    atexit.register(_end)
    os.register_at_fork(after_in_child=_forget)


def serve(number: int) -> None:
    """Run the server. number: descriptor of its line to the process that has started it."""
    for ignored in _IGNORED:
        signal.signal(ignored, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _IGNORED)
    line = socket.socket(fileno=number)
    with _ended_with(line):
        importlib.import_module(_PRELOAD)
    adopt_orphans()
    _Serving(line).go_on()


@contextlib.contextmanager
def _ended_with(line: socket.socket):
    """End this process when the other end of the line closes, while the main thread cannot watch the line itself."""
    over = threading.Event()

    poll = select.poll()
    poll.register(line, select.POLLHUP)  # POLLHUP comes even while there is still something to read

    def look() -> None:
        while not over.wait(_LOOK_SECONDS):
            if poll.poll(0):
                os._exit(0)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _is_closed(line: socket.socket) -> bool:
    try:
        return not line.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False


class _Serving:
    """The loop of the server. lines: pid → line of each forked process that has not ended."""

    def __init__(self, line: socket.socket):
        self.line, self.lines = line, dict[int, socket.socket]()
        self.woken, waker = socket.socketpair()
        for end in (self.woken, waker):
            end.setblocking(False)
        self.waker = waker
        signal.signal(signal.SIGCHLD, lambda *_: None)  # the handler does nothing, but the signal wakes the selector
        signal.signal(signal.SIGTSTP, self._pause)
        signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
        self.selector = selectors.DefaultSelector()
        self.selector.register(line, selectors.EVENT_READ)
        self.selector.register(self.woken, selectors.EVENT_READ)

    def go_on(self) -> None:
        """Serve until the line closes. In a forked process this call executes the runs instead."""
        while True:
            for key, _ in self.selector.select():
                if key.fileobj is self.line:
                    self._answer()
                elif key.fileobj is self.woken:
                    with contextlib.suppress(BlockingIOError):
                        self.woken.recv(4096)
                else:  # the other end was closed
                    self.selector.unregister(key.fileobj)
                    _kill(key.data)
            self._reap()

    def _answer(self) -> None:
        asked, files, _, _ = socket.recv_fds(self.line, 1, 3)
        if not asked:
            self._end()
        line = socket.socket(fileno=files[0])
        if not _is_closed(line):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # of Python 3.12: libraries have threads, which do nothing here
                pid = self._fork()
            if pid == 0:
                self._become(line, files[1], files[2] if len(files) > 2 else None)
            if pid is not None:
                with contextlib.suppress(OSError):
                    os.setpgid(pid, pid)
                with contextlib.suppress(BrokenPipeError):  # a sweep whose time was up: the closed line then ends the process
                    line.send(_NUMBER.pack(pid))
                self.lines[pid] = line
                self.selector.register(line, selectors.EVENT_READ, pid)
                line = None
        if line is not None:
            line.close()
        for file in files[1:]:
            os.close(file)

    def _fork(self) -> int | None:
        try:
            return os.fork()
        except OSError:  # no memory, or too many processes: the closed line says that there is none
            return None

    def _become(self, line: socket.socket, connection: int, file: int | None) -> None:
        """Execute runs as the forked process, in a process group of its own."""
        code = 1
        try:
            os.setpgid(0, 0)
            end_with_parent(os.getppid())
            signal.set_wakeup_fd(-1)
            for reset in (signal.SIGCHLD, signal.SIGTSTP, signal.SIGTERM, signal.SIGHUP):
                signal.signal(reset, signal.SIG_DFL)
            self.selector.close()
            for end in (line, self.line, self.woken, self.waker, *self.lines.values()):
                end.close()
            from shattering.runs.workers import work

            work(Connection(connection), None if file is None else mmap.mmap(file, 0, access=mmap.ACCESS_READ))
            code = 0
        except SystemExit:
            pass
        except BaseException as error:
            sys.excepthook(type(error), error, error.__traceback__)
        finally:
            _leave(code)

    def _reap(self) -> None:
        """Report the processes that have ended, after killing what is left in their groups."""
        while (pid := _ended()) is not None:
            line = self.lines.pop(pid, None)
            if line is not None:
                _kill_group(pid)
            status = os.waitpid(pid, 0)[1]
            if line is not None:
                with contextlib.suppress(KeyError):
                    self.selector.unregister(line)
                with contextlib.suppress(OSError):
                    line.send(_NUMBER.pack(os.waitstatus_to_exitcode(status)))
                line.close()

    def _pause(self, *_: object) -> None:
        """Stop and continue the forked processes on Ctrl-Z, which the terminal does not send them."""
        for stop in (signal.SIGSTOP, signal.SIGCONT):
            for pid in self.lines:
                with contextlib.suppress(OSError):
                    os.killpg(pid, stop)
            if stop == signal.SIGSTOP:
                os.kill(os.getpid(), stop)

    def _end(self) -> None:
        """Kill all descendants, including those in sessions of their own, and end."""
        deadline = time.monotonic() + _END_SECONDS
        while (left := _descendants(os.getpid())) and time.monotonic() < deadline:
            _kill_all(left)
            while _ended() is not None:
                os.waitpid(-1, os.WNOHANG)
            time.sleep(0.01)
        os._exit(0)


def _ended() -> int | None:
    """Return the pid of a child that has ended and was not yet waited for; None without one."""
    with contextlib.suppress(ChildProcessError):
        child = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        return child.si_pid if child else None
    return None


def _kill(pid: int) -> None:
    """Kill a process and its descendants."""
    _kill_all([*_descendants(pid), pid])
    _kill_group(pid)


def _kill_group(pid: int) -> None:
    with contextlib.suppress(OSError):
        os.killpg(pid, signal.SIGKILL)


def _kill_all(pids: Sequence[int]) -> None:
    for pid in pids:
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)


def _descendants(pid: int) -> list[int]:
    import psutil

    with contextlib.suppress(psutil.Error, OSError):
        return [child.pid for child in psutil.Process(pid).children(recursive=True)]
    return []


def _leave(code: int) -> None:
    """End this process as the interpreter would, but without closing what it shares with the server."""
    with contextlib.suppress(BaseException):
        threading._shutdown()  # type: ignore[attr-defined]  # private: joins the threads, as the interpreter does at its end
        atexit._run_exitfuncs()  # type: ignore[attr-defined]  # private, and missing in the stub
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
    os._exit(code)
