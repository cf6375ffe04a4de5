"""Figure 1b: the time that three networks take to overfit partially corrupted labels. Figure 1c uses the same runs."""

import math
from collections.abc import Sequence
from statistics import fmean

import altair as alt
import pandas as pd

from shattering.experiments.experiment import Claim, Column, Outcome, Result, Runs, Table, few_seeds, judge
from shattering.experiments.reference import MODEL_NAMES
from shattering.experiments.scales import CORRUPTIONS, Scale
from shattering.parameters import Share, check_arguments
from shattering.report.charts import SIZE, Chart, series, spread, whiskers
from shattering.runs.spec import RunSpec
from shattering.runs.stored import Run
from shattering.stats import mean_interval

TITLE = "Figure 1b: convergence slowdown over label corruption"
PLACE = ("ICLR 2.1, figure 1b", "full")
NETWORKS = ("inception", "alexnet", "mlp-1x512")
OVERFIT = 0.95  # a network has overfit once its online training accuracy over an epoch is at least this
LEAST_SEEDS = 2  # fewer have no interval over seeds
SMALL_FACTOR = 10.0  # the largest factor by which the time to overfit may grow and still count as a small one
MLPS = ("mlp-1x512", "mlp-3x512")
FACTORS = (
    Column("model", "model"),
    Column("factor", "factor", "number"),
    Column("interval", "interval"),
    Column("seeds", "seeds"),
)
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
    return [spec for p in sorted(CORRUPTIONS, reverse=True) for network in NETWORKS for spec in _specs(scale, network, p)]


def _specs(scale: Scale, network: str, p: float) -> list[RunSpec]:
    return scale.cifar.specs(network, labels=p, least=scale.cifar.timed_seeds)


def outcomes(scale: Scale, runs: Runs) -> dict[str, dict[float, Outcome]]:
    """Look up the runs by network and label corruption."""
    return {network: {p: runs.outcome(_specs(scale, network, p)) for p in CORRUPTIONS} for network in NETWORKS}


def time_to_overfit(history: pd.DataFrame, accuracy: Share = OVERFIT) -> int | None:
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
    check_arguments(time_to_overfit, locals(), "accuracy")
    epochs = zip(history["step"], history["train_accuracy"], strict=True)
    return next((int(step) for step, online in epochs if online >= accuracy), None)


def factor_interval(runs: Sequence[tuple[Run, Run]], level: float = 0.95) -> tuple[float, float] | None:
    """Return an interval of the factor by which the second runs take longer than the first, as random labels do than original ones.

    A time is that of the end of an epoch, so a factor is known only as far as two epochs are. With two seeds or more, the interval is at
    least that of the mean of the seeds' factors (Student's t). None where a run has no time to overfit.

    Args:
        runs: pairs of the same seed, such as of original labels and of random labels.
        level: of the interval over seeds.
    """
    times = _times(runs)
    if not times:
        return None
    epochs = [tuple(float(run.history["step"].iloc[0]) for run in pair) for pair in runs]
    low = fmean((b - other) / a for (a, b), (_, other) in zip(times, epochs, strict=True))
    high = fmean(b / (a - one) if a > one else math.inf for (a, b), (one, _) in zip(times, epochs, strict=True))
    over_seeds = mean_interval(factors(runs), 0.0, math.inf, level) or (low, high)
    return min(low, over_seeds[0]), max(high, over_seeds[1])


def factors(runs: Sequence[tuple[Run, Run]]) -> list[float]:
    """List, for each pair, the factor by which the second run takes longer to overfit; empty where one of them has no time."""
    return [b / a for a, b in _times(runs)]


def _times(runs: Sequence[tuple[Run, Run]]) -> list[tuple[int, int]]:
    """List the times of each pair; none where a run has no time."""
    times = [(time_to_overfit(one.history), time_to_overfit(other.history)) for one, other in runs]
    known = [(a, b) for a, b in times if a and b]
    return known if len(known) == len(times) else []


def factor(runs: Sequence[tuple[Run, Run]]) -> float | None:
    """Return the mean of `factors`; None without pairs, or where a run has no time."""
    ratios = factors(runs)
    return fmean(ratios) if ratios else None


def paired(one: Outcome, other: Outcome) -> list[tuple[Run, Run]]:
    """Return the runs of two configurations, by seed, that are done."""
    first, second = ({run.spec.seed: run for run in outcome.done} for outcome in (one, other))
    return [(first[seed], second[seed]) for seed in first if seed in second]


def pairs(scale: Scale, runs: Runs, network: str) -> list[tuple[Run, Run]]:
    """Return the runs of a network on original and on random labels, by seed, that are done."""
    one, other = (runs.outcome(_specs(scale, network, p)) for p in (0.0, 1.0))
    return paired(one, other)


def result(scale: Scale, runs: Runs) -> Result:
    """Make the figure, its table and its claim from stored runs."""
    rows = []
    by_network = outcomes(scale, runs)
    for network, by_corruption in by_network.items():
        for p, outcome in by_corruption.items():
            ratios = factors(paired(by_corruption[0.0], outcome))
            rows.append(
                {
                    "model": MODEL_NAMES[network],
                    "labels": p,
                    "steps": outcome.mean_of(lambda run: time_to_overfit(run.history)),
                    "ratio": fmean(ratios) if ratios else None,
                    "train": outcome.mean("train_accuracy"),
                    "seeds": outcome.seeds,
                    **(spread(ratios) if ratios else {}),
                }
            )
    table = Table(
        f"Time to overfit, {runs.size}",
        COLUMNS,
        rows,
        f"Time to overfit: updates until the first epoch whose online training accuracy is at least {OVERFIT:.0%}; means over seeds. "
        "Relative to none: the mean over seeds of the time as a multiple of the same seed's on original labels.",
    )
    found = {network: pairs(scale, runs, network) for network in (*NETWORKS, MLPS[1])}
    factor_table = Table(
        f"Time to overfit random labels, relative to original ones, {runs.size}",
        FACTORS,
        [_factor_row(network, of_network) for network, of_network in found.items() if of_network],
        "A time is known only up to its epoch; the interval covers that, and with two seeds or more Student's t interval over seeds.",
    )
    caption = (
        f"Updates until the online training accuracy over an epoch first reaches {OVERFIT:.0%}, relative to original labels, "
        f"{runs.size}. The paper's figure has the same axes and series with n = 50,000, and does not define the time. "
        "Bars are ± one standard deviation over seeds."
    )
    all_runs = [run for by_corruption in by_network.values() for outcome in by_corruption.values() for run in outcome.runs]
    drawn = [row for row in rows if row["ratio"] is not None]
    charts = {"figure1b": (_chart(drawn), caption)} if drawn else {}
    claims = [
        _claim("time to overfit grows by a small factor", "every network", {network: found[network] for network in NETWORKS}),
        _claim("time to overfit grows by a small factor, MLPs", "both MLPs", {network: found[network] for network in MLPS}),
    ]
    return Result("figure1b", TITLE, scale.name, runs.size, all_runs, [table, factor_table], charts, claims)


def _chart(rows: list[dict]) -> Chart:
    base = alt.Chart(pd.DataFrame(rows)).encode(
        x=alt.X("labels:Q", title="label corruption", axis=alt.Axis(format="%")),
        y=alt.Y("ratio:Q", title="time to overfit, relative", scale=alt.Scale(domainMin=0)),
        **series("model", [MODEL_NAMES[network] for network in NETWORKS]),
        tooltip=[
            "model:N",
            alt.Tooltip("labels:Q", format=".0%"),
            alt.Tooltip("ratio:Q", format=".2f"),
            alt.Tooltip("steps:Q", format=",.0f"),
        ],
    )
    return alt.layer(base.mark_line(point=True), whiskers(base, "low", "high")).properties(**SIZE)


def _factor_row(network: str, found: list[tuple[Run, Run]]) -> dict:
    interval = factor_interval(found)
    shown = None if interval is None else f"{interval[0]:.2f} … {interval[1]:.2f}"
    return {"model": MODEL_NAMES[network], "factor": factor(found), "interval": shown, "seeds": str(len(found))}


def _unclear(found: dict[str, list[tuple[Run, Run]]]) -> list[str]:
    """Name the networks whose interval has 1 or the largest small factor in it."""
    intervals = {network: factor_interval(of_network) for network, of_network in found.items()}
    return [
        f"{MODEL_NAMES[network]}: the factor is between {interval[0]:.2f} and {interval[1]:.2f}"
        for network, interval in intervals.items()
        if interval and any(interval[0] <= bound <= interval[1] for bound in (1.0, SMALL_FACTOR))
    ]


def _claim(name: str, which: str, found: dict[str, list[tuple[Run, Run]]]) -> Claim:
    """Judge networks by their pairs of runs. The MLPs have a claim of their own, for their runs with all images are stored."""
    factors = {network: factor(of_network) for network, of_network in found.items()}
    all_runs = [run for of_network in found.values() for pair in of_network for run in pair]
    return judge(
        name,
        "Label noise slows convergence down, by a small constant factor.",
        f"random labels take {which} longer than original ones, at most {SMALL_FACTOR:g} times as long, by the whole interval, "
        f"over {LEAST_SEEDS} seeds or more",
        {MODEL_NAMES[network]: value for network, value in factors.items()},
        _is_small,
        "{:.2f} times",
        doubts=[few_seeds(all_runs, LEAST_SEEDS), *_unclear(found)],
        lacking={
            MODEL_NAMES[network]: f"a run of {MODEL_NAMES[network]} never reached {OVERFIT:.0%} online accuracy"
            for network, value in factors.items()
            if value is None and found[network]
        },
        runs=all_runs,
    )


def _is_small(factors: dict[str, float]) -> bool:
    return all(1 < factor <= SMALL_FACTOR for factor in factors.values())
