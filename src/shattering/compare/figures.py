"""The chart of a randomization test."""

import altair as alt
import pandas as pd

from shattering.compare.comparison import Comparison
from shattering.compare.plan import ORIGINAL
from shattering.report.charts import NOTE, RULE, TEST, TRAIN, Chart, color, reference

SPLITS = {"train": TRAIN, "test": TEST}
_ROW, _WIDTH = 44, 620  # height of a randomization and width of the scores, in pixels


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
        yOffset=alt.YOffset("split:N", sort=list(SPLITS)),
    )
    points = base.mark_point(size=70, filled=True, opacity=0.75).encode(
        color=color("split", list(SPLITS), list(SPLITS.values())),
        shape=alt.Shape("split:N", scale=alt.Scale(domain=list(SPLITS)), title=None),
        tooltip=[alt.Tooltip("randomization:N"), alt.Tooltip("repeat:O"), alt.Tooltip("split:N"), alt.Tooltip("score:Q", format=".4f")],
    )
    marked = [_named(test.original.test_score, "original data", -6)] if test.original.test_score is not None else []
    marked += [_named(test.best_constant, "best constant answer", -20)] if test.best_constant is not None else []
    return alt.layer(points, *_band(test), *(layer for layers in marked for layer in layers)).properties(
        width=_WIDTH, height=_ROW * len(order)
    )


def _named(score: float, name: str, y: int) -> tuple[alt.Chart, alt.Chart]:
    """Return a rule at a score, and its name above the plot."""
    at = pd.DataFrame({"x": [score], "name": [name]})
    return reference(x=score), alt.Chart(at).mark_text(color=NOTE).encode(x="x:Q", y=alt.value(y), text="name:N")


def _band(test: Comparison) -> list[alt.Chart]:
    tested = test.zero_refit
    if tested is None:
        return []
    ends = pd.DataFrame({"low": [tested.null_mean - 1.96 * tested.null_sd], "high": [tested.null_mean + 1.96 * tested.null_sd]})
    return [alt.Chart(ends).mark_rect(color=RULE, opacity=0.15).encode(x="low:Q", x2="high:Q")]
