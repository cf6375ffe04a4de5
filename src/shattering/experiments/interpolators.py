"""Section 5: interpolating solutions that do not generalize are easy to build, and their norms are larger."""

import altair as alt
import pandas as pd
import torch

from shattering import seeds
from shattering.data.load import load_dataset
from shattering.experiments.experiment import Claim, Column, Result, Runs, Table, judge
from shattering.experiments.points import about, points_of
from shattering.experiments.scales import Scale
from shattering.linalg.gram import Gaussian
from shattering.parameters import Count, Positive
from shattering.randomization import Randomization
from shattering.report.charts import SIZE, Chart, log_axis, names_of, series, share_axis
from shattering.runs.study import StudySpec

TITLE = "Section 5: interpolating solutions that do not generalize"
PLACE = ("ICLR 5", "small")
BEST, BAD = "minimum norm", ("random labels", "random centres", "forced on the test points")
COLUMNS = (
    Column("function", "function"),
    Column("train", "train %", "percent"),
    Column("test", "test %", "percent"),
    Column("norm", "norm", "number"),
    Column("residual", "relative residual", "number"),
)


def run_study(
    seed: int, *, dataset: str = "digits", n: Count = 1000, n_test: Count = 500, gamma: Positive = 0.05
) -> tuple[dict, pd.DataFrame]:
    """Evaluate four functions of the Gaussian kernel that interpolate training images. Targets are one-hot.

    - "minimum norm" has the least norm.
    - "random labels" has the least norm on random labels.
    - "random centres" is expanded around n points from a Gaussian with the mean and deviation of each pixel.
    - "forced on the test points" has the least norm among those that also interpolate random labels of the test images.

    Args:
        seed: of the subset, the random labels and the random centres.
        dataset: a name in `DATASETS`, or a path.
        n: training images.
        n_test: test images.
        gamma: of the kernel exp(-gamma ‖x - x'‖²), x in 0…1.

    Returns:
        The numbers and the table.
        Numbers: the number of classes. Table: function, train_accuracy, test_accuracy, norm (in the kernel's
        Hilbert space, over all classes), and residual (relative, on the targets that were to be interpolated).

    Example:
        >>> numbers, table = run_study(0, n=50, n_test=50)
        >>> table["norm"].round().tolist()
        [13.0, 22.0, 493.0, 41.0]
    """
    data = load_dataset(dataset, n, n_test, seed)
    X, test = points_of(data.train), points_of(data.test)
    k, n_classes = Gaussian(gamma), data.train.n_classes
    random = Randomization(1.0)
    labels = {name: random.corrupt(split, seed, name) for name, split in (("train", data.train), ("test", data.test))}
    everything = torch.cat([X, test])
    centers = X.mean(0) + X.std(0) * torch.from_numpy(seeds.generator(seed, "centers").normal(size=tuple(X.shape)))
    tasks = {
        "minimum norm": (X, data.train.true_labels, X),
        "random labels": (X, labels["train"], X),
        "random centres": (X, data.train.true_labels, centers),
        "forced on the test points": (everything, torch.cat([data.train.true_labels, labels["test"]]), everything),
    }
    rows = []
    for name, (points, wanted, around) in tasks.items():
        targets = torch.nn.functional.one_hot(wanted, n_classes).double()
        system = k(points, around)
        coefficients = torch.linalg.lstsq(system, targets, driver="gelsd").solution
        norm = float((coefficients * (k(around, around) @ coefficients)).sum().clamp(min=0).sqrt())
        residual = float((system @ coefficients - targets).norm() / targets.norm())
        fitted = (system @ coefficients)[: len(X)].argmax(1) == wanted[: len(X)]
        right = (k(test, around) @ coefficients).argmax(1) == data.test.true_labels
        accuracies = {"train_accuracy": float(fitted.double().mean()), "test_accuracy": float(right.double().mean())}
        rows.append({"function": name, **accuracies, "norm": norm, "residual": residual})
    return {**about(data), "classes": n_classes}, pd.DataFrame(rows)


def specs(scale: Scale) -> list[StudySpec]:
    """List the single study."""
    k = scale.kernels
    return [StudySpec("interpolators", {"dataset": k.grey, "n": k.n_study, "n_test": k.n_study_test, "gamma": k.gammas["raw"]})]


def result(scale: Scale, runs: Runs) -> Result:
    """Make the figure, its table and its claims from the stored study."""
    (record,) = runs.records(specs(scale))
    size = record.result.get("data", "missing")
    table = record.table.set_index("function") if record.result else pd.DataFrame()
    rows = [
        {"function": name, "train": row.train_accuracy, "test": row.test_accuracy, "norm": row.norm, "residual": row.residual}
        for name, row in table.iterrows()
    ]
    charts = {"interpolators": (_chart(record.table), f"Test accuracy and norm of four interpolating functions, {size}.")} if rows else {}
    note = "Norms are in the kernel's Hilbert space, over all classes. Each function interpolates to float64 precision."
    return Result(
        "interpolators",
        TITLE,
        scale.name,
        size,
        [record],
        [Table(f"Four functions, {size}", COLUMNS, rows, note)],
        charts,
        _claims(table, record.result),
    )


def _claims(table: pd.DataFrame, numbers: dict) -> list[Claim]:
    def of(name: str, column: str) -> float | None:
        return float(table.loc[name, column]) if name in table.index else None

    chance = 1 / numbers.get("classes", 10)
    return [
        judge(
            "it is easy to interpolate without generalizing",
            "Kernels around random points, or random labels forced on the test points, fit the training set but not the test set.",
            f"all predict every training label; the minimum norm's test accuracy is above 90 %, the forced one's within 5 points of "
            f"{chance:.0%}, and that around random points at least 10 points below the minimum norm's",
            {f"{name}, test": of(name, "test_accuracy") for name in (BEST, *BAD)}
            | {f"{name}, train": of(name, "train_accuracy") for name in (BEST, *BAD)},
            lambda v: (
                all(v[f"{name}, train"] == 1 for name in (BEST, *BAD))
                and v[f"{BEST}, test"] > 0.9
                and abs(v["forced on the test points, test"] - chance) <= 0.05
                and v["random centres, test"] <= v[f"{BEST}, test"] - 0.1
            ),
        ),
        judge(
            "their norms are much larger",
            "Such solutions have much larger norms than the one of least norm.",
            "each has at least twice the least norm",
            {name: of(name, "norm") for name in (BEST, *BAD)},
            lambda v: all(v[name] >= 2 * v[BEST] for name in BAD),
            "{:.4g}",
        ),
    ]


def _chart(table: pd.DataFrame) -> Chart:
    base = alt.Chart(table).encode(
        x=alt.X(**log_axis("norm", "norm", "~s")),
        y=alt.Y(**share_axis("test accuracy", "test_accuracy")),
        **series("function", names_of(table["function"]), columns=2),
        tooltip=["function:N", alt.Tooltip("norm:Q", format=".4g"), alt.Tooltip("test_accuracy:Q", format=".1%")],
    )
    return base.mark_point().properties(**SIZE)
