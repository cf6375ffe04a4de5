"""Values of measures, stored beside the runs: what is missing is computed, what was computed with another version again."""

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd

from shattering.errors import InputError, named
from shattering.identity.digest import identify
from shattering.measures.measure import measure
from shattering.runs.remote import bring
from shattering.runs.store import Store
from shattering.runs.stored import Run
from shattering.system.files import write_own
from shattering.system.progress import Progress

FILE = "measures.parquet"
COLUMNS = ["measure", "version", "value", "reason", "seconds"]
Function = Callable[[Any], float]


@dataclass(frozen=True)
class Related:
    """The other runs that some measures of a run look at: the one on random labels, and those of other seeds."""

    run: Run
    twin: Run | None
    siblings: Sequence[Run]


def version_of(name: str, function: Function) -> str:
    """Return what identifies the code of a measure: the version that it states, or a digest of the code and of all that it reaches."""
    stated = getattr(function, "version", None)
    if isinstance(stated, int):
        return f"{getattr(function, 'at', name)} {stated}"
    return identify(function, name)[0]


def relate(table: pd.DataFrame, runs: Sequence[Run]) -> list[Related]:
    """Find the relatives of each run of the table: random labels of the same cell, seed and size; one run of another seed.

    A run on random labels is its own twin, so that what is compared with the twin is 1 for it, by definition.
    """
    by_id = {run.run_id: run for run in runs}
    treatments = {key: list(rows["run"]) for key, rows in table.groupby(["cell", "condition", "corruption", "n"])}
    random = table[table["condition"].isin(["random", "fewer"])]
    twins = {(cell, seed, n): run for cell, seed, n, run in zip(*(random[c] for c in ("cell", "seed", "n", "run")), strict=True)}
    out = []
    for cell, condition, corruption, n, seed, run in zip(
        *(table[c] for c in ("cell", "condition", "corruption", "n", "seed", "run")), strict=True
    ):
        twin = None if condition.startswith("untrained") else by_id.get(twins.get((cell, seed, n), ""))
        others = [by_id[other] for other in treatments[cell, condition, corruption, n] if other != run]
        out.append(Related(by_id[run], twin, others[:1]))
    return out


def stored_values(run: Run) -> pd.DataFrame:
    """Return what was measured of a run, one row per measure; empty if nothing was. A file that cannot be read counts as none."""
    path = run.folder / FILE
    try:
        rows = pd.read_parquet(path) if bring(path) else pd.DataFrame(columns=COLUMNS)
    except Exception:  # whatever a decoder raises; the values are computed again
        rows = pd.DataFrame(columns=COLUMNS)
    return rows if list(rows.columns) == COLUMNS else pd.DataFrame(columns=COLUMNS)


def measured(
    related: Sequence[Related],
    measures: Mapping[str, Function],
    store: Store | None = None,
    jobs: int = 1,
    progress: bool | None = None,
) -> pd.DataFrame:
    """Return the value of each measure on each run; those that are not stored are computed first, and stored, run by run.

    Args:
        related: the runs, each with its relatives.
        measures: name → function.
        store: where the runs are; None: a folder of runs.
        jobs: runs that are measured at a time, each in its own process.
        progress: as `interrogate` takes it.

    Returns:
        Rows of `COLUMNS`, and run (its id). A measure that raises an error has no value, and the error as its reason.
    """
    versions = {name: version_of(name, function) for name, function in measures.items()}
    work = [(one, _missing(one, measures, versions)) for one in related]
    work = [(one, functions) for one, functions in work if functions]
    work.sort(key=lambda pair: (pair[0].run.spec.dataset, pair[0].run.spec.n_train or 0, pair[0].run.spec.seed))  # the same data in a row
    with Progress("runs measured", len(work), progress) as shown:
        for done, (one, rows) in enumerate(_computed(work, jobs), 1):
            keep(one.run, rows.assign(version=[_version(one, name, measures[name], versions[name]) for name in rows["measure"]]), store)
            shown.update(done)
            shown.say(f"measured {done} of {len(work)} runs")
    parts = [stored_values(one.run).assign(run=one.run.run_id) for one in related]
    rows = pd.concat(parts) if parts else pd.DataFrame(columns=[*COLUMNS, "run"])
    return rows.loc[rows["measure"].isin(list(measures))].reset_index(drop=True)


def _missing(one: Related, measures: Mapping[str, Function], versions: Mapping[str, str]) -> dict[str, Function]:
    rows = stored_values(one.run)
    known = set(zip(rows["measure"], rows["version"], strict=True))
    return {name: function for name, function in measures.items() if (name, _version(one, name, function, versions[name])) not in known}


def _version(one: Related, name: str, function: Function, version: str) -> str:
    """Return the version of a value: of the code, and, where a measure may look at other runs, which these are."""
    if not _needs_others(function):
        return version
    relatives = ",".join(run.run_id for run in [*([one.twin] if one.twin else []), *one.siblings])
    return f"{version} with {hashlib.sha256(relatives.encode()).hexdigest()[:8]}"


def _needs_others(function: Function) -> bool:
    """Return whether a measure looks at other runs; one that does not say what it needs may."""
    return "R" in str(getattr(function, "needs", "R"))


def _computed(work: Sequence[tuple[Related, dict[str, Function]]], jobs: int) -> Iterator[tuple[Related, pd.DataFrame]]:
    """Measure runs, in this process or in several."""
    if jobs == 1 or len(work) < 2:
        yield from (_measure(one, functions) for one, functions in work)
        return
    from joblib import Parallel, delayed

    calls: Iterable[Any] = (delayed(_measure)(one, functions, False) for one, functions in work)
    yield from Parallel(n_jobs=jobs, return_as="generator_unordered")(calls)  # type: ignore[misc]  # a generator, as asked for


def _measure(one: Related, functions: Mapping[str, Function], progress: bool | None = None) -> tuple[Related, pd.DataFrame]:
    """Compute measures of one run, all together; where one raises, each by itself, so that the error is that one's alone.

    progress: False in a process of its own.
    """
    clock = time.perf_counter()
    try:
        fitted, known = one.run.fitted(), {}
        if any(_needs_others(function) for function in functions.values()):
            known = {"siblings": [run.fitted() for run in one.siblings], "twin": one.twin.fitted() if one.twin else None}
    except InputError as error:  # such as data that are no longer those of the run
        raise InputError(f"run {one.run.folder.name} cannot be measured: {error}") from error
    try:
        table = measure(fitted, None, functions, progress=progress, **known)
    except Exception:
        table = pd.concat([_alone(fitted, name, function, known) for name, function in functions.items()])
    table = table.reset_index(names="measure") if "measure" not in table else table
    table["seconds"] = table["seconds"].where(table["seconds"].notna(), time.perf_counter() - clock)
    return one, table.loc[:, ["measure", "value", "reason", "seconds"]]


def _alone(fitted: Any, name: str, function: Function, known: Mapping[str, Any]) -> pd.DataFrame:
    try:
        return measure(fitted, None, {name: function}, progress=False, **known)
    except Exception as error:  # of the measure's own code
        return pd.DataFrame(
            {"value": [float("nan")], "reason": [named(error)], "seconds": [float("nan")]}, index=pd.Index([name], name="measure")
        )


def keep(run: Run, rows: pd.DataFrame, store: Store | None = None) -> None:
    """Store values of measures beside a run, in the place of those of the same names.

    Args:
        run: what was measured.
        rows: `COLUMNS`.
        store: where the run is; None: a folder of runs.
    """
    place = store or Store(run.folder.parent)
    with place.lock(run.folder):
        old = stored_values(run)
        parts = [part for part in (old[~old["measure"].isin(rows["measure"])], rows[COLUMNS]) if len(part)]
        whole = pd.concat(parts, ignore_index=True) if parts else rows[COLUMNS]
        write_own(run.folder / FILE, partial(whole.to_parquet, index=False))
    if place.remote:
        place.remote.send(run.folder, [FILE])
