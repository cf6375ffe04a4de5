"""Norms of weights, and distances from the initial weights.

Norms are of weights alone, as published: no bias, no parameter of a normalization. Batch normalization is folded into the weights before
norms are taken, but not before distances: the initial network has no statistics yet, and W/σ less W⁰/1 would measure σ. Products are
returned as logarithms, for they overflow. Max-pooling and local response normalization are left out of products, as in the literature.
"""

import math

import torch

from shattering.measures import path_norm
from shattering.measures.fitted import Fitted, NotComputable, jvp


def parameter_norm(fitted: Fitted) -> float:
    """Return Σ_l ‖W_l‖_F² (Jiang et al. 2020, eq. 42).

    Example:
        >>> print(f"{parameter_norm(fitted):.3g}")
        1.79e+04
    """
    return sum(squared(weight) for weight in fitted.weights())


def distance(fitted: Fitted) -> float:
    """Return Σ_l ‖W_l − W_l⁰‖_F² (Jiang et al. 2020, eq. 40; Nagarajan & Kolter 2019).

    Example:
        >>> print(f"{distance(fitted):.3g}")
        1.79e+04
    """
    return sum(squared(now - then) for now, then in pairs(fitted))


def angular_distance(fitted: Fitted) -> float:
    """Return Σ_l ‖W_l/‖W_l‖_F − W_l⁰/‖W_l⁰‖_F‖_F²: `distance` of weights scaled to norm 1 first.

    Unlike `distance` it does not depend on the scale of a layer, which is arbitrary before a batch normalization.

    Example:
        >>> print(f"{angular_distance(fitted):.3g}")
        2.24
    """
    if any(not bool(weight.any()) for pair in pairs(fitted) for weight in pair):
        raise NotComputable("a layer's weights are all 0, so that they have no direction")
    return sum(squared(now / now.norm() - then / then.norm()) for now, then in pairs(fitted))


def log_frobenius_product(fitted: Fitted) -> float:
    """Return Σ_l log ‖W_l‖_F² (Jiang et al. 2020, eq. 37; Neyshabur, Tomioka & Srebro 2015).

    Raises:
        NotComputable: for a layer that is called more than once, so that it is several factors.

    Example:
        >>> print(f"{log_frobenius_product(fitted):.3g}")
        16.3
    """
    return sum(log(squared(layer.weight)) for layer in fitted.factors)


def log_spectral_product(fitted: Fitted, kernel_norm: bool = False) -> float:
    """Return Σ_l log ‖W_l‖² (Jiang et al. 2020, eq. 32).

    kernel_norm: for convolutions take the norm of the reshaped kernel, for comparison with the literature, not that of the operator.

    Raises:
        NotComputable: for a layer that is called more than once, so that it is several factors.

    Example:
        >>> print(f"{log_spectral_product(fitted):.3g}")
        12.9
    """
    return sum(2 * log(layer.kernel_norm if kernel_norm else layer.norm) for layer in fitted.factors)


def stable_rank(fitted: Fitted) -> float:
    """Return Σ_l ‖W_l‖_F² / ‖W_l‖² (Jiang et al. 2020, eq. 33). ‖·‖_F of a convolution is that of its array of weights.

    Example:
        >>> print(f"{stable_rank(fitted):.3g}")
        11
    """
    _check_nonzero(fitted)
    return sum(squared(layer.weight) / layer.norm**2 for layer in fitted.folded_layers)


def log_path_norm(fitted: Fitted) -> float:
    """Return the logarithm of the sum over all paths from inputs and biases to logits of the product of squared weights.

    (Neyshabur, Salakhutdinov & Srebro 2015; Jiang et al. 2020, eq. 44; for biases and pooling Gonon et al., ICLR 2024.) It is the
    sum of the logits of the network with squared parameters on an input of ones. A bias is a path that starts there, with weight b²;
    average pooling is a linear layer whose weights are squared too; a path goes through any input of a max-pooling, so this is a sum.

    Example:
        >>> print(f"{log_path_norm(fitted):.3g}")
        10
    """
    return log(fitted.once(path_norm.path_norm))


def fisher_rao(fitted: Fitted) -> float:
    """Return (1/n) Σ_i ⟨g_i, θ⟩², with g_i the gradient of ℓ_i (Liang, Poggio, Rakhlin & Stokes 2019, empirical Fisher).

    ⟨g_i, θ⟩ is the derivative of ℓ_i along θ: one forward-mode product for a block of examples at once, not n gradients.

    Example:
        >>> print(f"{fisher_rao(fitted):.3g}")
        0.272
    """
    _ = fitted.logits  # raises for a diverged network
    parameters = fitted.parameters
    total = 0.0
    for inputs, labels in fitted.blocks():

        def losses(values: dict, inputs: torch.Tensor = inputs, labels: torch.Tensor = labels) -> torch.Tensor:
            return torch.nn.functional.cross_entropy(fitted.call(values, inputs), labels, reduction="none")

        _, slopes = jvp(losses, (parameters,), (parameters,))
        total += float(slopes.detach().double().square().sum())
    return total / fitted.n


def squared(weight: torch.Tensor) -> float:
    """Return the squared Frobenius norm."""
    return float(weight.double().square().sum())


def pairs(fitted: Fitted) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Return (W_l, W_l⁰) of each layer, unfolded, as float64.

    Raises NotComputable where the initial weights are not known, and for weights of other kinds of layers.
    """
    fitted.check_weights()
    now = {layer.name: layer.weight for layer in fitted.layers}
    then = {layer.name: layer.weight for layer in fitted.initial_layers}
    if not all(bool(weight.isfinite().all()) for weight in now.values()):
        raise NotComputable("weights are not finite: the network has diverged")
    return [(now[name], then[name]) for name in now]


def _check_nonzero(fitted: Fitted) -> None:
    zero = [layer.name for layer in fitted.folded_layers if not bool(layer.weight.any())]
    if zero:
        raise NotComputable(f"the weights of {zero[0]} are all 0")


def log(value: float) -> float:
    """Return the natural logarithm, -∞ of 0."""
    return math.log(value) if value > 0 else -math.inf
