"""Section 2.2: the fat-shattering dimension of networks is at least n at every scale, and that of norm-bounded classes is not."""

import altair as alt
import numpy as np
import pandas as pd
import torch

from shattering import seeds
from shattering.data.load import load_dataset
from shattering.data.preprocess import to_float
from shattering.experiments.experiment import Claim, Column, Result, Runs, Table, judge
from shattering.experiments.scales import Scale
from shattering.learners.relu import ReluInterpolator
from shattering.parameters import Count
from shattering.report.charts import SIZE, Chart, log_axis, series
from shattering.runs.study import StudySpec

TITLE = "Section 2.2: the fat-shattering dimension, without and with a bound on the norm"
PLACE = ("ICLR 2.2", "demo")
SCALES = (0.01, 0.1, 1.0, 10.0, 100.0)
COLUMNS = (
    Column("scale", "scale γ", "number"),
    Column("network", "networks: least margin / γ", "number"),
    Column("n", "points", "number"),
    Column("bound", "linear, norm ≤ 1: at most", "number"),
)


def run_study(seed: int, *, dataset: str = "digits", n: Count = 300, draws: Count = 5) -> tuple[dict, pd.DataFrame]:
    """Fit random signs times γ, at scales γ, by the two-layer network of theorem 1.

    n points are γ-shattered by a class if for all signs some function is at least γ above a level where the sign is 1, and at least γ
    below where it is -1. A sample of signs stands for all of them; the level is 0. For linear functions of norm at most 1 on points of norm
    at most R, the dimension at scale γ is at most (R / γ)².

    Args:
        seed: of the images and the signs.
        dataset: a name in `DATASETS`, or a path.
        n: images.
        draws: of signs.

    Returns:
        The numbers and the table. Numbers: n, weights (of the network), radius R. Table: scale, draw, network (the least margin at the
        points, in units of γ), bound (on the linear class's dimension).

    Example:
        >>> numbers, table = run_study(0, n=50, draws=1)
        >>> bool((table["network"] > 0.999).all())
        True
    """
    split = load_dataset(dataset, n, None, seed).train
    points = to_float(split.inputs).flatten(1).numpy().astype(np.float64)
    points, index = np.unique(points, axis=0, return_index=True)
    radius = float(np.linalg.norm(points, axis=1).max())
    rows = []
    for draw in range(draws):
        signs = seeds.generator(seed, "signs", draw).choice([-1.0, 1.0], len(index))
        for scale in SCALES:
            network = ReluInterpolator().fit(points, scale * signs).module()  # its plain forward pass, not the exact sums of predict()
            values = network(torch.from_numpy(points)).detach().numpy()
            rows.append({"scale": scale, "draw": draw, "network": float((signs * values).min() / scale), "bound": (radius / scale) ** 2})
    numbers = {"data": f"{split.inputs.shape[0]} images of {dataset}", "n": len(index), "weights": 2 * len(index) + points.shape[1]}
    return numbers | {"radius": radius}, pd.DataFrame(rows)


def specs(scale: Scale) -> list[StudySpec]:
    """List the single study; it is the same at every scale."""
    return [StudySpec("fat-shattering")]


def result(scale: Scale, runs: Runs) -> Result:
    """Make the table, the chart and the claim from the stored study."""
    (record,) = runs.records(specs(scale))
    numbers, size = record.result, record.result.get("data", "missing")
    by_scale = record.table.groupby("scale") if numbers else ()
    rows = [
        {"scale": at, "n": numbers["n"]} | {key: float(group[key].to_numpy().min()) for key in ("network", "bound")}
        for at, group in by_scale
    ]
    note = (
        "Networks of 2n + d weights that take random signs times γ: at every scale the margin is γ, so the dimension is at least n. Of "
        "linear functions with norm at most 1, at most (R/γ)² points can be shattered."
    )
    charts = {"fat-shattering": (_chart(rows), f"Points that are shattered at a scale, {size}.")} if rows else {}
    tables = [Table(f"Fat-shattering, {size}", COLUMNS, rows, note)]
    return Result("fat-shattering", TITLE, scale.name, size, [record], tables, charts, [_claim(rows)])


def _claim(rows: list[dict]) -> Claim:
    values: dict[str, float | None] = {f"γ = {row['scale']:g}": row["network"] for row in rows} or {"margins": None}
    bounds = [row["bound"] / row["n"] for row in rows]
    return judge(
        "the fat-shattering dimension is trivial too",
        "A similar reasoning applies to the fat-shattering dimension, unless we further restrict the network.",
        "at every scale networks fit random signs with a margin of the scale, and a norm-bounded linear class cannot at the largest",
        values,
        lambda v: min(v.values()) >= 1 - 1e-6 and min(bounds) < 1,
        "{:.7f}",
    )


def _chart(rows: list[dict]) -> Chart:
    names = ("networks: at least", "linear, norm at most 1: at most")
    data = [
        {"scale": row["scale"], "class": name, "points": value}
        for row in rows
        for name, value in zip(names, (row["n"], row["bound"]), strict=True)
    ]
    return (
        alt.Chart(pd.DataFrame(data))
        .mark_line(point=True)
        .encode(x=alt.X(**log_axis("scale", "scale", "~g")), y=alt.Y(**log_axis("dimension", "points", "~g")), **series("class", names))
        .properties(**SIZE)
    )
