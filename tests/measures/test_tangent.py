"""The tangent kernel against Jacobians written out, and known kernels."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from shattering.measures import per_example, tangent
from shattering.measures.fitted import Fitted, NotComputable
from shattering.measures.tangent import kernel_alignment, kernel_and_labels, label_complexity
from tests.measures.networks import TINY, of_module, small_data, small_relu, tiny


def slow(made: Fitted) -> list[float]:
    """Both measures from one backward pass per example, over all examples in their own order."""
    parameters, rows = [p for p in made.module.parameters() if p.requires_grad], []
    for i in range(made.n):
        z = made.module(made.inputs(torch.tensor([i]))).sum()
        rows.append(torch.cat([g.flatten() for g in torch.autograd.grad(z, parameters)]))
    J = torch.stack(rows).double().numpy()
    n, k = made.n, made.n_classes
    K, Y = J @ J.T / k, np.eye(k)[made.labels]
    H = np.eye(n) - 1 / n
    Y = H @ Y
    complexity = math.sqrt(2 * np.trace(Y.T @ np.linalg.inv(K + 1e-6 * np.trace(K) / n * np.eye(n)) @ Y) / n)
    K = H @ K @ H
    return [complexity, -np.sum(K * (Y @ Y.T)) / np.linalg.norm(K) / np.linalg.norm(Y @ Y.T)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", TINY)
def test_jacobians_written_out(name, dtype):
    made = tiny(name, dtype)
    tolerance = 2e-3 if dtype == torch.float32 else 1e-6
    assert [label_complexity(made), kernel_alignment(made)] == pytest.approx(slow(made), rel=tolerance)


def test_blocks_of_memory_change_nothing(monkeypatch):
    made = of_module(small_relu(), *small_data())
    assert [label_complexity(made), kernel_alignment(made)] == pytest.approx(slow(made), rel=1e-6)
    expected, _ = made.once(kernel_and_labels)
    monkeypatch.setattr(tangent, "MEMORY", 7 * 2 * per_example.bytes_per_example(made))
    torch.testing.assert_close(of_module(small_relu(), *small_data()).once(kernel_and_labels)[0], expected)


def test_the_examples_are_class_balanced(monkeypatch):
    monkeypatch.setattr(tangent, "EXAMPLES", 7)
    inputs, _ = small_data()
    made = of_module(small_relu(), inputs, torch.tensor([0] * 20 + [1] * 8 + [2] * 2))
    kernel, labels = made.once(kernel_and_labels)
    assert kernel.shape == (7, 7)
    assert sorted((labels.argmax(1)).bincount().tolist()) == [2, 2, 3]


def test_a_linear_model_is_regression_without_a_ridge():
    """Without bias K = XXᵀ: for x = √n_G e_i the norm of the interpolating weights is that of the centred labels."""
    made = of_module(nn.Linear(6, 2, bias=False).double(), torch.eye(6, dtype=torch.float64) * math.sqrt(6), torch.arange(6) % 2)
    assert label_complexity(made) == pytest.approx(math.sqrt(2 * 3 / 36), rel=1e-5)  # tr ỸᵀỸ = 6 · 2 · ¼, K = 6 I


def test_a_kernel_that_is_the_labels():
    """Inputs that are the one-hot labels themselves: K = YYᵀ, so that the centred kernel is ỸỸᵀ."""
    labels = torch.arange(9) % 3
    made = of_module(nn.Linear(3, 3).double(), torch.eye(3, dtype=torch.float64)[labels], labels)
    assert kernel_alignment(made) == pytest.approx(-1)


@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 1000), factor=st.floats(0.1, 10))
def test_alignment_of_a_linear_model_is_unchanged_by_the_scale_of_the_inputs(seed, factor):
    inputs, labels = small_data(seed)
    linear = nn.Linear(3, 3, bias=False).double()
    assert kernel_alignment(of_module(linear, factor * inputs, labels)) == pytest.approx(
        kernel_alignment(of_module(linear, inputs, labels)), rel=1e-9
    )


@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 1000), factor=st.floats(0.1, 10))
def test_alignment_is_unchanged_if_the_logits_are_multiplied(seed, factor):
    class Scaled(nn.Module):
        def __init__(self, module, factor):
            super().__init__()
            self.module, self.factor = module, factor

        def forward(self, x):
            return self.factor * self.module(x)

    made, other = (of_module(Scaled(small_relu(seed), a), *small_data(seed)) for a in (1.0, factor))
    assert kernel_alignment(other) == pytest.approx(kernel_alignment(made), rel=1e-9)


def test_reasons():
    inputs, labels = small_data()
    with pytest.raises(NotComputable, match="the examples are all of one class"):
        kernel_alignment(of_module(small_relu(), inputs, 0 * labels))
    bare = nn.Linear(3, 3, bias=False).double()
    with pytest.raises(NotComputable, match="the tangent kernel is 0"):
        label_complexity(of_module(bare, 0 * inputs, labels))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("scale", [1, 30])
def test_the_kernel_of_probabilities_is_0_and_no_rounding(dtype, scale):
    inputs, labels = small_data()
    module = nn.Sequential(nn.Linear(3, 3), nn.Softmax(1)).to(dtype)
    with torch.no_grad():
        module[0].weight.mul_(scale)
    for measure in (label_complexity, kernel_alignment):
        with pytest.raises(NotComputable, match="the outputs are probabilities, as after a softmax"):
            measure(of_module(module, inputs.to(dtype), labels))
