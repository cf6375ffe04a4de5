"""How often each way to exchange labels rejects where there is nothing to find, and how often it finds what there is.

Planted nulls: labels never depend on the features. "independent": 160 rows. "grouped": 20 subjects of 8 rows, one label per subject, and
features that go by subject. "serial": one session of 160 rows, features of an AR(1) process (0.9), labels that are the sign of another,
slower one (0.95). A test rejects at p <= 0.05, from 19 refits (it ends at the first permutation that is as good, for then p is above
0.05), or from the zero-refit test of 9,999 permutations. Labels are exchanged by `shattering.data.exchange`, those of training and of
test rows each among themselves, or with folds all of them, as `randomization_test` does. Power: two classes of normal features, 0.3
or 0.45 standard deviations apart in each, against scikit-learn's `permutation_test_score`.

    python benchmarks/calibration.py                       # every cell; adds the repetitions that calibration.json lacks
    python benchmarks/calibration.py --minutes 5           # the same, for five minutes; the next call goes on
    python benchmarks/calibration.py --repetitions 0       # simulates nothing, and writes the tables of docs/calibration.md anew
"""

import argparse
import json
import os
import platform
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from itertools import product
from math import inf
from pathlib import Path

import numpy as np
import sklearn
from scipy.spatial.distance import cdist
from scipy.stats import binomtest
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, GroupShuffleSplit, KFold, StratifiedKFold, StratifiedShuffleSplit, permutation_test_score

from shattering.compare.zero_refit import zero_refit
from shattering.data.exchange import EXCHANGES, exchanged_order
from shattering.runs.store import write_json

LEVEL, N_PERMUTATIONS, N, SIZE = 0.05, 19, 160, 8
REPETITIONS, SLICE = 200, 50  # data sets per cell, and how many of them before the next cell has its turn
STORED = Path(__file__).with_suffix(".json")
PAGE = Path(__file__).parents[1] / "docs" / "calibration.md"
MARKS = ("<!-- drawn by benchmarks/calibration.py -->", "<!-- end -->")


class Nearest(ClassifierMixin, BaseEstimator):
    """One nearest neighbour, without the checks that would take most of the time."""

    def fit(self, X, y):
        self.X_, self.y_, self.classes_ = X, y, np.unique(y)
        return self

    def predict(self, X):
        return self.y_[cdist(X, self.X_).argmin(1)]


MODELS: dict[str, ClassifierMixin] = {"1-NN": Nearest(), "logistic": LogisticRegression(C=0.1)}
SCHEMES = {  # of each null
    "independent": ("held out", "folds"),
    "grouped": ("held out", "half of the subjects", "folds", "folds of subjects"),
    "serial": ("last fifth", "blocked folds"),
}


@dataclass(frozen=True)
class Cell:
    """What is simulated: names in the tables above; method is "refits" or "zero-refit"; distance is 0 under a null."""

    null: str
    scheme: str
    exchange: str
    model: str
    method: str = "refits"
    distance: float = 0.0


DISTANCES = (0.3, 0.45)
TITLES = {"refits": "19 refits", "zero-refit": "zero-refit test", "scikit-learn": "permutation_test_score"}
POWER = (("held out", "refits"), ("held out", "zero-refit"), ("folds", "refits"), ("folds", "scikit-learn"))


def every_cell() -> Iterator[Cell]:
    """All nulls, schemes, exchanges and models, by refits and where rows are held out by the zero-refit test; and power."""
    for model, exchange, (null, schemes) in product(MODELS, EXCHANGES, SCHEMES.items()):
        for scheme in schemes:
            yield Cell(null, scheme, exchange, model)
            if "fold" not in scheme:
                yield Cell(null, scheme, exchange, model, "zero-refit")
    for (scheme, method), distance, model in product(POWER, DISTANCES, MODELS):
        yield Cell("independent", scheme, "free", model, method, distance)


def _series(rng: np.random.Generator, memory: float, d: int) -> np.ndarray:
    out = np.empty((N, d))
    out[0] = rng.normal(size=d)
    for t in range(1, N):
        out[t] = memory * out[t - 1] + (1 - memory**2) ** 0.5 * rng.normal(size=d)
    return out


def data(cell: Cell, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return features (n, 4), labels (n,) and groups (n,): subjects, blocks of 8 rows, or for a shift one session."""
    groups = np.arange(N) // SIZE
    if cell.null == "independent":
        y = rng.permutation(np.arange(N) % 2)
        return rng.normal(size=(N, 4)) + cell.distance * y[:, None], y, groups
    if cell.null == "grouped":
        y = rng.permutation(np.arange(N // SIZE) % 2)[groups]
        return rng.normal(size=(N // SIZE, 4))[groups] + 0.3 * rng.normal(size=(N, 4)), y, groups
    slow = _series(rng, 0.95, 1)[:, 0]
    y = (slow > np.median(slow)).astype(int)  # both classes are there
    return _series(rng, 0.9, 4), y, np.zeros(N, dtype=int) if cell.exchange == "shift" else groups


def splits(cell: Cell, y: np.ndarray, groups: np.ndarray, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return (training rows, test rows): one pair, or one per fold. Folds are made of the labels given."""
    if cell.scheme == "last fifth":
        return [(np.arange(4 * N // 5), np.arange(4 * N // 5, N))]
    splitter = {
        "held out": StratifiedShuffleSplit(1, test_size=0.2, random_state=seed),
        "half of the subjects": GroupShuffleSplit(1, test_size=0.5, random_state=seed),
        "folds": StratifiedKFold(5, shuffle=True, random_state=seed),
        "folds of subjects": GroupKFold(5, shuffle=True, random_state=seed),
        "blocked folds": KFold(5),
    }[cell.scheme]
    by_group = "subjects" in cell.scheme
    return list(splitter.split(np.zeros((len(y), 1)), y, groups if by_group else None))


def accuracy(model: ClassifierMixin, X: np.ndarray, y: np.ndarray, pairs: list[tuple[np.ndarray, np.ndarray]]) -> float:
    """Return the mean accuracy over folds; a fold that is trained on one class is answered by it."""
    scores = []
    for train, test in pairs:
        one = len(np.unique(y[train])) == 1
        predicted = np.full(len(test), y[train][0]) if one else clone(model).fit(X[train], y[train]).predict(X[test])
        scores.append((predicted == y[test]).mean())
    return float(np.mean(scores))


def permuted(cell: Cell, y: np.ndarray, groups: np.ndarray, pairs: list, rng: np.random.Generator) -> np.ndarray:
    """Return exchanged labels: all of them, or those of training and of test rows each among themselves."""
    parts = [np.arange(N)] if "fold" in cell.scheme else pairs[0]
    new = y.copy()
    for rows in parts:
        keys = rng.integers(0, 2**63, len(rows)).astype(np.uint64)
        new[rows] = y[rows][exchanged_order(cell.exchange, keys, groups[rows], rows)]
    return new


def rejects(cell: Cell, repetition: int) -> bool:
    """Return True if p <= 0.05 on one data set."""
    rng = np.random.default_rng([repetition, 21])
    model = MODELS[cell.model]
    X, y, groups = data(cell, rng)
    pairs = splits(cell, y, groups, repetition)
    if cell.method == "scikit-learn":
        folds = StratifiedKFold(5, shuffle=True, random_state=repetition)
        return permutation_test_score(model, X, y, cv=folds, n_permutations=N_PERMUTATIONS, random_state=repetition)[2] <= LEVEL
    if cell.method == "zero-refit":
        (train, test) = pairs[0]
        if len(np.unique(y[train])) == 1:
            return False
        predicted = clone(model).fit(X[train], y[train]).predict(X[test])
        tested = zero_refit(y[test], predicted, exchange=cell.exchange, groups=groups[test], ids=test, seed=repetition)
        return tested.has_verdict and tested.p_value <= LEVEL
    score = accuracy(model, X, y, pairs)
    for _ in range(N_PERMUTATIONS):
        new = permuted(cell, y, groups, pairs, rng)
        again = splits(cell, new, groups, repetition) if "fold" in cell.scheme else pairs
        if accuracy(model, X, new, again) >= score - 1e-12:
            return False
    return True


def rejected(cell: Cell, repetitions: range) -> int:
    """Return in how many of these repetitions the test rejected."""
    with sklearn.config_context(assume_finite=True, skip_parameter_validation=True):
        return sum(bool(rejects(cell, repetition)) for repetition in repetitions)


def simulate(rows: list[dict], repetitions: int, seconds: float = inf) -> None:
    """Bring the rows of all cells to this number of repetitions, a slice of each in turn, and store them after each slice.

    seconds: the time after which no other slice is begun.
    """
    start = time.perf_counter()
    for until in range(SLICE, repetitions + 1, SLICE):
        for cell in every_cell():
            row = find(rows, cell)
            if row is None:
                row = {**asdict(cell), "rejected": 0, "repetitions": 0, "seconds": 0.0}
                rows.append(row)
            if row["repetitions"] >= until:
                continue  # an earlier call has made them
            if time.perf_counter() - start > seconds:
                return
            clock = time.process_time()
            row["rejected"] += rejected(cell, range(row["repetitions"], until))
            row["repetitions"] = until
            row["seconds"] = round(row["seconds"] + time.process_time() - clock, 1)
            store(rows)
            print(*row.values(), sep=" | ", flush=True)


def find(rows: list[dict], cell: Cell) -> dict | None:
    """Return the row of a cell; None if there is none."""
    return next((row for row in rows if asdict(cell).items() <= row.items()), None)


def store(rows: list[dict]) -> None:
    """Store the rows beside the conditions and versions that they were made with."""
    versions = {"python": platform.python_version(), **{name: version(name) for name in ("shattering", "numpy", "scikit-learn")}}
    about = {"permutations": N_PERMUTATIONS, "level": LEVEL, "rows": N, "cores": os.cpu_count(), **versions}
    write_json(STORED, {**about, "cells": rows})


def interval(row: dict) -> tuple[float, float]:
    """Return the 95 % interval (Wilson) of the share of rejections."""
    both = binomtest(row["rejected"], row["repetitions"]).proportion_ci(method="wilson")
    return float(both.low), float(both.high)


def to_markdown(rows: list[dict]) -> str:
    """Return the tables of docs/calibration.md: false positives of each null, by refits and without, and power."""
    parts = []
    for null, method in product(SCHEMES, ("refits", "zero-refit")):
        schemes = [scheme for scheme in SCHEMES[null] if method == "refits" or "fold" not in scheme]
        lines = [f"**{null.capitalize()} rows, {TITLES[method]}**", "", "| split | exchange | 1-NN | logistic |", "|---|---|---|---|"]
        for scheme, exchange in product(schemes, EXCHANGES):
            cells = [Cell(null, scheme, exchange, model, method) for model in MODELS]
            lines.append(f"| {scheme} | {exchange} | " + " | ".join(_share(rows, cell) for cell in cells) + " |")
        parts.append("\n".join(lines))
    lines = ["**Power, independent rows**", "", "| distance | split | test | 1-NN | logistic |", "|---|---|---|---|---|"]
    for distance, (scheme, method) in product(DISTANCES, POWER):
        cells = [Cell("independent", scheme, "free", model, method, distance) for model in MODELS]
        lines.append(f"| {distance} | {scheme} | {TITLES[method]} | " + " | ".join(_share(rows, cell) for cell in cells) + " |")
    return "\n\n".join([*parts, "\n".join(lines)])


def _share(rows: list[dict], cell: Cell) -> str:
    """Return the share of rejections in percent, with its interval and the number of data sets."""
    row = find(rows, cell)
    if not row or not row["repetitions"]:
        return ""
    low, high = interval(row)
    return f"{100 * row['rejected'] / row['repetitions']:.1f} ({100 * low:.1f} to {100 * high:.1f}; n = {row['repetitions']})"


def with_tables(page: str, rows: list[dict]) -> str:
    """Return the page with these tables between its two marks."""
    start, _, rest = page.partition(MARKS[0])
    return f"{start}{MARKS[0]}\n\n{to_markdown(rows)}\n\n{MARKS[1]}{rest.partition(MARKS[1])[2]}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=REPETITIONS, help="data sets per cell")
    parser.add_argument("--minutes", type=float, default=inf, help="begin nothing after this time")
    options = parser.parse_args()
    rows = json.loads(STORED.read_text())["cells"] if STORED.exists() else []
    simulate(rows, options.repetitions, 60 * options.minutes)
    PAGE.write_text(with_tables(PAGE.read_text(), rows))


if __name__ == "__main__":
    main()
