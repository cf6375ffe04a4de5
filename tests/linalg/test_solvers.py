"""Parts of the solvers against dense algebra, in tiles and blocks that do not divide n."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from shattering.errors import InputError
from shattering.learners.kernel import KernelInterpolator
from shattering.linalg import gram, solve, stored, tiles
from shattering.linalg.cg import conjugate_gradients
from shattering.linalg.gram import Gaussian, KernelGram, exact_product, linear
from shattering.linalg.low_rank import Preconditioner, pivoted_cholesky
from shattering.linalg.plan import make_plan
from shattering.linalg.stored import StoredGram
from shattering.linalg.tiles import LowerTiles, NotPositiveDefinite
from tests.programs import run_program

N = 53


@pytest.fixture(params=[1, 7, 26, 53, 60])
def small_tiles(request, monkeypatch):
    """Everything that goes by tiles or blocks goes by these."""
    for module, name in ((tiles, "TILE"), (solve, "TILE"), (gram, "EXACT_BLOCK"), (stored, "_ROWS")):
        monkeypatch.setattr(module, name, request.param)


@pytest.fixture
def points():
    return torch.randn((N, 6), generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.fixture
def vectors():
    return torch.randn((N, 3), generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def dense(points, gamma=0.3):
    return torch.exp(-gamma * torch.cdist(points, points) ** 2)


def test_tiles_multiply_factorize_and_solve(small_tiles, points, vectors):
    matrix = dense(points) + 0.1 * torch.eye(N, dtype=torch.float64)
    lower = LowerTiles(KernelGram(Gaussian(0.3), points), 0.1, torch.float64)
    for k in (1, 3, 9, 17):
        many = torch.cat(6 * [vectors], 1)[:, :k]
        torch.testing.assert_close(lower.product(many), matrix @ many)
    seen = []
    lower.factorize(lambda done, of: seen.append((done, of)))
    assert seen == [(i + 1, len(lower.pieces)) for i in range(len(lower.pieces))]
    torch.testing.assert_close(lower.diagonal(), torch.linalg.cholesky(matrix).diagonal())
    torch.testing.assert_close(lower.solve(vectors), torch.linalg.solve(matrix, vectors))


def test_half_of_the_matrix_is_stored(monkeypatch, points):
    monkeypatch.setattr(tiles, "TILE", 10)
    lower = LowerTiles(KernelGram(linear, points), 0.0, torch.float32)
    stored_values = sum(tile.numel() for row in lower.tiles for tile in row)
    assert stored_values <= N * (N + 10) / 2
    assert max(tile.numel() for row in lower.tiles for tile in row) == 100


def test_a_matrix_that_is_not_positive_definite_is_refused_where_it_shows(monkeypatch, points):
    monkeypatch.setattr(tiles, "TILE", 10)
    with pytest.raises(NotPositiveDefinite, match="rows from 0") as found:
        LowerTiles(KernelGram(linear, points), -100.0, torch.float64).factorize()
    assert found.value.row == 0
    doubled = torch.cat([points, points[:1]])
    with pytest.raises(NotPositiveDefinite) as found:
        LowerTiles(KernelGram(Gaussian(0.3), doubled), -1e-6, torch.float64).factorize()
    assert found.value.row == 50


@pytest.mark.parametrize("kernel", [linear, Gaussian(0.3)])
def test_a_gram_matrix_by_blocks_columns_and_diagonal(small_tiles, points, vectors, kernel):
    matrix = dense(points) if isinstance(kernel, Gaussian) else points @ points.T
    found = KernelGram(kernel, points)
    torch.testing.assert_close(found.block(slice(3, 20), slice(0, 9), torch.float64), matrix[3:20, :9])
    torch.testing.assert_close(found.columns(torch.tensor([5, 50, 2]), torch.float64), matrix[:, [5, 50, 2]])
    torch.testing.assert_close(found.diagonal(), matrix.diagonal())
    torch.testing.assert_close(exact_product(found, vectors), matrix @ vectors)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("spread", [1e-3, 1.0, 1e3, 1e6, 1e12, 1e20])
def test_a_gaussian_kernel_of_near_points_that_are_far_from_others(dtype, spread, monkeypatch):
    """As many digits as without the others, whatever of it is repaired, and however many pairs at once."""
    generator = torch.Generator().manual_seed(0)
    far = spread * torch.randn((10, 4), generator=generator, dtype=torch.float64)
    near = far.repeat_interleave(6, 0)
    near += 1e-3 * torch.randn(near.shape, generator=generator, dtype=torch.float64)
    near = torch.cat([near, near[:3]]).to(dtype)
    exact = torch.exp(-0.7 * (near.double()[:, None] - near.double()).square().sum(-1))
    for pairs in (7, 2**22):
        monkeypatch.setattr(gram, "_PAIRS", pairs)
        found = Gaussian(0.7)(near, near)
        assert found.dtype == dtype
        torch.testing.assert_close(found.double(), exact, rtol=0, atol=1e-13 if dtype == torch.float64 else 3e-4)
    few = torch.cat([near[:1], near[6::6]])  # no near pairs but equal ones
    torch.testing.assert_close(Gaussian(0.7)(few, few).diagonal().double(), torch.ones(len(few)).double(), rtol=0, atol=1e-4)


def test_a_stored_matrix_by_blocks_columns_and_diagonal(small_tiles, points, vectors, tmp_path):
    whole = StoredGram.zeros(N, torch.float64)
    whole.add((0, 2), points[:, :2])
    whole.add((1, 4), points[:, 2:])
    whole.scale, whole.constant = 0.5, 2.0
    matrix = 0.5 * points @ points.T + 2
    torch.testing.assert_close(whole.block(slice(20, 53), slice(20, 53), torch.float64), matrix[20:, 20:])
    torch.testing.assert_close(whole.block(slice(20, 30), slice(0, 20), torch.float64), matrix[20:30, :20])
    torch.testing.assert_close(whole.columns(torch.tensor([50, 0, 7]), torch.float64), matrix[:, [50, 0, 7]])
    torch.testing.assert_close(whole.diagonal(), matrix.diagonal())
    torch.testing.assert_close(exact_product(whole, vectors), matrix @ vectors)
    whole.save(tmp_path / "a.gram", "key")
    assert set(load_file(tmp_path / "a.gram")) == {"sides", *(f"panel{i}" for i in range(len(whole.panels)))}  # others can read it
    again = StoredGram.load(tmp_path / "a.gram", "key")
    assert all(map(torch.equal, again.panels, whole.panels))
    assert torch.equal(again.sides, whole.sides)
    assert sum(panel.numel() for panel in whole.panels) <= N * (N + stored._ROWS) / 2 or stored._ROWS > N
    assert again.parts == [(0, 2), (1, 4)]


def test_a_stored_matrix_keeps_the_differences_of_points_that_are_much_alike():
    generator = torch.Generator().manual_seed(0)
    features = [5 + 0.01 * torch.randn((100, 3000), generator=generator) for _ in range(3)]
    stored_gram, everything = StoredGram.zeros(100), slice(0, 100)
    for number, part in enumerate(features):
        stored_gram.add((number, 3000), part)
    exact = sum(part.double() @ part.double().T for part in features)
    noise = torch.linalg.matrix_norm(stored_gram.block(everything, everything, torch.float64) - exact, 2)
    plain = torch.linalg.matrix_norm(sum(part @ part.T for part in features).double() - exact, 2)
    smallest = torch.linalg.eigvalsh(exact)[0]
    assert noise < 1e-3 * smallest < plain


@pytest.mark.parametrize("seed", range(5))
def test_pivoted_cholesky_is_below_the_matrix_and_close_to_the_best_of_its_rank(points, seed):
    matrix = dense(points)
    factor, left = pivoted_cholesky(KernelGram(Gaussian(0.3), points), 15, torch.float64, seed)
    assert factor.shape == (N, 15)
    rest = matrix - factor @ factor.T
    assert torch.linalg.eigvalsh(rest).min() > -1e-10
    best = torch.linalg.eigvalsh(matrix).flip(0)[15:].sum()
    assert best <= rest.trace() <= 3 * best
    assert left == pytest.approx(float(rest.trace()) / N)
    assert torch.equal(factor, pivoted_cholesky(KernelGram(Gaussian(0.3), points), 15, torch.float64, seed)[0])


def test_pivoted_cholesky_ends_at_the_rank(points):
    factor, left = pivoted_cholesky(KernelGram(linear, points), N, torch.float64, 0, tolerance=1e-13)
    assert factor.shape == (N, 6)
    assert left <= 1e-13
    torch.testing.assert_close(factor @ factor.T, points @ points.T)


def test_pivots_are_drawn_by_what_is_left(points):
    """One far point among many that are alike is chosen early."""
    clustered = torch.cat([1e-3 * points, torch.tensor([[9.0] * 6], dtype=torch.float64)])
    factor, _ = pivoted_cholesky(KernelGram(Gaussian(0.3), clustered), 4, torch.float64, 0)
    assert (1 - factor.square().sum(1)).max() < 1e-3


def test_the_preconditioner_is_an_inverse(points, vectors):
    factor = points[:, :4]
    found = Preconditioner(factor, 0.2)(vectors)
    torch.testing.assert_close(factor @ (factor.T @ found) + 0.2 * found, vectors)


def test_conjugate_gradients_solve_every_column_and_stop(points, vectors):
    matrix = dense(points) + 0.01 * torch.eye(N, dtype=torch.float64)
    targets = torch.cat([vectors, torch.zeros((N, 1), dtype=torch.float64)], 1)
    steps = []
    found = conjugate_gradients(lambda v: matrix @ v, targets, lambda r: r, 1e-10, 500, lambda step, residual: steps.append(residual))
    torch.testing.assert_close(found.solution, torch.linalg.solve(matrix, targets))
    assert found.residual <= 1e-10
    assert len(steps) == found.steps < 120
    few = conjugate_gradients(lambda v: matrix @ v, targets, lambda r: r, 1e-10, 3)
    assert few.steps == 3
    assert few.residual > 1e-10
    none = conjugate_gradients(lambda v: matrix @ v, 0 * targets, lambda r: r, 1e-10, 3)
    assert (none.steps, none.residual) == (0, 0.0)
    exact = conjugate_gradients(lambda v: matrix @ v, targets, lambda r: torch.linalg.solve(matrix, r), 1e-10, 10)
    assert exact.steps == 1


@pytest.mark.parametrize("solver", ["cholesky", "cg"])
@pytest.mark.parametrize("condition", [1e2, 1e6, 1e10])
def test_both_routes_agree_at_any_condition(small_tiles, solver, condition):
    """Points on a line, closer and closer: residuals stay small, by whatever it takes."""
    gamma = {1e2: 30.0, 1e6: 4.0, 1e10: 1.0}[condition]
    X = np.linspace(-1, 1, 9)[:, None]
    y = np.cos(3 * X[:, 0])
    matrix = np.exp(-gamma * (X - X.T) ** 2)
    model = KernelInterpolator(gamma=gamma, solver=solver, tol=1e-8).fit(X, y)
    assert model.residual_ <= 1e-8
    assert np.linalg.norm(matrix @ model.dual_coef_[:, 0] - y) <= 3e-8 * np.linalg.norm(y)
    new = np.linspace(-1, 1, 50)[:, None]
    exact = np.exp(-gamma * (new - X.T) ** 2) @ np.linalg.solve(matrix, y)
    np.testing.assert_allclose(model.predict(new), exact, atol=1e-4)


def test_the_default_cuda_device_gives_what_the_cpu_gives():
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    generator = np.random.default_rng(0)
    X, y = generator.normal(size=(500, 20)), generator.normal(size=(500, 4))
    for solver in ("cholesky", "cg"):
        cpu, gpu = (KernelInterpolator(gamma=0.1, solver=solver, device=d).fit(X, y) for d in ("cpu", "cuda"))
        np.testing.assert_allclose(gpu.dual_coef_, cpu.dual_coef_, atol=1e-5)
        np.testing.assert_allclose(gpu.predict(X), cpu.predict(X), atol=1e-6)


PEAKS = r"""
import json
import re
from pathlib import Path

import numpy as np
from shattering.learners.kernel import KernelInterpolator

def peak():  # that of a fork begins with what it shares; getrusage would begin with the peak of the process that started this one
    return 1024 * int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1])

X = np.random.default_rng(0).random((2500, 1200), dtype=np.float32)
y = np.arange(2500.0) % 10
found = []
KernelInterpolator(ridge=1.0).fit(X[:50], y[:50]).predict(X[:50])
for n, params in ((1500, {}), (2000, {"solver": "cg"}), (2500, {"precision": "float64"})):
    before = peak()
    model = KernelInterpolator(gamma=0.01, ridge=0.1, **params).fit(X[:n], y[:n])
    found.append((peak() - before, model.plan_.memory))
print(json.dumps(found))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of a process is read from /proc")
def test_a_fit_takes_no_more_memory_than_its_plan_says():
    child = run_program([sys.executable, "-c", PEAKS], check=True)
    for taken, planned in json.loads(child.stdout):
        assert taken <= planned
    assert max(taken / planned for taken, planned in json.loads(child.stdout)) > 0.2


def test_a_system_that_is_not_as_described_is_refused():
    points = torch.eye(4, dtype=torch.float64)
    plan, targets = make_plan(4, 4, 1), torch.ones(4, 1, dtype=torch.float64)
    for wrong, message in (
        ({"targets": targets[:, 0]}, r"targets are \(4,\) torch.float64, expected a tensor of shape \(4, k\)"),
        ({"targets": targets[:3]}, "expected a tensor of shape"),
        ({"targets": targets.float()}, "expected a tensor of shape"),
        ({"targets": targets.numpy()}, "targets are a ndarray"),
        ({"targets": targets * torch.nan}, "targets contain NaN or infinity"),
        ({"ridge": -0.1}, "ridge is -0.1"),
    ):
        with pytest.raises(InputError, match=message):
            solve.solve(KernelGram(linear, points), **{"targets": targets, "ridge": 0.0, **wrong}, plan=plan, tolerance=1e-8, max_steps=9)
    for wrong, message in (({"n": -5}, "n is -5"), ({"n": 1e4}, "n is 10000.0"), ({"memory_limit": "1GB"}, "memory_limit is '1GB'")):
        with pytest.raises(InputError, match=message):
            make_plan(**{"n": 9, "features": 4, "targets": 1, **wrong})
    with pytest.raises(InputError, match="rank is -1"):
        pivoted_cholesky(KernelGram(linear, points), -1, torch.float64, seed=0)


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("tolerance", [1e-6, 1e-12, 0.0])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_the_residual_is_that_of_the_solution_whatever_the_tolerance(precision, tolerance):
    generator = np.random.default_rng(0)
    X, y = generator.normal(size=(150, 3)), generator.normal(size=150)
    model = KernelInterpolator(gamma=1.0, tol=tolerance, precision=precision).fit(X, y)
    K = np.exp(-((X[:, None] - X) ** 2).sum(-1))
    residual = np.linalg.norm(y - K @ model.dual_coef_[:, 0]) / np.linalg.norm(y)
    assert residual / 10 < model.residual_ < 10 * residual
    assert model.converged_ == (model.residual_ <= tolerance)
