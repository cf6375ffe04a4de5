"""The scores of a run by a scorer of scikit-learn: finite numbers, or an error that says why there is no score."""

import math
import warnings

import torch
from sklearn.metrics import get_scorer

from shattering.data.dataset import Dataset
from shattering.data.split import Split
from shattering.errors import InputError, reason
from shattering.learners.on_splits import predict_split, score_split
from shattering.runs.spec import RunSpec


def scores(spec: RunSpec, model, data: Dataset, randomized: torch.Tensor) -> dict[str, float | None]:
    """Return train_score, test_score (against the true test labels) and test_score_on_corrupted_labels; higher is better.

    The dictionary is empty without `scoring`; the score of a regression then is R². The score against the labels that stratify the
    test split (the true labels; in folds the labels of the training) has to exist. The score against the other labels, which may lack
    classes there, may be None.

    Args:
        spec: the specification of the run.
        model: fitted.
        data: the splits that it was fitted to and is tested on.
        randomized: (n_test,) test labels, randomized as the training labels are.

    Raises:
        InputError: if a score that has to exist is NaN or infinite, or the scorer fails.
    """
    scoring = spec.scoring or ("r2" if data.train.is_regression else None)
    if scoring is None:
        return {}
    train, test, true = data.train, data.test, data.test.true_labels
    of_test = "the test split" if spec.folds is None else f"fold {spec.fold} of {spec.folds}"
    stratified = true if spec.folds is None else randomized
    needed = _score(scoring, model, test, stratified, of_test)
    other = randomized if spec.folds is None else true
    same = torch.equal(stratified, other)
    optional = needed if same else _score_or_none(scoring, model, test, other)
    on_true, on_randomized = (needed, optional) if spec.folds is None else (optional, needed)
    return {
        "train_score": _score(scoring, model, train, train.labels, "the train split"),
        "test_score": on_true,
        "test_score_on_corrupted_labels": on_randomized,
    }


def null_score(spec: RunSpec, model, test: Split, randomized: torch.Tensor) -> float:
    """Return the score of a fitted model that permutation tests compare: accuracy, or that of the scorer of the specification.

    Args:
        spec: the specification of the fit.
        model: fitted.
        test: the split that it is tested on.
        randomized: (n_test,) test labels, randomized as the training labels are.

    Raises:
        InputError: if the score is NaN or infinite, or the scorer fails.
    """
    if spec.scoring is None:
        return float((predict_split(model, test) == randomized.numpy()).mean())
    return _score(spec.scoring, model, test, randomized, "the test split" if spec.folds is None else "a fold")


def _score(scoring: str, model, split: Split, labels: torch.Tensor, where: str) -> float:
    try:
        score = score_split(get_scorer(scoring), model, split, labels)
    except Exception as error:  # whatever the scorer raises
        said = reason(error)
    else:
        if math.isfinite(score):
            return score
        said = f"it is {score}"
    classes = [] if split.is_regression else [split.classes[k] for k in labels.unique().tolist()]
    alone = f"; all {len(labels)} labels there are {classes[0]!r}" if len(classes) == 1 else ""
    raise InputError(f"scoring {scoring!r} has no value on {where}: {said}{alone}")


def _score_or_none(scoring: str, model, split: Split, labels: torch.Tensor) -> float | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the warnings would be about labels that the user did not choose
        try:
            return _score(scoring, model, split, labels, "")
        except InputError:
            return None
