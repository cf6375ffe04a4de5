"""`run`: execute a spec once, and store what came of it."""

import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from PIL import Image

from shattering import seeds
from shattering.data.preprocess import to_float
from shattering.data.split import Split
from shattering.errors import InputError, blamed, printable
from shattering.identity.files import read_once
from shattering.learners.own import record_of
from shattering.learners.train.ranks import Ranks, joined
from shattering.learners.trained import TrainedNetwork
from shattering.parameters import check, check_arguments
from shattering.randomization import Randomization
from shattering.runs import surroundings
from shattering.runs.base import Spec
from shattering.runs.fit import evaluate, example_rows, load_data
from shattering.runs.loggers import Log, followed, open_loggers
from shattering.runs.objects import Objects
from shattering.runs.overview import share_and_note
from shattering.runs.permutations import PermutationsSpec
from shattering.runs.permuted import CHECKPOINT, compute
from shattering.runs.provenance import provenance
from shattering.runs.scoring import predictions
from shattering.runs.spec import RunSpec
from shattering.runs.store import A_STORE, Store, write_json
from shattering.runs.stored import Run, S, check_readable
from shattering.runs.study import StudySpec
from shattering.system import signals
from shattering.system.files import write_own
from shattering.system.progress import Progress
from shattering.system.temporary import is_temporary

OnEpoch = Callable[[dict], None]


@read_once()
def run(
    spec: S,
    store: Store,
    on_epoch: OnEpoch | None = None,
    log: Log = None,
    objects: Objects | None = None,
    wait: bool = True,
    progress: bool | None = None,
) -> Run[S]:
    """Return the stored run of a spec. It is executed unless it is done; an interrupted run is resumed.

    Processes that torchrun has started train a network together; only rank 0 writes. Changes that the model's code makes to the
    process are undone afterwards: environment, folder, module path, global generators, warnings, signal handlers,
    and settings such as torch's dtype.

    Args:
        spec: what to run.
        store: where the run is kept.
        on_epoch: called with each row of the history.
        log: loggers: "tensorboard:FOLDER", "mlflow:sqlite:///FILE.db" ("mlflow" uses MLflow's environment variables),
            "wandb:PROJECT", an object that follows `Logger`, or a list of these. Logging is not part of the run's identity: a run
            that is done is not logged again, which a warning says, and one that resumes goes on in the same run of the logger. A
            logger that fails is left out with a warning; the run goes on.
        objects: the objects that the spec names.
        wait: True waits for another process that executes the run; False raises `Busy`.
        progress: see `shattering.system.progress`. None and True show a line with the time that is left, in a terminal or a notebook;
            False shows nothing.

    Raises:
        Busy: with wait=False, if another process executes the run.
        InputError: for bad input. Input that is found to be bad before training leaves the store as it was; later the run is marked as
            failed. For an unknown logger, or one whose library is not installed, before anything is stored.
        ExitError: where the model's code calls sys.exit; the run is marked as failed.
        OSError: where the store cannot be written.

    Example:
        >>> from shattering import RunSpec, Store, run
        >>> done = run(RunSpec("digits", n_train=100, model="nearest-neighbors", params={"n_neighbors": 1}), Store("runs"))
        >>> done.result["train_accuracy"]
        1.0
    """
    check("spec", spec, RunSpec | StudySpec | PermutationsSpec)
    check("store", store, A_STORE)
    check_arguments(run, locals(), "on_epoch", "progress")
    loggers = open_loggers(log)
    with joined() as ranks:
        if ranks.rank:
            if ranks.agree(None):
                _take_part(spec, store.folder(spec), objects)
            return ranks.agree(None)  # the run that rank 0 has stored

        def is_failure(error: Exception) -> bool:
            return ranks.world == 1 or type(error) is not RuntimeError  # the loss of another process is a RuntimeError

        with store.executing(spec, is_failure, wait) as (folder, missing):
            if loggers and not missing:
                warnings.warn(printable(f"run {folder.name} was done before, and is not logged again"), stacklevel=2)
            if ranks.agree(missing):
                kept = None if is_temporary(folder.parent) else folder  # nobody could look into another one
                with Progress("", 1, progress) as shown:
                    seen = _seen(on_epoch, shown, spec, objects)
                    with surroundings.put_back(), followed(loggers, spec, folder, seen) as each_epoch, blamed(spec.label, kept):
                        _execute(spec, folder.absolute(), each_epoch, objects)  # the model's code may change the working folder
        return ranks.agree(_done(store, spec))


def _seen(on_epoch: OnEpoch | None, progress: Progress, spec: Spec, objects: Objects | None) -> OnEpoch | None:
    """Return an on_epoch that shows each row, too, if anybody sees it."""
    if not progress.is_seen:
        return on_epoch
    epochs = spec.epochs(objects)

    def each_epoch(row: dict) -> None:
        progress.take_part(*share_and_note(row, epochs))
        if on_epoch:
            on_epoch(row)

    return each_epoch


def _done(store: Store, spec: S) -> Run[S]:
    """Return a run that has just been executed, or was there. Raises InputError if it cannot be read."""
    stored = store.of(spec)
    check_done(stored)
    return stored


def check_done(run: Run[Any]) -> None:
    """Raise InputError for a run that has just been done and is not there, or cannot be read."""
    check_readable(run)
    if run.status != "done":
        raise InputError(f"run {run.folder.name} is {run.status}, expected nobody to change its folder while it is executed")


def _take_part(spec: Spec, folder: Path, objects: Objects | None) -> None:
    """Train a network together with the process that writes the run; that process does anything else alone."""
    if not isinstance(spec, RunSpec):
        return
    model = spec.build(objects)
    if isinstance(model, TrainedNetwork):
        data, _ = load_data(spec, objects)
        with seeds.everywhere(seeds.integer(spec.seed, "rank", Ranks.current().rank)):  # other numbers than on rank 0
            model.fit(data.train, test=data.test, validation=data.validation, checkpoint=folder / "checkpoint.pt")


@dataclass(frozen=True)
class _Computed:
    """The result of a spec before it is stored.

    result: for result.json. tables: name → table. provenance: beside what every run has. device: that was computed on.
    save: writes the other files into a folder.
    """

    result: dict
    tables: Mapping[str, pd.DataFrame]
    provenance: dict = field(default_factory=dict)
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    save: Callable[[Path], None] = lambda _: None


def _execute(spec: Spec, folder: Path, on_epoch: OnEpoch | None, objects: Objects | None) -> None:
    """Compute what a spec says and store it. result.json is written last: its presence says that the run is done."""
    started, clock = datetime.now(UTC), time.perf_counter()
    with signals.kept(), signals.no_exit():
        if isinstance(spec, RunSpec):
            computed = _fit(spec, folder / "checkpoint.pt", on_epoch, objects)
        elif isinstance(spec, PermutationsSpec):
            result, table = compute(spec, folder, on_epoch, objects)
            computed = _Computed(result, {"table": table})
        else:
            assert isinstance(spec, StudySpec), spec
            result, table = spec.execute(objects)
            computed = _Computed(result, {"table": table})
    seconds = time.perf_counter() - clock
    for name, table in computed.tables.items():
        write_own(folder / f"{name}.parquet", partial(table.to_parquet, index=False))
    computed.save(folder)
    times = {"started": started.isoformat(timespec="seconds"), "seconds": seconds}
    write_json(folder / "provenance.json", provenance(computed.device) | times | computed.provenance)
    write_json(folder / "result.json", computed.result)
    for leftover in ("checkpoint.pt", CHECKPOINT, "failed.json"):
        (folder / leftover).unlink(missing_ok=True)


def _fit(spec: RunSpec, checkpoint: Path, on_epoch: OnEpoch | None, objects: Objects | None) -> _Computed:
    """Fit a model, or resume it from the checkpoint, and score it."""
    resumed = checkpoint.exists()
    fitted = evaluate(spec, objects, checkpoint=checkpoint, on_epoch=on_epoch)
    model, record = fitted.model, record_of(fitted.model)
    tables = {"history": record.history.drop(columns="seconds", errors="ignore")}
    if record.examples is not None:
        tables["examples"] = record.examples
    if spec.randomization == Randomization() and spec.folds is None:
        tables["predictions"] = predictions(spec, model, fitted.data.test, fitted.predicted)
    epoch_seconds = record.history["seconds"].tolist() if "seconds" in record.history else []
    about = {
        "dataset_fingerprint": fitted.fingerprint,
        "fit_seconds": max(fitted.fit_seconds, sum(epoch_seconds)),  # with the epochs before a resume
        "resumed": resumed,
        "epoch_seconds": epoch_seconds,
    }
    about |= {"timings": dict(record.timings)} if record.timings else {}
    about |= {"processes": world} if (world := Ranks.current().world) > 1 else {}

    def save(folder: Path) -> None:
        if isinstance(model, TrainedNetwork):
            write_own(folder / "model.safetensors", model.save)
        _save_examples(fitted.data.train, folder / "examples.png")

    return _Computed(fitted.result, tables, about, record.device, save)


def _save_examples(split: Split, path: Path) -> None:
    """Save the examples side by side, as the model was given them (Gaussian pixels clipped to the visible range)."""
    if split.kind != "images" or split.input_shape[0] not in (1, 3):
        return
    images = to_float(split.inputs[example_rows(split)]).clamp(0, 1)
    strip = torch.cat(list(images), dim=2).mul(255).round().byte().permute(1, 2, 0).numpy()
    picture = Image.fromarray(strip[..., 0] if strip.shape[2] == 1 else strip)
    write_own(path, lambda aside: picture.save(aside, format="PNG"))
