"""CACM 2021, section 6.1: descent on the logistic loss is biased to the largest margin (Soudry et al., 2018)."""

import altair as alt
import numpy as np
import pandas as pd
from scipy.special import expit
from sklearn.svm import SVC

from shattering import seeds
from shattering.experiments.experiment import Claim, Column, Result, Runs, Table, judge
from shattering.experiments.scales import Scale
from shattering.parameters import Count
from shattering.report.charts import SIZE, Chart, log_axis
from shattering.runs.study import StudySpec

TITLE = "Section 6.1: descent on the logistic loss finds the largest margin"
PLACE = ("CACM 6.1", "demo")
STEPS = (1, 10, 100, 1000, 10_000)
REACHED = 0.95  # of the largest margin
COLUMNS = (
    Column("steps", "steps", "number"),
    Column("margin", "margin / the largest", "number"),
    Column("cosine", "cosine with the widest plane", "number"),
    Column("loss", "logistic loss", "number"),
)


def run_study(seed: int, *, n: Count = 40, d: Count = 10, steps: Count = STEPS[-1], repeats: Count = 10) -> tuple[dict, pd.DataFrame]:
    """Descend on the logistic loss of separable points without regularization, and compare with the plane of largest margin.

    A step is minus the gradient, times a constant rate, divided by the loss, so that its length does not vanish with the loss and the norm
    of the weights grows linearly. At a constant rate alone the direction has the same limit, but takes exponentially many steps.

    Args:
        seed: of the points.
        n: points.
        d: dimensions.
        steps: of descent.
        repeats: sets of points.

    Returns:
        The numbers and the table. Numbers: for steps 1, 10, … the mean margin in units of the largest, the mean cosine, and the mean loss;
        least (the smallest margin at the end). Table: repeat, steps, margin, cosine, loss.

    Example:
        >>> numbers, table = run_study(0, n=10, d=5, steps=100, repeats=2)
        >>> numbers["100, margin"] > numbers["1, margin"]
        True
    """
    rows = []
    for k in range(repeats):
        generator = seeds.generator(seed, "separable", k)
        truth, X = generator.normal(size=d), generator.normal(size=(n, d))
        signed = X * np.sign(X @ truth)[:, None]
        widest = SVC(kernel="linear", C=1e10, tol=1e-8).fit(np.vstack([signed, -signed]), np.repeat([1, -1], n)).coef_[0]
        largest = float((signed @ widest).min() / np.linalg.norm(widest))
        rate, w = 1 / float((X**2).sum(1).max()), np.zeros(d)
        for step in range(1, steps + 1):
            margins = signed @ w
            gradient = -(signed.T @ expit(-margins)) / n
            w = w - rate * gradient / float(np.logaddexp(0, -margins).mean())
            if step in STEPS:
                norm, now = float(np.linalg.norm(w)), signed @ w
                rows.append(
                    {
                        "repeat": k,
                        "steps": step,
                        "margin": float(now.min()) / norm / largest,
                        "cosine": float(w @ widest) / norm / float(np.linalg.norm(widest)),
                        "loss": float(np.logaddexp(0, -now).mean()),
                    }
                )
    table = pd.DataFrame(rows)
    numbers: dict = {"data": f"{n} separable points in {d} dimensions, {repeats} times", "steps": steps}
    for step, group in table.groupby("steps"):
        numbers |= {f"{step}, {key}": float(group[key].to_numpy().mean()) for key in ("margin", "cosine", "loss")}
    return numbers | {"least": float(table.loc[table["steps"] == table["steps"].max(), "margin"].min())}, table


def specs(scale: Scale) -> list[StudySpec]:
    """List the single study; it is the same at every scale."""
    return [StudySpec("max-margin")]


def result(scale: Scale, runs: Runs) -> Result:
    """Make the table, the chart and the claim from the stored study."""
    (record,) = runs.records(specs(scale))
    numbers, size = record.result, record.result.get("data", "missing")
    rows = [{"steps": at} | {key: numbers[f"{at}, {key}"] for key in ("margin", "cosine", "loss")} for at in STEPS] if numbers else []
    note = "Means over sets of points. A negative margin means that some points are still on the wrong side."
    charts = {"max-margin": (_chart(record.table), f"Margin of descent on the logistic loss, {size}.")} if rows else {}
    tables = [Table(f"Margins, {size}", COLUMNS, rows, note)]
    return Result("max-margin", TITLE, scale.name, size, [record], tables, charts, [_claim(numbers)])


def _claim(numbers: dict) -> Claim:
    first, last = (numbers.get(f"{at}, margin") for at in (STEPS[0], STEPS[-1]))
    return judge(
        "descent is biased to the largest margin",
        "The learning algorithm itself regularizes: descent on the logistic loss converges in direction to the largest margin.",
        f"at the end the margin is at least {REACHED:.0%} of the largest for every set of points, and it is less after one step",
        {"after 1 step": first, "at the end": last, "least at the end": numbers.get("least")},
        lambda v: v["least at the end"] >= REACHED > v["after 1 step"],
    )


def _chart(table: pd.DataFrame) -> Chart:
    return (
        alt.Chart(table)
        .mark_line(opacity=0.7)
        .encode(
            x=alt.X(**log_axis("steps", "steps", "~s")),
            y=alt.Y("margin:Q", title="margin, of the largest", axis=alt.Axis(format="%")),
            detail="repeat:N",
            tooltip=["steps:Q", alt.Tooltip("margin:Q", format=".1%")],
        )
        .properties(**SIZE)
    )
