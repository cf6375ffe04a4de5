"""What the commands share."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, overload

from tyro.conf import FlagCreatePairsOff

from shattering.errors import InputError

if TYPE_CHECKING:
    from shattering.runs.spec import RunSpec
    from shattering.runs.store import AnySpec, Record, Run, Store
    from shattering.runs.store import Stored as StoredRun
    from shattering.runs.study import StudySpec

Flag = FlagCreatePairsOff[bool]


@dataclass(frozen=True)
class Stored:
    store: Path = Path("runs")
    """Folder of runs."""
    json: Flag = False
    """Print JSON."""


@overload
def sweep_with_overview(specs: Sequence[RunSpec], store: Store, jobs: int, log: Sequence[str] = ()) -> Sequence[Run]: ...
@overload
def sweep_with_overview(specs: Sequence[StudySpec], store: Store, jobs: int, log: Sequence[str] = ()) -> Sequence[Record]: ...
@overload
def sweep_with_overview(specs: Sequence[AnySpec], store: Store, jobs: int, log: Sequence[str] = ()) -> Sequence[StoredRun]: ...
def sweep_with_overview(specs: Sequence[AnySpec], store: Store, jobs: int, log: Sequence[str] = ()) -> Sequence[StoredRun]:
    if jobs < 1:
        raise InputError(f"jobs is {jobs}, expected at least 1")
    from rich.console import Console

    from shattering.runs.sweep import sweep

    return sweep(specs, store, jobs, Console(stderr=True), log)


def finish(runs, as_json: bool, extra: dict) -> int:
    if as_json:
        print_json({"runs": [summary(run) for run in runs], **extra})
    return 0 if all(run.status == "done" for run in runs) else 1


def print_json(data: object) -> None:
    print(json.dumps(data, indent=1, allow_nan=False))


def summary(run) -> dict:
    return {
        "run_id": run.run_id,
        "folder": str(run.folder),
        "status": run.status,
        "error": run.error,
        "spec": run.spec.to_json(),
        "result": run.result,
    }
