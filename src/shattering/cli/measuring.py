"""The command `measure`: measures of generalization of a stored network."""

import math
from dataclasses import dataclass

from shattering.cli.common import Stored, print_json
from shattering.cli.options import Positional, Repeated
from shattering.errors import InputError, printable


@dataclass(frozen=True, kw_only=True)
class MeasureRun(Stored):
    """Compute measures of generalization for one run of a network; larger means: predicted to generalize worse."""

    run: Positional[str]
    """The start of a run's id or folder name."""
    only: Repeated = ()
    """A measure (see `list measures`). Default: all."""

    def execute(self) -> int:
        from shattering.measures.measure import measure
        from shattering.runs.store import Store
        from shattering.runs.stored import is_of_model

        run = Store(self.store).find(self.run)
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


def _rows(table) -> list[tuple[str, float, str]]:
    return list(zip(table.index, table["value"].tolist(), table["reason"].tolist(), strict=True))


def _plain(value: float) -> float | str | None:
    """Return a number that JSON has: None for NaN, and infinity as a text."""
    return None if math.isnan(value) else str(value) if math.isinf(value) else value
