"""Sensitivity against Jacobians written out, and linear networks by hand."""

import contextlib

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from shattering.measures import sensitivity
from shattering.measures.fitted import Fitted, NotComputable
from shattering.measures.fitting import as_fitted
from shattering.measures.margins import hidden_margin, input_margin
from shattering.measures.sensitivity import critical_sample_ratio, geometric_complexity, jacobian_norm, noise_sensitivity
from tests.measures.networks import TINY, Tokens, of_module, rescaled_relu, small_data, small_relu, tiny

MEASURES = (jacobian_norm, geometric_complexity, critical_sample_ratio, noise_sensitivity)


def slow(made: Fitted) -> tuple[float, float]:
    """Both Jacobians one example and one output at a time."""

    def squares(examples, head) -> torch.Tensor:
        found = []
        for i in range(len(examples.labels)):
            x = made.inputs(torch.tensor([i]), examples)
            jacobian = torch.autograd.functional.jacobian(lambda x: head(made.module(x)), x)
            found.append(jacobian.double().square().sum())
        return torch.stack(found)

    unlabelled = made.train if made.unlabelled is None else made.unlabelled
    return float(squares(unlabelled, lambda z: z.softmax(1)).sqrt().mean()), float(squares(made.train, lambda z: z).mean())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", TINY)
def test_jacobians_written_out(name, dtype):
    made = tiny(name, dtype)
    assert (jacobian_norm(made), geometric_complexity(made)) == pytest.approx(slow(made), rel=1e-4 if dtype == torch.float32 else 1e-9)


def test_softmax_regression_by_hand():
    inputs, labels = small_data()
    linear = nn.Linear(3, 3).double()
    made = of_module(linear, inputs, labels)
    W, p = linear.weight.detach(), linear(inputs).softmax(1).detach()
    norms = [((torch.diag(row) - torch.outer(row, row)) @ W).norm() for row in p]
    assert jacobian_norm(made) == pytest.approx(float(torch.stack(norms).mean()), rel=1e-10)
    assert geometric_complexity(made) == pytest.approx(float(W.square().sum()), rel=1e-10)


@pytest.mark.parametrize("radius", [0.02, 0.1, 0.3])
def test_a_linear_network_has_a_known_share_of_critical_examples(radius):
    inputs, labels = small_data(n=200, k=2)
    linear = nn.Linear(3, 2).double()
    made = of_module(linear, inputs, labels, unlabelled=inputs)
    r = radius * float(inputs.max() - inputs.min())
    gap = linear(inputs).diff(dim=1)[:, 0].abs()
    expected = float((gap < r * linear.weight.diff(dim=0).abs().sum()).double().mean())
    assert 0 < expected < 1
    assert critical_sample_ratio(made, radius) == pytest.approx(expected)


def test_noise_in_a_linear_layer_by_hand():
    inputs, labels = small_data(n=300)
    linear = nn.Linear(3, 3, bias=False).double()
    made = of_module(linear, inputs, labels)
    W, z = linear.weight.detach(), linear(inputs).detach()
    ratios = W.square().sum() * inputs.square().sum(1) / (3 * z.square().sum(1))
    usual = ratios < ratios.quantile(0.9)  # without the examples whose logits are almost 0
    made = of_module(linear, inputs[usual], labels[usual])
    assert noise_sensitivity(made) == pytest.approx(float(ratios[usual].mean()), rel=0.1)


def test_noises_are_shared_where_they_would_not_fit(monkeypatch):
    module = small_relu()
    nn.init.constant_(module[2].bias, 50.0)  # no example has logits near 0
    made = of_module(module, *small_data())
    apart = noise_sensitivity(made)
    monkeypatch.setattr(sensitivity, "_TABLE", 3 * 60)
    assert noise_sensitivity(made) != apart
    assert noise_sensitivity(made) == pytest.approx(apart, rel=0.4)


def test_the_layer_that_is_most_sensitive_counts():
    """The second layer cancels the first unit: noise there is in vain, noise at its own input is not."""
    module = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)).double()
    with torch.no_grad():
        module[0].weight.copy_(torch.tensor([[1000.0, 0.0], [0.0, 1.0]]))
        module[1].weight.copy_(torch.tensor([[0.001, 0.0], [0.0, 1.0]]))
    inputs = torch.randn(300, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    inputs = inputs[inputs.abs().amin(1) > 0.5]
    made = of_module(module, inputs, torch.arange(len(inputs)) % 2)
    h, z = module[0](inputs).detach(), module(inputs).detach()
    expected = (1 + 1e-6) * h.square().sum(1) / (2 * z.square().sum(1))  # at the second layer; at the first it is about 1
    assert noise_sensitivity(made) == pytest.approx(float(expected.mean()), rel=0.15)
    assert noise_sensitivity(made) > 1000


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 1000), factor=st.floats(0.2, 5))
def test_invariances(seed, factor):
    inputs, labels = small_data(seed)
    multiplied = small_relu(seed)
    with torch.no_grad():
        multiplied[2].weight *= factor
        multiplied[2].bias *= factor
    made, r, s = (of_module(m, inputs, labels, unlabelled=-inputs) for m in (small_relu(seed), rescaled_relu(seed, factor), multiplied))
    for function in MEASURES:
        assert function(r) == pytest.approx(function(made), rel=1e-7), function.__name__
    for function in (critical_sample_ratio, noise_sensitivity):
        assert function(s) == pytest.approx(function(made), rel=1e-7), function.__name__


@pytest.mark.parametrize("name", TINY)
def test_float32_and_float64_agree(name):
    single, double = tiny(name, torch.float32), tiny(name)
    assert critical_sample_ratio(single) == pytest.approx(critical_sample_ratio(double), abs=0.026)  # one of 40
    assert noise_sensitivity(single) == pytest.approx(noise_sensitivity(double), rel=1e-3)


def test_reasons():
    tokens = torch.arange(12).view(6, 2) % 5
    inputs, labels = small_data()
    zeros = nn.Linear(3, 3).double()
    nn.init.zeros_(zeros.weight), nn.init.zeros_(zeros.bias)
    with pytest.raises(NotComputable, match="an example has no logit but 0"):
        noise_sensitivity(of_module(zeros, inputs, labels))
    with pytest.raises(NotComputable, match="there are no unlabelled examples"):
        critical_sample_ratio(of_module(small_relu(), inputs, labels))
    made = as_fitted(Tokens(), (tokens, torch.arange(6) % 3), unlabelled=tokens)
    for function in (jacobian_norm, geometric_complexity, critical_sample_ratio):
        with pytest.raises(NotComputable, match="inputs are whole numbers"):
            function(made)


class Again(nn.Module):
    """A network that calls its first layer twice, the second time after another one."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.last = (nn.Linear(3, 3).double() for _ in range(3))

    def forward(self, x):
        return self.last(torch.relu(self.first(torch.relu(self.second(torch.relu(self.first(x)))))))


@pytest.mark.parametrize("name", ["again", "branches"])
def test_layers_before_the_noise_are_computed_once(name, monkeypatch):
    made = of_module(Again(), *small_data()) if name == "again" else tiny(name)
    found = noise_sensitivity(made)
    assert not any("forward" in vars(module) for module in made.module.modules())
    monkeypatch.setattr(sensitivity, "_replayed", lambda *_: contextlib.nullcontext())
    assert found == pytest.approx(noise_sensitivity(made), rel=1e-12)


def test_examples_that_have_changed_are_ascended_no_further():
    made = of_module(small_relu(), *small_data(), unlabelled=-small_data()[0])
    for radius in (0.002, 0.01, 0.05):
        plain = []
        for x in -small_data()[0]:  # one at a time, all steps
            u, before, changed = torch.zeros_like(x), made.module(x).argmax(), False
            for _ in range(sensitivity.STEPS):
                u.requires_grad_()
                logits = made.module(x + u)
                others = logits[torch.arange(3) != before]
                (slope,) = torch.autograd.grad(logits[before] - others.max(), u)
                u = (u.detach() - 0.25 * slope.sign() * largest(radius)).clamp(-largest(radius), largest(radius))
                changed |= bool(made.module(x + u).argmax() != before)
            plain.append(changed)
        assert critical_sample_ratio(made, radius) == sum(plain) / len(plain)


def largest(radius: float) -> float:
    inputs = small_data()[0]
    return radius * float(inputs.max() - inputs.min())


class Extractor(nn.Module):
    """Features that are computed without gradients, as those of a frozen network are."""

    def __init__(self):
        super().__init__()
        self.features, self.last = nn.Linear(3, 4), nn.Linear(4, 3)

    def forward(self, x):
        with torch.no_grad():
            h = torch.relu(self.features(x))
        return self.last(h)


@pytest.mark.parametrize("function", [jacobian_norm, geometric_complexity, critical_sample_ratio, input_margin, hidden_margin])
def test_features_without_gradients_are_a_reason_not_a_derivative_of_0(function):
    inputs, labels = small_data()
    made = of_module(Extractor().double(), inputs, labels, unlabelled=inputs)
    with pytest.raises(NotComputable, match="the logits have no derivative in the inputs or hidden units"):
        function(made)
