"""Cost of a sweep: what the local engine and Ray add to the runs' own time; and what becomes of a sweep whose workers are killed.

    python benchmarks/sweep.py [--parts alone overhead kills] [--runs 200] [--epochs 12] [--jobs 2] [--seed 0] [--json FILE]

The runs: an MLP 1x512 on the 1,297 digits with random labels, 12 epochs: about 0.2 seconds each; with
--epochs 72 about 1.8. A run's own time is what it records itself
(provenance["seconds"]): data, training, evaluation, with the other runs beside it. Its store, the writing of its files, is not in it.

  alone     own seconds of a run and those that its store takes, in one process that does nothing else: medians of 12
  overhead  for each engine, a sweep of --runs. Overhead = jobs x seconds of the sweep / own times of all runs - 1; efficiency = the
            inverse of 1 + overhead. started: the whole sweep, with the start of the engine and of its workers (Ray takes seconds);
            going: from the end of the first 2 x jobs runs on, what each further run costs
  kills     the same runs on Ray, one worker of which is killed (-9) every 2 to 6 seconds. Done once: every run has its result, whose
            time of writing has not changed since it was first seen, and the same call afterwards executes none

On two quiet cores it takes 3 minutes with 200 runs (`sweep.json`); --parts overhead --runs 60 --epochs 72
takes 3 more (`sweep_longer.json`). The JSON is written after every part; parts not asked for stay in it.
"""

import argparse
import json
import os
import platform
import random
import statistics
import tempfile
import threading
import time
from importlib.metadata import version
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import psutil
import torch

from shattering import Randomization, RunSpec, Store, run, sweep
from shattering.runs.attempts import ATTEMPTS, STARTS
from shattering.runs.provenance import processor
from shattering.runs.sweep import Engine
from shattering.system.machine import usable_cores

ENGINES: tuple[Engine, ...] = ("local", "ray")


def specs(options: argparse.Namespace, n: int | None = None) -> list[RunSpec]:
    params = {"epochs": options.epochs, "device": "cpu"}
    return [RunSpec("digits", randomization=Randomization(1.0), params=params, data_seed=0, seed=seed) for seed in range(n or options.runs)]


def alone(options: argparse.Namespace) -> dict[str, float]:
    """Medians of a run's own seconds, and of those that its store takes, one after another in this process."""
    own, store = [], []
    with tempfile.TemporaryDirectory() as folder:
        for spec in specs(options, 14):
            start = time.perf_counter()
            own.append(run(spec, Store(folder)).provenance["seconds"])
            store.append(time.perf_counter() - start - own[-1])
    return {"own_seconds": statistics.median(own[2:]), "store_seconds": statistics.median(store[2:])}


def overhead(options: argparse.Namespace) -> dict[str, object]:
    return {"runs": options.runs, "jobs": options.jobs, **{str(engine): measure(engine, options) for engine in ENGINES}}


def measure(engine: Engine, options: argparse.Namespace) -> dict[str, float]:
    """Of one sweep on this engine."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.time()
        runs = sweep(specs(options), Store(folder), options.jobs, engine=engine)
        whole = time.time() - start
        ends = {r.run_id: (r.folder / "result.json").stat().st_mtime for r in runs}
        own = {r.run_id: r.provenance["seconds"] for r in runs}
    assert all(r.status == "done" for r in runs)
    order = sorted(ends, key=lambda name: ends[name])
    first, later = order[2 * options.jobs - 1], order[2 * options.jobs :]
    started = options.jobs * whole / sum(own.values())
    going = options.jobs * (ends[order[-1]] - ends[first]) / sum(own[name] for name in later)
    return {
        "seconds": whole,
        "own_seconds_a_run": statistics.fmean(own.values()),
        "overhead_started": started - 1,
        "overhead_going": going - 1,
        "efficiency_started": 1 / started,
        "efficiency_going": 1 / going,
    }


class Killer(threading.Thread):
    """Kills one worker that executes a run, now and then; notes when each result was written as it first sees it."""

    def __init__(self, folder: Path, seed: int):
        super().__init__(daemon=True)
        self.folder, self.draw = folder, random.Random(seed)
        self.killed: list[int] = []
        self.written: dict[str, int] = {}
        self.over = threading.Event()

    def run(self) -> None:
        due = time.monotonic() + self.draw.uniform(2, 6)
        while not self.over.wait(0.2):
            self.look()
            if time.monotonic() > due:
                workers = sorted((p for p in psutil.Process().children(recursive=True) if is_at_a_run(p)), key=lambda p: p.pid)
                if workers:
                    victim = self.draw.choice(workers)
                    victim.kill()
                    self.killed.append(victim.pid)
                due = time.monotonic() + self.draw.uniform(2, 6)

    def look(self) -> None:
        for path in self.folder.glob("*/result.json"):
            self.written.setdefault(path.parent.name, path.stat().st_mtime_ns)


def is_at_a_run(process: psutil.Process) -> bool:
    """A worker on Ray bears the name of its run."""
    try:
        return process.cmdline()[0].startswith("ray::digits")
    except (psutil.Error, IndexError):
        return False


def kills(options: argparse.Namespace) -> dict[str, object]:
    """A sweep on Ray whose workers are killed at random."""
    with tempfile.TemporaryDirectory() as folder:
        killer = Killer(Path(folder), options.seed)
        killer.start()
        start = time.time()
        runs = sweep(specs(options), Store(folder), options.jobs, engine="ray")
        seconds = time.time() - start
        killer.over.set()
        killer.join()
        killer.look()
        again = sweep(specs(options), Store(folder), options.jobs)
        unchanged = [r for r in again if (r.folder / "result.json").stat().st_mtime_ns == killer.written.get(r.folder.name)]
    return {
        "runs": options.runs,
        "jobs": options.jobs,
        "seed": options.seed,
        "workers_killed": len(killer.killed),
        "deaths_until_failed": {"without getting further": ATTEMPTS, "before the beginning": STARTS},
        "done": sum(r.status == "done" for r in runs),
        "done_and_not_executed_again": len(unchanged),
        "failed": [r.error for r in runs if r.status == "failed"],
        "own_seconds_a_run": statistics.fmean(r.provenance["seconds"] for r in runs if r.status == "done"),
        "seconds": seconds,
    }


PARTS = {"alone": alone, "overhead": overhead, "kills": kills}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--jobs", type=int, default=usable_cores())
    parser.add_argument("--seed", type=int, default=0, help="of the killings")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    out = json.loads(options.json.read_text()) if options.json and options.json.exists() else {}
    versions = {"ray": version("ray"), "torch": torch.__version__, "python": platform.python_version()}
    out |= {"epochs": options.epochs, "versions": versions, "processor": processor(), "cores": usable_cores()}
    for name in options.parts:
        load = os.getloadavg()[0]
        out[name] = PARTS[name](options) | {"load_average_before": load, "load_average_after": os.getloadavg()[0]}
        print(name, json.dumps(out[name], indent=1), flush=True)
        if options.json:
            options.json.write_text(json.dumps(out, indent=1) + "\n")


if __name__ == "__main__":
    main()
