"""Read compiled code: its instructions, independent of their place, and the names that it uses."""

import dis
import re
import types
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

_SCAFFOLD = ("__doc__", "__firstlineno__", "__static_attributes__")  # names that the body of a class stores about its source
_NO_STEPS = ("EXTENDED_ARG", "CACHE")
_OF_GLOBALS = ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS", "DELETE_GLOBAL")
_IMPORTS = ("import_module", "__import__")


class Import(NamedTuple):
    """An import within a function: level and name as in the statement; attribute: what is taken from the module, None: itself."""

    level: int
    name: str
    attribute: str | None


class Reach(NamedTuple):
    """A global name that code uses, or its own import; chain: the attributes that it takes from there."""

    root: str | Import
    chain: tuple[str, ...]


class Read(NamedTuple):
    """The content of a code object. pieces: its instructions, with constants as they are."""

    pieces: tuple[Any, ...]
    reaches: tuple[Reach, ...]
    reads_docs: bool
    imports_by_text: bool


@lru_cache(maxsize=10_000)
def read_code(thing: types.CodeType) -> Read:
    steps = [step for step in dis.get_instructions(thing) if step.opname not in _NO_STEPS]
    place = {step.offset: i for i, step in enumerate(steps)}
    scaffold = {i for i, step in enumerate(steps) if step.opname == "STORE_NAME" and step.argval in _SCAFFOLD}
    pieces: list[Any] = []
    for i, step in enumerate(steps):
        if i in scaffold or (i + 1 in scaffold and step.opcode in dis.hasconst):
            continue
        if step.opcode in dis.hasconst:
            pieces += [step.opname.encode(), (step.argval,)]
        elif step.opcode in dis.hasjrel or step.opcode in dis.hasjabs:
            pieces.append(f"{step.opname} {place.get(step.argval, step.argval)}".encode())
        else:
            pieces.append(f"{step.opname} {step.argrepr or step.arg}".encode("utf-8", "surrogatepass"))
    names = set(thing.co_names)
    within = [read_code(constant) for constant in thing.co_consts if isinstance(constant, types.CodeType)]
    by_text = bool(names.intersection(_IMPORTS)) or any(read.imports_by_text for read in within)
    return Read(tuple(pieces), tuple(_reaches(thing, {})), "__doc__" in names, by_text)


def _steps(thing: types.CodeType) -> list[tuple[str, Any]]:
    """List (name, argument) of each instruction. Newer versions of Python load or store two variables at once; these are taken apart."""
    steps: list[tuple[str, Any]] = []
    for step in dis.get_instructions(thing):
        if step.opname in _NO_STEPS:
            continue
        if isinstance(step.argval, tuple) and (kinds := re.findall("(?:LOAD|STORE)_FAST", step.opname)):
            steps += zip(kinds, step.argval, strict=True)
        else:
            steps.append((step.opname, step.argval))
    return steps


def _reaches(thing: types.CodeType, around: Mapping[str, tuple[Import, ...]]) -> Iterator[Reach]:
    """Return the names that code uses, in its order. around: variables of the enclosing function that hold an imported module."""
    steps = _steps(thing)
    own = _bindings(steps)
    bindings, used = {**around, **own}, set()
    for i, (name, value) in enumerate(steps):
        chain = tuple(_chain(steps[i + 1 :]))
        if name in _OF_GLOBALS and value not in bindings:
            yield Reach(value, chain)
        elif name.startswith("LOAD_") and isinstance(value, str) and value in bindings:
            used.add(value)
            if name != "LOAD_CLOSURE":  # for code within it, which is read separately
                yield from (Reach(imported, chain) for imported in bindings[value])
        elif isinstance(value, types.CodeType):
            yield from _reaches(value, {name: bindings[name] for name in value.co_freevars if name in bindings})
    yield from (Reach(imported, ()) for name, imports in own.items() if name not in used for imported in imports)


def _chain(steps: list[tuple[str, Any]]) -> Iterator[str]:
    """Return the attributes that are taken one after the other, beginning at once."""
    for name, value in steps:
        if name not in ("LOAD_ATTR", "LOAD_METHOD", "STORE_ATTR"):
            return
        yield value


def _bindings(steps: list[tuple[str, Any]]) -> dict[str, tuple[Import, ...]]:
    """Return the variables that import statements bind.

    `import a.b` binds a, to the package; `import a.b as c` takes b from it; `from a import b` takes b from a.
    """
    bindings: dict[str, tuple[Import, ...]] = {}
    whole = current = None
    takes = False
    for i, (name, value) in enumerate(steps):
        if name == "IMPORT_NAME":
            level, attributes = steps[i - 2][1], steps[i - 1][1]
            whole = Import(level, value, None)
            current = whole if attributes else Import(level, value.partition(".")[0], None)
            takes = bool(attributes)
        elif name == "IMPORT_FROM" and whole:
            current = whole._replace(attribute=value) if takes else whole
        elif name.startswith("STORE_") and current and isinstance(value, str):
            bindings[value] = (*bindings.get(value, ()), current)
            current = None
    return bindings
