"""Models and datasets that are a user's objects: a spec has names for them, and the caller gives the objects beside it."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from shattering import seeds
from shattering.errors import InputError
from shattering.identity.names import digest_of, is_object, label

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator

Objects = Mapping[str, Any]


def find(name: str, objects: Objects | None) -> Any:
    """Return the object of this name, or one with its content and another label. Raises InputError if it is not among the objects."""
    objects = objects or {}
    same = (own for own in objects if is_object(own) and digest_of(own) == digest_of(name))
    own = name if name in objects else next(same, None)
    if own is None:
        remedy = "expected it to be handed over again, as objects=test.objects of a randomization test"
        raise InputError(f"{label(name)} is an object that only the call that made this run had, {remedy}")
    return objects[own]


def with_seed(model: BaseEstimator, seed: int) -> BaseEstimator:
    """Clone a model and set its random states, nested ones too, to the seed where they are at their default.

    An estimator whose parameters are those alone that were set, as CatBoost's, has its seed at its default if it is none of them.
    What constructors draw from global generators, as weights of a network, follows from the seed, and these are put back.
    """
    from sklearn.base import clone

    from shattering.learners.others import parts

    with seeds.everywhere(seeds.integer(seed, "model")):
        cloned: BaseEstimator = clone(model)  # type: ignore[assignment]  # its annotation says a type or a list
    params, estimators = cloned.get_params(), parts(cloned)
    names = [name for name in params if _is_unset(name, params[name], estimators)]
    names += [f"{place}__{name}".removeprefix("__") for place, part in estimators.items() if (name := _unlisted_seed(part))]
    return cloned.set_params(**dict.fromkeys(names, seed))


def _is_unset(name: str, value: Any, estimators: Mapping[str, Any]) -> bool:
    """Return whether a parameter is a random state at its default, or one of a nested estimator that is None."""
    place, _, last = name.rpartition("__")
    if last != "random_state":
        return False
    default = _parameters(estimators.get(place)).get("random_state")
    return (bool(place) and value is None) or value == (default.default if default else None)


def _unlisted_seed(estimator: Any) -> str:
    """Return the parameter for the seed that an estimator's constructor has and `get_params` does not list; or nothing."""
    seeds = [name for name in ("random_state", "random_seed") if name in _parameters(estimator)]
    return seeds[0] if seeds and not {*seeds} & {*estimator.get_params(deep=False)} else ""


def _parameters(estimator: Any) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(type(estimator)).parameters
    except ValueError:  # of a compiled class
        return {}
