"""The y-scrambling report of a regression: are the scores of the model more than what permuted targets give as well?"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from statistics import fmean, stdev

import numpy as np

from shattering.brief import Brief
from shattering.compare.comparison import Comparison
from shattering.compare.plan import LABEL_TEST

FEW = 3  # permutations from which a line is drawn through the scores
R2_INTERCEPT, Q2_INTERCEPT = 0.4, 0.05  # the most that Eriksson et al. (2003) accept


@dataclass(frozen=True, repr=False)
class Scrambling(Brief):
    """The numbers that QSAR studies report of permuted targets.

    See Rücker, Rücker and Meringer (2007), Eriksson et al. (2003), and Mitra, Saha and Roy (2010).

    Args:
        r2: R² on the training examples of the original fit.
        q2: R² on examples that were not trained on: the test split, or the mean over folds.
        permuted_r2: R² on the training examples of each fit to permuted targets, against these targets.
        permuted_q2: R² of each of these fits against test targets that are permuted likewise.
        correlations: |corr(y, permuted y)| of each permutation, over the training examples.

    Example:
        >>> report = Scrambling(0.8, 0.6, (0.1, 0.2, 0.15), (-0.3, -0.1, -0.2), (0.0, 0.2, 0.1))
        >>> round(report.corrected_r2, 3)
        0.721
    """

    r2: float
    q2: float
    permuted_r2: tuple[float, ...] = field(repr=False)
    permuted_q2: tuple[float, ...] = field(repr=False)
    correlations: tuple[float, ...] = field(repr=False)

    @property
    def corrected_r2(self) -> float:
        """cRp² = R √(R² − mean R² of permuted targets), or 0 where these are fitted as well (Roy); above 0.5 is wanted."""
        return math.sqrt(max(self.r2, 0.0)) * math.sqrt(max(self.r2 - fmean(self.permuted_r2), 0.0))

    @property
    def r2_intercept(self) -> float:
        """R² at correlation 0 on the line through the scores over |corr(y, permuted y)|, the original fit's at 1."""
        return _intercept(self.correlations, self.permuted_r2, self.r2)

    @property
    def q2_intercept(self) -> float:
        """The same of Q²."""
        return _intercept(self.correlations, self.permuted_q2, self.q2)

    def __str__(self) -> str:
        return "\n".join(self.sentences())

    def to_json(self) -> dict[str, float]:
        """Return the numbers that are reported."""
        return {
            "r2": self.r2,
            "q2": self.q2,
            "mean_r2_permuted": fmean(self.permuted_r2),
            "mean_q2_permuted": fmean(self.permuted_q2),
            "corrected_r2": self.corrected_r2,
            "r2_intercept": self.r2_intercept,
            "q2_intercept": self.q2_intercept,
        }

    def sentences(self) -> Iterator[str]:
        """Yield the report in words."""
        spread = f" ± {stdev(self.permuted_r2):.2g}" if len(self.permuted_r2) > 1 else ""
        yield (
            f"y-scrambling: R² {self.r2:.3g} on the training examples, against {fmean(self.permuted_r2):.2g}{spread} where the targets are "
            f"permuted, so that cRp² = {self.corrected_r2:.3g} (above 0.5 is wanted); Q² {self.q2:.3g} on others."
        )
        fine = self.r2_intercept <= R2_INTERCEPT and self.q2_intercept <= Q2_INTERCEPT
        yield (
            f"Over |corr(y, permuted y)| the scores meet correlation 0 at R² {self.r2_intercept:.2g} and Q² {self.q2_intercept:.2g}, "
            f"{'within' if fine else 'beyond'} the usual limits of {R2_INTERCEPT} and {Q2_INTERCEPT}."
        )


def scrambling(test: Comparison) -> Scrambling | None:
    """Return the report of a test; None unless it is a regression scored by R² with at least `FEW` permutations done."""
    if not test.is_regression or test.scoring != "r2":
        return None
    original, repeats = test.original, test.of(LABEL_TEST)
    rows = [(r.train_score, r.null_score, r.mean("target_correlation")) for r in repeats]
    known = [(r2, q2, abs(c)) for r2, q2, c in rows if r2 is not None and q2 is not None and c is not None]
    if len(known) < FEW or original.train_score is None or original.test_score is None:
        return None
    r2, q2, correlations = zip(*known, strict=True)
    return Scrambling(original.train_score, original.test_score, r2, q2, correlations)


def _intercept(correlations: Sequence[float], scores: Sequence[float], original: float) -> float:
    _, intercept = np.polyfit([*correlations, 1.0], [*scores, original], 1)
    return float(intercept)
