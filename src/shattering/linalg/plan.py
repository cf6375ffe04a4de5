"""What a solution will cost, before it is begun."""

import time
from dataclasses import dataclass
from functools import cache
from typing import Literal

import psutil
import torch

from shattering.errors import InputError, unknown
from shattering.linalg.gram import EXACT_BLOCK
from shattering.linalg.tiles import TILE

Solver = Literal["cholesky", "cg"]
SOLVERS = ("auto", "cholesky", "cg")
PRECISIONS = ("float32", "float64")
_CG_STEPS = 300  # for the estimate of time alone


@dataclass(frozen=True)
class Plan:
    """How to solve a system with n unknowns.

    solver: "cholesky" or "cg". precision: of the factor, or of the products. stored: whether the matrix is kept in
    memory, or its blocks are computed again for every product. memory: bytes, beside the data. seconds: an estimate.
    rank: of the preconditioner. beside: bytes of the memory that were there before the solver began.
    """

    n: int
    solver: str
    precision: str
    stored: bool
    rank: int
    memory: int
    seconds: float
    beside: int = 0

    @property
    def dtype(self) -> torch.dtype:
        return getattr(torch, self.precision)

    def __str__(self) -> str:
        how = "" if self.stored else ", computing the matrix again for every product"
        return f"n = {self.n:,} by {self.solver} in {self.precision}{how}: about {_gigabytes(self.memory)} of memory, {self.seconds:.0f} s"


def available_memory(device: torch.device) -> int:
    """Bytes that can be allocated."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else psutil.virtual_memory().available


def make_plan(
    n: int,
    features: int,
    targets: int,
    solver: str = "auto",
    precision: str = "float32",
    memory_limit: float | None = None,
    device: torch.device | None = None,
    beside: int = 0,
) -> Plan:
    """The plan for n points with so many features (what an entry of the matrix costs) and columns of targets.

    "auto" takes the first that fits into memory_limit bytes (None: what is available) of: Cholesky, CG on the stored
    matrix, CG that computes it again for every product. beside: bytes that are needed beside the solver's.

    Raises:
        InputError: for unknown names, and where what is asked for does not fit.
    """
    if solver not in SOLVERS:
        raise unknown("solver", solver, SOLVERS)
    if precision not in PRECISIONS:
        raise unknown("precision", precision, PRECISIONS)
    device = device or torch.device("cpu")
    limit = available_memory(device) if memory_limit is None else memory_limit
    data = (n, features, targets)
    ways = [("cholesky", True), ("cg", True), ("cg", False)]
    plans = [_plan(data, way, stored, precision, device, beside) for way, stored in ways]
    fitting = [p for p in plans if p.memory <= limit and solver in ("auto", p.solver)]
    if fitting:
        return fitting[0]
    wanted = next(p for p in plans if solver in ("auto", p.solver))
    others = [_plan(data, way, stored, p, device, beside) for way, stored in ways for p in PRECISIONS]
    instead = next((p for p in others if p.memory <= limit), None)
    advice = (
        f"solver={instead.solver!r} with precision={instead.precision!r} takes {_gigabytes(instead.memory)}"
        if instead
        else "use fewer points"
    )
    raise InputError(
        f"solver {wanted.solver!r} in {precision} needs about {_gigabytes(wanted.memory)} of memory for {n:,} points, "
        f"and {_gigabytes(limit)} are available: {advice}"
    )


def _plan(data: tuple[int, int, int], solver: str, stored: bool, precision: str, device: torch.device, beside: int) -> Plan:
    n, features, targets = data
    item, tile = (4, min(TILE, n)) if precision == "float32" else (8, min(TILE, n))
    rank = 0 if solver == "cholesky" else preconditioner_rank(n)
    vectors = 8 * n * targets * 8
    blocks = 4 * 8 * min(EXACT_BLOCK, n) ** 2
    matrix = item * (n * (n + tile) // 2 + 2 * tile * tile) if stored else 2 * item * tile * tile
    memory = matrix + 2 * item * n * rank + vectors + blocks + beside
    entries = n * n * features  # operations for all entries on one side of the diagonal
    exact = 2 * (entries + 4 * n * n * targets) / rate(torch.float64, device)
    working = rate(getattr(torch, precision), device)
    if solver == "cholesky":
        operations = entries + n**3 / 3
    else:
        a_step = 2 * n * n * max(16, targets) * 2 + 4 * n * rank * max(16, targets)
        operations = entries + 2 * n * rank * rank + _CG_STEPS * (a_step + (0 if stored else entries))
    return Plan(n, solver, precision, stored, rank, memory, operations / working + exact, beside)


def preconditioner_rank(n: int) -> int:
    """8 % of n: more costs as much as it saves."""
    return min(n, max(16, n // 12))


@cache
def rate(dtype: torch.dtype, device: torch.device) -> float:
    """Operations a second of a matrix product."""
    a = torch.ones((1024, 1024), dtype=dtype, device=device)
    best = float("inf")
    for _ in range(3):
        start = time.perf_counter()
        (a @ a).sum().item()
        best = min(best, time.perf_counter() - start)
    return 2 * 1024**3 / best


def _gigabytes(memory: float) -> str:
    return f"{memory / 1e9:.2g} GB" if memory < 1e10 else f"{memory / 1e9:.0f} GB"
