"""`run`: execute a spec once, and store what came of it."""

import os
import platform
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import overload

import pandas as pd
import torch
from PIL import Image

from shattering.data.dataset import Dataset, Split
from shattering.data.preprocess import to_float
from shattering.data.sources import load_dataset
from shattering.files import write_aside
from shattering.learners.on_splits import fit_split, predict_split
from shattering.randomization import randomize
from shattering.runs.spec import RunSpec
from shattering.runs.store import AnySpec, Record, Run, Store, write_json
from shattering.runs.study import StudySpec

EXAMPLES = 10  # training images kept as a picture


@overload
def run(spec: RunSpec, store: Store, on_epoch: Callable[[dict], None] | None = None) -> Run: ...
@overload
def run(spec: StudySpec, store: Store, on_epoch: Callable[[dict], None] | None = None) -> Record: ...
def run(spec: AnySpec, store: Store, on_epoch: Callable[[dict], None] | None = None) -> Run | Record:
    """The stored run, or study, of a spec: executed now unless it is there, resumed if it was interrupted.

    Waits if another process is at it. on_epoch: called with each row of the history. Raises InputError for bad
    input and OSError where the store cannot be written, after marking the run as failed.
    """
    folder = store.folder(spec)
    with store.lock(folder):
        if not (folder / "result.json").exists():
            write_json(folder / "spec.json", spec.to_json())
            try:
                if isinstance(spec, RunSpec):
                    _execute(spec, folder, on_epoch)
                else:
                    _execute_study(spec, folder)
            except Exception as error:
                _try_to_fail(store, spec, error)
                raise
        return store.read(folder)


def _try_to_fail(store: Store, spec: AnySpec, error: Exception) -> None:
    with suppress(OSError):  # no space for the mark either; the error itself is on its way to the user
        store.fail(spec, f"{type(error).__name__}: {error}")


def _execute_study(spec: StudySpec, folder: Path) -> None:
    started, clock = datetime.now(UTC), time.perf_counter()
    result, table = spec.execute()
    write_aside(folder / "table.parquet", lambda path: table.to_parquet(path, index=False))
    provenance = _provenance(torch.device("cpu")) | {"started": started.isoformat(timespec="seconds")}
    write_json(folder / "provenance.json", provenance | {"seconds": time.perf_counter() - clock})
    write_json(folder / "result.json", result)  # last: its presence says that it is done
    (folder / "failed.json").unlink(missing_ok=True)


def _execute(spec: RunSpec, folder: Path, on_epoch: Callable[[dict], None] | None) -> None:
    started, clock = datetime.now(UTC), time.perf_counter()
    data = load_dataset(spec.dataset, spec.n_train, spec.n_test, spec.resolved_data_seed, spec.n_validation)
    fingerprint = data.fingerprint()
    data = randomize(data, spec.randomization, spec.resolved_noise_seed)
    learner = spec.build()
    checkpoint = folder / "checkpoint.pt"
    resumed = checkpoint.exists()
    fit_split(learner, data.train, test=data.test, validation=data.validation, checkpoint=checkpoint, on_epoch=on_epoch)
    result, seconds = _result(spec, data, learner), time.perf_counter() - clock

    history = getattr(learner, "history_", pd.DataFrame({"epoch": []}))
    epoch_seconds = history["seconds"].tolist() if "seconds" in history else []
    history = history.drop(columns="seconds", errors="ignore")
    write_aside(folder / "history.parquet", lambda path: history.to_parquet(path, index=False))
    examples = getattr(learner, "examples_", None)
    if examples is not None:
        write_aside(folder / "examples.parquet", lambda path: examples.to_parquet(path, index=False))
    if hasattr(learner, "save"):
        write_aside(folder / "model.safetensors", learner.save)  # type: ignore[attr-defined]
    _save_examples(data.train, folder / "examples.png")
    provenance = _provenance(getattr(learner, "device_", torch.device("cpu")))
    provenance |= {"dataset_fingerprint": fingerprint, "started": started.isoformat(timespec="seconds")}
    provenance |= {"seconds": seconds, "resumed": resumed, "epoch_seconds": epoch_seconds}
    write_json(folder / "provenance.json", provenance)
    write_json(folder / "result.json", result)  # last: its presence says that the run is done
    for leftover in (checkpoint, folder / "failed.json"):
        leftover.unlink(missing_ok=True)


def _accuracy(learner, split: Split, labels: torch.Tensor, fitted: bool = False) -> tuple[float, float]:
    """Accuracies against the split's labels and against others. fitted: it is the training split, which some learners have predicted."""
    predicted = predict_split(learner, split, fitted)
    return tuple(float((predicted == y.numpy()).mean()) for y in (split.labels, labels))  # type: ignore[return-value]


def _result(spec: RunSpec, data: Dataset, learner) -> dict:
    r = spec.randomization
    corrupted_test = r.corrupt(data.test, spec.resolved_noise_seed, "test")
    train, true_train = _accuracy(learner, data.train, data.train.true_labels, fitted=True)
    test, test_on_corrupted = _accuracy(learner, data.test, corrupted_test)
    epochs = getattr(learner, "n_iter_", None) if getattr(learner, "takes_splits", False) else None
    history = getattr(learner, "history_", pd.DataFrame())
    return {
        "dataset": data.variant,
        "n_train": len(data.train),
        "n_test": len(data.test),
        "n_classes": data.train.n_classes,
        "image_shape": list(data.train.image_shape),
        "n_parameters": getattr(learner, "n_parameters_", None),
        "train_accuracy": train,
        "train_accuracy_on_true_labels": true_train,
        "test_accuracy": test,
        "test_accuracy_on_corrupted_labels": test_on_corrupted,
        **_validation(data, learner, history),
        "interpolated": train == 1.0,
        "online_train_accuracy": None if history.empty else float(history["train_accuracy"].iloc[-1]),
        **early_stopping(history),
        "epochs": epochs,
        "epochs_to_fit": getattr(learner, "epochs_to_fit_", None),
        "diverged": getattr(learner, "diverged_", False),
        "changed_fraction": float((data.train.labels != data.train.true_labels).double().mean()),
        "changed_fraction_test": float((corrupted_test != data.test.true_labels).double().mean()),
        **getattr(learner, "summary_", {}),
        "examples": _examples(data.train),
    }


def _validation(data: Dataset, learner, history: pd.DataFrame) -> dict:
    """validation_accuracy at the end, for learners whose history does not have it."""
    if data.validation is None or not history.empty:
        return {}
    return {"validation_accuracy": _accuracy(learner, data.validation, data.validation.true_labels)[0]}


def early_stopping(history: pd.DataFrame) -> dict:
    """What stopping early would have given (ICLR 2017, section 3), from the evaluations after each epoch.

    best_test_accuracy, best_test_epoch: the best along the way, as the paper reports it. Chosen on the test set, it is
    an upper bound, not an estimate (the paper's footnote 3). With a validation split also the rigorous version:
    best_validation_accuracy, best_validation_epoch (the first best), and test_accuracy_at_best_validation.
    """
    out: dict = {}
    for name in ("test", "validation"):
        column = f"{name}_accuracy"
        if column in history and bool(history[column].notna().any()):
            best = history[column].idxmax()
            out |= {f"best_{column}": float(history.loc[best, column]), f"best_{name}_epoch": int(history.loc[best, "epoch"])}
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
    """The examples side by side, as the learner was given them (Gaussian pixels clipped to what can be shown)."""
    if len(split.image_shape) != 3 or split.image_shape[0] not in (1, 3):
        return
    images = to_float(split.images[_example_rows(split)]).clamp(0, 1)
    strip = torch.cat(list(images), dim=2).mul(255).round().byte().permute(1, 2, 0).numpy()
    picture = Image.fromarray(strip[..., 0] if strip.shape[2] == 1 else strip)
    write_aside(path, lambda aside: picture.save(aside, format="PNG"))


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


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


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
