"""Base classes of all minimum-norm interpolators: they solve the Gram system and report the solution."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import blake2b

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from shattering.errors import InputError
from shattering.learners.devices import resolve_device
from shattering.learners.own import FitRecord, OwnModel
from shattering.linalg.gram import Gram
from shattering.linalg.plan import SolverPlan, make_plan
from shattering.linalg.solve import Solution, solve
from shattering.parameters import check_fields
from shattering.system.progress import QUICK, Progress

_NORM_KNOWN = 0.01  # share of a squared norm that the rounding of the kernel's entries may change


class MinimumNorm(OwnModel, BaseEstimator):
    """Base of estimators with the parameters ridge, solver, precision, tol, max_steps, memory_limit, device and verbose.

    See `KernelInterpolator` for them, and for the attributes of a fit.
    """

    not_identity = ("device", "memory_limit")

    def plan(self, n: int, d: int, n_targets: int = 10) -> SolverPlan:
        """Return how n points with d features would be solved: solver, bytes of memory, seconds.

        Raises InputError where that does not fit into memory.
        """
        return self._make_plan(n, d, n_targets, 0)

    def _make_plan(self, n: int, features: int, n_targets: int, beside: int) -> SolverPlan:
        """Call `make_plan` with the parameters of this estimator."""
        p = self.get_params()
        return make_plan(n, features, n_targets, p["solver"], p["precision"], p["memory_limit"], self._device(), beside)

    def _device(self) -> torch.device:
        """Return the device. "auto" is CUDA, else the CPU: MPS has no float64."""
        name = self.get_params()["device"]
        return resolve_device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)

    def _check_solver(self) -> None:
        check_fields(self)
        device = self.get_params()["device"]
        if device != "auto" and torch.device(device).type not in ("cpu", "cuda"):
            raise InputError(f"device is {str(device)!r}, expected 'auto', 'cpu' or a CUDA device, which have float64")

    def _solve(self, plan: SolverPlan, gram: Gram, targets: Tensor, points: np.ndarray) -> Tensor:
        """Set the attributes of a fit, and return the coefficients (n, k). points: (n, d), among which coinciding ones are looked for."""
        p = self.get_params()
        self.plan_ = plan
        with self._saying("fit") as say:
            say(str(plan))
            found = solve(gram, targets, float(p["ridge"]), plan, p["tol"], p["max_steps"], say)
        self._keep(found)
        self._keep_norms(found, gram.diagonal(), targets)
        self.converged_ = found.residual <= p["tol"]
        self.interpolated_ = p["ridge"] == 0 and self.converged_
        self.n_conflicts_ = 0
        if not self.converged_:
            self.n_conflicts_ = _count_conflicts(points, targets.cpu().numpy())
            warnings.warn(self._what_failed(found, p["tol"]), ConvergenceWarning, stacklevel=4)
        if not np.isfinite(self.norm_):
            why = f"with coefficients as large as {float(found.x.abs().max()):.1e} and ridge={p['ridge']:g}, rounding in float64 decides it"
            remedy = "another ridge, or none" if p["ridge"] else "a ridge"
            warnings.warn(f"the norm is not known, norm_ is NaN: {why}; take {remedy}", ConvergenceWarning, stacklevel=4)
        return found.x

    @contextmanager
    def _saying(self, what: str) -> Iterator[Callable[[str], None]]:
        """Give a function to call with a text that says what is being done: the line of progress shows it; with `verbose` it is printed."""
        with Progress(what, 1, True if self.get_params()["verbose"] else None, after=QUICK) as shown:

            def say(text: str) -> None:
                shown.update(0, text)
                shown.say(text)

            yield say

    def _keep(self, found: Solution) -> None:
        self.dual_coef_ = found.x.cpu().numpy()
        self.residual_, self.condition_, self.steps_ = found.residual, found.condition, found.steps
        self.solver_, self.precision_, self.rank_, self.timings_ = found.how, found.precision, found.rank, found.seconds
        self._fitted = found.fitted.cpu().numpy()

    def _keep_norms(self, found: Solution, diagonal: Tensor, targets: Tensor) -> None:
        """Set the norms of a solution, NaN where the rounding of float64 in the Gram matrix, or in its product with x, decides them.

        diagonal: (n,) of the Gram matrix.
        """
        unit = float(found.fitted.abs().max()) or 1.0  # so that no square overflows
        x, own = found.x / unit, diagonal[:, None].clamp(min=0)
        squares = (x * (found.fitted / unit)).sum(0).clamp(min=0)
        rounding = torch.finfo(torch.float64).eps * (own * x.square() + (x * (targets / unit)).abs()).sum(0)
        squares = squares.where(rounding <= _NORM_KNOWN * squares, torch.nan).where((own * x.abs()).any(0), 0.0)
        self.norms_ = squares.sqrt().cpu().numpy() * unit
        self.norm_ = float(squares.sum().sqrt()) * unit

    def _what_failed(self, found: Solution, tol: float) -> str:
        text = f"the relative residual is {self.residual_:.1e}, above tol={tol:g}"
        n = len(self.dual_coef_)
        if found.how == "low rank" and found.complete:
            text += f": the Gram matrix of {n:,} points is singular, of rank {self.rank_:,} in float64"
        elif found.how == "low rank":
            text += f": this solution uses a factor of {self.rank_:,} columns, as memory held no more of {n:,}"
        elif found.how == "cg":
            text += f": conjugate gradients have not converged after {self.steps_:,} steps (max_steps={self.get_params()['max_steps']})"
        if self.n_conflicts_:
            text += f", and {self.n_conflicts_:,} points coincide with points that have other targets"
        return text + "; the solution is that of least squares" if found.how == "low rank" and found.complete else text

    def record(self) -> FitRecord:
        """Return what a stored run reports of a fit."""
        predicted = getattr(self, "train_predictions_", None)  # regressors have none
        return FitRecord(summary=self.summary_, timings=self.timings_, device=self._device(), predicted=predicted)

    @property
    def summary_(self) -> dict:
        """Numbers that a stored run keeps of a fit; the times are in `timings_`."""
        check_is_fitted(self)
        is_known = bool(np.isfinite(self.norm_))
        return {
            "norm": self.norm_ if is_known else None,
            "norms": self.norms_.tolist() if is_known else None,
            "residual": self.residual_,
            "converged": self.converged_,
            "condition": self.condition_,
            "solver": self.solver_,
            "solver_precision": self.precision_,
            "solver_steps": self.steps_,
            "solver_memory": self.plan_.memory,
            "rank": self.rank_,
            "conflicts": self.n_conflicts_,
        }


class OneHotClassifier(ClassifierMixin):
    """Base of classifiers that compute one value per class; the largest wins."""

    classes_: np.ndarray
    _values: Callable[..., np.ndarray]  # X → values (n, classes), from the other base

    def decision_function(self, X) -> np.ndarray:
        """Return the values (n, classes); for two classes their difference (n,), as scikit-learn defines it."""
        values = self._values(X)
        return values[:, 1] - values[:, 0] if values.shape[1] == 2 else values

    def predict(self, X) -> np.ndarray:
        """Return the class of largest value (n,)."""
        best = self._values(X).argmax(1)
        return self.classes_[best]


def _count_conflicts(points: np.ndarray, targets: np.ndarray) -> int:
    """Return how many points equal another point whose targets differ."""
    numbers: dict[bytes, int] = {}
    group = np.array([numbers.setdefault(blake2b((row + 0).data, digest_size=16).digest(), len(numbers)) for row in points])  # -0 is 0
    n = len(numbers)
    differs = np.zeros(n, dtype=bool)
    for column in targets.T:
        low, high = np.full(n, np.inf), np.full(n, -np.inf)
        np.minimum.at(low, group, column)
        np.maximum.at(high, group, column)
        differs |= low < high
    return int(differs[group].sum())
