"""Charts of a randomization test."""

import altair as alt
import pandas as pd

from shattering.compare.plan import ORIGINAL
from shattering.compare.result import RandomizationTest
from shattering.report.figures import Chart

SPLITS = {"train": "#8a6d00", "test": "#1769aa"}
_ROW = 44  # height of a randomization, in pixels


def score_chart(test: RandomizationTest) -> Chart:
    """Train and test scores of every draw, a row a randomization, with a rule at the original test score."""
    rows = [
        {"randomization": draw.randomization.title, "draw": draw.number, "split": split, "score": score}
        for draw in test.draws
        if draw.status == "done"
        for split in SPLITS
        if (score := getattr(draw, f"{split}_score")) is not None
    ]
    order = [r.title for r in (ORIGINAL, *test.randomizations)]
    axis = alt.Axis(format="%") if test.scoring == "accuracy" else alt.Axis()
    colors = alt.Scale(domain=list(SPLITS), range=list(SPLITS.values()))
    base = alt.Chart(pd.DataFrame(rows)).encode(
        x=alt.X("score:Q", title=f"{test.scoring} (higher is better)", axis=axis),
        y=alt.Y("randomization:N", title=None, sort=order, axis=alt.Axis(labelLimit=240)),
        yOffset=alt.YOffset("split:N", sort=list(SPLITS)),
    )
    points = base.mark_point(size=70, filled=True, opacity=0.75).encode(
        color=alt.Color("split:N", scale=colors, title=None, legend=alt.Legend(orient="bottom")),
        shape=alt.Shape("split:N", scale=alt.Scale(domain=list(SPLITS)), title=None, legend=alt.Legend(orient="bottom")),
        tooltip=[alt.Tooltip("randomization:N"), alt.Tooltip("draw:O"), alt.Tooltip("split:N"), alt.Tooltip("score:Q", format=".4f")],
    )
    original = pd.DataFrame({"score": [test.original.test_score]})
    rule = alt.Chart(original).mark_rule(strokeDash=[5, 4], color="#666").encode(x="score:Q")
    return alt.layer(points, rule).properties(width=460, height=_ROW * len(order))
