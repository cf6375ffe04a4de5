"""The command line. Nothing heavy is imported before a command has been understood."""

import contextlib
import io
import itertools
import os
import sys
from typing import Annotated, Union

import tyro
from tyro.conf import subcommand

from shattering.cli.capacity import Capacity
from shattering.cli.running import Demo, Paper, Run, Sweep
from shattering.cli.showing import List, Report, Show, Status
from shattering.cli.testing import Test
from shattering.errors import InputError

Command = Union[  # noqa: UP007
    Annotated[Demo, subcommand("demo")],
    Annotated[Test, subcommand("test")],
    Annotated[Run, subcommand("run")],
    Annotated[Sweep, subcommand("sweep")],
    Annotated[List, subcommand("list")],
    Annotated[Status, subcommand("status")],
    Annotated[Show, subcommand("show")],
    Annotated[Report, subcommand("report")],
    Annotated[Paper, subcommand("paper")],
    Annotated[Capacity, subcommand("capacity")],
]


def main(arguments: list[str] | None = None) -> int:
    """Parse and execute; returns the exit status: 0, 1 for bad input or failed runs, 2 for a bad command line, 130 for Ctrl-C."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read when torch is first imported
    try:
        return _parse(arguments).execute()
    except InputError as error:
        print(f"shattering: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader of our output, such as `head`, has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        print(f"shattering: {error.strerror or error}{f': {error.filename}' if error.filename else ''}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("shattering: interrupted; the same command resumes", file=sys.stderr)
        return 130


def _parse(arguments: list[str] | None):
    """tyro's parsing, with its boxed errors folded into one line."""
    text = "Would this model fit noise just as well? Randomization tests for any model, data and training recipe."
    captured = io.StringIO()
    try:
        with contextlib.redirect_stderr(captured):
            return tyro.cli(Command, prog="shattering", description=text, args=arguments)  # type: ignore[call-overload]
    except SystemExit as stop:
        box = [line.strip("╭╮╰╯│─ ") for line in captured.getvalue().splitlines()[1:]]  # below its title
        sentence = " ".join(itertools.takewhile(bool, box))  # down to its first rule
        if sentence:
            print(f"shattering: {sentence.rstrip('.')}; see shattering --help", file=sys.stderr)
        raise stop from None
