import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.cluster import KMeans
from sklearn.cross_decomposition import PLSRegression
from sklearn.ensemble import IsolationForest, StackingClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, SVR

from shattering.data.split import Split
from shattering.errors import InputError
from shattering.experiments.rademacher_complexity import empirical_rademacher
from shattering.experiments.stability import replace_one
from shattering.learners.on_splits import fit_split, predict_split
from shattering.learners.predictions import check_kind, checked_codes

NUMBERS, TEXTS, TRUTHS = np.array([1, 2, 10]), np.array(["a", "b", "c"]), np.array([False, True])


@pytest.mark.parametrize(
    ("predicted", "labels", "codes"),
    [
        (np.array([[2], [1], [10]]), NUMBERS, [1, 0, 2]),
        (np.array([2.0, 1.0, 10.0]), NUMBERS, [1, 0, 2]),
        (np.array([2, 1, 10], dtype=np.float16), NUMBERS, [1, 0, 2]),
        (np.array([2, 1, 10], dtype=object), NUMBERS, [1, 0, 2]),
        ([2, 1, 10], NUMBERS, [1, 0, 2]),
        (torch.tensor([2, 1, 10]), NUMBERS, [1, 0, 2]),
        (pd.Series([2, 1, 10], index=[5, 6, 7]), NUMBERS, [1, 0, 2]),
        (np.array([["b"], ["a"], ["c"]], dtype=object), TEXTS, [1, 0, 2]),
        (pd.Categorical(["b", "a", "c"]), TEXTS, [1, 0, 2]),
        (np.array([True, False, True]), TRUTHS, [1, 0, 1]),
        (np.array([1, 0, 1]), TRUTHS, [1, 0, 1]),
        (np.array([True, False, True]), np.array([0, 1]), [1, 0, 1]),
        (np.array([2**60 + 1, 2**60, 2**60]), np.array([2**60, 2**60 + 1]), [1, 0, 0]),
    ],
    ids=str,
)
def test_equal_values_are_the_same_label_whatever_their_type_and_shape(predicted, labels, codes):
    assert checked_codes(predicted, labels, 3, "it").tolist() == codes


@pytest.mark.parametrize(
    ("predicted", "labels", "message"),
    [
        (None, NUMBERS, r"predicted a NoneType for 3 examples, expected a label each, of shape \(3,\)"),
        (2, NUMBERS, "predicted an int for 3"),
        (np.ones((3, 3)), NUMBERS, r"predicted an array of shape \(3, 3\) for 3"),
        (np.ones((1, 3)), NUMBERS, r"predicted an array of shape \(1, 3\) for 3"),
        ([1, 2], NUMBERS, r"predicted an array of shape \(2,\) for 3"),
        ([[1], [1, 2], [2]], NUMBERS, "of several lengths"),
        ([1, None, 2], NUMBERS, r"predicted no label \(None\) for 1 of 3 examples, expected labels: 1, 2, 10"),
        ([1, float("nan"), 2], NUMBERS, r"predicted no label \(nan\) for 1 of 3"),
        (pd.array([1, None, 2], dtype="Int64"), NUMBERS, r"predicted no label \((nan|<NA>)\) for 1 of 3"),
        (np.ma.array([1, 2, 2], mask=[0, 1, 1]), NUMBERS, r"predicted no label \(None\) for 2 of 3"),
        ([1, 99, -1], NUMBERS, "predicted 99 for 2 of 3"),
        ([0.2, 0.5, 0.9], np.array([0, 1]), r"predicted 0\.2 for 3 of 3 examples, expected labels: 0, 1$"),
        (["1", "2", "2"], NUMBERS, "predicted '1' for 3 of 3"),
        ([b"a", b"b", b"c"], TEXTS, "predicted b'a' for 3 of 3"),
        (["a", "d", "b"], TEXTS, "predicted 'd' for 1 of 3 examples, expected labels: 'a', 'b', 'c'"),
        ([0, 1, 2], TEXTS, "predicted 0 for 3 of 3"),
        ([1.0, float(2**60), 2.0], np.array([1, 2, 2**60 + 1]), "predicted 1.15.* for 1 of 3"),
        (np.array(["1970-01-01"] * 3, dtype="datetime64[ns]"), np.array([0, 1]), "for 3 of 3"),
    ],
    ids=str,
)
def test_what_is_no_label_is_one_sentence(predicted, labels, message):
    with pytest.raises(InputError, match=message) as caught:
        checked_codes(predicted, labels, 3, "Model")
    assert str(caught.value).startswith("Model predicted")
    assert "\n" not in str(caught.value)


class Untagged:
    """A classifier of no library: what it looks like is all that there is."""

    def fit(self, X, y):
        self.seen = X, y

    def predict(self, X):
        return np.full((len(X), 1), self.seen[1][0], dtype=object)

    def get_params(self, deep=True):
        return {}

    def set_params(self):
        return self


class WrongOrder(BaseEstimator, RegressorMixin):
    """A regressor whose tags say nothing, as `BaseEstimator` hides those of the mixin."""

    def fit(self, X, y):
        raise AssertionError("it was fitted")


@pytest.mark.parametrize(
    ("model", "kind"),
    [
        (LinearRegression(), "a regressor"),
        (SVR(), "a regressor"),
        (WrongOrder(), "a regressor"),
        (PLSRegression(), "a regressor"),
        (KMeans(), "a clusterer"),
        (IsolationForest(), "an outlier detector"),
        (GaussianMixture(), "a density estimator"),
        (StandardScaler(), "a transformer"),
        (make_pipeline(StandardScaler(), SVR()), "a regressor"),
        (make_pipeline(StandardScaler()), "a transformer"),
        (GridSearchCV(make_pipeline(StandardScaler(), KMeans()), {}), "a clusterer"),
    ],
    ids=lambda v: v if isinstance(v, str) else type(v).__name__,
)
def test_what_is_no_classifier_is_refused_before_it_is_fitted(model, kind):
    split = Split(torch.rand(8, 2), torch.arange(8) % 2, ("a", "b"))
    with pytest.raises(InputError, match=f"model {type(model).__name__} is {kind}.*, expected a classifier"):
        fit_split(model, split)
    assert not hasattr(model, "n_features_in_")


@pytest.mark.parametrize(
    "model",
    [
        Untagged(),
        StackingClassifier([("svm", SVC())], LogisticRegression(), cv=2),
        GridSearchCV(SVC(), {"C": [1]}, cv=2),
        make_pipeline(StandardScaler(), SVC()),
    ],
    ids=lambda v: type(v).__name__,
)
def test_classifiers_are_not_some_only_once_they_are_fitted(model):
    check_kind(model)
    split = Split(torch.rand(12, 2), torch.arange(12) % 2, ("a", "b"), label_values=np.array(["no", "yes"]))
    codes = predict_split(fit_split(model, split), split)
    assert codes.shape == (12,)
    assert set(codes) <= {0, 1}


def test_an_estimator_that_never_predicts_is_one_sentence():
    split = Split(torch.rand(12, 2), torch.arange(12) % 2, ("a", "b"))
    search = fit_split(GridSearchCV(SVC(), {"C": [1]}, cv=2, refit=False), split)
    with pytest.raises(InputError, match="model GridSearchCV has no predict after it was fitted"):
        predict_split(search, split)


class Scores(ClassifierMixin, BaseEstimator):
    """Says how likely the second class is instead of saying which."""

    def fit(self, X, y):
        return self

    def predict(self, X):
        return np.linspace(0.1, 0.9, len(X))


def test_capacity_checks_predictions_too():
    split = Split(torch.rand(12, 2), torch.arange(12) % 2, ("a", "b"))
    with pytest.raises(InputError, match="Scores predicted 0"):
        empirical_rademacher(Scores(), split, 1)
    with pytest.raises(InputError, match="Scores predicted 0"):
        replace_one(Scores(), split, split, split, 1)
    with pytest.raises(InputError, match="is a regressor"):
        empirical_rademacher(LinearRegression(), split, 1)
