"""`Finding`: one reason why random labels were not fitted, with what shows it."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Literal, get_args

from shattering.brief import Brief

Likelihood = Literal["certain", "likely", "possible"]
LIKELIHOODS = get_args(Likelihood)


@dataclass(frozen=True, repr=False)
class Finding(Brief):
    """A reason why labels were not fitted.

    Args:
        cause: in a few words.
        evidence: what the run shows, in sentences with its numbers.
        remedy: a change that tests whether this was the cause.
        likelihood: "certain": it follows from what is stored, whatever else is wrong; "likely": the run shows its effect;
            "possible": it is there, but the run does not show that it prevented the fit.

    Example:
        >>> finding = Finding("too few parameters", "It has 10 parameters.", "Make it wider.", "likely")
        >>> finding.cause, finding.likelihood
        ('too few parameters', 'likely')
    """

    cause: str
    evidence: str
    remedy: str
    likelihood: Likelihood

    def __str__(self) -> str:
        return f"{self.cause} ({self.likelihood}). {self.evidence} {self.remedy}"

    def to_json(self) -> dict[str, str]:
        """Return the four texts by their names."""
        return asdict(self)


def most_likely_first(findings: Iterable[Finding]) -> list[Finding]:
    """Sort findings by likelihood; equally likely ones keep their order."""
    return sorted(findings, key=lambda finding: LIKELIHOODS.index(finding.likelihood))
