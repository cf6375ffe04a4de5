"""Fit and score the randomized copies of one dataset, at little more than the cost of the fits: what `PermutationsSpec` says."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from statistics import fmean

import pandas as pd

from shattering import seeds
from shattering.data.dataset import Dataset
from shattering.errors import named
from shattering.learners.on_splits import fit_split
from shattering.randomization import randomize
from shattering.runs.fit import check_not_changed_in_place, exchange_function, folds_of, load_original, randomized_test_labels
from shattering.runs.objects import Objects
from shattering.runs.permutations import PermutationsSpec
from shattering.runs.reading import Damaged, damaged, read_object
from shattering.runs.scoring import null_score
from shattering.runs.spec import RunSpec
from shattering.runs.store import write_json
from shattering.runs.stored import Run

CHECKPOINT = "checkpoint.json"
TYPES = {"seed": "int64", "score": "float64", "fit_seconds": "float64", "error": "object"}  # of the table's columns
_CHECKPOINT_SECONDS = 1.0  # between writings of the scores so far
OnScore = Callable[[dict], None]


def compute(
    spec: PermutationsSpec, folder: Path, on_score: OnScore | None = None, objects: Objects | None = None
) -> tuple[dict, pd.DataFrame]:
    """Compute the scores that are not in the folder's checkpoint yet.

    A fit that fails has no score, and the error in its place. What ends the process leaves the scores so far in the checkpoint.

    Args:
        spec: what to fit.
        folder: of the checkpoint.
        on_score: called with {"permutation": number from 1, "of": how many, …} after each.
        objects: the objects that the specification names.

    Returns:
        (numbers, table with a row per seed: seed, score, fit_seconds, error).
    """
    copies, rows = Copies(spec.fits, objects), read_checkpoint(folder, spec)
    written = time.perf_counter()
    try:
        for number, seed in enumerate(spec.seeds[len(rows) :], start=len(rows) + 1):
            rows.append({"seed": seed, **_scored(copies, seed)})
            if time.perf_counter() - written > _CHECKPOINT_SECONDS:
                write_json(folder / CHECKPOINT, {"rows": rows})
                written = time.perf_counter()
            if on_score:
                on_score({"permutation": number, "of": len(spec.seeds), **rows[-1]})
    except BaseException:
        write_json(folder / CHECKPOINT, {"rows": rows})
        raise
    check_not_changed_in_place(spec.fits, objects, copies.fingerprint)
    return copies.about(rows), pd.DataFrame(rows, columns=list(TYPES)).astype(TYPES)


class Copies:
    """The original data of a specification, loaded once, to be randomized with one seed after another.

    Args:
        fits: the specification of the fits; its seed does not matter.
        objects: the objects that it names.

    Raises:
        InputError: for bad data.
    """

    def __init__(self, fits: RunSpec, objects: Objects | None):
        self.fits, self.objects = fits, objects
        self.original, self.fingerprint = load_original(fits, objects)

    def score(self, seed: int) -> float:
        """Return the mean over folds of the score against labels that are randomized as the training labels are.

        seed: of the noise and of the model.

        Global generators are put back, so that a fit does not depend on those before it.
        """
        data = randomize(self.original, self.fits.randomization, seed, exchange_function(self.fits, self.objects))
        with seeds.put_back():
            return fmean(self._score(fold, seed) for fold in folds_of(self.fits, data, self.objects))

    def _score(self, data: Dataset, seed: int) -> float:
        fits, test = self.fits, data.test
        with seeds.everywhere(seed):  # as `evaluate` does
            model = fit_split(fits.build(self.objects, seed), data.train)
        randomized = randomized_test_labels(fits, test, seed, self.objects)
        with seeds.everywhere(seeds.integer(seed, "predict")):
            return null_score(fits, model, test, randomized, self.objects)

    def about(self, rows: list[dict]) -> dict:
        """Return the numbers for result.json."""
        scores = [row["score"] for row in rows if row["score"] is not None]
        sizes = {"n_permutations": len(rows), "n_failed": len(rows) - len(scores), "n_train": len(self.original.train)}
        return {"data": self.original.variant, **sizes, "mean_score": fmean(scores) if scores else None}


def _scored(copies: Copies, seed: int) -> dict:
    clock = time.perf_counter()
    try:
        score, error = copies.score(seed), None
    except Exception as failure:  # whatever the model raises on this copy
        score, error = None, named(failure)
    return {"score": score, "fit_seconds": time.perf_counter() - clock, "error": error}


def read_checkpoint(folder: Path, spec: PermutationsSpec) -> list[dict]:
    """Return the rows that an interrupted batch has computed. Raises `Damaged` for a file that is not such a checkpoint."""
    path = folder / CHECKPOINT
    try:
        rows = read_object(path, "remove it to compute them again").get("rows")
    except FileNotFoundError:
        return []
    good = isinstance(rows, list) and all(isinstance(row, dict) and set(row) == set(TYPES) for row in rows)
    if not isinstance(rows, list) or not good or [row["seed"] for row in rows] != list(spec.seeds[: len(rows)]):
        raise damaged(path, "it does not hold the scores of the first seeds", "remove it to compute them again")
    return rows


def scores_of(run: Run[PermutationsSpec]) -> list[dict]:
    """Return the rows of a batch: all of them if it is done, those computed so far if it is not; none if it cannot be read.

    Each has seed, score (None for a fit that failed), fit_seconds and error.

    Example:
        >>> from shattering import Store, randomization_test
        >>> data = {"data": "digits", "n_train": 100, "randomizations": ["permuted-labels"]}
        >>> test = randomization_test("nearest-neighbors", **data, store="runs")
        >>> [len(scores_of(run)) for run in Store("runs").everything() if isinstance(run.spec, PermutationsSpec)]
        [16]
    """
    if run.status == "done":
        table = run.table
        if missing := [name for name in TYPES if name not in table]:
            raise damaged(run.folder / "table.parquet", f"it has no column {missing[0]!r}")
        return table.astype(object).where(table.notna(), None).to_dict("records")
    try:
        return read_checkpoint(run.folder, run.spec)
    except Damaged:
        return []
