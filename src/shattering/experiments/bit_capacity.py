"""Memory in bits: how many bits of its training labels a model carries, and the largest such number, whatever the number of examples."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator

from shattering import seeds
from shattering.brief import Brief
from shattering.compare.front import name_objects
from shattering.data.load import load_dataset
from shattering.data.split import Split
from shattering.errors import InputError
from shattering.identity.files import read_once
from shattering.identity.names import is_object, label
from shattering.learners import build_model
from shattering.learners.adapt import as_model
from shattering.learners.learned import count_learned
from shattering.learners.on_splits import fit_split, predict_proba_split, predict_split
from shattering.measures.bits import Known, bits_memorized, bootstrap_interval
from shattering.parameters import Count, Natural, check, check_arguments
from shattering.randomization import Randomization, randomize
from shattering.runs.execute import run
from shattering.runs.objects import Objects, find, with_seed
from shattering.runs.store import Store
from shattering.runs.stored import Run
from shattering.runs.study import StudySpec
from shattering.system.progress import Progress
from shattering.system.temporary import TemporaryFolder

Labels = Literal["random", "true"]
Fit = Run[StudySpec]
FULL = 0.95  # a model carries nearly all bits of its labels from this share of them on
PATIENCE = 2  # doublings of n without more bits, after which a search ends


@dataclass(frozen=True, repr=False)
class BitCapacity(Brief):
    """The most bits of its training labels that a model carries at any number of examples tried: a lower bound for its hyperparameters.

    Args:
        labels: "random" or "true".
        runs: the stored fits of one model that were looked at, of every n and seed.

    Example:
        >>> BitCapacity("random", ()).bits is None
        True
    """

    labels: Labels
    runs: tuple[Fit, ...]

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """A row per fit: n, seed, accuracy on the training labels (in 0…1), bits, most (all bits of the labels), n_parameters."""
        names = ("accuracy", "bits", "most", "n_parameters")
        done = [run for run in self.runs if run.status == "done"]
        rows = [{"n": run.result["n"], "seed": run.spec.seed, **{name: run.result[name] for name in names}} for run in done]
        return sorted(rows, key=lambda row: (row["n"], row["seed"]))

    @cached_property
    def best(self) -> dict[int, dict[str, Any]]:
        """Map each seed to the row of its fit with the most bits."""
        best: dict[int, dict[str, Any]] = {}
        for row in self.rows:
            if row["seed"] not in best or row["bits"] > best[row["seed"]]["bits"]:
                best[row["seed"]] = row
        return dict(sorted(best.items()))

    def table(self) -> pd.DataFrame:
        """Make a table of `rows`."""
        return pd.DataFrame(self.rows)

    @property
    def bits(self) -> float | None:
        """The largest number of bits at any n, a mean over the seeds (each at its own best n); None without fits."""
        return fmean(row["bits"] for row in self.best.values()) if self.best else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % bootstrap interval of `bits`; None for fewer than three seeds."""
        return bootstrap_interval([row["bits"] for row in self.best.values()])

    @property
    def bits_per_parameter(self) -> float | None:
        """Bits per learned number, at the most bits, on average over the seeds; None where these numbers are not counted."""
        return fmean(self._ratios) if self._ratios else None

    @property
    def interval_per_parameter(self) -> tuple[float, float] | None:
        """The 95 % bootstrap interval of `bits_per_parameter`; None for fewer than three seeds."""
        return bootstrap_interval(self._ratios)

    @property
    def is_open(self) -> bool:
        """True if a seed has the most bits at the largest n that was tried: more examples may give more."""
        return bool(self._at_largest)

    @property
    def is_full(self) -> bool:
        """True if a seed carries nearly all bits of its labels at the largest n, so that only n limits what is measured."""
        return any(row["bits"] >= FULL * row["most"] for row in self._at_largest)

    @property
    def _at_largest(self) -> list[dict[str, Any]]:
        """The rows of the seeds that have the most bits at the largest n."""
        return [row for row in self.best.values() if row["n"] == self.rows[-1]["n"]]

    @property
    def _ratios(self) -> list[float]:
        counted = [row for row in self.best.values() if row["n_parameters"]]
        return [row["bits"] / row["n_parameters"] for row in counted] if len(counted) == len(self.best) else []


def gap(true: BitCapacity, random: BitCapacity) -> tuple[float, tuple[float, float] | None] | None:
    """Return how many bits more a model carries of true labels than of random ones, with a 95 % bootstrap interval over the seeds.

    Shwartz-Ziv et al. (2024, arXiv 2406.11463) compare both capacities, as numbers of examples that are fitted, and find that the
    difference goes with generalization.

    Args:
        true: of labels="true".
        random: of the same model, data and seeds, of labels="random".

    Returns:
        The mean over the seeds that both have and its interval (None for fewer than three); None if they have none.

    Raises:
        InputError: for capacities of other labels, such as the two the other way round.

    Example:
        >>> gap(BitCapacity("true", ()), BitCapacity("random", ())) is None
        True
    """
    if (true.labels, random.labels) != ("true", "random"):
        raise InputError(f"true is of {true.labels} labels and random of {random.labels} labels, expected 'true' and 'random'")
    differences = [row["bits"] - random.best[seed]["bits"] for seed, row in true.best.items() if seed in random.best]
    return (fmean(differences), bootstrap_interval(differences)) if differences else None


def run_study(
    seed: int,
    *,
    dataset: str = "digits",
    n: Count = 200,
    model: str = "network",
    params: Mapping | None = None,
    labels: Labels = "random",
    objects: Objects | None = None,
) -> tuple[dict, pd.DataFrame]:
    """Fit a model to n training examples, and measure how many bits of their labels its predictions carry.

    Args:
        seed: of the subset, the labels and the model.
        dataset: a name in `DATASETS`, a path, or the name of an object.
        n: training examples.
        model: a name in `MODELS`, or the name of an object.
        params: its parameters.
        labels: "random" (uniform, as in the papers) or "true".
        objects: the objects by their names.

    Returns:
        The numbers and the table.
        Numbers: model (in words), n, n_classes, accuracy on the training labels (in 0…1), bits, most (the bits of the labels) and
        n_parameters (see `count_learned`). Table: code ("labels" or "probabilities") and bits; the better code counts, less the
        bit that says which of two it is.

    Raises:
        InputError: for an unknown kind of labels, and whatever loading and fitting raise.

    Example:
        >>> numbers, codes = run_study(0, n=50, model="nearest-neighbors", params={"n_neighbors": 1})
        >>> round(numbers["bits"]), round(numbers["most"])
        (165, 166)
    """
    if labels not in ("random", "true"):
        raise InputError(f"labels is {labels!r}, expected 'random' or 'true'")
    source = find(dataset, objects) if is_object(dataset) else dataset
    data = load_dataset(source, n, 1, seed, hold_out=False)
    data = randomize(data, Randomization(labels=1.0), seed) if labels == "random" else data
    handed_over = is_object(model)
    estimator = with_seed(find(model, objects), seed) if handed_over else build_model(model, params or {}, seed)
    known: Known = "classes" if labels == "random" else "counts"
    with seeds.everywhere(seed):  # that code which is not ours may draw from
        fit_split(estimator, data.train)
        numbers, codes = measure(estimator, data.train, known)
    name = label(model) if handed_over else model
    return {"data": data.variant, "model": _in_words(name, estimator), "n": n, "labels": labels, **numbers}, codes


def _in_words(name: str, estimator: Any) -> str:
    """Return the name of an estimator with its parameters that are not at their defaults, as far as these are plain values."""
    values, defaults = estimator.get_params(deep=False), inspect.signature(type(estimator)).parameters
    chosen = {key: value for key, value in values.items() if key in defaults and key != "random_state"}
    texts = {key: _plain(value) for key, value in chosen.items() if _plain(value) != _plain(defaults[key].default)}
    return f"{name}({', '.join(f'{key}={text}' for key, text in texts.items() if text)})"


def _plain(value: Any) -> str | None:
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(filter(None, map(_plain, value)))}]"
    if isinstance(value, BaseEstimator):
        return _in_words(type(value).__name__, value)
    return repr(value) if value is None or isinstance(value, (str, int, float)) else None


def measure(model: Any, train: Split, known: Known) -> tuple[dict, pd.DataFrame]:
    """Measure the bits that a fitted model carries of its training labels, by its predictions and, where it has them, its probabilities.

    Args:
        model: fitted to the split.
        train: the split.
        known: see `bits_memorized`.

    Returns:
        See `run_study`. Probabilities that are not finite, of a training that diverged, are no code.

    Raises:
        InputError: for what is no Split of classes.

    Example:
        >>> from sklearn.neighbors import KNeighborsClassifier
        >>> from shattering import load_dataset
        >>> train = load_dataset("digits", n_train=50).train
        >>> numbers, codes = measure(KNeighborsClassifier(1).fit(train.X, train.y), train, "counts")
        >>> numbers["accuracy"], round(numbers["bits"]), round(numbers["most"])
        (1.0, 144, 145)
    """
    check("train", train, Split)
    if train.is_regression:
        raise InputError("train has numbers as targets, expected classes, whose labels can be counted in bits")
    labels, k = train.labels.numpy(), train.n_classes
    predicted = predict_split(model, train, fitted=True)
    bits = {"labels": bits_memorized(labels, predicted, k, known)}
    probabilities = predict_proba_split(model, train)
    if probabilities is not None and bool(np.isfinite(probabilities).all()):
        bits["probabilities"] = bits_memorized(labels, probabilities, k, known)
    numbers = {
        "n_classes": k,
        "accuracy": float((predicted == labels).mean()),
        "bits": max(bits.values()) - float(np.log2(len(bits))),
        "most": bits_memorized(labels, np.eye(k)[labels], k, known),
        "n_parameters": count_learned(model),
    }
    return numbers, pd.DataFrame({"code": list(bits), "bits": list(bits.values())})


@read_once()
def bit_capacity(
    model: Any,
    data: Any = "digits",
    *,
    labels: Labels = "random",
    hyperparameters: Mapping[str, object] | None = None,
    n_min: Count = 100,
    n_max: Count | None = None,
    steps: Count = 2,
    n_seeds: Count = 3,
    seed: Natural = 0,
    store: str | Path | Store | None = None,
    progress: bool | None = None,
) -> BitCapacity:
    """Find the most bits of its training labels that a model carries, at whatever number of examples that is.

    The search is over the numbers n_min 2^(k / steps), rounded. n is doubled until two doublings have not given more bits, or n_max is
    reached. If n_min is the best of these, n is halved in the same way, down to the number of classes. Then the numbers around the best
    are tried. Every fit is stored: another search reuses it, and a search that was
    interrupted continues. For each seed other examples, labels and initial weights are drawn.

    The measure is `bits_memorized`: for any fit a lower bound (in expectation) of the information that the model has about random labels.
    The largest over J numbers of examples is biased by at most about log2 J bits.

    Args:
        model: any classifier, as `randomization_test` takes it: a name, an estimator, a torch module, a training function.
        data: any data, as `randomization_test` takes them. Only the train split is used.
        labels: "random", or "true": the labels of the data.
        hyperparameters: parameters of the model.
        n_min: where the search begins, at least the number of classes; smaller numbers are tried if it is the best.
        n_max: the most examples to try; None: all training examples.
        steps: how many numbers to try per doubling of n, near the best.
        n_seeds: fits for each number. An interval needs three.
        seed: the first of the seeds.
        store: a folder or URL that keeps the fits; None: nothing is kept but the result.
        progress: True prints a line for each fit, on standard error, beside the line that None shows in a terminal or a notebook; False
            prints nothing.

    Returns:
        The capacity, with every fit.

    Raises:
        InputError: for numbers out of range, and for bad input.

    Example:
        >>> from sklearn.neighbors import KNeighborsClassifier
        >>> found = bit_capacity(KNeighborsClassifier(1), "digits", n_max=400, n_seeds=1)
        >>> round(found.bits_per_parameter, 2)  # it stores every label of ten classes: log2(10) bits, less 1 bit in all
        3.32
    """
    check_arguments(bit_capacity, locals(), "labels", "n_min", "n_max", "steps", "n_seeds", "seed", "store", "progress")
    name, estimator, params = as_model(model, hyperparameters)
    source = str(data) if isinstance(data, (str, Path)) else None
    dataset = load_dataset(data, hold_out=False)
    by_name, names, _ = name_objects(name, estimator, source, dataset)
    train = dataset.train
    if train.is_regression:
        raise InputError("data have numbers as targets, expected classes, whose labels can be counted in bits")
    high = len(train) if n_max is None else n_max
    if not train.n_classes <= n_min <= high <= len(train):
        raise InputError(f"n_min is {n_min} and n_max is {high}, expected {train.n_classes} <= n_min <= n_max <= {len(train)}")
    spec = StudySpec("bits", {**names, **({"params": params} if params else {}), "labels": labels, "n": n_min}, seed)
    folder = TemporaryFolder() if store is None else None
    where = store if isinstance(store, Store) else Store(folder.path if folder else store or "")
    runs: dict[int, list[Fit]] = {}

    def mean_bits(n: int) -> float:
        if n not in runs:
            runs[n] = []
            for number in range(n_seeds):
                about = f"n = {n:,}, {labels} labels, seed {seed + number}"
                shown.update(sum(map(len, runs.values())), about)
                found = run(replace(spec, params={**spec.params, "n": n}, seed=seed + number), where, objects=by_name)
                runs[n].append(found)
                shown.say(f"{about}: {found.result['bits']:,.0f} bits")
        return fmean(found.result["bits"] for found in runs[n])

    try:
        with Progress("fits", shown=progress) as shown:
            _search(mean_bits, lambda k: min(high, round(n_min * 2 ** (k / steps))), train.n_classes, steps)
    finally:
        if folder:
            folder.remove()
    return BitCapacity(labels, tuple(found for n in sorted(runs) for found in runs[n]))


def _search(bits: Callable[[int], float], size: Callable[[int], int], low: int, steps: int) -> int:
    """Return the size with the most bits: by doubling, or by halving if the first is best, and then among the sizes around the best."""
    found: dict[int, float] = {0: bits(size(0))}
    for step in (steps, -steps):
        k = 0
        while size(k + step) >= low and size(k + step) != size(k) and abs(k - _best(found)) < PATIENCE * steps:
            k += step
            found[k] = bits(size(k))
        if _best(found):
            break
    best = _best(found)
    for k in range(best - steps + 1, best + steps):
        if k not in found and size(k) >= low:
            found[k] = bits(size(k))
    return size(_best(found))


def _best(found: Mapping[int, float]) -> int:
    return max(found, key=lambda k: found[k])
