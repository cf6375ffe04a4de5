"""Test stored models again on a second test set, the way of CIFAR-10.1, and compare the two accuracies over models.

Recht, Roelofs, Schmidt and Shankar ("Do ImageNet classifiers generalize to ImageNet?", ICML 2019; "Do CIFAR-10 classifiers generalize to
CIFAR-10?", 2018): accuracies fall on a new test set, but the models keep their order, along a line. CACM 2021 surveys it in section 6.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import altair as alt
import numpy as np
import pandas as pd
import torch

from shattering import seeds
from shattering.brief import Brief
from shattering.data.load import has_test_split, load_dataset
from shattering.data.split import Split
from shattering.errors import InputError, counted
from shattering.experiments.experiment import Column, Result, Table
from shattering.identity.names import is_object
from shattering.learners.on_splits import predict_split
from shattering.report.charts import SIZE, Chart, series, share_axis
from shattering.report.style import REFERENCE_DASH, RULE
from shattering.runs.fit import load_original
from shattering.runs.spec import RunSpec
from shattering.runs.store import Store, found_in, of_models
from shattering.runs.stored import Run
from shattering.stats import accuracy_interval
from shattering.system.progress import Progress

TITLE = "Stored models, tested again on a second test set"
UNUSED = "test images that the run has not used"
GROUPS = ("original labels", "part of the labels random", "random labels")
LEAST_MODELS = 3  # for a line
DRAWS = 2000  # resamples of the models
COLUMNS = (
    Column("model", "model"),
    Column("labels", "trained on"),
    Column("n", "n", "number"),
    Column("seed", "seed", "number"),
    Column("first", "first test set %", "percent"),
    Column("first_interval", "95 %"),
    Column("second", "second test set %", "percent"),
    Column("second_interval", "95 %"),
    Column("n_second", "images", "number"),
    Column("left_out", "left out", "number"),
)
FITS = (
    Column("labels", "trained on"),
    Column("models", "models", "number"),
    Column("change", "second minus first, points"),
    Column("slope", "slope"),
    Column("intercept", "intercept, points"),
)
NOTE = (
    "Accuracies with 95 % intervals for the drawing of the test images. Left out are images of the second set that the run was trained or "
    "tested on, pixel by pixel."
)
FIT_NOTE = (
    "Least squares of the second accuracy on the first over models, with 95 % intervals (models resampled). Where models hardly differ "
    "but for the noise of the first test set, that noise makes the slope too small."
)


@dataclass(frozen=True, repr=False)
class Retest(Brief):
    """Accuracies of stored models on two test sets.

    Args:
        data: the second test set, in words.
        table: one row per run: run, model, labels (one of `GROUPS`), n, seed, first and second (accuracies in 0…1, of true labels), n_first
            and n_second (test images), their 95 % intervals (first_low, first_high, …), and left_out (images that the run has seen).
        fits: one row per group of `GROUPS`: labels, models, and change (mean of second minus first), slope and intercept of the line, each
            with _low and _high; NaN for fewer than three models, and the line where all have one first accuracy.
        skipped: runs that were not tested again, each with the reason.
        runs: those that were.

    Example:
        >>> found = retest("runs")  # doctest: +SKIP
        >>> found.fits[["labels", "slope", "slope_low", "slope_high"]]  # doctest: +SKIP
    """

    data: str
    table: pd.DataFrame
    fits: pd.DataFrame
    skipped: Sequence[tuple[str, str]]
    runs: Sequence[Run]


def retest(runs: Store | str | Path | Sequence[Run] = "runs", data: Any = None, *, progress: bool | None = None) -> Retest:
    """Test stored models again, on images that they were neither trained nor tested on.

    Args:
        runs: a store, its folder, or runs. Those without stored weights, on other pixels, by folds or of a regression are skipped.
        data: what `load_dataset` takes, whose test split has the same classes and shape; without a test split all of it. None: the images
            of a run's own test split that it has not used, of which there are some if it was tested on a subset.
        progress: False shows nothing. None shows a line with the time that is left, in a terminal or a notebook.

    Returns:
        Accuracies on both, and the line of the second on the first over models, of natural and of random labels apart.

    Raises:
        InputError: if no run can be tested again; it says why the first one cannot.

    Example:
        >>> from shattering import RunSpec, Store, run
        >>> store = Store("runs")
        >>> done = run(RunSpec("digits", 100, 100, params={"network": "mlp-1x16", "epochs": 5, "batch_size": 10}), store)
        >>> found = retest(store)
        >>> found.table["n_second"].tolist()
        [400]
        >>> abs(float(found.table["second"].iloc[0] - found.table["first"].iloc[0])) < 0.2
        True
    """
    stored, _ = found_in(runs)
    given = of_models(stored)
    rows, skipped, tested = [], [], []
    wholes: dict[tuple, Split] = {}
    second = None if data is None else load_dataset(data, hold_out=False).test
    with Progress("runs", len(given), progress) as shown:
        for done, run in enumerate(sorted(given, key=lambda run: (str(run.spec.dataset), run.spec.n_train or 0, run.spec.seed))):
            shown.update(done, run.folder.name)
            try:
                rows.append(_row(run, second, wholes))
                tested.append(run)
            except InputError as error:
                skipped.append((run.folder.name, str(error)))
    if not rows:
        why = f"the first of {len(skipped)}: {skipped[0][1]}" if skipped else "there are none"
        raise InputError(f"runs has none that can be tested again ({why}), expected networks with stored weights")
    table = pd.DataFrame(rows).sort_values(["labels", "model", "n", "seed"], ignore_index=True)
    fits = [{"labels": name, **_fit(own, name)} for name in GROUPS if len(own := table.loc[table["labels"] == name])]
    name = UNUSED if data is None else data if isinstance(data, (str, Path)) else type(data).__name__
    return Retest(str(name), table, pd.DataFrame(fits), skipped, tested)


def _row(run: Run, second: Split | None, wholes: dict[tuple, Split]) -> dict:
    """Test one run again; wholes: see `_unused`. Raises InputError, which says why it cannot be."""
    if run.status != "done":
        raise InputError(f"run {run.folder.name} is {run.status}, expected one that is done")
    spec, r = run.spec, run.spec.randomization
    if spec.folds is not None or r.pixels != "true" or r.permute_channels or is_object(spec.dataset) or "test_accuracy" not in run.result:
        raise InputError(f"run {run.folder.name} is not of a classifier of whole, original images of named data")
    own, fingerprint = load_original(spec, None)
    if fingerprint != run.provenance["dataset_fingerprint"]:
        raise InputError(f"{spec.dataset_name} is not what run {run.folder.name} was trained on, expected the same data as then")
    model = run.model()
    new, left_out = _unseen(own.train, own.test, _unused(spec, own.test, wholes) if second is None else _as_classes_of(own.test, second))
    accuracy = float((predict_split(model, new) == new.true_labels.numpy()).mean())
    first, n_first = float(run.result["test_accuracy"]), int(run.result["n_test"])
    return {
        "run": run.run_id,
        "model": str(spec.params.get("network", spec.model_name)),
        "labels": {0.0: "original labels", 1.0: "random labels"}.get(r.labels, "part of the labels random"),
        "n": run.result["n_train"],
        "seed": spec.seed,
        **_interval("first", first, n_first),
        **_interval("second", accuracy, len(new)),
        "left_out": left_out,
    }


def _interval(name: str, accuracy: float, n: int) -> dict[str, float]:
    low, high = accuracy_interval([accuracy], n)
    return {name: accuracy, f"{name}_low": low, f"{name}_high": high, f"n_{name}": n}


def _unused(spec: RunSpec, test: Split, wholes: dict[tuple, Split]) -> Split:
    """Return the images of a dataset's test split that a run has not been tested on. wholes: what was loaded last."""
    reading = {"image_size": spec.image_size, "skip_corrupt": spec.skip_corrupt, "channels": spec.channels}
    key = (spec.dataset, spec.hold_out, 0 if has_test_split(spec.dataset) else spec.resolved_data_seed, *reading.values())
    if key not in wholes:
        wholes.clear()
        wholes[key] = load_dataset(spec.dataset, spec.n_train, seed=spec.resolved_data_seed, hold_out=spec.hold_out, **reading).test
    whole = wholes[key]
    rows = np.flatnonzero(~np.isin(whole.ids.numpy(), test.ids.numpy()))
    if not len(rows):
        raise InputError(f"the run was tested on all test images of {spec.dataset_name}, expected data with others of the same classes")
    return whole.subset(torch.from_numpy(rows))


def _as_classes_of(own: Split, second: Split) -> Split:
    """Return the second test set with its labels in the order of a run's classes. Raises InputError for other classes and shapes."""
    if second.is_regression or second.input_shape != own.input_shape or second.kind != own.kind:
        raise InputError(f"data has inputs of shape {second.input_shape}, expected classes of inputs of shape {own.input_shape}")
    if not own.classes or not second.classes:
        if second.n_classes > own.n_classes:
            raise InputError(f"data has {second.n_classes} classes, expected the {own.n_classes} that the run knows")
        return replace(second, classes=own.classes, label_values=own.label_values)
    if unknown := sorted(set(second.classes) - set(own.classes)):
        raise InputError(f"data has the class {unknown[0]!r}, expected those that the run knows: {', '.join(own.classes[:10])}")
    codes = torch.tensor([own.classes.index(name) for name in second.classes])
    labels, true = codes[second.labels], codes[second.true_labels]
    return replace(second, labels=labels, true_labels=true, classes=own.classes, label_values=own.label_values)


def _unseen(train: Split, test: Split, second: Split) -> tuple[Split, int]:
    """Leave out of the second set what the run was trained or tested on; return how many images that are, too."""
    seen = {key for split in (train, test) for key in split.row_keys()}
    rows = [i for i, key in enumerate(second.row_keys()) if key not in seen]
    if not rows:
        raise InputError("the run was trained or tested on all images of the second test set, expected others")
    return second.subset(torch.tensor(rows)), len(second) - len(rows)


def _fit(table: pd.DataFrame, purpose: str) -> dict[str, float]:
    """Fit the line of the second accuracy on the first, and its intervals over resampled models."""
    first, second = table["first"].to_numpy(float), table["second"].to_numpy(float)
    n = len(table)
    draws = seeds.generator(0, f"retest/{purpose}", n).multinomial(n, np.full(n, 1 / n), size=DRAWS)
    found = dict(zip(("change", "slope", "intercept"), _lines(np.vstack([np.ones((1, n)), draws]), first, second), strict=True))
    out: dict[str, float] = {"models": n}
    for name, (whole, *resampled) in found.items():
        known = np.array(resampled)[~np.isnan(resampled)]
        has = n >= LEAST_MODELS and len(known) > 0
        low, high = np.quantile(known, [0.025, 0.975]) if has else (np.nan, np.nan)
        out |= {name: float(whole) if has or name == "change" else np.nan, f"{name}_low": float(low), f"{name}_high": float(high)}
    return out


def _lines(weights: np.ndarray, first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the mean change, the slope and the intercept under each row of weights, (rows, models); NaN where first is constant."""
    total = weights.sum(1)
    x, y = weights @ first / total, weights @ second / total
    spread = weights @ first**2 / total - x**2
    with np.errstate(invalid="ignore", divide="ignore"):
        slope = np.where(spread > 1e-12, (weights @ (first * second) / total - x * y) / spread, np.nan)
    return y - x, slope, y - slope * x


def make_result(found: Retest) -> Result:
    """Make the page of a retest: the line of each group, every model, and the chart of both accuracies."""
    size = f"second test set: {found.data}"
    rows = [
        {**row, **{f"{name}_interval": f"{row[f'{name}_low']:.1%} – {row[f'{name}_high']:.1%}" for name in ("first", "second")}}
        for row in found.table.to_dict("records")
    ]
    fits = [_shown(row) for row in found.fits.to_dict("records")]
    left = f" Not tested again: {counted(len(found.skipped), 'run')}; the first: {found.skipped[0][1]}." if found.skipped else ""
    tables = [Table("The line over models", FITS, fits, FIT_NOTE), Table("Every model", COLUMNS, rows, NOTE + left)]
    caption = f"Accuracy on the second test set over that on the first, one point per model with 95 % intervals; {size}. Dashed: no change."
    return Result("retest", TITLE, "stored", size, found.runs, tables, {"retest": (_chart(found.table), caption)})


def _shown(fit: dict) -> dict:
    def of(name: str, form: str, times: float = 1.0) -> str | None:
        value, low, high = (times * fit[f"{name}{end}"] for end in ("", "_low", "_high"))
        interval = f" ({form.format(low)} … {form.format(high)})" if low == low else ""
        return f"{form.format(value)}{interval}" if value == value else None

    numbers = {"change": of("change", "{:+.1f}", 100), "slope": of("slope", "{:.2f}"), "intercept": of("intercept", "{:+.1f}", 100)}
    return {"labels": fit["labels"], "models": fit["models"], **numbers}


def _chart(table: pd.DataFrame) -> Chart:
    present = [name for name in GROUPS if name in set(table["labels"])]
    base = alt.Chart(table).encode(color=series("labels", present)["color"])
    x, y = share_axis("first test set", "first"), share_axis("second test set", "second")
    points = base.mark_point().encode(
        shape=series("labels", present)["shape"],
        x=alt.X(**x),
        y=alt.Y(**y),
        tooltip=["model:N", "labels:N", alt.Tooltip("first:Q", format=".1%"), alt.Tooltip("second:Q", format=".1%")],
    )
    across = base.mark_rule(opacity=0.4).encode(x=alt.X(**share_axis("first test set", "first_low")), x2="first_high:Q", y="second:Q")
    along = base.mark_rule(opacity=0.4).encode(y=alt.Y(**share_axis("second test set", "second_low")), y2="second_high:Q", x="first:Q")
    ends = pd.DataFrame({"first": [0.0, 1.0], "second": [0.0, 1.0]})
    same = alt.Chart(ends).mark_line(strokeDash=REFERENCE_DASH, strokeWidth=1.5, color=RULE)
    named = pd.DataFrame({"first": [0.02], "second": [0.02], "name": ["no change"]})
    name = alt.Chart(named).mark_text(align="left", dx=12).encode(x="first:Q", y="second:Q", text="name:N")
    return alt.layer(points, across, along, same.encode(x="first:Q", y="second:Q"), name).properties(**SIZE)
