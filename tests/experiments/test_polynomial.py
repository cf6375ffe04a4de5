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


def test_degrees_are_counted_over_draws_and_each_is_chosen_as_by_itself():
    numbers, table = polynomial.choose_degrees(3, n=6, degrees=3, n_holdout=20, draws=40)
    generator = polynomial.seeds.generator(3, "polynomial-degrees")
    x, x_holdout = np.linspace(0, 1, 6), (np.arange(20) + 0.5) / 20
    y, y_holdout = (np.sin(2 * np.pi * t)[:, None] + 0.3 * generator.normal(size=(len(t), 40)) for t in (x, x_holdout))

    def error(degree, draw):
        return np.mean((np.polynomial.Polynomial.fit(x, y[:, draw], degree)(x_holdout) - y_holdout[:, draw]) ** 2)

    chosen = [min(range(4), key=lambda degree: error(degree, draw)) for draw in range(40)]
    assert numbers == {"data": "6 points of a sine with noise 0.3", "draws": 40}
    assert table.to_dict("list") == {"degree": [0, 1, 2, 3], "chosen": [chosen.count(degree) for degree in range(4)]}
    assert len(set(chosen)) > 1


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
            made[-1].__dict__["table"] = pd.DataFrame({"degree": range(10), "chosen": [0, 0, 0, 9, 0, 1, 0, 0, 0, 0]})
            return made

    demo = SCALES["demo"]
    assert polynomial.result(demo, Kept(Store("nowhere"), demo)).claims[0].verdict == verdict


@pytest.mark.parametrize(
    ("chosen", "verdict"),
    [
        ({3: 15, 5: 4}, "holds"),
        ({3: 20, 5: 0}, "holds"),
        ({3: 4, 5: 15, 6: 2}, "does not hold"),
        ({5: 20}, "does not hold"),
        ({3: 8, 5: 9, 4: 3}, "inconclusive"),
        ({}, "missing"),
    ],
)
def test_a_degree_is_chosen_most_often_beyond_chance(chosen, verdict):
    claim = polynomial._degree_claim(chosen)
    assert claim.verdict == verdict
    assert (claim.why != "") == (verdict == "inconclusive")
