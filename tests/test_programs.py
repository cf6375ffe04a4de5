"""A program forked from the process that has the library is like one of a new interpreter."""

import json
import os
import signal
import subprocess
import sys

import pytest

from tests.programs import Program, run_program

FACTS = """
import json, os, signal, sys, threading
kinds = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE, signal.SIGCHLD)
path = [folder for folder in sys.path if folder]
files = [n for n in range(3, 200) if os.path.exists(f"/proc/self/fd/{n}") and os.readlink(f"/proc/self/fd/{n}") != "/dev/null"]
print(json.dumps([
    __name__, "__file__" in globals(), sys.argv[1:], os.getcwd(), path, sorted(os.environ.items()), sys.stdin.read(),
    [str(signal.getsignal(kind)) for kind in kinds], sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
    os.getppid(), os.getpgrp() == os.getpid(), os.getsid(0) == os.getpid(), os.getpgrp() == os.getpgid(os.getppid()),
    files, threading.active_count(), sys.stdout.isatty(), sys.stderr.line_buffering,
]))
print("said", file=sys.stderr)
sys.exit(7)
"""
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="programs are forked on Linux alone")


@pytest.mark.parametrize("form", ["-c", "-m", "file"])
@pytest.mark.parametrize("options", [{}, {"process_group": 0}, {"start_new_session": True}], ids=str)
def test_what_it_finds_is_what_a_new_interpreter_finds(tmp_path, form, options):
    (tmp_path / "facts.py").write_text(FACTS)
    what = {"-c": ["-c", FACTS], "-m": ["-m", "facts"], "file": [str(tmp_path / "facts.py")]}[form]
    command = [sys.executable, *what, "one", "two"]
    environment = {**os.environ, "MARK": "x", "PYTHONPATH": os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), str(tmp_path)]))}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    found = []
    for kind in (subprocess.Popen, Program):
        with kind(command, cwd=tmp_path, env=environment, **pipes, **options) as process:
            out, errors = process.communicate("given")
        assert (process.returncode, errors) == (7, "said\n")
        found.append(json.loads(out))
    assert found[0] == found[1]


def test_it_ends_as_it_would():
    for code, status, error in (
        ("raise SystemExit('a sentence')", 1, "a sentence\n"),
        ("raise KeyboardInterrupt", -signal.SIGINT, "KeyboardInterrupt\n"),
        ("1 / 0", 1, "ZeroDivisionError: division by zero\n"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL, ""),
        ("import atexit, sys; atexit.register(print, 'at the end', file=sys.stderr)", 0, "at the end\n"),
    ):
        done = run_program([sys.executable, "-c", code])
        assert (done.returncode, done.stderr.endswith(error)) == (status, True), (code, done)


def test_programs_that_it_starts_are_its_children_and_have_the_library():
    inner = "import os, sys; print(os.getppid(), 'torch' in sys.modules, os.getpgrp())"
    outer = (
        f"import os, subprocess, sys; print(os.getpid(), True, os.getpgrp(), flush=True); subprocess.run([sys.executable, '-c', {inner!r}])"
    )
    first, second = run_program([sys.executable, "-c", outer], check=True).stdout.splitlines()
    assert first == second
