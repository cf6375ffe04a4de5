"""Tables of `list` and `status`: as wide as the terminal, where there is one; whole lines where a file or a program reads them."""

import shutil
import sys
import textwrap
from collections.abc import Sequence

LEAST = 30  # characters of a line that the wrapped column has at least


def print_rows(rows: Sequence[dict], wide: bool = False) -> None:
    """Print a table with its columns in capitals.

    On a terminal the widest column but the first stands last and is wrapped, and columns for which there is no room are left out; a line
    says which.

    Args:
        rows: with the same keys, the name first.
        wide: print everything, in whole lines.
    """
    texts = [{key: f"{value:,}" if isinstance(value, int) else value for key, value in row.items()} for row in rows]
    widths = {key: max(len(key), *(len(row[key]) for row in texts)) for key in texts[0]}
    if wide or not sys.stdout.isatty():
        shown, width = list(widths), sys.maxsize
    else:
        width = shutil.get_terminal_size().columns
        shown = _fitting(list(widths), widths, width)
    for row in [{key: key.upper() for key in widths}, *texts]:
        *before, last = (row[key] for key in shown)
        start = "".join(f"{text:{widths[key]}}  " for key, text in zip(shown, before, strict=False))
        room = max(width - len(start), LEAST)
        lines = [last] if width == sys.maxsize else textwrap.wrap(last, room, break_on_hyphens=False) or [""]
        print(start + f"\n{' ' * len(start)}".join(lines))
    if left_out := [key for key in widths if key not in shown]:
        print(f"\n--wide shows {', '.join(left_out)}, too.")


def print_paragraph(text: str) -> None:
    """Print a text in lines as wide as the terminal; 80 characters where there is none."""
    print("", *textwrap.wrap(text, shutil.get_terminal_size().columns, break_on_hyphens=False), sep="\n")


def cut_to_terminal(line: str, wide: bool = False) -> str:
    """Return a line with its end cut off where the terminal is narrower."""
    width = shutil.get_terminal_size().columns
    return line if wide or not sys.stdout.isatty() or len(line) <= width else f"{line[: width - 1]}…"


def _fitting(keys: list[str], widths: dict[str, int], width: int) -> list[str]:
    """Return the first column, those that fit after it, and the widest of the others, which is to be wrapped."""
    first, *rest = keys
    wrapped = max(rest, key=widths.__getitem__)
    shown, room = [first], width - widths[first] - 2 - LEAST
    for key in rest:
        if key != wrapped and widths[key] + 2 <= room:
            shown.append(key)
            room -= widths[key] + 2
    return [*shown, wrapped]
