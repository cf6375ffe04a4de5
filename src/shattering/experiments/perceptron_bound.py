"""The perceptron's theorem of generalization (CACM 2021, conclusion): the expected error is at most mistakes / (n + 1)."""

from typing import Annotated

import altair as alt
import numpy as np
import pandas as pd

from shattering import seeds
from shattering.data.load import load_dataset
from shattering.data.preprocess import to_float
from shattering.errors import InputError
from shattering.experiments.experiment import Claim, Column, Result, Runs, Table, judge
from shattering.experiments.perceptron import check_digits
from shattering.experiments.scales import Scale
from shattering.parameters import Count, Range, check
from shattering.report.charts import SIZE, Chart, log_axis, series
from shattering.runs.study import StudySpec

TITLE = "The perceptron: its theorem of generalization"
PLACE = ("CACM 6", "demo")
SIZES = (10, 20, 50, 100, 200)
COLUMNS = (
    Column("n", "images", "number"),
    Column("error", "test error %", "percent"),
    Column("bound", "mistakes / (n + 1), %", "percent"),
    Column("slack", "standard error of the difference, %", "percent"),
)


def run_study(
    seed: int, *, classes: tuple[int, int] = (3, 8), sizes: tuple[Count, ...] = SIZES, repeats: Count = 100
) -> tuple[dict, pd.DataFrame]:
    """Train perceptrons to convergence on two classes of digits, and compare their errors with the theorem.

    If the classes can be separated, a perceptron that cycles through n examples until it makes no mistake errs on another one with
    probability at most E[mistakes on n + 1 examples] / (n + 1): leaving an example out changes nothing where it caused no mistake. Both
    sides are measured on the same n + 1 examples: whether the perceptron of the first n errs on the last, and the mistakes on all.

    Args:
        seed: of the subsets.
        classes: two different digits.
        sizes: numbers of examples n, each less than there are images of these digits.
        repeats: subsets per size, at least 2, for a standard error.

    Returns:
        The numbers and the table. Numbers: for each n, error, bound and slack (the standard error of their difference). Table: n,
        repeat, error (0 or 1), bound.

    Raises:
        InputError: for numbers out of range, and for examples that a perceptron does not separate.

    Example:
        >>> numbers, table = run_study(0, sizes=(10,), repeats=20)
        >>> numbers["10, error"] <= numbers["10, bound"]
        True
    """
    check_digits(classes)
    check("repeats", repeats, Annotated[int, Range(2)])
    split = load_dataset("digits").train
    chosen = np.flatnonzero(np.isin(split.true_labels.numpy(), list(classes)))
    X = to_float(split.inputs[chosen]).flatten(1).numpy().astype(np.float64)
    X, y = np.hstack([X, np.ones((len(X), 1))]), np.where(split.true_labels.numpy()[chosen] == classes[1], 1, -1)
    rows = []
    for n in sizes:
        check("sizes", n, Annotated[int, Range(1, len(X) - 1)])
        for k in range(repeats):
            rows_of = seeds.generator(seed, f"subset of {n}", k).choice(len(X), n + 1, replace=False)
            weights, _ = _converged(X[rows_of[:n]], y[rows_of[:n]])
            _, mistakes = _converged(X[rows_of], y[rows_of])
            wrong = y[rows_of[n]] * (X[rows_of[n]] @ weights) <= 0
            rows.append({"n": n, "repeat": k, "error": float(wrong), "bound": mistakes / (n + 1)})
    table = pd.DataFrame(rows)
    numbers: dict = {"data": f"digits {classes[0]} and {classes[1]}", "repeats": repeats}
    for n, group in table.groupby("n"):
        difference = group["error"] - group["bound"]
        numbers |= {f"{n}, {key}": float(group[key].to_numpy().mean()) for key in ("error", "bound")}
        numbers[f"{n}, slack"] = float(difference.std(ddof=1) / repeats**0.5)
    return numbers, table


def _converged(X: np.ndarray, y: np.ndarray, passes: int = 10_000) -> tuple[np.ndarray, int]:
    """Return the weights and the number of mistakes of a perceptron that cycles through the examples until it makes none.

    Raises InputError where it still makes some after so many passes.
    """
    weights, mistakes = np.zeros(X.shape[1]), 0
    for _ in range(passes):
        before = mistakes
        for x, sign in zip(X, y, strict=True):
            if sign * (x @ weights) <= 0:
                weights, mistakes = weights + sign * x, mistakes + 1
        if mistakes == before:
            return weights, mistakes
    raise InputError(f"the perceptron still errs on {len(X)} examples after {passes:,} passes, expected classes that can be separated")


def specs(scale: Scale) -> list[StudySpec]:
    """List the single study; it is the same at every scale."""
    return [StudySpec("perceptron-bound")]


def result(scale: Scale, runs: Runs) -> Result:
    """Make the table, the chart and the claims from the stored study."""
    (record,) = runs.records(specs(scale))
    numbers, size = record.result, record.result.get("data", "missing")
    rows = [{"n": n} | {key: numbers[f"{n}, {key}"] for key in ("error", "bound", "slack")} for n in SIZES] if numbers else []
    note = "Means over subsets. A perceptron cycles through its examples until it makes no mistake; the bound counts all mistakes on n + 1."
    charts = {"perceptron-bound": (_chart(rows), f"Test error of the perceptron and its bound, {size}.")} if rows else {}
    tables = [Table(f"Generalization, {size}", COLUMNS, rows, note)]
    return Result("perceptron-bound", TITLE, scale.name, size, [record], tables, charts, _claims(rows))


def _claims(rows: list[dict]) -> list[Claim]:
    values: dict[str, float | None] = {f"n = {row['n']}, {key}": row[key] for row in rows for key in ("error", "bound")}
    unclear = [
        f"n = {row['n']}: the difference is within two standard errors"
        for row in rows
        if abs(row["error"] - row["bound"]) <= 2 * row["slack"]
    ]
    return [
        judge(
            "the perceptron's error is at most mistakes / (n + 1)",
            "Analysis from the 1960s provided generalization results for the Perceptron, assuming that some solution labels all data.",
            "at every n, the error on the next example is at most the mistakes on n + 1 examples / (n + 1)",
            values or {"errors": None},
            lambda v: all(v[f"n = {row['n']}, error"] <= v[f"n = {row['n']}, bound"] for row in rows),
            doubts=unclear,
        ),
        judge(
            "and the bound tells something",
            "(Ours: a bound above the error of guessing would be trivial.)",
            "at the largest n, the bound is below 50 %",
            {"bound": rows[-1]["bound"] if rows else None},
            lambda v: v["bound"] < 0.5,
        ),
    ]


def _chart(rows: list[dict]) -> Chart:
    names = {"error": "test error", "bound": "mistakes / (n + 1)"}
    data = pd.DataFrame([{"n": row["n"], "series": name, "value": row[key]} for row in rows for key, name in names.items()])
    return (
        alt.Chart(data)
        .mark_line(point=True)
        .encode(
            x=alt.X(**log_axis("images", "n", "~s")),
            y=alt.Y("value:Q", title="error", axis=alt.Axis(format="%")),
            **series("series", list(names.values())),
        )
        .properties(**SIZE)
    )
