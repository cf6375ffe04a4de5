"""Empirical Rademacher complexity (ICLR 2017, equation 1), and the bound on VC dimension that follows from random labelings.

R(H) = E_s [ sup_{h in H} 1/n sum_i s_i h(x_i) ] is the expectation, over random signs s, of the best correlation with the
signs. For a model, the function that its training finds takes the place of the best one, so that the expected correlation
is a lower bound. For norm-bounded linear and kernel classes the supremum is known in closed form.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf

import numpy as np
import torch
from scipy import stats
from sklearn.base import BaseEstimator

from shattering import seeds
from shattering.brief import Brief
from shattering.data.arrays import as_images
from shattering.data.dataset import Dataset
from shattering.data.split import Split
from shattering.errors import InputError, reason, shown
from shattering.learners.on_splits import fit_split, predict_split
from shattering.parameters import Count, Natural, NotNegative, check_arguments
from shattering.runs.objects import with_seed
from shattering.stats import ROUNDING, Level, mean_interval

_OF_A_MATRIX = 1e-5  # of the largest value: what is asymmetric or negative by less is so by rounding, in 32 bits too


@dataclass(frozen=True, repr=False)
class Rademacher(Brief):
    """Correlations with random signs, one per draw.

    Args:
        correlations: for each draw, in -1…1 for a classifier; those of the classes in closed form may be larger.

    Example:
        >>> Rademacher((1.0, 0.5)).value
        0.75
    """

    correlations: tuple[float, ...]

    @property
    def value(self) -> float:
        """The mean of the correlations."""
        return float(np.mean(self.correlations))

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval of the mean, by Student's t over the draws, within -1…1 if they all are; None for a single draw."""
        most = 1.0 if max(map(abs, self.correlations)) <= 1 + ROUNDING else inf
        return mean_interval(self.correlations, -most, most)

    @property
    def n_fitted(self) -> int:
        """The number of draws of signs that were fitted exactly."""
        return sum(c == 1 for c in self.correlations)


def random_signs(n: Count, n_draws: Count, seed: int) -> np.ndarray:
    """Draw random signs, independent and equally likely; a draw does not depend on how many there are.

    Args:
        n: examples.
        n_draws: how many times signs are drawn.
        seed: of the signs.

    Returns:
        (n_draws, n) whole numbers, -1 or 1.

    Raises:
        InputError: for numbers below 1.

    Example:
        >>> random_signs(4, 3, seed=0).shape
        (3, 4)
    """
    check_arguments(random_signs, locals(), "n", "n_draws", "seed")
    return np.stack([2 * seeds.generator(seed, "rademacher", draw).integers(0, 2, n) - 1 for draw in range(n_draws)])


def empirical_rademacher(
    model: BaseEstimator,
    examples: Split | np.ndarray,
    n_draws: Count = 10,
    seed: int = 0,
    on_draw: Callable[[int, float], None] | None = None,
) -> Rademacher:
    """Fit a model to random signs, and measure its correlation with them: a lower bound on the complexity of its class.

    Args:
        model: a scikit-learn classifier; a fresh clone is fitted for every draw, from the same initialization, see `with_seed`.
        examples: a Split, whose labels do not matter, or an array (n, d).
        n_draws: how many times signs are drawn.
        seed: of the signs, and of a model whose random state is at its default.
        on_draw: called after every draw with its number and its correlation.

    Returns:
        The correlations; `value` is the estimate.

    Raises:
        InputError: for fewer than one draw or fewer than two examples, for a model that is no scikit-learn classifier, and where the signs
            of a draw are all alike and the model cannot be fitted to one class.

    Example:
        >>> import numpy as np
        >>> from sklearn.neighbors import KNeighborsClassifier
        >>> empirical_rademacher(KNeighborsClassifier(1), np.random.default_rng(0).normal(size=(50, 4)), n_draws=3).value
        1.0
    """
    check_arguments(empirical_rademacher, locals(), "n_draws", "seed")
    check_is_estimator(model)
    if isinstance(examples, (str, Dataset)):
        found = shown(examples) if isinstance(examples, str) else "a Dataset"
        raise InputError(f"examples is {found}, expected a Split or an array: load_dataset(…).train is a Split")
    images = examples.inputs if isinstance(examples, Split) else as_images(examples, where="examples")
    if len(images) < 2:
        raise InputError(f"there are {len(images)} examples, expected at least 2")
    correlations = []
    for draw, signs in enumerate(random_signs(len(images), n_draws, seed)):
        split = Split(images, torch.from_numpy((signs + 1) // 2), ("-1", "1"))
        with seeds.everywhere(seed):  # that code which is not ours may draw from
            fitted = _fitted(with_seed(model, seed), split, draw)
            correlations.append(float(np.mean(signs * (2 * predict_split(fitted, split, fitted=True) - 1))))
        if on_draw:
            on_draw(draw, correlations[-1])
    return Rademacher(tuple(correlations))


def _fitted(model: BaseEstimator, split: Split, draw: int) -> BaseEstimator:
    """Fit the model. Raises InputError where that fails because all signs of a draw are alike, as happens with a few examples."""
    try:
        return fit_split(model, split)
    except ValueError as error:
        if len(split.labels.unique()) > 1:
            raise
        raise InputError(
            f"the {len(split)} signs of draw {draw} are all alike, and {type(model).__name__} is not fitted to one class "
            f"({reason(error).rstrip('.')}): use more examples, of which that is improbable, or another seed"
        ) from None


def check_is_estimator(model: object) -> None:
    """Raise InputError for a model that cannot be cloned."""
    if isinstance(model, type) or not hasattr(model, "get_params"):
        raise InputError(
            f"model is {shown(model)}, expected a scikit-learn classifier: NetworkClassifier(lambda shape, k: module) makes one of a module"
        )


def of_linear_class(X: np.ndarray, radius: NotNegative, signs: np.ndarray) -> Rademacher:
    """Compute the complexity of the linear functions x → <w, x> with ‖w‖ <= radius.

    The supremum of 1/n sum_i s_i <w, x_i> over w is radius / n ‖sum_i s_i x_i‖.

    Args:
        X: points (n, d).
        radius: of the class.
        signs: (draws, n), of -1 and 1, see `random_signs`.

    Raises:
        InputError: for a negative radius, and for points or signs that are not as described.

    Example:
        >>> of_linear_class(np.eye(4), 1.0, random_signs(4, 3, seed=0)).value
        0.5
    """
    check_arguments(of_linear_class, locals(), "radius")
    points = _numbers("X", X, 2)
    signs = _signs(signs, len(points))
    return Rademacher(tuple((radius / len(points) * np.linalg.norm(signs @ points, axis=1)).tolist()))


def of_kernel_class(K: np.ndarray, radius: NotNegative, signs: np.ndarray) -> Rademacher:
    """Compute the complexity of the ball of this radius in the Hilbert space of a kernel.

    The supremum for signs s is radius / n sqrt(s' K s).

    Args:
        K: the Gram matrix (n, n).
        radius: of the ball.
        signs: (draws, n), of -1 and 1, see `random_signs`.

    Raises:
        InputError: for a negative radius, for a matrix that is no Gram matrix, and for signs that are not as described.

    Example:
        >>> of_kernel_class(np.eye(4), 1.0, random_signs(4, 3, seed=0)).value
        0.5
    """
    check_arguments(of_kernel_class, locals(), "radius")
    K = _numbers("K", K, 2)
    signs = _signs(signs, len(K))
    if K.shape != K.T.shape or (np.abs(K - K.T) > _OF_A_MATRIX * np.abs(K).max()).any():
        raise InputError(f"K of shape {K.shape} is not symmetric, expected the Gram matrix (n, n) of a kernel")
    squares = np.einsum("si,ij,sj->s", signs, K, signs, optimize=True)
    if squares.min() < -_OF_A_MATRIX * len(K) * np.abs(np.diag(K)).sum():  # of a Gram matrix it is at most n times the trace
        raise InputError("K has negative eigenvalues, expected the Gram matrix (n, n) of a kernel")
    return Rademacher(tuple((radius / len(K) * np.sqrt(np.maximum(squares, 0))).tolist()))


def kernel_class_bound(diagonal: np.ndarray, radius: NotNegative) -> float:
    """Bound the complexity of `of_kernel_class` by Jensen's inequality: radius / n sqrt(sum_i K_ii).

    Args:
        diagonal: of the Gram matrix, (n,).
        radius: of the ball.

    Raises:
        InputError: for a negative radius, and for a diagonal that has negative numbers or is not (n,).

    Example:
        >>> kernel_class_bound(np.ones(4), 1.0)
        0.5
    """
    check_arguments(kernel_class_bound, locals(), "radius")
    values = _numbers("diagonal", diagonal, 1)
    if values.min() < 0:
        raise InputError(f"diagonal has {values.min():g}, expected numbers from 0, as those of a Gram matrix are")
    return float(radius / len(values) * np.sqrt(np.sum(values)))


def _numbers(name: str, values: np.ndarray, axes: int) -> np.ndarray:
    """Return finite numbers with so many axes as float64. Raises InputError for anything else, and where there are none."""
    found = np.asarray(values)
    if found.ndim != axes or not found.size or found.dtype.kind not in "biuf" or not np.isfinite(found).all():
        wanted = "(n,)" if axes == 1 else "(n, d)"
        raise InputError(f"{name} has shape {found.shape} and type {found.dtype}, expected finite numbers of shape {wanted}")
    return found.astype(np.float64)


def _signs(signs: np.ndarray, n: int) -> np.ndarray:
    """Return signs (draws, n). Raises InputError for other numbers than -1 and 1."""
    found = np.asarray(signs)
    if found.ndim != 2 or found.shape[1] != n or not len(found):
        raise InputError(f"signs has shape {found.shape}, expected (draws, {n}), as of random_signs")
    strange = found[(found != -1) & (found != 1)]
    if strange.size:
        raise InputError(f"signs has {strange[0]}, expected -1 and 1 only: those of labels 0 and 1 are 2 * labels - 1")
    return found


def vc_lower_bound(n: Count, n_fitted: Natural, n_draws: Count, level: Level = 0.95) -> int:
    """Bound the VC dimension of the functions that a model's training reaches, from below, by random binary labels that it fits.

    If a class takes more than a share p of all 2^n labelings of n points, its VC dimension v satisfies
    sum_{i<=v} C(n, i) >= p 2^n (Sauer and Shelah). The draws that were fitted exactly bound p from below (Clopper and
    Pearson). If a few draws are all fitted, the bound is about n/2. It never exceeds n, as shattering n points would need
    all 2^n labelings.

    The class is that of the functions which this training finds within its budget, from this initialization. The class of
    all functions of a network may be larger.

    Args:
        n: examples.
        n_fitted: draws fitted exactly.
        n_draws: draws of random labels.
        level: confidence of the bound, between 0 and 1.

    Raises:
        InputError: for numbers out of range.

    Example:
        >>> vc_lower_bound(n=1000, n_fitted=10, n_draws=10)
        510
    """
    check_arguments(vc_lower_bound, locals(), "n", "n_fitted", "n_draws", "level")
    if n_fitted > n_draws:
        raise InputError(f"n_fitted is {n_fitted} of {n_draws} draws, expected at most as many as n_draws")
    share = float(stats.beta.ppf(1 - level, n_fitted, n_draws - n_fitted + 1)) if n_fitted else 0.0
    # the smallest v with P[Binomial(n, 1/2) <= v] >= share
    return max(0, int(stats.binom.ppf(share, n, 0.5))) if share else 0
