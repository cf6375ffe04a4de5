"""Measures against numbers that other packages gave for the same input, once, by hand; none of the packages is needed here.

The inputs are sines and cosines, so that they are the same with every version of every library.

scikit-dimension 0.5.0   skdim.id.TwoNN(discard_fraction=0.1).fit(points).dimension_
powerlaw 2.0.0           powerlaw.Fit(values, parameter_ranges={"alpha": [1, 20]}).alpha; by default it allows no exponent above 3
weightwatcher 0.7.7      WeightWatcher(model=...).analyze(min_evals=10), of a linear layer in float32
curvlinops 3.0.1         HessianLinearOperator, GGNLinearOperator and EFLinearOperator times the identity, in float64
devinterp 2.0.1          300 steps of SGMCMC.sgld(lr=1e-4, nbeta=1000, localization=1) from the minimum, mean over the second half; it
                         measures networks for tokens alone, so what is compared is a quadratic
"""

import math

import numpy as np
import pytest
import torch
from torch import nn

from shattering.measures.curvature import fisher_trace, hessian_top, hessian_trace, takeuchi, weighted_trace
from shattering.measures.fitted import Fitted
from shattering.measures.learning_coefficient import learning_coefficient
from shattering.measures.norms import stable_rank
from shattering.measures.representation import two_nearest
from shattering.measures.spectra import fit_tail, tail_exponent, weighted_exponent
from tests.measures.networks import of_module


def waves(*shape: int, power: float = 1.3) -> np.ndarray:
    return np.cos(np.arange(math.prod(shape), dtype=float) ** power).reshape(shape)


@pytest.mark.parametrize(("d", "width", "expected"), [(2, 5, 2.6542287630643213), (3, 10, 6.384251182821247), (6, 10, 5.752340179718051)])
def test_the_intrinsic_dimension_of_scikit_dimension(d, width, expected):
    base = np.modf(np.arange(1, 401)[:, None] * np.sqrt([2, 3, 5, 7, 11, 13])[:d])[0]
    bent = np.sin(3 * base @ np.ones((d, width - d))) + 0.1 * np.cos(base[:, :1] * np.arange(1, width - d + 1))
    points = torch.from_numpy(np.concatenate([base, bent], 1))
    assert two_nearest(points) == pytest.approx(expected, rel=1e-10)


def test_the_tail_exponents_of_powerlaw():
    def spectrum(matrix: np.ndarray) -> np.ndarray:
        return np.linalg.svd(matrix, compute_uv=False) ** 2

    assert fit_tail((1 - np.linspace(0, 0.999, 1000)) ** (-1 / 1.5)) == pytest.approx(2.506588158614591, rel=1e-10)
    assert fit_tail(spectrum(waves(60, 90))) == pytest.approx(5.058074857258109, rel=1e-8)
    assert fit_tail(spectrum(np.tan(np.arange(1, 2001) ** 0.7).reshape(40, 50))) == pytest.approx(1.431997903054071, rel=1e-6)
    # powerlaw's distance leaves out the upper corners of the empirical steps, so that the tail may begin one value off
    assert fit_tail(np.exp(np.linspace(-2.5, 2.5, 400) ** 3 / 6)) == pytest.approx(2.210819498291152, rel=5e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_spectra_of_weightwatcher(dtype):
    layer = nn.Linear(90, 60, bias=False)
    layer.weight.data = torch.from_numpy(waves(60, 90)).float()
    made = of_module(layer, torch.eye(90, dtype=dtype)[:60], torch.arange(60))
    assert tail_exponent(made) == pytest.approx(5.058074877245774, rel=1e-5)
    assert weighted_exponent(made) == pytest.approx(10.58008543346579, rel=1e-5)
    assert stable_rank(made) == pytest.approx(22.044988700476466, rel=1e-5)


def smooth(dtype: torch.dtype) -> Fitted:
    module = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3))
    for i, parameter in enumerate(module.parameters()):
        parameter.data = torch.from_numpy(2 * waves(*parameter.shape, power=1.3 + 0.1 * i))
    return of_module(module.to(dtype), torch.from_numpy(waves(30, 3, power=1.7)).to(dtype), torch.arange(30) % 3)


@pytest.mark.parametrize(("dtype", "precision"), [(torch.float32, 1e-4), (torch.float64, 1e-9)])
def test_the_curvature_of_curvlinops(dtype, precision):
    made = smooth(dtype)
    assert hessian_top(made) == pytest.approx(0.43565072248708525, rel=precision)
    assert hessian_trace(made) == pytest.approx(-0.5807467290633, rel=precision)
    assert fisher_trace(made) == pytest.approx(0.6285091849416989, rel=precision)
    assert weighted_trace(made) == pytest.approx(-1.165654504210893, rel=precision)
    assert takeuchi(made) == pytest.approx(12.689173678336735, rel=precision)


def test_the_learning_coefficient_of_devinterp():
    curvature, copies = torch.linspace(1, 3, 5, dtype=torch.float64).repeat(2000), 2000

    def slope(point: torch.Tensor, t: int) -> tuple[float, list[torch.Tensor]]:
        return float((curvature * point**2).sum() / 2 / copies), [curvature * point]

    start = torch.zeros(5 * copies, dtype=torch.float64)
    found = learning_coefficient(slope, start, 1000.0, 1.0, 1e-4, torch.Generator().manual_seed(0), chains=1, steps=300)
    assert found == pytest.approx(2.635256925447355, rel=0.02)
