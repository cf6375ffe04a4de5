"""A score is a finite number, or the run fails with a sentence that says which scorer, where and why."""

import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.model_selection import KFold

from shattering import InputError, Randomization, RunSpec, Store, randomization_test, run
from shattering.data.dataset import Dataset
from shattering.data.split import Split

NAMES = {"model": "object:Model:1", "dataset": "object:data:2"}


def data_of(train, test) -> Dataset:
    def split(labels):
        features = torch.from_numpy(np.random.default_rng(len(labels)).normal(size=(len(labels), 2)).astype(np.float32))
        return Split(features, torch.tensor(labels), ("sick", "healthy"))

    return Dataset(split(train), split(test))


def stored(tmp_path, model, data, scoring, **fields):
    spec = RunSpec(**NAMES, scoring=scoring, **fields)
    return run(spec, Store(tmp_path), objects={NAMES["model"]: model, NAMES["dataset"]: data})


class Odd(ClassifierMixin, BaseEstimator):
    """Scores of examples that are no numbers."""

    def __init__(self, probability=float("nan")):
        self.probability = probability

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        return np.full(len(X), self.classes_[0])

    def predict_proba(self, X):
        return np.full((len(X), len(self.classes_)), self.probability)


@pytest.mark.filterwarnings("ignore:Only one class is present")
def test_a_scorer_without_a_value_fails_the_run_in_one_sentence(tmp_path):
    one_class = data_of([0, 1] * 5, [1, 1, 1])
    found = r"^scoring 'roc_auc' has no value on the test split: .*; all 3 labels there are 'healthy', expected different ones: "
    with pytest.raises(InputError, match=found + "take a larger test split, or cv=$") as caught:
        stored(tmp_path, DummyClassifier(), one_class, "roc_auc")
    assert "\n" not in str(caught.value)
    (failed,) = Store(tmp_path).runs()
    assert failed.status == "failed"
    assert "scoring 'roc_auc' has no value on the test split" in failed.error


@pytest.mark.filterwarnings("ignore:Only one class is present", "ignore:R.2 score is not well-defined")
def test_a_fold_without_a_score_comes_with_a_remedy():
    X, y = np.arange(12.0)[:, None], np.arange(12) % 2
    remedy = "expected different ones: take fewer folds, or folds that are stratified or shuffled$"
    with pytest.raises(InputError, match=f"no value on fold 0 of 6: .*all 2 labels there are '0', {remedy}"):
        randomization_test(DummyClassifier(), X, np.sort(y), cv=KFold(6), scoring="roc_auc", n_permutations=1)
    with pytest.raises(InputError, match=f"no value on fold 0 of 12: .*all 1 targets there are equal, {remedy}"):
        randomization_test(DummyRegressor(), X, X[:, 0] / 7, cv=12, n_permutations=1)


def test_a_scorer_that_raises_fails_the_run_in_one_sentence(tmp_path):
    with pytest.raises(InputError, match=r"^scoring 'roc_auc' has no value on the test split: .*NaN") as caught:
        stored(tmp_path, Odd(), data_of([0, 1] * 5, [0, 1]), "roc_auc")
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore:Only one class is present")
def test_true_labels_of_a_randomized_fold_may_have_no_score_where_its_own_have_one(tmp_path):
    """Folds are stratified by the labels that are trained on; what the true ones would have scored there is beside the point."""
    data = data_of([0] * 16 + [1] * 4, [0, 1])
    permuted = Randomization(1, label_mode="permute")
    runs = [
        stored(tmp_path, DummyClassifier(strategy="prior"), data, "roc_auc", folds=4, fold=fold, randomization=permuted, noise_seed=seed)
        for fold in range(4)
        for seed in range(3)
    ]
    assert {r.status for r in runs} == {"done"}
    assert {r.result["test_score_on_corrupted_labels"] for r in runs} == {0.5}
    assert {r.result["test_score"] for r in runs} == {0.5, None}
    original = stored(tmp_path, DummyClassifier(strategy="prior"), data, "roc_auc", folds=4, fold=0)
    assert original.result["test_score"] == original.result["test_score_on_corrupted_labels"] == 0.5
