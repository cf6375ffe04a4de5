"""Models and datasets that are a user's objects: a spec has names for them, and the caller gives the objects beside it."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from shattering.errors import InputError
from shattering.identity.names import label

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator

Objects = Mapping[str, Any]


def find(name: str, objects: Objects | None) -> Any:
    """Return the object of this name. Raises InputError if it is not among the objects."""
    if objects is None or name not in objects:
        raise InputError(f"{label(name)} is an object that only the call that made this run had, expected it to be handed over again")
    return objects[name]


def with_seed(model: BaseEstimator, seed: int) -> BaseEstimator:
    """Clone a model and set its random states, nested ones too, to the seed where they are at their default."""
    from sklearn.base import clone

    cloned: BaseEstimator = clone(model)  # type: ignore[assignment]  # its annotation says a type or a list
    default = inspect.signature(type(model)).parameters.get("random_state")
    unset = {"random_state": default.default if default else None}
    params = cloned.get_params()
    names = [name for name in params if name.split("__")[-1] == "random_state" and params[name] == unset.get(name)]
    return cloned.set_params(**dict.fromkeys(names, seed))
