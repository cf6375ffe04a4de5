"""Plan a solution: choose the solver, and estimate memory and time before it is begun."""

import time
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

import torch

from shattering.errors import InputError, unknown
from shattering.linalg.gram import EXACT_BLOCK
from shattering.linalg.tiles import TILE
from shattering.parameters import Count, Positive, check_arguments
from shattering.system.machine import available_memory, in_bytes

Solver = Literal["cholesky", "cg"]
SOLVERS = ("auto", "cholesky", "cg")
PRECISIONS = ("float32", "float64")
WAYS = (("cholesky", True), ("cg", True), ("cg", False))  # the solver, and whether the matrix is kept
_CG_STEPS = 300  # for the estimate of time alone
_PIVOTS = 256  # columns of the matrix at once


@dataclass(frozen=True)
class SolverPlan:
    """A way to solve a system with n unknowns, and its cost.

    solver: "cholesky" or "cg". precision: of the factor, or of the products. stored: whether the matrix is kept in
    memory, or its blocks are computed again for every product. memory: bytes, beside the data. seconds: an estimate.
    rank: of the preconditioner. beside: bytes of the memory that were there before the solver began. limit: bytes that may
    be taken. then: the same in float64, to follow where float32 does not do; None where memory does not do for it.
    """

    n: int
    solver: str
    precision: str
    stored: bool
    rank: int
    memory: int
    seconds: float
    beside: int = 0
    limit: int = 0
    then: "SolverPlan | None" = None

    @property
    def dtype(self) -> torch.dtype:
        return getattr(torch, self.precision)

    def __str__(self) -> str:
        how = "" if self.stored else ", computing the matrix again for every product"
        return f"n = {self.n:,} by {self.solver} in {self.precision}{how}: about {in_bytes(self.memory)} of memory, {self.seconds:.0f} s"


def make_plan(
    n: Count,
    features: Count,
    targets: Count,
    solver: str = "auto",
    precision: str = "float32",
    memory_limit: Positive | None = None,
    device: torch.device | None = None,
    beside: int = 0,
) -> SolverPlan:
    """Make the plan for n points with so many features (what an entry of the matrix costs) and columns of targets.

    "auto" takes the first that fits into memory (what is available, and at most memory_limit bytes) of: Cholesky, CG on the
    stored matrix, CG that computes it again for every product. beside: bytes that are needed beside the solver's.

    Raises:
        InputError: for unknown names and numbers out of range, and where what is asked for does not fit.

    Example:
        >>> make_plan(1000, features=64, targets=10).solver
        'cholesky'
    """
    if solver not in SOLVERS:
        raise unknown("solver", solver, SOLVERS)
    if precision not in PRECISIONS:
        raise unknown("precision", precision, PRECISIONS)
    check_arguments(make_plan, locals(), "n", "features", "targets", "memory_limit")
    device = device or torch.device("cpu")
    limit = available_memory(device, memory_limit)
    data = (n, features, targets)
    plans = {(way, p): _plan(data, way, p, device, beside) for p in (precision, "float64", "float32") for way in WAYS}
    fitting = [way for way in WAYS if plans[way, precision].memory <= limit and solver in ("auto", way[0])]
    if fitting:
        first = plans[fitting[0], precision]
        again = plans[fitting[0], "float64"]
        return replace(first, limit=limit, then=again if again != first and again.memory <= limit else None)
    wanted = next(plans[way, precision] for way in WAYS if solver in ("auto", way[0]))
    instead = next((plans[way, p] for way in WAYS for p in PRECISIONS if plans[way, p].memory <= limit), None)
    advice = (
        f"solver={instead.solver!r} with precision={instead.precision!r} takes {in_bytes(instead.memory)}"
        if instead
        else "use fewer points"
    )
    raise InputError(
        f"solver {wanted.solver!r} in {precision} needs about {in_bytes(wanted.memory)} of memory for {n:,} points, "
        f"and {in_bytes(limit)} are available: {advice}"
    )


def _plan(data: tuple[int, int, int], way: tuple[str, bool], precision: str, device: torch.device, beside: int) -> SolverPlan:
    n, features, targets = data
    solver, stored = way
    item, tile = (4 if precision == "float32" else 8), min(TILE, n)
    rank = 0 if solver == "cholesky" else preconditioner_rank(n)
    vectors = 10 * n * max(16, targets) * 8
    matrix = item * (n * (n + tile) // 2 + 2 * tile * tile) if stored else 2 * item * tile * tile
    factor = item * n * rank + (3 * item + 16) * n * min(rank, _PIVOTS) + 2 * 8 * rank * rank
    blocks = max(block_bytes(tile, tile, features, item), block_bytes(min(EXACT_BLOCK, n), min(EXACT_BLOCK, n), features, 8))
    memory = matrix + factor + vectors + blocks + beside
    entries = n * n * features  # operations for all entries on one side of the diagonal
    exact = 2 * (entries + 4 * n * n * targets) / rate(torch.float64, device)
    working = rate(getattr(torch, precision), device)
    if solver == "cholesky":
        operations = entries + n**3 / 3
    else:
        a_step = 2 * n * n * max(16, targets) * 2 + 4 * n * rank * max(16, targets)
        operations = entries + 2 * n * rank * rank + _CG_STEPS * (a_step + (0 if stored else entries))
    return SolverPlan(n, solver, precision, stored, rank, memory, operations / working + exact, beside)


def block_bytes(rows: int, cols: int, features: int, item: int) -> int:
    """Return the bytes that computing a block of a kernel's matrix takes: points converted, centred and joined, and two of the block."""
    return item * (4 * (rows + cols) * (features + 2) + 2 * rows * cols)


def preconditioner_rank(n: int) -> int:
    """Return the rank of the preconditioner: 8 % of n; more costs as much as it saves."""
    return min(n, max(16, n // 12))


@cache
def rate(dtype: torch.dtype, device: torch.device) -> float:
    """Return the operations per second of a matrix product."""
    a = torch.ones((1024, 1024), dtype=dtype, device=device)
    best = float("inf")
    for _ in range(3):
        start = time.perf_counter()
        (a @ a).sum().item()
        best = min(best, time.perf_counter() - start)
    return 2 * 1024**3 / best
