"""Bad input, on the command line and in Python: one sentence each, which names the field and what was found; and no stored run is harmed.

On the command line every case is tried twice, on a terminal and in a pipe.
"""

import os
import pty
import re
import shlex
import subprocess
import sys
import threading
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from shattering import RunSpec, Store, run
from shattering.cli import main
from shattering.errors import InputError
from tests.bad_calls import CALLS
from tests.bad_inputs import COMMANDS, FAILURES, FILES

END = b"\0the end"
BOXES = re.compile(r"[\x1b\u2500-\u259f]")  # escape sequences, and characters that draw boxes


class Reader:
    """Collects what is written to a file descriptor until `END`, in a thread of its own: worker processes may keep it open for longer."""

    def __init__(self, descriptor: int):
        self.descriptor, self.found = descriptor, b""
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self) -> None:
        while not self.found.endswith(END):
            self.found += os.read(self.descriptor, 65536)

    def text(self) -> str:
        self.thread.join()
        os.close(self.descriptor)
        return self.found.removesuffix(END).decode()


def new_terminal() -> tuple[int, int]:
    """(where to read, where to write) of a terminal that leaves line ends as they are."""
    reading, writing = pty.openpty()
    tty.setraw(writing)
    return reading, writing


@contextmanager
def output_to(out: int, err: int) -> Iterator[None]:
    """Standard output and error of this process to these descriptors, which are closed in the end."""
    kept, streams = [os.dup(1), os.dup(2)], (sys.stdout, sys.stderr)
    os.dup2(out, 1)
    os.dup2(err, 2)
    with os.fdopen(1, "w", closefd=False) as stdout, os.fdopen(2, "w", closefd=False) as stderr:
        sys.stdout, sys.stderr = stdout, stderr
        try:
            yield
        finally:
            stdout.flush()
            stderr.flush()
            sys.stdout, sys.stderr = streams
            for number, saved in enumerate(kept, 1):
                os.dup2(saved, number)
                os.close(saved)
            for descriptor in {out, err}:
                os.write(descriptor, END)
                os.close(descriptor)


def on_terminal(arguments: list[str]) -> tuple[int, str, str]:
    """(exit status, "", all that the terminal shows) of a command."""
    reading, writing = new_terminal()
    reader, held = Reader(reading), os.dup(writing)  # a terminal that nobody holds loses what was not yet read
    with output_to(writing, writing):
        status = main(arguments)
    text = re.sub(r"[^\r\n]*\r", "", reader.text())  # a line of progress is written over
    os.close(held)
    return status, "", text


def in_pipe(arguments: list[str]) -> tuple[int, str, str]:
    """(exit status, standard output, standard error) of a command."""
    (out, to_out), (err, to_err) = os.pipe(), os.pipe()
    readers = Reader(out), Reader(err)
    with output_to(to_out, to_err):
        status = main(arguments)
    return status, readers[0].text(), readers[1].text()


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder with the files of the cases, and a store of two finished runs."""
    folder = tmp_path_factory.mktemp("bad")
    for name, content in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    (folder / "a-folder").mkdir()
    for seed in (0, 1):
        run(RunSpec("digits", 50, 20, model="nearest-neighbors", seed=seed), Store(folder / "runs"))
    return folder


def contents(folder: Path) -> dict[str, bytes | None]:
    """Every file below a folder with its bytes, every folder with None; lock files without."""
    paths = sorted(path for path in folder.rglob("*") if path.name != "lock")
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in paths}


@pytest.fixture(scope="module")
def stored(folder) -> dict[str, bytes | None]:
    return contents(folder / "runs")


@pytest.fixture
def here(folder, stored, monkeypatch) -> Path:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.delenv("SHATTERING_DATA", raising=False)
    return folder


def check(result: tuple[int, str, str], status: int | None, fragments: tuple[str, ...]) -> None:
    found, out, err = result
    assert err.startswith("shattering: "), err
    assert err.endswith("\n"), err
    assert err.count("\n") == 1, err
    assert out == ""
    assert not BOXES.search(err), err
    assert "Traceback" not in err
    for fragment in fragments:
        assert fragment in err
    assert len(err) < 600
    assert found in ((1, 2) if status is None else (status,)), err


@pytest.mark.parametrize(("command", "status", "fragments"), COMMANDS, ids=[case[0] for case in COMMANDS])
def test_a_bad_command_is_one_sentence(here, stored, command, status, fragments):
    for show in (in_pipe, on_terminal):
        check(show(shlex.split(command)), status, fragments)
    assert contents(here / "runs") == stored


@pytest.mark.parametrize(("command", "fragments"), FAILURES, ids=[case[0] for case in FAILURES])
def test_what_a_model_raises_is_one_sentence(here, stored, command, fragments):
    for show in (in_pipe, on_terminal):
        check(show([*shlex.split(command), "--store", "failing"]), 1, fragments)
    assert contents(here / "runs") == stored


@pytest.mark.parametrize(("call", "sentence"), [case[1:] for case in CALLS], ids=[case[0] for case in CALLS])
def test_a_bad_call_is_one_sentence(here, stored, call, sentence):
    with pytest.raises(InputError) as caught:
        call()
    assert sentence in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500
    assert contents(here / "runs") == stored


def test_there_are_enough_cases():
    assert len({case[0] for case in COMMANDS}) == len(COMMANDS)
    assert len(COMMANDS) + len(FAILURES) >= 300
    assert len(CALLS) >= 250


def test_the_command_itself(here):
    """The same in a process of its own: its exit status, and its streams on a terminal and in a pipe."""
    command = [sys.executable, "-m", "shattering", "run", "--n-train", "abc"]
    sentence = "shattering: --n-train is 'abc', expected a whole number of at least 1 or none\n"
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", sentence)
    reading, writing = new_terminal()
    process = subprocess.Popen(command, stdin=writing, stdout=writing, stderr=writing)
    reader = Reader(reading)
    assert process.wait() == 2
    os.write(writing, END)
    os.close(writing)
    assert reader.text() == sentence


def test_the_traceback_can_be_had(here, monkeypatch):
    monkeypatch.setenv("SHATTERING_TRACEBACK", "1")
    status, out, err = in_pipe(["test", "model.py:FitRaises", "--store", "failing"])
    assert (status, out) == (1, "")
    assert "Traceback (most recent call last)" in err
    assert "raise RuntimeError(self.message)" in err
    assert err.splitlines()[-1].startswith("shattering: FitRaises failed: RuntimeError: the floor is (traceback in failing/")


def test_a_fault_of_ours_is_one_sentence_that_says_how_to_see_the_traceback(here, monkeypatch):
    def fail(self):
        raise TypeError("unsupported operand")

    monkeypatch.setattr("shattering.cli.showing.Status.execute", fail)
    for show in (in_pipe, on_terminal):
        check(show(["status"]), 1, ("unexpected TypeError: unsupported operand", "SHATTERING_TRACEBACK=1 shows the traceback"))
