"""How a command ends by signals, in small processes of their own."""

import contextlib
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from shattering.errors import ExitError
from shattering.system import signals

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="signals as POSIX has them")
PROGRAM = """
import os, subprocess, sys, time
from shattering.system import signals
signals.PATIENCE = 0.5
def work(what):
    print("at work", os.getpid(), flush=True)
    if what == "sleep":
        time.sleep(60)
    elif what == "hold":
        sum(range(10**12))  # a call of a C library that holds the interpreter
    elif what == "swallow":
        while True:
            try:
                time.sleep(60)
            except BaseException:
                pass
    elif what == "fork":  # its end is nothing to this process
        child = os.fork()
        if not child:
            time.sleep(60)
        os.kill(child, 15)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -15
        time.sleep(2 * signals.PATIENCE)
with signals.handled(guarded=True) as ending:
    try:
        work(sys.argv[1])
        ending.check()
        print("done")
    except KeyboardInterrupt:
        print(ending.sentence, file=sys.stderr)
        ending.leave()
"""


def start(what: str) -> subprocess.Popen:
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, what], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline().startswith("at work")
    return process


def wait_until_it_computes(pid):
    def used():
        return psutil.Process(pid).cpu_times().user

    before, last = used(), time.monotonic() + 30
    while used() < before + 0.1 and time.monotonic() < last:
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("what", "kind", "word"),
    [
        ("sleep", "SIGINT", "interrupted"),
        ("sleep", "SIGTERM", "terminated"),
        ("sleep", "SIGHUP", "terminated"),
        ("swallow", "SIGTERM", "terminated"),
        ("hold", "SIGINT", "interrupted"),
    ],
)
def test_a_command_says_that_it_was_ended_and_no_process_of_it_stays(what, kind, word):
    process, number = start(what), getattr(signal, kind)
    guards = psutil.Process(process.pid).children()
    assert len(guards) == 1
    if what == "hold":
        wait_until_it_computes(process.pid)
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    assert errors.strip().splitlines()[-1].endswith(f"{word}; the same command resumes")
    assert process.returncode == (-signal.SIGKILL if what == "hold" else 128 + number)
    assert psutil.wait_procs(guards, timeout=10)[1] == []


def test_a_second_one_does_not_wait(monkeypatch):
    process = start("swallow")
    process.send_signal(signal.SIGINT)
    time.sleep(2 * signals._ONE_KEY)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130
    process.communicate()


def test_a_signal_for_a_fork_is_none_for_the_command():
    process = start("fork")
    assert process.communicate(timeout=30) == ("done\n", "")
    assert process.returncode == 0


def test_what_is_ignored_stays_ignored_and_what_a_program_handles_is_its_own():
    came = []
    before = {signal.SIGHUP: signal.signal(signal.SIGHUP, signal.SIG_IGN), signal.SIGTERM: signal.signal(signal.SIGTERM, came.append)}
    mine = signal.getsignal(signal.SIGTERM)
    try:
        with signals.handled() as ending:
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            assert signal.getsignal(signal.SIGTERM) is mine
            assert signal.getsignal(signal.SIGINT) == ending.hear
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def interrupted(number=signal.SIGINT):
    os.kill(os.getpid(), number)
    time.sleep(10)


def swallowed():
    with contextlib.suppress(KeyboardInterrupt):
        interrupted()


def turned_into_another():
    try:
        interrupted()
    except KeyboardInterrupt:
        raise RuntimeError("the import of a library failed") from None


@pytest.mark.parametrize("code", [swallowed, turned_into_another])
def test_an_interrupt_that_code_swallows_is_kept(code):
    with pytest.raises(KeyboardInterrupt), signals.kept():
        code()
    with signals.kept():
        pass
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_sys_exit_is_a_failure_of_code_but_not_of_a_programs_handler():
    with pytest.raises(ExitError, match=r"the model's code called sys.exit\(0\)"), signals.no_exit():
        sys.exit(0)
    with pytest.raises(ExitError, match=r"my.py called sys.exit\(0?\)"), signals.no_exit("my.py"):
        sys.exit()
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))
    try:
        with pytest.raises(SystemExit), signals.no_exit():
            interrupted(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
