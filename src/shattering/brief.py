"""One line for each object, whatever it holds: what a debugger, a notebook or a failed assertion shows of it."""

import reprlib
from dataclasses import MISSING, Field, fields
from typing import Any

LONGEST = 200  # characters of a line


class Brief:
    """A dataclass whose `repr` is one line of at most `LONGEST` characters: its first field, and those that are not at their defaults.

    The dataclass is made with repr=False, so that it keeps this one.

    Example:
        >>> from shattering import Randomization
        >>> Randomization(labels=0.5)
        Randomization(labels=0.5)
    """

    def __repr__(self) -> str:
        shown = [(of.name, getattr(self, of.name)) for of in fields(self) if of.repr]  # type: ignore[arg-type]  # it is a dataclass
        defaults = {of.name: _default(of) for of in fields(self)}  # type: ignore[arg-type]  # it is a dataclass
        parts = [f"{name}={_short(value)}" for i, (name, value) in enumerate(shown) if not (i and _same(value, defaults[name]))]
        return cut(f"{type(self).__name__}({', '.join(parts)})")


def cut(line: str) -> str:
    """Return the text as one line of at most `LONGEST` characters.

    Example:
        >>> len(cut("x" * 1000))
        200
    """
    line = " ".join(line.split())
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…"


def _default(of: Field) -> Any:
    return of.default_factory() if of.default_factory is not MISSING else of.default


def _same(value: Any, default: Any) -> bool:
    return value is default or (
        type(value) is type(default) and isinstance(value, (str, int, float, bool, tuple, dict)) and value == default
    )


def _short(value: Any) -> str:
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"<{tuple(value.shape)} {value.dtype}>"
    return _SHORT.repr(value)


_SHORT = reprlib.Repr()
_SHORT.maxother = _SHORT.maxstring = 80
_SHORT.maxtuple = _SHORT.maxlist = 3
