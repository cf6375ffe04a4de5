import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.kernel_ridge import KernelRidge
from sklearn.metrics.pairwise import laplacian_kernel
from sklearn.utils.estimator_checks import parametrize_with_checks

from shattering.errors import InputError
from shattering.learners.kernel import KernelInterpolator, KernelInterpolatorClassifier
from tests import oracles


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
    near = KernelInterpolator(gamma=0.5, precision="float32").fit(X, X[:, 0])
    far = KernelInterpolator(gamma=0.5, precision="float32").fit(X + 1e4, X[:, 0])
    np.testing.assert_allclose(far.dual_coef_, near.dual_coef_, rtol=1e-3, atol=1e-6)


def test_classes_by_one_hot(points):
    X, _, new = points
    labels = np.array(["a", "b", "c"])[np.arange(60) % 3]
    model = KernelInterpolatorClassifier(gamma=0.3).fit(X, labels)
    values = oracles.kernel_interpolation(X, np.eye(3)[np.arange(60) % 3], new, 0.3, 0.0)[1]
    np.testing.assert_allclose(model.decision_function(new), values, atol=1e-5)
    assert (model.predict(X) == labels).all()
    assert (model.fitted_ == labels).all()
    loose = KernelInterpolatorClassifier(gamma=0.3, ridge=5.0).fit(X, labels)
    assert (loose.fitted_ == loose.predict(X)).all()
    assert (loose.fitted_ != labels).any()
    assert model.score(X, labels) == 1


def test_memory_is_estimated_before_and_refused_with_an_alternative():
    plan = KernelInterpolatorClassifier(precision="float64", solver="cholesky", memory_limit=10**12).plan(60_000, 784)
    assert 14.4e9 < plan.memory < 18 * 2**30
    assert KernelInterpolatorClassifier(memory_limit=10**12).plan(60_000, 784).memory < 9.5e9
    with pytest.raises(InputError, match=r"'cholesky' in float64 needs about 1. GB of memory for 60,000 points, and 12 GB are .*float32"):
        KernelInterpolator(precision="float64", solver="cholesky", memory_limit=12 * 10**9).plan(60_000, 784)
    with pytest.raises(InputError, match="use fewer points"):
        KernelInterpolator(memory_limit=10**6).fit(np.zeros((2000, 2)), np.arange(2000))
    assert not KernelInterpolator(memory_limit=3 * 10**9).plan(60_000, 784).stored


def test_recomputing_the_matrix_gives_the_same(points):
    generator = np.random.default_rng(5)
    X, y = generator.normal(size=(1500, 20)), generator.normal(size=1500)
    stored = KernelInterpolator(gamma=0.1, solver="cg")
    plans = [stored.plan(1500, 20, 1)]
    limit = plans[0].memory - 10**6
    again = KernelInterpolator(gamma=0.1, solver="cg", memory_limit=limit)
    if not again.plan(1500, 20, 1).stored:
        np.testing.assert_allclose(again.fit(X, y).dual_coef_, stored.fit(X, y).dual_coef_, atol=1e-4)
    else:
        pytest.fail("the limit was to forbid storing the matrix")


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
    ],
)
def test_bad_parameters(points, params, message):
    with pytest.raises(InputError, match=message):
        KernelInterpolator(**params).fit(*points[:2])


def test_bitwise_the_same_twice(points):
    X, y, _ = points
    a, b = (KernelInterpolator(solver="cg").fit(X, y).dual_coef_ for _ in range(2))
    assert torch.equal(torch.from_numpy(a), torch.from_numpy(b))
