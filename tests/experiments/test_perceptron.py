import numpy as np
import pytest
from sklearn.linear_model import Perceptron

from shattering import InputError, seeds
from shattering.experiments import perceptron, perceptron_bound


def test_mistakes_are_those_of_scikit_learns_perceptron():
    generator = np.random.default_rng(0)
    X = np.hstack([generator.normal(size=(60, 4)), np.ones((60, 1))])
    y = np.sign(X @ [1, -2, 0.5, 0, 0.3])
    model = Perceptron(fit_intercept=False).partial_fit(X[:1], y[:1], classes=[-1, 1])
    order, count, expected = seeds.generator(0, "order"), 1, []
    for _ in range(20):
        for i in order.permutation(60):
            if y[i] * (X[i] @ model.coef_[0]) <= 0:
                model.partial_fit(X[i : i + 1], y[i : i + 1])
                count += 1
        expected.append(count)
    assert perceptron._mistakes(X, y, 20, 0) == expected
    margin = perceptron._margin(X, y)
    assert expected[-1] <= (X**2).sum(1).max() / margin**2
    assert margin >= (y * (X @ [1, -2, 0.5, 0, 0.3])).min() / np.linalg.norm([1, -2, 0.5, 0, 0.3])
    assert perceptron._margin(X, np.where(np.arange(60) % 2, 1.0, -1.0)) is None


def test_numbers_out_of_range_are_said():
    numbers, table = perceptron.run_study(0, n=50, passes=1)
    assert numbers["true, last_pass"] == numbers["true, mistakes"] == table["mistakes"].iloc[0]
    for wrong, message in (
        ({"passes": 0}, "passes is 0"),
        ({"classes": (1, 1)}, "two different digits"),
        ({"classes": [0, 10]}, "two different digits"),
        ({"n": 1}, "images of both classes"),
    ):
        with pytest.raises(InputError, match=message):
            perceptron.run_study(0, **wrong)
    for wrong, message in (
        ({"sizes": (5000,)}, r"sizes is 5000, expected a whole number in 1…\d+"),
        ({"repeats": 1}, "repeats is 1"),
        ({"classes": (3, 3)}, "two different digits"),
    ):
        with pytest.raises(InputError, match=message):
            perceptron_bound.run_study(0, **wrong)
    with pytest.raises(InputError, match="still errs on 2 examples after 5 passes"):
        perceptron_bound._converged(np.ones((2, 1)), np.array([1, -1]), passes=5)
