"""Values of an estimator's parameters that were typed as texts: each is read by the type of its parameter."""

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from sklearn.utils._param_validation import Hidden, Interval, RealNotInt, make_constraint  # private: there is no public form

from shattering.errors import InputError, unknown
from shattering.learners.others import is_skorch
from shattering.parameters import Limit, check, field_types, read

_READABLE = (int, float, bool, str, None, NoneType, list, dict, tuple, set, object, Any)  # and containers of these


class Typed(str):
    """A parameter's value as it was typed, on the command line or in a file: `settled` reads it."""


class Constraints(Limit):
    """scikit-learn's constraints of a parameter: any of them may hold."""

    def __init__(self, given: Sequence[Any]):
        self._words = [_word(one) for one in given if not isinstance(one, Hidden)]
        self._shown = [make_constraint(one) for one in given if not isinstance(one, Hidden)]
        self._hidden = [make_constraint(one) for one in given if isinstance(one, Hidden)]
        self._boolean = any(one in ("boolean", "verbose", bool) for one in given if isinstance(one, (str, type)))

    def __contains__(self, value: object) -> bool:
        if isinstance(value, bool) and not self._boolean:
            return False  # an interval of whole numbers would take it as 0 or 1
        return any(one.is_satisfied_by(value) for one in (*self._shown, *self._hidden))

    def __str__(self) -> str:
        return " or ".join(self._words)


def _word(constraint: Any) -> str:
    words = {None: "none", "boolean": "true or false", "verbose": "true, false or a whole number", int: "a whole number", str: "a text"}
    simple = constraint if isinstance(constraint, (str, type, NoneType)) else ""
    return words.get(simple) or str(make_constraint(constraint))


def settled(estimator: Any, params: Mapping[str, object], of: str) -> dict[str, object]:
    """Return the parameters, with each `Typed` value as one of the type of the estimator's parameter.

    of: what the estimator is called. Raises InputError for a name that is no parameter, and for a text that stands for no such value.
    """
    known = estimator.get_params()
    out: dict[str, object] = {}
    for name, value in params.items():
        name = name if name in known else name.replace("-", "_")
        if name not in known and not _is_passed_on(estimator, name):
            raise unknown(f"parameter of {of}:", name, known)
        hint = parameter_type(estimator, name)
        if isinstance(value, Typed):
            out[name] = _of_default(estimator, name, str(value)) if hint is object else read(str(value), hint, name)
        else:
            out[name] = value
            if get_origin(hint) is Annotated:
                check(name, value, hint)
    return out


def _of_default(estimator: Any, name: str, text: str) -> object:
    """Return the value that a text stands for where a default alone tells of the parameter's type.

    Beside a text as default, it is a text where it is that one, such as "none", or a number with zeros in front. Beside a tuple it is one.
    """
    default = estimator.get_params().get(name)
    if isinstance(default, str) and (text.strip() == default or re.fullmatch(r"0\d+", text.strip())):
        return text.strip()
    value = read(text, object, name)
    if isinstance(default, tuple) and isinstance(value, (str, list)):
        if isinstance(value, str):
            raise InputError(f'{name} is {value!r}, and by default a tuple, expected JSON: {name}=\'["a", "b"]\'')
        return tuple(value)
    return value


def _is_passed_on(estimator: Any, name: str) -> bool:
    """Return whether it is a parameter that a net of skorch's, alone or within, hands on and does not list, as module__hidden."""
    known, words = {"": estimator, **estimator.get_params()}, name.split("__")
    places = [("__".join(words[:i]), "__".join(words[: i + 1])) for i in range(len(words) - 1)]
    return any(is_skorch(known.get(place)) and head in known for place, head in places)


def parameter_type(estimator: Any, name: str) -> Any:
    """Return the type of a parameter, nested ones too.

    It comes from scikit-learn's constraints, from the annotation of the constructor, or from a default of true or false; else it is any."""
    head, _, last = name.rpartition("__")
    owner = estimator.get_params().get(head) if head else estimator
    if not hasattr(owner, "get_params") or isinstance(owner, type):
        return object
    constraints = getattr(owner, "_parameter_constraints", {}).get(last)  # private, as above
    if isinstance(constraints, list):
        return Annotated[object, Constraints(constraints)]
    try:
        hint = field_types(type(owner).__init__).get(last)
    except (NameError, TypeError, AttributeError):
        hint = None  # an annotation that only a type checker understands
    if hint is not None and _is_readable(hint):
        return hint
    default = inspect.signature(type(owner)).parameters.get(last)
    return bool if default is not None and isinstance(default.default, bool) else object


def tells_kinds(estimator: Any, name: str) -> bool:
    """Return whether a parameter takes 1 and 1.0 as different values: max_features of a forest is one feature, or all of them."""
    constraints = getattr(estimator, "_parameter_constraints", {}).get(name, ())  # private, as above
    return {Integral, RealNotInt} <= {one.type for one in constraints if isinstance(one, Interval)}


def _is_readable(hint: Any) -> bool:
    """Return whether every value of a type is one that a text can stand for, or a function."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Literal or hint is Callable or origin is Callable:
        return True
    if origin is Annotated:
        return _is_readable(parts[0])
    if origin in (Union, UnionType):
        return str in parts or all(map(_is_readable, parts))
    if origin in (list, tuple, dict, Sequence, Mapping):
        return all(_is_readable(part) for part in parts if part is not ...)
    return hint in _READABLE
