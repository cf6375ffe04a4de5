"""Cost of minimum-norm kernel interpolation: ours against the obvious SciPy route, and over n.

    python benchmarks/kernel.py [--dataset mnist] [--n 15000] [--repeats 3] [--sizes 5000 10000 …] [--json FILE]

The Gaussian kernel (gamma 0.02) on raw pixels in 0…1, one-hot targets, no ridge; float64 residual at most 1e-6.
  scipy     pdist, squareform, exp, scipy.linalg.solve(assume_a="pos"), cdist
  cholesky  ours, tiled, float32 with refinement
  cg        ours, conjugate gradients
Every fit is in a process of its own. Memory is the peak of that process less what it held before the fit (library and
data). Parts are interleaved; figures are medians. --sizes: also the time of ours over n, with the fitted exponent, and the
share of test images for which both our solvers predict the same; --cg-up-to: without cg beyond that n. --json is written after every
part.
"""

import argparse
import json
import math
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import scipy
import torch

from shattering import KernelInterpolatorClassifier, load_dataset
from shattering.data.preprocess import to_float
from shattering.runs.provenance import processor

GAMMA = 0.02


def peak() -> int:
    """Bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def by_scipy(X: np.ndarray, y: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, dict]:
    from scipy.linalg import solve
    from scipy.spatial.distance import cdist, pdist, squareform

    K = np.exp(-GAMMA * squareform(pdist(X, "sqeuclidean")))
    dual = solve(K, np.eye(10)[y], assume_a="pos")
    return (np.exp(-GAMMA * cdist(test, X, "sqeuclidean")) @ dual).argmax(1), {}


def by_ours(solver: str, X: np.ndarray, y: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, dict]:
    model = KernelInterpolatorClassifier(gamma=GAMMA, solver=solver).fit(X, y)
    start = time.perf_counter()
    predicted = model.predict(test)
    return predicted, {"predict": time.perf_counter() - start, "stages": model.timings_, **model.summary_}


def one(how: str, n: int, dataset: str, out: Path) -> None:
    """Fit once in this process and write what came of it."""
    data = load_dataset(dataset, None if n >= 60_000 else n)
    X, test = (to_float(s.inputs).flatten(1).numpy() for s in (data.train, data.test))
    y, truth = data.train.labels.numpy(), data.test.labels.numpy()
    before, start = peak(), time.perf_counter()
    predicted, more = by_scipy(X, y, test) if how == "scipy" else by_ours(how, X, y, test)
    seconds = time.perf_counter() - start
    np.save(out, predicted)
    print(json.dumps({"seconds": seconds, "memory": peak() - before, "error": float((predicted != truth).mean()), **more}))


def apart(how: str, n: int, dataset: str, out: Path) -> dict:
    """The same in a process of its own."""
    command = [sys.executable, __file__, "--one", how, "--n", str(n), "--dataset", dataset, "--out", str(out)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def over_sizes(options: argparse.Namespace, save: Callable[[dict], None]) -> None:
    """Ours at every size, the exponents, and how far both solvers agree."""
    found: dict[str, dict[int, dict]] = {"cholesky": {}, "cg": {}}
    agreement = {}
    for n in options.sizes:
        predictions = []
        for how, measured in found.items():
            if how == "cg" and n > options.cg_up_to:
                continue
            measured[n] = apart(how, n, options.dataset, options.out)
            predictions.append(np.load(options.out))
            print(n, how, measured[n], file=sys.stderr, flush=True)
            save({f"{how}_over_n": measured, f"{how}_exponent": exponent(measured)})
        if len(predictions) == 2:
            agreement[n] = float((predictions[0] == predictions[1]).mean())
            save({"cg_cholesky_same_predictions": agreement})


def exponent(measured: dict[int, dict]) -> float | None:
    """Of the power of n that the seconds grow with; None for a single n."""
    if len(measured) < 2:
        return None
    return float(np.polyfit([math.log(n) for n in measured], [math.log(m["seconds"]) for m in measured.values()], 1)[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="mnist")
    parser.add_argument("--n", type=int, default=15_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--sizes", type=int, nargs="*", default=[])
    parser.add_argument("--cg-up-to", type=int, default=10**9)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=Path("predictions.npy"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        one(options.one, options.n, options.dataset, options.out)
        return
    result: dict = {"dataset": options.dataset, "n": options.n, "repeats": options.repeats}
    result["versions"] = {"torch": torch.__version__, "scipy": scipy.__version__, "python": platform.python_version()}
    result |= {"processor": processor(), "threads": torch.get_num_threads()}

    def save(more: dict) -> None:
        result.update(more)
        if options.json:
            options.json.write_text(json.dumps(result, indent=1) + "\n")

    save(against_scipy(options))
    over_sizes(options, save)
    options.out.unlink(missing_ok=True)
    print(json.dumps(result, indent=1))


def against_scipy(options: argparse.Namespace) -> dict:
    """All three at one n, and the ratios."""
    found: dict[str, list[dict]] = {"scipy": [], "cholesky": [], "cg": []}
    predictions = {}
    for _ in range(options.repeats):
        for how, measured in found.items():
            measured.append(apart(how, options.n, options.dataset, options.out))
            predictions[how] = np.load(options.out)
    result: dict = {
        how: {key: statistics.median(m[key] for m in of) for key in ("seconds", "memory", "error")} for how, of in found.items()
    }
    for how in ("cholesky", "cg"):
        result[f"scipy_over_{how}_seconds"] = result["scipy"]["seconds"] / result[how]["seconds"]
        result[f"{how}_over_scipy_memory"] = result[how]["memory"] / result["scipy"]["memory"]
        result[f"{how}_same_predictions"] = float((predictions[how] == predictions["scipy"]).mean())
    return result


if __name__ == "__main__":
    main()
