"""Scores that permutations of the labels change only by how many predictions of each class are right.

Permutations keep how often each class is a label and how often it is predicted. Of the contingency table only the diagonal then matters
to precision, recall, F1, balanced accuracy and Matthews' correlation, and each is a constant plus a weighted sum of it. Thousands of
permutations so cost what one call of scikit-learn's function costs.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

_BY_CLASS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {  # what the right predictions of a class are divided by
    "precision": lambda labels, predictions: predictions,
    "recall": lambda labels, predictions: labels,
    "f1": lambda labels, predictions: (labels + predictions) / 2,
}
CLASS_SCORES = ("balanced_accuracy", "matthews_corrcoef", *(f"{name}{mean}" for name in _BY_CLASS for mean in ("", "_macro", "_weighted")))


@dataclass(frozen=True)
class ClassScore:
    """A score: a constant, plus the sum of the weights of the classes of the right predictions.

    Args:
        constant: for no right prediction.
        classes: (k,) values of labels and predictions, sorted.
        weights: (k,) what a right prediction of each class adds.

    Example:
        >>> ClassScore(0.0, np.array(["a", "b"]), np.array([0.25, 0.5])).score(np.array(["a", "b", "b"]), np.array(["a", "a", "b"]))
        0.75
    """

    constant: float
    classes: np.ndarray
    weights: np.ndarray

    def codes(self, values: np.ndarray) -> np.ndarray:
        """Return the numbers of values in `classes`."""
        return np.searchsorted(self.classes, values)

    def weigh(self, predicted: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return what each prediction adds, given its label: arrays of `codes` that broadcast to each other."""
        return np.where(predicted == y, self.weights[y], 0.0)

    def score(self, predicted: np.ndarray, y: np.ndarray) -> float:
        """Return the score of predictions (n,) for labels (n,)."""
        return self.constant + float(self.weigh(self.codes(predicted), self.codes(y)).sum())


def class_score(scoring: str, y: np.ndarray, predicted: np.ndarray) -> ClassScore:
    """Return one of scikit-learn's scores as it is for every permutation of these labels.

    Args:
        scoring: a name in `CLASS_SCORES`, as `sklearn.metrics.get_scorer` knows it.
        y: (n,) labels.
        predicted: (n,) predictions, in the same values.

    Returns:
        The score. Without a mean in its name, precision, recall and F1 are those of the class 1.

    Example:
        >>> y, predicted = np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1])
        >>> class_score("balanced_accuracy", y, predicted).score(predicted, y)
        0.8333333333333333
    """
    classes, codes = np.unique(np.concatenate([y, predicted]), return_inverse=True)
    labels, predictions = (np.bincount(part, minlength=len(classes)).astype(float) for part in np.split(codes, [len(y)]))
    n, constant = len(y), 0.0
    if scoring == "matthews_corrcoef":
        scale = np.sqrt((n**2 - (labels**2).sum()) * (n**2 - (predictions**2).sum()))
        chance = float(labels @ predictions)
        constant, weights = (-chance / scale, np.full(len(classes), n / scale)) if scale else (0.0, np.zeros(len(classes)))
        return ClassScore(float(constant), classes, weights)
    name, _, mean = scoring.partition("_")
    if scoring == "balanced_accuracy":
        shares, divisors = (labels > 0) / (labels > 0).sum(), labels
    else:
        divisors = _BY_CLASS[name](labels, predictions)
        shares = {"macro": np.full(len(classes), 1 / len(classes)), "weighted": labels / n}.get(mean, classes == 1)
    return ClassScore(constant, classes, np.divide(shares, divisors, out=np.zeros(len(classes)), where=divisors > 0))
