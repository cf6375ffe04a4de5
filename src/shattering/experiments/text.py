"""Results of the papers' experiments as text, for the terminal and in Markdown."""

from shattering.errors import printable
from shattering.experiments.experiment import Result, Table, show
from shattering.report import terminal
from shattering.report.terminal import TextTable, wrapped


def print_result(result: Result, wide: bool = False) -> None:
    """Print the tables of a result, then each claim with its verdict, rule and evidence. wide: tables with every column."""
    for table in result.tables:
        print_table(table, wide)
    for claim in result.claims:
        verdict = claim.verdict if claim.holds else claim.verdict.upper()
        told = {"why": claim.why, "rule": claim.rule, "found": claim.evidence}
        print(*wrapped(printable(f"{verdict}: {claim.name}")), sep="\n")
        print(*(line for name, text in told.items() if text for line in wrapped(printable(f"{name}: {text}"), "    ")), sep="\n")
    if result.not_done:
        print(f"{len(result.not_done)} of {len(result.runs)} runs are not done, and missing above.")


def print_table(table: Table, wide: bool = False) -> None:
    """Print a table and its note, as wide as the terminal; wide: every column, in whole lines."""
    keys = [column.key for column in table.columns]
    numbers = frozenset(c for c, column in enumerate(table.columns) if column.kind not in ("text", "prose"))
    rows = [[printable(show(row[column.key], column.kind)) for column in table.columns] for row in table.rows]
    rest = [c for c, key in enumerate(keys) if key not in table.priority]
    priority = [*map(keys.index, table.priority), *rest] if table.priority else []
    print(*wrapped(printable(table.title)), "", sep="\n")
    terminal.print_table(TextTable([column.label for column in table.columns], rows, numbers, priority, spaced=True), wide)
    print("", *wrapped(printable(table.note)), "", sep="\n")


def to_markdown(result: Result, *pictures: str) -> str:
    """Format a result as a section of Markdown: scale, pictures, the claims with their verdicts, and the tables."""
    lines = [f"## Scale {result.scale}", "", *pictures]
    if result.claims:
        lines += ["", "| claim | verdict | rule | found |", "|---|---|---|---|"]
    for claim in result.claims:
        why = f": {claim.why}" if claim.why else ""
        lines.append(f"| {claim.name} | **{claim.verdict}**{why} | {claim.rule} | {claim.evidence} |")
    for table in result.tables:
        lines += ["", f"**{table.title}.**", "", table_to_markdown(table), "", table.note]
    return "\n".join([*lines, ""])


def table_to_markdown(table: Table) -> str:
    """Format the rows of a table as Markdown, under the labels of the columns."""
    left = [column.kind in ("text", "prose") for column in table.columns]
    lines = ["| " + " | ".join(column.label for column in table.columns) + " |", "|" + "|".join("---" if t else "--:" for t in left) + "|"]
    lines += ["| " + " | ".join(show(row[column.key], column.kind) for column in table.columns) + " |" for row in table.rows]
    return "\n".join(lines)
