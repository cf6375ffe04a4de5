"""The perceptron of 1958 (CACM 2021): the bound on its mistakes depends on the labels."""

from collections.abc import Sequence
from typing import Annotated

import altair as alt
import numpy as np
import pandas as pd
from scipy.optimize import linprog
from sklearn.svm import SVC

from shattering import seeds
from shattering.data.load import load_dataset
from shattering.data.preprocess import to_float
from shattering.errors import InputError, shown
from shattering.experiments.experiment import Column, Result, Runs, Table, judge
from shattering.experiments.scales import Scale
from shattering.parameters import Count, Range, check_arguments, is_of
from shattering.report.charts import SIZE, Chart, series
from shattering.runs.study import StudySpec

TITLE = "The perceptron: mistakes against their bound, on original and on random labels"
PLACE = ("CACM 6", "demo")
LABELS = {"true": "original", "random": "random", "random, few images": "random, few images"}  # as stored → as shown
COLUMNS = (
    Column("labels", "labels"),
    Column("n", "images", "number"),
    Column("margin", "margin", "number"),
    Column("bound", "bound (R/margin)²", "number"),
    Column("mistakes", "mistakes", "number"),
    Column("last", "in the last pass", "number"),
    Column("separable", "separable"),
)


Digit = Annotated[int, "a digit", Range(0, 9)]


def run_study(seed: int, *, classes: tuple[Digit, Digit] = (0, 1), n: Count = 300, passes: Count = 150) -> tuple[dict, pd.DataFrame]:
    """Count the perceptron's mistakes on two classes of digits, with original and with random labels.

    Novikoff's bound is (R/margin)², where R is the largest norm of an example (with a constant feature of 1) and margin is
    that of the best plane. It holds if the classes can be separated; otherwise mistakes never end. Random labels are also
    tried on fewer images than features, where they can be separated again.

    Args:
        seed: of the random labels and the order.
        classes: two different digits.
        n: images, at most.
        passes: over the images, at least 1.

    Returns:
        The numbers and the table.
        Numbers for each kind of labels: n, separable, margin, bound, mistakes (in all), and last_pass
        (mistakes in the last pass). Table: labels ("true": original; "random"; "random, few images"), n, passes, mistakes
        (so far).

    Raises:
        InputError: for classes that are not two different digits, and for no pass.

    Example:
        >>> numbers, table = run_study(0, n=50, passes=5)
        >>> numbers["true, mistakes"] < numbers["random, mistakes"]
        True
    """
    check_arguments(run_study, locals(), "passes")
    check_digits(classes)
    split = load_dataset("digits").train
    chosen = np.flatnonzero(np.isin(split.true_labels.numpy(), list(classes)))[:n]
    X = to_float(split.inputs[chosen]).flatten(1).numpy().astype(np.float64)
    X = np.hstack([X, np.ones((len(X), 1))])
    y = np.where(split.true_labels.numpy()[chosen] == classes[1], 1, -1)
    if len(np.unique(y)) < 2:
        raise InputError(f"n is {n}, expected images of both classes: the first {len(y)} are of one")
    random = seeds.generator(seed, "labels").permutation(y)
    few = 40
    rows, numbers = [], {"data": f"digits {classes[0]} and {classes[1]}"}
    for name, points, labels in (("true", X, y), ("random", X, random), ("random, few images", X[:few], random[:few])):
        mistakes = _mistakes(points, labels, passes, seed)
        margin = _margin(points, labels)
        rows += [{"labels": name, "n": len(points), "passes": i + 1, "mistakes": m} for i, m in enumerate(mistakes)]
        bound = None if margin is None else float((points**2).sum(1).max() / margin**2)
        values = {"n": len(points), "separable": margin is not None, "margin": margin, "bound": bound, "mistakes": mistakes[-1]}
        values["last_pass"] = mistakes[-1] - [0, *mistakes][-2]
        numbers |= {f"{name}, {key}": value for key, value in values.items()}
    return numbers, pd.DataFrame(rows)


def check_digits(classes: Sequence[int]) -> None:
    """Raise InputError for classes that are not two different digits."""
    if not is_of(classes, tuple[Digit, Digit]) or classes[0] == classes[1]:
        raise InputError(f"classes is {shown(classes)}, expected two different digits, such as (0, 1)")


def _mistakes(X: np.ndarray, y: np.ndarray, passes: int, seed: int) -> list[int]:
    """Count the mistakes so far after every pass of the perceptron. X has a constant feature.

    scikit-learn's perceptron has the same weights after each pass, and does not count.
    """
    w = y[0] * X[0]  # weights of zero make a mistake on every example
    order, count, out = seeds.generator(seed, "order"), 1, []
    for _ in range(passes):
        for i in order.permutation(len(X)):
            if y[i] * (X[i] @ w) <= 0:
                w += y[i] * X[i]
                count += 1
        out.append(count)
    return out


def _margin(X: np.ndarray, y: np.ndarray) -> float | None:
    """Return the margin of the best plane through zero that separates the classes; None if there is none.

    Linear programming tells whether there is one. A support vector machine finds the best one; it is fitted to the examples
    and their mirror images, which puts the plane through zero.
    """
    if not linprog(np.zeros(X.shape[1]), A_ub=-y[:, None] * X, b_ub=-np.ones(len(X)), bounds=(None, None)).success:
        return None
    w = SVC(kernel="linear", C=1e8).fit(np.vstack([X, -X]), np.concatenate([y, -y])).coef_[0]
    return float((y * (X @ w)).min() / np.linalg.norm(w))


def specs(scale: Scale) -> list[StudySpec]:
    """List the single study; it is the same at every scale."""
    return [StudySpec("perceptron")]


def result(scale: Scale, runs: Runs) -> Result:
    """Make the figure, its table and its claims from the stored study."""
    (record,) = runs.records(specs(scale))
    numbers, size = record.result, record.result.get("data", "missing")
    keys = {"n": "n", "margin": "margin", "bound": "bound", "mistakes": "mistakes", "last": "last_pass"}
    rows = [
        {
            "labels": shown,
            "separable": None if not numbers else "yes" if numbers[f"{name}, separable"] else "no",
            **{column: numbers.get(f"{name}, {key}") for column, key in keys.items()},
        }
        for name, shown in LABELS.items()
    ]
    by_name = dict(zip(LABELS, rows, strict=True))
    claims = [
        judge(
            "mistakes stay below the bound",
            "If the classes can be separated, the perceptron makes at most (R/margin)² mistakes.",
            "the mistakes are within the bound on original labels and on random labels of few images",
            {f"{LABELS[name]}, {key}": by_name[name][key] for name in ("true", "random, few images") for key in ("mistakes", "bound")},
            lambda v: all(v[f"{name}, mistakes"] <= v[f"{name}, bound"] for name in ("original", "random, few images")),
            "{:.0f}",
        ),
        judge(
            "the margin tells original from random labels",
            "(Ours: the margin, unlike the size of the model, depends on the labels.)",
            "random labels cannot be separated, and mistakes go on; on few images they can be, with a bound at least 10 times "
            "that of original labels",
            {
                "mistakes in the last pass": by_name["random"]["last"],
                "few images": by_name["random, few images"]["bound"],
                "original": by_name["true"]["bound"],
            },
            lambda v: v["mistakes in the last pass"] > 0 and v["few images"] >= 10 * v["original"] and not numbers["random, separable"],
            "{:.0f}",
        ),
    ]
    charts = {"perceptron": (_chart(record.table), f"Mistakes of the perceptron so far, {size}.")} if numbers else {}
    note = 'R is the largest norm of an image with a constant feature of 1. "Few images" are fewer than the pixels of an image.'
    return Result("perceptron", TITLE, scale.name, size, [record], [Table(f"Mistakes, {size}", COLUMNS, rows, note)], charts, claims)


def _chart(table: pd.DataFrame) -> Chart:
    return (
        alt.Chart(table.assign(labels=table["labels"].replace(LABELS)))
        .mark_line()
        .encode(
            x=alt.X("passes:Q", title="passes over the images"),
            y=alt.Y("mistakes:Q", title="mistakes so far", scale=alt.Scale(type="log")),
            **series("labels", list(LABELS.values()), ["strokeDash"], title="labels"),
            tooltip=["labels:N", "n:Q", "passes:Q", "mistakes:Q"],
        )
        .properties(**SIZE)
    )
