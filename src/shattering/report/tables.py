"""Stored runs → tables."""

import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from itertools import groupby
from statistics import fmean, stdev
from typing import Any, get_args

import pandas as pd

from shattering.data.catalog import DATASETS
from shattering.data.noise import Pixels
from shattering.identity.names import digest_of, is_object, label
from shattering.runs.spec import RunSpec
from shattering.runs.store import Runs, models_in
from shattering.runs.stored import Run, title_of
from shattering.stats import percent

PIXELS = list(get_args(Pixels))  # in the papers' order
_SUBJECT = ("dataset", "model", "hyperparameters", "n_train", "setting")  # the configuration whose randomizations are compared
_RANDOM = {"redraw": "random", "flip": "flipped", "permute": "permuted"}  # all labels of a label mode, in a word
_SETTING = ("n_validation", "image_size", "folds", "cv", "scoring", "skip_corrupt", "hold_out", "channels")  # further fields of a spec
_RESULTS = (
    "train_accuracy",
    "test_accuracy",
    "changed_fraction",
    "epochs_to_fit",
    "epochs",
    "interpolated",
    "diverged",
    "n_test",
    "n_classes",
    "n_parameters",
    "majority_share",
)
_RANDOMIZATION = ("pixels", "labels", "label_mode", "randomization")
_RUN_COLUMNS = (
    *("run_id", "status", *_SUBJECT, *_RANDOMIZATION, "seed", *_RESULTS),
    *("score", "seconds", "error", "folder"),
)
_SUMMARY_COLUMNS = (
    *(*_SUBJECT, *_RANDOMIZATION, "seeds", "runs", "not_done", "failed", "others", "train_accuracy", "test_accuracy", "changed_fraction"),
    *("epochs_to_fit", "test_sd", "fitted", "score", "chance", "majority_share", "n_test"),
)


def runs_table(runs: Runs) -> pd.DataFrame:
    """Return one row per run, done or not: its specification, its status, and its result (missing values if there is none).

    Args:
        runs: a store, its folder or URL, or runs; those of studies have no row.

    Raises:
        InputError: for anything else, and for a store that does not exist.

    Example:
        >>> runs_table(test.runs)["model"].unique().tolist()
        ['nearest-neighbors']
    """
    return pd.DataFrame(_rows(models_in(runs)), columns=list(_RUN_COLUMNS)).convert_dtypes()


def _rows(runs: Sequence[Run]) -> list[dict]:
    """Return one row per run. Those that are not done are told in the words of others on the same dataset."""
    known = {run.spec.dataset: run.result for run in runs if run.status == "done"}
    return [_row(run, known.get(run.spec.dataset, {})) for run in runs]


def _row(run: Run, like: Mapping[str, Any]) -> dict:
    spec, r = run.spec, run.spec.randomization
    return {
        "run_id": run.run_id,
        "status": run.status,
        "dataset": _text(run.result.get("dataset", spec.dataset_name)),
        "model": _text(spec.model_name),
        "hyperparameters": hyperparameters(run),
        "n_train": run.result.get("n_train", spec.n_train),
        "setting": _setting(run),
        "pixels": r.pixels,
        "labels": r.labels,
        "label_mode": r.label_mode,
        "randomization": title_of(r, like) + (" (channels apart)" if r.permute_channels else ""),
        "seed": spec.seed,
        **{name: run.result.get(name) for name in _RESULTS},
        **_scores_of_regression(run),
        "seconds": run.provenance.get("seconds"),
        "error": run.error and _text(run.error),
        "folder": _text(run.folder.name),
    }


def _scores_of_regression(run: Run) -> dict:
    """Return the scores of a run whose labels are numbers, in the columns that have the accuracies of others; score: their name."""
    if run.status != "done" or "n_classes" in run.result:
        return {"score": None}
    return {
        "score": run.spec.scoring_name or "r2",
        "train_accuracy": run.result["train_score"],
        "test_accuracy": run.result["test_score"],
    }


def _text(name: str) -> str:
    """Return a name as text that tables can hold, with escapes where the name of a file is no text."""
    return name.encode(errors="backslashreplace").decode()


def hyperparameters(run: Run) -> str:
    """Return the model's parameters that are not at their defaults, without the network, as JSON; "" if there are none."""
    params = {name: value for name, value in run.spec.hyperparameters().items() if name != "network"}
    return json.dumps(params) if params else ""


def _setting(run: Run) -> str:
    """Return the other fields of the specification that are not at their defaults, in words; "" if there are none."""
    values = {field.name: (getattr(run.spec, field.name), field.default) for field in fields(RunSpec) if field.name in _SETTING}
    return ", ".join(f"{name} = {_called(value)}" for name, (value, default) in values.items() if value != default)


def _called(value: object) -> object:
    return label(value) if isinstance(value, str) and is_object(value) else value


def summary_table(runs: Runs) -> pd.DataFrame:
    """Return one row per configuration, in the papers' order: means over seeds, and how many runs are not done.

    With folds, the number of a seed is the mean over its folds.

    Args:
        runs: a store, its folder or URL, or runs; those of studies have no row.

    Raises:
        InputError: for anything else, and for a store that does not exist.

    Columns:
        dataset, model, hyperparameters, n_train, setting: the configuration; n_train is the largest fold's; setting has the other fields.
        pixels, labels, label_mode, randomization: the randomization.
        seeds, runs: how many seeds have a run that is done, and how many runs are done (more than seeds if there are folds).
        not_done, failed, others: how many runs are not done, how many of these failed, and their states in words.
        train_accuracy, test_accuracy, test_sd: means in 0…1, and the standard deviation over seeds (missing for one seed).
        score: None; of a regression the name of the score that these columns then have.
        changed_fraction: the fraction of labels that were changed.
        epochs_to_fit, fitted: the mean over the runs that fitted, and the number of runs that interpolate at the end.
        chance, n_test: 1/classes (missing for a regression), and the number of different test examples of a seed, in all its folds.
        majority_share: the mean share of the training labels that are the most frequent one, the accuracy of a constant answer.

    Example:
        >>> summary_table(test.runs)["runs"].tolist()
        [1, 3]
    """
    return pd.DataFrame(summary_rows(models_in(runs)), columns=list(_SUMMARY_COLUMNS)).convert_dtypes()


def summary_rows(runs: Sequence[Run]) -> list[dict]:
    """Return the rows of `summary_table` as dictionaries, None for missing values.

    Also "subject", the key of their group, "scores", the train and the test score of each run that is done, and "given", whether the model
    is an object, whose hyperparameters no specification has.
    """
    rows = [row | _subject_of(run) for row, run in zip(_rows(runs), runs, strict=True)]
    _call_alike(rows)
    _join_unfinished(rows)
    _join_folds(rows)
    _tell_data_apart(rows)
    _tell_apart(rows)

    def key(row: dict) -> tuple:
        names = (*(row[name] for name in ("dataset", "model", "hyperparameters")), row["n_train"] or 0, row["setting"], row["subject"])
        return (*names, PIXELS.index(row["pixels"]), row["labels"], row["label_mode"], row["randomization"])

    return [_summary(list(rows)) for _, rows in groupby(sorted(rows, key=key), key)]


def _subject_of(run: Run) -> dict:
    """Return the key of a run's group: its specification without seeds, fold and randomization.

    With it come "exactly", which distinguishes datasets and models of the same name, "seeds", which the folds of a seed share, what
    else tells runs apart, and "n_cut", how many examples a fold has on both sides: no more are tested, however often folds repeat.
    """
    spec = run.spec
    dataset, model = _text(_source(spec.dataset)), _text(digest_of(spec.model) if is_object(spec.model) else spec.model)
    setting = {name: getattr(spec, name) for name in ("n_train", "n_test", *_SETTING)}
    subject = json.dumps([dataset, model, spec.model_name, hyperparameters(run), setting])
    seeds = (spec.seed, spec.resolved_data_seed, spec.resolved_noise_seed)
    asked = {
        "fold": spec.fold,
        "n_test_asked": spec.n_test,
        "data": run.provenance.get("dataset_fingerprint"),
        "is_content": is_object(spec.dataset),
        "given": is_object(spec.model),
        "n_cut": run.result.get("n_train", 0) + run.result.get("n_test", 0),
    }
    return {"subject": subject, "exactly": {"dataset": dataset, "model": model}, "seeds": seeds, **asked}


def _source(dataset: str) -> str:
    """Return what tells datasets apart: a name, the content of an object, whatever it was called, or the whole path of files."""
    if is_object(dataset):
        return digest_of(dataset)
    return dataset if dataset in DATASETS else os.path.abspath(os.path.expanduser(dataset))


def _call_alike(rows: list[dict]) -> None:
    """Give a dataset that is an object one name, where runs that are done have several for the same content."""
    called: dict[tuple[str, str], str] = {}
    for row in rows:
        if row["status"] == "done" and row["is_content"]:
            row["dataset"] = called.setdefault((row["exactly"]["dataset"], row["setting"]), row["dataset"])


def _join_unfinished(rows: list[dict]) -> None:
    """Group runs that are not done with those of the same subject that are.

    Only runs that are done know which variant of the data they used. If a subject has several variants, each is a subject of its own.
    """
    variants: dict[str, dict[str, dict]] = {}  # subject → variant of the data → one of its rows
    for row in rows:
        if row["status"] == "done":
            variants.setdefault(row["subject"], {}).setdefault(row["dataset"], row)
    for row in rows:
        done = list(variants.get(row["subject"], {}).values())
        if row["status"] != "done" and len(done) == 1:
            row |= {name: done[0][name] for name in ("dataset", "n_train")}
        row["subject"] += row["dataset"]


def _join_folds(rows: list[dict]) -> None:
    """Give all folds of a subject the training size of the largest that is done, as those of time series, or of groups, differ."""
    folds = [row for row in rows if row["fold"] is not None]
    sizes: dict[str, int] = {}
    for row in folds:
        if row["status"] == "done":
            sizes[row["subject"]] = max(row["n_train"], sizes.get(row["subject"], 0))
    for row in folds:
        row["n_train"] = sizes.get(row["subject"], row["n_train"])


def _tell_data_apart(rows: list[dict]) -> None:
    """Make subjects of their own of runs that differ in their data alone, as a file was changed between them.

    Such runs have one specification, and would be averaged as if they were folds.
    """
    data: dict[tuple, set[str]] = {}
    for row in rows:
        if row["status"] == "done":
            randomization = (row["pixels"], row["labels"], row["label_mode"], row["randomization"])
            data.setdefault((row["subject"], row["seeds"], row["fold"], *randomization), set()).add(row["data"])
    changed = {subject for (subject, *_), fingerprints in data.items() if len(fingerprints) > 1}
    for row in rows:
        if row["subject"] in changed and row["data"]:
            row["subject"] += row["data"]
            row["dataset"] += f" (data {row['data'][:8]})"


def _tell_apart(rows: list[dict]) -> None:
    """Give datasets and models of different subjects different names, and name the size of the test split where it differs."""
    called: dict[tuple, list[dict]] = {}
    for row in rows:
        called.setdefault(tuple(row[name] for name in _SUBJECT), []).append(row)
    for alike in called.values():
        for name in ("dataset", "model"):
            if len({row["exactly"][name] for row in alike}) > 1:
                for row in alike:
                    row[name] = f"{row[name]} ({row['exactly'][name]})"
        if len({row["n_test_asked"] for row in alike}) > 1:
            for row in alike:
                row["setting"] = ", ".join(filter(None, [row["setting"], f"n_test = {row['n_test_asked'] or 'all'}"]))


def _summary(rows: list[dict]) -> dict:
    done = [row for row in rows if row["status"] == "done"]
    others = Counter(row["status"] for row in rows if row["status"] != "done")
    seeds = [[row for row in done if row["seeds"] == one] for one in dict.fromkeys(row["seeds"] for row in done)]

    def means(name: str) -> list[float]:
        """Return the mean over the folds of each seed."""
        values = [[row[name] for row in folds if row[name] is not None] for folds in seeds]
        return [fmean(known) for known in values if known]

    def mean(name: str) -> float | None:
        return fmean(values) if (values := means(name)) else None

    return {
        **{name: rows[0][name] for name in (*_SUBJECT, *_RANDOMIZATION, "subject", "given")},
        "seeds": len(seeds),
        "runs": len(done),
        "not_done": len(rows) - len(done),
        "failed": others["failed"],
        "others": ", ".join(f"{n} {status}" for status, n in others.items()),
        **{name: mean(name) for name in ("train_accuracy", "test_accuracy", "changed_fraction", "epochs_to_fit")},
        "test_sd": stdev(means("test_accuracy")) if len(seeds) > 1 else None,
        "fitted": sum(row["interpolated"] for row in done),
        "score": done[0]["score"] if done else None,
        "chance": 1 / done[0]["n_classes"] if done and done[0]["n_classes"] else None,
        "majority_share": mean("majority_share"),
        "scores": [(row["train_accuracy"], row["test_accuracy"]) for row in done],
        "n_test": max((min(sum(row["n_test"] for row in folds), max(row["n_cut"] for row in folds)) for folds in seeds), default=None),
    }


def by_subject(rows: Iterable[dict]) -> list[dict]:
    """Group summary rows by dataset, model, hyperparameters, n_train and setting.

    Returns:
        One dictionary per group, with these five, n_test (None if no run is done), score (as in the rows that are done) and rows.
    """
    out = []
    for _, members in groupby(rows, lambda row: row["subject"]):
        members = list(members)
        n_test = next((row["n_test"] for row in members if row["n_test"]), None)
        score = next((row["score"] for row in members if row["seeds"]), None)
        out.append({**{name: members[0][name] for name in _SUBJECT}, "n_test": n_test, "score": score, "rows": members})
    return out


def subject_title(subject: dict) -> str:
    """Return the title of a group of `by_subject`."""
    n = "all" if subject["n_train"] is None else f"{subject['n_train']:,}"
    setting = f" ({subject['setting']})" if subject["setting"] else ""
    return f"{subject['model']} on {subject['dataset']}, {n} training examples{setting}"


def verdicts(rows: Iterable[dict]) -> list[str]:
    """Return one sentence per subject that was trained on true and on fully random labels.

    "Fits" means that every run classifies its whole training set as labelled at the end. Where sentences would begin alike, the model has
    its hyperparameters and its setting beside it.
    """
    out = []
    subjects = by_subject(rows)
    times = Counter((subject["model"], subject["dataset"], subject["n_train"]) for subject in subjects)
    for subject in subjects:
        more = ", ".join(filter(None, [subject["hyperparameters"], subject["setting"]]))
        is_alone = times[subject["model"], subject["dataset"], subject["n_train"]] == 1
        model = subject["model"] if is_alone or not more else f"{subject['model']} ({more})"
        plain = [row for row in subject["rows"] if row["pixels"] == "true" and row["seeds"] and row["score"] is None]
        true = next((row for row in plain if row["labels"] == 0), None)
        all_random = [row for row in plain if row["labels"] == 1]
        if true is None:
            continue
        for random in all_random:
            name = "random labels" if len(all_random) == 1 else f"{_RANDOM[random['label_mode']]} labels"
            fits = random["fitted"] == random["runs"]
            what = f"fits {name}" if fits else f"does not fit all {name} ({percent(random['train_accuracy'])} of them)"
            tested = f"test accuracy {percent(random['test_accuracy'])} (chance {random['chance']:.1%}), against "
            tested += f"{percent(true['test_accuracy'])} on the original data"
            out.append(f"{model} {what} on {subject['n_train']:,} examples of {subject['dataset']}: {tested}.")
    return out
