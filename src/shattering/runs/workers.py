"""The interface of a sweep's workers: processes of this machine (`local`) or of a Ray cluster (`on_ray`)."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from shattering.errors import InputError, reason
from shattering.system.machine import share_memory, usable_cores

if TYPE_CHECKING:
    from shattering.runs.base import Spec

REUSED = 500  # runs per worker process. Then it is replaced, as models leave threads and memory behind


@dataclass(frozen=True)
class Ended:
    """The end of a worker.

    Args:
        error: the exception of the run, in one line.
        death: how its process died before the run had ended.
        busy: True if another process executes the run.
    """

    error: str | None = None
    death: str | None = None
    busy: bool = False


class Worker(Protocol):
    """A worker that executes one run."""

    def rows(self) -> list[dict]:
        """Return the rows of the history since the last call; an empty row when the run begins."""
        ...

    def ended(self) -> Ended | None:
        """Return how the worker ended; None while it works."""
        ...


class Workers(Protocol):
    """A source of workers."""

    def has_room(self, busy: int) -> bool:
        """Return whether one more run may be submitted."""
        ...

    def start(self, spec: Spec) -> Worker:
        """Start a worker that executes a run."""
        ...

    def wait(self, workers: Sequence[Any], seconds: float) -> None:
        """Wait until one of these workers has news, or the time is over."""
        ...

    def stop(self, workers: Sequence[Any]) -> None:
        """End these workers. Their runs stay interrupted."""
        ...


def threads_of(jobs: int) -> int:
    """Return the threads of each of so many processes: an equal part of the cores, and at most OMP_NUM_THREADS, as outside a sweep."""
    share, most = max(1, usable_cores() // jobs), os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return min(share, int(most)) if most.isdecimal() and int(most) else share


def execute(spec: dict, where: str, threads: int, log: Sequence[str], packed: Any, report: Callable[[dict], None]) -> Ended:
    """Execute a run in a worker process, unless another process executes it. The worker executes other runs before and after.

    where: its store. packed: the pickled objects that the spec names, or None. report: called with an empty row, then each row.
    """
    import torch

    from shattering.runs.carried import unpack
    from shattering.runs.execute import run
    from shattering.runs.reading import spec_from_json
    from shattering.runs.store import Busy, Store
    from shattering.system.machine import use_cores

    torch.set_num_threads(threads)
    use_cores(threads)
    report({})
    try:
        objects = unpack(packed) if packed is not None else None
        asked, store = spec_from_json(spec), Store(where)
        try:
            run(asked, store, on_epoch=report, log=log, objects=objects, wait=False, progress=False)
        except InputError as error:
            if error.before_training:  # a sweep marks each run that fails
                store.fail_by(asked, error)
            raise
    except Busy:
        return Ended(busy=True)
    except KeyboardInterrupt:  # no Ctrl-C comes here: the sweep gets it
        return Ended(error="the model's code raised KeyboardInterrupt")
    except BaseException as error:
        return Ended(error=reason(error))
    finally:
        _clear()
    return Ended()


def work(connection: Any, packed: Any) -> None:
    """Execute the runs that a sweep sends on the connection, until it closes; send it the rows, and an `Ended` for each run.

    packed: the pickled objects that the specs name, or None.
    """
    from shattering.runs import surroundings

    def report(row: dict | Ended) -> None:
        try:
            connection.send(row)
        except OSError:  # the sweep has gone
            os._exit(1)

    while True:
        try:
            around, spec, where, jobs, log = connection.recv()
        except (EOFError, OSError):
            return
        surroundings.have(around)
        share_memory(jobs)
        report(execute(spec, where, threads_of(jobs), log, packed, report))


def _clear() -> None:
    """Forget compiled code, free the memory of GPUs, and reset their generators to those of a new process."""
    import torch

    if "torch._dynamo" in sys.modules:
        torch.compiler.reset()
    if torch.cuda.is_initialized():
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.manual_seed_all(torch.default_generator.initial_seed())
