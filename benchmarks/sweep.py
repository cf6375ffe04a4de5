"""Cost of a sweep: what the local engine and Ray add to the runs' own time; and what becomes of a sweep whose workers are killed.

    python benchmarks/sweep.py [--runs 60] [--jobs 2] [--repeats 3] [--epochs 12] [--kill 200] [--json FILE]

The runs: an MLP 1x512 on the digits with random labels, about a second each. A run's own time is what it records itself: reading the
data, training, evaluating. Its store is what `run` takes beyond that, for its lock and files, in a process that does nothing else
(median). Overhead of an engine = (jobs x seconds of the sweep - own times) / runs, in which the store is; the engines take turns, and
numbers are medians over the repeats.

  started    the whole sweep, with the start of the engine and of its workers
  going      from the end of the first 2 x jobs runs on: what each further run costs
--kill N: a sweep of N shorter runs on each engine, one worker of which is killed (-9) at random every 3 to 8 seconds.
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
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import psutil
import torch

from shattering import Randomization, RunSpec, Store, run, sweep
from shattering.machine import usable_cores
from shattering.runs.run import _processor
from shattering.runs.sweep import ATTEMPTS, Engine

ENGINES: tuple[Engine, ...] = ("local", "ray")


def specs(n: int, epochs: int) -> list[RunSpec]:
    params = {"epochs": epochs, "device": "cpu"}
    return [RunSpec("digits", randomization=Randomization(1.0), params=params, data_seed=0, seed=seed) for seed in range(n)]


def stored_alone(n: int, epochs: int) -> dict[str, float]:
    """Medians of a run's own seconds, and of those that its store takes, one after another in this process."""
    own, store = [], []
    with tempfile.TemporaryDirectory() as folder:
        for spec in specs(n, epochs):
            start = time.perf_counter()
            own.append(run(spec, Store(folder)).provenance["seconds"])
            store.append(time.perf_counter() - start - own[-1])
    return {"own_seconds": statistics.median(own[2:]), "store_seconds": statistics.median(store[2:])}


def measure(engine: Engine, n: int, epochs: int, jobs: int) -> dict[str, float]:
    """Seconds a run of one sweep: own, and overhead beyond it."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.time()
        runs = sweep(specs(n, epochs), Store(folder), jobs, engine=engine)
        whole = time.time() - start
        ends = {r.run_id: (r.folder / "result.json").stat().st_mtime for r in runs}
        own = {r.run_id: r.provenance["seconds"] for r in runs}
    assert all(r.status == "done" for r in runs)
    order = sorted(ends, key=lambda name: ends[name])
    first, later = order[2 * jobs - 1], order[2 * jobs :]
    going = jobs * (ends[order[-1]] - ends[first]) - sum(own[name] for name in later)
    return {
        "seconds": whole,
        "own_seconds_a_run": statistics.fmean(own.values()),
        "overhead_started": (jobs * whole - sum(own.values())) / n,
        "overhead_going": going / len(later),
        "own_going": statistics.fmean(own[name] for name in later),
    }


def compare(n: int, epochs: int, jobs: int, repeats: int) -> dict[str, dict]:
    measured: dict[str, list[dict[str, float]]] = {str(engine): [] for engine in ENGINES}
    for _ in range(repeats):
        for engine in ENGINES:
            measured[str(engine)].append(measure(engine, n, epochs, jobs))
            print(engine, json.dumps(measured[str(engine)][-1]), flush=True)
    out = {}
    for name, rows in measured.items():
        ratios = {
            "overhead_started_over_own": [row["overhead_started"] / row["own_seconds_a_run"] for row in rows],
            "overhead_going_over_own": [row["overhead_going"] / row["own_going"] for row in rows],
        }
        out[name] = {key: statistics.median(row[key] for row in rows) for key in rows[0]}
        out[name] |= {key: {"median": statistics.median(v), "low": min(v), "high": max(v)} for key, v in ratios.items()}
        out[name]["efficiency_going"] = 1 / (1 + out[name]["overhead_going_over_own"]["median"])
    return out


@dataclass
class Killer(threading.Thread):
    """Kills one worker that executes a run, now and then: on Ray a new one takes seconds to import torch."""

    own: set[int]
    killed: list[int] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self):
        super().__init__(daemon=True)

    def run(self) -> None:
        while not self.over.wait(random.uniform(3, 8)):
            workers = [p for p in psutil.Process().children(recursive=True) if self.is_victim(p)]
            if workers:
                victim = random.choice(workers)
                victim.kill()
                self.killed.append(victim.pid)

    def is_victim(self, process: psutil.Process) -> bool:
        """A task on Ray bears its run's name; a local worker is a child of the server, which is one of ours."""
        try:
            name = process.cmdline()[0]
            forked = process.ppid() in self.own and "forkserver" in " ".join(process.cmdline()) and process.pid not in self.own
            return name.startswith("ray::digits") or forked
        except (psutil.Error, IndexError):
            return False

    __hash__ = threading.Thread.__hash__


def killed(engine: Engine, n: int, jobs: int) -> dict[str, object]:
    """A sweep whose workers are killed at random."""
    sweep(specs(1, 1), Store(tempfile.mkdtemp()), 1)  # starts the server of local workers
    servers = {p.pid for p in psutil.Process().children() if "forkserver" in " ".join(p.cmdline())}
    with tempfile.TemporaryDirectory() as folder:
        killer = Killer(servers)
        killer.start()
        start = time.time()
        statuses = [r.status for r in sweep(specs(n, 4), Store(folder), jobs, engine=engine)]
        killer.over.set()
        killer.join()
        seconds = time.time() - start
        again = sweep(specs(n, 4), Store(folder), jobs)
    return {
        "runs": n,
        "workers_killed": len(killer.killed),
        "attempts_a_run": ATTEMPTS,
        "done": statuses.count("done"),
        "failed_after_all_attempts": statuses.count("failed"),
        "done_after_the_same_call_again": sum(r.status == "done" for r in again),
        "seconds": seconds,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=60)
    parser.add_argument("--jobs", type=int, default=usable_cores())
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--kill", type=int, default=200)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    out: dict[str, object] = {
        "runs": options.runs,
        "jobs": options.jobs,
        "repeats": options.repeats,
        "epochs": options.epochs,
        "ray": version("ray"),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "processor": _processor(),
        "cores": usable_cores(),
        "load_average_before": os.getloadavg()[0],
        "alone": stored_alone(12, options.epochs),
    }
    if options.repeats:
        out["engines"] = compare(options.runs, options.epochs, options.jobs, options.repeats)
        keep(out, options.json)
    for engine in ENGINES if options.kill else ():
        out[f"killed_on_{engine}"] = killed(engine, options.kill, options.jobs)
        keep(out, options.json)
    out["load_average_after"] = os.getloadavg()[0]
    keep(out, options.json)


def keep(out: dict[str, object], path: Path | None) -> None:
    """Print what has been measured so far, and write it."""
    print(json.dumps(out, indent=1), flush=True)
    if path:
        path.write_text(json.dumps(out, indent=1) + "\n")


if __name__ == "__main__":
    main()
