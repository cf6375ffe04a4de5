"""`Finding`: one reason why random labels were not fitted, with what shows it."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Literal, get_args

Likelihood = Literal["certain", "likely", "possible"]
LIKELIHOODS = get_args(Likelihood)


@dataclass(frozen=True)
class Finding:
    """A reason why labels were not fitted.

    Args:
        cause: in a few words.
        evidence: what was found in the run, in sentences with its numbers.
        remedy: what to change to see whether it was that.
        likelihood: "certain": it follows from what is stored, whatever else hinders; "likely": the run shows that it acts;
            "possible": it is there, but the run does not show that it was what stopped it.
    """

    cause: str
    evidence: str
    remedy: str
    likelihood: Likelihood

    def __str__(self) -> str:
        return f"{self.cause} ({self.likelihood}). {self.evidence} {self.remedy}"

    def to_json(self) -> dict[str, str]:
        return asdict(self)


def most_likely_first(findings: Iterable[Finding]) -> list[Finding]:
    """Sort findings by likelihood; equally likely ones keep their order."""
    return sorted(findings, key=lambda finding: LIKELIHOODS.index(finding.likelihood))
