"""Workers of a sweep that are processes of this machine, one a run."""

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

from shattering.machine import usable_cores
from shattering.runs.objects import Objects
from shattering.runs.store import AnySpec, Store
from shattering.runs.workers import Ended, execute

_PRELOAD = ["shattering.runs.preload"]


@contextmanager
def local_workers(store: Store, jobs: int, log: tuple[str, ...], given: Objects | None) -> Iterator["LocalWorkers"]:
    """At most `jobs` processes at a time, which share the cores that this one may use."""
    if not given:
        yield LocalWorkers(store, jobs, log, None)
        return
    with tempfile.TemporaryDirectory(prefix="shattering-") as folder:  # readable by this user alone
        path = Path(folder, "objects.pickle")
        path.write_bytes(cloudpickle.dumps(dict(given)))
        yield LocalWorkers(store, jobs, log, str(path))


class LocalWorkers:
    """See `Workers`. objects: the path of a pickle that the workers read."""

    def __init__(self, store: Store, jobs: int, log: tuple[str, ...], objects: str | None):
        self.jobs = jobs
        self.shared = (store.where, max(1, usable_cores() // jobs), log, objects)

    def has_room(self, busy: int) -> bool:
        return busy < self.jobs

    def start(self, spec: AnySpec) -> "LocalWorker":
        return LocalWorker(spec, self.shared)

    def wait(self, workers: Sequence["LocalWorker"], seconds: float) -> None:
        if workers:
            wait([w.connection for w in workers if not w.deaf] + [w.process.sentinel for w in workers], timeout=seconds)
        else:
            time.sleep(seconds)

    def stop(self, workers: Sequence["LocalWorker"]) -> None:
        for worker in workers:
            worker.process.terminate()
        for worker in workers:
            worker.process.join()


class LocalWorker:
    """See `Worker`."""

    def __init__(self, spec: AnySpec, shared: tuple):
        context = _context()
        self.error: str | None = None
        self.deaf = False
        self.connection: Any  # its class depends on the system
        self.connection, theirs = context.Pipe(duplex=False)
        self.process: BaseProcess = context.Process(  # type: ignore[attr-defined]
            target=_work, args=(theirs, dict(os.environ), spec.to_json(), *shared), name=spec.folder_name
        )
        self.process.start()
        theirs.close()

    def rows(self) -> list[dict]:
        rows = []
        try:
            while not self.deaf and self.connection.poll():
                rows.append(self.connection.recv())
        except (EOFError, OSError):
            self.deaf = True  # it has ended; its exit code tells how
        self.error = next((row["error"] for row in rows if "error" in row), self.error)
        return rows

    def ended(self) -> Ended | None:
        code = self.process.exitcode
        if code is None:
            return None
        self.rows()
        return Ended(error=self.error) if self.error or code == 0 else Ended(death=f"exit code {code}")


def _context():
    """Workers are forked from a clean server process that has imported the library once (where there is fork)."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # idle OpenMP threads must not spin beside other workers
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOAD)
    return context


def _work(connection: Any, environment: dict, spec: dict, where: str, threads: int, log: tuple[str, ...], objects: str | None) -> None:
    """The worker process. It ends with its parent, at the end of an epoch, and leaves the run interrupted."""

    def report(row: dict) -> None:
        try:
            connection.send(row)
        except OSError:
            raise SystemExit(1) from None  # not an Exception: the run has not failed

    os.environ.update(environment)  # the server was forked when the first sweep began
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    error = execute(spec, where, threads, log, Path(objects).read_bytes() if objects else None, report)
    if error:
        report({"error": error})
        raise SystemExit(1)
