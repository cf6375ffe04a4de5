"""Values and labels reach models and scorers as they were given."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn import config_context
from sklearn.base import BaseEstimator, ClassifierMixin, clone, is_classifier
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.feature_selection import RFECV
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, get_scorer, roc_auc_score
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.tree import DecisionTreeClassifier
from torch import nn

from shattering import Dataset, InputError, Randomization, Split, dataset_from_arrays, load_dataset, randomization_test, randomize
from shattering.compare.page import _first_issues
from shattering.learners.adapt import as_model
from shattering.learners.kernel import KernelInterpolatorClassifier
from shattering.learners.network import NetworkClassifier
from shattering.learners.on_splits import fit_split, predict_split, score_split
from shattering.learners.relu import ReluInterpolatorClassifier
from tests.data.test_numbers import TYPES
from tests.learners.test_predictions import Untagged

TIMES = 1.7e9 + 30.0 * np.random.default_rng(0).permutation(120)[:, None]  # seconds; an interval in the middle is the second class
PARITY = (np.abs(TIMES[:, 0] - 1.7e9 - 1800) < 900).astype(int)


class Seen(ClassifierMixin, BaseEstimator):
    """Remembers what it is given, and returns the first label."""

    def fit(self, X, y):
        self.X_, self.y_, self.classes_ = X, y, np.unique(y)
        return self

    def predict(self, X):
        self.asked_ = X
        return np.full(len(X), self.classes_[0])


@pytest.mark.parametrize("kind", TYPES)
def test_tables_reach_estimators_and_training_functions_in_their_own_type(kind):
    given = np.arange(24).reshape(12, 2).astype(kind)
    split = dataset_from_arrays(given, [1, 2] * 6, given, [1, 2] * 6).train
    seen = fit_split(Seen(), split)
    predict_split(seen, split)
    seen_by_function = []

    def train(split, seed):
        seen_by_function.append(split)
        return lambda other: seen_by_function.append(other) or torch.zeros(len(other))

    predict_split(fit_split(as_model(train)[1], split), split)
    for X in (seen.X_, seen.asked_, *(part.inputs.numpy() for part in seen_by_function)):
        assert X.dtype == kind
        np.testing.assert_array_equal(X, given)
    assert seen_by_function[0].label_values.tolist() == [1, 2]
    assert seen_by_function[0].labels.tolist() == [0, 1] * 6


def test_a_search_by_groups_gets_them_or_is_told_what_it_lacks():
    X, y, groups = np.arange(24.0).reshape(12, 2), [1, 2] * 6, torch.arange(12) // 2
    split = dataset_from_arrays(X, y, X, y).train
    search = GridSearchCV(DecisionTreeClassifier(), {"max_depth": [1, 2]}, cv=GroupKFold(2))
    assert fit_split(search, replace(split, groups=groups)).n_splits_ == 2
    with pytest.raises(InputError, match=r"^GridSearchCV splits by groups, which it was not given, expected groups beside"):
        fit_split(search, split)
    with pytest.raises(
        InputError, match=r"^Pipeline splits by groups, which its fit does not take, expected one that does, such as a search that is not"
    ):
        fit_split(make_pipeline(search), replace(split, groups=groups))
    assert fit_split(RFECV(DecisionTreeClassifier(), cv=GroupKFold(2)), replace(split, groups=groups)).n_features_ > 0
    with config_context(enable_metadata_routing=True):
        assert fit_split(make_pipeline(search), replace(split, groups=groups))[-1].n_splits_ == 2
    with pytest.raises(ValueError, match="greater than the number of groups"):
        fit_split(clone(search).set_params(cv=GroupKFold(8)), replace(split, groups=groups))


def test_images_are_scaled_by_their_type_and_tables_are_not():
    pixels = np.random.default_rng(0).integers(0, 256, (8, 3, 3), dtype=np.uint8)
    y = [0, 1] * 4
    images, flat = (dataset_from_arrays(x, y, x, y).train for x in (pixels, pixels.reshape(8, 9)))
    np.testing.assert_array_equal(images.X, (pixels.reshape(8, 9) / np.float32(255)))
    np.testing.assert_array_equal(flat.X, pixels.reshape(8, 9))
    floats = dataset_from_arrays(pixels / 255, y, pixels / 255, y).train
    assert floats.X.dtype == np.float64
    np.testing.assert_array_equal(floats.X, pixels.reshape(8, 9) / 255)


MODELS = {
    "boosting": HistGradientBoostingClassifier(min_samples_leaf=1, learning_rate=0.5),
    "neighbours": KNeighborsClassifier(1),
    "kernel": KernelInterpolatorClassifier(gamma=1e-3),
    "relu": ReluInterpolatorClassifier(),
    "network": NetworkClassifier("mlp-1x64", epochs=200, batch_size=20, learning_rate=0.2, decay=1.0, stop_when_fitted=True),
}


CLASSIFIERS = {name: model for name, model in MODELS.items() if is_classifier(model)}


@pytest.mark.parametrize("kind", ["float64", "int64"])
@pytest.mark.parametrize("model", CLASSIFIERS.values(), ids=CLASSIFIERS)
def test_times_thirty_seconds_apart_are_told_apart(model, kind):
    x = TIMES.astype(kind)
    split = dataset_from_arrays(x, PARITY, x, PARITY).train
    fitted = fit_split(model, split)
    assert (predict_split(fitted, split) == PARITY).mean() >= 0.99


def test_nothing_is_said_to_be_the_same_input_that_is_not():
    test = randomization_test(LogisticRegression(), (TIMES, PARITY), randomizations=["permuted-labels"], n_permutations=1)
    assert "identical inputs" not in "".join(finding.cause for finding in test.diagnosis)


def test_a_network_refuses_what_float32_rounds_away_where_it_does_not_standardize():
    split = dataset_from_arrays(TIMES, PARITY, TIMES, PARITY).train
    with pytest.raises(InputError, match=r"feature 0 of the table, in all 1 of them, loses in float32 what is different in it \(17000"):
        NetworkClassifier("mlp-1x8", epochs=1, standardize="none").fit(split)
    large = dataset_from_arrays(TIMES * 1e30, PARITY, TIMES * 1e30, PARITY).train
    with pytest.raises(InputError, match="loses in float32"):
        NetworkClassifier("mlp-1x8", epochs=1, standardize="none").fit(large)
    numbers = np.stack([np.arange(120) + 2**60, np.arange(120)], 1)
    with pytest.raises(InputError, match="the table has a whole number of 1,152,921,504,606,847,095, which float64 does not hold exactly"):
        NetworkClassifier("mlp-1x8", epochs=1).fit(dataset_from_arrays(numbers, PARITY, numbers, PARITY).train)
    constant = np.stack([TIMES[:, 0] - 1.7e9, np.full(120, 0.1)], 1)
    NetworkClassifier("mlp-1x8", epochs=1, standardize="none").fit(dataset_from_arrays(constant, PARITY, constant, PARITY).train)


@pytest.mark.parametrize("scale", [1e-200, 1.0, 1e200])
def test_networks_do_not_depend_on_the_unit_of_a_table(scale):
    x = np.random.default_rng(0).normal(size=(40, 3))
    y = (x[:, 0] > 0).astype(int)
    split = dataset_from_arrays(x * scale, y, x * scale, y).train
    assert NetworkClassifier("mlp-1x16", epochs=20, batch_size=10, learning_rate=0.1).fit(split).train_accuracy_ > 0.9


@pytest.mark.parametrize("pixels", ["shuffled", "random", "within-class", "gaussian"])
@pytest.mark.parametrize("kind", TYPES)
def test_randomizations_of_tables_of_every_type(pixels, kind):
    given = np.random.default_rng(0).integers(0, 2 if kind == "bool" else 100, (40, 3)).astype(kind)
    data = dataset_from_arrays(given, [1, 2] * 20, given, [1, 2] * 20)
    made = randomize(data, Randomization(pixels=pixels), seed=1)
    found = made.train.inputs.numpy()
    assert made.train.label_values.tolist() == [1, 2]
    if pixels == "gaussian":
        assert found.dtype == (kind if kind.startswith("float") else "float64")
        assert abs(found.mean() - given.astype(float).mean()) < given.astype(float).std()
        return
    assert found.dtype == kind
    assert not np.array_equal(found, given)
    if pixels == "within-class":
        for k in (0, 1):
            np.testing.assert_array_equal(np.sort(found[k::2], axis=0), np.sort(given[k::2], axis=0))
    else:
        np.testing.assert_array_equal(np.sort(found, axis=1), np.sort(given, axis=1))


def noisy(labels, n=200, seed=0):
    """A feature that says a little of two labels, of which the first is the rarer."""
    generator = np.random.default_rng(seed)
    codes = (generator.random(n) < 0.7).astype(int)
    return generator.normal(size=(n, 2)) + 0.7 * codes[:, None], np.array(labels)[codes]


@pytest.mark.parametrize("labels", [[1, 2], [-1, 1], [0, 1], ["healthy", "sick"], [False, True], [1.0, 2.0]], ids=str)
@pytest.mark.parametrize("scoring", ["f1", "f1_macro", "average_precision", "roc_auc", "neg_log_loss", "recall"])
def test_scores_are_those_of_scikit_learn_with_the_same_labels(labels, scoring):
    (X, y), (X_test, y_test) = noisy(labels), noisy(labels, seed=1)
    data = dataset_from_arrays(X, y, X_test, y_test)
    model = LogisticRegression(class_weight={labels[0]: 10})
    scorer, by_hand = get_scorer(scoring), LogisticRegression(class_weight={labels[0]: 10}).fit(X, y)
    ours = fit_split(model, data.train)
    assert ours.classes_.tolist() == sorted(labels)
    try:
        expected = scorer(by_hand, X_test, y_test)
    except ValueError:
        with pytest.raises(ValueError, match="pos_label"):
            score_split(scorer, ours, data.test, data.test.labels)
    else:
        assert score_split(scorer, ours, data.test, data.test.labels) == expected
    assert (predict_split(ours, data.test) == np.searchsorted(labels, by_hand.predict(X_test))).all()


def test_a_run_has_the_scores_of_scikit_learn():
    (X, y), (X_test, y_test) = noisy([1, 2]), noisy([1, 2], seed=1)
    test = randomization_test(
        LogisticRegression(class_weight={1: 10}), (X, y, X_test, y_test), scoring="f1", randomizations=["permuted-labels"], n_permutations=1
    )
    by_hand = LogisticRegression(class_weight={1: 10}).fit(X, y)
    assert test.original.test_score == f1_score(y_test, by_hand.predict(X_test))
    assert test.original.test_score != f1_score(y_test, by_hand.predict(X_test), pos_label=2)


def test_weights_by_what_are_no_labels_say_what_the_labels_are():
    data = load_dataset("digits", n_train=60, n_test=20)
    named = Split(data.train.inputs, (data.train.labels > 4).long(), ("small", "large"))
    with pytest.raises(InputError, match=r"class_weight.*; the labels \(and classes\) are 0 \(small\), 1 \(large\)"):
        fit_split(DecisionTreeClassifier(class_weight={"small": 2}), named)
    weighted = fit_split(make_pipeline(DecisionTreeClassifier(max_depth=1, class_weight={0: 1e6})), named)
    assert predict_split(weighted, named).mean() < 0.5


def own_labels(n=60):
    digits = load_dataset("digits", n_train=n, n_test=30)
    return Dataset(
        *(Split(s.inputs, s.labels // 5, ("low", "high"), label_values=np.array(["high", "low"])) for s in (digits.train, digits.test))
    )


def module(image_shape, n_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, n_classes))


def test_networks_and_training_functions_are_scored_by_the_users_labels():
    data = own_labels()
    net = fit_split(NetworkClassifier(module, epochs=30, batch_size=10, learning_rate=0.1, track_examples=True), data.train)
    assert net.classes_.tolist() == ["high", "low"]
    assert set(net.examples_["label"]) == {"high", "low"}
    accuracy = (predict_split(net, data.train) == data.train.labels.numpy()).mean()
    assert net.score(data.train) == accuracy > 0.9
    scorer = get_scorer("roc_auc")
    assert score_split(scorer, net, data.train, data.train.labels) == roc_auc_score(
        data.train.y == "low", net.predict_proba(data.train)[:, 1]
    )

    def train(split, seed):
        means = torch.stack([split.inputs[split.labels == k].float().mean(0) for k in (0, 1)])
        return lambda other: -(other.inputs.float()[:, None] - means).flatten(2).norm(dim=2)

    function = fit_split(as_model(train)[1], data.train)
    assert set(function.predict(data.test)) <= {"high", "low"}
    assert score_split(get_scorer("accuracy"), function, data.train, data.train.labels) > 0.8


def test_a_page_names_the_classes_of_labels_that_are_no_codes():
    data = own_labels()
    hyperparameters = {"epochs": 3, "batch_size": 10}
    test = randomization_test("mlp-1x8", data, hyperparameters=hyperparameters, randomizations=["permuted-labels"], n_permutations=1)
    assert test.original.runs[0].result["label_values"] == ["high", "low"]
    names = {int(i): data.classes[k] for i, k in zip(data.train.ids, data.train.labels, strict=True)}
    rows = _first_issues(test, test.label_issues)
    assert [row["label"] for row in rows] == [names[row["id"]] for row in rows]
    assert (
        "label_values"
        not in randomization_test("mlp-1x8", "digits", n_train=30, n_test=10, hyperparameters=hyperparameters, n_permutations=1)
        .original.runs[0]
        .result
    )


def test_scorers_see_checked_labels_of_what_has_no_tags_and_no_classes():
    X, y = noisy([1, 2])
    split = dataset_from_arrays(X, y, X, y).train
    found = score_split(get_scorer("accuracy"), fit_split(Untagged(), split), split, split.labels)
    assert found == (y == y[0]).mean()
    with pytest.raises(InputError, match="scoring needs what the model does not have: Untagged has none of the following attributes"):
        score_split(get_scorer("roc_auc"), fit_split(Untagged(), split), split, split.labels)


def constant(split, seed):
    return lambda other: np.zeros(len(other), int)


@pytest.mark.parametrize(
    ("model", "name"),
    [(as_model(constant)[1], "constant"), (as_model(Seen(), inputs="images")[1], "Seen"), (as_model(Seen())[1], "Seen")],
)
def test_scorers_name_the_users_model_and_no_class_of_ours(model, name):
    X, y = noisy([1, 2])
    split = dataset_from_arrays(X.reshape(-1, 1, 1, 2), y, X.reshape(-1, 1, 1, 2), y).train

    def scorer(model, X, y):
        raise ValueError(f"{type(model).__name__} {type(model).__qualname__} {model!r} is not what I score")

    with pytest.raises(ValueError, match=f"^{name} {name} ") as caught:
        score_split(scorer, fit_split(model, split), split, split.labels)
    assert "_Checked" not in str(caught.value)
    with pytest.raises(InputError, match=f"does not have: .*{name}"):
        score_split(get_scorer("roc_auc"), fit_split(model, split), split, split.labels)


def test_inputs_that_are_no_numbers_say_what_to_do():
    y = np.arange(60) % 2
    frame = pd.DataFrame({"age": np.arange(60), "sex": ["m", "f", "f"] * 20, "town": ["a", "b"] * 30})
    remedy = "columns that are no numbers: 'sex', 'town'; expected numbers: encode them first, as with OneHotEncoder in a ColumnTransformer"
    with pytest.raises(InputError, match=f"LogisticRegression: could not convert string to float: '.'; {remedy}"):
        randomization_test(LogisticRegression(), frame, y)
    times = pd.DataFrame({"age": np.arange(60), "day": pd.date_range("2020-01-01", periods=60)})
    with pytest.raises(InputError, match=r"DateTime64DType.*; columns that are no numbers: 'day'; expected numbers: encode them first"):
        randomization_test(LogisticRegression(), times, y)
    with pytest.raises(InputError, match=r"could not convert string to float: '.*'; .*as with TfidfVectorizer in a pipeline"):
        randomization_test(LogisticRegression(), ["a text", "another one"] * 30, y)
    texts = np.array([["a text"], ["another one"]] * 30)
    with pytest.raises(InputError, match=r"arrays of bytes/strings; expected numbers: encode texts first, as with TfidfVectorizer in a"):
        randomization_test(KNeighborsClassifier(), texts, y)
    with pytest.raises(InputError, match=r"expected, for a vectorizer, texts \(n,\), and these have shape \(\d+, 1\): X\[:, 0\], or a"):
        randomization_test(make_pipeline(CountVectorizer(), LogisticRegression()), texts, y)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (["text"], r"expected, for a vectorizer, one column of texts: X\['text'\], or a ColumnTransformer that names it"),
        (["text", "more"], r"inconsistent numbers of samples: \[2, 4\]; expected, for a vectorizer, one column of texts: X\['text'\]"),
    ],
)
def test_a_vectorizer_of_a_dataframe_is_told_to_take_a_column(columns, message):
    frame = pd.DataFrame({name: ["a film", "a good one", "bad", "worse"] for name in columns})
    split = dataset_from_arrays(frame, [0, 1, 0, 1], frame, [0, 1, 0, 1]).train
    with pytest.raises(InputError, match=message):
        fit_split(make_pipeline(CountVectorizer(), LogisticRegression()), split)


def test_columns_that_scikit_learn_does_not_take_say_what_to_do():
    for names, message in (
        (["a", "a"], "expected every name once, and 'a' stands twice"),
        (["a", 1], r"expected names of one type: X\.columns"),
    ):
        frame = pd.DataFrame(np.eye(4)[:, :2], columns=names)
        with pytest.raises(InputError, match=message):
            fit_split(LogisticRegression(), dataset_from_arrays(frame, [0, 1, 0, 1], frame, [0, 1, 0, 1]).train)


def test_a_training_function_is_told_where_a_data_frame_is():
    def train(split, seed):
        split.inputs.float()

    X = pd.DataFrame({"a": [0.0, 1.0, 2.0, 3.0] * 5})
    with pytest.raises(AttributeError, match="inputs that are a DataFrame have no attribute 'float': the X of a split has them"):
        randomization_test(train, X, ["x", "y"] * 10)


def test_a_note_names_no_folder_that_is_gone(tmp_path):
    def train(split, seed):
        raise ValueError("it broke")

    for store, note in ((None, "raised by train"), (tmp_path, f"raised by train; its run is in {tmp_path}")):
        with pytest.raises(ValueError, match="it broke") as broken:
            randomization_test(train, np.eye(20), [0, 1] * 10, store=store)
        assert broken.value.__notes__[0].startswith(note)
        assert (store is None) == (broken.value.__notes__[0] == note)


def test_scorers_of_one_label_name_the_remedy():
    with pytest.raises(InputError, match=r"pos_label=1 is not a valid label.*; take one that averages, such as 'f1_macro'"):
        randomization_test(KNeighborsClassifier(), np.eye(20), ["x", "y"] * 10, scoring="f1")
