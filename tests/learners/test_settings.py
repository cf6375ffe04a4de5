import re
from typing import Optional

import pytest
from sklearn.base import BaseEstimator
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from skorch import NeuralNetClassifier
from torch import nn

from shattering.errors import InputError
from shattering.learners import MODELS, NetworkClassifier, build_model
from shattering.learners.settings import Typed, settled


class Mine(BaseEstimator):
    def __init__(self, depth: int = 3, name: Optional[str] = None, early: bool = False, grid: "NoSuchType" = 1, loud=False, size=2):  # noqa: F821, UP045
        self.depth, self.name, self.early, self.grid, self.loud, self.size = depth, name, early, grid, loud, size


class Annotated(Mine):
    def __init__(self, depth: int = 3, name: Optional[str] = None, early: bool = False):  # noqa: UP045
        super().__init__(depth, name, early)


class ByDefaults(BaseEstimator):
    def __init__(self, tag="x", mode="none", columns=("a",)):
        self.tag, self.mode, self.columns = tag, mode, columns

    def fit(self, X, y):
        return self


def test_a_tuple_by_default_is_given_as_json():
    with pytest.raises(InputError, match=r"columns is 'a,b', and by default a tuple, expected JSON"):
        settle(ByDefaults(), "columns", "a,b")


def settle(estimator, name, text):
    return settled(estimator, {name: Typed(text)}, "it")[name]


@pytest.mark.parametrize(
    ("estimator", "name", "text", "value"),
    [
        (RandomForestClassifier(), "n_estimators", "1e3", 1000),
        (RandomForestClassifier(), "max_features", "1", 1),
        (RandomForestClassifier(), "max_features", "1.0", 1.0),
        (RandomForestClassifier(), "max_features", "none", None),
        (RandomForestClassifier(), "max_features", "sqrt", "sqrt"),
        (RandomForestClassifier(), "bootstrap", "False", False),
        (RandomForestClassifier(), "class_weight", '{"0": 1, "1": 2}', {"0": 1, "1": 2}),
        (LogisticRegression(), "C", "1", 1),
        (SVC(), "gamma", "scale", "scale"),
        (SVC(), "gamma", "0.5", 0.5),
        (make_pipeline(StandardScaler(), SVC()), "svc__gamma", "auto", "auto"),
        (make_pipeline(StandardScaler(), SVC()), "standardscaler__with_mean", "false", False),
        (NetworkClassifier(), "network", "1", "1"),
        (NetworkClassifier(), "augment", '["crop","flip"]', ["crop", "flip"]),
        (NetworkClassifier(), "augment", '{"crop": 4}', {"crop": 4}),
        (NetworkClassifier(), "augment", "none", None),
        (NetworkClassifier(), "learning_rate", "1", 1),
        (NetworkClassifier(), "decay_steps", "auto", "auto"),
        (NetworkClassifier(), "batch-size", "3", 3),
        (NetworkClassifier(), "device", "cuda:1", "cuda:1"),
        (Annotated(), "depth", "3", 3),
        (Annotated(), "name", "true", "true"),
        (Annotated(), "name", "none", None),
        (Mine(), "size", "x", "x"),
        (Mine(), "size", "[1, 2]", [1, 2]),
        (Mine(), "loud", "true", True),
        (ByDefaults(), "tag", "007", "007"),
        (ByDefaults(), "tag", "7", 7),
        (ByDefaults(), "mode", "none", "none"),
        (ByDefaults(), "tag", "none", None),
        (ByDefaults(), "columns", '["a", "b"]', ("a", "b")),
        (make_pipeline(ByDefaults()), "bydefaults__mode", "none", "none"),
    ],
)
def test_a_text_is_read_by_the_type_of_its_parameter(estimator, name, text, value):
    found = settled(estimator, {name: Typed(text)}, "it")[name.replace("-", "_")]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("estimator", "name", "text", "message"),
    [
        (RandomForestClassifier(), "criterion", "true", "criterion is 'true', expected a str among {"),
        (RandomForestClassifier(), "n_estimators", "1.5", "n_estimators is '1.5', expected an int in the range [1, inf)"),
        (RandomForestClassifier(), "n_estimators", "true", "n_estimators is 'true', expected an int"),
        (RandomForestClassifier(), "n_estimators", "0", "n_estimators is '0', expected an int"),
        (RandomForestClassifier(), "bootstrap", "no", "bootstrap is 'no', expected true or false"),
        (RandomForestClassifier(), "max_depth", "deep", "max_depth is 'deep', expected an int in the range [1, inf) or none"),
        (make_pipeline(StandardScaler(), SVC()), "svc__C", "-1", "svc__C is '-1', expected a float in the range (0.0, inf]"),
        (NetworkClassifier(), "epoch", "3", "unknown parameter of it: 'epoch'; did you mean 'epochs'?"),
        (NetworkClassifier(), "epochs", "many", "epochs is 'many', expected a whole number of at least 1"),
        (NetworkClassifier(), "stop_when_fitted", "no", "stop_when_fitted is 'no', expected true or false"),
        (NetworkClassifier(), "precision", "float16", "unknown precision 'float16'; did you mean"),
        (Annotated(), "depth", "x", "depth is 'x', expected a whole number"),
        (Annotated(), "early", "1", "early is '1', expected true or false"),
        (Mine(), "loud", "maybe", "loud is 'maybe', expected true or false"),
    ],
)
def test_a_text_that_stands_for_no_such_value(estimator, name, text, message):
    with pytest.raises(InputError, match=re.escape(message)):
        settle(estimator, name, text)


def test_values_that_are_none_of_the_parameters():
    with pytest.raises(InputError, match=r"n_estimators is -5, expected an int in the range \[1, inf\)"):
        build_model("random-forest", {"n_estimators": -5}, 0)
    with pytest.raises(InputError, match="random_state is 3, expected none: the seed of the run gives it"):
        build_model("network", {"random_state": 3}, 0)
    assert settled(SVC(), {"kernel": len}, "it") == {"kernel": len}


def test_parameters_that_a_net_of_skorch_hands_on_are_known_though_it_lists_none_of_them():
    net = NeuralNetClassifier(nn.Linear)
    given = {"module__out_features": 3, "optimizer__momentum": 0.9}
    assert settled(net, given, "it") == given
    assert settled(net, {"module__out_features": Typed("3")}, "it") == {"module__out_features": 3}
    nested = {f"neuralnetclassifier__{name}": value for name, value in given.items()}
    assert settled(make_pipeline(StandardScaler(), net), nested, "it") == nested
    for name in ("modul__out_features", "module_out_features", "standardscaler__module__x"):
        with pytest.raises(InputError, match="unknown parameter of it"):
            settled(make_pipeline(StandardScaler(), net), {name: 3}, "it")


@pytest.mark.parametrize("name", MODELS)
def test_every_default_is_of_its_type(name):
    model = MODELS[name]
    settled(model, model.get_params(), name)
