"""Section 2.2: empirical Rademacher complexity (equation 1), by training for models and in closed form for norm-bounded classes."""

from collections.abc import Mapping, Sequence

import altair as alt
import numpy as np
import pandas as pd
import torch

from shattering.data.load import load_dataset
from shattering.errors import InputError
from shattering.experiments.experiment import Claim, Column, Result, Runs, Table, judge
from shattering.experiments.rademacher_complexity import (
    Rademacher,
    empirical_rademacher,
    kernel_class_bound,
    of_kernel_class,
    of_linear_class,
    random_signs,
    vc_lower_bound,
)
from shattering.experiments.scales import CapacityScale, Scale
from shattering.learners import build_model
from shattering.linalg.gram import Gaussian
from shattering.parameters import Count, Positive, check_arguments
from shattering.report.charts import SIZE, Chart, names_of, series, whiskers
from shattering.report.style import MARK
from shattering.runs.stored import Run
from shattering.runs.study import StudySpec

TITLE = "Section 2.2: empirical Rademacher complexity"
PLACE = ("ICLR 2.2", "small")
ABOUT_1 = 0.99  # a correlation with random signs that is at least this is about 1
LINEAR, KERNEL = "linear", "gaussian kernel"
COLUMNS = (
    Column("model", "model"),
    Column("value", "correlation with random signs", "number"),
    Column("interval", "95 % over draws"),
    Column("fitted", "draws fitted exactly"),
    Column("vc", "VC dimension at least", "number"),
)
CLASSES = (
    Column("kind", "class, with values in -1…1"),
    Column("value", "Rademacher complexity", "number"),
    Column("interval", "95 % over draws"),
    Column("bound", "bound for any such data", "number"),
    Column("needed", "radius needed to fit the signs", "number"),
)
NOTE = (
    "The correlation that training reaches is a lower bound on the complexity of the model's class. The bound on VC dimension (95 % "
    "confidence) follows from the share of labelings that training fits, by Sauer and Shelah; it is about n/2 if all draws are fitted."
)
CLASS_NOTE = (
    "Suprema in closed form. The radius needed is that of the smallest ball with a function that takes the signs of the first draw, in "
    "units of the class's own radius; on that draw a ball of this radius has a correlation of at least 1."
)


def run_study(
    seed: int, *, dataset: str = "digits", n: Count = 200, model: str = "network", params: Mapping | None = None, n_draws: Count = 10
) -> tuple[dict, pd.DataFrame]:
    """Fit a model to random signs on n training images; see `empirical_rademacher`.

    Args:
        seed: of the subset, the signs and the model.
        dataset: a name in `DATASETS`, or a path.
        n: training images.
        model: a name in `MODELS`.
        params: its parameters.
        n_draws: draws of signs.

    Returns:
        The numbers and the table.
        Numbers: n, n_draws, value, low and high (95 %, over draws), n_fitted (draws fitted exactly), and
        vc_lower_bound. Table: draw, correlation.

    Example:
        >>> numbers, table = run_study(0, n=30, model="nearest-neighbors", n_draws=3)
        >>> round(numbers["value"], 2)
        0.31
    """
    data = load_dataset(dataset, n, 1, seed)
    estimate = empirical_rademacher(build_model(model, params or {}, seed), data.train, n_draws, seed)
    numbers = {"n_fitted": estimate.n_fitted, "n_draws": n_draws, "vc_lower_bound": vc_lower_bound(n, estimate.n_fitted, n_draws)}
    table = pd.DataFrame({"draw": range(n_draws), "correlation": estimate.correlations})
    return {"data": f"{data.variant}, n = {n:,}", "n": n, **_interval(estimate), **numbers}, table


def run_classes_study(
    seed: int, *, dataset: str = "digits", n: Count = 200, n_draws: Count = 10, gamma: Positive | None = None
) -> tuple[dict, pd.DataFrame]:
    """Compute the complexity of two norm-bounded classes in closed form, on the images and signs of `run_study`.

    The values of both classes are in -1…1 on these images, as a classifier's are. "linear" has the functions x → <w, x> with
    ‖w‖ <= 1 / max ‖x‖. "gaussian kernel" is the unit ball of the Hilbert space of exp(-gamma ‖x - x'‖²).

    Args:
        seed: of the subset and the signs.
        dataset: a name in `DATASETS`, or a path.
        n: training images.
        n_draws: draws of signs.
        gamma: of the kernel, above 0; None: 1 / (d times the variance of all values).

    Returns:
        The numbers and the table.
        Numbers: n, n_draws. Table: kind; value; low and high (95 %, over draws); bound (Jensen's, for any data
        of these norms); needed, the radius of the smallest ball with a function that takes the first draw's signs exactly, in
        units of the class's radius (missing if there is no such function).

    Raises:
        InputError: for a gamma out of range, and where all inputs are zero.

    Example:
        >>> numbers, table = run_classes_study(0, n=30, n_draws=3)
        >>> table["value"].round(2).tolist()
        [0.11, 0.16]
    """
    check_arguments(run_classes_study, locals(), "gamma")
    data = load_dataset(dataset, n, 1, seed)
    X = data.train.X.astype(np.float64)
    signs, largest = random_signs(n, n_draws, seed), float(np.linalg.norm(X, axis=1).max())
    if not largest:
        raise InputError(f"all inputs of {data.variant} are zero, expected others, by whose norm a class of linear functions is bounded")
    bandwidth = 1 / (X.shape[1] * (X.var() or 1.0)) if gamma is None else gamma
    points = torch.from_numpy(X)
    gaussian = Gaussian(bandwidth)(points, points).fill_diagonal_(1.0).numpy()
    classes = {
        "linear": (of_linear_class(X, 1 / largest, signs), X @ X.T / largest**2),
        "gaussian kernel": (of_kernel_class(gaussian, 1.0, signs), gaussian),
    }
    rows = [
        {"kind": kind, **_interval(complexity), "bound": kernel_class_bound(np.diag(K), 1.0), "needed": _needed(K, signs[0])}
        for kind, (complexity, K) in classes.items()
    ]
    return {"data": f"{data.variant}, n = {n:,}", "n": n, "n_draws": n_draws}, pd.DataFrame(rows)


def _needed(K: np.ndarray, signs: np.ndarray) -> float | None:
    """Return the norm of the smallest function of a kernel's Hilbert space that takes the signs; None if there is none."""
    values, vectors = np.linalg.eigh(K)
    kept = values > values[-1] * len(K) * np.finfo(float).eps
    parts = vectors.T @ signs
    if np.linalg.norm(parts[~kept]) > 1e-6 * np.linalg.norm(signs):
        return None
    return float(np.sqrt(np.sum(parts[kept] ** 2 / values[kept])))


def _interval(estimate: Rademacher) -> dict:
    low, high = estimate.interval or (None, None)
    return {"value": estimate.value, "low": low, "high": high}


def models(k: CapacityScale) -> dict[str, tuple[str, dict]]:
    """Map the title of each model to (model, parameters)."""
    return {
        "MLP 1x512": ("network", {"network": "mlp-1x512", "epochs": k.epochs, "stop_when_fitted": True}),
        "random forest": ("random-forest", {}),
        "nearest neighbour": ("nearest-neighbors", {"n_neighbors": 1}),
        "kernel interpolation": ("kernel", {}),
        "logistic regression": ("logistic-regression", {"max_iter": 1000}),
    }


def specs(scale: Scale) -> list[StudySpec]:
    """List the studies: the closed forms, and one per model."""
    k = scale.capacity
    common = {"dataset": k.dataset, "n": k.n_rademacher, "n_draws": k.n_draws}
    trained = [StudySpec("rademacher", {**common, "model": name, "params": params}) for name, params in models(k).values()]
    return [StudySpec("rademacher-classes", common), *trained]


def result(scale: Scale, runs: Runs) -> Result:
    """Make the tables, the chart and the claims from stored studies."""
    closed, *trained = runs.records(specs(scale))
    titles = list(models(scale.capacity))
    return make_result("rademacher", scale.name, dict(zip(titles, trained, strict=True)), closed)


def make_result(name: str, scale: str, trained: dict[str, Run[StudySpec]], closed: Run[StudySpec]) -> Result:
    """Make a page from the studies of models by title and from that of the closed forms on the same examples."""
    size = next((r.result["data"] for r in (closed, *trained.values()) if r.result), "missing")
    rows = [_row(title, record) for title, record in trained.items()]
    classes = closed.table.astype(object).where(closed.table.notna(), None).to_dict("records") if closed.result else []
    tables = [
        Table(f"Models, by training, {size}", COLUMNS, rows, NOTE),
        Table(f"Norm-bounded classes on the same examples, {size}", CLASSES, [{**c, "interval": interval(c)} for c in classes], CLASS_NOTE),
    ]
    bars = [{"model": row["model"], "kind": "by training", **record.result} for row, record in zip(rows, trained.values(), strict=True)]
    bars = [bar for bar in bars if "value" in bar] + [c | {"model": c["kind"], "kind": "closed form, bounded norm"} for c in classes]
    caption = f"Correlation with random signs, {size}; intervals over draws. A class that fits every labeling has 1."
    charts = {name: (_chart(pd.DataFrame(bars)), caption)} if bars else {}
    return Result(name, TITLE, scale, size, [closed, *trained.values()], tables, charts, _claims(trained, classes))


def _row(title: str, record: Run[StudySpec]) -> dict:
    r = record.result
    return {
        "model": title,
        "value": r.get("value"),
        "interval": interval(r),
        "fitted": f"{r['n_fitted']} of {r['n_draws']}" if r else None,
        "vc": r.get("vc_lower_bound"),
    }


def interval(numbers: dict, low: str = "low", high: str = "high", form: str = "{:.3f}") -> str | None:
    """Format the interval between two of the numbers; None if they are missing."""
    return f"{form.format(numbers[low])}…{form.format(numbers[high])}" if numbers.get(low) is not None else None


def _claims(trained: dict[str, Run[StudySpec]], classes: Sequence[dict]) -> list[Claim]:
    """Judge the networks among the models, if there are any, and the closed forms."""
    bounded = {f"{c['kind']}, norm-bounded": c["value"] for c in classes} or {"closed forms": None}
    networks = {
        title: record.result.get("value") for title, record in trained.items() if record.spec.params.get("model", "network") == "network"
    }
    about_networks = judge(
        "networks have a Rademacher complexity of about 1",
        "Networks fit random labels, so their empirical Rademacher complexity is about 1, a trivial bound.",
        f"the correlation found by training is at least {ABOUT_1:g}; as it is a lower bound, a smaller one leaves this open",
        networks,
        lambda v: min(v.values()) >= ABOUT_1,
        "{:.3f}",
        doubts=[_below(title, x) for title, x in networks.items()],
    )
    return [
        *([about_networks] if networks else []),
        judge(
            "a bound on the norm makes it small",
            "By adding an explicit regularizer, say by penalizing the norm of the optimal solution, the effective Rademacher complexity of "
            "the possible solutions is dramatically reduced (section 3).",
            "of linear functions and of a Gaussian kernel's, bounded by the norm to values in -1…1, the closed form is at most 0.25",
            bounded,
            lambda v: max(v.values()) <= 0.25,
            "{:.3f}",
        ),
    ]


def _below(title: str, correlation: float | None) -> str | None:
    """Report a correlation that shows nothing, for training finds a lower bound; None for one that does, and for none."""
    if correlation is None or correlation >= ABOUT_1:
        return None
    return f"{title}: training found {correlation:.3f}, and other weights may have more"


def _chart(bars: pd.DataFrame) -> Chart:
    order = list(bars["model"])
    base = alt.Chart(bars).encode(y=alt.Y("model:N", sort=order, title=None, axis=alt.Axis(labelLimit=0)))
    x = alt.X("value:Q", title="correlation with random signs", scale=alt.Scale(domain=[0, 1]))
    tooltip = ["model:N", alt.Tooltip("value:Q", format=".3f")]
    marks = base.mark_bar(height={"band": 0.6}, filled=False).encode(
        x=x, **series("kind", names_of(bars["kind"]), ["fill"]), tooltip=tooltip
    )
    ranges = whiskers(base, "low", "high", "x", MARK)
    return alt.layer(marks, ranges).properties(**SIZE)
