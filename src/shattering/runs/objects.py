"""Models and datasets that are a user's objects: a spec has names for them, and the caller gives the objects beside it."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from shattering.errors import InputError

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator

Objects = Mapping[str, Any]
_PREFIX = "object:"


def name_of(label: str, digest: str) -> str:
    """Return the name of an object in a spec: "object:LABEL:DIGEST". The digest of its content and source is its identity."""
    return f"{_PREFIX}{label.replace(':', '.')}:{digest}"


def is_object(name: str) -> bool:
    """Return whether the dataset or model of this name is an object."""
    return name.startswith(_PREFIX) and name.count(":") == 2


def label(name: str) -> str:
    """Return the object's label."""
    return name.split(":")[1]


def digest_of(name: str) -> str:
    """Return the object's identity, without its label."""
    return _PREFIX + name.split(":")[2]


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
