"""CACM 2021, section 6.1: memorization and forgetting, on original and on random labels (Arpit et al., 2017; Toneva et al., 2019)."""

from collections.abc import Callable
from typing import Annotated

import altair as alt
import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from shattering import seeds
from shattering.data.load import load_dataset
from shattering.data.preprocess import to_float
from shattering.experiments.experiment import Claim, Column, Result, Runs, Table, contains_zero, few_seeds, judge
from shattering.experiments.scales import Scale
from shattering.parameters import Count, Range, check
from shattering.randomization import Randomization, randomize
from shattering.report.charts import SIZE, Chart, series, spread, whiskers
from shattering.runs.stored import Run
from shattering.runs.study import StudySpec
from shattering.stats import mean_interval

TITLE = "Section 6.1: forgetting and memorization, on original and on random labels"
PLACE = ("CACM 6.1", "demo")
LABELS = {"original": 0.0, "random": 1.0}
SEEDS = 5
MORE = 2.0  # how many times as often examples have to be forgotten on random labels for the claim to hold
AGREE = 0.1  # by how much more trainings have to agree on original labels
COLUMNS = (
    Column("labels", "labels"),
    Column("events", "forgetting events per example", "number"),
    Column("never", "never forgotten %", "percent"),
    Column("agreement", "right after one epoch: agreement", "number"),
)


def run_study(seed: int, *, dataset: str = "digits", n: Count = 500, epochs: Count = 60, trainings: Count = 4) -> tuple[dict, pd.DataFrame]:
    """Count how often examples are forgotten, and how far trainings agree on which are learned early.

    An example is forgotten when it is predicted right after an epoch and wrong after the next (Toneva et al.). Trainings differ in their
    weights and order. Where data have patterns, some examples are easy for every training; where labels are random, each training
    learns others first (Arpit et al.). The agreement is the mean correlation, over pairs of trainings, of which examples are right after
    the first epoch.

    Args:
        seed: of the subset, the labels, the weights and the orders.
        dataset: a name in `DATASETS`, or a path.
        n: training images.
        epochs: of each training.
        trainings: for each kind of labels, at least 2, whose agreement is measured; InputError for fewer.

    Returns:
        The numbers and the table. Numbers for each kind of labels: events (per example), never (share of examples that are learned
        and never forgotten), agreement, and train (the training accuracy at the end). Table: labels, training, example, events.

    Example:
        >>> numbers, table = run_study(0, n=60, epochs=5, trainings=2)
        >>> sorted(set(table["labels"]))
        ['original', 'random']
    """
    check("trainings", trainings, Annotated[int, Range(2)])
    original = load_dataset(dataset, n, None, seed)
    numbers: dict = {"data": f"{original.variant}, n = {n:,}"}
    rows: list[dict] = []
    for name, share in LABELS.items():
        data = randomize(original, Randomization(share), seed)
        inputs, labels, k = to_float(data.train.inputs).flatten(1), data.train.labels, data.train.n_classes
        right = [_correct(inputs, labels, k, epochs, seed, training) for training in range(trainings)]
        events = [(r[:-1] & ~r[1:]).sum(0) for r in right]
        never = [r.any(0) & (e == 0) for r, e in zip(right, events, strict=True)]  # it was learned, and never forgotten
        numbers |= {f"{name}, events": float(np.mean(events)), f"{name}, never": float(np.mean(never))}
        pairs = [(a, b) for a in range(trainings) for b in range(a)]
        numbers[f"{name}, agreement"] = float(np.mean([_correlation(right[a][0], right[b][0]) for a, b in pairs]))
        numbers |= {f"{name}, train": float(np.mean([r[-1].mean() for r in right]))}
        for k in range(trainings):
            rows += [{"labels": name, "training": k, "example": i, "events": int(count)} for i, count in enumerate(events[k])]
    return numbers, pd.DataFrame(rows)


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Return the correlation of two boolean arrays; 0 if one of them is constant."""
    return float(np.corrcoef(a, b)[0, 1]) if a.std() and b.std() else 0.0


def _correct(inputs: torch.Tensor, labels: torch.Tensor, n_classes: int, epochs: int, seed: int, training: int) -> np.ndarray:
    """Return whether each example is predicted right after each epoch, (epochs, n), by a network with a hidden layer of 512 units."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1000 * seed + training)
        model = nn.Sequential(nn.Linear(inputs.shape[1], 512), nn.ReLU(), nn.Linear(512, n_classes))
    optimizer, found = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9), []
    order = seeds.generator(seed, "order", training)
    for _ in range(epochs):
        for batch in np.array_split(order.permutation(len(inputs)), max(1, len(inputs) // 25)):
            optimizer.zero_grad()
            cross_entropy(model(inputs[batch]), labels[batch]).backward()
            optimizer.step()
        with torch.no_grad():
            found.append((model(inputs).argmax(1) == labels).numpy())
    return np.stack(found)


def specs(scale: Scale) -> list[StudySpec]:
    """List the studies, one per seed; they are the same at every scale."""
    return [StudySpec("forgetting", seed=seed) for seed in range(SEEDS)]


def result(scale: Scale, runs: Runs) -> Result:
    """Make the table, the chart and the claims from the stored studies."""
    records = runs.records(specs(scale))
    done = [record for record in records if record.result]
    size = done[0].result["data"] if done else "missing"
    keys = ("events", "never", "agreement")
    rows = [{"labels": name} | {key: _mean(done, f"{name}, {key}") for key in keys} for name in LABELS]
    note = "An example is forgotten when it is right after an epoch and wrong after the next. Agreement: mean correlation."
    table = pd.concat([record.table.assign(seed=record.spec.seed) for record in done]) if done else pd.DataFrame()
    charts = (
        {"forgetting": (_chart(table), f"Forgetting events per example, {size}. Bars: ± one standard deviation over seeds.")}
        if done
        else {}
    )
    tables = [Table(f"Forgetting, {size}", COLUMNS, rows, note)]
    return Result("forgetting", TITLE, scale.name, size, records, tables, charts, _claims(records))


def _mean(done: list[Run[StudySpec]], name: str) -> float | None:
    return float(np.mean([record.result[name] for record in done])) if done else None


def _claims(records: list[Run[StudySpec]]) -> list[Claim]:
    done = [record for record in records if record.result]

    def near(key: str, beyond: Callable[[float, float], float]) -> str | None:
        """Say that the rule's bound is within the interval over seeds of how far the numbers are beyond it."""
        found = [beyond(record.result[f"original, {key}"], record.result[f"random, {key}"]) for record in done]
        return contains_zero(mean_interval(found, -np.inf, np.inf), "{:.3f}")

    def values(key: str) -> dict[str, float | None]:
        return {name: _mean(done, f"{name}, {key}") for name in LABELS}

    return [
        judge(
            "random labels are forgotten more often",
            "Empirical studies use the randomization test: examples of natural data are forgotten less (Toneva et al.).",
            f"on random labels, an example is forgotten at least {MORE:g} times as often",
            values("events"),
            lambda v: v["random"] >= MORE * v["original"],
            "{:.2f}",
            doubts=[few_seeds(done), near("events", lambda original, random: random - MORE * original)],
        ),
        judge(
            "natural data have examples that are easy for all",
            "Networks learn patterns first on natural data; random labels are memorized in another order each time (Arpit et al.).",
            f"trainings agree more, by at least {AGREE:g}, on which examples are right after one epoch with original labels than with "
            "random ones",
            values("agreement"),
            lambda v: v["original"] >= v["random"] + AGREE,
            "{:.2f}",
            doubts=[few_seeds(done), near("agreement", lambda original, random: original - random - AGREE)],
        ),
    ]


def _chart(table: pd.DataFrame) -> Chart:
    counts = pd.crosstab([table["labels"], table["seed"]], table["events"].clip(upper=10), normalize="index")
    shares = [
        {"labels": labels, "events": events, "share": float(own.mean()), **spread(list(own)), "low": max(0.0, spread(list(own))["low"])}
        for labels, of_labels in counts.groupby(level=0)
        for events, own in of_labels.items()
    ]
    lines = (
        alt.Chart(pd.DataFrame(shares))
        .mark_line(point=True)
        .encode(
            x=alt.X("events:Q", title="times forgotten (10: or more)"),
            y=alt.Y("share:Q", title="examples", axis=alt.Axis(format="%")),
            **series("labels", list(LABELS)),
        )
    )
    return alt.layer(lines, whiskers(lines, "low", "high")).properties(**SIZE)
