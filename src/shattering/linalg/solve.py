"""Solve (gram + ridge I) x = targets, to a residual measured in float64."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from shattering.linalg.cg import Iterations, conjugate_gradients
from shattering.linalg.gram import Gram, exact_product, symmetric_product
from shattering.linalg.low_rank import Preconditioner, least_squares, pivoted_cholesky
from shattering.linalg.plan import Plan, available_memory
from shattering.linalg.tiles import TILE, LowerTiles, NotPositiveDefinite

Say = Callable[[str], None]
_REFINEMENTS = 10


@dataclass(frozen=True)
class Solution:
    """What was found.

    x: (n, k) float64. fitted: gram @ x, in float64. residual: ‖targets - (gram + ridge I) x‖ / ‖targets‖, Frobenius, with
    the matrix in float64. how: "cholesky", "cg", or "low rank" (least squares, for a matrix that is singular in float64).
    precision: that was enough in the end. steps: conjugate gradient steps. condition: an estimate, from below, of the
    matrix's condition number. rank: of the matrix where it was found to be singular. seconds: by stage.
    """

    x: Tensor
    fitted: Tensor
    residual: float
    how: str
    precision: str
    steps: int
    condition: float
    rank: int | None
    seconds: dict[str, float]


def solve(gram: Gram, targets: Tensor, ridge: float, plan: Plan, tolerance: float, max_steps: int, say: Say | None = None) -> Solution:
    """Follow the plan; where float32 is not enough go on to float64, and where the matrix is singular to least squares.

    targets: (n, k) float64 on the gram's device. tolerance: on the residual. max_steps: of conjugate gradients.
    """
    work = _Work(gram, targets, ridge, tolerance, max_steps, say or (lambda _: None))
    found = work.by(plan)
    if found is None or found.residual > tolerance:
        more = [work.by(replace(plan, precision="float64"))] if plan.precision == "float32" and work.fits(plan) else []
        more = [s for s in (found, *more) if s]
        if not any(s.residual <= tolerance for s in more):
            more.append(work.low_rank())
        found = min(more, key=lambda s: s.residual)
    return found


@dataclass
class _Work:
    gram: Gram
    targets: Tensor
    ridge: float
    tolerance: float
    max_steps: int
    say: Say

    def by(self, plan: Plan) -> Solution | None:
        """None where the matrix is not positive definite in the plan's precision."""
        self.seconds: dict[str, float] = {}
        self.clock = time.perf_counter()
        return self._cholesky(plan) if plan.solver == "cholesky" else self._cg(plan)

    def fits(self, plan: Plan) -> bool:
        """Whether the plan in float64 does."""
        return 2 * (plan.memory - plan.beside) <= available_memory(self.targets.device)

    def low_rank(self) -> Solution:
        """Least squares by a pivoted Cholesky factor, of as many columns as memory holds."""
        self.seconds, self.clock = {}, time.perf_counter()
        rank = min(self.gram.n, int(available_memory(self.targets.device) / (8 * 4 * self.gram.n)))
        factor = pivoted_cholesky(self.gram, rank, torch.float64, seed=0, tolerance=self.gram.noise)
        x = least_squares(factor, self.targets)
        singular = torch.linalg.svdvals(factor)
        fitted = exact_product(self.gram, x)
        residual = self._relative(self.targets - fitted)
        self._lap("solve")
        condition = float(singular[0] / singular[-1]) ** 2
        return Solution(x, fitted, residual, "low rank", "float64", 0, condition, factor.shape[1], self.seconds)

    def _cholesky(self, plan: Plan) -> Solution | None:
        tiles = LowerTiles(self.gram, self.ridge, plan.dtype)
        self._lap("gram")
        largest = _power_iterations(tiles.product, self.targets, plan.dtype, 10)
        try:
            tiles.factorize(lambda done, of: self.say(f"Cholesky: {done} of {of} columns of tiles"))
        except NotPositiveDefinite:
            return None
        self._lap("factorize")
        smallest = 1 / _power_iterations(tiles.solve, self.targets, plan.dtype, 3)
        found = conjugate_gradients(self._exact, self.targets, tiles.solve, self.tolerance, _REFINEMENTS, self._told("refinement"))
        self._lap("solve")
        return self._solution(found, "cholesky", plan, largest / smallest)

    def _cg(self, plan: Plan) -> Solution:
        dtype = plan.dtype
        if plan.stored:
            product = LowerTiles(self.gram, self.ridge, dtype).product
        else:
            product = self._recomputed(dtype)
        self._lap("gram")
        factor = pivoted_cholesky(self.gram, plan.rank, dtype, seed=0)
        shift = self.ridge + max(float(self.gram.diagonal().mean() - factor.square().sum(1).double().mean()), 1e-7)
        precondition = Preconditioner(factor, shift)
        self._lap("precondition")
        largest = _power_iterations(product, self.targets, dtype, 10)
        found = conjugate_gradients(
            lambda v: product(v.to(dtype)).double(),
            *(self.targets, precondition, self.tolerance, self.max_steps, self._told("conjugate gradients")),
            exact=self._exact,
        )
        self._lap("solve")
        sizes = self.targets.norm(dim=0)
        inverse = (found.solution.norm(dim=0) / sizes)[sizes > 0].max().item() if bool((sizes > 0).any()) else 0.0
        return self._solution(found, "cg", plan, largest * inverse)

    def _solution(self, found: Iterations, how: str, plan: Plan, condition: float) -> Solution:
        fitted = self.targets - found.rest - self.ridge * found.solution
        return Solution(found.solution, fitted, found.residual, how, plan.precision, found.steps, condition, None, self.seconds)

    def _recomputed(self, dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
        def product(vectors: Tensor) -> Tensor:
            out = symmetric_product(lambda r, c: self.gram.block(r, c, dtype), self.gram.n, TILE, vectors)
            return out.add_(vectors, alpha=self.ridge)

        return product

    def _exact(self, vectors: Tensor) -> Tensor:
        return exact_product(self.gram, vectors).add_(vectors, alpha=self.ridge)

    def _relative(self, r: Tensor) -> float:
        size = self.targets.norm().item()
        return r.norm().item() / size if size else 0.0

    def _told(self, what: str) -> Callable[[int, float], None]:
        return lambda step, residual: self.say(f"{what}: step {step}, residual {residual:.1e}")

    def _lap(self, name: str) -> None:
        now = time.perf_counter()
        self.seconds[name], self.clock = now - self.clock, now


def _power_iterations(product: Callable[[Tensor], Tensor], like: Tensor, dtype: torch.dtype, steps: int) -> float:
    """The largest eigenvalue of a symmetric matrix, from below, from a fixed random start."""
    generator = torch.Generator().manual_seed(0)
    v = torch.randn((len(like), 1), generator=generator, dtype=torch.float64).to(like.device, dtype)
    size = 1.0
    for _ in range(steps):
        v = product(v / v.norm())
        size = v.norm().item()
    return size
