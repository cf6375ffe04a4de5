"""Answers to the questions that an interrogation asks of all measures together: a hypothesis, a number with its interval, a verdict."""

from dataclasses import dataclass

import numpy as np

from shattering.interrogate.inference import percentiles
from shattering.report.claims import FAILS, HOLDS, OPEN, Verdict

MARGIN = 0.1  # an effect that is certainly smaller does not count as one
LEAST_PAIRS = 6  # pairs of cells that differ in one hyperparameter and clearly in their gap, below which Ψ says nothing


@dataclass(frozen=True)
class Answer:
    """A hypothesis about measures, with what these runs say of it.

    Args:
        question: "Q1" or "Q2".
        hypothesis: a sentence that holds or does not.
        verdict: "holds", "does not hold", or "inconclusive" where these runs cannot decide it.
        evidence: a sentence with the numbers.
        why: why the runs cannot decide it; "" if they do.
        statistic: the number on which the verdict rests; NaN where it could not be computed.
        low, high: its 95 % interval.

    Example:
        >>> decide("Q2", "Larger is worse.", Effect(0.3, 0.1, 0.5), "The difference is 0.3.").verdict
        'holds'
    """

    question: str
    hypothesis: str
    verdict: Verdict
    evidence: str
    why: str = ""
    statistic: float = float("nan")
    low: float = float("nan")
    high: float = float("nan")

    @property
    def shown_verdict(self) -> str:
        """The verdict in words, with the reason if these runs cannot decide."""
        return f"undecidable here, because {self.why}" if self.why else self.verdict

    def __str__(self) -> str:
        return f"{self.hypothesis} {self.evidence} Verdict: {self.shown_verdict}."


@dataclass(frozen=True)
class Effect:
    """A number with its 95 % interval."""

    statistic: float = float("nan")
    low: float = float("nan")
    high: float = float("nan")

    @classmethod
    def of(cls, statistic: float, draws: np.ndarray) -> "Effect":
        """Take the percentile interval of resampled statistics, (draws,)."""
        return cls(float(statistic), *percentiles(draws))

    def shown(self, form: str = "{:.2f}") -> str:
        """Return the number with its interval in brackets."""
        return f"{form.format(self.statistic)} ({form.format(self.low)} … {form.format(self.high)})"


def decide(
    question: str, hypothesis: str, effect: Effect, evidence: str, *, above: float = 0.0, margin: float = MARGIN, why: str = ""
) -> Answer:
    """Judge the hypothesis that an effect lies above a number.

    It holds if the whole interval lies above; it does not if the whole interval lies below the number plus a margin, so that an effect of
    that size is excluded; else, and without an interval, these runs cannot decide.

    Args:
        question: see `Answer`.
        hypothesis: see `Answer`.
        effect: the number.
        evidence: see `Answer`.
        above: what the effect has to exceed.
        margin: the least effect that counts.
        why: a reason for which these runs cannot decide, whatever the interval; "" if there is none.
    """
    if not why and effect.statistic != effect.statistic:
        why = "there is nothing to compare"
    elif not why and not (effect.low <= effect.high):
        why = "no resample has this number, so that it has no interval"
    elif not why and effect.low <= above and effect.high >= above + margin:
        why = f"the 95 % interval, {effect.low:.2f} to {effect.high:.2f}, has {above:g} in it as well as effects that count"
    verdict = OPEN if why else HOLDS if effect.low > above else FAILS
    return Answer(question, hypothesis, verdict, evidence, why, effect.statistic, effect.low, effect.high)
