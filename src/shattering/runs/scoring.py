"""The scores of a run by a scorer of scikit-learn: finite numbers, or an error that says why there is no score."""

import math
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.metrics import get_scorer

from shattering.data.dataset import Dataset
from shattering.data.split import Split
from shattering.errors import InputError, reason
from shattering.identity.names import is_object
from shattering.learners.on_splits import inputs_of, predict_split, score_split
from shattering.runs.objects import Objects, find
from shattering.runs.spec import RunSpec

RESPONSES = ("predict_proba", "decision_function")
_MOST = 2_000_000  # numbers of responses that are stored of a fit
Scorer = Callable[[Any, Any, np.ndarray], float]


def scorer_of(scoring: str, objects: Objects | None = None) -> Scorer:
    """Return the scorer of a name: one of scikit-learn's, or one of the objects. It takes (estimator, X, y)."""
    return find(scoring, objects) if is_object(scoring) else get_scorer(scoring)


def scores(spec: RunSpec, model, data: Dataset, randomized: torch.Tensor, objects: Objects | None = None) -> dict[str, float | None]:
    """Return train_score, test_score (against the true test labels) and test_score_on_corrupted_labels; higher is better.

    Without `scoring` the dictionary is empty for classes, and the score of a regression is R². The train score has to exist, and so has
    the score against the labels that stratify the test split (the true labels; in folds the labels of the training). The score against
    the other labels, which may lack classes there, may be None.

    Args:
        spec: the specification of the run.
        model: fitted.
        data: the splits that it was fitted to and is tested on.
        randomized: (n_test,) test labels, randomized as the training labels are.
        objects: the objects that the specification names.

    Raises:
        InputError: if a score that has to exist is NaN or infinite, or the scorer fails.
    """
    scoring = spec.scoring_for(data.train.is_regression)
    if scoring is None:
        return {}
    train, test, true = data.train, data.test, data.test.true_labels
    of_test = "the test split" if spec.folds is None else f"fold {spec.fold} of {spec.folds}"
    stratified = true if spec.folds is None else randomized
    scorer, name = scorer_of(scoring, objects), spec.scoring_name or scoring
    needed = _score(scorer, name, model, test, stratified, of_test)
    other = randomized if spec.folds is None else true
    same = torch.equal(stratified, other)
    optional = needed if same else _score_or_none(scorer, model, test, other)
    on_true, on_randomized = (needed, optional) if spec.folds is None else (optional, needed)
    return {
        "train_score": _score(scorer, name, model, train, train.labels, "the train split"),
        "test_score": on_true,
        "test_score_on_corrupted_labels": on_randomized,
    }


def null_score(spec: RunSpec, model, test: Split, randomized: torch.Tensor, objects: Objects | None = None) -> float:
    """Return the score of a fitted model that permutation tests compare: accuracy, or that of the scorer of the specification.

    Args:
        spec: the specification of the fit.
        model: fitted.
        test: the split that it is tested on.
        randomized: (n_test,) test labels, randomized as the training labels are.
        objects: the objects that the specification names.

    Raises:
        InputError: if the score is NaN or infinite, or the scorer fails.
    """
    scoring = spec.scoring_for(test.is_regression)
    if scoring is None:
        return float((predict_split(model, test) == randomized.numpy()).mean())
    where = "the test split" if spec.folds is None else "a fold"
    return _score(scorer_of(scoring, objects), spec.scoring_name or scoring, model, test, randomized, where)


def predictions(spec: RunSpec, model, test: Split, predicted: np.ndarray) -> pd.DataFrame:
    """Return what a model predicts of a test split, for scores against other labels: `ZeroRefitTest` needs no more.

    Columns: id; prediction, a number of a class or a target; and, where another score than accuracy or R² may need them, the columns
    of predict_proba and decision_function.
    """
    table = {"id": test.ids.numpy(), "prediction": predicted}
    if spec.scoring in (None, "accuracy", "r2"):
        return pd.DataFrame(table)
    for method in RESPONSES:
        respond = getattr(model, method, None)
        if respond is None or len(test) * test.n_classes > _MOST:
            continue
        with suppress(Exception):  # whatever a method raises that the scorer may not need
            values = np.asarray(respond(inputs_of(model, test)), dtype=float).reshape(len(test), -1)
            table |= {f"{method}_{k}": values[:, k] for k in range(values.shape[1])}
    return pd.DataFrame(table)


def _score(scorer: Scorer, scoring: str, model, split: Split, labels: torch.Tensor, where: str) -> float:
    try:
        score = score_split(scorer, model, split, labels)
    except Exception as error:  # whatever the scorer raises
        said = reason(error)
        if "pos_label" in said:  # scikit-learn's own words name no remedy that a name of a scorer can have
            said += "; take one that averages, such as 'f1_macro', or in Python make_scorer(…, pos_label=…)"
    else:
        if math.isfinite(score):
            return score
        said = f"it is {score}"
    raise InputError(f"scoring {scoring!r} has no value on {where}: {said}{_too_few(split, labels, where)}")


def _too_few(split: Split, labels: torch.Tensor, where: str) -> str:
    """Return that the labels that a score is undefined for are alike, with the remedy; "" if they are not."""
    different = labels.unique().tolist()
    if len(different) > 1:
        return ""
    called = "targets there are equal" if split.is_regression else f"labels there are {split.classes[different[0]]!r}"
    remedy = "fewer folds, or folds that are stratified or shuffled" if "fold" in where else "a larger test split, or cv="
    return f"; all {len(labels)} {called}, expected different ones" + (f": take {remedy}" if where != "the train split" else "")


def _score_or_none(scorer: Scorer, model, split: Split, labels: torch.Tensor) -> float | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the warnings would be about labels that the user did not choose
        try:
            return _score(scorer, "", model, split, labels, "")
        except InputError:
            return None
