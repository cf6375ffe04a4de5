"""How often each way to exchange labels rejects where there is nothing to find, and how often it finds what there is.

Planted nulls: labels never depend on the features. "independent": 160 rows. "grouped": 20 subjects of 8 rows, one label per subject, and
features that go by subject. "serial": one session of 160 rows, features of an AR(1) process (0.9), labels that are the sign of another,
slower one (0.95). A test rejects at p <= 0.05, from 19 refits (it ends at the first permutation that is as good, for then p is above
0.05), or from the zero-refit test of 9,999 permutations. Labels are exchanged by `shattering.data.exchange`, those of training and of
test rows each among themselves, or with folds all of them, as `randomization_test` does. Power: two classes of normal features, 0.45
standard deviations apart, against scikit-learn's `permutation_test_score`.

    python benchmarks/calibration.py            # every cell; adds those that are missing to calibration.json, beside this file
    python benchmarks/calibration.py --few      # those that the tests run
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

LEVEL, N_PERMUTATIONS, REPETITIONS, N, SIZE = 0.05, 19, 200, 160, 8


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


FEW = (
    Cell("independent", "folds", "free", "logistic"),
    Cell("independent", "held out", "within", "1-NN", "zero-refit"),
    Cell("grouped", "folds", "free", "1-NN"),
    Cell("grouped", "folds", "whole", "1-NN"),
    Cell("grouped", "half of the subjects", "whole", "logistic", "zero-refit"),
    Cell("serial", "blocked folds", "shift", "1-NN"),
    Cell("independent", "held out", "free", "logistic", "zero-refit", 0.45),
)
DISTANCES = (0.45,)
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


def rejected(cell: Cell, repetitions: int = REPETITIONS) -> int:
    """Return in how many repetitions the test rejected."""
    with sklearn.config_context(assume_finite=True, skip_parameter_validation=True):
        return sum(rejects(cell, repetition) for repetition in range(repetitions))


def row(cell: Cell, repetitions: int = REPETITIONS) -> dict:
    """Return a cell with the share of rejections, its 95 % interval (Wilson) and the seconds of CPU that it took."""
    clock = time.process_time()
    number = rejected(cell, repetitions)
    interval = binomtest(number, repetitions).proportion_ci(method="wilson")
    seconds = round(time.process_time() - clock, 1)
    shares = {"rejected": number / repetitions, "low": round(float(interval.low), 4), "high": round(float(interval.high), 4)}
    return {**asdict(cell), **shares, "repetitions": repetitions, "seconds": seconds}


def to_markdown(rows: list[dict]) -> str:
    """Return the tables of docs/calibration.md: false positives of each null, and power."""
    parts = []
    for null in SCHEMES:
        heading = "| split | exchange | 1-NN, refits | logistic, refits | 1-NN, zero-refit | logistic, zero-refit |"
        lines = [f"**{null}**", "", heading, "|---|---|---|---|---|---|"]
        for scheme, exchange in product(SCHEMES[null], EXCHANGES):
            kinds = [Cell(null, scheme, exchange, model, method) for method in ("refits", "zero-refit") for model in MODELS]
            lines.append(f"| {scheme} | {exchange} | " + " | ".join(_share(rows, cell) for cell in kinds) + " |")
        parts.append("\n".join(lines))
    lines = ["**power, independent rows**", "", "| distance | split | test | 1-NN | logistic |", "|---|---|---|---|---|"]
    for distance, (scheme, method) in product(DISTANCES, POWER):
        cells = [Cell("independent", scheme, "free", model, method, distance) for model in MODELS]
        lines.append(f"| {distance} | {scheme} | {method} | " + " | ".join(_share(rows, cell) for cell in cells) + " |")
    return "\n\n".join([*parts, "\n".join(lines)])


def _share(rows: list[dict], cell: Cell) -> str:
    """Return the share of rejections in percent, with its interval."""
    row = next((row for row in rows if asdict(cell).items() <= row.items()), None)
    return "" if row is None else f"{100 * row['rejected']:.1f} ({100 * row['low']:.1f} to {100 * row['high']:.1f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--few", action="store_true")
    few, out = parser.parse_args().few, Path(__file__).with_suffix(".json")
    versions = {"python": platform.python_version(), **{name: version(name) for name in ("shattering", "numpy", "scikit-learn")}}
    about = {"permutations": N_PERMUTATIONS, "level": LEVEL, "rows": N, "cores": os.cpu_count(), **versions}
    rows = json.loads(out.read_text())["cells"] if out.exists() and not few else []
    for cell in FEW if few else every_cell():
        if any(asdict(cell).items() <= done.items() for done in rows):
            continue  # an earlier call has made it
        rows.append(row(cell))
        print(*rows[-1].values(), sep=" | ", flush=True)
        if not few:
            out.write_text(json.dumps({**about, "cells": rows}, indent=1) + "\n")
    if not few:
        print(to_markdown(rows))


if __name__ == "__main__":
    main()
