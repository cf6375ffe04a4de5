"""Minimum-norm interpolation in a reproducing kernel Hilbert space (ICLR 2017, section 5), as scikit-learn estimators."""

from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from sklearn.base import MultiOutputMixin, RegressorMixin
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from shattering.errors import unknown
from shattering.features import FEATURES
from shattering.learners.classes import class_codes
from shattering.learners.minimum_norm import MinimumNorm, OneHotClassifier
from shattering.linalg.gram import Gaussian, Kernel, KernelGram, from_numpy_kernel, linear, slices
from shattering.values import Count, NotNegative, Positive

_ENTRIES = 2**24  # of a block of the kernel between new points and those of fit


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
        device: str | torch.device = "auto",
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

    def _fit(self, X: np.ndarray, targets: np.ndarray):
        """targets: (n, k) float64."""
        self.check_params()
        self._transformer = FEATURES[self.features]().fit(X) if self.features else None
        self._points = self._as_points(X)
        self.kernel_ = self._resolve_kernel()
        gram = KernelGram(self.kernel_, self._points)
        plan = self.plan(gram.n, gram.features, targets.shape[1])
        self._solve(plan, gram, torch.from_numpy(targets).to(self._points.device), self._points.cpu().numpy())
        return self

    def _resolve_kernel(self) -> Kernel:
        if callable(self.kernel):
            return from_numpy_kernel(self.kernel)
        if self.kernel == "linear":
            return linear
        if self.gamma != "scale":
            return Gaussian(float(self.gamma))
        variance = float(self._points.double().var(correction=0))
        return Gaussian(1.0 / (self._points.shape[1] * variance) if variance else 1.0)

    def _as_points(self, X: np.ndarray) -> Tensor:
        points = self._transformer.transform(X) if self._transformer else X
        return torch.from_numpy(np.array(points, order="C")).to(self._device())

    def _values(self, X) -> np.ndarray:
        """(n, k) float64: the kernel expansion at points."""
        check_is_fitted(self)
        X = np.asarray(validate_data(self, X, dtype=[np.float32, np.float64], reset=False))
        coefficients = torch.from_numpy(self.dual_coef_).to(self._points.device)
        points, centers = self._as_points(X), self._points.double()
        out = torch.empty((len(points), coefficients.shape[1]), dtype=torch.float64)
        for rows in slices(len(points), max(1, _ENTRIES // len(centers))):
            out[rows] = (self.kernel_(points[rows].double(), centers) @ coefficients).cpu()
        return out.numpy()


_DOC = """

    With ridge 0, the function of least norm in the kernel's Hilbert space among all that interpolate; in float64 residuals,
    whatever the precision of the factor. Gram matrices of 60,000 points fit into 8 GB.

    Args:
        kernel: "gaussian", exp(-gamma ‖x - x'‖²); "linear", <x, x'>; or a function of arrays (a, d), (b, d) → (a, b), such
            as those of sklearn.metrics.pairwise.
        gamma: of the Gaussian kernel, in 1 / (squared units of X); "scale": 1 / (d times the variance of X).
        ridge: added to the diagonal of the Gram matrix.
        features: a name in `shattering.features.FEATURES`, applied to X (images as rows) first.
        solver: "cholesky", "cg" (conjugate gradients, preconditioned by a randomly pivoted Cholesky factor), or "auto":
            the first of them that fits into memory.
        precision: "float32" or "float64", of the factor or the products. Residuals are in float64 either way, and where
            float32 does not reach tol, float64 follows.
        tol: on the relative residual ‖Y - (K + ridge) A‖ / ‖Y‖.
        max_steps: of conjugate gradients.
        memory_limit: bytes; None: what is available.
        device: "auto" (CUDA, else the CPU), or a torch device.
        verbose: print the plan, with its estimates, and the progress to standard error.

    Attributes:
        dual_coef_: (n, k) coefficients of the kernel at the points, one column a {target}.
        norms_: (k,) norms in the Hilbert space, one a {target}.
        norm_: the square root of the sum of their squares.
        residual_: as for tol, in float64.
        condition_: an estimate, from below, of the condition number of the Gram matrix.
        interpolated_: whether ridge is 0 and the residual at most tol.
        fitted_: (of the classifier) (n,) the classes of the training points, as their values in float64 have them.
        solver_: what solved: "cholesky", "cg", or "low rank" (least squares) where the Gram matrix is singular.
        precision_: that was enough.
        steps_: of conjugate gradients or refinement.
        rank_: of a singular Gram matrix, else None.
        n_conflicts_: points that coincide with others of different targets (counted where tol is not reached).
        plan_: the estimate of memory and time made before the fit.
        seconds_: time by stage.

    Raises:
        InputError: (fit) for bad parameters, and, before any work, where memory would not do, with what would.

    Warns:
        ConvergenceWarning: where tol is not reached, with the reason.
    """


class KernelInterpolator(MultiOutputMixin, RegressorMixin, _KernelMachine):
    __doc__ = "Minimum-norm kernel interpolation of real targets." + _DOC.format(target="target")

    def fit(self, X, y):
        """Fit to X (n, d) and y (n,) or (n, k)."""
        X, y = map(np.asarray, validate_data(self, X, y, dtype=[np.float32, np.float64], multi_output=True, y_numeric=True))
        self._one_target = y.ndim == 1
        return self._fit(X, np.array(y.reshape(len(X), -1), dtype=np.float64))

    def predict(self, X) -> np.ndarray:
        """(n,) or (n, k), as y was."""
        values = self._values(X)
        return values[:, 0] if self._one_target else values


class KernelInterpolatorClassifier(OneHotClassifier, _KernelMachine):
    __doc__ = "Minimum-norm kernel interpolation of one-hot class targets (0 and 1); the largest value wins." + _DOC.format(target="class")

    def fit(self, X, y):
        """Fit to X (n, d) and class labels y (n,)."""
        X, y = map(np.asarray, validate_data(self, X, y, dtype=[np.float32, np.float64]))
        self.classes_, labels = class_codes(y)
        self._fit(X, np.eye(len(self.classes_))[labels])
        self.fitted_ = self.classes_[self._fitted.argmax(1)]
        return self
