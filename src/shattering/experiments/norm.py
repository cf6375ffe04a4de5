"""Section 5: the norm does not predict the error."""

import altair as alt
import pandas as pd

from shattering.experiments import reference
from shattering.experiments.experiment import Claim, Column, Outcome, Result, Runs, Table, judge
from shattering.experiments.scales import GAMMA_FACTORS, Scale
from shattering.experiments.table3 import KERNELS, choice_specs, error, kernel_of, path_specs
from shattering.report.charts import SIZE, Chart, log_axis, names_of, series
from shattering.runs.spec import RunSpec

TITLE = "Section 5: the norm does not predict the error"
PLACE = ("ICLR 5", "full")
KEYS = ("raw", "gabor")
COLUMNS = (
    Column("model", "kernel"),
    Column("paper_norm", "paper norm", "number"),
    Column("norm", "our norm", "number"),
    Column("paper", "paper test error %", "paper"),
    Column("error", "our test error %", "percent"),
)
GAMMAS = (
    Column("model", "kernel"),
    Column("gamma", "gamma", "number"),
    Column("norm", "norm", "number"),
    Column("error", "hold-out error %", "percent"),
)


def specs(scale: Scale) -> list[RunSpec]:
    """List the runs of two rows of table 3 and of the bandwidths tried for them."""
    k = scale.kernels
    rows = [path_specs(k, key)[0.0] for key in KEYS]
    return [*rows, *(spec for (key, what, _), spec in choice_specs(k).items() if what == "gamma" and key in KEYS)]


def result(scale: Scale, runs: Runs) -> Result:
    """Make the figure, its tables and its claim from stored runs of table 3."""
    k = scale.kernels
    plain = {key: runs.outcome([path_specs(k, key)[0.0]]) for key in KEYS}
    tried = {(key, f): runs.outcome([choice_specs(k)[key, "gamma", f]]) for key in KEYS for f in GAMMA_FACTORS}
    size = runs.size
    theirs = {kernel_of(row): row for row in reference.TABLE_3 if not row.regularized}
    rows = [
        {
            "model": KERNELS[key].title,
            "paper_norm": theirs[key].norm,
            "norm": outcome.mean("norm"),
            "paper": theirs[key].test_error,
            "error": error(outcome),
        }
        for key, outcome in plain.items()
    ]
    grid = [
        {
            "model": KERNELS[key].title,
            "gamma": k.gammas[key] * factor,
            "norm": outcome.mean("norm"),
            "error": error(outcome, "validation_accuracy"),
        }
        for (key, factor), outcome in tried.items()
    ]
    tables = [
        Table(f"Norms and errors, ours with {size}", COLUMNS, rows, "Norms are for one-hot targets (0 and 1), over all classes."),
        Table(f"Over the bandwidth, {k.n_select:,} images, {k.n_holdout:,} held out", GAMMAS, grid, "All of them interpolate."),
    ]
    all_runs = [o.runs[0] for o in (*plain.values(), *tried.values())]
    done = [row for row in grid if row["error"] is not None]
    caption = "Hold-out error over the norm of interpolating solutions, one point per bandwidth."
    charts = {"norm": (_chart(pd.DataFrame(done)), caption)} if done else {}
    return Result("norm", TITLE, scale.name, size, all_runs, tables, charts, [_claim(plain)])


def _claim(plain: dict[str, Outcome]) -> Claim:
    values = {f"{KERNELS[key].title}, {what}": value for key in KEYS for what, value in _both(plain[key]).items()}
    raw, gabor = (KERNELS[key].title for key in KEYS)
    return judge(
        "a larger norm with a smaller error",
        "Wavelets raise the norm (from about 220 to 390) while they halve the error: the norm does not predict it.",
        "with Gabor features the norm is larger, and the error at most two thirds",
        values,
        lambda v: v[f"{gabor}, norm"] > v[f"{raw}, norm"] and v[f"{gabor}, error"] <= v[f"{raw}, error"] * 2 / 3,
        "{:.4g}",
    )


def _both(outcome: Outcome) -> dict[str, float | None]:
    return {"norm": outcome.mean("norm"), "error": error(outcome)}


def _chart(points: pd.DataFrame) -> Chart:
    return (
        alt.Chart(points)
        .mark_line(point=True)
        .encode(
            x=alt.X(**log_axis("norm", "norm", "~s")),
            y=alt.Y("error:Q", title="hold-out error", axis=alt.Axis(format=".1%"), scale=alt.Scale(zero=True)),
            order="gamma:Q",
            **series("model", names_of(points["model"])),
            tooltip=[
                "model:N",
                alt.Tooltip("gamma:Q", format=".3g"),
                alt.Tooltip("norm:Q", format=".4g"),
                alt.Tooltip("error:Q", format=".2%"),
            ],
        )
        .properties(**SIZE)
    )
