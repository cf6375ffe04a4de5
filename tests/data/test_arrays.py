import pickle

import numpy as np
import pandas as pd
import pytest
import torch

from shattering import Dataset, InputError, Split, dataset_from_arrays, load_dataset
from tests.data.test_numbers import TYPES

X = np.arange(12).reshape(6, 2)
LABELS = {
    "1, 2": ([1, 2] * 3, [1, 2], ("1", "2")),
    "-1, 1": (np.array([-1, 1] * 3), [-1, 1], ("-1", "1")),
    "2, 10": (np.array([10, 2] * 3), [2, 10], ("2", "10")),
    "0, 1": ([0, 1] * 3, [0, 1], ("0", "1")),
    "floats": ([1.0, 2.0] * 3, [1.0, 2.0], ("1", "2")),
    "text": (["sick", "healthy"] * 3, ["healthy", "sick"], ("healthy", "sick")),
    "text of pandas": (pd.Series(["b", "a"] * 3, index=range(6, 12)), ["a", "b"], ("a", "b")),
    "categories": (pd.Categorical(["b", "a"] * 3, categories=["b", "a"]), ["a", "b"], ("a", "b")),
    "booleans": ([True, False] * 3, [False, True], ("False", "True")),
    "torch": (torch.tensor([5, 3] * 3), [3, 5], ("3", "5")),
    "a column": (np.array([[1], [2]] * 3), [1, 2], ("1", "2")),
}


@pytest.mark.parametrize(("y", "values", "names"), LABELS.values(), ids=LABELS)
def test_labels_keep_their_values_in_the_order_of_numpy(y, values, names, tmp_path):
    data = load_dataset((X, y, X, y))
    assert data.classes == names
    assert data.train.label_values.tolist() == values
    assert type(data.train.y.tolist()[0]) is type(values[0])
    assert data.train.y.tolist() == np.asarray(y).ravel().tolist()
    again = load_dataset(data.to_npz(tmp_path / "mine.npz"))
    assert (again.classes, again.test.y.tolist()) == (names, data.test.y.tolist())
    assert again.fingerprint() == data.fingerprint()
    assert pickle.loads(pickle.dumps(data)).train.y.tolist() == data.train.y.tolist()


def test_the_same_codes_of_other_labels_are_other_data():
    prints = {load_dataset((X, y, X, y)).fingerprint() for y in ([0, 1] * 3, [1, 2] * 3, ["1", "2"] * 3, [False, True] * 3)}
    assert len(prints) == 4


def test_classes_name_numbers_and_list_texts():
    numbers = dataset_from_arrays(X, [0, 1] * 3, X, [1, 1, 1, 1, 1, 1], classes=["no", "yes"])
    assert (numbers.classes, numbers.train.label_values.tolist()) == (("no", "yes"), [0, 1])
    texts = dataset_from_arrays(X, ["b", "a"] * 3, X, ["c"] * 6, classes=["c", "b", "a"])
    assert (texts.classes, texts.test.y.tolist()) == (("a", "b", "c"), ["c"] * 6)
    named = dataset_from_arrays(X, [1, 2] * 3, X, [2] * 6, classes=["sick", "healthy"], label_values=[1, 2])
    assert (named.classes, named.train.y.tolist()) == (("sick", "healthy"), [1, 2] * 3)
    with pytest.raises(InputError, match="classes has 3 names and label_values 2 labels"):
        dataset_from_arrays(X, [1, 2] * 3, X, [2] * 6, classes=["a", "b", "c"], label_values=[1, 2])
    with pytest.raises(InputError, match="label_values are 2, 1, expected them in ascending order"):
        dataset_from_arrays(X, [1, 2] * 3, X, [2] * 6, label_values=[2, 1])


def test_splits_of_a_dataset_have_the_same_labels():
    one, two = (Split(torch.zeros(2, 1), torch.tensor([0, 1]), ("a", "b"), label_values=np.array(v)) for v in ([1, 2], [0, 1]))
    with pytest.raises(InputError, match="test label_values 0, 1 differ from those of the train split, 1, 2"):
        Dataset(one, two)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1.5, 2], "label_values are 1.5, 2.0, expected whole numbers"),
        ([1, 1], "ascending order, each once"),
        ([1], r"have type int64 and shape \(1,\)"),
        ([None, 1], "have type object"),
    ],
)
def test_bad_label_values(values, message):
    with pytest.raises(InputError, match=message):
        Split(torch.zeros(2, 1), torch.tensor([0, 1]), ("a", "b"), label_values=np.array(values))


def test_label_values_cannot_be_changed():
    split = dataset_from_arrays(X, [1, 2] * 3, X, [1, 2] * 3).train
    with pytest.raises(ValueError, match="read-only"):
        split.label_values[0] = 7
    split.y[0] = 7
    assert split.y[0] == 1


@pytest.mark.parametrize("kind", TYPES)
def test_tables_of_every_type_can_be_cut_copied_and_sent_to_other_processes(kind):
    data = dataset_from_arrays(X.astype(kind), [1, 2] * 3, X.astype(kind), [1, 2] * 3)
    part = data.train.subset(torch.tensor([4, 1])).copy()
    for split in (part, pickle.loads(pickle.dumps(part))):
        assert split.inputs.numpy().dtype == kind
        np.testing.assert_array_equal(split.inputs.numpy(), X.astype(kind)[[4, 1]])
        assert split.y.tolist() == [1, 2]
    assert data.fingerprint() != dataset_from_arrays(X.astype(kind) * 0, [1, 2] * 3, X.astype(kind), [1, 2] * 3).fingerprint()


def test_images_of_floats_keep_their_type_and_those_of_whole_numbers_have_no_scale():
    images, y = np.random.default_rng(0).random((6, 4, 4)), [0, 1] * 3
    assert dataset_from_arrays(images, y, images, y).train.inputs.dtype == torch.float64
    with pytest.raises(InputError, match=r"x_train have type torch.int32, expected uint8 \(0…255\) or floats"):
        dataset_from_arrays(images.astype(np.int32), y, images, y)


def test_large_numbers_are_large_and_what_is_not_finite_is_for_models_that_take_it():
    x = np.full((6, 2), 1e39)
    assert dataset_from_arrays(x, [0, 1] * 3, x, [0, 1] * 3).train.inputs[0, 0] == 1e39
    x[2, 1], x[3, 0] = np.nan, np.inf
    train = dataset_from_arrays(x, [0, 1] * 3, x, [0, 1] * 3).train
    np.testing.assert_array_equal(train.X, x)  # for estimators that take missing values
    with pytest.raises(InputError, match="the table contains NaN or infinite values in 2 of 6 examples"):
        train.with_numbers()


def test_fractional_labels_are_targets_of_a_regression_unless_they_are_said_to_be_classes():
    y = [0, 1, 0.5, 2, 1, 0]
    data = dataset_from_arrays(np.zeros((6, 2)), y, np.zeros((6, 2)), y)
    assert data.train.is_regression
    assert data.train.y.tolist() == y
    with pytest.raises(InputError, match=r"y_train has 1 labels that are fractional \(first: row 2, 0.5\)"):
        dataset_from_arrays(np.zeros((6, 2)), y, np.zeros((6, 2)), y, targets="classes")
