"""`origin`: a module is the user's own code, or belongs to an installed distribution, which its name and version identify."""

import hashlib
import importlib.metadata
import importlib.util
import os
import re
import sys
import sysconfig
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

_PACKAGE = Path(__file__).resolve().parents[1]
_INSTALLED = ("site-packages", "dist-packages")
_STANDARD = tuple({Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib")})
_SCRIPTS = ("__main__", "__mp_main__")
_BUILD = re.compile(r"\+(cpu|cu\d+|rocm[\d.]*|xpu)$")  # the device of a build of torch, which is not part of an identity


def origin(name: str | None, namespace: Mapping[str, Any] | None = None) -> str | None:
    """Return the origin of a module that is not the user's: "python", "shattering", or "numpy 2.4.0"; None for the user's.

    Installed is what lies in a folder named site-packages or dist-packages, of whatever interpreter. An editable installation lies
    elsewhere, and is the user's own.

    name: of the module, as `__module__` has it. namespace: of the code, as `__globals__` has it, which tells a module from code that
    was executed under its name.
    """
    module = sys.modules.get(name or "")
    if namespace is not None and (module is None or vars(module) is not namespace):
        return _of_file(str(namespace["__file__"]), name or "") if isinstance(namespace.get("__file__"), str) else None
    if name is None or name in _SCRIPTS or module is None:
        return None
    return of_module(module)


def of_module(module: ModuleType) -> str | None:
    """Return the origin of an imported module, as `origin` does."""
    name, file = module.__name__, vars(module).get("__file__")
    if isinstance(file, str) and os.path.isabs(file):
        return _of_file(file, name)
    paths = [str(path) for path in vars(module).get("__path__", ())]
    if paths:  # a namespace package may be a folder of the user's
        return _of_file(os.path.join(paths[0], "__init__.py"), name)
    top = name.partition(".")[0]
    if top in sys.builtin_module_names or top in sys.stdlib_module_names:
        return "python"
    return origin(top) if top != name else None  # made at run time, below a package


def of_spec(name: str) -> str | None:
    """Return the origin of a top-level module that need not be imported, as `origin` does; "" for one that cannot be found."""
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError, AttributeError):  # a module without a spec has been made at run time
        spec = None
    if spec is None:
        return origin(name) if name in sys.modules else ""
    if spec.has_location and spec.origin:
        return _of_file(spec.origin, name)
    if spec.submodule_search_locations:
        return _of_file(os.path.join(next(iter(spec.submodule_search_locations)), "__init__.py"), name)
    return "python"


@cache
def _of_file(file: str, name: str) -> str | None:
    path, resolved = Path(os.path.abspath(file)), Path(file).resolve()
    if resolved.is_relative_to(_PACKAGE):
        return "shattering"
    for place in (path, resolved):
        depth = next((i for i, part in enumerate(place.parts) if part in _INSTALLED), None)
        if depth is not None:
            return _distribution(place, depth + 1, is_link=not any(part in _INSTALLED for part in resolved.parts))
    return "python" if any(resolved.is_relative_to(folder) for folder in _STANDARD) else None


def _distribution(file: Path, depth: int, is_link: bool) -> str | None:
    """Return name and version of the distribution that owns the first `depth` parts of a path below site-packages."""
    depth += file.parts[depth].endswith(".egg")
    below = "/".join(file.parts[depth:])
    top = file.parts[depth].partition(".")[0]
    owners = _owners(str(Path(*file.parts[:depth]))).get(top, [])
    owner = next((d for d in owners if len(owners) == 1 or f"\n{below}," in f"\n{d.read_text('RECORD')}"), None)
    if owner is None:
        return f"{top} {_content(file, depth, top)}"
    if is_link and '"editable": true' in (owner.read_text("direct_url.json") or ""):
        return None
    return f"{owner.metadata['Name']} {_BUILD.sub('', owner.version)}"


@cache
def _owners(folder: str) -> dict[str, list[importlib.metadata.Distribution]]:
    """Map each top-level name to the distributions of a folder that have files of this name.

    `importlib.metadata.packages_distributions` does the same for `sys.path`, and takes a second for 190 distributions.
    """
    owners: dict[str, list[importlib.metadata.Distribution]] = {}
    for distribution in importlib.metadata.distributions(path=[folder]):
        text = next((text for name in ("RECORD", "top_level.txt") if (text := distribution.read_text(name))), "")
        for top in {line.partition("/")[0].partition(",")[0].partition(".")[0] for line in text.splitlines()}:
            owners.setdefault(top, []).append(distribution)
    return owners


def _content(file: Path, depth: int, top: str) -> str:
    """Return a digest of the source of a package in site-packages that belongs to no distribution, in place of a version."""
    folder = Path(*file.parts[:depth], top)
    files = sorted(folder.rglob("*.py")) if folder.is_dir() else [file]
    digest = hashlib.sha256()
    for one in files:
        if one.is_file():  # otherwise it is inside an archive
            digest.update(f"{one.relative_to(file.parents[len(file.parts) - depth - 1])}\0".encode() + one.read_bytes())
    version = getattr(sys.modules.get(top), "__version__", "")
    return f"{version} {digest.hexdigest()[:16]}"
