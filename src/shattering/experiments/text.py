"""Results of the papers' experiments as text, for the terminal and in Markdown."""

from rich import box
from rich.console import Console
from rich.table import Table as RichTable

from shattering.errors import printable
from shattering.experiments.experiment import Result, Table, show


def print_result(result: Result) -> None:
    """Print the tables of a result, then each claim with its verdict, rule and evidence."""
    for table in result.tables:
        print_table(table)
    for claim in result.claims:
        why = f"\n    why: {claim.why}" if claim.why else ""
        verdict = claim.verdict if claim.holds else claim.verdict.upper()
        print(f"{verdict}: {claim.name}{why}\n    rule: {claim.rule}\n    found: {claim.evidence}")
    if result.not_done:
        print(f"{len(result.not_done)} of {len(result.runs)} runs are not done, and missing above.")


def print_table(table: Table) -> None:
    """Print a table and its note."""
    console = Console(markup=False, emoji=False)
    if not console.is_terminal:
        console = Console(markup=False, emoji=False, width=240)  # a file or a pipe does not wrap
    shown = RichTable(title=printable(table.title), title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in table.columns:
        shown.add_column(column.label, justify="left" if column.kind in ("text", "prose") else "right")
    for row in table.rows:
        shown.add_row(*(printable(show(row[column.key], column.kind)) for column in table.columns))
    console.print(shown, highlight=False)
    print(printable(table.note), end="\n\n")


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
