"""`Repeat`: one fit of a randomization test whose runs are stored, and its numbers."""

from dataclasses import dataclass
from statistics import fmean

from shattering.brief import cut
from shattering.compare.plan import null_of
from shattering.randomization import Randomization
from shattering.runs.stored import Run


@dataclass(frozen=True)
class Repeat:
    """One fit of the model on the original data or on one randomized copy of them; with folds, one run per fold.

    Repeats of a permutation test are its permutations. Numbers are means over folds, and None where a run is not done.

    Args:
        randomization: how the data were randomized.
        number: the index among the repeats of this randomization, from 0.
        runs: the run, or one run per fold.

    Example:
        >>> repeat = test.of("permuted-labels")[0]
        >>> repeat.number, repeat.status
        (0, 'done')
    """

    randomization: Randomization
    number: int
    runs: tuple[Run, ...]

    def __repr__(self) -> str:
        return cut(f"<Repeat {self.number} of {self.randomization.title}: {self.status}, train {self.train_score}, test {self.test_score}>")

    @property
    def status(self) -> str:
        """ "done", or the first other status among its runs."""
        return next((run.status for run in self.runs if run.status != "done"), "done")

    @property
    def begun(self) -> bool:
        """True if any of its runs was begun, whatever came of it."""
        return any(run.status != "missing" for run in self.runs)

    @property
    def error(self) -> str | None:
        """Why the first of its runs that failed did so."""
        return next((run.error for run in self.runs if run.error), None)

    @property
    def train_score(self) -> float | None:
        """The score on the training examples against the labels that were fitted."""
        return self.mean("train_accuracy" if self.runs[0].spec.scoring is None else "train_score")

    @property
    def test_score(self) -> float | None:
        """The score against the true test labels, as in the papers; where labels are permuted, the `null_score`.

        None also where the scorer is undefined for them: folds are stratified by the randomized labels, so the true labels of a fold
        may all be of one class.
        """
        if null_of(self.randomization) and self.randomization.labels:
            return self.null_score
        return self.mean("test_accuracy" if self.runs[0].spec.scoring is None else "test_score")

    @property
    def null_score(self) -> float | None:
        """The score that permutation tests compare: against test labels randomized as the training labels are.

        This is the statistic of Ojala and Garriga (2010) and of scikit-learn. True test labels would give a null distribution that
        is as valid but broader: where classes are clusters, a model of permuted labels may name whole clusters correctly by chance.
        """
        name = "test_accuracy" if self.runs[0].spec.scoring is None else "test_score"
        return self.mean(f"{name}_on_corrupted_labels")

    @property
    def fit_seconds(self) -> float | None:
        """The seconds that its fits took, summed over folds; None where they are not known."""
        seconds = [run.provenance.get("fit_seconds") for run in self.runs]
        known = [value for value in seconds if value is not None]
        return sum(known) if self.status == "done" and len(known) == len(seconds) else None

    @property
    def interpolated(self) -> bool | None:
        """True if every training example is classified as labelled, in every fold."""
        return all(run.result["interpolated"] for run in self.runs) if self.status == "done" else None

    @property
    def n_test(self) -> int:
        """The number of test examples, summed over folds."""
        return sum(run.result["n_test"] for run in self.runs)

    def mean(self, name: str) -> float | None:
        """Return the mean over folds of one number of the results, or None if a fold lacks it."""
        values = [run.result.get(name) for run in self.runs]
        known = [value for value in values if value is not None]
        return fmean(known) if len(known) == len(values) else None
