"""Run all tests on all measures and controls, correct for their number, check the controls, and judge."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from shattering.interrogate.controls import Control, check_controls
from shattering.interrogate.inference import benjamini_hochberg, holm
from shattering.interrogate.ranks import Alike, Cells, best_of, fragile, granulated, kendall, not_through_hyperparameters, robust
from shattering.interrogate.tells import Comparisons, Tested
from shattering.interrogate.verdicts import UNDECIDED, Judgement, Thresholds, judge

TESTS = {
    "T0": "reads labels: share of pairs of untrained networks",
    "T1a": "tells at equal loss: share of cells",
    "T1b": "tells at equal steps: share of cells",
    "T1c": "tells at equal loss and steps: share of cells",
    "T1d random pixels": "tells random pixels at equal loss: share of cells",
    "T1d gaussian pixels": "tells Gaussian pixels at equal loss: share of cells",
    "AUC": "one threshold for all cells: share of pairs",
    "T2": "dose: mean over cells of Kendall's τ between measure and corruption",
    "T3": "ranks: Ψ, granulated agreement with the gap",
    "T3 τ": "ranks: Kendall's τ with the gap over all cells",
    "T3 half": "Ψ with half of the labels random",
    "T4": "not through hyperparameters: K̃, percent",
    "T5": "robust: 90th percentile of the sign error over environments",
    "T6": "fragile: moves between alike networks, as a share of the move to random labels",
}
ELIGIBLE = ("natural", "random", "equal steps", "fewer")  # treatments on which a measure has to be there


@dataclass(frozen=True)
class Judged:
    """All that was found.

    Args:
        judgements: measure or control → its judgement.
        tests: one row per measure and test: statistic, low, high, p, holm, q, cells, pairs, note.
        controls: what each control must be, and was.
        psi: measure → ψ by hyperparameter.
        best: the measure of largest Ψ, with its interval under the bootstrap of the maximum; None where none can be ranked.
        flipped: measure → the verdict that it would have with the runs that missed their loss, where that is another.
    """

    judgements: dict[str, Judgement]
    tests: pd.DataFrame
    controls: list[Control]
    psi: dict[str, dict[str, float]]
    best: tuple[str, float, float, float] | None
    flipped: dict[str, str]

    def blocked(self, what: str) -> list[Control]:
        """List the controls that came out wrong, and block "all" verdicts or those on "ranking"."""
        return [control for control in self.controls if control.blocks == what and not control.ok]


def judge_table(
    table: pd.DataFrame, axes: Sequence[str], measures: Sequence[str], controls: Sequence[str], thresholds: Thresholds | None = None
) -> Judged:
    """Run the tests T0 to T6 on every measure and control of a table of runs.

    P-values are corrected by Holm's procedure within each test, over the measures; that of a control is multiplied by the number of
    measures (Bonferroni). Where the oracle does not rank, or a random number does, no verdict says that a measure ranks.

    Args:
        table: one row per run, see `shattering.interrogate.table.COLUMNS`, and one column per measure and control, NaN where
            one is missing.
        axes: the hyperparameters that differ between cells.
        measures: columns that are judged.
        controls: columns whose verdicts are known.
        thresholds: None: the defaults.

    Example:
        >>> from shattering import Store
        >>> table, axes = runs_table(Store("runs").runs())  # doctest: +SKIP
        >>> judged = judge_table(table.assign(mine=table["updates"]), axes, ["mine"], [])  # doctest: +SKIP
    """
    t = thresholds or Thresholds()
    names = [*measures, *controls]
    telling, ranking = Comparisons(table), _Ranking(table, axes, len(measures) + 1)
    outcomes = {name: {**telling.outcomes(table[name].to_numpy(float)), **ranking.of(name)} for name in names}
    corrected = _correct(outcomes, measures, controls)
    missing = {name: missing_share(table, name) for name in names}
    judged = {name: judge(name, outcomes[name], corrected[name], missing[name], t) for name in names}
    checks = check_controls({name: judged[name] for name in controls}, t)
    can_rank = all(check.ok for check in checks if check.blocks == "ranking")
    if not can_rank:
        judged |= {name: judge(name, outcomes[name], corrected[name], missing[name], t, can_rank) for name in measures}
    psi = {name: ranking.parts[name] for name in names}
    values, draws = [outcomes[name]["T3"].statistic for name in measures], np.array([ranking.draws[name] for name in measures])
    best = best_of(values, draws) if measures else (0, float("nan"), float("nan"))
    known = bool(measures) and not np.isnan(values).all()
    return Judged(
        judged,
        _tests(outcomes, corrected, measures),
        checks,
        psi,
        (measures[best[0]], values[best[0]], best[1], best[2]) if known else None,
        _flipped(table, judged, measures, outcomes, missing, t, can_rank),
    )


class _Ranking:
    """The tests of ranking, with what they share between measures."""

    def __init__(self, table: pd.DataFrame, axes: Sequence[str], tests: int):
        self.tests = tests
        self.alike = Alike.of(table)
        self.natural = Cells.of(table, axes)
        self.half = Cells.of(table, axes, "partial", 0.5)
        self.parts: dict[str, dict[str, float]] = {}
        self.draws: dict[str, np.ndarray] = {}

    def of(self, measure: str) -> dict[str, Tested]:
        psi, self.draws[measure], self.parts[measure] = granulated(self.natural, measure)
        return {
            "T3": psi,
            "T3 τ": kendall(self.natural, measure),
            "T3 half": granulated(self.half, measure)[0],
            "T4": not_through_hyperparameters(self.natural, measure, self.tests),
            "T5": robust(self.natural, measure),
            "T6": fragile(self.alike, measure),
        }


def _correct(outcomes: Mapping[str, Mapping[str, Tested]], measures: Sequence[str], controls: Sequence[str]) -> dict[str, dict[str, float]]:
    """Correct the p-values of each test; a p-value that is not there counts as 1."""
    out: dict[str, dict[str, float]] = {name: {} for name in outcomes}
    for test in TESTS:
        adjusted = holm([outcomes[name][test].p for name in measures])
        known = max(1, int(np.sum(~np.isnan(adjusted))))
        for name, p in zip(measures, adjusted, strict=True):
            out[name][test] = 1.0 if np.isnan(p) else float(p)
        for name in controls:
            p = outcomes[name][test].p
            out[name][test] = 1.0 if np.isnan(p) else min(1.0, p * known)
    return out


def missing_share(table: pd.DataFrame, measure: str, conditions: Sequence[str] = ELIGIBLE) -> float:
    """Return the share of the runs of some conditions, those that reached their loss, on which a measure is missing; 1 without runs."""
    eligible = table.loc[table["fitted"] & table["condition"].isin(conditions), measure]
    return float(eligible.isna().mean()) if len(eligible) else 1.0


def _tests(
    outcomes: Mapping[str, Mapping[str, Tested]], corrected: Mapping[str, Mapping[str, float]], measures: Sequence[str]
) -> pd.DataFrame:
    rows = []
    for test in TESTS:
        q = dict(zip(measures, benjamini_hochberg([outcomes[name][test].p for name in measures]), strict=True))
        for name, found in outcomes.items():
            o = found[test]
            p = {"p": o.p, "holm": corrected[name][test] if o.p == o.p else float("nan"), "q": q.get(name, float("nan"))}
            rows.append(
                {
                    "measure": name,
                    "test": test,
                    "statistic": o.statistic,
                    "low": o.low,
                    "high": o.high,
                    **p,
                    "cells": o.cells,
                    "pairs": o.pairs,
                    "note": o.note,
                }
            )
    return pd.DataFrame(rows)


def _flipped(
    table: pd.DataFrame,
    judged: Mapping[str, Judgement],
    measures: Sequence[str],
    outcomes: Mapping[str, Mapping[str, Tested]],
    missing: Mapping[str, float],
    thresholds: Thresholds,
    can_rank: bool,
) -> dict[str, str]:
    """Judge again with the runs that missed their loss, and return the verdicts that are another; a verdict that was open is none."""
    if bool(table["fitted"].to_numpy(bool).all()):
        return {}
    telling = Comparisons(table, fitted=False)
    again = {name: {**outcomes[name], **telling.outcomes(table[name].to_numpy(float))} for name in measures}
    corrected = _correct(again, measures, ())
    verdicts = {name: judge(name, again[name], corrected[name], missing[name], thresholds, can_rank).verdict for name in measures}
    return {name: verdict for name, verdict in verdicts.items() if verdict != judged[name].verdict and judged[name].verdict != UNDECIDED}
