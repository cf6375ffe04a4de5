"""`Findings`: what an interrogation found, as tables, verdicts and charts; `Interrogation` adds the page and JSON."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple
from urllib.parse import quote

import numpy as np
import pandas as pd

from shattering.brief import Brief
from shattering.errors import unknown
from shattering.interrogate.answers import Answer
from shattering.interrogate.controls import Control
from shattering.interrogate.equivalents import equivalent_sizes, median_shares, shares_of_shatter_point
from shattering.interrogate.figures import leaderboard_chart, measure_chart, worth_chart
from shattering.interrogate.judging import Judged, missing_share
from shattering.interrogate.noise_answers import noise_answers
from shattering.interrogate.survey import survey_rows
from shattering.interrogate.survivors import survivor_answers
from shattering.interrogate.verdicts import VERDICTS, Thresholds
from shattering.report.charts import Chart, Illustrated
from shattering.runs.stored import Run

NO_VERDICT = "no verdict"
SAME = 1e-3  # relative difference up to which values are called the same


class Verdict(NamedTuple):
    """A verdict on a measure, with the sentence that has its numbers."""

    verdict: str
    sentence: str

    def __str__(self) -> str:
        return f"{self.verdict}: {self.sentence}"


@dataclass(frozen=True, repr=False)
class Findings(Brief, Illustrated):
    """The outcome of `interrogate`; see `shattering.interrogate.result.Interrogation`.

    Args:
        table: one row per run: `shattering.interrogate.table.COLUMNS`, the axes, and one column per measure and control; NaN where
            one is missing.
        details: run, measure, value, reason (why it is NaN), seconds, of every measure that is computed.
        axes: the hyperparameters that differ between cells.
        measures: names of the measures that are judged.
        judged: what the tests found.
        runs: the runs of the population; none where only their values are at hand.
        thresholds: of the verdicts.
        machines: the environments in which the runs were trained; see `shattering.report.page.environments`.
    """

    table: pd.DataFrame
    details: pd.DataFrame
    axes: Sequence[str]
    measures: Sequence[str]
    judged: Judged
    runs: Sequence[Run]
    thresholds: Thresholds
    machines: Sequence[dict] = ()

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
        wrong = _named(self.judged.blocked("all"))
        return f"T{wrong[1:]}, so these runs give no verdict on any measure." if wrong else ""

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
        missing = {name: missing_share(self.table, name, ("natural", "random")) for name in self.measures}
        judgements = {name: self.judged.judgements[name] for name in self.measures}
        return survey_rows(judgements, missing, self.thresholds, bool(self.why_blocked))

    @cached_property
    def noise_equivalents(self) -> pd.DataFrame:
        """One row per measure and run on natural or partly random labels: how many random labels it is worth; see `equivalent_sizes`."""
        return equivalent_sizes(self.table, self.measures)

    @cached_property
    def noise_medians(self) -> pd.DataFrame:
        """One row per measure and family of architectures: n_μ/n of natural labels over cells; see `median_shares`."""
        return median_shares(self.table, self.noise_equivalents)

    @cached_property
    def shatter_shares(self) -> pd.DataFrame:
        """One row per measure: its value on natural labels over that at the shatter point; see `shares_of_shatter_point`."""
        return shares_of_shatter_point(self.table, self.measures)

    @cached_property
    def answers(self) -> list[Answer]:
        """The answers to the two questions: which measures survive, and rank; and what noise-equivalent sizes are worth."""
        judgements = {name: self.judged.judgements[name] for name in self.measures}
        whys = _named(self.judged.blocked("ranking")), _named(self.judged.blocked("all"))
        return [*survivor_answers(self.table, self.axes, judgements, self.thresholds, *whys), *self._noise_answers[0]]

    @property
    def noise_ranking(self) -> pd.DataFrame:
        """One row per measure: how n_μ/n ranks natural networks, and how the measure does, on the same cells; see `noise_answers`."""
        return self._noise_answers[1]

    @cached_property
    def _noise_answers(self) -> tuple[list[Answer], pd.DataFrame]:
        whys = _named(self.judged.blocked("ranking")), _named(self.judged.blocked("all"))
        return noise_answers(self.table, self.axes, self.noise_equivalents, *whys)

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

    @cached_property
    def same(self) -> list[list[str]]:
        """Groups of measures that have the same values, up to `SAME`, on every run, or are missing there; each counts in corrections."""
        values = self.table[list(self.measures)].to_numpy(float)
        groups: list[list[int]] = []
        for k in range(values.shape[1]):
            if np.isfinite(values[:, k]).any():
                own = next((group for group in groups if np.allclose(values[:, group[0]], values[:, k], SAME, 0, equal_nan=True)), None)
                groups.append([k]) if own is None else own.append(k)
        return [[self.measures[k] for k in group] for group in groups if len(group) > 1]

    def figure(self, measure: str) -> Chart | None:
        """Return the chart of one measure or control: its values over the gap. None if no run has a finite value."""
        if measure not in self.judged.judgements:
            raise unknown("measure", measure, self.judged.judgements)
        return measure_chart(self.table, measure, self.judged.psi[measure])

    @property
    def charts(self) -> dict[str, Chart | None]:
        """The charts of the page, by name: worth, leaderboard, and one per measure; None for a chart without data."""
        of_measures = {measure_key(name): self.figure(name) for name in self.verdicts}
        return {"worth": worth_chart(self.noise_medians), "leaderboard": self.leaderboard(), **of_measures}

    def leaderboard(self) -> Chart | None:
        """Return the chart of all measures and controls: how each ranks over how it tells."""
        controls = [name for name in self.judged.judgements if name not in self.measures]
        return leaderboard_chart(self.judged, controls, self.seconds, self.thresholds.tells)


def measure_key(measure: str) -> str:
    """Return the name of a measure's chart, which is also that of its files.

    Example:
        >>> measure_key("l1/l2")
        'measure-l1%2Fl2'
    """
    return f"measure-{quote(measure, safe='')}"


def _named(wrong: Sequence[Control]) -> str:
    """Name the first control that came out wrong, in the form of a clause; "" without any."""
    return f"the control {wrong[0].name} must be {wrong[0].must!r} and came out {wrong[0].found!r}" if wrong else ""


def _number(value: float) -> float:
    return value if value == value else -math.inf
