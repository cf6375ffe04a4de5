"""Section 2.2 (CACM 2021): the Rademacher complexity of the loss class, and the contraction lemma."""

from typing import Annotated

import altair as alt
import numpy as np
import pandas as pd

from shattering import seeds
from shattering.experiments.experiment import Claim, Column, Result, Runs, Table, judge
from shattering.experiments.scales import Scale
from shattering.parameters import Count, Range, check_arguments
from shattering.report.charts import SIZE, Chart, series
from shattering.runs.study import StudySpec

TITLE = "Section 2.2: the Rademacher complexity of the loss class"
PLACE = ("CACM 2.2", "demo")
LOSSES = {  # name → the loss as a function of the margins y h(x), and its Lipschitz constant
    "logistic": (lambda m: np.logaddexp(0, -m), 1.0),
    "hinge": (lambda m: np.maximum(0, 1 - m), 1.0),
    "ramp, half as wide": (lambda m: np.clip(1 - 2 * m, 0, 1), 2.0),
    "absolute": (lambda m: np.abs(1 - m), 1.0),
}
HALF = 0.02  # the complexity of the 0-1 losses is half of that of the class up to this
COLUMNS = (
    Column("loss", "loss"),
    Column("lipschitz", "Lipschitz constant L", "number"),
    Column("complexity", "complexity of the losses", "number"),
    Column("bound", "L times that of the class", "number"),
    Column("error", "standard error of the difference", "number"),
)


Draws = Annotated[int, Range(2)]


def run_study(seed: int, *, n: Count = 100, d: Count = 20, functions: Count = 3000, draws: Draws = 400) -> tuple[dict, pd.DataFrame]:
    """Compare the empirical Rademacher complexity of a class with that of its losses.

    The class is a sample of linear functions of unit norm on Gaussian points, so that each supremum is a maximum that is computed
    exactly; the labels are random signs. For the 0-1 loss the class is that of the functions' signs.

    Args:
        seed: of points, labels, functions and signs.
        n: points.
        d: features.
        functions: in the class.
        draws: of signs, the same for all losses; at least 2, for a standard error.

    Returns:
        The numbers and the table. Numbers: complexity of the class, of its signs and of the 0-1 losses; for each loss its complexity,
        the bound of the contraction lemma, and the standard error of their difference over draws. Table: loss, draw, value (the
        maximal correlation).

    Example:
        >>> numbers, table = run_study(0, n=20, d=3, functions=50, draws=30)
        >>> numbers["hinge"] <= numbers["hinge, bound"]
        True
    """
    check_arguments(run_study, locals(), "draws")
    generator = seeds.generator(seed, "loss-class")
    points, labels = generator.normal(size=(n, d)), generator.choice([-1.0, 1.0], n)
    weights = generator.normal(size=(d, functions))
    values = points @ (weights / np.linalg.norm(weights, axis=0))
    signs = generator.choice([-1.0, 1.0], (draws, n))

    def suprema(outputs: np.ndarray) -> np.ndarray:
        return (signs @ outputs / n).max(1)

    of_class = suprema(values)
    of_signs, of_errors = suprema(np.sign(values)), suprema((np.sign(values) != labels[:, None]).astype(float))
    numbers: dict = {"data": f"{n} points, {functions:,} functions", "class": float(of_class.mean())}
    numbers |= {"signs": float(of_signs.mean()), "0-1": float(of_errors.mean())}
    rows = [{"loss": "the class itself", "draw": k, "value": value} for k, value in enumerate(of_class)]
    for name, (loss, constant) in LOSSES.items():
        found = suprema(loss(labels[:, None] * values))
        difference = found - constant * of_class
        numbers |= {name: float(found.mean()), f"{name}, bound": constant * float(of_class.mean())}
        numbers[f"{name}, error"] = float(difference.std(ddof=1) / draws**0.5)
        rows += [{"loss": name, "draw": k, "value": value} for k, value in enumerate(found)]
    return numbers, pd.DataFrame(rows)


def specs(scale: Scale) -> list[StudySpec]:
    """List the single study; it is the same at every scale."""
    return [StudySpec("loss-class")]


def result(scale: Scale, runs: Runs) -> Result:
    """Make the table, the chart and the claims from the stored study."""
    (record,) = runs.records(specs(scale))
    numbers, size = record.result, record.result.get("data", "missing")
    rows = [
        {
            "loss": name,
            "lipschitz": constant,
            "complexity": numbers.get(name),
            "bound": numbers.get(f"{name}, bound"),
            "error": numbers.get(f"{name}, error"),
        }
        for name, (_, constant) in LOSSES.items()
    ]
    note = "The suprema are over a finite class and so exact; expectations are means over the same draws of signs."
    charts = {"loss-class": (_chart(record.table), f"Maximal correlation with random signs over draws, {size}.")} if numbers else {}
    tables = [Table(f"Contraction, {size}", COLUMNS, rows, note)]
    return Result("loss-class", TITLE, scale.name, size, [record], tables, charts, _claims(numbers))


def _claims(numbers: dict) -> list[Claim]:
    values = {f"{name}{key}": numbers.get(f"{name}{key}") for name in LOSSES for key in ("", ", bound")}
    unclear = [
        f"{name}: the difference is within two standard errors"
        for name in LOSSES
        if numbers and abs(numbers[name] - numbers[f"{name}, bound"]) < 2 * numbers[f"{name}, error"]
    ]
    return [
        judge(
            "contraction bounds the loss class",
            "For an L-Lipschitz loss, the Rademacher complexity of the loss class is at most L times that of the class.",
            "for every loss, its complexity is at most L times that of the class",
            values,
            lambda v: all(v[name] <= v[f"{name}, bound"] for name in LOSSES),
            "{:.3f}",
            doubts=unclear,
        ),
        judge(
            "the 0-1 losses have half the complexity",
            "(Ours: so the complexity of the indicator losses of a class that fits random signs is about 1/2, its maximum.)",
            f"the complexity of the 0-1 losses is half of that of the functions' signs, within {HALF:g}",
            {"0-1 losses": numbers.get("0-1"), "signs": numbers.get("signs")},
            lambda v: abs(v["0-1 losses"] - v["signs"] / 2) <= HALF,
            "{:.3f}",
        ),
    ]


def _chart(table: pd.DataFrame) -> Chart:
    names = ["the class itself", *LOSSES]
    return (
        alt.Chart(table)
        .mark_boxplot(size=22)
        .encode(
            x=alt.X("value:Q", title="maximal correlation with random signs"),
            y=alt.Y("loss:N", title=None, sort=names),
            **series("loss", names, by=(), columns=2),
        )
        .properties(**SIZE)
    )
