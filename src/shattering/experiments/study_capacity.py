"""What models can fit, by numbers (ICLR 2017, section 2.2): Rademacher complexity and stability, on subsets of a dataset."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from shattering.data.dataset import Split
from shattering.data.load import load_dataset
from shattering.experiments.rademacher_complexity import (
    Rademacher,
    empirical_rademacher,
    kernel_class_bound,
    of_kernel_class,
    of_linear_class,
    random_signs,
)
from shattering.experiments.stability_definition import replace_one
from shattering.experiments.vc import vc_lower_bound
from shattering.learners import build_model
from shattering.learners.on_splits import table as as_table
from shattering.randomization import Randomization, randomize

N_TEST = 500  # test examples whose losses are compared


def rademacher(
    seed: int, *, dataset: str = "digits", n: int = 200, model: str = "network", params: Mapping | None = None, n_draws: int = 10
) -> tuple[dict, pd.DataFrame]:
    """A model's correlation with random signs on n training images: a lower bound on empirical Rademacher complexity.

    Table: draw, correlation. Numbers: value, low and high (95 %, over draws), n_fitted (draws fitted exactly), and
    vc_lower_bound from them.
    """
    data = load_dataset(dataset, n, 1, seed)
    found = empirical_rademacher(build_model(model, params or {}, seed), data.train, n_draws, seed)
    numbers = {"n_fitted": found.n_fitted, "n_draws": n_draws, "vc_lower_bound": vc_lower_bound(n, found.n_fitted, n_draws)}
    table = pd.DataFrame({"draw": range(n_draws), "correlation": found.correlations})
    return {"data": f"{data.variant}, n = {n:,}", "n": n, **_interval(found), **numbers}, table


def rademacher_classes(
    seed: int, *, dataset: str = "digits", n: int = 200, n_draws: int = 10, gamma: float | None = None
) -> tuple[dict, pd.DataFrame]:
    """The closed forms on the same images and signs, of classes whose values lie in -1…1 on these images, as a classifier's do.

    "linear": {x → <w, x>: ‖w‖ <= 1 / max ‖x‖}; "gaussian kernel": the unit ball of its Hilbert space, exp(-gamma ‖x - x'‖²),
    with gamma 1 / (d times the variance of all values) unless given.
    Table: kind, value, low, high (95 %, over draws), bound (Jensen's, for any data of these norms), and needed: the
    radius, in units of the class's, of the smallest ball with a function that takes the first draw's signs exactly
    (missing where none does).
    """
    data = load_dataset(dataset, n, 1, seed)
    X = as_table(data.train).astype(np.float64)
    signs, largest = random_signs(n, n_draws, seed), float(np.linalg.norm(X, axis=1).max())
    squares = (X * X).sum(1)
    bandwidth = gamma or 1 / (X.shape[1] * X.var())
    gaussian = np.exp(-bandwidth * np.maximum(squares[:, None] + squares - 2 * X @ X.T, 0))
    found = {
        "linear": (of_linear_class(X, 1 / largest, signs), X @ X.T / largest**2),
        "gaussian kernel": (of_kernel_class(gaussian, 1.0, signs), gaussian),
    }
    rows = [
        {"kind": kind, **_interval(complexity), "bound": kernel_class_bound(np.diag(K), 1.0), "needed": _needed(K, signs[0])}
        for kind, (complexity, K) in found.items()
    ]
    return {"data": f"{data.variant}, n = {n:,}", "n": n, "n_draws": n_draws}, pd.DataFrame(rows)


def _needed(K: np.ndarray, signs: np.ndarray) -> float | None:
    """The norm of the smallest function of a kernel's Hilbert space that takes the signs; None where there is none."""
    values, vectors = np.linalg.eigh(K)
    kept = values > values[-1] * len(K) * np.finfo(float).eps
    parts = vectors.T @ signs
    if np.linalg.norm(parts[~kept]) > 1e-6 * np.linalg.norm(signs):
        return None
    return float(np.sqrt(np.sum(parts[kept] ** 2 / values[kept])))


def stability(
    seed: int,
    *,
    dataset: str = "digits",
    n: int = 200,
    n_test: int = N_TEST,
    model: str = "network",
    params: Mapping | None = None,
    labels: float = 0.0,
    n_replaced: int = 20,
) -> tuple[dict, pd.DataFrame]:
    """What replacing one training example changes, with a share of corrupted labels (also among the fresh and the test examples).

    Table: example (its id), changed (share of test losses), own (whether its own loss changed). Numbers: uniform (a lower
    bound on the constant for the 0-1 loss), changed and own with their 95 % intervals.
    """
    data = randomize(load_dataset(dataset, n, n_test, seed, n_validation=n_replaced), Randomization(labels), seed)
    assert data.validation is not None
    test = data.test if not labels else _corrupted(data.test, labels, seed)
    found = replace_one(build_model(model, params or {}, seed), data.train, data.validation, test, n_replaced, seed)
    low, high = found.changed_interval or (None, None)
    own_low, own_high = found.own_interval
    numbers = {"uniform": found.uniform, "changed": found.mean_changed, "changed_low": low, "changed_high": high}
    numbers |= {"own": found.mean_own, "own_low": own_low, "own_high": own_high, "n_replaced": n_replaced}
    ids = data.train.ids[list(found.replaced)].tolist()
    rows = pd.DataFrame({"example": ids, "changed": found.changed, "own": found.own})
    return {"data": f"{data.variant}, n = {n:,}", "n": n, "n_test": n_test, "labels": float(labels), **numbers}, rows


def _corrupted(split: Split, labels: float, seed: int) -> Split:
    """The test split with labels as corrupted as the training ones: losses compare with what the distribution gives."""
    return replace(split, labels=Randomization(labels).corrupt(split, seed, "test"))


def _interval(found: Rademacher) -> dict:
    low, high = found.interval or (None, None)
    return {"value": found.value, "low": low, "high": high}
