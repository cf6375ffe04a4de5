"""Figure 2b: the small Inception with and without batch normalization, and the gain by early stopping."""

from collections.abc import Callable, Mapping
from typing import Any

import altair as alt
import pandas as pd

from shattering.experiments.experiment import (
    Claim,
    Column,
    Outcome,
    Result,
    Runs,
    Table,
    cut_short,
    few_seeds,
    judge,
    not_annealed,
    runs_of,
)
from shattering.experiments.reference import BATCH_NORM_GAIN, MODEL_NAMES, N_TRAIN, table_1
from shattering.experiments.scales import CifarScale, Scale
from shattering.report.charts import SIZE, Chart, dash, series, some_of
from shattering.runs.spec import RunSpec
from shattering.runs.stored import Run
from shattering.stats import mean_interval

TITLE = "Figure 2b: batch normalization and early stopping"
PLACE = ("ICLR 3, figure 2b", "full")
NETWORKS = ("inception", "inception-no-bn")
PAPER = "the paper's test, at the end"
ENOUGH = 10_000  # training images from which what batch normalization is worth is compared with the paper's number
NO_GAIN = 0.01  # a gain in accuracy by early stopping that is smaller than this counts as none
COLUMNS = (
    Column("model", "model"),
    Column("choice", "stopped by"),
    Column("paper", "paper test %", "paper"),
    Column("final", "test % at the end", "percent"),
    Column("stopped", "test % when stopped", "percent"),
    Column("gain", "gain, points", "percent"),
    Column("epoch", "stopped at epoch", "number"),
    Column("seeds", "seeds"),
)


def specs(scale: Scale) -> list[RunSpec]:
    """List all runs of the figure, and the same with a validation split."""
    return [spec for validation in (False, True) for network in NETWORKS for spec in _specs(scale, network, validation)]


def _size(scale: Scale) -> CifarScale:
    return scale.early_stopping or scale.cifar


def _specs(scale: Scale, network: str, validation: bool) -> list[RunSpec]:
    """List the runs of a network. The images that they hold out are beside n_train, so that only those with all images differ by it."""
    size = _size(scale)
    return size.compared_specs(network, validation=validation or size.n_train is not None)


def result(scale: Scale, runs: Runs) -> Result:
    """Make the figure, its table and its claims from stored runs."""
    plain = {network: runs.outcome(_specs(scale, network, False)) for network in NETWORKS}
    held_out = {network: runs.outcome(_specs(scale, network, True)) for network in NETWORKS}
    size = _size(scale)
    table = Table(
        f"Early stopping, {runs.size}",
        COLUMNS,
        [_row(network, outcomes[network], outcomes is held_out) for outcomes in (plain, held_out) for network in NETWORKS],
        "Stopped by the test set: the best accuracy along the way, as in the paper. The epoch is chosen on the test set, so this is an "
        "upper bound on the gain (the paper's footnote 3). Stopped by a validation split: "
        f"{'separate runs' if size.n_train is None else 'the same runs, which'} hold out {size.n_validation:,} "
        f"{'training' if size.n_train is None else 'more'} images, and the epoch is chosen on them.",
    )
    curves = _chart([run for outcome in plain.values() for run in outcome.done])
    caption = (
        f"Accuracy over steps, {runs.size}, no explicit regularizers. The shaded area, from the test accuracy up to the best so far, is "
        "what early stopping on the test set could gain (an upper bound). Level lines are the paper's accuracies at the end. "
        "Markers tell the networks apart, one line per seed."
    )
    all_runs = runs_of([*plain.values(), *held_out.values()])
    charts = {"figure2b": (curves, caption)} if curves is not None else {}
    return Result("figure2b", TITLE, scale.name, runs.size, all_runs, [table], charts, _claims(plain, held_out, size.n_train))


def _row(network: str, outcome: Outcome, rigorous: bool) -> dict:
    final = outcome.mean("test_accuracy")
    stopped = outcome.mean("test_accuracy_at_best_validation" if rigorous else "best_test_accuracy")
    return {
        "model": MODEL_NAMES[network],
        "choice": "validation split" if rigorous else "test set",
        "paper": table_1(network).test,
        "final": final,
        "stopped": stopped,
        "gain": None if stopped is None or final is None else stopped - final,
        "epoch": outcome.mean("best_validation_epoch" if rigorous else "best_test_epoch"),
        "seeds": outcome.seeds,
    }


def best_so_far(history: pd.DataFrame) -> pd.Series:
    """Return the best test accuracy up to and including each epoch."""
    return pd.Series(history["test_accuracy"]).cummax()


def _chart(runs: list[Run]) -> Chart | None:
    if not runs:
        return None
    frames = []
    for run in runs:
        name = "with BatchNorm" if run.spec.model_name == "inception" else "w/o BatchNorm"
        history = run.history[["step", "epoch", "train_accuracy", "test_accuracy"]]
        frames.append(history.assign(best=best_so_far(run.history), model=name, run=run.folder.name))
    data = pd.concat(frames)
    lines = data.melt(["step", "epoch", "model", "run"], ["train_accuracy", "test_accuracy"], "split", "accuracy")
    lines["split"] = lines["split"].str.partition("_")[0]
    theirs = pd.DataFrame(
        [
            {"accuracy": table_1(n).test / 100, "model": m, "split": PAPER}
            for n, m in zip(NETWORKS, ("with BatchNorm", "w/o BatchNorm"), strict=True)
        ]
    )
    dashes = dash("split", "test", "train", PAPER)
    looks = series("model", ["with BatchNorm", "w/o BatchNorm"])
    models = looks["color"]
    x, y = alt.X("step:Q", title="step", axis=alt.Axis(format="~s")), alt.Y("accuracy:Q", title="accuracy", axis=alt.Axis(format="%"))
    drawn = (
        alt.Chart(lines)
        .mark_line()
        .encode(
            x=x,
            y=y,
            color=models,
            strokeDash=dashes,
            detail="run:N",
            tooltip=["model:N", "split:N", "epoch:Q", alt.Tooltip("accuracy:Q", format=".1%")],
        )
    )
    shaded = alt.Chart(data).mark_area(opacity=0.3).encode(x=x, y=alt.Y("test_accuracy:Q"), y2="best:Q", color=models, detail="run:N")
    rules = alt.Chart(theirs).mark_rule().encode(y="accuracy:Q", color=models, strokeDash=dashes)
    ends = theirs.assign(step=int(data["step"].to_numpy().max()))
    markers = alt.Chart(pd.concat([some_of(lines, ["run", "split"]), ends])).mark_point().encode(x=x, y=y, **looks)
    return alt.layer(drawn, shaded, rules, markers).properties(**SIZE)


def _claims(plain: dict[str, Outcome], held_out: dict[str, Outcome], n: int | None) -> list[Claim]:
    def named(outcomes: dict[str, Outcome]) -> dict[str, Outcome]:
        return {MODEL_NAMES[network]: outcome for network, outcome in outcomes.items()}

    compared, is_small = runs_of(plain.values()), (n or N_TRAIN) < ENOUGH
    final = {MODEL_NAMES[network]: plain[network].mean("test_accuracy") for network in NETWORKS}
    low, high = BATCH_NORM_GAIN
    return [
        judge(
            "no gain by early stopping, at best",
            "On CIFAR-10 we do not observe any potential benefit of early stopping.",
            f"the best test accuracy along the way is less than {100 * NO_GAIN:g} point above the last, for both networks",
            {MODEL_NAMES[n]: plain[n].mean_of(best_gain) for n in NETWORKS},
            lambda v: all(value < NO_GAIN for value in v.values()),
            doubts=doubts_of_gain(named(plain), best_gain),
        ),
        judge(
            "no gain by early stopping, rigorously",
            "The same, stopped by a separate validation split (the paper's footnote 3).",
            f"where validation accuracy was best, test accuracy is less than {100 * NO_GAIN:g} point above the last, for both networks",
            {MODEL_NAMES[n]: held_out[n].mean_of(_rigorous_gain) for n in NETWORKS},
            lambda v: all(value < NO_GAIN for value in v.values()),
            doubts=doubts_of_gain(named(held_out), _rigorous_gain),
        ),
        judge(
            "batch normalization is worth a few points",
            f"Its impact on the generalization performance is only {low:g} to {high:g} %.",
            f"with it, test accuracy is higher by {low - 1:g} to {high + 1:g} points",
            final,
            lambda v: _is_few_points(_points(v)),
            doubts=[few_seeds(compared), cut_short(compared), *_near_a_bound(plain), _of_fewer_images(final, n)],
            unlike=f"n is {n:,}, below {ENOUGH:,}, and the paper's {low:g} to {high:g} points are for n = {N_TRAIN:,}"
            if is_small
            else None,
        ),
    ]


def best_gain(run: Run) -> float | None:
    """Return how far the best test accuracy along the way is above the last; None for a run without it."""
    return _gain(run, "best_test_accuracy")


def _rigorous_gain(run: Run) -> float | None:
    return _gain(run, "test_accuracy_at_best_validation")


def _gain(run: Run, name: str) -> float | None:
    stopped = run.result.get(name)
    return None if stopped is None else stopped - run.result["test_accuracy"]


def doubts_of_gain(outcomes: Mapping[str, Outcome], gain: Callable[[Run], float | None]) -> list[str | None]:
    """Say why runs may not tell whether early stopping gains `NO_GAIN`. One network that certainly gains it, by its interval, is enough.

    Args:
        outcomes: by the names of the networks.
        gain: of a run.
    """
    runs = runs_of(outcomes.values())
    gains = {name: [found for run in outcome.done if (found := gain(run)) is not None] for name, outcome in outcomes.items()}
    intervals = {name: interval for name, found in gains.items() if (interval := mean_interval(found, -1.0, 1.0))}
    first = [few_seeds(runs), not_annealed(runs)]
    if any(first) or any(low > NO_GAIN for low, _ in intervals.values()):
        return first
    return [
        f"{name}: the gain is between {100 * low:.1f} and {100 * high:.1f} points"
        for name, (low, high) in intervals.items()
        if low < NO_GAIN < high
    ]


def _of_fewer_images(final: Mapping[str, float | None], n: int | None) -> str | None:
    """Say that a gain of batch normalization outside of the rule is of fewer images than the paper's, with which it may be within."""
    if n is None or None in final.values() or _is_few_points(points := _points(final)):
        return None
    return f"the gain is {points:.1f} points at n = {n:,}, and the paper's n is {N_TRAIN:,}"


def _points(accuracies: Mapping[str, Any]) -> float:
    """Return what batch normalization adds to the test accuracy, in points."""
    normalized, without = (accuracies[MODEL_NAMES[network]] for network in NETWORKS)
    return 100 * (normalized - without)


def _is_few_points(points: float) -> bool:
    low, high = BATCH_NORM_GAIN
    return low - 1 <= points <= high + 1


def _near_a_bound(plain: dict[str, Outcome]) -> list[str]:
    """Say that the gain of batch normalization may be on either side of a bound of the rule, by its interval over seeds."""
    low, high = BATCH_NORM_GAIN
    pairs = zip(*(plain[network].values("test_accuracy") for network in NETWORKS), strict=False)
    interval = mean_interval([100 * (normalized - without) for normalized, without in pairs], -100.0, 100.0)
    if not interval or not any(interval[0] < bound < interval[1] for bound in (low - 1, high + 1)):
        return []
    return [f"the gain, {interval[0]:.1f} to {interval[1]:.1f} points, may be {low - 1:g} to {high + 1:g} points or not"]
