"""Section 1: bounds of SGD's stability by the number of its steps (Hardt, Recht and Singer, ICML 2016), as numbers beside what is measured.

A linear model with softmax is trained with one example per step, on inputs of norm at most 1 and at a constant rate, twice: on S, and on S'
that differs in one example. Its two losses have constants that can be stated, so that no part of the bounds is an estimate:

- cross-entropy: convex, Lipschitz with L = √2 and smooth with β = 1/2. Theorem 3.8: the stability after T steps at the rate α ≤ 2/β is
  at most 2 L² α T / n.
- half the squared distance of the probabilities from the label, in 0…1: not convex, L = 1/√2, β = 1/4 + 3/√2. Theorem 3.12, for rates
  of at most c/t: (1 + 1/(βc)) / (n - 1) · (2 c L²)^(1/(βc + 1)) · T^(βc/(βc + 1)). A constant rate α takes c = α T.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import altair as alt
import numpy as np
import pandas as pd
import torch
from scipy.optimize import root_scalar
from torch.nn.functional import one_hot

from shattering import seeds
from shattering.data.load import load_dataset
from shattering.data.preprocess import to_float
from shattering.experiments.experiment import Claim, Column, Result, Runs, Table, judge
from shattering.experiments.scales import Scale
from shattering.parameters import Count, Range, check, check_arguments
from shattering.report.charts import SIZE, Chart, log_axis, series
from shattering.runs.study import StudySpec

TITLE = "Section 1: bounds over the steps of SGD, and what is measured"
PLACE = ("ICLR 1", "demo")
FEW = 5.0  # "a very few" passes
SHOWN = (1, 2, 5, 10, 20, 50)  # passes in the table
COLUMNS = (
    Column("loss", "loss"),
    Column("passes", "passes", "number"),
    Column("measured", "stability, measured at least", "number"),
    Column("bound", "stability, bound", "number"),
)


@dataclass(frozen=True)
class Loss(ABC):
    """A loss of a linear model with softmax, on inputs of norm at most 1.

    Args:
        name: as it is shown.
        lipschitz: largest norm of its gradient in the weights.
        smooth: largest eigenvalue of its Hessian.
        trivial: value that the stability of any algorithm has at most, or the loss of guessing where it has no largest value.
    """

    name: str
    lipschitz: float
    smooth: float
    trivial: float

    @abstractmethod
    def bound(self, steps: float, rate: float, n: int) -> float:
        """Return the theorem's bound of the stability after so many steps at a constant rate, on n examples."""

    @abstractmethod
    def values(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the losses (…, m) of logits (…, m, k) for labels (m,)."""

    @abstractmethod
    def slopes(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the derivatives (b, k) of the losses in logits (b, k) for labels (b,)."""

    def passes(self, rate: float, n: int) -> float:
        """Return after how many passes, at most a million, the bound reaches the trivial value."""
        return root_scalar(lambda passes: self.bound(passes * n, rate, n) - self.trivial, bracket=(1e-9, 1e6)).root


class CrossEntropy(Loss):
    """The cross-entropy, which is convex in the weights: theorem 3.8."""

    def bound(self, steps: float, rate: float, n: int) -> float:
        return 2 * self.lipschitz**2 * rate * steps / n

    def values(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return -logits.log_softmax(-1).gather(-1, labels.expand(logits.shape[:-1])[..., None])[..., 0]

    def slopes(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return logits.softmax(-1) - one_hot(labels, logits.shape[-1])


class SquaredDistance(Loss):
    """Half the squared distance of the probabilities from the label, which is not convex in the weights: theorem 3.12."""

    def bound(self, steps: float, rate: float, n: int) -> float:
        c = rate * steps
        power = self.smooth * c / (self.smooth * c + 1)
        return (1 + 1 / (self.smooth * c)) / (n - 1) * (2 * c * self.lipschitz**2) ** (1 - power) * steps**power

    def values(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return (logits.softmax(-1) - one_hot(labels, logits.shape[-1])).square().sum(-1) / 2

    def slopes(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        p = logits.softmax(-1)
        away = p - one_hot(labels, logits.shape[-1])
        return p * (away - (p * away).sum(-1, keepdim=True))


CONVEX = CrossEntropy("convex", 2**0.5, 0.5, float(np.log(10)))
OTHER = SquaredDistance("not convex", 0.5**0.5, 0.25 + 3 * 0.5**0.5, 1.0)
LOSSES = (CONVEX, OTHER)
Size = Annotated[int, Range(2)]  # of a training set, of which theorem 3.12 has n - 1
Rate = Annotated[float, Range(0, 2 / CONVEX.smooth, above=True)]  # up to which theorem 3.8 holds


def run_study(
    seed: int, *, n: Size = 200, n_test: Count = 300, passes: Count = 50, rate: Rate = 0.2, replaced: Count = 20, orders: Count = 10
) -> tuple[dict, pd.DataFrame]:
    """Train linear models on digits by SGD, with and without one example replaced, and compare their losses after every pass.

    The stability is the supremum over S, S' and z of the mean difference of the losses at z, over orders of the examples. What is measured
    is its largest value over some S' and test images, for one S, so it is a lower bound.

    Args:
        seed: of the subset and the orders.
        n: training images.
        n_test: test images, at which the losses are compared.
        passes: over the training images, in a new order each.
        rate: learning rate, at most 2/β of the convex loss.
        replaced: how many examples are replaced, one at a time; at most n.
        orders: sequences of orders, over which differences are averaged.

    Returns:
        The numbers and the table. Numbers: the parameters. Table: loss, passes, measured and bound.

    Raises:
        InputError: for numbers out of range, for which the theorems say nothing.

    Example:
        >>> numbers, table = run_study(0, n=20, n_test=20, passes=2, replaced=2, orders=2)
        >>> bool((table["measured"] <= table["bound"]).all())
        True
    """
    check_arguments(run_study, locals(), "n", "rate")
    check("replaced", replaced, Annotated[int, Range(1, n)])
    data = load_dataset("digits", n, n_test, seed, n_validation=replaced)
    assert data.validation is not None
    (x, y), (fresh, others), (test, targets) = ((_unit(s.inputs), s.labels) for s in (data.train, data.validation, data.test))
    sets = torch.arange(n).repeat(replaced + 1, 1)  # positions among the training and the fresh images, of S and of every S'
    sets[torch.arange(1, replaced + 1), torch.arange(replaced)] = torch.arange(n, n + replaced)
    every, labels, rows = torch.cat([x, fresh]), torch.cat([y, others]), []
    for loss in LOSSES:
        weights = torch.zeros(replaced + 1, orders, x.shape[1], 10, dtype=torch.float64)
        for done in range(1, passes + 1):
            generator = seeds.generator(seed, "orders", done)
            for at in torch.from_numpy(np.stack([generator.permutation(n) for _ in range(orders)])).T:
                chosen = sets[:, at]  # (S and every S', orders)
                inputs = every[chosen]
                slopes = loss.slopes((inputs[..., None, :] @ weights)[..., 0, :].flatten(0, 1), labels[chosen].flatten())
                weights -= rate * inputs[..., None] * slopes.view(*chosen.shape, 1, 10)
            losses = loss.values(test @ weights, targets)
            apart = (losses[1:] - losses[:1]).mean(1).abs().max()
            rows.append({"loss": loss.name, "passes": done, "measured": float(apart), "bound": loss.bound(done * n, rate, n)})
    size = f"{data.variant}, n = {n:,}"
    return {"data": size, "n": n, "rate": rate, "passes": passes, "replaced": replaced, "orders": orders}, pd.DataFrame(rows)


def _unit(images: torch.Tensor) -> torch.Tensor:
    """Return flat images (n, d) in float64, of norm 1."""
    flat = to_float(images).flatten(1).double()
    return flat / flat.norm(dim=1, keepdim=True)


def specs(scale: Scale) -> list[StudySpec]:
    """List the single study; it is the same at every scale."""
    return [StudySpec("steps-bound")]


def result(scale: Scale, runs: Runs) -> Result:
    """Make the table, the chart and the claims from the stored study."""
    (record,) = runs.records(specs(scale))
    numbers, size = record.result, record.result.get("data", "missing")
    rows = record.table.to_dict("records") if numbers else []
    note = (
        "A linear model with softmax, SGD with one example per step; cross-entropy, which is convex, and half the squared distance of the "
        "probabilities from the label, which is not. Measured: the largest difference of the losses over replaced examples "
        "and test images, mean over orders, a lower bound. Bound: theorems 3.8 and 3.12 of Hardt, Recht and Singer (2016)."
    )
    charts = {"steps-bound": (_chart(rows), f"Stability of SGD by passes, measured and bound, {size}.")} if rows else {}
    tables = [Table(f"Stability by passes, {size}", COLUMNS, [row for row in rows if row["passes"] in SHOWN], note)]
    return Result("steps-bound", TITLE, scale.name, size, [record], tables, charts, _claims(rows, numbers))


def _claims(rows: Sequence[dict], numbers: dict) -> list[Claim]:
    values: dict[str, float | None] = {}
    for loss in LOSSES:
        own = [row["measured"] / row["bound"] for row in rows if row["loss"] == loss.name]
        values[f"{loss.name}, largest share of the bound"] = max(own) if own else None
    few = OTHER.passes(numbers["rate"], numbers["n"]) if numbers else None
    there = [row["measured"] for row in rows if row["loss"] == OTHER.name and few is not None and row["passes"] < few + 1][-1:]
    return [
        judge(
            "steps bound the stability of SGD",
            "Hardt et al. (2016) give an upper bound on the generalization error of a model trained with SGD in terms of its steps, "
            "through the notion of uniform stability.",
            "for either loss, the stability that is measured is at most the theorem's bound after every pass",
            values,
            lambda v: max(v.values()) <= 1,
            "{:.4f}",
        ),
        judge(
            "allowing only a very few passes",
            "The analysis of Hardt et al. (2016) for non-convex optimization was rather pessimistic, allowing only a very few passes.",
            f"the bound for the loss that is not convex is trivial, 1, within {FEW:g} passes, and what is measured then is below a tenth",
            {"passes until the bound is 1": few, "measured then": there[0] if there else None},
            lambda v: v["passes until the bound is 1"] <= FEW and v["measured then"] < 0.1,
            "{:.3f}",
        ),
    ]


def _chart(rows: Sequence[dict]) -> Chart:
    of = ("measured", "bound")
    shown = [
        {"passes": row["passes"], "series": f"{row['loss']}, {name}", "value": row[name]}
        for row in rows
        for name in of
        if row["passes"] in SHOWN
    ]
    order = [f"{loss.name}, {name}" for loss in LOSSES for name in of]
    return (
        alt.Chart(pd.DataFrame(shown))
        .mark_line(point=True)
        .encode(
            x=alt.X(**log_axis("passes over the data", "passes", "~s")),
            y=alt.Y(**log_axis("difference of the losses", "value", "~g")),
            **series("series", order),
        )
        .properties(**SIZE)
    )
