"""Tails of spectra against Pareto samples and a slow version of the fit."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from shattering.measures.fitted import NotComputable
from shattering.measures.spectra import fit_tail, tail_exponent, weighted_exponent
from tests.measures.networks import fitted, of_module, small_data, small_relu


def slow_fit(values: list[float]) -> float:
    """Clauset et al. 2009, eqs. 3.1 and 3.9, number by number."""
    values, best = sorted(values), (math.inf, math.nan)
    for least in sorted(set(values))[:-1]:
        tail = [v for v in values if v >= least]
        alpha = 1 + len(tail) / sum(math.log(v / least) for v in tail)
        gap = 0.0
        for i, v in enumerate(tail):
            model = 1 - (v / least) ** (1 - alpha)
            gap = max(gap, abs((i + 1) / len(tail) - model), abs(model - i / len(tail)))
        best = min(best, (gap, alpha))
    return best[1]


@pytest.mark.parametrize("seed", range(4))
def test_the_fit_is_the_slow_one(seed):
    generator = np.random.default_rng(seed)
    values = generator.pareto(1.5, 40) + generator.random(40)
    assert fit_tail(values) == pytest.approx(slow_fit(values.tolist()), rel=1e-10)


@pytest.mark.parametrize("exponent", [1.8, 2.5, 4.0])
def test_the_exponent_of_a_pareto_sample(exponent):
    generator = np.random.default_rng(1)
    found = np.mean([fit_tail((1 - generator.random(800)) ** (-1 / (exponent - 1))) for _ in range(3)])
    assert found == pytest.approx(exponent, rel=0.1)


def test_layers_with_given_spectra():
    singular = np.sqrt((1 - np.linspace(0, 0.98, 50)) ** (-1 / 1.5))
    wide, small = nn.Linear(60, 50, bias=False).double(), nn.Linear(50, 3).double()
    left, right = (np.linalg.qr(np.random.default_rng(i).normal(size=(size, 50)))[0] for i, size in enumerate((50, 60)))
    wide.weight.data = torch.from_numpy(left * singular @ right.T)
    made = of_module(nn.Sequential(wide, nn.ReLU(), small), torch.zeros(6, 60).double(), torch.arange(6) % 3)
    assert tail_exponent(made) == pytest.approx(fit_tail(singular**2), rel=1e-9)  # the layer of three is left out
    assert weighted_exponent(made) == pytest.approx(fit_tail(singular**2) * np.log10(singular.max() ** 2), rel=1e-9)


def test_a_convolution_is_its_reshaped_matrix_not_its_slices():
    """Appendix A13."""
    conv = nn.Conv2d(4, 30, 3).double()
    made = of_module(nn.Sequential(conv, nn.Flatten(), nn.Linear(30, 3)).double(), torch.zeros(3, 4, 3, 3).double(), torch.arange(3))
    values = np.linalg.svd(conv.weight.detach().numpy().reshape(30, 36), compute_uv=False) ** 2
    assert tail_exponent(made) == pytest.approx(fit_tail(values), rel=1e-9)


def test_small_layers_have_no_spectrum_to_fit():
    with pytest.raises(NotComputable, match="no layer has 20 different eigenvalues"):
        tail_exponent(of_module(small_relu(), *small_data()))
    single, double = (tail_exponent(fitted("alexnet", dtype)) for dtype in (torch.float32, torch.float64))
    assert single == pytest.approx(double)
