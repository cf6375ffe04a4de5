"""Double descent (CACM 2021's survey): test error falls again beyond the interpolation threshold."""

from collections import defaultdict
from collections.abc import Sequence
from statistics import fmean

import altair as alt
import pandas as pd

from shattering.experiments.experiment import Claim, Column, Result, Runs, Table, judge
from shattering.experiments.scales import KERNEL_SCALES, Scale
from shattering.report.figures import SERIES_COLORS, SIZE, Chart, log_axis
from shattering.runs.store import Record
from shattering.runs.study import StudySpec

TITLE = "Double descent: test error over the number of random features"
NOISE = (0.0, 0.2)
COLUMNS = (
    Column("labels", "label corruption", "share"),
    Column("width", "features", "number"),
    Column("train", "train error %", "percent"),
    Column("test", "test error %", "percent"),
    Column("norm", "norm of the weights", "number"),
)


def specs(scale: Scale) -> list[StudySpec]:
    """Without and with label noise, three seeds."""
    k = KERNEL_SCALES[scale.name]
    params = {"dataset": k.grey, "n": k.n_study, "n_test": k.n_study_test}
    return [StudySpec("double-descent", {**params, "labels": p}, seed) for seed in range(3) for p in NOISE]


def result(scale: Scale, runs: Runs) -> Result:
    """The figure, from the stored studies."""
    records = runs.records(specs(scale))
    done = [record for record in records if record.result]
    size = done[0].result["data"] if done else "missing"
    rows = _means(done)
    n = done[0].result["n"] if done else 0
    whole = len(done) == len(records)
    claims = [_claim([row for row in rows if whole and row["labels"] == p], n, p) for p in NOISE]
    note = f"Means over {len({r.spec.seed for r in done})} seeds. The interpolation threshold is at n features."
    caption = f"Test error of the least-squares solution of least norm over the number of random ReLU features, {size}. The line is at n."
    charts = {"double-descent": (_chart(pd.DataFrame(rows), n), caption)} if done else {}
    return Result("double-descent", TITLE, scale.name, size, records, [Table(f"Errors, {size}", COLUMNS, rows, note)], charts, claims)


def _means(records: Sequence[Record]) -> list[dict]:
    """Rows of the table: means over seeds for each label corruption and width, in that order."""
    found: dict[tuple[float, int], list[dict]] = defaultdict(list)
    for record in records:
        for row in record.table.to_dict("records"):
            found[record.result["labels"], int(row["width"])].append(row)
    names = {"train": "train_error", "test": "test_error", "norm": "norm"}
    return [
        {"labels": labels, "width": width, **{key: fmean(row[name] for row in rows) for key, name in names.items()}}
        for (labels, width), rows in sorted(found.items())
    ]


def _claim(rows: list[dict], n: int, p: float) -> Claim:
    def best(part: list[dict]) -> float | None:
        return min((row["test"] for row in part), default=None)

    found = {
        "best below n": best([row for row in rows if row["width"] < n]),
        "at n": best([row for row in rows if row["width"] == n]),
        "at most features": best(rows[-1:]),
    }
    return judge(
        f"double descent, {p:.0%} corrupted labels",
        "Test error peaks where the model just interpolates, and falls again as it grows beyond.",
        "the error at n features is above both the best below and that at the most features, by 10 points at least",
        found,
        lambda v: v["at n"] >= max(v["best below n"], v["at most features"]) + 0.1,
    )


def _chart(rows: pd.DataFrame, n: int) -> Chart:
    data = rows.assign(series=[f"{p:.0%} corrupted labels" for p in rows["labels"]])
    lines = (
        alt.Chart(data)
        .mark_line(strokeWidth=2, point={"size": 40, "filled": True})
        .encode(
            x=alt.X(**log_axis("random features", "width", "~s")),
            y=alt.Y("test:Q", title="test error", axis=alt.Axis(format="%"), scale=alt.Scale(domain=[0, 1])),
            color=alt.Color("series:N", title=None, scale=alt.Scale(range=SERIES_COLORS), legend=alt.Legend(orient="bottom")),
            tooltip=["series:N", "width:Q", alt.Tooltip("train:Q", format=".1%"), alt.Tooltip("test:Q", format=".1%")],
        )
    )
    rule = alt.Chart(pd.DataFrame({"n": [n]})).mark_rule(strokeDash=[5, 4], color="#666").encode(x="n:Q")
    return alt.layer(lines, rule).properties(**SIZE)
