"""What a user passes in is told apart by the code that would run, wherever it is defined."""

import os
import subprocess
import sys
import textwrap
from functools import partial

import numpy as np
import pytest
import torch
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from torch import nn

from shattering.learners.network import NetworkClassifier
from shattering.testing.identity import digest
from shattering.testing.learners import ModuleFactory, Reinitialized


def defined(source: str, name: str, file: str = "user.py"):
    """What a user's module defines; its name is in no package."""
    scope: dict = {"__name__": "__main__"}
    exec(compile(textwrap.dedent(source), file, "exec"), scope)
    return scope[name]


NET = """
    from torch import nn
    WIDTH = 16
    def block(n):
        return nn.Sequential(nn.Linear(n, WIDTH), nn.ReLU())
    class Base(nn.Module):
        def scale(self, x):
            return 2 * x
    class Net(Base):
        def __init__(self, shape, n_classes):
            super().__init__()
            self.body = nn.Sequential(nn.Flatten(), block(64), nn.Linear(WIDTH, n_classes))
        def forward(self, x):
            return self.body(self.scale(x))
"""
EDITS = {
    "its own code": ("self.body(self.scale(x))", "self.body(x)"),
    "a helper": ("nn.ReLU()", "nn.Tanh()"),
    "a global value": ("WIDTH = 16", "WIDTH = 17"),
    "a base class": ("return 2 * x", "return 3 * x"),
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_an_edit_anywhere_gives_another_digest(edit):
    before, after = defined(NET, "Net"), defined(NET.replace(*edit), "Net")
    assert NET.replace(*edit) != NET
    assert digest(before) == digest(defined(NET, "Net"))
    assert digest(before) != digest(after)
    assert digest(NetworkClassifier(ModuleFactory(before))) != digest(NetworkClassifier(ModuleFactory(after)))  # type: ignore[arg-type]


def test_comments_and_places_do_not_count():
    assert digest(defined(NET, "Net")) == digest(defined("# a comment\n\n" + textwrap.dedent(NET), "Net", "elsewhere.py"))


def test_closures_defaults_and_partials_count():
    source = """
        def make(width, depth=2):
            def build(shape, n_classes):
                return (width, depth)
            return build
    """
    make = defined(source, "make")
    assert digest(make(3)) == digest(make(3))
    assert len({digest(make(3)), digest(make(4)), digest(make(3, depth=3)), digest(partial(make, 3)), digest(partial(make, 4))}) == 5


def test_estimators_count_by_class_and_parameters():
    def pipeline(C):
        return make_pipeline(StandardScaler(), SVC(C=C))

    assert digest(pipeline(1.0)) == digest(pipeline(1.0))
    assert digest(pipeline(1.0)) != digest(pipeline(2.0))
    assert digest(RandomForestClassifier(10, n_jobs=2, verbose=1)) == digest(RandomForestClassifier(10)), "neither is part of a result"
    assert digest(RandomForestClassifier(random_state=1)) != digest(RandomForestClassifier())
    assert digest(NetworkClassifier(device="cpu", compile=True)) == digest(NetworkClassifier())


def test_digests_of_estimators_are_fixed_for_good_and_do_not_know_younger_parameters(tmp_path):
    """Stored runs of objects are found by these digests: a change here orphans them."""
    assert digest(NetworkClassifier()) == "e26a6ea91372c620"
    assert digest(NetworkClassifier(label_smoothing=0.0, auxiliary=0.0, weights=None)) == "e26a6ea91372c620"
    assert (
        len({digest(NetworkClassifier(**{name: 0.1})) for name in ("label_smoothing", "auxiliary", "dropout")} | {"e26a6ea91372c620"}) == 4
    )
    for name, content in (("a.pt", b"one"), ("b.pt", b"one"), ("c.pt", b"two")):
        (tmp_path / name).write_bytes(content)
    a, b, c = (digest(NetworkClassifier(weights=str(tmp_path / name))) for name in ("a.pt", "b.pt", "c.pt"))
    assert a == b != c
    assert digest(RandomForestClassifier(10)) != digest(RandomForestClassifier(11))


def test_values():
    values = [0, 1, True, 1.0, "1", b"1", None, (1, 2), [1, 2], {"a": 1}, {1, 2}, np.arange(3), np.arange(3.0), torch.arange(3), print, len]
    assert len({digest(value) for value in values}) == len(values)
    assert digest({"a", "b", "c"}) == digest({"c", "b", "a"})
    loop: list = []
    loop.append(loop)
    assert digest(loop) == digest(loop)


def test_what_cannot_be_told_apart_is_never_the_same():
    class Unpicklable:
        __slots__ = ()

        def __reduce__(self):
            raise TypeError("no")

    assert digest(Unpicklable()) != digest(Unpicklable())


def test_a_module_to_be_initialized_anew_counts_by_its_shape_not_its_weights():
    a, b, c = nn.Sequential(nn.Linear(3, 4)), nn.Sequential(nn.Linear(3, 4)), nn.Sequential(nn.Linear(3, 5))
    assert digest(Reinitialized(a)) == digest(Reinitialized(b))
    assert digest(Reinitialized(a)) != digest(Reinitialized(c))
    assert digest(a) != digest(b), "as a constant, its weights matter"


def test_digests_are_the_same_in_another_process(tmp_path):
    (tmp_path / "user.py").write_text(textwrap.dedent(NET))
    code = "from user import Net; from shattering.testing.identity import digest; print(digest(Net), digest({'x', 'y', 'z'}))"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    out = {
        subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True).stdout for _ in range(2)
    }
    assert len(out) == 1
