"""The report of a randomization test: one page that opens offline; and its short form for notebooks."""

import base64

import pandas as pd
import vl_convert
from markupsafe import Markup, escape

from shattering.compare.figures import score_chart
from shattering.compare.plan import ORIGINAL
from shattering.compare.result import RandomizationTest, shown
from shattering.errors import printable
from shattering.report import figures as report_figures
from shattering.report.page import picture_strips, render_template
from shattering.runs.store import UNREADABLE
from shattering.version import VERSION

SUSPECTS = 20  # examples shown whose label is likely wrong
CAPTIONS = {
    "scores": "Train and test scores of every draw. The dashed line is the test score on the original data.",
    "memorization": "What is fitted of the clean and of the wrongly labelled training examples, epoch by epoch, just before each update; "
    "the first draw.",
    "loss": "Training loss over steps, averaged over each epoch, of the first draw of each randomization.",
}


def render_test(test: RandomizationTest) -> str:
    """The page as text. All text from outside is escaped."""
    firsts = [test.of(r)[0].runs[0] for r in (ORIGINAL, *test.randomizations) if test.of(r)]
    charts = {
        "scores": score_chart(test),
        "memorization": report_figures.memorization_curves([run for run in firsts if run.spec.randomization.labels < 1]),
        "loss": report_figures.loss_curves(firsts),
    }
    strips, unseen = picture_strips(test.runs)
    return render_template(
        "test.html.j2",
        [run for run in test.runs if run.status in ("done", "failed", *UNREADABLE)],
        f"{test.model} on {test.dataset}",
        charts,
        filters={"score": lambda value: _score(test, value), "p": lambda value: "–" if value is None else f"{value:.3g}"},
        test=test,
        rows=test.rows,
        strips=strips,
        unseen=unseen,
        methods=methods(test),
        captions=CAPTIONS,
        suspects=_suspects(test),
    )


def _suspects(test: RandomizationTest) -> list[dict]:
    """The first of the original examples whose label is likely wrong, with the names of the classes."""
    if test.suspects is None:
        return []
    result = test.original.runs[0].result
    names = dict(zip(result.get("label_values", range(result["n_classes"])), result["classes"], strict=True))
    rows = test.suspects.head(SUSPECTS).astype(object).where(test.suspects.head(SUSPECTS).notna(), None).to_dict("records")
    return [{**row, **{name: names[row[name]] for name in ("label", "final_prediction")}} for row in rows]


def _score(test: RandomizationTest, value: float | None) -> str:
    if value is None:
        return "–"
    return f"{100 * value:.1f}" if test.scoring == "accuracy" else f"{value:.4g}"


def notebook_html(test: RandomizationTest) -> str:
    """Summary, table and chart for a notebook's cell; the chart is a picture, so that it shows everywhere."""
    columns = test.table[["randomization", "draws", "train_score", "test_score", "gap", "time_ratio", "effect", "p_value"]]
    png = vl_convert.vegalite_to_png(report_figures.to_spec(score_chart(test)), scale=1.5)
    picture = base64.b64encode(png).decode()
    items = Markup("").join(Markup("<li>{}</li>").format(printable(sentence)) for sentence in test.summary)
    table = shown(pd.DataFrame(columns)).to_html(index=False, border=0)
    name = f"<strong>{escape(printable(test.model))} on {escape(printable(test.dataset))}</strong>"
    return (
        f"<div><p>{name}, n = {test.n_train:,}</p><ul>{items}</ul>{table}"
        f'<img alt="Train and test scores of every draw of each randomization" src="data:image/png;base64,{picture}"></div>'
    )


def methods(test: RandomizationTest) -> str:
    """A paragraph for a paper's methods section: what was done, with which data, draws and versions."""
    run = test.original.runs[0]
    spec, result = run.spec, run.result
    torch, scikit_learn = (run.provenance["versions"].get(name) or "unknown" for name in ("torch", "scikit-learn"))
    noise = "; ".join(f"{r.title} ({len(test.of(r))} draws)" for r in test.randomizations)
    how = f"{spec.folds}-fold stratified cross-validation" if spec.folds else f"a test set of {result['n_test']:,} examples"
    tested = " ".join(
        f"The permutation p-value for the null hypothesis that {t.null} is {t.p_value:.3g} ({t.n_as_good} of {t.n_draws} draws scored at "
        f"least as high{f', the {t.n_failed} without a score among them' if t.n_failed else ''}; (C + 1)/(B + 1), Ojala and Garriga 2010)."
        for t in test.tests.values()
    )
    return (
        f"We trained {test.model} on {test.n_train:,} examples of {test.dataset} ({result['n_classes']} classes) and on randomized "
        f"copies: {noise} (Zhang et al. 2017). Scores are {test.scoring} on {how}. {tested} {_drawn(test)} "
        f"have independent seeds derived from {spec.seed}. Run with shattering {VERSION}, PyTorch {torch} and "
        f"scikit-learn {scikit_learn} on {run.provenance['processor']}."
    )


def _drawn(test: RandomizationTest) -> str:
    """What the fits of a test start from, and what is drawn for each of them; the beginning of a sentence about seeds."""
    if test.start == "given":
        return "Every fit was fine-tuned from the same given weights. Subset, noise and batch order"
    again = "Every fit started from weights that its layers had drawn anew. " if test.start == "reinitialized" else ""
    return f"{again}Subset, noise, initialization and batch order"
