"""The chart of a randomization test."""

import altair as alt
import pandas as pd

from shattering.compare.comparison import Comparison
from shattering.compare.plan import ORIGINAL
from shattering.report.charts import TEST, TRAIN, Chart, color, reference

SPLITS = {"train": TRAIN, "test": TEST}
_ROW = 44  # height of a randomization, in pixels


def score_chart(test: Comparison) -> Chart:
    """Draw train and test scores of every repeat, one row per randomization, with a rule at the original test score."""
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
    return alt.layer(points, reference(x=test.original.test_score)).properties(width=460, height=_ROW * len(order))
