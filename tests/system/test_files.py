import errno
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from shattering import InputError
from shattering.system.files import is_file, leftovers, write_aside, write_own

UNIX = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no devices and pipes with names here")


def text(content="new"):
    return lambda aside: aside.write_text(content)


def test_a_file_is_made_with_its_folders_or_replaced_in_one_step(tmp_path):
    path = tmp_path / "a" / "b" / "report.html"
    write_aside(path, text("one"))
    before = path.stat()
    write_aside(path, text("two"))
    assert path.read_text() == "two"
    assert path.stat().st_ino != before.st_ino
    assert [p.name for p in path.parent.iterdir()] == ["report.html"]


@pytest.mark.parametrize("write", [write_own, write_aside])
def test_modes_are_those_of_any_new_file_or_of_the_file_before(tmp_path, write):
    def private(aside):
        aside.unlink()
        os.close(os.open(aside, os.O_CREAT | os.O_WRONLY, 0o600))  # as safetensors does

    (tmp_path / "usual").touch()
    write(tmp_path / "new", private)
    assert (tmp_path / "new").stat().st_mode == (tmp_path / "usual").stat().st_mode
    (tmp_path / "usual").chmod(0o640)
    write(tmp_path / "usual", private)
    assert stat.S_IMODE((tmp_path / "usual").stat().st_mode) == 0o640


def test_a_writer_that_fails_leaves_what_was_there(tmp_path):
    (tmp_path / "a").write_text("old")

    def fail(error):
        def write(aside):
            aside.write_text("half")
            raise error

        return write

    for error in (ValueError("x"), KeyboardInterrupt(), OSError(errno.EIO, "x")):
        with pytest.raises(type(error)):
            write_own(tmp_path / "a", fail(error))
    for error in (
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"),
        ValueError('IoError(Os { code: 28, kind: StorageFull, message: "…" })'),
    ):
        with pytest.raises(OSError, match=r"no space left to write .*a; free some and give the same command again"):
            write_aside(tmp_path / "a", fail(error))
    assert (tmp_path / "a").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


@UNIX
def test_of_a_link_the_target_is_written_but_in_our_own_folders_the_link_is_replaced(tmp_path):
    target, link = tmp_path / "else" / "target", tmp_path / "link"
    target.parent.mkdir()
    link.symlink_to(target)
    write_aside(link, text("one"))
    assert (target.read_text(), link.is_symlink()) == ("one", True)
    write_own(link, text("two"))
    assert (target.read_text(), link.read_text(), link.is_symlink()) == ("one", "two", False)


@UNIX
def test_devices_are_written_into_and_not_replaced(tmp_path):
    node = os.stat("/dev/null")
    write_aside(Path("/dev/null"), text())
    (tmp_path / "null").symlink_to("/dev/null")
    write_aside(tmp_path / "null", text())
    assert (os.stat("/dev/null").st_rdev, os.stat("/dev/null").st_ino) == (node.st_rdev, node.st_ino)
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    assert not list(Path("/dev").glob(".null*"))
    assert not is_file(Path("/dev/null"))
    if os.path.exists("/dev/full"):
        with pytest.raises(OSError, match="no space left to write /dev/full"):
            write_aside(Path("/dev/full"), text("x" * 10**6))
        assert stat.S_ISCHR(os.stat("/dev/full").st_mode)


@UNIX
def test_a_pipe_is_written_into_if_somebody_reads_it(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(InputError, match="pipe is a pipe that nobody reads, expected one that is read, or a file"):
        write_aside(pipe, text())
    held, heard = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK), []  # so that there is a reader before the thread has begun

    reader = threading.Thread(target=lambda: heard.append(pipe.read_bytes()))
    reader.start()
    write_aside(pipe, text("x" * 300_000))  # more than a pipe holds, so that the writer waits for the reader
    reader.join()
    os.close(held)
    assert len(heard[0]) == 300_000
    assert stat.S_ISFIFO(pipe.stat().st_mode)


@UNIX
def test_standard_output_is_written_in_its_place(tmp_path):
    program = (
        "import sys; from pathlib import Path; from shattering.system.files import write_aside; print('before'); "
        "write_aside(Path(sys.argv[1]), lambda aside: aside.write_text('report\\n')); print('after')"
    )
    for name in ("/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"):
        if not os.path.exists(name):
            continue
        with (tmp_path / "out").open("wb") as out:
            subprocess.run([sys.executable, "-c", program, name], stdout=out, check=True)
        assert (tmp_path / "out").read_text() == "before\nreport\nafter\n"
        break  # the names are resolved alike; one child is enough
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_what_no_file_can_be_written_to_is_one_sentence(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("old")
    with pytest.raises(InputError, match="folder is a folder, expected the name of a file to write"):
        write_aside(tmp_path / "folder", text())
    for below in ("file/x", "file/x/y"):
        with pytest.raises(InputError, match=r"is to be written in .*, which is no folder"):
            write_aside(tmp_path / below, text())
    (tmp_path / "file").chmod(0o444)
    if not os.access(tmp_path / "file", os.W_OK):  # root may write all
        with pytest.raises(PermissionError):
            write_aside(tmp_path / "file", text())
    assert (tmp_path / "file").read_text() == "old"


def test_long_names_have_room_for_what_is_written_aside(tmp_path):
    write_aside(tmp_path / ("ü" * 120), text())
    assert [len(p.name) for p in tmp_path.iterdir()] == [120]


def test_leftovers_are_of_writers_that_are_dead(tmp_path):
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    names = [f".result.json.{child.pid}.tmp", f".result.json.{os.getpid()}.tmp", f"result.json.{child.pid}.tmp", ".x.tmp", "result.json"]
    for name in [*names, f".a.{10**30}.tmp"]:
        (tmp_path / name).touch()
    assert {path.name for path in leftovers(tmp_path)} == {names[0], f".a.{10**30}.tmp"}


def test_a_tilde_makes_no_folder_of_that_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"~/page.html begins with ~, which only a shell replaces, expected the home folder: /"):
        write_aside(Path("~/page.html"), lambda aside: aside.write_text("x"))
    assert not list(tmp_path.iterdir())
