"""Any learner on a `Split`: ours take one, scikit-learn's take a table."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from shattering.data.dataset import Split
from shattering.data.on_disk import ImagesOnDisk
from shattering.data.preprocess import to_float
from shattering.errors import InputError


def table(split: Split) -> np.ndarray:
    """(n, features) float32 in natural units, for learners that take tables."""
    return to_float(split.images).flatten(1).numpy()


def fit_split(learner: Any, split: Split, **watch) -> Any:
    """Fit to the split's labels. watch: arguments of `fit` for learners that take splits; not passed to others."""
    if getattr(learner, "takes_splits", False):
        return learner.fit(split, **watch)
    return learner.fit(table(split), split.labels.numpy())


def predict_split(learner: Any, split: Split, fitted: bool = False) -> np.ndarray:
    """Predicted classes (n,). fitted: the split is the training split, which some learners have predicted in `fit`."""
    if fitted and hasattr(learner, "fitted_"):
        return learner.fitted_
    return learner.predict(split if getattr(learner, "takes_splits", False) else table(split))


def score_split(scorer: Callable, learner: Any, split: Split, labels: torch.Tensor) -> float:
    """A scorer of scikit-learn's on a split, against these labels (n,). Raises InputError if the learner lacks what it needs."""
    if not getattr(learner, "takes_splits", False):
        X = table(split)
    else:
        X = split if isinstance(split.images, ImagesOnDisk) else split.images.numpy()
    try:
        return float(scorer(learner, X, labels.numpy()))
    except AttributeError as error:
        raise InputError(f"scoring needs what the learner does not have: {error}") from None
