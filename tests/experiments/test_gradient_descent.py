import numpy as np
import pytest

from shattering import InputError, seeds
from shattering.experiments import gradient_descent
from shattering.experiments.linear_problem import linear_problem


def test_descent_from_zero_finds_the_minimum_norm_solution_and_an_offset_stays():
    numbers, table = gradient_descent.run_study(3, n=20, d=70)
    for method in gradient_descent.METHODS:
        assert numbers[f"{method}, from zero"] < 1e-9
        assert numbers[f"{method}, from elsewhere"] == pytest.approx(numbers["start_outside"], abs=1e-9)
        start = table[(table["method"] == method) & (table["start"] == "elsewhere")].iloc[0]
        assert start["passes"] == 0
        assert start["loss"] > 0.1
    assert 0.3 < numbers["start_outside"] < 0.5, "of a random start of half the norm, (1 - n/d) is outside the span"


def test_sgd_takes_one_point_a_step():
    X, y = linear_problem(0, 3, 5)
    weights = gradient_descent._descend(X, y, np.zeros(5), "SGD", 0)
    next(weights)
    w = next(weights)
    expected = np.zeros(5)
    for i in seeds.generator(0, "order").permutation(3):
        expected += (y[i] - X[i] @ expected) * X[i] / (X**2).sum(1).max()
    np.testing.assert_allclose(w, expected)


def test_more_points_than_features_have_one_solution():
    with pytest.raises(InputError, match="n is 9 and d is 9, expected more features than points"):
        gradient_descent.run_study(0, n=9, d=9)
