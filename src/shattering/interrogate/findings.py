"""`Findings`: what an interrogation found, as tables, verdicts and charts; `Interrogation` adds the page and JSON."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pandas as pd

from shattering.errors import unknown
from shattering.interrogate.figures import leaderboard_chart, measure_chart
from shattering.interrogate.judging import Judged
from shattering.interrogate.survey import survey_rows
from shattering.interrogate.verdicts import VERDICTS, Thresholds
from shattering.report.charts import Chart
from shattering.runs.stored import Run

NO_VERDICT = "no verdict"


class Verdict(NamedTuple):
    """A verdict on a measure, with the sentence that has its numbers."""

    verdict: str
    sentence: str

    def __str__(self) -> str:
        return f"{self.verdict}: {self.sentence}"


@dataclass(frozen=True)
class Findings:
    """The outcome of `interrogate`; see `shattering.interrogate.result.Interrogation`.

    Args:
        table: one row per run: `shattering.interrogate.table.COLUMNS`, the axes, and one column per measure and control; NaN where
            one is missing.
        details: run, measure, value, reason (why it is NaN), seconds, of every measure that is computed.
        axes: the hyperparameters that differ between cells.
        measures: names of the measures that are judged.
        judged: what the tests found.
        runs: the runs of the population.
        thresholds: of the verdicts.
    """

    table: pd.DataFrame
    details: pd.DataFrame
    axes: Sequence[str]
    measures: Sequence[str]
    judged: Judged
    runs: Sequence[Run]
    thresholds: Thresholds

    @property
    def tests(self) -> pd.DataFrame:
        """One row per measure or control and test: statistic, low, high, p, holm, q, cells, pairs, note."""
        return self.judged.tests

    @cached_property
    def controls(self) -> pd.DataFrame:
        """One row per control: name, must, found, ok, blocks."""
        return pd.DataFrame([vars(control) for control in self.judged.controls])

    @cached_property
    def why_blocked(self) -> str:
        """Why there are no verdicts: the control that came out wrong; "" if all are as they must be."""
        wrong = self.judged.blocked("all")
        if not wrong:
            return ""
        first = wrong[0]
        return (
            f"The control {first.name} must be {first.must!r} and came out {first.found!r}, so these runs give no verdict on any measure."
        )

    @cached_property
    def verdicts(self) -> dict[str, Verdict]:
        """Measure → its verdict and sentence, the best first; "no verdict" for all of them where a control came out wrong."""
        if self.why_blocked:
            return {name: Verdict(NO_VERDICT, self.why_blocked) for name in self.measures}
        found = {name: self.judged.judgements[name] for name in self.measures}
        order = sorted(found, key=lambda name: (VERDICTS.index(found[name].verdict), -_number(found[name].outcomes["T4"].statistic)))
        marked = {name: f" With the runs that missed the loss it would be: {verdict}." for name, verdict in self.judged.flipped.items()}
        return {name: Verdict(found[name].verdict, found[name].sentence + marked.get(name, "")) for name in order}

    @cached_property
    def survey(self) -> pd.DataFrame:
        """One row per measure of the republication's survey: family, measure, T1a, T1b, T1c and claim; see `survey_rows`."""
        return survey_rows({name: self.judged.judgements[name] for name in self.measures}, self.thresholds, bool(self.why_blocked))

    @cached_property
    def counts(self) -> pd.DataFrame:
        """One row per treatment: cells, runs, fitted, and the medians of loss, steps, gap, training and test accuracy."""
        groups = self.table.groupby("condition")
        medians = groups[["loss", "updates", "gap", "train_accuracy", "test_accuracy"]].median()
        return medians.assign(cells=groups["cell"].nunique(), runs=groups.size(), fitted=groups["fitted"].sum()).reset_index()

    @cached_property
    def seconds(self) -> dict[str, float]:
        """Measure → mean seconds per run."""
        return {str(name): float(np.mean(rows["seconds"])) for name, rows in self.details.groupby("measure")}

    @cached_property
    def reasons(self) -> pd.DataFrame:
        """One row per measure and reason for which it is missing on trained runs, with the number of runs."""
        trained = set(self.table.loc[~self.table["condition"].str.startswith("untrained"), "run"])
        missing = self.details[self.details["value"].isna() & self.details["run"].isin(list(trained))]
        return missing.groupby(["measure", "reason"]).agg(runs=("run", "size")).reset_index()

    def figure(self, measure: str) -> Chart | None:
        """Return the chart of one measure or control: its values over the gap. None if no run has a finite value."""
        if measure not in self.judged.judgements:
            raise unknown("measure", measure, self.judged.judgements)
        return measure_chart(self.table, measure, self.judged.psi[measure])

    def leaderboard(self) -> Chart | None:
        """Return the chart of all measures and controls: how each ranks over how it tells."""
        return leaderboard_chart(self.judged, [name for name in self.judged.judgements if name not in self.measures], self.seconds)


def _number(value: float) -> float:
    return value if value == value else -math.inf
