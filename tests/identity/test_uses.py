"""Using an object, or looking at it, does not change its identity, though Python and torch write notes into classes and modules."""

import abc
import contextlib
import copy
import dataclasses
import enum
import functools
import inspect
import pickle
import sys
import types
import typing
import warnings

import joblib
import pytest
import torch
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from torch import nn

from shattering.identity.digest import digest

SOURCE = """
import warnings
def helper(x):
    warnings.warn("told once")
    return x
def by_any_name(x):
    return eval("helper(x)")
"""


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, x):
        return torch.relu(self.layer(x))


class Model(ClassifierMixin, BaseEstimator):
    def __init__(self, alpha=1):
        self.alpha = alpha

    def fit(self, X, y):
        return self

    def predict(self, X):
        return [self.alpha] * len(X)


class Colour(enum.Flag):
    RED = 1
    GREEN = 2
    BLUE = 4


@dataclasses.dataclass
class Point:
    x: int = 1


class Pair(typing.NamedTuple):
    x: int = 1


@typing.runtime_checkable
class Fits(typing.Protocol):
    def fit(self, X, y): ...


class Base(abc.ABC):
    @abc.abstractmethod
    def go(self): ...


class Derived(Base):
    def go(self):
        return 1


T = typing.TypeVar("T")


class Box(typing.Generic[T]):
    def get(self, x: T) -> T:
        return x


class Slots:
    __slots__ = ("x",)

    def __init__(self):
        self.x = 1


class ByType:
    @functools.singledispatchmethod
    def go(self, x):
        return 1

    @go.register
    def _(self, x: int):
        return 2


@functools.lru_cache
def kept(x):
    return x


@functools.singledispatch
def by_type(x):
    return x


@by_type.register
def _(x: int):
    return 1


def of_colours(x):
    return Colour.RED, x


def module_of_a_user():
    module = types.ModuleType("module_of_a_user")
    sys.modules[module.__name__] = module
    exec(SOURCE, vars(module))
    return module


def of_each(use):
    def all_of(things):
        for thing in things.values():
            with contextlib.suppress(Exception):  # not every use is for every kind of object
                use(thing)

    return all_of


def combined(things):
    assert len(list(things["colour"](7))) == 3
    assert things["colour"](5) == Colour.RED | Colour.BLUE


def called(things):
    assert (kept(1), kept(2), by_type(3), by_type("a"), things["by type"].go(1), things["by type"].go("a")) == (1, 2, 1, "a", 2, 1)
    for _ in range(3000):  # Python rewrites the instructions of code that is executed often
        things["of colours"](1)
        Point(1)


def warned(things):
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("default")
        things["by any name"](1)
    assert told


USES = {
    "copy": of_each(copy.copy),
    "deepcopy": of_each(copy.deepcopy),
    "pickle": of_each(pickle.dumps),
    "an old pickle": of_each(lambda thing: pickle.dumps(thing, 2)),
    "joblib.hash": of_each(joblib.hash),
    "annotations": of_each(lambda thing: (thing.__annotations__, type(thing).__annotations__)),
    "annotations of classes": of_each(lambda thing: type(thing).__annotations__),
    "get_type_hints": of_each(typing.get_type_hints),
    "signature": of_each(inspect.signature),
    "members": of_each(inspect.getmembers),
    "repr": of_each(repr),
    "hash": of_each(hash),
    "isinstance": of_each(lambda thing: (isinstance(thing, Fits), isinstance(thing, Base))),
    "clone": lambda things: clone(things["model"]).fit([[0]], [0]).get_metadata_routing(),
    "script": lambda things: torch.jit.script(things["net"]),
    "export": lambda things: torch.export.export(things["net"], (torch.zeros(2, 4),)),
    "train": lambda things: things["net"].eval().train().zero_grad(),
    "combined flags": combined,
    "calls": called,
    "a warning": warned,
}


@pytest.mark.filterwarnings("ignore")
def test_no_use_changes_an_identity():
    by_any_name = module_of_a_user().by_any_name
    things = {"net": Net(), "network": Net, "model": Model(), "model class": Model, "colour": Colour, "point": Point(), "pair": Pair()}
    things |= {"fits": Fits, "derived": Derived(), "box": Box(), "box of int": Box[int], "slots": Slots(), "by type": ByType()}
    things |= {"kept": kept, "dispatch": by_type, "of colours": of_colours, "by any name": by_any_name}
    before = {name: digest(thing, name) for name, thing in things.items()}
    for use, apply in USES.items():
        apply(things)
        changed = [name for name, thing in things.items() if digest(thing, name) != before[name]]
        assert not changed, f"{use} changes the identity of {changed}"
    assert "__slotnames__" in vars(Model)
    assert (7 in Colour._value2member_map_, "__warningregistry__" in sys.modules["module_of_a_user"].__dict__) == (True, True)
    del sys.modules["module_of_a_user"]
