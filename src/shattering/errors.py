"""The one exception for bad input, and how any other exception is told in one line."""

import difflib
import re


class InputError(ValueError):
    """Bad input. The message is one sentence that names the field, what was found and what was expected; it is shown as it is."""


def unknown(kind: str, found: object, known) -> InputError:
    """Make an `InputError` for a name that is not among the `known` names.

    It suggests the known name that is nearest in spelling; without a near one it lists the known names, at most twenty.
    """
    names = sorted(map(str, known))
    near = difflib.get_close_matches(str(found), names, 1)
    if near:
        return InputError(f"unknown {kind} {found!r}; did you mean {near[0]!r}?")
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    return InputError(f"unknown {kind} {found!r}; known: {', '.join(names[:20])}{more}")


def reason(error: BaseException) -> str:
    """Tell an exception in one line: the first line of its message, or its class where the message is empty.

    Control characters, such as a terminal's escape sequences, are written as \\x1b.
    """
    lines = [line.strip() for line in str(error).splitlines()]
    return printable(next((line for line in lines if line), type(error).__name__))


def printable(text: str) -> str:
    """Write control characters, such as a terminal's escape sequences, and lone surrogates as Python writes them: \\x1b."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]", lambda match: repr(match[0])[1:-1], text)
