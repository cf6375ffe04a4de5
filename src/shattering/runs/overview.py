"""The overview of a sweep: how much of it is done, what is going on, and how each run ended."""

from shattering.errors import printable
from shattering.runs.base import Spec
from shattering.runs.stored import Run
from shattering.system.progress import Progress


def line(run: Run[Spec], note: str = "") -> str:
    """Describe how a run ended."""
    return f"{run.status:7} {run.folder.name}  {note or run.outcome}"


def share_and_note(row: dict, epochs: int | None) -> tuple[float, str]:
    """Return how far a run is after a row of its history, in 0…1, and what the row says; epochs: how many it has at most."""
    if "permutation" in row:
        return row["permutation"] / row["of"], f"permutation {row['permutation']}/{row['of']}"
    if "epoch" not in row:
        return 0.0, "starting"
    measured = [f"{split} {row[name]:.1%}" for split in ("train", "test") if (name := f"{split}_accuracy") in row]
    measured += [f"{split} R² {row[name]:.3f}" for split in ("train", "test") if (name := f"{split}_r2") in row]
    of = "" if epochs is None else f"/{epochs}"
    return row["epoch"] / epochs if epochs else 0.0, "  ".join([f"epoch {row['epoch']}{of}", *measured])


class Overview:
    """The progress of a sweep. progress: the parameter of `sweep`. total and done: runs in all, and those that were done before."""

    def __init__(self, progress: bool | None, total: int, done: int):
        self.progress = Progress("runs", total, progress, done)
        self.shares: dict[str, float] = {}  # of the runs that are going on, by id

    def __enter__(self):
        self.progress.__enter__()
        return self

    def __exit__(self, *_):
        self.progress.__exit__()

    def update(self, spec: Spec, row: dict, epochs: int | None) -> None:
        """Show a row of a run's history; an empty row when it begins. epochs: how many it has at most."""
        self.shares[spec.run_id], note = share_and_note(row, epochs)
        going_on = f"{len(self.shares)} at a time" if len(self.shares) > 1 else ""
        parts = filter(None, [going_on, note, spec.folder_name])  # the name comes last, for a narrow terminal cuts it
        self.progress.take_part(sum(self.shares.values()), printable("  ".join(parts)))

    def drop(self, run_id: str) -> None:
        """Forget a run that has ended, or is not executed here after all."""
        self.shares.pop(run_id, None)

    def finish(self, run: Run[Spec], note: str = "") -> None:
        """Count a run, and report how it ended."""
        self.drop(run.run_id)
        self.progress.part = sum(self.shares.values())
        self.progress.update(self.progress.done + 1)
        self.report(line(run, note))

    def report(self, text: str) -> None:
        """Print a line that stays."""
        self.progress.say(text)
