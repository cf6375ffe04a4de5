"""`PermutationsSpec`: the scores of a model on several randomized copies of its data, stored together.

To store a run costs about 20 ms, more than fast estimators take to be fitted. So of many permutations the first are
runs of their own, and the rest are computed in batches of which the scores alone are kept. A batch is executed, resumed, swept and shown
as runs are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import InitVar, dataclass, replace
from typing import ClassVar

from shattering.errors import InputError, a_type, counted
from shattering.parameters import Natural, check_fields
from shattering.runs.base import Spec, known_fields
from shattering.runs.objects import Objects
from shattering.runs.spec import RunSpec


@dataclass(frozen=True)
class PermutationsSpec(Spec):
    """The specification of several fits of one model to randomized copies of one dataset, of which the scores are kept.

    Args:
        fits: the specification of a fit, whose seed is replaced by each of the seeds; with folds, of any of its folds.
        seeds: one per randomized copy: of its noise, its initialization and its batch order.
        check: as for `RunSpec`.

    Raises:
        InputError: without seeds, and for seeds that repeat.

    Example:
        >>> from shattering import Randomization, RunSpec
        >>> permuted = Randomization(labels=1, label_mode="permute")
        >>> PermutationsSpec(RunSpec("digits", model="random-forest", randomization=permuted), (5, 6)).title
        'random-forest, random labels (permuted), 2 permutations'
    """

    table: ClassVar[str] = "table"

    fits: RunSpec
    seeds: tuple[Natural, ...]
    check: InitVar[bool] = True

    def __post_init__(self, check: bool):
        check_fields(self)
        object.__setattr__(self, "seeds", tuple(int(seed) for seed in self.seeds))
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise InputError(f"seeds are {list(self.seeds)}, expected at least one, each once")

    @property
    def params(self) -> Mapping[str, object]:  # type: ignore[override]  # those of the fits
        """The parameters of the model."""
        return self.fits.params

    @property
    def seed(self) -> int:  # type: ignore[override]  # not a field: there are several
        """The first seed."""
        return self.seeds[0]

    @property
    def label(self) -> str:
        """The name of the model."""
        return self.fits.label

    @property
    def title(self) -> str:
        """The model, the randomization, and how many copies there are."""
        return f"{self.fits.title}, {counted(len(self.seeds), 'permutation')}"

    @property
    def folder_name(self) -> str:
        """A readable name with the id at its end."""
        name = replace(self.fits, seed=self.seed, fold=None, folds=None, cv=None, check=False).folder_name.rpartition("-")[0]
        return f"{name}-{len(self.seeds)}permutations-{self.run_id}"

    def epochs(self, objects: Objects | None = None) -> None:
        """Return None: the fits are not followed epoch by epoch."""

    def hyperparameters(self) -> dict:
        """Return the model's parameters that are not at their defaults, in canonical form."""
        return self.fits.hyperparameters()

    def identity(self) -> dict:
        """Return what determines the scores: the fits without their own seed and fold, and the seeds."""
        fits = {name: value for name, value in self.fits.identity().items() if name not in ("seed", "fold", "noise_seed")}
        return {"scores_of": {**fits, "data_seed": self.fits.resolved_data_seed}, "seeds": list(self.seeds)}

    def to_json(self) -> dict:
        """Return a JSON object that `from_json` reads."""
        return {"fits": self.fits.to_json(), "seeds": list(self.seeds)}

    @classmethod
    def from_json(cls, data: object, check: bool = True) -> PermutationsSpec:
        """Return the spec that `to_json` wrote. Raises InputError for values out of range, and `UnknownName` for unknown fields.

        check: see `RunSpec`.
        """
        known = known_fields(data, "the specification of permutations", ("fits", "seeds"))
        seeds = known.get("seeds")
        if not isinstance(seeds, list):
            raise InputError(f"seeds is {a_type(seeds)}, expected a list of whole numbers")
        return cls(RunSpec.from_json(known.get("fits"), check), tuple(seeds), check=check)

    def at(self, seed: int) -> RunSpec:
        """Return the specification of the fits with one of the seeds."""
        return replace(self.fits, seed=seed, data_seed=self.fits.resolved_data_seed, noise_seed=None, check=False)
