"""Curvature of the training loss in the parameters. Where the loss is near 0 so is its curvature: compare networks at equal loss."""

import functools
from collections.abc import Callable

import numpy as np
import torch
from torch.nn import functional as F

from shattering.measures import derivatives, per_example
from shattering.measures.derivatives import Vector, dot, draws, flat, signs, unflat
from shattering.measures.fitted import MEMORY, Fitted, NotComputable
from shattering.measures.gradients import moments
from shattering.measures.sampling import shuffled
from shattering.parameters import Count, check

PROBES = 100  # random vectors for a trace, at most
PRECISION = 0.05  # standard error at which no more are drawn, as a share of the trace
_WORST = 0.25  # standard error above which there is no value, as a share of the trace
_FEW = 4  # random vectors before the standard error is looked at
_EXAMPLES = 16  # by which it is told whether logits are linear in a tensor of parameters
_BASIS, _PRODUCTS = 60, 300  # vectors that Lanczos' method keeps, and products with the Hessian, at most
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
    size, hessian = fitted.n_parameters, derivatives.loss_hessian(fitted)
    if size <= _DENSE:
        rows = [flat(hessian.product(unflat(fitted, unit))) for unit in torch.eye(size, dtype=torch.float64)]
        return derivatives.checked(float(torch.linalg.eigvalsh(torch.stack(rows).cpu())[-1]), "the Hessian")
    start = flat(derivatives.normal(fitted, draws(fitted, "hessian top"))).to(fitted.dtype)
    tolerance = 1e-6 if fitted.dtype == torch.float64 else 1e-2
    return largest_eigenvalue(lambda vector: flat(hessian.product(unflat(fitted, vector))).to(vector), start, tolerance)


def largest_eigenvalue(product: Callable[[torch.Tensor], torch.Tensor], start: torch.Tensor, tolerance: float) -> float:
    """Return the largest eigenvalue of a symmetric matrix by Lanczos' method, each vector orthogonalized against all before it.

    Args:
        product: returns the matrix times a vector (P,).
        start: (P,), the first vector.
        tolerance: the length of the residual ‖Hv - λv‖, as a share of λ, at which it ends; λ is off by no more, and, where the next
            eigenvalue is far, by its square.

    Raises:
        NotComputable: for a product that is not finite, and where 300 products are not enough.

    Example:
        >>> matrix = torch.diag(torch.linspace(0, 1, 50, dtype=torch.float64))
        >>> round(largest_eigenvalue(lambda vector: matrix @ vector, torch.ones(50, dtype=torch.float64), 1e-6), 6)
        1.0
    """
    most = max(4, min(_BASIS, MEMORY // start.nbytes))
    vector, used = start / start.norm(), 0
    while used < _PRODUCTS:
        basis, projected = vector.new_empty(most + 1, len(vector)), torch.zeros(most, most, dtype=torch.float64)
        basis[0], mixture = vector, torch.ones(1)
        for j in range(most):
            after, used = product(basis[j]), used + 1
            derivatives.checked(float(after.norm()), "a product with the Hessian")
            for _ in range(2):  # the second time for what rounding left
                along = basis[: j + 1] @ after
                after = after - along @ basis[: j + 1]
                projected[: j + 1, j] += along.double().cpu()
            values, vectors = torch.linalg.eigh(projected[: j + 1, : j + 1], UPLO="U")
            length, mixture = float(after.norm()), vectors[:, -1]
            if length * abs(float(mixture[-1])) <= tolerance * abs(float(values[-1])):
                return float(values[-1])
            basis[j + 1] = after / length
        vector = mixture.to(basis) @ basis[:most]
        vector = vector / vector.norm()
    raise NotComputable("Lanczos' method does not converge: products with the Hessian are not precise enough")


def hessian_trace(fitted: Fitted, probes: Count = PROBES) -> float:
    """Return tr H = tr G + tr(H - G): the first is exact, the second 0 or the mean of ⟨v, (H - G)v⟩ over vectors v of random signs.

    G is the Gauss-Newton matrix, whose trace is `fisher_trace`. Where the logits are linear in a tensor of parameters while the others
    stay, as those of ReLU networks are almost everywhere, H and G have the same diagonal there. In each other tensor (`curved_tensors`),
    vectors that are 0 elsewhere are drawn until the standard error is below 5 % of tr H: at least 4, and `probes` over all tensors. Yao
    et al. ("PyHessian: neural networks through the lens of the Hessian", 2020) estimate all of tr H by vectors over all parameters,
    until the running mean no longer changes. Of as many parameters as `probes` or fewer the trace is exact.

    Raises:
        NotComputable: where the standard error is above a quarter of the trace when the last vector is drawn.

    Example:
        >>> print(f"{hessian_trace(fitted):.3g}")
        493
    """
    return _trace(fitted, "hessian trace", {name: torch.ones_like(p) for name, p in fitted.parameters.items()}, probes)


def weighted_trace(fitted: Fitted, probes: Count = PROBES) -> float:
    """Return Σ_j θ_j² H_jj, as `hessian_trace` with vectors θ ∘ (±1).

    It is 2/ρ² times the limit of the adaptive average sharpness for small ρ (Andriushchenko et al., "A modern look at the relationship
    between sharpness and generalization", ICML 2023), and unchanged by rescaling layers; compare Tsuzuku, Sato & Sugiyama
    ("Normalized flat minima", ICML 2020).

    Example:
        >>> print(f"{weighted_trace(fitted):.3g}")
        36.3
    """
    return _trace(fitted, "weighted trace", fitted.parameters, probes)


def _trace(fitted: Fitted, purpose: str, scale: Vector, probes: int) -> float:
    """Return Σ_j s_j² H_jj for a scale s, from about so many random vectors at most."""
    check("probes", probes, Count)
    _ = fitted.logits  # raises for a diverged network
    if fitted.n_parameters <= probes:
        hessian = derivatives.loss_hessian(fitted)
        units = [unflat(fitted, unit) for unit in torch.diag(flat(scale))]
        return derivatives.checked(sum(dot(unit, hessian.product(unit)) for unit in units), "the Hessian")
    diagonal = fitted.once(fisher_diagonal)
    known = sum(float((diagonal[name] * scale[name].double().square()).sum()) for name in scale)
    curved = fitted.once(curved_tensors)
    if not curved:
        return derivatives.checked(known, "a gradient")
    generator, rest, found = draws(fitted, purpose), derivatives.residual_hessian(fitted), []
    zeros = {name: torch.zeros_like(p) for name, p in fitted.parameters.items()}
    error = np.inf
    for _ in range(max(_FEW, probes // len(curved))):
        signed = signs(fitted, generator)
        blocks = (zeros | {name: signed[name] * scale[name]} for name in curved)
        found.append(derivatives.checked(sum(dot(block, rest.product(block)) for block in blocks), "a product with the Hessian"))
        error = np.std(found, ddof=1) / len(found) ** 0.5 if len(found) > 1 else np.inf
        if len(found) >= _FEW and error <= PRECISION * abs(known + np.mean(found)):
            break
    trace = known + float(np.mean(found))
    if error > _WORST * abs(trace):
        raise NotComputable(f"{len(found)} draws of random vectors give the trace as {trace:.3g} ± {error:.3g}, too rough to be its value")
    return trace


def curved_tensors(fitted: Fitted) -> list[str]:
    """Return the names of the tensors of parameters in which the logits are not linear while the others stay, as far as examples show.

    For up to 16 training examples, a random mixture of the logits is differentiated twice along a random direction in each tensor. Of
    linear layers, convolutions, normalizations in evaluation mode, ReLU and max-pooling the second derivative is 0 to the last digit;
    of tensors that are used twice, or that come before a curved activation, it is not.
    """
    generator, inputs = draws(fitted, "linear by tensor"), fitted.inputs(shuffled(fitted)[:_EXAMPLES])
    values, curved = {name: p.clone().requires_grad_() for name, p in fitted.parameters.items()}, []
    with torch.enable_grad():
        logits = fitted.call(values, inputs)
        mixture = torch.randn(logits.shape, generator=generator).to(logits)
        slopes = torch.autograd.grad((logits * mixture).sum(), list(values.values()), create_graph=True, materialize_grads=True)
        for (name, value), slope, direction in zip(values.items(), slopes, signs(fitted, generator).values(), strict=True):
            along = (slope * direction).sum()
            if along.requires_grad:
                (second,) = torch.autograd.grad(along, value, retain_graph=True, materialize_grads=True)
                curved += [name] if bool(second.any()) else []
    return curved


def fisher_trace(fitted: Fitted) -> float:
    """Return tr G = (1/n) Σ_i Σ_c p_ic ‖J_iᵀ(e_c - p_i)‖², the trace of the exact Fisher matrix, which is the Gauss-Newton matrix.

    Karakida, Akaho & Amari ("Universal statistics of Fisher information in deep neural networks", AISTATS 2019); Liang et al. ("Fisher-
    Rao metric, geometry, and complexity of neural networks", AISTATS 2019). Labels are summed over, not drawn.

    Example:
        >>> print(f"{fisher_trace(fitted):.3g}")
        493
    """
    return derivatives.checked(sum(float(part.sum()) for part in fitted.once(fisher_diagonal).values()), "a gradient")


def fisher_diagonal(fitted: Fitted) -> Vector:
    """Return the diagonal of G, by parameter, float64."""
    diagonal = {name: torch.zeros(p.shape, dtype=torch.float64, device=p.device) for name, p in fitted.parameters.items()}
    probabilities, start = fitted.logits.softmax(1).to(fitted.dtype), 0
    for evaluation, labels in per_example.blocks(fitted):
        own = probabilities[start : start + len(labels)]
        for name, part in evaluation.mean_squares(functools.partial(F.cross_entropy, reduction="none"), own).items():
            diagonal[name] += part.view_as(diagonal[name]) / fitted.n
        start += len(labels)
    return diagonal


def takeuchi(fitted: Fitted) -> float:
    """Return tr C / tr G: how far gradients with the labels vary beyond what the network's own probabilities say.

    Takeuchi's criterion (1976) in the approximation of Thomas et al. ("On the interplay between noise and curvature and its effect on
    optimization and generalization", AISTATS 2020). It is 1 where the network's probabilities are right.

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

    Petzka et al. ("Relative flatness and generalization", NeurIPS 2021), for the cross-entropy of a last linear layer:
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
