"""The shatter point: the largest number of random labels that a model fits, found by bisection over stored runs."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Annotated

import altair as alt
import pandas as pd

from shattering.brief import Brief
from shattering.data.load import load_dataset
from shattering.errors import InputError
from shattering.experiments.experiment import Column, Result, Table
from shattering.identity.files import read_once
from shattering.parameters import Count, Range, check
from shattering.randomization import Randomization
from shattering.report.charts import SIZE, Chart, log_axis, names_of, reference, series, share_axis
from shattering.runs.execute import run
from shattering.runs.spec import RunSpec
from shattering.runs.store import A_STORE, Store
from shattering.runs.stored import Run
from shattering.system.progress import Progress

TITLE = "The shatter point: how many random labels a model fits"
COLUMNS = (
    Column("model", "model"),
    Column("n", "fits n", "number"),
    Column("failed", "fails at n", "number"),
    Column("parameters", "parameters", "number"),
    Column("ratio", "parameters per example", "number"),
)
CURVE = (
    Column("model", "model"),
    Column("n", "n", "number"),
    Column("seed", "seed", "number"),
    Column("train_accuracy", "train %", "percent"),
    Column("test_accuracy", "test %", "percent"),
    Column("epochs_to_fit", "epochs to fit", "number"),
    Column("fitted", "fitted"),
)


@dataclass(frozen=True, repr=False)
class ShatterPoint(Brief):
    """The number of random labels that a model fits: `n`, and fewer than `n_failed`.

    Args:
        n: the largest number of examples that was fitted, among those below n_failed; None: even the smallest was not.
        n_failed: the smallest number that was not fitted; None: every number that was tried was fitted.
        accuracy: the training accuracy from which a run fits its random labels, in 0…1.
        runs: all runs that were looked at, ascending in n.

    Example:
        >>> ShatterPoint.of([], accuracy=0.99).n is None
        True
    """

    n: int | None
    n_failed: int | None
    accuracy: float
    runs: tuple[Run, ...]

    @classmethod
    def of(cls, runs: Iterable[Run], accuracy: float) -> "ShatterPoint":
        """Find the shatter point among runs of one model on random labels."""
        ordered = sorted(runs, key=lambda r: (r.spec.n_train or 0, r.spec.seed))
        sizes = {r.spec.n_train: True for r in ordered}
        for r in ordered:
            sizes[r.spec.n_train] &= r.result["train_accuracy"] >= accuracy
        failed = next((n for n, fitted in sizes.items() if not fitted), None)
        fitted = [n for n, whole in sizes.items() if whole and n and (failed is None or n < failed)]
        return cls(fitted[-1] if fitted else None, failed, accuracy, tuple(ordered))

    @property
    def n_parameters(self) -> int | None:
        """Parameters of the model at n; None if there is no n, or if its parameters are not counted."""
        return next((r.result["n_parameters"] for r in reversed(self.runs) if r.spec.n_train == self.n), None)

    @property
    def parameters_per_example(self) -> float | None:
        """Parameters per example at n; None if either is."""
        return self.n_parameters / self.n if self.n and self.n_parameters else None

    def table(self) -> pd.DataFrame:
        """Make a table with a row per run: n, seed, train_accuracy, test_accuracy, epochs_to_fit, fitted."""
        rows = [
            {
                "n": r.spec.n_train,
                "seed": r.spec.seed,
                **{name: r.result[name] for name in ("train_accuracy", "test_accuracy", "epochs_to_fit")},
                "fitted": r.result["train_accuracy"] >= self.accuracy,
            }
            for r in self.runs
        ]
        return pd.DataFrame(rows)


@read_once()
def shatter_point(
    spec: RunSpec,
    store: Store,
    accuracy: float = 0.99,
    n_min: int = 100,
    n_max: int | None = None,
    steps: int = 4,
    n_seeds: int = 1,
    progress: bool | None = None,
) -> ShatterPoint:
    """Find the largest n whose random labels a model fits within its budget, in all seeds.

    The search is over the numbers n_min 2^(k / steps), rounded. n is doubled until a run fails (or halved until one fits), and
    then bisected. A model that fits more examples is assumed to fit fewer. Runs are stored: another search reuses them, and a
    search that was interrupted continues.

    Args:
        spec: dataset, model and budget. n_train is replaced; labels are random unless spec corrupts them otherwise.
        store: where runs are stored.
        accuracy: the training accuracy from which a run fits, in 0…1.
        n_min: where the search begins.
        n_max: the most to try; None: all training examples that a hold-out of spec leaves. It is tried itself if all numbers below fit.
        steps: how many numbers to try per doubling of n.
        n_seeds: runs per number, all of which have to fit.
        progress: True prints a line for each run, on standard error, beside the line that None shows in a terminal or a notebook; False
            prints nothing.

    Raises:
        InputError: for numbers out of range.

    Example:
        >>> from shattering import RunSpec, Store
        >>> spec = RunSpec("digits", model="nearest-neighbors", params={"n_neighbors": 1}, n_test=20)
        >>> shatter_point(spec, Store("runs"), n_max=200).n
        200
    """
    check("spec", spec, RunSpec)
    check("store", store, A_STORE)
    check("accuracy", accuracy, Annotated[float, Range(0, 1, above=True)])
    for name, value in {"n_min": n_min, "steps": steps, "n_seeds": n_seeds}.items():
        check(name, value, Count)
    check("n_max", n_max, Count | None)
    if spec.folds is not None:
        raise InputError(f"spec has folds = {spec.folds}, expected none: a run of a fold is trained on fewer examples than its n")
    reading = {"image_size": spec.image_size, "skip_corrupt": spec.skip_corrupt, "channels": spec.channels}
    train = load_dataset(spec.dataset, hold_out=spec.hold_out, **reading).train
    if train.is_regression:
        raise InputError("spec has a dataset with numbers as targets, expected classes: random labels are fitted by their accuracy")
    most = len(train) - (spec.n_validation or 0)
    low, high = train.n_classes, most if n_max is None else n_max
    if not low <= n_min <= high <= most:
        raise InputError(f"n_min is {n_min} and n_max is {high}, expected {low} <= n_min <= n_max <= {most}")
    random = spec.randomization if spec.randomization.labels else Randomization(1.0, spec.randomization.pixels)
    runs: dict[int, list[Run]] = {}

    def fits(n: int) -> bool:
        if n not in runs:
            runs[n] = []
            for seed in range(spec.seed, spec.seed + n_seeds):
                shown.update(sum(map(len, runs.values())), f"n = {n:,}, seed {seed}")
                runs[n].append(run(replace(spec, n_train=n, randomization=random, seed=seed), store))
                shown.say(f"n = {n:,}, seed {seed}: {runs[n][-1].result['train_accuracy']:.1%} of the labels fitted")
        return all(r.result["train_accuracy"] >= accuracy for r in runs[n])

    with Progress("fits", shown=progress) as shown:
        _search(fits, lambda k: min(high, round(n_min * 2 ** (k / steps))), low, high, steps)
    return ShatterPoint.of((r for group in runs.values() for r in group), accuracy)


def _search(fits: Callable[[int], bool], size: Callable[[int], int], low: int, high: int, steps: int) -> tuple[int | None, int | None]:
    """Find the largest size that fits and the next one, which does not, by doubling and bisection; None beyond low or high."""
    k = 0
    if fits(size(0)):
        while fits(size(k + steps)):
            k += steps
            if size(k) == high:
                return high, None
        good, bad = k, k + steps
    else:
        while size(k - steps) >= low and not fits(size(k - steps)):
            k -= steps
        least = next(j for j in range(k - steps, k + 1) if size(j) >= low)  # the smallest of the sizes, which no halving may reach
        if least == k or (least > k - steps and not fits(size(least))):
            return None, size(least)
        good, bad = least, k
    while bad - good > 1:
        middle = (good + bad) // 2
        if fits(size(middle)):
            good = middle
        else:
            bad = middle
    return size(good), size(bad)


def make_result(points: Mapping[str, ShatterPoint], name: str = "shatter-point") -> Result:
    """Make a page from shatter points by model."""
    runs = [run for point in points.values() for run in point.runs]
    size = runs[0].result["dataset"] if runs else "missing"
    accuracy = min((point.accuracy for point in points.values()), default=1.0)
    rows = [
        {"model": model, "n": p.n, "failed": p.n_failed, "parameters": p.n_parameters, "ratio": p.parameters_per_example}
        for model, p in points.items()
    ]
    curves = [row | {"model": model} for model, p in points.items() for row in _plain(p.table())]
    note = (
        f"A model fits n if it predicts at least {accuracy:.1%} of n random labels of {size} within its budget. A run has one draw of "
        "labels; shattering would need every labeling. No entry under “fails at” means that every n that was tried was fitted."
    )
    tables = [
        Table(f"Shatter points, {size}", COLUMNS, rows, note),
        Table("Every run", CURVE, [row | {"fitted": "yes" if row["fitted"] else "no"} for row in curves]),
    ]
    caption = f"Share of random labels that are predicted, over their number, {size}. A run above the line fits."
    charts = {name: (_chart(pd.DataFrame(curves), accuracy), caption)} if curves else {}
    return Result(name, TITLE, "capacity", size, runs, tables, charts)


def _plain(table: pd.DataFrame) -> list[dict]:
    return table.astype(object).where(table.notna(), None).to_dict("records")


def _chart(curves: pd.DataFrame, accuracy: float) -> Chart:
    lines = (
        alt.Chart(curves)
        .mark_line(point=True)
        .encode(
            x=alt.X(**log_axis("n", "n", "~s")),
            y=alt.Y(**share_axis("random labels fitted", "train_accuracy")),
            **series("model", names_of(curves["model"]), columns=2),
            tooltip=["model:N", "n:Q", alt.Tooltip("train_accuracy:Q", format=".1%"), alt.Tooltip("test_accuracy:Q", format=".1%")],
        )
    )
    return alt.layer(lines, reference(f"fits: {accuracy:.0%}", y=accuracy)).properties(**SIZE)
