"""Python programs that tests start. They are forked from one process that has imported the library, which takes a new interpreter seconds.

`Program` is a `subprocess.Popen` of [sys.executable, …]: a process of its own, a child of this one, with its own `__main__`, arguments,
environment, folder, streams, signals and process group. Programs that it starts are forked from it. What an interpreter reads from its
environment when it starts (PYTHONHASHSEED) and what libraries read when they are imported are those of the first process: a test of
these needs a `subprocess.Popen`, which systems other than Linux get in any case.
"""

import contextlib
import ctypes
import importlib
import io
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import threading
import types
import warnings
from pathlib import Path
from typing import Any, NoReturn

_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER of linux/prctl.h
_PRELOAD = ("shattering.cli", "shattering.runs.preload", "shattering.runs.sweep", "shattering.compare.front", "torch.distributed.run")
_KEPT = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) if sys.platform != "win32" else ()


class _Starting(subprocess.Popen):
    """What both classes share: the description of the new process."""

    def _execute_child(self, args: Any, executable: Any, preexec_fn: Any, close_fds: bool, pass_fds: Any, cwd: Any, env: Any, *rest: Any):
        shell, pipes, session, group = rest[2], rest[3:9], rest[-2], rest[-1]
        if sys.platform != "linux" or shell or isinstance(args, (str, bytes, os.PathLike)) or args[0] != sys.executable:
            super()._execute_child(args, executable, preexec_fn, close_fds, pass_fds, cwd, env, *rest)  # type: ignore[misc]
            return
        ends = {number: end if end != -1 else number for number, end in enumerate((pipes[0], pipes[3], pipes[5]))}
        ends |= {number: number for number in pass_fds}
        start = {
            "arguments": [os.fspath(argument) for argument in args[1:]],
            "environment": dict(os.environ if env is None else env),
            "folder": os.path.abspath(cwd or os.getcwd()),
            "session": session,
            "group": os.getpgrp() if group is None or group < 0 else group,
            "blocked": list(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
            "ignored": [number for number in _KEPT if signal.getsignal(number) is signal.SIG_IGN],
            "numbers": list(ends),
        }
        self.pid = self._begin(start, list(ends.values()))
        self._child_created = True
        self._close_pipe_fds(*pipes)  # type: ignore[attr-defined]

    def _begin(self, start: dict[str, Any], files: list[int]) -> int:
        raise NotImplementedError


class Forking(_Starting):
    """The `subprocess.Popen` of programs: a fork of the process that calls it."""

    def _begin(self, start: dict[str, Any], files: list[int]) -> int:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of Python 3.12, about other threads
            pid = os.fork()
        return pid or _become(start, files)


class Program(_Starting):
    """A program of a test."""

    def _begin(self, start: dict[str, Any], files: list[int]) -> int:
        with _Server.lock:
            line = _Server.started()
            ours, theirs = socket.socketpair()
            with ours, theirs, _adopting():
                socket.send_fds(line, [b"s"], [theirs.fileno(), *files])
                ours.sendall(json.dumps(start).encode())
                ours.shutdown(socket.SHUT_WR)
                theirs.close()
                return int(_received(ours))


def run_program(command: list[Any], *, check: bool = False, timeout: float = 300, **options: Any) -> subprocess.CompletedProcess:
    """Run a program to its end, as `subprocess.run` does, and return its output as text."""
    with Program(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options) as program:
        try:
            out, errors = program.communicate(timeout=timeout)
        except BaseException:
            program.kill()
            raise
    done = subprocess.CompletedProcess(command, program.returncode, out, errors)
    if check:
        assert done.returncode == 0, errors
    return done


class _Server:
    """The first process."""

    lock = threading.Lock()
    line: socket.socket | None = None

    @classmethod
    def started(cls) -> socket.socket:
        if cls.line is None:
            cls.line, theirs = socket.socketpair()
            code = f"import sys; sys.path.insert(0, {_ROOT!r}); from tests.programs import serve; serve({theirs.fileno()})"
            with theirs:
                process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()])
            process.returncode = 0  # nobody waits for it: it ends when its line does
        return cls.line


@contextlib.contextmanager
def _adopting():
    """Programs become children of this process: their parent, a fork of the server, ends at once."""
    library = ctypes.CDLL(None)
    library.prctl(_SUBREAPER, 1, 0, 0, 0)
    try:
        yield
    finally:
        library.prctl(_SUBREAPER, 0, 0, 0, 0)


def _received(line: socket.socket) -> bytes:
    parts = []
    while part := line.recv(1 << 16):
        parts.append(part)
    return b"".join(parts)


def serve(number: int) -> None:
    """Fork programs until the line ends."""
    subprocess.Popen = Forking
    for name in _PRELOAD:
        importlib.import_module(name)
    with socket.socket(fileno=number) as line:
        while True:
            asked, files, _, _ = socket.recv_fds(line, 1, 250)
            if not asked:
                os._exit(0)
            pid = os.fork()
            if not pid:
                _fork_again(socket.socket(fileno=files[0]), files[1:])
            os.waitpid(pid, 0)  # before the line ends, so that the program has its new parent by then
            for file in files:
                os.close(file)


def _fork_again(line: socket.socket, files: list[int]) -> NoReturn:
    """Fork the program, and end."""
    start = json.loads(_received(line))
    pid = os.fork()
    if not pid:
        _become(start, files)
    line.sendall(str(pid).encode())
    os._exit(0)


def _become(start: dict[str, Any], files: list[int]) -> NoReturn:
    """Make a program of this process, a fork, and end as it ends."""
    code = 1
    try:
        if start["session"]:
            os.setsid()
        else:
            os.setpgid(0, start["group"])
        _take_signals(start)
        _take_files(start["numbers"], files)
        os.chdir(start["folder"])
        os.environ.clear()
        os.environ.update(start["environment"])
        _open_streams()
        _read_process_again()
        _execute(start["arguments"])
        code = 0
    except SystemExit as end:
        code = _exit_code(end.code)
    except KeyboardInterrupt:
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
        code = -signal.SIGINT
    except BaseException:
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
    finally:
        _end(code)


def _take_signals(start: dict[str, Any]) -> None:
    signal.set_wakeup_fd(-1)
    for number in (*_KEPT, signal.SIGCHLD, signal.SIGTSTP):
        signal.signal(number, signal.SIG_IGN if number in start["ignored"] else signal.SIG_DFL)
    if signal.SIGINT not in start["ignored"]:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_SETMASK, start["blocked"])


def _take_files(numbers: list[int], files: list[int]) -> None:
    """Give the files these numbers. All other numbers become /dev/null: what is open in this process may have owners that close it."""
    import fcntl

    high = [fcntl.fcntl(file, fcntl.F_DUPFD, 500) for file in files]
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in map(int, os.listdir("/proc/self/fd")):
        if number not in (*high, nothing):
            with contextlib.suppress(OSError):  # the folder that was listed
                os.fstat(number)
                os.dup2(nothing, number, inheritable=False)
    for number, file in zip(numbers, high, strict=True):
        os.dup2(file, number)
        os.close(file)
    os.close(nothing)


def _open_streams() -> None:
    bare = bool(os.environ.get("PYTHONUNBUFFERED"))
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    for number, name in ((1, "stdout"), (2, "stderr")):
        raw: Any = open(number, "wb", buffering=0 if bare else -1, closefd=False)  # noqa: SIM115
        errors = "strict" if number == 1 else "backslashreplace"
        at_once = not bare and (number == 2 or os.isatty(number))
        setattr(sys, name, io.TextIOWrapper(raw, encoding="utf-8", errors=errors, line_buffering=at_once, write_through=bare))
    sys.__stdin__, sys.__stdout__, sys.__stderr__ = sys.stdin, sys.stdout, sys.stderr


def _read_process_again() -> None:
    """What modules of the library have read of their process when they were imported."""
    from shattering.learners.train import ranks

    ranks._LAUNCHER = os.getppid() if "TORCHELASTIC_RUN_ID" in os.environ else None


def _execute(arguments: list[str]) -> None:
    """Execute -c CODE, -m MODULE or a file; options before them hold for the first process too."""
    while arguments[0].startswith("-") and arguments[0] not in ("-c", "-m"):
        arguments = arguments[1:]
    first, *rest = arguments
    main = sys.modules["__main__"] = types.ModuleType("__main__")
    main.__builtins__ = __builtins__  # type: ignore[attr-defined]
    if first == "-m":
        _set_path(os.getcwd())
        sys.argv = ["-m", *rest[1:]]
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
        return
    if first == "-c":
        _set_path("")
        sys.argv = ["-c", *rest[1:]]
        exec(compile(rest[0], "<string>", "exec"), main.__dict__)
        return
    _set_path(os.path.dirname(os.path.abspath(first)))
    sys.argv = [first, *rest]
    main.__file__ = first
    exec(compile(Path(first).read_bytes(), first, "exec"), main.__dict__)


_ROOT = str(Path(__file__).parents[1])
_PATH = [folder for folder in sys.path if folder not in ("", _ROOT, *os.environ.get("PYTHONPATH", "").split(os.pathsep))]


def _set_path(first: str) -> None:
    sys.path[:] = [first, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)), *_PATH]


def _exit_code(code: Any) -> int:
    if code is None or isinstance(code, int):
        return code or 0
    print(code, file=sys.stderr)
    return 1


def _end(code: int) -> NoReturn:
    """End this process as an interpreter would."""
    import atexit

    with contextlib.suppress(BaseException):
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()  # type: ignore[attr-defined]
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(BaseException):
            stream.flush()
    if code == -signal.SIGINT:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    os._exit(code & 0xFF)
