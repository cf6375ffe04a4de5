"""Table 3, random conv-net: the kernel equation on its features, a Gaussian kernel with and without ridge."""

from typing import Any

import altair as alt
import pandas as pd

from shattering.experiments.experiment import Claim, Column, Outcome, Result, Runs, Table, bars_over, judge
from shattering.experiments.reference import N_TRAIN, TABLE_3
from shattering.experiments.scales import KernelScale, Scale
from shattering.report.charts import SIZE, Chart, log_axis, series
from shattering.runs.spec import RunSpec

TITLE = "Table 3, random conv-net: a Gaussian kernel on its features"
PLACE = ("ICLR 5, table 3", "full")
BANDWIDTHS = (0.03, 0.1, 0.3, 1.0)  # times 1 / the median squared distance between training images; all are tried on the hold-out
RIDGES = (0.0, 1e-3, 1e-2, 1e-1)
Sizes = dict[tuple[tuple[int | None, int], bool], Outcome]  # by (training images, filters), and whether with ridge
N_TEST_CHOICE = 1000  # test images of the runs for choices, which nothing looks at
NEAR = 1.25  # an error up to this many times the paper's counts as reaching it
N_FILTERS = 32_000  # of the paper's random conv-net
GAIN = (0.005, 0.04)  # of ridge; the paper's is 2 points
LINEAR_LOSES = 0.05  # the linear model's error is higher by so much without ridge
LEARNED, N_CLASSES = 3, 10  # how many times as good as guessing one of so many classes a model is that has learned
COLUMNS = (
    Column("n", "training images"),
    Column("filters", "filters"),
    Column("bandwidth", "bandwidth"),
    Column("ridge", "ridge"),
    Column("paper", "paper test error %", "paper"),
    Column("error", "our test error %", "percent"),
    Column("train", "train %", "percent"),
    Column("norm", "norm", "number"),
    Column("residual", "residual", "number"),
    Column("seconds", "seconds", "number"),
)
CHOICES = (
    Column("bandwidth", "bandwidth"),
    *(Column(f"{ridge:g}", f"ridge {ridge:g}: hold-out error %", "percent") for ridge in RIDGES),
)


def spec_of(k: KernelScale, size: tuple[int | None, int], with_ridge: bool) -> RunSpec:
    """Specify the run of a size (training images, filters), without ridge or with the chosen one."""
    bandwidth, ridge = k.conv_ridge if with_ridge else (k.conv_bandwidth, 0.0)
    params = {"n_filters": size[1], **k.conv, "bandwidth": bandwidth} | ({"ridge": ridge} if ridge else {})
    return RunSpec(k.color, size[0], k.n_test, model="random-conv-kernel", params=params)


def size_specs(k: KernelScale) -> dict[tuple[tuple[int | None, int], bool], RunSpec]:
    """Map (size, whether with ridge) to a run, from few images to many."""
    return {(size, with_ridge): spec_of(k, size, with_ridge) for size in k.conv_sizes for with_ridge in (False, True)}


def choice_specs(k: KernelScale) -> dict[tuple[float, float], RunSpec]:
    """Map (bandwidth, ridge) to a run on the hold-out."""
    specs = {}
    for bandwidth in BANDWIDTHS:
        for ridge in RIDGES:
            params = {"n_filters": k.conv_select, **k.conv, "bandwidth": bandwidth} | ({"ridge": ridge} if ridge else {})
            n_test = min(k.n_test or N_TEST_CHOICE, N_TEST_CHOICE)
            specs[bandwidth, ridge] = RunSpec(
                k.color, k.n_select, n_test, model="random-conv-kernel", params=params, n_validation=k.n_holdout
            )
    return specs


def linear_spec(k: KernelScale, size: tuple[int | None, int]) -> RunSpec:
    """Specify the linear model on the same features, without ridge."""
    return RunSpec(k.color, size[0], k.n_test, model="random-conv", params={"n_filters": size[1], **k.conv})


def specs(scale: Scale) -> list[RunSpec]:
    """List all runs: the sizes from few images to many, the choices, and the linear model at the last size."""
    k = scale.kernels
    return [*choice_specs(k).values(), *size_specs(k).values(), linear_spec(k, k.conv_sizes[-1])]


def result(scale: Scale, runs: Runs) -> Result:
    """Make the table, the chart and the claims from stored runs."""
    k = scale.kernels
    sizes = outcomes(k, runs)
    choices = {at: runs.outcome([spec]) for at, spec in choice_specs(k).items()}
    linear = runs.outcome([linear_spec(k, k.conv_sizes[-1])])
    done = largest(k, sizes)
    tables = [
        Table(
            f"Test errors, ours on {k.color}; theirs with n = {N_TRAIN:,} of CIFAR-10 and {N_FILTERS:,} filters",
            COLUMNS,
            [_row(k, size, with_ridge, outcome) for (size, with_ridge), outcome in sizes.items()],
            "The bandwidth is in units of 1 / the median squared distance between training images.",
        ),
        Table(
            f"Choices: {k.n_holdout:,} held-out training images, {k.n_select:,} to train on, {k.conv_select:,} filters",
            CHOICES,
            [{"bandwidth": f"{b:g}"} | {f"{r:g}": error(choices[b, r], "validation_accuracy") for r in RIDGES} for b in BANDWIDTHS],
            "The best without ridge and the best of all are used. Nothing is chosen on test images.",
        ),
    ]
    all_runs = [outcome.runs[0] for group in (sizes, choices) for outcome in group.values()] + linear.runs
    return Result("table3-conv", TITLE, scale.name, _size(k, done), all_runs, tables, _charts(k, sizes), _claims(k, sizes, done, linear))


def outcomes(k: KernelScale, runs: Runs) -> Sizes:
    """Look up the runs of all sizes, without ridge and with it."""
    return {at: runs.outcome([spec]) for at, spec in size_specs(k).items()}


def largest(k: KernelScale, sizes: Sizes) -> tuple[int | None, int]:
    """Return the largest size of which both runs are done; the smallest if there is none."""
    return next((size for size in reversed(k.conv_sizes) if sizes[size, False].done and sizes[size, True].done), k.conv_sizes[0])


def _size(k: KernelScale, size: tuple[int | None, int]) -> str:
    return f"{f'n = {size[0]:,}' if size[0] else 'all'} of {k.color}, {size[1]:,} filters"


def error(outcome: Outcome, name: str = "test_accuracy") -> float | None:
    """Return 1 - an accuracy; None if it is missing."""
    accuracy = outcome.mean(name)
    return None if accuracy is None else 1 - accuracy


def _row(k: KernelScale, size: tuple[int | None, int], with_ridge: bool, outcome: Outcome) -> dict[str, Any]:
    bandwidth, ridge = k.conv_ridge if with_ridge else (k.conv_bandwidth, 0.0)
    return {
        "n": f"{size[0]:,}" if size[0] else "all",
        "filters": f"{size[1]:,}",
        "bandwidth": f"{bandwidth:g}",
        "ridge": f"{ridge:g}",
        "paper": _theirs(with_ridge),
        "error": error(outcome),
        "train": outcome.mean("train_accuracy"),
        "norm": outcome.mean("norm"),
        "residual": outcome.mean("residual"),
        "seconds": outcome.done[0].provenance["seconds"] if outcome.done else None,
    }


def _theirs(with_ridge: bool) -> float:
    return next(row.test_error for row in TABLE_3 if row.features.startswith("random conv-net") and row.regularized == with_ridge)


def _claims(k: KernelScale, sizes: Sizes, size: tuple[int | None, int], linear: Outcome) -> list[Claim]:
    plain, ridged = sizes[size, False], sizes[size, True]
    errors = {"without ridge": error(plain), "with ridge": error(ridged)}
    n = plain.done[0].result["n_train"] if plain.done else size[0]
    above = [name for name, ours in errors.items() if ours is not None and ours > NEAR * _theirs(name == "with ridge") / 100]
    return [
        judge(
            "a kernel on random features interpolates and generalizes",
            "Solving the kernel equation on the features of a random conv-net, with no regularization, generalizes.",
            f"without ridge, it predicts at least 99.9 % of the training images, and {LEARNED} times as many test images as guessing",
            {"train": plain.mean("train_accuracy"), "test": plain.mean("test_accuracy")},
            lambda v: v["train"] >= 0.999 and v["test"] >= LEARNED / N_CLASSES,
        ),
        judge(
            "random conv-net: 17 %, with ridge 15 %",
            "On CIFAR-10, a random conv-net gives 17 % test error without regularization, and 15 % with l2 regularization.",
            f"on n = {N_TRAIN:,} images, each error is at most {NEAR:g} times the paper's, as in the rows of table 3; with fewer filters "
            f"than the paper's {N_FILTERS:,}, larger errors leave it open",
            errors,
            lambda v: not above,
            doubts=[
                f"{size[1]:,} filters are fewer than the paper's, and the error {' and '.join(above)} is larger"
                if above and size[1] < N_FILTERS
                else None
            ],
            unlike=None if n in (None, N_TRAIN) else f"n is {n:,}, and the paper's errors are for n = {N_TRAIN:,}",
        ),
        ridge_claim(errors, plain.done[0].result["n_test"] if plain.done else 1),
        judge(
            "the linear model is another",
            "(Ours: table 3 solves the kernel equation; without ridge, a linear model on the same features generalizes worse.)",
            f"without ridge, the error of the linear model is at least {100 * LINEAR_LOSES:g} points higher than the kernel's",
            {"linear": error(linear), "kernel": error(sizes[k.conv_sizes[-1], False])},
            lambda v: v["linear"] >= v["kernel"] + LINEAR_LOSES,
        ),
    ]


def ridge_claim(errors: dict[str, float | None], n_test: int) -> Claim:
    """Judge how much ridge helps: a little, as in the paper; neither nothing nor so much that regularization would be needed."""
    plain, ridged = errors["without ridge"], errors["with ridge"]
    doubt = None
    if plain is not None and ridged is not None:
        gain, noise = plain - ridged, 2 * ((plain * (1 - plain) + ridged * (1 - ridged)) / n_test) ** 0.5
        if any(gain - noise < bound < gain + noise for bound in GAIN):
            doubt = f"the gain, {100 * (gain - noise):.1f} to {100 * (gain + noise):.1f} points, may be within {_points()} or not"
    return judge(
        "ridge helps the random conv-net a little",
        "On CIFAR-10, l2 regularization brings the random conv-net from 17 to 15 %.",
        f"ridge lowers the test error by {_points()}",
        errors,
        lambda v: GAIN[0] <= v["without ridge"] - v["with ridge"] <= GAIN[1],
        "{:.2%}",
        doubts=[doubt],
    )


def _points() -> str:
    return f"{100 * GAIN[0]:g} to {100 * GAIN[1]:g} points"


def _charts(k: KernelScale, sizes: Sizes) -> dict[str, tuple[Any, str]]:
    points = [
        {"n": o.done[0].result["n_train"], "filters": size[1], "model": "with ridge" if ridge else "without ridge", "error": error(o)}
        for (size, ridge), o in sizes.items()
        if o.done
    ]
    if not points:
        return {}
    caption = (
        f"Test error of a Gaussian kernel on the features of a random conv-net over the number of training images of {k.color}; "
        f"the more images, the more filters. Open markers: the paper's, with n = 50,000 and {N_FILTERS:,} filters. "
        + bars_over(len(outcome.done) for outcome in sizes.values())
    )
    return {"table3-conv": (_chart(pd.DataFrame(points)), caption)}


def _chart(points: pd.DataFrame) -> Chart:
    model = series("model", ["without ridge", "with ridge"])
    x = alt.X(**log_axis("training images", "n", "~s"))
    y = alt.Y("error:Q", title="test error", axis=alt.Axis(format="%"), scale=alt.Scale(zero=True))
    tooltip = ["model:N", "n:Q", "filters:Q", alt.Tooltip("error:Q", format=".1%")]
    lines = alt.Chart(points).mark_line(point=True).encode(x=x, y=y, **model, tooltip=tooltip)
    theirs = pd.DataFrame(
        {"n": N_TRAIN, "model": "with ridge" if ridge else "without ridge", "error": _theirs(ridge) / 100} for ridge in (False, True)
    )
    diamonds = alt.Chart(theirs).mark_point(filled=False).encode(x=x, y=y, **model)
    return alt.layer(lines, diamonds).properties(**SIZE)
