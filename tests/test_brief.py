"""What the library returns is one line of at most 200 characters in a debugger, a notebook or a failed assertion."""

from inspect import isclass

import pytest
from sklearn.base import BaseEstimator
from sklearn.naive_bayes import GaussianNB

import shattering
from shattering import Randomization, RunSpec, Store, load_dataset, randomization_test, run
from shattering.brief import LONGEST
from shattering.experiments.reproduce import make_result
from shattering.experiments.scales import DEMO


@pytest.fixture(scope="module")
def objects(tmp_path_factory):
    """Objects of every kind that calls of the public interface return."""
    store, data = Store(tmp_path_factory.mktemp("a folder with a long name " * 4)), load_dataset("digits", n_train=60, n_test=40)
    params = {"network": "mlp-1x8", "epochs": 1, "batch_size": 32, "learning_rate": 0.0123456789, "weight_decay": 1e-5, "momentum": 0.95}
    done = run(RunSpec("digits", 60, 40, Randomization(0.5, "gaussian", label_mode="flip"), params=params, data_seed=123456789), store)
    test = randomization_test(GaussianNB(), data, n_permutations=5)
    tested = [test.label_test, test.zero_refit, test.original, test.scrambling, *test.permutations("permuted-labels"), *test.memorization]
    result = make_result("theorem1", DEMO, store)
    return [data, data.train, store, done, done.spec, done.model(), test, *tested, result, *result.tables, *result.claims, *test.answer]


def test_each_is_one_line(objects):
    for value in [*objects, *(getattr(shattering, name) for name in shattering.__all__)]:
        if not isinstance(value, dict | BaseEstimator) and not isclass(value):  # scikit-learn shows an estimator in its own way
            assert "\n" not in repr(value)
            assert len(repr(value)) <= LONGEST, repr(value)


def test_what_they_say(objects):
    data, train, store, done, spec, _, test, *_ = objects
    assert repr(train) == "<Split: 60 images 1 x 8 x 8, 10 classes>"
    assert repr(data) == "<Dataset digits: train <Split: 60 images 1 x 8 x 8, 10 classes>, test <Split: 40 images 1 x 8 x 8, 10 classes>>"
    assert repr(done).startswith(f"<Run {done.folder.name[:60]}")
    assert repr(spec).startswith(
        "RunSpec(dataset='digits', n_train=60, n_test=40, randomization=Randomization(labels=0.5, pixels='gaussian'"
    )
    assert repr(test).startswith("<RandomizationTest: GaussianNB on digits, n = 60, ")
    assert eval(repr(spec.randomization)) == spec.randomization
    assert eval(repr(store)).where == store.where
