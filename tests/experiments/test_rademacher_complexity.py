from itertools import product

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from shattering import InputError, NetworkClassifier, load_dataset
from shattering.experiments.rademacher_complexity import (
    Rademacher,
    empirical_rademacher,
    kernel_class_bound,
    of_kernel_class,
    of_linear_class,
    random_signs,
    vc_lower_bound,
)
from shattering.runs.objects import with_seed
from shattering.stats import mean_interval
from tests.conftest import make_split


def test_signs_are_balanced_independent_of_their_number_and_seeded():
    signs = random_signs(400, 50, seed=3)
    assert set(np.unique(signs)) == {-1, 1}
    assert (signs[:10] == random_signs(400, 10, seed=3)).all()
    assert not (signs == random_signs(400, 50, seed=4)).all()
    assert stats.binomtest(int((signs == 1).sum()), signs.size).pvalue > 1e-3
    assert abs(np.corrcoef(signs)[np.triu_indices(50, 1)]).max() < 0.25


def test_what_memorizes_has_complexity_one_and_a_constant_has_none():
    X = np.random.default_rng(0).normal(size=(101, 4))
    assert empirical_rademacher(KNeighborsClassifier(1), X, 5).correlations == (1.0,) * 5
    assert empirical_rademacher(KNeighborsClassifier(1), X, 5).n_fitted == 5
    constant = empirical_rademacher(DummyClassifier(strategy="most_frequent"), X, 200, seed=1)
    expected = np.mean([abs(s.mean()) for s in random_signs(101, 200, 1)])
    assert constant.value == pytest.approx(expected)
    low, high = constant.interval
    assert low < constant.value < high


def test_networks_and_tables_alike():
    split = make_split(n=24, n_classes=4)
    found = empirical_rademacher(NetworkClassifier("mlp-1x16", epochs=60, learning_rate=0.05, batch_size=8), split, 2)
    assert found.value == 1
    assert found.interval == (1.0, 1.0)


def test_closed_forms_are_suprema():
    """No random member of the class does better, and the best one, written down, does as well."""
    generator = np.random.default_rng(0)
    X, signs, radius = generator.normal(size=(30, 6)), random_signs(30, 4, 0), 0.7
    found = of_linear_class(X, radius, signs).correlations
    for value, s in zip(found, signs, strict=True):
        directions = generator.normal(size=(6, 2000))
        others = (s @ X @ (radius * directions / np.linalg.norm(directions, axis=0))) / 30
        assert others.max() <= value
        best = s @ X / np.linalg.norm(s @ X) * radius
        assert s @ X @ best / 30 == pytest.approx(value)
    np.testing.assert_allclose(of_kernel_class(X @ X.T, radius, signs).correlations, found)
    many = of_linear_class(X, radius, random_signs(30, 3000, 1))
    bound = kernel_class_bound((X * X).sum(1), radius)
    assert 0.9 * bound < many.value <= bound


@pytest.mark.parametrize("n", [1, 2, 5, 50, 1000])
def test_vc_bound_against_sauer_and_shelah(n):
    from math import comb

    for fitted, draws in ((0, 5), (1, 5), (5, 5), (20, 20)):
        v = vc_lower_bound(n, fitted, draws)
        share = stats.beta.ppf(0.05, fitted, draws - fitted + 1) if fitted else 0
        assert sum(comb(n, i) for i in range(v + 1)) >= share * 2**n * (1 - 1e-9)
        assert v == 0 or sum(comb(n, i) for i in range(v)) < share * 2**n
        assert v <= n
    assert 0.45 * n - 1 <= vc_lower_bound(n, 10, 10)


SIGNS = random_signs(4, 3, 0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: of_linear_class(np.eye(4), 1.0, (SIGNS + 1) // 2), "signs has 0, expected -1 and 1 only"),
        (lambda: of_linear_class(np.eye(4), 1.0, SIGNS[:, :3]), r"signs has shape \(3, 3\), expected \(draws, 4\)"),
        (lambda: of_linear_class(np.eye(4), -1, SIGNS), "radius is -1, expected a number of at least 0"),
        (lambda: of_linear_class(np.full((4, 2), np.nan), 1, SIGNS), "X has shape .*, expected finite numbers"),
        (lambda: of_kernel_class(np.triu(np.ones((4, 4))), 1, SIGNS), "K of shape .* is not symmetric"),
        (lambda: of_kernel_class(np.ones((4, 3)), 1, SIGNS), "K of shape .* is not symmetric"),
        (lambda: of_kernel_class(-np.eye(4), 1, SIGNS), "K has negative eigenvalues"),
        (lambda: of_kernel_class(np.eye(4), -1, SIGNS), "radius is -1"),
        (lambda: of_kernel_class(np.eye(4), 1, (SIGNS + 1) // 2), "signs has 0"),
        (lambda: kernel_class_bound(np.array([1, -0.5]), 1), "diagonal has -0.5, expected numbers from 0"),
        (lambda: kernel_class_bound(np.ones(2), -1), "radius is -1"),
        (lambda: vc_lower_bound(100, 5, 5, level=95), "level is 95, expected a number above 0 and below 1"),
        (lambda: empirical_rademacher(nn.Linear(4, 2), np.ones((4, 4)), 1), "model is Linear.*, expected a scikit-learn classifier"),
        (lambda: empirical_rademacher("nearest-neighbors", np.ones((4, 4)), 1), "model is 'nearest-neighbors', expected a scikit-learn"),
        (lambda: empirical_rademacher(DummyClassifier, np.ones((4, 4)), 1), "model is <class .*, expected a scikit-learn"),
    ],
)
def test_what_is_out_of_range_is_one_sentence(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_an_interval_contains_the_value_where_correlations_exceed_1():
    low, high = Rademacher((3.0, 3.2, 3.1)).interval
    assert low < 3.1 < high


@pytest.mark.parametrize("bad", [(0, 1, 1), (5, 2, 1), (5, -1, 1), (5, 0, 0)])
def test_vc_bound_of_nonsense(bad):
    with pytest.raises(InputError):
        vc_lower_bound(*bad)


def test_there_must_be_draws():
    with pytest.raises(InputError, match="n_draws"):
        empirical_rademacher(DummyClassifier(), make_split(n=12), 0)
    assert mean_interval([0.5], 0, 1) is None


def test_closed_forms_are_the_expectations_over_all_signs():
    X = np.random.default_rng(0).normal(size=(6, 3))
    signs = np.array(list(product([-1, 1], repeat=6)))
    exact = np.mean([2 / 6 * np.linalg.norm(s @ X) for s in signs])
    assert of_linear_class(X, 2.0, signs).value == pytest.approx(exact)
    assert of_kernel_class(X @ X.T, 2.0, signs).value == pytest.approx(exact)
    assert exact <= kernel_class_bound((X**2).sum(1), 2.0)


def test_a_bound_is_summed_in_float64():
    assert kernel_class_bound(np.full(100, 1000, np.float16), 1.0) == pytest.approx(1e5**0.5 / 100)
    assert kernel_class_bound(torch.ones(4), 1.0) == 0.5


def test_signs_that_are_all_alike_and_numbers_of_none_are_said():
    X = np.random.default_rng(0).normal(size=(2, 3))
    with pytest.raises(InputError, match=r"the 2 signs of draw \d are all alike, and LogisticRegression is not fitted to one class"):
        empirical_rademacher(LogisticRegression(), X, 12)
    assert empirical_rademacher(KNeighborsClassifier(1), X, 12).value == 1
    with pytest.raises(InputError, match="n_draws is 0"):
        random_signs(4, 0, 0)


def test_a_model_without_a_random_state_gets_the_seed():
    X = np.random.default_rng(0).normal(size=(30, 3))
    forest = RandomForestClassifier(3)
    first, again = (empirical_rademacher(forest, X, 2, seed=1) for _ in range(2))
    assert first.correlations == again.correlations
    assert first.correlations == empirical_rademacher(RandomForestClassifier(3, random_state=1), X, 2, seed=1).correlations
    assert forest.random_state is None
    nested = with_seed(make_pipeline(StandardScaler(), forest), 7)
    assert nested.get_params()["randomforestclassifier__random_state"] == 7
    assert with_seed(KNeighborsClassifier(1), 7).n_neighbors == 1


def test_a_dataset_and_a_name_are_no_examples():
    for examples, named in ((load_dataset("digits", 20), "a Dataset"), ("digits", "'digits'")):
        with pytest.raises(InputError, match=f"examples is {named}, expected a Split or an array"):
            empirical_rademacher(KNeighborsClassifier(1), examples)  # type: ignore[arg-type]
