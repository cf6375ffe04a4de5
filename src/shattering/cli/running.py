"""Commands that run something: demo, run, sweep, paper."""

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from shattering.cli.common import (
    Drawn,
    Stored,
    Swept,
    check_out,
    finish,
    print_json,
    print_page,
    print_written,
    summary,
    sweep_with_overview,
    where,
)
from shattering.cli.options import Positional, Repeated, UsageError
from shattering.errors import InputError
from shattering.experiments.catalogue import NAMES
from shattering.parameters import Count, Natural, Range
from shattering.report.style import StyleName
from shattering.system.machine import launched


@dataclass(frozen=True)
class Demo(Drawn, Stored):
    """The paper's point on embedded data in about a minute; writes an HTML report.

    Examples:
        shattering demo
        shattering demo --out digits.html --seed 1
    """

    out: Path = Path("report.html")
    """The report to write."""
    seed: Natural = 0
    """Seed of data, noise, initialization and order."""
    jobs: Count | None = None
    """Runs at a time. Default: as many as cores."""
    wide: bool = False
    """Print every column, in whole lines."""

    def execute(self) -> int:
        from shattering.experiments.demo import demo_specs
        from shattering.report.figures import run_charts
        from shattering.report.page import write_report
        from shattering.report.text import print_summary
        from shattering.runs.store import Store
        from shattering.system.machine import usable_cores

        check_out(self.out)
        self.check_figures()
        runs = sweep_with_overview(demo_specs(self.seed), Store(self.store), self.jobs or usable_cores())
        path = write_report(runs, self.out, "Would it fit noise just as well? Two networks on handwritten digits")
        written = self.write_figures(lambda: run_charts(runs))
        if not self.json:
            print_summary(runs, self.wide)
            print_written(path)
            self.print_figures(written)
        return finish(runs, self.json, {"report": where(path), **written})


@dataclass(frozen=True)
class RunOne(Stored):
    """Execute one run, or resume it; a run that is done is only shown.

    Examples:
        shattering run --labels 1 --n-train 1000 --set epochs=30
        shattering run --data cifar10 --n-train 2000 --set network=alexnet
        shattering run --model random-forest --pixels gaussian
    """

    data: str = "digits"
    """A name (see `list datasets`) or a path."""
    n_train: Count | None = None
    """Training examples, a class-balanced subset."""
    n_test: Count | None = None
    """Test examples, a class-balanced subset."""
    n_validation: Count | None = None
    """Training examples to hold out for validation, beside n_train."""
    image_size: Count | None = None
    """Side in pixels of the squares that images of any size are brought to."""
    skip_corrupt: bool = False
    """Leave out images that cannot be decoded, and count them."""
    hold_out: bool = True
    """Test on the training images where the dataset has no test split. Default: a fifth is held out."""
    channels: Literal["first", "last"] | None = None
    """Order of the axes in arrays of images. Default: by their lengths."""
    labels: Annotated[float, "a probability of corruption", Range(0, 1)] | None = None
    """Probability of label corruption, 0 to 1. Default: 0."""
    pixels: Literal["true", "shuffled", "random", "gaussian", "within-class", "columns", "shifted", "uniform", "unigram"] | None = None
    """Randomization of the pixels. Default: true."""
    label_mode: Literal["redraw", "flip", "permute"] | None = None
    """Way of corrupting labels. Default: redraw."""
    permute_channels: bool = False
    """Permute all values of an image, not its pixels."""
    exchange: Literal["free", "within", "whole", "shift"] = "free"
    """Permutations that --label-mode permute makes: any, within groups, of whole groups, or a roll of all labels."""
    model: str = "network"
    """A name (see `list models`)."""
    set: Repeated = ()
    """A parameter of the model, as name=value."""
    seed: Natural = 0
    """Seed of data, noise, initialization and order."""
    data_seed: Natural | None = None
    """Seed of the subset. Default: --seed."""
    noise_seed: Natural | None = None
    """Seed of the randomization. Default: --seed."""
    log: Repeated = ()
    """A logger: tensorboard:FOLDER, mlflow:URI or wandb:PROJECT."""

    def execute(self) -> int:
        from shattering.report.text import print_stored
        from shattering.runs.execute import run
        from shattering.runs.grid import grid, read_settings
        from shattering.runs.store import Store

        axes = {axis: getattr(self, name) for name, axis in _AXES.items()}
        (spec,) = grid({k: v for k, v in axes.items() if v is not None}, read_settings(self.set))
        done = run(spec, Store(self.store), log=self.log)
        if launched("WORLD_SIZE") > 1 and launched("RANK"):
            return 0  # only one process of torchrun prints
        if self.json:
            print_json(summary(done))
        else:
            print_stored(done)
        return 0


_AXES = {"data": "dataset"} | {  # option → field of a specification
    name: name
    for name in (
        *("n_train", "n_test", "n_validation", "image_size", "skip_corrupt", "hold_out", "channels"),
        *("labels", "pixels", "label_mode", "permute_channels", "exchange", "model", "seed", "data_seed", "noise_seed"),
    )
}


@dataclass(frozen=True)
class Sweep(Swept):
    """Run what is missing of a grid: from a FILE (TOML or JSON), or from options with comma lists.

    Examples:
        shattering sweep --labels 0,0.5,1 --seed 0,1,2 --n-train 1000 --jobs 2
        shattering sweep --model nearest-neighbors --set n_neighbors=1,5
        shattering sweep grid.toml
    """

    file: Positional[Path | None] = None
    """Axes and values, e.g. labels = [0, 0.5, 1]; parameters of the model under [set]."""
    data: str | None = None
    """Names of datasets (see `list datasets`), or paths."""
    n_train: str | None = None
    """Sizes of training sets."""
    n_test: str | None = None
    """Sizes of test sets."""
    n_validation: str | None = None
    """Sizes of validation sets."""
    image_size: str | None = None
    """Sides of the squares that images are brought to."""
    skip_corrupt: str | None = None
    """true or false: leave out images that cannot be decoded, and count them."""
    hold_out: str | None = None
    """true or false: hold out a fifth where the dataset has no test split, or test on the training images."""
    channels: str | None = None
    """first or last: order of the axes in arrays of images."""
    labels: str | None = None
    """Probabilities of label corruption."""
    pixels: str | None = None
    """true, shuffled, random, gaussian, within-class; for tables columns, for sequences shifted, for tokens uniform, unigram."""
    label_mode: str | None = None
    """Ways of corrupting labels: redraw, flip, permute."""
    permute_channels: str | None = None
    """true or false: permute all values of an image, not its pixels."""
    exchange: str | None = None
    """Permutations that the label mode permute makes: free, within, whole, shift."""
    model: str | None = None
    """Names of models (see `list models`)."""
    set: Repeated = ()
    """A parameter of the model, as name=value,value."""
    seed: str | None = None
    """Seeds."""
    data_seed: str | None = None
    """Seeds of the subset."""
    noise_seed: str | None = None
    """Seeds of the randomization."""
    jobs: Count | None = None
    """Runs at a time, each in its own process. Default: 1; on Ray as many as fit."""
    log: Repeated = ()
    """A logger: tensorboard:FOLDER, mlflow:URI or wandb:PROJECT."""
    wide: bool = False
    """Print every column, in whole lines."""

    def execute(self) -> int:
        from shattering.report.text import print_summary
        from shattering.runs.grid import grid, read_axis, read_grid, read_settings
        from shattering.runs.store import Store

        texts = {name: getattr(self, name) for name in _AXES if getattr(self, name) is not None}
        if self.file is not None:
            if texts or self.set:
                option = next(iter([*texts, "set"])).replace("_", "-")
                raise UsageError(f"sweep got the file {self.file} and --{option}, expected one or the other")
            specs = read_grid(self.file)
        else:
            if not texts and not self.set:
                raise UsageError("sweep got neither a file nor an option, expected one or the other")
            axes = {_AXES[name]: read_axis(_AXES[name], text, f"--{name.replace('_', '-')}") for name, text in texts.items()}
            specs = grid(axes, read_settings(self.set, lists=True))
        store = Store(self.store)
        before = sum(store.of(spec).status == "done" for spec in specs) if self.log else 0
        runs = sweep_with_overview(specs, store, self.jobs, self.log, self.chosen_engine())
        if before:
            print(f"{before} of {len(specs)} runs were done before, and are not logged again", file=sys.stderr)
        if not self.json:
            print_summary(runs, self.wide)
        return finish(runs, self.json, {})


if TYPE_CHECKING:
    Experiment = str
else:
    Experiment = Literal[tuple(NAMES)]  # a type checker takes only literals that are written out


@dataclass(frozen=True, kw_only=True)
class Paper(Swept):
    """Reproduce a table or figure of the papers: run what is missing, then print and draw it beside the published numbers.

    Without WHAT, print the scoreboard: every claim of the papers, with the verdict of the runs that the store has.

    Examples:
        shattering paper
        shattering paper figure1b
        shattering paper table1 --scale small --budget 30min
    """

    what: Positional[Experiment | None] = None
    """Experiment to run; `all-*` runs a group. Without: the scoreboard of the store."""
    scale: Literal["demo", "small", "full"] = "demo"
    """demo: digits, minutes. small: 2,000 CIFAR-10 images, hours on two cores. full: all 50,000, for a GPU."""
    data: str | None = None
    """Photographs in place of ImageNet, for table2 and figure2a: a path or name as for a run."""
    jobs: Count | None = None
    """Runs at a time, each in its own process. Default: as many as cores, 4 on a GPU (1 for kernels and Inception V3), as fit on Ray."""
    budget: str | None = None
    """Time for the runs, e.g. 30min. Then those under way are ended, and the same command resumes them."""
    from_: str | None = None
    """Draw from this store, and run nothing."""
    out: Path = Path("paper")
    """Folder for pages (HTML) and pictures (PDF, SVG, PNG)."""
    wide: bool = False
    """Print every column, in whole lines."""
    style: StyleName = "screen"
    """Size of the pictures. paper: 3.25 inches, 8 points. slides: 16 : 9, large type."""

    def execute(self) -> int:
        from shattering.experiments import reproduce
        from shattering.experiments.catalogue import GROUPS, find_experiments
        from shattering.experiments.scales import SCALES
        from shattering.experiments.text import print_result
        from shattering.runs.store import Store

        if self.what is None:
            return self._show_scoreboard()
        from shattering.compare.budget import parse_budget

        check_out(self.out, is_folder=True)
        self.check_from(self.from_, "jobs", "budget")
        seconds = parse_budget(self.budget)
        names, scale = find_experiments(self.what), SCALES[self.scale]
        if self.data is not None:
            _, of_photographs = GROUPS["all-imagenet"]
            if not set(names) & set(of_photographs):
                raise UsageError(
                    f"--data is {self.data} beside {self.what}, expected it beside {', '.join(of_photographs)} or all-imagenet alone"
                )
            scale = replace(scale, imagenet=replace(scale.imagenet, dataset=self.data))
        store = Store(self.store if self.from_ is None else self.from_)
        if self.from_ is None:
            specs = reproduce.for_this_machine(reproduce.experiment_specs(names, scale))
            jobs = reproduce.default_jobs(names) if self.jobs is None and self.engine == "local" else self.jobs
            sweep_with_overview(specs, store, jobs, engine=self.chosen_engine(), seconds=seconds)
        elif not store.refresh():
            raise InputError(f"--from is {self.from_}, expected a folder of runs")
        results = [reproduce.make_result(name, scale, store) for name in names]
        files = [reproduce.write_index(results, self.what, self.out)] if len(results) > 1 else []
        files += [file for result in results for file in reproduce.write_result(result, self.out, self.style)]
        if self.json:
            print_json({"results": [result.to_json() for result in results], "files": [str(file.resolve()) for file in files]})
        else:
            for result in results:
                print_result(result, self.wide)
            print_page(files)
        return 1 if any(result.not_done for result in results) else 0

    def _show_scoreboard(self) -> int:
        from shattering.experiments.scoreboard import every_result, scoreboard, scores
        from shattering.experiments.text import print_table
        from shattering.report.claims import MISSING
        from shattering.report.terminal import wrapped
        from shattering.runs.store import Store

        if self != Paper(store=self.store, from_=self.from_, json=self.json, wide=self.wide):
            raise UsageError("shattering paper lacks WHAT, expected --store, --from, --json and --wide alone without it")
        self.check_from(self.from_)
        store = Store(self.store if self.from_ is None else self.from_)
        remedy = "`shattering paper table1` makes some in minutes, and --from names another store"
        without_runs = InputError(f"store {store.where} has no runs that a claim of the papers needs: {remedy}")
        if not self.json and not (store.refresh() and store.everything()):
            raise without_runs
        found = scores(every_result(store))
        if self.json:
            print_json({"scores": [{**score.row(), "rule": score.claim.rule, "evidence": score.claim.evidence} for score in found]})
        elif not any(run.status == "done" for score in found for run in score.result.runs):
            raise without_runs
        else:
            print_table(scoreboard([score for score in found if score.claim.verdict != MISSING]), self.wide)
            without = dict.fromkeys(score.result.name for score in found if score.claim.verdict == MISSING)
            more = f" Claims that lack runs are left out: some of {', '.join(without)}." if without else ""
            print(*wrapped(f"`shattering paper NAME` runs what is missing of an experiment, and shows its rules.{more}"), sep="\n")
        return 0
