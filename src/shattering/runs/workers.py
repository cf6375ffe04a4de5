"""What a sweep asks of those who execute its runs: processes of this machine (`local`), or of a Ray cluster (`on_ray`)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from shattering.runs.store import AnySpec


@dataclass(frozen=True)
class Ended:
    """How a worker ended. error: what the run raised. death: how its process died before the run had ended."""

    error: str | None = None
    death: str | None = None


class Worker(Protocol):
    """Somebody who executes one run."""

    def rows(self) -> list[dict]:
        """The rows of the history since the last call; an empty one when the run begins."""
        ...

    def ended(self) -> Ended | None:
        """None as long as it is at work."""
        ...


class Workers(Protocol):
    """Where workers come from."""

    def has_room(self, busy: int) -> bool:
        """Whether one more run may be handed out beside those that are."""
        ...

    def start(self, spec: AnySpec) -> Worker:
        """Have a run executed."""
        ...

    def wait(self, workers: Sequence[Any], seconds: float) -> None:
        """Until something has happened at one of these workers, or the time is over."""
        ...

    def stop(self, workers: Sequence[Any]) -> None:
        """End these workers, whose runs stay interrupted."""
        ...


def execute(spec: dict, where: str, threads: int, log: Sequence[str], objects: bytes | None, report: Callable[[dict], None]) -> str | None:
    """In a worker: execute a run; what it raised, or None.

    where: its store. objects: pickled by the sweep, what the spec names. report: told an empty row, then those of the history.
    """
    import cloudpickle
    import torch

    from shattering.runs.run import run
    from shattering.runs.store import Store, read_spec

    torch.set_num_threads(threads)
    report({})
    try:
        given = cloudpickle.loads(objects) if objects else None
        run(read_spec(spec), Store(where), on_epoch=report, log=log, given=given)
    except Exception as error:
        return str(error) or type(error).__name__
    return None
