"""What all minimum-norm interpolators share: the solution of their Gram system, and what is told of it."""

import sys
import warnings

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from shattering.learners.own import FitRecord, OwnLearner
from shattering.learners.training import resolve_device
from shattering.linalg.gram import Gram
from shattering.linalg.plan import Plan, make_plan
from shattering.linalg.solve import Solution, solve
from shattering.values import check_fields


class MinimumNorm(OwnLearner, BaseEstimator):
    """Base of estimators with the parameters ridge, solver, precision, tol, max_steps, memory_limit, device and verbose.

    See `KernelInterpolator` for them, and for the attributes of a fit.
    """

    not_identity = ("device", "memory_limit")

    def plan(self, n: int, d: int, n_targets: int = 10) -> Plan:
        """How n points with d features would be solved: solver, bytes of memory, seconds.

        Raises InputError where that does not fit into memory.
        """
        p = self.get_params()
        return make_plan(n, d, n_targets, p["solver"], p["precision"], p["memory_limit"], self._device())

    def _device(self) -> torch.device:
        """What "auto" stands for is CUDA, else the CPU: MPS has no float64."""
        name = self.get_params()["device"]
        return resolve_device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)

    def _check_solver(self) -> None:
        check_fields(self)
        MinimumNorm.plan(self, 1, 1)

    def _solve(self, plan: Plan, gram: Gram, targets: Tensor, points: np.ndarray) -> Tensor:
        """Set the attributes of a fit; the coefficients (n, k). points: (n, d), where coinciding ones are looked for."""
        p = self.get_params()
        self.plan_ = plan
        say = (lambda text: print(text, file=sys.stderr, flush=True)) if p["verbose"] else None
        if say:
            say(str(self.plan_))
        found = solve(gram, targets, p["ridge"], self.plan_, p["tol"], p["max_steps"], say)
        self._keep(found)
        self.interpolated_ = p["ridge"] == 0 and found.residual <= p["tol"]
        self.n_conflicts_ = 0
        if found.residual > p["tol"]:
            self.n_conflicts_ = _count_conflicts(points, targets.cpu().numpy())
            warnings.warn(self._what_failed(p["tol"]), ConvergenceWarning, stacklevel=4)
        return found.x

    def _keep(self, found: Solution) -> None:
        self.dual_coef_ = found.x.cpu().numpy()
        self.residual_, self.condition_, self.steps_ = found.residual, found.condition, found.steps
        self.solver_, self.precision_, self.rank_, self.seconds_ = found.how, found.precision, found.rank, found.seconds
        self._fitted = found.fitted.cpu().numpy()
        squares = (found.x * found.fitted).sum(0).clamp(min=0)
        self.norms_ = squares.sqrt().cpu().numpy()
        self.norm_ = float(squares.sum().sqrt())

    def _what_failed(self, tol: float) -> str:
        text = f"the relative residual is {self.residual_:.1e}, above tol={tol:g}"
        if self.rank_ is not None:
            text += f": the Gram matrix of {len(self.dual_coef_):,} points is singular, of rank {self.rank_:,} in float64"
        if self.n_conflicts_:
            text += f", and {self.n_conflicts_:,} points coincide with points that have other targets"
        return text + "; the solution is that of least squares" if self.rank_ is not None else text

    def record(self) -> FitRecord:
        """What is told of a fit."""
        return FitRecord(summary=self.summary_, predicted=getattr(self, "fitted_", None))  # regressors have none

    @property
    def summary_(self) -> dict:
        """What a stored run keeps of a fit."""
        check_is_fitted(self)
        return {
            "norm": self.norm_,
            "norms": self.norms_.tolist(),
            "residual": self.residual_,
            "condition": self.condition_,
            "solver": self.solver_,
            "solver_precision": self.precision_,
            "solver_steps": self.steps_,
            "solver_memory": self.plan_.memory,
            "solver_seconds": self.seconds_,
            "rank": self.rank_,
            "conflicts": self.n_conflicts_,
        }


class OneHotClassifier(ClassifierMixin):
    """Of classes by one value each, `_values` (n, classes): the largest wins."""

    def decision_function(self, X) -> np.ndarray:
        """(n, classes); for two classes their difference (n,), as scikit-learn has it."""
        values = self._values(X)  # type: ignore[attr-defined]
        return values[:, 1] - values[:, 0] if values.shape[1] == 2 else values

    def predict(self, X) -> np.ndarray:
        """The class of largest value (n,)."""
        best = self._values(X).argmax(1)  # type: ignore[attr-defined]
        return self.classes_[best]  # type: ignore[attr-defined]


def _count_conflicts(points: np.ndarray, targets: np.ndarray) -> int:
    """How many points equal another point whose targets differ."""
    _, group = np.unique(points, axis=0, return_inverse=True)
    group = group.reshape(-1)
    n = group.max() + 1
    differs = np.zeros(n, dtype=bool)
    for column in targets.T:
        low, high = np.full(n, np.inf), np.full(n, -np.inf)
        np.minimum.at(low, group, column)
        np.maximum.at(high, group, column)
        differs |= low < high
    return int(differs[group].sum())
