"""`Run`: a run as a store has it, of a model or of a study."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, Self, TypeGuard

from typing_extensions import TypeVar  # with a default, which typing has from Python 3.13

from shattering.brief import cut
from shattering.data.kinds import PARTS, Kind
from shattering.errors import InputError, reason
from shattering.randomization import Randomization
from shattering.runs import reading, schema
from shattering.runs.base import Spec
from shattering.runs.objects import Objects
from shattering.runs.spec import RunSpec
from shattering.system.temporary import was_temporary

if TYPE_CHECKING:
    import pandas as pd

    from shattering.measures.fitted import Fitted

Status = Literal["done", "failed", "running", "interrupted", "missing", "damaged", "newer"]
UNREADABLE = ("damaged", "newer")
S = TypeVar("S", bound=Spec, default=RunSpec, covariant=True)


@dataclass(frozen=True)
class Run(Generic[S]):
    """A run as found in a store, possibly missing: of a model (`Run`), or of a study (`Run[StudySpec]`).

    The files that it may have, and the fields of result and provenance, are listed in `shattering.runs.schema`.

    Args:
        spec: what was run.
        folder: where its files are, or would be.
        status: "missing" if the store has nothing of it; "damaged" if a file cannot be read, "newer" if a later version wrote it.
        result: the content of result.json; empty unless done.
        provenance: the content of provenance.json; empty unless done.
        error: why it failed, or what is wrong with its files.
        traceback: of a failed run, where it was kept.

    Example:
        >>> from shattering import RunSpec, Store, run
        >>> done = run(RunSpec("digits", n_train=100, params={"epochs": 1}), Store("runs"))
        >>> done.status, done.result["n_train"], len(done.history)
        ('done', 100, 1)
    """

    spec: S
    folder: Path
    status: Status
    result: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    error: str | None = None
    traceback: str | None = None

    def __repr__(self) -> str:
        return cut(f"<Run {self.folder.name}: {self.status}  {self.outcome}".rstrip() + ">")

    @property
    def run_id(self) -> str:
        """The id at the end of the folder's name."""
        return id_in(self.folder)

    @property
    def is_trained(self) -> bool:
        """True if the run is done and its training did not diverge."""
        return self.status == "done" and not self.result.get("diverged")

    @property
    def outcome(self) -> str:
        """The error, or the numbers that come first, for a line about this run: of a model its train and test accuracy."""
        if not self.error and "train_rmse" in self.result and "n_classes" not in self.result:
            score = getattr(self.spec, "scoring_name", None) or "r2"
            return f"train {self.result['train_score']:.3g}  test {self.result['test_score']:.3g} ({score})"
        if self.error or "train_accuracy" not in self.result:
            numbers = [f"{name} {value:.4g}" for name, value in self.result.items() if isinstance(value, float)]
            return self.error or "  ".join(numbers[:4])
        return f"train {self.result['train_accuracy']:.1%}  test {self.result['test_accuracy']:.1%}"

    @property
    def rows(self) -> pd.DataFrame:
        """The table that every finished run has: the history of a model's run, the table of a study. Raises InputError as they do."""
        return getattr(self, self.spec.table)

    @cached_property
    def history(self) -> pd.DataFrame:
        """One row per epoch; see `NetworkClassifier`. Empty for models without epochs.

        The seconds of the epochs come from the provenance: the stored history is the same for the same run.

        Raises:
            InputError: for a study, which has none, and for files that are damaged.
        """
        history = self._read("history")
        seconds = self.provenance["epoch_seconds"]
        if len(history) != len(seconds):
            why = f"epoch_seconds has {len(seconds)} numbers for the {len(history)} epochs of history.parquet"
            raise reading.damaged(self.folder / "provenance.json", why)
        return history.assign(seconds=seconds)

    @cached_property
    def examples(self) -> pd.DataFrame:
        """One row per training example; see `Tracker.table`.

        Raises:
            InputError: for a run without `track_examples`, and for a damaged file.
        """
        return self._read("examples")

    @cached_property
    def predictions(self) -> pd.DataFrame:
        """One row per test example of a fit to original data: id and prediction, see `shattering.runs.scoring.predictions`.

        Raises:
            InputError: for a run without them (by folds, on randomized data, or of an earlier version), and for a damaged file.
        """
        return self._read("predictions")

    @cached_property
    def table(self) -> pd.DataFrame:
        """The table of a study. Raises InputError for the run of a model, which has none, and for a damaged file."""
        return self._read("table")

    def model(self, objects: Objects | None = None) -> Any:
        """Return the fitted model, from the stored weights; on the device of its spec, or on device="auto" where that is not there.

        Args:
            objects: the model, by its name in the spec, if it was an object.

        Raises:
            InputError: if no weights are stored, or they are damaged.
        """
        from shattering.runs.remote import bring

        path = self.folder / "model.safetensors"
        if not isinstance(self.spec, RunSpec) or not bring(path):
            raise self._has_no("model.safetensors")
        from shattering.learners.devices import device_or_auto
        from shattering.learners.weights import NotSaved

        model: Any = self.spec.build(objects)
        model.device = device_or_auto(model.device)  # only networks have weights
        try:
            return model.load(path)
        except NotSaved as error:
            raise reading.damaged(path, reason(error.__cause__ or error)) from None

    def fitted(self, objects: Objects | None = None) -> Fitted:
        """Return the network with the data that it was trained on, for `shattering.measure`. Raises InputError where there is none.

        objects: the objects that the spec names.
        """
        from shattering.runs.measured import fitted_of

        return fitted_of(self, objects)

    def has(self, file: str) -> bool:
        """Return whether a file is stored, such as "examples.parquet". Raises InputError where the folder of the run is gone."""
        found = (self.folder / file).exists()
        if not found and not self.folder.exists():
            raise self._has_no(file)
        return found

    def whole(self) -> Self:
        """Return this run; with the status "damaged" if it is done and one of its tables cannot be read.

        Another process may remove the run at any moment, also between the look for a table and its reading. Then it is "missing".
        """
        try:
            if self.status == "done":
                _ = self.rows
                if (self.folder / "examples.parquet").exists():
                    _ = self.examples
        except InputError as error:
            if not (self.folder / "spec.json").exists():
                return replace(self, result={}, provenance={}, status="missing")
            return replace(self, result={}, provenance={}, status="damaged", error=str(error))
        return self

    def _read(self, name: str) -> pd.DataFrame:
        """Read a table. One that every run of this kind has is damaged where it is missing."""
        path = self.folder / f"{name}.parquet"
        if (name != self.spec.table or not self.folder.exists()) and not path.exists():
            raise self._has_no(path.name)
        of_numbers = name == "history" and self.result and "n_classes" not in self.result
        return reading.read_stored_table(path, schema.EPOCHS_OF_REGRESSION if of_numbers else schema.TABLES[name])

    def _has_no(self, file: str) -> InputError:
        if not self.folder.exists():
            seen = "does not exist any more" if self.folder.is_absolute() else f"does not exist in the working folder {os.getcwd()}"
            remedy = "Store(its whole path) is read from any working folder"
            if was_temporary(self.folder.parent):
                remedy = "without a store it lasts as long as the test that made it; a test with store=… keeps it"
            return InputError(f"{self.folder} {seen}, expected the folder of a run; {remedy}")
        return InputError(f"run {self.folder.name} has no {file}, expected a run of {schema.FILES[file].when}")


@dataclass(frozen=True)
class Unread:
    """A folder of a store whose spec.json is damaged, or was written by a later version; error says it, with the remedy.

    Example:
        >>> Unread(Path("runs/digits-n100-s0-8acdd24eb076"), "damaged", "spec.json is no JSON").run_id
        '8acdd24eb076'
    """

    folder: Path
    status: Status
    error: str

    @property
    def run_id(self) -> str:
        """The id at the end of the folder's name."""
        return id_in(self.folder)

    @property
    def outcome(self) -> str:
        """The error."""
        return self.error


Found = Run[Any] | Unread


def is_of_model(run: Found) -> TypeGuard[Run[RunSpec]]:
    """Return whether this is the run of a model: no study, and no folder whose specification cannot be read."""
    return isinstance(run, Run) and isinstance(run.spec, RunSpec)


def check_readable(run: Found | None) -> None:
    """Raise InputError, with the remedy, for a run that is damaged or newer."""
    if run and run.status in UNREADABLE:
        raise InputError(run.error)


def id_in(folder: Path) -> str:
    """Return the run id at the end of a folder's name."""
    return folder.name.rpartition("-")[2]


def has_id(folder: Path) -> bool:
    """Return whether a folder's name ends in the id of a run."""
    return re.fullmatch("[0-9a-f]{12}", id_in(folder)) is not None


def kind_of(result: Mapping[str, Any]) -> Kind:
    """Return the kind of the inputs of a run that has this result."""
    return result.get("kind") or ("images" if len(result["image_shape"]) == 3 else "table")


def title_of(randomization: Randomization, result: Mapping[str, Any]) -> str:
    """Return the title of a randomization in the words of the inputs and labels of a run that has this result, if it has one."""
    if not result:
        return randomization.title
    title = randomization.title.replace("pixels", PARTS[kind_of(result)])
    return title.replace("labels", "targets") if "n_classes" not in result else title
