"""Diagnose why a model did not fit random labels in a randomization test, from one of its runs."""

from collections.abc import Sequence

from shattering.compare.comparison import Comparison
from shattering.diagnose.diagnose import diagnose
from shattering.diagnose.finding import Finding, most_likely_first
from shattering.report.answer import FITS
from shattering.runs.stored import Run


def find_unfitted(test: Comparison) -> Run | None:
    """Return the first run on permuted (or else random) labels that did not fit; None if they are fitted on average, or absent."""
    if test.random_label_accuracy is None or test.random_label_accuracy >= FITS:
        return None
    runs = [run for repeat in test.random_label_repeats for run in repeat.runs]
    return next(run for run in runs if run.result["train_accuracy"] < FITS)


def diagnose_test(test: Comparison) -> list[Finding]:
    """Diagnose the run that `find_unfitted` returns, and add what a budget has left out; empty without such a run."""
    run = find_unfitted(test)
    if run is None:
        return []
    others = [repeat.runs[0] for repeat in test.of(run.spec.randomization) if run not in repeat.runs]
    findings = diagnose(run, test.objects, others)
    cut = next((sentence for sentence in test.left_out if " epochs" in sentence), None)
    if cut:
        remedy = "Run the test without a budget, or with a larger one."
        findings.insert(0, Finding("epochs cut by the budget", cut, remedy, "likely"))
    return most_likely_first(findings)


def explain(test: Comparison, findings: Sequence[Finding]) -> list[str]:
    """Return the findings in lines, or one line if there are none; empty if random labels are fitted, or absent."""
    run = find_unfitted(test)
    if run is None:
        return []
    if not findings:
        return ["Why it did not fit random labels was not found in its parameters, data or history."]
    at = f"seed {run.spec.seed}, training accuracy {run.result['train_accuracy']:.1%}"
    return [f"Why it may not have fitted random labels ({at}):", *(f"- {finding}" for finding in findings)]
