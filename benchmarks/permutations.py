"""What a permutation test costs beside its fits: 199 permutations against scikit-learn's `permutation_test_score` on the same folds.

And the zero-refit test of 9,999 permutations on 10,000 test rows, against 9,999 shuffles of them by NumPy, for 2 to 1,000 classes.
Processor time, for the machine may be shared; medians of alternating repetitions. `randomization_test` includes loading, identity,
the fit on the original data, the runs that it stores, and the result.

    python benchmarks/permutations.py [--repetitions 5] [--json FILE]
"""

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from statistics import median

import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, permutation_test_score
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from shattering import randomization_test, seeds
from shattering.compare.zero_refit import zero_refit

N_PERMUTATIONS, N_ZERO_REFIT, FOLDS = 199, 9999, 5
CLASSES = (2, 10, 20, 50, 100, 1000)  # of the zero-refit test


def workloads() -> dict:
    """Return name → (model, X, y) of estimators that take milliseconds to fit."""
    cancer, digits = load_breast_cancer(return_X_y=True), load_digits(return_X_y=True)
    return {
        "logistic regression, breast cancer (569 rows)": (make_pipeline(StandardScaler(), LogisticRegression()), *cancer),
        "naive Bayes, breast cancer (569 rows)": (GaussianNB(), *cancer),
        "decision tree, digits (1,797 rows)": (DecisionTreeClassifier(random_state=0), *digits),
        "3 nearest neighbours, digits (1,797 rows)": (KNeighborsClassifier(3), *digits),
    }


def seconds(call: Callable[[], object]) -> float:
    clock = time.process_time()
    call()
    return time.process_time() - clock


def measure(model, X, y, repetitions: int) -> dict:
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seeds.integer(0, "data/folds") % 2**32)

    def theirs() -> object:
        return permutation_test_score(model, X, y, cv=folds, n_permutations=N_PERMUTATIONS)

    def ours() -> object:
        return randomization_test(model, X, y, cv=FOLDS, randomizations=["permuted-labels"], n_permutations=N_PERMUTATIONS)

    pairs = [(seconds(ours), seconds(theirs)) for _ in range(repetitions)]
    one, two = (median(values) for values in zip(*pairs, strict=True))
    return {"ratio": one / two, "randomization_test_s": one, "permutation_test_score_s": two}


def measure_zero_refit(k: int, repetitions: int, n: int = 10_000) -> dict:
    rng = np.random.default_rng(0)
    y, predicted = rng.integers(0, k, n), rng.integers(0, k, n)
    labels = y.copy()

    def shuffles() -> object:
        return [(rng.shuffle(labels), (labels == predicted).mean()) for _ in range(N_ZERO_REFIT // 10)]

    pairs = [(seconds(lambda: zero_refit(y, predicted)), 10 * seconds(shuffles)) for _ in range(repetitions)]
    one, two = (median(values) for values in zip(*pairs, strict=True))
    return {"rows": n, "classes": k, "permutations": N_ZERO_REFIT, "seconds": one, "ratio": one / two, "shuffles_s": two}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--json", type=Path, default=Path(__file__).with_suffix(".json"), help="where to store the figures")
    options = parser.parse_args()
    versions = {name: version(name) for name in ("shattering", "numpy", "scipy", "scikit-learn")}
    machine = {"cores": os.cpu_count(), "load_average": os.getloadavg()[0], "python": platform.python_version()}
    about = {**machine, **versions, "repetitions": options.repetitions}
    results: dict = {"zero-refit": []}
    for k in CLASSES:
        results["zero-refit"].append(measure_zero_refit(k, options.repetitions))
        print(results["zero-refit"][-1], flush=True)
    for name, (model, X, y) in workloads().items():
        results[name] = measure(model, X, y, options.repetitions)
        print(f"{name}: {results[name]['ratio']:.2f}", results[name], flush=True)
        options.json.write_text(json.dumps({**about, "results": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
