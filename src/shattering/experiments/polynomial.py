"""The 2018 blog post: a polynomial whose degree is chosen on a hold-out cannot fit random targets."""

from collections.abc import Mapping
from statistics import fmean

import altair as alt
import numpy as np
import pandas as pd
from scipy.stats import binomtest
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import PolynomialFeatures

from shattering import seeds
from shattering.experiments.experiment import Claim, Column, Result, Runs, Table, contains_zero, judge
from shattering.experiments.scales import Scale
from shattering.parameters import Count, Natural, NotNegative
from shattering.report.charts import Chart, series
from shattering.runs.stored import Run
from shattering.runs.study import StudySpec
from shattering.stats import mean_interval

TITLE = "The blog post's polynomial: what generalizes cannot fit noise"
PLACE = ("blog post", "demo")
SEEDS = 20
THEIRS = 3  # the degree that the post says is chosen
FITTED, UNFITTED = 0.4, 0.5  # shares of the targets' spread: a training error below the one fits them, above the other it does not
COLUMNS = (
    Column("degree", "degree"),
    Column("chosen", "chosen by the hold-out, %", "percent"),
    Column("true", "training error, original targets", "number"),
    Column("random", "training error, random targets", "number"),
    Column("holdout", "hold-out error", "number"),
)


def _polynomial(degree: int) -> Pipeline:
    return make_pipeline(PolynomialFeatures(degree), LinearRegression(tol=0))  # the default tol drops small singular values


def run_study(
    seed: int, *, n: Count = 10, noise: NotNegative = 0.3, degrees: Natural = 9, n_holdout: Count = 100
) -> tuple[dict, pd.DataFrame]:
    """Fit polynomials to noisy points of a sine (Bishop, Pattern Recognition and Machine Learning, 1.1), and to random targets.

    The degree is chosen for the least error on a hold-out of the original targets. The random targets are a permutation of
    the original ones. Errors are root mean squared errors.

    Args:
        seed: of the noise and the permutation.
        n: points.
        noise: standard deviation of the noise; the sine's amplitude is 1.
        degrees: the largest degree.
        n_holdout: points of the hold-out.

    Returns:
        The numbers and the table.
        Numbers: degree (the one chosen); its errors train_true, train_random and holdout_true; spread, the
        standard deviation of the targets. Table: kind; rows of kind "fit" have degree, targets ("true": original, or
        "random"), train and holdout (errors); rows of kind "point" and "curve" have targets, x and y, and the curve is that
        of the chosen degree.

    Example:
        >>> numbers, table = run_study(0)
        >>> numbers["train_true"] < numbers["train_random"]
        True
    """
    generator = seeds.generator(seed, "polynomial")
    x, x_holdout = _places(n, n_holdout)
    y, y_holdout = (_sine(t)[:, 0] + noise * generator.normal(size=len(t)) for t in (x, x_holdout))
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
    return {"data": _data(n, noise), "degree": degree, **numbers}, pd.DataFrame(rows)


def choose_degrees(
    seed: int, *, n: Count = 10, noise: NotNegative = 0.3, degrees: Natural = 9, n_holdout: Count = 100, draws: Count = 10_000
) -> tuple[dict, pd.DataFrame]:
    """Count which degrees a hold-out chooses over draws of the noise, of the points and the hold-out of `run_study`.

    Args:
        seed: of the noise.
        n: points.
        noise: standard deviation of the noise; the sine's amplitude is 1.
        degrees: the largest degree.
        n_holdout: points of the hold-out.
        draws: of the noise.

    Returns:
        The numbers, draws, and the table: degree, and how many times it is chosen.

    Example:
        >>> _, table = choose_degrees(0, draws=50)
        >>> int(table["chosen"].sum())
        50
    """
    generator = seeds.generator(seed, "polynomial-degrees")
    x, x_holdout = _places(n, n_holdout)
    y, y_holdout = (_sine(t) + noise * generator.normal(size=(len(t), draws)) for t in (x, x_holdout))
    errors = [((_polynomial(degree).fit(x, y).predict(x_holdout) - y_holdout) ** 2).mean(0) for degree in range(degrees + 1)]
    chosen = np.bincount(np.argmin(errors, axis=0), minlength=degrees + 1)
    return {"data": _data(n, noise), "draws": draws}, pd.DataFrame({"degree": range(degrees + 1), "chosen": chosen})


def _places(n: int, n_holdout: int) -> tuple[np.ndarray, np.ndarray]:
    """Return x of the points, (n, 1), and of the hold-out, (n_holdout, 1), which lie in 0…1."""
    return np.linspace(0, 1, n)[:, None], (np.arange(n_holdout)[:, None] + 0.5) / n_holdout


def _sine(x: np.ndarray) -> np.ndarray:
    return np.sin(2 * np.pi * x)


def _data(n: int, noise: float) -> str:
    return f"{n} points of a sine with noise {noise:g}"


def specs(scale: Scale) -> list[StudySpec]:
    """List the studies: twenty draws of the noise, and many of which only the degree is told, at every scale."""
    return [*(StudySpec("polynomial", seed=seed) for seed in range(SEEDS)), StudySpec("polynomial-degrees")]


def result(scale: Scale, runs: Runs) -> Result:
    """Make the figure, its table and its claim from the stored studies."""
    *records, of_degrees = runs.records(specs(scale))
    chosen = dict(zip(*(of_degrees.table[name].tolist() for name in ("degree", "chosen")), strict=True)) if of_degrees.result else {}
    draws = sum(chosen.values())
    done = [record for record in records if record.result]
    size = done[0].result["data"] if done else "missing"
    fits = pd.concat([r.table[r.table["kind"] == "fit"] for r in done]) if done else pd.DataFrame({"degree": []})
    rows = [
        {
            "degree": f"{degree:.0f}",
            "chosen": chosen[degree] / draws if draws else None,
            **{name: float(part.loc[part["targets"] == name, "train"].median()) for name in ("true", "random")},
            "holdout": float(part.loc[part["targets"] == "true", "holdout"].median()),
        }
        for degree, part in fits.groupby("degree")
    ]
    whole = len(done) == len(records)

    def mean(name: str) -> float | None:
        return fmean(r.result[name] for r in done) if whole else None

    def near(name: str, share: float) -> str | None:
        """Say that a training error may be on either side of this share of the spread."""
        beyond = [r.result[name] - share * r.result["spread"] for r in done]
        return contains_zero(mean_interval(beyond, -np.inf, np.inf), "{:.3f}")

    claim = judge(
        "the chosen model cannot fit random targets",
        "The polynomial whose degree a hold-out chooses fits the sine, and cannot fit the same points with random targets.",
        f"on average its training error is below {FITTED:.0%} of the targets' spread on original targets, and above {UNFITTED:.0%} of it "
        "on random ones, by 95 % intervals over the draws",
        {"on original targets": mean("train_true"), "on random targets": mean("train_random"), "spread": mean("spread")},
        lambda v: v["on original targets"] < FITTED * v["spread"] and v["on random targets"] > UNFITTED * v["spread"],
        "{:.3f}",
        doubts=[near("train_true", FITTED), near("train_random", UNFITTED)],
        runs=records,
    )
    claims = [claim, _degree_claim(chosen)]
    often = f"How often the hold-out chooses a degree is counted over {draws:,} draws. " if draws else ""
    note = f"Root mean squared errors, medians over {len(done)} draws of the noise. {often}The post shows one draw."
    charts = {"polynomial": (_chart(done[0]), f"The polynomial of degree {done[0].result['degree']}, {size}, seed 0.")} if done else {}
    table = Table(f"Degrees, {size}", COLUMNS, rows, note)
    return Result("polynomial", TITLE, scale.name, size, [*records, of_degrees], [table], charts, claims)


def _degree_claim(chosen: Mapping[int, int]) -> Claim:
    """Judge which degree is chosen most often, by how many times each is, beside the one that is so of the others."""
    draws, times = sum(chosen.values()), chosen.get(THEIRS, 0)
    other = max((degree for degree in chosen if degree != THEIRS), key=lambda degree: chosen[degree], default=None)
    others = 0 if other is None else chosen[other]
    unclear = draws and binomtest(times, times + others).pvalue > 0.05
    shares = {f"degree {THEIRS}": times / draws if draws else None}
    return judge(
        "the hold-out chooses degree 3",
        "A hold-out set would most likely lead to choosing a model with M = 3.",
        f"over draws of the noise, degree {THEIRS} is chosen more often than any other, beyond chance (p ≤ 0.05 beside the next)",
        shares | ({f"degree {other}": others / draws} if others else {}),
        lambda v: times > others,
        "{:.0%} of the draws",
        doubts=["of the two, neither is chosen more often beyond chance" if unclear else None],
    )


def _chart(record: Run[StudySpec]) -> Chart:
    table, degree = record.table.replace({"targets": {"true": "original"}}), record.result["degree"]
    names = ["original", "random"]
    pointed, dashed = series("targets", names, title="targets"), series("targets", names, ["strokeDash"], title="targets")
    x, y = alt.X("x:Q", title="x"), alt.Y("y:Q", title="target")
    points = alt.Chart(table[table["kind"] == "point"]).mark_point().encode(x=x, y=y, **pointed)
    curves = alt.Chart(table[table["kind"] == "curve"]).mark_line().encode(x=x, y=y, **dashed)
    left = alt.layer(points, curves).properties(width=330, height=260, title=f"degree {degree}")
    errors = (
        alt.Chart(table[table["kind"] == "fit"])
        .mark_line(point=True)
        .encode(x=alt.X("degree:O", title="degree", axis=alt.Axis(labelAngle=0)), y=alt.Y("train:Q", title="training error"), **pointed)
        .properties(width=330, height=260, title="every degree")
    )
    return alt.hconcat(left, errors)
