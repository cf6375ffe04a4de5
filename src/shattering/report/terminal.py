"""Tables in the terminal: as wide as it is, with texts wrapped and columns left out; whole where a file or a program reads them."""

import shutil
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import zip_longest

LEAST = 16  # characters of a column of texts, below which it is rather left out
_BROKEN = 30  # characters of the column that is always there, above which its words are rather broken
_GAP = 2  # spaces between columns


@dataclass(frozen=True)
class TextTable:
    """A table of texts.

    Args:
        labels: of the columns.
        rows: a text per column.
        numbers: columns of numbers, which stand at the right and are never wrapped.
        priority: columns from the first to be kept to the first to be left out; empty: the first, the widest, then in their order.
        spaced: leave an empty line between rows that do not fit in one line.
    """

    labels: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: frozenset[int] = field(default=frozenset())
    priority: Sequence[int] = ()
    spaced: bool = False

    def whole(self) -> list[str]:
        """Return the lines, as long as they are."""
        return self._lines(self._widths())

    def fitted(self, width: int) -> tuple[list[str], list[str]]:
        """Return lines of at most `width` characters, if the first column and a text beside it fit, and the labels of what is left out."""
        natural, least = self._widths(), self._least()
        order = list(self.priority or range(len(self.labels)))
        if not self.priority:  # the widest column is what the table is about
            order.insert(1, max(order[1:] or order, key=natural.__getitem__))
            least[order[1]] = min(least[order[1]], _BROKEN)
        kept = dict.fromkeys(order[:1] if self.priority else order[:2])
        for column in order:
            if sum(least[c] + _GAP for c in {*kept, column}) - _GAP <= width:
                kept[column] = None
        widths = {column: least[column] for column in sorted(kept)}
        room = width - sum(widths.values()) - _GAP * (len(widths) - 1)
        while room > 0 and (short := [c for c in widths if widths[c] < natural[c]]):
            widths[min(short, key=widths.__getitem__)] += 1
            room -= 1
        return self._lines(widths), [label for column, label in enumerate(self.labels) if column not in widths]

    def _widths(self) -> dict[int, int]:
        return {c: max(map(len, [label, *(row[c] for row in self.rows)])) for c, label in enumerate(self.labels)}

    def _least(self) -> dict[int, int]:
        """Return how wide each column is at least: its longest word, and a few words more where it has them."""
        words = {c: max(map(len, " ".join([label, *(r[c] for r in self.rows)]).split()), default=0) for c, label in enumerate(self.labels)}
        widths = self._widths()
        return {
            c: max(longest, len(self.labels[c])) if c in self.numbers else max(longest, min(LEAST, widths[c]))
            for c, longest in words.items()
        }

    def _lines(self, widths: dict[int, int]) -> list[str]:
        lines = []
        for row in [self.labels, *self.rows]:
            cells = [textwrap.wrap(row[c], max(width, 1), break_on_hyphens=False) or [""] for c, width in widths.items()]
            for parts in zip_longest(*cells, fillvalue=""):
                placed = [
                    part.rjust(width) if c in self.numbers else part.ljust(width)
                    for part, (c, width) in zip(parts, widths.items(), strict=True)
                ]
                lines.append((" " * _GAP).join(placed).rstrip())
            if self.spaced and any(len(cell) > 1 for cell in cells):
                lines.append("")
        return lines


def print_table(table: TextTable, wide: bool = False) -> None:
    """Print a table, as wide as the terminal; a line says which columns were left out.

    wide: print everything in whole lines, as a file or a pipe gets it.
    """
    if wide or not sys.stdout.isatty():
        lines, left_out = table.whole(), []
    else:
        lines, left_out = table.fitted(shutil.get_terminal_size().columns)
    print(*lines, sep="\n")
    if left_out:
        print("", *wrapped(f"--wide shows {', '.join(left_out)}, too."), sep="\n")


def wrapped(text: str, indent: str = "") -> list[str]:
    """Wrap a text to the terminal; a file or a pipe gets it in one line."""
    if not sys.stdout.isatty():
        return [indent + text]
    width = max(shutil.get_terminal_size().columns, len(indent) + LEAST)
    return textwrap.wrap(text, width, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False) or [""]


def cut(line: str, wide: bool = False) -> str:
    """Return a line with its end cut off where the terminal is narrower; wide: the whole line."""
    width = shutil.get_terminal_size().columns
    return line if wide or not sys.stdout.isatty() or len(line) <= width else f"{line[: width - 1]}…"
