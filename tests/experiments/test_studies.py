import numpy as np
import pytest

from shattering import InputError, Store, run, sweep
from shattering.experiments import study_classical, study_kernels, study_linear
from shattering.experiments.studies import STUDIES
from shattering.runs.store import Record
from shattering.runs.study import StudySpec


def test_every_study_says_what_it_was_computed_on_and_is_the_same_twice(tmp_path):
    small = {
        "gradient-descent": {"n": 5, "d": 12, "passes": 5},
        "hessian": {"n": 4, "d": 9},
        "interpolators": {"n": 40, "n_test": 20},
        "double-descent": {"n": 30, "n_test": 20, "widths": [10, 30, 60]},
        "perceptron": {"n": 45, "passes": 3},
        "theorem1": {"n": 40},
        "corollary1": {"n": 40, "depths": [2, 5]},
        "rademacher": {"n": 20, "n_draws": 2, "params": {"epochs": 3}},
        "rademacher-classes": {"n": 20},
        "stability": {"n": 20, "n_replaced": 2, "params": {"epochs": 3}},
    }
    specs = [StudySpec(name, small.get(name, {})) for name in STUDIES]
    first, second = (sweep(specs, Store(tmp_path / name), jobs=2) for name in "ab")
    for a, b in zip(first, second, strict=True):
        assert isinstance(a, Record)
        assert isinstance(b, Record)
        assert a.status == "done", a.error
        assert a.result["data"]
        assert a.result == b.result
        assert a.table.equals(b.table)
        assert a.provenance["versions"]["torch"]
        assert run(a.spec, Store(tmp_path / "a")) == a


def test_descent_from_zero_finds_the_minimum_norm_solution_and_an_offset_stays():
    numbers, table = study_linear.gradient_descent(3, n=20, d=70)
    for method in study_linear.METHODS:
        assert numbers[f"{method}, from zero"] < 1e-9
        assert numbers[f"{method}, from elsewhere"] == pytest.approx(numbers["start_outside"], abs=1e-9)
        start = table[(table["method"] == method) & (table["start"] == "elsewhere")].iloc[0]
        assert start["passes"] == 0
        assert start["loss"] > 0.1
    assert 0.3 < numbers["start_outside"] < 0.5, "of a random start of half the norm, (1 - n/d) is outside the span"


def test_sgd_takes_one_point_a_step():
    X, y = study_linear._problem(0, 3, 5)
    weights = study_linear._descend(X, y, np.zeros(5), "SGD", 0)
    next(weights)
    w = next(weights)
    expected = np.zeros(5)
    for i in study_linear.seeds.generator(0, "order").permutation(3):
        expected += (y[i] - X[i] @ expected) * X[i] / (X**2).sum(1).max()
    np.testing.assert_allclose(w, expected)


def test_the_hessian_is_that_of_the_formula():
    numbers, table = study_linear.hessian(1, n=6, d=15)
    X, _ = study_linear._problem(1, 6, 15)
    values = np.linalg.eigvalsh(2 * X.T @ X / 6)[::-1]
    for _, part in table.groupby("solution"):
        np.testing.assert_allclose(part["eigenvalue"], values, atol=1e-12)
    assert numbers["difference"] == 0
    for name in ("minimum norm", "from far away", "wrong elsewhere"):
        assert numbers[f"{name}, rank"] == 6
        assert numbers[f"{name}, loss"] < 1e-20
    assert numbers["minimum norm, norm"] < min(numbers["from far away, norm"], numbers["wrong elsewhere, norm"])


def test_more_points_than_features_have_one_solution():
    with pytest.raises(InputError, match="n is 9 and d is 9, expected more features than points"):
        study_linear.gradient_descent(0, n=9, d=9)


def test_the_degree_is_that_of_least_error_on_the_holdout():
    numbers, table = study_classical.polynomial(5)
    fits = table[(table["kind"] == "fit") & (table["targets"] == "true")]
    assert numbers["degree"] == fits.loc[fits["holdout"].idxmin(), "degree"]
    x, y = (table.loc[(table["kind"] == "point") & (table["targets"] == "true"), c].to_numpy() for c in "xy")
    fit = np.polynomial.Polynomial.fit(x, y, numbers["degree"])
    assert numbers["train_true"] == pytest.approx(np.sqrt(np.mean((fit(x) - y) ** 2)), rel=1e-6)
    random = table.loc[(table["kind"] == "point") & (table["targets"] == "random"), "y"]
    assert sorted(random) == sorted(y)


def test_mistakes_of_the_perceptron_are_those_of_its_rule():
    generator = np.random.default_rng(0)
    X = np.hstack([generator.normal(size=(60, 4)), np.ones((60, 1))])
    y = np.sign(X @ [1, -2, 0.5, 0, 0.3])
    w, count, expected = y[0] * X[0], 1, []
    order = study_classical.seeds.generator(0, "order")
    for _ in range(20):
        for i in order.permutation(60):
            if y[i] * (X[i] @ w) <= 0:
                w, count = w + y[i] * X[i], count + 1
        expected.append(count)
    assert study_classical._mistakes(X, y, 20, 0) == expected
    margin = study_classical._margin(X, y)
    assert expected[-1] <= (X**2).sum(1).max() / margin**2
    assert margin >= (y * (X @ [1, -2, 0.5, 0, 0.3])).min() / np.linalg.norm([1, -2, 0.5, 0, 0.3])
    assert study_classical._margin(X, np.where(np.arange(60) % 2, 1.0, -1.0)) is None


def test_all_four_functions_interpolate_and_norms_are_in_their_order():
    _, table = study_kernels.interpolators(0, n=120, n_test=60, gamma=0.1)
    assert (table["train_accuracy"] == 1).all()
    assert (table["residual"] < 1e-8).all()
    norms = table.set_index("function")["norm"]
    assert norms.idxmin() == "minimum norm"


def test_double_descent_is_of_least_norm_on_nested_features():
    _, table = study_kernels.double_descent(0, n=60, n_test=40, widths=[20, 60, 400])
    assert table["width"].tolist() == [20, 60, 400]
    assert table["train_error"].iloc[-1] == 0
    _, alone = study_kernels.double_descent(0, n=60, n_test=40, widths=[60])
    assert alone["norm"].iloc[0] != table["norm"].iloc[2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("alchemy",), "unknown study 'alchemy'; known: corollary1, double-descent, gradient-descent"),
        (("hessian", {"m": 1}), "unknown parameter of study 'hessian': 'm'; known: d, n"),
        (("hessian", {"n": float("nan")}), "n is nan, expected a finite number"),
        (("hessian", {}, -1), "seed is -1"),
    ],
)
def test_bad_specs(arguments, message):
    with pytest.raises(InputError, match=message):
        StudySpec(*arguments)


def test_a_study_is_known_by_what_determines_it():
    spec = StudySpec("hessian", {"n": 40})
    assert spec.run_id == StudySpec("hessian").run_id == "2afd04efc190", "as stored in results/"
    assert StudySpec("hessian", {"n": 41}).run_id != spec.run_id
    assert StudySpec("hessian", seed=1).run_id != spec.run_id
    assert StudySpec.from_json(spec.to_json()) == spec
    with pytest.raises(InputError, match="unknown field of a study's specification: 'sed'"):
        StudySpec.from_json({"study": "hessian", "sed": 1})


def test_a_study_that_fails_says_why(tmp_path):
    store = Store(tmp_path)
    with pytest.raises(InputError, match="n is 9 and d is 5"):
        run(StudySpec("hessian", {"n": 9, "d": 5}), store)
    (record,) = store.everything()
    assert record.status == "failed"
    assert "n is 9 and d is 5" in record.error
    assert store.runs() == []
