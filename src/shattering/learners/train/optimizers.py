"""The optimizers of a network: SGD with momentum, AdamW, or one that a function of the user's makes."""

import inspect
from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import nn

from shattering.errors import InputError, a_type, reason

OptimizerName = Literal["sgd", "adamw"]
_FACTOR = "rate_factor"
DEFAULT_RATE = 0.001  # of AdamW, and of optimizers of the user's; SGD has the papers' rates


def make_optimizer(
    optimizer: OptimizerName | Callable, network: nn.Module, learning_rate: float, momentum: float, weight_decay: float
) -> torch.optim.Optimizer:
    """Make an optimizer of all parameters of a network.

    Args:
        optimizer: "sgd" (with momentum), "adamw" (Loshchilov and Hutter 2019, algorithm 2; momentum is its β₁, and β₂ is 0.999), or
            a function (parameters, learning rate) → optimizer, such as `torch.optim.Adam`.
        network: the module.
        learning_rate: of the first update.
        momentum, weight_decay: of "sgd" and "adamw".

    Raises:
        InputError: for a function that returns something else than an optimizer of all parameters that are trained.
    """
    if optimizer == "sgd":
        return torch.optim.SGD(network.parameters(), lr=learning_rate, momentum=momentum, weight_decay=weight_decay, fused=True)
    if optimizer == "adamw":
        betas = (momentum, 0.999)
        return torch.optim.AdamW(network.parameters(), lr=learning_rate, betas=betas, weight_decay=weight_decay, fused=True)
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    try:
        made = optimizer(trained, learning_rate)  # type: ignore[operator]  # a name is handled above
    except Exception as error:  # whatever the user's function raises
        name = getattr(optimizer, "__name__", type(optimizer).__name__)
        told = f"optimizer {name} raised {reason(error)!r} for the parameters and the learning rate"
        raise InputError(f"{told}, expected a function of these two that returns an optimizer of torch") from error
    _check(made, trained)
    for group in made.param_groups:  # in the optimizer's state, so that a checkpoint keeps it
        group[_FACTOR] = group["lr"] / learning_rate if learning_rate else 1.0
    return made


def set_rates(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of the next update. Groups of parameters keep the ratios that a function of the user's has given them."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get(_FACTOR, 1.0)


def first_rate(optimizer: torch.optim.Optimizer, rate: float) -> float:
    """Return the learning rate that `set_rates` gives the first group of parameters."""
    return rate * optimizer.param_groups[0].get(_FACTOR, 1.0)


def check_optimizer(optimizer: OptimizerName | Callable, momentum: float, weight_decay: float) -> None:
    """Raise InputError for values of momentum and weight_decay that the optimizer does not take, of those in their ranges."""
    if optimizer == "adamw" and momentum >= 1:
        raise InputError(f"momentum is {momentum:g} beside optimizer 'adamw', expected a number in 0…1, below 1")
    if optimizer in get_args(OptimizerName):
        return
    for name, value, default in (("momentum", momentum, 0.9), ("weight_decay", weight_decay, 0.0)):
        if value != default:
            raise InputError(f"{name} is {value:g} beside an optimizer of your own, expected it in the function that makes the optimizer")


def _check(made: object, trained: list[nn.Parameter]) -> None:
    if not isinstance(made, torch.optim.Optimizer):
        raise InputError(f"optimizer returned {a_type(made)}, expected an optimizer of torch")
    closure = inspect.signature(type(made).step).parameters.get("closure")
    if closure is not None and closure.default is closure.empty:
        raise InputError(f"optimizer returned {type(made).__name__}, which evaluates the loss by itself, expected one whose step does not")
    own = {id(parameter) for group in made.param_groups for parameter in group["params"]}
    wanted = {id(parameter) for parameter in trained}
    if own != wanted:
        raise InputError(
            f"optimizer returned an optimizer of {len(own & wanted)} of the {len(wanted)} parameters that are trained and of "
            f"{len(own - wanted)} others, expected one of all and no others (requires_grad=False keeps a parameter as it is)"
        )
