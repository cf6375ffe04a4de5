"""These functions recognize estimators of other libraries, also where pipelines, searches and ensembles nest them."""

from typing import Any

import numpy as np
import torch

_COUNTING = ("skorch", "xgboost")  # libraries whose classifiers take no labels other than 0…k-1


def wants_codes(estimator: Any) -> bool:
    """Return whether an estimator's library has classifiers for labels 0…k-1 alone. See `labels_within` for nested ones."""
    return any(is_of(library, estimator) for library in _COUNTING)


def is_skorch(estimator: Any, name: str | None = None) -> bool:
    """Return whether it is a net of skorch's. name: of which class; None: of any."""
    return is_of("skorch", estimator, name)


def parts(estimator: Any) -> dict[str, Any]:
    """Return an estimator, named "", and those that it consists of, by the names of their parameters."""
    params = estimator.get_params() if hasattr(estimator, "get_params") else {}
    nested = {name: value for name, value in params.items() if hasattr(value, "get_params") and not isinstance(value, type)}
    return {"": estimator, **nested}


def is_of(library: str, estimator: Any, name: str | None = None) -> bool:
    """Return whether an estimator extends a class of a library. name: of which class; None: of any."""
    return any(cls.__module__.partition(".")[0] == library and name in (None, cls.__name__) for cls in type(estimator).__mro__)


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
