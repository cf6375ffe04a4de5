"""Estimators of other libraries, alone and nested."""

import numpy as np
import pytest
import torch
from catboost import CatBoostClassifier
from sklearn.calibration import CalibratedClassifierCV
from sklearn.metrics import get_scorer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch import NeuralNetBinaryClassifier, NeuralNetClassifier
from torch import nn
from xgboost import XGBClassifier

from shattering import dataset_from_arrays
from shattering.learners.adapt import as_model
from shattering.learners.on_splits import fit_split, predict_proba_split, predict_split, score_split
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
