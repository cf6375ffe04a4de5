"""Figure 2a: accuracies of Inception V3 during training, with and without explicit regularizers, and the gain by early stopping."""

import altair as alt
import pandas as pd

from shattering.experiments.experiment import Claim, Column, Outcome, Result, Runs, Table, few_seeds, judge, not_annealed, runs_of
from shattering.experiments.figure2b import best_so_far
from shattering.experiments.reference import TABLE_2, Table2Row
from shattering.experiments.scales import Scale
from shattering.experiments.table2 import no_test, regularizers, row_specs, size_of, tested, undecided
from shattering.report.charts import SIZE, Chart, dash, series, some_of
from shattering.runs.spec import RunSpec
from shattering.runs.stored import Run

TITLE = "Figure 2a: Inception V3, explicit regularizers and early stopping"
PLACE = ("ICLR 3, figure 2a", "full")
ROWS = tuple(row for row in TABLE_2 if not row.random_labels and (row.weight_decay or not row.augmentation))
COLUMNS = (
    Column("regularizers", "regularizers", "prose"),
    Column("paper_final", "paper test top-1 %", "paper"),
    Column("paper_best", "paper best %", "paper"),
    Column("final", "our test top-1 % at the end", "percent"),
    Column("best", "our best %", "percent"),
    Column("gain", "gain, points", "percent"),
    Column("epoch", "best at epoch", "number"),
)


def specs(scale: Scale) -> list[RunSpec]:
    """List all runs of the figure; they are among those of table 2."""
    return [spec for row in ROWS for spec in row_specs(scale, row)]


def result(scale: Scale, runs: Runs) -> Result:
    """Make the figure, its table and its claim from stored runs."""
    outcomes = {row: runs.outcome(row_specs(scale, row)) for row in ROWS}
    size = size_of(scale, runs)
    table = Table(
        f"Early stopping on original labels, {size}",
        COLUMNS,
        [_row(scale, row, outcome) for row, outcome in outcomes.items()],
        "The best test accuracy along the way, as in the paper, is an upper bound on what early stopping gives (its footnote 3)."
        + no_test(scale),
    )
    curves = _chart(scale, {regularizers(row): outcome.done for row, outcome in outcomes.items()})
    caption = (
        f"Top-1 accuracy over steps, {size}, original labels. Train is the online accuracy, on augmented images if there is augmentation. "
        "The shaded area, from the test accuracy up to the best so far, is what early stopping on the test set could gain. "
        "Markers tell the regularizers apart." + no_test(scale)
    )
    all_runs = runs_of(outcomes.values())
    charts = {"figure2a": (curves, caption)} if curves is not None else {}
    return Result("figure2a", TITLE, scale.name, size, all_runs, [table], charts, _claims(scale, outcomes))


def _row(scale: Scale, row: Table2Row, outcome: Outcome) -> dict:
    final, best = tested(scale, outcome, "test_accuracy"), tested(scale, outcome, "best_test_accuracy")
    return {
        "regularizers": regularizers(row),
        "paper_final": row.test_top1,
        "paper_best": row.best_top1,
        "final": final,
        "best": best,
        "gain": None if best is None or final is None else best - final,
        "epoch": tested(scale, outcome, "best_test_epoch"),
    }


def _chart(scale: Scale, runs: dict[str, list[Run]]) -> Chart | None:
    splits = ("test", "train") if scale.imagenet.hold_out else ("train",)
    frames = []
    for name, done in runs.items():
        for run in done:
            history = run.history[["step", "epoch", *(f"{split}_accuracy" for split in splits)]]
            best = {"best": best_so_far(run.history)} if "test" in splits else {}
            frames.append(history.assign(**best, model=name, run=run.folder.name))
    if not frames:
        return None
    data = pd.concat(frames)
    lines = data.melt(["step", "epoch", "model", "run"], [f"{split}_accuracy" for split in splits], "split", "accuracy")
    lines["split"] = lines["split"].str.partition("_")[0]
    looks = series("model", list(runs), columns=1, title="regularizers")
    models = looks["color"]
    dashes = dash("split", *splits)
    x, y = alt.X("step:Q", title="step", axis=alt.Axis(format="~s")), alt.Y("accuracy:Q", title="accuracy", axis=alt.Axis(format="%"))
    tooltip = ["model:N", "split:N", "epoch:Q", alt.Tooltip("accuracy:Q", format=".1%")]
    drawn = alt.Chart(lines).mark_line().encode(x=x, y=y, color=models, strokeDash=dashes, detail="run:N", tooltip=tooltip)
    markers = alt.Chart(some_of(lines, ["run", "split"])).mark_point().encode(x=x, y=y, **looks, tooltip=tooltip)
    if "test" not in splits:
        return alt.layer(drawn, markers).properties(**SIZE)
    area = alt.Chart(data).mark_area(opacity=0.3).encode(x=x, y=alt.Y("test_accuracy:Q"), y2="best:Q", color=models, detail="run:N")
    return alt.layer(drawn, markers, area).properties(**SIZE)


def _claims(scale: Scale, outcomes: dict[Table2Row, Outcome]) -> list[Claim]:
    def gain(outcome: Outcome) -> float | None:
        best, final = tested(scale, outcome, "best_test_accuracy"), tested(scale, outcome, "test_accuracy")
        return None if best is None or final is None else best - final

    plain = {row: outcome for row, outcome in outcomes.items() if not row.augmentation}
    compared = runs_of(plain.values())
    return [
        judge(
            "early stopping could help",
            "Early stopping could potentially improve the generalization performance (best test accuracy along the way, in table 2).",
            "without augmentation and dropout, the best test accuracy along the way is at least 1 point above the last",
            {regularizers(row): gain(outcome) for row, outcome in plain.items()},
            lambda v: min(v.values()) >= 0.01,
            doubts=[few_seeds(compared), not_annealed(compared)],
            unlike=undecided(scale),
        )
    ]
