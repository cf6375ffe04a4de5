"""Estimators of other libraries, alone and nested."""

import re

import numpy as np
import pandas as pd
import pytest
import torch
from catboost import CatBoostClassifier
from lightgbm import LGBMClassifier
from sklearn.base import BaseEstimator, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import get_scorer, log_loss, roc_auc_score
from sklearn.model_selection import FixedThresholdClassifier, GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.semi_supervised import LabelSpreading, SelfTrainingClassifier
from skorch import NeuralNetBinaryClassifier, NeuralNetClassifier, NeuralNetRegressor
from skorch.callbacks import Checkpoint, EarlyStopping, LoadInitState
from torch import nn
from xgboost import XGBClassifier

from shattering import InputError, dataset_from_arrays
from shattering.learners.adapt import as_model
from shattering.learners.on_splits import fit_split, predict_proba_split, predict_split, score_split
from shattering.learners.others import check_callbacks
from shattering.learners.own import record_of
from shattering.runs.objects import with_seed

X = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
LABELS = np.array(["no", "yes"])[(X[:, 0] > 0).astype(int)]
TRAINING = {"max_epochs": 20, "lr": 0.1, "train_split": None, "verbose": 0}
BOOSTED = XGBClassifier(n_estimators=5, max_depth=2, n_jobs=1)
NET = NeuralNetClassifier(nn.Linear, module__in_features=4, module__out_features=2, criterion=nn.CrossEntropyLoss, **TRAINING)
BINARY = NeuralNetBinaryClassifier(nn.Linear, module__in_features=4, module__out_features=1, **TRAINING)


@pytest.mark.parametrize(
    "model",
    [
        make_pipeline(StandardScaler(), BOOSTED),
        GridSearchCV(BOOSTED, {"max_depth": [1, 2]}, cv=2),
        CalibratedClassifierCV(BOOSTED, cv=2),
        make_pipeline(StandardScaler(), NET),
        make_pipeline(StandardScaler(), BINARY),
    ],
    ids=lambda model: type(model).__name__,
)
def test_nested_estimators_that_count_their_classes_get_codes_for_text_labels(model):
    split = dataset_from_arrays(X, LABELS, X, LABELS).train
    torch.manual_seed(0)
    fitted = fit_split(as_model(model)[1], split)
    codes = predict_split(fitted, split)
    right = float((codes == split.labels.numpy()).mean())
    assert right > 0.8
    assert score_split(get_scorer("accuracy"), fitted, split, split.labels) == right
    assert score_split(get_scorer("roc_auc"), fitted, split, split.labels) > 0.8
    assert (predict_proba_split(fitted, split).argmax(1) == codes).mean() > 0.9  # type: ignore[union-attr]  # they have probabilities


def test_catboost_which_lists_only_what_was_set_gets_the_seed():
    assert with_seed(CatBoostClassifier(), 7).get_params() == {"random_state": 7}
    assert with_seed(CatBoostClassifier(random_seed=3), 7).get_params() == {"random_seed": 3}
    assert with_seed(make_pipeline(CatBoostClassifier()), 7).get_params()["catboostclassifier"].get_params() == {"random_state": 7}


def test_the_weights_of_an_instance_in_a_skorch_net_are_told():
    net = NeuralNetClassifier(nn.Linear(4, 2))
    for model in (as_model(net)[1], make_pipeline(StandardScaler(), net)):
        (note,) = record_of(model).notes
        assert note.startswith(
            "Every fit, of the data and of each randomized copy, started from the weights that the instance of Linear had"
        )
    assert record_of(as_model(NET)[1]).notes == ()


REGRESSOR = NeuralNetRegressor(nn.Linear, module__in_features=4, module__out_features=1, max_epochs=20, train_split=None, verbose=0)


@pytest.mark.parametrize(
    "model",
    [make_pipeline(StandardScaler(), NET), GridSearchCV(NET, {"lr": [0.1]}, cv=2), make_pipeline(StandardScaler(), BINARY)],
    ids=lambda model: type(model).__name__,
)
def test_nested_nets_of_skorch_get_floats_as_float32_as_those_alone_do(model):
    split = dataset_from_arrays(X.astype(np.float64), LABELS, X, LABELS).train
    single = dataset_from_arrays(X, LABELS, X, LABELS).train
    predicted = []
    for part in (split, single):
        torch.manual_seed(0)
        fitted = fit_split(as_model(model)[1], part)
        predicted.append(predict_split(fitted, part))
        assert score_split(get_scorer("accuracy"), fitted, part, part.labels) == (predicted[-1] == part.labels.numpy()).mean()
    assert np.array_equal(*predicted)


def test_nested_regressors_of_skorch_get_a_column_of_float32():
    y = X.astype(np.float64) @ [1.0, 2.0, 0.0, 0.0]
    split = dataset_from_arrays(X.astype(np.float64), y, X, y).train
    fitted = fit_split(as_model(make_pipeline(StandardScaler(), REGRESSOR))[1], split)
    by_hand = fitted.predict(X)
    assert by_hand.shape == (60, 1)
    assert np.allclose(predict_split(fitted, split), by_hand[:, 0])


@pytest.mark.filterwarnings("ignore:The given NumPy array is not writable")
def test_inputs_that_a_net_of_skorch_does_not_take_name_a_remedy():
    frame = pd.DataFrame(X, columns=list("abcd"))
    whole = (10 * X).astype(int)
    scaled = make_pipeline(StandardScaler(), NET)
    cases = [
        (NET, frame, "skorch hands the columns of a DataFrame to forward by their names, expected an array"),
        (GridSearchCV(NET, {"lr": [0.1]}, cv=2), whole, "expected float32 before the net"),
        (scaled, whole, "Pipeline: mat1 and mat2 must have the same dtype, but got Double and Float; expected float32 before the net"),
        (scaled, X.astype(np.float64) + 1e9, "loses in float32 what is different in it"),
    ]
    for model, inputs, message in cases:
        with pytest.raises(InputError, match=re.escape(message)):
            fit_split(as_model(model)[1], dataset_from_arrays(inputs, LABELS, inputs, LABELS).train)
    fitted = fit_split(
        make_pipeline(StandardScaler(), FunctionTransformer(np.float32), NET), dataset_from_arrays(whole, LABELS, whole, LABELS).train
    )
    assert fitted.predict(whole).shape == (60,)


def test_a_fold_that_lacks_a_class_is_fitted_by_xgboost_as_by_any_classifier():
    codes = np.arange(60) % 3
    split = dataset_from_arrays(X, np.array(["a", "b", "c"])[codes], X, np.array(["a", "b", "c"])[codes]).train
    some = split.subset(torch.from_numpy(np.flatnonzero(codes != 1)))
    fitted, by_hand = fit_split(as_model(BOOSTED)[1], some), clone(BOOSTED).fit(X[codes != 1], codes[codes != 1] // 2)
    assert fitted.classes_.tolist() == ["a", "c"]
    assert predict_split(fitted, split).tolist() == (2 * by_hand.predict(X)).tolist()
    proba = predict_proba_split(fitted, split)
    assert proba is not None
    np.testing.assert_allclose(proba, np.insert(by_hand.predict_proba(X), 1, 0, axis=1))
    with pytest.raises(
        InputError, match=r"Pipeline: Invalid classes inferred .*; its training examples lack a class, expected some of each"
    ):
        fit_split(make_pipeline(StandardScaler(), BOOSTED), some)


class Flat(nn.Linear):
    def forward(self, x):
        return super().forward(x)[:, 0]


def test_the_outputs_of_a_regressor_of_skorchs_are_never_compared_with_all_targets():
    y = X.astype(np.float64) @ [1.0, 2.0, 0.0, 0.0]
    split = dataset_from_arrays(X, y, X, y).train
    flat = clone(REGRESSOR).set_params(module=Flat)
    for model in (flat, make_pipeline(StandardScaler(), flat), TransformedTargetRegressor(flat, transformer=StandardScaler())):
        with pytest.raises(
            InputError, match=r"Using a target size \(torch.Size\(\[60, 1\]\)\) .* expected a forward that returns a column"
        ):
            fit_split(as_model(model)[1], split)


def test_what_a_library_cannot_do_without_validation_data_names_a_remedy():
    split = dataset_from_arrays(X, LABELS, X, LABELS).train
    cases = [
        (clone(BOOSTED).set_params(early_stopping_rounds=3), "expected it without early_stopping_rounds, or an estimator of your own"),
        (LGBMClassifier(early_stopping_round=3, verbose=-1), "expected it without early_stopping_round, or an estimator of your own"),
        (clone(NET).set_params(callbacks=[EarlyStopping()]), "expected a callback of the training loss where train_split is None"),
    ]
    for model, message in cases:
        for nested in (model, make_pipeline(StandardScaler(), model)):
            with pytest.raises(InputError, match=message):
                fit_split(as_model(nested)[1], split)


@pytest.mark.parametrize("model", [BOOSTED, NET, BINARY], ids=lambda model: type(model).__name__)
@pytest.mark.parametrize("scoring", ["roc_auc", "neg_log_loss"])
def test_scorers_of_probabilities_take_models_that_get_codes(model, scoring):
    split = dataset_from_arrays(X, LABELS, X, LABELS).train
    fitted = fit_split(as_model(model)[1], split)
    p = fitted.predict_proba(split)[:, 1]
    expected = roc_auc_score(LABELS, p) if scoring == "roc_auc" else -log_loss(LABELS, p)
    assert score_split(get_scorer(scoring), fitted, split, split.labels) == pytest.approx(expected)


def test_parameters_by_labels_are_refused_where_the_model_gets_numbers_in_their_place():
    weighted = VotingClassifier([("one", BOOSTED), ("other", LogisticRegression(class_weight={1: 50}))], voting="soft")
    ones = dataset_from_arrays(X, 1 + (X[:, 0] > 0), X, 1 + (X[:, 0] > 0)).train
    with pytest.raises(InputError, match=r"class_weight of LogisticRegression is \{1: 50\}, by your labels, and XGBClassifier beside it"):
        fit_split(weighted, ones)
    fit_split(weighted, dataset_from_arrays(X, (X[:, 0] > 0).astype(int), X, (X[:, 0] > 0).astype(int)).train)
    texts = dataset_from_arrays(X, LABELS, X, LABELS).train
    fit_split(weighted, texts)  # whose class 1 is meant
    with pytest.raises(InputError, match="pos_label of FixedThresholdClassifier is 'yes', by your labels"):
        fit_split(FixedThresholdClassifier(BOOSTED, pos_label="yes"), texts)


def test_callbacks_by_which_fits_would_share_weights_are_refused(tmp_path):
    saved = Checkpoint(dirname=tmp_path, load_best=True)
    for callbacks in ([saved, LoadInitState(saved)], [("first", LoadInitState(saved))]):
        net = clone(NET).set_params(callbacks=callbacks)
        for model in (net, make_pipeline(net)):
            with pytest.raises(InputError, match="NeuralNetClassifier has the callback LoadInitState"):
                as_model(model)
    model = as_model(clone(NET).set_params(callbacks=[saved]))[1]
    check_callbacks(model, 1)
    with pytest.raises(InputError, match="jobs is 2 beside the callback Checkpoint of NeuralNetClassifier"):
        check_callbacks(model, 2)


def test_labels_of_minus_one_are_refused_for_models_that_take_them_for_missing():
    labels = np.where(X[:, 0] > 0, 1, -1)
    split = dataset_from_arrays(X, labels, X, labels).train
    for model in (LabelSpreading(), make_pipeline(StandardScaler(), SelfTrainingClassifier(GaussianNB()))):
        with pytest.raises(InputError, match="takes labels of -1 for missing ones, expected other labels"):
            fit_split(model, split)
    fit_split(GaussianNB(), split)


def test_what_cannot_be_cloned_is_refused_before_anything_is_fitted():
    for model in (CatBoostClassifier(cat_features=["a"]), make_pipeline(CatBoostClassifier(cat_features=["a"]))):
        with pytest.raises(InputError, match=r"cannot be cloned: .* cat_features; expected tuples in place of lists and dicts"):
            as_model(model)
    assert as_model(CatBoostClassifier(cat_features=("a",)))[0] == "CatBoostClassifier"
    with pytest.raises(InputError, match=r"cannot be cloned: .* parameter name; expected a constructor that keeps its arguments"):
        as_model(Renamed("A"))


class Renamed(BaseEstimator):
    def __init__(self, name="a"):
        self.name = name.lower()

    def fit(self, X, y):
        return self
