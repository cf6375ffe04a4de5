from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from shattering.experiments import width_descent
from shattering.experiments.scales import DEMO
from shattering.runs.stored import Run

SCALE = replace(DEMO, capacity=replace(DEMO.capacity, widths=(1, 4, 16, 64), width_seeds=3))
ERRORS = {0.0: (0.5, 0.3, 0.2, 0.1), 0.2: (0.6, 0.3, 0.45, 0.2)}  # with a peak under noise


class Kept:
    """A store that has these studies."""

    def __init__(self, studies):
        self.studies = studies

    def records(self, specs):
        ids = {spec.run_id for spec in specs}
        return [study for study in self.studies if study.spec.run_id in ids]


@pytest.fixture
def stored():
    """Studies with known errors, and measures that follow the error, the size, and neither."""
    done = []
    for spec in width_descent.specs(SCALE):
        p, width = float(spec.params["labels"]), int(spec.params["width"])
        error = ERRORS[p][(1, 4, 16, 64).index(width)] + (spec.seed - 1) / 100
        numbers = {"data": "digits", "labels": p, "width": width, "parameters": 75 * width + 10, "train_loss": 0.001}
        values = {"oracle": error, "size": float(width), "constant": 1.0, "absent": float("nan")}
        missed = 0.3 if width < 16 else 0.0
        one = Run(spec, Path(spec.folder_name), "done", result={**numbers, "train_error": missed, "test_error": error})
        one.__dict__["table"] = pd.DataFrame([{"measure": name, "value": value, "reason": ""} for name, value in values.items()])
        done.append(one)
    return Kept(done)


def test_measures_are_placed_along_the_widths_and_the_peak_is_found(stored):
    result = width_descent.result(SCALE, stored)
    assert not result.not_done
    errors, along = result.tables
    assert [row["test"] for row in errors.rows] == [pytest.approx(value) for p in (0.0, 0.2) for value in ERRORS[p]]
    assert [(row["measure"], row["clean"], row["noisy"], row["size"]) for row in along.rows] == [
        ("oracle", 1.0, 1.0, pytest.approx(-2 / 3, abs=0.01)),
        ("size", -1.0, pytest.approx(-2 / 3, abs=0.01), 1.0),
        ("constant", None, None, None),
    ]
    assert [claim.verdict for claim in result.claims] == ["holds", "holds"]
    assert result.claims[1].evidence == "best that does not fit: 30.0%; at the largest width: 20.0%"
    assert result.claims[0].evidence == "best below: 30.0%; largest between: 45.0%; at the largest width: 20.0%"
    assert set(result.charts) == {"width-descent-digits-100", "width-descent-digits-100-measures"}


def test_each_dataset_has_its_figures_and_a_claim_of_its_own(stored):
    both = replace(SCALE, capacity=replace(SCALE.capacity, width_data=(("digits", 100, 500), ("mnist", 200, 50))))
    specs = width_descent.specs(both)
    assert len(specs) == len(stored.studies) * 2
    assert {(spec.params["dataset"], spec.params["n"]) for spec in specs} == {("digits", 100), ("mnist", 200)}
    result = width_descent.result(both, stored)
    names = ("double descent of trained networks, 20% corrupted labels", "fitting corrupted labels need not hurt")
    assert [(claim.name, claim.verdict) for claim in result.claims] == [
        *((name, "holds") for name in names),
        *((f"{name}, 200 of mnist", "missing") for name in names),
    ]
    assert result.size == "digits; missing"
    assert set(result.charts) == {"width-descent-digits-100", "width-descent-digits-100-measures"}


def test_one_seed_decides_nothing(stored):
    first = [run for run in stored.studies if run.spec.seed == 0]
    claim = width_descent.result(SCALE, Kept(first)).claims[0]
    assert (claim.verdict, claim.why) == ("inconclusive", "1 seed for some of the numbers, fewer than 3")


def test_errors_that_only_fall_have_no_peak():
    errors = [0.5, 0.4, 0.3, 0.2]
    assert width_descent._claim([errors]).verdict == "does not hold"
    assert width_descent._claim([errors[:2]]).verdict == "missing"
    assert width_descent._claim([]).verdict == "missing"


def test_a_peak_that_not_every_seed_has_decides_nothing():
    errors = [[0.5, 0.3, 0.3 + height, 0.2] for height in (0.005, 0.03, 0.04)]
    claim = width_descent._claim(errors)
    assert (claim.verdict, claim.why) == ("inconclusive", "the peak's 95 % interval, -2.0% to 7.0% above both sides, contains 2%")
    assert width_descent._claim([[0.5, 0.3, 0.3 + height, 0.2] for height in (0.03, 0.031, 0.032)]).verdict == "holds"


@pytest.mark.parametrize(
    ("widest", "missed", "verdict"),
    [
        ((0.2, 0.21, 0.22), (0.3, 0.2, 0.0), "holds"),
        ((0.4, 0.41, 0.42), (0.3, 0.2, 0.0), "does not hold"),
        ((0.2, 0.3, 0.39), (0.3, 0.2, 0.0), "inconclusive"),
        ((0.2, 0.21, 0.22), (0.3, 0.2, 0.02), "inconclusive"),
        ((0.2, 0.21, 0.22), (0.0, 0.0, 0.0), "inconclusive"),
    ],
    ids=["better", "worse", "by the seed", "the widest does not fit", "all fit"],
)
def test_networks_that_fit_corrupted_labels_are_compared_with_those_that_do_not(widest, missed, verdict):
    errors = [[0.5, 0.3, last] for last in widest]
    assert width_descent._interpolation_claim(errors, [list(missed)] * 3).verdict == verdict
    assert width_descent._interpolation_claim([], []).verdict == "missing"
