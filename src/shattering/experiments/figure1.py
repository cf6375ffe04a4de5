"""Figure 1 as one panel: learning curves, time to overfit, and test errors. It uses the runs of figures 1a, 1b and 1c."""

from shattering.experiments import figure1a, figure1b, figure1c
from shattering.experiments.experiment import Column, Result, Runs, Table
from shattering.experiments.scales import Scale
from shattering.report.charts import beside
from shattering.runs.spec import RunSpec

TITLE = "Figure 1: fitting random labels and random pixels"
PLACE = ("ICLR 2.1, figure 1", "full")
PARTS = {"a": figure1a, "b": figure1b, "c": figure1c}
COLUMNS = (Column("part", "part"), Column("figure", "figure"), Column("drawn", "drawn"))


def specs(scale: Scale) -> list[RunSpec]:
    """List all runs of the three figures."""
    return [spec for part in PARTS.values() for spec in part.specs(scale)]


def result(scale: Scale, runs: Runs) -> Result:
    """Make the panel from stored runs. The claims are those of the figures themselves."""
    results = {name: part.result(scale, runs) for name, part in PARTS.items()}
    drawn = [chart.properties(title=f"({name})") for name, part in results.items() for chart, _ in part.charts.values()]
    rows = [
        {"part": name, "figure": part.title, "drawn": "yes" if part.charts else "no: runs are missing"} for name, part in results.items()
    ]
    caption = (
        f"Figure 1, {runs.size}: (a) training loss over steps; (b) time to overfit over label corruption, relative to original labels; (c) "
        "test error over label corruption. Bars are ± one standard deviation over seeds."
    )
    charts = {"figure1": (beside(*drawn), caption)} if drawn else {}
    all_runs = [run for part in results.values() for run in part.runs]
    table = Table(f"Parts, {runs.size}", COLUMNS, rows, "Each part has a page of its own, with its numbers and claims.")
    return Result("figure1", TITLE, scale.name, runs.size, all_runs, [table], charts)
