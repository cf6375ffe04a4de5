"""Cost of logging: a run that tells a tracker against the same run that tells none.

    python benchmarks/loggers.py [--repeats 5] [--epochs 40] [--json FILE]

MLP 1x512 on the digits (1,297 images of 8x8, batch 128): a short epoch, so that the cost shows. The trackers take turns,
and all numbers are medians over the repeats.

  epoch    seconds from one epoch's end to the next, the median within a run; its ratio to the run without a tracker
  around   seconds of a run outside of that (load, start, results, picture, end), beyond the run without a tracker
  first    the same in the process's first run, with the import of the library and, for MLflow, a new database
W&B is offline: what the network costs is not in here.
"""

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch

from shattering import RunSpec, Store, run
from shattering.runs.provenance import processor


def measure(log: str | None, epochs: int, seed: int) -> tuple[float, float]:
    """(seconds an epoch, seconds outside of the epochs) of one run. The seed makes it a new one to the tracker."""
    ends: list[float] = []
    spec = RunSpec("digits", params={"epochs": epochs, "device": "cpu", "checkpoint_every": 1e9}, seed=seed)
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        run(spec, Store(folder), on_epoch=lambda _: ends.append(time.perf_counter()), log=log)
        whole = time.perf_counter() - start
    return statistics.median(b - a for a, b in pairwise(ends)), whole - (ends[-1] - ends[0])


def compare(trackers: dict[str, str | None], repeats: int, epochs: int) -> dict[str, dict[str, float]]:
    measure(None, 2, 0)  # imports what any run needs
    first = {name: measure(log, epochs, 0)[1] for name, log in trackers.items()}
    measured: dict[str, list[tuple[float, float]]] = {name: [] for name in trackers}
    for seed in range(1, repeats + 1):
        for name, log in trackers.items():
            measured[name].append(measure(log, epochs, seed))
    epoch, around = ({name: statistics.median(m[i] for m in values) for name, values in measured.items()} for i in (0, 1))
    return {
        name: {
            "epoch_seconds": epoch[name],
            "epoch_over_none": epoch[name] / epoch["none"],
            "around_seconds_beyond_none": around[name] - around["none"],
            "first_seconds_beyond_none": first[name] - around["none"],
        }
        for name in trackers
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:  # W&B's service may still close its log
        os.environ |= {"WANDB_MODE": "offline", "WANDB_SILENT": "true", "WANDB_DIR": folder}
        before = Path.cwd()
        os.chdir(folder)  # MLflow keeps its pictures where it is
        trackers = {"none": None, "tensorboard": "tensorboard:tb", "mlflow": "mlflow:sqlite:///mlflow.db", "wandb": "wandb:benchmark"}
        compared = compare(trackers, options.repeats, options.epochs)
        os.chdir(before)
    result = {
        **compared,
        "epochs": options.epochs,
        "repeats": options.repeats,
        "load_average": os.getloadavg()[0],
        "versions": {name: version(name) for name in ("torch", "tensorboard", "mlflow-skinny", "wandb")},
        "python": platform.python_version(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
    }
    print(json.dumps(result, indent=1))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
