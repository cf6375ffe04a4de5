"""`digest`: the identity of any object that a user can pass, the same in every process."""

import sys
import warnings
from typing import Any

from shattering.identity.pieces import Context
from shattering.identity.walk import Visited, Walk


class IdentityWarning(UserWarning):
    """An object cannot be told apart from others of its kind, so that no stored run is ever used again for it."""


def identify(thing: Any, name: str, context: Context = "plain") -> tuple[str, tuple[str, ...]]:
    """Compute the identity of an object, the same in every process.

    The object's values count and, recursively, the code that it refers to. The user's code counts by its instructions and
    constants, wherever it is defined: in a notebook, a script, or a module that is not installed. The things that this code refers
    to count as well: functions, base classes, closures, global values, and modules that it imports. Installed distributions count
    by name and version, Python's own modules by name. Comments, docstrings that no code reads, and the places of files do not
    count. Neither do numbers of threads, verbosity and devices of estimators.

    A part that cannot be looked into, such as an open file, changes the digest at every call, so that no old result is used again.

    Args:
        thing: any object.
        name: what it is called in the sentences.
        context: how it is going to be used, see `Context`.

    Returns:
        The first 16 hexadecimal digits of a SHA-256, and one sentence about each part that cannot be told apart.
    """
    key, visited = _digest(thing, name, context, Visited())
    return key[:16], tuple(dict.fromkeys(visited.unknown.values()))


def digest(thing: Any, name: str = "it", context: Context = "plain") -> str:
    """Return the digest of `identify`. A warning names the parts that cannot be told apart.

    Example:
        >>> from sklearn.naive_bayes import GaussianNB
        >>> digest(GaussianNB()) == digest(GaussianNB(var_smoothing=1e-9)), digest(GaussianNB()) == digest(GaussianNB(var_smoothing=1e-3))
        (True, False)
    """
    key, unknown = identify(thing, name, context)
    tell(unknown)
    return key


def reached_modules(thing: Any) -> tuple[set[str], set[str]]:
    """Return the names of the user's modules whose code an object reaches, and of those that its functions import when they run."""
    _, visited = _digest(thing, "it", "cloned", Visited())
    return visited.modules, visited.imported


def tell(unknown: tuple[str, ...]) -> tuple[str, ...]:
    """Warn about parts that cannot be told apart, at the line of code that called this library. Returns the whole sentences."""
    frame, level = sys._getframe(1), 2
    while frame.f_back and str(frame.f_globals.get("__name__")).partition(".")[0] in ("shattering", "contextlib"):
        frame, level = frame.f_back, level + 1
    sentences = tuple(f"{part}, so no stored run is used again for it." for part in unknown)
    for sentence in sentences:
        warnings.warn(sentence, IdentityWarning, stacklevel=level)
    return sentences


def _digest(thing: Any, name: str, context: Context, visited: Visited) -> tuple[str, Visited]:
    key = Walk(visited=visited).digest(thing, name, context).hex()
    if visited.reads_docs:
        key = Walk(docs=True, visited=visited).digest(thing, name, context).hex()
    return key, visited
