"""The measures that the republication surveys (CACM 2021, section 6): does each tell natural from random labels?

For any purported measure of generalization, compare how it fares on the natural data versus the randomized data (section 1.1). The answers
are those of a stored interrogation; `shattering interrogate --scale small` makes it, from a population of its own.
"""

import json
from typing import Any

from shattering.errors import InputError
from shattering.experiments.experiment import Claim, Column, Result, Runs, Table
from shattering.experiments.scales import Scale
from shattering.interrogate.survey import SURVEY
from shattering.interrogate.verdicts import COMPARISONS
from shattering.report.claims import MISSING
from shattering.runs.study import StudySpec

TITLE = "The survey’s measures: does each tell natural from random labels?"
PLACE = ("CACM 6.1", "small")
SAYS = "For any purported measure of generalization, compare how it fares on the natural data versus the randomized data."
RULE = "larger with random labels in at least 90 % of the cells, beyond chance, at equal loss, at equal steps and at both"
COLUMNS = (
    Column("family", "family"),
    Column("measure", "measure"),
    *(Column(test, f"{where}, % of cells", "percent") for test, where in COMPARISONS.items()),
    Column("claim", "tells natural from random labels", "prose"),
)


def specs(scale: Scale) -> list[StudySpec]:
    """List nothing: the runs are a population, which depends on what its first runs reach; `shattering interrogate` trains it."""
    return []


def result(scale: Scale, runs: Runs) -> Result:
    """Make the table and a claim per measure from the stored interrogation of the scale."""
    rows = _stored(scale, runs)
    claims = [_claim(rows.get(name, {}), family, name) for family, names in SURVEY.items() for name in names]
    size = f"population {scale.name}" if rows else "missing"
    note = f"Made by `shattering interrogate --scale {scale.name}`; its page has every test, control and figure."
    table = Table(f"Measures of the survey, {size}", COLUMNS, list(rows.values()), note)
    return Result("survey", TITLE, scale.name, size, [], [table], {}, claims)


def _stored(scale: Scale, runs: Runs) -> dict[str, dict[str, Any]]:
    """Return the rows of the stored interrogation by measure; none where there is no such file."""
    path = runs.store.root / f"interrogation-{scale.name}.json"
    if not path.is_file():
        return {}
    try:
        rows = json.loads(path.read_text())["survey"]
        return {str(row["measure"]): {column.key: row[column.key] for column in COLUMNS} | {"why": row["why"]} for row in rows}
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"{path} is no stored interrogation, expected what `shattering interrogate` writes") from error


def _claim(row: dict[str, Any], family: str, name: str) -> Claim:
    shown = {where: row[test] for test, where in COMPARISONS.items() if row.get(test) is not None}
    evidence = "; ".join(f"{where}: {share:.0%}" for where, share in shown.items()) or "missing"
    about = f"{name} tells natural from random labels"
    return Claim(about, f"{SAYS} ({family})", RULE, row.get("claim", MISSING), evidence, row.get("why", ""), evidence)
