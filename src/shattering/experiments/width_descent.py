"""Double descent of trained networks over width (CACM 2021's survey), with every measure of generalization along it."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean

import altair as alt
import pandas as pd
from scipy import stats
from torch import Tensor

from shattering.data.dataset import Dataset
from shattering.data.load import load_dataset
from shattering.data.split import Split
from shattering.experiments.experiment import FITS, Claim, Column, Result, Runs, Table, contains_zero, few_seeds, judge, seeds_of
from shattering.experiments.points import about
from shattering.experiments.scales import Scale
from shattering.learners.network import NetworkClassifier
from shattering.learners.on_splits import fit_split, predict_split
from shattering.measures.measure import measure
from shattering.parameters import Count, Share
from shattering.randomization import Randomization, randomize
from shattering.report.charts import SIZE, Chart, dash, log_axis, names_of, series, share_axis, spread, whiskers
from shattering.report.style import BLUE, PALE
from shattering.runs.stored import Run
from shattering.runs.study import StudySpec
from shattering.stats import mean_interval

TITLE = "Double descent: networks of growing width, trained to the end, with every measure along them"
PLACE = ("CACM 6.1", "small")
NOISE = (0.0, 0.2)
PEAK = 0.02  # by how much the test error has to rise above both of its sides for a peak
COLUMNS = (
    Column("labels", "label corruption", "share"),
    Column("width", "width", "number"),
    Column("parameters", "parameters", "number"),
    Column("loss", "training loss", "number"),
    Column("train", "train error %", "percent"),
    Column("test", "test error %", "percent"),
)
ALONG = (
    Column("measure", "measure"),
    Column("clean", "τ with the test error, clean labels", "number"),
    Column("noisy", "τ with the test error, 20 % corrupted", "number"),
    Column("size", "τ with the parameters, 20 % corrupted", "number"),
    Column("widths", "widths", "number"),
)
NOTE = "Fully connected networks with one hidden layer; one that reaches a training loss of 0.001 stops there. Test errors are of true "
NOTE += "labels."
ALONG_NOTE = "Kendall's τ over the widths: 1 for a measure that orders them as the test error does, −1 for the opposite order. With so few "
ALONG_NOTE += "widths of one network it is a description, not a test; see `shattering interrogate` for that."


def run_study(
    seed: int,
    *,
    dataset: str = "digits",
    n: Count = 100,
    n_test: Count = 500,
    labels: Share = 0.0,
    width: Count = 16,
    epochs: Count = 150,
    measures: Sequence[str] | None = None,
) -> tuple[dict, pd.DataFrame]:
    """Train a network with one hidden layer to the end, and compute every measure of it.

    Args:
        seed: of the subset, the label corruption, the initial weights and the order.
        dataset: a name in `DATASETS`, or a path.
        n: training images.
        n_test: test images.
        labels: the probability that a training label is corrupted, in 0…1.
        width: hidden units.
        epochs: after which training ends, if the training loss has not reached 0.001 before.
        measures: names in `MEASURES`; None: all.

    Returns:
        The numbers and the table.
        Numbers: n, labels, width, parameters, train_loss, train_error (of the corrupted labels), test_error (of the true ones). Table:
        measure, value (NaN where there is none), reason (why there is none).

    Example:
        >>> numbers, table = run_study(0, n=50, n_test=50, width=8, epochs=3, measures=["n_parameters", "parameter_norm"])
        >>> numbers["parameters"], table["measure"].tolist()
        (610, ['n_parameters', 'parameter_norm'])
    """
    data = randomize(load_dataset(dataset, n, n_test, seed), Randomization(labels), seed)
    model = NetworkClassifier(
        f"mlp-1x{width}",
        epochs=epochs,
        batch_size=max(1, n // 10),
        learning_rate=0.02,
        random_state=seed,
        stop_at_loss=1e-3,
        evaluate_train=True,
        track_examples=True,
    )
    fit_split(model, data.train)
    errors = {f"{name}_error": float((predict_split(model, s) != y.numpy()).mean()) for name, s, y in _targets(data)}
    found = measure(model, data, measures).reset_index()
    numbers = {
        "n": len(data.train),
        "labels": float(labels),
        "width": width,
        "train_loss": float(model.history_["full_train_loss"].iloc[-1]),
    }
    numbers |= {"parameters": sum(p.numel() for p in model.module_.parameters() if p.requires_grad), **errors}
    return {**about(data), **numbers}, pd.DataFrame(found[["measure", "value", "reason"]])


def _targets(data: Dataset) -> tuple[tuple[str, Split, Tensor], ...]:
    return ("train", data.train, data.train.labels), ("test", data.test, data.test.true_labels)


def specs(scale: Scale) -> list[StudySpec]:
    """List the studies: one per dataset, seed, share of corrupted labels and width."""
    return [spec for data in scale.capacity.width_data for spec in _specs(scale, *data)]


def _specs(scale: Scale, dataset: str, n: int, n_test: int) -> list[StudySpec]:
    k = scale.capacity
    params = {"dataset": dataset, "n": n, "n_test": n_test, "epochs": k.width_epochs}
    return [
        StudySpec("width-descent", {**params, "labels": p, "width": width}, seed)
        for seed in range(k.width_seeds)
        for p in NOISE
        for width in k.widths
    ]


def result(scale: Scale, runs: Runs) -> Result:
    """Make the figures, the tables and the claims from the stored studies, dataset by dataset."""
    parts = [_part(scale, runs, k) for k in range(len(scale.capacity.width_data))]
    merged = Result(
        "width-descent", TITLE, scale.name, "; ".join(part.size for part in parts), [run for part in parts for run in part.runs]
    )
    for part in parts:
        merged.tables.extend(part.tables)
        merged.charts.update(part.charts)
        merged.claims.extend(part.claims)
    return merged


def _part(scale: Scale, runs: Runs, k: int) -> Result:
    """Make what is shown of the k-th dataset of the scale."""
    dataset, n, n_test = scale.capacity.width_data[k]
    records = runs.records(_specs(scale, dataset, n, n_test))
    done = [record for record in records if record.result]
    size = done[0].result["data"] if done else "missing"
    rows, values = _means(done), _values(done)
    noisy = [record for record in records if record.spec.params["labels"] == NOISE[1]]
    along = _along(rows, values)
    tables = [Table(f"Errors, {size}", COLUMNS, rows, NOTE), Table(f"Measures along the widths, {size}", ALONG, along, ALONG_NOTE)]
    charts = {}
    if done:
        caption = f"Errors of trained networks over their number of parameters, {size}. Lines: label corruption; bars: ± one standard "
        caption += "deviation over seeds."
        more = f"Each measure along the widths at {NOISE[1]:.0%} corrupted labels, {size}, as its rank among them: dark where it predicts "
        more += "that the network generalizes worst. First the test error itself; then the measures by their agreement with it."
        charts[f"width-descent-{dataset}-{n}"] = (_errors_chart(pd.DataFrame(rows)), caption)
        if len(ranked := _ranked(rows, values)):
            order = ["test error", *(row["measure"] for row in along if row["measure"] in set(ranked["measure"]))]
            charts[f"width-descent-{dataset}-{n}-measures"] = (_ranks_chart(ranked, order), more)
    errors, fits = (_by_seed(noisy, name) if all(record.result for record in noisy) else [] for name in ("test_error", "train_error"))
    data = f", {n:,} of {dataset}" if k else ""
    claims = [_claim(errors, few_seeds(noisy), data), _interpolation_claim(errors, fits, few_seeds(noisy), data)]
    claims = [replace(claim, seeds=seeds_of(noisy), size=size) for claim in claims]
    return Result("width-descent", TITLE, scale.name, size, records, tables, charts, claims)


def _means(records: Sequence[Run[StudySpec]]) -> list[dict]:
    """Average over seeds for each label corruption and width, in that order."""
    groups: dict[tuple[float, int], list[dict]] = defaultdict(list)
    for record in records:
        groups[record.result["labels"], int(record.result["width"])].append(record.result)
    names = {"parameters": "parameters", "loss": "train_loss", "train": "train_error", "test": "test_error"}
    return [
        {"labels": labels, "width": width, **{key: fmean(r[name] for r in found) for key, name in names.items()}}
        | {f"{name}_{end}": value for name in ("train", "test") for end, value in spread([r[f"{name}_error"] for r in found]).items()}
        for (labels, width), found in sorted(groups.items())
    ]


def _values(records: Sequence[Run[StudySpec]]) -> pd.DataFrame:
    """Return the measures, means over seeds: one row per label corruption, width and measure."""
    parts = [record.table.assign(labels=record.result["labels"], width=int(record.result["width"])) for record in records]
    if not parts:
        return pd.DataFrame(columns=["labels", "width", "measure", "value"])
    means = pd.concat(parts).groupby(["labels", "width", "measure"], sort=False).agg(value=("value", "mean"))
    return pd.DataFrame(means.reset_index())


def _along(rows: list[dict], values: pd.DataFrame) -> list[dict]:
    """Return Kendall's τ of each measure with the test error and with the size, those that follow the error under noise first."""
    errors = {(row["labels"], row["width"]): row for row in rows}
    out = []
    for name, own in values.dropna().groupby("measure", sort=False):
        sides = [own[own["labels"] == p] for p in NOISE]
        points = [
            [(errors[p, width], value) for width, value in zip(side["width"], side["value"], strict=True)]
            for p, side in zip(NOISE, sides, strict=True)
        ]
        row = {"measure": name, "clean": _tau(points[0], "test"), "noisy": _tau(points[1], "test"), "size": _tau(points[1], "parameters")}
        out.append({**row, "widths": len(points[1])})
    return sorted(out, key=lambda row: -2.0 if row["noisy"] is None else row["noisy"], reverse=True)


def _tau(points: list[tuple[dict, float]], name: str) -> float | None:
    """Return Kendall's τ_b of a measure with a number of each width; None for fewer than three, and where one side is constant."""
    a, b = [value for _, value in points], [row[name] for row, _ in points]
    if len(set(a)) < 2 or len(set(b)) < 2 or len(a) < 3:
        return None
    return round(float(pd.Series(stats.rankdata(a)).corr(pd.Series(stats.rankdata(b)), method="kendall")), 2)


def _by_seed(records: Sequence[Run[StudySpec]], name: str) -> list[list[float]]:
    """List the errors of each seed, by ascending width. name: of the error in the result."""
    seeds: dict[int, dict[int, float]] = defaultdict(dict)
    for record in records:
        seeds[record.spec.seed][int(record.result["width"])] = record.result[name]
    return [[error for _, error in sorted(errors.items())] for errors in seeds.values()]


def _claim(seeds: Sequence[Sequence[float]], doubt: str | None = None, data: str = "") -> Claim:
    """Judge whether the test error has a peak inside the widths: above the best error of smaller networks, and above the widest's.

    Args:
        seeds: the test errors of each seed, by ascending width.
        doubt: why the errors may not decide.
        data: by which the claim is told from those on other data.
    """
    errors = [fmean(of_width) for of_width in zip(*seeds, strict=True)]
    values: dict[str, float | None] = dict.fromkeys(("best below", "largest between", "at the largest width"))
    unclear = None
    if len(errors) > 2:
        peak = max(range(1, len(errors) - 1), key=lambda i: errors[i] - max(min(errors[:i]), errors[-1]))
        best = errors.index(min(errors[:peak]))
        values = {"best below": errors[best], "largest between": errors[peak], "at the largest width": errors[-1]}
        height = mean_interval([own[peak] - max(own[best], own[-1]) for own in seeds], -1.0, 1.0)
        if height and height[0] < PEAK < height[1]:
            unclear = f"the peak's 95 % interval, {height[0]:.1%} to {height[1]:.1%} above both sides, contains {PEAK:.0%}"
    return judge(
        f"double descent of trained networks, {NOISE[1]:.0%} corrupted labels{data}",
        "The risk curve of overparameterized models is no U but a double descent: test error peaks, and falls again beyond.",
        f"at some width the error is at least {100 * PEAK:.0f} points above the best of smaller networks and above that of the widest, "
        f"with a 95 % interval over seeds on one side of {100 * PEAK:.0f} points",
        values,
        lambda v: v["largest between"] >= max(v["best below"], v["at the largest width"]) + PEAK,
        doubts=[doubt, unclear],
    )


def _interpolation_claim(
    seeds: Sequence[Sequence[float]], trained: Sequence[Sequence[float]], doubt: str | None = None, data: str = ""
) -> Claim:
    """Judge the widest network beside the best of those that do not fit the corrupted labels.

    Args:
        seeds: the test errors of each seed, by ascending width.
        trained: the training errors of each seed, of the corrupted labels.
        doubt: why the errors may not decide.
        data: by which the claim is told from those on other data.
    """
    errors, missed = ([fmean(of_width) for of_width in zip(*found, strict=True)] for found in (seeds, trained))
    unfitted = [i for i, share in enumerate(missed) if share > 1 - FITS]
    best = min(unfitted, key=errors.__getitem__, default=None)
    values = {"best that does not fit": None if best is None else errors[best], "at the largest width": errors[-1] if errors else None}
    above = [] if best is None else [own[-1] - own[best] for own in seeds]
    return judge(
        f"fitting corrupted labels need not hurt{data}",
        "Fitting all the training examples, including noisy ones, is not necessarily at odds with generalization.",
        f"with {NOISE[1]:.0%} corrupted labels, the widest network fits at least {FITS:.0%} of them, and its test error is below that of "
        "the best network that does not, by a 95 % interval over seeds",
        values,
        lambda v: v["at the largest width"] < v["best that does not fit"],
        doubts=[
            doubt,
            f"the widest network fits {1 - missed[-1]:.1%} of the labels" if missed and len(missed) - 1 in unfitted else None,
            contains_zero(mean_interval(above, -1.0, 1.0)),
        ],
        lacking={"best that does not fit": "every network fits the labels"} if errors and best is None else None,
    )


def _errors_chart(rows: pd.DataFrame) -> Chart:
    sides = [
        rows.assign(error=rows[name], low=rows[f"{name}_low"], high=rows[f"{name}_high"], side=f"{name} error")
        for name in ("train", "test")
    ]
    data = pd.concat(sides).assign(corruption=lambda table: [f"{p:.0%} corrupted labels" for p in table["labels"]])
    lines = (
        alt.Chart(data)
        .mark_line(point=True)
        .encode(
            x=alt.X(**log_axis("parameters", "parameters", "~s")),
            y=alt.Y(**share_axis("error", "error")),
            **series("side", ["train error", "test error"]),
            strokeDash=dash("corruption", *names_of(data["corruption"])),
            tooltip=["side:N", "corruption:N", "width:Q", alt.Tooltip("error:Q", format=".1%")],
        )
    )
    return alt.layer(lines, whiskers(lines, "low", "high")).properties(**SIZE)


def _ranked(rows: list[dict], values: pd.DataFrame) -> pd.DataFrame:
    """Return the rank in 0…1 of each measure among the widths at corrupted labels, first that of the test error."""
    error = {row["width"]: row["test"] for row in rows if row["labels"] == NOISE[1]}
    parts = {"test error": error}
    for name, own in values[values["labels"] == NOISE[1]].dropna().groupby("measure", sort=False):
        parts[str(name)] = dict(zip(own["width"], own["value"], strict=True))
    out = []
    for name, of in parts.items():
        if len(set(of.values())) > 1:
            ranks = (stats.rankdata(list(of.values())) - 1) / (len(of) - 1)
            out += [{"measure": name, "width": width, "rank": rank} for width, rank in zip(of, ranks, strict=True)]
    return pd.DataFrame(out, columns=["measure", "width", "rank"])


def _ranks_chart(ranked: pd.DataFrame, order: list[str]) -> Chart:
    return (
        alt.Chart(ranked)
        .mark_rect()
        .encode(
            x=alt.X("width:O", title="width"),
            y=alt.Y("measure:N", sort=order, title=None, axis=alt.Axis(labelLimit=0, labelOverlap=False)),
            color=alt.Color("rank:Q", title="rank", scale=alt.Scale(range=[PALE, BLUE])),
            tooltip=["measure:N", "width:O", alt.Tooltip("rank:Q", format=".2f")],
        )
        .properties(width=360, height=18 * len(order))
    )
