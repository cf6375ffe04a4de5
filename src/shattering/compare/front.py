"""`randomization_test`: would this model fit noise just as well, and does it learn anything?"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator

from shattering import seeds
from shattering.compare.budget import Clock, parse_budget, shrink_to_budget
from shattering.compare.duplicates import find_duplicates, find_shared_groups
from shattering.compare.execution import Execution
from shattering.compare.folds import as_splitter
from shattering.compare.permutation import read_permutations, read_repeat
from shattering.compare.plan import Plan, check_stop_after, count_repeats, exchanged_all, find_randomizations
from shattering.compare.repeat import Repeat
from shattering.compare.result import RandomizationTest
from shattering.compare.stored_scores import admissible_orders, best_constant, group_share, zero_refit_of
from shattering.data.arrays import Targets
from shattering.data.catalog import DATASETS
from shattering.data.dataset import Dataset
from shattering.data.exchange import EXCHANGES, Exchange, ExchangeFunction, check_exchange, check_function, default_exchange
from shattering.data.formats import check_targets_differ
from shattering.data.hub import is_stream
from shattering.data.kinds import Kind
from shattering.data.load import load_dataset, takes_targets
from shattering.data.split import Split
from shattering.errors import InputError, shown, unknown
from shattering.identity.digest import identify, tell
from shattering.identity.files import read_once
from shattering.identity.names import name_of
from shattering.learners.adapt import Inputs, as_model, for_numbers, tracked
from shattering.learners.factories import OfInstance, Start
from shattering.learners.others import check_callbacks
from shattering.learners.predictions import kind_of_model
from shattering.learners.trained import TrainedNetwork
from shattering.parameters import Count, Natural, check_arguments
from shattering.randomization import Randomization
from shattering.runs.execute import check_done
from shattering.runs.fit import cuts, load_original
from shattering.runs.loggers import Log
from shattering.runs.spec import RunSpec
from shattering.runs.store import Store
from shattering.runs.sweep import Engine, check
from shattering.system.signals import no_exit
from shattering.system.temporary import TemporaryFolder

_CHECKED = ("stop_after", "scoring", "hyperparameters", "n_train", "n_test", "seed", "skip_corrupt", "store", "progress")


@read_once()
@no_exit()
@seeds.put_back()  # constructors of users draw from global generators, also where an estimator is only looked at
def randomization_test(
    model: Any,
    data: Any,
    y: Any = None,
    *,
    groups: Any = None,
    kind: Kind | None = None,
    target: str | None = None,
    targets: Targets | None = None,
    randomizations: Sequence[str | Randomization] | None = None,
    n_permutations: int | Mapping[str, int] = 19,
    exchange: Exchange | ExchangeFunction | None = None,
    stop_after: Count | None = None,
    cv: Any = None,
    scoring: str | Callable[..., float] | None = None,
    hyperparameters: Mapping[str, object] | None = None,
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
    progress: bool | None = None,
    engine: Engine = "local",
) -> RandomizationTest:
    """Fit a model on data and on randomized copies of them, and compare the scores.

    Args:
        model: a scikit-learn classifier or pipeline, a skorch net, a torch module (class, factory or instance), a training
            function (split, seed) → predict, or the name of one; see `shattering.learners.adapt.as_model`.
        data: a name, a path, (X, y), (x_train, y_train, x_test, y_test), a `Dataset`, a torch or a Hugging Face dataset;
            see `load_dataset`. Without a test split, a fifth is held out at random; with folds, nothing is.
        y: (n,) the labels, if data is X alone, as scikit-learn's functions take them.
        groups: (n,) values that are equal for examples that belong together, such as those of one patient, or the name of a column:
            whole groups are held out. See `load_dataset`, also for the next three.
        kind: what the inputs are: "images", "table", "sequence", "tokens" or "opaque". None: as their type says.
        target: the name of the column of labels in a DataFrame, or in a CSV or Parquet file.
        targets: "classes" or "numbers". None: numbers for regressors, and where the labels have fractions.
        randomizations: names in `shattering.compare.plan.RANDOMIZATIONS`, or instances of `Randomization`. None: those that
            `shattering.compare.plan.default_randomizations` gives for inputs and labels of this kind; for a table of numbers with
            classes these are permuted labels, 20 % corrupted labels, Gaussian features and features permuted within classes.
        n_permutations: permutations of each of the two permutation tests; other randomizations get as many repeats, but at most
            3. Or a mapping from names of randomizations to numbers; those that it does not name, permutation tests too, get 3. The
            smallest possible p-value is 1 / (n_permutations + 1).
        exchange: which permutations of the labels are as likely as the labels, if these do not depend on the inputs: "free" (any;
            examples are independent), "within" (inside each group), "whole" (groups of one size exchange their complete label vectors),
            "shift" (the labels of each group, or of all, are rolled by a random time; approximate). Or a function (labels, generator) →
            permuted labels, for dependence of any other form: it gets the labels in the order of the rows, those of a train and of a
            test split in two calls, and draws from the generator alone. It needs `cv` or train and test data of your own, without
            n_train. None: "free" without groups; "whole" where every group has one label, else "within".
        stop_after: stop a permutation test at this number of permutations that are as good as the original data (Besag and Clifford
            1991); n_permutations then is the most there are. None: do all.
        cv: cross-validate the train split instead of testing on the test split, as scikit-learn's `permutation_test_score` does: a
            number of folds (stratified, of whole groups if there are groups, shuffled), a splitter such as `GroupKFold(4)`, or a list
            of (training rows, test rows). Every permutation is cut by its own labels, and by the groups. None: use the test split.
        scoring: the name of one of scikit-learn's scorers, or a function (estimator, X, y) → score, of which higher is better. None:
            accuracy, or R² for numbers.
        hyperparameters: parameters of the model; for torch modules those of `NetworkClassifier`, which trains them.
        inputs: "table" or "images", for estimators that accept either. "auto": images for skorch, tables otherwise.
        start: the weights that every fit of an instance of a torch module starts from: "reinitialized" (its layers draw new
            weights) or "given" (the weights it has, which is fine-tuning). None: "reinitialized"; other models have no start.
            The result says which.
        n_train: train on a class-balanced subset of this size.
        n_test: test on a class-balanced subset of this size.
        image_size: resize encoded images of any size to squares of this width in pixels. None: they have one size.
        skip_corrupt: skip encoded images that cannot be decoded, and count them in each run's result. False: they are an error.
        channels: "first" or "last", the order of the axes in arrays of images. None: judged by their lengths, see `load_dataset`.
        seed: seeds the subset, the randomizations, the initial weights and the batch order.
        budget: the time that the call may take, such as "5min" or seconds. Repeats are run in rounds until it is used up; if
            necessary on fewer training examples, and as a last resort for fewer epochs. The result says what was left out. A
            fit that does not report its epochs is never interrupted; it is not begun if it would end too late. None: no limit.
        jobs: how many fits are made at a time; if more than one, each in a process of its own. None: 1; on Ray as many as the cluster
            has room for, but with a budget it has to be given.
        store: a folder or URL that keeps the runs (on Ray one that all machines see); the same call finds them there and runs
            only what is missing. None: they are kept as long as the result.
        log: loggers that follow every fit, such as "tensorboard:FOLDER"; see `shattering.runs.execute.run`.
        progress: True prints a line for each repeat that has ended, on standard error, beside the line of progress that None shows in a
            terminal or a notebook; False prints nothing.
        engine: "local", "ray" or a `Ray`, as `sweep` takes it. The fit on the original data is always made in this process.

    Returns:
        The result. It includes repeats whose fit failed, with the status "failed".

    Raises:
        InputError: for bad input. Whatever the model raises on the original data is raised, too.

    Example:
        >>> test = randomization_test("nearest-neighbors", "digits", n_train=100, randomizations=["permuted-labels"])
        >>> test.p_value
        0.05
    """
    check_arguments(randomization_test, locals(), *_CHECKED)
    clock = Clock(parse_budget(budget), time.perf_counter())
    check(jobs, engine)
    if jobs is None and engine != "local" and budget is not None:
        raise InputError("jobs is None on Ray, expected beside a budget how many fits are made at a time")
    _check_no_metric(scoring)
    name, estimator, params = as_model(model, hyperparameters, inputs, start)
    jobs = jobs or (1 if engine == "local" else None)
    check_callbacks(estimator, jobs)
    data, said = _as_data(data, y, estimator, {"kind": kind, "target": target, "targets": targets, "groups": groups})
    source = str(data) if isinstance(data, (str, Path)) and not said else None
    reading: dict[str, Any] = {"image_size": image_size, "skip_corrupt": skip_corrupt}
    sizes = (n_train, n_test) if source is not None or is_stream(data) else (None, None)  # other objects are handed over whole
    dataset = load_dataset(data, *sizes, seed, hold_out=cv is None, channels=channels, **reading, **said)
    name, estimator, params, scoring = _for_labels(name, estimator, params, scoring, dataset)
    folds, splitter = as_splitter(cv, dataset.limit(n_train if source is None else None, seed=seed), seed)
    if exchange is None:
        exchange = default_exchange(dataset.train.true_labels.numpy(), dataset.train.group_codes)
    _check_exchange(exchange, dataset if source is not None else dataset.limit(n_train, n_test, seed), folds is not None)
    others = {"cv": splitter, "scoring": scoring, "exchange": exchange}
    by_name, spec, unidentified = name_objects(name, estimator, source, dataset, others)
    how = spec.pop("exchange")
    base = RunSpec(**spec, params=params, seed=seed, data_seed=seed, fold=None if folds is None else 0, folds=folds)
    reading["channels"] = None if source is None else channels  # arrays are a dataset by now
    base = replace(base, **reading, n_train=n_train, n_test=n_test)
    counts = count_repeats(find_randomizations(randomizations, dataset.train), n_permutations)
    check_stop_after(stop_after, counts)
    counts = exchanged_all(counts, how)
    base, left_out = shrink_to_budget(base, by_name, 1 + sum(counts.values()), 1 + len(counts), clock)
    if callable(exchange) and base.n_train != n_train:
        raise InputError(
            f"budget leaves time for {base.n_train:,} training examples, and exchange, a function, needs all of them: expected a larger "
            "budget, or none"
        )
    folder = None
    if store is None:
        folder = TemporaryFolder()
        store = folder.path
    try:
        where = store if isinstance(store, Store) else Store(store)
        execution = Execution(Plan(base, counts), where, by_name, jobs, clock, progress, log, engine, stop_after)
        execution.execute()
        test = _result(execution, dataset, estimator, how, left_out, unidentified)
    except BaseException:
        if folder:
            folder.remove()
        raise
    if folder:
        return replace(test, kept=folder.until_unused())  # its runs are kept as long as it lives, or a copy of it
    return test


def _as_data(data: Any, y: Any, estimator: BaseEstimator | None, said: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Return the data with y, and what is said of them, for `load_dataset`: that labels are numbers, if a regressor takes them so."""
    if isinstance(y, str):
        raise InputError(f"y is {shown(y)}, expected one label an example; the name of a column of labels is target={shown(y)}")
    data = data if y is None else (data, y)
    if said["targets"] is None and kind_of_model(estimator) == "regressor" and takes_targets(data, said["target"]):
        said = {**said, "targets": "numbers"}
    return data, {name: value for name, value in said.items() if value is not None}


def _for_labels(
    name: str, estimator: BaseEstimator | None, params: dict[str, object], scoring: Any, dataset: Dataset
) -> tuple[str, BaseEstimator | None, dict[str, object], Any]:
    """Return the model and the scoring for classes, or for numbers. Raises InputError for data that are randomized already."""
    if not torch.equal(dataset.train.labels, dataset.train.true_labels):
        raise InputError("data are randomized already (labels differ from true_labels), expected original data")
    if not dataset.train.is_regression:
        return *tracked(name, estimator, params), scoring
    scoring = scoring or "r2"
    if scoring == "r2":
        check_targets_differ(dataset.test, f"the test split of {dataset.name}")
    return *for_numbers(name, estimator, params), scoring


def _result(
    execution: Execution,
    dataset: Dataset,
    estimator: BaseEstimator | None,
    how: Exchange | str,
    left_out: tuple[str, ...],
    unidentified: tuple[str, ...],
) -> RandomizationTest:
    """Read the runs of an execution that has ended, and judge them.

    Args:
        execution: of all repeats, or as many as there was time for.
        dataset: the data as they were handed over.
        estimator: the model; None: one of a name.
        how: the exchange of labels.
        left_out: sentences about what the budget has shrunk.
        unidentified: sentences about what cannot be identified.
    """
    plan, store, by_name = execution.plan, execution.store, execution.objects
    base, order = plan.original, plan.order()
    repeats = tuple(read_repeat(plan, store, n) for n in order if plan.is_alone(n))
    batches = [n for n in order if not plan.is_alone(n)]
    for run in repeats[0].runs:  # on the original data, which others are compared with
        check_done(run)
    _check_same_data(repeats)
    start, notes = _start(estimator)
    used, _ = load_original(base, by_name)
    cut = None if base.folds is None else cuts(base, used, by_name)
    shared_groups = find_shared_groups(used, how, cut)
    zero_refit, not_tested = zero_refit_of(repeats[0], used, how, by_name)
    return RandomizationTest(
        base.model_name,
        repeats,
        left_out,
        start,
        (*notes, *_noted(repeats), *unidentified, *not_tested),
        objects=by_name,
        names=_names(dataset.train),
        duplicates=find_duplicates(used, base.folds is not None),
        shared_groups=shared_groups,
        batched=tuple(p for n in batches for p in read_permutations(plan, store, n)),
        zero_refit=None if shared_groups and how in ("whole", "shift") else zero_refit,
        has_groups=used.train.groups is not None and how != "free",
        group_share=group_share(used, how, cut),
        admissible=admissible_orders(used, how, base.folds is not None),
        stop_after=execution.stop_after,
        best_constant=best_constant(repeats[0], used, by_name, cut),
        n_tested=None if cut is None else len(np.unique(np.concatenate([rows for _, rows in cut]))),
        seconds=time.perf_counter() - execution.clock.start,
    )


def name_objects(
    name: str, estimator: BaseEstimator | None, source: str | None, dataset: Dataset, others: Mapping[str, Any] = MappingProxyType({})
) -> tuple[dict[str, Any], dict[str, Any], tuple[str, ...]]:
    """Return the objects by the names that specs have for them, these names, and sentences about what cannot be identified.

    others: a splitter, a scorer and a function, by the field that names them; a text stays as it is.
    """
    by_name: dict[str, Any] = {}
    unidentified: tuple[str, ...] = ()
    if estimator is not None:
        key, unidentified = identify(estimator, name, "cloned")
        name = name_of(name, key)
        by_name[name] = estimator
    if source is None:
        source = name_of(dataset.name, dataset.fingerprint()[:16])
        by_name[source] = dataset
    names: dict[str, Any] = {"model": name, "dataset": source}
    for role, thing in others.items():
        if thing is not None and not isinstance(thing, str):
            inner = getattr(thing, "_score_func", thing)  # private: the metric in a scorer that make_scorer has made has the telling name
            label = getattr(inner, "__name__", type(thing).__name__)
            key, more = identify(thing, label)
            unidentified, names[role] = (*unidentified, *more), name_of(label, key)
            by_name[names[role]] = thing
        elif thing is not None:
            names[role] = thing
    return by_name, names, tell(unidentified)


def _check_exchange(exchange: Exchange | ExchangeFunction, dataset: Dataset, folds: bool) -> None:
    """Raise InputError for an exchange that is unknown or not for these data, before anything is fitted."""
    if not callable(exchange):
        if exchange not in EXCHANGES:
            raise unknown("exchange", exchange, EXCHANGES, "a function")
        check_exchange(exchange, dataset.train.group_codes)
        return
    for part, split in (("train", dataset.train), *(() if folds else (("test", dataset.test),))):
        check_function(exchange, split.y, split.ids.numpy(), part)


def _check_no_metric(scoring: Any) -> None:
    """Raise InputError for a metric of scikit-learn's, which takes labels and predictions, not an estimator."""
    module = getattr(scoring, "__module__", None) or ""
    if callable(scoring) and module.startswith("sklearn.metrics.") and not module.startswith("sklearn.metrics._scorer"):
        name = getattr(scoring, "__name__", type(scoring).__name__)
        raise InputError(f"scoring is the metric {name}, expected a scorer: the name of one, or make_scorer({name})")


def _names(split: Split) -> dict[int, str]:
    """Return what the user calls the examples, by id."""
    return {} if split.names is None else dict(zip(split.ids.tolist(), split.names.tolist(), strict=True))


def _start(estimator: BaseEstimator | None) -> tuple[Start | None, tuple[str, ...]]:
    """Return what the fits of a torch module's instance started from, and a sentence about it."""
    factory = estimator.network if isinstance(estimator, TrainedNetwork) else None
    return (factory.start, (factory.sentence,)) if isinstance(factory, OfInstance) else (None, ())


def _noted(repeats: Sequence[Repeat]) -> tuple[str, ...]:
    """Return what the fits noted, each sentence once."""
    return tuple(
        dict.fromkeys(note for repeat in repeats for run in repeat.runs if run.status == "done" for note in run.result.get("notes", []))
    )


def _check_same_data(repeats: Sequence[Repeat]) -> None:
    """Raise InputError if a store has runs on other data of the same name, such as another encoding of them."""
    original, *others = [run for repeat in repeats for run in repeat.runs if run.status == "done"]
    if original.spec.dataset not in DATASETS:  # their content is part of the runs' ids, and their name is not
        return
    for other in others:
        for name in ("dataset", "classes", "image_shape"):
            if other.result.get(name) != original.result.get(name):
                raise InputError(
                    f"{other.folder} was made from other data than the original fit: its {name} is {other.result.get(name)!r}, expected "
                    f"{original.result.get(name)!r}; remove that folder or take another store"
                )
