"""Charts of an interrogation: one per measure, and the leaderboard."""

from collections.abc import Mapping
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from shattering.interrogate.judging import Judged
from shattering.report.charts import SIZE, Chart, log_axis, reference, series, share_axis, whiskers
from shattering.report.style import RULE

TREATMENTS = (  # in the order of the legend
    "original labels",
    "part of the labels random",
    "random labels",
    "original labels, equal steps",
    "random labels, fewer examples",
    "destroyed pixels",
    "random labels, shatter point",
)
_NAMES = {
    "natural": "original labels",
    "partial": "part of the labels random",
    "random": "random labels",
    "equal steps": "original labels, equal steps",
    "fewer": "random labels, fewer examples",
    "random pixels": "destroyed pixels",
    "gaussian pixels": "destroyed pixels",
    "shatter point": "random labels, shatter point",
    "untrained natural": "original labels",
    "untrained random": "random labels",
}
_WIDE = 100.0  # ratio of the largest to the smallest value from which an axis is logarithmic


def measure_chart(table: pd.DataFrame, measure: str, psi: Mapping[str, float]) -> Chart | None:
    """Draw a measure over the gap, one point per run, with lines between the runs of a cell and seed; beside it, untrained networks and ψ.

    Infinite and missing values are left out.

    Args:
        table: one row per run, as `judge_table` takes it.
        measure: a column of it.
        psi: hyperparameter → ψ.

    Returns:
        The chart; None if no run has a finite value.
    """
    shown = table.loc[np.isfinite(table[measure].to_numpy(float))]
    rows = pd.DataFrame({name: shown[name] for name in ("gap", "seed", "corruption", "n", "loss", "updates", "condition")})
    treatments = [_NAMES[name] for name in shown["condition"]]
    rows = rows.assign(value=shown[measure], treatment=treatments, cell=shown["cell"].rank(method="dense").astype(int))
    trained = rows.loc[~rows["condition"].str.startswith("untrained")]
    if trained.empty:
        return None
    axis = _axis(measure, trained["value"])
    present = [name for name in TREATMENTS if name in set(trained["treatment"])]
    looks = series("treatment", present, columns=2)
    base = alt.Chart(trained).encode(
        x=alt.X(**share_axis("gap between training and test accuracy", "gap")),
        y=alt.Y(**axis),
        **looks,
    )
    points = base.mark_point(opacity=0.75).encode(
        tooltip=["treatment:N", "cell:O", "seed:O", "n:Q", alt.Tooltip("value:Q", format=".4g"), alt.Tooltip("gap:Q", format=".1%")]
    )
    joined = alt.Chart(trained[trained["condition"].isin(["natural", "partial", "random"])])
    lines = joined.mark_line(color=RULE, opacity=0.25, strokeWidth=1).encode(x="gap:Q", y="value:Q", detail=["cell:O", "seed:O"])
    parts: list[Any] = [alt.layer(points, lines).properties(**SIZE)]
    untrained = rows.loc[rows["condition"].str.startswith("untrained")]
    if len(untrained):
        strip = alt.Chart(untrained, title="untrained").mark_tick(opacity=0.6)
        own = _axis("", untrained["value"])
        parts.append(
            strip.encode(x=alt.X("treatment:N", title=None), y=alt.Y(**own), color=looks["color"]).properties(width=90, height=280)
        )
    if psi:
        bars = pd.DataFrame({"hyperparameter": list(psi), "psi": list(psi.values())})
        chart = alt.Chart(bars, title="ψ, natural runs").mark_bar()
        x = alt.X("psi:Q", title="agreement with the gap", scale=alt.Scale(domain=[-1, 1]))
        parts.append(chart.encode(x=x, y=alt.Y("hyperparameter:N", title=None)).properties(width=130, height=24 * len(bars)))
    return alt.hconcat(*parts) if len(parts) > 1 else parts[0]


def _axis(title: str, values: pd.Series) -> dict:
    """Return arguments of alt.Y: a logarithmic axis for positive values over orders of magnitude."""
    if float(values.min()) > 0 and float(values.max()) > _WIDE * float(values.min()):
        return log_axis(title, "value", ".1e")
    return {"shorthand": "value:Q", "title": title, "scale": alt.Scale(zero=False)}


def worth_chart(medians: pd.DataFrame) -> Chart | None:
    """Draw n_μ/n of natural labels, one line per measure, with its interval; sorted by the share.

    Args:
        medians: of `shattering.interrogate.equivalents.median_shares`. What is not a number above 0 is left out; the ends of an interval
            that lie outside the ladder are drawn at the edge.

    Returns:
        The chart; None if no measure has a share.
    """
    rows = medians.loc[
        (medians["share"] > 0) & np.isfinite(medians["share"].to_numpy(float)), ["measure", "family", "share", "low", "high"]
    ]
    if rows.empty:
        return None
    rows = rows.assign(low=rows["low"].clip(lower=rows["low"][rows["low"] > 0].min()), high=rows["high"].clip(upper=1.0))
    order = list(rows.groupby("measure")["share"].median().sort_values().index)
    looks = series("family", sorted(rows["family"].unique()))
    base = alt.Chart(rows).encode(
        y=alt.Y("measure:N", sort=order, title=None, axis=alt.Axis(labelLimit=0)),
    )
    x = log_axis("random labels that natural ones are worth, n_μ/n", "share", "~g")
    points = base.mark_point().encode(
        **looks, x=alt.X(**x), tooltip=["measure:N", "family:N", *(alt.Tooltip(f"{c}:Q", format=".2f") for c in ("share", "low", "high"))]
    )
    ranges = whiskers(base, "low", "high", "x").encode(color=looks["color"])
    return alt.layer(points, ranges).properties(width=420, height=16 * len(order) + 20)


def leaderboard_chart(judged: Judged, controls: list[str], seconds: Mapping[str, float], telling: float) -> Chart | None:
    """Draw how every measure ranks over how it tells: K̃ over the smallest share of T1a, T1b and T1c.

    Args:
        judged: what `judge_table` found.
        controls: names that are drawn as landmarks, with their names.
        seconds: measure → mean seconds per run.
        telling: the share from which a measure tells, where a line is drawn.

    Returns:
        The chart; None if nothing was compared.
    """
    rows = []
    for name, judgement in judged.judgements.items():
        shares = [judgement.outcomes[test].statistic for test in ("T1a", "T1b", "T1c")]
        known = [share for share in shares if share == share]
        if known and not name.startswith("random_number_"):
            k = judgement.outcomes["T4"].statistic
            kind = "control" if name in controls else "measure"
            rows.append(
                {
                    "name": name,
                    "kind": kind,
                    "tells": min(known),
                    "ranks": max(k, 0.0) if k == k else 0.0,
                    "seconds": seconds.get(name, 0.0),
                }
            )
    if not rows:
        return None
    base = alt.Chart(pd.DataFrame(rows)).encode(
        x=alt.X(**share_axis("least share of cells in which it tells, of T1a, T1b and T1c", "tells")),
        y=alt.Y("ranks:Q", title="K̃: information on the gap, %", scale=alt.Scale(domain=[0, 100])),
    )
    points = base.mark_point(opacity=0.7).encode(
        **series("kind", ["measure", "control"]),
        size=alt.Size("seconds:Q", title="seconds per run", scale=alt.Scale(range=[30, 400])),
        tooltip=[
            "name:N",
            alt.Tooltip("tells:Q", format=".0%"),
            alt.Tooltip("ranks:Q", format=".1f"),
            alt.Tooltip("seconds:Q", format=".3g"),
        ],
    )
    return alt.layer(points, *_landmarks(rows), reference("tells", x=telling)).properties(width=620, height=360)


def _landmarks(rows: list[dict]) -> list[alt.Chart]:
    """Write the names of the controls beside their points, those of the right half to the left; those of one place above each other."""
    places: dict[tuple[float, float], list[str]] = {}
    for row in rows:
        if row["kind"] == "control":
            places.setdefault((round(row["tells"], 2), round(row["ranks"])), []).append(row["name"])
    layers = []
    for on_right in (False, True):
        texts = [
            {"tells": x, "ranks": y, "name": name, "line": line}
            for (x, y), names in places.items()
            if (x > 0.5) is on_right
            for line, name in enumerate(names)
        ]
        for line in sorted({text["line"] for text in texts}):
            own = alt.Chart(pd.DataFrame([text for text in texts if text["line"] == line]))
            style = {"dy": -12 * line, "fontSize": 10}
            mark = own.mark_text(align="right", dx=-8, **style) if on_right else own.mark_text(align="left", dx=8, **style)
            layers.append(mark.encode(x="tells:Q", y="ranks:Q", text="name:N"))
    return layers
