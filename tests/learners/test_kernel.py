import io

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.kernel_ridge import KernelRidge
from sklearn.metrics.pairwise import laplacian_kernel
from sklearn.utils.estimator_checks import parametrize_with_checks

from shattering.errors import InputError
from shattering.learners import minimum_norm
from shattering.learners.kernel import KernelInterpolator, KernelInterpolatorClassifier
from shattering.system import machine
from tests import oracles
from tests.conftest import Terminal


@pytest.fixture
def points():
    generator = np.random.default_rng(0)
    return generator.normal(size=(60, 5)), generator.normal(size=(60, 3)), generator.normal(size=(20, 5))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")  # data of the checks that cannot be interpolated
@parametrize_with_checks([KernelInterpolator(), KernelInterpolatorClassifier(), KernelInterpolatorClassifier("linear", ridge=1.0)])
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize("solver", ["cholesky", "cg"])
@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("ridge", [0.0, 0.1])
def test_agrees_with_the_slow_obvious_version(points, solver, precision, ridge):
    X, y, new = points
    model = KernelInterpolator(gamma=0.3, ridge=ridge, solver=solver, precision=precision, tol=1e-9).fit(X, y)
    dual, values = oracles.kernel_interpolation(X, y, new, 0.3, ridge)
    assert model.solver_ == solver
    np.testing.assert_allclose(model.dual_coef_, dual, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(model.predict(new), values, rtol=1e-6, atol=1e-7)
    K = oracles.gaussian_gram(X, X, 0.3)
    np.testing.assert_allclose(model.norms_, np.sqrt(np.diag(dual.T @ K @ dual)), rtol=1e-6)
    assert model.norm_ == pytest.approx(np.sqrt(np.trace(dual.T @ K @ dual)))
    assert model.residual_ <= 1e-9
    assert model.interpolated_ == (ridge == 0)


def test_condition_is_close_from_below(points):
    X, y, _ = points
    true = np.linalg.cond(oracles.gaussian_gram(X, X, 0.3))
    for solver in ("cholesky", "cg"):
        found = KernelInterpolator(gamma=0.3, solver=solver, precision="float64").fit(X, y).condition_
        assert true / 30 <= found <= true * 1.001


def test_linear_kernel_is_the_minimum_norm_solution():
    generator = np.random.default_rng(1)
    X, y = generator.normal(size=(30, 80)), generator.normal(size=30)
    w = KernelInterpolator("linear", tol=1e-10).fit(X, y).dual_coef_[:, 0] @ X
    np.testing.assert_allclose(w, np.linalg.pinv(X) @ y, atol=1e-9)


def test_callable_kernels_and_ridge_agree_with_scikit_learn(points):
    X, y, new = points
    ours = KernelInterpolator(laplacian_kernel, ridge=0.5, tol=1e-10).fit(X, y).predict(new)
    np.testing.assert_allclose(ours, KernelRidge(alpha=0.5, kernel="laplacian").fit(X, y).predict(new), atol=1e-8)


def test_conflicting_points_are_reported_and_the_rest_is_least_squares(points):
    X, y, _ = points
    X, y = np.vstack([X, X[:2]]), np.vstack([y, y[:2] + 1])
    with pytest.warns(ConvergenceWarning, match=r"of 62 points is singular, of rank 60 in float64, and 4 points coincide"):
        model = KernelInterpolator(gamma=0.3).fit(X, y)
    assert not model.interpolated_
    assert (model.n_conflicts_, model.rank_, model.solver_) == (4, 60, "low rank")
    fitted = model.predict(X)
    np.testing.assert_allclose(fitted[:2], y[:2] + 0.5, atol=1e-6)
    np.testing.assert_allclose(fitted[2:60], y[2:60], atol=1e-6)
    K = oracles.gaussian_gram(X, X, 0.3)
    np.testing.assert_allclose(model.dual_coef_, np.linalg.pinv(K, rcond=1e-10, hermitian=True) @ y, atol=1e-5)


def test_duplicates_that_agree_are_interpolated(points):
    X, y, _ = points
    model = KernelInterpolator(gamma=0.3).fit(np.vstack([X, X]), np.vstack([y, y]))
    assert model.interpolated_
    assert model.rank_ == 60


def test_a_linear_kernel_with_too_few_features_is_least_squares():
    generator = np.random.default_rng(2)
    X, y = generator.normal(size=(50, 4)), generator.normal(size=50)
    with pytest.warns(ConvergenceWarning, match="of rank 4"):
        model = KernelInterpolator("linear").fit(X, y)
    np.testing.assert_allclose(model.predict(X), X @ np.linalg.lstsq(X, y, rcond=None)[0], atol=1e-8)


@pytest.mark.parametrize("solver", ["cholesky", "cg"])
def test_what_float32_cannot_is_done_in_float64(solver):
    """Points so close that the Gram matrix is positive definite in float64 alone."""
    X = np.linspace(0, 1, 12)[:, None]
    y = np.sin(7 * X)
    model = KernelInterpolator(gamma=6.0, solver=solver, tol=1e-7).fit(X, y)
    assert np.linalg.cond(oracles.gaussian_gram(X, X, 6.0)) > 1e9
    assert model.precision_ == "float64"
    assert model.interpolated_


def test_points_far_from_zero_are_told_apart_in_float32():
    X = np.random.default_rng(0).normal(size=(40, 3))
    near = KernelInterpolator(gamma=0.5, precision="float32", tol=1e-9).fit(X, X[:, 0])
    far = KernelInterpolator(gamma=0.5, precision="float32", tol=1e-9).fit(X + 1e4, X[:, 0])
    assert far.precision_ == "float32"
    np.testing.assert_allclose(far.dual_coef_, near.dual_coef_, rtol=1e-3, atol=1e-6)


def test_whole_numbers_are_not_rounded():
    """Seconds since 1970, which float32 holds to the nearest 128."""
    X = 1_700_000_000 + 30 * np.arange(40)[:, None]
    model = KernelInterpolator(gamma=1e-3).fit(X, np.arange(40.0))
    assert model.interpolated_
    np.testing.assert_allclose(model.predict(X), np.arange(40), atol=1e-4)


def test_classes_by_one_hot(points):
    X, _, new = points
    labels = np.array(["a", "b", "c"])[np.arange(60) % 3]
    model = KernelInterpolatorClassifier(gamma=0.3).fit(X, labels)
    values = oracles.kernel_interpolation(X, np.eye(3)[np.arange(60) % 3], new, 0.3, 0.0)[1]
    np.testing.assert_allclose(model.decision_function(new), values, atol=1e-5)
    assert (model.predict(X) == labels).all()
    assert (model.train_predictions_ == labels).all()
    loose = KernelInterpolatorClassifier(gamma=0.3, ridge=5.0).fit(X, labels)
    assert (loose.train_predictions_ == loose.predict(X)).all()
    assert (loose.train_predictions_ != labels).any()
    assert model.score(X, labels) == 1


@pytest.fixture
def much_memory(monkeypatch):
    """A machine with a terabyte."""
    monkeypatch.setattr(machine, "_main_memory", lambda: 10**12)


def test_memory_is_estimated_before_and_refused_with_an_alternative(much_memory):
    plan = KernelInterpolatorClassifier(precision="float64", solver="cholesky").plan(60_000, 784)
    assert 14.4e9 < plan.memory < 18 * 2**30
    assert KernelInterpolatorClassifier().plan(60_000, 784).memory < 9.5e9
    with pytest.raises(InputError, match=r"'cholesky' in float64 needs about 1. GB of memory for 60,000 points, and 12 GB are .*float32"):
        KernelInterpolator(precision="float64", solver="cholesky", memory_limit=12 * 10**9).plan(60_000, 784)
    with pytest.raises(InputError, match="use fewer points"):
        KernelInterpolator(memory_limit=10**6).fit(np.zeros((2000, 2)), np.arange(2000))
    assert not KernelInterpolator(memory_limit=4 * 10**9).plan(60_000, 784).stored


def test_a_limit_of_memory_lowers_what_there_is_and_no_more(monkeypatch):
    monkeypatch.setattr(machine, "_main_memory", lambda: 9 * 10**9)
    assert KernelInterpolator(memory_limit=10**15).plan(60_000, 784).limit == 9 * 10**9
    assert KernelInterpolator(memory_limit=8e9).plan(60_000, 784).limit == 8e9
    monkeypatch.setattr(machine, "_main_memory", lambda: 10**6)
    for estimator in (KernelInterpolator(), KernelInterpolator(memory_limit=10**12)):
        with pytest.raises(InputError, match=r"needs about .* of memory for 2,000 points, and 1 MB are available: use fewer points"):
            estimator.fit(np.zeros((2000, 2)), np.arange(2000))


def test_the_variable_limits_fit_and_prediction(monkeypatch, points):
    X, y, _ = points
    model = KernelInterpolator(gamma=0.3).fit(X, y)
    monkeypatch.setenv("SHATTERING_MEMORY", "0.001")
    with pytest.raises(InputError, match=r"needs about .* of memory for 60 points, and 0 bytes are available"):
        KernelInterpolator(gamma=0.3).fit(X, y)
    with pytest.raises(InputError, match=r"the prediction of 60 points needs about .* and 0 bytes are available: predict fewer at once"):
        model.predict(X)


def test_predictions_take_smaller_blocks_where_memory_is_short(monkeypatch):
    generator = np.random.default_rng(3)
    X, y, new = generator.normal(size=(700, 4)), generator.normal(size=(700, 2)), generator.normal(size=(600, 4))
    model = KernelInterpolator(gamma=0.3, ridge=0.1).fit(X, y)
    whole, seen = model.predict(new), []
    kernel = model.kernel_
    model.kernel_ = lambda a, b: seen.append((len(a), len(b))) or kernel(a, b)
    for limit, side in ((10**9, 700), (6 * 10**6, 500), (2 * 10**6, 125)):
        monkeypatch.setattr(machine, "_main_memory", lambda limit=limit: limit)
        seen.clear()
        np.testing.assert_allclose(model.predict(new), whole, rtol=1e-11, atol=1e-12)
        assert max(max(sizes) for sizes in seen) == side
    model.set_params(memory_limit=10**5)
    with pytest.raises(InputError, match="the prediction of 600 points needs"):
        model.predict(new)


def test_recomputing_the_matrix_gives_the_same(points):
    generator = np.random.default_rng(5)
    X, y = generator.normal(size=(1500, 20)), generator.normal(size=1500)
    stored = KernelInterpolator(gamma=0.1, solver="cg")
    again = KernelInterpolator(gamma=0.1, solver="cg", memory_limit=stored.plan(1500, 20, 1).memory - 10**6)
    assert not again.plan(1500, 20, 1).stored
    np.testing.assert_allclose(again.fit(X, y).dual_coef_, stored.fit(X, y).dual_coef_, atol=1e-4)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"kernel": "cubic"}, "kernel is 'cubic', expected 'gaussian', 'linear' or a function"),
        ({"gamma": -1}, "gamma is -1, expected a number above 0"),
        ({"gamma": "auto"}, "gamma is 'auto'"),
        ({"ridge": -0.1}, "ridge is -0.1, expected a number of at least 0"),
        ({"ridge": float("nan")}, "ridge is nan"),
        ({"solver": "lu"}, "unknown solver 'lu'"),
        ({"precision": "float16"}, "unknown precision 'float16'"),
        ({"features": "sift"}, "unknown features 'sift'"),
        ({"gamma": 0}, "gamma is 0, expected a number above 0"),
        ({"gamma": float("nan")}, "gamma is nan"),
        ({"gamma": float("inf")}, "gamma is inf"),
        ({"gamma": np.ones(2)}, r"gamma is array\(\[1., 1.\]\)"),
        ({"kernel": ["linear"]}, r"unknown kernel \['linear'\]"),
        ({"features": ["gabor"]}, "features is .'gabor'., expected a text or none"),
        ({"ridge": True}, "ridge is True"),
        ({"ridge": "1"}, "ridge is '1'"),
        ({"max_steps": 0}, "max_steps is 0, expected a whole number of at least 1"),
        ({"max_steps": 2.5}, "max_steps is 2.5"),
        ({"memory_limit": 0}, "memory_limit is 0, expected a number above 0 or none"),
        ({"memory_limit": "1 GB"}, "memory_limit is '1 GB'"),
        ({"device": "gpu"}, "device is 'gpu', expected a device of torch such as 'cpu'"),
        ({"device": "mps"}, "device is 'mps', expected 'auto', 'cpu' or a CUDA device, which have float64"),
        ({"device": "meta"}, "device is 'meta', expected 'auto', 'cpu' or a CUDA device, which have float64"),
        ({"kernel": lambda a, b: np.full((len(a), len(b)), np.nan)}, "the kernel gives values that are not finite"),
        ({"kernel": lambda a, b: np.ones(len(a))}, r"the kernel gives an array of shape \(50,\) for 50 and 50 points"),
        ({"kernel": lambda a, b: 1j * a @ b.T}, "the kernel gives an array of type complex128, expected real numbers"),
        ({"kernel": lambda a, b: a[:, :1] * np.ones(len(b))}, "the kernel is not symmetric"),
        ({"kernel": lambda a, b: -a @ b.T}, "expected a kernel with k\\(x, x\\) of at least 0"),
        ({"kernel": lambda a, b: np.cos(a[:, :1] + b[:, 0])}, "on its diagonal, expected a kernel with"),
        (
            {"kernel": lambda a, b: np.tanh(a @ b.T + 3) + 1},
            "the kernel's matrix has the eigenvalue .* expected a kernel that gives none below 0",
        ),
    ],
)
def test_bad_parameters(points, params, message):
    with pytest.raises(InputError, match=message):
        KernelInterpolator(**params).fit(*points[:2])


def test_bitwise_the_same_twice(points):
    X, y, _ = points
    a, b = (KernelInterpolator(solver="cg").fit(X, y).dual_coef_ for _ in range(2))
    assert torch.equal(torch.from_numpy(a), torch.from_numpy(b))


@pytest.mark.parametrize("solver", ["cholesky", "cg"])
def test_a_fit_tells_what_it_does(points, solver, monkeypatch):
    """On a line of progress that is erased at the end, and, with verbose, in lines that stay."""
    monkeypatch.setattr(minimum_norm, "QUICK", 0.0)
    monkeypatch.setattr("sys.stderr", shown := Terminal())
    model = KernelInterpolator(solver=solver).fit(*points[:2])
    assert shown.getvalue().startswith("\rfit  0 s so far  n = 60 by ")
    assert shown.getvalue().endswith(" \r")
    assert "\n" not in shown.getvalue()
    monkeypatch.setattr("sys.stderr", said := io.StringIO())
    model.set_params(verbose=1).fit(*points[:2])
    lines = said.getvalue().splitlines()
    assert lines[0] == str(model.plan_)
    assert any(line.startswith("Cholesky: 1 of 1 columns" if solver == "cholesky" else "conjugate gradients: step 1, ") for line in lines)
    monkeypatch.setattr("sys.stderr", silent := io.StringIO())
    KernelInterpolator(solver=solver).fit(*points[:2])
    assert silent.getvalue() == ""


@pytest.mark.parametrize("solver", ["cholesky", "cg"])
def test_a_norm_that_rounding_decides_is_not_known(solver):
    """Points that coincide, with other targets: their coefficients are about 0.5 / ridge, of opposite signs, and of the norm the rest."""
    generator = np.random.default_rng(0)
    X, y = generator.normal(size=(20, 3)), generator.normal(size=20)
    X, y = np.vstack([X, X[:3]]), np.concatenate([y, y[:3] + 1])
    exact = KernelInterpolator(ridge=1e-4).fit(X, y).norm_
    assert KernelInterpolator(ridge=1e-6, solver=solver).fit(X, y).norm_ == pytest.approx(exact, rel=0.05)
    with pytest.warns(ConvergenceWarning, match="the norm is not known, norm_ is NaN: .*; take another ridge, or none"):
        model = KernelInterpolator(ridge=1e-10, solver=solver, tol=1e-5).fit(X, y)
    assert np.isnan(model.norm_)
    assert np.isnan(model.norms_).all()
    assert (model.summary_["norm"], model.summary_["norms"]) == (None, None)
    np.testing.assert_allclose(model.predict(X[3:20]), y[3:20], atol=1e-3)
