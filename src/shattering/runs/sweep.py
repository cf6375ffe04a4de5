"""`sweep`: run what is missing, on this machine or on a cluster."""

import math
import time
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Literal

from shattering import parameters
from shattering.errors import InputError, shown, unknown
from shattering.identity.files import read_once
from shattering.runs.attempts import Attempts
from shattering.runs.base import Spec
from shattering.runs.local import local_workers
from shattering.runs.loggers import Log, logger_names
from shattering.runs.objects import Objects
from shattering.runs.on_ray import Ray, ray_workers
from shattering.runs.overview import Overview, line
from shattering.runs.store import A_STORE, Store
from shattering.runs.stored import UNREADABLE, Run, S
from shattering.runs.workers import Ended, Worker, Workers
from shattering.system.machine import launched

ENGINES = ("local", "ray")
Engine = Literal["local", "ray"] | Ray
_LOOK_SECONDS = 0.5  # between checks of runs that other processes execute


@read_once()
def sweep(
    specs: Iterable[S],
    store: Store,
    jobs: int | None = None,
    progress: bool | None = None,
    log: Log = None,
    objects: Objects | None = None,
    engine: Engine = "local",
    seconds: float | None = None,
) -> Sequence[Run[S]]:
    """Run what the store lacks and return the runs of all specs in their order.

    Done runs are skipped, interrupted runs are resumed at their last checkpoint, and failed runs are tried again. A worker
    process executes one run after another. A worker that dies is replaced. A run is marked failed if its workers die three
    times without progress, or ten times in a row before they have begun it; the other runs go on. The sweep waits for runs
    that another process executes. On Ctrl-C the workers end and KeyboardInterrupt is raised; the same call resumes.

    Args:
        specs: what to run, each once.
        store: where the runs are; on Ray a place that all machines see, a shared folder or object storage.
        jobs: runs at a time. Default: one; on Ray as many as the cluster has room for.
        progress: True prints a line for each run that has ended, on standard error, beside the line of progress that None shows in a
            terminal or a notebook; False prints nothing.
        log: names of loggers, as for `run`; objects are refused, as the runs are processes of their own.
        objects: the objects that the specs name; the workers get copies.
        engine: "local" for processes of this machine; "ray" or a `Ray` for tasks on a Ray cluster.
        seconds: time for the runs. After it those under way are ended and none is begun; the same call resumes them at their last
            checkpoints. None: as long as they take.

    Returns:
        One run per distinct spec, with the status "missing" or "interrupted" where the time was up. A run that fails has the status
        "failed"; one whose files cannot be read "damaged" or "newer".

    Raises:
        InputError: for bad input.

    Example:
        >>> from shattering import Store, grid, sweep
        >>> runs = sweep(grid({"labels": [0, 1], "n_train": 100}, {"epochs": 1}), Store("runs"), jobs=2)  # doctest: +SKIP
        >>> [run.status for run in runs]  # doctest: +SKIP
        ['done', 'done']
    """
    check(jobs, engine)
    parameters.check("progress", progress, bool | None)
    parameters.check("seconds", seconds, parameters.Positive | None)
    deadline = time.monotonic() + (math.inf if seconds is None else seconds)
    parameters.check("store", store, A_STORE)
    specs = list(specs) if isinstance(specs, Iterable) else [specs]
    for spec in specs:
        if not isinstance(spec, Spec):
            raise InputError(f"specs has {shown(spec)}, expected a list of RunSpec and StudySpec, as grid makes one")
    names = logger_names(log)
    unique = {spec.run_id: spec for spec in specs}
    store.refresh()
    missing = [spec for spec in unique.values() if not _is_done(store, spec)]
    with Overview(progress, len(unique), len(unique) - len(missing)) as overview:
        if missing:
            with _workers(engine, store, jobs, names, objects, overview) as workers:
                _execute(_Pending(missing, store), workers, store, overview, objects, deadline)
        runs = [store.of(spec) for spec in unique.values()]
        for run in runs:
            if run.status in UNREADABLE:
                overview.report(line(run))
    return runs


def check(jobs: int | None, engine: Engine) -> None:
    """Raise InputError for a bad number of jobs or engine, and in processes that torchrun has started."""
    _, world = launched("RANK"), launched("WORLD_SIZE")
    if world > 1:
        raise InputError(f"sweep was started by torchrun in {world} processes, expected one: torchrun is for `run`")
    parameters.check("jobs", jobs, parameters.Count | None)
    if not isinstance(engine, Ray) and engine not in ENGINES:
        raise unknown("engine", engine, ENGINES)


def _workers(
    engine: Engine, store: Store, jobs: int | None, log: tuple[str, ...], objects: Objects | None, overview: Overview
) -> AbstractContextManager[Workers]:
    if engine == "local":
        return local_workers(store, jobs or 1, log, objects)
    return ray_workers(engine if isinstance(engine, Ray) else Ray(), store, jobs, log, objects, overview)


class _Pending:
    """The runs that no worker of this sweep has taken yet."""

    def __init__(self, specs: Iterable[Spec], store: Store):
        self.specs, self.store = deque(specs), store
        self.failed = {spec.run_id: failure_mark(store, spec) for spec in self.specs}  # before this sweep
        self.later: dict[str, float] = {}  # id → time (monotonic) before which a run is not tried again

    def put_off(self, spec: Spec) -> None:
        """Try a run later, as another process executes it."""
        self.specs.append(spec)
        self.later[spec.run_id] = time.monotonic() + _LOOK_SECONDS

    def next_free(self, overview: Overview) -> Spec | None:
        """Take the next run that nobody executes; drop those that another process has executed meanwhile."""
        for _ in range(len(self.specs)):
            spec = self.specs.popleft()
            folder = self.store.folder(spec)
            if self.later.get(spec.run_id, 0) > time.monotonic() or self.store.is_locked(folder):
                self.specs.append(spec)
            elif _is_done(self.store, spec):
                overview.finish(self.store.of(spec), "done by another process")
            elif failure_mark(self.store, spec) != self.failed[spec.run_id]:
                overview.finish(self.store.of(spec))
            else:
                return spec
        return None


@dataclass
class _Job:
    """A run that has been taken. worker: None before the next attempt. due: time (monotonic) of that attempt."""

    spec: Spec
    epochs: int | None
    worker: Worker | None = None
    due: float = 0.0
    attempts: Attempts = field(default_factory=Attempts)

    def begin(self, workers: Workers) -> None:
        """Submit the run, if it has no worker and is due."""
        if self.worker is None and time.monotonic() >= self.due:
            self.worker = workers.start(self.spec)

    def show(self, overview: Overview) -> None:
        for row in self.worker.rows() if self.worker else ():
            self.attempts.see(row)
            overview.update(self.spec, row, self.epochs)


def _execute(pending: _Pending, workers: Workers, store: Store, overview: Overview, objects: Objects | None, deadline: float) -> None:
    """Execute the runs until all are settled, or until the deadline (monotonic)."""
    jobs: list[_Job] = []
    try:
        while (pending.specs or jobs) and time.monotonic() < deadline:
            while workers.has_room(len(jobs)) and (spec := pending.next_free(overview)):
                jobs.append(_Job(spec, spec.epochs(objects)))
            for job in jobs:
                job.begin(workers)
            if jobs or pending.specs:
                workers.wait([job.worker for job in jobs if job.worker], max(0.0, min(_LOOK_SECONDS, deadline - time.monotonic())))
            for job in jobs:
                job.show(overview)
            overview.progress.redraw()
            jobs = [job for job in jobs if not _is_settled(job, pending, store, overview)]
    finally:
        workers.stop([job.worker for job in jobs if job.worker])


def _is_done(store: Store, spec: Spec) -> bool:
    """Return whether there is nothing to execute: the run is done, or cannot be read, which the end of the sweep reports."""
    folder = store.folder(spec)
    if (folder / "result.json").exists():
        return True
    run = store.read(folder)
    return run is not None and run.status in UNREADABLE


def failure_mark(store: Store, spec: Spec) -> int | None:
    """Return a mark that changes with each failure of a run; None before the first."""
    try:
        return (store.folder(spec) / "failed.json").stat().st_mtime_ns
    except OSError:
        return None


def _is_settled(job: _Job, pending: _Pending, store: Store, overview: Overview) -> bool:
    """Handle the end of a run. Returns False for a run that goes on, or is begun again because its worker died."""
    end = job.worker.ended() if job.worker else None
    if end is None:
        return False
    if end.busy:
        overview.drop(job.spec.run_id)
        pending.put_off(job.spec)
        return True
    job.show(overview)
    store.fetch(job.spec)
    if not _is_done(store, job.spec):
        if end.death and (pause := job.attempts.die()) is not None:
            job.worker, job.due = None, time.monotonic() + pause
            return False
        _mark(job, end, store)
    overview.finish(store.of(job.spec))
    return True


def _mark(job: _Job, end: Ended, store: Store) -> None:
    """Mark a run that is not done as failed."""
    spec, stored = job.spec, store.get(job.spec)
    if end.death:
        store.fail(spec, f"the worker process died {job.attempts.summary} ({end.death})")
    elif (
        stored is None or stored.status != "failed"
    ):  # the worker could not mark it, or marked it in a store that this process does not see
        unseen = f"its worker has done it, but not in the store {store.where} as this process sees it: expected one that all machines share"
        store.fail(spec, end.error or unseen)
