"""The command line. Nothing heavy is imported before a command has been understood."""

import contextlib
import io
import os
import sys
import traceback
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from shattering.cli.capacity import FindShatterPoint, MeasureBits, MeasureRademacher, MeasureStability
from shattering.cli.completion import script
from shattering.cli.interrogating import Interrogate
from shattering.cli.measuring import MeasureRun, RetestRuns
from shattering.cli.options import Positional, UsageError, help_of, help_of_group, parse
from shattering.cli.running import Demo, Paper, RunOne, Sweep
from shattering.cli.showing import List, Report, Show, Status
from shattering.cli.testing import Test
from shattering.errors import InputError, failure, printable, unknown
from shattering.system import signals
from shattering.version import VERSION


class Group(dict[str, Any]):
    """A group of commands with a common first word."""

    def __init__(self, about: str, examples: Sequence[str], commands: Mapping[str, Any]):
        super().__init__(commands)
        self.__doc__ = "\n".join([about, "", "Examples:", *examples])


@dataclass(frozen=True, kw_only=True)
class Completion:
    """Print a script by which a shell completes commands, options and names.

    Examples:
        eval "$(shattering completion bash)"
        eval "$(shattering completion zsh)"
        shattering completion fish | source
    """

    shell: Positional[Literal["bash", "zsh", "fish"]]
    """The shell."""

    def execute(self) -> int:
        print(script(self.shell, COMMANDS), end="")
        return 0


COMMANDS = Group(
    "Would this model fit noise just as well? Randomization tests for any model, data and training hyperparameters.",
    ["shattering demo", "shattering test random-forest --data digits", "shattering paper"],
    {
        "demo": Demo,
        "test": Test,
        "run": RunOne,
        "sweep": Sweep,
        "list": List,
        "status": Status,
        "show": Show,
        "report": Report,
        "measure": MeasureRun,
        "interrogate": Interrogate,
        "retest": RetestRuns,
        "paper": Paper,
        "capacity": Group(
            "How much a model can fit: memory in bits, Rademacher complexity, shatter point, stability.",
            ["shattering capacity bits random-forest", "shattering capacity shatter-point --model logistic-regression"],
            {"bits": MeasureBits, "rademacher": MeasureRademacher, "shatter-point": FindShatterPoint, "stability": MeasureStability},
        ),
        "completion": Completion,
    },
)
_HELP = ("-h", "--help")


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the arguments and execute the command.

    An error is one sentence on the standard error, below the traceback if SHATTERING_TRACEBACK is set.

    Returns the exit status: 0; 2 for a bad command line; 1 for any other error, for failed runs, and where the reader of the output has
    ended; 130 for Ctrl-C, 143 for SIGTERM, 129 for SIGHUP.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read when torch is first imported
    if arguments is None:
        _open_output()
        warnings.formatwarning = _told
    with signals.handled(guarded=arguments is None) as ending:
        try:
            status = _answer(list(sys.argv[1:] if arguments is None else arguments), ending)
            ending.check()
        except KeyboardInterrupt as error:
            status = _report(error, ending.sentence, ending.status)
            if arguments is None:
                ending.leave()
        return status


def _told(message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None) -> str:
    """Write a warning of ours as a sentence, without the place in our code."""
    if category is UserWarning and Path(filename).is_relative_to(Path(__file__).parents[1]):
        return f"shattering: {printable(str(message))}\n"
    return _as_python_does(message, category, filename, lineno, line)


_as_python_does = warnings.formatwarning


def _open_output() -> None:
    """Have standard output take any text: one that its encoding lacks is escaped, and one that is closed leads nowhere."""
    if sys.stdout is None:
        sys.stdout = io.StringIO()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _answer(arguments: list[str], ending: signals.Ending) -> int:
    try:
        return _execute(arguments)
    except UsageError as error:
        return _report(error, str(error), 2)
    except BrokenPipeError:  # the reader of the output, such as `head`, has ended
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError, AttributeError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        return 1
    except Exception as error:
        ending.check()  # a signal may have caused it
        return _report(error, str(error) if isinstance(error, InputError) else failure(error), 1)


def _report(error: BaseException, sentence: str, status: int) -> int:
    with contextlib.suppress(OSError):  # the terminal may be closed
        if os.environ.get("SHATTERING_TRACEBACK"):
            traceback.print_exception(error)
        print(f"shattering: {printable(sentence)}", file=sys.stderr)
    return status


def _execute(arguments: list[str]) -> int:
    command = understand(arguments)
    if isinstance(command, str):
        print(command, end="")
        return 0
    with signals.no_exit():
        return command.execute()


def understand(arguments: Sequence[str]) -> Any:
    """Return the command that these words stand for, with its options; a text if they ask for help or the version. Raises UsageError."""
    arguments = list(arguments)
    commands, usage = COMMANDS, "shattering"
    while isinstance(commands, Group):
        if not arguments or arguments[0] in _HELP:
            more = [("--version", "Show the version.")] if commands is COMMANDS else []
            return help_of_group(commands, usage, more)
        word = arguments.pop(0)
        if commands is COMMANDS and word == "--version":
            return f"shattering {VERSION}\n"
        if word not in commands:
            if word.startswith("-"):
                raise UsageError(f"{usage} got {word!r} before a command, expected a command first: {', '.join(commands)}")
            raise UsageError(str(unknown(f"{usage.removeprefix('shattering')} command".strip(), word, commands)))
        commands, usage = commands[word], f"{usage} {word}"
    before = arguments[: arguments.index("--")] if "--" in arguments else arguments
    if any(word in _HELP for word in before):
        return help_of(commands, usage)
    return parse(commands, arguments, usage)
