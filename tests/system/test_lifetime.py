import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from shattering.system.lifetime import Guard
from shattering.system.temporary import TemporaryFolder

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no kill -9 on this system")
SLEEP = "import time; time.sleep(600)  # watched"
STARTER = f"""
import subprocess, sys, time
from pathlib import Path
from shattering.system.temporary import TemporaryFolder
from shattering.system.lifetime import Guard
folder = TemporaryFolder()
guard = Guard("# watched", folder.path)
sleeper = subprocess.Popen([sys.executable, "-c", {SLEEP!r}])
time.sleep(4)  # in which the guard looks, on a busy machine too
print(sleeper.pid, guard.process.pid, folder.path, flush=True)
time.sleep(600)
"""


def test_a_guard_ends_what_a_killed_process_has_started_and_removes_its_folder():
    starter = subprocess.Popen([sys.executable, "-c", STARTER], stdout=subprocess.PIPE, text=True)
    assert starter.stdout is not None
    sleeper, guard, folder = starter.stdout.readline().split()
    processes = [psutil.Process(int(sleeper)), psutil.Process(int(guard))]
    starter.kill()
    starter.communicate()
    assert psutil.wait_procs(processes, timeout=20)[1] == []
    assert not Path(folder).exists()
    assert not Path(f"{folder}.lock").exists()


def test_a_guard_leaves_other_processes_alone():
    folder = TemporaryFolder()
    guard = Guard("# watched", folder.path)
    watched, other = (subprocess.Popen([sys.executable, "-c", code]) for code in (SLEEP, SLEEP.replace("watched", "mine")))
    guard.end()
    assert watched.wait(20) != 0
    assert other.poll() is None
    other.kill()
    other.wait()
    folder.remove()
    assert guard.process.returncode == 0
    assert os.getpid() not in (watched.pid, other.pid)
