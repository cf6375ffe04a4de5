"""Tests in several processes that share what collecting them costs: `python -m pytest -p tests.forked --forks 3`, on Linux.

Each process is a fork of the one that has collected the tests, and so has imported everything. It executes the tests of one file after
another, in the order of collection, and what pytest reports of them is shown by the first process. Where a process dies, the test that it
was executing has failed, and a new process goes on with the next test.
"""

import atexit
import gc
import multiprocessing
import os
import signal
import sys
import traceback
import warnings
from collections import deque
from itertools import groupby
from multiprocessing.connection import wait
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest

from shattering.system.lifetime import end_with_parent
from tests.programs import _end

_END_SECONDS = 10  # that a process has to tear its fixtures down when all are stopped


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--forks", type=int, default=0, help="execute tests in that many processes, forked when tests have been collected")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("forks"):
        if sys.platform != "linux" or config.getoption("usepdb") or config.getoption("numprocesses", None):
            raise pytest.UsageError("--forks is for Linux, without --pdb and -n")
        config.pluginmanager.register(_First(config), "forks")


class _First:
    """The loop of the first process. files: numbers of the tests of each file that no process has been given."""

    def __init__(self, config: pytest.Config):
        self.config = config
        self.files: deque[list[int]] = deque()
        self.processes: list[_Process] = []

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        if self.config.option.collectonly or session.testsfailed:
            return None  # pytest's own loop says what is to be said
        terminal = self.config.pluginmanager.get_plugin("terminalreporter")
        if terminal is not None:
            terminal.showfspath = False  # names of files in turn would say nothing
        self.config._tmp_path_factory.getbasetemp()  # type: ignore[attr-defined]  # private, as xdist uses it: one for all processes
        gc.collect()
        gc.freeze()  # collections of garbage neither look at nor copy what is shared
        for _, numbers in groupby(range(len(session.items)), lambda number: session.items[number].path):
            self.files.append(list(numbers))
        try:
            for number in range(min(int(self.config.getoption("forks") or 0), len(self.files))):
                self.processes.append(_Process(session, number, self.processes))
            while self.processes:
                self._go_on(session)
        finally:
            for process in self.processes:
                process.interrupt()
            for process in self.processes:
                process.stop()
        return True

    def _go_on(self, session: pytest.Session) -> None:
        """Take in one message of each process that has one, and replace those that have died."""
        ready = wait([end for process in self.processes for end in (process.line, process.ended)])
        for process in [process for process in self.processes if {process.line, process.ended} & set(ready)]:
            try:
                kind, content = process.line.recv() if process.line.poll() else ("died", None)
            except (EOFError, OSError):
                kind, content = "died", None
            if kind == "died":
                self._replace(process, session)
            else:
                self._take(process, kind, content)
            if session.shouldfail:
                raise session.Failed(session.shouldfail)
            if session.shouldstop:
                raise session.Interrupted(session.shouldstop)

    def _take(self, process: "_Process", kind: str, content: Any) -> None:
        if kind == "next":
            numbers = self.files.popleft() if self.files else []
            process.left.extend(numbers)
            process.line.send(numbers)
        elif kind == "ended":
            process.last = process.left.popleft()
        elif kind == "report":
            report = self.config.hook.pytest_report_from_serializable(config=self.config, data=content)
            self._show(report, process)
        elif kind == "broke":
            raise RuntimeError(f"process {process.number} of the tests ended early:\n{content}")
        elif kind == "done":
            process.done = True
        elif kind == "pytest_warning_recorded":
            self.config.hook.pytest_warning_recorded.call_historic(kwargs=content)
        else:
            getattr(self.config.hook, kind)(**content)

    def _show(self, report: pytest.TestReport, process: "_Process") -> None:
        report.node = process  # type: ignore[attr-defined]  # as of xdist: pytest then shows it as one of several that run at a time
        self.config.hook.pytest_runtest_logreport(report=report)

    def _replace(self, process: "_Process", session: pytest.Session) -> None:
        """See to it that a process has ended. If it died, one of its tests has failed, and a new process has the others."""
        self.processes.remove(process)
        status = process.status()
        if process.done and not status:
            return
        item = session.items[process.left.popleft() if process.left else process.last]
        said = f"the process that executed {item.nodeid} died, with status {status}"
        self._show(pytest.TestReport(item.nodeid, item.location, {}, "failed", said, "call"), process)
        if process.left:
            self.files.appendleft(list(process.left))
        if self.files:
            self.processes.append(_Process(session, process.number, self.processes))


class _Process:
    """Another process, as the first one sees it. left: the numbers of the tests that it was given and has not ended."""

    def __init__(self, session: pytest.Session, number: int, others: list["_Process"]):
        self.number, self.done, self.last = number, False, 0
        self.gateway = SimpleNamespace(id=number)
        self.workerinfo = {"id": number, "sysplatform": sys.platform, "version_info": sys.version_info, "executable": sys.executable}
        self.left: deque[int] = deque()
        self.line, theirs = multiprocessing.Pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        first = os.getpid()
        self.pid = os.fork()
        if not self.pid:
            for process in (self, *others):
                process.line.close()
            end_with_parent(first)
            _execute(session, number, theirs)
        theirs.close()
        self.ended = os.pidfd_open(self.pid)

    def status(self) -> int:
        """Wait for its end, and return its exit code, or minus the number of the signal that killed it."""
        self.line.close()
        os.close(self.ended)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def interrupt(self) -> None:
        """Ask it to end before its tests have ended."""
        self.line.close()
        os.kill(self.pid, signal.SIGINT)

    def stop(self) -> None:
        """See to it that it ends."""
        if not wait([self.ended], _END_SECONDS):
            os.kill(self.pid, signal.SIGKILL)
        self.status()


def _execute(session: pytest.Session, number: int, line: Any) -> NoReturn:
    """Execute tests in this process, a fork, and end."""
    config, code = session.config, 1
    try:
        capture = config.pluginmanager.get_plugin("capturemanager")  # it shares its files with the first process
        if capture is not None:
            capture.stop_global_capturing()
            capture.start_global_capturing()
            capture.suspend_global_capture()
        factory = config._tmp_path_factory  # type: ignore[attr-defined]
        atexit.unregister(factory._exit_stack.close)  # the first process removes old folders
        factory._basetemp = factory.getbasetemp() / f"process-{number}-{os.getpid()}"
        factory._basetemp.mkdir()
        if config.pluginmanager.has_plugin("terminalreporter"):
            config.pluginmanager.unregister(name="terminalreporter")
        config.pluginmanager.register(_Sender(config, line))
        _execute_files(session, line)
        config._ensure_unconfigure()  # also looks for exceptions that nothing has raised
        line.send(("done", None))
        code = 0
    except BaseException:
        try:
            session._setupstate.teardown_exact(None)
        finally:
            line.send(("broke", traceback.format_exc()))
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        _end(code)


def _execute_files(session: pytest.Session, line: Any) -> None:
    """Ask for files until there are no more; for the next one before the last test of one, which tears down what that does not share."""

    def ask() -> list[int]:
        line.send(("next", None))
        return line.recv()

    numbers = ask()
    while numbers:
        number = numbers.pop(0)
        numbers = numbers or ask()
        following = session.items[numbers[0]] if numbers else None
        session.items[number].config.hook.pytest_runtest_protocol(item=session.items[number], nextitem=following)
        line.send(("ended", None))


class _Sender:
    """Sends what is reported to the first process."""

    def __init__(self, config: pytest.Config, line: Any):
        self.config, self.line = config, line

    def pytest_runtest_logstart(self, nodeid: str, location: tuple) -> None:
        self.line.send(("pytest_runtest_logstart", {"nodeid": nodeid, "location": location}))

    def pytest_runtest_logfinish(self, nodeid: str, location: tuple) -> None:
        self.line.send(("pytest_runtest_logfinish", {"nodeid": nodeid, "location": location}))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.line.send(("report", self.config.hook.pytest_report_to_serializable(config=self.config, report=report)))

    def pytest_warning_recorded(self, warning_message: Any, when: str, nodeid: str, location: tuple | None) -> None:
        said = f"{warning_message.category.__name__}: {warning_message.message}"  # a text, for its class may be of a test
        message = warnings.WarningMessage(said, UserWarning, warning_message.filename, warning_message.lineno)
        content = {"warning_message": message, "when": when, "nodeid": nodeid, "location": location}
        self.line.send(("pytest_warning_recorded", content))
