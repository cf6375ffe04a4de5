"""Empirical Rademacher complexity (ICLR 2017, equation 1).

R(H) = E_s [ sup_{h in H} 1/n sum_i s_i h(x_i) ], over random signs s: the best correlation with pure noise. For a model,
what its training finds stands in for the supremum, so the correlation is a lower bound, whatever the number of draws. For
norm-bounded linear and kernel classes the supremum is known.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy import stats
from sklearn.base import BaseEstimator, clone

from shattering import seeds
from shattering.data.arrays import as_images
from shattering.data.dataset import Split
from shattering.errors import InputError
from shattering.learners.on_splits import fit_split, predict_split
from shattering.stats import mean_interval


@dataclass(frozen=True)
class Rademacher:
    """Correlations with random signs, one a draw, in -1…1.

    value: their mean. interval: 95 %, Student's t over the draws; None for a single one. n_fitted: draws fitted exactly.
    """

    correlations: tuple[float, ...]

    @property
    def value(self) -> float:
        return float(np.mean(self.correlations))

    @property
    def interval(self) -> tuple[float, float] | None:
        return mean_interval(self.correlations, -1.0, 1.0)

    @property
    def n_fitted(self) -> int:
        return sum(c == 1 for c in self.correlations)


def random_signs(n: int, n_draws: int, seed: int) -> np.ndarray:
    """(draws, n) of -1 and 1. A draw does not depend on how many there are."""
    return np.stack([2 * seeds.generator(seed, "rademacher", draw).integers(0, 2, n) - 1 for draw in range(n_draws)])


def empirical_rademacher(
    model: BaseEstimator,
    examples: Split | np.ndarray,
    n_draws: int = 10,
    seed: int = 0,
    on_draw: Callable[[int, float], None] | None = None,
) -> Rademacher:
    """The model's correlation with random signs on these examples: a lower bound on its class's complexity.

    Args:
        model: a scikit-learn classifier; a fresh clone is fitted for every draw, from the same initialization.
        examples: a Split, whose labels do not matter, or an array (n, d).
        n_draws: of signs.
        seed: of the signs.
        on_draw: called with the draw and its correlation.

    Raises:
        InputError: without draws, or with fewer than two examples.
    """
    images = examples.images if isinstance(examples, Split) else as_images(examples, where="examples")
    if n_draws < 1 or len(images) < 2:
        raise InputError(f"n_draws is {n_draws} and there are {len(images)} examples, expected at least 1 and 2")
    found = []
    for draw, signs in enumerate(random_signs(len(images), n_draws, seed)):
        split = Split(images, torch.from_numpy((signs + 1) // 2), ("-1", "1"))
        fitted = clone(model)
        fit_split(fitted, split)
        found.append(float(np.mean(signs * (2 * predict_split(fitted, split, fitted=True) - 1))))
        if on_draw:
            on_draw(draw, found[-1])
    return Rademacher(tuple(found))


def of_linear_class(X: np.ndarray, radius: float, signs: np.ndarray) -> Rademacher:
    """The class {x → <w, x>: ‖w‖ <= radius} on X (n, d): sup_w 1/n sum_i s_i <w, x_i> = radius / n ‖sum_i s_i x_i‖."""
    return Rademacher(tuple((radius / len(X) * np.linalg.norm(signs @ np.asarray(X, dtype=np.float64), axis=1)).tolist()))


def of_kernel_class(K: np.ndarray, radius: float, signs: np.ndarray) -> Rademacher:
    """The ball of this radius in the Hilbert space of a kernel with Gram matrix K (n, n): radius / n sqrt(s' K s)."""
    squares = np.einsum("si,ij,sj->s", signs, K, signs, optimize=True)
    return Rademacher(tuple((radius / len(K) * np.sqrt(np.maximum(squares, 0))).tolist()))


def kernel_class_bound(diagonal: np.ndarray, radius: float) -> float:
    """What Jensen's inequality leaves of it: radius / n sqrt(sum_i K_ii), for any distribution of the points."""
    return float(radius / len(diagonal) * np.sqrt(np.sum(diagonal)))


def vc_lower_bound(n: int, n_fitted: int, n_draws: int, level: float = 0.95) -> int:
    """A lower bound, at this confidence, on the VC dimension of what a model can reach, from random binary labels.

    If a class takes more than a share p of all 2^n labelings of n points, its VC dimension v satisfies
    sum_{i<=v} C(n, i) >= p 2^n (Sauer and Shelah); p is bounded from below by the draws that were fitted exactly
    (Clopper and Pearson). Fitting every draw of a few gives about n/2, as more than half of all labelings then are
    within reach, and never more than n: shattering itself would need all 2^n.

    The class is what this training finds within its budget, from this initialization; the network's own may be larger.

    Args:
        n: examples.
        n_fitted: draws fitted exactly.
        n_draws: of random labels.
        level: in 0…1.

    Raises:
        InputError: for numbers out of range.
    """
    if not (n >= 1 and n_draws >= 1 and 0 <= n_fitted <= n_draws):
        raise InputError(f"n is {n} and {n_fitted} of {n_draws} draws were fitted, expected n >= 1 and 0 <= n_fitted <= n_draws >= 1")
    share = float(stats.beta.ppf(1 - level, n_fitted, n_draws - n_fitted + 1)) if n_fitted else 0.0
    # the smallest v with P[Binomial(n, 1/2) <= v] >= share
    return max(0, int(stats.binom.ppf(share, n, 0.5))) if share else 0
