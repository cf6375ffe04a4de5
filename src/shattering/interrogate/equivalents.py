"""The noise-equivalent size: on how many random labels a measure takes the value that it has on natural ones.

Let μ be a measure, and let a network on n natural labels have the value μ₀. The same network, trained in the same way to the same loss on
n/16, n/8, …, n random labels, gives a ladder of values. The noise-equivalent size n_μ is where that ladder takes the value μ₀. The share
n_μ/n has no unit, so it can be compared between measures, widths and depths; for random labels it is 1 by construction.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from shattering.interrogate.inference import resample

FOUND, BELOW, ABOVE = "found", "below the ladder", "above the ladder"
BENT, MISSING = "ladder not monotone", "missing"
STATUSES = (FOUND, BELOW, ABOVE, BENT, MISSING)
LEAST_RUNGS = 3  # with two, every ladder is monotone


def equivalent_size(sizes: np.ndarray, rungs: np.ndarray, value: float) -> tuple[float, str]:
    """Return on how many random labels a measure takes a value, and whether that number was found.

    The ladder is interpolated linearly in the logarithm of the number of labels. It may rise or fall with that number, but has to do so
    at every rung. Rungs that are not finite are left out.

    Args:
        sizes: (rungs,) numbers of random labels, ascending.
        rungs: (rungs,) the measure on them.
        value: the measure on natural labels.

    Returns:
        The size, NaN unless it was found; and one of `STATUSES`.

    Example:
        >>> size, status = equivalent_size(np.array([25, 50, 100]), np.array([1.0, 2.0, 3.0]), 1.5)
        >>> round(size, 1), status
        (35.4, 'found')
        >>> equivalent_size(np.array([25, 50, 100]), np.array([1.0, 2.0, 3.0]), 0.5)
        (nan, 'below the ladder')
    """
    known = np.isfinite(rungs)
    sizes, rungs = sizes[known], rungs[known]
    if len(rungs) < LEAST_RUNGS or np.isnan(value):
        return float("nan"), MISSING
    steps = np.sign(np.diff(rungs))
    if steps[0] == 0 or (steps != steps[0]).any():
        return float("nan"), BENT
    rungs, value = rungs * steps[0], value * steps[0]
    if not rungs[0] <= value <= rungs[-1]:
        return float("nan"), BELOW if value < rungs[0] else ABOVE
    return float(np.exp(np.interp(value, rungs, np.log(sizes)))), FOUND


def equivalent_sizes(table: pd.DataFrame, measures: Sequence[str]) -> pd.DataFrame:
    """Find the noise-equivalent size of every run on natural or partly random labels, by every measure.

    A run counts whose cell and seed have at least three fitted runs on random labels, of as many or fewer examples.

    Args:
        table: one row per run, see `shattering.interrogate.table.COLUMNS`, and one column per measure.
        measures: names of columns.

    Returns:
        One row per measure and run: measure, cell, seed, corruption, n, value, size (random labels), share (size / n) and status, one of
        `STATUSES`. Size and share are NaN unless the status is "found".

    Example:
        >>> table = pd.DataFrame({"cell": "a", "seed": 0, "n": [100, 25, 50, 100], "corruption": [0.0, 1, 1, 1], "fitted": True})
        >>> table = table.assign(condition=["natural", "fewer", "fewer", "random"], norm=[2.0, 1, 2, 3])
        >>> equivalent_sizes(table, ["norm"])[["measure", "size", "share"]].round(2).values.tolist()
        [['norm', 50.0, 0.5]]
    """
    kept = table.loc[table["fitted"]]
    random = kept.loc[kept["condition"].isin(["random", "fewer"])].sort_values("n")
    ladders = {key: rows for key, rows in random.groupby(["cell", "seed"]) if len(rows) >= LEAST_RUNGS}
    out = []
    for run in kept.loc[kept["condition"].isin(["natural", "partial"])].to_dict("records"):
        if (key := (run["cell"], run["seed"])) not in ladders:
            continue
        ladder = ladders[key]
        for measure in measures:
            size, status = equivalent_size(ladder["n"].to_numpy(float), ladder[measure].to_numpy(float), float(run[measure]))
            known = {name: run[name] for name in ("cell", "seed", "corruption", "n")}
            out.append({"measure": measure, **known, "value": run[measure], "size": size, "share": size / run["n"], "status": status})
    return pd.DataFrame(out, columns=["measure", "cell", "seed", "corruption", "n", "value", "size", "share", "status"])


def shares_by_cell(sizes: pd.DataFrame, corruption: float = 0.0, is_censored: bool = True) -> pd.DataFrame:
    """Return n_μ/n by cell and measure, the median over seeds.

    Args:
        sizes: of `equivalent_sizes`.
        corruption: probability of label corruption of the runs.
        is_censored: True: 0 stands for what is below the ladder, and infinity for what is above it, so that shares can be ordered.
            False: both are NaN.

    Returns:
        (cells, measures); NaN where there is no noise-equivalent size.

    Example:
        >>> sizes = equivalent_sizes(population, ["tells_only"])
        >>> shares_by_cell(sizes, 0.5)["tells_only"].round(1).unique().tolist()
        [0.5]
        >>> shares_by_cell(sizes)["tells_only"].unique().tolist()
        [0.0]
    """
    own = sizes.loc[sizes["corruption"] == corruption]
    outside = {BELOW: 0.0, ABOVE: np.inf} if is_censored else {}
    shares = own["share"].where(~own["status"].isin(list(outside)), own["status"].map(outside).astype(float))
    return own.assign(share=shares).pivot_table(index="cell", columns="measure", values="share", aggfunc="median", dropna=False)


def median_shares(table: pd.DataFrame, sizes: pd.DataFrame) -> pd.DataFrame:
    """Summarize n_μ/n of natural labels over cells, for each measure and family of architectures.

    Args:
        table: as `equivalent_sizes` takes it.
        sizes: of `equivalent_sizes`.

    Returns:
        One row per measure and family, with the number of runs of each of `STATUSES`, and the median over cells with its 95 % interval
        (cells resampled). Half of the cells have at most the median; it is 0 if it lies below the ladder, infinite if above, and NaN
        unless the size is known, or known to lie outside, in at least half of the cells.

    Example:
        >>> sizes = equivalent_sizes(population, ["tells_only"])
        >>> median_shares(population, sizes)[["measure", "cells", "share", BELOW]].values.tolist()
        [['tells_only', 16, 0.0, 48]]
    """
    families, rows = families_of(table), []
    natural = sizes.loc[sizes["corruption"] == 0]
    shares = shares_by_cell(sizes)
    for measure, own in natural.groupby("measure", sort=False):
        for family, of in own.groupby(own["cell"].map(families)):
            values = shares.loc[of["cell"].unique(), measure].to_numpy(float)
            counts = of["status"].value_counts()
            row = dict(zip(("share", "low", "high"), _median(values[~np.isnan(values)], f"n_mu/{family}"), strict=True))
            row = row if 2 * np.count_nonzero(~np.isnan(values)) >= len(values) else dict.fromkeys(row, float("nan"))
            rows.append({"measure": measure, "family": family, "cells": len(values), **row, **{s: int(counts.get(s, 0)) for s in STATUSES}})
    return pd.DataFrame(rows, columns=["measure", "family", "cells", "share", "low", "high", *STATUSES])


def shares_of_shatter_point(table: pd.DataFrame, measures: Sequence[str]) -> pd.DataFrame:
    """Return μ on natural labels over μ at the shatter point: how far the way to capacity is gone, as the measure sees it.

    Args:
        table: as `equivalent_sizes` takes it; the runs at the shatter point are those of stored searches (`shattering capacity
            shatter-point` with the parameters of a cell).
        measures: names of columns.

    Returns:
        One row per measure: measure, cells, smallest and largest (random labels at the shatter point, over cells), and the median ratio
        over cells with its 95 % interval (cells resampled). No rows without a stored search. Cells count where both values are finite,
        and the second is not 0.

    Example:
        >>> rows = {"cell": "a", "n": [100, 300], "condition": ["natural", "shatter point"], "fitted": True, "norm": [2.0, 8.0]}
        >>> float(shares_of_shatter_point(pd.DataFrame(rows), ["norm"])["ratio"].iloc[0])
        0.25
    """
    sides = [table.loc[table["fitted"] & (table["condition"] == name)].groupby("cell") for name in ("natural", "shatter point")]
    if not len(sides[1]):
        return pd.DataFrame(columns=["measure", "cells", "smallest", "largest", "ratio", "low", "high"])
    natural, shattered = (side[list(measures)].mean() for side in sides)
    ratios = (natural / shattered.where(shattered != 0)).reindex(shattered.index)
    sizes, rows = sides[1]["n"].max(), []
    for measure in measures:
        known = ratios[measure].replace([np.inf, -np.inf], np.nan).dropna()
        ends = (sizes[known.index].min(), sizes[known.index].max())
        rows.append((measure, len(known), *ends, *_median(known.to_numpy(float), "shatter")))
    return pd.DataFrame(rows, columns=["measure", "cells", "smallest", "largest", "ratio", "low", "high"])


def families_of(table: pd.DataFrame) -> pd.Series:
    """Return the family of architectures by cell; "all" where they do not differ."""
    if "family" not in table:
        table = table.assign(family="all")
    first = table.drop_duplicates("cell")
    return pd.Series(first["family"].astype(str).tolist(), index=pd.Index(first["cell"], name="cell"))


def _median(values: np.ndarray, purpose: str) -> tuple[float, float, float]:
    """Return the lower median of (cells,) and its interval; infinite values are numbers like others."""
    if not len(values):
        return float("nan"), float("nan"), float("nan")
    ordered = np.sort(values)
    weights = resample(len(values), purpose).cumsum(1)
    drawn = ordered[(weights >= len(values) / 2).argmax(1)]
    low, high = np.quantile(drawn, [0.025, 0.975], method="inverted_cdf")
    return float(ordered[(len(values) - 1) // 2]), float(low), float(high)
