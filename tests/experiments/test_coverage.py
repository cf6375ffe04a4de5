"""What is reproduced: the states of rows and claims, by made-up results, and the items that are written down."""

import re
from pathlib import Path

import pytest

from shattering import Store
from shattering.experiments import table3
from shattering.experiments.catalogue import EXPERIMENTS
from shattering.experiments.coverage import ITEMS, LABELS, coverage, coverage_table
from shattering.experiments.experiment import Result, Table, judge
from shattering.experiments.reproduce import find_experiment
from shattering.experiments.scales import SCALES
from shattering.experiments.scoreboard import every_result

ROOT = Path(__file__).parents[2]


def state_of_row(scale, verdict, name="table1"):
    row = dict.fromkeys(LABELS[name], "x") | {"verdict": verdict}
    (item,) = [i for i in coverage([Result(name, "T", scale, "n", [], [Table("t", (), [row])])]) if i.place.endswith("a row")]
    return item.state


@pytest.mark.parametrize(
    ("scale", "verdict", "state"),
    [
        ("full", "train ≥ 99%: yes; test within 3 points: yes", "verified"),
        ("full", "train ≥ 99%: yes; test within 3 points: no", "differs"),
        ("full", "train ≥ 99%: no (paper: yes)", "differs"),
        ("full", "train ≥ 99%: no (paper: no)", "verified"),
        ("full", "train ≥ 99%: yes (paper: no)", "differs"),
        ("full", "inconclusive: the training of x ended while its loss still fell", "open"),
        ("small", "inconclusive: the training of x ended while its loss still fell", "small n only"),
        ("small", "train ≥ 99%: yes; test within 3 points: no", "small n only"),
        ("full", "missing", "not run"),
        ("demo", "not comparable: one image per class", "not run"),
    ],
)
def test_the_state_of_a_row(scale, verdict, state):
    assert state_of_row(scale, verdict) == state


@pytest.mark.parametrize(
    ("experiment", "scale", "value", "state"),
    [
        ("table1", "full", 0.9, "verified"),
        ("table1", "small", 0.9, "small n only"),
        ("table1", "full", 0.1, "differs"),
        ("hessian", "demo", 0.9, "verified"),
        ("table1", "full", None, "not run"),
    ],
)
def test_the_state_of_a_claim(experiment, scale, value, state):
    claim = judge("it fits", "It fits.", "above half", {"train": value}, lambda v: v["train"] > 0.5)
    found = coverage([Result(experiment, "T", scale, "n", [], [Table("t", (), [])], claims=[claim])])
    assert [item.state for item in found if item.item == "it fits"] == [state]


@pytest.mark.parametrize(("experiment", "scale", "state"), [("table1", "full", "open"), ("table1", "small", "small n only")])
def test_a_claim_is_open_only_at_the_scale_that_it_needs(experiment, scale, state):
    claim = judge("it fits", "It fits.", "above half", {"train": 0.9}, lambda v: v["train"] > 0.5, doubts=["one seed"])
    found = coverage([Result(experiment, "T", scale, "n", [], [Table("t", (), [])], claims=[claim])])
    assert [item.state for item in found if item.item == "it fits"] == [state]
    assert f"{state} 1" in coverage_table(found[:1]).title


def test_no_command_is_named_for_what_it_does_not_run():
    (item,) = (item for item in ITEMS if "32,000 filters" in item.item)
    assert max(filters for _, filters in SCALES["full"].kernels.conv_sizes) < 32_000
    assert (item.state, item.command) == ("missing", "")


def test_a_row_that_was_run_hides_those_that_were_not():
    def result(scale, verdict):
        return Result("table4", "T", scale, "n", [], [Table("t", (), [{"model": "x", "regularizer": "y", "verdict": verdict}])])

    found = coverage([result("small", "train ≥ 99%: yes (paper: yes)"), result("full", "missing")])
    assert (found[0].state, found[0].why) == ("small n only", "small: train ≥ 99%: yes (paper: yes)")


def test_every_experiment_has_a_place_and_a_scale():
    for name in EXPERIMENTS:
        place, scale = find_experiment(name).PLACE
        assert re.match(r"ICLR|CACM|blog", place)
        assert scale in SCALES


def test_items_name_tests_that_exist():
    assert [item.why for item in ITEMS if item.why.startswith("tests/") and not (ROOT / item.why).exists()] == []
    assert len({(item.place, item.item) for item in ITEMS}) == len(ITEMS)


def test_an_empty_store_verifies_only_what_tests_check(tmp_path):
    found = coverage(every_result(Store(tmp_path), ["polynomial", "table4"]))
    assert {item.state for item in found if item not in ITEMS} == {"not run"}
    assert coverage_table(found).title.startswith(f"{len(found)} items: verified ")


def test_a_model_of_ours_beside_the_papers_is_no_item():
    """The papers do not say what a linear model on the random conv-net does, so that its errors differ from none of theirs."""
    labels = {"data": "cifar10", "ridge": "0"}
    rows = [
        {**labels, "model": "kernel", "verdict": "error ≤ 1.25 times theirs: no"},
        {**labels, "model": "linear", "verdict": table3.OURS},
    ]
    found = coverage([Result("table3", "T", "full", "n", [], [Table("t", (), rows)])])
    assert [(item.item, item.state) for item in found if item.place.endswith("a row")] == [("cifar10, kernel, ridge 0", "differs")]
