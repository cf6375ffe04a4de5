"""`assert_can_fit`: sound models pass, and what is wrong with the others is said."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier
from torch import nn

from shattering import InputError, assert_can_fit
from shattering.compare import can_fit


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden, self.out = nn.Linear(20, 64), nn.Linear(64, 3)

    def forward(self, x):
        return self.out(torch.relu(self.hidden(x)))


def dead(shape, k):
    first = nn.Linear(shape[0], 32)
    nn.init.constant_(first.bias, -100.0)
    return nn.Sequential(first, nn.ReLU(), nn.Linear(32, k))


def softmax(shape, k):
    return nn.Sequential(nn.Linear(shape[0], 16), nn.ReLU(), nn.Linear(16, k), nn.Softmax(1))


def message(*arguments, **options) -> str:
    with pytest.raises(AssertionError) as error:
        assert_can_fit(*arguments, **options)
    return str(error.value)


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (Net, (20,)),
        (Net(), (20,)),
        (lambda shape, k: nn.Sequential(nn.Conv2d(shape[0], 8, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(k)), (3, 32, 32)),
        ("mlp-1x64", (20,)),
        ("nearest-neighbors", (20,)),
        (DecisionTreeClassifier(), (20,)),
    ],
    ids=["class", "instance", "factory", "network", "name", "estimator"],
)
def test_sound_models_pass(model, shape):
    options = {"n_neighbors": 1} if model == "nearest-neighbors" else {}
    assert_can_fit(model, shape, 3, 32, hyperparameters=options)


def test_dead_units_are_named():
    said = message(dead, (20,), 3, hyperparameters={"epochs": 20})
    first, cause, *_ = said.splitlines()
    assert first.startswith("dead fitted ")
    assert " of 16 random labels (" in first
    assert first.endswith(".")
    assert "expected 99%) of Gaussian inputs of shape (20,) after 20 epochs, in which its training loss went from 1." in first
    assert cause.startswith("dead ReLUs (likely). Before training 100% of the units of the ReLU layer '1' answer 0 to all 16 examples")
    assert "learning rate" not in said, "which is not the cause"


def test_a_softmax_is_named():
    assert "a softmax before the loss (likely)" in message(softmax, (20,), 10, hyperparameters={"epochs": 20})


def test_a_learning_rate_is_named():
    assert "learning rate too high" in message(Net, (20,), 3, hyperparameters={"learning_rate": 1000.0, "epochs": 30})


def test_what_fits_a_batch_but_no_more():
    """A linear model separates any 16 points in 20 dimensions, not 64."""
    said = message(LogisticRegression(C=1e6, max_iter=1000), (20,), 3, 64)
    assert "it fitted one batch of 16." in said
    assert "C of LogisticRegression" in said or "more examples than a linear model can shatter" in said


def test_more_classes_than_a_batch_has_examples():
    assert_can_fit("nearest-neighbors", (5,), 20, 60, hyperparameters={"n_neighbors": 1})


def test_inputs_of_the_user():
    """All inputs are the same, so that one label is all that can be fitted."""
    said = message(DecisionTreeClassifier(), (4,), 3, 9, inputs=np.zeros((9, 4), dtype=np.float32))
    assert said.startswith("DecisionTreeClassifier fitted 3 of 9 random labels (33%, expected 99%) of given inputs of shape (4,).")
    assert "identical inputs with different labels (certain)" in said


def test_labels_are_balanced_and_follow_the_seed():
    noise = can_fit._noise((2, 4, 4), 3, 10, None, 0)
    assert sorted(torch.bincount(noise.labels).tolist()) == [3, 3, 4]
    assert torch.equal(noise.labels, can_fit._noise((2, 4, 4), 3, 10, None, 0).labels)
    assert not torch.equal(noise.labels, can_fit._noise((2, 4, 4), 3, 10, None, 1).labels)


@pytest.mark.parametrize(
    ("arguments", "options", "expected"),
    [
        ((Net, (20,), 1), {}, "n_classes is 1, expected a whole number of at least 2"),
        ((Net, (20,), 3, 2), {}, "n is 2, expected at least 3, an example of each class"),
        ((Net, (20,), 3, 0), {}, "n is 0, expected a whole number of at least 1"),
        ((Net, (0,), 3), {}, "shape is "),
        ((Net, 20, 3), {}, "shape is 20, expected "),
        ((Net, (20,), 3), {"accuracy": 2}, "accuracy is 2, expected a number in 0…1"),
        ((Net, (20,), 3, 8), {"inputs": np.zeros((8, 19))}, "inputs have shape (8, 19), expected (n, *shape) = (8, 20)"),
        (
            (Net, (2,), 3, 8),
            {"inputs": pd.DataFrame(np.zeros((8, 2)))},
            "inputs are a DataFrame, expected an array of numbers (of a DataFrame",
        ),
        ((Net, (1,), 3, 3), {"inputs": ["a", "b", "c"]}, "inputs are a list, expected an array of numbers"),
        (("mlp", (20,), 3), {}, "unknown model 'mlp'"),
        ((Net, (20,), 3), {"hyperparameters": {"epoch": 3}}, "'epoch'"),
    ],
)
def test_bad_arguments(arguments, options, expected):
    with pytest.raises(InputError) as error:
        assert_can_fit(*arguments, **options)
    assert expected in str(error.value)
