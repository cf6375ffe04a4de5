"""Cost and error of the 2n + d ReLU interpolator: ours against the naive build.

    python benchmarks/relu.py [--dataset cifar10 | --noise 1281167] [--n N] [--repeats 3] [--json FILE]

Random labels 0…9 on n images, in float64.
  naive   a random direction, thresholds midway between points, hidden units in sorted order
  ours    ReluInterpolatorClassifier: its fit, and the forward pass that measures its error
Errors are the largest of the plain forward pass, over all points up to n = 63,000; beyond, over random ones, and for ours the
steepest as well. Every build is in a process of its own; memory is the peak of that process less what it held before
(library and data). Figures are medians.
--noise: images of random bytes, made as they are read, for numbers of images that memory does not hold.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch

from kernel import peak
from shattering import ReluInterpolatorClassifier, load_dataset, seeds
from shattering.experiments.relu_points import NoiseImages
from shattering.relu.direction import best_of
from shattering.relu.hinges import midway
from shattering.relu.networks import ReluNetwork, forward_in_blocks
from shattering.relu.points import survey
from shattering.runs.provenance import processor


def naive(rows, y: np.ndarray, checked: int) -> dict:
    start = time.perf_counter()
    found = best_of(rows, y, survey(rows)[1], seeds.generator(0, "direction"), 1)
    order = np.argsort(found.points)
    knots, values = found.points[order], y[order].astype(float)
    network = ReluNetwork(found.direction, *midway(knots, values))
    build = time.perf_counter() - start
    at = seeds.generator(0, "checked").choice(len(knots), checked, replace=False)
    error = np.abs(forward_in_blocks(network, knots[at]) - values[at]).max()
    return {"seconds": time.perf_counter() - start, "build": build, "max_error": float(error)}


def ours(rows, y: np.ndarray) -> dict:
    start = time.perf_counter()
    model = ReluInterpolatorClassifier(tol=np.inf).fit(rows, y)
    seconds = time.perf_counter() - start
    right = float((model.predict(rows) == y).mean())
    s = model.summary_
    return {
        "seconds": seconds,
        "build": seconds - model.timings_["check"],
        "parameters": model.n_parameters_,
        "labels_right": right,
        **s,
    }


def one(how: str, options: argparse.Namespace) -> None:
    if options.noise:
        rows = NoiseImages(options.noise, 3072, 0)
    else:
        rows = load_dataset(options.dataset, options.n).train.inputs.flatten(1).numpy()
    n = rows.shape[0]
    y = seeds.generator(0, "random labels").integers(0, 10, n)
    before = peak()
    found = ours(rows, y) if how == "ours" else naive(rows, y, min(n, max(1000, 4_000_000_000 // n)))
    print(json.dumps({**found, "memory": peak() - before}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="cifar10")
    parser.add_argument("--n", type=int)
    parser.add_argument("--noise", type=int)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        one(options.one, options)
        return
    given = [text for name in ("dataset", "n", "noise") if getattr(options, name) for text in (f"--{name}", str(getattr(options, name)))]
    found: dict[str, list[dict]] = {"naive": [], "ours": []}
    for _ in range(options.repeats):
        for how, measured in found.items():
            command = [sys.executable, __file__, "--one", how, *given]
            measured.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    result: dict = {"images": options.noise or options.n or "all", "data": "noise" if options.noise else options.dataset}
    for how, measured in found.items():
        result[how] = measured[-1] | {key: statistics.median(m[key] for m in measured) for key in ("seconds", "build", "memory")}
    result["naive_over_ours_error"] = result["naive"]["max_error"] / result["ours"]["max_error"]
    result |= {"repeats": options.repeats, "torch": torch.__version__, "numpy": np.__version__, "python": platform.python_version()}
    result |= {"processor": processor(), "threads": torch.get_num_threads()}
    print(json.dumps(result, indent=1))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
