"""Any model on a `Split`: ours take one, scikit-learn's take X and y."""

import re
from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from typing import Any

import numpy as np
import torch
from sklearn.utils import ClassifierTags, RegressorTags, Tags, TargetTags

from shattering.data.labels import codes_among
from shattering.data.preprocess import check_float32
from shattering.data.rows import Rows
from shattering.data.split import Split
from shattering.errors import InputError, reason
from shattering.learners.network import NetworkClassifier
from shattering.learners.others import (
    check_no_labels_within,
    has_skorch,
    inputs_within,
    labels_within,
    semi_supervised,
    targets_within,
)
from shattering.learners.own import OwnModel, is_exactly_ours, record_of, traits
from shattering.learners.predictions import as_array, check_kind, checked_codes, checked_numbers, in_order
from shattering.learners.remedies import remedies_told, remedy_of
from shattering.learners.scores import top5_accuracy


def fit_split(model: Any, split: Split, **watch) -> Any:
    """Fit to the split's labels; returns the model.

    watch: arguments of `fit` for models that take splits; not passed to others. Raises InputError, before anything is fitted,
    for an estimator that is no classifier, or no regressor where the labels are numbers.
    """
    check_kind(model, split.is_regression)
    if traits(model).takes_splits:
        watched = {name: _given(model, value) if isinstance(value, Split) else value for name, value in watch.items()}
        model.fit(_given(model, split), **watched)
    else:
        _fit_table(model, split)
    return model


def _given(model: Any, split: Split) -> Split:
    """Return the split for one that takes it: a copy, unless all of its code is ours, which changes nothing."""
    return split if is_exactly_ours(model) else split.copy()


def inputs_of(model: Any, split: Split) -> Any:
    """Return what `fit` and `predict` of a model take."""
    return _given(model, split) if traits(model).takes_splits else inputs_within(model, split.X)


def _labels(model: Any, split: Split) -> np.ndarray:
    """Return the labels (k,) that a model is fitted to and predicts, in the order of the classes."""
    return split.label_values if traits(model).takes_splits else labels_within(model, split.label_values)


def _fit_table(model: Any, split: Split) -> None:
    if not split.is_regression and -1 in split.label_values.tolist() and (part := semi_supervised(model)):
        raise InputError(f"{name_of(part)} takes labels of -1 for missing ones, expected other labels, each of a class")
    if not split.is_regression:
        check_no_labels_within(model, split.label_values)
    if has_skorch(model) and split.kind == "table" and not isinstance(split.inputs, Rows):
        check_float32(split.inputs, "standardized features, as skorch's nets get float32")
    try:
        with remedies_told(model):
            _fit_rows(model, split)
    except InputError:
        raise
    except (ValueError, TypeError, AttributeError) as error:
        if (remedy := remedy_of(split, error)) is None:
            raise
        raise InputError(f"{name_of(model)}: {remedy}") from None


_NO_GROUPS = "'groups' parameter should not be None"  # as scikit-learn's splitters by groups say
_TAKES_NONE = rf"{_NO_GROUPS}|enable_metadata_routing|not accept the groups|argument 'groups'|\[groups\] are"  # as its estimators say


def _fit_rows(model: Any, split: Split) -> None:
    """Fit to X and y, and to the groups of the examples if it asks for them. Raises InputError where these cannot be given."""
    y = targets_within(model, split.y) if split.is_regression else _labels(model, split)[split.labels.numpy()]
    X = inputs_of(model, split)
    try:
        model.fit(X, y)
        return
    except ValueError as error:
        if _NO_GROUPS not in str(error):
            raise
    if split.groups is None:
        raise InputError(
            f"{name_of(model)} splits by groups, which it was not given, expected groups beside the data, or a cv without groups"
        )
    try:
        model.fit(X, y, groups=split.group_codes)
    except (ValueError, TypeError) as error:
        if not re.search(_TAKES_NONE, str(error)):
            raise
        remedy = "such as a search that is not nested, scikit-learn's enable_metadata_routing=True, or a cv without groups"
        raise InputError(f"{name_of(model)} splits by groups, which its fit does not take, expected one that does, {remedy}") from None


def predict_split(model: Any, split: Split, fitted: bool = False) -> np.ndarray:
    """Return predicted labels (n,) int64, as 0…k-1 in the order of the classes, or predicted numbers (n,) float64.

    fitted: the split is the training split, which some models have predicted in `fit`. Raises InputError for predictions that
    are no labels of the split, or no numbers.
    """
    known = record_of(model).predicted if fitted and is_exactly_ours(model) else None
    predicted = _predict(model, split) if known is None else known
    if split.is_regression:
        return checked_numbers(predicted, len(split), name_of(model))
    return checked_codes(predicted, _labels(model, split), len(split), name_of(model))


def predict_proba_split(model: Any, split: Split) -> np.ndarray | None:
    """Return the probabilities (n, k) of the classes, in their order; None for a model without `predict_proba`.

    A class that the model has not seen has the probability 0. Raises InputError for another shape.
    """
    if not hasattr(model, "predict_proba"):
        return None
    found = model.predict_proba(inputs_of(model, split))
    classes = np.asarray(getattr(model, "classes_", _labels(model, split)))
    found = as_array(in_order(found, classes, f"predict_proba of {name_of(model)}"), name_of(model))
    places = codes_among(classes, _labels(model, split))
    if found.shape != (len(split), len(places)) or (places < 0).any():
        raise InputError(f"{name_of(model)} gave probabilities of shape {found.shape}, expected ({len(split)}, {len(places)})")
    probabilities = np.zeros((len(split), split.n_classes))
    probabilities[:, places] = found
    return probabilities


def name_of(model: Any) -> str:
    """Return what messages call a model."""
    return model.name_in_messages() if isinstance(model, OwnModel) else type(model).__name__


def _predict(model: Any, split: Split) -> Any:
    X = inputs_of(model, split)
    try:
        predict = model.predict
    except AttributeError as error:
        raise InputError(f"model {name_of(model)} has no predict after it was fitted: {reason(error)}") from None
    return predict(X)


def predict_with_top5(model: Any, split: Split, name: str, labels: torch.Tensor) -> tuple[np.ndarray, dict[str, float]]:
    """Return (the labels that `predict_split` gives, {"NAME_top5_accuracy": share in 0…1 against labels (n,)}).

    The dictionary is empty for a model that is no network, and for five classes or fewer.

    name: of the split; "train" for the one that the model was fitted to.
    """
    if not isinstance(model, NetworkClassifier):
        return predict_split(model, split, fitted=name == "train"), {}
    record = record_of(model)
    if name == "train" and record.predicted is not None and is_exactly_ours(model):
        top5 = {} if record.top5 is None else {"top5_accuracy": record.top5}
        codes = predict_split(model, split, fitted=True)
    else:
        logits = model.logits(split)
        top5 = top5_accuracy(logits, labels)
        codes = _largest(model, split, logits) if is_exactly_ours(model) else predict_split(model, split)
    return codes, {f"{name}_{key}": value for key, value in top5.items()}


def _largest(model: NetworkClassifier, split: Split, logits: torch.Tensor) -> np.ndarray:
    return checked_codes(logits.argmax(1), np.arange(split.n_classes), len(split), name_of(model))


def score_split(scorer: Callable, model: Any, split: Split, labels: torch.Tensor) -> float:
    """Return a scorer of scikit-learn's on a split, against these labels (n,), of which it is given the user's values.

    Raises InputError if the model lacks what it needs, predicts what are no labels, or if the scorer refuses the labels.
    """
    given = inputs_of(model, split)
    X = split.X if isinstance(given, Split) and split.kind != "images" else given  # scorers may look at what the user gave
    try:
        return float(scorer(_checked(model, split, X, given), X, replace(split, labels=labels).y))
    except AttributeError as error:
        raise InputError(f"scoring needs what the model does not have: {reason(error)}") from None


def n_rows(X: Any) -> int:
    """Return the number of rows, also of a sparse matrix, which has no len."""
    return X.shape[0] if hasattr(X, "shape") else len(X)


_RESPONSES = ("predict_proba", "decision_function", "predict_log_proba")


class _Checked:
    """A fitted model as a scorer sees it: everything that it has, and labels that are checked from `predict`. See `_checked`."""

    def __init__(self, model: Any, split: Split, X: Any, given: Any):
        self._model, self._split, self._X, self._given = model, split, X, given

    def __getattr__(self, name: str) -> Any:
        values = self._split.label_values
        if name in _RESPONSES:
            return self._response(getattr(self._model, name))
        if name != "classes_" or self._split.is_regression:
            return getattr(self._model, name)
        if not hasattr(self._model, name):
            return values
        found, labels = self._model.classes_, _labels(self._model, self._split)
        return found if labels is values else values[codes_among(np.asarray(found), labels)]

    def _response(self, method: Callable) -> Callable:
        @wraps(method)  # scorers read its name
        def respond(X: Any) -> Any:
            return method(self._taken(X))

        return respond

    def _taken(self, X: Any) -> Any:
        """Return what the model takes in place of the inputs that the scorer was given; other inputs as they are."""
        return self._given if X is self._X else X

    def __repr__(self) -> str:
        return repr(self._model)

    def __sklearn_tags__(self) -> Tags:
        if self._split.is_regression:
            return Tags(estimator_type="regressor", target_tags=TargetTags(required=True), regressor_tags=RegressorTags())
        return Tags(estimator_type="classifier", target_tags=TargetTags(required=True), classifier_tags=ClassifierTags())

    def predict(self, X: Any) -> np.ndarray:
        values, model = self._split.label_values, self._model
        if self._split.is_regression:
            return checked_numbers(model.predict(self._taken(X)), n_rows(X), name_of(model))
        return values[checked_codes(model.predict(self._taken(X)), _labels(model, self._split), n_rows(X), name_of(model))]


def _checked(model: Any, split: Split, X: Any, given: Any) -> _Checked:
    """Return the model as a scorer sees it, of a class that is called as the user's model is: scorers name the class in their errors."""
    return type(name_of(model), (_Checked,), {})(model, split, X, given)
