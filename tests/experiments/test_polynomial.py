from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from shattering import Store
from shattering.experiments import polynomial
from shattering.experiments.experiment import Runs
from shattering.experiments.scales import SCALES
from shattering.runs.stored import Run


def test_the_degree_is_that_of_least_error_on_the_holdout():
    numbers, table = polynomial.run_study(5)
    fits = table[(table["kind"] == "fit") & (table["targets"] == "true")]
    assert numbers["degree"] == fits.loc[fits["holdout"].idxmin(), "degree"]
    x, y = (table.loc[(table["kind"] == "point") & (table["targets"] == "true"), c].to_numpy() for c in "xy")
    fit = np.polynomial.Polynomial.fit(x, y, numbers["degree"])
    assert numbers["train_true"] == pytest.approx(np.sqrt(np.mean((fit(x) - y) ** 2)), rel=1e-6)
    random = table.loc[(table["kind"] == "point") & (table["targets"] == "random"), "y"]
    assert sorted(random) == sorted(y)


@pytest.mark.parametrize(
    ("random", "verdict"),
    [((0.7, 0.7), "holds"), ((0.3, 0.31), "does not hold"), ((0.1, 1.0), "inconclusive")],
    ids=["as the post", "fitted", "now and then"],
)
def test_draws_that_differ_decide_nothing(random, verdict):
    numbers = {"data": "points", "degree": 3, "train_true": 0.2, "spread": 1.0}
    columns = {"targets": ["true", "random"], "degree": 3, "train": 0.2, "holdout": 0.2, "x": 0.0, "y": 0.0}
    table = pd.concat([pd.DataFrame(columns).assign(kind=kind) for kind in ("fit", "point", "curve")])

    class Kept(Runs):
        def records(self, specs):
            made = [Run(spec, Path("run"), "done", numbers | {"train_random": random[spec.seed % 2]}) for spec in specs]
            for run in made:
                run.__dict__["table"] = table
            return made

    demo = SCALES["demo"]
    assert polynomial.result(demo, Kept(Store("nowhere"), demo)).claims[0].verdict == verdict


@pytest.mark.parametrize(
    ("chosen", "verdict"),
    [
        ([3] * 15 + [5] * 4, "holds"),
        ([3] * 20, "holds"),
        ([3] * 4 + [5] * 15, "does not hold"),
        ([5] * 20, "does not hold"),
        ([3] * 8 + [5] * 9 + [4] * 3, "inconclusive"),
        ([], "missing"),
    ],
)
def test_a_degree_is_chosen_most_often_beyond_chance(chosen, verdict):
    claim = polynomial._degree_claim(chosen)
    assert claim.verdict == verdict
    assert (claim.why != "") == (verdict == "inconclusive")
