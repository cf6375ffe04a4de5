"""Code of users that draws from global generators, when it is made, trained or used, gives the same for the same seed."""

import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator, ClassifierMixin

from shattering import load_dataset, randomization_test
from shattering.experiments.bit_capacity import run_study
from shattering.experiments.rademacher_complexity import empirical_rademacher
from shattering.experiments.stability import replace_one
from shattering.identity.names import name_of

DIGITS = load_dataset("digits", n_train=50, n_test=100, n_validation=50)


class Drawing(ClassifierMixin, BaseEstimator):
    """Random hyperplanes and answers."""

    def __init__(self, when="predict"):
        self.when = when
        self.W = torch.randn(64, 10).numpy()

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        self.W = np.random.randn(64, 10) if self.when == "fit" else self.W  # noqa: NPY002
        return self

    def predict(self, X):
        noise = 1000 * np.random.randn(len(X), 10) if self.when == "predict" else 0  # noqa: NPY002
        return self.classes_[(X @ self.W + noise)[:, : len(self.classes_)].argmax(1)]


def draws_stochastically(split, seed):
    return lambda new: torch.rand(len(new), 10)


def in_two_states(compute):
    """Return what is computed with the global generators in two states."""
    out = []
    for state in (1, 2):
        np.random.seed(state)  # noqa: NPY002
        torch.manual_seed(state)
        out.append(compute())
    return out


@pytest.mark.parametrize("model", [Drawing("init"), Drawing("fit"), Drawing("predict"), draws_stochastically])
def test_a_test_depends_on_its_seed_alone_and_no_two_fits_share_their_draws(model):
    def scores():
        test = randomization_test(model, (DIGITS.train.X, DIGITS.train.y), randomizations=["permuted-labels"], n_permutations=6)
        return [(run.result["train_accuracy"], run.result["test_accuracy"]) for repeat in test.repeats for run in repeat.runs], test.p_value

    one, other = in_two_states(scores)
    assert one == other
    assert len(set(one[0])) > 1


def test_studies_depend_on_their_seed_alone():
    for when in ("init", "fit", "predict"):
        model = Drawing(when)
        one, other = in_two_states(lambda model=model: empirical_rademacher(model, DIGITS.train, n_draws=3).correlations)
        assert one == other
        stability = replace_one(model, DIGITS.train, DIGITS.validation, DIGITS.test, n_replaced=3)
        assert stability.uniform == 0, "the model does not look at the examples, so that replacing one changes nothing"
        name = name_of("Drawing", when)
        one, other = in_two_states(lambda name=name, model=model: run_study(0, dataset="digits", n=50, model=name, objects={name: model}))
        assert one[0] == other[0]
