"""Learners: scikit-learn estimators whose constructor arguments are their specification."""

from sklearn.base import BaseEstimator
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Perceptron
from sklearn.neighbors import KNeighborsClassifier

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
