import re
from dataclasses import replace

import numpy as np
import pytest

from shattering import InputError, RunSpec, Store
from shattering.experiments import shatter_point as module
from shattering.experiments.shatter_point import ShatterPoint, shatter_point

TREE = RunSpec(model="random-forest", params={"n_estimators": 1, "bootstrap": False, "max_leaf_nodes": 40}, n_test=20)


@pytest.mark.parametrize("true", [3, 7, 99, 100, 101, 150, 160, 399, 400, 401, 5000, 10**6])
def test_the_search_finds_the_neighbours_on_its_grid(true):
    tried = []

    def fits(n):
        tried.append(n)
        return n <= true

    n, failed = module._search(fits, lambda k: min(1000, round(100 * 2 ** (k / 4))), 10, 1000, 4)
    grid = sorted({min(1000, round(100 * 2 ** (k / 4))) for k in range(-13, 40)})
    below, above = [x for x in grid if x <= true], [x for x in grid if x > true]
    assert n == (below[-1] if below and below[-1] >= 10 else None) or (true < 10 and n is None)
    assert failed == (above[0] if above else None) or n is None
    assert len(tried) <= 9


@pytest.mark.parametrize(
    ("low", "true", "expected"), [(60, 70, (None, 71)), (60, 71, (71, 84)), (60, 90, (84, 100)), (99, 70, (None, 100))]
)
def test_the_search_goes_down_to_the_smallest_size(low, true, expected):
    """A halving goes below it, from wherever the search begins."""
    assert module._search(lambda n: n <= true, lambda k: min(1000, round(100 * 2 ** (k / 4))), low, 1000, 4) == expected


def test_a_model_of_known_capacity(tmp_path, capsys):
    """A tree of 40 leaves fits at least 40 random labels of distinct images, and cannot fit many more."""
    store = Store(tmp_path)
    found = shatter_point(TREE, store, accuracy=1.0, n_min=20, progress=True)
    said = capsys.readouterr().err.splitlines()
    assert len(said) == len(found.runs)
    assert all(re.fullmatch(r"n = \d+, seed 0: [\d.]+% of the labels fitted", line) for line in said)
    assert found.n is not None
    assert found.n_failed is not None
    assert 40 <= found.n < found.n_failed <= 120
    table = found.table()
    assert table["fitted"].tolist() == sorted(table["fitted"], reverse=True)
    assert all(r.spec.randomization.labels == 1 for r in found.runs)
    before = {f.stat().st_mtime_ns for f in tmp_path.rglob("result.json")}
    again = shatter_point(TREE, store, accuracy=1.0, n_min=20)
    assert again.n == found.n
    assert {f.stat().st_mtime_ns for f in tmp_path.rglob("result.json")} == before
    easier = shatter_point(TREE, store, accuracy=0.5, n_min=20)
    assert easier.n > found.n


def test_what_stored_runs_say(tmp_path):
    store = Store(tmp_path)
    found = shatter_point(TREE, store, accuracy=1.0, n_min=20, n_seeds=2)
    again = ShatterPoint.of([r for r in store.runs() if r.spec.model == "random-forest"], 1.0)
    assert again == found
    assert {r.spec.seed for r in found.runs} == {0, 1}
    assert ShatterPoint.of([], 1.0).n is None


def test_a_model_that_fits_everything(tmp_path):
    found = shatter_point(RunSpec(model="nearest-neighbors", params={"n_neighbors": 1}, n_test=20), Store(tmp_path), n_max=300)
    assert (found.n, found.n_failed) == (300, None)
    assert found.parameters_per_example is None


def test_a_model_that_fits_nothing(tmp_path):
    found = shatter_point(RunSpec(model="nearest-neighbors", params={"n_neighbors": 9}, n_test=20), Store(tmp_path), n_min=40)
    assert found.n is None
    assert found.n_failed is not None


def test_parameters_an_example(tmp_path):
    spec = RunSpec(params={"network": "mlp-1x16", "epochs": 60, "stop_when_fitted": True}, n_test=20)
    found = shatter_point(spec, Store(tmp_path), n_min=20, n_max=80, steps=1)
    assert found.n_parameters == 64 * 16 + 16 + 16 * 10 + 10
    assert found.parameters_per_example == pytest.approx(found.n_parameters / found.n)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"accuracy": 0}, "accuracy"),
        ({"n_min": 5}, "n_min"),
        ({"n_max": 10**6}, "n_max"),
        ({"steps": 0}, "steps"),
        ({"n_seeds": 0}, "n_seeds"),
    ],
)
def test_bad_arguments(tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        shatter_point(TREE, Store(tmp_path), **options)


def test_the_search_is_over_what_a_run_can_be_trained_on(tmp_path):
    store = Store(tmp_path)
    nearest = RunSpec(model="nearest-neighbors", params={"n_neighbors": 1}, n_test=20)
    assert shatter_point(replace(nearest, n_validation=1100), store, n_min=197).n == 197
    with pytest.raises(InputError, match="expected 10 <= n_min <= n_max <= 197"):
        shatter_point(replace(nearest, n_validation=1100), store, n_max=1297)
    with pytest.raises(InputError, match="spec has folds = 3, expected none"):
        shatter_point(RunSpec(model="nearest-neighbors", folds=3, fold=0), store)


def test_numbers_as_targets_have_no_shatter_point(tmp_path):
    X, y = np.random.default_rng(0).random((30, 8, 8), np.float32), np.random.default_rng(1).random(30)
    np.savez(tmp_path / "numbers.npz", x_train=X, y_train=y, x_test=X, y_test=y)
    with pytest.raises(InputError, match="numbers as targets, expected classes"):
        shatter_point(RunSpec(str(tmp_path / "numbers.npz"), model="kernel"), Store(tmp_path), n_min=10)
