"""Spectra of weights: the tails of their eigenvalue distributions (heavy-tailed self-regularization).

λ are the eigenvalues of WᵀW, W the matrix of a linear layer, or the (c_out, c_in k_h k_w) matrix of a convolution: not the k² slices that
some implementations cut it into. Values are means over the layers with at least 20 eigenvalues. On untrained networks the exponents lie
in the range that the theory calls well trained; they mean little with few eigenvalues.
"""

import math

import numpy as np
import torch

from shattering.errors import InputError, shown
from shattering.measures.fitted import Fitted, NotComputable

LEAST = 20  # eigenvalues of a layer
_NEGLIGIBLE = 1e-12  # of the largest: eigenvalues below it are rounding


def tail_exponent(fitted: Fitted) -> float:
    """Return the mean over layers of the exponent α of the tail of λ: density ∝ λ^−α above λ_min.

    (Martin & Mahoney, JMLR 2021.) α is the maximum-likelihood estimate, λ_min the eigenvalue at which the fitted tail has the
    least Kolmogorov–Smirnov distance (Clauset, Shalizi & Newman 2009).

    Example:
        >>> print(f"{tail_exponent(fitted):.3g}")
        2.84
    """
    return float(np.mean([exponent for exponent, _ in fitted.once(_tails)]))


def weighted_exponent(fitted: Fitted) -> float:
    """Return the mean over layers of α log₁₀ λ_max (Martin, Peng & Mahoney, Nature Communications 2021).

    Example:
        >>> print(f"{weighted_exponent(fitted):.3g}")
        1.66
    """
    return float(np.mean([exponent * math.log10(largest) for exponent, largest in fitted.once(_tails)]))


def fit_tail(values: np.ndarray) -> float:
    """Return the exponent of the power-law tail of positive values (n,), with λ_min by the least Kolmogorov–Smirnov distance.

    NaN for fewer than two different values.

    Raises:
        InputError: for values that are not positive numbers.

    Example:
        >>> sample = (1 - np.linspace(0, 0.999, 1000)) ** (-1 / 1.5)  # a Pareto distribution with exponent 2.5
        >>> round(fit_tail(sample), 1)
        2.5
    """
    ordered = np.sort(np.asarray(values, dtype=float), axis=None)
    if np.ndim(values) != 1 or not (np.isfinite(ordered) & (ordered > 0)).all():
        raise InputError(f"values is {shown(values)}, expected positive numbers of shape (n,)")
    best, exponent = math.inf, math.nan
    for start in np.flatnonzero(np.concatenate([[True], ordered[1:] > ordered[:-1]]))[:-1]:  # at least two distinct values
        tail = ordered[start:]
        logs = np.log(tail / tail[0])
        alpha = 1 + len(tail) / logs.sum()
        model, steps = 1 - np.exp(-(alpha - 1) * logs), np.arange(len(tail) + 1) / len(tail)
        gap = max(np.abs(steps[1:] - model).max(), np.abs(model - steps[:-1]).max())
        if gap < best:
            best, exponent = gap, alpha
    return float(exponent)


def _tails(fitted: Fitted) -> list[tuple[float, float]]:
    """Return (α, λ_max) of each layer with enough eigenvalues."""
    found = []
    for layer in fitted.folded_layers:
        values = torch.linalg.svdvals(layer.matrix).square().cpu().numpy()
        values = values[values > _NEGLIGIBLE * values.max(initial=0)]
        if len(values) >= LEAST:
            found.append((fit_tail(values), float(values.max())))
    if not found or any(math.isnan(exponent) for exponent, _ in found):
        raise NotComputable(f"no layer has {LEAST} different eigenvalues, of which the tail could be fitted")
    return found
