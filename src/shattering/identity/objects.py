"""`pieces`: what any object consists of, by its type: values, code, classes, estimators, torch modules, and everything else."""

import contextvars
import copyreg
import enum
import functools
import inspect
import logging
import random
import re
import sys
import threading
import types
import warnings
import weakref
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from shattering.errors import InputError
from shattering.identity import code, installed, values
from shattering.identity.files import files_digest
from shattering.identity.pieces import NEVER_COUNTED, Context, Described, Part, Piece, Unknown

_DEVICE = re.compile(r"(auto|cpu|cuda|gpu|mps|xpu|rocm|hip)(:\d+)?")
_NOT_OF_CLASS = (
    *("__dict__", "__weakref__", "__module__", "__doc__", "__qualname__", "_abc_impl"),
    *("__firstlineno__", "__static_attributes__", "__annotations_cache__"),
)
_NOT_OF_STATE = ("__doc__", "__module__")  # that functools.wraps copies
_BUILTIN = (dict, list, tuple, set, frozenset, bytearray, int, float, complex, str, bytes)
_NO_MATTER = (  # what cannot change a result, or is a cache
    *(type(threading.Lock()), type(threading.RLock()), threading.Condition, threading.Event),
    *(logging.Logger, logging.LoggerAdapter, logging.Handler),
    *(weakref.WeakKeyDictionary, weakref.WeakValueDictionary, weakref.WeakSet),
)
_COMPILED = ("cython_function_or_method", "fused_cython_function", "nb_func", "nb_method")  # functions of Cython and nanobind
_OF_COMPILER = ("_compiled_call_impl", "_is_torch_compile")  # attributes that torch.compile gives a module
_MADE_BY_PYTHON = 1 << 9  # flag of classes that a class statement has made, not a compiled library


def underlying(thing: Any) -> Any:
    """What torch.compile has been given, as it is for speed; any other object itself."""
    if type(thing) is types.FunctionType:
        return vars(thing).get("_torchdynamo_orig_callable", thing)
    return vars(thing)["_modules"]["_orig_mod"] if _is_torch(thing, "OptimizedModule") else thing


def pieces(thing: Any, context: Context, walk: Any) -> Iterator[Piece]:
    """The pieces of an object that is no `atom`."""
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
        return _compiled_function(thing)
    if kind in _OF_TYPE:
        return _OF_TYPE[kind](thing)
    return _instance(thing, context)


def _is_own(cls: type) -> bool:
    """Whether a class is the user's own, or was made while some library ran; else its name says what it is."""
    return installed.origin(cls.__module__) is None or (bool(cls.__flags__ & _MADE_BY_PYTHON) and not code.named(cls))


def _class(cls: type, walk: Any) -> Iterator[Piece]:
    """A class: of a library its name, and what the user has put into it; of the user's all that it has."""
    if not _is_own(cls):
        origin = installed.origin(cls.__module__)
        place = "" if origin == "shattering" else f"{cls.__module__}."  # this library's own may move
        yield f"class {origin} {place}{cls.__qualname__}".encode()
        for name, value in sorted(vars(cls).items()):
            if code.is_patch(value):
                yield name.encode()
                yield Part(value, f".{name}")
        return
    walk.found.modules.add(cls.__module__)
    yield f"class {cls.__qualname__}".encode("utf-8", "surrogatepass")
    yield Part(type(cls))
    for base in cls.__bases__:
        yield Part(base, f".{base.__name__}")
    for name, value in sorted(vars(cls).items()):
        if name not in _NOT_OF_CLASS:
            yield name.encode("utf-8", "surrogatepass")
            yield Part(value, f".{name}")
    if walk.docs:
        yield repr(cls.__doc__).encode("utf-8", "surrogatepass")


def _instance(thing: Any, context: Context) -> Iterator[Piece]:
    """An instance of some class: the class, and its state."""
    cls = type(thing)
    yield Part(cls)
    if isinstance(thing, Described):
        yield thing.described()
    elif isinstance(thing, enum.Enum):
        yield Part([thing._name_, thing._value_])
    elif isinstance(thing, _NO_MATTER) or any(thing is one for one in (sys.stdin, sys.stdout, sys.stderr)):
        return
    elif thing is random._inst or thing is np.random.mtrand._rand:  # type: ignore[attr-defined]
        yield b"global"  # every fit has a seed for it
    elif _is_torch(thing, "Module"):
        yield from _torch_module(thing, context)
    elif hasattr(cls, "get_params") and hasattr(cls, "set_params"):
        yield from _estimator(thing, context)
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
    """What an array, a table, a tensor or a container of the user's own class holds; None for other objects."""
    if isinstance(thing, np.generic):
        return values.scalar(thing)
    if isinstance(thing, np.ndarray):
        return values.array(thing)
    if isinstance(thing, np.dtype):
        return values.dtype(thing)
    if _is_torch(thing, "Tensor"):
        return values.tensor(thing, context)
    if _is_torch(thing, "device"):
        return iter(())
    if _is_torch(thing, "Generator"):
        return iter([Part(thing.get_state())])
    if values.from_library(thing, "pandas", "DataFrame", "Series", "Index", "ExtensionArray"):
        return values.table(thing)
    if values.from_library(thing, "scipy", "spmatrix", "sparray"):
        return values.sparse(thing)
    if isinstance(thing, _BUILTIN) and _is_own(type(thing)):
        return values.builtin(thing, context)
    return None


def _is_torch(thing: Any, name: str) -> bool:
    return "torch" in sys.modules and values.from_library(thing, "torch", name)


def _own_state(thing: Any) -> Iterator[Piece]:
    """The attributes of an instance of the user's own class, those in slots too; results that are kept as attributes do not count."""
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
    """Whether a class of the user's is derived from one of a library that keeps more than attributes, or says itself what it keeps."""
    bases = [base for base in cls.__mro__ if base is not object and base not in _BUILTIN and not _is_own(base)]
    return any(not base.__flags__ & _MADE_BY_PYTHON or vars(base).keys() & {"__reduce__", "__reduce_ex__"} for base in bases)


def _reduced(thing: Any) -> Iterator[Piece]:
    """What an object of a library would be pickled as; or its name, if that is what it is known by."""
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
        yield Part(value, _label(cls, name))


def _label(cls: type, name: str) -> str:
    """How an attribute is named to the user, who does not know of the objects that this library wraps others in."""
    return "" if cls.__module__.partition(".")[0] == "shattering" else f".{name}"


def _torch_module(thing: Any, context: Context) -> Iterator[Piece]:
    """Parameters, buffers, layers, hooks and attributes of a torch module."""
    if _is_torch(thing, "ScriptModule"):
        for name, layer in thing.named_modules():
            yield f"{name} {layer.original_name} {getattr(layer, 'code', '')}".encode()
        yield Part(dict(thing.state_dict()), ".state_dict()")
        return
    is_trained = context in ("trained", "drawn")
    for name, value in sorted(vars(thing).items()):
        if name in _OF_COMPILER or (name == "training" and is_trained):
            continue
        yield name.encode("utf-8", "surrogatepass")
        if name in ("_parameters", "_buffers", "_modules"):
            for key, member in value.items():
                yield key.encode("utf-8", "surrogatepass")
                yield Part(member, f".{key}", context if name != "_buffers" else "plain")
        elif "hooks" in name and isinstance(value, dict):  # their keys count all hooks of the process
            yield from (Part(hook, f".{name}[{i}]") for i, hook in enumerate(value.values()))
        else:
            yield Part(value, f".{name}")


def _estimator(thing: Any, context: Context) -> Iterator[Piece]:
    """The parameters of an estimator that will be cloned; of another one all that it has, as it may be fitted."""
    cls = type(thing)
    clones_itself = getattr(getattr(cls, "__sklearn_clone__", None), "__module__", "sklearn.base") != "sklearn.base"
    if context == "cloned" and not clones_itself:
        state, context = sorted(thing.get_params(deep=False).items()), "cloned"
    else:
        state, context = list(vars(thing).items()), "plain"
    ours = next((base for base in cls.__mro__ if base.__module__.partition(".")[0] == "shattering"), None)
    left_out = {*NEVER_COUNTED, *getattr(cls if ours else None, "not_identity", ())} - {"random_state"}  # one that is set counts
    later, files = getattr(cls if ours else None, "later", {}), getattr(cls if ours else None, "files", ())
    for name, value in state:
        if name in left_out or (name == "device" and _is_device(value)) or (name in later and _same(value, later[name])):
            continue
        yield name.encode("utf-8", "surrogatepass")
        if name in files and value is not None:
            yield _file(name, value)
        else:
            yield Part(value, _label(cls, name), context)


def _is_device(value: Any) -> bool:
    return value is None or _is_torch(value, "device") or (isinstance(value, str) and bool(_DEVICE.fullmatch(value)))


def _same(value: Any, default: Any) -> bool:
    return isinstance(value, (bool, int, float, str, type(None))) and value == default


def _file(name: str, value: Any) -> bytes:
    path = Path(value)
    if not path.is_file():
        raise InputError(f"{name} {str(path)!r} is no file, expected the path of one")
    return files_digest(path).encode()


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
    """Whether the order of named arguments can be seen."""
    try:
        return any(p.kind is p.VAR_KEYWORD for p in inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return True


def _wrapper(thing: Any) -> Iterator[Piece]:
    """A static or class method, or a function with a cache."""
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
    """Compiled code by its name; of a compiled module of the user's, with the file."""
    origin = installed.origin(module)
    yield f"{origin} {module}.{name}".encode()
    if origin is None and module in sys.modules:
        yield Part(sys.modules[module])


def _compiled_function(thing: Any) -> Iterator[Piece]:
    yield from _of_compiled(thing.__module__, getattr(thing, "__qualname__", thing.__name__))
    yield Part(getattr(thing, "__self__", None), ".__self__")


def _ufunc(thing: np.ufunc) -> Iterator[Piece]:
    """A function of arrays: NumPy's and SciPy's by name; one made of a Python function cannot be looked into."""
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


_OF_TYPE: dict[type, Any] = {
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
