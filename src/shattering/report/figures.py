"""Stored runs → Altair charts in the form of the papers' figures."""

from collections.abc import Mapping, Sequence

import altair as alt
import pandas as pd

from shattering.errors import printable
from shattering.measures.memorization import memorization_start
from shattering.report.charts import SIZE, Chart, names_of, reference, series, share_axis, whiskers
from shattering.report.scores import run_scores
from shattering.report.style import REFERENCE_DASH, RULE
from shattering.report.tables import by_subject, summary_rows
from shattering.runs.store import Runs, models_in
from shattering.runs.stored import Run, title_of

SHOWN = (  # titles of randomizations whose curves are drawn, in the order of the legend
    "original data",
    "50% corrupted labels",
    "random labels",
    "shuffled pixels",
    "random pixels",
    "Gaussian pixels",
    "random labels (permuted)",
    "20% corrupted labels (flipped)",
    "pixels permuted within class",
)
FITS = {  # columns of the history of a tracked training
    "clean_accuracy": "clean label",
    "corrupted_accuracy": "corrupted label, memorized",
    "corrupted_as_true": "corrupted label, predicted as the true class",
}
_START = "memorization starts"
_POINTS = 300  # of one curve; longer histories are thinned evenly


def run_charts(runs: Runs) -> dict[str, Chart | None]:
    """Draw the charts of a report of runs, by name; None for a chart without data.

    Example:
        >>> sorted(run_charts([]))
        ['corruption', 'loss', 'scores']
    """
    runs = models_in(runs)
    return {"scores": run_scores(runs), "loss": loss_curves(runs), "corruption": error_curves(runs)}


def loss_curves(runs: Runs) -> Chart | None:
    """Draw figure 1a: online training loss over steps, one line per run, one panel per dataset and model. None without histories.

    Example:
        >>> loss_curves([]) is None
        True
    """
    frames = []
    places: dict[str, int] = {}  # title → its place in the legend
    for run in models_in(runs):
        title = run.spec.randomization.title
        if run.status != "done" or title not in SHOWN or run.history.empty or "train_accuracy" not in run.history:
            continue
        history, shown = _thinned(run.history), title_of(run.spec.randomization, run.result)
        places[shown] = SHOWN.index(title)
        frames.append(
            history[["step", "epoch", "train_loss", "train_accuracy", "test_accuracy"]].assign(
                randomization=shown, model=_panel(run), seed=run.spec.seed, run=printable(run.folder.name)
            )
        )
    if not frames:
        return None
    data = pd.concat(frames)
    pick = alt.selection_point("pick", fields=["randomization"], bind="legend")
    lines = (
        alt.Chart(data)
        .mark_line()
        .encode(
            x=alt.X("step:Q", title="step", axis=alt.Axis(format="~s")),
            y=alt.Y("train_loss:Q", title="training loss (nats)"),
            **series("randomization", sorted(places, key=places.__getitem__), ["strokeDash"], columns=3),
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


def error_curves(runs: Runs, theirs: Sequence[tuple[str, float, float]] = (), names: Mapping[str, str] | None = None) -> Chart | None:
    """Draw figure 1c: test error after training over the probability of label corruption, with chance.

    Args:
        runs: a store, its folder or URL, or runs, of which those are drawn whose configuration was trained at several probabilities.
        theirs: (model, corruption, error) of the papers' points, drawn as open markers.
        names: model → how the legend calls it, in its order.

    Returns:
        The chart; None if there is nothing to draw.

    Example:
        >>> error_curves([]) is None
        True
    """
    done = [row for row in summary_rows(models_in(runs)) if row["pixels"] == "true" and row["seeds"] and row["score"] is None]
    rows = [row for subject in by_subject(done) if len({row["labels"] for row in subject["rows"]}) > 1 for row in subject["rows"]]
    if not rows:
        return None
    one_dataset = len({(row["dataset"], row["n_train"]) for row in rows}) == 1
    for row in rows:
        row["error"], sd = 1 - row["test_accuracy"], row["test_sd"] or 0
        row["low"], row["high"] = row["error"] - sd, row["error"] + sd
        row["series"] = printable(row["model"] if one_dataset else f"{row['model']} ({row['dataset']}, n = {row['n_train']:,})")
    called = names or {}
    data = pd.DataFrame(rows).replace({"series": dict(called)})
    order = list(called.values())
    present = sorted(names_of(data["series"]), key=lambda name: (order.index(name) if name in order else len(order), name))
    looks = series("series", present, columns=2)
    base = alt.Chart(data).encode(
        x=alt.X("labels:Q", title="label corruption", axis=alt.Axis(format="%")),
        **looks,
        detail=["subject:N", "label_mode:N"],
    )
    line = base.mark_line(point=True).encode(
        y=alt.Y(**share_axis("test error", "error")),
        tooltip=[
            alt.Tooltip("series:N"),
            alt.Tooltip("labels:Q", format=".0%"),
            alt.Tooltip("error:Q", format=".1%"),
            alt.Tooltip("test_sd:Q", format=".1%", title="sd over seeds"),
            alt.Tooltip("seeds:Q"),
            alt.Tooltip("hyperparameters:N"),
            alt.Tooltip("setting:N"),
        ],
    )
    bars = whiskers(base, "low", "high")
    rules = [reference("chance", y=chance) for chance in sorted({1 - row["chance"] for row in rows})]
    points = pd.DataFrame(theirs, columns=pd.Index(["series", "labels", "error"])).replace({"series": dict(called)})
    theirs_drawn = alt.Chart(points).mark_point(filled=False).encode(x="labels:Q", y="error:Q", **looks)
    return alt.layer(line, bars, *rules, *([theirs_drawn] if theirs else [])).properties(**SIZE)


def memorization_curves(runs: Runs) -> Chart | None:
    """Draw which clean and corrupted labels are fitted over the epochs, and a rule where memorization starts.

    Accuracies are online ones (`Tracker.end_epoch`); the rule is at `memorization_start`. There is one line per run and one panel
    per configuration. None without runs that have `track_examples` and corrupted labels.

    Example:
        >>> from shattering import Store
        >>> memorization_curves(Store("runs").runs()).save("memorization.html")  # doctest: +SKIP
    """
    frames = [_fits(run) for run in models_in(runs) if run.status == "done" and _has_corrupted(run.history)]
    if not frames:
        return None
    data, names = pd.concat(frames), list(FITS.values())
    pick = alt.selection_point(fields=["examples"], bind="legend")
    base = alt.Chart().encode(x=alt.X("epoch:Q", title="epoch", axis=alt.Axis(tickMinStep=1)))
    tooltip = [alt.Tooltip("examples:N"), alt.Tooltip("seed:O"), alt.Tooltip("epoch:Q"), alt.Tooltip("fraction:Q", format=".1%")]
    lines = base.transform_filter(alt.FieldOneOfPredicate(field="examples", oneOf=names)).mark_line()
    lines = lines.encode(
        y=alt.Y(**share_axis("fraction of the examples", "fraction")),
        **series("examples", names, ["strokeDash"], columns=3),
        detail="run:N",
        tooltip=tooltip,
        opacity=alt.condition(pick, alt.value(1.0), alt.value(0.12)),
    ).add_params(pick)
    start = base.transform_filter(alt.FieldEqualPredicate(field="examples", equal=_START))
    rule = start.mark_rule(strokeDash=REFERENCE_DASH, color=RULE).encode(detail="run:N", tooltip=tooltip[:3])
    text = start.mark_text(align="left", dx=4, dy=-8).encode(x="min(epoch):Q", y=alt.value("height"), text="examples:N")
    return _panels(alt.layer(lines, rule, text, data=data), data)  # type: ignore[arg-type]  # a layered chart has the same methods


def _thinned(history: pd.DataFrame) -> pd.DataFrame:
    """Return at most about `_POINTS` rows, evenly, and the last epoch in any case."""
    rows = range(0, len(history), max(1, len(history) // _POINTS))
    return history.iloc[sorted({*rows, len(history) - 1} - {-1})]


def _has_corrupted(history: pd.DataFrame) -> bool:
    return "corrupted_as_true" in history and bool(history["corrupted_as_true"].notna().any())


def _fits(run: Run) -> pd.DataFrame:
    """Return a long table with epoch, examples and fraction, and one row for the start of memorization."""
    history, start = run.history, memorization_start(run.history)
    thinned = _thinned(history).rename(columns=FITS)
    rows = thinned.melt("epoch", list(FITS.values()), "examples", "fraction")
    if start:
        rows = pd.concat([rows, pd.DataFrame({"epoch": [start.epoch], "examples": _START})])
    model = f"{_panel(run)}, {title_of(run.spec.randomization, run.result)}"
    return rows.assign(model=model, seed=run.spec.seed, run=printable(run.folder.name))


def _panel(run: Run) -> str:
    return printable(f"{run.spec.model_name}, {run.result['dataset']}, n = {run.result['n_train']:,}")


def _panels(chart: alt.Chart, data: pd.DataFrame) -> Chart:
    names = list(dict.fromkeys(data["model"]))
    if len(names) == 1:
        return chart.properties(title=names[0], **SIZE)
    header = alt.Header(title=None)
    return chart.properties(**SIZE).facet(facet=alt.Facet("model:N", header=header, sort=names), columns=2).resolve_scale(x="independent")
