"""Pickle a user's objects for workers, so that these run the code of the sweep's process, even if a source file has changed.

A function or class of a module is pickled as its name, and a worker imports the module. That gives the same code only while the
file is unchanged. So functions of changed modules are pickled by value, and a worker checks that the other files are unchanged.
"""

import importlib.util
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import IO, Any

import cloudpickle
import psutil

from shattering.data.dataset import Dataset
from shattering.errors import InputError, reason
from shattering.identity.digest import identify, reached_modules
from shattering.identity.files import files_digest
from shattering.identity.names import is_object, label
from shattering.runs.objects import Objects

_CHECKS = "checks"  # a key that no object has as its name
_packing = threading.Lock()  # which modules are pickled by value is a setting of the process
_EARLIER = 2.0  # seconds by which a file has to be older than this process; clocks of file systems are coarse


def pack(objects: Objects, file: IO[bytes]) -> None:
    """Pickle objects into a file. Raises InputError for code that a worker could not import as it is in this process."""
    with _packing:
        _pack(objects, file)


def _pack(objects: Objects, file: IO[bytes]) -> None:
    modules: set[str] = set()
    imported: set[str] = set()
    for thing in objects.values():
        if not isinstance(thing, Dataset):
            own, of_functions = reached_modules(thing)
            modules, imported = modules | own, imported | of_functions
    files = {name: path for name in modules | imported if (path := _file(name)) is not None}
    changed = [name for name, path in files.items() if _is_younger(path)]
    checks = {
        "files": {name: files_digest(path) for name, path in files.items() if name not in changed},
        "objects": _identities(objects) if imported.intersection(changed) else {},
    }
    with _by_value([sys.modules[name] for name in changed if name in sys.modules]):
        try:
            cloudpickle.dump({**objects, _CHECKS: checks}, file)
        except Exception as error:  # whatever pickling raises
            if not changed:
                raise
            where = ", ".join(sorted(str(files[name]) for name in changed))
            raise InputError(
                f"{where} changed after Python was started, and what is defined there cannot be handed to other processes "
                f"({reason(error)}); expected one job, or a new start of Python"
            ) from None


def unpack(data: Any) -> dict[str, Any]:
    """Return the objects that `pack` wrote. Raises InputError if one of their modules differs here."""
    objects = cloudpickle.loads(data)
    checks = objects.pop(_CHECKS)
    for name, known in checks["files"].items():
        path = _file(name)
        if path is None or files_digest(path) != known:
            raise InputError(f"module {name!r} ({path}) is not what it was when the call was made, expected it to stay as it is")
    for name in checks["objects"]:
        if _identities({name: objects[name]}) != {name: checks["objects"][name]}:
            called = label(name) if is_object(name) else name
            raise InputError(
                f"{called} imports a module when it runs, whose file changed after Python was started; expected one job, "
                "or a new start of Python"
            )
    return objects


def _identities(objects: Objects) -> dict[str, str]:
    """Return the identities of the models that can be told apart."""
    identities = {name: identify(thing, "it", "cloned") for name, thing in objects.items() if not isinstance(thing, Dataset)}
    return {name: digest for name, (digest, unknown) in identities.items() if not unknown}


def _file(name: str) -> Path | None:
    """Return the source file of a module that is imported, or can be; None for one without."""
    module = sys.modules.get(name)
    if module is None:
        try:
            spec = importlib.util.find_spec(name)
        except (ImportError, ValueError, AttributeError):
            return None
        file = spec.origin if spec else None
    else:
        file = getattr(module, "__file__", None)
    known = cloudpickle.list_registry_pickle_by_value()
    is_by_value = name in ("__main__", "__mp_main__") or any(name == one or name.startswith(f"{one}.") for one in known)
    path = Path(file) if isinstance(file, str) and not is_by_value else None
    return path if path is not None and path.is_file() else None


def _is_younger(path: Path) -> bool:
    """Return whether a file may have changed since this process was started."""
    status = path.stat()
    return max(status.st_mtime, status.st_ctime) > psutil.Process().create_time() - _EARLIER


@contextmanager
def _by_value(modules: list[ModuleType]) -> Iterator[None]:
    """Pickle everything that these modules define by value within this context."""
    for module in modules:
        cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        for module in modules:
            cloudpickle.unregister_pickle_by_value(module)
