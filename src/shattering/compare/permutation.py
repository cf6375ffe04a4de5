"""A permutation of a test as it was scored, and the p-value that follows from all of them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf

from shattering import stats
from shattering.brief import Brief
from shattering.compare.plan import Numbered, Plan, null_of, without_exchange
from shattering.compare.repeat import Repeat
from shattering.data.exchange import shown_exchange, words
from shattering.randomization import Randomization
from shattering.runs.permuted import scores_of
from shattering.runs.store import Store

LEAST_ORDERS = 20  # admissible permutations, below which there is no verdict: p could not be 0.05


@dataclass(frozen=True, repr=False)
class Permutation(Brief):
    """The score of one permutation, or of the original data.

    Args:
        randomization: how the data were permuted.
        number: the index among the permutations, from 0.
        status: "done", "failed", or what its run is otherwise.
        score: against labels that are permuted as the training labels are; None without one.
        seed: of the permutation.
        fit_seconds: that its fits took; None if they are not known.
        run_id: of the run, or batch, that has it; of the first fold.
        error: why it failed.

    Example:
        >>> p = test.permutations(test.repeats[-1].randomization)[0]
        >>> p.number, p.status
        (0, 'done')
    """

    randomization: Randomization
    number: int
    status: str
    score: float | None
    seed: int
    fit_seconds: float | None = None
    run_id: str = ""
    error: str | None = None

    @property
    def is_begun(self) -> bool:
        """True if it was begun, whatever came of it."""
        return self.status != "missing"


def read_repeat(plan: Plan, store: Store, numbered: Numbered) -> Repeat:
    """Return a repeat whose fits are stored runs, as a store has it."""
    r, (number, *_) = numbered
    return Repeat(r, number, tuple(store.of(spec).whole() for spec in plan.fits(r, number)))


def read_permutations(plan: Plan, store: Store, numbered: Numbered) -> list[Permutation]:
    """Return repeats that were run together, as a store has them."""
    r, numbers = numbered
    if plan.is_alone(numbered):
        return [permutation_of(read_repeat(plan, store, numbered))]
    batch = store.of(plan.batch(r, numbers)).whole()
    rows = scores_of(batch)
    rest = batch.status if batch.status in ("failed", "damaged", "newer") else "missing"
    found = []
    for number, seed in zip(numbers, batch.spec.seeds, strict=True):
        row = rows[number - numbers[0]] if number - numbers[0] < len(rows) else None
        if row is None:
            found.append(Permutation(r, number, rest, None, seed, None, batch.run_id, batch.error))
        else:
            status = "done" if row["error"] is None else "failed"
            found.append(Permutation(r, number, status, row["score"], seed, row["fit_seconds"], batch.run_id, row["error"]))
    return found


def permutation_of(repeat: Repeat) -> Permutation:
    """Return the permutation that a repeat is."""
    first = repeat.runs[0]
    status = repeat.status if repeat.begun else "missing"
    about = (repeat.fit_seconds, first.run_id, repeat.error)
    return Permutation(repeat.randomization, repeat.number, status, repeat.null_score, first.spec.seed, *about)


@dataclass(frozen=True, repr=False)
class PermutationTest(Brief):
    """A permutation p-value and the scores that it was computed from. Higher scores are better.

    Args:
        null: the null hypothesis, in words.
        score: of the original data.
        null_scores: one per permutation that has a score.
        n_failed: permutations that were begun and have no score. They count as at least as good as the original data, see
            `shattering.stats.permutation_p_value`.
        exchange: how labels were exchanged, see `shattering.data.exchange`.
        admissible: how many different label vectors that gives; None if it is not known.
        sequential: the count up to the permutation at which the test stopped (Besag and Clifford 1991); None if it was to do all.

    Example:
        >>> tested = PermutationTest("labels do not depend on the features", 0.9, (0.4, 0.5, 0.6))
        >>> tested.p_value, tested.n_permutations
        (0.25, 3)
    """

    null: str
    score: float
    null_scores: tuple[float, ...]
    n_failed: int = 0
    exchange: str = "free"
    admissible: float | None = inf
    sequential: stats.Sequential | None = field(default=None, repr=False)

    @property
    def n_permutations(self) -> int:
        """The number of permutations that count, failed ones included."""
        return self.sequential.n if self.sequential else len(self.null_scores) + self.n_failed

    @property
    def n_as_good(self) -> int:
        """The number of permutations at least as good as the original data, failed ones included."""
        return self.sequential.n_as_good if self.sequential else stats.n_as_good(self.score, self.null_scores) + self.n_failed

    @property
    def p_value(self) -> float:
        """(n_as_good + 1) / (n_permutations + 1), or n_as_good / n_permutations if the test stopped early; but not below the floor.

        Of few admissible permutations, drawn with repetition, one may be drawn less often than its share.
        """
        if self.sequential:
            return max(self.sequential.p_value, self.floor)
        return max(stats.permutation_p_value(self.score, self.null_scores, self.n_failed), self.floor)

    @property
    def formula(self) -> str:
        """The formula of the p-value, with its source."""
        if self.sequential and self.sequential.stopped:
            return "C/B at the C-th permutation as good, Besag and Clifford 1991"
        return "(C + 1)/(B + 1), Ojala and Garriga 2010"

    @property
    def floor(self) -> float:
        """The smallest p-value that is possible: 1 / min(n_permutations + 1, admissible)."""
        return stats.p_floor(self.n_permutations, self.admissible)

    @property
    def has_verdict(self) -> bool:
        """False if there are fewer than 20 admissible permutations, too few to tell anything at 5 %."""
        return self.admissible is None or self.admissible >= LEAST_ORDERS

    @property
    def permuted(self) -> str:
        """The way in which labels were permuted, in words that follow "labels were permuted"."""
        return words(self.exchange)


def permutation_test(
    r: Randomization, score: float, permutations: Sequence[Permutation], admissible: float | None = inf, stop_after: int | None = None
) -> PermutationTest | None:
    """Return the test of a randomization from its permutations; None if none has a score, or it tests nothing.

    Args:
        r: the randomization.
        score: of the original data.
        permutations: in the order of their numbers.
        admissible: the number of admissible permutations; None if it is not known.
        stop_after: of a sequential test, see `shattering.stats.sequential_test`.
    """
    null, begun = null_of(r), [p for p in permutations if p.is_begun]
    known = tuple(p.score for p in begun if p.score is not None)
    if null is None or not known:
        return None
    counted = stats.sequential_test(score, [p.score for p in begun], stop_after) if stop_after is not None else None
    admissible = admissible if without_exchange(r).labels else inf
    return PermutationTest(null, score, known, len(begun) - len(known), shown_exchange(r.exchange), admissible, counted)
