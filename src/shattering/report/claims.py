"""What stored runs can say of a claim: the one list of verdicts."""

from typing import Literal

Verdict = Literal["holds", "does not hold", "inconclusive", "not comparable", "missing"]
HOLDS: Verdict = "holds"
FAILS: Verdict = "does not hold"
OPEN: Verdict = "inconclusive"  # the runs are there, and cannot decide
UNLIKE: Verdict = "not comparable"  # the claim is about other data
MISSING: Verdict = "missing"  # runs that the claim needs are not done
