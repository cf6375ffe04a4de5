"""Commands that show something: list, status, show, report."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from shattering.cli.catalog import MODELS, NETWORKS
from shattering.cli.common import Drawn, Stored, check_out, print_json, print_written, store_of, summary, where
from shattering.cli.options import Positional
from shattering.errors import counted
from shattering.report.terminal import TextTable, cut, print_table, wrapped

_LEGENDS = {
    "measures": """Needs: W weights, W0 initial weights, X training inputs, Y training labels, g gradients per example, Hv products with the
Hessian, T history of the training, Q further training, R other runs, U unlabelled inputs. Cost: E an evaluation of the training
set, B its gradient (about 3 E), P a pass over the parameters. Sign -: the measure is the negative of the formula, as larger always
means predicted to generalize worse.
"""
}


@dataclass(frozen=True)
class List:
    """Show what there is to choose from.

    Examples:
        shattering list networks
        shattering list measures --wide
    """

    what: Positional[Literal["datasets", "networks", "models", "measures"]]
    """Which list."""
    json: bool = False
    """Print JSON."""
    wide: bool = False
    """Print every column, in whole lines."""

    def execute(self) -> int:
        rows = {"datasets": _datasets, "networks": _networks, "models": _models, "measures": _measures}[self.what]()
        if self.json:
            print_json(rows)
        else:
            texts = [[f"{value:,}" if isinstance(value, int) else value for value in row.values()] for row in rows]
            numbers = frozenset(column for column, value in enumerate(rows[0].values()) if isinstance(value, int))
            print_table(TextTable([name.upper() for name in rows[0]], texts, numbers), self.wide)
            if self.what in _LEGENDS:
                print("", *wrapped(_LEGENDS[self.what]), sep="\n")
        return 0


@dataclass(frozen=True)
class Status(Stored):
    """Show the state of every run and study in a store.

    Examples:
        shattering status
        shattering status --store s3://bucket/runs --json
    """

    wide: bool = False
    """Print whole lines."""

    def execute(self) -> int:
        from shattering.report.text import print_status
        from shattering.runs.store import Store

        runs = Store(self.store).everything()
        if self.json:
            print_json([summary(run) for run in runs])
        else:
            print_status(runs, lambda line: cut(line, self.wide))
        return 0


@dataclass(frozen=True, kw_only=True)
class Show(Stored):
    """Show one run or study: what was run, what came of it, where and with what.

    Examples:
        shattering show 3fa2
        shattering show digits-n1000 --json
    """

    run: Positional[str]
    """The start of a run's id or folder name, or its folder, in whichever store that is."""

    def execute(self) -> int:
        from shattering.report.text import print_stored
        from shattering.runs.stored import check_readable

        run = store_of(self.store, self.run).find(self.run).whole()
        check_readable(run)
        if self.json:
            rows = run.rows if run.status == "done" else None
            records = [] if rows is None else rows.astype(object).where(rows.notna(), None).to_dict("records")
            print_json({**summary(run), "provenance": run.provenance, run.spec.table: records, "traceback": run.traceback})
        else:
            print_stored(run, full=True)
        return 0


@dataclass(frozen=True)
class Report(Drawn, Stored):
    """Write an HTML page of all runs in a store.

    Examples:
        shattering report
        shattering report --store runs --out random-labels.html
    """

    out: Path = Path("report.html")
    """The page to write."""
    title: str = "Randomization tests"
    """Its title."""

    def execute(self) -> int:
        from shattering.report.figures import run_charts
        from shattering.report.page import write_report
        from shattering.runs.store import Store
        from shattering.runs.stored import Unread, is_of_model

        check_out(self.out)
        self.check_figures()
        runs = [run for run in Store(self.store).everything() if isinstance(run, Unread) or is_of_model(run)]
        path = write_report(runs, self.out, self.title)
        written = self.write_figures(lambda: run_charts([run.whole() for run in runs if not isinstance(run, Unread)]))
        not_done = sum(run.status != "done" for run in runs)
        if self.json:
            print_json({"report": where(path), "runs": len(runs), "not_done": not_done, **written})
        else:
            print_written(path, f" ({counted(len(runs), 'run')}{f', {not_done} of them NOT DONE' if not_done else ''})")
            self.print_figures(written)
        return 0


def _datasets() -> list[dict]:
    from shattering.data.catalog import DATASETS

    return [{"name": name, "description": text} for name, text in DATASETS.items()]


def _networks() -> list[dict]:
    return [{"name": name, "parameters": count, "text": text} for name, (count, text) in NETWORKS.items()]


def _models() -> list[dict]:
    return [{"name": name, "class": path, "text": text} for name, (path, text) in MODELS.items()]


def _measures() -> list[dict]:
    from shattering.measures.catalog import MEASURES

    return [
        {"name": name, "formula": m.formula, "source": m.source, "needs": m.needs, "cost": m.cost, "sign": m.sign}
        for name, m in MEASURES.items()
    ]
