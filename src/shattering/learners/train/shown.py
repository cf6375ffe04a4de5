"""The line of progress of a training: its epochs, the accuracy, and the time that is left."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from shattering.system.progress import QUICK, Progress

OnEpoch = Callable[[dict], None]


@contextmanager
def shown_epochs(epochs: int, progress: bool | None, on_epoch: OnEpoch | None) -> Iterator[OnEpoch | None]:
    """Give an `on_epoch` that shows each row of the history, too, unless a call around this one has a line of its own.

    Args:
        epochs: the budget.
        progress: see `shattering.system.progress`.
        on_epoch: is called with each row.

    Example:
        >>> with shown_epochs(10, False, None) as each_epoch:
        ...     each_epoch({"epoch": 1, "train_loss": 2.3, "train_accuracy": 0.1})
    """
    if Progress.is_open():
        yield on_epoch
        return
    with Progress("epochs", epochs, progress, after=QUICK) as shown:

        def each_epoch(row: dict) -> None:
            if not shown.done:
                shown.before = row["epoch"] - 1  # those before were trained at another time
            note = f"train {row['train_accuracy']:.1%}" if "train_accuracy" in row else f"train loss {row['train_loss']:.3g}"
            shown.update(row["epoch"], note)
            if on_epoch:
                on_epoch(row)

        yield each_epoch
