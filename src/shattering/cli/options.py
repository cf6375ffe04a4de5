"""Options of a command from the fields of its dataclass: types say how to read them, the text beneath each field is its help.

A field without a default has to be given. `Positional[…]` takes the words that are no options; a boolean is a flag, `--name`, or
`--no-name` where it is true by default; a tuple of texts takes its option any number of times. Abbreviations are not understood.
"""

import inspect
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from itertools import pairwise
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from shattering.errors import InputError, nearest, shown
from shattering.parameters import describe, field_types, read

T = TypeVar("T")
_POSITIONAL = "a word that is no option"
Positional = Annotated[T, _POSITIONAL]
Repeated = tuple[str, ...]
_TEXT_COLUMN = 26  # of help
_HELP_ROW = ("-h, --help", "Show this help.")
_EXAMPLES = "\nExamples:\n"


class UsageError(InputError):
    """A command line that cannot be understood. The message is one sentence."""


@dataclass(frozen=True)
class Option:
    """One option, or positional, of a command. hint: its type. default: MISSING where it has to be given."""

    field: str
    hint: Any
    default: Any
    is_positional: bool

    @property
    def name(self) -> str:
        """The option's name on the command line; a positional argument is in capitals, as in the usage line."""
        name = self.field.rstrip("_").replace("_", "-")
        return name.upper() if self.is_positional else f"--no-{name}" if self.default is True else f"--{name}"

    @property
    def is_flag(self) -> bool:
        return self.hint is bool

    @property
    def repeats(self) -> bool:
        return self.hint == Repeated

    def read(self, text: str) -> Any:
        """Return the value that a text stands for. Raises UsageError."""
        if self.repeats:
            return text
        is_path = Path in (self.hint, *get_args(self.hint))
        try:
            value = read(text, (str | None) if is_path and _is_optional(self.hint) else str if is_path else self.hint, self.name)
        except InputError as error:
            raise UsageError(str(error)) from None
        return Path(os.path.expanduser(value)) if is_path and value is not None else value  # a shell leaves --out=~/x as it is


def options_of(command: type) -> list[Option]:
    """Return the options of a command, in the order of its fields."""
    options = []
    for field, (name, hint) in zip(fields(command), _own(command).items(), strict=True):
        is_positional = get_origin(hint) is Annotated and _POSITIONAL in get_args(hint)
        options.append(Option(name, get_args(hint)[0] if is_positional else hint, field.default, is_positional))
    return options


def _own(command: type) -> dict[str, Any]:
    hints = field_types(command)
    return {field.name: hints[field.name] for field in fields(command)}


def parse(command: type[T], arguments: Sequence[str], usage: str) -> T:
    """Return the command with these options. usage: how it is called, such as "shattering run". Raises UsageError."""
    options = options_of(command)
    values: dict[str, Any] = {}
    words = list(arguments)
    while words:
        word = words.pop(0)
        if word == "--":
            for word in words:
                _place(word, options, values, usage)
            break
        if word.startswith("-") and word != "-" and not re.fullmatch(r"-[.0-9].*", word):
            _take(word, words, options, values, usage)
        else:
            _place(word, options, values, usage)
    for option in options:
        if option.default is MISSING and option.field not in values:
            expected = _expected(option)
            raise UsageError(f"{usage} lacks {option.name}, " + (f"see {usage} --help" if expected == "a text" else f"expected {expected}"))
    return command(**values)


def _take(word: str, words: list[str], options: Sequence[Option], values: dict[str, Any], usage: str) -> None:
    """Take an option, and its value from the words after it."""
    name, equals, text = word.partition("=")
    option = _find(name, options, usage)
    if option.is_flag:
        if equals:
            raise UsageError(f"{option.name} is {shown(text)}, expected no value: it is a flag")
        values[option.field] = not option.default
        return
    if not equals:
        if not words or (words[0].startswith("--") and _is_known(words[0], options)):
            raise UsageError(f"{option.name} has no value, expected {_expected(option)}")
        text = words.pop(0)
    _keep(option, text, values)


def _place(word: str, options: Sequence[Option], values: dict[str, Any], usage: str) -> None:
    """Take a word that is no option as the next value that is given without one."""
    places = [option for option in options if option.is_positional]
    free = [option for option in places if option.field not in values]
    if not free:
        named = [f"{option.name} NAME" for option in options if option.name in ("--model", "--data")]
        alone = "options alone" + (f", such as {' and '.join(named)}" if named else "")
        expected = alone if not places else f"{places[0].name} alone beside its options"
        raise UsageError(f"{usage} got {shown(word)}, expected {expected}")
    _keep(free[0], word, values)


def _keep(option: Option, text: str, values: dict[str, Any]) -> None:
    value = option.read(text)
    if option.repeats:
        values[option.field] = (*values.get(option.field, ()), value)
    elif option.field in values:
        raise UsageError(f"{option.name} is given twice, the second time as {shown(text)}, expected once")
    else:
        values[option.field] = value


def _find(name: str, options: Sequence[Option], usage: str) -> Option:
    by_name = {option.name: option for option in options if not option.is_positional}
    spelled = name.replace("_", "-")
    if spelled in by_name:
        return by_name[spelled]
    near = nearest(spelled.lstrip("-"), [known.removeprefix("--") for known in by_name])
    places = {option.name for option in options if option.is_positional}
    if (place := spelled.lstrip("-").upper()) in places:
        raise UsageError(f"unknown option {shown(name)} of {usage}; {place} is given as a word, without {name}")
    hint = f"did you mean --{near}?" if near else f"see {usage} --help"
    if (
        not near
        and "--set" in by_name
        and ("--model" in by_name or "MODEL" in places)
        and spelled.strip("-").replace("-", "_").isidentifier()
    ):
        hint += f"; a parameter of the model is given as --set {spelled.lstrip('-').replace('-', '_')}=VALUE"
    raise UsageError(f"unknown option {shown(name)} of {usage}; {hint}")


def _is_known(word: str, options: Sequence[Option]) -> bool:
    return word.partition("=")[0].replace("_", "-") in {option.name for option in options}


def _expected(option: Option) -> str:
    choices = choices_of(option.hint)
    if choices:
        return f"one of {', '.join(choices)}"
    return "a text" if option.repeats else describe(option.hint).removesuffix(" or none")


def _is_optional(hint: Any) -> bool:
    return get_origin(hint) in (Union, UnionType) and NoneType in get_args(hint)


def choices_of(hint: Any) -> tuple[str, ...]:
    """Return the texts that a type admits; empty for a type without such a list."""
    hint = get_args(hint)[0] if _is_optional(hint) else hint
    return get_args(hint) if get_origin(hint) is Literal else ()


def help_of(command: type, usage: str) -> str:
    """Return the help of a command."""
    lines = [f"usage: {usage_of(command, usage)}", "", *_about(command), *table(rows_of(command))]
    return "\n".join(lines + _examples(command)) + "\n"


def help_of_group(commands: Mapping[str, Any], usage: str, more: Sequence[tuple[str, str]] = ()) -> str:
    """Return the help of a group of commands: their names and purposes. more: further rows."""
    rows = [(name, about_of(command)[0]) for name, command in commands.items()]
    lines = [f"usage: {usage} COMMAND [OPTIONS]", "", *_about(commands), *table(rows), "", *table([*more, _HELP_ROW]), *_examples(commands)]
    return "\n".join([*lines, "", *_wrap(f"{usage} COMMAND --help shows the options of a command.", 0)]) + "\n"


def usage_of(command: type, usage: str) -> str:
    """Return how a command is called, with its positional arguments."""
    places = [option for option in options_of(command) if option.is_positional]
    return " ".join([usage, *(option.name if option.default is MISSING else f"[{option.name}]" for option in places), "[OPTIONS]"])


def rows_of(command: type) -> list[tuple[str, str]]:
    """Return each option of a command, and its text, with its choices and default; positional arguments first."""
    options, texts = options_of(command), help_texts(command)
    ordered = sorted(options, key=lambda option: not option.is_positional)
    return [*((_signature(option), _with_choices(texts.get(option.field, ""), option)) for option in ordered), _HELP_ROW]


def about_of(command: Any) -> list[str]:
    """Return the paragraphs of the docstring of a command, or of a group, but for its examples."""
    text = inspect.cleandoc(command.__doc__ or "").partition(_EXAMPLES)[0]
    return [" ".join(paragraph.split()) for paragraph in text.strip().split("\n\n")]


def examples_of(command: Any) -> list[str]:
    """Return the command lines that the docstring of a command, or of a group, has as examples."""
    return [line.strip() for line in inspect.cleandoc(command.__doc__ or "").partition(_EXAMPLES)[2].splitlines() if line.strip()]


def _about(command: Any) -> list[str]:
    return [line for paragraph in about_of(command) for line in (*_wrap(paragraph, 0), "")]


def _examples(command: Any) -> list[str]:
    return ["", "examples:", *(f"  {line}" for line in lines)] if (lines := examples_of(command)) else []


def _signature(option: Option) -> str:
    if option.is_flag or option.is_positional:
        return option.name
    hint = get_args(option.hint)[0] if _is_optional(option.hint) else option.hint
    base = get_args(hint)[0] if get_origin(hint) is Annotated else hint
    return f"{option.name} {({int: 'N', float: 'X', Path: 'PATH'}).get(base, 'TEXT')}"


def _with_choices(text: str, option: Option) -> str:
    choices = choices_of(option.hint)
    if choices and not all(choice in text for choice in choices):
        text += f" One of {', '.join(choices)}."
    is_said = "Default:" in text or isinstance(option.default, bool) or option.default in (MISSING, None, ())
    text += "" if is_said else f" Default: {option.default}."
    return text + (" May be given several times." if option.repeats else "")


def table(rows: Sequence[tuple[str, str]]) -> list[str]:
    """Format rows in two columns, as wide as the terminal."""
    lines, column = [], _TEXT_COLUMN if _width() > 2 * _TEXT_COLUMN else 6
    for name, text in rows:
        wrapped = _wrap(text, column)
        if len(name) + 4 > column:
            lines += [f"  {name}", *wrapped]
        else:
            lines += [f"  {name}".ljust(column) + wrapped[0].lstrip(), *wrapped[1:]]
    return [line.rstrip() for line in lines]


def _wrap(text: str, indent: int) -> list[str]:
    import textwrap

    return textwrap.wrap(
        text, max(_width(), indent + 14), initial_indent=" " * indent, subsequent_indent=" " * indent, break_on_hyphens=False
    ) or [""]


def _width() -> int:
    return shutil.get_terminal_size().columns - 1


def help_texts(command: type) -> dict[str, str]:
    """Return the text beneath each field, in the source of the class and of the classes that it inherits from."""
    import ast
    import textwrap

    texts: dict[str, str] = {}
    for cls in reversed(command.__mro__[:-1]):
        try:
            body = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0].body  # type: ignore[attr-defined]  # a class has a body
        except (OSError, SyntaxError):
            continue  # there is no source: the options are there all the same
        for field, text in pairwise(body):
            if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
                texts[ast.unparse(field.target)] = " ".join(str(text.value.value).split())
    return texts
