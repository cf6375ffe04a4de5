"""Corollary 1: a network of depth k, width O(n / k) and O(n + d) weights takes any labels."""

from collections.abc import Callable, Sequence

import altair as alt
import numpy as np
import pandas as pd

from shattering import seeds
from shattering.experiments.experiment import Claim, Column, Result, Runs, Table, judge
from shattering.experiments.relu_points import random_labels, survey_distinct, to_check
from shattering.experiments.scales import Scale
from shattering.parameters import Count
from shattering.relu.direction import CANDIDATES, best_of, turned
from shattering.relu.hinges import interpolate
from shattering.relu.networks import build_network, forward_in_blocks
from shattering.report.charts import SIZE, Chart, log_axis, names_of, series
from shattering.runs.stored import Run
from shattering.runs.study import StudySpec

TITLE = "Corollary 1: any labels in any depth"
PLACE = ("ICLR appendix C, corollary 1", "small")
COLUMNS = (
    Column("depth", "depth k", "number"),
    Column("width", "width", "number"),
    Column("n_parameters", "weights", "number"),
    Column("more", "beyond 2n + d", "number"),
    Column("max_error", "largest error", "number"),
    Column("labels_right", "labels right %", "percent"),
    Column("n_checked", "of", "number"),
)


def run_study(
    seed: int,
    *,
    dataset: str = "digits",
    n: Count | None = None,
    d: Count = 3072,
    classes: Count = 10,
    depths: Sequence[Count] = (2, 3, 4, 8, 16, 64),
) -> tuple[dict, pd.DataFrame]:
    """Build networks of several depths for the random labels of theorem 1's study.

    Args:
        seed: see `shattering.experiments.theorem1.run_study`, as for dataset, n, d and classes.
        depths: numbers of layers, each at least 2.

    Returns:
        The numbers and the table.
        Numbers: n, d, steepness. Table: depth, width, n_parameters, max_error (of the plain float64 forward
        pass at n_checked points), n_checked, labels_right (share of these points).

    Raises:
        InputError: for a dataset with duplicates of images, for "noise" without n, and for fewer layers than 2.

    Example:
        >>> numbers, table = run_study(0, dataset="noise", n=50, d=32, depths=[2, 8])
        >>> table["width"].tolist(), table["labels_right"].tolist()
        ([50, 14], [1.0, 1.0])
    """
    rows, targets, about = random_labels(seed, dataset, n, d, classes)
    largest = survey_distinct(dataset, rows, targets)
    best = turned(rows, targets, best_of(rows, targets, largest, seeds.generator(seed, "direction"), CANDIDATES), largest)
    order = np.argsort(best.points, kind="stable")
    knots, values = best.points[order], targets[order]
    checked, table = to_check(len(knots), seed), []
    for depth in depths:
        network = build_network(best.direction, interpolate(knots, values), 0.0, depth)
        outputs = forward_in_blocks(network, knots[checked])
        table.append(
            {
                "depth": depth,
                "width": network.width,
                "n_parameters": sum(p.numel() for p in network.parameters()),
                "max_error": float(np.abs(outputs - values[checked]).max()),
                "n_checked": len(checked),
                "labels_right": float((np.rint(outputs) == values[checked]).mean()),
            }
        )
    return {**about, "n": len(targets), "d": rows.shape[1], "steepness": best.steepness}, pd.DataFrame(table)


def specs(scale: Scale) -> list[StudySpec]:
    """List the studies: one on the most images of the dataset, one on the most images of noise, if there are any."""
    k = scale.capacity
    sizes = [(k.dataset, k.sizes[-1]), *(("noise", n) for n in k.noise[-1:])]
    return [StudySpec("corollary1", {"dataset": dataset, "n": n}) for dataset, n in sizes]


def result(scale: Scale, runs: Runs) -> Result:
    """Make the tables, the chart and the claims from stored studies."""
    records = runs.records(specs(scale))
    done = [record for record in records if record.result]
    size = "; ".join(record.result["data"] for record in done) or "missing"
    tables = [Table(f"Random labels, {r.result['data']}", COLUMNS, _rows(r), _NOTE) for r in done]
    caption = "Largest error of the plain float64 forward pass over depth."
    charts = {"corollary1": (_chart(done), caption)} if done else {}
    return Result("corollary1", TITLE, scale.name, size, records, tables, charts, _claims(records))


_NOTE = (
    "Depth 2 is theorem 1's network. From depth 4 on, the points are divided into k - 3 groups along the direction, and each layer works "
    "on a coordinate clipped to its group's interval, so that no term is larger than its group needs."
)


def _rows(record: Run[StudySpec]) -> list[dict]:
    if not record.result:
        return []
    count = 2 * record.result["n"] + record.result["d"]
    return [{**row, "more": row["n_parameters"] - count} for row in record.table.to_dict("records")]


def _claims(records: list[Run[StudySpec]]) -> list[Claim]:
    def per_depth(value: Callable[[Run[StudySpec], dict], float]) -> dict[str, float | None]:
        names = [f"{r.result.get('data', r.spec.title)}" for r in records]
        values = {f"{name}, depth {row['depth']}": value(r, row) for name, r in zip(names, records, strict=True) for row in _rows(r)}
        return values | {name: None for name, r in zip(names, records, strict=True) if not r.result}

    def fewest(r: Run[StudySpec], row: dict) -> float:
        n, d, depth = r.result["n"], r.result["d"], row["depth"]
        small = row["width"] <= -(-n // max(depth - 3, 1)) + 4 and row["n_parameters"] <= 2 * n + d + 2 * depth
        return row["labels_right"] if small else 0.0

    return [
        judge(
            "any depth, with O(n / k) width and O(n + d) weights",
            "For every k >= 2 there is a network of depth k, width O(n / k) and O(n + d) weights that represents any function on n points.",
            "width is at most n / (k - 3) + 4 (n + 4 below depth 5), weights are at most 2n + d + 2k, every label checked is right",
            per_depth(fewest),
            lambda v: min(v.values()) == 1,
            "{:.0%}",
        ),
        judge(
            "depth helps float64",
            "(Ours: where each layer computes one group of points, its terms, and so its rounding errors, are smaller than in one layer.)",
            "the least error of any depth is below a tenth of the error at depth 2",
            per_depth(lambda _, row: row["max_error"]),
            lambda v: all(
                min(x for key, x in v.items() if key.startswith(data)) < 0.1 * v[f"{data}, depth 2"]
                for data in {key.rpartition(",")[0] for key in v}
            ),
            "{:.1e}",
        ),
    ]


def _chart(records: list[Run[StudySpec]]) -> Chart:
    data = pd.concat([record.table.assign(data=record.result["data"]) for record in records])
    return (
        alt.Chart(data)
        .mark_line(point=True)
        .encode(
            x=alt.X(**log_axis("depth", "depth", "~s")),
            y=alt.Y(**log_axis("largest error (classes)", "max_error", ".0e")),
            **series("data", names_of(data["data"]), columns=1),
            tooltip=["depth:Q", "width:Q", "n_parameters:Q", alt.Tooltip("max_error:Q", format=".2e")],
        )
        .properties(**SIZE)
    )
