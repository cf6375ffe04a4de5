"""Workers run the code that the process of the sweep has, whatever its files say by then."""

import importlib
import io
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from shattering import InputError, randomization_test
from shattering.runs import carried
from shattering.runs.carried import pack, unpack

CONSTANT = """
import threading
from sklearn.base import BaseEstimator, ClassifierMixin

class Constant(ClassifierMixin, BaseEstimator):
    def fit(self, X, y):
        self.classes_ = sorted(set(y))
        return self

    def predict(self, X):
        return [answer()] * len(X)

def answer():
    return 0
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Write and import a module of the user's, which is forgotten afterwards."""
    monkeypatch.syspath_prepend(str(tmp_path))
    names = []

    def written(name, text):
        (tmp_path / f"{name}.py").write_text(text)
        importlib.invalidate_caches()
        names.append(name)
        return importlib.import_module(name)

    yield written
    for name in names:
        sys.modules.pop(name, None)


def packed(**given) -> bytes:
    file = io.BytesIO()
    pack(given, file)
    return file.getvalue()


def test_a_file_that_is_edited_while_its_module_is_loaded_does_not_change_the_draws(tmp_path, module):
    model = module("edited_constant", CONSTANT)
    (tmp_path / "edited_constant.py").write_text(CONSTANT.replace("return 0", "return 1"))
    arguments = {"n_train": 40, "n_test": 20, "randomizations": ["permuted-labels"], "n_permutations": 2}
    one = randomization_test(model.Constant(), "digits", **arguments)
    two = randomization_test(model.Constant(), "digits", jobs=2, **arguments)
    assert [run.error for run in two.runs] == [None] * 3
    assert list(one.records["test_score"]) == list(two.records["test_score"])
    assert list(one.records["run_id"]) == list(two.records["run_id"])


def test_a_file_that_changes_on_the_way_is_refused(tmp_path, module, monkeypatch):
    model = module("way_constant", CONSTANT)
    monkeypatch.setattr(carried, "_is_younger", lambda _: False)
    data = packed(a=model.Constant())
    assert type(unpack(data)["a"]) is model.Constant, "an unchanged module is imported, not copied"
    (tmp_path / "way_constant.py").write_text(CONSTANT.replace("return 0", "return 1"))
    with pytest.raises(InputError, match=r"module 'way_constant' .* is not what it was when the call was made"):
        unpack(data)


def test_a_changed_module_that_a_function_imports_when_it_runs_is_refused(tmp_path, module):
    module("late_helper", "def f():\n    return 1\n")
    train = module("late_train", "def train(split, seed):\n    import late_helper\n    return late_helper.f()\n").train
    data = packed(a=train)
    assert unpack(data)["a"](None, 0) == 1
    (tmp_path / "late_helper.py").write_text("def f():\n    return 22\n")
    del sys.modules["late_helper"]  # as in a worker, which imports it then
    with pytest.raises(InputError, match="imports a module when it runs, whose file changed"):
        unpack(data)


def test_what_cannot_be_copied_from_a_changed_module_is_told_with_the_remedy(module):
    train = module("locked_train", "import threading\nlock = threading.Lock()\ndef train(split, seed):\n    return lock\n").train
    with pytest.raises(
        InputError, match=r"locked_train\.py changed after Python was started, .*expected one job, or a new start of Python"
    ):
        packed(a=train)


def test_two_threads_that_pack_objects_of_one_module_do_so_in_turn(module, monkeypatch):
    """What is pickled by value is a setting of the process: the second would take it from the first, or go on with the first's."""
    model = module("in_two_threads", CONSTANT).Constant()
    dump, inside, most = carried.cloudpickle.dump, [], []

    def slow(*arguments):
        inside.append(arguments)
        most.append(len(inside))
        time.sleep(0.05)
        dump(*arguments)
        inside.pop()

    monkeypatch.setattr(carried.cloudpickle, "dump", slow)
    with ThreadPoolExecutor(2) as pool:
        files = [io.BytesIO(), io.BytesIO()]
        list(pool.map(lambda file: pack({"model": model}, file), files))
    assert most == [1, 1]
    assert [unpack(file.getvalue())["model"].fit([], [0, 1]).predict([0]) for file in files] == [[0], [0]]
