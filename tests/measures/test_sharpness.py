"""Sharpness where it is known: near a minimum, in a box, after rescaling; and the learning coefficient of functions that have one."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from shattering.measures import sharpness
from shattering.measures.derivatives import draws, loss, plus
from shattering.measures.fitted import Fitted, NotComputable
from shattering.measures.learning_coefficient import learning_coefficient, local_learning_coefficient
from shattering.measures.sharpness import adaptive_average_sharpness, adaptive_sharpness, sam_sharpness
from tests.measures.networks import TINY, of_module, small_data, small_relu, tiny
from tests.measures.test_curvature import hessian, small


def minimum() -> Fitted:
    """Softmax regression on data that no line separates, at its minimum."""
    inputs, labels = small_data(n=40)
    linear = nn.Linear(3, 3).double()
    with torch.no_grad():
        linear.weight.zero_(), linear.bias.zero_()
    optimizer = torch.optim.LBFGS(linear.parameters(), max_iter=200, tolerance_grad=1e-13, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        value = F.cross_entropy(linear(inputs), labels)
        value.backward()
        return value

    optimizer.step(closure)
    return of_module(linear, inputs, labels)


def test_at_a_minimum_it_is_half_the_largest_eigenvalue(monkeypatch):
    """A8: the loss is raised, and what is returned grows with the curvature."""
    made = minimum()
    H = hessian(made)
    expected = 0.5e-6 * np.linalg.eigvalsh(H)[-1]
    assert 0.8 * expected < sam_sharpness(made, 1e-3) < 1.01 * expected
    monkeypatch.setattr(sharpness, "STEPS", 300)
    assert sam_sharpness(made, 1e-3) == pytest.approx(expected, rel=0.02)
    theta = np.concatenate([p.flatten().numpy() for p in made.parameters.values()])
    assert adaptive_average_sharpness(made, 1e-2) == pytest.approx(0.5e-4 * (theta**2 * np.diag(H)).sum(), rel=0.3)


def test_in_a_box_it_is_a_corner(monkeypatch):
    made = small()
    theta = made.parameters
    signs = torch.Generator().manual_seed(0)
    corners = []
    for _ in range(200):
        corner = {n: 0.01 * p.abs() * (2 * torch.randint(0, 2, p.shape, generator=signs) - 1) for n, p in theta.items()}
        corners.append(loss(made, plus(theta, corner)))
    found = adaptive_sharpness(made)
    assert found > max(corners) - loss(made, theta)
    _, slope = sharpness.gradient(made, theta)
    linear = sum(float((0.01 * theta[n].abs() * part.abs()).sum()) for n, part in slope.items())
    assert found == pytest.approx(linear, rel=0.2)  # of first order
    monkeypatch.setattr(sharpness, "STEPS", 60)
    assert found == pytest.approx(adaptive_sharpness(small()), rel=1e-3)


def test_parameters_that_are_0_stay_0():
    """A11: nothing is divided by |θ|."""
    module = small_relu()
    with torch.no_grad():
        module[0].bias.zero_()
        module[2].bias.zero_()
    values = [adaptive_sharpness(of_module(module, *small_data())), adaptive_average_sharpness(of_module(module, *small_data()))]
    assert np.isfinite(values).all()
    assert values[0] > 0


@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 1000), factor=st.floats(0.2, 5))
def test_adaptive_sharpness_is_unchanged_by_rescaling_layers(seed, factor):
    for function in (adaptive_sharpness, adaptive_average_sharpness):
        assert function(small(seed, factor)) == pytest.approx(function(small(seed)), rel=1e-6)


@pytest.mark.parametrize("name", TINY)
def test_float32_and_float64_agree(name):
    single, double = tiny(name, torch.float32), tiny(name)
    for function in (sam_sharpness, adaptive_sharpness, adaptive_average_sharpness):
        assert function(single) == pytest.approx(function(double), rel=0.02, abs=1e-4), function.__name__
    few = [local_learning_coefficient(made, chains=2, steps=20) for made in (single, double)]
    assert few[0] == pytest.approx(few[1], rel=0.02)


def chain(slope, size: int, **given) -> float:
    """The coefficient of 500 functions added up, each of its own part of the point, over 500."""
    generator, copies = torch.Generator().manual_seed(0), 500
    given = {"n_beta": 1000.0, "localization": 1.0, "step": 1e-4} | given

    def of_all(point, t):
        rises, slopes = slope(point.view(copies, size), t)
        return float(rises.sum()), [slopes.flatten()]

    start = torch.zeros(copies * size, dtype=torch.float64)
    return learning_coefficient(of_all, start, generator=generator, chains=1, steps=300, **given) / copies


def test_the_coefficient_of_a_quadratic_is_half_its_dimension():
    """To first order in the step; with steps of this size the variance is larger by what is exactly known."""
    curvature = torch.linspace(1, 3, 5, dtype=torch.float64)
    found = chain(lambda w, t: ((curvature * w**2).sum(1) / 2, curvature * w), 5)
    share = 1e-4 / 2 * (1000 * curvature + 1)  # by which a step pulls back
    exact = float((1000 * curvature / 2 * 1e-4 / (1 - (1 - share) ** 2)).sum())
    assert exact == pytest.approx(5 / 2, rel=0.06)
    assert found == pytest.approx(exact, rel=0.04)
    flat = chain(lambda w, t: (w[:, 0] ** 2, torch.stack([2 * w[:, 0], 0 * w[:, 1]], 1)), 2)
    assert flat == pytest.approx(1 / 2, rel=0.12)  # a direction without curvature adds nothing


def test_the_coefficient_of_a_normal_crossing():
    """L = (w₁w₂)²: the coefficient is ½, approached as slowly as 1/log n, so the chains are held to the integral itself."""

    def slope(w, t):
        product = w[:, 0] * w[:, 1]
        return product**2, 2 * product[:, None] * w.flip(1)

    n_beta, localization = 1000.0, 50.0
    axis = np.linspace(-1, 1, 2001)
    energy = n_beta * np.outer(axis**2, axis**2)
    weight = np.exp(-energy - localization / 2 * (axis[:, None] ** 2 + axis**2))
    expected = (energy * weight).sum() / weight.sum()
    assert 0.1 < expected < 0.5
    assert chain(slope, 2, n_beta=n_beta, localization=localization, step=1e-3) == pytest.approx(expected, rel=0.15)


def test_the_coefficient_of_a_regular_network():
    """Softmax regression with three classes is regular in 2 of 3 directions of each input and bias: 8 of 12 parameters, so about 4."""
    assert local_learning_coefficient(minimum()) == pytest.approx(regular(minimum()), rel=0.3)


def regular(made: Fitted) -> float:
    """½ Σ nβ h / (nβ h + γ) over the eigenvalues h of the Hessian: the value of a quadratic with the localization."""
    n_beta = made.n / math.log(made.n)
    h = np.linalg.eigvalsh(hessian(made)).clip(0)
    return float((n_beta * h / (n_beta * h + 100)).sum() / 2)


def test_the_coefficient_does_not_depend_on_the_batches_of_training():
    """A14: nβ is n / log n, and the loss at the parameters is that of the same examples."""
    made = small()
    again = Fitted(made.module, made.train, made.n_classes, batch_size=7)
    assert local_learning_coefficient(again, steps=20) == local_learning_coefficient(made, steps=20)


def test_chains_that_diverge_and_a_single_example():
    with pytest.raises(NotComputable, match="the chains around the parameters diverge"):
        chain(lambda w, t: (w[:, 0] * float("nan"), w), 1, step=1.0)
    steps = []

    def steep(w, t):  # where |w| > 1 it is so steep that a step of 1 overshoots more and more
        steps.append(t)
        return w[:, 0] ** 4, 4 * w**3

    assert 0 < chain(steep, 1, step=4.0, n_beta=10.0) < 1
    assert steps.count(0) > 1  # it began anew, with a smaller step
    inputs, _ = small_data(n=1)
    with pytest.raises(NotComputable, match="there is one training example"):
        local_learning_coefficient(of_module(small_relu(), inputs, torch.tensor([0])))


def test_the_draws_are_the_same_wherever():
    made = small()
    assert draws(made, "a").initial_seed() == draws(small(), "a").initial_seed() != draws(made, "b").initial_seed()
    torch.manual_seed(1)
    first = adaptive_average_sharpness(made)
    torch.manual_seed(2)
    assert adaptive_average_sharpness(small()) == first
