from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.sparse import csr_matrix
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import RandomForestClassifier
from sklearn.neighbors import KNeighborsClassifier

from shattering import InputError, dataset_from_arrays
from shattering.experiments.stability import LABELS, _replaced, make_result, replace_one
from shattering.runs.execute import run
from shattering.runs.store import Store
from shattering.runs.study import StudySpec
from tests.conftest import make_split


def test_replacing_one_example_of_a_memorizer_and_of_a_constant():
    train, fresh, test = (make_split(n=n, seed=seed) for n, seed in ((40, 0), (10, 1), (60, 2)))
    memorizer = replace_one(KNeighborsClassifier(1), train, fresh, test, 10, seed=0)
    assert memorizer.uniform == 1
    assert memorizer.mean_own > 0.4, "random images tell nothing of each other's labels, of which there are four"
    assert len(set(memorizer.replaced)) == 10
    low, high = memorizer.own_interval
    assert low < memorizer.mean_own <= high
    constant = replace_one(DummyClassifier(strategy="constant", constant=1), train, fresh, test, 10)
    assert (constant.uniform, constant.mean_changed, constant.mean_own) == (0, 0, 0)
    assert constant.changed_interval == (0, 0)


def test_replacing_is_of_one_example_only():
    train, fresh, test = (make_split(n=n, seed=seed) for n, seed in ((12, 0), (3, 1), (5, 2)))
    seen = []

    class Recorder(DummyClassifier):
        def fit(self, X, y):
            seen.append((X.copy(), y.copy()))
            return super().fit(X, y)

    found = replace_one(Recorder(), train, fresh, test, 3)
    (X, y), *others = seen
    assert len(others) == 3
    for k, (row, (X2, y2)) in enumerate(zip(found.replaced, others, strict=True)):
        differs = (X != X2).any(1)
        assert differs.nonzero()[0].tolist() == [row]
        assert (y2[row], *y2[~differs]) == (int(fresh.labels[k]), *y[~differs])
    assert torch.equal(train.inputs, make_split(n=12, seed=0).inputs)


@pytest.mark.parametrize(
    "given",
    [
        lambda X: pd.DataFrame(X, columns=["a", "b"]).assign(c=pd.Categorical(list("xyz") * 8)),
        csr_matrix,
        lambda X: [f"{first:.3f} {second:.3f}" for first, second in X],
        lambda X: X.astype(str).astype(object),
    ],
)
def test_rows_of_any_type_are_replaced(given):
    X, y = np.random.default_rng(0).normal(size=(24, 2)), [0, 1] * 12
    rows = given(X)
    part = rows.iloc if isinstance(rows, pd.DataFrame) else rows
    data = dataset_from_arrays(part[:16], y[:16], part[16:], y[16:])
    train, fresh = data.train, data.test
    after = _replaced(train, 3, fresh, 5)
    expected = [fresh if row == 3 else train for row in range(16)]
    assert after.inputs.keys() == [split.inputs.keys()[5 if split is fresh else row] for row, split in enumerate(expected)]
    assert type(after.inputs.content) is type(train.inputs.content)
    assert after.ids.tolist() == [0, 1, 2, 5, *range(4, 16)]
    dummy = DummyClassifier(strategy="constant", constant=1)
    assert replace_one(dummy, train, fresh, fresh, 4).uniform == 0
    if isinstance(rows, csr_matrix):
        assert replace_one(KNeighborsClassifier(1), train, fresh, fresh, 4).mean_own > 0


def test_no_more_examples_are_replaced_than_there_are():
    split = make_split(n=12)
    with pytest.raises(InputError, match="n_replaced"):
        replace_one(DummyClassifier(), split, split, split, 13)
    with pytest.raises(InputError, match=r"n_replaced is 2\.5, expected a whole number of at least 1"):
        replace_one(DummyClassifier(), split, split, split, 2.5)


def test_a_module_is_no_model():
    split = make_split(n=12)
    with pytest.raises(InputError, match=r"model is Linear.*, expected a scikit-learn classifier"):
        replace_one(torch.nn.Linear(4, 2), split, split, split, 2)


def test_every_training_of_a_forest_has_the_same_randomness():
    train, fresh, test = (make_split(n=n, seed=seed) for n, seed in ((30, 0), (3, 1), (40, 2)))
    found = replace_one(RandomForestClassifier(3), train, train.subset(torch.tensor([0, 1, 2])), test, 3)
    assert (
        found.changed
        == replace_one(RandomForestClassifier(3, random_state=0), train, train.subset(torch.tensor([0, 1, 2])), test, 3).changed
    )
    itself = train.subset(torch.tensor([0]))
    rest = train.subset(torch.tensor([0] * 30))
    assert replace_one(RandomForestClassifier(3), rest, itself, test, 1).changed == (0.0,), "an example is replaced by itself"
    assert fresh.classes == train.classes


def test_what_cannot_be_replaced_is_refused():
    train, test = make_split(n=20), make_split(n=20, seed=1)
    model = KNeighborsClassifier(1)
    with pytest.raises(InputError, match="fresh is None, expected a Split"):
        replace_one(model, train, None, test, 2)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"train is .*, expected a Split"):
        replace_one(model, (train.X, train.y), test, test, 2)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="test has 4 classes and inputs of shape"):
        replace_one(model, train, test, replace(test, inputs=test.inputs[:, :, :2]), 2)
    with pytest.raises(InputError, match="fresh has 4 classes"):
        replace_one(model, train, replace(test, classes=tuple(reversed(train.classes or "dcba"))), test, 2)


@pytest.mark.parametrize(
    ("model", "params", "claims"),
    [("nearest-neighbors", {"n_neighbors": 1}, 2), ("nearest-neighbors", {"n_neighbors": 15}, 0), ("kernel", {"ridge": 0.0}, 2)],
)
def test_claims_are_of_models_that_were_seen_to_interpolate(model, params, claims, tmp_path):
    common = {"dataset": "digits", "n": 30, "n_test": 20, "n_replaced": 2, "model": model, "params": params}
    store, title = Store(tmp_path), f"{model} {params}"
    records = {(title, kind): run(StudySpec("stability", {**common, "labels": p}), store) for kind, p in LABELS.items()}
    found = make_result("stability", "capacity", records)
    fitted = [record.result["labels_fitted"] for record in records.values()]
    assert (min(fitted) == 1) == bool(claims)
    assert len(found.claims) == claims
    assert (f"{title} fits {fitted[1]:.1%} of its random labels" in found.tables[0].note) == (not claims)
