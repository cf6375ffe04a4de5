"""The local learning coefficient: how fast the volume of parameters with almost the same loss shrinks, by Langevin dynamics."""

import math
from collections.abc import Callable

import numpy as np
import torch
from scipy.special import stdtrit
from torch.nn import functional as F

from shattering.measures.curvature import hessian_top
from shattering.measures.derivatives import draws, flat
from shattering.measures.fitted import Fitted, NotComputable
from shattering.measures.sampling import shuffled
from shattering.parameters import Count, check_arguments

CHAINS, STEPS = 4, 200  # at most; the first half of the steps is left out
PRECISION = 0.05  # standard error of the mean over chains at which no more are run, as a share of it
BATCH = 64  # examples per step
LOCALIZATION = 100.0  # γ: 1/variance of the Gaussian around the trained parameters
_FINER, _TIMES = 4, 6  # by what the step is divided where a chain diverges, and how often
Slope = Callable[[torch.Tensor, int], tuple[float, list[torch.Tensor]]]  # (point (P,), step) → (rise, gradient by parts)


def local_learning_coefficient(fitted: Fitted, chains: Count = CHAINS, steps: Count = STEPS) -> float:
    """Return nβ (E[L(w)] - L(θ)), with w from the posterior around θ at the inverse temperature β = 1 / log n.

    Lau, Furman, Wang, Murfet & Wei ("The local learning coefficient: a singularity-aware complexity measure", AISTATS 2025) with
    the localization γ = 100 and stochastic gradient Langevin dynamics: chains of 200 steps of 64 examples, of which the first half is
    left out; two chains, and up to four until the standard error of their mean is below 5 %. The step is 1 / (2 (nβ λ + γ)), with λ the
    largest eigenvalue of the Hessian, and a quarter of it wherever a chain diverges, at most six times. nβ does not depend on the size
    of a batch, and L(w) - L(θ) is always taken on the same examples.

    Example:
        >>> print(f"{local_learning_coefficient(fitted):.3g}")
        4.55
    """
    check_arguments(local_learning_coefficient, locals(), "chains", "steps")
    losses = fitted.losses
    if fitted.n < 2:
        raise NotComputable("there is one training example, so that n / log n does not exist")
    n_beta = fitted.n / math.log(fitted.n)
    step = 0.5 / (n_beta * max(0.0, hessian_top(fitted)) + LOCALIZATION)
    order, start = shuffled(fitted), flat(fitted.parameters).to(fitted.dtype)
    size = min(BATCH, fitted.n)

    def slope(point: torch.Tensor, t: int) -> tuple[float, list[torch.Tensor]]:
        rows = order[(t * size + torch.arange(size, device=order.device)) % fitted.n]
        values = _parts(fitted, point)
        for part in values.values():
            part.requires_grad_()
        loss = F.cross_entropy(fitted.call(values, fitted.inputs(rows)), fitted.labels[rows])
        return float(loss.detach()) - float(losses[rows].mean()), list(
            torch.autograd.grad(loss, list(values.values()), materialize_grads=True)
        )

    return learning_coefficient(slope, start, n_beta, LOCALIZATION, step, draws(fitted, "langevin"), chains=chains, steps=steps)


def _parts(fitted: Fitted, point: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return views of a tensor (P,), by parameter."""
    parts = point.split([p.numel() for p in fitted.parameters.values()])
    return {name: part.view_as(p) for (name, p), part in zip(fitted.parameters.items(), parts, strict=True)}


def learning_coefficient(
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
    """Return nβ times the mean rise of the loss over chains w ← w - (ε/2)(nβ ∇L(w) + γ(w - start)) ± √ε.

    The signs are random, where Langevin dynamics have N(0, ε): with the same two moments the scheme has the same weak order (Kloeden &
    Platen 1992), and bits cost a tenth of normal numbers.

    Args:
        slope: returns the rise L(w) - L(start) and the gradient of L, in parts, at a point (P,) in step t.
        start: (P,), where all chains begin.
        n_beta: nβ, the inverse temperature.
        localization: γ.
        step: ε, to begin with.
        generator: of the noise, on the CPU.
        chains: how many at most.
        steps: of each; the first half of them is left out of the mean.

    Raises:
        NotComputable: where a chain diverges at the first step size and at all six finer ones.
    """
    means: list[float] = []
    for _ in range(_TIMES + 1):
        while len(means) < chains and not _is_precise(means):
            found = _chain(slope, start, n_beta, localization, step, generator, steps)
            means.append(found)
            if not math.isfinite(found):
                break
        if all(map(math.isfinite, means)):
            return n_beta * float(np.mean(means))
        step, means = step / _FINER, []
    raise NotComputable("the chains around the parameters diverge")


def _is_precise(means: list[float]) -> bool:
    """Return whether the standard error is small enough; that of a few chains is stretched to where Student's t has 68 %."""
    if len(means) < 2:
        return False
    error = float(np.std(means, ddof=1)) / len(means) ** 0.5 * float(stdtrit(len(means) - 1, 0.841))
    return error <= PRECISION * abs(float(np.mean(means)))


def _chain(
    slope: Slope, start: torch.Tensor, n_beta: float, localization: float, step: float, generator: torch.Generator, steps: int
) -> float:
    """Return the mean rise over the second half of a chain; infinite where it diverges."""
    point, pull, total = start.clone(), step / 2 * localization, 0.0
    for t in range(steps):
        rise, slopes = slope(point, t)
        if not math.isfinite(rise):
            return math.inf
        total += rise if t >= steps // 2 else 0.0
        point.lerp_(start, pull)
        for place, part in zip(point.split([part.numel() for part in slopes]), slopes, strict=True):
            place.sub_(part.flatten(), alpha=step / 2 * n_beta)
        point.add_(_bits(len(start), generator).to(point), alpha=2 * step**0.5).sub_(step**0.5)
    return total / (steps - steps // 2)


def _bits(n: int, generator: torch.Generator) -> torch.Tensor:
    """Draw n of 0 and 1, uint8, eight from a byte."""
    drawn = torch.empty(-(-n // 8), dtype=torch.uint8).random_(generator=generator)
    return torch.from_numpy(np.unpackbits(drawn.numpy(), count=n))
