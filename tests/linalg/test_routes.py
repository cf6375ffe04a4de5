"""Every way to a solution against a slow, obvious one: all eigenvalues in float64, and the same cutoff."""

import itertools

import numpy as np
import pytest
import torch
from scipy.linalg import pinvh
from scipy.spatial.distance import cdist
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning

from shattering.errors import InputError
from shattering.learners.kernel import KernelInterpolator, KernelInterpolatorClassifier
from shattering.linalg import spectrum
from shattering.linalg.gram import Gaussian, KernelGram, linear
from shattering.linalg.plan import make_plan
from shattering.linalg.solve import solve
from shattering.linalg.stored import StoredGram
from shattering.linalg.system import System
from shattering.linalg.tiles import LowerTiles

GENERATOR = np.random.default_rng(0)
N = 18
DATA = {
    "few features": GENERATOR.normal(size=(N, 3)),
    "many features": GENERATOR.normal(size=(N, 40)),
    "one feature": GENERATOR.normal(size=(N, 1)),
    "constant features": np.full((N, 4), 0.7),
    "zeros": np.zeros((N, 2)),
    "repeated rows": np.repeat(GENERATOR.normal(size=(N // 3, 5)), 3, axis=0),
    "far apart": GENERATOR.normal(size=(N, 4)) * 10.0 ** GENERATOR.integers(-3, 4, size=(N, 1)),
}


def laplacian(A, B):
    return np.exp(-cdist(A, B, "cityblock") / A.shape[1])


KERNELS = {
    "linear": ("linear", 1.0),
    "gaussian": ("gaussian", 0.3),
    "gaussian, tiny gamma": ("gaussian", 1e-12),
    "gaussian, smooth": ("gaussian", 1e-3),
    "gaussian, huge gamma": ("gaussian", 1e300),
    "callable": (laplacian, 1.0),
}
RIDGES = (0.0, 1e-8, 1e-3, 1.0)
WAYS = list(itertools.product(("cholesky", "cg"), ("float32", "float64")))


def matrix(X, name):
    kernel, gamma = KERNELS[name]
    if kernel == "linear":
        return X @ X.T
    if kernel == "gaussian":
        with np.errstate(over="ignore"):
            return np.exp(-gamma * cdist(X, X, "sqeuclidean"))
    return laplacian(X, X)


def obvious(K, y, ridge):
    """The least squares of least norm, its rank, and whether no eigenvalue is so close to the cutoff that rounding decides."""
    values, vectors = np.linalg.eigh(K)
    values = np.maximum(values, 0) + ridge
    cutoff = len(K) * np.finfo(float).eps * values.max()
    kept = values > cutoff
    inverse = np.where(kept, 1 / np.where(kept, values, 1), 0)
    clear = not ((values > cutoff / 100) & (values < 1000 * cutoff)).any()
    return vectors @ (inverse[:, None] * (vectors.T @ y)), int(kept.sum()), clear


def check(model, K, y, x, rank, clear, case):
    """What is reported is true of the returned solution; and that is the obvious one, as far as float64 can tell."""
    found, size = model.dual_coef_, np.linalg.norm(y)
    system = K + model.ridge * np.eye(len(K))
    scale = np.linalg.norm(system, 2)
    rounding = 1e-14 * scale * np.linalg.norm(found)
    true, best = (np.linalg.norm(y - system @ a) / size for a in (found, x))
    assert abs(model.residual_ - true) <= 1e-10 + 1e-6 * true + rounding / size, case
    assert model.residual_ <= 1 + 1e-9, case
    assert model.converged_ == (model.residual_ <= model.tol), case
    square = np.trace(found.T @ K @ found)
    if np.isnan(model.norm_):  # which is said where the rounding of the kernel decides the norm
        assert rounding * np.linalg.norm(found) > 1e-3 * square, case
    else:
        assert abs(model.norm_**2 - square) <= 0.02 * square + 1e-300, case
    np.testing.assert_allclose(model._fitted, K @ found, atol=1e-9 * size + rounding, err_msg=case)
    assert model.rank_ is None or model.solver_ == "low rank", case
    if clear:
        assert true <= best + model.tol + 1e-8 + rounding / size, case
        np.testing.assert_allclose(K @ found, K @ x, atol=1e-6 * abs(y).max() + rounding, err_msg=case)
        if model.rank_ is not None or not model.converged_:
            assert model.rank_ == (rank if rank < len(K) else None), case
            np.testing.assert_allclose(found, x, atol=1e-5 * abs(x).max(initial=1e-12), err_msg=case)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("data", DATA)
def test_every_way_finds_the_least_squares_of_least_norm(data, kernel):
    values = np.random.default_rng(1).normal(size=(N, 3))
    function, gamma = KERNELS[kernel]
    for ridge, (solver, precision), dtype in itertools.product(RIDGES, WAYS, (np.float64, np.float32)):
        if dtype == np.float32 and precision == "float64":
            continue
        X, y = DATA[data].astype(dtype), values[:, : 1 if precision == "float64" else 3]
        K = matrix(X.astype(float), kernel)
        model = KernelInterpolator(function, gamma=gamma, ridge=ridge, solver=solver, precision=precision, tol=1e-9, max_steps=30)
        case = f"ridge {ridge:g}, {solver} in {precision}, points {dtype.__name__}"
        check(model.fit(X, y), K, y, *obvious(K, y, ridge), case)


def test_conjugate_gradients_that_end_too_early_say_so():
    """With ridge the system is not singular, and no other system's residual is told instead."""
    X, labels = load_digits(return_X_y=True)
    X, y = X[:400] / 16, np.eye(10)[labels[:400]]
    K = np.exp(-0.05 * cdist(X, X, "sqeuclidean"))
    exact = KernelInterpolator(gamma=0.05, ridge=1.0).fit(X, y)
    for precision in ("float32", "float64"):
        with pytest.warns(
            ConvergenceWarning, match=r"above tol=1e-06: conjugate gradients have not converged after 2 steps \(max_steps=2\)$"
        ):
            model = KernelInterpolator(gamma=0.05, ridge=1.0, solver="cg", precision=precision, max_steps=2).fit(X, y)
        true = np.linalg.norm(y - K @ model.dual_coef_ - model.dual_coef_) / np.linalg.norm(y)
        assert model.residual_ == pytest.approx(true, rel=1e-6)
        assert true > 1e-4
        assert (model.converged_, model.summary_["converged"], model.solver_, model.steps_) == (False, False, "cg", 2)
        assert model.norm_ == pytest.approx(np.sqrt(np.trace(model.dual_coef_.T @ K @ model.dual_coef_)))
        assert model.norm_ == pytest.approx(exact.norm_, rel=0.05)


def smooth(n=300, d=5):
    """Points whose Gaussian Gram matrix has eigenvalues of every size down to rounding."""
    generator = np.random.default_rng(0)
    X, y = generator.normal(size=(n, d)), generator.normal(size=n)
    return X, y, np.exp(-1e-3 * cdist(X, X, "sqeuclidean"))


@pytest.mark.parametrize("solver", ["cholesky", "cg"])
@pytest.mark.parametrize("dense", [True, False])
def test_least_squares_come_as_close_as_numpy(monkeypatch, solver, dense):
    X, y, K = smooth()
    if not dense:
        monkeypatch.setattr(spectrum, "DENSE", 0)
    with pytest.warns(
        ConvergenceWarning, match=r"of 300 points is singular, of rank \d+ in float64; the solution is that of least squares"
    ):
        model = KernelInterpolator(gamma=1e-3, solver=solver, max_steps=50).fit(X, y)
    expected, _, rank, _ = np.linalg.lstsq(K, y)
    best = np.linalg.norm(y - K @ expected) / np.linalg.norm(y)
    assert model.residual_ == pytest.approx(best, rel=0.02)
    assert model.residual_ == pytest.approx(np.linalg.norm(y - K @ model.dual_coef_[:, 0]) / np.linalg.norm(y), rel=1e-4)
    assert abs(model.rank_ - rank) <= 3
    assert np.linalg.norm(model._fitted[:, 0] - K @ expected) < 0.05 * np.linalg.norm(y)


@pytest.mark.parametrize("ridge", [0.0, 1e-8, 1e-3])
@pytest.mark.parametrize("rank", [6, 30, 60])
def test_a_factor_gives_what_all_eigenvalues_give(monkeypatch, ridge, rank):
    generator = np.random.default_rng(rank)
    features, y = torch.from_numpy(generator.normal(size=(60, rank))), torch.from_numpy(generator.normal(size=(60, 2)))
    system = System(KernelGram(linear, features), y, ridge)
    dense = spectrum.least_squares(system, 10**9)
    monkeypatch.setattr(spectrum, "DENSE", 0)
    factor = spectrum.least_squares(system, 10**9)
    x, expected, _ = obvious((features @ features.T).numpy(), y.numpy(), ridge)
    for found in (dense, factor):
        assert (found.rank, found.complete) == (expected, True)
        np.testing.assert_allclose(found.x, x, atol=1e-5 * abs(x).max())
    if not ridge:
        np.testing.assert_allclose(dense.x, pinvh((features @ features.T).numpy()) @ y.numpy(), atol=1e-9)


def test_memory_for_few_columns_gives_what_they_span_and_says_so(monkeypatch):
    generator = np.random.default_rng(0)
    X, y = np.repeat(generator.normal(size=(300, 4)), 2, axis=0), generator.normal(size=600)
    monkeypatch.setattr(spectrum, "DENSE", 0)
    monkeypatch.setattr(spectrum, "_rank", lambda *_: 40)
    with pytest.warns(ConvergenceWarning, match="this solution uses a factor of 40 columns, as memory held no more of 600, and"):
        model = KernelInterpolator(gamma=0.3).fit(X, y)
    K = np.exp(-0.3 * cdist(X, X, "sqeuclidean"))
    assert model.residual_ == pytest.approx(np.linalg.norm(y - K @ model.dual_coef_[:, 0]) / np.linalg.norm(y))
    assert (model.solver_, model.rank_, model.converged_) == ("low rank", 40, False)
    monkeypatch.setattr(spectrum, "_rank", lambda *_: 0)
    with pytest.raises(InputError, match=r"of 600 points is singular in float32, and memory does not do for another way: use more"):
        KernelInterpolator(gamma=0.3).fit(X, y)


def test_a_fallback_takes_no_more_than_the_limit():
    gram = KernelGram(linear, torch.from_numpy(smooth()[0]))
    system = System(gram, torch.ones((300, 1), dtype=torch.float64), 0.0)
    assert spectrum.least_squares(system, 10**5) is None
    needed = 4 * 8 * 300 * 300
    for memory, rank in ((10**9, 300), (needed // 2, 110), (needed // 10, 27)):
        assert spectrum._rank(300, memory) == pytest.approx(rank, abs=1)
        assert 32 * (300 * spectrum._rank(300, memory) + spectrum._rank(300, memory) ** 2) <= max(memory, 2 * needed)


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("ridge", [0.0, 1e-3])
def test_a_stored_matrix_is_solved_alike(precision, ridge):
    """Fewer features than points: the rounding of a matrix stored in float32 is not taken for features."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn((200, 150), generator=generator, dtype=torch.float64) + 1
    y = torch.randn((200, 2), generator=generator, dtype=torch.float64)
    gram = StoredGram.zeros(200, getattr(torch, precision))
    for number in range(3):
        gram.add((number, 50), features[:, 50 * number : 50 * number + 50])
    gram.scale = 200 / float(gram.diagonal().sum())
    plan = make_plan(200, 1, 2, precision=precision)
    found = solve(gram, y, ridge, plan, 1e-6, 100)
    K = gram.scale * (features @ features.T).numpy()
    x, _, _ = obvious(K, y.numpy(), ridge)
    assert found.rank == (None if ridge else 150)
    np.testing.assert_allclose(found.fitted, K @ x, atol=1e-4 if precision == "float32" else 1e-5)
    assert found.residual == pytest.approx(np.linalg.norm(y.numpy() - K @ x - ridge * x) / np.linalg.norm(y.numpy()), abs=1e-5)


@pytest.mark.parametrize("solver", ["cholesky", "cg"])
def test_scale_does_not_matter(solver):
    """Of the targets, exactly; of the features and of the ridge, as far as numbers go."""
    generator = np.random.default_rng(2)
    X, y = generator.normal(size=(30, 50)), generator.normal(size=30)
    plain = KernelInterpolator("linear", solver=solver).fit(X, y)
    for factor in (2.0**-900, 2.0**900):
        np.testing.assert_array_equal(KernelInterpolator("linear", solver=solver).fit(X, y * factor).dual_coef_, plain.dual_coef_ * factor)
    for factor in (1e-20, 1e-8, 1e8, 1e25):
        scaled = KernelInterpolator("linear", solver=solver).fit(X * factor, y)
        assert scaled.residual_ <= 1e-6
        np.testing.assert_allclose(scaled.predict(X * factor), y, atol=1e-4)
    for ridge in (1e30, 1e200):
        with pytest.warns(ConvergenceWarning, match="the norm is not known"):  # K x is far below the rounding of ridge x
            heavy = KernelInterpolator("linear", ridge=ridge, solver=solver).fit(X, y)
        np.testing.assert_allclose(heavy.dual_coef_[:, 0], y / ridge, rtol=1e-6)


def test_values_that_are_no_numbers_are_refused_in_one_sentence():
    X, y = np.random.default_rng(0).normal(size=(5, 2)), np.arange(5.0)
    with pytest.raises(InputError, match=r"X has values as large as 1.3e\+199, expected at most 1e\+30: scale it down"):
        KernelInterpolator().fit(X * 1e200, y)
    with pytest.raises(InputError, match=r"the variance of X is .*, too small for gamma='scale'"):
        KernelInterpolator().fit(X * 1e-160, y)
    with pytest.raises(InputError, match=r"the Gram matrix has values that are not finite on its diagonal"):
        solve(_Infinite(), torch.ones((2, 1), dtype=torch.float64), 0.0, make_plan(2, 1, 1), 1e-6, 10)
    with pytest.raises(InputError, match=r"the targets are as large as .*e\+308, and the solution is larger than any number"):
        KernelInterpolator("linear").fit(X * 1e-10, y * 4e307)


class _Infinite:
    n, features, noise = 2, 1, 0.0

    def diagonal(self):
        return torch.tensor([1.0, torch.inf], dtype=torch.float64)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("solver", ["cholesky", "cg"])
def test_conflicting_labels_of_one_point_give_their_mean(solver):
    """Rounding of float32 included, and whatever else there is."""
    generator = np.random.default_rng(4)
    X = np.repeat(generator.random((20, 8), dtype=np.float32), [3] * 10 + [1] * 10, axis=0)
    y = generator.normal(size=40)
    expected = np.concatenate([np.repeat(y[:30].reshape(10, 3).mean(1), 3), y[30:]])
    for ridge in (0.0, 1e-6):
        model = KernelInterpolator(gamma=1.0, ridge=ridge, solver=solver, max_steps=100).fit(X, y)
        np.testing.assert_allclose(model.predict(X), expected, atol=1e-4)
        assert ridge or (model.rank_, model.n_conflicts_) == (20, 30)


def test_one_point_and_one_class():
    one = KernelInterpolator().fit([[1.0, 2.0]], [3.0])
    assert (one.predict([[1.0, 2.0]]), one.interpolated_, one.condition_) == (3.0, True, 1.0)
    with pytest.raises(InputError, match="y has 1 class, expected at least two classes"):
        KernelInterpolatorClassifier(gamma=1.0).fit(np.arange(4.0)[:, None], 4 * ["a"])


class CountedGram(KernelGram):
    """A Gram matrix that notes the type of every block it gives."""

    def __init__(self, kernel, points):
        super().__init__(kernel, points)
        self.types = []

    def block(self, rows, cols, dtype):
        self.types.append(dtype)
        return super().block(rows, cols, dtype)


def problem():
    """Return a matrix of 60 points with condition number 1,000, two targets, and the plan to solve it by a factor in float32."""
    points, targets = np.random.default_rng(0).normal(size=(60, 3)), np.random.default_rng(1).normal(size=(60, 2))
    return CountedGram(Gaussian(0.5), torch.from_numpy(points)), torch.from_numpy(targets), make_plan(60, 3, 2, "cholesky")


@pytest.mark.parametrize(("tolerance", "passes"), [(1e-4, 1), (1e-9, 2)])
def test_refinement_passes_over_the_matrix_in_float64_only_where_float32_does_not_do(tolerance, passes):
    gram, targets, plan = problem()
    solution = solve(gram, targets, 0.05, plan, tolerance, max_steps=100)
    assert (solution.how, solution.precision) == ("cholesky", "float32")
    assert solution.residual <= tolerance
    assert gram.types == [torch.float32] * 2 + [torch.float64] * passes  # the factor and the first correction; then residuals
    assert solution.steps == 1 + passes
    exact = targets - gram.block(slice(60), slice(60), torch.float64) @ solution.x - 0.05 * solution.x
    assert float(exact.norm() / targets.norm()) == pytest.approx(solution.residual, rel=1e-3, abs=1e-15)


def test_a_factor_that_is_too_far_from_the_matrix_for_a_correction_does_for_conjugate_gradients(monkeypatch):
    right = LowerTiles.solve
    monkeypatch.setattr(LowerTiles, "solve", lambda self, vectors: 3 * right(self, vectors))
    gram, targets, plan = problem()
    solution = solve(gram, targets, 0.05, plan, 1e-9, max_steps=100)
    assert (solution.how, solution.precision) == ("cholesky", "float32")
    assert solution.residual <= 1e-9
