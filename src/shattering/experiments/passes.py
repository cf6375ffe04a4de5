"""Section 1: training is not uniformly stable for many passes over the data, so bounds over passes (Hardt et al., 2016) are pessimistic."""

from typing import Annotated

import altair as alt
import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from shattering import seeds
from shattering.data.load import load_dataset
from shattering.data.preprocess import to_float
from shattering.experiments.experiment import Claim, Column, Result, Runs, Table, bars_over, contains_zero, judge
from shattering.experiments.scales import Scale
from shattering.parameters import Count, Range, check
from shattering.report.charts import SIZE, Chart, log_axis
from shattering.runs.study import StudySpec
from shattering.stats import mean_interval

TITLE = "Section 1: stability over passes"
PLACE = ("ICLR 1", "demo")
GROWS = 3.0  # stability is lost if the distance grows at least by this factor from the first pass to the last
SHOWN = (1, 2, 5, 10, 20, 50)  # passes in the table
COLUMNS = (
    Column("passes", "passes", "number"),
    Column("weights", "distance of weights", "number"),
    Column("loss", "largest difference of losses", "number"),
)


def run_study(
    seed: int, *, dataset: str = "digits", n: Count = 100, n_test: Count = 300, passes: Count = 50, replaced: Count = 20
) -> tuple[dict, pd.DataFrame]:
    """Train a network twice, with one training example replaced, and compare the two after every pass.

    Both start from the same weights and see the examples in the same order; the network has one hidden layer of 128 units, and is trained
    by SGD with momentum 0.9 and a learning rate of 0.05 in batches of 10.

    Args:
        seed: of the subset, the weights and the order.
        dataset: a name in `DATASETS`, or a path.
        n: training images.
        n_test: test images, whose losses are compared.
        passes: over the training images.
        replaced: how many examples are replaced, one at a time; at most n. InputError for more.

    Returns:
        The numbers and the table. Numbers: for the first pass and the last, the distance of the weights in units of their norm and
        the largest difference of the test losses, means over replaced examples; the intervals of the logarithms of their growth over
        `GROWS`. Table: example, passes, weights, loss.

    Example:
        >>> numbers, table = run_study(0, n=20, n_test=20, passes=3, replaced=2)
        >>> numbers["last, weights"] > numbers["first, weights"]
        True
    """
    check("replaced", replaced, Annotated[int, Range(1, n)])
    data = load_dataset(dataset, n, n_test, seed, n_validation=replaced)
    assert data.validation is not None
    train, fresh, test = ((to_float(s.inputs).flatten(1), s.labels) for s in (data.train, data.validation, data.test))
    order = [seeds.generator(seed, "order", k).permutation(n) for k in range(passes)]
    n_classes = data.train.n_classes
    before = _train(*train, test, order, seed, n_classes)
    rows = []
    for k in range(replaced):
        inputs, labels = train[0].clone(), train[1].clone()
        inputs[k], labels[k] = fresh[0][k], fresh[1][k]
        for done, (one, other) in enumerate(zip(before, _train(inputs, labels, test, order, seed, n_classes), strict=True)):
            apart = float((one[0] - other[0]).norm() / one[0].norm())
            rows.append({"example": k, "passes": done + 1, "weights": apart, "loss": float((one[1] - other[1]).abs().max())})
    table = pd.DataFrame(rows)
    numbers: dict = {"data": f"{data.variant}, n = {n:,}", "passes": passes}
    for name, at in (("first", 1), ("last", passes)):
        group = table[table["passes"] == at]
        numbers |= {f"{name}, {key}": float(group[key].to_numpy().mean()) for key in ("weights", "loss")}
    for key in ("weights", "loss"):
        last, first = (table.loc[table["passes"] == at, key].to_numpy() for at in (passes, 1))
        interval = mean_interval(np.log(last / first / GROWS).tolist(), -np.inf, np.inf)
        numbers[f"growth, {key}"] = list(interval) if interval else None
    return numbers, table


def _train(
    inputs: Tensor, labels: Tensor, test: tuple[Tensor, Tensor], order: list[np.ndarray], seed: int, n_classes: int
) -> list[tuple[Tensor, Tensor]]:
    """Return the weights and the test losses after every pass."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Linear(inputs.shape[1], 128), nn.ReLU(), nn.Linear(128, n_classes))
    optimizer, found = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9), []
    for permutation in order:
        for batch in np.array_split(permutation, max(1, len(permutation) // 10)):
            optimizer.zero_grad()
            cross_entropy(model(inputs[batch]), labels[batch]).backward()
            optimizer.step()
        with torch.no_grad():
            weights = nn.utils.parameters_to_vector(model.parameters()).clone()
            found.append((weights, cross_entropy(model(test[0]), test[1], reduction="none")))
    return found


def specs(scale: Scale) -> list[StudySpec]:
    """List the single study; it is the same at every scale."""
    return [StudySpec("passes")]


def result(scale: Scale, runs: Runs) -> Result:
    """Make the table, the chart and the claim from the stored study."""
    (record,) = runs.records(specs(scale))
    numbers, size = record.result, record.result.get("data", "missing")
    by_pass = record.table.groupby("passes") if numbers else ()
    means = [{"passes": at} | {key: float(group[key].to_numpy().mean()) for key in ("weights", "loss")} for at, group in by_pass]
    rows = [row for row in means if row["passes"] in SHOWN]
    note = "Two trainings that differ in one example; means over the replaced examples. Distances are in units of the weights' norm."
    caption = f"Distance of the weights of two trainings that differ in one example, {size}; means over replaced examples. "
    charts = {"passes": (_chart(means), caption + bars_over([1]))} if rows else {}
    return Result(
        "passes",
        TITLE,
        scale.name,
        size,
        [record],
        [Table(f"Stability, {size}", COLUMNS, rows, note)],
        charts,
        [_claim(numbers, record.table if numbers else None)],
    )


def _growth(table: pd.DataFrame | None, passes: int | None, key: str) -> float | None:
    """Return the geometric mean over replaced examples of the growth from the first pass to the last; None without a table."""
    if table is None:
        return None
    last, first = (table.loc[table["passes"] == at, key].to_numpy() for at in (passes, 1))
    return float(np.exp(np.log(last / first).mean()))


def _claim(numbers: dict, table: pd.DataFrame | None) -> Claim:
    intervals = [numbers.get(f"growth, {key}") for key in ("weights", "loss")]
    return judge(
        "not stable for many passes",
        "Even empirically, training neural networks is not uniformly stable for many passes over the data.",
        f"from the first pass to the last, the weights of two trainings that differ in one example come at least {GROWS:g} times as far "
        "apart, and so do the losses of the test image where they differ most, by the geometric mean over replaced examples",
        {f"growth, {key}": _growth(table, numbers.get("passes"), key) for key in ("weights", "loss")},
        lambda v: min(v.values()) >= GROWS,
        "{:.2f} times",
        doubts=[contains_zero((interval[0], interval[1]), "{:.2f}") for interval in intervals if interval],
    )


def _chart(means: list[dict]) -> Chart:
    return (
        alt.Chart(pd.DataFrame(means))
        .mark_line(point=True)
        .encode(
            x=alt.X(**log_axis("passes over the data", "passes", "~s")),
            y=alt.Y("weights:Q", title="distance of the weights"),
            tooltip=["passes:Q", alt.Tooltip("weights:Q", format=".3f"), alt.Tooltip("loss:Q", format=".2f")],
        )
        .properties(**SIZE)
    )
