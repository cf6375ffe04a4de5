"""Verdicts: what the tests of a measure amount to, in one word and one sentence.

The sentence never says that a measure explains generalization: to tell natural from random labels is necessary, and not sufficient.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from shattering.errors import InputError, shown
from shattering.interrogate.tells import Tested
from shattering.parameters import Natural, NotNegative, Range, Share, check_fields

SAME = "the same in both cases"
LOSS, EFFORT = "follows the loss", "follows the effort"
READS = "reads the data"
TELLS, RANKS, ROBUST = "tells", "tells and ranks", "tells, ranks, robust"
BACKWARDS = "tells backwards"
RANKS_ONLY = "ranks only"
UNDECIDED, NOT_COMPUTABLE = "undecided", "not computable"
VERDICTS = (ROBUST, RANKS, TELLS, READS, EFFORT, LOSS, SAME, RANKS_ONLY, BACKWARDS, UNDECIDED, NOT_COMPUTABLE)
COMPARISONS = {"T1a": "at equal loss", "T1b": "at equal steps", "T1c": "at both"}


@dataclass(frozen=True)
class Thresholds:
    """The numbers that verdicts depend on.

    Args:
        tells: share of cells from which a measure tells.
        level: of corrected p-values.
        same: bounds of the share of pairs within which a measure is the same in both cases.
        pairs: least number of pairs for that verdict.
        ranks: least Ψ of a measure that ranks.
        robust: largest 90th percentile of the sign error.
        fragile: largest fragility.
        missing: largest share of eligible runs on which a measure may be missing.

    Raises:
        InputError: for values out of their ranges.

    Example:
        >>> Thresholds(tells=0.95).tells
        0.95
    """

    tells: Share = 0.9
    level: Annotated[float, Range(0, 1, above=True)] = 0.05
    same: tuple[Share, Share] = (0.25, 0.75)
    pairs: Natural = 40
    ranks: Annotated[float, Range(-1, 1)] = 0.3
    robust: Share = 0.5
    fragile: NotNegative = 0.5
    missing: Share = 0.1

    def __post_init__(self) -> None:
        check_fields(self)
        if self.same[0] > self.same[1]:
            raise InputError(f"same is {shown(self.same)}, expected two bounds, the lower one first")


@dataclass(frozen=True)
class Judgement:
    """The outcomes of a measure in all tests.

    Args:
        outcomes: test → what it found.
        corrected: test → p-value after Holm's correction over the measures.
        missing: share of eligible runs on which the measure is missing.
        ranks: whether it ranks, by T3 and T4.
        verdict: one of `VERDICTS`.
        sentence: the verdict with its numbers.
    """

    outcomes: Mapping[str, Tested]
    corrected: Mapping[str, float]
    missing: float
    ranks: bool = False
    verdict: str = UNDECIDED
    sentence: str = ""


def follows(judgement: Judgement, thresholds: Thresholds) -> dict[str, bool]:
    """Return for each of T1a, T1b and T1c whether the measure tells there."""
    return {
        test: judgement.outcomes[test].statistic >= thresholds.tells and judgement.corrected[test] < thresholds.level
        for test in COMPARISONS
    }


def tells(judgement: Judgement, thresholds: Thresholds) -> bool:
    """Return whether the measure tells in all three comparisons, whether by learning or by reading the data."""
    return all(follows(judgement, thresholds).values())


def judge(
    name: str,
    outcomes: Mapping[str, Tested],
    corrected: Mapping[str, float],
    missing: float,
    thresholds: Thresholds,
    can_rank: bool = True,
) -> Judgement:
    """Judge a measure by the rules that docs/interrogate.md lists, the first that applies.

    Args:
        name: of the measure.
        outcomes: test → what it found: T0, T1a, T1b, T1c, T2, T3, T4, T5, T6.
        corrected: test → p-value after Holm's correction.
        missing: share of eligible runs on which the measure is missing.
        thresholds: the numbers of the rules.
        can_rank: False where the controls show that this population cannot tell whether a measure ranks.
    """
    found = Judgement(outcomes, corrected, missing)
    ranks = can_rank and _ranks(found, thresholds)
    verdict = _verdict(found, ranks, thresholds)
    return Judgement(outcomes, corrected, missing, ranks, verdict, _sentence(name, found, verdict, ranks, can_rank))


def _ranks(j: Judgement, t: Thresholds) -> bool:
    psi, k = j.outcomes["T3"], j.outcomes["T4"]
    return psi.statistic >= t.ranks and k.statistic > 0 and j.corrected["T4"] < t.level


def _verdict(j: Judgement, ranks: bool, t: Thresholds) -> str:
    if j.missing > t.missing:
        return NOT_COMPUTABLE
    told = follows(j, t)
    if all(told.values()):
        if _reads(j, t):
            return READS
        if not ranks:
            return TELLS
        robust = j.outcomes["T5"].statistic <= t.robust and j.outcomes["T6"].statistic <= t.fragile
        return ROBUST if robust else RANKS
    if any(told.values()):
        failed = [test for test in COMPARISONS if is_below(j.outcomes[test], t)]
        return UNDECIDED if not failed else LOSS if "T1a" in failed else EFFORT
    if all(j.outcomes[test].statistic <= 1 - t.tells and j.corrected[test] < t.level for test in COMPARISONS):
        return BACKWARDS
    if ranks:
        return RANKS_ONLY
    return SAME if all(_is_same(j.outcomes[test], t) for test in ("T1a", "T1c")) else UNDECIDED


def _reads(j: Judgement, t: Thresholds) -> bool:
    return j.outcomes["T0"].statistic >= t.tells


def is_below(outcome: Tested, t: Thresholds) -> bool:
    """Return whether a measure certainly does not tell: its share of cells lies below the threshold with its whole interval."""
    return outcome.cells > 0 and outcome.statistic < t.tells and outcome.high < t.tells


def _is_same(outcome: Tested, t: Thresholds) -> bool:
    """Return whether a measure is equivalent on both sides; one that is equal in every pair is so however few they are."""
    equal = outcome.pairs > 0 and outcome.pair_low == outcome.pair_high == 0.5 == outcome.statistic
    return equal or (outcome.pairs >= t.pairs and t.same[0] <= outcome.pair_low and outcome.pair_high <= t.same[1])


def _sentence(name: str, j: Judgement, verdict: str, ranks: bool, can_rank: bool) -> str:
    """Say the verdict with the numbers that it rests on."""
    if verdict == NOT_COMPUTABLE:
        return f"{name} is missing on {j.missing:.0%} of the runs: it gets no verdict."
    parts = [f"{_count(j.outcomes[test])} {where}" for test, where in COMPARISONS.items() if j.outcomes[test].cells]
    start = j.outcomes["T0"]
    parts += [f"and in {start.statistic:.0%} of {start.pairs} pairs of untrained networks"] if start.pairs else []
    untested = [where for test, where in COMPARISONS.items() if not j.outcomes[test].cells]
    told = f"{name} is larger with random labels in {', '.join(parts)}" if parts else f"{name} could not be compared"
    told += f" (not tested {' and '.join(untested)})" if untested else ""
    return f"{told}: {_MEANING[verdict]}. {_of_ranking(j, ranks, can_rank)}"


_MEANING = {
    ROBUST: "it tells natural from random labels",
    RANKS: "it tells natural from random labels",
    TELLS: "it tells natural from random labels",
    READS: "it tells without any training, so it reads the data and not what was learned",
    LOSS: "it follows the training loss",
    EFFORT: "it follows the number of steps",
    SAME: "it is the same in both cases, so it is no measure of generalization",
    RANKS_ONLY: "it does not tell natural from random labels",
    BACKWARDS: "it tells natural from random labels in the wrong direction",
    UNDECIDED: "these runs do not decide whether it tells",
}


def _count(outcome: Tested) -> str:
    return f"{outcome.statistic * outcome.cells:g} of {outcome.cells} cells"


def _of_ranking(j: Judgement, ranks: bool, can_rank: bool) -> str:
    psi, k = j.outcomes["T3"], j.outcomes["T4"]
    if not can_rank or psi.statistic != psi.statistic:
        return "Whether it ranks natural networks cannot be told here."
    numbers = f"Ψ = {psi.statistic:.2f} ({psi.low:.2f} … {psi.high:.2f})" + (
        f", K̃ = {k.statistic:.1f}" if k.statistic == k.statistic else ""
    )
    if not ranks:
        return f"{numbers}: it does not rank natural networks beyond chance."
    error, move = j.outcomes["T5"], j.outcomes["T6"]
    more = [f"sign error {error.statistic:.2f}"] if error.statistic == error.statistic else []
    more += [f"fragility {move.statistic:.2f}"] if move.statistic == move.statistic else []
    return f"{numbers}{''.join(f', {part}' for part in more)}: it ranks natural networks."
