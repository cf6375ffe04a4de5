"""Examples that are on both sides of a split are reported; a test split that is the train split gives no p-value."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.sparse import csr_matrix
from sklearn.neighbors import KNeighborsClassifier

from shattering import dataset_from_arrays, load_dataset, randomization_test
from shattering.compare.duplicates import Duplicates, find_duplicates
from shattering.compare.plan import LABEL_TEST
from shattering.data.dataset import Dataset
from tests.compare.fakes import fake_repeat, fake_test

QUICK = {"randomizations": ["permuted-labels"], "n_permutations": 19}


def noise(n=40):
    generator = np.random.default_rng(0)
    return generator.normal(size=(n, 3)).astype(np.float32), generator.permutation(np.arange(n) % 2)


def test_a_test_split_that_is_the_train_split_gives_no_p_value():
    """One neighbour knows every label of its own by heart, and none that is permuted apart: p would be 0.05 on noise."""
    whole = load_dataset(noise(), hold_out=False)
    for data in (whole, Dataset(whole.train, whole.train.subset(torch.arange(39, -1, -1)))):
        test = randomization_test(KNeighborsClassifier(1), data, **QUICK)
        assert test.original.test_score == 1
        assert max(test.null_scores(LABEL_TEST)) < 1
        assert (test.p_value, test.tests) == (None, {})
        assert test.summary[0].startswith("The test split has the same inputs as the train split, so there is no p-value")
        assert test.to_json()["p_value"] is None


def test_examples_on_both_sides_are_counted_and_said():
    X, y = noise()
    both = (X, y, np.vstack([X[:3], X[:3] + 1]), np.concatenate([y[:3], 1 - y[:3]]))
    test = randomization_test(KNeighborsClassifier(1), both, **QUICK)
    assert test.duplicates == Duplicates(3, 6, whole=False, folds=False)
    assert test.p_value is not None
    assert test.summary[1].startswith("3 of 6 test examples have the same input as a training example. If these are the same examples")


def test_copies_within_folds_are_counted_and_said():
    X, y = noise()
    data = load_dataset((np.vstack([X, X[:5], X[:1]]), np.concatenate([y, y[:5], y[:1]])), hold_out=False)
    assert find_duplicates(data, folds=True) == Duplicates(11, 46, whole=False, folds=True)
    said = fake_test(fake_repeat(), fake_repeat(LABEL_TEST, 0, test=0.1), duplicates=find_duplicates(data, folds=True)).summary
    assert said[1].startswith("11 of 46 examples have the same input as another example. If these are copies, p is too small")


@pytest.mark.parametrize("folds", [True, False])
def test_nothing_is_said_where_nothing_repeats(folds):
    assert find_duplicates(load_dataset(noise(), hold_out=not folds), folds) is None
    assert find_duplicates(load_dataset("digits"), folds=False) is None
    assert fake_test(fake_repeat(), duplicates=Duplicates(1, 2, False, folds)).summary == [], "without a permutation test"


WHOLE = np.random.default_rng(0).integers(0, 9, (8, 3))
NO_ZERO = csr_matrix(WHOLE.astype(float))
STORED_ZERO = csr_matrix(np.where(WHOLE, WHOLE, 1.0))
STORED_ZERO.data[WHOLE.ravel() == 0] = 0.0


@pytest.mark.parametrize(
    ("train", "test"),
    [
        (WHOLE, WHOLE.astype(float)),
        (np.where(WHOLE, WHOLE, 0.0), np.where(WHOLE, WHOLE, -0.0)),
        (pd.DataFrame(WHOLE, columns=list("abc")), pd.DataFrame(WHOLE.astype(float), columns=list("abc"))),
        (pd.DataFrame(WHOLE).assign(s="x"), pd.DataFrame(WHOLE).astype({0: float, 1: "Int64"}).assign(s="x")),
        (pd.Series(list("abcdefgh")), pd.Series(list("abcdefgh"), dtype="string")),
        (pd.Series(list("abcdefgh"), dtype=object), pd.Series(list("abcdefgh"), dtype="category")),
        (NO_ZERO, STORED_ZERO),
        (csr_matrix(WHOLE), NO_ZERO),
        ((20 * WHOLE).astype(np.uint8).reshape(8, 1, 3, 1), (20 * WHOLE / 255).astype(np.float32).reshape(8, 1, 3, 1)),
    ],
)
def test_inputs_are_the_same_by_their_values_whatever_their_types(train, test):
    """A column of whole numbers is of floats in the file that misses one; a sparse matrix may store its zeros."""
    options = {"channels": "first"} if getattr(train, "ndim", 2) == 4 else {}
    data = dataset_from_arrays(train, [0, 1] * 4, test, [0, 1] * 4, **options)
    assert find_duplicates(data, folds=False) == Duplicates(8, 8, whole=True, folds=False)
