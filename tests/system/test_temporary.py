import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from shattering.system.temporary import TemporaryFolder

HOLDER = """
from shattering.system.temporary import TemporaryFolder
folder = TemporaryFolder()
(folder.path / "deep").mkdir()
(folder.path / "deep" / "file").write_text("content")
print(folder.path, flush=True)
input()
"""


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """The system's folder for temporary files, of this test alone."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def hold(temporary: Path) -> tuple[subprocess.Popen, Path]:
    environment = {**os.environ, "TMPDIR": str(temporary)}
    process = subprocess.Popen([sys.executable, "-c", HOLDER], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


@pytest.mark.skipif(sys.platform == "win32", reason="there is no kill -9 on this system")
def test_a_temporary_folder_of_a_killed_process_is_removed_by_the_next_one_that_of_a_live_one_never(temporary):
    (killed, abandoned), (live, used) = hold(temporary), hold(temporary)
    (temporary / "shattering-without-a-lock").mkdir()
    killed.kill()
    killed.communicate()
    assert abandoned.exists()
    ours = TemporaryFolder()
    assert not abandoned.exists()
    assert (used / "deep" / "file").read_text() == "content"
    assert ours.path.stat().st_mode & 0o777 == 0o700
    ours.remove()
    live.communicate("\n")
    TemporaryFolder().remove()
    assert [path.name for path in temporary.iterdir()] == ["shattering-without-a-lock"]


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="there are no links on this system")
def test_links_are_not_followed(temporary, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "file").write_text("content")
    (temporary / "shattering-0").symlink_to(elsewhere)
    (temporary / "shattering-0.lock").touch()
    (temporary / "shattering-1").mkdir()
    (temporary / "shattering-1.lock").symlink_to(elsewhere / "file")
    TemporaryFolder().remove()
    assert (elsewhere / "file").read_text() == "content"
    assert (temporary / "shattering-1").exists()
