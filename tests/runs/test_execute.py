import errno
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from filelock import FileLock
from sklearn.base import is_classifier
from sklearn.linear_model import LinearRegression
from sklearn.neighbors import KNeighborsClassifier

from shattering import InputError, Randomization, RunSpec, Store, load_dataset, randomize, run
from shattering.identity.names import name_of
from shattering.learners import MODELS
from shattering.runs import store as store_module
from shattering.runs.fit import evaluate
from shattering.runs.store import write_json
from shattering.system.files import write_aside
from tests.programs import Program, run_program

PARAMS = {"epochs": 3, "batch_size": 50, "device": "cpu", "checkpoint_every": 0}
SPEC = RunSpec("digits", n_train=100, n_test=50, randomization=Randomization(0.5, "shuffled"), params=PARAMS, seed=2)


class Stop(Exception):
    pass


def test_a_run_stores_what_was_run_and_what_came_of_it(tmp_path):
    store = Store(tmp_path)
    done = run(SPEC, store)
    assert done.status == "done"
    assert {p.name for p in done.folder.iterdir()} == {
        *("spec.json", "result.json", "provenance.json", "history.parquet", "model.safetensors", "examples.png", "lock")
    }
    assert store.get(SPEC).spec == SPEC
    result = done.result
    data = randomize(load_dataset("digits", 100, 50, seed=2), SPEC.randomization, 2)
    model = done.model()
    assert result["train_accuracy"] == model.score(data.train)
    assert result["test_accuracy"] == model.score(data.test)
    corrupted = SPEC.randomization.corrupt(data.test, 2, "test").numpy()
    assert result["test_accuracy_on_corrupted_labels"] == (model.predict(data.test) == corrupted).mean()
    assert result["changed_fraction"] == (data.train.labels != data.train.true_labels).double().mean()
    assert result["changed_fraction_test"] == (corrupted != data.test.labels.numpy()).mean()
    assert done.history["epoch"].tolist() == [1, 2, 3]
    assert len(done.provenance["epoch_seconds"]) == 3
    assert done.provenance["threads"] == torch.get_num_threads()
    assert done.provenance["versions"]["torch"] == torch.__version__
    assert done.provenance["dataset_fingerprint"] == load_dataset("digits", 100, 50, seed=2).fingerprint()


def test_a_run_is_executed_once(tmp_path):
    first = run(SPEC, Store(tmp_path))
    stamp = (first.folder / "result.json").stat().st_mtime_ns
    again = run(replace(SPEC, params={**PARAMS, "checkpoint_every": 5}), Store(tmp_path), on_epoch=lambda _: pytest.fail("it ran again"))
    assert again.folder == first.folder
    assert (first.folder / "result.json").stat().st_mtime_ns == stamp


def test_the_same_run_has_the_same_bytes(tmp_path):
    one, two = run(SPEC, Store(tmp_path / "a")), run(SPEC, Store(tmp_path / "b"))
    for name in ("history.parquet", "model.safetensors", "result.json", "examples.png"):
        assert (one.folder / name).read_bytes() == (two.folder / name).read_bytes(), name


@pytest.mark.parametrize(
    ("model", "params", "stages"),
    [
        ("kernel", {"gamma": 0.05}, {"gram", "factorize", "solve"}),
        ("random-conv", {"n_filters": 4, "ridge": 0.1, "patch": 3}, {"gram", "factorize", "solve"}),
        ("relu", {}, {"survey", "candidates", "turn", "solve", "check"}),
        ("network", PARAMS, None),
    ],
)
def test_what_differs_from_time_to_time_is_in_the_provenance_alone(tmp_path, model, params, stages):
    runs = [run(RunSpec("digits", 60, 30, model=model, params=params), Store(tmp_path / name)) for name in ("a", "b")]
    one, two = ((done.folder / "result.json").read_bytes() for done in runs)
    assert one == two
    assert "second" not in one.decode()
    assert set(runs[0].provenance.get("timings", {})) == (stages or set())
    assert all(seconds >= 0 for seconds in runs[0].provenance.get("timings", {}).values())


def test_test_accuracies_along_the_way_are_against_true_labels_in_folds_too(tmp_path):
    """Folds are cut from randomized data, so that the labels of their test splits are randomized."""
    permuted = Randomization(0.5, label_mode="permute")
    done = run(RunSpec("digits", 200, randomization=permuted, params=PARAMS, folds=4, fold=0), Store(tmp_path))
    last, result = done.history.iloc[-1], done.result
    assert result["test_accuracy"] != result["test_accuracy_on_corrupted_labels"]
    assert last["test_accuracy"] == pytest.approx(result["test_accuracy"])
    assert last["test_top5_accuracy"] == pytest.approx(result["test_top5_accuracy"])
    assert result["best_test_accuracy"] == done.history["test_accuracy"].max()


SMALL = {
    "random-conv": {"n_filters": 64, "patch": 3},
    "random-conv-kernel": {"n_filters": 64, "patch": 3},
    "random-forest": {"n_estimators": 5},
    "network": PARAMS,
}


@pytest.mark.parametrize("model", sorted(name for name, model in MODELS.items() if is_classifier(model)))
def test_what_is_stored_of_a_fit_says_nothing_of_when_where_and_how_long(tmp_path, monkeypatch, model):
    """The same data in two places, fitted from two folders, give the same bytes."""
    found = []
    for place in ("a", "b"):
        (tmp_path / place).mkdir()
        monkeypatch.chdir(tmp_path / place)
        load_dataset("digits", n_train=60, n_test=30).to_npz(tmp_path / place / "mine.npz")
        data = "mine.npz" if place == "a" else str(tmp_path / place / "mine.npz")
        done = run(RunSpec(data, n_train=50, model=model, params=SMALL.get(model, {})), Store(tmp_path / f"store-{place}"))
        found.append({path.name: path.read_bytes() for path in done.folder.iterdir()})
    one, other = found
    assert one.keys() == other.keys()
    same = [name for name in one if name not in ("spec.json", "provenance.json")]
    assert "result.json" in same
    for name in same:
        assert one[name] == other[name], name


def test_a_seed_may_be_large(tmp_path):
    assert run(replace(SPEC, seed=10**20), Store(tmp_path)).status == "done"


def test_seeds_of_data_and_noise_are_separate(tmp_path):
    def examples(**seeds):
        spec = replace(SPEC, **seeds)
        return run(spec, Store(tmp_path)).result["examples"]

    base, other_noise, other_data = examples(), examples(noise_seed=9), examples(data_seed=9)
    assert [e["id"] for e in base] == [e["id"] for e in other_noise]
    assert [e["label"] for e in base] != [e["label"] for e in other_noise]
    assert [e["id"] for e in base] != [e["id"] for e in other_data]


@pytest.mark.parametrize("model", ["random-forest", "nearest-neighbors"])
def test_any_estimator_can_be_run(tmp_path, model):
    done = run(RunSpec("digits", n_train=200, randomization=Randomization(1.0), model=model), Store(tmp_path))
    assert done.status == "done"
    assert done.history.empty
    assert 0 < done.result["test_accuracy"] < 0.3
    if model == "random-forest":
        assert done.result["interpolated"]
    with pytest.raises(InputError, match=r"has no model.safetensors, expected a run of a network"):
        done.model()


def test_labels_are_unchanged_on_resume(tmp_path):
    def stop(row):
        if row["epoch"] == 2:
            raise Stop

    whole = run(SPEC, Store(tmp_path / "whole"))
    with pytest.raises(Stop):
        run(SPEC, Store(tmp_path / "cut"), on_epoch=stop)
    seen = []
    resumed = run(SPEC, Store(tmp_path / "cut"), on_epoch=lambda row: seen.append(row["epoch"]))
    assert seen == [3]
    assert resumed.result == whole.result
    assert not (resumed.folder / "checkpoint.pt").exists()
    assert not (resumed.folder / "failed.json").exists()


def test_the_time_of_a_resumed_fit_has_its_earlier_epochs(tmp_path):
    def stop(row):
        if row["epoch"] == 2:
            raise Stop

    with pytest.raises(Stop):
        run(SPEC, Store(tmp_path), on_epoch=stop)
    (path,) = tmp_path.glob("*/checkpoint.pt")
    content = torch.load(path, weights_only=True)
    for row in content["training"]["history"]:
        row["seconds"] = 100.0
    torch.save(content, path)
    provenance = run(SPEC, Store(tmp_path)).provenance
    assert provenance["fit_seconds"] == sum(provenance["epoch_seconds"]) > 200
    assert provenance["seconds"] < 100, "that of the last attempt"


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no kill -9 on this system")
def test_kill_9_in_the_middle_then_the_same_command(tmp_path):
    options = ["--n-train", "300", "--labels", "1.0", "--set", "epochs=40", "--set", "batch_size=10", "--set", "checkpoint_every=0"]
    command = [sys.executable, "-m", "shattering", "run", *options, "--set", "device=cpu", "--json", "--store"]
    process = Program([*command, str(tmp_path / "killed")], stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("killed/*/checkpoint.pt")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    time.sleep(0.2)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    (killed,) = Store(tmp_path / "killed").runs()
    assert killed.status == "interrupted"
    before = len(torch.load(killed.folder / "checkpoint.pt", weights_only=True)["training"]["history"])
    assert 0 < before < 40

    outputs = [run_program([*command, str(tmp_path / name)], check=True) for name in ("killed", "whole")]
    resumed, whole = (Store(tmp_path / name).runs()[0] for name in ("killed", "whole"))
    for name in ("history.parquet", "model.safetensors", "result.json"):
        assert (resumed.folder / name).read_bytes() == (whole.folder / name).read_bytes(), name
    assert json.loads(outputs[0].stdout)["result"] == json.loads(outputs[1].stdout)["result"]


def test_a_full_disk_is_one_sentence_and_harms_nothing(tmp_path, monkeypatch):
    store = Store(tmp_path)
    kept = run(replace(SPEC, seed=0), store)
    before = {p.name: p.read_bytes() for p in kept.folder.iterdir()}
    with monkeypatch.context() as m:

        def full(*_, **__):
            raise OSError(errno.ENOSPC, "No space left on device")

        m.setattr(pd.DataFrame, "to_parquet", full)
        with pytest.raises(OSError, match=r"no space left to write .*history.parquet; free some and give the same command again"):
            run(SPEC, store)
    assert store.get(SPEC).status == "failed"
    assert "no space left" in store.get(SPEC).error
    assert {p.name: p.read_bytes() for p in kept.folder.iterdir()} == before
    assert run(SPEC, store).status == "done"
    assert not list(tmp_path.rglob("*.tmp"))


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_writing_aside_to_a_device_that_is_full(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"old": 1})
    with pytest.raises(OSError, match="no space left to write"):
        write_aside(path, lambda _: Path("/dev/full").write_text("x" * 10**6))
    assert json.loads(path.read_text()) == {"old": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_a_failed_run_says_why(tmp_path):
    store, bad = Store(tmp_path), RunSpec("digits", n_train=20, model="nearest-neighbors", params={"n_neighbors": 30})
    with pytest.raises(ValueError, match="n_neighbors = 30"):
        run(bad, store)
    assert store.get(bad).status == "failed"
    assert "n_neighbors = 30" in store.get(bad).error
    assert "Traceback" in store.get(bad).traceback


def test_input_that_is_bad_before_anything_is_trained_leaves_the_store_as_it_was(tmp_path):
    bad, store = RunSpec("digits", n_train=5000), Store(tmp_path / "runs")
    with pytest.raises(InputError, match="n_train is 5000, expected 1…1297"):
        run(bad, store)
    assert not (tmp_path / "runs").exists()
    run(replace(SPEC, seed=0), store)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError, match="model Line is a regressor"):
        run(replace(bad, n_train=50, model=name_of("Line", "0")), store, objects={name_of("Line", "0"): Line()})
    assert sorted(tmp_path.rglob("*")) == before
    store.fail(bad, "as it was")
    with pytest.raises(InputError, match="n_train is 5000"):
        run(bad, store)
    assert (store.get(bad).status, store.get(bad).error) == ("failed", "as it was")
    again = name_of("Again", "0")
    with pytest.raises(InputError, match="n_train is 5000"):  # of another run, in the middle of this one's training
        run(replace(SPEC, model=again, params={}), store, objects={again: Again(bad)})
    assert [found.status for found in store.runs() if found.spec.model == again] == ["failed"]


class Line(LinearRegression):
    """A regressor."""


class Again(KNeighborsClassifier):
    """Evaluates another specification within `fit`."""

    def __init__(self, spec=None):
        super().__init__()
        self.spec = spec

    def fit(self, X, y):
        evaluate(self.spec)


def test_a_run_whose_folder_is_removed_while_it_is_waited_for_is_executed(tmp_path, monkeypatch):
    """As happens where the input was bad for the process before, and is no more."""
    removed = []

    class Lock(FileLock):
        def _acquire(self):  # one look; `acquire` looks again and again
            if not removed:
                removed.append(os.rmdir(tmp_path / SPEC.folder_name))
            super()._acquire()

    monkeypatch.setattr(store_module, "FileLock", Lock)
    assert run(SPEC, Store(tmp_path)).status == "done"


def test_runs_of_a_dataset_given_by_path(tmp_path):
    path = load_dataset("digits", n_train=60, n_test=30).to_npz(tmp_path / "mine.npz")
    spec = RunSpec(str(path), params=PARAMS)
    done = run(spec, Store(tmp_path / "store"))
    assert done.result["dataset"] == "mine"
    moved = path.rename(tmp_path / "elsewhere.npz")
    assert run(replace(spec, dataset=str(moved)), Store(tmp_path / "store")).folder == done.folder
    assert Store(tmp_path / "store").runs()[0].status == "done", "it can be listed though its data have moved"


def test_fewer_examples_than_classes(tmp_path):
    with pytest.raises(InputError, match="n_train is 5, expected at least 10, an example of each class"):
        run(replace(SPEC, n_train=5), Store(tmp_path))


def test_examples_show_what_the_model_was_given(tmp_path):
    from PIL import Image

    done = run(SPEC, Store(tmp_path))
    data = randomize(load_dataset("digits", 100, 50, seed=2), SPEC.randomization, 2)
    strip = np.asarray(Image.open(done.folder / "examples.png"))
    assert strip.shape == (8, 80)
    for place, example in enumerate(done.result["examples"]):
        row = int((data.train.ids == example["id"]).nonzero())
        assert (strip[:, 8 * place : 8 * place + 8] == data.train.inputs[row, 0].numpy()).all()
        assert (example["label"], example["true_label"]) == (str(int(data.train.labels[row])), str(place))


def test_a_kernel_run_keeps_its_norms_residual_and_validation_accuracy(tmp_path):
    spec = RunSpec("digits", n_train=200, n_test=100, n_validation=50, model="kernel", params={"gamma": 0.05})
    result = run(spec, Store(tmp_path)).result
    assert result["interpolated"]
    assert result["train_accuracy"] == 1
    assert result["residual"] <= 1e-6
    assert result["norm"] == pytest.approx(sum(v**2 for v in result["norms"]) ** 0.5)
    assert result["condition"] > 1
    assert result["solver_memory"] > 200 * 200 * 2
    assert 0.5 < result["validation_accuracy"] <= 1
