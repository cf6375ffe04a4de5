"""The local learning coefficient: how fast the volume of parameters with almost the same loss shrinks, by Langevin dynamics."""

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch
from torch.func import grad_and_value, vmap
from torch.nn import functional as F

from shattering.measures.curvature import hessian_top
from shattering.measures.derivatives import Vector, draws, flat, unflat
from shattering.measures.fitted import Fitted, NotComputable
from shattering.measures.sampling import shuffled

CHAINS, STEPS = 4, 200  # the first half of the steps is left out
BATCH = 64  # examples per step
LOCALIZATION = 100.0  # γ: 1/variance of the Gaussian around the trained parameters
Slope = Callable[[torch.Tensor, int], tuple[torch.Tensor, torch.Tensor]]  # (points (m, P), step) → rises (m,), gradients (m, P)


def local_learning_coefficient(fitted: Fitted, chains: int = CHAINS, steps: int = STEPS) -> float:
    """Return nβ (E[L(w)] - L(θ)), with w from the posterior around θ at the temperature nβ = n / log n.

    Lau, Furman, Wang, Murfet & Wei ("The local learning coefficient: a singularity-aware complexity measure", AISTATS 2025, eq. 14) with
    the localization γ = 100 and stochastic gradient Langevin dynamics: 4 chains of 200 steps of 64 examples, of which the first half is
    left out. The step is 1 / 2(nβ λ + γ), with λ the largest eigenvalue of the Hessian. nβ does not depend on the size of a batch, and
    L(w) - L(θ) is always taken on the same examples (appendix A14).

    Example:
        >>> print(f"{local_learning_coefficient(fitted):.3g}")
        4.44
    """
    losses = fitted.losses
    if fitted.n < 2:
        raise NotComputable("there is one training example, so that n / log n does not exist")
    n_beta = fitted.n / math.log(fitted.n)
    step = 0.5 / (n_beta * max(0.0, hessian_top(fitted)) + LOCALIZATION)
    order, start = shuffled(fitted), flat(fitted.parameters).to(fitted.dtype)
    size = min(BATCH, fitted.n)

    def batch_loss(parameters: torch.Tensor, inputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(fitted.call(_split(fitted, parameters), inputs), labels)

    def slope(points: torch.Tensor, t: int) -> tuple[torch.Tensor, torch.Tensor]:
        rows = order[(t * size + torch.arange(size, device=order.device)) % fitted.n]
        slopes, values = vmap(grad_and_value(batch_loss), in_dims=(0, None, None))(points, fitted.inputs(rows), fitted.labels[rows])
        return values.double() - losses[rows].mean(), slopes

    return langevin(slope, start, n_beta, LOCALIZATION, step, draws(fitted, "langevin"), chains=chains, steps=steps)


def _split(fitted: Fitted, values: torch.Tensor) -> Vector:
    return unflat(fitted, values)


def langevin(
    slope: Slope,
    start: torch.Tensor,
    n_beta: float,
    localization: float,
    step: float,
    generator: torch.Generator,
    *,
    chains: int = CHAINS,
    steps: int = STEPS,
) -> float:
    """Return nβ times the mean rise of the loss over chains w ← w - (ε/2)(nβ ∇L(w) + γ(w - start)) + N(0, ε).

    Args:
        slope: returns rises L(w) - L(start), (chains,), and gradients of L, (chains, P), at points (chains, P) in step t.
        start: (P,), where all chains begin.
        n_beta: nβ, the inverse temperature.
        localization: γ.
        step: ε.
        generator: of the noise, on the CPU.
        chains: how many.
        steps: of each; the first half of them is left out of the mean.

    Raises:
        NotComputable: where a chain leaves the numbers.
    """
    points, rises, pull = start.repeat(chains, 1), [], step / 2 * localization
    with ThreadPoolExecutor(1) as beside:  # the noise of a step is drawn while the gradients are computed
        for t in range(steps):
            drawn = beside.submit(torch.randn, points.shape, generator=generator, dtype=torch.float32)
            rise, slopes = slope(points, t)
            rises.append(rise)
            points.mul_(1 - pull).add_(start, alpha=pull).sub_(slopes, alpha=step / 2 * n_beta)
            points.add_(drawn.result().to(points), alpha=step**0.5)
    value = n_beta * float(torch.stack(rises[steps // 2 :]).mean())
    if not math.isfinite(value):
        raise NotComputable("the chains around the parameters diverge")
    return value
