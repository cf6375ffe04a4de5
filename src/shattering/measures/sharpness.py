"""Sharpness: how much the training loss rises if the parameters are perturbed. L: mean cross-entropy of the training set in nats."""

import functools
from collections.abc import Callable

from shattering.measures import derivatives
from shattering.measures.derivatives import Vector, dot, draws, gradient, loss, normal, plus
from shattering.measures.fitted import Fitted, NotComputable
from shattering.measures.noise import Noisy

STEPS = 20  # of an ascent, at most
_LITTLE = 1e-3  # of the rise: an ascent ends where the slope promises no more from another step
DRAWS = 32  # of a mean; as many as of the noise that is borne, with which they are shared
SAM_RADIUS, ADAPTIVE_RADIUS, AVERAGE_RADIUS = 0.05, 0.01, 0.1


def sam_sharpness(fitted: Fitted, radius: float = SAM_RADIUS) -> float:
    """Return the maximum of L(θ + u) - L(θ) over ‖u‖ ≤ 0.05, found by up to 20 steps of ascent.

    What sharpness-aware minimization minimizes (Foret, Kleiner, Mobahi & Neyshabur, ICLR 2021). The loss rises in every step,
    never falls, and what is returned is the rise, not the radius.

    Example:
        >>> print(f"{sam_sharpness(fitted):.3g}")
        0.313
    """

    def farthest(slope: Vector) -> Vector:
        norm = dot(slope, slope) ** 0.5
        return {name: (radius / norm if norm else 0.0) * part for name, part in slope.items()}

    return _maximum(fitted, farthest)


def adaptive_sharpness(fitted: Fitted, radius: float = ADAPTIVE_RADIUS) -> float:
    """Return the maximum of L(θ + u) - L(θ) over abs(u_j) ≤ 0.01 abs(θ_j), found by up to 20 steps of ascent.

    Kwon, Kim, Park & Choi ("ASAM", ICML 2021, with p = ∞); Andriushchenko et al. ("A modern look at the relationship between
    sharpness and generalization", ICML 2023). Nothing is divided by θ_j, so parameters that are 0 stay 0.

    Example:
        >>> print(f"{adaptive_sharpness(fitted):.3g}")
        0.164
    """
    sizes = {name: radius * p.abs() for name, p in fitted.parameters.items()}
    return _maximum(fitted, lambda slope: {name: sizes[name] * part.sign() for name, part in slope.items()})


def adaptive_average_sharpness(fitted: Fitted, radius: float = AVERAGE_RADIUS) -> float:
    """Return the mean of L(θ + u) - L(θ) for u_j ~ N(0, (0.1 θ_j)²), over 32 draws: 16 and their negatives.

    Andriushchenko et al. (ICML 2023) with their c = abs(θ). 0.1 is the standard deviation in units of θ_j, not the variance.

    Example:
        >>> print(f"{adaptive_average_sharpness(fitted):.3g}")
        0.352
    """
    before, noisy = _loss(fitted), fitted.once(Noisy, True, DRAWS)
    return sum(noisy.loss(i, radius) - before for i in range(DRAWS)) / DRAWS


def _loss(fitted: Fitted) -> float:
    _ = fitted.logits  # raises for a diverged network
    return loss(fitted, fitted.parameters)


def _maximum(fitted: Fitted, farthest: Callable[[Vector], Vector]) -> float:
    """Return the largest rise of the loss over a convex set of perturbations that the ascent finds.

    Each step goes from the best perturbation so far to the point of the set that is farthest along the gradient there (Frank-Wolfe), all
    the way where that raises the loss, else half as far as the step before. It ends where the slope promises less than 0.1 % of the rise.

    Args:
        fitted: the network.
        farthest: returns the u of the set with the largest ⟨slope, u⟩.
    """
    before = _loss(fitted)
    at = functools.partial(gradient, fitted)
    _, slope = at(fitted.parameters)
    if not dot(slope, slope):  # a stationary point, to the last digit
        slope = normal(fitted, draws(fitted, "ascent"))
    best, rise, share = {name: 0 * p for name, p in fitted.parameters.items()}, 0.0, 1.0
    for _ in range(STEPS):
        far = farthest(slope)
        if dot(slope, far) - dot(slope, best) <= _LITTLE * rise:
            break
        u = plus({name: (1 - share) * part for name, part in best.items()}, far, share)
        value, there = at(plus(fitted.parameters, u))
        if value - before > rise:
            best, rise, slope = u, value - before, there
        else:
            share /= 2
    if rise == float("inf"):
        raise NotComputable("the loss is not finite at a perturbation")
    return derivatives.checked(rise, "the loss")
