"""`held_outside` finds the values that a training function uses from outside of it, which one fit could hand on to the next."""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from shattering.identity.digest import identify

_MOST = 10**7  # numbers of a tensor, an array or a module, above which it is not looked at


def held_outside(function: Callable | None) -> dict[str, str]:
    """Return digests of the torch modules, tensors and arrays that a function, and functions of its module that it calls, use by name.

    Names are global ones, those of closures, and those of the arguments that a partial function holds, but for the function itself: it is
    copied for each fit, and so are these, and the attributes of an object that is called. Lists and numbers, which may count or log, are
    left out.
    """
    called = unwrapped(function)
    if not (inspect.isfunction(called) or inspect.ismethod(called)):
        called = getattr(called, "__call__", None)  # noqa: B004  # the method of an object that is called
    named, left = {}, [called]
    seen: set[int] = set()
    while left:
        for name, value in _used(left.pop()).items():
            is_near = inspect.isfunction(value) and value.__module__ == getattr(called, "__module__", None)
            if (is_near or isinstance(value, partial)) and id(value) not in seen:
                seen.add(id(value))
                left.append(value)
            elif tensors := _tensors(value):
                named[name] = identify(tensors, name)[0]
    return named


def unwrapped(function: Any) -> Any:
    """Return the function that a partial function calls, or the function itself."""
    while isinstance(function, partial):
        function = function.func
    return function


def _used(function: Any) -> dict[str, Any]:
    if isinstance(function, partial):
        arguments = {f"argument {place} of {_name(function)}": value for place, value in enumerate(function.args, 1)}
        return {_name(function): function.func, **arguments, **function.keywords}
    if not (inspect.isfunction(function) or inspect.ismethod(function)):
        return {}
    try:
        found = inspect.getclosurevars(function)
    except ValueError:  # a variable of the closure that has no value yet
        return {}
    return {**found.globals, **found.nonlocals}


def _name(function: Any) -> str:
    called = unwrapped(function)
    return getattr(called, "__name__", type(called).__name__)


def _tensors(value: Any) -> list:
    """Return the values of a torch module, tensor or array; none of another object, and of a large one."""
    if isinstance(value, np.ndarray):
        return [value] if value.dtype.kind in "biufc" and value.size <= _MOST else []
    tensors = [*value.parameters(), *value.buffers()] if isinstance(value, nn.Module) else [value]
    if not all(isinstance(one, torch.Tensor) and not torch.nn.parameter.is_lazy(one) for one in tensors):
        return []
    return [one.detach() for one in tensors] if sum(one.numel() for one in tensors) <= _MOST else []
