"""Find the values that a user's function uses from outside of it, which one fit could hand on to the next."""

import inspect
import random
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import nn

from shattering import seeds
from shattering.errors import InputError
from shattering.identity.digest import identify
from shattering.identity.installed import origin
from shattering.learners.others import parts
from shattering.networks import BatchNorm, name_of

_MOST = 10**7  # numbers of a tensor, an array or a module, above which it is not looked at
_DEPTH = 4  # of containers and attributes, to which they are looked into
_ITEMS = 1000  # of one container, at most
_SEEDED = (torch.default_generator, np.random.mtrand._rand, getattr(random, "_inst", None))  # the global generators, for every fit


def watch_outside(function: Callable | None) -> Callable[[], list[str]]:
    """Look at the torch modules, tensors, arrays and generators that a function, and functions of its module that it calls, use by name.

    Names are global ones, those of closures, defaults and attributes of a class, and those of the arguments that a partial function holds,
    but for the function itself: it is copied for each fit, and so are these, and the attributes of an object that is called. Lists and
    numbers, which may count or log, are left out. Of containers and objects it matters whether what is in them is changed in place.

    Args:
        function: a training function, or the class of an estimator.

    Returns:
        A function that gives the names of those that have changed since.
    """
    before, within = _held(function), {}
    for name, value in _reached(function):
        if held := [leaf for leaf in _leaves(value) if leaf is not value and _tensors(leaf)]:
            within[name] = (held, _digest(held, name))

    def changed() -> list[str]:
        after = _held(function)
        inner = [name for name, (held, digest) in within.items() if _digest(held, name) != digest]
        return [*(name for name in before if before[name] != after.get(name)), *inner]

    return changed


def watch_estimator(estimator: Any) -> Callable[[], tuple[str, ...]]:
    """Look, as `watch_outside` does, at what the classes of an estimator, and of those within, use and hold, if they are the user's.

    Returns a function that gives a sentence for each class whose instances have changed something of that since.
    """
    classes = dict.fromkeys(type(part) for part in parts(estimator).values() if origin(type(part).__module__) is None)
    watched = {cls.__name__: watch_outside(cls) for cls in classes}

    def told() -> tuple[str, ...]:
        found = {name: ", ".join(changed()) for name, changed in watched.items()}
        return tuple(
            f"The fit of {name} has changed {names}, which all fits share, so that they are not independent: make such things in fit."
            for name, names in found.items()
            if names
        )

    return told


def watch_factory(factory: Callable) -> Callable[[nn.Module], None]:
    """Look at what a factory uses from outside of it, and return a function that checks the module which it then gives.

    That raises InputError if a fit of the module would go on from the one before: if it has weights, or running averages, of a module
    from outside of the factory, or was made with numbers that a generator from outside drew. Frozen parameters may be shared.
    """
    drawn_from = watch_generators(factory)

    def check(module: nn.Module) -> None:
        if names := drawn_from():
            raise InputError(
                f"{name_of(factory)} drew from {_generators(names)} from outside of it, so that each fit would go on from the one before, "
                "expected draws of torch's global generator, which is seeded for every fit"
            )
        _check_not_shared(module, factory)

    return check


def watch_network(module: nn.Module, *functions: Any) -> Callable[[], str]:
    """Look at the generators that the user's classes of a network, and functions such as its loss, use from outside of them.

    Returns a function that gives a sentence if numbers were drawn of one since, and an empty text if not.
    """
    classes = {type(part): None for part in module.modules() if origin(type(part).__module__) is None}
    drawn_from = watch_generators(*classes, *(one if inspect.isroutine(one) else type(one) for one in functions if callable(one)))

    def told() -> str:
        if not (names := drawn_from()):
            return ""
        shared = f"{_generators(names)}, which all fits share, so that they are not independent"
        return f"The training drew from {shared}: torch's global generator is seeded for every fit."

    return told


def watch_generators(*functions: Callable) -> Callable[[], list[str]]:
    """Look at the generators of Python, NumPy and torch that functions or classes use from outside of them, but for the global ones.

    Returns a function that gives the names of those that numbers were drawn of since.
    """
    used = [(name, leaf) for function in functions for name, value in _reached(function) for leaf in _leaves(value) if _is_generator(leaf)]
    before = [(name, generator, _digest([generator])) for name, generator in used]
    return lambda: list(dict.fromkeys(name for name, generator, digest in before if _digest([generator]) != digest))


def _check_not_shared(module: nn.Module, factory: Callable) -> None:
    trained = {id(parameter) for parameter in module.parameters() if parameter.requires_grad}
    averages = {id(part) for part in module.modules() if isinstance(part, BatchNorm) and part.training and part.track_running_stats}
    for name, value in _reached(factory):
        for part in (part for leaf in _leaves(value) if isinstance(leaf, nn.Module) for part in leaf.modules()):
            shares = any(id(parameter) in trained for parameter in part.parameters())
            if shares or id(part) in averages:
                what = "weights" if shares else "running averages of batch normalization"
                raise InputError(
                    f"{name_of(factory)} gave a module with {what} of {name}, which is outside of it, so that each fit would go on from "
                    f"the one before, expected new ones at every call, as of copy.deepcopy({name})"
                )


def _held(function: Callable | None) -> dict[str, str]:
    """Return digests of the modules, tensors, arrays and generators that a function reaches, by name."""
    return {name: _digest([value], name) for name, value in _reached(function) if _tensors(value)}


def _digest(leaves: list, name: str = "it") -> str:
    return identify([tensor for leaf in leaves for tensor in _tensors(leaf)], name)[0]


def _reached(function: Callable | None) -> Iterator[tuple[str, Any]]:
    """Yield name and value of all that a function, and functions and classes of its module that it calls, use from outside."""
    called = unwrapped(function)
    if not (inspect.isfunction(called) or inspect.ismethod(called) or isinstance(called, type)):
        called = getattr(called, "__call__", None)  # noqa: B004  # the method of an object that is called
    left = [called]
    seen = {id(called)}
    while left:
        for name, value in _used(left.pop()).items():
            is_near = (inspect.isfunction(value) or isinstance(value, type)) and value.__module__ == getattr(called, "__module__", None)
            if id(value) in seen:
                continue
            seen.add(id(value))
            if is_near or isinstance(value, partial):
                left.append(value)
            else:
                yield name, value


def unwrapped(function: Any) -> Any:
    """Return the function that a partial function calls, or the function itself."""
    while isinstance(function, partial):
        function = function.func
    return function


def _used(function: Any) -> dict[str, Any]:
    if isinstance(function, partial):
        arguments = {f"argument {place} of {_name(function)}": value for place, value in enumerate(function.args, 1)}
        return {_name(function): function.func, **arguments, **function.keywords}
    if isinstance(function, type):
        return _used_by_class(function)
    if not (inspect.isfunction(function) or inspect.ismethod(function)):
        return {}
    parameters = inspect.signature(function).parameters.values()
    defaults = {parameter.name: parameter.default for parameter in parameters if parameter.default is not parameter.empty}
    try:
        found = inspect.getclosurevars(function)
    except ValueError:  # a variable of the closure that has no value yet
        return defaults
    return {**found.globals, **found.nonlocals, **defaults}


def _used_by_class(cls: type) -> dict[str, Any]:
    """Return the attributes of a class, and what its methods use; of those that it extends, too, if they are the user's."""
    own = [vars(one) for one in reversed(cls.__mro__) if origin(one.__module__) is None]
    attributes = {name: getattr(value, "__func__", value) for names in own for name, value in names.items() if not name.startswith("__")}
    methods = [names[name] for names in own for name in ("__init__", "__call__") if name in names]
    methods += [value for value in attributes.values() if inspect.isfunction(value)]
    return {name: value for method in methods for name, value in _used(method).items()} | {
        name: value for name, value in attributes.items() if not inspect.isroutine(value)
    }


def _name(function: Any) -> str:
    called = unwrapped(function)
    return getattr(called, "__name__", type(called).__name__)


def _leaves(value: Any, depth: int = _DEPTH) -> Iterator[Any]:
    """Yield the modules, tensors, arrays and generators that a value is or holds, in containers and attributes."""
    if isinstance(value, (nn.Module, torch.Tensor, np.ndarray)) or _is_generator(value):
        yield value
    elif depth and not isinstance(value, (type, ModuleType)) and not inspect.isroutine(value):
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else _attributes(value)
        for one in islice(inner, _ITEMS):
            yield from _leaves(one, depth - 1)


def _attributes(value: Any) -> Iterator[Any]:
    found = getattr(value, "__dict__", None)
    return iter(list(found.values()) if isinstance(found, dict) else ())


def _tensors(value: Any) -> list:
    """Return the values of a torch module, tensor, array or generator; none of another object, and of a large one."""
    if _is_generator(value):
        return [seeds.state_of(value)]
    if isinstance(value, np.ndarray):
        return [value] if value.dtype.kind in "biufc" and value.size <= _MOST else []
    tensors = [*value.parameters(), *value.buffers()] if isinstance(value, nn.Module) else [value]
    if not all(isinstance(one, torch.Tensor) and not torch.nn.parameter.is_lazy(one) for one in tensors):
        return []
    return [one.detach() for one in tensors] if sum(one.numel() for one in tensors) <= _MOST else []


def _is_generator(value: Any) -> bool:
    return not any(value is one for one in _SEEDED) and seeds.state_of(value) is not None


def _generators(names: list[str]) -> str:
    return f"the generator{'s' * (len(names) > 1)} {', '.join(names)}"
