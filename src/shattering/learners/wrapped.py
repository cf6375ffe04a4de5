"""Users' models that are no plain scikit-learn estimators, as models that take a `Split`."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import wraps
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.utils import Tags
from torch import nn

from shattering import seeds
from shattering.data.arrays import as_images
from shattering.data.channels import A_SPLIT
from shattering.data.labels import codes_among
from shattering.data.preprocess import check_float32
from shattering.data.rows import Rows
from shattering.data.split import Split, original
from shattering.errors import InputError, a_type, reason
from shattering.learners.on_splits import n_rows
from shattering.learners.others import given_weights, is_of, is_skorch, targets_within, wants_codes
from shattering.learners.outside import unwrapped, watch_outside
from shattering.learners.own import FitRecord, OwnModel
from shattering.learners.predictions import as_array, checked_codes, checked_numbers, in_order, kind_of_model
from shattering.learners.remedies import remedies_told

_FAR_BETTER = 0.2  # a share of examples


class TrainingFunction(OwnModel, ClassifierMixin, BaseEstimator):
    """A user's `train(split, seed) → predict` as a classifier.

    Both functions get copies, which they may change. Those that predict gets have no labels: all are 0. Global
    generators are seeded for the training, and put back.
    """

    takes_splits = True

    def __init__(self, train=None, random_state=0):
        self.train = train
        self.random_state = random_state

    def __sklearn_tags__(self) -> Tags:
        """Return the tags of a classifier that may be a regressor as well: the labels say which."""
        tags = super().__sklearn_tags__()
        tags.estimator_type = None
        return tags

    def fit(self, split: Split, **_):
        """Call the function. Raises InputError if it returns no function."""
        self.classes_, self._first = split.label_values, split.subset(torch.tensor([0]))
        changed = watch_outside(self.train)
        with seeds.everywhere(self.random_state), _type_named(split):
            self.predict_ = self.train(split.copy(), seed=self.random_state)  # type: ignore[misc]  # a field that holds a function
        if not callable(self.predict_) or isinstance(self.predict_, (type, nn.Module)) or _is_of_estimator(self.predict_):
            raise InputError(f"{self.name_in_messages()} returned {_returned(self.predict_)}")
        self._changed = changed()
        return self

    def record(self) -> FitRecord:
        """Return what a stored run reports of a fit: whether it has changed tensors from which the next one in this process starts."""
        if not self._changed:
            return FitRecord()
        what = f"{self.name_in_messages()} has changed {', '.join(self._changed)}, from outside of it"
        return FitRecord(notes=(f"The training function {what}, so that its fits are not independent: make such things inside of it.",))

    def predict(self, X) -> np.ndarray:
        """Return the labels (n,) of the classes 0…k-1 (n,) or scores (n, k) that the function gives. Raises InputError for others."""
        split = _blank(X.copy()) if isinstance(X, Split) else _unlabelled(X, self._first)
        with torch.no_grad():
            found = self.predict_(split)
        if not split.is_regression:
            found = in_order(found, self.classes_, self._what)
        found = as_array(found, self.name_in_messages())
        if split.is_regression:
            return checked_numbers(found, len(split), self.name_in_messages())
        n, k = len(split), len(self.classes_)
        if found.ndim == 2 and len(found) == n and found.shape[1] >= max(k, 2):
            return self.classes_[self._largest(found)]
        if found.shape not in ((n,), (n, 1)):
            raise InputError(f"{self._what} returned shape {found.shape}, expected ({n},) classes 0…{k - 1} or ({n}, {k}) scores")
        found = found.reshape(n)
        codes, places = codes_among(found, np.arange(k)), codes_among(found, self.classes_)
        if (places >= 0).all() and ((codes < 0).any() or (isinstance(X, Split) and _are_labels(codes, places, X.labels.numpy()))):
            remedy = "expected the numbers of the classes, as of np.searchsorted(split.label_values, labels)"
            raise InputError(f"{self._what} returned the labels themselves, such as {found.tolist()[0]!r}, {remedy}")
        return self.classes_[checked_codes(found, np.arange(k), n, self.name_in_messages())]

    def _largest(self, scores: np.ndarray) -> np.ndarray:
        """Return the class of the largest score (n,)."""
        if scores.dtype.kind not in "biuf":
            raise InputError(f"{self._what} returned scores of type {scores.dtype}, expected numbers")
        missing = int(np.isnan(scores).any(1).sum())
        if missing:
            found = f"scores {scores.shape} with NaN for {missing} of {len(scores)} examples"
            raise InputError(f"{self._what} returned {found}, expected a number for each class")
        return checked_codes(scores.argmax(1), np.arange(len(self.classes_)), len(scores), self.name_in_messages())

    @property
    def _what(self) -> str:
        return f"the predict function of {self.name_in_messages()}"

    def name_in_messages(self) -> str:
        """Return the function's name."""
        called = unwrapped(self.train)
        return getattr(called, "__qualname__", type(called).__name__)


class Wrapped(OwnModel, ClassifierMixin, BaseEstimator):
    """An estimator that wants images (n, c, h, w) instead of a table, or labels 0…k-1 instead of the user's.

    skorch's nets want both, and floats as float32; XGBoost's classifiers such labels. Global generators are seeded for it, and put back.
    """

    takes_splits = True

    def __init__(self, estimator=None, images=True, random_state=0):
        self.estimator = estimator
        self.images = images
        self.random_state = random_state

    def __sklearn_tags__(self) -> Tags:
        """Return the tags of a model of the estimator's kind."""
        tags = super().__sklearn_tags__()
        tags.estimator_type = kind_of_model(self.estimator)  # type: ignore[assignment]  # a name of a kind
        return tags

    def fit(self, split: Split, **_):
        """Fit a clone of the estimator."""
        self._first, self._present = split.subset(torch.tensor([0])), np.arange(split.n_classes)
        if is_of("xgboost", self.estimator) and not split.is_regression:
            self._present = np.unique(split.labels.numpy())  # of a fold that lacks classes; its classifiers take no gaps
        self.classes_ = split.label_values[self._present]
        self._labels = np.arange(len(self._present)) if wants_codes(self.estimator) else split.label_values  # what it is fitted to
        if is_skorch(self.estimator) and split.kind == "table" and not isinstance(split.inputs, Rows):
            check_float32(split.inputs, "standardized features")
        with remedies_told(self.estimator), seeds.everywhere(self.random_state), _type_named(split):
            self.estimator_ = clone(self.estimator)
            self.estimator_.fit(self._inputs(split), self._targets(split))  # type: ignore[union-attr]  # it has fit
        return self

    def predict(self, X) -> np.ndarray:
        """Return the labels (n,)."""
        inputs = self._inputs(X)
        predicted = self.estimator_.predict(inputs)  # type: ignore[union-attr]  # it has predict
        if self._first.is_regression:
            return checked_numbers(predicted, n_rows(inputs), self.name_in_messages())
        return self.classes_[checked_codes(predicted, self._labels, n_rows(inputs), self.name_in_messages())]

    def _targets(self, split: Split) -> np.ndarray:
        """Return the labels that the estimator is fitted to. skorch's regressors take a column (n, 1) of float32.

        skorch's binary classifiers compare labels with one logit, in its type.
        """
        if not split.is_regression:
            labels = self._labels[np.searchsorted(self._present, split.labels.numpy())]
            return labels.astype(np.float32) if is_skorch(self.estimator, "NeuralNetBinaryClassifier") else labels
        return targets_within(self.estimator, split.y)

    def record(self) -> FitRecord:
        """Return what a stored run reports of a fit: whether a net of skorch's has started from given weights."""
        return FitRecord(notes=given_weights(self.estimator))

    def name_in_messages(self) -> str:
        """Return the class of the estimator."""
        return type(self.estimator).__name__

    def __getattr__(self, name: str) -> Any:
        """Give `predict_proba` and `decision_function`, where the estimator has them."""
        if name not in ("predict_proba", "decision_function") or "estimator_" not in vars(self):
            raise AttributeError(f"{type(vars(self).get('estimator')).__name__!r} object has no attribute {name!r}")
        method = getattr(self.estimator_, name)

        @wraps(method)  # scorers read its name
        def respond(X: Any) -> Any:
            return method(self._inputs(X))

        return respond

    def _inputs(self, X) -> Any:
        split = X if isinstance(X, Split) else _unlabelled(X, self._first)
        if isinstance(split.inputs, Rows) or (split.kind != "images" and not is_skorch(self.estimator)):
            return split.X
        values = original(split.inputs)
        values = values if self.images or split.kind != "images" else values.flatten(1)
        return (values.float() if is_skorch(self.estimator) and values.is_floating_point() else values).numpy()


@contextmanager
def _type_named(split: Split) -> Iterator[None]:
    """Say of an error that torch raises for a type which type the inputs have."""
    try:
        yield
    except RuntimeError as error:
        in_float32 = isinstance(split.inputs, Rows) or split.inputs.dtype == torch.float32
        if in_float32 or not re.search("dtype|scalar type|Input type", str(error)):
            raise
        said = f"the inputs are of type {str(split.inputs.dtype).removeprefix('torch.')}, as they were given"
        raise InputError(f"{reason(error)}; {said}, expected the type of the network (such as .float())") from error


def _are_labels(codes: np.ndarray, places: np.ndarray, labels: np.ndarray) -> bool:
    """Return whether predictions that may be numbers of classes, and labels, are labels: these agree far better with those of the examples.

    Args:
        codes: (n,) the predictions as numbers of classes.
        places: (n,) the numbers of the classes whose labels they are.
        labels: (n,) the numbers of the classes of the examples.
    """
    never_first = 0 in labels and 0 not in codes  # as of labels 1…k, of which the last is never predicted
    return never_first and float(np.mean(places == labels)) > float(np.mean(codes == labels)) + _FAR_BETTER


def _is_of_estimator(predict: Any) -> bool:
    """Return whether a function is a method of an estimator of scikit-learn's, which takes no split."""
    owner = getattr(predict, "__self__", None)
    return isinstance(owner, BaseEstimator) and not isinstance(owner, OwnModel)


def _returned(predict: Any) -> str:
    """Say what a training function returned in place of a function, and what is expected of it."""
    if _is_of_estimator(predict):
        method = f"{type(predict.__self__).__name__}.{predict.__name__}"
        return f"{method}, which takes no split, expected a function of one: lambda new: model.{predict.__name__}(new.X)"
    if isinstance(predict, nn.Module):
        return f"{a_type(predict)}, which is a torch module, expected a function of a split: lambda new: net(new.inputs.float())"
    if isinstance(predict, type):
        return f"the class {predict.__name__}, expected a function: predict(split) → classes"
    return f"{a_type(predict)}, expected a function: predict(split) → classes"


def _blank(split: Split) -> Split:
    """Return the split with labels that mean nothing."""
    return replace(split, labels=torch.zeros_like(split.labels), true_labels=torch.zeros_like(split.true_labels))


def _unlabelled(X, like: Split) -> Split:
    """Return arrays as a split whose labels mean nothing. like: a split with such images, of the same classes."""
    inputs: Any = Rows(X) if isinstance(like.inputs, Rows) else as_images(X, like=like.input_shape, remedy=A_SPLIT)
    labels = torch.zeros(len(inputs), dtype=like.labels.dtype)
    return Split(inputs, labels, like.classes, label_values=like.label_values, kind=like.kind)
