"""Double descent (CACM 2021's survey): test error falls again beyond the interpolation threshold."""

from collections import defaultdict
from collections.abc import Sequence
from statistics import fmean

import altair as alt
import numpy as np
import pandas as pd
import torch

from shattering import seeds
from shattering.data.load import load_dataset
from shattering.experiments.experiment import Claim, Column, Result, Runs, Table, judge
from shattering.experiments.points import about, points_of
from shattering.experiments.scales import Scale
from shattering.parameters import Count, Share
from shattering.randomization import Randomization, randomize
from shattering.report.charts import SIZE, Chart, log_axis, names_of, reference, series, share_axis, spread, whiskers
from shattering.runs.stored import Run
from shattering.runs.study import StudySpec

TITLE = "Double descent: test error over the number of random features"
PLACE = ("CACM 6.1", "small")
NOISE = (0.0, 0.2)
COLUMNS = (
    Column("labels", "label corruption", "share"),
    Column("width", "features", "number"),
    Column("train", "train error %", "percent"),
    Column("test", "test error %", "percent"),
    Column("norm", "norm of the weights", "number"),
)


def run_study(
    seed: int, *, dataset: str = "digits", n: Count = 500, n_test: Count = 500, labels: Share = 0.0, widths: Sequence[Count] = ()
) -> tuple[dict, pd.DataFrame]:
    """Compute the test error over the number of random features, through the interpolation threshold at n features.

    Features are relu(<w, x>) with Gaussian w; fewer features are the first of more. Pixels are standardized
    and divided by the root of their number, and a constant of 0.1 is appended. Each model is the least-squares solution of least norm
    for one-hot targets.

    Args:
        seed: of the subset, the label corruption and the features.
        dataset: a name in `DATASETS`, or a path.
        n: training images.
        n_test: test images.
        labels: the probability that a training label is corrupted, in 0…1.
        widths: numbers of features; none: a grid from n/16 to 16 n, finer around n.

    Returns:
        The numbers and the table.
        Numbers: n, labels. Table: width, train_error (of the corrupted labels), test_error (of the original
        labels), test_loss (mean squared error per class), and norm (of the weights).

    Example:
        >>> numbers, table = run_study(0, n=50, n_test=50, widths=[25, 50, 400])
        >>> table["test_error"].tolist()
        [0.5, 0.84, 0.26]
    """
    data = randomize(load_dataset(dataset, n, n_test, seed), Randomization(labels), seed)
    n = len(data.train)
    X, test = points_of(data.train), points_of(data.test)
    deviation, mean = torch.std_mean(X, 0, correction=0)
    scale = torch.where(deviation > 0, deviation, 1.0) * X.shape[1] ** 0.5
    X, test = (torch.cat([(x - mean) / scale, torch.full((len(x), 1), 0.1)], 1) for x in (X, test))
    ratios = [*(2.0 ** np.arange(-4, 0)), 0.7, 0.8, 0.9, 0.95, 1.0, 1.05, 1.1, 1.25, 1.5, *(2.0 ** np.arange(1, 5))]
    grid = list(widths) or sorted({round(n * ratio) for ratio in ratios})
    directions = torch.from_numpy(seeds.generator(seed, "features").normal(size=(max(grid), X.shape[1])))
    targets, truth = (torch.nn.functional.one_hot(y, data.train.n_classes).double() for y in (data.train.labels, data.test.true_labels))
    rows = []
    for width in grid:
        features, new = (torch.relu(x @ directions[:width].T) for x in (X, test))
        weights = torch.linalg.lstsq(features, targets, driver="gelsd").solution
        fitted, values = features @ weights, new @ weights
        rows.append(
            {
                "width": width,
                "train_error": float((fitted.argmax(1) != data.train.labels).double().mean()),
                "test_error": float((values.argmax(1) != data.test.true_labels).double().mean()),
                "test_loss": float((values - truth).square().mean()),
                "norm": float(weights.norm()),
            }
        )
    return {**about(data), "n": n, "labels": float(labels)}, pd.DataFrame(rows)


def specs(scale: Scale) -> list[StudySpec]:
    """List the studies: without and with corrupted labels, three seeds each."""
    k = scale.kernels
    params = {"dataset": k.grey, "n": k.n_study, "n_test": k.n_study_test}
    return [StudySpec("double-descent", {**params, "labels": p}, seed) for seed in range(3) for p in NOISE]


def result(scale: Scale, runs: Runs) -> Result:
    """Make the figure, its table and its claims from the stored studies."""
    records = runs.records(specs(scale))
    done = [record for record in records if record.result]
    size = done[0].result["data"] if done else "missing"
    rows = _means(done)
    n = done[0].result["n"] if done else 0
    whole = len(done) == len(records)
    claims = [_claim([row for row in rows if whole and row["labels"] == p], n, p) for p in NOISE]
    note = f"Means over {len({r.spec.seed for r in done})} seeds. The interpolation threshold is at n features."
    caption = f"Test error of the least-squares solution of least norm over the number of random ReLU features, {size}. The dashed line is "
    caption += "at n; bars are ± one standard deviation over seeds."
    charts = {"double-descent": (_chart(pd.DataFrame(rows), n), caption)} if done else {}
    return Result("double-descent", TITLE, scale.name, size, records, [Table(f"Errors, {size}", COLUMNS, rows, note)], charts, claims)


def _means(records: Sequence[Run[StudySpec]]) -> list[dict]:
    """Average over seeds for each label corruption and width, in that order."""
    groups: dict[tuple[float, int], list[dict]] = defaultdict(list)
    for record in records:
        for row in record.table.to_dict("records"):
            groups[record.result["labels"], int(row["width"])].append(row)
    names = {"train": "train_error", "test": "test_error", "norm": "norm"}
    return [
        {"labels": labels, "width": width, **{key: fmean(row[name] for row in rows) for key, name in names.items()}}
        | spread([row["test_error"] for row in rows])
        for (labels, width), rows in sorted(groups.items())
    ]


def _claim(rows: list[dict], n: int, p: float) -> Claim:
    def best(part: list[dict]) -> float | None:
        return min((row["test"] for row in part), default=None)

    errors = {
        "best below n": best([row for row in rows if row["width"] < n]),
        "at n": best([row for row in rows if row["width"] == n]),
        "at most features": best(rows[-1:]),
    }
    return judge(
        f"double descent, {p:.0%} corrupted labels",
        "Test error peaks where the model just interpolates, and falls again as it grows beyond.",
        "the error at n features is at least 10 points above the best error below n and above the error at the most features",
        errors,
        lambda v: v["at n"] >= max(v["best below n"], v["at most features"]) + 0.1,
    )


def _chart(rows: pd.DataFrame, n: int) -> Chart:
    data = rows.assign(series=[f"{p:.0%} corrupted labels" for p in rows["labels"]])
    lines = (
        alt.Chart(data)
        .mark_line(point=True)
        .encode(
            x=alt.X(**log_axis("random features", "width", "~s")),
            y=alt.Y(**share_axis("test error", "test")),
            **series("series", names_of(data["series"])),
            tooltip=["series:N", "width:Q", alt.Tooltip("train:Q", format=".1%"), alt.Tooltip("test:Q", format=".1%")],
        )
    )
    return alt.layer(lines, whiskers(lines, "low", "high"), reference(f"n = {n:,}", x=n)).properties(**SIZE)
