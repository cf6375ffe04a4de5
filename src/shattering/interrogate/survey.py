"""The republication's survey of measures (CACM 2021, section 6), each asked whether it tells natural from random labels."""

from collections.abc import Mapping

import pandas as pd

from shattering.interrogate.verdicts import COMPARISONS, Judgement, Thresholds, follows, is_below
from shattering.report.claims import FAILS, HOLDS, MISSING, OPEN, Verdict

SURVEY: dict[str, tuple[str, ...]] = {  # family → names of measures
    "margin bounds": (
        "spectral_complexity",
        "spectral_init_main",
        "spectral_over_margin",
        "frobenius_over_margin",
        "path_norm_over_margin",
        "inverse_margin",
        "input_margin",
        "hidden_margin",
        "optimal_transport_margin",
    ),
    "norms": (
        "parameter_norm",
        "distance",
        "angular_distance",
        "log_frobenius_product",
        "log_spectral_product",
        "stable_rank",
        "log_path_norm",
        "fisher_rao",
    ),
    "PAC-Bayes": (
        "pac_bayes_distance",
        "pac_bayes_norm",
        "pac_bayes_flatness",
        "pac_bayes_relative_flatness",
        "code_length",
    ),
    "sharpness": (
        "hessian_top",
        "hessian_trace",
        "sam_sharpness",
        "adaptive_sharpness",
        "adaptive_average_sharpness",
        "weighted_trace",
        "relative_flatness",
    ),
    "memorization": ("forgetting", "bits_of_labels"),
    "capacity": ("vc_dimension", "rademacher_correlation", "shatter_point", "uniform_stability", "average_stability"),
}


def survey_rows(
    judgements: Mapping[str, Judgement], missing: Mapping[str, float], thresholds: Thresholds, is_blocked: bool = False
) -> pd.DataFrame:
    """Say of each measure of the survey whether it tells natural from random labels, as the papers' scoreboard says of a claim.

    "holds": it tells at equal loss, at equal steps and at both; "does not hold": in one of them it certainly does not; "inconclusive":
    neither; "missing": it was not measured, or on too few of the runs on natural and on random labels. Where a control came out wrong
    nothing holds or fails.

    Args:
        judgements: measure → its judgement.
        missing: measure → share of the runs on natural and on random labels on which it is missing.
        thresholds: of the verdicts.
        is_blocked: whether a control came out wrong.

    Returns:
        One row per measure that was judged: family, measure, the share of cells of each of T1a, T1b and T1c (NaN where nothing could be
        compared), claim, and why it is "inconclusive", else "".

    Example:
        >>> survey_rows({}, {}, Thresholds()).columns.tolist()
        ['family', 'measure', 'T1a', 'T1b', 'T1c', 'claim', 'why']
    """
    rows = []
    for family, names in SURVEY.items():
        for name in (name for name in names if name in judgements):
            claim = OPEN if is_blocked else _claim(judgements[name], missing[name], thresholds)
            why = "a control came out wrong" if is_blocked else _why_open(judgements[name], thresholds) if claim == OPEN else ""
            rows.append({"family": family, "measure": name, **_shares(judgements[name]), "claim": claim, "why": why})
    return pd.DataFrame(rows, columns=["family", "measure", *COMPARISONS, "claim", "why"])


def _shares(judgement: Judgement) -> dict[str, float]:
    return {test: judgement.outcomes[test].statistic for test in COMPARISONS}


def _why_open(judgement: Judgement, thresholds: Thresholds) -> str:
    """Name the comparisons that neither tell nor certainly do not, with their numbers."""
    told = follows(judgement, thresholds)
    return "; ".join(
        f"{where} it is larger in {o.statistic:.0%} of {o.cells} cells ({o.low:.0%} … {o.high:.0%})"
        if (o := judgement.outcomes[test]).cells
        else f"{where} nothing could be compared"
        for test, where in COMPARISONS.items()
        if not told[test]
    )


def _claim(judgement: Judgement, missing: float, thresholds: Thresholds) -> Verdict:
    if missing > thresholds.missing:
        return MISSING
    if all(follows(judgement, thresholds).values()):
        return HOLDS
    return FAILS if any(is_below(judgement.outcomes[test], thresholds) for test in COMPARISONS) else OPEN
