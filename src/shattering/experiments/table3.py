"""Table 3: kernels that interpolate, without any regularization."""

from dataclasses import dataclass
from typing import Any

import altair as alt
import pandas as pd

from shattering.experiments import table3_conv
from shattering.experiments.experiment import Claim, Column, Outcome, Result, Runs, Table, answers, bars_over, judge
from shattering.experiments.reference import TABLE_3, Table3Row
from shattering.experiments.scales import GAMMA_FACTORS, RIDGES, KernelScale, Scale
from shattering.experiments.table3_conv import N_FILTERS, NEAR, error
from shattering.report.charts import SIZE, Chart, log_axis, names_of, series
from shattering.runs.spec import RunSpec

TITLE = "Table 3: generalization of kernel models, without and with ridge"
PLACE = ("ICLR 5, table 3", "full")
OURS = "ours: the paper solves the kernel equation"  # in the place of a verdict
SAME = 0.1  # of an error: one that is lower by less is no improvement
LEARNED, N_CLASSES = 3, 10  # how many times as good as guessing one of so many classes a model is that has learned
COLUMNS = (
    Column("data", "data"),
    Column("model", "kernel"),
    Column("ridge", "ridge"),
    Column("paper", "paper test error %", "paper"),
    Column("error", "our test error %", "percent"),
    Column("train", "train %", "percent"),
    Column("norm", "norm", "number"),
    Column("residual", "residual", "number"),
    Column("seconds", "seconds", "number"),
    Column("memory", "solver memory, GB", "number"),
    Column("verdict", "verdict", "prose"),
)
CHOICES = (
    Column("choice", "choice"),
    Column("value", "value"),
    Column("error", "hold-out error %", "percent"),
    Column("norm", "norm", "number"),
    Column("used", "used"),
)
FILTERS = (
    Column("filters", "filters"),
    Column("ridge", "ridge"),
    Column("error", "test error %", "percent"),
    Column("train", "train %", "percent"),
    Column("norm", "norm", "number"),
    Column("residual", "residual", "number"),
)


Filters = dict[tuple[int, float], Outcome]  # by filters and ridge


@dataclass(frozen=True)
class Kernel:
    """The model of a row. key: its name in `KernelScale.gammas` and `KernelScale.ridges`."""

    key: str
    title: str

    def spec(self, k: KernelScale, ridge: float = 0.0, factor: float = 1.0, filters: int | None = None, holdout: bool = False) -> RunSpec:
        """Specify a run. factor: multiplies the bandwidth. filters: of the random conv-net; None: the scale's most."""
        data = k.grey if self.key in ("raw", "gabor") else k.color
        params: dict[str, Any] = {"ridge": ridge} if ridge else {}
        if self.key == "conv":
            params |= {"n_filters": filters or k.filters[-1], **k.conv}
        else:
            params |= {"gamma": k.gammas[self.key] * factor} | ({"features": "gabor"} if self.key == "gabor" else {})
        model = "random-conv" if self.key == "conv" else "kernel"
        if holdout:
            return RunSpec(data, k.n_select, k.n_test, model=model, params=params, n_validation=k.n_holdout)
        return RunSpec(data, k.n_train, k.n_test, model=model, params=params)


KERNELS = {
    "raw": Kernel("raw", "Gaussian on pixels"),
    "gabor": Kernel("gabor", "Gaussian on Gabor features"),
    "color": Kernel("color", "Gaussian on pixels"),
    "conv": Kernel("conv", "linear on the random conv-net"),
}


def kernel_of(row: Table3Row) -> str:
    """Return the key of a row's kernel."""
    if row.dataset == "cifar10":
        return "color" if row.features == "raw pixels" else "conv"
    return "raw" if row.features == "raw pixels" else "gabor"


def path_specs(k: KernelScale, key: str, filters: int | None = None) -> dict[float, RunSpec]:
    """Map each ridge to a row's run. filters: of the random conv-net; None: the scale's most."""
    return {ridge: KERNELS[key].spec(k, ridge, filters=filters) for ridge in (0.0, *RIDGES)}


def filter_specs(k: KernelScale) -> dict[tuple[int, float], RunSpec]:
    """Map (filters, ridge) to a run of the random conv-net, without ridge and with the chosen one."""
    return {(n, ridge): KERNELS["conv"].spec(k, ridge, filters=n) for n in k.filters for ridge in (0.0, k.ridges["conv"])}


def choice_specs(k: KernelScale) -> dict[tuple[str, str, float], RunSpec]:
    """Map (row, what is chosen, value) to a run on the hold-out. The random conv-net has its fewest filters there."""
    specs = {}
    for key in ("raw", "gabor", "color"):
        specs |= {(key, "gamma", factor): KERNELS[key].spec(k, factor=factor, holdout=True) for factor in GAMMA_FACTORS}
    for key in KERNELS:
        few = k.filters[0] if key == "conv" else None
        specs |= {(key, "ridge", ridge): KERNELS[key].spec(k, ridge, filters=few, holdout=True) for ridge in RIDGES}
    return specs


def specs(scale: Scale) -> list[RunSpec]:
    """List all runs: the rows of the table first, then the choices, the paths over the ridge, and the filters from few to many."""
    k = scale.kernels
    plain = [path_specs(k, key)[ridge] for key in ("raw", "gabor", "color") for ridge in (0.0, k.ridges[key])]
    paths = [spec for key in ("raw", "gabor", "color") for spec in path_specs(k, key).values()]
    return [
        *plain,
        *table3_conv.size_specs(k).values(),
        *choice_specs(k).values(),
        *paths,
        *filter_specs(k).values(),
        *path_specs(k, "conv").values(),
    ]


def result(scale: Scale, runs: Runs) -> Result:
    """Make the tables, the chart and the claims from stored runs."""
    k = scale.kernels
    filters = {at: runs.outcome([spec]) for at, spec in filter_specs(k).items()}
    most = _most_filters(k, filters, 0.0, k.ridges["conv"])
    paths = {key: {ridge: runs.outcome([spec]) for ridge, spec in path_specs(k, key, most).items()} for key in KERNELS}
    choices = {at: runs.outcome([spec]) for at, spec in choice_specs(k).items()}
    rows = [ours for row in TABLE_3 for ours in _rows(k, runs, row, paths, filters)]
    main = Table(
        f"Test errors, ours with {_sizes(k)}; theirs with all of MNIST and CIFAR-10",
        COLUMNS,
        rows,
        "Norms are in the kernel's Hilbert space, for one-hot targets, over all classes. The residual is relative, in float64. "
        "The paper solves the kernel equation on the features of the random conv-net (table3-conv); the linear model is ours.",
    )
    path = Table("Does ridge help? Test error over the ridge", *_path_table(paths, most), "The diagonal of each kernel is 1 (on average).")
    by_filters = Table(
        f"The linear model on the random conv-net over its number of filters, {_n(k)} of {k.color}",
        FILTERS,
        _filter_rows(filters),
        "Only runs that are done.",
    )
    chosen = Table(
        f"Choices, on {k.n_holdout:,} held-out training images, with {k.n_select:,} to train on",
        CHOICES,
        [_choice_row(k, at, outcome) for at, outcome in choices.items()],
        "The bandwidth on MNIST's pixels is our choice (the papers name none), not the hold-out's best. Nothing is chosen on test images.",
    )
    all_runs = [o.runs[0] for group in (*paths.values(), filters, choices) for o in group.values()]
    all_runs += [outcome.runs[0] for outcome in table3_conv.outcomes(k, runs).values()]
    charts = _charts(k, filters)
    return Result("table3", TITLE, scale.name, _sizes(k), all_runs, [main, path, by_filters, chosen], charts, _claims(paths))


def _sizes(k: KernelScale) -> str:
    return f"{_n(k)} of {k.grey}" + (f" and {k.color}" if k.color != k.grey else "")


def _n(k: KernelScale) -> str:
    return "all" if k.n_train is None else f"n = {k.n_train:,}"


def _most_filters(k: KernelScale, filters: Filters, *ridges: float) -> int:
    """Return the most filters that have been run with all of these ridges; if there are none, the scale's most."""
    run = [n for n in k.filters if all(filters[n, ridge].done for ridge in ridges)]
    return max(run, default=k.filters[-1])


def _filter_rows(filters: Filters) -> list[dict]:
    names = {"train": "train_accuracy", "norm": "norm", "residual": "residual"}
    return [
        {"filters": f"{n:,}", "ridge": f"{ridge:g}", "error": error(o)} | {column: o.mean(name) for column, name in names.items()}
        for (n, ridge), o in filters.items()
        if o.done
    ]


def _rows(k: KernelScale, runs: Runs, row: Table3Row, paths: dict[str, dict[float, Outcome]], filters: Filters) -> list[dict]:
    """Return the rows of ours beside one of theirs: for the random conv-net the kernel, and the linear model, which is another."""
    key = kernel_of(row)
    ridge, title = k.ridges[key] if row.regularized else 0.0, KERNELS[key].title
    if key != "conv":
        return [_row(row, title, ridge, paths[key][ridge])]
    sizes = table3_conv.outcomes(k, runs)
    n, kernel_filters = size = table3_conv.largest(k, sizes)
    of_kernel = f"Gaussian on the random conv-net, {f'n = {n:,}' if n else 'all'}, {kernel_filters:,} filters"
    most = _most_filters(k, filters, ridge)
    return [
        _row(row, of_kernel, k.conv_ridge[1] if row.regularized else 0.0, sizes[size, row.regularized]),
        _row(row, f"{title}, {most:,} filters", ridge, filters[most, ridge]) | {"verdict": OURS},
    ]


def _row(row: Table3Row, model: str, ridge: float, outcome: Outcome) -> dict:
    ours, memory = error(outcome), outcome.mean("solver_memory")
    run = outcome.done[0] if outcome.done else None
    return {
        "data": run.result["dataset"] if run else outcome.runs[0].spec.dataset,
        "model": model,
        "ridge": f"{ridge:g}",
        "paper": row.test_error,
        "error": ours,
        "train": outcome.mean("train_accuracy"),
        "norm": outcome.mean("norm"),
        "residual": outcome.mean("residual"),
        "seconds": run.provenance["seconds"] if run else None,
        "memory": memory / 1e9 if memory else None,
        "verdict": "missing" if ours is None else answers((f"error ≤ {NEAR:g} times theirs", ours <= NEAR * row.test_error / 100)),
    }


def _path_table(paths: dict[str, dict[float, Outcome]], filters: int) -> tuple[list[Column], list[dict]]:
    titles = {key: KERNELS[key].title + (f", {filters:,} filters" if key == "conv" else "") for key in paths}
    columns = [Column("ridge", "ridge"), *(Column(key, f"{titles[key]}, {_data(paths[key])}, %", "percent") for key in paths)]
    return columns, [{"ridge": f"{r:g}", **{key: error(path[r]) for key, path in paths.items()}} for r in (0.0, *RIDGES)]


def _data(path: dict[float, Outcome]) -> str:
    return path[0.0].runs[0].spec.dataset


def _choice_row(k: KernelScale, at: tuple[str, str, float], outcome: Outcome) -> dict:
    key, what, value = at
    used = value == (1.0 if what == "gamma" else k.ridges[key])
    return {
        "choice": f"{what} of {KERNELS[key].title}, {outcome.runs[0].spec.dataset}",
        "value": f"{value * k.gammas[key] if what == 'gamma' else value:g}",
        "error": error(outcome, "validation_accuracy"),
        "norm": outcome.mean("norm"),
        "used": "yes" if used else "",
    }


def _claims(paths: dict[str, dict[float, Outcome]]) -> list[Claim]:
    plain = {key: path[0.0] for key, path in paths.items()}
    grey = {f"{KERNELS[key].title}, ridge {r:g}": error(paths[key][r]) for key in ("raw", "gabor") for r in (0.0, *RIDGES)}
    fit = {f"{key}, {what}": o.mean(f"{what}_accuracy") for key, o in plain.items() for what in ("train", "test")}

    def gains(key: str) -> tuple[float, float] | None:
        """Return the error without ridge, and what the best ridge takes from it."""
        plain, *others = (error(paths[key][r]) for r in (0.0, *RIDGES))
        known = [value for value in others if value is not None]
        return None if plain is None or len(known) < len(others) else (plain, plain - min(known))

    gained = {key: found for key in ("raw", "gabor") if (found := gains(key))}

    def no_gain(_: dict[str, float]) -> bool:
        return all(gain <= SAME * plain for plain, gain in gained.values())

    def chance(key: str) -> str | None:
        """Say that a gain is no more than that of other test images might be."""
        plain, gain = gained[key]
        noise = 2 * (2 * plain * (1 - plain) / paths[key][0.0].done[0].result["n_test"]) ** 0.5
        return (
            f"{KERNELS[key].title}: a gain of {100 * gain:.2f} points is within two standard errors"
            if SAME * plain < gain < noise
            else None
        )

    return [
        judge(
            "interpolation generalizes without regularization",
            "Kernel models that fit the training labels exactly, with no regularization, generalize.",
            f"without ridge, all predict at least 99.9 % of the training images, and {LEARNED} times as many test images as guessing",
            fit,
            lambda v: all(value >= (0.999 if name.endswith("train") else LEARNED / N_CLASSES) for name, value in v.items()),
        ),
        judge(
            "ridge improves neither MNIST model",
            "Regularization does not improve either model's performance on MNIST.",
            f"no ridge lowers the test error by more than {SAME:.0%} of it",
            grey,
            no_gain,
            "{:.2%}",
            doubts=[chance(key) for key in gained],
        ),
    ]


def _charts(k: KernelScale, filters: Filters) -> dict[str, tuple[Any, str]]:
    points = [{"filters": n, "ridge": f"ridge {r:g}", "error": error(o)} for (n, r), o in filters.items()]
    points = [point for point in points if point["error"] is not None]
    if not points:
        return {}
    data = f"{_n(k)} of {k.color}"
    caption = f"Test error of the linear model on random convolutional features, {data}. Open markers: the paper's, with 32,000 filters. "
    caption += bars_over(len(outcome.done) for outcome in filters.values())
    return {"table3-filters": (_filters_chart(pd.DataFrame(points), k), caption)}


def _filters_chart(points: pd.DataFrame, k: KernelScale) -> Chart:
    ridge = series("ridge", sorted(names_of(points["ridge"])))
    x = alt.X(**log_axis("random filters", "filters", "~s"))
    y = alt.Y("error:Q", title="test error", axis=alt.Axis(format="%"), scale=alt.Scale(zero=True))
    tooltip = ["ridge:N", "filters:Q", alt.Tooltip("error:Q", format=".1%")]
    lines = alt.Chart(points).mark_line(point=True).encode(x=x, y=y, **ridge, tooltip=tooltip)
    theirs = pd.DataFrame(
        {"filters": N_FILTERS, "ridge": f"ridge {k.ridges['conv'] if row.regularized else 0:g}", "error": row.test_error / 100}
        for row in TABLE_3
        if kernel_of(row) == "conv"
    )
    diamonds = alt.Chart(theirs).mark_point(filled=False).encode(x=x, y=y, **ridge)
    return alt.layer(lines, diamonds).properties(**SIZE)
