"""Code of users that changes what it is given: its results are those of code that does not, and nothing else is changed."""

import os
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.neighbors import KNeighborsClassifier
from torch import nn

from shattering import Dataset, InputError, NetworkClassifier, RunSpec, Store, dataset_from_arrays, load_dataset, randomization_test, run
from shattering.identity.names import name_of
from shattering.learners.adapt import as_model
from shattering.learners.kernel import KernelInterpolatorClassifier
from shattering.learners.on_splits import fit_split, predict_split, score_split

DIGITS = load_dataset("digits", n_train=120, n_test=60)
RECIPE = {"epochs": 3, "batch_size": 30, "learning_rate": 0.05, "standardize": "none"}


class Net(nn.Module):
    def __init__(self, in_place: bool):
        super().__init__()
        self.in_place, self.body = in_place, nn.Sequential(nn.Flatten(), nn.Linear(64, 10))

    def forward(self, x):
        return self.body(x.sub_(1) if self.in_place else x - 1)


class Clean(ClassifierMixin, BaseEstimator):
    """The nearest neighbour."""

    def fit(self, X, y):
        self.X_, self.y_ = X.copy(), y.copy()
        self.classes_ = np.unique(y)
        self.spoil(X, y)
        return self

    def predict(self, X):
        nearest = np.abs(self.X_[None] - X[:, None]).sum(2).argmin(1)
        self.spoil(X)
        return self.y_[nearest]

    def spoil(self, *arrays):
        pass


class Spoiling(Clean):
    def spoil(self, *arrays):
        for array in arrays:
            array[:] = 0


def clean(split, seed):
    images, labels = split.inputs.float().clone(), split.labels.clone()
    return lambda other: labels[torch.cdist(other.inputs.flatten(1).float(), images.flatten(1)).argmin(1)]


def spoiling(split, seed):
    predict = clean(split, seed)

    def spoil(split):
        for tensor in (split.inputs, split.labels, split.ids, split.true_labels):
            tensor.zero_()
        with pytest.raises(ValueError, match="read-only"):
            split.label_values[:] = 7

    def spoiled(other):
        out = predict(other)
        spoil(other)
        return out

    spoil(split)
    return spoiled


@pytest.mark.parametrize("data", [DIGITS, "table"], ids=["images", "table"])
@pytest.mark.parametrize(("good", "bad"), [(Clean(), Spoiling()), (clean, spoiling)], ids=["estimator", "training function"])
def test_every_draw_is_as_if_nothing_had_been_changed(good, bad, data):
    if data == "table":
        X = DIGITS.train.inputs.flatten(1).double()
        data = dataset_from_arrays(X, DIGITS.train.y + 1, X, DIGITS.train.y + 1)
    before = data.fingerprint()
    scoring = {"scoring": "balanced_accuracy"} if good is not clean else {}
    quick = {"randomizations": ["permuted-labels", "within-class"], "n_permutations": 2, **scoring}
    records = [randomization_test(model, data, **quick).records for model in (good, bad)]
    columns = ["randomization", "status", "train_score", "test_score"]
    assert records[0][columns].equals(records[1][columns])
    assert set(records[0]["status"]) == {"done"}
    assert data.fingerprint() == before


def test_a_module_that_changes_its_input_is_evaluated_on_what_it_was():
    found = [
        NetworkClassifier(lambda *_, in_place=in_place: Net(in_place), **RECIPE).fit(DIGITS.train, test=DIGITS.test)
        for in_place in (False, True)
    ]
    for column in ("train_loss", "test_loss", "test_accuracy", "full_train_accuracy"):
        np.testing.assert_array_equal(found[0].history_[column], found[1].history_[column])
    assert found[1].history_["test_accuracy"].iloc[-1] == found[1].score(DIGITS.test)
    assert torch.equal(found[0].logits(DIGITS.test), found[1].logits(DIGITS.test))
    assert torch.equal(found[1].logits(DIGITS.test), found[1].logits(DIGITS.test))


class Careless(NetworkClassifier):
    def predict(self, X):
        out = super().predict(X)
        X.inputs.zero_()
        return out


def test_a_users_subclass_of_ours_gets_copies():
    before = DIGITS.fingerprint()
    model = fit_split(Careless("mlp-1x8", epochs=1), DIGITS.train)
    assert (predict_split(model, DIGITS.test) == predict_split(model, DIGITS.test)).all()
    assert DIGITS.fingerprint() == before


@pytest.mark.parametrize("model", [KNeighborsClassifier(1), NetworkClassifier("mlp-1x8", epochs=1)], ids=lambda v: type(v).__name__)
def test_a_scorer_may_change_what_it_is_given(model):
    def scorer(estimator, X, y):
        score = (estimator.predict(X) == y).mean()
        y[:] = 0
        if isinstance(X, np.ndarray):
            X[:] = 0
        return score

    before, fitted = DIGITS.fingerprint(), fit_split(model, DIGITS.train)
    first = score_split(scorer, fitted, DIGITS.test, DIGITS.test.labels)
    assert score_split(scorer, fitted, DIGITS.test, DIGITS.test.labels) == first
    assert DIGITS.fingerprint() == before


def test_a_kernel_may_change_what_it_is_given():
    def gaussian(a, b, in_place=False):
        out = np.exp(-0.1 * ((a[:, None] - b[None]) ** 2).sum(2))
        if in_place:
            a[:], b[:] = 0, 0
        return out

    X, y = np.random.default_rng(0).normal(size=(30, 3)), np.arange(30) % 2
    clean, spoiled = (KernelInterpolatorClassifier(kernel).fit(X, y) for kernel in (gaussian, lambda a, b: gaussian(a, b, in_place=True)))
    np.testing.assert_array_equal(clean.decision_function(X), spoiled.decision_function(X))


class Forgetful:
    """A logger that takes what it is told out of what it is given."""

    def start(self, parameters):
        parameters.clear()

    def epoch(self, row):
        row.clear()

    def finish(self, results, picture):
        results.clear()


class Recorder(Forgetful):
    def __init__(self):
        self.rows, self.results = [], {}

    def epoch(self, row):
        self.rows.append(row)

    def finish(self, results, picture):
        self.results = results


def test_loggers_and_callbacks_may_change_their_rows(tmp_path):
    spec = RunSpec("digits", n_train=60, n_test=20, params={"epochs": 2, "network": "mlp-1x8"})
    plain = run(spec, Store(tmp_path / "plain"))
    recorder = Recorder()
    found = run(spec, Store(tmp_path / "spoiled"), on_epoch=lambda row: row.clear(), log=[Forgetful(), recorder, Forgetful()])
    assert found.result == plain.result
    assert (found.history.drop(columns="seconds")).equals(plain.history.drop(columns="seconds"))
    assert [row["epoch"] for row in recorder.rows] == [1, 2]
    assert recorder.results["test_accuracy"] == plain.result["test_accuracy"]


class OneBuffer(torch.utils.data.Dataset):
    """Fills the same tensors for every item."""

    def __init__(self):
        self.image, self.label = torch.zeros(1, 3, 3), torch.zeros((), dtype=torch.int64)

    def __len__(self):
        return 12

    def __getitem__(self, i):
        return self.image.fill_(i / 12), self.label.fill_(i % 2)


def test_a_torch_dataset_may_fill_the_same_tensors_again():
    data = load_dataset(OneBuffer(), seed=0)
    whole = torch.cat([data.train.inputs, data.test.inputs])[:, 0, 0, 0]
    assert sorted(whole.tolist()) == [pytest.approx(i / 12) for i in range(12)]
    assert (data.train.labels == (data.train.inputs[:, 0, 0, 0] * 12).round().long() % 2).all()


def test_tensors_of_the_caller_are_not_those_of_the_dataset():
    x, y = torch.rand(20, 2), torch.arange(20) % 2
    data = dataset_from_arrays(x, y, x, y)
    before = data.fingerprint()
    x.zero_()
    y.zero_()
    assert data.fingerprint() == before


def test_what_changes_the_dataset_that_was_handed_over_is_told():
    mine = Dataset(DIGITS.train.copy(), DIGITS.test.copy())

    def train(split, seed):
        mine.train.inputs.zero_()
        return clean(split, seed)

    with pytest.raises(InputError, match="arrays was changed in place while it was trained on, expected code that changes copies"):
        randomization_test(train, mine, randomizations=["permuted-labels"], n_permutations=1)


def test_data_that_are_kept_for_the_next_run_are_not_trusted_when_they_have_been_changed(tmp_path):
    mine = Dataset(DIGITS.train.copy(), DIGITS.test.copy())
    spec = RunSpec(name_of("mine", "1"), model="nearest-neighbors", params={"n_neighbors": 1})
    first = run(spec, Store(tmp_path / "a"), objects={spec.dataset: mine})
    mine.train.inputs.zero_()
    again = run(spec, Store(tmp_path / "b"), objects={spec.dataset: Dataset(DIGITS.train, DIGITS.test)})
    assert again.result == first.result


def test_a_hyperparameters_does_not_change_the_estimator_that_was_given():
    mine = KNeighborsClassifier(7)
    _, model, _ = as_model(mine, {"n_neighbors": 1})
    assert (mine.n_neighbors, model.n_neighbors) == (7, 1)


def test_a_factory_that_gives_the_same_weights_again_is_told():
    same = cache(lambda *_: nn.Sequential(Net(False)))
    model = NetworkClassifier(same, **RECIPE).fit(DIGITS.train)
    with pytest.raises(InputError, match="gave a module with weights that it had given before"):
        model.fit(DIGITS.train)
    frozen = nn.Linear(64, 64).requires_grad_(False)
    for seed in (0, 1):
        net = NetworkClassifier(lambda *_: nn.Sequential(nn.Flatten(), frozen, nn.Linear(64, 10)), **RECIPE, random_state=seed)
        net.fit(replace(DIGITS.train))


class Leaver(Clean):
    """Changes the working folder, as code that writes files of its own does."""

    def __init__(self, folder=""):
        self.folder = folder

    def spoil(self, *arrays):
        os.chdir(self.folder)


def test_code_that_changes_the_working_folder_has_its_run_stored_where_it_was_asked_for(tmp_path, monkeypatch):
    (tmp_path / "away").mkdir()
    monkeypatch.chdir(tmp_path)
    X = DIGITS.train.inputs.flatten(1).numpy()
    model = Leaver(str(tmp_path / "away"))
    test = randomization_test(model, (X, DIGITS.train.y), randomizations=["permuted-labels"], n_permutations=1, store="runs")
    assert test.p_value == 0.5
    assert not list((tmp_path / "away").iterdir())
    assert all(one.status == "done" for one in Store(tmp_path / "runs").runs())
