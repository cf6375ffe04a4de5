"""Does a measure rank natural networks by their gap? T3 Kendall's τ, granulated; T4 not through hyperparameters; T5 robust; T6 fragile.

The unit is the cell: the gap of a cell is the mean over its seeds, and the measure its mean rank over them, for runs of one cell are no
independent evidence. Differences of the gap within two standard errors are ties.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import numpy as np
import pandas as pd
from scipy import stats

from shattering import seeds
from shattering.interrogate.inference import DRAWS, percentiles, resample, sign_of
from shattering.interrogate.tells import NOTHING, Pairs, Tested
from shattering.parameters import check
from shattering.stats import Level

_PERMUTATIONS = 500  # of T4, per set of hyperparameters
_FEW = 2  # permutations that do as well, up to which 500 leave open how small p is
_LEAST = 6.0  # effective number of pairs below which T5 drops an environment


@dataclass(frozen=True)
class Cells:
    """The cells of one treatment, with what the tests of ranking compare; independent of the measures.

    Args:
        runs: the rows of the table that are compared.
        table: one row per cell: gap (mean over seeds), error (its standard error), n_test (test examples of all seeds), and the axes.
        axes: the hyperparameters that differ between cells.
        first, second: (pairs,) the two cells of every pair.
        gap: (pairs,) the sign of the second gap minus the first; 0 for differences within two standard errors.
        along: axis → (pairs,) True where the two cells differ in this axis alone.
    """

    runs: pd.DataFrame
    table: pd.DataFrame
    axes: Sequence[str]
    first: np.ndarray
    second: np.ndarray
    gap: np.ndarray
    along: dict[str, np.ndarray]

    @classmethod
    def of(cls, runs: pd.DataFrame, axes: Sequence[str], condition: str = "natural", corruption: float = 0.0) -> "Cells":
        """Collect the fitted runs of one treatment."""
        kept = runs.loc[runs["fitted"] & (runs["condition"] == condition) & (runs["corruption"] == corruption)]
        groups = kept.groupby("cell")
        table = (
            groups[list(axes)]
            .first()
            .assign(
                gap=groups["gap"].mean(),
                error=np.sqrt(groups["gap_error"].agg(lambda e: (e**2).sum())) / groups.size(),
                n_test=groups["n_test"].sum(),
            )
        )
        first, second = (np.array(side, dtype=int) for side in np.triu_indices(len(table), 1))
        gaps, errors = table["gap"].to_numpy(float), table["error"].to_numpy(float)
        clear = np.abs(gaps[second] - gaps[first]) > 2 * np.hypot(errors[first], errors[second])
        codes = np.column_stack([pd.factorize(table[axis])[0] for axis in axes]) if axes else np.zeros((len(table), 0), int)
        differ = codes[first] != codes[second]
        along = {axis: differ[:, i] & (differ.sum(1) == 1) for i, axis in enumerate(axes)}
        return cls(kept, table, axes, first, second, sign_of(gaps[first], gaps[second]) * clear, along)

    @cached_property
    def weights(self) -> np.ndarray:
        """Return how often each pair of cells is in each resample of the cells, (draws, pairs)."""
        weights = resample(len(self.table), "ranks").astype(np.float32)
        return weights[:, self.first] * weights[:, self.second]

    @cached_property
    def codes(self) -> np.ndarray:
        """The number of each run's cell in `table`, (runs,)."""
        return self.runs.groupby("cell").ngroup().to_numpy()

    def ranks(self, measure: str) -> np.ndarray:
        """Return the mean rank of a measure in each cell, (cells,); NaN where a run of the cell lacks it."""
        ranked = stats.rankdata(self.runs[measure].to_numpy(float), nan_policy="omit")
        return np.bincount(self.codes, ranked, len(self.table)) / np.bincount(self.codes, minlength=len(self.table))


@dataclass(frozen=True)
class Alike:
    """The pairs that T6 compares, as rows of the natural and random runs; independent of the measures.

    Args:
        runs: those runs, the fitted ones.
        cells: cells with natural runs.
        first, second: (pairs,) two natural runs whose test accuracies differ by less than a point.
        natural, random: (pairs,) the natural and the random run of the same cell and seed.
    """

    runs: pd.DataFrame
    cells: int
    first: np.ndarray
    second: np.ndarray
    natural: np.ndarray
    random: np.ndarray

    @classmethod
    def of(cls, table: pd.DataFrame) -> "Alike":
        """Collect the fitted runs of a table on natural and on random labels."""
        runs = table.loc[table["fitted"] & table["condition"].isin(["natural", "random"])].reset_index(drop=True)
        rows = np.flatnonzero(runs["condition"] == "natural")
        accuracy = runs["test_accuracy"].to_numpy(float)[rows]
        i, j = np.triu_indices(len(rows), 1)
        alike = np.abs(accuracy[i] - accuracy[j]) < 0.01
        both = Pairs.of(runs, "natural", "random")
        return cls(runs, runs["cell"].iloc[rows].nunique(), rows[i[alike]], rows[j[alike]], both.natural, both.random)


def kendall(cells: Cells, measure: str) -> Tested:
    """T3: Kendall's τ_b between a measure and the gap, over all pairs of cells."""
    signs, known = _signs(cells, measure)
    gap = np.where(known, cells.gap, 0)
    if not (gap != 0).any():
        return NOTHING

    def tau(weights: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore", divide="ignore"):
            return (weights @ (signs * gap)) / np.sqrt((weights @ (signs != 0)) * (weights @ (gap != 0)))

    whole = float(tau(np.ones((1, len(gap))))[0]) if signs.any() else 0.0
    low, high = percentiles(tau(cells.weights))
    return Tested(whole, low, high, cells=len(cells.table), pairs=int((gap != 0).sum()))


def granulated(cells: Cells, measure: str) -> tuple[Tested, np.ndarray, dict[str, float]]:
    """T3: Ψ, the mean over hyperparameters h of ψ_h, the agreement of measure and gap between cells that differ in h alone.

    Jiang et al. (ICLR 2020, section 2.2.2). A hyperparameter along which no two gaps differ has no ψ, and is left out.

    Returns:
        The outcome, Ψ of each resample of the cells (draws,), and ψ by hyperparameter.

    Example:
        >>> outcome, resampled, by_axis = granulated(cells, "satisfies")
        >>> by_axis
        {'width': 1.0, 'depth': 1.0, 'learning_rate': 1.0, 'batch_size': 1.0}
    """
    signs, known = _signs(cells, measure)
    gap = np.where(known, cells.gap, 0)
    weights = cells.weights
    parts, resampled = {}, []
    for axis, along in cells.along.items():
        clear = along & (gap != 0)
        if clear.any():
            parts[axis] = float((signs * gap)[clear].mean())
            with np.errstate(invalid="ignore", divide="ignore"):
                resampled.append((weights[:, clear] @ (signs * gap)[clear]) / weights[:, clear].sum(1))
    if not parts:
        return NOTHING, np.full(DRAWS, np.nan), {}
    with np.errstate(invalid="ignore"):
        draws = np.mean(resampled, axis=0)
    low, high = percentiles(draws)
    clear = sum(int((along & (gap != 0)).sum()) for along in cells.along.values())
    outcome = Tested(float(np.mean(list(parts.values()))), low, high, cells=len(cells.table), pairs=clear)
    return outcome, draws, parts


def not_through_hyperparameters(cells: Cells, measure: str, tests: int = 1) -> Tested:
    """T4: K̃, the information of a measure about the gap that no set of at most two hyperparameters has, in percent.

    K of a set S is 100 Σ_u p(u) I(V_μ; V_G | u) / Σ_u p(u) H(V_G | u), over ordered pairs of different cells, V the signs of their
    differences, u the values of S in both (Jiang et al. 2020, section 2.2.3, over pairs of different cells, without ties of G). K̃ takes out
    what a measure without information would have: K̃ = 100 (K − K̄₀)/(100 − K̄₀), K̄₀ the mean over permutations of the measure among the cells
    with the same values of S. The statistic is the least K̃ over S, and p the largest: it has to hold for every S.

    Args:
        cells: of natural runs.
        measure: a column of their runs.
        tests: how many p-values this one is corrected with. Where few permutations do as well, so many more are drawn that a p of
            0.05 after the correction can be reached.

    Example:
        >>> found = not_through_hyperparameters(cells, "satisfies")
        >>> round(found.statistic), round(found.p, 3)
        (100, 0.002)
    """
    ranks = cells.ranks(measure)
    ordered = np.concatenate([cells.first, cells.second]), np.concatenate([cells.second, cells.first])
    gap = np.concatenate([cells.gap, -cells.gap])
    kept = (gap != 0) & ~np.isnan(ranks[ordered[0]]) & ~np.isnan(ranks[ordered[1]])
    a, b, gap = ordered[0][kept], ordered[1][kept], gap[kept]
    if not len(gap):
        return NOTHING
    worst, p, of = float("inf"), 0.0, ()
    for names in (names for size in range(3) for names in combinations(cells.axes, size)):
        group = cells.table.groupby(list(names), sort=False).ngroup().to_numpy() if names else np.zeros(len(ranks), int)
        _, u = np.unique(group[a] * len(ranks) + group[b], return_inverse=True)
        entropy = _entropy(u, gap)
        if entropy <= 1e-9:  # the set decides every difference of the gap: nothing is left to be told
            continue
        k, mean, p_of = _against_permutations(ranks, group, (u, a, b, gap), tests, "-".join(names))
        excess = (k - mean) / (entropy - mean) if mean < entropy else 0.0
        p = max(p, p_of)
        if excess < worst:
            worst, of = excess, names
    if worst == float("inf"):
        return NOTHING
    note = f"least given {' and '.join(of)}" if of else "least given nothing"
    return Tested(100 * worst, p=p, cells=len(cells.table), pairs=len(gap) // 2, note=note)


def _against_permutations(
    ranks: np.ndarray, group: np.ndarray, pairs: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray], tests: int, purpose: str
) -> tuple[float, float, float]:
    """Return the information I(V_μ; V_G | u) in nats, its mean over permutations of the measure within groups, and the p-value.

    Args:
        ranks: (cells,) of the measure.
        group: (cells,) the values of the set of hyperparameters.
        pairs: u, the first and second cell, and the sign of the gap, each (pairs,).
        tests: see `not_through_hyperparameters`.
        purpose: of the random generator.
    """
    u, a, b, gap = pairs

    def of(shuffled: np.ndarray) -> np.ndarray:
        return _information(u, sign_of(shuffled[:, a], shuffled[:, b]), gap)

    k = float(of(ranks[None])[0])
    null = of(ranks[_within(group, _PERMUTATIONS, purpose)])
    mean, as_good, drawn = float(null.mean()), int((null >= k - 1e-12).sum()), len(null)
    while as_good <= _FEW and drawn < 40 * tests:
        null = of(ranks[_within(group, _PERMUTATIONS, f"{purpose}/{drawn}")])
        as_good, drawn = as_good + int((null >= k - 1e-12).sum()), drawn + len(null)
    return k, mean, (1 + as_good) / (1 + drawn)


def robust(cells: Cells, measure: str) -> Tested:
    """T5: the 90th percentile of the sign error over environments: one hyperparameter goes from a to b, the others fixed and pooled over.

    A sign error is the weighted share of pairs whose measure and gap differ in opposite directions, a tie of the measure counting half;
    weights grow with the certainty of the gap's difference (Dziugaite et al. 2020). Environments whose weights amount to fewer than six
    pairs are dropped, and counted in the note.

    Example:
        >>> robust(cells, "satisfies").statistic
        0.0
    """
    ranks, errors, dropped = cells.ranks(measure), {}, 0  # errors: (axis, a, b) → sign error
    gaps, n = cells.table["gap"].to_numpy(float), cells.table["n_test"].to_numpy(float)
    for axis, along in cells.along.items():
        values = pd.factorize(cells.table[axis], sort=True)[0]
        flip = values[cells.first] > values[cells.second]
        a, b = np.where(flip, cells.second, cells.first), np.where(flip, cells.first, cells.second)
        for low, high in combinations(np.unique(values), 2):
            here = along & (values[a] == low) & (values[b] == high) & ~np.isnan(ranks[a]) & ~np.isnan(ranks[b])
            difference = gaps[b[here]] - gaps[a[here]]
            tail = 2 * np.exp(-np.minimum(n[a[here]], n[b[here]]) * difference**2 / 2)
            weights = np.maximum(np.maximum(0.0, 1 - tail) ** 2 - 0.5, 0.0)
            if not weights.any() or weights.sum() ** 2 / (weights**2).sum() < _LEAST:
                dropped += 1
                continue
            wrong = (1 - sign_of(ranks[a[here]], ranks[b[here]]) * np.sign(difference)) / 2
            errors[axis, low, high] = float(weights @ wrong / weights.sum())
    if not errors:
        return Tested(float("nan"), cells=len(cells.table), note=f"{dropped} environments dropped: no certain difference of the gap")
    worst = max(errors, key=errors.__getitem__)
    note = f"worst along {worst[0]}, {errors[worst]:.2f}; mean {np.mean(list(errors.values())):.2f}; {dropped} environments dropped"
    return Tested(float(np.quantile(list(errors.values()), 0.9)), cells=len(cells.table), pairs=len(errors), note=note)


def fragile(alike: Alike, measure: str) -> Tested:
    """T6: how far a measure moves between natural runs of nearly the same test accuracy, as a share of its move to random labels.

    The median difference of ranks between natural runs whose test accuracies differ by less than a point, over the median difference
    between a natural run and the random one of the same cell and seed. Above ½, what does not matter moves it half as much as what
    matters (the audit that Zhang and Louis, 2025, ask for). Runs without the measure are left out.

    Example:
        >>> round(fragile(alike, "satisfies").statistic, 2)
        0.04
    """
    rank = stats.rankdata(alike.runs[measure].to_numpy(float), nan_policy="omit")
    moves = [np.abs(rank[b] - rank[a]) for a, b in ((alike.first, alike.second), (alike.natural, alike.random))]
    near, far = (move[~np.isnan(move)] for move in moves)
    if not len(near) or not len(far):
        return NOTHING
    close, apart = float(np.median(near)), float(np.median(far))
    share = close / apart if apart else float("inf") if close else 1.0
    return Tested(share, cells=alike.cells, pairs=len(near))


def best_of(values: Sequence[float], draws: np.ndarray, level: float = 0.95) -> tuple[int, float, float]:
    """Return which of several statistics is largest, with an interval that allows for its having been chosen.

    Args:
        values: (measures,) the statistics.
        draws: (measures, draws) the same on common resamples.
        level: of the interval.

    Returns:
        The index, and the interval: the largest minus the quantiles of (the largest of a resample − the statistic of that measure). NaN
        where nothing is known.
    """
    check("level", level, Level)
    if np.isnan(values).all():
        return 0, float("nan"), float("nan")
    best = int(np.nanargmax(values))
    known = ~np.isnan(draws).all(0)
    filled = np.where(np.isnan(draws[:, known]), -np.inf, draws[:, known])
    lead = filled.max(0) - np.asarray(values)[filled.argmax(0)]
    low, high = percentiles(lead, level)
    return best, float(values[best]) - high, float(values[best]) - low


def _signs(cells: Cells, measure: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the sign of each pair's difference of the measure, and whether both cells have it."""
    ranks = cells.ranks(measure)
    known = ~np.isnan(ranks[cells.first]) & ~np.isnan(ranks[cells.second])
    return sign_of(ranks[cells.first], ranks[cells.second]).astype(float), known


def _within(group: np.ndarray, count: int, purpose: str) -> np.ndarray:
    """Return permutations (count, cells) that move cells only within their group."""
    generator = seeds.generator(0, f"interrogate/T4/{purpose}", len(group))
    order = np.tile(np.arange(len(group)), (count, 1))
    for name in np.unique(group):
        members = np.flatnonzero(group == name)
        order[:, members] = generator.permuted(np.tile(members, (count, 1)), axis=1)
    return order


def _entropy(u: np.ndarray, gap: np.ndarray) -> float:
    """Return H(V_G | u) in nats, summed over u with the share of its pairs. u, gap: (pairs,)."""
    counts = np.bincount(u * 2 + (gap > 0), minlength=2 * (int(u.max()) + 1)).reshape(1, -1, 2)
    return float((_plogp(counts.sum(2), len(u)) - _plogp(counts, len(u)))[0])


def _information(u: np.ndarray, signs: np.ndarray, gap: np.ndarray) -> np.ndarray:
    """Return the plug-in estimate of I(V_μ; V_G | u) in nats, summed over u with the share of its pairs, for each row of signs.

    u, gap: (pairs,); signs: (rows, pairs). Returns (rows,).
    """
    rows, total = signs.shape
    n = 6 * (int(u.max()) + 1)
    keys = (u * 3 + signs + 1) * 2 + (gap > 0) + n * np.arange(rows)[:, None]
    counts = np.bincount(keys.ravel(), minlength=n * rows).reshape(rows, -1, 3, 2)
    marginals = _plogp(counts.sum(2), total) + _plogp(counts.sum(3), total)
    return _plogp(counts, total) + _plogp(counts.sum((2, 3)), total) - marginals


def _plogp(counts: np.ndarray, total: int) -> np.ndarray:
    """Return Σ p log p of each row's counts, p = count / total, (rows,)."""
    logs = np.log(np.maximum(np.arange(total + 1), 1) / total) * np.arange(total + 1) / total  # a table is quicker than a logarithm each
    return logs[counts].reshape(len(counts), -1).sum(1)
