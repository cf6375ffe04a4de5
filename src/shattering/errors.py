"""The one exception for bad input: a sentence that names the field, what was found and what was expected."""


class InputError(ValueError):
    """Bad input. The message is one sentence, fit to be shown to the user as it is."""


def unknown(kind: str, found: object, known) -> InputError:
    """An `InputError` for a name that is not among `known` names."""
    return InputError(f"unknown {kind} {found!r}; known: {', '.join(sorted(known))}")
