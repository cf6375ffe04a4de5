"""Permutations that are stored together: their scores are those of runs; failures, interruptions and damage."""

import json
import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.neighbors import KNeighborsClassifier

from shattering import InputError, Randomization, RunSpec, Store, load_dataset, run, sweep
from shattering.cli import main
from shattering.identity.names import name_of
from shattering.runs.permutations import PermutationsSpec
from shattering.runs.permuted import scores_of
from shattering.runs.reading import spec_from_json

PERMUTED = Randomization(labels=1, label_mode="permute")
SEEDS = (5, 3, 8)


def given(model, n=40):
    rng = np.random.default_rng(0)
    data = load_dataset((rng.normal(size=(n, 3)), np.arange(n) % 2), hold_out=True)
    return {name_of("model", "1"): model, name_of("data", data.fingerprint()[:16]): data}


def spec_for(by_name, **fields):
    model, data = by_name
    return PermutationsSpec(RunSpec(data, model=model, randomization=PERMUTED, data_seed=0, **fields), SEEDS)


@pytest.mark.parametrize("fields", [{}, {"scoring": "f1"}, {"folds": 3, "fold": 0}, {"folds": 3, "fold": 0, "scoring": "roc_auc"}])
def test_scores_are_those_of_runs(fields, tmp_path):
    by_name = given(KNeighborsClassifier(3))
    spec, store = spec_for(by_name, **fields), Store(tmp_path)
    rows = scores_of(run(spec, store, objects=by_name))
    assert [row["seed"] for row in rows] == list(SEEDS)
    name = f"test_{'score' if 'scoring' in fields else 'accuracy'}_on_corrupted_labels"
    for row in rows:
        folds = range(3) if "folds" in fields else (None,)
        results = [run(replace(spec.at(row["seed"]), fold=fold), store, objects=by_name).result for fold in folds]
        assert row["score"] == pytest.approx(np.mean([result[name] for result in results]), abs=1e-15)
        assert row["error"] is None


class Draws(ClassifierMixin, BaseEstimator):
    """Draws from the global generators, as networks nested in a pipeline do."""

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        self.weights_ = np.random.normal(size=X.shape[1]) + torch.randn(X.shape[1]).numpy() + random.random()  # noqa: NPY002
        return self

    def predict(self, X):
        return self.classes_[(X @ self.weights_ > 0).astype(int)]


def test_fits_that_draw_from_global_generators_follow_the_seed(tmp_path):
    by_name = given(Draws())
    spec, store = spec_for(by_name, folds=3, fold=0), Store(tmp_path / "together")
    rows = scores_of(run(spec, store, objects=by_name))
    for row in rows:
        random.random()  # where the generators are does not matter
        results = [run(replace(spec.at(row["seed"]), fold=fold), Store(tmp_path / "alone"), objects=by_name).result for fold in range(3)]
        assert row["score"] == pytest.approx(np.mean([result["test_accuracy_on_corrupted_labels"] for result in results]), abs=1e-15)
    assert len({row["score"] for row in rows}) > 1


class Fails(ClassifierMixin, BaseEstimator):
    """Fails where the first label is 1, or is interrupted."""

    def __init__(self, with_=RuntimeError):
        self.with_ = with_

    def fit(self, X, y):
        if y[0] == 1:
            raise self.with_("not these labels")
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        return np.zeros(len(X), dtype=int)


def test_a_copy_that_fails_has_an_error_and_no_score(tmp_path):
    by_name = given(Fails())
    rows = scores_of(run(spec := spec_for(by_name), Store(tmp_path), objects=by_name))
    assert {row["error"] for row in rows} == {None, "RuntimeError: not these labels"}
    assert all((row["score"] is None) == (row["error"] is not None) for row in rows)
    failed = sum(row["error"] is not None for row in rows)
    assert Store(tmp_path).of(spec).result["n_failed"] == failed


def test_an_interrupted_batch_keeps_its_scores_and_goes_on_from_there(tmp_path, capsys):
    by_name = given(KNeighborsClassifier(3))
    spec, store, seen = spec_for(by_name), Store(tmp_path), []

    def interrupt(row):
        seen.append(row["seed"])
        if len(seen) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(spec, store, on_epoch=interrupt, objects=by_name)
    stored = store.of(spec)
    kept = scores_of(stored)
    assert (stored.status, [row["seed"] for row in kept]) == ("interrupted", [5, 3])
    done = run(spec, store, on_epoch=lambda row: seen.append(row["permutation"]), objects=by_name)
    assert seen == [5, 3, 3], "the third alone"
    assert [row["score"] for row in scores_of(done)][:2] == [row["score"] for row in kept]
    assert sorted(file.name for file in done.folder.iterdir()) == ["lock", "provenance.json", "result.json", "spec.json", "table.parquet"]
    assert main(["status", "--store", str(tmp_path)]) == 0
    assert "done         data-model-labels1-s5-3permutations" in capsys.readouterr().out
    assert main(["show", done.run_id, "--store", str(tmp_path)]) == 0
    assert "n_permutations" in capsys.readouterr().out
    assert Store(tmp_path).runs() == [], "it is no run of a model"


def test_a_batch_is_swept_in_a_process_of_its_own(tmp_path):
    by_name = given(KNeighborsClassifier(3))
    here = run(spec_for(by_name), Store(tmp_path / "here"), objects=by_name)
    (there,) = sweep([spec_for(by_name)], Store(tmp_path / "there"), objects=by_name)
    assert [row["score"] for row in scores_of(there)] == [row["score"] for row in scores_of(here)]


def test_identity_and_json():
    spec = PermutationsSpec(RunSpec("digits", model="random-forest", randomization=PERMUTED, seed=2, folds=3, fold=0), SEEDS)
    assert spec_from_json(json.loads(json.dumps(spec.to_json()))) == spec
    other_fold = PermutationsSpec(replace(spec.fits, fold=2), SEEDS)
    assert other_fold.run_id == spec.run_id
    assert PermutationsSpec(replace(spec.fits, seed=9, data_seed=2), SEEDS).run_id == spec.run_id
    others = [PermutationsSpec(replace(spec.fits, seed=9), SEEDS), replace(spec, seeds=SEEDS[:2]), replace(spec, seeds=SEEDS[::-1])]
    assert len({spec.run_id, *(one.run_id for one in others)}) == 4
    for bad in ((), (1, 1)):
        with pytest.raises(InputError, match="seeds are"):
            PermutationsSpec(spec.fits, bad)
    with pytest.raises(InputError, match="seeds is a NoneType"):
        spec_from_json({"fits": {}})


def test_damage(tmp_path):
    by_name = given(KNeighborsClassifier(3))
    spec = spec_for(by_name)
    done = run(spec, Store(tmp_path), objects=by_name)
    done.table.drop(columns="score").to_parquet(done.folder / "table.parquet")
    with pytest.raises(InputError, match="it has no column 'score'"):
        scores_of(Store(tmp_path).of(spec))
    (done.folder / "result.json").unlink()
    (done.folder / "checkpoint.json").write_text('{"rows": [{"seed": 1}]}')
    assert scores_of(Store(tmp_path).of(spec)) == []
    with pytest.raises(InputError, match=r"checkpoint\.json is not readable"):
        run(spec, Store(tmp_path), objects=by_name)
