"""Rows of the table of limiting parameters, on both sides of each condition."""

import sys

import numpy as np
import pytest
from sklearn.ensemble import BaggingClassifier, GradientBoostingClassifier, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from shattering.diagnose.estimators import limits


def listed(estimator, n=100, d=8):
    return [f.cause for f in limits(estimator, {"n_train": n, "n_classes": 3, "image_shape": [d]})]


def test_rows_of_the_table():
    cover = "more examples than a linear model can shatter"
    assert cover in listed(LogisticRegression(), n=10)
    assert cover not in listed(LogisticRegression(), n=9), "d + 1"
    assert cover not in listed(make_pipeline(PolynomialFeatures(3), LogisticRegression())), "features of unknown number"
    assert listed(LogisticRegression(C=np.inf), n=9) == ["max_iter of LogisticRegression"]
    assert listed(KNeighborsClassifier(1)) == listed(KNeighborsClassifier(5, weights="distance")) == []
    assert listed(DecisionTreeClassifier()) == []
    assert listed(RandomForestClassifier(bootstrap=False)) == []
    assert "early_stopping of HistGradientBoostingClassifier" not in listed(HistGradientBoostingClassifier())
    assert "early_stopping of HistGradientBoostingClassifier" in listed(HistGradientBoostingClassifier(), n=10_001)
    assert "too few parameters" in listed(MLPClassifier((7,)))  # 9 * 7 + 8 * 3 = 87
    assert "too few parameters" not in listed(MLPClassifier((9,)))  # 111


def evidence(estimator, parameter, n=100):
    found = limits(estimator, {"n_train": n, "n_classes": 3, "image_shape": [8]})
    return [(f.evidence, f.likelihood) for f in found if f.cause.startswith(f"{parameter} of")]


@pytest.mark.filterwarnings("ignore:'penalty' was deprecated:FutureWarning")
def test_weights_without_a_penalty_are_not_said_to_be_penalized():
    assert "C of LogisticRegression" in listed(LogisticRegression())
    assert "C of LogisticRegression" not in listed(LogisticRegression(penalty=None))
    assert "alpha of SGDClassifier" in listed(SGDClassifier())
    assert "alpha of SGDClassifier" not in listed(SGDClassifier(penalty=None))
    assert "alpha of MLPClassifier" in listed(MLPClassifier())


@pytest.mark.parametrize("cls", [DecisionTreeClassifier, GradientBoostingClassifier])
def test_a_depth_of_any_size_is_written(cls):
    for depth, leaves in ((3, "8"), (20_000, "2^20,000"), (sys.maxsize, f"2^{sys.maxsize:,}")):
        ((said, likelihood),) = evidence(cls(max_depth=depth), "max_depth")
        assert f"a tree has at most {leaves} leaves" in said
        assert likelihood == ("likely" if depth == 3 and cls is DecisionTreeClassifier else "possible")


def test_the_samples_of_members():
    assert evidence(BaggingClassifier(max_samples=1.0), "max_samples") == evidence(BaggingClassifier(max_samples=100), "max_samples") == []
    ((said, _),) = evidence(BaggingClassifier(max_samples=1), "max_samples")
    assert "each member is fitted to 1 of the 100 examples" in said
    for max_samples, share in ((None, "63%"), (1.0, "63%"), (0.5, "39%"), (1, "1%")):
        ((said, _),) = evidence(RandomForestClassifier(max_samples=max_samples), "bootstrap")
        assert f"each example is in about {share} of the resamples" in said


def test_parameters_that_a_search_has_chosen_are_not_said_to_be_those_of_its_estimator():
    neighbors = KNeighborsClassifier(5)
    assert listed(GridSearchCV(neighbors, {"n_neighbors": [1, 3]})) == []
    assert listed(GridSearchCV(neighbors, {"p": [1, 2]})) == ["n_neighbors of KNeighborsClassifier"]
    scaled = make_pipeline(GridSearchCV(make_pipeline(StandardScaler(), neighbors), [{"kneighborsclassifier__n_neighbors": [1]}]))
    assert listed(scaled) == []
    assert "C of LogisticRegression" not in listed(RandomizedSearchCV(LogisticRegression(), {"C": [1, 10]}))
    assert listed(RandomizedSearchCV(LogisticRegression(), {"C": [1]}))[0] == "more examples than a linear model can shatter"


def test_unbounded_weights_of_a_machine_and_sizes_of_numpy():
    assert listed(SVC()) == ["C of SVC"]
    assert listed(SVC(C=np.inf)) == []
    assert "too few parameters" in listed(MLPClassifier(np.int64(7)))
