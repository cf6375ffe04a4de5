"""Loading a dataset of 60,000 encoded images: the first time (decoding) and the second (from the cache).

    python benchmarks/loading.py [DATASET ...]      default: cifar10 mnist

Needs the datasets in SHATTERING_DATA or from the hub. Decodes with Pillow alone and, where it is installed, with
simplejpeg; prints seconds and the ratios.
"""

import json
import os
import shutil
import statistics
import sys
import tempfile
import time

from shattering import load_dataset
from shattering.data import decode

REPEATS = 3


def seconds(name: str) -> float:
    start = time.perf_counter()
    load_dataset(name)
    return time.perf_counter() - start


def main() -> None:
    os.environ["SHATTERING_CACHE"] = cache = tempfile.mkdtemp()
    fast = decode.simplejpeg
    result: dict[str, dict[str, float]] = {}
    for name in sys.argv[1:] or ["cifar10", "mnist"]:
        load_dataset(name)  # files into the system's cache
        times: dict[str, list[float]] = {"pillow": [], "simplejpeg": [], "second_load": []}
        for _ in range(REPEATS):
            for decoder, module in (("pillow", None), ("simplejpeg", fast)):
                decode.simplejpeg = module
                shutil.rmtree(cache)
                times[decoder].append(seconds(name))
            times["second_load"].append(seconds(name))
        medians = {what: statistics.median(values) for what, values in times.items()}
        result[name] = {f"{what}_seconds": value for what, value in medians.items()} | {
            "pillow_over_simplejpeg": medians["pillow"] / medians["simplejpeg"],
            "pillow_over_second_load": medians["pillow"] / medians["second_load"],
        }
    shutil.rmtree(cache)
    print(json.dumps({**result, "simplejpeg": fast is not None, "cores": os.cpu_count()}, indent=1))


if __name__ == "__main__":
    main()
