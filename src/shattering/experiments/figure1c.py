"""Figure 1c: test error at the end of training, over label corruption."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

from shattering.experiments.experiment import FITS, NEAR, Claim, Column, Result, Runs, Table, bars_over, cut_short, judge
from shattering.experiments.figure1b import NETWORKS, outcomes, specs
from shattering.experiments.reference import MODEL_NAMES, table_1
from shattering.experiments.scales import CORRUPTIONS, Scale
from shattering.report.figures import error_curves
from shattering.runs.stored import Run

__all__ = ["TITLE", "result", "specs"]

TITLE = "Figure 1c: generalization error growth over label corruption"
PLACE = ("ICLR 2.1, figure 1c", "full")
COLUMNS = (
    Column("model", "model"),
    Column("labels", "label corruption", "share"),
    Column("paper", "paper test error %", "paper"),
    Column("error", "our test error %", "percent"),
    Column("sd", "± over seeds", "percent"),
    Column("train", "train %", "percent"),
    Column("seeds", "seeds"),
)


ENDS = (0.0, 1.0)  # label corruptions for which table 1 has the paper's test accuracy


def _theirs(network: str, p: float) -> float:
    """Return the paper's test error in percent. p: one of `ENDS`."""
    return round(100 - table_1(network, random_labels=p == 1).test, 2)


def result(scale: Scale, runs: Runs) -> Result:
    """Make the figure, its table and its claims from stored runs."""
    by_network = outcomes(scale, runs)
    rows = [
        {
            "model": MODEL_NAMES[network],
            "labels": p,
            "paper": _theirs(network, p) if p in ENDS else None,
            "error": None if (test := outcome.mean("test_accuracy")) is None else 1 - test,
            "sd": outcome.spread("test_accuracy"),
            "train": outcome.mean("train_accuracy"),
            "seeds": outcome.seeds,
        }
        for network, by_corruption in by_network.items()
        for p, outcome in by_corruption.items()
    ]
    all_runs = [run for by_corruption in by_network.values() for outcome in by_corruption.values() for run in outcome.runs]
    theirs = [(network, p, _theirs(network, p) / 100) for network in NETWORKS for p in ENDS]
    chart = error_curves(all_runs, theirs, {network: MODEL_NAMES[network] for network in NETWORKS})
    bars = bars_over(len(outcome.done) for by_corruption in by_network.values() for outcome in by_corruption.values())
    caption = (
        f"Test error at the end of training over the probability of label corruption, {runs.size}. Open markers are the paper's, from "
        f"its table 1, with n = 50,000. {bars}"
    )
    note = "The paper prints no numbers for the curves; those of both ends are in its table 1."
    table = Table(f"Test error, ours with {runs.size}", COLUMNS, rows, note)
    charts = {"figure1c": (chart, caption)} if chart is not None else {}
    return Result("figure1c", TITLE, scale.name, runs.size, all_runs, [table], charts, _claims(rows, all_runs))


def _claims(rows: list[dict], runs: Sequence[Run]) -> list[Claim]:
    return [_fitting_claim(rows, runs), _error_claim(rows, min((run.result["n_test"] for run in runs if run.is_trained), default=1))]


def _named(rows: list[dict], key: str) -> dict[str, float | None]:
    return {f"{row['model']}, {row['labels']:.0%}": row[key] for row in rows}


def _fitting_claim(rows: list[dict], runs: Sequence[Run]) -> Claim:
    """Judge what the test errors rest on: that they are of networks that fit, and so are generalization errors."""
    return judge(
        "every share of corrupted labels is fitted",
        "The networks fit the corrupted training set perfectly for all the cases.",
        f"every network reaches at least {FITS:.0%} train accuracy at every label corruption",
        _named(rows, "train"),
        lambda v: all(value >= FITS for value in v.values()),
        doubts=[cut_short([run for run in runs if run.is_trained and run.result["train_accuracy"] < FITS])],
    )


def _error_claim(rows: list[dict], n_test: int) -> Claim:
    chance = 0.9  # the error of guessing among ten classes, which all scales have
    errors = _named(rows, "error")

    def steps(v: Mapping[str, float | None]) -> list[tuple[str, float, float]]:
        """List each rise from one corruption to the next, and two standard errors of it."""
        pairs = [(f"{MODEL_NAMES[n]}, {p:.0%}", f"{MODEL_NAMES[n]}, {q:.0%}") for n in NETWORKS for p, q in pairwise(CORRUPTIONS)]
        known = [(f"{first} to {then.rpartition(' ')[2]}", a, b) for first, then in pairs if (a := v[first]) is not None and (b := v[then])]
        return [(name, b - a, 2 * ((a * (1 - a) + b * (1 - b)) / n_test) ** 0.5) for name, a, b in known]

    def holds(v: Mapping[str, float]) -> bool:
        return all(abs(v[f"{MODEL_NAMES[n]}, {CORRUPTIONS[-1]:.0%}"] - chance) <= NEAR for n in NETWORKS) and all(
            r > 0 for _, r, _ in steps(v)
        )

    fails = any(rise < -noise for _, rise, noise in steps(errors))
    near = [
        f"{name}: a rise of {100 * rise:.1f} points is within two standard errors" for name, rise, noise in steps(errors) if rise < noise
    ]
    return judge(
        "test error rises steadily to chance",
        "As the noise level approaches 1, the generalization errors converge to 90 %, random guessing.",
        "every network's test error rises from each corruption to the next, by more than two standard errors, and ends within "
        f"{100 * NEAR:.0f} points of {chance:.0%}",
        errors,
        holds,
        doubts=[] if fails else near,
    )
