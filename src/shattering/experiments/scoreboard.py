"""The scoreboard: every claim of the papers once, judged on the largest scale whose stored runs can judge it."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import get_args

from shattering.errors import counted
from shattering.experiments.catalogue import EXPERIMENTS, GROUPS
from shattering.experiments.experiment import Claim, Column, Result, Table, seeds_of
from shattering.experiments.reproduce import make_result
from shattering.experiments.scales import SCALES
from shattering.report.claims import MISSING, Verdict
from shattering.runs.store import Store

COLUMNS = (
    Column("claim", "claim"),
    Column("paper", "paper", "prose"),
    Column("ours", "ours", "prose"),
    Column("size", "ours with", "prose"),
    Column("seeds", "seeds"),
    Column("verdict", "verdict", "prose"),
    Column("where", "where"),
)
PRIORITY = ("claim", "verdict", "where", "ours")


@dataclass(frozen=True)
class Score:
    """A claim with the result that judges it.

    Args:
        claim: the claim.
        result: the experiment at the scale.

    Example:
        >>> from shattering import Store
        >>> from shattering.experiments.scales import SCALES
        >>> result = make_result("polynomial", SCALES["demo"], Store("runs"))
        >>> Score(result.claims[0], result).row()["verdict"]
        'missing'
    """

    claim: Claim
    result: Result

    @property
    def is_judged(self) -> bool:
        """True if the claim holds or does not hold."""
        return self.claim.holds is not None

    def row(self) -> dict[str, str]:
        """Return the cells of `COLUMNS`."""
        return {
            "claim": self.claim.name,
            "paper": self.claim.says,
            "ours": self.claim.ours,
            "size": self.claim.size or self.result.size,
            "seeds": self.claim.seeds or seeds_of(self.result.runs),
            "verdict": self.claim.shown_verdict,
            "where": f"{self.result.name}, {self.result.scale}",
        }


def every_result(store: Store, names: Sequence[str] = EXPERIMENTS) -> list[Result]:
    """Make the results of experiments at every scale, from the smallest on. Nothing is run.

    Args:
        store: where the runs are.
        names: of experiments. ImageNet's are left out at the scale small, for which the user has to name the images.
    """
    without = {scale.name: GROUPS["all-imagenet"][1] if scale.imagenet.dataset is None else () for scale in SCALES.values()}
    return [make_result(name, scale, store) for name in names for scale in SCALES.values() if name not in without[scale.name]]


def scores(results: Iterable[Result]) -> list[Score]:
    """Choose for every claim the result that tells most: the last that judges it, else the last that is not "missing", else the first.

    Args:
        results: of any experiments and scales; those of one experiment from the smallest scale to the largest.

    Example:
        >>> from shattering import Store
        >>> len(scores(every_result(Store("runs"), ["polynomial"])))
        2
    """
    found: dict[tuple[str, str], Score] = {}
    for result in results:
        for claim in result.claims:
            score, key = Score(claim, result), (result.name, claim.name)
            if key not in found or _tells(score) >= max(1, _tells(found[key])):
                found[key] = score
    return list(found.values())


def _tells(score: Score) -> int:
    return 2 if score.is_judged else 1 if score.claim.verdict != MISSING else 0


def scoreboard(found: Sequence[Score]) -> Table:
    """Return the table, with how many claims have each verdict in its title."""
    verdicts = Counter(score.claim.verdict for score in found)
    counts = ", ".join(f"{verdict} {verdicts[verdict]}" for verdict in get_args(Verdict) if verdicts[verdict])
    note = "Each claim is judged at the largest scale whose stored runs can judge it."
    return Table(f"{counted(len(found), 'claim')}: {counts}", COLUMNS, [score.row() for score in found], note, PRIORITY)
