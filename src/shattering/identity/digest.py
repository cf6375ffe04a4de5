"""`digest`: the identity of any object that a user can pass, the same in every process."""

import sys
import warnings
from typing import Any

from shattering.identity.pieces import Context
from shattering.identity.walk import Visited, Walk


class IdentityWarning(UserWarning):
    """An object cannot be told apart from others of its kind, so that no stored run is ever used again for it."""


def identify(thing: Any, name: str, context: Context = "plain") -> tuple[str, tuple[str, ...]]:
    """(the first 16 hexadecimal digits of a SHA-256 over an object, a sentence about each part of it that cannot be told apart).

    What counts are its values and, recursively, the code it refers to; it is the same in every process. Code of the user's counts
    by its instructions and constants, wherever it is defined: a notebook, a script, a module that is not installed. So does what
    it refers to: functions, base classes, closures, global values, modules that it imports. Installed distributions count by name
    and version, Python's own modules by name. Comments, docstrings that no code reads, and where a file lies do not count.

    A part that cannot be looked into, such as an open file, makes the digest another one at every call: no old result is then
    used again. Numbers of threads, verbosity and devices of estimators do not count.

    Args:
        thing: any object.
        name: what it is called in the sentences.
        context: how it is going to be used, see `Context`.
    """
    key, found = _digest(thing, name, context, Visited())
    return key[:16], tuple(dict.fromkeys(found.unknown.values()))


def digest(thing: Any, name: str = "it", context: Context = "plain") -> str:
    """Return the same digest; a warning names the parts that cannot be told apart."""
    found, unknown = identify(thing, name, context)
    tell(unknown)
    return found


def reached_modules(thing: Any) -> tuple[set[str], set[str]]:
    """(the user's modules whose code an object reaches, those of them that its functions import when they run)."""
    _, found = _digest(thing, "it", "cloned", Visited())
    return found.modules, found.imported


def tell(unknown: tuple[str, ...]) -> tuple[str, ...]:
    """Warn the user of parts that cannot be told apart, at the line of code that called this library; the sentences, whole."""
    frame, level = sys._getframe(1), 2
    while frame.f_back and str(frame.f_globals.get("__name__")).partition(".")[0] in ("shattering", "contextlib"):
        frame, level = frame.f_back, level + 1
    sentences = tuple(f"{part}, so no stored run is used again for it." for part in unknown)
    for sentence in sentences:
        warnings.warn(sentence, IdentityWarning, stacklevel=level)
    return sentences


def _digest(thing: Any, name: str, context: Context, found: Visited) -> tuple[str, Visited]:
    key = Walk(found=found).digest(thing, name, context).hex()
    if found.reads_docs:
        key = Walk(docs=True, found=found).digest(thing, name, context).hex()
    return key, found
