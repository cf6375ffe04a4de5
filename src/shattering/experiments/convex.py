"""Section 1 and 3.1: convex problems need regularization, explicit or by early stopping."""

import altair as alt
import numpy as np
import pandas as pd

from shattering import seeds
from shattering.errors import InputError
from shattering.experiments.experiment import Claim, Column, Result, Runs, Table, contains_zero, judge
from shattering.experiments.scales import Scale
from shattering.parameters import Count, NotNegative
from shattering.report.charts import SIZE, Chart, log_axis, series
from shattering.runs.study import StudySpec
from shattering.stats import mean_interval

TITLE = "Sections 1 and 3.1: a convex problem needs regularization, and early stopping is one"
PLACE = ("ICLR 1 and 3.1", "demo")
RIDGES = tuple(10.0**k for k in range(-4, 3))
WAYS = ("none", "ridge", "early stopping")
NEEDED = 2.0  # regularization is needed if the error without is at least this many times the best with it
AS_GOOD = 1.25  # early stopping does as well if its error is at most this many times that of ridge
COLUMNS = (Column("way", "regularization"), Column("error", "excess test error", "number"), Column("train", "training error", "number"))


def run_study(
    seed: int, *, n: Count = 100, d: Count = 90, noise: NotNegative = 1.0, repeats: Count = 20, steps: Count = 20_000
) -> tuple[dict, pd.DataFrame]:
    """Fit least squares without regularization, with ridge, and by gradient descent that is stopped early.

    The features are Gaussian with variances that decay from 1 to 1/d², the targets linear in them plus noise. The ridge and the step are
    the best on 1,000 other points, so both ways have one choice.

    Args:
        seed: of the problems.
        n: points.
        d: features, fewer than points, so that the solution is unique; InputError for more.
        noise: standard deviation of the targets' noise.
        repeats: problems.
        steps: of gradient descent.

    Returns:
        The numbers and the table. Numbers: for each way, the mean excess test error and training error; and the 95 % intervals of the
        logarithms of the ratios that the claims look at. Table: problem, way, at (the ridge or the step), error, train.

    Example:
        >>> numbers, table = run_study(0, n=30, d=25, repeats=3, steps=300)
        >>> numbers["none"] > numbers["ridge"]
        True
    """
    if not 1 <= d < n:
        raise InputError(f"n is {n} and d is {d}, expected fewer features than points, for the solution to be unique")
    rows = [row for k in range(repeats) for row in _problem(seeds.generator(seed, "problem", k), n, d, noise, steps, k)]
    table = pd.DataFrame(rows)
    errors = _by_way(table)
    numbers: dict = {"data": f"{n} points with {d} features, {repeats} problems", "repeats": repeats}
    for way in WAYS:
        numbers |= {way: float(errors[way].to_numpy().mean()), f"{way}, train": float(table.loc[table["way"] == way, "train"].mean())}
    for name, a, b, bound in (("needed", "none", "ridge", NEEDED), ("as good", "early stopping", "ridge", AS_GOOD)):
        interval = mean_interval(np.log(errors[a] / errors[b] / bound).tolist(), -np.inf, np.inf)
        numbers[f"{name}, interval"] = list(interval) if interval else None
    return numbers, table


def _by_way(table: pd.DataFrame) -> pd.DataFrame:
    return table.pivot_table(index="problem", columns="way", values="error")


def _problem(generator: np.random.Generator, n: int, d: int, noise: float, steps: int, k: int) -> list[dict]:
    scales = np.arange(1, d + 1) ** -1.0
    truth = generator.normal(size=d)
    X, other = (generator.normal(size=(m, d)) * scales for m in (n, 1000))
    y, targets = (points @ truth + noise * generator.normal(size=len(points)) for points in (X, other))

    def row(way: str, weights: np.ndarray, at: float) -> dict:
        error = float(((weights - truth) ** 2 * scales**2).sum())
        return {"problem": k, "way": way, "at": at, "error": error, "train": float(((X @ weights - y) ** 2).mean())}

    def best(candidates: list[tuple[float, np.ndarray]]) -> tuple[float, np.ndarray]:
        return min(candidates, key=lambda candidate: float(((other @ candidate[1] - targets) ** 2).mean()))

    values, vectors = np.linalg.eigh(X.T @ X / n)
    right = vectors.T @ (X.T @ y / n)
    ridged = [(ridge, vectors @ (right / (values + ridge))) for ridge in RIDGES]
    rate = 1 / values[-1]
    stops = sorted({round(steps ** (i / 40)) for i in range(41)})
    descended = [(t, vectors @ (right * (1 - (1 - rate * values) ** t) / values)) for t in stops]  # t steps of descent from zero
    (ridge, with_ridge), (stop, stopped) = best(ridged), best(descended)
    plain = vectors @ (right / values)
    return [row("none", plain, 0.0), row("ridge", with_ridge, ridge), row("early stopping", stopped, stop)]


def specs(scale: Scale) -> list[StudySpec]:
    """List the single study; it is the same at every scale."""
    return [StudySpec("convex")]


def result(scale: Scale, runs: Runs) -> Result:
    """Make the table, the chart and the claims from the stored study."""
    (record,) = runs.records(specs(scale))
    numbers, size = record.result, record.result.get("data", "missing")
    rows = [{"way": way, "error": numbers.get(way), "train": numbers.get(f"{way}, train")} for way in WAYS]
    note = "The excess test error is the expected squared error beyond the noise; means over problems."
    charts = {"convex": (_chart(record.table), f"Excess test errors of least squares, {size}.")} if numbers else {}
    tables = [Table(f"Least squares, {size}", COLUMNS, rows, note)]
    claims = _claims(numbers, _by_way(record.table) if numbers else None)
    return Result("convex", TITLE, scale.name, size, [record], tables, charts, claims)


def _ratio(errors: pd.DataFrame | None, one: str, other: str) -> float | None:
    """Return the geometric mean over problems of the ratio of two ways' errors; None without errors."""
    return None if errors is None else float(np.exp(np.log(errors[one] / errors[other]).mean()))


def _claims(numbers: dict, errors: pd.DataFrame | None) -> list[Claim]:
    def doubt(name: str) -> str | None:
        interval = numbers.get(f"{name}, interval")
        return contains_zero((interval[0], interval[1]), "{:.2f}") if interval else None

    needed, as_good, better = (
        _ratio(errors, *ways) for ways in (("none", "ridge"), ("early stopping", "ridge"), ("early stopping", "none"))
    )
    return [
        judge(
            "convex problems need regularization",
            "In classical convex empirical risk minimization, explicit regularization is necessary to rule out trivial solutions.",
            f"without regularization the excess test error is at least {NEEDED:g} times that with the best ridge, "
            "by the geometric mean over problems",
            {"none / ridge": needed},
            lambda v: v["none / ridge"] >= NEEDED,
            "{:.3g}",
            doubts=[doubt("needed")],
        ),
        judge(
            "early stopping regularizes convex problems",
            "Early stopping was shown to implicitly regularize on some convex learning problems.",
            f"descent stopped at its best step has at most {AS_GOOD:g} times the excess test error of the best ridge, "
            "and less than without regularization, by the geometric mean over problems",
            {"early stopping / ridge": as_good, "early stopping / none": better},
            lambda v: v["early stopping / ridge"] <= AS_GOOD and v["early stopping / none"] < 1,
            "{:.3g}",
            doubts=[doubt("as good")],
        ),
    ]


def _chart(table: pd.DataFrame) -> Chart:
    return (
        alt.Chart(table)
        .mark_tick(size=22)
        .encode(
            x=alt.X(**log_axis("excess test error", "error", "~g")),
            y=alt.Y("way:N", title=None, sort=list(WAYS)),
            **series("way", list(WAYS), by=()),
            tooltip=["way:N", "problem:Q", alt.Tooltip("error:Q", format=".3f")],
        )
        .properties(**SIZE)
    )
