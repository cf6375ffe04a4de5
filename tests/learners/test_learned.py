"""Learned numbers, counted by hand."""

import numpy as np
import pytest
import torch
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import BaggingClassifier, GradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from shattering import NetworkClassifier
from shattering.data.split import Split
from shattering.learners.learned import count_learned
from shattering.learners.wrapped import Wrapped

X = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0], [2.0, 0.0], [2.0, 1.0]])
Y = np.array([0, 1, 2, 0, 1, 2])


@pytest.mark.parametrize(
    ("model", "count"),
    [
        (LogisticRegression(), 3 * (2 + 1)),
        (make_pipeline(StandardScaler(), LogisticRegression()), 3 * (2 + 1)),
        (GridSearchCV(LogisticRegression(), {"C": [1.0]}, cv=2), 3 * (2 + 1)),
        (MLPClassifier((4,), solver="lbfgs", max_iter=500), (2 + 1) * 4 + (4 + 1) * 3),
        (DecisionTreeClassifier(), 5 * 2 + 6 * 2),
        (RandomForestClassifier(3, bootstrap=False), 3 * (5 * 2 + 6 * 2)),
        (BaggingClassifier(make_pipeline(StandardScaler(), KNeighborsClassifier(1)), 2, random_state=0), 2 * 6),
        (GradientBoostingClassifier(n_estimators=2, max_depth=1), 2 * 3 * (2 + 2)),
        (KNeighborsClassifier(1), 6),
        (DummyClassifier(), None),
    ],
    ids=lambda value: type(value).__name__,
)
def test_counts(model, count):
    assert count_learned(model.fit(X, Y)) == count


def test_support_vectors_have_a_weight_each():
    model = SVC().fit(X, Y)
    assert count_learned(model) == model.dual_coef_.size + model.intercept_.size


def test_models_of_ours():
    split = Split(torch.from_numpy(X), torch.from_numpy(Y), ("a", "b", "c"))
    assert count_learned(NetworkClassifier("mlp-1x4", epochs=1, device="cpu").fit(split)) == (2 + 1) * 4 + (4 + 1) * 3
    assert count_learned(Wrapped(DecisionTreeClassifier(), images=False).fit(split)) == 5 * 2 + 6 * 2


def test_a_users_class_of_the_same_name_is_not_counted():
    class RandomForestClassifier(DummyClassifier):
        estimators_ = ()

    assert count_learned(RandomForestClassifier().fit(X, Y)) is None
