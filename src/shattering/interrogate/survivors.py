"""Question 1: which measures survive the randomization test with loss and effort held fixed, and do the survivors rank?"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from shattering.interrogate.answers import LEAST_PAIRS, Answer, Effect, decide
from shattering.interrogate.equivalents import families_of
from shattering.interrogate.inference import average, wilson
from shattering.interrogate.ranks import Cells, granulated
from shattering.interrogate.tells import Comparisons, Tested
from shattering.interrogate.verdicts import COMPARISONS, NOT_COMPUTABLE, RANKS, READS, ROBUST, TELLS, Judgement, Thresholds, is_below
from shattering.report.claims import FAILS, HOLDS, OPEN, Verdict

SURVIVES = (ROBUST, RANKS, TELLS)  # verdicts: tells at equal loss, at equal steps and at both, and not before training
KILL = 1 / 3  # share of measures on which architectures may disagree, beyond which verdicts are claimed for each alone


def survivor_answers(
    table: pd.DataFrame,
    axes: Sequence[str],
    judgements: Mapping[str, Judgement],
    thresholds: Thresholds,
    cannot_rank: str = "",
    blocked: str = "",
) -> list[Answer]:
    """Answer the hypotheses of question 1.

    They are: (a) most measures survive, so they tell natural from random labels at equal loss, at equal steps and at both, and not before
    training; (b) a survivor ranks natural networks; (c) survivors rank better than the others; (d), the kill criterion, verdicts are the
    same for all architectures. If they are not for more than a third of the measures, verdicts are claimed for each architecture alone.

    Args:
        table: one row per run, with the axes and one column per measure.
        axes: the hyperparameters that differ between cells.
        judgements: measure → its judgement.
        thresholds: of the verdicts.
        cannot_rank: why these runs cannot tell whether a measure ranks; "" if they can.
        blocked: why these runs decide nothing; "" if they do.

    Returns:
        The answers to (a), (b), (c), (d).

    Example:
        >>> survivor_answers(population, ["width"], {}, Thresholds())[0].shown_verdict
        'undecidable here, because no measure could be judged'
    """
    known = {name: judgement for name, judgement in judgements.items() if judgement.verdict != NOT_COMPUTABLE}
    survivors = [name for name, judgement in known.items() if judgement.verdict in SURVIVES]
    cells = Cells.of(table, axes)
    psi = {name: found for name in known if (found := granulated(cells, name))[0].pairs >= LEAST_PAIRS}
    why = blocked or cannot_rank
    return [
        _most_survive(known, survivors, thresholds, blocked),
        _they_rank(known, [name for name in survivors if name in psi], psi, thresholds, why),
        _better_than_others(survivors, psi, why),
        same_for_all_families(table, list(known), thresholds, blocked),
    ]


def _most_survive(known: Mapping[str, Judgement], survivors: Sequence[str], t: Thresholds, why: str) -> Answer:
    """Count survivors, those that certainly fail, and those that are open, as bounds on the share that survives."""
    failed = [name for name, j in known.items() if _fails(j.outcomes, t) or j.verdict == READS]
    n, low, high = len(known), len(survivors), len(known) - len(failed)
    told = [name for name, j in known.items() if j.outcomes["T1a"].statistic >= t.tells]
    evidence = f"At equal loss, whatever the effort, {len(told)} of {n} measures tell. With loss and effort held fixed {low} survive, "
    evidence += f"{len(failed)} certainly do not (also some that are undecided by themselves), and {n - low - len(failed)} are open"
    evidence += f". Survivors: {', '.join(survivors)}." if survivors else "."
    if not n:
        why = why or "no measure could be judged"
    elif not why and 2 * low <= n < 2 * high:
        why = f"between {low} and {high} of {n} survive"
    return _bounded(
        "Most measures survive the test with loss and effort held fixed.", HOLDS if 2 * low > n else FAILS, (low, high, n), evidence, why
    )


def _bounded(hypothesis: str, verdict: Verdict, counts: tuple[int, int, int], evidence: str, why: str) -> Answer:
    """Make an answer of the least and the largest number of measures for which something is true, of all."""
    low, high, n = counts
    return Answer("Q1", hypothesis, OPEN if why else verdict, evidence, why, low / max(1, n), low / max(1, n), high / max(1, n))


def _fails(outcomes: Mapping[str, Tested], t: Thresholds) -> bool:
    return any(is_below(outcomes[test], t) for test in COMPARISONS)


def _they_rank(known: Mapping[str, Judgement], survivors: Sequence[str], psi: Mapping[str, tuple], t: Thresholds, why: str) -> Answer:
    hypothesis = f"The median survivor ranks natural networks by their gap: its Ψ is {t.ranks:g} or more."
    if not survivors:
        return decide("Q1", hypothesis, Effect(), "", why=why or f"no measure survives with a Ψ of {LEAST_PAIRS} pairs of cells")
    median = float(np.nanmedian([psi[name][0].statistic for name in survivors]))
    effect = Effect.of(median, average([psi[name][1] for name in survivors], of=np.nanmedian))
    ranking = [name for name in survivors if known[name].ranks]
    evidence = f"The median Ψ of the {len(survivors)} survivors is {effect.shown()}. {len(ranking)} of them rank beyond chance"
    evidence += f": {', '.join(ranking)}." if ranking else "."
    return decide("Q1", hypothesis, effect, evidence, above=t.ranks, margin=0.0, why=why)


def _better_than_others(survivors: Sequence[str], psi: Mapping[str, tuple], why: str) -> Answer:
    """Compare the mean Ψ of survivors and of the other measures; cells are resampled, the measures are not."""
    hypothesis = "Passing the test predicts ranking: survivors have a larger Ψ than the other measures."
    survivors, others = [name for name in survivors if name in psi], [name for name in psi if name not in survivors]
    if min(len(survivors), len(others)) < 2:
        why = why or f"{len(survivors)} measures with a Ψ survive and {len(others)} do not, and each side needs two"
        return decide("Q1", hypothesis, Effect(), "", why=why)
    own, rest = (float(average([psi[name][0].statistic for name in names])) for names in (survivors, others))
    draws = [average([psi[name][1] for name in names]) for names in (survivors, others)]
    effect = Effect.of(own - rest, draws[0] - draws[1])
    evidence = f"The mean Ψ is {own:.2f} for {len(survivors)} survivors and {rest:.2f} for {len(others)} others: "
    evidence += f"a difference of {effect.shown('{:+.2f}')}."
    return decide("Q1", hypothesis, effect, evidence, why=why)


def same_for_all_families(table: pd.DataFrame, measures: Sequence[str], thresholds: Thresholds, why: str = "") -> Answer:
    """Compare what each comparison says of each measure between families of architectures: the kill criterion of question 1.

    In each family a comparison tells if its share of cells reaches the threshold beyond chance (sign test, not corrected, as one family
    has few cells), and does not if the whole interval lies below. A measure is the same for all families if at equal loss, at equal steps
    and at both every family says the same; it differs if in one of the three one family tells and another certainly does not; else it is
    open.

    Args:
        table: see `survivor_answers`.
        measures: columns that are judged.
        thresholds: of the verdicts.
        why: why these runs decide nothing; "" if they do.

    Returns:
        The answer: it holds if at most a third differ even if all that are open did; it does not if more than a third do.

    Example:
        >>> same_for_all_families(population, ["satisfies"], Thresholds()).why
        'these runs have networks of one family only'
    """
    hypothesis = "Verdicts are the same for all architectures, but for at most a third of the measures."
    families = families_of(table)
    of = table[["cell"]].join(families.rename("family"), on="cell")["family"]
    trained = ~table["condition"].str.startswith("untrained")
    names = sorted(set(of[trained]))
    if len(names) < 2 or not measures:
        return decide("Q1", hypothesis, Effect(), "", why=why or "these runs have networks of one family only")
    parts = [table.loc[(of == name) & trained].reset_index(drop=True) for name in names]
    comparisons = [(Comparisons(part), part) for part in parts]
    found = {name: [_told(c, part[name].to_numpy(float), thresholds) for c, part in comparisons] for name in measures}
    differ = [name for name, sides in found.items() if any({True, False} <= {side[i] for side in sides} for i in range(len(COMPARISONS)))]
    same = [name for name, sides in found.items() if None not in sides[0] and all(side == sides[0] for side in sides)]
    n, low, high = len(measures), len(differ), len(measures) - len(same)
    cells = ", ".join(f"{part['cell'].nunique()} cells of {name}" for (_, part), name in zip(comparisons, names, strict=True))
    evidence = f"Of {n} measures, {len(same)} are the same in {cells}, {low} differ" + (f" ({', '.join(differ)})" if differ else "")
    evidence += f", and {high - low} are open in one of them. 95 % interval of the share that differ, open ones left out: "
    evidence += "{:.0%} … {:.0%}.".format(*wilson(low / max(1, low + len(same)), low + len(same)))
    if not why and low <= KILL * n < high:
        why = f"between {low} and {high} of {n} differ"
    return _bounded(hypothesis, FAILS if low > KILL * n else HOLDS, (low, high, n), evidence, why)


def _told(compared: Comparisons, values: np.ndarray, t: Thresholds) -> list[bool | None]:
    """Return for T1a, T1b and T1c True if the measure tells, False if it certainly does not, None if that is open."""
    outcomes = (compared.at_equal_loss(values), compared.at_equal_steps(values), compared.at_both(values))
    return [True if o.statistic >= t.tells and o.p < t.level else False if is_below(o, t) else None for o in outcomes]
