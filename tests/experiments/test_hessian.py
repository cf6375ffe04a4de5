import numpy as np

from shattering.experiments import hessian
from shattering.experiments.linear_problem import linear_problem


def test_the_hessian_is_that_of_the_formula():
    numbers, table = hessian.run_study(1, n=6, d=15)
    X, _ = linear_problem(1, 6, 15)
    values = np.linalg.eigvalsh(2 * X.T @ X / 6)[::-1]
    for _, part in table.groupby("solution"):
        np.testing.assert_allclose(part["eigenvalue"], values, atol=1e-12)
    assert numbers["difference"] == 0
    for name in ("minimum norm", "from far away", "wrong elsewhere"):
        assert numbers[f"{name}, rank"] == 6
        assert numbers[f"{name}, loss"] < 1e-20
    assert numbers["minimum norm, norm"] < min(numbers["from far away, norm"], numbers["wrong elsewhere, norm"])
