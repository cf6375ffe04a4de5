"""Stored runs → tables."""

import json
from collections.abc import Iterable
from typing import get_args

import pandas as pd

from shattering.randomization import Pixels
from shattering.runs.store import Run

PIXELS = list(get_args(Pixels))  # in the papers' order


def runs_table(runs: Iterable[Run]) -> pd.DataFrame:
    """One row a run, done or not: what was run, its status, and its result (missing values where there is none)."""
    rows = []
    for run in runs:
        spec, r, result = run.spec, run.spec.randomization, run.result
        rows.append(
            {
                "run_id": run.run_id,
                "status": run.status,
                "dataset": result.get("dataset", spec.dataset),
                "model": spec.model_name,
                "recipe": recipe(run),
                "labels": r.labels,
                "label_mode": r.label_mode,
                "pixels": r.pixels,
                "randomization": r.title,
                "n_train": result.get("n_train", spec.n_train),
                "seed": spec.seed,
                "train_accuracy": result.get("train_accuracy"),
                "test_accuracy": result.get("test_accuracy"),
                "changed_fraction": result.get("changed_fraction"),
                "epochs_to_fit": result.get("epochs_to_fit"),
                "epochs": result.get("epochs"),
                "interpolated": result.get("interpolated"),
                "diverged": result.get("diverged"),
                "n_test": result.get("n_test"),
                "n_classes": result.get("n_classes"),
                "n_parameters": result.get("n_parameters"),
                "seconds": run.provenance.get("seconds"),
                "error": run.error,
                "folder": run.folder.name,
            }
        )
    return pd.DataFrame(rows).convert_dtypes()


def recipe(run: Run) -> str:
    """The learner's parameters that are not at their defaults, but for the network, as JSON; "" if all are."""
    params = {name: value for name, value in run.spec.recipe().items() if name != "network"}
    return json.dumps(params) if params else ""


GROUP = ["dataset", "n_train", "model", "recipe", "pixels", "label_mode", "labels"]


def summary_table(runs: Iterable[Run]) -> pd.DataFrame:
    """One row a configuration, in the papers' order: mean over its done seeds, and how many are not done.

    Columns: those of `GROUP`, randomization, seeds (done), not_done, failed, train_accuracy and test_accuracy
    (means, in 0…1), test_sd (standard deviation over seeds; missing for one), changed_fraction, epochs_to_fit
    (mean over the seeds that fitted), fitted (seeds that interpolate at the end), chance (1/classes).
    """
    table = runs_table(runs)
    if table.empty:
        return table
    rows = []
    for key, group in table.groupby(GROUP, dropna=False):
        done = group[group["status"] == "done"]
        rows.append(
            dict(zip(GROUP, key, strict=True))
            | {
                "randomization": group["randomization"].iloc[0],
                "seeds": len(done),
                "not_done": len(group) - len(done),
                "failed": int((group["status"] == "failed").sum()),
                "train_accuracy": done["train_accuracy"].mean(),
                "test_accuracy": done["test_accuracy"].mean(),
                "test_sd": done["test_accuracy"].std() if len(done) > 1 else None,
                "changed_fraction": done["changed_fraction"].mean(),
                "epochs_to_fit": done["epochs_to_fit"].mean(),
                "fitted": int(done["interpolated"].sum()) if len(done) else 0,
                "chance": 1 / done["n_classes"].iloc[0] if len(done) else None,
                "n_test": done["n_test"].iloc[0] if len(done) else None,
            }
        )
    summary = pd.DataFrame(rows)
    order = ["dataset", "model", "recipe", "n_train", "pixels", "labels"]
    return summary.sort_values(order, key=lambda column: column.map(PIXELS.index) if column.name == "pixels" else column, ignore_index=True)


def verdicts(summary: pd.DataFrame) -> list[str]:
    """One sentence a configuration of true-label and fully random-label runs, by the rule that it states.

    "Fits" means that every seed classifies its whole training set as labelled at the end.
    """
    out = []
    for (dataset, n, model, _), group in summary.groupby(["dataset", "n_train", "model", "recipe"], dropna=False):
        plain = group[(group["pixels"] == "true") & (group["seeds"] > 0)]
        true, random = plain[plain["labels"] == 0], plain[plain["labels"] == 1]
        if true.empty or random.empty:
            continue
        true, random = true.iloc[0], random.iloc[0]
        fits = random["fitted"] == random["seeds"]
        what = "fits random labels" if fits else f"does not fit all random labels ({random['train_accuracy']:.1%} of them)"
        out.append(
            f"{model} {what} on {n:,} images of {dataset}: test accuracy {random['test_accuracy']:.1%} "
            f"(chance {random['chance']:.1%}), against {true['test_accuracy']:.1%} with true labels."
        )
    return out
