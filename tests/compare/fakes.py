"""Tests that were never run, with numbers chosen by hand."""

from pathlib import Path

from shattering.compare.comparison import Repeat
from shattering.compare.plan import ORIGINAL
from shattering.compare.result import RandomizationTest
from shattering.randomization import Randomization
from shattering.runs.spec import RunSpec
from shattering.runs.stored import Run

FOLDER = Path(__file__).parent  # of every run: it is there, and has none of a run's files
PROVENANCE = {
    "fit_seconds": 1.0,
    "versions": {"torch": "2", "scikit-learn": "1"},
    "processor": "a chip",
    "cores": 2,
    "threads": 1,
    "device": "cpu",
    "git_revision": None,
    "started": "2026-01-01T00:00:00+00:00",
    "seconds": 1.0,
    "epoch_seconds": [],
}


def fake_repeat(r: Randomization = ORIGINAL, number: int = 0, train=1.0, test=0.9, status="done", **result) -> Repeat:
    spec = RunSpec("digits", randomization=r, model="random-forest", seed=number + (r != ORIGINAL))
    numbers = {
        "train_accuracy": train,
        "test_accuracy": test,
        "test_accuracy_on_corrupted_labels": test,
        "interpolated": train == 1.0,
        "n_test": 500,
        "n_train": 1000,
    }
    numbers |= {
        "n_classes": 10,
        "image_shape": [1, 8, 8],
        "majority_share": 0.1,
        "dataset": "digits",
        "epochs": None,
        "epochs_to_fit": None,
        "examples": [],
    }
    done = status == "done"
    error = "it broke" if status == "failed" else None
    run = Run(spec, FOLDER, status, numbers | result if done else {}, PROVENANCE if done else {}, error)
    return Repeat(r, number, (run,))


def fake_test(*repeats: Repeat, **kwargs) -> RandomizationTest:
    return RandomizationTest("Model", repeats, **kwargs)
