"""The parameters of a `NetworkClassifier`: whether they are in range, and what its random_state means."""

from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np

from shattering import networks
from shattering.data.augment import strengths
from shattering.errors import InputError, unknown

_PRECISIONS = ("float32", "bfloat16")
_STANDARDIZE = ("auto", "image", "feature", "range", "none")


def check_params(learner: Any) -> None:
    """Raise InputError for the first parameter of a `NetworkClassifier` that is out of range."""
    for name in ("epochs", "batch_size", "accumulate"):
        _check(name, getattr(learner, name), Integral, 1)
    if learner.learning_rate is not None:
        _check("learning_rate", learner.learning_rate, Real, 0)
    if learner.workers is not None:
        _check("workers", learner.workers, Integral, 0)
    if learner.order_seed is not None:
        _check("order_seed", learner.order_seed, Integral, 0)
    if learner.decay_steps not in ("auto", None):
        _check("decay_steps", learner.decay_steps, Integral, 1)
    _check("momentum", learner.momentum, Real, 0, 1)
    _check("decay", learner.decay, Real, 0, 1)
    _check("weight_decay", learner.weight_decay, Real, 0)
    for name in ("dropout", "label_smoothing"):
        _check(name, getattr(learner, name), Real, 0, 1)
    _check("auxiliary", learner.auxiliary, Real, 0)
    if learner.weights is not None and not isinstance(learner.weights, (str, Path)):
        raise InputError(f"weights is a {type(learner.weights).__name__}, expected the path of a file")
    strengths(learner.augment)
    _check_asynchronous(learner)
    _check("checkpoint_every", learner.checkpoint_every, Real, 0)
    for name in ("stop_when_fitted", "evaluate_train", "track_examples", "compile", "sync_batch_norm"):
        if not isinstance(getattr(learner, name), (bool, np.bool_)):
            raise InputError(f"{name} is {getattr(learner, name)!r}, expected true or false")
    if learner.crop not in ("auto", None):
        _check("crop", learner.crop, Integral, 1)
    if learner.standardize not in _STANDARDIZE:
        raise unknown("standardize", learner.standardize, _STANDARDIZE)
    if learner.precision not in _PRECISIONS:
        raise unknown("precision", learner.precision, _PRECISIONS)
    if isinstance(learner.network, str):
        networks.find_network(learner.network)
        if learner.auxiliary:
            networks.check_auxiliary(learner.network)
    if not isinstance(learner.network, str) and not callable(learner.network):
        raise InputError(f"network is a {type(learner.network).__name__}, expected a name or a factory (image_shape, n_classes) → module")


def _check_asynchronous(learner: Any) -> None:
    _check("asynchronous", learner.asynchronous, Integral, 0)
    if learner.staleness is not None:
        _check("staleness", learner.staleness, Integral, 0)
        if not learner.asynchronous:
            raise InputError(
                f"staleness is {learner.staleness} where asynchronous is 0, expected a number of workers there, or no staleness"
            )
    others = {"accumulate": (1, "1"), "compile": (False, "false")}
    for name, (value, said) in others.items() if learner.asynchronous else ():
        if getattr(learner, name) != value:
            raise InputError(
                f"{name} is {getattr(learner, name)!r} where asynchronous is {learner.asynchronous}, expected {said} beside it"
            )
    if learner.asynchronous and str(learner.device) not in ("auto", "cpu"):
        raise InputError(f"device is {str(learner.device)!r} where asynchronous is {learner.asynchronous}, expected auto or cpu beside it")


def _check(name: str, value: object, kind: type, low: float, high: float = float("inf")) -> None:
    if isinstance(value, bool) or not isinstance(value, kind) or not low <= value <= high:  # type: ignore[operator]
        what = "a whole number" if kind is Integral else "a number"
        raise InputError(f"{name} is {value!r}, expected {what} {f'in {low}…{high}' if high < float('inf') else f'of at least {low}'}")


def as_seed(random_state) -> int:
    """scikit-learn's random_state as an integer: an integer is itself, None is fresh entropy."""
    if random_state is None:
        return int(np.random.SeedSequence().generate_state(1)[0])
    return int(random_state.randint(2**31)) if isinstance(random_state, np.random.RandomState) else int(random_state)
