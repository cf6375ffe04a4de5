"""Run the fits of a randomization test in order, within a budget, in this process or in others."""

import time
from dataclasses import dataclass, field

from rich.console import Console

from shattering.compare.budget import Clock, OutOfTime
from shattering.compare.plan import ORIGINAL, Plan
from shattering.errors import InputError
from shattering.randomization import Randomization
from shattering.runs.execute import run
from shattering.runs.loggers import Log
from shattering.runs.objects import Objects
from shattering.runs.spec import RunSpec
from shattering.runs.store import Busy, Store
from shattering.runs.sweep import Engine, failure_mark, sweep

_LOOK_SECONDS = 0.2  # seconds between looks at whether another process has ended a fit
Numbered = tuple[Randomization, int]  # a repeat: (randomization, number)


@dataclass
class Execution:
    """The execution of a plan: its repeats are run in order, while there is time.

    Args:
        plan: the repeats.
        store: keeps the runs.
        objects: the objects that the specs name.
        jobs: number of fits at a time; None for as many as a cluster has room for.
        clock: the budget.
        console: shows progress; None for none.
        log: loggers of every fit.
        engine: "local", "ray" or a `Ray`.
    """

    plan: Plan
    store: Store
    objects: Objects
    jobs: int | None
    clock: Clock
    console: Console | None
    log: Log
    engine: Engine
    seconds: dict[Randomization, float] = field(default_factory=dict)  # of the longest repeat so far, by randomization
    failed: dict[str, int | None] = field(default_factory=dict)  # run id → mark of its last failure before this test

    def execute(self) -> None:
        """Run the original fit, whose errors are raised, and then as many repeats as there is time for."""
        original, *pending = self.plan.order()
        for repeat in self.plan.order():
            self.failed |= {spec.run_id: failure_mark(self.store, spec) for spec in self.plan.fits(*repeat)}
        busy = [] if self._run_here(original, wait=self.clock.seconds is not None) else [original]
        total = len(pending)
        while batch := self._next(pending):
            busy += self._run_batch(batch)
            pending = [repeat for repeat in pending if repeat not in batch]
            if self.console:
                self.console.print(f"{total - len(pending)}/{total} repeats  {batch[-1][0].title}", highlight=False)
        while (busy := [repeat for repeat in busy if not self._run_here(repeat)]) and self.clock.left > 0:
            time.sleep(_LOOK_SECONDS)

    def _next(self, pending: list[Numbered]) -> list[Numbered]:
        """Return the next repeats that are likely to end in time: as many as there are jobs, or all without a budget."""
        longest = max(self.seconds.values(), default=0.0)
        in_time = [repeat for repeat in pending if self.seconds.get(repeat[0], longest) <= self.clock.left]
        if self.clock.seconds is None and self.jobs != 1:
            return in_time
        return in_time[: self.jobs]

    def _run_batch(self, repeats: list[Numbered]) -> list[Numbered]:
        """Run repeats. Return those that another process is running."""
        if self.jobs == 1 and self.engine == "local":
            return [repeat for repeat in repeats if not self._run_here(repeat)]
        start, console = time.perf_counter(), self.console if self.clock.seconds is None else None
        specs = [spec for r, number in repeats for spec in self.plan.fits(r, number)]
        sweep(specs, self.store, self.jobs, console, self.log, self.objects, self.engine)
        for r, _ in repeats:
            self._note_seconds(r, start)
        return []

    def _run_here(self, repeat: Numbered, wait: bool = False) -> bool:
        """Run a repeat in this process. Return False if another process is running one of its fits, unless this may `wait`."""
        start, is_original = time.perf_counter(), repeat[0] == ORIGINAL
        try:
            for spec in self.plan.fits(*repeat):
                self._run(spec, is_original, wait)
        except Busy:
            return False
        except OutOfTime:
            pass
        self._note_seconds(repeat[0], start)
        return True

    def _run(self, spec: RunSpec, raises: bool, wait: bool) -> None:
        if not raises and failure_mark(self.store, spec) != self.failed[spec.run_id]:
            return  # it failed in another process meanwhile
        try:
            run(spec, self.store, None if raises else self.clock.check, self.log, self.objects, wait)
        except Busy:
            raise
        except Exception as error:  # whatever the model raises on noise; the run is marked as failed, with the error
            if raises:
                raise
            if isinstance(error, InputError) and error.before_training:
                self.store.fail_by(spec, error)

    def _note_seconds(self, randomization: Randomization, start: float) -> None:
        self.seconds[randomization] = max(self.seconds.get(randomization, 0.0), time.perf_counter() - start)
