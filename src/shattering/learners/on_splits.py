"""Any learner on a `Split`: ours take one, scikit-learn's take a table."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from sklearn.utils import ClassifierTags, Tags, TargetTags

from shattering.data.dataset import Split
from shattering.data.preprocess import to_float
from shattering.errors import InputError, reason
from shattering.learners.network import NetworkClassifier
from shattering.learners.own import OwnLearner, is_exactly_ours, record_of, traits
from shattering.learners.predictions import check_classifier, checked_codes
from shattering.learners.scores import top5_accuracy


def table(split: Split) -> np.ndarray:
    """(n, features), for learners that take tables: a table in its own type, images in natural units.

    A copy, for some change what they are given.
    """
    return natural(split.images).flatten(1).numpy()


def natural(images: torch.Tensor) -> torch.Tensor:
    """Images in natural units, or a table as it is: a copy."""
    values = to_float(images)
    return values.clone() if values is images else values


def fit_split(learner: Any, split: Split, **watch) -> Any:
    """Fit to the split's labels; returns the learner.

    watch: arguments of `fit` for learners that take splits; not passed to others. Raises InputError, before anything is fitted,
    for an estimator that is no classifier.
    """
    check_classifier(learner)
    if traits(learner).takes_splits:
        watched = {name: _given(learner, value) if isinstance(value, Split) else value for name, value in watch.items()}
        learner.fit(_given(learner, split), **watched)
    else:
        _fit_table(learner, split)
    return learner


def _given(learner: Any, split: Split) -> Split:
    """The split for one that takes it: a copy, unless all of its code is ours, which changes nothing."""
    return split if is_exactly_ours(learner) else split.copy()


def _fit_table(learner: Any, split: Split) -> None:
    try:
        learner.fit(table(split), split.y)
    except ValueError as error:
        if "class_weight" not in str(error):
            raise
        named = ", ".join(f"{value!r} ({name})" for value, name in list(zip(split.label_values.tolist(), split.classes, strict=True))[:10])
        raise InputError(f"{reason(error)}; the labels (and classes) are {named}") from None


def predict_split(learner: Any, split: Split, fitted: bool = False) -> np.ndarray:
    """Predicted labels (n,) int64, as 0…k-1 in the order of the classes.

    fitted: the split is the training split, which some learners have predicted in `fit`. Raises InputError for predictions that
    are no labels of the split.
    """
    known = record_of(learner).predicted if fitted and is_exactly_ours(learner) else None
    predicted = _predict(learner, split) if known is None else known
    return checked_codes(predicted, split.label_values, len(split), name_of(learner))


def name_of(learner: Any) -> str:
    """What a learner is called in messages."""
    return learner.name_in_messages() if isinstance(learner, OwnLearner) else type(learner).__name__


def _predict(learner: Any, split: Split) -> Any:
    X = _given(learner, split) if traits(learner).takes_splits else table(split)
    try:
        predict = learner.predict
    except AttributeError as error:
        raise InputError(f"learner {name_of(learner)} has no predict after it was fitted: {reason(error)}") from None
    return predict(X)


def predict_with_top5(learner: Any, split: Split, name: str, labels: torch.Tensor) -> tuple[np.ndarray, dict[str, float]]:
    """Predicted labels as `predict_split`, and for a network on more than five classes NAME_top5_accuracy against labels (n,).

    name: of the split; "train" for the one that the learner was fitted to.
    """
    if not isinstance(learner, NetworkClassifier):
        return predict_split(learner, split, fitted=name == "train"), {}
    record = record_of(learner)
    if name == "train" and record.predicted is not None and is_exactly_ours(learner):
        top5 = {} if record.top5 is None else {"top5_accuracy": record.top5}
        codes = predict_split(learner, split, fitted=True)
    else:
        logits = learner.logits(split)
        top5 = top5_accuracy(logits, labels)
        codes = _largest(learner, split, logits) if is_exactly_ours(learner) else predict_split(learner, split)
    return codes, {f"{name}_{key}": value for key, value in top5.items()}


def _largest(learner: NetworkClassifier, split: Split, logits: torch.Tensor) -> np.ndarray:
    return checked_codes(logits.argmax(1), np.arange(split.n_classes), len(split), name_of(learner))


def score_split(scorer: Callable, learner: Any, split: Split, labels: torch.Tensor) -> float:
    """A scorer of scikit-learn's on a split, against these labels (n,) 0…k-1, of which it is given the user's values.

    Raises InputError if the learner lacks what it needs, predicts what are no labels, or if the scorer refuses the labels.
    """
    X = _given(learner, split) if traits(learner).takes_splits else table(split)
    try:
        return float(scorer(_checked(learner, split), X, split.label_values[labels.numpy()]))
    except AttributeError as error:
        raise InputError(f"scoring needs what the learner does not have: {reason(error)}") from None


class _Checked:
    """A fitted learner as a scorer sees it: everything that it has, and labels that are checked from `predict`. See `_checked`."""

    def __init__(self, learner: Any, split: Split):
        self._learner, self._split = learner, split

    def __getattr__(self, name: str) -> Any:
        if name == "classes_" and not hasattr(self._learner, name):
            return self._split.label_values
        return getattr(self._learner, name)

    def __repr__(self) -> str:
        return repr(self._learner)

    def __sklearn_tags__(self) -> Tags:
        return Tags(estimator_type="classifier", target_tags=TargetTags(required=True), classifier_tags=ClassifierTags())

    def predict(self, X: Any) -> np.ndarray:
        values, learner = self._split.label_values, self._learner
        return values[checked_codes(learner.predict(X), values, len(X), name_of(learner))]


def _checked(learner: Any, split: Split) -> _Checked:
    """The learner as a scorer sees it, of a class that is called as the user's model is: scorers name the class in their errors."""
    return type(name_of(learner), (_Checked,), {})(learner, split)
