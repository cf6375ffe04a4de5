"""Several processes that train one network: as one process would, and after any of them is killed."""

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import psutil
import pytest
import torch
import torch.distributed as dist

from shattering import InputError, NetworkClassifier, RunSpec, Store, run
from shattering.data import formats
from shattering.learners.train import checkpoint
from shattering.learners.train.batches import Examples
from shattering.learners.train.ranks import Ranks, _fresh
from shattering.runs import execute
from shattering.runs.sweep import sweep
from tests.conftest import make_split
from tests.data.test_lazy import write_mixed
from tests.learners.train import two_ranks
from tests.programs import Program, run_program

ROOT = Path(__file__).parents[3]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
ENVIRONMENT = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
pytestmark = pytest.mark.skipif(not torch.distributed.is_available() or sys.platform != "linux", reason="gloo between processes, on Linux")


@pytest.mark.parametrize("n", [1, 2, 7, 8])
def test_shares_make_up_a_batch(n):
    rows = torch.arange(n)
    for world in (1, 2, 3):
        ranks = [Ranks(rank, world) for rank in range(world)]
        assert torch.cat([r.share(rows) for r in ranks]).tolist() == rows.tolist()
        assert [i for r in ranks for i in range(*r.bounds(n))] == rows.tolist()


def test_code_that_draws_from_global_generators_repeats_itself_on_every_rank(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(NetworkClassifier, "fit", lambda *_, **__: drawn.append((random.random(), np.random.random_sample())))  # noqa: NPY002  # as the code of users does
    for rank in (1, 1, 2):
        monkeypatch.setattr(Ranks, "current", lambda rank=rank: Ranks(rank, 3))
        execute._take_part(RunSpec("digits", n_train=20, params={"network": "mlp-1x16"}), tmp_path, None)
    assert drawn[0] == drawn[1] != drawn[2]


@pytest.mark.parametrize("every", [30.0, 2.0, 0.05])
def test_checkpoints_come_in_time_and_rank_0_is_asked_about_once_a_second(tmp_path, monkeypatch, every):
    clock, asked, saved = [0.0], [], []

    class Asking(Ranks):
        def agree(self, value):
            asked.append(clock[0])
            return value

    monkeypatch.setattr(checkpoint, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    monkeypatch.setattr(checkpoint, "save_checkpoint", lambda *_: saved.append(clock[0]))
    checkpointer = checkpoint.Checkpointer(tmp_path / "c.pt", "", torch.nn.Identity(), None, None, every, Asking(0, 2), lambda *_: None)  # type: ignore[arg-type]  # what is asked is no `Ranks`
    steps = 20 * [0.5] + 20_000 * [0.004] + 100 * [0.1] + 10_000 * [0.001]  # compiling, a hundred seconds, slower ones, quick ones
    for seconds in steps:
        clock[0] += seconds
        checkpointer.within_epoch(checkpoint.TrainState(), dict)
    gaps = np.diff([0.0, *saved])
    assert min(gaps) >= every
    assert np.median(gaps) <= every + min(1.0, every / 10) + 0.004
    assert len(asked) <= len(saved) + 2 * clock[0] / min(1.0, every / 10)
    assert checkpointer.wait < 2000


def test_two_processes_train_as_one(tmp_path, monkeypatch):
    monkeypatch.setattr(Examples, "epoch", Examples.epoch)  # put back what `cases` changes
    monkeypatch.setattr(formats, "fits_into_memory", formats.fits_into_memory)
    write_mixed(tmp_path / "data")
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    run_program([*TORCHRUN, two_ranks.__file__, tmp_path], env={**ENVIRONMENT, "PYTHONPATH": path}, check=True)
    shared = torch.load(tmp_path / "gradients.pt", weights_only=True)
    for name, value in two_ranks.gradients(Ranks()).items():
        torch.testing.assert_close(shared[name], value, rtol=1e-9, atol=1e-12)
    for name, (model, data, seen) in two_ranks.cases(tmp_path / "data").items():
        model.fit(data.train, test=data.test)
        ours, theirs = model.history_, pd.read_parquet(tmp_path / f"{name}.parquet")
        assert ours.columns.equals(theirs.columns)
        np.testing.assert_allclose(
            ours.drop(columns="seconds").astype(float), theirs.drop(columns="seconds").astype(float), rtol=2e-4, atol=1e-6, err_msg=name
        )
        weights = torch.load(tmp_path / f"{name}.pt", weights_only=True)
        for key, value in model.module_.state_dict().items():
            torch.testing.assert_close(
                weights[key], value, rtol=2e-3, atol=2e-3, msg=lambda text, key=key, name=name: f"{name} {key}: {text}"
            )
        if seen:
            parts = [json.loads((tmp_path / f"{name}-{rank}.json").read_text()) for rank in range(2)]
            assert sorted(map(tuple, parts[0] + parts[1])) == sorted(seen), "the same bytes, each image once an epoch"
        if model.examples_ is not None:
            examples = pd.read_parquet(tmp_path / f"{name}-examples.parquet")
            assert (examples["final_prediction"] == model.examples_["final_prediction"]).all()
            np.testing.assert_allclose(examples["mean_loss"], model.examples_["mean_loss"], rtol=1e-3)


OPTIONS = ["--n-train", "300", "--labels", "1.0", "--json", "--set", "network=mlp-1x64", "--set", "device=cpu"]
RUN = ["-m", "shattering", "run", *OPTIONS, "--set", "epochs=40", "--set", "batch_size=20", "--set", "checkpoint_every=0.05", "--store"]


def start(store: Path, *options: str) -> Program:
    """Two processes at a run."""
    return Program([*TORCHRUN, *options, *RUN, str(store)], env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def running(launcher: Program, store: Path, but: Collection[int] = ()) -> list[psutil.Process]:
    """Both processes of a run, some way into it: after the first checkpoint that they have written."""
    deadline = time.monotonic() + 600
    while True:
        assert launcher.poll() is None
        assert time.monotonic() < deadline
        found = [child for child in psutil.Process(launcher.pid).children() if child.pid not in but]
        written = [path.stat().st_mtime for path in store.glob("*/checkpoint.pt")]
        if len(found) == 2 and written and written[0] > found[0].create_time():
            return found
        time.sleep(0.02)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The run by two processes, uninterrupted."""
    store = tmp_path_factory.mktemp("whole")
    assert start(store).wait(600) == 0
    return Store(store).runs()[0]


def check(store: Path, whole) -> None:
    (done,) = Store(store).runs()
    assert done.run_id == whole.run_id
    assert (done.provenance["processes"], done.provenance["resumed"], whole.provenance["resumed"]) == (2, True, False)
    ours, theirs = (run.history.drop(columns="seconds") for run in (done, whole))
    np.testing.assert_allclose(ours.pop("train_loss"), theirs.pop("train_loss"), rtol=1e-6)  # of two processes, added up in parts
    pd.testing.assert_frame_equal(ours, theirs, check_exact=True)
    assert done.result == whole.result
    assert not (done.folder / "checkpoint.pt").exists()


def test_after_a_process_is_killed_torchrun_restarts_all_and_they_resume(tmp_path, whole):
    launcher = start(tmp_path, "--max-restarts", "2")
    first = running(launcher, tmp_path)
    first[1].kill()
    second = running(launcher, tmp_path, [process.pid for process in first])
    second[0].kill()
    assert launcher.wait(600) == 0
    check(tmp_path, whole)


def test_after_the_launcher_is_killed_the_next_call_resumes(tmp_path, whole):
    launcher = start(tmp_path)
    orphans = running(launcher, tmp_path)
    launcher.kill()
    launcher.wait()
    _, alive = psutil.wait_procs(orphans, timeout=120)
    assert not alive, "they end by themselves"
    assert Store(tmp_path).runs()[0].status == "interrupted"
    assert start(tmp_path).wait(600) == 0
    check(tmp_path, whole)


def test_what_an_earlier_start_has_left_in_the_store_is_not_taken_for_an_answer():
    store = dist.HashStore()  # type: ignore[attr-defined]  # the stub lacks it
    for _ in range(3):
        with ThreadPoolExecutor(3) as pool:
            parts = list(pool.map(lambda rank: _fresh(store, rank, 3), (2, 1, 0)))
        assert not parts[0].check(["address"])
        parts[0].set("address", "here")
        assert [part.get("address") for part in parts] == [b"here"] * 3
        store.set("greeting/1", "of one that died before it was answered")


@pytest.mark.parametrize(
    ("params", "refused"),
    [
        ({"network": "mlp-2x16"}, False),
        ({"network": "mlp-2x16", "dropout": 0.5}, True),
        ({"network": "inception"}, False),
        ({"network": "inception", "sync_batch_norm": False}, True),
    ],
)
def test_another_number_of_processes_may_go_on_where_the_result_is_the_same(tmp_path, monkeypatch, params, refused):
    split, path = make_split(n=8, shape=(1, 8, 8)), tmp_path / "c.pt"
    common = {"batch_size": 4, "device": "cpu", "checkpoint_every": 0}
    save = checkpoint.save_checkpoint
    with monkeypatch.context() as m:
        m.setattr(checkpoint, "save_checkpoint", lambda *arguments: save(*arguments[:-1], 2))
        NetworkClassifier(epochs=1, **common, **params).fit(split, checkpoint=path)
    content = torch.load(path, weights_only=True)
    assert content["world"] == 2
    again = NetworkClassifier(epochs=1, **common, **params)
    if refused:
        with pytest.raises(InputError, match=r"is of 2 processes and this training has 1, expected 2: what batch normalization or dropout"):
            again.fit(split, checkpoint=path)
    else:
        assert len(again.fit(split, checkpoint=path).history_) == 1


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"WORLD_SIZE": "x"}, "WORLD_SIZE is 'x', expected a whole number of at least 1"),
        ({"WORLD_SIZE": "0"}, "WORLD_SIZE is '0', expected a whole number of at least 1"),
        ({"RANK": "abc"}, "RANK is 'abc', expected a whole number of at least 0"),
        ({"WORLD_SIZE": "2"}, "WORLD_SIZE is 2 in an environment without RANK, expected both, as torchrun sets them"),
        ({"WORLD_SIZE": "2", "RANK": "2", "MASTER_ADDR": "here", "MASTER_PORT": "1"}, "RANK is 2 where WORLD_SIZE is 2, expected less"),
    ],
)
def test_an_environment_that_torchrun_does_not_make(tmp_path, monkeypatch, environment, message):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=message):
        run(RunSpec("digits", n_train=50, n_test=50, params={"epochs": 1}), Store(tmp_path))
    assert not any(tmp_path.glob("*/spec.json"))


def test_sweeps_are_not_for_torchrun(tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match="sweep was started by torchrun in 2 processes, expected one"):
        sweep([], Store(tmp_path))
