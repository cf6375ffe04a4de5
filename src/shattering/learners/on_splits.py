"""Any learner on a `Split`: ours take one, scikit-learn's take a table."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from shattering.data.dataset import Split
from shattering.data.on_disk import ImagesOnDisk
from shattering.data.preprocess import to_float
from shattering.errors import InputError
from shattering.learners.scores import top5_accuracy


def table(split: Split) -> np.ndarray:
    """(n, features) float32 in natural units, for learners that take tables; a copy, for some change what they are given."""
    features = to_float(split.images).flatten(1)
    return (features if split.images.dtype == torch.uint8 else features.clone()).numpy()


def fit_split(learner: Any, split: Split, **watch) -> Any:
    """Fit to the split's labels. watch: arguments of `fit` for learners that take splits; not passed to others."""
    if getattr(learner, "takes_splits", False):
        return learner.fit(split, **watch)
    return learner.fit(table(split), split.labels.numpy().copy())


def predict_split(learner: Any, split: Split, fitted: bool = False) -> np.ndarray:
    """Predicted classes (n,). fitted: the split is the training split, which some learners have predicted in `fit`."""
    if fitted and hasattr(learner, "fitted_"):
        return learner.fitted_
    return learner.predict(split if getattr(learner, "takes_splits", False) else table(split))


def predict_with_top5(learner: Any, split: Split, name: str, labels: torch.Tensor) -> tuple[np.ndarray, dict[str, float]]:
    """Predicted classes (n,), and for a network on more than five classes NAME_top5_accuracy against labels (n,).

    name: of the split; "train" for the one that the learner was fitted to.
    """
    if name == "train" and hasattr(learner, "train_top5_accuracy_") and hasattr(learner, "fitted_"):
        top5 = learner.train_top5_accuracy_
        return learner.fitted_, {} if top5 is None else {"train_top5_accuracy": top5}
    if not (getattr(learner, "takes_splits", False) and hasattr(learner, "logits")):
        return predict_split(learner, split, fitted=name == "train"), {}
    logits = learner.logits(split)
    top5 = {f"{name}_{key}": value for key, value in top5_accuracy(logits, labels).items()}
    return learner.classes_[logits.argmax(1).numpy()], top5


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
