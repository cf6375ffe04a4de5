"""The report of a randomization test: one page that opens offline; and its short form for notebooks."""

import base64
import inspect
from collections.abc import Sequence

import pandas as pd
from markupsafe import Markup, escape

from shattering.compare.answer import AnswerLine
from shattering.compare.comparison import Comparison
from shattering.compare.figures import score_chart, test_charts
from shattering.compare.head import HeadLine
from shattering.compare.plan import null_of
from shattering.compare.table import format_table
from shattering.diagnose.finding import Finding
from shattering.errors import InputError, counted, printable
from shattering.identity.names import label
from shattering.randomization import Randomization
from shattering.report.answer import FITS, Card
from shattering.report.charts import load_drawer, to_spec
from shattering.report.page import picture_strips, render_template
from shattering.runs.stored import UNREADABLE
from shattering.stats import percent
from shattering.version import VERSION

LABEL_ISSUES = 20  # examples shown whose label is likely wrong
SCORES = (
    "Train and test scores of every repeat. Dashed lines: the test score on the original data, and that of the best constant answer. "
    "Grey band: 95 % of the scores against permuted test labels."
)
CAPTIONS = {
    "memorization": "The fractions of the clean and of the corrupted training labels that are fitted, epoch by epoch, just before each "
    "update; the first repeat.",
    "loss": "Training loss over steps, averaged over each epoch, of the first repeat of each randomization.",
}


def render_test(
    test: Comparison,
    *,
    rows: Sequence[dict],
    answer: Sequence[AnswerLine],
    conclusion: str | None,
    not_shown: Sequence[str],
    cautions: Sequence[str],
    head: Sequence[HeadLine],
    summary: Sequence[str],
    label_issues: pd.DataFrame | None,
    diagnosis: Sequence[Finding],
    explanation: Sequence[str],
) -> str:
    """Return the page as text. All text from outside is escaped."""
    charts = test_charts(test)
    strips, unseen = picture_strips(test.runs)
    train_accuracy = test.original.mean("train_accuracy")
    return render_template(
        "test.html.j2",
        [run for run in test.runs if run.status in ("done", "failed", *UNREADABLE)],
        f"{test.model} on {test.dataset}",
        charts,
        filters={"score": lambda value: _score(test, value), "p": lambda value: "–" if value is None else f"{value:.3g}"},
        test=test,
        rows=rows,
        cards=[_card(line) for line in answer],
        conclusion=conclusion,
        not_shown=not_shown,
        cautions=cautions,
        head=head,
        summary=[sentence for sentence in summary if sentence not in cautions],
        diagnosis=diagnosis,
        explanation=explanation,
        strips=strips,
        unseen=unseen,
        methods=methods(test),
        scores_caption=SCORES,
        captions=CAPTIONS,
        label_issues=_first_issues(test, label_issues),
        unfitted=train_accuracy if train_accuracy is not None and train_accuracy < FITS else None,
    )


def _card(line: AnswerLine) -> Card:
    """Return a line of the answer as a card; one without a verdict says the first of its numbers."""
    if line.verdict:
        return Card(line.name, line.verdict, line.text)
    said, *rest = line.text.split("; ")
    return Card(line.name, said, "; ".join(rest))


def _first_issues(test: Comparison, label_issues: pd.DataFrame | None) -> list[dict]:
    """Return the first rows of the label issues, with class names in place of labels."""
    if label_issues is None:
        return []
    result = test.original.runs[0].result
    names = dict(zip(result.get("label_values", range(result["n_classes"])), result["classes"], strict=True))
    first = label_issues.head(LABEL_ISSUES)
    rows = first.astype(object).where(first.notna(), None).to_dict("records")
    return [{**row, "label": names[row["label"]], "final_prediction": names[row["final_prediction"]]} for row in rows]


def _score(test: Comparison, value: float | None) -> str:
    if value is None:
        return "–"
    return percent(value, ">99.9%").removesuffix("%") if test.scoring == "accuracy" else f"{value:.4g}"


def notebook_html(
    test: Comparison, table: pd.DataFrame, answer: Sequence[AnswerLine], not_shown: Sequence[str], summary: Sequence[str]
) -> str:
    """Return answer, sentences, table and chart for a notebook's cell; the chart is a picture, so that it shows everywhere."""
    columns = table[["randomization", "repeats", "train_score", "test_score", "gap", "time_ratio", "effect", "p_value"]]
    left = 'style="text-align:left"'
    row = Markup(f"<tr><th {left}>{{}}</th><td {left}><strong>{{}}</strong></td><td {left}>{{}}</td></tr>")
    lines = [*((line.name, line.verdict, line.text) for line in answer), ("Not shown", "", "; ".join(not_shown))]
    answers = Markup("").join(row.format(*map(printable, line)) for line in lines)
    items = Markup("").join(Markup("<li>{}</li>").format(printable(sentence)) for sentence in summary)
    shown = format_table(pd.DataFrame(columns)).to_html(index=False, border=0)
    name = f"<strong>{escape(printable(test.model))} on {escape(printable(test.dataset))}</strong>"
    return f"<div><p>{name}, n = {test.n_train:,}</p><table>{answers}</table><ul>{items}</ul>{shown}{_notebook_picture(test)}</div>"


def _notebook_picture(test: Comparison) -> str:
    """Return the chart of scores as an image; without the package that draws it, a sentence that says so."""
    try:
        png = load_drawer("the picture of the scores").vegalite_to_png(to_spec(score_chart(test)), scale=1.5)
    except InputError as lacking:
        return f"<p>{escape(str(lacking))}</p>"
    picture = base64.b64encode(png).decode()
    return f'<img alt="Train and test scores of every repeat of each randomization" src="data:image/png;base64,{picture}">'


def methods(test: Comparison) -> str:
    """Return a paragraph for a paper's methods section: what was done, with which data, repeats and versions."""
    run = test.original.runs[0]
    spec, result = run.spec, run.result
    torch, scikit_learn = (run.provenance["versions"].get(name) or "unknown" for name in ("torch", "scikit-learn"))
    labels = "numbers to predict" if test.is_regression else f"{result['n_classes']} classes"
    noise = "; ".join(f"{test.title(r)} ({_count(test, r)})" for r in test.randomizations)
    kind = "" if test.is_regression else " stratified"
    folds = f"{spec.folds}-fold cross-validation by {label(spec.cv)}" if spec.cv else f"{spec.folds}-fold{kind} cross-validation"
    how = folds if spec.folds else f"a test set of {result['n_test']:,} examples"
    tested = " ".join(
        f"The permutation p-value for the null hypothesis that {t.null} is {t.p_value:.3g} ({t.n_as_good} of {t.n_permutations} "
        f"permutations scored at least as high{f', the {t.n_failed} without a score among them' if t.n_failed else ''}; "
        f"{t.formula})."
        for t in test.tests.values()
    )
    if test.label_test and test.label_test.exchange != "free":
        tested += f" Labels were permuted {test.label_test.permuted}."
    if z := test.zero_refit:
        tested += (
            f" Without refits, the p-value for the null hypothesis that test labels are exchangeable given inputs and the fitted model is "
            f"{z.p_value:.3g} ({z.n_as_good} of {z.n_permutations:,} permutations of the test labels scored at least as high)."
        )
    return (
        f"We trained {test.model}{_settings(test)} on {test.n_train:,} examples of {test.dataset} ({labels}) and "
        f"on randomized copies: {noise} (Zhang et al. 2017). Scores are {test.scoring} on {how}. {tested} {_seeded(test)} "
        f"have independent seeds derived from {spec.seed}. Run with shattering {VERSION}, PyTorch {torch} and "
        f"scikit-learn {scikit_learn} on {run.provenance['processor']}."
    )


def _settings(test: Comparison) -> str:
    """Return the hyperparameters of the model that are not at their defaults, in parentheses; "" if there are none."""
    spec = test.original.runs[0].spec
    model = (test.objects or {}).get(spec.model)
    if model is None:
        changed = {name: value for name, value in spec.hyperparameters().items() if name != "network"}
    else:
        defaults = {name: parameter.default for name, parameter in inspect.signature(type(model)).parameters.items()}
        values = model.get_params(deep=False)
        changed = {name: value for name, value in values.items() if repr(value) != repr(defaults.get(name))}
    shown = {name: " ".join(repr(value).split()) for name, value in changed.items()}
    said = ", ".join(f"{name} = {text}" for name, text in shown.items() if " at 0x" not in text)  # an address says nothing
    return f" ({said})" if said else ""


def _count(test: Comparison, r: Randomization) -> str:
    n = sum(p.status == "done" for p in test.permutations(r))
    return counted(n, "permutation" if null_of(r) else "repeat")


def _seeded(test: Comparison) -> str:
    """Return the beginning of a sentence about seeds: what the fits start from, and what is random in each of them."""
    if test.start == "given":
        return "Every fit was fine-tuned from the same given weights. Subset, noise and batch order"
    again = "Every fit started from weights that its layers had drawn anew. " if test.start == "reinitialized" else ""
    return f"{again}Subset, noise, initialization and batch order"
