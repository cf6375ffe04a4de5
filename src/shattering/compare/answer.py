"""The answer of a randomization test in words: whether the model learns, what it can memorize, what label noise costs it.

Each verdict has a threshold, named in `shattering.report.answer` or in `shattering.compare.sentences`, and tested.
"""

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

from shattering.brief import Brief
from shattering.compare.comparison import Comparison
from shattering.compare.head import null_spread, show
from shattering.compare.memorization import Memorization, judge
from shattering.compare.permutation import PermutationTest
from shattering.compare.plan import LABEL_TEST
from shattering.compare.sentences import LEVEL
from shattering.compare.zero_refit import ZeroRefitTest
from shattering.stats import percent

WIDTH = 80  # characters of a printed line


@dataclass(frozen=True, repr=False)
class AnswerLine(Brief):
    """One line of the answer.

    Args:
        name: what is asked: "Learns", "Memorizes" or "Label noise".
        verdict: "yes", "barely" (no better than a constant answer), "no evidence" or "not judged"; "all", "nearly all", "part",
            "hardly" or "not judged"; "" for label noise, which has none.
        text: the numbers.

    Example:
        >>> print(AnswerLine("Memorizes", "all", "100.0% training accuracy on permuted labels"))
        Memorizes    all    100.0% training accuracy on permuted labels
    """

    name: str
    verdict: str
    text: str

    def __str__(self) -> str:
        return f"{self.name:12} {self.verdict:6} {self.text}"


def answer(test: Comparison, memorizations: Sequence[Memorization]) -> list[AnswerLine]:
    """Return the answer, a line per question that the fits can answer.

    Args:
        test: the fits.
        memorizations: one per partial corruption of the labels.

    Example:
        >>> [line.name for line in answer(test, test.memorization)]
        ['Learns', 'Memorizes']
    """
    return [*_learns(test), *_memorizes(test), *(_label_noise(test, m) for m in memorizations)]


def not_shown(test: Comparison) -> list[str]:
    """Return what the answer does not show, in parts of a sentence.

    Example:
        >>> not_shown(test)[0]
        'what it learns (a leak or a shortcut in the data counts, too)'
    """
    parts = ["what it learns (a leak or a shortcut in the data counts, too)"]
    accuracy = _on_random_labels(test)
    if accuracy is not None and judge(test, accuracy)[0] in ("all", "nearly all"):
        parts.append("that it has memorized the original labels (it only could)")
    return [*parts, "how it does on data from elsewhere"]


def printed(lines: Sequence[AnswerLine], rest: Sequence[str]) -> list[str]:
    """Return the answer and what it does not show as lines of at most `WIDTH` characters, one column for each verdict.

    Example:
        >>> print(*printed([AnswerLine("Memorizes", "all", "100.0% training accuracy")], ["what it learns"]), sep="\\n")
          Memorizes    all  100.0% training accuracy
          Not shown         what it learns
    """
    widest = max((len(line.verdict) for line in lines), default=0)
    rows = [*lines, AnswerLine("Not shown", "", "; ".join(rest))]
    starts = [f"  {row.name:12} {row.verdict:{widest}}  " for row in rows]
    return [
        line
        for start, row in zip(starts, rows, strict=True)
        for line in textwrap.wrap(row.text, WIDTH, initial_indent=start, subsequent_indent=" " * len(start), break_on_hyphens=False)
    ]


def _learns(test: Comparison) -> Iterator[AnswerLine]:
    score = test.original.test_score
    if score is None:
        return
    constant = "" if test.best_constant is None else f"; best constant answer {show(test, test.best_constant)}"
    text = f"{show(test, score)} test {_score_name(test)}{constant}"
    tested = _decisive(test)
    if tested is None:
        yield AnswerLine("Learns", "not judged", text)
        return
    rejects = tested.p_value <= LEVEL
    if not tested.has_verdict or not (rejects or _could_reject(tested)):
        verdict = "not judged"
    elif not rejects:
        verdict = "no evidence"
    else:
        verdict = "barely" if test.best_constant is not None and score <= test.best_constant else "yes"
    also = _other(test, tested)
    yield AnswerLine("Learns", verdict, f"{text}, permuted {test.label_word} {null_spread(test, tested)} (p = {tested.p_value:.3g}{also})")


def _decisive(test: Comparison) -> ZeroRefitTest | PermutationTest | None:
    """Return the test that the verdict is from: that of the fitted model, or else that by refits."""
    if test.zero_refit and (test.zero_refit.has_verdict or not test.label_test):
        return test.zero_refit
    return test.label_test


def _other(test: Comparison, tested: ZeroRefitTest | PermutationTest) -> str:
    """Return the p-value by refits where it says something else than the test that the verdict is from."""
    refits = test.label_test
    if refits is None or refits is tested or (refits.p_value <= LEVEL) == (tested.p_value <= LEVEL):
        return ""
    return f"; by refits p = {refits.p_value:.3g}" if refits.p_value <= LEVEL or _could_reject(refits) else ""


def _could_reject(tested: ZeroRefitTest | PermutationTest) -> bool:
    stopped = isinstance(tested, PermutationTest) and tested.sequential is not None and tested.sequential.stopped
    return stopped or tested.floor <= LEVEL


def _score_name(test: Comparison) -> str:
    return "R²" if test.scoring == "r2" else test.scoring


def _on_random_labels(test: Comparison) -> float | None:
    """Return the mean training accuracy, or R², on permuted or random labels."""
    if not test.is_regression:
        return test.random_label_accuracy
    scores = [repeat.train_score for repeat in test.random_label_repeats] if test.scoring == "r2" else []
    known = [score for score in scores if score is not None]
    return fmean(known) if known else None


def _memorizes(test: Comparison) -> Iterator[AnswerLine]:
    accuracy = _on_random_labels(test)
    if accuracy is None:
        return
    extent, constant, of = judge(test, accuracy)
    fitted = f"{accuracy:.3g} training R²" if test.is_regression else f"{percent(accuracy)} training accuracy"
    labels = ("permuted" if test.of(LABEL_TEST) else "random") + (" targets" if test.is_regression else " labels")
    is_all = extent in ("all", "nearly all")
    least = f"{constant:.3g}" if test.is_regression else percent(constant)
    baseline = "" if is_all or not constant else f"; {of} {least}"
    yield AnswerLine("Memorizes", extent, f"{fitted} on {labels}{baseline}")


def _label_noise(test: Comparison, m: Memorization) -> AnswerLine:
    scores = test.test_scores(m.randomization)
    if not scores:
        return AnswerLine("Label noise", "", f"{percent(m.memorized)} of {m.corrupted:.0%} wrong labels are reproduced")
    cost = test.original_score() - fmean(scores)
    is_share = test.scoring == "accuracy"
    size = f"{100 * abs(cost):.1f} points of" if is_share else f"{abs(cost):.2g} of"
    wrong = f"{m.corrupted:.0%} wrong labels"
    change = f"{wrong} cost {size} test {_score_name(test)}" if cost > 0 else f"{wrong} cost no test {_score_name(test)}"
    return AnswerLine("Label noise", "", f"{change}; {percent(m.memorized)} of them are reproduced")
