"""Count the corrupted labels that were memorized, and from which epoch on; list label issues of the original data."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import pandas as pd

from shattering.brief import Brief
from shattering.compare.comparison import Comparison, Repeat
from shattering.measures import memorization as measures
from shattering.randomization import Randomization
from shattering.report.answer import Extent, memorized
from shattering.runs.stored import Run


@dataclass(frozen=True, repr=False)
class Memorization(Brief):
    """Shares of training examples at the end of training on partly corrupted labels; means over repeats, in 0…1.

    Args:
        randomization: the corruption.
        n_repeats: the number of repeats that the means are over.
        corrupted: the fraction of the examples whose label was changed to another class.
        clean: the fraction of the other examples that is predicted as labelled.
        memorized: the fraction of the corrupted labels that is predicted.
        as_true: the fraction of the examples with corrupted labels whose true class is predicted.
        start: when memorization starts in the first repeat (`measures.memorization_start`); None if it does not, or if the model
            has no tracked epochs.
        peak: the epoch of the first repeat in which the largest share of the corrupted labels has its true class predicted; None
            likewise.
        precision: of the ranking by mean loss at k = the number of corrupted labels, in the first repeat; None likewise.
    """

    randomization: Randomization
    n_repeats: int
    corrupted: float
    clean: float
    memorized: float
    as_true: float
    start: measures.Moment | None
    peak: measures.Moment | None
    precision: float | None


def judge(test: Comparison, accuracy: float) -> tuple[Extent, float, str]:
    """Return how much of permuted or random labels is memorized, and the best answer that memorizes nothing: its score, and it in words.

    Where labels depend on the features by groups, what is more than a constant answer gives and no more than the groups do may be memory,
    or the groups: that is not judged.

    accuracy: on these labels; or R².
    """
    constant, best = test.without_memory[0], max(test.without_memory)
    extent = memorized(accuracy, best[0])
    if extent == "hardly" and memorized(accuracy, constant[0]) != "hardly":
        extent = "not judged"
    return extent, *best


def memorization(test: Comparison) -> list[Memorization]:
    """Return a `Memorization` for each partial corruption of the labels that changed any."""
    partial = [r for r in test.randomizations if 0 < r.labels < 1 and r.pixels == "true"]
    return [_memorization(r, test.of(r)) for r in partial if _values(test.of(r), "train_accuracy_on_changed")]


def _values(repeats: Sequence[Repeat], name: str) -> list[float]:
    """Return the mean over folds of one number of the results, for each repeat that has it."""
    means = [repeat.mean(name) for repeat in repeats]
    return [mean for mean in means if mean is not None]


def _memorization(r: Randomization, repeats: Sequence[Repeat]) -> Memorization:
    first = repeats[0].runs[0]
    tracked = is_tracked(first)
    return Memorization(
        r,
        len(repeats),
        corrupted=fmean(_values(repeats, "changed_fraction")),
        clean=fmean(_values(repeats, "train_accuracy_on_unchanged")),
        memorized=fmean(_values(repeats, "train_accuracy_on_changed")),
        as_true=fmean(_values(repeats, "changed_as_true")),
        start=measures.memorization_start(first.history) if tracked else None,
        peak=measures.peak(first.history) if tracked else None,
        precision=_precision(first) if tracked else None,
    )


def is_tracked(run: Run) -> bool:
    """Return True if a run has recorded each training example. Raises InputError where its folder is gone."""
    return run.status == "done" and run.has("examples.parquet")


def _precision(run: Run) -> float | None:
    planted = int(run.examples["changed"].to_numpy().sum())
    if not run.is_trained or not planted:
        return None
    return measures.precision_at_k(measures.label_error_ranking(run.examples), planted)


def find_label_issues(test: Comparison) -> pd.DataFrame | None:
    """Return the table of `RandomizationTest.label_issues`."""
    runs = [run for run in test.original.runs if is_tracked(run) and run.is_trained]
    if len(runs) < len(test.original.runs):
        return None
    each_once = pd.concat([run.examples for run in runs]).drop_duplicates("id")  # one fold tests on what another one trains on
    ranking = measures.label_error_ranking(each_once)
    issues = ranking.drop(columns=["true_label", "changed", "first_fit", "mean_loss", "final_loss"])
    if test.names:
        issues.insert(1, "name", [test.names.get(number) for number in issues["id"].tolist()])
    return issues
