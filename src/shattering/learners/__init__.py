"""Learners: scikit-learn estimators whose constructor arguments are their specification."""

from collections.abc import Mapping

from sklearn.base import BaseEstimator
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Perceptron
from sklearn.neighbors import KNeighborsClassifier

from shattering.errors import unknown
from shattering.learners.kernel import KernelInterpolatorClassifier
from shattering.learners.network import NetworkClassifier
from shattering.learners.random_conv import RandomConvClassifier
from shattering.learners.relu import DeepReluInterpolatorClassifier, ReluInterpolatorClassifier

LEARNERS: dict[str, type[BaseEstimator]] = {
    "network": NetworkClassifier,
    "kernel": KernelInterpolatorClassifier,
    "random-conv": RandomConvClassifier,
    "relu": ReluInterpolatorClassifier,
    "deep-relu": DeepReluInterpolatorClassifier,
    "random-forest": RandomForestClassifier,
    "logistic-regression": LogisticRegression,
    "nearest-neighbors": KNeighborsClassifier,
    "perceptron": Perceptron,
}


def build_learner(name: str, params: Mapping[str, object], seed: int) -> BaseEstimator:
    """The unfitted learner, with the seed as its random_state if it has one.

    Raises InputError for unknown names and, where the learner can tell without fitting, for values out of range.
    """
    if name not in LEARNERS:
        raise unknown("learner", name, LEARNERS)
    defaults = LEARNERS[name]().get_params()
    for parameter in params:
        if parameter not in defaults:
            raise unknown(f"parameter of learner {name!r}:", parameter, defaults)
    chosen = {**params, "random_state": seed} if "random_state" in defaults else params
    learner = LEARNERS[name](**chosen)
    if hasattr(learner, "check_params"):
        learner.check_params()  # type: ignore[attr-defined]
    return learner
