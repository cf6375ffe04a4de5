"""What the solvers of kernel interpolation take beside what the machine allows: its matrix products and its memory.

    python benchmarks/kernel_bounds.py [--dataset mnist] [--n 60000] [--cg 20000] [--json FILE]

  machine   operations per second of products of square matrices in float32 and float64, bytes per second read
  thin      products of a tile with few columns, as a pass of conjugate gradients makes them, by PyTorch and by NumPy: bytes of the
            tile per second, and operations per second
  exact     the fit by Cholesky with n images, float64 residual at most 1e-6, beside its bound: n² d + n³ / 3 operations at the
            machine's rate in float32
  cg        the same with --cg images by conjugate gradients; a pass over the stored half of the matrix beside two bounds: reading
            it once, and 2 n² operations for each target at the machine's rate

Every fit is in a process of its own. The machine is measured before and after, and the larger rate is the bound.
"""

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch

from kernel import GAMMA, apart
from shattering import load_dataset
from shattering.data.preprocess import to_float
from shattering.linalg.gram import Gaussian, KernelGram
from shattering.linalg.tiles import TILE, LowerTiles
from shattering.runs.provenance import processor

TARGETS = 10
COLUMNS = (1, 2, 10, 12, 16, 32)


def seconds(work: Callable[[], object], repeats: int = 5) -> float:
    """Return the median seconds of repeated calls, after one that does not count."""
    work()
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return statistics.median(found)


def machine() -> dict[str, float]:
    """Measure the rates of the machine."""
    a, many = torch.rand((TILE, TILE)), torch.rand(10**8)
    b = a.double()
    return {
        "float32_gflops": 2e-9 * TILE**3 / seconds(lambda: a @ a, 3),
        "float64_gflops": 2e-9 * TILE**3 / seconds(lambda: b @ b, 3),
        "read_gb_per_second": 4e-9 * len(many) / seconds(many.sum),
    }


def thin() -> list[dict]:
    """Measure products of a tile with few columns."""
    tile, rows = torch.rand((TILE, TILE)), []
    for k in COLUMNS:
        v = torch.rand((TILE, k))
        array, w = tile.numpy(), v.numpy()
        ways = {
            ("torch", "tile @ v"): lambda v=v: tile @ v,
            ("torch", "tile.T @ v"): lambda v=v: tile.T @ v,
            ("numpy", "tile @ v"): lambda a=array, w=w: a @ w,
            ("numpy", "tile.T @ v"): lambda a=array, w=w: a.T @ w,
        }
        for (library, product), work in ways.items():
            taken = seconds(work)
            rates = {"gb_per_second": 4e-9 * TILE**2 / taken, "gflops": 2e-9 * TILE**2 * k / taken}
            rows.append({"columns": k, "library": library, "product": product, **rates})
    return rows


def cg_pass(dataset: str, n: int) -> float:
    """Return the seconds of a pass over the stored half of the matrix with all targets."""
    images = to_float(load_dataset(dataset, n).train.inputs).flatten(1)
    tiles = LowerTiles(KernelGram(Gaussian(GAMMA), images), 0.0, torch.float32)
    vectors = torch.rand((n, TARGETS))
    return seconds(lambda: tiles.product(vectors))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="mnist")
    parser.add_argument("--n", type=int, default=60_000)
    parser.add_argument("--cg", type=int, default=20_000)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    first = machine()
    result: dict = {"dataset": options.dataset, "targets": TARGETS, "gamma": GAMMA, "processor": processor()}
    result |= {"threads": torch.get_num_threads(), "versions": {"torch": torch.__version__, "numpy": np.__version__}}
    result["versions"]["python"] = platform.python_version()
    result["thin"] = thin()
    out = Path("predictions.npy")
    fits = {how: apart(how, n, options.dataset, out) for how, n in (("cholesky", options.n), ("cg", options.cg))}
    out.unlink()
    a_pass = cg_pass(options.dataset, options.cg)
    last = machine()
    rates = {name: max(first[name], last[name]) for name in first}
    d = to_float(load_dataset(options.dataset, 1).train.inputs).flatten(1).shape[1]
    bound = (options.n**2 * d + options.n**3 / 3) / rates["float32_gflops"] / 1e9
    result["machine"] = rates
    fit = fits["cholesky"]["seconds"] - fits["cholesky"]["predict"]
    result["exact"] = {"n": options.n, "fit": fit, "bound": bound, "fit_over_bound": fit / bound, **fits["cholesky"]}
    by_memory = 2 * options.cg**2 / rates["read_gb_per_second"] / 1e9
    by_products = 2 * options.cg**2 * TARGETS / rates["float32_gflops"] / 1e9
    result["cg"] = {
        "n": options.cg,
        "pass": a_pass,
        "reading_the_half_over_pass": by_memory / a_pass,
        "reading_all_over_pass": 2 * by_memory / a_pass,
        "products_over_pass": by_products / a_pass,
        **fits["cg"],
    }
    print(json.dumps(result, indent=1))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
