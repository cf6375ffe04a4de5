"""Models of other libraries: the original fit of a test is the fit that they make by hand."""

import logging

import numpy as np
import pandas as pd
import pytest
import torch
from catboost import CatBoostClassifier, CatBoostRegressor
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris, load_wine
from sklearn.ensemble import StackingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, r2_score
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier
from skorch import NeuralNetBinaryClassifier, NeuralNetClassifier, NeuralNetRegressor
from torch import nn
from xgboost import XGBClassifier, XGBRegressor

from shattering import InputError, randomization_test, seeds
from shattering.learners.adapt import as_model
from shattering.learners.on_splits import fit_split
from shattering.runs import objects

pytestmark = [  # what Lightning does with torch, and its advice on reading data
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning"),
]
DATA = {
    "iris, text": (load_iris, ["setosa", "versicolor", "virginica"]),
    "wine, 1 to 3": (load_wine, [1, 2, 3]),
    "breast cancer, -1 and 1": (load_breast_cancer, [-1, 1]),
}


class Net(nn.Sequential):
    def __init__(self, d=4, k=3):
        super().__init__(nn.BatchNorm1d(d), nn.Linear(d, 16), nn.ReLU(), nn.Linear(16, k))


def fit_lightning(X, codes, k):
    import pytorch_lightning  # takes seconds, which the processes that only collect the tests need not spend

    class LightningNet(pytorch_lightning.LightningModule):
        def __init__(self, d, k):
            super().__init__()
            self.net = Net(d, k)

        def training_step(self, batch, _):
            return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters(), 0.02)

    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    net = LightningNet(X.shape[1], k)
    batches = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(X, codes), 16, shuffle=True)
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    pytorch_lightning.Trainer(max_epochs=2, accelerator="cpu", **quiet).fit(net, batches)
    return net.eval()


def train(split, seed):
    net = fit_lightning(split.inputs.float(), split.labels, split.n_classes)
    return lambda other: net.net(other.inputs.float())


TRAINING = {"max_epochs": 6, "lr": 0.1, "batch_size": 16, "train_split": None, "iterator_train__shuffle": True, "verbose": 0}
TREE = DecisionTreeClassifier(max_depth=3, random_state=0)
ESTIMATORS = {
    "LightGBM": LGBMClassifier(n_estimators=5, min_child_samples=5, n_jobs=1, random_state=0, verbose=-1),
    "CatBoost": CatBoostClassifier(iterations=5, depth=3, thread_count=1, random_seed=0, verbose=0, allow_writing_files=False),
    "XGBoost": XGBClassifier(n_estimators=5, max_depth=3, n_jobs=1, random_state=0),
    "skorch": NeuralNetClassifier(Net, criterion=nn.CrossEntropyLoss, **TRAINING),
    "pipeline": make_pipeline(StandardScaler(), SVC()),
    "search": GridSearchCV(TREE, {"max_depth": [1, 3]}, cv=2),
    "search of LightGBM": GridSearchCV(LGBMClassifier(n_estimators=2, n_jobs=1, random_state=0, verbose=-1), {"num_leaves": [2, 4]}, cv=2),
    "stack": StackingClassifier([("tree", TREE), ("bayes", GaussianNB())], LogisticRegression(max_iter=1000), cv=2),
}


def halves(name):
    load, labels = DATA[name]
    X, codes = load(return_X_y=True)
    y = np.array(labels)[codes]
    return X[::2], y[::2], X[1::2], y[1::2]


def by_hand(name, estimator, X, y, X_test):
    """Predictions for the training and the test examples, by the library alone."""
    labels, codes = np.unique(y, return_inverse=True)
    torch.manual_seed(0)
    if name == "Lightning":
        net = fit_lightning(torch.tensor(X, dtype=torch.float32), torch.tensor(codes), len(labels))
        with torch.no_grad():
            return [labels[net.net(torch.tensor(part, dtype=torch.float32)).argmax(1).numpy()] for part in (X, X_test)]
    fitted = clone(estimator)
    if name == "skorch":
        fitted.fit(X.astype(np.float32), codes)
        return [labels[fitted.predict(part.astype(np.float32))] for part in (X, X_test)]
    if name == "XGBoost":
        fitted.fit(X, codes)
        return [labels[fitted.predict(part)] for part in (X, X_test)]
    fitted.fit(X, y)
    return [np.asarray(fitted.predict(part)).ravel() for part in (X, X_test)]


@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("name", [*ESTIMATORS, "Lightning"])
def test_the_natural_fit_is_the_one_made_by_hand(name, data):
    X, y, X_test, y_test = halves(data)
    model = train if name == "Lightning" else ESTIMATORS[name]
    if name == "skorch":
        model = clone(model).set_params(module__d=X.shape[1], module__k=len(np.unique(y)))
    quick = {"randomizations": ["permuted-labels"], "n_permutations": 1, "scoring": "balanced_accuracy", "seed": 0}
    test = randomization_test(model, (X, y, X_test, y_test), **quick)
    on_train, on_test = by_hand(name, model, X, y, X_test)
    original = test.original.runs[0].result
    assert original["train_accuracy"] == (on_train == y).mean()
    assert original["test_accuracy"] == (on_test == y_test).mean() > 0.5
    assert original["test_score"] == balanced_accuracy_score(y_test, on_test)
    assert [repeat.status for repeat in test.repeats] == ["done", "done"]
    assert original["diverged"] is False
    assert original["epochs"] is None


@pytest.mark.parametrize(
    "regressor",
    [
        LGBMRegressor(n_estimators=10, verbose=-1, num_threads=1),
        CatBoostRegressor(iterations=10, verbose=0, allow_writing_files=False, thread_count=1),
        make_pipeline(StandardScaler(), XGBRegressor(n_estimators=10, n_jobs=1)),
        NeuralNetRegressor(nn.Linear, module__in_features=10, module__out_features=1, max_epochs=2, train_split=None, verbose=0),
    ],
    ids=lambda v: type(v).__name__,
)
def test_their_regressors_score_as_a_fit_by_hand_does(regressor):
    X, y = load_diabetes(return_X_y=True)
    X, y = X[:150].astype(np.float32), y[:150] + 0.5
    data = X[:100], y[:100], X[100:], y[100:]
    test = randomization_test(regressor, data, randomizations=["permuted-labels"], n_permutations=1)
    result = test.original.runs[0].result
    by_hand = clone(regressor)
    if isinstance(regressor, NeuralNetRegressor):
        with seeds.everywhere(0):
            predicted = by_hand.fit(data[0], data[1].astype(np.float32)[:, None]).predict(data[2])[:, 0]
    else:
        predicted = objects.with_seed(by_hand, 0).fit(*data[:2]).predict(data[2])
    assert result["test_score"] == pytest.approx(r2_score(data[3], predicted), abs=1e-6)
    assert test.scoring == "r2"
    with pytest.raises(InputError, match="is a regressor and the labels are classes, expected a classifier"):
        randomization_test(regressor, (X[:30], [0, 1, 2] * 10), targets="classes")


class OneLogit(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 1)

    def forward(self, X):
        return self.layer(X).squeeze(-1)


def test_skorchs_binary_classifiers_get_labels_as_they_compare_them():
    X = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
    y = np.where(X[:, 0] > 0, "sick", "healthy")
    net = NeuralNetBinaryClassifier(OneLogit, **{**TRAINING, "max_epochs": 20})
    test = randomization_test(net, (X, y, X, y), randomizations=["permuted-labels"], n_permutations=1)
    assert [repeat.status for repeat in test.repeats] == ["done", "done"]
    assert test.original.train_score > 0.9


@pytest.mark.parametrize("model", [XGBClassifier(n_estimators=3), nn.LazyLinear], ids=["xgboost", "network"])
def test_a_score_of_probabilities_has_a_zero_refit_test_whoever_fits(model):
    X = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
    y = np.where(X[:, 0] > 0, "sick", "healthy")
    made = model if isinstance(model, XGBClassifier) else lambda shape, k: model(k)
    how = {} if isinstance(model, XGBClassifier) else {"hyperparameters": {"epochs": 2}}
    test = randomization_test(made, X, y, scoring="roc_auc", randomizations=["permuted-labels"], n_permutations=1, **how)
    assert test.zero_refit is not None
    assert test.zero_refit.score == pytest.approx(test.original.test_score)


def by_weight(estimator, X, y):
    return float(np.average(estimator.predict(X) == y, weights=X["weight"]))


@pytest.mark.parametrize("model", [XGBClassifier(n_estimators=3), LGBMClassifier(n_estimators=3, verbose=-1)], ids=["xgboost", "lightgbm"])
def test_a_scorer_is_given_the_inputs_as_the_user_has_them_whoever_fits(model):
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"a": rng.normal(size=80), "weight": rng.integers(0, 9, 80)})
    y = (X["a"] + rng.normal(size=80) > 0).to_numpy().astype(int)
    test = randomization_test(
        model, (X[:40], y[:40], X[40:], y[40:]), scoring=by_weight, randomizations=["permuted-labels"], n_permutations=1
    )
    expected = np.average(clone(model).fit(X[:40], y[:40]).predict(X[40:]) == y[40:], weights=X["weight"][40:])
    assert test.zero_refit is not None
    assert test.original.test_score == test.zero_refit.score == pytest.approx(expected)
    assert test.best_constant == pytest.approx(max(np.average(y[40:] == k, weights=X["weight"][40:]) for k in (0, 1)))


def test_a_net_of_float32_is_told_of_a_table_of_whole_numbers():
    from shattering import dataset_from_arrays

    X, y = np.arange(80).reshape(20, 4), np.arange(20) % 3
    split = dataset_from_arrays(X, y, X, y).train
    net = clone(ESTIMATORS["skorch"]).set_params(module=nn.Linear, module__in_features=4, module__out_features=3)
    with pytest.raises(InputError, match=r"the inputs are of type int64, as they were given, expected the type of the network"):
        fit_split(as_model(net)[1], split)
    times = 1.7e9 + 30.0 * X
    with pytest.raises(InputError, match="loses in float32 what is different in it"):
        fit_split(as_model(net)[1], dataset_from_arrays(times, y, times, y).train)
