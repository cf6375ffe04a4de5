"""Curvature of the training loss in the parameters. Where the loss is near 0 so is its curvature: compare networks at equal loss."""

import functools

import numpy as np
import torch
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh
from torch.nn import functional as F

from shattering.measures import derivatives, per_example
from shattering.measures.derivatives import Vector, dot, draws, flat, hessian_product, signs, unflat
from shattering.measures.fitted import Fitted, NotComputable
from shattering.measures.gradients import moments

PROBES = 100  # random vectors for a trace, at most
PRECISION = 0.05  # standard error at which no more are drawn, as a share of the trace
_FEW = 8  # random vectors before the standard error is looked at
_DENSE = 40  # parameters up to which the Hessian is written out


def hessian_top(fitted: Fitted) -> float:
    """Return the largest eigenvalue of the Hessian H of the mean loss, by Lanczos' method with Hessian-vector products.

    Keskar et al. ("On large-batch training for deep learning", ICLR 2017) and Ghorbani, Krishnan & Xiao ("An investigation into neural
    net optimization via Hessian eigenvalue density", ICML 2019). Nothing is added to a norm, so that small eigenvalues are right too.

    Example:
        >>> print(f"{hessian_top(fitted):.3g}")
        119
    """
    return fitted.once(_hessian_top)


def _hessian_top(fitted: Fitted) -> float:
    _ = fitted.logits  # raises for a diverged network
    size = fitted.n_parameters
    if size <= _DENSE:
        rows = [flat(hessian_product(fitted, unflat(fitted, unit))) for unit in torch.eye(size, dtype=torch.float64)]
        return derivatives.checked(float(torch.linalg.eigvalsh(torch.stack(rows).cpu())[-1]), "the Hessian")

    def product(vector: np.ndarray) -> np.ndarray:
        return flat(hessian_product(fitted, unflat(fitted, torch.from_numpy(vector.astype(np.float64).ravel())))).cpu().numpy()

    start = torch.randn(size, generator=draws(fitted, "hessian top"), dtype=torch.float64).numpy()
    first = product(start)
    if not np.isfinite(first).all():
        raise NotComputable("a product with the Hessian is not finite")
    if not first.any():
        return 0.0
    operator = LinearOperator((size, size), matvec=product, dtype=np.float64)  # type: ignore[call-arg]  # the stub lacks matvec
    basis, precision = (20, 1e-8) if fitted.dtype == torch.float64 else (10, 1e-2)  # of the residual: the eigenvalue's error is its square
    try:
        values = eigsh(
            operator,  # type: ignore[arg-type]  # the stub knows no operators
            1,
            which="LA",
            v0=start,
            ncv=basis,
            tol=precision,  # type: ignore[arg-type]  # and no fractions
            return_eigenvectors=False,
        )
    except ArpackNoConvergence:
        raise NotComputable("Lanczos' method does not converge: products with the Hessian are not precise enough") from None
    return float(values[0])


def hessian_trace(fitted: Fitted, probes: int = PROBES) -> float:
    """Return tr H, estimated by ⟨v, Hv⟩ for vectors v of random signs (Hutchinson) until its standard error is below 5 %.

    Yao et al. ("PyHessian: neural networks through the lens of the Hessian", 2020, algorithm 2), who stop when the running mean no
    longer changes. At most 100 vectors are drawn (`probes`); of as many parameters or fewer the trace is exact.

    Example:
        >>> print(f"{hessian_trace(fitted):.3g}")
        461
    """
    return _trace(fitted, "hessian trace", {name: torch.ones_like(p) for name, p in fitted.parameters.items()}, probes)


def weighted_trace(fitted: Fitted, probes: int = PROBES) -> float:
    """Return Σ_j θ_j² H_jj, as `hessian_trace` with vectors θ ∘ (±1).

    It is 2/ρ² times the limit of the adaptive average sharpness for small ρ (Andriushchenko et al., "A modern look at the relationship
    between sharpness and generalization", ICML 2023, section 3), and unchanged by rescaling layers; compare Tsuzuku, Sato & Sugiyama
    ("Normalized flat minima", ICML 2020).

    Example:
        >>> print(f"{weighted_trace(fitted):.3g}")
        39.5
    """
    return _trace(fitted, "weighted trace", fitted.parameters, probes)


def _trace(fitted: Fitted, purpose: str, scale: Vector, probes: int) -> float:
    """Return Σ_j s_j² H_jj for a scale s, from at most so many random vectors."""
    _ = fitted.logits  # raises for a diverged network
    if fitted.n_parameters <= probes:
        values = flat(scale)
        units = [unflat(fitted, unit) for unit in torch.diag(values)]
        return derivatives.checked(sum(dot(unit, hessian_product(fitted, unit)) for unit in units), "the Hessian")
    generator, found = draws(fitted, purpose), []
    while len(found) < probes:
        vector = {name: part * scale[name] for name, part in signs(fitted, generator).items()}
        found.append(derivatives.checked(dot(vector, hessian_product(fitted, vector)), "a product with the Hessian"))
        if len(found) >= _FEW and np.std(found, ddof=1) <= PRECISION * abs(np.mean(found)) * len(found) ** 0.5:
            break
    return float(np.mean(found))


def fisher_trace(fitted: Fitted) -> float:
    """Return tr G = (1/n) Σ_i Σ_c p_ic ‖J_iᵀ(e_c - p_i)‖², the trace of the exact Fisher matrix, which is the Gauss-Newton matrix.

    Karakida, Akaho & Amari ("Universal statistics of Fisher information in deep neural networks", AISTATS 2019); Liang et al. ("Fisher-
    Rao metric, geometry, and complexity of neural networks", AISTATS 2019). Labels are summed over, not drawn.

    Example:
        >>> print(f"{fisher_trace(fitted):.3g}")
        493
    """
    return fitted.once(_fisher_trace)


def _fisher_trace(fitted: Fitted) -> float:
    probabilities, total, start = fitted.logits.softmax(1), 0.0, 0
    for evaluation, labels in per_example.blocks(fitted):
        own = probabilities[start : start + len(labels)]
        for c in range(fitted.n_classes):  # the gradient of -log p_c is Jᵀ(p - e_c)
            found = evaluation.gradients(functools.partial(F.cross_entropy, reduction="none"), torch.full_like(labels, c))
            total += float((own[:, c] * sum(part.squares() for part in found.values())).sum())
        start += len(labels)
    return derivatives.checked(total / fitted.n, "a gradient")


def takeuchi(fitted: Fitted) -> float:
    """Return tr C / tr G: how far gradients with the labels vary beyond what the network's own probabilities say.

    Takeuchi's criterion (1976) in the approximation of Thomas et al. ("On the interplay between noise and curvature and its effect on
    optimization and generalization", AISTATS 2020, section 5). It is 1 where the network's probabilities are right.

    Example:
        >>> print(f"{takeuchi(fitted):.3g}")
        0.549
    """
    trace = fisher_trace(fitted)
    if not trace:
        raise NotComputable("the trace of the Fisher matrix is 0")
    return moments(fitted).trace / trace


def relative_flatness(fitted: Fitted) -> float:
    """Return Σ_{a,b} ⟨w_a, w_b⟩ tr H_ab over the rows of the last layer's weights W, with H_ab = ∂²L/∂w_a∂w_b.

    Petzka et al. ("Relative flatness and generalization", NeurIPS 2021, definition 3), for the cross-entropy of a last linear layer:
    (1/n) Σ_i ‖φ_i‖² tr[W Wᵀ(diag p_i - p_i p_iᵀ)].

    Raises:
        NotComputable: where logits are not a linear function of the last layer's inputs.

    Example:
        >>> print(f"{relative_flatness(fitted):.2g}")
        3.8e+03
    """
    weight, _ = head(fitted)
    gram, p = weight @ weight.T, fitted.logits.softmax(1).cpu()
    traces = p @ gram.diagonal() - ((p @ gram) * p).sum(1)
    return float((fitted.features.square().sum(1) * traces).mean())


def head(fitted: Fitted) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (W (k, h), b (k,)), float64 on the CPU, with logits = φWᵀ + b; a single logit z stands for (0, z).

    Raises:
        NotComputable: where there is more between the last layer and the logits, or no such layer.
    """
    layer, logits = fitted.layers[-1], fitted.logits.cpu()
    weight = layer.weight.cpu()
    if not isinstance(layer.module, torch.nn.Linear) or len(weight) not in (1, fitted.n_classes):
        raise NotComputable("the last layer is not a linear layer that gives the logits")
    bias = torch.zeros(len(weight)).double() if layer.module.bias is None else layer.module.bias.detach().double().cpu()
    if len(weight) == 1:
        weight, bias = (torch.cat([torch.zeros_like(part), part]) for part in (weight, bias))
    if fitted.features.shape[1] != weight.shape[1] or not torch.allclose(fitted.features @ weight.T + bias, logits, rtol=1e-3, atol=1e-3):
        raise NotComputable("the logits are not a linear function of the last layer's inputs")
    return weight, bias
