"""Measures of the agreement of single examples' gradients at the end of training: g_i of example i in all trainable scalars, ḡ their mean.

Gradients are those of single examples, never divided by their number, and moments are over the n examples, not n - 1. Only sums are
kept; gradients exist in blocks of examples alone.
"""

import functools
from dataclasses import dataclass

import torch
from torch.nn import functional as F

from shattering.measures import per_example
from shattering.measures.derivatives import Vector, checked, dot
from shattering.measures.fitted import Fitted, NotComputable

_CONSTANT = 1e-10  # share of its mean square below which a gradient's variance is rounding


@dataclass(frozen=True, eq=False)
class GradientMoments:
    """Moments of the gradients of single examples.

    Args:
        trace: tr C = mean of ‖g_i‖², the trace of the empirical Fisher matrix.
        mean: ḡ, by parameter, flattened, float64.
        variance: of each component over the examples, likewise; 0 where it is no more than rounding.
    """

    trace: float
    mean: Vector
    variance: Vector


def moments(fitted: Fitted) -> GradientMoments:
    """Return the moments of the training examples' gradients, computed once. Raises NotComputable for a diverged network."""
    return fitted.once(_moments)


def _moments(fitted: Fitted) -> GradientMoments:
    _ = fitted.logits  # raises for a diverged network
    sums = {name: torch.zeros(p.numel(), dtype=torch.float64, device=p.device) for name, p in fitted.parameters.items()}
    squares = {name: torch.zeros_like(part) for name, part in sums.items()}
    for evaluation, labels in per_example.blocks(fitted):
        for name, found in evaluation.gradients(functools.partial(F.cross_entropy, reduction="none"), labels).items():
            sums[name] += found.sums()
            squares[name] += found.sums(2)
    trace = checked(sum(float(part.sum()) for part in squares.values()) / fitted.n, "a gradient")
    mean = {name: part / fitted.n for name, part in sums.items()}
    variance = {name: part / fitted.n - mean[name].square() for name, part in squares.items()}
    varies = {name: part.where(part > _CONSTANT * squares[name] / fitted.n, 0) for name, part in variance.items()}
    return GradientMoments(trace, mean, varies)


def gradient_variance(fitted: Fitted) -> float:
    """Return tr C - ‖ḡ‖²: the variance of the gradients, summed over the parameters.

    Jiang et al. ("Fantastic Generalization Measures", ICLR 2020) take it at the end of training.

    Example:
        >>> print(f"{gradient_variance(fitted):.3g}")
        266
    """
    return sum(float(part.sum()) for part in moments(fitted).variance.values())


def gradient_coherence(fitted: Fitted) -> float:
    """Return -‖ḡ‖² / tr C, in -1…0: -1 for equal gradients, -1/n for orthogonal ones, 0 for those that cancel.

    Times n it is the coherence α of Chatterjee & Zielinski ("Making coherence out of nothing at all", 2020), negated since
    coherent gradients should generalize.

    Example:
        >>> print(f"{gradient_coherence(fitted):.3g}")
        -0.0179
    """
    found = moments(fitted)
    if not found.trace:
        raise NotComputable("every gradient is 0")
    return -dot(found.mean, found.mean) / found.trace


def gradient_snr(fitted: Fitted) -> float:
    """Return -(mean over the parameters of ḡ_j² / Var_i(g_ij)), the gradients' ratio of signal to noise.

    Liu, Jiang, Bai, Chen & Wang ("Understanding why neural networks generalize well through GSNR of parameters", ICLR 2020).
    Parameters whose gradient is the same for every example have no ratio and are left out: those of dead units, above all.

    Example:
        >>> print(f"{gradient_snr(fitted):.3g}")
        -0.0165
    """
    found, ratios = moments(fitted), []
    for name, variance in found.variance.items():
        ratios.append((found.mean[name].square() / variance)[variance > 0])
    every = torch.cat(ratios)
    if not len(every):
        raise NotComputable("no gradient differs between examples")
    return -float(every.mean())
