"""Data that are handed over count by all that is in them: equal content has an equal identity, in every process, and any edit another."""

import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.naive_bayes import GaussianNB

from shattering import load_dataset, randomization_test
from shattering.data.dataset import Dataset
from shattering.data.split import Split
from tests.conftest import make_split
from tests.programs import run_program

MAKE = """
import numpy as np
from shattering import load_dataset
from shattering.data.dataset import Dataset
X = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
data = load_dataset((X, np.array(["well", "ill"])[np.arange(40) % 2]))
"""


def table(seed=0, n=40):
    return np.random.default_rng(seed).normal(size=(n, 3)).astype(np.float32), np.arange(n) % 2


def edits() -> dict[str, Dataset]:
    """A dataset, and edits of it."""
    split = make_split(n=12)
    data = Dataset(split, make_split(n=8, seed=1))

    def of(**changes) -> Dataset:
        return replace(
            data, train=replace(split, **changes), test=replace(data.test, **{k: v for k, v in changes.items() if k == "classes"})
        )

    pixel, label, ids = split.inputs.clone(), split.labels.clone(), split.ids.clone()
    pixel[-1, -1, -1, -1] ^= 1
    label[0] = (label[0] + 1) % 4
    ids[0] = 77
    order = torch.arange(12).flip(0)
    out = {
        "itself": data,
        "a pixel": of(inputs=pixel),
        "a label": of(labels=label, true_labels=label),
        "a true label": of(true_labels=label),
    }
    out |= {
        "an id": of(ids=ids),
        "the order": replace(data, train=split.subset(order)),
        "a split more": replace(data, validation=data.test),
    }
    out |= {
        "the test split": replace(data, test=make_split(n=8, seed=2)),
        "one example less": replace(data, train=split.subset(order[:11])),
    }
    out |= {"a class's name": of(classes=("class0", "class1", "class2", "other"))}
    floats = {"inputs": split.inputs.float() / 255}
    out["the type"] = replace(data, train=replace(split, **floats), test=replace(data.test, inputs=data.test.inputs.float() / 255))
    values = {"numbers": np.array([1, 2, 3, 4]), "texts": np.array(["1", "2", "3", "4"]), "small": np.arange(4, dtype=np.int8)}
    for name, found in values.items():
        splits = (replace(one, label_values=found) for one in (split, data.test))
        out[f"label values that are {name}"] = Dataset(*splits)
    return out


def test_any_edit_gives_another_fingerprint():
    found = {name: data.fingerprint() for name, data in edits().items()}
    assert len(set(found.values())) == len(found)
    assert edits()["itself"].fingerprint() == found["itself"]


def test_names_of_classes_are_told_apart_where_one_ends():
    images, labels = make_split(n=8, n_classes=2).inputs, torch.arange(8) % 2
    names = [("a\0b", "c"), ("a", "b\0c"), ("a", "c"), ("ac", ""), ("torch.uint8", "c")]
    found = {Dataset(Split(images, labels, classes), Split(images, labels, classes)).fingerprint() for classes in names}
    assert len(found) == len(names)


def test_equal_content_has_an_equal_fingerprint_however_it_is_held():
    X, y = table()
    wide = np.zeros((40, 6), np.float32)
    wide[:, ::2] = X
    held = [(X, y), (np.asfortranarray(X), y), (wide[:, ::2], y), (torch.from_numpy(X), torch.from_numpy(y)), (X.copy(), list(y))]
    assert len({load_dataset(one).fingerprint() for one in held}) == 1
    names = np.array(["well", "ill"])[y]
    texts = [(X, names), (X, names.astype(object)), (X, pd.Series(names)), (X, pd.Series(names).astype("category"))]
    assert len({load_dataset(one).fingerprint() for one in texts}) == 1


def test_it_is_the_same_in_another_process():
    code = MAKE + "print(data.fingerprint())"
    here: dict = {}
    exec(MAKE, here)
    done = run_program([sys.executable, "-c", code], check=True)
    assert done.stdout.strip() == here["data"].fingerprint()


@pytest.mark.parametrize("edit", ["value", "label", "order", "class"])
def test_an_edit_of_data_that_are_handed_over_is_never_answered_with_an_old_result(edit, tmp_path):
    X, y = table()
    names = np.array(["well", "ill"])[y]

    def ids(X, y):
        test = randomization_test(GaussianNB(), (X, y), randomizations=["permuted-labels"], n_permutations=1, store=tmp_path)
        return {run.run_id for run in test.runs}

    first = ids(X, names)
    assert ids(X.copy(), names.copy()) == first
    if edit == "value":
        X = X.copy()
        X[-1, -1] = np.nextafter(X[-1, -1], 9)
    elif edit == "label":
        names[0] = "ill"
    elif edit == "order":
        X, names = X[::-1], names[::-1]
    else:
        names = np.array(["fine", "ill"])[y]
    assert not ids(X, names) & first
