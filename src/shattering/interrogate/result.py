"""`interrogate`: put measures through the tests on stored runs; `Interrogation`: what came of it, as tables, charts, page and JSON."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from shattering import parameters
from shattering.errors import InputError, printable, reason
from shattering.interrogate.capacity import OF_RUNS, OF_STUDIES, OF_THE_TABLE, WHY_NONE
from shattering.interrogate.controls import DATA_CONTROLS, control_columns
from shattering.interrogate.findings import Findings
from shattering.interrogate.judging import judge_table
from shattering.interrogate.page import render_interrogation
from shattering.interrogate.table import COLUMNS as TABLE_COLUMNS
from shattering.interrogate.table import runs_table
from shattering.interrogate.values import COLUMNS, Function, measured, relate
from shattering.interrogate.verdicts import Thresholds
from shattering.measures.catalog import MEASURES
from shattering.measures.measure import choose
from shattering.report.page import environments, write_page
from shattering.runs.store import Store, found_in, of_models
from shattering.runs.stored import Run
from shattering.system.files import write_own


@dataclass(frozen=True, repr=False)
class Interrogation(Findings):
    """The result of `interrogate`: see `Findings` for its fields, tables and charts.

    Example:
        >>> found = interrogate(None, "runs")  # doctest: +SKIP
        >>> found.to_html("measures.html")  # doctest: +SKIP
    """

    def to_html(self, path: str | Path | None = None) -> str:
        """Return the page, which opens offline, as text; and write it to `path` if one is given."""
        html = render_interrogation(self)
        if path is not None:
            write_page(html, Path(path))
        return html

    def to_json(self) -> dict:
        """Return everything but values and charts as a JSON object; None for what is not a finite number.

        Keys: verdicts, blocked, answers, noise (n_μ/n by measure and architecture), shatter_point (μ over that at the shatter point),
        survey, controls, tests, best (by Ψ, under the bootstrap of the maximum), flipped, counts, reasons, thresholds, machines, runs
        (their ids).
        """
        best = self.judged.best
        return {
            "verdicts": {name: verdict._asdict() for name, verdict in self.verdicts.items()},
            "blocked": self.why_blocked,
            "answers": [{name: _json(value) for name, value in vars(answer).items()} for answer in self.answers],
            "noise": _records(self.noise_medians),
            "shatter_point": _records(self.shatter_shares),
            "survey": _records(self.survey),
            "controls": _records(self.controls),
            "tests": _records(self.tests),
            "best": dict(zip(("measure", "psi", "low", "high"), map(_json, best), strict=True)) if best else None,
            "flipped": self.judged.flipped,
            "counts": _records(self.counts),
            "reasons": _records(self.reasons),
            "thresholds": vars(self.thresholds),
            "machines": list(self.machines),
            "runs": list(self.table["run"]),
        }

    def store(self, store: Store, scale: str) -> Path:
        """Write `to_json` into a store, from which the papers' scoreboard judges, and all values, which `interrogate` can judge again.

        Args:
            store: a folder of runs.
            scale: of the population: "demo", "small" or "full".

        Returns:
            The path of the first file, `interrogation-SCALE.json`; `interrogation-SCALE.parquet` is beside it.
        """
        path = store.root / f"interrogation-{scale}.json"
        write_own(path, lambda aside: aside.write_text(json.dumps(self.to_json(), indent=1, allow_nan=False) + "\n"))
        write_own(path.with_suffix(".parquet"), partial(self.values_table.to_parquet, index=False))
        return path

    @property
    def values_table(self) -> pd.DataFrame:
        """One row per run and measure: what the table says of the run, and measure, version, value, reason and seconds.

        Its `attrs` has the axes, the measures that were judged, and the machines on which the runs were trained.
        """
        of_runs = self.table.loc[:, list(dict.fromkeys([*TABLE_COLUMNS, *self.axes, "network"]))]
        rows = of_runs.merge(self.details, on="run")
        rows.attrs = {"axes": list(self.axes), "measures": list(self.measures), "machines": list(self.machines)}
        return rows

    def __str__(self) -> str:
        lines = (
            [self.why_blocked] if self.why_blocked else [f"{verdict.verdict:24} {verdict.sentence}" for verdict in self.verdicts.values()]
        )
        return "\n".join(map(printable, lines))


STORED_VALUES = "the values of a stored interrogation (interrogation-SCALE.parquet, which `shattering interrogate` leaves in its store)"
_ATTRS = ("axes", "measures", "machines")
_KNOWN: dict[str, Callable[..., Any]] = {**MEASURES, **OF_RUNS, **OF_THE_TABLE}


def interrogate(
    measures: Mapping[str, Function] | Sequence[str] | None = None,
    runs: Store | str | Path | Sequence[Run] = "runs",
    *,
    thresholds: Thresholds | None = None,
    jobs: int = 1,
    progress: bool | None = None,
) -> Interrogation:
    """Ask of each measure of generalization whether it tells natural from random labels, and whether it ranks natural networks.

    CACM 2021, section 1.1: for any purported measure of generalization, compare how it fares on the natural data versus the randomized
    data. Measures are compared at equal loss, at equal steps, at both, and at initialization; see docs/interrogate.md. Nothing is trained:
    the runs are those of a population, as `shattering interrogate` makes them. Values are stored beside the runs, so that another
    call computes only those of new measures, and of those whose code has changed.

    Args:
        measures: name → function `Fitted` → float, of which larger values mean "predicted to generalize worse"; or names in `MEASURES`.
            None: all of `MEASURES`, and the quantities of capacity in `shattering.interrogate.capacity`, which have names too.
        runs: a store, its folder, or runs; with studies of stability, where they are to count. Runs that belong to no population are
            left out. Or the file of values that `Interrogation.store` has written, of which nothing more can be computed; studies of
            stability in the same folder count.
        thresholds: of the verdicts; None: the defaults.
        jobs: runs that are measured at a time, each in its own process.
        progress: True prints a line for each run that is measured, on standard error, beside the line of progress that None shows in a
            terminal or a notebook; False prints nothing.

    Returns:
        Tables, verdicts, charts and page.

    Raises:
        InputError: for an unknown measure, a name that a column or a control has, runs among which is no population, and a file that
            holds no values of an interrogation.

    Example:
        >>> def l1_norm(fitted):
        ...     return float(sum(weight.abs().sum() for weight in fitted.weights()))
        >>> found = interrogate({"l1_norm": l1_norm}, "runs")  # doctest: +SKIP
        >>> print(found.verdicts["l1_norm"])  # doctest: +SKIP
        tells: l1_norm is larger with random labels in 32 of 32 cells at equal loss, …
    """
    parameters.check("jobs", jobs, parameters.Count)
    parameters.check("thresholds", thresholds, Thresholds | None)
    t = thresholds or Thresholds()
    if isinstance(runs, (str, Path)) and (Path(runs).suffix == ".parquet" or Path(runs).is_file()):
        return _of_values(Path(runs), measures, t)
    stored, store = found_in(runs)
    found = of_models(stored)
    table, axes = runs_table(found)
    chosen = choose(measures, _KNOWN, {*table.columns, *DATA_CONTROLS, *control_columns(table, [])})
    of_table = {name: of(table, stored) for name, of in OF_THE_TABLE.items() if chosen.get(name) is of}
    functions = {name: function for name, function in chosen.items() if name not in of_table}
    details = measured(relate(table, found), {**functions, **DATA_CONTROLS}, store, jobs, progress)
    details = pd.concat([details, *(_told(table, name, of) for name, of in of_table.items())], ignore_index=True)
    by_id = {run.run_id: run for run in found}
    members = [by_id[run] for run in table["run"]]
    return _judged(table, axes, details, list(chosen), members, environments(members), t)


def _of_values(path: Path, measures: Any, thresholds: Thresholds) -> Interrogation:
    """Judge the values that `Interrogation.store` has written, or those of some of its measures."""
    rows = _read_values(path)
    axes, known, machines = (rows.attrs[name] for name in _ATTRS)
    details = rows.loc[:, ["run", *COLUMNS]]
    table = rows.loc[:, list(dict.fromkeys([*TABLE_COLUMNS, *axes, "network"]))].drop_duplicates("run", ignore_index=True)
    if isinstance(measures, Mapping):
        raise InputError(f"measures has functions, and runs is {path}, which has values alone, expected a list of names")
    chosen = list(choose(measures, dict.fromkeys(known, lambda _: math.nan)))
    kept = details[details["measure"].isin([*chosen, *DATA_CONTROLS])].reset_index(drop=True)
    stored = found_in(path.parent)[0] if OF_STUDIES.keys() & set(chosen) else []
    told = [_told(table, name, of(table, stored)).dropna(subset=["value"]) for name, of in OF_STUDIES.items() if name in chosen]
    kept = pd.concat([*(rows for rows in told if len(rows)), kept]).drop_duplicates(["run", "measure"], ignore_index=True)
    return _judged(table, axes, kept, chosen, [], machines, thresholds)


def _read_values(path: Path) -> pd.DataFrame:
    """Read the file that `Interrogation.store` has written. Raises InputError for any other, and for one whose rows were changed."""
    expected = f"runs is {path}, expected {STORED_VALUES}"
    if not path.exists():
        raise InputError(f"{expected}: there is no such file")
    try:
        rows = pd.read_parquet(path)
    except Exception as error:  # whatever a decoder raises
        raise InputError(f"{expected}: {reason(error)}") from error
    missing = [name for name in _ATTRS if name not in rows.attrs]
    missing = missing or [name for name in ["run", *COLUMNS, *TABLE_COLUMNS, *rows.attrs["axes"], "network"] if name not in rows]
    if missing:
        raise InputError(f"{expected}: it has no {missing[0]}")
    if not pd.api.types.is_numeric_dtype(rows["value"]):
        raise InputError(f"{expected}: its column value has the type {rows['value'].dtype}, not numbers")
    if rows.duplicated(["run", "measure"]).any():
        raise InputError(f"{expected}: it has two values of one measure on one run")
    if not {"natural", "random"} <= set(rows["condition"]):
        raise InputError(f"{expected}: it has no runs on {'random' if 'natural' in set(rows['condition']) else 'original'} labels")
    return rows


def _judged(
    table: pd.DataFrame,
    axes: Sequence[str],
    details: pd.DataFrame,
    measures: Sequence[str],
    runs: Sequence[Run],
    machines: Sequence[dict],
    thresholds: Thresholds,
) -> Interrogation:
    """Put the values of measures, and the controls, through the tests."""
    values = details.pivot_table(index="run", columns="measure", values="value", dropna=False)
    wide = table.join(values.reindex(columns=[*measures, *DATA_CONTROLS]), on="run").join(control_columns(table, axes))
    controls = [name for name in wide if name not in table and name not in measures]
    judged = judge_table(wide, axes, measures, controls, thresholds)
    return Interrogation(wide, details.loc[:, ["run", *COLUMNS]], axes, measures, judged, runs, thresholds, machines)


def of_names(names: Sequence[str] | None) -> dict[str, Callable[..., Any]]:
    """Return the measures and the quantities of capacity that have these names. Raises InputError for a name that none has."""
    return choose(names, _KNOWN)


def _told(table: pd.DataFrame, name: str, values: pd.Series) -> pd.DataFrame:
    """Return rows of details of a measure that is read from the table."""
    reasons = values.isna().map({True: WHY_NONE[name], False: ""})
    return pd.DataFrame({"run": table["run"], "measure": name, "version": "", "value": values, "reason": reasons, "seconds": 0.0})


def _json(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _records(table: pd.DataFrame) -> list[dict]:
    return [{name: _json(value) for name, value in row.items()} for row in table.to_dict("records")]
