"""Stored runs → tables."""

import json
from collections.abc import Iterable
from itertools import groupby
from statistics import fmean, stdev
from typing import get_args

import pandas as pd

from shattering.randomization import Pixels
from shattering.runs.store import Run

PIXELS = list(get_args(Pixels))  # in the papers' order
_SUBJECT = ("dataset", "model", "recipe", "n_train")  # what is tested; its rows are the randomizations
_RESULTS = (
    *("train_accuracy", "test_accuracy", "changed_fraction", "epochs_to_fit", "epochs", "interpolated", "diverged"),
    *("n_test", "n_classes", "n_parameters"),
)


def runs_table(runs: Iterable[Run]) -> pd.DataFrame:
    """One row a run, done or not: what was run, its status, and its result (missing values where there is none)."""
    return pd.DataFrame([_row(run) for run in runs]).convert_dtypes()


def _row(run: Run) -> dict:
    spec, r = run.spec, run.spec.randomization
    return {
        "run_id": run.run_id,
        "status": run.status,
        "dataset": run.result.get("dataset", spec.dataset),
        "model": spec.model_name,
        "recipe": recipe(run),
        "n_train": run.result.get("n_train", spec.n_train),
        "pixels": r.pixels,
        "labels": r.labels,
        "label_mode": r.label_mode,
        "randomization": r.title,
        "seed": spec.seed,
        **{name: run.result.get(name) for name in _RESULTS},
        "seconds": run.provenance.get("seconds"),
        "error": run.error,
        "folder": run.folder.name,
    }


def recipe(run: Run) -> str:
    """The learner's parameters that are not at their defaults, but for the network, as JSON; "" if all are."""
    params = {name: value for name, value in run.spec.recipe().items() if name != "network"}
    return json.dumps(params) if params else ""


def summary_table(runs: Iterable[Run]) -> pd.DataFrame:
    """One row a configuration, in the papers' order: means over its done seeds, and how many are not done.

    Columns: dataset, model, recipe, n_train, pixels, labels, label_mode, randomization; seeds (done), not_done,
    failed; train_accuracy, test_accuracy (means, in 0…1), test_sd (standard deviation over seeds; missing for one),
    changed_fraction, epochs_to_fit (mean over the seeds that fitted), fitted (seeds that interpolate at the end),
    chance (1/classes), n_test.
    """
    return pd.DataFrame(summary_rows(runs)).convert_dtypes()


def summary_rows(runs: Iterable[Run]) -> list[dict]:
    """The rows of `summary_table` as dictionaries, None for missing values."""

    def key(row: dict) -> tuple:
        return (
            *(row[name] or "" for name in _SUBJECT[:3]),
            row["n_train"] or 0,
            PIXELS.index(row["pixels"]),
            row["labels"],
            row["label_mode"],
        )

    return [_summary(list(rows)) for _, rows in groupby(sorted((_row(run) for run in runs), key=key), key)]


def _summary(rows: list[dict]) -> dict:
    done = [row for row in rows if row["status"] == "done"]

    def mean(name: str) -> float | None:
        values = [row[name] for row in done if row[name] is not None]
        return fmean(values) if values else None

    return {
        **{name: rows[0][name] for name in (*_SUBJECT, "pixels", "labels", "label_mode", "randomization")},
        "seeds": len(done),
        "not_done": len(rows) - len(done),
        "failed": sum(row["status"] == "failed" for row in rows),
        **{name: mean(name) for name in ("train_accuracy", "test_accuracy", "changed_fraction", "epochs_to_fit")},
        "test_sd": stdev(row["test_accuracy"] for row in done) if len(done) > 1 else None,
        "fitted": sum(row["interpolated"] for row in done),
        "chance": 1 / done[0]["n_classes"] if done else None,
        "n_test": done[0]["n_test"] if done else None,
    }


def by_subject(rows: Iterable[dict]) -> list[dict]:
    """Summary rows by what is tested: dictionaries of dataset, model, recipe, n_train, and their rows."""
    subjects = groupby(rows, lambda row: tuple(row[name] for name in _SUBJECT))
    return [{**dict(zip(_SUBJECT, subject, strict=True)), "rows": list(members)} for subject, members in subjects]


def verdicts(rows: Iterable[dict]) -> list[str]:
    """One sentence for each subject that was trained on true and on fully random labels.

    "Fits" means that every seed classifies its whole training set as labelled at the end.
    """
    out = []
    for subject in by_subject(rows):
        plain = {row["labels"]: row for row in subject["rows"] if row["pixels"] == "true" and row["seeds"]}
        if 0 not in plain or 1 not in plain:
            continue
        true, random = plain[0], plain[1]
        fits = random["fitted"] == random["seeds"]
        what = "fits random labels" if fits else f"does not fit all random labels ({random['train_accuracy']:.1%} of them)"
        out.append(
            f"{subject['model']} {what} on {subject['n_train']:,} images of {subject['dataset']}: test accuracy "
            f"{random['test_accuracy']:.1%} (chance {random['chance']:.1%}), against {true['test_accuracy']:.1%} with true labels."
        )
    return out
