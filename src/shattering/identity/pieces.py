"""The parts of an object, for `Walk`: its own bytes, and the objects that it refers to."""

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable
from typing import Any, Literal, NamedTuple

NEVER_COUNTED = ("n_jobs", "verbose")  # parameters of anyone's estimators that do not change what is learned
Context = Literal["plain", "cloned", "trained", "drawn"]
"""How an object is going to be used.

- plain: all of it counts.
- cloned: scikit-learn will clone it, so of an estimator its parameters alone count.
- trained: of a torch module, which will be trained, all counts but whether it is in training mode.
- drawn: as trained, but the values of trainable parameters do not count either: they will be drawn anew.
"""


class Part(NamedTuple):
    """An object that another one refers to. label: the expression in code, after the other object's name."""

    thing: Any
    label: str = ""
    context: Context = "plain"


class Unordered(NamedTuple):
    """Objects whose order does not count."""

    things: Iterable[Any]
    context: Context = "plain"


class ByValue(NamedTuple):
    """An object whose values count, but not the other objects that share it."""

    thing: Any
    label: str = ""


class Memory(NamedTuple):
    """The memory of an array, which another array may share.

    key: of the block of memory. holder: keeps it alive. low, high: first address, and the one behind the last.
    """

    key: Hashable
    holder: Any
    low: int
    high: int


class Unknown(NamedTuple):
    """An object that cannot be examined, and so differs at every call. why: a clause, for the user."""

    why: str


Piece = bytes | memoryview | Part | Unordered | ByValue | Memory | Unknown


class Described(ABC):
    """Base class of this library's objects that describe themselves."""

    @abstractmethod
    def described(self) -> Part:
        """Return the pieces that stand for the object."""
