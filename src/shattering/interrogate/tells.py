"""Does a measure tell natural from random labels? T0 at initialization, T1 at equal loss, equal steps and both, T2 over doses.

`Comparisons` says, from the table of runs alone, which runs are compared; a test is then a function of a measure's values, one per row, of
which larger ones mean "predicted to generalize worse". The columns of the table are those of `shattering.interrogate.table.COLUMNS`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from shattering import seeds
from shattering.interrogate.inference import DRAWS, percentiles, resample, sign_of, sign_test, wilson


@dataclass(frozen=True)
class Tested:
    """The outcome of a test of a measure.

    Args:
        statistic: of the test; NaN where nothing could be compared.
        low, high: its 95 % interval.
        p: two-sided p-value, or one-sided for T2 and T4; NaN for tests without one.
        cells: cells that were compared.
        pairs: pairs of runs that were compared.
        pair_low, pair_high: of T1, the 90 % interval of the share over pairs, cells resampled, which the test of equivalence uses.
        note: what else was found, in words.
    """

    statistic: float
    low: float = float("nan")
    high: float = float("nan")
    p: float = float("nan")
    cells: int = 0
    pairs: int = 0
    pair_low: float = float("nan")
    pair_high: float = float("nan")
    note: str = ""


NOTHING = Tested(float("nan"))


@dataclass(frozen=True)
class Pairs:
    """Pairs of runs that differ in one treatment: (pairs,) numbers of their cells, and the rows of both sides."""

    cell: np.ndarray
    natural: np.ndarray
    random: np.ndarray

    @classmethod
    def of(cls, table: pd.DataFrame, natural: str, random: str) -> "Pairs":
        """Pair the runs of two treatments by cell and seed."""
        rows = table[["cell", "seed"]].assign(row=np.arange(len(table)))
        sides = [rows[(table["condition"] == name).to_numpy()] for name in (natural, random)]
        both = sides[0].merge(sides[1], on=["cell", "seed"], suffixes=("_n", "_r"))
        return cls(pd.factorize(both["cell"])[0], both["row_n"].to_numpy(int), both["row_r"].to_numpy(int))


@dataclass(frozen=True)
class Ladder:
    """Natural runs, each with the runs on random labels, of the same cell and seed, whose steps surround its own.

    Args:
        cell: (runs,) numbers of the cells.
        natural: (runs,) rows of the natural runs.
        steps: (runs,) logarithms of their steps.
        rungs: for each, the rows of the runs on random labels, by steps.
        rung_steps: for each, the logarithms of their steps.
    """

    cell: np.ndarray
    natural: np.ndarray
    steps: np.ndarray
    rungs: Sequence[np.ndarray]
    rung_steps: Sequence[np.ndarray]

    @classmethod
    def of(cls, table: pd.DataFrame) -> "Ladder":
        """Find the ladder of each natural run that has one."""
        rows = table[["cell", "seed", "updates"]].assign(row=np.arange(len(table)))
        random = rows.loc[table["condition"].isin(["fewer", "random"]).to_numpy()]
        rungs = {key: on.sort_values("updates") for key, on in random.groupby(["cell", "seed"]) if len(on) > 1}
        natural = rows.loc[(table["condition"] == "natural").to_numpy()]
        natural = natural.loc[[key in rungs for key in zip(natural["cell"], natural["seed"], strict=True)]]
        on = [rungs[key] for key in zip(natural["cell"], natural["seed"], strict=True)]
        return cls(
            pd.factorize(natural["cell"])[0],
            natural["row"].to_numpy(int),
            np.log(natural["updates"].to_numpy(float)),
            [rung["row"].to_numpy(int) for rung in on],
            [np.log(rung["updates"].to_numpy(float)) for rung in on],
        )


class Comparisons:
    """The runs of a table that each test of telling compares.

    Args:
        table: one row per run.
        fitted: leave out runs that missed the loss at which they were to stop, and so their pairs.

    Example:
        >>> table = pd.DataFrame({"cell": ["a", "a"], "seed": [0, 0], "condition": ["natural", "random"], "updates": [10, 90]})
        >>> table = table.assign(corruption=[0.0, 1.0], fitted=True)
        >>> Comparisons(table).at_equal_loss(np.array([1.0, 2.0])).statistic
        1.0
    """

    def __init__(self, table: pd.DataFrame, fitted: bool = True):
        kept = np.flatnonzero(table["fitted"].to_numpy(bool)) if fitted else np.arange(len(table))
        self.table, self.rows = table.iloc[kept], kept
        self.pairs = {
            "T0": Pairs.of(self.table, "untrained natural", "untrained random"),
            "T1a": Pairs.of(self.table, "natural", "random"),
            "T1b": Pairs.of(self.table, "equal steps", "random"),
            "T1d random pixels": Pairs.of(self.table, "natural", "random pixels"),
            "T1d gaussian pixels": Pairs.of(self.table, "natural", "gaussian pixels"),
        }
        self.ladder = Ladder.of(self.table)
        self.conditions = {name: np.flatnonzero((self.table["condition"] == name).to_numpy()) for name in ("natural", "random")}
        self.doses = _Doses.of(self.table)

    def outcomes(self, values: np.ndarray) -> dict[str, Tested]:
        """Run all tests of telling on a measure. values: (rows of the table,), NaN where it is missing."""
        return {
            "T0": self.at_initialization(values),
            "T1a": self.at_equal_loss(values),
            "T1b": self.at_equal_steps(values),
            "T1c": self.at_both(values),
            "T1d random pixels": self.on_pixels(values, "random"),
            "T1d gaussian pixels": self.on_pixels(values, "gaussian"),
            "AUC": self.pooled(values),
            "T2": self.dose(values),
        }

    def at_initialization(self, values: np.ndarray) -> Tested:
        """T0: the share of pairs of untrained networks in which the measure is larger with random labels, A₀.

        A measure that tells without any training reads the data. Pairs share images and initial weights; cells are architectures.
        """
        return self._compare("T0", values, over_pairs=True)

    def at_equal_loss(self, values: np.ndarray) -> Tested:
        """T1a: networks on natural and on random labels, both trained to the same loss."""
        return self._compare("T1a", values)

    def at_equal_steps(self, values: np.ndarray) -> Tested:
        """T1b: the natural network, trained for as many steps as the one on random labels took."""
        return self._compare("T1b", values)

    def at_both(self, values: np.ndarray) -> Tested:
        """T1c: the natural network against the measure on as many random labels as take the same steps to the same loss.

        The measure is interpolated between the sizes of the ladder, in the logarithm of the steps. A run counts only where its steps lie
        within the ladder.
        """
        values, ladder = values[self.rows], self.ladder
        there = [_interpolate(x, values[rungs], at) for x, rungs, at in zip(ladder.rung_steps, ladder.rungs, ladder.steps, strict=True)]
        own, random = values[ladder.natural], np.array(there, dtype=float)
        same = np.isclose(own, random, rtol=1e-9, atol=0)  # a tie but for the rounding of the interpolation
        return compare(ladder.cell, own, np.where(same, own, random), "T1c")

    def on_pixels(self, values: np.ndarray, pixels: str) -> Tested:
        """T1d: natural images against images of destroyed structure with true labels, at the same loss. pixels: "random" or "gaussian"."""
        return self._compare(f"T1d {pixels} pixels", values)

    def pooled(self, values: np.ndarray) -> Tested:
        """Return the share of all pairs of a natural and a random run, of whatever cells, in which the measure is larger on the random one.

        This is the area under the curve of one threshold for all architectures (Mann–Whitney).
        """
        values = values[self.rows]
        natural, random = (values[self.conditions[name]] for name in ("natural", "random"))
        natural, random = natural[~np.isnan(natural)], random[~np.isnan(random)]
        if not len(natural) or not len(random):
            return NOTHING
        u = stats.rankdata(np.concatenate([random, natural]))[: len(random)].sum() - len(random) * (len(random) + 1) / 2
        return Tested(float(u / (len(natural) * len(random))), pairs=len(natural) * len(random))

    def dose(self, values: np.ndarray) -> Tested:
        """T2: the mean over cells of Kendall's τ_b between the measure and the probability of label corruption.

        The p-value is one-sided: how often corruptions permuted within the cells give as large a mean. A cell counts where every run has
        the measure.
        """
        values, taus = values[self.rows], []
        for rows, doses in zip(self.doses.rows, self.doses.signs, strict=True):
            own = values[rows]
            if not np.isnan(own).any():
                signs = sign_of(own[:, None], own[None, :]).ravel().astype(np.float32)
                scale = float(np.sqrt((signs != 0).sum() * (doses[0] != 0).sum())) or 1.0
                taus.append(doses.astype(np.float32) @ signs / scale)
        if not taus:
            return NOTHING
        tau, shuffled = float(np.mean([of[0] for of in taus])), np.mean([of[1:] for of in taus], axis=0)
        low, high = percentiles(resample(len(taus), "T2") @ np.array([of[0] for of in taus]) / len(taus))
        p = (1 + int((shuffled >= tau - 1e-6).sum())) / (1 + DRAWS)
        return Tested(tau, low, high, p, len(taus), sum(map(len, self.doses.rows)))

    def _compare(self, test: str, values: np.ndarray, over_pairs: bool = False) -> Tested:
        pairs, values = self.pairs[test], values[self.rows]
        return compare(pairs.cell, values[pairs.natural], values[pairs.random], test, over_pairs)


@dataclass(frozen=True)
class _Doses:
    """Rows of each cell with three doses or more; and the signs of all differences of doses, then of permuted ones, (1 + draws, doses²)."""

    rows: Sequence[np.ndarray]
    signs: Sequence[np.ndarray]

    @classmethod
    def of(cls, table: pd.DataFrame) -> "_Doses":
        rows, signs = [], []
        kept = table[["cell", "corruption"]].assign(row=np.arange(len(table)))
        kept = kept.loc[table["condition"].isin(["natural", "partial", "random"]).to_numpy()]
        for cell, of in kept.groupby("cell"):
            p = of["corruption"].to_numpy(float)
            if len(np.unique(p)) > 2:  # two doses are T1a
                doses = sign_of(p[:, None], p[None, :])
                order = seeds.generator(0, f"interrogate/T2/{cell}").permuted(np.tile(np.arange(len(p)), (DRAWS, 1)), axis=1)
                rows.append(of["row"].to_numpy(int))
                signs.append(np.concatenate([doses[None], doses[order[:, :, None], order[:, None, :]]]).reshape(1 + DRAWS, -1))
        return cls(rows, signs)


def _interpolate(x: np.ndarray, y: np.ndarray, at: float) -> float:
    """Interpolate linearly between values that are there; NaN outside x. Beside an infinite value the result is infinite."""
    x, y = x[~np.isnan(y)], y[~np.isnan(y)]
    if len(x) < 2 or not x[0] <= at <= x[-1]:
        return float("nan")
    right = int(np.clip(np.searchsorted(x, at), 1, len(x) - 1))
    left, width = right - 1, x[right] - x[right - 1]
    weight = (at - x[left]) / width if width else 0.5
    return float(sum(y[i] * w for i, w in ((left, 1 - weight), (right, weight)) if w > 0))


def compare(cell: np.ndarray, natural: np.ndarray, random: np.ndarray, purpose: str, over_pairs: bool = False) -> Tested:
    """Compare two treatments within cells: the matched common-language effect, with the exact sign test and Wilson's interval.

    A = (1/N) Σ_c [1{μ_c,random > μ_c,natural} + ½ 1{=}], μ_c the mean rank over the seeds of cell c.

    Args:
        cell: (pairs,) numbers of the cells.
        natural: (pairs,) a measure on one side; a pair with NaN on either side is left out.
        random: (pairs,) the measure on the other side.
        purpose: names the resamples.
        over_pairs: count pairs in the place of cells, for untrained networks. Pairs of one seed may share their images, so that
            for a measure that reads the data alone p is too small and the interval too narrow.
    """
    known = ~np.isnan(natural) & ~np.isnan(random)
    if not known.any():
        return NOTHING
    natural, random, cell = natural[known], random[known], np.unique(cell[known], return_inverse=True)[1]
    scores, sizes = (sign_of(natural, random) + 1) / 2, np.bincount(cell)
    ranks = stats.rankdata(np.concatenate([natural, random]))
    by_cell = np.bincount(cell, ranks[len(natural) :] - ranks[: len(natural)])
    differences = scores - 0.5 if over_pairs else by_cell
    n, won, lost = len(differences), int((differences > 0).sum()), int((differences < 0).sum())
    share = (won + (n - won - lost) / 2) / n
    low, high = wilson(share, n)
    weights = resample(len(sizes), purpose)
    pair_low, pair_high = percentiles((weights @ np.bincount(cell, scores)) / (weights @ sizes), 0.9)
    unit = "pairs" if over_pairs else "cells"
    return Tested(share, low, high, sign_test(won, lost), len(sizes), len(natural), pair_low, pair_high, f"in {won} of {n} {unit}")
