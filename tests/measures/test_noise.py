"""Errors under noise against networks whose parameters are changed."""

from copy import deepcopy

import pytest
import torch
from torch import nn

from shattering.measures.fitted import Fitted
from shattering.measures.noise import FLOOR, Noisy
from tests.measures.networks import fitted, of_module, small_data, small_relu


class Twice(nn.Module):
    """A network that uses its first layer's weights again."""

    def __init__(self, elsewhere: bool):
        super().__init__()
        self.elsewhere, self.first = elsewhere, nn.Linear(3, 3).double()

    def forward(self, x):
        h = torch.tanh(self.first(x))
        return h @ self.first.weight if self.elsewhere else self.first(h)


def slow(made: Fitted, noisy: Noisy, draw: int, sigma: float) -> float:
    network, (scaled, base) = deepcopy(made.module), noisy.noise(draw)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter.copy_(base[name] + sigma * scaled[name])
        return float((network(made.inputs(torch.arange(made.n))).argmax(1) != made.labels).double().mean())


@pytest.mark.parametrize("relative", [False, True])
@pytest.mark.parametrize("name", ["mlp", "branches", "alexnet", "relu", "twice", "elsewhere", "blocks"])
def test_parameters_that_are_changed(name, relative):
    made = {
        "relu": lambda: of_module(small_relu(), *small_data()),
        "twice": lambda: of_module(Twice(False), *small_data()),
        "elsewhere": lambda: of_module(Twice(True), *small_data()),
        "blocks": lambda: of_module(small_relu(), *small_data(), block=7),
    }.get(name, lambda: fitted(name))()
    noisy = Noisy(made, relative, 3)
    assert (noisy.first is None) == (name in ("twice", "elsewhere"))
    errors = [(noisy.error(draw, sigma), slow(made, noisy, draw, sigma)) for draw in (0, 1, 2) for sigma in (0.02, 0.5)]
    assert [ours for ours, _ in errors] == pytest.approx([plain for _, plain in errors], abs=1.01 / made.n)  # one example on the boundary
    assert len({ours for ours, _ in errors}) > 1


def test_the_noise_has_the_standard_deviation_that_it_says():
    """Appendix A1: σ and √(σ'²θ² + ε²), not their squares."""
    module = nn.Linear(100, 200).double()
    made = of_module(module, torch.zeros(2, 100).double(), torch.tensor([0, 1]))
    theta = module.weight.detach()
    for relative, expected in ((False, torch.full_like(theta, 0.3)), (True, (0.09 * theta.square() + FLOOR**2).sqrt())):
        scaled, base = Noisy(made, relative, 1).noise(0)
        ratio = (base["weight"] + 0.3 * scaled["weight"] - theta) / expected
        assert float(ratio.std()) == pytest.approx(1, abs=0.02)
        assert float(ratio.mean()) == pytest.approx(0, abs=0.02)


def test_outputs_that_would_not_fit_are_not_kept(monkeypatch):
    monkeypatch.setattr("shattering.measures.noise.MEMORY", 100)
    made = of_module(small_relu(), *small_data())
    noisy = Noisy(made, True, 3)
    assert noisy.first is None
    assert noisy.error(1, 0.3) == slow(made, noisy, 1, 0.3)
