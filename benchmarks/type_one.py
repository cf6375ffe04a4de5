"""How often the two permutation tests reject where there is nothing to find: at most 5 % of the time, at p <= 0.05.

Each cell is a model on noise, with a way of testing (held out, folds, subsets), a scorer, and sizes of classes; 200 data sets
each, and 19 permutations. Runs are made by the same functions as in `randomization_test`, without the store. A repetition ends at the
first permutation that is as good as the original fit, for then p is above 0.05 whatever the others are.

    python benchmarks/type_one.py            # 96 cells; adds those that are missing to type_one.json, beside this file
    python benchmarks/type_one.py --few      # those that the tests run, which make fewer data sets where few are rejected (`holds`)
"""

import argparse
import json
import time
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path

import numpy as np
import sklearn
from sklearn.base import BaseEstimator
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning, UndefinedMetricWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from shattering import RunSpec, load_dataset
from shattering.compare.comparison import Comparison, Repeat
from shattering.compare.plan import FEATURE_TEST, LABEL_TEST, ORIGINAL, Plan
from shattering.identity.names import name_of
from shattering.randomization import Randomization
from shattering.runs.fit import evaluate
from shattering.runs.stored import Run

LEVEL, N_PERMUTATIONS, REPETITIONS, FEATURES = 0.05, 19, 200, 4
MODELS: dict[str, BaseEstimator] = {
    "logistic regression": LogisticRegression(C=0.01),
    "constant": DummyClassifier(strategy="most_frequent"),
    "1-NN": KNeighborsClassifier(1),
    "forest": RandomForestClassifier(3, max_depth=3),
}
TESTS = {"labels": LABEL_TEST, "features": FEATURE_TEST}
SCORERS = {2: ("accuracy", "balanced_accuracy", "roc_auc", "f1"), 3: ("accuracy", "balanced_accuracy", "roc_auc_ovr", "f1_macro")}
CLASSES = {"half": (20, 20), "unbalanced": (32, 8), "three": (14, 13, 13)}
SCHEMES: dict[str, dict[str, int]] = {"held out": {}, "3 folds": {"folds": 3}, "subsets": {"n_train": 16, "n_test": 6}}


@dataclass(frozen=True)
class Cell:
    """What is simulated: names in the tables above."""

    model: str
    scheme: str
    scoring: str
    classes: str
    test: str = "labels"


FEW = (
    Cell("logistic regression", "3 folds", "accuracy", "half"),
    Cell("logistic regression", "held out", "roc_auc", "unbalanced"),
    Cell("constant", "3 folds", "accuracy", "three"),
    Cell("1-NN", "held out", "f1", "unbalanced"),
    Cell("1-NN", "subsets", "accuracy", "three"),
    Cell("forest", "held out", "balanced_accuracy", "three"),
    Cell("1-NN", "3 folds", "accuracy", "unbalanced", "features"),
)


def every_cell() -> Iterator[Cell]:
    """All models, schemes and sizes of classes, on accuracy and on one of the other scorers in turn; the second test on accuracy."""
    for number, (model, scheme, classes) in enumerate(product(MODELS, SCHEMES, CLASSES)):
        accuracy, *others = SCORERS[len(CLASSES[classes])]
        yield Cell(model, scheme, accuracy, classes)
        yield Cell(model, scheme, others[(number // 3 + number // 9) % len(others)], classes)
        if scheme != "subsets":
            yield Cell(model, scheme, accuracy, classes, "features")


def rejects(cell: Cell, repetition: int) -> bool:
    """Return True if p <= 0.05 on one data set on which the null hypothesis is true."""
    plan, by_name = _plan(cell, repetition)
    r = TESTS[cell.test]
    repeats = [_repeat(plan, ORIGINAL, 0, by_name)]
    for number in range(N_PERMUTATIONS):
        repeats.append(_repeat(plan, r, number, by_name))
        test = Comparison(cell.model, tuple(repeats)).tests[r]
        if test.n_as_good:
            return False
    return test.p_value <= LEVEL


def _plan(cell: Cell, repetition: int) -> tuple[Plan, dict]:
    sizes = CLASSES[cell.classes]
    generator = np.random.default_rng([repetition, 77])
    y = generator.permutation(np.repeat(np.arange(len(sizes)), sizes))
    X = generator.normal(size=(len(y), FEATURES)).astype(np.float32)
    if cell.test == "features":
        X += y[:, None]  # single features tell of the class, and no more together
    options = SCHEMES[cell.scheme]
    dataset = load_dataset((X, y), seed=repetition, hold_out="folds" not in options)
    names = [name_of(name, f"{cell}-{repetition}".replace(":", ".")) for name in ("model", "data")]
    scoring = None if cell.scoring == "accuracy" else cell.scoring
    fold = 0 if "folds" in options else None
    spec = RunSpec(model=names[0], dataset=names[1], seed=repetition, scoring=scoring, fold=fold, **options)
    return Plan(spec, {TESTS[cell.test]: N_PERMUTATIONS}), dict(zip(names, (MODELS[cell.model], dataset), strict=True))


def _repeat(plan: Plan, r: Randomization, number: int, by_name: dict) -> Repeat:
    return Repeat(r, number, tuple(Run(spec, Path(), "done", evaluate(spec, by_name).result, {}) for spec in plan.fits(r, number)))


def rejected(cell: Cell, repetitions: int = REPETITIONS, first: int = 0) -> int:
    """In how many repetitions, from that number on, the null hypothesis, which is true, was rejected."""
    with sklearn.config_context(assume_finite=True, skip_parameter_validation=True), warnings.catch_warnings():
        warnings.simplefilter("ignore", UndefinedMetricWarning)  # F1 of what never predicts a class is set to 0
        warnings.simplefilter("ignore", ConvergenceWarning)
        return sum(rejects(cell, repetition) for repetition in range(first, repetitions))


def bound(repetitions: int = REPETITIONS) -> float:
    """The most rejections to be expected: the level plus three standard errors."""
    return repetitions * (LEVEL + 3 * (LEVEL * (1 - LEVEL) / repetitions) ** 0.5)


def holds(cell: Cell) -> bool:
    """Return True if no more are rejected than `bound`, judged early if at most 1 of the first 30 is, or 3 of the first 60 are.

    A test that rejects 38 % of the time passes with probability 0.00001, one that rejects 20 % with 0.01, and one that rejects 15 % with
    0.07 (0.02 if all 200 repetitions were always made); a test that keeps its level of 5 % fails with probability 0.002.
    """
    n = made = 0
    for repetitions, most in ((30, 1), (60, 3)):
        n, made = n + rejected(cell, repetitions, made), repetitions
        if n <= most:
            return True
    return n + rejected(cell, first=made) <= bound()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--few", action="store_true")
    few, out = parser.parse_args().few, Path(__file__).with_suffix(".json")
    about = {"repetitions": REPETITIONS, "draws": N_PERMUTATIONS, "level": LEVEL, "bound": bound() / REPETITIONS}
    rows = json.loads(out.read_text())["cells"] if out.exists() and not few else []
    for cell in FEW if few else every_cell():
        if any(asdict(cell).items() <= row.items() for row in rows):
            continue  # an earlier call has made it
        clock = time.process_time()
        rows.append({**asdict(cell), "rejected": rejected(cell) / REPETITIONS, "seconds": round(time.process_time() - clock, 1)})
        print(*rows[-1].values(), sep=" | ", flush=True)
        if not few:
            out.write_text(json.dumps({**about, "cells": rows}, indent=1) + "\n")
    worst, seconds = (max(row["rejected"] for row in rows), sum(row["seconds"] for row in rows))
    print(f"worst {worst}, bound {about['bound']:.3f}; {seconds:.0f} s of CPU")


if __name__ == "__main__":
    main()
