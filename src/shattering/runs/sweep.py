"""`sweep`: run what is missing, one worker process a run, on this machine."""

import multiprocessing
import os
import signal
import tempfile
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, overload

import cloudpickle
import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from shattering.errors import InputError
from shattering.loggers import Log, logger_names
from shattering.runs.objects import Objects
from shattering.runs.run import run
from shattering.runs.spec import RunSpec
from shattering.runs.store import AnySpec, Record, Run, Store, Stored, read_spec

_PRELOAD = ["torch._dynamo", "pyarrow.parquet", "sklearn.datasets", "PIL.PngImagePlugin"]  # what a run imports late
ATTEMPTS = 2  # a run whose worker is killed is tried once more


@overload
def sweep(
    specs: Iterable[RunSpec], store: Store, jobs: int = 1, console: Console | None = None, log: Log = None, given: Objects | None = None
) -> Sequence[Run]: ...
@overload
def sweep(
    specs: Iterable[AnySpec], store: Store, jobs: int = 1, console: Console | None = None, log: Log = None, given: Objects | None = None
) -> Sequence[Run | Record]: ...
def sweep(
    specs: Iterable[AnySpec], store: Store, jobs: int = 1, console: Console | None = None, log: Log = None, given: Objects | None = None
) -> Sequence[Run | Record]:
    """Run what the store lacks, `jobs` at a time, and return the runs of all specs in their order.

    Done runs are skipped, interrupted ones resumed at their last checkpoint, failed ones tried again. A worker that
    dies is replaced once, then its run is marked failed; the others go on. Runs that another process is at are
    waited for. On Ctrl-C the workers end and KeyboardInterrupt is raised; the same call resumes.

    console: where to show a live overview (a line a run where the output is no terminal); None: nowhere.
    log: trackers that the workers tell, as `run` does, but names only: objects stay in this process.
    given: the objects that the specs name; the workers get copies.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise InputError(f"sweep was started by torchrun in {os.environ['WORLD_SIZE']} processes, expected one: torchrun is for `run`")
    names = logger_names(log)
    unique = {spec.run_id: spec for spec in specs}
    pending = deque(spec for spec in unique.values() if not _is_done(store, spec))
    with _Overview(console, len(unique), len(unique) - len(pending)) as overview, _handed_over(given) as objects:
        workers: list[_Worker] = []
        try:
            while pending or workers:
                while pending and len(workers) < jobs and (spec := _next_free(pending, store, overview)):
                    threads = max(1, (os.cpu_count() or 1) // jobs)
                    workers.append(_Worker(spec, store, threads, overview.start(spec), names, given, objects))
                wait([w.connection for w in workers] + [w.process.sentinel for w in workers], timeout=0.5) if workers else time.sleep(0.5)
                for worker in workers:
                    worker.receive(overview)
                for worker in [w for w in workers if w.process.exitcode is not None]:
                    _settle(worker, store, overview)
                    workers = [w for w in workers if w is not worker or w.process.exitcode is None]
        finally:
            for worker in workers:
                worker.process.terminate()
            for worker in workers:
                worker.process.join()
    return [store.read(store.folder(spec)) for spec in unique.values()]


@contextmanager
def _handed_over(given: Objects | None) -> Iterator[str | None]:
    """The path of a private file, while the sweep lasts, from which its workers read the objects."""
    if not given:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="shattering-") as folder:  # readable by this user alone
        path = Path(folder, "objects.pickle")
        path.write_bytes(cloudpickle.dumps(dict(given)))
        yield str(path)


def _is_done(store: Store, spec: AnySpec) -> bool:
    return (store.folder(spec) / "result.json").exists()


def _next_free(pending: deque[AnySpec], store: Store, overview: "_Overview") -> AnySpec | None:
    """Take the next run that nobody is at; drop those that somebody else has done meanwhile."""
    for _ in range(len(pending)):
        spec = pending.popleft()
        if _is_done(store, spec):
            overview.finish(None, store.read(store.folder(spec)), "done by another process")
        elif store.is_locked(store.folder(spec)):
            pending.append(spec)
        else:
            return spec
    return None


def _settle(worker: "_Worker", store: Store, overview: "_Overview") -> None:
    """Account for a worker that has ended; replace it if it was killed on its first attempt."""
    worker.receive(overview)
    spec, code = worker.spec, worker.process.exitcode
    if not _is_done(store, spec) and not worker.raised:
        if worker.attempt < ATTEMPTS:
            worker.start(worker.attempt + 1)
            return
        store.fail(spec, f"the worker process died {ATTEMPTS} times (exit code {code})")
    overview.finish(worker.task, store.read(store.folder(spec)))


@dataclass
class _Worker:
    """A process that executes one run and reports its epochs."""

    spec: AnySpec
    store: Store
    threads: int
    task: TaskID | None
    log: tuple[str, ...] = ()
    given: Objects | None = None
    objects: str | None = None
    attempt: int = 0
    raised: bool = False
    epochs: int | None = None
    process: BaseProcess = field(init=False)
    connection: Any = field(init=False)  # its class depends on the system

    def __post_init__(self):
        if isinstance(self.spec, RunSpec):
            self.epochs = getattr(self.spec.build(self.given), "epochs", None)
        self.start(1)

    def start(self, attempt: int) -> None:
        context = _context()
        self.attempt = attempt
        self.connection, theirs = context.Pipe(duplex=False)
        arguments = (theirs, self.spec.to_json(), str(self.store.root), self.threads, self.log, self.objects)
        self.process = context.Process(target=_work, args=arguments, name=self.spec.folder_name)  # type: ignore[attr-defined]
        self.process.start()
        theirs.close()

    def receive(self, overview: "_Overview") -> None:
        try:
            while self.connection.poll():
                message = self.connection.recv()
                self.raised = self.raised or "error" in message
                overview.update(self.task, message, self.epochs)
        except (EOFError, OSError):
            pass  # it has ended; its exit code tells how


def _context():
    """Workers are forked from a clean server process that has imported the library once (where there is fork)."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # idle OpenMP threads must not spin beside other workers
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, *_PRELOAD])
    return context


def _work(connection: Any, spec: dict, root: str, threads: int, log: tuple[str, ...], objects: str | None) -> None:
    """The worker process. It ends with its parent, at the end of an epoch, and leaves the run interrupted."""

    def report(row: dict) -> None:
        try:
            connection.send(row)
        except OSError:
            raise SystemExit(1) from None  # not an Exception: the run has not failed

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    torch.set_num_threads(threads)
    try:
        given = cloudpickle.loads(Path(objects).read_bytes()) if objects else None
        run(read_spec(spec), Store(root), on_epoch=report, log=log, given=given)
    except Exception as error:
        connection.send({"error": str(error)})
        raise SystemExit(1) from None


class _Overview:
    """A bar for the whole and a line a run; plain lines where the output is no terminal."""

    def __init__(self, console: Console | None, total: int, done: int):
        self.console = console
        columns = (
            TextColumn("{task.description}"),
            BarColumn(20),
            TextColumn("{task.fields[note]}"),
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

    def start(self, spec: AnySpec) -> TaskID:
        return self.progress.add_task(spec.folder_name, total=None, note="starting")

    def update(self, task: TaskID | None, row: dict, epochs: int | None) -> None:
        if task is None or "epoch" not in row:
            return
        note = f"epoch {row['epoch']}/{epochs}  train {row['train_accuracy']:.1%}  test {row['test_accuracy']:.1%}"
        self.progress.update(task, total=epochs, completed=row["epoch"], note=note)
        self._update_whole()

    def _update_whole(self) -> None:
        running = sum(t.percentage / 100 for t in self.progress.tasks if t.id != self.whole and t.total)
        self.progress.update(self.whole, completed=self.done + running, note=f"{self.done}/{self.total}")

    def finish(self, task: TaskID | None, run: Stored, note: str = "") -> None:
        self.done += 1
        if task is not None:
            self.progress.remove_task(task)
        self._update_whole()
        if self.console is not None:
            self.console.print(f"{run.status:7} {run.folder.name}  {note or run.outcome}", highlight=False, markup=False, soft_wrap=True)
