"""The live overview of a sweep."""

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from shattering.errors import printable
from shattering.runs.base import Spec
from shattering.runs.stored import Run


def line(run: Run[Spec], note: str = "") -> str:
    """Describe how a run ended."""
    return f"{run.status:7} {run.folder.name}  {note or run.outcome}"


class Overview:
    """A bar for the sweep and a line per run; plain lines if the output is no terminal."""

    def __init__(self, console: Console | None, total: int, done: int):
        self.console = console
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(20),
            TextColumn("{task.fields[note]}", markup=False),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        self.live = console is not None and console.is_terminal
        self.progress = Progress(*columns, console=console, disable=not self.live)
        self.total, self.done = total, done
        self.whole = self.progress.add_task("all runs", total=total, completed=done, note=f"{done}/{total}")

    def __enter__(self):
        self.progress.start()
        return self

    def __exit__(self, *_):
        self.progress.stop()

    def start(self, spec: Spec) -> TaskID:
        """Add a line for a run that a worker has begun."""
        return self.progress.add_task(printable(spec.folder_name), total=None, note="starting")

    def update(self, task: TaskID, row: dict, epochs: int | None) -> None:
        """Show a row of a run's history; epochs: how many it has at most."""
        if "permutation" in row:
            self.progress.update(task, total=row["of"], completed=row["permutation"], note=f"permutation {row['permutation']}/{row['of']}")
            self._update_whole()
        if "epoch" not in row:
            return
        measured = [(split, f"{row[name]:.1%}") for split in ("train", "test") if (name := f"{split}_accuracy") in row]
        measured += [(split, f"R² {row[name]:.3f}") for split in ("train", "test") if (name := f"{split}_r2") in row]
        note = "  ".join([f"epoch {row['epoch']}/{epochs}", *(f"{split} {value}" for split, value in measured)])
        self.progress.update(task, total=epochs, completed=row["epoch"], note=note)
        self._update_whole()

    def drop(self, task: TaskID | None) -> None:
        """Remove the line of a run that is not executed here after all."""
        if task is not None:
            self.progress.remove_task(task)

    def finish(self, task: TaskID | None, run: Run[Spec], note: str = "") -> None:
        """Remove a run's line, and report how it ended."""
        self.done += 1
        self.drop(task)
        self._update_whole()
        self.report(line(run, note))

    def report(self, text: str) -> None:
        """Print a line that stays."""
        if self.console is not None:
            self.console.print(printable(text), highlight=False, markup=False, emoji=False, soft_wrap=True)

    def _update_whole(self) -> None:
        running = sum(t.percentage / 100 for t in self.progress.tasks if t.id != self.whole and t.total)
        self.progress.update(self.whole, completed=self.done + running, note=f"{self.done}/{self.total}")
