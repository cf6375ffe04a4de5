import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from sklearn.naive_bayes import GaussianNB

from shattering import Randomization, RunSpec, Store, run, sweep
from shattering.runs import attempts, local
from shattering.runs.objects import name_of
from shattering.runs.workers import Ended

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no kill -9 on this system")
QUICK = {"epochs": 2, "batch_size": 50, "device": "cpu", "checkpoint_every": 0}
LONG = {**QUICK, "epochs": 60, "batch_size": 10}


def specs(n, params=QUICK):
    return [RunSpec("digits", n_train=100, n_test=50, randomization=Randomization(1.0), params=params, seed=s) for s in range(n)]


class Killer(threading.Thread):
    """Kills the worker of a run, `times` times, each time once it has a checkpoint."""

    def __init__(self, store, spec, times, monkeypatch):
        super().__init__(daemon=True)
        self.store, self.spec, self.times, self.killed, self.workers = store, spec, times, [], []
        hand_over = local.LocalProcess.hand_over

        def noted(process, spec, shared):
            self.workers += [process.process] if spec == self.spec else []
            return hand_over(process, spec, shared)

        monkeypatch.setattr(local.LocalProcess, "hand_over", noted)

    def run(self):
        checkpoint = self.store.folder(self.spec) / "checkpoint.pt"
        while len(self.killed) < self.times:
            if len(self.workers) > len(self.killed) and checkpoint.exists():
                os.kill(self.workers[-1].pid, signal.SIGKILL)
                self.killed.append(self.workers[-1])
            time.sleep(0.01)


def test_a_sweep_runs_what_is_missing_in_order(tmp_path):
    store, output = Store(tmp_path), io.StringIO()
    first = sweep(specs(2), store, jobs=2)
    again = sweep([*specs(3), specs(1)[0]], store, jobs=2, console=Console(file=output))
    assert [r.spec.seed for r in again] == [0, 1, 2]
    assert all(r.status == "done" for r in again)
    assert [r.provenance["started"] for r in first] == [r.provenance["started"] for r in again[:2]]
    assert output.getvalue().count("done ") == 1


def test_a_killed_worker_is_retried_and_resumes(tmp_path, monkeypatch):
    store = Store(tmp_path)
    victim, other = specs(2, LONG)
    killer = Killer(store, victim, 1, monkeypatch)
    killer.start()
    runs = sweep([victim, other], store, jobs=2)
    assert len(killer.killed) == 1
    assert [r.status for r in runs] == ["done", "done"]
    whole = sweep([victim], Store(tmp_path / "whole"), jobs=2)[0]  # on as many threads
    assert (runs[0].folder / "history.parquet").read_bytes() == (whole.folder / "history.parquet").read_bytes()


class Frail(GaussianNB):
    """Its process dies, so many times."""

    def __init__(self, file="", times=0):
        super().__init__()
        self.file, self.times = file, times

    def fit(self, X, y, sample_weight=None):
        with Path(self.file).open("a") as file:
            file.write(f"{os.getpid()}\n")
        if len(Path(self.file).read_text().splitlines()) <= self.times:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().fit(X, y)


def test_a_run_whose_workers_always_die_fails_and_the_others_go_on(tmp_path):
    store, name = Store(tmp_path / "runs"), name_of("frail", "0")
    given, victim = {name: Frail(str(tmp_path / "fits"), times=3)}, RunSpec("digits", learner=name)
    runs = sweep([specs(2)[0], victim, specs(2)[1]], store, given=given)
    assert [r.status for r in runs] == ["done", "failed", "done"]
    assert runs[1].error == "the worker process died 3 times (exit code -9)"
    assert sweep([victim], store, given=given)[0].status == "done", "a later sweep tries it again"
    assert len(set((tmp_path / "fits").read_text().splitlines())) == 4


class Scripted:
    """Workers that die before they have begun a run, so many times, and then execute it in this process."""

    def __init__(self, store, deaths):
        self.store, self.deaths, self.starts = store, deaths, []

    def has_room(self, busy):
        return busy < 1

    def start(self, spec):
        self.starts.append(spec)
        self.end = Ended(death="exit code 7") if len(self.starts) <= self.deaths else Ended()
        if self.end.death is None:
            run(spec, self.store)
        return self

    def wait(self, workers, seconds):
        pass

    def stop(self, workers):
        assert not workers

    def rows(self):
        return [] if self.end.death else [{}]

    def ended(self):
        return self.end


@pytest.mark.parametrize(
    ("deaths", "status", "error"),
    [(9, "done", None), (99, "failed", "the worker process died 10 times before the run began (exit code 7)")],
)
def test_workers_that_die_before_the_beginning_are_replaced_more_often(tmp_path, monkeypatch, deaths, status, error):
    workers = Scripted(Store(tmp_path), deaths)
    monkeypatch.setattr(attempts, "_PAUSE", 0.001)
    monkeypatch.setattr(sys.modules["shattering.runs.sweep"], "_workers", lambda *_: nullcontext(workers))
    (found,) = sweep(specs(1), workers.store)
    assert (found.status, found.error) == (status, error)
    assert len(workers.starts) == 10


class Messy(GaussianNB):
    """Leaves disorder in its process; says what it found there."""

    def __init__(self, file=""):
        super().__init__()
        self.file = file

    def fit(self, X, y, sample_weight=None):
        draws = [torch.rand(1).item(), np.random.rand()]  # noqa: NPY002
        threads, dtype = torch.get_num_threads(), str(torch.get_default_dtype())
        found = [
            *draws,
            warnings.filters,
            threads,
            dtype,
            torch.is_grad_enabled(),
            os.getcwd(),
            os.environ.get("LEFT"),
            X.tolist(),
            y.tolist(),
        ]
        with Path(self.file).open("a") as file:
            file.write(json.dumps([os.getpid(), found], default=str) + "\n")
        super().fit(X, y)
        X[:], y[:], os.environ["LEFT"] = 0, 0, "behind"
        warnings.simplefilter("ignore")
        torch.set_num_threads(7)
        torch.set_default_dtype(torch.float64)
        torch.set_grad_enabled(False)
        os.chdir("/")
        return self


@pytest.mark.parametrize(("reused", "processes"), [(500, 1), (2, 2)])
def test_runs_of_one_process_find_it_as_new(tmp_path, monkeypatch, reused, processes):
    monkeypatch.setattr(local, "REUSED", reused)
    name, data, file = name_of("messy", "0"), tmp_path / "data.npz", tmp_path / "found"
    X, y = np.random.default_rng(0).random((30, 4), dtype=np.float32), np.arange(30) % 3
    np.savez(data, x_train=X, y_train=y, x_test=X, y_test=y)
    specs = [RunSpec(str(data), learner=name, seed=seed) for seed in range(3)]
    runs = sweep(specs, Store(tmp_path / "runs"), given={name: Messy(str(file))})
    assert [r.status for r in runs] == ["done"] * 3
    found = [json.loads(line) for line in file.read_text().splitlines()]
    assert len({pid for pid, _ in found}) == processes
    assert found[0][1] == found[1][1] == found[2][1]


def test_a_process_that_dies_between_runs_is_replaced(tmp_path):
    first, second = specs(2)
    with local.local_workers(Store(tmp_path), 1, (), None) as workers:
        worker = workers.start(first)
        while worker.ended() is None:
            workers.wait([worker], 1)
        (process,) = workers.free
        process.process.kill()
        process.process.join()
        again = workers.start(second)
        while again.ended() is None:
            workers.wait([again], 1)
        assert again.ended() == Ended()
        assert again.process is not process
    assert again.process.process.exitcode == 0, "it ends by itself"


def test_bad_input_fails_one_run_without_a_retry(tmp_path):
    bad = RunSpec("digits", n_train=5000)
    output = io.StringIO()
    runs = sweep([bad, *specs(1)], Store(tmp_path), jobs=1, console=Console(file=output))
    assert [r.status for r in runs] == ["failed", "done"]
    assert "n_train is 5000, expected 1…1297" in runs[0].error
    assert "n_train is 5000" in output.getvalue()


def command(store, n=4, epochs=2, jobs=2):
    options = ["--n-train", "100", "--n-test", "50", "--seed", ",".join(map(str, range(n))), "--set", f"epochs={epochs}"]
    return [sys.executable, "-m", "shattering", "sweep", *options, "--set", "batch_size=10", "--jobs", str(jobs), "--store", str(store)]


def test_two_sweeps_at_once_do_each_run_once(tmp_path):
    processes = [
        subprocess.Popen(command(tmp_path, epochs=15), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) for _ in range(2)
    ]
    lines = [line for p in processes for line in p.communicate(timeout=200)[1].splitlines()]
    assert [p.returncode for p in processes] == [0, 0]
    assert len(Store(tmp_path).runs()) == 4
    executed = [line for line in lines if line.startswith("done") and "by another process" not in line]
    assert len(executed) + sum("by another process" in line for line in lines) == 8
    epochs = {r.folder.name: len(r.history) for r in Store(tmp_path).runs()}
    assert set(epochs.values()) == {15}


def test_workers_end_with_a_killed_sweep_and_leave_runs_to_resume(tmp_path):
    process = subprocess.Popen(command(tmp_path, n=2, epochs=3000), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while len(list(tmp_path.glob("*/spec.json"))) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.kill()
    process.wait()
    store = Store(tmp_path)
    while any(r.status == "running" for r in store.runs()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert [r.status for r in store.runs()] == ["interrupted"] * 2


def test_ctrl_c_then_the_same_command(tmp_path):
    long = command(tmp_path, n=2, epochs=2000)
    process = subprocess.Popen(long, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, start_new_session=True)
    deadline = time.monotonic() + 120
    while len(list(tmp_path.glob("*/spec.json"))) < 2:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.strip().splitlines()[-1] == "shattering: interrupted; the same command resumes"
    assert "Traceback" not in errors
    assert [r.status for r in Store(tmp_path).runs()] == ["interrupted"] * 2
    subprocess.run(long, check=True, capture_output=True)
    assert [r.status for r in Store(tmp_path).runs()] == ["done"] * 2
