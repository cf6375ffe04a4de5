"""Curvature against Hessians and Fisher matrices written out."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

from shattering.measures import curvature
from shattering.measures.curvature import fisher_trace, hessian_top, hessian_trace, relative_flatness, takeuchi, weighted_trace
from shattering.measures.derivatives import Hessian, flat, loss_hessian, unflat
from shattering.measures.fitted import Fitted, NotComputable
from shattering.measures.norms import fisher_rao
from tests.measures.networks import TINY, of_module, rescaled_relu, small_data, small_relu, tiny
from tests.measures.test_noise import Twice


def small(seed: int = 0, factor: float = 1.0) -> Fitted:
    """3-4-3, its layers rescaled by a factor that leaves the function as it is."""
    return of_module(rescaled_relu(seed, factor), *small_data(seed))


def hessian(made: Fitted) -> np.ndarray:
    """H of the mean loss, (P, P), by torch's own Hessian."""

    def mean_loss(theta):
        return F.cross_entropy(made.call(unflat(made, theta), made.inputs(torch.arange(made.n))), made.labels)

    return torch.autograd.functional.hessian(mean_loss, flat(made.parameters)).numpy()


def fisher(made: Fitted) -> np.ndarray:
    """G, (P, P), from Jacobians written out."""
    jacobian = torch.func.jacrev(lambda p: made.call(p, made.inputs(torch.arange(made.n))))(made.parameters)
    J = torch.cat([part.flatten(2) for part in jacobian.values()], 2).detach().numpy()
    p = made.logits.softmax(1).numpy()
    return np.mean([J[i].T @ (np.diag(p[i]) - np.outer(p[i], p[i])) @ J[i] for i in range(made.n)], 0)


@pytest.mark.parametrize("dense", [0, 40])
def test_a_hessian_written_out(dense, monkeypatch):
    monkeypatch.setattr(curvature, "_DENSE", dense)
    made = small()
    H, theta = hessian(made), flat(made.parameters).numpy()
    assert hessian_top(made) == pytest.approx(np.linalg.eigvalsh(H)[-1], rel=1e-7)
    assert hessian_trace(made) == pytest.approx(np.trace(H), rel=1e-10)
    assert weighted_trace(made) == pytest.approx((theta**2 * np.diag(H)).sum(), rel=1e-10)
    vector = np.random.default_rng(0).standard_normal(len(H))
    np.testing.assert_allclose(flat(loss_hessian(made).product(unflat(made, torch.from_numpy(vector)))), H @ vector, rtol=1e-9, atol=1e-12)


def test_traces_are_estimated_to_five_percent(monkeypatch):
    made = smooth()
    H, theta = hessian(made), flat(made.parameters).numpy()
    expected = np.trace(H), (theta**2 * np.diag(H)).sum()
    monkeypatch.setattr(curvature, "PRECISION", 0.0)
    assert (hessian_trace(made, 50), weighted_trace(made, 50)) == pytest.approx(expected, rel=0.15)
    assert abs(fisher_trace(made) / expected[0] - 1) > 0.1  # tanh: the rest is not 0
    monkeypatch.setattr(curvature, "PRECISION", 1e9)
    counted = []
    product = Hessian.product
    monkeypatch.setattr(Hessian, "product", lambda *given: counted.append(1) or product(*given))
    hessian_trace(made, 30)
    assert len(counted) == 8  # of two tensors; it stops at the precision


def test_a_trace_that_no_draws_settle_has_no_value(monkeypatch):
    monkeypatch.setattr(curvature, "_WORST", 1e-4)
    with pytest.raises(NotComputable, match=r"4 draws of random vectors give the trace as .* ± .*, too rough to be its value"):
        hessian_trace(smooth(), 8)


def smooth() -> Fitted:
    """5-6-3 with tanh, far from a fit: ∂²z/∂θ_j² is not 0."""
    layers = small_relu(sizes=(5, 6, 3))
    with torch.no_grad():
        layers[0].weight *= 0.3
        layers[2].weight *= 6
    return of_module(nn.Sequential(layers[0], nn.Tanh(), layers[2]), *small_data(d=5))


@pytest.mark.parametrize("name", ["small", *TINY])
def test_of_networks_that_are_linear_in_each_tensor_the_traces_are_exact(name):
    made = small() if name == "small" else tiny(name)
    assert curvature.curved_tensors(made) == []
    product, theta = loss_hessian(made).product, flat(made.parameters)
    some = torch.randperm(made.n_parameters, generator=torch.Generator().manual_seed(0))[:40]
    units = torch.eye(made.n_parameters, dtype=torch.float64)[some]
    diagonal = torch.stack([flat(product(unflat(made, unit)))[j] for unit, j in zip(units, some, strict=True)])
    assert torch.allclose(flat(made.once(curvature.fisher_diagonal))[some], diagonal, rtol=1e-9, atol=1e-14)
    every = flat(made.once(curvature.fisher_diagonal))
    assert (hessian_trace(made, 8), weighted_trace(made, 8)) == pytest.approx((float(every.sum()), float(every @ theta**2)), rel=1e-9)


def test_what_is_not_linear_in_a_tensor():
    assert curvature.curved_tensors(smooth()) == ["0.weight", "0.bias"]  # those before the tanh
    for elsewhere in (False, True):  # a network that uses its first layer's weights again
        assert curvature.curved_tensors(of_module(Twice(elsewhere), *small_data()))


def test_tiny_eigenvalues_are_right():
    """A12: where nothing is added to a norm, an eigenvalue of 10⁻⁷ is as precise as one of 1."""
    module = small_relu()
    with torch.no_grad():
        module[2].bias += torch.tensor([30.0, 0.0, 0.0])
    inputs, labels = small_data()
    made = of_module(module, inputs, 0 * labels)
    H = hessian(made)
    assert 0 < np.linalg.eigvalsh(H)[-1] < 1e-5
    assert hessian_top(made) == pytest.approx(np.linalg.eigvalsh(H)[-1], rel=1e-6)


def test_a_fisher_matrix_written_out():
    made = small()
    assert fisher_trace(made) == pytest.approx(np.trace(fisher(made)), rel=1e-10)


@pytest.mark.parametrize("name", TINY)
def test_float32_and_float64_agree(name):
    single, double = tiny(name, torch.float32), tiny(name)
    for function in (hessian_top, fisher_trace, takeuchi, relative_flatness):
        assert function(single) == pytest.approx(function(double), rel=1e-2), function.__name__
    if name == "normalized":  # 90 parameters
        H = hessian(double)
        assert hessian_top(double) == pytest.approx(np.linalg.eigvalsh(H)[-1], rel=1e-6)
        assert hessian_trace(double) == pytest.approx(np.trace(H), rel=1e-9)
        assert fisher_trace(double) == pytest.approx(np.trace(fisher(double)), rel=1e-9)


def test_relative_flatness_is_that_of_the_last_layers_hessian():
    made = small()
    W = made.module[2].weight.detach()
    first = W.numel()

    def mean_loss(weight):
        return F.cross_entropy(made.features @ weight.view(3, 4).T + made.module[2].bias, made.labels)

    H = torch.autograd.functional.hessian(mean_loss, W.flatten()).view(3, 4, 3, 4)
    expected = sum(W[a] @ W[b] * H[a, :, b].trace() for a in range(3) for b in range(3))
    assert first == 12
    assert relative_flatness(made) == pytest.approx(float(expected), rel=1e-10)


def test_one_logit_stands_for_two():
    inputs, labels = small_data(k=2)
    one = nn.Linear(3, 1).double()
    two = nn.Linear(3, 2).double()
    with torch.no_grad():
        two.weight.copy_(torch.cat([torch.zeros(1, 3), one.weight]))
        two.bias.copy_(torch.cat([torch.zeros(1), one.bias]))
    made, other = of_module(one, inputs, labels), of_module(two, inputs, labels)
    assert relative_flatness(made) == pytest.approx(relative_flatness(other), rel=1e-12)


def test_the_criterion_is_1_where_the_probabilities_are_right():
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(4000, 3, generator=generator, dtype=torch.float64)
    linear = nn.Linear(3, 3).double()
    labels = torch.multinomial(linear(inputs).softmax(1), 1, generator=generator)[:, 0]
    assert takeuchi(of_module(linear, inputs, labels)) == pytest.approx(1, rel=0.05)


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 1000), factor=st.floats(0.2, 5))
def test_what_is_unchanged_by_rescaling_layers(seed, factor):
    for function in (weighted_trace, relative_flatness):
        assert function(small(seed, factor)) == pytest.approx(function(small(seed)), rel=1e-8, abs=1e-14)


def test_reasons():
    inputs, labels = small_data()
    norm = nn.BatchNorm1d(3)
    nn.init.constant_(norm.weight, 2.0)
    for module in (nn.Sequential(nn.Linear(3, 3), norm), nn.Sequential(nn.Linear(3, 3), nn.ReLU())):
        with pytest.raises(NotComputable, match="the logits are not a linear function of the last layer's inputs"):
            relative_flatness(of_module(module.double(), inputs, labels))
    bare = of_module(nn.Linear(3, 3, bias=False).double(), 0 * inputs, labels)
    assert (hessian_top(bare), hessian_trace(bare), fisher_trace(bare)) == (0, 0, 0)
    with pytest.raises(NotComputable, match="the trace of the Fisher matrix is 0"):
        takeuchi(bare)


@pytest.mark.parametrize("dim", [0, 1, None])
def test_weight_normalization_has_the_curvature_of_its_formula(dim):
    """The second derivatives of torch's own weight normalization are wrong: its Hessian is not even symmetric."""
    inputs, labels = small_data()
    made = of_module(nn.Sequential(weight_norm(nn.Linear(3, 4), dim=dim), nn.Tanh(), nn.Linear(4, 3)), inputs, labels)
    parameters = list(made.parameters.values())  # bias, g, v, and those of the last layer
    flat = torch.cat([p.flatten() for p in parameters])

    def loss(values):
        parts = values.split([p.numel() for p in parameters])
        b, g, v, w, c = (part.view_as(p) for part, p in zip(parts, parameters, strict=True))
        length = v.norm() if dim is None else v.norm(dim=1 - dim, keepdim=True)
        return F.cross_entropy(torch.tanh(inputs @ (g * v / length).T + b) @ w.T + c, labels)

    H = torch.autograd.functional.hessian(loss, flat)
    assert hessian_top(made) == pytest.approx(float(torch.linalg.eigvalsh(H)[-1]), rel=1e-6)
    assert hessian_trace(made, probes=len(flat)) == pytest.approx(float(H.trace()))
    assert math.isfinite(fisher_rao(made))


@pytest.mark.filterwarnings("ignore:.*weight_norm. is deprecated")
def test_the_older_form_of_weight_normalization_too():
    inputs, labels = small_data()
    both = []
    for normalize in (weight_norm, nn.utils.weight_norm):
        torch.manual_seed(0)
        module = nn.Sequential(normalize(nn.Linear(3, 4)), nn.Tanh(), nn.Linear(4, 3)).double()
        with torch.no_grad():
            module(inputs)  # the older form keeps the weight with its gradient until then
        both.append(of_module(module, inputs, labels))
    assert hessian_top(both[1]) == pytest.approx(hessian_top(both[0]), rel=1e-6)
