import numpy as np
import pytest

from shattering.experiments import polynomial


def test_the_degree_is_that_of_least_error_on_the_holdout():
    numbers, table = polynomial.run_study(5)
    fits = table[(table["kind"] == "fit") & (table["targets"] == "true")]
    assert numbers["degree"] == fits.loc[fits["holdout"].idxmin(), "degree"]
    x, y = (table.loc[(table["kind"] == "point") & (table["targets"] == "true"), c].to_numpy() for c in "xy")
    fit = np.polynomial.Polynomial.fit(x, y, numbers["degree"])
    assert numbers["train_true"] == pytest.approx(np.sqrt(np.mean((fit(x) - y) ** 2)), rel=1e-6)
    random = table.loc[(table["kind"] == "point") & (table["targets"] == "random"), "y"]
    assert sorted(random) == sorted(y)
