"""Section 5: the Hessian is the same at every solution, and degenerate."""

from collections.abc import Callable
from typing import Literal

import altair as alt
import numpy as np
import pandas as pd
import torch

from shattering import seeds
from shattering.experiments.experiment import Column, Result, Runs, Table, judge
from shattering.experiments.linear_problem import linear_problem
from shattering.experiments.scales import Scale
from shattering.parameters import Count
from shattering.report.charts import SIZE, Chart, names_of, series
from shattering.runs.study import StudySpec

TITLE = "Section 5: curvature cannot tell solutions apart"
PLACE = ("ICLR 5", "demo")
SAME, OTHER = 1e-12, 1e-3  # differences of entries of Hessians: up to the one they are the same, from the other on they are not
LossName = Literal["squared", "log-cosh"]
LOSSES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {"squared": torch.square, "log-cosh": lambda error: error.cosh().log()}
SOLUTIONS = ("minimum norm", "from far away", "wrong elsewhere")
COLUMNS = (
    Column("solution", "solution"),
    Column("loss", "training loss", "number"),
    Column("error", "error on new points, relative", "number"),
    Column("norm", "norm", "number"),
    Column("rank", "rank of the Hessian", "number"),
)


def run_study(seed: int, *, n: Count = 40, d: Count = 120, loss: LossName = "squared") -> tuple[dict, pd.DataFrame]:
    """Compute the Hessian of the mean loss at three interpolating solutions, by automatic differentiation, and at weights of zero.

    The Hessian of the squared error is the same for all weights, whether they interpolate or not; that of log cosh is so only at solutions,
    where all its second derivatives are 1. The solutions are the one of least norm, the one that gradient descent finds from far away,
    and one that also interpolates wrong targets at d - n other points.

    Args:
        seed: of the points, the plane and the start.
        n: points.
        d: features, more than points.
        loss: of an error e: "squared", e²; or "log-cosh", log cosh e.

    Returns:
        The numbers and the table.
        Numbers per solution: error (on new points, with targets from the same plane), norm, loss, and rank
        of the Hessian; also d, and the largest difference between entries of any two of the Hessians ("difference"), and of the first of
        them and that at zero ("elsewhere"). Table: solution, index (of the eigenvalues in descending order, from 0), eigenvalue.

    Example:
        >>> numbers, table = run_study(0, n=4, d=12)
        >>> numbers["minimum norm, rank"], numbers["from far away, rank"]  # of the Hessian: n, not d
        (4, 4)
    """
    X, _ = linear_problem(seed, n, d)
    generator = seeds.generator(seed, "plane")
    plane = generator.normal(size=d)
    y = X @ plane
    new = generator.normal(size=(1000, d)) / np.sqrt(d)
    rest = generator.normal(size=(d - n, d)) / np.sqrt(d)
    far = 10 * generator.normal(size=d)
    pseudo = np.linalg.pinv(X)
    both = np.vstack([X, rest])
    solutions = {
        "minimum norm": pseudo @ y,
        "from far away": far + pseudo @ (y - X @ far),
        "wrong elsewhere": np.linalg.solve(both, np.concatenate([y, -rest @ plane])),
    }
    points, targets = torch.from_numpy(X), torch.from_numpy(y)

    def mean_loss(weights: torch.Tensor) -> torch.Tensor:
        return LOSSES[loss](points @ weights - targets).mean()

    def hessian(weights: np.ndarray) -> np.ndarray:
        return np.asarray(torch.autograd.functional.hessian(mean_loss, torch.from_numpy(weights)))

    numbers: dict = {"data": f"{n} Gaussian points in {d} dimensions", "d": d}
    rows, hessians = [], []
    for name, w in solutions.items():
        hessians.append(hessian(w))
        values = np.linalg.eigvalsh(hessians[-1])[::-1]
        rows += [{"solution": name, "index": i, "eigenvalue": float(v)} for i, v in enumerate(values)]
        numbers |= {f"{name}, error": float(((new @ (w - plane)) ** 2).mean() / ((new @ plane) ** 2).mean())}
        numbers |= {f"{name}, norm": float(np.linalg.norm(w)), f"{name}, loss": float(mean_loss(torch.from_numpy(w)))}
        numbers[f"{name}, rank"] = int((values > 1e-10 * values[0]).sum())
    numbers["difference"] = max(float(abs(a - b).max()) for a in hessians for b in hessians)
    numbers["elsewhere"] = float(abs(hessians[0] - hessian(np.zeros(d))).max())
    return numbers, pd.DataFrame(rows)


def specs(scale: Scale) -> list[StudySpec]:
    """List the single study; it is small at every scale."""
    return [StudySpec("hessian", {"loss": "log-cosh"})]


def result(scale: Scale, runs: Runs) -> Result:
    """Make the figure, its table and its claims from the stored study."""
    (record,) = runs.records(specs(scale))
    numbers, size = record.result, record.result.get("data", "missing")
    rows = [{"solution": name, **{key: numbers.get(f"{name}, {key}") for key in ("loss", "error", "norm", "rank")}} for name in SOLUTIONS]
    ranks = {row["solution"]: row["rank"] for row in rows}
    errors = {row["solution"]: row["error"] for row in rows}
    note = "The loss of an error e is log cosh e, whose Hessian is not the same for all weights, as that of the squared error is. "
    note += f"The Hessian has {numbers.get('d', 'd')} rows; all other solutions differ from a solution by a vector of its null space."
    claims = [
        judge(
            "the Hessian is the same at every solution",
            "The curvature of the empirical risk is the same at all global minima.",
            f"no entry of the Hessian differs by more than {SAME:g} between three solutions whose errors differ by more than a factor of "
            f"10; at weights that are no solution, some differ by at least {OTHER:g}",
            {"largest difference": numbers.get("difference"), "at weights of zero": numbers.get("elsewhere"), **errors},
            lambda v: (
                v["largest difference"] <= SAME
                and v["at weights of zero"] >= OTHER
                and max(v[s] for s in SOLUTIONS) > 10 * min(v[s] for s in SOLUTIONS)
            ),
            "{:.3g}",
        ),
        judge(
            "the Hessian is degenerate",
            "At all of them it is degenerate, having a null space.",
            "its rank is less than the number of weights, at each of them",
            {"weights": numbers.get("d"), **ranks},
            lambda v: all(v[s] < v["weights"] for s in SOLUTIONS),
            "{:.0f}",
        ),
    ]
    caption = f"Eigenvalues of the Hessian of the mean loss at three solutions, {size}. The points of the three coincide."
    charts = {"hessian": (_chart(record.table), caption)} if numbers else {}
    return Result("hessian", TITLE, scale.name, size, [record], [Table(f"Three solutions, {size}", COLUMNS, rows, note)], charts, claims)


def _chart(table: pd.DataFrame) -> Chart:
    return (
        alt.Chart(table.assign(eigenvalue=table["eigenvalue"].clip(lower=0)))
        .mark_point(filled=False)
        .encode(
            x=alt.X("index:Q", title="number of the eigenvalue"),
            y=alt.Y("eigenvalue:Q", title="eigenvalue"),
            **series("solution", names_of(table["solution"])),
            tooltip=["solution:N", "index:Q", alt.Tooltip("eigenvalue:Q", format=".4g")],
        )
        .properties(**SIZE)
    )
