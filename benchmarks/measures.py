"""What measures of generalization cost, against an epoch of training and an evaluation of the same network on the same examples.

    SHATTERING_DATA=FOLDER python benchmarks/measures.py [--dataset cifar10] [--n 1000] [--repeats 5] [--note TEXT] [--json FILE]

An MLP 1x512 is trained; all measures are then computed on its training examples. Per measure: processor seconds, and medians of the
ratios to what is timed beside it in the same repeat, which other work on the machine disturbs least:

  epoch       one epoch of training, forward, backward and update, in batches
  evaluation  the logits of all training examples

What measures share (logits, the top of the Hessian, the noise that is borne) is computed anew for each, so that a measure's cost does not
depend on its place. all: every measure on one `Fitted`, sharing; median of three.
"""

import argparse
import contextlib
import dataclasses
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

from shattering import MEASURES, NetworkClassifier, load_dataset, measure
from shattering.measures.fitted import Fitted, NotComputable
from shattering.measures.fitting import as_fitted
from shattering.runs.provenance import processor

FORWARD = ("fisher_rao", "log_path_norm")  # at the cost of about two evaluations


def seconds(function: Callable[[], object]) -> float:
    """Of the processor, of all threads."""
    clock = time.process_time()
    function()
    return time.process_time() - clock


def value(name: str, fitted: Fitted) -> None:
    with contextlib.suppress(NotComputable):
        MEASURES[name](fitted)


def new(fitted: Fitted) -> Fitted:
    """The same, with nothing computed yet."""
    return dataclasses.replace(fitted)


def epoch(fitted: Fitted, module: torch.nn.Module, size: int) -> None:
    optimizer = torch.optim.SGD(module.parameters(), lr=1e-6, momentum=0.9)
    for rows in torch.randperm(fitted.n).split(size):
        optimizer.zero_grad(set_to_none=True)
        torch.nn.functional.cross_entropy(module(fitted.inputs(rows)), fitted.labels[rows]).backward()
        optimizer.step()


def cost(fitted: Fitted, module: torch.nn.Module, name: str, repeats: int) -> dict[str, float]:
    spent: dict[str, list[float]] = {"measure": [], "epoch": [], "evaluation": []}
    for _ in range(repeats):
        spent["epoch"].append(seconds(lambda: epoch(fitted, module, 128)))
        spent["evaluation"].append(seconds(lambda: fitted.logits_of(fitted.train)))
        again = new(fitted)
        spent["measure"].append(seconds(lambda: value(name, again)))  # noqa: B023  # called at once
    over = {other: [a / b for a, b in zip(spent["measure"], spent[other], strict=True)] for other in ("epoch", "evaluation")}
    return {
        "seconds": statistics.median(spent["measure"]),
        "over_epoch": statistics.median(over["epoch"]),
        "over_evaluation": statistics.median(over["evaluation"]),
    }


def of_all(fitted: Fitted, other: Fitted) -> tuple[float, float]:
    """Return (processor seconds, seconds of the clock) of every measure on one `Fitted`."""
    alone = dataclasses.replace(fitted, siblings=[new(other)], twin=new(other))
    clock = time.perf_counter()
    spent = seconds(lambda: measure(alone))
    return spent, time.perf_counter() - clock


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="cifar10")
    parser.add_argument("--n", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--note", help="to be kept beside the figures, such as what else the machine did")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    data = load_dataset(options.dataset, n_train=options.n, n_test=options.n)
    settings = {"epochs": 30, "batch_size": 64, "learning_rate": 0.001, "track_examples": True, "evaluate_train": True}
    models = [NetworkClassifier("mlp-1x512", random_state=seed, **settings).fit(data.train) for seed in (0, 1)]
    other = as_fitted(models[1], data)
    fitted = as_fitted(models[0], data, siblings=[other], twin=other)
    module = models[0].module_
    value("fisher_rao", new(fitted))  # torch imports its rules for forward mode once
    costs = {}
    for name in MEASURES:
        first = cost(fitted, module, name, 1)
        few = max(1, min(options.repeats, int(10 / max(first["seconds"], 1e-3))))
        costs[name] = cost(fitted, module, name, few) | {"repeats": few}
        print(
            f"{name:30} {costs[name]['seconds']:8.3f} s {costs[name]['over_epoch']:9.2f} {costs[name]['over_evaluation']:9.2f}", flush=True
        )
    together = [of_all(fitted, other) for _ in range(3)]
    processor_seconds, wall = (statistics.median(times) for times in zip(*together, strict=True))
    result = {
        "network": "mlp-1x512",
        "n_parameters": fitted.n_parameters,
        "dataset": options.dataset,
        "n": fitted.n,
        "all": {
            "seconds": processor_seconds,
            "wall": wall,
            "over_epoch": processor_seconds / statistics.median(seconds(lambda: epoch(fitted, module, 128)) for _ in range(5)),
            "repeats": len(together),
        },
        "forward": {name: costs[name]["over_evaluation"] for name in FORWARD},
        "measures": costs,
        "versions": {"torch": torch.__version__, "python": platform.python_version()},
        "processor": processor(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
    }
    result |= {"note": options.note} if options.note else {}
    print(json.dumps({key: value for key, value in result.items() if key != "measures"}, indent=1))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
