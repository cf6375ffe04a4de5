import numpy as np
from sklearn.linear_model import Perceptron

from shattering import seeds
from shattering.experiments import perceptron


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
