"""Uniform stability (ICLR 2017, section 2.2; Bousquet and Elisseeff, 2002), measured by replacing one example.

A model is uniformly stable with constant b if, for all training sets S, all S' that differ from S in one example, and all
z, |loss(A(S), z) - loss(A(S'), z)| <= b. The supremum runs over all labels too: the notion does not know which labels the
data have. With the 0-1 loss, whatever is seen to change once shows b = 1.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy import stats
from sklearn.base import BaseEstimator, clone

from shattering import seeds
from shattering.data.dataset import Split
from shattering.errors import InputError
from shattering.learners.on_splits import fit_split, predict_split
from shattering.stats import mean_interval


@dataclass(frozen=True)
class Stability:
    """What replacing one training example changes, once an example.

    replaced: their positions. changed: share of test examples whose loss changes. own: whether the loss at the replaced example
    itself changes (for what interpolates: whether it is wrong there without having seen it).
    """

    replaced: tuple[int, ...]
    changed: tuple[float, ...]
    own: tuple[bool, ...]

    @property
    def uniform(self) -> float:
        """A lower bound on the constant of uniform stability, for the 0-1 loss: the largest change seen, 0 or 1."""
        return float(any(self.own) or any(share > 0 for share in self.changed))

    @property
    def mean_changed(self) -> float:
        return float(np.mean(self.changed))

    @property
    def changed_interval(self) -> tuple[float, float] | None:
        """95 %, Student's t over the replaced examples."""
        return mean_interval(self.changed, 0.0, 1.0)

    @property
    def mean_own(self) -> float:
        return float(np.mean(self.own))

    @property
    def own_interval(self) -> tuple[float, float]:
        """95 %, Wilson's."""
        found = stats.binomtest(sum(self.own), len(self.own)).proportion_ci(method="wilson")
        return float(found.low), float(found.high)


def replace_one(
    model: BaseEstimator,
    train: Split,
    fresh: Split,
    test: Split,
    n_replaced: int = 20,
    seed: int = 0,
    on_fit: Callable[[int], None] | None = None,
) -> Stability:
    """Train on a set, and again with one example replaced by a fresh one, for a sample of examples.

    Every training starts from the same initialization and has the same batch order.

    Args:
        model: a scikit-learn classifier, cloned for every training.
        train: what it is trained on, with its labels.
        fresh: at least n_replaced examples of the same distribution, labels included.
        test: where losses are compared, against its labels.
        n_replaced: how many examples, drawn without replacement.
        seed: of that draw.
        on_fit: called with the number of trainings done.

    Raises:
        InputError: where there are fewer examples than to be replaced.
    """
    if not 1 <= n_replaced <= min(len(train), len(fresh)):
        raise InputError(f"n_replaced is {n_replaced}, expected 1…{min(len(train), len(fresh))}, as many as there are examples")
    rows = np.sort(seeds.generator(seed, "replaced").choice(len(train), n_replaced, replace=False)).tolist()
    before = _losses(model, train, (test, train.subset(torch.tensor(rows))))
    changed, own = [], []
    for k, row in enumerate(rows):
        if on_fit:
            on_fit(k + 1)
        after = _losses(model, _replaced(train, row, fresh, k), (test, train.subset(torch.tensor([row]))))
        changed.append(float((after[0] != before[0]).mean()))
        own.append(bool(after[1][0] != before[1][k]))
    return Stability(tuple(rows), tuple(changed), tuple(own))


def _replaced(train: Split, row: int, fresh: Split, k: int) -> Split:
    parts = {name: getattr(train, name).clone() for name in ("images", "labels", "ids", "true_labels")}
    for name, values in parts.items():
        values[row] = getattr(fresh, name)[k]
    return replace(train, **parts)


def _losses(model: BaseEstimator, train: Split, splits: Sequence[Split]) -> list[np.ndarray]:
    model = fit_split(clone(model), train)
    return [predict_split(model, split) != split.labels.numpy() for split in splits]
