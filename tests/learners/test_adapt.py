import textwrap

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.ensemble import StackingClassifier
from sklearn.feature_selection import SelectFromModel
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from torch import nn

from shattering import randomization_test
from shattering.data.arrays import dataset_from_arrays
from shattering.data.load import load_dataset
from shattering.errors import InputError
from shattering.learners.adapt import as_model
from shattering.learners.network import NetworkClassifier
from shattering.learners.on_splits import fit_split, predict_split
from shattering.learners.regressor import NetworkRegressor
from shattering.learners.wrapped import TrainingFunction, Wrapped
from shattering.runs.objects import with_seed

RECIPE = {"epochs": 5, "batch_size": 32, "learning_rate": 0.1}


class Net(nn.Module):
    def __init__(self, image_shape, n_classes):
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(int(np.prod(image_shape)), n_classes))

    def forward(self, x):
        return self.body(x)


class FixedNet(nn.Sequential):
    def __init__(self, width=8):
        super().__init__(nn.Flatten(), nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 10))


def nearest_mean(split, seed):
    images = split.inputs.float().flatten(1)
    means = torch.stack([images[split.labels == k].mean(0) for k in range(split.n_classes)])
    return lambda other: torch.cdist(other.inputs.float().flatten(1), means).argmin(1)


def scores(split, seed):
    predict = nearest_mean(split, seed)
    return lambda other: nn.functional.one_hot(predict(other), split.n_classes).float()


def make_net():
    return FixedNet()


def make_estimator():
    return KNeighborsClassifier(1)


MODELS = {
    "estimator": KNeighborsClassifier(1),
    "its class": KNeighborsClassifier,
    "pipeline": make_pipeline(StandardScaler(), KNeighborsClassifier(1)),
    "our estimator": NetworkClassifier(epochs=2),
    "target": "sklearn.neighbors:KNeighborsClassifier",
    "function of estimators": make_estimator,
    "training function": nearest_mean,
    "training function of scores": scores,
}
NETWORKS = {
    "module class": Net,
    "module class without sizes": FixedNet,
    "instance": FixedNet(),
    "factory": lambda image_shape, n_classes: Net(image_shape, n_classes),
    "function of modules": make_net,
}


@pytest.mark.parametrize(
    ("what", "hyperparameters"), [*((v, {}) for v in MODELS.values()), *((v, RECIPE) for v in NETWORKS.values())], ids=[*MODELS, *NETWORKS]
)
def test_whatever_is_given_learns_digits(what, hyperparameters):
    data = load_dataset("digits", n_train=300, n_test=100)
    name, estimator, params = as_model(what, hyperparameters)
    assert estimator is not None
    assert not params
    fitted = fit_split(with_seed(estimator, 3), data.train)
    predicted = predict_split(fitted, data.test)
    assert predicted.shape == (100,)
    assert (predicted == data.test.labels.numpy()).mean() > 0.3, name


def test_names():
    assert as_model("random-forest", {"n_estimators": 3}) == ("random-forest", None, {"n_estimators": 3})
    assert as_model("mlp-1x16", RECIPE) == ("network", None, {"network": "mlp-1x16", **RECIPE})


def test_global_generators_are_seeded_for_a_training_function_and_put_back():
    drawn = []

    def train(split, seed):
        drawn.append((float(np.random.rand()), float(torch.rand(()))))  # noqa: NPY002
        return lambda other: np.zeros(len(other))

    data = load_dataset("digits", n_train=50).train
    np.random.seed(5)  # noqa: NPY002
    torch.manual_seed(5)
    for seed in (1, 1, 2):
        TrainingFunction(train, random_state=seed).fit(data)
    after = (float(np.random.rand()), float(torch.rand(())))  # noqa: NPY002
    np.random.seed(5)  # noqa: NPY002
    torch.manual_seed(5)
    assert after == (float(np.random.rand()), float(torch.rand(())))  # noqa: NPY002
    assert drawn[0] == drawn[1] != drawn[2]


def test_a_users_own_random_state_stays():
    from sklearn.ensemble import RandomForestClassifier

    assert with_seed(RandomForestClassifier(), 7).random_state == 7  # type: ignore[attr-defined]  # the forest has one
    assert with_seed(RandomForestClassifier(random_state=3), 7).random_state == 3  # type: ignore[attr-defined]  # the forest has one
    nested = with_seed(make_pipeline(StandardScaler(), RandomForestClassifier()), 7)
    assert nested.get_params()["randomforestclassifier__random_state"] == 7
    assert with_seed(NetworkClassifier(), 7).random_state == 7  # type: ignore[attr-defined]  # the network has one
    network = with_seed(make_pipeline(NetworkClassifier()), 7).get_params()["networkclassifier__random_state"]
    assert network == 7, "the default of the nested estimator's own class counts"
    assert with_seed(make_pipeline(NetworkClassifier(random_state=3)), 7).get_params()["networkclassifier__random_state"] == 3


def swapped(seed, split):
    return nearest_mean(split, seed)


def of_arrays(X, y, seed):
    return None


def test_the_seed_reaches_a_training_function_by_its_name():
    seen = []

    def train(split, epochs=3, seed=0):
        seen.append((epochs, seed))
        return nearest_mean(split, seed)

    def by_keyword(split, *, seed):
        seen.append((3, seed))
        return nearest_mean(split, seed)

    data = load_dataset("digits", n_train=50).train
    for function in (train, by_keyword):
        fit_split(with_seed(as_model(function)[1], 7), data)
    assert seen == [(3, 7), (3, 7)]


def test_the_predict_function_gets_no_labels():
    data = load_dataset("digits", n_train=50).train
    seen = []
    fitted = TrainingFunction(lambda split, seed: lambda new: seen.append(new) or new.labels).fit(data)
    assert not fitted.predict(data).any()
    assert not seen[0].true_labels.any()
    assert not seen[0].y.any()
    assert bool(data.labels.any()), "the user's own split keeps its labels"


def test_scores_in_a_dataframe_are_read_by_their_columns():
    data = dataset_from_arrays(np.eye(4), ["a", "b"] * 2, np.eye(4), ["a", "b"] * 2).train
    of = np.array([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7], [0.6, 0.4]])  # the first column is of the second class
    for columns in (["b", "a"], [1, 0]):
        table = pd.DataFrame(of, columns=columns)
        assert TrainingFunction(lambda split, seed, table=table: lambda new: table).fit(data).predict(data).tolist() == ["a", "b", "a", "b"]
    truths = dataset_from_arrays(np.eye(4), [False, True] * 2, np.eye(4), [False, True] * 2).train
    table = pd.DataFrame(of, columns=[True, False])
    fitted = TrainingFunction(lambda split, seed: lambda new: table).fit(truths)
    assert fitted.predict(truths).tolist() == [False, True, False, True]
    plain = pd.DataFrame(of)
    assert TrainingFunction(lambda split, seed: lambda new: plain).fit(data).predict(data).tolist() == ["b", "a", "b", "a"]
    other = pd.DataFrame(of, columns=["no", "yes"])
    with pytest.raises(
        InputError, match=r"^the predict function of .* returned scores with the columns \['no', 'yes'\], expected the labels"
    ):
        TrainingFunction(lambda split, seed: lambda new: other).fit(data).predict(data)


class NoReset(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.zeros(3))


class TakesMore(LogisticRegression):
    def __init__(self, **others):
        super().__init__(**others)


class Renames(ClassifierMixin, BaseEstimator):
    def __init__(self, depth=1):
        self.levels = depth

    def fit(self, X, y): ...


class PartOnly(ClassifierMixin, BaseEstimator):
    def partial_fit(self, X, y): ...


class Bare:
    def fit(self, X, y): ...

    def predict(self, X): ...


@pytest.mark.parametrize(
    ("what", "hyperparameters", "message"),
    [
        (TakesMore(C=1e-6), {}, "model TakesMore cannot be cloned: its copy has another C, which the constructor of TakesMore takes as"),
        (make_pipeline(TakesMore(C=1e-6)), {}, "model Pipeline cannot be cloned: its copy has another C"),
        (Renames(), {}, "model Renames cannot be cloned: 'Renames' object has no attribute 'depth'; expected a constructor that keeps"),
        (PartOnly(), {}, "model PartOnly has no fit, expected"),
        (Bare(), {}, "model Bare has fit and no get_params, expected a class that extends sklearn.base.BaseEstimator"),
        (Bare, {}, "model Bare has fit and no get_params"),
        ("mlp-1x8", {"loss": nn.MultiMarginLoss(), "random_state": 3}, "random_state is 3, expected none"),
        (3, {}, "model is 3, expected an estimator"),
        ("nonsense", {}, "unknown model 'nonsense'"),
        ("no_such_module:Thing", {}, "module 'no_such_module' cannot be imported"),
        ("sklearn.svm:Nonsense", {}, "sklearn.svm has no 'Nonsense'"),
        ("missing.py:build", {}, "missing.py does not exist"),
        (NoReset(), {}, "has no reset_parameters"),
        (KNeighborsClassifier(), {"nonsense": 1}, "unknown parameter of KNeighborsClassifier"),
        (Net, {"epochs": 0}, "epochs is 0"),
        (nearest_mean, {"epochs": 3}, "expected none beside a training function"),
        (lambda a, b, c: None, {}, "function <lambda> takes a, b, c"),
        (swapped, {}, "training function swapped takes seed, split; expected a split first, a parameter named seed, and no others"),
        (of_arrays, {}, "training function of_arrays takes X, y, seed; expected a split first"),
        (FrozenEstimator(KNeighborsClassifier()), {}, r"model is a FrozenEstimator, which .* the estimator that it holds \(KNeighbors"),
        (make_pipeline(FrozenEstimator(StandardScaler()), KNeighborsClassifier()), {}, "model Pipeline has a FrozenEstimator at frozen"),
        (StackingClassifier([("a", KNeighborsClassifier())], cv="prefit"), {}, "model StackingClassifier has cv='prefit': what is fitted"),
        (
            make_pipeline(SelectFromModel(LogisticRegression(), prefit=True), SVC()),
            {},
            "model Pipeline has SelectFromModel with prefit=True",
        ),
        (MultiOutputClassifier(LogisticRegression()), {}, "model MultiOutputClassifier takes several labels an example, expected"),
        (ClassifierChain(LogisticRegression()), {}, "model ClassifierChain takes several labels an example, expected the classifier"),
        (StandardScaler(), {}, "model StandardScaler is a transformer, expected a classifier"),
    ],
)
def test_bad_models(what, hyperparameters, message):
    with pytest.raises(InputError, match=message):
        as_model(what, hyperparameters)


def test_a_constructor_that_takes_more_may_be_cloned_at_its_defaults():
    assert as_model(TakesMore())[0] == "TakesMore"


def test_functions_are_parameters_of_named_models():
    """They have no name that a specification could keep, so the model itself is handed over."""
    loss = nn.MultiMarginLoss()
    name, model, params = as_model("mlp-1x8", {"loss": loss, "epochs": 2})
    assert (name, params) == ("mlp-1x8", {})
    assert (model.network, model.loss, model.epochs) == ("mlp-1x8", loss, 2)
    assert as_model("nearest-neighbors", {"metric": max})[1].metric is max
    assert as_model("mlp-1x8", {"epochs": 2}) == ("network", None, {"network": "mlp-1x8", "epochs": 2})


def test_bad_results_of_a_training_function():
    data = load_dataset("digits", n_train=50).train
    for wrong, message in (
        (3, "returned an int, expected a function"),
        (nn.Linear(64, 10), "returned a Linear, which is a torch module, expected a function of a split"),
        (FixedNet, "returned the class FixedNet, expected a function"),
        (LogisticRegression().predict, r"returned LogisticRegression.predict, which takes no split, .* model.predict\(new.X\)$"),
    ):
        with pytest.raises(InputError, match=message):
            TrainingFunction(lambda split, seed: wrong).fit(data)  # noqa: B023
    for returned, message in (
        (np.zeros(3), r"returned shape \(3,\), expected \(50,\) classes"),
        (
            torch.where(torch.arange(500).view(50, 10) < 25, torch.nan, 0.0),
            r"returned scores \(50, 10\) with NaN for 3 of 50 examples, expected a",
        ),
        (np.full((50, 10), "high"), "returned scores of type <U4, expected numbers"),
    ):
        with pytest.raises(InputError, match=rf"^the predict function of test_bad_results.*<lambda> {message}"):
            TrainingFunction(lambda split, seed: lambda other: returned).fit(data).predict(data)  # noqa: B023
    for returned in ([[1], [1, 2]], np.full(50, np.nan)):
        with pytest.raises(InputError, match=r"^test_bad_results.*<lambda> predicted (a list of several lengths|no label)"):
            TrainingFunction(lambda split, seed: lambda other: returned).fit(data).predict(data)  # noqa: B023


def test_a_training_function_that_returns_the_labels_themselves_is_told():
    X, y = np.arange(40.0).reshape(20, 2), np.array(["no", "yes"])[np.arange(20) % 2]
    data = dataset_from_arrays(X, y, X, y).train
    with pytest.raises(InputError, match=r"returned the labels themselves, such as 'no', expected the numbers of the classes"):
        TrainingFunction(lambda split, seed: lambda new: np.full(20, "no")).fit(data).predict(data)


def test_labels_that_might_be_numbers_of_classes_are_told_by_how_well_they_agree():
    """Of the classes 1, 2 and 3 the last is never predicted, so that each label that is returned is the number of another class, too."""
    X, y = np.arange(40.0).reshape(20, 2), np.repeat([1, 2, 3], (10, 8, 2))
    data = dataset_from_arrays(X, y, X, y).train
    wrong = np.where(y == 1, 1, 2)
    with pytest.raises(InputError, match=r"returned the labels themselves, such as 1, expected the numbers of the classes"):
        TrainingFunction(lambda split, seed: lambda new: wrong).fit(data).predict(data)
    assert (TrainingFunction(lambda split, seed: lambda new: wrong - 1).fit(data).predict(data) == wrong).all()
    later = np.where(y == 1, 1, y - 1)  # numbers of classes of which the first is never predicted
    assert (TrainingFunction(lambda split, seed: lambda new: later).fit(data).predict(data) == later + 1).all()


def test_parameters_of_regressions_alone_make_a_regressor():
    def linear(image_shape):
        return nn.Linear(4, 1)

    assert type(as_model(linear, {"scale_targets": False})[1]) is NetworkRegressor
    assert as_model("mlp-1x8", {"scale_targets": False, "epochs": 2})[0] == "network-regressor"
    X = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
    hyperparameters = {"scale_targets": False, "loss": nn.PoissonNLLLoss(), "epochs": 2, "crop": None}
    test = randomization_test(
        linear, X, X[:, 0] ** 2, hyperparameters=hyperparameters, randomizations=["permuted-labels"], n_permutations=1
    )
    assert test.is_regression
    with pytest.raises(InputError, match="is a regressor and the labels are classes"):
        randomization_test("mlp-1x8", X, np.arange(40) % 2, hyperparameters={"scale_targets": False})


def test_a_training_function_may_return_scores_in_bfloat16():
    data = load_dataset("digits", n_train=50).train
    scores = torch.nn.functional.one_hot(data.labels, 10).bfloat16()
    assert (TrainingFunction(lambda split, seed: lambda other: scores).fit(data).predict(data) == data.y).all()


def test_a_file_may_import_its_neighbours_and_may_be_broken(tmp_path):
    (tmp_path / "neighbour_of_model.py").write_text("K = 3\n")
    source = """
        from neighbour_of_model import K
        from sklearn.neighbors import KNeighborsClassifier
        def build():
            return KNeighborsClassifier(K)
    """
    (tmp_path / "a_model.py").write_text(textwrap.dedent(source))
    _, estimator, _ = as_model(f"{tmp_path}/a_model.py:build")
    assert estimator.n_neighbors == 3  # type: ignore[union-attr]  # it is a nearest-neighbours classifier
    (tmp_path / "broken.py").write_text("1 / 0\n")
    with pytest.raises(InputError, match="raised while it was imported: ZeroDivisionError"):
        as_model(f"{tmp_path}/broken.py:build")


def test_images_or_tables():
    from sklearn.dummy import DummyClassifier

    class Shape(DummyClassifier):
        def fit(self, X, y):
            self.shape_ = X.shape
            return super().fit(X, y)

    data = load_dataset("digits", n_train=50).train
    _, images, _ = as_model(Shape(), inputs="images")
    assert isinstance(images, Wrapped)
    assert images.fit(data).estimator_.shape_ == (50, 1, 8, 8)
    _, table, _ = as_model(Shape())
    assert fit_split(table, data).shape_ == (50, 64)
    with pytest.raises(InputError, match="inputs"):
        as_model(Shape(), inputs="nonsense")  # type: ignore[arg-type]  # that is what is refused
