import inspect

import pandas as pd
import pytest

from shattering import InputError, Store, run, sweep
from shattering.runs.study import STUDIES, StudySpec, find_study


def test_every_study_says_what_it_was_computed_on_and_is_the_same_twice(tmp_path):
    small = {
        "gradient-descent": {"n": 5, "d": 12, "passes": 5},
        "hessian": {"n": 4, "d": 9},
        "interpolators": {"n": 40, "n_test": 20},
        "double-descent": {"n": 30, "n_test": 20, "widths": [10, 30, 60]},
        "width-descent": {"n": 20, "n_test": 20, "width": 4, "epochs": 2, "measures": ["n_parameters", "parameter_norm"]},
        "perceptron": {"n": 45, "passes": 3},
        "theorem1": {"n": 40},
        "corollary1": {"n": 40, "depths": [2, 5]},
        "rademacher": {"n": 20, "n_draws": 2, "params": {"epochs": 3}},
        "rademacher-classes": {"n": 20},
        "stability": {"n": 20, "n_replaced": 2, "params": {"epochs": 3}},
        "inputs": {"n": 30},
        "convex": {"n": 12, "d": 9, "repeats": 2, "steps": 50},
        "loss-class": {"n": 10, "d": 3, "functions": 20, "draws": 10},
        "fat-shattering": {"n": 20, "draws": 1},
        "expressivity": {"d": 5, "sizes": [10]},
        "passes": {"n": 20, "n_test": 20, "passes": 2, "replaced": 2},
        "steps-bound": {"n": 20, "n_test": 20, "passes": 2, "replaced": 2, "orders": 2},
        "perceptron-bound": {"sizes": [5], "repeats": 3},
        "max-margin": {"n": 8, "d": 4, "steps": 10, "repeats": 2},
        "forgetting": {"n": 30, "epochs": 3, "trainings": 2},
        "bits": {"n": 20, "params": {"epochs": 3}},
        "polynomial-degrees": {"draws": 20},
    }
    small["polynomial"] = {}  # it is small
    assert set(small) == set(STUDIES)
    specs = [StudySpec(name, small[name]) for name in STUDIES]
    first, second = (sweep(specs, Store(tmp_path / name), jobs=2) for name in "ab")
    for a, b in zip(first, second, strict=True):
        assert a.status == "done", a.error
        assert a.result["data"]
        assert a.result == b.result
        assert a.table.equals(b.table)
        assert a.provenance["versions"]["torch"]
        assert run(a.spec, Store(tmp_path / "a")) == a


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("alchemy",), "unknown study 'alchemy'; known: .*hessian"),
        (("hessian", {"m": 1}), "unknown parameter of study 'hessian': 'm'; known: d, loss, n"),
        (("hessian", {"n": float("nan")}), "n is nan, expected a finite number"),
        (("hessian", {"n": 0}), "n is 0, expected a whole number of at least 1"),
        (("hessian", {"n": "40"}), "n is '40', expected a whole number"),
        (("stability", {"labels": 1.5}), "labels is 1.5, expected a number in 0…1"),
        (("hessian", {}, -1), "seed is -1"),
    ],
)
def test_bad_specs(arguments, message):
    with pytest.raises(InputError, match=message):
        StudySpec(*arguments)


def test_a_study_is_known_by_what_determines_it():
    spec = StudySpec("hessian", {"n": 40, "loss": "log-cosh"})
    assert spec.run_id == StudySpec("hessian", {"loss": "log-cosh"}).run_id == "9bd1df7c7907", "as stored in results/"
    assert StudySpec("hessian", {"n": 41, "loss": "log-cosh"}).run_id != spec.run_id
    assert StudySpec("hessian", {"loss": "log-cosh"}, seed=1).run_id != spec.run_id
    forests = [{"model": "random-forest", "params": {"max_features": value}} for value in (1, 1.0, 0.5)]
    assert len({StudySpec("rademacher", params).run_id for params in forests}) == 3, "one feature, all of them, half of them"
    assert StudySpec.from_json(spec.to_json()) == spec
    with pytest.raises(InputError, match="unknown field of a study's specification: 'sed'"):
        StudySpec.from_json({"study": "hessian", "sed": 1})


def test_a_number_that_is_not_finite_is_named(tmp_path, monkeypatch):
    def run_study(seed: int, *, n: int = 1):
        return {"data": "none", "error": float("inf")}, pd.DataFrame()

    monkeypatch.setattr("shattering.runs.study.find_study", lambda name: run_study)
    with pytest.raises(InputError, match=r"^study 'hessian': error is inf, expected a finite number$"):
        run(StudySpec("hessian"), Store(tmp_path))


def test_a_study_that_fails_says_why(tmp_path):
    store = Store(tmp_path)
    with pytest.raises(InputError, match="n is 9 and d is 5"):
        run(StudySpec("hessian", {"n": 9, "d": 5}), store)
    (record,) = store.everything()
    assert record.status == "failed"
    assert "n is 9 and d is 5" in record.error
    assert store.runs() == []


def test_every_study_is_a_function_of_a_seed_and_of_parameters_with_defaults():
    for name in STUDIES:
        seed, *others = inspect.signature(find_study(name)).parameters.values()
        assert seed.name == "seed"
        assert all(p.kind is p.KEYWORD_ONLY and p.default is not p.empty for p in others)
    with pytest.raises(InputError, match="unknown study 'alchemy'"):
        find_study("alchemy")
