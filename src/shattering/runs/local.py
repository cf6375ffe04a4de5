"""Workers of a sweep as processes of this machine. A process executes one run after another."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import wait
from types import ModuleType
from typing import IO, Any

from shattering.runs import surroundings
from shattering.runs.base import Spec
from shattering.runs.carried import pack
from shattering.runs.objects import Objects
from shattering.runs.store import Store
from shattering.runs.workers import REUSED, Ended, work

FORKS = hasattr(os, "fork") and hasattr(socket, "send_fds")
_END_SECONDS = 10  # seconds that a process may take to end


@contextmanager
def local_workers(store: Store, jobs: int, log: tuple[str, ...], objects: Objects | None) -> Iterator[LocalWorkers]:
    """Execute runs in at most `jobs` processes at a time, which share the cores of this one."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # idle OpenMP threads must not spin beside other workers
    with tempfile.TemporaryFile() as packed:  # a file without a name: nobody else finds it, and nothing is left behind
        if objects:
            pack(objects, packed)
            packed.flush()
        workers = LocalWorkers(store, jobs, log, packed if objects else None)
        try:
            yield workers
        finally:
            workers.close()


class LocalWorkers:
    """Workers that are processes of this machine; see `Workers`. packed: a file with a pickle that the workers read."""

    def __init__(self, store: Store, jobs: int, log: tuple[str, ...], packed: IO[bytes] | None):
        self.jobs, self.packed = jobs, packed
        self.shared = (store.where, jobs, log)
        self.busy: list[LocalProcess] = []
        self.free: list[LocalProcess] = []  # processes that have ended a run
        self.used_up: list[LocalProcess] = []

    def has_room(self, busy: int) -> bool:
        return busy < self.jobs

    def start(self, spec: Spec) -> LocalWorker:
        process = self.free.pop() if self.free else LocalProcess(self.packed)
        self.busy.append(process)
        if not process.submit(spec, self.shared) and process.runs > 1:  # it has died since its last run
            self.stop([LocalWorker(process, self)])
            return self.start(spec)
        return LocalWorker(process, self)

    def wait(self, workers: Sequence[LocalWorker], seconds: float) -> None:
        if not workers:
            time.sleep(seconds)
            return
        processes = [worker.process for worker in workers]
        wait([p.connection for p in processes if not p.closed] + [p.process.sentinel for p in processes], timeout=seconds)

    def stop(self, workers: Sequence[LocalWorker]) -> None:
        self._end([worker.process for worker in workers])

    def recycle(self, process: LocalProcess) -> None:
        """Keep a process that has ended its run for the next run, unless it has executed its share."""
        self.busy.remove(process)
        if process.runs < REUSED:
            self.free.append(process)
        else:
            self.used_up.append(process)
            process.connection.close()

    def close(self) -> None:
        """End the processes; those without a run may end by themselves."""
        idle = [*self.free, *self.used_up]
        try:
            for process in idle:
                process.connection.close()
            for process in idle:
                process.process.join(_END_SECONDS)
        finally:
            self._end([*idle, *self.busy])

    def _end(self, processes: Sequence[LocalProcess]) -> None:
        try:
            for process in processes:
                process.process.kill()
            for process in processes:
                if process.process.pid is not None:  # else the server is still importing, and will not fork it
                    process.process.join(_END_SECONDS)
        finally:
            for process in processes:
                process.close()
        self.busy = [process for process in self.busy if process not in processes]


class LocalProcess:
    """A process for runs. Its connection takes specs, and gives rows and an `Ended` for each run."""

    def __init__(self, packed: IO[bytes] | None):
        self.closed, self.runs = False, 0
        self.connection: Any  # its class depends on the system
        self.process: Any  # has pid, exitcode, sentinel, kill, join and close, as multiprocessing's
        if FORKS:
            from shattering.runs import forks

            self.connection, self.process = forks.fork(packed.fileno() if packed else None)
        else:
            self.connection, self.process = _spawn(packed)

    def submit(self, spec: Spec, shared: tuple) -> bool:
        """Send it a run. Returns False if it has died."""
        self.runs += 1
        try:
            self.connection.send((surroundings.place() | surroundings.settings(), spec.to_json(), *shared))
        except OSError:
            self.closed = True
        return not self.closed

    def poll(self) -> list[Any]:
        """Return the messages that arrived since the last call."""
        messages = []
        try:
            while not self.closed and self.connection.poll():
                messages.append(self.connection.recv())
        except (EOFError, OSError):
            self.closed = True  # it has died; its exit code says how
        return messages

    def close(self) -> None:
        self.closed = True
        self.connection.close()
        with contextlib.suppress(ValueError):  # it is still running after that time
            self.process.close()


class LocalWorker:
    """A process while it executes one run; see `Worker`."""

    def __init__(self, process: LocalProcess, workers: LocalWorkers):
        self.process, self.workers = process, workers
        self.unread: list[dict] = []
        self.end: Ended | None = None

    def rows(self) -> list[dict]:
        self._poll()
        rows, self.unread = self.unread, []
        return rows

    def ended(self) -> Ended | None:
        code = self.process.process.exitcode if self.end is None else None
        self._poll()
        if self.end is None and code is not None:
            self.end = Ended(death=f"exit code {code}")
            self.workers.stop([self])
        return self.end

    def _poll(self) -> None:
        for message in self.process.poll() if self.end is None else ():
            if isinstance(message, Ended):
                self.end = message
                self.workers.recycle(self.process)
            else:
                self.unread.append(message)


def _spawn(packed: IO[bytes] | None) -> tuple[Any, Any]:
    """Start a process on a system that cannot fork."""
    context = multiprocessing.get_context("spawn")
    connection, theirs = context.Pipe()
    content = None
    if packed:
        packed.seek(0)
        content = packed.read()
    process = context.Process(target=_work, args=(theirs, content))
    with _hidden_main():
        process.start()
    theirs.close()
    return connection, process


@contextmanager
def _hidden_main() -> Iterator[None]:
    """Hide the program from multiprocessing, which would import it in the new process and so repeat the calls of a script."""
    program, sys.modules["__main__"] = sys.modules["__main__"], ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = program


def _work(connection: Any, packed: bytes | None) -> None:
    """Execute runs in a spawned process. It ends with its parent, unless a C library holds the interpreter."""

    def end() -> None:
        multiprocessing.parent_process().join()  # type: ignore[union-attr]  # a spawned process has a parent
        os._exit(1)

    threading.Thread(target=end, daemon=True).start()
    work(connection, packed)
