"""Figure 1b: the time that three networks take to overfit partially corrupted labels. Figure 1c uses the same runs."""

import altair as alt
import pandas as pd

from shattering.experiments.experiment import Claim, Column, Outcome, Result, Runs, Table, judge
from shattering.experiments.reference import MODEL_NAMES
from shattering.experiments.scales import CORRUPTIONS, Scale
from shattering.report.charts import POINTS, SIZE, Chart, color
from shattering.runs.spec import RunSpec

TITLE = "Figure 1b: convergence slowdown over label corruption"
PLACE = ("ICLR 2.1, figure 1b", "full")
NETWORKS = ("inception", "alexnet", "mlp-1x512")
OVERFIT = 0.95  # a network has overfit once its online training accuracy over an epoch is at least this
SMALL_FACTOR = 10.0
COLUMNS = (
    Column("model", "model"),
    Column("labels", "label corruption", "share"),
    Column("steps", "steps to overfit", "number"),
    Column("ratio", "relative to none", "number"),
    Column("train", "train %", "percent"),
    Column("seeds", "seeds"),
)


def specs(scale: Scale) -> list[RunSpec]:
    """List all runs of figures 1b and 1c."""
    return [spec for p in sorted(CORRUPTIONS, reverse=True) for network in NETWORKS for spec in scale.cifar.specs(network, labels=p)]


def outcomes(scale: Scale, runs: Runs) -> dict[str, dict[float, Outcome]]:
    """Look up the runs by network and label corruption."""
    return {network: {p: runs.outcome(scale.cifar.specs(network, labels=p)) for p in CORRUPTIONS} for network in NETWORKS}


def time_to_overfit(history: pd.DataFrame, accuracy: float = OVERFIT) -> int | None:
    """Return the time to overfit: updates until the end of the first epoch whose online training accuracy is at least `accuracy`.

    The paper does not define its measure. All its networks exceed 95 % on random labels, and so do ours.

    Args:
        history: one row per epoch, with the columns step (updates so far) and train_accuracy (online, in 0…1).
        accuracy: in 0…1.

    Returns:
        The number of updates; None if there is no such epoch.

    Example:
        >>> time_to_overfit(pd.DataFrame({"step": [10, 20], "train_accuracy": [0.5, 0.97]}))
        20
    """
    epochs = zip(history["step"], history["train_accuracy"], strict=True)
    return next((int(step) for step, online in epochs if online >= accuracy), None)


def result(scale: Scale, runs: Runs) -> Result:
    """Make the figure, its table and its claim from stored runs."""
    rows, ratios = [], {}
    by_network = outcomes(scale, runs)
    for network, by_corruption in by_network.items():
        times = {p: outcome.mean_of(lambda run: time_to_overfit(run.history)) for p, outcome in by_corruption.items()}
        for p, outcome in by_corruption.items():
            time, uncorrupted = times[p], times[0.0]
            ratio = None if time is None or uncorrupted is None else time / uncorrupted
            ratios[network, p] = ratio
            rows.append(
                {
                    "model": MODEL_NAMES[network],
                    "labels": p,
                    "steps": time,
                    "ratio": ratio,
                    "train": outcome.mean("train_accuracy"),
                    "seeds": outcome.seeds,
                }
            )
    table = Table(
        f"Time to overfit, {runs.size}",
        COLUMNS,
        rows,
        f"Time to overfit: updates until the first epoch whose online training accuracy is at least {OVERFIT:.0%}; means over seeds.",
    )
    caption = (
        f"Updates until the online training accuracy over an epoch first reaches {OVERFIT:.0%}, relative to original labels, "
        f"{runs.size}. The paper's figure has the same axes and series with n = 50,000, and does not define the time."
    )
    all_runs = [run for by_corruption in by_network.values() for outcome in by_corruption.values() for run in outcome.runs]
    drawn = [row for row in rows if row["ratio"] is not None]
    charts = {"figure1b": (_chart(drawn), caption)} if drawn else {}
    return Result("figure1b", TITLE, scale.name, runs.size, all_runs, [table], charts, [_claim(ratios)])


def _chart(rows: list[dict]) -> Chart:
    base = alt.Chart(pd.DataFrame(rows)).encode(
        x=alt.X("labels:Q", title="label corruption", axis=alt.Axis(format="%")),
        y=alt.Y("ratio:Q", title="time to overfit, relative", scale=alt.Scale(domainMin=0)),
        color=color("model", sort=None),
        tooltip=[
            "model:N",
            alt.Tooltip("labels:Q", format=".0%"),
            alt.Tooltip("ratio:Q", format=".2f"),
            alt.Tooltip("steps:Q", format=",.0f"),
        ],
    )
    return base.mark_line(strokeWidth=2, point=POINTS).properties(**SIZE)


def _claim(ratios: dict[tuple[str, float], float | None]) -> Claim:
    return judge(
        "time to overfit grows by a small factor",
        "Label noise slows convergence down, by a small constant factor.",
        f"from no corruption to random labels, every network takes longer, and at most {SMALL_FACTOR:g} times as long",
        {MODEL_NAMES[network]: ratios[network, 1.0] for network in NETWORKS},
        lambda v: all(1 < value <= SMALL_FACTOR for value in v.values()),
        "{:.2f} times",
    )
