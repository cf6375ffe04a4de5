"""These functions recognize estimators of other libraries, also where pipelines, searches and ensembles nest them."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from shattering.errors import InputError

_OF_SKORCH = {  # what torch says where a net of skorch's gets other inputs than it takes, and what to do
    "must have the same dtype|expected scalar type|Input type": "expected float32 before the net of skorch's, as of "
    "FunctionTransformer(np.float32) in a pipeline",
    r"forward\(\) got an unexpected keyword argument": "skorch hands the columns of a DataFrame to forward by their names, expected an "
    "array: X.to_numpy(np.float32)",
}
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


@contextmanager
def of_skorch_told(estimator: Any) -> Iterator[None]:
    """Say of an error that torch raises for the inputs of a net of skorch's, also a nested one, what to do."""
    try:
        yield
    except (RuntimeError, TypeError, ValueError) as error:
        if isinstance(error, InputError) or not has_skorch(estimator):
            raise
        for said, remedy in _OF_SKORCH.items():
            line = re.search(f".*({said}).*", str(error))
            if line:
                told = re.sub(r"^(RuntimeError|TypeError): ", "", line[0].strip())
                raise InputError(f"{type(estimator).__name__}: {told}; {remedy}") from error
        raise


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
    """Return a sentence on each instance of a torch module that a net of skorch's was given: its copies start from the weights it has."""
    nets = [part for part in parts(estimator).values() if is_of("skorch", part)]
    given = [(net, value) for net in nets for value in net.get_params(deep=False).values() if _is_trained(value)]
    return tuple(
        f"Every fit, of the data and of each randomized copy, started from the weights that the instance of {type(module).__name__} had "
        f"when {type(net).__name__} was given it: give {type(net).__name__} its class, and its arguments as module__…, to draw them anew."
        for net, module in given
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


def inputs_within(estimator: Any, X: Any) -> Any:
    """Return inputs as an estimator takes them: arrays of floats as float32 where it is a net of skorch's, or has one within."""
    is_floats = isinstance(X, np.ndarray) and X.dtype.kind == "f" and X.dtype != np.float32
    return X.astype(np.float32) if is_floats and has_skorch(estimator) else X


def targets_within(estimator: Any, y: np.ndarray) -> np.ndarray:
    """Return the targets (n,) of a regression as an estimator takes them: a column of float32 for skorch's regressors, also nested ones."""
    return y.astype(np.float32)[:, None] if has_skorch(estimator, "NeuralNetRegressor") else y
