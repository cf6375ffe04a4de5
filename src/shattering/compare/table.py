"""The tables of a randomization test: one row per randomization, and one row per run."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from statistics import fmean, stdev

import pandas as pd

from shattering import stats
from shattering.compare.comparison import Comparison, Repeat
from shattering.compare.permutation import Permutation
from shattering.compare.plan import ORIGINAL, null_of
from shattering.errors import printable
from shattering.randomization import Randomization
from shattering.runs.stored import Run


def make_rows(test: Comparison) -> list[dict]:
    """Return the rows of `RandomizationTest.table` as dictionaries, the original data first; None for missing values."""
    return [_row(test, r) for r in (ORIGINAL, *test.randomizations)]


def _row(test: Comparison, randomization: Randomization) -> dict:
    repeats, original = test.of(randomization), test.original
    train = _mean([repeat.train_score for repeat in repeats])
    score = _mean(test.test_scores(randomization))
    permutations = test.permutations(randomization)
    done = [p for p in permutations if p.status == "done"]
    row = {
        "randomization": test.title(randomization),
        "repeats": len(done),
        "not_done": len(permutations) - len(done),
        "train_score": train,
        "test_score": score,
        "gap": None if train is None or score is None else train - score,
        "interpolated": _mean([float(bool(repeat.interpolated)) for repeat in repeats]),
        "epochs_to_fit": _mean([repeat.mean("epochs_to_fit") for repeat in repeats]),
        "fit_seconds": _mean([p.fit_seconds for p in done]),
    }
    tested = test.zero_refit if randomization == ORIGINAL else test.tests.get(randomization)
    return {
        **row,
        **_time_ratio(row, original),
        **_effect(test, randomization),
        "p_value": tested.p_value if tested else None,
        "n_as_good": tested.n_as_good if tested else None,
        "n_permutations": tested.n_permutations if tested else None,
        "p_floor": tested.floor if tested else None,
    }


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def _time_ratio(row: dict, original: Repeat) -> dict:
    epochs = original.mean("epochs_to_fit")
    if row["epochs_to_fit"] is not None and epochs:
        return {"time_ratio": row["epochs_to_fit"] / epochs, "time_in": "epochs"}
    has_epochs = original.mean("epochs") is not None
    if row["fit_seconds"] is None or has_epochs or not original.fit_seconds:
        return {"time_ratio": None, "time_in": None}
    return {"time_ratio": row["fit_seconds"] / original.fit_seconds, "time_in": "seconds"}


def _effect(test: Comparison, randomization: Randomization) -> dict:
    """Return by how much the original score is better: in the score's units, with an interval, and in standard deviations.

    A permutation test compares null scores, the statistic of its p-value; the other randomizations compare test scores.
    """
    others = test.null_scores(randomization) if null_of(randomization) else test.test_scores(randomization)
    if randomization == ORIGINAL or not others:
        return dict.fromkeys(("effect", "effect_low", "effect_high", "effect_sd"))
    score = test.original_score()
    mean, spread = fmean(others), stdev(others) if len(others) > 1 else 0.0
    spread = spread if spread > stats.ROUNDING * max(map(abs, others)) else 0.0
    low, high = _interval(test, score, others)
    sd = (score - mean) / spread if spread else None
    return {"effect": score - mean, "effect_low": low, "effect_high": high, "effect_sd": sd}


def _interval(test: Comparison, score: float, others: Sequence[float]) -> tuple[float | None, float | None]:
    """Return a 95 % interval for the original score minus the mean over repeats; (None, None) for fewer than two repeats.

    For accuracies it combines Wilson's interval of the original one with `stats.accuracy_interval` over the repeats. For other
    scores it comes from the spread of the repeats alone.
    """
    if len(others) < 2:
        return None, None
    if test.original.runs[0].spec.scoring in (None, "accuracy"):
        own = stats.accuracy_interval([score], test.n_test)
        spread = stats.accuracy_interval(others, test.n_test)
    else:
        own = (score, score)
        spread = stats.mean_interval(others, float("-inf"), float("inf"))
    return (None, None) if spread is None else stats.difference_interval(score, own, fmean(others), spread)


def make_records(test: Comparison) -> pd.DataFrame:
    """Return the table of `RandomizationTest.records`: one row per run, and one per permutation that is stored with others."""
    rows = [_record(test, repeat, run) for repeat in test.repeats for run in repeat.runs]
    return pd.DataFrame([*rows, *(_record_of_score(test, p) for p in test.batched)]).convert_dtypes()


def _record(test: Comparison, repeat: Repeat, run: Run) -> dict:
    alone = replace(repeat, runs=(run,))
    return {
        "randomization": test.title(repeat.randomization),
        "repeat": repeat.number,
        "fold": run.spec.fold,
        "seed": run.spec.seed,
        "status": run.status,
        "train_score": alone.train_score,
        "test_score": alone.test_score,
        "interpolated": run.result.get("interpolated"),
        "epochs": run.result.get("epochs"),
        "epochs_to_fit": run.result.get("epochs_to_fit"),
        "fit_seconds": run.provenance.get("fit_seconds"),
        "run_id": run.run_id,
        "error": run.error,
    }


def _record_of_score(test: Comparison, permutation: Permutation) -> dict:
    """Return the record of a permutation of which the score alone is known, over all folds."""
    return {
        "randomization": test.title(permutation.randomization),
        "repeat": permutation.number,
        "fold": None,
        "seed": permutation.seed,
        "status": permutation.status,
        "test_score": permutation.score,
        "fit_seconds": permutation.fit_seconds,
        "run_id": permutation.run_id,
        "error": permutation.error,
    }


def format_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a table as text: numbers to four digits (rounding errors are 0), missing values as dashes."""

    def text(value: object) -> str:
        if value is None or value is pd.NA:
            return "–"
        return f"{round(value, 12) + 0.0:.4g}" if isinstance(value, float) else str(value)

    return frame.astype(object).map(text)


def printed_table(rows: Sequence[dict], scoring: str) -> str:
    """Return rows as text for a terminal of 80 columns: without columns that say nothing here, accuracies in percent.

    Args:
        rows: see `make_rows`.
        scoring: the name of the score.
    """
    table, score = pd.DataFrame(rows), _score(scoring)
    columns = {
        "randomization": table["randomization"].map(printable),
        "repeats": table["repeats"].astype(str),
        "not done": table["not_done"].where(table["not_done"] > 0).map("{:.0f}".format, na_action="ignore"),
        "train": table["train_score"].map(score, na_action="ignore"),
        "test": table["test_score"].map(score, na_action="ignore"),
        "gap": table["gap"].map(score, na_action="ignore"),
        "time": table["time_ratio"].map("{:.2g} x".format, na_action="ignore"),
        "p": table["p_value"].map("{:.3g}".format, na_action="ignore"),
    }
    shown = pd.DataFrame({name: column for name, column in columns.items() if column.notna().any()})
    return shown.astype(object).where(shown.notna(), "–").to_string(index=False).rstrip()


def _score(scoring: str) -> Callable[[float], str]:
    if scoring != "accuracy":
        return lambda value: f"{round(value, 12) + 0.0:.3g}"
    return lambda value: stats.percent(value, ">99.9%")
