"""Sections 1 and 4: real-valued targets, and 2n + d weights beside the O(dn) of Livni et al. (2014)."""

import altair as alt
import numpy as np
import pandas as pd

from shattering import seeds
from shattering.experiments.experiment import Claim, Column, Result, Runs, Table, judge
from shattering.experiments.scales import Scale
from shattering.learners.relu import ReluInterpolator
from shattering.parameters import Count
from shattering.report.charts import SIZE, Chart, log_axis, names_of, series
from shattering.runs.study import StudySpec

TITLE = "Sections 1 and 4: any real function of a sample, with far fewer weights than O(dn)"
PLACE = ("ICLR 1 and 4", "demo")
SIZES = (50, 100, 200, 400)
ERROR = 1e-6  # the largest error allowed, in standard deviations of the targets
FEWER = 10  # how many times fewer weights count as far fewer
COLUMNS = (
    Column("n", "points", "number"),
    Column("d", "dimensions", "number"),
    Column("ours", "weights, 2n + d", "number"),
    Column("error", "largest error", "number"),
    Column("theirs", "weights, O(dn)", "number"),
    Column("their_error", "its largest error", "number"),
)


def run_study(seed: int, *, d: Count = 100, sizes: tuple[Count, ...] = SIZES) -> tuple[dict, pd.DataFrame]:
    """Represent real functions of a sample by the network of theorem 1, and by one with n hidden units of their own directions.

    The points and targets are Gaussian. In the larger network, as in constructions before the paper's, each hidden unit has d weights and
    a threshold, drawn at random, and the n weights on top solve a linear system.

    Args:
        seed: of points, targets and directions.
        d: dimensions.
        sizes: numbers of points.

    Returns:
        The numbers and the table. Numbers: d and error (of the plain forward pass, the largest of all, in standard deviations of the
        targets). Table: n, d, ours and theirs (numbers of weights), error and their_error.

    Example:
        >>> numbers, table = run_study(0, d=10, sizes=(20,))
        >>> table[["ours", "theirs"]].iloc[0].tolist()
        [50, 240]
    """
    rows = []
    for n in sizes:
        generator = seeds.generator(seed, "expressivity", n)
        points, targets = generator.normal(size=(n, d)), generator.normal(size=n)
        model = ReluInterpolator().fit(points, targets)
        hidden = np.maximum(points @ generator.normal(size=(d, n)) - generator.normal(size=n), 0)
        theirs = hidden @ np.linalg.lstsq(hidden, targets)[0]
        rows.append(
            {
                "n": n,
                "d": d,
                "ours": model.n_parameters_,
                "error": model.max_error_,  # of the plain forward pass
                "theirs": n * (d + 1) + n,
                "their_error": float(np.abs(theirs - targets).max()),
            }
        )
    return {"data": f"real targets in {d} dimensions", "d": d, "error": max(row["error"] for row in rows)}, pd.DataFrame(rows)


def specs(scale: Scale) -> list[StudySpec]:
    """List the single study; it is the same at every scale."""
    return [StudySpec("expressivity")]


def result(scale: Scale, runs: Runs) -> Result:
    """Make the table, the chart and the claims from the stored study."""
    (record,) = runs.records(specs(scale))
    rows = record.table.to_dict("records") if record.result else []
    size = record.result.get("data", "missing")
    note = "Errors are in standard deviations of the targets. O(dn): n hidden units, each with d weights, a threshold and a weight on top."
    charts = {"expressivity": (_chart(rows), "Weights that represent any real function of n points.")} if rows else {}
    tables = [Table(f"Representing {size}", COLUMNS, rows, note)]
    return Result("expressivity", TITLE, scale.name, size, [record], tables, charts, _claims(rows))


def _claims(rows: list[dict]) -> list[Claim]:
    errors: dict[str, float | None] = {f"n = {row['n']}": row["error"] for row in rows} or {"errors": None}
    last = rows[-1] if rows else {}
    return [
        judge(
            "any real function of a sample",
            "For every function f: S → R there are weights with C(x) = f(x) for every x in S.",
            f"on real targets, the network with exactly 2n + d weights is within {ERROR:g} standard deviations of every target",
            errors,
            lambda v: max(v.values()) <= ERROR and all(row["ours"] == 2 * row["n"] + row["d"] for row in rows),
            "{:.1e}",
        ),
        judge(
            "far fewer weights than O(dn)",
            "A construction of Livni et al. (2014) achieved a similar result with far more parameters, namely O(dn).",
            f"at the largest n, both represent the targets, and n hidden units with d weights each take at least {FEWER} times as many",
            {"2n + d": last.get("ours"), "O(dn)": last.get("theirs")},
            lambda v: v["O(dn)"] >= FEWER * v["2n + d"] and max(last["error"], last["their_error"]) <= ERROR,
            "{:,.0f}",
        ),
    ]


def _chart(rows: list[dict]) -> Chart:
    data = pd.DataFrame(
        [{"n": row["n"], "network": name, "weights": row[key]} for row in rows for name, key in (("2n + d", "ours"), ("O(dn)", "theirs"))]
    )
    return (
        alt.Chart(data)
        .mark_line(point=True)
        .encode(
            x=alt.X(**log_axis("points", "n", "~s")),
            y=alt.Y(**log_axis("weights", "weights", "~s")),
            **series("network", names_of(data["network"])),
        )
        .properties(**SIZE)
    )
