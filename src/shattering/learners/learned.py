"""Count the numbers of a fitted model that its training labels have set, for any kind of model, as networks count their parameters."""

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline

from shattering.learners.own import OwnModel
from shattering.learners.wrapped import Wrapped

# Classes of scikit-learn → the numbers that their fit sets from the labels and that predict reads.
_ARRAYS: dict[tuple[str, ...], tuple[str, ...]] = {
    ("LogisticRegression", "SGDClassifier", "Perceptron", "RidgeClassifier", "LinearSVC"): ("coef_", "intercept_"),
    ("PassiveAggressiveClassifier", "RidgeClassifierCV", "LogisticRegressionCV"): ("coef_", "intercept_"),
    ("MLPClassifier",): ("coefs_", "intercepts_"),
    ("LinearDiscriminantAnalysis",): ("coef_", "intercept_"),
    ("GaussianNB",): ("theta_", "var_", "class_prior_"),
    ("MultinomialNB", "BernoulliNB", "ComplementNB"): ("feature_log_prob_", "class_log_prior_"),
    ("NearestCentroid",): ("centroids_",),
    ("SVC", "NuSVC"): ("dual_coef_", "intercept_"),
}
_TREES = ("DecisionTreeClassifier", "ExtraTreeClassifier", "DecisionTreeRegressor", "ExtraTreeRegressor")
_ENSEMBLES = ("RandomForestClassifier", "ExtraTreesClassifier", "BaggingClassifier", "VotingClassifier", "GradientBoostingClassifier")


def count_learned(model: Any) -> int | None:
    """Count the numbers of a fitted model that its training labels have set.

    Of a network these are its trainable parameters; of a linear model and of scikit-learn's MLPs the weights and intercepts. A
    tree has two for each inner node, the feature and the threshold, and k - 1 for each leaf: the shares of k classes, which add
    up to 1; a regression tree has one value for each leaf. Of an ensemble (a forest, bagging, voting, gradient boosting) all members
    count, of k nearest neighbors one label per stored example (the inputs do not come from the labels), of a pipeline the last step,
    and of a search its best estimator.

    The count says nothing of how many bits a number has. The size of a pickled model in bytes would; but it depends on what a
    library stores beside what its predictions need, and in which version.

    Args:
        model: fitted.

    Returns:
        The count; None for a model that is not one of these.

    Example:
        >>> from sklearn.linear_model import LogisticRegression
        >>> count_learned(LogisticRegression().fit([[0.0, 1.0], [1.0, 0.0]], [0, 1]))
        3
    """
    if isinstance(model, Wrapped):
        return count_learned(model.estimator_)
    if isinstance(model, OwnModel):
        return model.record().n_parameters
    if isinstance(model, Pipeline):
        return count_learned(model.steps[-1][1])
    search = getattr(model, "best_estimator_", None)
    if search is not None and _is_sklearn(type(model)):
        return count_learned(search)
    count = next((_COUNTS[cls.__name__] for cls in type(model).__mro__ if _is_sklearn(cls) and cls.__name__ in _COUNTS), None)
    return None if count is None else count(model)


def _is_sklearn(cls: type) -> bool:
    return cls.__module__.partition(".")[0] == "sklearn"


def _sizes(names: tuple[str, ...]) -> Callable[[Any], int]:
    return lambda model: sum(_size(getattr(model, name)) for name in names)


def _size(values: Any) -> int:
    if isinstance(values, list):
        return sum(map(_size, values))
    return int(np.prod(np.shape(values)))  # of a sparse matrix too


def _tree(model: Any) -> int:
    tree = model.tree_
    free = max(1, tree.value.shape[2] - 1) * tree.value.shape[1]  # of a regression tree one value per leaf
    return int(2 * (tree.node_count - tree.n_leaves) + free * tree.n_leaves)


def _ensemble(model: Any) -> int | None:
    members = model.estimators_.ravel() if isinstance(model.estimators_, np.ndarray) else model.estimators_
    counts = [count_learned(member) for member in members]
    return None if None in counts else sum(counts)  # type: ignore[arg-type]  # without None they are numbers


_COUNTS: dict[str, Callable[[Any], int | None]] = {
    **{name: _sizes(arrays) for names, arrays in _ARRAYS.items() for name in names},
    **dict.fromkeys(_TREES, _tree),
    **dict.fromkeys(_ENSEMBLES, _ensemble),
    "KNeighborsClassifier": lambda model: int(model.n_samples_fit_),
}
