"""`RunSpec`: everything that determines the result of a run, and its identity.

The libraries of models are imported where a model is built, so that a stored specification is read without them.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import InitVar, asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from shattering.brief import Brief
from shattering.errors import InputError, unknown
from shattering.identity.names import digest_of, is_object, label
from shattering.parameters import Count, Natural, Range, check_fields
from shattering.randomization import Randomization
from shattering.runs.base import (
    MODEL_KEY,
    Spec,
    by_content,
    canonical,
    canonical_params,
    known_fields,
    not_identity,
    plain_number,
    without_defaults,
)
from shattering.runs.objects import Objects, find, with_seed

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator

_CONFIG = {"transform_output": "default", "enable_metadata_routing": False, "array_api_dispatch": False}  # of scikit-learn
_LONGEST = 180  # bytes of a folder's readable name; file systems allow 255 with the additions


@dataclass(frozen=True, repr=False)
class RunSpec(Brief, Spec):
    """The specification of a run of a model: dataset, sizes, randomization, model and seeds.

    Args:
        dataset: a name in `DATASETS`, a path that `load_dataset` takes, or the name of an object (see `shattering.runs.objects`).
        n_train: size of a class-balanced subset of the train split; None: the whole split.
        n_test: the same for the test split.
        n_validation: size of a validation split held out of the train split, beside n_train; None: no validation split.
        randomization: applied to the data.
        model: a name in `MODELS`, or the name of an object.
        params: the model's constructor arguments, as JSON values; none for an object.
        seed: determines the independent seeds of data subset, noise, initialization and batch order.
        data_seed: replaces seed for the subset, so that one source of variance can be held fixed; None: seed.
        noise_seed: replaces seed for the randomization; None: seed. A network's parameter `order_seed` does so for the batch order.
        folds: number of stratified folds for cross-validation. The (randomized) train split is cut into folds, and this run
            tests on fold number `fold`; the dataset's own test split is not used. None: no cross-validation.
        fold: 0…folds-1.
        cv: the name of an object that cuts the folds in place of the default: a splitter of scikit-learn's, which is given the
            (randomized) labels and the groups; `folds` is how many it makes. None: stratified folds, of whole groups if there are any.
        scoring: a name in scikit-learn's `get_scorer_names`, or the name of an object (estimator, X, y) → score. Its score on the
            train and test split is stored beside the accuracies; higher is always better. None: no score, or R² where the labels are
            numbers.
        image_size: side in pixels of the squares that encoded images are brought to; None: all images have one size.
        skip_corrupt: True leaves out encoded images that cannot be decoded, and counts them in the result; False raises an error.
        hold_out: True holds a fifth of a dataset without a test split out; False tests on the training images, with their true
            labels.
        channels: "first" or "last", the order of the axes in arrays of images; None: inferred from their lengths.
        check: True also looks up model, params and scoring; False is for specs that are only read, which a later version may
            have written.

    Raises:
        InputError: for unknown names and values out of range.

    Example:
        >>> from shattering import Randomization, RunSpec
        >>> spec = RunSpec("digits", n_train=100, randomization=Randomization(labels=1.0), params={"epochs": 5})
        >>> spec.title
        'mlp-1x512, random labels, {"epochs": 5}'
    """

    table: ClassVar[str] = "history"

    dataset: str = "digits"
    n_train: Count | None = None
    n_test: Count | None = None
    randomization: Randomization = field(default_factory=Randomization)
    model: str = "network"
    params: Mapping[str, object] = field(default_factory=dict)
    seed: Natural = 0
    data_seed: Natural | None = None
    noise_seed: Natural | None = None
    n_validation: Count | None = None
    folds: Annotated[int, Range(2)] | None = None
    fold: Natural | None = None
    scoring: str | None = None
    cv: str | None = None
    image_size: Count | None = None
    skip_corrupt: bool = False
    hold_out: bool = True
    channels: Literal["first", "last"] | None = None
    check: InitVar[bool] = True

    def __post_init__(self, check: bool):
        check_fields(self)
        for each in fields(self):
            object.__setattr__(self, each.name, plain_number(getattr(self, each.name)))
        object.__setattr__(self, "params", {name: plain_number(value) for name, value in self.params.items()})
        for name in ("dataset", "model"):
            if not getattr(self, name):
                raise InputError(f"{name} is '', expected a name or a path")
        if (self.folds is None) != (self.fold is None):
            raise InputError(f"folds is {self.folds} and fold is {self.fold}, expected both or neither")
        if self.folds is not None and self.fold is not None and self.fold >= self.folds:
            raise InputError(f"fold is {self.fold} of {self.folds} folds, expected one in 0…{self.folds - 1}")
        if self.cv is not None and (self.folds is None or not is_object(self.cv)):
            raise InputError(f"cv is {self.cv!r}, expected the name of an object, with folds and fold beside it")
        if self.folds and (self.n_validation or self.n_test):
            raise InputError("folds are of the train split, expected neither n_test nor n_validation beside them")
        for name, value in self.params.items():
            canonical(value, name)
        if is_object(self.model) and self.params:
            raise InputError(f"params are {dict(self.params)}, expected none beside a model that is an object")
        if check:
            self._check_names()

    def _check_names(self) -> None:
        """Raise InputError for an unknown model or scoring, and for parameters that the model does not take."""
        if self.scoring is not None and not is_object(self.scoring):
            from sklearn.metrics import get_scorer_names

            if self.scoring not in get_scorer_names():
                raise unknown("scoring", self.scoring, get_scorer_names())
        if not is_object(self.model):
            self.build()

    @property
    def resolved_data_seed(self) -> int:
        return self.seed if self.data_seed is None else self.data_seed

    @property
    def resolved_noise_seed(self) -> int:
        return self.seed if self.noise_seed is None else self.noise_seed

    @property
    def model_name(self) -> str:
        """The network's name, or the model's."""
        if is_object(self.model):
            return label(self.model)
        return str(self.params.get("network", "mlp-1x512")) if self.model in ("network", "network-regressor") else self.model

    def scoring_for(self, is_regression: bool) -> str | None:
        """Return `scoring`, or where there is none the default: R² for labels that are numbers, None (accuracy) for classes."""
        return self.scoring or ("r2" if is_regression else None)

    @property
    def scoring_name(self) -> str | None:
        """The name of the score in texts; None for accuracy."""
        return label(self.scoring) if self.scoring and is_object(self.scoring) else self.scoring

    @property
    def label(self) -> str:
        """The name of the model."""
        return self.model_name

    @property
    def title(self) -> str:
        """The model, the randomization, and the hyperparameters that are not at their defaults."""
        params = {name: value for name, value in self.hyperparameters().items() if name != "network"}
        parts = [self.model_name, self.randomization.title, json.dumps(params) if params else ""]
        return ", ".join(part for part in parts if part)

    @property
    def dataset_name(self) -> str:
        """The name of the dataset in titles and folder names."""
        return label(self.dataset) if is_object(self.dataset) else Path(self.dataset).stem

    def build(self, objects: Objects | None = None, seed: int | None = None) -> BaseEstimator:
        """Return the unfitted model. Raises InputError for an object that is not among the `objects`.

        seed: in place of the specification's own.
        """
        seed = self.seed if seed is None else seed
        if is_object(self.model):
            return with_seed(find(self.model, objects), seed)
        from shattering.learners import build_model

        return build_model(self.model, self.params, seed)

    def epochs(self, objects: Objects | None = None) -> int | None:
        """Return the largest number of epochs; None for a model without epochs."""
        from shattering.learners.own import epochs_of

        return epochs_of(self.build(objects))

    def hyperparameters(self) -> dict:
        """Return the model's parameters that determine the result and are not at their defaults, in canonical form.

        Parameters that this version does not know, in a spec that was not checked, are included.
        """
        if is_object(self.model):
            return {}
        params = without_defaults(self.params, self._defaults())
        ignored = not_identity(self.model)
        return canonical_params(self.model, {name: value for name, value in params.items() if name not in ignored})

    def identity(self) -> dict:
        """Return what determines the result, and nothing else; fields at their defaults are left out.

        Device, threads, checkpoint interval, and the paths of data and other files are not part of it.
        """
        from shattering.data import load

        r = asdict(self.randomization)
        if is_object(r["exchange"]):
            r["exchange"] = digest_of(r["exchange"])
        is_original = not r["labels"] and r["pixels"] == "true"
        parts = {
            "dataset": digest_of(self.dataset) if is_object(self.dataset) else load.identity(self.dataset),
            "n_train": self.n_train,
            "n_test": self.n_test,
            "n_validation": self.n_validation,
            "randomization": without_defaults(r, asdict(Randomization())) or None,
            MODEL_KEY: digest_of(self.model) if is_object(self.model) else self.model,
            "params": by_content(self.model, self.hyperparameters()) or None,
            "seed": self.seed,
            "data_seed": None if self.resolved_data_seed == self.seed else self.data_seed,
            "noise_seed": None if is_original or self.resolved_noise_seed == self.seed else self.noise_seed,
            "folds": self.folds,
            "fold": self.fold,
            "cv": None if self.cv is None else digest_of(self.cv),
            "scoring": digest_of(self.scoring) if self.scoring and is_object(self.scoring) else self.scoring,
            "image_size": self.image_size,
            "skip_corrupt": self.skip_corrupt or None,
            "hold_out": None if self.hold_out else False,
            "held_out": "by class" if self._holds_out() else None,
            "folds_by": "the labels given" if self.folds and self.randomization.labels else None,
            "channels": self.channels,
            "settings": _settings() or None,
        }
        return {name: value if name == "params" else canonical(value, name) for name, value in parts.items() if value is not None}

    @property
    def folder_name(self) -> str:
        """A readable name with the run id at its end."""
        r = self.randomization
        parts = [self.dataset_name, f"{self.image_size}px" if self.image_size else "", f"n{self.n_train}" if self.n_train else ""]
        parts += [self.model_name]
        parts += [f"labels{r.labels:g}" if r.labels else "", r.pixels if r.pixels != "true" else "", f"s{self.seed}"]
        parts += [f"fold{self.fold}of{self.folds}" if self.folds else ""]
        name = "-".join(part for part in parts if part)
        name = "".join(c if c.isalnum() or c in "-._" else "_" for c in name)
        return f"{name.encode()[:_LONGEST].decode(errors='ignore')}-{self.run_id}"

    def to_json(self) -> dict:
        """Return a JSON object that `from_json` reads; fields at their defaults are left out."""
        return without_defaults(asdict(self), asdict(RunSpec(check=False)))

    @classmethod
    def from_json(cls, data: object, check: bool = True) -> RunSpec:
        """Return the spec that `to_json` wrote. Raises InputError for values out of range, and `UnknownName` for unknown fields.

        check: see the class.
        """
        known = known_fields(data, "a run's specification", [f.name for f in fields(cls)])
        noise = known_fields(known.get("randomization", {}), "randomization", [f.name for f in fields(Randomization)])
        return cls(**{**known, "randomization": Randomization(**noise)}, check=check)

    def _holds_out(self) -> bool:
        """Return whether test data are held out of the train split, as a dataset from a name or path has no test split."""
        from shattering.data import load

        return self.hold_out and not self.folds and not is_object(self.dataset) and not load.has_test_split(self.dataset)

    def _defaults(self) -> dict:
        from shattering.learners import MODELS

        return MODELS[self.model].get_params() if self.model in MODELS else {}


def _settings() -> dict[str, object]:
    """Return the settings of libraries that this process has changed and that change what is learned."""
    settings: dict[str, object] = {}
    torch, sklearn = sys.modules.get("torch"), sys.modules.get("sklearn")
    if torch is not None and torch.get_default_dtype() is not torch.float32:
        settings["torch"] = str(torch.get_default_dtype())
    config = sklearn.get_config() if sklearn is not None else {}
    return settings | {name: config[name] for name, default in _CONFIG.items() if config.get(name, default) != default}
