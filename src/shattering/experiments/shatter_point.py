"""The shatter point: how many random labels models fit, over the number of examples."""

from collections.abc import Mapping

import altair as alt
import pandas as pd

from shattering.experiments.experiment import Column, Result, Table
from shattering.experiments.shatter_search import ShatterPoint
from shattering.report.figures import SERIES_COLORS, SIZE, Chart, log_axis

TITLE = "The shatter point: how many random labels a model fits"
COLUMNS = (
    Column("model", "model"),
    Column("n", "fits n", "number"),
    Column("failed", "fails at n", "number"),
    Column("parameters", "parameters", "number"),
    Column("ratio", "parameters an example", "number"),
)
CURVE = (
    Column("model", "model"),
    Column("n", "n", "number"),
    Column("seed", "seed", "number"),
    Column("train_accuracy", "train %", "percent"),
    Column("test_accuracy", "test %", "percent"),
    Column("epochs_to_fit", "epochs to fit", "number"),
    Column("fitted", "fitted"),
)


def make_result(found: Mapping[str, ShatterPoint], name: str = "shatter-point") -> Result:
    """A page of shatter points by model."""
    runs = [run for point in found.values() for run in point.runs]
    size = runs[0].result["dataset"] if runs else "missing"
    accuracy = min((point.accuracy for point in found.values()), default=1.0)
    rows = [
        {"model": model, "n": p.n, "failed": p.n_failed, "parameters": p.n_parameters, "ratio": p.parameters_per_example}
        for model, p in found.items()
    ]
    curves = [row | {"model": model} for model, p in found.items() for row in _plain(p.table())]
    note = (
        f"Fitted: at least {accuracy:.1%} of random labels of {size}, within the model's budget. A run has one draw of labels: fitting "
        "it is not shattering, which would need every labeling. No entry under “fails at” means that all training images were fitted."
    )
    tables = [
        Table(f"Shatter points, {size}", COLUMNS, rows, note),
        Table("Every run", CURVE, [row | {"fitted": "yes" if row["fitted"] else "no"} for row in curves]),
    ]
    caption = f"Share of random labels fitted over their number, {size}. The line is what counts as fitted."
    charts = {name: (_chart(pd.DataFrame(curves), accuracy), caption)} if curves else {}
    return Result(name, TITLE, "capacity", size, runs, tables, charts)


def _plain(table: pd.DataFrame) -> list[dict]:
    return table.astype(object).where(table.notna(), None).to_dict("records")


def _chart(curves: pd.DataFrame, accuracy: float) -> Chart:
    lines = (
        alt.Chart(curves)
        .mark_line(strokeWidth=2, point={"filled": True, "size": 50})
        .encode(
            x=alt.X(**log_axis("n", "n", "~s")),
            y=alt.Y("train_accuracy:Q", title="random labels fitted", axis=alt.Axis(format="%"), scale=alt.Scale(domain=[0, 1])),
            color=alt.Color(
                "model:N",
                sort=None,
                title=None,
                scale=alt.Scale(range=SERIES_COLORS),
                legend=alt.Legend(orient="bottom", columns=2, labelLimit=0),
            ),
            tooltip=["model:N", "n:Q", alt.Tooltip("train_accuracy:Q", format=".1%"), alt.Tooltip("test_accuracy:Q", format=".1%")],
        )
    )
    rule = alt.Chart(pd.DataFrame({"y": [accuracy]})).mark_rule(strokeDash=[5, 4], color="#666").encode(y="y:Q")
    return alt.layer(lines, rule).properties(**SIZE)
