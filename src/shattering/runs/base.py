"""`Spec`: what the specifications of runs have in common, and how an identity is written."""

from __future__ import annotations

import hashlib
import json
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any, ClassVar, Self

from shattering.errors import InputError, a_type, unknown
from shattering.parameters import is_of
from shattering.runs.objects import Objects


class Spec(ABC):
    """The specification of a run: of a model (`RunSpec`), of fits to randomized copies (`PermutationsSpec`), or of a study (`StudySpec`).

    table: name of the table that every finished run of this kind has: "history" or "table".
    """

    table: ClassVar[str]
    params: Mapping[str, object]
    seed: int

    @property
    def run_id(self) -> str:
        """The first 12 hexadecimal digits of a hash of `identity`."""
        return id_of(self.identity())

    @property
    @abstractmethod
    def label(self) -> str:
        """The name of what is executed: the model's or the study's."""

    @property
    @abstractmethod
    def title(self) -> str:
        """A description of the run in words."""

    @property
    @abstractmethod
    def folder_name(self) -> str:
        """A readable name with the run id at its end."""

    @abstractmethod
    def hyperparameters(self) -> dict:
        """Return the parameters that are not at their defaults, in canonical form."""

    @abstractmethod
    def identity(self) -> dict:
        """Return what determines the result, and nothing else."""

    @abstractmethod
    def epochs(self, objects: Objects | None = None) -> int | None:
        """Return the largest number of epochs; None for what is not trained in epochs. objects: the objects that the spec names."""

    @abstractmethod
    def to_json(self) -> dict:
        """Return a JSON object that `from_json` reads."""

    @classmethod
    @abstractmethod
    def from_json(cls, data: object, check: bool = True) -> Self:
        """Return the spec that `to_json` wrote. Raises InputError for values out of range, and `UnknownName` for unknown fields."""


MODEL_KEY = "learner"  # what identities call the model: the ids of stored runs are hashes of it


def known_fields(data: object, of: str, known: Sequence[str]) -> dict:
    """Return a JSON object as it is. Raises InputError for anything else, and `UnknownName` for a field that is not known."""
    if not isinstance(data, dict):
        raise InputError(f"{of} is {'null' if data is None else a_type(data)}, expected an object")
    for name in data:
        if name not in known:
            raise unknown(f"field of {of}:", name, known)
    return data


def id_of(identity: Mapping) -> str:
    """Return the first 12 hexadecimal digits of the SHA-256 of an identity's canonical JSON."""
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def not_identity(model: str) -> tuple[str, ...]:
    """Return the parameters of a model that do not change what is learned; a run keeps its seed outside the model."""
    from shattering.identity.pieces import NEVER_COUNTED
    from shattering.learners import MODELS
    from shattering.learners.own import traits

    return ("random_state", *NEVER_COUNTED, *traits(MODELS.get(model)).not_identity)


def by_content(model: str, params: Mapping) -> dict:
    """Return the parameters of a model, with the digest of a file in place of its path."""
    from shattering.learners import MODELS
    from shattering.learners.own import traits
    from shattering.learners.weights import file_identity

    files = traits(MODELS.get(model)).files
    return {name: file_identity(str(value)) if name in files and value is not None else value for name, value in params.items()}


def without_defaults(values: Mapping, defaults: Mapping) -> dict:
    """Return the values that differ from their defaults; True and 1 differ."""
    return {
        name: value
        for name, value in values.items()
        if name not in defaults or value != defaults[name] or isinstance(value, bool) != isinstance(defaults[name], bool)
    }


def canonical_params(model: str, params: Mapping[str, object]) -> dict[str, object]:
    """Return the parameters of a model in canonical form, but for a whole float where the model takes 1 and 1.0 as different values."""
    from shattering.learners import MODELS
    from shattering.learners.settings import tells_kinds

    return {
        name: value if _is_whole(value) and tells_kinds(MODELS.get(model), name) else canonical(value, name)
        for name, value in sorted(params.items())
    }


def _is_whole(value: object) -> bool:
    return isinstance(value, float) and value.is_integer()


def plain_number(value: Any) -> Any:
    """Return a number of NumPy's as Python's of the same value; anything else as it is."""
    if is_of(value, bool):
        return bool(value)
    if is_of(value, int):
        return int(value)
    return float(value) if isinstance(value, Real) else value


def canonical(value: object, name: str) -> object:
    """Return a JSON value with one spelling per number (1.0 is 1). Raises InputError for what JSON cannot hold."""
    if isinstance(value, float):
        if not math.isfinite(value):
            raise InputError(f"{name} is {value}, expected a finite number")
        return int(value) if value.is_integer() else value
    if isinstance(value, Mapping):
        return {str(k): canonical(v, f"{name}.{k}") for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [canonical(v, name) for v in value]
    if value is None or isinstance(value, (str, int)):
        return value
    raise InputError(f"{name} is {a_type(value)}, expected a value that JSON can hold")
