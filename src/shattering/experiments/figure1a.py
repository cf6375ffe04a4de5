"""Figure 1a: training loss of the small Inception on original and on randomized data."""

import math
from collections.abc import Sequence

from shattering.experiments.experiment import (
    FITS,
    Claim,
    Column,
    Outcome,
    Result,
    Runs,
    Table,
    contains_zero,
    cut_short,
    few_seeds,
    judge,
    runs_of,
)
from shattering.experiments.figure1b import LEAST_SEEDS, OVERFIT, paired, time_to_overfit
from shattering.experiments.scales import Scale
from shattering.randomization import Randomization
from shattering.report.figures import loss_curves
from shattering.runs.spec import RunSpec
from shattering.runs.stored import Run
from shattering.stats import mean_interval

TITLE = "Figure 1a: learning curves of Inception"
PLACE = ("ICLR 2.1, figure 1a", "full")
RANDOMIZATIONS: tuple[dict, ...] = (  # in the paper's order
    {},
    {"labels": 1.0},
    {"pixels": "shuffled"},
    {"pixels": "random"},
    {"pixels": "gaussian"},
)
SERIES = {Randomization(**options).title: options for options in RANDOMIZATIONS}
COLUMNS = (
    Column("series", "data"),
    Column("converging", "steps until it converges", "number"),
    Column("fitting", "from there to 95 % online", "number"),
    Column("fitted", "epochs to fit", "number"),
    Column("train", "train %", "percent"),
    Column("test", "test %", "percent"),
    Column("seeds", "seeds"),
)


def specs(scale: Scale) -> list[RunSpec]:
    """List all runs of the figure."""
    return [spec for options in SERIES.values() for spec in _specs(scale, options)]


def _specs(scale: Scale, options: dict) -> list[RunSpec]:
    """List the runs of a series, one per seed: as many as in figure 1b, for their times are compared."""
    return scale.cifar.specs("inception", least=scale.cifar.timed_seeds, **options)


def steps_to_converge(losses: list[float], steps: list[int], n_classes: int) -> int | None:
    """Return the step at which a run starts to converge; None if it does not.

    This is the end of the first epoch whose mean training loss is below half of ln k nats, the loss of guessing among k classes.

    Args:
        losses: the mean training loss of each epoch, in nats.
        steps: the number of updates up to the end of each epoch.
        n_classes: k.

    Example:
        >>> steps_to_converge([2.3, 1.2, 0.4], [10, 20, 30], n_classes=10)
        30
    """
    return next((step for loss, step in zip(losses, steps, strict=True) if loss < math.log(n_classes) / 2), None)


def _begin(run: Run) -> float | None:
    return steps_to_converge(run.history["train_loss"].tolist(), run.history["step"].tolist(), run.result["n_classes"])


def _converging(outcome: Outcome) -> float | None:
    return outcome.mean_of(_begin)


def _fitting(run: Run) -> float | None:
    """Return the steps from where a run starts to converge to 95 % online accuracy, or to its end if that comes first."""
    begun = _begin(run)
    end = time_to_overfit(run.history)
    return None if begun is None else float((run.history["step"].iloc[-1] if end is None else max(end, begun)) - begun)


def result(scale: Scale, runs: Runs) -> Result:
    """Make the figure, its table and its claims from stored runs."""
    outcomes = {name: runs.outcome(_specs(scale, options)) for name, options in SERIES.items()}
    all_runs = runs_of(outcomes.values())
    chart = loss_curves(all_runs)
    caption = (
        f"Training loss over steps, the mean of each epoch, {runs.size}. A line ends where training stopped. The paper's figure "
        "has the same axes and series with n = 50,000. Click a legend entry to highlight its line."
    )
    table = Table(
        f"The curves in numbers, {runs.size}",
        COLUMNS,
        [
            {
                "series": name,
                "converging": _converging(outcome),
                "fitting": outcome.mean_of(_fitting),
                "fitted": outcome.mean("epochs_to_fit"),
                "train": outcome.mean("train_accuracy"),
                "test": outcome.mean("test_accuracy"),
                "seeds": outcome.seeds,
            }
            for name, outcome in outcomes.items()
        ],
        "A run starts to converge with the first epoch whose mean training loss is below half of ln 10, the loss of guessing. Means over "
        "seeds.",
    )
    charts = {"figure1a": (chart, caption)} if chart is not None else {}
    return Result("figure1a", TITLE, scale.name, runs.size, all_runs, [table], charts, _claims(outcomes))


def _claims(outcomes: dict[str, Outcome]) -> list[Claim]:
    accuracies = {name: outcome.mean("train_accuracy") for name, outcome in outcomes.items()}
    not_fitting = [run for name, outcome in outcomes.items() if (accuracies[name] or 0) < FITS for run in outcome.runs]
    compared = {name: outcomes[name] for name in ("random pixels", "Gaussian pixels", "random labels")}
    return [
        judge(
            "noise is fitted",
            "Networks fit random labels, shuffled pixels, random pixels and Gaussian noise.",
            f"train accuracy is at least {FITS:.0%} on each",
            accuracies,
            lambda v: all(value >= FITS for value in v.values()),
            doubts=[cut_short(not_fitting)],
        ),
        judge(
            "noise pixels converge before random labels",
            "Random pixels and Gaussian start converging faster than random labels.",
            f"both fall below half of the guessing loss in fewer steps than random labels do, by a 95 % interval over {LEAST_SEEDS} seeds "
            "or more",
            {name: _converging(outcome) for name, outcome in compared.items()},
            lambda v: max(v["random pixels"], v["Gaussian pixels"]) < v["random labels"],
            "{:,.0f} steps",
            doubts=_unclear(compared),
            lacking={name: never for name, outcome in compared.items() if (never := _never(name, outcome))},
        ),
        _quick_claim(outcomes["random labels"]),
    ]


def _unclear(compared: dict[str, Outcome]) -> list[str | None]:
    """Say why times may not tell noise from random labels. One kind of noise that is certainly slower is enough to tell."""
    *noise, random = compared.values()
    intervals = [_interval([(_begin(one), _begin(other)) for one, other in paired(pixels, random)]) for pixels in noise]
    if any(interval and interval[1] < 0 for interval in intervals):
        return []
    runs = runs_of(compared.values())
    return [few_seeds(runs, LEAST_SEEDS), *(contains_zero(interval, "{:,.0f}") for interval in intervals)]


def _interval(pairs: Sequence[tuple[float | None, float | None]]) -> tuple[float, float] | None:
    """Return the interval of how much the second times are longer; None where one is not known, and for fewer than two seeds."""
    longer = [other - one for one, other in pairs if one is not None and other is not None]
    return mean_interval(longer, -math.inf, math.inf) if len(longer) == len(pairs) else None


def _never(name: str, outcome: Outcome) -> str | None:
    """Report that a finished run never started to converge; None if all did, or if none is done."""
    if not outcome.done or _converging(outcome) is not None:
        return None
    return f"the loss on {name} never fell below half of that of guessing"


def _quick_claim(random: Outcome) -> Claim:
    never = _never("random labels", random)
    unfitted = [run for run in random.done if time_to_overfit(run.history) is None]
    return judge(
        "once fitting starts, it converges quickly",
        "On random labels, once the fitting starts, it converges quickly.",
        f"from half of the guessing loss to {OVERFIT:.0%} online accuracy takes at most as many steps as there were before, by a 95 % "
        f"interval over {LEAST_SEEDS} seeds or more",
        {"before": _converging(random), "from there": random.mean_of(_fitting)},
        lambda v: v["from there"] <= v["before"] and not unfitted,
        "{:,.0f} steps",
        doubts=[
            cut_short(unfitted),
            few_seeds(random.runs, LEAST_SEEDS),
            contains_zero(_interval([(_fitting(run), _begin(run)) for run in random.done]), "{:,.0f}"),
        ],
        lacking={"before": never, "from there": never} if never else None,
    )
