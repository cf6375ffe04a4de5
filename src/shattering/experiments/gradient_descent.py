"""Section 5: gradient descent and SGD from zero find the solution of least norm."""

from collections.abc import Iterator

import altair as alt
import numpy as np
import pandas as pd

from shattering import seeds
from shattering.experiments.experiment import Column, Result, Runs, Table, judge
from shattering.experiments.linear_problem import linear_problem
from shattering.experiments.scales import Scale
from shattering.parameters import Count, NotNegative
from shattering.report.charts import SIZE, Chart, names_of, series
from shattering.runs.study import StudySpec

TITLE = "Section 5: descent from zero converges to the minimum-norm solution"
PLACE = ("ICLR 5", "demo")
FOUND = 1e-6  # a solution is found up to this distance, in units of its norm
COLUMNS = (Column("method", "method"), Column("start", "start"), Column("distance", "distance at the end, in norms", "number"))


METHODS = ("gradient descent", "SGD")


def _descend(X: np.ndarray, y: np.ndarray, w: np.ndarray, method: str, seed: int) -> Iterator[np.ndarray]:
    """Yield the weights before every pass over the points. Gradient descent takes one step per pass, SGD one per point.

    The loss is half of the squared error. The learning rate is one over the largest curvature of the loss that
    a step descends on: that of all points, or of a single one.
    """
    w, order = w.copy(), seeds.generator(seed, "order")
    rate = 1 / float(np.linalg.eigvalsh(X @ X.T)[-1]) if method == "gradient descent" else 1 / float((X**2).sum(1).max())
    while True:
        yield w
        if method == "gradient descent":
            w = w - rate * X.T @ (X @ w - y)
        else:
            for i in order.permutation(len(X)):
                w = w - rate * (X[i] @ w - y[i]) * X[i]


def run_study(seed: int, *, n: Count = 100, d: Count = 400, passes: Count = 400, offset: NotNegative = 0.5) -> tuple[dict, pd.DataFrame]:
    """Run gradient descent and SGD on n Gaussian points with d features, from zero and from elsewhere.

    Distances are from the minimum-norm solution X'(XX')^-1 y, in units of its norm.

    Args:
        seed: of the points, the targets, the other start and the order of SGD.
        n: points.
        d: features, more than points.
        passes: over the points.
        offset: how far the other start is from zero, in a random direction, in units of the solution's norm.

    Returns:
        The numbers and the table.
        Numbers: the last distances; norm; start_outside, the length of the part of the other start that is
        outside the span of the points, where no step leads, in the same units. Table: method, start, passes, distance, and
        loss (mean squared error).

    Example:
        >>> numbers, table = run_study(0, n=10, d=40, passes=3)
        >>> numbers["SGD, from zero"] < numbers["SGD, from elsewhere"]  # distances to the solution of least norm
        True
    """
    X, y = linear_problem(seed, n, d)
    best = X.T @ np.linalg.solve(X @ X.T, y)
    norm = float(np.linalg.norm(best))
    span = np.linalg.qr(X.T)[0]
    start = seeds.generator(seed, "start").normal(size=d)
    start *= offset * norm / np.linalg.norm(start)
    rows, last = [], {}
    for method in METHODS:
        for name, first in (("zero", np.zeros(d)), ("elsewhere", start)):
            for done, w in zip(range(passes + 1), _descend(X, y, first, method, seed), strict=False):
                last[f"{method}, from {name}"] = distance = float(np.linalg.norm(w - best)) / norm
                rows.append(
                    {"method": method, "start": name, "passes": done, "distance": distance, "loss": float(((X @ w - y) ** 2).mean())}
                )
    outside = float(np.linalg.norm(start - span @ (span.T @ start))) / norm
    return {"data": f"{n} Gaussian points in {d} dimensions", "norm": norm, "start_outside": outside, **last}, pd.DataFrame(rows)


def specs(scale: Scale) -> list[StudySpec]:
    """List the single study; it is small at every scale."""
    return [StudySpec("gradient-descent")]


def result(scale: Scale, runs: Runs) -> Result:
    """Make the figure, its table and its claims from the stored study."""
    (record,) = runs.records(specs(scale))
    last = {
        f"{method}, from {start}": record.result.get(f"{method}, from {start}") for method in METHODS for start in ("zero", "elsewhere")
    }
    outside = record.result.get("start_outside")
    rows = [{"method": name.split(",")[0], "start": name.split("from ")[1], "distance": value} for name, value in last.items()]
    note = (
        "Distances are from X'(XX')⁻¹y, in units of its norm. No step leads out of the span of the points, so a start elsewhere keeps its "
    )
    note += "part outside it" + (f", which has length {outside:.4g}." if outside is not None else ".")
    size = record.result.get("data", "missing")
    claims = [
        judge(
            "descent finds the minimum-norm solution",
            "SGD from zero stays in the span of the data and converges to the interpolating solution of least norm.",
            f"from zero, both methods end within {FOUND:g} norms of it",
            {name: value for name, value in last.items() if name.endswith("zero")},
            lambda v: all(value <= FOUND for value in v.values()),
            "{:.1e}",
        ),
        judge(
            "an offset outside the span stays",
            "Started elsewhere, SGD converges to another solution: the part of the start outside the span remains.",
            f"from elsewhere, both end at a distance equal to the length of the part outside, within {FOUND:g}",
            {name: value for name, value in last.items() if name.endswith("elsewhere")} | {"outside at the start": outside},
            lambda v: all(abs(value - v["outside at the start"]) <= FOUND for value in v.values()),
            "{:.6f}",
        ),
    ]
    charts = (
        {"gradient-descent": (_chart(record.table), f"Distance from the minimum-norm solution while descending, {size}.")}
        if outside
        else {}
    )
    return Result("gradient-descent", TITLE, scale.name, size, [record], [Table(f"Limits, {size}", COLUMNS, rows, note)], charts, claims)


def _chart(table: pd.DataFrame) -> Chart:
    data = table[table["passes"] % 2 == 0].assign(series=table["method"] + ", from " + table["start"])
    return (
        alt.Chart(data)
        .mark_line()
        .encode(
            x=alt.X("passes:Q", title="passes over the points"),
            y=alt.Y("distance:Q", title="distance, in norms", scale=alt.Scale(type="log"), axis=alt.Axis(format=".0e")),
            **series("series", names_of(data["series"]), ["strokeDash"], columns=2),
            tooltip=["series:N", "passes:Q", alt.Tooltip("distance:Q", format=".3e"), alt.Tooltip("loss:Q", format=".3e")],
        )
        .properties(**SIZE)
    )
