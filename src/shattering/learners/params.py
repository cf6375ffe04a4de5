"""The parameters of a `NetworkClassifier`: whether they are in range, and what its random_state means."""

from typing import Any

import numpy as np

from shattering import networks
from shattering.data.augment import strengths
from shattering.errors import InputError
from shattering.parameters import check_fields


def check_params(model: Any) -> None:
    """Raise InputError for the first parameter of a `NetworkClassifier` that is out of range."""
    check_fields(model)
    strengths(model.augment)
    _check_asynchronous(model)
    if isinstance(model.network, str):
        networks.find_network(model.network)
        if model.auxiliary:
            networks.check_auxiliary(model.network)


def _check_asynchronous(model: Any) -> None:
    if model.staleness is not None and not model.asynchronous:
        raise InputError(f"staleness is {model.staleness} where asynchronous is 0, expected a number of workers there, or no staleness")
    others = {"accumulate": (1, "1"), "compile": (False, "false")}
    for name, (value, said) in others.items() if model.asynchronous else ():
        if getattr(model, name) != value:
            raise InputError(f"{name} is {getattr(model, name)!r} where asynchronous is {model.asynchronous}, expected {said} beside it")
    if model.asynchronous and str(model.device) not in ("auto", "cpu"):
        raise InputError(f"device is {str(model.device)!r} where asynchronous is {model.asynchronous}, expected auto or cpu beside it")


def as_seed(random_state) -> int:
    """scikit-learn's random_state as an integer: an integer is itself, None is fresh entropy."""
    if random_state is None:
        return int(np.random.SeedSequence().generate_state(1)[0])
    return int(random_state.randint(2**31)) if isinstance(random_state, np.random.RandomState) else int(random_state)
