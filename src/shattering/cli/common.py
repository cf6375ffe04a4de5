"""What the commands share."""

import json
from dataclasses import dataclass
from pathlib import Path

from tyro.conf import FlagCreatePairsOff

from shattering.errors import InputError

Flag = FlagCreatePairsOff[bool]


@dataclass(frozen=True)
class Stored:
    store: Path = Path("runs")
    """Folder of runs."""
    json: Flag = False
    """Print JSON."""


def sweep_with_overview(specs, store, jobs: int):
    if jobs < 1:
        raise InputError(f"jobs is {jobs}, expected at least 1")
    from rich.console import Console

    from shattering.runs.sweep import sweep

    return sweep(specs, store, jobs, Console(stderr=True))


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
