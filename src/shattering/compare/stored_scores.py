"""Compute from stored predictions, without fitting again: the zero-refit test, and the score of the best constant answer."""

import warnings
from collections.abc import Callable, Iterator
from math import isclose, isfinite
from statistics import fmean
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.utils import ClassifierTags, RegressorTags, Tags, TargetTags

from shattering.compare.class_scores import CLASS_SCORES
from shattering.compare.duplicates import Cuts
from shattering.compare.repeat import Repeat
from shattering.compare.zero_refit import ZeroRefitTest, zero_refit
from shattering.data.dataset import Dataset
from shattering.data.exchange import count_orders
from shattering.data.split import Split
from shattering.errors import InputError, reason
from shattering.identity.names import is_object
from shattering.runs.objects import Objects, find
from shattering.runs.scoring import RESPONSES, scorer_of

_MOST_CONSTANTS = 50  # classes of which each is tried as a constant answer


def zero_refit_of(original: Repeat, data: Dataset, exchange: str, objects: Objects | None) -> tuple[ZeroRefitTest | None, tuple[str, ...]]:
    """Return the zero-refit test of the original fit, and a sentence where there is none though there is a test split.

    Args:
        original: the fit on the original data.
        data: that it was fitted to and tested on.
        exchange: how labels are exchanged, or the name of the function that does it.
        objects: the objects that the specification names.
    """
    run = original.runs[0]
    if run.spec.folds is not None or run.status != "done":
        return None, ()
    if not run.has("predictions.parquet"):
        return None, (
            f"No zero-refit test: {run.folder.name} has no predictions, as an earlier version stored it; remove it to fit it again.",
        )
    split, table = data.test, run.predictions
    if table["id"].tolist() != split.ids.tolist():
        return None, (f"No zero-refit test: the predictions in {run.folder.name} are of other test examples.",)
    y, predicted = split.y, _values(split, table)
    how = find(exchange, objects) if is_object(exchange) else exchange
    about: dict[str, Any] = {"exchange": how, "groups": split.group_codes, "ids": split.ids.numpy(), "seed": run.spec.seed}
    scoring = run.spec.scoring_for(split.is_regression) or "accuracy"
    try:
        if scoring in ("accuracy", "r2"):
            return zero_refit(y, predicted, score=scoring, **about), ()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the warnings would be about labels that the user did not choose
            score = _stored_score(scoring, split, table, objects)
            values = _named_values(scoring, split, table)
            if values is not None:
                own, test = score(y), zero_refit(y, values, score=scoring, **about)
                if isclose(test.score, own, abs_tol=1e-9):
                    return test, ()
            return zero_refit(y, predicted, score=score, **about), ()
    except Exception as error:  # whatever a scorer raises that needs more than the stored predictions
        return None, (f"No zero-refit test: scoring {run.spec.scoring_name!r} cannot be computed from the predictions ({reason(error)}).",)


def _values(split: Split, table: pd.DataFrame) -> np.ndarray:
    """Return predictions in the user's own values."""
    predicted = table["prediction"].to_numpy()
    return predicted if split.is_regression else split.label_values[predicted.astype(np.int64)]


def _named_values(scoring: str, split: Split, table: pd.DataFrame) -> np.ndarray | None:
    """Return what `zero_refit` needs of the predictions where it knows the score by its name; else None."""
    if scoring in CLASS_SCORES:
        return _values(split, table)
    if scoring == "roc_auc" and split.n_classes == 2:
        for column in ("decision_function_0", "predict_proba_1"):  # in the order in which scikit-learn looks
            if column in table:
                return table[column].to_numpy()
    return None


def _stored_score(scoring: str, split: Split, table: pd.DataFrame, objects: Objects | None) -> Callable[[np.ndarray], float]:
    scorer, stored, X = scorer_of(scoring, objects), StoredResponses(split, table), split.X
    return lambda y: float(scorer(stored, X, y))


class StoredResponses:
    """A fitted model as scorers see it, which answers with what it predicted of one test split, whatever it is asked about.

    Args:
        split: the test split.
        table: of `shattering.runs.scoring.predictions`.
    """

    def __init__(self, split: Split, table: pd.DataFrame):
        self._split, self._predicted = split, _values(split, table)
        for method in RESPONSES:
            columns = [name for name in table if name.rpartition("_")[0] == method]
            if columns:
                values = table[columns].to_numpy()
                setattr(self, method, _answering(method, values[:, 0] if len(columns) == 1 else values))
        if not split.is_regression:
            self.classes_ = split.label_values

    def fit(self, X: Any, y: Any) -> "StoredResponses":
        """Raise InputError: it is fitted already."""
        raise InputError("scoring fits the model again, expected a score of predictions")

    def predict(self, X: Any) -> np.ndarray:
        """Return the stored predictions (n,)."""
        return self._predicted

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def __sklearn_tags__(self) -> Tags:
        required = TargetTags(required=True)
        if self._split.is_regression:
            return Tags(estimator_type="regressor", target_tags=required, regressor_tags=RegressorTags())
        return Tags(estimator_type="classifier", target_tags=required, classifier_tags=ClassifierTags())


def _answering(method: str, values: np.ndarray) -> Callable[[Any], np.ndarray]:
    """Return a function of the name of a method, which scikit-learn looks at, that returns the stored values."""

    def respond(_: Any) -> np.ndarray:
        return values

    respond.__name__ = method
    return respond


def admissible_orders(data: Dataset, exchange: str, folds: bool) -> float | None:
    """Return the number of label vectors that the admissible permutations give: those of train and test labels, each among themselves.

    folds: whether there is no test split. None for permutations by a function, whose number is not known.
    """
    if is_object(exchange):
        return None
    number = 1.0
    for split in (data.train,) if folds else (data.train, data.test):
        number *= count_orders(exchange, split.true_labels.numpy(), split.group_codes, split.ids.numpy())
    return number


def group_share(data: Dataset, exchange: str, cuts: Cuts | None = None) -> float | None:
    """Return the training accuracy, or R², on labels permuted inside of groups, of an answer that knows an example's group alone.

    It is the same for every such permutation; with folds, about so. None where labels are not permuted inside of groups.
    """
    if exchange not in ("within", "shift") or data.train.group_codes is None:
        return None
    labels, groups = data.train.true_labels.numpy(), data.train.group_codes
    parts = [slice(None)] if cuts is None else [rows for rows, _ in cuts]
    return fmean(_share_by_group(labels[rows], groups[rows], data.train.is_regression) for rows in parts)


def _share_by_group(labels: np.ndarray, groups: np.ndarray, is_regression: bool) -> float:
    if not is_regression:
        return float(pd.crosstab(groups, labels).to_numpy().max(axis=1).sum()) / len(labels)
    left = np.square(labels - pd.Series(labels).groupby(groups).transform("mean").to_numpy()).sum()
    return 1 - float(left) / spread if (spread := float(np.square(labels - labels.mean()).sum())) else 0.0


def best_constant(original: Repeat, data: Dataset, objects: Objects | None, cuts: Cuts | None = None) -> float | None:
    """Return the best score of an answer that does not depend on the inputs: a constant, or the shares of the classes as probabilities.

    With folds it is the best mean over them, as scores are, of one constant; of R², whose definition compares with the mean of each
    fold's own targets, it is 0. None if the score is not defined for any.

    Args:
        original: the fit on the original data.
        data: that it was fitted to and tested on.
        objects: the objects that the specification names.
        cuts: (training rows, test rows) of each fold; None for a test split.
    """
    spec = original.runs[0].spec
    split = data.test if cuts is None else data.train
    parts = [np.arange(len(split))] if cuts is None else [rows for _, rows in cuts]
    scoring = spec.scoring_for(split.is_regression)
    if scoring is None or (scoring == "accuracy" and not split.is_regression):
        codes = split.true_labels.numpy()
        shares = [np.bincount(codes[rows], minlength=split.n_classes) / len(rows) for rows in parts]
        return max(map(fmean, zip(*shares, strict=True)))
    scorer, scores, y = scorer_of(scoring, objects), [], split.y
    examples = [(_seen_by_scorers(split, rows), y[rows]) for rows in parts]
    everywhere, by_fold = y[np.concatenate(parts)], scoring == "r2"
    for dummy in _constants(split):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # such as that precision is undefined for a class that is never predicted
            try:
                scores.append(fmean(_score_of(dummy, scorer, own if by_fold else everywhere, X, own) for X, own in examples))
            except Exception:  # whatever a scorer raises for an answer that it is not defined for
                continue
    return max((score for score in scores if isfinite(score)), default=None)


def _seen_by_scorers(split: Split, rows: np.ndarray) -> Any:
    """Return the inputs that a scorer may look at: the user's own, but zeros in the place of images."""
    return np.zeros((len(rows), 1)) if split.kind == "images" else split.subset(torch.as_tensor(rows)).X


def _score_of(dummy: Any, scorer: Callable[..., float], known: np.ndarray, X: Any, y: np.ndarray) -> float:
    """Return the score on examples of a constant that is fitted to known labels."""
    return float(scorer(dummy.fit(np.zeros((len(known), 1)), known), X, y))


def _constants(split: Split) -> Iterator[Any]:
    if split.is_regression:
        yield from (DummyRegressor(strategy="mean"), DummyRegressor(strategy="median"))
        return
    yield DummyClassifier(strategy="prior")
    for value in np.unique(split.y)[:_MOST_CONSTANTS]:
        yield DummyClassifier(strategy="constant", constant=value)
