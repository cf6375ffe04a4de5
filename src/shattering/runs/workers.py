"""What a sweep asks of those who execute its runs: processes of this machine (`local`), or of a Ray cluster (`on_ray`)."""

import gc
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from shattering.runs.store import AnySpec

REUSED = 500  # runs of a worker process, one after another; then it is renewed, whatever they have left behind


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
    """In a worker, which executes other runs before and after: execute a run; what it raised, or None.

    where: its store. objects: pickled by the sweep, what the spec names. report: told an empty row, then those of the history.
    """
    import cloudpickle
    import torch

    from shattering.runs.run import run
    from shattering.runs.store import Store, read_spec

    torch.set_num_threads(threads)
    report({})
    try:
        with _put_back():
            given = cloudpickle.loads(objects) if objects else None
            run(read_spec(spec), Store(where), on_epoch=report, log=log, given=given)
    except Exception as error:
        return str(error) or type(error).__name__
    finally:
        _clear()
    return None


@contextmanager
def _put_back() -> Iterator[None]:
    """What a run may change of its process is put back: global generators, warnings, environment, folder, torch's defaults."""
    import torch

    from shattering import seeds

    environment, folder, dtype = dict(os.environ), os.getcwd(), torch.get_default_dtype()
    try:
        with seeds.put_back(), warnings.catch_warnings(), torch.enable_grad():
            yield
    finally:
        set_environment(environment)
        os.chdir(folder)
        torch.set_default_dtype(dtype)


def set_environment(environment: dict[str, str]) -> None:
    """Have these environment variables, and no others."""
    for name in os.environ.keys() - environment.keys():
        del os.environ[name]
    os.environ.update(environment)


def _clear() -> None:
    """Forget what a run has compiled, give back its memory on GPUs, and have their generators as in a new process."""
    import torch

    if "torch._dynamo" in sys.modules:
        torch.compiler.reset()
    if torch.cuda.is_initialized():
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.manual_seed_all(torch.default_generator.initial_seed())
