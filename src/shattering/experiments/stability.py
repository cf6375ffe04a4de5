"""Section 2.2: uniform stability does not look at the labels."""

import altair as alt
import pandas as pd

from shattering.experiments import rademacher
from shattering.experiments.experiment import Claim, Column, Result, Runs, Table, judge
from shattering.experiments.scales import CAPACITY_SCALES, CapacityScale, Scale
from shattering.report.figures import SERIES_COLORS, SIZE, Chart
from shattering.runs.store import Record
from shattering.runs.study import StudySpec

TITLE = "Section 2.2: uniform stability, on original and on random labels"
LABELS = {"true labels": 0.0, "random labels": 1.0}
COLUMNS = (
    Column("model", "model"),
    Column("labels", "labels"),
    Column("uniform", "uniform stability at least", "number"),
    Column("own", "own loss changes %", "percent"),
    Column("own_interval", "95 %"),
    Column("changed", "test losses changed %", "percent"),
    Column("changed_interval", "95 %"),
    Column("replaced", "examples replaced", "number"),
)
NOTE = (
    "Training again with one example replaced; 0-1 loss. The constant of uniform stability is a supremum over all training sets, labels "
    "included: what is seen on random labels bounds it on original ones, and it is 1 as soon as one loss changes. How often the loss at "
    "the replaced example itself changes is, for what interpolates, the error on an example not seen."
)


def models(k: CapacityScale) -> dict[str, tuple[str, dict]]:
    """Title → (model, parameters)."""
    interpolating = {title: how for title, how in rademacher.models(k).items() if title != "logistic regression"}
    return {**interpolating, "kernel, ridge 100": ("kernel", {"ridge": 100.0})}


def study_specs(k: CapacityScale) -> dict[tuple[str, str], StudySpec]:
    """(model, labels) → study."""
    common = {"dataset": k.dataset, "n": k.n_stability, "n_replaced": k.n_replaced}
    return {
        (title, kind): StudySpec("stability", {**common, "model": name, "params": params, "labels": p})
        for title, (name, params) in models(k).items()
        for kind, p in LABELS.items()
    }


def specs(scale: Scale) -> list[StudySpec]:
    """One a model, and original or random labels."""
    return list(study_specs(CAPACITY_SCALES[scale.name]).values())


def result(scale: Scale, runs: Runs) -> Result:
    """The table and figure, from stored studies."""
    found = study_specs(CAPACITY_SCALES[scale.name])
    return make_result("stability", scale.name, dict(zip(found, runs.records(list(found.values())), strict=True)))


def make_result(name: str, scale: str, records: dict[tuple[str, str], Record]) -> Result:
    """A page of studies by model and labels."""
    size = next((r.result["data"] for r in records.values() if r.result), "missing")
    rows = [_row(model, labels, record.result) for (model, labels), record in records.items()]
    done = [r.result | row for row, r in zip(rows, records.values(), strict=True) if r.result]
    caption = f"How often the loss at a training example changes when it is replaced, {size}, with 95 % intervals."
    charts = {name: (_chart(done), caption)} if done else {}
    return Result(
        name,
        TITLE,
        scale,
        size,
        list(records.values()),
        [Table(f"One example replaced, {size}", COLUMNS, rows, NOTE)],
        charts,
        _claims(rows),
    )


def _row(model: str, labels: str, r: dict) -> dict:
    return {
        "model": model,
        "labels": labels,
        "uniform": r.get("uniform"),
        "own": r.get("own"),
        "own_interval": rademacher.interval(r, "own_low", "own_high", "{:.0%}"),
        "changed": r.get("changed"),
        "changed_interval": rademacher.interval(r, "changed_low", "changed_high", "{:.1%}"),
        "replaced": r.get("n_replaced"),
    }


def _claims(rows: list[dict]) -> list[Claim]:
    interpolating = [row for row in rows if "ridge" not in row["model"]]
    own = {(row["model"], row["labels"]): row["own"] for row in interpolating}
    models = list(dict.fromkeys(row["model"] for row in interpolating))
    gap = {
        model: None if None in pair else pair[1] - pair[0]
        for model in models
        if (pair := [own[model, labels] for labels in LABELS if (model, labels) in own]) and len(pair) == len(LABELS)
    }
    return [
        judge(
            "uniform stability is blind to the labels",
            "Uniform stability is a property of the algorithm alone: it takes no account of the labels, so it cannot tell them apart.",
            "for each model that interpolates, the constant is at least 1, seen on original as on random labels",
            {f"{row['model']}, {row['labels']}": row["uniform"] for row in interpolating},
            lambda v: min(v.values()) == 1,
            "{:.0f}",
        ),
        judge(
            "what knows the labels does tell them apart",
            "(Ours: the loss at the replaced example itself, averaged over examples, depends on the data.)",
            "for each of them it changes more often on random labels than on original ones",
            {f"{model}, difference": value for model, value in gap.items()},
            lambda v: min(v.values()) > 0,
        ),
    ]


def _chart(rows: list[dict]) -> Chart:
    data = pd.DataFrame([{name: row[name] for name in ("model", "labels", "own", "own_low", "own_high")} for row in rows])
    order = list(dict.fromkeys(data["model"]))
    base = alt.Chart(data).encode(
        y=alt.Y("model:N", sort=order, title=None, axis=alt.Axis(labelLimit=0)), yOffset=alt.YOffset("labels:N", sort=list(LABELS))
    )
    x = alt.X("own:Q", title="own loss changes", axis=alt.Axis(format="%"), scale=alt.Scale(domain=[0, 1]))
    color = alt.Color("labels:N", sort=list(LABELS), title=None, scale=alt.Scale(range=SERIES_COLORS), legend=alt.Legend(orient="bottom"))
    bars = base.mark_bar().encode(x=x, color=color, tooltip=["model:N", "labels:N", alt.Tooltip("own:Q", format=".0%")])
    ranges = base.mark_rule(strokeWidth=2, color="#222").encode(x="own_low:Q", x2="own_high:Q")
    return alt.layer(bars, ranges).properties(**SIZE)
