"""Question 2: is the noise-equivalent size of a network worth more than the measure that it is read from?

Asked of all measures together; cells are resampled, so that intervals are about other cells, not about other measures.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
import pandas as pd

from shattering.interrogate.answers import LEAST_PAIRS, Answer, Effect, decide
from shattering.interrogate.equivalents import FOUND, families_of, shares_by_cell
from shattering.interrogate.inference import average, resample, sign_of, sign_test
from shattering.interrogate.ranks import Cells, granulated, not_through_hyperparameters, robust

LEAST_CELLS = 4  # cells in which a measure has a noise-equivalent size, for it to be compared
LEAST_MEASURES = 3
_FORMS = ("share", "value", "control")


def noise_answers(
    table: pd.DataFrame, axes: Sequence[str], sizes: pd.DataFrame, cannot_rank: str = "", blocked: str = ""
) -> tuple[list[Answer], pd.DataFrame]:
    """Answer the hypotheses of question 2.

    They are: (a) n_μ/n ranks natural networks by their gap better than μ; (b) measures agree on n_μ/n more than on μ; (c) n_μ/n is smaller
    for convolutional networks than for fully connected ones, and rises with the probability of label corruption.

    Args:
        table: one row per run, with the axes and one column per measure.
        axes: the hyperparameters that differ between cells.
        sizes: of `equivalent_sizes`.
        cannot_rank: why these runs cannot tell whether a measure ranks; "" if they can.
        blocked: why these runs decide nothing; "" if they do.

    Returns:
        The answers, and the ranking of (a): one row per measure with its cells, and Ψ, K̃ and sign error of n_μ/n ("share"), of μ in the
        same cells ("value"), and Ψ of μ over μ of a natural run of another seed ("control").

    Example:
        >>> from shattering.interrogate.equivalents import equivalent_sizes
        >>> answers, ranking = noise_answers(population, ["width", "depth"], equivalent_sizes(population, ["tells_only"]))
        >>> answers[3].verdict
        'holds'
        >>> answers[2].shown_verdict
        'undecidable here, because these runs have networks of one family only'
    """
    ranking, answer = _ranks_better(table, axes, sizes, blocked or cannot_rank)
    rest = [_agree(sizes, blocked), _smaller_for_convolutions(table, sizes, blocked), _rises(sizes, blocked)]
    return [answer, *rest], ranking


def _ranks_better(table: pd.DataFrame, axes: Sequence[str], sizes: pd.DataFrame, why: str) -> tuple[pd.DataFrame, Answer]:
    """Compare the ranking by n_μ/n with that by μ, on the same cells; and with that by μ over μ of another natural run."""
    forms = _forms(table, sizes)
    natural = table.loc[table["fitted"] & (table["condition"] == "natural")]
    columns = pd.concat([values.add_prefix(f"{form} ") for form, values in forms.items()], axis=1)
    cells = Cells.of(natural.join(columns, on="cell"), axes)
    rows, draws = [], {"share": [], "control": []}
    counts = forms["share"].notna().sum().astype(int).to_dict()
    for measure in [name for name, count in counts.items() if count >= LEAST_CELLS]:
        psi = {form: granulated(cells, f"{form} {measure}") for form in _FORMS}
        if psi["share"][0].pairs < LEAST_PAIRS:
            continue
        row = {"measure": measure, "cells": counts[measure]}
        row |= {f"psi {form}": psi[form][0].statistic for form in _FORMS}
        for form in ("share", "value"):
            row[f"k {form}"] = not_through_hyperparameters(cells, f"{form} {measure}").statistic
            row[f"error {form}"] = robust(cells, f"{form} {measure}").statistic
        rows.append(row)
        for form, found in draws.items():
            found.append(psi[form][1] - psi["value"][1])
    names = ["measure", "cells", *(f"psi {form}" for form in _FORMS), "k share", "k value", "error share", "error value"]
    ranking = pd.DataFrame(rows, columns=names)
    return ranking, _of_ranking(ranking, draws, why)


def _forms(table: pd.DataFrame, sizes: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return n_μ/n, μ, and the control, each (cells, measures), all of them NaN where there is no noise-equivalent size."""
    share = shares_by_cell(sizes, is_censored=False)
    own = sizes.loc[(sizes["corruption"] == 0) & (sizes["status"] == FOUND)]
    value = own.pivot_table(index="cell", columns="measure", values="value", dropna=False).reindex_like(share).where(share.notna())
    natural = table.loc[table["fitted"] & (table["condition"] == "natural")]
    control = {}
    for measure in share:
        runs = own.loc[own["measure"] == measure, ["cell", "seed", "value"]]
        pairs = runs.merge(natural[["cell", "seed", measure]], on="cell", suffixes=("", "_other"))
        pairs = pairs.loc[pairs["seed"] != pairs["seed_other"]]
        both = pairs[["value", measure]].to_numpy(float)
        is_of_one_sign = bool((both > 0).all() or (both < 0).all())
        change = both[:, 0] / both[:, 1] if is_of_one_sign else both[:, 0] - both[:, 1]
        control[measure] = pd.Series(change, index=pairs["cell"], dtype=float).groupby(level=0).mean()
    return {"share": share, "value": value, "control": pd.DataFrame(control).reindex_like(share).where(share.notna())}


def _of_ranking(ranking: pd.DataFrame, draws: Mapping[str, list[np.ndarray]], why: str) -> Answer:
    hypothesis = "n_μ/n ranks natural networks by their gap better than μ does."
    if len(ranking) < LEAST_MEASURES:
        why = why or f"{len(ranking)} measures have a size in {LEAST_CELLS} cells, of which {LEAST_PAIRS} pairs have gaps that differ"
        return decide("Q2", hypothesis, Effect(), "", why=why)
    psi, k, error = (ranking[[f"{name} share", f"{name} value"]].to_numpy(float) for name in ("psi", "k", "error"))
    effect = _median_change(psi[:, 0] - psi[:, 1], draws["share"])
    control = _median_change(ranking["psi control"].to_numpy(float) - psi[:, 1], draws["control"])
    counts = [
        _counted(psi[:, 0] - psi[:, 1], "Ψ is larger"),
        _counted(k[:, 0] - k[:, 1], "K̃ is larger"),
        _counted(error[:, 1] - error[:, 0], "the sign error is smaller"),
    ]
    evidence = f"In the median over {len(ranking)} measures Ψ changes by {effect.shown('{:+.2f}')}, on the same cells: "
    evidence += ", ".join(filter(None, counts)) + "."
    if control.statistic == control.statistic:
        evidence += f" The control, μ over μ of a natural run of another seed, changes Ψ by {control.shown('{:+.2f}')}."
        if control.low > 0 and effect.low > 0:
            why = why or "the control, which must not help, helps as well"
    return decide("Q2", hypothesis, effect, evidence, why=why)


def _median_change(changes: np.ndarray, draws: Sequence[np.ndarray]) -> Effect:
    known = [one for one, change in zip(draws, changes, strict=True) if change == change]
    return Effect.of(float(np.nanmedian(changes)), average(known, of=np.nanmedian)) if known else Effect()


def _counted(changes: np.ndarray, what: str) -> str:
    """Say for how many measures a change is for the better, by the sign test; "" if none is known."""
    known = changes[~np.isnan(changes)]
    won, lost = int((known > 1e-9).sum()), int((known < -1e-9).sum())
    return f"{what} for {won} and not for {lost} of {len(known)} measures (sign test p = {sign_test(won, lost):.2g})" if len(known) else ""


def _agree(sizes: pd.DataFrame, why: str) -> Answer:
    """Compare Kendall's τ between measures, across cells, of n_μ/n and of μ; ties are left out."""
    hypothesis = "Measures agree on n_μ/n more than on their own values."
    share = shares_by_cell(sizes, is_censored=False)
    share = share.loc[:, share.notna().sum() >= LEAST_CELLS]
    if share.shape[1] < LEAST_MEASURES:
        why = why or f"{share.shape[1]} measures have a noise-equivalent size in {LEAST_CELLS} cells"
        return decide("Q2", hypothesis, Effect(), "", why=why)
    natural = sizes.loc[(sizes["corruption"] == 0) & (sizes["status"] == FOUND)]
    value = natural.pivot_table(index="cell", columns="measure", values="value", dropna=False).reindex_like(share).where(share.notna())
    of_share, of_value = (_agreement(values.to_numpy(float)) for values in (share, value))
    effect = Effect.of(of_share[0] - of_value[0], of_share[1:] - of_value[1:])
    evidence = f"Across {len(share)} cells, Kendall's τ of two of {share.shape[1]} measures is on average {of_share[0]:.2f} for n_μ/n, "
    evidence += f"and {of_value[0]:.2f} for the measures themselves: a difference of {effect.shown('{:+.2f}')}."
    return decide("Q2", hypothesis, effect, evidence, why=why)


def _agreement(values: np.ndarray) -> np.ndarray:
    """Return the mean τ over pairs of measures, of the cells as they are and of each resample, (1 + draws,). values: (cells, measures)."""
    first, second = np.triu_indices(len(values), 1)
    signs = sign_of(values[first], values[second]).astype(np.float32)
    both = list(combinations(range(values.shape[1]), 2))
    products = np.stack([signs[:, i] * signs[:, j] for i, j in both], 1)
    cells = np.vstack([np.ones(len(values), int), resample(len(values), "n_mu/agree")]).astype(np.float32)
    weights = cells[:, first] * cells[:, second]
    with np.errstate(invalid="ignore", divide="ignore"):
        taus = (weights @ products) / (weights @ np.abs(products))
    return average(taus, 1)


def _smaller_for_convolutions(table: pd.DataFrame, sizes: pd.DataFrame, why: str) -> Answer:
    """Count pairs of a convolutional and a fully connected cell in which the former's n_μ/n is smaller."""
    hypothesis = "n_μ/n is smaller for convolutional networks than for fully connected ones."
    families = families_of(table)
    shares = shares_by_cell(sizes)
    of = families.reindex(shares.index).to_numpy()
    flat, other = shares.loc[of == "mlp"].to_numpy(float), shares.loc[(of != "mlp") & (of != "all")].to_numpy(float)
    known = ~np.isnan(flat[:, None]) & ~np.isnan(other[None])
    if not len(flat) or not len(other):
        why = why or "these runs have networks of one family only"
    if why or not known.any():
        return decide("Q2", hypothesis, Effect(), "", why=why)
    wins = np.where(known, (sign_of(other[None], flat[:, None]) + 1) / 2, 0.0)
    has = known.any((0, 1))
    wins, known = wins[..., has], known[..., has].astype(float)
    weights = [
        np.vstack([np.ones((1, len(side)), int), resample(len(side), f"n_mu/{i}")]).astype(float) for i, side in enumerate((flat, other))
    ]
    with np.errstate(invalid="ignore", divide="ignore"):
        part = np.stack([((weights[0] @ w) * weights[1]).sum(1) for w in np.moveaxis(wins, 2, 0)], 1)
        whole = np.stack([((weights[0] @ w) * weights[1]).sum(1) for w in np.moveaxis(known, 2, 0)], 1)
        a = average(part / whole, 1)
    effect = Effect.of(a[0], a[1:])
    sized = sizes.join(families.rename("family"), on="cell").groupby("family")["n"].unique()
    evidence = f"It is smaller in {effect.shown('{:.0%}')} of the pairs of a cell of each kind, averaged over {int(has.sum())} measures."
    if len({n for numbers in sized for n in numbers}) > 1:
        evidence += " They were trained on other numbers of images: " + ", ".join(f"{f} {_listed(n)}" for f, n in sized.items()) + "."
    return decide("Q2", hypothesis, effect, evidence, above=0.5, why=why)


def _listed(numbers: np.ndarray) -> str:
    return " and ".join(f"{int(n):,}" for n in sorted(numbers))


def _rises(sizes: pd.DataFrame, why: str) -> Answer:
    """Average Kendall's τ between p < 1 and n_μ/n, over measures and cells; censored sizes are ordered like others."""
    hypothesis = "n_μ/n rises with the probability p of label corruption, towards 1."
    doses = sorted(sizes["corruption"].unique())
    if len(doses) < 2:
        return decide("Q2", hypothesis, Effect(), "", why=why or "these runs have no partly random labels")
    shares = [shares_by_cell(sizes, p) for p in doses]
    names, cells = shares[0].columns, shares[0].index
    stack = np.stack([of.reindex(index=cells, columns=names).to_numpy(float) for of in shares])
    first, second = np.triu_indices(len(doses), 1)
    known = ~np.isnan(stack[first]) & ~np.isnan(stack[second])
    signs = np.where(known, sign_of(stack[first], stack[second]), 0.0)
    weights = np.vstack([np.ones(len(cells), int), resample(len(cells), "n_mu/rises")]).astype(float)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = (weights @ signs.sum(0)).sum(1) / (weights @ known.sum(0).astype(float)).sum(1)
    effect = Effect.of(mean[0], mean[1:])
    medians = [float(np.nanmedian(values[np.isfinite(values)])) if np.isfinite(values).any() else float("nan") for values in stack]
    path = ", ".join(f"{m:.2f} at p = {p:g}" for p, m in zip(doses, medians, strict=True) if m == m)
    evidence = f"Kendall's τ between p and n_μ/n is {effect.shown('{:.2f}')}, over all measures and cells; its median is {path}."
    evidence += " At p = 1 it is 1 by construction."
    return decide("Q2", hypothesis, effect, evidence, why=why)
