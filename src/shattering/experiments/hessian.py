"""Section 5: the curvature is the same at every solution, and degenerate."""

import altair as alt
import pandas as pd

from shattering.experiments.experiment import Column, Result, Runs, Table, judge
from shattering.experiments.scales import Scale
from shattering.report.figures import SERIES_COLORS, SIZE, Chart
from shattering.runs.study import StudySpec

TITLE = "Section 5: curvature cannot tell solutions apart"
SOLUTIONS = ("minimum norm", "from far away", "wrong elsewhere")
COLUMNS = (
    Column("solution", "solution"),
    Column("loss", "training loss", "number"),
    Column("error", "error on new points, relative", "number"),
    Column("norm", "norm", "number"),
    Column("rank", "rank of the Hessian", "number"),
)


def specs(scale: Scale) -> list[StudySpec]:
    """One study; small at every scale."""
    return [StudySpec("hessian")]


def result(scale: Scale, runs: Runs) -> Result:
    """The figure, from the stored study."""
    (record,) = runs.records(specs(scale))
    found, size = record.result, record.result.get("data", "missing")
    rows = [{"solution": name, **{key: found.get(f"{name}, {key}") for key in ("loss", "error", "norm", "rank")}} for name in SOLUTIONS]
    ranks = {row["solution"]: row["rank"] for row in rows}
    errors = {row["solution"]: row["error"] for row in rows}
    note = f"The Hessian has {found.get('d', 'd')} rows; its null space is where all other solutions are."
    claims = [
        judge(
            "the Hessian is the same at every solution",
            "The curvature of the empirical risk is the same at all global minima.",
            "no entry of the Hessian differs by more than 1e-12 between three solutions, whose errors differ by more than a factor of 10",
            {"largest difference": found.get("difference"), **errors},
            lambda v: v["largest difference"] <= 1e-12 and max(v[s] for s in SOLUTIONS) > 10 * min(v[s] for s in SOLUTIONS),
            "{:.3g}",
        ),
        judge(
            "the Hessian is degenerate",
            "At all of them it is degenerate, having a null space.",
            "its rank is less than the number of weights, at each of them",
            {"weights": found.get("d"), **ranks},
            lambda v: all(v[s] < v["weights"] for s in SOLUTIONS),
            "{:.0f}",
        ),
    ]
    caption = f"Eigenvalues of the Hessian of the mean squared error at three solutions, {size}. The three lie on each other."
    charts = {"hessian": (_chart(record.table), caption)} if found else {}
    return Result("hessian", TITLE, scale.name, size, [record], [Table(f"Three solutions, {size}", COLUMNS, rows, note)], charts, claims)


def _chart(table: pd.DataFrame) -> Chart:
    return (
        alt.Chart(table.assign(eigenvalue=table["eigenvalue"].clip(lower=0)))
        .mark_point(size=50, strokeWidth=1.5)
        .encode(
            x=alt.X("index:Q", title="number of the eigenvalue"),
            y=alt.Y("eigenvalue:Q", title="eigenvalue"),
            color=alt.Color("solution:N", title=None, scale=alt.Scale(range=SERIES_COLORS), legend=alt.Legend(orient="bottom")),
            shape=alt.Shape("solution:N", title=None),
            tooltip=["solution:N", "index:Q", alt.Tooltip("eigenvalue:Q", format=".4g")],
        )
        .properties(**SIZE)
    )
