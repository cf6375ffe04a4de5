"""Stored runs → Altair charts in the form of the papers' figures."""

from collections.abc import Sequence
from pathlib import Path

import altair as alt
import pandas as pd
import vl_convert

from shattering.errors import printable
from shattering.measures.memorization import memorization_start
from shattering.report.tables import by_subject, summary_rows
from shattering.runs.store import Run
from shattering.system.files import write_aside

Chart = alt.Chart | alt.LayerChart | alt.FacetChart
COLORS = {  # dark enough for lines and text on white
    "true labels": "#1769aa",
    "50% corrupted labels": "#8a6d00",
    "random labels": "#c62828",
    "shuffled pixels": "#2e7d32",
    "random pixels": "#ad1aa6",
    "Gaussian pixels": "#00838f",
    "random labels (permuted)": "#c62828",
    "20% corrupted labels (flipped)": "#8a6d00",
    "pixels permuted within class": "#6d4c41",
}
SERIES_COLORS = ["#1769aa", "#c62828", "#2e7d32", "#ad1aa6", "#8a6d00", "#00838f"]
DARK = {  # what a page shows on a dark screen in place of each colour that charts are made with
    "white": "#14181d",
    "#000": "#e8edf2",
    "#222": "#fff",
    "#555": "#a9b4c0",
    "#666": "#9aa5b1",
    "#888": "#8b96a2",
    "#e8e8e8": "#333b44",
    "#1769aa": "#6cb6f5",
    "#c62828": "#ff8a80",
    "#2e7d32": "#7fd184",
    "#ad1aa6": "#f08ee8",
    "#8a6d00": "#dcb63c",
    "#00838f": "#4fd0dc",
    "#6d4c41": "#cfa898",
}
FITS = {  # columns of the history of a tracked training
    "clean_accuracy": ("clean, as labelled", "#1769aa"),
    "corrupted_accuracy": ("wrong label, memorized", "#c62828"),
    "corrupted_as_true": ("wrong label, predicted as the true class", "#2e7d32"),
}
_START = "memorization starts"
_POINTS = 300  # of one curve; longer histories are thinned evenly
SIZE = {"width": 400, "height": 280}


def log_axis(title: str, field: str, form: str) -> dict:
    """Arguments of alt.X or alt.Y for a logarithmic axis whose labels do not overlap."""
    axis = alt.Axis(format=form, labelOverlap="greedy", labelSeparation=6)
    return {"shorthand": f"{field}:Q", "title": title, "scale": alt.Scale(type="log"), "axis": axis}


def loss_curves(runs: Sequence[Run]) -> Chart | None:
    """Figure 1a: running training loss over steps, a line a run, a panel a dataset and model. None without histories."""
    frames = []
    for run in runs:
        title = run.spec.randomization.title
        if run.status != "done" or title not in COLORS or run.history.empty:
            continue
        history = run.history.iloc[:: max(1, len(run.history) // _POINTS)]
        frames.append(
            history[["step", "epoch", "train_loss", "train_accuracy", "test_accuracy"]].assign(
                randomization=title, model=_panel(run), seed=run.spec.seed, run=printable(run.folder.name)
            )
        )
    if not frames:
        return None
    data = pd.concat(frames)
    pick = alt.selection_point("pick", fields=["randomization"], bind="legend")
    present = [name for name in COLORS if name in set(data["randomization"])]
    lines = (
        alt.Chart(data)
        .mark_line(strokeWidth=2)
        .encode(
            x=alt.X("step:Q", title="step", axis=alt.Axis(format="~s")),
            y=alt.Y("train_loss:Q", title="training loss (nats)"),
            color=alt.Color(
                "randomization:N",
                scale=alt.Scale(domain=present, range=[COLORS[name] for name in present]),
                title=None,
                legend=alt.Legend(orient="bottom", columns=3, symbolStrokeWidth=3, labelLimit=0),
            ),
            detail="run:N",
            opacity=alt.condition(pick, alt.value(1.0), alt.value(0.12)),
            tooltip=[
                alt.Tooltip("randomization:N"),
                alt.Tooltip("seed:O"),
                alt.Tooltip("epoch:Q"),
                alt.Tooltip("train_loss:Q", format=".4f"),
                alt.Tooltip("train_accuracy:Q", format=".1%"),
                alt.Tooltip("test_accuracy:Q", format=".1%"),
            ],
        )
        .add_params(pick)
    )
    return _panels(lines, data)


def error_curves(runs: Sequence[Run], theirs: Sequence[tuple[str, float, float]] = ()) -> Chart | None:
    """Figure 1c: test error after training over the probability of label corruption, with chance. None without data.

    Drawn is what was trained at several probabilities.
    theirs: (model, corruption, error) of points to draw beside ours, as open diamonds.
    """
    done = [row for row in summary_rows(runs) if row["pixels"] == "true" and row["seeds"]]
    rows = [row for subject in by_subject(done) if len({row["labels"] for row in subject["rows"]}) > 1 for row in subject["rows"]]
    if not rows:
        return None
    one_dataset = len({(row["dataset"], row["n_train"]) for row in rows}) == 1
    for row in rows:
        row["error"], sd = 1 - row["test_accuracy"], row["test_sd"] or 0
        row["low"], row["high"] = row["error"] - sd, row["error"] + sd
        row["series"] = printable(row["model"] if one_dataset else f"{row['model']} ({row['dataset']}, n = {row['n_train']:,})")
    base = alt.Chart(pd.DataFrame(rows)).encode(
        x=alt.X("labels:Q", title="label corruption", axis=alt.Axis(format="%")),
        color=alt.Color(
            "series:N",
            title=None,
            scale=alt.Scale(range=SERIES_COLORS),
            legend=alt.Legend(orient="bottom", columns=2, symbolStrokeWidth=3, labelLimit=0),
        ),
        detail=["hyperparameters:N", "label_mode:N"],
    )
    line = base.mark_line(strokeWidth=2, point={"size": 60, "filled": True}).encode(
        y=alt.Y("error:Q", title="test error", axis=alt.Axis(format="%"), scale=alt.Scale(domain=[0, 1])),
        tooltip=[
            alt.Tooltip("series:N"),
            alt.Tooltip("labels:Q", format=".0%"),
            alt.Tooltip("error:Q", format=".1%"),
            alt.Tooltip("test_sd:Q", format=".1%", title="sd over seeds"),
            alt.Tooltip("seeds:Q"),
        ],
    )
    bars = base.mark_rule(strokeWidth=1.5).encode(y="low:Q", y2="high:Q")
    chance = pd.DataFrame({"chance": sorted({1 - row["chance"] for row in rows}), "text": "chance"})
    rule = alt.Chart(chance).mark_rule(strokeDash=[5, 4], color="#666").encode(y="chance:Q")
    text = alt.Chart(chance).mark_text(align="left", dx=4, dy=-7, color="#555").encode(y="chance:Q", x=alt.value(0), text="text")
    points = pd.DataFrame(theirs, columns=pd.Index(["series", "labels", "error"]))
    diamonds = alt.Chart(points).mark_point(shape="diamond", size=110, strokeWidth=2).encode(x="labels:Q", y="error:Q", color="series:N")
    return alt.layer(line, bars, rule, text, *([diamonds] if theirs else [])).properties(**SIZE)


def memorization_curves(runs: Sequence[Run]) -> Chart | None:
    """What is fitted of the clean and of the wrongly labelled examples, over epochs, with a rule where memorization starts.

    Of the running predictions (`Tracker.end_epoch`); a line a run, a panel a configuration. The rule is at
    `memorization_start`. None without runs with `track_examples` and changed labels.
    """
    frames = [_fits(run) for run in runs if run.status == "done" and _has_changed(run.history)]
    if not frames:
        return None
    data, names = pd.concat(frames), [name for name, _ in FITS.values()]
    pick = alt.selection_point(fields=["examples"], bind="legend")
    base = alt.Chart().encode(x=alt.X("epoch:Q", title="epoch", axis=alt.Axis(tickMinStep=1)))
    color = alt.Color(
        "examples:N",
        scale=alt.Scale(domain=names, range=[color for _, color in FITS.values()]),
        title=None,
        legend=alt.Legend(orient="bottom", columns=3, symbolStrokeWidth=3, labelLimit=0),
    )
    tooltip = [alt.Tooltip("examples:N"), alt.Tooltip("seed:O"), alt.Tooltip("epoch:Q"), alt.Tooltip("fraction:Q", format=".1%")]
    lines = base.transform_filter(alt.FieldOneOfPredicate(field="examples", oneOf=names)).mark_line(strokeWidth=2)
    lines = lines.encode(
        y=alt.Y("fraction:Q", title="fraction of the examples", axis=alt.Axis(format="%"), scale=alt.Scale(domain=[0, 1])),
        color=color,
        detail="run:N",
        tooltip=tooltip,
        opacity=alt.condition(pick, alt.value(1.0), alt.value(0.12)),
    ).add_params(pick)
    start = base.transform_filter(alt.FieldEqualPredicate(field="examples", equal=_START))
    rule = start.mark_rule(strokeDash=[5, 4], color="#666").encode(detail="run:N", tooltip=tooltip[:3])
    text = start.mark_text(align="left", dx=4, color="#555").encode(x="min(epoch):Q", y=alt.value(SIZE["height"] - 8), text="examples:N")
    return _panels(alt.layer(lines, rule, text, data=data), data)  # type: ignore[arg-type]


def _has_changed(history: pd.DataFrame) -> bool:
    return "corrupted_as_true" in history and bool(history["corrupted_as_true"].notna().any())


def _fits(run: Run) -> pd.DataFrame:
    """Long: epoch, examples, fraction; and one row for the start of memorization."""
    history, start = run.history, memorization_start(run.history)
    thinned = history.iloc[:: max(1, len(history) // _POINTS)].rename(columns={column: name for column, (name, _) in FITS.items()})
    rows = thinned.melt("epoch", [name for name, _ in FITS.values()], "examples", "fraction")
    if start:
        rows = pd.concat([rows, pd.DataFrame({"epoch": [start.epoch], "examples": _START})])
    return rows.assign(model=f"{_panel(run)}, {run.spec.randomization.title}", seed=run.spec.seed, run=printable(run.folder.name))


def _panel(run: Run) -> str:
    return printable(f"{run.spec.model_name}, {run.result['dataset']}, n = {run.result['n_train']:,}")


def _panels(chart: alt.Chart, data: pd.DataFrame) -> Chart:
    names = list(dict.fromkeys(data["model"]))
    if len(names) == 1:
        return chart.properties(title=names[0], **SIZE)
    header = alt.Header(title=None, labelFontSize=13, labelFontWeight="bold")
    return chart.properties(**SIZE).facet(facet=alt.Facet("model:N", header=header, sort=names), columns=2).resolve_scale(x="independent")


def to_spec(chart) -> dict:
    """A chart as Vega-Lite JSON with its data inline."""
    themed = chart.configure(font="system-ui, sans-serif", background="white").configure_axis(
        labelFontSize=12, titleFontSize=13, titleFontWeight="normal", gridColor="#e8e8e8"
    )
    themed = themed.configure_legend(labelFontSize=12).configure_view(stroke=None)
    with alt.data_transformers.enable("default", max_rows=None):
        return themed.to_dict()


def save(chart: Chart, path: Path) -> Path:
    """Write a chart as the .pdf, .svg or .png (at twice the size) that the path names. Needs no browser."""
    spec, kind = to_spec(chart), path.suffix[1:]
    if kind == "svg":
        content = vl_convert.vegalite_to_svg(spec).encode()
    else:
        content = vl_convert.vegalite_to_png(spec, scale=2) if kind == "png" else vl_convert.vegalite_to_pdf(spec)
    write_aside(path, lambda aside: aside.write_bytes(content))
    return path
