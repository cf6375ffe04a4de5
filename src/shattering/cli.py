"""The command line. Nothing heavy is imported before a command has been understood."""

import contextlib
import io
import itertools
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Union

import tyro
from tyro.conf import FlagCreatePairsOff, Positional, UseAppendAction, arg, subcommand

from shattering.errors import InputError

Flag = FlagCreatePairsOff[bool]


@dataclass(frozen=True)
class _Stored:
    store: Path = Path("runs")
    """Folder of runs."""
    json: Flag = False
    """Print JSON."""


@dataclass(frozen=True)
class Demo(_Stored):
    """The paper's point on embedded data in about a minute; writes an HTML report."""

    out: Path = Path("report.html")
    """The report to write."""
    seed: int = 0
    """Seed of data, noise, initialization and order."""
    jobs: int = os.cpu_count() or 1
    """Runs at a time."""

    def execute(self) -> int:
        from shattering.demo import demo_specs
        from shattering.report.page import write_report
        from shattering.report.text import print_summary
        from shattering.runs.store import Store

        runs = _sweep(demo_specs(self.seed), Store(self.store), self.jobs)
        path = write_report(runs, self.out, "Would it fit noise just as well? Two networks on handwritten digits")
        if not self.json:
            print_summary(runs)
            print(f"Report: {path.resolve()}")
        return _finish(runs, self.json, {"report": str(path.resolve())})


@dataclass(frozen=True)
class Run(_Stored):
    """Execute one run, or resume it; a run that is done is only shown."""

    dataset: str = "digits"
    """A name (see `list datasets`) or a path."""
    n_train: int | None = None
    """Training examples, a class-balanced subset."""
    n_test: int | None = None
    """Test examples, a class-balanced subset."""
    n_validation: int | None = None
    """Training examples to hold out, beside n_train, and evaluate."""
    labels: float = 0.0
    """Probability of label corruption, 0 to 1."""
    pixels: str = "true"
    """true, shuffled, random or gaussian."""
    label_mode: str = "redraw"
    """What a corrupted label becomes: redraw, flip or permute."""
    permute_channels: Flag = False
    """Permute all values of an image, not its pixels."""
    learner: str = "network"
    """A name (see `list learners`)."""
    set: UseAppendAction[tuple[str, ...]] = ()
    """A parameter of the learner, as name=value."""
    seed: int = 0
    """Seed of data, noise, initialization and order."""
    data_seed: int | None = None
    """Seed of the subset, if another."""
    noise_seed: int | None = None
    """Seed of the randomization, if another."""

    def execute(self) -> int:
        from shattering.report.text import print_run
        from shattering.runs.grid import grid, parse_settings
        from shattering.runs.run import run
        from shattering.runs.store import Store

        axes = {name: getattr(self, name) for name in _AXES}
        (spec,) = grid({k: v for k, v in axes.items() if v is not None}, parse_settings(self.set))
        with _epoch_line(getattr(spec.build(), "epochs", None)) as show:
            done = run(spec, Store(self.store), on_epoch=show)
        if self.json:
            _print_json(_summary(done))
        else:
            print_run(done)
        return 0


_AXES = (
    *("dataset", "n_train", "n_test", "n_validation", "labels", "pixels", "label_mode", "permute_channels"),
    *("learner", "seed", "data_seed", "noise_seed"),
)


@dataclass(frozen=True)
class Sweep(_Stored):
    """Run what is missing of a grid: a FILE (TOML or JSON), or options with comma lists."""

    file: Positional[Path | None] = None
    """Axes and values, e.g. labels = [0, 0.5, 1]; parameters of the learner under [set]."""
    dataset: str | None = None
    """Names or paths."""
    n_train: str | None = None
    """Sizes of training sets."""
    n_test: str | None = None
    """Sizes of test sets."""
    n_validation: str | None = None
    """Sizes of validation sets."""
    labels: str | None = None
    """Probabilities of label corruption."""
    pixels: str | None = None
    """true, shuffled, random, gaussian."""
    label_mode: str | None = None
    """redraw, flip, permute."""
    permute_channels: str | None = None
    """true, false."""
    learner: str | None = None
    """Names."""
    set: UseAppendAction[tuple[str, ...]] = ()
    """A parameter of the learner, as name=value,value."""
    seed: str | None = None
    """Seeds."""
    data_seed: str | None = None
    """Seeds of the subset."""
    noise_seed: str | None = None
    """Seeds of the randomization."""
    jobs: int = 1
    """Runs at a time, each in a process of its own."""

    def execute(self) -> int:
        from shattering.report.text import print_summary
        from shattering.runs.grid import grid, parse_list, parse_settings, read_grid
        from shattering.runs.store import Store

        given = {name: getattr(self, name) for name in _AXES if getattr(self, name) is not None}
        if self.file is not None:
            if given or self.set:
                raise InputError(f"sweep got the file {self.file} and --{next(iter([*given, 'set']))}, expected one or the other")
            specs = read_grid(self.file)
        else:
            if not given and not self.set:
                raise InputError("sweep got neither a file nor an option, expected one or the other")
            specs = grid({k: parse_list(v) for k, v in given.items()}, parse_settings(self.set, lists=True))
        runs = _sweep(specs, Store(self.store), self.jobs)
        if not self.json:
            print_summary(runs)
        return _finish(runs, self.json, {})


@dataclass(frozen=True)
class List:
    """Show what there is to choose from."""

    what: Positional[Literal["datasets", "networks", "learners"]]
    """Which list."""
    json: Flag = False
    """Print JSON."""

    def execute(self) -> int:
        rows = {"datasets": _datasets, "networks": _networks, "learners": _learners}[self.what]()
        if self.json:
            _print_json(rows)
        else:
            width = max(len(row["name"]) for row in rows)
            for row in rows:
                print(f"{row['name']:{width}}  " + "  ".join(str(v) for k, v in row.items() if k != "name"))
        return 0


@dataclass(frozen=True)
class Status(_Stored):
    """Show the state of every run in a store."""

    def execute(self) -> int:
        from shattering.report.text import print_status
        from shattering.runs.store import Store

        runs = Store(self.store).runs()
        if self.json:
            _print_json([_summary(run) for run in runs])
        else:
            print_status(runs)
        return 0


@dataclass(frozen=True, kw_only=True)
class Show(_Stored):
    """Show one run: what was run, what came of it, where and with what."""

    run: Positional[str]
    """The start of a run's id or folder name."""

    def execute(self) -> int:
        from shattering.report.text import print_run
        from shattering.runs.store import Store

        run = Store(self.store).find(self.run)
        if self.json:
            history = run.history.astype(object).where(run.history.notna(), None).to_dict("records") if run.status == "done" else []
            _print_json({**_summary(run), "provenance": run.provenance, "history": history})
        else:
            print_run(run, full=True)
        return 0


@dataclass(frozen=True)
class Report(_Stored):
    """Write an HTML page of all runs in a store."""

    out: Path = Path("report.html")
    """The page to write."""
    title: str = "Randomization tests"
    """Its title."""

    def execute(self) -> int:
        from shattering.report.page import write_report
        from shattering.runs.store import Store

        runs = Store(self.store).runs()
        path = write_report(runs, self.out, self.title)
        not_done = sum(run.status != "done" for run in runs)
        if self.json:
            _print_json({"report": str(path.resolve()), "runs": len(runs), "not_done": not_done})
        else:
            print(f"Report: {path.resolve()} ({len(runs)} runs{f', {not_done} of them NOT DONE' if not_done else ''})")
        return 0


@dataclass(frozen=True, kw_only=True)
class Paper(_Stored):
    """Reproduce a table or figure of the papers: run what is missing, then print and draw it, theirs beside ours."""

    what: Positional[Literal["table1", "table4", "figure1a", "figure1b", "figure1c", "figure2b", "all-cifar"]]
    """Which; all-cifar is all of these."""
    scale: Literal["demo", "small", "full"] = "demo"
    """demo: digits, minutes. small: 2,000 CIFAR-10 images, hours on two cores. full: all 50,000, for a GPU."""
    jobs: int | None = None
    """Runs at a time, each in a process of its own. Default: as many as cores, 4 on a GPU."""
    from_: Annotated[Path | None, arg(name="from")] = None
    """Redraw from this folder of runs, and run nothing."""
    out: Path = Path("paper")
    """Folder for pages (HTML) and pictures (PDF, SVG, PNG)."""

    def execute(self) -> int:
        from shattering.paper import reproduce
        from shattering.paper.scales import SCALES
        from shattering.paper.text import print_result
        from shattering.runs.store import Store

        names, scale = reproduce.find_experiments(self.what), SCALES[self.scale]
        store = Store(self.store if self.from_ is None else self.from_)
        if self.from_ is None:
            specs = reproduce.for_this_machine(reproduce.experiment_specs(names, scale))
            _sweep(specs, store, reproduce.default_jobs() if self.jobs is None else self.jobs)
        elif not self.from_.is_dir():
            raise InputError(f"--from is {self.from_}, expected a folder of runs")
        results = [reproduce.make_result(name, scale, store) for name in names]
        files = [file for result in results for file in reproduce.write_result(result, self.out)]
        if self.json:
            _print_json({"results": [result.to_json() for result in results], "files": [str(file.resolve()) for file in files]})
        else:
            for result in results:
                print_result(result)
            print(*(f"Page: {file.resolve()}" for file in files if file.suffix == ".html"), sep="\n")
        return 1 if any(result.not_done for result in results) else 0


Command = Union[  # noqa: UP007
    Annotated[Demo, subcommand("demo")],
    Annotated[Run, subcommand("run")],
    Annotated[Sweep, subcommand("sweep")],
    Annotated[List, subcommand("list")],
    Annotated[Status, subcommand("status")],
    Annotated[Show, subcommand("show")],
    Annotated[Report, subcommand("report")],
    Annotated[Paper, subcommand("paper")],
]


def main(arguments: list[str] | None = None) -> int:
    """Parse and execute; returns the exit status: 0, 1 for bad input or failed runs, 2 for a bad command line, 130 for Ctrl-C."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read when torch is first imported
    try:
        return _parse(arguments).execute()
    except InputError as error:
        print(f"shattering: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader of our output, such as `head`, has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        print(f"shattering: {error.strerror or error}{f': {error.filename}' if error.filename else ''}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("shattering: interrupted; the same command resumes", file=sys.stderr)
        return 130


def _parse(arguments: list[str] | None):
    """tyro's parsing, with its boxed errors folded into one line."""
    text = "Would this model fit noise just as well? Randomization tests for any model, data and training recipe."
    captured = io.StringIO()
    try:
        with contextlib.redirect_stderr(captured):
            return tyro.cli(Command, prog="shattering", description=text, args=arguments)  # type: ignore[call-overload]
    except SystemExit as stop:
        box = [line.strip("╭╮╰╯│─ ") for line in captured.getvalue().splitlines()[1:]]  # below its title
        sentence = " ".join(itertools.takewhile(bool, box))  # down to its first rule
        if sentence:
            print(f"shattering: {sentence.rstrip('.')}; see shattering --help", file=sys.stderr)
        raise stop from None


def _sweep(specs, store, jobs: int):
    if jobs < 1:
        raise InputError(f"jobs is {jobs}, expected at least 1")
    from rich.console import Console

    from shattering.runs.sweep import sweep

    return sweep(specs, store, jobs, Console(stderr=True))


def _finish(runs, as_json: bool, extra: dict) -> int:
    if as_json:
        _print_json({"runs": [_summary(run) for run in runs], **extra})
    return 0 if all(run.status == "done" for run in runs) else 1


@contextlib.contextmanager
def _epoch_line(epochs: int | None):
    """A line on the terminal that is rewritten after every epoch; nothing elsewhere."""
    if not sys.stderr.isatty():
        yield None
        return

    def show(row: dict) -> None:
        test = f"  test {row['test_accuracy']:6.1%}"
        line = (
            f"epoch {row['epoch']}/{epochs}  loss {row['train_loss']:.4f}  train {row['train_accuracy']:6.1%}{test}  {row['seconds']:.1f} s"
        )
        print(f"\r{line}\x1b[K", end="", file=sys.stderr, flush=True)

    yield show
    print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _print_json(data: object) -> None:
    print(json.dumps(data, indent=1, allow_nan=False))


def _summary(run) -> dict:
    return {
        "run_id": run.run_id,
        "folder": str(run.folder),
        "status": run.status,
        "error": run.error,
        "spec": run.spec.to_json(),
        "result": run.result,
    }


def _datasets() -> list[dict]:
    from shattering.data.sources import DATASETS

    return [{"name": name, "description": text} for name, text in DATASETS.items()]


def _networks() -> list[dict]:
    from shattering.networks import CIFAR_SHAPE, NETWORKS, build_network, count_parameters

    counts = {name: count_parameters(build_network(name, CIFAR_SHAPE, 10, seed=0)) for name in NETWORKS}
    return [{"name": name, "parameters": count, "text": _first_line(NETWORKS[name])} for name, count in counts.items()]


def _learners() -> list[dict]:
    from shattering.learners import LEARNERS

    return [
        {"name": name, "class": f"{cls.__module__.partition('._')[0]}.{cls.__name__}", "text": _first_line(cls)}
        for name, cls in LEARNERS.items()
    ]


def _first_line(thing: object) -> str:
    return (thing.__doc__ or "").strip().splitlines()[0]


if __name__ == "__main__":
    sys.exit(main())
