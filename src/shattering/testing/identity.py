"""`digest`: what identifies an object that a user passes in: the code that would run, and the values it would run with."""

import functools
import hashlib
import sys
import sysconfig
import types
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path

import cloudpickle
import numpy as np
import torch
from sklearn.base import BaseEstimator

from shattering.learners.own import traits
from shattering.learners.weights import file_identity
from shattering.runs.spec import NEVER_IDENTITY

_PACKAGE = Path(__file__).resolve().parents[1]
_INSTALLED = tuple(Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib", "purelib", "platlib"))
_NOT_CONTENT = ("__dict__", "__weakref__", "__module__", "__doc__", "__firstlineno__", "__static_attributes__")


def digest(thing: object) -> str:
    """The first 16 hexadecimal digits of a SHA-256 over an object's content and, recursively, the code it refers to.

    Code of the user's counts by its compiled instructions and constants, wherever it is defined: a notebook, a script, a
    module that is not installed. So does whatever it refers to: helper functions, base classes, closures, global values.
    Installed packages count by name alone (a run stores their versions beside it). Comments and where a file lies do not
    count. What cannot be told apart from another object gets a digest of its own at every call: no old result is then reused.
    """
    hasher = hashlib.sha256()
    for part in _parts(thing, {}):
        hasher.update(f"{len(part)}:".encode())
        hasher.update(part)
    return hasher.hexdigest()[:16]


def is_installed(module: str | None) -> bool:
    """Whether a module belongs to an installed package, to Python, or to this library."""
    found = sys.modules.get(module or "")
    if module in (None, "__main__", "__mp_main__"):
        return False
    if found is None or module == "builtins":
        return True
    file = getattr(found, "__file__", None)
    if file is None:
        return not hasattr(found, "__path__")  # built in; a namespace package is a folder of somebody's
    path = Path(file).resolve()
    return path.is_relative_to(_PACKAGE) or any(path.is_relative_to(folder) for folder in _INSTALLED)


def _parts(thing: object, seen: dict[int, object]) -> Iterator[bytes]:
    if thing is None or isinstance(thing, (bool, int, float, complex, str, bytes, type(Ellipsis))):
        yield f"{type(thing).__name__} {thing!r}".encode()
        return
    if id(thing) in seen:
        yield b"seen before"
        return
    seen[id(thing)] = thing  # kept alive, so that no other object gets its id
    yield type(thing).__name__.encode()
    if isinstance(thing, np.ndarray) and thing.dtype != object:
        yield f"{thing.dtype} {thing.shape}".encode()
        yield np.ascontiguousarray(thing).tobytes()
    elif isinstance(thing, torch.Tensor):
        yield from _parts(thing.detach().cpu().numpy(), seen)
    elif isinstance(thing, Mapping):
        for key, value in thing.items():
            yield from _parts(key, seen)
            yield from _parts(value, seen)
    elif isinstance(thing, (set, frozenset)):
        yield "".join(sorted(digest(item) for item in thing)).encode()
    elif isinstance(thing, (list, tuple)):
        for item in thing:
            yield from _parts(item, seen)
    elif isinstance(thing, types.CodeType):
        yield from _code(thing, seen)
    else:
        yield from _code_or_object(thing, seen)


def _code_or_object(thing: object, seen: dict[int, object]) -> Iterator[bytes]:
    if isinstance(thing, types.ModuleType):
        yield from _module(thing)
    elif isinstance(thing, type):
        yield from _class(thing, seen)
    elif isinstance(thing, types.FunctionType):
        yield from _function(thing, seen)
    elif isinstance(thing, types.MethodType):
        yield from _parts([thing.__func__, thing.__self__], seen)
    elif isinstance(thing, functools.partial):
        yield from _parts([thing.func, thing.args, thing.keywords], seen)
    elif isinstance(thing, (staticmethod, classmethod)):
        yield from _parts(thing.__func__, seen)
    elif isinstance(thing, property):
        yield from _parts([thing.fget, thing.fset], seen)
    elif isinstance(thing, (types.BuiltinFunctionType, np.ufunc, types.WrapperDescriptorType, types.MethodDescriptorType)):
        yield f"{getattr(thing, '__module__', '')}.{thing.__name__}".encode()
    else:
        yield from _object(thing, seen)


def _object(thing: object, seen: dict[int, object]) -> Iterator[bytes]:
    yield from _parts(type(thing), seen)
    if hasattr(thing, "content"):
        yield from _parts(thing.content(), seen)  # type: ignore[attr-defined]
    elif isinstance(thing, BaseEstimator):
        yield from _parts(_estimator_params(thing), seen)
    elif isinstance(thing, torch.nn.Module) or (hasattr(thing, "__dict__") and not is_installed(type(thing).__module__)):
        yield from _parts(vars(thing), seen)
    else:
        try:
            yield cloudpickle.dumps(thing)
        except Exception:  # whatever its own pickling raises
            yield uuid.uuid4().bytes


def _estimator_params(estimator: BaseEstimator) -> dict[str, object]:
    """The parameters that count; a file by its content, and those left out that its class knows to be younger than stored runs."""
    left_out = {*NEVER_IDENTITY, *traits(estimator).not_identity} - {"random_state"}  # one that is set stays, so it counts
    later, files = traits(estimator).later, traits(estimator).files
    params = {name: value for name, value in estimator.get_params(deep=False).items() if name not in left_out}
    params = {name: value for name, value in params.items() if name not in later or value != later[name]}
    return params | {name: file_identity(params[name]) for name in files if name in params}  # type: ignore[arg-type]


def _module(module: types.ModuleType) -> Iterator[bytes]:
    """The file of a module of the user's, and of those of the user's that it imports."""
    found, todo = {}, [module]
    while todo:
        this = todo.pop()
        if this.__name__ in found or is_installed(this.__name__):
            continue
        file = getattr(this, "__file__", None)
        found[this.__name__] = Path(file).read_bytes() if file and Path(file).is_file() else uuid.uuid4().bytes
        for value in list(vars(this).values()):
            name = value.__name__ if isinstance(value, types.ModuleType) else getattr(value, "__module__", None)
            other = sys.modules.get(name) if isinstance(name, str) else None
            if other is not None:
                todo.append(other)
    yield module.__name__.encode()
    yield from (found[name] for name in sorted(found))


def _class(cls: type, seen: dict[int, object]) -> Iterator[bytes]:
    yield cls.__qualname__.encode()
    if is_installed(cls.__module__):
        yield cls.__module__.encode()
        return
    yield from _parts(cls.__bases__, seen)
    for name, value in sorted(vars(cls).items()):
        if name not in _NOT_CONTENT:
            yield name.encode()
            yield from _parts(value, seen)


def _function(function: types.FunctionType, seen: dict[int, object]) -> Iterator[bytes]:
    yield function.__qualname__.encode()
    if is_installed(function.__module__):
        yield function.__module__.encode()
        if not function.__closure__:
            return
    yield from _parts([function.__code__, function.__defaults__, function.__kwdefaults__], seen)
    for cell in function.__closure__ or ():
        try:
            yield from _parts(cell.cell_contents, seen)
        except ValueError:
            yield b"empty"
    if not is_installed(function.__module__):
        for name in sorted(_names(function.__code__)):
            if name in function.__globals__:
                yield name.encode()
                yield from _parts(function.__globals__[name], seen)


def _names(code: types.CodeType) -> set[str]:
    """The global names, and attributes, that a function's code and the code within it mention."""
    inner = (_names(constant) for constant in code.co_consts if isinstance(constant, types.CodeType))
    return set(code.co_names).union(*inner)


def _code(code: types.CodeType, seen: dict[int, object]) -> Iterator[bytes]:
    yield code.co_code
    yield " ".join([*code.co_names, "/", *code.co_varnames, "/", *code.co_freevars, "/", str(code.co_flags)]).encode()
    yield from _parts(list(code.co_consts), seen)
