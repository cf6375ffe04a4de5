"""Options and functions that the commands share."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from shattering.cli.options import UsageError
from shattering.errors import InputError, counted, printable
from shattering.parameters import NotNegative, Positive
from shattering.report.style import StyleName
from shattering.system.files import is_file

if TYPE_CHECKING:
    from shattering.report.charts import Chart
    from shattering.runs.base import Spec
    from shattering.runs.on_ray import Ray
    from shattering.runs.store import Store
    from shattering.runs.stored import Found
    from shattering.runs.sweep import Engine


@dataclass(frozen=True)
class Stored:
    store: str = "runs"
    """Folder of runs, or s3://BUCKET/PREFIX, gs://BUCKET/PREFIX."""
    json: bool = False
    """Print JSON."""


def store_of(store: str, run: str) -> Any:
    """Return the store that a run is in: the folder that holds it, where it is named by its own folder, else the one that is named."""
    from shattering.runs.store import Store

    named, folder = Store(store), os.path.realpath(run) if os.path.isfile(os.path.join(run, "spec.json")) else ""
    if os.sep not in run or not folder or os.path.dirname(folder) == os.path.realpath(named.root):
        return named
    return Store(os.path.dirname(folder))


@dataclass(frozen=True)
class Swept(Stored):
    engine: Literal["local", "ray"] = "local"
    """local: processes of this machine. ray: a Ray cluster."""
    address: str | None = None
    """Address of the Ray cluster, HOST:PORT or auto. Default: RAY_ADDRESS, else this machine alone."""
    cpus_per_run: Positive | None = None
    """Cores per run on Ray. Default: 1."""
    gpus_per_run: NotNegative | None = None
    """Share of a GPU per run on Ray, e.g. 0.25. Default: none."""

    def chosen_engine(self) -> Literal["local"] | Ray:
        """Return the engine for `sweep`. Raises UsageError for options of Ray without it."""
        options = {name: getattr(self, name) for name in ("address", "cpus_per_run", "gpus_per_run")}
        options = {name: value for name, value in options.items() if value is not None}
        if self.engine == "local" and options:
            name = next(iter(options)).replace("_", "-")
            raise UsageError(f"--{name} is {next(iter(options.values()))} beside --engine local, expected it with --engine ray alone")
        if self.engine == "local":
            return "local"
        from shattering.runs.on_ray import Ray

        return Ray(**options)

    def check_from(self, from_: str | None, *fields: str) -> None:
        """Raise UsageError for options of runs beside --from, which runs nothing: the store, those of the engine, and these fields."""
        given = {name: getattr(self, name) for name in (*fields, "store", "engine", "address", "cpus_per_run", "gpus_per_run")}
        given = {name: value for name, value in given.items() if value not in (None, getattr(Swept, name, None))}
        if from_ is not None and given:
            name, value = next(iter(given.items()))
            raise UsageError(f"--{name.replace('_', '-')} is {value} beside --from, which runs nothing, expected one of the two")


@dataclass(frozen=True)
class Drawn:
    figures: Path | None = None
    """Folder for the charts as pictures (PDF, SVG, PNG). Default: none are written."""
    style: StyleName = "screen"
    """Size of the pictures. paper: 3.25 inches, 8 points. slides: 16 : 9, large type."""

    def check_figures(self) -> None:
        """Raise InputError, before anything is computed, if the pictures cannot be written, or if --style is given without --figures."""
        if self.figures is not None:
            from shattering.report.charts import load_drawer

            check_out(self.figures, is_folder=True, option="--figures")
            load_drawer("--figures")
        elif self.style != "screen":
            raise UsageError(f"--style is {self.style} without --figures, expected a folder for the pictures: --figures FOLDER")

    def write_figures(self, charts: Callable[[], Mapping[str, Chart | None]]) -> dict[str, list[str]]:
        """Write the pictures, if they are asked for. charts: draws them. Returns what the JSON says of them."""
        if self.figures is None:
            return {}
        from shattering.report.charts import save_all

        return {"figures": [where(file) for file in save_all(charts(), self.figures, self.style)]}

    def print_figures(self, written: dict[str, list[str]]) -> None:
        """Print where the pictures were written, if they were."""
        for files in written.values():
            print(printable(f"Figures: {self.figures} ({counted(len(files), 'file')})"))


def check_out(path: Path, is_folder: bool = False, option: str = "--out") -> None:
    """Raise UsageError, before anything is computed, if the path of an option cannot become a file, or a folder."""
    if not is_folder and path.is_dir():
        raise UsageError(f"{option} is {path}, which is a folder, expected a file")
    above = next(above for above in ([path] if is_folder else []) + [*path.absolute().parents] if above.exists())
    if not above.is_dir():
        raise UsageError(f"{option} is {path}, {'which' if above == path else f'but {above}'} is a file, expected a folder")
    if not os.access(above, os.W_OK):
        raise UsageError(f"{option} is {path}, but nothing can be written to {above}, expected a folder with permission to write")


def sweep_with_overview(
    specs: Sequence[Spec],
    store: Store,
    jobs: int | None,
    log: Sequence[str] = (),
    engine: Engine = "local",
    seconds: float | None = None,
) -> Sequence[Any]:
    from shattering.runs.sweep import sweep

    return sweep(specs, store, jobs, True, log, engine=engine, seconds=seconds)


def finish(runs, as_json: bool, extra: dict) -> int:
    if as_json:
        print_json({"runs": [summary(run) for run in runs], **extra})
    return 0 if all(run.status == "done" for run in runs) else 1


def print_json(data: object) -> None:
    print(json.dumps(data, indent=1, allow_nan=False))


def where(path: Path) -> str:
    """Return the whole path of a written file; a device's path stays as it was given."""
    return str(path.resolve() if is_file(path) else path.absolute())


def print_written(path: Path, more: str = "") -> None:
    """Print where a report was written; on standard error if the report may have gone to standard output."""
    print(printable(f"Report: {where(path)}{more}"), file=sys.stdout if is_file(path) else sys.stderr)


def print_page(files: Sequence[Path]) -> None:
    """Print where the pages among the files of a result are, and on standard error why there are no pictures beside them."""
    for file in files:
        if file.suffix == ".html":
            print(printable(f"Page: {file.resolve()}"))
    if all(file.suffix == ".html" for file in files):
        from shattering.report.charts import load_drawer

        try:
            load_drawer("a picture (PDF, SVG, PNG) beside the page")
        except InputError as lacking:
            print(f"Left out: {lacking}", file=sys.stderr)


def summary(run: Found) -> dict:
    from shattering.runs.stored import Unread

    about = {"run_id": run.run_id, "folder": str(run.folder), "status": run.status, "error": run.error}
    if isinstance(run, Unread):
        return {**about, "spec": None, "result": {}}
    return {**about, "spec": run.spec.to_json(), "result": run.result}
