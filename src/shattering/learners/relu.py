"""The ReLU interpolator of any depth (ICLR 2017, theorem 1 and corollary 1), as a scikit-learn regressor and classifier."""

import time
import warnings
from typing import Annotated, ClassVar

import numpy as np
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import assert_all_finite, check_consistent_length, check_is_fitted, column_or_1d, validate_data

from shattering.errors import InputError
from shattering.learners.classes import class_codes
from shattering.learners.own import FitRecord, OwnModel
from shattering.parameters import Count, Natural, NotNegative, Range, check_fields
from shattering.relu.direction import CANDIDATES, ROUNDS, best_of, turned
from shattering.relu.hinges import interpolate, smallest_eigenvalue, weight_bound
from shattering.relu.networks import DeepReluNetwork, ReluNetwork, build_network, forward_in_blocks
from shattering.relu.points import Points, distinct, project, project_again, survey
from shattering.seeds import generator

_CHECKED = 4_000_000_000  # hinges at points, of the forward pass that measures the error


class _ReluInterpolation(OwnModel, BaseEstimator):
    """Base class of the regressor and the classifier: a ReLU network of any depth through given points."""

    not_identity = ("random_state",)
    later: ClassVar = {"depth": 2}

    def __init__(
        self,
        depth: Annotated[int, Range(2)] = 2,
        *,
        candidates: Count = CANDIDATES,
        rounds: Natural = ROUNDS,
        tol: NotNegative = 1e-4,
        random_state: Natural = 0,
    ):
        self.depth = depth
        self.candidates = candidates
        self.rounds = rounds
        self.tol = tol
        self.random_state = random_state

    def check_params(self) -> None:
        """Raise InputError for the first parameter out of range, without fitting."""
        check_fields(self)

    def module(self) -> ReluNetwork | DeepReluNetwork:
        """Return the network: a float64 torch module (m, …) → (m,), whose parameters number exactly `n_parameters_`."""
        check_is_fitted(self)
        return build_network(self.direction_, self.hinges_, self.offset_, self.depth)

    def _build(self, rows: Points, targets: np.ndarray) -> None:
        """Set the attributes of a fit. targets: (n,) float64."""
        self.check_params()
        self.timings_, self._clock = {}, time.perf_counter()
        hashes, largest = survey(rows)
        kept = distinct(rows, targets, hashes)
        self._lap("survey")
        if len(kept) < len(targets):
            rows, targets = _Selected(rows, kept), targets[kept]
        draws = generator(int(self.random_state), "direction")
        with np.errstate(over="ignore", invalid="ignore"):  # what is too large is refused by `interpolate`
            found = best_of(rows, targets, largest, draws, self.candidates)
            self._lap("candidates")
            found = turned(rows, targets, found, largest, self.rounds)
        self._lap("turn")
        self.direction_, self.exact_projections_, self.rounds_ = found.direction, found.exact, found.rounds
        order = np.argsort(found.points, kind="stable")
        self.offset_ = 0.0 if self.depth == 2 else min(float(targets.min()), 0.0)
        self.hinges_ = interpolate(found.points[order], targets[order] - self.offset_)
        self._lap("solve")
        self._measure(rows, order)
        self._lap("check")

    def _measure(self, rows: Points, order: np.ndarray) -> None:
        """Set the attributes that describe the fit. order: the numbers of the rows, ascending along the direction."""
        n, h, network = len(order), self.hinges_, self.module()
        self.n_points_, self.n_parameters_ = n, sum(p.numel() for p in network.parameters())
        scale = float(np.ptp(h.knots)) or 1.0
        gaps = np.diff(h.knots) / scale
        self.smallest_gap_ = float(gaps.min()) if n > 1 else 1.0
        self.smallest_eigenvalue_ = smallest_eigenvalue(h.knots, h.thresholds)
        self.weight_bound_ = weight_bound(h.knots, h.values, h.thresholds)
        self.largest_weight_ = float(network.weights.detach().abs().max())
        checked = self._to_check(n)
        places = [h.knots[checked]]
        if not self.exact_projections_:
            numbers, where = np.unique(order[checked], return_inverse=True)
            places.append(project_again(_Selected(rows, numbers), self.direction_)[where])
        wanted = h.values[checked] + self.offset_
        errors = [float(np.abs(forward_in_blocks(network, z) - wanted).max()) for z in places]
        self._error_at_knots, self.max_error_, self.n_checked_ = errors[0], max(errors), len(checked)

    def _to_check(self, n: int) -> np.ndarray:
        """Return which knots the forward pass is tried at: all, or as many as time allows: the steepest, the last, and a random rest."""
        affordable = max(1000, _CHECKED // n)
        if n <= affordable:
            return np.arange(n)
        steep = np.argsort(-np.abs(self.hinges_.weights))[: affordable // 4]
        rest = generator(int(self.random_state), "checked").choice(n, affordable // 2, replace=False)
        return np.unique(np.concatenate([steep, rest, [n - 1]]))

    def _lap(self, name: str) -> None:
        now = time.perf_counter()
        self.timings_[name], self._clock = now - self._clock, now

    def _values(self, rows: Points) -> np.ndarray:
        """Return the network's function (m,), evaluated from the nearest point on the line (see `Hinges`)."""
        z = project(rows, self.direction_[:, None])[:, 0]
        if not np.isfinite(z).all():
            raise InputError("X contains NaN, infinity or numbers that are too large, expected finite numbers")
        if self.depth > 3:
            z = np.minimum(z, self.hinges_.knots[-1])  # clipped, as in the network
        return self.hinges_(z) + self.offset_

    def _warn(self, unit: str, bearable: float) -> None:
        """Warn of the largest error, with its reason. bearable: the error that would bring no warning."""
        h = self.hinges_
        if bool(((np.diff(h.knots) == 0) & (np.diff(h.values) != 0)).any()):
            why = "float64 does not tell points of different targets apart along any direction that was tried, nor does predict(): "
            why += "bring the features to one scale"
        elif not self._error_at_knots <= bearable:
            why = f"the closest points along the direction are {self.smallest_gap_:.1e} of the range apart, too close for float64; "
            why += "predict() evaluates the same function without that error"
        else:
            why = "X is so far from zero that float64 rounds what tells its rows apart, in predict() too: subtract the mean of each feature"
        text = f"the plain forward pass is wrong by up to {self.max_error_:.2g}{unit}: {why}"
        warnings.warn(text, ConvergenceWarning, stacklevel=3)

    def record(self) -> FitRecord:
        """Return what a stored run reports of a fit."""
        return FitRecord(n_parameters=self.n_parameters_, summary=self.summary_, timings=self.timings_)

    @property
    def summary_(self) -> dict:
        """Numbers that a stored run keeps of a fit; the times are in `timings_`."""
        check_is_fitted(self)
        names = ("n_points", "smallest_gap", "smallest_eigenvalue", "weight_bound", "largest_weight", "max_error", "n_checked")
        return {name: getattr(self, f"{name}_") for name in names} | {
            "exact_projections": self.exact_projections_,
            "rounds": self.rounds_,
        }


class _Selected:
    """Some rows of others."""

    def __init__(self, rows: Points, numbers: np.ndarray):
        self._rows, self._numbers = rows, numbers
        self.shape, self.dtype = (len(numbers), *rows.shape[1:]), rows.dtype

    def __getitem__(self, index) -> np.ndarray:
        return self._rows[self._numbers[index]]


def _is_lazy(X) -> bool:
    """Return whether X gives rows by their numbers without being an array or a table."""
    has = all(hasattr(X, name) for name in ("shape", "dtype", "__getitem__"))
    loaded = any(hasattr(X, name) for name in ("__array_function__", "__torch_function__", "iloc")) or issparse(X)
    return has and not loaded


def _rows(estimator, X, reset: bool) -> Points:
    """Return X as rows. Arrays are checked whole, lazy rows only for their shape."""
    if not _is_lazy(X):
        return np.asarray(validate_data(estimator, X, dtype="numeric", reset=reset))
    if len(X.shape) != 2 or min(X.shape) < 1:
        raise InputError(f"X has shape {X.shape}, expected (n, d)")
    if reset:
        estimator.n_features_in_ = X.shape[1]
    elif X.shape[1] != estimator.n_features_in_:
        raise InputError(
            f"X has {X.shape[1]} features, but {type(estimator).__name__} is expecting {estimator.n_features_in_} features as input"
        )
    return X


class ReluInterpolator(RegressorMixin, _ReluInterpolation):
    """The ReLU network with 2n + d weights, or a deeper one, that takes any real targets on n distinct points.

    It is built from a direction along which the points lie well apart, a hinge at every point, and weights in closed form. Depth 2 is
    theorem 1's network; from depth 3 on it is corollary 1's, with O(n / depth) units in the widest layer. The time is O(n d + n log n).
    The data are passed over two or three times, and once more in each round of turning the direction, which also solves a least-norm
    problem of at most 2,500 pairs. The memory beside the data is O(n): the data are read in blocks.

    X is an array, or anything with shape (n, d), a dtype, and rows by slices and ascending numbers (an HDF5 or Zarr array), which is
    read a block at a time.

    Args:
        depth: layers with weights, at least 2.
        candidates: random directions to choose from.
        rounds: how often the best of them may be turned to move the closest points of different targets apart.
        tol: largest error of the plain forward pass without a warning, in units of the targets' range.
        random_state: seed of the random directions, an integer.

    Attributes:
        direction_: (d,) float64.
        hinges_: the points along the direction, with thresholds, weights and slopes.
        n_points_: number of distinct points; equal rows with equal targets are one point.
        n_parameters_: parameters of `module()`, counted: with n points 2n + d in depth 2, and
            2n + d + 2 + 2 min(depth - 3, n) from depth 3 on.
        smallest_gap_: smallest distance of neighbours on the line, as a share of the range of all.
        smallest_eigenvalue_: lemma 1's min_i x_i - b_i.
        weight_bound_: the bound that follows from it for the weights (`shattering.relu.hinges.weight_bound`).
        largest_weight_: largest weight in absolute value.
        max_error_: error of the plain float64 forward pass of `module()` at `n_checked_` points: all of them, or, where n is large,
            the steepest, the last and a random rest. In units of the targets. Where <a, x> is rounded, the error that this brings is
            in it.
        exact_projections_: True if <a, x> is free of rounding: for points that are whole numbers, such as pixels in 0…255, and not so
            large that float64 does not hold their sums.
        rounds_: how often the direction was turned.
        interpolated_: True if the largest error is at most tol times the targets' range.
        timings_: seconds per stage.

    Raises:
        InputError: (fit) for bad parameters, for equal rows with different targets, which it names, and for points or targets so large
            or so small that the slopes between them are no numbers.

    Warns:
        ConvergenceWarning: if float64 does not hold the function to tol.

    Example:
        >>> model = ReluInterpolator(depth=4).fit([[0.0], [1.0], [2.0]], [0.5, -1.0, 3.0])
        >>> model.n_parameters_
        11
    """

    def fit(self, X, y):
        """Fit to X (n, d) and real targets y (n,)."""
        rows, targets = _rows(self, X, reset=True), np.asarray(column_or_1d(y, warn=True), dtype=np.float64)
        check_consistent_length(X, targets)
        assert_all_finite(targets, input_name="y")
        self._build(rows, targets)
        reach = float(np.ptp(targets)) or 1.0
        self.interpolated_ = self.max_error_ <= self.tol * reach
        if not self.interpolated_:
            self._warn(f", {self.max_error_ / reach:.2g} of the targets' range", self.tol * reach)
        return self

    def predict(self, X) -> np.ndarray:
        """Return the function's values (m,)."""
        check_is_fitted(self)
        return self._values(_rows(self, X, reset=False))


class ReluInterpolatorClassifier(ClassifierMixin, _ReluInterpolation):
    """The ReLU network with 2n + d weights, or a deeper one, that takes any labels on n distinct points.

    It is `ReluInterpolator` with the classes' numbers 0, 1, 2, … as targets: arguments and attributes are the same, but for these.

    Attributes:
        classes_: (k,) the classes.
        interpolated_: True if the plain forward pass of `module()` gives the label of each of the `n_checked_` points.

    Example:
        >>> model = ReluInterpolatorClassifier().fit([[0], [1], [2]], ["a", "b", "a"])
        >>> model.predict([[1]])
        array(['b'], dtype='<U1')
    """

    def fit(self, X, y):
        """Fit to X (n, d) and class labels y (n,); their targets are 0, 1, 2, …"""
        rows, labels = _rows(self, X, reset=True), column_or_1d(y, warn=True)
        check_consistent_length(X, labels)
        assert_all_finite(labels, input_name="y")
        self.classes_, codes = class_codes(labels)
        self._build(rows, codes.astype(np.float64))
        self.interpolated_ = self.max_error_ < 0.5
        bearable = min(0.5, self.tol * max(1, len(self.classes_) - 1))
        if not self.interpolated_ or self.max_error_ > bearable:
            self._warn(" of the distance between two classes", bearable)
        return self

    def predict(self, X) -> np.ndarray:
        """Return the class whose number is nearest to the function's value (m,)."""
        check_is_fitted(self)
        values = self._values(_rows(self, X, reset=False))
        return self.classes_[np.rint(np.clip(values, 0, len(self.classes_) - 1)).astype(np.intp)]
