"""The perceptron of 1958 (CACM 2021): a bound on mistakes that labels decide."""

import altair as alt
import pandas as pd

from shattering.experiments.experiment import Column, Result, Runs, Table, judge
from shattering.experiments.scales import Scale
from shattering.report.figures import SERIES_COLORS, SIZE, Chart
from shattering.runs.study import StudySpec

TITLE = "The perceptron: mistakes against their bound, on original and on random labels"
LABELS = ("true", "random", "random, few images")
COLUMNS = (
    Column("labels", "labels"),
    Column("n", "images", "number"),
    Column("margin", "margin", "number"),
    Column("bound", "bound (R/margin)²", "number"),
    Column("mistakes", "mistakes", "number"),
    Column("last", "in the last pass", "number"),
    Column("separable", "separable"),
)


def specs(scale: Scale) -> list[StudySpec]:
    """One study, at every scale."""
    return [StudySpec("perceptron")]


def result(scale: Scale, runs: Runs) -> Result:
    """The figure, from the stored study."""
    (record,) = runs.records(specs(scale))
    found, size = record.result, record.result.get("data", "missing")
    keys = {"n": "n", "margin": "margin", "bound": "bound", "mistakes": "mistakes", "last": "last_pass"}
    rows = [
        {
            "labels": name,
            "separable": None if not found else "yes" if found[f"{name}, separable"] else "no",
            **{column: found.get(f"{name}, {key}") for column, key in keys.items()},
        }
        for name in LABELS
    ]
    by_name = {row["labels"]: row for row in rows}
    claims = [
        judge(
            "mistakes stay below the bound",
            "Where the classes can be separated, the perceptron makes at most (R/margin)² mistakes.",
            "they do, on true labels and on random labels of few images",
            {f"{name}, {key}": by_name[name][key] for name in ("true", "random, few images") for key in ("mistakes", "bound")},
            lambda v: all(v[f"{name}, mistakes"] <= v[f"{name}, bound"] for name in ("true", "random, few images")),
            "{:.0f}",
        ),
        judge(
            "randomized labels tell",
            "The margin, unlike the size of the model, knows original from random labels.",
            "random labels cannot be separated, and mistakes go on; on few images they can, with a bound at least 10 times as large",
            {
                "mistakes in the last pass": by_name["random"]["last"],
                "few images": by_name["random, few images"]["bound"],
                "true": by_name["true"]["bound"],
            },
            lambda v: v["mistakes in the last pass"] > 0 and v["few images"] >= 10 * v["true"] and found["random, separable"] is False,
            "{:.0f}",
        ),
    ]
    charts = {"perceptron": (_chart(record.table), f"Mistakes of the perceptron so far, {size}.")} if found else {}
    note = "R is the largest norm of an image with a constant feature of 1. Few images: fewer than there are pixels."
    return Result("perceptron", TITLE, scale.name, size, [record], [Table(f"Mistakes, {size}", COLUMNS, rows, note)], charts, claims)


def _chart(table: pd.DataFrame) -> Chart:
    return (
        alt.Chart(table)
        .mark_line(strokeWidth=2)
        .encode(
            x=alt.X("passes:Q", title="passes over the images"),
            y=alt.Y("mistakes:Q", title="mistakes so far", scale=alt.Scale(type="log")),
            color=alt.Color(
                "labels:N", title="labels", scale=alt.Scale(domain=LABELS, range=SERIES_COLORS), legend=alt.Legend(orient="bottom")
            ),
            tooltip=["labels:N", "n:Q", "passes:Q", "mistakes:Q"],
        )
        .properties(**SIZE)
    )
