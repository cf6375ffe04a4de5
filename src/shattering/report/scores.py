"""The chart at the head of a report: train and test scores, one row per randomization, with chance and the scores of guesses."""

from collections.abc import Mapping, Sequence
from math import sqrt

import altair as alt
import pandas as pd

from shattering.errors import printable
from shattering.report.charts import Chart, below, names_of, reference, series
from shattering.report.style import RULE
from shattering.report.tables import by_subject, subject_title, summary_rows
from shattering.runs.store import Runs, models_in

SPLITS = ["train", "test"]
MOST_PANELS = 4  # configurations that are drawn
_ROW, _LOW_ROW, _WIDTH = 44, 28, 620  # heights of a randomization, in one panel and in several; and width of the scores, in pixels
_SHARE = [0, 1]


def score_rows(
    data: pd.DataFrame,
    order: Sequence[str],
    title: str,
    marked: Mapping[str, float | None],
    band: tuple[float, float] | None = None,
    is_share: bool = True,
) -> Chart:
    """Draw train and test scores, one row per randomization.

    Args:
        data: one row per score, with the columns randomization, repeat, split ("train" or "test") and score.
        order: the randomizations, from the top.
        title: of the axis of scores.
        marked: name → score at which an upright line stands; none for None.
        band: from where to where a grey band reaches.
        is_share: if the scores are accuracies, in 0…1.
    """
    axis = alt.Axis(format="%") if is_share else alt.Axis()
    base = alt.Chart(data).encode(
        x=alt.X("score:Q", title=title, axis=axis, scale=alt.Scale(domain=_SHARE) if is_share else alt.Undefined),
        y=alt.Y("randomization:N", title=None, sort=list(order), axis=alt.Axis(labelLimit=240)),
        yOffset=alt.YOffset("split:N", sort=SPLITS),
    )
    points = base.mark_point(opacity=0.75).encode(
        **series("split", SPLITS),
        tooltip=[alt.Tooltip("randomization:N"), alt.Tooltip("repeat:O"), alt.Tooltip("split:N"), alt.Tooltip("score:Q", format=".4f")],
    )
    ends = pd.DataFrame({"low": [band[0]], "high": [band[1]]}) if band else None
    bands = [] if ends is None else [alt.Chart(ends).mark_rect(color=RULE, opacity=0.15).encode(x="low:Q", x2="high:Q")]
    rules = [reference(name, 2 + 16 * i, x=score) for i, (name, score) in enumerate(marked.items()) if score is not None]
    return alt.layer(points, *bands, *rules).properties(width=_WIDTH, height=_ROW * len(order))


def run_scores(runs: Runs) -> Chart | None:
    """Draw the scores of stored runs, one panel per configuration, the first `MOST_PANELS` of them; None without runs that are done.

    A line is at chance, and a band where 95 % of the accuracies of guesses lie.

    Example:
        >>> run_scores([]) is None
        True
    """
    subjects = by_subject(row for row in summary_rows(models_in(runs)) if row["seeds"])
    titles = _titles(subjects) if len(subjects) > 1 else [None] * len(subjects)
    panels = [_panel(subject, title) for subject, title in zip(subjects[:MOST_PANELS], titles, strict=False)]
    return below(panels) if panels else None


def _titles(subjects: Sequence[dict]) -> list[str]:
    """Return the title of each configuration, with the hyperparameters where titles would be the same."""
    titles = [subject_title(subject) for subject in subjects]
    return [
        f"{title}, {subject['hyperparameters']}" if subject["hyperparameters"] and titles.count(title) > 1 else title
        for title, subject in zip(titles, subjects, strict=True)
    ]


def _panel(subject: dict, title: str | None) -> Chart:
    """Draw the scores of one configuration."""
    points = [
        {"randomization": row["randomization"], "repeat": number, "split": split, "score": score}
        for row in subject["rows"]
        for number, scores in enumerate(row["scores"], start=1)
        for split, score in zip(SPLITS, scores, strict=True)
    ]
    chance, name = subject["rows"][0]["chance"], subject["rows"][0]["score"]
    band = None
    if chance is not None and subject["n_test"]:
        half = 1.96 * sqrt(chance * (1 - chance) / subject["n_test"])
        band = max(0.0, chance - half), chance + half
    order = names_of(row["randomization"] for row in subject["rows"])
    chart = score_rows(pd.DataFrame(points), order, f"{name or 'accuracy'} (higher is better)", {"chance": chance}, band, name is None)
    return chart.properties(title=printable(title), height=_LOW_ROW * len(order)) if title else chart
