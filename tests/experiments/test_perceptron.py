import numpy as np

from shattering import seeds
from shattering.experiments import perceptron


def test_mistakes_of_the_perceptron_are_those_of_its_rule():
    generator = np.random.default_rng(0)
    X = np.hstack([generator.normal(size=(60, 4)), np.ones((60, 1))])
    y = np.sign(X @ [1, -2, 0.5, 0, 0.3])
    w, count, expected = y[0] * X[0], 1, []
    order = seeds.generator(0, "order")
    for _ in range(20):
        for i in order.permutation(60):
            if y[i] * (X[i] @ w) <= 0:
                w, count = w + y[i] * X[i], count + 1
        expected.append(count)
    assert perceptron._mistakes(X, y, 20, 0) == expected
    margin = perceptron._margin(X, y)
    assert expected[-1] <= (X**2).sum(1).max() / margin**2
    assert margin >= (y * (X @ [1, -2, 0.5, 0, 0.3])).min() / np.linalg.norm([1, -2, 0.5, 0, 0.3])
    assert perceptron._margin(X, np.where(np.arange(60) % 2, 1.0, -1.0)) is None
