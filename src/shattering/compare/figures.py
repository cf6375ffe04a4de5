"""The chart of a randomization test."""

import altair as alt
import pandas as pd

from shattering.compare.comparison import Comparison
from shattering.compare.plan import ORIGINAL
from shattering.report.charts import Chart, reference, series
from shattering.report.figures import loss_curves, memorization_curves
from shattering.report.style import RULE

SPLITS = ["train", "test"]
_ROW, _WIDTH = 44, 620  # height of a randomization and width of the scores, in pixels


def test_charts(test: Comparison) -> dict[str, Chart | None]:
    """Draw the charts of the report, by name: scores, memorization and loss; None for a chart without data."""
    firsts = [test.of(r)[0].runs[0] for r in (ORIGINAL, *test.randomizations) if test.of(r)]
    partial = [run for run in firsts if run.spec.randomization.labels < 1]
    return {"scores": score_chart(test), "memorization": memorization_curves(partial), "loss": loss_curves(firsts)}


def score_chart(test: Comparison) -> Chart:
    """Draw train and test scores of every repeat, one row per randomization.

    Rules stand at the original test score and at that of the best constant answer; a band is where 95 % of the scores against permuted
    test labels lie.
    """
    rows = []
    for repeat in test.repeats:
        scores = {"train": repeat.train_score, "test": repeat.test_score} if repeat.status == "done" else {}
        about = {"randomization": test.title(repeat.randomization), "repeat": repeat.number}
        rows += [{**about, "split": split, "score": score} for split, score in scores.items() if score is not None]
    rows += [
        {"randomization": test.title(p.randomization), "repeat": p.number, "split": "test", "score": p.score}
        for p in test.batched
        if p.score is not None
    ]
    order = [test.title(r) for r in (ORIGINAL, *test.randomizations)]
    axis = alt.Axis(format="%") if test.scoring == "accuracy" else alt.Axis()
    base = alt.Chart(pd.DataFrame(rows)).encode(
        x=alt.X("score:Q", title=f"{test.scoring} (higher is better)", axis=axis),
        y=alt.Y("randomization:N", title=None, sort=order, axis=alt.Axis(labelLimit=240)),
        yOffset=alt.YOffset("split:N", sort=SPLITS),
    )
    points = base.mark_point(opacity=0.75).encode(
        **series("split", SPLITS),
        tooltip=[alt.Tooltip("randomization:N"), alt.Tooltip("repeat:O"), alt.Tooltip("split:N"), alt.Tooltip("score:Q", format=".4f")],
    )
    marked = {"original data": test.original.test_score, "best constant answer": test.best_constant}
    rules = [reference(name, 2 + 16 * i, x=score) for i, (name, score) in enumerate(marked.items()) if score is not None]
    return alt.layer(points, *_band(test), *rules).properties(width=_WIDTH, height=_ROW * len(order))


def _band(test: Comparison) -> list[alt.Chart]:
    tested = test.zero_refit
    if tested is None:
        return []
    ends = pd.DataFrame({"low": [tested.null_mean - 1.96 * tested.null_sd], "high": [tested.null_mean + 1.96 * tested.null_sd]})
    return [alt.Chart(ends).mark_rect(color=RULE, opacity=0.15).encode(x="low:Q", x2="high:Q")]
