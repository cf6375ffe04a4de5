"""These functions recognize estimators of other libraries, also where pipelines, searches and ensembles nest them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from shattering.errors import InputError, shown

_COUNTING = ("skorch", "xgboost")  # libraries whose classifiers take no labels other than 0…k-1


def wants_codes(estimator: Any) -> bool:
    """Return whether an estimator's library has classifiers for labels 0…k-1 alone. See `labels_within` for nested ones."""
    return any(is_of(library, estimator) for library in _COUNTING)


def is_skorch(estimator: Any, name: str | None = None) -> bool:
    """Return whether it is a net of skorch's. name: of which class; None: of any."""
    return is_of("skorch", estimator, name)


def has_skorch(estimator: Any, name: str | None = None) -> bool:
    """Return whether it is a net of skorch's, or has one within. name: of which class; None: of any."""
    return any(is_skorch(part, name) for part in parts(estimator).values())


def parts(estimator: Any) -> dict[str, Any]:
    """Return an estimator, named "", and those that it consists of, by the names of their parameters."""
    params = estimator.get_params() if hasattr(estimator, "get_params") else {}
    nested = {name: value for name, value in params.items() if hasattr(value, "get_params") and not isinstance(value, type)}
    return {"": estimator, **nested}


def is_of(library: str, estimator: Any, name: str | None = None) -> bool:
    """Return whether an estimator extends a class of a library. name: of which class; None: of any."""
    return any(cls.__module__.partition(".")[0] == library and name in (None, cls.__name__) for cls in type(estimator).__mro__)


def semi_supervised(estimator: Any) -> Any:
    """Return the estimator, or one within, that takes labels of -1 for missing ones; None: there is none."""
    return next((part for part in parts(estimator).values() if type(part).__module__.startswith("sklearn.semi_supervised")), None)


def given_weights(estimator: Any) -> tuple[str, ...]:
    """Return a sentence on each instance of a torch module that an estimator was given: its copies start from the weights it has."""
    fits, found = "Every fit, of the data and of each randomized copy,", []
    for part in parts(estimator).values():
        held = part.get_params(deep=False).values() if hasattr(part, "get_params") else ()
        for module in (value for value in held if _is_trained(value)):
            name, what = type(part).__name__, f"the instance of {type(module).__name__}"
            if is_skorch(part):
                found.append(
                    f"{fits} started from the weights that {what} had when {name} was given it: give {name} its class, and its arguments "
                    "as module__…, to draw them anew."
                )
            else:
                found.append(
                    f"{fits} got a copy of {what} with the weights that it had when {name} was given it, and starts from these unless "
                    f"{name} draws others: give it the class, or a function that makes one."
                )
    return tuple(found)


def check_callbacks(estimator: Any, at_a_time: int | None = 1) -> None:
    """Raise InputError for callbacks of skorch's nets by which a fit would start, or end, with the weights of another.

    at_a_time: fits that are made at a time; None: as many as there is room for.
    """
    for net in (part for part in parts(estimator).values() if is_skorch(part)):
        given = net.get_params(deep=False).get("callbacks")
        for callback in given if isinstance(given, (list, tuple)) else ():
            callback = callback[1] if isinstance(callback, tuple) else callback
            kind = callback.__name__ if isinstance(callback, type) else type(callback).__name__
            if kind == "LoadInitState":
                raise InputError(
                    f"{type(net).__name__} has the callback LoadInitState, which starts a fit from the one before, expected none"
                )
            if kind == "Checkpoint" and getattr(callback, "load_best", False) and at_a_time != 1:
                raise InputError(
                    f"jobs is {at_a_time} beside the callback Checkpoint of {type(net).__name__}, whose file fits at the same time would "
                    "write and load, expected 1 job"
                )


def _is_trained(value: object) -> bool:
    return isinstance(value, torch.nn.Module) and any(parameter.requires_grad for parameter in value.parameters())


def labels_within(estimator: Any, labels: np.ndarray) -> np.ndarray:
    """Return the labels (k,) that an estimator is fitted to: those given, or 0…k-1 where it has a nested one that takes no others.

    skorch's binary classifiers compare labels with one logit, in its type.
    """
    nested = [part for place, part in parts(estimator).items() if place and wants_codes(part)]
    if any(is_skorch(part, "NeuralNetBinaryClassifier") for part in nested):
        return np.arange(len(labels), dtype=np.float32)
    codes = np.arange(len(labels))
    return codes if nested and labels.tolist() != codes.tolist() else labels


_OF_LABELS = ("class_weight", "pos_label", "outlier_label")


def check_no_labels_within(estimator: Any, labels: np.ndarray) -> None:
    """Raise InputError for a parameter that says something of labels (k,), where the estimator is fitted to 0…k-1 in their place."""
    values = labels.tolist()
    if labels_within(estimator, labels).tolist() == values:
        return
    for part in parts(estimator).values():
        for name, said in part.get_params(deep=False).items():
            of = list(said) if isinstance(said, Mapping) else [said]
            if name in _OF_LABELS and any(label in values for label in of):
                counting = next(type(one).__name__ for one in parts(estimator).values() if wants_codes(one))
                raise InputError(
                    f"{name} of {type(part).__name__} is {shown(said)}, by your labels, and {counting} beside it takes 0…{len(values) - 1} "
                    "alone, which all of the model gets in their place, expected these in the data, too"
                )


def inputs_within(estimator: Any, X: Any) -> Any:
    """Return inputs as an estimator takes them: arrays of floats as float32 where it is a net of skorch's, or has one within."""
    is_floats = isinstance(X, np.ndarray) and X.dtype.kind == "f" and X.dtype != np.float32
    return X.astype(np.float32) if is_floats and has_skorch(estimator) else X


def targets_within(estimator: Any, y: np.ndarray) -> np.ndarray:
    """Return the targets (n,) of a regression as an estimator takes them: a column of float32 for skorch's regressors, also nested ones."""
    return y.astype(np.float32)[:, None] if has_skorch(estimator, "NeuralNetRegressor") else y
