"""The reference of the command line, made from the commands themselves whenever the docs are built, so that it cannot be out of date.

A Sphinx extension: in docs/commands.md it puts every command, with its help as Markdown, in place of `MARK`.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from shattering.cli import COMMANDS
from shattering.cli.options import about_of, examples_of, rows_of, usage_of

MARK = "<!-- every command -->"


def reference(commands: Mapping[str, Any] = COMMANDS, usage: str = "shattering") -> Iterator[str]:
    """Yield the lines of every command: heading, purpose, usage, examples and a table of its options."""
    for name, command in commands.items():
        called = f"{usage} {name}"
        yield from (f"## `{called}`", "", *(line for paragraph in about_of(command) for line in (paragraph, "")))
        if isinstance(command, Mapping):
            yield from reference(command, called)
            continue
        yield from ("```text", usage_of(command, called), "```", "", "```sh", *examples_of(command), "```", "")
        yield from ("| option | |", "|---|---|")
        yield from (f"| `{signature}` | {_cell(text)} |" for signature, text in rows_of(command))
        yield ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")


def _fill(_app: object, page: str, source: list[str]) -> None:
    if page == "commands":
        source[0] = source[0].replace(MARK, "\n".join(reference()))


def setup(app: Any) -> dict[str, bool]:
    app.connect("source-read", _fill)
    return {"parallel_read_safe": True}
