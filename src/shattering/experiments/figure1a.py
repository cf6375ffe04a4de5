"""Figure 1a: training loss of the small Inception on true and on randomized data."""

import math

from shattering.experiments.experiment import FITS, Claim, Column, Outcome, Result, Runs, Table, judge
from shattering.experiments.scales import Scale
from shattering.report.figures import loss_curves
from shattering.runs.spec import RunSpec

TITLE = "Figure 1a: learning curves of Inception"
SERIES: dict[str, dict] = {  # in the paper's order
    "true labels": {},
    "random labels": {"labels": 1.0},
    "shuffled pixels": {"pixels": "shuffled"},
    "random pixels": {"pixels": "random"},
    "Gaussian pixels": {"pixels": "gaussian"},
}
COLUMNS = (
    Column("series", "data"),
    Column("converging", "steps until it converges", "number"),
    Column("fitted", "epochs to fit", "number"),
    Column("train", "train %", "percent"),
    Column("test", "test %", "percent"),
    Column("seeds", "seeds"),
)


def specs(scale: Scale) -> list[RunSpec]:
    """All runs of the figure."""
    return [spec for options in SERIES.values() for spec in scale.cifar.specs("inception", **options)]


def steps_to_converge(losses: list[float], steps: list[int], n_classes: int) -> int | None:
    """When a run starts to converge: the steps after the first epoch whose mean training loss is below half of ln k.

    ln k nats is the loss of guessing among k classes. losses: mean training loss of each epoch. None: never.
    """
    return next((step for loss, step in zip(losses, steps, strict=True) if loss < math.log(n_classes) / 2), None)


def _converging(outcome: Outcome) -> float | None:
    return outcome.mean_of(
        lambda run: steps_to_converge(run.history["train_loss"].tolist(), run.history["step"].tolist(), run.result["n_classes"])
    )


def result(scale: Scale, runs: Runs) -> Result:
    """The figure, from stored runs."""
    outcomes = {name: runs.outcome(scale.cifar.specs("inception", **options)) for name, options in SERIES.items()}
    found = [run for outcome in outcomes.values() for run in outcome.runs]
    chart = loss_curves(found)
    caption = (
        f"Training loss over steps, the mean of each epoch, {runs.size}; a line ends where training stopped. The paper's figure "
        "has the same axes and series with n = 50,000. Click a legend entry to single it out."
    )
    table = Table(
        f"The curves in numbers, {runs.size}",
        COLUMNS,
        [
            {
                "series": name,
                "converging": _converging(outcome),
                "fitted": outcome.mean("epochs_to_fit"),
                "train": outcome.mean("train_accuracy"),
                "test": outcome.mean("test_accuracy"),
                "seeds": outcome.seeds,
            }
            for name, outcome in outcomes.items()
        ],
        "A run starts to converge with the first epoch whose mean training loss is below half of ln 10, the loss of guessing.",
    )
    charts = {"figure1a": (chart, caption)} if chart is not None else {}
    return Result("figure1a", TITLE, scale.name, runs.size, found, [table], charts, _claims(outcomes))


def _claims(outcomes: dict[str, Outcome]) -> list[Claim]:
    return [
        judge(
            "noise is fitted",
            "Networks fit random labels, shuffled pixels, random pixels and Gaussian noise.",
            f"train accuracy is at least {FITS:.0%} on each",
            {name: outcome.mean("train_accuracy") for name, outcome in outcomes.items()},
            lambda found: all(v >= FITS for v in found.values()),
        ),
        judge(
            "noise pixels converge before random labels",
            "Random pixels and Gaussian start converging faster than random labels.",
            "both fall below half of the guessing loss in fewer steps than random labels do",
            {name: _converging(outcomes[name]) for name in ("random pixels", "Gaussian pixels", "random labels")},
            lambda found: max(found["random pixels"], found["Gaussian pixels"]) < found["random labels"],
            "{:,.0f} steps",
        ),
    ]
