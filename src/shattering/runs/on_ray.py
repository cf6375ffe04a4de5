"""Workers of a sweep as tasks on a Ray cluster. Ray is an optional dependency, imported when such a sweep begins."""

from __future__ import annotations

import io
import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shattering.errors import InputError, reason
from shattering.parameters import NotNegative, Positive, check_fields
from shattering.system.cluster import ANSWER_SECONDS, connected

if TYPE_CHECKING:  # the worker's side of this module has to set the environment before torch is imported
    from shattering.runs.base import Spec
    from shattering.runs.objects import Objects
    from shattering.runs.overview import Overview
    from shattering.runs.store import Store
    from shattering.runs.workers import Ended

LOOK_SECONDS = 5  # seconds between looks at the cluster's resources


@dataclass(frozen=True)
class Ray:
    """A Ray cluster, and the resources of each run.

    Args:
        address: HOST:PORT of its head node, or "auto" for the cluster of this machine. None: RAY_ADDRESS, else a cluster of this
            machine alone for the duration of the sweep.
        cpus_per_run: cores per run, above 0; a run uses as many threads, at least one.
        gpus_per_run: share of a GPU per run, or a number of GPUs. A run sees no GPU if this is 0.

    Raises:
        InputError: for numbers out of range.

    Example:
        >>> Ray("head:6379", gpus_per_run=0.25).slots({"CPU": 16, "GPU": 2})
        8
    """

    address: str | None = None
    cpus_per_run: Positive = 1
    gpus_per_run: NotNegative = 0

    def __post_init__(self):
        check_fields(self)
        if self.address == "":
            raise InputError("address is '', expected HOST:PORT or auto")
        if self.gpus_per_run > 1 and self.gpus_per_run % 1:
            raise InputError(f"gpus_per_run is {self.gpus_per_run}, expected a whole number above 1")

    def slots(self, node: Mapping[str, float]) -> int:
        """Return how many runs a node with these resources can execute at a time."""
        rooms = [node.get("CPU", 0) / self.cpus_per_run]
        rooms += [node.get("GPU", 0) / self.gpus_per_run] if self.gpus_per_run else []
        return math.floor(min(rooms) + 1e-9)


@contextmanager
def ray_workers(
    cluster: Ray, store: Store, jobs: int | None, log: tuple[str, ...], objects: Objects | None, overview: Overview
) -> Iterator[RayWorkers]:
    """Execute runs as tasks on a cluster, at most `jobs` at a time. An existing connection of this process is used, and left open."""
    with connected(cluster.address, "engine is 'ray'") as ray:
        yield RayWorkers(ray, cluster, store, jobs, log, objects, overview)


class RayWorkers:
    """Workers on Ray; see `Workers`. As many runs are queued as executed, so that a free place is taken at once and a cluster can grow."""

    def __init__(
        self, ray: Any, cluster: Ray, store: Store, jobs: int | None, log: tuple[str, ...], objects: Objects | None, overview: Overview
    ):
        from shattering.runs import surroundings
        from shattering.runs.carried import pack
        from shattering.runs.workers import REUSED

        self.ray, self.cluster, self.jobs, self.overview = ray, cluster, jobs, overview
        self.counted, self.reported = 0.0, False
        if not self._count_places():
            raise InputError(self._too_large())
        file = io.BytesIO()
        if objects:
            pack(objects, file)
        packed = ray.put(file.getvalue()) if objects else None
        self.progress = ray.remote(_Progress).options(num_cpus=0).remote()
        resources = {"num_cpus": cluster.cpus_per_run, "num_gpus": cluster.gpus_per_run}
        self.task = ray.remote(**resources, max_retries=0, max_calls=REUSED)(_work)
        self.shared = (store.where, max(1, int(cluster.cpus_per_run)), log, self.progress, surroundings.settings(), packed)
        self.ready: set[Any] = set()
        self.rows_of: dict[str, dict] = {}

    def has_room(self, busy: int) -> bool:
        if self.jobs is not None and busy >= self.jobs:
            return False
        return busy < 2 * self._count_places() + 2

    def start(self, spec: Spec) -> RayWorker:
        return RayWorker(self, spec.run_id, self.task.options(name=spec.folder_name).remote(spec.to_json(), *self.shared))

    def wait(self, workers: Sequence[RayWorker], seconds: float) -> None:
        if not workers:
            time.sleep(seconds)
            return
        references = [worker.reference for worker in workers]
        self.ray.wait(references, timeout=seconds, fetch_local=False)
        self.ready = set(self.ray.wait(references, num_returns=len(references), timeout=0, fetch_local=False)[0])
        if self.overview.progress.is_seen:
            self.drain()

    def drain(self) -> None:
        """Fetch the latest rows of the runs."""
        with suppress(self.ray.exceptions.RayError):  # `ended` reports the end of a run
            self.rows_of |= self.ray.get(self.progress.take.remote(), timeout=ANSWER_SECONDS)

    def stop(self, workers: Sequence[RayWorker]) -> None:
        with suppress(self.ray.exceptions.RayError):  # the cluster may be gone
            for worker in workers:
                self.ray.cancel(worker.reference, force=True)
            if workers:
                self.ray.wait([worker.reference for worker in workers], num_returns=len(workers), timeout=ANSWER_SECONDS)

    def _count_places(self) -> int:
        """Return how many runs the cluster can execute at a time; report once if there is no place."""
        if time.monotonic() - self.counted > LOOK_SECONDS:
            self.nodes = [node["Resources"] for node in self.ray.nodes() if node["Alive"]]
            self.places = sum(self.cluster.slots(node) for node in self.nodes)
            self.counted, waited = time.monotonic(), self.counted > 0
            if waited and not self.places and not self.reported:
                self.reported = True
                self.overview.report(f"waiting for a node: {self._too_large()}")
        return self.places

    def _too_large(self) -> str:
        largest = [max((node.get(kind, 0) for node in self.nodes), default=0) for kind in ("CPU", "GPU")]
        wanted = f"cpus_per_run is {self.cluster.cpus_per_run:g} and gpus_per_run is {self.cluster.gpus_per_run:g}"
        return f"{wanted}, expected what one node has: the largest of {len(self.nodes)} have {largest[0]:g} CPUs and {largest[1]:g} GPUs"


class RayWorker:
    """A task that executes one run; see `Worker`. reference: to the value that the task returns."""

    def __init__(self, workers: RayWorkers, run_id: str, reference: Any):
        self.workers, self.run_id, self.reference = workers, run_id, reference

    def rows(self) -> list[dict]:
        row = self.workers.rows_of.pop(self.run_id, None)
        return [] if row is None else [row]

    def ended(self) -> Ended | None:
        from shattering.runs.workers import Ended

        if self.reference not in self.workers.ready:
            return None
        exceptions = self.workers.ray.exceptions
        try:
            return self.workers.ray.get(self.reference)
        except exceptions.RayTaskError as error:  # before the run began: the machine lacks what it needs
            return Ended(error=reason(error.cause) if isinstance(error.cause, Exception) else str(error).strip().splitlines()[-1])
        except exceptions.RayError as error:
            self.workers.drain()  # had it begun?
            return Ended(death=type(error).__name__)


class _Progress:
    """An actor with the latest row of each run, which the sweep shows, and which says how far a run was when its worker died."""

    def __init__(self):
        self.rows: dict[str, dict] = {}

    def put(self, run_id: str, row: dict) -> None:
        self.rows[run_id] = row

    def take(self) -> dict[str, dict]:
        rows, self.rows = self.rows, {}
        return rows


def _work(spec: dict, where: str, threads: int, log: tuple[str, ...], progress: Any, settings: dict, packed: bytes | None) -> Ended:
    """Execute a run in the process of a task, which may have executed other runs."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # idle OpenMP threads must not spin beside other workers
    from ray.exceptions import RayError

    from shattering.identity.files import read_once
    from shattering.runs import surroundings
    from shattering.runs.reading import spec_from_json
    from shattering.runs.workers import execute

    def report(row: dict) -> None:
        nonlocal last
        if not row or time.monotonic() - last > 0.5:
            last = time.monotonic()
            sent = progress.put.remote(run_id, row)
            if not row:  # report the beginning first, whatever happens later; ray.get would lend the cores of this task to another
                with suppress(RayError, TimeoutError):
                    sent.future().result(ANSWER_SECONDS)

    surroundings.have(settings)
    with read_once():
        last, run_id = 0.0, spec_from_json(spec).run_id
        return execute(spec, where, threads, log, packed, report)
