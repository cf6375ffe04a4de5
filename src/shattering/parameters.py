"""The one table of constraints: the type of a field says which values it takes, and how a text is read as one.

Types are annotations: of a dataclass's fields, or of an estimator's constructor. `Annotated[int, Range(1)]` narrows one to a range;
a text in it says what its values are: `Annotated[float, "a probability", Range(0, 1)]`.
"""

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from numbers import Integral, Real
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from shattering.errors import InputError, nearest, shown, unknown

_WHOLE = re.compile(r"[+-]?[0-9]{1,300}")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_EXACT = 2**53  # below which a float holds every whole number
_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a text", NoneType: "none", Path: "a path"}


class Limit:
    """A condition that narrows a type, in `Annotated`: the values that are `in` it. Its text describes them."""

    def __contains__(self, value: object) -> bool:
        raise NotImplementedError


@dataclass(frozen=True)
class Range(Limit):
    """Numbers from low to high; with `above`, low itself is not one of them."""

    low: float
    high: float = math.inf
    above: bool = False

    def __contains__(self, value: object) -> bool:
        number: Any = value  # not float(value), which overflows for a large whole number
        return bool((number > self.low if self.above else number >= self.low) and number <= self.high)

    def __str__(self) -> str:
        if self.above:
            return f"above {self.low:g}" + (f", at most {self.high:g}" if self.high < math.inf else "")
        return f"of at least {self.low:g}" if self.high == math.inf else f"in {self.low:g}…{self.high:g}"


Count = Annotated[int, Range(1)]
Natural = Annotated[int, Range(0)]
Share = Annotated[float, Range(0, 1)]
NotNegative = Annotated[float, Range(0)]
Positive = Annotated[float, Range(0, above=True)]


def is_of(value: object, hint: Any) -> bool:
    """Return whether a value is of a type. A boolean is not a number; a whole number is a number; NaN and infinity are not."""
    return tester(hint)(value)


Tester = Callable[[Any], bool]


@cache
def tester(hint: Any) -> Tester:
    """Return the function that says whether a value is of a type, as `is_of` does; made once, as types are slow to look at."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Annotated:
        of, limits = tester(parts[0]), [part for part in parts[1:] if isinstance(part, Limit)]
        return lambda value: of(value) and all(value in limit for limit in limits)
    if origin in (Union, UnionType):
        testers = [tester(part) for part in parts]
        return lambda value: any(of(value) for of in testers)
    if origin is Literal:
        return lambda value: any(type(value) is type(choice) and value == choice for choice in parts)
    if hint in (Any, object):
        return lambda _: True
    if hint in (None, NoneType):
        return lambda value: value is None
    if hint in (int, float):
        return _is_whole if hint is int else _is_number
    if hint is bool:
        return lambda value: isinstance(value, bool) or type(value).__name__ == "bool"  # NumPy's is no bool
    return _container(origin or hint, parts)


def _is_whole(value: Any) -> bool:
    return type(value) is int or (isinstance(value, Integral) and not isinstance(value, bool))


def _is_number(value: Any) -> bool:
    if type(value) is float:
        return math.isfinite(value)
    return _is_whole(value) or (isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value))


def _container(kind: Any, parts: tuple) -> Tester:
    if kind is Callable or parts == ():
        return callable if kind is Callable else lambda value: isinstance(value, kind)
    testers = [tester(part) for part in parts if part is not ...]
    if issubclass(kind, Mapping):
        key, item = testers
        return lambda value: isinstance(value, Mapping) and all(key(k) and item(v) for k, v in value.items())
    if issubclass(kind, tuple) and parts[-1] is not ...:
        return lambda value: (
            isinstance(value, (list, tuple)) and len(value) == len(testers) and all(of(v) for of, v in zip(testers, value, strict=True))
        )
    one = testers[0]
    return lambda value: isinstance(value, (list, tuple)) and all(map(one, value))


def describe(hint: Any) -> str:
    """Describe the values of a type, for a sentence: "a whole number of at least 1, or none"."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Annotated:
        word = next((part for part in parts[1:] if isinstance(part, str)), "" if parts[0] is object else describe(parts[0]))
        return " ".join([word, *(str(limit) for limit in parts[1:] if isinstance(limit, Limit))]).strip()
    if origin in (Union, UnionType):
        words = [word for part in parts if part is not NoneType for word in _alternatives(part)]
        words += ["none"] if NoneType in parts else []
        return f"{', '.join(words[:-1])} or {words[-1]}" if len(words) > 1 else words[0]
    if origin is Literal:
        return " or ".join(_alternatives(hint))
    kind = origin or hint
    if kind in _WORDS:
        return _WORDS[kind]
    if kind is Callable:
        return "a function"
    if isinstance(kind, type) and issubclass(kind, Mapping):
        return "names with their values"
    if isinstance(kind, type) and issubclass(kind, Sequence):
        return f"{len(parts)} values" if issubclass(kind, tuple) and parts and parts[-1] is not ... else "a list"
    return f"a {getattr(kind, '__name__', kind)}"


def _alternatives(hint: Any) -> list[str]:
    return [repr(choice) for choice in get_args(hint)] if get_origin(hint) is Literal else [describe(hint)]


def check(name: str, value: object, hint: Any) -> None:
    """Raise InputError if the value of the field of this name is not of its type."""
    if not is_of(value, hint):
        raise unlike(name, value, hint)


def check_fields(owner: Any) -> None:
    """Raise InputError for the first field of a dataclass, or parameter of an estimator, whose value is not of its type."""
    types = field_types(type(owner) if is_dataclass(owner) else type(owner).__init__)
    for name in [field.name for field in fields(owner)] if is_dataclass(owner) else types:
        check(name, getattr(owner, name), types[name])


def check_arguments(function: Callable, values: Mapping[str, Any], *names: str) -> None:
    """Raise InputError for the first of these arguments whose value is not of the type that the function's signature says."""
    for name in names:
        check(name, values[name], field_types(function)[name])


def unlike(name: str, value: object, hint: Any) -> InputError:
    """Make the `InputError` for a value that is not of the type of its field."""
    parts = [part for part in (get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)) if part is not NoneType]
    choices = [choice for part in parts if get_origin(part) is Literal for choice in get_args(part)]
    if choices and (all(get_origin(part) is Literal for part in parts) or nearest(str(value), choices)):
        others = [part for part in parts if get_origin(part) is not Literal]
        return unknown(name, value, choices, " or ".join(map(describe, others)))
    return InputError(f"{name} is {shown(value)}, expected {describe(hint)}")


@cache
def field_types(owner: type | Callable) -> dict[str, Any]:
    """Return the types of a dataclass's fields, or of the parameters of a function."""
    hints = get_type_hints(owner, include_extras=True)
    return {field.name: hints[field.name] for field in fields(owner)} if is_dataclass(owner) else hints


def read(text: str, hint: Any, name: str) -> Any:
    """Return the value of a type that a text stands for: the first of its `readings` that is of the type.

    Raises InputError, which says `name`, if none is.
    """
    for value in readings(text):
        if is_of(value, hint):
            return value
    if not text.strip() and is_of("text", hint):
        raise InputError(f"{name} is {shown(text)}, expected {describe(hint).replace('a text', 'a text that is not blank')}")
    raise unlike(name, text, hint)


def readings(text: str) -> Iterator[object]:
    """Yield the values that a text may stand for, the most specific first: none, true, false, a number, JSON, the text itself."""
    bare = text.strip()
    word = bare.lower()
    if not bare:
        return
    if word in ("none", "null"):
        yield None
    if word in ("true", "false"):
        yield word == "true"
    yield from _numbers(bare)
    if bare[0] in '[{"':
        with suppress(ValueError):
            yield read_json(bare)
    yield text


def _numbers(text: str) -> Iterator[int | float]:
    """Yield a number as it is written, then as the other kind: 3 is also 3.0, and 1e3 is also 1000."""
    if _WHOLE.fullmatch(text):
        yield int(text)
        yield float(text)
    elif _NUMBER.fullmatch(text):
        value = float(text)
        if math.isfinite(value):
            yield value
        if abs(value) < _EXACT and value.is_integer():
            yield int(value)


def read_json(text: str) -> Any:
    """Read JSON in which no key stands twice. Raises ValueError for anything else; NaN and infinities are no JSON."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in pairs]
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            raise ValueError(f"{twice[0]!r} stands twice")
        return dict(pairs)

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is no JSON")

    return json.loads(text, object_pairs_hook=once, parse_constant=refuse)


def split_list(text: str, name: str) -> list[str]:
    """Split a comma list; commas in brackets, braces and the quotes of a quoted part do not separate.

    Raises InputError for an empty part.
    """
    parts, depth, quoted, escaped = [""], 0, False, False
    for character in text:
        if quoted:
            quoted, escaped = character != '"' or escaped, character == "\\" and not escaped
        elif character == '"' and (depth or not parts[-1].strip()):
            quoted = True
        elif character == "," and not depth:
            parts.append("")
            continue
        depth += 0 if quoted else (character in "[{") - (character in "]}")
        parts[-1] += character
    if not all(part.strip() for part in parts):
        raise InputError(f"{name} is {shown(text)}, expected a value, or several with a comma between two")
    return [part.strip() for part in parts]


def check_once(name: str, values: Sequence[object]) -> None:
    """Raise InputError for a value that stands twice in a list. True and 1 are two values, 1 and 1.0 one."""
    for i, value in enumerate(values):
        if any(value == other and isinstance(value, bool) == isinstance(other, bool) for other in values[:i]):
            raise InputError(f"{name} has {shown(value)} twice, expected each value once")
