"""Solve (gram + ridge I) x = targets, to a residual measured in float64."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from shattering.errors import InputError
from shattering.linalg.cg import conjugate_gradients
from shattering.linalg.gram import Gram, exact_product, symmetric_product
from shattering.linalg.low_rank import Preconditioner, pivoted_cholesky
from shattering.linalg.plan import SolverPlan
from shattering.linalg.spectrum import least_squares
from shattering.linalg.system import System
from shattering.linalg.tiles import TILE, LowerTiles, NotPositiveDefinite
from shattering.parameters import Count, NotNegative, check_arguments

Say = Callable[[str], None]
_REFINEMENTS = 10
_DRIFT = 0.1  # of the tolerance: above it, the residual of a recurrence is computed again from the solution
_ROUNDING = 1e-6  # below zero on the diagonal, relative to the largest there
_IN_FLOAT32 = (1e-30, 1e30)  # entries on the diagonal that float32 holds, with room for sums


@dataclass(frozen=True)
class Solution:
    """A solution x, and what is known of it.

    Args:
        x: (n, k) float64.
        fitted: gram @ x, in float64.
        residual: ‖targets - (gram + ridge I) x‖ / ‖targets‖ in the Frobenius norm, with the matrix in float64.
        how: "cholesky"; "cg"; "eigen" (by all eigenvalues); or "low rank" (least squares, by those eigenvalues that are not zero in
            float64).
        precision: the precision of the factor or the products that gave x.
        steps: steps of conjugate gradients, or solutions by the Cholesky factor.
        condition: condition number of gram + ridge I, an estimate from below; for a low rank, that of the eigenvalues used.
        rank: number of eigenvalues used for a low rank, else None.
        complete: True if the other eigenvalues are zero; False if the memory held no more.
        seconds: per stage, of everything that was tried.

    Example:
        >>> from shattering.linalg.gram import KernelGram
        >>> from shattering.linalg.plan import make_plan
        >>> gram = KernelGram(lambda a, b: a @ b.T, torch.eye(2, dtype=torch.float64))
        >>> plan = make_plan(2, features=2, targets=1)
        >>> solution = solve(gram, torch.ones(2, 1, dtype=torch.float64), 0.0, plan, tolerance=1e-10, max_steps=100)
        >>> solution.fitted.flatten().tolist(), solution.residual
        ([1.0, 1.0], 0.0)
    """

    x: Tensor
    fitted: Tensor
    residual: float
    how: str
    precision: str
    steps: int
    condition: float
    rank: int | None
    complete: bool
    seconds: dict[str, float]


def solve(
    gram: Gram,
    targets: Tensor,
    ridge: NotNegative,
    plan: SolverPlan,
    tolerance: NotNegative,
    max_steps: Count,
    say: Say | None = None,
) -> Solution:
    """Solve by the plan. Go on to float64 where float32 is not enough, and to least squares where the matrix is singular.

    A matrix that is singular in float64 has one answer, the least squares of least norm. Else, where the tolerance is not reached,
    what has the smallest residual is returned as it is.

    Args:
        targets: (n, k) float64 on the gram's device.
        ridge: at least 0; it is part of the system on every way.
        tolerance: on the residual.
        max_steps: of conjugate gradients, in each precision.
        say: called with what is being done.

    Raises:
        InputError: for a matrix with entries that are not finite, or that is not positive semi-definite; and for a ridge below 0, and
            targets that are not as described.

    Example:
        >>> from shattering.linalg.gram import KernelGram
        >>> from shattering.linalg.plan import make_plan
        >>> points = torch.tensor([[1.0, 1.0], [1.0, -1.0]], dtype=torch.float64)
        >>> gram, plan = KernelGram(lambda a, b: a @ b.T, points), make_plan(2, features=2, targets=1)
        >>> solution = solve(gram, torch.ones(2, 1, dtype=torch.float64), 0.0, plan, tolerance=1e-10, max_steps=100)
        >>> solution.x.flatten().tolist()
        [0.5, 0.5]
    """
    check_arguments(solve, locals(), "ridge", "tolerance", "max_steps")
    _check_targets(targets, gram.n)
    diagonal = gram.diagonal()
    _check(diagonal)
    unit = 2.0 ** (math.frexp(float(targets.abs().max()))[1] - 1) if targets.numel() else 1.0  # so that no square overflows
    work = _Work(System(gram, targets / unit, ridge), diagonal, tolerance, max_steps, say or (lambda _: None))
    solution = work.best(plan)
    if not math.isfinite(solution.residual):
        raise InputError("the Gram matrix has values that are not finite, expected finite numbers")
    x, fitted = solution.x * unit, solution.fitted * unit
    if not bool(x.isfinite().all() and fitted.isfinite().all()):
        largest = float(targets.abs().max())
        raise InputError(f"the targets are as large as {largest:.2g}, and the solution is larger than any number: scale them down")
    return replace(solution, x=x, fitted=fitted, seconds=work.seconds)


def _check_targets(targets: Tensor, n: int) -> None:
    if not isinstance(targets, Tensor) or targets.ndim != 2 or len(targets) != n or targets.dtype != torch.float64:
        kind = f"{tuple(targets.shape)} {targets.dtype}" if isinstance(targets, Tensor) else f"a {type(targets).__name__}"
        raise InputError(f"targets are {kind}, expected a tensor of shape ({n}, k) and type torch.float64; one column is reshape(-1, 1)")
    if not bool(targets.isfinite().all()):
        raise InputError("targets contain NaN or infinity, expected finite numbers")


def _check(diagonal: Tensor) -> None:
    if not bool(diagonal.isfinite().all()):
        raise InputError("the Gram matrix has values that are not finite on its diagonal, expected finite numbers: scale the features down")
    if bool((diagonal < -_ROUNDING * diagonal.abs().max()).any()):
        raise InputError(f"the Gram matrix has {float(diagonal.min()):.2g} on its diagonal, expected a kernel with k(x, x) of at least 0")


@dataclass
class _Work:
    system: System
    diagonal: Tensor
    tolerance: float
    max_steps: int
    say: Say
    seconds: dict[str, float] = field(default_factory=dict)
    clock: float = field(default_factory=time.perf_counter)

    def best(self, plan: SolverPlan) -> Solution:
        """Return the first that reaches the tolerance; of a singular matrix least squares; else that of the smallest residual."""
        tried = []
        for solution in self._ways(plan):
            if solution.residual <= self.tolerance:
                return solution
            tried.append(solution)
        if tried and self.system.ridge > self.system.cutoff(float(self.diagonal.sum()) + self.system.ridge):
            return min(tried, key=lambda s: s.residual)  # no singular matrix, but too few steps or too much rounding
        least = self._least_squares(plan)
        if least is not None and least.how == "low rank" and least.complete:
            return least
        tried += [least] if least else []
        if not tried:
            raise InputError(
                f"the Gram matrix of {self.system.gram.n:,} points is singular in {plan.precision}, and memory does not do for "
                "another way: use more memory, fewer points, or a larger ridge"
            )
        return min(tried, key=lambda s: s.residual)

    def _ways(self, plan: SolverPlan) -> Iterator[Solution]:
        for way in (plan, plan.then):
            if way is None or (way.precision == "float32" and not self._fits_float32()):
                continue
            solution = self._cholesky(way) if way.solver == "cholesky" else self._cg(way)
            if solution is not None:
                yield solution

    def _fits_float32(self) -> bool:
        least, most = _IN_FLOAT32
        largest = float(self.diagonal.max()) + self.system.ridge
        return largest == 0 or least < largest < most

    def _least_squares(self, plan: SolverPlan) -> Solution | None:
        """Solve least squares by eigenvalues; None if the memory does not suffice."""
        self.say("eigenvalues")
        least = least_squares(self.system, plan.limit - plan.beside)
        self._lap("eigenvalues")
        if least is None:
            return None
        rank = least.rank if least.rank < self.system.gram.n else None
        rest = self.system.rest(least.x)
        self._lap("solve")
        way = ("eigen" if rank is None else "low rank", "float64", 0)
        return self._solution(least.x, rest, way, least.condition, rank, least.complete)

    def _cholesky(self, plan: SolverPlan) -> Solution | None:
        """Solve by Cholesky; None if the matrix is not positive definite in the plan's precision, or singular in float64."""
        targets = self.system.targets
        tiles = LowerTiles(self.system.gram, self.system.ridge, plan.dtype)
        self._lap("gram")
        largest = _power_iterations(tiles.product, targets, plan.dtype, 10)
        try:
            tiles.factorize(lambda done, of: self.say(f"Cholesky: {done} of {of} columns of tiles"))
        except NotPositiveDefinite:
            return None
        finally:
            self._lap("factorize")
        smallest = 1 / _power_iterations(tiles.solve, targets, plan.dtype, 3)
        if not smallest > (self.system.cutoff(largest) if plan.precision == "float64" else 0.0):
            return None
        x, rest, steps = self._refined(tiles.solve, plan)
        self._lap("solve")
        return self._solution(x, rest, ("cholesky", plan.precision, steps), largest / smallest)

    def _refined(self, solve: Callable[[Tensor], Tensor], plan: SolverPlan) -> tuple[Tensor, Tensor, int]:
        """Solve by a factor that is rounded, and refine. solve: v → matrix⁻¹ v by the factor.

        A pass over the matrix in float64 costs more than one in float32, which the first correction does with. Conjugate gradients
        around the factor go on from the residual in float64, and keep it in float64.

        Returns:
            The solution, `System.rest` of it, and the number of solutions by the factor.
        """
        targets, told = self.system.targets, self._told("refinement")
        x, steps = solve(targets), 1
        if plan.precision == "float32":
            x += solve(targets - self._recomputed(plan.dtype)(x.to(plan.dtype)))
            steps += 1
        rest = self.system.rest(x)
        residual = self.system.relative(rest)
        told(steps, residual)
        if residual <= self.tolerance:
            return x, rest, steps
        if not residual < 1:  # the factor is too far from the matrix for a correction
            x, rest, residual, steps = torch.zeros_like(targets), targets, 1.0, 0
        further = conjugate_gradients(
            *(self._exact, rest, solve, self.tolerance / residual, _REFINEMENTS),
            lambda step, left: told(steps + step, left * residual),
        )
        x, rest = x + further.solution, further.rest
        if self._drift(x) > _DRIFT * self.tolerance:
            rest = self.system.rest(x)
        return x, rest, steps + further.steps

    def _drift(self, x: Tensor) -> float:
        """Bound how far the rounding of a solution may take its residual, relative to the targets, from that of a recurrence."""
        largest = float(self.diagonal.sum()) + self.system.ridge
        return torch.finfo(torch.float64).eps * largest * self.system.relative(x)

    def _cg(self, plan: SolverPlan) -> Solution:
        gram, targets, dtype = self.system.gram, self.system.targets, plan.dtype
        product = LowerTiles(gram, self.system.ridge, dtype).product if plan.stored else self._recomputed(dtype)
        self._lap("gram")
        largest = _power_iterations(product, targets, dtype, 10)
        precondition = self._preconditioner(plan, largest)
        self._lap("precondition")
        cg = conjugate_gradients(
            lambda v: product(v.to(dtype)).double(),
            *(targets, precondition, self.tolerance, self.max_steps, self._told("conjugate gradients")),
            rest=self.system.rest,
        )
        self._lap("solve")
        sizes = targets.norm(dim=0)
        inverse = (cg.solution.norm(dim=0) / sizes)[sizes > 0].max().item() if bool((sizes > 0).any()) else 0.0
        return self._solution(cg.solution, cg.rest, ("cg", plan.precision, cg.steps), max(1.0, largest * inverse))

    def _preconditioner(self, plan: SolverPlan, largest: float) -> Preconditioner:
        """Build the preconditioner. Its shift is the mean of what is left on the diagonal, and at least the rounding error."""
        factor, left = pivoted_cholesky(self.system.gram, plan.rank, plan.dtype, seed=0)
        rounding = max(1e-7 * float(self.diagonal.mean()), torch.finfo(plan.dtype).eps * largest) or 1.0
        return Preconditioner(factor, self.system.ridge + max(left * float(self.diagonal.mean()), rounding))

    def _solution(
        self, x: Tensor, rest: Tensor, way: tuple[str, str, int], condition: float, rank: int | None = None, complete: bool = True
    ) -> Solution:
        """Make the solution x. rest: `System.rest` of x. way: how it was solved, precision, steps."""
        fitted = self.system.targets - rest - self.system.ridge * x
        return Solution(x, fitted, self.system.relative(rest), *way, condition, rank, complete, self.seconds)

    def _recomputed(self, dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
        gram = self.system.gram

        def product(vectors: Tensor) -> Tensor:
            out = symmetric_product(lambda r, c: gram.block(r, c, dtype), gram.n, TILE, vectors)
            return out.add_(vectors, alpha=self.system.ridge)

        return product

    def _exact(self, vectors: Tensor) -> Tensor:
        return exact_product(self.system.gram, vectors).add_(vectors, alpha=self.system.ridge)

    def _told(self, what: str) -> Callable[[int, float], None]:
        return lambda step, residual: self.say(f"{what}: step {step}, residual {residual:.1e}")

    def _lap(self, name: str) -> None:
        now = time.perf_counter()
        self.seconds[name] = self.seconds.get(name, 0.0) + now - self.clock
        self.clock = now


def _power_iterations(product: Callable[[Tensor], Tensor], like: Tensor, dtype: torch.dtype, steps: int) -> float:
    """Return the largest eigenvalue of a symmetric matrix, from below, from a fixed random start."""
    generator = torch.Generator().manual_seed(0)
    v = torch.randn((len(like), 1), generator=generator, dtype=torch.float64).to(like.device, dtype)
    size = 1.0
    for _ in range(steps):
        v = product(v / _norm(v)) if bool(v.any()) else v
        size = _norm(v)
    return size


def _norm(v: Tensor) -> float:
    """Return the norm without overflow of squares."""
    largest = float(v.abs().max())
    return largest * float((v / largest).norm()) if largest else 0.0
