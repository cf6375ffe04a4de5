"""How sweeps end: however a process of theirs is ended, nothing outlives it, and the next call goes on."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from shattering import RunSpec, Store, sweep
from shattering.identity.names import name_of
from tests.programs import Program, run_program
from tests.runs.fits import Nasty, noted

ROOT = Path(__file__).parents[2]
PATH = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no kill -9 on this system")
SWEEP = """
import sys
from shattering import RunSpec, Store, sweep
from shattering.identity.names import name_of
from tests.runs.fits import Stuck
folder, *kinds = sys.argv[1:]
given = {name_of(kind, kind): Stuck(folder + "/fits", kind) for kind in kinds}
sweep([RunSpec("digits", n_train=100, n_test=50, model=name) for name in given], Store(folder + "/runs"), len(kinds), objects=given)
"""
KINDS = ("sleep", "loop", "library", "hold", "children")


def wait_for(condition, process: subprocess.Popen, seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("kind", ["SIGTERM", "SIGKILL"])
def test_no_process_outlives_a_sweep_that_is_killed_in_the_middle_of_fits_without_epochs(tmp_path, kind):
    process = Program([sys.executable, "-c", SWEEP, str(tmp_path), *KINDS], env={**os.environ, "PYTHONPATH": PATH})
    wait_for(lambda: len(noted(tmp_path / "fits")) == len(KINDS), process)
    family = psutil.Process(process.pid).children(recursive=True)
    assert len(family) == 1 + len(KINDS) + 2
    process.send_signal(getattr(signal, kind))
    process.wait(30)
    assert psutil.wait_procs(family, timeout=30)[1] == []
    assert [run.status for run in Store(tmp_path / "runs").runs()] == ["interrupted"] * len(KINDS)


def test_ctrl_c_and_sigterm_and_then_the_same_command(tmp_path):
    options = ["--n-train", "100", "--n-test", "50", "--seed", "0,1", "--set", "epochs=200", "--set", "batch_size=50", "--jobs", "2"]
    command = [sys.executable, "-m", "shattering", "sweep", *options, "--store", str(tmp_path)]
    for number, word in ((signal.SIGTERM, "terminated"), (signal.SIGINT, "interrupted")):
        process = Program(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, process_group=0)
        wait_for(lambda: [run.status for run in Store(tmp_path).runs()] == ["running"] * 2 if any(tmp_path.iterdir()) else False, process)
        family = psutil.Process(process.pid).children(recursive=True)
        os.killpg(process.pid, number)  # as a terminal does
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 128 + number
        assert errors.strip().splitlines()[-1] == f"shattering: {word}; the same command resumes"
        assert "Traceback" not in errors
        assert psutil.wait_procs(family, timeout=30)[1] == []
        assert [run.status for run in Store(tmp_path).runs()] == ["interrupted"] * 2
    run_program(command, check=True)
    assert [run.status for run in Store(tmp_path).runs()] == ["done"] * 2


SCRIPT = """
import sys
import torch
from pathlib import Path
from sklearn.naive_bayes import GaussianNB
from shattering import RunSpec, Store, randomization_test, sweep
from shattering.runs import local
from shattering.identity.names import name_of
print("executed", flush=True)
torch.set_default_dtype(torch.float64)
class Mine(GaussianNB):
    def fit(self, X, y):
        print(__name__, type(self).__module__, torch.get_default_dtype(), Path(sys.argv[0]).name, flush=True)
        return super().fit(X, y)
name = name_of("mine", "0")
for local.FORKS in (True, False):
    specs = [RunSpec("digits", n_train=100, n_test=50, model=name, seed=int(local.FORKS))]
    print(*(run.status for run in sweep(specs, Store(sys.argv[1]), jobs=2, objects={name: Mine()})), flush=True)
"""


def test_a_script_without_a_main_guard_is_executed_once(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    command = [sys.executable, str(tmp_path / "script.py"), str(tmp_path / "runs")]
    done = run_program(command, check=True)
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["executed", *["__main__ __main__ torch.float64 script.py", "done"] * 2]


def test_what_a_fit_does_to_its_process_is_an_error_of_its_run_and_of_no_other(tmp_path):
    errors = {
        "fine": None,
        "exit": "the model's code called sys.exit(0)",
        "interrupt": "the model's code raised KeyboardInterrupt",
        "memory": "MemoryError",
        "recursion": "maximum recursion depth exceeded",
        "unpleasant": "Unpleasant",
        "huge": "RuntimeError: xxx",
        "gone": "the worker process died 3 times (exit code 0)",
        "crash": "the worker process died 3 times (exit code -11)",
    }
    given = {name_of(kind, kind): Nasty(str(tmp_path / "fits"), kind) for kind in errors}
    specs = [RunSpec("digits", n_train=100, n_test=50, model=name) for name in given]
    runs = sweep(specs, Store(tmp_path / "runs"), jobs=2, objects=given)
    for run, (kind, error) in zip(runs, errors.items(), strict=True):
        assert run.status == ("done" if error is None else "failed"), kind
        assert error is None or error in run.error, kind
        assert len(run.error or "") < 1000
    assert (tmp_path / "runs" / runs[6].folder.name / "failed.json").stat().st_size < 10**5


def test_a_reader_that_goes_ends_a_sweep_and_nothing_is_lost(tmp_path):
    options = ["--n-train", "100", "--n-test", "50", "--seed", "0,1,2,3", "--set", "epochs=1", "--jobs", "1", "--store", str(tmp_path)]
    process = Program([sys.executable, "-m", "shattering", "sweep", *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert process.stdout is not None
    first = process.stdout.readline()
    process.stdout.close()
    assert first.startswith(b"done")
    assert process.wait(120) == 1
    assert {run.status for run in Store(tmp_path).runs()} <= {"done", "interrupted"}
