"""The commands `measure` and `retest`: measures of generalization of a stored network, and stored networks on a second test set."""

import math
from dataclasses import dataclass
from pathlib import Path

from shattering.cli.common import Stored, check_out, print_json, print_page, store_of
from shattering.cli.options import Positional, Repeated
from shattering.errors import InputError, printable
from shattering.parameters import check_once
from shattering.report.style import StyleName


@dataclass(frozen=True, kw_only=True)
class MeasureRun(Stored):
    """Compute measures of generalization for one run of a network; larger means: predicted to generalize worse.

    Examples:
        shattering measure 3fa2
        shattering measure 3fa2 --only n_parameters --only log_path_norm
    """

    run: Positional[str]
    """The start of a run's id or folder name, or its folder, in whichever store that is."""
    only: Repeated = ()
    """A measure (see `list measures`). Default: all."""

    def execute(self) -> int:
        from shattering.measures.measure import measure
        from shattering.runs.stored import is_of_model

        run = store_of(self.store, self.run).find(self.run)
        if not is_of_model(run):
            raise InputError(f"run {run.folder.name} is of a study, expected one of a network")
        table = measure(run, measures=self.only or None)
        if self.json:
            rows = [{"name": name, "value": _plain(value), "reason": why or None} for name, value, why in _rows(table)]
            print_json({"run": run.run_id, "measures": rows})
        else:
            width = max(map(len, table.index))
            for name, value, why in _rows(table):
                print(printable(f"{name:{width}}  {f'not computable: {why}' if why else f'{value:.6g}'}"))
        return 0


@dataclass(frozen=True, kw_only=True)
class RetestRuns(Stored):
    """Test the stored networks again on a second test set, and compare the two accuracies over networks.

    Examples:
        shattering retest --data cifar10
        shattering retest --run 3fa2 --data photographs
    """

    data: str | None = None
    """A name or a path of test images of the same classes. Default: test images that a run has not used."""
    run: Repeated = ()
    """The start of a run's id or folder name. Default: all runs."""
    out: Path = Path("retest")
    """Folder for the page (HTML) and pictures (PDF, SVG, PNG)."""
    wide: bool = False
    """Print every column, in whole lines."""
    style: StyleName = "screen"
    """Size of the pictures. paper: 3.25 inches, 8 points. slides: 16 : 9, large type."""

    def execute(self) -> int:
        import sys

        from shattering.experiments import reproduce
        from shattering.experiments.retest import make_result, retest
        from shattering.experiments.text import print_result
        from shattering.runs.store import Store

        check_out(self.out, is_folder=True)
        store = Store(self.store)
        runs = [store.find(name) for name in self.run] if self.run else store.runs()
        check_once("--run", [run.run_id for run in runs])
        found = retest(runs, self.data)
        result = make_result(found)
        files = reproduce.write_result(result, self.out, self.style)
        for name, why in found.skipped:
            print(printable(f"skipped {name}: {why}"), file=sys.stderr)
        if self.json:
            models, fits = ([{k: _plain(v) for k, v in row.items()} for row in t.to_dict("records")] for t in (found.table, found.fits))
            skipped = [{"run": name, "reason": why} for name, why in found.skipped]
            about = {"data": found.data, "models": models, "fits": fits, "skipped": skipped}
            print_json({**about, "files": [str(file.resolve()) for file in files]})
        else:
            print_result(result, self.wide)
            print_page(files)
        return 0


def _rows(table) -> list[tuple[str, float, str]]:
    return list(zip(table.index, table["value"].tolist(), table["reason"].tolist(), strict=True))


def _plain(value: float | str) -> float | str | None:
    """Return a value that JSON has: None for NaN, and infinity as a text."""
    if isinstance(value, str):
        return value
    return None if math.isnan(value) else str(value) if math.isinf(value) else value
