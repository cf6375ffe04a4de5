"""Minimum-norm interpolation in a reproducing kernel Hilbert space (ICLR 2017, section 5), as scikit-learn estimators."""

import math
from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from sklearn.base import MultiOutputMixin, RegressorMixin
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from shattering.errors import InputError, unknown
from shattering.features import FEATURES
from shattering.learners.classes import class_codes
from shattering.learners.devices import Device
from shattering.learners.minimum_norm import MinimumNorm, OneHotClassifier
from shattering.linalg.gram import EXACT_BLOCK, Gaussian, Kernel, KernelGram, from_numpy_kernel, linear, slices
from shattering.linalg.plan import SolverPlan, block_bytes
from shattering.parameters import Count, NotNegative, Positive
from shattering.system.machine import available_memory, require_memory

_DTYPES = [np.float64, np.float32]  # what is neither, such as whole numbers, becomes the first, which holds them
_LARGEST = 1e30  # of features, so that their squares and sums of these are numbers
_SIDES = (
    EXACT_BLOCK,
    500,
    125,
)  # rows and columns of a block of the kernel of new points: the first that fits into memory
_SAMPLE = 50  # points at which a kernel is checked to be symmetric


class _KernelMachine(MinimumNorm):
    def __init__(
        self,
        kernel: Literal["gaussian", "linear"] | Callable = "gaussian",
        *,
        gamma: Positive | Literal["scale"] = "scale",
        ridge: NotNegative = 0.0,
        features: str | None = None,
        solver: Literal["auto", "cholesky", "cg"] = "auto",
        precision: Literal["float32", "float64"] = "float32",
        tol: NotNegative = 1e-6,
        max_steps: Count = 1000,
        memory_limit: Positive | None = None,
        device: Device = "auto",
        verbose: bool | int = False,
    ):
        self.kernel = kernel
        self.gamma = gamma
        self.ridge = ridge
        self.features = features
        self.solver = solver
        self.precision = precision
        self.tol = tol
        self.max_steps = max_steps
        self.memory_limit = memory_limit
        self.device = device
        self.verbose = verbose

    def check_params(self) -> None:
        """Raise InputError for the first parameter out of range, without fitting."""
        self._check_solver()
        if self.features is not None and self.features not in FEATURES:
            raise unknown("features", self.features, FEATURES)

    def plan(self, n: int, d: int, n_targets: int = 10) -> SolverPlan:
        """Return how n points with d features (those of the kernel) would be solved: solver, bytes of memory, seconds.

        Raises InputError where that does not fit into memory.
        """
        return self._make_plan(n, d, n_targets, beside=8 * n * d)

    def _fit(self, X: np.ndarray, targets: np.ndarray):
        """Solve for the coefficients. targets: (n, k) float64."""
        self.check_params()
        self._transformer = FEATURES[self.features]().fit(X) if self.features else None
        d = self._as_points(X[:1]).shape[1]
        plan = self.plan(len(X), d, targets.shape[1])  # refused before anything is copied
        self._points = self._as_points(X)
        self.kernel_ = self._resolve_kernel()
        gram = KernelGram(self.kernel_, self._points)
        self._solve(plan, gram, torch.from_numpy(targets).to(self._points.device), self._points.cpu().numpy())
        return self

    def _resolve_kernel(self) -> Kernel:
        if callable(self.kernel):
            return _symmetric(from_numpy_kernel(self.kernel), self._points[:_SAMPLE])
        if self.kernel == "linear":
            return linear
        if self.gamma != "scale":
            return Gaussian(float(self.gamma))
        variance = float(self._points.double().var(correction=0))
        if variance and not math.isfinite(1 / variance):
            raise InputError(f"the variance of X is {variance:.2g}, too small for gamma='scale': scale X up, or give a number for gamma")
        return Gaussian(1.0 / (self._points.shape[1] * variance) if variance else 1.0)

    def _as_points(self, X: np.ndarray) -> Tensor:
        points = self._transformer.transform(X) if self._transformer else X
        largest = max(float(points.max()), -float(points.min())) if points.size else 0.0
        if largest > _LARGEST:
            raise InputError(f"X has values as large as {largest:.2g}, expected at most {_LARGEST:g}: scale it down")
        return torch.from_numpy(np.array(points, order="C")).to(self._device())

    def _values(self, X) -> np.ndarray:
        """Return the kernel expansion at points, (n, k) float64."""
        check_is_fitted(self)
        X = np.asarray(validate_data(self, X, dtype=_DTYPES, reset=False))
        side = self._side(len(X))
        coefficients = torch.from_numpy(self.dual_coef_).to(self._points.device)
        points = self._as_points(X)
        out = torch.zeros((len(points), coefficients.shape[1]), dtype=torch.float64)
        for rows in slices(len(points), side):
            some = points[rows].double()
            parts = [self.kernel_(some, self._points[c].double()) @ coefficients[c] for c in slices(len(coefficients), side)]
            out[rows] = torch.stack(parts).sum(0).cpu()
        return out.numpy()

    def _side(self, m: int) -> int:
        """Return how many new points, and points of fit, to take at once. Raises InputError where memory does not do for any number."""
        (n, k), d = self.dual_coef_.shape, self._points.shape[1]
        device, limit = self._points.device, self.memory_limit
        needed = {
            side: 8 * (m * d + 4 * m * k + n * k + min(side, m) * k * -(-n // side)) + block_bytes(min(side, m), min(side, n), d, 8)
            for side in _SIDES
        }
        available = available_memory(device, limit)
        fitting = [side for side in _SIDES if needed[side] <= available]
        if not fitting:
            require_memory(needed[_SIDES[-1]], f"the prediction of {m:,} points", "predict fewer at once", device, limit)
        return fitting[0] if fitting else _SIDES[-1]


def _symmetric(kernel: Kernel, points: Tensor) -> Kernel:
    """Return the kernel. Raises InputError if it is not symmetric at these points."""
    values = kernel(points, points).double()
    if bool(((values - values.T).abs() > 1e-5 * values.abs().max()).any()):
        raise InputError("the kernel is not symmetric, expected k(x, x') to equal k(x', x)")
    return kernel


class KernelInterpolator(MultiOutputMixin, RegressorMixin, _KernelMachine):
    """Minimum-norm kernel interpolation of real targets.

    With ridge 0, the function of least norm in the kernel's Hilbert space among all that interpolate, or, where none does, that
    come closest; residuals are in float64, whatever the precision of the factor. Gram matrices of 60,000 points fit into 8 GB.

    Args:
        kernel: "gaussian", exp(-gamma ‖x - x'‖²); "linear", <x, x'>; or a function of arrays (a, d), (b, d) → (a, b), such
            as those of sklearn.metrics.pairwise.
        gamma: width parameter of the Gaussian kernel, in 1 / (squared units of X); "scale": 1 / (d times the variance of X).
        ridge: added to the diagonal of the Gram matrix.
        features: a name in `shattering.features.FEATURES`, applied to X (images as rows) first.
        solver: "cholesky", "cg" (conjugate gradients, preconditioned by a randomly pivoted Cholesky factor), or "auto":
            the first of them that fits into memory.
        precision: "float32" or "float64", of the factor or the products. Residuals are in float64 either way, and where
            float32 does not reach tol, float64 follows, and then, where K + ridge I may be singular, its eigenvalues; as far as
            memory does for them.
        tol: bound on the relative residual ‖Y - (K + ridge) A‖ / ‖Y‖.
        max_steps: steps of conjugate gradients in each precision, at most.
        memory_limit: bytes, in fit and in predict; what is available (see `shattering.system.machine.available_memory`)
            is a limit in any case.
        device: "auto" (CUDA, else the CPU), or a torch device.
        verbose: print the plan, with its estimates, and the progress to standard error.

    Attributes:
        dual_coef_: (n, k) coefficients of the kernel at the points, one column per target.
        norms_: (k,) norms in the Hilbert space, one per target; NaN where the rounding of the kernel decides them.
        norm_: the square root of the sum of their squares.
        residual_: as for tol, in float64, of the coefficients above.
        converged_: True if that is at most tol; it is not where least squares leave more, nor where conjugate gradients end too early.
        condition_: an estimate, from below, of the condition number of K + ridge I; of a low rank, that of the eigenvalues used.
        interpolated_: True if ridge is 0 and the residual at most tol.
        solver_: what solved: "cholesky"; "cg"; "low rank", the least squares of least norm, where the Gram matrix is singular; or "eigen",
            all eigenvalues, where it is not but the others did not reach tol.
        precision_: the precision of the factor or the products that gave the coefficients: that asked for, or float64 where it followed.
        steps_: number of steps of conjugate gradients, or of solutions by the Cholesky factor.
        rank_: of a singular Gram matrix, else None: eigenvalues above n times the rounding of float64 of the largest (see
            `shattering.linalg.system.System.cutoff`). The others are taken for zero.
        n_conflicts_: points that coincide with others of different targets (counted where tol is not reached).
        plan_: the estimate of memory and time made before the fit.
        timings_: seconds per stage.

    Raises:
        InputError: (fit) for bad parameters, and, before any work, where memory would not do, with what would.

    Warns:
        ConvergenceWarning: where tol is not reached, with the reason, and where the norm is not known.

    Example:
        >>> model = KernelInterpolator(gamma=1.0).fit([[0.0], [1.0], [2.0]], [0.0, 1.0, 0.0])
        >>> model.interpolated_
        True
    """

    def fit(self, X, y):
        """Fit to X (n, d) and y (n,) or (n, k)."""
        X, y = map(np.asarray, validate_data(self, X, y, dtype=_DTYPES, multi_output=True, y_numeric=True))
        self._one_target = y.ndim == 1
        return self._fit(X, np.array(y.reshape(len(X), -1), dtype=np.float64))

    def predict(self, X) -> np.ndarray:
        """Return the values at X, (n,) or (n, k) as y was."""
        values = self._values(X)
        return values[:, 0] if self._one_target else values


class KernelInterpolatorClassifier(OneHotClassifier, _KernelMachine):
    """Minimum-norm kernel interpolation of one-hot class targets (0 and 1); the largest value wins.

    Arguments and attributes are those of `KernelInterpolator`, with one target per class, and the following.

    Attributes:
        classes_: (k,) the classes.
        train_predictions_: (n,) classes of the training points, by their values in float64.

    Example:
        >>> model = KernelInterpolatorClassifier(gamma=1.0).fit([[0.0], [1.0], [2.0]], ["a", "b", "a"])
        >>> model.predict([[1.0]])
        array(['b'], dtype='<U1')
    """

    def fit(self, X, y):
        """Fit to X (n, d) and class labels y (n,)."""
        X, y = map(np.asarray, validate_data(self, X, y, dtype=_DTYPES))
        self.classes_, labels = class_codes(y)
        self._fit(X, np.eye(len(self.classes_))[labels])
        self.train_predictions_ = self.classes_[self._fitted.argmax(1)]
        return self
