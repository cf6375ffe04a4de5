import json
import os
import signal
import sys
import threading
import time
import warnings
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.naive_bayes import GaussianNB

from shattering import InputError, Randomization, RunSpec, Store, run, seeds, sweep
from shattering.identity.names import name_of
from shattering.runs import attempts, local, workers
from shattering.runs.store import Busy
from shattering.runs.workers import Ended
from tests.runs.fits import Sleeper, noted

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
        submit = local.LocalProcess.submit

        def noted(process, spec, shared):
            self.workers += [process.process] if spec == self.spec else []
            return submit(process, spec, shared)

        monkeypatch.setattr(local.LocalProcess, "submit", noted)

    def run(self):
        checkpoint = self.store.folder(self.spec) / "checkpoint.pt"
        while len(self.killed) < self.times:
            if len(self.workers) > len(self.killed) and checkpoint.exists():
                os.kill(self.workers[-1].pid, signal.SIGKILL)
                self.killed.append(self.workers[-1])
            time.sleep(0.01)


def test_a_sweep_runs_what_is_missing_in_order(tmp_path, capsys):
    store = Store(tmp_path)
    first = sweep(specs(2), store, jobs=2)
    again = sweep([*specs(3), specs(1)[0]], store, jobs=2, progress=True)
    assert [r.spec.seed for r in again] == [0, 1, 2]
    assert all(r.status == "done" for r in again)
    assert [r.provenance["started"] for r in first] == [r.provenance["started"] for r in again[:2]]
    assert capsys.readouterr().err.count("done ") == 1


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
    given, victim = {name: Frail(str(tmp_path / "fits"), times=3)}, RunSpec("digits", model=name)
    runs = sweep([specs(2)[0], victim, specs(2)[1]], store, objects=given)
    assert [r.status for r in runs] == ["done", "failed", "done"]
    assert runs[1].error == "the worker process died 3 times (exit code -9)"
    assert sweep([victim], store, objects=given)[0].status == "done", "a later sweep tries it again"
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
    specs = [RunSpec(str(data), model=name, seed=seed) for seed in range(3)]
    runs = sweep(specs, Store(tmp_path / "runs"), objects={name: Messy(str(file))})
    assert [r.status for r in runs] == ["done"] * 3
    found = [json.loads(line) for line in file.read_text().splitlines()]
    assert len({pid for pid, _ in found}) == processes
    assert found[0][1][2:] == found[1][1][2:] == found[2][1][2:]
    for spec, (_, (first, second, *_)) in zip(specs, found, strict=True):
        with seeds.everywhere(spec.seed):
            assert [first, second] == [torch.rand(1).item(), np.random.rand()]  # noqa: NPY002


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


def test_bad_input_fails_one_run_without_a_retry(tmp_path, capsys):
    bad = RunSpec("digits", n_train=5000)
    runs = sweep([bad, *specs(1)], Store(tmp_path), jobs=1, progress=True)
    assert [r.status for r in runs] == ["failed", "done"]
    assert "n_train is 5000, expected 1…1297" in runs[0].error
    assert "load_dataset" in runs[0].traceback
    Store(tmp_path).fail(bad, "an error of yesterday")
    assert "n_train is 5000" in sweep([bad], Store(tmp_path))[0].error
    assert "n_train is 5000" in capsys.readouterr().err


def test_two_sweeps_at_once_do_each_run_once_and_neither_waits_for_the_other(tmp_path):
    name, found = name_of("sleeper", "0"), {}
    given = {name: Sleeper(str(tmp_path / "fits"))}
    specs = [RunSpec("digits", n_train=100, n_test=50, randomization=Randomization(1.0), model=name, seed=seed) for seed in range(6)]
    both = threading.Barrier(2)

    def one(number):
        both.wait()
        found[number] = sweep(specs, Store(tmp_path / "runs"), jobs=1, objects=given)

    sweeps = [threading.Thread(target=one, args=(number,)) for number in range(2)]
    for thread in sweeps:
        thread.start()
    for thread in sweeps:
        thread.join()
    fits = noted(tmp_path / "fits")
    assert len({labels for _, labels in fits}) == len(fits) == 6, "each once"
    assert len({worker for worker, _ in fits}) == 2, "by both"
    for runs in found.values():
        assert [run.status for run in runs] == ["done"] * 6


def test_a_run_that_another_process_is_at_comes_last_and_one_that_it_has_failed_at_is_not_tried_again(tmp_path, capsys):
    store = Store(tmp_path)
    held, other = specs(2)
    with store.executing(held):  # as another process would
        with pytest.raises(Busy, match=held.folder_name):
            run(held, store, wait=False)
        sweeping = threading.Thread(target=sweep, args=([held, other], store, 1, True))
        sweeping.start()
        while not (store.folder(other) / "result.json").exists():
            time.sleep(0.02)
        store.fail(held, "RuntimeError: it cannot be done")
    sweeping.join()
    said = [line.split()[:2] for line in capsys.readouterr().err.splitlines()]
    assert said == [["done", other.folder_name], ["failed", held.folder_name]]
    assert sweep([held], store)[0].status == "done", "a later sweep tries it again"


@pytest.mark.parametrize("jobs", [1.5, True, 0, -1, "2"])
def test_jobs_are_a_whole_number(tmp_path, jobs):
    with pytest.raises(InputError, match=f"jobs is {jobs!r}, expected a whole number of at least 1"):
        sweep([], Store(tmp_path), jobs=jobs)


def test_more_jobs_than_runs(tmp_path):
    assert [run.status for run in sweep(specs(1), Store(tmp_path), jobs=10**6)] == ["done"]


@pytest.mark.parametrize(("said", "threads"), [("1", 1), ("3,2", 3), ("9", 4), ("", 4), ("many", 4), ("0", 4)])
def test_a_sweep_has_no_more_threads_than_the_environment_says(monkeypatch, said, threads):
    """As `run` has, so that both give the same bytes."""
    monkeypatch.setattr(workers, "usable_cores", lambda: 8)
    monkeypatch.setenv("OMP_NUM_THREADS", said)
    assert workers.threads_of(2) == threads
