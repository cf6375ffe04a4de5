"""`pieces`: the parts of any object, by its type: values, code, classes, estimators, torch modules, and everything else."""

import copyreg
import enum
import functools
import inspect
import logging
import random
import sys
import threading
import types
import warnings
import weakref
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from shattering.identity import code, installed, values
from shattering.identity.forms import OF_TYPE, compiled_function
from shattering.identity.models import estimator, is_torch, label, torch_module
from shattering.identity.pieces import Context, Described, Part, Piece, Unknown

_NOT_OF_CLASS = (
    *("__dict__", "__weakref__", "__module__", "__doc__", "__qualname__", "_abc_impl"),
    *("__firstlineno__", "__static_attributes__", "__annotations_cache__"),
    "__slotnames__",  # Python adds it when an instance is copied or pickled
    "_value2member_map_",  # it gains the combinations of a flag when they are first used
    *(
        "__pydantic_core_schema__",
        "__pydantic_validator__",
        "__pydantic_serializer__",
    ),  # pydantic makes them from fields and validators, which count
)
_NOT_OF_STATE = ("__doc__", "__module__")  # functools.wraps copies them
_BUILTIN = (dict, list, tuple, set, frozenset, bytearray, int, float, complex, str, bytes)
_NO_MATTER = (  # objects that cannot change a result, and caches
    *(type(threading.Lock()), type(threading.RLock()), threading.Condition, threading.Event),
    *(logging.Logger, logging.LoggerAdapter, logging.Handler),
    *(weakref.WeakKeyDictionary, weakref.WeakValueDictionary, weakref.WeakSet),
)
_COMPILED = ("cython_function_or_method", "fused_cython_function", "nb_func", "nb_method")  # functions of Cython and nanobind
_MADE_BY_PYTHON = 1 << 9  # flag of a class made by a class statement, not by a compiled library


def underlying(thing: Any) -> Any:
    """Return the module that torch.compile was given, as compiling only changes the speed; any other object itself."""
    if type(thing) is types.FunctionType:
        return vars(thing).get("_torchdynamo_orig_callable", thing)  # private: torch.compile keeps the original under no other name
    return vars(thing)["_modules"]["_orig_mod"] if is_torch(thing, "OptimizedModule") else thing  # likewise


def pieces(thing: Any, context: Context, walk: Any) -> Iterator[Piece]:
    """Return the pieces of an object that is not an `atom`."""
    kind = type(thing)
    if kind in _BUILTIN:
        return values.builtin(thing, context)
    if isinstance(thing, type):
        return _class(thing, walk)
    if kind is types.FunctionType:
        return code.function(thing, walk)
    if kind is types.CodeType:
        return code.code(thing, walk)
    if isinstance(thing, types.ModuleType):
        return code.module(thing, walk)
    if kind.__name__ in _COMPILED:
        return compiled_function(thing)
    if kind in OF_TYPE:
        return OF_TYPE[kind](thing)
    return _instance(thing, context)


def _is_own(cls: type) -> bool:
    """Return whether a class is the user's own, or was made while some library ran. The name of any other class identifies it."""
    return installed.origin(cls.__module__) is None or (bool(cls.__flags__ & _MADE_BY_PYTHON) and not code.named(cls))


def _class(cls: type, walk: Any) -> Iterator[Piece]:
    """Describe a class: a library's by its name and the user's changes to it; the user's by its whole content."""
    if not _is_own(cls):
        origin = installed.origin(cls.__module__)
        place = "" if origin == "shattering" else f"{cls.__module__}."  # this library's own classes may move between modules
        yield f"class {origin} {place}{cls.__qualname__}".encode()
        for name, value in sorted(vars(cls).items()):
            if code.is_patch(value):
                yield name.encode()
                yield Part(value, f".{name}")
        return
    walk.visited.modules.add(cls.__module__)
    yield f"class {cls.__qualname__}".encode("utf-8", "surrogatepass")
    if not cls.__flags__ & _MADE_BY_PYTHON:  # a compiled module of the user's
        yield Part(sys.modules.get(cls.__module__))
    yield Part(type(cls))
    for base in cls.__bases__:
        yield Part(base, f".{base.__name__}")
    for name, value in sorted(vars(cls).items()):
        if name not in _NOT_OF_CLASS and not code.is_unannotated(name, value) and not _is_hash_of_attrs(name, value):
            yield name.encode("utf-8", "surrogatepass")
            yield Part(value, f".{name}")
    if walk.docs:
        yield repr(cls.__doc__).encode("utf-8", "surrogatepass")


def _is_hash_of_attrs(name: str, value: Any) -> bool:
    """Return whether a value is the `hash` that attrs generates: its code holds numbers that differ in every process."""
    return name == "__hash__" and isinstance(value, types.FunctionType) and value.__code__.co_filename.startswith("<attrs ")


def _instance(thing: Any, context: Context) -> Iterator[Piece]:
    """Describe an instance: its class, and its state."""
    cls = type(thing)
    yield Part(cls)
    if isinstance(thing, Described):
        yield thing.described()
    elif isinstance(thing, enum.Enum):
        yield Part([thing._name_, thing._value_])
    elif isinstance(thing, _NO_MATTER) or any(thing is one for one in (sys.stdin, sys.stdout, sys.stderr)):
        return
    elif thing is random._inst or thing is np.random.mtrand._rand:  # type: ignore[attr-defined]  # private: the global generators have no public name
        yield b"global"  # every fit has a seed for it
    elif (source := _compiled_from(thing)) is not None:
        yield Part(source)
    elif is_torch(thing, "Module"):
        yield from torch_module(thing, context)
    elif hasattr(cls, "get_params") and hasattr(cls, "set_params"):
        yield from estimator(thing, context)
    elif (content := _content(thing, context)) is not None:
        yield from content
        yield from _own_state(thing)
    elif _is_own(cls):
        yield from _own_state(thing)
        if _has_hidden_state(cls):
            yield from _reduced(thing)
    else:
        yield from _reduced(thing)


def _content(thing: Any, context: Context) -> Iterator[Piece] | None:
    """Return the content of an array, table, tensor or container of the user's own class; None for other objects."""
    if isinstance(thing, np.generic):
        return values.scalar(thing)
    if isinstance(thing, np.ndarray):
        return values.array(thing)
    if isinstance(thing, np.dtype):
        return values.dtype(thing)
    if is_torch(thing, "Tensor"):
        return values.tensor(thing, context)
    if is_torch(thing, "device"):
        return iter(())
    if is_torch(thing, "Generator"):
        return iter([Part(thing.get_state())])
    if values.from_library(thing, "pandas", "DataFrame", "Series", "Index", "ExtensionArray"):
        return values.table(thing)
    if values.from_library(thing, "scipy", "spmatrix", "sparray"):
        return values.sparse(thing)
    if isinstance(thing, _BUILTIN) and _is_own(type(thing)):
        return values.builtin(thing, context)
    return None


def _compiled_from(thing: Any) -> Any:
    """Return the source of an object of numba or pydantic, which holds an address or a random number; None for other objects."""
    if values.from_library(thing, "numba", "Dispatcher"):
        return [thing.py_func, {name: value for name, value in thing.targetoptions.items() if name != "cache"}]
    if values.from_library(thing, "numba", "DUFunc"):
        return [thing._dispatcher]  # private: the only place that has the Python function
    if values.from_library(thing, "pydantic", "Decorator"):
        return [thing.func, thing.shim, thing.info]
    if values.from_library(thing, "pydantic", "ValidateCallWrapper"):
        return [thing.function, thing.function.__annotations__]
    return None


def _own_state(thing: Any) -> Iterator[Piece]:
    """Return the attributes of an instance of the user's own class, slots included. Cached results do not count."""
    cls = type(thing)
    if not _is_own(cls):
        return
    for name, value in getattr(thing, "__dict__", {}).items():
        if name not in _NOT_OF_STATE and not isinstance(inspect.getattr_static(cls, name, None), functools.cached_property):
            yield str(name).encode("utf-8", "surrogatepass")
            yield Part(value, f".{name}")
    for base in cls.__mro__:
        for name, slot in sorted(vars(base).items()) if _is_own(base) else ():
            if isinstance(slot, types.MemberDescriptorType):
                yield name.encode("utf-8", "surrogatepass")
                try:
                    yield Part(slot.__get__(thing, cls), f".{name}")
                except AttributeError:
                    yield b"unset"


def _has_hidden_state(cls: type) -> bool:
    """Return whether a user's class derives from a library's that keeps more than attributes, or defines its own state."""
    bases = [base for base in cls.__mro__ if base is not object and base not in _BUILTIN and not _is_own(base)]
    return any(not base.__flags__ & _MADE_BY_PYTHON or vars(base).keys() & {"__reduce__", "__reduce_ex__"} for base in bases)


def _reduced(thing: Any) -> Iterator[Piece]:
    """Describe an object of a library by what it would be pickled as, or by its name if its module has it under that name."""
    cls = type(thing)
    if code.named(thing) and (origin := installed.origin(thing.__module__)):
        yield f"{origin} {thing.__module__}.{getattr(thing, '__qualname__', None) or thing.__name__}".encode()
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            reduced = copyreg.dispatch_table[cls](thing) if cls in copyreg.dispatch_table else thing.__reduce_ex__(4)
    except Exception as error:  # whatever it raises
        wrapped = getattr(thing, "__wrapped__", None)
        yield Part(wrapped, ".__wrapped__") if callable(wrapped) else Unknown(f"it cannot be pickled ({type(error).__name__})")
        return
    if isinstance(reduced, str):
        yield reduced.encode("utf-8", "surrogatepass")
        return
    parts: list[Any] = [*reduced, None, None, None]
    make, arguments, state, items, pairs = parts[:5]
    yield Part(make)
    yield Part(arguments)
    for part in state if isinstance(state, tuple) and len(state) == 2 else (state,):
        known = {name: value for name, value in part.items() if name not in _NOT_OF_STATE} if type(part) is dict else part
        yield from _named(known, cls) if type(known) is dict else [Part(known)]
    yield Part(list(items or ()))
    yield Part([item for pair in pairs or () for item in pair])


def _named(state: Mapping[Any, Any], cls: type) -> Iterator[Piece]:
    for name, value in state.items():
        yield Part(name)
        yield Part(value, label(cls, name))
