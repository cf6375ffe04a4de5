"""Tests in several forked processes end as they would in one, whatever becomes of the processes."""

import signal
import sys
from pathlib import Path

import pytest

from tests.programs import Program, run_program

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="tests are forked on Linux alone")
PYTEST = [sys.executable, "-m", "pytest", "-p", "tests.forked", "-p", "no:cacheprovider", "--forks", "2"]
SHARED = """
import os, pytest
@pytest.fixture(scope="session", autouse=True)
def noted():
    yield
    with open("ended", "a") as file:
        file.write(f"{os.getpid()} ")
"""
FIRST = """
import os, signal, warnings
def test_fails():
    print("what it printed")
    assert 1 + 1 == 3
def test_dies():
    os.kill(os.getpid(), signal.SIGKILL)
def test_warns(tmp_path):
    warnings.warn("a warning")
    assert tmp_path.is_dir()
def test_passes(): ...
"""
SECOND = """
import pytest
@pytest.fixture
def broken():
    yield
    raise ValueError("in its end")
def test_of_a_broken_fixture(broken): ...
@pytest.mark.skip(reason="a reason")
def test_left_out(): ...
@pytest.mark.xfail
def test_that_is_known_to_fail():
    assert False
"""


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    monkeypatch.setenv("PYTEST_DEBUG_TEMPROOT", str(tmp_path))
    for name, text in {"conftest": SHARED, "test_first": FIRST, "test_second": SECOND}.items():
        (tmp_path / f"{name}.py").write_text(text)
    return tmp_path


def test_every_end_of_a_test_is_told(folder):
    done = run_program([*PYTEST, "-ra"], cwd=folder)
    assert done.returncode == 1
    assert "2 failed, 3 passed, 1 skipped, 1 xfailed, 1 warning, 1 error in" in done.stdout
    assert "FAILED test_first.py::test_fails - assert" in done.stdout
    assert "what it printed" in done.stdout
    assert "the process that executed test_first.py::test_dies died, with status -9" in done.stdout
    assert "UserWarning: a warning" in done.stdout
    assert "ValueError: in its end" in done.stdout
    assert ": a reason\n" in done.stdout
    assert len(set((folder / "ended").read_text().split())) == 2, "the one that went on, and the other, took their fixtures down"
    (folder / "ended").unlink()
    done = run_program([*PYTEST, "-x", "-k", "fails or passes"], cwd=folder)
    assert (done.returncode, done.stderr) == (1, "")
    assert "stopping after 1 failures" in done.stdout
    assert run_program([*PYTEST, "-k", "passes"], cwd=folder).returncode == 0
    (folder / "test_second.py").write_text("import nothing_of_the_kind")
    done = run_program(PYTEST, cwd=folder)
    assert done.returncode == 2
    assert "1 error during collection" in done.stdout


def test_a_process_that_dies_after_its_last_test_and_an_interruption(folder):
    (folder / "test_first.py").write_text("def test_passes(): ...")
    (folder / "test_second.py").unlink()
    (folder / "conftest.py").write_text("import atexit, os\natexit.register(os._exit, 3)")
    done = run_program(PYTEST, cwd=folder)
    assert "died, with status 3" in done.stdout
    (folder / "conftest.py").write_text(SHARED)
    (folder / "test_first.py").write_text("import time\ndef test_waits():\n    open('begun', 'w').close()\n    time.sleep(600)")
    program = Program(PYTEST, cwd=folder, process_group=0)
    while not (folder / "begun").exists():
        assert program.poll() is None
    program.send_signal(signal.SIGINT)
    assert program.wait(60) == 2
    assert len((folder / "ended").read_text().split()) == 1, "its fixtures were taken down"
