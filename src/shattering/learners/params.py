"""The parameters of a `NetworkClassifier`: whether they are in range, and what its random_state means."""

from typing import Any

import numpy as np

from shattering import networks
from shattering.data.augment import strengths
from shattering.errors import InputError
from shattering.parameters import check_fields


def check_params(learner: Any) -> None:
    """Raise InputError for the first parameter of a `NetworkClassifier` that is out of range."""
    check_fields(learner)
    strengths(learner.augment)
    _check_asynchronous(learner)
    if isinstance(learner.network, str):
        networks.find_network(learner.network)
        if learner.auxiliary:
            networks.check_auxiliary(learner.network)


def _check_asynchronous(learner: Any) -> None:
    if learner.staleness is not None and not learner.asynchronous:
        raise InputError(f"staleness is {learner.staleness} where asynchronous is 0, expected a number of workers there, or no staleness")
    others = {"accumulate": (1, "1"), "compile": (False, "false")}
    for name, (value, said) in others.items() if learner.asynchronous else ():
        if getattr(learner, name) != value:
            raise InputError(
                f"{name} is {getattr(learner, name)!r} where asynchronous is {learner.asynchronous}, expected {said} beside it"
            )
    if learner.asynchronous and str(learner.device) not in ("auto", "cpu"):
        raise InputError(f"device is {str(learner.device)!r} where asynchronous is {learner.asynchronous}, expected auto or cpu beside it")


def as_seed(random_state) -> int:
    """scikit-learn's random_state as an integer: an integer is itself, None is fresh entropy."""
    if random_state is None:
        return int(np.random.SeedSequence().generate_state(1)[0])
    return int(random_state.randint(2**31)) if isinstance(random_state, np.random.RandomState) else int(random_state)
