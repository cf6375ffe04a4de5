"""A resumed training goes on with what a network's code keeps and draws from beside its weights."""

import random

import numpy as np
import pytest
import torch
from torch import nn

from shattering import seeds
from shattering.learners.network import NetworkClassifier
from shattering.learners.train.beside import Beside
from tests.conftest import make_split

SPLIT = make_split(n=40)


class Net(nn.Module):
    def __init__(self, image_shape, n_classes):
        super().__init__()
        self.last = nn.Linear(int(np.prod(image_shape)), n_classes)
        self.calls, self.drawn = 0, torch.Generator().manual_seed(5)
        self.rng, self.old_rng, self.python_rng = np.random.default_rng(5), np.random.RandomState(5), random.Random(5)
        self.array, self.tensor = np.zeros(1), torch.zeros(1)
        self.register_buffer("average", torch.zeros(()), persistent=False)

    def forward(self, x):
        return self.last(x.flatten(1)) * (1 + self.factor() if self.training else 1)

    def factor(self):
        return 0.0


class Python(Net):
    def factor(self):
        return random.random()


class NumPy(Net):
    def factor(self):
        return np.random.rand()  # noqa: NPY002


class Counter(Net):
    def factor(self):
        self.calls += 1
        return self.calls / 10


class Generators(Net):
    def factor(self):
        own = self.rng.random() + self.old_rng.rand() + self.python_rng.random()
        return own + float(torch.rand((), generator=self.drawn))


class Values(Net):
    def factor(self):
        self.array += 0.1
        self.tensor = self.tensor * 0.9 + 0.1
        self.average *= 0.5
        self.average += 0.1
        return float(self.array[0] + self.tensor + self.average)


class CountedLoss(nn.Module):
    scale: torch.Tensor

    def __init__(self):
        super().__init__()
        self.register_buffer("scale", torch.ones(()))

    def forward(self, logits, labels):
        if torch.is_grad_enabled():
            self.scale.add_(0.1)
        return nn.functional.cross_entropy(logits * self.scale, labels)


class TupleInTraining(Net):
    def forward(self, x):
        logits = self.last(x.flatten(1))
        return (logits, logits) if self.training else logits


class Stop(Exception):
    pass


def fit(network, path=None, last=0, **params):
    def stop(row):
        if row["epoch"] == last:
            raise Stop

    model = NetworkClassifier(network, epochs=4, batch_size=8, checkpoint_every=0, device="cpu", random_state=3, **params)
    with seeds.everywhere(3):  # as `run` does
        return model.fit(SPLIT, test=SPLIT, checkpoint=path, on_epoch=stop)


@pytest.mark.parametrize("network", [Python, NumPy, Counter, Generators, Values, CountedLoss])
def test_a_resumed_fit_is_bitwise_the_uninterrupted_one(tmp_path, network):
    params: dict = {"loss": CountedLoss()} if network is CountedLoss else {}
    network = Net if network is CountedLoss else network
    whole = fit(network, **params)
    for last in (1, 3):
        with pytest.raises(Stop):
            fit(network, tmp_path / "c.pt", last, **params)
    resumed = fit(network, tmp_path / "c.pt", **params)
    assert whole.history_.drop(columns="seconds").equals(resumed.history_.drop(columns="seconds"))
    assert torch.equal(whole.module_.last.weight, resumed.module_.last.weight)


def test_a_note_of_training_is_there_though_nothing_is_left_to_train(tmp_path):
    whole = fit(TupleInTraining)
    with pytest.raises(Stop):
        fit(TupleInTraining, tmp_path / "c.pt", 4)
    assert fit(TupleInTraining, tmp_path / "c.pt").notes_ == whole.notes_ != ()


def test_a_resume_leaves_the_callers_generators_alone(tmp_path):
    make = lambda: NetworkClassifier("mlp-1x16", epochs=1, checkpoint_every=0, device="cpu")  # noqa: E731
    make().fit(SPLIT, checkpoint=tmp_path / "c.pt")
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    before = random.getstate(), np.random.get_state(legacy=False)["state"]["pos"]  # noqa: NPY002
    make().fit(SPLIT, checkpoint=tmp_path / "c.pt")
    assert (random.getstate(), np.random.get_state(legacy=False)["state"]["pos"]) == before  # noqa: NPY002


def test_what_the_constructor_found_here_is_not_taken_from_elsewhere():
    there, here = Net((1, 2, 2), 2), Net((1, 2, 2), 2)
    there.place, here.place = "/there", "/here"  # type: ignore[assignment]  # an attribute of the user's
    beside = Beside(there)
    there.calls = 3
    Beside(here).restore(beside.state())
    assert (here.calls, here.place) == (3, "/here")
