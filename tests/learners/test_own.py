import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.neighbors import KNeighborsClassifier

from shattering import RunSpec, Store, load_dataset, randomization_test, run
from shattering.data.split import Split
from shattering.learners import MODELS
from shattering.learners.kernel import KernelInterpolatorClassifier
from shattering.learners.network import NetworkClassifier
from shattering.learners.on_splits import fit_split, predict_split
from shattering.learners.own import FitRecord, OwnModel, epochs_of, record_of, traits

OURS = ("network", "network-regressor", "kernel", "random-conv", "random-conv-kernel", "relu", "deep-relu")


class Misleading(ClassifierMixin, BaseEstimator):
    """Has every attribute that our models have, and means something else by each."""

    takes_splits = True
    not_identity = "all of it"
    later = 3
    files = 3.5

    def __init__(self, epochs="many"):
        self.epochs = epochs

    def fit(self, X, y):
        self.inner_ = KNeighborsClassifier(1).fit(X, y)
        self.train_predictions_ = True
        self.history_ = {"loss": [1, 2]}
        self.summary_ = self.diverged_ = self.examples_ = "yes"
        self.n_parameters_ = self.n_iter_ = [3]
        self.epochs_to_fit_ = self.train_top5_accuracy_ = self.device_ = object()
        return self

    def predict(self, X):
        return self.inner_.predict(X)

    def logits(self, X):
        raise AssertionError("it was taken for a network")

    save = load = check_params = plan = record = logits


def test_nothing_is_read_from_anyone_elses_estimator_by_its_name(tmp_path):
    generator = np.random.default_rng(0)
    X, y = generator.normal(size=(60, 3)).astype(np.float32), np.arange(60) % 2
    test = randomization_test(Misleading(), (X, y), randomizations=["permuted-labels"], n_permutations=2, store=tmp_path, budget="60s")
    assert [repeat.status for repeat in test.repeats] == ["done"] * 3
    original = test.original.runs[0]
    assert original.result["train_accuracy"] == 1
    assert [original.result[name] for name in ("n_parameters", "epochs", "epochs_to_fit", "diverged")] == [None, None, None, False]
    assert original.history.empty
    assert not list(tmp_path.rglob("model.safetensors"))
    assert record_of(Misleading().fit(X, y)).summary == {}
    assert epochs_of(Misleading()) is None
    assert traits(Misleading) is traits(Misleading()) is OwnModel


def test_ours_say_what_they_have():
    assert {name for name, model in MODELS.items() if isinstance(model, OwnModel)} == set(OURS)
    data = load_dataset("digits", n_train=60, n_test=10)
    net = fit_split(NetworkClassifier("mlp-1x8", epochs=2), data.train)
    record = record_of(net)
    assert (record.epochs, len(record.history), record.n_parameters) == (2, 2, net.n_parameters_)
    assert epochs_of(net) == 2
    assert record_of(fit_split(KernelInterpolatorClassifier(gamma=0.05), data.train)).summary["norm"] > 0


class Contrary(KernelInterpolatorClassifier):
    """A user's own: every answer is turned into the next class."""

    def predict(self, X):
        return (super().predict(X) + 1) % 10


class Shuffled(KernelInterpolatorClassifier):
    """A user's own: fitted to the examples in another order."""

    def fit(self, X, y):
        return super().fit(X[::-1], y[::-1])


@pytest.mark.parametrize(("model", "accuracy"), [(KernelInterpolatorClassifier, 1.0), (Contrary, 0.0), (Shuffled, 1.0)])
def test_a_users_subclass_of_ours_is_asked_what_it_predicts(model, accuracy):
    split = load_dataset("digits", n_train=60, n_test=10).train
    fitted = fit_split(model(gamma=0.05), split)
    assert (predict_split(fitted, split, fitted=True) == split.labels.numpy()).mean() == accuracy
    assert record_of(fitted).summary["norm"] > 0


class Net(NetworkClassifier):
    """A user's own network model."""

    def predict(self, X):
        return np.zeros_like(super().predict(X))


def test_a_users_subclass_of_a_network_has_its_history_and_its_own_predictions(tmp_path):
    data = load_dataset("digits", n_train=60, n_test=30)
    test = randomization_test(Net("mlp-1x8", epochs=2), data, randomizations=["permuted-labels"], n_permutations=1, store=tmp_path)
    original = test.original.runs[0]
    assert original.history["epoch"].tolist() == [1, 2]
    assert original.result["test_accuracy"] == float((data.test.labels == 0).double().mean())
    assert (original.folder / "model.safetensors").exists()


def test_a_record_says_nothing_unless_told():
    assert FitRecord().history.empty
    split = Split(torch.rand(20, 2), torch.arange(20) % 2, ("a", "b"))
    assert record_of(fit_split(KNeighborsClassifier(1), split)).predicted is None


def test_the_parameters_that_a_run_leaves_out_are_those_of_our_models_alone(tmp_path):
    spec = RunSpec("digits", n_train=60, n_test=20, model="nearest-neighbors", params={"n_neighbors": 1, "n_jobs": 1})
    assert spec.hyperparameters() == {"n_neighbors": 1}
    assert run(spec, Store(tmp_path)).result["train_accuracy"] == 1
    pd.testing.assert_frame_equal(Store(tmp_path).runs()[0].history.drop(columns="seconds"), pd.DataFrame({"epoch": []}), check_dtype=False)
