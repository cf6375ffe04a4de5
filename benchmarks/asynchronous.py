"""What asynchronous SGD changes, against synchronous SGD: the papers trained Inception V3 with 50 asynchronous workers.

    python benchmarks/asynchronous.py [--n 1000] [--epochs 150] [--seeds 3] [--workers 4 16 50] [--actors 2] [--json FILE]

An MLP 1x512 on digits, with true and with random labels, in batches of 32, as each of the papers' workers had, at the learning rate 0.01
with momentum 0.9; until every training example is fitted, or the budget of epochs ends. W workers in turn, each going on from the
parameters that its last gradient gave, are a staleness of W - 1; one worker is synchronous SGD, without Ray. What a training gives depends
on the staleness alone, not on the number of actors, so --actors of them do the work of many (0: as many actors as workers).

  fitted   seeds whose training set was fitted within the budget
  epochs   until then; median, and range
  loss     of the training set at the end (evaluation mode), median
  test     accuracy at the end against true labels; mean
  time     seconds an epoch over those of synchronous SGD (median of the epochs, the first left out): what the actors cost here. It says
           nothing about machines of their own
"""

import argparse
import json
import os
import platform
import statistics
from importlib.metadata import version
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

from shattering import NetworkClassifier, Randomization, load_dataset, randomize
from shattering.runs.provenance import processor
from shattering.system.cluster import connected
from shattering.system.machine import usable_cores


def measure(n: int, labels: float, workers: int, actors: int, seed: int, epochs: int) -> dict:
    """One training."""
    data = randomize(load_dataset("digits", n, None, 0), Randomization(labels), seed)
    stale = {"asynchronous": actors or workers, "staleness": workers - 1} if workers > 1 else {}
    model = NetworkClassifier("mlp-1x512", epochs=epochs, batch_size=32, stop_when_fitted=True, device="cpu", random_state=seed, **stale)
    model.fit(data.train, test=data.test)
    return {
        "labels": "random" if labels else "true",
        "workers": workers,
        "seed": seed,
        "epochs_to_fit": model.epochs_to_fit_,
        "epochs": model.n_iter_,
        "diverged": model.diverged_,
        "train_loss": model.train_loss_,
        "test_accuracy": model.score(data.test),
        "seconds_an_epoch": statistics.median(model.history_["seconds"][1:] if model.n_iter_ > 1 else model.history_["seconds"]),
        **model.summary_,
    }


def rows(runs: list[dict]) -> list[dict]:
    """One for each kind of labels and number of workers, over the seeds."""
    out, synchronous = [], {}
    for labels, workers in dict.fromkeys((run["labels"], run["workers"]) for run in runs):
        some = [run for run in runs if (run["labels"], run["workers"]) == (labels, workers)]
        fitted = [run["epochs_to_fit"] for run in some if run["epochs_to_fit"] is not None]
        seconds = statistics.median(run["seconds_an_epoch"] for run in some)
        out.append(
            {
                "labels": labels,
                "workers": workers,
                "staleness": max(run.get("max_staleness", 0) for run in some),
                "seeds": len(some),
                "fitted": len(fitted),
                "diverged": sum(run["diverged"] for run in some),
                "epochs_to_fit": {"median": statistics.median(fitted), "low": min(fitted), "high": max(fitted)} if fitted else None,
                "train_loss": statistics.median(run["train_loss"] for run in some),
                "test_accuracy": statistics.fmean(run["test_accuracy"] for run in some),
                "time_ratio": seconds / synchronous.setdefault(labels, seconds),
            }
        )
    return out


def table(found: list[dict]) -> str:
    lines = [f"{'labels':8}{'workers':>8}{'stale':>7}{'fitted':>8}{'epochs':>16}{'loss':>10}{'test':>8}{'time':>7}"]
    for row in found:
        epochs = row["epochs_to_fit"]
        spread = f"{epochs['median']:g} ({epochs['low']}…{epochs['high']})" if epochs else "-"
        lines.append(
            f"{row['labels']:8}{row['workers']:8}{row['staleness']:7}{row['fitted']:>6}/{row['seeds']}{spread:>16}"
            f"{row['train_loss']:10.4f}{row['test_accuracy']:8.1%}{row['time_ratio']:7.1f}"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=1000)
    parser.add_argument("--epochs", type=int, default=150)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--workers", type=int, nargs="+", default=[4, 16, 50])
    parser.add_argument("--actors", type=int, default=2)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    out = {
        **{name: getattr(options, name) for name in ("n", "epochs", "seeds", "actors")},
        "network": "mlp-1x512",
        "dataset": "digits",
        "batch_size": 32,
        "learning_rate": 0.01,
        "momentum": 0.9,
        "ray": version("ray"),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "processor": processor(),
        "cores": usable_cores(),
        "load_average_before": os.getloadavg()[0],
    }
    runs: list[dict] = []
    with connected(None, "this benchmark trains asynchronously"):
        for seed in range(options.seeds):
            for labels in (0.0, 1.0):
                for workers in (1, *options.workers):
                    runs.append(measure(options.n, labels, workers, options.actors, seed, options.epochs))
                    print(json.dumps(runs[-1]), flush=True)
                    found = out | {"load_average_after": os.getloadavg()[0], "rows": rows(runs), "runs": runs}
                    if options.json:
                        options.json.write_text(json.dumps(found, indent=1) + "\n")
    print(table(rows(runs)))


if __name__ == "__main__":
    main()
