"""Conjugate gradients for several right-hand sides at once."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

_REPLACE = 1e-3  # the recurrence's residual is replaced each time it has fallen by this


@dataclass(frozen=True)
class Iterations:
    """The state at which conjugate gradients stopped.

    Args:
        solution: (n, k).
        rest: (n, k), targets - matrix @ solution.
        residual: ‖rest‖ / ‖targets‖ in the Frobenius norm.
    """

    solution: Tensor
    rest: Tensor
    residual: float
    steps: int


def conjugate_gradients(
    product: Callable[[Tensor], Tensor],
    targets: Tensor,
    precondition: Callable[[Tensor], Tensor],
    tolerance: float,
    max_steps: int,
    on_step: Callable[[int, float], None] | None = None,
    rest: Callable[[Tensor], Tensor] | None = None,
) -> Iterations:
    """Solve matrix x = targets from x = 0, until the residual is at most the tolerance.

    It ends without that after max_steps, and where no step leads further.

    Args:
        product: x (n, k) → matrix @ x, in whatever precision; the recurrences are in that of the targets.
        targets: (n, k) float64. Columns are independent: each has its own step lengths.
        precondition: r (n, k) → an approximation of the solution for r, linear, symmetric and positive definite.
        tolerance: on the relative residual.
        max_steps: products at most.
        on_step: called with the step and the residual.
        rest: x → targets - matrix @ x in the precision of the targets: from time to time, and at the end, the recurrence's
            residual is replaced by the one that this gives, without a new start (van der Vorst and Ye, 2000). The
            iteration ends where that does not get smaller, and the result is that of the smallest. None: product is exact.

    Example:
        >>> matrix, targets = torch.diag(torch.tensor([2.0, 4.0])).double(), torch.ones(2, 1).double()
        >>> conjugate_gradients(lambda x: matrix @ x, targets, lambda r: r, 1e-10, 10).steps
        2
    """
    x, r = torch.zeros_like(targets), targets.clone()
    size = targets.norm().item()
    residual, step, stuck = 1.0 if size else 0.0, 0, False
    best = Iterations(x, r, residual, step)
    z = precondition(r)
    direction, rz = z, (r * z).sum(0)
    while residual > tolerance and step < max_steps and not stuck:
        step += 1
        moved = product(direction)
        curvature = (direction * moved).sum(0)
        length = torch.where(curvature > 0, rz / curvature, 0.0)
        stuck = not bool((length.abs() > 0).any())
        x, r = x + length * direction, r - length * moved
        residual = r.norm().item() / size
        stuck = stuck or not math.isfinite(residual)
        if on_step:
            on_step(step, residual)
        if rest and (residual <= max(tolerance, _REPLACE * best.residual) or step == max_steps or stuck):
            r = rest(x)
            residual = r.norm().item() / size
            if not residual < best.residual:
                return best
            best = Iterations(x, r, residual, step)
        z = precondition(r)
        rz, before = (r * z).sum(0), rz
        direction = z + torch.where(before > 0, rz / before, 0.0) * direction
    return best if rest else Iterations(x, r, residual, step)
