"""`evaluate`: load a spec's data, fit its model to them, and score it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from sklearn.base import BaseEstimator

from shattering import seeds
from shattering.data import subsets
from shattering.data.dataset import Dataset
from shattering.data.exchange import ExchangeFunction
from shattering.data.labels import is_default
from shattering.data.load import check_identity, identity, load_dataset
from shattering.data.split import Split
from shattering.errors import InputError
from shattering.identity.names import is_object
from shattering.learners.on_splits import fit_split, predict_split, predict_with_top5
from shattering.learners.outside import watch_estimator
from shattering.learners.own import FitRecord, record_of
from shattering.learners.predictions import check_kind
from shattering.randomization import randomize
from shattering.runs.objects import Objects, find
from shattering.runs.scoring import scores
from shattering.runs.spec import RunSpec

EXAMPLES = 10  # training images kept as a picture
INTERPOLATES = 1e-6  # of the spread of training targets, up to which a prediction counts as the target


def load_data(spec: RunSpec, objects: Objects | None = None) -> tuple[Dataset, str]:
    """Return the randomized data of a spec, and the fingerprint of the original data."""
    original, fingerprint = load_original(spec, objects)
    data = randomize(original, spec.randomization, spec.resolved_noise_seed, exchange_function(spec, objects))
    if spec.folds is not None and spec.fold is not None:
        data = data.at(*cuts(spec, data, objects)[spec.fold])
    return data, fingerprint


def exchange_function(spec: RunSpec, objects: Objects | None) -> ExchangeFunction | None:
    """Return the function that permutes labels; None where a specification names none."""
    name = spec.randomization.exchange
    return find(name, objects) if is_object(name) else None


def randomized_test_labels(spec: RunSpec, test: Split, seed: int, objects: Objects | None) -> torch.Tensor:
    """Return the test labels randomized as the training labels are; with folds these are randomized already."""
    return test.labels if spec.folds is not None else spec.randomization.corrupt(test, seed, "test", exchange_function(spec, objects))


def cuts(spec: RunSpec, data: Dataset, objects: Objects | None = None) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return (training rows, test rows) of each fold of (randomized) data. Raises InputError if they cannot be cut so."""
    assert spec.folds is not None
    if spec.cv is None:
        data.check_folds(spec.folds)
        return subsets.folds(data.train, spec.folds, spec.resolved_data_seed)
    pairs = subsets.cut(data.train, find(spec.cv, objects))
    if len(pairs) != spec.folds:
        raise InputError(f"cv makes {len(pairs)} folds of these labels, expected {spec.folds} as of the original ones")
    return pairs


def folds_of(spec: RunSpec, data: Dataset, objects: Objects | None = None) -> list[Dataset]:
    """Return randomized data as each fold of a specification has them: themselves where it has no folds."""
    return [data] if spec.folds is None else [data.at(*rows) for rows in cuts(spec, data, objects)]


_last_loaded: dict[tuple, tuple[Dataset, str]] = {}  # one entry: the next run of a series often wants the same data


def load_original(spec: RunSpec, objects: Objects | None) -> tuple[Dataset, str]:
    """Return the data of a spec before they are randomized, and their fingerprint. What was loaded last is kept."""
    handed_over = is_object(spec.dataset)
    sizes = (spec.n_train, spec.n_test, spec.resolved_data_seed, spec.n_validation, spec.hold_out and spec.folds is None)
    reading = {"image_size": spec.image_size, "skip_corrupt": spec.skip_corrupt, "channels": spec.channels}
    key = (spec.dataset if handed_over else identity(spec.dataset), *sizes, *reading.values())
    if handed_over and key in _last_loaded and _last_loaded[key][0].fingerprint() != _last_loaded[key][1]:
        del _last_loaded[key]  # the caller may hold the same tensors, and has changed them since
    if key not in _last_loaded:
        _last_loaded.clear()
        source = find(spec.dataset, objects) if handed_over else spec.dataset
        loaded = (data := load_dataset(source, *sizes, **reading)), data.fingerprint()
        if spec.n_train is not None and spec.n_train < data.train.n_classes:  # a regression has none
            raise InputError(f"n_train is {spec.n_train}, expected at least {data.train.n_classes}, an example of each class")
        if not handed_over:
            check_identity(spec.dataset)
        _last_loaded[key] = loaded
    return _last_loaded[key]


@dataclass(frozen=True)
class Evaluated:
    """A spec's model fitted to its data.

    fingerprint: of what the data were made from. result: what is stored of it. fit_seconds: of fitting alone. predicted: (n_test,) what
    the model predicts of the test split, as numbers of classes or as targets.
    """

    data: Dataset
    fingerprint: str
    model: BaseEstimator
    result: dict
    fit_seconds: float
    predicted: np.ndarray


@contextmanager
def _noted(before_training: bool) -> Iterator[None]:
    """Note on the `InputError` of bad input whether it was found before training."""
    try:
        yield
    except InputError as error:
        error.before_training = before_training
        raise


def evaluate(spec: RunSpec, objects: Objects | None = None, **watch) -> Evaluated:
    """Load a spec's data, fit its model to them and score it, as `run` does, but store nothing.

    objects: the objects that the spec names. watch: passed to `fit` of models that take splits.
    """
    with _noted(before_training=True):
        data, fingerprint = load_data(spec, objects)
        model = spec.build(objects)
        check_kind(model, data.train.is_regression)
    with _noted(before_training=False):  # whatever the model's code has called
        told = watch_estimator(model)
        test = replace(data.test, labels=data.test.true_labels)  # as for test_accuracy; those of folds are randomized
        clock = time.perf_counter()
        with seeds.everywhere(spec.seed):  # that code which is not ours may draw from
            fit_split(model, data.train, test=test, validation=data.validation, **watch)
        fit_seconds = time.perf_counter() - clock
        record = record_of(model)
        record = replace(record, notes=(*record.notes, *told()))
        with seeds.everywhere(seeds.integer(spec.seed, "predict")):
            result, predicted = _result(spec, data, model, record, objects)
        fitted = Evaluated(data, fingerprint, model, result, fit_seconds, predicted)
    check_not_changed_in_place(spec, objects, fingerprint)
    return fitted


def check_not_changed_in_place(spec: RunSpec, objects: Objects | None, fingerprint: str) -> None:
    """Raise InputError if the model's code has changed data in place that the caller holds. fingerprint: of the data before."""
    if is_object(spec.dataset) and load_original(spec, objects)[1] != fingerprint:
        raise InputError(f"{spec.dataset_name} was changed in place while it was trained on, expected code that changes copies of its own")


def _accuracy(predicted: np.ndarray, labels: torch.Tensor) -> float:
    """Return the share of predicted labels (n,) that equal these; both are 0…k-1."""
    return float((predicted == labels.numpy()).mean())


def _result(spec: RunSpec, data: Dataset, model, record: FitRecord, objects: Objects | None) -> tuple[dict, np.ndarray]:
    """Return what is stored of a fit, and the predictions of the test split."""
    corrupted_test = randomized_test_labels(spec, data.test, spec.resolved_noise_seed, objects)
    if data.train.is_regression:
        return _result_of_regression(spec, data, model, record, corrupted_test, objects)
    on_train, train_top5 = predict_with_top5(model, data.train, "train", data.train.labels)
    on_test, test_top5 = predict_with_top5(model, data.test, "test", data.test.true_labels)
    train = _accuracy(on_train, data.train.labels)
    history = record.history
    result = {
        **_about_data(data),
        "n_classes": data.train.n_classes,
        "classes": list(data.classes),
        **({} if is_default(data.train.label_values) else {"label_values": data.train.label_values.tolist()}),
        **_about_inputs(data.train, record),
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
        **_about_training(record),
        "majority_share": float(data.train.labels.bincount().max()) / len(data.train),
        "changed_fraction": _share_changed(data.train.labels, data.train),
        "changed_fraction_test": _share_changed(corrupted_test, data.test),
        **_about_fit(record),
        **scores(spec, model, data, corrupted_test, objects),
        **_about_skipped(spec, data),
        "examples": _examples(data.train),
    }
    return result, on_test


def _result_of_regression(
    spec: RunSpec, data: Dataset, model, record: FitRecord, randomized: torch.Tensor, objects: Objects | None
) -> tuple[dict, np.ndarray]:
    on_train, on_test = predict_split(model, data.train, fitted=True), predict_split(model, data.test)
    train, test = data.train.labels.numpy(), data.test.true_labels.numpy()
    errors = np.abs(on_train - train)
    result = {
        **_about_data(data),
        **_about_inputs(data.train, record),
        "train_rmse": float(np.sqrt(np.mean(errors**2))),
        "test_rmse": float(np.sqrt(np.mean((on_test - test) ** 2))),
        "interpolated": bool(errors.max() <= INTERPOLATES * max(float(train.std()), np.finfo(float).tiny)),
        **_about_training(record),
        "changed_fraction": _share_changed(data.train.labels, data.train),
        "target_correlation": _correlation(train, data.train.true_labels.numpy()),
        **_about_fit(record),
        **scores(spec, model, data, randomized, objects),
        **_about_skipped(spec, data),
    }
    return result, on_test


def _about_data(data: Dataset) -> dict:
    return {"dataset": data.variant, "n_train": len(data.train), "n_test": len(data.test)}


def _about_inputs(split: Split, record: FitRecord) -> dict:
    kind = {} if split.kind in ("images", "table") else {"kind": split.kind}
    return {"image_shape": list(split.input_shape), **kind, "n_parameters": record.n_parameters}


def _about_training(record: FitRecord) -> dict:
    return {"epochs": record.epochs, "epochs_to_fit": record.epochs_to_fit, "diverged": record.diverged}


def _about_fit(record: FitRecord) -> dict:
    return {**record.summary, **({"notes": list(record.notes)} if record.notes else {})}


def _about_skipped(spec: RunSpec, data: Dataset) -> dict:
    return {"skipped_corrupt": dict(data.skipped)} if spec.skip_corrupt else {}


def _share_changed(labels: torch.Tensor, split: Split) -> float:
    """Return the share of labels (n,) that differ from the true ones."""
    return float((labels != split.true_labels).double().mean())


def _correlation(a: np.ndarray, b: np.ndarray) -> float | None:
    """Return Pearson's correlation; None where one does not vary."""
    return float(np.corrcoef(a, b)[0, 1]) if a.std() and b.std() else None


def _on_changed(predicted: np.ndarray, split: Split) -> dict:
    """Return the training accuracy on the examples with their true label and on those with a wrong one, and the share of the latter that
    are predicted as their true class. Empty if no label is wrong, or every label is."""
    labels, true = split.labels.numpy(), split.true_labels.numpy()
    changed = labels != true
    if not changed.any() or changed.all():
        return {}
    fitted = predicted == labels
    accuracies = {"unchanged": fitted[~changed], "changed": fitted[changed]}
    out = {f"train_accuracy_on_{name}": float(values.mean()) for name, values in accuracies.items()}
    return {**out, "changed_as_true": float((predicted == true)[changed].mean())}


def _validation(data: Dataset, model, history: pd.DataFrame) -> dict:
    """Compute validation_accuracy at the end, for models whose history does not have it."""
    if data.validation is None or not history.empty:
        return {}
    return {"validation_accuracy": _accuracy(predict_split(model, data.validation), data.validation.labels)}


def early_stopping(history: pd.DataFrame) -> dict:
    """Return what stopping early would have given (ICLR 2017, section 3), from the evaluations after each epoch.

    best_test_accuracy, best_test_epoch: the best along the way, as the paper reports it. Chosen on the test set, it is
    an upper bound, not an estimate (the paper's footnote 3). With a validation split also the rigorous version:
    best_validation_accuracy, best_validation_epoch (the first best), and test_accuracy_at_best_validation. The best top-5
    accuracy along the way, where there is one, may be of another epoch than the best accuracy.

    Example:
        >>> early_stopping(pd.DataFrame({"epoch": [1, 2, 3], "test_accuracy": [0.2, 0.5, 0.4]}))
        {'best_test_accuracy': 0.5, 'best_test_epoch': 2}
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


def example_rows(split: Split) -> list[int]:
    """Return the row of the first example of each of the first classes of the split."""
    true = split.true_labels
    return [int((true == k).nonzero()[0]) for k in true.unique()[:EXAMPLES].tolist()]


def _examples(split: Split) -> list[dict]:
    name = split.classes
    return [
        {"id": int(split.ids[i]), "label": name[int(split.labels[i])], "true_label": name[int(split.true_labels[i])]}
        for i in example_rows(split)
    ]
