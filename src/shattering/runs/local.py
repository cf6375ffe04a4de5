"""Workers of a sweep that are processes of this machine. A process executes one run after another."""

import multiprocessing
import os
import signal
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import cloudpickle

from shattering.machine import share_memory, usable_cores
from shattering.runs.objects import Objects
from shattering.runs.store import AnySpec, Store
from shattering.runs.workers import REUSED, Ended, execute, set_environment

_PRELOAD = ["shattering.runs.preload"]
_END_SECONDS = 10  # that a process without a run may take to end


@contextmanager
def local_workers(store: Store, jobs: int, log: tuple[str, ...], given: Objects | None) -> Iterator["LocalWorkers"]:
    """At most `jobs` processes at a time, which share the cores that this one may use."""
    with tempfile.TemporaryDirectory(prefix="shattering-") as folder:  # readable by this user alone
        path = Path(folder, "objects.pickle")
        if given:
            path.write_bytes(cloudpickle.dumps(dict(given)))
        workers = LocalWorkers(store, jobs, log, str(path) if given else None)
        try:
            yield workers
        finally:
            workers.close()


class LocalWorkers:
    """See `Workers`. objects: the path of a pickle that the workers read."""

    def __init__(self, store: Store, jobs: int, log: tuple[str, ...], objects: str | None):
        self.jobs = jobs
        self.shared = (store.where, jobs, log, objects)
        self.free: list[LocalProcess] = []  # those that have ended a run

    def has_room(self, busy: int) -> bool:
        return busy < self.jobs

    def start(self, spec: AnySpec) -> "LocalWorker":
        while self.free:
            process = self.free.pop()
            if process.hand_over(spec):
                return LocalWorker(process, self)
        process = LocalProcess(self.shared)
        process.hand_over(spec)
        return LocalWorker(process, self)

    def wait(self, workers: Sequence["LocalWorker"], seconds: float) -> None:
        if not workers:
            time.sleep(seconds)
            return
        processes = [worker.process for worker in workers]
        wait([p.connection for p in processes if not p.deaf] + [p.process.sentinel for p in processes], timeout=seconds)

    def stop(self, workers: Sequence["LocalWorker"]) -> None:
        for worker in workers:
            worker.process.process.terminate()
        for worker in workers:
            worker.process.process.join()

    def take_back(self, process: "LocalProcess") -> None:
        """Keep a process that has ended its run for the next one, unless it has had its number of them."""
        if process.runs < REUSED:
            self.free.append(process)
        else:
            process.connection.close()

    def close(self) -> None:
        """End the processes that have no run."""
        for process in self.free:
            process.connection.close()
        for process in self.free:
            process.process.join(_END_SECONDS)
            process.process.terminate()


class LocalProcess:
    """A process for runs, with a connection on which it is told specs and tells rows, then {"ended": what the run raised or None}.

    Its name, in this process alone, is that of its run.
    """

    def __init__(self, shared: tuple):
        context = _context()
        self.deaf, self.runs = False, 0
        self.connection: Any  # its class depends on the system
        self.connection, theirs = context.Pipe()
        self.process: BaseProcess = context.Process(target=_work, args=(theirs, *shared))  # type: ignore[attr-defined]
        self.process.start()
        theirs.close()

    def hand_over(self, spec: AnySpec) -> bool:
        """Have it execute a run. False if it has died meanwhile."""
        self.process.name = spec.folder_name
        self.runs += 1
        try:
            self.connection.send((dict(os.environ), spec.to_json()))
        except OSError:
            self.deaf = True
        return not self.deaf

    def hear(self) -> list[dict]:
        """What it has told since the last call."""
        messages = []
        try:
            while not self.deaf and self.connection.poll():
                messages.append(self.connection.recv())
        except (EOFError, OSError):
            self.deaf = True  # it has died; its exit code tells how
        return messages


class LocalWorker:
    """See `Worker`: a process, for as long as it is at one run."""

    def __init__(self, process: LocalProcess, workers: LocalWorkers):
        self.process, self.workers = process, workers
        self.unread: list[dict] = []
        self.end: Ended | None = None

    def rows(self) -> list[dict]:
        self._hear()
        rows, self.unread = self.unread, []
        return rows

    def ended(self) -> Ended | None:
        code = self.process.process.exitcode
        self._hear()
        if self.end is None and code is not None:
            self.end = Ended(death=f"exit code {code}")
        return self.end

    def _hear(self) -> None:
        for message in self.process.hear() if self.end is None else ():
            if "ended" in message:
                self.end = Ended(error=message["ended"])
                self.workers.take_back(self.process)
            else:
                self.unread.append(message)


def _context():
    """Workers are forked from a clean server process that has imported the library once (where there is fork)."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # idle OpenMP threads must not spin beside other workers
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOAD)
    return context


def _work(connection: Any, where: str, jobs: int, log: tuple[str, ...], objects: str | None) -> None:
    """The worker process. It ends with its parent: without a run at once, else at the end of an epoch, and leaves the run interrupted."""

    def report(row: dict) -> None:
        try:
            connection.send(row)
        except OSError:
            raise SystemExit(1) from None  # not an Exception: the run has not failed

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    threads = max(1, usable_cores() // jobs)
    share_memory(jobs)
    while True:
        try:
            environment, spec = connection.recv()
        except (EOFError, OSError):
            return
        set_environment(environment)  # the server was forked when the first sweep began
        report({"ended": execute(spec, where, threads, log, Path(objects).read_bytes() if objects else None, report)})
