"""The commands of `capacity`: how much a model can fit. Each runs what is missing, prints a table and writes a page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from shattering.cli.common import Stored, check_out, print_json, print_page, sweep_with_overview
from shattering.cli.options import Positional, Repeated, UsageError
from shattering.parameters import Count, Natural, Range
from shattering.report.style import StyleName

if TYPE_CHECKING:
    from shattering.data.dataset import Dataset
    from shattering.experiments.experiment import Result


@dataclass(frozen=True, kw_only=True)
class _CapacityCommand(Stored):
    data: str = "digits"
    """A name (see `list datasets`) or a path."""
    model: str = "network"
    """A name (see `list models`)."""
    set: Repeated = ()
    """A parameter of the model, as name=value."""
    seed: Natural = 0
    """Seed of the subset, the noise and the model."""
    out: Path = Path("capacity")
    """Folder for the page (HTML) and pictures (PDF, SVG, PNG)."""
    wide: bool = False
    """Print every column, in whole lines."""
    style: StyleName = "screen"
    """Size of the pictures. paper: 3.25 inches, 8 points. slides: 16 : 9, large type."""

    def _load(self) -> Dataset:
        from shattering.data.load import load_dataset

        check_out(self.out, is_folder=True)
        return load_dataset(self.data)

    def _params(self) -> dict:
        from shattering.learners import build_model, find_model
        from shattering.learners.settings import settled
        from shattering.runs.grid import read_settings

        model = find_model(self.model)
        params = settled(model, read_settings(self.set), f"model {self.model!r}")
        build_model(self.model, params, self.seed)  # bad parameters stop here, not in a worker
        return params

    def _title(self) -> str:
        return " ".join([self.model, *self.set])

    def _finish(self, result: Result) -> int:
        from shattering.experiments import reproduce
        from shattering.experiments.text import print_result

        files = reproduce.write_result(result, self.out, self.style)
        if self.json:
            print_json(result.to_json() | {"files": [str(file.resolve()) for file in files]})
        else:
            print_result(result, self.wide)
            print_page(files)
        return 1 if result.not_done else 0


@dataclass(frozen=True, kw_only=True)
class MeasureRademacher(_CapacityCommand):
    """Empirical Rademacher complexity: how well the model fits random signs, beside closed forms of norm-bounded classes.

    Examples:
        shattering capacity rademacher
        shattering capacity rademacher --model nearest-neighbors
    """

    n: Annotated[int, Range(2)] = 200
    """Training images."""
    draws: Count = 10
    """Number of vectors of random signs to draw."""

    def execute(self) -> int:
        from shattering.experiments.rademacher import make_result
        from shattering.runs.store import Store
        from shattering.runs.study import StudySpec

        _check_size("--n", self.n, 2, len(self._load().train))
        common = {"dataset": self.data, "n": self.n, "n_draws": self.draws}
        specs = [
            StudySpec("rademacher-classes", common, self.seed),
            StudySpec("rademacher", {**common, "model": self.model, "params": self._params()}, self.seed),
        ]
        closed, trained = sweep_with_overview(specs, Store(self.store), 1)
        return self._finish(make_result("rademacher", "capacity", {self._title(): trained}, closed))


@dataclass(frozen=True, kw_only=True)
class MeasureStability(_CapacityCommand):
    """Uniform stability: how losses change when one training example is replaced, on original and on random labels.

    Examples:
        shattering capacity stability --model nearest-neighbors
        shattering capacity stability --set network=mlp-1x512 --set epochs=5
    """

    n: Annotated[int, Range(2)] = 200
    """Training images."""
    replaced: Count = 20
    """Number of examples to replace, one at a time."""

    def execute(self) -> int:
        from shattering.experiments.stability import LABELS, N_TEST, make_result
        from shattering.runs.store import Store
        from shattering.runs.study import StudySpec

        data = self._load()
        _check_size("--n", self.n, data.train.n_classes, len(data.train) - 1)
        _check_size("--replaced", self.replaced, 1, min(self.n, len(data.train) - self.n))
        common = {"dataset": self.data, "n": self.n, "n_replaced": self.replaced, "model": self.model, "params": self._params()}
        common |= {"n_test": len(data.test)} if len(data.test) < N_TEST else {}
        specs = [StudySpec("stability", {**common, "labels": p}, self.seed) for p in LABELS.values()]
        records = sweep_with_overview(specs, Store(self.store), 1)
        by_labels = {(self._title(), kind): record for kind, record in zip(LABELS, records, strict=True)}
        return self._finish(make_result("stability", "capacity", by_labels))


@dataclass(frozen=True, kw_only=True)
class FindShatterPoint(_CapacityCommand):
    """The largest number of random labels that the model fits, by bisection over stored runs.

    Examples:
        shattering capacity shatter-point --set network=mlp-1x512
        shattering capacity shatter-point --model logistic-regression --n-max 1000
    """

    accuracy: Annotated[float, Range(0, 1, above=True)] = 0.99
    """The training accuracy from which a run fits its random labels."""
    n_min: Count = 100
    """Number of training images at which the search begins."""
    n_max: Count | None = None
    """The most training images to try. Default: all."""
    n_test: Count | None = None
    """Test images of each run. Default: 1,000, or all if there are fewer."""
    steps: Count = 4
    """Number of sizes to try per doubling of the number of images."""
    seeds: Count = 1
    """Runs per number of images, all of which have to fit."""

    def execute(self) -> int:
        from shattering.experiments.shatter_point import make_result, shatter_point
        from shattering.runs.spec import RunSpec
        from shattering.runs.store import Store

        n_all = len(self._load().test)
        n_test = min(1000, n_all) if self.n_test is None else self.n_test
        _check_size("--n-test", n_test, 1, n_all)
        spec = RunSpec(self.data, n_test=n_test, model=self.model, params=self._params(), seed=self.seed)

        point = shatter_point(spec, Store(self.store), self.accuracy, self.n_min, self.n_max, self.steps, self.seeds, progress=True)
        return self._finish(make_result({self._title(): point}))


@dataclass(frozen=True, kw_only=True)
class MeasureBits(_CapacityCommand):
    """Memory in bits: how many bits of its training labels the model carries at its most, for random and for true labels.

    Examples:
        shattering capacity bits random-forest
        shattering capacity bits mlp-1x512 --labels random --n-max 1000
    """

    model: Positional[str] = "network"
    """file.py:name, package.module:name, or a name of `list models` or `list networks`."""
    labels: Literal["random", "true", "both"] = "both"
    """Labels to fit. both: random and true labels, and the gap between them."""
    n_min: Count = 100
    """Number of training examples at which the search begins."""
    n_max: Count | None = None
    """The most training examples to try. Default: all."""
    steps: Count = 2
    """Number of sizes to try per doubling of the number of examples, near the best."""
    seeds: Count = 3
    """Fits per number of examples; an interval needs three."""

    def execute(self) -> int:
        from shattering.experiments.bit_capacity import BitCapacity, Labels, bit_capacity
        from shattering.experiments.bits import make_result
        from shattering.runs.grid import read_settings

        check_out(self.out, is_folder=True)
        kinds: tuple[Labels, ...] = ("random", "true") if self.labels == "both" else (self.labels,)

        found: dict[Labels, BitCapacity] = {
            kind: bit_capacity(
                self.model,
                self.data,
                labels=kind,
                hyperparameters=read_settings(self.set),
                n_min=self.n_min,
                n_max=self.n_max,
                steps=self.steps,
                n_seeds=self.seeds,
                seed=self.seed,
                store=self.store,
                progress=True,
            )
            for kind in kinds
        }
        return self._finish(make_result({self._title(): found}))


def _check_size(option: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise UsageError(f"{option} is {value}, expected {low}…{high}")
