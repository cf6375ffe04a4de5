from pathlib import Path

import numpy as np
import pytest

from shattering import Store
from shattering.experiments import hessian
from shattering.experiments.experiment import Runs
from shattering.experiments.linear_problem import linear_problem
from shattering.experiments.scales import SCALES
from shattering.runs.stored import Run


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


def test_a_loss_whose_curvature_changes_has_the_same_at_every_solution_and_another_elsewhere():
    numbers, table = hessian.run_study(1, n=6, d=15, loss="log-cosh")
    X, _ = linear_problem(1, 6, 15)
    values = np.linalg.eigvalsh(X.T @ X / 6)[::-1]  # the second derivative of log cosh at 0 is 1
    for _, part in table.groupby("solution"):
        np.testing.assert_allclose(part["eigenvalue"], values, atol=1e-12)
    assert numbers["difference"] < 1e-12 < 1e-3 < numbers["elsewhere"]
    assert hessian.run_study(1, n=6, d=15)[0]["elsewhere"] == 0, "the squared error has one curvature everywhere, and shows nothing"


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        ({}, "holds"),
        ({"difference": 1e-6}, "does not hold"),
        ({"elsewhere": 0.0}, "does not hold"),
        ({"from far away, error": 1.0}, "holds"),
    ],
    ids=["as computed", "not the same", "the same everywhere", "one of three"],
)
def test_curvature_is_judged_at_solutions_and_elsewhere(change, verdict):
    class Kept(Runs):
        def records(self, specs):
            made = [Run(spec, Path("run"), "done", numbers | change) for spec in specs]
            for run in made:
                run.__dict__["table"] = table
            return made

    numbers, table = hessian.run_study(0, n=6, d=15, loss="log-cosh")
    assert hessian.result(SCALES["demo"], Kept(Store("nowhere"), SCALES["demo"])).claims[0].verdict == verdict
