"""Print stored runs to the terminal. Escape sequences in their texts are made visible.

Listing runs must stay fast, so heavy imports are made where they are needed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, get_args

from shattering.errors import printable
from shattering.report.terminal import TextTable, print_table, wrapped
from shattering.runs.stored import Found, Run, Status

if TYPE_CHECKING:
    import pandas as pd

_SUMMARY = ("randomization", "train %", "test %", "gap", "epochs to fit", "seeds")
LISTED = 10  # values of a long list that are printed


def print_status(runs: Sequence[Found], fit: Callable[[str], str] = str) -> None:
    """Print one line per run, and how many have each status. fit: cuts a line to the terminal."""
    for run in runs:
        print(fit(printable(f"{run.status:11}  {run.folder.name}  {run.outcome}")))
    counts = {s: sum(run.status == s for run in runs) for s in get_args(Status)}
    print(", ".join(f"{n} {s}" for s, n in counts.items() if n) or "no runs")


def print_stored(run: Run[Any], full: bool = False) -> None:
    """Print the result of a run or study.

    Args:
        run: done or not.
        full: print also its specification, provenance, history or table, and why it failed.
    """
    print(printable(f"{run.folder}: {run.status}" + (f" ({run.error})" if run.error else "")))
    lines = {"spec": json.dumps(run.spec.to_json())} if full else {}
    lines |= {name: value for name, value in run.result.items() if name != "examples"}
    lines |= {name: value for name, value in run.provenance.items() if full and name != "epoch_seconds"}
    for name, value in lines.items():
        print(printable(f"{name:34} {_text(value)}"))
    rows = run.rows if full and run.status == "done" else None
    if rows is not None and len(rows):
        _print_lines(_printable(rows).to_string(index=False, max_rows=12, float_format=lambda v: f"{v:.4g}"))
    if full and run.traceback:
        _print_lines(run.traceback)


def _printable(rows: pd.DataFrame) -> pd.DataFrame:
    """Make line breaks and escape sequences visible in the names and texts of a table."""
    rows = rows.rename(columns=lambda name: printable(str(name)))
    return rows.map(lambda value: printable(value) if isinstance(value, str) else value)


def _print_lines(text: str) -> None:
    print("\n".join(map(printable, text.split("\n"))))


def _text(value: object) -> str:
    """Return a value as one line; a long list is cut."""
    if isinstance(value, list) and len(value) > LISTED:
        return f"{str(value[:LISTED])[:-1]}, … {len(value):,} in all]"
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def print_summary(runs: Sequence[Run], wide: bool = False) -> None:
    """Print a table per dataset, model and hyperparameters, one row per randomization; then the verdicts in sentences.

    wide: print every column, in whole lines.
    """
    from shattering.report.tables import by_subject, subject_title, summary_rows, verdicts

    rows = summary_rows(runs)
    for subject in by_subject(rows):
        titles = [subject_title(subject), *([subject["hyperparameters"]] if subject["hyperparameters"] else [])]
        print(*(line for title in titles for line in wrapped(printable(title))), "", sep="\n")
        cells = [[printable(cell) for cell in _cells(row)] for row in subject["rows"]]
        labels = _SUMMARY if subject["score"] is None else [name.removesuffix(" %") for name in _SUMMARY]
        print_table(TextTable(labels, cells, frozenset(range(1, len(_SUMMARY))), range(len(_SUMMARY))), wide)
        print()
    for sentence in verdicts(rows):
        print(*wrapped(printable(sentence)), sep="\n")


def _cells(row: dict) -> list[str]:
    seeds = f"{row['seeds']}" + (f" ({row['runs']} runs)" if row["runs"] > row["seeds"] else "")
    seeds += f" ({row['not_done']} not done: {row['others']})" if row["not_done"] else ""
    if not row["seeds"]:
        return [row["randomization"], "–", "–", "–", "–", seeds]
    train, test, fit = row["train_accuracy"], row["test_accuracy"], row["epochs_to_fit"]
    if row["score"] is not None:
        spread = "" if row["test_sd"] is None else f" ± {row['test_sd']:.2g}"
        scores = [f"{train:.3g} {row['score']}", f"{test:.3g}{spread} {row['score']}"]
        return [row["randomization"], *scores, f"{train - test:.3g}", "–" if fit is None else f"{fit:.4g}", seeds]
    spread = "" if row["test_sd"] is None else f" ± {100 * row['test_sd']:.1f}"
    numbers = [f"{100 * train:.1f}", f"{100 * test:.1f}{spread}", f"{100 * (train - test):.1f}", "–" if fit is None else f"{fit:.4g}"]
    return [row["randomization"], *numbers, seeds]
