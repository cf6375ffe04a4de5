"""Section 2.1: randomized inputs are farther apart than natural images of one category, the paper's reason why they are fitted sooner."""

import altair as alt
import numpy as np
import pandas as pd
import torch

from shattering import seeds
from shattering.data.load import load_dataset
from shattering.data.preprocess import to_float
from shattering.experiments.experiment import Claim, Column, Result, Runs, Table, judge
from shattering.experiments.scales import Scale
from shattering.parameters import Count
from shattering.randomization import Randomization, randomize
from shattering.report.charts import SIZE, Chart, series
from shattering.runs.study import StudySpec

TITLE = "Section 2.1: distances between inputs, and margins of random labels"
PLACE = ("ICLR 2.1", "small")
KINDS = {"original": "true", "shuffled pixels": "shuffled", "random pixels": "random", "Gaussian pixels": "gaussian"}
NOISE = ("random pixels", "Gaussian pixels")
COLUMNS = (
    Column("inputs", "inputs"),
    Column("nearest", "nearest of the category", "number"),
    Column("median", "median of the category", "number"),
    Column("margin", "margin of random labels", "number"),
)


def run_study(seed: int, *, dataset: str = "digits", n: Count = 300) -> tuple[dict, pd.DataFrame]:
    """Measure distances between images of one category, and how far random labels are from a separating plane.

    Images are standardized one by one, as networks see them, so that all kinds have the same norm; distances and margins are in
    units of it.

    Args:
        seed: of the subset, the pixels and the random signs.
        dataset: a name in `DATASETS`, or a path.
        n: images; there is a margin only if they are fewer than the values of an image.

    Returns:
        The numbers and the table. Numbers for each kind of inputs: nearest (median over images of the distance to the nearest image of
        the same category), median (of the distances within categories), and margin (1 / the norm of the linear function of least norm
        that takes random signs; 0 if there is none). Table: inputs, nearest (of each image).

    Example:
        >>> numbers, table = run_study(0, n=60)
        >>> numbers["random pixels, nearest"] > numbers["original, nearest"]
        True
    """
    original = load_dataset(dataset, n, None, seed)
    numbers: dict = {"data": f"{original.variant}, n = {n:,}"}
    rows: list[dict] = []
    for name, pixels in KINDS.items():
        data = randomize(original, Randomization(pixels=pixels), seed)  # type: ignore[arg-type]  # a literal
        points = to_float(data.train.inputs).flatten(1).double()
        points = points - points.mean(1, keepdim=True)
        points = points / points.norm(dim=1, keepdim=True).clamp(min=1e-12)
        nearest, median = _distances(points, data.train.true_labels)
        numbers |= {f"{name}, nearest": float(np.median(nearest)), f"{name}, median": median}
        numbers[f"{name}, margin"] = _margin(points, seeds.generator(seed, "signs"))
        rows += [{"inputs": name, "nearest": distance} for distance in nearest]
    return numbers, pd.DataFrame(rows)


def _distances(points: torch.Tensor, categories: torch.Tensor) -> tuple[np.ndarray, float]:
    """Return the distance of each point to the nearest of its category, and the median within categories."""
    apart = torch.cdist(points, points)
    same = (categories[:, None] == categories) & ~torch.eye(len(points), dtype=torch.bool)
    nearest = apart.masked_fill(~same, float("inf")).amin(1)
    return nearest[nearest.isfinite()].numpy(), float(apart[same].median())


def _margin(points: torch.Tensor, generator: np.random.Generator) -> float:
    signs = torch.from_numpy(generator.choice([-1.0, 1.0], len(points)))
    gram = points @ points.T
    values = torch.linalg.eigvalsh(gram)
    if float(values[0]) <= len(points) * 1e-14 * float(values[-1]):
        return 0.0
    return float(1 / (signs @ torch.linalg.solve(gram, signs)).sqrt())


def spec_of(scale: Scale) -> StudySpec:
    """Return the single study: of CIFAR-10, and at the scale demo of digits."""
    dataset = scale.capacity.dataset
    return StudySpec("inputs", {"dataset": dataset, "n": 2000} if dataset == "cifar10" else {"dataset": dataset, "n": 40})


def specs(scale: Scale) -> list[StudySpec]:
    """List the single study."""
    return [spec_of(scale)]


def result(scale: Scale, runs: Runs) -> Result:
    """Make the table, the chart and the claims from the stored study."""
    (record,) = runs.records(specs(scale))
    numbers, size = record.result, record.result.get("data", "missing")
    rows = [{"inputs": name} | {key: numbers.get(f"{name}, {key}") for key in ("nearest", "median", "margin")} for name in KINDS]
    note = (
        "Distances are in units of the images' norm, after each is standardized. The margin is that of the linear function of least norm "
        "that takes random signs: the larger it is, the easier arbitrary labels are to separate."
    )
    charts = {"inputs": (_chart(record.table), f"Distance of each image to the nearest of its category, {size}.")} if numbers else {}
    tables = [Table(f"Inputs, {size}", COLUMNS, rows, note)]
    return Result("inputs", TITLE, scale.name, size, [record], tables, charts, _claims(numbers))


def _claims(numbers: dict) -> list[Claim]:
    return [
        judge(
            "random pixels are farther apart",
            "With random pixels, the inputs are more separated from each other than natural images of the same category.",
            "with random and Gaussian pixels, the median distance of an image to the nearest of its category is at least 1.1 times that "
            "of original images; with shuffled pixels it is the same",
            {name: numbers.get(f"{name}, nearest") for name in KINDS},
            lambda v: min(v[name] for name in NOISE) >= 1.1 * v["original"] and abs(v["shuffled pixels"] - v["original"]) < 1e-6,
            "{:.3f}",
        ),
        judge(
            "so arbitrary labels are easier",
            "This might make it easier to build a network for arbitrary label assignments.",
            "the margin at which a linear function takes random labels is at least twice that of original images",
            {name: numbers.get(f"{name}, margin") for name in ("original", *NOISE)},
            lambda v: min(v[name] for name in NOISE) >= 2 * v["original"] and min(v[name] for name in NOISE) > 0,
            "{:.4f}",
            doubts=[_no_margin(numbers)],
        ),
    ]


def _no_margin(numbers: dict) -> str | None:
    """Report that no kind of noise has a margin, as where images are more than their values; None if one has, or if it is missing."""
    margins = [numbers.get(f"{name}, margin") for name in NOISE]
    return "no linear function takes the random labels of any inputs, so there is no margin" if margins == [0] * len(NOISE) else None


def _chart(table: pd.DataFrame) -> Chart:
    ranked = table.assign(share=table.groupby("inputs")["nearest"].rank(pct=True)).sort_values("nearest")
    return (
        alt.Chart(ranked)
        .mark_line()
        .encode(
            x=alt.X("nearest:Q", title="distance to the nearest of the category"),
            y=alt.Y("share:Q", title="images at most so far", axis=alt.Axis(format="%")),
            **series("inputs", list(KINDS), ["strokeDash"], columns=2),
        )
        .properties(**SIZE)
    )
