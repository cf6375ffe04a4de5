"""`StudySpec`: the specification of a computation other than training a model, stored and identified in the same way."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import InitVar, dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, ClassVar, TypeGuard

from shattering.errors import unknown
from shattering.identity.names import digest_of, is_object, label
from shattering.parameters import Natural, check_fields, field_types
from shattering.parameters import check as check_value
from shattering.runs.base import MODEL_KEY, Spec, by_content, canonical, canonical_params, known_fields, not_identity, plain_number
from shattering.runs.objects import Objects

if TYPE_CHECKING:
    import pandas as pd

    Study = Callable[..., tuple[dict, pd.DataFrame]]

# Names of studies, as stored, and where their functions are. A function takes (seed, parameters with defaults) and returns
# (numbers, table): a dictionary of JSON values, whose entry "data" names the data, and a DataFrame. A function with a parameter
# `objects` also takes objects for "model" and "dataset", by their names. The names are text, so that this module does not import
# the experiments, which import it.
STUDIES = {
    "gradient-descent": "shattering.experiments.gradient_descent:run_study",
    "hessian": "shattering.experiments.hessian:run_study",
    "interpolators": "shattering.experiments.interpolators:run_study",
    "double-descent": "shattering.experiments.double_descent:run_study",
    "width-descent": "shattering.experiments.width_descent:run_study",
    "polynomial": "shattering.experiments.polynomial:run_study",
    "polynomial-degrees": "shattering.experiments.polynomial:choose_degrees",
    "perceptron": "shattering.experiments.perceptron:run_study",
    "theorem1": "shattering.experiments.theorem1:run_study",
    "corollary1": "shattering.experiments.corollary1:run_study",
    "rademacher": "shattering.experiments.rademacher:run_study",
    "rademacher-classes": "shattering.experiments.rademacher:run_classes_study",
    "stability": "shattering.experiments.stability:run_study",
    "inputs": "shattering.experiments.inputs:run_study",
    "convex": "shattering.experiments.convex:run_study",
    "loss-class": "shattering.experiments.loss_class:run_study",
    "fat-shattering": "shattering.experiments.fat_shattering:run_study",
    "expressivity": "shattering.experiments.expressivity:run_study",
    "passes": "shattering.experiments.passes:run_study",
    "steps-bound": "shattering.experiments.steps_bound:run_study",
    "perceptron-bound": "shattering.experiments.perceptron_bound:run_study",
    "max-margin": "shattering.experiments.max_margin:run_study",
    "forgetting": "shattering.experiments.forgetting:run_study",
    "bits": "shattering.experiments.bit_capacity:run_study",
}
NOISE = "noise"  # the dataset of a study on images of random bytes, which `load_dataset` does not know


def find_study(name: str) -> Study:
    """Import the function of a study. Raises InputError for an unknown name."""
    if name not in STUDIES:
        raise unknown("study", name, STUDIES)
    module, _, function = STUDIES[name].partition(":")
    return getattr(import_module(module), function)


@dataclass(frozen=True)
class StudySpec(Spec):
    """The specification of a study: a function, its parameters and a seed.

    Args:
        study: a name in `STUDIES`.
        params: arguments of that function, as JSON values.
        seed: of its random numbers.
        check: True looks up study and params; False is for specs that are only read, which a later version may have written.

    Raises:
        InputError: for unknown names, and for values that are not of the type of the function's parameter.

    Example:
        >>> StudySpec("hessian", {"n": 20}).title
        'hessian, n = 20'
    """

    table: ClassVar[str] = "table"

    study: str
    params: Mapping[str, object] = field(default_factory=dict)
    seed: Natural = 0
    check: InitVar[bool] = True

    def __post_init__(self, check: bool):
        check_fields(self)
        object.__setattr__(self, "params", {name: plain_number(value) for name, value in self.params.items()})
        for name, value in self.params.items():
            canonical(value, name)
        if check:
            self._check_names()

    def _check_names(self) -> None:
        """Raise InputError for an unknown study, for parameters that it does not take, and for values that they do not take."""
        types = field_types(find_study(self.study))
        for name, value in self.params.items():
            if name not in self._defaults():
                raise unknown(f"parameter of study {self.study!r}:", name, self._defaults())
            check_value(name, value, types[name])

    @property
    def label(self) -> str:
        """The name of the study."""
        return self.study

    @property
    def title(self) -> str:
        """The study and its parameters, in words."""
        shown = {name: label(value) if _is_object(value) else value for name, value in self.hyperparameters().items()}
        return ", ".join([self.study, *(f"{name} = {value}" for name, value in shown.items())])

    def epochs(self, objects: Objects | None = None) -> None:
        """Return None: a study is not trained in epochs."""

    def hyperparameters(self) -> dict:
        """Return the parameters that are not at their defaults, in canonical form; also those that this version does not know."""
        params, defaults = {name: canonical(value, name) for name, value in sorted(self.params.items())}, self._defaults()
        given = self.params.get("params")
        if "model" in defaults and given and isinstance(given, Mapping):
            params["params"] = canonical_params(self._model(), given)
        return {name: value for name, value in params.items() if name not in defaults or value != canonical(defaults[name], name)}

    def identity(self) -> dict:
        """Return what determines the result; parameters at their defaults and paths of files do not count."""
        parts = {"study": self.study, "params": self._by_content(self.hyperparameters()) or None, "seed": self.seed}
        return {name: value for name, value in parts.items() if value is not None}

    def _by_content(self, params: dict) -> dict:
        """Return the parameters with digests in place of objects and paths: of the dataset, and in the parameters of a model."""
        from shattering.data import load

        params = {name: digest_of(value) if _is_object(value) else value for name, value in params.items()}
        if "dataset" in params and params["dataset"] != NOISE and not _is_object(self.params["dataset"]):
            params = {**params, "dataset": load.identity(str(params["dataset"]))}
        if "model" in self._defaults() and params.get("params"):
            counted = {key: value for key, value in params["params"].items() if key not in not_identity(self._model())}
            params = {**params, "params": by_content(self._model(), counted)}
        return {MODEL_KEY if name == "model" else name: value for name, value in params.items()}

    @property
    def folder_name(self) -> str:
        """A readable name with the id at its end."""
        return f"{self.study}-s{self.seed}-{self.run_id}"

    def to_json(self) -> dict:
        """Return a JSON object that `from_json` reads."""
        return {"study": self.study, "params": dict(self.params), "seed": self.seed}

    @classmethod
    def from_json(cls, data: object, check: bool = True) -> StudySpec:
        """Return the spec that `to_json` wrote. Raises InputError for values out of range, and `UnknownName` for unknown fields.

        check: see the class.
        """
        return cls(**known_fields(data, "a study's specification", ("study", "params", "seed")), check=check)

    def execute(self, objects: Objects | None = None) -> tuple[dict, pd.DataFrame]:
        """Run the study's function. Returns its numbers and its table. objects: the objects that the parameters name.

        Raises InputError for a number that is not finite: what is stored says what was found.
        """
        function = find_study(self.study)
        more = {"objects": objects} if "objects" in inspect.signature(function).parameters else {}
        numbers, table = function(self.seed, **self.params, **more)
        for name, value in numbers.items():
            canonical(value, f"study {self.study!r}: {name}")
        return numbers, table

    def _model(self) -> str:
        """Return the name of the model of a study that has one."""
        return str(self.params.get("model", self._defaults()["model"]))

    def _defaults(self) -> dict:
        """Return the default of each parameter; empty for a study that this version does not know."""
        if self.study not in STUDIES:
            return {}
        _, *others = inspect.signature(find_study(self.study)).parameters.values()
        return {parameter.name: parameter.default for parameter in others if parameter.name != "objects"}


def _is_object(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and is_object(value)
