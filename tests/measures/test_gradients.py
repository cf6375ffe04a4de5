"""Gradients of single examples against loops over the examples."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from shattering.measures import fitted as room
from shattering.measures import per_example
from shattering.measures.fitted import Fitted, NotComputable
from shattering.measures.gradients import gradient_coherence, gradient_snr, gradient_variance, moments
from tests.measures.networks import TINY, of_module, rescaled_relu, small_data, small_relu, tiny

MEASURES = [gradient_variance, gradient_coherence, gradient_snr]


def slow(made: Fitted) -> np.ndarray:
    """The gradient of each example's loss, one backward pass per example: (n, P)."""
    parameters = [p for p in made.module.parameters() if p.requires_grad]
    rows = []
    for i in range(made.n):
        loss = F.cross_entropy(made.module(made.inputs(torch.tensor([i]))), made.labels[i : i + 1])
        rows.append(torch.cat([g.flatten() for g in torch.autograd.grad(loss, parameters, materialize_grads=True)]))
    return torch.stack(rows).double().numpy()


def by_hand(made: Fitted) -> list[float]:
    g = slow(made)
    mean, variance = g.mean(0), g.var(0)
    trace = (g**2).sum(1).mean()
    varies = variance > 1e-10 * (mean**2 + variance)
    return [variance.sum(), -(mean**2).sum() / trace, -(mean[varies] ** 2 / variance[varies]).mean()]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", TINY)
def test_a_loop_over_the_examples(name, dtype):
    made = tiny(name, dtype)
    tolerance = 2e-3 if dtype == torch.float32 else 1e-7
    assert [function(made) for function in MEASURES] == pytest.approx(by_hand(made), rel=tolerance)


def test_a_small_network_in_blocks_of_memory(monkeypatch):
    """A15: gradients are those of single examples, whatever the size of a block."""
    made = of_module(small_relu(), *small_data())
    expected = by_hand(made)
    assert [function(made) for function in MEASURES] == pytest.approx(expected, rel=1e-10)
    assert moments(made).trace == pytest.approx((slow(made) ** 2).sum(1).mean(), rel=1e-10)
    monkeypatch.setattr(room, "MEMORY", 7 * per_example.bytes_per_example(made))
    again = of_module(small_relu(), *small_data())
    assert [len(labels) for _, labels in per_example.blocks(again)] == [7, 7, 7, 7, 2]
    assert [function(again) for function in MEASURES] == pytest.approx(expected, rel=1e-10)


def test_equal_and_orthogonal_gradients():
    equal = of_module(small_relu(), torch.ones(5, 3, dtype=torch.float64), torch.zeros(5, dtype=torch.int64))
    assert gradient_coherence(equal) == pytest.approx(-1)
    assert gradient_variance(equal) == pytest.approx(0, abs=1e-20)
    with pytest.raises(NotComputable, match="no gradient differs between examples"):
        gradient_snr(equal)
    linear = nn.Linear(4, 2, bias=False).double()
    orthogonal = of_module(linear, torch.eye(4, dtype=torch.float64), torch.tensor([0, 1, 0, 1]))
    with torch.no_grad():
        linear.weight.zero_()
    orthogonal = of_module(linear, torch.eye(4, dtype=torch.float64), torch.tensor([0, 1, 0, 1]))
    assert gradient_coherence(orthogonal) == pytest.approx(-1 / 4)


def test_gaussian_gradients_with_known_moments():
    """z = (0, wx + b) at w = b = 0, label 0: the gradients are x/2 and 1/2; so that of w has mean m/2 and variance s²/4."""
    x = 3 + 2 * torch.randn(20_000, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    linear = nn.Linear(1, 1).double()
    with torch.no_grad():
        linear.weight.zero_(), linear.bias.zero_()
    made = of_module(linear, x, torch.zeros(20_000, dtype=torch.int64))
    assert gradient_snr(made) == pytest.approx(-9 / 4, rel=0.05)
    assert gradient_variance(made) == pytest.approx(1, rel=0.05)


@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 1000), factor=st.floats(0.1, 10))
def test_snr_is_unchanged_by_rescaling_layers(seed, factor):
    made, other = (of_module(m, *small_data(seed)) for m in (small_relu(seed), rescaled_relu(seed, factor)))
    assert gradient_snr(other) == pytest.approx(gradient_snr(made), rel=1e-8)


def test_no_gradients_and_a_diverged_network():
    zeros, labels = torch.zeros(4, 2, dtype=torch.float64), torch.tensor([0, 1, 0, 1])
    with pytest.raises(NotComputable, match="every gradient is 0"):
        gradient_coherence(of_module(nn.Linear(2, 2, bias=False).double(), zeros, labels))
    module = small_relu()
    module[0].weight.data[0, 0] = float("nan")
    for function in MEASURES:
        with pytest.raises(NotComputable, match="the network has diverged"):
            function(of_module(module, *small_data()))
