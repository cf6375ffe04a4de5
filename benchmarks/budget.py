"""Does `randomization_test` end when its budget says? Three workloads that want more than they are given.

    python benchmarks/budget.py [--budget 60] [--json FILE]

Prints, for each, seconds taken over seconds given (within 0.9 … 1.1 is the aim), and what the plan kept. No data are needed
beyond scikit-learn's digits.
"""

import argparse
import json
import os
import platform
from importlib.metadata import version
from pathlib import Path

import torch
from sklearn.datasets import make_classification
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.svm import SVC

from shattering import randomization_test


def workloads() -> dict:
    """name → (model, data, further arguments); each would take far longer than the budget."""
    X, y = make_classification(20_000, 40, n_informative=10, n_classes=5, random_state=0)
    return {
        "RBF SVM, 16,000 rows (cost grows faster than n)": (SVC(), (X, y), {}),
        "histogram gradient boosting, digits": (HistGradientBoostingClassifier(), "digits", {"n_permutations": 999}),
        "MLP 1x512, digits, 400 epochs": (
            "mlp-1x512",
            "digits",
            {"n_permutations": 999, "hyperparameters": {"epochs": 400, "batch_size": 32}},
        ),
    }


def measure(model, data, budget: float, arguments: dict) -> dict:
    test = randomization_test(model, data, budget=budget, **arguments)
    repeats = sum(row["repeats"] for row in test.rows)
    return {
        "taken_over_given": test.seconds / budget,
        "n_train": test.n_train,
        "repeats_done": repeats,
        "repeats_planned": repeats + sum(row["not_done"] for row in test.rows),
        "p_value": test.p_value,
        "left_out": list(test.left_out),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--budget", type=float, default=60.0, help="seconds for each workload")
    parser.add_argument("--json", type=Path, help="where to store the figures")
    options = parser.parse_args()
    results = {}
    for name, (model, data, arguments) in workloads().items():
        results[name] = measure(model, data, options.budget, arguments)
        print(f"{name}: {results[name]['taken_over_given']:.3f} of {options.budget:g} s", results[name], flush=True)
    machine = {"cores": os.cpu_count(), "threads": torch.get_num_threads(), "load_average": os.getloadavg()[0]}
    versions = {"python": platform.python_version(), **{name: version(name) for name in ("shattering", "torch", "scikit-learn")}}
    if options.json:
        options.json.write_text(json.dumps({"budget_s": options.budget, **machine, **versions, "results": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
