"""Describe code: functions, their instructions, and what they use by name. Comments, docstrings and line numbers do not count."""

import importlib
import importlib.util
import re
import sys
import types
from collections.abc import Iterator, Mapping
from typing import Any

from shattering.identity import installed
from shattering.identity.bytecode import Import, Reach, read_code
from shattering.identity.pieces import Part, Piece, Unknown

_ABOUT_MODULE = frozenset(
    ("__name__", "__file__", "__path__", "__spec__", "__loader__", "__package__", "__cached__", "__builtins__", "__doc__")
)
_ADDED_BY_PYTHON = "__warningregistry__"  # Python adds this to a module in which a warning was given
_ANY_NAME = ("eval", "exec", "globals")  # names that give code access to its whole module
_HAS_DOCSTRING = 0x4000000  # a flag of code, from Python 3.13
_NOTEBOOK = ("In", "Out", "exit", "quit", "get_ipython")  # names that IPython adds to a notebook


def function(thing: types.FunctionType, walk: Any) -> Iterator[Piece]:
    """Describe a function: an installed one by its name; any other by its code, and by what that uses."""
    code, namespace = thing.__code__, thing.__globals__
    origin = installed.origin(namespace.get("__name__"), namespace)
    if named(thing) and (of_name := installed.origin(thing.__module__)):
        yield f"{of_name} {thing.__module__}.{thing.__qualname__}".encode()
        return
    if getattr(code, "co_qualname", "") == "singledispatch.<locals>.wrapper" and origin == "python":
        yield b"by type"
        for cls, implementation in sorted(thing.registry.items(), key=lambda item: item[0].__qualname__):  # type: ignore[attr-defined]  # singledispatch sets it
            yield Part(cls)
            yield Part(implementation, f".registry[{cls.__qualname__}]")
        return
    yield (origin or thing.__qualname__).encode("utf-8", "surrogatepass")
    yield Part(code)
    yield Part(thing.__defaults__, ".__defaults__")
    for name, value in sorted((thing.__kwdefaults__ or {}).items()):
        yield name.encode()
        yield Part(value, f".__kwdefaults__[{name!r}]")
    for name, variable in zip(code.co_freevars, thing.__closure__ or (), strict=True):
        yield name.encode()
        yield Part(variable, f".{name}")
    for name, value in sorted(vars(thing).items()):
        yield name.encode()
        yield Part(value, f".{name}")
    if walk.docs:
        yield repr(thing.__doc__).encode("utf-8", "surrogatepass")
    if origin is None:
        walk.visited.modules.add(str(namespace.get("__name__")))
        yield from _reached(code, namespace, walk)


def cell(thing: types.CellType) -> Iterator[Piece]:
    """Describe a variable that functions share."""
    try:
        yield Part(thing.cell_contents)
    except ValueError:
        yield b"empty"


def named(thing: Any) -> bool:
    """Return whether an object is what its module and qualified name say."""
    module, name = getattr(thing, "__module__", None), getattr(thing, "__qualname__", None) or getattr(thing, "__name__", None)
    value: Any = sys.modules.get(module) if isinstance(module, str) else None
    for part in name.split(".") if isinstance(name, str) else ():
        value = vars(value).get(part) if hasattr(value, "__dict__") else None
    value = value.__func__ if isinstance(value, (staticmethod, classmethod)) else value
    return value is thing and value is not None


def code(thing: types.CodeType, walk: Any) -> Iterator[Piece]:
    """Describe a code object: its instructions, and those of the code within it."""
    read = read_code(thing)
    walk.visited.reads_docs |= read.reads_docs
    n = thing.co_argcount + thing.co_kwonlyargcount
    n += bool(thing.co_flags & 4) + bool(thing.co_flags & 8)
    flags = thing.co_flags & ~_HAS_DOCSTRING
    yield f"code {flags} {thing.co_argcount} {thing.co_posonlyargcount} {thing.co_kwonlyargcount} {thing.co_varnames[:n]}".encode()
    yield getattr(thing, "co_exceptiontable", b"")
    for piece in read.pieces:
        yield piece if isinstance(piece, bytes) else Part(piece[0])


def _reached(thing: types.CodeType, namespace: dict[str, Any], walk: Any) -> Iterator[Piece]:
    """Describe what a function's code uses of its module, and of modules that it imports itself."""
    read = read_code(thing)
    for reach in sorted(set(read.reaches), key=repr):
        yield repr(tuple(reach)).encode("utf-8", "surrogatepass")
        if isinstance(reach.root, str):
            yield from _of_name(reach, namespace)
        else:
            yield from _of_import(reach.root, reach.chain, namespace, walk)
    if read.imports_by_text:
        for text in sorted(_texts(thing)):
            if re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*", text) and installed.of_spec(text.partition(".")[0]) is None:
                yield from _of_import(Import(0, text, None), (), namespace, walk)


def _of_name(reach: Reach, namespace: dict[str, Any]) -> Iterator[Piece]:
    name = str(reach.root)
    if name in _ABOUT_MODULE:
        yield b"about the module"
    elif name in namespace:
        yield from _along(namespace[name], reach.chain, f".{name}")
    elif name in _ANY_NAME:
        yield from _namespace(namespace)


def _along(value: Any, chain: tuple[str, ...], label: str) -> Iterator[Piece]:
    """Follow attributes as far as they lead through modules. The name is enough for an installed module's own objects."""
    installed_as = None
    for place, name in enumerate(chain):
        if not isinstance(value, types.ModuleType):
            break
        if installed_as is None and (installed_as := installed.of_module(value)):
            yield f"{installed_as} {value.__name__}.{'.'.join(chain[place:])}".encode()
        inside = vars(value)
        if name not in inside:
            yield b"missing"
            if "__getattr__" in inside and installed_as is None:
                yield Part(inside["__getattr__"], f"{label}.__getattr__")
            return
        value, label = inside[name], f"{label}.{name}"
    if installed_as is None or isinstance(value, type) or is_patch(value):
        yield Part(value, label)


def is_patch(value: object) -> bool:
    """Return whether a value in an installed module or class is a user's function that replaced the original."""
    if not isinstance(value, types.FunctionType):
        return False
    name = value.__globals__.get("__name__")
    return isinstance(name, str) and name in sys.modules and installed.origin(name, value.__globals__) is None


def is_unannotated(name: str, value: object) -> bool:
    """Return whether these are the annotations that Python adds to a class or module without any, when they are first asked for."""
    return name == "__annotations__" and not value


def _of_import(wanted: Import, chain: tuple[str, ...], namespace: dict[str, Any], walk: Any) -> Iterator[Piece]:
    """Return what an import within a function gives. A user's module is imported, as the function would do."""
    name = wanted.name
    if wanted.level:
        package = namespace.get("__package__") or str(namespace.get("__name__")).rpartition(".")[0]
        name = importlib.util.resolve_name("." * wanted.level + name, package)
    origin = installed.of_spec(name.partition(".")[0])
    if origin is not None:
        yield f"{origin or 'missing'} {name}".encode()
        return
    module = _imported(name)
    walk.visited.imported.add(name)
    if module is None:
        yield b"missing"
    elif isinstance(module, Unknown):
        yield module
    elif wanted.attribute is None:
        yield from _along(module, chain, f".{name}")
    else:
        if wanted.attribute not in vars(module):
            _imported(f"{name}.{wanted.attribute}")  # from package import module
        yield from _along(module, (wanted.attribute, *chain), f".{name}")


def _imported(name: str) -> types.ModuleType | Unknown | None:
    """Import a user's module; None if there is none of this name."""
    try:
        return sys.modules.get(name) or importlib.import_module(name)
    except ModuleNotFoundError:
        return None
    except (Exception, SystemExit) as error:  # whatever it raises
        return Unknown(f"it imports {name}, which raised {type(error).__name__}")


def _texts(thing: types.CodeType) -> set[str]:
    """Return the texts among the constants of code, and of the code within it."""
    inner = (_texts(constant) for constant in thing.co_consts if isinstance(constant, types.CodeType))
    return {constant for constant in thing.co_consts if isinstance(constant, str)}.union(*inner)


def module(thing: types.ModuleType, walk: Any) -> Iterator[Piece]:
    """Describe a user's whole module, for code that may use anything in it; an installed one by its name."""
    origin = installed.of_module(thing)
    if origin is not None:
        yield f"{origin} {thing.__name__}".encode()
        return
    walk.visited.modules.add(thing.__name__)
    file = vars(thing).get("__file__")
    if isinstance(file, str) and not file.endswith((".py", ".pyc")):  # compiled code of the user's
        with open(file, "rb") as handle:
            yield handle.read()
    yield from _namespace(vars(thing))


def _namespace(names: Mapping[str, Any]) -> Iterator[Piece]:
    is_script = names.get("__name__") in ("__main__", "__mp_main__")
    for name, value in sorted(names.items()):
        hidden = is_script and (name.startswith("_") or name in _NOTEBOOK)
        if name not in _ABOUT_MODULE and name != _ADDED_BY_PYTHON and not is_unannotated(name, value) and not hidden:
            yield name.encode("utf-8", "surrogatepass")
            yield Part(value, f".{name}")
