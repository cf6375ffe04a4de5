"""`randomization_test`: would this model fit noise just as well, and does it learn anything?"""

import time
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import torch
from rich.console import Console
from sklearn.base import BaseEstimator

from shattering.data.dataset import Dataset
from shattering.data.sources import load_dataset
from shattering.errors import InputError
from shattering.identity.digest import identify, tell
from shattering.identity.files import read_once
from shattering.learners.network import NetworkClassifier
from shattering.loggers import Log
from shattering.randomization import Randomization
from shattering.runs import objects
from shattering.runs.run import run
from shattering.runs.spec import RunSpec
from shattering.runs.store import Busy, Store
from shattering.runs.sweep import Engine, check, failure_mark, sweep
from shattering.signals import no_exit
from shattering.temporary import TemporaryFolder
from shattering.testing.budget import Clock, OutOfTime, parse_budget, plan
from shattering.testing.factories import OfInstance, Start
from shattering.testing.learners import Inputs, as_learner, tracked
from shattering.testing.repeats import find_repeats
from shattering.testing.result import Draw, RandomizationTest
from shattering.testing.scheme import NATURAL, Scheme, find_randomizations, n_draws_of
from shattering.values import Count, Natural, Range, check_arguments

_LOOK_SECONDS = 0.2  # between looks at whether another process has ended a fit


@read_once()
@no_exit()
def randomization_test(
    learner: Any,
    data: Any,
    *,
    randomizations: Sequence[str | Randomization] | None = None,
    n_draws: int | Mapping[str, int] = 19,
    folds: Annotated[int, Range(2)] | None = None,
    scoring: str | None = None,
    recipe: Mapping[str, object] | None = None,
    inputs: Inputs = "auto",
    start: Start | None = None,
    n_train: Count | None = None,
    n_test: Count | None = None,
    image_size: Count | None = None,
    skip_corrupt: bool = False,
    channels: str | None = None,
    seed: Natural = 0,
    budget: str | float | None = None,
    jobs: int | None = None,
    store: str | Path | Store | None = None,
    log: Log = None,
    console: Console | None = None,
    engine: Engine = "local",
) -> RandomizationTest:
    """Fit a learner on data and on randomized copies of them, and compare.

    Args:
        learner: a scikit-learn classifier or pipeline, a skorch net, a torch module (class, factory or instance), a training
            function (split, seed) → predict, or the name of one; see `shattering.testing.learners.as_learner`.
        data: a name, a path, (X, y), (x_train, y_train, x_test, y_test), a `Dataset`, a torch or a Hugging Face dataset;
            see `load_dataset`. Without a test split a fifth is held out, drawn by the seed (but with folds nothing is).
        randomizations: names in `shattering.testing.scheme.RANDOMIZATIONS`, or instances of `Randomization`. Default: permuted labels,
            20 % corrupted labels, Gaussian inputs and features permuted within classes; for images also shuffled and random
            pixels.
        n_draws: random copies for each of the two permutation tests; 3 at most for the others. Or a mapping from names to
            numbers. The least p-value is 1 / (n_draws + 1).
        folds: cross-validate over this many stratified folds of the train split instead of testing on the test split, as
            scikit-learn's `permutation_test_score` does; None: do not.
        scoring: a name of scikit-learn's scorers; None: accuracy. Higher is better, as there.
        recipe: parameters of the learner; for torch modules those of `NetworkClassifier`, which trains them.
        inputs: "table" or "images", for estimators that could be given either; "auto": images for skorch, else a table.
        start: what every fit of an instance of a torch module starts from: "reinitialized", weights that its layers draw anew, or
            "given", the weights that it has, which is fine-tuning. None: "reinitialized", and nothing of the kind for other learners.
            The result says which.
        n_train: train on a class-balanced subset of this size.
        n_test: test on a class-balanced subset of this size.
        image_size: bring encoded images of any sizes to squares of so many pixels; None: they have one size.
        skip_corrupt: leave out encoded images that cannot be decoded, and count them in each run's result; else they are an error.
        channels: "first" or "last", the order of the axes in arrays of images; None: by their lengths, see `load_dataset`.
        seed: gives the seeds of subset, randomizations, initialization and batch order.
        budget: time that the call may take, such as "5min" or seconds: draws are made in rounds until it is used up, on fewer
            training examples where that is needed, at the last with fewer epochs; the result says what was left out. A fit
            that does not report its epochs is not interrupted, only not begun when it would end too late. None: no limit.
        jobs: fits at a time; more than one are processes of their own. Default: one; on Ray as many as the cluster has room for, but
            with a budget it has to be said.
        store: a folder, or a URL, to keep the runs in (on Ray one that all machines see); the same call finds them there and runs
            only what is missing. None: they are kept as long as the result.
        log: trackers to tell of every fit, such as "tensorboard:FOLDER"; see `shattering.runs.run.run`.
        console: where to show progress; None: nowhere.
        engine: "local", "ray" or a `Ray`, as `sweep` takes it; the fit on the natural data is made here all the same.

    Returns:
        The result; a draw whose fit fails is in it, as failed.

    Raises:
        InputError: for bad input. What the learner raises on the natural data is raised.
    """
    check_arguments(randomization_test, locals(), "folds", "scoring", "recipe", "n_train", "n_test", "seed", "skip_corrupt", "store")
    clock = Clock(parse_budget(budget), time.perf_counter())
    check(jobs, engine)
    if jobs is None and engine != "local" and budget is not None:
        raise InputError("jobs is None on Ray, expected beside a budget how many fits are made at a time")
    name, estimator, params = tracked(*as_learner(learner, recipe, inputs, start))
    source = str(data) if isinstance(data, (str, Path)) else None
    reading: dict[str, Any] = {"image_size": image_size, "skip_corrupt": skip_corrupt}
    sizes = (None, None) if source is None else (n_train, n_test)  # an object is handed over whole
    dataset = load_dataset(data, *sizes, seed, hold_out=folds is None, channels=channels, **reading)
    if not torch.equal(dataset.train.labels, dataset.train.true_labels):
        raise InputError("data are randomized already (labels differ from true_labels), expected natural data")
    if folds is not None:
        dataset.limit(n_train if source is None else None, seed=seed).check_folds(folds)
    given, spec, notes = _named(name, estimator, source, dataset)
    base = RunSpec(dataset=spec["dataset"], learner=spec["learner"], params=params, seed=seed, data_seed=seed, scoring=scoring)
    reading["channels"] = None if source is None else channels  # arrays are a dataset by now
    base = replace(base, **reading, n_train=n_train, n_test=n_test, folds=folds, fold=None if folds is None else 0)
    found = n_draws_of(find_randomizations(randomizations, len(dataset.train.image_shape) == 3), n_draws)
    base, left_out = plan(base, given, 1 + sum(found.values()), 1 + len(found), clock)
    scheme = Scheme(base, found)
    folder = TemporaryFolder() if store is None else None
    try:
        where = store if isinstance(store, Store) else Store(folder.path if folder else store)  # type: ignore[arg-type]
        jobs = jobs or (1 if engine == "local" else None)
        Execution(scheme, where, given, jobs, clock, console, log, engine).execute()
        draws = tuple(_read(scheme, where, r, draw) for r, draw in scheme.order())
        _check_same_data(draws)
        repeats = find_repeats(dataset, folds is not None)
        how = _start(estimator, notes)
        test = RandomizationTest(base.model_name, draws, left_out, time.perf_counter() - clock.start, *how, given, repeats)
    except BaseException:
        if folder:
            folder.remove()
        raise
    if folder:
        weakref.finalize(test, folder.remove)  # its runs are kept as long as it lives
    return test


def _named(
    name: str, estimator: BaseEstimator | None, source: str | None, dataset: Dataset
) -> tuple[dict[str, Any], dict[str, str], tuple[str, ...]]:
    """The objects that runs are handed, what their specs call learner and dataset, and what cannot be told apart of the learner."""
    given: dict[str, Any] = {}
    unknown: tuple[str, ...] = ()
    if estimator is not None:
        key, unknown = identify(estimator, name, "cloned")
        name = objects.name_of(name, key)
        given[name] = estimator
    if source is None:
        source = objects.name_of(dataset.name, dataset.fingerprint()[:16])
        given[source] = dataset
    return given, {"learner": name, "dataset": source}, tell(unknown)


def _start(estimator: BaseEstimator | None, notes: tuple[str, ...]) -> tuple[str | None, tuple[str, ...]]:
    """What the fits of a torch module's instance started from, and the notes with a sentence about it."""
    factory = estimator.network if isinstance(estimator, NetworkClassifier) else None
    return (factory.start, (factory.sentence, *notes)) if isinstance(factory, OfInstance) else (None, notes)


@dataclass
class Execution:
    """Makes the draws of a scheme in their order, as long as there is time."""

    scheme: Scheme
    store: Store
    given: objects.Objects
    jobs: int | None  # None: as many as a cluster has room for
    clock: Clock
    console: Console | None
    log: Log
    engine: Engine
    seconds: dict[Randomization, float] = field(default_factory=dict)  # of the longest draw so far
    failed: dict[str, int | None] = field(default_factory=dict)  # run id → the mark of its failure before this test

    def execute(self) -> None:
        for draw in self.scheme.order():
            self.failed |= {spec.run_id: failure_mark(self.store, spec) for spec in self.scheme.fits(*draw)}
        natural, *pending = self.scheme.order()
        busy = [] if self._make_here(natural, wait=self.clock.seconds is not None) else [natural]  # here: what it raises is to be raised
        total = len(pending)
        while batch := self._next(pending):
            busy += self._make(batch)
            pending = [draw for draw in pending if draw not in batch]
            if self.console:
                self.console.print(f"{total - len(pending)}/{total} draws  {batch[-1][0].title}", highlight=False)
        while (busy := [draw for draw in busy if not self._make_here(draw)]) and self.clock.left > 0:
            time.sleep(_LOOK_SECONDS)

    def _next(self, pending: list[tuple[Randomization, int]]) -> list[tuple[Randomization, int]]:
        """The next draws that are likely to end in time, as many as there are jobs (all, without a budget)."""
        longest = max(self.seconds.values(), default=0.0)
        in_time = [draw for draw in pending if self.seconds.get(draw[0], longest) <= self.clock.left]
        return in_time[: len(in_time) if self.clock.seconds is None and self.jobs != 1 else self.jobs]

    def _make(self, draws: list[tuple[Randomization, int]]) -> list[tuple[Randomization, int]]:
        """Make draws. Gives those that another process is at."""
        if self.jobs == 1 and self.engine == "local":
            return [draw for draw in draws if not self._make_here(draw)]
        start, console = time.perf_counter(), self.console if self.clock.seconds is None else None
        specs = [spec for r, draw in draws for spec in self.scheme.fits(r, draw)]
        sweep(specs, self.store, self.jobs, console, self.log, self.given, self.engine)
        for r, _ in draws:
            self._took(r, start)
        return []

    def _make_here(self, draw: tuple[Randomization, int], wait: bool = False) -> bool:
        """Make a draw in this process. False if another process is at one of its fits, unless it is to `wait` for that."""
        start, is_natural = time.perf_counter(), draw[0] == NATURAL
        try:
            for spec in self.scheme.fits(*draw):
                self._run(spec, is_natural, wait)
        except Busy:
            return False
        except OutOfTime:
            pass
        self._took(draw[0], start)
        return True

    def _run(self, spec: RunSpec, raises: bool, wait: bool) -> None:
        mark = failure_mark(self.store, spec)
        if not raises and mark != self.failed[spec.run_id]:
            return  # another process has executed it meanwhile
        try:
            run(spec, self.store, None if raises else self.clock.check, self.log, self.given, wait)
        except Busy:
            raise
        except Exception as error:  # whatever the learner raises on noise; the run is marked as failed, with the error
            if raises:
                raise
            if isinstance(error, InputError) and error.before_training:
                self.store.fail_by(spec, error)

    def _took(self, randomization: Randomization, start: float) -> None:
        self.seconds[randomization] = max(self.seconds.get(randomization, 0.0), time.perf_counter() - start)


def _check_same_data(draws: Sequence[Draw]) -> None:
    """Raises InputError if a store has draws that were made from other data of the same name, such as another encoding of them."""
    natural, *others = [made for draw in draws for made in draw.runs if made.status == "done"]
    for other in others:
        for name in ("dataset", "classes", "image_shape"):
            if other.result[name] != natural.result[name]:
                raise InputError(
                    f"{other.folder} was made from other data than the natural fit: its {name} is {other.result[name]!r}, expected "
                    f"{natural.result[name]!r}; remove that folder or take another store"
                )


def _read(scheme: Scheme, store: Store, randomization: Randomization, draw: int) -> Draw:
    runs = []
    for spec in scheme.fits(randomization, draw):
        runs.append(store.of(spec).whole())
    return Draw(randomization, draw, tuple(runs))
