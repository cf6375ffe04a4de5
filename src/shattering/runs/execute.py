"""`run`: execute a spec once, and store what came of it."""

import os
import platform
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import overload

import numpy as np
import pandas as pd
import torch
from PIL import Image
from sklearn.base import BaseEstimator

from shattering.data.dataset import Dataset, Split
from shattering.data.labels import is_default
from shattering.data.load import check_identity, identity, load_dataset
from shattering.data.preprocess import to_float
from shattering.errors import InputError, blamed
from shattering.identity.files import read_once
from shattering.learners.network import NetworkClassifier
from shattering.learners.on_splits import fit_split, predict_split, predict_with_top5
from shattering.learners.own import FitRecord, record_of
from shattering.learners.predictions import check_classifier
from shattering.learners.train.ranks import Ranks, joined
from shattering.parameters import check_arguments
from shattering.randomization import randomize
from shattering.runs import objects, surroundings
from shattering.runs.loggers import Log, followed, open_loggers
from shattering.runs.objects import Objects
from shattering.runs.scoring import scores
from shattering.runs.spec import RunSpec
from shattering.runs.store import AnySpec, Record, Run, Store, check_readable, write_json
from shattering.runs.study import StudySpec
from shattering.system import signals
from shattering.system.files import write_own

EXAMPLES = 10  # training images kept as a picture


OnEpoch = Callable[[dict], None]


@overload
def run(
    spec: RunSpec, store: Store, on_epoch: OnEpoch | None = None, log: Log = None, given: Objects | None = None, wait: bool = True
) -> Run: ...
@overload
def run(
    spec: StudySpec, store: Store, on_epoch: OnEpoch | None = None, log: Log = None, given: Objects | None = None, wait: bool = True
) -> Record: ...
@read_once()
def run(
    spec: AnySpec, store: Store, on_epoch: OnEpoch | None = None, log: Log = None, given: Objects | None = None, wait: bool = True
) -> Run | Record:
    """The stored run, or study, of a spec: executed now unless it is there, resumed if it was interrupted.

    Processes that torchrun has started train a network together, and rank 0 alone writes. What the model's code changes of the process
    is put back: environment, folder, module path, global generators, warnings, signal handlers, and settings such as torch's dtype.

    on_epoch: called with each row of the history. given: the objects that the spec names. wait: for another process that is at the run;
    else `Busy` is raised. Raises InputError for bad input and OSError where the store cannot be written, after marking the run as failed,
    but input that is bad before anything is trained leaves the store as it was; where the model's code calls sys.exit that is an
    `ExitError`.

    log: trackers to tell, "tensorboard:FOLDER", "mlflow:sqlite:///FILE.db" ("mlflow" for what its environment variables
    say), "wandb:PROJECT", or an object that follows `Logger`; or several in a list. It is no part of the run's identity:
    a run that is already done is not logged again, and one that resumes goes on in the same run of the tracker. A
    tracker that fails is left out with a warning; the run goes on. Raises InputError, before anything is stored, for
    unknown names and libraries that are not installed.
    """
    check_arguments(run, locals(), "spec", "store", "on_epoch")
    loggers = open_loggers(log)
    with joined() as ranks:
        if ranks.rank:
            if ranks.agree(None):
                _take_part(spec, store.folder(spec), given)
            return ranks.agree(None)  # what rank 0 has stored

        def is_failure(error: Exception) -> bool:
            return ranks.world == 1 or type(error) is not RuntimeError  # which is what the loss of another process looks like

        with store.executing(spec, is_failure, wait) as (folder, missing):
            if ranks.agree(missing):
                what = spec.model_name if isinstance(spec, RunSpec) else spec.study
                with surroundings.put_back(), followed(loggers, spec, folder, on_epoch) as each_epoch, blamed(what, folder):
                    if isinstance(spec, RunSpec):
                        _execute(spec, folder, each_epoch, given)
                    else:
                        _execute_study(spec, folder)
        return ranks.agree(_done(store, spec))


def _done(store: Store, spec: AnySpec) -> Run | Record:
    """A run that has just been executed, or was there. Raises InputError if it cannot be read."""
    found = store.of(spec)
    check_readable(found)
    if found.status != "done":
        raise InputError(f"run {found.folder.name} is {found.status}, expected nobody to change its folder while it is executed")
    return found


def _take_part(spec: AnySpec, folder: Path, given: Objects | None) -> None:
    """Train a network with the process that writes the run; anything else it does alone."""
    model = spec.build(given) if isinstance(spec, RunSpec) else None
    if isinstance(spec, RunSpec) and isinstance(model, NetworkClassifier):
        data, _ = load_data(spec, given)
        model.fit(data.train, test=data.test, validation=data.validation, checkpoint=folder / "checkpoint.pt")


def _execute_study(spec: StudySpec, folder: Path) -> None:
    started, clock = datetime.now(UTC), time.perf_counter()
    with signals.kept(), signals.no_exit():
        result, table = spec.execute()
    write_own(folder / "table.parquet", lambda path: table.to_parquet(path, index=False))
    provenance = _provenance(torch.device("cpu")) | {"started": started.isoformat(timespec="seconds")}
    write_json(folder / "provenance.json", provenance | {"seconds": time.perf_counter() - clock})
    write_json(folder / "result.json", result)  # last: its presence says that it is done
    (folder / "failed.json").unlink(missing_ok=True)


def load_data(spec: RunSpec, given: Objects | None = None) -> tuple[Dataset, str]:
    """The data of a spec as its model is given them, and the fingerprint of what they were made from."""
    original, fingerprint = _load(spec, given)
    data = randomize(original, spec.randomization, spec.resolved_noise_seed)
    if spec.folds is not None and spec.fold is not None:
        data = data.fold(spec.fold, spec.folds, spec.resolved_data_seed)
    return data, fingerprint


_last_loaded: dict[tuple, tuple[Dataset, str]] = {}  # one entry: the next run of a series often wants the same data


def _load(spec: RunSpec, given: Objects | None) -> tuple[Dataset, str]:
    is_object = objects.is_object(spec.dataset)
    sizes = (spec.n_train, spec.n_test, spec.resolved_data_seed, spec.n_validation, spec.hold_out and spec.folds is None)
    reading = {"image_size": spec.image_size, "skip_corrupt": spec.skip_corrupt, "channels": spec.channels}
    key = (spec.dataset if is_object else identity(spec.dataset), *sizes, *reading.values())
    if is_object and key in _last_loaded and _last_loaded[key][0].fingerprint() != _last_loaded[key][1]:
        del _last_loaded[key]  # the caller may hold the same tensors, and has changed them since
    if key not in _last_loaded:
        _last_loaded.clear()
        source = objects.find(spec.dataset, given) if is_object else spec.dataset
        loaded = (data := load_dataset(source, *sizes, **reading)), data.fingerprint()
        if spec.n_train is not None and spec.n_train < data.train.n_classes:
            raise InputError(f"n_train is {spec.n_train}, expected at least {data.train.n_classes}, an example of each class")
        if not is_object:
            check_identity(spec.dataset)
        _last_loaded[key] = loaded
    return _last_loaded[key]


@dataclass(frozen=True)
class Fitted:
    """A spec's model fitted to its data.

    fingerprint: of what the data were made from. result: what is stored of it. fit_seconds: of fitting alone.
    """

    data: Dataset
    fingerprint: str
    model: BaseEstimator
    result: dict
    fit_seconds: float


@contextmanager
def _noted(before_training: bool) -> Iterator[None]:
    """Note on bad input whether it was found before training."""
    try:
        yield
    except InputError as error:
        error.before_training = before_training
        raise


def evaluate(spec: RunSpec, given: Objects | None = None, **watch) -> Fitted:
    """Load a spec's data, fit its model to them and score it, as `run` does, but store nothing.

    given: the objects that the spec names. watch: passed to `fit` of models that take splits.
    """
    with _noted(before_training=True):
        data, fingerprint = load_data(spec, given)
        model = spec.build(given)
        check_classifier(model)
    with _noted(before_training=False):  # whatever the model's code has called
        clock = time.perf_counter()
        fit_split(model, data.train, test=data.test, validation=data.validation, **watch)
        fit_seconds = time.perf_counter() - clock
        fitted = Fitted(data, fingerprint, model, _result(spec, data, model, record_of(model)), fit_seconds)
    if objects.is_object(spec.dataset) and _load(spec, given)[1] != fingerprint:
        raise InputError(f"{spec.dataset_name} was changed in place while it was trained on, expected code that changes copies of its own")
    return fitted


def _execute(spec: RunSpec, folder: Path, on_epoch: OnEpoch | None, given: Objects | None) -> None:
    started, clock = datetime.now(UTC), time.perf_counter()
    checkpoint = folder / "checkpoint.pt"
    resumed = checkpoint.exists()
    with signals.kept(), signals.no_exit():
        fitted = evaluate(spec, given, checkpoint=checkpoint, on_epoch=on_epoch)
    model, record, seconds = fitted.model, record_of(fitted.model), time.perf_counter() - clock

    epoch_seconds = record.history["seconds"].tolist() if "seconds" in record.history else []
    history = record.history.drop(columns="seconds", errors="ignore")
    write_own(folder / "history.parquet", lambda path: history.to_parquet(path, index=False))
    if (examples := record.examples) is not None:
        write_own(folder / "examples.parquet", lambda path: examples.to_parquet(path, index=False))
    if isinstance(model, NetworkClassifier):
        write_own(folder / "model.safetensors", model.save)
    _save_examples(fitted.data.train, folder / "examples.png")
    provenance = _provenance(record.device)
    provenance |= {"dataset_fingerprint": fitted.fingerprint, "started": started.isoformat(timespec="seconds")}
    provenance |= {"seconds": seconds, "fit_seconds": fitted.fit_seconds, "resumed": resumed, "epoch_seconds": epoch_seconds}
    provenance |= {"timings": dict(record.timings)} if record.timings else {}
    provenance |= {"processes": world} if (world := Ranks.current().world) > 1 else {}
    write_json(folder / "provenance.json", provenance)
    write_json(folder / "result.json", fitted.result)  # last: its presence says that the run is done
    for leftover in (checkpoint, folder / "failed.json"):
        leftover.unlink(missing_ok=True)


def _accuracy(predicted: np.ndarray, labels: torch.Tensor) -> float:
    """How often predicted labels (n,) are these; both as 0…k-1."""
    return float((predicted == labels.numpy()).mean())


def _result(spec: RunSpec, data: Dataset, model, record: FitRecord) -> dict:
    corrupted_test = spec.randomization.corrupt(data.test, spec.resolved_noise_seed, "test") if spec.folds is None else data.test.labels
    on_train, train_top5 = predict_with_top5(model, data.train, "train", data.train.labels)
    on_test, test_top5 = predict_with_top5(model, data.test, "test", data.test.true_labels)
    train = _accuracy(on_train, data.train.labels)
    history = record.history
    return {
        "dataset": data.variant,
        "n_train": len(data.train),
        "n_test": len(data.test),
        "n_classes": data.train.n_classes,
        "classes": list(data.classes),
        **({} if is_default(data.train.label_values) else {"label_values": data.train.label_values.tolist()}),
        "image_shape": list(data.train.image_shape),
        "n_parameters": record.n_parameters,
        "train_accuracy": train,
        "train_accuracy_on_true_labels": _accuracy(on_train, data.train.true_labels),
        **_on_changed(on_train, data.train),
        "test_accuracy": _accuracy(on_test, data.test.true_labels),
        "test_accuracy_on_corrupted_labels": _accuracy(on_test, corrupted_test),
        **train_top5,
        **test_top5,
        **_validation(data, model, history),
        "interpolated": train == 1.0,
        "online_train_accuracy": None if history.empty else float(history["train_accuracy"].iloc[-1]),
        **early_stopping(history),
        "epochs": record.epochs,
        "epochs_to_fit": record.epochs_to_fit,
        "diverged": record.diverged,
        "majority_share": float(data.train.labels.bincount().max()) / len(data.train),
        "changed_fraction": float((data.train.labels != data.train.true_labels).double().mean()),
        "changed_fraction_test": float((corrupted_test != data.test.true_labels).double().mean()),
        **record.summary,
        **scores(spec, model, data, corrupted_test),
        **({"skipped_corrupt": dict(data.skipped)} if spec.skip_corrupt else {}),
        "examples": _examples(data.train),
    }


def _on_changed(predicted: np.ndarray, split: Split) -> dict:
    """Train accuracy on the examples with their true label, and on those with a wrong one; and how many of these are predicted as their
    true class. Empty if no label is wrong."""
    labels, true = split.labels.numpy(), split.true_labels.numpy()
    changed = labels != true
    if not changed.any() or changed.all():
        return {}
    fitted = predicted == labels
    accuracies = {"unchanged": fitted[~changed], "changed": fitted[changed]}
    out = {f"train_accuracy_on_{name}": float(values.mean()) for name, values in accuracies.items()}
    return {**out, "changed_as_true": float((predicted == true)[changed].mean())}


def _validation(data: Dataset, model, history: pd.DataFrame) -> dict:
    """validation_accuracy at the end, for models whose history does not have it."""
    if data.validation is None or not history.empty:
        return {}
    return {"validation_accuracy": _accuracy(predict_split(model, data.validation), data.validation.labels)}


def early_stopping(history: pd.DataFrame) -> dict:
    """What stopping early would have given (ICLR 2017, section 3), from the evaluations after each epoch.

    best_test_accuracy, best_test_epoch: the best along the way, as the paper reports it. Chosen on the test set, it is
    an upper bound, not an estimate (the paper's footnote 3). With a validation split also the rigorous version:
    best_validation_accuracy, best_validation_epoch (the first best), and test_accuracy_at_best_validation. The best top-5
    accuracy along the way, where there is one, may be of another epoch than the best accuracy.
    """
    out: dict = {}
    for name in ("test", "validation"):
        column = f"{name}_accuracy"
        if column in history and bool(history[column].notna().any()):
            best = history[column].idxmax()
            out |= {f"best_{column}": float(history.loc[best, column]), f"best_{name}_epoch": int(history.loc[best, "epoch"])}
            if f"{name}_top5_accuracy" in history:
                out[f"best_{name}_top5_accuracy"] = float(history[f"{name}_top5_accuracy"].to_numpy().max())
            if name == "validation":
                out["test_accuracy_at_best_validation"] = float(history.loc[best, "test_accuracy"])
    return out


def _example_rows(split: Split) -> list[int]:
    """The first example of each of the first classes that the split has."""
    true = split.true_labels
    return [int((true == k).nonzero()[0]) for k in true.unique()[:EXAMPLES].tolist()]


def _examples(split: Split) -> list[dict]:
    name = split.classes
    return [
        {"id": int(split.ids[i]), "label": name[int(split.labels[i])], "true_label": name[int(split.true_labels[i])]}
        for i in _example_rows(split)
    ]


def _save_examples(split: Split, path: Path) -> None:
    """The examples side by side, as the model was given them (Gaussian pixels clipped to what can be shown)."""
    if len(split.image_shape) != 3 or split.image_shape[0] not in (1, 3):
        return
    images = to_float(split.images[_example_rows(split)]).clamp(0, 1)
    strip = torch.cat(list(images), dim=2).mul(255).round().byte().permute(1, 2, 0).numpy()
    picture = Image.fromarray(strip[..., 0] if strip.shape[2] == 1 else strip)
    write_own(path, lambda aside: picture.save(aside, format="PNG"))


def _provenance(device: torch.device) -> dict:
    """Versions, hardware, threads, and the revision of the code."""
    packages = ("shattering", "torch", "numpy", "scikit-learn", "pandas")
    return {
        "versions": {"python": platform.python_version()} | {name: _version(name) for name in packages},
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "git_revision": _git_revision(),
    }


@lru_cache  # 6 ms a package
def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


@lru_cache
def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


@lru_cache
def _git_revision() -> str | None:
    """The revision of the checkout that this code runs from (with "+" if it was changed since), or None."""
    try:
        here = Path(__file__).resolve()
        git = ["git", "-C", str(here.parent)]
        described = subprocess.run([*git, "describe", "--always", "--abbrev=40", "--dirty=+"], capture_output=True, text=True, timeout=10)
        tracked = subprocess.run([*git, "ls-files", "--error-unmatch", str(here)], capture_output=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return described.stdout.strip() or None if tracked.returncode == 0 else None
