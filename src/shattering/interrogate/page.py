"""The page of an interrogation: verdicts in sentences, the table of tests, controls, leaderboard, and a figure per measure."""

import math

from shattering.interrogate.equivalents import STATUSES
from shattering.interrogate.findings import Findings, measure_key
from shattering.interrogate.judging import TESTS
from shattering.interrogate.table import CONDITIONS
from shattering.interrogate.tells import Tested
from shattering.interrogate.verdicts import COMPARISONS
from shattering.report.page import render_template

SHOWN = ("T0", "T1a", "T1b", "T1c", "T2", "T3", "T3 τ", "T4", "T5", "T6")
_FORMS = {"T4": "{:.1f}"}
_LEADERBOARD = "Each point is a measure: to the right those that tell natural from random labels, at the top those that have information "
_LEADERBOARD += "about the gap beyond any two hyperparameters. The dashed line is the threshold of telling; controls are named. "
_LEADERBOARD += "What is below 0 is drawn at 0."


def render_interrogation(found: Findings) -> str:
    """Return the page as text. All text from outside is escaped."""
    controls = [name for name in found.judged.judgements if name not in found.measures]
    shown = [name for name in controls if not name.startswith("random_number_") or name.endswith("_00")]  # the first stands for all
    names = [*found.verdicts, *shown]
    charts = found.charts
    figures = {measure_key(name): name for name in found.verdicts}
    return render_template(
        "interrogation.html.j2",
        found.runs,
        "Measures of generalization, interrogated",
        charts,
        {"worth": _worth, "capital": lambda text: text[0].upper() + text[1:]},
        blocked=found.why_blocked,
        cannot_rank=found.judged.blocked("ranking"),
        verdicts=found.verdicts,
        by_verdict=_by_verdict(found),
        tests={test: TESTS[test] for test in SHOWN},
        rows=[_row(found, name) for name in names],
        answers=found.answers,
        noise=found.noise_medians.to_dict("records"),
        statuses=STATUSES,
        shattered=found.shatter_shares.to_dict("records"),
        survey=found.survey.to_dict("records"),
        controls=found.judged.controls,
        best=None if found.why_blocked or found.judged.blocked("ranking") else found.judged.best,
        counts=[{**row, "meaning": CONDITIONS[row["condition"]]} for row in found.counts.to_dict("records")],
        reasons=found.reasons.to_dict("records"),
        same=found.same,
        figures={key: name for key, name in figures.items() if charts[key] is not None},
        leaderboard_caption=_LEADERBOARD,
        thresholds=found.thresholds,
        machines=found.machines,
        loss_ratio=_loss_ratio(found),
        epochs=_tried(found),
    )


def _by_verdict(found: Findings) -> dict[str, list[str]]:
    """Return the measures of each verdict, the best verdict first."""
    out: dict[str, list[str]] = {}
    for name, verdict in found.verdicts.items():
        out.setdefault(verdict.verdict, []).append(name)
    return out


def _worth(share: float) -> str:
    """Write n_μ/n; 0 and infinity stand for sizes outside the ladder."""
    return "–" if math.isnan(share) else "below" if share == 0 else "above" if math.isinf(share) else f"{share:.2f}"


def _row(found: Findings, name: str) -> dict:
    judgement = found.judged.judgements[name]
    is_control = name not in found.measures
    verdict = judgement.verdict if is_control else found.verdicts[name].verdict
    cells = [_cell(test, judgement.outcomes[test], judgement.corrected[test], found) for test in SHOWN]
    return {"name": name, "control": is_control, "verdict": verdict, "cells": cells, "seconds": found.seconds.get(name)}


def _cell(test: str, outcome: Tested, corrected: float, found: Findings) -> dict:
    """Return what a cell of the table shows: text, number to sort by, class, and a text for the pointer."""
    value, t = outcome.statistic, found.thresholds
    if math.isnan(value):
        return {"text": "–", "sort": "", "kind": "", "title": outcome.note}
    if test in COMPARISONS:
        passed = value >= t.tells and corrected < t.level
    else:
        limits = {"T0": value < t.tells, "T2": corrected < t.level, "T3": value >= t.ranks, "T4": value > 0 and corrected < t.level}
        limits |= {"T5": value <= t.robust, "T6": value <= t.fragile}
        passed = limits.get(test)
    parts = [f"{outcome.low:.2f} … {outcome.high:.2f}"] if outcome.low == outcome.low else []
    parts += [f"p = {outcome.p:.2g}, corrected {corrected:.2g}"] if outcome.p == outcome.p else []
    parts += [f"{outcome.cells} cells, {outcome.pairs} pairs", outcome.note]
    kind = "" if passed is None else "pass" if passed else "fail"
    return {
        "text": _FORMS.get(test, "{:.2f}").format(value),
        "sort": repr(float(value)),
        "kind": kind,
        "title": "; ".join(filter(None, parts)),
    }


def _loss_ratio(found: Findings) -> float | None:
    """Return the median loss of random labels over that of the natural partner, both as they stopped."""
    kept = found.table[found.table["fitted"]]
    sides = [kept.loc[kept["condition"] == name, ["cell", "seed", "loss"]] for name in ("natural", "random")]
    both = sides[0].merge(sides[1], on=["cell", "seed"])
    return float((both["loss_y"] / both["loss_x"]).median()) if len(both) else None


def _tried(found: Findings) -> list[dict]:
    """Return, for each treatment with runs that missed their loss, how many did."""
    return [row for row in found.counts.to_dict("records") if row["fitted"] < row["runs"]]
