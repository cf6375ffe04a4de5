"""The first lines of a randomization test's result: the score, the best constant answer, the null scores, p and its floor."""

from dataclasses import dataclass
from math import isfinite
from statistics import fmean, stdev

from shattering import stats
from shattering.brief import Brief
from shattering.compare.comparison import Comparison
from shattering.compare.permutation import PermutationTest
from shattering.compare.zero_refit import ZeroRefitTest
from shattering.data.exchange import words
from shattering.errors import counted


@dataclass(frozen=True, repr=False)
class HeadLine(Brief):
    """A line of the head: what it is about, and the numbers in words.

    Example:
        >>> print(HeadLine("Score", "test accuracy 86.8% on 500 examples"))
        Score      test accuracy 86.8% on 500 examples
    """

    name: str
    text: str

    def __str__(self) -> str:
        return f"{self.name:11}{self.text}"


def head(test: Comparison) -> list[HeadLine]:
    """Return the first lines: the score beside the best constant answer, the zero-refit test, and the test by refits.

    Args:
        test: the fits.
    """
    lines = [HeadLine("Score", _score(test))] if test.original.test_score is not None else []
    if test.zero_refit:
        lines.append(HeadLine("Zero-refit", _zero_refit(test, test.zero_refit)))
    if test.label_test:
        lines.append(HeadLine("Refits", _refits(test, test.label_test)))
    exchange = test.label_test.exchange if test.label_test else test.zero_refit.exchange if test.zero_refit else "free"
    if exchange != "free":
        lines.append(HeadLine("Labels", f"are permuted {words(exchange)}: {count(test.admissible, 'admissible permutation')}"))
    return lines


def count(admissible: float | None, word: str) -> str:
    """Return how many permutations there are, or what they give, in words whose plural is regular."""
    if admissible is None:
        return f"an unknown number of {word}s"
    if not isfinite(admissible):
        return f"more than 10^300 {word}s"
    digit, _, exponent = f"{admissible:.0e}".partition("e")
    return counted(int(admissible), word) if admissible < 1e6 else f"about {digit} x 10^{int(exponent)} {word}s"


def show(test: Comparison, value: float) -> str:
    """Return a score as text: an accuracy in percent, any other to four digits."""
    return stats.percent(value) if test.scoring == "accuracy" else f"{value:.4g}"


def spread(test: Comparison, mean: float, sd: float | None) -> str:
    """Return "mean ± standard deviation" of scores."""
    if sd is None:
        return show(test, mean)
    is_share = test.scoring == "accuracy"
    return f"{100 * mean:.1f} ± {100 * sd:.1f}%" if is_share else f"{mean:.4g} ± {sd:.2g}"


def null_spread(test: Comparison, tested: PermutationTest | ZeroRefitTest) -> str:
    """Return "mean ± standard deviation" of a test's null scores."""
    if isinstance(tested, ZeroRefitTest):
        return spread(test, tested.null_mean, tested.null_sd)
    scores = tested.null_scores
    return spread(test, fmean(scores), stdev(scores) if len(scores) > 1 else None)


def _score(test: Comparison) -> str:
    n = test.n_test
    constant = "" if test.best_constant is None else f"; best constant answer {show(test, test.best_constant)}"
    return f"test {test.scoring} {show(test, test.original_score())} on {counted(n, 'example')}{constant}"


def _zero_refit(test: Comparison, tested: ZeroRefitTest) -> str:
    many = counted(tested.n_permutations, "permutation")
    return f"permuted test {test.label_word} {null_spread(test, tested)}; {_p(tested)}; {many} of one fit"


def _refits(test: Comparison, tested: PermutationTest) -> str:
    stopped = f"; stopped at {tested.n_as_good} as good" if tested.sequential and tested.sequential.stopped else ""
    return f"permuted {test.label_word} {null_spread(test, tested)}; {_p(tested)}; {counted(tested.n_permutations, 'refit')}{stopped}"


def _p(tested: PermutationTest | ZeroRefitTest) -> str:
    verdict = "" if tested.has_verdict else f", no verdict from {count(tested.admissible, 'admissible permutation')}"
    return f"p = {tested.p_value:.3g} (floor {tested.floor:.3g}{verdict})"
