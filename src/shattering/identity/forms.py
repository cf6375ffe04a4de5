"""Describe functions in other forms (bound, partial, compiled, properties), and small objects that refer to others, by exact type."""

import contextvars
import functools
import inspect
import sys
import types
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np

from shattering.identity import code, installed
from shattering.identity.pieces import Part, Piece, Unknown


def _method(thing: types.MethodType) -> Iterator[Piece]:
    yield b"method"
    yield Part(thing.__func__)
    yield Part(thing.__self__, ".__self__")


def _partial(thing: functools.partial) -> Iterator[Piece]:
    yield b"partial"
    yield Part(thing.func, ".func")
    yield Part(thing.args, ".args")
    keywords = thing.keywords.items()
    for name, value in keywords if _takes_any_name(thing.func) else sorted(keywords):
        yield name.encode("utf-8", "surrogatepass")
        yield Part(value, f".keywords[{name!r}]")
    yield Part(vars(thing), ".__dict__")


def _takes_any_name(function: Any) -> bool:
    """Return whether a function can see the order of named arguments."""
    try:
        return any(p.kind is p.VAR_KEYWORD for p in inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return True


def _wrapper(thing: Any) -> Iterator[Piece]:
    """Describe a static or class method, or a function with a cache."""
    yield type(thing).__name__.encode()
    yield Part(thing.__wrapped__)


def _property(thing: property) -> Iterator[Piece]:
    yield b"property"
    yield from (Part(getattr(thing, name), f".{name}") for name in ("fget", "fset", "fdel"))


def _cached_property(thing: functools.cached_property) -> Iterator[Piece]:
    yield b"cached property"
    yield Part(thing.func, ".func")


def _builtin_function(thing: types.BuiltinFunctionType) -> Iterator[Piece]:
    owner: Any = thing.__self__
    if owner is None or isinstance(owner, types.ModuleType):
        yield from _of_compiled(thing.__module__ or getattr(owner, "__name__", None), thing.__qualname__)
    else:
        yield thing.__name__.encode()
        yield Part(owner, ".__self__")


def _of_compiled(module: str | None, name: str) -> Iterator[Piece]:
    """Describe compiled code by its name. A compiled module of the user's counts with its file."""
    origin = installed.origin(module)
    yield f"{origin} {module}.{name}".encode()
    if origin is None and module in sys.modules:
        yield Part(sys.modules[module])


def compiled_function(thing: Any) -> Iterator[Piece]:
    yield from _of_compiled(thing.__module__, getattr(thing, "__qualname__", thing.__name__))
    yield Part(getattr(thing, "__self__", None), ".__self__")


def _ufunc(thing: np.ufunc) -> Iterator[Piece]:
    """Describe a function of arrays: NumPy's and SciPy's by name; one made of a Python function is unknown."""
    for module in ("numpy", "scipy.special"):
        if getattr(sys.modules.get(module), thing.__name__, None) is thing:
            yield f"{installed.origin(module)} {module}.{thing.__name__}".encode()
            return
    yield Unknown("it does not say which function it was made of")


def _descriptor(thing: Any) -> Iterator[Piece]:
    yield f"{type(thing).__name__} {getattr(thing.__objclass__, '__qualname__', '')}.{thing.__name__}".encode("utf-8", "surrogatepass")


def _proxy(thing: types.MappingProxyType) -> Iterator[Piece]:
    yield b"proxy"
    yield Part(dict(thing))


def _view(thing: memoryview) -> Iterator[Piece]:
    yield f"memoryview {thing.format} {thing.shape}".encode()
    yield thing.tobytes()


def _slice(thing: Any) -> Iterator[Piece]:
    yield type(thing).__name__.encode()
    yield Part((thing.start, thing.stop, thing.step))


def _reference(thing: weakref.ref) -> Iterator[Piece]:
    yield b"reference"
    yield Part(thing())


def _variable(thing: contextvars.ContextVar) -> Iterator[Piece]:
    yield f"variable {thing.name}".encode()


OF_TYPE: dict[type, Any] = {
    types.MethodType: _method,
    types.BuiltinFunctionType: _builtin_function,
    types.CellType: code.cell,
    types.MappingProxyType: _proxy,
    functools.partial: _partial,
    functools.cached_property: _cached_property,
    type(functools.lru_cache(len)): _wrapper,
    staticmethod: _wrapper,
    classmethod: _wrapper,
    property: _property,
    np.ufunc: _ufunc,
    memoryview: _view,
    slice: _slice,
    range: _slice,
    weakref.ref: _reference,
    contextvars.ContextVar: _variable,
    **dict.fromkeys((types.WrapperDescriptorType, types.MethodDescriptorType, types.ClassMethodDescriptorType), _descriptor),
    **dict.fromkeys((types.GetSetDescriptorType, types.MemberDescriptorType), _descriptor),
}
