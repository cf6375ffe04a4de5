"""The table of runs that the tests read: which treatment each stored run is, which cell it belongs to, and its outcomes."""

import json
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import cache
from math import sqrt
from typing import cast

import pandas as pd

from shattering.errors import InputError, counted
from shattering.learners import find_model
from shattering.learners.network import NetworkClassifier
from shattering.runs.spec import RunSpec
from shattering.runs.stored import Run

COLUMNS = {
    "run": "Id of the run.",
    "cell": "Data, size, architecture and hyperparameters; runs of a cell differ in treatment and seed.",
    "condition": "The treatment: one of `CONDITIONS`.",
    "seed": "Seed of the run; runs of a cell and a seed share images and initial weights.",
    "corruption": "Probability in 0…1 that a training label is redrawn.",
    "n": "Training examples.",
    "loss": "Mean training loss at the end, in evaluation mode, in nats.",
    "updates": "Updates of the parameters.",
    "fitted": "True if the loss at which the run was to stop was reached; of a run with equal steps, if its loss is finite; "
    "at the shatter point, True.",
    "train_accuracy": "In 0…1, of the labels trained on.",
    "test_accuracy": "In 0…1, of the true labels.",
    "n_test": "Test examples.",
    "gap": "Training accuracy minus test accuracy, the test labels corrupted as the training labels are.",
    "gap_error": "Standard error of the gap, √(e(1−e)/n_test).",
    "gap_to_true": "Training accuracy minus test accuracy with true test labels.",
    "parameters": "Trainable scalars.",
    "layers": "Layers with weights, where the network's name says it.",
}
CONDITIONS = {
    "natural": "original labels and pixels",
    "partial": "part of the labels random",
    "random": "random labels",
    "random pixels": "pixels permuted anew in every image",
    "gaussian pixels": "Gaussian noise in place of pixels",
    "equal steps": "original labels, as many steps as the random labels of the same seed took",
    "fewer": "random labels on fewer examples",
    "shatter point": "the most random labels that a stored search has fitted, beyond which it failed",
    "untrained natural": "untrained network, original labels",
    "untrained random": "untrained network, random labels",
}
_FITS = 0.99  # training accuracy from which a search for the shatter point counts its random labels as fitted
_NOT_HYPERPARAMETERS = ("epochs", "stop_at_loss", "evaluate_train", "track_examples", "network", "learning_rate")
_SIZES = ((re.compile(r"mlp-(\d+)x(\d+)"), "mlp"), (re.compile(r"(?:small-cnn)(?:-(\d+))?"), "small-cnn"))


def runs_table(runs: Sequence[Run]) -> tuple[pd.DataFrame, list[str]]:
    """Describe the runs that belong to a population; others are left out.

    A run belongs to one if it is done, and trains a network to a loss (`stop_at_loss`) on original or random labels or pixels, or is an
    untrained network (a learning rate of 0), or trains on original labels for as many steps as a run with random labels took. Of a
    stored search for the shatter point of a cell's network, which trains on random labels without a loss to stop at, it has the largest
    run that fitted. What a run is follows from its specification alone, so that runs of one's own are a population too.

    Args:
        runs: of a store, done or not.

    Returns:
        The table, one row per run, with `COLUMNS` and one column per axis; and the axes: the hyperparameters that differ between cells.

    Raises:
        InputError: if no run belongs to a population.

    Example:
        >>> from shattering import Store
        >>> table, axes = runs_table(Store("runs").runs())  # doctest: +SKIP
        >>> axes  # doctest: +SKIP
        ['network', 'learning_rate']
    """
    done = {run.run_id: run for run in runs if run.status == "done" and _is_plain(run.spec)}
    rows = [row for run in done.values() if (row := _row(run))]
    table = pd.DataFrame(rows)
    if table.empty or not {"natural", "random"} <= set(table["condition"]):
        raise InputError(
            f"runs has {len(runs)} runs of networks, and none trained to a loss on both original and random labels, "
            "expected a population such as `shattering interrogate --scale demo` trains"
        )
    table = _with_shatter_points(_with_equal_steps(_with_cells(table)))
    table = table.sort_values(["cell", "condition", "seed", "n", "run"], ignore_index=True)
    again = ["cell", "condition", "seed", "n", "corruption"]
    doubles = table.duplicated(again)
    if doubles.any():
        first = table.loc[doubles, "run"].iloc[0]
        warnings.warn(
            f"{counted(int(doubles.sum()), 'run')} left out, first {first}: of runs of one cell, treatment and seed, which differ in "
            "budget, loss to stop at or seed of the noise, the first by id counts",
            stacklevel=2,
        )
    table = table.loc[~doubles].reset_index(drop=True)
    trained = table.loc[table["condition"] == "natural"]
    axes = [name for name in _axis_names(table) if len(trained[name].unique()) > 1]
    return table.loc[:, list(dict.fromkeys([*COLUMNS, *axes, "network"]))], axes


def _is_plain(spec: RunSpec) -> bool:
    """Return whether a run is of a network, without folds, and with no other randomization than those of `CONDITIONS`."""
    r = spec.randomization
    plain = r.pixels == "true" or (r.pixels in ("random", "gaussian") and not r.labels)
    return spec.model == "network" and spec.folds is None and r.label_mode == "redraw" and not r.permute_channels and plain


@cache
def _defaults() -> Mapping[str, object]:
    return find_model("network").get_params()


def _row(run: Run) -> dict | None:
    """Return what is known of a run without the others; None for one that belongs to no population."""
    spec, result, history = run.spec, run.result, run.history
    params = {**_defaults(), **spec.params}
    condition = _condition(spec, params)
    if history.empty or condition is None:
        return None
    last = history.iloc[-1]
    untrained = condition.startswith("untrained")
    loss = float(last["train_loss"] if untrained else last.get("full_train_loss", float("nan")))
    stop = cast(float | None, params["stop_at_loss"])
    finite = loss == loss and loss < float("inf")
    corrupted, true = result.get("test_accuracy_on_corrupted_labels", result["test_accuracy"]), result["test_accuracy"]
    return {
        "run": run.run_id,
        "condition": condition,
        "seed": spec.seed,
        "corruption": spec.randomization.labels,
        "n": result["n_train"],
        "loss": loss,
        "updates": 0.0 if untrained else float(last["step"]),
        "epochs": float(result["epochs"]),
        "fitted": untrained or (finite and (stop is None or loss <= stop)),
        "train_accuracy": result["train_accuracy"],
        "test_accuracy": true,
        "n_test": result["n_test"],
        "gap": result["train_accuracy"] - corrupted,
        "gap_error": sqrt(max(corrupted * (1 - corrupted), 0.0) / result["n_test"]),
        "gap_to_true": result["train_accuracy"] - true,
        "parameters": result["n_parameters"],
        "setting": _setting(spec, params, untrained),
        "network": params["network"],
        **_architecture(str(params["network"])),
        **_hyperparameters(params),
        "learning_rate": cast(NetworkClassifier, spec.build()).hyperparameters(result["n_train"], 0).learning_rate,
    }


def _hyperparameters(params: Mapping[str, object]) -> dict:
    """Return the parameters that may be axes. One whose name a column has (the loss that is minimized) is told apart by its own."""
    kept = {name: value for name, value in params.items() if name not in _NOT_HYPERPARAMETERS}
    return {
        f"{name} (parameter)" if name in COLUMNS else name: value
        for name, value in kept.items()
        if isinstance(value, (int, float, str, type(None)))
    }


def _condition(spec: RunSpec, params: Mapping[str, object]) -> str | None:
    """Return the treatment that a specification says; "equal steps" or "shatter point" for one that may be, which the others decide."""
    r = spec.randomization
    if params["learning_rate"] == 0:
        return {0.0: "untrained natural", 1.0: "untrained random"}.get(r.labels) if r.pixels == "true" else None
    if params["stop_at_loss"] is None:
        return {0.0: "equal steps", 1.0: "shatter point"}.get(r.labels) if r.pixels == "true" else None
    if r.pixels != "true":
        return f"{r.pixels} pixels"
    return {0.0: "natural", 1.0: "random"}.get(r.labels, "partial")


def _setting(spec: RunSpec, params: Mapping[str, object], untrained: bool) -> str:
    """Return what runs of a cell have in common, their number of examples apart, as text.

    A seed of the subset of its own is part of it, so that runs of a cell and a seed share their images.
    """
    data = {name: value for name, value in asdict(replace(spec, randomization=type(spec.randomization)())).items() if value is not None}
    for name in ("n_train", "randomization", "params", "seed", "noise_seed"):
        data.pop(name, None)
    own = {"network": params["network"]} if untrained else own_parameters(params)
    return json.dumps({**data, **own, "untrained": untrained}, sort_keys=True, default=str)


def own_parameters(params: Mapping[str, object]) -> dict[str, object]:
    """Return the parameters of a network by which cells differ: those that are not at their defaults, without how long it is trained.

    Example:
        >>> own_parameters({"network": "mlp-1x64", "epochs": 9, "weight_decay": 0.0})
        {'network': 'mlp-1x64'}
    """
    known, left_out = _defaults(), ("epochs", "stop_at_loss", "evaluate_train", "track_examples")
    return {name: value for name, value in sorted(params.items()) if name not in left_out and value != known.get(name)}


def _architecture(network: str) -> dict:
    """Return family, depth and width of a network whose name has sizes; the name as the family of another."""
    for pattern, family in _SIZES:
        if sizes := pattern.fullmatch(network):
            depth, width = (int(sizes[1]), int(sizes[2])) if family == "mlp" else (3, int(sizes[1] or 32))
            return {"family": family, "depth": depth, "width": width, "layers": depth + (1 if family == "mlp" else 2)}
    return {"family": network, "depth": None, "width": None, "layers": None}


def _axis_names(table: pd.DataFrame) -> list[str]:
    others = {*COLUMNS, "setting", "network", "epochs", "family", "depth", "width", "learning_rate"}
    return ["n", "family", "depth", "width", "learning_rate", *(name for name in table if name not in others)]


def _with_cells(table: pd.DataFrame) -> pd.DataFrame:
    """Name the cells: a setting and the number of examples of its natural runs.

    Random labels on fewer belong to the next larger cell, those of a search for the shatter point to the next smaller one.
    """
    sizes = {key: sorted(rows["n"].unique()) for key, rows in table.loc[table["condition"] == "natural"].groupby("setting")}
    searched = {_untested(str(setting)): setting for setting in sizes}
    rows = []
    for row in table.to_dict("records"):
        if row["condition"] == "shatter point":
            row["setting"] = searched.get(_untested(row["setting"]), row["setting"])
        n, own = row["n"], sizes.get(row["setting"], [])
        if row["condition"] == "random" and n not in own:
            n = min((size for size in own if size > n), default=None)
            row["condition"] = "fewer"
        if row["condition"] == "shatter point" and own:
            n = max((size for size in own if size <= n), default=own[0])
        if n is not None and (n in own or row["condition"].startswith("untrained")):
            rows.append({**row, "cell": f"{row['setting']} n={n}"})
    return pd.DataFrame(rows)


def setting_of_cell(cell: str) -> str:
    """Return what its runs have in common, as text: the data, the architecture and the hyperparameters, without any number of examples."""
    return _untested(cell.rpartition(" n=")[0])


def setting_of_training(dataset: str, params: Mapping[str, object]) -> str:
    """Return the same of a network that is trained on a dataset with these parameters, such as that of a study."""
    return _untested(_setting(RunSpec(dataset, params=params), params, untrained=False))


def _untested(setting: str) -> str:
    """Return a setting without its number of test examples, on which training does not depend."""
    return json.dumps({name: value for name, value in json.loads(setting).items() if name != "n_test"}, sort_keys=True)


def _with_equal_steps(table: pd.DataFrame) -> pd.DataFrame:
    """Keep of the runs without a stop those that took as many epochs as the run with random labels of the same cell and seed."""
    random = table[table["condition"] == "random"]
    epochs = {(cell, seed): count for cell, seed, count in zip(random["cell"], random["seed"], random["epochs"], strict=True)}
    equal = [epochs.get((cell, seed)) == count for cell, seed, count in zip(table["cell"], table["seed"], table["epochs"], strict=True)]
    return table.loc[(table["condition"] != "equal steps") | pd.Series(equal, index=table.index)]


def _with_shatter_points(table: pd.DataFrame) -> pd.DataFrame:
    """Keep of the runs of a search for the shatter point, by cell and seed, the largest that fitted, if a larger one did not."""
    search = table["condition"] == "shatter point"
    kept = []
    for _, runs in table.loc[search].sort_values(by="n").groupby(["cell", "seed"]):
        failed = (runs["train_accuracy"] < _FITS).to_numpy().nonzero()[0]
        if len(failed) and failed[0] > 0:
            kept.append(runs.index[failed[0] - 1])
    return table.assign(fitted=table["fitted"] | search).loc[~search | table.index.isin(kept)]
