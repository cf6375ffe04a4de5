"""Each cause stops a real training, which it is then found in; where it is absent it is not found."""

import json
import math

import numpy as np
import pytest
import torch
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier
from torch import nn

from shattering.compare import budget
from shattering.compare.budget import Clock, Cost
from shattering.compare.front import randomization_test
from shattering.compare.plan import LABEL_TEST
from shattering.data.dataset import Dataset
from shattering.data.load import load_dataset
from shattering.data.split import Split
from shattering.diagnose import history
from shattering.diagnose.diagnose import accuracy_bound, chance_of_true, diagnose, too_small
from shattering.diagnose.network import Trained, decay_over_pull, entropy, share_nearer
from shattering.identity.digest import digest
from shattering.identity.names import name_of
from shattering.learners.adapt import as_model
from shattering.runs.execute import run
from shattering.runs.fit import load_data
from shattering.runs.spec import RunSpec
from shattering.runs.store import Store
from tests.compare.fakes import fake_repeat, fake_test

RECIPE = {"network": "mlp-1x64", "epochs": 40, "batch_size": 32, "learning_rate": 0.1}  # fits 150 random labels
FEW = "too few epochs"
CAUSES = {
    FEW: {"epochs": 12},
    "learning rate decayed too soon": {"decay": 0.7, "decay_steps": None},
    "learning rate too high": {"learning_rate": 1.0},
    "learning rate too low": {"learning_rate": 1e-5},
    "augmentation": {"augment": ["crop", "rotation"]},
    "dropout": {"dropout": 0.6},
    "weight decay": {"weight_decay": 0.1},
    "too few parameters": {"network": "mlp-1x1"},
}


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    return Store(tmp_path_factory.mktemp("runs"))


def trained(store: Store, n=150, **params):
    spec = RunSpec("digits", n_train=n, n_test=20, randomization=LABEL_TEST, params={**RECIPE, **params}, seed=1, data_seed=0)
    return run(spec, store)


def of_labels(store, model, data="digits", n_permutations=1, **kwargs):
    """A test of the labels alone."""
    sizes = {"n_train": 150, "n_test": 20} | kwargs
    return randomization_test(model, data, randomizations=["permuted-labels"], n_permutations=n_permutations, store=store, **sizes)


def causes(found, *likelihoods):
    return [finding.cause for finding in found if not likelihoods or finding.likelihood in likelihoods]


# networks


@pytest.mark.parametrize("cause", CAUSES)
def test_each_cause_is_found_first_and_no_other_is_likely(store, cause):
    found = diagnose(trained(store, **CAUSES[cause]))
    assert found[0].cause == cause
    likely = set(causes(found, "certain", "likely"))
    assert likely <= {cause, "learning rate too high"} if cause == "too few parameters" else likely == {cause}, "its one unit dies"


def test_nothing_is_said_of_what_fits(store):
    assert diagnose(trained(store)) == []


def test_harmless_amounts_are_not_likely(store):
    found = diagnose(trained(store, epochs=12, augment={"brightness": 0.01}, dropout=0.01, weight_decay=1e-6))
    assert causes(found, "certain", "likely") == [FEW]
    assert causes(found, "possible") == ["augmentation", "dropout"], "a decay that hardly pulls is not there at all"
    assert "0% of them are nearer" in found[1].evidence


def test_evidence_is_of_this_run(store):
    few = trained(store, **CAUSES[FEW])
    assert f"{few.history['train_accuracy'].iloc[-1]:.1%}" in diagnose(few)[0].evidence
    decay = trained(store, **CAUSES["weight decay"])
    assert "The coefficient is 0.1" in diagnose(decay)[0].evidence


def test_the_extrapolation_is_about_right(store):
    few, whole = trained(store, **CAUSES[FEW]), trained(store)
    needed = history.epochs_needed(few.history)
    assert needed is not None
    first = int(whole.history["epoch"][whole.history["train_accuracy"] >= 0.99].iloc[0])
    assert (first - 12) / 4 < needed < 4 * (first - 12)


@pytest.mark.parametrize("rate", [3.0, 1e6])
def test_other_ways_of_too_high_a_learning_rate(store, rate):
    found = diagnose(trained(store, learning_rate=rate, epochs=20))
    assert found[0].cause == "learning rate too high"
    assert found[0].likelihood == ("certain" if rate == 1e6 else "likely")


def test_where_weight_decay_rests_it_holds_the_loss(store):
    def ratio(coefficient):
        stored = trained(store, weight_decay=coefficient, epochs=100)
        ratio = decay_over_pull(Trained(stored, load_data(stored.spec)[0].train))
        assert ratio is not None
        return ratio

    assert ratio(0.03) == pytest.approx(1, abs=0.25), "the running weights fluctuate around the point of rest"
    assert ratio(1e-6) < 0.1


def with_batch_norm(shape, n_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, n_classes))


def without(shape, n_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, n_classes))


def with_dropout(shape, n_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Dropout(0.7), nn.Linear(64, n_classes))


def of_network(store, make, **hyperparameters):
    """The diagnosis of a network of the user's on 80 random labels."""
    name, estimator, _ = as_model(make, hyperparameters)
    given = {name_of(name, digest(estimator)): estimator}
    spec = RunSpec("digits", n_train=80, n_test=20, randomization=LABEL_TEST, model=next(iter(given)), seed=1, data_seed=0)
    return diagnose(run(spec, store, objects=given), given)


def of_zeros(image_shape, n_classes):
    net = nn.Sequential(nn.Flatten(), nn.Linear(math.prod(image_shape), 8), nn.Tanh(), nn.Linear(8, n_classes))
    for parameter in net.parameters():
        nn.init.zeros_(parameter)
    return net


def test_weights_that_were_zero_before_training(store):
    found = of_network(store, of_zeros, epochs=10, batch_size=32, learning_rate=0.1)
    (finding,) = [finding for finding in found if finding.cause == "weights initialized to zero"]
    assert "All trained weights were zero at first, and the loss stays at" in finding.evidence


class Frozen(nn.Module):
    """A large frozen part, and biases that are trained: they come to rest at the best constant answer."""

    def __init__(self, image_shape, n_classes):
        super().__init__()
        self.fixed = nn.Linear(math.prod(image_shape), 64).requires_grad_(False)
        nn.init.normal_(self.fixed.weight, std=100.0)
        self.bias = nn.Parameter(torch.linspace(0, 1, n_classes))

    def forward(self, x):
        return self.bias + 0 * self.fixed(x.flatten(1)).sum(1, keepdim=True)


def test_frozen_weights_do_not_hide_how_far_the_others_moved(store):
    found = of_network(store, Frozen, epochs=30, batch_size=80, learning_rate=0.3)
    assert "learning rate too low" not in [finding.cause for finding in found]


class OfRoots(nn.Module):
    """Finite outputs with a gradient that is not: 0/0 at the first update."""

    def __init__(self, image_shape, n_classes):
        super().__init__()
        self.last, self.shift = nn.Linear(math.prod(image_shape), n_classes), nn.Parameter(torch.zeros(n_classes))

    def forward(self, x):
        return self.last(x.flatten(1)) + self.shift.square().sqrt()


def test_a_gradient_that_is_not_finite_may_be_another_fault_than_the_learning_rate(store):
    found = of_network(store, OfRoots, epochs=2, batch_size=32, learning_rate=1e-6)
    assert causes(found, "certain") == []
    (rate,) = [f for f in found if f.cause == "learning rate too high"]
    assert "A formula of the network or of the loss that gives no finite number" in rate.evidence


def test_a_last_update_that_makes_the_weights_nan_is_found(store):
    found = of_network(store, OfRoots, epochs=1, batch_size=80, learning_rate=1e-6)
    (rate,) = [f for f in found if f.cause == "learning rate too high"]
    assert "the outputs were not finite after epoch 1" in rate.evidence


def test_batch_normalization_in_small_batches(store):
    small = {"epochs": 40, "batch_size": 2, "learning_rate": 0.005}
    found = of_network(store, with_batch_norm, **small)
    assert (found[0].cause, found[0].likelihood) == ("batch normalization in small batches", "likely")
    assert of_network(store, without, **small) == [], "without it the same hyperparameters fits"
    assert causes(of_network(store, with_batch_norm, epochs=3, batch_size=16, learning_rate=0.1)) == [FEW]


def test_dropout_of_the_network_itself(store):
    found = of_network(store, with_dropout, epochs=30, batch_size=32, learning_rate=0.1)
    assert found[0].cause == "dropout"
    assert "0.7, in the network's layers" in found[0].evidence


def test_shares_of_augmented_images():
    data = load_dataset("digits", n_train=100)
    model = RunSpec("digits", params=RECIPE).build()
    nearer = [share_nearer(data.train, chosen, model) for chosen in ({}, {"rotation": 3.0}, {"rotation": 180.0})]  # type: ignore[arg-type]  # a stand-in with the one attribute that is read
    assert nearer[0] == 0
    assert nearer[1] < 0.05 < nearer[2]


def test_entropy_is_the_loss_of_guessing():
    split = Split(torch.zeros(4, 2), torch.tensor([0, 0, 0, 1]), ("a", "b", "c"))
    assert entropy(split) == pytest.approx(-0.75 * math.log(0.75) - 0.25 * math.log(0.25))


# data, labels and sizes


def test_identical_inputs_with_different_labels_bound_the_accuracy_exactly(store):
    base = load_dataset("digits", n_train=100, n_test=20)
    images = torch.cat([base.train.inputs, base.train.inputs[:40]])
    train = Split(images, torch.cat([base.train.labels, base.train.labels[:40]]), base.train.classes)
    test = of_labels(store, KNeighborsClassifier(1), Dataset(train, base.test), n_train=None, n_test=None)
    found = test.diagnosis[0]
    labels = load_data(test.repeats[1].runs[0].spec, test.objects)[0].train.labels
    differ = int((labels[:40] != labels[100:]).sum())
    assert found.cause == "identical inputs with different labels"
    assert found.likelihood == "certain"
    assert f"{2 * differ} of 140" in found.evidence
    assert f"accuracy of {1 - differ / 140:.2%}; the model reached {1 - differ / 140:.2%}" in found.evidence
    assert len(test.diagnosis) == 1


def test_the_bound_counts_the_most_frequent_label_of_each_group():
    images = torch.tensor([[0.0], [0.0], [0.0], [1.0], [1.0], [2.0]])
    assert accuracy_bound(Split(images, torch.tensor([0, 0, 1, 0, 1, 0]), ("a", "b"))) == (4 / 6, 5)


def nearest_mean(split, seed):
    """Ignores the labels that it is given."""
    images = split.inputs.float().flatten(1)
    means = torch.stack([images[split.true_labels == k].mean(0) for k in range(split.n_classes)])
    return lambda other: torch.cdist(other.inputs.float().flatten(1), means).argmin(1)


def redraws(split, seed):
    """Fits labels that it draws anew."""
    images, labels = split.inputs.float().flatten(1), split.labels[torch.randperm(len(split))]
    return lambda other: labels[torch.cdist(other.inputs.float().flatten(1), images).argmin(1)]


def test_labels_that_are_not_used(store):
    found = of_labels(store, nearest_mean).diagnosis
    assert [(f.cause, f.likelihood) for f in found] == [("the model uses other labels than those it was given", "certain")]
    assert causes(of_labels(store, redraws).diagnosis) == ["nothing was learned from the labels"]


def test_of_two_classes_one_permutation_cannot_tell(store):
    X, y = load_breast_cancer(return_X_y=True)
    once, often = (of_labels(store, nearest_mean, (X, y), n_permutations=n).diagnosis for n in (1, 12))
    assert [once[0].likelihood, often[0].likelihood] == ["possible", "certain"]
    assert once[0].cause == often[0].cause


def test_chance_of_naming_classes():
    assert chance_of_true([0.95], 2) == pytest.approx(1 / 4)
    assert chance_of_true([0.95, 0.9], 2) == pytest.approx(1 / 16)
    assert chance_of_true([0.1], 10) == pytest.approx(1 - 0.9**10)
    assert chance_of_true([1.0], 10) == pytest.approx(1e-10)


@pytest.mark.parametrize(("p", "likelihood"), [(99, "likely"), (100, "possible"), (263, "possible"), (264, None), (None, None)])
def test_numbers_of_parameters(p, likelihood):
    found = list(too_small({"n_parameters": p, "n_train": 100, "image_shape": [1, 8, 8]}))
    assert [f.likelihood for f in found] == ([likelihood] if likelihood else [])


# scikit-learn's estimators

ESTIMATORS = {
    "max_depth of DecisionTreeClassifier": (DecisionTreeClassifier(max_depth=3), "at most 8 leaves for 150"),
    "n_neighbors of KNeighborsClassifier": (KNeighborsClassifier(5), "one of 5 votes"),
    "min_samples_leaf of RandomForestClassifier": (RandomForestClassifier(10, min_samples_leaf=5), "at least 5 examples"),
    "C of SVC": (make_pipeline(StandardScaler(), SVC(C=0.5)), "C = 0.5"),
}


@pytest.mark.parametrize("cause", ESTIMATORS)
def test_parameters_that_limit(store, cause):
    estimator, evidence = ESTIMATORS[cause]
    found = of_labels(store, estimator).diagnosis
    assert causes(found, "certain", "likely") == [cause]
    assert evidence in found[0].evidence


def test_linear_models_of_few_features(store):
    X = np.random.default_rng(0).normal(size=(150, 5))
    y = (X[:, 0] > 0).astype(int)
    found = of_labels(store, make_pipeline(StandardScaler(), LogisticRegression()), (X, y), n_train=None, n_test=None).diagnosis
    assert found[0].cause == "more examples than a linear model can shatter"
    assert "d + 1 = 6" in found[0].evidence
    assert causes(found, "possible") == ["C of LogisticRegression", "max_iter of LogisticRegression"]


# the test that it belongs to


def test_it_is_printed_in_json_and_on_the_page(store):
    test = of_labels(store, DecisionTreeClassifier(max_depth=3))
    assert f"Why it may not have fitted random labels (seed {test.repeats[1].runs[0].spec.seed}, training accuracy" in str(test)
    assert "- max_depth of DecisionTreeClassifier (likely). DecisionTreeClassifier has max_depth = 3" in str(test)
    (found,) = json.loads(json.dumps(test.to_json()))["diagnosis"]
    assert found["cause"] == "max_depth of DecisionTreeClassifier"
    page = test.to_html()
    assert "<h2>Why random labels were not fitted</h2>" in page
    assert "a tree has at most 8 leaves" in page


def test_one_that_fits_has_none_and_one_that_nothing_is_found_of_says_so(store):
    fits = of_labels(store, DecisionTreeClassifier())
    assert fits.diagnosis == []
    assert "Why" not in str(fits) + fits.to_html()
    nothing = of_labels(store, GaussianNB())
    assert nothing.diagnosis == []
    assert "Why it did not fit random labels was not found" in str(nothing)
    assert "Why it did not fit random labels was not found" in nothing.to_html()


def test_one_without_random_labels_has_none():
    assert fake_test(fake_repeat()).explanation == []
    assert fake_test(fake_repeat(), fake_repeat(LABEL_TEST, train=0.5, status="failed")).explanation == []


def test_epochs_cut_by_a_budget(store, monkeypatch):
    data = load_dataset("digits", n_train=100, n_test=20)
    name = name_of("digits", "x")
    spec = RunSpec(name, params={**RECIPE, "epochs": 400})
    monkeypatch.setattr(budget, "_measure", lambda *_: Cost(1000.0, 100, 1.0))
    _, left_out = budget.shrink_to_budget(spec, {name: data}, 2, 2, Clock(60.0, budget.time.perf_counter()))
    test = of_labels(store, DecisionTreeClassifier(max_depth=3))
    object.__setattr__(test, "left_out", left_out)
    assert causes(test.diagnosis, "likely")[0] == "epochs cut by the budget"
    assert "of 400 epochs" in test.diagnosis[0].evidence


@pytest.mark.parametrize("last", [nn.Softmax(1), nn.LogSoftmax(1)])
def test_a_softmax_before_the_loss(store, last):
    """A log-softmax does no harm: the softmax of it is the same."""

    def network(shape, k):
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, k), last)

    found = of_network(store, network, epochs=8, batch_size=32, learning_rate=0.01)
    about = [finding for finding in found if "before the loss" in finding.cause]
    assert [f.cause for f in about] == (["a softmax before the loss"] if isinstance(last, nn.Softmax) else [])
    assert all("ln(1 + 9/e) = 1.46" in f.evidence and f.likelihood == "likely" for f in about)


def test_a_sigmoid_before_the_loss(store):
    base = load_dataset("digits", n_train=150, n_test=40)
    of_two = [Split(split.inputs, (split.labels > 4).long(), ("low", "high")) for split in (base.train, base.test)]

    def network(shape, k):
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 1), nn.Sigmoid())

    hyperparameters = {"epochs": 2, "batch_size": 32, "learning_rate": 0.01}
    test = of_labels(store, network, Dataset(*of_two), n_train=None, n_test=None, hyperparameters=hyperparameters)
    assert "a sigmoid before the loss" in causes(test.diagnosis)


def _hinge(outputs, targets):
    return torch.relu(1 - (2 * targets - 1) * outputs).mean()


def test_a_sigmoid_before_a_loss_of_ones_own(store):
    """A hinge loss takes any number, so that it is not refused; the class is read off the number as a logit all the same."""
    rows, labels = np.random.default_rng(0).normal(size=(60, 4)), np.arange(60) % 2

    def network(shape, k):
        return nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 1), nn.Sigmoid())

    hyperparameters = {"epochs": 3, "batch_size": 16, "loss": _hinge}
    test = of_labels(store, network, (rows, labels), n_train=None, n_test=None, hyperparameters=hyperparameters)
    (found,) = [finding for finding in test.diagnosis if finding.cause == "a sigmoid before the loss"]
    assert "so that this class is predicted for all of them" in found.evidence


def test_the_cross_entropy_says_nothing_of_the_rate_under_another_loss(store):
    """A margin of 20 makes logits large, and the cross-entropy with them, at any learning rate."""

    def network(shape, k):
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 2), nn.ReLU(), nn.Linear(2, k))

    hyperparameters = {"epochs": 20, "batch_size": 16, "learning_rate": 0.01, "loss": nn.MultiMarginLoss(margin=20.0)}
    found = of_network(store, network, **hyperparameters)
    assert not any("learning rate" in finding.cause for finding in found)
