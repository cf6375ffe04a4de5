"""What a user's function or factory uses from outside of it, by which one fit could go on from another."""

import copy
import random
from functools import partial

import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import Perceptron
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from shattering import InputError, load_dataset, randomization_test
from shattering.learners.adapt import as_model
from shattering.learners.on_splits import fit_split
from shattering.learners.own import record_of
from shattering.learners.wrapped import TrainingFunction
from shattering.runs.objects import with_seed
from tests.learners.test_adapt import nearest_mean

SHARED = nn.Linear(64, 10)
TABLE, LOG = np.eye(10), []


def spoil(split, net=SHARED):
    with torch.no_grad():
        net.weight += split.inputs.float().flatten(1).mean()


def continuing(split, seed):
    spoil(split, SHARED)
    return lambda new: SHARED(new.inputs.float().flatten(1))


def logging(split, seed):
    LOG.append(TABLE[0])
    return nearest_mean(split, seed)


def test_a_training_function_that_goes_on_from_the_fit_before_is_told():
    data = load_dataset("digits", n_train=50).train
    (note,) = record_of(TrainingFunction(continuing).fit(data)).notes
    assert note == (
        "The training function continuing has changed SHARED, from outside of it, so that its fits are not independent: make such things "
        "inside of it."
    )
    for clean in (logging, nearest_mean):
        assert record_of(TrainingFunction(clean).fit(data)).notes == ()


class Holder:
    def __init__(self):
        self.net, self.model = nn.Linear(64, 10), Perceptron()


HOLDER, STATES = Holder(), {"table": [np.zeros((10, 64))]}


def by_attribute(split, seed):
    spoil(split, HOLDER.net)
    return nearest_mean(split, seed)


def by_item(split, seed):
    STATES["table"][0][split.labels[0]] += 1
    return nearest_mean(split, seed)


def by_estimator(split, seed):
    HOLDER.model.partial_fit(split.X, 9 - split.labels.numpy(), classes=range(10))
    return nearest_mean(split, seed)


def anew(split, seed):
    HOLDER.net = nn.Linear(64, 10)
    HOLDER.model.fit(split.X, split.labels.numpy())
    STATES["table"].append(np.ones(3))
    return nearest_mean(split, seed)


def by_default(split, seed, net=SHARED):
    with torch.no_grad():
        net.bias += 1
    return nearest_mean(split, seed)


def test_what_is_changed_within_a_container_an_object_or_a_default_is_told():
    data = load_dataset("digits", n_train=50).train
    HOLDER.model.fit(data.X, data.labels.numpy())
    names = {by_attribute: "HOLDER", by_item: "STATES", by_estimator: "HOLDER", by_default: "net"}
    for train, name in names.items():
        (note,) = record_of(TrainingFunction(train).fit(data)).notes
        assert note.startswith(f"The training function {train.__name__} has changed {name}, from outside of it")
    for _ in range(2):
        assert record_of(TrainingFunction(anew).fit(data)).notes == (), "what is made anew for each fit hands nothing on"


SPOIL = partial(spoil, net=SHARED)


def by_partial(split, seed, epochs):
    SPOIL(split)
    return nearest_mean(split, seed)


class Trainer:
    def __call__(self, split, seed):
        return by_partial(split, seed, epochs=1)


def of_a_net(split, seed, net):
    spoil(split, net)
    return nearest_mean(split, seed)


def test_partial_functions_and_called_objects_are_watched_as_functions_are():
    data = load_dataset("digits", n_train=50).train
    for train, name in ((partial(by_partial, epochs=1), "by_partial"), (Trainer(), "Trainer"), (partial(Trainer()), "Trainer")):
        (note,) = record_of(TrainingFunction(train).fit(data)).notes
        assert note.startswith(f"The training function {name} has changed net, from outside of it, so that its fits are not independent")
    copied = as_model(partial(of_a_net, net=SHARED))[1]
    before = SHARED.weight.clone()
    assert record_of(fit_split(with_seed(copied, 1), data)).notes == ()
    assert torch.equal(SHARED.weight, before), "each fit has a copy of what a partial function holds"


def body():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8))


def of_class(shared):
    class OnShared(nn.Module):
        def __init__(self):
            super().__init__()
            self.all = nn.Sequential(shared, nn.Linear(8, 10))

        def forward(self, x):
            return self.all(x)

    return OnShared


def calling(made):
    return lambda: made()


SHARING = {
    "class": of_class,
    "function that calls a class": lambda shared: calling(of_class(shared)),
    "function": lambda shared: lambda: nn.Sequential(shared, nn.Linear(8, 10)),
    "function of sizes": lambda shared: lambda image_shape, n_classes: nn.Sequential(*shared, nn.Linear(8, n_classes)),
    "item": lambda shared: lambda held={"of": [shared]}: nn.Sequential(held["of"][0], nn.Linear(8, 10)),
    "default": lambda shared: lambda start=shared: nn.Sequential(start, nn.Linear(8, 10)),
}


@pytest.mark.parametrize("how", SHARING)
@pytest.mark.parametrize("frozen", [False, True])
def test_a_factory_whose_modules_share_what_training_changes_is_refused_before_any_training(how, frozen):
    shared = body().requires_grad_(not frozen)
    before = copy.deepcopy(shared.state_dict())
    what = "running averages of batch normalization" if frozen else "weights"
    with pytest.raises(
        InputError, match=rf"gave a module with {what} of (shared|held|start), which is outside of it, so that each fit would"
    ):
        randomization_test(SHARING[how](shared), "digits", n_train=50, n_permutations=1, hyperparameters={"epochs": 1})
    assert all(torch.equal(tensor, before[name]) for name, tensor in shared.state_dict().items())


def test_a_factory_may_copy_a_module_from_outside_or_share_a_frozen_one():
    shared, frozen = body(), nn.Linear(64, 8).requires_grad_(False)
    for make in (
        lambda: nn.Sequential(copy.deepcopy(shared), nn.Linear(8, 10)),
        lambda: nn.Sequential(nn.Flatten(), frozen, nn.Linear(8, 10)),
    ):
        test = randomization_test(
            make, "digits", n_train=50, randomizations=["permuted-labels"], n_permutations=1, hyperparameters={"epochs": 1}
        )
        assert [run.status for repeat in test.repeats for run in repeat.runs] == ["done", "done"]


class Torch(ClassifierMixin, BaseEstimator):
    """A network as an estimator of a user's."""

    def __init__(self, net=None):
        self.net = net
        self.start = nn.Linear(64, 10) if net is None else net

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        with torch.no_grad():
            self.start.weight += 1
        return self

    def predict(self, X):
        return self.classes_[self.start(torch.tensor(X, dtype=torch.float32)).argmax(1)]


class AsAttribute(Torch):
    start = nn.Linear(64, 10)

    def __init__(self):
        pass


class Global(Torch):
    def __init__(self):
        pass

    def fit(self, X, y):
        self.start = SHARED
        return super().fit(X, y)


def test_weights_that_a_constructor_draws_follow_from_the_seed_and_global_generators_are_left():
    scores = []
    for state, seed in ((1, 0), (2, 0), (3, 1)):
        torch.manual_seed(state)
        mine = Torch()
        before = torch.get_rng_state()
        test = randomization_test(mine, "digits", n_train=50, n_test=200, randomizations=["permuted-labels"], n_permutations=1, seed=seed)
        assert torch.equal(torch.get_rng_state(), before)
        scores.append([run.result["test_accuracy"] for repeat in test.repeats for run in repeat.runs])
    assert scores[0] == scores[1] != scores[2]
    assert scores[0][0] != scores[0][1], "each fit has weights of its own"


def test_what_the_fits_of_a_users_estimator_share_is_told():
    def notes(model):
        return randomization_test(model, "digits", n_train=50, randomizations=["permuted-labels"], n_permutations=1).notes

    for model, name in ((AsAttribute(), "start"), (make_pipeline(StandardScaler(), Global()), "SHARED")):
        cls = type(model[-1] if isinstance(model, Pipeline) else model).__name__
        expected = f"The fit of {cls} has changed {name}, which all fits share, so that they are not independent: make such things in fit."
        assert notes(model) == (expected,)
    (note,) = notes(Torch(nn.Linear(64, 10)))
    assert note.startswith(
        "Every fit, of the data and of each randomized copy, got a copy of the instance of Linear with the weights that it"
    )
    assert notes(Torch()) == ()


GENERATORS = {"torch": torch.Generator(), "numpy": np.random.default_rng(0), "old": np.random.RandomState(0), "python": random.Random(0)}


def draw(kind):
    rng = GENERATORS[kind]
    return torch.rand(1, generator=rng).item() if kind == "torch" else rng.random_sample() if kind == "old" else rng.random()


def linear():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))


def of_draws(kind):
    def make():
        draw(kind)
        return linear()

    return make


def noisy_loss(logits, labels):
    return nn.functional.cross_entropy(logits * (1 + 0.01 * draw("numpy")), labels)


class Noisy(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(64, 10)

    def forward(self, x):
        return self.layer(x.flatten(1) * (1 + 0.01 * draw("python")))


def first_notes(model, **hyperparameters):
    how = {"randomizations": ["permuted-labels"], "n_permutations": 1, "hyperparameters": {"epochs": 1, **hyperparameters}}
    return randomization_test(model, "digits", n_train=50, **how).notes


@pytest.mark.parametrize("kind", GENERATORS)
def test_a_factory_that_draws_from_a_generator_of_its_own_is_refused(kind):
    with pytest.raises(InputError, match=r"make drew from the generator GENERATORS from outside of it, so that each fit would go on from"):
        first_notes(of_draws(kind))


def test_a_training_that_draws_from_a_generator_of_its_own_is_told():
    shared = "The training drew from the generator GENERATORS, which all fits share, so that they are not independent: torch's global "
    assert first_notes(Noisy) == first_notes(linear, loss=noisy_loss) == (shared + "generator is seeded for every fit.",)


def by_generator(split, seed):
    draw("numpy")
    return nearest_mean(split, seed)


def by_global_generators(split, seed):
    torch.default_generator.seed(), np.random.mtrand._rand.random_sample(), random.random()
    return nearest_mean(split, seed)


def test_draws_of_a_training_function_from_a_generator_outside_are_told_and_those_of_global_ones_are_not():
    data = load_dataset("digits", n_train=50).train
    (note,) = record_of(TrainingFunction(by_generator).fit(data)).notes
    assert note.startswith("The training function by_generator has changed GENERATORS, from outside of it")
    assert record_of(TrainingFunction(by_global_generators).fit(data)).notes == ()

    def make(rng=torch.default_generator):
        net = linear()
        nn.init.normal_(net[1].weight, generator=rng)
        return net

    assert first_notes(make) == ()
