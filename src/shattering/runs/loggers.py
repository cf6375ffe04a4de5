"""Loggers for TensorBoard, MLflow, and Weights & Biases. Each library is imported when a run starts."""

import json
import os
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from copy import deepcopy
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from filelock import FileLock

from shattering.errors import InputError, not_installed, printable, reason, unknown, with_article
from shattering.learners.weights import load_plain

UPLOAD_SECONDS = 300  # limit of W&B's upload at the end of a run; the rest stays on disk for `wandb sync`


@runtime_checkable
class Logger(Protocol):
    """The events of a run that a logger receives. A logger that raises is left out of the rest of the run, with a warning.

    Example:
        >>> class Printing:
        ...     def start(self, parameters): print("started", parameters["run_id"])
        ...     def epoch(self, row): print(row["epoch"])
        ...     def finish(self, results, picture): print("ended")
        >>> isinstance(Printing(), Logger)
        True
    """

    def start(self, parameters: Mapping[str, str | int | float | bool]) -> None:
        """Begin or resume a run. parameters: its run_id, its folder's name, and its spec with nested names joined by dots."""

    def epoch(self, row: Mapping[str, float]) -> None:
        """Log a row of the history; row["epoch"] counts from 1. A resumed run logs its earlier rows again."""

    def finish(self, results: Mapping[str, float] | None, picture: Path | None) -> None:
        """End the run. results: those that are numbers; picture: the PNG of its examples, if any. Both are None if it was cut short."""


Log = str | Logger | Sequence[str | Logger] | None


class TensorBoard:
    """Log to TensorBoard: one folder per run beneath `folder`. A resumed run writes all its epochs again in place of the earlier ones.

    Example:
        >>> from shattering import RunSpec, Store, run
        >>> run(RunSpec("digits", 100), Store("runs"), log=["tensorboard:events"])  # doctest: +SKIP
    """

    def __init__(self, folder: str):
        if not folder:
            raise InputError("log 'tensorboard' names no folder, expected tensorboard:FOLDER")
        _require("tensorboard", "tensorboard")
        self.folder = Path(os.path.expanduser(folder))  # no shell replaces the ~ of tensorboard:~/events

    def start(self, parameters: Mapping[str, Any]) -> None:
        from torch.utils.tensorboard import SummaryWriter
        from torch.utils.tensorboard.summary import hparams

        self.step = 0
        self.writer = SummaryWriter(str(self.folder / parameters["folder"]), purge_step=0)
        # add_hparams would make another run, in a folder of its own
        _, begin, self.end = hparams(dict(parameters), {})
        self._add(begin)

    def epoch(self, row: Mapping[str, float]) -> None:
        self.step = int(row["epoch"])
        for name, value in row.items():
            self.writer.add_scalar(name, value, self.step)
        self.writer.flush()

    def finish(self, results: Mapping[str, float] | None, picture: Path | None) -> None:
        for name, value in (results or {}).items():
            self.writer.add_scalar(f"result/{name}", value, self.step)
        if picture:
            import numpy as np
            from PIL import Image

            pixels = np.asarray(Image.open(picture))
            self.writer.add_image("examples", pixels, self.step, dataformats="HWC" if pixels.ndim == 3 else "HW")
        if results is not None:
            self._add(self.end)
        self.writer.close()

    def _add(self, summary: Any) -> None:
        # private: the public add_hparams would write into a folder of its own, which TensorBoard shows as another run
        self.writer._get_file_writer().add_summary(summary)


class MLflow:
    """Log to MLflow: one MLflow run per run, which its tag shattering.run_id identifies. Epochs that it has are not sent again.

    uri: of the tracking store; "": MLflow's environment variables decide. The experiment is MLFLOW_EXPERIMENT_ID or
    MLFLOW_EXPERIMENT_NAME, else shattering.

    Example:
        >>> from shattering import RunSpec, Store, run
        >>> run(RunSpec("digits", 100), Store("runs"), log=["mlflow:sqlite:///mlflow.db"])  # doctest: +SKIP
    """

    def __init__(self, uri: str):
        for package in ("mlflow", "sqlalchemy", "alembic") if uri.startswith("sqlite") else ("mlflow",):
            _require("mlflow", package)
        _set_unless_chosen("MLFLOW_DISABLE_TELEMETRY", "true", "DO_NOT_TRACK")
        self.uri = uri or None

    def start(self, parameters: Mapping[str, Any]) -> None:
        from mlflow.entities import Param

        tag, experiment = "shattering.run_id", self._connect()
        runs = self.client.search_runs([experiment], f"tags.`{tag}` = '{parameters['run_id']}'", max_results=1)
        if runs:
            self.run_id, self.step = runs[0].info.run_id, int(runs[0].data.metrics.get("epoch", 0))
            self.client.update_run(self.run_id, status="RUNNING")
            return
        made = self.client.create_run(experiment, tags={tag: parameters["run_id"]}, run_name=parameters["folder"])
        self.run_id, self.step = made.info.run_id, 0
        self.client.log_batch(self.run_id, params=[Param(name, str(value)) for name, value in parameters.items()])

    def epoch(self, row: Mapping[str, float]) -> None:
        if row["epoch"] > self.step:
            self.step = int(row["epoch"])
            self._log(row)

    def finish(self, results: Mapping[str, float] | None, picture: Path | None) -> None:
        self._log({f"result/{name}": value for name, value in (results or {}).items()})
        if picture:
            self.client.log_artifact(self.run_id, str(picture))
        self.client.set_terminated(self.run_id, "KILLED" if results is None else "FINISHED")

    def _log(self, values: Mapping[str, float]) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        self.client.log_batch(self.run_id, [Metric(name, value, now, self.step) for name, value in values.items()])

    def _connect(self) -> str:
        """Open the store and return the id of the experiment."""
        from mlflow import get_tracking_uri
        from mlflow.tracking import MlflowClient

        uri = self.uri or get_tracking_uri()
        # two processes that make a database at once leave it broken for good (MLflow 3.17)
        path = uri.removeprefix("sqlite:///")
        with FileLock(f"{path}.lock") if path != uri else nullcontext():
            self.client = MlflowClient(tracking_uri=uri)
            return os.environ.get("MLFLOW_EXPERIMENT_ID") or self._experiment(os.environ.get("MLFLOW_EXPERIMENT_NAME") or "shattering")

    def _experiment(self, name: str) -> str:
        from mlflow.exceptions import MlflowException

        if experiment := self.client.get_experiment_by_name(name):
            return experiment.experiment_id
        try:
            return self.client.create_experiment(name)
        except MlflowException:
            if experiment := self.client.get_experiment_by_name(name):  # another process has made it meanwhile
                return experiment.experiment_id
            raise


class WandB:
    """Log to Weights & Biases: one W&B run per run, of the same id. Epochs that the server has are not sent again.

    project: "": W&B's environment variables decide, as for everything else (WANDB_MODE, WANDB_DIR, WANDB_SILENT, …).

    Example:
        >>> from shattering import RunSpec, Store, run
        >>> run(RunSpec("digits", 100), Store("runs"), log=["wandb:memorization"])  # doctest: +SKIP
    """

    def __init__(self, project: str):
        _require("wandb", "wandb")
        _set_unless_chosen("WANDB_ERROR_REPORTING", "false")
        self.project = project or None

    def start(self, parameters: Mapping[str, Any]) -> None:
        import wandb

        self.run = wandb.init(
            project=self.project,
            id=parameters["run_id"],
            name=parameters["folder"],
            config=dict(parameters),
            resume="allow",
            reinit="create_new",  # a run that the user has started is left alone
            settings=wandb.Settings(console="off", finish_timeout=float(os.environ.get("WANDB_FINISH_TIMEOUT", UPLOAD_SECONDS))),
        )

    def epoch(self, row: Mapping[str, float]) -> None:
        if row["epoch"] >= self.run.starting_step:
            self.run.log(dict(row), step=int(row["epoch"]))

    def finish(self, results: Mapping[str, float] | None, picture: Path | None) -> None:
        import wandb

        if picture:
            self.run.log({"examples": wandb.Image(str(picture))})
        self.run.summary.update({f"result/{name}": value for name, value in (results or {}).items()})
        self.run.finish(exit_code=1 if results is None else 0)


LOGGERS: dict[str, Callable[[str], Logger]] = {"mlflow": MLflow, "tensorboard": TensorBoard, "wandb": WandB}


def open_loggers(log: Log) -> list[Logger]:
    """Open the loggers of `log`: names followed by a colon and their target, or objects.

    Raises InputError for an unknown name, a library that is not installed, and an object that is not a `Logger`.
    """
    return [_open(logger) for logger in _listed(log)]


def logger_names(log: Log) -> tuple[str, ...]:
    """Return the names of loggers for a sweep's workers. Raises InputError as `open_loggers` does, and for objects."""
    open_loggers(log)
    for logger in _listed(log):
        if not isinstance(logger, str):
            kind, names = type(logger).__name__, ", ".join(LOGGERS)
            raise InputError(f"log of a sweep has {with_article(kind)}, expected names ({names}): its runs are processes of their own")
    return tuple(str(logger) for logger in _listed(log))


@contextmanager
def followed(
    loggers: Sequence[Logger], spec: Any, folder: Path, on_epoch: Callable[[dict], None] | None
) -> Iterator[Callable[[dict], None] | None]:
    """Log a run while it executes in `folder`. Gives the on_epoch to execute it with.

    A logger that raises is left out from then on, with a warning; no logger can fail the run.
    """
    left = list(loggers)

    def tell(event: str, *arguments: object) -> None:
        for logger in left.copy():
            try:
                getattr(logger, event)(*deepcopy(arguments))
            except Exception as error:
                left.remove(logger)
                why = f"{type(error).__name__}: {reason(error)}"
                text = f"{type(logger).__name__} failed and gets nothing more of {folder.name}, which goes on: {why}"
                warnings.warn(printable(text), stacklevel=2)

    def each_epoch(row: dict) -> None:
        if "epoch" in row:  # permutations report rows without
            tell("epoch", _row(row))
        if on_epoch:
            on_epoch(row)

    if not loggers:
        yield on_epoch
        return
    tell("start", _parameters(spec, folder.name))
    for row in _earlier_rows(folder / "checkpoint.pt"):
        tell("epoch", _row(row))
    try:
        yield each_epoch
    except BaseException:
        tell("finish", None, None)
        raise
    picture = folder / "examples.png"
    tell("finish", _numbers(json.loads((folder / "result.json").read_text())), picture if picture.exists() else None)


def _listed(log: Log) -> list[str | Logger]:
    if log is None:
        return []
    return list(log) if isinstance(log, Sequence) and not isinstance(log, str) else [log]


def _open(logger: object) -> Logger:
    if isinstance(logger, str):
        name, _, target = logger.partition(":")
        if name not in LOGGERS:
            raise unknown("logger", name, LOGGERS)
        return LOGGERS[name](target)
    if isinstance(logger, type) or not isinstance(logger, Logger):
        raise InputError(f"log has {logger!r}, expected a name ({', '.join(LOGGERS)}) or an object with start, epoch and finish")
    return logger


def _require(name: str, package: str) -> None:
    spec = find_spec(package)
    if spec is None or spec.origin is None:  # no origin: a mere folder of this name, as W&B and MLflow leave them
        raise not_installed(f"log {name!r}", package, name)


def _set_unless_chosen(name: str, value: str, *others: str) -> None:
    """Set an environment variable that keeps a library from telling its makers of its use, unless the user has chosen."""
    if not any(variable in os.environ for variable in (name, *others)):
        os.environ[name] = value


def _parameters(spec: Any, folder: str) -> dict[str, str | int | float | bool]:
    return {"run_id": spec.run_id, "folder": folder, **_flat(asdict(spec))}


def _flat(values: Mapping, prefix: str = "") -> dict[str, str | int | float | bool]:
    flat = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        elif value is not None:
            flat[f"{prefix}{name}"] = value if isinstance(value, (str, int, float)) else json.dumps(value)
    return flat


def _numbers(values: Mapping) -> dict[str, float]:
    return {name: int(value) if isinstance(value, bool) else value for name, value in values.items() if isinstance(value, (int, float))}


def _row(row: Mapping) -> dict[str, float]:
    """Return a row of the history without the evaluations that were not made, which are NaN there."""
    return {name: value for name, value in _numbers(row).items() if not (name.startswith("full_") and value != value)}


def _earlier_rows(checkpoint: Path) -> list[dict]:
    """Return the rows of the epochs that a resumed run does not repeat."""
    try:
        return [dict(row) for row in load_plain(checkpoint)["training"]["history"]]  # type: ignore[index]  # a file of another shape is caught below
    except (ValueError, TypeError, LookupError):
        return []  # there is no checkpoint, or the run itself reports what is wrong with it
