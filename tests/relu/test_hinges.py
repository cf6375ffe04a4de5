import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shattering.errors import InputError
from shattering.relu.hinges import hinge_matrix, interpolate, midway, smallest_eigenvalue, weight_bound
from shattering.relu.networks import build_network


def interleaved(seed: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    """b_1 < x_1 < b_2 < x_2 < …"""
    both = np.sort(np.random.default_rng(seed).uniform(size=2 * n))
    return both[1::2], both[::2]


@given(st.integers(0, 10_000), st.integers(1, 30))
def test_lemma_1(seed, n):
    x, b = interleaved(seed, n)
    A = hinge_matrix(x, b)
    assert not np.triu(A, 1).any()
    assert np.linalg.matrix_rank(A, tol=0) == n or (np.diag(A) > 0).all()
    eigenvalues = np.linalg.eigvals(np.asarray(A, dtype=np.float64))
    assert smallest_eigenvalue(x, b) == np.diag(A).min()
    assert abs(eigenvalues).min() == pytest.approx(smallest_eigenvalue(x, b), rel=1e-6, abs=1e-12)


@given(st.integers(0, 10_000), st.integers(1, 40))
def test_weights_solve_the_hinge_system(seed, n):
    generator = np.random.default_rng(seed)
    x, y = np.sort(generator.uniform(size=n)), generator.normal(size=n)
    h = interpolate(x, y)
    A = hinge_matrix(x, h.thresholds)
    assert not np.triu(A, 1).any()
    assert (np.diag(A) > 0).all()
    size = np.abs(A @ np.diag(h.weights)).sum(1).max()
    np.testing.assert_allclose(A @ h.weights, y, atol=1e-14 * size)
    np.testing.assert_allclose(h(x), y, rtol=1e-12, atol=1e-12)
    assert np.abs(h.weights).max() <= weight_bound(x, y, h.thresholds) * (1 + 1e-12)
    new = generator.uniform(-1, 2, size=50)
    np.testing.assert_allclose(h(new), hinge_matrix(new, h.thresholds) @ h.weights, atol=1e-13 * size * 10)


def test_slopes_are_sums_of_weights_without_error():
    generator = np.random.default_rng(0)
    h = interpolate(np.sort(generator.uniform(size=2000)), generator.integers(0, 10, 2000).astype(float))
    total = 0.0
    for weight, slope in zip(h.weights, h.slopes, strict=True):
        total += weight
        assert total == slope


@given(st.integers(0, 1000), st.integers(1, 25))
def test_thresholds_midway_solve_it_too(seed, n):
    generator = np.random.default_rng(seed)
    x, y = np.arange(n) + generator.uniform(0, 0.5, size=n), generator.normal(size=n)
    b, w = midway(x, y)
    np.testing.assert_allclose(hinge_matrix(x, b) @ w, y, atol=1e-8)
    np.testing.assert_allclose(w, np.linalg.solve(hinge_matrix(x, b), y), rtol=1e-6, atol=1e-6)


def test_the_eigenvalue_alone_does_not_bound_the_weights():
    """Why `weight_bound` says for which thresholds it holds: alternating targets, thresholds midway."""
    n = 400
    x, y = np.arange(n, dtype=float), (-1.0) ** np.arange(n)
    b, w = midway(x, y)
    assert np.abs(w).max() > 2 * 2 / smallest_eigenvalue(x, b)


def test_equal_knots_of_equal_values_are_fine():
    h = interpolate(np.array([0.0, 1.0, 1.0, 2.0]), np.array([1.0, 3.0, 3.0, 0.0]))
    np.testing.assert_allclose(h(np.array([0.0, 1.0, 2.0])), [1, 3, 0])


def test_lists_are_points_and_what_lemma_1_does_not_hold_for_is_refused():
    assert interpolate([0, 1, 3], [1, 0, 4])(np.array([2.0])).tolist() == [2.0]
    assert hinge_matrix([1, 3], [0, 1]).tolist() == [[1.0, 0.0], [3.0, 2.0]]
    assert smallest_eigenvalue([1, 3], [0, 1]) == 1.0
    assert weight_bound([1, 3], [0, 1], [0, 1]) == 2.0
    with pytest.raises(InputError, match="knots has 1 before 0, expected numbers in ascending order"):
        interpolate(np.array([1.0, 0.0]), np.array([1.0, 2.0]))
    with pytest.raises(InputError, match=r"has shape .* for 3 knots"):
        interpolate(np.arange(3.0), np.arange(2.0))
    with pytest.raises(InputError, match="expected at least one number"):
        interpolate(np.empty(0), np.empty(0))
    with pytest.raises(InputError, match=r"start is 0\.5 and the first knot 0"):
        interpolate(np.array([0.0, 1.0]), np.array([1.0, 0.0]), start=0.5)
    for points, thresholds in (([1, 3], [2, 4]), ([1, 3], [0, 0.5]), ([1, 3], [0])):
        with pytest.raises(InputError, match="do not interleave"):
            smallest_eigenvalue(points, thresholds)


def test_a_network_of_one_layer_is_refused():
    with pytest.raises(InputError, match="depth is 1, expected a whole number of at least 2"):
        build_network(np.ones(1), interpolate(np.arange(3.0), np.arange(3.0)), 0.0, 1)
