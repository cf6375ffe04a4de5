"""Find the runs of an experiment by its name, and make its page and pictures from them."""

import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol, cast

import torch

from shattering.errors import InputError, reason, unknown
from shattering.experiments.catalogue import EXPERIMENTS, GROUPS
from shattering.experiments.experiment import Result, Runs, show
from shattering.experiments.scales import CONVOLUTIONAL, Scale
from shattering.parameters import check
from shattering.report.charts import can_draw, save_all
from shattering.report.page import render_template, write_page
from shattering.report.style import StyleName
from shattering.runs.base import Spec
from shattering.runs.spec import RunSpec
from shattering.runs.store import Store
from shattering.system.machine import usable_cores


class Experiment(Protocol):
    """The functions that the file of every experiment has."""

    TITLE: str
    PLACE: tuple[str, str]  # where the papers say it, and the scale from which its claims are verified

    def specs(self, scale: Scale) -> Sequence[Spec]:
        """List the runs that the experiment needs, in the order in which to execute them."""
        ...

    def result(self, scale: Scale, runs: Runs) -> Result:
        """Make the experiment's tables, charts and claims from stored runs."""
        ...


def find_experiment(name: str) -> Experiment:
    """Import the file of an experiment by its name. Raises InputError for an unknown one."""
    if name not in EXPERIMENTS:
        raise unknown("experiment", name, EXPERIMENTS)
    return cast("Experiment", import_module(f"shattering.experiments.{name.replace('-', '_')}"))


def experiment_specs(names: Sequence[str], scale: Scale) -> list[Spec]:
    """List the runs of these experiments, each once, in the order in which to execute them.

    The first seed of every configuration comes before the second seed of any. Within a seed, runs of networks come in the order of
    what they settle (see `settles`), others as their experiments list them, so that a sweep that is stopped has judged what it could.

    Args:
        names: of experiments, as `find_experiments` lists them.
        scale: see `SCALES`.

    Raises:
        InputError: for an unknown name, and for a scale that needs a dataset in the place of ImageNet.

    Example:
        >>> from shattering.experiments.scales import SCALES
        >>> len(experiment_specs(["figure1a"], SCALES["demo"]))
        5
    """
    specs = {spec.run_id: spec for name in names for spec in find_experiment(name).specs(scale)}
    return sorted(specs.values(), key=lambda spec: (spec.seed, settles(spec)))


def settles(spec: Spec) -> int:
    """Return the place of a run in the order of what runs settle: small first.

    0: random labels without regularizers, the papers' first claim. 1: original labels without regularizers, which tell how networks
    generalize, and what batch normalization and early stopping are worth. 2: original labels with regularizers. 3: random labels with
    weight decay. 4: randomized pixels. 5: partly corrupted labels. 6: the same with a validation split. 7: long runs of augmented images
    with random labels. Runs that are not of networks have place 0.

    Args:
        spec: of a run or study.

    Example:
        >>> from shattering import Randomization, RunSpec
        >>> settles(RunSpec("digits", randomization=Randomization(1.0))), settles(RunSpec("digits"))
        (0, 1)
    """
    if not isinstance(spec, RunSpec) or spec.model != "network":
        return 0
    labels, pixels = spec.randomization.labels, spec.randomization.pixels
    if spec.n_validation:
        return 6
    if pixels != "true":
        return 4
    if 0 < labels < 1:
        return 5
    if labels and "augment" in spec.params:
        return 7
    regularized = "augment" in spec.params or "weight_decay" in spec.params
    return (3 if regularized else 0) if labels else (2 if regularized else 1)


def for_this_machine(specs: Sequence[Spec]) -> list[Spec]:
    """Compile the convolutional networks for a CUDA device, if that is possible. The ids of the runs do not change by it."""
    if not can_compile():
        return list(specs)
    return [_compiled(spec) if isinstance(spec, RunSpec) and spec.model_name in CONVOLUTIONAL else spec for spec in specs]


def can_compile() -> bool:
    """Return whether there is a CUDA device, Triton, and a C compiler for what Triton writes."""
    has_compiler = any(map(shutil.which, filter(None, (os.environ.get("CC"), "gcc", "clang"))))
    return torch.cuda.is_available() and find_spec("triton") is not None and has_compiler


def _compiled(spec: RunSpec) -> RunSpec:
    return replace(spec, params={**spec.params, "compile": True})


def default_jobs(names: Sequence[str]) -> int:
    """Return how many runs to execute at a time: one per core, or four on a GPU, which the small networks do not fill.

    It is one for kernels and for Inception V3, which use the whole machine.
    """
    if {"table3", "table3-conv", "norm", "table2", "figure2a"} & set(names):
        return 1
    return 4 if torch.cuda.is_available() else usable_cores()


def make_result(name: str, scale: Scale, store: Store) -> Result:
    """Make an experiment's tables, charts and claims from stored runs. Nothing is run.

    Args:
        name: of the experiment, as `find_experiments` lists it.
        scale: see `SCALES`.
        store: where the runs are. Runs that it lacks show as missing.

    Raises:
        InputError: for an unknown name, and for stored results and tables without what the experiment needs.

    Example:
        >>> from shattering import Store
        >>> from shattering.experiments.scales import SCALES
        >>> make_result("figure1a", SCALES["demo"], Store("runs")).claims[0].verdict
        'missing'
    """
    try:
        return find_experiment(name).result(scale, Runs(store, scale))
    except LookupError as error:  # a column or a row of a table, as another version may have written it
        raise InputError(f"a run of {name} in store {store.where} lacks {reason(error)}, expected what this version writes") from error


def render_result(result: Result) -> str:
    """Render the HTML page of a result."""
    charts = {name: chart for name, (chart, _) in result.charts.items()}
    context = {"scale": result.scale, "size": result.size, "tables": result.tables, "claims": result.claims}
    captions = {name: caption for name, (_, caption) in result.charts.items()}
    return render_template("paper.html.j2", result.runs, result.title, charts, {"cell": show}, captions=captions, **context)


def write_index(results: Sequence[Result], group: str, folder: Path) -> Path:
    """Write a page with links to the pages of a group's results and with all their claims. Returns its path."""
    runs = list({run.run_id: run for result in results for run in result.runs}.values())
    context = {"scale": results[0].scale, "size": results[0].size, "claims": [claim for result in results for claim in result.claims]}
    html = render_template("index.html.j2", runs, GROUPS[group][0], {}, results=results, **context)
    return write_page(html, folder / f"{group}-{results[0].scale}.html")


def write_result(result: Result, folder: Path, style: StyleName = "screen") -> list[Path]:
    """Write the HTML page of a result, and each of its charts as PDF, SVG and PNG, where the extra figures is installed.

    Args:
        result: what `make_result` returned.
        folder: where to write; it is made if it does not exist.
        style: of the pictures: "screen", "paper" (3.25 inches, 8 points) or "slides" (16 : 9). The page does not change.

    Returns:
        The paths of the files, that of the page first.

    Raises:
        InputError: for an unknown style.

    Example:
        >>> from shattering import Store
        >>> from shattering.experiments.scales import SCALES
        >>> write_result(make_result("figure1a", SCALES["demo"], Store("runs")), Path("figures"))  # doctest: +SKIP
    """
    check("style", style, StyleName)
    page = write_page(render_result(result), folder / f"{result.name}-{result.scale}.html")
    charts = {f"{name}-{result.scale}": chart for name, (chart, _) in result.charts.items()}
    return [page, *(save_all(charts, folder, style) if can_draw() else ())]
