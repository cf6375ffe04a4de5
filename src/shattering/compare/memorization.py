"""What became of wrong labels: which were memorized, from when on, and which labels of the original data look wrong."""

from dataclasses import dataclass
from statistics import fmean

import pandas as pd

from shattering.compare.result import RandomizationTest
from shattering.measures import memorization as measures
from shattering.randomization import Randomization
from shattering.runs.store import Run


@dataclass(frozen=True)
class Memorization:
    """Of the training examples under a partial corruption of the labels, at the end; means over draws, in 0…1.

    Args:
        randomization: the corruption.
        n_draws: how many draws it is from.
        changed: fraction of the examples whose label is wrong.
        clean: of the others, the fraction fitted as labelled.
        memorized: of the wrong ones, the fraction predicted as their wrong label.
        as_true: of the wrong ones, the fraction predicted as their true class.
        start: when memorization starts in the first draw (`measures.memorization_start`); None if it does not, or the model
            has no epochs that were tracked.
        peak: when most wrong labels are seen through in the first draw; None likewise.
        precision: of the ranking by mean loss at k = the number of wrong labels, in the first draw; None likewise.
    """

    randomization: Randomization
    n_draws: int
    changed: float
    clean: float
    memorized: float
    as_true: float
    start: measures.Moment | None
    peak: measures.Moment | None
    precision: float | None


def memorization(test: RandomizationTest) -> list[Memorization]:
    """One for each partial corruption of the labels that was drawn."""
    return [_memorization(test, r) for r in test.randomizations if 0 < r.labels < 1 and r.pixels == "true" and _changed(test, r)]


def _changed(test: RandomizationTest, r: Randomization) -> bool:
    return any(draw.mean("train_accuracy_on_changed") is not None for draw in test.of(r))


def _memorization(test: RandomizationTest, r: Randomization) -> Memorization:
    draws = test.of(r)

    def mean(name: str) -> float:
        return fmean(value for draw in draws if (value := draw.mean(name)) is not None)

    first = draws[0].runs[0]
    tracked = is_tracked(first)
    return Memorization(
        r,
        len(draws),
        mean("changed_fraction"),
        mean("train_accuracy_on_unchanged"),
        mean("train_accuracy_on_changed"),
        mean("changed_as_true"),
        measures.memorization_start(first.history) if tracked else None,
        measures.peak(first.history) if tracked else None,
        _precision(first) if tracked else None,
    )


def is_tracked(run: Run) -> bool:
    """Whether a run has recorded each example."""
    return run.status == "done" and (run.folder / "examples.parquet").exists()


def _precision(run: Run) -> float | None:
    planted = int(run.examples["changed"].to_numpy().sum())
    if run.result["diverged"] or not planted:
        return None
    return measures.precision_at_k(measures.label_error_ranking(run.examples), planted)


def suspects(test: RandomizationTest) -> pd.DataFrame | None:
    """The original training examples, those whose label is likeliest wrong first: id, label, suspicion (mean loss in nats),
    epochs_to_fit, forgetting_events, final_prediction. None for models without tracked epochs, or a diverged training.
    """
    run = test.original.runs[0]
    if not is_tracked(run) or run.result["diverged"]:
        return None
    ranking = measures.label_error_ranking(run.examples)
    return ranking.drop(columns=["true_label", "changed", "first_fit", "mean_loss", "final_loss"])
