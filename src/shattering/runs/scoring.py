"""The scores of a run by one of scikit-learn's scorers: finite numbers, or a sentence that says why there is none."""

import math
import warnings

import torch
from sklearn.metrics import get_scorer

from shattering.data.dataset import Dataset, Split
from shattering.errors import InputError, reason
from shattering.learners.on_splits import score_split
from shattering.runs.spec import RunSpec


def scores(spec: RunSpec, model, data: Dataset, randomized: torch.Tensor) -> dict[str, float | None]:
    """train_score, test_score (against the true test labels) and test_score_on_corrupted_labels; higher is better.

    Empty without `scoring`. Against the labels that the test split is stratified by (the true ones; in folds those that are
    trained on) there has to be a score. Against the others, which may lack classes there, it may be None.

    Args:
        spec: of the run.
        model: fitted.
        data: what it was fitted to and is tested on.
        randomized: (n_test,) test labels, randomized as the training labels are.

    Raises:
        InputError: where there has to be a score, and the scorer fails or gives NaN or an infinite number.
    """
    if spec.scoring is None:
        return {}
    train, test, true = data.train, data.test, data.test.true_labels
    of_test = "the test split" if spec.folds is None else f"fold {spec.fold} of {spec.folds}"
    stratified = true if spec.folds is None else randomized
    needed = _score(spec.scoring, model, test, stratified, of_test)
    other = randomized if spec.folds is None else true
    same = torch.equal(stratified, other)
    optional = needed if same else _score_or_none(spec.scoring, model, test, other)
    on_true, on_randomized = (needed, optional) if spec.folds is None else (optional, needed)
    return {
        "train_score": _score(spec.scoring, model, train, train.labels, "the train split"),
        "test_score": on_true,
        "test_score_on_corrupted_labels": on_randomized,
    }


def _score(scoring: str, model, split: Split, labels: torch.Tensor, where: str) -> float:
    try:
        score = score_split(get_scorer(scoring), model, split, labels)
    except Exception as error:  # whatever the scorer raises
        said = reason(error)
    else:
        if math.isfinite(score):
            return score
        said = f"it is {score}"
    classes = [split.classes[k] for k in labels.unique().tolist()]
    alone = f"; all {len(labels)} labels there are {classes[0]!r}" if len(classes) == 1 else ""
    raise InputError(f"scoring {scoring!r} has no value on {where}: {said}{alone}")


def _score_or_none(scoring: str, model, split: Split, labels: torch.Tensor) -> float | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they would be of labels that nobody asked the user for
        try:
            return _score(scoring, model, split, labels, "")
        except InputError:
            return None
