"""Labels: none missing, none changed, whatever they come in."""

import math
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch.utils.data import Dataset as TorchDataset

from shattering import InputError, dataset_from_arrays, load_dataset
from shattering.data.targets import plain_labels
from tests.data.test_load import encode, pictures, write_parquet

MISSING = [
    ["a", None, "b", "a"],
    ["a", math.nan, "b", "a"],
    ["a", pd.NA, "b", "a"],
    [0, None, 1, 0],
    [0.0, math.nan, 1.0, 0.0],
    [0, pd.NaT, 1, 0],
    [0, Decimal("nan"), 1, 0],
    np.array(["a", None, "b", "a"], dtype=object),
    np.array([0, np.nan, 1, 0]),
    np.array([0, np.nan, 1, 0], dtype=np.float16),
    np.ma.masked_array([0, 1, 1, 0], [False, True, False, False]),
    np.ma.masked_array([0, np.nan, 1, 0], [False] * 4),
    np.array(["2020-01-01", "NaT", "2020-01-02", "2020-01-01"], dtype="datetime64[D]"),
    pd.Series(["a", None, "b", "a"]),
    pd.Series(["a", None, "b", "a"], dtype="category"),
    pd.Series(["a", None, "b", "a"], dtype="string"),
    pd.Series([0, None, 1, 0], dtype="Int64"),
    pd.Series([0, None, 1, 0], dtype="Float64"),
    pd.Series([True, None, False, True], dtype="boolean"),
    pd.DataFrame({"y": ["a", None, "b", "a"]}),
    pd.array([0, None, 1, 0], dtype="Int8"),
    pa.array(["a", None, "b", "a"]),
    pa.chunked_array([["a", None], ["b", "a"]]),
    torch.tensor([0.0, math.nan, 1.0, 0.0]),
    torch.tensor([0.0, math.nan, 1.0, 0.0], dtype=torch.bfloat16),
    [torch.tensor(0.0), torch.tensor(math.nan), torch.tensor(1.0), torch.tensor(0.0)],
]


@pytest.mark.parametrize("labels", MISSING, ids=lambda labels: f"{type(labels).__module__}.{type(labels).__name__}")
def test_missing_labels_are_refused_with_their_number_and_the_first(labels):
    with pytest.raises(InputError, match=r"^y has 1 rows without a label \(first: row 1\), expected none$"):
        plain_labels(labels, "y")


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([1, 2, 1], np.array([1, 2, 1])),
        ([1, 2.0, 1], np.array([1.0, 2.0, 1.0])),
        ([True, False, True], np.array([True, False, True])),
        (["b", "a", "nan"], np.array(["b", "a", "nan"])),  # whoever has made text of it: it is text
        ([b"b", "ä".encode(), b"b"], np.array(["b", "ä", "b"])),
        (np.array([b"b", b"a"]), np.array(["b", "a"])),
        (np.array([[3], [4]]), np.array([3, 4])),
        (np.array([3, 2**63 - 1], dtype=np.uint64), np.array([3, 2**63 - 1])),
        (np.array([1.0, 2.0], dtype=np.float16), np.array([1.0, 2.0], dtype=np.float16)),
        (np.array([1.0, 2.0], dtype=np.float32), np.array([1.0, 2.0], dtype=np.float32)),
        (np.array(["x", "y"], dtype=np.dtypes.StringDType()), np.array(["x", "y"])),
        (pd.Series([1, 2], dtype="Int64"), np.array([1, 2])),
        (pd.Series([True, False], dtype="boolean"), np.array([True, False])),
        (pd.Series(["x", "y"], dtype="category"), np.array(["x", "y"])),
        (pd.Series([5, 7], index=[9, 1]), np.array([5, 7])),
        (pd.DataFrame({"y": [1, 2]}), np.array([1, 2])),
        (torch.tensor([1, 2], dtype=torch.uint8), np.array([1, 2])),
        ([torch.tensor(1), torch.tensor(2)], np.array([1, 2])),
        ([np.int8(1), np.int64(2)], np.array([1, 2])),
    ],
)
def test_labels_keep_their_values_and_their_kind(labels, expected):
    found = plain_labels(labels, "y")
    assert found.dtype == expected.dtype
    assert found.tolist() == expected.tolist()


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([1, "1", 2], r"y mixes numbers \(row 0: 1\) and text \(row 1: '1'\), expected labels of one kind"),
        (pd.Series([1, "1"]), r"y mixes numbers \(row 0: 1\) and text \(row 1: '1'\)"),
        (np.array([1.0, "1.0"], dtype=object), r"y mixes numbers \(row 0: 1.0\) and text \(row 1: '1.0'\)"),
        ([0, 1, True], r"y mixes numbers \(row 0: 0\) and booleans \(row 2: True\)"),
        (["True", True], "y mixes text .* and booleans"),
        ([b"a", "a"], "y mixes bytes .* and text"),
        ([b"a", b"\xff"], r"y has the label b'\\xff', expected text in UTF-8"),
        (np.array([b"a", b"\xff"]), r"y has the label b'\\xff', expected text in UTF-8"),
        (["a", "", " "], r"y has 2 labels that are empty \(first: row 1\), expected a class each"),
        (np.array(["a", ""]), r"y has 1 labels that are empty \(first: row 1\)"),
        ([0, 1.7], r"y has 1 labels that are fractional \(first: row 1, 1.7\), expected classes"),
        (torch.tensor([0.0, 1.7]), r"y has 1 labels that are fractional \(first: row 1, 1.7\)"),
        (np.array([0, np.inf]), r"y has 1 labels that are infinite \(first: row 1, inf\)"),
        ([0, 2**64], "y has the label 18446744073709551616, expected whole numbers of at most 63 bits, or text"),
        (np.array([0, 2**63], dtype=np.uint64), "y has the label 9223372036854775808, expected whole numbers of at most 63 bits"),
        (np.array([0, 1e300]), r"y has the label 1e\+300, which floats do not hold exactly"),
        (np.array([0, 1j]), "y has labels of type complex128, expected whole numbers, text or booleans"),
        (np.array(["2020", "2021"], dtype="datetime64[Y]"), r"y has labels of type datetime64\[Y\], expected whole numbers, text or"),
        ([(1, 2), (3,)], "y has labels of type tuple, expected whole numbers, text or booleans"),
        ([Decimal(1), Decimal(2)], "y has labels of type Decimal"),
        (np.eye(3), r"y has shape \(3, 3\), expected one label an example, .*; of columns that mark one class each, give the number"),
        ([torch.eye(3)[0], torch.eye(3)[1]], r"y has shape \(2, 3\), expected one label"),
        (np.zeros((2, 2, 2)), r"y has shape \(2, 2, 2\), expected one label an example, and at least one$"),
        ([], r"y has shape \(0,\)"),
        (3, r"y has shape \(\)"),
    ],
)
def test_labels_that_would_be_changed_are_refused(labels, message):
    with pytest.raises(InputError, match=message) as caught:
        plain_labels(labels, "y")
    assert "\n" not in str(caught.value)


class Pairs(TorchDataset):
    def __init__(self, targets):
        self.targets = targets

    def __len__(self):
        return len(self.targets)

    def __getitem__(self, i):
        return np.full((1, 4, 4), i, np.uint8), self.targets[i]


def by_arrays(labels, _):
    x = np.zeros((len(labels), 2), np.float32)
    return load_dataset((x, labels, x, labels))


def by_torch(labels, _):
    return load_dataset(Pairs(labels), hold_out=False)


def by_parquet(labels, folder):
    write_parquet(folder / "train.parquet", pictures(len(labels)), labels)
    return load_dataset(folder, hold_out=False)


def by_hub(labels, _):
    datasets = pytest.importorskip("datasets", reason="Hugging Face's datasets is not installed")
    images = [{"bytes": b"not looked at", "path": None}] * len(labels)
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("string" if "a" in labels else "float64")})
    return load_dataset(datasets.Dataset.from_dict({"image": images, "label": labels}, features), hold_out=False)


@pytest.mark.parametrize("route", [by_arrays, by_torch, by_parquet, by_hub])
def test_every_source_refuses_missing_and_fractional_labels(tmp_path, route):
    for labels in (["a", "b", None, "a", "b"], [0.0, 1.0, None, 1.0, 0.0]):
        with pytest.raises(InputError, match=r"has 1 rows without a label \(first: row 2\), expected none"):
            route(labels, tmp_path)
    with pytest.raises(InputError, match=r"has 1 labels that are infinite|fractional \(first: row 1, 1.7\)"):
        route([0.0, np.inf, 1.0, 1.0, 0.0] if route is not by_parquet else [0.0, 1.7, 1.0, 1.0, 0.0], tmp_path)


def parquet_pair(folder, train, test, names=(None, None)):
    for part, labels, named in zip(("train", "test"), (train, test), names, strict=True):
        write_parquet(folder / f"{part}.parquet", pictures(len(labels)), labels, named)
    return load_dataset(folder)


def hub_pair(folder, train, test, names=(None, None)):
    datasets = pytest.importorskip("datasets", reason="Hugging Face's datasets is not installed")
    kind = {str: "string", int: "int64", bool: "bool"}

    def part(labels, named):
        label = datasets.ClassLabel(names=named) if named else datasets.Value(kind[type(labels[0])])
        images = [{"bytes": encode(image), "path": None} for image in pictures(len(labels))]
        return datasets.Dataset.from_dict(
            {"image": images, "label": labels}, datasets.Features({"image": datasets.Image(), "label": label})
        )

    return load_dataset(datasets.DatasetDict(train=part(train, names[0]), test=part(test, names[1])))


@pytest.mark.parametrize("pair", [parquet_pair, hub_pair])
def test_labels_of_columns_are_the_users_own(tmp_path, pair):
    for train, test in (
        ([1, 2] * 3, [2, 1]),
        ([-1, 1] * 3, [1, -1, -1]),
        ([0, 2, 5] * 2, [5, 0]),
        (["b", "a"] * 3, ["a"]),
        ([True, False] * 3, [True]),
    ):
        data = pair(tmp_path, train, test)
        assert data.train.label_values.tolist() == sorted(set(train))
        assert data.classes == tuple(map(str, sorted(set(train))))
        assert (data.train.y.tolist(), data.test.y.tolist()) == (train, test)
    assert pair(tmp_path, [-1, 1] * 3, [-1, -1]).test.y.tolist() == [-1, -1], "a class of the train split marks nothing"
    named = pair(tmp_path, [0, 1] * 3, [1, 0], (["x", "y"], ["x", "y"]))
    assert (named.classes, named.train.label_values.tolist()) == (("x", "y"), [0, 1])
    for train, test, names, message in (
        (["0", "1"] * 3, [0, 1], (None, None), "has numbers for labels and the train split text, expected labels of one kind"),
        ([0, 1] * 3, [0, 1], (["x", "y"], ["y", "x"]), "names its classes y, x, expected those of the train split, x, y"),
        ([0, 1] * 3, [0, 2], (None, None), r"has class 2 \(first: row 1\), expected one of 0, 1"),
        ([0, 1] * 3, [0, -1], (None, None), r"has 1 labels of -1 \(first: row 1\), the mark of a missing label"),
        (["a", "b"] * 3, ["a", "c"], (None, None), r"has class 'c' \(first: row 1\), expected one of 'a', 'b'"),
        ([3, 1, 4, 15, 9, 2], [3], (None, None), "has 6 different numbers for 6 examples, expected classes"),
        ([7] * 6, [7], (None, None), "has 1 class, expected at least two"),
    ):
        with pytest.raises(InputError, match=message):
            pair(tmp_path, train, test, names)


def test_labels_of_bytes_beside_images_of_bytes(tmp_path):
    images = [encode(image) for image in pictures(4)]
    for kind in (pa.binary(), pa.large_binary()):
        pq.write_table(pa.table({"png": pa.array(images, kind), "label": pa.array([b"a", b"b"] * 2, kind)}), tmp_path / "a.parquet")
        assert load_dataset(tmp_path / "a.parquet", hold_out=False).classes == ("a", "b")


def test_targets_of_a_torch_dataset_are_not_cut():
    assert load_dataset(Pairs(torch.tensor([0, 1, 1, 0, 1])), hold_out=False).train.labels.tolist() == [0, 1, 1, 0, 1]
    assert load_dataset(Pairs(torch.tensor([[0], [1], [1]])), hold_out=False).train.labels.tolist() == [0, 1, 1]
    assert load_dataset(Pairs(torch.tensor([0.0, 1.75, 1.0])), hold_out=False).train.y.tolist() == [0, 1.75, 1], "a regression"


@pytest.mark.parametrize("targets", [None, "numbers"])
def test_tensors_that_are_no_arrays_are_refused(targets):
    for y, message in (
        (torch.empty(4, device="meta"), "y_train is a tensor on the meta device, where tensors have no values"),
        (torch.tensor([0, 1, 0, 1]).to_sparse(), "y_train is a tensor of layout torch.sparse_coo, expected a dense one"),
    ):
        with pytest.raises(InputError, match=message):
            load_dataset((np.zeros((4, 2)), y), hold_out=False, targets=targets)


def test_labels_of_long_doubles_are_numbers_that_can_be_stored():
    labels = plain_labels(np.array([0, 1, 2**52], dtype=np.longdouble), "y")
    assert (labels.dtype, labels.tolist()) == (np.float64, [0.0, 1.0, 2.0**52])


def test_train_and_test_labels_are_of_one_kind():
    x = np.zeros((4, 2), np.float32)
    for one, two in (([0, 1], ["0", "1"]), ([True, False], [1, 0])):
        with pytest.raises(InputError, match=r"y_train has \w+ and y_test has \w+, expected labels of one kind"):
            dataset_from_arrays(x, one * 2, x, two * 2)


def test_a_mark_of_missing_test_labels_is_told(tmp_path):
    x = np.zeros((4, 2), np.float32)
    with pytest.raises(InputError, match=r"y_test has 2 labels of -1 \(first: row 1\), the mark of a missing label, expected one of 0, 1"):
        dataset_from_arrays(x, [0, 1, 0, 1], x, [0, -1, 1, -1])
    assert dataset_from_arrays(x, [-1, 1, -1, 1], x, [1, -1, 1, -1]).classes == ("-1", "1"), "a class where it is among the train labels"


def test_names_of_classes_tell_the_classes_and_can_be_written():
    x, y = np.zeros((4, 2), np.float32), [0, 1, 0, 1]
    with pytest.raises(InputError, match="y_train has the class 'a' 2 times, expected every name once where labels are names"):
        dataset_from_arrays(x, ["a"] * 4, x, ["a"] * 4, classes=["a", "a"])
    assert dataset_from_arrays(x, y, x, y, classes=["crane", "crane"]).classes == ("crane", "crane"), "as two of ImageNet's"
    with pytest.raises(InputError, match=r"y_train has the class \\udc80, expected names in UTF-8"):
        dataset_from_arrays(x, ["a", "\udc80"] * 2, x, ["a", "a", "a", "a"])
