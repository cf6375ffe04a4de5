"""The chart of a randomization test."""

import pandas as pd

from shattering.compare.comparison import Comparison
from shattering.compare.plan import ORIGINAL
from shattering.report.charts import Chart
from shattering.report.figures import loss_curves, memorization_curves
from shattering.report.scores import score_rows


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
    marked = {"original data": test.original.test_score, "best constant answer": test.best_constant}
    z = test.zero_refit
    band = None if z is None else (z.null_mean - 1.96 * z.null_sd, z.null_mean + 1.96 * z.null_sd)
    is_share, title = test.scoring == "accuracy", f"{test.scoring} (higher is better)"
    if band and is_share:  # of a few examples, mean ± 1.96 standard deviations may reach beyond
        band = max(0.0, band[0]), min(1.0, band[1])
    return score_rows(pd.DataFrame(rows), order, title, marked, band, is_share)
