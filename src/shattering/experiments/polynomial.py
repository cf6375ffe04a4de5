"""The 2018 blog post: a polynomial of the right degree cannot fit random targets."""

from statistics import fmean, median

import altair as alt
import numpy as np
import pandas as pd
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import PolynomialFeatures

from shattering import seeds
from shattering.experiments.experiment import Column, Result, Runs, Table, judge
from shattering.experiments.scales import Scale
from shattering.report.charts import ORIGINAL, RANDOM, Chart, color
from shattering.runs.study import StudySpec

TITLE = "The blog post's polynomial: what generalizes cannot fit noise"
SEEDS = 20
COLUMNS = (
    Column("degree", "degree"),
    Column("chosen", "chosen, times", "number"),
    Column("true", "training error, true targets", "number"),
    Column("random", "training error, random targets", "number"),
    Column("holdout", "hold-out error", "number"),
)


def _polynomial(degree: int) -> Pipeline:
    return make_pipeline(PolynomialFeatures(degree), LinearRegression(tol=0))  # whose default cuts small singular values off


def run_study(seed: int, *, n: int = 10, noise: float = 0.3, degrees: int = 9, n_holdout: int = 100) -> tuple[dict, pd.DataFrame]:
    """Bishop's polynomial (Pattern Recognition and Machine Learning, 1.1): n noisy points of a sine, degree by hold-out.

    Then polynomials of each degree on the same points with random targets: a permutation of their own. Table: kind
    ("fit", with degree, targets ("true" or "random"), train and holdout root mean squared errors; "point" and "curve",
    with targets, x and y: the curve is that of the chosen degree). Numbers: degree (chosen: least error on the
    hold-out of true targets), and its errors train_true, train_random, and holdout_true, with spread (of the targets).
    """
    generator = seeds.generator(seed, "polynomial")
    x = np.linspace(0, 1, n)[:, None]
    x_holdout = (np.arange(n_holdout)[:, None] + 0.5) / n_holdout
    y, y_holdout = (np.sin(2 * np.pi * t[:, 0]) + noise * generator.normal(size=len(t)) for t in (x, x_holdout))
    targets = {"true": y, "random": generator.permutation(y)}
    fits = {(degree, name): _polynomial(degree).fit(x, values) for degree in range(degrees + 1) for name, values in targets.items()}

    def error(degree: int, name: str, points: np.ndarray, values: np.ndarray) -> float:
        return float(np.sqrt(np.mean((fits[degree, name].predict(points) - values) ** 2)))

    rows: list[dict] = [
        {
            "kind": "fit",
            "degree": degree,
            "targets": name,
            "train": error(degree, name, x, targets[name]),
            "holdout": error(degree, name, x_holdout, y_holdout),
        }
        for degree, name in fits
    ]
    degree = min(range(degrees + 1), key=lambda m: error(m, "true", x_holdout, y_holdout))
    grid = np.linspace(0, 1, 101)[:, None]
    for name, values in targets.items():
        rows += [{"kind": "point", "targets": name, "x": float(a), "y": float(b)} for a, b in zip(x[:, 0], values, strict=True)]
        curve = fits[degree, name].predict(grid)
        rows += [{"kind": "curve", "targets": name, "x": float(a), "y": float(b)} for a, b in zip(grid[:, 0], curve, strict=True)]
    numbers = {"train_true": error(degree, "true", x, y), "train_random": error(degree, "random", x, targets["random"])}
    numbers |= {"holdout_true": error(degree, "true", x_holdout, y_holdout), "spread": float(y.std())}
    return {"data": f"{n} points of a sine with noise {noise:g}", "degree": degree, **numbers}, pd.DataFrame(rows)


def specs(scale: Scale) -> list[StudySpec]:
    """Twenty draws of noise, at every scale."""
    return [StudySpec("polynomial", seed=seed) for seed in range(SEEDS)]


def result(scale: Scale, runs: Runs) -> Result:
    """The figure, from the stored studies."""
    records = runs.records(specs(scale))
    done = [record for record in records if record.result]
    size = done[0].result["data"] if done else "missing"
    fits = pd.concat([r.table[r.table["kind"] == "fit"] for r in done]) if done else pd.DataFrame({"degree": []})
    rows = [
        {
            "degree": f"{degree:.0f}",
            "chosen": sum(r.result["degree"] == degree for r in done),
            **{name: float(part.loc[part["targets"] == name, "train"].median()) for name in ("true", "random")},
            "holdout": float(part.loc[part["targets"] == "true", "holdout"].median()),
        }
        for degree, part in fits.groupby("degree")
    ]
    whole = len(done) == len(records)

    def mean(name: str) -> float | None:
        return fmean(r.result[name] for r in done) if whole else None

    claim = judge(
        "the model chosen cannot fit random targets",
        "The polynomial whose degree a hold-out chooses fits the sine, and cannot fit the same points with random targets.",
        "on average its training error is below 40 % of the targets' spread on true targets, and above 50 % of it on random ones",
        {name: mean(name) for name in ("train_true", "train_random", "spread")},
        lambda v: v["train_true"] < 0.4 * v["spread"] and v["train_random"] > 0.5 * v["spread"],
        "{:.3f}",
    )
    degrees = f"; degree chosen: median {median(r.result['degree'] for r in done):g} (the post's: 3)" if done else ""
    note = f"Root mean squared errors, medians over {len(done)} draws of the noise{degrees}. The post shows one draw."
    charts = {"polynomial": (_chart(done[0]), f"The polynomial of degree {done[0].result['degree']}, {size}, seed 0.")} if done else {}
    return Result("polynomial", TITLE, scale.name, size, records, [Table(f"Degrees, {size}", COLUMNS, rows, note)], charts, [claim])


def _chart(record) -> Chart:
    table, degree = record.table, record.result["degree"]
    targets = color("targets", ["true", "random"], (ORIGINAL, RANDOM), title="targets")
    x, y = alt.X("x:Q", title="x"), alt.Y("y:Q", title="target")
    points = alt.Chart(table[table["kind"] == "point"]).mark_point(filled=True, size=70).encode(x=x, y=y, color=targets)
    curves = alt.Chart(table[table["kind"] == "curve"]).mark_line(strokeWidth=2).encode(x=x, y=y, color=targets)
    left = alt.layer(points, curves).properties(width=330, height=260, title=f"degree {degree}")
    errors = (
        alt.Chart(table[table["kind"] == "fit"])
        .mark_line(strokeWidth=2, point={"filled": True, "size": 50})
        .encode(x=alt.X("degree:O", title="degree", axis=alt.Axis(labelAngle=0)), y=alt.Y("train:Q", title="training error"), color=targets)
        .properties(width=330, height=260, title="every degree")
    )
    return alt.hconcat(left, errors)  # type: ignore[return-value]
