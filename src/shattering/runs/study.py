"""`StudySpec`: a computation that is no training of a learner on a dataset, stored and identified like one."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field

from shattering.data import sources
from shattering.errors import InputError, unknown
from shattering.runs.spec import by_content, canonical, id_of, not_identity
from shattering.studies import MADE, STUDIES


@dataclass(frozen=True)
class StudySpec:
    """(study, params, seed).

    Args:
        study: a name in `shattering.studies.STUDIES`.
        params: arguments of that function, as JSON values.
        seed: what it draws from.

    Raises:
        InputError: for unknown names.
    """

    study: str
    params: Mapping[str, object] = field(default_factory=dict)
    seed: int = 0

    def __post_init__(self):
        if self.study not in STUDIES:
            raise unknown("study", self.study, STUDIES)
        for name, value in self.params.items():
            if name not in self._defaults():
                raise unknown(f"parameter of study {self.study!r}:", name, self._defaults())
            canonical(value, name)
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or self.seed < 0:
            raise InputError(f"seed is {self.seed!r}, expected a whole number of at least 0")

    @property
    def title(self) -> str:
        """The study and its parameters, in words."""
        return ", ".join([self.study, *(f"{name} = {value}" for name, value in self.recipe().items())])

    def recipe(self) -> dict:
        """The parameters that are not at their defaults, in canonical form."""
        params = {name: canonical(value, name) for name, value in sorted(self.params.items())}
        return {name: value for name, value in params.items() if value != canonical(self._defaults()[name], name)}

    def identity(self) -> dict:
        """What determines the result; parameters at their defaults are left out, and where files lie does not count."""
        parts = {"study": self.study, "params": self._by_content(self.recipe()) or None, "seed": self.seed}
        return {name: value for name, value in parts.items() if value is not None}

    def _by_content(self, params: dict) -> dict:
        """The same with what identifies data and files in place of their paths: of the dataset, and of a learner's parameters."""
        if "dataset" in params and params["dataset"] not in MADE:
            params = {**params, "dataset": sources.identity(str(params["dataset"]))}
        if "learner" in self._defaults() and params.get("params"):
            name = str(params.get("learner", self._defaults()["learner"]))
            counted = {key: value for key, value in params["params"].items() if key not in not_identity(name)}
            params = {**params, "params": by_content(name, counted)}
        return params

    @property
    def run_id(self) -> str:
        """The first 12 hexadecimal digits of a hash of `identity`."""
        return id_of(self.identity())

    @property
    def folder_name(self) -> str:
        """A readable name with the id at its end."""
        return f"{self.study}-s{self.seed}-{self.run_id}"

    def to_json(self) -> dict:
        """A JSON object that `from_json` reads."""
        return {"study": self.study, "params": dict(self.params), "seed": self.seed}

    @classmethod
    def from_json(cls, data: dict) -> "StudySpec":
        """The spec that `to_json` wrote. Raises InputError for unknown fields."""
        for name in data:
            if name not in ("study", "params", "seed"):
                raise unknown("field of a study's specification:", name, ("study", "params", "seed"))
        return cls(**data)

    def execute(self):
        """What the study's function returns: numbers, and a table."""
        return STUDIES[self.study](self.seed, **self.params)

    def _defaults(self) -> dict:
        parameters = list(inspect.signature(STUDIES[self.study]).parameters.values())[1:]
        return {p.name: p.default for p in parameters}
