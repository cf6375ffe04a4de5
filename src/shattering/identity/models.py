"""Describe estimators and torch modules by the parts that determine what they learn."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from shattering.errors import InputError
from shattering.identity import values
from shattering.identity.files import files_digest
from shattering.identity.pieces import NEVER_COUNTED, Context, Part, Piece

_DEVICE = re.compile(r"(auto|cpu|cuda|gpu|mps|xpu|rocm|hip)(:\d+)?")
_OF_COMPILER = ("_compiled_call_impl", "_is_torch_compile", "__overloads__")  # attributes that torch's compilers add to a module


def is_torch(thing: Any, name: str) -> bool:
    return "torch" in sys.modules and values.from_library(thing, "torch", name)


def label(cls: type, name: str) -> str:
    """Return the name of an attribute for the user, who does not know the objects that this library wraps others in."""
    return "" if cls.__module__.partition(".")[0] == "shattering" else f".{name}"


def torch_module(thing: Any, context: Context) -> Iterator[Piece]:
    """Describe a torch module: parameters, buffers, layers, hooks and attributes."""
    if is_torch(thing, "ScriptModule"):
        for name, layer in thing.named_modules():
            yield f"{name} {layer.original_name} {getattr(layer, 'code', '')}".encode()
        yield Part(dict(thing.state_dict()), ".state_dict()")
        return
    is_trained = context in ("trained", "drawn")
    for name, value in sorted(vars(thing).items()):
        if name in _OF_COMPILER or (name == "training" and is_trained):
            continue
        yield name.encode("utf-8", "surrogatepass")
        if name in ("_parameters", "_buffers", "_modules"):  # private: state_dict() leaves out buffers that are not saved
            for key, member in value.items():
                yield key.encode("utf-8", "surrogatepass")
                yield Part(member, f".{key}", context if name != "_buffers" else "plain")
        elif "hooks" in name and isinstance(value, dict):  # their keys are running numbers over all hooks of the process
            yield from (Part(hook, f".{name}[{i}]") for i, hook in enumerate(value.values()))
        else:
            yield Part(value, f".{name}")


def estimator(thing: Any, context: Context) -> Iterator[Piece]:
    """Describe an estimator: its parameters if it will be cloned; else everything, as it may be fitted."""
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
            yield Part(value, label(cls, name), context)


def _is_device(value: Any) -> bool:
    return value is None or is_torch(value, "device") or (isinstance(value, str) and bool(_DEVICE.fullmatch(value)))


def _same(value: Any, default: Any) -> bool:
    return isinstance(value, (bool, int, float, str, type(None))) and value == default


def _file(name: str, value: Any) -> bytes:
    path = Path(value)
    if not path.is_file():
        raise InputError(f"{name} {str(path)!r} is no file, expected the path of one")
    return files_digest(path).encode()
