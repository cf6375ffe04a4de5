"""Rows of the table of limiting parameters, on both sides of each condition."""

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures
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
