"""Theorem 1: a two-layer ReLU network with 2n + d weights takes any labels; SGD with as many weights does not find such ones."""

import math
from collections.abc import Sequence
from math import prod
from typing import cast

import altair as alt
import numpy as np
import pandas as pd

from shattering import seeds
from shattering.experiments.experiment import Claim, Column, Outcome, Result, Runs, Table, bars_over, cut_short, judge
from shattering.experiments.relu_points import random_labels, survey_distinct, to_check
from shattering.experiments.scales import CapacityScale, Scale
from shattering.networks import CIFAR_SHAPE
from shattering.parameters import Count
from shattering.randomization import Randomization
from shattering.relu.direction import CANDIDATES, Projection, best_of, turned
from shattering.relu.hinges import interpolate, midway, smallest_eigenvalue, weight_bound
from shattering.relu.networks import ReluNetwork, forward_in_blocks, n_parameters, summation_order
from shattering.report.charts import SIZE, Chart, log_axis, reference, series, share_axis
from shattering.runs.base import Spec
from shattering.runs.spec import RunSpec
from shattering.runs.stored import Run
from shattering.runs.study import StudySpec

TITLE = "Theorem 1: 2n + d weights take any labels"
PLACE = ("ICLR 4, theorem 1", "small")
DIMENSIONS = {"digits": (64, 64), "cifar10": (3072, prod(CIFAR_SHAPE))}  # dataset → dimensions of its images, and of the inputs of networks
CLASSES = 10
ERROR = 1e-4  # the largest error allowed in the plain forward pass
NEAR, LUCK = 0.03, 0.07  # how far an accuracy may be from chance, and how much farther by luck
PLAIN = 50_000  # points up to which it is allowed no more
SIZES = (
    Column("data", "images"),
    Column("n_parameters", "weights", "number"),
    Column("count", "2n + d", "number"),
    Column("smallest_gap", "smallest gap", "number"),
    Column("eigenvalue", "smallest eigenvalue", "number"),
    Column("largest_weight", "largest weight", "number"),
    Column("weight_bound", "bound on it", "number"),
    Column("max_error", "largest error", "number"),
    Column("labels_right", "labels right %", "percent"),
    Column("n_checked", "of", "number"),
)
TRIED = (
    Column("build", "build"),
    Column("steepness", "steepness", "number"),
    Column("largest_weight", "largest weight", "number"),
    Column("max_error", "largest error", "number"),
    Column("exact_error", "with exact sums", "number"),
    Column("labels_right", "labels right %", "percent"),
)
TRAINED = (
    Column("n", "n", "number"),
    Column("weights", "weights", "number"),
    Column("built_train", "built: train %", "percent"),
    Column("built_test", "built: test %", "percent"),
    Column("network", "trained"),
    Column("parameters", "weights", "number"),
    Column("trained_train", "trained: train %", "percent"),
    Column("trained_test", "trained: test %", "percent"),
)


BUILDS = (
    "random direction, thresholds midway",
    "thresholds at the previous point",
    "the best of 16 directions",
    "the direction turned",
    "hidden units ordered",
)


_TERMS = 10_000_000  # how many terms exact sums may have together


def run_study(
    seed: int, *, dataset: str = "digits", n: Count | None = None, d: Count = 3072, classes: Count = 10
) -> tuple[dict, pd.DataFrame]:
    """Build the network of 2n + d weights for random labels, in the ways of `BUILDS`: each keeps the changes of those before.

    Args:
        seed: of the images, the labels 0, 1, …, the direction and the points that are checked.
        dataset: its training images are the points, as bytes; "noise": n images of d random bytes, made when they are read.
        n: images; None: all.
        d: bytes of an image of "noise".
        classes: of the random labels.

    Returns:
        The numbers and the table.
        Numbers: n, d, classes, n_parameters. Table: build; smallest_gap (as a share of the range);
        steepness (see `shattering.relu.direction.steepness`); largest_weight; weight_bound; eigenvalue (lemma 1's);
        max_error (of the plain float64 forward pass at n_checked points); exact_error (of exact sums of the same float64
        terms, at the first of these points); labels_right (share of the checked points).

    Raises:
        InputError: for a dataset with duplicates of images, and for "noise" without n.

    Example:
        >>> numbers, table = run_study(0, dataset="noise", n=50, d=32)
        >>> numbers["n_parameters"], table["labels_right"].tolist()
        (132, [1.0, 1.0, 1.0, 1.0, 1.0])
    """
    rows, targets, about = random_labels(seed, dataset, n, d, classes)
    largest = survey_distinct(dataset, rows, targets)
    draws = seeds.generator(seed, "direction")
    one = best_of(rows, targets, largest, draws, 1)
    best = best_of(rows, targets, largest, draws, CANDIDATES)
    last = turned(rows, targets, best, largest)
    projections = (one, one, best, last, last)
    table = [_build(name, projection, targets, seed) for name, projection in zip(BUILDS, projections, strict=True)]
    numbers = {"n": len(targets), "d": rows.shape[1], "classes": classes, "n_parameters": n_parameters(len(targets), rows.shape[1], 2)}
    return {**about, **numbers, "exact_projections": last.exact}, pd.DataFrame(table)


def _build(name: str, projection: Projection, targets: np.ndarray, seed: int) -> dict:
    order = np.argsort(projection.points, kind="stable")
    knots, values = projection.points[order], targets[order]
    h = interpolate(knots, values)
    thresholds, weights = midway(knots, values) if name == BUILDS[0] else (h.thresholds, h.weights)
    if name == BUILDS[-1]:
        thresholds, weights = (a[summation_order(len(a))] for a in (thresholds, weights))
    checked = to_check(len(knots), seed)
    outputs = forward_in_blocks(ReluNetwork(projection.direction, thresholds, weights), knots[checked])
    few = checked[: max(1, _TERMS // len(knots))]
    exact = np.array([math.fsum((np.maximum(z - thresholds, 0.0) * weights).tolist()) for z in knots[few]])
    scale = float(np.ptp(knots)) or 1.0
    return {
        "build": name,
        "smallest_gap": float(np.diff(knots).min(initial=scale) / scale),
        "steepness": projection.steepness,
        "largest_weight": float(np.abs(weights).max()),
        "weight_bound": weight_bound(knots, values, h.thresholds),
        "eigenvalue": smallest_eigenvalue(np.sort(knots), np.sort(thresholds)),
        "max_error": float(np.abs(outputs - values[checked]).max()),
        "n_checked": len(checked),
        "exact_error": float(np.abs(exact - values[few]).max()),
        "labels_right": float((np.rint(outputs) == values[checked]).mean()),
    }


def study_specs(k: CapacityScale) -> list[StudySpec]:
    """List the studies, one per number of images."""
    real = [StudySpec("theorem1", {"dataset": k.dataset, "n": n}) for n in k.sizes]
    return [*real, *(StudySpec("theorem1", {"dataset": "noise", "n": n}) for n in k.noise)]


def trained_specs(k: CapacityScale) -> dict[int, tuple[RunSpec, RunSpec]]:
    """Map each n to the runs of the constructed network and of an MLP with one hidden layer and about as many weights."""
    specs, (d, inputs) = {}, DIMENSIONS[k.dataset]
    for n in k.trained:
        units = max(1, round((2 * n + d - CLASSES) / (inputs + 1 + CLASSES)))
        params = {"network": f"mlp-1x{units}", "epochs": k.epochs, "stop_when_fitted": True}
        common = (k.dataset, n, None, Randomization(1.0))
        specs[n] = (RunSpec(*common, model="relu"), RunSpec(*common, params=params))
    return specs


def specs(scale: Scale) -> list[Spec]:
    """List all studies and runs."""
    k = scale.capacity
    return [*study_specs(k), *(spec for pair in trained_specs(k).values() for spec in pair)]


def result(scale: Scale, runs: Runs) -> Result:
    """Make the tables, the charts and the claims from stored studies and runs."""
    k = scale.capacity
    records = runs.records(study_specs(k))
    pairs = {n: (runs.outcome([built]), runs.outcome([trained])) for n, (built, trained) in trained_specs(k).items()}
    done = [record for record in records if record.result]
    size = f"random labels of {k.dataset}, n up to {max((r.result['n'] for r in done), default=0):,}"
    rows, errors = [_size_row(record) for record in done], _errors(done)
    trained = [_trained_row(n, *pair) for n, pair in pairs.items()]
    tables = [
        Table("The network for ten random classes 0…9", SIZES, rows, _ABOUT),
        *(Table(f"Ways to build it, {r.result['data']}", TRIED, r.table.to_dict("records"), _TRIED) for r in done[-1:]),
        Table(
            "Existence beside trainability: random labels",
            TRAINED,
            trained,
            "Both networks have the same images and labels.",
        ),
    ]
    charts = {}
    if rows:
        caption = "Largest error of the plain float64 forward pass over n. Below the line, at half a class, every label is right. "
        charts["theorem1"] = (_error_chart(errors), caption + bars_over([1]))
    both_done = [row for row in trained if row["built_train"] is not None and row["trained_train"] is not None]
    if both_done:
        caption = f"Accuracies of the built network and of a trained one with as many weights, on random labels of {k.dataset}. "
        caption += bars_over(len(outcome.done) for pair in pairs.values() for outcome in pair)
        charts["theorem1-trained"] = (_trained_chart(pd.DataFrame(both_done)), caption)
    everything = [*records, *(run for pair in pairs.values() for outcome in pair for run in outcome.runs)]
    claims = _claims(records, trained, pairs[trained[-1]["n"]][1].runs)
    return Result("theorem1", TITLE, scale.name, size, everything, tables, charts, claims)


_ABOUT = (
    "Gaps between points along the direction are shares of their range. Errors are of the plain float64 forward pass, in classes, over "
    "the number of points in the last column. The smallest eigenvalue is lemma 1's, in units of the direction's largest entry."
)
_TRIED = (
    "Each build keeps the changes of those above it. Steepness is the root of the summed squares of the slopes, in classes per range of "
    "the points; times 1e-16 it is about the error of the last build, and far below that of the first."
)


def _size_row(record: Run[StudySpec]) -> dict:
    last = record.table.iloc[-1].to_dict()
    r = record.result
    return {"data": r["data"], "n_parameters": r["n_parameters"], "count": 2 * r["n"] + r["d"], **last}


def _errors(records: list[Run[StudySpec]]) -> pd.DataFrame:
    frames = [record.table[["build", "max_error"]].assign(n=record.result["n"]) for record in records]
    return pd.concat(frames) if frames else pd.DataFrame()


def _trained_row(n: int, built: Outcome, trained: Outcome) -> dict:
    return {
        "n": n,
        "weights": 2 * n + DIMENSIONS[built.runs[0].spec.dataset][0],
        "built_train": built.mean("train_accuracy"),
        "built_test": built.mean("test_accuracy"),
        "network": trained.runs[0].spec.model_name,
        "parameters": trained.mean("n_parameters"),
        "trained_train": trained.mean("train_accuracy"),
        "trained_test": trained.mean("test_accuracy"),
    }


def _claims(records: list[Run[StudySpec]], trained: list[dict], last: Sequence[Run]) -> list[Claim]:
    """Judge the claims. last: the runs of the network that was trained on the most images."""
    done = [(record.result, record.table.iloc[-1]) for record in records if record.result]
    missing = {record.spec.title: cast(int, record.spec.params["n"]) for record in records if not record.result}
    exact = dict.fromkeys(missing) | {
        f"n = {r['n']:,}": float(row.labels_right * (r["n_parameters"] == 2 * r["n"] + r["d"])) for r, row in done
    }
    error = dict.fromkeys(title for title, n in missing.items() if n <= PLAIN) | {
        f"n = {r['n']:,}": float(row.max_error) for r, row in done if r["n"] <= PLAIN
    }
    top = trained[-1]
    reached = {"built": top["built_train"], "trained": top["trained_train"]}
    tests: dict[str, float | None] = {f"{how}, n = {row['n']:,}": row[f"{how}_test"] for row in trained for how in ("built", "trained")}
    beyond = [abs(x - 1 / CLASSES) for x in tests.values() if x is not None]
    return [
        judge(
            "2n + d weights take any labels",
            "A two-layer ReLU network with 2n + d weights represents any function on n points in d dimensions.",
            "for every n, the network has exactly 2n + d weights and its plain forward pass predicts every label that was checked",
            exact,
            lambda v: min(v.values()) == 1,
        ),
        judge(
            "and float64 holds it",
            "(Ours: the construction is exact for real numbers; the plain float64 forward pass holds the targets, too.)",
            f"up to {PLAIN:,} points the plain float64 forward pass is within {ERROR:g} of every target",
            error,
            lambda v: max(v.values()) <= ERROR,
            "{:.1e}",
        ),
        judge(
            "lemma 1 bounds the weights",
            "Lemma 1's bound on the smallest eigenvalue of the matrix A can give reasonable bounds on the weights of the solution.",
            "for every n, the largest weight is at most the bound that follows from lemma 1",
            dict.fromkeys(missing) | {f"n = {r['n']:,}": float(row.largest_weight / row.weight_bound) for r, row in done},
            lambda v: max(v.values()) <= 1,
            "{:.4f} of the bound",
        ),
        judge(
            "existence is not trainability",
            "A model family has functions that are unlikely to be found by the learning algorithm (CACM 2).",
            f"at n = {top['n']:,}, the network trained by SGD predicts less than 99 % of the labels, the built one predicts all",
            reached,
            lambda v: v["built"] == 1 and v["trained"] < 0.99,
            doubts=[cut_short(last)],
        ),
        judge(
            "neither generalizes",
            "On random labels, the test accuracy of either network is that of chance.",
            f"all test accuracies are within {100 * NEAR:.0f} points of {1 / CLASSES:.0%}; up to {100 * LUCK:.0f} points beyond may be "
            "luck, for similar images may share a random label",
            tests,
            lambda v: all(x <= NEAR for x in beyond),
            doubts=["the labels are a single draw" if NEAR < max(beyond, default=0.0) <= NEAR + LUCK else None],
        ),
    ]


def _error_chart(errors: pd.DataFrame) -> Chart:
    lines = (
        alt.Chart(errors)
        .mark_line(point=True)
        .encode(
            x=alt.X(**log_axis("n", "n", "~s")),
            y=alt.Y(**log_axis("largest error (classes)", "max_error", ".0e")),
            **series("build", BUILDS, columns=1),
            tooltip=["build:N", "n:Q", alt.Tooltip("max_error:Q", format=".2e")],
        )
    )
    return alt.layer(lines, reference("half a class", y=0.5)).properties(**SIZE)


def _trained_chart(rows: pd.DataFrame) -> Chart:
    names = {
        "built_train": "built, train",
        "trained_train": "trained by SGD, train",
        "built_test": "built, test",
        "trained_test": "trained by SGD, test",
    }
    data = rows.melt("n", list(names), "series", "accuracy").replace({"series": names})
    return (
        alt.Chart(data)
        .mark_line(point=True)
        .encode(
            x=alt.X(**log_axis("n", "n", "~s")),
            y=alt.Y(**share_axis("accuracy", "accuracy")),
            **series("series", list(names.values()), columns=2),
            tooltip=["series:N", "n:Q", alt.Tooltip("accuracy:Q", format=".1%")],
        )
        .properties(**SIZE)
    )
