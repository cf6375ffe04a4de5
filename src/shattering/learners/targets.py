"""`import_target`: "module:name" or "file.py:name" → the object. Only the code that runs at its import is executed."""

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import cloudpickle

from shattering.errors import InputError, meant, reason


def is_target(text: str) -> bool:
    """Return whether a text has the form of a target.

    Raises InputError for one that lacks its head or its name, such as the path of a Python file.
    """
    head, colon, name = text.rpartition(":")
    if colon and not (head and all(part.isidentifier() for part in name.split("."))):
        raise InputError(f"model is {text!r}, expected file.py:name or package.module:name")
    if not colon and any(mark in text for mark in "./\\"):
        module, _, last = text.rpartition(".")
        if module and last[:1].isupper() and last.isidentifier():  # of a class
            raise InputError(f"model is {text!r}, expected {module}:{last}, with a colon before the name of the class")
        raise InputError(f"model is {text!r}, expected {text}:NAME, with the name of what is defined there")
    return bool(colon)


def import_target(text: str) -> object:
    """Return the object that "package.module:name" or "path/to/file.py:name" names; nested names have dots.

    A file's folder is put on the module path, so that it can import its neighbours, as when it is run as a script.
    Raises InputError for what does not exist, or raises while it is imported.

    Example:
        >>> import_target("sklearn.naive_bayes:GaussianNB")
        <class 'sklearn.naive_bayes.GaussianNB'>
    """
    head, _, name = text.rpartition(":")
    module = _from_file(Path(head)) if head.endswith(".py") else _from_path(head)
    found: object = module
    for part in name.split("."):
        if not hasattr(found, part):
            raise _lacking(head, part, [n for n in dir(found) if not n.startswith("_")])
        found = getattr(found, part)
    return found


def _lacking(head: str, name: str, public: list[str]) -> InputError:
    return InputError(f"{head} has no {name!r}; {meant(name, public) if public else 'nothing is defined there'}")


def _from_file(path: Path) -> ModuleType:
    path = path.resolve()
    if not path.is_file():
        raise InputError(f"{path} does not exist, expected a Python file")
    name = path.stem if path.stem.isidentifier() else "user_model"
    while name in sys.modules and getattr(sys.modules[name], "__file__", None) != str(path):
        name += "_"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise InputError(f"{path} cannot be imported, expected a Python file")
    module = importlib.util.module_from_spec(spec)
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # whatever the user's file raises
        del sys.modules[name]
        raise _raised(str(path), error) from error
    cloudpickle.register_pickle_by_value(module)  # workers get what was imported, not what the file says by then
    return module


def _from_path(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise InputError(f"module {name!r} cannot be imported: {reason(error)}") from None
    except (TypeError, ValueError):  # for names such as ".a" and "a..b"
        raise InputError(f"module {name!r} cannot be imported, expected a name such as package.module") from None
    except (Exception, SystemExit) as error:
        raise _raised(f"module {name!r}", error) from error


def _raised(what: str, error: BaseException) -> InputError:
    if isinstance(error, SystemExit):
        return InputError(f"{what} called sys.exit({error.code!r}) while it was imported, expected it to define a model")
    line = f", line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
    return InputError(f"{what} raised while it was imported: {type(error).__name__}: {reason(error)}{line}")
