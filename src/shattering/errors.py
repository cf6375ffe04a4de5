"""The exception for bad input, and the text of any exception in one line."""

import difflib
import errno
import re
import reprlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

_NO_FAULT = ("ENOSPC", "EDQUOT", "EROFS")  # of the code that was executed: the disk is full, or may not be written
_MARK = "_shattering_blames"
_LONGEST = 500  # characters of a reason
_FEW_NAMES, _MOST_NAMES = 8, 20  # known names that are listed beside a near one, and without one
_MOST_ALIKE = 5  # known names that begin alike, of which any may be meant


class InputError(ValueError):
    """Bad input. The message is one sentence that names the field, what was found and what was expected; it is shown as it is.

    Attributes:
        before_training: True if nothing of a run had been executed yet; then the run leaves nothing in a store.

    Example:
        >>> from shattering import InputError, RunSpec
        >>> try:
        ...     RunSpec("digits", n_train=0)
        ... except InputError as error:
        ...     print(error)
        n_train is 0, expected a whole number of at least 1 or none
    """

    before_training = False


class ExitError(RuntimeError):
    """A user's code has called sys.exit. That is a failure of this code, not the end of the process."""


class UnknownName(InputError):
    """Bad input that names something which is not known, here and now: a later version may know it."""


def unknown(kind: str, name: object, known: Iterable[object], also: str = "") -> UnknownName:
    """Make an `UnknownName` for a name that is not among the `known` names. also: what else may be given, in words. See `meant`."""
    return UnknownName(f"unknown {kind} {shown(name)}; {meant(str(name), sorted(map(str, known)), also)}")


def no_target(kind: str, target: str) -> UnknownName:
    """Make an `UnknownName` for a target such as file.py:name where the name of a model or network is expected."""
    where = f"expected a name of `shattering list {kind}s`; `shattering test` and `shattering capacity bits` take your own code"
    return UnknownName(f"{kind} is {shown(target)}, {where}")


def not_installed(what: str, package: str, extra: str) -> InputError:
    """Make an `InputError` for something that needs a package of an extra, with the command that installs it.

    Example:
        >>> print(not_installed("a picture", "vl-convert-python", "figures"))
        a picture needs the package vl-convert-python, which is not installed: pip install "shattering[figures]"
    """
    return InputError(f'{what} needs the package {package}, which is not installed: pip install "shattering[{extra}]"')


def meant(name: str, names: Sequence[str], also: str = "") -> str:
    """Say which of some names was meant by `name`, and which there are, for the end of a sentence.

    That is the name nearest in spelling, whatever the case and hyphens, or the two to five names that begin with `name`, with all names
    in brackets where they are a few, at most eight; or, without a near one, the names alone, at most twenty. also: what may be given
    beside the names.

    Example:
        >>> meant("table", ["table1", "table4", "norm"]), meant("figure1", ["figure1", "figure1a"])
        ("did you mean 'table1' or 'table4'? (known: table1, table4, norm)", "did you mean 'figure1'? (known: figure1, figure1a)")
    """
    wanted = _folded(name)
    begun = [known for known in names if wanted and _folded(known).startswith(wanted)]
    has_stem = any(all(_folded(other).startswith(_folded(known)) for other in begun) for known in begun)
    alike = begun if len(begun) <= _MOST_ALIKE and begun and not has_stem else [nearest(name, names)]
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    known = f"known: {', '.join(names[:_MOST_NAMES])}{more}" + (f", or {also}" if also else "")
    if alike == [None]:
        return known
    few = 1 < len(names) + bool(also) <= _FEW_NAMES
    told = [repr(one) for one in alike]
    return f"did you mean {' or '.join([', '.join(told[:-1]), told[-1]] if told[1:] else told)}?" + (f" ({known})" if few else "")


def nearest(name: str, names: Sequence[str]) -> str | None:
    """Return the known name that `name` is likely to mean; or None.

    That is the same name, whatever its case; else the only known name that begins with `name` or has it as one of its words; else the
    only known name with which `name` begins; else the known name that is spelled most like it.

    Example:
        >>> nearest("dataset", ["data", "data-seed"]), nearest("label", ["labels", "seed"])
        ('data', 'labels')
    """
    folded = {_folded(name): name for name in reversed(names)}
    wanted = _folded(name)[:100]
    parts = [name for name in folded if len(wanted) > 1 and (name.startswith(wanted) or wanted in name.split("-"))]
    begun = [name for name in folded if len(name) > 3 and wanted.startswith(name)]
    sole = next((names for names in ([wanted] if wanted in folded else [], parts, begun) if len(names) == 1), None)
    near = sole or difflib.get_close_matches(wanted, folded, 1)
    return folded[near[0]] if near else None


def _folded(name: str) -> str:
    return re.sub(r"[\s_]+", "-", name.casefold())


def shown(value: object) -> str:
    """Write a value as Python does, in one line of limited length."""
    short = reprlib.Repr()
    short.maxstring = short.maxother = 80
    short.maxlist = short.maxtuple = short.maxdict = 10
    return printable(short.repr(value))


def with_article(name: str) -> str:
    """Return the name of a type with its article.

    Example:
        >>> with_article("list"), with_article("object")
        ('a list', 'an object')
    """
    return f"{'an' if name[:1].lower() in set('aeio') else 'a'} {name}"


def counted(n: int, word: str) -> str:
    """Return how many there are of something, in words whose plural is regular.

    Example:
        >>> counted(1, "run"), counted(60_000, "example")
        ('1 run', '60,000 examples')
    """
    return f"{n:,} {word}{'' if n == 1 else 's'}"


def a_type(value: object) -> str:
    """Return the name of a value's type with its article: "a list", "an object"."""
    return with_article(type(value).__name__)


def reason(error: BaseException) -> str:
    """Tell an exception in one line: the first line of its message, or its class where there is no message.

    Control characters, such as a terminal's escape sequences, are written as \\x1b. A line of more than 500 characters is cut.
    """
    try:
        lines = [line.strip() for line in str(error).splitlines()]
    except Exception:  # of a class whose own code fails
        lines = []
    told = next((line for line in lines if line), type(error).__name__)
    return printable(told if len(told) <= _LONGEST else f"{told[:_LONGEST]}…")


def named(error: BaseException) -> str:
    """Tell an exception with its class: "KeyError: 'name'"."""
    kind, told = type(error).__name__, reason(error)
    return told if told == kind else f"{kind}: {told}"


def printable(text: str) -> str:
    """Write control characters, such as a terminal's escape sequences, and lone surrogates as Python writes them: \\x1b."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]", lambda match: repr(match[0])[1:-1], text)


@contextmanager
def blamed(what: str, folder: Path | None = None) -> Iterator[None]:
    """Mark the exceptions of a user's code, but for `InputError` and a full disk, as those of `what`, for `failure` to tell.

    folder: of the run, where its failed.json has the traceback; None: the code was not executed by a run.
    """
    try:
        yield
    except Exception as error:
        is_ours = isinstance(error, InputError) or (isinstance(error, OSError) and errno.errorcode.get(error.errno or 0) in _NO_FAULT)
        if not is_ours and not hasattr(error, _MARK):
            setattr(error, _MARK, (what, folder))
            error.add_note(f"raised by {what}" + (f"; its run is in {folder}" if folder else ""))
        raise


def failure(error: Exception) -> str:
    """Tell an exception that is no `InputError` in one sentence: what failed, by what, and where the traceback is.

    An `OSError` that `blamed` has not marked is told by its reason and the file that it is about.
    """
    told = named(error)
    if hasattr(error, _MARK):
        what, folder = getattr(error, _MARK)
        where = f"traceback in {printable(str(folder / 'failed.json'))}" if folder else "SHATTERING_TRACEBACK=1 shows the traceback"
        return f"{printable(what)} failed: {told} ({where})"
    if isinstance(error, OSError) and str(error).strip():
        remedy = ", expected a place with permission to write" if error.errno == errno.EROFS else ""
        return printable((error.strerror or reason(error)) + (f": {error.filename}{remedy}" if error.filename else ""))
    return f"unexpected {told} (a fault of shattering's; SHATTERING_TRACEBACK=1 shows the traceback)"
