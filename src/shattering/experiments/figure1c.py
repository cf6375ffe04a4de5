"""Figure 1c: test error at the end of training, over label corruption."""

from itertools import pairwise

from shattering.experiments.experiment import NEAR, Claim, Column, Result, Runs, Table, bars_over, judge
from shattering.experiments.figure1b import NETWORKS, outcomes, specs
from shattering.experiments.reference import MODEL_NAMES, table_1
from shattering.experiments.scales import CORRUPTIONS, Scale
from shattering.report.figures import error_curves

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
    """Make the figure, its table and its claim from stored runs."""
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
    return Result("figure1c", TITLE, scale.name, runs.size, all_runs, [table], charts, [_claim(rows)])


def _claim(rows: list[dict]) -> Claim:
    chance = 0.9  # the error of guessing among ten classes, which all scales have
    errors = {f"{row['model']}, {row['labels']:.0%}": row["error"] for row in rows}

    def holds(v: dict[str, float]) -> bool:
        curves = [[v[f"{MODEL_NAMES[network]}, {p:.0%}"] for p in CORRUPTIONS] for network in NETWORKS]
        return all(abs(c[-1] - chance) <= NEAR and all(b > a - NEAR for a, b in pairwise(c)) and c[-1] > c[0] for c in curves)

    return judge(
        "test error rises steadily to chance",
        "As the noise level approaches 1, the generalization errors converge to 90 %, random guessing.",
        f"no network's test error falls by {100 * NEAR:.0f} points or more from one corruption to the next; it ends higher than it began, "
        f"within {100 * NEAR:.0f} points of {chance:.0%}",
        errors,
        holds,
    )
