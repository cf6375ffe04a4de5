"""Run the fits of a randomization test in order, within a budget, in this process or in others."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from shattering import stats
from shattering.compare.budget import Clock, OutOfTime
from shattering.compare.permutation import read_permutations, read_repeat
from shattering.compare.plan import ORIGINAL, Numbered, Plan, null_of
from shattering.errors import InputError
from shattering.learners.network import NetworkClassifier
from shattering.learners.own import epochs_of
from shattering.learners.wrapped import TrainingFunction, Wrapped
from shattering.randomization import Randomization
from shattering.runs.base import Spec
from shattering.runs.execute import run
from shattering.runs.loggers import Log
from shattering.runs.objects import Objects
from shattering.runs.store import Busy, Store
from shattering.runs.stored import title_of
from shattering.runs.sweep import Engine, failure_mark, sweep
from shattering.system.progress import Progress

QUICK = 0.2  # seconds of a fit, below which storing every fit would cost more than a tenth of it
_LOOK_SECONDS = 0.2  # seconds between looks at whether another process has ended a fit
_AHEAD = 8  # batches or repeats that are begun on a cluster before a sequential test looks whether it is decided


@dataclass
class Execution:
    """The execution of a plan: its repeats are run in order, while there is time.

    Args:
        plan: the repeats. Where the original fit was quick, `execute` makes it one whose permutations are stored together.
        store: keeps the runs.
        objects: the objects that the specs name.
        jobs: number of fits at a time; None for as many as a cluster has room for.
        clock: the budget.
        progress: as `randomization_test` takes it.
        log: loggers of every fit.
        engine: "local", "ray" or a `Ray`.
        stop_after: permutations at least as good as the original data, after which a permutation test ends; None: it does not.
    """

    plan: Plan
    store: Store
    objects: Objects
    jobs: int | None
    clock: Clock
    progress: bool | None
    log: Log
    engine: Engine
    stop_after: int | None = None
    seconds: dict[Randomization, float] = field(default_factory=dict)  # of the longest repeat so far, by randomization
    failed: dict[str, int | None] = field(default_factory=dict)  # run id → mark of its last failure before this test
    ended: list[Numbered] = field(default_factory=list)

    def execute(self) -> None:
        """Run the original fit, whose errors are raised, and then as many repeats as there is time for."""
        original = (ORIGINAL, (0,))
        self._note_failures([original])
        with Progress("original data", 1, self.progress):
            busy = [] if self._run_here(original, wait=self.clock.seconds is not None) else [original]
        self.plan = replace(self.plan, batched=self._is_quick())
        _, *pending = self.plan.order()
        self._note_failures(pending)
        total, title = len(pending), self._titles()
        with Progress("steps", total, self.progress) as progress:
            while batch := self._next(pending):
                progress.update(total - len(pending), title(batch[0][0]))
                busy += self._run_batch(batch)
                self.ended += batch
                pending = [repeat for repeat in pending if repeat not in batch]
                progress.update(total - len(pending))
                progress.say(f"{total - len(pending)}/{total} steps  {title(batch[-1][0])}")
        while (busy := [repeat for repeat in busy if not self._run_here(repeat)]) and self.clock.left > 0:
            time.sleep(_LOOK_SECONDS)

    def _titles(self) -> Callable[[Randomization], str]:
        """Return what gives the title of a randomization, in the words of the kind of inputs where the original fit is done."""
        result = self.store.of(self.plan.fits(ORIGINAL, 0)[0]).result
        return lambda r: title_of(r, result)

    def _is_quick(self) -> bool:
        """Return whether the model is an estimator without epochs that took less than `QUICK` to be fitted to the original data.

        That is read from the stored run, so that every later call on the store finds the same batches. Loggers follow every fit.
        """
        model = self.plan.original.build(self.objects)
        if self.log or isinstance(model, (NetworkClassifier, TrainingFunction, Wrapped)) or epochs_of(model) is not None:
            return False
        runs = [self.store.of(spec) for spec in self.plan.fits(ORIGINAL, 0)]
        if any("n_classes" not in run.result for run in runs):  # a regression, whose y-scrambling report needs every training score
            return False
        return all(run.status == "done" and run.provenance.get("fit_seconds", QUICK) < QUICK for run in runs)

    def _note_failures(self, repeats: Sequence[Numbered]) -> None:
        for repeat in repeats:
            self.failed |= {spec.run_id: failure_mark(self.store, spec) for spec in self.plan.specs(repeat)}

    def _next(self, pending: list[Numbered]) -> list[Numbered]:
        """Return the next repeats that are likely to end in time: as many as there are jobs, or all without a budget."""
        if self.stop_after is not None:
            decided = {r for r in {r for r, _ in self.ended} if self._is_decided(r)}
            pending = [repeat for repeat in pending if repeat[0] not in decided]
        longest = max(self.seconds.values(), default=0.0)
        in_time = [repeat for repeat in pending if self.seconds.get(repeat[0], longest) * self._at_once(repeat) <= self.clock.left]
        if self.clock.seconds is None and self.jobs != 1:
            return in_time if self.stop_after is None else in_time[: self.jobs or _AHEAD]
        return in_time[: self.jobs]

    def _at_once(self, repeat: Numbered) -> int:
        """Return how many fits end before the clock is looked at: in this process one, in others all of a batch."""
        return 1 if self._is_here else len(repeat[1])

    def _is_decided(self, r: Randomization) -> bool:
        """Return whether `stop_after` permutations in their order were at least as good as the original data."""
        found = [p for repeat in self.ended if repeat[0] == r for p in read_permutations(self.plan, self.store, repeat) if p.is_begun]
        if null_of(r) is None or not found:
            return False
        score = read_repeat(self.plan, self.store, (ORIGINAL, (0,))).test_score
        nulls = [p.score for p in sorted(found, key=lambda p: p.number)]
        return score is not None and stats.sequential_test(score, nulls, self.stop_after).stopped

    @property
    def _is_here(self) -> bool:
        return self.jobs == 1 and self.engine == "local"

    def _run_batch(self, repeats: list[Numbered]) -> list[Numbered]:
        """Run repeats. Return those that another process is running."""
        if self._is_here:
            return [repeat for repeat in repeats if not self._run_here(repeat)]
        start = time.perf_counter()
        progress = self.progress if self.clock.seconds is None else None
        specs = [spec for repeat in repeats for spec in self.plan.specs(repeat)]
        sweep(specs, self.store, self.jobs, progress, self.log, self.objects, self.engine)
        for repeat in repeats:
            self._note_seconds(repeat, start)
        return []

    def _run_here(self, repeat: Numbered, wait: bool = False) -> bool:
        """Run a repeat in this process. Return False if another process is running one of its fits, unless this may `wait`."""
        start, is_original = time.perf_counter(), repeat[0] == ORIGINAL
        try:
            for spec in self.plan.specs(repeat):
                self._run(spec, is_original, wait)
        except Busy:
            return False
        except OutOfTime:
            pass
        self._note_seconds(repeat, start)
        return True

    def _run(self, spec: Spec, raises: bool, wait: bool) -> None:
        if not raises and failure_mark(self.store, spec) != self.failed[spec.run_id]:
            return  # it failed in another process meanwhile
        try:
            run(spec, self.store, None if raises else self._check, self.log, self.objects, wait)
        except Busy:
            raise
        except Exception as error:  # whatever the model raises on noise; the run is marked as failed, with the error
            if raises:
                raise
            if isinstance(error, InputError) and error.before_training:
                self.store.fail_by(spec, error)
            if self.store.of(spec).status in ("missing", "interrupted"):  # no mark could be written: the store is at fault, not the model
                raise

    def _check(self, row: dict[str, Any]) -> None:
        """Raise OutOfTime if the budget is exceeded, or would be by the next permutation of a batch."""
        self.clock.check(row)
        if row.get("permutation", 0) < row.get("of", 0) and row["fit_seconds"] > self.clock.left:
            raise OutOfTime

    def _note_seconds(self, repeat: Numbered, start: float) -> None:
        r, numbers = repeat
        each = (time.perf_counter() - start) / len(numbers)
        self.seconds[r] = max(self.seconds.get(r, 0.0), each)
